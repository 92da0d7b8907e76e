"""Keys from seeds: fixed for good, forward only, and gone once they were erased."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead import suites
from keystead.custody.uri import DerivedUri
from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores import derivation
from keystead.keystores.derivation import Branch, Link, branch_of, derive, encode_branch, key_seed
from keystead.suites import Suite

MASTER: Final = bytes(range(32))
SIGNING: Final = (Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1)


def _uri(slot: int = 0, index: int = 0, identifier: int = 0) -> DerivedUri:
    return DerivedUri(0, identifier, "sign", slot, index)


def _seed(secret: bytes, uri: DerivedUri, suite: Suite = Suite.ED25519, name: str = "") -> bytes:
    """Return the seed of a key from the master seed, or from what is left in a branch."""
    whole = "master.0" if secret == MASTER else f"branch.0.{uri.identifier}"
    return key_seed(name or whole, secret, uri, suite)


# Identifier, slot, index, suite and public key. Wallets that exist depend on these: they never
# change.
KNOWN: Final = (
    (0, 0, 0, Suite.ED25519, "a6c047cfe20df816393d523bbb5c5b7e1a2ab8c136955c05324292f24a1d8be6"),
    (0, 0, 1, Suite.ED25519, "e2e05db638db5733becfd8ef98c933a15626ed3bdf603dae6388efce0b2143e8"),
    (0, 1, 0, Suite.ED25519, "672a8fc83a19e1600724de6037558007f9e2bbe9ec21656a499905a74b435ad7"),
    (1, 0, 0, Suite.ED25519, "d0ff76f56dfb36876868e9e618e5cd49a0836507c345ed2006039cbc2585ee37"),
    (17, 3, 100, Suite.ED25519, "af72de072d119b072589607f5c11ee7600299530b0036771e6cf8c3f3aa22bd8"),
    (
        0,
        0,
        0,
        Suite.SECP256R1,
        "03151c6715e9f156c9fde4caa747d515dbab98586584ffa7d69c465ce8f0c8dca6",
    ),
    (
        2,
        1,
        5,
        Suite.SECP256R1,
        "03229090008e6ec5f2e5e5b2cac1351af876b5fef4d7cbb1c257a0d09ecf9a07d4",
    ),
    (
        0,
        0,
        0,
        Suite.SECP256K1,
        "02db04c624308aaf1ebe4bbc4bdbd265c7bb84cfc0db02dfb6dae6144381546b5a",
    ),
    (
        2,
        1,
        5,
        Suite.SECP256K1,
        "022c904f57116900edf1ab268a3e8549b77b7d1066f4b166c3004af3dc08ebcc11",
    ),
)


@pytest.mark.parametrize(("identifier", "slot", "index", "suite", "public"), KNOWN)
def test_known_answers(identifier: int, slot: int, index: int, suite: Suite, public: str) -> None:
    """The keys of a seed are the same in every version."""
    seed = _seed(MASTER, _uri(slot, index, identifier), suite)
    assert suites.public_key(suite, seed).hex() == public


def test_steps_are_hkdf() -> None:
    """Each step is HKDF with SHA-512, as RFC 5869 has it, by hand here."""
    import hmac  # noqa: PLC0415 - to compute it another way
    from hashlib import sha512  # noqa: PLC0415 - as above

    extracted = hmac.new(bytes(64), MASTER, sha512).digest()
    expanded = hmac.new(extracted, b"keystead 1 next" + b"\x01", sha512).digest()
    assert derive(MASTER, "next") == expanded[:32]
    assert derive(MASTER, "next", 48) == expanded[:48]


def test_every_key_is_another() -> None:
    """Identifier, slot, index, suite and purpose each make another key."""
    found = {
        _seed(MASTER, _uri(slot, index, identifier), suite)
        for slot in range(3)
        for index in range(3)
        for identifier in range(3)
        for suite in SIGNING
    }
    assert len(found) == 81
    other = key_seed("master.0", MASTER, DerivedUri(0, 0, "agree", 0, 0), Suite.ED25519)
    assert other not in found


@pytest.mark.parametrize("suite", SIGNING)
def test_seeds_are_private_keys(suite: Suite) -> None:
    """Every seed signs."""
    for index in range(5):
        seed = _seed(MASTER, _uri(index=index), suite)
        signature = suites.sign(suite, seed, b"payload")
        assert suites.verify(suite, suites.public_key(suite, seed), signature, b"payload")


def test_a_ratchet_turns_forward_only() -> None:
    """From a link the later ones are reached, in any number of steps, and none before it."""
    begin = Link(0, b"k" * 32)
    assert begin.at(0) == begin
    assert begin.at(2).at(5) == begin.at(5)
    with pytest.raises(KeystoreError) as caught:
        begin.at(5).at(4)
    assert caught.value.code is ErrorCode.GONE


def test_no_absurd_number_of_steps() -> None:
    """A number that no wallet reaches is refused before anything is computed."""
    with pytest.raises(KeystoreError) as caught:
        Link(0, b"k" * 32).at(derivation.MOST_STEPS + 1)
    assert caught.value.code is ErrorCode.GONE


@pytest.mark.parametrize(
    "name", ["master.1", "branch.0.1", "branch.1.0", "branch.0", "master.00", "imported.x", ""]
)
def test_a_secret_serves_its_own_keys_only(name: str) -> None:
    """The seed of other keys is refused by its name."""
    with pytest.raises(KeystoreError) as caught:
        key_seed(name, MASTER, _uri(), Suite.ED25519)
    assert caught.value.code is ErrorCode.ROLE


def test_a_branch_holds_the_same_keys() -> None:
    """The branch of an identifier gives its keys as the master seed does."""
    branch = encode_branch(branch_of(MASTER, 3))
    for slot in range(4):
        for index in (0, 1, 7):
            uri = _uri(slot, index, 3)
            assert _seed(branch, uri) == _seed(MASTER, uri)


def test_a_branch_does_not_tell_of_others() -> None:
    """Nothing in a branch is the master seed, or part of another branch."""
    branch = encode_branch(branch_of(MASTER, 3))
    assert MASTER not in branch
    assert branch_of(MASTER, 4).rest.key not in branch


def _gone(secret: bytes, uri: DerivedUri) -> None:
    with pytest.raises(KeystoreError) as caught:
        _seed(secret, uri)
    assert caught.value.code is ErrorCode.GONE


ERASED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(erased=ERASED)
def test_erased_in_any_order(erased: list[tuple[int, int]]) -> None:
    """Keys up to an erased one are gone, all others are what they were, whatever the order."""
    branch = branch_of(MASTER, 0)
    gone: dict[int, int] = {}
    for slot, index in erased:
        branch = branch.without(slot, index)
        gone[slot] = max(gone.get(slot, -1), index)
    secret = encode_branch(branch)
    for slot in range(6):
        for index in range(8):
            if index <= gone.get(slot, -1):
                _gone(secret, _uri(slot, index))
            else:
                assert _seed(secret, _uri(slot, index)) == _seed(MASTER, _uri(slot, index))


def _keys_in(branch: Branch) -> list[bytes]:
    return [branch.rest.key, *(link.key for link in branch.slots.values())]


def test_nothing_left_leads_back() -> None:
    """No ratchet that is kept is one from which an erased key could be reached."""
    whole = branch_of(MASTER, 0)
    left = whole.without(1, 2)
    reaches = [whole.rest.key, whole.rest.at(1).key]
    first = Link(0, derive(whole.rest.at(1).key, "slot"))
    reaches += [first.at(index).key for index in range(3)]
    assert not set(reaches) & set(_keys_in(left))
    encoded = encode_branch(left)
    assert not any(key in encoded for key in reaches)


def test_erasing_again_changes_nothing() -> None:
    """What is gone already can be erased once more."""
    left = branch_of(MASTER, 0).without(2, 4)
    assert left.without(2, 4) == left
    assert left.without(2, 1) == left
