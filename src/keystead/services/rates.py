"""How often somebody may ask: GCRA, one number in memory for each who asked lately.

The generic cell rate algorithm keeps the time at which a full allowance would be back. Nothing is
started, nothing is counted down, and time is an argument.
"""

from typing import Final

import msgspec

# A bucket takes 160 to 250 bytes with a key of an address or an identifier: 16 MiB in all.
BUCKETS: Final = 65_536
_EXACT: Final = 1e-9  # a nanosecond: sums of floats are not exact


class Rate(msgspec.Struct, frozen=True):
    """How often: a steady pace, and how much of it may be used at once.

    Attributes:
        per_second: requests a second in the long run; more than 0.
        burst: requests at once after a quiet time; at least 1.
    """

    per_second: float
    burst: int


class RateLimit:
    """Holds each key to one rate."""

    def __init__(self, rate: Rate, *, buckets: int = BUCKETS) -> None:
        """Begin with full allowances.

        Args:
            rate: what each key may do.
            buckets: keys that are remembered. When there are more, who asked longest ago is
                forgotten and has a full allowance again; a limit over all must hold the rest.
        """
        self._interval = 1.0 / rate.per_second
        self._tolerance = rate.burst * self._interval
        self._buckets = buckets
        self._full_again: dict[str, float] = {}  # the longest ago asked for first

    def __len__(self) -> int:
        """Return the number of keys that are remembered."""
        return len(self._full_again)

    def take(self, key: str, now: float, *, cost: int = 1) -> float:
        """Use up some of an allowance; return 0.0, or the seconds to wait if there is too little.

        Args:
            key: who asks, such as an address prefix or an identifier; short, as it is kept.
            now: seconds of a clock that never goes back.
            cost: requests that this one counts for, at most the burst. What is refused costs
                nothing.
        """
        before = max(self._full_again.get(key, now), now)
        after = before + cost * self._interval
        wait = after - now - self._tolerance
        allowed = wait <= _EXACT
        self._keep(key, after if allowed else before)
        return 0.0 if allowed else wait

    def wait(self, key: str, now: float) -> float:
        """Return the seconds to wait before the next request is allowed; nothing is used up."""
        full_again = max(self._full_again.get(key, now), now)
        wait = full_again + self._interval - now - self._tolerance
        return 0.0 if wait <= _EXACT else wait

    def spend(self, key: str, now: float, *, cost: int) -> None:
        """Use up what turned out only afterwards to cost something.

        Args:
            key: who is to pay.
            now: as for `take`.
            cost: requests that it counts for. The debt is at most the burst, so that whoever pays
                for others of its network does not do so for long.
        """
        after = max(self._full_again.get(key, now), now) + cost * self._interval
        self._keep(key, min(after, now + 2 * self._tolerance))

    def _keep(self, key: str, full_again: float) -> None:
        self._full_again.pop(key, None)
        self._full_again[key] = full_again
        if len(self._full_again) > self._buckets:
            del self._full_again[next(iter(self._full_again))]
