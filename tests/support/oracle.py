"""A second opinion on key event logs: the protocol's rules, restated naively and slowly.

`replay` takes every message so far, in the order of arrival, and works everything out anew. The
rules are written down from the KERI specification, not from the library: events are plain field
maps, and what holds after one is found by walking back to the inception. Only Ed25519 keys,
Blake3-256 digests and JSON are known here; that is all that the tests make.

Where the specification leaves a choice, it is made like this:
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
Place: TypeAlias = tuple[int, int | None]  # in the list of keys, in the list of the next ones
Need: TypeAlias = tuple[str | int, ...]
HeldKey: TypeAlias = tuple[str, str]  # "event" or "receipts", and the digest of the event

_ROTATIONS, _INCEPTIONS, _DELEGATED = ("rot", "drt"), ("icp", "dip"), ("dip", "drt")
_LABELS = {
    **dict.fromkeys(_INCEPTIONS, "v t d i s kt k nt n bt b c a"),
    **dict.fromkeys(_ROTATIONS, "v t d i s p kt k nt n bt br ba a"),
    "ixn": "v t d i s p a",
    "rct": "v t d i s",
}


@dataclass(frozen=True, slots=True)
class Message:
    """The body of an event or a receipt, and signatures.

    Attributes:
        raw: the body.
        signatures: by the controller: place of the key, place of its digest among the next keys
            of the rotation before, and the signature.
        receipts: by witnesses: place in the witness list, and the signature.
        couples: by non-transferable keys: the key, and the signature.
    """

    raw: bytes
    signatures: frozenset[tuple[int, int | None, bytes]] = frozenset()
    receipts: frozenset[tuple[int, bytes]] = frozenset()
    couples: frozenset[tuple[str, bytes]] = frozenset()

    def plus(self, other: "Held | Message | None") -> "Message":
        """Return this with the signatures of another one too."""
        one = other.message if isinstance(other, Held) else other or self
        return Message(
            self.raw,
            self.signatures | one.signatures,
            self.receipts | one.receipts,
            self.couples | one.couples,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What waits: the message, what for, and whether its signatures were looked at."""

    message: Message
    needs: set[Need]
    verified: bool


@dataclass(slots=True)
class Log:
    """The log of one identifier; events go by their digests.

    Attributes:
        trunk: the undisputed events, by place.
        seen: all accepted events, in order.
        duplicitous: refused versions of accepted events.
        sealed_by: what approved a delegated event.
        signed: places of keys, witnesses, and others that signed an event.
    """

    trunk: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    duplicitous: set[str] = field(default_factory=set)
    sealed_by: dict[str, str] = field(default_factory=dict)
    signed: dict[str, tuple[set[Place], set[str], set[str]]] = field(default_factory=dict)


def replay(messages: Iterable[Message]) -> "World":
    """Work out what a validator holds that got these messages in this order."""
    world = World()
    for message in messages:
        world.receive(message)
    return world


