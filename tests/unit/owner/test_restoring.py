"""What a restored wallet learns from published logs beside their events."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from keystead.cesr.keys import digest
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri import build
from keystead.keri.seals import DigestSeal
from keystead.owner import identifiers as ids
from keystead.owner import life
from keystead.owner.compromises import compromises
from keystead.owner.plans import Change, Creation
from keystead.owner.restoring import (
    check_fork,
    forked_at,
    make_known,
    take_notices,
    unsigned_here,
)
from keystead.owner.settlement import reconcile, unreconciled
from keystead.ports.events import EventStore
from keystead.stores.memory import MemoryStore
from support.wallets import LocalWallet, copy, judged, make_wallet, put_back, reopen, snapshot

SEAL = DigestSeal(digest(b"data"))


def current_key(wallet: LocalWallet, name: str) -> str:
    """Return the id of the key that signs for an identifier."""
    state = wallet.events.key_state(wallet.identifier(name).aid)
    assert state is not None
    return build.commitment(state.establishment.signing_keys[0])


def published(wallet: LocalWallet, *names: str) -> EventStore:
    """Return the logs that a wallet exports, as others keep them."""
    return judged(wallet, *names).store


@pytest.mark.parametrize("destroyed", [False, True])
@pytest.mark.parametrize("since", [None, 1])
def test_notices_come_back_with_the_log(tmp_path: Path, since: int | None, destroyed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A restored copy knows which keys are compromised, and its next rotation repeats it."""
    wallet = make_wallet(tmp_path / "machine")
    aid = ids.create(wallet, "bob", Creation()).aid
    stolen = current_key(wallet, "bob")
    ids.anchor(wallet, "bob", [SEAL])
    if destroyed:
        ids.rotate(wallet, "bob", Change())
    old = snapshot(wallet, tmp_path / "old")
    life.compromise(wallet, stolen, since=since, reason="laptop stolen")
    ids.rotate(wallet, "bob", Change())
    outside = published(wallet, "bob")
    told = compromises(outside, aid)
    assert len(told) == 1
    wallet = put_back(wallet, old)
    assert reconcile(wallet, "bob", outside).compromised == 1
    key = wallet.key(stolen)
    assert key is not None
    assert (key.state, key.exposed_since) == (State.COMPROMISED, told[0].first_sn)
    assert wallet.records.history("key", stolen)[-1].note.action == "reconcile notice"
    assert wallet.identifier("bob").suspects
    assert compromises(published(wallet, "bob"), aid) == told
    assert reconcile(wallet, "bob", outside).compromised == 0
    ids.rotate(wallet, "bob", Change())
    (again,) = compromises(published(wallet, "bob"), aid)
    assert (again.signing_key, again.first_sn) == (told[0].signing_key, told[0].first_sn)
    assert again.reason == "laptop stolen"
    assert again.signer_sn > told[0].signer_sn


def test_a_later_notice_moves_the_first_doubted_event(tmp_path: Path) -> None:
    """What another copy found out since about a marked key is taken over too."""
    wallet = make_wallet(tmp_path / "machine")
    aid = ids.create(wallet, "bob", Creation()).aid
    stolen = current_key(wallet, "bob")
    for _ in range(3):
        ids.anchor(wallet, "bob", [SEAL])
    life.compromise(wallet, stolen, since=3)
    ids.rotate(wallet, "bob", Change())
    old = snapshot(wallet, tmp_path / "old")
    wallet.clock.advance(timedelta(days=1))
    life.compromise(wallet, stolen, since=1)
    outside = published(wallet, "bob")
    wallet = put_back(wallet, old)
    assert take_notices(wallet, aid, outside) == 1
    key = wallet.key(stolen)
    assert key is not None
    assert key.exposed_since == 1
    assert [one.first_sn for one in compromises(published(wallet, "bob"), aid)] == [1]


def test_a_log_without_notices_changes_nothing(tmp_path: Path) -> None:
    """Most logs have none: no record is written."""
    wallet = make_wallet(tmp_path)
    aid = ids.create(wallet, "bob", Creation()).aid
    before = wallet.store.audit_head()
    assert take_notices(wallet, aid, published(wallet, "bob")) == 0
    assert wallet.store.audit_head() == before


