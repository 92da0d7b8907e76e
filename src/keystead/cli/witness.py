"""`keystead witness`: make, serve and look after a witness."""

import json
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from keystead.cli.output import ExitCode, as_json, say
from keystead.cli.secrets import SecretSource, passphrase_options
from keystead.cli.serving import serving_options
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.cesr.keys import Aid
    from keystead.services.observing import Observer
    from keystead.services.running import Binding, Listening, Service
    from keystead.services.witness_home import WitnessHome
    from keystead.stores.witness import DatabaseWitness

Result = TypeVar("Result")
_PORT: Final = 5642  # the one of the first witness in examples of keri
_CODE_BYTES: Final = 15


@click.group()
def witness() -> None:
    """Run a witness: it keeps key event logs of others and signs receipts for their events."""


def _home_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options that name a witness, as one argument `home`."""

    @click.option("--home", required=True, metavar="FOLDER", help="Folder of the witness.")
    @click.option(
        "--state",
        metavar="FOLDER",
        help="Folder, apart from the other, that remembers what was signed on this machine; "
        "otherwise $KEYSTEAD_STATE, or the usual place of your system.",
    )
    @wraps(command)
    def with_home(*args: Any, **options: Any) -> Result:  # noqa: ANN401 - of any command
        from keystead.cli.wallets import marks_folder  # noqa: PLC0415 - for --help
        from keystead.services.witness_home import WitnessHome  # noqa: PLC0415 - as above

        folder, state = Path(options.pop("home")), options.pop("state")
        where = Path(state) if state else marks_folder("witness")
        options["home"] = WitnessHome(folder.expanduser().absolute(), where.absolute())
        return command(*args, **options)

    return with_home


_json_option = click.option("--json", "json_output", is_flag=True, help="One JSON object.")


@witness.command(
    epilog="""\b
Examples:
  keystead witness init --home ~/witness
  keystead witness init --home ~/witness --passphrase-file FILE
  keystead witness init --home ~/witness --database postgresql://ROLE@HOST/DATABASE

\b
The key of the witness is sealed by the passphrase; keystead witness serve asks for it again. With
PostgreSQL several processes of one machine may serve the witness; see docs/witness-operators.md."""
)
@click.option(
    "--database",
    envvar="KEYSTEAD_DATABASE",
    metavar="URL",
    default="",
    help="Keep its database in PostgreSQL instead of in FOLDER; without a password in it.",
)
@_home_options
@passphrase_options
@_json_option
def init(
    home: "WitnessHome", *, database: str, passphrase: SecretSource, json_output: bool
) -> None:
    """Make a witness: its key and its empty database."""
    from keystead.cli.secrets import new_secret  # noqa: PLC0415 - for --help
    from keystead.cli.wallets import show_generated  # noqa: PLC0415 - as above
    from keystead.keystores.passphrase import normalized  # noqa: PLC0415 - as above

    if database and not database.startswith("postgresql://"):
        what = "a database other than a file is named by postgresql://ROLE@HOST/DATABASE"
        raise UsageError(ErrorCode.ARGUMENT, what)
    text, generated = new_secret(passphrase)
    if generated:
        show_generated(text, "witness")
    aid = home.create(normalized(text), database)
    if json_output:
        click.echo(as_json({"aid": aid, "home": str(home.folder)}))
        return
    click.echo(f"witness {aid} in {home.folder}")
    say(f"start it with: keystead witness serve --home {home.folder}")


@witness.command(
    epilog="""\b
Examples:
  keystead witness serve --home ~/witness
  keystead witness serve --home ~/witness --open 100
  keystead witness serve --home ~/witness --host 192.0.2.7 --public --tls-cert C --tls-key K \\
      --url https://witness.example.com:5642

