"""When sources are asked: pure arithmetic, so that nothing has to sleep."""

from keystead.node.schedule import Pace, Schedule

PACE = Pace(interval=10.0, longest=60.0, jitter=0.2, at_once=2)


def _schedule(*keys: str, pace: Pace = PACE, draw: float = 0.5) -> Schedule[str]:
    schedule: Schedule[str] = Schedule(pace, lambda: draw)
    schedule.keep_only(dict.fromkeys(keys, 0), 0.0)
    return schedule


def test_new_calls_are_due_soon_and_spread() -> None:
    """A new call comes within a tenth of the interval, not at the same moment as others."""
    schedule = _schedule("a")
    assert schedule.next_due(0.49) == []
    assert schedule.next_due(0.5) == ["a"]


def test_a_call_is_never_made_twice_at_once() -> None:
    """What runs is not given out again, however long it takes and whoever hurries it."""
    schedule = _schedule("a")
    assert schedule.next_due(1.0) == ["a"]
    schedule.hurry("a", 1.0)
    schedule.keep_only({"b": 0}, 1.0)
    schedule.keep_only({"a": 0, "b": 0}, 1.0)
    assert schedule.next_due(1000.0) == ["b"]
    schedule.ended("a", 0, 1000.0)
    assert schedule.next_due(1010.0) == ["a"]


def test_no_more_run_at_once_than_allowed() -> None:
    """The third waits for the end of one of the others."""
    schedule = _schedule("a", "b", "c")
    first = schedule.next_due(1.0)
    assert len(first) == 2
    assert schedule.next_due(1.0) == []
    assert schedule.wait(1.0, 7.0) == 7.0
    schedule.ended(first[0], 0, 1.0)
    assert len(schedule.next_due(1.0)) == 1


def test_failures_back_off_to_a_bound() -> None:
    """The wait doubles with each failure, and ends at the longest."""
    assert [PACE.after(count, 0.5) for count in range(5)] == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert PACE.after(10_000, 0.5) == 60.0


def test_jitter_is_a_part_of_the_wait() -> None:
    """The wait is longer or shorter by a fifth at most."""
    assert PACE.after(0, 0.0) == 8.0
    assert PACE.after(0, 1.0) == 12.0


def test_what_is_no_longer_wanted_is_not_called() -> None:
    """A removed call is gone, and ending it does not bring it back."""
    schedule = _schedule("a")
    assert schedule.next_due(1.0) == ["a"]
    schedule.keep_only({}, 1.0)
    schedule.ended("a", 0, 1.0)
    assert "a" not in schedule
    assert schedule.next_due(1000.0) == []


def test_failures_before_a_restart_count() -> None:
    """A source that failed before the process began is not asked at once."""
    schedule: Schedule[str] = Schedule(PACE, lambda: 0.5)
    schedule.keep_only({"a": 3}, 0.0)
    assert schedule.next_due(59.0) == []
    assert schedule.next_due(61.0) == ["a"]


def test_whoever_hurries_is_asked_now() -> None:
    """A call can be made due; one that is not wanted cannot."""
    schedule = _schedule("a")
    (key,) = schedule.next_due(1.0)
    schedule.ended(key, 0, 1.0)
    schedule.hurry("a", 2.0)
    schedule.hurry("stranger", 2.0)
    assert schedule.next_due(2.0) == ["a"]


def test_the_wait_ends_with_the_next_call() -> None:
    """Nobody needs to look before something is due."""
    assert _schedule().wait(0.0, 5.0) == 5.0
    assert _schedule("a").wait(0.2, 5.0) == 0.3
    assert _schedule("a").wait(9.0, 5.0) == 0.0
