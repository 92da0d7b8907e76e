"""Sealed records with their audit log: what is in the wallet, and how it came to be so.

Every write of a record is an entry of the audit log, and the number of the entry is the generation
of the record. So a record that was changed, swapped, rolled back or deleted no longer agrees with
the latest entry about it; and an entry that was changed or deleted no longer agrees with the hash
of the entry behind it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from blake3 import blake3

from keystead.errors import ErrorCode, KeystoreError
from keystead.ports.keys import SECRET, Plain, Sealed, Vault
from keystead.ports.wallet import AuditRow, Row, WalletStore

T = TypeVar("T")

AUDIT: Final = "audit"


class Note(msgspec.Struct, frozen=True, gc=False):
    """Why a record is written.

    Attributes:
        action: what is done, such as "rotate".
        reason: why, in the owner's words; may be empty.
        evidence: digest of what proves it, such as an event; may be empty.
        before: state of the key before, for transitions of keys.
        after: its state after.
    """

    action: str
    reason: str = ""
    evidence: str = ""
    before: str = ""
    after: str = ""


class AuditEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry of the audit log, opened.

    Attributes:
        number: place in the log, from 1.
        at: when, RFC 3339 text.
        actor: who.
        kind: kind of the record that was written.
        id: name of that record.
        digest: hash of the sealed record, as hex text; empty when it was deleted.
        note: why.
    """

    number: int
    at: str
    actor: str
    kind: str
    id: str
    digest: str
    note: Note


class _Change(msgspec.Struct, frozen=True, gc=False):
    kind: str
    id: str
    data: bytes
    sealed: bool
    tag: bytes | None
    note: Note


class Records:
    """The records of one wallet."""

    def __init__(self, store: WalletStore, vault: Vault) -> None:
        """Read and write through a vault."""
        self.store = store
        self.vault = vault
        self._followed = (0, b"")  # entry up to which the numbers were counted, and its hash

    def get(self, kind: str, record_id: str, form: type[T]) -> T | None:
        """Return a record.

        Raises:
            KeystoreError: it was changed, rolled back or deleted (keystore.tampered).
        """
        row = self.sealed(kind, record_id)
        return None if row is None else self._read([row], form)[0]

    def find(self, kind: str, text: str, form: type[T]) -> T | None:
        """Return the record that was tagged with a text; errors as `get`."""
        tag = self.vault.tag(kind, text)
        with self.store.snapshot():
            row = self.store.find(kind, tag)
            if row is None:
                return None
            self._check(row)
        return self._read([sealed_record(row)], form)[0]

    def all(self, kind: str, form: type[T], *, checked: bool = False) -> list[T]:
        """Return all records of a kind.

        Args:
            kind: which.
            form: what they are.
            checked: open the latest entry about each as well, as `get` does. For what is decided
                by them; to show many of them, what stands openly beside the entries is enough.

        Raises:
            KeystoreError: one was changed, rolled back or deleted (keystore.tampered).
        """
        with self.store.snapshot():
            rows, latest = list(self.store.rows(kind)), list(self.store.audit_last(kind))
        written = {one.id: (one.number, one.digest) for one in latest if one.digest}
        for row in rows:
            if written.pop(row.id, None) != (row.generation, digest_of(row.data)):
                raise _tampered(kind, row.id)
        if written:
            raise _tampered(kind, min(written))
        sealed = [sealed_record(row) for row in rows]
        if checked:
            sealed += [sealed_entry(one) for one in latest]
        opened = self.vault.open(sealed) if sealed else []
        for one, data in zip(latest, opened[len(rows) :], strict=False):
            _check_told(msgspec.json.decode(data, type=AuditEntry), one)
        return [msgspec.json.decode(data, type=form) for data in opened[: len(rows)]]

    def sealed(self, kind: str, record_id: str) -> Sealed | None:
        """Return a record as it is sealed; errors as `get`."""
        with self.store.snapshot():
            row = self.store.get(kind, record_id)
            if row is None:
                latest = self.store.audit_latest(kind, record_id)
                if latest is not None and latest.digest:
                    raise _tampered(kind, record_id)
                return None
            self._check(row)
        return sealed_record(row)

    def check_chain(self) -> None:
        """Check that the audit log has all its entries, each hashed over the one before.

        The hashes need no key: they tell a log that was put together of parts, not one that was
        continued by somebody else. His entries are found when they are opened.

        Raises:
            KeystoreError: an entry is missing or was changed (keystore.tampered).
        """
        with self.store.snapshot():
            broken = _break(self.store.audit(), 0, b"")
        if broken:
            what = f"the audit log of the wallet was changed: entry {broken} does not follow"
            hint = "see what else was changed with: keystead doctor"
            raise KeystoreError(ErrorCode.TAMPERED, what, hint=hint)

    def go_on_from(self, number: int, head: bytes) -> bool:
        """Tell whether the audit log goes on from an entry, and no number is missing in it.

        Only the links behind the entry are checked, since that is done often; all of them when
        the wallet is opened, by `check_chain`.

        Args:
            number: of the entry.
            head: its hash.
        """
        with self.store.snapshot():
            start, before = self._followed
            if start and self.store.audit_hash(start) != before:
                start, before = 0, b""  # a transaction was undone
            last, end = self.store.audit_head()
            if self.store.audit_hash(number) != head:
                return False
            if self.store.audit_count(start) != last - start:
                return False
            first = max(start, number - 1)
            before = self.store.audit_hash(first) or b""
            if _break(self.store.audit(after=first), first, before):
                return False
        self._followed = (last, end)
        return True

    def history(self, kind: str = "", record_id: str = "") -> list[AuditEntry]:
        """Return the audit log, or the entries about one record.

        Raises:
            KeystoreError: an entry was changed (keystore.tampered).
        """
        rows = list(self.store.audit(kind, record_id))
        entries = self._read([sealed_entry(row) for row in rows], AuditEntry)
        for entry, row in zip(entries, rows, strict=True):
            _check_told(entry, row)
        return entries

    def entry(self, row: AuditRow) -> AuditEntry:
        """Open an entry of the audit log.

        Raises:
            KeystoreError: it was changed (keystore.tampered).
        """
        (entry,) = self._read([sealed_entry(row)], AuditEntry)
        _check_told(entry, row)
        return entry

    def _check(self, row: Row) -> None:
        latest = self.store.audit_latest(row.kind, row.id)
        if latest is None or (latest.number, latest.digest) != (
            row.generation,
            digest_of(row.data),
        ):
            raise _tampered(row.kind, row.id)
        self.entry(latest)

    def _read(self, sealed: Sequence[Sealed], form: type[T]) -> list[T]:
        opened = self.vault.open(sealed) if sealed else []
        return [msgspec.json.decode(data, type=form) for data in opened]


