"""The whole wallet, derived again from its bytes and compared; and what a crash left, finished.

Nothing is believed because it is there. What is damaged is told, never deleted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.custody.records import KeyRecord
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, StoreError
from keystead.owner.control import ControlCheck, KeyCheck, Standing
from keystead.owner.examination import STATE_ID, Examination, Progress, in_parts
from keystead.owner.findings import Finding, Kind, Severity
from keystead.owner.notices import publish_notices
from keystead.owner.settlement import settle, why_behind
from keystead.owner.shredding import finish_scrub
from keystead.owner.unlocking import GuardedStore
from keystead.owner.wallet import (
    IDENTIFIER,
    KEY,
    STATE,
    IdentifierRecord,
    Wallet,
    WalletState,
    envelope_digest,
    parse_event,
)
from keystead.ports.keys import Mark

# Checks the file itself and all logs in it, given the own identifiers; gives place and fault.
CheckStore: TypeAlias = Callable[[Collection[Aid]], Iterable[tuple[str, str]]]


class Report(msgspec.Struct, frozen=True, gc=False):
    """What was found.

    Attributes:
        unlocked: sealed content, keys and marks were checked too.
        findings: what is not as it should be, in the order of the checks.
        identifiers: the own identifiers, if they could be read.
        entries: entries of the audit log.
        keys: keys of the inventory.
    """

    unlocked: bool
    findings: tuple[Finding, ...]
    identifiers: tuple[Standing, ...]
    entries: int
    keys: int

    @property
    def fine(self) -> bool:
        """Nothing has to be done."""
        return not any(one.severity is Severity.PROBLEM for one in self.findings)


class Repair(msgspec.Struct, frozen=True, gc=False):
    """What was tried to be put in order.

    Attributes:
        done: what was done, one sentence each.
        failed: what could not be done and why.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]


def _silent(what: str, done: int, total: int) -> None:
    del what, done, total


def examine(
    store: GuardedStore,
    wallet: Wallet | None,
    check_store: CheckStore,
    *,
    moment: AbstractContextManager[object],
    progress: Progress = _silent,
) -> Report:
    """Check a wallet whole, and change nothing.

    Args:
        store: of the wallet.
        wallet: the wallet, open; None when it is locked.
        check_store: checks what lies below records.
        moment: all that is read inside is of one moment.
        progress: is told how far it is.

    Raises:
        KeystoreError: the vault was closed meanwhile, or does not answer.
        StoreError: the store cannot be read (store.busy, store.io).
    """
    checkup = _Checkup(store, wallet, check_store, progress)
    # The marks first, and then whoever is about to keep what they tell of ends that.
    findings = list(_guarded(checkup.read_marks(), "marks"))
    with moment:
        findings += checkup.findings()
    examined = checkup.examination
    return Report(
        wallet is not None,
        tuple(findings),
        tuple(checkup.standings),
        examined.entries,
        len(examined.values[KEY]),
    )


