"""How often and how many at a time: nobody can aim many calls of ours at one peer."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from keystead.errors import ErrorCode, TransportError
from keystead.transports.addresses import is_loopback
from keystead.transports.deadline import Deadline
from keystead.transports.guard import FetchPolicy

Place = tuple[str, int]
"""Host and port."""

_MINUTE: Final = 60.0
# Hosts and addresses that are remembered; the ones heard of longest ago are forgotten first.
_REMEMBERED: Final = 4096


class TooOftenError(TransportError):
    """We asked too often; the peer has not failed."""


class Pacing:
    """Counts the calls of one transport, of all its threads."""

    def __init__(self, policy: FetchPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._freed = threading.Condition()
        self._in_flight: dict[Place, int] = {}
        self._calls: OrderedDict[tuple[IPv4Address | IPv6Address, int], deque[float]] = (
            OrderedDict()
        )
        self._failures: OrderedDict[Place, tuple[float, ErrorCode]] = OrderedDict()

    @contextmanager
    def turn(self, place: Place, deadline: Deadline) -> Iterator[None]:
        """Wait until few enough calls to a host are under way; be one of them.

        Raises:
            TimeoutError: the others took too long.
            TransportError: the host did not answer shortly before (the code of then).
        """
        self._refuse_failed(place)
        with self._freed:
            while self._in_flight.get(place, 0) >= self._policy.in_flight:
                self._freed.wait(deadline.left())
            self._in_flight[place] = self._in_flight.get(place, 0) + 1
        try:
            yield
        except TransportError as error:
            self._remember_failure(place, error)
            raise
        finally:
            with self._freed:
                self._in_flight[place] -= 1
                if not self._in_flight[place]:
                    del self._in_flight[place]
                self._freed.notify_all()

    def count(self, address: IPv4Address | IPv6Address, port: int) -> None:
        """Count a call to an address: many names can lead to one.

        Raises:
            TooOftenError: there were too many in the last minute (transport.unreachable).
        """
        if not self._policy.per_minute or is_loopback(address):
            return
        now = self._clock()
        with self._freed:
            calls = self._calls.setdefault((address, port), deque())
            self._calls.move_to_end((address, port))
            while calls and calls[0] <= now - _MINUTE:
                calls.popleft()
            if len(calls) >= self._policy.per_minute:
                wait = int(calls[0] + _MINUTE - now) + 1
                raise TooOftenError(
                    ErrorCode.UNREACHABLE,
                    f"this address was asked {len(calls)} times in a minute",
                    hint=f"wait {wait} seconds",
                    seconds=wait,
                )
            calls.append(now)
            if len(self._calls) > _REMEMBERED:
                self._calls.popitem(last=False)

    def _refuse_failed(self, place: Place) -> None:
        with self._freed:
            until, code = self._failures.get(place, (0.0, ErrorCode.UNREACHABLE))
            if until <= self._clock():
                self._failures.pop(place, None)
                return
        raise TransportError(code, f"{place[0]} did not answer shortly before", host=place[0])

    def _remember_failure(self, place: Place, error: TransportError) -> None:
        lasting = (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT, ErrorCode.ADDRESS_REFUSED)
        if not self._policy.remember_failures or error.code not in lasting:
            return
        if isinstance(error, TooOftenError):
            return
        with self._freed:
            until = self._clock() + self._policy.remember_failures
            self._failures[place] = until, error.code
            self._failures.move_to_end(place)
            if len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)
