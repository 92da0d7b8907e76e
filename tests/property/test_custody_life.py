"""Whatever happens to a key, its record and the steps of its life fit together."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from keystead.custody.catalogue import CATALOGUE, KeyType, Use, check_use
from keystead.custody.cryptoperiods import NoticeKind, warnings
from keystead.custody.records import KeyRecord, Transition, as_text, begin, move
from keystead.custody.states import GONE, SUSPECT, TRANSITIONS, State
from keystead.errors import KeystoreError
from support.key_records import key_record

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
CLOCKS = st.datetimes(timezones=st.just(UTC) | OFFSETS)


@st.composite
def _lives(draw: st.DrawFn) -> tuple[KeyRecord, list[Transition]]:
    """Return a key after a random life under random clocks, and its steps."""
    kind = draw(st.sampled_from(KeyType).filter(lambda one: bool(CATALOGUE[one].methods)))
    at = as_text(draw(CLOCKS))
    record = key_record(
        type=kind,
        method=min(CATALOGUE[kind].methods),
        state=draw(st.sampled_from(sorted(TRANSITIONS[None]))),
        created_at=at,
        changed_at=at,
    )
    steps = [begin(record, actor="owner", reason="made")]
    for _ in range(draw(st.integers(0, 12))):
        choices = sorted(TRANSITIONS[record.state])
        if not choices:
            break
        record, step = move(
            record,
            draw(st.sampled_from(choices)),
            at=draw(CLOCKS),
            actor="owner",
            reason="life",
        )
        steps.append(step)
    return record, steps


@given(_lives())
def test_steps_are_a_chain(life: tuple[KeyRecord, list[Transition]]) -> None:
    """Each step begins where the one before ended, and the record is where the last one ended."""
    record, steps = life
    states = [None, *(step.after for step in steps)]
    assert [step.before for step in steps] == states[:-1]
    assert record.state is steps[-1].after
    assert record.changed_at == steps[-1].at


@given(_lives())
def test_no_way_back(life: tuple[KeyRecord, list[Transition]]) -> None:
    """Out of force stays out of force, suspect stays suspect, gone stays gone."""
    states = [step.after for step in life[1]]
    for place, state in enumerate(states):
        later = set(states[place + 1 :])
        if state in {State.DEACTIVATED, State.ARCHIVED, *SUSPECT, *GONE}:
            assert not later & {State.ACTIVE, State.ROTATE_ONLY, State.PRE_ACTIVE, State.RESERVE}
        for group in (SUSPECT, GONE):
            assert state not in group or later <= group


@given(_lives())
def test_keys_expire_once_they_were_active(life: tuple[KeyRecord, list[Transition]]) -> None:
    """A key has an end if its kind has a period and it was active, and keeps the first one."""
    record, steps = life
    active = [step.at for step in steps if step.after is State.ACTIVE]
    period = CATALOGUE[record.type].cryptoperiod
    assert bool(record.expires_at) == (bool(active) and period is not None)
    if record.expires_at and period is not None:
        begins = datetime.fromisoformat(active[0])
        last = datetime.max.replace(tzinfo=begins.tzinfo)
        room = last - begins
        assert datetime.fromisoformat(record.expires_at) == begins + min(period, room)


@given(_lives())
def test_what_was_lost_is_never_used_to_speak(life: tuple[KeyRecord, list[Transition]]) -> None:
    """A key that is not active signs no interaction and no statement, and derives nothing new."""
    record, _ = life
    for use in (Use.INTERACT, Use.STATE, Use.DERIVE, Use.WRAP, Use.ENCRYPT):
        try:
            check_use(record.type, record.state, use)
        except KeystoreError:
            continue
        assert record.state is State.ACTIVE


@given(st.lists(_lives(), max_size=5), CLOCKS)
def test_no_clock_breaks_the_warnings(
    lives: list[tuple[KeyRecord, list[Transition]]], now: datetime
) -> None:
    """Under any clocks there is one warning for the clock, or at most one for each active key."""
    active = [record for record, _ in lives if record.state is State.ACTIVE]
    found = warnings((record for record, _ in lives), now)
    if any(one.kind is NoticeKind.CLOCK for one in found):
        assert len(found) == 1
        return
    expired = {
        (record.id, record.expires_at)
        for record in active
        if record.expires_at and datetime.fromisoformat(record.expires_at) <= now
    }
    assert {(one.key, one.expires_at) for one in found if one.kind is NoticeKind.EXPIRED} == expired
    assert len(found) <= len(active)
