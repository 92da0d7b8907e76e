"""Delegation and recovery as a store sees them."""

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import SourceCouple
from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.build import Configuration, Witnesses
from keystead.keri.delegation import seal_of
from keystead.keri.escrow import Missing, Want
from keystead.keri.keystate import KeyState
from keystead.keri.seals import DigestSeal, Seal
from keystead.keri.verdicts import Accepted, Duplicate, Duplicitous, Source, Superseded
from keystead.limits import Limits
from keystead.testing.authoring import Author, Signed, witness
from support.logs import (
    DIGEST,
    Node,
    attached,
    code_of,
    controlled,
    group,
    missing_of,
    pairs,
    plan,
    remade,
    signatures,
    state_after,
)

OTHER = DigestSeal(DIGEST)


class Delegate:
    """A delegated identifier with one key at a time.

    Attributes:
        state: the state after its last event.
    """

    def __init__(self, name: str, delegator: Aid) -> None:
        """Have not incepted yet."""
        self._keys = [pairs(f"{name} {generation}", 1) for generation in range(5)]
        self._delegator = delegator
        self._generation = 0
        self._state: KeyState | None = None

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return self.state.aid

    @property
    def state(self) -> KeyState:
        """The state after the last event."""
        assert self._state is not None
        return self._state

    def fork(self) -> "Delegate":
        """Return a delegate that goes on from here on a branch of its own."""
        other = Delegate("", self._delegator)
        other.__dict__.update(self.__dict__)
        return other

    def incept(self) -> Signed:
        """Make the delegated inception."""
        keys = plan(self._keys[0], "1", self._keys[1], "1")
        event = build.incept(keys, configuration=Configuration(delegator=self._delegator))
        return self._sign(Signed(event, signatures(event, self._keys[0])))

    def rotate(self, *anchors: Seal) -> Signed:
        """Make a delegated rotation."""
        self._generation += 1
        current, following = self._keys[self._generation : self._generation + 2]
        event = build.rotate(self.state, plan(current, "1", following, "1"), anchors=anchors)
        return self._sign(Signed(event, signatures(event, current)))

    def interact(self, *anchors: Seal) -> Signed:
        """Make an interaction."""
        event = build.interact(self.state, anchors)
        return self._sign(Signed(event, signatures(event, self._keys[self._generation])))

    def _sign(self, signed: Signed) -> Signed:
        self._state = state_after(signed.event, signed.signatures, self._state)
        return signed


def _approval(signed: Signed) -> Missing:
    event = signed.event
    delegator = DELEGATOR_AID
    return Missing(Want.APPROVAL, delegator, event.sn, event.said, event.aid)


def _delegator() -> tuple[Author, Signed]:
    author = Author("delegator")
    return author, author.incept()


DELEGATOR_AID = _delegator()[1].event.aid


# Superseding interactions.


def test_recovery_takes_the_place_of_interactions() -> None:
    """A rotation supersedes an interaction and all interactions behind it."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    recovery = author.fork()
    lost = [author.interact(), author.interact(OTHER)]
    node.accept(*(signed.raw for signed in lost))
    rotation = recovery.rotate()
    verdict = node.feed(rotation.raw)
    assert isinstance(verdict, Accepted)
    assert verdict.effects == (Superseded(1),)
    assert node.trunk(author.aid)[1:] == [rotation.event.said]
    seen = [accepted.event.said for accepted in node.store.first_seen(author.aid)]
    assert seen[1:] == [*(signed.event.said for signed in lost), rotation.event.said]


def test_recovery_may_change_the_witnesses() -> None:
    """The witness list after a recovery is that of the state before its place, changed."""
    first, second = witness("a"), witness("b")
    node, keys = Node(), [pairs(f"{generation}", 1) for generation in range(3)]
    inception = build.incept(plan(keys[0], "1", keys[1], "1"), Witnesses(1, [first.aid]))
    state = state_after(inception, signatures(inception, keys[0]))
    interaction = build.interact(state)
    for event in (inception, interaction):
        receipt = (first.indexed(event.raw, 0, 0),)
        node.accept(Signed(event, signatures(event, keys[0]), receipt).raw)
    change = Witnesses(1, [second.aid], [first.aid])
    rotation = build.rotate(state, plan(keys[1], "1", keys[2], "1"), change)
    receipt = (second.indexed(rotation.raw, 0, 0),)
    node.accept(Signed(rotation, signatures(rotation, keys[1]), receipt).raw)
    found = node.store.key_state(inception.aid)
    assert found is not None
    assert found.establishment.witnesses == (second.aid,)


def test_log_goes_on_behind_a_recovery() -> None:
    """Events behind the recovery are accepted, those behind the lost branch are not."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    recovery = author.fork()
    node.accept(author.interact().raw)
    node.accept(recovery.rotate().raw)
    assert code_of(node.feed(author.interact().raw)) is ErrorCode.PRIOR_DIGEST
    node.accept(recovery.interact().raw)


