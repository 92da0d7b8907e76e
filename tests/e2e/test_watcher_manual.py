"""What the pages and the help of watchers say, compared with what the commands do."""

import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest

from keystead.cesr.keys import digest
from keystead.cli import log_compare, log_state, log_watch, watcher
from keystead.keri.seals import DigestSeal
from keystead.testing.authoring import Author
from support.commands import ROOT
from support.log_servers import LogServer
from support.manual import examples, json_fields
from support.watchers import Serving, new_watcher, run

COMMANDS = [
    *[("watcher", name, one) for name, one in watcher.watcher.commands.items()],
    ("log", "compare", log_compare.compare),
    ("log", "state", log_state.state),
    ("log", "watch", log_watch.watch),
]


@pytest.fixture(scope="module", name="scene")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, LogServer, Serving]]:
    """Give an identifier with two versions of an event, and a watcher that has seen both."""
    folder = tmp_path_factory.mktemp("manual")
    author = Author("in the manual")
    begun = author.incept()
    twin = author.fork()
    first = begun.framed + author.interact().framed
    with ExitStack() as opened:
        server = opened.enter_context(LogServer("one", first))
        other = opened.enter_context(LogServer("two", first))
        home = new_watcher(folder)
        assert home.run("add", server.oobi(author.aid), other.oobi(author.aid)).returncode == 0
        serving = opened.enter_context(home.serving())
        serving.until(f"/state/{author.aid}", lambda value: value["confirmed_by"] == 2)
        other.body = begun.framed + twin.interact(DigestSeal(digest(b"other"))).framed
        serving.until(f"/evidence/{author.aid}", lambda value: value["evidence"])
        yield author.aid, server, serving


def _told(*arguments: str | Path) -> Any:  # noqa: ANN401 - any JSON value
    printed = run(*arguments, "--json").stdout
    return json.loads(printed.splitlines()[0] if "watch" in arguments else printed)


def test_json_has_the_documented_fields(
    scene: tuple[str, LogServer, Serving], tmp_path: Path
) -> None:
    """Each page section lists the fields of one object, in their order."""
    aid, server, serving = scene
    (evidence,) = serving.get(f"/evidence/{aid}").value["evidence"]
    proof = tmp_path / "proof.cesr"
    proof.write_bytes(serving.get(evidence["bundle"]).body)
    log = tmp_path / "log.cesr"
    log.write_bytes(server.body)
    home = serving.of.home
    bundle = _told("log", "compare", proof)
    listed = _told("watcher", "list", "--home", home)
    for section, value in (
        ("Proof", bundle),
        ("Finding of duplicity", bundle["findings"][0]),
        ("Two logs", _told("log", "compare", log, log)),
        ("keystead log state --json", _told("log", "state", aid, "--watcher", serving.named)),
        (
            "keystead log watch --json",
            _told("log", "watch", "--source", server.oobi(aid), "--once"),
        ),
        ("Followed identifier", listed["identifiers"][0]),
        ("keystead watcher status --json", _told("watcher", "status", "--home", home)),
    ):
        assert json_fields(section) == list(value), section


@pytest.mark.parametrize(
    ("group", "name", "command"), COMMANDS, ids=[f"{group} {name}" for group, name, _ in COMMANDS]
)
def test_examples_of_the_help_are_understood(group: str, name: str, command: click.Command) -> None:
    """Each example in the help is a command with options and arguments that there are."""
    lines = examples(command)
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[1:3] == [group, name]
        command.make_context(line, [word.rstrip(".") for word in words[3:]], resilient_parsing=True)


def test_the_page_lists_every_route_and_command(scene: tuple[str, LogServer, Serving]) -> None:
    """Routes that the page tells answer, and commands that there are are told."""
    page = (ROOT / "docs" / "watchers.md").read_text("utf-8")
    aid, _, serving = scene
    for route in ("/state/{aid}", "/log/{aid}", "/oobi/{aid}", "/evidence/{aid}", "/"):
        assert f"`GET {route}`" in page
        assert serving.get(route.format(aid=aid)).status == 200
    for name in watcher.watcher.commands:
        assert f"watcher {name}" in page, name
