"""URL-safe Base64 without padding, strict: one text for one value."""

import binascii
from functools import lru_cache

from keystead.errors import DecodeError, ErrorCode

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_SEXTETS = {ord(char): value for value, char in enumerate(ALPHABET)}
# The standard alphabet's own `+`, `/` and the pad `=` become characters that it refuses.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def decode(text: bytes) -> bytes:
    """Return the bytes of `text`, whose length is a multiple of four.

    Raises:
        DecodeError: a character outside the URL-safe alphabet (decode.encoding).
    """
    try:
        return binascii.a2b_base64(text.translate(_TO_STANDARD), strict_mode=True)
    except binascii.Error:
        raise DecodeError(
            ErrorCode.BAD_ENCODING, "a character outside the URL-safe Base64 alphabet"
        ) from None


def encode(data: bytes) -> bytes:
    """Return the text of `data`, whose length is a multiple of three."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL_SAFE)


def to_int(text: bytes) -> int:
    """Return the number that `text` writes with base 64 digits, most significant first.

    Raises:
        DecodeError: a character outside the alphabet (decode.encoding).
    """
    value = 0
    try:
        for char in text:
            value = value << 6 | _SEXTETS[char]
    except KeyError:
        raise DecodeError(
            ErrorCode.BAD_ENCODING, "a character outside the URL-safe Base64 alphabet"
        ) from None
    return value


@lru_cache(maxsize=1024)  # mostly counts and places
def from_int(value: int, size: int) -> str:
    """Write `value` with `size` base 64 digits.

    Raises:
        ValueError: the number is negative or needs more digits.
    """
    if value < 0 or value >= 64**size:
        raise ValueError(f"{value} does not fit in {size} base 64 digits")
    return "".join(ALPHABET[value >> 6 * place & 63] for place in reversed(range(size)))
