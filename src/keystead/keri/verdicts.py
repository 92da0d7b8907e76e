"""Verdicts: the possible outcomes for events and messages, as values.

"Not yet" and "duplicitous" are outcomes like any other; only `Accepted` carries a key state.
"""

from enum import Enum
from typing import TypeAlias

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import KeysteadError
from keystead.keri.attachments import Proofs, SignedEvent
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Missing, Waiting
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.messages import RoutedMessage
from keystead.keri.routed import Record


class Source(Enum):
    """How an event came here."""

    LOCAL = "through a protected channel"
    REMOTE = "through an unprotected channel"


class Role(Enum):
    """What the validator is to the event."""

    CONTROLLER = "controller"
    WITNESS = "witness"
    DELEGATOR = "delegator"
    VALIDATOR = "validator"


class ReceiptDue(msgspec.Struct, frozen=True, gc=False):
    """The validator is a witness and owes a receipt for the event, once it is stored."""


class Superseded(msgspec.Struct, frozen=True, gc=False):
    """The events of the trunk from the event's place on are now disputed."""

    first_sn: int


Effect: TypeAlias = ReceiptDue | Superseded


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The event is valid here and now.

    Attributes:
        state: key state after the event.
        proofs: verified signatures.
        effects: what has to be done next.
    """

    state: KeyState
    proofs: Proofs
    effects: tuple[Effect, ...] = ()

    @property
    def supersedes(self) -> bool:
        """Other events lose their place to this one."""
        return any(isinstance(effect, Superseded) for effect in self.effects)


class Pending(msgspec.Struct, frozen=True, gc=False):
    """The event may become valid.

    Attributes:
        missing: exactly what is missing.
        event: the event with what could be verified of it so far.
    """

    missing: frozenset[Missing]
    event: SignedEvent


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """The log holds this very event.

    Attributes:
        accepted: as the log holds it.
        additions: verified signatures that the log does not hold.
    """

    accepted: AcceptedEvent
    additions: Proofs


class Duplicitous(msgspec.Struct, frozen=True, gc=False):
    """The event is verified, but the log holds another one at its place, which stands."""

    evidence: DuplicityEvidence


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """The event is not valid and cannot become so."""

    error: KeysteadError

    def __post_init__(self) -> None:
        """Keep the error alone."""
        self.error.forget_frames()


Verdict: TypeAlias = Accepted | Pending | Duplicate | Duplicitous | Rejected


class Receipted(msgspec.Struct, frozen=True, gc=False):
    """Receipts were verified; `additions` are those that the log did not hold."""

    accepted: AcceptedEvent
    additions: Proofs


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A statement is the best available one and is kept."""

    record: Record


class Authentic(msgspec.Struct, frozen=True, gc=False):
    """A message was signed by enough keys of its signer, which may be retired keys.

    A message may name an earlier establishment event of its signer (-F). So whoever holds keys
    that were rotated away can still sign messages. Act on one that is not `latest` only when it
    is known to have been signed while its keys were in use; its date is no proof of that.

    Attributes:
        message: what was signed.
        signer: who signed.
        signer_sn: place of the establishment event whose keys signed, None for a
            non-transferable signer.
        signer_said: digest of that event, None for a non-transferable signer.
        latest: those keys are the signer's latest in the log that is here now; always so for a
            non-transferable signer.
    """

    message: RoutedMessage
    signer: Aid
    signer_sn: int | None
    signer_said: Said | None
    latest: bool


class Unauthenticated(msgspec.Struct, frozen=True, gc=False):
    """A query names a signer whose log is not here, so its signature says nothing.

    Only a node that answers strangers gives this; what it answers must be public.
    """

    message: RoutedMessage
    claimed_signer: Aid


class Waits(msgspec.Struct, frozen=True, gc=False):
    """Receipts or a message wait for what is missing."""

    missing: frozenset[Missing]
    waiting: Waiting


RoutedVerdict: TypeAlias = Receipted | Recorded | Authentic | Unauthenticated | Waits | Rejected
