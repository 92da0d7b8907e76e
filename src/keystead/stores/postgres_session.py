"""One connection to a PostgreSQL server: where it leads, what it must promise, what errors mean."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import psycopg
from psycopg import conninfo, pq

from keystead.errors import ErrorCode, StoreError, UsageError

LOCK_SECONDS: Final = 5  # as long as SQLite waits for another writer
STATEMENT_SECONDS: Final = 30  # no query of this program takes a tenth of it
IDLE_SECONDS: Final = 60  # a process that hangs in a transaction must not hold up the others
CONNECT_SECONDS: Final = 5

_DEFAULTS: Final = {
    "application_name": "keystead",
    "client_encoding": "UTF8",
    "connect_timeout": str(CONNECT_SECONDS),
    "target_session_attrs": "read-write",  # of several hosts the one that takes writes
    # A server that is gone without a word is found out after half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_SETTINGS: Final = (
    ("lock_timeout", f"{LOCK_SECONDS}s"),
    ("statement_timeout", f"{STATEMENT_SECONDS}s"),
    ("idle_in_transaction_session_timeout", f"{IDLE_SECONDS}s"),
    # Each query is about a few rows that a key leads to. Left to itself the server would read the
    # whole of a small table, or of a log: what was read is what conflicts with other writers.
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
)
_PREPARE: Final = "SELECT " + ", ".join(["set_config(?, ?, false)"] * len(_SETTINGS))
_PROMISES: Final = (
    "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
    " current_setting('synchronous_commit'), current_setting('synchronous_standby_names')"
)
# A commit that waits for a standby is not given up: it would be seen by others, and be lost with
# this server.
_COMMIT: Final = b"SET LOCAL statement_timeout = 0; COMMIT"
_LONGEST_REASON: Final = 200

# Others were in the way: serialization failure, deadlock, a key that is taken, a table that is
# there already.
_CONFLICTS: Final = ("40001", "40P01", "23505", "42P07")
UNIQUE: Final = "23505"
# The connection is of no use any more: it is gone, the server stops or starts, it became a
# standby, or it does not know whether it has committed.
_LOST: Final = ("08", "57P", "25006", "25P03", "40003", "53300")
_CODES: Final = (
    ("53100", ErrorCode.STORE_FULL),
    ("55P03", ErrorCode.STORE_BUSY),
    ("57014", ErrorCode.STORE_BUSY),
    ("42501", ErrorCode.STORE_PERMISSIONS),
    ("23", ErrorCode.STORE_CORRUPT),
    ("42", ErrorCode.STORE_CORRUPT),  # a table is missing
    ("XX001", ErrorCode.STORE_CORRUPT),
    ("XX002", ErrorCode.STORE_CORRUPT),
)
_HINTS: Final = {
    ErrorCode.STORE_BUSY: "others write to the database; try again in a moment, nothing was kept",
    ErrorCode.STORE_FULL: "free space on the server and repeat it; nothing was lost",
    ErrorCode.STORE_IO: "check that the server runs and can be reached, and repeat it; nothing is done twice",
    ErrorCode.STORE_PERMISSIONS: "give the role the rights that docs/postgresql.md lists",
    ErrorCode.STORE_CORRUPT: "compare the tables with a backup; the server's log tells more",
}


class Place(msgspec.Struct, frozen=True):
    """Where a database is.

    Attributes:
        name: for people.
        settings: what libpq needs to know.
    """

    name: str
    settings: dict[str, str]


class Fault(msgspec.Struct, frozen=True):
    """What an error of the server means.

    Attributes:
        error: for the caller.
        conflict: others were in the way; the transaction as a whole may be done again.
        lost: the connection is of no use any more, and it may be unknown whether a commit was done.
    """

    error: StoreError
    conflict: bool = False
    lost: bool = False


def read_location(location: str) -> Place:
    """Read a connection string or URL; it has no secret, so it may be shown.

    Raises:
        UsageError: it is none, or has a password in it (usage.argument).
    """
    try:
        given = conninfo.conninfo_to_dict(location)
    except psycopg.Error:  # its text repeats the whole
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the location of the database is no connection string of PostgreSQL",
            hint="it looks like this: postgresql://ROLE@HOST:PORT/DATABASE",
        ) from None
    if not {"password", "sslpassword"}.isdisjoint(given):
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the location of the database has a password in it",
            hint="leave it out; put it into ~/.pgpass (mode 600) or PGPASSWORD",
        )
    settings = {**_DEFAULTS, **{name: str(value) for name, value in given.items()}}
    host = settings.get("host", "the local server")
    return Place(f"database {settings.get('dbname', '')} of {host}", settings)


class Session:
    """A connection whose server keeps what it acknowledges. Queries are written as for SQLite."""

    def __init__(self, place: Place) -> None:
        """Connect.

        Raises:
            psycopg.Error: it cannot be reached, or does not let us in.
            StoreError: it does not promise to keep what it acknowledges (store.io).
        """
        self._warnings: list[str] = []
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            conninfo.make_conninfo(**place.settings), autocommit=True
        )
        try:
            self._connection.add_notice_handler(self._noticed)
            self.execute(_PREPARE, [value for pair in _SETTINGS for value in pair])
            self._check_promises(place)
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> bool:
        """The connection is closed or broken."""
        return self._connection.closed

    def execute(self, query: str, values: Sequence[object] = (), /) -> psycopg.Cursor[Any]:
        """Run one query."""
        return self._connection.execute(_translated(query), values)

    def executemany(self, query: str, rows: Iterable[Sequence[object]], /) -> None:
        """Run one query for each row of values."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(query), list(rows))

    def commit(self) -> None:
        """End the transaction, and wait until it is kept wherever it must be.

        Raises:
            psycopg.Error: nothing was kept; or it is unknown, where the connection is lost.
        """
        self._warnings.clear()
        # Not by the cursor, which would ask the server to give up waiting when a signal comes.
        result = self._connection.pgconn.exec_(_COMMIT)
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
        if self._warnings or result.command_status != b"COMMIT":
            # It may be on this server alone, because somebody ended the wait for the standby.
            self.close()
            raise psycopg.OperationalError("the commit was not confirmed")

    def close(self) -> None:
        """Disconnect; what was not committed is gone."""
        self._connection.close()

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "")

    def _check_promises(self, place: Place) -> None:
        ((fsync, pages, commit, standbys),) = self.execute(_PROMISES).fetchall()
        weak = {"fsync": fsync, "full_page_writes": pages}
        found = [name for name, value in weak.items() if value == "off"]
        if commit == "off" or (commit == "local" and standbys):
            found.append("synchronous_commit")
        if found:
            raise StoreError(
                ErrorCode.STORE_IO,
                f"{place.name} may lose what it acknowledged: see its setting {found[0]}",
                hint="set fsync, full_page_writes and synchronous_commit to on",
            )


