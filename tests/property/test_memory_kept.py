"""What was refused is gone: no frames, no bodies, no long texts in caches."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType

import pytest

from keystead.cesr import said as addressing
from keystead.cesr.versions import Kind, Protocol
from keystead.keri.seals import DigestSeal
from keystead.node.audit import MOST_PROBLEMS, Audit
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, Signed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHOR = Author("alice")
INCEPTION = AUTHOR.incept()
LARGE = "y" * 20_000
ROUNDS = 600


def _unsigned(number: int) -> bytes:
    return AUTHOR.fork().interact(DigestSeal(f"{LARGE}{number}")).event.raw


def _badly_signed(number: int) -> bytes:
    event = AUTHOR.fork().interact(DigestSeal(f"{LARGE}{number}")).event
    mallory = Author("mallory")
    mallory.incept()
    return Signed(event, mallory.signatures(event.raw)).framed


def _changed(number: int) -> bytes:
    return _unsigned(number).replace(b'"s":"1"', b'"s":"2"')


def _sized(body: bytes) -> bytes:
    return body.replace(b"000000_", b"%06x_" % len(body), 1)


def _no_json(number: int) -> bytes:
    return _sized(b'{"v":"KERI10JSON000000_","a":"%s%d"]' % (LARGE.encode(), number))


def _not_canonical(number: int) -> bytes:
    return _sized(b'{"v":"KERI10JSON000000_","a":"%s%d" }' % (LARGE.encode(), number))


def _credential(number: int) -> bytes:
    fields = {"v": "", "d": "", "i": "x", "a": f"{LARGE}{number}"}
    return addressing.address(fields, Kind.JSON, protocol=Protocol.ACDC)[0]


def _receipt_of_nobody(number: int) -> bytes:
    fields = {"v": "", "t": "rct", "d": "x", "i": f"{LARGE}{number}", "s": "0"}
    return addressing.serialize(fields, Kind.JSON, Protocol.KERI)


def _frames() -> list[FrameType]:
    frames = [one for one in gc.get_objects() if isinstance(one, FrameType)]
    return [frame for frame in frames if "keystead/" in frame.f_code.co_filename]


def _messages(make: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    for number in range(count):
        yield make(number) + b"\n"


@pytest.mark.parametrize(
    "make",
    [_unsigned, _badly_signed, _changed, _no_json, _not_canonical, _credential, _receipt_of_nobody],
    ids=lambda make: make.__name__.strip("_"),
)
def test_refused_messages_leave_nothing(make: Callable[[int], bytes]) -> None:
    """Memory does not grow with the number of refused messages, beyond those that are listed."""
    of_others = _frames()  # kept, so that none of ours gets the id of one of these
    audit = Audit(MemoryStore(), NOW)
    audit.feed(INCEPTION.framed)
    for message in _messages(make, MOST_PROBLEMS + 10):
        audit.feed(message)
    gc.collect()
    tracemalloc.start()
    try:
        for message in _messages(make, ROUNDS):
            audit.feed(message)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(audit.refused.values()) + audit.unchecked >= ROUNDS
    assert kept < 10 * len(LARGE)
    known = {id(frame) for frame in of_others}
    ours = [frame for frame in _frames() if id(frame) not in known]
    assert len(ours) < 20  # those of the body that is being read
