"""What two versions of an event mean, and how two logs differ."""

from collections.abc import Sequence

from keystead.cesr.keys import digest
from keystead.keri.build import Configuration
from keystead.keri.seals import DigestSeal
from keystead.node.comparing import Comparison, Finding, Relation, compare_logs, explain
from keystead.node.weighing import Meaning
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, Signed, witness
from support.logs import NOW, Node

OTHER = DigestSeal(digest(b"other"))
WITNESSES = [witness("one"), witness("two")]


def _author() -> tuple[Author, Author, Signed]:
    author = Author("compared", witnesses=WITNESSES)
    begun = author.incept()
    return author, author.fork(), begun


def _finding(accepted: Sequence[Signed], other: Signed, receipts: int = 2) -> Finding:
    node = Node()
    node.accept(*(one.framed for one in accepted))
    node.feed(Signed(other.event, other.signatures, other.receipts[:receipts]).framed)
    (evidence,) = node.store.duplicity(other.event.aid)
    return explain(node.store, evidence)


def test_old_keys_are_a_dead_attack() -> None:
    """Who signs with keys that were replaced since changes nothing."""
    author, twin, begun = _author()
    log = [begun, author.interact(), author.rotate()]
    finding = _finding(log, twin.interact(OTHER), receipts=0)
    assert finding.meaning is Meaning.RETIRED_KEYS
    assert (finding.sn, finding.last_sn) == (1, 2)
    assert finding.receipted_both == ()
    assert [one.field for one in finding.differences] == ["seals"]


def test_two_interactions_by_current_keys() -> None:
    """The controller tells two stories; a witness that receipted both is corrupt."""
    author, twin, begun = _author()
    finding = _finding([begun, author.interact()], twin.interact(OTHER), receipts=1)
    assert finding.meaning is Meaning.CURRENT_KEYS
    assert finding.corrupt == (WITNESSES[0].aid,)
    assert finding.first.signers == finding.other.signers == (author.pairs(0)[0].key.text,)
    assert finding.first.receipted_by == (WITNESSES[0].aid, WITNESSES[1].aid)


def test_two_rotations_by_the_next_keys() -> None:
    """Both were committed to, so no rotation helps."""
    author, twin, begun = _author()
    finding = _finding([begun, author.rotate()], twin.rotate(anchors=[OTHER]))
    assert finding.meaning is Meaning.NEXT_KEYS
    assert finding.corrupt == tuple(one.aid for one in WITNESSES)


def test_a_witness_of_a_recovery_is_not_corrupt() -> None:
    """An honest witness receipts the interaction first and the rotation that takes it back then."""
    author, twin, begun = _author()
    finding = _finding([begun, author.rotate()], twin.interact(OTHER))
    assert finding.meaning is Meaning.TAKEN_BACK
    assert finding.receipted_both == tuple(one.aid for one in WITNESSES)
    assert finding.corrupt == ()
    fields = {one.field: (one.first, one.other) for one in finding.differences}
    assert fields["type"] == ("rot", "ixn")
    assert fields["signing keys"] == ([author.pairs(1)[0].key.text], None)


def test_rotations_of_a_delegate_are_for_its_delegator_to_decide() -> None:
    """Without a later approval the other rotation may not stand; nobody is called corrupt."""
    head, arm = Author("head"), Author("arm", witnesses=WITNESSES)
    begun = head.incept()
    made = arm.incept(configuration=Configuration(delegator=head.aid))
    twin = arm.fork()
    first, other = arm.rotate(), twin.rotate(anchors=[OTHER])
    node = Node()
    node.accept(begun.framed, head.interact(other.seal, made.seal, first.seal).framed)
    node.accept(made.framed, first.framed)
    node.feed(other.framed)
    (evidence,) = node.store.duplicity(arm.aid)
    finding = explain(node.store, evidence)
    assert finding.meaning is Meaning.UNAPPROVED
    assert finding.receipted_both
    assert finding.corrupt == ()


def _compared(first: Sequence[Signed], second: Sequence[Signed]) -> Comparison:
    nodes = [Node(), Node()]
    for node, log in zip(nodes, (first, second), strict=True):
        node.accept(*(one.framed for one in log))
    aid = first[0].event.aid
    return compare_logs(nodes[0].store, nodes[1].store, aid, MemoryStore, NOW)


def test_logs_that_are_the_same() -> None:
    """Equal logs end at the same event."""
    author, _, begun = _author()
    log = [begun, author.interact()]
    assert _compared(log, log) == Comparison(author.aid, Relation.EQUAL, 1, None, None)


def test_logs_of_which_one_is_older() -> None:
    """One is the begin of the other, either way round."""
    author, _, begun = _author()
    longer = [begun, author.interact()]
    said = longer[1].event.said
    expected = Comparison(author.aid, Relation.FIRST_IS_LONGER, 1, said, None)
    assert _compared(longer, longer[:1]) == expected
    expected = Comparison(author.aid, Relation.SECOND_IS_LONGER, 1, None, said)
    assert _compared(longer[:1], longer) == expected


def test_a_recovery_is_no_fork_in_either_order() -> None:
    """Which file comes first does not decide whether somebody is duplicitous."""
    author, twin, begun = _author()
    one, two = [begun, twin.interact(OTHER)], [begun, author.rotate()]
    for logs in ((one, two), (two, one)):
        compared = _compared(*logs)
        assert compared.relation is Relation.RECOVERED
        assert compared.findings == ()


def test_a_fork_is_proven() -> None:
    """Two histories that exclude each other are told with the place where they part."""
    author, twin, begun = _author()
    one = [begun, author.rotate(), author.interact()]
    two = [begun, twin.rotate(anchors=[OTHER])]
    compared = _compared(one, two)
    assert compared.relation is Relation.FORKED
    assert compared.sn == 1
    (finding,) = compared.findings
    assert finding.other.said == two[1].event.said
