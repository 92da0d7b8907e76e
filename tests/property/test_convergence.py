"""Order of arrival: where it must not matter, and what holds where it may.

A validator drops what contradicts the log that it has, and the sender, who gets no
acknowledgement, sends it again. So where events supersede others, or contradict each other,
everything is delivered in the same order until nothing changes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.events import AnyKeyEvent, EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.testing.authoring import witness
from support.branches import Branch, Made, Packet, Validator


@dataclass(frozen=True)
class Story:
    """Messages, and how they must end.

    Attributes:
        packets: what is delivered.
        trunks: the events of each log.
        superseded: events that lose their places.
    """

    packets: list[Packet]
    trunks: dict[str, list[Made]]
    superseded: tuple[Made, ...] = ()


def _told(
    trunks: Sequence[tuple[Branch, list[Made]]],
    superseded: tuple[Made, ...] = (),
    packets: Callable[[Made], Iterator[Packet]] | None = None,
) -> Story:
    """Return the story of some logs, each event in one message unless `packets` says else."""
    events = [made for _, trunk in trunks for made in trunk] + list(superseded)
    in_parts = packets or (lambda made: iter((made.packet(),)))
    return Story(
        [packet for made in events for packet in in_parts(made)],
        {author.aid: trunk for author, trunk in trunks},
        superseded,
    )


def _by_witness(made: Made) -> Iterator[Packet]:
    yield made.packet(receiptors=())
    for one in made.receipts:
        yield made.packet((), (one.index,), form="couples", apart=True)


def _by_key(made: Made) -> Iterator[Packet]:
    for one in made.signatures:
        yield made.packet((one.index,))


def _rotations() -> Story:
    author = Branch("rotations")
    kinds = ("ixn", "rot", "ixn", "rot", "last")
    return _told([(author, [author.begin(), *map(author.extend, kinds)])])


def _receipts() -> Story:
    author = Branch("receipts", witnesses=[witness("first"), witness("second")])
    trunk = [author.begin(), *map(author.extend, ("ixn", "hire"))]
    return _told([(author, trunk)], packets=_by_witness)


def _signatures() -> Story:
    author = Branch("signatures", keys=3)
    return _told([(author, [author.begin(), *map(author.extend, ("ixn", "rot"))])], packets=_by_key)


def _delegation() -> Story:
    root, middle, leaf = Branch("root"), Branch("middle"), Branch("leaf")
    roots = [root.begin()]
    middles = [middle.begin(delegator=root)]
    leaves = [leaf.begin(delegator=middle)]
    roots.append(root.extend("ixn", [middles[0].seal]))
    middles.append(middle.extend("ixn", [leaves[0].seal]))
    leaves.append(leaf.extend("rot"))
    middles.append(middle.extend("rot", [leaves[1].seal]))
    roots.append(root.extend("rot", [middles[2].seal]))
    leaves.append(leaf.extend("ixn"))
    return _told([(root, roots), (middle, middles), (leaf, leaves)])


def _recovery() -> Story:
    author = Branch("recovery")
    begun = [author.begin(), author.extend("ixn")]
    thief = author.branch()
    stolen = thief.extend("ixn"), thief.extend("ixn"), thief.extend("ixn")
    return _told(
        [(author, begun + [author.extend(kind) for kind in ("rot", "ixn", "rot")])], stolen
    )


def _delegates(name: str) -> tuple[tuple[Branch, list[Made]], tuple[Branch, list[Made]]]:
    """Return a delegator and its delegate, each behind its inception and the approval."""
    above, below = Branch(f"{name} delegator"), Branch(f"{name} delegate")
    upper = [above.begin()]
    lower = [below.begin(delegator=above)]
    upper.append(above.extend("ixn", [lower[0].seal]))
    return (above, upper), (below, lower)


def _delegated_interactions() -> Story:
    (above, upper), (below, lower) = _delegates("interactions")
    thief = below.branch()
    stolen = thief.extend("ixn"), thief.extend("ixn")
    lower.append(below.extend("rot"))
    upper.append(above.extend("ixn", [lower[1].seal]))
    return _told([(above, upper), (below, [*lower, below.extend("ixn")])], stolen)


def _later_approval() -> Story:
    """Rule B1: the delegator approves another rotation in a later event."""
    (above, upper), (below, lower) = _delegates("later")
    thief = below.branch()
    stolen = thief.extend("rot"), thief.extend("ixn")
    lower.append(below.extend("rot"))
    upper += [above.extend("ixn", [one.seal]) for one in (stolen[0], lower[1])]
    return _told([(above, upper), (below, [*lower, below.extend("ixn")])], stolen)


def _later_seal() -> Story:
    """Rule B2: one event approves both rotations, the good one last."""
    (above, upper), (below, lower) = _delegates("seal")
    stolen = below.branch().extend("rot")
    lower.append(below.extend("rot"))
    upper.append(above.extend("ixn", [stolen.seal, lower[1].seal]))
    return _told([(above, upper), (below, [*lower, below.extend("ixn")])], (stolen,))


def _superseding_approval() -> Story:
    """Rule B3: the approving interaction is superseded by an approving rotation."""
    (above, upper), (below, lower) = _delegates("superseding")
    stolen = below.branch().extend("rot")
    lower.append(below.extend("rot"))
    approval = above.branch().extend("ixn", [stolen.seal])
    upper.append(above.extend("rot", [lower[1].seal]))
    return _told([(above, upper), (below, [*lower, below.extend("ixn")])], (stolen, approval))


def _approved_approval() -> Story:
    """Rule C: the approvals are delegated rotations at one place, approved one after another."""
    (root, roots), (middle, middles) = _delegates("approved")
    leaf = Branch("approved leaf")
    leaves = [leaf.begin(delegator=middle)]
    middles.append(middle.extend("ixn", [leaves[0].seal]))
    stolen = leaf.branch().extend("rot")
    leaves.append(leaf.extend("rot"))
    approval = middle.branch().extend("rot", [stolen.seal])
    middles.append(middle.extend("rot", [leaves[1].seal]))
    roots += [root.extend("ixn", [one.seal]) for one in (approval, middles[2])]
    return _told([(root, roots), (middle, middles), (leaf, leaves)], (stolen, approval))


_told_once = cache(lambda tell: tell())
_STRAIGHT = (_rotations, _receipts, _signatures, _delegation)
_RECOVERED = (
    _recovery,
    _delegated_interactions,
    _later_approval,
    _later_seal,
    _superseding_approval,
    _approved_approval,
)
_orders = settings(max_examples=60, deadline=None)


def _deliver(packets: Sequence[Packet], *, again: bool = False) -> Validator:
    """Deliver messages; `again` means once more as long as that changes anything."""
    validator = Validator()
    before: object = None
    while True:
        for packet in packets:
            validator.receive(packet)
        store = validator.store
        after = [[*store.first_seen(aid)] for aid in store.identifiers()], [*store.waiting()]
        if not again or after == before:
            return validator
        before = after


def _assert_trunks(validator: Validator, story: Story) -> None:
    for aid, trunk in story.trunks.items():
        assert validator.trunk(aid) == [made.said for made in trunk]


@pytest.mark.parametrize("tell", _STRAIGHT)
@_orders
@given(data=st.data())
def test_a_straight_log_arrives_whole_in_any_order(
    tell: Callable[[], Story], data: st.DataObject
) -> None:
    """Without superseded events one delivery in any order gives the log, and nothing waits."""
    story = _told_once(tell)
    validator = _deliver(data.draw(st.permutations(story.packets)))
    _assert_trunks(validator, story)
    assert list(validator.store.waiting()) == []


@pytest.mark.parametrize("tell", _STRAIGHT)
@_orders
@given(data=st.data())
def test_a_straight_log_shows_no_duplicity(tell: Callable[[], Story], data: st.DataObject) -> None:
    """Honest events never look duplicitous, even when they come twice."""
    story = _told_once(tell)
    validator = _deliver(data.draw(st.permutations(story.packets * 2)))
    assert [validator.store.duplicity(aid) for aid in validator.store.identifiers()] == [
        () for _ in story.trunks
    ]


@pytest.mark.parametrize("tell", _RECOVERED)
@_orders
@given(data=st.data())
def test_a_recovered_log_has_one_trunk_whatever_the_order(
    tell: Callable[[], Story], data: st.DataObject
) -> None:
    """Superseding rules lead every validator to one trunk: "a universal reconciliation process"."""
    story = _told_once(tell)
    validator = _deliver(data.draw(st.permutations(story.packets)), again=True)
    _assert_trunks(validator, story)


@pytest.mark.parametrize("tell", _RECOVERED)
@_orders
@given(data=st.data())
def test_only_superseded_events_may_wait_in_vain(
    tell: Callable[[], Story], data: st.DataObject
) -> None:
    """A disputed event may wait for an approval that was superseded, until its time is over."""
    story = _told_once(tell)
    validator = _deliver(data.draw(st.permutations(story.packets)), again=True)
    waiting = {held.key[3] for held in validator.store.waiting()}
    assert waiting <= {made.said for made in story.superseded}
    validator.processor.expire(validator.now + timedelta(hours=1))
    assert list(validator.store.waiting()) == []


def test_one_witness_counts_once_whatever_the_form() -> None:
    """A second signature of a witness, in another form and message, is no second receipt."""
    author = Branch("forms", witnesses=[witness("first"), witness("second")])
    inception = author.begin()
    packets = [inception.packet(receiptors=(0,), form=form) for form in ("indexed", "bare")]
    packets.append(inception.packet((), (0,), form="couples", apart=True))
    validator = _deliver(packets)
    assert validator.trunk(author.aid) == []
    validator.receive(inception.packet((), (1,), apart=True))
    assert validator.trunk(author.aid) == [inception.said]


def _two_interactions() -> tuple[list[Made], list[Made], list[Made]]:
    author = Branch("two interactions")
    begun = [author.begin(), author.extend("rot")]
    other = author.branch()
    return begun, [author.extend(one) for one in ("ixn", "ixn")], [other.extend("ixn")]


def _two_rotations() -> tuple[list[Made], list[Made], list[Made]]:
    author = Branch("two rotations", keys=3)
    begun = [author.begin(), author.extend("ixn")]
    other = author.branch()
    ours, theirs = [author.extend("rot"), author.extend("ixn")], [other.extend("rot")]
    return begun, ours, [*theirs, other.extend("rot")]


def _two_witnessed() -> tuple[list[Made], list[Made], list[Made]]:
    author = Branch("two witnessed", witnesses=[witness("first"), witness("second")])
    begun = [author.begin()]
    other = author.branch()
    return begun, [author.extend("ixn")], [other.extend("ixn"), other.extend("ixn")]


_FORKS = (_two_interactions, _two_rotations, _two_witnessed)
_forked_once = cache(lambda tell: tell())
Fork = Callable[[], tuple[list[Made], list[Made], list[Made]]]


@pytest.mark.parametrize("tell", _FORKS)
@_orders
@given(data=st.data())
def test_a_forked_log_follows_one_branch_and_tells_of_the_other(
    tell: Fork, data: st.DataObject
) -> None:
    """The first-seen rule: which branch wins depends on the order, that one wins does not."""
    begun, ours, theirs = _forked_once(tell)
    order = data.draw(st.permutations(begun + ours + theirs))
    validator = _deliver([made.packet() for made in order], again=True)
    (aid,) = validator.store.identifiers()
    trunk = validator.trunk(aid)
    branches = [[made.said for made in begun + branch] for branch in (ours, theirs)]
    assert trunk in branches
    (evidence,) = validator.store.duplicity(aid)
    assert {evidence.accepted.event.said, evidence.other.said} == {ours[0].said, theirs[0].said}
    assert evidence.accepted.event.said in trunk
    _assert_signed(evidence)


@pytest.mark.parametrize("tell", _FORKS)
@_orders
@given(data=st.data())
def test_the_branch_that_comes_first_wins(tell: Fork, data: st.DataObject) -> None:
    """To a validator that knows the log so far, the first version at a place is the one."""
    begun, ours, theirs = _forked_once(tell)
    order = data.draw(st.permutations(ours + theirs))
    validator = _deliver([made.packet() for made in (*begun, *order)], again=True)
    (aid,) = validator.store.identifiers()
    first = next(made for made in order if made in (ours[0], theirs[0]))
    assert validator.trunk(aid)[len(begun)] == first.said


@_orders
@given(data=st.data())
def test_a_rotation_on_each_branch_leaves_the_first_seen(data: st.DataObject) -> None:
    """A rotation cannot supersede an interaction that is before another rotation (rule A0).

    So the order decides: when interaction and rotation were there first, the other rotation is
    duplicity. When it came in time, it superseded the interaction, and what follows on the
    disputed branch is dropped for its prior digest without being held against the controller.
    """
    author = Branch("late recovery")
    begun = [author.begin()]
    other = author.branch()
    ours, theirs = [author.extend("ixn"), author.extend("rot")], [other.extend("rot")]
    order = data.draw(st.permutations(begun + ours + theirs))
    validator = _deliver([made.packet() for made in order], again=True)
    trunk = validator.trunk(author.aid)
    evidence = validator.store.duplicity(author.aid)
    if trunk == [made.said for made in begun + ours]:
        assert [one.other.said for one in evidence] == [theirs[0].said]
    else:
        assert trunk == [made.said for made in begun + theirs]
        assert {one.other.said for one in evidence} <= {ours[0].said}


@_orders
@given(data=st.data())
def test_two_inceptions_of_one_key_are_duplicity(data: st.DataObject) -> None:
    """An identifier that is a key can have two inceptions; the first seen stands."""
    inceptions = [Branch("one key", basic=True).begin(traits=traits) for traits in ((), ("EO",))]
    order = data.draw(st.permutations(inceptions))
    validator = _deliver([made.packet() for made in order], again=True)
    (aid,) = validator.store.identifiers()
    assert validator.trunk(aid) == [order[0].said]
    (evidence,) = validator.store.duplicity(aid)
    assert evidence.other.said == order[1].said
    _assert_signed(evidence)


def _assert_signed(evidence: DuplicityEvidence) -> None:
    """Check that the controller can be held to both events."""
    accepted = evidence.accepted
    _assert_verifies(accepted.event, accepted.proofs, accepted)
    _assert_verifies(evidence.other, evidence.proofs, accepted)


def _assert_verifies(event: AnyKeyEvent, proofs: Proofs, accepted: AcceptedEvent) -> None:
    keys = accepted.state.establishment.signing_keys
    if isinstance(event, EstablishmentEvent):
        keys = event.signing_keys
    assert proofs.signatures
    for one in proofs.signatures:
        assert keys[one.index].verifies(one.suite, one.raw, event.raw)
