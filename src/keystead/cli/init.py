"""`keystead init`: make a wallet."""

import click

from keystead.cli.output import as_json, printable
from keystead.cli.wallets import (
    WalletPlace,
    actor,
    ask_new_passphrase,
    kdf_option,
    marks_folder,
    now,
    wallet_options,
)
from keystead.errors import ErrorCode, StoreError, UsageError
from keystead.keystores import envelope as envelopes
from keystead.keystores.hardening import harden
from keystead.keystores.vault import LocalVault
from keystead.owner.wallet import Wallet, begin
from keystead.ports.wallet import Envelope
from keystead.stores.wallet import SqliteWallet


@click.command(
    epilog="""\b
Examples:
  keystead init                                  press Enter to have a passphrase made
  keystead init --home ./alice --passphrase-file alice.txt
                                                 for scripts
  keystead init --kdf low-memory                 on a machine with little memory"""
)
@wallet_options
@kdf_option
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def init(place: WalletPlace, *, kdf: str, json_output: bool) -> None:
    """Make a wallet, which will hold your keys.

    You are asked for a passphrase twice, or get one of six words. Whoever has a copy of the
    wallet can do nothing without it; neither can you, so write it down.

    An interrupted init is finished by the next.
    """
    harden()
    store = _store(place)
    try:
        _check_new(store, place)
        passphrase = ask_new_passphrase(place.passphrase)
        made = _make(store, place, passphrase, kdf)
    finally:
        store.close()
    if json_output:
        told = {"memory_kib": made.memory_kib, "passes": made.passes, "lanes": made.lanes}
        click.echo(as_json({"home": str(place.home), "wallet": made.wallet, "kdf": told}))
    else:
        click.echo(f"made a wallet in {printable(str(place.home))}")
        click.echo("next: keystead unlock, then keystead id create NAME")


def _store(place: WalletPlace) -> SqliteWallet:
    """Return the store of a new wallet, or that of an interrupted `init`."""
    try:
        return SqliteWallet.create(place.home)
    except UsageError as error:
        if error.code is not ErrorCode.EXISTS:
            raise
        return SqliteWallet.open(place.home)


def _check_new(store: SqliteWallet, place: WalletPlace) -> None:
    """Check that there is no wallet: one is made as a whole, so its envelope tells."""
    try:
        store.envelope()
    except StoreError as error:
        if error.code is ErrorCode.STORE_MISSING:
            return
        raise
    hint = "use it, or make another one in a folder of its own: --home FOLDER"
    what = f"there is a wallet in {place.home}"
    raise UsageError(ErrorCode.EXISTS, what, hint=hint)


def _make(store: SqliteWallet, place: WalletPlace, passphrase: bytes, profile: str) -> Envelope:
    """Make keys and records; a kill at any time leaves a whole wallet or none."""
    name, data_key = envelopes.new_wallet_id(), envelopes.new_data_key()
    envelope = envelopes.make(name, data_key, passphrase, profile)
    vault = LocalVault(name, data_key, marks_folder(name))
    # First the marks: a wallet without them would be taken for a copy. Without a wallet they are
    # an empty file.
    vault.adopt()
    with store.transaction():
        _check_new(store, place)  # somebody else may have been faster
        store.set_envelope(envelope)
        begin(Wallet(store, vault, now=now, actor=actor()), envelope)
    return envelope
