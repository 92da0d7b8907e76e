"""The life of keys in a wallet: found, compromised, retired, imported."""

from datetime import timedelta
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid, Digest, make_key, parse_key
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.errors import DecodeError, ErrorCode, KeysteadError, KeystoreError, UsageError
from keystead.keri import build
from keystead.keri.seals import DigestSeal
from keystead.keri.thresholds import Field
from keystead.keystores import envelope as envelopes
from keystead.keystores.passphrase import KdfParameters
from keystead.owner import identifiers as ids
from keystead.owner import life, shredding, unlocking
from keystead.owner.compromises import compromises
from keystead.owner.plans import Change, Creation
from keystead.owner.wallet import KEY, Wallet
from keystead.suites import Suite, public_key
from support.lived_in import checked
from support.wallets import (
    DATA_KEY,
    WALLET,
    LocalWallet,
    copy,
    crash_before_keeping,
    judged,
    make_wallet,
    reopen,
)

SEED = bytes(range(32))
ANCHOR = DigestSeal(Digest("E" + "A" * 43))
KDF = KdfParameters(memory_kib=19 * 1024, passes=2, lanes=1, salt=b"salt of a wallet")
# A key of its own weight for each rotation: one of the wallet, one that is brought.
BOTH: Field = ["1", "1"]


@pytest.fixture
def wallet(tmp_path: Path) -> LocalWallet:
    """Return a wallet in which alice has rotated once, and bob not."""
    made = make_wallet(tmp_path)
    for name in ("alice", "bob"):
        ids.create(made, name, Creation())
    ids.rotate(made, "alice", Change())
    return made


def _keys(wallet: Wallet, name: str) -> list[KeyRecord]:
    """Return the keys of an identifier, the first one first."""
    return life.keys_of(wallet, wallet.identifier(name).aid)


def _public(seed: bytes = SEED, suite: Suite = Suite.ED25519, *, transferable: bool = True) -> str:
    return make_key(suite, public_key(suite, seed), transferable=transferable).text


def _told(wallet: Wallet, name: str) -> dict[str, int]:
    """Return the keys that notices behind a log tell of, and the first event to doubt."""
    found = compromises(wallet.events, wallet.identifier(name).aid)
    return {build.commitment(one.signing_key): one.first_sn for one in found}


def test_a_key_is_found_by_what_people_have_of_it(wallet: LocalWallet) -> None:
    """Its id, enough of its beginning, its public half, or its label."""
    key = _keys(wallet, "alice")[0]
    brought = life.import_key(wallet, SEED, _public(), label="cold")
    for text in (key.id, key.id[:12], key.public_key):
        assert life.find_key(wallet, text).id == key.id
    assert life.find_key(wallet, "cold").id == brought.id
    assert life.find_key(wallet, "master.0").type is KeyType.MASTER_SEED
    assert life.find_key(wallet, "wallet.d").id == "wallet.data"


@pytest.mark.parametrize("text", ["", "E", "wallet", "wallet.", "none of these", "E" + "x" * 43])
def test_what_is_not_one_key_is_told(wallet: LocalWallet, text: str) -> None:
    """Nothing, too little, several keys, and what is no key at all."""
    with pytest.raises(UsageError) as caught:
        life.find_key(wallet, text)
    assert caught.value.code is ErrorCode.UNKNOWN


def test_a_compromised_current_key_signs_only_the_rotation(wallet: LocalWallet) -> None:
    """It anchors nothing more; the rotation replaces it and tells of it, in the owner's words."""
    current = _keys(wallet, "alice")[-2]
    (marked,) = life.compromise(wallet, current.id, since=1, reason="laptop stolen")
    assert (marked.state, marked.exposed_since) == (State.COMPROMISED, 1)
    with pytest.raises(KeystoreError) as caught:
        ids.anchor(wallet, "alice", [ANCHOR])
    assert caught.value.code is ErrorCode.LIFE_STATE
    assert _told(wallet, "alice") == {}
    ids.rotate(wallet, "alice", Change(), reason="something else")
    (notice,) = compromises(wallet.events, wallet.identifier("alice").aid)
    assert (notice.first_sn, notice.reason) == (1, "laptop stolen")
    ids.anchor(wallet, "alice", [ANCHOR])
    judged(wallet, "alice")


