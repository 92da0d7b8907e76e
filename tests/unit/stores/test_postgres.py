"""The store on a server: many writers at once, what errors mean, and who may do what."""

import multiprocessing
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeysteadError, StoreError, UsageError
from keystead.keri.keystate import KeyState
from keystead.keri.verdicts import Accepted, Duplicitous
from keystead.limits import DEFAULT_LIMITS
from keystead.ports import KelReader
from keystead.stores import fsck, postgres, schema
from keystead.stores.opening import open_store
from keystead.stores.postgres import PostgresDatabase, PostgresStore
from keystead.stores.schema import Migration
from keystead.testing.authoring import Author
from support.histories import contents, feed, messages
from support.postgres import fresh_database, fresh_url, shared_server

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RACERS = 64
ROOT = Path(__file__).parents[3]


@pytest.fixture(name="url")
def _url() -> Iterator[str]:
    """Return the location of a database with empty tables."""
    with fresh_url() as url:
        yield url


@pytest.fixture(name="database")
def _database() -> Iterator[PostgresDatabase]:
    """Return an open database with empty tables."""
    with fresh_database() as database:
        yield database


@pytest.fixture(name="notes")
def _notes(database: PostgresDatabase) -> PostgresDatabase:
    """Return a database with a table of texts."""
    with database.transaction() as connection:
        connection.execute("CREATE TABLE note (text TEXT PRIMARY KEY)")
    return database


def note(database: PostgresDatabase, text: str) -> None:
    """Write a text."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES (?)", (text,))


def noted(database: PostgresDatabase) -> list[str]:
    """Return the texts."""
    return [text for (text,) in database.rows("SELECT text FROM note ORDER BY text")]


def refused(call: Callable[[], object], code: ErrorCode) -> KeysteadError:
    """Return the error of a call."""
    with pytest.raises(KeysteadError) as caught:
        call()
    assert caught.value.code is code
    return caught.value


def versions(name: str, number: int) -> tuple[Aid, bytes, list[bytes]]:
    """Return an identifier, its inception, and different events behind that."""
    author = Author(name)
    inception = author.incept()
    found = []
    for one in range(number):
        own = Author(name)
        own.incept()
        found.append(own.interact(Author(f"{name} {one}").incept().seal).framed)
    return author.aid, inception.framed, found


def test_of_many_racers_for_a_place_exactly_one_wins(url: str) -> None:
    """The others decide on the log with the winner in it; all rounds, and nothing is left over."""
    start = threading.Barrier(RACERS)
    rounds = [versions(f"raced {number}", RACERS) for number in range(3)]
    seen: list[Counter[str]] = [Counter() for _ in rounds]

    def race(racer: int) -> None:
        with closing(PostgresDatabase.open(url)) as database:
            store = PostgresStore(database)
            for (_, _, events), told in zip(rounds, seen, strict=True):
                start.wait(60)
                (result,) = feed(store, [events[racer]], now=NOW)
                told[type(result.verdict).__name__] += 1

    with closing(PostgresDatabase.open(url)) as database, ThreadPoolExecutor(RACERS) as threads:
        store = PostgresStore(database)
        feed(store, [inception for _, inception, _ in rounds], now=NOW)
        list(threads.map(race, range(RACERS)))
        for (aid, _, events), told in zip(rounds, seen, strict=True):
            assert told == {Accepted.__name__: 1, Duplicitous.__name__: RACERS - 1}
            _, winner = store.first_seen(aid)
            assert any(winner.event.raw in one for one in events)
            assert len(store.duplicity(aid)) == DEFAULT_LIMITS.evidence
        assert fsck.check(database) == []


def _append(url: str, name: str, size: int, results: Any) -> None:  # noqa: ANN401 - what multiprocessing gives has no common type
    """Append to many logs, several events in each transaction."""
    with closing(PostgresDatabase.open(url)) as database:
        store = PostgresStore(database)
        authors = [Author(f"{name} {number}") for number in range(size)]
        made = [[author.incept().framed for author in authors]]
        made += [[author.interact().framed for author in authors] for _ in range(4)]
        told = [
            result
            for several in made
            for result in store.batch(lambda several=several: feed(store, several, now=NOW))  # type: ignore[misc] # bound here
        ]
        kept = sum(isinstance(result.verdict, Accepted) for result in told)
        results.put((kept, [author.aid for author in authors]))


def test_processes_that_append_at_once_lose_nothing(url: str) -> None:
    """Each event that a process was told about is there, in its place, and all is consistent."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=_append, args=(url, f"writer {one}", 15, results))
        for one in range(4)
    ]
    for process in processes:
        process.start()
    told = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert [kept for kept, _ in told] == [75] * 4
    with closing(PostgresDatabase.open(url)) as database:
        store = PostgresStore(database)
        aids = {aid for _, written in told for aid in written}
        assert set(store.identifiers()) == aids
        assert [len(list(store.events(aid))) for aid in aids] == [5] * 60
        assert fsck.check(database) == []


