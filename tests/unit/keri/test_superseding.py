"""The rules for superseding recovery, one by one."""

from keystead.cesr.keys import Aid
from keystead.keri import build
from keystead.keri.attachments import Proofs
from keystead.keri.build import Configuration
from keystead.keri.delegation import DelegationProof, place_of_seal, seal_of
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.seals import DigestSeal
from keystead.keri.superseding import Incumbent, Standing, standing
from keystead.testing.authoring import Author
from support.logs import DIGEST, pairs, plan, signatures, state_after

FIRST, SECOND, THIRD = pairs("first", 1), pairs("second", 1), pairs("third", 1)
INCEPTION = build.incept(plan(FIRST, "1", SECOND, "1"))
STATE = state_after(INCEPTION, signatures(INCEPTION, FIRST))
ROTATION = build.rotate(STATE, plan(SECOND, "1", THIRD, "1"))
OTHER_ROTATION = build.rotate(STATE, plan(SECOND, "1", THIRD, "1"), anchors=[DigestSeal(DIGEST)])
INTERACTION = build.interact(STATE)
OTHER_INTERACTION = build.interact(STATE, [DigestSeal(DIGEST)])


def _delegated(delegator: Aid) -> tuple[AnyKeyEvent, AnyKeyEvent, AnyKeyEvent, KeyState]:
    """Return an interaction, two delegated rotations at one place, and the state before them."""
    inception = build.incept(
        plan(FIRST, "1", SECOND, "1"), configuration=Configuration(delegator=delegator)
    )
    state = state_after(inception, signatures(inception, FIRST))
    old = build.rotate(state, plan(SECOND, "1", THIRD, "1"))
    new = build.rotate(state, plan(SECOND, "1", THIRD, "1"), anchors=[DigestSeal(DIGEST)])
    return build.interact(state), old, new, state


DELEGATOR = Author("delegator")
DELEGATOR.incept()
DELEGATED_INTERACTION, OLD, NEW, DELEGATED_STATE = _delegated(DELEGATOR.aid)


def _incumbent(
    event: AnyKeyEvent,
    *,
    last_establishment: int | None = None,
    proof: DelegationProof | None = None,
) -> Incumbent:
    """Make what a log holds at the place; by default nothing of weight comes behind it."""
    if last_establishment is None:
        last_establishment = 0 if event.message_type == "ixn" else event.sn
    state = STATE if event.aid == STATE.aid else DELEGATED_STATE
    return Incumbent(AcceptedEvent(event, state, Proofs(), 1, ""), last_establishment, proof)


def _proof(
    approved: AnyKeyEvent, event: AnyKeyEvent, approval: DelegationProof | None = None
) -> DelegationProof:
    """Say that `event` of the delegator seals `approved`."""
    place = place_of_seal(event, approved.aid, approved.sn, approved.said)
    assert place >= 0
    return DelegationProof(event.aid, known=True, event=event, seal=place, approval=approval)


# A


def test_a0_rotation_supersedes_an_interaction() -> None:
    """A0. "Any rotation event may supersede an Interaction event at the same sn"."""
    assert standing(ROTATION, _incumbent(INTERACTION), None) is Standing.ALLOWED


def test_a0_delegated_rotation_supersedes_an_interaction() -> None:
    """A0. "Any rotation event ...": a delegated one needs no comparison of approvals."""
    assert standing(NEW, _incumbent(DELEGATED_INTERACTION), None) is Standing.ALLOWED


def test_a0_not_before_another_rotation() -> None:
    """A0. "... where that interaction event is not before any other rotation event"."""
    incumbent = _incumbent(INTERACTION, last_establishment=2)
    assert standing(ROTATION, incumbent, None) is Standing.REFUSED


def test_a1_rotation_does_not_supersede_a_rotation() -> None:
    """A1. "A non-delegated rotation may not supersede another rotation"."""
    assert standing(OTHER_ROTATION, _incumbent(ROTATION), None) is Standing.REFUSED


def test_a1_rotation_does_not_supersede_a_delegated_one() -> None:
    """A1. "A non-delegated rotation may not supersede another rotation", of whatever kind."""
    assert standing(ROTATION, _incumbent(OLD), None) is Standing.REFUSED


