"""One SQLite file: how it is opened, guarded and written to, and what its errors mean."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from os import W_OK, access, statvfs
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from keystead.errors import ErrorCode, StoreError, UsageError
from keystead.stores import files, schema
from keystead.stores.remembered import Remembered
from keystead.stores.schema import Migration

T = TypeVar("T")

BUSY_SECONDS = 5.0
_SPARE_PAGES = 256  # 1 MiB; what is freed is used again
_GIVEN_BACK = 512  # pages at once: writers wait for it some 20 ms
_INCREMENTAL = 2
_SPARE_LOG = 512 * 1024  # bytes of the log of writes that may stay

_SETTINGS = (
    "foreign_keys = ON",
    "secure_delete = ON",  # what is deleted is overwritten
    "temp_store = MEMORY",  # nothing beside the three files
    "trusted_schema = OFF",  # a changed schema must not run what it likes
    "cell_size_check = ON",
    "fullfsync = ON",  # on macOS only this reaches the disk
    "journal_size_limit = 8388608",  # the log of writes keeps no more than 8 MiB
)
# Primary result code of SQLite -> code of the error. Any other is store.io.
_CODES = {
    sqlite3.SQLITE_BUSY: ErrorCode.STORE_BUSY,
    sqlite3.SQLITE_LOCKED: ErrorCode.STORE_BUSY,
    sqlite3.SQLITE_PROTOCOL: ErrorCode.STORE_BUSY,
    sqlite3.SQLITE_FULL: ErrorCode.STORE_FULL,
    sqlite3.SQLITE_CORRUPT: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_NOTADB: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_FORMAT: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_ERROR: ErrorCode.STORE_CORRUPT,  # a table is missing
    sqlite3.SQLITE_CONSTRAINT: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_MISMATCH: ErrorCode.STORE_CORRUPT,
}


class Database:
    """One SQLite file: WAL, `synchronous=FULL`, private to one user.

    Use the connection only inside `transaction` or `snapshot`, or through `rows`: there errors
    become StoreError.

    Attributes:
        path: the file.
        connection: the open connection; transactions are never begun by themselves.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Take over an open connection; use `create` or `open`."""
        self.path = path
        self.connection = connection
        self._reading = False
        self._steps: tuple[Migration, ...] = ()
        self._lost: BaseException | None = None  # why the transaction cannot be committed
        self._remembered = Remembered()
        self._version = -1  # of the file, as others have changed it
        self._changes = -1  # rows that were changed here until the last transaction ended
        self._untouched = -1  # rows that were changed here until the last savepoint was set

    @classmethod
    def create(cls, path: Path, *, steps: tuple[Migration, ...] | None = None) -> "Database":
        """Make a new database with its schema; one whose making was interrupted is finished.

        Args:
            path: the file.
            steps: the schema, if not that of a wallet.

        Raises:
            UsageError: there is one (usage.exists).
            StoreError: as `open`.
        """
        files.make_folder(path.parent)
        files.make_file(path)
        known = schema.shipped() if steps is None else steps
        return cls._connect(path)._begun(known, fresh=True)  # noqa: SLF001 - this class

    @classmethod
    def open(cls, path: Path, *, steps: tuple[Migration, ...] | None = None) -> "Database":
        """Open a database; one with an older schema is copied and brought up to date.

        Args:
            path: the file.
            steps: the schema, if not that of a wallet.

        Raises:
            StoreError: there is none (store.missing), others can reach it (store.permissions), a
                newer version made it (store.schema), it is damaged (store.corrupt), somebody else
                is writing (store.busy), or it cannot be used (store.full, store.io).
        """
        if not files.check_file(path):
            raise StoreError(ErrorCode.STORE_MISSING, f"there is no {path}", path=str(path))
        known = schema.shipped() if steps is None else steps
        return cls._connect(path)._begun(known, fresh=False)  # noqa: SLF001 - this class

    @classmethod
    def _connect(cls, path: Path) -> "Database":
        files.check_folder(path.parent)
        for name in (path, *_beside(path)):
            files.check_file(name)
        with _faults(path):
            connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=BUSY_SECONDS,
            )
            try:
                for setting in _SETTINGS:
                    connection.execute(f"PRAGMA {setting}")
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: all that is done inside is kept at the end, or nothing when an error leaves it.

        Inside another transaction it is part of that one; only what it did itself is undone when
        an error leaves it and stops before the outer one.

        Raises:
            StoreError: store.busy, store.full, store.io, store.corrupt.
            RuntimeError: inside `snapshot`, which may be too old to build on.
        """
        if self._reading:
            raise RuntimeError("a transaction cannot begin inside a snapshot")
        connection, before = self.connection, self._untouched
        nested = connection.in_transaction
        # Where nothing was done since the last savepoint, going back there undoes the same.
        shared = nested and self._lost is None and connection.total_changes == before
        if before < 0:  # no savepoint to go back to
            self._remembered.settle()
        mark = self._remembered.mark()
        try:
            if not shared:
                self._begin(nested=nested)
            try:
                yield connection
                if not nested:
                    self._commit()
                elif not shared:
                    connection.execute("RELEASE nested")
            except BaseException as error:
                self._undo(error, nested=nested, shared=shared)
                self._remembered.back(mark)
                if not nested:
                    self._remembered.forget()
                raise
            finally:
                self._untouched = before
        except sqlite3.Error as error:
            fault = _fault_of(self.path, error)
            if fault is None:
                raise
            raise fault from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read: all that is read inside is of one moment. Inside a transaction: that of it.

        Raises:
            StoreError: store.busy, store.io, store.corrupt.
        """
        with self._faults():
            nested = self.connection.in_transaction
            if not nested:
                self.connection.execute("BEGIN")
                self._reading = True
            try:
                yield self.connection
            finally:
                if not nested:
                    self._reading = False
                    self._roll_back()

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return the rows that one query gives, of one moment.

        Raises:
            StoreError: as `snapshot`.
        """
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            fault = _fault_of(self.path, error)
            if fault is None:
                raise
            raise fault from error

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a transaction, once: nobody else can be in the way.

        Raises:
            StoreError: as `transaction`.
        """
        with self.transaction():
            return work()

    def writing(self) -> sqlite3.Connection:
        """Return the connection of the transaction that is open.

        Raises:
            RuntimeError: none is.
        """
        if self._reading or not self.connection.in_transaction:
            raise RuntimeError("tables are written to inside a transaction")
        return self.connection

    @property
    def remembered(self) -> Remembered:
        """What tables remember of what they have read; nothing outside of `transaction`."""
        if self._reading or not self.connection.in_transaction:
            return Remembered()
        return self._remembered

    def next_number(self, table: str, column: str) -> int:
        """Return a number for a new row, larger than those of the rows before."""
        ((latest,),) = self.rows(f"SELECT max({column}) FROM {table}")  # noqa: S608 - names of the program's own
        return (latest or 0) + 1

    def give_back(self) -> bool:
        """Give a part of the room that was freed back to the system; tell whether there is more.

        Raises:
            StoreError: as `transaction`.
        """
        ((mode,),) = self.rows("PRAGMA auto_vacuum")
        ((free,),) = self.rows("PRAGMA freelist_count")
        if mode == _INCREMENTAL and free > _SPARE_PAGES:
            with self._faults():  # `execute` would give back one page only
                self.connection.executescript(f"PRAGMA incremental_vacuum({_GIVEN_BACK})")
            if free - _GIVEN_BACK > _SPARE_PAGES:
                return True
        log = self.path.with_name(f"{self.path.name}-wal")
        with files.io_faults(log):
            large = log.exists() and log.stat().st_size > _SPARE_LOG
        if large:
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")  # only then the file gets shorter
        return False

    def scrub(self) -> None:
        """Leave no copy of what was deleted: not in the log of writes, nor in older copies.

        Raises:
            StoreError: somebody else is reading or writing (store.busy), store.full, store.io.
            RuntimeError: inside a transaction or snapshot.
        """
        if self.connection.in_transaction:
            raise RuntimeError("deleted content stays until the transaction has ended")
        for copy in self.path.parent.glob(f"{self.path.name}.before-*"):
            with files.io_faults(copy):
                copy.unlink()
        with self._faults():
            # `secure_delete` overwrites a row where it is, not copies that were left behind when
            # pages were balanced. So the file is written anew.
            self.connection.execute("VACUUM")
            busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(ErrorCode.STORE_BUSY, f"{self.path} is in use")

    def damage(self) -> Iterator[tuple[str, str]]:
        """Give what is wrong with file and schema: where, and what.

        Raises:
            StoreError: as `rows`.
        """
        for (line,) in self.rows("PRAGMA integrity_check"):
            if line != "ok":
                yield "the database", str(line)
        for table, _, parent, _ in self.rows("PRAGMA foreign_key_check"):
            yield f"table {table}", f"a row belongs to no row of {parent}"
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
            schema.apply(scratch, self._steps)
            query = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"
            found, wanted = set(self.rows(query)), set(scratch.execute(query))
            for kind, name in sorted({one[:2] for one in found ^ wanted}):
                yield f"{kind} {name}", "not as this version makes it"
            steps = "SELECT * FROM migration"
            if set(self.rows(steps)) != set(scratch.execute(steps)):
                yield "table migration", "not the steps of this version"

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self.connection.close()

    def _faults(self) -> AbstractContextManager[None]:
        return _faults(self.path)

    def _begin(self, *, nested: bool) -> None:
        connection = self.connection
        if nested:
            connection.execute("SAVEPOINT nested")
            self._untouched = connection.total_changes
            return
        connection.execute("BEGIN IMMEDIATE")
        ((version,),) = connection.execute("PRAGMA data_version")
        if (version, connection.total_changes) != (self._version, self._changes):
            self._remembered.forget()
            self._version = version
        self._untouched = -1  # nobody can go back to the beginning and go on

    def _commit(self) -> None:
        if self._lost is not None:
            raise self._lost
        self.connection.execute("COMMIT")
        self._changes = self.connection.total_changes

    def _undo(self, error: BaseException, *, nested: bool, shared: bool) -> None:
        """Roll back; close where that cannot be, so that nothing can be written half."""
        try:
            if not nested:
                self._lost = None
                self._roll_back()
            elif self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO nested")
                if not shared:
                    self.connection.execute("RELEASE nested")
            else:
                # Some errors, such as a full disk, end the whole transaction. Whoever goes on in
                # the outer one all the same must not have that kept piece by piece.
                self.connection.execute("BEGIN")
                self._lost = error
        except sqlite3.Error:
            self.close()

    def _roll_back(self) -> None:
        if self.connection.in_transaction:  # some errors end it by themselves
            self.connection.execute("ROLLBACK")

    def _begun(self, steps: tuple[Migration, ...], *, fresh: bool) -> "Database":
        """Make the database ready for use, or close it."""
        self._steps = steps
        try:
            self._expect(fresh=fresh)
            self._prepare(steps)
        except BaseException:
            self.close()
            raise
        return self

    def _expect(self, *, fresh: bool) -> None:
        """Check whether anything was made here; a file without tables is an interrupted start."""
        with self._faults():
            empty = schema.is_empty(self.connection)
        if fresh and not empty:
            raise UsageError(ErrorCode.EXISTS, f"{self.path} exists")
        if empty and not fresh:
            raise StoreError(ErrorCode.STORE_MISSING, f"{self.path} is empty", path=str(self.path))

    def _prepare(self, steps: tuple[Migration, ...]) -> None:
        """Set what needs a database that is one, and bring the schema up to date."""
        with self._faults():
            if schema.is_empty(self.connection):  # later it has no effect
                self.connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            (mode,) = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreError(
                    ErrorCode.STORE_IO, f"the file system of {self.path} cannot share memory"
                )
            self.connection.execute("PRAGMA synchronous = FULL")
            empty = schema.is_empty(self.connection)
            if not empty and schema.applied(self.connection, steps) == len(steps):
                return
        with self.transaction() as connection:
            # Somebody else may have been faster.
            done = 0 if schema.is_empty(connection) else schema.applied(connection, steps)
            if 0 < done < len(steps):
                self._copy(done)
            schema.apply(connection, steps)

    def _copy(self, number: int) -> None:
        """Keep a copy of the database as it was with schema `number`."""
        target = self.path.with_name(f"{self.path.name}.before-{number + 1:04}")
        partial = target.with_name(f"{target.name}.partial")
        with files.io_faults(partial):
            partial.unlink(missing_ok=True)
        files.make_file(partial)
        # A connection that writes cannot be copied from; nobody else can write meanwhile.
        source = self._connect(self.path)
        copy = sqlite3.connect(partial, isolation_level=None)
        try:
            copy.execute("PRAGMA journal_mode = DELETE")
            source.connection.backup(copy)
        finally:
            copy.close()
            source.close()
        with files.io_faults(target):
            partial.replace(target)
            files.sync_folder(target.parent)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into those of stores; this is the one place that does."""
    try:
        yield
    except sqlite3.Error as error:
        fault = _fault_of(path, error)
        if fault is None:
            raise
        raise fault from error


