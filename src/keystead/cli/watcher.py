"""`keystead watcher`: follow the logs of others, and show what was seen first."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from keystead.cli.fetching import Network, network_options
from keystead.cli.output import as_json, counted, printable, say
from keystead.cli.secrets import SecretSource, passphrase_options, read_secret
from keystead.cli.serving import serve as serve_until_stopped
from keystead.cli.serving import serving_options
from keystead.cli.wallets import ask_new_passphrase, now
from keystead.errors import ErrorCode, StoreError, UsageError
from keystead.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from keystead.cesr.keys import Aid
    from keystead.ports.watching import Source, SourceView
    from keystead.services.running import Binding
    from keystead.stores.watching import DatabaseWatch

Result = TypeVar("Result")

HOME: Final = "KEYSTEAD_WATCHER_HOME"
KEY_FILE: Final = "watcher.key"
PORT: Final = 5650
MOST_WEBHOOKS: Final = 16
_ROLES: Final = ("witness", "watcher")


def _home_option(command: Callable[..., Result]) -> Callable[..., Result]:
    @click.option(
        "--home",
        metavar="FOLDER",
        help=f"Folder of the watcher; otherwise ${HOME}, or the usual place of your system.",
    )
    @wraps(command)
    def with_home(*args: Any, **options: Any) -> Result:  # noqa: ANN401 - of any command
        options["home"] = _home(options["home"])
        return command(*args, **options)

    return with_home


def _home(asked: str | None) -> Path:
    if asked or (asked := os.environ.get(HOME)):
        return Path(asked).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - only when no folder is named

    return platformdirs.user_data_path("keystead") / "watcher"


@click.group(
    epilog="""\b
Examples:
  keystead watcher init                          make a watcher: its key and its store
  keystead watcher add OOBI...                   follow identifiers at witnesses and watchers
  keystead watcher serve                         follow them, and answer what was seen
  keystead watcher list                          what is followed, and who confirmed what"""
)
def watcher() -> None:
    """Follow logs at many sources; keep what was seen first; prove duplicity.

    A watcher never says what the state of an identifier is, only how many sources confirmed
    which state, and when.
    """


@watcher.command(
    epilog="""\b
Examples:
  keystead watcher init --passphrase-file FILE
  keystead watcher init --database postgresql://ROLE@HOST/DATABASE

\b
With PostgreSQL several processes of one machine may serve the watcher; see docs/watchers.md."""
)
@click.option(
    "--database",
    envvar="KEYSTEAD_DATABASE",
    metavar="URL",
    default="",
    help="Keep its store in PostgreSQL instead of in its folder; without a password in it.",
)
@_home_option
@passphrase_options
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def init(home: Path, passphrase: SecretSource, *, database: str, json_output: bool) -> None:
    """Make a watcher: a key that signs its answers, sealed by a passphrase, and a store."""
    from keystead.keystores.service_key import ServiceKey  # noqa: PLC0415 - for --help
    from keystead.stores import files  # noqa: PLC0415 - as above
    from keystead.stores.opening import name_location  # noqa: PLC0415 - as above
    from keystead.stores.watching import DatabaseWatch  # noqa: PLC0415 - as above

    files.make_folder(home)
    if files.check_file(home / KEY_FILE):
        hint = "name another folder with --home, or start this one with: keystead watcher serve"
        raise UsageError(ErrorCode.EXISTS, f"there is a watcher in {home}", hint=hint)
    name_location(home, database)
    secret = ask_new_passphrase(passphrase)
    # The key comes last: a watcher without one was never finished, and init can be repeated.
    try:
        with closing(DatabaseWatch.open(home)) as store:
            if store.watched():
                raise UsageError(ErrorCode.EXISTS, "the store is that of another watcher")
    except StoreError as error:
        if error.code is not ErrorCode.STORE_MISSING:
            raise
        DatabaseWatch.create(home).close()
    key = ServiceKey.create(home / KEY_FILE, secret)
    if json_output:
        click.echo(as_json({"watcher": key.aid, "home": str(home)}))
        return
    click.echo(f"watcher {key.aid}")
    say(f"its folder is {home}; follow identifiers with: keystead watcher add OOBI")


@watcher.command(
    epilog="""\b
