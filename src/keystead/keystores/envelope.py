"""The envelope of a wallet: its random data key, wrapped by a key made from the passphrase.

A new passphrase wraps the same data key anew, so no record has to be written again.
"""

import math
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores.derivation import derive
from keystead.keystores.passphrase import PROFILES, SALT_BYTES, KdfParameters, derive_key
from keystead.keystores.sealing import KEY_BYTES
from keystead.ports.wallet import Envelope

_VERSION: Final = 1
_NONCE_BYTES: Final = 24
_ENOUGH_SECONDS: Final = 0.7  # for one try of a passphrase
_MOST_PASSES: Final = 10


def new_wallet_id() -> str:
    """Return a random name for a wallet; it tells nothing about its owner."""
    return secrets.token_hex(16)


def new_data_key() -> bytes:
    """Return the data key of a new wallet."""
    return secrets.token_bytes(KEY_BYTES)


def make(
    wallet: str,
    data_key: bytes,
    passphrase: bytes,
    profile: str,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Envelope:
    """Wrap a data key by a passphrase, with parameters of a profile and new salt.

    Where that takes less than 0.7 s, more passes are made, up to ten. The profile for machines
    with little memory is taken as it is: they are slow enough.

    Args:
        wallet: the id of the wallet.
        data_key: 32 bytes.
        passphrase: in its normal form.
        profile: one of `PROFILES`.
        clock: seconds.

    Raises:
        KeystoreError: there is not enough memory (keystore.kdf).
    """
    salt = secrets.token_bytes(SALT_BYTES)
    parameters = KdfParameters(**PROFILES[profile]._asdict(), salt=salt)
    begin = clock()
    envelope = close(wallet, data_key, passphrase, parameters)
    passes = parameters.passes
    if profile != "low-memory":
        passes = stretched(passes, clock() - begin)
    if passes == parameters.passes:
        return envelope
    return close(wallet, data_key, passphrase, msgspec.structs.replace(parameters, passes=passes))


def stretched(passes: int, seconds: float) -> int:
    """Return how many passes take 0.7 s, if some number of them took fewer seconds."""
    if seconds >= _ENOUGH_SECONDS:
        return passes
    return max(passes, min(_MOST_PASSES, math.ceil(passes * _ENOUGH_SECONDS / seconds)))


def close(wallet: str, data_key: bytes, passphrase: bytes, parameters: KdfParameters) -> Envelope:
    """Wrap a data key by a passphrase.

    Raises:
        KeystoreError: the parameters are out of bounds (keystore.kdf).
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    bare = Envelope(
        wallet,
        _VERSION,
        parameters.memory_kib,
        parameters.passes,
        parameters.lanes,
        parameters.salt,
        b"",
    )
    key = _wrapping_key(passphrase, parameters)
    data = nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(data_key, _about(bare), nonce, key)
    return Envelope(wallet, _VERSION, bare.memory_kib, bare.passes, bare.lanes, bare.salt, data)


def open_with(envelope: Envelope, passphrase: bytes) -> bytes:
    """Return the data key; takes the same time for every wrong passphrase.

    Raises:
        KeystoreError: the passphrase does not fit (keystore.passphrase), or the parameters are
            out of bounds (keystore.kdf).
    """
    parameters = KdfParameters(
        memory_kib=envelope.memory_kib,
        passes=envelope.passes,
        lanes=envelope.lanes,
        salt=envelope.salt,
    )
    key = _wrapping_key(passphrase, parameters)
    nonce, data = envelope.data[:_NONCE_BYTES], envelope.data[_NONCE_BYTES:]
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(data, _about(envelope), nonce, key)
    except (CryptoError, ValueError):
        what = "the passphrase does not open this wallet"
        raise KeystoreError(ErrorCode.PASSPHRASE, what) from None


def _wrapping_key(passphrase: bytes, parameters: KdfParameters) -> bytes:
    return derive(derive_key(passphrase, parameters), "wallet envelope")


def _about(envelope: Envelope) -> bytes:
    """Return what is authenticated with the data key: everything beside it."""
    numbers = (envelope.version, envelope.memory_kib, envelope.passes, envelope.lanes)
    text = "|".join([envelope.wallet, *map(str, numbers), envelope.salt.hex()])
    return b"keystead envelope " + text.encode()
