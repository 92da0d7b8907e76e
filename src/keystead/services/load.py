"""Load on a witness: callers that check every receipt.

Each caller keeps one connection, and asks for its next receipt once it has checked the last one.
"""

import asyncio
import base64
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from keystead import suites
from keystead.cesr.keys import Aid, parse_key
from keystead.errors import ErrorCode, TransportError
from keystead.services.load_events import Prepared
from keystead.suites import Suite

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_SIGNATURE: Final = 88  # characters at the end of a receipt: code and signature
_OK: Final = b"HTTP/1.1 200"
_LONGEST_WAIT: Final = 60.0


class Tally(msgspec.Struct):
    """What callers got.

    Attributes:
        seconds: how long each receipt took.
        wrong: what was no receipt for the event, by what it was.
        taken: seconds of the whole.
    """

    seconds: list[float]
    wrong: Counter[str]
    taken: float = 0.0

    @property
    def rate(self) -> float:
        """Receipts a second."""
        return len(self.seconds) / self.taken if self.taken else 0.0

    def milliseconds(self, part: float) -> float:
        """Return the time within which this part of all receipts came."""
        ordered = sorted(self.seconds)
        return 1e3 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class _Caller(asyncio.Protocol):
    """One connection: asks, checks, and asks again."""

    def __init__(self, work: Iterator[Prepared], key: bytes, tally: Tally) -> None:
        self._work = work
        self._key = key
        self._tally = tally
        self._received = bytearray()
        self._asked: Prepared
        self._began = 0.0
        self._transport: asyncio.Transport
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        self._transport = transport
        self.ask()

    def ask(self) -> None:
        asked = next(self._work, None)
        if asked is None:
            self._end()
            return
        self._asked, self._began = asked, time.perf_counter()
        self._transport.write(asked.request)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        answer = _answer(received)
        if answer is None:
            return
        start, content = answer
        if start == _OK and _is_receipt(content, self._asked.raw, self._key):
            self._tally.seconds.append(time.perf_counter() - self._began)
            self.ask()
            return
        # What follows in the log can get no receipt either.
        what = "a receipt that is none" if start == _OK else start.decode("latin-1")
        self._tally.wrong[what] += 1
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.ended.done():
            self._tally.wrong["connection lost"] += 1
            self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.close()


def _answer(received: bytearray) -> tuple[bytes, bytes] | None:
    """Take a whole answer out of what was received; None if it is not there yet."""
    end = received.find(_HEAD_END)
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    at = head.find(_LENGTH)
    size = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    whole = end + len(_HEAD_END) + size
    if len(received) < whole:
        return None
    content = bytes(received[end + len(_HEAD_END) : whole])
    start = bytes(received[: len(_OK)])
    del received[:whole]
    return start, content


def _is_receipt(content: bytes, raw: bytes, key: bytes) -> bool:
    """Tell whether content ends with a signature by a key over an event."""
    try:
        signature = base64.urlsafe_b64decode(content[-_SIGNATURE:])[2:]
    except ValueError:
        return False
    return suites.verify(Suite.ED25519, key, signature, raw)


async def call(
    address: tuple[str, int], witness: Aid, work: Sequence[Sequence[Prepared]], seconds: float
) -> Tally:
    """Ask for receipts with one caller for each list of events, and check all of them.

    Args:
        address: of the witness.
        witness: whose receipts they must be.
        work: events, in order.
        seconds: how long to ask at most.

    Raises:
        TransportError: a caller cannot connect (transport.unreachable).
    """
    tally = Tally([], Counter())
    ends = time.perf_counter() + seconds
    loop, key = asyncio.get_running_loop(), parse_key(witness).raw

    def limited(events: Sequence[Prepared]) -> Iterator[Prepared]:
        for one in events:
            if time.perf_counter() >= ends:
                return
            yield one

    began = time.perf_counter()
    callers = [_Caller(limited(events), key, tally) for events in work]
    try:
        for caller in callers:
            await loop.create_connection(lambda caller=caller: caller, *address)  # type: ignore[misc] # bound here
    except OSError as error:
        what = f"the witness at {address[0]}:{address[1]} cannot be reached"
        raise TransportError(ErrorCode.UNREACHABLE, what) from error
    _, late = await asyncio.wait(
        [caller.ended for caller in callers], timeout=seconds + _LONGEST_WAIT
    )
    tally.taken = time.perf_counter() - began
    if late:
        tally.wrong["no answer"] += len(late)
    return tally


class Usage(msgspec.Struct, frozen=True):
    """What a process has used.

    Attributes:
        seconds: of CPU, in user and system mode.
        memory: resident bytes.
    """

    seconds: float
    memory: int


def usage(pid: int) -> Usage:
    """Return what a process has used (proc(5)); nothing where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return Usage(0.0, 0)
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = (int(fields[11]) + int(fields[12])) / ticks
    return Usage(seconds, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def children(pid: int) -> list[int]:
    """Return the processes that the threads of a process have started (proc(5))."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(one) for one in path.read_text("ascii").split()]
    return found
