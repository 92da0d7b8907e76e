"""Superseding recovery: which event may take the place of one that was accepted before.

The rules, quoted at each check, are those of the KERI specification, "Superseding Rules for
Recovery at a given location, SN (sequence number)".
"""

from enum import Enum

import msgspec

from keystead.keri.delegation import DelegationProof
from keystead.keri.events import DelegatedRotation, Interaction, KeyEvent, Rotation
from keystead.keri.keystate import AcceptedEvent


class Incumbent(msgspec.Struct, frozen=True, gc=False):
    """What a log holds at the place of a new event.

    Attributes:
        accepted: the event on the trunk at that place.
        last_establishment: place of the latest establishment event on the trunk.
        proof: the delegator's approval of `accepted`, when it is a delegated rotation; None when
            it cannot be told.
    """

    accepted: AcceptedEvent
    last_establishment: int
    proof: DelegationProof | None = None


class Standing(Enum):
    """Whether a new event may take a place."""

    ALLOWED = "allowed"
    NEEDS_APPROVAL = "the delegator's approvals decide, and the new one is not known"
    REFUSED = "refused"


def standing(event: KeyEvent, incumbent: Incumbent, proof: DelegationProof | None) -> Standing:
    """Apply rules A, B and C to a new event and the one that has its place.

    Args:
        event: the new event, verified.
        incumbent: the other version at the same place.
        proof: the delegator's approval of the new event, when it is delegated.
    """
    old = incumbent.accepted.event
    if not isinstance(event, Rotation):
        # A2. "An interaction event may not supersede any event."
        return Standing.REFUSED
    if incumbent.last_establishment > event.sn:
        # A0. "... where that interaction event is not before any other rotation event";
        # B. "... the latest-seen delegated rotation".
        return Standing.REFUSED
    if isinstance(old, Interaction):
        # A0. "Any rotation event may supersede an interaction event at the same sn."
        return Standing.ALLOWED
    if not isinstance(event, DelegatedRotation) or not isinstance(old, DelegatedRotation):
        # A1. "A non-delegated rotation may not supersede another rotation."
        return Standing.REFUSED
    if proof is None or proof.event is None:
        return Standing.NEEDS_APPROVAL
    if incumbent.proof is None:
        return Standing.REFUSED  # nobody can tell which approval is later
    if incumbent.proof.event is None or _later_approval(proof, incumbent.proof):
        # A controller or witness accepts before the approval, so it may hold what was never
        # approved.
        return Standing.ALLOWED
    return Standing.REFUSED


def _later_approval(new: DelegationProof, old: DelegationProof) -> bool:
    """Apply rule B to two approvals, and rule C up the chain of delegation.

    The chain ends at a root, whose events are approved by nobody: C1, "the superseding rotation
    is discarded".
    """
    step: tuple[DelegationProof | None, DelegationProof | None] = (new, old)
    while True:
        upper, lower = step
        if upper is None or lower is None or upper.event is None or lower.event is None:
            return False
        if upper.event.sn > lower.event.sn:
            # B1. "The sn of the superseding event's delegation is higher than the sn of the
            # superseded event's delegation."
            return True
        if upper.event.said == lower.event.said:
            # B2. "... the exact same delegating event ..., and the anchoring seal of the
            # superseding rotation's delegated event appears later in the seal list".
            return upper.seal > lower.seal
        if upper.event.sn < lower.event.sn:
            return False
        if isinstance(upper.event, Rotation) and isinstance(lower.event, Interaction):
            # B3. "The sn ... is the same ..., and the superseding rotation's delegating event
            # is a rotation, and the superseded rotation's delegating event is an interaction."
            return True
        # C. "... recursively apply rules A. and B. to the delegating events of those
        # delegating events". At the same place only two delegated rotations are left to decide.
        step = (upper.approval, lower.approval)
