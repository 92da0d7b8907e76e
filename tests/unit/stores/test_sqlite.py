"""The store in a database: several processes, outer transactions, and what it costs."""

import multiprocessing
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import Proofs
from keystead.keri.escrow import Held
from keystead.keri.keystate import Establishment
from keystead.keri.verdicts import Accepted, Duplicitous
from keystead.ports import Append, Decision, KelReader
from keystead.stores import rows
from keystead.stores.database import Database
from keystead.stores.memory import MemoryStore
from keystead.stores.sqlite import SqliteStore
from keystead.testing.authoring import Author, Signed
from support.histories import contents, feed, messages

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEEN_AT = "2026-01-02T03:04:05.000000+00:00"


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database."""
    database = Database.create(tmp_path / "home" / "store.db")
    yield database
    database.close()


def appended(author: Author, signed: Signed) -> Decision:
    """Return the decision to append the latest event of an author."""
    proofs = Proofs(signed.signatures)
    append = Append(signed.event, author.state, proofs, SEEN_AT, None, supersedes=False)
    return Decision(Accepted(author.state, proofs), append=append)


def _race(path: Path, name: str, number: int, start: Any, results: Any) -> None:  # noqa: ANN401 - what multiprocessing gives has no common type
    """Try to put one version of the second event into the log."""
    author = Author("raced")
    author.incept()
    for _ in range(number):
        author.interact()  # another number, another event
    own = Author("raced")
    own.incept()
    version = own.interact(Author(name).incept().seal)
    database = Database.open(path)
    start.wait()
    results.put((version.event.said, type(feed_one(database, version)).__name__))
    database.close()


def feed_one(database: Database, signed: Signed) -> object:
    """Feed a store one event; return the verdict."""
    return feed(SqliteStore(database), [signed.framed], now=NOW)[0].verdict


def test_of_processes_that_race_for_a_place_one_wins(database: Database) -> None:
    """One event is accepted; who comes later decides on the log with that event in it."""
    author = Author("raced")
    feed(SqliteStore(database), [author.incept().framed], now=NOW)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(4), context.Queue()
    racers = [
        context.Process(target=_race, args=(database.path, f"racer {one}", one, start, results))
        for one in range(4)
    ]
    for racer in racers:
        racer.start()
    told = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    verdicts = [verdict for _, verdict in told]
    assert sorted(verdicts) == [Accepted.__name__] + [Duplicitous.__name__] * 3
    store = SqliteStore(database)
    winner = store.event(author.aid, 1)
    assert winner is not None
    assert winner.event.said == next(said for said, verdict in told if verdict == "Accepted")
    assert len(list(store.first_seen(author.aid))) == 2
    assert len(store.duplicity(author.aid)) == 3


def test_what_another_process_wrote_is_seen(database: Database) -> None:
    """A store that is open already gives what came into the file since."""
    first, other = SqliteStore(database), Database.open(database.path)
    second = SqliteStore(other)
    assert contents(first) == {"identifiers": [], "waiting": []}
    feed(second, messages(), now=NOW)
    assert contents(first) == contents(second)
    other.close()


def test_an_outer_transaction_that_fails_leaves_nothing(database: Database) -> None:
    """Events, what waits and statements go with whatever else is done in the same transaction."""
    store = SqliteStore(database)
    feed(store, messages()[:12], now=NOW)
    before = contents(store)

    def fail() -> None:
        with database.transaction():
            feed(store, messages(), now=NOW)
            assert contents(store) != before
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert contents(store) == before
    feed(store, messages(), now=NOW)
    memory = MemoryStore()
    feed(memory, messages()[:12], now=NOW)
    feed(memory, messages(), now=NOW)
    assert contents(store) == contents(memory)


def test_a_decision_runs_inside_the_transaction(database: Database) -> None:
    """What `decide` reads cannot change before its outcome is kept: nobody else can write."""
    store, other = SqliteStore(database), Database.open(database.path)
    other.rows("PRAGMA busy_timeout = 50")
    author = Author("alone")
    signed = author.incept()
    codes = []

    def decide(kel: KelReader) -> Decision:
        assert kel.key_state(signed.event.aid) is None
        with pytest.raises(StoreError) as caught, other.transaction():
            pass
        codes.append(caught.value.code)
        return appended(author, signed)

    store.advance(signed.event.aid, decide)
    assert codes == [ErrorCode.STORE_BUSY]
    other.close()


def test_a_full_disk_keeps_nothing_of_a_decision(database: Database) -> None:
    """The error says so, and the same decision succeeds when there is room again."""
    store = SqliteStore(database)
    ((pages,),) = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError) as caught:
        feed(store, messages(), now=NOW)
    assert caught.value.code is ErrorCode.STORE_FULL
    database.rows(f"PRAGMA max_page_count = {pages + 10_000}")
    feed(store, messages(), now=NOW)
    assert len(list(store.identifiers())) > 3


def _states() -> list[Establishment]:
    """Return what establishment events of many shapes set."""
    store = MemoryStore()
    feed(store, messages(), now=NOW)
    found = [one.state.establishment for aid in store.identifiers() for one in store.events(aid)]
    for threshold in (
        "2",
        ["1/2", "1/2", "0"],
        [["1/2", "1/2"], ["1"]],
        [{"1": ["1/2", "1/2"]}, "0"],
    ):
        author = Author("weighted", keys=3, threshold=threshold)  # type: ignore[arg-type] # lists of lists too
        author.incept()
        author.rotate(last=True)
        found.append(author.state.establishment)
    return found


def test_key_states_come_back_as_they_were() -> None:
    """What is written of an establishment is read as the same."""
    states = _states()
    assert len({len(state.witnesses) for state in states}) > 1
    assert any(state.delegator for state in states)
    assert any(state.signing_threshold.clauses for state in states)
    for state in states:
        assert rows.from_state(rows.to_state(state)) == state


def test_what_waits_comes_back_as_it_was() -> None:
    """Each kind of entry is read as the same, with proofs and claims in their order."""
    store = MemoryStore()
    found: list[Held] = []
    for raw in (*messages(), *reversed(messages())):
        feed(store, [raw], now=NOW)
        found += store.waiting()
    alone = MemoryStore()
    for raw in reversed(messages()):
        feed(alone, [raw], now=NOW)
        found += alone.waiting()
    assert {held.key[0] for held in found} >= {"event", "receipts", "qry", "exn", "rpy"}
    for held in found:
        assert rows.to_held(rows.from_held(held)) == held


@pytest.mark.parametrize("sn", [-1, 2**63, 2**128])
def test_places_beyond_any_log_are_empty(database: Database, sn: int) -> None:
    """Numbers that no database holds are no errors."""
    store = SqliteStore(database)
    feed(store, messages(), now=NOW)
    aid = next(store.identifiers())
    assert store.event(aid, sn) is None
    if sn > 0:
        assert list(store.events(aid, first_sn=sn)) == []
        assert list(store.first_seen(aid, first=sn)) == []


def test_a_long_log_is_given_whole(database: Database) -> None:
    """What is read in pages has neither gaps nor repetitions."""
    author, store = Author("long"), SqliteStore(database)
    with database.transaction():
        decision = appended(author, author.incept())
        for _ in range(600):
            store.advance(author.aid, lambda _, decision=decision: decision)  # type: ignore[misc] # a default has no place in the type
            decision = appended(author, author.interact())
    assert [one.event.sn for one in store.events(author.aid)] == list(range(600))
    assert [one.event.sn for one in store.events(author.aid, first_sn=250)] == list(range(250, 600))
    assert [one.first_seen_number for one in store.first_seen(author.aid, first=255)] == list(
        range(255, 600)
    )


def _seconds(database: Database, authors: list[Author]) -> float:
    """Return the least CPU time in which one of some logs is begun."""
    store, times = SqliteStore(database), []
    for author in authors:
        decision = appended(author, author.incept())
        start = time.process_time()
        store.advance(author.aid, lambda _, decision=decision: decision)  # type: ignore[misc] # as above
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]


@pytest.mark.timed
def test_a_log_is_begun_as_fast_among_many(database: Database) -> None:
    """Behind 10,000 logs a new one takes no longer than behind 10, and all are listed at once."""
    authors = [Author(f"one of many {number}") for number in range(10_200)]
    few = _seconds(database, authors[:100])
    with database.transaction():
        _seconds(database, authors[100:10_100])
    many = _seconds(database, authors[10_100:])
    assert many < few * 1.2 + 0.0001
    store = SqliteStore(database)
    start = time.perf_counter()
    assert len(list(store.identifiers())) == 10_200
    assert time.perf_counter() - start < 0.1
    start = time.perf_counter()
    for author in authors[::50]:
        assert store.key_state(author.aid) == author.state
    assert (time.perf_counter() - start) / 204 < 0.0002
