"""The store of a watcher: what is followed, what was told, and who is called."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid, digest
from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import Proofs
from keystead.ports.watching import Bundle, News, SourceView, Webhook
from keystead.stores import files
from keystead.stores.database import Database
from keystead.stores.opening import name_location
from keystead.stores.watching import FILE, DatabaseWatch
from support.postgres import fresh_url
from support.watching import at, source

AID, OTHER = Aid(digest(b"one")), Aid(digest(b"two"))
ONE, TWO = source("one"), source("two")


@pytest.fixture(name="home", params=["sqlite", "postgres"])
def _home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give the folder of a new store, in each of the databases."""
    home = tmp_path / "watch"
    with ExitStack() as opened:
        if request.param == "postgres":
            files.make_folder(home)
            name_location(home, opened.enter_context(fresh_url(empty=True)))
        DatabaseWatch.create(home).close()
        yield home


@pytest.fixture(name="store")
def _store(home: Path) -> Iterator[DatabaseWatch]:
    """Give a new store."""
    with closing(DatabaseWatch.open(home)) as store:
        yield store


def _news(same: str, aid: Aid = AID) -> News:
    return News(aid, "event", same, {"sn": "0"})


def test_what_is_followed_keeps_its_order(store: DatabaseWatch) -> None:
    """The order is that of the first time, also when sources are added later."""
    store.watch(OTHER, [ONE], at(0).wall)
    store.watch(AID, [ONE], at(1).wall)
    store.watch(OTHER, [TWO], at(2).wall)
    assert store.watched() == [OTHER, AID]
    assert [view.source for view in store.views(OTHER)] == [ONE, TWO]
    assert [aid for aid, _ in store.all_views()] == [OTHER, OTHER, AID]
    assert store.is_watched(AID)
    assert not store.is_watched(Aid(digest(b"stranger")))


def test_what_is_known_of_a_source_survives(store: DatabaseWatch) -> None:
    """All of it is written, and adding the source again does not forget it."""
    view = SourceView(ONE, at(3).wall, at(2).wall, 5, digest(b"5"), 7, digest(b"7"), 2, "gone")
    store.put_view(AID, view)
    assert store.views(AID) == []
    store.watch(AID, [ONE], at(0).wall)
    assert store.views(AID) == [SourceView(ONE)]
    store.put_view(AID, view)
    store.watch(AID, [ONE], at(9).wall)
    assert store.views(AID) == [view]


def test_what_is_removed_is_gone(store: DatabaseWatch) -> None:
    """One source, or the identifier with all of them."""
    store.watch(AID, [ONE, TWO], at(0).wall)
    assert store.unwatch(AID, ONE.url)
    assert not store.unwatch(AID, ONE.url)
    assert [view.source for view in store.views(AID)] == [TWO]
    assert store.unwatch(AID)
    assert list(store.all_views()) == []
    assert not store.unwatch(AID)


def test_the_same_is_told_once(store: DatabaseWatch) -> None:
    """Notices are numbered without gaps over everything."""
    assert store.last_notice() == store.first_notice() == 0
    first = store.tell(_news("a"), at(1).wall)
    assert first is not None
    assert store.tell(_news("a"), at(2).wall) is None
    second = store.tell(_news("a", OTHER), at(3).wall)
    assert second is not None
    assert store.notices(0, 10) == [first, second]
    assert store.notices(first.number, 10) == [second]
    assert store.notices(0, 10, AID) == [first]
    assert store.notices(0, 1) == [first]


def test_the_oldest_notices_make_room(store: DatabaseWatch) -> None:
    """There is an end to what is kept, and numbers never come again."""
    small = DatabaseWatch(store.database, notices=3)
    for number in range(5):
        small.tell(_news(f"{number}"), at(number).wall)
    assert (small.first_notice(), small.last_notice()) == (3, 5)
    assert len(small.notices(0, 10)) == 3
    smallest = DatabaseWatch(store.database, notices=1)
    smallest.tell(_news("5"), at(5).wall)
    assert (small.first_notice(), small.last_notice()) == (6, 6)


