"""A PostgreSQL database: transactions that are tried again, and connections that come back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import SystemRandom
from typing import Any, Final, TypeVar

import psycopg

from keystead.errors import ErrorCode, StoreError, UsageError
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.stores import postgres_session, schema
from keystead.stores.postgres_session import UNIQUE, Place, Session
from keystead.stores.remembered import Remembered
from keystead.stores.schema import Migration
from keystead.stores.table_store import TableStore

T = TypeVar("T")

DIALECT: Final = "postgres"
# Of transactions that are in each other's way one is kept, so 64 writers of one log end in 64
# rounds; the pauses make that fewer.
ATTEMPTS: Final = 40
RECONNECT_SECONDS: Final = 20.0  # a server that starts again, or a standby that is promoted
_FIRST_PAUSE: Final = 0.004
_LONGEST_PAUSE: Final = 0.5

_BEGIN: Final = "BEGIN ISOLATION LEVEL SERIALIZABLE"
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_TABLES: Final = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
)
_OWN_TABLE: Final = "CREATE TABLE migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum BYTEA NOT NULL)"


class PostgresDatabase:
    """A schema of a PostgreSQL database, which many processes can use at once.

    Transactions are serializable. Not safe for concurrent threads: each has its own.

    Attributes:
        name: for people.
    """

    def __init__(self, place: Place) -> None:
        """Stand for a database; use `create` or `open`."""
        self.name = place.name
        self._place = place
        self._session: Session | None = None
        self._steps: tuple[Migration, ...] = ()
        self._depth = 0  # of transactions
        self._reading = False
        self._ready = False  # the tables are there
        self._lost: StoreError | None = None  # why the transaction cannot be committed
        self._again: StoreError | None = None  # the last error behind which to try again

    @classmethod
    def create(
        cls, location: str, *, steps: tuple[Migration, ...] | None = None
    ) -> "PostgresDatabase":
        """Make the tables in an empty schema.

        Args:
            location: connection string or URL, without a password.
            steps: the tables, if not only those of events.

        Raises:
            UsageError: they are there (usage.exists), or usage.argument.
            StoreError: as `open`.
        """
        return cls._begun(location, steps, fresh=True)

    @classmethod
    def open(
        cls, location: str, *, steps: tuple[Migration, ...] | None = None
    ) -> "PostgresDatabase":
        """Open a database; one with older tables is brought up to date.

        Args:
            location: connection string or URL, without a password.
            steps: the tables, if not only those of events.

        Raises:
            UsageError: the location is none, or has a password in it (usage.argument).
            StoreError: there are no tables (store.missing), a newer version made them
                (store.schema), they are not those of this program or damaged (store.corrupt), the
                role may not use them (store.permissions), or the server cannot be reached or may
                lose what it acknowledged (store.io).
        """
        return cls._begun(location, steps, fresh=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Write: all that is done inside is kept at the end, or nothing when an error leaves it.

        Inside another transaction it is part of that one; only what it did itself is undone when
        an error leaves it and stops before the outer one.

        Raises:
            StoreError: others were in the way (store.busy; see `run`), store.full, store.io,
                store.corrupt, store.permissions.
            RuntimeError: inside `snapshot`, which may be too old to build on.
        """
        if self._reading:
            raise RuntimeError("a transaction cannot begin inside a snapshot")
        nested = self._depth > 0
        if nested:
            session = self._sent(self._usable(), "SAVEPOINT nested")
        else:
            session = self._patiently(lambda: self._sent(self._connected(), _BEGIN))
        self._depth += 1
        try:
            with self._faults(session):
                yield session
                self._usable()
                if nested:
                    session.execute("RELEASE nested")
                else:
                    session.commit()
        except BaseException:
            self._undo(session, nested=nested)
            raise
        finally:
            self._depth -= 1

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Read: all that is read inside is of one moment. Inside a transaction: that of it.

        Raises:
            StoreError: store.busy, store.io, store.corrupt, store.permissions.
        """
        if self._depth or self._reading:
            yield self._usable()
            return
        session = self._patiently(lambda: self._sent(self._connected(), _READ))
        self._reading = True
        try:
            with self._faults(session):
                yield session
        finally:
            self._reading = False
            self._roll_back(session, "ROLLBACK")

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a transaction, again when others were in the way or the server was gone.

        Where a connection ends during a commit, nobody knows whether it was done. So `work` must
        look whether what it wants is done already, as every decision does.

        Raises:
            StoreError: as `transaction`, after many attempts.
        """
        if self._depth:
            return self._once(work)
        return self._patiently(lambda: self._once(work))

    def writing(self) -> Session:
        """Return the connection of the transaction that is open.

        Raises:
            RuntimeError: none is.
            StoreError: it cannot go on.
        """
        if not self._depth:
            raise RuntimeError("tables are written to inside a transaction")
        return self._usable()

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return the rows that one query gives, of one moment.

        Raises:
            StoreError: as `snapshot`.
        """
        if self._depth or self._reading:
            return self._fetch(self._usable(), query, values)
        return self._patiently(lambda: self._fetch(self._connected(), query, values))

    @property
    def remembered(self) -> Remembered:
        """Nothing: any other process may write between two transactions, and nobody tells."""
        return Remembered()

    def next_number(self, table: str, column: str) -> int:
        """Return a number for a new row; taking one holds up nobody, and some are left out."""
        ((number,),) = self.rows(f"SELECT nextval('{table}_{column}')")
        return int(number)

    def damage(self) -> Iterator[tuple[str, str]]:
        """Give what is wrong with the tables themselves: where, and what.

        Raises:
            StoreError: as `rows`.
        """
        wanted = [(step.number, step.name, step.checksum) for step in self._steps]
        if self.rows("SELECT number, name, checksum FROM migration ORDER BY number") != wanted:
            yield "table migration", "not the steps of this version"

    def give_back(self) -> bool:
        """Do nothing: the server does that by itself."""
        return False

    def close(self) -> None:
        """Disconnect; what was not committed is gone."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @classmethod
    def _begun(
        cls, location: str, steps: tuple[Migration, ...] | None, *, fresh: bool
    ) -> "PostgresDatabase":
        database = cls(postgres_session.read_location(location))
        database._steps = schema.shipped(dialect=DIALECT) if steps is None else steps
        try:
            database.run(lambda: database._prepare(fresh=fresh))
            database._ready = True
            database._cross(database._connected())
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, *, fresh: bool) -> None:
        """Bring the tables up to date."""
        connection = self.writing()
        names = {name for (name,) in connection.execute(_TABLES)}
        made = "migration" in names
        if made and fresh:
            raise UsageError(ErrorCode.EXISTS, f"{self.name} has the tables already")
        if not names and not fresh:
            raise StoreError(
                ErrorCode.STORE_MISSING,
                f"{self.name} is empty",
                hint="check the location, or make the tables first: see docs/postgresql.md",
            )
        if names and not made:
            raise StoreError(ErrorCode.STORE_CORRUPT, f"{self.name} is not one of this program")
        if not made:
            connection.execute(_OWN_TABLE)
        done = schema.compare(connection.execute(schema.DONE).fetchall(), self._steps)
        for step in self._steps[done:]:
            for statement in step.statements():
                connection.execute(statement)
            row = (step.number, step.name, step.checksum)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", row)

    def _once(self, work: Callable[[], T]) -> T:
        with self.transaction():
            return work()

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Return what an attempt gives, until there is no hope."""
        patience = _Patience()
        while True:
            try:
                return attempt()
            except StoreError as error:
                again, self._again = self._again, None
                if error is not again:
                    raise
                if not patience.goes_on(lost=error.code is ErrorCode.STORE_IO):
                    if error.fields.get("sqlstate") == UNIQUE:
                        what = f"{self.name} is damaged: a key is taken, and nobody has it"
                        raise StoreError(ErrorCode.STORE_CORRUPT, what) from error
                    raise
            patience.pause()

    def _fetch(self, session: Session, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._faults(session):
            return session.execute(query, values).fetchall()

    def _sent(self, session: Session, command: str) -> Session:
        with self._faults(session):
            session.execute(command)
        return session

    def _usable(self) -> Session:
        """Return the connection of the transaction or snapshot that is open."""
        if self._lost is not None:
            raise self._lost
        if self._session is None:
            raise RuntimeError("the database is closed")
        return self._session

    def _connected(self) -> Session:
        """Return a connection that nothing goes on in."""
        if self._session is None or self._session.lost:
            try:
                self._session = Session(self._place)
            except psycopg.Error as error:
                fault = postgres_session.refused(self._place, error)
                if self._ready:
                    self._again = fault
                raise fault from error
            if self._ready:
                self._cross(self._session)
        return self._session

    def _cross(self, session: Session) -> None:
        """Make sure that all that can be seen from here on is kept wherever it must be.

        A server that crashed while it waited for its standby shows what it never acknowledged.
        Whoever found that and took it for kept could lose it with the server. The standby keeps
        things in order, so what is written now arrives behind all that.
        """
        try:
            with self._faults(session):
                session.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                session.execute("UPDATE barrier SET crossed = crossed + 1")
                session.commit()
        except BaseException:
            session.close()
            raise

    def _undo(self, session: Session, *, nested: bool) -> None:
        """Roll back; disconnect where that cannot be, so that nothing can be written half."""
        if not nested:
            self._lost = None
            self._roll_back(session, "ROLLBACK")
        elif self._lost is None:
            self._roll_back(session, "ROLLBACK TO nested")
            self._roll_back(session, "RELEASE nested")

    def _roll_back(self, session: Session, command: str) -> None:
        try:
            if not session.lost:
                session.execute(command)
        except psycopg.Error:
            session.close()

    @contextmanager
    def _faults(self, session: Session) -> Iterator[None]:
        """Turn errors of the server into those of stores."""
        try:
            yield
        except psycopg.Error as error:
            fault = postgres_session.read_fault(self._place, error, lost=session.lost)
            if fault.lost:
                session.close()
            if fault.lost or fault.conflict:
                self._again = fault.error
                if self._depth:
                    self._lost = fault.error
            raise fault.error from error


class _Patience:
    """How often and how long something is tried."""

    def __init__(self) -> None:
        self._attempts = 0
        self._lost_since: float | None = None
        self._random = SystemRandom()

    def goes_on(self, *, lost: bool) -> bool:
        """Tell whether to try again after one more failure."""
        if not lost:
            self._attempts += 1
            return self._attempts < ATTEMPTS
        now = time.monotonic()
        if self._lost_since is None:
            self._lost_since = now
        return now - self._lost_since < RECONNECT_SECONDS

    def pause(self) -> None:
        """Wait a while; not all who failed come back at once."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._attempts)
        if self._lost_since is not None:
            longest = _LONGEST_PAUSE
        time.sleep(self._random.uniform(0, longest))


class PostgresStore(TableStore):
    """An `EventStore` in PostgreSQL: many writers at once, and serializable decisions."""

    def __init__(self, database: PostgresDatabase, limits: Limits = DEFAULT_LIMITS) -> None:
        """Use an open database; who opened it closes it."""
        super().__init__(database, limits)
