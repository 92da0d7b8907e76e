"""What the application asks of the store of a wallet; `stores.wallet` implements it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from keystead.ports.events import EventStore


class Row(msgspec.Struct, frozen=True, gc=False):
    """A sealed record as it is stored.

    Attributes:
        kind: kind of record.
        id: its name among those of its kind.
        generation: counts its versions, from 1.
        data: the sealed content.
        tag: what it can be found by, unique among its kind; None for nothing.
    """

    kind: str
    id: str
    generation: int
    data: bytes
    tag: bytes | None = None


class AuditRow(msgspec.Struct, frozen=True, gc=False):
    """An entry of the audit log as it is stored.

    Attributes:
        number: place in the log, from 1.
        kind: kind of the record that it is about.
        id: name of that record.
        generation: version of the record that was written; 0 when it was deleted.
        digest: hash of the sealed record; empty when it was deleted.
        data: the sealed entry.
        hash: hash over the entry and the hash of the entry before.
    """

    number: int
    kind: str
    id: str
    generation: int
    digest: bytes
    data: bytes
    hash: bytes


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """How the data key of a wallet is wrapped.

    Attributes:
        wallet: the id of the wallet.
        version: of this form.
        memory_kib: memory of Argon2id.
        passes: its passes.
        lanes: its lanes.
        salt: its salt.
        data: the wrapped data key.
    """

    wallet: str
    version: int
    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    data: bytes


class WalletStore(Protocol):
    """Records, audit log and key event logs of one wallet, changed in one transaction."""

    @property
    def events(self) -> EventStore:
        """The logs; what is stored inside `transaction` is part of it."""

    def transaction(self) -> AbstractContextManager[object]:
        """Keep all that is done inside, durably, or nothing. Writers take turns."""

    def snapshot(self) -> AbstractContextManager[object]:
        """Read: all that is read inside is of one moment; nothing is changed inside."""

    def get(self, kind: str, record_id: str) -> Row | None:
        """Return a record."""

    def find(self, kind: str, tag: bytes) -> Row | None:
        """Return the record with a tag."""

    def rows(self, kind: str = "") -> Iterator[Row]:
        """Give all records, or those of a kind."""

    def put(self, row: Row) -> None:
        """Insert or replace a record."""

    def delete(self, kind: str, record_id: str) -> None:
        """Delete a record, if it is there."""

    def audit_head(self) -> tuple[int, bytes]:
        """Return number and hash of the last audit entry; 0 and nothing if there is none."""

    def audit_hash(self, number: int) -> bytes | None:
        """Return the hash of an audit entry."""

    def audit_latest(self, kind: str, record_id: str) -> AuditRow | None:
        """Return the latest audit entry about a record."""

    def audit_last(self, kind: str) -> Iterator[AuditRow]:
        """Give the latest audit entry about each record of a kind that there ever was."""

    def audit_count(self, after: int = 0) -> int:
        """Return how many audit entries have a higher number."""

    def audit(self, kind: str = "", record_id: str = "", *, after: int = 0) -> Iterator[AuditRow]:
        """Give the audit log behind an entry, or the entries about one record, in order."""

    def add_audit(self, row: AuditRow) -> None:
        """Append an audit entry."""

    def scrub(self) -> None:
        """Overwrite what was deleted, also where it was written before it reached its place."""
