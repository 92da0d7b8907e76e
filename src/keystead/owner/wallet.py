"""A wallet in use: its store, its vault, a clock, and who acts."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from keystead.cesr import body as bodies
from keystead.cesr.keys import Aid, Digest, is_aid
from keystead.cesr.versions import Kind
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord, move
from keystead.custody.records import begin as begin_life
from keystead.custody.states import GONE, State
from keystead.custody.uri import DerivedUri, ImportedUri, TokenUri, parse_uri
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.keri.events import AnyKeyEvent
from keystead.keri.parsing import parse_key_event
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.records import Batch, Note, Records, digest_of
from keystead.ports.events import EventStore
from keystead.ports.keys import SECRET, KeyUse, Sealed, Vault
from keystead.ports.wallet import Envelope, WalletStore

# Kinds of records.
STATE: Final = "state"
IDENTIFIER: Final = "identifier"
KEY: Final = "key"
OUTBOX: Final = "outbox"
TOKEN: Final = "token"  # noqa: S105 - a kind of record

_LONGEST_NAME: Final = 64


class WalletState(msgspec.Struct, frozen=True, gc=False):
    """What is counted in a wallet.

    Attributes:
        created_at: when it was made, RFC 3339 text.
        epoch: number of the master seed for new identifiers.
        identifiers: identifiers made under it.
        scrub: secrets were erased, and may not be overwritten everywhere yet.
        envelope: digest of how the data key is wrapped, so that an older passphrase cannot come
            back; empty where nothing wraps it.
    """

    created_at: str
    epoch: int = 0
    identifiers: int = 0
    scrub: bool = False
    envelope: str = ""


class Line(msgspec.Struct, frozen=True, gc=False):
    """A place in the key list of an identifier, and where its keys come from.

    Attributes:
        slot: number of the line in the identifier; never used twice.
        suite: name of the signature suite.
        token: name of the token that holds the keys; empty for keys that are derived.
    """

    slot: int
    suite: str
    token: str = ""


class IdentifierRecord(msgspec.Struct, frozen=True, gc=False):
    """What the owner knows of one of his identifiers beside its log.

    Attributes:
        aid: the identifier.
        name: what the owner calls it.
        created_at: RFC 3339 text.
        epoch: master seed of its keys.
        number: its number under that seed.
        establishments: establishment events so far, unapproved ones included.
        lines: where the keys come from that the latest establishment event commits to.
        slots: lines made so far.
        pending: an event that waits for the approval of the delegator.
        pending_signatures: its signatures, as CESR text.
        pending_receipts: receipts of its witnesses, as indexed signatures in CESR text.
        suspects: a key of it was ever compromised, so each rotation has to tell of that.
        established: digest of the latest establishment event in force, so that nothing else is
            taken for its keys; empty before the first is.
        forked: its log was published in another version than is here, so nothing is signed for
            it until the owner accepts that.
    """

    aid: Aid
    name: str
    created_at: str
    epoch: int
    number: int
    establishments: int = 1
    lines: tuple[Line, ...] = ()
    slots: int = 0
    pending: str = ""
    pending_signatures: tuple[str, ...] = ()
    pending_receipts: tuple[str, ...] = ()
    suspects: bool = False
    established: Digest | Literal[""] = ""
    forked: bool = False


class TokenRecord(msgspec.Struct, frozen=True, gc=False):
    """A token that holds keys.

    Attributes:
        name: what the owner calls it.
        module: path of its PKCS#11 module.
        label: its label.
        serial: its serial number, where the label is not enough.
    """

    name: str
    module: str
    label: str
    serial: str = ""


class Wallet:
    """An open wallet.

    Attributes:
        store: records and logs.
        vault: private keys.
        records: sealed records.
        actor: who acts, for the audit log.
    """

    def __init__(
        self, store: WalletStore, vault: Vault, *, now: Callable[[], datetime], actor: str
    ) -> None:
        """Use a store with the vault that belongs to it."""
        self.store = store
        self.vault = vault
        self.records = Records(store, vault)
        self.actor = actor
        self._now = now

    @property
    def events(self) -> EventStore:
        """The key event logs."""
        return self.store.events

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._now().astimezone(UTC)

    def time(self) -> str:
        """Return the time as RFC 3339 text."""
        return self.now().isoformat(timespec="microseconds")

    def batch(self) -> Batch:
        """Begin a group of changes, inside a transaction."""
        return Batch(self.records, at=self.time(), actor=self.actor)

    def state(self) -> WalletState:
        """Return what is counted.

        Raises:
            KeystoreError: the wallet is not complete (keystore.tampered).
        """
        found = self.records.get(STATE, "wallet", WalletState)
        if found is None:
            raise KeystoreError(ErrorCode.TAMPERED, "the wallet has lost its state")
        return found

    def identifier(self, name: str) -> IdentifierRecord:
        """Return one's own identifier by its name, or by the identifier itself.

        Raises:
            UsageError: there is none (usage.unknown).
            KeystoreError: another one is found by the name (keystore.tampered).
        """
        # No name looks like an identifier, so neither can stand for the other.
        if is_aid(name):
            found = self.records.get(IDENTIFIER, name, IdentifierRecord)
        else:
            found = self.records.find(IDENTIFIER, _normal(name), IdentifierRecord)
            if found is not None and found.name != _normal(name):
                what = f"the name {name[:_LONGEST_NAME]} leads to another identifier"
                raise KeystoreError(ErrorCode.TAMPERED, what)
        if found is None:
            raise UsageError(ErrorCode.UNKNOWN, f"no identifier is called {name[:_LONGEST_NAME]}")
        return found

    def identifiers(self, *, checked: bool = False) -> list[IdentifierRecord]:
        """Return one's own identifiers, in the order in which they were made; as `Records.all`."""
        found = self.records.all(IDENTIFIER, IdentifierRecord, checked=checked)
        return sorted(found, key=lambda one: (one.epoch, one.number))

    def key(self, key_id: str) -> KeyRecord | None:
        """Return a key by its commitment or name."""
        return self.records.get(KEY, key_id, KeyRecord)

    def use(self, keys: Sequence[KeyRecord]) -> list[KeyUse]:
        """Return keys as the vault wants them."""
        used = []
        for key in keys:
            record = self.records.sealed(KEY, key.id)
            if record is None:
                raise KeystoreError(ErrorCode.GONE, f"the key {key.id} is not in this wallet")
            used.append(KeyUse(record, self.secret(key)))
        return used

    def secret(self, key: KeyRecord) -> Sealed | None:
        """Return what the private half of a key is found with."""
        match parse_uri(key.uri) if key.uri else None:
            case None:
                return None
            case DerivedUri(epoch, identifier):  # a branch takes over when its seed is erased
                name = self.derivation_root(epoch, identifier)
            case ImportedUri(own):
                name = f"imported.{own}"
            case TokenUri():
                name = key.parent
        return self.records.sealed(SECRET, name)

    def derivation_root(self, epoch: int, number: int) -> str:
        """Return the name of the secret from which the keys of an identifier are derived."""
        branch = f"branch.{epoch}.{number}"
        return branch if self.records.sealed(SECRET, branch) is not None else f"master.{epoch}"

    def is_current(self) -> bool:
        """Tell whether this is the newest copy of the wallet, as far as this machine knows."""
        if not self.vault.known_here():
            return False
        number, head = self.vault.audit_end()
        return not number or self.records.go_on_from(number, head)

    def remember(self) -> None:
        """Have this machine know how far the audit log goes, after changes that sign no event.

        A copy from before them is found out then, as one from before an event is.
        """
        if self.is_current():
            self.vault.remember(*self.store.audit_head())

    def check_current(self) -> None:
        """Check that this is the newest copy of the wallet, as far as this machine knows.

        Raises:
            KeystoreError: the wallet was restored or copied, and is behind what was signed with it
                (keystore.behind).
        """
        if self.is_current():
            return
        what = "this wallet was copied or restored here, and may be behind its published logs"
        if self.vault.known_here():
            what = "an older copy of this wallet was put back: later events were signed already"
        raise KeystoreError(ErrorCode.BEHIND, what)


