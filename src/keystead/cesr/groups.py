"""Attachment groups: what count codes frame, as typed items.

Source: CESR specification, "Count Code tables"; version 1.0 groups as keri 1.x writes them.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec

from keystead.cesr import base64, codes, indexed, primitives, values
from keystead.cesr.codes import VERSION_1, CounterRow, GroupKind
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import (
    AID_PATTERN,
    DIGEST_PATTERN,
    KEY_PATTERN,
    Aid,
    Digest,
    Said,
    Signature,
    VerificationKey,
    parse_key,
)
from keystead.cesr.primitives import Primitive
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import Limits


class ReceiptCouple(msgspec.Struct, frozen=True, gc=False):
    """A signature by a non-transferable identifier, which is its own key (-C)."""

    key: VerificationKey
    signature: Signature


class ReceiptQuadruple(msgspec.Struct, frozen=True, gc=False):
    """A signature by one key of the establishment event `said` at `sn` of `aid` (-D)."""

    aid: Aid
    sn: int
    said: Said
    signature: IndexedSignature


class FirstSeenCouple(msgspec.Struct, frozen=True, gc=False):
    """First-seen number and time of an event in the log of whoever replays it (-E)."""

    number: int
    datetime: str


class SignatureGroup(msgspec.Struct, frozen=True, gc=False):
    """Signatures by keys of the establishment event `said` at `sn` of `aid` (-F)."""

    aid: Aid
    sn: int
    said: Said
    signatures: tuple[IndexedSignature, ...]


class SourceCouple(msgspec.Struct, frozen=True, gc=False):
    """Reference to the event that seals this message, in a log that context tells (-G)."""

    sn: int
    said: Said


class LastSignatureGroup(msgspec.Struct, frozen=True, gc=False):
    """Signatures by keys of the latest establishment event of `aid` (-H)."""

    aid: Aid
    signatures: tuple[IndexedSignature, ...]


class SourceTriple(msgspec.Struct, frozen=True, gc=False):
    """Reference to an event of `aid` that seals this message (-I)."""

    aid: Aid
    sn: int
    said: Said


class PathSignatures(msgspec.Struct, frozen=True, gc=False):
    """Signatures over the part of the body at `path` (-J and -K)."""

    path: str
    groups: tuple["Group", ...]


class PathedMaterial(msgspec.Struct, frozen=True, gc=False):
    """Attachments that belong to the message embedded at `path`, in the text domain (-L)."""

    path: str
    material: bytes


Item: TypeAlias = (
    IndexedSignature
    | ReceiptCouple
    | ReceiptQuadruple
    | FirstSeenCouple
    | SignatureGroup
    | SourceCouple
    | LastSignatureGroup
    | SourceTriple
    | PathSignatures
    | PathedMaterial
    | bytes
)


class Group(msgspec.Struct, frozen=True, gc=False):
    """The items of one count code."""

    kind: GroupKind
    items: tuple[Item, ...]


class NeedMore(Exception):  # noqa: N818 - a condition of the reader, not an error of the input
    """The buffer ends inside an element; `position` is the least end that can complete it."""

    def __init__(self, position: int) -> None:
        """Keep the position, counted like the cursor's."""
        super().__init__(position)
        self.position = position


