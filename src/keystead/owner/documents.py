"""Detached signatures of documents: writing and reading them.

A signature is one line of CESR text: the digest of the document, then who signed, under which
establishment event, and the signatures. What is signed is a statement that no key event and no
message can be taken for, and that binds everything on the line.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

import msgspec
from blake3 import blake3

from keystead.cesr import base64, groups, indexed, primitives
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, ReceiptCouple, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Digest, digest_code
from keystead.cesr.writing import write_groups
from keystead.errors import DecodeError, ErrorCode, UsageError
from keystead.keri.seals import EventSeal
from keystead.limits import DEFAULT_LIMITS, Limits

# Who signs: the establishment event whose keys do, or an identifier that is its only key.
Signatory: TypeAlias = EventSeal | Aid


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


# Code of a digest -> how a document is hashed piece by piece.
_HASHES: dict[str, Callable[[], _Hash]] = {
    "E": blake3,
    "H": hashlib.sha3_256,
    "I": hashlib.sha256,
}
DEFAULT_CODE = "E"
_DOMAIN = "KEYSTEAD-SIGNATURE-1"


class DocumentSignature(msgspec.Struct, frozen=True, gc=False):
    """A signature as its file tells it; nothing of it is verified.

    Attributes:
        digest: digest of the document.
        signed: the signatures with the establishment event that they name, or the key and the
            signature of a non-transferable identifier.
    """

    digest: Digest
    signed: SignatureGroup | ReceiptCouple

    @property
    def digest_code(self) -> str:
        """Which digest of the document has to be computed to compare."""
        return digest_code(self.digest)

    @property
    def signatory(self) -> Signatory:
        """Who signed, as the statement names it."""
        if isinstance(self.signed, SignatureGroup):
            return EventSeal(self.signed.aid, self.signed.sn, self.signed.said)
        return Aid(self.signed.key.text)

    @property
    def aid(self) -> Aid:
        """The identifier that signed."""
        signatory = self.signatory
        return signatory.aid if isinstance(signatory, EventSeal) else signatory

    @property
    def statement(self) -> bytes:
        """The bytes that were signed."""
        return statement(self.digest, self.signatory)


def digest_of(pieces: Iterable[bytes], code: str = DEFAULT_CODE) -> Digest:
    """Return the digest of a document that comes in pieces, in constant memory.

    Args:
        pieces: the document.
        code: Blake3-256 (E), SHA3-256 (H) or SHA2-256 (I).

    Raises:
        UsageError: another code (usage.argument).
    """
    if code not in _HASHES:
        raise UsageError(ErrorCode.ARGUMENT, f"documents have no digests of code {code!r}")
    hashed = _HASHES[code]()
    for piece in pieces:
        hashed.update(piece)
    return Digest(primitives.make(code, hashed.digest()).text)


def statement(digest: Digest, signatory: Signatory) -> bytes:
    """Return what is signed for a document: lines of text, each ended by a line feed.

    Domain, digest, identifier; then place (lower-case hex) and digest of the establishment event
    when the identifier has a log. No message of KERI starts like this.
    """
    lines = [_DOMAIN, digest]
    if isinstance(signatory, EventSeal):
        lines += [signatory.aid, f"{signatory.sn:x}", signatory.said]
    else:
        lines.append(signatory)
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def write_signature(signature: DocumentSignature) -> bytes:
    """Write a signature file; signatures come in the order of their keys.

    Raises:
        UsageError: what `read_signature` would refuse (usage.argument).
    """
    signed, kind = signature.signed, GroupKind.RECEIPT_COUPLES
    if isinstance(signed, SignatureGroup):
        ordered = tuple(sorted(signed.signatures, key=_index))
        signed, kind = (
            msgspec.structs.replace(signed, signatures=ordered),
            GroupKind.SIGNATURE_GROUPS,
        )
    data = signature.digest.encode() + write_groups([Group(kind, (signed,))]) + b"\n"
    try:
        read_signature(data)
    except DecodeError as error:
        raise UsageError(ErrorCode.ARGUMENT, error.message) from error
    return data


def read_signature(data: bytes, limits: Limits = DEFAULT_LIMITS) -> DocumentSignature:
    """Read a signature file, of which there is one spelling only.

    Args:
        data: the whole file; of a file that may be too large, one byte over
            `limits.attachments` is enough.
        limits: bounds.

    Raises:
        DecodeError: no bytes (decode.empty), too many bytes or signatures (decode.limit), no
            line feed at the end (decode.truncated), an unknown code (decode.unknown_code), other
            characters than those of CESR text (decode.encoding), other elements than those of a
            signature (decode.group), or signatures in another order or code than a writer's
            (decode.not_canonical).
    """
    if not data:
        raise DecodeError(ErrorCode.EMPTY, "the signature file is empty")
    if len(data) > limits.attachments:
        raise DecodeError(
            ErrorCode.LIMIT, f"a signature file of more than {limits.attachments} bytes"
        )
    if not data.endswith(b"\n"):
        raise DecodeError(ErrorCode.TRUNCATED, "the signature file does not end with a line feed")
    line = data[:-1]
    digest, end = primitives.read_text(line)
    if digest.code not in _HASHES:
        raise DecodeError(ErrorCode.GROUP, "the signature file does not start with a known digest")
    framed = groups.read_framed(base64.decode(line[end:]), limits)
    return DocumentSignature(Digest(digest.text), _read_signed(framed, limits))


def _read_signed(framed: tuple[Group, ...], limits: Limits) -> SignatureGroup | ReceiptCouple:
    match framed:
        case (Group(GroupKind.SIGNATURE_GROUPS, (SignatureGroup() as signed,)),):
            _check_signatures(signed.signatures, limits)
            return signed
        case (Group(GroupKind.RECEIPT_COUPLES, (ReceiptCouple() as couple,)),):
            if couple.key.transferable:
                raise DecodeError(
                    ErrorCode.GROUP, "a transferable key without its establishment event"
                )
            return couple
        case _:
            raise DecodeError(ErrorCode.GROUP, "not the signatures of one identifier")


def _check_signatures(signatures: tuple[IndexedSignature, ...], limits: Limits) -> None:
    """Check that signatures come in one way: by place, each place once, in the usual code.

    The place in a list of next keys, which nobody signs and nobody needs here, must repeat the
    place among the current ones.
    """
    if len(signatures) > limits.keys:
        raise DecodeError(ErrorCode.LIMIT, f"more than {limits.keys} signatures")
    if not signatures:
        raise DecodeError(ErrorCode.GROUP, "a signature file without signature")
    places = [one.index for one in signatures]
    if places != sorted(set(places)):
        raise DecodeError(ErrorCode.NOT_CANONICAL, "signatures out of order, or two of one key")
    for one in signatures:
        if one.suite is None:
            raise DecodeError(ErrorCode.GROUP, f"code {one.code} is no signature")
        if one != indexed.make(one.suite, one.raw, one.index, ondex=None):
            raise DecodeError(ErrorCode.NOT_CANONICAL, f"a signature of the code {one.code}")


def _index(signature: IndexedSignature) -> int:
    return signature.index
