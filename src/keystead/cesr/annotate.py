"""Annotated dumps: every element of a piece of a stream, with its place, code and meaning.

Anything can be dumped: whole messages, attachments alone, single primitives, both domains, and
bytes that are none of these.
"""

import json
from collections.abc import Iterator

import msgspec

from keystead.cesr import base64, body, groups, indexed, primitives, values
from keystead.cesr.codes import (
    BASE64_STRING_CODES,
    BYTE_STRING_CODES,
    DATETIME_CODE,
    NUMBER_CODES,
    TAG_CODES,
    VERSION_1,
    CounterRow,
    GroupKind,
)
from keystead.cesr.primitives import Primitive
from keystead.cesr.versions import HEAD_BYTES, find_start, may_start, read_head
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import Limits


class Element(msgspec.Struct, frozen=True, gc=False):
    """One element of a dump.

    Attributes:
        start: offset in the stream.
        size: bytes that it takes there; for a count code without what it counts.
        depth: groups that it stands in.
        text: the element: its text, or for a field map its JSON, indented.
        meaning: what it is.
        error: it, or what follows, is no such element.
    """

    start: int
    size: int
    depth: int
    text: str
    meaning: str
    error: bool = False


# What one item of a group is made of: P primitive, S indexed signature, G group.
_ITEMS = {
    GroupKind.CONTROLLER_SIGNATURES: "S",
    GroupKind.WITNESS_SIGNATURES: "S",
    GroupKind.RECEIPT_COUPLES: "PP",
    GroupKind.RECEIPT_QUADRUPLES: "PPPS",
    GroupKind.FIRST_SEEN_COUPLES: "PP",
    GroupKind.SIGNATURE_GROUPS: "PPPG",
    GroupKind.SOURCE_COUPLES: "PP",
    GroupKind.LAST_SIGNATURE_GROUPS: "PG",
    GroupKind.SOURCE_TRIPLES: "PPP",
    GroupKind.PATH_SIGNATURES: "PG",
    GroupKind.ROOT_PATH_SIGNATURES: "PG",
    GroupKind.ESSR_PAYLOAD: "P",
}
_TYPES = {
    "icp": "inception", "rot": "rotation", "ixn": "interaction",
    "dip": "delegated inception", "drt": "delegated rotation", "rct": "receipt",
    "qry": "query", "rpy": "reply", "pro": "prod", "bar": "bare", "exn": "exchange",
    "vcp": "registry inception", "vrt": "registry rotation",
    "iss": "issuance", "rev": "revocation", "bis": "issuance", "brv": "revocation",
}  # fmt: skip
_FRAMES = {GroupKind.ATTACHMENTS, GroupKind.GENERIC}
_DASH, _DASH_SEXTET = b"-"[0], 62
_SHOWN = 24  # bytes of what is not recognised
_DEEPEST = 16  # groups in groups; frames may be nested without sense
_SECRETS = {"A", "J", "K", "O", "Q"}  # a dump must not leak them to a screen or a ticket
_FRAGMENT = 4096  # bytes of a binary piece that may lack a count code in front
_BLANK = b"\r\n\t "


def annotate(data: bytes, limits: Limits, *, offset: int = 0) -> Iterator[Element]:
    """Give the elements of `data`, which starts at `offset` of its stream."""
    position = vain = 0
    while position < len(data):
        first = data[position]
        if first in _BLANK:
            position += 1
        elif may_start(first) and _is_message(data, position):
            # As the reader does: false starts must not cost more than their number.
            retry = vain < limits.body + position * limits.resync_work
            element, size = _message(data, position, limits, offset)
            if element.error:
                vain += size
                end = _end_of_elements(data, position)
                end = end if retry else max(end, min(position + size, len(data)))
                element = msgspec.structs.replace(
                    element, size=end - position, text=_shown(data[position:end])
                )
            yield element
            position += element.size
        else:
            end = _end_of_elements(data, position)
            yield from _elements(data[position:end], offset + position)
            position = end


def _is_message(data: bytes, position: int) -> bool:
    return find_start(data[position : position + HEAD_BYTES], 0) == 0


def _end_of_elements(data: bytes, position: int) -> int:
    found = find_start(data, position + 1)
    return len(data) if found is None else found


def _message(data: bytes, start: int, limits: Limits, offset: int) -> tuple[Element, int]:
    """Return the body at `start` as one element, and the bytes that were read for it."""
    try:
        protocol, kind, size = read_head(data[start : start + HEAD_BYTES])
    except DecodeError as fault:
        return Element(offset + start, 0, 0, "", str(fault), error=True), 0
    if size > limits.body:
        large = DecodeError(ErrorCode.LIMIT, f"a body of {size} bytes, over {limits.body}")
        return Element(offset + start, 0, 0, "", str(large), error=True), 0
    head = f"{protocol.value} 1.0 {kind.value} body of {size} bytes"
    raw = data[start : start + size]
    try:
        fields = body.decode(raw, kind, limits)
    except DecodeError as fault:
        return Element(offset + start, 0, 0, "", str(fault), error=True), size
    if "t" in fields:
        head += f", type {fields['t']}"
        name = _TYPES.get(str(fields["t"]))
        head += "" if name is None else f" ({name})"
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    return Element(offset + start, len(raw), 0, text, head), size


