"""Contacts: how they are kept, found again, and found out."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from keystead.cesr import said as addressing
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.build import Configuration
from keystead.owner import contacts
from keystead.owner.contacts import Contact
from keystead.owner.exporting import log_stream
from keystead.owner.identifiers import create, rotate
from keystead.owner.plans import Change, Creation
from keystead.services.http import Response
from keystead.testing.authoring import Author, witness
from support.introductions import Place, local_transport, places, tell_places
from support.logs import attached, endorsed, routed
from support.wallets import LocalWallet, make_wallet, reopen

PAIRS = [witness("one"), witness("two")]


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    return make_wallet(tmp_path)


@pytest.fixture(name="two")
def _two() -> Iterator[list[Place]]:
    """Give two services, one at each witness of Bob, with his log."""
    with places(2) as found:
        tell_places(PAIRS, found)
        yield found


@pytest.fixture(name="bob")
def _bob(two: list[Place]) -> Author:
    author = Author("bob", witnesses=PAIRS)
    _publish(two, author.incept().raw)
    return author


def _publish(found: list[Place], *messages: bytes) -> None:
    for place in found:
        place.node.accept(*messages)


def _add(wallet: LocalWallet, place: Place, author: Author, name: str = "bob") -> Contact:
    found = contacts.discover_log(wallet, local_transport(), place.oobi(author.aid, "witness"))
    return contacts.add_found(wallet, found, name)


def _code(caught: pytest.ExceptionInfo[KeysteadError]) -> ErrorCode:
    return caught.value.code


def test_a_contact_is_kept(wallet: LocalWallet, two: list[Place], bob: Author) -> None:
    """By its identifier, with what was verified, sealed in the wallet."""
    added = _add(wallet, two[0], bob)
    assert added.aid == bob.aid
    assert str(added.inception) == str(added.said) == bob.aid
    assert (added.name, added.sn, added.confirmed) == ("bob", 0, 2)
    assert added.url == two[0].oobi(bob.aid, "witness")
    assert added.found_at == "2026-01-02T03:04:05.000000+00:00"
    again = reopen(wallet)
    assert contacts.find_contact(again, "bob") == contacts.find_contact(again, bob.aid) == added
    assert contacts.contacts(again) == [added]
    known = contacts.known_contact(again, "bob")
    assert known.state == bob.state
    assert known.duplicity == ()
    data = (wallet.home / "wallet.db").read_bytes()
    assert b'"name":"bob"' not in data


def test_endpoints_are_remembered(wallet: LocalWallet, two: list[Place], bob: Author) -> None:
    """In the roles that the contact gave them."""
    raw = routed(
        "rpy", r="/end/role/add", a={"cid": bob.aid, "role": "mailbox", "eid": PAIRS[0].aid}
    )
    two[0].node.feed(attached(raw, endorsed(bob, raw)))
    url = two[0].oobi(bob.aid, "mailbox", PAIRS[0].aid)
    found = contacts.discover_log(wallet, local_transport(), url)
    added = contacts.add_found(wallet, found, "bob")
    assert added.endpoints == (("mailbox", PAIRS[0].aid),)


def test_names_and_identifiers_are_taken_once(
    wallet: LocalWallet, two: list[Place], bob: Author
) -> None:
    """Nor can one's own identifier be a contact."""
    added = _add(wallet, two[0], bob)
    own = create(wallet, "me", Creation())
    for name in ("bob", "robert"):
        with pytest.raises(KeysteadError) as caught:
            _add(wallet, two[0], bob, name)
        assert _code(caught) is ErrorCode.EXISTS
    with pytest.raises(KeysteadError) as caught:
        contacts.add_file(wallet, "myself", log_stream(wallet, "me"))
    assert _code(caught) is ErrorCode.EXISTS
    for wrong in ("", bob.aid, "-x"):
        with pytest.raises(KeysteadError) as caught:
            contacts.rename_contact(wallet, "bob", wrong)
        assert _code(caught) is ErrorCode.NAME
    assert contacts.contacts(wallet) == [added]
    assert own.aid != added.aid


