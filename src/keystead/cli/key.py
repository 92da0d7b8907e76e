"""`keystead key`: what keys there are, what depends on each, and the end of each."""

from typing import TYPE_CHECKING, Final

import click

from keystead.cesr import primitives
from keystead.cesr.keys import parse_key
from keystead.cli.asking import confirm, reason_option
from keystead.cli.id_options import json_option, read_place
from keystead.cli.output import as_json, printable, say
from keystead.cli.secrets import SecretSource, read_secret, secret_options
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.custody.states import State
from keystead.errors import DecodeError, ErrorCode, KeystoreError, UsageError
from keystead.suites import Suite

if TYPE_CHECKING:
    from keystead.custody.records import KeyRecord
    from keystead.owner.wallet import Wallet

# Code of a seed -> suite of its key.
_SEEDS: Final = {"A": Suite.ED25519, "J": Suite.SECP256K1, "Q": Suite.SECP256R1}
_KEPT_COPIES: Final = (
    "backups of the wallet, copies on other machines and seeds on paper are not reached: whoever "
    "has one can still derive what was in it"
)


@click.group(
    epilog="""\b
Examples:
  keystead key list                              the keys that matter now
  keystead key show wallet.data                  one of them, with its history
  keystead key impact master.0                   what somebody can do who has it

\b
KEY is the id of a key, 6 or more characters that only it begins with, a public key, or a label.""",
)
def key() -> None:
    """See keys and what depends on them; retire, shred and import keys.

    Keys are made and replaced with their identifiers: see keystead id --help.
    """


@key.command(
    "list",
    epilog="""\b
Examples:
  keystead key list                              those that wait, are in use, or compromised
  keystead key list --identifier alice --all     every key that alice ever had
  keystead key list --state compromised""",
)
@click.option("--identifier", metavar="NAME", help="Only keys of this identifier.")
@click.option(
    "--state",
    type=click.Choice([one.value for one in State]),
    help="Only keys in this state.",
)
@click.option("--all", "every", is_flag=True, help="Also keys that are out of use or destroyed.")
@json_option
@wallet_options
def list_keys(
    place: WalletPlace, *, identifier: str | None, state: str | None, every: bool, json_output: bool
) -> None:
    """Show the keys of the wallet: id, state, kind, and whose they are."""
    from keystead.cli import key_report as report  # noqa: PLC0415 - for --help

    states = [one for one in State if every or one not in report.PAST]
    if state is not None:
        states = [State(state)]
    with open_wallet(place) as wallet:
        found = report.listed(wallet, identifier=identifier, states=states)
    if json_output:
        click.echo(as_json({"keys": [report.listed_value(one) for one in found]}))
    elif not found:
        click.echo("there are no such keys")
    else:
        click.echo("\n".join(report.listed_line(one) for one in found))


@key.command(
    epilog="""\b
Examples:
  keystead key show master.0
  keystead key show --json wallet.data""",
)
@click.argument("name", metavar="KEY")
@json_option
@wallet_options
def show(place: WalletPlace, name: str, *, json_output: bool) -> None:
    """Show one key: what it is for, where it is, and what became of it.

    The words are explained in docs/keys.md. No private half is shown, ever.
    """
    from keystead.cli import key_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.life import find_key  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        value = report.details(wallet, find_key(wallet, name))
    if json_output:
        click.echo(as_json(value))
    else:
        click.echo("\n".join(report.detail_lines(value)))


@key.command(
    epilog="""\b
Examples:
  keystead key impact master.0
  keystead key impact --json wallet.data""",
)
@click.argument("name", metavar="KEY")
@json_option
@wallet_options
def impact(place: WalletPlace, name: str, *, json_output: bool) -> None:
    """Tell what somebody could do who has a key. Nothing is changed."""
    from keystead.cli import key_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.life import find_key  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        value = report.impact_value(wallet, find_key(wallet, name))
    if json_output:
        click.echo(as_json(value))
    else:
        click.echo("\n".join(report.impact_lines(value)))


@key.command(
    epilog="""\b
Examples:
  keystead key compromise master.0 --reason "the paper was stolen"
                                                 shows what it means, and asks
  keystead key compromise master.0 --yes         for scripts

\b
The mark stays for good. Rotate next: the rotation puts other keys in force, and publishes notices
behind the log which tell everyone from where on not to trust the key. Identifiers whose keys can
be derived from it get their coming keys from another seed.""",
)
@click.argument("name", metavar="KEY")
@click.option(
    "--since",
    metavar="PLACE",
    help="First event of its log that somebody else may have signed (hexadecimal); without it "
    "all that the key signed is doubted.",
)
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@wallet_options
def compromise(
    place: WalletPlace,
    name: str,
    *,
    since: str | None,
    reason: str,
    yes: bool,
    json_output: bool,
) -> None:
    """Mark a key as known to somebody else, with all that he can get with it."""
    from keystead.cli import key_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.life import compromise as mark  # noqa: PLC0415 - as above
    from keystead.owner.life import find_key  # noqa: PLC0415 - as above

    first = read_place(since)
    with open_wallet(place) as wallet:
        found = find_key(wallet, name)
        value = report.impact_value(wallet, found)
        for line in report.impact_lines(value):
            click.echo(line, err=True)
        confirm("Mark it as compromised, for good?", yes=yes)
        marked = mark(wallet, found.id, since=first, reason=reason)
    steps = report.next_steps(value, found)
    if json_output:
        told = {"marked": [one.id for one in marked], "next_steps": steps, "impact": value}
        click.echo(as_json(told))
        return
    click.echo(f"{report.counted(len(marked), 'key')} marked as compromised")
    for step in steps:
        click.echo(f"next: {step}")


