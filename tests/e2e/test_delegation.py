"""`keystead delegation` as processes: two owners, two wallets, files between them."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cli.delegation import delegation
from support.desks import Desk, unlocked
from support.machines import PHRASE, machine, terminal
from support.manual import json_fields, run_examples

ASKING = ("keystead delegation approve pump.request --as plant -o pump.answer",)


@pytest.fixture(name="plant")
def _plant(tmp_path: Path) -> Iterator[Desk]:
    """Give the desk of a delegator called plant."""
    with unlocked(tmp_path / "plant") as desk:
        desk.create("plant")
        yield desk


@pytest.fixture(name="pump")
def _pump(tmp_path: Path, plant: Desk) -> Iterator[Desk]:
    """Give the desk of an identifier called pump that waits for plant."""
    with unlocked(tmp_path / "pump") as desk:
        desk.create("pump", "--delegator", _aid(plant, "plant"))
        yield desk


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in ("plant", "pump"):
        (tmp_path / name).mkdir()


def _aid(desk: Desk, name: str) -> str:
    aid = json.loads(desk.did("id", "show", name, "--json"))["aid"]
    assert isinstance(aid, str)
    return aid


def _request(pump: Desk) -> Path:
    path = pump.folder / "pump.request"
    pump.did("delegation", "request", "pump", "-o", path, "--force")
    return path


def _answer(plant: Desk, request: Path, *options: str) -> Path:
    path = plant.folder / "pump.answer"
    arguments = ("approve", request, "--as", "plant", "-o", path, "--yes", "--force")
    plant.did("delegation", *arguments, *options)
    return path


def _refused(desk: Desk, *arguments: str | Path) -> tuple[int, str]:
    ran = desk.run("delegation", *arguments)
    assert ran.out == ""
    found = re.search(r"\[([a-z_.]+)\]", ran.err)
    assert found is not None, ran.err
    return ran.code, found[1]


def _value(desk: Desk, *arguments: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did("delegation", *arguments, "--json"))
    return value


@pytest.mark.parametrize("name", [None, *delegation.commands])
def test_examples_of_the_help_run(plant: Desk, name: str | None) -> None:
    """Each line of the examples does what it says; both identifiers may be in one wallet."""
    plant.create("pump", "--delegator", _aid(plant, "plant"))
    if name in ("approve", "complete"):
        request = _request(plant)
        if name == "complete":
            _answer(plant, request)
    command = delegation if name is None else delegation.commands[name]
    if name is None:
        # On a terminal the second line asks; here its answer has to be there before.
        _answer(plant, _request(plant))
    run_examples(plant, command, asking=ASKING if name == "approve" else ())


def test_an_identifier_is_approved_and_rotated(plant: Desk, pump: Desk) -> None:
    """From the first event to a rotation that a stranger accepts."""
    said = pump.did("delegation", "request", "pump", "-o", pump.folder / "pump.request")
    assert f"next: have it approved by {_aid(plant, 'plant')}" in said
    answer = _answer(plant, pump.folder / "pump.request")
    assert "pump stands at event 0, an inception" in pump.did(
        "delegation", "complete", "pump", answer
    )
    assert "waits for its delegator" in pump.did("id", "rotate", "pump")
    answer = _answer(plant, _request(pump))
    pump.did("delegation", "complete", "pump", answer)
    log = pump.export("pump")
    verified = pump.strange("log", "verify", log)
    assert verified.code == 0
    assert "2 identifiers, 5 events accepted, 0 waiting" in verified.out
    assert pump.run("doctor").code == 0
    assert plant.run("doctor").code == 0


def test_json_is_documented(plant: Desk, pump: Desk) -> None:
    """The page lists every field of each object, in the order of the output."""
    asked = _value(pump, "request", "pump", "-o", "pump.request")
    assert json_fields("keystead delegation request --json") == list(asked)
    request = pump.folder / "pump.request"
    arguments = ("approve", request, "--as", "plant", "-o", "pump.answer", "--yes")
    approved = _value(plant, *arguments)
    assert json_fields("keystead delegation approve --json") == list(approved)
    assert json_fields("Approved event") == list(approved["approved"][0])
    assert approved["approved"][0]["new"] is True
    again = _value(plant, *arguments)
    assert again["approved"] == [{**approved["approved"][0], "new": False}]
    done = _value(pump, "complete", "pump", plant.folder / "pump.answer")
    assert json_fields("keystead delegation complete --json") == list(done)
    assert done["said"] == asked["said"] == approved["approved"][0]["said"]


def test_the_delegator_sees_what_it_approves(plant: Desk, pump: Desk) -> None:
    """Who asks, for which event and which keys; without a yes nothing is approved."""
    request = _request(pump)
    ran = plant.run("delegation", "approve", request, "--as", "plant")
    assert (ran.code, ran.out) == (2, "")
    assert f"{_aid(pump, 'pump')} asks plant to approve an inception" in ran.err
    assert len(re.findall(r"^    [DE]\S{43}$", ran.err, re.MULTILINE)) == 2
    with terminal(plant.owner, "delegation", "approve", str(request), "--as", "plant") as asked:
        asked.answer(b"", b"n\n")
        assert asked.end().code == 2
    assert json.loads(plant.did("id", "show", "plant", "--json"))["sn"] == "0"
    with terminal(plant.owner, "delegation", "approve", str(request), "--as", "plant") as asked:
        asked.answer(b"", b"y\n")
        ended = asked.end()
    assert ended.code == 0
    (pump.folder / "answer").write_text(ended.out)
    pump.did("delegation", "complete", "pump", "answer")


def test_standard_output_and_input_will_do(plant: Desk, pump: Desk) -> None:
    """Commands can be joined by pipes."""
    request = pump.did("delegation", "request", "pump")
    answer = plant.did(
        "delegation", "approve", "-", "--as", "plant", "--yes", stdin=request.encode()
    )
    pump.did("delegation", "complete", "pump", "-", stdin=answer.encode())


def test_approving_again_gives_the_same_answer(plant: Desk, pump: Desk) -> None:
    """It asks nothing the second time, and anchors nothing."""
    request = _request(pump)
    first = _answer(plant, request).read_bytes()
    plant.did("delegation", "approve", request, "--as", "plant", "-o", "again")
    assert (plant.folder / "again").read_bytes() == first
    assert json.loads(plant.did("id", "show", "plant", "--json"))["sn"] == "1"


def test_what_must_not_be_approved_is_refused(plant: Desk, pump: Desk) -> None:
    """By whom it is not for, who must not delegate, what was changed, what asks for nothing."""
    request = _request(pump)
    plant.create("office")
    plant.create("alone", "--do-not-delegate")
    for name, expected in (
        ("office", (3, "verify.delegation")),
        ("alone", (3, "verify.do_not_delegate")),
        ("nobody", (2, "usage.unknown")),
    ):
        assert _refused(plant, "approve", request, "--as", name, "--yes") == expected
    changed = plant.folder / "changed"
    changed.write_bytes(request.read_bytes().replace(b'"kt":"1"', b'"kt":"0"'))
    code, _ = _refused(plant, "approve", changed, "--as", "plant", "--yes")
    assert code == 3
    log = plant.export("office")
    assert _refused(plant, "approve", log, "--as", "plant", "--yes") == (2, "usage.argument")
    missing = plant.folder / "missing"
    assert _refused(plant, "approve", missing, "--as", "plant", "--yes") == (2, "usage.file")
    assert json.loads(plant.did("id", "show", "plant", "--json"))["sn"] == "0"


def test_the_wrong_answer_changes_nothing(plant: Desk, pump: Desk) -> None:
    """An answer to an earlier request; the right one is taken in afterwards."""
    earlier = _answer(plant, _request(pump)).rename(pump.folder / "earlier")
    pump.did("delegation", "complete", "pump", earlier)
    assert _refused(pump, "complete", "pump", earlier) == (2, "usage.argument")
    assert _refused(pump, "request", "pump") == (2, "usage.argument")
    pump.did("id", "rotate", "pump")
    assert _refused(pump, "complete", "pump", earlier) == (3, "verify.delegation")
    pump.did("delegation", "complete", "pump", _answer(plant, _request(pump)))


def test_a_second_event_for_one_place_is_warned_of(plant: Desk, pump: Desk, tmp_path: Path) -> None:
    """Somebody with a copy of the wallet asks for it."""
    pump.did("delegation", "complete", "pump", _answer(plant, _request(pump)))
    pump.owner.run("lock")
    thief = machine(tmp_path / "thief")
    shutil.copytree(pump.owner.home, thief.home)
    assert pump.owner.run("id", "rotate", "pump", phrase=PHRASE).code == 0
    assert pump.owner.run("unlock", phrase=PHRASE).code == 0
    _answer(plant, _request(pump))
    request = tmp_path / "thief" / "pump.request"
    for arguments in (
        ("id", "reconcile", "pump", "--i-accept-duplicity"),
        ("id", "rotate", "pump", "--next-keys", "2"),
        ("delegation", "request", "pump", "-o", str(request)),
    ):
        ran = thief.run(*arguments, phrase=PHRASE)
        assert ran.code == 0, ran.err
    ran = plant.run("delegation", "approve", request, "--as", "plant")
    assert ran.code == 2
    assert "WARNING: it replaces E" in ran.err


def test_a_result_for_programs_needs_a_file(plant: Desk, pump: Desk) -> None:
    """Request and answer themselves go to standard output."""
    assert _refused(pump, "request", "pump", "--json") == (2, "usage.argument")
    nowhere = pump.folder / "not" / "there"
    assert _refused(pump, "request", "pump", "-o", nowhere) == (2, "usage.file")
    assert _refused(pump, "request", "pump", "-o", pump.folder) == (2, "usage.file")
    request = _request(pump)
    arguments = ("approve", request, "--as", "plant", "--yes")
    assert _refused(plant, *arguments, "--json") == (2, "usage.argument")
    assert _refused(plant, *arguments, "-o", nowhere) == (2, "usage.file")
    assert json.loads(plant.did("id", "show", "plant", "--json"))["sn"] == "0"


def test_no_other_file_is_lost(plant: Desk, pump: Desk) -> None:
    """A file with another content is kept, without --force; what is refused approves nothing."""
    thesis = plant.write("thesis", b"precious")
    request = _request(pump)
    arguments = ("approve", request, "--as", "plant", "--yes", "-o")
    assert _refused(pump, "request", "pump", "-o", thesis) == (2, "usage.exists")
    assert _refused(plant, *arguments, thesis) == (2, "usage.exists")
    for name in ("wallet.db", "pump.request"):
        inside = plant.owner.home / name
        for force in ((), ("--force",)):
            assert _refused(plant, *arguments, inside, *force) == (2, "usage.file")
    (plant.folder / "link").symlink_to(thesis)
    assert _refused(plant, *arguments, "link", "--force") == (2, "usage.file")
    assert json.loads(plant.did("id", "show", "plant", "--json"))["sn"] == "0"
    assert thesis.read_bytes() == b"precious"
    plant.did("delegation", *arguments, thesis, "--force")
    assert thesis.read_bytes().startswith(b'{"v":"KERI')
    plant.did("delegation", *arguments, thesis)  # the same once more
    pump.did("delegation", "request", "pump", "-o", request)
