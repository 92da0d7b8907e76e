"""Passphrases and how often they may be tried."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from keystead.errors import ErrorCode, KeystoreError
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
        # A clock that was set back must not let anybody in, nor keep the owner out for long.
        waited = max(0, at - last_at)
        wait = seconds_to_wait(failed) - waited
        if wait > 0:
            what = f"{failed} passphrases did not fit: the next can be tried in {wait} seconds"
            raise KeystoreError(ErrorCode.BACK_OFF, what, seconds=wait)
        store.set_attempts(failed + 1, at)
    data_key = open_envelope(store.envelope())
    with store.transaction():
        store.set_attempts(0, at)
    return data_key


def seconds_to_wait(failed: int) -> int:
    """Return how long after so many wrong passphrases the next has to wait."""
    if failed < FREE_TRIES:
        return 0
    return min(LONGEST_WAIT, 1 << min(failed - FREE_TRIES, 12))
