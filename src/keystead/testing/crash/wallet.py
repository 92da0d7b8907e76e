"""The wallet as a workload: each operation that writes, and what must hold after any crash."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from keystead.cesr.keys import Aid, parse_key
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, State
from keystead.errors import ErrorCode, KeysteadError, StoreError
from keystead.keri.seals import DigestSeal
from keystead.keystores import envelope as envelopes
from keystead.keystores.passphrase import KdfParameters
from keystead.keystores.vault import LocalVault
from keystead.owner import doctor, identifiers, shredding
from keystead.owner.findings import Kind, Severity
from keystead.owner.plans import Change, Creation
from keystead.owner.settlement import settle
from keystead.owner.unlocking import change_passphrase, unlock
from keystead.owner.wallet import KEY, IdentifierRecord, Wallet, begin
from keystead.ports.keys import KeySource
from keystead.stores import fsck
from keystead.stores.wallet import SqliteWallet
from keystead.suites import Suite
from keystead.testing.crash.workload import Acknowledge

# The least that wallets accept: the crashes are the point here, not the passphrase.
_PARAMETERS = KdfParameters(memory_kib=19 * 1024, passes=2, lanes=1, salt=b"salt of crashes!")
PHRASES = ("before the crash", "behind the crash")  # a change takes the other one
_STEPS = 8
_MOST_IDENTIFIERS = 6
_SEAL = DigestSeal("E" + "A" * 43)


class WalletWorkload:
    """Makes a wallet and works with it; knows what must be there after a crash."""

    operations = ("init", "create", "rotate", "anchor", "abandon", "shred", "passphrase")

    def __init__(self) -> None:
        """Remember data keys, so that not every check has to make one from a passphrase."""
        self._data_keys: dict[str, bytes] = {}

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Do some operations, drawn from the seed."""
        random = Random(seed)  # noqa: S311 - repeatable on purpose
        if not _is_ready(root):
            self.operate(root, "init", acknowledge)
        for _ in range(_STEPS):
            with _Open(self, root) as (_, wallet):
                possible = [name for name in self.operations[1:] if _candidates(wallet, name)]
            weights = [1 if name in ("abandon", "passphrase") else 4 for name in possible]
            (chosen,) = random.choices(possible, weights)
            self._one(root, chosen, acknowledge, random)

    def prepare(self, root: Path, operation: str) -> Sequence[bytes]:
        """Make the folder from which an operation starts."""
        told: list[bytes] = []
        if operation != "init":
            for one in ("init", "create", "create", "rotate", "rotate", "rotate", "anchor"):
                self._one(root, one, told.append, Random(1))  # noqa: S311 - as above
        return told

    def operate(self, root: Path, operation: str, acknowledge: Acknowledge) -> None:
        """Do one operation."""
        self._one(root, operation, acknowledge, Random(1))  # noqa: S311 - as above

    def check(self, root: Path, acknowledged: Sequence[bytes], in_flight: bool) -> list[str]:  # noqa: FBT001 - the port has it so
        """Open what is there, finish what was begun, go on; return what is wrong."""
        told = [one.decode().split() for one in acknowledged]
        if not _is_ready(root):
            if told:
                return ["the wallet was acknowledged and is not there"]
            self._one(root, "init", lambda _: None, Random(1))  # noqa: S311 - as above
        with _Open(self, root, _phrases(told, in_flight=in_flight)) as (store, wallet):
            shredding.finish_scrub(wallet)
            for record in wallet.identifiers():
                settle(wallet, record)
            findings = _lost(wallet, told)
            findings += _examined(store, wallet, in_flight=in_flight)
            for record in wallet.identifiers():
                findings += _without_control(wallet, record)
            return findings

    def open(self, store: SqliteWallet, root: Path, phrases: Sequence[int] | None) -> LocalVault:
        """Return the vault of a wallet, by one of some passphrases where they are given."""
        found = store.envelope()
        data_key = self._data_keys.get(found.wallet)
        if data_key is None or phrases is not None:
            data_key, _ = _try_all(store, phrases or range(len(PHRASES)))
            self._data_keys[found.wallet] = data_key
        return LocalVault(found.wallet, data_key, root / "state")

    def _one(self, root: Path, operation: str, acknowledge: Acknowledge, random: Random) -> None:
        if operation == "init":
            _init(root)
            acknowledge(b"init")
            return
        with _Open(self, root) as (store, wallet):
            shredding.finish_scrub(wallet)
            chosen = random.choice(_candidates(wallet, operation))
            told = _OPERATIONS[operation](store, wallet, chosen)
            acknowledge(told.encode())


