"""Shredded keys: what is left in the files, what goes with a key, what is refused."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from keystead.cesr.keys import Aid, Digest, parse_key
from keystead.custody.catalogue import KeyType
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, State
from keystead.errors import ErrorCode, KeysteadError, StoreError, UsageError
from keystead.keystores.vault import LocalVault
from keystead.owner import identifiers as ids
from keystead.owner import life, shredding
from keystead.owner.outbox import Outgoing
from keystead.owner.plans import Change, Creation
from keystead.owner.records import Note
from keystead.owner.wallet import KEY, OUTBOX, Wallet
from keystead.ports.keys import SECRET, KeySource, Sealed
from keystead.ports.wallet import Row
from keystead.stores.wallet import SqliteWallet
from keystead.suites import Suite
from support.wallets import LocalWallet, crash_before_keeping, make_wallet, reopen


@pytest.fixture
def wallet(tmp_path: Path) -> LocalWallet:
    """Return a wallet in which alice has rotated twice, and bob once."""
    made = make_wallet(tmp_path)
    for name, rotations in (("alice", 2), ("bob", 1)):
        ids.create(made, name, Creation())
        for _ in range(rotations):
            ids.rotate(made, name, Change())
    return made


def _keys(wallet: Wallet, name: str) -> list[KeyRecord]:
    """Return the keys of an identifier, the first one first."""
    return life.keys_of(wallet, wallet.identifier(name).aid)


def _refused(wallet: Wallet, key: str) -> KeysteadError:
    """Try to shred a key, and return why that is refused."""
    before = wallet.store.audit_head()
    with pytest.raises(KeysteadError) as caught:
        shredding.shred(wallet, key)
    assert wallet.store.audit_head() == before
    return caught.value


def _secrets(wallet: Wallet) -> dict[bytes, str]:
    """Return the sealed secrets as they are stored, and their names."""
    return {row.data: row.id for row in wallet.store.rows(SECRET)}


def _in_files(wallet: LocalWallet, blobs: dict[bytes, str]) -> list[tuple[str, str]]:
    """Return which of some byte strings are in which file of the wallet, whole or in part."""
    found = []
    for path in sorted(wallet.home.iterdir()):
        data = path.read_bytes() if path.is_file() else b""
        for blob, name in blobs.items():
            # The middle of a blob, too: pages are cut where they like.
            if blob in data or blob[24:56] in data:
                found.append((name, path.name))
    return found


class _Lost(BaseException):
    """The power went."""


@contextmanager
def _crash_before_scrub() -> Iterator[None]:
    """Have the power go after an erasure was kept and before its bytes are overwritten."""
    with patch.object(SqliteWallet, "scrub", side_effect=_Lost), pytest.raises(_Lost):
        yield


def test_no_byte_of_what_could_derive_the_key_is_left(wallet: LocalWallet) -> None:
    """What was sealed before is in no file: not the master seed, nor an older branch."""
    before = _secrets(wallet)
    assert _in_files(wallet, before) != []
    copied = wallet.home / "wallet.db.before-0009"
    copied.write_bytes((wallet.home / "wallet.db").read_bytes())
    copied.chmod(0o600)
    first, second = _keys(wallet, "alice")[:2]
    assert [one.id for one in shredding.shred(wallet, first.id)] == [first.id]
    between = _secrets(wallet)
    assert [one.id for one in shredding.shred(wallet, second.id)] == [second.id]
    gone = {blob: name for blob, name in (before | between).items() if blob not in _secrets(wallet)}
    assert set(gone.values()) == {"master.0", "branch.0.0"}
    assert _in_files(wallet, gone) == []
    assert not copied.exists()


def test_no_secret_that_is_left_gives_the_key(wallet: LocalWallet) -> None:
    """Whoever has the data key and all that is stored cannot make the key, but the later ones."""
    old, later = _keys(wallet, "alice")[:2]
    shredding.shred(wallet, old.id)
    left = [Sealed(row.kind, row.id, row.generation, row.data) for row in wallet.store.rows(SECRET)]
    vault = LocalVault(wallet.vault.wallet, wallet.data_key, wallet.folder / "elsewhere")

    def answer(key: KeyRecord, secret: Sealed) -> bytes | ErrorCode:
        try:
            return vault.public_keys([KeySource(key.uri, Suite[key.suite], secret)])[0]
        except KeysteadError as error:
            return error.code

    refusals = {ErrorCode.GONE, ErrorCode.ROLE}
    assert {answer(old, one) for one in left} == refusals
    later_key = parse_key(later.public_key).raw
    assert {answer(later, one) for one in left} - refusals == {later_key}


def test_a_tombstone_stays(wallet: LocalWallet) -> None:
    """The record of the key tells its state and history, and where nothing is to be found."""
    key = _keys(wallet, "alice")[0]
    (end,) = shredding.shred(wallet, key.id, reason="not needed")
    assert (end.state, end.uri, end.public_key) == (State.DESTROYED, "", key.public_key)
    last = wallet.records.history(KEY, key.id)[-1].note
    assert (last.action, last.reason, last.after) == ("shred", "not needed", "destroyed")
    assert _refused(reopen(wallet), key.id).code is ErrorCode.GONE


def test_other_keys_and_identifiers_go_on(wallet: LocalWallet) -> None:
    """Later keys of the line, other identifiers and new ones rotate after a shredding."""
    shredding.shred(wallet, _keys(wallet, "alice")[1].id)
    again = reopen(wallet)
    for name in ("alice", "bob"):
        ids.rotate(again, name, Change())
        shredding.shred(again, _keys(again, name)[-3].id)
        ids.rotate(again, name, Change(next_keys=3))
        ids.rotate(again, name, Change())
    ids.create(again, "carol", Creation())
    ids.rotate(again, "carol", Change())
    assert {key.parent for key in _keys(again, "carol")} == {"master.1"}
    assert again.state().scrub is False


def test_the_master_seed_goes_and_another_takes_its_place(wallet: LocalWallet) -> None:
    """The first shredding gives each identifier a branch and new ones another seed."""
    shredding.shred(wallet, _keys(wallet, "alice")[0].id)
    states = {
        name: wallet.key(name) for name in ("master.0", "master.1", "branch.0.0", "branch.0.1")
    }
    told = {name: key.state for name, key in states.items() if key is not None}
    assert told == {
        "master.0": State.DESTROYED,
        "master.1": State.ACTIVE,
        "branch.0.0": State.ACTIVE,
        "branch.0.1": State.ACTIVE,
    }
    assert set(_secrets(wallet).values()) == {"master.1", "branch.0.0", "branch.0.1"}
    steps = [one.note.after for one in wallet.records.history(KEY, "branch.0.1")]
    assert steps == ["pre-active", "active"]


def test_earlier_keys_of_the_line_go_too(wallet: LocalWallet) -> None:
    """A key can be derived from those before it, so they are listed first and go with it."""
    first, second, current, following = _keys(wallet, "alice")
    found = shredding.doomed(wallet, second)
    assert [one.id for one in found] == [first.id, second.id]
    life.compromise(wallet, first.id)
    ended = shredding.shred(wallet, second.id)
    assert [one.state for one in ended] == [State.DESTROYED_COMPROMISED, State.DESTROYED]
    now = [one.state for one in _keys(wallet, "alice")][2:]
    assert now == [current.state, following.state]


def test_a_master_seed_can_be_shredded_by_itself(wallet: LocalWallet) -> None:
    """Nothing that was derived goes with it, and all identifiers rotate."""
    assert [one.id for one in shredding.shred(wallet, "master.0")] == ["master.0"]
    assert not [one for one in _keys(wallet, "alice") if one.state in GONE]
    ids.rotate(wallet, "alice", Change())
    assert set(_secrets(wallet).values()) == {"master.1", "branch.0.0", "branch.0.1"}


def test_keys_that_are_needed_are_refused(wallet: LocalWallet) -> None:
    """A key in force, and one that the log commits to, stay whatever their state."""
    current, following = _keys(wallet, "alice")[-2:]
    assert _refused(wallet, current.id).message.endswith("is in force")
    assert "committed to by the log" in _refused(wallet, following.id).message
    for key in (current, following):
        life.compromise(wallet, key.id)
        assert _refused(wallet, key.id).code is ErrorCode.LIFE_STATE
    ids.rotate(wallet, "alice", Change())
    ids.rotate(wallet, "alice", Change())


def test_keys_of_an_event_that_waits_are_refused(tmp_path: Path) -> None:
    """The keys that an unapproved event sets or commits to stay, and those of the log below it."""
    wallet, delegator = make_wallet(tmp_path), Aid("E" + "A" * 43)
    kid = ids.create(wallet, "kid", Creation(delegator=delegator, keys=2))
    waiting = _keys(wallet, "kid")
    assert len(waiting) == 4
    for key in waiting:
        assert "waits for approval" in _refused(wallet, key.id).message
    assert wallet.identifier("kid") == kid


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (KeyType.WALLET_DATA, ErrorCode.ROLE),
        (KeyType.WALLET_PASSPHRASE, ErrorCode.ROLE),
        ("branch.0.0", ErrorCode.ROLE),
        ("master.0", ErrorCode.GONE),
        ("master.9", ErrorCode.UNKNOWN),
    ],
)
def test_keys_that_serve_the_wallet_are_not_shredded_by_themselves(
    wallet: LocalWallet, key: str, code: ErrorCode
) -> None:
    """They would take everything along, or are replaced in other ways."""
    shredding.shred(wallet, "master.0")
    assert _refused(wallet, key).code is code


def test_keys_of_others_cannot_be_shredded(wallet: LocalWallet) -> None:
    """What is not here cannot be erased here."""
    reserve = Digest("E" + "B" * 43)
    change = Change(reserve=(reserve,), next_threshold=["1", "1"])
    ids.rotate(wallet, "alice", change)
    assert _refused(wallet, reserve).code is ErrorCode.GONE


def test_the_keys_of_an_ended_identifier_can_all_go(wallet: LocalWallet) -> None:
    """After abandonment nothing is needed; an identifier for ever has to be retired first."""
    ids.abandon(wallet, "alice")
    shredding.shred(wallet, _keys(wallet, "alice")[-1].id)
    assert {one.state for one in _keys(wallet, "alice")} == {State.DESTROYED}
    ids.create(wallet, "pocket", Creation(transferable=False))
    (key,) = _keys(wallet, "pocket")
    assert "retire it first" in _refused(wallet, key.id).hint
    life.retire(wallet, key.id)
    assert shredding.shred(wallet, key.id)[0].state is State.DESTROYED


def test_an_event_that_a_crash_cut_off_is_finished_first(wallet: LocalWallet) -> None:
    """The keys that a signed rotation needs are not known to the log yet, and are not erased."""
    old, following = _keys(wallet, "alice")[-2:]
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change())
    again = reopen(wallet)
    assert len(_keys(again, "alice")) == 4
    assert shredding.shred(again, old.id)[-1].state is State.DESTROYED
    current, new = _keys(again, "alice")[-2:]
    assert current.id == following.id
    assert current.state is State.ACTIVE
    for key in (current, new):
        assert _refused(again, key.id).code is ErrorCode.LIFE_STATE
    ids.rotate(again, "alice", Change())


def test_other_identifiers_finish_what_a_crash_cut_off(wallet: LocalWallet) -> None:
    """A rotation that was signed before the master seed went is finished with the branch."""
    with crash_before_keeping():
        ids.rotate(wallet, "bob", Change())
    again = reopen(wallet)
    shredding.shred(again, _keys(again, "alice")[0].id)
    ids.rotate(again, "bob", Change(next_keys=2))
    state = again.events.key_state(again.identifier("bob").aid)
    assert state is not None
    assert state.sn == 3


def test_a_crash_before_the_bytes_are_overwritten_is_made_good(wallet: LocalWallet) -> None:
    """What was erased is kept as erased at once; its bytes go when the next command comes."""
    before = _secrets(wallet)
    key = _keys(wallet, "alice")[0]
    with _crash_before_scrub():
        shredding.shred(wallet, key.id)
    again = reopen(wallet)
    gone = {blob: name for blob, name in before.items() if blob not in _secrets(again)}
    assert _in_files(again, gone) != []  # else this test could not fail
    assert again.state().scrub is True
    assert (again.key(key.id) or key).state is State.DESTROYED
    wallet.sqlite.close()
    shredding.finish_scrub(again)
    assert _in_files(again, gone) == []
    assert again.state().scrub is False


def test_a_reader_does_not_undo_a_shredding(wallet: LocalWallet) -> None:
    """While somebody reads the bytes cannot be overwritten; the key is gone all the same."""
    before, other = _secrets(wallet), reopen(wallet)
    with patch("keystead.stores.database.BUSY_SECONDS", 0.01), other.sqlite.database.snapshot():
        assert other.store.audit_head()[0] > 0
        wallet.sqlite.database.connection.execute("PRAGMA busy_timeout = 10")
        (ended,) = shredding.shred(wallet, _keys(wallet, "alice")[0].id)
        assert ended.state is State.DESTROYED
        assert wallet.state().scrub is True
        with pytest.raises(StoreError) as caught:
            shredding.finish_scrub(wallet)
        assert caught.value.code is ErrorCode.STORE_BUSY
    shredding.finish_scrub(wallet)
    gone = {blob: name for blob, name in before.items() if blob not in _secrets(wallet)}
    assert _in_files(wallet, gone) == []


def test_another_erasure_meanwhile_is_not_forgotten(wallet: LocalWallet) -> None:
    """Who overwrites for itself does not call another command's erasure overwritten."""
    other = reopen(wallet)
    overwrite = SqliteWallet.scrub

    def scrub(store: SqliteWallet) -> None:
        overwrite(store)
        if store is wallet.sqlite:
            with other.store.transaction():
                batch = other.batch()
                work = Outgoing(other.identifier("bob").aid, 0, Digest("E"), "")
                batch.put(OUTBOX, "another command", work, Note("test"))
                batch.write()

    with patch.object(SqliteWallet, "scrub", scrub):
        shredding.shred(wallet, _keys(wallet, "alice")[0].id)
    assert wallet.state().scrub is True
    shredding.finish_scrub(other)
    assert wallet.state().scrub is False


