"""Bodies in JSON, CBOR and MessagePack: one form for one value."""

import dataclasses
import json
from typing import Any

import pytest

from keystead.cesr import body
from keystead.cesr.body import Body
from keystead.cesr.versions import Kind
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import DEFAULT_LIMITS

BINARY = [Kind.CBOR, Kind.MGPK]
SMALL = dataclasses.replace(DEFAULT_LIMITS, members=10, depth=3)


def _reference(value: object) -> bytes:
    """Return the canonical JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _decode(raw: bytes, kind: Kind = Kind.JSON) -> Body:
    return body.decode(raw, kind, DEFAULT_LIMITS)


def _refused(raw: bytes, kind: Kind = Kind.JSON) -> ErrorCode:
    with pytest.raises(DecodeError) as caught:
        _decode(raw, kind)
    return caught.value.code


def _nested(levels: int, innermost: object = 0) -> dict[str, Any]:
    value = innermost
    for level in range(levels - 1):
        value = [value] if level % 2 else {"x": value}
    return {"a": value}


# What follows compares with `json.dumps`: a body is taken only if the fast encoder writes the
# same bytes for what it read.


@pytest.mark.parametrize("plane", range(17))
def test_canonical_text_is_that_of_the_reference(plane: int) -> None:
    """Every code point that can be encoded is written as `json.dumps` writes it."""
    points = [
        chr(point)
        for point in range(plane << 16, (plane + 1) << 16)
        if not 0xD800 <= point <= 0xDFFF
    ]
    for start in range(0, len(points), 4000):
        part = points[start : start + 4000]
        text = "".join(part)
        for value in ({text: text}, {"a": part}):
            raw = _reference(value)
            assert _decode(raw) == value
            assert body.encode(value, Kind.JSON) == raw


@pytest.mark.parametrize("point", [*range(0x100), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF, 0x10FFFF])
def test_each_odd_character_has_one_form(point: int) -> None:
    """A character is either itself or one escape; the other form is refused."""
    value = {"a": chr(point), chr(point): 0}
    raw = _reference(value)
    assert _decode(raw) == value
    low = point - 0x10000
    pair = f"\\u{0xD800 + (low >> 10):04x}\\u{0xDC00 + (low & 0x3FF):04x}"
    escape = pair if low >= 0 else f"\\u{point:04x}"
    if _reference({"a": chr(point)}) != f'{{"a":"{escape}"}}'.encode():
        assert _refused(f'{{"a":"{escape}"}}'.encode()) is ErrorCode.NOT_CANONICAL


@pytest.mark.parametrize("point", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
@pytest.mark.parametrize("place", ["label", "text"])
def test_surrogates_are_refused(point: int, place: str) -> None:
    """Half a character is none, neither as escape nor as bytes."""
    for half in (f"\\u{point:04x}".encode(), chr(point).encode("utf-8", "surrogatepass")):
        raw = b'{"%s":0}' % half if place == "label" else b'{"a":"%s"}' % half
        assert _refused(raw) is ErrorCode.BODY


@pytest.mark.parametrize(
    "number",
    [
        0,
        1,
        -1,
        9,
        10,
        -10,
        2**31,
        2**32,
        2**53,
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        2**64 + 1,
        -(2**63),
        -(2**63) - 1,
        -(2**64),
        10**30,
        -(10**30),
        10**4000,
    ],
)
def test_whole_numbers_of_any_size_are_exact(number: int) -> None:
    """Numbers at and beyond the edges of 64 bits keep their value and form."""
    raw = _reference({"a": [number, number], "b": number})
    assert _decode(raw) == {"a": [number, number], "b": number}


@pytest.mark.parametrize(
    "number", [0.0, 0.1, -0.5, 1.5, 1e16, 1e22, 5e-324, 1.7976931348623157e308]
)
def test_floats_have_the_form_of_the_reference(number: float) -> None:
    """A number with a fraction is taken as `json.dumps` writes it."""
    assert _decode(_reference({"a": number, "b": "\u00e9\u2028"})) == {
        "a": number,
        "b": "\u00e9\u2028",
    }


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": ""},
        {"a": {}, "b": [], "c": [[], {}]},
        {"a": None, "b": True, "c": False},
        {"a": [{"b": [{"c": [1, "x", None]}]}]},
        {"z": 1, "a": 2, "m": {"z": 1, "a": 2}},
    ],
)
@pytest.mark.parametrize("kind", Kind)
def test_nested_values_survive(kind: Kind, value: dict[str, Any]) -> None:
    """Field maps read back in every kind, labels in their order."""
    read = _decode(body.encode(value, kind), kind)
    assert read == value
    assert list(read) == list(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        '{"a":1.5,"a":1.5}',
        '{"a": 1}',
        '{"a":1 }',
        ' {"a":1}',
        '{"a":1}\n',
        '{"a":1.5}\n',
        '{\n"a":1}',
        r'{"a":"\u0041"}',
        r'{"\u0061":1}',
        r'{"a":"\/"}',
        r'{"a":"\u001F"}',
        r'{"a":"\u000a"}',
        r'{"a":"\u00e9"}',
        r'{"a":"\ud83d\ude00"}',
        '{"a":-0}',
        '{"a":1e2}',
        '{"a":1.0e0}',
        '{"a":1.50}',
        '{"a":1E2}',
        '{"a":0.1e1}',
        '{"a":1.00000000000000001}',
    ],
)
def test_another_form_of_json_is_refused(text: str) -> None:
    """What would be written otherwise is refused: one value has one form."""
    assert _refused(text.encode()) is ErrorCode.NOT_CANONICAL


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"}",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1}{"a":1}',
        b'{"a":1}x',
        b'{"a":1}\0',
        b'{"a":1.5}x',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":1.}',
        b'{"a":0x1}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":[1,]}',
        b"{a:1}",
        b"{1:1}",
        b'{"a"}',
        b'{"a":"\n"}',
        b'{"a":"\0"}',
        b'{"a":"\\x41"}',
        b'{"a":"\\u00"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\x80"}',
        b'{"a":"\xf5\x80\x80\x80"}',
        b'{"\xff":1}',
        b"\xef\xbb\xbf{}",
        b'{"a":tru}',
        b"/**/{}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_json_is_refused(raw: bytes) -> None:
    """What is no JSON at all, or no finite number, is malformed."""
    assert _refused(raw) is ErrorCode.BODY


@pytest.mark.parametrize(
    "raw", [b"[]", b"1", b"1.5", b'"a"', b"null", b"true", b'[{"a":1}]', b"[1.5]"]
)
def test_a_json_body_is_a_field_map(raw: bytes) -> None:
    """Another value on top is refused."""
    assert _refused(raw) is ErrorCode.BODY


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("levels", [1, 2, 31, 32])
def test_nesting_up_to_the_limit_is_taken(kind: Kind, levels: int) -> None:
    """Maps and lists may nest as deep as the limit."""
    value = _nested(levels)
    assert _decode(body.encode(value, kind), kind) == value


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("levels", [33, 34, 64, 300])
def test_nesting_beyond_the_limit_is_refused(kind: Kind, levels: int) -> None:
    """One level more is too deep."""
    assert _refused(body.encode(_nested(levels), kind), kind) is ErrorCode.LIMIT


@pytest.mark.parametrize("levels", [33, 64])
def test_nesting_is_bounded_beside_floats(levels: int) -> None:
    """Bodies that take the general way have the same limit."""
    assert _refused(_reference(_nested(levels, 0.5))) is ErrorCode.LIMIT


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("levels", [1000, 100_000])
@pytest.mark.parametrize("innermost", [b"1", b"1.5"])
def test_deep_json_ends_in_a_refusal(opening: bytes, levels: int, innermost: bytes) -> None:
    """A parser that recurses does not run out of stack."""
    closing = b"]" if opening == b"[" else b"}"
    raw = b'{"a":' + opening * levels + innermost + closing * levels + b"}"
    assert _refused(raw) is ErrorCode.LIMIT
    assert _refused(raw[: 5 + len(opening) * levels]) is ErrorCode.LIMIT


@pytest.mark.parametrize(
    ("kind", "opening", "codes"),
    [
        (Kind.CBOR, b"\x81", {ErrorCode.BODY, ErrorCode.LIMIT}),
        (Kind.CBOR, b"\xa1\x61a", {ErrorCode.BODY, ErrorCode.LIMIT}),
        (Kind.MGPK, b"\x91", {ErrorCode.LIMIT}),
        (Kind.MGPK, b"\x81\xa1a", {ErrorCode.LIMIT}),
    ],
)
def test_deep_binary_bodies_end_in_a_refusal(
    kind: Kind, opening: bytes, codes: set[ErrorCode]
) -> None:
    """100,000 levels are refused; the CBOR parser gives up on its own first."""
    head = b"\xa1\x61a" if kind is Kind.CBOR else b"\x81\xa1a"
    assert _refused(head + opening * 100_000 + b"\x01", kind) in codes


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("shape", ["list", "map", "deep"])
def test_members_are_counted_in_all_maps_and_lists(kind: Kind, shape: str) -> None:
    """As many members as the limit are taken, one more is refused."""

    def make(count: int) -> dict[str, Any]:
        if shape == "list":
            return {"a": [0] * (count - 1)}
        if shape == "map":
            return {f"{number:04d}": 0 for number in range(count)}
        return {"a": [0] * (count - 3), "b": {"c": 0}}

    value = make(DEFAULT_LIMITS.members)
    assert _decode(body.encode(value, kind), kind) == value
    assert _refused(body.encode(make(DEFAULT_LIMITS.members + 1), kind), kind) is ErrorCode.LIMIT


def test_members_are_bounded_beside_floats() -> None:
    """Bodies that take the general way have the same limit."""
    assert _refused(_reference({"a": [0.5] * 4096})) is ErrorCode.LIMIT


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [[[0]]]}, "nested deeper than 3"),
        ({"a": [0] * 10}, "more than 10 members"),
        ({"a": {str(number): 0 for number in range(10)}}, "more than 10 members"),
    ],
)
@pytest.mark.parametrize("kind", Kind)
def test_limits_are_those_that_were_given(kind: Kind, value: dict[str, Any], message: str) -> None:
    """A reader may be stricter."""
    with pytest.raises(DecodeError, match=message) as caught:
        body.decode(body.encode(value, kind), kind, SMALL)
    assert caught.value.code is ErrorCode.LIMIT


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\xbf\x61a\x01\xff", id="indefinite map"),
        pytest.param(b"\xa1\x61a\x9f\x01\xff", id="indefinite list"),
        pytest.param(b"\xa1\x61a\x7f\x61b\xff", id="indefinite text"),
        pytest.param(b"\xa1\x61a\x5f\x41b\xff", id="indefinite bytes"),
        pytest.param(b"\xa2\x61a\x01\x61a\x01", id="duplicate label"),
        pytest.param(b"\xa1\x61a\xa2\x61b\x01\x61b\x02", id="duplicate label inside"),
        pytest.param(b"\xa1\x61a\xfb\x7f\xf8" + bytes(6), id="NaN"),
        pytest.param(b"\xa1\x61a\xf9\x7e\x00", id="short NaN"),
        pytest.param(b"\xa1\x61a\xf9\x7c\x00", id="infinity"),
        pytest.param(b"\xa1\x61a\xf7", id="undefined"),
        pytest.param(b"\xa1\x61a\xe0", id="simple value"),
        pytest.param(b"\xa1\x61a\xf8\xff", id="long simple value"),
        pytest.param(b"\xa1\x61a\xfc", id="reserved value"),
        pytest.param(b"\xa1\x61a\xff", id="break"),
        pytest.param(b"\xff", id="break alone"),
        pytest.param(b"\xa1\x61a\x41b", id="bytes"),
        pytest.param(b"\xa1\x01\x01", id="number as label"),
        pytest.param(b"\xa1\x41a\x01", id="bytes as label"),
        pytest.param(b"\xa1\x81\x01\x01", id="list as label"),
        pytest.param(b"\xa1\xa1\x61a\x01\x01", id="map as label"),
        pytest.param(b"\xa1\x61a\x61\xff", id="no UTF-8"),
        pytest.param(b"\xa1\x61a\x63\xed\xa0\x80", id="surrogate"),
        pytest.param(b"\xa1\x61a\x01\x00", id="trailing byte"),
        pytest.param(b"\xa1\x61a\x01\xa1\x61a\x01", id="trailing body"),
        pytest.param(b"\xa1\x61a\x9b\x7f" + b"\xff" * 7, id="huge list"),
        pytest.param(b"\xa1\x61a\x7b\x7f" + b"\xff" * 7, id="huge text"),
        pytest.param(b"\xbb\xff" + b"\xff" * 7, id="huge map"),
        pytest.param(b"\xa1\x61a", id="cut"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80", id="list on top"),
        pytest.param(b"\x01", id="number on top"),
        pytest.param(b"\xf6", id="null on top"),
    ],
)
def test_malformed_cbor_is_refused(raw: bytes) -> None:
    """What is no field map of plain values with definite lengths is malformed."""
    assert _refused(raw, Kind.CBOR) is ErrorCode.BODY


@pytest.mark.parametrize("tag", [*range(64), 100, 256, 258, 260, 261, 1004, 43000, 55799, 65535])
@pytest.mark.parametrize(
    "content",
    [b"\x01", b"\x41\x01", b"\x61a", b"\x82\x01\x02", b"\xa1\x61a\x01", b"\x6a2020-01-01"],
)
def test_cbor_tags_are_refused(tag: int, content: bytes) -> None:
    """A tag would turn a value into another type, or refer to another place."""
    head = bytes([0xC0 | tag]) if tag < 24 else b"\xd9" + tag.to_bytes(2, "big")
    assert _refused(b"\xa1\x61a" + head + content, Kind.CBOR) is ErrorCode.BODY


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        pytest.param(Kind.CBOR, b"\xa1\x61a\x18\x01", id="CBOR number in two bytes"),
        pytest.param(Kind.CBOR, b"\xa1\x61a\x19\x00\xff", id="CBOR number in three bytes"),
        pytest.param(
            Kind.CBOR, b"\xa1\x61a\x1b" + bytes(7) + b"\x01", id="CBOR number in nine bytes"
        ),
        pytest.param(Kind.CBOR, b"\xa1\x61a\x38\x01", id="CBOR negative number in two bytes"),
        pytest.param(Kind.CBOR, b"\xb8\x01\x61a\x01", id="CBOR map head in two bytes"),
        pytest.param(Kind.CBOR, b"\xa1\x78\x01a\x01", id="CBOR text head in two bytes"),
        pytest.param(Kind.CBOR, b"\xa1\x61a\x98\x00", id="CBOR list head in two bytes"),
        pytest.param(Kind.CBOR, b"\xa1\x61a\xf9\x3c\x00", id="CBOR half float"),
        pytest.param(Kind.CBOR, b"\xa1\x61a\xfa\x3f\x80\x00\x00", id="CBOR single float"),
        pytest.param(Kind.MGPK, b"\x81\xa1a\xcc\x01", id="MessagePack number in two bytes"),
        pytest.param(Kind.MGPK, b"\x81\xa1a\xcd\x00\xff", id="MessagePack number in three bytes"),
        pytest.param(Kind.MGPK, b"\x81\xa1a\xcf" + bytes(8), id="MessagePack number in nine bytes"),
        pytest.param(Kind.MGPK, b"\x81\xa1a\xd0\x01", id="MessagePack signed number"),
        pytest.param(Kind.MGPK, b"\x81\xa1a\xd0\xff", id="MessagePack long negative number"),
        pytest.param(Kind.MGPK, b"\xde\x00\x01\xa1a\x01", id="MessagePack map head in three bytes"),
        pytest.param(Kind.MGPK, b"\x81\xd9\x01a\x01", id="MessagePack text head in two bytes"),
        pytest.param(
            Kind.MGPK, b"\x81\xa1a\xdc\x00\x00", id="MessagePack list head in three bytes"
        ),
        pytest.param(Kind.MGPK, b"\x81\xa1a\xca\x3f\x80\x00\x00", id="MessagePack single float"),
        pytest.param(Kind.MGPK, b"\x82\xa1a\x01\xa1a\x01", id="MessagePack duplicate label"),
    ],
)
def test_another_form_of_binary_is_refused(kind: Kind, raw: bytes) -> None:
    """What would be written otherwise is refused: one value has one form."""
    assert _refused(raw, kind) is ErrorCode.NOT_CANONICAL


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x81\xa1a\xc4\x01b", id="bytes"),
        pytest.param(b"\x81\xa1a\xd4\x05\x00", id="extension"),
        pytest.param(b"\x81\xa1a\xc7\x00\x05", id="empty extension"),
        pytest.param(b"\x81\xa1a\xd6\xff" + bytes(4), id="timestamp"),
        pytest.param(b"\x81\xa1a\xd7\xff" + b"\xff" * 8, id="impossible timestamp"),
        pytest.param(b"\x81\xa1a\xc7\x0c\xff" + b"\x7f" * 12, id="far timestamp"),
        pytest.param(b"\x81\xa1a\xc7\x03\xff" + bytes(3), id="odd timestamp"),
        pytest.param(b"\x81\xa1a\xcb\x7f\xf8" + bytes(6), id="NaN"),
        pytest.param(b"\x81\xa1a\xcb\xff\xf0" + bytes(6), id="infinity"),
        pytest.param(b"\x81\xa1a\xc1", id="unused code"),
        pytest.param(b"\x81\x01\x01", id="number as label"),
        pytest.param(b"\x81\xc0\x01", id="null as label"),
        pytest.param(b"\x81\xc4\x01a\x01", id="bytes as label"),
        pytest.param(b"\x81\x91\x01\x01", id="list as label"),
        pytest.param(b"\x81\x91\x80\x01", id="list with map as label"),
        pytest.param(b"\x81\x81\xa1a\x01\x01", id="map as label"),
        pytest.param(b"\x81\xd4\x05\x00\x01", id="extension as label"),
        pytest.param(b"\x81\xa1a\xa1\xff", id="no UTF-8"),
        pytest.param(b"\x81\xa1a\xa3\xed\xa0\x80", id="surrogate"),
        pytest.param(b"\x81\xa1a\x01\x00", id="trailing byte"),
        pytest.param(b"\x81\xa1a\xdd" + b"\xff" * 4, id="huge list"),
        pytest.param(b"\x81\xa1a\xdb" + b"\xff" * 4, id="huge text"),
        pytest.param(b"\x81\xa1a\xc9" + b"\xff" * 4 + b"\x05", id="huge extension"),
        pytest.param(b"\xdf" + b"\xff" * 4, id="huge map"),
        pytest.param(b"\x81\xa1a", id="cut"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x90", id="list on top"),
        pytest.param(b"\xc0", id="null on top"),
    ],
)
def test_malformed_messagepack_is_refused(raw: bytes) -> None:
    """What is no field map of plain values is malformed."""
    assert _refused(raw, Kind.MGPK) is ErrorCode.BODY


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("number", [0, 23, 24, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32])
def test_binary_numbers_have_their_shortest_form(kind: Kind, number: int) -> None:
    """Numbers around the edges of the forms survive, with either sign."""
    value = {"a": number, "b": -number, "c": 2**63 - 1, "d": 2**64 - 1, "e": -(2**63), "f": 0.25}
    assert _decode(body.encode(value, kind), kind) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_numbers_that_it_cannot_write(number: float) -> None:
    """Only finite numbers are JSON."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        body.encode({"a": number}, Kind.JSON)


def test_an_error_shows_little_of_the_body() -> None:
    """The message is one short line, whatever the body holds."""
    with pytest.raises(DecodeError) as caught:
        _decode(b'{"a":' + b"x" * 10_000)
    assert len(caught.value.message) < 120
    assert "\n" not in caught.value.message