Examples:
  keystead watcher serve --passphrase-file FILE
  keystead watcher serve --interval 10 --metrics-port 9690
  keystead watcher serve --host 0.0.0.0 --public --tls-cert FILE --tls-key FILE"""
)
@_home_option
@passphrase_options
@serving_options(PORT)
@network_options
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 86_400),
    default=30.0,
    show_default=True,
    help="Seconds between two calls of a source.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Calls at the same time.",
)
def serve(  # noqa: PLR0913 - one for each group of options
    home: Path,
    passphrase: SecretSource,
    binding: "Binding",
    network: Network,
    *,
    json_output: bool,
    interval: float,
    at_once: int,
) -> None:
    """Follow what is on the list, and answer what was seen.

    Changes of the list by other commands are noticed within a second.
    """
    from keystead.keystores.hardening import harden  # noqa: PLC0415 - for --help
    from keystead.keystores.passphrase import normalized  # noqa: PLC0415 - as above
    from keystead.keystores.service_key import ServiceKey  # noqa: PLC0415 - as above
    from keystead.node.schedule import Pace  # noqa: PLC0415 - as above
    from keystead.services.watcher import WatcherSettings  # noqa: PLC0415 - as above
    from keystead.services.watcher_running import (  # noqa: PLC0415 - as above
        WatcherParts,
        watcher_service,
    )

    harden()
    secret = normalized(read_secret(passphrase, "Passphrase of the watcher: "))
    key = ServiceKey.open(home / KEY_FILE, secret)
    pace = Pace(interval, max(interval, min(30 * interval, 900.0)), at_once=at_once)
    parts = WatcherParts(home, key.aid, key.sign, network.transport(), WatcherSettings(pace))
    serve_until_stopped(partial(watcher_service, parts), binding, json_output=json_output)


@watcher.command(
    epilog="""\b
Examples:
  keystead watcher add https://w1.example/oobi/AID/witness/EID https://w2.example/oobi/AID/witness/EID
  keystead watcher add https://other.example/oobi/AID/watcher/EID"""
)
@_home_option
@click.argument("oobis", nargs=-1, required=True, metavar="OOBI...")
def add(home: Path, oobis: tuple[str, ...]) -> None:
    """Follow identifiers: each OOBI names one, and a witness or watcher that has its log."""
    from keystead.node.watching import check_room  # noqa: PLC0415 - for --help

    wanted: dict[Aid, list[Source]] = {}
    for text in oobis:
        aid, source = read_source(text)
        wanted.setdefault(aid, []).append(source)

    def follow(store: "DatabaseWatch") -> None:
        for aid, sources in wanted.items():
            known = {one.source.url for one in store.views(aid)} | {one.url for one in sources}
            others = len(store.watched()) - store.is_watched(aid)
            check_room(others, len(known))
            store.watch(aid, sources, now())

    with _open(home) as store:
        store.run(lambda: follow(store))
    for aid, sources in wanted.items():
        click.echo(f"{aid}  {counted(len(sources), 'source')}")


@watcher.command(
    epilog="""\b
Examples:
  keystead watcher remove AID                        follow it no longer; what was seen stays
  keystead watcher remove AID --source https://w1.example"""
)
@_home_option
@click.argument("aid")
@click.option("--source", "url", metavar="URL", help="Only this source.")
def remove(home: Path, aid: str, url: str | None) -> None:
    """Follow an identifier no longer, or no longer at one source."""
    with _open(home) as store:
        if not store.unwatch(_aid(aid), None if url is None else url.rstrip("/")):
            raise UsageError(
                ErrorCode.UNKNOWN,
                "that is not followed",
                hint="see what is: keystead watcher list",
            )


@watcher.command(
    name="list",
    epilog="""\b
Examples:
  keystead watcher list
  keystead watcher list --json""",
)
@_home_option
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def list_(home: Path, *, json_output: bool) -> None:
    """Show what is followed, and what each source confirmed when."""
    with _open(home) as store:
        found = [_watched_value(store, aid) for aid in store.watched()]
    if json_output:
        click.echo(as_json({"identifiers": found}))
        return
    if not found:
        click.echo("nothing is followed; follow an identifier with: keystead watcher add OOBI")
    for one in found:
        click.echo(one["aid"])
        state = "no event is known" if one["sn"] is None else f"event {one['sn']} {one['said']}"
        click.echo(f"  first seen:  {state}")
        for source in one["sources"]:
            click.echo(printable(f"  {source['kind'] + ':':<12} {_source_line(source)}"))
        if one["duplicity"]:
            click.echo(
                f"  DUPLICITY:   {counted(one['duplicity'], 'other version')};"
                f" see /evidence/{one['aid']}"
            )


@watcher.command(
    epilog="""\b
Examples:
  keystead watcher status
  keystead watcher status --json"""
)
@_home_option
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
@click.option("--last", type=click.IntRange(0, 1000), default=10, help="So many notices.")
def status(home: Path, *, json_output: bool, last: int) -> None:
    """Show how the watcher is: what it follows, who fails, and what happened lately."""
    from keystead.keystores.service_key import read_envelope  # noqa: PLC0415 - for --help
    from keystead.services.watcher_alerts import notice_value  # noqa: PLC0415 - as above

    aid = read_envelope(home / KEY_FILE).wallet
    with _open(home) as store:
        views = [view for _, view in store.all_views()]
        end = store.last_notice()
        value: dict[str, Any] = {
            "watcher": aid,
            "home": str(home),
            "identifiers": len(store.watched()),
            "sources": len(views),
            "failing": [one.source.url for one in views if one.failures],
            "duplicitous": [one for one in store.watched() if store.bundles(one)],
            "notices": [notice_value(one) for one in store.notices(max(end - last, 0), last)],
            "webhooks": [
                {"url": one.url, "behind": end - one.told, "problem": one.problem}
                for one in store.webhooks()
            ],
        }
    if json_output:
        click.echo(as_json(value))
        return
    failing = len(value["failing"])
    click.echo(f"watcher {aid}")
    identifiers = counted(value["identifiers"], "identifier")
    click.echo(f"follows {identifiers} at {counted(len(views), 'source')}")
    click.echo(f"sources that fail: {failing}")
    for one in value["duplicitous"]:
        click.echo(f"DUPLICITY of {one}")
    for hook in value["webhooks"]:
        told = f"{counted(hook['behind'], 'notice')} behind" if hook["behind"] else "up to date"
        click.echo(printable(f"webhook {hook['url']}: {told} {hook['problem']}".rstrip()))
    for notice in value["notices"]:
        about = notice["data"].get("sn") or ""
        click.echo(
            f"{notice['number']:6}  {notice['at'][:19]}  {notice['kind']}  {notice['aid']}  {about}"
        )


