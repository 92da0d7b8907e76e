"""Decisions: what to do with an event or receipts, given a snapshot of the store. Pure."""

from datetime import datetime
from typing import Final

import msgspec

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, VerificationError
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.delegation import DelegationProof, place_of_seal, seal_of
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import (
    Held,
    HeldKey,
    Missing,
    WaitingReceipts,
    Want,
    key_of,
    keys_of_event,
)
from keystead.keri.events import (
    AnyKeyEvent,
    DelegatedInception,
    Inception,
    Rotation,
)
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.receipts import check_signatures, signer_keys
from keystead.keri.superseding import Incumbent
from keystead.keri.validation import judge, recognize
from keystead.keri.verdicts import (
    Accepted,
    Duplicate,
    Duplicitous,
    Pending,
    Receipted,
    Rejected,
    Role,
    Source,
    Verdict,
    Waits,
)
from keystead.limits import Limits
from keystead.node.weighing import displaced
from keystead.ports import Append, Decision, Extend, KelReader

_VALIDATOR: Final = Role.VALIDATOR
_FAULTS_OF_A_COPY: Final = (ErrorCode.UNSIGNED, ErrorCode.SIGNATURE)


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a decision depends on besides message and store.

    Attributes:
        source: how the message came here.
        now: when it came; what waits is timed from its first arrival.
        seen_at: time to record for accepted events, RFC 3339 text.
        own: identifiers that this node controls or witnesses as.
        limits: bounds.
        answer_strangers: answer queries whose signer's log is not here.
    """

    source: Source
    now: datetime
    seen_at: str
    own: frozenset[Aid]
    limits: Limits
    answer_strangers: bool = False


def decide_event(signed: SignedEvent, context: Context, kel: KelReader) -> Decision:
    """Decide on an event, together with what waited for it or for this version of it."""
    event = signed.event
    waiting = kel.held_for(event.aid, event.sn, event.said)
    alone = signed
    if waiting:
        signed = _absorb(signed, waiting)
        if any(held.local and isinstance(held.waiting, SignedEvent) for held in waiting):
            # A copy came through a protected channel, whoever sent this one.
            context = msgspec.structs.replace(context, source=Source.LOCAL)
    prior, incumbent = kel.key_state(event.aid), None
    if prior is not None and (event.sn != prior.sn + 1 or event.prior_said != prior.said):
        prior, incumbent = _place(kel, event, prior, context.limits)
    delegation = _delegation(kel, event, prior, context.limits) if event.delegated else None
    verdict = judge(
        signed,
        prior=prior,
        incumbent=incumbent,
        source=context.source,
        role=_role(event, prior, context.own) if context.own else _VALIDATOR,
        delegation=delegation,
        limits=context.limits,
    )
    release = _settled(verdict, waiting) if waiting else ()
    match verdict:
        case Accepted():
            proofs = verdict.proofs
            hold: tuple[Held, ...] = ()
            if signed.claims.endorsements:
                endorsed, hold = _settle(kel, event, signed.claims.endorsements, proofs, context)
                proofs = proofs.merged(Proofs(endorsements=endorsed))
            if proofs.couples or proofs.endorsements:
                proofs = _bounded(proofs, Proofs(), context.limits)
            append = Append(
                event,
                verdict.state,
                proofs,
                context.seen_at,
                None if delegation is None else delegation.source,
                bool(verdict.effects) and verdict.supersedes,
            )
            return Decision(verdict, append=append, hold=hold, release=release)
        case Duplicate(accepted, additions):
            return _extend(kel, accepted, additions, signed.claims, release, context)
        case Pending(event=verified):
            kept = alone if verified.proofs_under is None else verified
            return _hold(verdict, kept, waiting, context)
        case Duplicitous(evidence):
            return _blame(kel, evidence, release, context)
        case Rejected():
            return Decision(verdict, release=release)


def _blame(
    kel: KelReader,
    evidence: DuplicityEvidence,
    release: tuple[HeldKey, ...],
    context: Context,
) -> Decision:
    """Keep evidence, with what tells others when the event was unacceptable."""
    evidence = msgspec.structs.replace(evidence, seen=_seen_logs(kel, evidence.aid))
    kept, old = displaced(kel, evidence, context.limits.evidence)
    displaces = None if old is None else old.other.said
    return Decision(Duplicitous(evidence), release=release, evidence=kept, displaces=displaces)


def _seen_logs(kel: KelReader, aid: Aid) -> tuple[tuple[Aid, int], ...]:
    """Return how far the logs are that an event of `aid` depends on, its own first."""
    seen: dict[Aid, int] = {}
    log: Aid | None = aid
    while log is not None and log not in seen:
        state = kel.key_state(log)
        head = None if state is None else kel.event(log, state.sn)
        if head is None:
            break
        # The end of a trunk is always the event that was accepted last.
        seen[log] = head.first_seen_number
        log = head.state.establishment.delegator
    return tuple(seen.items())


def decide_receipts(receipts: WaitingReceipts, context: Context, kel: KelReader) -> Decision:
    """Decide on receipts that came without their event."""
    aid, sn, said = receipts.aid, receipts.sn, receipts.said
    if not receipts.claims:
        return Decision(
            Rejected(VerificationError(ErrorCode.UNSIGNED, "a receipt without signatures"))
        )
    event_key, own_key = keys_of_event(aid, sn, said)
    accepted = kel.accepted(aid, said)
    if accepted is None:
        for held in kel.held(event_key):
            if isinstance(held.waiting, SignedEvent) and held.waiting.proofs_under is not None:
                # The channel of a receipt says nothing about that of its event.
                remote = msgspec.structs.replace(context, source=Source.REMOTE)
                return decide_event(held.waiting.with_claims(receipts.claims), remote, kel)
        if kel.event(aid, sn) is not None:
            stale = VerificationError(ErrorCode.RECEIPT, f"the log holds another event at {sn:x}")
            return Decision(Rejected(stale), release=(own_key,))
    old = Claims()
    for held in kel.held(own_key):
        if isinstance(held.waiting, WaitingReceipts):
            old = held.waiting.claims
            context = msgspec.structs.replace(context, now=held.since)
    if accepted is not None:
        receipts = WaitingReceipts(aid, sn, said, old.merged(receipts.claims))
        return _receipt(kel, accepted, receipts, context)
    receipts = WaitingReceipts(aid, sn, said, _to_hold(receipts.claims, old, context.limits))
    missing = frozenset((Missing(Want.RECEIPTED, aid, sn, detail=f"version {said}"),))
    entry = Held(receipts, missing, context.source is Source.LOCAL, context.now)
    return Decision(Waits(missing, receipts), hold=(entry,))


def _delegation(
    kel: KelReader, event: AnyKeyEvent, prior: KeyState | None, limits: Limits
) -> DelegationProof | None:
    """Collect what the delegator's log says about a delegated event."""
    delegator = event.delegator if isinstance(event, DelegatedInception) else None
    if prior is not None:
        delegator = prior.establishment.delegator
    if delegator is None:
        return None
    return prove_delegation(kel, delegator, event, limits.delegation_depth)


