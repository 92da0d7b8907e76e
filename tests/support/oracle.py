"""A second opinion on key event logs: the protocol's rules, restated naively and slowly.

`replay` takes every message so far, in the order of arrival, and works everything out anew. The
rules are written down from the KERI specification, not from the library: bodies are plain field
maps, and the state after an event is found by walking back to the inception. Only Ed25519 keys,
Blake3-256 digests and JSON are known here; that is all that the tests make.

Where the specification leaves a choice, this is how the choice is made:
 - What is neither acceptable nor waiting is dropped with its signatures; it may come again.
 - What waits is tried again when what it waits for is accepted, first come, first tried.
"""

import base64
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

from blake3 import blake3

from keystead.suites import Suite, verify

Body: TypeAlias = dict[str, Any]
Need: TypeAlias = tuple[str | int, ...]
HeldKey: TypeAlias = tuple[str, str]  # "event" or "receipts", and the digest of the event

_LABELS = {
    "icp": "v t d i s kt k nt n bt b c a",
    "dip": "v t d i s kt k nt n bt b c a di",
    "rot": "v t d i s p kt k nt n bt br ba a",
    "drt": "v t d i s p kt k nt n bt br ba a",
    "ixn": "v t d i s p a",
    "rct": "v t d i s",
}
_ROTATIONS, _INCEPTIONS = ("rot", "drt"), ("icp", "dip")


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it arrives.

    Attributes:
        raw: the body of an event, or of a receipt.
        signatures: by the controller: place of the key, place of its digest in the list of the
            rotation before, and the signature.
        receipts: by witnesses: place in the witness list, and the signature.
        couples: by non-transferable keys: the key, and the signature.
    """

    raw: bytes
    signatures: frozenset[tuple[int, int | None, bytes]] = frozenset()
    receipts: frozenset[tuple[int, bytes]] = frozenset()
    couples: frozenset[tuple[str, bytes]] = frozenset()

    def plus(self, other: "Message | None") -> "Message":
        """Return this with the signatures of the other one too."""
        if other is None:
            return self
        return Message(
            self.raw,
            self.signatures | other.signatures,
            self.receipts | other.receipts,
            self.couples | other.couples,
        )


@dataclass(slots=True)
class Held:
    """What waits: the message, what for, and whether its signatures were looked at."""

    message: Message
    needs: set[Need]
    verified: bool = False


@dataclass(slots=True)
class Log:
    """One identifier's log.

    Attributes:
        trunk: digests of the undisputed events, by place.
        seen: digests of all accepted events, in order.
        duplicitous: digests of the refused versions.
        sealed_by: delegated event to the delegator's event that approved it.
        signed: accepted event to places of keys, witnesses, and other receipts that verified.
    """

    trunk: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    duplicitous: set[str] = field(default_factory=set)
    sealed_by: dict[str, str] = field(default_factory=dict)
    signed: dict[str, tuple[set[tuple[int, int | None]], set[str], set[str]]] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds after an event: the last establishment event's keys, and the witnesses."""

    keys: list[str]
    threshold: Any
    next_digests: list[str]
    next_threshold: Any
    witnesses: list[str]
    witness_threshold: int
    traits: list[str]
    delegator: str | None


def replay(messages: Iterable[Message]) -> "World":
    """Work out what a validator holds that got these messages in this order."""
    world = World()
    for message in messages:
        world.receive(message)
    return world


