"""Logs again from the evidence: bytes and signatures are checked, and what follows is written."""

from collections.abc import Iterator
from typing import NoReturn

import msgspec

from keystead.cesr.groups import SourceCouple
from keystead.cesr.keys import Aid, Digest, Said
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.events import AnyKeyEvent, Rotation
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.routed import Record
from keystead.keri.validation import judge, recognize
from keystead.keri.verdicts import Accepted, Pending, Rejected, Role, Source
from keystead.stores import rows
from keystead.stores.logs import EVENT_COLUMNS, place
from keystead.stores.rows import HELD_COLUMNS, NO_LIMITS
from keystead.stores.table_store import ALL, COUNT
from keystead.stores.tables import TableConnection, TableDatabase

DERIVED = ("seal", "establishment", "place", "log", "statement_count", "held_missing", "held_share")
_EVENTS = f"SELECT {EVENT_COLUMNS} FROM event e WHERE aid = ? ORDER BY first_seen_number"  # noqa: S608 - names of columns
_RECEIPTS = "SELECT * FROM receipt WHERE aid = ? AND first_seen_number = ? ORDER BY number"
_HELD = f"SELECT arrived, log, message, {HELD_COLUMNS} FROM held ORDER BY arrived"  # noqa: S608 - as above


def rebuild(database: TableDatabase) -> None:
    """Drop everything that is derived, and make it anew of the evidence.

    Raises:
        StoreError: the evidence itself is damaged (store.corrupt); nothing was changed.
    """
    database.run(lambda: _rebuild(database))


def _rebuild(database: TableDatabase) -> None:
    connection = database.writing()
    database.remembered.forget()
    for table in DERIVED:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - one of the names above
    for (aid,) in database.rows("SELECT aid FROM event WHERE first_seen_number = 0"):
        for accepted in replay(database, aid):
            derive(database, accepted, connection)
        derive_duplicities(database, aid, connection)
    for record in statements(database):
        count(record, connection)
    derive_waiting(database, connection)


def replay(database: TableDatabase, aid: Aid) -> Iterator[AcceptedEvent]:
    """Give the events of a log as the evidence alone tells them, in first-seen order.

    Digests, order, and the signatures of controller and witnesses are checked, and that the
    former meet the thresholds.

    Raises:
        StoreError: something is damaged (store.corrupt).
    """
    trunk: list[KeyState] = []
    for number, row in enumerate(database.rows(_EVENTS, aid)):
        where = f"event {number} in the log of {aid}"
        with rows.reading(where):
            if row[2] != number:
                _fail("the one before is missing")
            rows.check_row(row[-1], *row[:-1])
            event = rows.to_event(row[3])
            proofs = rows.from_proofs(row[4], Proofs)
            if event.aid != aid or not 0 <= event.sn <= len(trunk):
                _fail("an event of another place")
            if event.sn < len(trunk) and not isinstance(event, Rotation):
                _fail("an event that may not supersede")
            del trunk[event.sn :]
            state = judged(event, proofs, trunk[-1] if trunk else None)
            trunk.append(state)
            _, _, _, _, _, seen_at, source_sn, source_said, _ = row
            source = None
            if source_said is not None:
                source = SourceCouple(source_sn, Said(Digest(source_said)))
            accepted = AcceptedEvent(event, state, proofs, number, seen_at, source)
        yield _receipted(database, accepted)


def judged(event: AnyKeyEvent, proofs: Proofs, prior: KeyState | None) -> KeyState:
    """Return the state after an event whose stored signatures are all good, and suffice.

    Receipts and approvals are another matter: who controls or witnesses a log does not wait
    for them.

    Raises:
        ValueError: they are not.
        KeysteadError: the event does not fit.
    """
    claims = Claims(proofs.signatures, proofs.witness_signatures, proofs.couples)
    verdict = judge(
        SignedEvent(event, claims),
        prior=prior,
        incumbent=None,
        source=Source.LOCAL,
        role=Role.CONTROLLER,
        delegation=None,
        limits=NO_LIMITS,
    )
    match verdict:
        case Accepted(state, verified):
            _check_same(proofs, verified)
            return state
        case Rejected(error):
            raise error
        case Pending(missing):
            wants = sorted(one.want.value for one in missing)
            raise ValueError(f"it lacks {', '.join(wants)}")
        case _:
            raise ValueError("it cannot be judged")


