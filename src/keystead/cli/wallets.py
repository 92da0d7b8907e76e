"""How commands find and open the wallet: the folder, the signer process, the passphrase."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from keystead.cli.secrets import SecretSource, new_secret, passphrase_options, read_secret
from keystead.errors import KeysteadError
from keystead.owner.wallet import Wallet

if TYPE_CHECKING:
    from keystead.owner.unlocking import GuardedStore
    from keystead.stores.wallet import SqliteWallet

Result = TypeVar("Result")

HOME: Final = "KEYSTEAD_HOME"
STATE: Final = "KEYSTEAD_STATE"


class WalletPlace(msgspec.Struct, frozen=True):
    """Which wallet a command is about, and how it is opened when it is locked.

    Attributes:
        home: folder of the wallet.
        passphrase: where the passphrase comes from.
    """

    home: Path
    passphrase: SecretSource


def wallet_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options that name a wallet, as one argument `place`."""

    @click.option(
        "--home",
        metavar="FOLDER",
        help=f"Folder of the wallet; otherwise ${HOME}, or the usual place of your system.",
    )
    @passphrase_options
    @wraps(command)
    def with_place(*args: Any, **options: Any) -> Result:  # noqa: ANN401 - of any command
        options["place"] = WalletPlace(home_folder(options.pop("home")), options.pop("passphrase"))
        return command(*args, **options)

    return with_place


def kdf_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the option that says how much one try of a passphrase costs."""
    return click.option(
        "--kdf",
        type=click.Choice(["default", "low-memory", "strong", "paranoid"]),
        default="default",
        show_default=True,
        help="How much one try of the passphrase costs: 256, 64, 512 or 2048 MiB of memory.",
    )(command)


def home_folder(asked: str | None) -> Path:
    """Return the folder of the wallet."""
    if asked or (asked := os.environ.get(HOME)):
        return Path(asked).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - only when no folder is named

    return platformdirs.user_data_path("keystead")


def marks_folder(wallet: str) -> Path:
    """Return the folder of the marks of a wallet: apart from it, so that copies are found out."""
    if asked := os.environ.get(STATE):
        return Path(asked).expanduser().absolute() / wallet
    import platformdirs  # noqa: PLC0415 - as above

    return platformdirs.user_state_path("keystead") / wallet


@contextmanager
def open_wallet(place: WalletPlace) -> Iterator[Wallet]:
    """Open a wallet: through the signer process if there is one, otherwise by its passphrase.

    Raises:
        KeysteadError: there is no wallet, the passphrase does not fit, or a file is not as it
            must be.
    """
    with open_store(place) as store, find_unlocked(place, store) as unlocked:
        wallet = open_locked(place, store)[0] if unlocked is None else unlocked
        _finish_erasure(wallet)
        try:
            yield wallet
        finally:
            remember(wallet)


def remember(wallet: Wallet) -> None:
    """Have this machine know what the command did; where it cannot be kept, the next one tries."""
    with suppress(KeysteadError):
        wallet.remember()


def _finish_erasure(wallet: Wallet) -> None:
    """Overwrite what was erased, if a crash came between; a failure can wait, doctor tells it."""
    with suppress(KeysteadError):
        if wallet.state().scrub:
            from keystead.owner.shredding import finish_scrub  # noqa: PLC0415 - seldom needed

            finish_scrub(wallet)


@contextmanager
def open_store(place: WalletPlace) -> Iterator["SqliteWallet"]:
    """Open the store of a wallet; errors as `SqliteWallet.open`."""
    from keystead.stores.wallet import SqliteWallet  # noqa: PLC0415 - for --help

    store = SqliteWallet.open(place.home)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def find_unlocked(place: WalletPlace, store: "GuardedStore") -> Iterator[Wallet | None]:
    """Open a wallet through its signer process; None if there is none.

    Raises:
        KeystoreError: something else is in its place, or it does not answer
            (keystore.signer_process).
    """
    from keystead.keystores.remote import find_vault  # noqa: PLC0415 - for --help

    vault = find_vault(place.home, store.envelope().wallet)
    if vault is None:
        yield None
        return
    try:
        yield Wallet(store, vault, now=now, actor=actor())
    finally:
        vault.close()


def open_locked(
    place: WalletPlace, store: "GuardedStore", *, examined: bool = False
) -> tuple[Wallet, bytearray]:
    """Open a wallet by its passphrase; return its data key too.

    Args:
        place: where it is, and where the passphrase comes from.
        store: its store.
        examined: it is opened to be examined, so nothing needs to be as it should be.

    Raises:
        KeystoreError: the passphrase does not fit, or is not the latest, or the history of the
            wallet was changed (keystore.tampered).
        UsageError: there is none to be had.
    """
    from keystead.keystores.envelope import open_with  # noqa: PLC0415 - only when it is locked
    from keystead.keystores.hardening import harden  # noqa: PLC0415 - as above
    from keystead.keystores.passphrase import normalized  # noqa: PLC0415 - as above
    from keystead.keystores.vault import LocalVault  # noqa: PLC0415 - as above
    from keystead.owner.unlocking import check_envelope, unlock  # noqa: PLC0415 - as above

    harden()
    passphrase = normalized(read_secret(place.passphrase, "Passphrase of the wallet: "))
    data_key = unlock(store, lambda envelope: open_with(envelope, passphrase), now=now())
    name = store.envelope().wallet
    vault = LocalVault(name, data_key, marks_folder(name))
    wallet = Wallet(store, vault, now=now, actor=actor())
    if not examined:
        wallet.records.check_chain()
        check_envelope(wallet, store)
    return wallet, bytearray(data_key)


def ask_new_passphrase(source: SecretSource) -> bytes:
    """Ask for a new passphrase; one that is made is shown on the terminal, and nowhere else.

    Raises:
        UsageError: as `new_secret`.
        click.Abort: the input was closed at the prompt.
    """
    from keystead.keystores.passphrase import normalized  # noqa: PLC0415 - only for new ones

    text, generated = new_secret(source)
    if generated:
        show_generated(text, "wallet")
    return normalized(text)


def show_generated(passphrase: str, what: str) -> None:
    """Show a passphrase on the terminal, and nowhere else, until it is written down.

    Raises:
        click.Abort: the input was closed.
    """
    with Path("/dev/tty").open("r+b", buffering=0) as terminal:
        terminal.write(_SHOWN.format(what, passphrase, what).encode())
        if not terminal.readline():
            raise click.Abort


_SHOWN: Final = """\
The passphrase of your {}:

    {}

Write it down and keep it apart from this machine. It is not shown again, and without it the
{} cannot be opened by anybody. Press Enter when it is written down: """


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def actor() -> str:
    """Return who runs this command, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
