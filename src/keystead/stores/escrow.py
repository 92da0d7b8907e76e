"""What waits, in memory: found by what is missing, and bounded for each log and in all."""

from collections import OrderedDict
from typing import TypeAlias

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import SignedEvent
from keystead.keri.escrow import (
    Held,
    HeldKey,
    MissingKey,
    Waiting,
    WaitingMessage,
    WaitingReceipts,
)
from keystead.limits import Limits

# Whether it is about messages of the log's controller, not about its events; and the log.
# Anybody can send messages in the name of a log, so they do not count as its events.
_ShareKey: TypeAlias = tuple[bool, Aid]


class _Share:
    """What one log takes of the room.

    Attributes:
        unverified: entries without verified signatures, oldest first.
        verified: the others, oldest first.
        size: bytes of all.
    """

    __slots__ = ("size", "unverified", "verified")

    def __init__(self) -> None:
        """Start empty."""
        # Of a dictionary the first key takes ever longer to find, as those before it are deleted.
        self.unverified: OrderedDict[HeldKey, None] = OrderedDict()
        self.verified: OrderedDict[HeldKey, None] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.unverified) + len(self.verified)

    def add(self, key: HeldKey, size: int, *, verified: bool) -> None:
        """Add an entry, or add to it what takes its place."""
        self.size += size
        mine, other = self.unverified, self.verified
        if verified:
            mine, other = other, mine
        other.pop(key, None)
        mine[key] = None

    def remove(self, key: HeldKey) -> None:
        """Drop an entry."""
        self.unverified.pop(key, None)
        self.verified.pop(key, None)

    def first(self) -> HeldKey:
        """Return the entry that makes room: one that costs a stranger nothing, or the oldest."""
        return next(iter(self.unverified or self.verified))


class Escrow:
    """What waits, bounded for each identifier and in all.

    When there is no room, a log that takes more than its part of it makes room, the largest first;
    where none does, the log of the oldest entry. Whether signatures were verified matters within a
    log only: anybody can make identifiers and sign with their keys.

    Attributes:
        entries: what waits, in the order of first arrival.
    """

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self.entries: OrderedDict[HeldKey, Held] = OrderedDict()
        self._limits = limits
        self._by_missing: dict[MissingKey, dict[HeldKey, None]] = {}
        self._shares: dict[_ShareKey, _Share] = {}
        # Shares of more than their part; twice as many as there are parts at most.
        self._large: dict[_ShareKey, None] = {}
        self._part = limits.held_total * limits.held_bytes // limits.held_logs
        self._bytes = 0
        # Number of arrival and size by entry.
        self._places: dict[HeldKey, tuple[int, int]] = {}
        self._arrived = 0

    def put(self, *entries: Held) -> tuple[tuple[Held, StoreError], ...]:
        """Add or replace entries; return what had to go for them."""
        evicted: list[tuple[Held, StoreError]] = []
        for held in entries:
            key, owner, size = held.key, _share_of(held), held.size
            share = self._shares.get(owner)
            if share is None:
                share = self._shares[owner] = _Share()
            if key in self.entries:
                self._forget(key, share)
                arrived, _ = self._places[key]
            else:
                arrived = self._arrived = self._arrived + 1
            self._places[key] = (arrived, size)
            self.entries[key] = held
            for missing in held.missing:
                self._by_missing.setdefault(missing.key, {})[key] = None
            share.add(key, size, verified=is_verified(held.waiting))
            self._bytes += size
            self._weigh(owner, share)
            evicted += self._make_room(owner, share)
        return tuple(evicted)

    def remove(self, key: HeldKey) -> None:
        """Drop an entry, if it is there."""
        held = self.entries.get(key)
        if held is None:
            return
        owner = _share_of(held)
        share = self._shares[owner]
        self._forget(key, share)
        share.remove(key)
        del self._places[key], self.entries[key]
        self._weigh(owner, share)
        if not share:
            del self._shares[owner]

    def waiting_for(self, arrived: tuple[MissingKey, ...]) -> tuple[Held, ...]:
        """Return the entries that wait for any of these, oldest first."""
        found = {key for missing in arrived for key in self._by_missing.get(missing, ())}
        return tuple([self.entries[key] for key in sorted(found, key=self._places.__getitem__)])

    def _forget(self, key: HeldKey, share: _Share) -> None:
        """Take back what an entry takes and what it waits for."""
        _, size = self._places[key]
        self._bytes -= size
        share.size -= size
        for missing in self.entries[key].missing:
            waiting = self._by_missing[missing.key]
            del waiting[key]
            if not waiting:
                del self._by_missing[missing.key]

    def _weigh(self, owner: _ShareKey, share: _Share) -> None:
        """Note whether a share takes more than its part of the room."""
        if self._load(share) > self._part:
            self._large[owner] = None
        else:
            self._large.pop(owner, None)

    def _load(self, share: _Share) -> int:
        """Return how much of the room a share takes, in entries or bytes, whichever is more."""
        return max(len(share) * self._limits.held_bytes, share.size * self._limits.held_total)

    def _make_room(self, owner: _ShareKey, share: _Share) -> list[tuple[Held, StoreError]]:
        evicted = []
        limits = self._limits
        of_events = not owner[0]
        while of_events and len(share) > limits.held_events:
            why = f"more than {limits.held_events} wait for one log"
            evicted.append(self._evict(share.first(), why))
        while len(self.entries) > limits.held_total or self._bytes > limits.held_bytes:
            evicted.append(self._evict(self._to_evict(), "too much waits"))
        return evicted

    def _to_evict(self) -> HeldKey:
        owner = max(self._large, key=lambda one: self._load(self._shares[one]), default=None)
        if owner is None:
            owner = _share_of(next(iter(self.entries.values())))
        return self._shares[owner].first()

    def _evict(self, key: HeldKey, why: str) -> tuple[Held, StoreError]:
        held = self.entries[key]
        self.remove(key)
        return held, StoreError(ErrorCode.ESCROW_FULL, why)


def _share_of(held: Held) -> _ShareKey:
    return isinstance(held.waiting, WaitingMessage), held.waiting.log


def is_verified(waiting: Waiting) -> bool:
    """Tell whether something that waits has signatures that verified."""
    match waiting:
        case SignedEvent(proofs=proofs):
            return bool(proofs)
        case WaitingMessage(proven=proven):
            return bool(proven)
        case WaitingReceipts():
            return False
