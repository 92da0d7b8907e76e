"""The tables of logs: what was accepted, in which order, and what follows from it."""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from keystead.cesr.groups import SourceCouple
from keystead.cesr.keys import Aid, Digest, Said
from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.seals import EventSeal
from keystead.ports import Append, Extend
from keystead.stores import rows
from keystead.stores.rows import Row
from keystead.stores.tables import TableConnection, TableDatabase

# The largest number of databases. No log is longer, so nothing stands at larger places.
_LARGEST = (1 << 63) - 1
_PAGE = 256  # events that are read at once

_PLACE: Final = (
    "p.aid, p.first_seen_number, p.said, p.sn, p.prior_said, p.message_type, p.established,"
    " p.checksum, s.first_seen_number, s.state, s.checksum"
)
_KEYS: Final = "JOIN establishment s ON s.aid = p.aid AND s.first_seen_number = p.established"
_STATE: Final = (
    f"SELECT {_PLACE} FROM place p {_KEYS}"  # noqa: S608 - names of columns
    " WHERE p.aid = ? AND p.trunk ORDER BY p.sn DESC LIMIT 1"
)
EVENT_COLUMNS: Final = (
    "e.number, e.aid, e.first_seen_number, e.raw, e.proofs, e.first_seen_at, e.source_sn,"
    " e.source_said, e.checksum"
)
_EVENT: Final = (
    f"SELECT {EVENT_COLUMNS}, p.receipts, {_PLACE} FROM place p {_KEYS}"  # noqa: S608 - as above
    " JOIN event e ON e.aid = p.aid AND e.first_seen_number = p.first_seen_number"
    " WHERE p.aid = ?"
)
_SEALING: Final = (
    "SELECT p.first_seen_number FROM seal f"
    " JOIN place p ON p.aid = f.aid AND p.first_seen_number = f.first_seen_number"
    " WHERE f.aid = ? AND sealed_aid = ? AND sealed_sn = ? AND sealed_said = ? AND p.trunk"
    " ORDER BY f.first_seen_number LIMIT 1"
)
_HEAD: Final = (
    "SELECT p.sn, p.established, CASE WHEN s.aid IS NOT NULL THEN e.said END FROM place p"
    " LEFT JOIN establishment s ON s.aid = p.aid AND s.first_seen_number = p.established"
    " LEFT JOIN place e ON e.aid = p.aid AND e.first_seen_number = p.established"
    " WHERE p.aid = ? AND p.trunk ORDER BY p.sn DESC LIMIT 1"
)


