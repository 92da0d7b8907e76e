"""The stream reader: framing, faults, and where reading goes on."""

import dataclasses
from collections.abc import Callable

import pytest

from keystead.cesr import base64, groups
from keystead.cesr import body as bodies
from keystead.cesr.codes import CounterRow
from keystead.cesr.groups import Cursor, Group
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.cesr.versions import HEAD_BYTES, Kind, Protocol, write_version
from keystead.cesr.writing import write_frame, write_groups
from keystead.errors import ErrorCode
from keystead.keri import forms
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.testing.authoring import Signed
from support.streams import (
    GROUPS,
    binary_attachments,
    comparable,
    pieces,
    read,
    read_pieces,
    signed_log,
)

LOGS = {kind: signed_log(kind=kind) for kind in Kind}
FIRST, SECOND, THIRD = LOGS[Kind.JSON]
GENUS = b"--AAABAA"
GROUP = FIRST.raw[len(FIRST.event.raw) :]
SMALL = dataclasses.replace(DEFAULT_LIMITS, attachments=200, body=400)


def _messages(items: list[Message | Malformed]) -> list[bytes]:
    return [item.raw for item in items if isinstance(item, Message)]


def _faults(items: list[Message | Malformed]) -> list[ErrorCode]:
    return [item.error.code for item in items if isinstance(item, Malformed)]


def _body(kind: Kind = Kind.JSON, **fields: object) -> bytes:
    value = {"v": "", **fields}
    size = len(bodies.encode({**value, "v": write_version(Protocol.KERI, kind, 0)}, kind))
    return bodies.encode({**value, "v": write_version(Protocol.KERI, kind, size)}, kind)


WRITERS: dict[str, Callable[[Signed], bytes]] = {
    "bare text": lambda signed: signed.raw,
    "framed text": lambda signed: signed.framed,
    "bare binary": lambda signed: binary_attachments(signed, framed=False),
    "framed binary": lambda signed: binary_attachments(signed, framed=True),
    "none": lambda signed: signed.event.raw,
}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_a_log_reads_however_it_is_attached_and_cut(kind: Kind, writer: str, step: int) -> None:
    """Bodies and attachments come out in order, with their places."""
    written = [WRITERS[writer](signed) for signed in LOGS[kind]]
    data = b"".join(written)
    items = read_pieces(pieces(data, range(step, len(data), step)))
    assert _messages(items) == [signed.event.raw for signed in LOGS[kind]]
    end = 0
    for item, one, signed in zip(items, written, LOGS[kind], strict=True):
        assert isinstance(item, Message)
        assert (item.start, item.end) == (end, end + len(one))
        assert (item.protocol, item.kind) == (Protocol.KERI, kind)
        assert item.groups == (() if writer == "none" else signed.groups)
        assert item.body == bodies.decode(item.raw, kind, DEFAULT_LIMITS)
        end = item.end


@pytest.mark.parametrize("frame", [write_groups, write_frame])
@pytest.mark.parametrize("convert", [bytes, base64.decode])
def test_every_kind_of_group_is_attached(
    frame: Callable[..., bytes], convert: Callable[[bytes], bytes]
) -> None:
    """All groups read in either domain, with and without frame."""
    data = FIRST.event.raw + convert(frame(GROUPS))
    for items in (read(data), read(data + SECOND.raw), read_pieces(pieces(data, range(len(data))))):
        assert isinstance(items[0], Message)
        assert items[0].groups == GROUPS


def test_a_framed_message_comes_out_at_once() -> None:
    """A frame tells its end: nothing has to come behind."""
    reader = StreamReader()
    reader.feed(FIRST.framed)
    assert len(list(reader)) == 1


@pytest.mark.parametrize(
    "data", [FIRST.raw, FIRST.event.raw, binary_attachments(FIRST, framed=False)]
)
def test_a_bare_message_waits_for_the_next(data: bytes) -> None:
    """More could be attached until the next body starts or the stream ends."""
    reader = StreamReader()
    reader.feed(data)
    assert list(reader) == []
    reader.feed(SECOND.raw[:1])
    assert len(list(reader)) == 1


