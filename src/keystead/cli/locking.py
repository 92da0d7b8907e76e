"""`keystead unlock`, `keystead lock`, `keystead passphrase`."""

import re
from typing import Final

import click

from keystead.cli.output import as_json, say
from keystead.cli.secrets import SecretSource, secret_options
from keystead.cli.wallets import (
    HOME,
    WalletPlace,
    ask_new_passphrase,
    home_folder,
    kdf_option,
    marks_folder,
    open_locked,
    open_store,
    remember,
    wallet_options,
)
from keystead.errors import ErrorCode, StoreError, UsageError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_LONGEST: Final = 24 * 3600


@click.command(
    epilog="""\b
Examples:
  keystead unlock                                lock again after 15 minutes without use
  keystead unlock --for 2h                       after two hours
  keystead unlock --passphrase-fd 3 3< FILE      for scripts"""
)
@wallet_options
@click.option(
    "--for",
    "idle",
    default="15m",
    show_default=True,
    metavar="TIME",
    help="Lock after this time without use: 1s to 24h, in s, m or h.",
)
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def unlock(place: WalletPlace, *, idle: str, json_output: bool) -> None:
    """Keep the wallet open, so that commands need no passphrase.

    A process in the background holds the key of the wallet. It signs for your commands and gives
    no key to anybody. It ends when the wallet is locked: by keystead lock, after some time
    without use, when the machine sleeps, and when it is switched off.
    """
    from keystead.keystores.process import Start, start  # noqa: PLC0415 - not for lock

    seconds = _seconds(idle)
    with open_store(place) as store:
        wallet, data_key = open_locked(place, store)
        about = Start(
            wallet=wallet.vault.wallet,
            home=str(place.home),
            database=str(store.database.path),
            marks=str(marks_folder(wallet.vault.wallet)),
            idle=seconds,
        )
        replaced = start(about, data_key)
    if json_output:
        told = {"home": str(place.home), "seconds": seconds, "was_unlocked": replaced}
        click.echo(as_json(told))
    elif replaced:
        click.echo(f"the wallet was unlocked already; it locks after {idle} without use")
    else:
        click.echo(f"unlocked; it locks after {idle} without use")


def _seconds(text: str) -> int:
    """Return a time in seconds.

    Raises:
        UsageError: it is no time from 1 s to 24 h (usage.argument).
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        what = "--for takes a time from 1s to 24h"
        raise UsageError(ErrorCode.ARGUMENT, what, hint="for example: 90s, 15m, 2h")
    return seconds


@click.command(
    epilog="""\b
Examples:
  keystead lock"""
)
@click.option(
    "--home",
    metavar="FOLDER",
    help=f"Folder of the wallet; otherwise ${HOME}, or the usual place of your system.",
)
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def lock(home: str | None, *, json_output: bool) -> None:
    """Lock the wallet now.

    The process that keeps the wallet open wipes its keys and ends. If there is none, nothing has
    to be done.
    """
    from keystead.keystores import remote  # noqa: PLC0415 - for --help

    folder = home_folder(home)
    was_unlocked = remote.lock(folder)
    if json_output:
        click.echo(as_json({"home": str(folder), "was_unlocked": was_unlocked}))
    else:
        click.echo("locked" if was_unlocked else "the wallet was locked already")


@click.command(
    epilog="""\b
Examples:
  keystead passphrase                            asks for the old one, then for the new one
  keystead passphrase --kdf strong               and makes each try cost more
  keystead passphrase --passphrase-file old.txt --new-passphrase-file new.txt
                                                 for scripts"""
)
@wallet_options
@secret_options("new-passphrase")
@kdf_option
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def passphrase(
    place: WalletPlace, new_passphrase: SecretSource, *, kdf: str, json_output: bool
) -> None:
    """Replace the passphrase of the wallet.

    The key that encrypts the wallet stays the same, so copies of the wallet that were made
    before still open with the old passphrase.
    """
    from keystead.keystores import envelope as envelopes  # noqa: PLC0415 - not for lock
    from keystead.owner.shredding import finish_scrub  # noqa: PLC0415 - as above
    from keystead.owner.unlocking import change_passphrase  # noqa: PLC0415 - as above

    with open_store(place) as store:
        before = store.envelope()
        wallet, data_key = open_locked(place, store)
        text = ask_new_passphrase(new_passphrase)
        after = envelopes.make(before.wallet, bytes(data_key), text, kdf)
        change_passphrase(wallet, store, before=before, after=after)
        try:
            finish_scrub(wallet)
        except StoreError as error:
            say(f"note: the passphrase is new, but the old one is not overwritten yet: {error}")
        remember(wallet)
    if json_output:
        told = {"memory_kib": after.memory_kib, "passes": after.passes, "lanes": after.lanes}
        click.echo(as_json({"home": str(place.home), "kdf": told}))
    else:
        click.echo("the wallet has a new passphrase")
