"""Any input ends: with bounded time and memory, and a code for every refusal."""

import gc
import random
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from keystead.cesr import base64, values
from keystead.cesr import said as addressing
from keystead.cesr.annotate import annotate
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import digest
from keystead.cesr.stream import Malformed, Message
from keystead.cesr.versions import Kind
from keystead.cesr.writing import write_frame
from keystead.errors import ErrorCode
from keystead.keri.verdicts import Accepted, Rejected
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor, Result
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import KeyPair, Signed
from support.streams import binary_attachments, read, signature, signed_log

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UNIT = 64 * 1024
CPU_SECONDS = 0.1
MEMORY = 32 * 1024 * 1024

LOGS = {kind: signed_log(kind=kind) for kind in Kind}
FIRST, SECOND, THIRD = LOGS[Kind.JSON]
BODY = FIRST.event.raw
PATH = values.base64_string("-a").text.encode()


def _process(data: bytes, step: int) -> tuple[list[Malformed], list[Result]]:
    """Feed a stream to a new node; return the faults and the results."""
    processor = EventProcessor(MemoryStore())
    reader = processor.reader()
    faults: list[Malformed] = []
    results: list[Result] = []
    for start in range(0, len(data) + 1, step):
        if start < len(data):
            reader.feed(data[start : start + step])
        if start + step > len(data):
            reader.close()
        for item in reader:
            if isinstance(item, Malformed):
                faults.append(item)
            else:
                results += processor.process(item, now=NOW)
    return faults, results


