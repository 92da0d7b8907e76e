"""Small logs of every kind, as pieces that a test can take apart.

Everything is made from names, so it is the same bytes every time.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from keystead.cesr import base64
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, SignatureGroup
from keystead.cesr.keys import Aid
from keystead.cesr.stream import Message
from keystead.cesr.versions import Kind
from keystead.cesr.writing import write_frame, write_groups
from keystead.keri import build
from keystead.keri.build import Configuration, Keys, Witnesses
from keystead.keri.keystate import KeyState
from keystead.keri.messages import Receipt
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.keri.thresholds import Field
from keystead.node.ingest import EventProcessor
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from keystead.testing.genuine import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MALLORY = "mallory"
MALLORY_WITNESS = witness(MALLORY)
_GENERATIONS = 4
_RECEIPTS = GroupKind.WITNESS_SIGNATURES


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of a stream.

    Attributes:
        raw: its body.
        kind: serialization of the body.
        groups: what is attached.
        framed: the attachments stand in a frame.
        binary: the attachments are in the binary domain.
    """

    raw: bytes
    kind: Kind
    groups: tuple[Group, ...]
    framed: bool = True
    binary: bool = False

    @property
    def attached(self) -> bytes:
        """The attachments as bytes."""
        text = write_frame(self.groups) if self.framed else write_groups(self.groups)
        return base64.decode(text) if self.binary else text

    @property
    def whole(self) -> bytes:
        """The message as bytes."""
        return self.raw + self.attached


@dataclass(frozen=True, slots=True)
class Scene:
    """A stream of genuine messages.

    Attributes:
        name: what it shows.
        pieces: the messages.
        accepted: how many events a validator accepts.
    """

    name: str
    pieces: tuple[Piece, ...]
    accepted: int


@dataclass(frozen=True, slots=True)
class World:
    """All scenes and what is true of them.

    Attributes:
        record: who made what.
        scenes: by name.
        mallory: the log of somebody else, whose seals approve what is none of her business.
    """

    record: Record = field(default_factory=Record)
    scenes: dict[str, Scene] = field(default_factory=dict)
    mallory: tuple[Piece, ...] = ()

    def add(self, name: str, pieces: Sequence[Piece], *, accepted: int | None = None) -> None:
        """Add a scene; all of its events are accepted unless `accepted` says else."""
        total = sum(piece.raw in self.record.facts for piece in pieces)
        count = total if accepted is None else accepted
        self.scenes[name] = Scene(name, tuple(pieces), count)

    def piece(self, signed: Signed, *, receipts: bool = True) -> Piece:
        """Write down an event; return its message, maybe without the receipts."""
        fact = self.record.add(signed)
        groups = [one for one in signed.groups if receipts or one.kind is not _RECEIPTS]
        return Piece(fact.raw, fact.kind, tuple(groups))

    def author(
        self,
        name: str,
        *,
        keys: int = 1,
        threshold: Field | None = None,
        witnesses: Sequence[KeyPair] = (),
        kind: Kind = Kind.JSON,
    ) -> Author:
        """Make an author and write down the keys."""
        made = Author(name, keys=keys, threshold=threshold, witnesses=witnesses, kind=kind)
        for generation in range(_GENERATIONS):
            self.record.know(made.pairs(generation))
        self.record.know(witnesses)
        return made


@functools.cache
def make_world() -> World:
    """Make all scenes; once in a process."""
    world = World()
    for kind in Kind:
        _add_plain(world, f"single {kind.value}", world.author(f"single {kind.value}", kind=kind))
    _add_plain(
        world,
        "weighted",
        world.author("weighted", keys=3, threshold=["1/2", "1/2", "1/2"], kind=Kind.CBOR),
    )
    nested: Field = [["1/2", {"1/2": ["1/2", "1/2"]}], ["1"]]
    _add_plain(world, "clauses", world.author("clauses", keys=4, threshold=nested, kind=Kind.MGPK))
    witnesses = [witness(f"common {place}") for place in range(3)]
    watched = world.author("witnessed", witnesses=witnesses)
    _add_plain(world, "witnessed", watched)
    _add_plain(world, "two of three", world.author("two of three", keys=3, threshold="2"))
    _add_receipted(world, witnesses)
    _add_changing(world)
    _add_delegated(world)
    _add_recoveries(world)
    _add_endorsed(world)
    return replace(world, mallory=_mallory(world))


