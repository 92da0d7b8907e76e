"""`keystead history` shows the audit log to its owner."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead.cli.history import history
from support.desks import Desk, unlocked
from support.manual import json_fields, run_examples


@pytest.fixture(name="desk", scope="module")
def _desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Return a place where an identifier was made and rotated."""
    root: Path = tmp_path_factory.mktemp("history")
    with unlocked(root) as desk:
        desk.create("alice")
        desk.did("id", "rotate", "alice", "--reason", "the keys are old")
        yield desk


def test_the_reason_can_be_read_back(desk: Desk) -> None:
    """What the owner gave as reason is in the history, with the key that it was about."""
    lines = desk.did("history").splitlines()
    assert any("rotate" in one and "(the keys are old)" in one for one in lines)
    assert any("pre-active -> active" in one for one in lines)


def test_only_the_last_entries(desk: Desk) -> None:
    """`--last` leaves out what came before."""
    everything = desk.did("history").splitlines()
    assert desk.did("history", "--last", "2").splitlines() == everything[-2:]


def test_entries_for_programs(desk: Desk) -> None:
    """The fields are those of the page, and the numbers have no gap."""
    entries = json.loads(desk.did("history", "--json"))["entries"]
    assert [one["number"] for one in entries] == list(range(1, len(entries) + 1))
    assert json_fields("Entry of the history") == list(entries[0])


def test_examples_run(desk: Desk) -> None:
    """The examples of the help work."""
    run_examples(desk, history)