class LogTables:
    """Logs in a database; the methods are those of `EventStore`."""

    def __init__(self, database: TableDatabase) -> None:
        """Use an open database."""
        self._database = database

    def key_state(self, aid: Aid) -> KeyState | None:
        """Return the state at the end of the trunk."""
        remembered = self._database.remembered
        known: KeyState | None = remembered.get(("state", aid))
        if known is not None:
            return known
        found = self._database.rows(_STATE, aid)
        if not found:
            return None
        state = to_key_state(found[0])
        remembered.put(("state", aid), state)
        return state

    def event(self, aid: Aid, sn: int) -> AcceptedEvent | None:
        """Return the event of the trunk at `sn`."""
        if not 0 <= sn <= _LARGEST:
            return None
        return self._one(f"{_EVENT} AND p.trunk AND p.sn = ?", aid, sn)

    def accepted(self, aid: Aid, said: Said) -> AcceptedEvent | None:
        """Return an accepted event by its digest."""
        return self._one(f"{_EVENT} AND p.said = ?", aid, said)

    def sealing_event(self, aid: Aid, seal: EventSeal) -> AcceptedEvent | None:
        """Return the first event on the trunk that anchors a seal."""
        with self._database.snapshot():
            found = self._database.rows(_SEALING, aid, *_seal_columns(seal))
            if not found:
                return None
            return self._one(f"{_EVENT} AND p.first_seen_number = ?", aid, *found[0])

    def events(self, aid: Aid, first_sn: int) -> Iterator[AcceptedEvent]:
        """Give the trunk from `first_sn` on, as it is when the first is asked for."""
        query = "SELECT first_seen_number FROM place WHERE aid = ? AND trunk AND sn >= ?"
        numbers = self._database.rows(f"{query} ORDER BY sn", aid, min(first_sn, _LARGEST))
        for at in range(0, len(numbers), _PAGE):
            # What was accepted stays, on the trunk or not.
            page = [number for (number,) in numbers[at : at + _PAGE]]
            marks = ", ".join("?" * len(page))
            where = f"p.first_seen_number IN ({marks}) ORDER BY p.first_seen_number"
            yield from self._accepted(f"{_EVENT} AND {where}", aid, *page)

    def first_seen(self, aid: Aid, first: int) -> Iterator[AcceptedEvent]:
        """Give all accepted events in first-seen order, from number `first` on."""
        where = "p.first_seen_number >= ? ORDER BY p.first_seen_number LIMIT ?"
        while True:
            page = self._accepted(f"{_EVENT} AND {where}", aid, min(first, _LARGEST), _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            first = page[-1].first_seen_number + 1

    def identifiers(self) -> Iterator[Aid]:
        """Give the identifiers in the order of their inceptions."""
        query = "SELECT aid FROM event WHERE first_seen_number = 0 ORDER BY number"
        for (aid,) in self._database.rows(query):
            yield Aid(aid)

    def append(self, new: Append) -> AcceptedEvent:
        """Add an event.

        Raises:
            ValueError: it does not follow the trunk.
        """
        event, source = new.event, new.source
        connection, remembered = self._database.writing(), self._database.remembered
        end: _End | None = remembered.get(("end", event.aid))
        number = self._count(event.aid) if end is None else end.number + 1
        last: int | None = remembered.get("last event")
        row = (
            self._database.next_number("event", "number") if last is None else last + 1,
            event.aid,
            number,
            event.raw,
            rows.to_proofs(new.proofs),
            new.first_seen_at,
            None if source is None else source.sn,
            None if source is None else source.said,
        )
        connection.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, rows.checksum(*row))
        )
        end = None if new.supersedes else end
        established = place(
            connection, event, new.state, number, supersedes=new.supersedes, end=end
        )
        said = new.state.establishment.said
        remembered.put(("end", event.aid), _End(number, event.sn, established, said))
        remembered.put(("state", event.aid), new.state)
        remembered.put("last event", row[0])
        return AcceptedEvent(event, new.state, new.proofs, number, new.first_seen_at, source)

    def extend(self, more: Extend) -> None:
        """Add what is new of the signatures over an accepted event."""
        old = self.accepted(more.aid, more.said)
        if old is None:
            raise KeyError(more.said)
        fresh = _beyond(old.proofs, more.proofs)
        if fresh:
            self.attach(more.aid, old.first_seen_number, fresh)

    def attach(self, aid: Aid, first_seen_number: int, fresh: Proofs) -> None:
        """Add signatures that are known to be new to an accepted event."""
        connection = self._database.writing()
        key = (aid, first_seen_number)
        (count,) = connection.execute(
            "UPDATE place SET receipts = receipts + 1 WHERE aid = ? AND first_seen_number = ?"
            " RETURNING receipts",
            key,
        ).fetchone()
        row = (*key, count - 1, rows.to_proofs(fresh))
        connection.execute(
            "INSERT INTO receipt VALUES (?, ?, ?, ?, ?)", (*row, rows.checksum(*row))
        )

    def duplicity(self, aid: Aid) -> tuple[DuplicityEvidence, ...]:
        """Return the evidence of duplicity."""
        query = "SELECT * FROM duplicity WHERE aid = ? ORDER BY number"
        with self._database.snapshot():
            return tuple([self._evidence(row) for row in self._database.rows(query, aid)])

    def keep(self, evidence: DuplicityEvidence, most: int, displaces: Said | None = None) -> None:
        """Keep evidence that is new, up to `most` for one identifier.

        Args:
            evidence: what to keep.
            most: how much there may be.
            displaces: the other version of kept evidence that it takes the place of.
        """
        aid, other, accepted = evidence.aid, evidence.other, evidence.accepted
        connection = self._database.writing()
        query = "SELECT said FROM duplicity WHERE aid = ? ORDER BY number"
        known = [said for (said,) in connection.execute(query, (aid,))]
        number = len(known)
        if displaces in known:
            number = known.index(displaces)
            connection.execute("DELETE FROM duplicity WHERE aid = ? AND number = ?", (aid, number))
        elif other.said in known or number >= most:
            return
        row = (
            aid,
            number,
            other.said,
            other.raw,
            rows.to_proofs(evidence.proofs),
            accepted.first_seen_number,
            rows.to_proofs(accepted.proofs),
            rows.to_json(evidence.seen),
        )
        connection.execute(
            "INSERT INTO duplicity VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, rows.checksum(*row)),
        )
        if number == len(known):
            connection.execute("UPDATE log SET duplicities = duplicities + 1 WHERE aid = ?", (aid,))

    def _evidence(self, row: Row) -> DuplicityEvidence:
        aid, _, _, raw, proofs, number, accepted_proofs, seen, stored = row
        accepted = self._one(f"{_EVENT} AND p.first_seen_number = ?", aid, number)
        with rows.reading(f"the evidence of duplicity of {aid}"):
            rows.check_row(stored, *row[:-1])
            if accepted is None:
                raise LookupError("the accepted event is missing")
            then = rows.from_proofs(accepted_proofs, Proofs)
            return DuplicityEvidence(
                msgspec.structs.replace(accepted, proofs=then),
                rows.to_event(raw),
                rows.from_proofs(proofs, Proofs),
                tuple([(Aid(log), last) for log, last in json.loads(seen)]),
            )

    def _count(self, aid: Aid) -> int:
        """Return how many events of a log were accepted."""
        found = self._database.rows("SELECT events FROM log WHERE aid = ?", aid)
        return int(found[0][0]) if found else 0

    def _one(self, query: str, *values: object) -> AcceptedEvent | None:
        found = self._accepted(query, *values)
        return found[0] if found else None

    def _accepted(self, query: str, *values: object) -> list[AcceptedEvent]:
        with self._database.snapshot():
            return [self._with_receipts(row) for row in self._database.rows(query, *values)]

    def _with_receipts(self, row: Row) -> AcceptedEvent:
        accepted = to_accepted(row)
        count = row[9]
        if not count:
            return accepted
        proofs = accepted.proofs
        query = "SELECT * FROM receipt WHERE aid = ? AND first_seen_number = ? ORDER BY number"
        found = self._database.rows(query, accepted.event.aid, accepted.first_seen_number)
        with rows.reading(f"the receipts of event {accepted.event.sn} of {accepted.event.aid}"):
            if len(found) != count:
                raise ValueError("some are missing")
            for receipt in found:
                rows.check_row(receipt[-1], *receipt[:-1])
                proofs = proofs.merged(rows.from_proofs(receipt[3], Proofs))
        return msgspec.structs.replace(accepted, proofs=proofs)


