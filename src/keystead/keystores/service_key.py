"""The key of a server, such as a witness: one Ed25519 seed in a file, sealed by a passphrase.

The identifier of the server is the public key itself (basic derivation, non-transferable), so
that it cannot rotate: a server whose key is stolen is replaced by another server.
"""

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from keystead import suites
from keystead.cesr.keys import Aid, make_key
from keystead.errors import ErrorCode, KeystoreError, StoreError, UsageError
from keystead.keystores import envelope
from keystead.ports.wallet import Envelope
from keystead.suites import Suite

_MOST_BYTES: Final = 4096  # of the file: one envelope
_MAKE: Final = "make it with: keystead witness init --home F, or keystead watcher init"
_EXISTS: Final = "name another folder with --home, or start this one with: keystead witness serve"


class ServiceKey:
    """A key in use; it is in the memory of this process.

    Attributes:
        aid: the identifier of the server.
    """

    def __init__(self, seed: bytes) -> None:
        """Use the key of a seed of 32 bytes."""
        self._secret = suites.ed25519_secret(seed)
        self.aid = _aid(seed)

    @classmethod
    def create(cls, path: Path, passphrase: bytes, *, profile: str = "low-memory") -> "ServiceKey":
        """Make a new key and keep it in a new file.

        Args:
            path: the file; its folder is there.
            passphrase: in its normal form.
            profile: how much one try of the passphrase costs, as for wallets.

        Raises:
            UsageError: there is a file (usage.exists).
            StoreError: it cannot be kept (store.io).
            KeystoreError: there is not enough memory (keystore.kdf).
        """
        seed = secrets.token_bytes(suites.SEED_BYTES)
        sealed = msgspec.json.encode(envelope.make(_aid(seed), seed, passphrase, profile))
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError:
            what = f"there is a key in {path}"
            raise UsageError(ErrorCode.EXISTS, what, hint=_EXISTS) from None
        except OSError as error:
            what = f"cannot keep the key in {path}: {error.strerror}"
            raise StoreError(ErrorCode.STORE_IO, what) from None
        return cls(seed)

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> "ServiceKey":
        """Open the key that is kept in a file.

        Raises:
            StoreError: there is none (store.missing), or it cannot be read (store.io).
            KeystoreError: the passphrase does not fit (keystore.passphrase), or the file was
                changed (keystore.tampered, keystore.kdf).
        """
        sealed = read_envelope(path)
        try:
            seed = envelope.open_with(sealed, passphrase)
        except KeystoreError as error:
            if error.code is not ErrorCode.PASSPHRASE:
                raise
            what = f"the passphrase does not open the key in {path}"
            raise KeystoreError(ErrorCode.PASSPHRASE, what) from None
        if _aid(seed) != sealed.wallet:
            raise KeystoreError(ErrorCode.TAMPERED, f"the key in {path} is not that of its name")
        return cls(seed)

    def sign(self, payload: bytes) -> bytes:
        """Return the signature over `payload`, 64 bytes; the same payload gives the same."""
        return suites.sign_ed25519(self._secret, payload)


def read_envelope(path: Path) -> Envelope:
    """Return how a key is sealed; its `wallet` is the identifier of the server.

    Raises:
        StoreError: there is none (store.missing), or it cannot be read (store.io).
        KeystoreError: it is no such file (keystore.tampered).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        what = f"there is no key in {path}"
        raise StoreError(ErrorCode.STORE_MISSING, what, hint=_MAKE) from None
    except OSError as error:
        what = f"cannot read the key in {path}: {error.strerror}"
        raise StoreError(ErrorCode.STORE_IO, what) from None
    try:
        return msgspec.json.decode(data, type=Envelope)
    except msgspec.MsgspecError:
        raise KeystoreError(ErrorCode.TAMPERED, f"{path} holds no key") from None


def _aid(seed: bytes) -> Aid:
    raw = suites.public_key(Suite.ED25519, seed)
    return Aid(make_key(Suite.ED25519, raw, transferable=False).text)
