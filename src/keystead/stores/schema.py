"""The schema of the database, as numbered files of plain SQL that only ever grow in number."""

import sqlite3
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files

import msgspec

from keystead.errors import ErrorCode, StoreError

# "KEYS": tells a database of this program from any other.
APPLICATION = 0x4B455953

_OWN_TABLE = """
CREATE TABLE migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum BLOB NOT NULL
) STRICT
"""

DONE = "SELECT number, checksum FROM migration ORDER BY number"


class Migration(msgspec.Struct, frozen=True, gc=False):
    """One step of the schema.

    Attributes:
        number: counts the steps of all kinds of databases from 1, without gaps.
        name: name of the file, without number and ending.
        sql: statements.
    """

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> bytes:
        """SHA-256 of the statements."""
        return sha256(self.sql.encode()).digest()

    def statements(self) -> Iterator[str]:
        """Give the statements one by one; `executescript` would end the transaction."""
        text = ""
        *parts, last = self.sql.split(";")
        for part in parts:
            text += f"{part};"
            if sqlite3.complete_statement(text):
                yield text
                text = ""
        if (text + last).strip():
            yield text + last  # a comment


@cache
def shipped(kind: str = "wallet", dialect: str = "") -> tuple[Migration, ...]:
    """Return the steps that come with this version, in order.

    Args:
        kind: whose database it is. Everybody keeps events; what else there is has the name of
            its owner, and nobody has the tables of another.
        dialect: "postgres", or that of SQLite. Steps of one number make the same tables.
    """
    found = []
    folder = files("keystead.stores") / "migrations"
    for file in (folder / dialect if dialect else folder).iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if name in ("events", kind):
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda one: one.number))


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing was ever made in a database."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def applied(connection: sqlite3.Connection, steps: tuple[Migration, ...]) -> int:
    """Return how many steps a database has.

    Raises:
        StoreError: it is another program's, or a step was changed (store.corrupt), or it has steps
            that are not known here (store.schema).
    """
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
        raise StoreError(ErrorCode.STORE_CORRUPT, "the database is not one of this program")
    return compare(connection.execute(DONE).fetchall(), steps)


def compare(done: list[tuple[int, bytes]], steps: tuple[Migration, ...]) -> int:
    """Return how many steps were done, of which there are numbers and checksums.

    Raises:
        StoreError: as `applied`.
    """
    if len(done) > len(steps):
        raise StoreError(
            ErrorCode.STORE_SCHEMA,
            f"the database has schema {done[-1][0]}, and this version knows {len(steps)}",
        )
    for (number, checksum), step in zip(done, steps, strict=False):
        if (number, checksum) != (step.number, step.checksum):
            raise StoreError(
                ErrorCode.STORE_CORRUPT, f"schema {number} of the database is not the known one"
            )
    return len(done)


def apply(connection: sqlite3.Connection, steps: tuple[Migration, ...]) -> None:
    """Bring a database up to the last step; the caller's transaction keeps all or nothing.

    Raises:
        StoreError: as `applied`.
    """
    if is_empty(connection):
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(_OWN_TABLE)
    for step in steps[applied(connection, steps) :]:
        for statement in step.statements():
            connection.execute(statement)
        connection.execute(
            "INSERT INTO migration VALUES (?, ?, ?)", (step.number, step.name, step.checksum)
        )
