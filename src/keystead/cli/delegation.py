"""`keystead delegation`: one identifier approves the keys of another, between wallets, by file."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from keystead.cli.asking import confirm, reason_option
from keystead.cli.collecting import Collecting, collect_for, collecting_options
from keystead.cli.files import check_place, refuse_existing, write_file
from keystead.cli.id_options import json_option
from keystead.cli.output import as_json, printable
from keystead.cli.source import read_chunks
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.keri.events import AnyKeyEvent
    from keystead.owner.delegation import Asked

Result = TypeVar("Result")

_WHAT: Final = {"dip": "an inception", "drt": "a rotation"}


def _force_option(command: Callable[..., Result]) -> Callable[..., Result]:
    told = "Replace another file that is there."
    return click.option("--force", is_flag=True, help=told)(command)


@click.group(
    epilog="""\b
Examples:
  keystead delegation request pump -o pump.request
  keystead delegation approve pump.request --as plant -o pump.answer
  keystead delegation complete pump pump.answer

\b
1. The delegate begins: keystead id create pump --delegator AID; later: keystead id rotate pump
2. It sends a request. The delegator approves it and sends an answer. Neither is secret.
3. The delegate completes. Only then is the event in force.""",
)
def delegation() -> None:
    """Have the keys of one identifier approved by another, which stands above it.

    Each new set of keys of a delegated identifier is approved in the log of its delegator. So
    whoever steals its keys cannot replace them, and the delegator can recover it.
    """


@delegation.command(
    epilog="""\b
Examples:
  keystead delegation request pump -o pump.request
  keystead delegation request pump > pump.request""",
)
@click.argument("name")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@_force_option
@collecting_options
@json_option
@wallet_options
def request(
    place: WalletPlace,
    name: str,
    *,
    output: str | None,
    force: bool,
    collecting: Collecting,
    json_output: bool,
) -> None:
    """Write what the delegator needs to approve the event that waits.

    It can be written again until the event is complete. If the identifier has witnesses, it holds
    their receipts, for a delegator approves nothing without. With --json, which needs -o, the
    result tells what was written.
    """
    from keystead.owner import delegation as owner  # noqa: PLC0415 - for --help

    _check_output(output, json_output=json_output)
    with open_wallet(place) as wallet:
        found = owner.waiting(wallet, name)
        code = collect_for(wallet, found.record.aid, collecting)
        if code:
            click.get_current_context().exit(code)
        data = b"".join(owner.request(wallet, name))
    _write(output, data, force=force)
    if json_output:
        told = {"name": found.record.name, "delegator": found.delegator, "file": output}
        click.echo(as_json({**told, **_event_value(found.event)}))
    elif output is not None:
        click.echo(f"wrote the request of {printable(found.record.name)} to {printable(output)}")
        click.echo(f"next: have it approved by {found.delegator}: keystead delegation approve")


@delegation.command(
    epilog="""\b
Examples:
  keystead delegation approve pump.request --as plant -o pump.answer
                                                 shows what is asked for, and asks
  keystead delegation approve pump.request --as plant --yes > pump.answer

