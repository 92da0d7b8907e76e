"""Witnesses that take no strangers, and the codes with which their operators let some in."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.commands import COMMAND
from support.desks import Desk, unlocked
from support.stub_witnesses import stub_witnesses
from support.watchers import run

_PHRASE = "nine quite unguessable zebra words for servers"


class Closed:
    """A witness that serves, closed to strangers."""

    def __init__(self, places: list[str], url: str) -> None:
        """Know where it is."""
        self.places = places
        self.url = url

    def invite(self, uses: int = 1) -> str:
        """Have its operator make a code."""
        ran = run("witness", "invite", *self.places[:4], "--uses", str(uses), "--json")
        assert ran.returncode == 0, ran.stderr
        code = json.loads(ran.stdout)["code"]
        assert isinstance(code, str)
        return code


@contextmanager
def _closed(folder: Path) -> Iterator[Closed]:
    passphrase = folder / "passphrase.txt"
    passphrase.touch(0o600)
    passphrase.write_text(f"{_PHRASE}\n")
    places = ["--home", str(folder / "witness"), "--state", str(folder / "state")]
    places += ["--passphrase-file", str(passphrase)]
    made = run("witness", "init", *places, "--json")
    assert made.returncode == 0, made.stderr
    command = [str(COMMAND), "witness", "serve", *places, "--port", "0", "--json"]
    with (folder / "witness.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            assert process.stdout is not None
            yield Closed(places, json.loads(process.stdout.readline())["listening"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("KEYSTEAD_NETWORK", "local")
    with unlocked(tmp_path) as desk:
        yield desk


@pytest.fixture(name="closed")
def _witness(tmp_path: Path) -> Iterator[Closed]:
    with _closed(tmp_path) as one:
        yield one


def _value(desk: Desk, *arguments: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did(*arguments, "--json"))
    return value


def test_a_code_lets_one_identifier_in(desk: Desk, closed: Closed) -> None:
    """It is used up by it, and a second identifier is told what to do."""
    desk.write_private("codes.txt", f"{closed.url}/ {closed.invite()}")
    options = ["--witness", closed.url, "--invitations", "codes.txt"]
    assert _value(desk, "id", "create", "alice", *options)["receipts"] == 1
    assert _value(desk, "id", "rotate", "alice")["receipts"] == 1
    ran = desk.run("id", "create", "bob", *options)
    assert ran.code == 4
    assert "the code is wrong, used up or expired [verify.not_admitted]" in ran.err
    assert "keystead outbox run bob --invitations FILE" in ran.err
    desk.write_private("more.txt", "", f"{closed.url} {closed.invite()}")
    ran = desk.run("outbox", "run", "bob", "--invitations", "more.txt")
    assert (ran.code, ran.out.startswith("1 new receipt,")) == (0, True), ran.err
    assert desk.did("outbox", "run", "bob", "--invitations", "more.txt").startswith("0 new")


def test_a_new_witness_may_want_a_code(desk: Desk, closed: Closed) -> None:
    """A rotation gives it the log with the code; without one the command says what is missing."""
    with stub_witnesses(1) as (stub,):
        desk.did("id", "create", "alice", "--witness", stub.url)
        change = ["--add-witness", closed.url, "--witness-threshold", "1"]
        ran = desk.run("id", "rotate", "alice", *change)
        assert (ran.code, "it does not let this identifier in" in ran.err) == (0, True), ran.err
        desk.write_private("codes.txt", f"{closed.url}/oobi {closed.invite()}")
        desk.did("outbox", "run", "alice", "--invitations", "codes.txt")
        shown = _value(desk, "id", "show", "alice")
        assert [one["receipts"] for one in shown["events"]] == [1, 2]
        assert "nothing waits" in desk.did("outbox", "list")


def test_files_of_codes_that_are_refused(desk: Desk, closed: Closed) -> None:
    """Each is told what is wrong, without its codes, before anything is made."""
    code = closed.invite()
    create = ["id", "create", "alice", "--witness", closed.url, "--invitations"]
    for lines, told in {
        (code,): "line 1 of --invitations is no witness with a code",
        (f"{closed.url} {code} {code}",): "line 1 of --invitations is no witness with a code",
        ("", f"https://w.example {code}"): "line 2 of --invitations names no witness",
        (f"{closed.url} {code}", f"{closed.url}/ {code}"): "line 2 of --invitations names a",
    }.items():
        ran = desk.run(*create, desk.write_private("codes.txt", *lines))
        assert (ran.code, told in ran.err, code in ran.err) == (2, True, False), ran.err
    everybody = desk.write_private("everybody.txt", f"{closed.url} {code}")
    everybody.chmod(0o644)
    for path in (everybody, desk.folder / "nowhere", desk.folder):
        ran = desk.run(*create, path)
        assert (ran.code, "[usage.file]" in ran.err) == (2, True), ran.err
    large = desk.write_private("large.txt", "x" * 70_000)
    assert "larger than" in desk.run(*create, large).err
    ran = desk.run("outbox", "run", "--invitations", desk.write_private("c.txt", f"w {code}"))
    assert (ran.code, "for one identifier" in ran.err) == (2, True)
    assert "no identifiers" in desk.did("id", "list")