def test_superseded_event_is_still_known() -> None:
    """A copy of a superseded event is a duplicate: once seen, always seen."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    recovery = author.fork()
    lost = author.interact()
    node.accept(lost.raw, recovery.rotate().raw)
    assert isinstance(node.feed(lost.raw), Duplicate)
    assert not node.store.duplicity(author.aid)


def test_interaction_before_a_rotation_stands() -> None:
    """A recovery comes too late once another rotation stands behind the interaction."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    recovery = author.fork()
    node.accept(author.interact().raw, author.rotate().raw)
    assert isinstance(node.feed(recovery.rotate(anchors=[OTHER]).raw), Duplicitous)


def test_rotation_is_not_superseded() -> None:
    """Of two rotations at one place the first seen stands."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    other = author.fork().rotate(anchors=[OTHER])
    node.accept(author.rotate().raw)
    assert isinstance(node.feed(other.raw), Duplicitous)


# Approval.


def test_approved_delegate_is_accepted() -> None:
    """A delegated inception is accepted once the delegator has sealed it."""
    node = Node()
    delegator, root = _delegator()
    signed = Delegate("delegate", delegator.aid).incept()
    sealing = delegator.interact(signed.seal)
    node.accept(root.raw, sealing.raw, signed.raw)
    (accepted,) = node.store.events(signed.event.aid)
    assert accepted.source == SourceCouple(1, sealing.event.said)


def test_delegate_waits_for_the_log_of_its_delegator() -> None:
    """A delegated inception waits for the seal, and for the delegator's log."""
    node = Node()
    delegator, root = _delegator()
    signed = Delegate("delegate", delegator.aid).incept()
    sealing = delegator.interact(signed.seal)
    expected = {_approval(signed), Missing(Want.EVENT, delegator.aid, 0)}
    assert missing_of(node.feed(signed.raw)) == expected
    results = node.results(root.raw)
    assert missing_of(results[1].verdict) == {_approval(signed)}
    results = node.results(sealing.raw)
    assert isinstance(results[1].verdict, Accepted)


def test_source_seal_is_only_a_hint() -> None:
    """The delegator's log is searched, whatever the attached source couple says."""
    node = Node()
    delegator, root = _delegator()
    signed = Delegate("delegate", delegator.aid).incept()
    node.accept(root.raw, delegator.interact(signed.seal).raw)
    hint = group(GroupKind.SOURCE_COUPLES, SourceCouple(77, DIGEST))
    node.accept(attached(signed.event.raw, *signed.groups, hint))


def test_forbidden_delegation_is_dropped() -> None:
    """A delegator with DND in its inception has no delegates."""
    node, delegator = Node(), Author("delegator")
    root = delegator.incept(configuration=Configuration(("DND",)))
    signed = Delegate("delegate", delegator.aid).incept()
    node.accept(root.raw)
    assert code_of(node.feed(signed.raw)) is ErrorCode.DO_NOT_DELEGATE


