"""The store in the tables of a database: what `memory.MemoryStore` does, and it survives."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from keystead.cesr.keys import Aid, Said
from keystead.errors import StoreError
from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Held, HeldKey, arrived_with, keys_of_event
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.routed import Kept, Record, RecordKey, Statement
from keystead.keri.seals import EventSeal
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.ports import Decision, KelReader, Outcome
from keystead.stores import rows
from keystead.stores.logs import LogTables
from keystead.stores.tables import TableDatabase
from keystead.stores.waiting import WaitingTables

T = TypeVar("T")

# Statements of all signers together are counted under this name.
ALL = ""
COUNT = (
    "INSERT INTO statement_count VALUES (?, ?, ?) ON CONFLICT (signer)"
    " DO UPDATE SET number = statement_count.number + excluded.number,"
    " size = statement_count.size + excluded.size"
)


class TableStore:
    """An `EventStore` in a database, which several processes can have open.

    What another process wrote, or a transaction undid, is seen at once: what is remembered of
    tables ends with that. Not safe for concurrent threads.

    Attributes:
        database: where the tables are.
    """

    def __init__(self, database: TableDatabase, limits: Limits = DEFAULT_LIMITS) -> None:
        """Use an open database; who opened it closes it."""
        self.database = database
        self._limits = limits
        self._logs = LogTables(database)
        self._waiting = WaitingTables(database, limits)

    def key_state(self, aid: Aid) -> KeyState | None:
        """Return the state at the end of the trunk, None for an unknown identifier."""
        return self._logs.key_state(aid)

    def event(self, aid: Aid, sn: int) -> AcceptedEvent | None:
        """Return the event of the trunk at `sn`."""
        return self._logs.event(aid, sn)

    def accepted(self, aid: Aid, said: Said) -> AcceptedEvent | None:
        """Return an accepted event by its digest, superseded ones included."""
        return self._logs.accepted(aid, said)

    def sealing_event(self, aid: Aid, seal: EventSeal) -> AcceptedEvent | None:
        """Return the first event on the trunk of `aid` that anchors `seal`."""
        return self._logs.sealing_event(aid, seal)

    def held(self, *keys: HeldKey) -> tuple[Held, ...]:
        """Return the entries of the escrow with these keys, as far as there are any."""
        return self._waiting.held(keys)

    def held_for(self, aid: Aid, sn: int, said: Said) -> tuple[Held, ...]:
        """Return what waits of an event: the event itself, receipts for it."""
        return () if self._waiting.empty else self._waiting.held(keys_of_event(aid, sn, said))

    def record(self, key: RecordKey) -> Record | None:
        """Return the statement kept under `key`."""
        query = "SELECT aid, key, signer_sn, raw, proofs, checksum FROM statement"
        for row in self.database.rows(f"{query} WHERE aid = ? AND key = ?", *_record_key(key)):
            with rows.reading(f"a statement about {key[1]}"):
                rows.check_row(row[-1], *row[:-1])
                return rows.to_record(row[3], row[4], row[2])
        return None

    def kept(self, signer: Aid) -> Kept:
        """Return how many statements are kept, of a signer and in all."""
        query = "SELECT signer, number, size FROM statement_count WHERE signer IN (?, ?)"
        found = {name: counts for name, *counts in self.database.rows(query, signer, ALL)}
        total, size = found.get(ALL, (0, 0))
        return Kept(found.get(signer, (0, 0))[0], total, size)

    def events(self, aid: Aid, *, first_sn: int = 0) -> Iterator[AcceptedEvent]:
        """Give the trunk from `first_sn` on."""
        return self._logs.events(aid, first_sn)

    def first_seen(self, aid: Aid, *, first: int = 0) -> Iterator[AcceptedEvent]:
        """Give all accepted events in first-seen order, superseded ones included."""
        return self._logs.first_seen(aid, first)

    def duplicity(self, aid: Aid) -> tuple[DuplicityEvidence, ...]:
        """Return the evidence of duplicity of `aid`."""
        return self._logs.duplicity(aid)

    def advance(self, aid: Aid, decide: Callable[[KelReader], Decision]) -> Outcome:  # noqa: ARG002 - the database finds out what a decision is about
        """Run `decide` and keep its outcome, in one transaction or as part of the one around.

        Raises:
            StoreError: store.busy, store.full, store.io, store.corrupt; nothing was kept.
        """
        return self.database.run(lambda: self._apply(decide(self)))

    def batch(self, work: Callable[[], T]) -> T:
        """Keep all decisions that are made inside `work` in one transaction, or none.

        One write to the disk then serves them all. A decision that raises undoes its own part
        only, so `work` may go on.

        Args:
            work: called at least once; it may be called again, so what it collects it must begin
                anew each time.

        Raises:
            StoreError: as `advance`; nothing was kept.
        """
        return self.database.run(work)

    def attach(self, accepted: AcceptedEvent, fresh: Proofs) -> None:
        """Keep verified signatures that are known to be new, inside a transaction.

        Half the cost of a decision to extend, which looks first at what is there.
        """
        self._logs.attach(accepted.event.aid, accepted.first_seen_number, fresh)

    def forget(self, statement: Statement) -> None:
        """Drop what is kept under the key of a statement, inside a transaction."""
        connection = self.database.writing()
        query = "DELETE FROM statement WHERE aid = ? AND key = ? RETURNING length(raw)"
        for (size,) in connection.execute(query, _record_key(statement.key)).fetchall():
            for name in (statement.authority, ALL):
                connection.execute(COUNT, (name, -1, -size))
                query = "DELETE FROM statement_count WHERE signer = ? AND number = 0"
                connection.execute(query, (name,))

    def due(self, before: datetime, most: int | None = None) -> Iterator[Held]:
        """Give the entries of the escrow that are there since before a time, up to a number."""
        return self._waiting.due(before, most)

    def identifiers(self) -> Iterator[Aid]:
        """Give the identifiers whose logs are here, in the order of their inceptions."""
        return self._logs.identifiers()

    def waiting(self) -> Iterator[Held]:
        """Give everything that waits, oldest first."""
        return self._waiting.waiting()

    def _apply(self, decision: Decision) -> Outcome:
        accepted: AcceptedEvent | None = None
        unblocked: tuple[Held, ...] = ()
        evicted: tuple[tuple[Held, StoreError], ...] = ()
        if decision.append is not None:
            accepted = self._logs.append(decision.append)
        if decision.extend is not None:
            self._logs.extend(decision.extend)
        if decision.record is not None:
            self._record(decision.record)
        if decision.evidence is not None:
            self._logs.keep(decision.evidence, self._limits.evidence, decision.displaces)
        for key in decision.release:
            self._waiting.remove(key)
        if decision.hold:
            evicted = self._waiting.put(*decision.hold)
        if accepted is not None and not self._waiting.empty:
            unblocked = self._waiting.waiting_for(arrived_with(accepted.event))
        return Outcome(decision, accepted, unblocked, evicted)

    def _record(self, record: Record) -> None:
        signer = record.statement.authority
        key = _record_key(record.key)
        row = (*key, record.signer_sn, record.reply.raw, rows.to_proofs(record.proofs))
        query = "SELECT length(raw) FROM statement WHERE aid = ? AND key = ?"
        connection = self.database.writing()
        old = connection.execute(query, key).fetchone()
        connection.execute(
            "INSERT INTO statement (aid, key, signer_sn, raw, proofs, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (aid, key) DO UPDATE SET"
            " signer_sn = excluded.signer_sn, raw = excluded.raw,"
            " proofs = excluded.proofs, checksum = excluded.checksum",
            (*row, rows.checksum(*row)),
        )
        number, size = (1, record.size) if old is None else (0, record.size - old[0])
        for name in (signer, ALL):
            connection.execute(COUNT, (name, number, size))


def _record_key(key: RecordKey) -> tuple[str, str]:
    """Return the identifier that a statement is about first, and the key as text."""
    return key[1], rows.to_json(key)
