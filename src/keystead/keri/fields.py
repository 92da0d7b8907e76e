"""Field values of messages: read strictly, one spelling for one value.

Source: KERI specification, "KERI field types" and "Key event messages".
"""

from typing import Any

from keystead.cesr.body import Body
from keystead.cesr.keys import DIGEST_PATTERN, Aid, Digest, is_aid
from keystead.errors import DecodeError, ErrorCode
from keystead.keri.numbers import parse_hex


def check_labels(body: Body, labels: tuple[str, ...]) -> None:
    """Check that a field map has exactly these labels in this order.

    Raises:
        DecodeError: other labels, or another order (decode.fields).
    """
    if tuple(body) != labels:
        raise DecodeError(ErrorCode.FIELDS, f"the fields must be {' '.join(labels)}")


def parse_aid(value: object, label: str) -> Aid:
    """Read an identifier.

    Raises:
        DecodeError: no identifier (decode.value).
    """
    if isinstance(value, str) and is_aid(value):
        return Aid(value)
    raise DecodeError(ErrorCode.VALUE, f"{label} is not an identifier")


def parse_digest(value: object, label: str) -> Digest:
    """Read a digest.

    Raises:
        DecodeError: no digest (decode.value).
    """
    if isinstance(value, str) and DIGEST_PATTERN.fullmatch(value):
        return Digest(value)
    raise DecodeError(ErrorCode.VALUE, f"{label} is not a digest")


def parse_number(value: object, label: str) -> int:
    """Read a number.

    Raises:
        DecodeError: not lower-case hex text without leading zeros (decode.value).
    """
    number = parse_hex(value) if isinstance(value, str) else None
    if number is None:
        raise DecodeError(ErrorCode.VALUE, f"{label} is not a lower-case hex number as text")
    return number


def parse_list(value: object, label: str, limit: int) -> list[Any]:
    """Read a list of at most `limit` entries.

    Raises:
        DecodeError: no list (decode.value), or too long (decode.limit).
    """
    if not isinstance(value, list):
        raise DecodeError(ErrorCode.VALUE, f"{label} is not a list")
    if len(value) > limit:
        raise DecodeError(ErrorCode.LIMIT, f"{label} has more than {limit} entries")
    return value


def parse_texts(value: object, label: str, limit: int) -> list[str]:
    """Read a list of at most `limit` texts.

    Raises:
        DecodeError: no list of texts (decode.value), or too long (decode.limit).
    """
    texts = parse_list(value, label, limit)
    if not all(isinstance(text, str) for text in texts):
        raise DecodeError(ErrorCode.VALUE, f"{label} is not a list of text")
    return texts


def parse_map(value: object, label: str) -> Body:
    """Read a field map.

    Raises:
        DecodeError: no field map (decode.value).
    """
    if not isinstance(value, dict):
        raise DecodeError(ErrorCode.VALUE, f"{label} is not a field map")
    return value
