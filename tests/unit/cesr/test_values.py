"""Primitives for plain values."""

from collections.abc import Callable

import pytest

from keystead.cesr import primitives, values
from keystead.cesr.primitives import Primitive
from keystead.errors import DecodeError, ErrorCode

STAMP = "2020-08-22T17:50:09.988921+00:00"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "M"),
        (2**16 - 1, "M"),
        (2**16, "R"),
        (2**40 - 1, "R"),
        (2**40, "N"),
        (2**64 - 1, "N"),
        (2**64, "S"),
        (2**88 - 1, "S"),
        (2**88, "T"),
        (2**112 - 1, "T"),
        (2**112, "U"),
        (2**136 - 1, "U"),
    ],
)
def test_a_number_takes_the_smallest_code(value: int, code: str) -> None:
    """A number is written as short as it can be, and reads back."""
    primitive = values.number(value)
    assert primitive.code == code
    assert values.number_of(primitives.parse(primitive.text)) == value


@pytest.mark.parametrize("value", [-1, 2**136, -(2**136)])
def test_a_number_must_fit(value: int) -> None:
    """Negative and too large numbers are refused."""
    with pytest.raises(ValueError, match="no number of at most 17 bytes"):
        values.number(value)


@pytest.mark.parametrize("value", [0, 1, 2**64, values.MAX_ORDINAL])
def test_an_ordinal_has_24_characters(value: int) -> None:
    """Attachments carry ordinals in one size."""
    primitive = values.ordinal(value)
    assert (primitive.code, len(primitive.text)) == ("0A", 24)
    assert values.number_of(primitive) == value


@pytest.mark.parametrize("value", [-1, values.MAX_ORDINAL + 1])
def test_an_ordinal_must_fit(value: int) -> None:
    """Negative and too large ordinals are refused."""
    with pytest.raises(ValueError, match="is no ordinal"):
        values.ordinal(value)


def test_a_date_is_written_with_letters_for_punctuation() -> None:
    """The published example."""
    primitive = values.datetime(STAMP)
    assert primitive.text == "1AAG2020-08-22T17c50c09d988921p00c00"
    assert values.datetime_of(primitive) == STAMP


@pytest.mark.parametrize(
    "text", ["1999-12-31T23:59:59.999999-23:59", "0000-01-01T00:00:00.000000+00:00"]
)
def test_dates_survive(text: str) -> None:
    """A date reads back."""
    assert values.datetime_of(primitives.parse(values.datetime(text).text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-08-22T17:50:09+00:00",
        "2020-08-22T17:50:09.988921Z",
        "2020-08-22 17:50:09.988921+00:00",
        "2020-13-22T17:50:09.988921+00:00",
        "2020-00-22T17:50:09.988921+00:00",
        "2020-08-32T17:50:09.988921+00:00",
        "2020-08-22T24:50:09.988921+00:00",
        "2020-08-22T17:60:09.988921+00:00",
        "2020-08-22T17:50:60.988921+00:00",
        "2020-08-22T17:50:09.988921+24:00",
        "2020-08-22T17c50c09d988921p00c00",
        "2020-08-22T17:50:09.988921+00:00\n",
        "\u0662020-08-22T17:50:09.988921+00:00"[:32],
    ],
)
def test_another_form_of_date_is_refused(text: str) -> None:
    """Only microseconds and a numeric offset are written."""
    with pytest.raises(DecodeError) as caught:
        values.datetime(text)
    assert caught.value.code is ErrorCode.VALUE


@pytest.mark.parametrize(
    "primitive",
    [
        primitives.make("1AAG", bytes(24)),
        values.ordinal(0),
        values.number(7),
        primitives.make("E", bytes(32)),
    ],
)
def test_another_primitive_holds_no_date(primitive: Primitive) -> None:
    """The code and what it holds are checked."""
    with pytest.raises(DecodeError) as caught:
        values.datetime_of(primitive)
    assert caught.value.code is ErrorCode.VALUE


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("z", "0J_z"),
        ("zz", "0Kzz"),
        ("icp", "Xicp"),
        ("zzzz", "1AAFzzzz"),
        ("zzzzz", "0L_zzzzz"),
        ("zzzzzz", "0Mzzzzzz"),
        ("zzzzzzz", "Yzzzzzzz"),
        ("zzzzzzzz", "1AANzzzzzzzz"),
        ("zzzzzzzzz", "0N_zzzzzzzzz"),
        ("zzzzzzzzzz", "0Ozzzzzzzzzz"),
        ("_", "0J__"),
    ],
)
def test_a_tag_stands_in_its_code(text: str, written: str) -> None:
    """Each length has its code, and the tag reads back without padding."""
    primitive = values.tag(text)
    assert primitive.text == written
    assert primitives.parse(written).soft == text


@pytest.mark.parametrize("text", ["", "z" * 11])
def test_a_tag_has_one_to_ten_characters(text: str) -> None:
    """Other lengths have no code."""
    with pytest.raises(ValueError, match="1 to 10 characters"):
        values.tag(text)


@pytest.mark.parametrize("text", ["a b", "+", "\u00e9"])
def test_a_tag_has_base64_characters(text: str) -> None:
    """Other characters are refused."""
    with pytest.raises(ValueError, match="Base64 characters"):
        values.tag(text)


@pytest.mark.parametrize("size", [*range(9), 12285, 12286])
def test_bytes_of_any_size_survive(size: int) -> None:
    """A byte string reads back."""
    data = bytes(range(256)) * 48
    primitive = values.byte_string(data[:size])
    assert primitives.parse(primitive.text).raw == data[:size]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "4A"),
        ("z", "6A"),
        ("-a", "5A"),
        ("-a-", "4A"),
        ("-abc", "4A"),
        ("A", "6A"),
        ("AA", "5A"),
        ("AAA", "4A"),
        ("zAAA", "4A"),
        ("AAAAA", "6A"),
        ("-_" * 100, "4A"),
    ],
)
def test_base64_strings_survive(text: str, code: str) -> None:
    """A Base64 string reads back, whatever its length."""
    primitive = values.base64_string(text)
    assert primitive.code == code
    assert values.base64_string_of(primitives.parse(primitive.text)) == text


@pytest.mark.parametrize("text", ["a b", "\u00e9", "a+b", "="])
def test_a_base64_string_has_base64_characters(text: str) -> None:
    """Other characters are refused."""
    with pytest.raises(ValueError, match="not a Base64 string"):
        values.base64_string(text)


@pytest.mark.parametrize("text", ["Abcd", "AAAA", "Abcdefgh"])
def test_an_ambiguous_base64_string_is_refused(text: str) -> None:
    """With a length of four, a leading A would be taken for padding."""
    with pytest.raises(ValueError, match="must not start with A"):
        values.base64_string(text)


@pytest.mark.parametrize(
    ("parts", "text"), [([], "-"), (["e"], "-e"), (["e", "acdc"], "-e-acdc"), (["0", "1"], "-0-1")]
)
def test_a_path_joins_its_parts(parts: list[str], text: str) -> None:
    """A path is its parts, each behind a dash."""
    assert values.base64_string_of(values.path(parts)) == text


def test_a_path_has_base64_characters() -> None:
    """A part with other characters is refused."""
    with pytest.raises(ValueError, match="not a Base64 string"):
        values.path(["e", "a.b"])


@pytest.mark.parametrize("make", [values.number, values.ordinal])
def test_numbers_survive_the_binary_domain(make: Callable[[int], Primitive]) -> None:
    """A number reads back from bytes."""
    primitive, _ = primitives.read_binary(make(1234).binary)
    assert values.number_of(primitive) == 1234