def test_a_decision_is_made_again_when_another_was_faster(url: str) -> None:
    """What it read was changed before it was kept, so it is decided on what there is then."""
    aid, inception, (first, second) = versions("raced", 2)
    read: list[KeyState | None] = []
    with closing(PostgresDatabase.open(url)) as one, closing(PostgresDatabase.open(url)) as other:
        store, faster = PostgresStore(one), PostgresStore(other)
        feed(store, [inception], now=NOW)

        def work() -> object:
            read.append(store.key_state(aid))
            if len(read) == 1:
                feed(faster, [first], now=NOW)
            return feed(store, [second], now=NOW)[0].verdict

        assert isinstance(store.batch(work), Duplicitous)
        assert [state and state.sn for state in read] == [0, 1]
        assert len(store.duplicity(aid)) == 1


def test_what_waits_for_an_event_is_not_missed(url: str) -> None:
    """One process holds an event while another accepts what it waits for: one sees the other."""
    author = Author("apart")
    first, second = author.incept().framed, author.interact().framed
    with closing(PostgresDatabase.open(url)) as one, closing(PostgresDatabase.open(url)) as other:
        store, faster = PostgresStore(one), PostgresStore(other)
        calls: list[int] = []

        def work() -> None:
            calls.append(1)
            store.key_state(author.aid)  # from here on it sees one moment
            if len(calls) == 1:
                feed(faster, [first], now=NOW)
            feed(store, [second], now=NOW)

        store.batch(work)
        assert len(calls) == 2
        assert len(list(store.events(author.aid))) == 2
        assert list(store.waiting()) == []


def test_what_is_read_does_not_grow_with_the_log(database: PostgresDatabase) -> None:
    """Without statistics too the server goes to a few rows by their keys."""
    store, author = PostgresStore(database), Author("long")
    made = [author.incept(), *(author.interact() for _ in range(150))]
    store.batch(lambda: feed(store, [signed.framed for signed in made[:-1]], now=NOW))
    query = (
        "SELECT sum(pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid))"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = current_schema()"
    )
    with database.transaction():
        ((before,),) = database.rows(query)
        feed(store, [made[-1].framed], now=NOW)
        ((after,),) = database.rows(query)
    assert 0 < after - before < 100


def test_a_batch_keeps_all_or_nothing(database: PostgresDatabase) -> None:
    """An error that leaves it undoes everything; one that is stopped inside undoes its part."""
    store = PostgresStore(database)

    def fail(_: KelReader) -> NoReturn:
        raise LookupError

    def half() -> None:
        feed(store, messages()[:6], now=NOW)
        raise LookupError

    with pytest.raises(LookupError):
        store.batch(half)
    assert list(store.identifiers()) == []

    def whole() -> None:
        feed(store, messages()[:6], now=NOW)
        with pytest.raises(LookupError):
            store.advance(Author("any").incept().event.aid, fail)
        feed(store, messages()[6:], now=NOW)

    store.batch(whole)
    with fresh_database() as other:
        alone = PostgresStore(other)
        feed(alone, messages(), now=NOW)
        assert contents(store) == contents(alone)


def test_a_conflict_that_is_passed_over_keeps_nothing(url: str) -> None:
    """Who goes on behind it must not have kept what was decided on an old moment."""
    aid, inception, (first, second) = versions("raced", 2)
    with closing(PostgresDatabase.open(url)) as one, closing(PostgresDatabase.open(url)) as other:
        store, faster = PostgresStore(one), PostgresStore(other)
        feed(store, [inception], now=NOW)

        def careless() -> None:
            with one.transaction():
                store.key_state(aid)
                feed(faster, [first], now=NOW)
                with pytest.raises(StoreError):
                    feed(store, [second], now=NOW)
                with pytest.raises(StoreError):
                    store.key_state(aid)

        error = refused(careless, ErrorCode.STORE_BUSY)
        assert "nothing was kept" in error.hint
        assert store.duplicity(aid) == ()
        assert len(list(store.events(aid))) == 2


