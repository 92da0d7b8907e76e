"""Records and their history, read row by row: what was written, and whether it is still there.

Without a vault the columns are checked against each other; with it the sealed content too.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, State, check_transition
from keystead.errors import ErrorCode, KeystoreError
from keystead.owner.contacts import CONTACT, SCHEMA, Contact
from keystead.owner.discovery import Schema
from keystead.owner.findings import Finding, Kind
from keystead.owner.outbox import Outgoing, outbox_id
from keystead.owner.records import AuditEntry, chain, digest_of, sealed_entry, sealed_record, tells
from keystead.owner.wallet import (
    IDENTIFIER,
    KEY,
    OUTBOX,
    STATE,
    TOKEN,
    IdentifierRecord,
    TokenRecord,
    WalletState,
)
from keystead.ports.keys import SECRET, Sealed, Vault
from keystead.ports.wallet import AuditRow, Row, WalletStore

T = TypeVar("T")
# Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

STATE_ID: Final = "wallet"
_AT_ONCE: Final = 1000  # rows that the vault opens at one time
_FORMS: Final[dict[str, type[Any]]] = {
    STATE: WalletState,
    IDENTIFIER: IdentifierRecord,
    KEY: KeyRecord,
    OUTBOX: Outgoing,
    TOKEN: TokenRecord,
    CONTACT: Contact,
    SCHEMA: Schema,
}
# The name that the content of a record tells of itself.
_NAMES: Final[dict[str, Callable[[Any], str]]] = {
    STATE: lambda _: STATE_ID,
    IDENTIFIER: lambda one: str(one.aid),
    KEY: lambda one: str(one.id),
    OUTBOX: lambda one: outbox_id(one.aid, one.sn),
    TOKEN: lambda one: str(one.name),
    CONTACT: lambda one: str(one.aid),
    SCHEMA: lambda one: str(one.said),
}


def in_parts(items: Sequence[T], size: int = _AT_ONCE) -> Iterator[Sequence[T]]:
    """Give a sequence in parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class _Last(msgspec.Struct, frozen=True, gc=False):
    """The latest entry about a record: its number, and the digest of what was written."""

    number: int
    digest: bytes


