"""Key state: who controls an identifier at a place in its log, and what proves it.

Source: KERI specification, "Key event messages" and "First Seen Policy".
"""

import msgspec

from keystead.cesr.groups import SourceCouple
from keystead.cesr.keys import Aid, Digest, Said, VerificationKey
from keystead.keri.attachments import Proofs
from keystead.keri.events import (
    DO_NOT_DELEGATE,
    ESTABLISHMENT_ONLY,
    AnyKeyEvent,
)
from keystead.keri.thresholds import Threshold


class Establishment(msgspec.Struct, frozen=True, gc=False):
    """What holds from an establishment event up to the next one.

    Attributes:
        sn: place of the event.
        said: digest of the event.
        signing_threshold: over `signing_keys`.
        signing_keys: keys that sign.
        next_threshold: over `next_key_digests`.
        next_key_digests: commitments to the keys of the next rotation; none: no more events.
        witness_threshold: receipts that an event needs.
        witnesses: the witness list after removing and adding.
        witnesses_removed: by this event.
        witnesses_added: by this event.
        configuration_traits: of the inception.
        delegator: of a delegated identifier, else empty.
    """

    sn: int
    said: Said
    signing_threshold: Threshold
    signing_keys: tuple[VerificationKey, ...]
    next_threshold: Threshold
    next_key_digests: tuple[Digest, ...]
    witness_threshold: int
    witnesses: tuple[Aid, ...]
    witnesses_removed: tuple[Aid, ...]
    witnesses_added: tuple[Aid, ...]
    configuration_traits: tuple[str, ...]
    delegator: Aid | None

    @property
    def transferable(self) -> bool:
        """More events can follow: there are next keys."""
        return bool(self.next_key_digests)

    @property
    def establishment_only(self) -> bool:
        """The log allows no interactions."""
        return ESTABLISHMENT_ONLY in self.configuration_traits

    @property
    def do_not_delegate(self) -> bool:
        """The identifier must not delegate."""
        return DO_NOT_DELEGATE in self.configuration_traits


class KeyState(msgspec.Struct, frozen=True, gc=False):
    """The state of an identifier after one event of its log.

    Attributes:
        aid: the identifier.
        sn: place of that event.
        said: digest of that event.
        prior_said: digest of the event before, empty after an inception.
        message_type: type of that event.
        establishment: what the latest establishment event set.
    """

    aid: Aid
    sn: int
    said: Said
    prior_said: Said | None
    message_type: str
    establishment: Establishment


class AcceptedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that a store has accepted into a log; only stores make these.

    Attributes:
        event: the event.
        state: the key state after it.
        proofs: verified signatures over it.
        first_seen_number: place in the order of acceptance, from 0.
        first_seen_at: when it was accepted, RFC 3339 text with microseconds.
        source: the delegator's event that seals it, for delegated establishment events.
    """

    event: AnyKeyEvent
    state: KeyState
    proofs: Proofs
    first_seen_number: int
    first_seen_at: str
    source: SourceCouple | None = None