\b
By default it takes events of nobody: let identifiers in with keystead witness allow. It ends,
after what is in progress, on SIGTERM or Ctrl-C. /healthz and /readyz tell how it is."""
)
@_home_options
@passphrase_options
@click.option("--url", metavar="URL", help="Where others reach it; by default where it listens.")
@click.option(
    "--open",
    "quota",
    type=click.IntRange(0, 1_000_000),
    default=0,
    metavar="N",
    help="Let in up to N identifiers that nobody named.",
)
@click.option(
    "--event-rate",
    type=click.FloatRange(0.01),
    default=2.0,
    show_default=True,
    help="Events a second about one identifier from one network; 25 times as many at once.",
)
@click.option(
    "--question-rate",
    type=click.FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="Questions a second of one network; 4 times as many at once.",
)
@serving_options(_PORT)
def serve(  # noqa: PLR0913 - one parameter for each option
    home: "WitnessHome",
    *,
    passphrase: SecretSource,
    url: str | None,
    quota: int,
    event_rate: float,
    question_rate: float,
    binding: "Binding",
    json_output: bool,
) -> None:
    """Serve a witness until it is told to stop."""
    from keystead.cli import serving  # noqa: PLC0415 - for --help
    from keystead.cli.secrets import read_secret  # noqa: PLC0415 - as above
    from keystead.keystores.passphrase import normalized  # noqa: PLC0415 - as above
    from keystead.node.witness import Admission  # noqa: PLC0415 - as above
    from keystead.services.charging import Rates  # noqa: PLC0415 - as above
    from keystead.services.rates import Rate  # noqa: PLC0415 - as above
    from keystead.services.witness_running import WitnessRun  # noqa: PLC0415 - as above

    home.aid  # noqa: B018 - a witness that is not there is told before the passphrase is asked
    secret = normalized(read_secret(passphrase, "Passphrase of the witness: "))
    rates = Rates(
        stranger=Rate(question_rate, max(1, round(4 * question_rate))),
        event=Rate(event_rate, max(1, round(25 * event_rate))),
        strangers=Rate(max(500.0, question_rate), max(500, round(question_rate))),
        volume=Rate(max(512.0, 8 * event_rate), max(4096, round(64 * event_rate))),
    )
    run = WitnessRun(home, secret, Admission(quota), rates, url)

    @asynccontextmanager
    async def opened(observer: "Observer") -> "AsyncIterator[Service]":
        async with run.opened(observer) as service:
            yield service

    def listening(where: "Listening") -> None:
        run.listening(where)
        if run.quarantined:
            say("it was restored, and signs nothing new before it has caught up: stop it, and")
            say(f"run: keystead witness recover --home {home.folder}; see --help there")

    serving.serve(opened, binding, json_output=json_output, listening=listening)


@witness.command(
    epilog="""\b
Examples:
  keystead witness allow --home ~/witness EKYLUMmNPZeEs77Zvclf0bSN5IN-mLfLpx2ySb-HDlk4

\b
It may serve meanwhile."""
)
@click.argument("aid")
@_home_options
@_json_option
def allow(home: "WitnessHome", *, aid: str, json_output: bool) -> None:
    """Take events of an identifier from now on."""
    _admit(home, aid, allowed=True, json_output=json_output)


@witness.command(
    epilog="""\b
Examples:
  keystead witness refuse --home ~/witness EKYLUMmNPZeEs77Zvclf0bSN5IN-mLfLpx2ySb-HDlk4

\b
What was receipted stays: a witness that forgot could contradict itself."""
)
@click.argument("aid")
@_home_options
@_json_option
def refuse(home: "WitnessHome", *, aid: str, json_output: bool) -> None:
    """Take no more events of an identifier."""
    _admit(home, aid, allowed=False, json_output=json_output)


@witness.command(
    epilog="""\b
Examples:
  keystead witness invite --home ~/witness
  keystead witness invite --home ~/witness --uses 10 --days 30"""
)
@click.option(
    "--uses",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="Identifiers that it lets in.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=7,
    show_default=True,
    help="Days after which it is void.",
)
@_home_options
@_json_option
def invite(home: "WitnessHome", *, uses: int, days: int, json_output: bool) -> None:
    """Make a code that lets strangers in; only its hash is kept."""
    import secrets  # noqa: PLC0415 - for --help

    from keystead.node.witness import invitation_digest, microseconds  # noqa: PLC0415 - as above

    code = secrets.token_urlsafe(_CODE_BYTES)
    expires = datetime.now(UTC) + timedelta(days=days)
    with _opened_store(home) as store:
        store.invite(invitation_digest(code), uses, microseconds(expires))
    if json_output:
        report = {"code": code, "uses": uses, "expires": expires.isoformat(timespec="seconds")}
        click.echo(as_json(report))
        return
    click.echo(code)
    say(f"lets in {uses} within {days} days: for keystead id create --invitations")
    say("other programs send it as the header KEYSTEAD-INVITATION")


@witness.command(
    epilog="""\b
