"""Witnesses of keri itself, as processes of their own."""

import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.kli import kli_command, kli_environment
from support.peer import MEMORY


@dataclass(frozen=True, slots=True)
class KeriWitness:
    """A running witness.

    Attributes:
        aid: who it is.
        url: where it is reached.
        process: it.
    """

    aid: str
    url: str
    process: subprocess.Popen[bytes]

    @property
    def oobi(self) -> str:
        """Its introduction."""
        return f"{self.url}/oobi/{self.aid}/controller"


@contextmanager
def keri_witnesses(python: Path, count: int) -> Iterator[list[KeriWitness]]:
    """Run witnesses of keri on this machine, under the Python of its environment."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        names = [f"witness{number}" for number in range(count)]
        started = [_start(stack, python, folder, name) for name in names]
        yield [KeriWitness(_wait(url, process), url, process) for url, process in started]


def _start(
    stack: ExitStack, python: Path, folder: Path, name: str
) -> tuple[str, subprocess.Popen[bytes]]:
    http, tcp = _free_port(), _free_port()
    url = f"http://127.0.0.1:{http}"
    settings = {name: {"dt": "2026-01-01T00:00:00.000000+00:00", "curls": [f"{url}/"]}}
    config = folder / "keri" / "cf" / "main" / f"{name}.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(settings), encoding="utf-8")
    options = ["--name", name, "--alias", name, "--config-dir", str(folder), "--config-file", name]
    places = ["-H", str(http), "-T", str(tcp)]
    process = subprocess.Popen(
        kli_command(python, folder, ["witness", "start", "--no-prompt", *options, *places]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=kli_environment(folder),
    )
    stack.callback(process.wait, 30)
    stack.callback(process.kill)
    return url, process


def _wait(url: str, process: subprocess.Popen[bytes]) -> str:
    """Wait until a witness answers, and return who it is."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "the witness of keri has ended"
        try:
            with urllib.request.urlopen(f"{url}/oobi", timeout=5) as answer:  # noqa: S310 - ours
                return str(answer.headers["KERI-AID"])
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("the witness of keri does not answer")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
