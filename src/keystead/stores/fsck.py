"""Whether a database is what its own evidence says, down to bytes and signatures."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, StoreError
from keystead.keri.delegation import seal_of
from keystead.keri.events import EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.receipts import check_signatures
from keystead.keri.routed import Record
from keystead.keri.verification import verified_couples
from keystead.stores import replaying, rows, schema
from keystead.stores.logs import LogTables
from keystead.stores.tables import TableDatabase
from keystead.stores.witness import rank_of

# Derived tables whose rows belong to one log, and the columns in which they must agree.
_OF_A_LOG = ("log", "place", "establishment", "seal")
_OF_ALL = {
    "statement_count": "*",
    "held_missing": "*",
    "held_share": "log, message, entries, size",
}
_LOGS = " UNION ".join(
    f"SELECT aid FROM {table}"  # noqa: S608 - one of the names here
    for table in ("event", "receipt", "duplicity", *_OF_A_LOG)
)


class Finding(msgspec.Struct, frozen=True, gc=False):
    """Something that is not as it must be.

    Attributes:
        where: what is concerned.
        what: what is wrong with it.
    """

    where: str
    what: str


def check(database: TableDatabase, *, own: Collection[Aid] = ()) -> list[Finding]:
    """Check a database whole, and change nothing.

    Args:
        database: the database.
        own: identifiers that are controlled or witnessed as here. Their events are accepted
            before the receipts of witnesses and the approval of delegators.
    """
    with database.snapshot(), closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        schema.apply(scratch, schema.shipped())
        return list(_Check(database, scratch, frozenset(own)).findings())


def check_witnessed(database: TableDatabase) -> list[Finding]:
    """Check what a witness has promised against the logs, and change nothing."""
    with database.snapshot():
        return list(_guarded(_witnessed(database), "table witnessed"))


def _witnessed(database: TableDatabase) -> Iterator[Finding]:
    logs = LogTables(database)
    query = "SELECT aid, first_seen_number, sn, said, rank, stands FROM witnessed"
    for aid, number, sn, said, rank, stands in database.rows(query):
        where = f"the promise for event {sn} of {aid}"
        accepted = logs.accepted(aid, said)
        if accepted is None:
            yield Finding(where, "the event is missing")
            continue
        if (accepted.first_seen_number, accepted.event.sn) != (number, sn):
            yield Finding(where, "the event has another place")
        if rank != rank_of(accepted.event.message_type):
            yield Finding(where, "the event has another rank")
        trunk = logs.event(aid, sn)
        if bool(stands) is not (trunk is not None and trunk.event.said == said):
            yield Finding(where, "it does not tell whether the event has its place still")


class _Check:
    """One check of one database; what should follow from its evidence is made in another."""

    def __init__(
        self, database: TableDatabase, scratch: sqlite3.Connection, own: frozenset[Aid]
    ) -> None:
        self._database = database
        self._scratch = scratch
        self._own = own
        self._logs = LogTables(database)

    def findings(self) -> Iterator[Finding]:
        """Give all findings."""
        for part in (self._itself, self._all_logs, self._statements, self._waiting):
            yield from _guarded(part(), "the database")

    def _itself(self) -> Iterator[Finding]:
        for where, what in self._database.damage():
            yield Finding(where, what)

    def _all_logs(self) -> Iterator[Finding]:
        for (aid,) in self._database.rows(_LOGS):
            yield from _guarded(self._log(aid), f"the log of {aid}")
            for table in _OF_A_LOG:
                self._scratch.execute(f"DELETE FROM {table}")  # noqa: S608 - one of the names above

    def _log(self, aid: Aid) -> Iterator[Finding]:
        for accepted in replaying.replay(self._database, aid):
            replaying.derive(self._database, accepted, self._scratch)
            where = f"event {accepted.event.sn} of {aid}"
            yield from _guarded(self._endorsements(accepted, where), where)
            yield from self._consent(accepted, where)
        replaying.derive_duplicities(self._database, aid, self._scratch)
        for table in _OF_A_LOG:
            query = f"SELECT * FROM {table} WHERE aid = ?"  # noqa: S608 - one of the names above
            if set(self._database.rows(query, aid)) != set(self._scratch.execute(query, (aid,))):
                yield Finding(f"the log of {aid}", f"table {table} does not follow from its events")
        yield from self._duplicities(aid)

    def _endorsements(self, accepted: AcceptedEvent, where: str) -> Iterator[Finding]:
        """Check the signatures of others who have logs."""
        for group in accepted.proofs.endorsements:
            signer = self._logs.accepted(group.aid, group.said)
            if signer is None or not isinstance(signer.event, EstablishmentEvent):
                yield Finding(where, f"the keys of {group.aid}, who endorsed it, are missing")
                continue
            with rows.reading(where):
                keys = signer.state.establishment
                good = check_signatures(accepted.event.raw, keys, group.signatures)
                if set(good.signatures) != set(group.signatures):
                    yield Finding(where, f"a signature of {group.aid} does not verify")

    def _consent(self, accepted: AcceptedEvent, where: str) -> Iterator[Finding]:
        """Check receipts and approval, where the event had to wait for them."""
        event, keys = accepted.event, accepted.state.establishment
        waited = not self._own & {event.aid, *keys.witnesses}
        receipts = len({one.index for one in accepted.proofs.witness_signatures})
        if waited and receipts < keys.witness_threshold:
            yield Finding(where, f"{receipts} of {keys.witness_threshold} receipts")
        if not event.delegated:
            return
        source, delegator = accepted.source, keys.delegator
        if source is None or delegator is None:
            if waited:
                yield Finding(where, "no approval of the delegator")
            return
        sealing = self._logs.accepted(delegator, source.said)
        if sealing is None or sealing.event.sn != source.sn:
            yield Finding(where, "the event that approves it is missing")
        elif seal_of(event) not in sealing.event.anchors:
            yield Finding(where, "the delegator's event does not approve it")

    def _duplicities(self, aid: Aid) -> Iterator[Finding]:
        for number, evidence in enumerate(self._logs.duplicity(aid)):
            other, incumbent = evidence.other, evidence.accepted.event
            where = f"evidence {number} of duplicity of {aid}"
            if (other.aid, other.sn) != (aid, incumbent.sn) or other.said == incumbent.said:
                yield Finding(where, "the two events are not of one place")
            before = other.prior_said
            prior = None if before is None else self._logs.accepted(aid, before)
            with rows.reading(where):
                replaying.judged(other, evidence.proofs, None if prior is None else prior.state)

    def _statements(self) -> Iterator[Finding]:
        for record in replaying.statements(self._database):
            replaying.count(record, self._scratch)
            where = f"a statement about {record.key[1]}"
            with rows.reading(where):
                if not self._is_signed(record):
                    yield Finding(where, "it is not signed as it must be")
        yield from self._compared("statement_count")

    def _is_signed(self, record: Record) -> bool:
        """Tell whether enough keys of its authority signed a statement, and nobody else."""
        signer, raw, proofs = record.statement.authority, record.reply.raw, record.proofs
        if record.signer_sn is None:
            good = verified_couples(raw, proofs.couples, ())
            return good == proofs.couples and [one.key.text for one in good] == [signer]
        ((aid, sn, said, signatures),) = [
            msgspec.structs.astuple(one) for one in proofs.endorsements
        ]
        named = self._logs.accepted(aid, said)
        if named is None or (aid, sn) != (signer, record.signer_sn) or named.event.sn != sn:
            return False
        signed = check_signatures(raw, named.state.establishment, signatures)
        return signed.sufficient and set(signed.signatures) == set(signatures)

    def _waiting(self) -> Iterator[Finding]:
        replaying.derive_waiting(self._database, self._scratch)
        yield from self._compared("held_missing")
        yield from self._compared("held_share")

    def _compared(self, table: str) -> Iterator[Finding]:
        query = f"SELECT {_OF_ALL[table]} FROM {table}"  # noqa: S608 - one of the names above
        if set(self._database.rows(query)) != set(self._scratch.execute(query)):
            yield Finding(f"table {table}", "it does not follow from the evidence")


def _guarded(findings: Iterator[Finding], where: str) -> Iterator[Finding]:
    """Turn what stops a part of the check into a finding."""
    try:
        yield from findings
    except StoreError as error:
        if error.code is not ErrorCode.STORE_CORRUPT:
            raise
        told = error.fields
        yield Finding(str(told.get("where", where)), str(told.get("what", error.message)))
