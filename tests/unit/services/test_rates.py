"""How often somebody may ask."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from keystead.services.rates import BUCKETS, Rate, RateLimit


def test_a_burst_is_allowed_and_then_the_pace() -> None:
    """After the burst, one more is allowed each time that the pace gives one."""
    limit = RateLimit(Rate(5.0, 20))
    assert [limit.take("a", 100.0) for _ in range(20)] == [0.0] * 20
    assert abs(limit.take("a", 100.0) - 0.2) < 1e-6
    assert abs(limit.take("a", 100.1) - 0.1) < 1e-6
    assert limit.take("a", 100.2) == 0.0
    assert limit.take("a", 100.2) > 0.19
    assert limit.take("b", 100.2) == 0.0
    assert [limit.take("a", 200.0) for _ in range(21)].count(0.0) == 20


def test_large_requests_cost_more() -> None:
    """A cost counts as that many requests."""
    limit = RateLimit(Rate(1.0, 10))
    assert limit.take("a", 0.0, cost=10) == 0.0
    assert limit.take("a", 0.0, cost=3) == 3.0
    assert limit.take("a", 2.0, cost=2) == 0.0


@given(
    st.floats(0.1, 1000.0),
    st.integers(1, 50),
    st.lists(st.floats(0.0, 2.0), min_size=1, max_size=200),
)
def test_no_more_than_burst_and_pace_in_any_time(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    """Between any two moments, no more is allowed than the burst and what the pace gave."""
    limit = RateLimit(Rate(per_second, burst))
    now = 1000.0
    allowed = []
    for pause in pauses:
        now += pause
        wait = limit.take("a", now)
        if wait == 0.0:
            allowed.append(now)
        else:
            assert limit.take("a", now + wait * 0.9) > 0.0
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            gained = (allowed[last] - allowed[first]) * per_second
            assert last - first + 1 <= burst + gained + 1e-6


@given(st.floats(0.1, 1000.0), st.integers(1, 50), st.floats(0.0, 1e6))
def test_waiting_as_told_is_enough(per_second: float, burst: int, now: float) -> None:
    """Who comes back after the time that was told is let in."""
    limit = RateLimit(Rate(per_second, burst))
    while (wait := limit.take("a", now)) == 0.0:
        pass
    assert limit.take("a", now + wait + 1e-6) == 0.0


def test_memory_is_bounded() -> None:
    """However many ask, 16 MiB are enough, and who asked lately is remembered."""
    tracemalloc.start()
    limit = RateLimit(Rate(1.0, 1))
    for number in range(BUCKETS + 1000):
        assert limit.take(f"{number:>044}", float(number % 7)) == 0.0
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(limit) == BUCKETS
    assert taken <= 16 * 1024 * 1024
    assert limit.take(f"{BUCKETS + 999:>044}", 0.0) > 0.0
    assert limit.take(f"{0:>044}", 0.0) == 0.0


def test_what_is_spent_afterwards_has_to_be_waited_for() -> None:
    """It may be more than there is, but the debt is no more than the burst."""
    limit = RateLimit(Rate(1.0, 10))
    limit.spend("a", 0.0, cost=8)
    assert limit.wait("a", 0.0) == 0.0
    assert [limit.take("a", 0.0) for _ in range(2)] == [0.0, 0.0]
    assert limit.wait("a", 0.0) == limit.take("a", 0.0) == 1.0
    limit.spend("a", 0.0, cost=1000)
    assert limit.wait("a", 0.0) == 11.0
    assert limit.take("a", 10.9) > 0.0
    assert limit.take("a", 11.0) == 0.0
    assert limit.wait("b", 0.0) == 0.0
