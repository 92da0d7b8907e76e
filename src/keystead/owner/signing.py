"""Signatures of documents by own identifiers; each is noted in the audit log before it is given.

An anchor comes into the log together with the note, before the signature is given. So a crash may
leave an anchor that no signature needs, which tells nobody anything, but never a signature that
was promised an anchor and has none. Repeating the command makes no second anchor.
"""

import msgspec

from keystead.cesr import indexed
from keystead.cesr.groups import ReceiptCouple, SignatureGroup
from keystead.cesr.keys import Digest, Signature, parse_key
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.keri.keystate import KeyState
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.owner.compromises import compromises
from keystead.owner.documents import DocumentSignature, Signatory, statement
from keystead.owner.events import current_places
from keystead.owner.identifiers import anchor
from keystead.owner.records import Note
from keystead.owner.settlement import begun, is_unfinished, ready, settle
from keystead.owner.standing import Exposure, Standing, Verdict, judge_signature
from keystead.owner.trust import check_state
from keystead.owner.wallet import IDENTIFIER, IdentifierRecord, Wallet
from keystead.suites import Suite


class Signed(msgspec.Struct, frozen=True, gc=False):
    """What came of a wish to sign.

    Attributes:
        record: who signed.
        signature: the signature.
        fresh: it was made now, not found.
        anchored_at: the event that anchors the document; None when no anchor was asked for.
    """

    record: IdentifierRecord
    signature: DocumentSignature
    fresh: bool
    anchored_at: int | None = None


def only_signer(wallet: Wallet) -> IdentifierRecord:
    """Return the one identifier that can sign.

    Raises:
        UsageError: there is none, or more than one (usage.unknown).
    """
    found = []
    for record in wallet.identifiers():
        state = wallet.events.key_state(record.aid)
        if state is not None and not _is_over(state):
            found.append(record)
    if len(found) == 1:
        return found[0]
    what = f"the wallet has {len(found)} identifiers that can sign"
    hint = "name one with --as NAME; see them with: keystead id list"
    if not found:
        what, hint = "the wallet has no identifier that can sign", "keystead id create NAME"
    raise UsageError(ErrorCode.UNKNOWN, what, hint=hint)


def sign_document(
    wallet: Wallet,
    name: str,
    digest: Digest,
    *,
    anchored: bool = False,
    known: DocumentSignature | None = None,
) -> Signed:
    """Sign a document with the keys that the log names last.

    Args:
        wallet: whose.
        name: of the identifier.
        digest: digest of the document.
        anchored: have the log anchor it too, unless an event anchors it already that counts:
            one that needed no key that is compromised by now.
        known: a signature of the document that is there already, to be taken if it is by the same
            keys.

    Raises:
        UsageError: there is no such identifier (usage.unknown), it is to anchor and its log
            allows only rotations (usage.argument), or `known` is by other keys (usage.exists).
        KeystoreError: it was abandoned, waits for its delegator, or too few of its keys may sign
            (keystore.state), or the wallet is behind its published log (keystore.behind).
        StoreError: the note or the anchor cannot be kept.
    """
    settle(wallet, wallet.identifier(name))
    # An anchor is an event; the document alone needs nothing of other identifiers.
    with begun(wallet) if anchored else wallet.store.transaction():
        wallet.check_current()
        record, state = current_signer(wallet, name)
        if known is None:
            signature = _sign(wallet, state, digest)
        else:
            signature = known
            _check_known(wallet, record, state, known)
        # The mark of the anchor names the end of the audit log before the transaction, so the
        # note comes behind it.
        anchored_at = _anchor(wallet, record, state, signature) if anchored else None
        if known is None:
            _note(wallet, record, digest)
    return Signed(record, signature, known is None, anchored_at)


def current_signer(wallet: Wallet, name: str) -> tuple[IdentifierRecord, KeyState]:
    """Return an identifier that may sign, and where its log stands; errors as `sign_document`."""
    record = wallet.identifier(name)
    state = wallet.events.key_state(record.aid)
    if record.pending and state is not None:
        # Until the delegator approves of the rotation the keys of before are in force.
        is_unfinished(wallet, record, state)
        check_state(wallet, record, state)
    else:
        record, state = ready(wallet, name)
    if _is_over(state):
        what = f"{record.name} was abandoned at {state.sn:x}: nobody signs for it any more"
        hint = "make another identifier: keystead id create"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    return record, state


def _is_over(state: KeyState) -> bool:
    """Tell whether the log has ended; one of a single event may have keys for ever."""
    return state.establishment.sn > 0 and not state.establishment.transferable


def _signatory(state: KeyState) -> Signatory:
    last = state.establishment
    if state.aid == last.signing_keys[0].text and not last.signing_keys[0].transferable:
        return state.aid
    return EventSeal(state.aid, last.sn, last.said)


def _sign(wallet: Wallet, state: KeyState, digest: Digest) -> DocumentSignature:
    places, signatory = current_places(wallet, state), _signatory(state)
    raws = wallet.vault.sign_statement(
        statement(digest, signatory), wallet.use([place.key for place in places])
    )
    if not isinstance(signatory, EventSeal):
        key = parse_key(signatory)
        return DocumentSignature(digest, ReceiptCouple(key, Signature(key.suite, raws[0])))
    signatures = tuple(
        indexed.make(Suite[place.key.suite], raw, place.index, ondex=None)
        for place, raw in zip(places, raws, strict=True)
    )
    group = SignatureGroup(signatory.aid, signatory.sn, signatory.said, signatures)
    return DocumentSignature(digest, group)


def _check_known(
    wallet: Wallet, record: IdentifierRecord, state: KeyState, known: DocumentSignature
) -> None:
    if known.signatory == _signatory(state):
        standing = _judged(wallet, known).standing
        if standing in (Standing.CURRENT, Standing.NON_TRANSFERABLE):
            return
    what = (
        f"there is a signature of this document already, not by the current keys of {record.name}"
    )
    hint = "write to another file with -o, or replace it with --force"
    raise UsageError(ErrorCode.EXISTS, what, hint=hint)


def _anchor(
    wallet: Wallet, record: IdentifierRecord, state: KeyState, signature: DocumentSignature
) -> int:
    """Have the log anchor a document, if it does not; return the place of the event."""
    verdict = _judged(wallet, signature)
    if verdict.anchored_at is not None and verdict.exposure is not Exposure.ANCHORED_AFTER:
        return verdict.anchored_at
    if state.establishment.establishment_only:
        what = f"the log of {record.name} allows only rotations"
        hint = f"keystead id rotate {record.name} --anchor {signature.digest}; then sign again"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    return anchor(wallet, record.aid, [DigestSeal(signature.digest)], reason="sign").event.sn


def _judged(wallet: Wallet, signature: DocumentSignature) -> Verdict:
    known = compromises(wallet.events, signature.aid)
    return judge_signature(signature, signature.digest, wallet.events, known)


def _note(wallet: Wallet, record: IdentifierRecord, digest: Digest) -> None:
    """Write into the audit log, which is the history of the identifier, that it signed.

    The digest is sealed there. As the name of a record it would tell what somebody signed.
    """
    batch = wallet.batch()
    note = Note("sign", "a document", digest)
    batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
    batch.write()
