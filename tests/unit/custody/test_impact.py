"""What depends on a key."""

import msgspec
import pytest

from keystead.custody.catalogue import KeyType, Method
from keystead.custody.impact import IdentifierImpact, Impact, SignedEventRef, Standing, impact
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.errors import ErrorCode, UsageError
from support.key_records import key_record

# passphrase > data > master > two branches > keys of the identifiers A and B; an imported key of
# B and a key of A in a token are under the data key and under the PIN.
INVENTORY = [
    key_record("passphrase", type=KeyType.WALLET_PASSPHRASE, method=Method.PASSPHRASE),
    key_record("data", type=KeyType.WALLET_DATA, method=Method.RANDOM, parent="passphrase"),
    key_record("master.0", type=KeyType.MASTER_SEED, method=Method.RANDOM, parent="data"),
    key_record("branch.0.0", type=KeyType.BRANCH_SEED, parent="master.0"),
    key_record("branch.0.1", type=KeyType.BRANCH_SEED, parent="master.0"),
    key_record("pin", type=KeyType.TOKEN_PIN, method=Method.IMPORTED, parent="data"),
    key_record("A past", identifier="A", parent="branch.0.0", state=State.DESTROYED),
    key_record("A now", identifier="A", parent="branch.0.0", state=State.ACTIVE),
    key_record("A token", identifier="A", parent="pin", method=Method.TOKEN, state=State.ACTIVE),
    key_record("A next", identifier="A", parent="branch.0.0"),
    key_record("A reserve", identifier="A", method=Method.OTHER, state=State.RESERVE),
    key_record("B now", identifier="B", parent="data", method=Method.IMPORTED, state=State.ACTIVE),
    key_record("B next", identifier="B", parent="branch.0.1"),
]


def _two(places: frozenset[int]) -> bool:
    return len(places) >= 2


def _one(places: frozenset[int]) -> bool:
    return len(places) >= 1


STANDINGS = {
    "A": Standing(
        current=("A now", "A token"), next=("A next", "A reserve"), can_sign=_two, can_rotate=_two
    ),
    "B": Standing(current=("B now",), next=("B next",), can_sign=_one, can_rotate=_one),
}


def _event(aid: str, sn: int, *keys: str) -> SignedEventRef:
    return SignedEventRef(aid=aid, sn=sn, said=f"{aid}{sn}", kind="ixn", keys=keys)


EVENTS = [
    _event("A", 0, "A past"),
    _event("A", 1, "A now", "A token"),
    _event("A", 2, "A token", "A now"),
    _event("A", 3, "A token"),
    _event("B", 0, "B now"),
    _event("B", 1, "B now"),
]


def _impact(key_id: str, inventory: list[KeyRecord] = INVENTORY) -> Impact:
    return impact(key_id, inventory, EVENTS, standings=STANDINGS)


def _marked(key_id: str, **changes: object) -> list[KeyRecord]:
    """Return the inventory with one key changed."""
    return [
        msgspec.structs.replace(record, **changes) if record.id == key_id else record
        for record in INVENTORY
    ]


def test_a_signing_key_opens_nothing_else() -> None:
    """One of two current keys forges nothing; what it signed is listed."""
    assert _impact("A now") == Impact(
        key="A now",
        type=KeyType.IDENTIFIER_SIGN,
        state=State.ACTIVE,
        derived=(),
        wrapped=(),
        identifiers=(
            IdentifierImpact(
                aid="A",
                current=("A now",),
                next=(),
                past=(),
                thief_can_sign=False,
                thief_can_rotate=False,
            ),
        ),
        events=(EVENTS[1], EVENTS[2]),
    )


def test_enough_current_keys_forge_interactions() -> None:
    """A key that reaches the signing threshold is announced as such."""
    (found,) = _impact("B now").identifiers
    assert found.thief_can_sign
    assert not found.thief_can_rotate