def test_iterating_again_gives_nothing_new() -> None:
    """Each item comes out once."""
    reader = StreamReader()
    assert list(reader) == []
    reader.feed(FIRST.raw)
    reader.close()
    assert len(list(reader)) == 1
    assert list(reader) == []


def test_a_closed_reader_takes_nothing() -> None:
    """Feeding behind the end is a mistake of the caller."""
    reader = StreamReader()
    reader.close()
    with pytest.raises(ValueError, match="the reader is closed"):
        reader.feed(b"")


def test_an_empty_stream_holds_nothing() -> None:
    """No bytes are no fault."""
    assert read(b"") == []


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\t", b"\n" * 1000])
@pytest.mark.parametrize("writer", WRITERS)
def test_annotation_is_skipped(blank: bytes, writer: str) -> None:
    """Line ends and tabs may stand between and around frames, and before attachments."""
    parts = [FIRST.event.raw, WRITERS[writer](FIRST)[len(FIRST.event.raw) :], SECOND.raw]
    data = blank + blank.join(parts) + blank
    for step in (1, 5, len(data)):
        items = read_pieces(pieces(data, range(step, len(data), step)))
        assert _messages(items) == [FIRST.event.raw, SECOND.event.raw]
        assert isinstance(items[0], Message)
        assert items[0].groups == (() if writer == "none" else FIRST.groups)


@pytest.mark.parametrize(
    "genus", [GENUS, b"-_AAABAA", base64.decode(GENUS), base64.decode(b"-_AAABAA")]
)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_genus_code_may_stand_before_a_message(genus: bytes, writer: str) -> None:
    """The code of the tables in use is stepped over, and ends the message before."""
    data = genus + WRITERS[writer](FIRST) + genus + SECOND.framed
    for step in (1, 5, len(data)):
        items = read_pieces(pieces(data, range(step, len(data), step)))
        assert _messages(items) == [FIRST.event.raw, SECOND.event.raw]
        assert _faults(items) == []


@pytest.mark.parametrize("genus", [b"--AAACAA", b"--AAAAAA", base64.decode(b"-_AAACAA")])
def test_other_code_tables_are_refused(genus: bytes) -> None:
    """A stream of a later version is not guessed; reading goes on at the next body."""
    items = read(FIRST.framed + genus + SECOND.framed)
    assert _messages(items) == [FIRST.event.raw, SECOND.event.raw]
    assert _faults(items) == [ErrorCode.UNSUPPORTED_VERSION]


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"garbage!", ErrorCode.VERSION_STRING),
        (b" ", ErrorCode.COLD_START),
        (b"\0" * 100, ErrorCode.COLD_START),
        (b"AAAA", ErrorCode.COLD_START),
        (b"\xe0\xff", ErrorCode.COLD_START),
        (b"{", ErrorCode.VERSION_STRING),
        (b"{" * 100, ErrorCode.VERSION_STRING),
        (b'{"v":"KERI11JSON000100_"}', ErrorCode.UNSUPPORTED_VERSION),
        (b'{"v":"KERI10JSONffffff_"}', ErrorCode.LIMIT),
        (b'{"v":"KERI10JSON000000_"}', ErrorCode.BODY),
        (b'{"v":"KERI10JSON000018_"}', ErrorCode.BODY),
        (b'{"v":"KERI10JSON00001a_"}', ErrorCode.BODY),
        (b'{"v":"KERI10JSON000019_"?', ErrorCode.BODY),
        (b"\xa1\x61v\x71KERI10CBOR000016_\xff", ErrorCode.BODY),
        (b"\x81\xa1v\xb1KERI10MGPK000003_", ErrorCode.BODY),
        (b"-AAB", ErrorCode.COLD_START),
        (GROUP, ErrorCode.COLD_START),
        (b"-VAA", ErrorCode.COLD_START),
        (b"-xAA", ErrorCode.UNKNOWN_CODE),
        (b"-0xAAAAA", ErrorCode.UNKNOWN_CODE),
        (b"\xfb\xff\xff\xff", ErrorCode.UNKNOWN_CODE),
        (base64.decode(GROUP), ErrorCode.COLD_START),
    ],
)
@pytest.mark.parametrize("writer", ["framed text", "framed binary"])
def test_garbage_between_frames_costs_no_message(
    garbage: bytes, code: ErrorCode, writer: str
) -> None:
    """What is no message comes out as one fault, up to the next body, at any cutting."""
    before, after = WRITERS[writer](FIRST), WRITERS[writer](SECOND)
    data = before + garbage + after
    whole = read(data)
    assert _messages(whole) == [FIRST.event.raw, SECOND.event.raw]
    assert _faults(whole) == [code]
    fault = whole[1]
    assert (fault.start, fault.end) == (len(before), len(before + garbage))
    for step in (1, 3, 50):
        cut = read_pieces(pieces(data, range(step, len(data), step)))
        assert comparable(cut) == comparable(whole)


