"""`keystead id rotate`, `anchor` and `abandon`: what adds an event to a log."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from keystead.cli.asking import reason_option
from keystead.cli.collecting import (
    Collecting,
    collect_for,
    collecting_options,
)
from keystead.cli.id_options import (
    ALGORITHMS,
    json_option,
    key_options,
    read_digest,
    read_place,
    read_seals,
    read_threshold,
    read_witness,
    witness_threshold_option,
)
from keystead.cli.invitations import Invitation, find_invited, invitations_option, keep_codes
from keystead.cli.output import as_json, say
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.cesr.keys import Digest
    from keystead.keri.keystate import AcceptedEvent
    from keystead.keri.seals import Seal
    from keystead.owner.plans import Change
    from keystead.owner.wallet import IdentifierRecord, Wallet

Result = TypeVar("Result")


def _place_option(command: Callable[..., Result]) -> Callable[..., Result]:
    option = click.option(
        "--sn",
        metavar="PLACE",
        help="Place that the event must have (hexadecimal). If the log has it there already, "
        "nothing is done, so a script can repeat the command after a crash.",
    )
    return option(command)


@click.command(
    epilog="""\b
Examples:
  keystead id rotate alice
  keystead id rotate alice --next-keys 3 --next-threshold 2
                                                 three keys from the rotation after this one
  keystead id rotate alice --algorithm p256      the next keys are of another algorithm
  keystead id rotate alice --reason "laptop was stolen"
  keystead id rotate alice --sn 3                for scripts: never twice
  keystead id rotate alice --add-witness https://w4.example --cut-witness BBilc4-L3tFUnfM_wJr4S4OJanAv_VmF_dJNN6vkf2Ha
                                                 one witness for another
  keystead id rotate alice --add-witness https://w5.example --invitations codes.txt
                                                 which takes no strangers

\b
The keys that the log committed to come into force now; the options on keys are for those that it
commits to now, which the rotation after this one puts in force. A rotation that a crash
interrupted is finished first. Thresholds and witnesses: see keystead id create --help. The
witness threshold stays as it is; where it cannot, the command says so and does nothing.
Exit code 4: done, and waiting for receipts of witnesses.""",
)
@click.argument("name")
@key_options
@click.option("--no-reserve", is_flag=True, help="Commit to no reserve keys any more.")
@click.option("--no-token", is_flag=True, help="Derive the next keys instead of using a token.")
@click.option(
    "--anchor", "anchors", metavar="DIGEST", multiple=True, help="Anchor a digest; may be repeated."
)
@click.option("--add-witness", "added", metavar="WITNESS", multiple=True, help="A further witness.")
@click.option("--cut-witness", "cut", metavar="AID", multiple=True, help="A witness that leaves.")
@witness_threshold_option
@invitations_option
@collecting_options
@reason_option
@_place_option
@json_option
@wallet_options
def rotate(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    name: str,
    *,
    threshold: str | None,
    next_keys: int | None,
    next_threshold: str | None,
    reserve: tuple[str, ...],
    no_reserve: bool,
    algorithm: str | None,
    token: str | None,
    no_token: bool,
    anchors: tuple[str, ...],
    added: tuple[str, ...],
    cut: tuple[str, ...],
    witness_threshold: int | None,
    invitations: list[Invitation],
    collecting: Collecting,
    reason: str,
    sn: str | None,
    json_output: bool,
) -> None:
    """Replace the keys of an identifier by those that its log commits to."""
    from keystead.owner.identifiers import rotate as make  # noqa: PLC0415 - for --help
    from keystead.owner.plans import Change  # noqa: PLC0415 - as above

    if (reserve and no_reserve) or (token and no_token):
        option = "token" if token else "reserve"
        what = f"--{option} and --no-{option} cannot be used together"
        raise UsageError(ErrorCode.ARGUMENT, what)
    change = Change(
        threshold=read_threshold(threshold),
        next_keys=next_keys,
        next_threshold=read_threshold(next_threshold),
        reserve=_reserve(reserve, none=no_reserve),
        suite=None if algorithm is None else ALGORITHMS[algorithm],
        token="" if no_token else token,
        anchors=tuple(read_seals(anchors, (), ())),
        witnesses_removed=tuple(read_witness(one) for one in cut),
        witness_threshold=witness_threshold,
    )
    wanted = read_place(sn)
    with open_wallet(place) as wallet:
        accepted = _done_before(wallet, name, wanted, change)
        repeated = accepted is not None or _waits_at(wallet.identifier(name), wanted)
        if not repeated:
            found, codes = find_invited(wallet, added, collecting, invitations, name)
            change = msgspec.structs.replace(change, witnesses_added=found)
            accepted = make(wallet, name, change, reason=reason, sn=wanted)
            keep_codes(wallet, name, codes)
        _conclude(wallet, name, accepted, collecting, repeated=repeated, json_output=json_output)


@click.command(
    epilog="""\b
Examples:
  keystead id anchor alice --file contract.pdf
  keystead id anchor alice --digest EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H
  keystead id anchor alice --seal '{"d":"EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H"}'

