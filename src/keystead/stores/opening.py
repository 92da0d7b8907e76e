"""Where events are kept, by its location: a path is a SQLite file, a URL a PostgreSQL database."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from keystead.errors import ErrorCode, StoreError, UsageError
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.stores import files, schema
from keystead.stores.database import Database
from keystead.stores.table_store import TableStore
from keystead.stores.tables import TableDatabase

LOCATION: Final = "database"  # file in the home of a service that names another database
_LOCK: Final = "lock"
_POSTGRES: Final = ("postgresql://", "postgres://")


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


def location_of(home: Path, file: str) -> str:
    """Return where the database of a service is.

    Args:
        home: its folder.
        file: name of the database there, if none is named.

    Raises:
        StoreError: the name cannot be read (store.io), or others can read it (store.permissions).
    """
    named = home / LOCATION
    with files.io_faults(named):
        return named.read_text("utf-8").strip() if files.check_file(named) else str(home / file)


def name_location(home: Path, location: str) -> None:
    """Write where the database of a service is; an empty location: in its folder.

    Raises:
        UsageError: it is no URL of PostgreSQL (usage.argument).
        StoreError: store.full, store.io.
    """
    if location and not location.startswith(_POSTGRES):
        what = "a database other than a file is named by postgresql://ROLE@HOST/DATABASE"
        raise UsageError(ErrorCode.ARGUMENT, what)
    named, partial = home / LOCATION, home / f"{LOCATION}.new"
    with files.io_faults(named):
        named.unlink(missing_ok=True)
        if location:
            files.make_file(partial)
            with partial.open("w", encoding="utf-8") as file:
                file.write(f"{location}\n")
                file.flush()
                os.fsync(file.fileno())
            partial.rename(named)
        files.sync_folder(home)


@contextmanager
def alone(home: Path, service: str, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from serving what is in a folder.

    Args:
        home: the folder.
        service: what is served, such as witness.
        shared: keep off only those that want it for themselves, if its database is made for
            several.

    Raises:
        StoreError: one does (store.busy), or the folder cannot be used.
    """
    files.check_folder(home)
    path = home / _LOCK
    with files.io_faults(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            several = shared and (home / LOCATION).exists()
            fcntl.flock(descriptor, (fcntl.LOCK_SH if several else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"another process serves the {service} in {home}"
            raise StoreError(ErrorCode.STORE_BUSY, what, hint="stop it first") from None
        yield
    finally:
        os.close(descriptor)