class _End(msgspec.Struct, frozen=True, gc=False):
    """The end of a trunk.

    Attributes:
        number: first-seen number of the event.
        sn: its place.
        established: first-seen number of the event that set the keys.
        said: of the latter.
    """

    number: int
    sn: int
    established: int
    said: str


def place(
    connection: TableConnection,
    event: AnyKeyEvent,
    state: KeyState,
    number: int,
    *,
    supersedes: bool,
    end: _End | None = None,
) -> int:
    """Write what follows from an event that is accepted.

    Args:
        connection: where.
        event: the event.
        state: after it.
        number: its first-seen number.
        supersedes: it may replace others.
        end: of the trunk, if that is known.

    Returns:
        The first-seen number of the event that set the keys.

    Raises:
        ValueError: it does not follow the trunk.
        StoreError: the trunk is damaged (store.corrupt).
    """
    aid = event.aid
    if supersedes and event.sn <= _LARGEST:
        cut = "UPDATE place SET trunk = FALSE WHERE aid = ? AND trunk AND sn >= ?"
        connection.execute(cut, (aid, event.sn))
    head = connection.execute(_HEAD, (aid,)).fetchone() if end is None else _head(end)
    if head is not None and head[2] is None:
        what = f"the event that set the keys of {aid} has lost its place"
        raise StoreError(ErrorCode.STORE_CORRUPT, what)
    next_sn = 0 if head is None else head[0] + 1
    if event.sn != next_sn:
        raise ValueError(f"event {event.sn} does not follow a trunk of {next_sn}")
    same = head is not None and head[2] == state.establishment.said
    established = head[1] if same else number
    row = (aid, number, event.said, event.sn, event.prior_said, event.message_type, established)
    connection.execute(
        "INSERT INTO place VALUES (?, ?, ?, ?, ?, ?, ?, TRUE, 0, ?)", (*row, rows.checksum(*row))
    )
    if not same:
        keys = (aid, number, rows.to_state(state.establishment))
        connection.execute(
            "INSERT INTO establishment VALUES (?, ?, ?, ?)", (*keys, rows.checksum(*keys))
        )
    seals = dict.fromkeys(one for one in event.anchors if isinstance(one, EventSeal))
    if seals:
        connection.executemany(
            "INSERT INTO seal VALUES (?, ?, ?, ?, ?)",
            [(aid, *_seal_columns(seal), number) for seal in seals],
        )
    connection.execute(
        "INSERT INTO log VALUES (?, 1, 0) ON CONFLICT (aid) DO UPDATE SET events = log.events + 1",
        (aid,),
    )
    return int(established)


