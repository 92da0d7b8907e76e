"""Decisions on routed messages: replies, queries, exchanges. Pure."""

import msgspec

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Aid, is_digest_of
from keystead.errors import ErrorCode, StoreError, VerificationError
from keystead.keri.attachments import Attachments, Proofs
from keystead.keri.escrow import Held, Missing, WaitingMessage, Want, key_of
from keystead.keri.keystate import Establishment
from keystead.keri.messages import Exchange, Query, Reply, RoutedMessage
from keystead.keri.receipts import check_signatures, signer_keys
from keystead.keri.routed import (
    KeyCompromise,
    KeyStateNotice,
    Record,
    contradicted_label,
    is_later,
    parse_statement,
)
from keystead.keri.verdicts import (
    Authentic,
    Recorded,
    Rejected,
    Source,
    Unauthenticated,
    Waits,
)
from keystead.limits import Limits
from keystead.node.decisions import Context
from keystead.node.queries import unanswerable
from keystead.ports import Decision, KelReader


class _Proven(msgspec.Struct, frozen=True, gc=False):
    """Verified signatures of one signer.

    Attributes:
        keys: whose keys they are, None for a non-transferable signer.
        proofs: the signatures.
        sufficient: they meet the signer's threshold.
    """

    keys: Establishment | None
    proofs: Proofs
    sufficient: bool = True


def signed_parts(
    message: RoutedMessage, attached: Attachments, limits: Limits
) -> list[WaitingMessage]:
    """Split a message by signer, and leave out signers that may not speak for it.

    A reply speaks for the authority of its statement, an exchange for its sender; anybody may
    ask. Transferable identifiers sign with a named establishment event (-F) or their latest
    keys (-H), non-transferable ones with their key (-C). The message waits once for each signer,
    so no more than `limits.signers` are looked at.

    Raises:
        VerificationError: no signature (verify.unsigned), none of who must sign
            (verify.signer), an unknown route (verify.route), a payload that does not match
            (verify.payload).
        DecodeError: malformed attributes of a reply.
    """
    authority = _authority(message, attached.payload, limits)
    parts = [
        WaitingMessage(message, Aid(couple.key.text), couple=couple)
        for couple in attached.claims.couples
    ]
    parts += [
        WaitingMessage(message, group.aid, group.sn, group.said, group.signatures)
        for group in attached.claims.endorsements
    ]
    parts += [
        WaitingMessage(message, group.aid, signatures=group.signatures)
        for group in attached.last_groups
    ]
    if not parts:
        raise VerificationError(ErrorCode.UNSIGNED, "no signature of a signer is attached")
    fitting = [part for part in parts if authority in (None, part.signer)]
    if not fitting:
        raise VerificationError(ErrorCode.SIGNER, "not signed by the identifier it speaks for")
    return fitting[: limits.signers]


def decide_message(part: WaitingMessage, context: Context, kel: KelReader) -> Decision:
    """Decide on a message with the signatures of one signer."""
    message = part.message
    for held in kel.held(key_of(part)):
        if isinstance(held.waiting, WaitingMessage):
            earlier = held.waiting
            part = msgspec.structs.replace(
                part,
                signatures=tuple(dict.fromkeys((*earlier.signatures, *part.signatures))),
                proven=earlier.proven,
                proven_under=earlier.proven_under,
            )
    try:
        proven = _prove(kel, part)
        if proven is None and isinstance(message, Query) and context.answer_strangers:
            missing = unanswerable(kel, message)
            if missing:
                return _hold(kel, part, missing, context)
            return Decision(Unauthenticated(message, part.signer), release=(key_of(part),))
        if proven is None:
            unknown = Missing(Want.EVENT, part.signer, part.sn or 0)
            return _hold(kel, part, frozenset((unknown,)), context)
        if part.couple is None:
            (group,) = proven.proofs.endorsements
            part = msgspec.structs.replace(
                part, signatures=(), proven=group.signatures, proven_under=group.said
            )
        if not proven.sufficient and proven.keys is not None:
            detail = f"{len(part.proven)} of {len(proven.keys.signing_keys)} keys signed"
            more = Missing(
                Want.SIGNATURES, part.signer, proven.keys.sn, message.said, detail=detail
            )
            return _hold(kel, part, frozenset((more,)), context)
        if isinstance(message, Query):
            missing = unanswerable(kel, message)
            if missing:
                return _hold(kel, part, missing, context)
        return _act(kel, part, proven, context.limits)
    except (VerificationError, StoreError) as error:
        return Decision(Rejected(error), release=(key_of(part),))


def _authority(message: RoutedMessage, payload: bytes, limits: Limits) -> Aid | None:
    """Return who must have signed, None when anybody may."""
    match message:
        case Reply():
            return parse_statement(message, limits).authority
        case Exchange(sender=sender, payload=expected):
            # An ESSR payload is attached, and the signed message holds its digest.
            if isinstance(expected, str) and not (payload and is_digest_of(expected, payload)):
                raise VerificationError(
                    ErrorCode.PAYLOAD, "the attached payload does not match its digest"
                )
            return sender
        case _:
            return None


