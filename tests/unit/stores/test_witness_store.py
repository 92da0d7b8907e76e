"""The store of a witness: its constraints hold, whatever the program above them does."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeysteadError
from keystead.node.witness import Witness
from keystead.ports.witness import Admitted, Origin, Promise
from keystead.stores import fsck
from keystead.stores.database import Database
from keystead.stores.witness import DatabaseWitness, rank_of
from keystead.testing.authoring import Author
from support.witnessing import ME, author, new_home, opened, seal, sent

ROW = "INSERT {} INTO witnessed (aid, first_seen_number, sn, said, rank, stands) VALUES (?, ?, ?, ?, ?, ?)"
OTHER = "E" + "x" * 43


@pytest.fixture(name="one")
def _one(tmp_path: Path) -> Iterator[Witness]:
    """Give a witness that runs."""
    with opened(new_home(tmp_path)) as one:
        yield one


@pytest.fixture(name="owner")
def _owner(one: Witness) -> Author:
    """Give an owner with an inception, an interaction, a rotation, and two interactions."""
    owner = author("constrained")
    for made in (owner.incept(), owner.interact(), owner.rotate(), owner.interact(seal("3"))):
        sent(one, made)
    sent(one, owner.interact(seal("4")))
    return owner


def connection(one: Witness) -> sqlite3.Connection:
    """Return the database without any of the program's own checks."""
    assert isinstance(one.store, DatabaseWitness)
    assert isinstance(one.store.database, Database)
    return one.store.database.connection


def rows(one: Witness) -> list[tuple[int, int, int]]:
    """Return place, rank and standing of all promises."""
    query = "SELECT sn, rank, stands FROM witnessed ORDER BY first_seen_number"
    return connection(one).execute(query).fetchall()


def refused(one: Witness, query: str, *values: object) -> None:
    """Check that the database itself refuses, and that nothing has changed."""
    before = rows(one)
    with pytest.raises(sqlite3.IntegrityError):
        connection(one).execute(query, values)
    assert rows(one) == before


def test_ranks_are_kept(one: Witness, owner: Author) -> None:
    """What may be superseded by what is in the row."""
    assert owner.state.sn == 4
    assert rows(one) == [(0, 2, 1), (1, 0, 1), (2, 2, 1), (3, 0, 1), (4, 0, 1)]
    assert [rank_of(kind) for kind in ("icp", "dip", "rot", "drt", "ixn")] == [2, 2, 2, 1, 0]


@pytest.mark.parametrize("how", ["", "OR REPLACE", "OR IGNORE"])
@pytest.mark.parametrize(("sn", "rank"), [(0, 2), (1, 0), (1, 2), (2, 2), (2, 1), (4, 0), (4, 2)])
def test_no_second_event_stands(one: Witness, owner: Author, sn: int, rank: int, how: str) -> None:
    """A place with an event that stands takes no other, not even in place of it."""
    number = connection(one).execute("SELECT max(first_seen_number) FROM witnessed").fetchone()[0]
    for first_seen in (number + 1, sn):
        refused(one, ROW.format(how), owner.aid, first_seen, sn, OTHER, rank, 1)


def test_promises_are_not_taken_back(one: Witness, owner: Author) -> None:
    """No row goes, changes, or begins without standing."""
    refused(one, "DELETE FROM witnessed WHERE aid = ?", owner.aid)
    for change in ("sn = 9", "said = 'x'", "rank = 0", "first_seen_number = 9", "aid = 'x'"):
        refused(one, f"UPDATE witnessed SET {change} WHERE sn = 4")  # noqa: S608 - from above
    for sn in (0, 2):
        refused(one, "UPDATE witnessed SET stands = 0 WHERE sn = ?", sn)
    refused(one, "UPDATE OR REPLACE witnessed SET sn = 3 WHERE sn = 4")
    refused(one, ROW.format(""), owner.aid, 5, 5, OTHER, 0, 0)
    refused(one, ROW.format(""), owner.aid, 99, 9, OTHER, 0, 1)  # of no event
    refused(one, ROW.format(""), owner.aid, 5, 5, OTHER, 3, 1)


def test_what_was_superseded_stays_so(one: Witness, owner: Author) -> None:
    """It never stands again, and no interaction comes in its place."""
    connection(one).execute("UPDATE witnessed SET stands = 0 WHERE sn = 4")
    refused(one, "UPDATE witnessed SET stands = 1 WHERE sn = 4")
    refused(one, ROW.format(""), owner.aid, 5, 4, OTHER, 0, 1)


def test_recovery_takes_places_that_interactions_had(one: Witness) -> None:
    """And interactions behind the recovery take those that are left; the index allows no more."""
    owner = author("recovered")
    sent(one, owner.incept())
    fork = owner.fork()
    for text in "abc":
        sent(one, owner.interact(seal(text)))
    for made in (fork.rotate(), fork.interact(seal("2")), fork.interact(seal("3"))):
        assert sent(one, made).receipt
    stands = [(sn, stands) for sn, _, stands in rows(one)]
    assert stands == [(0, 1), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)]
    said = [accepted.event.said for accepted in one.store.promised(owner.aid)]
    assert said == [accepted.event.said for accepted in one.store.events.events(owner.aid)]


