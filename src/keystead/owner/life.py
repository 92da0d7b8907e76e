"""The life of keys: found, compromised, retired, imported; and what depends on them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from keystead.cesr.keys import KEY_PATTERN, Aid, parse_key
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.impact import Impact, SignedEventRef, Standing, impact
from keystead.custody.records import KeyRecord
from keystead.custody.records import begin as begin_life
from keystead.custody.states import GONE, SUSPECT, State
from keystead.custody.uri import DerivedUri, ImportedUri, format_uri, parse_uri
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.keri import build
from keystead.keri.keystate import KeyState
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.keys import put_moved
from keystead.owner.notices import COMPROMISE, publish_notices
from keystead.owner.plans import SUITES
from keystead.owner.records import Batch, Note
from keystead.owner.settlement import begun, settle
from keystead.owner.wallet import (
    IDENTIFIER,
    KEY,
    STATE,
    IdentifierRecord,
    Wallet,
    new_master,
)
from keystead.ports.keys import SECRET, KeySource, Plain, Sealed

SHORTEST_BEGINNING: Final = 6  # characters of an id that may stand for it
# Each opens something that a thief must have as well: the wallet, the token. So what is behind it
# is not known to him with it alone.
_OPENERS: Final = frozenset({KeyType.WALLET_PASSPHRASE, KeyType.TOKEN_PIN})


def find_key(wallet: Wallet, text: str) -> KeyRecord:
    """Return a key by its id, its public half, its label, or the beginning of its id.

    Raises:
        UsageError: there is none, or more than one is called so (usage.unknown).
    """
    found = wallet.key(text) if text else None
    if found is None and KEY_PATTERN.fullmatch(text):
        found = wallet.key(build.commitment(parse_key(text)))
    if found is not None:
        return found
    ids = [one.id for one in wallet.records.all(KEY, KeyRecord) if text and one.label == text]
    if not ids and len(text) >= SHORTEST_BEGINNING:
        ids = [row.id for row in wallet.store.rows(KEY) if row.id.startswith(text)]
    matching = [one for one in map(wallet.key, ids) if one is not None]
    if len(matching) == 1:
        return matching[0]
    shown = text[:64]
    if matching:
        what = f"{len(matching)} keys are called {shown}, or begin so"
        raise UsageError(ErrorCode.UNKNOWN, what, hint="give more of the id: keystead key list")
    hint = f"give an id, {SHORTEST_BEGINNING} or more characters of it, a public key, or a label"
    raise UsageError(ErrorCode.UNKNOWN, f"no key is called {shown}", hint=hint)


def keys_of(wallet: Wallet, aid: Aid) -> list[KeyRecord]:
    """Return the keys that an identifier's log, or its event that waits, ever named."""
    ids: dict[str, None] = {}
    for accepted in wallet.events.events(aid):
        last = accepted.state.establishment
        if last.sn == accepted.event.sn:
            ids.update(dict.fromkeys(build.commitment(key) for key in last.signing_keys))
            ids.update(dict.fromkeys(last.next_key_digests))
    record = wallet.records.get(IDENTIFIER, aid, IdentifierRecord)
    if record is not None:
        ids.update(dict.fromkeys(pending_keys(record)))
    found = [wallet.key(one) for one in ids]
    return [one for one in found if one is not None and one.identifier == aid]


def pending_keys(record: IdentifierRecord) -> list[str]:
    """Return the keys that an event names which waits for its delegator."""
    if not record.pending:
        return []
    event = msgspec.json.decode(record.pending)
    exposed = [build.commitment(parse_key(text)) for text in event.get("k", ())]
    return [*exposed, *event.get("n", ())]