def test_a_compromised_past_key_is_told_of_at_once(wallet: LocalWallet) -> None:
    """No rotation is needed for a notice; the next keys repeat it."""
    first = _keys(wallet, "alice")[0]
    life.compromise(wallet, first.id)
    assert _told(wallet, "alice") == {first.id: 0}
    ids.rotate(wallet, "alice", Change())
    (notice,) = compromises(wallet.events, wallet.identifier("alice").aid)
    assert notice.signer_sn == 2


def test_a_notice_is_not_repeated_by_the_same_keys(wallet: LocalWallet) -> None:
    """Another compromise adds its own notice, and leaves the others as they are."""
    ids.rotate(wallet, "alice", Change())
    first, second = _keys(wallet, "alice")[:2]
    life.compromise(wallet, first.id)
    aid = wallet.identifier("alice").aid
    (before,) = compromises(wallet.events, aid)
    wallet.clock.advance(timedelta(seconds=1))
    life.compromise(wallet, second.id)
    assert before in compromises(wallet.events, aid)
    assert _told(wallet, "alice") == {first.id: 0, second.id: 1}


def test_a_compromised_next_key_takes_two_rotations(wallet: LocalWallet) -> None:
    """The first uses it up and cannot tell of it; the second puts an unseen key in force."""
    following = _keys(wallet, "alice")[-1]
    life.compromise(wallet, following.id)
    ids.rotate(wallet, "alice", Change())
    assert _keys(wallet, "alice")[-2].id == following.id
    assert _told(wallet, "alice") == {}
    ids.rotate(wallet, "alice", Change())
    assert _told(wallet, "alice") == {following.id: 2}
    ids.anchor(wallet, "alice", [ANCHOR])
    judged(wallet, "alice")


def test_where_the_thief_began_can_be_corrected(wallet: LocalWallet) -> None:
    """Another place is told in another notice; the same again is refused, as is no place."""
    first = _keys(wallet, "alice")[0]
    life.compromise(wallet, first.id, since=1)
    assert _told(wallet, "alice") == {first.id: 1}
    for since in (None, 1):
        with pytest.raises(KeystoreError) as caught:
            life.compromise(wallet, first.id, since=since)
        assert caught.value.code is ErrorCode.LIFE_STATE
    wallet.clock.advance(timedelta(seconds=1))
    life.compromise(wallet, first.id, since=0)
    assert _told(wallet, "alice") == {first.id: 0}


@pytest.mark.parametrize(("key", "since"), [("alice", 3), ("alice", -1), ("master.0", 0)])
def test_a_place_that_no_thief_can_have_is_refused(
    wallet: LocalWallet, key: str, since: int
) -> None:
    """Beyond the event that comes next, before the first, or for a key that signs nothing."""
    found = _keys(wallet, "alice")[1].id if key == "alice" else key
    with pytest.raises(UsageError) as caught:
        life.compromise(wallet, found, since=since)
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 3000, "bell\a"])
def test_a_reason_that_no_notice_could_tell_is_refused_at_once(
    wallet: LocalWallet, reason: str
) -> None:
    """Not only at the rotation, when it is urgent."""
    with pytest.raises(UsageError) as caught:
        life.compromise(wallet, "master.0", reason=reason)
    assert caught.value.code is ErrorCode.ARGUMENT
    assert wallet.key("master.0").state is State.ACTIVE  # type: ignore[union-attr] # it is there


def test_a_compromised_seed_takes_all_below_it_along(wallet: LocalWallet) -> None:
    """Keys derived from it are marked; after two rotations the thief can derive nothing."""
    marked = {one.id for one in life.compromise(wallet, "master.0")}
    keys = {one.id for name in ("alice", "bob") for one in _keys(wallet, name)}
    assert marked == {"master.0", *keys}
    assert wallet.state().epoch == 1
    for name in ("alice", "bob"):
        ids.rotate(wallet, name, Change())
        ids.rotate(wallet, name, Change())
        current, following = _keys(wallet, name)[-2:]
        assert (current.state, following.state) == (State.ACTIVE, State.PRE_ACTIVE)
        assert current.uri.startswith("derived:1/")
        ids.anchor(wallet, name, [ANCHOR])
    ids.create(wallet, "carol", Creation())
    uris = [one.uri for one in (*_keys(wallet, "carol"), *_keys(wallet, "bob"))]
    assert len(set(uris)) == len(uris)
    again = reopen(wallet)
    ids.rotate(again, "alice", Change(next_keys=2))
    ids.rotate(again, "alice", Change())
    judged(again, "alice", "bob", "carol")


