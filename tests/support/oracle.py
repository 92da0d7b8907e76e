"""A second opinion on key event logs: the protocol's rules, restated naively and slowly.

`replay` takes every message so far, in the order of arrival, and works everything out anew. The
rules are written down from the KERI specification, not from the library: events are plain field
maps, and what holds after one is found by walking back to the inception. Only Ed25519 keys,
Blake3-256 digests and JSON are known here; that is all that the tests make.

Where the specification leaves a choice, it is made like this:
 - What is neither acceptable nor waiting is dropped with its signatures; it may come again.
 - What waits is tried again when what it waits for is accepted, first come, first tried.
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from support.plain_events import (
    DELEGATED,
    INCEPTIONS,
    ROTATIONS,
    Body,
    digest,
    dumped,
    is_met,
    is_signed_by,
    place_number,
    place_of,
    read,
    seals_of,
)

Place: TypeAlias = tuple[int, int | None]  # in the list of keys, in the list of the next ones
Need: TypeAlias = tuple[str | int, ...]
HeldKey: TypeAlias = tuple[str, str]  # "event" or "receipts", and the digest of the event


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
        if body["t"] in INCEPTIONS:
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
        key, aid, sn = ("receipts", body["d"]), body["i"], place_number(body)
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
        said, aid, sn = body["d"], body["i"], place_number(body)
        log = self.logs.get(aid, Log())
        alone = message.plus(self.held.get(("event", said)))
        full = alone.plus(self.held.get(("receipts", said)))
        if said in log.seen:
            self._note(log, body, full)
            return self._drop(said)
        if sn > len(log.trunk):
            if full.signatures:
                self.held["event", said] = Held(alone, {("event", aid, sn - 1)}, verified=False)
            return set()
        if not self._fits(body, log):
            return self._drop(said)
        after, needs = self.after(body), set[Need]()
        places, witnessed, _ = self._verified(body, full)
        if not places:  # the receipts may be good, and a better copy may come
            self.held.pop(("event", said), None)
            return set()
        short = not self._is_signed(body, places)
        if sn < len(log.trunk) and self._may_supersede(body, log) is False:
            if not short:
                log.duplicitous.add(said)
            return self._drop(said)
        if body["t"] in DELEGATED:
            above = self.logs.get(after["di"], Log())
            if above.trunk and "DND" in self.bodies[above.trunk[0]]["c"]:
                return self._drop(said)
            if self._sealing(body) is None:
                needs = {("seal", after["di"], *place_of(body))}
                needs |= set() if above.trunk else {("event", after["di"], 0)}
        if short or needs or len(witnessed) < int(after["bt"], 16):
            self.held["event", said] = Held(full, needs, verified=True)
            self.held.pop(("receipts", said), None)
            return set()
        return self._accept(body, full)

    def _accept(self, body: Body, message: Message) -> set[Need]:
        said, aid, sn = body["d"], body["i"], place_number(body)
        log = self.logs.setdefault(aid, Log())
        if body["t"] in DELEGATED:
            log.sealed_by[said] = self._sealing(body) or ""
        log.trunk[sn:] = [said]
        log.seen.append(said)
        self.bodies[said] = body
        self._note(log, body, message)
        self._drop(said)
        seals = {("seal", aid, *seal) for seal in seals_of(body)}
        return {("event", aid, sn), ("receipted", aid, sn), *seals}

    def _fits(self, body: Body, log: Log) -> bool:
        """Tell whether an event is consistent with what holds before it."""
        if body["t"] in INCEPTIONS:
            return True
        prior = log.trunk[place_number(body) - 1]
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
            if is_signed_by(keys.get(at), signature, raw)
        }
        claimed = {(witnesses.get(at), signature) for at, signature in message.receipts}
        signers = {
            key for key, one in claimed | message.couples if key and is_signed_by(key, one, raw)
        }
        return places, signers & set(after["b"]), signers - set(after["b"])

    def _is_signed(self, body: Body, places: set[Place]) -> bool:
        """Tell whether distinct keys meet the threshold and the one committed to before."""
        after = self.after(body)
        if not is_met(after["kt"], {after["k"].index(after["k"][at]) for at, _ in places}):
            return False
        if body["t"] not in ROTATIONS:
            return True
        before = self.after(self.bodies[body["p"]])
        committed = dict(enumerate(before["n"]))
        exposed = {
            before["n"].index(committed[other])
            for at, other in places
            if other in committed and digest(after["k"][at].encode()) == committed[other]
        }
        return is_met(before["nt"], exposed)

    def _may_supersede(self, body: Body, log: Log) -> bool | None:
        """Apply rules A to C to the event on the trunk; None: it depends on a seal to come."""
        old = self.bodies[log.trunk[place_number(body)]]
        if body["t"] not in ROTATIONS:
            return False  # A2, and nothing supersedes an inception
        if any(self.bodies[said]["t"] in ROTATIONS for said in log.trunk[place_number(body) + 1 :]):
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
        if place_number(upper) != place_number(lower):
            return place_number(upper) > place_number(lower)  # B1
        if new == former:
            return seals_of(upper).index(place_of(body)) > seals_of(upper).index(
                place_of(old)
            )  # B2
        if upper["t"] in ROTATIONS and lower["t"] == "ixn":
            return True  # B3
        above = self.logs[upper["i"]].sealed_by
        if new not in above or former not in above:
            return False  # C1
        return self._is_later(upper, above[new], lower, above[former])  # C

    def _sealing(self, body: Body) -> str | None:
        """Return the first event on the delegator's trunk that seals an event."""
        trunk = self.logs.get(self.after(body)["di"], Log()).trunk
        return next((one for one in trunk if place_of(body) in seals_of(self.bodies[one])), None)

    def _note(self, log: Log, body: Body, message: Message) -> None:
        """Remember who signed an accepted event."""
        places, witnesses, others = self._verified(body, message)
        old = log.signed.get(body["d"], (set(), set(), set()))
        log.signed[body["d"]] = (old[0] | places, old[1] | witnesses, old[2] | others)

    def _drop(self, said: str) -> set[Need]:
        self.held.pop(("event", said), None)
        self.held.pop(("receipts", said), None)
        return set()