def _head(end: _End) -> tuple[int, int, str]:
    return end.sn, end.established, end.said


def to_key_state(row: Row) -> KeyState:
    """Make a key state of the columns of a place and of the establishment in force there.

    Raises:
        StoreError: one of them was changed (store.corrupt).
    """
    aid, _, said, sn, prior_said, message_type, _, stored, *keys = row
    number, state, stored_keys = keys
    with rows.reading(f"the key state of {aid}"):
        rows.check_row(stored, *row[:7])
        rows.check_row(stored_keys, aid, number, state)
        return KeyState(aid, sn, said, prior_said, message_type, rows.from_state(state))


def to_accepted(row: Row) -> AcceptedEvent:
    """Make an accepted event of its columns, those of its place and of its keys.

    Raises:
        StoreError: one of them was changed (store.corrupt).
    """
    _, aid, number, raw, proofs, seen_at, source_sn, source_said, stored = row[:9]
    state = to_key_state(row[10:])
    with rows.reading(f"event {state.sn} of {aid}"):
        rows.check_row(stored, *row[:8])
        event = rows.to_event(raw)
        if (event.aid, event.sn, event.said) != (state.aid, state.sn, state.said):
            raise ValueError("it is another event")
        source = None if source_said is None else SourceCouple(source_sn, Said(Digest(source_said)))
        return AcceptedEvent(
            event, state, rows.from_proofs(proofs, Proofs), number, seen_at, source
        )


def _seal_columns(seal: EventSeal) -> tuple[str, str, str]:
    return seal.aid, f"{seal.sn:x}", seal.said


def _beyond(old: Proofs, more: Proofs) -> Proofs:
    """Return the signatures of `more` that `old` has not."""
    known: dict[Any, tuple[Any, ...]] = {
        (group.aid, group.sn, group.said): group.signatures for group in old.endorsements
    }
    endorsements = []
    for group in more.endorsements:
        had = known.get((group.aid, group.sn, group.said), ())
        fresh = tuple([one for one in group.signatures if one not in had])
        if fresh:
            endorsements.append(msgspec.structs.replace(group, signatures=fresh))
    return Proofs(
        tuple([one for one in more.signatures if one not in old.signatures]),
        tuple([one for one in more.witness_signatures if one not in old.witness_signatures]),
        tuple([one for one in more.couples if one not in old.couples]),
        tuple(endorsements),
    )