class Cursor(msgspec.Struct, gc=False):
    """Reads elements one after another from a buffer in the binary domain.

    Text is converted first: three bytes are four characters, so every element keeps its place.

    Attributes:
        data: the buffer.
        position: offset of the next element.
        framed: the buffer is all there is, so an element that crosses its end is an error;
            otherwise more may arrive.
    """

    data: bytes
    position: int
    framed: bool

    def counter(self) -> tuple[CounterRow, int]:
        """Read a count code; return its row and count."""
        start = self.position
        small = _small_counter(self.data[start : start + _SMALL_COUNTER_BYTES])
        if small is not None:
            self.position = start + _SMALL_COUNTER_BYTES
            return small
        row, count, _ = read_counter(self._element(_measure_counter))
        return row, count

    def signatures(self, count: int) -> tuple[IndexedSignature, ...]:
        """Read `count` indexed signatures."""
        items, self.position = _small_signatures(self.data, self.position, count)
        while len(items) < count:
            self.require((count - len(items)) * _LEAST_INDEXED)
            items.append(indexed.read_text(self._element(indexed.measure))[0])
        return tuple(items)

    def starts_with_counter(self) -> bool:
        """Tell whether the next element is a count code."""
        self.require(1)
        return self.data[self.position] >> 2 == _DASH_SEXTET

    def aid(self) -> Aid:
        """Read an identifier."""
        return Aid(self._matching(AID_PATTERN, "an identifier"))

    def digest(self) -> Digest:
        """Read a digest."""
        return Digest(self._matching(DIGEST_PATTERN, "a digest"))

    def key(self) -> VerificationKey:
        """Read a public key."""
        return parse_key(self._matching(KEY_PATTERN, "a public key"))

    def signature(self) -> Signature:
        """Read a signature without index."""
        primitive = self.primitive()
        suite = codes.SIGNATURE_CODES.get(primitive.code)
        if suite is None:
            raise DecodeError(ErrorCode.GROUP, f"code {primitive.code} is no signature")
        return Signature(suite, primitive.raw)

    def ordinal(self) -> int:
        """Read a sequence or first-seen number: always 24 characters, code 0A."""
        primitive = self.primitive()
        if primitive.code != codes.ORDINAL_CODE:
            raise DecodeError(ErrorCode.GROUP, f"code {primitive.code} is no ordinal")
        return values.number_of(primitive)

    def datetime(self) -> str:
        """Read a date and time."""
        return values.datetime_of(self.primitive())

    def path(self) -> str:
        """Read a path."""
        primitive = self.primitive()
        if primitive.code not in codes.BASE64_STRING_CODES:
            raise DecodeError(ErrorCode.GROUP, f"code {primitive.code} is no path")
        path = values.base64_string_of(primitive)
        if values.base64_string(path).raw != primitive.raw:
            raise DecodeError(ErrorCode.BAD_ENCODING, "pad bits of a path are not zero")
        return path

    def byte_string(self) -> bytes:
        """Read a byte string."""
        primitive = self.primitive()
        if primitive.code not in codes.BYTE_STRING_CODES:
            raise DecodeError(ErrorCode.GROUP, f"code {primitive.code} is no byte string")
        return primitive.raw

    def primitive(self) -> Primitive:
        """Read any primitive."""
        return primitives.read_text(self._element(primitives.measure))[0]

    def frame(self, quadlets: int) -> "Cursor":
        """Step over `quadlets` and return a cursor on them."""
        self.require(quadlets)
        start = self.position
        self.position += 3 * quadlets
        return Cursor(self.data[start : self.position], 0, framed=True)

    def require(self, quadlets: int) -> None:
        """Check that `quadlets` more are there."""
        if self.position + 3 * quadlets > len(self.data):
            raise self._short(3 * quadlets)

    def rest(self) -> bytes:
        """Return what is left, in the text domain."""
        return base64.encode(self.data[self.position :])

    def _matching(self, pattern: re.Pattern[str], what: str) -> str:
        text = self._element(primitives.measure).decode("ascii")
        if not pattern.fullmatch(text):
            primitives.parse(text)  # tells bad encoding from a code of another kind
            raise DecodeError(ErrorCode.GROUP, f"{text[:4]}... is not {what}")
        return text

    def _element(self, measure: Callable[[bytes, int], tuple[object, int]]) -> bytes:
        """Step over the next element and return its text."""
        start = self.position
        head = self.data[start : start + _HEAD_BYTES]
        try:
            size = measure(base64.encode(head[: len(head) // 3 * 3]), 0)[1] * 3 // 4
        except DecodeError as error:
            if error.code is ErrorCode.TRUNCATED:
                raise self._short(len(head) + 1) from None
            raise
        if start + size > len(self.data):
            raise self._short(size)
        self.position = start + size
        return base64.encode(self.data[start : self.position])

    def _short(self, size: int) -> Exception:
        if self.framed:
            return DecodeError(ErrorCode.GROUP, "an element crosses the end of its group")
        return NeedMore(self.position + size)


_HEAD_BYTES = 6  # holds the eight characters that tell the size of any element
_DASH_SEXTET = 62

# The common codes need no way over text: they are told by their first bytes.
_SMALL_COUNTER_BYTES = 3
_SMALL_INDEXED_CHARS = 88
_SMALL_INDEXED = {
    base64.decode(code.encode() + base64.from_int(index, 1).encode() + b"AA")[:2]: (
        code, index, None if row.current_only else index
    )
    for code, row in VERSION_1.indexed.items()
    if len(code) == 1 and row.size == _SMALL_INDEXED_CHARS
    for index in range(64)
}  # fmt: skip
_SMALL_INDEXED_BYTES = _SMALL_INDEXED_CHARS * 3 // 4
# Code and pad bits of an ordinal, and the size of an ordinal with a digest of 44 characters.
_ORDINAL_HEAD = base64.decode(codes.ORDINAL_CODE.encode() + b"AA")[:2]
_SMALL_COUPLE_BYTES = 18 + 33


# Reads up to so many items from a position on; returns them and the end of the last.
_Reader: TypeAlias = Callable[[bytes, int, int], tuple[Sequence[Item], int]]


def read_group(
    cursor: Cursor, row: CounterRow, count: int, limits: Limits, level: int = 0
) -> Group:
    """Read the items of a group whose count code was just read.

    Raises:
        DecodeError: not the elements that the group is made of (decode.group, or the code of
            the element's own fault), or nesting beyond the limit (decode.limit).
        NeedMore: the unframed buffer ends before the group does.
    """
    code, kind, _, _ = row
    if code in _SIGNATURE_CODES:
        return Group(kind, cursor.signatures(count))
    if row.kind in _ITEM_READERS:
        read_item, least = _ITEM_READERS[row.kind]
        items = []
        for left in range(count, 0, -1):
            cursor.require(left * least)
            items.append(read_item(cursor))
        return Group(row.kind, tuple(items))
    if row.kind is GroupKind.RECEIPT_QUADRUPLES:
        return Group(row.kind, _read_quadruples(cursor, count))
    if row.kind is GroupKind.PATHED_MATERIAL:
        frame = cursor.frame(count)
        return Group(row.kind, (PathedMaterial(frame.path(), frame.rest()),))
    if row.kind in _PATH_KINDS:
        if level >= limits.nested_groups:
            raise DecodeError(ErrorCode.LIMIT, f"groups nested deeper than {limits.nested_groups}")
        return Group(row.kind, _read_path_signatures(cursor, count, limits, level))
    raise DecodeError(ErrorCode.GROUP, f"{row.code}, a {row.kind.value}, has no place here")


def read_framed(data: bytes, limits: Limits) -> tuple[Group, ...]:
    """Read the groups that fill `data`, in the binary domain.

    Raises:
        DecodeError: as `read_group`.
    """
    groups: list[Group] = []
    position = 0
    while position < len(data):
        usual = _usual_group(data[position : position + _SMALL_COUNTER_BYTES])
        if usual is not None:
            kind, count, read = usual
            items, end = read(data, position + _SMALL_COUNTER_BYTES, count)
            if len(items) == count:
                groups.append(Group(kind, tuple(items)))
                position = end
                continue
        cursor = Cursor(data, position, framed=True)
        row, count = cursor.counter()
        groups.append(read_group(cursor, row, count, limits))
        position = cursor.position
    return tuple(groups)


def _small_signatures(data: bytes, start: int, count: int) -> tuple[list[IndexedSignature], int]:
    """Read up to `count` signatures of the common codes; return them and the end of the last."""
    items = []
    for _ in range(count):
        end = start + _SMALL_INDEXED_BYTES
        head = _SMALL_INDEXED.get(data[start : start + 2])
        if head is None or end > len(data):
            break
        code, index, ondex = head
        items.append(IndexedSignature(code, index, ondex, data[start + 2 : end]))
        start = end
    return items, start


def _small_couples(data: bytes, start: int, count: int) -> tuple[list[SourceCouple], int]:
    """Read up to `count` source couples with digests of 32 bytes; return them and their end."""
    items = []
    for _ in range(count):
        number, end = start + len(_ORDINAL_HEAD), start + _SMALL_COUPLE_BYTES
        middle = number + values.ORDINAL_BYTES
        said = base64.encode(data[middle:end]).decode("ascii")
        if data[start:number] != _ORDINAL_HEAD or not DIGEST_PATTERN.fullmatch(said):
            break
        items.append(SourceCouple(int.from_bytes(data[number:middle], "big"), Said(said)))
        start = end
    return items, start


@lru_cache(maxsize=1024)  # a few are written all the time
def counter_text(kind: GroupKind, count: int) -> str:
    """Write the count code of `kind`; the big form is taken where the small one is too small.

    Raises:
        ValueError: no code holds the count.
    """
    for row in VERSION_1.counters.values():
        if row.kind is kind and 0 <= count < 64**row.digits:
            return row.code + base64.from_int(count, row.digits)
    raise ValueError(f"no count code for {count} of {kind.value}")


def read_counter(text: bytes, start: int = 0) -> tuple[CounterRow, int, int]:
    """Read the count code at `start` of `text`.

    Returns:
        Its row, its count and the position behind it.

    Raises:
        DecodeError: decode.truncated, decode.unknown_code, decode.encoding.
    """
    row, size = _measure_counter(text, start)
    if start + size > len(text):
        raise primitives.truncated("a count code")
    return row, base64.to_int(text[start + len(row.code) : start + size]), start + size


@lru_cache(maxsize=1024)
def _usual_group(head: bytes) -> tuple[GroupKind, int, _Reader] | None:
    """Read the count code of a group that has a reader of its own; None for any other."""
    small = _small_counter(head)
    if small is None or small[0].code not in _USUAL_READERS:
        return None
    row, count = small
    return row.kind, count, _USUAL_READERS[row.code]


@lru_cache(maxsize=1024)
def _small_counter(head: bytes) -> tuple[CounterRow, int] | None:
    """Read a count code of four characters; None for any other."""
    if len(head) < _SMALL_COUNTER_BYTES:
        return None
    text = base64.encode(head)
    row = VERSION_1.counters.get(text[:2].decode())
    return None if row is None else (row, base64.to_int(text[2:]))


def _measure_counter(text: bytes, start: int) -> tuple[CounterRow, int]:
    if start >= len(text):
        raise primitives.truncated("a count code")
    selector = text[start : start + 2].decode("latin-1")
    hard = codes.COUNTER_HARD_SIZES.get(selector[1:]) if selector[0] == "-" else None
    code = text[start : start + (hard or 2)].decode("latin-1")
    if hard is not None and len(code) < hard:
        raise primitives.truncated("a count code")
    row = VERSION_1.counters.get(code)
    if row is None:
        raise DecodeError(ErrorCode.UNKNOWN_CODE, f"unknown count code {code!r}")
    return row, len(row.code) + row.digits


def _signatures(cursor: Cursor) -> tuple[IndexedSignature, ...]:
    """Read the controller signature group inside another group."""
    row, count = cursor.counter()
    if row.kind is not GroupKind.CONTROLLER_SIGNATURES:
        raise DecodeError(ErrorCode.GROUP, f"{row.code} where -A must follow")
    return cursor.signatures(count)


def _couple(cursor: Cursor) -> ReceiptCouple:
    return ReceiptCouple(cursor.key(), cursor.signature())


def _first_seen(cursor: Cursor) -> FirstSeenCouple:
    return FirstSeenCouple(cursor.ordinal(), cursor.datetime())


def _signature_group(cursor: Cursor) -> SignatureGroup:
    return SignatureGroup(cursor.aid(), cursor.ordinal(), cursor.digest(), _signatures(cursor))


def _source_couple(cursor: Cursor) -> SourceCouple:
    return SourceCouple(cursor.ordinal(), cursor.digest())


def _last_group(cursor: Cursor) -> LastSignatureGroup:
    return LastSignatureGroup(cursor.aid(), _signatures(cursor))


def _source_triple(cursor: Cursor) -> SourceTriple:
    return SourceTriple(cursor.aid(), cursor.ordinal(), cursor.digest())


# Least quadlets of elements, to know early that a group is not complete.
_LEAST_INDEXED = 22
_LEAST_AID = 11
_LEAST_SIGNATURE = 22
_LEAST_ORDINAL = 6
_LEAST_DATETIME = 9
_LEAST_DIGEST = 11
_LEAST_TRIPLE = _LEAST_AID + _LEAST_ORDINAL + _LEAST_DIGEST

_ITEM_READERS: dict[GroupKind, tuple[Callable[[Cursor], Item], int]] = {
    # kind -> (reader of one item, least quadlets of one item)
    GroupKind.RECEIPT_COUPLES: (_couple, _LEAST_AID + _LEAST_SIGNATURE),
    GroupKind.FIRST_SEEN_COUPLES: (_first_seen, _LEAST_ORDINAL + _LEAST_DATETIME),
    GroupKind.SIGNATURE_GROUPS: (_signature_group, _LEAST_TRIPLE + 1),
    GroupKind.SOURCE_COUPLES: (_source_couple, _LEAST_ORDINAL + _LEAST_DIGEST),
    GroupKind.LAST_SIGNATURE_GROUPS: (_last_group, _LEAST_AID + 1),
    GroupKind.SOURCE_TRIPLES: (_source_triple, _LEAST_TRIPLE),
    GroupKind.ESSR_PAYLOAD: (Cursor.byte_string, 1),
}
_SIGNATURE_CODES = {"-A", "-B"}
# Most groups are of these kinds with common codes inside. What a reader does not take is read
# element by element.
_USUAL_READERS: dict[str, _Reader] = {
    "-A": _small_signatures,
    "-B": _small_signatures,
    "-G": _small_couples,
}
_PATH_KINDS = {GroupKind.PATH_SIGNATURES, GroupKind.ROOT_PATH_SIGNATURES}
_PATH_SIGNATURE_KINDS = {
    GroupKind.CONTROLLER_SIGNATURES,
    GroupKind.RECEIPT_COUPLES,
    GroupKind.SIGNATURE_GROUPS,
}


def _read_quadruples(cursor: Cursor, count: int) -> tuple[ReceiptQuadruple, ...]:
    """Read `-D` in either of its meanings.

    keri 1.x counts quadruples. keri 2 counts quadlets of groups, in which a `-A` group stands
    where 1.x has one signature; so the fourth element tells. Both give the same items.
    """
    if count == 0:
        return ()
    start = cursor.position
    cursor.require(_LEAST_TRIPLE)
    first = _source_triple(cursor)
    if not cursor.starts_with_counter():
        items = [_quadruple(first, *cursor.signatures(1))]
        for left in range(count - 1, 0, -1):
            cursor.require(left * (_LEAST_TRIPLE + _LEAST_INDEXED))
            items.append(_quadruple(_source_triple(cursor), *cursor.signatures(1)))
        return tuple(items)
    cursor.position = start
    frame = cursor.frame(count)
    items = []
    while frame.position < len(frame.data):
        triple = _source_triple(frame)
        items += [_quadruple(triple, signature) for signature in _signatures(frame)]
    return tuple(items)


def _quadruple(signer: SourceTriple, signature: IndexedSignature) -> ReceiptQuadruple:
    return ReceiptQuadruple(signer.aid, signer.sn, signer.said, signature)


def _read_path_signatures(
    cursor: Cursor, count: int, limits: Limits, level: int
) -> tuple[PathSignatures, ...]:
    """Read `-J` or `-K`: signatures over parts of the body.

    Two forms are about: `count` times a path and a group of signatures, and one root path in
    front of `count` groups of the first form. What follows the first path tells.
    """
    items: list[PathSignatures] = []
    for _ in range(count):
        path = cursor.path()
        row, inner = cursor.counter()
        if row.kind is GroupKind.PATH_SIGNATURES and not items:
            nested = [read_group(cursor, row, inner, limits, level + 1)]
            for _ in range(count - 1):
                row, inner = cursor.counter()
                if row.kind is not GroupKind.PATH_SIGNATURES:
                    raise DecodeError(ErrorCode.GROUP, f"{row.code} where -J must follow")
                nested.append(read_group(cursor, row, inner, limits, level + 1))
            return (PathSignatures(path, tuple(nested)),)
        if row.kind not in _PATH_SIGNATURE_KINDS:
            raise DecodeError(ErrorCode.GROUP, f"{row.code} where signatures must follow")
        items.append(PathSignatures(path, (read_group(cursor, row, inner, limits, level + 1),)))
    return tuple(items)
