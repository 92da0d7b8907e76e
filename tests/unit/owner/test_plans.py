"""What a request becomes: thresholds that are inherited, keys that are found again."""

from pathlib import Path

import pytest

from keystead.cesr.keys import digest
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.keystate import KeyState
from keystead.keri.thresholds import Field
from keystead.owner import identifiers as ids
from keystead.owner import plans
from keystead.owner.plans import Change, Creation
from keystead.owner.wallet import IdentifierRecord
from keystead.suites import Suite
from support.wallets import LocalWallet, make_wallet

AUNT = digest(b"aunt")


def made(wallet: LocalWallet, wanted: Creation) -> tuple[IdentifierRecord, KeyState]:
    """Make alice and return where she stands."""
    record = ids.create(wallet, "alice", wanted)
    state = wallet.events.key_state(record.aid)
    assert state is not None
    return record, state


@pytest.mark.parametrize(("keys", "least"), [(0, "0"), (1, "1"), (2, "2"), (3, "2"), (31, "10")])
def test_a_majority_is_more_than_half(keys: int, least: str) -> None:
    """Two majorities always share a key; the number is hexadecimal, as in events."""
    assert plans.majority(keys) == least


@pytest.mark.parametrize(
    ("wanted", "signing", "following"),
    [
        (Creation(keys=3), "2", "2"),
        (Creation(keys=3, threshold="3"), "3", "3"),
        (Creation(keys=3, threshold="3", next_keys=5), "3", "3"),
        (Creation(keys=3, next_keys=2), "2", "2"),
        (Creation(keys=2, threshold=["1", "1"], next_keys=3), ["1", "1"], "2"),
        (Creation(keys=1, reserve=(AUNT,), next_threshold=["1", "1/2"]), "1", ["1", "1/2"]),
    ],
)
def test_thresholds_of_a_creation(
    tmp_path: Path, wanted: Creation, signing: Field, following: Field
) -> None:
    """The next threshold is that of now over as many keys, and a majority of another number."""
    _, state = made(make_wallet(tmp_path), wanted)
    last = state.establishment
    assert (last.signing_threshold.field, last.next_threshold.field) == (signing, following)


@pytest.mark.parametrize(
    ("wanted", "change", "signing", "following"),
    [
        # what was committed to comes into force, and is committed to again
        (Creation(keys=3, next_threshold="3"), Change(), "3", "3"),
        (Creation(keys=3, next_threshold="3"), Change(threshold="1"), "1", "3"),
        (Creation(keys=3, next_threshold="3"), Change(next_keys=5), "3", "3"),
        (Creation(keys=2, threshold=["1", "0"]), Change(next_keys=3), ["1", "0"], "2"),
        # where a reserve key stays away the threshold in force goes on
        (
            Creation(keys=3, threshold="3", reserve=(AUNT,), next_threshold=["1/2"] * 4),
            Change(),
            "3",
            ["1/2"] * 4,
        ),
        # of another number of own keys, more than half
        (
            Creation(next_keys=3, reserve=(AUNT,), next_threshold=["1/2"] * 4),
            Change(),
            "2",
            ["1/2"] * 4,
        ),
        # without the reserve keys the list is another one
        (
            Creation(keys=3, reserve=(AUNT,), next_threshold=["1/2"] * 4),
            Change(reserve=()),
            "2",
            "2",
        ),
    ],
)
def test_thresholds_of_a_rotation(
    tmp_path: Path, wanted: Creation, change: Change, signing: Field, following: Field
) -> None:
    """What is not asked for follows from the event before."""
    wallet = make_wallet(tmp_path)
    record, state = made(wallet, wanted)
    event = plans.rotation(wallet, record, state, change).event
    fields = (event.signing_threshold.field, event.next_threshold.field)  # type: ignore[union-attr] # a rotation
    assert fields == (signing, following)


@pytest.mark.parametrize(
    "change",
    [
        Change(next_keys=1),
        Change(next_keys=3),
        Change(reserve=(AUNT, digest(b"bank"))),
        # as many in all, but weights of own keys would fall to others
        Change(next_keys=1, reserve=(AUNT, digest(b"bank"))),
    ],
)
def test_weights_are_not_passed_on_to_other_holders(tmp_path: Path, change: Change) -> None:
    """With reserve keys a list that changes needs a threshold that is asked for."""
    wallet = make_wallet(tmp_path)
    wanted = Creation(keys=2, reserve=(AUNT,), next_threshold=["1/2", "1/2", "0"])
    record, state = made(wallet, wanted)
    with pytest.raises(KeysteadError, match="say which keys") as caught:
        plans.rotation(wallet, record, state, change)
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize("reserve", [(), (AUNT,)])
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("suite", [None, Suite.SECP256R1, Suite.SECP256K1])
def test_a_rotation_is_retraced_from_its_event(
    tmp_path: Path, suite: Suite | None, count: int, reserve: tuple[str, ...]
) -> None:
    """Of an event alone the wallet finds the plan again: own keys with their places, the rest."""
    wallet = make_wallet(tmp_path)
    record, state = made(wallet, Creation(keys=2))
    following: list[Field] = ["1/2"] * (count + len(reserve))
    if count + len(reserve) == 1:
        following = ["1"]
    change = Change(
        suite=suite, next_keys=count, next_threshold=following, reserve=(AUNT,) if reserve else ()
    )
    plan = plans.rotation(wallet, record, state, change)
    assert plans.retrace(wallet, record, state, plan.event) == plan


def test_keys_that_were_erased_are_not_exposed(tmp_path: Path) -> None:
    """A next key without private half is left out; too few of them stop the rotation."""
    wallet = make_wallet(tmp_path)
    record, state = made(wallet, Creation(keys=3, next_threshold="3"))
    exposed, others = plans.expose(wallet, state)
    assert (len(exposed), others) == (3, ())
    with pytest.raises(KeysteadError, match="only 2 of the keys") as caught:
        plans.check_next_threshold(state.establishment.next_threshold, exposed[:2])
    assert caught.value.code is ErrorCode.GONE
    assert record.slots == 3