def begin(wallet: Wallet, envelope: Envelope | None = None) -> None:
    """Fill the store of a new wallet: its own keys and nothing else.

    Args:
        wallet: the wallet.
        envelope: how its data key is wrapped, if it is.
    """
    with wallet.store.transaction():
        batch = wallet.batch()
        wrapped = "" if envelope is None else envelope_digest(envelope)
        batch.put(STATE, "wallet", WalletState(wallet.time(), envelope=wrapped), Note("init"))
        passphrase, data = KeyType.WALLET_PASSPHRASE, KeyType.WALLET_DATA
        put_own_key(wallet, batch, passphrase, passphrase, Method.PASSPHRASE)
        put_own_key(wallet, batch, data, data, Method.RANDOM)
        new_master(wallet, batch, 0)
        batch.write()


def envelope_digest(envelope: Envelope) -> str:
    """Return what stands for an envelope in the state of the wallet."""
    return digest_of(msgspec.msgpack.encode(envelope)).hex()


def new_master(wallet: Wallet, batch: Batch, epoch: int) -> None:
    """Add a master seed."""
    name = f"master.{epoch}"
    sealed = wallet.vault.new_seed(name, batch.next_generation)
    batch.put_secret(name, sealed, Note("new seed"))
    put_own_key(wallet, batch, name, KeyType.MASTER_SEED, Method.RANDOM)