def test_enough_next_keys_take_over() -> None:
    """A key that reaches the next threshold is announced as such."""
    (found,) = _impact("B next").identifiers
    assert found.next == ("B next",)
    assert found.thief_can_rotate
    assert not found.thief_can_sign


@pytest.mark.parametrize("state", [State.COMPROMISED, State.DESTROYED_COMPROMISED])
def test_keys_lost_before_count(state: State) -> None:
    """Together with a key that was compromised before, a second one forges."""
    (found,) = _impact("A now", _marked("A token", state=state)).identifiers
    assert found.thief_can_sign
    assert found.current == ("A now",)


def test_a_branch_opens_the_keys_of_its_identifier() -> None:
    """The keys of one identifier are below its branch: past, current and next, no others."""
    found = _impact("branch.0.0")
    assert found.derived == ("A past", "A now", "A next")
    assert found.wrapped == ()
    (one,) = found.identifiers
    assert (one.past, one.current, one.next) == (("A past",), ("A now",), ("A next",))
    assert not one.thief_can_sign
    assert not one.thief_can_rotate
    assert found.events == tuple(EVENTS[:3])


def test_a_master_seed_opens_its_branches() -> None:
    """Everything derived from a master seed is below it, through branches that are gone too."""
    inventory = _marked("branch.0.1", state=State.DESTROYED)
    found = _impact("master.0", inventory)
    assert set(found.derived) == {
        "branch.0.0", "branch.0.1", "A past", "A now", "A next", "B next",
    }  # fmt: skip
    assert [one.aid for one in found.identifiers] == ["A", "B"]
    assert found.identifiers[1].thief_can_rotate


def test_the_passphrase_opens_everything_but_keys_of_others() -> None:
    """What is wrapped is told apart from what is derived; keys of others are out of reach."""
    found = _impact("passphrase")
    assert set(found.wrapped) == {"data", "master.0", "pin", "A token", "B now"}
    assert set(found.wrapped) | set(found.derived) == {
        record.id for record in INVENTORY if record.id not in ("passphrase", "A reserve")
    }
    assert found.identifiers[0].thief_can_sign
    assert not found.identifiers[0].thief_can_rotate
    assert found.events == tuple(EVENTS)


def test_events_count_from_the_exposure() -> None:
    """Events before the first one that a thief may have signed are not doubted."""
    found = _impact("A now", _marked("A now", exposed_since=2))
    assert found.events == (EVENTS[2],)


def test_the_exposure_is_that_of_each_key() -> None:
    """The exposure of one key says nothing of events that another affected key signed."""
    found = _impact("data", _marked("A now", exposed_since=2))
    assert EVENTS[1] in found.events
    found = _impact("branch.0.0", _marked("A now", exposed_since=2))
    assert found.events == (EVENTS[0], EVENTS[2])


def test_nobody_uses_an_abandoned_identifier() -> None:
    """A threshold over no keys is not reached, whatever its rule says."""
    standing = Standing(
        current=("A now",), next=(), can_sign=_one, can_rotate=lambda places: not places
    )
    (found,) = impact("A now", INVENTORY, [], standings={"A": standing}).identifiers
    assert found.thief_can_sign
    assert not found.thief_can_rotate


def test_an_identifier_without_a_log() -> None:
    """Keys of an identifier that has no log are in no list of it, and forge nothing."""
    (found,) = impact("B now", INVENTORY, [], standings={}).identifiers
    assert found.past == ("B now",)
    assert not found.thief_can_sign
    assert not found.thief_can_rotate


def test_unknown_keys() -> None:
    """A key that is not in the inventory is the caller's mistake."""
    with pytest.raises(UsageError) as caught:
        _impact("nobody's")
    assert caught.value.code is ErrorCode.UNKNOWN


def test_impact_can_be_printed_as_json() -> None:
    """The result is plain data."""
    value = msgspec.json.decode(msgspec.json.encode(_impact("B now")))
    assert value["type"] == "identifier.sign"
    assert value["identifiers"][0]["thief_can_sign"] is True
    assert [event["said"] for event in value["events"]] == ["B0", "B1"]