def test_the_number_of_contacts_is_bounded(
    wallet: LocalWallet, two: list[Place], bob: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that goes wrong does not fill the wallet."""
    monkeypatch.setattr(contacts, "MOST_CONTACTS", 0)
    with pytest.raises(KeysteadError) as caught:
        _add(wallet, two[0], bob)
    assert _code(caught) is ErrorCode.ARGUMENT


def test_a_contact_is_renamed_and_removed(
    wallet: LocalWallet, two: list[Place], bob: Author
) -> None:
    """Its log stays; the audit log tells of each."""
    added = _add(wallet, two[0], bob)
    assert contacts.rename_contact(wallet, "bob", "bob") == added
    renamed = contacts.rename_contact(wallet, "bob", "robert")
    assert contacts.find_contact(wallet, "robert") == renamed
    with pytest.raises(KeysteadError) as caught:
        contacts.find_contact(wallet, "bob")
    assert _code(caught) is ErrorCode.UNKNOWN
    contacts.remove_contact(wallet, "robert")
    assert contacts.contacts(wallet) == []
    assert wallet.events.key_state(bob.aid) is not None
    actions = [one.note.action for one in wallet.records.history("contact", bob.aid)]
    assert actions == ["add contact", "rename contact", "remove contact"]
    assert _add(wallet, two[0], bob).name == "bob"


def test_a_later_log_is_noted(wallet: LocalWallet, two: list[Place], bob: Author) -> None:
    """With the time at which it was found."""
    added = _add(wallet, two[0], bob)
    wallet.clock.advance(timedelta(hours=3))
    _publish(two, bob.rotate().raw)
    found = contacts.discover_log(wallet, local_transport(), added.url)
    fresh = contacts.note_found(wallet, added, found)
    assert (fresh.sn, fresh.said, fresh.confirmed) == (1, bob.state.said, 2)
    assert fresh.found_at > added.found_at
    assert fresh.added_at == added.added_at
    assert contacts.find_contact(wallet, "bob") == fresh


def test_a_shorter_log_is_not_noted(wallet: LocalWallet, two: list[Place], bob: Author) -> None:
    """Services that were set back do not set the contact back."""
    _publish(two[1:], bob.rotate().raw)
    added = _add(wallet, two[1], bob)
    url = two[0].oobi(bob.aid, "witness")
    found = contacts.discover_log(wallet, local_transport(), url, confirm=False)
    with pytest.raises(KeysteadError) as caught:
        contacts.note_found(wallet, added, found)
    assert _code(caught) is ErrorCode.STALE
    assert contacts.find_contact(wallet, "bob") == added


def test_somebody_else_is_not_noted(wallet: LocalWallet, two: list[Place], bob: Author) -> None:
    """An introduction may lead elsewhere by now."""
    added = _add(wallet, two[0], bob)
    carol = Author("carol")
    two[0].node.accept(carol.incept().raw)
    found = contacts.discover_log(wallet, local_transport(), two[0].oobi(carol.aid))
    with pytest.raises(KeysteadError) as caught:
        contacts.note_found(wallet, added, found)
    assert _code(caught) is ErrorCode.INTRODUCTION


def test_a_key_without_log_is_no_contact(wallet: LocalWallet, two: list[Place]) -> None:
    """Such as that of a witness."""
    found = contacts.discover_log(wallet, local_transport(), two[0].oobi(PAIRS[0].aid))
    with pytest.raises(KeysteadError) as caught:
        contacts.add_found(wallet, found, "witness")
    assert _code(caught) is ErrorCode.INTRODUCTION


def test_a_log_that_went_back_in_the_wallet_is_found_out(
    wallet: LocalWallet, two: list[Place], bob: Author
) -> None:
    """Whoever can write to the file cannot make the wallet forget a rotation."""
    _publish(two, bob.rotate().raw)
    _add(wallet, two[0], bob)
    wallet.sqlite.close()
    with closing(sqlite3.connect(wallet.home / "wallet.db")) as connection, connection:
        found = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
        for trigger in (name for kind, name in found if kind == "trigger"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for table in (name for kind, name in found if kind == "table"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if "aid" in columns:
                connection.execute(f"DELETE FROM {table} WHERE aid = ?", (bob.aid,))  # noqa: S608 - ours
    again = reopen(wallet)
    with pytest.raises(KeysteadError) as caught:
        contacts.known_contact(again, "bob")
    assert _code(caught) is ErrorCode.TAMPERED


def test_a_contact_comes_from_a_file(wallet: LocalWallet, tmp_path: Path) -> None:
    """A delegated one with its delegator in the file."""
    other = make_wallet(tmp_path / "other")
    create(other, "bob", Creation())
    rotate(other, "bob", Change())
    added = contacts.add_file(wallet, "bob", log_stream(other, "bob"))
    assert (added.sn, added.url, added.confirmed) == (1, "", 0)
    boss, carol = Author("boss"), Author("carol")
    inception = boss.incept().raw
    signed = carol.incept(configuration=Configuration(delegator=boss.aid))
    stream = [inception, boss.interact(signed.seal).raw, signed.raw]
    assert contacts.add_file(wallet, "carol", stream).aid == carol.aid


@pytest.mark.parametrize("names", [(), ("bob", "carol")])
def test_a_file_is_about_one_identifier(wallet: LocalWallet, names: tuple[str, ...]) -> None:
    """Nothing of it is kept otherwise."""
    authors = [Author(name) for name in names]
    logs = [author.incept().raw for author in authors]
    with pytest.raises(KeysteadError) as caught:
        contacts.add_file(wallet, "bob", logs)
    assert _code(caught) is ErrorCode.INTRODUCTION
    assert all(wallet.events.key_state(author.aid) is None for author in authors)


def test_a_schema_is_kept_once(
    wallet: LocalWallet, two: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its digest, and no more than there is room for; it is nobody's log."""
    raw, said = addressing.address({"$id": "", "title": "a"}, labels=["$id"], protocol=None)
    two[0].answers[f"/oobi/{said}"] = Response(body=raw, content_type="application/schema+json")
    url = two[0].oobi(said)
    with pytest.raises(KeysteadError) as caught:
        contacts.discover_log(wallet, local_transport(), url)
    assert _code(caught) is ErrorCode.INTRODUCTION
    contacts.discover(wallet, local_transport(), url)
    assert len(wallet.records.history(contacts.SCHEMA, said)) == 1
    monkeypatch.setattr(contacts, "MOST_SCHEMAS", 1)
    contacts.discover(wallet, local_transport(), url)
    raw, said = addressing.address({"$id": "", "title": "b"}, labels=["$id"], protocol=None)
    two[0].answers[f"/oobi/{said}"] = Response(body=raw, content_type="application/schema+json")
    with pytest.raises(KeysteadError) as caught:
        contacts.discover(wallet, local_transport(), two[0].oobi(said))
    assert _code(caught) is ErrorCode.ARGUMENT


def test_the_own_log_is_protected(wallet: LocalWallet, two: list[Place]) -> None:
    """Events of one's own identifier that a service gives are not taken over."""
    record = create(wallet, "me", Creation())
    two[0].node.accept(*log_stream(wallet, "me"))
    found = contacts.discover_log(wallet, local_transport(), two[0].oobi(record.aid))
    assert found.foreign == ()
    with pytest.raises(KeysteadError) as caught:
        contacts.add_found(wallet, found, "myself")
    assert _code(caught) is ErrorCode.EXISTS
