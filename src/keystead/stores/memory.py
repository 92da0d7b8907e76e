"""The store in memory: for verification, tests and short-lived tools. Nothing survives it."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import StoreError
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Held, HeldKey, arrived_with, keys_of_event
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.routed import Kept, Record, RecordKey
from keystead.keri.seals import EventSeal
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.ports import Append, Decision, Extend, KelReader, Outcome
from keystead.stores.escrow import Escrow


class _Log:
    """One identifier's events.

    Attributes:
        seen: accepted events by first-seen number.
        trunk: first-seen numbers by place; None as long as nothing was superseded, so that the
            two are the same.
        head: the event at the end of the trunk, None before the first.
        seals: event seals to the first-seen number of the first event on the trunk that
            anchors them.
        evidence: duplicity.
    """

    __slots__ = ("evidence", "head", "seals", "seen", "trunk")

    def __init__(self) -> None:
        self.seen: list[AcceptedEvent] = []
        self.trunk: list[int] | None = None
        self.head: AcceptedEvent | None = None
        self.seals: dict[EventSeal, int] = {}
        self.evidence: dict[Said, DuplicityEvidence] = {}

    def append(self, new: Append) -> AcceptedEvent:
        number, event = len(self.seen), new.event
        if new.supersedes:
            self._cut(event.sn)
        next_sn = number if self.trunk is None else len(self.trunk)
        if event.sn != next_sn:
            raise ValueError(f"event {event.sn} does not follow a trunk of {next_sn}")
        accepted = AcceptedEvent(
            event, new.state, new.proofs, number, new.first_seen_at, new.source
        )
        self.head = accepted
        self.seen.append(accepted)
        if self.trunk is not None:
            self.trunk.append(number)
        for anchor in event.anchors:
            if isinstance(anchor, EventSeal):
                self.seals.setdefault(anchor, number)
        return accepted

    def at(self, sn: int) -> AcceptedEvent | None:
        """Return the event of the trunk at `sn`."""
        numbers = range(len(self.seen)) if self.trunk is None else self.trunk
        return self.seen[numbers[sn]] if 0 <= sn < len(numbers) else None

    def from_sn(self, sn: int) -> Iterator[AcceptedEvent]:
        """Give the trunk from `sn` on."""
        if self.trunk is None:
            yield from self.seen[sn:]
        else:
            for number in self.trunk[sn:]:
                yield self.seen[number]

    def _cut(self, first_sn: int) -> None:
        """Take the events from `first_sn` on from the trunk."""
        if self.trunk is None:
            self.trunk = list(range(len(self.seen)))
        for number in self.trunk[first_sn:]:
            for anchor in self.seen[number].event.anchors:
                if isinstance(anchor, EventSeal) and self.seals.get(anchor) == number:
                    del self.seals[anchor]
        del self.trunk[first_sn:]


class MemoryStore:
    """An `EventStore` that lives as long as the process. Not safe for concurrent threads."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Start empty."""
        self._limits = limits
        self._logs: dict[Aid, _Log] = {}
        self._numbers: dict[Said, int] = {}  # first-seen numbers of events in their logs
        self._records: dict[RecordKey, Record] = {}
        self._records_of: Counter[Aid] = Counter()  # numbers of records by signer
        self._records_bytes = 0
        self._escrow = Escrow(limits)

    def key_state(self, aid: Aid) -> KeyState | None:
        """Return the state at the end of the trunk, None for an unknown identifier."""
        log = self._logs.get(aid)
        return None if log is None or log.head is None else log.head.state

    def event(self, aid: Aid, sn: int) -> AcceptedEvent | None:
        """Return the event of the trunk at `sn`."""
        log = self._logs.get(aid)
        return None if log is None else log.at(sn)

    def accepted(self, aid: Aid, said: Said) -> AcceptedEvent | None:
        """Return an accepted event by its digest, superseded ones included."""
        log = self._logs.get(aid)
        if log is None:
            return None
        number = self._numbers.get(said)
        if number is None or number >= len(log.seen) or log.seen[number].event.said != said:
            return None  # unknown, or an event of another log
        return log.seen[number]

    def sealing_event(self, aid: Aid, seal: EventSeal) -> AcceptedEvent | None:
        """Return the first event on the trunk of `aid` that anchors `seal`."""
        log = self._logs.get(aid)
        if log is None:
            return None
        number = log.seals.get(seal)
        return None if number is None else log.seen[number]

    def held(self, *keys: HeldKey) -> tuple[Held, ...]:
        """Return the entries of the escrow with these keys, as far as there are any."""
        entries = self._escrow.entries
        return tuple([entries[key] for key in keys if key in entries]) if entries else ()

    def held_for(self, aid: Aid, sn: int, said: Said) -> tuple[Held, ...]:
        """Return what waits of an event: the event itself, receipts for it."""
        return self.held(*keys_of_event(aid, sn, said)) if self._escrow.entries else ()

    def record(self, key: RecordKey) -> Record | None:
        """Return the statement kept under `key`."""
        return self._records.get(key)

    def kept(self, signer: Aid) -> Kept:
        """Return how many statements are kept, of a signer and in all."""
        return Kept(self._records_of[signer], len(self._records), self._records_bytes)

    def events(self, aid: Aid, *, first_sn: int = 0) -> Iterator[AcceptedEvent]:
        """Give the trunk from `first_sn` on."""
        log = self._logs.get(aid)
        if log is not None:
            yield from log.from_sn(first_sn)

    def first_seen(self, aid: Aid, *, first: int = 0) -> Iterator[AcceptedEvent]:
        """Give all accepted events in first-seen order, superseded ones included."""
        log = self._logs.get(aid)
        if log is not None:
            yield from log.seen[first:]

    def duplicity(self, aid: Aid) -> tuple[DuplicityEvidence, ...]:
        """Return the evidence of duplicity of `aid`."""
        log = self._logs.get(aid)
        return () if log is None else tuple(log.evidence.values())

    def advance(self, aid: Aid, decide: Callable[[KelReader], Decision]) -> Outcome:
        """Run `decide` and apply its outcome."""
        decision = decide(self)
        accepted: AcceptedEvent | None = None
        unblocked: tuple[Held, ...] = ()
        if decision.append is not None:
            log = self._logs.get(aid) or _Log()
            accepted = log.append(decision.append)
            self._logs[aid] = log  # only now: an event that does not fit makes no log
            self._numbers[accepted.event.said] = accepted.first_seen_number
        if decision.extend is not None:
            self._extend(decision.extend)
        if decision.record is not None:
            self._record(decision.record)
        if decision.evidence is not None:
            self._keep(decision.evidence, decision.displaces)
        for key in decision.release:
            self._escrow.remove(key)
        evicted: tuple[tuple[Held, StoreError], ...] = ()
        if decision.hold:
            evicted = self._escrow.put(*decision.hold)
        if accepted is not None and self._escrow.entries:
            unblocked = self._escrow.waiting_for(arrived_with(accepted.event))
        return Outcome(decision, accepted, unblocked, evicted)

    def due(self, before: datetime, most: int | None = None) -> Iterator[Held]:
        """Give the entries of the escrow that are there since before a time, up to a number."""
        # All are looked at: after a clock was set back, the order of arrival is not that of times.
        found = [held for held in self._escrow.entries.values() if held.since < before]
        yield from found[:most]

    def identifiers(self) -> Iterator[Aid]:
        """Give the identifiers whose logs are here, in the order of their inceptions."""
        yield from self._logs

    def waiting(self) -> Iterator[Held]:
        """Give everything that waits, oldest first."""
        yield from self._escrow.entries.values()

    def records(self) -> Iterator[Record]:
        """Give all statements that are kept."""
        yield from self._records.values()

    def _record(self, record: Record) -> None:
        old = self._records.get(record.key)
        if old is None:
            self._records_of[record.statement.authority] += 1
        self._records_bytes += record.size - (0 if old is None else old.size)
        self._records[record.key] = record

    def _keep(self, evidence: DuplicityEvidence, displaces: Said | None) -> None:
        log = self._logs[evidence.aid]
        if displaces is not None:
            found = [evidence if said == displaces else one for said, one in log.evidence.items()]
            log.evidence = {one.other.said: one for one in found}
        kept = log.evidence
        if len(kept) < self._limits.evidence:
            kept.setdefault(evidence.other.said, evidence)

    def _extend(self, more: Extend) -> None:
        log = self._logs[more.aid]
        number = self._numbers[more.said]
        old = log.seen[number]
        log.seen[number] = msgspec.structs.replace(old, proofs=old.proofs.merged(more.proofs))
        if log.head is old:
            log.head = log.seen[number]