def compromise(
    wallet: Wallet, key_id: str, *, since: int | None = None, reason: str = ""
) -> list[KeyRecord]:
    """Mark a key as known to somebody else, for good, with all that he can get with it.

    Identifiers whose keys he can derive get their next keys from a new seed from now on. Of keys
    that were replaced already, notices are published.

    Args:
        wallet: whose.
        key_id: the key, as for `find_key`.
        since: first sequence number that the thief may have signed; None if nobody knows.
        reason: why, for the audit log and the notices.

    Returns:
        The keys that were marked, this one first.

    Raises:
        UsageError: there is no such key (usage.unknown), or a reason or place that cannot be
            (usage.argument).
        KeystoreError: it is marked already (keystore.state), or the wallet is behind
            (keystore.behind).
    """
    if len(reason) > DEFAULT_LIMITS.url or not reason.isprintable():
        what = f"a reason is one line of at most {DEFAULT_LIMITS.url} printable characters"
        raise UsageError(ErrorCode.ARGUMENT, what)
    with begun(wallet):
        key = find_key(wallet, key_id)
        _check_since(wallet, key, since)
        below = _below(wallet, key)
        homeless = _identifiers_below(wallet, [key, *below])
        # An event that a crash cut off can be finished only with keys that are still good.
        for name in dict.fromkeys([key.identifier, *(one.aid for one in homeless)]):
            if name:
                settle(wallet, wallet.identifier(name))
        key = find_key(wallet, key.id)
        note, batch = Note(COMPROMISE, reason), wallet.batch()
        marked = [_put_compromised(wallet, batch, key, note, since)]
        marked += [
            _put_compromised(wallet, batch, one, note, None)
            for one in _below(wallet, key)
            if one.state not in SUSPECT
        ]
        _move_away(wallet, batch, homeless, {one.id for one in marked}, note)
        batch.write()
        aids = [aid for aid in dict.fromkeys(one.identifier for one in marked) if aid]
        _put_suspects(wallet, aids, note)
        for aid in aids:
            publish_notices(wallet, aid)
    return marked


def _put_suspects(wallet: Wallet, aids: Sequence[str], note: Note) -> None:
    """Write down for whose logs notices have to be published from now on."""
    batch = wallet.batch()
    for aid in aids:
        record = wallet.records.get(IDENTIFIER, aid, IdentifierRecord)
        if record is not None and not record.suspects:
            known = msgspec.structs.replace(record, suspects=True)
            batch.put(IDENTIFIER, aid, known, note, tag=record.name)
    batch.write()


def retire(wallet: Wallet, key_id: str, *, reason: str = "") -> KeyRecord:
    """Take a key out of use, although its log still lists it; repeating it changes nothing.

    A retired master seed makes no keys for new identifiers; those that it made go on.

    Raises:
        UsageError: there is no such key (usage.unknown).
        KeystoreError: it is needed, gone or compromised (keystore.state), or the wallet is behind
            (keystore.behind).
    """
    with begun(wallet):
        key = find_key(wallet, key_id)
        if key.identifier:
            settle(wallet, wallet.identifier(key.identifier))
            key = find_key(wallet, key.id)
        if key.state is not State.DEACTIVATED:
            _check_retirable(wallet, key)
        note, batch = Note("retire", reason), wallet.batch()
        put_moved(wallet, batch, key, State.DEACTIVATED, note)
        if key.type is KeyType.MASTER_SEED and key.state is State.ACTIVE:
            begin_epoch(wallet, batch, {key.id}, note)
        batch.write()
    return find_key(wallet, key.id)


def import_key(wallet: Wallet, seed: bytes, public_key: str, *, label: str = "") -> KeyRecord:
    """Take over a private key that was made elsewhere, as a key for a coming rotation.

    It serves no identifier until one commits to it. One that an identifier committed to before,
    as a key in reserve, can sign the next rotation.

    Args:
        wallet: where to.
        seed: 32 bytes.
        public_key: the public half, as CESR text; the seed must prove to belong to it.
        label: what the owner calls it.

    Raises:
        DecodeError: the public key is none (decode.value).
        KeystoreError: the seed does not belong to it (keystore.possession), or the wallet is
            behind (keystore.behind).
        UsageError: it is here already (usage.exists), or cannot be a next key, or its label is
            none (usage.argument).
    """
    key = parse_key(public_key)
    if not key.transferable or key.suite not in SUITES:
        what = "this is no key that can be a next key of an identifier"
        hint = "give an Ed25519, P-256 or secp256k1 key with the code for keys that can rotate"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        what = f"a label has at most {_LONGEST_LABEL} printable characters"
        raise UsageError(ErrorCode.ARGUMENT, what)
    digest = build.commitment(key)
    with begun(wallet):
        known = wallet.key(digest)
        if known is not None and (known.uri or known.state is not State.RESERVE):
            what = f"this key is in the wallet already, and {known.state}"
            hint = f"see it with: keystead key show {digest}"
            raise UsageError(ErrorCode.EXISTS, what, hint=hint)
        batch = wallet.batch()
        name, uri = f"imported.{digest}", format_uri(ImportedUri(digest))
        (sealed,) = wallet.vault.seal([Plain(SECRET, name, batch.next_generation, seed)])
        source = KeySource(uri, key.suite, Sealed(SECRET, name, batch.next_generation, sealed))
        wallet.vault.prove_possession(source, key.raw)
        note = Note("import", "its possession was proved")
        batch.put_secret(name, sealed, note)
        at = wallet.time()
        record = known or KeyRecord(
            id=digest,
            type=KeyType.IDENTIFIER_SIGN,
            method=Method.IMPORTED,
            state=State.PRE_ACTIVE,
            created_at=at,
            changed_at=at,
        )
        record = msgspec.structs.replace(
            record,
            method=Method.IMPORTED,
            suite=key.suite.name,
            uri=uri,
            parent=KeyType.WALLET_DATA.value,
            public_key=public_key,
            label=label,
        )
        if known is None:
            begin_life(record, actor=wallet.actor, reason=note.reason)
            note = msgspec.structs.replace(note, after=record.state.value)
        batch.put(KEY, digest, record, note)
        batch.write()
    return record


