"""`keystead contact`: identifiers of others under names of one's own."""

import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.fetching import Network, network_options
from keystead.cli.id_options import json_option
from keystead.cli.output import ExitCode, as_json, printable, say
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.owner.contacts import Contact
    from keystead.owner.wallet import Wallet

_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_TIME: Final = re.compile(r"([1-9]\d{0,4})(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@click.group(
    epilog="""\b
Examples:
  keystead contact add https://HOST/oobi/AID/witness --name bob
  keystead contact add carol.cesr --name carol
  keystead contact challenge bob                 words for Bob to sign
  keystead contact list"""
)
def contact() -> None:
    """Keep identifiers of others, and check that who speaks has their keys."""


@contact.command(
    epilog="""\b
Examples:
  keystead contact add https://HOST/oobi/AID/witness --name bob
  keystead contact add carol.cesr --name carol   her exported log
  keystead contact add - --name dora < dora.cesr
  keystead contact add https://HOST/oobi/BOSS/witness --name boss --also https://HOST/oobi/BOSS

\b
The name that a URL proposes is taken when none is given.""",
)
@click.argument("source", metavar="URL|FILE|-")
@click.option("--name", help="What you call the contact.")
@click.option("--also", metavar="URL", multiple=True, help="Ask there too; may be repeated.")
@click.option("--confirm/--no-confirm", default=True, help="Ask other witnesses too.")
@click.option("--evidence", metavar="FILE", help="Write proof of duplicity to a new file.")
@network_options
@json_option
@wallet_options
def add(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    network: Network,
    source: str,
    *,
    name: str | None,
    also: tuple[str, ...],
    confirm: bool,
    evidence: str | None,
    json_output: bool,
) -> None:
    """Find and verify a log, and keep its identifier as a contact."""
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help
    from keystead.cli.source import read_chunks  # noqa: PLC0415 - as above
    from keystead.keri.oobi import parse_oobi  # noqa: PLC0415 - as above
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above
    from keystead.owner import contacts as owner  # noqa: PLC0415 - as above

    by_url = _URL.match(source) is not None
    if name is None and by_url:
        name = parse_oobi(source, DEFAULT_LIMITS).name or None
        if name is not None:
            say(f"note: the name is the one that the URL proposes: {name}")
    if name is None:
        hint = "say what you call the contact: --name NAME"
        raise UsageError(ErrorCode.ARGUMENT, "the contact has no name", hint=hint)
    report.check_new(evidence)
    with open_wallet(place) as wallet:
        if by_url:
            transport = network.transport(strangers=True)
            found = owner.discover_log(wallet, transport, source, also=also, confirm=confirm)
            code = report.warn(found, wallet.events, evidence)
            if code is not ExitCode.DONE:
                report.finish(code)
            added = owner.add_found(wallet, found, name)
        else:
            added = owner.add_file(wallet, name, read_chunks(source))
        _tell(wallet, added, json_output=json_output)


@contact.command(
    "list",
    epilog="""\b
Examples:
  keystead contact list                          name, identifier, latest event, when found
  keystead contact list --json""",
)
@json_option
@wallet_options
def list_all(place: WalletPlace, *, json_output: bool) -> None:
    """Show all contacts."""
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.contacts import contacts  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        found = contacts(wallet)
    if json_output:
        click.echo(as_json({"contacts": [report.listed_value(one) for one in found]}))
    elif not found:
        click.echo("there are no contacts; add one with: keystead contact add URL --name NAME")
    for one in () if json_output else found:
        click.echo(f"{one.aid}  {one.sn:x}  {one.found_at[:19]}Z  {printable(one.name)}")


@contact.command(
    epilog="""\b
Examples:
  keystead contact show bob
  keystead contact show bob --json               with the age of what is known

\b
Nobody is asked: this is what is known here. For the latest: keystead contact refresh bob""",
)
@click.argument("name")
@click.option("--evidence", metavar="FILE", help="Write proof of duplicity to a new file.")
@json_option
@wallet_options
def show(place: WalletPlace, name: str, *, evidence: str | None, json_output: bool) -> None:
    """Show what is known of a contact, and how old that is."""
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help
    from keystead.cli.files import write_file  # noqa: PLC0415 - as above
    from keystead.node.replay import evidence_stream  # noqa: PLC0415 - as above
    from keystead.owner.contacts import known_contact  # noqa: PLC0415 - as above

    report.check_new(evidence)
    with open_wallet(place) as wallet:
        known = known_contact(wallet, name)
        _tell(wallet, known.contact, json_output=json_output)
        proofs = (*known.duplicity, *known.dismissed)
        if proofs and evidence is not None:
            stream = b"".join(evidence_stream(wallet.events, proofs))
            write_file(evidence, stream, replace=False)
    kept = evidence is not None
    report.finish(report.conclude(known.contact.aid, known, kept=kept))