def _prove(kel: KelReader, part: WaitingMessage) -> _Proven | None:
    """Verify the signatures; None when the signer's keys are not known yet.

    Raises:
        VerificationError: none verifies, or they name no establishment event of the signer.
    """
    raw = part.message.raw
    if part.couple is not None:
        key, signature = part.couple.key, part.couple.signature
        if key.transferable or not key.verifies(signature.suite, signature.raw, raw):
            raise VerificationError(ErrorCode.SIGNATURE, "no signature of the signer verifies")
        return _Proven(None, Proofs(couples=(part.couple,)))
    if part.sn is None or part.said is None:
        state = kel.key_state(part.signer)
        keys = None if state is None else state.establishment
    else:
        group = SignatureGroup(part.signer, part.sn, part.said, part.signatures)
        keys = signer_keys(group, kel.event(part.signer, part.sn))
    if keys is None:
        return None
    # The latest keys may be others than those of the earlier attempt.
    known = part.proven if part.proven_under == keys.said else ()
    signed = check_signatures(raw, keys, part.signatures, known)
    proof = SignatureGroup(part.signer, keys.sn, keys.said, signed.signatures)
    return _Proven(keys, Proofs(endorsements=(proof,)), signed.sufficient)


def _hold(
    kel: KelReader, part: WaitingMessage, missing: frozenset[Missing], context: Context
) -> Decision:
    """Keep a message in the escrow; the signatures that waited stay, and new ones are bounded."""
    since, waited, limits = context.now, 0, context.limits
    for held in kel.held(key_of(part)):
        if isinstance(held.waiting, WaitingMessage):
            since, waited = min(since, held.since), len(held.waiting.signatures)
    room = min(waited + limits.keys, limits.receipts)
    part = msgspec.structs.replace(part, signatures=part.signatures[:room])
    entry = Held(part, missing, context.source is Source.LOCAL, since)
    return Decision(Waits(missing, part), hold=(entry,))


def _act(kel: KelReader, part: WaitingMessage, proven: _Proven, limits: Limits) -> Decision:
    """Do what an authentic message asks for."""
    release = (key_of(part),)
    message = part.message
    if not isinstance(message, Reply):
        return Decision(_authentic(kel, part, proven.keys), release=release)
    statement = parse_statement(message, limits)
    sn = None if proven.keys is None else proven.keys.sn
    new = Record(statement, message, sn, proven.proofs)
    old = kel.record(new.key)
    known = old if old is not None and _stands(kel, old) else None
    superseding = known is None or is_later(new, known)
    if known is not None and known.reply.said == message.said and not superseding:
        return Decision(Recorded(known), release=release)
    if isinstance(statement, KeyStateNotice):
        _check_notice(kel, statement)
    if isinstance(statement, KeyCompromise):
        _check_compromise(kel, statement, proven.keys)
    if not superseding:
        raise VerificationError(ErrorCode.STALE, "a statement not later than the one that is known")
    _check_room(kel, new, old, limits)
    return Decision(Recorded(new), record=new, release=release)


def _stands(kel: KelReader, record: Record) -> bool:
    """Tell whether the keys that signed a statement are on the trunk still.

    After a recovery, what was stated under keys that it took back must not outlive them.
    """
    for group in record.proofs.endorsements:
        named = kel.event(group.aid, group.sn)
        if named is None or named.event.said != group.said:
            return False
    return True


def _authentic(kel: KelReader, part: WaitingMessage, keys: Establishment | None) -> Authentic:
    if keys is None:
        return Authentic(part.message, part.signer, None, None, latest=True)
    state = kel.key_state(part.signer)
    latest = state is not None and state.establishment.said == keys.said
    return Authentic(part.message, part.signer, keys.sn, keys.said, latest)


def _check_room(kel: KelReader, new: Record, old: Record | None, limits: Limits) -> None:
    """Check that a record may be kept besides the others, or in the place of an old one.

    Raises:
        StoreError: there is no room for it (store.records_full).
    """
    kept = kel.kept(new.statement.authority)
    more = new.size - (0 if old is None else old.size)
    if more > 0 and kept.size + more > limits.records_bytes:
        raise StoreError(ErrorCode.RECORDS_FULL, "too many bytes of statements are kept")
    if old is None and kept.total >= limits.records:
        raise StoreError(ErrorCode.RECORDS_FULL, f"{limits.records} statements are kept")
    if old is None and kept.of_signer >= limits.records_of_signer:
        raise StoreError(
            ErrorCode.RECORDS_FULL, f"{limits.records_of_signer} statements of one signer are kept"
        )


def _check_notice(kel: KelReader, notice: KeyStateNotice) -> None:
    """Compare a key state notice with the log that was verified here.

    Raises:
        VerificationError: it is older than the log (verify.stale), or contradicts it
            (verify.key_state).
    """
    state = kel.key_state(notice.aid)
    if state is None:
        return
    if notice.sn < state.sn:
        raise VerificationError(
            ErrorCode.STALE, f"a notice for {notice.sn:x}, while the log is at {state.sn:x}"
        )
    label = contradicted_label(notice, state) if notice.sn == state.sn else None
    if label is not None:
        raise VerificationError(
            ErrorCode.KEY_STATE, f"a notice for {notice.sn:x} with another {label} than the log has"
        )


def _check_compromise(kel: KelReader, notice: KeyCompromise, signer: Establishment | None) -> None:
    """Check that keys speak of a key that they replaced, and of a place where it could sign.

    Whoever stole a key can then neither say so nor take back what the owner signed with it.

    Raises:
        VerificationError: signed by other keys than later ones (verify.signer), or the key
            signs neither the first event in doubt nor the one before (verify.key_state).
    """
    key, first = notice.signing_key, notice.first_sn
    if signer is None or signer.sn < first or key in signer.signing_keys:
        raise VerificationError(
            ErrorCode.SIGNER, "a compromise is told by keys that came after the compromised one"
        )
    # The first event in doubt may be one that the key did not sign: the rotation that ended it.
    near = [kel.event(notice.aid, sn) for sn in range(max(0, first - 1), first + 1)]
    if not any(one is not None and key in one.state.establishment.signing_keys for one in near):
        raise VerificationError(ErrorCode.KEY_STATE, f"the key did not sign at {first:x}")
