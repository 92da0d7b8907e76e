"""Warnings about keys in force whose time is up, or soon will be.

Nothing is refused when a cryptoperiod ends: a key that its log still names has to sign the way
out of it. The owner is told, in good time, to rotate.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from keystead.custody.catalogue import KeyType
from keystead.custody.records import KeyRecord
from keystead.custody.states import State

# Days before the end at which the warning becomes more urgent.
NOTICE_DAYS: Final = (30, 7, 1)
_DAY: Final = timedelta(days=1)


class NoticeKind(StrEnum):
    """What a warning is about."""

    CLOCK = "clock"
    EXPIRED = "expired"
    EXPIRES = "expires"


class Notice(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A warning.

    Attributes:
        kind: what it is about.
        text: one lower-case sentence.
        key: id of the key; for a clock, of the key that it contradicts most.
        type: kind of that key.
        identifier: the identifier that the key signs for, empty for none.
        expires_at: end of the key's cryptoperiod; empty for none.
        within: the key expires within this many days, one of `NOTICE_DAYS`; 0 otherwise.
    """

    kind: NoticeKind
    text: str
    key: str
    type: KeyType
    identifier: str
    expires_at: str
    within: int = 0


def warnings(records: Iterable[KeyRecord], now: datetime) -> list[Notice]:
    """Return the warnings about active keys, those whose time is up first.

    A clock that lies before the beginning of an active key gives one warning about the clock,
    and no other: what it would say about keys is of no use.

    Args:
        records: keys in any state.
        now: the time, with its offset.
    """
    active = [record for record in records if record.state is State.ACTIVE]
    latest = max(active, key=_last_known, default=None)
    # Clocks are set back by seconds or an hour now and then.
    if latest is not None and _last_known(latest) - now > _DAY:
        return [_clock_is_wrong(latest, now)]
    found = [notice for record in active if (notice := _about(record, now)) is not None]
    return sorted(found, key=lambda one: (datetime.fromisoformat(one.expires_at), one.key))


def _last_known(record: KeyRecord) -> datetime:
    """Return the latest time at which something happened to a key."""
    return max(datetime.fromisoformat(record.created_at), datetime.fromisoformat(record.changed_at))


def _clock_is_wrong(record: KeyRecord, now: datetime) -> Notice:
    seen = _last_known(record).date()
    text = (
        f"the clock says {now.date()}, but a key was made or activated on {seen}: "
        "set the clock, or put another key in its place if the clock is right now"
    )
    return _notice(record, NoticeKind.CLOCK, text)


def _about(record: KeyRecord, now: datetime) -> Notice | None:
    """Return the warning about one active key, None if its time is not nearly up."""
    if not record.expires_at:
        return None
    left = datetime.fromisoformat(record.expires_at) - now
    day = record.expires_at[:10]
    if left <= timedelta(0):
        return _notice(record, NoticeKind.EXPIRED, f"the period of this key ended on {day}")
    within = min((days for days in NOTICE_DAYS if left <= days * _DAY), default=0)
    if not within:
        return None
    text = f"the period of this key ends on {day}"
    return _notice(record, NoticeKind.EXPIRES, text, within)


def _notice(record: KeyRecord, kind: NoticeKind, text: str, within: int = 0) -> Notice:
    return Notice(
        kind=kind,
        text=text,
        key=record.id,
        type=record.type,
        identifier=record.identifier,
        expires_at=record.expires_at,
        within=within,
    )