_LONGEST_LABEL: Final = 64


def impact_of(wallet: Wallet, key_id: str) -> Impact:
    """Return what depends on a key.

    Raises:
        UsageError: there is no such key (usage.unknown).
    """
    key = find_key(wallet, key_id)
    if key.type is KeyType.IDENTIFIER_SIGN or key.identifier:
        # Nothing is below such a key, so the other identifiers need not be looked through.
        records = keys_of(wallet, Aid(key.identifier)) if key.identifier else [key]
    else:
        records = inventory(wallet)
    aids = sorted({one.identifier for one in records if one.identifier})
    states = {aid: wallet.events.key_state(Aid(aid)) for aid in aids}
    known = {aid: state for aid, state in states.items() if state is not None}
    standings: Mapping[str, Standing] = {aid: _standing(state) for aid, state in known.items()}
    events = (event for aid in known for event in _signed_events(wallet, Aid(aid)))
    return impact(key.id, records, events, standings=standings)


def inventory(wallet: Wallet) -> list[KeyRecord]:
    """Return all keys, each below the one that derives or wraps it now.

    When a master seed is erased its identifiers get branches, and their keys are derived from
    those. What is gone stays below the seed that could derive it.
    """
    found = wallet.records.all(KEY, KeyRecord, checked=True)
    branches = {one.id for one in found if one.type is KeyType.BRANCH_SEED}
    return [_placed(one, branches) for one in found]


def begin_epoch(wallet: Wallet, batch: Batch, lost: set[str], note: Note) -> None:
    """Have new identifiers made from a new seed, if the one that makes them is among `lost`."""
    counted = wallet.state()
    if f"master.{counted.epoch}" in lost:
        new_master(wallet, batch, counted.epoch + 1)
        counted = msgspec.structs.replace(counted, epoch=counted.epoch + 1, identifiers=0)
        batch.put(STATE, "wallet", counted, note)


def _placed(key: KeyRecord, branches: set[str]) -> KeyRecord:
    uri = parse_uri(key.uri) if branches and key.uri else None
    if isinstance(uri, DerivedUri):
        branch = f"branch.{uri.epoch}.{uri.identifier}"
        if branch in branches:
            return msgspec.structs.replace(key, parent=branch)
    return key


def _below(wallet: Wallet, key: KeyRecord) -> list[KeyRecord]:
    """Return the keys that somebody who has a key has with it."""
    if key.identifier:
        return []
    children: defaultdict[str, list[KeyRecord]] = defaultdict(list)
    for one in inventory(wallet):
        children[one.parent].append(one)
    found, waiting = {key.id: key}, [key]
    while waiting:
        one = waiting.pop()
        if one.type in _OPENERS:
            continue
        new = [child for child in children[one.id] if child.id not in found]
        found.update({child.id: child for child in new})
        waiting.extend(new)
    return list(found.values())[1:]


