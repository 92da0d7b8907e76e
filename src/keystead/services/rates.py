"""How often somebody may ask: GCRA, one number in memory for each who asked lately.

The generic cell rate algorithm keeps the time at which a full allowance would be back. Nothing is
started, nothing is counted down, and time is an argument.
"""

from typing import Final

import msgspec

# A bucket takes 160 to 250 bytes with a key of an address or an identifier: 16 MiB in all.
BUCKETS: Final = 65_536


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
        full_again = self._full_again
        after = max(full_again.pop(key, now), now) + cost * self._interval
        wait = after - now - self._tolerance
        allowed = wait <= 1e-9  # noqa: PLR2004 - a nanosecond: sums of floats are not exact
        full_again[key] = after if allowed else after - cost * self._interval
        if len(full_again) > self._buckets:
            del full_again[next(iter(full_again))]
        return 0.0 if allowed else wait