Examples:
  keystead witness status --home ~/witness
  keystead witness status --home ~/witness --json"""
)
@_home_options
@_json_option
def status(home: "WitnessHome", *, json_output: bool) -> None:
    """Tell what a witness has, whom it lets in, and whether it may sign."""
    with _opened_store(home) as store:
        about = store.about()
        admitted = [
            {"aid": one.aid, "allowed": one.allowed, "origin": one.origin.value, "since": one.since}
            for one in store.all_admitted()
        ]
        report = {
            "aid": about.aid,
            "home": str(home.folder),
            "serving": _is_served(home),
            "logs": sum(1 for _ in store.events.identifiers()),
            "commits": about.generation,
            "waiting": sum(1 for _ in store.events.waiting()),
            "quarantined": about.quarantined,
            "unconfirmed": [aid for aid, _ in store.unconfirmed()],
            "admitted": admitted,
        }
    if json_output:
        click.echo(as_json(report))
        return
    for name in ("aid", "home", "serving", "logs", "commits", "waiting", "quarantined"):
        click.echo(f"{name + ':':13}{_plain(report[name])}")
    for one in admitted:
        state = "let in" if one["allowed"] else "refused"
        click.echo(f"{state + ':':13}{one['aid']} ({one['origin']})")
    if about.quarantined:
        say("it was restored, and signs nothing new before it has caught up: witness recover")


@witness.command(
    epilog="""\b
Examples:
  keystead witness recover --home ~/witness --from https://witness2.example.com:5642
  keystead witness recover --home ~/witness --log alice.cesr
  keystead witness recover --home ~/witness --accept AID

\b
Other witnesses of an identifier, its watchers, or its owner have its log with the receipts of
this witness. Give all of them that there are: what none of them has, this witness may contradict."""
)
@click.option("--from", "sources", metavar="URL", multiple=True, help="Ask a witness or watcher.")
@click.option("--log", "logs", metavar="FILE", multiple=True, help="Read a log from a file.")
@click.option(
    "--accept",
    "accepted",
    metavar="AID",
    multiple=True,
    help="Go on without having seen the log of this identifier again.",
)
@_home_options
@passphrase_options
@_json_option
def recover(
    home: "WitnessHome",
    *,
    sources: tuple[str, ...],
    logs: tuple[str, ...],
    accepted: tuple[str, ...],
    passphrase: SecretSource,
    json_output: bool,
) -> None:
    """Have a restored witness catch up with what it has signed; it must not serve meanwhile."""
    from keystead.cli.witness_recovery import recover_from, tell_next  # noqa: PLC0415 - for --help

    quarantined, left = recover_from(home, passphrase, sources, logs, accepted)
    if json_output:
        click.echo(as_json({"unconfirmed": left}))
    elif left:
        for aid in left:
            click.echo(f"not seen again: {aid}")
    elif quarantined:
        click.echo("the witness has caught up, and signs again")
    else:
        click.echo("the witness was not in quarantine: there is nothing to recover")
    if left:
        tell_next(home.aid, left)
        raise click.exceptions.Exit(ExitCode.WAITING)


def _admit(home: "WitnessHome", aid: str, *, allowed: bool, json_output: bool) -> None:
    from keystead.ports.witness import Admitted, Origin  # noqa: PLC0415 - for --help

    known = _aid(aid)
    with _opened_store(home) as store:
        store.admit(Admitted(known, allowed, Origin.OPERATOR, datetime.now(UTC).isoformat()))
    if json_output:
        click.echo(as_json({"aid": known, "allowed": allowed}))
    else:
        click.echo(f"{known} is {'let in' if allowed else 'refused from now on'}")


def _aid(text: str) -> "Aid":
    from keystead.cesr.keys import Aid, is_aid  # noqa: PLC0415 - for --help

    if not is_aid(text):
        what = "this is no identifier"
        raise UsageError(ErrorCode.ARGUMENT, what, hint="give it whole, as id show prints it")
    return Aid(text)


@contextmanager
def _opened_store(home: "WitnessHome") -> "Iterator[DatabaseWitness]":
    from keystead.stores.witness import DatabaseWitness  # noqa: PLC0415 - for --help

    store = DatabaseWitness.open(home.folder)
    try:
        yield store
    finally:
        store.close()


def _is_served(home: "WitnessHome") -> bool:
    from keystead.errors import StoreError  # noqa: PLC0415 - for --help

    try:
        with home.alone():
            return False
    except StoreError as error:
        if error.code is ErrorCode.STORE_BUSY:
            return True
        raise


def _plain(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool | int) else str(value)
