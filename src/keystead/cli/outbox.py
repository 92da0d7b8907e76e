"""`keystead outbox`: what witnesses still have to be given, and what they have to give."""

from typing import TYPE_CHECKING, Any

import click

from keystead.cli.asking import confirm
from keystead.cli.collecting import (
    patience_for,
    run_until,
    tell_misuse,
    tell_waiting,
    timeout_option,
)
from keystead.cli.fetching import Network, network_options
from keystead.cli.id_options import json_option, read_aid, read_place
from keystead.cli.invitations import (
    Invitation,
    codes_for,
    invitations_option,
    keep_codes,
    witnesses_of,
)
from keystead.cli.output import ExitCode, as_json, counted, printable, say
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.owner.outbox import Delivery, Outgoing
    from keystead.owner.wallet import Wallet


@click.group(
    epilog="""\b
Examples:
  keystead outbox list                           what witnesses still have to get or to give
  keystead outbox run                            try what is due
  keystead outbox run --watch --timeout 600      until nothing is left, at most ten minutes
  keystead outbox cancel alice --witness BBilc4-L3tFUnfM_wJr4S4OJanAv_VmF_dJNN6vkf2Ha --yes"""
)
def outbox() -> None:
    """Collect receipts that are missing still, or give them up.

    Every event of an identifier with witnesses goes to all of them. What a command did not get
    done in time stays here, whatever happens to the machine, until it is done or given up.
    """


@outbox.command(
    "list",
    epilog="""\b
Examples:
  keystead outbox list
  keystead outbox list alice --json

\b
Steps: introduce (the witness has to get the log first), submit (it has to get the event), poll
(it holds the event back), done (its receipt is here), refused (it holds another event at that
place: see keystead id reconcile --help), cancelled.""",
)
@click.argument("name", required=False)
@json_option
@wallet_options
def list_all(place: WalletPlace, name: str | None, *, json_output: bool) -> None:
    """Show what is left to do for each witness."""
    from keystead.owner.outbox import submissions  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        aid = None if name is None else wallet.identifier(name).aid
        found = [_value(wallet, one) for one in submissions(wallet, aid)]
    if json_output:
        click.echo(as_json({"events": found}))
    elif not found:
        click.echo("nothing waits for witnesses")
    else:
        for value in found:
            click.echo("\n".join(_lines(value)))


@outbox.command(
    epilog="""\b
Examples:
  keystead outbox run                            what is due now
  keystead outbox run alice --now                also what should be tried later
  keystead outbox run --watch --timeout 600      until nothing is left, at most ten minutes
  keystead outbox run alice --again              also what was given up
  keystead outbox run alice --invitations codes.txt
                                                 for a witness that takes no strangers

\b
A witness that does not answer is tried again after a moment, and then less and less often, up to
once an hour. Exit codes: 0 every event has enough receipts, 4 one has not.""",
)
@click.argument("name", required=False)
@click.option("--now", "at_once", is_flag=True, help="Try also what should be tried later.")
@click.option("--watch", is_flag=True, help="Go on until nothing is left, or time is up.")
@click.option("--again", is_flag=True, help="Take up again what was given up.")
@invitations_option
@timeout_option
@network_options
@json_option
@wallet_options
def run(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    name: str | None,
    *,
    at_once: bool,
    watch: bool,
    again: bool,
    invitations: list[Invitation],
    timeout: float,
    network: Network,
    json_output: bool,
) -> None:
    """Give events to witnesses, and collect their receipts."""
    from keystead.owner.outbox import submissions  # noqa: PLC0415 - for --help
    from keystead.owner.renewal import take_up_again  # noqa: PLC0415 - as above
    from keystead.owner.witnesses import lacking  # noqa: PLC0415 - as above

    if invitations and name is None:
        what = "--invitations is for one identifier"
        raise UsageError(
            ErrorCode.ARGUMENT, what, hint="keystead outbox run NAME --invitations FILE"
        )
    with open_wallet(place) as wallet:
        aid = None if name is None else wallet.identifier(name).aid
        if again:
            take_up_again(wallet, aid)
        if name is not None:
            codes = codes_for(wallet, invitations, witnesses_of(wallet, name), {})
            keep_codes(wallet, name, codes)
        done = run_until(
            wallet,
            network.transport(),
            aid,
            patience=patience_for(timeout),
            done=lambda: not watch,
            at_once=at_once or again,
        )
        left = [_value(wallet, one) for one in submissions(wallet, aid)]
        short = lacking(wallet, aid)
        tell_misuse(wallet, aid)
        for one in short:
            tell_waiting(wallet, one.aid, one.event.said)
    if json_output:
        value = {"receipts": done.receipts, "failures": done.failures, "events": left}
        click.echo(as_json(value))
    else:
        click.echo(f"{counted(done.receipts, 'new receipt')}, {done.failures} tries failed")
        for told in left:
            click.echo("\n".join(_lines(told)))
    click.get_current_context().exit(ExitCode.WAITING if short else ExitCode.DONE)


