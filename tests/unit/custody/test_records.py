"""Records of keys and the steps in their lives."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord, Transition, begin, move
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeystoreError
from support.key_records import MADE, key_record

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _moved(record: KeyRecord, after: State, at: datetime = NOON) -> KeyRecord:
    return move(record, after, at=at, actor="owner", reason="test")[0]


def test_begin() -> None:
    """The first step comes from nowhere, at the time when the key was made."""
    step = begin(key_record(), actor="owner", reason="id create", evidence="said")
    assert step == Transition(
        key="key",
        before=None,
        after=State.PRE_ACTIVE,
        at=MADE,
        actor="owner",
        reason="id create",
        evidence="said",
    )


def test_no_key_begins_active() -> None:
    """A key that is in force has become so by a step that is recorded."""
    with pytest.raises(KeystoreError) as caught:
        begin(key_record(state=State.ACTIVE), actor="owner", reason="test")
    assert caught.value.code is ErrorCode.LIFE_STATE


def test_no_key_begins_in_a_way_that_is_not_for_its_kind() -> None:
    """A branch cannot be imported: whoever gave it would have it too."""
    record = key_record(type=KeyType.BRANCH_SEED, method=Method.IMPORTED)
    with pytest.raises(KeystoreError) as caught:
        begin(record, actor="owner", reason="test")
    assert caught.value.code is ErrorCode.ROLE


def test_move() -> None:
    """A step changes the state and its time, and tells both states, actor, reason and evidence."""
    record = key_record(label="mine", place=2)
    moved, step = move(
        record, State.ACTIVE, at=NOON, actor="owner", reason="rotation", evidence="said"
    )
    assert moved == key_record(
        label="mine",
        place=2,
        state=State.ACTIVE,
        changed_at="2026-03-01T12:00:00.000000+00:00",
        expires_at="2027-03-01T12:00:00.000000+00:00",
    )
    assert step == Transition(
        key="key",
        before=State.PRE_ACTIVE,
        after=State.ACTIVE,
        at="2026-03-01T12:00:00.000000+00:00",
        actor="owner",
        reason="rotation",
        evidence="said",
    )


def test_forbidden_moves() -> None:
    """A step that the states do not allow is refused."""
    with pytest.raises(KeystoreError) as caught:
        _moved(key_record(state=State.DESTROYED), State.ACTIVE)
    assert caught.value.code is ErrorCode.LIFE_STATE


def test_a_suspension_does_not_prolong_the_period() -> None:
    """The period counts from the first activation."""
    first = _moved(key_record(), State.ACTIVE)
    again = _moved(_moved(first, State.SUSPENDED), State.ACTIVE, at=NOON + timedelta(days=100))
    assert again.expires_at == first.expires_at
    assert again.changed_at > first.changed_at


def test_keys_without_a_period_do_not_expire() -> None:
    """A kind that is bounded otherwise has no end date."""
    branch = key_record(type=KeyType.BRANCH_SEED)
    assert not _moved(branch, State.ACTIVE).expires_at
    assert not _moved(key_record(), State.ROTATE_ONLY).expires_at


@pytest.mark.parametrize(
    ("at", "expires_at"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), "1971-01-01T00:00:00.000000+00:00"),
        (datetime(2100, 1, 1, tzinfo=UTC), "2101-01-01T00:00:00.000000+00:00"),
        (datetime(9999, 6, 1, tzinfo=UTC), "9999-12-31T23:59:59.999999+00:00"),
        (
            datetime(9999, 6, 1, tzinfo=timezone(timedelta(hours=-5))),
            "9999-12-31T23:59:59.999999-05:00",
        ),
    ],
)
def test_wrong_clocks(at: datetime, expires_at: str) -> None:
    """No clock, however wrong, keeps a key from becoming active."""
    assert _moved(key_record(), State.ACTIVE, at=at).expires_at == expires_at


def test_records_survive_json() -> None:
    """A record and a step come back from JSON as they were."""
    record, step = move(
        key_record(exposed_since=3, label="schlüssel 🔑"),
        State.COMPROMISED,
        at=NOON,
        actor="owner",
        reason="laptop stolen",
    )
    assert msgspec.json.decode(msgspec.json.encode(record), type=KeyRecord) == record
    assert msgspec.json.decode(msgspec.json.encode(step), type=Transition) == step
