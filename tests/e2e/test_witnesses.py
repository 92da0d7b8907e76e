"""Identifiers with witnesses, from the command line: what is waited for, and what stays to do."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cesr.keys import Aid
from keystead.cli.outbox import outbox
from keystead.services.http import Request
from support.commands import COMMAND, ROOT
from support.desks import Desk, unlocked
from support.stub_witnesses import StubWitness, failing, stub_witnesses

DIGEST = "EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H"


@pytest.fixture(name="pool")
def _pool() -> Iterator[list[StubWitness]]:
    with stub_witnesses(4) as found:
        yield found


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("KEYSTEAD_NETWORK", "local")
    with unlocked(tmp_path) as desk:
        yield desk


def _named(pool: list[StubWitness]) -> list[str]:
    return [part for one in pool for part in ("--witness", one.url)]


def _value(desk: Desk, *arguments: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did(*arguments, "--json"))
    return value


def _fields(section: str) -> list[str]:
    """Return the fields that the page on JSON lists below a heading."""
    text = (ROOT / "docs" / "json.md").read_text("utf-8")
    pattern = rf"^#+ {section}\n(.*?)(?=^#|\Z)"
    (content,) = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \| .+ \|$", content, re.MULTILINE)


def test_the_life_of_a_witnessed_identifier(desk: Desk, pool: list[StubWitness]) -> None:
    """It is made, anchors, exchanges witnesses; each time a stranger can verify all of it."""
    made = _value(desk, "id", "create", "alice", *_named(pool[:3]))
    assert (made["receipts"], made["witness_threshold"], made["state"]) == (3, 2, "active")
    anchored = _value(desk, "id", "anchor", "alice", "--digest", DIGEST)
    assert (anchored["receipts"], anchored["witness_threshold"]) == (3, 2)
    change = ["--add-witness", f"{pool[3].url}/oobi", "--cut-witness", pool[0].aid]
    assert _value(desk, "id", "rotate", "alice", *change)["receipts"] == 3
    shown = _value(desk, "id", "show", "alice")
    assert shown["witnesses"] == [one.aid for one in pool[1:]]
    assert shown["locations"][pool[3].aid] == [f"{pool[3].url}/"]
    assert [one["receipts"] for one in shown["events"]] == [3, 3, 3]
    assert shown["outgoing"] == shown["unwitnessed"] == []
    assert "nothing waits" in desk.did("outbox", "list")
    assert desk.strange("log", "verify", desk.export("alice")).code == 0


def test_too_few_receipts(desk: Desk, pool: list[StubWitness]) -> None:
    """The event stands; the command says what is missing, and how to go on."""
    pool[0].instead = pool[1].instead = failing
    ran = desk.run("id", "create", "alice", *_named(pool[:3]), "--timeout", "1")
    assert ran.code == 4
    assert f"witness {pool[0].aid}: it answers with HTTP status 503: it signs nothing" in ran.err
    assert "event 0 of alice has 1 of the 2 receipts that it needs" in ran.err
    assert "keystead outbox run alice" in ran.err
    assert desk.strange("log", "verify", desk.export("alice")).code == 4
    status = _value(desk, "status")
    assert (status["witnessing"], status["unwitnessed"]) == (1, ["alice"])
    assert status["next"] == "keystead outbox run alice"
    assert "waits        alice: for receipts" in desk.did("status")
    assert "unwitnessed" in desk.did("id", "list")
    refused = desk.run("id", "rotate", "alice")
    assert (refused.code, "[keystore.unwitnessed]" in refused.err) == (1, True)
    assert desk.run("outbox", "run", "--now", "--timeout", "1").code == 4
    pool[0].instead = pool[1].instead = lambda _: None
    assert desk.did("outbox", "run", "alice", "--now").startswith("2 new receipts")
    assert _value(desk, "id", "rotate", "alice")["receipts"] == 3


def test_a_slow_witness_holds_nobody_up(desk: Desk, pool: list[StubWitness]) -> None:
    """With receipts of two of three the rotation ends soon; the third gets it all later."""
    desk.did("id", "create", "alice", *_named(pool[:3]))

    def slowly(_: Request) -> None:
        time.sleep(8)

    pool[0].instead = slowly
    begun = time.monotonic()
    rotated = _value(desk, "id", "rotate", "alice")
    seconds = time.monotonic() - begun
    assert rotated["receipts"] == 2
    assert seconds < 5, seconds  # one second of grace, and what the command itself needs
    aid = Aid(rotated["aid"])
    assert [one.receipts(aid, 1) for one in pool[1:3]] == [1, 1]  # told of each other meanwhile
    (left,) = _value(desk, "outbox", "list")["events"]
    assert {one["aid"]: one["step"] for one in left["witnesses"]}[pool[0].aid] == "submit"
    pool[0].instead = lambda _: None
    done = _value(desk, "outbox", "run", "--watch")
    assert (done["receipts"], done["events"]) == (1, [])
    assert [one.receipts(aid, 1) for one in pool[:3]] == [2, 2, 2]


def test_watching_until_all_is_done(desk: Desk, pool: list[StubWitness]) -> None:
    """`--watch` goes on by itself when a witness is back."""
    pool[0].instead = failing
    assert desk.run("id", "create", "alice", *_named(pool[:2]), "--timeout", "1").code == 4
    command = [str(COMMAND), "outbox", "run", "--watch", "--timeout", "30"]
    with subprocess.Popen(command, env=desk.owner.environment, stdout=subprocess.PIPE) as process:
        before = len(pool[0].asked)
        while len(pool[0].asked) == before:
            time.sleep(0.05)
        pool[0].instead = lambda _: None
        told, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert told.startswith(b"1 new receipt,")


def test_nobody_is_asked_without_waiting(desk: Desk, pool: list[StubWitness]) -> None:
    """`--no-wait` leaves it to the outbox, and ends well."""
    made = _value(desk, "id", "create", "alice", *_named(pool[:2]), "--no-wait")
    assert (made["state"], made["receipts"]) == ("unwitnessed", 0)
    assert [one.asked for one in pool[:2]] == [["GET /oobi"]] * 2
    assert desk.did("outbox", "run").startswith("2 new receipts")


def test_killed_while_it_waits(desk: Desk, pool: list[StubWitness]) -> None:
    """Nothing is lost and nothing is made twice."""
    pool[0].instead = failing
    command = [str(COMMAND), "id", "create", "alice", *_named(pool[:2])]
    with subprocess.Popen(command, env=desk.owner.environment) as process:
        while "POST /receipts" not in pool[1].asked:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    pool[0].instead = lambda _: None
    assert desk.run("id", "create", "alice", *_named(pool[:2])).code == 2
    desk.did("outbox", "run", "--now")
    shown = _value(desk, "id", "show", "alice")
    assert (shown["sn"], shown["receipts"]) == ("0", 2)
    aid = Aid(shown["aid"])
    assert pool[0].node.trunk(aid) == pool[1].node.trunk(aid) == [shown["said"]]


def test_a_repeated_rotation_collects_on(desk: Desk, pool: list[StubWitness]) -> None:
    """With the place that it must have, the same command makes no second event."""
    desk.did("id", "create", "alice", *_named(pool[:2]))
    pool[0].instead = failing
    assert desk.run("id", "rotate", "alice", "--sn", "1", "--timeout", "1").code == 4
    pool[0].instead = lambda _: None
    time.sleep(1)
    again = _value(desk, "id", "rotate", "alice", "--sn", "1")
    assert (again["repeated"], again["receipts"]) == (True, 2)
    assert pool[1].shown == [0, 1]


def test_json_is_documented(desk: Desk, pool: list[StubWitness]) -> None:
    """The page lists every field, in the order of the output."""
    pool[0].instead = failing
    desk.run("id", "create", "alice", *_named(pool[:2]), "--timeout", "1")
    listed = _value(desk, "outbox", "list")
    (event,) = listed["events"]
    assert list(listed) == _fields("keystead outbox list --json")
    assert list(event) == _fields("Event in the outbox")
    assert [one["step"] for one in event["witnesses"]] == ["submit", "done"]
    assert list(event["witnesses"][0]) == _fields("Work for a witness")
    ran = desk.run("outbox", "run", "--timeout", "1", "--json")
    assert list(json.loads(ran.out)) == _fields("keystead outbox run --json")
    cancelled = _value(desk, "outbox", "cancel", "alice", "--yes")
    assert list(cancelled) == _fields("keystead outbox cancel --json")
    assert cancelled["cancelled"] == 1


def test_giving_up_warns(desk: Desk, pool: list[StubWitness]) -> None:
    """It asks first, tells what it means, and can be taken back."""
    pool[0].instead = failing
    desk.run("id", "create", "alice", *_named(pool[:2]), "--timeout", "1")
    unasked = desk.run("outbox", "cancel", "alice")
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    ran = desk.run("outbox", "cancel", "alice", "--witness", pool[0].aid, "--yes")
    assert "warning: event 0 of alice has too few receipts" in ran.err
    assert "nothing waits" in desk.did("outbox", "list")
    assert desk.run("outbox", "cancel", "alice", "--yes").code == 2
    pool[0].instead = lambda _: None
    assert desk.run("outbox", "run").code == 4
    assert desk.did("outbox", "run", "--again").startswith("1 new receipt,")


@pytest.mark.parametrize("name", [None, *outbox.commands])
def test_examples_of_the_help_run(desk: Desk, pool: list[StubWitness], name: str | None) -> None:
    """Each line of the examples does what it says, one after another."""
    pool[0].instead = failing
    desk.run("id", "create", "alice", *_named(pool[:2]), "--timeout", "1")
    command = outbox if name is None else outbox.commands[name]
    text = command.epilog or ""
    (listed,) = re.findall(r"Examples:\n((?:  .*(?:\n|$))+)", text)
    lines = [re.split(r"\s{2,}", one)[0] for one in re.findall(r"^  (\S.*)$", listed, re.MULTILINE)]
    desk.write_private("codes.txt", f"{pool[0].url} unneeded")
    if name == "run":
        pool[0].instead = lambda _: None
        time.sleep(1.1)  # the next try is due within a second
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    for line in lines:
        here = line.replace("BBilc4-L3tFUnfM_wJr4S4OJanAv_VmF_dJNN6vkf2Ha", pool[0].aid)
        here = here.replace("--sn 3", "--sn 0").replace("--timeout 600", "--timeout 1")
        ended = subprocess.run(
            ["/bin/sh", "-c", here],
            env={**desk.owner.environment, "PATH": path},
            cwd=desk.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        asks = "cancel" in line and "--yes" not in line
        few = "outbox run" in line and pool[0].instead is failing
        assert ended.returncode == (2 if asks else 4 if few else 0), (line, ended.stderr)


def test_the_public_network_is_the_default(tmp_path: Path, pool: list[StubWitness]) -> None:
    """Without the development network nobody on this machine is asked."""
    with unlocked(tmp_path) as desk:
        ran = desk.run("id", "create", "alice", *_named(pool[:1]))
        assert ran.code == 5
        assert "[transport." in ran.err
        assert pool[0].asked == []
        assert "no identifiers" in desk.did("id", "list")


def test_a_delegate_and_its_delegator(desk: Desk, pool: list[StubWitness]) -> None:
    """Witnesses come first, then the delegator, then the witnesses learn of the approval."""
    boss = desk.create("boss", *_named(pool[:1]))
    made = _value(desk, "id", "create", "pump", "--delegator", boss, *_named(pool[1:3]))
    assert (made["state"], made["receipts"]) == ("waiting", 2)
    desk.did("delegation", "request", "pump", "-o", "pump.request")
    desk.did("delegation", "approve", "pump.request", "--as", "boss", "--yes", "-o", "answer")
    desk.did("delegation", "complete", "pump", "answer")
    assert _value(desk, "id", "show", "pump")["receipts"] == 2
    assert pool[1].node.trunk(Aid(made["aid"])) == [made["aid"]]
    assert len(pool[1].node.trunk(Aid(boss))) == 2
    assert "nothing waits" in desk.did("outbox", "list")
    assert desk.strange("log", "verify", desk.export("pump")).code == 0


def test_a_delegate_without_receipts_asks_nobody(desk: Desk, pool: list[StubWitness]) -> None:
    """A request without them would be refused, so it is not written."""
    boss = desk.create("boss")
    pool[1].instead = failing
    options = ["--delegator", boss, *_named(pool[1:3]), "--timeout", "1"]
    assert desk.run("id", "create", "pump", *options).code == 4
    ran = desk.run("delegation", "request", "pump", "-o", "pump.request", "--no-wait")
    assert (ran.code, "[keystore.unwitnessed]" in ran.err) == (1, True)
    assert not (desk.folder / "pump.request").exists()
