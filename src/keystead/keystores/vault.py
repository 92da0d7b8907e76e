"""The vault in this process: the data key, and the keys that are sealed under it, in use."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from keystead import suites
from keystead.cesr import body as bodies
from keystead.cesr.keys import Aid
from keystead.cesr.versions import Kind
from keystead.custody.catalogue import Use, check_use
from keystead.custody.records import KeyRecord
from keystead.custody.uri import DerivedUri, ImportedUri, TokenUri, parse_uri
from keystead.errors import ErrorCode, KeystoreError
from keystead.keri.events import AnyKeyEvent, EstablishmentEvent
from keystead.keri.parsing import parse_key_event
from keystead.keystores import derivation, software
from keystead.keystores.marks import Marks
from keystead.keystores.sealing import DataKey
from keystead.limits import DEFAULT_LIMITS
from keystead.ports.keys import SECRET, KeySource, KeyUse, Mark, Plain, Sealed, Signer
from keystead.suites import Suite

_KEY: Final = "key"  # kind of the records of keys
_DOMAIN: Final = b"KEYSTEAD-"
_CHALLENGE: Final = b"KEYSTEAD-POSSESSION-"
_MESSAGE_START: Final = b'{"v":"KERI10JSON'
_ROUTED: Final = ("rpy", "exn", "qry", "pro")


class LocalVault:
    """A `Vault` that lives as long as this process, or until it is closed."""

    def __init__(self, wallet: str, data_key: bytes | bytearray, marks: Path) -> None:
        """Open the vault of a wallet.

        Args:
            wallet: the id of the wallet.
            data_key: 32 bytes; not kept.
            marks: folder of the marks, apart from the wallet.
        """
        self.wallet = wallet
        self._keys = DataKey(wallet, data_key)
        self._marks = Marks(marks, self._keys.marks_key)

    def seal(self, records: Sequence[Plain]) -> list[bytes]:
        """Seal records."""
        return [self._keys.seal(record) for record in records]

    def open(self, records: Sequence[Sealed]) -> list[bytes]:
        """Open records that hold no secrets."""
        for record in records:
            if record.kind == SECRET:
                raise KeystoreError(ErrorCode.ROLE, "a secret is used, never given out")
        return [self._keys.open(record) for record in records]

    def check(self, records: Sequence[Sealed]) -> list[bool]:
        """Tell of each record whether it is what was sealed under its name."""
        return [self._keys.is_sealed(record) for record in records]

    def tag(self, kind: str, text: str) -> bytes:
        """Return what stands for a text in searches."""
        return self._keys.tag(kind, text)

    def new_seed(self, record_id: str, generation: int) -> bytes:
        """Make a random seed and seal it."""
        seed = secrets.token_bytes(suites.SEED_BYTES)
        return self._keys.seal(Plain(SECRET, record_id, generation, seed))

    def public_keys(self, sources: Sequence[KeySource]) -> list[bytes]:
        """Return raw public keys."""
        return [self._signer(source, make=True).public_key for source in sources]

    def prove_possession(self, source: KeySource, public_key: bytes) -> None:
        """Sign a fresh challenge and check it under the public key."""
        challenge = _CHALLENGE + b"1\n" + secrets.token_bytes(32)
        try:
            signature = self._signer(source).sign(challenge)
        except ValueError:
            signature = b""
        if not suites.verify(source.suite, public_key, signature, challenge):
            what = "the private key does not belong to the public key"
            raise KeystoreError(ErrorCode.POSSESSION, what)

    def sign_event(
        self, raw: bytes, keys: Sequence[KeyUse], *, audit_count: int, audit_head: bytes
    ) -> list[bytes]:
        """Sign a key event after its mark is durable."""
        event = _parse_event(raw)
        use = Use.ESTABLISH if isinstance(event, EstablishmentEvent) else Use.INTERACT
        signers = [self._for_use(key, use, event) for key in keys]
        if not self._marks.exists:
            what = "this wallet was copied or restored here, so it may be behind its own log"
            raise KeystoreError(ErrorCode.BEHIND, what)
        # The signatures are made first: a token that fails must leave no mark behind.
        signatures = [signer.sign(raw) for signer in signers]
        self._marks.advance(Mark(event.aid, event.sn, event.said, raw, audit_count, audit_head))
        return signatures

    def sign_statement(self, payload: bytes, keys: Sequence[KeyUse]) -> list[bytes]:
        """Sign what is no key event."""
        _check_statement(payload)
        return [self._for_use(key, Use.STATE).sign(payload) for key in keys]

    def known_here(self) -> bool:
        """Tell whether this machine has marks of the wallet."""
        return self._marks.exists

    def adopt(self) -> None:
        """Begin to keep marks of the wallet on this machine."""
        self._marks.create()

    def marks(self, aids: Sequence[Aid]) -> list[Mark | None]:
        """Return the marks of identifiers."""
        return self._marks.find(aids) if self._marks.exists else [None] * len(aids)

    def latest_mark(self) -> Mark | None:
        """Return the mark that was made last."""
        return self._marks.latest() if self._marks.exists else None

    def remember(self, audit_count: int, audit_head: bytes) -> None:
        """Keep how far the audit log goes, where the wallet is known."""
        if self._marks.exists:
            self._marks.remember(audit_count, audit_head)

    def audit_end(self) -> tuple[int, bytes]:
        """Return how far the audit log went, as far as this machine knows."""
        return self._marks.audit_end() if self._marks.exists else (0, b"")

    def set_mark(self, mark: Mark) -> None:
        """Replace the mark of an identifier."""
        self._marks.replace(mark)

    def branch(
        self, master: Sealed, identifiers: Sequence[int], records: Sequence[Plain]
    ) -> list[bytes]:
        """Seal the branches of single identifiers."""
        begin, _, epoch = master.id.partition(".")
        names = [f"branch.{epoch}.{number}" for number in identifiers]
        if begin != "master" or names != [record.id for record in records]:
            raise KeystoreError(ErrorCode.ROLE, "these are not the names of branches of a seed")
        seed = self._secret(master)
        return [
            self._seal_branch(record, derivation.branch_of(seed, number))
            for number, record in zip(identifiers, records, strict=True)
        ]

    def erase(self, secret: Sealed, uri: str, generation: int) -> bytes:
        """Seal a branch without a key and those before it, or destroy a key in its token."""
        found, opened = parse_uri(uri), self._secret(secret)
        name = Plain(SECRET, secret.id, generation, opened)
        if isinstance(found, DerivedUri) and secret.id.startswith("branch."):
            branch = derivation.read_branch(secret.id, opened, found)
            return self._seal_branch(name, branch.without(found.slot, found.index))
        if isinstance(found, TokenUri) and secret.id.startswith("pin."):
            from keystead.keystores import pkcs11  # noqa: PLC0415 - most wallets have no token

            pkcs11.destroy(found, opened)
            return self._keys.seal(name)
        raise KeystoreError(ErrorCode.ROLE, f"no single key can be erased from {secret.id}")

    def _seal_branch(self, name: Plain, branch: derivation.Branch) -> bytes:
        data = derivation.encode_branch(branch)
        return self._keys.seal(Plain(SECRET, name.id, name.generation, data))

    def _secret(self, sealed: Sealed | None) -> bytes:
        if sealed is None or sealed.kind != SECRET:
            raise KeystoreError(ErrorCode.GONE, "what this key is made from is not here")
        return self._keys.open(sealed)

    def _for_use(self, key: KeyUse, use: Use, event: AnyKeyEvent | None = None) -> Signer:
        """Return a key if it may be used so, by its own record."""
        if key.record.kind != _KEY:
            raise KeystoreError(ErrorCode.ROLE, f"a record of kind {key.record.kind} is no key")
        record = msgspec.json.decode(self._keys.open(key.record), type=KeyRecord)
        if event is not None and record.identifier != event.aid:
            raise KeystoreError(ErrorCode.ROLE, "the key belongs to another identifier")
        check_use(record.type, record.state, use)
        if isinstance(event, EstablishmentEvent) and record.public_key not in {
            listed.text for listed in event.signing_keys
        }:
            raise KeystoreError(ErrorCode.ROLE, "the event does not list the key that is to sign")
        if not record.uri:
            raise KeystoreError(ErrorCode.GONE, "the private half of this key is not here")
        return self._signer(KeySource(record.uri, Suite[record.suite], key.secret))

    def _signer(self, source: KeySource, *, make: bool = False) -> Signer:
        uri = parse_uri(source.uri)
        secret = self._secret(source.secret)
        name = "" if source.secret is None else source.secret.id
        match uri:
            case DerivedUri():
                seed = derivation.key_seed(name, secret, uri, source.suite)
                return software.SoftwareSigner(source.suite, seed)
            case ImportedUri():
                if name != f"imported.{uri.key}":
                    raise KeystoreError(ErrorCode.ROLE, f"{name} is the secret of another key")
                return software.SoftwareSigner(source.suite, secret)
            case TokenUri():
                if not name.startswith("pin."):
                    raise KeystoreError(ErrorCode.ROLE, f"{name} is no PIN")
                from keystead.keystores import pkcs11  # noqa: PLC0415 - as above

                return pkcs11.token_signer(uri, source.suite, secret, make=make)


def _parse_event(raw: bytes) -> AnyKeyEvent:
    if not raw.startswith(_MESSAGE_START + b"%06x_" % len(raw)):
        raise KeystoreError(ErrorCode.ROLE, "what is to be signed is no key event in JSON")
    return parse_key_event(bodies.decode(raw, Kind.JSON, DEFAULT_LIMITS), raw, DEFAULT_LIMITS)


def _check_statement(payload: bytes) -> None:
    """Check that nobody can take a signature over `payload` for one over a key event.

    So only what is known to be something else is signed: messages of this program, which begin
    with their own name, and routed messages of KERI, which change no log.
    """
    if payload.startswith(_DOMAIN) and not payload.startswith(_CHALLENGE):
        return
    if payload.startswith(_MESSAGE_START):
        body = bodies.decode(payload, Kind.JSON, DEFAULT_LIMITS)
        if body.get("t") in _ROUTED:
            return
    raise KeystoreError(ErrorCode.ROLE, "what is to be signed is no statement that a wallet makes")
