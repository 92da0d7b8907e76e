"""A wallet, two witnesses and a watcher, all as processes: what each sees of a log's life."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.commands import COMMAND
from support.desks import Desk, unlocked
from support.watchers import new_watcher, run

_PHRASE = "nine quite unguessable zebra words for servers"
DIGEST = "EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness that serves."""

    aid: str
    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def _witness(folder: Path, name: str) -> Iterator[Witness]:
    passphrase = folder / f"{name}.txt"
    passphrase.touch(0o600)
    passphrase.write_text(f"{_PHRASE}\n")
    places = ["--home", str(folder / name), "--state", str(folder / f"{name}-state")]
    places += ["--passphrase-file", str(passphrase)]
    made = run("witness", "init", *places, "--json")
    assert made.returncode == 0, made.stderr
    command = [str(COMMAND), "witness", "serve", *places, "--port", "0", "--open", "9", "--json"]
    command += ["--question-rate", "100"]
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            assert process.stdout is not None
            announced = json.loads(process.stdout.readline())
            yield Witness(json.loads(made.stdout)["aid"], announced["listening"], process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("KEYSTEAD_NETWORK", "local")
    with unlocked(tmp_path) as desk:
        yield desk


def test_a_log_is_followed_at_its_witnesses(desk: Desk, tmp_path: Path) -> None:
    """Each event is confirmed by both witnesses; when one stops, that is seen by its age alone."""
    with ExitStack() as opened:
        pool = [opened.enter_context(_witness(tmp_path, name)) for name in ("one", "two")]
        named = [part for one in pool for part in ("--witness", one.url)]
        made = json.loads(desk.did("id", "create", "alice", *named, "--json"))
        aid = made["aid"]
        watcher = new_watcher(tmp_path)
        oobis = [f"{one.url}/oobi/{aid}/witness/{one.aid}" for one in pool]
        assert watcher.run("add", *oobis).returncode == 0
        with watcher.serving() as serving:
            path = f"/state/{aid}?max_age=30&min_sources=2"
            serving.until(path, lambda value: value["confirmed_by"] == 2)
            desk.did("id", "rotate", "alice")
            desk.did("id", "anchor", "alice", "--digest", DIGEST)
            state = serving.until(
                path, lambda value: value["policy"]["met"] and value["state"]["s"] == "2"
            )
            assert state["state"]["d"] in desk.did("id", "show", "alice", "--json")
            # The wallet knows where its witnesses are, and finds nothing that is not its own.
            ran = desk.run("log", "watch", "alice", "--once")
            assert (ran.code, ran.out) == (0, ""), ran.err
            pool[0].process.send_signal(signal.SIGKILL)
            pool[0].process.wait(20)
            path = f"/state/{aid}?max_age=1&min_sources=2"
            state = serving.until(path, lambda value: not value["policy"]["met"])
            assert serving.get(path).status == 503
            assert serving.get(f"/state/{aid}?max_age=30&min_sources=1").status == 200
            done = run("log", "state", aid, "--watcher", serving.named, "--max-age", "1m")
            assert done.returncode == 0, done.stderr
            log = tmp_path / "served.cesr"
            log.write_bytes(serving.get(f"/oobi/{aid}").body)
            assert desk.strange("log", "verify", log).code == 0
