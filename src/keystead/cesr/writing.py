"""Attachment groups as bytes: what `groups` reads, written in the text domain.

Source: CESR specification, "Count Code tables"; version 1.0 groups as keri 1.x writes them.
"""

from collections.abc import Iterable
from typing import assert_never

from keystead.cesr import values
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import (
    FirstSeenCouple,
    Group,
    Item,
    LastSignatureGroup,
    PathedMaterial,
    PathSignatures,
    ReceiptCouple,
    ReceiptQuadruple,
    SignatureGroup,
    SourceCouple,
    SourceTriple,
    counter_text,
)
from keystead.cesr.indexed import IndexedSignature


def write_groups(groups: Iterable[Group]) -> bytes:
    """Write groups one after another, without a frame."""
    return b"".join(_write_group(group) for group in groups)


def write_frame(groups: Iterable[Group]) -> bytes:
    """Write groups inside one attachment frame (-V)."""
    inner = write_groups(groups)
    return counter_text(GroupKind.ATTACHMENTS, len(inner) // 4).encode() + inner


def _write_group(group: Group) -> bytes:
    if group.kind is GroupKind.PATHED_MATERIAL:
        return b"".join(_counted(group.kind, _write_item(item)) for item in group.items)
    inner = b"".join(map(_write_item, group.items))
    return counter_text(group.kind, _count(group.items)).encode() + inner


def _count(items: tuple[Item, ...]) -> int:
    match items:
        case (PathSignatures(_, (Group(GroupKind.PATH_SIGNATURES), *_) as below),):
            return len(below)  # a root path in front: the groups behind it are counted
        case _:
            return len(items)


def _counted(kind: GroupKind, inner: bytes) -> bytes:
    return counter_text(kind, len(inner) // 4).encode() + inner


def _write_item(item: Item) -> bytes:  # noqa: PLR0911 - one line for each kind of item
    match item:
        case IndexedSignature():
            return item.text.encode()
        case ReceiptCouple(key, signature):
            return f"{key.text}{signature.primitive.text}".encode()
        case ReceiptQuadruple(aid, sn, said, signature):
            return f"{aid}{_ordinal(sn)}{said}{signature.text}".encode()
        case FirstSeenCouple(number, datetime):
            return f"{_ordinal(number)}{values.datetime(datetime).text}".encode()
        case SignatureGroup(aid, sn, said, signatures):
            return f"{aid}{_ordinal(sn)}{said}".encode() + _signatures(signatures)
        case SourceCouple(sn, said):
            return f"{_ordinal(sn)}{said}".encode()
        case LastSignatureGroup(aid, signatures):
            return aid.encode() + _signatures(signatures)
        case SourceTriple(aid, sn, said):
            return f"{aid}{_ordinal(sn)}{said}".encode()
        case PathSignatures(path, groups):
            return values.base64_string(path).text.encode() + write_groups(groups)
        case PathedMaterial(path, material):
            return values.base64_string(path).text.encode() + material
        case bytes():
            return values.byte_string(item).text.encode()
        case _:
            assert_never(item)


def _ordinal(number: int) -> str:
    return values.ordinal(number).text


def _signatures(signatures: Iterable[IndexedSignature]) -> bytes:
    return _write_group(Group(GroupKind.CONTROLLER_SIGNATURES, tuple(signatures)))