@contact.command(
    epilog="""\b
Examples:
  keystead contact rename bob "Bob at work"      names are for you alone""",
)
@click.argument("name")
@click.argument("new_name")
@json_option
@wallet_options
def rename(place: WalletPlace, name: str, new_name: str, *, json_output: bool) -> None:
    """Call a contact by another name."""
    from keystead.owner.contacts import rename_contact  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        renamed = rename_contact(wallet, name, new_name)
    _tell_short(renamed, "is called", json_output=json_output)


@contact.command(
    epilog="""\b
Examples:
  keystead contact remove bob                    his log stays: it may prove something""",
)
@click.argument("name")
@json_option
@wallet_options
def remove(place: WalletPlace, name: str, *, json_output: bool) -> None:
    """Forget a contact."""
    from keystead.owner.contacts import remove_contact  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        removed = remove_contact(wallet, name)
    _tell_short(removed, "is no longer", json_output=json_output)


@contact.command(
    epilog="""\b
Examples:
  keystead contact refresh bob                   where he was found before
  keystead contact refresh bob --url https://HOST/oobi/AID/witness

\b
It ends with 3 when the log went back, or on in two versions: then somebody cheats.""",
)
@click.argument("name")
@click.option("--url", metavar="URL", help="Another introduction to the same identifier.")
@click.option("--also", metavar="URL", multiple=True, help="Ask there too; may be repeated.")
@click.option("--confirm/--no-confirm", default=True, help="Ask other witnesses too.")
@click.option("--evidence", metavar="FILE", help="Write proof of duplicity to a new file.")
@network_options
@json_option
@wallet_options
def refresh(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    network: Network,
    name: str,
    *,
    url: str | None,
    also: tuple[str, ...],
    confirm: bool,
    evidence: str | None,
    json_output: bool,
) -> None:
    """Get the latest log of a contact."""
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help
    from keystead.owner import contacts as owner  # noqa: PLC0415 - as above

    report.check_new(evidence)
    with open_wallet(place) as wallet:
        known = owner.find_contact(wallet, name)
        source = url or known.url
        if not source:
            hint = "name one with --url, or take in a later file: keystead contact add"
            raise UsageError(ErrorCode.ARGUMENT, "no URL of this contact is known", hint=hint)
        transport = network.transport(strangers=True)
        found = owner.discover_log(wallet, transport, source, also=also, confirm=confirm)
        code = report.warn(found, wallet.events, evidence)
        if not found.rolled_back:
            known = owner.note_found(wallet, known, found)
    if json_output:
        click.echo(as_json(report.found_value(found, known)))
    else:
        click.echo("\n".join(report.found_lines(found, known)))
    report.finish(code)


@contact.command(
    epilog="""\b
Examples:
  keystead contact challenge bob                 twelve words, good for an hour
  keystead contact challenge bob --for 10m

\b
Give the words to Bob over a channel by which you know him, such as a call; they are no secret. He
answers with: keystead contact respond YOU --as bob --words "WORDS" -o answer.cesr
When his keys change, the answer no longer counts: ask again.""",
)
@click.argument("name")
@click.option("--for", "within", default="1h", metavar="TIME", help="Time to answer: 10m, 1h, 2d.")
@json_option
@wallet_options
def challenge(place: WalletPlace, name: str, *, within: str, json_output: bool) -> None:
    """Make words that a contact is to sign, to show that it has its keys now."""
    from keystead.keystores.passphrase import random_words  # noqa: PLC0415 - for --help
    from keystead.owner import challenges as owner  # noqa: PLC0415 - as above

    time = _read_time(within)
    with open_wallet(place) as wallet:
        made = owner.ask(wallet, name, random_words(owner.WORDS), within=time)
    if json_output:
        value = {"contact": name, "words": made.words, "expires_at": made.expires_at}
        click.echo(as_json(value))
    else:
        click.echo(" ".join(made.words))
        say(f"the answer is good until {made.expires_at}")


