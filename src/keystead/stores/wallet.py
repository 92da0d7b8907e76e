"""The store of a wallet: its sealed records, audit log and logs in one SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from keystead.errors import ErrorCode, StoreError
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.ports.wallet import AuditRow, Envelope, Row
from keystead.stores.database import Database
from keystead.stores.sqlite import SqliteStore

FILE = "wallet.db"
_AUDIT = "SELECT number, kind, id, generation, digest, data, hash FROM audit"
_RECORD = "SELECT kind, id, generation, data, tag FROM record"


class SqliteWallet:
    """A `WalletStore` in a folder of its own."""

    def __init__(self, database: Database, limits: Limits = DEFAULT_LIMITS) -> None:
        """Use an open database; see `create` and `open`."""
        self.database = database
        self.events = SqliteStore(database, limits)

    @classmethod
    def create(cls, home: Path) -> "SqliteWallet":
        """Make the store of a new wallet; errors as `Database.create`."""
        return cls(Database.create(home / FILE))

    @classmethod
    def open(cls, home: Path) -> "SqliteWallet":
        """Open the store of a wallet; errors as `Database.open`."""
        return cls(Database.open(home / FILE))

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Keep all that is done inside, durably, or nothing."""
        return self.database.transaction()

    def snapshot(self) -> AbstractContextManager[sqlite3.Connection]:
        """Read: all that is read inside is of one moment."""
        return self.database.snapshot()

    def scrub(self) -> None:
        """Overwrite what was deleted."""
        self.database.scrub()

    def envelope(self) -> Envelope:
        """Return how the data key is wrapped.

        Raises:
            StoreError: the wallet was never finished, or lost it (store.missing).
        """
        query = "SELECT wallet, version, memory_kib, passes, lanes, salt, data FROM envelope"
        row = self._one(query)
        if row is None:
            what = "the wallet has no key: keystead init was interrupted here"
            raise StoreError(ErrorCode.STORE_MISSING, what)
        return Envelope(*row)

    def set_envelope(self, envelope: Envelope) -> None:
        """Replace how the data key is wrapped, inside `transaction`."""
        self._run(
            "INSERT OR REPLACE INTO envelope VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            envelope.wallet,
            envelope.version,
            envelope.memory_kib,
            envelope.passes,
            envelope.lanes,
            envelope.salt,
            envelope.data,
        )

    def attempts(self) -> tuple[int, int]:
        """Return how many passphrases did not fit since the last that did, and when last."""
        return self._one("SELECT failed, last_at FROM attempt") or (0, 0)

    def set_attempts(self, failed: int, last_at: int) -> None:
        """Keep how many passphrases did not fit, inside `transaction`."""
        self._run("INSERT OR REPLACE INTO attempt VALUES (1, ?, ?)", failed, last_at)

    def get(self, kind: str, record_id: str) -> Row | None:
        """Return a record."""
        row = self._one(f"{_RECORD} WHERE kind = ? AND id = ?", kind, record_id)
        return None if row is None else Row(*row)

    def find(self, kind: str, tag: bytes) -> Row | None:
        """Return the record with a tag."""
        row = self._one(f"{_RECORD} WHERE kind = ? AND tag = ?", kind, tag)
        return None if row is None else Row(*row)

    def rows(self, kind: str = "") -> Iterator[Row]:
        """Give all records, or those of a kind."""
        where, values = (" WHERE kind = ?", (kind,)) if kind else ("", ())
        for row in self._all(f"{_RECORD}{where}", *values):
            yield Row(*row)

    def put(self, row: Row) -> None:
        """Insert or replace a record."""
        query = "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?)"
        self._run(query, row.kind, row.id, row.generation, row.tag, row.data)

    def delete(self, kind: str, record_id: str) -> None:
        """Delete a record, if it is there."""
        self._run("DELETE FROM record WHERE kind = ? AND id = ?", kind, record_id)

    def audit_head(self) -> tuple[int, bytes]:
        """Return number and hash of the last audit entry."""
        return self._one("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1") or (0, b"")

    def audit_hash(self, number: int) -> bytes | None:
        """Return the hash of an audit entry."""
        row = self._one("SELECT hash FROM audit WHERE number = ?", number)
        return None if row is None else row[0]

    def audit_latest(self, kind: str, record_id: str) -> AuditRow | None:
        """Return the latest audit entry about a record."""
        query = f"{_AUDIT} WHERE kind = ? AND id = ? ORDER BY number DESC LIMIT 1"
        row = self._one(query, kind, record_id)
        return None if row is None else AuditRow(*row)

    def audit_last(self, kind: str) -> Iterator[AuditRow]:
        """Give the latest audit entry about each record of a kind that there ever was."""
        query = "SELECT max(number) FROM audit WHERE kind = ? GROUP BY id"
        for row in self._all(f"{_AUDIT} WHERE number IN ({query})", kind):
            yield AuditRow(*row)

    def audit_count(self, after: int = 0) -> int:
        """Return how many audit entries have a higher number."""
        query = "SELECT count(*) FROM audit"
        if not after:  # an index is smaller than the rows
            (count,) = self._one(query) or (0,)
        else:
            (count,) = self._one(f"{query} WHERE number > ?", after) or (0,)
        return int(count)

    def audit(self, kind: str = "", record_id: str = "", *, after: int = 0) -> Iterator[AuditRow]:
        """Give the audit log behind an entry, or the entries about one record, in order."""
        where = " AND kind = ? AND id = ?" if kind else ""
        values = (kind, record_id) if kind else ()
        for row in self._all(f"{_AUDIT} WHERE number > ?{where} ORDER BY number", after, *values):
            yield AuditRow(*row)

    def add_audit(self, row: AuditRow) -> None:
        """Append an audit entry."""
        self._run(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)",
            row.number,
            row.kind,
            row.id,
            row.generation,
            row.digest,
            row.data,
            row.hash,
        )

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self.database.snapshot() as connection:
            found: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
            return found

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database.snapshot() as connection:
            return connection.execute(query, values).fetchall()

    def _run(self, query: str, *values: object) -> None:
        with self.database.transaction() as connection:
            connection.execute(query, values)
