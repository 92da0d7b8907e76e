"""keri's own commands with our witnesses: the same log at each, all receipts, and it is found."""

import json
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.commands import COMMAND, ROOT, keystead
from support.kli import Kli, kli_command, kli_environment
from support.peer import MEMORY, NOT_RUN, Peer, environment, find_python
from support.pools import Member, assert_agree, fetch, our_witnesses

pytestmark = [pytest.mark.interop, pytest.mark.checkout]

# keri collects receipts in two ways: from answers to POST /receipts, or from its mailboxes.
WAYS = {"endpoint": ["--receipt-endpoint"], "mailbox": []}


@pytest.fixture(name="python", scope="module")
def _python() -> Path:
    python = find_python()
    if python is None:
        pytest.skip(NOT_RUN)
    return environment(python)


@pytest.fixture(name="pool", scope="module")
def _pool() -> Iterator[list[Member]]:
    with our_witnesses(4) as running:
        yield running


@pytest.fixture(name="folder", scope="module")
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(name="ann", scope="module")
def _ann(python: Path, folder: Path, pool: Sequence[Member]) -> Kli:
    return Kli(python, folder, "ann", [one.oobi for one in pool])


@pytest.fixture(name="ben", scope="module")
def _ben(python: Path, folder: Path, pool: Sequence[Member]) -> Kli:
    return Kli(python, folder, "ben", [one.oobi for one in pool])


def _aids(pool: Sequence[Member]) -> list[str]:
    return [one.aid for one in pool]


@pytest.mark.parametrize("way", WAYS)
def test_kli_makes_rotates_and_anchors(way: str, ann: Kli, pool: list[Member], peer: Peer) -> None:
    """Each event gets the receipts of all three witnesses, which then hold the same log."""
    three, how = pool[:3], WAYS[way]
    assert all(f"{one.oobi} succeeded" in ann.told for one in pool)
    aid = ann.incept(way, _aids(three), 2, *how)
    ann("rotate", "--alias", way, "--toad", "2", *how)
    ann("interact", "--alias", way, "--data", '{"d":"text"}', *how)
    found = assert_agree(three, aid, 2)
    assert [len(one) for one in found.receipts] == [3, 3, 3]
    exported = ann("export", "--alias", way).encode()
    for content in (exported, fetch(f"{three[2].url}/query?typ=kel&pre={aid}").content):
        verified = keystead("log", "verify", "--json", "-", stdin=content)
        assert verified.returncode == 0, verified.stderr
        (log,) = json.loads(verified.stdout)["identifiers"]
        assert (log["aid"], log["state"]["said"]) == (aid, found.saids[-1])
        assert list(peer.verify(content).logs[aid]["first_seen"]) == found.saids


def test_kli_changes_its_witnesses(ann: Kli, pool: list[Member]) -> None:
    """A new one gets the whole log; the one that left keeps what it had."""
    aid = ann.incept("changing", _aids(pool[:3]), 2)
    cut, new = pool[0].aid, pool[3].aid
    ann("rotate", "--alias", "changing", "--toad", "2", "--witness-cut", cut, "--witness-add", new)
    ann("interact", "--alias", "changing")
    assert_agree(pool[1:], aid, 2)
    left = fetch(f"{pool[0].url}/query?typ=kel&pre={aid}").content
    assert left.count(b'"t":"icp"') == 1


def test_kli_finds_and_queries(ann: Kli, ben: Kli, pool: list[Member]) -> None:
    """By an introduction of keri at our witness; later events come through its mailbox there."""
    three = _aids(pool[:3])
    aid = ann.incept("ann", three, 2, "--receipt-endpoint")
    ben.incept("ben", three, 2, "--receipt-endpoint")
    url = ann.introduction("ann")
    assert url in {f"{one.url}/oobi/{aid}/witness" for one in pool[:3]}
    assert "resolved" in ben("oobi", "resolve", "--oobi-alias", "ann", "--oobi", url)
    assert _last_known(ben, aid) == 0
    ann("rotate", "--alias", "ann", "--toad", "2", "--receipt-endpoint")
    ann("interact", "--alias", "ann", "--receipt-endpoint")
    told = ben("query", "--alias", "ben", "--prefix", aid)
    assert "Seq No:\t2" in told
    assert _last_known(ben, aid) == 2


def test_kli_is_a_delegate(ann: Kli, ben: Kli, pool: list[Member]) -> None:
    """Its witnesses sign before the approval, and tell it of the approval once that is there."""
    three = _aids(pool[:3])
    root = ann.incept("root", three, 2, "--receipt-endpoint")
    ben.incept("proxy", three, 2, "--receipt-endpoint")
    ben("oobi", "resolve", "--oobi-alias", "root", "--oobi", ann.introduction("root"))
    count = ("--icount", "1", "--isith", "1", "--ncount", "1", "--nsith", "1", "--toad", "2")
    named = [part for one in three for part in ("--wits", one)]
    waiting = ben.start(
        "incept", "--alias", "delegate", "--delpre", root, "--proxy", "proxy", "--transferable",
        *count, *named,
    )  # fmt: skip
    delegate = _wait_for_alias(ben, "delegate")
    seal = json.dumps({"i": delegate, "s": "0", "d": delegate})
    ann("interact", "--alias", "root", "--data", seal, "--receipt-endpoint")
    assert f"Prefix  {delegate}" in ben.end(waiting)
    assert_agree(pool[:3], delegate, 0, root)


def test_the_manual(python: Path, pool: list[Member], tmp_path: Path) -> None:
    """Its commands work as they stand there, one after another."""
    page = (ROOT / "docs" / "interop.md").read_text("utf-8")
    (commands,) = re.findall(r"```sh\n(kli init.*?)```", page, re.DOTALL)
    shim = tmp_path / "bin" / "kli"
    shim.parent.mkdir()
    words = shlex.join(kli_command(python, tmp_path / "kli", []))
    shim.write_text(f'#!/bin/sh\nexec {words} "$@"\n', "utf-8")
    shim.chmod(0o700)
    places = {f"URL{number}": one.url for number, one in enumerate(pool, 1)}
    aids = {f"AID{number}": one.aid for number, one in enumerate(pool, 1)}
    path = f"{shim.parent}:{COMMAND.parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["/bin/sh", "-e", "-c", commands],
        env={**os.environ, **kli_environment(tmp_path), **places, **aids, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=180,
    )
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    assert "3 events accepted, 0 waiting, 0 duplicitous, 0 refused" in ran.stdout


def _last_known(kli: Kli, aid: str) -> int:
    told = kli("kevers", "--prefix", aid)
    return int(told.split("Seq No:")[1].split()[0], 16)


def _wait_for_alias(kli: Kli, alias: str) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in kli("list").splitlines():
            if line.startswith(f"{alias} ("):
                return line.partition("(")[2].rstrip(")")
    raise AssertionError("the identifier is not made")
