"""A mutant in the making: the pieces of a scene, and what an attacker may do to them."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import digest
from keystead.cesr.versions import Kind
from keystead.testing.authoring import KeyPair
from keystead.testing.genuine import Fact
from keystead.testing.scenes import MALLORY, Piece, Scene, World

CONTROLLER = GroupKind.CONTROLLER_SIGNATURES
WITNESS = GroupKind.WITNESS_SIGNATURES
MALLORY_KEY = KeyPair(f"{MALLORY} 0 0")
MALLORY_NEXT = KeyPair(f"{MALLORY} 1 0")


@dataclass(slots=True)
class Draft:
    """A stream that is being changed.

    Attributes:
        random: decides everything that is left to chance.
        world: other scenes, to take from.
        pieces: the messages.
        stolen: bodies that were signed with genuine keys, as by a thief.
    """

    random: Random
    world: World
    pieces: list[Piece]
    stolen: set[bytes] = field(default_factory=set)

    def pick(self) -> tuple[int, Piece, Fact]:
        """Return a genuine event and where it stands; every scene has one."""
        facts = self.world.record.facts
        places = [at for at, piece in enumerate(self.pieces) if piece.raw in facts]
        at = self.random.choice(places)
        piece = self.pieces[at]
        return at, piece, facts[piece.raw]

    def other_piece(self) -> Piece:
        """Return a message of any scene."""
        scene = self.random.choice(list(self.world.scenes.values()))
        return self.random.choice(scene.pieces)

    def put(self, at: int, piece: Piece) -> None:
        """Put a message in the place of another, or sometimes behind it."""
        if self.random.random() < 0.25:  # noqa: PLR2004 - often enough
            self.pieces.insert(at + 1, piece)
        else:
            self.pieces[at] = piece

    def steal(self, fact: Fact, raw: bytes, kind: Kind, places: Iterable[int]) -> Piece:
        """Sign with genuine keys what their owner never wrote."""
        self.stolen.add(raw)
        pairs = self.world.record.signers(fact)
        signatures = tuple(pairs[at].indexed(raw, at, at) for at in places)
        return Piece(raw, kind, (Group(CONTROLLER, signatures),))


def fields_of(fact: Fact) -> Body:
    """Return what an event says, to be changed."""
    return copy.deepcopy(fact.fields)


def readdress(fields: Body, kind: Kind, *, identifier: bool = False) -> bytes:
    """Serialize with the true size and digest, and the identifier that follows from it."""
    labels = ("d", "i") if identifier else ("d",)
    return addressing.address(fields, kind, labels=labels)[0]


def patch_digest(raw: bytes, said: str) -> bytes:
    """Give bytes of any form the digest that fits them, wherever they hold the old one."""
    fill = b"#" * len(said)
    filled = raw.replace(said.encode(), fill)
    return filled.replace(fill, digest(filled).encode())


def with_group(
    groups: Sequence[Group], kind: GroupKind, items: Iterable[IndexedSignature]
) -> tuple[Group, ...]:
    """Return groups with other items in the group of a kind, or with one more group."""
    made = Group(kind, tuple(items))
    if not any(group.kind is kind for group in groups):
        return (*groups, made)
    return tuple(made if group.kind is kind else group for group in groups)


def signatures_in(piece: Piece, kind: GroupKind) -> list[IndexedSignature]:
    """Return the indexed signatures of a kind that are attached."""
    return [
        item
        for group in piece.groups
        if group.kind is kind
        for item in group.items
        if isinstance(item, IndexedSignature)
    ]


def with_signatures(piece: Piece, kind: GroupKind, items: Iterable[IndexedSignature]) -> Piece:
    """Return a piece with other indexed signatures of a kind."""
    return replace(piece, groups=with_group(piece.groups, kind, items))


def has_witnesses(scene: Scene, world: World) -> bool:
    """Tell whether events of a scene need receipts."""
    facts = world.record.facts
    return any(facts[one.raw].witness_threshold > 0 for one in scene.pieces if one.raw in facts)


def has_delegate(scene: Scene, world: World) -> bool:
    """Tell whether a scene shows a delegated identifier."""
    facts = world.record.facts
    return any(facts[one.raw].delegator for one in scene.pieces if one.raw in facts)