def read_fault(place: Place, error: psycopg.Error, *, lost: bool) -> Fault:
    """Tell what an error means; its own text is shown only where it cannot hold a payload.

    Args:
        place: where the database is.
        error: the error.
        lost: the connection is closed.
    """
    state = error.sqlstate or ""
    if state in _CONFLICTS:
        text = f"others are writing to {place.name}"
        return Fault(_made(ErrorCode.STORE_BUSY, text, state), conflict=True)
    if lost or state.startswith(_LOST):
        text = f"the connection to {place.name} was lost; what was being written may be kept or not"
        return Fault(_made(ErrorCode.STORE_IO, text, state), lost=True)
    code = next((code for start, code in _CODES if state.startswith(start)), ErrorCode.STORE_IO)
    match code:
        case ErrorCode.STORE_BUSY:
            text = f"{place.name} is busy"
        case ErrorCode.STORE_FULL:
            text = f"no space left for {place.name}"
        case ErrorCode.STORE_PERMISSIONS:
            text = f"the role may not do this in {place.name}"
        case ErrorCode.STORE_CORRUPT:
            text = f"{place.name} is damaged: {error.diag.table_name or state}"
        case _:
            text = f"{place.name} cannot be used"
    return Fault(_made(code, text, state))


def refused(place: Place, error: psycopg.Error) -> StoreError:
    """Return the error for a server that cannot be reached or does not let us in."""
    # What libpq tells of a failed connection names host, role and database.
    reason = str(error).strip().rpartition("\n")[2].lower()[:_LONGEST_REASON]
    return _made(ErrorCode.STORE_IO, f"cannot connect to {place.name}: {reason}", "")


def _made(code: ErrorCode, text: str, state: str) -> StoreError:
    return StoreError(code, text, hint=_HINTS[code], sqlstate=state)


@lru_cache(maxsize=1024)  # as many as there are numbers of marks in a list, twice
def _translated(query: str) -> bytes:
    """Write the marks of values as psycopg does."""
    return query.replace("%", "%%").replace("?", "%s").encode()
