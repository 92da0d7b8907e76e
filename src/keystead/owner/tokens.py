"""Tokens that hold keys: made known to the wallet, with their PINs, and forgotten."""

from typing import Final

import msgspec

from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, State
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.owner.keys import find_token
from keystead.owner.records import Batch, Note
from keystead.owner.settlement import begun
from keystead.owner.shredding import needed_keys, put_scrub
from keystead.owner.wallet import (
    KEY,
    TOKEN,
    TokenRecord,
    Wallet,
    checked_name,
    put_end,
    put_own_key,
)
from keystead.ports.keys import SECRET, Plain

# States of keys that may still be wanted, whatever a log says now.
_WAITING: Final = frozenset({State.PRE_ACTIVE, State.RESERVE, State.ACTIVE, State.SUSPENDED})


def tokens(wallet: Wallet) -> list[TokenRecord]:
    """Return the tokens that the wallet knows, by name."""
    return sorted(wallet.records.all(TOKEN, TokenRecord), key=lambda one: one.name)


def check_new(wallet: Wallet, token: TokenRecord) -> None:
    """Check that a token can be called so, before its PIN is asked for.

    Raises:
        UsageError: the name is none (usage.name), or that of another token (usage.exists).
    """
    known = wallet.records.get(TOKEN, checked_name(token.name), TokenRecord)
    if known is not None and (known.module, known.label, known.serial) != (
        token.module,
        token.label,
        token.serial,
    ):
        what = f"there is another token called {token.name}"
        hint = "choose another name, or remove that one: keystead token remove NAME"
        raise UsageError(ErrorCode.EXISTS, what, hint=hint)


def add_token(wallet: Wallet, token: TokenRecord, pin: str) -> bool:
    """Make a token known, with the PIN that opens it; or give a known one its new PIN.

    Args:
        wallet: to which.
        token: which; that it is there and takes the PIN is for the caller to see.
        pin: its PIN.

    Returns:
        Whether it was known already.

    Raises:
        UsageError: the name is none (usage.name), or that of another token (usage.exists).
        KeystoreError: the wallet is behind (keystore.behind).
    """
    token = msgspec.structs.replace(token, name=checked_name(token.name))
    with wallet.store.transaction():
        wallet.check_current()
        check_new(wallet, token)
        known = wallet.records.get(TOKEN, token.name, TokenRecord)
        batch = wallet.batch()
        if known is None:
            batch.put(TOKEN, token.name, token, Note("new token"))
        name = pin_name(token.name)
        _put_ended(wallet, batch, name)
        secret = Plain(SECRET, name, batch.next_generation, pin.encode())
        batch.put_secret(name, wallet.vault.seal([secret])[0], Note("new PIN"))
        put_own_key(wallet, batch, name, KeyType.TOKEN_PIN, Method.IMPORTED)
        batch.write()
        if known is not None:
            put_scrub(wallet, Note("new PIN"))
    return known is not None


def remove_token(wallet: Wallet, name: str, *, reason: str = "") -> None:
    """Forget a token and its PIN; the keys in it stay where they are.

    What is left of the PIN in the files is to be overwritten afterwards:
    `shredding.finish_scrub`.

    Raises:
        UsageError: there is no such token (usage.unknown).
        KeystoreError: identifiers have keys in it (keystore.state), or the wallet is behind
            (keystore.behind), or an event that a crash cut off cannot be finished.
    """
    with begun(wallet):
        token = find_token(wallet, name)
        used = keys_in_use(wallet, token.name)
        if used:
            what = f"{len(used)} keys of identifiers are in the token {token.name}"
            hint = "rotate them away first: keystead id rotate NAME --no-token; twice"
            raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        note, batch = Note("remove token", reason), wallet.batch()
        batch.delete(TOKEN, token.name, note)
        _put_ended(wallet, batch, pin_name(token.name))
        batch.delete(SECRET, pin_name(token.name), note)
        batch.write()
        put_scrub(wallet, note)


def keys_in_use(wallet: Wallet, name: str) -> list[KeyRecord]:
    """Return the keys in a token that identifiers have or will need."""
    found = wallet.records.all(KEY, KeyRecord, checked=True)
    keys = [one for one in found if one.parent == pin_name(name)]
    needed: set[str] = set()
    for aid in {one.identifier for one in keys}:
        needed.update(needed_keys(wallet, aid))
    return [
        one for one in keys if one.state not in GONE and (one.state in _WAITING or one.id in needed)
    ]


def pin_name(token: str) -> str:
    """Return the name of the PIN of a token among secrets and keys."""
    return f"pin.{token}"


def _put_ended(wallet: Wallet, batch: Batch, pin: str) -> None:
    """Write that a PIN opens nothing any more, if there is one."""
    known = wallet.key(pin)
    if known is not None:
        put_end(wallet, batch, known)