class Batch:
    """Changes of records that are written together, inside a transaction of the store."""

    def __init__(self, records: Records, *, at: str, actor: str) -> None:
        """Collect changes that `actor` makes at a time (RFC 3339 text)."""
        self._records = records
        self._at = at
        self._actor = actor
        self._count, self._head = records.store.audit_head()
        self._changes: list[_Change] = []

    @property
    def next_generation(self) -> int:
        """Generation of the record that is added next."""
        return self._count + len(self._changes) + 1

    def put(
        self,
        kind: str,
        record_id: str,
        value: Any,  # noqa: ANN401 - any record
        note: Note,
        *,
        tag: str = "",
    ) -> None:
        """Write a record; a `tag` lets it be found."""
        if kind == SECRET:
            raise ValueError("secrets are sealed by the vault")
        found_by = self._records.vault.tag(kind, tag) if tag else None
        data = msgspec.json.encode(value)
        self._changes.append(_Change(kind, record_id, data, False, found_by, note))  # noqa: FBT003 - a struct

    def put_secret(self, record_id: str, sealed: bytes, note: Note) -> None:
        """Write a secret that the vault sealed for `next_generation`."""
        self._changes.append(_Change(SECRET, record_id, sealed, True, None, note))  # noqa: FBT003 - as above

    def delete(self, kind: str, record_id: str, note: Note) -> None:
        """Delete a record."""
        self._changes.append(_Change(kind, record_id, b"", True, None, note))  # noqa: FBT003 - as above

    def write(self) -> None:
        """Seal and store all changes, with an audit entry for each."""
        numbered = list(enumerate(self._changes, self._count + 1))
        plain = [
            Plain(one.kind, one.id, number, one.data) for number, one in numbered if not one.sealed
        ]
        sealed = iter(self._records.vault.seal(plain) if plain else [])
        written = [
            (number, one, one.data if one.sealed else next(sealed)) for number, one in numbered
        ]
        entries = [self._entry(*one) for one in written]
        payloads = self._records.vault.seal(
            [Plain(AUDIT, str(one.number), one.number, msgspec.json.encode(one)) for one in entries]
        )
        store, head = self._records.store, self._head
        for (number, one, data), payload in zip(written, payloads, strict=True):
            if data:
                store.put(Row(one.kind, one.id, number, data, one.tag))
            else:
                store.delete(one.kind, one.id)
            digest = digest_of(data) if data else b""
            head = chain(head, number, one.kind, one.id, digest, payload)
            generation = number if data else 0
            store.add_audit(AuditRow(number, one.kind, one.id, generation, digest, payload, head))
        self._count, self._head, self._changes = self.next_generation - 1, head, []

    def _entry(self, number: int, one: _Change, data: bytes) -> AuditEntry:
        digest = digest_of(data).hex() if data else ""
        return AuditEntry(number, self._at, self._actor, one.kind, one.id, digest, one.note)


def digest_of(data: bytes) -> bytes:
    """Return the digest of a sealed record."""
    return blake3(data).digest()


def chain(head: bytes, number: int, *parts: str | bytes) -> bytes:
    """Return the hash of an audit entry, over the hash of the entry before."""
    pieces = [head, number.to_bytes(8, "big")]
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        pieces += (len(data).to_bytes(8, "big"), data)
    return blake3(b"".join(pieces)).digest()


def _break(rows: Iterable[AuditRow], last: int, head: bytes) -> int:
    """Return the number of the first entry that is missing or does not follow; 0 if all do."""
    for number, row in enumerate(rows, last + 1):
        head = chain(head, number, row.kind, row.id, row.digest, row.data)
        if (row.number, row.hash) != (number, head):
            return number
    return 0


def sealed_record(row: Row) -> Sealed:
    """Return a record as the vault opens it."""
    return Sealed(row.kind, row.id, row.generation, row.data)


def sealed_entry(row: AuditRow) -> Sealed:
    """Return an entry of the audit log as the vault opens it."""
    return Sealed(AUDIT, str(row.number), row.number, row.data)


def tells(entry: AuditEntry, row: AuditRow) -> bool:
    """Tell whether an opened entry says the same as the columns beside it."""
    stated = (entry.number, entry.kind, entry.id, entry.digest)
    return stated == (row.number, row.kind, row.id, row.digest.hex())


def _check_told(entry: AuditEntry, row: AuditRow) -> None:
    if not tells(entry, row):
        raise KeystoreError(ErrorCode.TAMPERED, f"audit entry {row.number} was changed")


def _tampered(kind: str, record_id: str) -> KeystoreError:
    what = f"the record {kind} {record_id} is not what was written last"
    return KeystoreError(ErrorCode.TAMPERED, what, kind=kind, id=record_id)