def test_conflicts_end_some_time(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who never gets through is told so."""
    monkeypatch.setattr(postgres, "ATTEMPTS", 3)
    calls = []

    def work() -> None:
        calls.append(1)
        database.rows("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")

    refused(lambda: database.run(work), ErrorCode.STORE_BUSY)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("53100", ErrorCode.STORE_FULL),
        ("55P03", ErrorCode.STORE_BUSY),
        ("57014", ErrorCode.STORE_BUSY),
        ("42501", ErrorCode.STORE_PERMISSIONS),
        ("42P01", ErrorCode.STORE_CORRUPT),
        ("23503", ErrorCode.STORE_CORRUPT),
        ("XX001", ErrorCode.STORE_CORRUPT),
        ("58030", ErrorCode.STORE_IO),
    ],
)
def test_errors_of_the_server_have_codes(
    database: PostgresDatabase, state: str, code: ErrorCode
) -> None:
    """Each kind has its code, tells no payload, and leaves the database usable."""
    query = f"DO $$ BEGIN RAISE EXCEPTION 'payload' USING ERRCODE = '{state}'; END $$"
    error = refused(lambda: database.run(lambda: database.rows(query)), code)
    assert "payload" not in f"{error} {error.hint} {error.fields}"
    assert database.rows("SELECT count(*) FROM event") == [(0,)]


def test_a_key_that_stays_taken_is_damage(
    notes: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other writer is in the way, so trying again does not help."""
    monkeypatch.setattr(postgres, "ATTEMPTS", 2)
    note(notes, "one")
    refused(lambda: notes.run(lambda: note(notes, "one")), ErrorCode.STORE_CORRUPT)
    assert noted(notes) == ["one"]


def test_a_nested_transaction_is_part_of_the_outer_one(notes: PostgresDatabase) -> None:
    """Nothing of it is kept when the outer one fails, and only its own part when it fails."""

    def fail() -> None:
        with notes.transaction():
            note(notes, "inner")
            raise LookupError

    with notes.transaction():
        note(notes, "outer")
        with pytest.raises(LookupError):
            fail()
        note(notes, "later")
    assert noted(notes) == ["later", "outer"]
    with pytest.raises(LookupError):
        fail()
    assert noted(notes) == ["later", "outer"]


def test_a_snapshot_sees_one_moment(notes: PostgresDatabase, database: PostgresDatabase) -> None:
    """What others write meanwhile is seen afterwards, and nothing can be built on it."""
    url = f"{shared_server().url(database.name.split()[1])}"
    with closing(PostgresDatabase.open(url)) as other:
        with notes.snapshot():
            assert noted(notes) == []
            note(other, "one")
            with notes.snapshot():
                assert noted(notes) == []
            with pytest.raises(RuntimeError), notes.transaction():
                pass
            with pytest.raises(RuntimeError):
                notes.writing()
        assert noted(notes) == ["one"]


def test_an_empty_database_is_missing_and_can_be_made() -> None:
    """`open` makes no tables where somebody may have mistyped the name; `create` does, once."""
    with fresh_url(empty=True) as url:
        refused(lambda: open_store(url), ErrorCode.STORE_MISSING)
        store = open_store(url, create=True)
        feed(store, messages(), now=NOW)
        before = contents(store)
        store.database.close()
        refused(lambda: open_store(url, create=True), ErrorCode.EXISTS)
        again = open_store(url)
        assert contents(again) == before
        again.database.close()


def test_of_several_that_make_the_tables_one_does() -> None:
    """The others are told that they are there."""
    start = threading.Barrier(4)

    def make(url: str) -> str:
        start.wait(60)
        try:
            PostgresDatabase.create(url).close()
        except UsageError as error:
            return error.code.value
        return "made"

    with fresh_url(empty=True) as url, ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(make, [url] * 4)) == ["made", *["usage.exists"] * 3]
        PostgresDatabase.open(url).close()


def test_tables_of_others_are_left_alone() -> None:
    """A database that another program uses is refused, for `open` and `create`."""
    with fresh_url(empty=True) as url:
        name = url.partition("@/")[2].partition("?")[0]
        shared_server().ask("CREATE TABLE account (id BIGINT)", name)
        for make in (PostgresDatabase.open, PostgresDatabase.create):
            refused(lambda make=make: make(url), ErrorCode.STORE_CORRUPT)  # type: ignore[misc] # bound here
        assert shared_server().ask("SELECT count(*) FROM account", name) == [(0,)]


def test_several_stores_share_a_database_by_schemas() -> None:
    """The option `search_path` says whose tables they are."""
    with fresh_url(empty=True) as url:
        name = url.partition("@/")[2].partition("?")[0]
        urls = [f"{url}&options=-csearch_path%3D{schema}" for schema in ("one", "two")]
        for owner in ("one", "two"):
            shared_server().ask(f"CREATE SCHEMA {owner}", name)
        first, second = (open_store(one, create=True) for one in urls)
        feed(first, messages(), now=NOW)
        assert list(first.identifiers())
        assert list(second.identifiers()) == []
        first.database.close()
        second.database.close()


STEP = Migration(5, "next", "CREATE TABLE note (text TEXT PRIMARY KEY)")