def test_a1_delegated_rotation_does_not_supersede_a_plain_one() -> None:
    """B. "A delegated rotation may supersede the latest-seen delegated rotation" only."""
    assert standing(NEW, _incumbent(ROTATION), None) is Standing.REFUSED


def test_a2_interaction_supersedes_no_interaction() -> None:
    """A2. "An interaction event may not supersede any event"."""
    assert standing(OTHER_INTERACTION, _incumbent(INTERACTION), None) is Standing.REFUSED


def test_a2_interaction_supersedes_no_rotation() -> None:
    """A2. "An interaction event may not supersede any event"."""
    assert standing(INTERACTION, _incumbent(ROTATION), None) is Standing.REFUSED


def test_a2_inception_supersedes_nothing() -> None:
    """No rule lets an inception supersede."""
    assert standing(INCEPTION, _incumbent(INCEPTION), None) is Standing.REFUSED


# B

LOWER = build.interact(DELEGATOR.state, [seal_of(OLD)])
LOWER_STATE = state_after(LOWER, DELEGATOR.signatures(LOWER.raw), DELEGATOR.state)
HIGHER = build.interact(LOWER_STATE, [seal_of(NEW)])


def test_b1_later_approval_wins() -> None:
    """B1. "The superseding rotation's delegating event is later"."""
    incumbent = _incumbent(OLD, proof=_proof(OLD, LOWER))
    assert standing(NEW, incumbent, _proof(NEW, HIGHER)) is Standing.ALLOWED


def test_b1_earlier_approval_loses() -> None:
    """B1. "... the sn of the superseding event's delegation is higher"."""
    incumbent = _incumbent(NEW, proof=_proof(NEW, HIGHER))
    assert standing(OLD, incumbent, _proof(OLD, LOWER)) is Standing.REFUSED


def test_b_only_the_latest_seen_rotation() -> None:
    """B. "... the latest-seen delegated rotation": earlier ones can not be superseded."""
    incumbent = _incumbent(OLD, last_establishment=2, proof=_proof(OLD, LOWER))
    assert standing(NEW, incumbent, _proof(NEW, HIGHER)) is Standing.REFUSED


def test_b2_later_seal_of_one_event_wins() -> None:
    """B2. "... the anchoring seal ... appears later in the seal list"."""
    both = build.interact(DELEGATOR.state, [seal_of(OLD), seal_of(NEW)])
    incumbent = _incumbent(OLD, proof=_proof(OLD, both))
    assert standing(NEW, incumbent, _proof(NEW, both)) is Standing.ALLOWED


def test_b2_earlier_seal_of_one_event_loses() -> None:
    """B2. "... later in the seal list than the anchoring seal of the superseded rotation"."""
    both = build.interact(DELEGATOR.state, [seal_of(NEW), seal_of(OLD)])
    incumbent = _incumbent(OLD, proof=_proof(OLD, both))
    assert standing(NEW, incumbent, _proof(NEW, both)) is Standing.REFUSED


def _rotation_of_delegator(approved: AnyKeyEvent) -> AnyKeyEvent:
    """Return a rotation of the delegator at the place of its first interaction."""
    return DELEGATOR.fork().rotate(anchors=[seal_of(approved)]).event


def test_b3_approval_by_a_recovery_wins() -> None:
    """B3. "... the superseding rotation's delegating event is a rotation, ... an interaction"."""
    incumbent = _incumbent(OLD, proof=_proof(OLD, LOWER))
    proof = _proof(NEW, _rotation_of_delegator(NEW))
    assert standing(NEW, incumbent, proof) is Standing.ALLOWED


def test_b3_approval_by_a_recovered_interaction_loses() -> None:
    """B3. The reverse, an interaction at the place of a rotation, approves nothing."""
    incumbent = _incumbent(NEW, proof=_proof(NEW, _rotation_of_delegator(NEW)))
    assert standing(OLD, incumbent, _proof(OLD, LOWER)) is Standing.REFUSED


