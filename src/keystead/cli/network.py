"""`keystead network`: a network of one's own, for development."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keystead.cli.output import as_json, say
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.services.network import Network


@click.group()
def network() -> None:
    """Run witnesses and a watcher on this machine, for development."""


@network.command(
    epilog="""\b
Examples:
  keystead network example > network.toml"""
)
def example() -> None:
    """Print a plan of a network with three witnesses and a watcher."""
    from keystead.services.network import EXAMPLE  # noqa: PLC0415 - for --help

    click.echo(EXAMPLE, nl=False)


@network.command(
    epilog="""\b
Examples:
  keystead network up network.toml
  keystead network up network.toml --json

\b
It runs until Ctrl-C, and starts again where it was. Commands reach it with the environment
variable KEYSTEAD_NETWORK=local, for instance:
  KEYSTEAD_NETWORK=local keystead id create alice --witness http://127.0.0.1:5642"""
)
@click.argument("file")
@click.option("--json", "json_output", is_flag=True, help="Announce as one line of JSON.")
def up(file: str, *, json_output: bool) -> None:
    """Start the servers of a plan, and run them until Ctrl-C."""
    from keystead.services.network import Network, read_plan  # noqa: PLC0415 - for --help

    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(ErrorCode.FILE, f"cannot read {file}: {why}") from None
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Network(read_plan(text), Path(file).absolute().parent).up() as running:
        tell(running, json_output=json_output)
        stopped.wait()
        say("stopping")


def tell(running: "Network", *, json_output: bool) -> None:
    """Tell where the servers of a network are."""
    nodes = [
        {"name": one.name, "kind": one.kind, "aid": one.aid, "url": one.url}
        for one in running.nodes.values()
    ]
    if json_output:
        click.echo(as_json({"folder": str(running.folder), "nodes": nodes}))
        return
    click.echo(f"network in {running.folder}")
    for one in nodes:
        click.echo(f"{one['kind']:8} {one['name']:8} {one['url']:28} {one['aid']}")
    click.echo("to use it: export KEYSTEAD_NETWORK=local")