@pytest.mark.parametrize("tail", [b"garbage!", b"\0", b"{" * 50, GROUP])
def test_garbage_at_the_end_is_one_fault(tail: bytes) -> None:
    """The fault ends with the stream."""
    items = read(FIRST.framed + tail)
    assert _messages(items) == [FIRST.event.raw]
    assert len(items) == 2
    assert items[1].end == len(FIRST.framed + tail)


@pytest.mark.parametrize(
    ("attached", "code"),
    [
        (b"-VAB-VAA", ErrorCode.GROUP),
        (b"-VAB-WAA", ErrorCode.GROUP),
        (b"-VABAAAA", ErrorCode.UNKNOWN_CODE),
        (b"-VAB-AAB", ErrorCode.GROUP),
        (b"-VAB-A=A", ErrorCode.BAD_ENCODING),
        (b"-VAX" + GROUP[:-1] + b"!", ErrorCode.BAD_ENCODING),
        (b"-0VAAAAB-WAA", ErrorCode.GROUP),
        (base64.decode(b"-VAB-WAA"), ErrorCode.GROUP),
        (base64.decode(b"-0VAAAAB-WAA"), ErrorCode.GROUP),
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
def test_a_fault_in_a_frame_stays_inside_it(attached: bytes, code: ErrorCode, step: int) -> None:
    """Only the message whose frame it is in is lost, and the fault has its extent."""
    bad = SECOND.event.raw + attached
    data = FIRST.framed + bad + THIRD.framed
    items = read_pieces(pieces(data, range(step, len(data), step)))
    assert _messages(items) == [FIRST.event.raw, THIRD.event.raw]
    assert _faults(items) == [code]
    assert items[1].end == len(FIRST.framed + bad)


@pytest.mark.parametrize(
    ("attached", "code"),
    [
        (b"-WAA", ErrorCode.GROUP),
        (GROUP + b"-VAA", ErrorCode.GROUP),
        (GROUP[:-4], ErrorCode.GROUP),
        (GROUP[:-1], ErrorCode.GROUP),
        (GROUP + b"AAAA", ErrorCode.UNKNOWN_CODE),
        (b"-AAB{", ErrorCode.GROUP),
        (b"-xAA", ErrorCode.UNKNOWN_CODE),
        (b"-A=A", ErrorCode.BAD_ENCODING),
        (GROUP[:20] + b"!" + GROUP[21:], ErrorCode.GROUP),
        (base64.decode(b"-WAA"), ErrorCode.GROUP),
        (base64.decode(GROUP + b"-VAA"), ErrorCode.GROUP),
        (base64.decode(b"-xAA"), ErrorCode.UNKNOWN_CODE),
        (base64.decode(b"-CAB" + b"A" * 132), ErrorCode.GROUP),
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
def test_a_fault_without_frame_ends_at_the_next_body(
    attached: bytes, code: ErrorCode, step: int
) -> None:
    """Without a frame, reading goes on at the next body."""
    data = FIRST.raw + SECOND.event.raw + attached + THIRD.raw
    items = read_pieces(pieces(data, range(step, len(data), step)))
    assert _messages(items) == [FIRST.event.raw, THIRD.event.raw]
    assert _faults(items) == [code]


@pytest.mark.parametrize("count", [b"-VAW", b"-VAY", b"-V__"])
def test_a_frame_with_a_lying_count_is_refused(count: bytes) -> None:
    """A frame that cuts its groups, or the next body, is refused."""
    data = FIRST.event.raw + count + GROUP + SECOND.framed * 60
    items = read(data)
    assert FIRST.event.raw not in _messages(items)
    assert _faults(items)[0] in {ErrorCode.GROUP, ErrorCode.BAD_ENCODING}
    assert _messages(items)[-1] == SECOND.event.raw


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'"b":1,"a":1 ', ErrorCode.NOT_CANONICAL),
        (b'"a":' + b"[" * 40 + b"]" * 40, ErrorCode.LIMIT),
        (b'"a":' + b"[" * 2000 + b"]" * 2000, ErrorCode.LIMIT),
    ],
)
@pytest.mark.parametrize("attached", [b"", b"-VAX" + GROUP, GROUP, b"-VAB-WAA"])
def test_a_refused_body_keeps_its_frame(text: bytes, code: ErrorCode, attached: bytes) -> None:
    """A body that is well-formed but refused is stepped over with its attachments."""
    size = len(b'{"v":"KERI10JSON000000_",}') + len(text)
    bad = b'{"v":"KERI10JSON%06x_",%s}' % (size, text) + attached
    data = FIRST.framed + bad + SECOND.raw
    for step in (1, len(data)):
        items = read_pieces(pieces(data, range(step, len(data), step)))
        assert _messages(items) == [FIRST.event.raw, SECOND.event.raw]
        assert _faults(items) == [code]
        assert items[1].end == len(FIRST.framed + bad)


def test_a_refused_body_keeps_its_own_fault() -> None:
    """A fault in attachments of unknown end does not hide that of the body."""
    bad = b'{"v":"KERI10JSON00001a_" }' + b"-WAA"
    assert _faults(read(bad + SECOND.raw)) == [ErrorCode.NOT_CANONICAL]


@pytest.mark.parametrize("writer", ["bare text", "bare binary", "framed text", "framed binary"])
def test_attachments_are_bounded(writer: str) -> None:
    """Attachments as large as the limit are taken, larger ones refused, at any cutting."""
    signed = dataclasses.replace(FIRST, signatures=FIRST.signatures * 4)
    data = WRITERS[writer](signed)
    exact = len(data) - len(FIRST.event.raw)
    for attachments, faults in ((exact, []), (exact - 1, [ErrorCode.LIMIT])):
        limits = dataclasses.replace(DEFAULT_LIMITS, attachments=attachments)
        for step in (1, len(data)):
            cut = pieces(data + SECOND.event.raw, range(step, len(data), step))
            items = read_pieces(cut, limits)
            assert _faults(items) == faults
            assert _messages(items)[-1] == SECOND.event.raw


def test_annotation_behind_a_body_is_bounded() -> None:
    """Line feeds without end are not kept without end."""
    reader = StreamReader(SMALL)
    reader.feed(FIRST.event.raw)
    items: list[Message | Malformed] = []
    for _ in range(10):
        reader.feed(b"\n" * 100)
        items += reader
    reader.feed(SECOND.event.raw)
    reader.close()
    items += reader
    assert _faults(items) == [ErrorCode.LIMIT]
    assert _messages(items) == [SECOND.event.raw]


def test_bodies_are_bounded() -> None:
    """A body larger than the limit is refused by its version string alone."""
    reader = StreamReader(SMALL)
    reader.feed(b'{"v":"KERI10JSON000191_","a":"')
    reader.feed(b"x" * 100)
    assert list(reader) == []
    reader.close()
    assert _faults(list(reader)) == [ErrorCode.LIMIT]


def test_a_body_as_large_as_the_limit_is_taken() -> None:
    """The limit itself is allowed."""
    raw = _body(a="x" * (SMALL.body - len(_body(a=""))))
    assert len(raw) == SMALL.body
    assert _messages(read(raw, SMALL)) == [raw]


@pytest.mark.parametrize("kind", Kind)
def test_the_shortest_body_reads(kind: Kind) -> None:
    """A body of a version string alone is shorter than the longest head, and a message."""
    raw = _body(kind)
    assert len(raw) <= HEAD_BYTES
    items = read_pieces(pieces(raw * 2, range(len(raw) * 2)))
    assert _messages(items) == [raw, raw]


def test_work_in_vain_is_bounded() -> None:
    """A stream of false starts that each claim much is skipped in large steps at last."""
    limits = dataclasses.replace(DEFAULT_LIMITS, body=4000, resync_work=1)
    false = b'{"v":"KERI10JSON%06x_","a":[' % 3000 + b"0," * 50
    data = false * 500
    items = read(data, limits)
    assert set(_faults(items)) == {ErrorCode.BODY, ErrorCode.TRUNCATED}
    assert len(items) < 120
    assert comparable(items) == comparable(
        read_pieces(pieces(data, range(0, len(data), 777)), limits)
    )


def test_another_decoder_is_asked() -> None:
    """The caller may know a faster way to read bodies."""
    asked = []

    def decode(raw: bytes, kind: Kind) -> bodies.Content:
        asked.append(raw)
        return bodies.decode(raw, kind, DEFAULT_LIMITS)

    reader = StreamReader(decode=decode)
    reader.feed(FIRST.framed)
    assert len(list(reader)) == 1
    assert asked == [FIRST.event.raw]


@pytest.mark.parametrize("size", range(1, HEAD_BYTES))
@pytest.mark.parametrize("kind", Kind)
def test_a_cut_head_is_truncated(kind: Kind, size: int) -> None:
    """A stream that ends inside a version string says so."""
    raw = LOGS[kind][0].event.raw
    assert _faults(read(raw[:size])) == [ErrorCode.TRUNCATED]


@pytest.mark.parametrize("head", [GENUS, base64.decode(GENUS)])
@pytest.mark.parametrize("size", range(3, 6))
def test_a_cut_genus_code_is_truncated(head: bytes, size: int) -> None:
    """A stream that ends inside a genus code says so."""
    assert _faults(read(head[:size])) == [ErrorCode.TRUNCATED]


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "none"])
def test_cut_attachments_are_truncated(writer: str) -> None:
    """A stream that ends inside attachments gives no message with fewer of them."""
    data = FIRST.framed + WRITERS[writer](SECOND)
    start = len(FIRST.framed) + len(SECOND.event.raw)
    for size in range(start + 1, len(data)):
        items = read(data[:size])
        assert _messages(items) == [FIRST.event.raw]
        assert _faults(items) == [ErrorCode.TRUNCATED]
        assert (items[1].start, items[1].end) == (len(FIRST.framed), size)