def test_an_older_schema_is_brought_up_to_date(url: str) -> None:
    """The new step is made; a program that does not know it refuses the database from then on."""
    steps = (*schema.shipped(dialect=postgres.DIALECT), STEP)
    with closing(PostgresDatabase.open(url, steps=steps)) as database:
        note(database, "one")
    with closing(PostgresDatabase.open(url, steps=steps)) as database:
        assert noted(database) == ["one"]
        assert list(database.damage()) == []
    refused(lambda: PostgresDatabase.open(url), ErrorCode.STORE_SCHEMA)


def test_a_changed_step_is_refused(url: str) -> None:
    """Tables that were made by other statements are not those of this program."""
    (step,) = schema.shipped(dialect=postgres.DIALECT)
    changed = (Migration(step.number, step.name, step.sql + "-- changed"),)
    refused(lambda: PostgresDatabase.open(url, steps=changed), ErrorCode.STORE_CORRUPT)
    with closing(PostgresDatabase.open(url)) as database:
        with database.transaction() as connection:
            connection.execute("UPDATE migration SET name = 'other'")
        assert [finding.where for finding in fsck.check(database)] == ["table migration"]


@pytest.mark.parametrize("kind", ["events", "wallet", "witness", "watcher"])
def test_both_dialects_have_the_same_steps(kind: str) -> None:
    """Where there is a step for servers, it has the number and the name of that for files."""
    ours = [(step.number, step.name) for step in schema.shipped(kind, postgres.DIALECT)]
    theirs = [(step.number, step.name) for step in schema.shipped(kind)]
    assert ours[0] == (1, "events")
    assert set(ours) <= set(theirs)


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://keystead:canary@db.example/keys",
        "postgresql://keystead@db.example/keys?password=canary",
        "postgresql://keystead@db.example/keys?sslpassword=canary",
        "postgresql://keystead:canary@db example/keys",
        "postgresql://keystead@db.example/keys?canary=1",
    ],
)
def test_a_location_holds_no_secret(location: str) -> None:
    """A password in it is refused, and what is refused is not repeated."""
    error = refused(lambda: open_store(location), ErrorCode.ARGUMENT)
    told: list[object] = [error, error.hint, error.fields, error.__cause__]
    assert "canary" not in " ".join(map(str, told))
    assert error.__suppress_context__ or error.__context__ is None


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """Opening does not wait for a server; the error names it."""
    url = f"postgresql://keystead@/keys?host={tmp_path}"
    error = refused(lambda: PostgresDatabase.open(url), ErrorCode.STORE_IO)
    assert f"database keys of {tmp_path}" in error.message
    error = refused(lambda: PostgresDatabase.open(shared_server().url("none")), ErrorCode.STORE_IO)
    assert "does not exist" in error.message


def test_a_server_that_may_forget_is_refused(url: str) -> None:
    """What is acknowledged must be kept, so `synchronous_commit` must not be off."""
    weak = f"{url}&options=-csynchronous_commit%3Doff"
    error = refused(lambda: PostgresDatabase.open(weak), ErrorCode.STORE_IO)
    assert "synchronous_commit" in error.message
    for strong in ("local", "on", "remote_apply"):
        PostgresDatabase.open(f"{url}&options=-csynchronous_commit%3D{strong}").close()


def _rights(role: str) -> list[str]:
    """Return the commands by which the manual gives a role its rights."""
    text = (ROOT / "docs" / "postgresql.md").read_text("utf-8")
    (block,) = re.findall(r"```sql\n(GRANT .*?)```", text, re.DOTALL)
    return [
        line.strip() for line in block.replace("keystead_service", role).split(";") if line.strip()
    ]


def _forbidden(database: PostgresDatabase, change: str) -> None:
    refused(lambda: database.rows(change), ErrorCode.STORE_PERMISSIONS)


@pytest.mark.checkout
def test_the_rights_in_the_manual_are_enough_and_no_more(database: PostgresDatabase) -> None:
    """A role with them does all that a store does, but changes or deletes no evidence."""
    server, name = shared_server(), database.name.split()[1]
    role = f"service_{secrets.token_hex(4)}"
    server.ask(f"CREATE ROLE {role} LOGIN")
    for command in _rights(role):
        server.ask(command, name)
    url = server.url(name).replace("keystead@", f"{role}@")
    try:
        with closing(PostgresDatabase.open(url)) as limited:
            store = PostgresStore(limited)
            feed(store, messages(), now=NOW)
            assert list(store.identifiers())
            assert fsck.check(limited) == []
            for table in ("event", "receipt", "duplicity", "migration"):
                for change in (f"DELETE FROM {table}", f"UPDATE {table} SET number = 0"):  # noqa: S608 - a name from above
                    _forbidden(limited, change)
    finally:
        server.ask(f"DROP OWNED BY {role}", name)
        server.ask(f"DROP ROLE {role}")
