"""What the signature of a document is worth, by the log of its signer: more than yes or no."""

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import assert_never

import msgspec

from keystead.cesr.groups import ReceiptCouple, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Digest, Said
from keystead.errors import ErrorCode, VerificationError
from keystead.keri.keystate import AcceptedEvent, Establishment
from keystead.keri.receipts import check_signatures, signer_keys
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.node.weighing import known_duplicity
from keystead.owner.compromises import Compromise, suffice
from keystead.owner.documents import DocumentSignature
from keystead.ports import EventStore


class Standing(StrEnum):
    """Where the keys that signed stand in the log."""

    CURRENT = "current"
    ROTATED = "rotated"
    NON_TRANSFERABLE = "non_transferable"  # the identifier is its only key
    ABANDONED = "abandoned"  # keys of the event that ended the log
    SUPERSEDED = "superseded"  # keys of an event that a recovery took back
    LOG_BEHIND = "log_behind"  # the log as known here does not reach the event
    UNKNOWN_LOG = "unknown_log"
    INVALID = "invalid"


class Exposure(StrEnum):
    """Whether a compromise of keys touches the signature, and what the log says to it."""

    NONE = "none"
    ANCHORED_BEFORE = "anchored_before"
    ANCHORED_BY_OTHER_KEYS = "anchored_by_other_keys"
    ANCHORED_AFTER = "anchored_after"
    NOT_ANCHORED = "not_anchored"


# With a longer log the answer may be another one.
UNDECIDED = frozenset((Standing.UNKNOWN_LOG, Standing.LOG_BEHIND))