\b
What was approved before is not approved again: the answer is written once more.""",
)
@click.argument("file", metavar="REQUEST|-")
@click.option("--as", "name", metavar="NAME", required=True, help="The identifier that approves.")
@click.option("-o", "--output", metavar="FILE", help="Write the answer to FILE.")
@_force_option
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@collecting_options
@json_option
@wallet_options
def approve(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    file: str,
    *,
    name: str,
    output: str | None,
    force: bool,
    reason: str,
    yes: bool,
    collecting: Collecting,
    json_output: bool,
) -> None:
    """Approve the keys that a delegate asks for, in the log of one's own identifier.

    The request is verified first. The answer goes to standard output, or to a file.
    """
    from keystead.owner import delegation as owner  # noqa: PLC0415 - for --help
    from keystead.owner.intake import bounded  # noqa: PLC0415 - as above

    there = _check_output(output, json_output=json_output)
    pieces = bounded(read_chunks(file))
    with open_wallet(place) as wallet:
        asked = owner.requested(wallet, name, pieces)
        for one in asked:
            for line in _asked_lines(one, name):
                click.echo(line, err=True)
        if not all(one.approved for one in asked):
            if output is not None and there and not force:
                refuse_existing(output)  # of a new approval the answer is new too
            confirm("Approve it?", yes=yes)
        approved = owner.approve(wallet, name, pieces, reason=reason)
        # Without the receipts of the delegator's witnesses the answer proves nothing to others.
        code = collect_for(wallet, name, collecting)
        data = b"".join(owner.answer(wallet, name, approved))
    _write(output, data, force=force)
    if json_output:
        told = [
            {**_event_value(one.event), "anchored_at": f"{one.anchored_at:x}", "new": one.new}
            for one in approved
        ]
        click.echo(as_json({"approved": told, "file": output}))
    elif output is not None:
        click.echo(f"wrote the answer to {printable(output)}")
        click.echo("next: send it to the delegate, who runs: keystead delegation complete")
    click.get_current_context().exit(code)


@delegation.command(
    epilog="""\b
Examples:
  keystead delegation complete pump pump.answer""",
)
@click.argument("name")
@click.argument("file", metavar="ANSWER|-")
@collecting_options
@json_option
@wallet_options
def complete(
    place: WalletPlace, name: str, file: str, *, collecting: Collecting, json_output: bool
) -> None:
    """Take the answer of the delegator in, which puts the event in force."""
    from keystead.owner import delegation as owner  # noqa: PLC0415 - for --help
    from keystead.owner.intake import bounded  # noqa: PLC0415 - as above

    pieces = bounded(read_chunks(file))
    with open_wallet(place) as wallet:
        accepted = owner.complete(wallet, name, pieces)
        record = wallet.identifier(name)
        code = collect_for(wallet, record.aid, collecting)
    if json_output:
        click.echo(as_json({"name": record.name, **_event_value(accepted.event)}))
    else:
        what = _WHAT[accepted.event.message_type]
        click.echo(f"{printable(record.name)} stands at event {accepted.event.sn:x}, {what}")
        click.echo(record.aid)
    click.get_current_context().exit(code)


def _event_value(event: "AnyKeyEvent") -> dict[str, Any]:
    return {
        "aid": event.aid,
        "sn": f"{event.sn:x}",
        "type": event.message_type,
        "said": event.said,
    }


def _asked_lines(one: "Asked", name: str) -> Iterator[str]:
    """Give what a delegate asks for, for people."""
    event = one.event
    state = ", which was approved before" if one.approved else ""
    yield f"{event.aid} asks {printable(name)} to approve {_WHAT[event.message_type]}{state}"
    yield f"  event {event.sn:x} {event.said}"
    if one.replaces:
        yield f"  WARNING: it replaces {one.replaces}, which was approved for this place before:"
        yield "  one of the two may be a thief's; ask the owner by another way first"
    yield f"  keys, of which {_threshold(event.signing_threshold.field)}:"
    yield from (f"    {key.text}" for key in event.signing_keys)
    if not event.next_key_digests:
        yield "  no next keys: this ends its log"
        return
    yield f"  next keys, of which {_threshold(event.next_threshold.field)}:"
    yield from (f"    {digest}" for digest in event.next_key_digests)


def _threshold(field: Any) -> str:  # noqa: ANN401 - hex text or weights, as in events
    if isinstance(field, str):
        return f"{int(field, 16)} must sign"
    return f"enough must sign to reach 1: {field}"


def _check_output(output: str | None, *, json_output: bool) -> bool:
    """Check where a file goes, before anything is signed; tell whether one is there already.

    Raises:
        UsageError: it cannot go there (usage.argument, usage.file).
    """
    if output is not None:
        return check_place(output)
    if json_output:
        what = "the file itself goes to standard output, so --json needs -o FILE"
        raise UsageError(ErrorCode.ARGUMENT, what)
    return False


def _write(output: str | None, data: bytes, *, force: bool) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        write_file(output, data, replace=force)