class _Open:
    """A wallet that is closed again."""

    def __init__(
        self, workload: WalletWorkload, root: Path, phrases: Sequence[int] | None = None
    ) -> None:
        self._workload, self._root, self._phrases = workload, root, phrases

    def __enter__(self) -> tuple[SqliteWallet, Wallet]:
        self._store = SqliteWallet.open(self._root / "home")
        try:
            vault = self._workload.open(self._store, self._root, self._phrases)
        except BaseException:
            self._store.close()
            raise
        self._wallet = Wallet(self._store, vault, now=_now, actor="crash")
        return self._store, self._wallet

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._wallet.remember()
        finally:
            self._store.close()


def _create(_: SqliteWallet, wallet: Wallet, name: str) -> str:
    keys = 1 + len(wallet.identifiers()) % 2
    record = identifiers.create(wallet, name, Creation(keys=keys))
    return _event("create", wallet, record.aid)


def _rotate(_: SqliteWallet, wallet: Wallet, name: str) -> str:
    identifiers.rotate(wallet, name, Change())
    return _event("rotate", wallet, wallet.identifier(name).aid)


def _anchor(_: SqliteWallet, wallet: Wallet, name: str) -> str:
    identifiers.anchor(wallet, name, [_SEAL])
    return _event("anchor", wallet, wallet.identifier(name).aid)


def _abandon(_: SqliteWallet, wallet: Wallet, name: str) -> str:
    identifiers.abandon(wallet, name)
    return _event("abandon", wallet, wallet.identifier(name).aid)


def _shred(_: SqliteWallet, wallet: Wallet, key: str) -> str:
    shredding.shred(wallet, key)
    return f"shred {key}"


def _change_passphrase(store: SqliteWallet, wallet: Wallet, _: str) -> str:
    before = store.envelope()
    data_key, last = _try_all(store, range(len(PHRASES)))
    following = PHRASES[1 - last].encode()
    after = envelopes.close(before.wallet, data_key, following, _PARAMETERS)
    change_passphrase(wallet, store, before=before, after=after)
    shredding.finish_scrub(wallet)
    return f"passphrase {1 - last}"


_OPERATIONS: dict[str, Callable[[SqliteWallet, Wallet, str], str]] = {
    "create": _create,
    "rotate": _rotate,
    "anchor": _anchor,
    "abandon": _abandon,
    "shred": _shred,
    "passphrase": _change_passphrase,
}


def _candidates(wallet: Wallet, operation: str) -> list[str]:
    """Return what an operation can be done to."""
    records = wallet.identifiers()
    if operation == "create":
        return [f"id {len(records)}"] if len(records) < _MOST_IDENTIFIERS else []
    if operation == "passphrase":
        return ["the other"]
    if operation == "shred":
        keys = wallet.records.all(KEY, KeyRecord)
        return [one.id for one in keys if one.uri and one.state is State.DEACTIVATED]
    return [record.name for record in records if not _is_over(wallet, record)]


def _is_over(wallet: Wallet, record: IdentifierRecord) -> bool:
    state = wallet.events.key_state(record.aid)
    return state is None or not state.establishment.transferable


def _event(operation: str, wallet: Wallet, aid: Aid) -> str:
    state = wallet.events.key_state(aid)
    if state is None:
        raise LookupError(f"no log of {aid}")
    return f"{operation} {aid} {state.sn} {state.said}"