def test_identifiers_that_left_a_seed_keep_what_they_still_need_of_it(wallet: LocalWallet) -> None:
    """After a seed was compromised, keys of it may still be committed to when it is shredded."""
    life.compromise(wallet, "master.0")
    shredding.shred(wallet, _keys(wallet, "alice")[0].id)
    assert wallet.key("branch.0.0").state is State.COMPROMISED  # type: ignore[union-attr] # as told
    for name in ("alice", "bob"):
        ids.rotate(wallet, name, Change())
        ids.rotate(wallet, name, Change())
        assert _keys(wallet, name)[-1].uri.startswith("derived:1/")
        shredding.shred(wallet, _keys(wallet, name)[-3].id)
        ids.rotate(wallet, name, Change())


@pytest.mark.parametrize("seed", range(20))
def test_copies_that_pages_left_behind_are_overwritten(tmp_path: Path, seed: int) -> None:
    """SQLite leaves some copies of deleted rows in pages that it balanced; the file is made anew.

    Without that a row is left for some of these seeds, in SQLite 3.40.
    """
    draw = random.Random(seed)  # noqa: S311 - not for keys
    store = SqliteWallet.create(tmp_path / "home")
    live: dict[int, bytes] = {}
    dead = []
    with store.transaction():
        for generation in range(1, 1200):
            number = draw.randrange(150)
            if number in live:
                dead.append(live.pop(number))
                store.delete("secret", str(number))
            if draw.random() < 0.75:
                live[number] = draw.randbytes(draw.choice([72, 400, 500]))
                store.put(Row("secret", str(number), generation, live[number]))
    store.scrub()
    kept = (tmp_path / "home" / "wallet.db").read_bytes()
    assert [blob for blob in dead if blob[8:40] in kept] == []
    assert all(blob[8:40] in kept for blob in live.values() if len(blob) < 100)
    store.close()


def test_an_unknown_key_is_told(wallet: LocalWallet) -> None:
    """There is nothing to erase for a name that no key has."""
    with pytest.raises(UsageError) as caught:
        shredding.shred(wallet, "no such key")
    assert caught.value.code is ErrorCode.UNKNOWN