def state_after(pieces: Sequence[Piece], aid: Aid) -> KeyState:
    """Return the state of a log.

    Raises:
        LookupError: no such log.
    """
    store = MemoryStore()
    processor = EventProcessor(store)
    reader = processor.reader()
    reader.feed(b"".join(piece.whole for piece in pieces))
    reader.close()
    for item in reader:
        if isinstance(item, Message):
            processor.process(item, now=NOW)
    state = store.key_state(aid)
    if state is None:
        raise LookupError(aid)
    return state


def _add_plain(world: World, name: str, author: Author) -> None:
    events = [author.incept(), author.interact(), author.rotate(), author.interact()]
    world.add(name, [world.piece(one) for one in events])


def _add_receipted(world: World, witnesses: Sequence[KeyPair]) -> None:
    """Add a log whose receipts come in messages of their own, and one that is its only key."""
    author = world.author("receipted", witnesses=witnesses)
    pieces = []
    for signed in (author.incept(), author.interact()):
        pieces.append(world.piece(signed, receipts=False))
        world.record.facts[signed.event.raw].made.update(_couples(signed, witnesses))
        body = _receipt_body(signed)
        couples = tuple(one.couple(signed.event.raw) for one in witnesses)
        pieces.append(Piece(body, Kind.JSON, (Group(GroupKind.RECEIPT_COUPLES, couples),)))
    world.add("receipted", pieces)
    basic = world.author("basic")
    events = [basic.incept(configuration=Configuration(basic=True)), basic.rotate(last=True)]
    world.add("basic", [world.piece(one) for one in events])


def _couples(signed: Signed, by: Sequence[KeyPair]) -> set[tuple[str, bytes]]:
    return {(one.key.text, one.sign(signed.event.raw)) for one in by}


def _receipt_body(signed: Signed) -> bytes:
    event = signed.event
    return build.receipt(Receipt(event.aid, event.sn, event.said))


def _add_changing(world: World) -> None:
    """Add a log with a reserve key, keys that change places, and other witnesses later."""
    first, second, third = ([KeyPair(f"changing {g} {n}") for n in range(3)] for g in range(3))
    witnesses = [witness(f"changing {place}") for place in range(4)]
    for pairs in (first, second, third, witnesses):
        world.record.know(pairs)
    half: Field = ["1/2", "1/2", "1/2"]
    keys = Keys([one.key for one in first], half, [build.commitment(p.key) for p in second], half)
    event = build.incept(keys, Witnesses(2, [one.aid for one in witnesses[:3]]))
    signatures = tuple(first[n].indexed(event.raw, n, n) for n in (0, 2))
    receipts = tuple(witnesses[n].indexed(event.raw, n, n) for n in (0, 2))
    pieces = [world.piece(Signed(event, signatures, receipts))]

    state = state_after(pieces, event.aid)
    keys = Keys([second[2].key, second[0].key], "2", [build.commitment(third[0].key)], "1")
    change = Witnesses(3, [witnesses[3].aid], [witnesses[0].aid])
    event = build.rotate(state, keys, change)
    signatures = (second[2].indexed(event.raw, 0, 2), second[0].indexed(event.raw, 1, 0))
    receipts = tuple(one.indexed(event.raw, n, n) for n, one in enumerate(witnesses[1:]))
    pieces.append(world.piece(Signed(event, signatures, receipts)))

    event = build.interact(state_after(pieces, event.aid))
    signatures = tuple(
        second[p].indexed(event.raw, n, None, current_only=True) for n, p in enumerate((2, 0))
    )
    receipts = tuple(one.indexed(event.raw, n, n) for n, one in enumerate(witnesses[1:]))
    pieces.append(world.piece(Signed(event, signatures, receipts)))
    world.add("changing", pieces)


