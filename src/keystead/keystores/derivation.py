"""Private keys from a seed: per identifier, per slot, per establishment event.

Each level is a ratchet that only turns forward:

    master seed -> identifier n -> slot 0 -> slot 1 -> ...
                                     |
                                   link 0 -> link 1 -> ... (one for each establishment event)
                                     |
                                   key seed (for a purpose and a suite)

So a wallet can erase a key for good and keep what comes after it: it stores a later link instead
of the seed. Who holds the seed (a backup, a sheet of paper) can derive everything again.

Each step is HKDF with SHA-512 (RFC 5869).
"""

from typing import Final

import msgspec

from keystead import suites
from keystead.custody.uri import DerivedUri
from keystead.errors import ErrorCode, KeystoreError
from keystead.suites import Suite

_CONTEXT: Final = b"keystead 1 "
_WIDE: Final = 48  # bytes from which a private key of an ECDSA curve is reduced, without bias
MOST_STEPS: Final = 1_000_000  # of a ratchet; one takes 5 µs


def derive(key: bytes | bytearray, purpose: str, length: int = 32) -> bytes:
    """Return `length` bytes for a purpose, from a key of at least 32 random bytes."""
    from cryptography.hazmat.primitives.hashes import SHA512  # noqa: PLC0415 - 40 ms
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as above

    return HKDF(SHA512(), length, None, _CONTEXT + purpose.encode()).derive(key)


class Link(msgspec.Struct, frozen=True):
    """A ratchet that stands at `index`."""

    index: int
    key: bytes

    def at(self, index: int) -> "Link":
        """Turn the ratchet forward.

        Raises:
            KeystoreError: it has been turned beyond `index` (keystore.gone).
        """
        if index < self.index:
            raise KeystoreError(ErrorCode.GONE, "this key was shredded")
        if index - self.index > MOST_STEPS:
            raise KeystoreError(ErrorCode.GONE, "no wallet makes that many keys")
        key = self.key
        for _ in range(index - self.index):
            key = derive(key, "next")
        return Link(index, key)


class Branch(msgspec.Struct, frozen=True):
    """What is left of one identifier under a master seed after keys were erased.

    Attributes:
        slots: the ratchet of each slot from which a key was erased.
        rest: the ratchet over the slots behind them.
    """

    slots: dict[str, Link]
    rest: Link

    def slot(self, number: int) -> Link:
        """Return the ratchet of a slot.

        Raises:
            KeystoreError: never here or erased (keystore.gone).
        """
        return self.slots.get(str(number)) or Link(0, derive(self.rest.at(number).key, "slot"))

    def without(self, slot: int, index: int) -> "Branch":
        """Return the branch without the keys of a slot up to `index`."""
        slots = dict(self.slots)
        rest = self.rest
        while rest.index <= slot:
            slots[str(rest.index)] = Link(0, derive(rest.key, "slot"))
            rest = rest.at(rest.index + 1)
        link = slots[str(slot)]
        slots[str(slot)] = link.at(max(link.index, index + 1))
        return Branch(slots, rest)


def branch_of(master: bytes, identifier: int) -> Branch:
    """Return the whole branch of an identifier under a master seed."""
    return Branch({}, Link(0, derive(master, f"identifier {identifier}")))


def encode_branch(branch: Branch) -> bytes:
    """Return a branch as it is sealed."""
    return msgspec.msgpack.encode(branch)


def key_seed(secret_id: str, secret: bytes, uri: DerivedUri, suite: Suite) -> bytes:
    """Return the seed of the private key at `uri`, for `suites.sign`.

    Args:
        secret_id: name of the secret: `master.EPOCH` or `branch.EPOCH.IDENTIFIER`.
        secret: master seed or encoded branch.
        uri: which key.
        suite: for which suite.

    Raises:
        KeystoreError: the key was erased (keystore.gone), or the secret belongs to other keys
            (keystore.role).
    """
    link = read_branch(secret_id, secret, uri).slot(uri.slot).at(uri.index)
    purpose = f"{uri.purpose} {suite.name}"
    if suite is Suite.ED25519:
        return derive(link.key, purpose)
    return suites.seed_from(suite, derive(link.key, purpose, _WIDE))


def read_branch(secret_id: str, secret: bytes, uri: DerivedUri) -> Branch:
    """Return the branch that holds the key at `uri`; errors as in `key_seed`."""
    if secret_id == f"master.{uri.epoch}":
        return branch_of(secret, uri.identifier)
    if secret_id == f"branch.{uri.epoch}.{uri.identifier}":
        return msgspec.msgpack.decode(secret, type=Branch)
    raise KeystoreError(ErrorCode.ROLE, f"{secret_id} is not what the key is derived from")