@outbox.command(
    epilog="""\b
Examples:
  keystead outbox cancel alice --witness BBilc4-L3tFUnfM_wJr4S4OJanAv_VmF_dJNN6vkf2Ha
  keystead outbox cancel alice --sn 3 --yes

\b
The event stays in the log: it is signed, and others may have it. Nothing is undone. With fewer
receipts than it needs nobody accepts it, and nothing can follow it, until the work is taken up
again with: keystead outbox run NAME --again""",
)
@click.argument("name")
@click.option("--witness", metavar="AID", help="Give up the work for this witness only.")
@click.option("--sn", metavar="PLACE", help="Give up the work for this event only (hexadecimal).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@wallet_options
def cancel(
    place: WalletPlace,
    name: str,
    *,
    witness: str | None,
    sn: str | None,
    yes: bool,
    json_output: bool,
) -> None:
    """Give up the work for a witness or an event; the event is not undone."""
    from keystead.owner.renewal import give_up  # noqa: PLC0415 - for --help
    from keystead.owner.witnesses import lacking  # noqa: PLC0415 - as above

    wanted, who = read_place(sn), None if witness is None else read_aid(witness)
    with open_wallet(place) as wallet:
        record = wallet.identifier(name)
        for one in lacking(wallet, record.aid):
            if wanted in (None, one.event.sn):
                say(f"warning: event {one.event.sn:x} of {record.name} has too few receipts")
                say("warning: without them nobody accepts it, and nothing can follow it")
        confirm(f"Give up what {printable(record.name)} still wants of witnesses?", yes=yes)
        count = give_up(wallet, record.aid, sn=wanted, witness=who)
    if json_output:
        click.echo(as_json({"name": record.name, "aid": record.aid, "cancelled": count}))
    else:
        click.echo(f"gave up {counted(count, 'piece')} of work; the events stay in the log")
        say(f"to take it up again: keystead outbox run {printable(record.name)} --again")


def _value(wallet: "Wallet", work: "Outgoing") -> dict[str, Any]:
    """Return what is left to do for an event as JSON values."""
    from keystead.owner.witnesses import find_shown  # noqa: PLC0415 - for --help

    shown = find_shown(wallet, work.aid, work.said)
    return {
        "name": wallet.identifier(work.aid).name,
        "aid": work.aid,
        "sn": f"{work.sn:x}",
        "said": work.said,
        "since": work.since,
        "receipts": 0 if shown is None else len(shown.receipted),
        "threshold": 0 if shown is None else shown.threshold,
        "witnesses": [_delivery(one) for one in work.deliveries],
    }


def _delivery(one: "Delivery") -> dict[str, Any]:
    return {
        "aid": one.witness,
        "step": one.step.value,
        "cut": one.cut,
        "attempts": one.attempts,
        "code": one.code or None,
        "detail": one.detail or None,
        "next_at": one.next_at or None,
    }


def _lines(value: dict[str, Any]) -> list[str]:
    told = f"{counted(value['receipts'], 'receipt')}, needs {value['threshold']}"
    lines = [f"{printable(value['name'])} event {value['sn']}  {told}"]
    for one in value["witnesses"]:
        line = f"  {one['aid']}  {one['step']}"
        if one["cut"]:
            line += ", is no witness any more"
        if one["detail"]:
            line += f": {printable(one['detail'])} [{one['code']}]"
        if one["next_at"]:
            line += f"; again at {one['next_at'][:19]}"
        lines.append(line)
    return lines
