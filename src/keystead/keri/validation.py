"""The verdict on one event: what a validator decides from bytes and a log alone.

Pure: no clock, no store. "Not yet" and "duplicitous" are outcomes like any other; only
`Accepted` carries a key state.

Source: KERI specification, "Validation", "Validator Roles and Event Locality".
"""

from typing import Final

from keystead.cesr.groups import ReceiptCouple
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Digest
from keystead.errors import ErrorCode, VerificationError
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.delegation import DelegationProof
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Missing, Want
from keystead.keri.events import (
    AnyKeyEvent,
    Inception,
    Interaction,
    Rotation,
)
from keystead.keri.keystate import AcceptedEvent, Establishment, KeyState
from keystead.keri.parsing import check_witness_threshold
from keystead.keri.superseding import Incumbent, Standing, standing
from keystead.keri.verdicts import (
    Accepted,
    Duplicate,
    Duplicitous,
    Effect,
    Pending,
    ReceiptDue,
    Rejected,
    Role,
    Source,
    Superseded,
    Verdict,
)
from keystead.keri.verification import (
    essential,
    exposed_places,
    signing_places,
    verified_couples,
    verified_signatures,
    verified_witness_signatures,
)
from keystead.limits import Limits


def judge(  # noqa: PLR0913 - the log, the stand of the validator, and the bounds
    signed: SignedEvent,
    *,
    prior: KeyState | None,
    incumbent: Incumbent | None,
    source: Source,
    role: Role,
    delegation: DelegationProof | None,
    limits: Limits,
) -> Verdict:
    """Decide on one event.

    The steps, each of which ends the matter when it fails:
     1. The event before is known, and this one fits behind it (`_establish`).
     2. It is not already in the log; if it is, only its new signatures count.
     3. The keys and witnesses that it sets or keeps are consistent (`_establish`).
     4. At least one signature of the controller verifies.
     5. Events of or for oneself come through a protected channel.
     6. Signing threshold, prior next threshold, receipts and approval of the delegator.
     7. Another event at its place may be superseded, or else this is duplicity.

    Args:
        signed: the event, well-formed, with its signatures.
        prior: key state at the place before, None for an inception or when it is not known.
        incumbent: what the log holds at the event's place, if anything.
        source: how the event came here.
        role: what the validator is to the event.
        delegation: what the delegator's log says, for delegated events.
        limits: bounds.
    """
    event = signed.event
    if incumbent is not None and incumbent.accepted.event.said == event.said:
        return recognize(signed, incumbent.accepted)
    if prior is None and event.sn > 0:
        if not (signed.claims.signatures or signed.proofs.signatures):
            return Rejected(_unsigned(signed))
        before = Missing(Want.EVENT, event.aid, event.sn - 1)
        return Pending(frozenset((before,)), signed)
    try:
        establishment = _establish(event, prior, limits)
        committed = () if prior is None else prior.establishment.next_key_digests
        proofs = _prove(signed, establishment, committed)
        if not proofs.signatures:
            raise _unsigned(signed)
        if role is not _VALIDATOR and source is Source.REMOTE:
            unsent = Missing(Want.LOCAL_SOURCE, event.aid, event.sn, event.said)
            return _wait({unsent}, signed, proofs, establishment)
        missing = _missing_signatures(event, prior, establishment, proofs)
        effects: tuple[Effect, ...] = ()
        if incumbent is not None:
            allowed = standing(event, incumbent, delegation)
            if allowed is Standing.REFUSED:
                return _refuse(event, incumbent.accepted, proofs, missing)
            effects = (Superseded(event.sn),)
            if allowed is Standing.NEEDS_APPROVAL:
                # Whoever accepts before the approval still takes no second version without it.
                missing |= _missing_approval(event, establishment, delegation)
        if event.delegated or establishment.witness_threshold:
            missing |= _missing_from_others(event, establishment, proofs, delegation, role)
    except VerificationError as error:
        return Rejected(error)
    if missing:
        return _wait(missing, signed, proofs, establishment)
    state = KeyState(
        event.aid, event.sn, event.said, event.prior_said, event.message_type, establishment
    )
    if role is _WITNESS:
        effects += (ReceiptDue(),)
    return Accepted(state, proofs, effects)


_AWAIT_OTHERS = (Role.VALIDATOR, Role.DELEGATOR)
# A member of an enumeration takes 0.1 µs to look up.
_VALIDATOR: Final = Role.VALIDATOR
_WITNESS: Final = Role.WITNESS