_IN_FORCE = frozenset((Standing.CURRENT, Standing.ROTATED))
_UNHARMED = frozenset((Exposure.NONE, Exposure.ANCHORED_BEFORE, Exposure.ANCHORED_BY_OTHER_KEYS))


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer to whether a document is signed.

    Attributes:
        valid: the signer signed it, as far as anybody can tell from the log as known here.
        standing: where the keys stand.
        digest: digest of the document that was signed.
        aid: who signed.
        sn: place of the establishment event that the signature names, None without a log.
        said: its digest, None without a log.
        fault: what is wrong with an invalid signature.
        rotated_at: the establishment event that replaced the keys.
        anchored_at: the first event on the trunk that anchors the digest and counts: no
            compromised key was needed to sign it. Where none does, for `ANCHORED_AFTER`, the
            first that somebody else may have signed.
        exposure: whether compromised keys were needed for the signature.
        compromised_since: the first event that may be signed by somebody else with those keys.
        duplicitous: the signer, or a delegator above it, signed two events for one place, of which
            either could be believed.
        dismissed: there is another version of an event that does not stand: somebody has keys
            that were replaced.
        abandoned: the log has ended: nobody signs for this identifier any more.
        log_sn: how far the log is known, None when it is not.
    """

    valid: bool
    standing: Standing
    digest: Digest
    aid: Aid
    sn: int | None
    said: Said | None
    fault: ErrorCode | None = None
    rotated_at: int | None = None
    anchored_at: int | None = None
    exposure: Exposure = Exposure.NONE
    compromised_since: int | None = None
    duplicitous: bool = False
    dismissed: bool = False
    abandoned: bool = False
    log_sn: int | None = None


def judge_signature(
    signature: DocumentSignature,
    digest: Digest,
    store: EventStore,
    known: Collection[Compromise],
) -> Verdict:
    """Judge the signature of a document by the log of its signer.

    Args:
        signature: the signature.
        digest: digest of the document, made with `signature.digest_code`.
        store: holds the log, if it is known.
        known: compromised keys, of the signer and maybe others: `compromises`.
    """
    signed = signature.signed
    verdict = _unproven(signature)
    if signature.digest != digest:
        return _faulty(verdict, ErrorCode.PAYLOAD)
    if isinstance(signed, ReceiptCouple):
        return _judge_couple(verdict, signed, signature.statement)
    state = store.key_state(signed.aid)
    if state is None:
        return msgspec.structs.replace(verdict, standing=Standing.UNKNOWN_LOG)
    duplicity, dismissed = known_duplicity(store, state.aid)
    verdict = msgspec.structs.replace(
        verdict,
        log_sn=state.sn,
        duplicitous=bool(duplicity),
        dismissed=bool(dismissed),
        abandoned=_ends(state.establishment),
    )
    suspects = {one.signing_key.text: one.first_sn for one in known if one.aid == signed.aid}
    try:
        return _judge_group(verdict, signed, signature.statement, store, suspects)
    except VerificationError as error:
        return _faulty(verdict, error.code)


def _judge_group(
    verdict: Verdict,
    signed: SignatureGroup,
    statement: bytes,
    store: EventStore,
    suspects: dict[str, int],
) -> Verdict:
    """Judge by keys of a log that is known.

    Args:
        verdict: what is known so far.
        signed: the signatures.
        statement: what they sign.
        store: holds the log.
        suspects: compromised keys, to the first events that others may have signed with them.

    Raises:
        VerificationError: the log has another event there (verify.signer_seal), a signature does
            not verify (verify.signature), or they are too few (verify.threshold).
    """
    named = trunk = store.event(signed.aid, signed.sn)
    lost = store.accepted(signed.aid, signed.said)  # a recovery may have taken it back
    if lost is not None and lost.event.sn == signed.sn:
        named = lost
    keys = signer_keys(signed, named)
    if keys is None:
        return msgspec.structs.replace(verdict, standing=Standing.LOG_BEHIND)
    checked = check_signatures(statement, keys, signed.signatures)
    if len(checked.signatures) < len(signed.signatures):
        # Whoever wrote the file had good ones only, so somebody changed it.
        raise VerificationError(ErrorCode.SIGNATURE, "a signature that does not verify")
    if not checked.sufficient:
        raise VerificationError(ErrorCode.THRESHOLD, "fewer keys signed than must")
    if trunk is None or trunk.event.said != signed.said:
        return msgspec.structs.replace(verdict, standing=Standing.SUPERSEDED)
    return _weigh(verdict, keys, checked.signatures, store, suspects)


def _weigh(
    verdict: Verdict,
    keys: Establishment,
    signatures: tuple[IndexedSignature, ...],
    store: EventStore,
    suspects: dict[str, int],
) -> Verdict:
    """Tell what a good signature under keys of the trunk is worth by now.

    Args:
        verdict: what is known of it.
        keys: the keys that signed.
        signatures: verified.
        store: holds the log.
        suspects: compromised keys, to the first events that others may have signed with them.
    """
    rotated_at: int | None = None
    anchored_at: int | None = None
    doubtful_at: int | None = None
    seal = DigestSeal(verdict.digest)
    for accepted in store.events(verdict.aid):
        sn = accepted.event.sn
        if rotated_at is None and sn == accepted.state.establishment.sn > keys.sn:
            rotated_at = sn
        if anchored_at is None and seal in accepted.event.anchors:
            if _is_sound(accepted, suspects):
                anchored_at = sn
            elif doubtful_at is None:
                doubtful_at = sn
    standing = Standing.CURRENT
    if rotated_at is not None:
        standing = Standing.ROTATED
    elif _ends(keys):
        standing = Standing.ABANDONED
    since: int | None = None
    exposure = Exposure.NONE
    if not suffice(signatures, keys, suspects):
        signers = [keys.signing_keys[one.index].text for one in signatures]
        since = min(suspects[text] for text in signers if text in suspects)
        exposure = _exposure(anchored_at, doubtful_at, since)
    if exposure is Exposure.ANCHORED_AFTER:
        anchored_at = doubtful_at
    settled = standing in _IN_FORCE or anchored_at is not None
    return msgspec.structs.replace(
        verdict,
        valid=settled and exposure in _UNHARMED and not verdict.duplicitous,
        standing=standing,
        rotated_at=rotated_at,
        anchored_at=anchored_at,
        exposure=exposure,
        compromised_since=since,
    )


def _exposure(anchored_at: int | None, doubtful_at: int | None, since: int) -> Exposure:
    if anchored_at is not None:
        before = anchored_at < since
        return Exposure.ANCHORED_BEFORE if before else Exposure.ANCHORED_BY_OTHER_KEYS
    return Exposure.NOT_ANCHORED if doubtful_at is None else Exposure.ANCHORED_AFTER


def _is_sound(accepted: AcceptedEvent, suspects: dict[str, int]) -> bool:
    """Tell whether no key that was compromised by then was needed to sign an event."""
    then = [text for text, first_sn in suspects.items() if first_sn <= accepted.event.sn]
    return suffice(accepted.proofs.signatures, accepted.state.establishment, then)


def _judge_couple(verdict: Verdict, couple: ReceiptCouple, statement: bytes) -> Verdict:
    """Judge by the key that the identifier is."""
    key, made = couple.key, couple.signature
    if key.transferable or not key.verifies(made.suite, made.raw, statement):
        return _faulty(verdict, ErrorCode.SIGNATURE)
    return msgspec.structs.replace(verdict, valid=True, standing=Standing.NON_TRANSFERABLE)


def _unproven(signature: DocumentSignature) -> Verdict:
    sn, said = None, None
    if isinstance(signature.signatory, EventSeal):
        sn, said = signature.signatory.sn, signature.signatory.said
    return Verdict(
        valid=False,
        standing=Standing.INVALID,
        digest=signature.digest,
        aid=signature.aid,
        sn=sn,
        said=said,
    )


def _faulty(verdict: Verdict, fault: ErrorCode) -> Verdict:
    return msgspec.structs.replace(verdict, fault=fault)


def _ends(keys: Establishment) -> bool:
    """Tell whether an event ended a log; an inception without next keys only is its own end."""
    return keys.sn > 0 and not keys.transferable


_FAULTS: dict[ErrorCode, str] = {
    ErrorCode.PAYLOAD: "this is not the document that was signed: its digest is another",
    ErrorCode.SIGNATURE: "a signature was not made by the key that it names, or was changed",
    ErrorCode.THRESHOLD: "fewer keys signed than the identifier demands",
    ErrorCode.SIGNER_SEAL: "the signature names an event that the log does not have, or no keys",
}


def explain(verdict: Verdict) -> list[str]:
    """Return sentences for people: the answer first, then what to know about it."""
    answer = "valid" if verdict.valid else "NOT valid"
    if verdict.standing in UNDECIDED:
        answer = "NOT decided"
    return [f"{answer}: {_of_standing(verdict)}", *_remarks(verdict)]


def _of_standing(verdict: Verdict) -> str:
    aid = verdict.aid
    event = f"event {verdict.sn or 0:x}"
    match verdict.standing:
        case Standing.CURRENT:
            return f"signed by {aid} with its current keys, those of {event}"
        case Standing.ROTATED:
            replaced = f"replaced by event {verdict.rotated_at or 0:x}"
            return f"signed by {aid} with keys of {event}, which were {replaced}"
        case Standing.NON_TRANSFERABLE:
            return f"signed by {aid}, which is its only key for ever"
        case Standing.ABANDONED:
            return f"signed with the keys of {event}, by which {aid} was abandoned"
        case Standing.SUPERSEDED:
            return f"signed with keys of {event} of {aid}, which a recovery took back"
        case Standing.LOG_BEHIND:
            return f"the log of {aid} is known up to {verdict.log_sn or 0:x}, not to {event}"
        case Standing.UNKNOWN_LOG:
            return f"the log of {aid} is not known here"
        case Standing.INVALID:
            return _FAULTS[verdict.fault or ErrorCode.SIGNATURE]
        case _:
            assert_never(verdict.standing)


def _remarks(verdict: Verdict) -> Iterator[str]:
    if verdict.duplicitous:
        yield (
            "the identifier or its delegator signed two different events for one place in its log: "
            "do not rely on anything that it signs"
        )
    if verdict.dismissed:
        yield (
            "note: somebody who has old keys of the identifier or its delegator made another"
            " history; the one that was seen first stands"
        )
    yield from _on_exposure(verdict)
    if verdict.exposure is Exposure.NONE and verdict.anchored_at is not None:
        yield f"event {verdict.anchored_at:x} of the log anchors the document"
    elif verdict.exposure is Exposure.NONE and verdict.standing is Standing.ROTATED:
        yield (
            "no event that counts anchors the document: whoever got hold of the old keys could "
            "have signed it later; an anchor in the log would settle that"
        )
    if verdict.standing is Standing.ABANDONED and not verdict.valid:
        yield "nobody should sign with these keys, and no event that counts anchors the document"
    elif verdict.abandoned and verdict.standing is Standing.ROTATED:
        yield "the identifier was abandoned since: nobody signs for it any more"
    if verdict.standing in UNDECIDED:
        yield "get the log from the signer, or a longer one, and verify again"


def _on_exposure(verdict: Verdict) -> Iterator[str]:
    if verdict.exposure is Exposure.NONE:
        return
    since, at = f"{verdict.compromised_since or 0:x}", f"{verdict.anchored_at or 0:x}"
    yield f"the owner tells that keys that were needed are compromised since event {since}"
    match verdict.exposure:
        case Exposure.ANCHORED_BEFORE:
            yield f"event {at} anchored the document before that, so the signature stands"
        case Exposure.ANCHORED_BY_OTHER_KEYS:
            yield f"event {at}, signed by other keys, anchors the document, so it stands"
        case Exposure.ANCHORED_AFTER:
            yield f"event {at} anchors the document, but somebody else may have signed that too"
        case Exposure.NOT_ANCHORED:
            yield "no event anchors the document, so somebody else may have signed it"
        case _:
            assert_never(verdict.exposure)
