"""Notices of compromised keys: told behind the log, by the keys that replaced them."""

from collections.abc import Sequence

from keystead.cesr import indexed
from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import parse_key
from keystead.custody.records import KeyRecord
from keystead.custody.states import SUSPECT
from keystead.errors import ErrorCode, KeystoreError
from keystead.keri import build
from keystead.keri.keystate import KeyState
from keystead.keri.verdicts import Rejected, Source
from keystead.owner.compromises import compromises, notice_payload, write_notice
from keystead.owner.events import current_places
from keystead.owner.intake import take_in
from keystead.owner.plans import Place
from keystead.owner.restoring import TOLD
from keystead.owner.trust import check_state
from keystead.owner.wallet import IDENTIFIER, KEY, IdentifierRecord, Wallet
from keystead.suites import Suite

COMPROMISE = "compromise"  # the action in the audit log whose reason a notice repeats


def publish_notices(wallet: Wallet, aid: str) -> int:
    """Tell, behind the log, which keys of the past are compromised; inside a transaction.

    The latest keys sign all of it anew, so that a thief of later keys cannot have made it. Where
    the latest keys are compromised too, the next rotation tells of all.

    Returns:
        How many notices are new.
    """
    record = wallet.records.get(IDENTIFIER, aid, IdentifierRecord) if aid else None
    if record is None or not record.suspects:
        return 0  # the usual case costs no walk along the log
    state = wallet.events.key_state(record.aid)
    if state is None or not state.establishment.transferable:
        return 0
    check_state(wallet, record, state)
    suspects = _suspects(wallet, state)
    if not suspects:
        return 0
    try:
        places = current_places(wallet, state)
    except KeystoreError as error:
        if error.code is ErrorCode.LIFE_STATE:
            return 0
        raise
    told = {
        one.signing_key.text: one.first_sn
        for one in compromises(wallet.events, state.aid)
        if one.signer_sn == state.establishment.sn
    }
    count = 0
    for key, first in suspects:
        if told.get(key.public_key) == first:
            continue
        payload = notice_payload(
            state.aid,
            parse_key(key.public_key),
            first_sn=first,
            reason=_reason(wallet, key),
            now=wallet.now(),
        )
        _publish(wallet, places, payload, state)
        count += 1
    return count


def past_keys(wallet: Wallet, state: KeyState) -> dict[str, tuple[int, int]]:
    """Return the keys that signed before the latest keys: from which event, and up to which."""
    spans: dict[str, tuple[int, int]] = {}
    current: tuple[str, ...] = ()
    for accepted in wallet.events.events(state.aid):
        keys, sn = accepted.state.establishment, accepted.event.sn
        if keys.sn != sn:
            continue
        for text in current:
            spans[text] = (spans[text][0], sn)
        current = tuple(key.text for key in keys.signing_keys)
        for text in current:
            spans.setdefault(text, (sn, sn))
    return {text: span for text, span in spans.items() if text not in current}


def _suspects(wallet: Wallet, state: KeyState) -> list[tuple[KeyRecord, int]]:
    """Return the compromised keys of the past, each with the first event to doubt."""
    found = []
    for text, (start, end) in past_keys(wallet, state).items():
        key = wallet.key(build.commitment(parse_key(text)))
        if key is None or key.state not in SUSPECT:
            continue
        since = start if key.exposed_since is None else key.exposed_since
        found.append((key, min(max(since, start), end)))
    return found


def _reason(wallet: Wallet, key: KeyRecord) -> str:
    """Return why a key was marked, in the owner's words, here or in another copy of the wallet."""
    notes = [one.note for one in wallet.records.history(KEY, key.id)]
    told = [note for note in notes if note.action in (COMPROMISE, TOLD)]
    return told[-1].reason if told else ""


def _publish(wallet: Wallet, places: Sequence[Place], payload: bytes, state: KeyState) -> None:
    raws = wallet.vault.sign_statement(payload, wallet.use([place.key for place in places]))
    signatures = tuple(
        indexed.make(Suite[place.key.suite], raw, place.index, ondex=None)
        for place, raw in zip(places, raws, strict=True)
    )
    last = state.establishment
    message = write_notice(payload, SignatureGroup(state.aid, last.sn, last.said, signatures))
    for result in take_in(wallet, [message], own=(state.aid,), source=Source.LOCAL):
        if isinstance(result.verdict, Rejected):
            raise result.verdict.error