def _fault_of(path: Path, error: sqlite3.Error) -> StoreError | None:
    """Return what an error means; None for misuse of the module, which is no fault of the file."""
    number = getattr(error, "sqlite_errorcode", None)
    if number is None and not isinstance(error, sqlite3.OperationalError):
        return None
    # Text that is none has no number.
    return _fault(path, error, sqlite3.SQLITE_CORRUPT if number is None else number)


def _fault(path: Path, error: sqlite3.Error, number: int) -> StoreError:
    code = _CODES.get(number & 0xFF, ErrorCode.STORE_IO)
    name = getattr(error, "sqlite_errorname", "")
    match code:
        case ErrorCode.STORE_BUSY:
            return StoreError(code, f"somebody else is writing to {path}")
        case ErrorCode.STORE_FULL:
            return StoreError(code, f"no space left for {path}")
        case ErrorCode.STORE_CORRUPT:
            return StoreError(code, f"{path} is damaged: {str(error).lower()}", sqlite=name)
        case _:
            return _io_fault(path, name)


def _io_fault(path: Path, name: str) -> StoreError:
    """Tell what stands behind a failed read or write, where that can be told."""
    folder = path.parent
    try:
        full = statvfs(folder).f_bavail == 0
    except OSError:
        full = False
    if full:
        return StoreError(ErrorCode.STORE_FULL, f"no space left for {path}", sqlite=name)
    if not access(folder, W_OK):
        return StoreError(ErrorCode.STORE_IO, f"the folder {folder} is read-only", sqlite=name)
    if not access(path, W_OK):
        return StoreError(ErrorCode.STORE_IO, f"{path} is read-only", sqlite=name)
    return StoreError(ErrorCode.STORE_IO, f"{path} cannot be read or written", sqlite=name)


def _beside(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside a database."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")
