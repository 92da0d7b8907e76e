"""Keys erased for good: no wrapped copy is left in the wallet, and nothing to derive them from.

Keys of one line are links of a chain that can only be followed forward, so a key is erased
together with those of its line before it. The first time, the master seed goes: each of its
identifiers gets a branch of its own, and new identifiers get a new seed.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from keystead.cesr.keys import Aid
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord
from keystead.custody.records import begin as begin_life
from keystead.custody.states import GONE, SUSPECT, State, check_transition
from keystead.custody.uri import DerivedUri, ImportedUri, KeyUri, TokenUri, parse_uri
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keri import build
from keystead.owner.keys import put_moved
from keystead.owner.life import begin_epoch, find_key, keys_of, pending_keys
from keystead.owner.records import Batch, Note
from keystead.owner.settlement import begun, settle
from keystead.owner.wallet import IDENTIFIER, KEY, STATE, IdentifierRecord, Wallet
from keystead.owner.witnesses import keys_of_unwitnessed
from keystead.ports.keys import SECRET, Plain, Sealed

# What to do instead with keys that are not erased by themselves.
_OTHERWISE: Final = {
    KeyType.WALLET_PASSPHRASE: "replace it by a new passphrase: keystead passphrase",
    KeyType.WALLET_DATA: "all that it encrypts goes with the folder of the wallet: delete that",
    KeyType.BRANCH_SEED: "abandon its identifier, and shred the keys of it",
    KeyType.TOKEN_PIN: "forget it with: keystead token remove NAME",
}


def doomed(wallet: Wallet, key: KeyRecord) -> list[KeyRecord]:
    """Return the keys that are erased with a key, itself last.

    A master seed goes alone: keys that were derived from it stay.

    Raises:
        KeystoreError: one of them is in force or needed by a log (keystore.state), or the key is
            not here (keystore.gone), or is not erased by itself (keystore.role).
    """
    if key.type in _OTHERWISE:
        what = f"a key for {key.type} is not shredded by itself"
        raise KeystoreError(ErrorCode.ROLE, what, hint=_OTHERWISE[key.type])
    is_seed = key.type is KeyType.MASTER_SEED
    if key.state in GONE or not (key.uri or is_seed):
        raise KeystoreError(ErrorCode.GONE, f"the private half of {key.id} is not here")
    if is_seed:
        return [key]
    uri = parse_uri(key.uri)
    found = [key]
    if isinstance(uri, DerivedUri) and key.identifier:
        line = keys_of(wallet, Aid(key.identifier))
        found = [*(one for one in line if _is_before(one, uri)), key]
    needed = needed_keys(wallet, key.identifier)
    for one in (key, *found[:-1]):
        if one.id in needed:
            what = f"the key {one.id} {needed[one.id]}"
            hint = f"a rotation retires it, then it can be shredded: keystead id rotate {one.identifier}"
            raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        if one.state in (State.ACTIVE, State.ROTATE_ONLY):
            hint = f"retire it first: keystead key retire {one.id}"
            raise KeystoreError(ErrorCode.LIFE_STATE, f"the key {one.id} is in use", hint=hint)
        check_transition(one.state, _end(one))
    return found


def needed_keys(wallet: Wallet, aid: str) -> dict[str, str]:
    """Return the keys without which an identifier cannot go on, each with what it is needed for."""
    record = wallet.records.get(IDENTIFIER, aid, IdentifierRecord) if aid else None
    if record is None:
        return {}
    needed = dict.fromkeys(pending_keys(record), "is needed by an event that waits for approval")
    state = wallet.events.key_state(record.aid)
    if state is not None and state.establishment.transferable:
        last = state.establishment
        needed |= dict.fromkeys(map(build.commitment, last.signing_keys), "is in force")
        why = "is committed to by the log: without it control would be lost"
        needed |= dict.fromkeys(last.next_key_digests, why)
    if state is not None:
        needed |= keys_of_unwitnessed(wallet, state)
    return needed


def shred(wallet: Wallet, key_id: str, *, reason: str = "") -> list[KeyRecord]:
    """Erase a key and those of its line before it; return them.

    When that is kept nobody can derive them any more. Bytes that are still in the files are
    overwritten after that; if it fails, `finish_scrub` does it later.

    Raises:
        UsageError: there is no such key (usage.unknown).
        KeystoreError: as `doomed`; or its token cannot be used, or the wallet is behind, or an
            event that a crash cut off cannot be finished.
        StoreError: the erasure cannot be kept.
    """
    with begun(wallet):
        key = find_key(wallet, key_id)
        if key.identifier:
            # An event that a crash cut off may need keys that its log does not name yet.
            settle(wallet, wallet.identifier(key.identifier))
            key = find_key(wallet, key.id)
        found = doomed(wallet, key)
        note, batch = Note("shred", reason), wallet.batch()
        _erase(wallet, batch, key, note)
        if key.type is not KeyType.MASTER_SEED:  # it was put down with its erasure
            for one in found:
                put_moved(wallet, batch, msgspec.structs.replace(one, uri=""), _end(one), note)
        batch.write()
        put_scrub(wallet, note)
    with suppress(StoreError):
        finish_scrub(wallet)
    return [wallet.key(one.id) or one for one in found]


def put_scrub(wallet: Wallet, note: Note) -> None:
    """Write down that what was erased has to be overwritten, inside a transaction."""
    batch = wallet.batch()
    state = msgspec.structs.replace(wallet.state(), scrub=True)
    batch.put(STATE, "wallet", state, note)
    batch.write()


def finish_scrub(wallet: Wallet) -> None:
    """Overwrite what was erased, also in the log of writes; finishes what a crash left.

    Raises:
        StoreError: somebody else uses the wallet just now (store.busy), store.full, store.io.
    """
    if not wallet.state().scrub:
        return
    before = wallet.store.audit_head()
    wallet.store.scrub()
    with wallet.store.transaction():
        if wallet.store.audit_head() != before:
            return  # another command wrote meanwhile, and may have erased more
        batch = wallet.batch()
        state = msgspec.structs.replace(wallet.state(), scrub=False)
        batch.put(STATE, "wallet", state, Note("scrub"))
        batch.write()


def _erase(wallet: Wallet, batch: Batch, key: KeyRecord, note: Note) -> None:
    """Erase what a key is found with, and write what is left of it."""
    if key.type is KeyType.MASTER_SEED:
        _part_from_master(wallet, batch, int(key.id.removeprefix("master.")), note)
        return
    uri: KeyUri = parse_uri(key.uri)
    match uri:
        case DerivedUri():
            _part_from_master(wallet, batch, uri.epoch, note)
            batch.write()
            secret = _secret(wallet, f"branch.{uri.epoch}.{uri.identifier}")
            left = wallet.vault.erase(secret, key.uri, batch.next_generation)
            batch.put_secret(secret.id, left, note)
        case ImportedUri():
            batch.delete(SECRET, f"imported.{uri.key}", note)
        case TokenUri():
            # A crash from here on leaves the record of a key that is gone; to shred it again
            # is fine.
            wallet.vault.erase(_secret(wallet, key.parent), key.uri, batch.next_generation)


def _part_from_master(wallet: Wallet, batch: Batch, epoch: int, note: Note) -> None:
    """Give each identifier under a master seed a branch of its own, and forget the seed."""
    name = f"master.{epoch}"
    master, seed = wallet.records.sealed(SECRET, name), wallet.key(name)
    if master is None or seed is None:
        return
    members = _members(wallet, epoch)
    plain = [
        Plain(SECRET, f"branch.{epoch}.{number}", batch.next_generation + place, b"")
        for place, number in enumerate(members)
    ]
    for one, sealed in zip(plain, wallet.vault.branch(master, members, plain), strict=True):
        batch.put_secret(one.id, sealed, note)
    batch.delete(SECRET, name, note)
    after = State.COMPROMISED if seed.state in SUSPECT else State.ACTIVE
    for one in plain:
        _put_branch(wallet, batch, one.id, seed, after)
    begin_epoch(wallet, batch, {name}, note)
    if seed.state is State.ACTIVE:
        seed = put_moved(wallet, batch, seed, State.DEACTIVATED, note)
    put_moved(wallet, batch, seed, _end(seed), note)


def _members(wallet: Wallet, epoch: int) -> Sequence[int]:
    """Return the numbers of identifiers under a seed: those that were, and those that are."""
    numbers = {one.number for one in wallet.identifiers(checked=True) if one.epoch == epoch}
    for key in wallet.records.all(KEY, KeyRecord, checked=True):
        uri = parse_uri(key.uri) if key.uri.startswith(f"derived:{epoch}/") else None
        if isinstance(uri, DerivedUri):
            numbers.add(uri.identifier)
    return sorted(numbers)


def _put_branch(wallet: Wallet, batch: Batch, name: str, seed: KeyRecord, after: State) -> None:
    at = wallet.time()
    branch = KeyRecord(
        id=name,
        type=KeyType.BRANCH_SEED,
        method=Method.DERIVED,
        state=State.PRE_ACTIVE,
        created_at=at,
        changed_at=at,
        parent=seed.id,
    )
    begin_life(branch, actor=wallet.actor, reason="")
    note = Note("new branch")
    batch.put(KEY, name, branch, msgspec.structs.replace(note, after=branch.state.value))
    put_moved(wallet, batch, branch, after, note)


def _is_before(key: KeyRecord, uri: DerivedUri) -> bool:
    """Tell whether a key is an earlier one of the same line, and is still here."""
    if key.state in GONE or not key.uri:
        return False
    other = parse_uri(key.uri)
    return isinstance(other, DerivedUri) and (
        (other.epoch, other.identifier, other.slot) == (uri.epoch, uri.identifier, uri.slot)
        and other.index < uri.index
    )


def _end(key: KeyRecord) -> State:
    return State.DESTROYED_COMPROMISED if key.state in SUSPECT else State.DESTROYED


def _secret(wallet: Wallet, name: str) -> Sealed:
    found = wallet.records.sealed(SECRET, name)
    if found is None:
        raise KeystoreError(ErrorCode.GONE, f"{name} is not here")
    return found
