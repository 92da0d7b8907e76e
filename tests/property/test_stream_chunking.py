"""What holds for a stream however it is cut."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keystead.cesr import base64
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.cesr.versions import Kind, find_start
from keystead.testing.authoring import Signed
from support.streams import (
    binary_attachments,
    comparable,
    pieces,
    read,
    read_pieces,
    signed_log,
)

MANY = settings(deadline=None, max_examples=300)
SIGNED = [
    signed
    for number, kind in enumerate(Kind)
    for signed in signed_log(f"author {number}", kind=kind, keys=number + 1)
]


def _forms(signed: Signed) -> list[bytes]:
    return [
        signed.raw,
        signed.framed,
        signed.event.raw,
        binary_attachments(signed, framed=False),
        binary_attachments(signed, framed=True),
    ]


# A frame tells its end, so that nothing behind it can change it.
FRAMED = st.sampled_from(
    [form for signed in SIGNED for form in (signed.framed, binary_attachments(signed, framed=True))]
)
VALID = st.sampled_from([form for signed in SIGNED for form in _forms(signed)])
BETWEEN = st.sampled_from([b"", b"\n", b"\r\n\t", b"--AAABAA", base64.decode(b"--AAABAA")])
GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [
            b"{",
            b'{"v":"KERI10JSON',
            b'{"v":"KERI10JSON000100_"',
            b'{"v":"KERI10JSON000019_"}',
            b'{"v":"KERI20JSON000019_"}',
            b"\xa1\x61v\x71KERI10CBOR000020_",
            b"\x81\xa1v\xb1KERI10MGPK000015_",
            b"-AAB",
            b"-VAC",
            b"-0V__",
            b"-V__",
            b"-J__-K__",
            b"-ZAB4BAA",
            b"\xfb\xff\xff",
            b"\xf8\x00\x01",
            b"\xf9\x5f\xff",
        ]
    ),
)
CUT = st.builds(lambda form, size: form[: size % len(form)], VALID, st.integers(1, 10_000))
CHANGED = st.builds(
    lambda form, place, octet: form[: place % len(form)] + octet + form[place % len(form) + 1 :],
    VALID,
    st.integers(0, 10_000),
    st.binary(max_size=2),
)
STREAMS = st.lists(st.one_of(VALID, BETWEEN, GARBAGE, CUT, CHANGED), max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 6000), max_size=12)


@MANY
@given(STREAMS, CUTS)
def test_items_do_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    """The same bytes give the same items, however they arrive."""
    assert comparable(read_pieces(pieces(data, cuts))) == comparable(read(data))


@settings(deadline=None, max_examples=60)
@given(STREAMS)
def test_items_do_not_depend_on_single_bytes(data: bytes) -> None:
    """A stream that arrives byte by byte gives what it gives at once."""
    assert comparable(read_pieces(pieces(data, range(len(data))))) == comparable(read(data))


@MANY
@given(STREAMS, CUTS)
def test_items_cover_the_stream_in_order(data: bytes, cuts: list[int]) -> None:
    """Items do not overlap; between them stands nothing but annotation and genus codes."""
    place = 0
    for item in read_pieces(pieces(data, cuts)):
        assert place <= item.start <= item.end <= len(data)
        _assert_blank(data[place : item.start])
        if isinstance(item, Message):
            assert data[item.start : item.end].startswith(item.raw)
        place = item.end
    _assert_blank(data[place:])


def _assert_blank(between: bytes) -> None:
    """Check that only annotation and genus codes are left out."""
    for genus in (b"--AAABAA", b"-_AAABAA", base64.decode(b"--AAABAA"), base64.decode(b"-_AAABAA")):
        between = between.replace(genus, b"")
    genus_rest = between.strip(b"\t\n\r")
    assert genus_rest == b"" or (len(genus_rest) % 2 == 0 and genus_rest[:1] in {b"-", b"\xfb"})


@MANY
@given(st.lists(st.tuples(BETWEEN, VALID), max_size=8), CUTS)
def test_valid_messages_come_out_as_they_were_written(
    parts: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    """The bodies that come out are those that went in, one after another."""
    data = b"".join(between + message for between, message in parts)
    items = read_pieces(pieces(data, cuts))
    assert all(isinstance(item, Message) for item in items)
    whole = [one for _, message in parts for one in read(message)]
    assert [item.raw for item in items if isinstance(item, Message)] == [
        one.raw for one in whole if isinstance(one, Message)
    ]


@MANY
@given(st.lists(FRAMED, min_size=2, max_size=5), GARBAGE, st.integers(0, 4), CUTS)
def test_a_fault_between_frames_costs_no_good_message(
    frames: list[bytes], garbage: bytes, place: int, cuts: list[int]
) -> None:
    """Garbage between framed messages is one fault at most for each false start in it."""
    place = min(place, len(frames) - 1)
    data = b"".join([*frames[:place], garbage, *frames[place:]])
    # A false start may swallow what follows by its size, or join with it; that is no fault.
    assume(find_start(garbage, 0) is None)
    assume(b"KERI10" not in garbage)
    items = read_pieces(pieces(data, cuts))
    raws = [item.raw for item in items if isinstance(item, Message)]
    good = [one.raw for frame in frames for one in read(frame) if isinstance(one, Message)]
    assert raws == good


@settings(deadline=None, max_examples=100)
@given(st.lists(FRAMED, min_size=1, max_size=4), st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_body_costs_one_message(frames: list[bytes], place: int, octet: int) -> None:
    """A change behind the version string of the first body leaves all others."""
    (first,) = read(frames[0])
    assert isinstance(first, Message)
    place = 30 + place % (len(first.raw) - 30)
    assume(frames[0][place] != octet)
    changed = frames[0][:place] + bytes([octet]) + frames[0][place + 1 :]
    items = read(changed + b"".join(frames[1:]))
    raws = [item.raw for item in items if isinstance(item, Message)]
    good = [one.raw for frame in frames[1:] for one in read(frame) if isinstance(one, Message)]
    assert raws[len(raws) - len(good) :] == good


@settings(deadline=None, max_examples=100)
@given(st.lists(FRAMED, min_size=1, max_size=5), st.integers(1, 500))
def test_a_framed_message_is_out_with_its_last_byte(frames: list[bytes], step: int) -> None:
    """After each byte, exactly the frames that are complete are out."""
    data = b"".join(frames)
    ends = [sum(map(len, frames[: number + 1])) for number in range(len(frames))]
    reader = StreamReader()
    items: list[Message | Malformed] = []
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        items += reader
        assert len(items) == sum(end <= start + step for end in ends)