def test_forbidden_delegation_is_dropped_by_who_does_not_wait_for_it() -> None:
    """A controller accepts before the approval, but not what can never be approved."""
    delegator = Author("delegator")
    root = delegator.incept(configuration=Configuration(("DND",)))
    signed = Delegate("delegate", delegator.aid).incept()
    node = Node(own=[signed.event.aid])
    node.accept(root.raw)
    assert code_of(node.feed(signed.raw, source=Source.LOCAL)) is ErrorCode.DO_NOT_DELEGATE


def test_approval_on_a_lost_branch_does_not_count() -> None:
    """A seal in a superseded event of the delegator approves nothing."""
    node = Node()
    delegator, root = _delegator()
    signed = Delegate("delegate", delegator.aid).incept()
    node.accept(root.raw)
    recovery = delegator.fork()
    node.accept(delegator.interact(signed.seal).raw, recovery.rotate().raw)
    assert missing_of(node.feed(signed.raw)) == {_approval(signed)}


def test_delegated_rotation_waits_for_the_state_before() -> None:
    """A delegated rotation of an unknown identifier waits for the event before alone."""
    delegate = Delegate("delegate", DELEGATOR_AID)
    delegate.incept()
    signed = delegate.rotate()
    assert missing_of(Node().feed(signed.raw)) == {Missing(Want.EVENT, delegate.aid, 0)}


