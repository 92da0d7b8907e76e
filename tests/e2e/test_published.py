"""Restored and copied wallets meet published logs, as owners and thieves use the commands."""

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import COMMAND
from support.desks import Desk, unlocked
from support.machines import PHRASE, Machine, machine


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "here").mkdir()
    with unlocked(tmp_path / "here") as desk:
        yield desk


@pytest.fixture(name="there")
def _there(tmp_path: Path) -> Iterator[Machine]:
    """Give a machine that gets a copy of the wallet when a test makes one."""
    there = machine(tmp_path / "there")
    there.folder.mkdir()
    yield there
    there.run("lock")


def _copy(desk: Desk, there: Machine) -> None:
    """Copy the wallet to the other machine, and unlock it there."""
    desk.owner.run("lock")
    shutil.copytree(desk.owner.home, there.home)
    for one in (there, desk.owner):
        assert one.run("unlock", phrase=PHRASE).code == 0


def _put_back(desk: Desk, copy: Path) -> None:
    desk.owner.run("lock")
    shutil.rmtree(desk.owner.home)
    shutil.copytree(copy, desk.owner.home)
    assert desk.owner.run("unlock", phrase=PHRASE).code == 0


def _backup(desk: Desk) -> Path:
    desk.owner.run("lock")
    copy = desk.folder / "copy"
    shutil.copytree(desk.owner.home, copy)
    assert desk.owner.run("unlock", phrase=PHRASE).code == 0
    return copy


def test_what_a_thief_signed_stays_invalid_after_a_restore(desk: Desk) -> None:
    """The notice comes back with the log, and goes out with it again."""
    desk.create("bob")
    thief = desk.write("thief.txt")
    desk.did("sign", thief, "--as", "bob")
    copy = _backup(desk)
    key = json.loads(desk.did("id", "show", "bob", "--json"))["keys"][0]["id"]
    desk.did("key", "compromise", key, "--yes")
    desk.did("id", "rotate", "bob")
    log = desk.export("bob")
    assert not desk.answer(thief, log)["valid"]
    _put_back(desk, copy)
    told = desk.did("id", "reconcile", "bob", "--log", log)
    assert "1 event taken over; keys that its notices tell to be compromised: 1" in told
    desk.export("bob")
    assert not desk.answer(thief, log)["valid"]
    desk.did("id", "rotate", "bob")
    desk.export("bob")
    assert not desk.answer(thief, log)["valid"]


def test_an_export_replaces_only_an_older_one(desk: Desk, there: Machine) -> None:
    """Nothing is lost: newer logs, notices, logs of others and what is no log stay."""
    desk.create("alice")
    desk.create("bob")
    _copy(desk, there)
    first = desk.export("alice").read_bytes()
    assert desk.export("alice").read_bytes() == first
    desk.did("id", "rotate", "alice")
    newer = desk.export("alice").read_bytes()
    assert len(newer) > len(first)
    path = desk.folder / "alice.cesr"
    ran = there.run("id", "export", "alice", "-o", path)
    assert (ran.code, "usage.file" in ran.err) == (2, True)
    assert f"keystead id reconcile alice --log {path}" in ran.err
    assert path.read_bytes() == newer
    bob = desk.export("bob").read_bytes()
    for held in (newer + bob, bob, newer + b"?", newer[:-1], newer + b"\n" * 3_000_000):
        path.write_bytes(held)
        ran = desk.run("id", "export", "alice", "-o", path)
        assert (ran.code, "usage.file" in ran.err) == (2, True)
        assert path.read_bytes() == held
    path.write_bytes(b"")
    desk.export("alice")
    assert path.read_bytes() == newer


def test_an_export_does_not_replace_notices_that_the_wallet_lacks(
    desk: Desk, there: Machine
) -> None:
    """Equal events are not enough."""
    desk.create("bob")
    key = json.loads(desk.did("id", "show", "bob", "--json"))["keys"][0]["id"]
    desk.did("id", "rotate", "bob")
    _copy(desk, there)
    desk.did("key", "compromise", key, "--yes")
    path = desk.export("bob")
    before = path.read_bytes()
    ran = there.run("id", "export", "bob", "-o", path)
    assert (ran.code, "usage.file" in ran.err) == (2, True)
    assert path.read_bytes() == before
    assert there.run("id", "reconcile", "bob", "--log", path).code == 0
    assert there.run("id", "export", "bob", "-o", path).code == 0
    assert path.read_bytes() == before