def _establish(event: AnyKeyEvent, prior: KeyState | None, limits: Limits) -> Establishment:
    """Return what holds after the event, given what held before.

    Raises:
        VerificationError: the event does not fit.
    """
    if prior is None:
        assert isinstance(event, Inception)  # noqa: S101 - `judge` has asked for the state before
        return Establishment(
            0, event.said, event.signing_threshold, event.signing_keys, event.next_threshold,
            event.next_key_digests, event.witness_threshold, event.witnesses, (), (),
            event.configuration_traits, getattr(event, "delegator", None),
        )  # fmt: skip
    before = prior.establishment
    if not before.next_key_digests:
        # KERI, "Next key digest list field": "... no more key events MUST be allowed".
        raise VerificationError(
            ErrorCode.NON_TRANSFERABLE, "an event behind the end of a log without next keys"
        )
    if event.prior_said != prior.said:
        raise VerificationError(
            ErrorCode.PRIOR_DIGEST, f"p does not name the event at {prior.sn:x}"
        )
    if type(event) is Interaction:  # `isinstance` is slow for these classes
        if before.configuration_traits and before.establishment_only:
            raise VerificationError(
                ErrorCode.ESTABLISHMENT_ONLY, "an interaction in an establishment-only log"
            )
        return before
    assert isinstance(event, Rotation)  # noqa: S101 - an inception names no prior event
    if event.delegated is not (before.delegator is not None):
        raise VerificationError(
            ErrorCode.DELEGATION, f"{event.message_type} on the wrong kind of identifier"
        )
    return Establishment(
        event.sn, event.said, event.signing_threshold, event.signing_keys,
        event.next_threshold, event.next_key_digests, event.witness_threshold,
        _changed_witnesses(event, before.witnesses, limits),
        event.witnesses_removed, event.witnesses_added,
        before.configuration_traits, before.delegator,
    )  # fmt: skip


def _changed_witnesses(
    event: Rotation, current: tuple[Aid, ...], limits: Limits
) -> tuple[Aid, ...]:
    """Apply removals, then additions.

    KERI, "Backer add list": appended "except for any AIDs that already appear in the current
    Backer list", after all removals.
    """
    removed, added = event.witnesses_removed, event.witnesses_added
    if not removed and not added and event.witness_threshold <= len(current):
        return current
    witnesses = current
    if removed or added:
        if not set(removed) <= set(current):
            raise VerificationError(
                ErrorCode.WITNESSES, "br lists an identifier that is no witness"
            )
        kept = tuple(witness for witness in current if witness not in removed)
        witnesses = kept + tuple(witness for witness in added if witness not in kept)
    if len(witnesses) > limits.witnesses:
        raise VerificationError(ErrorCode.WITNESSES, f"more than {limits.witnesses} witnesses")
    check_witness_threshold(event.witness_threshold, witnesses)
    return witnesses


def _prove(
    signed: SignedEvent, establishment: Establishment, digests: tuple[Digest, ...] = ()
) -> Proofs:
    """Verify the claims, and keep what an earlier attempt verified under the same keys.

    Args:
        signed: the event.
        establishment: whose keys and witnesses count.
        digests: prior next key digests, which signatures of a rotation expose.
    """
    raw, claims = signed.event.raw, signed.claims
    signatures = verified_signatures(raw, claims.signatures, establishment.signing_keys)
    witness_signatures: tuple[IndexedSignature, ...] = ()
    couples: tuple[ReceiptCouple, ...] = ()
    if claims.witness_signatures or claims.couples:
        witnesses = establishment.witnesses
        witness_signatures = verified_witness_signatures(
            raw, claims.witness_signatures, claims.couples, witnesses
        )
        couples = verified_couples(raw, claims.couples, witnesses)
    proofs = Proofs(signatures, witness_signatures, couples)
    if signed.proofs_under == establishment.said:
        proofs = signed.proofs.merged(proofs)
    if len(proofs.signatures) > 1 or len(proofs.witness_signatures) > 1:
        return Proofs(
            essential(proofs.signatures, establishment.signing_keys, digests),
            essential(proofs.witness_signatures),
            proofs.couples,
            proofs.endorsements,
        )
    return proofs


def _wait(
    missing: set[Missing], signed: SignedEvent, proofs: Proofs, establishment: Establishment
) -> Pending:
    """Hold the event with its proofs; of the claims only endorsements are still open."""
    open_claims = Claims(endorsements=signed.claims.endorsements)
    held = SignedEvent(signed.event, open_claims, proofs, establishment.said)
    return Pending(frozenset(missing), held)


