"""`keystead log watch` with a real wallet: it warns of what the owner did not make."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keystead.cesr.keys import digest
from keystead.keri.seals import DigestSeal
from keystead.testing.authoring import Author, witness
from support.desks import Desk, unlocked
from support.log_servers import LogServer
from support.machines import PHRASE, Machine
from support.watchers import run


@pytest.fixture(scope="module", name="desk")
def _desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Return a desk whose commands may reach this machine."""
    with unlocked(tmp_path_factory.mktemp("watching")) as desk:
        owner = replace(desk.owner, more={"KEYSTEAD_NETWORK": "local"})
        yield Desk(owner, desk.folder)


@pytest.fixture(name="server")
def _server() -> Iterator[LogServer]:
    """Return a server that gives one log."""
    with LogServer("somewhere") as server:
        yield server


def _stolen(desk: Desk, folder: Path) -> Machine:
    """Return a machine of a thief with a copy of everything that the owner has."""
    shutil.copytree(desk.owner.folder, folder / "thief", ignore=shutil.ignore_patterns("*.sock"))
    owner = desk.owner
    home = folder / "thief" / owner.home.relative_to(owner.folder)
    return Machine(folder / "thief", home)


def _anchor(thief: Machine, name: str, document: Path, out: Path) -> bytes:
    """Let the thief sign an event and return his log."""
    done = thief.run("id", "anchor", name, "--digest", digest(document.read_bytes()), phrase=PHRASE)
    assert done.code == 0, done.err
    done = thief.run("id", "export", name, "-o", out, phrase=PHRASE)
    assert done.code == 0, done.err
    return out.read_bytes()


def test_the_own_log_is_no_alarm(desk: Desk, server: LogServer) -> None:
    """What the wallet made itself, as a source has it, is nothing to warn of."""
    aid = desk.create("calm")
    server.body = desk.export("calm").read_bytes()
    for names in (("calm",), (aid,), ("--own",)):
        ran = desk.run("log", "watch", *names, "--source", server.oobi(aid), "--once")
        assert ran.code == 0, ran.err
        assert ran.out == ""
        assert "nothing alarms" in ran.err


def test_a_foreign_event_alarms(desk: Desk, server: LogServer, tmp_path: Path) -> None:
    """A thief with a copy of the wallet signs; the owner is told, with what to do."""
    aid = desk.create("robbed")
    thief = _stolen(desk, tmp_path)
    server.body = _anchor(thief, "robbed", desk.write("a.txt"), tmp_path / "log.cesr")
    ran = desk.run("log", "watch", "robbed", "--source", server.oobi(aid), "--once")
    assert ran.code == 3
    assert "SOMEBODY ELSE SIGNED AS robbed: event 1" in ran.err
    for advice in ("id reconcile robbed", "id rotate robbed", "key compromise"):
        assert advice in ran.err
    ran = desk.run("log", "watch", aid, "--source", server.oobi(aid), "--once", "--json")
    assert ran.code == 3
    (seen,) = map(json.loads, ran.out.splitlines())
    assert (seen["kind"], seen["sn"], seen["type"], seen["aid"]) == ("foreign", "1", "ixn", aid)


def test_a_second_history_alarms(desk: Desk, server: LogServer, tmp_path: Path) -> None:
    """After the owner has rotated, what the thief signs with the old keys is another version."""
    aid = desk.create("ahead")
    thief = _stolen(desk, tmp_path)
    desk.did("id", "rotate", "ahead")
    server.body = _anchor(thief, "ahead", desk.write("b.txt"), tmp_path / "log.cesr")
    ran = desk.run("log", "watch", "ahead", "--source", server.oobi(aid), "--once")
    assert ran.code == 3
    assert "does not stand" in ran.err


def test_a_source_that_is_gone_is_told(desk: Desk) -> None:
    """Nothing was seen, so nothing is said to be well."""
    aid = desk.create("alone")
    oobi = f"http://127.0.0.1:1/oobi/{aid}/witness/{witness('one').aid}"
    ran = desk.run("log", "watch", "alone", "--source", oobi, "--once")
    assert ran.code == 5
    assert "nobody listens" in ran.err
    assert desk.run("log", "watch", "alone", "--once").code == 5
    assert desk.run("log", "watch", "--once").code == 2
    assert desk.run("log", "watch", "alone", "--once", "--interval", "soon").code == 2


def test_others_are_watched_without_a_wallet(server: LogServer) -> None:
    """News and duplicity of somebody else, looked at more than once."""
    author = Author("somebody")
    begun = author.incept()
    twin = author.fork()
    logs = [begun.framed + one.framed for one in (
        author.interact(), twin.interact(DigestSeal(digest(b"other"))))]  # fmt: skip
    with LogServer("other", logs[1]) as other:
        server.body = logs[0]
        options = ("--source", server.oobi(author.aid), "--source", other.oobi(author.aid))
        ran = run("log", "watch", *options, "--for", "1s", "--interval", "1s", "--json")
    assert ran.returncode == 3
    seen = [json.loads(line)["kind"] for line in ran.stdout.splitlines()]
    assert sorted(seen) == ["duplicity", "event"]
