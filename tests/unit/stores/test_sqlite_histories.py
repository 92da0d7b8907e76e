"""The stores in databases against the one in memory: any messages, any order, and restarts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.limits import Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.stores import fsck, replaying
from keystead.stores.database import Database
from keystead.stores.memory import MemoryStore
from keystead.stores.postgres import PostgresDatabase
from keystead.stores.table_store import TableStore
from keystead.stores.tables import TableDatabase
from support.histories import contents, feed, messages
from support.postgres import fresh_url

START = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = len(messages())
LIMITS = [
    Limits(),
    Limits(held_events=2, held_total=6, held_logs=3, evidence=1),
    Limits(held_bytes=20_000, held_logs=4, receipts=2),
]
RESTART, EXPIRE, UNDONE, REBUILD = "restart", "expire", "undone", "rebuild"

steps = st.lists(
    st.one_of(
        st.integers(0, COUNT - 1),
        st.integers(0, COUNT - 1),
        st.sampled_from([RESTART, EXPIRE, UNDONE, REBUILD]),
    ),
    max_size=60,
)
in_order = st.integers(0, COUNT).map(lambda count: list(range(count)))


class _Undone(Exception):  # noqa: N818 - what the test itself raises, no error
    pass


class Pair:
    """Both stores, which get the same."""

    def __init__(
        self, database: TableDatabase, reopen: Callable[[], TableDatabase], limits: Limits
    ) -> None:
        """Start empty."""
        self.limits = limits
        self.memory = MemoryStore(limits)
        self.database = database
        self.now = START
        self._reopen = reopen

    @property
    def stores(self) -> tuple[MemoryStore, TableStore]:
        """The two."""
        return self.memory, TableStore(self.database, self.limits)

    def restart(self) -> None:
        """Close the database and open it again."""
        self.database.close()
        self.database = self._reopen()

    def take(self, step: int | str) -> None:
        """Do one step with both, and compare what became of it."""
        self.now += timedelta(minutes=1)
        if step == RESTART:
            self.restart()
        elif step == REBUILD:
            replaying.rebuild(self.database)
        elif step == UNDONE:
            self._undo()
        else:
            first, second = (self._results(store, step) for store in self.stores)
            assert first == second

    def _results(self, store: MemoryStore | TableStore, step: int | str) -> list[object]:
        if isinstance(step, int):
            found = feed(store, [messages()[step]], now=self.now, limits=self.limits)
        else:
            found = EventProcessor(store, limits=self.limits).expire(self.now)
        return [_told(result) for result in found]

    def _undo(self) -> None:
        """Feed the database everything in a transaction that fails."""
        try:
            with self.database.transaction():
                feed(self.stores[1], messages(), now=self.now, limits=self.limits)
                raise _Undone  # noqa: TRY301 - as whoever uses the store may
        except _Undone:
            pass


def _told(result: Result) -> object:
    """Return what a result says; errors are no values."""
    return result.message, type(result.verdict), result.again


@contextmanager
def with_sqlite(limits: Limits) -> Iterator[Pair]:
    """Make a store in memory and one in a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        pair = Pair(Database.create(path), lambda: Database.open(path), limits)
        try:
            yield pair
        finally:
            pair.database.close()


@contextmanager
def with_postgres(limits: Limits) -> Iterator[Pair]:
    """Make a store in memory and one on a server."""
    with fresh_url() as url:
        pair = Pair(PostgresDatabase.open(url), lambda: PostgresDatabase.open(url), limits)
        try:
            yield pair
        finally:
            pair.database.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(in_order, steps), st.sampled_from(LIMITS))
def test_both_stores_hold_the_same(taken: list[int | str], limits: Limits) -> None:
    """Results and contents are equal after any history, and the database is consistent."""
    with with_sqlite(limits) as pair:
        _compare(pair, taken)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(in_order, steps), st.sampled_from(LIMITS))
def test_a_server_holds_the_same(taken: list[int | str], limits: Limits) -> None:
    """As above, with a server."""
    with with_postgres(limits) as pair:
        _compare(pair, taken)


def _compare(pair: Pair, taken: list[int | str]) -> None:
    for step in taken:
        # Which of equally large logs makes room is not derived from the evidence.
        if step != REBUILD or pair.limits == LIMITS[0]:
            pair.take(step)
    memory, kept = pair.stores
    assert contents(kept) == contents(memory)
    for record in memory.records():
        assert kept.record(record.key) == record
        signer = record.statement.authority
        assert kept.kept(signer) == memory.kept(signer)
    assert fsck.check(pair.database) == []


@pytest.mark.parametrize("make_pair", [with_sqlite, with_postgres])
def test_everything_is_there_after_a_restart(
    make_pair: Callable[[Limits], AbstractContextManager[Pair]],
) -> None:
    """What was stored is read from the database: nothing is left out, nothing is changed."""
    with make_pair(LIMITS[0]) as pair:
        for step in range(COUNT):
            pair.take(step)
        pair.restart()
        memory, kept = pair.stores
        assert contents(kept) == contents(memory)
        records = list(memory.records())
        assert len(records) == 2
        assert [kept.record(record.key) for record in records] == records


def test_the_history_has_everything_in_it() -> None:
    """The messages leave superseded events, duplicity, receipts, approvals and what waits."""
    store = MemoryStore()
    feed(store, messages(), now=START)
    aids = list(store.identifiers())
    seen = [one for aid in aids for one in store.first_seen(aid)]
    trunk = [one for aid in aids for one in store.events(aid)]
    assert len(seen) > len(trunk)
    assert [one for aid in aids for one in store.duplicity(aid)]
    assert any(one.source for one in seen)
    assert any(one.proofs.couples for one in seen)
    assert any(one.proofs.endorsements for one in seen)
    assert any(len(one.proofs.witness_signatures) == 2 for one in seen)
    assert {held.key[0] for held in store.waiting()} >= {"event", "exn", "qry"}
    assert all(msgspec.structs.asdict(record) for record in store.records())
