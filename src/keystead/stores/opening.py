"""Where events are kept, by its location: a path is a SQLite file, a URL a PostgreSQL database."""

from pathlib import Path

from keystead.errors import ErrorCode, UsageError
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.stores import schema
from keystead.stores.database import Database
from keystead.stores.table_store import TableStore
from keystead.stores.tables import TableDatabase

_POSTGRES = ("postgresql://", "postgres://")


def open_database(location: str, *, kind: str = "events", create: bool = False) -> TableDatabase:
    """Open a database, or make one.

    Args:
        location: path of a file, or `postgresql://` URL. It has no secret in it.
        kind: whose tables there are beside those of events; see `schema.shipped`.
        create: there must be none, and it is made.

    Raises:
        UsageError: there is one (usage.exists); it is a URL, but of no use, or the parts of
            Keystead for it are not installed (usage.argument).
        StoreError: as `Database.open` and `PostgresDatabase.open`.
    """
    if not location.startswith(_POSTGRES):
        make = Database.create if create else Database.open
        return make(Path(location), steps=schema.shipped(kind))
    try:
        from keystead.stores import postgres  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the driver of PostgreSQL is not installed",
            hint="install it with: pip install 'keystead[postgres]'",
        ) from error
    steps = schema.shipped(kind, postgres.DIALECT)
    if create:
        return postgres.PostgresDatabase.create(location, steps=steps)
    return postgres.PostgresDatabase.open(location, steps=steps)


def open_store(
    location: str, *, create: bool = False, limits: Limits = DEFAULT_LIMITS
) -> TableStore:
    """Open a store of events, or make one; its `database` is to be closed.

    Raises:
        UsageError, StoreError: as `open_database`.
    """
    return TableStore(open_database(location, create=create), limits)