def _elements(data: bytes, offset: int) -> Iterator[Element]:
    """Give the elements of a piece without bodies, in the domain that its start tells."""
    if all(chr(char) in base64.ALPHABET for char in data[:4]):
        yield from _Walk(data, offset, binary=False).run()
        return
    whole = data[: len(data) // 3 * 3]
    if data[0] >> 2 == _DASH_SEXTET:
        yield from _Walk(base64.encode(whole), offset, binary=True).run()
        data, offset = data[len(whole) :], offset + len(whole)
    elif len(data) <= _FRAGMENT:
        found = list(_Walk(base64.encode(whole), offset, binary=True).run())
        if whole == data and not any(element.error for element in found):
            yield from found
            return
    if data:
        yield Element(offset, len(data), 0, _shown(data), "no element", error=True)


class _Walk:
    """A walk over the text of elements; offsets are those of the domain they came in."""

    def __init__(self, text: bytes, offset: int, *, binary: bool) -> None:
        """Start at the beginning of `text`."""
        self._text = text
        self._offset = offset
        self._binary = binary
        self._position = 0

    def run(self) -> Iterator[Element]:
        """Give all elements; what follows a fault is given as one piece."""
        try:
            yield from self._until(len(self._text), 0)
        except DecodeError as fault:
            rest = self._text[self._position :]
            shown = base64.decode(rest[: len(rest) // 4 * 4]) if self._binary else rest
            yield self._element(len(rest), 0, _shown(shown), str(fault), error=True)

    def _until(self, end: int, depth: int) -> Iterator[Element]:
        while self._position < end:
            if self._text[self._position] in _BLANK:
                self._position += 1
            else:
                yield from self._next(depth)

    def _next(self, depth: int) -> Iterator[Element]:
        if self._text[self._position] == _DASH:
            yield from self._group(depth)
        else:
            yield self._primitive(depth)

    def _group(self, depth: int) -> Iterator[Element]:
        row, count, end = groups.read_counter(self._text, self._position)
        if depth >= _DEEPEST:
            raise DecodeError(ErrorCode.LIMIT, f"groups nested deeper than {_DEEPEST}")
        text = self._text[self._position : end].decode()
        meaning = f"{count} {'quadlets of ' if row.quadlets else ''}{row.kind.value}"
        if row.kind is GroupKind.GENUS_VERSION:
            meaning = f"{row.kind.value} {count >> 12}.{count & 0xFFF}"
        yield self._element(end - self._position, depth, text, meaning)
        self._position = end
        yield from self._content(row, count, depth + 1)

    def _content(self, row: CounterRow, count: int, depth: int) -> Iterator[Element]:
        if row.kind in _FRAMES or row.kind is GroupKind.PATHED_MATERIAL:
            end = self._position + 4 * count
            if end > len(self._text):
                # Says what is missing, and shows what is there.
                yield from self._until(len(self._text), depth)
                raise primitives.truncated(f"a frame of {count} quadlets")
            yield from self._until(end, depth)
            return
        for _ in range(count if row.kind in _ITEMS else 0):
            for part in _ITEMS[row.kind]:
                yield from self._part(part, depth)

    def _part(self, part: str, depth: int) -> Iterator[Element]:
        if part == "G" or self._text[self._position : self._position + 1] == b"-":
            yield from self._group(depth)
        elif part == "S":
            signature, end = indexed.read_text(self._text, self._position)
            row = VERSION_1.indexed[signature.code]
            places = f"key {signature.index}"
            if signature.ondex is None:
                places += ", current list only"
            elif signature.ondex != signature.index:
                places += f", prior next key {signature.ondex}"
            yield self._step(end, depth, f"{row.name}, {places}")
        else:
            yield self._primitive(depth)

    def _primitive(self, depth: int) -> Element:
        primitive, end = primitives.read_text(self._text, self._position)
        element = self._step(end, depth, _meaning(primitive))
        if primitive.code in _SECRETS:
            return msgspec.structs.replace(
                element, text=f"{primitive.code}...", meaning=f"{element.meaning}, hidden"
            )
        return element

    def _step(self, end: int, depth: int, meaning: str) -> Element:
        text = self._text[self._position : end].decode()
        element = self._element(end - self._position, depth, text, meaning)
        self._position = end
        return element

    def _element(
        self, size: int, depth: int, text: str, meaning: str, *, error: bool = False
    ) -> Element:
        start = self._position
        if self._binary:
            start, size = start * 3 // 4, size * 3 // 4
        return Element(self._offset + start, size, depth, text, meaning, error)


def _meaning(primitive: Primitive) -> str:
    """Return the name of a primitive, and its value when it is more readable than its text."""
    name = VERSION_1.primitives[primitive.code].name
    if primitive.code in NUMBER_CODES:
        return f"{name}: {values.number_of(primitive)}"
    if primitive.code == DATETIME_CODE:
        return f"{name}: {values.datetime_of(primitive)}"
    if primitive.code in BASE64_STRING_CODES:
        return f"{name}: {values.base64_string_of(primitive)}"
    if primitive.code in BYTE_STRING_CODES:
        return f"{name} of {len(primitive.raw)} bytes"
    if primitive.code in TAG_CODES.values():
        return f"{name}: {primitive.soft}"
    return name


def _shown(data: bytes) -> str:
    """Return the start of bytes that are no element, escaped."""
    more = f" and {len(data) - _SHOWN} bytes more" if len(data) > _SHOWN else ""
    return f"{ascii(data[:_SHOWN])[2:-1]}{more}"
