"""URL-safe Base64 without padding, strict."""

import base64 as standard

import pytest

from keystead.cesr import base64
from keystead.errors import DecodeError, ErrorCode


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(255)), b"\xfb\xef\xbe\xff\xff\xff"])
def test_encoding_is_that_of_the_standard_library(data: bytes) -> None:
    """The text equals what the standard library writes with the URL-safe alphabet."""
    assert base64.encode(data) == standard.urlsafe_b64encode(data)


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(255)), b"\xfb\xef\xbe\xff\xff\xff"])
def test_decoding_gives_back_what_was_encoded(data: bytes) -> None:
    """Text reads back as the same bytes."""
    assert base64.decode(base64.encode(data)) == data


@pytest.mark.parametrize(
    "octet", [octet for octet in range(256) if chr(octet) not in base64.ALPHABET]
)
@pytest.mark.parametrize("place", range(4))
def test_decoding_refuses_other_characters(octet: int, place: int) -> None:
    """Padding, the standard alphabet's own characters and all others are refused."""
    text = bytearray(b"AAAA")
    text[place] = octet
    with pytest.raises(DecodeError) as caught:
        base64.decode(bytes(text))
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_decoding_refuses_a_cut_text(size: int) -> None:
    """A length that is no multiple of four is refused."""
    with pytest.raises(DecodeError) as caught:
        base64.decode(b"A" * size)
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "A"), (63, "_"), (62, "-"), (64, "BA"), (4095, "__"), (0, "AAAA"), (2**24 - 1, "____")],
)
def test_numbers_have_the_most_significant_digit_first(value: int, text: str) -> None:
    """A number is written with base 64 digits and reads back."""
    assert base64.from_int(value, len(text)) == text
    assert base64.to_int(text.encode()) == value


def test_no_digits_are_zero() -> None:
    """An empty text is the number zero."""
    assert base64.to_int(b"") == 0


@pytest.mark.parametrize("text", [b"=", b"A+", b"/A", b"A\n", b"\xff", b" A"])
def test_numbers_refuse_other_characters(text: bytes) -> None:
    """A character outside the alphabet is no digit."""
    with pytest.raises(DecodeError) as caught:
        base64.to_int(text)
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize(("value", "size"), [(-1, 1), (64, 1), (4096, 2), (1, 0)])
def test_a_number_must_fit(value: int, size: int) -> None:
    """A number that needs more digits, or a negative one, is refused."""
    with pytest.raises(ValueError, match="does not fit"):
        base64.from_int(value, size)