def prove_delegation(
    kel: KelReader, delegator: Aid, event: AnyKeyEvent, depth: int
) -> DelegationProof:
    """Collect what the delegator's log says about `event`, up the chain of delegation.

    The first seal on the trunk counts, whatever a source seal hints: all who know the same logs
    then see the same approval.
    """
    state = kel.key_state(delegator)
    if state is None:
        return DelegationProof(delegator, known=False)
    forbidden = state.establishment.do_not_delegate
    sealing = kel.sealing_event(delegator, seal_of(event))
    if sealing is None:
        return DelegationProof(delegator, known=True, forbidden=forbidden)
    return DelegationProof(
        delegator,
        known=True,
        forbidden=forbidden,
        event=sealing.event,
        seal=place_of_seal(sealing.event, event.aid, event.sn, event.said),
        approval=_recorded_approval(kel, sealing, depth - 1),
    )


def _recorded_approval(
    kel: KelReader, accepted: AcceptedEvent, depth: int
) -> DelegationProof | None:
    """Return the approval under which an event was accepted, superseded or not.

    Returns:
        None for an event that needs no approval, or beyond the depth. Without an event in it
        when the event was accepted before its approval, and there is none yet.
    """
    event, source = accepted.event, accepted.source
    delegator = accepted.state.establishment.delegator
    if delegator is None or not event.delegated or depth <= 0:
        return None
    sealing = (
        kel.sealing_event(delegator, seal_of(event))
        if source is None
        else kel.accepted(delegator, source.said)
    )
    if sealing is None:
        return DelegationProof(delegator, known=True)
    return DelegationProof(
        delegator,
        known=True,
        event=sealing.event,
        seal=place_of_seal(sealing.event, event.aid, event.sn, event.said),
        approval=_recorded_approval(kel, sealing, depth - 1),
    )