def _lost(wallet: Wallet, told: Sequence[Sequence[str]]) -> list[str]:
    """Return what was acknowledged and is not there."""
    findings = []
    for operation, *about in told:
        if operation == "shred":
            key = wallet.key(about[0])
            if key is None or key.state not in GONE or key.uri:
                findings.append(f"the key {about[0]} was shredded and is there again")
        elif len(about) == 3:  # noqa: PLR2004 - identifier, place, digest
            event = wallet.events.event(Aid(about[0]), int(about[1]))
            if event is None or event.event.said != about[2]:
                findings.append(f"lost: {operation} {' '.join(about)}")
    return findings


def _examined(store: SqliteWallet, wallet: Wallet, *, in_flight: bool) -> list[str]:
    """Return what the doctor finds: nothing but a creation that was cut off, which is repeated."""

    def below(own: Collection[Aid]) -> Iterator[tuple[str, str]]:
        return ((one.where, one.what) for one in fsck.check(store.database, own=own))

    report = doctor.examine(
        store, wallet, below, moment=store.database.snapshot(), progress=lambda *_: None
    )
    return [
        f"doctor: {one.kind} {one.about}: {one.what}"
        for one in report.findings
        if one.severity is Severity.PROBLEM and not (in_flight and one.kind is Kind.MARK_UNKNOWN)
    ]


def _without_control(wallet: Wallet, record: IdentifierRecord) -> list[str]:
    """Return what is wrong with an identifier: keys that are gone, a rotation that fails."""
    state = wallet.events.key_state(record.aid)
    if state is None:
        return [f"{record.name} has no log"]
    findings = []
    for digest in state.establishment.next_key_digests:
        key = wallet.key(digest)
        if key is None or not key.uri:
            findings.append(f"the log of {record.name} commits to a key that is gone")
            continue
        source = KeySource(key.uri, Suite[key.suite], wallet.secret(key))
        (raw,) = wallet.vault.public_keys([source])
        if raw != parse_key(key.public_key).raw:
            findings.append(f"the key {digest} is another one")
    if not findings and state.establishment.transferable:
        identifiers.rotate(wallet, record.name, Change())
    return findings


def _init(root: Path) -> None:
    home = root / "home"
    try:
        store = SqliteWallet.create(home)
    except KeysteadError as error:
        if error.code is not ErrorCode.EXISTS:
            raise
        store = SqliteWallet.open(home)
    try:
        data_key = envelopes.new_data_key()
        closed = envelopes.close(
            envelopes.new_wallet_id(), data_key, PHRASES[0].encode(), _PARAMETERS
        )
        vault = LocalVault(closed.wallet, data_key, root / "state")
        vault.adopt()
        with store.transaction():
            store.set_envelope(closed)
            begin(Wallet(store, vault, now=_now, actor="crash"), closed)
    finally:
        store.close()


def _is_ready(root: Path) -> bool:
    try:
        store = SqliteWallet.open(root / "home")
    except StoreError as error:
        if error.code is not ErrorCode.STORE_MISSING:
            raise
        return False
    try:
        store.envelope()
    except StoreError:
        return False
    finally:
        store.close()
    return True


def _phrases(told: Sequence[Sequence[str]], *, in_flight: bool) -> list[int]:
    """Return the passphrases that may fit: that of the last change, and one that was cut off."""
    changes = [int(about[0]) for operation, *about in told if operation == "passphrase"]
    last = changes[-1] if changes else 0
    return [last, 1 - last] if in_flight else [last]


def _try_all(store: SqliteWallet, phrases: Sequence[int]) -> tuple[bytes, int]:
    """Return the data key, and the passphrase that opens it."""
    for number in phrases[:-1]:
        try:
            return envelopes.open_with(store.envelope(), PHRASES[number].encode()), number
        except KeysteadError as error:
            if error.code is not ErrorCode.PASSPHRASE:
                raise
    last = PHRASES[phrases[-1]].encode()
    data_key = unlock(store, lambda found: envelopes.open_with(found, last), now=_now())
    return data_key, phrases[-1]


def _now() -> datetime:
    return datetime.now(UTC)
