"""`keystead status`: how a wallet is, and what to do next."""

from shlex import quote
from typing import Any

import click
import msgspec

from keystead.cli.output import as_json, counted, printable
from keystead.cli.wallets import (
    WalletPlace,
    find_unlocked,
    now,
    open_locked,
    open_store,
    wallet_options,
)
from keystead.custody.catalogue import KeyType
from keystead.custody.cryptoperiods import Notice, NoticeKind, warnings
from keystead.custody.records import KeyRecord
from keystead.keystores.remote import RemoteVault
from keystead.owner.outbox import Outgoing
from keystead.owner.settlement import unreconciled
from keystead.owner.wallet import IDENTIFIER, KEY, OUTBOX, Wallet
from keystead.owner.witnesses import lacking
from keystead.stores.wallet import SqliteWallet


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a wallet is; None: that cannot be told without the passphrase.

    Attributes:
        home: its folder.
        unlocked: commands need no passphrase.
        seconds_left: until it locks itself, if it is unlocked.
        identifiers: own identifiers.
        outbox: events of theirs that were not exported yet; without the passphrase those too
            that witnesses have to get.
        pending: names of identifiers that wait for their delegators.
        unreconciled: names of identifiers that have to be compared with their published logs.
        witnessing: events for which something is left to do with witnesses.
        unwitnessed: names of identifiers whose last event lacks receipts.
        current: no older copy of the wallet was put back.
        notices: warnings about keys.
    """

    home: str
    unlocked: bool
    seconds_left: int | None
    identifiers: int
    outbox: int
    pending: list[str] | None = None
    unreconciled: list[str] | None = None
    witnessing: int | None = None
    unwitnessed: list[str] | None = None
    current: bool | None = None
    notices: list[Notice] | None = None

    def hint(self) -> str:
        """Return what to do next."""
        if self.unreconciled:
            return "keystead id reconcile NAME --log FILE"
        if self.current is False:
            how = "--log FILE" if self.identifiers else "--i-accept-duplicity"
            return f"put the latest copy of the wallet back, or: keystead id reconcile {how}"
        for notice in self.notices or ():
            if command := _renewal(notice):
                return command
        if self.pending:
            return f"keystead delegation request {quote(self.pending[0])}"
        if self.unwitnessed:
            return f"keystead outbox run {quote(self.unwitnessed[0])}"
        if not self.identifiers:
            return "keystead id create NAME"
        return self._outgoing() or ("" if self.unlocked else "keystead unlock")

    def _outgoing(self) -> str:
        if self.witnessing:
            return "keystead outbox run"
        return "keystead id export NAME, and give the log to others" if self.outbox else ""


@click.command(
    epilog="""\b
Examples:
  keystead status                                asks for no passphrase
  keystead status --passphrase-file alice.txt    tells more when the wallet is locked
  keystead status --json                         for programs"""
)
@wallet_options
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def status(place: WalletPlace, *, json_output: bool) -> None:
    """Show how the wallet is and what to do next.

    While the wallet is locked, and without --passphrase-file or --passphrase-fd, only what is not
    encrypted can be told.
    """
    with open_store(place) as store:
        found = _status(place, store)
    if json_output:
        value: dict[str, Any] = msgspec.to_builtins(found)
        click.echo(as_json({**value, "next": found.hint()}))
        return
    for line in _lines(found):
        click.echo(printable(line))


def _status(place: WalletPlace, store: SqliteWallet) -> Status:
    bare = Status(
        home=str(place.home),
        unlocked=False,
        seconds_left=None,
        identifiers=sum(1 for _ in store.rows(IDENTIFIER)),
        outbox=sum(1 for _ in store.rows(OUTBOX)),
    )
    with find_unlocked(place, store) as wallet:
        if wallet is not None and isinstance(wallet.vault, RemoteVault):
            left = wallet.vault.seconds_left
            return _opened(msgspec.structs.replace(bare, unlocked=True, seconds_left=left), wallet)
    if place.passphrase.file is None and place.passphrase.fd is None:
        return bare
    return _opened(bare, open_locked(place, store)[0])


def _opened(bare: Status, wallet: Wallet) -> Status:
    """Add what only an open wallet tells."""
    work = wallet.records.all(OUTBOX, Outgoing)
    lacks = dict.fromkeys(one.aid for one in lacking(wallet))
    return msgspec.structs.replace(
        bare,
        outbox=sum(not one.deliveries for one in work),
        witnessing=sum(bool(one.deliveries) for one in work),
        unwitnessed=[wallet.identifier(aid).name for aid in lacks],
        pending=[one.name for one in wallet.identifiers() if one.pending],
        unreconciled=[one.name for one in unreconciled(wallet)],
        current=wallet.is_current(),
        notices=warnings(wallet.records.all(KEY, KeyRecord), now()),
    )


def _lines(found: Status) -> list[str]:
    lines = [f"home         {found.home}"]
    if found.seconds_left is not None:
        lines.append(f"wallet       unlocked, locks after {found.seconds_left} s without use")
    else:
        lines.append("wallet       locked")
    lines += [
        f"identifiers  {found.identifiers}",
        f"not exported {counted(found.outbox, 'event')}",
    ]
    if found.witnessing:
        lines.append(f"witnesses    miss something of {counted(found.witnessing, 'event')}")
    lines += [f"waits        {name}: for its delegator" for name in found.pending or ()]
    lines += [f"waits        {name}: for receipts" for name in found.unwitnessed or ()]
    lines += [
        f"behind       {name}: compare it with its published log"
        for name in found.unreconciled or ()
    ]
    if found.current is False and not found.unreconciled:
        lines.append("behind       this is not the latest copy of the wallet on this machine")
    lines += [
        f"notice       {one.text}: {one.key}" + (f"; {_renewal(one)}" if _renewal(one) else "")
        for one in found.notices or ()
    ]
    return lines + ([f"next         {found.hint()}"] if found.hint() else [])


def _renewal(notice: Notice) -> str:
    """Return the command that puts another key in place; empty when there is none."""
    if notice.kind is NoticeKind.CLOCK:
        return ""
    if notice.identifier:
        return f"keystead id rotate {notice.identifier}"
    if notice.type is KeyType.WALLET_PASSPHRASE:
        return "keystead passphrase"
    if notice.type is KeyType.MASTER_SEED:
        return f"keystead key retire {notice.key}"
    return ""  # the data key serves as long as its wallet