def _place(
    kel: KelReader, event: AnyKeyEvent, state: KeyState, limits: Limits
) -> tuple[KeyState | None, Incumbent | None]:
    """Return the key state before the event's place, and what the log holds there.

    Not for an event that names the end of the trunk: nothing can have stood at its place.
    """
    known = kel.accepted(event.aid, event.said)
    if known is not None:
        return None, Incumbent(known, state.establishment.sn)
    if event.sn == state.sn + 1:
        return state, None
    at_place = kel.event(event.aid, event.sn)
    if at_place is None:
        return None, None
    before = kel.event(event.aid, event.sn - 1)
    approval = _recorded_approval(kel, at_place, limits.delegation_depth)
    incumbent = Incumbent(at_place, state.establishment.sn, approval)
    return (None if before is None else before.state), incumbent


def _role(event: AnyKeyEvent, prior: KeyState | None, own: frozenset[Aid]) -> Role:
    """Return what the node is to the event, by the identifiers it acts for."""
    if event.aid in own:
        return Role.CONTROLLER
    last = None if prior is None else prior.establishment
    delegator = event.delegator if isinstance(event, DelegatedInception) else None
    witnesses: set[Aid] = set()
    if isinstance(event, Inception):
        witnesses.update(event.witnesses)
    if last is not None:
        delegator = last.delegator
        witnesses.update(last.witnesses)
    if isinstance(event, Rotation):
        witnesses -= set(event.witnesses_removed)
        witnesses |= set(event.witnesses_added)
    elif last is not None:
        delegator = None  # interactions are not approved
    if not own.isdisjoint(witnesses):
        return Role.WITNESS
    return Role.DELEGATOR if delegator in own else Role.VALIDATOR


def _absorb(signed: SignedEvent, waiting: tuple[Held, ...]) -> SignedEvent:
    """Add what waited to an event: earlier copies of it, and then the receipts for it too."""
    for held in waiting:
        if isinstance(held.waiting, SignedEvent):
            signed = held.waiting.with_claims(signed.claims)
    for held in waiting:
        if isinstance(held.waiting, WaitingReceipts):
            signed = signed.with_claims(held.waiting.claims)
    return signed


def _to_hold(new: Claims, old: Claims, limits: Limits) -> Claims:
    """Join unverified signatures of two deliveries, as far as they may wait.

    The earlier ones stay, and no delivery takes all the room: whoever adds useless signatures to
    a copy can neither replace the good ones nor, at once, leave no place for them.
    """
    new = new.bounded(limits.keys, limits.signers)
    return old.merged(new).bounded(limits.receipts, limits.signers)


def _settled(verdict: Verdict, waiting: tuple[Held, ...]) -> tuple[HeldKey, ...]:
    """Return the entries that need not wait any longer.

    Where no signature of the controller verifies, the copies are at fault, not the event: the
    receipts for it may be good, and wait for a better copy.
    """
    if isinstance(verdict, Rejected) and verdict.error.code in _FAULTS_OF_A_COPY:
        return tuple([held.key for held in waiting if isinstance(held.waiting, SignedEvent)])
    return tuple([held.key for held in waiting])


def _bounded(more: Proofs, known: Proofs, limits: Limits) -> Proofs:
    """Leave out signatures by others than controller and witnesses that are too many."""
    room = limits.receipts - len(known.couples)
    room -= sum(len(group.signatures) for group in known.endorsements)
    couples = more.couples[: max(0, room)]
    room -= len(couples)
    endorsements = []
    for group in more.endorsements:
        room -= len(group.signatures)
        if room < 0:
            break
        endorsements.append(group)
    return msgspec.structs.replace(more, couples=couples, endorsements=tuple(endorsements))


def _hold(
    verdict: Pending, signed: SignedEvent, waiting: tuple[Held, ...], context: Context
) -> Decision:
    """Keep an event in the escrow.

    Receipts that came apart from it are part of what was verified, so they are settled; while
    nothing could be verified they stay apart.
    """
    since, limits = context.now, context.limits
    old, release = Claims(), []
    for held in waiting:
        if isinstance(held.waiting, SignedEvent):
            since = min(since, held.since)
            old = held.waiting.claims
        elif signed.proofs_under is not None:
            release.append(held.key)
    proofs = signed.proofs
    if proofs.couples:
        proofs = _bounded(proofs, Proofs(), limits)
    claims = _to_hold(signed.claims, old, limits)
    signed = SignedEvent(signed.event, claims, proofs, signed.proofs_under)
    entry = Held(signed, verdict.missing, context.source is Source.LOCAL, since)
    return Decision(verdict, hold=(entry,), release=tuple(release))