def _add_delegated(world: World) -> None:
    """Add a delegate, one that recovers a rotation, and one that nobody approved."""
    root, child = world.author("root"), world.author("child")
    begin = world.piece(root.incept())
    by_root = Configuration(delegator=root.aid)
    dip = child.incept(configuration=by_root)
    approve = world.piece(root.interact(dip.seal))
    beside = child.fork()
    ixn, drt = child.interact(), child.rotate()
    pieces = [begin, world.piece(dip), approve, world.piece(ixn)]
    approve_second = world.piece(root.interact(drt.seal))
    world.add("delegated", [*pieces, approve_second, world.piece(drt)])

    first = beside.fork().rotate()
    other = beside.rotate(anchors=[DigestSeal("other")])
    approvals = [world.piece(root.interact(one.seal)) for one in (first, other)]
    chain = [begin, world.piece(dip), approve, approve_second, approvals[0], world.piece(first)]
    world.add("delegated recovery", [*chain, approvals[1], world.piece(other)])
    world.record.recoverable |= {first.event.raw, ixn.event.raw}

    stranger = world.author("stranger").incept(configuration=by_root)
    world.add("unapproved", [begin, world.piece(stranger), approve], accepted=2)


def _add_recoveries(world: World) -> None:
    author = world.author("recovering", keys=2, threshold="1")
    start = [world.piece(one) for one in (author.incept(), author.interact())]
    honest = author.fork()
    lost = author.interact(DigestSeal("lost"))
    after = [honest.rotate(), honest.interact()]
    world.add("recovery", [*start, world.piece(lost), *(world.piece(one) for one in after)])
    world.record.recoverable.add(lost.event.raw)

    liar = world.author("liar")
    begin = world.piece(liar.incept())
    other = liar.fork()
    told = [liar.interact(DigestSeal("to one")), other.interact(DigestSeal("to another"))]
    world.add("duplicity", [begin, *(world.piece(one) for one in told)], accepted=2)


def _add_endorsed(world: World) -> None:
    """Add a log with receipts by watchers and by another identifier."""
    holder, friend = world.author("holder"), world.author("friend", keys=2)
    watchers = [witness(f"watcher {place}") for place in range(2)]
    world.record.know(watchers)
    first, known = holder.incept(), friend.incept()
    pieces = [world.piece(known), world.piece(first)]
    raw, named = first.event.raw, known.event
    fact = world.record.facts[raw]
    signatures = friend.signatures(raw)
    fact.made.update(_couples(first, watchers))
    fact.made.update((friend.pairs(0)[one.index].key.text, one.raw) for one in signatures)
    group = SignatureGroup(named.aid, named.sn, named.said, signatures)
    couples = tuple(one.couple(raw) for one in watchers)
    groups = (
        Group(GroupKind.RECEIPT_COUPLES, couples),
        Group(GroupKind.SIGNATURE_GROUPS, (group,)),
    )
    pieces.append(Piece(_receipt_body(first), Kind.JSON, groups))
    world.add("endorsed", [*pieces, world.piece(holder.interact())])


def _mallory(world: World) -> tuple[Piece, ...]:
    """Make a log that seals the events of all delegates."""
    author = world.author(MALLORY)
    seals = [EventSeal(*one.place) for one in world.record.facts.values() if one.delegator]
    for fact in world.record.facts.values():  # anybody may watch, and this is her own key
        fact.made.add((MALLORY_WITNESS.key.text, MALLORY_WITNESS.sign(fact.raw)))
    return world.piece(author.incept()), world.piece(author.interact(*seals))