def derive(database: TableDatabase, accepted: AcceptedEvent, into: TableConnection) -> None:
    """Write what follows from an accepted event and the receipts for it."""
    event, number = accepted.event, accepted.first_seen_number
    place(into, event, accepted.state, number, supersedes=True)
    query = "SELECT count(*) FROM receipt WHERE aid = ? AND first_seen_number = ?"
    ((receipts,),) = database.rows(query, event.aid, number)
    if receipts:
        into.execute(
            "UPDATE place SET receipts = ? WHERE aid = ? AND first_seen_number = ?",
            (receipts, event.aid, number),
        )


def derive_duplicities(database: TableDatabase, aid: Aid, into: TableConnection) -> None:
    """Write how much evidence of duplicity there is of an identifier."""
    ((number,),) = database.rows("SELECT count(*) FROM duplicity WHERE aid = ?", aid)
    if number:
        into.execute("UPDATE log SET duplicities = ? WHERE aid = ?", (number, aid))


def statements(database: TableDatabase) -> Iterator[Record]:
    """Give all statements.

    Raises:
        StoreError: as `replay`.
    """
    query = "SELECT aid, key, signer_sn, raw, proofs, checksum FROM statement"
    for row in database.rows(query):
        with rows.reading(f"a statement about {row[0]}"):
            rows.check_row(row[-1], *row[:-1])
            record = rows.to_record(row[3], row[4], row[2])
            if rows.to_json(record.key) != row[1]:
                _fail("kept in the place of another")
        yield record


def count(record: Record, into: TableConnection) -> None:
    """Count a statement."""
    for name in (record.statement.authority, ALL):
        into.execute(COUNT, (name, 1, record.size))


def derive_waiting(database: TableDatabase, into: TableConnection) -> None:
    """Write what is waited for, and how much room everything takes.

    Raises:
        StoreError: as `replay`.
    """
    for arrived, log, message, *row in database.rows(_HELD):
        with rows.reading(f"what waits for the log of {log}"):
            held = rows.to_held(tuple(row))
            if (log, message) != rows.share_of(held.waiting):
                _fail("kept under another log")
        into.executemany(
            "INSERT INTO held_missing VALUES (?, ?, ?)",
            {(one.aid, rows.to_json(one.key), arrived) for one in held.missing},
        )
        into.executemany(
            "INSERT INTO held_share (log, message, entries, size) VALUES (?, ?, 1, ?)"
            " ON CONFLICT (log, message) DO UPDATE"
            " SET entries = held_share.entries + 1,"
            " size = held_share.size + excluded.size",
            [(log, message, held.size), (ALL, 0, held.size)],
        )


def _receipted(database: TableDatabase, accepted: AcceptedEvent) -> AcceptedEvent:
    """Add the signatures that came later."""
    event, proofs = accepted.event, accepted.proofs
    found = database.rows(_RECEIPTS, event.aid, accepted.first_seen_number)
    for number, row in enumerate(found):
        with rows.reading(f"receipt {number} for event {event.sn} of {event.aid}"):
            if row[2] != number:
                _fail("the one before is missing")
            rows.check_row(row[-1], *row[:-1])
            later = rows.from_proofs(row[3], Proofs)
            check_receipt(event, accepted, later)
            proofs = proofs.merged(later)
    return msgspec.structs.replace(accepted, proofs=proofs)


def check_receipt(event: AnyKeyEvent, accepted: AcceptedEvent, later: Proofs) -> None:
    """Check signatures by controller, witnesses and others without logs.

    Raises:
        ValueError: one does not verify.
    """
    claims = Claims(later.signatures, later.witness_signatures, later.couples)
    bare = msgspec.structs.replace(accepted, proofs=Proofs())
    _check_same(later, recognize(SignedEvent(event, claims), bare).additions)


def _check_same(stored: Proofs, verified: Proofs) -> None:
    for label in ("signatures", "witness_signatures", "couples"):
        if set(getattr(stored, label)) != set(getattr(verified, label)):
            raise ValueError(f"one of the {label.replace('_', ' ')} does not verify")


def _fail(what: str) -> NoReturn:
    raise ValueError(what)
