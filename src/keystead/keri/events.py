"""Key events: typed, frozen, and well-formed by construction.

An event in hand has exactly the fields of its type in their order, canonical numbers, keys and
digests, thresholds that its own lists can meet, and a SAID that was recomputed over its bytes.
Whether it fits a log is another question (`validation`).

Source: KERI specification, "Key event messages"; field order of version 1.0.
"""

from typing import ClassVar, TypeAlias

import msgspec

from keystead.cesr.keys import Aid, Digest, Said, VerificationKey
from keystead.keri.seals import Seal
from keystead.keri.thresholds import Threshold


class KeyEvent(msgspec.Struct, frozen=True, gc=False):
    """What all key events have.

    Attributes:
        raw: the bytes that were signed.
        said: digest of the event.
        aid: the identifier whose log the event belongs to.
        sn: place in the log, from 0.
        anchors: seals, in order.
        delegated: the delegator must seal the event.
    """

    message_type: ClassVar[str]
    delegated: ClassVar[bool] = False

    raw: bytes
    said: Said
    aid: Aid
    sn: int
    anchors: tuple[Seal, ...]


class EstablishmentEvent(KeyEvent, frozen=True, gc=False):
    """What events have that set keys.

    Attributes:
        signing_threshold: over `signing_keys`.
        signing_keys: keys that are authoritative from this event on.
        next_threshold: over `next_key_digests`.
        next_key_digests: commitments to the keys of the next rotation; none ends the log.
        witness_threshold: receipts that an event needs.
    """

    signing_threshold: Threshold
    signing_keys: tuple[VerificationKey, ...]
    next_threshold: Threshold
    next_key_digests: tuple[Digest, ...]
    witness_threshold: int


class Inception(EstablishmentEvent, frozen=True, gc=False):
    """The first event of a log.

    Attributes:
        witnesses: non-transferable identifiers that receipt events.
        configuration_traits: as listed, unknown ones included.
    """

    message_type: ClassVar[str] = "icp"
    prior_said: ClassVar[None] = None

    witnesses: tuple[Aid, ...]
    configuration_traits: tuple[str, ...]


class DelegatedInception(Inception, frozen=True, gc=False):
    """The first event of a delegated log.

    Attributes:
        delegator: the identifier that must seal this event.
    """

    message_type: ClassVar[str] = "dip"
    delegated: ClassVar[bool] = True

    delegator: Aid


class Rotation(EstablishmentEvent, frozen=True, gc=False):
    """An event that replaces the keys.

    Attributes:
        prior_said: digest of the event before.
        witnesses_removed: taken from the witness list first.
        witnesses_added: appended then.
    """

    message_type: ClassVar[str] = "rot"

    prior_said: Said
    witnesses_removed: tuple[Aid, ...]
    witnesses_added: tuple[Aid, ...]


class DelegatedRotation(Rotation, frozen=True, gc=False):
    """A rotation that the delegator must seal."""

    message_type: ClassVar[str] = "drt"
    delegated: ClassVar[bool] = True


class Interaction(KeyEvent, frozen=True, gc=False):
    """An event that anchors data and leaves the keys.

    Attributes:
        prior_said: digest of the event before.
    """

    message_type: ClassVar[str] = "ixn"

    prior_said: Said


AnyKeyEvent: TypeAlias = Inception | DelegatedInception | Rotation | DelegatedRotation | Interaction

ESTABLISHMENT_ONLY = "EO"
DO_NOT_DELEGATE = "DND"
DELEGATE_IS_DELEGATOR = "DID"
REGISTRAR_BACKERS = "RB"
NO_REGISTRAR_BACKERS = "NRB"

FIELDS: dict[str, tuple[str, ...]] = {
    # message type -> labels in order
    "icp": ("v", "t", "d", "i", "s", "kt", "k", "nt", "n", "bt", "b", "c", "a"),
    "rot": ("v", "t", "d", "i", "s", "p", "kt", "k", "nt", "n", "bt", "br", "ba", "a"),
    "ixn": ("v", "t", "d", "i", "s", "p", "a"),
    "dip": ("v", "t", "d", "i", "s", "kt", "k", "nt", "n", "bt", "b", "c", "a", "di"),
    "drt": ("v", "t", "d", "i", "s", "p", "kt", "k", "nt", "n", "bt", "br", "ba", "a"),
}