def _extend(
    kel: KelReader,
    accepted: AcceptedEvent,
    additions: Proofs,
    claims: Claims,
    release: tuple[HeldKey, ...],
    context: Context,
) -> Decision:
    """Add what a copy of an accepted event proves, and hold what it claims."""
    endorsed, hold = _settle(kel, accepted.event, claims.endorsements, accepted.proofs, context)
    additions = additions.merged(Proofs(endorsements=endorsed))
    additions = _bounded(additions, accepted.proofs, context.limits)
    extend = Extend(accepted.event.aid, accepted.event.said, additions) if additions else None
    return Decision(Duplicate(accepted, additions), extend=extend, hold=hold, release=release)


def _receipt(
    kel: KelReader, accepted: AcceptedEvent, receipts: WaitingReceipts, context: Context
) -> Decision:
    """Verify receipts for an accepted event."""
    duplicate = recognize(SignedEvent(accepted.event, receipts.claims), accepted)
    decision = _extend(
        kel, accepted, duplicate.additions, receipts.claims, (key_of(receipts),), context
    )
    additions = decision.extend.proofs if decision.extend is not None else Proofs()
    if decision.hold:
        waits = decision.hold[0]  # has the key of what it replaces
        verdict = Waits(waits.missing, waits.waiting)
        return msgspec.structs.replace(decision, verdict=verdict, release=())
    if not additions and not _repeats(accepted, receipts.claims):
        # Nobody stands behind it, so it is not to be counted among what is fine.
        error = VerificationError(ErrorCode.SIGNATURE, "no signature of the receipt verifies")
        return Decision(Rejected(error), release=decision.release)
    return msgspec.structs.replace(decision, verdict=Receipted(accepted, additions))


def _repeats(accepted: AcceptedEvent, claims: Claims) -> bool:
    """Tell whether some receipt claims to be by somebody whose receipt is there already."""
    known, witnesses = accepted.proofs, accepted.state.establishment.witnesses
    places = {one.index for one in known.signatures}
    witnessed = {one.index for one in known.witness_signatures}
    signers = {couple.key.text for couple in known.couples}
    signers |= {witnesses[index] for index in witnessed}
    endorsers = {group.aid for group in known.endorsements}
    return (
        any(one.index in places for one in claims.signatures)
        or any(one.index in witnessed for one in claims.witness_signatures)
        or any(couple.key.text in signers for couple in claims.couples)
        or any(group.aid in endorsers for group in claims.endorsements)
    )


def _settle(
    kel: KelReader,
    event: AnyKeyEvent,
    groups: tuple[SignatureGroup, ...],
    known: Proofs,
    context: Context,
) -> tuple[tuple[SignatureGroup, ...], tuple[Held, ...]]:
    """Verify endorsements by transferable identifiers.

    Returns:
        The verified ones, and the escrow entry for those whose signer is not known yet. Others
        are dropped: an endorsement that does not verify says nothing about the event.
    """
    if not groups:
        return (), ()
    have = {
        (group.aid, group.said, one.index)
        for group in known.endorsements
        for one in group.signatures
    }
    good: list[SignatureGroup] = []
    unknown: list[SignatureGroup] = []
    for group in groups:
        fresh = [one for one in group.signatures if (group.aid, group.said, one.index) not in have]
        try:
            keys = signer_keys(group, kel.event(group.aid, group.sn))
            if keys is None:
                unknown.append(group)
                continue
            signed = check_signatures(event.raw, keys, tuple(fresh))
        except VerificationError:
            continue
        good.append(SignatureGroup(group.aid, group.sn, group.said, signed.signatures))
    if not unknown:
        return tuple(good), ()
    del unknown[context.limits.signers :]
    missing = frozenset(Missing(Want.EVENT, group.aid, group.sn) for group in unknown)
    receipts = WaitingReceipts(event.aid, event.sn, event.said, Claims(endorsements=tuple(unknown)))
    local = context.source is Source.LOCAL
    return tuple(good), (Held(receipts, missing, local, context.now),)
