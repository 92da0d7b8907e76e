"""Watchers as processes: made, started, asked and stopped."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keystead.node.attestation import HEADER, check_attestation
from support.commands import COMMAND

_PHRASE = "correct horse battery staple purple"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a watcher answered."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """The content as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class WatcherHome:
    """A watcher on this machine.

    Attributes:
        home: its folder.
        passphrase: file with its passphrase.
        aid: its identifier.
    """

    home: Path
    passphrase: Path
    aid: str

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the operator."""
        return run("watcher", *arguments, "--home", self.home)

    @contextmanager
    def serving(self, *options: str) -> Iterator["Serving"]:
        """Let it serve, with a short interval."""
        command = [
            str(COMMAND), "watcher", "serve", "--home", str(self.home), "--port", "0", "--json",
            "--passphrase-file", str(self.passphrase), "--interval", "0.2", "--metrics-port", "0",
            *options,
        ]  # fmt: skip
        log = self.home.parent / f"{self.home.name}.log"
        with (
            log.open("ab") as told,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=told, env=_environment()
            ) as process,
        ):
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, log.read_text()
                announced = json.loads(line)
                yield Serving(self, process, announced["listening"], announced["metrics"])
            finally:
                if process.poll() is None:  # a test may have killed it
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(20) == 0, log.read_text()


@dataclass(frozen=True, slots=True)
class Serving:
    """A watcher that serves.

    Attributes:
        of: which one.
        process: its process.
        url: where it listens.
        metrics: URL of its metrics.
    """

    of: WatcherHome
    process: subprocess.Popen[bytes]
    url: str
    metrics: str

    @property
    def named(self) -> str:
        """Who and where it is, for --watcher."""
        return f"{self.of.aid}@{self.url}"

    def get(self, path: str) -> Answered:
        """Ask something; answers that are no errors are signed by the watcher."""
        answered = fetch(self.url + path)
        if "cesr-attachment" in answered.headers or answered.status == 200:
            header = answered.headers.get(HEADER.lower(), "")
            check_attestation(self.of.aid, answered.body, header)  # type: ignore[arg-type] # text is enough
        return answered

    def until(self, path: str, fits: Callable[[Any], bool], seconds: float = 20.0) -> Any:  # noqa: ANN401 - any JSON value
        """Ask until the answer is as wanted."""
        end = time.monotonic() + seconds
        while True:
            answered = self.get(path)
            if answered.status in (200, 503) and fits(answered.value):
                return answered.value
            assert time.monotonic() < end, answered.body
            time.sleep(0.05)


def new_watcher(folder: Path, name: str = "watcher", *, database: str = "") -> WatcherHome:
    """Make a watcher, with its store in its folder or in PostgreSQL."""
    passphrase = folder / "passphrase"
    if not passphrase.exists():
        passphrase.touch(0o600)
        passphrase.write_text(f"{_PHRASE}\n")
    home = folder / name
    made = run(
        "watcher", "init", "--home", home, "--passphrase-file", passphrase, "--json",
        *(("--database", database) if database else ()),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return WatcherHome(home, passphrase, json.loads(made.stdout)["watcher"])


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command that may reach this machine."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        capture_output=True,
        check=False,
        timeout=60,
        env=_environment(),
    )


def started(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """Start a command that may reach this machine."""
    return subprocess.Popen(
        [str(COMMAND), *map(str, arguments)], stdout=subprocess.PIPE, env=_environment()
    )


def fetch(url: str, headers: dict[str, str] | None = None) -> Answered:
    """Get a URL, whatever its status."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - of this machine
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answered(answer.status, answer.read(), found)
    except urllib.error.HTTPError as error:
        with error:
            found = {name.lower(): value for name, value in error.headers.items()}
            return Answered(error.code, error.read(), found)


def _environment() -> dict[str, str]:
    return {**os.environ, "KEYSTEAD_NETWORK": "local"}
