"""The tables of what waits: the rules of `escrow.Escrow`, kept in a database."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, StoreError
from keystead.keri.escrow import Held, HeldKey, MissingKey
from keystead.limits import Limits
from keystead.stores import rows
from keystead.stores.rows import HELD_COLUMNS, Row
from keystead.stores.tables import TableDatabase

# What all shares take together is kept under this name.
ALL: Final = ""
_ENTRIES: Final = 1 << 62  # more than there can be
_FIND: Final = f"SELECT {HELD_COLUMNS} FROM held"  # noqa: S608 - names of columns
_LARGEST: Final = (
    "SELECT log, message FROM held_share WHERE log != '' AND (entries > ? OR size > ?)"
    " ORDER BY CASE WHEN entries * ? > size * ? THEN entries * ? ELSE size * ? END DESC, large"
    " LIMIT 1"
)
_FIRST: Final = (
    "SELECT arrived FROM held WHERE log = ? AND message = ? ORDER BY verified, placed LIMIT 1"
)
_SHARE: Final = (
    "INSERT INTO held_share VALUES (?, ?, ?, ?, ?) ON CONFLICT (log, message) DO UPDATE"
    " SET entries = excluded.entries, size = excluded.size, large = excluded.large"
)


class WaitingTables:
    """What waits, in a database; bounded as `Escrow` is."""

    def __init__(self, database: TableDatabase, limits: Limits) -> None:
        """Use an open database."""
        self._database = database
        self._limits = limits
        part = limits.held_total * limits.held_bytes // limits.held_logs
        # Entries and bytes that a log may take before it makes room.
        self._parts = (part // limits.held_bytes, part // limits.held_total)

    @property
    def empty(self) -> bool:
        """Nothing waits."""
        remembered = self._database.remembered
        known: bool | None = remembered.get("nothing waits")
        if known is None:
            known = self._share(ALL, 0)[0] == 0
            remembered.put("nothing waits", known)
        return known

    def held(self, keys: Iterable[HeldKey]) -> tuple[Held, ...]:
        """Return the entries with these keys, as far as there are any."""
        found = []
        with self._database.snapshot():
            for key in keys:
                where = "WHERE log = ? AND key = ?"
                found += self._find(where, rows.log_of(key), rows.to_json(key))
        return tuple(found)

    def waiting(self) -> Iterator[Held]:
        """Give everything, oldest first."""
        yield from self._find("ORDER BY arrived")

    def due(self, before: datetime, most: int | None = None) -> Iterator[Held]:
        """Give what is there since before a time, up to a number, in the order of arrival."""
        values = (rows.to_microseconds(before), _ENTRIES if most is None else most)
        yield from self._find("WHERE since < ? ORDER BY arrived LIMIT ?", *values)

    def waiting_for(self, arrived: tuple[MissingKey, ...]) -> tuple[Held, ...]:
        """Return the entries that wait for any of these, oldest first."""
        query = "SELECT arrived FROM held_missing WHERE aid = ? AND missing = ?"
        found = {
            number
            for missing in arrived
            for (number,) in self._database.rows(query, missing[1], rows.to_json(missing))
        }
        return tuple([self._at(number) for number in sorted(found)])

    def put(self, *entries: Held) -> tuple[tuple[Held, StoreError], ...]:
        """Add or replace entries; return what had to go for them."""
        evicted: list[tuple[Held, StoreError]] = []
        for held in entries:
            self._put(held)
            evicted += self._make_room(*rows.share_of(held.waiting))
        return tuple(evicted)

    def remove(self, key: HeldKey) -> None:
        """Drop an entry, if it is there."""
        query = "SELECT arrived FROM held WHERE log = ? AND key = ?"
        for (arrived,) in self._database.rows(query, rows.log_of(key), rows.to_json(key)):
            self._delete(arrived)

    def _find(self, where: str, *values: object) -> list[Held]:
        return [rows.to_held(row) for row in self._database.rows(f"{_FIND} {where}", *values)]

    def _at(self, arrived: int) -> Held:
        (held,) = self._find("WHERE arrived = ?", arrived)
        return held

    def _put(self, held: Held) -> None:
        log, message = rows.share_of(held.waiting)
        row = rows.from_held(held)
        key, size, verified = row[0], held.size, row[9]
        query = "SELECT arrived, size, verified, placed FROM held WHERE log = ? AND key = ?"
        old: list[Row] = self._database.rows(query, log, key)
        arrived, old_size, was_verified, placed = old[0] if old else (None, 0, None, 0)
        if verified != was_verified:
            placed = self._next_place(log, message, verified)
        connection = self._database.writing()
        if old:
            connection.execute("DELETE FROM held WHERE arrived = ?", (arrived,))
        else:
            arrived = self._database.next_number("held", "arrived")
        columns = f"arrived, log, message, placed, {HELD_COLUMNS}"
        marks = ", ".join("?" * (4 + len(row)))
        connection.execute(
            f"INSERT INTO held ({columns}) VALUES ({marks})",  # noqa: S608 - names of columns
            (arrived, log, message, placed, *row),
        )
        connection.executemany(
            "INSERT INTO held_missing VALUES (?, ?, ?)",
            {(one.aid, rows.to_json(one.key), arrived) for one in held.missing},
        )
        self._weigh(log, message, 0 if old else 1, size - old_size)

    def _next_place(self, log: Aid, message: int, verified: int) -> int:
        query = "SELECT max(placed) FROM held WHERE log = ? AND message = ? AND verified = ?"
        ((last,),) = self._database.rows(query, log, message, verified)
        return (last or 0) + 1

    def _delete(self, arrived: int) -> None:
        query = "SELECT log, message, size FROM held WHERE arrived = ?"
        ((log, message, size),) = self._database.rows(query, arrived)
        self._database.writing().execute("DELETE FROM held WHERE arrived = ?", (arrived,))
        self._weigh(log, message, -1, -size)

    def _weigh(self, log: str, message: int, entries: int, size: int) -> None:
        """Change what a share takes, and what all take."""
        connection = self._database.writing()
        self._database.remembered.put("nothing waits", None)
        for name, kind in ((log, message), (ALL, 0)):
            had, had_size, large = self._share(name, kind)
            now = (had + entries, had_size + size)
            if not now[0]:
                where = (name, kind)
                connection.execute("DELETE FROM held_share WHERE log = ? AND message = ?", where)
                continue
            large = self._large(large) if name != ALL and self._is_large(*now) else None
            connection.execute(_SHARE, (name, kind, *now, large))

    def _is_large(self, entries: int, size: int) -> bool:
        """Tell whether a share takes more than its part."""
        least, least_size = self._parts
        return entries > least or size > least_size

    def _large(self, known: int | None) -> int:
        """Return the number of a share in the order in which they became large."""
        if known is not None:
            return known
        ((last,),) = self._database.rows("SELECT max(large) FROM held_share")
        return (last or 0) + 1

    def _share(self, log: str, message: int) -> tuple[int, int, int | None]:
        """Return number and size of the entries of a share, and since when it is large."""
        query = "SELECT entries, size, large FROM held_share WHERE log = ? AND message = ?"
        found = self._database.rows(query, log, message)
        return found[0] if found else (0, 0, None)

    def _make_room(self, log: Aid, message: int) -> Iterator[tuple[Held, StoreError]]:
        limits = self._limits
        while not message and self._share(log, message)[0] > limits.held_events:
            why = f"more than {limits.held_events} wait for one log"
            yield self._evict(log, message, why)
        while True:
            entries, size, _ = self._share(ALL, 0)
            if entries <= limits.held_total and size <= limits.held_bytes:
                return
            yield self._evict(*self._to_evict(), "too much waits")

    def _to_evict(self) -> tuple[str, int]:
        """Return the largest share that takes more than its part, or that of the oldest entry."""
        limits = self._limits
        weights = (limits.held_bytes, limits.held_total)
        found = self._database.rows(_LARGEST, *self._parts, *weights, *weights)
        if not found:
            query = "SELECT log, message FROM held ORDER BY arrived LIMIT 1"
            found = self._database.rows(query)
        log, message = found[0]
        return log, message

    def _evict(self, log: str, message: int, why: str) -> tuple[Held, StoreError]:
        ((arrived,),) = self._database.rows(_FIRST, log, message)
        held = self._at(arrived)
        self._delete(arrived)
        return held, StoreError(ErrorCode.ESCROW_FULL, why)