def _unsigned(signed: SignedEvent) -> VerificationError:
    # KERI, "Indexed Signatures": a message without "at least one verifiable Controller
    # signature" MUST be dropped.
    if signed.claims.signatures:
        return VerificationError(ErrorCode.SIGNATURE, "no signature of the controller verifies")
    return VerificationError(ErrorCode.UNSIGNED, "no signature of the controller is attached")


def _missing_signatures(
    event: AnyKeyEvent, prior: KeyState | None, establishment: Establishment, proofs: Proofs
) -> set[Missing]:
    """Compare the signatures with the signing threshold and the prior next threshold."""
    missing: set[Missing] = set()
    keys = establishment.signing_keys
    places = signing_places(proofs.signatures, keys)
    if not establishment.signing_threshold.satisfied_by(places):
        have = f"{len(places)} of {len(keys)} keys signed{_shown(places)}"
        missing.add(Missing(Want.SIGNATURES, event.aid, event.sn, event.said, detail=have))
    if prior is not None and type(event) is not Interaction:
        before = prior.establishment
        exposed = exposed_places(proofs.signatures, keys, before.next_key_digests)
        if not before.next_threshold.satisfied_by(exposed):
            count = len(before.next_key_digests)
            have = f"{len(exposed)} of {count} next keys exposed{_shown(exposed)}"
            missing.add(Missing(Want.NEXT_KEYS, event.aid, event.sn, event.said, detail=have))
    return missing


def _missing_from_others(
    event: AnyKeyEvent,
    establishment: Establishment,
    proofs: Proofs,
    delegation: DelegationProof | None,
    role: Role,
) -> set[Missing]:
    """Compare the receipts with the witness threshold, and look for the delegator's seal.

    Controllers and witnesses accept before both, which come behind their own signatures.

    Raises:
        VerificationError: the delegator must not delegate.
    """
    missing = _missing_approval(event, establishment, delegation) if event.delegated else set()
    if role not in _AWAIT_OTHERS:
        return set()
    # Distinct witnesses: two signatures of one may differ in form or bytes.
    have = len({signature.index for signature in proofs.witness_signatures})
    need = establishment.witness_threshold
    if have < need:
        detail = f"{have} of {need} receipts"
        missing.add(Missing(Want.RECEIPTS, event.aid, event.sn, event.said, detail=detail))
    return missing


def _missing_approval(
    event: AnyKeyEvent, establishment: Establishment, delegation: DelegationProof | None
) -> set[Missing]:
    """Look for the delegator's seal.

    Raises:
        VerificationError: the delegator must not delegate.
    """
    if delegation is not None and delegation.forbidden:
        # KERI, "Configuration traits field": "drop any delegated events whose Delegator has
        # this configuration trait".
        raise VerificationError(ErrorCode.DO_NOT_DELEGATE, "the delegator must not delegate")
    if delegation is not None and delegation.event is not None:
        return set()
    delegator = establishment.delegator
    assert delegator is not None  # noqa: S101 - `_establish` has checked it
    missing = {Missing(Want.APPROVAL, delegator, event.sn, event.said, event.aid)}
    if delegation is None or not delegation.known:
        missing.add(Missing(Want.EVENT, delegator, 0))
    return missing


def _refuse(
    event: AnyKeyEvent, accepted: AcceptedEvent, proofs: Proofs, missing: set[Missing]
) -> Verdict:
    """Tell duplicity from a claim that too few keys signed to hold anyone accountable."""
    if missing:
        return Rejected(
            VerificationError(ErrorCode.SUPERSEDING, f"the log holds another event at {event.sn:x}")
        )
    return Duplicitous(DuplicityEvidence(accepted, event, proofs))


def recognize(signed: SignedEvent, accepted: AcceptedEvent) -> Duplicate:
    """Verify what the copy of an accepted event adds."""
    known, claims = accepted.proofs, signed.claims
    places = {known_one.index for known_one in known.signatures}
    witnessed = {known_one.index for known_one in known.witness_signatures}
    receipted = {couple.key.text for couple in known.couples}
    witnesses = accepted.state.establishment.witnesses
    receipted |= {witnesses[index] for index in witnessed}
    fresh = Claims(
        tuple(one for one in claims.signatures if one.index not in places),
        tuple(one for one in claims.witness_signatures if one.index not in witnessed),
        tuple(couple for couple in claims.couples if couple.key.text not in receipted),
    )
    additions = Proofs()
    if fresh:
        establishment = accepted.state.establishment
        additions = _prove(SignedEvent(signed.event, fresh), establishment)
    return Duplicate(accepted, additions)


def _shown(places: frozenset[int]) -> str:
    return f", at place {', '.join(map(str, sorted(places)))}" if places else ""