@watcher.command(
    epilog="""\b
Examples:
  keystead watcher webhook https://alerts.example/keystead
  keystead watcher webhook https://alerts.example/keystead --remove"""
)
@_home_option
@click.argument("url")
@click.option("--remove", "gone", is_flag=True, help="Call it no longer.")
def webhook(home: Path, url: str, *, gone: bool) -> None:
    """Have a URL called with each notice from now on; the content is signed by the watcher."""
    from keystead.ports.watching import Webhook  # noqa: PLC0415 - for --help

    if len(url) > DEFAULT_LIMITS.url or not url.startswith(("https://", "http://")):
        raise UsageError(ErrorCode.ARGUMENT, "the URL is not https://...")
    with _open(home) as store:
        known = {one.url for one in store.webhooks()}
        if gone:
            if not store.remove_webhook(url):
                raise UsageError(ErrorCode.UNKNOWN, "that URL is not called")
        elif url not in known:
            if len(known) >= MOST_WEBHOOKS:
                raise UsageError(ErrorCode.ARGUMENT, f"{MOST_WEBHOOKS} URLs are called already")
            store.put_webhook(Webhook(url, store.last_notice()))


def read_source(text: str) -> "tuple[Aid, Source]":
    """Read an introduction that names an identifier, and a witness or watcher that has its log.

    Raises:
        UsageError: it is no introduction, or names nobody who has the log (usage.argument).
    """
    from keystead.cesr.keys import Aid, is_aid  # noqa: PLC0415 - for --help
    from keystead.cli.id_options import read_oobi  # noqa: PLC0415 - as above
    from keystead.ports.watching import Source  # noqa: PLC0415 - as above

    oobi = read_oobi(text)
    path = oobi.path
    if (
        path.target is None
        or not is_aid(path.target)
        or path.eid is None
        or path.role not in _ROLES
    ):
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the OOBI does not tell who has the log",
            hint="it looks like https://HOST/oobi/IDENTIFIER/witness/WITNESS, or .../watcher/WATCHER",
        )
    return Aid(path.target), Source(oobi.base, path.eid, path.role)


@contextmanager
def _open(home: Path) -> "Iterator[DatabaseWatch]":
    from keystead.stores.watching import DatabaseWatch  # noqa: PLC0415 - for --help

    try:
        store = DatabaseWatch.open(home)
    except StoreError as error:
        if error.code is not ErrorCode.STORE_MISSING:
            raise
        hint = "make a watcher with: keystead watcher init; or name its folder with --home"
        raise StoreError(error.code, error.message, hint=hint) from None
    try:
        yield store
    finally:
        store.close()


def _aid(text: str) -> "Aid":
    from keystead.cesr.keys import Aid, is_aid  # noqa: PLC0415 - for --help

    if not is_aid(text):
        raise UsageError(ErrorCode.ARGUMENT, "that is no identifier")
    return Aid(text)


def _watched_value(store: "DatabaseWatch", aid: "Aid") -> dict[str, Any]:
    state = store.events.key_state(aid)
    return {
        "aid": aid,
        "sn": None if state is None else f"{state.sn:x}",
        "said": None if state is None else state.said,
        "sources": [_source_value(one) for one in store.views(aid)],
        "duplicity": len(store.bundles(aid)),
    }


def _source_value(view: "SourceView") -> dict[str, Any]:
    confirmed = view.confirmed_at
    return {
        "url": view.source.url,
        "eid": view.source.eid,
        "kind": view.source.kind,
        "sn": None if view.sn is None else f"{view.sn:x}",
        "said": view.said,
        "confirmed_at": None if confirmed is None else confirmed.isoformat(timespec="microseconds"),
        "failures": view.failures,
        "problem": view.problem,
    }


def _source_line(source: dict[str, Any]) -> str:
    line = f"{source['url']}  {source['eid']}"
    if source["confirmed_at"] is not None:
        line += f"  confirmed {source['sn']} at {source['confirmed_at'][:19]}"
    elif not source["problem"]:
        line += "  not asked yet"
    return f"{line}  ({source['problem']})" if source["problem"] else line
