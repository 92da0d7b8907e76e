"""`keystead id`: identifiers, from their making to their end."""

import click
import msgspec

from keystead.cli.collecting import (
    Collecting,
    collect_for,
    collecting_options,
)
from keystead.cli.id_events import abandon, anchor, rotate
from keystead.cli.id_logs import export, reconcile
from keystead.cli.id_options import (
    ALGORITHMS,
    json_option,
    key_options,
    read_aid,
    read_digest,
    read_threshold,
    witness_threshold_option,
)
from keystead.cli.invitations import Invitation, find_invited, invitations_option, keep_codes
from keystead.cli.output import as_json, printable
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options


@click.group(
    "id",
    epilog="""\b
Examples:
  keystead id create alice                       make an identifier
  keystead id list                               see what there is
  keystead id rotate alice                       replace its keys
  keystead id export alice -o alice.cesr         what others need to verify it""",
)
def identifiers() -> None:
    """Make identifiers and change their keys.

    An identifier is yours by its log of signed events, which anyone can verify. Names are for
    you alone: they are in no log.
    """


@identifiers.command(
    epilog="""\b
Examples:
  keystead id create alice
  keystead id create office --keys 3 --threshold 2
  keystead id create firm --keys 3 --threshold 1/2,1/2,1/2
  keystead id create site --algorithm p256 --establishment-only
  keystead id create pocket --non-transferable   one key for ever, no rotation
  keystead id create shop --witness https://w1.example --witness https://w2.example --witness-threshold 2
                                                 its events need receipts of two witnesses
  keystead id create stall --witness https://w1.example --invitations codes.txt
                                                 for a witness that takes no strangers

\b
Thresholds: a number of keys; or weights, one for each key, that sum up to 1: 1/2,1/2,1/2; or
several clauses, all of which must be met: 1/2,1/2:1,1; or JSON as in events, for nested weights.
Reserve keys stand behind the own ones: with --reserve, --next-threshold has to tell who can
rotate, such as 1,1/2,1/2 for one own key and two in reserve.
Witnesses: the URL of each, or its introduction (.../oobi/...), or its identifier if it is known
here. The command waits for their receipts; what is missing then stays in keystead outbox.
A witness may want an invitation, which its operator makes with keystead witness invite.
Exit code 4: made, and waiting for receipts.""",
)
@click.argument("name")
@click.option("--keys", type=int, default=1, metavar="N", help="Own signing keys; 1 if not told.")
@key_options
@click.option("--establishment-only", is_flag=True, help="Allow only rotations in the log.")
@click.option("--do-not-delegate", is_flag=True, help="Never approve other identifiers.")
@click.option("--non-transferable", is_flag=True, help="One key, and no change ever.")
@click.option("--delegator", metavar="AID", help="Identifier that has to approve its keys.")
@click.option(
    "--witness", "witnesses", metavar="WITNESS", multiple=True, help="A witness; may be repeated."
)
@witness_threshold_option
@invitations_option
@collecting_options
@json_option
@wallet_options
def create(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    name: str,
    *,
    keys: int,
    threshold: str | None,
    next_keys: int | None,
    next_threshold: str | None,
    reserve: tuple[str, ...],
    algorithm: str | None,
    token: str | None,
    establishment_only: bool,
    do_not_delegate: bool,
    non_transferable: bool,
    delegator: str | None,
    witnesses: tuple[str, ...],
    witness_threshold: int | None,
    invitations: list[Invitation],
    collecting: Collecting,
    json_output: bool,
) -> None:
    """Make an identifier, and commit to its next keys.

    NAME is what you call it: up to 64 characters.
    """
    from keystead.cli import id_report as report  # noqa: PLC0415 - for --help
    from keystead.owner import identifiers as owner  # noqa: PLC0415 - as above
    from keystead.owner.plans import Creation  # noqa: PLC0415 - as above

    wanted = Creation(
        suite=ALGORITHMS[algorithm or "ed25519"],
        keys=keys,
        threshold=read_threshold(threshold),
        next_keys=next_keys,
        next_threshold=read_threshold(next_threshold),
        reserve=tuple(read_digest(one) for one in reserve),
        token=token or "",
        establishment_only=establishment_only,
        do_not_delegate=do_not_delegate,
        transferable=not non_transferable,
        delegator=None if delegator is None else read_aid(delegator),
        witness_threshold=witness_threshold,
    )
    with open_wallet(place) as wallet:
        owner.check_free(wallet, name)  # before anybody is asked
        found, codes = find_invited(wallet, witnesses, collecting, invitations)
        record = owner.create(wallet, name, msgspec.structs.replace(wanted, witnesses=found))
        keep_codes(wallet, name, codes)
        code = collect_for(wallet, record.aid, collecting)
        one = report.overview_of(wallet, wallet.identifier(record.aid))
    if json_output:
        click.echo(as_json(report.overview_value(one)))
    else:
        click.echo("\n".join(report.created_lines(one, keys)))
    click.get_current_context().exit(code)


@identifiers.command(
    "list",
    epilog="""\b
Examples:
  keystead id list                               identifier, last event, state, name
  keystead id list --json

\b
States: active; waiting (for its delegator); unwitnessed (its last event lacks receipts: see
keystead outbox); unfinished (a crash came; the next command finishes); behind (perhaps; see: keystead id reconcile --help); abandoned; fixed (made without next keys).""",
)
@json_option
@wallet_options
def list_all(place: WalletPlace, *, json_output: bool) -> None:
    """Show all identifiers of the wallet, in the order in which they were made."""
    from keystead.cli import id_report as report  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        found = report.overviews(wallet)
    if json_output:
        click.echo(as_json({"identifiers": [report.overview_value(one) for one in found]}))
    elif not found:
        click.echo("there are no identifiers; make one with: keystead id create NAME")
    else:
        click.echo("\n".join(report.overview_line(one) for one in found))


@identifiers.command(
    epilog="""\b
Examples:
  keystead id show alice
  keystead id show --json alice""",
)
@click.argument("name")
@json_option
@wallet_options
def show(place: WalletPlace, name: str, *, json_output: bool) -> None:
    """Show one identifier: its keys, what it commits to, its last events.

    NAME is its name, or the identifier itself.
    """
    from keystead.cli import id_report as report  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        value = report.details(wallet, wallet.identifier(name))
    if json_output:
        click.echo(as_json(value))
    else:
        click.echo("\n".join(report.detail_lines(value)))


@identifiers.command(
    epilog="""\b
Examples:
  keystead id rename alice "alice at work"       no log and nobody else knows of names""",
)
@click.argument("name")
@click.argument("new_name")
@json_option
@wallet_options
def rename(place: WalletPlace, name: str, new_name: str, *, json_output: bool) -> None:
    """Call an identifier by another name."""
    from keystead.cli import id_report as report  # noqa: PLC0415 - for --help
    from keystead.owner import identifiers as owner  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        record = owner.rename(wallet, name, new_name)
        one = report.overview_of(wallet, record)
    if json_output:
        click.echo(as_json(report.overview_value(one)))
    else:
        click.echo(f"{one.aid} is called {printable(one.name)} now")


for _command in (rotate, anchor, abandon, export, reconcile):
    identifiers.add_command(_command)
