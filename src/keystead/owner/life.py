"""The life of keys: compromised, retired, imported; and what depends on them."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from keystead.cesr import indexed
from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Aid, parse_key
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.impact import Impact, SignedEventRef, Standing, impact
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, SUSPECT, State
from keystead.custody.uri import ImportedUri, format_uri
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.keri import build
from keystead.keri.keystate import KeyState
from keystead.keri.verdicts import Rejected, Source
from keystead.owner.compromises import compromises, notice_payload, write_notice
from keystead.owner.events import current_places
from keystead.owner.intake import take_in
from keystead.owner.keys import put_moved
from keystead.owner.plans import Place
from keystead.owner.records import Note
from keystead.owner.wallet import KEY, Wallet
from keystead.ports.keys import SECRET, KeySource, Plain, Sealed
from keystead.suites import Suite


def find_key(wallet: Wallet, text: str) -> KeyRecord:
    """Return a key by its id, its public half, or the beginning of its id.

    Raises:
        UsageError: there is none, or more than one begins like this (usage.unknown).
    """
    found = wallet.key(text)
    if found is not None:
        return found
    keys = wallet.records.all(KEY, KeyRecord)
    matching = [one for one in keys if text and text in (one.public_key, one.label)]
    if not matching and len(text) >= 6:  # noqa: PLR2004 - shorter ones say too little
        matching = [one for one in keys if one.id.startswith(text)]
    if len(matching) != 1:
        what = f"no key is called {text[:64]}" if not matching else f"{text[:64]} is not one key"
        raise UsageError(ErrorCode.UNKNOWN, what)
    return matching[0]


def compromise(
    wallet: Wallet, key_id: str, *, since: int | None = None, reason: str = ""
) -> KeyRecord:
    """Mark a key as known to somebody else, for good, with all that is derived from it.

    Args:
        wallet: whose.
        key_id: the key.
        since: first sequence number that the thief may have signed; None if nobody knows.
        reason: why, for the audit log and the notice.

    Raises:
        UsageError: there is no such key (usage.unknown).
        KeystoreError: it is marked already (keystore.state).
    """
    with wallet.store.transaction():
        key = find_key(wallet, key_id)
        below = impact_of(wallet, key.id).derived
        note = Note("compromise", reason)
        batch = wallet.batch()
        for one in (key, *(found for found in map(wallet.key, below) if found is not None)):
            if one.id != key.id and one.state in (*GONE, State.COMPROMISED):
                continue
            after = State.DESTROYED_COMPROMISED if one.state in GONE else State.COMPROMISED
            put_moved(wallet, batch, msgspec.structs.replace(one, exposed_since=since), after, note)
        batch.write()
        publish_notices(wallet, key.identifier, reason)
    return find_key(wallet, key.id)


def retire(wallet: Wallet, key_id: str, *, reason: str = "") -> KeyRecord:
    """Take a key out of use, although its log still lists it.

    Raises:
        UsageError: there is no such key (usage.unknown).
        KeystoreError: the log commits to it, or too few others would be left to sign
            (keystore.state).
    """
    with wallet.store.transaction():
        key = find_key(wallet, key_id)
        if key.state in (State.PRE_ACTIVE, State.RESERVE):
            what = "the log commits to this key: it is needed for the next rotation"
            hint = f"rotate, which retires it in time: keystead id rotate {key.identifier}"
            raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        state = wallet.events.key_state(Aid(key.identifier)) if key.identifier else None
        if key.state is State.ACTIVE and state is not None:
            left = [
                place.index for place in current_places(wallet, state) if place.key.id != key.id
            ]
            if not state.establishment.signing_threshold.satisfied_by(frozenset(left)):
                what = "without this key too few would be left to sign"
                hint = (
                    f"rotate, which puts others in their place: keystead id rotate {key.identifier}"
                )
                raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        batch = wallet.batch()
        put_moved(wallet, batch, key, State.DEACTIVATED, Note("retire", reason))
        batch.write()
    return find_key(wallet, key.id)


def import_key(wallet: Wallet, seed: bytes, public_key: str, *, label: str = "") -> KeyRecord:
    """Take over a private key that was made elsewhere, as a key for a coming rotation.

    Args:
        wallet: where to.
        seed: 32 bytes.
        public_key: the public half, as CESR text; the seed must prove to belong to it.
        label: what the owner calls it.

    Raises:
        DecodeError: the public key is none (decode.value).
        KeystoreError: the seed does not belong to it (keystore.possession).
        UsageError: it is here already (usage.exists).
    """
    key = parse_key(public_key)
    digest = build.commitment(key)
    with wallet.store.transaction():
        if wallet.key(digest) is not None:
            raise UsageError(ErrorCode.EXISTS, "this key is in the wallet already")
        batch = wallet.batch()
        name, uri = f"imported.{digest}", format_uri(ImportedUri(digest))
        (sealed,) = wallet.vault.seal([Plain(SECRET, name, batch.next_generation, seed)])
        source = KeySource(uri, key.suite, Sealed(SECRET, name, batch.next_generation, sealed))
        wallet.vault.prove_possession(source, key.raw)
        note = Note("import", evidence="possession proved", after=State.PRE_ACTIVE.value)
        batch.put_secret(name, sealed, note)
        at = wallet.time()
        record = KeyRecord(
            id=digest,
            type=KeyType.IDENTIFIER_SIGN,
            method=Method.IMPORTED,
            state=State.PRE_ACTIVE,
            created_at=at,
            changed_at=at,
            suite=key.suite.name,
            uri=uri,
            parent=name,
            public_key=public_key,
            label=label,
        )
        batch.put(KEY, digest, record, note)
        batch.write()
    return record


def publish_notices(wallet: Wallet, aid: str, reason: str = "") -> int:
    """Tell, behind the log, which keys of the past are compromised; inside a transaction.

    The latest keys sign all of it anew, so that a thief of later keys cannot have made it.

    Returns:
        How many notices there are now.
    """
    state = wallet.events.key_state(Aid(aid)) if aid else None
    if state is None or not state.establishment.transferable:
        return 0
    try:
        places = current_places(wallet, state)
    except KeystoreError:
        return 0  # the latest keys are compromised too: the next rotation tells of all
    told = {one.signing_key.text: one for one in compromises(wallet.events, state.aid)}
    fresh = {text for text, one in told.items() if one.signer_sn == state.establishment.sn}
    count = 0
    for text, (start, end) in past_keys(wallet, state).items():
        key = wallet.key(build.commitment(parse_key(text)))
        if key is None or key.state not in SUSPECT:
            continue
        count += 1
        if text not in fresh:
            since = start if key.exposed_since is None else key.exposed_since
            first = min(max(since, start), end)
            _publish(wallet, places, _payload(wallet, state, text, first, reason), state)
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


def impact_of(wallet: Wallet, key_id: str) -> Impact:
    """Return what depends on a key.

    Raises:
        UsageError: there is no such key (usage.unknown).
    """
    records = wallet.records.all(KEY, KeyRecord)
    aids = {one.identifier for one in records if one.identifier}
    key = next((one for one in records if one.id == key_id), None)
    if key is not None and key.identifier:
        aids = {key.identifier}
    states = {aid: wallet.events.key_state(Aid(aid)) for aid in sorted(aids)}
    known = {aid: state for aid, state in states.items() if state is not None}
    standings: Mapping[str, Standing] = {aid: _standing(state) for aid, state in known.items()}
    events = (event for aid in known for event in _signed_events(wallet, Aid(aid)))
    return impact(key_id, records, events, standings=standings)


def _standing(state: KeyState) -> Standing:
    last = state.establishment
    return Standing(
        current=tuple(build.commitment(key) for key in last.signing_keys),
        next=tuple(last.next_key_digests),
        can_sign=last.signing_threshold.satisfied_by,
        can_rotate=last.next_threshold.satisfied_by,
    )


def _signed_events(wallet: Wallet, aid: Aid) -> Iterator[SignedEventRef]:
    for accepted in wallet.events.events(aid):
        keys = accepted.state.establishment.signing_keys
        signed = {signature.index for signature in accepted.proofs.signatures}
        yield SignedEventRef(
            aid=aid,
            sn=accepted.event.sn,
            said=accepted.event.said,
            kind=accepted.event.message_type,
            keys=tuple(build.commitment(keys[place]) for place in sorted(signed)),
        )


def _payload(wallet: Wallet, state: KeyState, key: str, first_sn: int, reason: str) -> bytes:
    now = wallet.now()
    return notice_payload(state.aid, parse_key(key), first_sn=first_sn, reason=reason, now=now)


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