class World:
    """Logs by identifier, and what waits, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self.logs: dict[str, Log] = {}
        self.held: dict[HeldKey, Held] = {}
        self.bodies: dict[str, Body] = {}  # of accepted events, by digest
        self._queue: deque[Message] = deque()

    def receive(self, message: Message) -> None:
        """Take in one message, and then what it allows."""
        self._queue.append(message)
        while self._queue:
            current = self._queue.popleft()
            body = read(current.raw)
            if body is not None and body["t"] == "rct":
                self._receipt(body, current)
            elif body is not None:
                self._event(body, current)

    def rules(self, said: str) -> Rules:
        """Return what holds after an accepted event."""
        return self._after(self.bodies[said])

    def _receipt(self, body: Body, message: Message) -> None:
        said, key = body["d"], ("receipts", body["d"])
        log = self.logs.get(body["i"], Log())
        waiting = self.held.get(("event", said))
        if not (message.signatures or message.receipts or message.couples):
            return
        if said in log.seen:
            self._note(log, self.bodies[said], message)
            self.held.pop(key, None)
        elif waiting is not None and waiting.verified:
            event = waiting.message.plus(message)
            self._event(_loaded(event.raw), event)
        elif int(body["s"], 16) < len(log.trunk):
            self.held.pop(key, None)
        else:
            self._hold(key, message, {("receipted", body["i"], int(body["s"], 16))})

    def _event(self, body: Body, message: Message) -> None:
        said, aid, sn = body["d"], body["i"], int(body["s"], 16)
        log = self.logs.get(aid, Log())
        event_key, receipts_key = ("event", said), ("receipts", said)
        alone = message.plus(self._message(event_key))
        full = alone.plus(self._message(receipts_key))
        if said in log.seen:
            self._note(log, body, full)
            self._drop(said)
            return
        if sn > len(log.trunk):
            self._hold(event_key, alone, {("event", aid, sn - 1)})
            return
        if not self._fits(body, log):
            self._drop(said)
            return
        after = self._after(body)
        places, witnessed, _ = self._verified(body, after, full)
        if not places:
            self._drop(said)
            return
        short = not self._is_signed(body, after, places)
        if sn < len(log.trunk) and self._may_supersede(body, log) is False:
            if not short:
                log.duplicitous.add(said)
            self._drop(said)
            return
        needs: set[Need] = set()
        incomplete = short or len(witnessed) < after.witness_threshold
        if body["t"] in ("dip", "drt"):
            assert after.delegator is not None
            sealing = self._sealing(after.delegator, body)
            if "DND" in self._traits(after.delegator):
                self._drop(said)
                return
            if sealing is None:
                needs.add(("seal", after.delegator, aid, sn, said))
                if after.delegator not in self.logs:
                    needs.add(("event", after.delegator, 0))
        if incomplete or needs:
            self._hold(event_key, full, needs, verified=True)
            self.held.pop(receipts_key, None)
        else:
            self._accept(body, full)

    def _accept(self, body: Body, message: Message) -> None:
        said, aid, sn = body["d"], body["i"], int(body["s"], 16)
        after = self._after(body)
        log = self.logs.setdefault(aid, Log())
        if body["t"] in ("dip", "drt"):
            assert after.delegator is not None
            sealing = self._sealing(after.delegator, body)
            assert sealing is not None
            log.sealed_by[said] = sealing
        del log.trunk[sn:]
        log.trunk.append(said)
        log.seen.append(said)
        self.bodies[said] = body
        self._note(log, body, message)
        self._drop(said)
        come: set[Need] = {("event", aid, sn), ("receipted", aid, sn)}
        come |= {("seal", aid, *seal) for seal in _seals(body)}
        self._queue += [held.message for held in self.held.values() if held.needs & come]

    def _fits(self, body: Body, log: Log) -> bool:
        """Tell whether an event is consistent with what holds before it."""
        if body["t"] in _INCEPTIONS:
            return True
        prior = log.trunk[int(body["s"], 16) - 1]
        before = self.rules(prior)
        if not before.next_digests or body["p"] != prior:
            return False
        if body["t"] == "ixn":
            return "EO" not in before.traits
        if (body["t"] == "drt") is not (before.delegator is not None):
            return False
        if not set(body["br"]) <= set(before.witnesses):
            return False
        after = self._after(body)
        return after.witness_threshold <= len(after.witnesses)

    def _after(self, body: Body) -> Rules:
        """Return what holds after an event whose predecessors are accepted."""
        if body["t"] in _INCEPTIONS:
            return Rules(
                body["k"], body["kt"], body["n"], body["nt"], body["b"], int(body["bt"], 16),
                body["c"], body.get("di"),
            )  # fmt: skip
        before = self._after(self.bodies[body["p"]])
        if body["t"] == "ixn":
            return before
        witnesses = [one for one in before.witnesses if one not in body["br"]]
        witnesses += [one for one in body["ba"] if one not in witnesses]
        return Rules(
            body["k"], body["kt"], body["n"], body["nt"], witnesses, int(body["bt"], 16),
            before.traits, before.delegator,
        )  # fmt: skip

    def _verified(
        self, body: Body, after: Rules, message: Message
    ) -> tuple[set[tuple[int, int | None]], set[str], set[str]]:
        """Return places of keys, witnesses, and other receipting keys whose signatures verify."""
        raw = dumped(body)
        places = {
            (place, other)
            for place, other, signature in message.signatures
            if place < len(after.keys) and _signed(after.keys[place], signature, raw)
        }
        claimed = {
            (after.witnesses[place], signature)
            for place, signature in message.receipts
            if place < len(after.witnesses)
        }
        signers = {key for key, one in claimed | message.couples if _signed(key, one, raw)}
        return places, signers & set(after.witnesses), signers - set(after.witnesses)

    def _is_signed(self, body: Body, after: Rules, places: set[tuple[int, int | None]]) -> bool:
        """Tell whether distinct keys meet the threshold and the one committed to before."""
        if not _met(after.threshold, {after.keys.index(after.keys[place]) for place, _ in places}):
            return False
        if body["t"] not in _ROTATIONS:
            return True
        before = self.rules(body["p"])
        exposed = {
            other
            for place, other in places
            if other is not None
            and other < len(before.next_digests)
            and _digest(after.keys[place].encode()) == before.next_digests[other]
        }
        return _met(before.next_threshold, exposed)

    def _may_supersede(self, body: Body, log: Log) -> bool | None:
        """Apply rules A to C to the event on the trunk; None: it depends on a seal to come."""
        sn = int(body["s"], 16)
        old = self.bodies[log.trunk[sn]]
        if body["t"] not in _ROTATIONS:
            return False  # A2; nor may an inception
        if any(self.bodies[said]["t"] in _ROTATIONS for said in log.trunk[sn + 1 :]):
            return False  # A0, B: only what is not before another rotation
        if old["t"] == "ixn":
            return True  # A0
        if body["t"] != "drt" or old["t"] != "drt":
            return False  # A1
        delegator = self._after(body).delegator
        assert delegator is not None
        new_seal = self._sealing(delegator, body)
        if new_seal is None:
            return None
        return self._is_later(body, new_seal, old, log.sealed_by[old["d"]])

    def _is_later(self, body: Body, new: str, old: Body, former: str) -> bool:
        """Apply rules B1, B2, B3 and C to events and their delegating events."""
        upper, lower = self.bodies[new], self.bodies[former]
        if int(upper["s"], 16) != int(lower["s"], 16):
            return int(upper["s"], 16) > int(lower["s"], 16)  # B1
        if new == former:
            seals = _seals(upper)
            return seals.index(_place(body)) > seals.index(_place(old))  # B2
        if upper["t"] in _ROTATIONS and lower["t"] == "ixn":
            return True  # B3
        sealed_by = self.logs[upper["i"]].sealed_by
        if new not in sealed_by or former not in sealed_by:
            return False  # C1
        return self._is_later(upper, sealed_by[new], lower, sealed_by[former])  # C

    def _sealing(self, delegator: str, body: Body) -> str | None:
        """Return the first event on the delegator's trunk that seals an event."""
        for said in self.logs.get(delegator, Log()).trunk:
            if _place(body) in _seals(self.bodies[said]):
                return said
        return None

    def _traits(self, aid: str) -> list[str]:
        return list(self.rules(self.logs[aid].trunk[0]).traits) if aid in self.logs else []

    def _note(self, log: Log, body: Body, message: Message) -> None:
        signed = log.signed.setdefault(body["d"], (set(), set(), set()))
        for known, new in zip(
            signed, self._verified(body, self._after(body), message), strict=True
        ):
            known |= new  # type: ignore[operator] - sets of the same kind at the same place

    def _message(self, key: HeldKey) -> Message | None:
        return self.held[key].message if key in self.held else None

    def _hold(
        self, key: HeldKey, message: Message, needs: set[Need], *, verified: bool = False
    ) -> None:
        self.held[key] = Held(message.plus(self._message(key)), needs, verified)

    def _drop(self, said: str) -> None:
        self.held.pop(("event", said), None)
        self.held.pop(("receipts", said), None)