def test_a_body_read_by_its_form_still_gives_its_field_map() -> None:
    """A decoder may give a match instead; the field map is then made when asked for."""
    reader = StreamReader(decode=forms.decoder(DEFAULT_LIMITS))
    reader.feed(FIRST.framed)
    (item,) = reader
    assert isinstance(item, Message)
    assert not isinstance(item.content, dict)
    assert item.body == bodies.decode(item.raw, Kind.JSON, DEFAULT_LIMITS)


def test_small_pieces_of_a_binary_group_are_not_read_over_and_over() -> None:
    """A group that grows by small pieces is tried a few times, not once for each piece."""
    inner = b"4BABAAAA" * 4096
    counter = b"-0Z" + base64.from_int(4096, 5).encode()
    data = FIRST.event.raw + base64.decode(counter + inner)
    reader = StreamReader()
    tries = 0
    read = groups.read_group

    def counted(cursor: Cursor, row: CounterRow, count: int, limits: Limits) -> Group:
        nonlocal tries
        tries += 1
        return read(cursor, row, count, limits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "read_group", counted)
        for start in range(0, len(data), 64):
            reader.feed(data[start : start + 64])
            assert not list(reader)
        reader.close()
        (message,) = reader
    assert isinstance(message, Message)
    assert len(message.groups[0].items) == 4096
    assert tries < 50
