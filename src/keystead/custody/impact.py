"""What a thief can do with a key: what else it opens, whose control is lost, which events to doubt.

Nothing here depends on whether the key is marked as compromised, so that an owner can ask first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord
from keystead.custody.states import SUSPECT, State
from keystead.errors import ErrorCode, UsageError


class SignedEventRef(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An event that was signed.

    Attributes:
        aid: the identifier.
        sn: its place.
        said: its digest.
        kind: type of message, such as `rot`.
        keys: ids of the keys that signed it.
    """

    aid: str
    sn: int
    said: str
    kind: str
    keys: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys the log of an identifier names at its end, and how many of them it takes.

    Attributes:
        current: ids of the signing keys, by place.
        next: ids of the keys committed to, by place.
        can_sign: tells whether the current keys at these places reach the signing threshold.
        can_rotate: tells whether the next keys at these places reach the next threshold.
    """

    current: tuple[str, ...]
    next: tuple[str, ...]
    can_sign: Callable[[frozenset[int]], bool]
    can_rotate: Callable[[frozenset[int]], bool]


class IdentifierImpact(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What happens to one identifier.

    Attributes:
        aid: the identifier.
        current: affected keys that sign for it now.
        next: affected keys that its log commits to.
        past: affected keys that its log does not name any more, or not yet.
        thief_can_sign: affected keys, with those known to be compromised before, reach the
            signing threshold: interactions and statements can be forged until the next rotation.
        thief_can_rotate: they reach the next threshold: the identifier can be taken over.
    """

    aid: str
    current: tuple[str, ...]
    next: tuple[str, ...]
    past: tuple[str, ...]
    thief_can_sign: bool
    thief_can_rotate: bool


class Impact(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What depends on a key.

    Attributes:
        key: its id.
        type: its kind.
        state: its state.
        derived: ids of the keys below it that are derived.
        wrapped: ids of the other keys below it: whoever has the key can read these.
        identifiers: those that it or the keys below it sign for, in the order of their text.
        events: events that it or the keys below it signed since they were exposed.
    """

    key: str
    type: KeyType
    state: State
    derived: tuple[str, ...]
    wrapped: tuple[str, ...]
    identifiers: tuple[IdentifierImpact, ...]
    events: tuple[SignedEventRef, ...]


def impact(
    key_id: str,
    records: Iterable[KeyRecord],
    signed_events: Iterable[SignedEventRef],
    *,
    standings: Mapping[str, Standing],
) -> Impact:
    """Tell what depends on a key.

    Args:
        key_id: the key.
        records: the inventory.
        signed_events: all events that were signed with keys of the inventory, or as many as are
            to be looked through.
        standings: by identifier, what its log says; an identifier without one has no log.

    Raises:
        UsageError: there is no such key (usage.unknown).
    """
    inventory = {record.id: record for record in records}
    if key_id not in inventory:
        raise UsageError(ErrorCode.UNKNOWN, "there is no such key", key=key_id)
    affected = _with_those_below(key_id, inventory)
    below = affected[1:]
    first = {record.id: record.exposed_since or 0 for record in affected}
    return Impact(
        key=key_id,
        type=inventory[key_id].type,
        state=inventory[key_id].state,
        derived=tuple(one.id for one in below if one.method is Method.DERIVED),
        wrapped=tuple(one.id for one in below if one.method is not Method.DERIVED),
        identifiers=_identifiers(affected, inventory.values(), standings),
        events=tuple(
            event
            for event in signed_events
            if any(event.sn >= first[key] for key in event.keys if key in first)
        ),
    )


def _with_those_below(key_id: str, inventory: Mapping[str, KeyRecord]) -> list[KeyRecord]:
    """Return a key and all that it derives or wraps, directly or not, each once."""
    children: defaultdict[str, list[str]] = defaultdict(list)
    for record in inventory.values():
        children[record.parent].append(record.id)
    found = {key_id: None}
    waiting = [key_id]
    while waiting:
        # The inventory may have been damaged: a circle in it must not keep us here.
        new = [child for child in children[waiting.pop()] if child not in found]
        found.update(dict.fromkeys(new))
        waiting.extend(new)
    return [inventory[one] for one in found]


def _identifiers(
    affected: Sequence[KeyRecord], inventory: Iterable[KeyRecord], standings: Mapping[str, Standing]
) -> tuple[IdentifierImpact, ...]:
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for record in affected:
        if record.identifier:
            keys[record.identifier].append(record.id)
    stolen = {record.id for record in affected}
    stolen.update(record.id for record in inventory if record.state in SUSPECT)
    return tuple(_identifier(aid, keys[aid], stolen, standings.get(aid)) for aid in sorted(keys))


def _identifier(
    aid: str, keys: Sequence[str], stolen: set[str], standing: Standing | None
) -> IdentifierImpact:
    if standing is None:
        return IdentifierImpact(
            aid=aid,
            current=(),
            next=(),
            past=tuple(keys),
            thief_can_sign=False,
            thief_can_rotate=False,
        )
    return IdentifierImpact(
        aid=aid,
        current=tuple(key for key in keys if key in standing.current),
        next=tuple(key for key in keys if key in standing.next),
        past=tuple(key for key in keys if key not in (*standing.current, *standing.next)),
        thief_can_sign=_reached(standing.current, stolen, standing.can_sign),
        thief_can_rotate=_reached(standing.next, stolen, standing.can_rotate),
    )


def _reached(
    keys: Sequence[str], stolen: set[str], enough: Callable[[frozenset[int]], bool]
) -> bool:
    places = frozenset(place for place, key in enumerate(keys) if key in stolen)
    # An abandoned identifier has a threshold of 0 over no keys, which nobody can use.
    return bool(places) and enough(places)