@lru_cache(maxsize=4096)
def read(raw: bytes) -> Body | None:
    """Return the field map of a well-formed event or receipt, None for anything else."""
    try:
        body: Body = json.loads(raw)
        well_formed = _is_well_formed(body, raw)
    except (KeyError, TypeError, ValueError):
        return None
    return body if well_formed else None


def _is_well_formed(body: Body, raw: bytes) -> bool:
    if list(body) != _LABELS[body["t"]].split() or dumped(body) != raw:
        return False
    if body["v"] != f"KERI10JSON{len(raw):06x}_" or f"{int(body['s'], 16):x}" != body["s"]:
        return False
    if body["t"] == "rct":
        return True
    blank = {**body, "d": "#" * 44}
    is_digest = body["i"][0] == "E"
    if body["t"] in _INCEPTIONS and is_digest:
        blank["i"] = "#" * 44
        if body["i"] != body["d"]:
            return False
    if _digest(dumped(blank)) != body["d"]:
        return False
    if (body["s"] == "0") is not (body["t"] in _INCEPTIONS):
        return False
    return body["t"] == "ixn" or _sets_keys_well(body)


def _sets_keys_well(body: Body) -> bool:
    keys, digests, added = body["k"], body["n"], body["b"] if "b" in body else body["ba"]
    for threshold, entries in ((body["kt"], keys), (body["nt"], digests)):
        distinct = {entries.index(entry) for entry in entries}
        weights = [] if isinstance(threshold, str) else _clauses(threshold)
        if weights and sum(map(len, weights)) != len(entries):
            return False
        if not (_met(threshold, distinct) if entries else threshold == "0"):
            return False
    witnesses = [*added, *body.get("br", ())]
    if not keys or any(one[0] != "B" for one in witnesses):
        return False
    if len(set(added)) != len(added) or len(set(body.get("br", ()))) != len(body.get("br", ())):
        return False
    if "b" in body and int(body["bt"], 16) > len(added):
        return False
    if body["t"] in _ROTATIONS or body["i"][0] == "E":
        return True
    if body["t"] == "dip" or keys != [body["i"]] or body["kt"] != "1":
        return False
    return body["i"][0] == "D" or not (digests or added or body["a"])