def test_unapproved_rotation_needs_approval() -> None:
    """As long as the approval of the new rotation is not known, nothing can be compared."""
    incumbent = _incumbent(OLD, proof=_proof(OLD, LOWER))
    assert standing(NEW, incumbent, None) is Standing.NEEDS_APPROVAL
    unsealed = DelegationProof(DELEGATOR.aid, known=True)
    assert standing(NEW, incumbent, unsealed) is Standing.NEEDS_APPROVAL


def test_rotation_of_unknown_approval_stands() -> None:
    """Without the approval of the old rotation no rule lets the new one supersede it."""
    assert standing(NEW, _incumbent(OLD), _proof(NEW, HIGHER)) is Standing.REFUSED


def test_rotation_that_was_never_approved_gives_way() -> None:
    """What a controller or witness took before an approval that never came is superseded."""
    unsealed = DelegationProof(DELEGATOR.aid, known=True)
    assert standing(NEW, _incumbent(OLD, proof=unsealed), _proof(NEW, HIGHER)) is Standing.ALLOWED


# C

ROOT = Author("root")
ROOT.incept()


class _Middle:
    """A delegated delegator with two delegated rotations at one place, each sealing a version.

    Attributes:
        old: the incumbent of the delegate.
        new: the other version.
        old_approval: rotation of the middle that seals the incumbent.
        new_approval: rotation of the middle that seals the other version.
    """

    def __init__(self) -> None:
        inception = build.incept(
            plan(FIRST, "1", SECOND, "1"), configuration=Configuration(delegator=ROOT.aid)
        )
        state = state_after(inception, signatures(inception, FIRST))
        _, self.old, self.new, _ = _delegated(inception.aid)
        following = plan(SECOND, "1", THIRD, "1")
        self.old_approval = build.rotate(state, following, anchors=[seal_of(self.old)])
        self.new_approval = build.rotate(state, following, anchors=[seal_of(self.new)])


MIDDLE = _Middle()


def _of_middle(
    old_root: DelegationProof | None, new_root: DelegationProof | None
) -> tuple[Incumbent, DelegationProof]:
    incumbent = _incumbent(MIDDLE.old, proof=_proof(MIDDLE.old, MIDDLE.old_approval, old_root))
    return incumbent, _proof(MIDDLE.new, MIDDLE.new_approval, new_root)


def test_c_rules_apply_to_the_delegating_events() -> None:
    """C. "... recursively apply rules A. and B. to the delegating events"."""
    root = ROOT.fork()
    lower = root.interact(seal_of(MIDDLE.old_approval)).event
    higher = root.interact(seal_of(MIDDLE.new_approval)).event
    incumbent, proof = _of_middle(
        _proof(MIDDLE.old_approval, lower), _proof(MIDDLE.new_approval, higher)
    )
    assert standing(MIDDLE.new, incumbent, proof) is Standing.ALLOWED


def test_c_earlier_event_of_the_root_loses() -> None:
    """C. The rules may decide against the new version higher up."""
    root = ROOT.fork()
    lower = root.interact(seal_of(MIDDLE.new_approval)).event
    higher = root.interact(seal_of(MIDDLE.old_approval)).event
    incumbent, proof = _of_middle(
        _proof(MIDDLE.old_approval, higher), _proof(MIDDLE.new_approval, lower)
    )
    assert standing(MIDDLE.new, incumbent, proof) is Standing.REFUSED


def test_c1_unsatisfied_rules_discard_the_event() -> None:
    """C1. "... the root KEL ... without satisfaction, then the superseding rotation is discarded"."""
    incumbent, proof = _of_middle(None, None)
    assert standing(MIDDLE.new, incumbent, proof) is Standing.REFUSED


def test_c1_unknown_approval_higher_up_discards_the_event() -> None:
    """C1. Approvals that are not known higher up satisfy no rule."""
    higher = ROOT.fork().interact(seal_of(MIDDLE.new_approval)).event
    incumbent, proof = _of_middle(
        DelegationProof(ROOT.aid, known=True), _proof(MIDDLE.new_approval, higher)
    )
    assert standing(MIDDLE.new, incumbent, proof) is Standing.REFUSED
