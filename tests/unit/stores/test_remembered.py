"""What is remembered of a database is what it would tell."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from keystead.ports.witness import Admitted, Origin
from keystead.stores.database import Database
from keystead.stores.remembered import Remembered
from keystead.stores.replaying import rebuild
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, witness
from support.histories import feed
from support.logs import NOW

ALICE, BOB = Aid("E" + "A" * 43), Aid("E" + "B" * 43)


class _StopError(Exception):
    """Leaves a transaction."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DatabaseWitness]:
    """The store of a witness."""
    folder = tmp_path / "witness"
    made = DatabaseWitness.create(folder, witness("one").aid)
    yield made
    made.close()


def _admitted(aid: Aid, *, allowed: bool = True, origin: Origin = Origin.OPEN) -> Admitted:
    return Admitted(aid, allowed, origin, NOW.isoformat())


def test_what_was_undone_is_not_remembered(store: DatabaseWitness) -> None:
    """An admission in a part that is undone is gone, and so is its count."""
    with store.transaction():
        store.admit(_admitted(ALICE))
        assert store.count_admitted(Origin.OPEN) == 1
        with suppress(_StopError), store.transaction():
            store.admit(_admitted(BOB))
            store.admit(_admitted(ALICE, allowed=False))
            assert store.count_admitted(Origin.OPEN) == 2
            assert store.admitted(ALICE) == _admitted(ALICE, allowed=False)
            raise _StopError
        assert store.count_admitted(Origin.OPEN) == 1
        assert store.admitted(ALICE) == _admitted(ALICE)
        assert store.admitted(BOB) is None
    with suppress(_StopError), store.transaction():
        store.admit(_admitted(BOB))
        assert store.admitted(BOB) is not None
        raise _StopError
    with store.transaction():
        assert store.admitted(BOB) is None
        assert store.count_admitted(Origin.OPEN) == 1


def test_another_origin_is_counted_elsewhere(store: DatabaseWitness) -> None:
    """Who is let in again in another way is no longer counted in the first."""
    with store.transaction():
        assert [store.count_admitted(one) for one in Origin] == [0, 0, 0, 0]
        store.admit(_admitted(ALICE))
        store.admit(_admitted(ALICE, origin=Origin.OPERATOR))
        assert store.count_admitted(Origin.OPEN) == 0
        assert store.count_admitted(Origin.OPERATOR) == 1


def test_what_another_process_writes_is_seen(store: DatabaseWitness, tmp_path: Path) -> None:
    """The next transaction sees what another connection has committed meanwhile."""
    with store.transaction():
        store.admit(_admitted(ALICE))
        assert store.admitted(ALICE) == _admitted(ALICE)
    other = DatabaseWitness.open(tmp_path / "witness")
    other.admit(_admitted(ALICE, allowed=False))
    other.close()
    with store.transaction():
        assert store.admitted(ALICE) == _admitted(ALICE, allowed=False)


def test_what_is_written_beside_the_tables_is_seen(store: DatabaseWitness) -> None:
    """A statement outside of all transactions ends what is remembered too."""
    with store.transaction():
        store.admit(_admitted(ALICE))
        assert store.admitted(ALICE) is not None
    database = store.database
    assert isinstance(database, Database)
    database.connection.execute("UPDATE admission SET allowed = 0")
    with store.transaction():
        assert store.admitted(ALICE) == _admitted(ALICE, allowed=False)


def test_logs_go_on_where_a_part_was_undone(store: DatabaseWitness) -> None:
    """Events that were undone are appended again at the same place, with the same numbers."""
    author, events = Author("undone"), store.events
    messages = [author.incept().framed, author.interact().framed, author.rotate().framed]
    with store.transaction():
        feed(events, messages[:1], now=NOW)
        with suppress(_StopError), store.transaction():
            feed(events, messages[1:], now=NOW)
            assert events.key_state(author.aid) == author.state
            raise _StopError
        state = events.key_state(author.aid)
        assert state is not None
        assert state.sn == 0
        feed(events, messages[1:], now=NOW)
    assert events.key_state(author.aid) == author.state
    assert [one.first_seen_number for one in events.first_seen(author.aid)] == [0, 1, 2]
    query = "SELECT number FROM event ORDER BY number"
    assert [number for (number,) in store.database.rows(query)] == [1, 2, 3]


def test_tables_that_are_made_anew_are_asked_anew(store: DatabaseWitness) -> None:
    """After a rebuild in the same transaction logs go on, with what the rebuild has written."""
    author, events = Author("anew"), store.events
    with store.transaction():
        feed(events, [author.incept().framed, author.interact().framed], now=NOW)
        rebuild(store.database)
        feed(events, [author.rotate().framed], now=NOW)
        assert events.key_state(author.aid) == author.state
    assert events.key_state(author.aid) == author.state


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    """Values beyond a number are not remembered; those that are known stay true."""
    remembered = Remembered()
    for number in range(5000):
        remembered.put(number, number + 1)
    assert remembered.get(0) == 1
    assert remembered.get(4999) is None
    remembered.put(0, 7)
    assert remembered.get(0) == 7
    remembered.settle()
    assert remembered.get(0) is None
    remembered.put(4999, 1)
    assert remembered.get(4999) == 1


def test_forgetting_cannot_be_undone() -> None:
    """Whoever goes back behind it knows nothing either."""
    remembered = Remembered()
    remembered.put("known", 1)
    mark = remembered.mark()
    remembered.put("known", 2)
    remembered.forget()
    remembered.put("later", 3)
    remembered.back(mark)
    assert (remembered.get("known"), remembered.get("later")) == (None, None)