def test_rotation_of_the_wrong_kind_is_refused() -> None:
    """A delegated rotation in an ordinary log does not fit."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    keys = plan(author.pairs(1), "1", author.pairs(2), "1")
    event = build.rotate(author.state, keys)
    raw = remade(event, {"t": "drt"})
    wrong = attached(raw, controlled(author.pairs(1)[0].indexed(raw, 0, 0)))
    assert code_of(node.feed(wrong)) is ErrorCode.DELEGATION


@pytest.mark.parametrize("role", ["controller", "delegator"])
def test_parties_of_a_delegation_need_a_local_source(role: str) -> None:
    """Controller and delegator take delegated events through a protected channel only."""
    delegator, root = _delegator()
    delegate = Delegate("delegate", delegator.aid)
    signed = delegate.incept()
    node = Node(own=[delegate.aid if role == "controller" else delegator.aid])
    node.accept(root.raw, source=Source.LOCAL)
    assert {one.want for one in missing_of(node.feed(signed.raw))} == {Want.LOCAL_SOURCE}


def test_controller_of_a_delegate_does_not_wait() -> None:
    """The controller accepts its own delegated event before it is approved."""
    delegate = Delegate("delegate", DELEGATOR_AID)
    signed = delegate.incept()
    node = Node(own=[delegate.aid])
    node.accept(signed.raw, source=Source.LOCAL)
    (accepted,) = node.store.events(delegate.aid)
    assert accepted.source is None


def test_delegator_need_not_be_local_for_interactions() -> None:
    """Interactions of a delegate are not approved, so the delegator takes them from anywhere."""
    delegator, root = _delegator()
    delegate = Delegate("delegate", delegator.aid)
    signed = delegate.incept()
    node = Node(own=[delegator.aid])
    node.accept(root.raw, delegator.interact(signed.seal).raw, signed.raw, source=Source.LOCAL)
    node.accept(delegate.interact().raw)


def test_delegator_needs_a_local_source_for_rotations() -> None:
    """A delegated rotation comes to its delegator through a protected channel."""
    delegator, root = _delegator()
    delegate = Delegate("delegate", delegator.aid)
    signed = delegate.incept()
    node = Node(own=[delegator.aid])
    node.accept(root.raw, delegator.interact(signed.seal).raw, signed.raw, source=Source.LOCAL)
    verdict = node.feed(delegate.rotate().raw)
    assert {one.want for one in missing_of(verdict)} == {Want.LOCAL_SOURCE}


# Superseding delegated rotations.


class Scene:
    """A node that knows a delegate with two rotations at one place, approved by nobody yet.

    Attributes:
        node: the node; it has the log up to the inception of the delegate.
        delegator: approves.
        old: the rotation that comes first.
        new: the other one.
        delegate: after the old rotation.
        recovered: the same after the new one.
    """

    def __init__(self, *, controls: bool = False) -> None:
        """Incept both identifiers; the node may be the one that controls the delegate."""
        self.delegator, root = _delegator()
        self.delegate = Delegate("delegate", self.delegator.aid)
        signed = self.delegate.incept()
        self.node = Node(own=[self.delegate.aid] if controls else ())
        self.node.accept(
            root.raw, self.delegator.interact(signed.seal).raw, signed.raw, source=Source.LOCAL
        )
        self.recovered = self.delegate.fork()
        self.old, self.new = self.delegate.rotate(), self.recovered.rotate(OTHER)


def test_later_approval_supersedes() -> None:
    """B1. The rotation that the delegator approved later takes the place."""
    scene = Scene()
    scene.node.accept(
        scene.delegator.interact(scene.old.seal).raw,
        scene.old.raw,
        scene.delegate.interact().raw,
        scene.delegator.interact(scene.new.seal).raw,
        scene.new.raw,
    )
    assert scene.node.trunk(scene.delegate.aid)[1:] == [scene.new.event.said]
    scene.node.accept(scene.recovered.interact().raw)


def test_superseding_rotation_waits_for_approval() -> None:
    """Another delegated rotation waits until the delegator has sealed it, and then decides."""
    scene = Scene()
    scene.node.accept(scene.delegator.interact(scene.old.seal).raw, scene.old.raw)
    assert missing_of(scene.node.feed(scene.new.raw)) == {_approval(scene.new)}
    results = scene.node.results(scene.delegator.interact(scene.new.seal).raw)
    assert isinstance(results[1].verdict, Accepted)
    assert results[1].verdict.effects == (Superseded(1),)


def test_second_version_waits_for_approval_where_the_first_did_not() -> None:
    """Who accepts before the approval takes one version: never two for one place unapproved."""
    scene = Scene(controls=True)
    scene.node.accept(scene.old.raw, source=Source.LOCAL)
    verdict = scene.node.feed(scene.new.raw, source=Source.LOCAL)
    assert missing_of(verdict) == {_approval(scene.new)}
    assert scene.node.trunk(scene.delegate.aid)[1:] == [scene.old.event.said]


def test_approved_version_supersedes_what_was_never_approved() -> None:
    """When the delegator approves the other version, that one takes the place."""
    scene = Scene(controls=True)
    scene.node.accept(scene.old.raw, source=Source.LOCAL)
    scene.node.feed(scene.new.raw, source=Source.LOCAL)
    results = scene.node.results(scene.delegator.interact(scene.new.seal).raw)
    assert isinstance(results[1].verdict, Accepted)
    assert scene.node.trunk(scene.delegate.aid)[1:] == [scene.new.event.said]


def test_approval_that_came_behind_its_event_counts() -> None:
    """An event accepted before its approval is compared by the approval that came later."""
    scene = Scene(controls=True)
    scene.node.accept(scene.old.raw, source=Source.LOCAL)
    scene.node.accept(scene.delegator.interact(scene.new.seal).raw)
    scene.node.accept(scene.delegator.interact(scene.old.seal).raw)
    verdict = scene.node.feed(scene.new.raw, source=Source.LOCAL)
    assert isinstance(verdict, Duplicitous)


def test_earlier_approval_is_duplicity() -> None:
    """B1. The rotation that was approved earlier does not come back."""
    scene = Scene()
    scene.node.accept(
        scene.delegator.interact(scene.old.seal).raw,
        scene.delegator.interact(scene.new.seal).raw,
        scene.new.raw,
    )
    assert isinstance(scene.node.feed(scene.old.raw), Duplicitous)


def test_later_seal_supersedes() -> None:
    """B2. Of two seals in one event of the delegator the later decides."""
    scene = Scene()
    both = scene.delegator.interact(scene.old.seal, scene.new.seal)
    scene.node.accept(both.raw, scene.old.raw, scene.new.raw)
    assert scene.node.trunk(scene.delegate.aid)[1:] == [scene.new.event.said]


def test_approval_by_a_recovery_supersedes() -> None:
    """B3. An approval in a recovery of the delegator beats that in the lost interaction."""
    scene = Scene()
    recovery = scene.delegator.fork()
    scene.node.accept(
        scene.delegator.interact(scene.old.seal).raw,
        scene.old.raw,
        recovery.rotate(anchors=[scene.new.seal]).raw,
        scene.new.raw,
    )
    assert scene.node.trunk(scene.delegate.aid)[1:] == [scene.new.event.said]


def test_earlier_delegated_rotation_stands() -> None:
    """B. Once another rotation follows, a delegated rotation can not be superseded."""
    scene = Scene()
    follower = scene.delegate.rotate()
    scene.node.accept(
        scene.delegator.interact(scene.old.seal, follower.seal).raw,
        scene.old.raw,
        follower.raw,
        scene.delegator.interact(scene.new.seal).raw,
    )
    assert isinstance(scene.node.feed(scene.new.raw), Duplicitous)


class Chain:
    """A root, a delegated middle with two rotations at one place, and its delegate.

    Each rotation of the middle seals another rotation of the delegate.

    Attributes:
        node: knows everything up to the inceptions, and the first branch.
        root: approves rotations of the middle.
        middle: seals the new rotation of the delegate, and is not approved yet.
        new: that rotation of the delegate.
        delegate: its log after the first branch.
    """

    def __init__(self, limits: Limits) -> None:
        """Make both branches, and have the first accepted."""
        self.node, (self.root, first) = Node(limits=limits), _delegator()
        middle = Delegate("middle", self.root.aid)
        below = middle.incept()
        self.delegate = Delegate("delegate", middle.aid)
        signed = self.delegate.incept()
        self.node.accept(
            first.raw,
            self.root.interact(below.seal).raw,
            below.raw,
            middle.interact(signed.seal).raw,
            signed.raw,
        )
        other, recovered = middle.fork(), self.delegate.fork()
        old = self.delegate.rotate()
        self.new = recovered.rotate(OTHER)
        sealing = middle.rotate(old.seal)
        self.middle = other.rotate(self.new.seal)
        self.node.accept(self.root.interact(sealing.seal).raw, sealing.raw, old.raw)


def test_later_approval_higher_up_supersedes() -> None:
    """C. Where the delegator itself recovered, its approvals by the root decide."""
    chain = Chain(Limits())
    chain.node.accept(chain.root.interact(chain.middle.seal).raw, chain.middle.raw, chain.new.raw)
    assert chain.node.trunk(chain.delegate.aid)[1:] == [chain.new.event.said]


def test_chain_is_walked_up_to_the_limit() -> None:
    """C1. Approvals beyond the limit of levels satisfy no rule."""
    chain = Chain(Limits(delegation_depth=1))
    chain.node.accept(chain.root.interact(chain.middle.seal).raw, chain.middle.raw)
    assert isinstance(chain.node.feed(chain.new.raw), Duplicitous)


def test_place_of_a_seal_is_its_first() -> None:
    """A seal that the delegator repeats counts where it stood first."""
    scene = Scene()
    scene.node.accept(
        scene.delegator.interact(scene.new.seal).raw,
        scene.delegator.interact(scene.old.seal, scene.new.seal).raw,
        scene.old.raw,
    )
    assert isinstance(scene.node.feed(scene.new.raw), Duplicitous)
    assert seal_of(scene.new.event) == scene.new.seal