def test_a_delegated_log_is_replaced_with_those_of_its_delegators(desk: Desk) -> None:
    """Its file has them too, and may get longer."""
    boss = desk.create("boss")
    desk.did("id", "create", "site", "--delegator", boss)
    desk.did("delegation", "request", "site", "-o", "site.request")
    desk.did("delegation", "approve", "site.request", "--as", "boss", "--yes", "-o", "site.answer")
    desk.did("delegation", "complete", "site", "site.answer")
    path = desk.export("site")
    first = path.read_bytes()
    desk.did("id", "anchor", "site", "--digest", "E" + "A" * 43)
    desk.export("site")
    assert len(path.read_bytes()) > len(first)


def test_an_export_of_a_copy_says_that_it_may_be_behind(desk: Desk, there: Machine) -> None:
    """It is no proof that others have seen the newest events."""
    desk.create("alice")
    _copy(desk, there)
    path = there.folder / "alice.cesr"
    ran = there.run("id", "export", "alice", "-o", path, "--json")
    assert (ran.code, json.loads(ran.out)["new"]) == (0, [])
    assert "may be behind" in ran.err
    assert "not exported 1 event" in there.run("status").out
    ran = desk.run("id", "export", "alice", "-o", desk.folder / "own.cesr", "--json")
    assert (json.loads(ran.out)["new"], ran.err) == (["0"], "")


def test_a_wallet_without_identifiers_gets_known(desk: Desk, there: Machine) -> None:
    """Lost marks or a copy: the next step of status helps."""
    _copy(desk, there)
    shutil.rmtree(desk.owner.folder / "state")
    for one in (desk.owner, there):
        assert "keystore.behind" in one.run("id", "create", "alice").err
        value = json.loads(one.run("status", "--json").out)
        assert value["current"] is False
        assert value["next"].endswith("keystead id reconcile --i-accept-duplicity")
        done = one.run("id", "reconcile", "--i-accept-duplicity")
        assert (done.code, "known on this machine now" in done.out) == (0, True)
        again = one.run("id", "reconcile", "--i-accept-duplicity", "--json")
        assert json.loads(again.out) == {"reconciled": [], "left": []}
        assert one.run("id", "create", "alice").code == 0
        assert one.run("id", "rotate", "alice").code == 0


def test_all_identifiers_are_reconciled_without_a_log(desk: Desk, there: Machine) -> None:
    """The owner says once that no other copy signed anything."""
    desk.create("alice")
    desk.create("bob")
    _copy(desk, there)
    value = json.loads(there.run("id", "reconcile", "--i-accept-duplicity", "--json").out)
    assert [one["name"] for one in value["reconciled"]] == ["alice", "bob"]
    assert value["left"] == []
    assert there.run("id", "rotate", "bob").code == 0


def test_events_that_this_wallet_did_not_sign_need_a_yes(desk: Desk, there: Machine) -> None:
    """They are shown; without a terminal nothing is taken over unless the owner said so."""
    desk.create("alice")
    _copy(desk, there)
    desk.did("id", "rotate", "alice", "--next-keys", "3")
    desk.did("id", "anchor", "alice", "--digest", "E" + "A" * 43)
    path = desk.export("alice")
    ran = there.run("id", "reconcile", "alice", "--log", path)
    assert (ran.code, "usage.argument" in ran.err) == (2, True)
    assert "events of alice that this wallet did not sign: 2" in ran.err
    assert "somebody else has your keys" in ran.err
    listed = [line.split() for line in ran.err.splitlines() if line.startswith("  ")]
    shown = json.loads(desk.did("id", "show", "alice", "--json"))["events"][1:]
    assert [row[:3] for row in listed] == [[one["sn"], one["type"], one["said"]] for one in shown]
    assert listed[0][-2:] == ["1", "key"]
    assert json.loads(there.run("id", "show", "alice", "--json").out)["sn"] == "0"
    for answer, code in ((b"n\n", 2), (b"y\n", 0)):
        assert _on_terminal(there, answer, "id", "reconcile", "alice", "--log", path) == code
    assert there.run("id", "rotate", "alice").code == 0
    assert desk.run("id", "reconcile", "alice", "--log", path).code == 0


def test_a_script_says_yes(desk: Desk, there: Machine) -> None:
    """With --yes nobody is asked."""
    desk.create("alice")
    _copy(desk, there)
    desk.did("id", "rotate", "alice")
    path = desk.export("alice")
    ran = there.run("id", "reconcile", "--log", path, "--yes", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["reconciled"][0]["adopted"] == 1


def _on_terminal(there: Machine, answer: bytes, *arguments: str | Path) -> int:
    """Run a command that asks on a terminal."""
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    try:
        ended = subprocess.run(
            [str(COMMAND), *map(str, arguments)],
            env=there.environment,
            stdin=theirs,
            capture_output=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return ended.returncode
