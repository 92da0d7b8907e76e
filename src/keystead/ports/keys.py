"""What the application asks of whoever holds its keys; `keystores` implements it.

A vault never gives a private key out. What it is asked to use comes to it sealed: records that
only a vault of the same wallet can open, each bound to its identity and generation.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.suites import Suite

# Records of this kind hold secrets; a vault uses them and never returns their content.
SECRET = "secret"  # noqa: S105 - the name of a kind of record


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """An encrypted record.

    Attributes:
        kind: kind of record, such as "key".
        id: its name among those of its kind.
        generation: counts the versions of the record, from 1.
        data: nonce and ciphertext; kind, id and generation are authenticated with it.
    """

    kind: str
    id: str
    generation: int
    data: bytes


class Plain(msgspec.Struct, frozen=True, gc=False):
    """A record before it is sealed; attributes as in `Sealed`."""

    kind: str
    id: str
    generation: int
    data: bytes


class KeySource(msgspec.Struct, frozen=True, gc=False):
    """Where a private key comes from.

    Attributes:
        uri: how it is found, such as `derived:0/3/sign.0/7` or `pkcs11:token=office/...`.
        suite: signature suite of the key.
        secret: what the URI needs: a master seed, an imported seed, the PIN of a token.
    """

    uri: str
    suite: Suite
    secret: Sealed | None = None


class KeyUse(msgspec.Struct, frozen=True, gc=False):
    """A key to sign with.

    Attributes:
        record: the key's own sealed record; it tells type, state and URI, so that whoever asks
            cannot say something else about the key.
        secret: what its URI needs.
    """

    record: Sealed
    secret: Sealed | None = None


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The last event that was signed for an identifier on this machine.

    Attributes:
        aid: the identifier.
        sn: place of the event.
        said: digest of the event.
        raw: the event.
        audit_count: entries of the wallet's audit log just before.
        audit_head: hash of the last of them, empty if there was none.
    """

    aid: Aid
    sn: int
    said: Said
    raw: bytes
    audit_count: int
    audit_head: bytes


class Signer(Protocol):
    """One private key in use."""

    @property
    def public_key(self) -> bytes:
        """The raw public key."""

    def sign(self, payload: bytes) -> bytes:
        """Return the raw signature over `payload`."""


class Vault(Protocol):
    """Holds the data key of one wallet, and uses the keys that are sealed under it."""

    @property
    def wallet(self) -> str:
        """The id of the wallet."""

    def seal(self, records: Sequence[Plain]) -> list[bytes]:
        """Return the data of each record, sealed. Secrets can be sealed, not opened."""

    def open(self, records: Sequence[Sealed]) -> list[bytes]:
        """Return the data of each record.

        Raises:
            KeystoreError: a record was changed, swapped or rolled back (keystore.tampered), or
                it holds a secret (keystore.role).
        """

    def check(self, records: Sequence[Sealed]) -> list[bool]:
        """Tell of each record whether it is what was sealed under its name; secrets too."""

    def tag(self, kind: str, text: str) -> bytes:
        """Return 32 bytes that stand for a text in searches, and tell nothing about it."""

    def new_seed(self, record_id: str, generation: int) -> bytes:
        """Return a new random seed of 32 bytes, sealed as a secret."""

    def public_keys(self, sources: Sequence[KeySource]) -> list[bytes]:
        """Return raw public keys; a key that a token should hold and does not yet is made.

        Raises:
            KeystoreError: the key is gone, or its token cannot be used.
        """

    def prove_possession(self, source: KeySource, public_key: bytes) -> None:
        """Check that `source` holds the private half of a raw public key.

        Raises:
            KeystoreError: it does not (keystore.possession).
        """

    def sign_event(
        self, raw: bytes, keys: Sequence[KeyUse], *, audit_count: int, audit_head: bytes
    ) -> list[bytes]:
        """Return raw signatures over a key event, after its mark is durable.

        Raises:
            KeystoreError: another event was signed for this place (keystore.second_event), the
                wallet is older than its mark (keystore.behind), or a key may not sign this
                (keystore.state, keystore.role, keystore.gone).
        """

    def sign_statement(self, payload: bytes, keys: Sequence[KeyUse]) -> list[bytes]:
        """Return raw signatures over a statement: a routed message, or one of this program.

        What begins with `KEYSTEAD-` is a statement of this program.

        Raises:
            DecodeError: a routed message that is not in its one form.
            KeystoreError: `payload` is something else, such as a key event (keystore.role), or as
                `sign_event`.
        """

    def known_here(self) -> bool:
        """Tell whether this machine has marks of the wallet."""

    def adopt(self) -> None:
        """Begin to keep marks of the wallet on this machine, where there are none.

        How far its audit log went, as far as this machine knew, is forgotten.
        """

    def marks(self, aids: Sequence[Aid]) -> list[Mark | None]:
        """Return the marks of identifiers."""

    def latest_mark(self) -> Mark | None:
        """Return the mark of the event that was signed last, of whatever identifier."""

    def remember(self, audit_count: int, audit_head: bytes) -> None:
        """Keep how far the audit log goes, so that an older copy of the wallet is found out.

        Nothing is kept where the machine does not know the wallet, or knows of a later entry.
        """

    def audit_end(self) -> tuple[int, bytes]:
        """Return how far the audit log went, as far as this machine knows.

        Number and hash of an entry; 0 and nothing when nothing is known.
        """

    def set_mark(self, mark: Mark) -> None:
        """Replace the mark of an identifier, after its log was reconciled with the published."""

    def branch(
        self, master: Sealed, identifiers: Sequence[int], records: Sequence[Plain]
    ) -> list[bytes]:
        """Return the secrets of single identifiers of a master seed, each sealed.

        After that the master seed can be erased, and keys can be erased one by one.

        Args:
            master: the seed.
            identifiers: numbers of identifiers under it.
            records: names and generations for the secrets; their data are ignored.
        """

    def erase(self, secret: Sealed, uri: str, generation: int) -> bytes:
        """Return a branch from which the key at `uri` and those before it cannot be derived.

        For a key in a token: destroy it there.
        """