def test_promise_is_part_of_its_transaction(one: Witness, owner: Author) -> None:
    """An error that leaves it leaves no promise; outside of one nothing is promised."""
    accepted = one.store.events.event(owner.aid, 4)
    assert accepted is not None
    with pytest.raises(RuntimeError):
        one.store.put_witnessed(accepted, supersedes=False)
    with pytest.raises(KeysteadError) as corrupt, one.store.transaction():
        one.store.put_witnessed(accepted, supersedes=False)
    assert corrupt.value.code is ErrorCode.STORE_CORRUPT
    assert one.store.witnessed(owner.aid, accepted.event.said) is Promise.STANDS


def test_fsck_compares_promises_with_logs(one: Witness, owner: Author) -> None:
    """A sound store has no findings; what is not as the log has it is found."""
    assert isinstance(one.store, DatabaseWitness)
    database = one.store.database
    assert fsck.check(database, own=(one.aid,)) == []
    assert fsck.check_witnessed(database) == []
    for name in ("witnessed_is_fixed", "witnessed_begins"):
        connection(one).execute(f"DROP TRIGGER {name}")
    for sn, change in ((0, "rank = 1"), (1, "stands = 0"), (2, "sn = 12"), (3, "said = 'gone'")):
        connection(one).execute(f"UPDATE witnessed SET {change} WHERE sn = {sn}")  # noqa: S608 - as above
    found = {finding.what for finding in fsck.check_witnessed(database)}
    assert found == {
        "the event has another rank",
        "it does not tell whether the event has its place still",
        "the event has another place",
        "the event is missing",
    }
    assert all(owner.aid in finding.where for finding in fsck.check_witnessed(database))


def test_invitations_are_used_up(one: Witness) -> None:
    """As often as they may be, and until they expire."""
    with one.store.transaction():
        one.store.invite(b"twice", 2, None)
        one.store.invite(b"soon", 1, 100)
        assert [one.store.use_invitation(b"twice", 0) for _ in range(3)] == [True, True, False]
        assert not one.store.use_invitation(b"soon", 100)
        assert one.store.use_invitation(b"soon", 99)
        assert not one.store.use_invitation(b"unknown", 0)


def test_mail_is_bounded(one: Witness) -> None:
    """The oldest messages for a recipient and topic make room, and all expire."""
    with one.store.transaction():
        for number in range(70):
            one.store.put_mail(ME.aid, "/replay", b"%d" % number, number)
        one.store.put_mail(ME.aid, "/reply", b"other", 0)
    found = one.store.mail(ME.aid, "/replay", 0)
    assert [(mail.place, mail.message) for mail in found] == [
        (number, b"%d" % number) for number in range(6, 70)
    ]
    assert one.store.mail(ME.aid, "/replay", 69) == found[-1:]
    one.store.expire_mail(69)
    assert one.store.mail(ME.aid, "/replay", 0) == found[-1:]
    assert one.store.mail(ME.aid, "/reply", 0) == []


def test_quarantine_ends_with_the_last_log(one: Witness, owner: Author) -> None:
    """What has to be seen again is kept, with what it must have."""
    with one.store.transaction():
        one.store.quarantine([(owner.aid, owner.state.said), (ME.aid, None)])
    assert dict(one.store.unconfirmed()) == {owner.aid: owner.state.said, ME.aid: None}
    one.store.confirm(owner.aid)
    assert one.store.about().quarantined
    one.store.confirm(ME.aid)
    assert not one.store.about().quarantined


def test_names_and_admissions(one: Witness) -> None:
    """A new name is another one; who was let in is counted by how."""
    before = one.store.about().store
    with one.store.transaction():
        after = one.store.rename()
        assert after == one.store.about().store != before
        aid = Aid(OTHER)
        one.store.admit(Admitted(aid, True, Origin.INVITATION, "then"))  # noqa: FBT003 - a record
        assert one.store.count_admitted(Origin.INVITATION) == 1
        one.store.admit(Admitted(aid, False, Origin.OPERATOR, "later"))  # noqa: FBT003 - a record
    found = one.store.admitted(aid)
    assert found is not None
    assert (found.allowed, found.origin) == (False, Origin.OPERATOR)
    assert one.store.count_admitted(Origin.INVITATION) == 0
    assert aid in [each.aid for each in one.store.all_admitted()]


def test_a_store_that_nobody_made_is_missing(tmp_path: Path) -> None:
    """Opening makes nothing."""
    with pytest.raises(KeysteadError) as missing:
        DatabaseWitness.open(tmp_path)
    assert missing.value.code is ErrorCode.STORE_MISSING
    assert "restore it from a back-up" in missing.value.hint
    assert list(tmp_path.iterdir()) == []
