"""Keys erased for good: no wrapped copy is left in the wallet, and nothing to derive them from.

Keys of one line are links of a chain that can only be followed forward, so a key is erased
together with those of its line before it. The first time, the master seed goes: each of its
identifiers gets a branch of its own, and new identifiers get a new seed.
"""

import msgspec

from keystead.cesr.keys import Digest
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, State, check_transition
from keystead.custody.uri import DerivedUri, ImportedUri, TokenUri, parse_uri
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.owner.keys import put_moved
from keystead.owner.records import Batch, Note
from keystead.owner.wallet import IDENTIFIER, KEY, STATE, IdentifierRecord, Wallet, new_master
from keystead.ports.keys import SECRET, Plain, Sealed

_SUSPECT = frozenset({State.COMPROMISED})


def doomed(wallet: Wallet, key: KeyRecord) -> list[KeyRecord]:
    """Return the keys that are erased with a key, itself last.

    Raises:
        KeystoreError: a log commits to one of them or it is in force (keystore.state), or it is
            gone already (keystore.gone).
    """
    if key.state in GONE or not key.uri:
        raise KeystoreError(ErrorCode.GONE, "the private half of this key is not here")
    uri = parse_uri(key.uri)
    found = [key]
    if isinstance(uri, DerivedUri):
        found = [one for one in _keys_of(wallet, key.identifier) if _is_before(one, uri)] + found
    committed = _committed(wallet, key.identifier)
    for one in found:
        if one.id in committed:
            what = f"the log commits to the key {one.id}: without it control would be lost"
            hint = f"rotate first, and let it be retired: keystead id rotate {key.identifier}"
            raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        check_transition(one.state, _end(one))
    return found


def shred(wallet: Wallet, key_id: str, *, reason: str = "") -> list[KeyRecord]:
    """Erase a key and those of its line before it; return them.

    Raises:
        UsageError: there is no such key (usage.unknown).
        KeystoreError: as `doomed`.
        StoreError: the erasure cannot be kept.
    """
    with wallet.store.transaction():
        key = wallet.key(key_id)
        if key is None:
            raise UsageError(ErrorCode.UNKNOWN, f"there is no key {key_id[:64]}")
        found = doomed(wallet, key)
        note = Note("shred", reason)
        uri = parse_uri(key.uri)
        batch = wallet.batch()
        match uri:
            case DerivedUri():
                _part_from_master(wallet, batch, uri.epoch, note)
                batch.write()
                secret = _secret(wallet, f"branch.{uri.epoch}.{uri.identifier}")
                left = wallet.vault.erase(secret, key.uri, batch.next_generation)
                batch.put_secret(secret.id, left, note)
            case ImportedUri():
                batch.delete(SECRET, key.parent, note)
            case TokenUri():
                wallet.vault.erase(_secret(wallet, key.parent), key.uri, batch.next_generation)
        for one in found:
            bare = msgspec.structs.replace(one, uri="", parent="")
            put_moved(wallet, batch, bare, _end(one), note)
        state = wallet.state()
        batch.put(STATE, "wallet", msgspec.structs.replace(state, scrub=True), note)
        batch.write()
    finish_scrub(wallet)
    return [wallet.key(one.id) or one for one in found]


def finish_scrub(wallet: Wallet) -> None:
    """Overwrite what was erased, also in the log of writes; finishes what a crash left.

    Raises:
        StoreError: somebody else reads the wallet just now (store.busy).
    """
    if not wallet.state().scrub:
        return
    wallet.store.scrub()
    with wallet.store.transaction():
        batch = wallet.batch()
        state = msgspec.structs.replace(wallet.state(), scrub=False)
        batch.put(STATE, "wallet", state, Note("scrub"))
        batch.write()


def _part_from_master(wallet: Wallet, batch: Batch, epoch: int, note: Note) -> None:
    """Give each identifier under a master seed a branch of its own, and forget the seed."""
    name = f"master.{epoch}"
    master = wallet.records.sealed(SECRET, name)
    if master is None:
        return
    members = [one.number for one in wallet.identifiers() if one.epoch == epoch]
    plain = [
        Plain(SECRET, f"branch.{epoch}.{number}", batch.next_generation + place, b"")
        for place, number in enumerate(members)
    ]
    for one, sealed in zip(plain, wallet.vault.branch(master, members, plain), strict=True):
        batch.put_secret(one.id, sealed, note)
    batch.delete(SECRET, name, note)
    at = wallet.time()
    for one in plain:
        branch = KeyRecord(
            id=one.id,
            type=KeyType.BRANCH_SEED,
            method=Method.DERIVED,
            state=State.PRE_ACTIVE,
            created_at=at,
            changed_at=at,
            parent="wallet.data",
        )
        put_moved(wallet, batch, branch, State.ACTIVE, note)
    seed = wallet.key(name)
    if seed is not None:
        retired = seed
        if seed.state is State.ACTIVE:
            retired = put_moved(wallet, batch, seed, State.DEACTIVATED, note)
        put_moved(wallet, batch, retired, _end(retired), note)
    state = wallet.state()
    if state.epoch == epoch:
        new_master(wallet, batch, epoch + 1)
        following = msgspec.structs.replace(state, epoch=epoch + 1, identifiers=0)
        batch.put(STATE, "wallet", following, note)


def _keys_of(wallet: Wallet, aid: str) -> list[KeyRecord]:
    return [one for one in wallet.records.all(KEY, KeyRecord) if one.identifier == aid]


def _is_before(key: KeyRecord, uri: DerivedUri) -> bool:
    """Tell whether a key is an earlier one of the same line, and is still here."""
    if key.state in GONE or not key.uri:
        return False
    other = parse_uri(key.uri)
    return isinstance(other, DerivedUri) and (
        (other.epoch, other.identifier, other.slot) == (uri.epoch, uri.identifier, uri.slot)
        and other.index < uri.index
    )


def _committed(wallet: Wallet, aid: str) -> frozenset[Digest]:
    """Return the keys that the log of an identifier, or its pending event, needs."""
    record = wallet.records.get(IDENTIFIER, aid, IdentifierRecord) if aid else None
    if record is None:
        return frozenset()
    state = wallet.events.key_state(record.aid)
    committed = frozenset() if state is None else frozenset(state.establishment.next_key_digests)
    if not record.pending:
        return committed
    event = msgspec.json.decode(record.pending)
    return committed | frozenset(event.get("n", ()))


def _end(key: KeyRecord) -> State:
    return State.DESTROYED_COMPROMISED if key.state in _SUSPECT else State.DESTROYED


def _secret(wallet: Wallet, name: str) -> Sealed:
    found = wallet.records.sealed(SECRET, name)
    if found is None:
        raise KeystoreError(ErrorCode.GONE, f"{name} is not here")
    return found