def test_a_crash_after_a_seed_was_compromised_is_finished(wallet: LocalWallet) -> None:
    """An event that was signed, and not kept, before or after the mark is put on its log."""
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change())
    life.compromise(wallet, "master.0")
    assert len(_keys(wallet, "alice")) == 4
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change())
    again = reopen(wallet)
    ids.rotate(again, "alice", Change(next_keys=2))
    judged(again, "alice")


def test_a_compromised_branch_takes_one_identifier_along(wallet: LocalWallet) -> None:
    """When a seed was parted, each identifier has a branch for itself."""
    shredding.shred(wallet, "master.0")
    life.compromise(wallet, "branch.0.1")
    assert {one.state for one in _keys(wallet, "bob")} == {State.COMPROMISED}
    assert State.COMPROMISED not in {one.state for one in _keys(wallet, "alice")}
    ids.rotate(wallet, "bob", Change())
    assert _keys(wallet, "bob")[-1].uri.startswith("derived:1/")


def test_a_seed_that_is_gone_can_turn_out_to_be_known(wallet: LocalWallet) -> None:
    """What was erased here is still on paper elsewhere: all it derived is marked, gone or not."""
    first = _keys(wallet, "alice")[0]
    shredding.shred(wallet, first.id)
    life.compromise(wallet, "master.0")
    states = {one.id: one.state for one in _keys(wallet, "alice")}
    assert states.pop(first.id) is State.DESTROYED_COMPROMISED
    assert set(states.values()) == {State.COMPROMISED}
    assert wallet.key("branch.0.0").state is State.COMPROMISED  # type: ignore[union-attr] # as told


def test_a_compromised_data_key_reaches_what_it_wraps(wallet: LocalWallet) -> None:
    """Seeds, their keys, and imported keys."""
    brought = life.import_key(wallet, SEED, _public())
    marked = {one.id for one in life.compromise(wallet, "wallet.data")}
    assert {"wallet.data", "master.0", brought.id, _keys(wallet, "bob")[0].id} <= marked
    assert "wallet.passphrase" not in marked


def test_a_compromised_passphrase_is_replaced(wallet: LocalWallet) -> None:
    """Without a copy of the wallet it opens nothing, so nothing goes along with it."""
    before, after = (envelopes.close(WALLET, DATA_KEY, phrase, KDF) for phrase in (b"old", b"new"))
    with wallet.sqlite.transaction():
        wallet.sqlite.set_envelope(before)
    name = KeyType.WALLET_PASSPHRASE
    assert [one.id for one in life.compromise(wallet, name)] == [name]
    assert wallet.key("wallet.data").state is State.ACTIVE  # type: ignore[union-attr] # it is there
    unlocking.change_passphrase(wallet, wallet.sqlite, before=before, after=after)
    steps = [one.note.after for one in wallet.records.history(KEY, name)]
    assert steps[-4:] == ["compromised", "destroyed-compromised", "pre-active", "active"]


def test_impact_tells_what_a_thief_can_do(wallet: LocalWallet) -> None:
    """By kind: sign with the current key, take over with the next one, everything with the seed."""
    past, current, following = _keys(wallet, "alice")
    (one,) = life.impact_of(wallet, current.id).identifiers
    assert (one.thief_can_sign, one.thief_can_rotate, one.current) == (True, False, (current.id,))
    (one,) = life.impact_of(wallet, following.id).identifiers
    assert (one.thief_can_sign, one.thief_can_rotate, one.next) == (False, True, (following.id,))
    (one,) = life.impact_of(wallet, past.id).identifiers
    assert (one.thief_can_sign, one.thief_can_rotate, one.past) == (False, False, (past.id,))
    whole = life.impact_of(wallet, "wallet.data")
    assert whole.wrapped == ("master.0",)
    assert len(whole.derived) == 5
    assert len(whole.identifiers) == 2
    assert [event.sn for event in life.impact_of(wallet, past.id).events] == [0]


def test_impact_follows_keys_to_their_branch(wallet: LocalWallet) -> None:
    """When a seed is gone its keys are below the branch that derives them now."""
    shredding.shred(wallet, "master.0")
    assert len(life.impact_of(wallet, "branch.0.0").derived) == 3
    assert len(life.impact_of(wallet, "branch.0.1").derived) == 2
    assert len(life.impact_of(wallet, "master.0").derived) == 7


