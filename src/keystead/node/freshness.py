"""How old what is known is, and whether that is fresh enough. Pure; who asks tells the time.

A source that was asked long ago, or at a time that cannot be told any more, confirms nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.ports.watching import SourceView

# Differences between two clocks of machines that keep time; more means that one was changed.
SKEW: Final = timedelta(seconds=5)


class Moment(msgspec.Struct, frozen=True):
    """A time by both clocks.

    Attributes:
        wall: aware time of day, which somebody may change.
        steady: seconds on a clock that only goes forward, and starts anew with each process.
    """

    wall: datetime
    steady: float


class Ages:
    """Tells how long ago sources confirmed something.

    Within a process the steady clock counts, so that a changed clock makes nothing younger. For
    what an earlier process wrote there is only the time of day; when that has gone back since,
    ages are unknown.
    """

    def __init__(self, views: Iterable[SourceView], now: Moment) -> None:
        """Take over what an earlier process wrote."""
        written = [at for one in views for at in (one.asked_at, one.confirmed_at) if at is not None]
        self._trusted = all(at <= now.wall + SKEW for at in written)
        self._began: dict[tuple[Aid, str], float] = {}

    def confirmed(self, aid: Aid, url: str, at: Moment) -> None:
        """Remember when a call began whose answer confirmed something."""
        self._began[aid, url] = at.steady

    def age(self, aid: Aid, view: SourceView, now: Moment) -> float | None:
        """Return how many seconds ago a source confirmed what it did, None if nobody knows."""
        if view.confirmed_at is None:
            return None
        by_wall = (now.wall - view.confirmed_at).total_seconds()
        began = self._began.get((aid, view.source.url))
        if began is not None:
            return max(now.steady - began, by_wall, 0.0)
        if not self._trusted or by_wall < 0:
            return None
        return by_wall


class Status(Enum):
    """What a source says about the latest state that is known here."""

    CONFIRMS = "confirms"
    BEHIND = "behind"
    ROLLED_BACK = "rolled_back"
    OTHER_VERSION = "other_version"
    UNREACHABLE = "unreachable"
    NEVER_ASKED = "never_asked"


class Confirmation(msgspec.Struct, frozen=True):
    """What a source confirmed, and how long ago.

    Attributes:
        view: what is known of the source.
        status: what that means for the latest state.
        age: seconds since the confirmation began, None if it is not known.
    """

    view: SourceView
    status: Status
    age: float | None

    @property
    def counts(self) -> bool:
        """It speaks for the latest state."""
        return self.status is Status.CONFIRMS and self.age is not None


class Policy(msgspec.Struct, frozen=True):
    """When a state is fresh enough.

    Attributes:
        max_age: seconds; None: any age that is known.
        min_sources: how many sources must confirm it.
    """

    max_age: float | None = None
    min_sources: int = 1


def confirmation(view: SourceView, head: Said | None, age: float | None) -> Confirmation:
    """Tell what a source says about the latest state."""
    if view.asked_at is None:
        status = Status.NEVER_ASKED
    elif view.problem == OTHER_VERSION:
        status = Status.OTHER_VERSION
    elif view.problem == ROLLED_BACK:
        status = Status.ROLLED_BACK
    elif view.confirmed_at is None:
        status = Status.UNREACHABLE
    elif head is not None and view.said == head:
        status = Status.CONFIRMS
    else:
        status = Status.UNREACHABLE if view.failures else Status.BEHIND
    return Confirmation(view, status, age)


OTHER_VERSION: Final = "serves another version of an event"
ROLLED_BACK: Final = "serves an older log than it did before"


def confirming(found: Sequence[Confirmation], max_age: float | None = None) -> int:
    """Return how many different sources confirm the latest state, within an age."""
    return len({
        one.view.source.eid
        for one in found
        if one.counts and (max_age is None or (one.age is not None and one.age <= max_age))
    })  # fmt: skip


def shortcomings(found: Sequence[Confirmation], policy: Policy) -> list[str]:
    """Return why a state is not fresh enough; nothing when it is."""
    have = confirming(found, policy.max_age)
    if have >= policy.min_sources:
        return []
    within = "" if policy.max_age is None else f" within {policy.max_age:g} s"
    reasons = [f"{have} of {policy.min_sources} needed sources confirm the latest state{within}"]
    for one in found:
        url, age = one.view.source.url, one.age
        if one.status is not Status.CONFIRMS:
            reasons.append(f"{url}: {one.status.value.replace('_', ' ')}")
        elif age is None:
            reasons.append(f"{url}: it cannot be told how long ago it confirmed")
        elif policy.max_age is not None and age > policy.max_age:
            reasons.append(f"{url}: last confirmed {age:.0f} s ago")
    return reasons
