"""CBOR and MessagePack bodies that are not the one serialization of their content.

The digest and the signature of each are right for the bytes as they are, so the form alone
decides.
"""

import json
import re
from collections.abc import Callable, Iterator

import cbor2
import msgspec

from keystead.testing.authoring import Author
from support.own_vectors.crafting import (
    FILL,
    Case,
    Json,
    address,
    bystander,
    dropped,
    good,
    replacing,
    signed_by,
)

_NOT_BODY, _NOT_CANONICAL = "deserialize-error", "non-canonical-serialization"
_NO_START = "bad-version-string"
# Name, what is odd, bytes of the good body, bytes in their place, class of the fault.
Row = tuple[str, str, bytes, bytes, str]


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    for kind, pack, rows in (
        ("CBOR", cbor2.dumps, [*_cbor_sizes(), *_cbor_types()]),
        ("MGPK", msgspec.msgpack.encode, [*_mgpk_sizes(), *_mgpk_types()]),
    ):
        for row in rows:
            yield _case(kind, pack, row)


def _case(kind: str, pack: Callable[[Json], bytes], row: Row) -> Case:
    """Make the case of an inception that is dropped for the form of its body."""
    name, title, old, new, reason = row
    author = Author("packed")
    event = author.incept()
    fields = json.loads(event.event.raw)
    fields |= {"v": f"KERI10{kind}000000_", "d": FILL.decode(), "i": FILL.decode()}
    written = pack(fields)
    changed = replacing(old, new)(written) if old else written + new
    if name == "label-twice":
        changed = bytes([changed[0] + 1]) + changed[1:]  # the head counts the entries
    if changed == written:
        raise ValueError(f"{name} changes nothing")
    bad = address(changed)
    refused = dropped(bad, signed_by(author, bad), reason)
    stem = re.sub(r"[^a-z0-9]+", "-", name)
    title = f"icp in {kind} with {title}"
    return Case(f"{kind.lower()}-{stem}", title, [[refused, good(event), bystander()]])


def _cbor_sizes() -> Iterator[Row]:
    yield "long-map-head", "a map head of two bytes", b"\xad\x61v", b"\xb8\x0d\x61v", _NOT_CANONICAL
    yield (
        "long-text-head",
        "a text head of two bytes",
        b"\x61s\x610",
        b"\x61s\x78\x010",
        _NOT_CANONICAL,
    )
    yield (
        "long-list-head",
        "a list head of two bytes",
        b"\x61a\x80",
        b"\x61a\x98\x00",
        _NOT_CANONICAL,
    )
    yield (
        "long-integer",
        "an integer of nine bytes",
        b"\x61a\x80",
        b"\x61a\x81\x1b" + bytes(8),
        _NOT_CANONICAL,
    )
    yield (
        "short-float",
        "a float of half size",
        b"\x61a\x80",
        b"\x61a\x81\xf9\x3c\x00",
        _NOT_CANONICAL,
    )
    yield (
        "indefinite-list",
        "a list of indefinite length",
        b"\x61a\x80",
        b"\x61a\x9f\xff",
        _NOT_BODY,
    )
    yield (
        "indefinite-text",
        "a text of indefinite length",
        b"\x61s\x610",
        b"\x61s\x7f\x610\xff",
        _NOT_BODY,
    )
    yield "indefinite-map", "a map of indefinite length", b"\xad\x61v", b"\xbf\x61v", _NO_START


def _cbor_types() -> Iterator[Row]:
    first = b"\x61t\x63icp"
    yield "label-twice", "a label twice", first, first + first, _NOT_BODY
    yield "tag", "a tagged list", b"\x61a\x80", b"\x61a\xd8\x40\x80", _NOT_BODY
    yield "bytes", "bytes instead of text", b"\x61s\x610", b"\x61s\x410", _NOT_BODY
    yield "undefined", "the value undefined", b"\x61a\x80", b"\x61a\x81\xf7", _NOT_BODY
    yield "nan", "a float that is no number", b"\x61a\x80", b"\x61a\x81\xf9\x7e\x00", _NOT_BODY
    yield (
        "integer-label",
        "an integer as label in a",
        b"\x61a\x80",
        b"\x61a\x81\xa1\x01\x01",
        _NOT_BODY,
    )
    yield "not-utf-8", "a text that is not UTF-8", b"\x61a\x80", b"\x61a\x81\x61\xff", _NOT_BODY
    yield "byte-behind", "a byte behind the body, inside its size", b"", b"\x00", _NOT_BODY


def _mgpk_sizes() -> Iterator[Row]:
    yield (
        "long-map-head",
        "a map head of three bytes",
        b"\x8d\xa1v",
        b"\xde\x00\x0d\xa1v",
        _NOT_CANONICAL,
    )
    yield (
        "long-text-head",
        "a text head of two bytes",
        b"\xa1s\xa10",
        b"\xa1s\xd9\x010",
        _NOT_CANONICAL,
    )
    yield (
        "long-list-head",
        "a list head of three bytes",
        b"\xa1a\x90",
        b"\xa1a\xdc\x00\x00",
        _NOT_CANONICAL,
    )
    yield (
        "long-integer",
        "an integer of nine bytes",
        b"\xa1a\x90",
        b"\xa1a\x91\xcf" + bytes(8),
        _NOT_CANONICAL,
    )
    yield (
        "short-float",
        "a float of half size",
        b"\xa1a\x90",
        b"\xa1a\x91\xca\x3f\x80\x00\x00",
        _NOT_CANONICAL,
    )


def _mgpk_types() -> Iterator[Row]:
    first = b"\xa1t\xa3icp"
    yield "label-twice", "a label twice", first, first + first, _NOT_CANONICAL
    yield "bytes", "bytes instead of text", b"\xa1s\xa10", b"\xa1s\xc4\x010", _NOT_BODY
    yield "extension", "an extension type", b"\xa1a\x90", b"\xa1a\x91\xd4\x01\x00", _NOT_BODY
    yield "timestamp", "a timestamp", b"\xa1a\x90", b"\xa1a\x91\xd6\xff" + bytes(4), _NOT_BODY
    yield (
        "nan",
        "a float that is no number",
        b"\xa1a\x90",
        b"\xa1a\x91\xcb\x7f\xf8" + bytes(6),
        _NOT_BODY,
    )
    yield (
        "integer-label",
        "an integer as label in a",
        b"\xa1a\x90",
        b"\xa1a\x91\x81\x01\x01",
        _NOT_BODY,
    )
    yield (
        "never-used",
        "the byte that MessagePack never uses",
        b"\xa1a\x90",
        b"\xa1a\x91\xc1",
        _NOT_BODY,
    )
    yield "not-utf-8", "a text that is not UTF-8", b"\xa1a\x90", b"\xa1a\x91\xa1\xff", _NOT_BODY
    yield "byte-behind", "a byte behind the body, inside its size", b"", b"\x00", _NOT_BODY