@contact.command(
    epilog="""\b
Examples:
  keystead contact respond alice --as bob --words "WORDS" -o answer.cesr
  keystead contact respond alice --as bob < words.txt > answer.cesr

\b
Answer only whom you know: the answer tells that you are there and have your keys. It names who
asked, so that nobody else can use it.""",
)
@click.argument("name")
@click.option("--as", "signer", metavar="NAME", help="Your identifier that was asked.")
@click.option("--words", metavar="TEXT", help="The words; otherwise from standard input.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@json_option
@wallet_options
def respond(
    place: WalletPlace,
    name: str,
    *,
    signer: str | None,
    words: str | None,
    output: str | None,
    json_output: bool,
) -> None:
    """Sign words that a contact asked for. With --json, which needs -o, tell what was written."""
    from keystead.cli.files import write_file  # noqa: PLC0415 - for --help
    from keystead.cli.source import read_chunks  # noqa: PLC0415 - as above
    from keystead.owner import challenges as owner  # noqa: PLC0415 - as above
    from keystead.owner.signing import only_signer  # noqa: PLC0415 - as above

    if json_output and output is None:
        what = "the answer itself goes to standard output, so --json needs -o FILE"
        raise UsageError(ErrorCode.ARGUMENT, what)
    given = words
    if given is None:
        given = _text(b"".join(read_chunks("-")))
    asked = owner.read_words([given])
    with open_wallet(place) as wallet:
        record = only_signer(wallet) if signer is None else wallet.identifier(signer)
        message = owner.respond(wallet, record.aid, name, asked)
    if output is None:
        sys.stdout.buffer.write(message)
        return
    write_file(output, message, replace=False)
    if json_output:
        click.echo(as_json({"signer": record.aid, "file": output, "bytes": len(message)}))
    else:
        click.echo(f"wrote the answer to {printable(output)}")


@contact.command(
    epilog="""\b
Examples:
  keystead contact verify bob answer.cesr
  keystead contact verify carol - < carol.cesr

\b
It holds when it is signed with the keys that the log of the contact names last, has the words that
were asked for last, came in time, and was not used before. What is latest is what is known here: see
keystead contact refresh.""",
)
@click.argument("name")
@click.argument("file", metavar="FILE|-")
@json_option
@wallet_options
def verify(place: WalletPlace, name: str, file: str, *, json_output: bool) -> None:
    """Verify the answer of a contact to a challenge, and write down that it holds."""
    from keystead.cli.source import read_chunks  # noqa: PLC0415 - for --help
    from keystead.owner.challenges import verify_answer  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        done = verify_answer(wallet, name, read_chunks(file))
    if json_output:
        value = {
            "contact": done.contact.name,
            "aid": done.contact.aid,
            "answer": done.said,
            "keys_sn": f"{done.signer_sn:x}",
            "addressed": done.addressed,
        }
        click.echo(as_json(value))
    else:
        told = printable(done.contact.name)
        click.echo(f"{told} has the keys of event {done.signer_sn:x} of {done.contact.aid}")
    if not done.addressed:
        say(
            "note: the answer names no recipient, so it could have been made for somebody else"
            " who passed your words on"
        )


def _tell(wallet: "Wallet", known: "Contact", *, json_output: bool) -> None:
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.contacts import known_contact  # noqa: PLC0415 - as above

    one = known_contact(wallet, known.aid)
    if json_output:
        click.echo(as_json(report.contact_value(one, wallet.now())))
    else:
        click.echo("\n".join(report.contact_lines(one, wallet.now())))


def _tell_short(known: "Contact", verb: str, *, json_output: bool) -> None:
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help

    if json_output:
        value: dict[str, Any] = report.listed_value(known)
        click.echo(as_json(value))
    else:
        click.echo(f"{known.aid} {verb} {printable(known.name)}")


def _read_time(text: str) -> timedelta:
    """Return a length of time.

    Raises:
        UsageError: it is none (usage.argument).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        hint = "a number and a unit: 90s, 10m, 1h, 2d"
        raise UsageError(ErrorCode.ARGUMENT, f"{text[:40]!r} is no length of time", hint=hint)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(ErrorCode.ARGUMENT, "the words are no text in UTF-8") from None
