"""`keystead doctor` as an owner uses it: exit codes, output, files, and tampering by hand."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keystead.cli.doctor import doctor
from keystead.owner.findings import Kind
from support.desks import Desk, unlocked
from support.machines import PHRASE, Ran, machine
from support.manual import json_fields, run_examples

# Keeps an event from its log after it was signed, as a crash would.
DIES = """
import os, sys
from keystead.owner import events
events.accept = lambda *_: os._exit(9)
from keystead.cli.main import main
main()
"""


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Iterator[Desk]:
    with unlocked(tmp_path) as desk:
        desk.create("alice")
        yield desk


def _report(ran: Ran) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(ran.out)
    return value


def _kinds(ran: Ran) -> set[str]:
    return {one["kind"] for one in _report(ran)["findings"]}


def _change(desk: Desk, *statements: str) -> None:
    with closing(sqlite3.connect(desk.owner.home / "wallet.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_examples_of_the_help_run(desk: Desk) -> None:
    """Each line of the examples does what it says."""
    given = desk.owner.file(PHRASE, "alice.txt")
    shutil.copy(given, desk.folder / "alice.txt")
    run_examples(desk, doctor)


def test_a_wallet_that_is_fine(desk: Desk) -> None:
    """The identifiers and keys are counted, whether they can rotate is told, and 0 is the end."""
    ran = desk.run("doctor")
    assert (ran.code, ran.err) == (0, "")
    assert "identifiers  1: 1 can rotate\n" in ran.out
    assert ran.out.endswith("nothing has to be done\n")


def test_json_is_documented(desk: Desk) -> None:
    """The page lists the fields of the report and of what is in it, in their order."""
    _change(desk, "DELETE FROM log")
    report = _report(desk.run("doctor", "--json"))
    assert json_fields("keystead doctor --json") == list(report)
    assert json_fields("Checked identifier") == list(report["identifiers"][0])
    assert json_fields("Finding") == list(report["findings"][0])


def test_a_locked_wallet(desk: Desk) -> None:
    """Without the passphrase a note tells what was not checked; with it everything is."""
    desk.did("lock")
    ran = desk.run("doctor", "--json")
    assert ran.code == 0
    assert _kinds(ran) == {Kind.STORE_LOCKED}
    assert not _report(ran)["unlocked"]
    opened = desk.owner.run("doctor", "--json", phrase=PHRASE)
    assert (_report(opened)["unlocked"], _kinds(opened)) == (True, set())


def test_a_repair_needs_the_passphrase(desk: Desk) -> None:
    """A locked wallet is not repaired; there is no terminal to ask on."""
    desk.did("lock")
    ran = desk.run("doctor", "--repair")
    assert ran.code == 2
    assert "usage.argument" in ran.err


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE record SET data = x'00' WHERE kind = 'key'", Kind.RECORD_CHANGED),
        ("DELETE FROM audit WHERE number = 3", Kind.AUDIT_CHAIN),
        ("DELETE FROM envelope", Kind.ENVELOPE_CHANGED),
        ("UPDATE place SET trunk = 0", Kind.STORE_DAMAGED),
    ],
)
@pytest.mark.parametrize("locked", [True, False])
def test_what_was_changed_by_hand(statement: str, kind: Kind, desk: Desk, *, locked: bool) -> None:
    """What was changed past the wallet is told with what to do, and the end is 1."""
    if locked or "envelope" in statement:
        desk.did("lock")
    _change(desk, statement)
    ran = desk.run("doctor", "--json")
    assert ran.code == 1
    assert kind in _kinds(ran)
    assert "found" in ran.err
    assert "keystead: hint: " in ran.err
    told = desk.run("doctor").out
    assert f"problem {kind}: " in told
    assert "what to do: " in told


def test_an_interrupted_rotation_is_repaired(desk: Desk) -> None:
    """An event that a crash kept from the log is told, finished, and not told again."""
    desk.did("lock")
    given = desk.owner.file(PHRASE)
    command: list[str | Path] = [
        sys.executable,
        "-c",
        DIES,
        "id",
        "rotate",
        "alice",
        "--passphrase-file",
        given,
    ]
    broken = subprocess.run(command, env=desk.owner.environment, check=False)
    assert broken.returncode == 9
    found = desk.owner.run("doctor", "--json", phrase=PHRASE)
    assert (found.code, _kinds(found)) == (1, {Kind.MARK_UNFINISHED})
    fixed = desk.owner.run("doctor", "--repair", "--json", phrase=PHRASE)
    assert fixed.code == 0, fixed.err
    assert "finished the event of alice" in _report(fixed)["repaired"]
    assert _report(fixed)["identifiers"][0]["sn"] == "1"


def test_an_older_passphrase_that_was_put_back(desk: Desk) -> None:
    """An envelope of before is told, although its passphrase opens the wallet."""
    desk.did("lock")
    with closing(sqlite3.connect(desk.owner.home / "wallet.db")) as connection:
        (row,) = connection.execute("SELECT * FROM envelope")
    new = desk.owner.file("zebras walk over nine other mountains at night", "new.txt")
    changed = desk.owner.run(
        "passphrase", "--kdf", "low-memory", "--new-passphrase-file", new, phrase=PHRASE
    )
    assert changed.code == 0, changed.err
    with closing(sqlite3.connect(desk.owner.home / "wallet.db")) as connection:
        connection.execute("REPLACE INTO envelope VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    ran = desk.owner.run("doctor", "--json", phrase=PHRASE)
    assert (ran.code, _kinds(ran)) == (1, {Kind.ENVELOPE_CHANGED})


def test_an_older_copy_from_behind_the_last_event(desk: Desk) -> None:
    """A copy from before a change that signed no event is found out, and signs nothing."""
    desk.did("lock")
    copied = desk.folder / "copy"
    shutil.copytree(desk.owner.home, copied)
    (_, key, *_) = json.loads(desk.owner.run("key", "list", "--json", phrase=PHRASE).out)["keys"]
    ended = desk.owner.run("key", "compromise", key["id"], "--yes", phrase=PHRASE)
    assert ended.code == 0, ended.err
    shutil.rmtree(desk.owner.home)
    shutil.copytree(copied, desk.owner.home)
    ran = desk.owner.run("doctor", "--json", phrase=PHRASE)
    assert (ran.code, _kinds(ran)) == (1, {Kind.MARK_BEHIND})
    refused = desk.owner.run("id", "rotate", "alice", phrase=PHRASE)
    assert "keystore.behind" in refused.err


def test_files_that_others_can_reach(desk: Desk) -> None:
    """Permissions are told for each file, with the marks, even where nothing else is opened."""
    desk.did("lock")
    (desk.owner.home / "wallet.db").chmod(0o644)
    ran = desk.run("doctor", "--json")
    assert (ran.code, _kinds(ran)) == (1, {Kind.FILE_PERMISSIONS})
    (desk.owner.home / "wallet.db").chmod(0o600)
    (state,) = (desk.owner.folder / "state").iterdir()
    (state / "marks").chmod(0o644)
    state.chmod(0o755)
    ran = desk.run("doctor", "--json")
    found = [one for one in _report(ran)["findings"] if one["kind"] == Kind.FILE_PERMISSIONS]
    assert [one["about"] for one in found] == [str(state), str(state / "marks")]


def test_a_file_that_is_no_database(desk: Desk) -> None:
    """A file that cannot be read at all is a finding too."""
    desk.did("lock")
    for path in desk.owner.home.iterdir():
        path.unlink()
    path = desk.owner.home / "wallet.db"
    path.write_bytes(b"no database" * 1000)
    path.chmod(0o600)
    ran = desk.run("doctor", "--json")
    assert (ran.code, _kinds(ran)) == (1, {Kind.STORE_DAMAGED})


def test_where_there_is_no_wallet(tmp_path: Path) -> None:
    """Nothing to check is an error of its own."""
    ran = machine(tmp_path).run("doctor")
    assert ran.code == 1
    assert "store.missing" in ran.err


def test_many_findings_of_one_kind_are_counted(desk: Desk) -> None:
    """The first ten are shown, the others are in the report for programs."""
    _change(desk, "UPDATE audit SET hash = x'00'")
    ran = desk.run("doctor")
    report = _report(desk.run("doctor", "--json"))
    chain = [one for one in report["findings"] if one["kind"] == Kind.AUDIT_CHAIN]
    assert f"and {len(chain) - 10} more, see --json" in ran.out


def test_a_copy_from_before_the_passphrase_was_changed(desk: Desk) -> None:
    """The whole folder, put back with an older passphrase, is found out too."""
    desk.did("lock")
    copied = desk.folder / "copy"
    shutil.copytree(desk.owner.home, copied)
    new = desk.owner.file("zebras walk over nine other mountains at night", "new.txt")
    changed = desk.owner.run(
        "passphrase", "--kdf", "low-memory", "--new-passphrase-file", new, phrase=PHRASE
    )
    assert changed.code == 0, changed.err
    shutil.rmtree(desk.owner.home)
    shutil.copytree(copied, desk.owner.home)
    ran = desk.owner.run("doctor", "--json", phrase=PHRASE)
    assert (ran.code, _kinds(ran)) == (1, {Kind.MARK_BEHIND})