class _Checkup:
    """One examination of one wallet."""

    def __init__(
        self,
        store: GuardedStore,
        wallet: Wallet | None,
        check_store: CheckStore,
        progress: Progress,
    ) -> None:
        self._store = store
        self._wallet = wallet
        self._check_store = check_store
        self._progress = progress
        self.examination = Examination(store, None if wallet is None else wallet.vault, progress)
        self.standings: list[Standing] = []
        self._marked: dict[Aid, Mark | None] = {}
        self._latest: Mark | None = None
        self._audit_end = (0, b"")

    def read_marks(self) -> Iterator[Finding]:
        """Read what was signed on this machine, and wait for whoever writes just now."""
        if self._wallet is None:
            return
        if self._wallet.vault.known_here():
            self._latest = self._wallet.vault.latest_mark()
            self._audit_end = self._wallet.vault.audit_end()
            for part in in_parts([Aid(row.id) for row in self._store.rows(IDENTIFIER)]):
                self._marked.update(zip(part, self._wallet.vault.marks(part), strict=True))
        else:
            yield Finding(Kind.MARK_MACHINE, "the wallet", "nothing was signed with it here")
        with self._store.transaction():
            pass

    def findings(self) -> Iterator[Finding]:
        """Give all findings."""
        yield from _guarded(self._below(), "the database")
        yield from _guarded(self.examination.history(), "the audit log")
        yield from _guarded(self.examination.records(), "the records")
        yield from _guarded(self._envelope(), "the envelope")
        if self._wallet is None:
            what = "only files, logs, and the hashes of records and history were checked"
            yield Finding(Kind.STORE_LOCKED, "the wallet", what)
            return
        yield from self.examination.key_states()
        yield from _guarded(self._marks(self._wallet), "the marks")
        yield from _guarded(self._signed(self._wallet), "the logs")
        yield from _guarded(self._control(self._wallet), "keys")

    @property
    def _identifiers(self) -> list[IdentifierRecord]:
        found = self.examination.values[IDENTIFIER].values()
        return sorted(found, key=lambda one: (one.epoch, one.number))

    def _below(self) -> Iterator[Finding]:
        own = [Aid(row.id) for row in self._store.rows(IDENTIFIER)]
        for where, what in self._check_store(own):
            yield Finding(Kind.STORE_DAMAGED, where, what)

    def _envelope(self) -> Iterator[Finding]:
        """Check that the passphrase is the latest; without the vault only that there is one."""
        state: WalletState | None = self.examination.values[STATE].get(STATE_ID)
        wanted = None if state is None else state.envelope
        try:
            found = envelope_digest(self._store.envelope())
        except StoreError as error:
            if error.code is not ErrorCode.STORE_MISSING:
                raise
            found = ""
        if not found and wanted != "":
            yield Finding(Kind.ENVELOPE_CHANGED, "the envelope", "it is gone")
        elif wanted is not None and found != wanted:
            what = "it is another than the one that was written last"
            yield Finding(Kind.ENVELOPE_CHANGED, "the envelope", what)
        if state is not None and state.scrub:
            what = "erasing was interrupted before its end"
            yield Finding(Kind.STORE_SCRUB, "the files", what)

    def _marks(self, wallet: Wallet) -> Iterator[Finding]:
        """Compare the logs with what was signed on this machine."""
        number, head = self._audit_end
        if number and wallet.store.audit_hash(number) != head:
            what = f"the history does not go on from entry {number}, as it did before"
            yield Finding(Kind.MARK_BEHIND, "the audit log", what)
        latest = self._latest
        if latest is not None and latest.aid not in self.examination.values[IDENTIFIER]:
            yield Finding(Kind.MARK_UNKNOWN, "the wallet", f"{latest.aid} was begun")
        unmarked = []
        for record in self._identifiers:
            mark = self._marked.get(record.aid)
            if mark is not None:
                yield from self._mark(wallet, record, mark)
            elif record.aid in self._marked:
                unmarked.append(record.name)
        if unmarked:
            what = f"{len(unmarked)} without a mark, such as {unmarked[0]}"
            yield Finding(Kind.MARK_NONE, "identifiers", what)

    def _mark(self, wallet: Wallet, record: IdentifierRecord, mark: Mark) -> Iterator[Finding]:
        about = f"identifier {record.name}"
        state = wallet.events.key_state(record.aid)
        waits = bool(record.pending) and parse_event(record.pending.encode()).said == mark.said
        kind, what = Kind.MARK_BEHIND, ""
        if not _agrees(wallet, mark):
            what = f"the history changed since event {mark.sn:x} was signed"
        elif not waits and (state is None or record.pending):
            what = f"event {mark.sn:x} was signed, and is neither in the log nor waits"
        elif not waits and state is not None:
            what = why_behind(record, state, mark)
            if not what and mark.sn > state.sn:
                kind, what = Kind.MARK_UNFINISHED, f"event {mark.sn:x} is not in the log"
        if what:
            yield Finding(kind, about, what)

    def _signed(self, wallet: Wallet) -> Iterator[Finding]:
        """Look in the logs for each event that the history tells of."""
        for done, (name, said) in enumerate(self.examination.signed, 1):
            aid, _, sn = name.rpartition(".")
            accepted = wallet.events.accepted(Aid(aid), Said(said))
            if accepted is None or str(accepted.event.sn) != sn:
                yield Finding(Kind.LOG_EVENT, f"event {sn} of {aid}", f"{said} is not in its log")
            if not done % 1000:
                self._progress("events", done, len(self.examination.signed))

    def _control(self, wallet: Wallet) -> Iterator[Finding]:
        keys: dict[str, KeyRecord] = self.examination.values[KEY]
        checked = KeyCheck(wallet, self.examination.secrets, self._progress)
        yield from checked.findings(list(keys.values()))
        control = ControlCheck(wallet, keys, checked)
        records = self._identifiers
        for done, record in enumerate(records, 1):
            yield from control.findings(record)
            if not done % 1000:
                self._progress("identifiers", done, len(records))
        self.standings = control.standings


def repair(wallet: Wallet, rebuild: Callable[[], None]) -> Repair:
    """Finish what was interrupted, and make anew what is derived; nothing is deleted.

    Args:
        wallet: the wallet, open.
        rebuild: makes the derived tables anew from the evidence.
    """
    done: list[str] = []
    failed: list[str] = []

    def attempt(what: str, act: Callable[[], object]) -> None:
        try:
            if act() is not False:
                done.append(what)
        except KeysteadError as error:
            failed.append(f"{what}: {error}")

    attempt("made the derived tables anew", rebuild)
    try:
        records = wallet.identifiers()
    except KeysteadError as error:
        records = []
        failed.append(f"finished interrupted events: {error}")
    for record in records:
        attempt(f"finished the event of {record.name}", lambda: settle(wallet, record))  # noqa: B023 - called at once
        attempt(f"told of compromised keys of {record.name}", lambda: _tell(wallet, record.aid))  # noqa: B023 - as above
    attempt("overwrote what was erased", lambda: _scrub(wallet))
    return Repair(tuple(done), tuple(failed))


def _scrub(wallet: Wallet) -> bool:
    pending = wallet.state().scrub
    finish_scrub(wallet)
    return pending


def _tell(wallet: Wallet, aid: Aid) -> bool:
    with wallet.store.transaction():
        return bool(publish_notices(wallet, aid))


def _agrees(wallet: Wallet, mark: Mark) -> bool:
    """Tell whether the audit log still goes on from where it stood when a mark was made."""
    if not mark.audit_count:
        return True
    return wallet.store.audit_hash(mark.audit_count) == mark.audit_head


def _guarded(findings: Iterator[Finding], where: str) -> Iterator[Finding]:
    """Turn what stops a part of the checks into a finding."""
    try:
        yield from findings
    except StoreError as error:
        if error.code is not ErrorCode.STORE_CORRUPT:
            raise
        yield Finding(Kind.STORE_DAMAGED, where, error.message)
    except KeystoreError as error:
        if error.code is not ErrorCode.TAMPERED:
            raise
        kind = Kind.MARK_CHANGED if where == "marks" else Kind.RECORD_UNREADABLE
        yield Finding(kind, where, error.message)
