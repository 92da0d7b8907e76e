"""`keystead demo`: the whole story, with real processes, on this machine."""

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from keystead.cli.output import as_json, say_error
from keystead.errors import ErrorCode, KeysteadError, UsageError

if TYPE_CHECKING:
    from keystead.cli.demo_stage import Stage
    from keystead.services.network import NetworkPlan


@click.command(
    epilog="""\b
Examples:
  keystead demo
  keystead demo --json > story.json
  keystead demo --keep

\b
It takes less than a minute, needs no rights, speaks only with this machine, and leaves nothing
behind unless it is told to. It ends with 1 if anything does not happen as it must."""
)
@click.option(
    "--keep", is_flag=True, help="Leave network and wallets as they are; run until Ctrl-C."
)
@click.option("--folder", metavar="FOLDER", help="Make everything in this new folder.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object, at the end.")
def demo(*, keep: bool, folder: str | None, json_output: bool) -> None:
    """Show identifiers, witnesses, a watcher and a thief, step by step.

    Alice and Bob make identifiers, find and challenge each other, sign and verify. A thief steals
    a key, is cut off, and forks the log; a witness is killed. Every command is shown.
    """
    try:
        from keystead.services.network import NetworkPlan, WatcherPlan, WitnessPlan  # noqa: PLC0415 - for --help
    except ModuleNotFoundError as error:
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the packages that servers need are not installed",
            hint="install them with: pip install 'keystead[server]'",
        ) from error
    names = ("wan", "wil", "wes")
    plan = NetworkPlan(
        "network", tuple(WitnessPlan(one, 0, 100) for one in names), (WatcherPlan("wren"),)
    )
    if folder is not None:
        place = Path(folder).absolute()
        if place.exists():
            raise UsageError(ErrorCode.FILE, f"there is {folder} already", hint="name a new folder")
        place.mkdir(mode=0o700, parents=True)
        _play(plan, place, keep=keep, json_output=json_output)
    elif keep:
        _play(plan, Path(tempfile.mkdtemp(prefix="keystead-")), keep=True, json_output=json_output)
    else:
        with tempfile.TemporaryDirectory(prefix="keystead-") as temporary:
            _play(plan, Path(temporary), keep=False, json_output=json_output)


def _play(plan: "NetworkPlan", folder: Path, *, keep: bool, json_output: bool) -> None:
    from keystead.cli.demo_stage import FailedError, Stage  # noqa: PLC0415 - for --help
    from keystead.cli.demo_story import Story  # noqa: PLC0415 - as above
    from keystead.services.network import Network  # noqa: PLC0415 - as above

    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    network = Network(plan, folder)
    stage = Stage(folder, network, (lambda _: None) if json_output else click.echo)
    failure = ""
    try:
        with network.up():
            story = Story(stage)
            try:
                stage.open()
                for step in story.steps:
                    step()
            except FailedError as error:
                failure = str(error)
            finally:
                stage.close([story.alice, story.bob])
            _conclude(stage, failure, keep=keep, json_output=json_output)
    except KeysteadError as error:
        failure = f"{error}: {error.hint}"
        _conclude(stage, failure, keep=False, json_output=json_output)
    if failure:
        raise click.exceptions.Exit(1)


def _stop(number: int, _frame: object) -> NoReturn:
    """End as usual, so that servers and folders are removed."""
    raise SystemExit(128 + number)


def _conclude(stage: "Stage", failure: str, *, keep: bool, json_output: bool) -> None:
    import msgspec  # noqa: PLC0415 - for --help

    if json_output:
        report = {
            "ok": not failure,
            "failure": failure,
            "folder": str(stage.folder) if keep else None,
            "seconds": stage.seconds,
            "steps": msgspec.to_builtins(stage.steps),
        }
        click.echo(as_json(report))
    elif not failure:
        click.echo(f"\nAll {len(stage.steps)} steps held, in {stage.seconds:.0f} seconds.")
    if failure:
        say_error(failure, "see the step above; with --keep everything stays to be looked at")
    if keep:
        stage.keep(quiet=json_output)
