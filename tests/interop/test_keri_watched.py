"""Our watcher at witnesses of keri: it follows what they keep, by the routes that they have."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.desks import Desk, unlocked
from support.keri_witnesses import KeriWitness, keri_witnesses
from support.peer import NOT_RUN, environment, find_python
from support.watchers import new_watcher

pytestmark = [pytest.mark.interop, pytest.mark.checkout]


@pytest.fixture(name="witnesses", scope="module")
def _witnesses() -> Iterator[list[KeriWitness]]:
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


def test_logs_are_followed_at_witnesses_of_keri(
    desk: Desk, witnesses: list[KeriWitness], tmp_path: Path
) -> None:
    """All three confirm each event, and the look-out finds nothing foreign."""
    named = [part for one in witnesses for part in ("--witness", one.oobi)]
    aid = json.loads(desk.did("id", "create", "alice", *named, "--json"))["aid"]
    watcher = new_watcher(tmp_path)
    oobis = [f"{one.url}/oobi/{aid}/witness/{one.aid}" for one in witnesses]
    assert watcher.run("add", *oobis).returncode == 0
    with watcher.serving() as serving:
        serving.until(f"/state/{aid}", lambda value: value["confirmed_by"] == 3)
        desk.did("id", "rotate", "alice")
        path = f"/state/{aid}?max_age=20&min_sources=3"
        state = serving.until(
            path, lambda value: value["policy"]["met"] and value["state"]["s"] == "1"
        )
        assert state["duplicity"] == []
        ran = desk.run("log", "watch", "alice", "--once")
        assert (ran.code, ran.out) == (0, ""), ran.err
