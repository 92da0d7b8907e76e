"""Tokens of a wallet, and identifiers whose keys live in one; with SoftHSM 2."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pkcs11
import pytest

from keystead.cesr.keys import Digest
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, UsageError
from keystead.keri.seals import DigestSeal
from keystead.keystores.pkcs11 import check_pin
from keystead.owner import identifiers as ids
from keystead.owner import life, shredding, tokens
from keystead.owner.plans import Change, Creation
from keystead.owner.wallet import KEY, TokenRecord
from keystead.ports.keys import SECRET
from keystead.suites import Suite
from support.softhsm import PIN, SoftHsm, softhsm
from support.wallets import LocalWallet, copy, crash_before_keeping, judged, make_wallet, reopen

OFFICE = "office"
ANCHOR = DigestSeal(Digest("E" + "A" * 43))


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    """Give SoftHSM with one token, `office`."""
    found = softhsm(tmp_path / "hsm")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    found.add("office")
    pkcs11.lib(found.module).finalize()
    yield found
    pkcs11.lib(found.module).finalize()


@pytest.fixture
def wallet(tmp_path: Path, hsm: SoftHsm) -> LocalWallet:
    """Return a wallet that knows the token."""
    made = make_wallet(tmp_path)
    assert tokens.add_token(made, _token(hsm), PIN.decode()) is False
    return made


def _token(hsm: SoftHsm, name: str = "office", label: str = "office") -> TokenRecord:
    return TokenRecord(name, hsm.module, label)


def _keys(wallet: LocalWallet, name: str) -> list[KeyRecord]:
    return life.keys_of(wallet, wallet.identifier(name).aid)


def _objects(hsm: SoftHsm) -> int:
    """Return how many objects are in the token; a key pair is two."""
    token = pkcs11.lib(hsm.module).get_token(token_label=OFFICE)
    with token.open(user_pin=PIN.decode()) as session:
        return len(list(session.get_objects()))


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256R1])
def test_keys_in_a_token_rotate_and_are_shredded_there(
    wallet: LocalWallet, hsm: SoftHsm, suite: Suite
) -> None:
    """Each rotation makes a key in the token; an old one is destroyed in it, the others stay."""
    ids.create(wallet, "alice", Creation(token=OFFICE, suite=suite))
    for _ in range(2):
        ids.rotate(wallet, "alice", Change())
    ids.anchor(wallet, "alice", [ANCHOR])
    keys = _keys(wallet, "alice")
    assert {(one.parent, one.uri[:18]) for one in keys} == {("pin.office", "pkcs11:token=offic")}
    assert _objects(hsm) == 8
    first, second, current = keys[:3]
    assert [one.id for one in shredding.shred(wallet, second.id)] == [second.id]
    assert _objects(hsm) == 6
    with pytest.raises(KeystoreError):
        shredding.shred(wallet, current.id)
    shredding.shred(wallet, first.id)
    again = reopen(wallet)
    ids.rotate(again, "alice", Change())
    assert _objects(hsm) == 6
    judged(again, "alice")


def test_a_key_leaves_a_token_by_rotations(wallet: LocalWallet) -> None:
    """And another comes into it, of the same identifier."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    ids.rotate(wallet, "alice", Change(token=""))
    ids.rotate(wallet, "alice", Change(token=OFFICE))
    ids.rotate(wallet, "alice", Change())
    assert [bool(one.uri.startswith("pkcs11")) for one in _keys(wallet, "alice")] == [
        True, True, False, True, True,
    ]  # fmt: skip
    judged(wallet, "alice")


def test_a_removed_token_loses_nothing(wallet: LocalWallet, hsm: SoftHsm) -> None:
    """What fails without it works when it is back, with the same keys."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    following = _keys(wallet, "alice")[-1].id
    (folder,) = (hsm.folder / "tokens").iterdir()
    away = hsm.folder / "away"
    folder.rename(away)
    attempts: list[Callable[[], object]] = [
        lambda: ids.rotate(wallet, "alice", Change()),
        lambda: ids.anchor(wallet, "alice", [ANCHOR]),
        lambda: ids.create(wallet, "bob", Creation(token=OFFICE)),
    ]
    before = wallet.store.audit_head()
    for attempt in attempts:
        with pytest.raises(KeystoreError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.TOKEN
    assert wallet.store.audit_head() == before
    away.rename(folder)
    ids.rotate(wallet, "alice", Change())
    assert _keys(wallet, "alice")[-2].id == following
    judged(wallet, "alice")


def test_a_key_in_an_absent_token_is_not_called_shredded(wallet: LocalWallet, hsm: SoftHsm) -> None:
    """It is destroyed when the token is back; one that is gone already may be shredded again."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    ids.rotate(wallet, "alice", Change())
    old = _keys(wallet, "alice")[0]
    (folder,) = (hsm.folder / "tokens").iterdir()
    folder.rename(hsm.folder / "away")
    with pytest.raises(KeystoreError) as caught:
        shredding.shred(wallet, old.id)
    assert caught.value.code is ErrorCode.TOKEN
    assert wallet.key(old.id) == old
    (hsm.folder / "away").rename(folder)
    secret = wallet.records.sealed(SECRET, "pin.office")
    assert secret is not None
    wallet.vault.erase(secret, old.uri, secret.generation)  # and then a crash came
    assert shredding.shred(wallet, old.id)[0].state is State.DESTROYED