@key.command(
    epilog="""\b
Examples:
  keystead key retire master.0                   new identifiers get keys of another seed

\b
A rotation retires the keys that it replaces. So this is for keys that should be used no more
before that, such as one of several that are more than enough.""",
)
@click.argument("name", metavar="KEY")
@reason_option
@json_option
@wallet_options
def retire(place: WalletPlace, name: str, *, reason: str, json_output: bool) -> None:
    """Take a key out of use. It cannot come back."""
    from keystead.owner.life import retire as end  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        done = end(wallet, name, reason=reason)
    if json_output:
        click.echo(as_json({"id": done.id, "state": done.state.value}))
    else:
        click.echo(f"{done.id} is {done.state}")


@key.command(
    epilog="""\b
Examples:
  keystead key shred master.0                    shows what goes with it, and asks
  keystead key shred master.0 --yes              the keys of identifiers stay

\b
Keys of one place in an identifier are links of a chain: with a key go those before it. A record
stays that tells what was there. Keys in a token are destroyed in the token. A key that is in
force, or that a log commits to, is refused.

\b
Backups, copies on other machines and seeds on paper are not reached.""",
)
@click.argument("name", metavar="KEY")
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@wallet_options
def shred(place: WalletPlace, name: str, *, reason: str, yes: bool, json_output: bool) -> None:
    """Erase the private half of a key for good."""
    from keystead.cli import key_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.life import find_key  # noqa: PLC0415 - as above
    from keystead.owner.shredding import doomed  # noqa: PLC0415 - as above
    from keystead.owner.shredding import shred as erase  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        found = find_key(wallet, name)
        lost = doomed(wallet, found)
        click.echo(f"this erases {report.counted(len(lost), 'key')} for good:", err=True)
        for one in lost:
            click.echo(f"  {one.id}  {one.state}", err=True)
        click.echo(_KEPT_COPIES, err=True)
        confirm("Erase them?", yes=yes)
        erased = erase(wallet, found.id, reason=reason)
        overwritten = not wallet.state().scrub
    if not overwritten:
        say("note: bytes of it are still in the files; the next command overwrites them")
    if json_output:
        told = {"shredded": [_ended(one) for one in erased], "overwritten": overwritten}
        click.echo(as_json(told))
    else:
        click.echo("\n".join(f"{one.id} is {one.state}" for one in erased))


@key.command(
    "import",
    epilog="""\b
Examples:
  keystead key import --public DGnE1jSF2Yk0dobWJhRNm_no6JEbraoHXmNbYOAVvVcO --seed-fd 3 3< FILE
  keystead key import --public DGnE1jSF2Yk0dobWJhRNm_no6JEbraoHXmNbYOAVvVcO --label cold
                                                 asks for the seed

\b
The seed is CESR text: A and 43 characters for Ed25519, J for secp256k1, Q for P-256. It is never
taken from the command line, where other programs can see it. Whoever made the key may still have
it, so prefer keys that the wallet makes.

\b
An imported key waits until an identifier commits to it, by its id:
  keystead id rotate NAME --reserve ID --next-threshold 1,1
One that an identifier commits to already, as a key in reserve, signs its next rotation.""",
)
@click.option("--public", "public_key", required=True, metavar="KEY", help="Public half, as CESR.")
@secret_options("seed")
@click.option("--label", default="", metavar="TEXT", help="What you call it.")
@json_option
@wallet_options
def import_key(
    place: WalletPlace, *, public_key: str, seed: SecretSource, label: str, json_output: bool
) -> None:
    """Take over a private key that was made elsewhere."""
    from keystead.owner.life import import_key as take  # noqa: PLC0415 - for --help

    try:
        suite = parse_key(public_key).suite
    except DecodeError:
        what = "--public takes the public half of the key, as CESR text"
        raise UsageError(
            ErrorCode.ARGUMENT, what, hint="such a text begins with D or 1AA"
        ) from None
    raw = _read_seed(seed, suite)
    with open_wallet(place) as wallet:
        done = take(wallet, raw, public_key, label=label)
        owner = _owner(wallet, done)
    if json_output:
        told = {"id": done.id, "state": done.state.value, "name": owner or None}
        click.echo(as_json(told))
        return
    click.echo(f"imported {done.id}; it is {done.state}")
    if owner:
        click.echo(f"next: it signs with the next rotation: keystead id rotate {printable(owner)}")
    else:
        click.echo(f"next: keystead id rotate NAME --reserve {done.id} --next-threshold 1,1")


def _read_seed(source: SecretSource, suite: Suite) -> bytes:
    """Return a seed; no error tells anything of it.

    Raises:
        UsageError: it cannot be read, or is none (usage.argument, usage.file).
        KeystoreError: it is a seed for keys of another kind (keystore.possession).
    """
    text = read_secret(source, "Seed of the key: ")
    try:
        read = primitives.parse(text)
    except DecodeError:
        read = None
    if read is None or read.code not in _SEEDS:
        hint = "a seed is CESR text of 44 characters that begins with A, J or Q"
        raise UsageError(ErrorCode.ARGUMENT, "what was given is no seed", hint=hint)
    if _SEEDS[read.code] is not suite:
        what = "the seed is for a key of another algorithm than the public one"
        raise KeystoreError(ErrorCode.POSSESSION, what)
    return read.raw


def _owner(wallet: "Wallet", one: "KeyRecord") -> str:
    return wallet.identifier(one.identifier).name if one.identifier else ""


def _ended(one: "KeyRecord") -> dict[str, str]:
    return {"id": one.id, "state": one.state.value}