def test_one_of_more_keys_than_needed_is_retired(tmp_path: Path) -> None:
    """What is left still signs; one more is refused, and repeating changes nothing."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "board", Creation(keys=3, threshold="2"))
    first, second = _keys(wallet, "board")[:2]
    assert life.retire(wallet, first.id, reason="worn").state is State.DEACTIVATED
    before = wallet.store.audit_head()
    assert life.retire(wallet, first.id).state is State.DEACTIVATED
    assert wallet.store.audit_head() == before
    with pytest.raises(KeystoreError) as caught:
        life.retire(wallet, second.id)
    assert "too few would be left" in caught.value.message
    ids.anchor(wallet, "board", [ANCHOR])
    ids.rotate(wallet, "board", Change())
    judged(wallet, "board")


def test_what_is_needed_is_not_retired(wallet: LocalWallet) -> None:
    """Next keys, the only current one, what serves the wallet, and what is gone or known."""
    past, current, following = _keys(wallet, "alice")
    brought = life.import_key(wallet, SEED, _public())
    life.compromise(wallet, past.id)
    own = (KeyType.WALLET_DATA, KeyType.WALLET_PASSPHRASE)
    for key in (current.id, following.id, past.id, brought.id, *own):
        with pytest.raises(KeystoreError) as caught:
            life.retire(wallet, key)
        assert caught.value.code is ErrorCode.LIFE_STATE


def test_a_retired_seed_makes_no_keys_for_new_identifiers(wallet: LocalWallet) -> None:
    """Those that have keys of it keep them."""
    assert life.retire(wallet, "master.0").state is State.DEACTIVATED
    ids.create(wallet, "carol", Creation())
    assert _keys(wallet, "carol")[0].parent == "master.1"
    ids.rotate(wallet, "alice", Change())
    assert _keys(wallet, "alice")[-1].parent == "master.0"
    life.retire(wallet, "master.0")
    assert wallet.state().epoch == 1


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1])
def test_an_imported_key_rotates_in_and_signs(wallet: LocalWallet, suite: Suite) -> None:
    """It waits for nobody, is for an identifier when that commits to it, and then for it alone."""
    brought = life.import_key(wallet, SEED, _public(suite=suite), label="cold")
    assert (brought.state, brought.method, brought.identifier) == (
        State.PRE_ACTIVE,
        Method.IMPORTED,
        "",
    )
    ids.rotate(wallet, "alice", Change(reserve=(Digest(brought.id),), next_threshold=BOTH))
    assigned = wallet.key(brought.id)
    assert assigned is not None
    assert assigned.identifier == wallet.identifier("alice").aid
    again = reopen(wallet)
    ids.rotate(again, "alice", Change(next_threshold="1"))
    key = again.key(brought.id)
    assert key is not None
    assert key.state is State.ACTIVE
    ids.anchor(again, "alice", [ANCHOR])
    state = again.events.key_state(again.identifier("alice").aid)
    assert state is not None
    assert _public(suite=suite) in [one.text for one in state.establishment.signing_keys]
    event = again.events.event(state.aid, state.sn)
    assert event is not None
    assert len(event.proofs.signatures) == 2
    judged(again, "alice")


def test_an_imported_key_can_be_the_next_key_of_a_new_identifier(wallet: LocalWallet) -> None:
    """The first event commits to it, and the key stays what it was."""
    brought = life.import_key(wallet, SEED, _public(), label="cold")
    wanted = Creation(reserve=(Digest(brought.id),), next_threshold=BOTH)
    carol = ids.create(wallet, "carol", wanted)
    key = wallet.key(brought.id)
    assert key is not None
    assert (key.identifier, key.uri, key.label) == (carol.aid, brought.uri, "cold")
    ids.rotate(wallet, "carol", Change(next_threshold="1"))
    assert wallet.key(brought.id).state is State.ACTIVE  # type: ignore[union-attr] # it is there
    judged(wallet, "carol")


def test_an_imported_key_serves_one_identifier(wallet: LocalWallet) -> None:
    """Once one commits to it no other can, nor the same one once more."""
    brought = Digest(life.import_key(wallet, SEED, _public()).id)
    change = Change(reserve=(brought,), next_threshold=BOTH)
    ids.rotate(wallet, "alice", change)
    for attempt in (
        lambda: ids.rotate(wallet, "bob", change),
        lambda: ids.rotate(wallet, "alice", change),
        lambda: ids.create(wallet, "carol", Creation(reserve=(brought,), next_threshold=BOTH)),
    ):
        with pytest.raises(KeysteadError) as caught:
            attempt()
        assert caught.value.code in (ErrorCode.ARGUMENT, ErrorCode.ROLE)
    assert wallet.key(brought).identifier == wallet.identifier("alice").aid  # type: ignore[union-attr] # as told


def test_a_crash_does_not_lose_an_imported_key(wallet: LocalWallet) -> None:
    """A rotation that commits to it is finished with it."""
    brought = Digest(life.import_key(wallet, SEED, _public()).id)
    change = Change(reserve=(brought,), next_threshold=BOTH)
    with crash_before_keeping():
        ids.rotate(wallet, "alice", change)
    again = reopen(wallet)
    ids.rotate(again, "alice", Change(next_threshold="1"))
    key = again.key(brought)
    assert key is not None
    assert key.state is State.ACTIVE
    judged(again, "alice")


def test_an_imported_key_that_a_crash_kept_from_the_log_is_not_shredded(
    wallet: LocalWallet,
) -> None:
    """The rotation that commits to it is finished first, and needs it then."""
    brought = Digest(life.import_key(wallet, SEED, _public()).id)
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change(reserve=(brought,), next_threshold="2"))
    again = reopen(wallet)
    with pytest.raises(KeystoreError, match="committed to by the log"):
        shredding.shred(again, brought)
    ids.rotate(again, "alice", Change())
    judged(again, "alice")


def test_a_reserve_key_that_a_crash_kept_from_the_log_is_given_to_nobody_else(
    wallet: LocalWallet,
) -> None:
    """The rotation that commits to it is finished before another identifier may take it."""
    change = Change(reserve=(build.commitment(parse_key(_public())),), next_threshold=BOTH)
    with crash_before_keeping():
        ids.rotate(wallet, "alice", change)
    again = reopen(wallet)
    with pytest.raises(UsageError, match="given for an identifier before"):
        ids.rotate(again, "bob", change)
    for _ in range(2):
        ids.rotate(again, "alice", Change())
    judged(again, "alice")


def test_an_imported_key_is_shredded_when_nobody_needs_it(wallet: LocalWallet) -> None:
    """Free it goes; committed to it stays."""
    free = life.import_key(wallet, SEED, _public())
    bound = life.import_key(wallet, SEED[::-1], _public(SEED[::-1]))
    ids.rotate(wallet, "alice", Change(reserve=(Digest(bound.id),), next_threshold=BOTH))
    assert shredding.shred(wallet, free.id)[0].state is State.DESTROYED
    assert wallet.records.sealed("secret", f"imported.{free.id}") is None
    with pytest.raises(KeystoreError):
        shredding.shred(wallet, bound.id)
    with pytest.raises(UsageError) as caught:
        life.import_key(wallet, SEED, _public())
    assert "destroyed" in caught.value.message


def test_a_reserve_key_that_comes_back_recovers(wallet: LocalWallet) -> None:
    """A key that was only a digest is imported, signs the rotation, and nothing else."""
    digest = build.commitment(parse_key(_public()))
    ids.rotate(wallet, "alice", Change(reserve=(digest,), next_threshold=BOTH))
    brought = life.import_key(wallet, SEED, _public(), label="from the safe")
    assert (brought.state, brought.type) == (State.RESERVE, KeyType.RESERVE)
    with pytest.raises(UsageError):
        life.import_key(wallet, SEED, _public())
    ids.rotate(wallet, "alice", Change(threshold=BOTH, next_threshold="1"))
    assert wallet.key(digest).state is State.ROTATE_ONLY  # type: ignore[union-attr] # it is there
    ids.anchor(wallet, "alice", [ANCHOR])
    ids.rotate(wallet, "alice", Change())
    assert wallet.key(digest).state is State.DEACTIVATED  # type: ignore[union-attr] # it is there
    judged(wallet, "alice")


def test_a_compromised_reserve_key_is_committed_to_no_more(wallet: LocalWallet) -> None:
    """The next rotation leaves it out by itself, and refuses to take it back."""
    lost, kept = (build.commitment(parse_key(_public(seed))) for seed in (SEED, SEED[::-1]))
    ids.rotate(wallet, "alice", Change(reserve=(lost, kept), next_threshold=["1", "1/2", "1/2"]))
    life.compromise(wallet, lost, reason="the safe was opened")
    with pytest.raises(UsageError) as caught:
        ids.rotate(wallet, "alice", Change(reserve=(lost, kept), next_threshold=["1", "1", "1"]))
    assert "compromised" in caught.value.message
    ids.rotate(wallet, "alice", Change(next_threshold=BOTH))
    state = wallet.events.key_state(wallet.identifier("alice").aid)
    assert state is not None
    assert lost not in state.establishment.next_key_digests
    assert kept in state.establishment.next_key_digests
    ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice")


def test_the_doctor_finds_nothing_wrong_after_all_that(wallet: LocalWallet) -> None:
    """Records, history and keys agree after marks, imports, erasures and new seeds."""
    life.compromise(wallet, "master.0", reason="paper lost")
    for name in ("alice", "alice", "bob", "bob"):
        ids.rotate(wallet, name, Change())
    brought = life.import_key(wallet, SEED, _public())
    digest = build.commitment(parse_key(_public(SEED[::-1])))
    reserve = (Digest(brought.id), digest)
    ids.rotate(wallet, "alice", Change(reserve=reserve, next_threshold=["1", "1", "1"]))
    life.import_key(wallet, SEED[::-1], _public(SEED[::-1]))
    ids.rotate(wallet, "alice", Change(next_threshold="1"))
    shredding.shred(wallet, _keys(wallet, "alice")[0].id)
    life.retire(wallet, "master.1")
    shredding.shred(wallet, "master.1")
    ids.rotate(wallet, "alice", Change())
    ids.rotate(wallet, "bob", Change())
    assert checked(reopen(wallet)).findings == ()


def test_a_seed_of_another_key_is_not_taken(wallet: LocalWallet) -> None:
    """Nothing of it is kept."""
    before = wallet.store.audit_head()
    for seed in (bytes(32), b"short", SEED + b"x"):
        with pytest.raises(KeystoreError) as caught:
            life.import_key(wallet, seed, _public())
        assert caught.value.code is ErrorCode.POSSESSION
    assert wallet.store.audit_head() == before


def test_what_cannot_be_a_next_key_is_not_imported(wallet: LocalWallet) -> None:
    """No key at all, one that cannot be replaced, one that is here, a label of control codes."""
    life.import_key(wallet, SEED, _public())
    other = SEED[::-1]
    cases: list[tuple[bytes, str, str, ErrorCode]] = [
        (SEED, "no key", "", ErrorCode.VALUE),
        (SEED, _public(transferable=False), "", ErrorCode.ARGUMENT),
        (SEED, _public(), "", ErrorCode.EXISTS),
        (other, _public(other), "bell\a", ErrorCode.ARGUMENT),
        (other, _public(other), "x" * 65, ErrorCode.ARGUMENT),
    ]
    for seed, public, label, code in cases:
        with pytest.raises((DecodeError, UsageError)) as caught:
            life.import_key(wallet, seed, public, label=label)
        assert caught.value.code is code


def test_a_wallet_that_is_behind_changes_no_key(wallet: LocalWallet, tmp_path: Path) -> None:
    """Its logs may have gone on elsewhere, so it cannot know what is needed."""
    copied = copy(wallet, tmp_path / "other")
    key = _keys(copied, "alice")[0].id
    for attempt in (
        lambda: life.compromise(copied, key),
        lambda: life.retire(copied, key),
        lambda: life.import_key(copied, SEED, _public()),
        lambda: shredding.shred(copied, key),
    ):
        with pytest.raises(KeystoreError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.BEHIND


def test_every_step_is_in_the_history(wallet: LocalWallet) -> None:
    """Time, actor, reason and evidence of each are kept with the key."""
    key = _keys(wallet, "alice")[0]
    life.compromise(wallet, key.id, reason="seen on the web")
    shredding.shred(wallet, key.id, reason="clean up")
    history = wallet.records.history(KEY, key.id)
    assert [(one.note.before, one.note.after) for one in history] == [
        ("", "pre-active"),
        ("pre-active", "active"),
        ("active", "deactivated"),
        ("deactivated", "compromised"),
        ("compromised", "destroyed-compromised"),
    ]
    assert [one.note.reason for one in history[-2:]] == ["seen on the web", "clean up"]
    assert {one.actor for one in history} == {"tester"}
    aid = wallet.identifier("alice").aid
    rotation = wallet.events.event(Aid(aid), 1)
    assert rotation is not None
    assert history[2].note.evidence == rotation.event.said
