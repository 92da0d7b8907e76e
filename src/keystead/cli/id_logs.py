"""`keystead id export` and `reconcile`: logs that go out, and published ones that come back."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.files import check_place, read_start, write_file
from keystead.cli.id_options import json_option
from keystead.cli.output import as_json, counted, printable, say
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.cesr.keys import Aid
    from keystead.owner.settlement import Settled
    from keystead.owner.wallet import IdentifierRecord, Wallet
    from keystead.ports import EventStore

_EVENT_START = b'{"v":"KERI'


@click.command(
    epilog="""\b
Examples:
  keystead id export alice -o alice.cesr         replaces only an older export of this log
  keystead id export alice > alice.cesr
  keystead id export alice | keystead log verify -

\b
The file holds the whole log, those of its delegators, and notices of compromised keys: anyone can
verify it alone. Nothing in it is secret, and your name for it is not in it.""",
)
@click.argument("name")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@json_option
@wallet_options
def export(place: WalletPlace, name: str, *, output: str | None, json_output: bool) -> None:
    """Give out the log of an identifier, for those who verify it.

    With --json, which needs -o, the result tells what was written.
    """
    from keystead.cli.published import tell_behind  # noqa: PLC0415 - for --help
    from keystead.owner import exporting  # noqa: PLC0415 - as above

    if json_output and output is None:
        what = "the log itself goes to standard output, so --json needs -o FILE"
        raise UsageError(ErrorCode.ARGUMENT, what)
    with open_wallet(place) as wallet:
        record = wallet.identifier(name)
        given = exporting.outgoing(wallet, record.aid)
        messages = list(exporting.log_stream(wallet, record.aid))
        if tell_behind(wallet, record.aid):
            given = []  # others may have a newer log, so these events are still to be given out
        if output is None:
            _write_stdout(b"".join(messages))
        else:
            _write_file(wallet, record.aid, output, b"".join(messages))
        exporting.mark_given(wallet, given)
    value = {
        "name": record.name,
        "aid": record.aid,
        "file": output,
        "bytes": sum(map(len, messages)),
        "messages": len(messages),
        "new": [f"{one.sn:x}" for one in given],
    }
    if json_output:
        click.echo(as_json(value))
    elif output is not None:
        fresh = f", {len(given)} of them new" if given else ""
        click.echo(f"wrote {counted(len(messages), 'message')} to {printable(output)}{fresh}")


@click.command(
    epilog="""\b
Examples:
  keystead id reconcile alice --log alice.cesr   compare with the published log
  keystead id reconcile --log everything.cesr    all identifiers whose logs are in the file
  keystead id reconcile alice --i-accept-duplicity
                                                 there is no published log
  keystead id reconcile --i-accept-duplicity     the same for all, also a wallet that has none yet
  keystead id reconcile alice --log alice.cesr --yes
                                                 for scripts: you made its events

\b
A wallet that was restored or copied may be behind: later events may have been signed by another
copy. To sign another event for the same place would be duplicity, and nobody would trust the
identifier any more. So such a wallet signs nothing for an identifier until its published log was
compared. Events that this copy does not have are taken over, with their keys. Those that this
machine did not sign are shown first: if you did not make them, somebody else has your keys. Without a published
log only you can know whether another copy signed anything: --i-accept-duplicity goes into the
audit log of the wallet.""",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--log", "log", metavar="FILE|-", help="Published logs, such as from an export.")
@click.option(
    "--i-accept-duplicity",
    "accept",
    is_flag=True,
    help="Go on although later events may have been signed elsewhere.",
)
@click.option("--yes", is_flag=True, help="You made the events of the log; do not ask.")
@json_option
@wallet_options
def reconcile(
    place: WalletPlace,
    names: tuple[str, ...],
    *,
    log: str | None,
    accept: bool,
    yes: bool,
    json_output: bool,
) -> None:
    """Bring a restored or copied wallet up to its published logs."""
    from keystead.cli.published import confirm_adoption, read_logs  # noqa: PLC0415 - for --help
    from keystead.owner.restoring import make_known  # noqa: PLC0415 - as above
    from keystead.owner.settlement import reconcile as settle  # noqa: PLC0415 - as above
    from keystead.stores.memory import MemoryStore  # noqa: PLC0415 - as above

    if log is None and not accept:
        what = "a published log is needed to compare with"
        hint = "give --log FILE; if there is none: NAME --i-accept-duplicity"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    published: EventStore = MemoryStore() if log is None else read_logs(log)
    with open_wallet(place) as wallet:
        wanted = [wallet.identifier(name).aid for name in names]
        if not names:
            own = wallet.identifiers()
            wanted = [one.aid for one in own] if log is None else _given(own, published)
        confirm_adoption(wallet, wanted, published, yes=yes)
        done = [settle(wallet, aid, published, accept_duplicity=accept) for aid in wanted]
        known = not done and make_known(wallet)
        left = _left(wallet)
    if json_output:
        value = {"reconciled": [_settled_value(one) for one in done], "left": left}
        click.echo(as_json(value))
        return
    for one in done:
        click.echo(_settled_line(one))
    if not done:
        told = "is known on this machine now" if known else "was known on this machine already"
        click.echo(f"the wallet has no identifiers; it {told}")
    if left:
        say(f"note: {len(left)} identifiers have not been compared yet: {', '.join(left[:10])}")


def _given(own: "list[IdentifierRecord]", published: "EventStore") -> "list[Aid]":
    """Return one's own identifiers whose logs are there.

    Raises:
        UsageError: there is none (usage.unknown).
    """
    known = set(published.identifiers())
    found = [one.aid for one in own if one.aid in known and not one.pending]
    if not found:
        what = "no identifier of this wallet is in the published logs that were given"
        raise UsageError(ErrorCode.UNKNOWN, what)
    return found


def _left(wallet: "Wallet") -> list[str]:
    from keystead.owner.settlement import unreconciled  # noqa: PLC0415 - for --help

    return [one.name for one in unreconciled(wallet)]


def _settled_value(one: "Settled") -> dict[str, Any]:
    return {
        "name": one.name,
        "aid": one.aid,
        "sn": f"{one.sn:x}",
        "adopted": one.adopted,
        "compromised": one.compromised,
        "finished": one.finished,
    }


def _settled_line(one: "Settled") -> str:
    told = "nothing was missing"
    if one.adopted:
        told = f"{counted(one.adopted, 'event')} taken over"
    if one.compromised:
        told += f"; keys that its notices tell to be compromised: {one.compromised}"
    if one.finished:
        told += "; the event that a crash had left was finished"
    return f"{printable(one.name)} stands at event {one.sn:x}: {told}"


def _write_stdout(data: bytes) -> None:
    """Write to standard output, and where that is a file make it durable."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    with suppress(OSError):  # pipes and terminals keep nothing
        os.fsync(sys.stdout.fileno())


def _write_file(wallet: "Wallet", aid: "Aid", name: str, data: bytes) -> None:
    """Write a file as a whole, or leave what is there.

    Raises:
        UsageError: it holds something else than an older log, or cannot be written (usage.file).
    """
    if check_place(name):
        from keystead.cli.published import check_replaceable  # noqa: PLC0415 - for --help

        if read_start(name, len(_EVENT_START)) not in (b"", _EVENT_START):
            what = f"{name} exists and is no log; it is not overwritten"
            raise UsageError(ErrorCode.FILE, what, hint="give the name of a new file to -o")
        check_replaceable(wallet, aid, name, len(data))
    write_file(name, data, replace=True)
