"""What is attached to a message, sorted by what it claims.

Source: KERI specification, "Signing and sealing KERI data structures".
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Self, TypeVar

import msgspec

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import (
    FirstSeenCouple,
    Group,
    LastSignatureGroup,
    PathedMaterial,
    ReceiptCouple,
    SignatureGroup,
)
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Said
from keystead.keri.events import AnyKeyEvent

T = TypeVar("T")

_SIGNATURES: Final = GroupKind.CONTROLLER_SIGNATURES


class Signatures(msgspec.Struct, frozen=True, gc=False):
    """Signatures over one event or message.

    Attributes:
        signatures: by keys of the controller.
        witness_signatures: by witnesses, as places in the witness list.
        couples: by non-transferable identifiers; witnesses among them only while unverified.
        endorsements: by transferable identifiers with a named establishment event.
    """

    signatures: tuple[IndexedSignature, ...] = ()
    witness_signatures: tuple[IndexedSignature, ...] = ()
    couples: tuple[ReceiptCouple, ...] = ()
    endorsements: tuple[SignatureGroup, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.signatures or self.witness_signatures or self.couples or self.endorsements)

    @property
    def count(self) -> int:
        """Number of signatures."""
        single = len(self.signatures) + len(self.witness_signatures) + len(self.couples)
        return single + sum(len(group.signatures) for group in self.endorsements)

    def merged(self, other: Self) -> Self:
        """Return the signatures of both, each once."""
        if not other:
            return self
        return type(self)(
            _union(self.signatures, other.signatures),
            _union(self.witness_signatures, other.witness_signatures),
            _union(self.couples, other.couples),
            by_signer((*self.endorsements, *other.endorsements))
            if other.endorsements
            else self.endorsements,
        )

    def bounded(self, most: int, signers: int) -> Self:
        """Return the first `most` of each kind, with endorsements under `signers` events."""
        if self.count <= most and len(self.endorsements) <= signers:
            return self
        room = most
        endorsements = []
        for group in self.endorsements[:signers]:
            fitting = group.signatures[:room]
            room -= len(fitting)
            if fitting:
                endorsements.append(SignatureGroup(group.aid, group.sn, group.said, fitting))
        return type(self)(
            self.signatures[:most],
            self.witness_signatures[:most],
            self.couples[:most],
            tuple(endorsements),
        )


class Claims(Signatures, frozen=True, gc=False):
    """Signatures that nobody has verified."""


class Proofs(Signatures, frozen=True, gc=False):
    """Signatures that were verified."""


class SignedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event and the signatures over it.

    Attributes:
        event: the event.
        claims: unverified signatures.
        proofs: verified ones, from an earlier attempt.
        proofs_under: digest of the establishment event whose keys verified them.
    """

    event: AnyKeyEvent
    claims: Claims
    proofs: Proofs = Proofs()
    proofs_under: Said | None = None

    @property
    def message(self) -> AnyKeyEvent:
        """The event, as a message."""
        return self.event

    @property
    def log(self) -> Aid:
        """The identifier whose log the event is for."""
        return self.event.aid

    def with_claims(self, claims: Claims) -> "SignedEvent":
        """Return the same event with more unverified signatures."""
        return SignedEvent(self.event, self.claims.merged(claims), self.proofs, self.proofs_under)


class Attachments(msgspec.Struct, frozen=True, gc=False):
    """Everything attached to a message.

    Attributes:
        claims: signatures.
        last_groups: signatures by the latest keys of an identifier, on queries.
        first_seen: number and time in the log of whoever replays the event, if any.
        pathed: attachments of embedded messages.
        payload: ESSR payloads, concatenated.
    """

    claims: Claims
    last_groups: tuple[LastSignatureGroup, ...] = ()
    first_seen: FirstSeenCouple | None = None
    pathed: tuple[PathedMaterial, ...] = ()
    payload: bytes = b""


def gather(groups: Sequence[Group]) -> Attachments:
    """Sort the groups of a message.

    Source seals are left out: they hint where a delegator's seal is, and the delegator's log
    is searched anyway. So are signatures over parts of a body (-J, -K), which KERI has dropped,
    and groups without any signature.
    """
    if len(groups) == 1 and groups[0].kind is _SIGNATURES:
        return Attachments(Claims(groups[0].items))  # type: ignore[arg-type] # told by the kind
    items: dict[GroupKind, tuple[Any, ...]] = {}
    for group in groups:
        items[group.kind] = items.get(group.kind, ()) + group.items
    quadruples = [
        SignatureGroup(item.aid, item.sn, item.said, (item.signature,))
        for item in items.get(GroupKind.RECEIPT_QUADRUPLES, ())
    ]
    return Attachments(
        Claims(
            items.get(GroupKind.CONTROLLER_SIGNATURES, ()),
            items.get(GroupKind.WITNESS_SIGNATURES, ()),
            items.get(GroupKind.RECEIPT_COUPLES, ()),
            by_signer((*items.get(GroupKind.SIGNATURE_GROUPS, ()), *quadruples)),
        ),
        tuple([one for one in items.get(GroupKind.LAST_SIGNATURE_GROUPS, ()) if one.signatures]),
        next(reversed(items.get(GroupKind.FIRST_SEEN_COUPLES, ())), None),
        items.get(GroupKind.PATHED_MATERIAL, ()),
        b"".join(items.get(GroupKind.ESSR_PAYLOAD, ())),
    )


def by_signer(groups: Iterable[SignatureGroup]) -> tuple[SignatureGroup, ...]:
    """Join the groups that name the same establishment event; leave out those without signature.

    A group costs a look at the log of its signer, so there are no more of them than signers.
    """
    joined: dict[tuple[Aid, int, Said], dict[IndexedSignature, None]] = {}
    for group in groups:
        if group.signatures:
            same = joined.setdefault((group.aid, group.sn, group.said), {})
            same.update(dict.fromkeys(group.signatures))
    return tuple([SignatureGroup(*key, tuple(found)) for key, found in joined.items()])


def _union(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    """Return the entries of both, each once, in order."""
    return tuple(dict.fromkeys((*first, *second))) if second else first