class World:
    """Logs by identifier, and what waits, oldest first."""

    def __init__(self) -> None:
        """Know nothing."""
        self.logs: dict[str, Log] = {}
        self.held: dict[HeldKey, Held] = {}
        self.bodies: dict[str, Body] = {}  # of accepted events

    def receive(self, message: Message) -> None:
        """Take in one message, and then what it allows."""
        queue = deque([message])
        while queue:
            current = queue.popleft()
            body = read(current.raw)
            if body is None:
                continue
            come = (
                self._receipt(body, current) if body["t"] == "rct" else self._event(body, current)
            )
            queue += [held.message for held in self.held.values() if held.needs & come]

    def after(self, body: Body) -> Body:
        """Return what holds after an event, as an inception would say it."""
        if body["t"] in _INCEPTIONS:
            return body
        before = self.after(self.bodies[body["p"]])
        if body["t"] == "ixn":
            return before
        witnesses = [one for one in before["b"] if one not in body["br"]]
        witnesses += [one for one in body["ba"] if one not in witnesses]
        return {
            **before,
            **{label: body[label] for label in ("k", "kt", "n", "nt", "bt")},
            "b": witnesses,
        }

    def _receipt(self, body: Body, message: Message) -> set[Need]:
        key, aid, sn = ("receipts", body["d"]), body["i"], _sn(body)
        log = self.logs.get(aid, Log())
        event = self.held.get(("event", body["d"]))
        if not (message.signatures or message.receipts or message.couples):
            return set()
        if body["d"] in log.seen:
            self._note(log, self.bodies[body["d"]], message)
            self.held.pop(key, None)
        elif event is not None and event.verified:
            return self._event(json.loads(event.message.raw), event.message.plus(message))
        elif sn < len(log.trunk):
            self.held.pop(key, None)
        else:
            needs: set[Need] = {("receipted", aid, sn)}
            self.held[key] = Held(message.plus(self.held.get(key)), needs, verified=False)
        return set()

    def _event(self, body: Body, message: Message) -> set[Need]:
        """Decide on an event; return what has come if it is accepted."""
        said, aid, sn = body["d"], body["i"], _sn(body)
        log = self.logs.get(aid, Log())
        alone = message.plus(self.held.get(("event", said)))
        full = alone.plus(self.held.get(("receipts", said)))
        if said in log.seen:
            self._note(log, body, full)
            return self._drop(said)
        if sn > len(log.trunk):
            self.held["event", said] = Held(alone, {("event", aid, sn - 1)}, verified=False)
            return set()
        if not self._fits(body, log):
            return self._drop(said)
        after, needs = self.after(body), set[Need]()
        places, witnessed, _ = self._verified(body, full)
        if not places:
            return self._drop(said)
        short = not self._is_signed(body, places)
        if sn < len(log.trunk) and self._may_supersede(body, log) is False:
            if not short:
                log.duplicitous.add(said)
            return self._drop(said)
        if body["t"] in _DELEGATED:
            above = self.logs.get(after["di"], Log())
            if above.trunk and "DND" in self.bodies[above.trunk[0]]["c"]:
                return self._drop(said)
            if self._sealing(body) is None:
                needs = {("seal", after["di"], *_place(body))}
                needs |= set() if above.trunk else {("event", after["di"], 0)}
        if short or needs or len(witnessed) < int(after["bt"], 16):
            self.held["event", said] = Held(full, needs, verified=True)
            self.held.pop(("receipts", said), None)
            return set()
        return self._accept(body, full)

    def _accept(self, body: Body, message: Message) -> set[Need]:
        said, aid, sn = body["d"], body["i"], _sn(body)
        log = self.logs.setdefault(aid, Log())
        if body["t"] in _DELEGATED:
            log.sealed_by[said] = self._sealing(body) or ""
        log.trunk[sn:] = [said]
        log.seen.append(said)
        self.bodies[said] = body
        self._note(log, body, message)
        self._drop(said)
        seals = {("seal", aid, *seal) for seal in _seals(body)}
        return {("event", aid, sn), ("receipted", aid, sn), *seals}

    def _fits(self, body: Body, log: Log) -> bool:
        """Tell whether an event is consistent with what holds before it."""
        if body["t"] in _INCEPTIONS:
            return True
        prior = log.trunk[_sn(body) - 1]
        before = self.after(self.bodies[prior])
        if not before["n"] or body["p"] != prior:
            return False
        if body["t"] == "ixn":
            return "EO" not in before["c"]
        if (body["t"] == "drt") is not ("di" in before) or not set(body["br"]) <= set(before["b"]):
            return False
        after = self.after(body)
        return int(after["bt"], 16) <= len(after["b"])

    def _verified(self, body: Body, message: Message) -> tuple[set[Place], set[str], set[str]]:
        """Return places of keys, witnesses, and other receipting keys whose signatures verify."""
        raw, after = dumped(body), self.after(body)
        keys, witnesses = dict(enumerate(after["k"])), dict(enumerate(after["b"]))
        places = {
            (at, other)
            for at, other, signature in message.signatures
            if _signed(keys.get(at), signature, raw)
        }
        claimed = {(witnesses.get(at), signature) for at, signature in message.receipts}
        signers = {key for key, one in claimed | message.couples if key and _signed(key, one, raw)}
        return places, signers & set(after["b"]), signers - set(after["b"])

    def _is_signed(self, body: Body, places: set[Place]) -> bool:
        """Tell whether distinct keys meet the threshold and the one committed to before."""
        after = self.after(body)
        if not _met(after["kt"], {after["k"].index(after["k"][at]) for at, _ in places}):
            return False
        if body["t"] not in _ROTATIONS:
            return True
        before = self.after(self.bodies[body["p"]])
        committed = dict(enumerate(before["n"]))
        exposed = {
            before["n"].index(committed[other])
            for at, other in places
            if other in committed and _digest(after["k"][at].encode()) == committed[other]
        }
        return _met(before["nt"], exposed)

    def _may_supersede(self, body: Body, log: Log) -> bool | None:
        """Apply rules A to C to the event on the trunk; None: it depends on a seal to come."""
        old = self.bodies[log.trunk[_sn(body)]]
        if body["t"] not in _ROTATIONS:
            return False  # A2, and nothing supersedes an inception
        if any(self.bodies[said]["t"] in _ROTATIONS for said in log.trunk[_sn(body) + 1 :]):
            return False  # A0, B: only what is not before another rotation
        if old["t"] == "ixn":
            return True  # A0
        if body["t"] != "drt" or old["t"] != "drt":
            return False  # A1
        new = self._sealing(body)
        return None if new is None else self._is_later(body, new, old, log.sealed_by[old["d"]])

    def _is_later(self, body: Body, new: str, old: Body, former: str) -> bool:
        """Apply rules B1, B2, B3 and C to two events and their delegating events."""
        upper, lower = self.bodies[new], self.bodies[former]
        if _sn(upper) != _sn(lower):
            return _sn(upper) > _sn(lower)  # B1
        if new == former:
            return _seals(upper).index(_place(body)) > _seals(upper).index(_place(old))  # B2
        if upper["t"] in _ROTATIONS and lower["t"] == "ixn":
            return True  # B3
        above = self.logs[upper["i"]].sealed_by
        if new not in above or former not in above:
            return False  # C1
        return self._is_later(upper, above[new], lower, above[former])  # C

    def _sealing(self, body: Body) -> str | None:
        """Return the first event on the delegator's trunk that seals an event."""
        trunk = self.logs.get(self.after(body)["di"], Log()).trunk
        return next((one for one in trunk if _place(body) in _seals(self.bodies[one])), None)

    def _note(self, log: Log, body: Body, message: Message) -> None:
        """Remember who signed an accepted event."""
        places, witnesses, others = self._verified(body, message)
        old = log.signed.get(body["d"], (set(), set(), set()))
        log.signed[body["d"]] = (old[0] | places, old[1] | witnesses, old[2] | others)

    def _drop(self, said: str) -> set[Need]:
        self.held.pop(("event", said), None)
        self.held.pop(("receipts", said), None)
        return set()


