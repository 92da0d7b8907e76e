"""Streams for tests: signed logs, groups of every kind, and what a reader makes of bytes."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from keystead.cesr import base64, values
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import (
    FirstSeenCouple,
    Group,
    LastSignatureGroup,
    PathedMaterial,
    PathSignatures,
    ReceiptCouple,
    ReceiptQuadruple,
    SignatureGroup,
    SourceCouple,
    SourceTriple,
)
from keystead.cesr.indexed import IndexedSignature, make
from keystead.cesr.keys import Aid, Signature, digest, make_key
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.cesr.versions import Kind
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.suites import Suite
from keystead.testing.authoring import Author, Signed

SAID = digest(b"an event")
AID = Aid(digest(b"an identifier"))
STAMP = "2020-08-22T17:50:09.988921+00:00"


def signature(index: int, ondex: int | None = None) -> IndexedSignature:
    """Return a signature with its places; its bytes tell them too."""
    return make(Suite.ED25519, bytes([index % 256]) * 64, index, ondex=ondex)


def couple(suite: Suite = Suite.ED25519) -> ReceiptCouple:
    """Return a receipt couple."""
    key = make_key(suite, bytes(32 if suite is Suite.ED25519 else 33), transferable=False)
    return ReceiptCouple(key, Signature(suite, bytes(range(64))))


SIGNATURES = (signature(0), signature(1), signature(70), signature(2, 5))
CONTROLLER = Group(GroupKind.CONTROLLER_SIGNATURES, SIGNATURES)
COUPLES = Group(GroupKind.RECEIPT_COUPLES, (couple(), couple(Suite.SECP256K1)))
LISTED = Group(
    GroupKind.SIGNATURE_GROUPS,
    (SignatureGroup(AID, 3, SAID, SIGNATURES), SignatureGroup(AID, 2**64, SAID, ())),
)
# One group of every kind, in the form that the writer writes.
GROUPS = (
    CONTROLLER,
    Group(GroupKind.WITNESS_SIGNATURES, SIGNATURES[:1]),
    COUPLES,
    Group(
        GroupKind.RECEIPT_QUADRUPLES,
        tuple(ReceiptQuadruple(AID, sn, SAID, signature(sn)) for sn in (0, 70)),
    ),
    Group(GroupKind.FIRST_SEEN_COUPLES, (FirstSeenCouple(7, STAMP), FirstSeenCouple(0, STAMP))),
    LISTED,
    Group(GroupKind.SOURCE_COUPLES, (SourceCouple(0, SAID), SourceCouple(2**100, SAID))),
    Group(GroupKind.LAST_SIGNATURE_GROUPS, (LastSignatureGroup(AID, SIGNATURES),)),
    Group(GroupKind.SOURCE_TRIPLES, (SourceTriple(AID, 1, SAID),)),
    Group(
        GroupKind.PATH_SIGNATURES,
        (
            PathSignatures("-a", (CONTROLLER,)),
            PathSignatures("-a-b", (COUPLES,)),
            PathSignatures("-", (LISTED,)),
        ),
    ),
    Group(
        GroupKind.ROOT_PATH_SIGNATURES,
        (
            PathSignatures(
                "-e",
                (
                    Group(GroupKind.PATH_SIGNATURES, (PathSignatures("-a", (CONTROLLER,)),)),
                    Group(GroupKind.PATH_SIGNATURES, (PathSignatures("-b", (LISTED,)),)),
                ),
            ),
        ),
    ),
    Group(
        GroupKind.ROOT_PATH_SIGNATURES,
        (PathSignatures("-a", (CONTROLLER,)), PathSignatures("-b", (COUPLES,))),
    ),
    Group(GroupKind.PATHED_MATERIAL, (PathedMaterial("-e-acdc", b"-AAA"),)),
    Group(GroupKind.ESSR_PAYLOAD, (b"", b"a", b"ab", b"abc" * 5000)),
)


def signed_log(name: str = "author", *, kind: Kind = Kind.JSON, keys: int = 1) -> list[Signed]:
    """Return a log of an inception, an interaction and a rotation."""
    author = Author(name, kind=kind, keys=keys)
    return [author.incept(), author.interact(), author.rotate()]


def binary_attachments(signed: Signed, *, framed: bool) -> bytes:
    """Return an event whose attachments are in the binary domain."""
    whole = signed.framed if framed else signed.raw
    body = signed.event.raw
    return body + base64.decode(whole[len(body) :])


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut data at these places."""
    places = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def read_pieces(
    parts: Sequence[bytes], limits: Limits = DEFAULT_LIMITS
) -> list[Message | Malformed]:
    """Feed the parts one after another, close, and return what came out."""
    reader = StreamReader(limits)
    items: list[Message | Malformed] = []
    for part in parts:
        reader.feed(part)
        items += reader
    reader.close()
    items += reader
    return items


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Message | Malformed]:
    """Return what a reader makes of a whole stream."""
    return read_pieces([data], limits)


def comparable(items: Iterable[Message | Malformed]) -> list[object]:
    """Return items in a form in which equal faults are equal."""
    return [
        item
        if isinstance(item, Message)
        else (item.error.code, item.error.message, item.start, item.end)
        for item in items
    ]


def ordinal(number: int) -> bytes:
    """Return an ordinal as attachments write it."""
    return values.ordinal(number).text.encode()
