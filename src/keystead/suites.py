"""Signature suites and digest algorithms on raw bytes; codes and text live in `cesr`.

Ed25519 has one verdict everywhere: libsodium's strict rule (S < L, canonical A and R, no point of
small order), through PyNaCl. Other libraries accept more, and two verifiers that disagree fork
the log. ECDSA is over SHA-256 with 64-byte signatures r || s; low S is made, high S is accepted.
"""

import hashlib
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from blake3 import blake3
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec


class Suite(Enum):
    """A signature suite. The value is its name in messages and documentation."""

    ED25519 = "Ed25519"
    SECP256K1 = "ECDSA secp256k1"
    SECP256R1 = "ECDSA secp256r1"
    ED448 = "Ed448"


_ED25519: Final = Suite.ED25519  # a member takes 0.1 µs to look up
SEED_BYTES = 32
KEY_BYTES = 32  # Ed25519
SIGNATURE_BYTES = 64

# SEC 2 (secp256k1) and FIPS 186-5 (P-256): order of the base point.
_ORDERS = {
    Suite.SECP256K1: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Suite.SECP256R1: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}


def verify(suite: Suite, key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` over `message` was made with the private half of `key`.

    Args:
        suite: the suite of both key and signature.
        key: raw public key; 32 bytes for Ed25519, a 33-byte compressed point for ECDSA.
        signature: 64 bytes; R || S for Ed25519, r || s (big-endian) for ECDSA.
        message: what was signed.

    Returns:
        False for anything that does not verify, malformed input and unknown suites included.
    """
    if suite is _ED25519:
        # The binding checks no length: it would read past a short key, and take the missing
        # bytes of a short signature from the message.
        if len(signature) != SIGNATURE_BYTES or len(key) != KEY_BYTES:
            return False
        try:
            crypto_sign_open(signature + message, key)
        except BadSignatureError:
            return False
        return True
    if suite in _ORDERS:
        return _verify_ecdsa(suite, key, signature, message)
    return False


def sign(suite: Suite, seed: bytes, message: bytes) -> bytes:
    """Sign `message` with the private key that `seed` (32 bytes) stands for.

    Returns:
        64 bytes; ECDSA signatures have low S, so that one signature has one form.

    Raises:
        ValueError: the seed is not 32 bytes, no private key of the curve, or the suite cannot sign.
    """
    if suite is Suite.ED25519:
        return sign_ed25519(ed25519_secret(seed), message)
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - 40 ms, ECDSA only
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415 - as above

    # Deterministic (RFC 6979): no random number to go wrong, and one message has one signature.
    scheme = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    der = _private_key(suite, seed).sign(message, scheme)
    r, s = utils.decode_dss_signature(der)
    low = min(s, _ORDERS[suite] - s)
    return r.to_bytes(32, "big") + low.to_bytes(32, "big")


def ed25519_secret(seed: bytes) -> bytes:
    """Return what `sign_ed25519` signs with, for a seed of 32 bytes."""
    _, secret = crypto_sign_seed_keypair(_checked_seed(seed))
    return secret


def sign_ed25519(secret: bytes, message: bytes) -> bytes:
    """Sign `message` as `sign` does, without deriving the key each time (half the cost)."""
    return crypto_sign(message, secret)[:SIGNATURE_BYTES]


def seed_from(suite: Suite, material: bytes) -> bytes:
    """Return the seed of an ECDSA private key, from at least 48 random bytes.

    Reducing 16 bytes more than the order has leaves no measurable bias (FIPS 186-5, A.2.1).
    """
    order = _ORDERS[suite]
    return (int.from_bytes(material, "big") % (order - 1) + 1).to_bytes(SEED_BYTES, "big")


def public_key(suite: Suite, seed: bytes) -> bytes:
    """Return the raw public key of the private key that `seed` (32 bytes) stands for.

    Raises:
        ValueError: as for `sign`.
    """
    if suite is Suite.ED25519:
        key, _ = crypto_sign_seed_keypair(_checked_seed(seed))
        return key
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - ECDSA only

    return (
        _private_key(suite, seed)
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    )


def _checked_seed(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return seed


def _private_key(suite: Suite, seed: bytes) -> "ec.EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - ECDSA only

    if suite not in _ORDERS:
        raise ValueError(f"cannot sign with {suite.value}")
    return ec.derive_private_key(int.from_bytes(_checked_seed(seed), "big"), _curve(suite))


def _curve(suite: Suite) -> "ec.EllipticCurve":
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - ECDSA only

    return ec.SECP256K1() if suite is Suite.SECP256K1 else ec.SECP256R1()


def _verify_ecdsa(suite: Suite, key: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - ECDSA only
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - ECDSA only
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415 - as above

    if len(signature) != SIGNATURE_BYTES:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(_curve(suite), key)
        point.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


class Hash(Protocol):
    """A digest of data that was given to its algorithm."""

    def digest(self) -> bytes:
        """Return the digest."""


class _LongBlake3:
    """BLAKE3 with 64 bytes of output, which its own `digest` has to be asked for."""

    def __init__(self, data: bytes) -> None:
        self._hash = blake3(data)

    def digest(self) -> bytes:
        return self._hash.digest(length=64)


# Name of an algorithm -> what hashes data with it.
DIGESTS: dict[str, Callable[[bytes], Hash]] = {
    "Blake3-256": blake3,
    "Blake2b-256": partial(hashlib.blake2b, digest_size=32),
    "Blake2s-256": partial(hashlib.blake2s, digest_size=32),
    "SHA3-256": hashlib.sha3_256,
    "SHA2-256": hashlib.sha256,
    "Blake3-512": _LongBlake3,
    "Blake2b-512": partial(hashlib.blake2b, digest_size=64),
    "SHA3-512": hashlib.sha3_512,
    "SHA2-512": hashlib.sha512,
}
