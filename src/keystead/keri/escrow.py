"""What waits: messages that cannot be decided yet, keyed by what is missing.

Nothing here polls. A message is looked at again when something it waits for arrives, and is
dropped when it has waited too long or when too much waits.

Source: KERI specification, "Indexed Signatures" (escrow of partially signed events) and
"Receipt Signatures" (receipts before their event).
"""

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import msgspec

from keystead.cesr.groups import ReceiptCouple
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Said
from keystead.keri.attachments import Claims, Signatures, SignedEvent
from keystead.keri.events import AnyKeyEvent
from keystead.keri.messages import Receipt, RoutedMessage
from keystead.keri.seals import EventSeal


class Want(Enum):
    """What kind of thing is missing. The value completes "waits for"."""

    EVENT = "an event of the log"
    SIGNATURES = "more signatures of the controller"
    NEXT_KEYS = "signatures that expose more of the next keys"
    RECEIPTS = "more witness receipts"
    APPROVAL = "the seal of the delegator"
    RECEIPTED = "the event that is receipted"
    SEAL = "an event that anchors the seal"
    LOCAL_SOURCE = "delivery through a protected channel"


class Missing(msgspec.Struct, frozen=True, gc=False):
    """One thing that is missing.

    Attributes:
        want: its kind.
        aid: log in which it will appear: the identifier's own, the delegator's, the signer's.
        sn: place in that log, or of the sealed event for seals.
        said: digest of the event that it belongs to, empty when any event at the place will do.
        sealed: identifier of the sealed event, for seals.
        detail: how much there is and how much is needed, for people.
    """

    want: Want
    aid: Aid
    sn: int
    said: Said | None = None
    sealed: Aid | None = None
    detail: str = ""

    @property
    def key(self) -> "MissingKey":
        """The same without detail: what an arrival is looked up by."""
        return (self.want.name, self.aid, self.sn, self.said, self.sealed)


MissingKey: TypeAlias = tuple[str, str, int, str | None, str | None]
# Kind of what is held, identifier or empty, place of the event or of the signer's keys or -1,
# digest, and who says it.
HeldKey: TypeAlias = tuple[str, str, int, str, str]


class WaitingReceipts(msgspec.Struct, frozen=True, gc=False):
    """Receipts that cannot be verified yet: their event, or a receiptor's log, is not here.

    Attributes:
        aid: identifier of the receipted event.
        sn: its place.
        said: its digest.
        claims: the receipts.
    """

    aid: Aid
    sn: int
    said: Said
    claims: Claims

    @property
    def message(self) -> Receipt:
        """The receipt, as a message."""
        return Receipt(self.aid, self.sn, self.said)

    @property
    def log(self) -> Aid:
        """The identifier whose log the receipts are for."""
        return self.aid


class WaitingMessage(msgspec.Struct, frozen=True, gc=False):
    """A routed message (query, reply, exchange and so on) with the signatures of one signer.

    Attributes:
        message: the message.
        signer: whose keys signed.
        sn: place of the establishment event that set them, None for the latest.
        said: digest of that event, None for the latest.
        signatures: unverified signatures.
        proven: verified ones, from an earlier attempt.
        proven_under: digest of the establishment event whose keys verified them.
        couple: the signature of a non-transferable signer, who has neither log nor places.
    """

    message: RoutedMessage
    signer: Aid
    sn: int | None = None
    said: Said | None = None
    signatures: tuple[IndexedSignature, ...] = ()
    proven: tuple[IndexedSignature, ...] = ()
    proven_under: Said | None = None
    couple: ReceiptCouple | None = None

    @property
    def log(self) -> Aid:
        """The identifier whose log has the keys."""
        return self.signer


Waiting: TypeAlias = SignedEvent | WaitingReceipts | WaitingMessage


class Held(msgspec.Struct, frozen=True, gc=False):
    """An entry of the escrow.

    Attributes:
        waiting: the message.
        missing: what it waits for; any one of these makes it worth another look.
        local: it came from a protected source.
        since: when it, or the first part of it, arrived.
    """

    waiting: Waiting
    missing: frozenset[Missing]
    local: bool
    since: datetime

    @property
    def key(self) -> HeldKey:
        """Identity in the escrow."""
        return key_of(self.waiting)

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, near enough for a bound."""
        rest = _ENTRY_SIZE + _MISSING_SIZE * len(self.missing)
        match self.waiting:
            case SignedEvent(event, claims, proofs):
                return rest + _EVENT_FACTOR * len(event.raw) + _size_of(claims) + _size_of(proofs)
            case WaitingReceipts(claims=claims):
                return rest + _size_of(claims)
            case part:
                count = len(part.signatures) + len(part.proven)
                return rest + _SIGNATURE_SIZE * count + _size_of_body(part.message)


# Bytes in memory, as measured.
_ENTRY_SIZE = 1200  # with its keys, and its places in the indexes of the escrow
_MISSING_SIZE = 600
_SIGNATURE_SIZE = 300  # with its key
_GROUP_SIZE = 300
_EVENT_FACTOR = 6  # a list of the shortest seals, for each byte of the body
_VALUE_SIZE = 80  # a string, number or list in a field map, without its content
_MEMBER_SIZE = 40  # a value's place in a map or list


def _size_of(signatures: Signatures) -> int:
    return _SIGNATURE_SIZE * signatures.count + _GROUP_SIZE * len(signatures.endorsements)


def _size_of_body(message: RoutedMessage) -> int:
    """Return the size of a body and of the objects made from it.

    They are up to 25 times as large as the body, and ordinarily twice, so all are looked at.
    """
    size, rest = 0, [getattr(message, field) for field in message.__struct_fields__]
    while rest:
        value = rest.pop()
        size += _VALUE_SIZE
        match value:
            case dict():
                size += 2 * _MEMBER_SIZE * len(value)
                rest += value
                rest += value.values()
            case list():
                size += _MEMBER_SIZE * len(value)
                rest += value
            case str() | bytes():
                size += len(value)
            case _:
                pass
    return size


def key_of(waiting: Waiting) -> HeldKey:
    """Return the identity of what waits."""
    match waiting:
        case SignedEvent(event):
            return ("event", event.aid, event.sn, event.said, "")
        case WaitingReceipts(aid, sn, said):
            return ("receipts", aid, sn, said, "")
        case part:
            message, sn = part.message, -1 if part.sn is None else part.sn
            signer = f"{part.signer} {part.said or ''}"
            return (message.message_type, "", sn, message.said, signer)


def keys_of_event(aid: Aid, sn: int, said: Said) -> tuple[HeldKey, HeldKey]:
    """Return the identities of a version of an event and of the receipts for it."""
    return ("event", aid, sn, said, ""), ("receipts", aid, sn, said, "")


def arrived_with(event: AnyKeyEvent) -> tuple[MissingKey, ...]:
    """Return what is no longer missing when an event has been accepted."""
    keys: list[MissingKey] = [
        (Want.EVENT.name, event.aid, event.sn, None, None),
        (Want.RECEIPTED.name, event.aid, event.sn, None, None),
    ]
    for seal in event.anchors:
        if isinstance(seal, EventSeal):
            keys.append((Want.APPROVAL.name, event.aid, seal.sn, seal.said, seal.aid))
            keys.append((Want.SEAL.name, event.aid, seal.sn, seal.said, seal.aid))
    return tuple(keys)
