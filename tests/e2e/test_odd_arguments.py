"""What commands make of arguments that are no text, and of work that is too much for memory."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import COMMAND
from support.desks import Desk, unlocked
from support.machines import Ran

ODD = b"a\xff"


@pytest.fixture(name="desk", scope="module")
def _desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give the desk of alice."""
    with unlocked(tmp_path_factory.mktemp("odd")) as desk:
        desk.create("alice")
        yield desk


def _run(desk: Desk, *arguments: bytes | str) -> Ran:
    ended = subprocess.run(
        [os.fsencode(COMMAND), *map(os.fsencode, arguments)],
        env=desk.owner.environment,
        cwd=desk.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.mark.parametrize(
    "arguments",
    [
        ["id", "show", ODD],
        ["id", "rotate", "alice", "--token", ODD],
        ["key", "show", ODD],
        ["key", "compromise", ODD, "--yes"],
        ["delegation", "request", ODD],
        ["token", "remove", ODD],
        ["id", "rotate", "alice", "--reason", ODD],
        ["id", "rotate", "alice", "--reason", "two\nlines"],
        ["id", "rotate", "alice", "--reason", "x" * 2049],
        ["id", "abandon", "alice", "--yes", "--reason", ODD],
        ["id", "anchor", "alice", "--digest", "E" + "A" * 43, "--reason", ODD],
        ["key", "compromise", "master.0", "--yes", "--reason", ODD],
        ["key", "retire", "master.0", "--reason", ODD],
        ["key", "shred", "master.0", "--yes", "--reason", ODD],
        ["delegation", "approve", "-", "--as", "alice", "--reason", ODD],
        ["token", "remove", "x", "--reason", ODD],
    ],
)
def test_an_argument_that_is_no_text_is_wrong_usage(
    desk: Desk, arguments: list[bytes | str]
) -> None:
    """It is told without a traceback, and nothing was done."""
    ran = _run(desk, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("keystead: error: ")
    assert "[usage.argument]" in ran.err
    shown = json.loads(desk.did("id", "show", "alice", "--json"))
    assert (shown["sn"], shown["state"]) == ("0", "active")


def test_names_of_files_may_be_any_bytes(desk: Desk) -> None:
    """They are shown with escapes."""
    document = Path(os.fsdecode(os.fsencode(desk.folder) + b"/" + ODD))
    document.write_bytes(b"document")
    commands: tuple[list[bytes | str], ...] = (
        ["sign", ODD, "--as", "alice"],
        ["verify", ODD],
        ["sign", ODD, "--as", "alice", "--json"],
        ["id", "export", "alice", "-o", b"log" + ODD],
        ["log", "verify", b"log" + ODD],
        ["verify", ODD, "--log", b"log" + ODD],
    )
    for arguments in commands:
        ran = _run(desk, *arguments)
        assert (ran.code, ran.err) == (0, ""), arguments
    assert "a\\udcff" in _run(desk, "sign", ODD, "--as", "alice").out
    assert Path(os.fsdecode(os.fsencode(document) + b".sig")).is_file()


_TOO_MUCH = """
import sys, types, click
from keystead.cli import main
def again(): again()
@click.command()
def greedy():
    secret = "canary"
    WORK
sys.modules["greedy"] = types.SimpleNamespace(greedy=greedy)
main._COMMANDS["greedy"] = ("greedy:greedy", "")
sys.argv = ["keystead", "greedy"]
main.main()
"""


@pytest.mark.parametrize("work", ["bytes(1 << 60)", "again()"])
def test_too_much_is_told_without_a_traceback(work: str) -> None:
    """Memory or stack came to its end."""
    script = _TOO_MUCH.replace("WORK", work)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.startswith(b"keystead: error: this is too much")
    assert b"Traceback" not in ended.stderr


def test_a_result_that_the_terminal_cannot_show_is_told(desk: Desk) -> None:
    """The encoding of the output may lack a letter of a name."""
    desk.create("жанна")
    ended = subprocess.run(
        [str(COMMAND), "id", "show", "жанна"],
        env={**desk.owner.environment, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"keystead: error: the result cannot be written as latin-1")
