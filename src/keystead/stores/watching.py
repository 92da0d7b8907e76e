"""The store of a watcher: logs, who serves them, and what there is to tell, in one database."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from keystead.cesr.keys import Aid, Digest, Said
from keystead.keri.attachments import Proofs
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.ports.watching import Bundle, News, Notice, Source, SourceView, Webhook
from keystead.stores import rows
from keystead.stores.opening import location_of, open_database
from keystead.stores.rows import Row
from keystead.stores.table_store import TableStore
from keystead.stores.tables import TableConnection, TableDatabase, again

T = TypeVar("T")
FILE: Final = "watcher.db"
KIND: Final = "watcher"
# Notices that are kept: who was away longer learns that some are missing. About 5 MB.
NOTICES: Final = 10_000
_VIEW: Final = (
    "SELECT s.aid, url, eid, kind, asked_at, confirmed_at, sn, said, furthest_sn, furthest_said,"
    " failures, problem FROM watched_source s JOIN watched w ON w.aid = s.aid"
)
_CHANGED: Final = "UPDATE following SET changes = changes + 1"
_BUNDLE: Final = "SELECT aid, said, observed_at, sources, proofs, data, checksum FROM bundle"


class DatabaseWatch:
    """A `WatchStore` in a database, which several processes can have open."""

    def __init__(
        self, database: TableDatabase, limits: Limits = DEFAULT_LIMITS, *, notices: int = NOTICES
    ) -> None:
        """Use an open database; see `create` and `open`."""
        self.database = database
        self.events = TableStore(database, limits)
        self._most = notices

    @classmethod
    def create(cls, home: Path) -> "DatabaseWatch":
        """Make the store of a new watcher; errors as `open_database`."""
        return cls(open_database(location_of(home, FILE), kind=KIND, create=True))

    @classmethod
    def open(cls, home: Path, limits: Limits = DEFAULT_LIMITS) -> "DatabaseWatch":
        """Open the store of a watcher; errors as `open_database`."""
        return cls(open_database(location_of(home, FILE), kind=KIND), limits)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a transaction; it may be done again when others were in the way."""
        return self.database.run(work)

    def snapshot(self) -> AbstractContextManager[TableConnection]:
        """Read: all that is read inside is of one moment."""
        return self.database.snapshot()

    def version(self) -> int:
        """Return what is another value after anybody has changed what is followed."""
        ((changes,),) = self.database.rows("SELECT changes FROM following")
        return int(changes)

    def watched(self) -> Sequence[Aid]:
        """Return whose logs are followed, in the order in which they came."""
        found = self.database.rows("SELECT aid FROM watched ORDER BY number")
        return [Aid(aid) for (aid,) in found]

    def is_watched(self, aid: Aid) -> bool:
        """Tell whether a log is followed."""
        return bool(self.database.rows("SELECT 1 FROM watched WHERE aid = ?", aid))

    @again
    def watch(self, aid: Aid, sources: Sequence[Source], at: datetime) -> None:
        """Follow a log at some more sources; what is known of one that was there stays."""
        connection = self.database.writing()
        connection.execute(
            "INSERT INTO watched SELECT ?, coalesce(max(number), 0) + 1, ? FROM watched"
            " WHERE true ON CONFLICT (aid) DO NOTHING",
            (aid, rows.to_microseconds(at)),
        )
        connection.executemany(
            "INSERT INTO watched_source (aid, url, eid, kind, failures, problem)"
            " VALUES (?, ?, ?, ?, 0, '')"
            " ON CONFLICT (aid, url) DO UPDATE SET eid = excluded.eid, kind = excluded.kind",
            [(aid, one.url, one.eid, one.kind) for one in sources],
        )
        connection.execute(_CHANGED)

    @again
    def unwatch(self, aid: Aid, url: str | None = None) -> bool:
        """Follow a log no longer, or not at one URL; tell whether it was. Its events stay."""
        query = "DELETE FROM watched WHERE aid = ?"
        values: tuple[str, ...] = (aid,)
        if url is not None:
            query, values = "DELETE FROM watched_source WHERE aid = ? AND url = ?", (aid, url)
        connection = self.database.writing()
        connection.execute(_CHANGED)
        return connection.execute(query, values).rowcount > 0

    def views(self, aid: Aid) -> Sequence[SourceView]:
        """Return what is known of the sources of a log."""
        found = self.database.rows(f"{_VIEW} WHERE s.aid = ? ORDER BY url", aid)
        return [_to_view(row) for row in found]

    def all_views(self) -> Iterator[tuple[Aid, SourceView]]:
        """Give what is known of all sources."""
        for row in self.database.rows(f"{_VIEW} ORDER BY w.number, url"):
            yield Aid(row[0]), _to_view(row)

    @again
    def put_view(self, aid: Aid, view: SourceView) -> None:
        """Write what is known of a source that is followed still; otherwise nothing."""
        row = (
            _time(view.asked_at), _time(view.confirmed_at), view.sn, view.said, view.furthest_sn,
            view.furthest_said, view.failures, view.problem, aid, view.source.url,
        )  # fmt: skip
        connection = self.database.writing()
        connection.execute(
            "UPDATE watched_source SET asked_at = ?, confirmed_at = ?, sn = ?, said = ?,"
            " furthest_sn = ?, furthest_said = ?, failures = ?, problem = ?"
            " WHERE aid = ? AND url = ?",
            row,
        )

    @again
    def tell(self, news: News, at: datetime) -> Notice | None:
        """Keep something to tell; None if the same was told before. The oldest make room."""
        key = (news.aid, news.kind, news.same)
        connection = self.database.writing()
        query = "SELECT 1 FROM notice WHERE aid = ? AND kind = ? AND same = ?"
        if connection.execute(query, key).fetchone() is not None:
            return None
        # The next number, and not one of a sequence: who reads on behind a number must not miss a
        # lower one that another process keeps later. Of two that take the same one begins again.
        number = self.last_notice() + 1
        connection.execute(
            "INSERT INTO notice (number, aid, kind, same, at, data) VALUES (?, ?, ?, ?, ?, ?)",
            (number, *key, rows.to_microseconds(at), rows.to_json(news.data)),
        )
        connection.execute("DELETE FROM notice WHERE number <= ?", (number - self._most,))
        return Notice(number, news.aid, news.kind, at, news.data)

    def notices(self, after: int, most: int, aid: Aid | None = None) -> Sequence[Notice]:
        """Return what happened after a number, about one identifier or all, oldest first."""
        query = "SELECT number, aid, kind, at, data FROM notice WHERE number > ?"
        values: list[object] = [after]
        if aid is not None:
            query, values = f"{query} AND aid = ?", [after, aid]
        found = self.database.rows(f"{query} ORDER BY number LIMIT ?", *values, most)
        with rows.reading("a notice"):
            return [
                Notice(number, Aid(about), kind, rows.from_microseconds(at), json.loads(data))
                for number, about, kind, at, data in found
            ]

    def last_notice(self) -> int:
        """Return the number of the latest notice that ever was, 0 before the first."""
        ((number,),) = self.database.rows("SELECT coalesce(max(number), 0) FROM notice")
        return int(number)  # the last one never makes room

    def first_notice(self) -> int:
        """Return the number of the oldest notice that is kept, 0 if there is none."""
        ((number,),) = self.database.rows("SELECT coalesce(min(number), 0) FROM notice")
        return int(number)

    @again
    def put_bundle(self, bundle: Bundle) -> None:
        """Keep a proof in place of an earlier one about the same version."""
        row = (
            bundle.aid, bundle.said, rows.to_microseconds(bundle.observed_at),
            rows.to_json(bundle.sources), rows.to_proofs(bundle.proofs), bundle.data,
        )  # fmt: skip
        connection = self.database.writing()
        connection.execute(
            "INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (aid, said)"
            " DO UPDATE SET observed_at = excluded.observed_at, sources = excluded.sources,"
            " proofs = excluded.proofs, data = excluded.data, checksum = excluded.checksum",
            (*row, rows.checksum(*row)),
        )

    def bundles(self, aid: Aid) -> Sequence[Bundle]:
        """Return the proofs of duplicity of an identifier, in the order of their observation."""
        found = self.database.rows(f"{_BUNDLE} WHERE aid = ? ORDER BY observed_at, said", aid)
        return [_to_bundle(row) for row in found]

    def webhooks(self) -> Sequence[Webhook]:
        """Return who is called."""
        query = "SELECT url, told, failures, problem FROM webhook ORDER BY url"
        return [Webhook(*row) for row in self.database.rows(query)]

    @again
    def put_webhook(self, webhook: Webhook) -> None:
        """Call somebody from now on, or write what became of calls."""
        connection = self.database.writing()
        connection.execute(
            "INSERT INTO webhook VALUES (?, ?, ?, ?) ON CONFLICT (url) DO UPDATE SET"
            " told = excluded.told, failures = excluded.failures, problem = excluded.problem",
            (webhook.url, webhook.told, webhook.failures, webhook.problem),
        )

    @again
    def remove_webhook(self, url: str) -> bool:
        """Call somebody no longer; tell whether he was."""
        connection = self.database.writing()
        return connection.execute("DELETE FROM webhook WHERE url = ?", (url,)).rowcount > 0


def _time(time: datetime | None) -> int | None:
    return None if time is None else rows.to_microseconds(time)


def _to_view(row: Row) -> SourceView:
    aid, url, eid, kind, asked, confirmed, sn, said, furthest_sn, furthest, failures, problem = row
    with rows.reading(f"a source of {aid}"):
        return SourceView(
            Source(url, Aid(eid), kind),
            None if asked is None else rows.from_microseconds(asked),
            None if confirmed is None else rows.from_microseconds(confirmed),
            sn,
            _said(said),
            furthest_sn,
            _said(furthest),
            failures,
            problem,
        )


def _said(text: str | None) -> Said | None:
    return None if text is None else Said(Digest(text))


def _to_bundle(row: Row) -> Bundle:
    aid, said, at, sources, proofs, data, stored = row
    with rows.reading(f"a proof of duplicity of {aid}"):
        rows.check_row(stored, *row[:-1])
        return Bundle(
            Aid(aid),
            Said(Digest(said)),
            rows.from_microseconds(at),
            tuple(json.loads(sources)),
            rows.from_proofs(proofs, Proofs),
            data,
        )
