"""Authors who may go back on their word, and copies of their events as they travel."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keystead.cesr import indexed, said
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, digest
from keystead.cesr.stream import Message
from keystead.cesr.writing import write_groups
from keystead.keri import build
from keystead.keri.build import Configuration, Keys, Witnesses
from keystead.keri.messages import Receipt
from keystead.keri.seals import DigestSeal, EventSeal, Seal
from keystead.limits import Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.stores.memory import MemoryStore
from keystead.suites import Suite
from keystead.testing.authoring import Author, KeyPair, Signed
from support import oracle

_ROOMY = Limits(held_events=1000, evidence=1000)  # bounds are tested elsewhere
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Packet:
    """A message as bytes, and as the oracle reads it."""

    data: bytes
    message: oracle.Message


@dataclass(frozen=True, slots=True)
class Made:
    """An event with all signatures that it will ever get.

    Attributes:
        raw: the event.
        signatures: by its controller, by place.
        receipts: by its witnesses, by place.
        witnesses: who they are.
    """

    raw: bytes
    signatures: tuple[IndexedSignature, ...]
    receipts: tuple[IndexedSignature, ...] = ()
    witnesses: tuple[KeyPair, ...] = ()

    @property
    def body(self) -> dict[str, Any]:
        """The field map."""
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def said(self) -> str:
        """The digest."""
        text: str = self.body["d"]
        return text

    @property
    def seal(self) -> EventSeal:
        """The seal that approves the event."""
        body = self.body
        return EventSeal(body["i"], int(body["s"], 16), body["d"])

    def packet(
        self,
        signers: Iterable[int] | None = None,
        receiptors: Iterable[int] | None = None,
        *,
        form: str = "indexed",
        apart: bool = False,
    ) -> Packet:
        """Return a message with some of the signatures.

        Args:
            signers: places of the keys whose signatures are attached; None: all.
            receiptors: places of the witnesses whose receipts are attached; None: all.
            form: how receipts are attached: indexed, bare (indexed without a second place),
                or couples.
            apart: as a receipt message, without the event.
        """
        signatures = _chosen(self.signatures, signers)
        receipts = _chosen(self.receipts, receiptors)
        couples = []
        if form == "couples":
            couples = [self.witnesses[one.index].couple(self.raw) for one in receipts]
            receipts = ()
        elif form == "bare":
            receipts = tuple(
                indexed.make(Suite.ED25519, one.raw, one.index, ondex=None, current_only=True)
                for one in receipts
            )
        body = self.body
        raw = self.raw
        if apart:
            raw = build.receipt(Receipt(body["i"], int(body["s"], 16), body["d"]))
        groups = [
            Group(kind, tuple(items))
            for kind, items in (
                (GroupKind.CONTROLLER_SIGNATURES, signatures),
                (GroupKind.WITNESS_SIGNATURES, receipts),
                (GroupKind.RECEIPT_COUPLES, couples),
            )
            if items
        ]
        message = oracle.Message(
            raw,
            frozenset((one.index, one.ondex, one.raw) for one in signatures),
            frozenset((one.index, one.raw) for one in receipts),
            frozenset((couple.key.text, couple.signature.raw) for couple in couples),
        )
        return Packet(raw + write_groups(groups), message)


class Branch(Author):
    """An author whose copies go separate ways, with lists of next keys in reverse order."""

    def __init__(
        self, name: str, *, keys: int = 1, witnesses: Sequence[KeyPair] = (), basic: bool = False
    ) -> None:
        """Have one key, or more with a weight of one half each."""
        super().__init__(
            name, keys=keys, threshold=["1/2"] * keys if keys > 1 else "1", witnesses=witnesses
        )
        self.basic = basic
        self._salt = itertools.count()  # shared by all branches

    def begin(self, *, traits: Sequence[str] = (), delegator: "Branch | None" = None) -> Made:
        """Make the inception."""
        configuration = Configuration(
            traits, None if delegator is None else delegator.aid, self.basic
        )
        return self.made(self.incept(configuration=configuration))

    def branch(self) -> "Branch":
        """Return an author who goes on from here."""
        twin = self.fork()
        assert isinstance(twin, Branch)
        return twin

    def extend(self, kind: str, seals: Iterable[Seal] = ()) -> Made:
        """Make the next event, unlike any other: ixn, rot, last (no next keys), or hire.

        The last one replaces the first witness by a new one.
        """
        anchors = (*seals, DigestSeal(digest(f"{next(self._salt)}".encode())))
        if kind == "ixn":
            return self.made(self.interact(*anchors))
        if kind == "hire":
            return self.made(self._hire(anchors))
        return self.made(self.rotate(anchors=anchors, last=kind == "last"))

    def craft(self, fields: dict[str, Any]) -> Made:
        """Sign a body that a builder might refuse to make."""
        labels = ("d", "i") if fields["t"] in ("icp", "dip") and not self.basic else ("d",)
        raw, _ = said.address(fields, labels=labels)
        receipts = [one.indexed(raw, at, at) for at, one in enumerate(self.witnesses)]
        return Made(raw, self.signatures(raw), tuple(receipts), tuple(self.witnesses))

    def made(self, signed: Signed) -> Made:
        """Return the event with its signatures."""
        return Made(signed.event.raw, signed.signatures, signed.receipts, tuple(self.witnesses))

    def signatures(self, raw: bytes) -> tuple[IndexedSignature, ...]:
        """Return the signatures of the current keys over any message."""
        pairs = self.pairs(self._generation)
        last = len(pairs) - 1
        return tuple(pair.indexed(raw, place, last - place) for place, pair in enumerate(pairs))

    def _hire(self, anchors: Iterable[Seal]) -> Signed:
        self._generation += 1
        fresh = KeyPair(f"{self._name} witness {self.state.sn} {len(self.aid)}", transferable=False)
        removed, added = [one.aid for one in self.witnesses[:1]], [fresh.aid]
        self.witnesses = [*self.witnesses[1:], fresh]
        change = Witnesses(len(self.witnesses), added, removed)
        plan = self._plan(self._generation)
        return self._sign(build.rotate(self.state, plan, change, anchors=anchors))

    def _plan(self, generation: int, *, last: bool = False) -> Keys:
        plan = super()._plan(generation, last=last)
        return replace(plan, next_key_digests=plan.next_key_digests[::-1])


class Validator:
    """A processor with an empty store, whose messages come a second apart."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.store = MemoryStore(_ROOMY)
        self.processor = EventProcessor(self.store, limits=_ROOMY)
        self.now = START

    def receive(self, packet: Packet) -> list[Result]:
        """Process one message."""
        self.now += timedelta(seconds=1)
        reader = self.processor.reader()
        reader.feed(packet.data)
        reader.close()
        (message,) = reader
        assert isinstance(message, Message)
        return self.processor.process(message, now=self.now)

    def trunk(self, aid: str) -> list[str]:
        """Return the digests of the events of a trunk."""
        return [one.event.said for one in self.store.events(Aid(aid))]


def _chosen(
    signatures: tuple[IndexedSignature, ...], places: Iterable[int] | None
) -> tuple[IndexedSignature, ...]:
    wanted = range(len(signatures)) if places is None else set(places)
    return tuple(one for one in signatures if one.index in wanted)