def _clauses(threshold: Any) -> list[list[str]]:  # noqa: ANN401 - a field of a message
    return threshold if isinstance(threshold[0], list) else [threshold]


def _met(threshold: Any, places: set[int]) -> bool:  # noqa: ANN401 - a field of a message
    if isinstance(threshold, str):
        return 0 < int(threshold, 16) <= len(places)
    start = 0
    for clause in _clauses(threshold):
        if sum(Fraction(one) for at, one in enumerate(clause, start) if at in places) < 1:
            return False
        start += len(clause)
    return True


def _seals(body: Body) -> list[tuple[str, int, str]]:
    seals = [one for one in body["a"] if isinstance(one, dict) and list(one) == ["i", "s", "d"]]
    return [(one["i"], int(one["s"], 16), one["d"]) for one in seals]


def _place(body: Body) -> tuple[str, int, str]:
    return body["i"], int(body["s"], 16), body["d"]


def _loaded(raw: bytes) -> Body:
    body = read(raw)
    assert body is not None
    return body


def dumped(body: Body) -> bytes:
    """Return the canonical bytes of a field map."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    return "E" + base64.urlsafe_b64encode(b"\0" + blake3(data).digest()).decode()[1:]


@lru_cache(maxsize=65536)
def _signed(key: str, signature: bytes, raw: bytes) -> bool:
    return verify(Suite.ED25519, base64.urlsafe_b64decode("A" + key[1:])[1:], signature, raw)

