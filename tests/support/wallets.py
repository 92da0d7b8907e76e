"""Wallets to test with: a real store and a real vault, with a clock that tests set."""

import shutil
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from keystead.keystores.vault import LocalVault
from keystead.node.audit import Audit
from keystead.owner.exporting import log_stream
from keystead.owner.wallet import Wallet, begin
from keystead.stores.memory import MemoryStore
from keystead.stores.wallet import SqliteWallet

DATA_KEY = b"k" * 32
WALLET = "wallet-of-tests"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        """Return the time."""
        return self.at

    def advance(self, by: timedelta) -> None:
        """Go on."""
        self.at += by


class LocalWallet(Wallet):
    """An open wallet that knows where its files are: `home` and `state` in a folder.

    Attributes:
        folder: of the machine.
        clock: what it takes for the time.
        sqlite: its store.
        local: its vault.
    """

    def __init__(self, folder: Path, store: SqliteWallet, clock: Clock, data_key: bytes) -> None:
        """Use an open store; it is closed when nobody uses it any longer."""
        self.folder, self.clock, self.sqlite, self.data_key = folder, clock, store, data_key
        self.local = LocalVault(WALLET, data_key, folder / "state")
        super().__init__(store, self.local, now=clock, actor="tester")
        weakref.finalize(store.database, _close, store.database.connection)

    @property
    def home(self) -> Path:
        """The folder of the wallet."""
        return self.folder / "home"


def _close(connection: sqlite3.Connection) -> None:
    """Close a connection, if this is its thread: garbage is collected in whichever runs."""
    with suppress(sqlite3.ProgrammingError):
        connection.close()


def make_wallet(
    folder: Path, *, clock: Clock | None = None, data_key: bytes = DATA_KEY
) -> LocalWallet:
    """Make a wallet in a folder that stands for a machine."""
    store = SqliteWallet.create(folder / "home")
    wallet = LocalWallet(folder, store, clock or Clock(), data_key)
    wallet.local.adopt()
    begin(wallet)
    return wallet


def open_again(
    folder: Path, *, clock: Clock | None = None, data_key: bytes = DATA_KEY
) -> LocalWallet:
    """Open the wallet of a machine."""
    return LocalWallet(folder, SqliteWallet.open(folder / "home"), clock or Clock(), data_key)


def reopen(wallet: LocalWallet) -> LocalWallet:
    """Open the files of a wallet again, as another process would."""
    return open_again(wallet.folder, clock=wallet.clock, data_key=wallet.data_key)


def snapshot(wallet: LocalWallet, target: Path) -> Path:
    """Copy the folder of a wallet as a backup program would, and return the copy."""
    wallet.sqlite.scrub()
    target.mkdir(mode=0o700, parents=True)
    copied = target / "wallet.db"
    shutil.copyfile(wallet.home / "wallet.db", copied)
    copied.chmod(0o600)
    return target


def put_back(wallet: LocalWallet, copied: Path) -> LocalWallet:
    """Replace the folder of a wallet by an older copy; the marks of the machine stay."""
    wallet.sqlite.close()
    shutil.rmtree(wallet.home)
    shutil.copytree(copied, wallet.home)
    return reopen(wallet)


def copy(wallet: LocalWallet, folder: Path) -> LocalWallet:
    """Copy a wallet to another machine, which has no marks of it."""
    snapshot(wallet, folder / "home")
    return open_again(folder, clock=wallet.clock, data_key=wallet.data_key)


def judged(wallet: LocalWallet, *names: str) -> Audit:
    """Return what a stranger finds in the exported logs of identifiers, without a fault."""
    audit = Audit(MemoryStore(), wallet.now())
    for name in names:
        for message in log_stream(wallet, name):
            audit.feed(message)
    audit.close()
    assert not audit.refused
    assert not audit.waiting
    assert not audit.duplicitous
    return audit


class Power(Exception):  # noqa: N818 - what happens, not an error of the project
    """The power went."""


@contextmanager
def crash_before_keeping() -> Iterator[None]:
    """Have the power go after an event was signed and before it is on its log."""

    def gone(*_: object) -> None:
        raise Power

    with (
        patch("keystead.owner.events.accept", gone),
        patch("keystead.owner.identifiers.accept", gone),
        suppress(Power),
    ):
        yield
