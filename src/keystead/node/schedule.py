"""When to ask whom: with jitter and back-off, once at a time, not too many at once. Pure."""

import heapq
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)

_MOST_DOUBLINGS: Final = 16


class Pace(msgspec.Struct, frozen=True):
    """How often to ask. Seconds.

    Attributes:
        interval: between two calls.
        longest: between two calls of a source that does not answer; the interval doubles with
            each failure until then.
        jitter: part of the time by which it is longer or shorter, so that calls spread.
        at_once: calls at the same time.
    """

    interval: float = 30.0
    longest: float = 900.0
    jitter: float = 0.2
    at_once: int = 8

    def after(self, failures: int, draw: float) -> float:
        """Return how long to wait after so many failures in a row; `draw` is from 0 to 1."""
        doubled = self.interval * 2.0 ** min(failures, _MOST_DOUBLINGS)
        wait = doubled if not failures else min(doubled, max(self.longest, self.interval))
        return wait * (1 + self.jitter * (2 * draw - 1))


class Schedule(Generic[K]):
    """Says which calls are due. The same call is never given out twice at the same time."""

    def __init__(self, pace: Pace, draw: Callable[[], float]) -> None:
        """Start empty; `draw` gives numbers from 0 to 1."""
        self._pace = pace
        self._draw = draw
        self._due: dict[K, float] = {}
        self._queue: list[tuple[float, int, K]] = []
        self._order = 0
        self._running: set[K] = set()

    def __contains__(self, key: K) -> bool:
        """Tell whether a call is made from time to time."""
        return key in self._due

    def keep_only(self, wanted: dict[K, int], now: float) -> None:
        """Make these calls and no others; the value tells the failures in a row so far.

        New ones are due at once, or after their back-off, spread over a tenth of the interval.
        """
        for key in [one for one in self._due if one not in wanted]:
            del self._due[key]
        for key, failures in wanted.items():
            if key not in self._due:
                wait = self._pace.after(failures, self._draw()) if failures else 0.0
                self._put(key, now + wait + self._draw() * self._pace.interval / 10)

    def hurry(self, key: K, now: float) -> None:
        """Make a call due now."""
        if key in self._due and key not in self._running:
            self._put(key, now)

    def next_due(self, now: float) -> list[K]:
        """Return the calls to begin now; each must be ended."""
        found = []
        while self._queue and len(self._running) < self._pace.at_once:
            at, _, key = self._queue[0]
            if at > now:
                break
            heapq.heappop(self._queue)
            if self._due.get(key) == at and key not in self._running:
                self._running.add(key)
                found.append(key)
        return found

    def ended(self, key: K, failures: int, now: float) -> None:
        """Tell that a call has ended, with its failures in a row."""
        self._running.discard(key)
        if key in self._due:
            self._put(key, now + self._pace.after(failures, self._draw()))

    def wait(self, now: float, most: float) -> float:
        """Return how long nothing is due."""
        if not self._queue or len(self._running) >= self._pace.at_once:
            return most
        return min(max(self._queue[0][0] - now, 0.0), most)

    def _put(self, key: K, at: float) -> None:
        self._due[key] = at
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, key))
