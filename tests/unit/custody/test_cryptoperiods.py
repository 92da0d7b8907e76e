"""Warnings about cryptoperiods."""

from datetime import UTC, datetime, timedelta

import pytest

from keystead.custody.catalogue import KeyType
from keystead.custody.cryptoperiods import Notice, NoticeKind, warnings
from keystead.custody.records import KeyRecord, as_text, move
from keystead.custody.states import State
from support.key_records import key_record

ACTIVATED = datetime(2026, 1, 1, tzinfo=UTC)
END = ACTIVATED + timedelta(days=365)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def _active(key_id: str = "key", at: datetime = ACTIVATED, **changes: str) -> KeyRecord:
    record = key_record(key_id, created_at=as_text(at), **changes)
    return move(record, State.ACTIVE, at=at, actor="owner", reason="test")[0]


@pytest.mark.parametrize(
    ("left", "within"),
    [
        (30 * DAY, 30),
        (7 * DAY + TICK, 30),
        (7 * DAY, 7),
        (DAY + TICK, 7),
        (DAY, 1),
        (TICK, 1),
    ],
)
def test_keys_that_expire_soon(left: timedelta, within: int) -> None:
    """An active key is announced 30 days, 7 days and 1 day before its end."""
    assert warnings([_active(identifier="aid")], END - left) == [
        Notice(
            kind=NoticeKind.EXPIRES,
            text="the period of this key ends on 2027-01-01",
            key="key",
            type=KeyType.IDENTIFIER_SIGN,
            identifier="aid",
            expires_at="2027-01-01T00:00:00.000000+00:00",
            within=within,
        )
    ]


def test_keys_with_time_left() -> None:
    """Nothing is said earlier."""
    assert warnings([_active()], END - 30 * DAY - TICK) == []
    assert warnings([], ACTIVATED) == []


@pytest.mark.parametrize("after", [timedelta(0), 30_000 * DAY])
def test_expired_keys(after: timedelta) -> None:
    """From its end on a key is expired, also when the clock says 2109."""
    (notice,) = warnings([_active()], END + after)
    assert notice.kind is NoticeKind.EXPIRED
    assert notice.text == "the period of this key ended on 2027-01-01"
    assert notice.within == 0


def test_only_active_keys_with_a_period_expire() -> None:
    """Keys in other states and kinds without a period are not announced."""
    active = _active()
    past = [
        move(active, state, at=ACTIVATED, actor="owner", reason="test")[0]
        for state in (State.SUSPENDED, State.DEACTIVATED, State.COMPROMISED)
    ]
    assert warnings([*past, _active(type=KeyType.BRANCH_SEED)], END) == []


def test_the_first_to_end_comes_first() -> None:
    """Warnings are in the order of the ends, whatever the order of the records."""
    records = [_active("b", ACTIVATED + DAY), _active("c"), _active("a", ACTIVATED + DAY)]
    assert [one.key for one in warnings(records, END)] == ["c", "a", "b"]


def test_a_clock_before_the_keys_gives_one_warning() -> None:
    """A clock at 1970 is announced once, with nothing about keys."""
    records = [_active("a"), _active("b", ACTIVATED + DAY), _active("c")]
    (notice,) = warnings(records, datetime(1970, 1, 1, tzinfo=UTC))
    assert notice.kind is NoticeKind.CLOCK
    assert notice.key == "b"
    assert notice.text == (
        "the clock says 1970-01-01, but a key was made or activated on 2026-01-02: "
        "set the clock, or put another key in its place if the clock is right now"
    )


def test_a_key_activated_with_a_wrong_clock_shows_it() -> None:
    """A key that was made in 2026 and activated in 1970 tells that the clock is wrong."""
    made = key_record(created_at=as_text(ACTIVATED))
    at = datetime(1970, 1, 1, tzinfo=UTC)
    record, _ = move(made, State.ACTIVE, at=at, actor="owner", reason="test")
    assert [one.kind for one in warnings([record], at)] == [NoticeKind.CLOCK]
    assert [one.kind for one in warnings([record], ACTIVATED)] == [NoticeKind.EXPIRED]


def test_a_clock_set_back_by_hours_is_no_matter() -> None:
    """A day of difference is no reason to withhold the other warnings."""
    records = [_active("old", ACTIVATED - 364 * DAY), _active("new")]
    assert [one.key for one in warnings(records, ACTIVATED - DAY)] == ["old"]
    assert [one.kind for one in warnings(records, ACTIVATED - DAY - TICK)] == [NoticeKind.CLOCK]


def test_keys_that_are_gone_say_nothing_about_the_clock() -> None:
    """A key made while the clock said 2100 gives no warning once it is rotated out."""
    record = _active(at=datetime(2100, 1, 1, tzinfo=UTC))
    assert [one.kind for one in warnings([record], ACTIVATED)] == [NoticeKind.CLOCK]
    retired, _ = move(record, State.DEACTIVATED, at=ACTIVATED, actor="owner", reason="test")
    assert warnings([retired], ACTIVATED) == []
