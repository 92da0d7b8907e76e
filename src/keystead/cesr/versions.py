"""Version strings and the starts of message bodies in a stream.

Source: CESR specification, "Version String field" (legacy version 1.XX format).
"""

import re
from enum import Enum
from functools import lru_cache

from keystead.errors import DecodeError, ErrorCode


class Kind(Enum):
    """Serialization of a body."""

    JSON = "JSON"
    CBOR = "CBOR"
    MGPK = "MGPK"


class Protocol(Enum):
    """Protocol of a message."""

    KERI = "KERI"
    ACDC = "ACDC"


MAX_SIZE = 0xFFFFFF
VERSION_CHARS = 17
# Bytes from the start of a body to the end of its version string, at most:
# a CBOR or MessagePack map head of 5 bytes, the label and the value's head.
HEAD_BYTES = 5 + 3 + VERSION_CHARS

# A field map whose first field is the version string, as each serialization writes it.
_HEADS = {
    Kind.JSON: rb"\{\"v\":\"",
    Kind.CBOR: rb"(?:[\xa1-\xb7]|\xb8.|\xb9..|\xba....)\x61v\x71",
    Kind.MGPK: rb"(?:[\x81-\x8f]|\xde..|\xdf....)\xa1v\xb1",
}
_VERSION = rb"(KERI|ACDC)([0-9a-f]{2})%s([0-9a-f]{6})_"
_STARTS = {
    kind: re.compile(head + _VERSION % kind.value.encode(), re.DOTALL)
    for kind, head in _HEADS.items()
}
_ANY_START = re.compile(b"|".join(start.pattern for start in _STARTS.values()), re.DOTALL)
# The three high bits of the first byte tell the serialization of a field map.
_TRITETS = {0b011: Kind.JSON, 0b100: Kind.MGPK, 0b101: Kind.CBOR, 0b110: Kind.MGPK}
_BY_TRITET = {tritet: (_STARTS[kind], kind) for tritet, kind in _TRITETS.items()}
_PROTOCOLS = {member.value.encode(): member for member in Protocol}


def may_start(first: int) -> bool:
    """Tell whether a body may start with this byte."""
    return first >> 5 in _BY_TRITET


def write_version(protocol: Protocol, kind: Kind, size: int) -> str:
    """Write the version string of a body of `size` bytes, at most MAX_SIZE: 17 characters."""
    return f"{protocol.value}10{kind.value}{size:06x}_"


@lru_cache(maxsize=1024)
def read_head(head: bytes) -> tuple[Protocol, Kind, int]:
    """Read the version string at the start of a body.

    Bodies of one size start alike, so most heads have been read before.

    Args:
        head: the first HEAD_BYTES of the body; fewer only where the stream ends.

    Returns:
        The protocol, the serialization and the size of the whole body in bytes.

    Raises:
        DecodeError: no version string of form 1.XX in first place (decode.version_string),
            or another version than 1.0 (decode.unsupported_version).
    """
    start = _BY_TRITET.get(head[0] >> 5) if head else None
    match = start[0].match(head) if start is not None else None
    if start is None or match is None:
        raise DecodeError(ErrorCode.VERSION_STRING, "no version string at the start of the body")
    protocol, version, size = match.groups()
    if version != b"10":
        found = f"{version[:1].decode()}.{version[1:].decode()}"
        raise DecodeError(ErrorCode.UNSUPPORTED_VERSION, f"protocol version {found}")
    return _PROTOCOLS[protocol], start[1], int(size, 16)


def find_start(data: bytes, start: int) -> int | None:
    """Return where the next body with a version string starts, None when there is none."""
    match = _ANY_START.search(data, start)
    return None if match is None else match.start()
