"""The store of a witness: logs, and what it has promised about them, in one database."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

from keystead.cesr.keys import Aid, Said
from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import Proofs
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.routed import SCHEMES, Location
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.ports.witness import Admitted, Mail, Origin, Promise, WitnessRow
from keystead.stores.opening import location_of, open_database
from keystead.stores.table_store import TableStore
from keystead.stores.tables import TableConnection, TableDatabase, again

T = TypeVar("T")
FILE: Final = "witness.db"
KIND: Final = "witness"
_RESTORE: Final = (
    "restore it from a back-up, see docs/witness-operators.md; a new witness: keystead witness init"
    " --home ANOTHER"
)
# Messages that wait for one recipient and topic, and bytes that wait for all (16 MiB). A recipient
# asks every few seconds; who does not come for that long asks anew.
_MAIL_OF_TOPIC: Final = 64
_MAIL_BYTES: Final = 16 * 1024 * 1024
# What it takes to supersede an event: any rotation (0), an approved one (1); nothing can (2).
_RANKS: Final = {"ixn": 0, "drt": 1}
_FINAL: Final = 2


class DatabaseWitness:
    """A `WitnessStore` in a database."""

    def __init__(self, database: TableDatabase, limits: Limits = DEFAULT_LIMITS) -> None:
        """Use an open database; see `create` and `open`."""
        self.database = database
        self.events = TableStore(database, limits)

    @classmethod
    def create(cls, home: Path, aid: Aid) -> "DatabaseWitness":
        """Make the store of a new witness; errors as `open_database`."""
        store = cls(open_database(location_of(home, FILE), kind=KIND, create=True))
        store.begin(aid)
        return store

    @classmethod
    def open(cls, home: Path, limits: Limits = DEFAULT_LIMITS) -> "DatabaseWitness":
        """Open the store of a witness.

        Raises:
            UsageError: as `open_database`.
            StoreError: as `open_database`; store.missing for one that `create` did not make.
        """
        try:
            store = cls(open_database(location_of(home, FILE), kind=KIND), limits)
            try:
                store.about()
            except StoreError:
                store.close()
                raise
        except StoreError as error:
            if error.code is not ErrorCode.STORE_MISSING:
                raise
            raise StoreError(error.code, error.message, hint=_RESTORE) from None
        return store

    @again
    def begin(self, aid: Aid) -> None:
        """Write whose store this is: that of a new witness."""
        connection = self.database.writing()
        query = "INSERT INTO witness VALUES (1, ?, ?, 0, 0)"
        connection.execute(query, (aid, secrets.token_hex(16)))

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def transaction(self) -> AbstractContextManager[TableConnection]:
        """Keep all that is done inside, durably, or nothing."""
        return self.database.transaction()

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a transaction; it may be done again when others were in the way."""
        return self.database.run(work)

    def snapshot(self) -> AbstractContextManager[TableConnection]:
        """Read: all that is read inside is of one moment."""
        return self.database.snapshot()

    def give_back(self) -> bool:
        """Give a part of the room that was freed back to the system; tell whether there is more."""
        return self.database.give_back()

    def about(self) -> WitnessRow:
        """Return which witness this is.

        Raises:
            StoreError: nobody has made it (store.missing).
        """
        for row in self.database.rows("SELECT aid, store, generation, quarantined FROM witness"):
            return _to_about(row)
        raise StoreError(
            ErrorCode.STORE_MISSING,
            "the database belongs to no witness",
            hint="make a witness with: keystead witness init; a lost one is restored, not made anew",
        )

    def count(self) -> WitnessRow:
        """Count one more commit, inside the transaction that makes it; return which it will be."""
        query = (
            "UPDATE witness SET generation = generation + 1"
            " RETURNING aid, store, generation, quarantined"
        )
        return _to_about(self.database.writing().execute(query).fetchone())

    @again
    def rename(self) -> str:
        """Give the store a new name, so that older copies have another; return it."""
        connection = self.database.writing()
        query = "UPDATE witness SET store = ? RETURNING store"
        (name,) = connection.execute(query, (secrets.token_hex(16),)).fetchone()
        return str(name)

    def put_witnessed(self, accepted: AcceptedEvent, *, supersedes: bool) -> None:
        """Write that a receipt is due for an event, in the transaction that accepted it.

        Raises:
            StoreError: another event has its place (store.corrupt).
        """
        event, number = accepted.event, accepted.first_seen_number
        rank = rank_of(event.message_type)
        connection = self.database.writing()
        if supersedes:
            self.supersede(event.aid, event.sn)
        connection.execute(
            "INSERT INTO witnessed VALUES (?, ?, ?, ?, ?, 1)",
            (event.aid, number, event.sn, event.said, rank),
        )
        if rank:
            self._put_neighbours(event.aid, accepted.state.establishment.witnesses)

    def _put_neighbours(self, log: Aid, witnesses: Sequence[Aid]) -> None:
        """Write who are the witnesses of a log now, and forget where those are who no longer are.

        An owner may exchange witnesses as often as it likes, and each takes room for its location.
        """
        connection = self.database.writing()
        rows = self.database.rows("SELECT aid FROM neighbour WHERE log = ?", log)
        before = {aid for (aid,) in rows}
        for one in set(witnesses) - before:
            connection.execute("INSERT INTO neighbour VALUES (?, ?)", (one, log))
        for one in before.difference(witnesses, (self.about().aid,)) if before else ():
            connection.execute("DELETE FROM neighbour WHERE aid = ? AND log = ?", (one, log))
            if not self.is_neighbour(one) and self.admitted(one) is None:
                for scheme in SCHEMES:
                    self.events.forget(Location(one, scheme, ""))

    def supersede(self, aid: Aid, sn: int) -> None:
        """Write that events from a place on have lost it, in the transaction that accepted another.

        Raises:
            StoreError: nothing may supersede one of them (store.corrupt).
        """
        query = "UPDATE witnessed SET stands = 0 WHERE aid = ? AND sn >= ? AND stands = 1"
        self.database.writing().execute(query, (aid, sn))

    def keep_receipt(self, accepted: AcceptedEvent, receipt: Proofs) -> None:
        """Keep the receipt of this witness with its event, inside a transaction; once."""
        self.events.attach(accepted, receipt)

    def witnessed(self, aid: Aid, said: Said) -> Promise:
        """Tell whether a receipt was due for an event."""
        query = "SELECT stands FROM witnessed WHERE aid = ? AND said = ?"
        for (stands,) in self.database.rows(query, aid, said):
            return Promise.STANDS if stands else Promise.SUPERSEDED
        return Promise.NONE

    def promised(self, aid: Aid) -> Iterator[AcceptedEvent]:
        """Give the trunk of a log from the first event on for which a receipt was due."""
        query = "SELECT min(sn) FROM witnessed WHERE aid = ? AND stands = 1"
        ((first,),) = self.database.rows(query, aid)
        return iter(()) if first is None else self.events.events(aid, first_sn=first)

    def is_neighbour(self, aid: Aid) -> bool:
        """Tell whether somebody is a witness of a log that is witnessed here."""
        return bool(self.database.rows("SELECT 1 FROM neighbour WHERE aid = ?", aid))

    def all_witnessed(self) -> Iterator[Aid]:
        """Give the identifiers for whose events a receipt was due."""
        query = "SELECT DISTINCT aid FROM witnessed ORDER BY aid"
        return (Aid(aid) for (aid,) in self.database.rows(query))

    def admitted(self, aid: Aid) -> Admitted | None:
        """Return what was decided about an identifier."""
        remembered = self.database.remembered
        known: Admitted | None = remembered.get(("admitted", aid))
        if known is None:
            query = "SELECT aid, allowed, origin, since FROM admission WHERE aid = ?"
            for row in self.database.rows(query, aid):
                known = _to_admitted(row)
                remembered.put(("admitted", aid), known)
        return known

    @again
    def admit(self, one: Admitted) -> None:
        """Write whom to take events from."""
        connection = self.database.writing()
        remembered = self.database.remembered
        count = remembered.get(("count", one.origin))
        is_new = count is not None and self.admitted(one.aid) is None
        remembered.put(("admitted", one.aid), None)
        for origin in (one.origin,) if is_new else Origin:
            remembered.put(("count", origin), count + 1 if is_new else None)
        connection.execute(
            "INSERT INTO admission VALUES (?, ?, ?, ?) ON CONFLICT (aid) DO UPDATE SET"
            " allowed = excluded.allowed, origin = excluded.origin, since = excluded.since",
            (one.aid, int(one.allowed), one.origin.value, one.since),
        )

    def all_admitted(self) -> Iterator[Admitted]:
        """Give everything that was decided about identifiers."""
        query = "SELECT aid, allowed, origin, since FROM admission ORDER BY since, aid"
        return map(_to_admitted, self.database.rows(query))

    def count_admitted(self, origin: Origin) -> int:
        """Return how many were let in a way."""
        remembered = self.database.remembered
        known: int | None = remembered.get(("count", origin))
        if known is None:
            query = "SELECT count(*) FROM admission WHERE origin = ?"
            known = int(self.database.rows(query, origin.value)[0][0])
            remembered.put(("count", origin), known)
        return known

    @again
    def invite(self, digest: bytes, uses: int, expires: int | None) -> None:
        """Keep an invitation; times in microseconds since 1970."""
        connection = self.database.writing()
        query = "INSERT INTO invitation VALUES (?, ?, ?)"
        connection.execute(query, (digest, uses, expires))

    @again
    def use_invitation(self, digest: bytes, now: int) -> bool:
        """Take one use of an invitation; tell whether there was one."""
        connection = self.database.writing()
        found = connection.execute(
            "UPDATE invitation SET remaining = remaining - 1 WHERE digest = ?"
            " AND remaining > 0 AND (expires IS NULL OR expires > ?)",
            (digest, now),
        )
        return found.rowcount == 1

    @again
    def quarantine(self, unconfirmed: Sequence[tuple[Aid, Said | None]]) -> None:
        """Write that nothing new is signed before these logs were seen again."""
        connection = self.database.writing()
        for aid, said in unconfirmed:
            connection.execute(
                "INSERT INTO unconfirmed VALUES (?, ?) ON CONFLICT (aid)"
                " DO UPDATE SET said = excluded.said",
                (aid, said or ""),
            )
        connection.execute("UPDATE witness SET quarantined = 1")

    def unconfirmed(self) -> Iterator[tuple[Aid, Said | None]]:
        """Give the logs that have to be seen again."""
        query = "SELECT aid, said FROM unconfirmed ORDER BY aid"
        return ((Aid(aid), Said(said) if said else None) for aid, said in self.database.rows(query))

    @again
    def confirm(self, aid: Aid) -> None:
        """Write that a log was seen again; with the last one the quarantine ends."""
        connection = self.database.writing()
        connection.execute("DELETE FROM unconfirmed WHERE aid = ?", (aid,))
        connection.execute(
            "UPDATE witness SET quarantined = 0 WHERE NOT EXISTS (SELECT 1 FROM unconfirmed)"
        )

    @again
    def put_mail(self, recipient: Aid, topic: str, message: bytes, now: int) -> None:
        """Keep a message for somebody; the oldest make room."""
        connection = self.database.writing()
        connection.execute(
            "INSERT INTO mail (recipient, topic, place, message, since)"
            " SELECT ?, ?, coalesce(max(place) + 1, 0), ?, ? FROM mail"
            " WHERE recipient = ? AND topic = ?",
            (recipient, topic, message, now, recipient, topic),
        )
        connection.execute(
            "DELETE FROM mail WHERE recipient = ? AND topic = ? AND place <="
            " (SELECT max(place) FROM mail WHERE recipient = ? AND topic = ?) - ?",
            (recipient, topic, recipient, topic, _MAIL_OF_TOPIC),
        )
        query = "SELECT coalesce(sum(length(message)), 0) FROM mail"
        (size,) = connection.execute(query).fetchone()
        while size > _MAIL_BYTES:
            query = "DELETE FROM mail WHERE number = (SELECT min(number) FROM mail)"
            (gone,) = connection.execute(f"{query} RETURNING length(message)").fetchone()
            size -= gone

    def mail(self, recipient: Aid, topic: str, first: int) -> list[Mail]:
        """Return the messages for somebody from a place on."""
        query = (
            "SELECT topic, place, message FROM mail WHERE recipient = ? AND topic = ?"
            " AND place >= ? ORDER BY place"
        )
        return [Mail(*row) for row in self.database.rows(query, recipient, topic, first)]

    @again
    def expire_mail(self, before: int) -> None:
        """Drop messages that are older."""
        connection = self.database.writing()
        connection.execute("DELETE FROM mail WHERE since < ?", (before,))


def rank_of(message_type: str) -> int:
    """Return the rank with which an event is witnessed: 0, 1 or 2."""
    return _RANKS.get(message_type, _FINAL)


def _to_about(row: Any) -> WitnessRow:  # noqa: ANN401 - a row of the database
    aid, name, generation, quarantined = row
    return WitnessRow(Aid(aid), name, generation, bool(quarantined))


def _to_admitted(row: Any) -> Admitted:  # noqa: ANN401 - a row of the database
    aid, allowed, origin, since = row
    return Admitted(Aid(aid), bool(allowed), Origin(origin), since)
