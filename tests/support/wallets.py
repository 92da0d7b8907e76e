"""Wallets to test with: a real store and a real vault, with a clock that tests set."""

import shutil
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keystead.keystores.vault import LocalVault
from keystead.owner.wallet import Wallet, begin
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
        """Use an open store; it is closed when nobody uses the wallet any longer."""
        self.folder, self.clock, self.sqlite, self.data_key = folder, clock, store, data_key
        self.local = LocalVault(WALLET, data_key, folder / "state")
        super().__init__(store, self.local, now=clock, actor="tester")
        weakref.finalize(self, store.close)

    @property
    def home(self) -> Path:
        """The folder of the wallet."""
        return self.folder / "home"


def make_wallet(
    folder: Path, *, clock: Clock | None = None, data_key: bytes = DATA_KEY
) -> LocalWallet:
    """Make a wallet in a folder that stands for a machine."""
    store = SqliteWallet.create(folder / "home")
    wallet = LocalWallet(folder, store, clock or Clock(), data_key)
    wallet.local.adopt()
    begin(wallet)
    return wallet


def reopen(wallet: LocalWallet) -> LocalWallet:
    """Open the files of a wallet again, as another process would."""
    store = SqliteWallet.open(wallet.home)
    return LocalWallet(wallet.folder, store, wallet.clock, wallet.data_key)


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
    store = SqliteWallet.open(folder / "home")
    return LocalWallet(folder, store, wallet.clock, wallet.data_key)
