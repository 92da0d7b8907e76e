"""The store in one SQLite file."""

from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.stores.database import Database
from keystead.stores.table_store import TableStore


class SqliteStore(TableStore):
    """An `EventStore` in one file: one writer at a time, whatever the identifier."""

    def __init__(self, database: Database, limits: Limits = DEFAULT_LIMITS) -> None:
        """Use an open database; who opened it closes it."""
        super().__init__(database, limits)