def test_events_of_this_machine_are_told_from_others(tmp_path: Path) -> None:
    """What the marks tell to have been signed here needs no question, anything behind it does."""
    wallet = make_wallet(tmp_path / "here")
    aid = ids.create(wallet, "alice", Creation()).aid
    old = snapshot(wallet, tmp_path / "old")
    there = copy(wallet, tmp_path / "there")
    for _ in range(2):
        ids.rotate(wallet, "alice", Change())
    outside = published(wallet, "alice")
    wallet = put_back(wallet, old)
    assert unsigned_here(wallet, aid, outside) == []
    assert [one.event.sn for one in unsigned_here(there, aid, outside)] == [1, 2]
    reconcile(there, "alice", outside)
    ids.anchor(there, "alice", [SEAL])
    later = published(there, "alice")
    assert [one.event.sn for one in unsigned_here(wallet, aid, later)] == [3]
    assert unsigned_here(there, aid, later) == []


@pytest.mark.parametrize("older", [False, True])
def test_a_wallet_that_saw_another_log_signs_no_further(tmp_path: Path, older: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Not until the owner accepts it; also where only the mark tells what was signed here."""
    wallet = make_wallet(tmp_path / "here")
    record = ids.create(wallet, "alice", Creation())
    old = snapshot(wallet, tmp_path / "old")
    there = copy(wallet, tmp_path / "there")
    reconcile(there, "alice", MemoryStore(), accept_duplicity=True)
    ids.rotate(there, "alice", Change())
    ids.anchor(wallet, "alice", [SEAL])
    own = published(wallet, "alice")
    if older:
        wallet = put_back(wallet, old)
    outside = published(there, "alice")
    assert forked_at(wallet, record.aid, outside) == 1
    assert unsigned_here(wallet, record.aid, outside) == []
    for _ in range(2):
        with pytest.raises(KeysteadError, match="another version") as caught:
            reconcile(wallet, "alice", outside)
        assert caught.value.code is ErrorCode.BEHIND
        assert "somebody else has your keys" in caught.value.hint
    notes = [one.note.action for one in wallet.records.history("identifier", record.aid)]
    assert notes.count("fork seen") == 1
    assert [one.name for one in unreconciled(wallet)] == ["alice"]
    with pytest.raises(KeysteadError, match="another event"):
        ids.rotate(wallet, "alice", Change())
    with pytest.raises(KeysteadError, match="was published before"):
        reconcile(wallet, "alice", own)  # one's own log does not take it back
    reconcile(wallet, "alice", MemoryStore(), accept_duplicity=True)
    ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice")


def test_the_same_log_is_no_fork(tmp_path: Path) -> None:
    """A longer, a shorter and an equal log agree with the wallet."""
    wallet = make_wallet(tmp_path / "here")
    aid = ids.create(wallet, "alice", Creation()).aid
    logs = [published(wallet, "alice")]
    old = snapshot(wallet, tmp_path / "old")
    for _ in range(2):
        ids.rotate(wallet, "alice", Change())
        logs.append(published(wallet, "alice"))
    for one in logs:
        check_fork(wallet, aid, one)
    wallet = put_back(wallet, old)
    for one in logs:
        check_fork(wallet, aid, one)
    assert not wallet.identifier(aid).forked


@pytest.mark.parametrize("lost", ["state", "home"])
@pytest.mark.parametrize("remembered", [False, True])
def test_a_wallet_without_identifiers_is_made_known(
    tmp_path: Path,
    lost: str,
    remembered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Lost marks or an older copy: its new identifiers come from a new seed."""
    wallet = make_wallet(tmp_path / "machine")
    old = snapshot(wallet, tmp_path / "old")
    if lost == "state":
        shutil.rmtree(tmp_path / "machine" / "state")
        wallet = reopen(wallet)
    elif remembered:
        for _ in range(8):
            life.retire(wallet, f"master.{wallet.state().epoch}")
        wallet.remember()
        wallet = put_back(wallet, old)
    else:
        ids.create(wallet, "gone", Creation())
        ids.rotate(wallet, "gone", Change())
        wallet = put_back(wallet, old)
    with pytest.raises(KeysteadError) as caught:
        ids.create(wallet, "alice", Creation())
    assert caught.value.code is ErrorCode.BEHIND
    assert make_known(wallet)
    assert not make_known(wallet)
    wallet = reopen(wallet)
    assert wallet.state().epoch == 1
    notes = [one.note for one in wallet.records.history("state", "wallet")]
    assert notes[-1].action == "reconcile"
    assert "another copy" in notes[-1].reason
    ids.create(wallet, "alice", Creation())
    ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice")