\b
A digest in the log proves later that the data was there before the event, without showing it.
A seal of an event of another identifier approves it, when you are its delegator.""",
)
@click.argument("name")
@click.option("--digest", "digests", metavar="DIGEST", multiple=True, help="Digest to anchor.")
@click.option(
    "--file", "files", metavar="FILE", multiple=True, help="Anchor the Blake3-256 digest of FILE."
)
@click.option("--seal", "seals", metavar="JSON", multiple=True, help="Any seal of KERI.")
@collecting_options
@reason_option
@_place_option
@json_option
@wallet_options
def anchor(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    name: str,
    *,
    digests: tuple[str, ...],
    files: tuple[str, ...],
    seals: tuple[str, ...],
    collecting: Collecting,
    reason: str,
    sn: str | None,
    json_output: bool,
) -> None:
    """Put digests of data into the log of an identifier; its keys stay.

    The options may be repeated: all of them go into one event.
    """
    from keystead.owner.identifiers import anchor as make  # noqa: PLC0415 - for --help

    wanted, found = read_place(sn), read_seals(digests, files, seals)
    if not found:
        what = "there is nothing to anchor"
        raise UsageError(ErrorCode.ARGUMENT, what, hint="give --digest, --file or --seal")
    with open_wallet(place) as wallet:
        done = None if wanted is None else _at(wallet, name, wanted)
        if done is not None and not _is(done, ("ixn",), tuple(found)):
            raise _taken(name, done)
        accepted = done or make(wallet, name, found, reason=reason, sn=wanted)
        repeated = done is not None
        _conclude(wallet, name, accepted, collecting, repeated=repeated, json_output=json_output)


@click.command(
    epilog="""\b
Examples:
  keystead id abandon alice                      asks you to type the name
  keystead id abandon alice --yes --reason "moved to another identifier"

\b
The last event commits to no keys, so nobody can ever sign for the identifier again: neither you
nor a thief. What it signed before can still be verified.""",
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@collecting_options
@reason_option
@json_option
@wallet_options
def abandon(
    place: WalletPlace,
    name: str,
    *,
    yes: bool,
    collecting: Collecting,
    reason: str,
    json_output: bool,
) -> None:
    """End an identifier for good."""
    from keystead.owner.identifiers import abandon as end  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        record = wallet.identifier(name)
        state = wallet.events.key_state(record.aid)
        done = None
        if state is not None and state.sn > 0 and not state.establishment.transferable:
            done = wallet.events.event(record.aid, state.sn)
        elif not yes:
            _confirm(record.name)
        accepted = done or end(wallet, record.aid, reason=reason)
        repeated = done is not None
        _conclude(wallet, name, accepted, collecting, repeated=repeated, json_output=json_output)


def _reserve(given: tuple[str, ...], *, none: bool) -> "tuple[Digest, ...] | None":
    if none:
        return ()
    return tuple(read_digest(one) for one in given) if given else None


def _done_before(
    wallet: "Wallet", name: str, sn: int | None, change: "Change"
) -> "AcceptedEvent | None":
    """Return the rotation at a place, if there is one; what it anchors must be the same.

    Raises:
        UsageError: the log holds something else there (usage.argument).
    """
    done = None if sn is None else _at(wallet, name, sn)
    if done is not None and not _is(done, ("rot", "drt"), change.anchors):
        raise _taken(name, done)
    return done


def _waits_at(record: "IdentifierRecord", sn: int | None) -> bool:
    """Tell whether an event at a place waits for the delegator."""
    return bool(record.pending) and sn is not None and json.loads(record.pending)["s"] == f"{sn:x}"


def _is(done: "AcceptedEvent", types: tuple[str, ...], anchors: "tuple[Seal, ...]") -> bool:
    return done.event.message_type in types and done.event.anchors == anchors


def _at(wallet: "Wallet", name: str, sn: int) -> "AcceptedEvent | None":
    return wallet.events.event(wallet.identifier(name).aid, sn)


def _taken(name: str, done: "AcceptedEvent") -> UsageError:
    what = f"event {done.event.sn:x} of {name} is another one: {done.event.message_type}"
    hint = "see the log with: keystead id show NAME"
    return UsageError(ErrorCode.ARGUMENT, what, hint=hint)


def _confirm(name: str) -> None:
    """Have the name typed.

    Raises:
        UsageError: nobody can be asked, or something else was typed (usage.argument).
    """
    if sys.stdin is None or not sys.stdin.isatty():
        what = "abandoning is for good, so it asks on a terminal"
        raise UsageError(ErrorCode.ARGUMENT, what, hint="give --yes where there is none")
    say(f"after this nobody can ever sign for {name} again, and it cannot be undone")
    if click.prompt("type its name to go on", err=True) != name:
        raise UsageError(ErrorCode.ARGUMENT, "that is another name: nothing was done", hint="")


def _conclude(
    wallet: "Wallet",
    name: str,
    accepted: "AcceptedEvent | None",
    collecting: Collecting,
    *,
    repeated: bool,
    json_output: bool,
) -> None:
    """Collect receipts for an event that is on the log now, or waits for its delegator; tell."""
    from keystead.cli import id_report as report  # noqa: PLC0415 - for --help

    code = collect_for(wallet, name, collecting)
    record = wallet.identifier(name)
    if accepted is not None:  # with the receipts that came
        accepted = wallet.events.accepted(record.aid, accepted.event.said)
    value = report.made_value(wallet, record, accepted, repeated=repeated)
    if json_output:
        click.echo(as_json(value))
    else:
        click.echo("\n".join(report.made_lines(value)))
    click.get_current_context().exit(code)
