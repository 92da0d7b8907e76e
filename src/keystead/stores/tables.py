"""What tables ask of the database that they are in: SQLite's way, which PostgreSQL follows.

Queries are in SQL that both understand, with a question mark for each value.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from keystead.stores.remembered import Remembered

T = TypeVar("T")
Given = ParamSpec("Given")


class TableResult(Protocol):
    """What a query gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row of any columns
        """Return the next row, None behind the last."""

    def fetchall(self) -> list[Any]:
        """Return the rest of the rows."""

    def __iter__(self) -> Iterator[Any]:
        """Give the rows."""


class TableConnection(Protocol):
    """Where queries go inside a transaction."""

    def execute(self, query: str, values: Any = ..., /) -> TableResult:  # noqa: ANN401 - values of any columns
        """Run one query."""

    def executemany(self, query: str, rows: Iterable[Any], /) -> object:
        """Run one query for each row of values."""


class TableDatabase(Protocol):
    """A database: `database.Database` or `postgres.PostgresDatabase`."""

    def transaction(self) -> AbstractContextManager[TableConnection]:
        """Keep all that is done inside, durably, or nothing; a nested one is part of the outer."""

    def snapshot(self) -> AbstractContextManager[TableConnection]:
        """Read: all that is read inside is of one moment."""

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a transaction; it may be done again when others were in the way."""

    def writing(self) -> TableConnection:
        """Return the connection of the transaction that is open."""

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return the rows that one query gives, of one moment."""

    @property
    def remembered(self) -> Remembered:
        """What tables remember of what they have read; nothing once that may not hold any more."""

    def next_number(self, table: str, column: str) -> int:
        """Return a number for a new row, larger than those of the rows before."""

    def damage(self) -> Iterator[tuple[str, str]]:
        """Give what is wrong with the database itself: where, and what."""

    def give_back(self) -> bool:
        """Give a part of the room that was freed back to the system; tell whether there is more."""

    def close(self) -> None:
        """Close it; what was not committed is gone."""


class InDatabase(Protocol):
    """Who has a database."""

    database: TableDatabase


Owner = TypeVar("Owner", bound=InDatabase)


def again(
    method: Callable[Concatenate[Owner, Given], T],
) -> Callable[Concatenate[Owner, Given], T]:
    """Have a method write in a transaction, which is made again when others were in the way."""

    @wraps(method)
    def written(one: Owner, /, *given: Given.args, **named: Given.kwargs) -> T:
        return one.database.run(lambda: method(one, *given, **named))

    return written
