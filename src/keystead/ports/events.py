"""What the application asks of stores; adapters in `stores` implement it.

Consistency: a store runs each decision on a serializable snapshot of all that the decision reads,
and keeps the outcome in the same transaction. Two decisions on one identifier never interleave.
What a store has returned as done survives whatever the store promises to survive.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

import msgspec

from keystead.cesr.groups import SourceCouple
from keystead.cesr.keys import Aid, Said
from keystead.errors import StoreError
from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Held, HeldKey
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.routed import Kept, Record, RecordKey
from keystead.keri.seals import EventSeal
from keystead.keri.verdicts import RoutedVerdict, Verdict


class Append(msgspec.Struct, frozen=True, gc=False):
    """Put an event on the trunk, in first-seen order.

    Attributes:
        event: the event.
        state: the key state after it.
        proofs: verified signatures.
        first_seen_at: RFC 3339 text with microseconds.
        source: the delegator's event that seals it, if delegated.
        supersedes: the trunk from the event's place on becomes disputed; otherwise the event
            comes behind the end of the trunk.
    """

    event: AnyKeyEvent
    state: KeyState
    proofs: Proofs
    first_seen_at: str
    source: SourceCouple | None
    supersedes: bool


class Extend(msgspec.Struct, frozen=True, gc=False):
    """Add verified signatures to an accepted event."""

    aid: Aid
    said: Said
    proofs: Proofs


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The outcome of deciding on one message, to be stored as a whole or not at all.

    Attributes:
        verdict: the decision itself.
        append: event for the log.
        extend: signatures for an accepted event.
        hold: entries for the escrow; an entry with the same key is replaced.
        release: entries of the escrow that are settled.
        record: statement to keep.
        evidence: duplicity to keep.
        displaces: the other version of kept evidence that it takes the place of.
    """

    verdict: Verdict | RoutedVerdict
    append: Append | None = None
    extend: Extend | None = None
    hold: tuple[Held, ...] = ()
    release: tuple[HeldKey, ...] = ()
    record: Record | None = None
    evidence: DuplicityEvidence | None = None
    displaces: Said | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a store did.

    Attributes:
        decision: what was decided.
        accepted: the appended event.
        unblocked: entries of the escrow that wait for the appended event. They stay there
            until a decision releases them.
        evicted: entries of the escrow that were dropped for want of room, and why.
    """

    decision: Decision
    accepted: AcceptedEvent | None = None
    unblocked: tuple[Held, ...] = ()
    evicted: tuple[tuple[Held, StoreError], ...] = ()


class KelReader(Protocol):
    """A snapshot of everything a decision may read."""

    def key_state(self, aid: Aid) -> KeyState | None:
        """Return the state at the end of the trunk, None for an unknown identifier."""

    def event(self, aid: Aid, sn: int) -> AcceptedEvent | None:
        """Return the event of the trunk at `sn`."""

    def accepted(self, aid: Aid, said: Said) -> AcceptedEvent | None:
        """Return an accepted event by its digest, superseded ones included."""

    def sealing_event(self, aid: Aid, seal: EventSeal) -> AcceptedEvent | None:
        """Return the first event on the trunk of `aid` that anchors `seal`."""

    def duplicity(self, aid: Aid) -> tuple[DuplicityEvidence, ...]:
        """Return the evidence of duplicity of `aid`."""

    def held(self, *keys: HeldKey) -> tuple[Held, ...]:
        """Return the entries of the escrow with these keys, as far as there are any."""

    def held_for(self, aid: Aid, sn: int, said: Said) -> tuple[Held, ...]:
        """Return what waits of an event: the event itself, receipts for it."""

    def record(self, key: RecordKey) -> Record | None:
        """Return the statement kept under `key`."""

    def kept(self, signer: Aid) -> Kept:
        """Return how many statements are kept, of a signer and in all."""


class EventStore(KelReader, Protocol):
    """Logs, what waits for them, and what was stated; read outside of a decision as of now."""

    def events(self, aid: Aid, *, first_sn: int = 0) -> Iterator[AcceptedEvent]:
        """Give the trunk from `first_sn` on."""

    def first_seen(self, aid: Aid, *, first: int = 0) -> Iterator[AcceptedEvent]:
        """Give all accepted events in first-seen order, superseded ones included."""

    def advance(self, aid: Aid, decide: Callable[[KelReader], Decision]) -> Outcome:
        """Run the pure `decide` on a serializable snapshot and store its outcome.

        Args:
            aid: the identifier that the decision is about; decisions about it are serialized.
            decide: called at least once; it may be called again on another snapshot.
        """

    def due(self, before: datetime, most: int | None = None) -> Iterator[Held]:
        """Give the entries of the escrow that are there since before a time, up to a number."""

    def identifiers(self) -> Iterator[Aid]:
        """Give the identifiers whose logs are here, in the order of their inceptions."""

    def waiting(self) -> Iterator[Held]:
        """Give everything that waits, oldest first."""
