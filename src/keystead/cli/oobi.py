"""`keystead oobi`: introductions, followed and made."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keystead.cli.fetching import Network, network_options
from keystead.cli.id_options import json_option, read_oobi
from keystead.cli.output import as_json, printable
from keystead.cli.serving import serving_options
from keystead.cli.wallets import WalletPlace, open_store, open_wallet, wallet_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.owner.wallet import Wallet
    from keystead.ports import EventStore
    from keystead.services.running import Binding

_EPILOG = """\b
Examples:
  keystead oobi resolve https://HOST/oobi/AID/witness --name bob
  keystead oobi show alice                       the URLs to give to others
  keystead oobi export alice FOLDER --url https://HOST"""


@click.group(epilog=_EPILOG)
def oobi() -> None:
    """Find the logs of others, and let others find yours.

    An out-of-band introduction (OOBI) is a URL that leads to a log. The URL proves nothing; the
    log that it leads to is verified by its signatures.
    """


@oobi.command(
    epilog="""\b
Examples:
  keystead oobi resolve https://HOST/oobi/AID/witness
  keystead oobi resolve https://HOST/oobi/AID/witness/WITNESS --name bob
  keystead oobi resolve https://HOST/.well-known/keri/oobi/AID
  keystead oobi resolve https://HOST/oobi/SCHEMA           a schema, kept by its digest
  keystead oobi resolve http://127.0.0.1:5642/oobi/AID/witness --allow-http

\b
Other witnesses of the log are asked too, as far as it is known where they are. How many confirm
the latest event is told: they gave it as their latest, and it has their receipts. What is found
is never older than told, but a service can hide later events; the more witnesses confirm, the more
would have to do so together.""",
)
@click.argument("url")
@click.option("--name", help="Keep the identifier as a contact under this name.")
@click.option("--also", metavar="URL", multiple=True, help="Ask there too; may be repeated.")
@click.option("--confirm/--no-confirm", default=True, help="Ask other witnesses too.")
@click.option("--evidence", metavar="FILE", help="Write proof of duplicity to a new file.")
@network_options
@json_option
@wallet_options
def resolve(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    network: Network,
    url: str,
    *,
    name: str | None,
    also: tuple[str, ...],
    confirm: bool,
    evidence: str | None,
    json_output: bool,
) -> None:
    """Find and verify the log that a URL leads to."""
    from keystead.cli import contact_report as report  # noqa: PLC0415 - for --help
    from keystead.owner.contacts import add_found, discover  # noqa: PLC0415 - as above
    from keystead.owner.discovery import Schema  # noqa: PLC0415 - as above

    report.check_new(evidence)
    for one in (url, *also):
        read_oobi(one)
    with open_wallet(place) as wallet:
        found = discover(wallet, network.transport(strangers=True), url, also=also, confirm=confirm)
        if isinstance(found, Schema):
            value = {"schema": found.said, "bytes": len(found.raw)}
            click.echo(as_json(value) if json_output else f"the schema {found.said} is kept")
            return
        code = report.warn(found, wallet.events, evidence)
        trusted = not (found.duplicity or found.rolled_back)
        contact = add_found(wallet, found, name) if name and trusted else None
    if json_output:
        click.echo(as_json(report.found_value(found, contact)))
    else:
        click.echo("\n".join(report.found_lines(found, contact)))
    report.finish(code)


@oobi.command(
    epilog="""\b
Examples:
  keystead oobi show alice                       at its witnesses, or where you serve its log
  keystead oobi show alice --role controller
  keystead oobi show alice --call "Alice at work"

\b
Give the URL to others over a channel by which they know you; then let them challenge you, for
the URL alone does not prove that the identifier is yours.""",
)
@click.argument("name")
@click.option("--role", type=click.Choice(["witness", "controller"]), help="Who serves the log.")
@click.option("--call", "label", metavar="TEXT", default="", help="Name to propose to others.")
@json_option
@wallet_options
def show(place: WalletPlace, name: str, *, role: str | None, label: str, json_output: bool) -> None:
    """Show the URLs that lead others to an identifier of yours."""
    from keystead.owner.introductions import own_oobis  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        record = wallet.identifier(name)
        found = own_oobis(wallet, name, role=role or "", label=label)
    urls = [one.url for one in found]
    if json_output:
        role = found[0].path.role
        click.echo(as_json({"name": record.name, "aid": record.aid, "role": role, "urls": urls}))
    else:
        click.echo("\n".join(urls))