# What wraps each kind of key that serves the wallet itself.
_WRAPPED_BY: Final = {
    KeyType.WALLET_PASSPHRASE: "",
    KeyType.WALLET_DATA: KeyType.WALLET_PASSPHRASE.value,
    KeyType.MASTER_SEED: KeyType.WALLET_DATA.value,
    KeyType.TOKEN_PIN: KeyType.WALLET_DATA.value,
}


def put_own_key(wallet: Wallet, batch: Batch, name: str, kind: KeyType, method: Method) -> None:
    """Write the record of a key that serves the wallet itself; it is in force at once."""
    at = wallet.time()
    made = KeyRecord(
        id=str(name),
        type=kind,
        method=method,
        state=State.PRE_ACTIVE,
        created_at=at,
        changed_at=at,
        parent=_WRAPPED_BY[kind],
    )
    begin_life(made, actor=wallet.actor, reason="")
    batch.put(KEY, made.id, made, Note("new key", after=made.state))
    put_step(wallet, batch, made, State.ACTIVE)


def put_step(wallet: Wallet, batch: Batch, record: KeyRecord, after: State) -> KeyRecord:
    """Write a key that serves the wallet itself in its next state, and return it.

    Raises:
        KeystoreError: it cannot go there (keystore.state).
    """
    moved, step = move(record, after, at=wallet.now(), actor=wallet.actor, reason="")
    note = Note("new key", before=record.state, after=step.after)
    batch.put(KEY, record.id, moved, note)
    return moved


def put_end(wallet: Wallet, batch: Batch, record: KeyRecord) -> None:
    """Write that a key that serves the wallet itself is gone; another may take its name."""
    if record.state in GONE:
        return
    if record.state is State.COMPROMISED:
        put_step(wallet, batch, record, State.DESTROYED_COMPROMISED)
        return
    if record.state is State.ACTIVE:
        record = put_step(wallet, batch, record, State.DEACTIVATED)
    put_step(wallet, batch, record, State.DESTROYED)


def checked_name(name: str) -> str:
    """Return a name that people can tell apart from others, and programs from other arguments.

    Raises:
        UsageError: empty, too long, with characters that cannot be seen, or like an option or an
            identifier (usage.name).
    """
    normal = _normal(name)
    if not 0 < len(normal) <= _LONGEST_NAME or normal != normal.strip():
        what = f"a name has 1 to {_LONGEST_NAME} characters and no space at its ends"
        raise UsageError(ErrorCode.NAME, what)
    if not normal.isascii() or not normal.isprintable():
        import unicodedata  # noqa: PLC0415 - most names do not need it

        seen = normal.replace(" ", "").replace(_JOINER, "")
        if any(unicodedata.category(char) in _UNSEEN for char in seen):
            raise UsageError(ErrorCode.NAME, "a name has only characters that can be seen")
    if normal.startswith("-"):
        raise UsageError(ErrorCode.NAME, "a name does not start like an option")
    if is_aid(normal):
        raise UsageError(ErrorCode.NAME, "a name does not look like an identifier")
    return normal


def _normal(name: str) -> str:
    """Return the one form of a name that can be written in several."""
    if name.isascii():
        return name
    import unicodedata  # noqa: PLC0415 - as above

    return unicodedata.normalize("NFC", name)


_JOINER: Final = "\u200d"  # inside emoji
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


def parse_event(raw: bytes) -> AnyKeyEvent:
    """Read an event that was kept as bytes."""
    return parse_key_event(bodies.decode(raw, Kind.JSON, DEFAULT_LIMITS), raw, DEFAULT_LIMITS)