def test_a_token_is_forgotten_when_nobody_needs_it(wallet: LocalWallet) -> None:
    """Not while identifiers have or await keys in it; its PIN goes from the files."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    assert len(tokens.keys_in_use(wallet, "office")) == 2
    for left in (2, 1):
        with pytest.raises(KeystoreError) as caught:
            tokens.remove_token(wallet, "office")
        assert caught.value.code is ErrorCode.LIFE_STATE
        assert len(tokens.keys_in_use(wallet, "office")) == left
        ids.rotate(wallet, "alice", Change(token=""))
    sealed = wallet.records.sealed(SECRET, "pin.office")
    assert sealed is not None
    tokens.remove_token(wallet, "office", reason="sold")
    shredding.finish_scrub(wallet)
    assert tokens.tokens(wallet) == []
    assert wallet.key("pin.office").state is State.DESTROYED  # type: ignore[union-attr] # it is there
    assert not any(sealed.data in path.read_bytes() for path in wallet.home.iterdir())
    with pytest.raises(UsageError) as unknown:
        tokens.remove_token(wallet, "office")
    assert unknown.value.code is ErrorCode.UNKNOWN
    ids.rotate(wallet, "alice", Change())


def test_a_token_into_which_a_crash_cut_off_a_rotation_is_not_forgotten(
    wallet: LocalWallet,
) -> None:
    """The rotation is finished first, so its log needs the token, and control is kept."""
    ids.create(wallet, "alice", Creation())
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change(token=OFFICE))
    again = reopen(wallet)
    with pytest.raises(KeystoreError) as caught:
        tokens.remove_token(again, OFFICE)
    assert caught.value.code is ErrorCode.LIFE_STATE
    for _ in range(2):
        ids.rotate(again, "alice", Change(token=""))
    judged(again, "alice")


def test_a_compromised_key_in_force_keeps_its_token(wallet: LocalWallet) -> None:
    """It has to be rotated away first."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    life.compromise(wallet, _keys(wallet, "alice")[0].id)
    assert len(tokens.keys_in_use(wallet, "office")) == 2
    ids.rotate(wallet, "alice", Change(token=""))
    assert len(tokens.keys_in_use(wallet, "office")) == 1


def test_a_token_that_is_added_again_has_a_new_pin(wallet: LocalWallet, hsm: SoftHsm) -> None:
    """The old PIN goes from the files; another token does not get the name."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    old = wallet.records.sealed(SECRET, "pin.office")
    assert old is not None
    tokens.add_token(wallet, _token(hsm), "wrong pin")
    shredding.finish_scrub(wallet)
    assert not any(old.data in path.read_bytes() for path in wallet.home.iterdir())
    with pytest.raises(KeystoreError) as caught:
        ids.rotate(wallet, "alice", Change())
    assert caught.value.code is ErrorCode.TOKEN_PIN
    assert "wrong pin" not in str(caught.value)
    life.compromise(wallet, "pin.office")
    assert tokens.add_token(wallet, _token(hsm), PIN.decode()) is True
    ids.rotate(wallet, "alice", Change())
    states = [one.note.after for one in wallet.records.history(KEY, "pin.office")]
    assert states[-4:] == ["compromised", "destroyed-compromised", "pre-active", "active"]
    with pytest.raises(UsageError) as exists:
        tokens.add_token(wallet, _token(hsm, label="other"), "1234")
    assert exists.value.code is ErrorCode.EXISTS


@pytest.mark.parametrize("name", ["", "-x", "a\nb", "x" * 65])
def test_a_token_has_a_name_that_people_can_read(
    wallet: LocalWallet, hsm: SoftHsm, name: str
) -> None:
    """The same rules as for identifiers."""
    with pytest.raises(UsageError) as caught:
        tokens.add_token(wallet, _token(hsm, name), "1234")
    assert caught.value.code is ErrorCode.NAME


def test_a_missing_mechanism_is_told_and_nothing_is_lost(wallet: LocalWallet, hsm: SoftHsm) -> None:
    """Neither a new identifier nor a rotation begins what the token cannot end."""
    ids.create(wallet, "alice", Creation(token=OFFICE))
    pkcs11.lib(hsm.module).finalize()
    hsm.configure(without="CKM_EDDSA,CKM_EC_EDWARDS_KEY_PAIR_GEN")
    attempts: list[Callable[[], object]] = [
        lambda: ids.create(wallet, "bob", Creation(token=OFFICE)),
        lambda: ids.rotate(wallet, "alice", Change()),
    ]
    for attempt in attempts:
        with pytest.raises(KeystoreError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.MECHANISM
    pkcs11.lib(hsm.module).finalize()
    hsm.configure()
    ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice")


def test_a_pin_is_checked_by_the_token(hsm: SoftHsm) -> None:
    """The right one passes; a wrong one, and a token that is not there, are told."""
    check_pin(hsm.module, "office", "", PIN)
    for label, pin, code in (
        ("office", b"0000", ErrorCode.TOKEN_PIN),
        ("office", b"", ErrorCode.TOKEN_PIN),
        ("other", PIN, ErrorCode.TOKEN),
    ):
        with pytest.raises(KeystoreError) as caught:
            check_pin(hsm.module, label, "", pin)
        assert caught.value.code is code


def test_a_wallet_that_is_behind_learns_of_no_token(
    wallet: LocalWallet, hsm: SoftHsm, tmp_path: Path
) -> None:
    """As with every change of its keys."""
    copied = copy(wallet, tmp_path / "other")
    attempts: list[Callable[[], object]] = [
        lambda: tokens.add_token(copied, _token(hsm, "new"), "1234"),
        lambda: tokens.remove_token(copied, "office"),
    ]
    for attempt in attempts:
        with pytest.raises(KeysteadError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.BEHIND