@oobi.command(
    epilog="""\b
Examples:
  keystead oobi serve alice --port 8080                       for this machine
  keystead oobi serve alice --url https://HOST --behind-proxy --host 0.0.0.0 --public

\b
The wallet is opened once, to sign where the log is served, and closed before anything is served.
Each request gets the log as it is then. It goes on until it is stopped, with Ctrl-C.""",
)
@click.argument("name")
@click.option("--url", metavar="URL", help="Where others reach it: stated and signed.")
@serving_options(8080)
@wallet_options
def serve(
    place: WalletPlace, name: str, *, url: str | None, binding: "Binding", json_output: bool
) -> None:
    """Serve the log of an identifier of yours over HTTP."""
    from keystead.cli import serving  # noqa: PLC0415 - for --help
    from keystead.services.introductions import introductions  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        aid = wallet.identifier(name).aid
        _publish(wallet, name, url)
    serving.serve(introductions(_events(place), [aid]), binding, json_output=json_output)


@oobi.command(
    "export",
    epilog="""\b
Examples:
  keystead oobi export alice public --url https://HOST   the server's root is the folder public

\b
Any web server can serve the folder, at the root of a host. It has to give the files under oobi and
.well-known/keri the content type application/json+cesr. Export again after each event.""",
)
@click.argument("name")
@click.argument("folder")
@click.option("--url", metavar="URL", help="Where others reach it: stated and signed.")
@json_option
@wallet_options
def export(
    place: WalletPlace, name: str, folder: str, *, url: str | None, json_output: bool
) -> None:
    """Write the log of an identifier of yours as files for a web server."""
    from keystead.cli.files import write_file  # noqa: PLC0415 - for --help
    from keystead.cli.published import tell_behind  # noqa: PLC0415 - as above
    from keystead.owner import exporting  # noqa: PLC0415 - as above
    from keystead.owner.introductions import tree  # noqa: PLC0415 - as above

    with open_wallet(place) as wallet:
        record = wallet.identifier(name)
        _publish(wallet, name, url)
        given = exporting.outgoing(wallet, record.aid)
        files = tree(wallet, name)
        if tell_behind(wallet, record.aid):
            given = []  # others may have a newer log, so these events are still to be given out
        for path, data in files.items():
            place_of = Path(folder) / path
            _make_folder(place_of.parent)
            write_file(str(place_of), data, replace=True)
        exporting.mark_given(wallet, given)
    if json_output:
        value = {"name": record.name, "aid": record.aid, "folder": folder, "files": list(files)}
        click.echo(as_json(value))
    else:
        for path in files:
            click.echo(printable(str(Path(folder) / path)))


def _publish(wallet: "Wallet", name: str, url: str | None) -> None:
    """Sign where the log is served.

    Raises:
        UsageError: this is no URL of a host (usage.argument).
    """
    if url is None:
        return
    from keystead.errors import DecodeError  # noqa: PLC0415 - for --help
    from keystead.keri.oobi import parse_base  # noqa: PLC0415 - as above
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above
    from keystead.owner.statements import publish_location  # noqa: PLC0415 - as above

    try:
        base = parse_base(url, DEFAULT_LIMITS)
    except DecodeError as error:
        hint = "the introductions are at the root of a host: https://HOST[:PORT]"
        raise UsageError(ErrorCode.ARGUMENT, error.message, hint=hint) from None
    publish_location(wallet, name, base.partition(":")[0], f"{base}/")


def _events(place: WalletPlace) -> "Callable[[], AbstractContextManager[EventStore]]":
    @contextmanager
    def opened() -> "Iterator[EventStore]":
        with open_store(place) as store:
            yield store.events

    return opened


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot make the folder {path}: {error.strerror}"
        raise UsageError(ErrorCode.FILE, what) from None