def test_a_proof_replaces_the_one_about_the_same_version(store: DatabaseWatch) -> None:
    """There is one bundle for each other version."""
    one = Bundle(AID, digest(b"x"), at(1).wall, ("a",), Proofs(), b"first")
    two = Bundle(AID, digest(b"x"), at(1).wall, ("a", "b"), Proofs(), b"second")
    other = Bundle(AID, digest(b"y"), at(0).wall, (), Proofs(), b"third")
    for bundle in (one, two, other):
        store.put_bundle(bundle)
    assert store.bundles(AID) == [other, two]
    assert store.bundles(OTHER) == []


def test_a_changed_proof_is_found(store: DatabaseWatch) -> None:
    """A disk that loses bits does not make proofs."""
    store.put_bundle(Bundle(AID, digest(b"x"), at(1).wall, (), Proofs(), b"data"))
    with store.database.transaction() as connection:
        connection.execute("UPDATE bundle SET data = ?", (b"other",))
    with pytest.raises(StoreError) as raised:
        store.bundles(AID)
    assert raised.value.code is ErrorCode.STORE_CORRUPT


def test_webhooks_are_kept_until_they_are_removed(store: DatabaseWatch) -> None:
    """With the number of the last notice that each has got."""
    hook = Webhook("https://alerts.example", 0)
    store.put_webhook(hook)
    told = Webhook(hook.url, 4, 1, "gone")
    store.put_webhook(told)
    assert store.webhooks() == [told]
    assert store.remove_webhook(hook.url)
    assert not store.remove_webhook(hook.url)


def test_changes_of_another_process_are_noticed(home: Path, store: DatabaseWatch) -> None:
    """Whatever of the list another connection changed; what it tells of does not change the list."""
    seen = [store.version()]
    with closing(DatabaseWatch.open(home)) as other:
        other.watch(OTHER, [ONE, TWO], at(0).wall)
        seen.append(store.version())
        other.unwatch(OTHER, ONE.url)
        seen.append(store.version())
        other.unwatch(OTHER)
        seen.append(store.version())
        assert len(set(seen)) == 4
        other.tell(_news("a"), at(0).wall)
        assert store.version() == seen[-1]
        assert store.last_notice() == 1


def test_many_processes_tell_the_same_once(home: Path) -> None:
    """Of four that tell of the same things at once, each is told once; nobody reads past a number."""

    def tell(first: int) -> list[int]:
        with closing(DatabaseWatch.open(home)) as store:
            told = [
                store.tell(_news(f"{(first + step) % 12}"), at(step).wall) for step in range(12)
            ]
        return [one.number for one in told if one is not None]

    def read(_: int) -> list[int]:
        seen: list[int] = []
        with closing(DatabaseWatch.open(home)) as store:
            end = time.monotonic() + 30
            while len(seen) < 12:
                assert time.monotonic() < end, seen
                seen += [one.number for one in store.notices(seen[-1] if seen else 0, 100)]
        return seen

    with ThreadPoolExecutor(5) as pool:
        reading = pool.submit(read, 0)
        numbers = [number for told in pool.map(tell, range(0, 12, 3)) for number in told]
        assert sorted(numbers) == list(range(1, 13))
        assert reading.result() == list(range(1, 13))


def test_many_processes_add_to_one_list(home: Path) -> None:
    """Identifiers that are added at once have their own places, and no source is lost."""
    sources = [source(f"{number}") for number in range(4)]

    def add(number: int) -> None:
        with closing(DatabaseWatch.open(home)) as store:
            store.watch(AID, [sources[number]], at(number).wall)
            store.watch(Aid(digest(b"%d" % number)), [ONE], at(number).wall)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    with closing(DatabaseWatch.open(home)) as store:
        assert len(store.watched()) == 5
        assert {one.source for one in store.views(AID)} == set(sources)


def test_a_transaction_keeps_all_or_nothing(store: DatabaseWatch) -> None:
    """What an error leaves is not there."""

    def fail() -> None:
        store.watch(AID, [ONE], at(0).wall)
        store.tell(_news("a"), at(0).wall)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.run(fail)
    assert store.watched() == []
    assert store.last_notice() == 0


def test_a_wallet_is_no_watcher(tmp_path: Path) -> None:
    """Databases of others are refused, whatever their name."""
    Database.create(tmp_path / "home" / FILE).close()
    with pytest.raises(StoreError) as raised:
        DatabaseWatch.open(tmp_path / "home")
    assert raised.value.code is ErrorCode.STORE_CORRUPT
