"""Passphrases: how often they may be tried, and how one replaces another."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec

from keystead.custody.catalogue import KeyType, Method
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.owner.records import Note
from keystead.owner.wallet import STATE, Wallet, envelope_digest, put_end, put_own_key
from keystead.ports.wallet import Envelope, WalletStore

FREE_TRIES: Final = 5
LONGEST_WAIT: Final = 3600  # seconds


class GuardedStore(WalletStore, Protocol):
    """A wallet's store, with what guards it."""

    def envelope(self) -> Envelope:
        """Return how the data key is wrapped."""

    def set_envelope(self, envelope: Envelope) -> None:
        """Replace how the data key is wrapped, inside `transaction`."""

    def attempts(self) -> tuple[int, int]:
        """Return how many passphrases did not fit since the last that did, and when last (s)."""

    def set_attempts(self, failed: int, last_at: int) -> None:
        """Keep how many passphrases did not fit, inside `transaction`."""


def unlock(
    store: GuardedStore, open_envelope: Callable[[Envelope], bytes], *, now: datetime
) -> bytes:
    """Return the data key, if the passphrase fits and may be tried.

    The try is counted before it is made, so that nobody gets around it by a kill.

    Args:
        store: of the wallet.
        open_envelope: tries a passphrase.
        now: the time.

    Raises:
        KeystoreError: it does not fit (keystore.passphrase), or too many did not fit just before
            (keystore.back_off).
        StoreError: the try cannot be counted.
    """
    at = int(now.timestamp())
    with store.transaction():
        failed, last_at = store.attempts()
        left = seconds_to_wait(failed) - max(0, at - last_at)
        if left <= 0:
            store.set_attempts(failed + 1, at)
        elif at < last_at:
            # The clock was set back: the wait begins again, and does not last until the clock is
            # where it was, which may be years.
            store.set_attempts(failed, at)
    if left > 0:
        what = f"{failed} passphrases did not fit: the next can be tried in {left} seconds"
        raise KeystoreError(ErrorCode.BACK_OFF, what, seconds=left)
    data_key = open_envelope(store.envelope())
    with store.transaction():
        store.set_attempts(0, at)
    return data_key


def seconds_to_wait(failed: int) -> int:
    """Return how long after so many wrong passphrases the next has to wait."""
    if failed < FREE_TRIES:
        return 0
    return min(LONGEST_WAIT, 1 << min(failed - FREE_TRIES, 12))


def check_envelope(wallet: Wallet, store: GuardedStore) -> None:
    """Check that no older envelope was put back, which an older passphrase would open.

    Raises:
        KeystoreError: it is not the latest (keystore.tampered).
    """
    with store.transaction():  # so that no other command changes the one or the other meanwhile
        if envelope_digest(store.envelope()) != wallet.state().envelope:
            what = "an older passphrase was put back into the wallet"
            raise KeystoreError(ErrorCode.TAMPERED, what)


def change_passphrase(
    wallet: Wallet, store: GuardedStore, *, before: Envelope, after: Envelope
) -> None:
    """Replace how the data key is wrapped; a crash leaves the one or the other.

    What is left of the old envelope is to be overwritten afterwards: `shredding.finish_scrub`.

    Args:
        wallet: the wallet, open.
        store: its store.
        before: the envelope that was opened.
        after: the same data key, wrapped anew.

    Raises:
        StoreError: another command has changed it meanwhile (store.busy), or the change cannot be
            kept.
    """
    with store.transaction():
        if store.envelope() != before:
            what = "the passphrase was changed by another command just now"
            raise StoreError(ErrorCode.STORE_BUSY, what)
        store.set_envelope(after)
        batch = wallet.batch()
        kind = KeyType.WALLET_PASSPHRASE
        old = wallet.key(kind)
        if old is not None:
            put_end(wallet, batch, old)
        put_own_key(wallet, batch, kind, kind, Method.PASSPHRASE)
        state = wallet.state()
        state = msgspec.structs.replace(state, scrub=True, envelope=envelope_digest(after))
        batch.put(STATE, "wallet", state, Note("new passphrase"))
        batch.write()
