"""Kinds of keys and their uses."""

from datetime import timedelta

import pytest

from keystead.custody.catalogue import (
    ALLOWED,
    CATALOGUE,
    KeyType,
    Method,
    Use,
    check_method,
    check_use,
)
from keystead.custody.states import GONE, State
from keystead.errors import ErrorCode, KeystoreError

SIGNING = {Use.ESTABLISH, Use.INTERACT, Use.STATE}
# Written from the requirements: what keys may be used for in each state.
EXPECTED_USES = {
    State.PRE_ACTIVE: {Use.ESTABLISH, Use.PROVE},
    State.RESERVE: {Use.ESTABLISH, Use.PROVE},
    State.ACTIVE: set(Use),
    State.ROTATE_ONLY: {Use.ESTABLISH, Use.PROVE},
    State.SUSPENDED: set(),
    State.DEACTIVATED: {Use.READ},
    State.COMPROMISED: {Use.READ, Use.ESTABLISH},
    State.ARCHIVED: {Use.READ},
    State.DESTROYED: set(),
    State.DESTROYED_COMPROMISED: set(),
}
YEAR = timedelta(days=365)


def _below(kind: KeyType, path: tuple[KeyType, ...]) -> set[KeyType]:
    """Return all kinds below one, and fail when one is above itself."""
    assert kind not in path, path
    found: set[KeyType] = set()
    for one in CATALOGUE[kind].protects:
        found |= {one} | _below(one, (*path, kind))
    return found


def test_the_catalogue_is_total() -> None:
    """Every kind is described once, in the order of the names."""
    assert list(CATALOGUE) == list(KeyType)
    assert all(CATALOGUE[kind].type is kind for kind in KeyType)
    assert all(one.role and one.limit for one in CATALOGUE.values())


def test_protection_has_no_circles() -> None:
    """No kind protects itself, directly or through others, and all of the edge is below one."""
    below = {kind: _below(kind, ()) for kind in KeyType}
    stored = {kind for kind, one in CATALOGUE.items() if one.in_use}
    assert below[KeyType.WALLET_PASSPHRASE] >= stored - {KeyType.WALLET_PASSPHRASE}


def test_long_term_keys_are_not_protected_by_short_term_ones() -> None:
    """A key that protects another is long-term."""
    assert all(one.long_term for one in CATALOGUE.values() if one.protects)
    assert not CATALOGUE[KeyType.SESSION].long_term


def test_kinds_in_use_can_be_made_and_used() -> None:
    """A kind that this version makes has a way to be made, a use, and protects the kinds below."""
    for one in CATALOGUE.values():
        if one.in_use:
            assert one.methods
            assert one.uses
    assert not CATALOGUE[KeyType.PAYMENT].uses


def test_one_purpose() -> None:
    """Keys that sign neither encrypt nor derive, and only keys of identifiers sign events."""
    for one in CATALOGUE.values():
        if one.uses & SIGNING:
            assert one.uses <= {*SIGNING, Use.PROVE}
    events = {kind for kind, one in CATALOGUE.items() if one.uses & {Use.ESTABLISH, Use.INTERACT}}
    assert events == {KeyType.IDENTIFIER_SIGN, KeyType.RESERVE}
    assert Use.INTERACT not in CATALOGUE[KeyType.RESERVE].uses


def test_cryptoperiods() -> None:
    """Periods are those of SP 800-57: a year to sign, derive or agree, two to wrap or encrypt."""
    for one in CATALOGUE.values():
        two = one.uses & {Use.WRAP}
        assert one.cryptoperiod in (None, 2 * YEAR if two else YEAR), one.type
    assert CATALOGUE[KeyType.IDENTIFIER_SIGN].cryptoperiod == YEAR
    assert CATALOGUE[KeyType.MASTER_SEED].cryptoperiod == YEAR
    assert CATALOGUE[KeyType.WALLET_DATA].cryptoperiod == 2 * YEAR


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", KeyType)
def test_uses(kind: KeyType, state: State) -> None:
    """A use is allowed when both the kind and the state of a key allow it."""
    for use in Use:
        if use not in CATALOGUE[kind].uses:
            expected = ErrorCode.ROLE
        elif use not in EXPECTED_USES[state]:
            expected = ErrorCode.LIFE_STATE
        else:
            check_use(kind, state, use)
            continue
        with pytest.raises(KeystoreError) as caught:
            check_use(kind, state, use)
        assert caught.value.code is expected
        assert caught.value.fields["use"] == use


def test_only_active_keys_sign_what_is_no_establishment() -> None:
    """Interactions and statements need an active key; a key that is gone serves for nothing."""
    for use in (Use.INTERACT, Use.STATE):
        assert {state for state in State if use in ALLOWED[state]} == {State.ACTIVE}
    assert not any(ALLOWED[state] for state in GONE)


def test_use_messages() -> None:
    """The sentence tells what does not fit."""
    with pytest.raises(KeystoreError, match=r"a key for identifier\.reserve is not for: interact"):
        check_use(KeyType.RESERVE, State.ACTIVE, Use.INTERACT)
    with pytest.raises(KeystoreError, match="a key that is suspended cannot be used for: state"):
        check_use(KeyType.IDENTIFIER_SIGN, State.SUSPENDED, Use.STATE)


@pytest.mark.parametrize("kind", KeyType)
def test_methods(kind: KeyType) -> None:
    """A key comes to be only in the ways of its kind."""
    for method in Method:
        if method in CATALOGUE[kind].methods:
            check_method(kind, method)
            continue
        with pytest.raises(KeystoreError, match=f"a key for {kind} cannot be {method}") as caught:
            check_method(kind, method)
        assert caught.value.code is ErrorCode.ROLE


def test_only_public_halves_of_keys_that_can_be_shared_come_from_others() -> None:
    """Somebody else's key can sign in our identifiers or receive a share, nothing more."""
    others = {kind for kind, one in CATALOGUE.items() if Method.OTHER in one.methods}
    assert others == {KeyType.IDENTIFIER_SIGN, KeyType.RESERVE, KeyType.ESCROW_SHARE}
