"""Our owner with witnesses of keri: it makes, changes and delegates; they keep the same logs."""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from keystead.owner.witnesses import receipts
from support.desks import Desk, unlocked
from support.keri_witnesses import KeriWitness, keri_witnesses
from support.logs import Node
from support.peer import NOT_RUN, environment, find_python

pytestmark = [pytest.mark.interop, pytest.mark.checkout]

DIGEST = "EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H"


@pytest.fixture(name="witnesses", scope="module")
def _witnesses() -> Iterator[list[KeriWitness]]:
    with _running() as running:
        yield running


@pytest.fixture(name="mortal")
def _mortal() -> Iterator[list[KeriWitness]]:
    """Give witnesses for one test, which may kill them."""
    with _running() as running:
        yield running


@contextmanager
def _running() -> Iterator[list[KeriWitness]]:
    python = find_python()
    if python is None:
        pytest.skip(NOT_RUN)
    with keri_witnesses(environment(python), 3) as running:
        yield running


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("KEYSTEAD_NETWORK", "local")
    with unlocked(tmp_path) as desk:
        yield desk


def _log(one: KeriWitness, aid: str) -> Node:
    """Return what a witness gives as the log of an identifier, verified."""
    url = f"{one.url}/query?typ=kel&pre={aid}"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
        stream: bytes = answer.read()
    node = Node()
    node.results(stream)
    return node


def _agree(witnesses: list[KeriWitness], aid: str, saids: list[str], least: int) -> None:
    """Check that witnesses keep a log with at least so many receipts of each event."""
    end = time.monotonic() + 20
    for one in witnesses:
        while True:  # keri takes in what it was given a moment after it has answered
            node = _log(one, aid)
            counts = [len(receipts(event)) for event in node.store.events(Aid(aid))]
            if node.trunk(Aid(aid)) == saids and min(counts) >= least:
                break
            assert time.monotonic() < end, (node.trunk(Aid(aid)), saids, counts)
            time.sleep(0.1)


def _create(desk: Desk, name: str, witnesses: list[KeriWitness], *options: str) -> str:
    named = [part for one in witnesses for part in ("--witness", one.oobi)]
    return desk.create(name, *named, *options)


def _saids(desk: Desk, name: str) -> list[str]:
    shown = json.loads(desk.did("id", "show", name, "--json"))
    return [one["said"] for one in shown["events"]]


def test_three_witnesses_of_keri(desk: Desk, witnesses: list[KeriWitness]) -> None:
    """Each event gets all receipts, and each witness of keri has those of the others."""
    aid = _create(desk, "alice", witnesses, "--witness-threshold", "2")
    desk.did("id", "anchor", "alice", "--digest", DIGEST)
    desk.did("id", "rotate", "alice")
    desk.did("outbox", "run", "--watch", "--timeout", "20")
    assert "nothing waits" in desk.did("outbox", "list")
    _agree(witnesses, aid, _saids(desk, "alice"), 3)
    assert desk.strange("log", "verify", desk.export("alice")).code == 0


def test_witnesses_of_keri_come_and_go(desk: Desk, witnesses: list[KeriWitness]) -> None:
    """A new one gets the whole log; one that is cut learns of it; the threshold stays."""
    aid = _create(desk, "alice", witnesses[:2])
    desk.did("id", "anchor", "alice", "--digest", DIGEST)
    change = ["--add-witness", witnesses[2].url, "--cut-witness", witnesses[0].aid]
    desk.did("id", "rotate", "alice", *change)
    desk.did("id", "rotate", "alice")
    desk.did("outbox", "run", "--watch", "--timeout", "20")
    assert "nothing waits" in desk.did("outbox", "list")
    saids = _saids(desk, "alice")
    _agree(witnesses[1:], aid, saids, 2)
    _agree(witnesses[:1], aid, saids[:3], 2)
    assert desk.strange("log", "verify", desk.export("alice")).code == 0


def test_a_delegate_with_witnesses_of_keri(desk: Desk, witnesses: list[KeriWitness]) -> None:
    """They receipt before the approval, and have the log of the delegator after it."""
    boss = _create(desk, "boss", witnesses[:1])
    aid = _create(desk, "pump", witnesses[1:], "--delegator", boss)
    desk.did("delegation", "request", "pump", "-o", "pump.request")
    desk.did("delegation", "approve", "pump.request", "--as", "boss", "--yes", "-o", "answer")
    desk.did("delegation", "complete", "pump", "answer")
    desk.did("outbox", "run", "--watch", "--timeout", "20")
    assert "nothing waits" in desk.did("outbox", "list")
    _agree(witnesses[1:], boss, _saids(desk, "boss"), 1)
    assert desk.strange("log", "verify", desk.export("pump")).code == 0
    for one in witnesses[1:]:
        url = f"{one.url}/receipts?pre={aid}&sn=0"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
            assert answer.status == 200


def test_a_witness_of_keri_that_is_killed(desk: Desk, mortal: list[KeriWitness]) -> None:
    """The others suffice; what the dead one misses stays in the outbox."""
    _create(desk, "alice", mortal, "--witness-threshold", "2")
    mortal[0].process.kill()
    mortal[0].process.wait(10)
    rotated = json.loads(desk.did("id", "rotate", "alice", "--json"))
    assert rotated["receipts"] == 2
    (event,) = json.loads(desk.did("outbox", "list", "--json"))["events"]
    assert [one["step"] for one in event["witnesses"]] == ["submit", "done", "done"]
