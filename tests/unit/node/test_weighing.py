"""Evidence counts when both versions could be believed, and never by keys that were replaced alone."""

from collections.abc import Sequence

import pytest

from keystead.cesr.keys import digest
from keystead.keri import build
from keystead.keri.build import Configuration, Keys, Witnesses
from keystead.keri.seals import DigestSeal
from keystead.limits import Limits
from keystead.node.weighing import Meaning, Weighed, known_duplicity, weigh
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.logs import Node

OTHER = DigestSeal(digest(b"other"))
WITNESSES = [witness("one"), witness("two")]
DEAD = Weighed(Meaning.RETIRED_KEYS, counts=False)


def _begun(witnesses: Sequence[KeyPair] = WITNESSES, keys: int = 1) -> tuple[Node, Author, Author]:
    """Return a node that knows an inception, its author, and somebody with the same keys."""
    node, author = Node(), Author("weighed", keys=keys, witnesses=list(witnesses))
    node.accept(author.incept().framed)
    return node, author, author.fork()


def _cut(one: Signed, receipts: int) -> bytes:
    return Signed(one.event, one.signatures, one.receipts[:receipts]).framed


def _weighed(node: Node, author: Author) -> Weighed:
    (evidence,) = node.store.duplicity(author.aid)
    return weigh(node.store, evidence)


@pytest.mark.parametrize("receipts", [0, 1, 2])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("witnesses", [[], WITNESSES])
def test_a_rotation_takes_an_interaction_back(
    receipts: int,
    later: bool,  # noqa: FBT001 - a parameter of the test
    witnesses: list[KeyPair],
) -> None:
    """Whatever receipts the interaction has: who saw it first has replaced it."""
    node, author, thief = _begun(witnesses)
    node.accept(author.rotate().framed)
    if later:
        node.accept(author.rotate().framed)
    node.feed(_cut(thief.interact(OTHER), receipts))
    assert _weighed(node, author) == Weighed(Meaning.TAKEN_BACK, counts=False)


@pytest.mark.parametrize(("receipts", "counts"), [(0, False), (1, False), (2, True)])
def test_old_keys_need_the_receipts(receipts: int, counts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Two interactions of which both were witnessed count, however old the keys are."""
    node, author, thief = _begun()
    node.accept(author.interact().framed, author.rotate().framed)
    node.feed(_cut(thief.interact(OTHER), receipts))
    assert _weighed(node, author) == Weighed(Meaning.RETIRED_KEYS, counts)


def test_two_stories_end_when_the_owner_rotates() -> None:
    """Without receipts it counts as long as the keys are in force, and no longer."""
    node, author, thief = _begun()
    node.accept(author.interact().framed)
    node.feed(_cut(thief.interact(OTHER), 0))
    assert _weighed(node, author) == Weighed(Meaning.CURRENT_KEYS, counts=True)
    node.accept(author.rotate().framed)
    assert _weighed(node, author) == DEAD


def test_without_witnesses_old_keys_count() -> None:
    """Nothing tells which of two interactions came first."""
    node, author, thief = _begun([])
    node.accept(author.interact().framed, author.rotate().framed)
    node.feed(thief.interact(OTHER).framed)
    assert _weighed(node, author).counts


def test_two_rotations_by_next_keys_count() -> None:
    """As long as nobody has replaced them; also where one comes behind an interaction."""
    node, author, thief = _begun()
    node.accept(author.interact().framed, author.rotate().framed)
    node.feed(_cut(thief.rotate(anchors=[OTHER]), 0))
    assert _weighed(node, author) == Weighed(Meaning.NEXT_KEYS, counts=True)
    node.accept(author.rotate().framed)
    assert _weighed(node, author) == DEAD


def test_witnesses_of_the_thief_do_not_count() -> None:
    """Who rotates with old keys to witnesses of his own, or to none, has no receipts."""
    node, author, thief = _begun()
    before = author.state
    node.accept(author.rotate().framed, author.rotate().framed)
    mine = witness("mine")
    for added in ((), (mine.aid,)):
        plan = Keys([thief.pairs(1)[0].key], "1", (build.commitment(KeyPair("his").key),), "1")
        change = Witnesses(len(added), added, tuple(one.aid for one in WITNESSES))
        event = build.rotate(before, plan, change)
        made = thief.pairs(1)[0].indexed(event.raw, 0, 0)
        receipts = tuple(mine.indexed(event.raw, place, place) for place, _ in enumerate(added))
        node.feed(Signed(event, (made,), receipts).framed)
    counting, dismissed = known_duplicity(node.store, author.aid)
    assert counting == ()
    assert [weigh(node.store, one) for one in dismissed] == [DEAD, DEAD]


def test_a_branch_that_was_taken_back_does_not_count() -> None:
    """Two versions behind an event that a recovery has replaced are gone together."""
    node, author, thief = _begun()
    node.accept(thief.interact().framed)
    twin = thief.fork()
    node.accept(thief.interact().framed)
    node.feed(twin.interact(OTHER).framed)
    assert _weighed(node, author).counts
    node.accept(author.rotate().framed)
    assert _weighed(node, author) == Weighed(Meaning.TAKEN_BACK, counts=False)


def test_evidence_against_a_delegator_is_weighed_by_its_own_log() -> None:
    """A thief of old keys of the delegator does not hurt the delegate."""
    node, boss, thief = _begun()
    arm = Author("arm")
    made = arm.incept(configuration=Configuration(delegator=boss.aid))
    node.accept(boss.rotate(anchors=[made.seal]).framed, made.framed)
    node.feed(thief.interact(OTHER).framed)
    counting, dismissed = known_duplicity(node.store, arm.aid)
    assert counting == ()
    assert [one.aid for one in dismissed] == [boss.aid]


def test_what_counts_finds_room() -> None:
    """Neither a flood by old keys nor the same version with no receipts keeps it out."""
    node = Node(limits=Limits(evidence=2))
    author = Author("weighed", witnesses=WITNESSES)
    node.accept(author.incept().framed)
    thief = author.fork()
    witnessed = author.fork().interact(OTHER)
    node.accept(author.interact().framed, author.rotate().framed)
    node.feed(_cut(witnessed, 0))
    node.feed(_cut(thief.fork().interact(OTHER, OTHER), 0))
    node.feed(_cut(thief.fork().interact(OTHER, OTHER, OTHER), 0))
    assert known_duplicity(node.store, author.aid).counting == ()
    node.feed(witnessed.framed)
    counting, dismissed = known_duplicity(node.store, author.aid)
    assert [one.other.said for one in counting] == [witnessed.event.said]
    assert len(dismissed) == 1
    last = author.fork().rotate(anchors=[OTHER])
    node.accept(author.rotate().framed)
    node.feed(last.framed)
    counting, dismissed = known_duplicity(node.store, author.aid)
    assert {one.other.said for one in counting} == {witnessed.event.said, last.event.said}
    assert dismissed == ()
    assert isinstance(node.store, MemoryStore)