def _fill(unit: bytes, size: int = UNIT) -> bytes:
    return (unit * (size // len(unit) + 1))[:size]


def _weighted_inception() -> bytes:
    """Return an inception of 256 keys whose weights have nine digits on either side."""
    numbers = random.Random(1)  # noqa: S311 - no secret
    keys = [KeyPair(f"key {number}").key.text for number in range(256)]
    below = [numbers.randrange(10**8, 10**9) for _ in keys]
    weights = [f"{part - number}/{part}" for number, part in enumerate(below)]
    fields = {
        "v": "",
        "t": "icp",
        "d": "",
        "i": "",
        "s": "0",
        "kt": weights,
        "k": keys,
        "nt": weights,
        "n": [digest(key.encode()) for key in keys],
        "bt": "0",
        "b": [],
        "c": [],
        "a": [],
    }
    raw, _ = addressing.address(fields, labels=("d", "i"))
    group = Group(GroupKind.CONTROLLER_SIGNATURES, tuple(signature(place) for place in range(256)))
    return raw + write_frame([group])


def _sized(head: bytes, content: bytes, tail: bytes) -> bytes:
    """Return a body whose head holds its true size."""
    return head % (len(head % 0) + len(content) + len(tail)) + content + tail


def _nested(kind: Kind, levels: int) -> bytes:
    """Return a body of lists in lists."""
    if kind is Kind.JSON:
        return _sized(b'{"v":"KERI10JSON%06x_","a":', b"[" * levels + b"]" * levels, b"}")
    if kind is Kind.CBOR:
        return _sized(b"\xa2\x61v\x71KERI10CBOR%06x_\x61a", b"\x81" * levels, b"\x80")
    return _sized(b"\x82\xa1v\xb1KERI10MGPK%06x_\xa1a", b"\x91" * levels, b"\x90")


def _lying_starts() -> dict[str, bytes]:
    """Return streams of heads that claim other sizes than there are."""
    heads = {
        Kind.JSON: (b'{"v":"KERI10JSON%06x_","a":[', [b"", b"[],"]),
        Kind.CBOR: (b"\xa2\x61v\x71KERI10CBOR%06x_\x61a\x9a\0\0\xff\xff", [b"", b"\x80"]),
        Kind.MGPK: (b"\x82\xa1v\xb1KERI10MGPK%06x_\xa1a\xdd\0\0\xff\xff", [b"", b"\x90"]),
    }
    return {
        f"{kind.value} heads that claim {size} before {filling!r}": _fill(
            head % size + filling * (600 // max(1, len(filling)))
        )
        for kind, (head, fillings) in heads.items()
        for filling in fillings
        for size in (0, 4096, 0x4000, 0xFFFFFF)
    }


def _inputs() -> dict[str, bytes]:
    numbers = random.Random(7)  # noqa: S311 - no secret
    deep = (b"-JAB" + PATH) * 10
    return {
        "random bytes": numbers.randbytes(UNIT),
        "random Base64": base64.encode(numbers.randbytes(UNIT * 3 // 4)),
        "random Base64 behind a body": BODY + base64.encode(numbers.randbytes(UNIT * 3 // 4)),
        "zeros": bytes(UNIT),
        "ones": b"\xff" * UNIT,
        "braces": b"{" * UNIT,
        "brackets": b"[" * UNIT,
        "line feeds": b"\n" * UNIT,
        "line feeds behind a body": BODY + b"\n" * UNIT,
        "genus codes": _fill(b"--AAABAA"),
        "binary genus codes": _fill(base64.decode(b"--AAABAA")),
        "dashes": b"-" * UNIT,
        "binary dashes": b"\xfb" * UNIT,
        "counters": _fill(b"-A__"),
        "counters behind bodies": _fill(BODY + b"-A__"),
        "frames behind bodies": _fill(BODY + b"-VZZ"),
        "huge frames behind bodies": _fill(BODY + b"-0V_____"),
        "huge payloads behind bodies": _fill(BODY + b"-0Z_____"),
        "binary counters behind bodies": _fill(BODY + base64.decode(b"-A__")),
        "binary frames behind bodies": _fill(BODY + base64.decode(b"-VZZ")),
        "huge binary frames behind bodies": _fill(BODY + base64.decode(b"-0V_____")),
        "empty groups": BODY + _fill(b"-AAA"),
        "empty groups in a frame": BODY + b"-0VAAD__" + _fill(b"-AAA"),
        "empty binary groups": BODY + base64.decode(_fill(b"-AAA")),
        "empty payloads": BODY + b"-0ZAAD__" + _fill(b"4BAA"),
        "empty binary payloads": BODY + base64.decode(b"-0ZAAD__" + _fill(b"4BAA")),
        "nested path groups": BODY + _fill(deep),
        "nested root path groups": BODY + _fill(deep.replace(b"J", b"K")),
        "nested binary path groups": BODY + base64.decode(_fill(b"-JAB" + PATH)),
        "wide path groups": BODY + b"-J__" + _fill(PATH + b"-JAA"),
        "bodies alone": _fill(BODY),
        "good messages": _fill(FIRST.framed),
        "weighted keys": _weighted_inception(),
        "deep JSON": _nested(Kind.JSON, 32_000),
        "deep CBOR": _nested(Kind.CBOR, 65_000),
        "deep MessagePack": _nested(Kind.MGPK, 65_000),
        "many members in JSON": _sized(
            b'{"v":"KERI10JSON%06x_","a":[', b",".join([b"[]"] * 21_000), b"]}"
        ),
        "many members in CBOR": _sized(
            b"\xa2\x61v\x71KERI10CBOR%06x_\x61a\x9a\0\0\xff\0", b"\xa0" * 0xFF00, b""
        ),
        "many members in MessagePack": _sized(
            b"\x82\xa1v\xb1KERI10MGPK%06x_\xa1a\xdd\0\0\xff\0", b"\x80" * 0xFF00, b""
        ),
        "large numbers": _sized(
            b'{"v":"KERI10JSON%06x_","a":[', b",".join([b"9" * 4000] * 16), b"]}"
        ),
        "a number of 60,000 digits": _sized(b'{"v":"KERI10JSON%06x_","a":', b"9" * 60_000, b"}"),
        "a CBOR list that claims 2^32 entries": b"\xa2\x61v\x71KERI10CBOR00ff00_\x61a\x9a"
        + b"\xff" * 4
        + bytes(UNIT),
        "a MessagePack list that claims 2^32 entries": b"\x82\xa1v\xb1KERI10MGPK00ff00_\xa1a\xdd"
        + b"\xff" * 4
        + bytes(UNIT),
        **_lying_starts(),
    }


INPUTS = _inputs()


@pytest.fixture
def _own_heap() -> Iterator[None]:
    """Keep what the tests have loaded out of garbage collections."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.timed
@pytest.mark.usefixtures("_own_heap")
@pytest.mark.parametrize("name", INPUTS)
def test_time_is_bounded(name: str) -> None:
    """64 KiB of anything take at most 100 ms, and every refusal has a code."""
    data = INPUTS[name]
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        faults, results = _process(data, UNIT)
        best = min(best, time.process_time() - start)
        if best < CPU_SECONDS / 4:
            break
    assert best <= CPU_SECONDS * max(1, len(data) / UNIT)
    assert all(type(fault.error.code) is ErrorCode for fault in faults)
    for result in results:
        if isinstance(result.verdict, Rejected):
            assert type(result.verdict.error.code) is ErrorCode


@pytest.mark.timed
@pytest.mark.usefixtures("_own_heap")
@pytest.mark.parametrize("name", INPUTS)
def test_time_of_a_dump_is_bounded(name: str) -> None:
    """64 KiB of anything are annotated in at most 100 ms, and no byte is told twice."""
    data = INPUTS[name]
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        elements = list(annotate(data, DEFAULT_LIMITS))
        best = min(best, time.process_time() - start)
        if best < CPU_SECONDS / 4:
            break
    assert best <= CPU_SECONDS * max(1, len(data) / UNIT)
    assert sum(element.size for element in elements) <= len(data)


@pytest.mark.usefixtures("_own_heap")
@pytest.mark.parametrize("name", INPUTS)
def test_memory_is_bounded(name: str) -> None:
    """64 KiB of anything take at most 32 MiB."""
    tracemalloc.start()
    try:
        _process(INPUTS[name], UNIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY


def _stream(kind: Kind, form: str) -> list[bytes]:
    """Return the messages of a log with attachments of some form."""
    forms: dict[str, Callable[[Signed], bytes]] = {
        "bare text": lambda signed: signed.raw,
        "framed text": lambda signed: signed.framed,
        "bare binary": lambda signed: binary_attachments(signed, framed=False),
        "framed binary": lambda signed: binary_attachments(signed, framed=True),
    }
    return [forms[form](signed) for signed in LOGS[kind]]


FORMS = ["bare text", "framed text", "bare binary", "framed binary"]


def _accepted(results: list[Result]) -> int:
    return sum(isinstance(result.verdict, Accepted) for result in results)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("form", FORMS)
def test_a_cut_stream_gives_what_came_before_the_cut(kind: Kind, form: str) -> None:
    """Complete messages are accepted, nothing else is; what is cut is one fault."""
    messages = _stream(kind, form)
    data = b"".join(messages)
    ends = [sum(map(len, messages[:number])) for number in range(len(messages) + 1)]
    # A body whose attachments are all cut off is a message without signatures.
    bodies = [end + len(signed.event.raw) for end, signed in zip(ends, LOGS[kind], strict=False)]
    for size in range(len(data) + 1):
        faults, results = _process(data[:size], UNIT)
        complete = sum(end <= size for end in ends[1:])
        assert _accepted(results) == complete
        assert len(results) == complete + (size in bodies)
        expected = [] if size in ends or size in bodies else [ErrorCode.TRUNCATED]
        assert [fault.error.code for fault in faults] == expected


@pytest.mark.parametrize("change", [-100, -2, -1, 1, 2, 100, 10_000])
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("kind", Kind)
def test_a_lying_size_costs_its_own_message(kind: Kind, number: int, change: int) -> None:
    """A body that claims another size is refused; framed messages around it are not lost."""
    messages = _stream(kind, "framed text")
    raw = LOGS[kind][number].event.raw
    lie = b"%06x_" % max(0, len(raw) + change)
    messages[number] = messages[number].replace(b"%06x_" % len(raw), lie, 1)
    items = read(b"".join(messages))
    raws = [item.raw for item in items if isinstance(item, Message)]
    assert raws == [one.event.raw for place, one in enumerate(LOGS[kind]) if place != number]
    faults, results = _process(b"".join(messages), UNIT)
    assert _accepted(results) == number
    assert {fault.error.code for fault in faults} <= {ErrorCode.BODY, ErrorCode.TRUNCATED}


def _counters(signed: Signed, form: str) -> list[int]:
    """Return where the count codes of a message stand."""
    raw = signed.event.raw
    return [len(raw)] if form.startswith("bare") else [len(raw), len(raw) + 4]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("form", ["bare text", "framed text"])
@pytest.mark.parametrize("count", [b"AA", b"AB", b"AC", b"AV", b"AW", b"AX", b"AY", b"__"])
def test_a_lying_counter_costs_its_own_message(number: int, form: str, count: bytes) -> None:
    """A wrong count is refused, and never makes an event that was not signed acceptable."""
    for place in _counters(LOGS[Kind.JSON][number], form):
        messages = _stream(Kind.JSON, form)
        good = messages[number]
        messages[number] = good[: place + 2] + count + good[place + 4 :]
        if messages[number] == good:
            continue
        faults, results = _process(b"".join(messages), UNIT)
        assert _accepted(results) <= number
        raws = {item.raw for item in read(b"".join(messages)) if isinstance(item, Message)}
        assert {one.event.raw for one in LOGS[Kind.JSON][:number]} <= raws
        refused = any(isinstance(result.verdict, Rejected) for result in results)
        assert faults or refused


def test_the_counters_are_where_they_are_thought_to_be() -> None:
    """The tests above change count codes and nothing else."""
    for form in ("bare text", "framed text"):
        for signed, message in zip(LOGS[Kind.JSON], _stream(Kind.JSON, form), strict=True):
            for place in _counters(signed, form):
                assert re.match(rb"-[AV]", message[place:])
