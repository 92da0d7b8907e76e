"""Primitives for plain values: numbers, dates, tags, byte strings, Base64 strings, paths.

Source: CESR specification, master code table and "CESR Encoding for SAD Path Language".
"""

import re
from collections.abc import Sequence

from keystead.cesr import base64, codes, primitives
from keystead.cesr.primitives import Primitive
from keystead.errors import DecodeError, ErrorCode

ORDINAL_BYTES = 16
MAX_ORDINAL = 2 ** (8 * ORDINAL_BYTES) - 1
DATETIME_CHARS = 32

# RFC 3339 with microseconds and offset, as KERI writes it: 32 characters.
DATETIME_PATTERN = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}[+-]([01][0-9]|2[0-3]):[0-5][0-9]"
)
_TO_CESR = str.maketrans(":.+", "cdp")
_FROM_CESR = str.maketrans("cdp", ":.+")


def number(value: int) -> Primitive:
    """Encode a non-negative number with the smallest of the codes M, R, N, S, T, U.

    Raises:
        ValueError: negative, or more than 17 bytes.
    """
    for code, size in codes.NUMBER_CODES.items():
        if 0 <= value < 256**size:
            return primitives.make(code, value.to_bytes(size, "big"))
    raise ValueError(f"{value} is no number of at most 17 bytes")


def ordinal(value: int) -> Primitive:
    """Encode a sequence or first-seen number as attachments carry it: 24 characters, code 0A.

    Raises:
        ValueError: negative, or more than 16 bytes.
    """
    if not 0 <= value <= MAX_ORDINAL:
        raise ValueError(f"{value} is no ordinal")
    return primitives.make(codes.ORDINAL_CODE, value.to_bytes(ORDINAL_BYTES, "big"))


def number_of(primitive: Primitive) -> int:
    """Return the number that a primitive with a number code holds."""
    return int.from_bytes(primitive.raw, "big")


def datetime(text: str) -> Primitive:
    """Encode a date and time such as `2020-08-22T17:50:09.988921+00:00`.

    Raises:
        DecodeError: another form (decode.value).
    """
    if not DATETIME_PATTERN.fullmatch(text):
        raise DecodeError(ErrorCode.VALUE, "not a date and time with microseconds and offset")
    raw = base64.decode(text.translate(_TO_CESR).encode("ascii"))
    return primitives.make(codes.DATETIME_CODE, raw)


def datetime_of(primitive: Primitive) -> str:
    """Return the date and time that a primitive holds.

    Raises:
        DecodeError: the primitive holds no date and time (decode.value).
    """
    text = base64.encode(primitive.raw).decode("ascii").translate(_FROM_CESR)
    if primitive.code != codes.DATETIME_CODE or not DATETIME_PATTERN.fullmatch(text):
        raise DecodeError(ErrorCode.VALUE, "not a date and time with microseconds and offset")
    return text


def tag(text: str) -> Primitive:
    """Encode one to ten Base64 characters, except a length for which there is no code.

    Raises:
        ValueError: no code for this length, or other characters.
    """
    if len(text) not in codes.TAG_CODES:
        raise ValueError(f"a tag has 1 to 10 characters, not {len(text)}")
    return primitives.make(codes.TAG_CODES[len(text)], b"", text)


def byte_string(data: bytes) -> Primitive:
    """Encode any bytes."""
    return primitives.make("4B", data)


def base64_string(text: str) -> Primitive:
    """Encode characters of the URL-safe Base64 alphabet, four for three bytes.

    Three characters `BBB` get the pad character `A` in front, so `ABBB` would read back as
    `BBB`: a text of a length that is a multiple of four must not start with `A`.

    Raises:
        ValueError: other characters, or a text that does not survive the way back.
    """
    if not set(text) <= set(base64.ALPHABET):
        raise ValueError("not a Base64 string")
    rest = len(text) % 4
    lead = (3 - rest) % 3 if rest else 0
    raw = base64.decode(b"A" * (-len(text) % 4) + text.encode("ascii"))[lead:]
    primitive = primitives.make("4A", raw)
    if base64_string_of(primitive) != text:
        raise ValueError("a Base64 string of this length must not start with A")
    return primitive


def base64_string_of(primitive: Primitive) -> str:
    """Return the characters that a Base64 string primitive holds."""
    lead = codes.VERSION_1.primitives[primitive.code].lead
    text = base64.encode(bytes(lead) + primitive.raw).decode("ascii")
    if lead:
        return text[(lead + 1) % 4 :]
    return text.removeprefix("A")


def path(parts: Sequence[str]) -> Primitive:
    """Encode a path into a field map: `["e", "acdc"]` is `-e-acdc`, the root is `-`.

    Raises:
        ValueError: a part with characters outside the Base64 alphabet.
    """
    return base64_string("-" + "-".join(parts))
