"""Introductions to own identifiers: where they lead, and what is there."""

from datetime import timedelta
from pathlib import Path

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_frame
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri import build
from keystead.keri.messages import Receipt
from keystead.keri.oobi import OobiPath, parse_oobi, parse_path
from keystead.keri.routed import EndRole, Location
from keystead.keri.verdicts import Source
from keystead.limits import DEFAULT_LIMITS
from keystead.owner import life
from keystead.owner.exporting import log_stream
from keystead.owner.identifiers import create, rotate
from keystead.owner.intake import take_in
from keystead.owner.introductions import introduce, own_oobis, tree
from keystead.owner.plans import Change, Creation
from keystead.owner.statements import publish_location
from keystead.testing.authoring import Author, witness
from support.introductions import location
from support.lived_in import past_key
from support.logs import DIGEST, Node
from support.wallets import LocalWallet, make_wallet

PAIRS = [witness("one"), witness("two")]
URL = "https://example.com/"


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    wallet = make_wallet(tmp_path)
    create(wallet, "alice", Creation())
    return wallet


def _witnessed(wallet: LocalWallet) -> Aid:
    """Make an identifier with witnesses, which have not receipted it yet."""
    return create(wallet, "firm", Creation(witnesses=tuple(pair.aid for pair in PAIRS))).aid


def _receive(wallet: LocalWallet, *messages: bytes) -> None:
    with wallet.store.transaction():
        take_in(wallet, messages, source=Source.REMOTE)


def _receipts(wallet: LocalWallet, aid: Aid) -> bytes:
    found = wallet.events.event(aid, 0)
    assert found is not None
    body = build.receipt(Receipt(aid, 0, found.event.said))
    couples = tuple(pair.couple(found.event.raw) for pair in PAIRS)
    return body + write_frame([Group(GroupKind.RECEIPT_COUPLES, couples)])


def test_a_place_is_stated_once(wallet: LocalWallet) -> None:
    """Again when it is another, or when the keys are others."""
    aid = wallet.identifier("alice").aid
    role = EndRole(aid, "controller", aid, allowed=True)
    assert publish_location(wallet, "alice", "https", URL) == [Location(aid, "https", URL), role]
    assert publish_location(wallet, "alice", "https", URL) == []
    other = f"{URL[:-1]}:8443/"
    wallet.clock.advance(timedelta(seconds=1))
    assert publish_location(wallet, "alice", "https", other) == [Location(aid, "https", other)]
    rotate(wallet, "alice", Change())
    again = publish_location(wallet, "alice", "https", other)
    assert again == [Location(aid, "https", other), role]
    node = Node()
    made = introduce(wallet.events, [aid], OobiPath(aid))
    assert made is not None
    node.results(made.stream)
    record = node.store.record(Location(aid, "https", "").key)
    assert record is not None
    assert record.statement == Location(aid, "https", other)


def test_a_place_of_a_key_that_cannot_rotate_is_stated(wallet: LocalWallet) -> None:
    """Its signature stands beside the key, so nobody needs a log."""
    aid = create(wallet, "pocket", Creation(transferable=False)).aid
    assert len(publish_location(wallet, "pocket", "https", URL)) == 2
    assert publish_location(wallet, "pocket", "https", URL) == []
    node = Node()
    made = introduce(wallet.events, [aid], OobiPath(aid))
    assert made is not None
    node.results(made.stream)
    assert node.store.record(Location(aid, "https", "").key) is not None


def test_what_is_no_place_is_not_stated(wallet: LocalWallet) -> None:
    """The statement is verified as those of others are."""
    with pytest.raises(KeysteadError) as caught:
        publish_location(wallet, "alice", "https", "http://example.com/")
    assert caught.value.code is ErrorCode.VALUE


def test_only_the_own_identifiers_are_introduced(wallet: LocalWallet) -> None:
    """Whatever else the wallet holds; a path that names nobody leads to the first."""
    aid, bob = wallet.identifier("alice").aid, Author("bob")
    _receive(wallet, bob.incept().raw)
    assert introduce(wallet.events, [aid], OobiPath(bob.aid)) is None
    assert introduce(wallet.events, [aid], OobiPath(Aid(DIGEST))) is None
    blind = introduce(wallet.events, [aid], OobiPath())
    assert blind is not None
    assert blind.aid == aid
    assert blind == introduce(wallet.events, [aid], OobiPath(aid, "controller"))


def test_files_are_what_is_served(wallet: LocalWallet) -> None:
    """Each at the path of an introduction; no file stands in the place of a folder."""
    aid = wallet.identifier("alice").aid
    found = tree(wallet, "alice")
    assert set(found) == {f".well-known/keri/oobi/{aid}", f"oobi/{aid}/controller"}
    for path, data in found.items():
        parsed = parse_path(f"/{path}")
        assert parsed is not None
        made = introduce(wallet.events, [aid], parsed)
        assert made is not None
        assert made.stream == data


def test_notices_of_compromised_keys_are_served(wallet: LocalWallet) -> None:
    """Behind the log, as in an export."""
    aid = wallet.identifier("alice").aid
    rotate(wallet, "alice", Change())
    life.compromise(wallet, past_key(wallet, "alice"), reason="lost")
    made = introduce(wallet.events, [aid], OobiPath(aid))
    assert made is not None
    assert made.stream == b"".join(log_stream(wallet, "alice"))
    assert b'"r":"/keystead/key/compromise"' in made.stream


def test_a_log_without_receipts_is_not_given_out(wallet: LocalWallet) -> None:
    """Nobody could accept it; with the receipts it is, with the path of witnesses too."""
    aid = _witnessed(wallet)
    with pytest.raises(KeysteadError) as caught:
        tree(wallet, "firm")
    assert caught.value.code is ErrorCode.LIFE_STATE
    _receive(wallet, _receipts(wallet, aid))
    assert f"oobi/{aid}/witness" in tree(wallet, "firm")


def test_urls_lead_to_where_the_log_is_served(wallet: LocalWallet) -> None:
    """At witnesses that are known, or at the owner's place; a name may be proposed."""
    aid = wallet.identifier("alice").aid
    with pytest.raises(KeysteadError) as caught:
        own_oobis(wallet, "alice")
    assert caught.value.code is ErrorCode.UNKNOWN
    publish_location(wallet, "alice", "https", URL)
    (own,) = own_oobis(wallet, "alice", label="Alice at work")
    assert own.url == f"https://example.com/oobi/{aid}/controller?name=Alice%20at%20work"
    assert parse_oobi(own.url, DEFAULT_LIMITS) == own
    firm = _witnessed(wallet)
    with pytest.raises(KeysteadError):
        own_oobis(wallet, "firm")
    _receive(wallet, location(PAIRS[1], "http://127.0.0.1:5642/"))
    (found,) = own_oobis(wallet, "firm")
    assert found.url == f"http://127.0.0.1:5642/oobi/{firm}/witness/{PAIRS[1].aid}"
    with pytest.raises(KeysteadError):
        own_oobis(wallet, "firm", role="controller")
    publish_location(wallet, "firm", "https", "https://example.com/some/path")
    with pytest.raises(KeysteadError):
        own_oobis(wallet, "firm", role="controller")
