"""Records sealed under the data key of a wallet: one AEAD each, bound to what the record is.

XChaCha20-Poly1305 with a random nonce of 24 bytes. Kind, id, generation and wallet are
authenticated with the record, so it cannot stand in for another one, or for a later version.
"""

import hmac
import secrets
from hashlib import sha256
from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores.derivation import derive
from keystead.ports.keys import SECRET, Plain, Sealed

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 24


class DataKey:
    """The data key of a wallet, which seals its records."""

    def __init__(self, wallet: str, key: bytes | bytearray) -> None:
        """Derive a key for each purpose from the 32 bytes of the data key, which is not kept."""
        self.wallet = wallet
        self._records = derive(key, "wallet records")
        self._secrets = derive(key, "wallet secrets")
        self._tags = derive(key, "wallet tags")
        self.marks_key = derive(key, "wallet marks")

    def seal(self, record: Plain) -> bytes:
        """Return nonce and ciphertext of a record."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        about = self._about(record)
        key = self._key_for(record.kind)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(record.data, about, nonce, key)

    def open(self, record: Sealed) -> bytes:
        """Return the content of a record.

        Raises:
            KeystoreError: the record is not what was sealed under its name (keystore.tampered).
        """
        nonce, data = record.data[:_NONCE_BYTES], record.data[_NONCE_BYTES:]
        key = self._key_for(record.kind)
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(data, self._about(record), nonce, key)
        except (CryptoError, ValueError):
            what = f"the record {record.kind} {record.id} was changed"
            raise KeystoreError(ErrorCode.TAMPERED, what) from None

    def is_sealed(self, record: Sealed) -> bool:
        """Tell whether a record is what was sealed under its name."""
        try:
            self.open(record)
        except KeystoreError:
            return False
        return True

    def tag(self, kind: str, text: str) -> bytes:
        """Return what stands for a text in searches."""
        about = b"".join(_counted(part.encode()) for part in (kind, text))
        return hmac.new(self._tags, about, sha256).digest()

    def _key_for(self, kind: str) -> bytes:
        return self._secrets if kind == SECRET else self._records

    def _about(self, record: Plain | Sealed) -> bytes:
        parts = (self.wallet, record.kind, record.id, str(record.generation))
        return b"".join(_counted(part.encode()) for part in parts)


def _counted(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