def _identifiers_below(wallet: Wallet, keys: Iterable[KeyRecord]) -> list[IdentifierRecord]:
    """Return the identifiers whose coming keys are derived from one of these."""
    seeds = {one.id for one in keys if one.type in (KeyType.MASTER_SEED, KeyType.BRANCH_SEED)}
    if not seeds:
        return []
    return [
        one
        for one in wallet.identifiers(checked=True)
        if {f"master.{one.epoch}", f"branch.{one.epoch}.{one.number}"} & seeds
    ]


def _put_compromised(
    wallet: Wallet, batch: Batch, key: KeyRecord, note: Note, since: int | None
) -> KeyRecord:
    exposed = msgspec.structs.replace(key, exposed_since=since)
    if key.state not in SUSPECT:
        after = State.DESTROYED_COMPROMISED if key.state in GONE else State.COMPROMISED
        return put_moved(wallet, batch, exposed, after, note)
    if since is None or since == key.exposed_since:
        what = f"the key is {key.state} already"
        hint = "name another event with --since to change from where on its events are doubted"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    batch.put(KEY, key.id, exposed, note)
    return exposed


def _move_away(
    wallet: Wallet,
    batch: Batch,
    identifiers: Sequence[IdentifierRecord],
    lost: set[str],
    note: Note,
) -> None:
    """Have identifiers get their coming keys from a seed that nobody else has."""
    begin_epoch(wallet, batch, lost, note)
    batch.write()
    if not identifiers:
        return
    counted = wallet.state()
    for number, one in enumerate(identifiers, counted.identifiers):
        record = msgspec.structs.replace(
            wallet.identifier(one.aid), epoch=counted.epoch, number=number
        )
        batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
    after = counted.identifiers + len(identifiers)
    counted = msgspec.structs.replace(counted, identifiers=after)
    batch.put(STATE, "wallet", counted, note)


def _check_since(wallet: Wallet, key: KeyRecord, since: int | None) -> None:
    if since is None:
        return
    state = wallet.events.key_state(Aid(key.identifier)) if key.identifier else None
    if state is None or not 0 <= since <= state.sn + 1:
        what = "the key signs for no log" if state is None else "the log has no such event"
        raise UsageError(ErrorCode.ARGUMENT, f"{what}: {since:x} cannot be where a thief began")


_REPLACED_BY: Final = {
    KeyType.WALLET_PASSPHRASE: "give the wallet a new passphrase: keystead passphrase",
    KeyType.WALLET_DATA: "make another wallet, and rotate to keys of it",
    KeyType.BRANCH_SEED: "abandon its identifier: keystead id abandon NAME",
    KeyType.TOKEN_PIN: "remove the token: keystead token remove NAME",
}


def _check_retirable(wallet: Wallet, key: KeyRecord) -> None:
    """Check that a key can be taken out of use.

    Raises:
        KeystoreError: it cannot (keystore.state).
    """
    hint = _REPLACED_BY.get(key.type)
    if hint is not None:
        what = f"a key for {key.type} is not retired by itself"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    if key.state in (State.PRE_ACTIVE, State.RESERVE):
        what = "no log names this key yet, so there is nothing to retire it from"
        hint = f"erase it, if it is not needed: keystead key shred {key.id}"
        if key.identifier:
            what = "the log commits to this key: the next rotation needs it"
            hint = f"rotate twice, which retires it: keystead id rotate {key.identifier}"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    state = wallet.events.key_state(Aid(key.identifier)) if key.identifier else None
    if key.state is State.ACTIVE and state is not None and _is_needed(wallet, state, key):
        what = "without this key too few would be left to sign"
        hint = f"rotate, which retires it: keystead id rotate {key.identifier}"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)


def _is_needed(wallet: Wallet, state: KeyState, key: KeyRecord) -> bool:
    """Tell whether the keys that sign for a log now are enough with a key, and not without it."""
    last = state.establishment
    if not last.transferable:
        return False  # nothing can follow, so this is the end of its use
    ids = [build.commitment(public) for public in last.signing_keys]
    found = {place: wallet.key(one) for place, one in enumerate(ids)}
    active = [
        place for place, one in found.items() if one is not None and one.state is State.ACTIVE
    ]
    without = frozenset(place for place in active if ids[place] != key.id)
    enough = last.signing_threshold.satisfied_by
    return enough(frozenset(active)) and not enough(without)


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
