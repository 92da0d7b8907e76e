"""The store of a watcher: what is followed, what was told, and who is called."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid, digest
from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import Proofs
from keystead.ports.watching import Bundle, News, SourceView, Webhook
from keystead.stores.database import Database
from keystead.stores.watching import FILE, SqliteWatch
from support.watching import at, source

AID, OTHER = Aid(digest(b"one")), Aid(digest(b"two"))
ONE, TWO = source("one"), source("two")


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteWatch]:
    """Give a new store."""
    store = SqliteWatch.create(tmp_path / "watch")
    yield store
    store.close()


def _news(same: str, aid: Aid = AID) -> News:
    return News(aid, "event", same, {"sn": "0"})


def test_what_is_followed_keeps_its_order(store: SqliteWatch) -> None:
    """The order is that of the first time, also when sources are added later."""
    store.watch(OTHER, [ONE], at(0).wall)
    store.watch(AID, [ONE], at(1).wall)
    store.watch(OTHER, [TWO], at(2).wall)
    assert store.watched() == [OTHER, AID]
    assert [view.source for view in store.views(OTHER)] == [ONE, TWO]
    assert [aid for aid, _ in store.all_views()] == [OTHER, OTHER, AID]
    assert store.is_watched(AID)
    assert not store.is_watched(Aid(digest(b"stranger")))


def test_what_is_known_of_a_source_survives(store: SqliteWatch) -> None:
    """All of it is written, and adding the source again does not forget it."""
    view = SourceView(ONE, at(3).wall, at(2).wall, 5, digest(b"5"), 7, digest(b"7"), 2, "gone")
    store.put_view(AID, view)
    assert store.views(AID) == []
    store.watch(AID, [ONE], at(0).wall)
    assert store.views(AID) == [SourceView(ONE)]
    store.put_view(AID, view)
    store.watch(AID, [ONE], at(9).wall)
    assert store.views(AID) == [view]


def test_what_is_removed_is_gone(store: SqliteWatch) -> None:
    """One source, or the identifier with all of them."""
    store.watch(AID, [ONE, TWO], at(0).wall)
    assert store.unwatch(AID, ONE.url)
    assert not store.unwatch(AID, ONE.url)
    assert [view.source for view in store.views(AID)] == [TWO]
    assert store.unwatch(AID)
    assert list(store.all_views()) == []
    assert not store.unwatch(AID)


def test_the_same_is_told_once(store: SqliteWatch) -> None:
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


def test_the_oldest_notices_make_room(tmp_path: Path) -> None:
    """There is an end to what is kept, and numbers never come again."""
    steps = SqliteWatch.create(tmp_path / "small")
    store = SqliteWatch(steps.database, notices=3)
    for number in range(5):
        store.tell(_news(f"{number}"), at(number).wall)
    assert (store.first_notice(), store.last_notice()) == (3, 5)
    assert len(store.notices(0, 10)) == 3
    store.close()


def test_a_proof_replaces_the_one_about_the_same_version(store: SqliteWatch) -> None:
    """There is one bundle for each other version."""
    one = Bundle(AID, digest(b"x"), at(1).wall, ("a",), Proofs(), b"first")
    two = Bundle(AID, digest(b"x"), at(1).wall, ("a", "b"), Proofs(), b"second")
    other = Bundle(AID, digest(b"y"), at(0).wall, (), Proofs(), b"third")
    for bundle in (one, two, other):
        store.put_bundle(bundle)
    assert store.bundles(AID) == [other, two]
    assert store.bundles(OTHER) == []


def test_a_changed_proof_is_found(store: SqliteWatch) -> None:
    """A disk that loses bits does not make proofs."""
    store.put_bundle(Bundle(AID, digest(b"x"), at(1).wall, (), Proofs(), b"data"))
    with store.transaction() as connection:
        connection.execute("UPDATE bundle SET data = x'00'")
    with pytest.raises(StoreError) as raised:
        store.bundles(AID)
    assert raised.value.code is ErrorCode.STORE_CORRUPT


def test_webhooks_are_kept_until_they_are_removed(store: SqliteWatch) -> None:
    """With the number of the last notice that each has got."""
    hook = Webhook("https://alerts.example", 0)
    store.put_webhook(hook)
    told = Webhook(hook.url, 4, 1, "gone")
    store.put_webhook(told)
    assert store.webhooks() == [told]
    assert store.remove_webhook(hook.url)
    assert not store.remove_webhook(hook.url)


def test_changes_of_another_process_are_noticed(store: SqliteWatch) -> None:
    """What was written here is no change; what another connection wrote is one."""
    before = store.version()
    store.watch(AID, [ONE], at(0).wall)
    assert store.version() == before
    other = SqliteWatch.open(store.database.path.parent)
    other.watch(OTHER, [ONE], at(0).wall)
    other.close()
    assert store.version() != before


def test_a_transaction_keeps_all_or_nothing(store: SqliteWatch) -> None:
    """What an error leaves is not there."""

    def fail() -> None:
        with store.transaction():
            store.watch(AID, [ONE], at(0).wall)
            store.tell(_news("a"), at(0).wall)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.watched() == []
    assert store.last_notice() == 0


def test_a_wallet_is_no_watcher(tmp_path: Path) -> None:
    """Databases of others are refused, whatever their name."""
    Database.create(tmp_path / "home" / FILE).close()
    with pytest.raises(StoreError) as raised:
        SqliteWatch.open(tmp_path / "home")
    assert raised.value.code is ErrorCode.STORE_CORRUPT