@lru_cache(maxsize=4096)
def read(raw: bytes) -> Body | None:
    """Return the field map of a well-formed event or receipt, None for anything else."""
    try:
        body: Body = json.loads(raw)
        return body if _is_well_formed(body, raw) else None
    except (KeyError, TypeError, ValueError):
        return None


def _is_well_formed(body: Body, raw: bytes) -> bool:
    labels = _LABELS[body["t"]] + (" di" if body["t"] == "dip" else "")
    if list(body) != labels.split() or dumped(body) != raw or f"{_sn(body):x}" != body["s"]:
        return False
    if body["v"] != f"KERI10JSON{len(raw):06x}_":
        return False
    if body["t"] == "rct":
        return True
    blank = {**body, "d": "#" * 44}
    if body["t"] in _INCEPTIONS and body["i"] == body["d"]:
        blank["i"] = blank["d"]
    elif body["t"] in _INCEPTIONS and (body["i"] != body["k"][0] or body["t"] == "dip"):
        return False
    elif body["t"] == "icp" and (len(body["k"]) != 1 or body["kt"] != "1"):
        return False  # an identifier that is a key is the only key
    if _digest(dumped(blank)) != body["d"] or (_sn(body) == 0) is not (body["t"] in _INCEPTIONS):
        return False
    return body["t"] == "ixn" or _sets_keys_well(body)


def _sets_keys_well(body: Body) -> bool:
    for threshold, entries in ((body["kt"], body["k"]), (body["nt"], body["n"])):
        if isinstance(threshold, list) and len(threshold) != len(entries):
            return False
        if not (_met(threshold, set(map(entries.index, entries))) if entries else threshold == "0"):
            return False
    lists = [body[label] for label in ("b", "br", "ba") if label in body]
    if any(len(set(one)) != len(one) or any(key[0] != "B" for key in one) for one in lists):
        return False
    if "b" in body and int(body["bt"], 16) > len(body["b"]):
        return False
    return bool(body["k"])


def _met(threshold: str | list[str], places: set[int]) -> bool:
    if isinstance(threshold, str):
        return 0 < int(threshold, 16) <= len(places)
    return sum(Fraction(one) for at, one in enumerate(threshold) if at in places) >= 1


def _sn(body: Body) -> int:
    return int(body["s"], 16)


def _seals(body: Body) -> list[tuple[str, int, str]]:
    return [_place(seal) for seal in body["a"] if list(seal) == ["i", "s", "d"]]


def _place(body: Body) -> tuple[str, int, str]:
    return body["i"], _sn(body), body["d"]


def dumped(body: Body) -> bytes:
    """Return the bytes of a field map."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    return "E" + base64.urlsafe_b64encode(b"\0" + blake3(data).digest()).decode()[1:]


@lru_cache(maxsize=65536)
def _signed(key: str | None, signature: bytes, raw: bytes) -> bool:
    raw_key = base64.urlsafe_b64decode("A" + key[1:])[1:] if key else b""
    return verify(Suite.ED25519, raw_key, signature, raw)