class Examination:
    """One reading of all records and their history.

    Attributes:
        entries: entries of the audit log.
        values: kind of record -> name -> content, of those that are as they were written.
        secrets: name -> secret, of those that are as they were written.
        signed: identifier, place and digest of the events that were put on logs here.
    """

    def __init__(self, store: WalletStore, vault: Vault | None, progress: Progress) -> None:
        """Read a store, through its vault when there is one."""
        self._store = store
        self._vault = vault
        self._progress = progress
        self._last: dict[tuple[str, str], _Last] = {}
        self._states: dict[str, State | None] = {}
        self._stepped: set[str] = set()  # keys of which wrong steps were told
        self._time = ""
        self._set_back = 0
        self.entries = 0
        self.values: dict[str, dict[str, Any]] = {kind: {} for kind in _FORMS}
        self.secrets: dict[str, Sealed] = {}
        self.signed: list[tuple[str, str]] = []

    def history(self) -> Iterator[Finding]:
        """Check the audit log: numbers, hashes, content, and the life of each key in it."""
        rows = list(self._store.audit())
        self.entries = len(rows)
        yield from self._chained(rows)
        if self._vault is None:
            return
        done = 0
        for part in in_parts(rows):
            opened = self._opened([sealed_entry(row) for row in part])
            for row, data in zip(part, opened, strict=True):
                yield from self._entry(row, data)
            done += len(part)
            self._progress("audit log", done, len(rows))
        if self._set_back:
            what = f"{self._set_back} entries are older than the one before"
            yield Finding(Kind.AUDIT_TIME, "the audit log", what)

    def records(self) -> Iterator[Finding]:
        """Check the records against the audit log, and read them."""
        rows = list(self._store.rows())
        whole: list[Row] = []
        for row in rows:
            fault = _fault(row, self._last.pop((row.kind, row.id), None))
            if fault is None:
                whole.append(row)
            else:
                yield fault
        for (kind, name), last in self._last.items():
            if last.digest:
                what = f"entry {last.number} wrote it, and it is not there"
                yield Finding(Kind.RECORD_MISSING, f"{kind} {name}", what)
        if not any((row.kind, row.id) == (STATE, STATE_ID) for row in rows):
            what = "every wallet has one"
            yield Finding(Kind.RECORD_MISSING, f"{STATE} {STATE_ID}", what)
        if self._vault is not None:
            yield from self._read(self._vault, whole)

    def key_states(self) -> Iterator[Finding]:
        """Check that each key is where its history ends."""
        for name, key in self.values[KEY].items():
            told = self._states.get(name)
            if told is not key.state and name not in self._stepped:
                what = f"it is {key.state}, and its history ends with {told or 'nothing'}"
                yield Finding(Kind.AUDIT_TRANSITION, f"{KEY} {name}", what)

    def _chained(self, rows: Collection[AuditRow]) -> Iterator[Finding]:
        head, expected = b"", 1
        for row in rows:
            about = f"audit entry {row.number}"
            if row.number != expected:
                what = f"entries {expected} to {row.number - 1} are missing"
                yield Finding(Kind.AUDIT_CHAIN, about, what)
            elif chain(head, row.number, row.kind, row.id, row.digest, row.data) != row.hash:
                what = "its hash is not over its content and the entry before"
                yield Finding(Kind.AUDIT_CHAIN, about, what)
            if row.generation != (row.number if row.digest else 0):
                what = f"it names version {row.generation} of the record"
                yield Finding(Kind.AUDIT_ENTRY, about, what)
            head, expected = row.hash, row.number + 1
            self._last[row.kind, row.id] = _Last(row.number, row.digest)

    def _entry(self, row: AuditRow, data: bytes | None) -> Iterator[Finding]:
        about = f"audit entry {row.number}"
        entry = None if data is None else _decoded(data, AuditEntry)
        if entry is None or not tells(entry, row):
            what = "its sealed content does not belong to it"
            yield Finding(Kind.AUDIT_ENTRY, about, what)
            return
        self._set_back += entry.at < self._time
        self._time = entry.at
        note = entry.note
        if entry.kind == OUTBOX and entry.digest and note.evidence:
            self.signed.append((entry.id, note.evidence))
        elif entry.kind == KEY and note.after:
            yield from self._step(entry, about)

    def _step(self, entry: AuditEntry, about: str) -> Iterator[Finding]:
        """Take a key one step further in its life."""
        now = self._states.get(entry.id)
        try:
            before = State(entry.note.before) if entry.note.before else None
            after = State(entry.note.after)
            check_transition(before, after)
        except (ValueError, KeystoreError) as error:
            what = error.message if isinstance(error, KeystoreError) else str(error)
        else:
            # What serves the wallet itself keeps its name when it is replaced.
            if before is now or (before is None and now in GONE):
                self._states[entry.id] = after
                return
            what = f"the key was {now or 'not made'}, not {before or 'not made'}"
        self._stepped.add(entry.id)
        yield Finding(Kind.AUDIT_TRANSITION, f"{about}, {KEY} {entry.id}", what)

    def _read(self, vault: Vault, rows: Sequence[Row]) -> Iterator[Finding]:
        done = 0
        for part in in_parts(rows):
            secrets = [row for row in part if row.kind == SECRET]
            good = vault.check([sealed_record(row) for row in secrets])
            for row, is_good in zip(secrets, good, strict=True):
                yield from _tagged(row, None)
                if is_good:
                    self.secrets[row.id] = sealed_record(row)
                else:
                    yield _unreadable(row.kind, row.id)
            others = [row for row in part if row.kind != SECRET]
            opened = self._opened([sealed_record(row) for row in others])
            for row, data in zip(others, opened, strict=True):
                yield from self._content(vault, row, data)
            done += len(part)
            self._progress("records", done, len(rows))

    def _content(self, vault: Vault, row: Row, data: bytes | None) -> Iterator[Finding]:
        form = _FORMS.get(row.kind)
        if form is None and data is not None:
            what = f"{row.kind} is no kind of record that this version knows"
            yield Finding(Kind.RECORD_UNKNOWN, f"{row.kind} {row.id}", what)
            return
        value = None if data is None or form is None else _decoded(data, form)
        if value is None or _NAMES[row.kind](value) != row.id:
            yield _unreadable(row.kind, row.id)
            return
        name = value.name if isinstance(value, IdentifierRecord | Contact) else ""
        yield from _tagged(row, vault.tag(row.kind, name) if name else None)
        self.values[row.kind][row.id] = value

    def _opened(self, sealed: Sequence[Sealed]) -> list[bytes | None]:
        """Open what can be opened; None for each of the others."""
        if self._vault is None or not sealed:
            return []
        try:
            return list(self._vault.open(sealed))
        except KeystoreError as error:
            if error.code is not ErrorCode.TAMPERED:
                raise
            if len(sealed) == 1:
                return [None]
        middle = len(sealed) // 2
        return self._opened(sealed[:middle]) + self._opened(sealed[middle:])


def _fault(row: Row, last: _Last | None) -> Finding | None:
    """Compare a record with the latest entry about it."""
    about = f"{row.kind} {row.id}"
    if last is None:
        return Finding(Kind.RECORD_EXTRA, about, "no entry of the audit log tells of it")
    if not last.digest:
        return Finding(Kind.RECORD_EXTRA, about, f"entry {last.number} deleted it")
    if (row.generation, digest_of(row.data)) != (last.number, last.digest):
        what = f"it is version {row.generation}; entry {last.number} wrote another"
        return Finding(Kind.RECORD_CHANGED, about, what)
    return None


def _tagged(row: Row, tag: bytes | None) -> Iterator[Finding]:
    if row.tag != tag:
        what = "it cannot be found by its name, or by a name that is not its own"
        yield Finding(Kind.RECORD_CHANGED, f"{row.kind} {row.id}", what)


def _unreadable(kind: str, name: str) -> Finding:
    return Finding(Kind.RECORD_UNREADABLE, f"{kind} {name}", "its content does not belong to it")


def _decoded(data: bytes, form: type[T]) -> T | None:
    try:
        return msgspec.json.decode(data, type=form)
    except msgspec.MsgspecError:
        return None
