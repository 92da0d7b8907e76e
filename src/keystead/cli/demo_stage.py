"""What the demonstration is told with: persons, the commands they type, and what is checked."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from keystead.cli.output import printable
from keystead.services.network import PASSPHRASE, Network

_LONGEST: Final = 60.0  # seconds that one command may take
_SHOWN: Final = 6  # lines of an answer that are shown
_WIDTH: Final = 120


class Command(msgspec.Struct):
    """A command that somebody ran.

    Attributes:
        who: who ran it.
        command: as it is typed.
        exit_code: how it ended.
        output: what it printed.
    """

    who: str
    command: str
    exit_code: int
    output: str


class Step(msgspec.Struct):
    """A step of the story.

    Attributes:
        title: what it is about.
        told: what happened, in plain language.
        commands: what was run.
        verified: what was checked, and holds.
        seconds: how long it took.
    """

    title: str
    told: list[str] = []
    commands: list[Command] = []
    verified: list[str] = []
    seconds: float = 0.0


class FailedError(Exception):
    """Something did not happen as it must."""


class Person(msgspec.Struct, frozen=True):
    """Somebody with a wallet.

    Attributes:
        name: also of the identifier.
        home: the wallet.
    """

    name: str
    home: Path


class Stage:
    """Runs the commands of a story and tells about them.

    Attributes:
        folder: where everything is.
        network: witnesses and watcher.
        steps: those that were told.
    """

    def __init__(self, folder: Path, network: Network, say: Callable[[str], None]) -> None:
        """Tell by `say`, a line at a time."""
        self.folder = folder
        self.network = network
        self.steps: list[Step] = []
        self._say = say
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return round(time.monotonic() - self._began, 1)

    def open(self) -> None:
        """Tell what runs."""
        for node in self.network.nodes.values():
            self._say(f"{node.kind:8} {node.name:6} {node.url:24} {node.aid}")

    def close(self, persons: Sequence[Person]) -> None:
        """Lock the wallets that were opened."""
        for who in persons:
            if who.home.exists():
                self._start(who, ["lock"])

    def keep(self, *, quiet: bool) -> None:
        """Run the network until Ctrl-C, and tell how to use it."""
        for name, node in self.network.nodes.items():
            if node.process is None:
                self.network.start(name)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        if not quiet:
            self.open()
            self._say(f"everything is in {self.folder}; use it in another terminal:")
            self._say("  export KEYSTEAD_NETWORK=local")
            self._say(f"  export KEYSTEAD_STATE={self.network.folder / 'state'}")
            self._say(f"  export KEYSTEAD_HOME={self.folder / 'alice'}")
            self._say(f"  keystead unlock --passphrase-file {self.folder / f'alice.{PASSPHRASE}'}")
            self._say("  keystead id show alice")
            self._say("Ctrl-C stops the network; the folder stays.")
        stopped.wait()

    def person(self, name: str) -> Person:
        """Return somebody with a wallet of their own."""
        return Person(name, self.folder / name)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Tell one step; what fails in it ends the story.

        Raises:
            FailedError: something did not happen as it must.
        """
        step = Step(title)
        self.steps.append(step)
        self._say(f"\n{len(self.steps)}. {title}")
        began = time.monotonic()
        yield step
        step.seconds = round(time.monotonic() - began, 2)

    def tell(self, text: str) -> None:
        """Say what happens, in plain language."""
        self.steps[-1].told.append(text)
        self._say(f"   {text}")

    def verified(self, holds: object, text: str) -> None:
        """Check something, and say that it holds.

        Raises:
            FailedError: it does not.
        """
        if not holds:
            raise FailedError(f"this does not hold: {text}")
        self.steps[-1].verified.append(text)
        self._say(f"   verified: {text}")

    def run(self, who: Person, *arguments: str, ends: int = 0, quiet: bool = False) -> str:
        """Run a command of this program as somebody, show it, and return what it printed.

        Raises:
            FailedError: it ends otherwise than with the code `ends`.
        """
        done = self._start(who, arguments)
        typed = shlex.join(["keystead", *arguments])
        self.steps[-1].commands.append(Command(who.name, typed, done.returncode, done.stdout))
        for line in _wrapped(f"{who.name}$ {typed}"):
            self._say(f"   {line}")
        if done.returncode != ends:
            raise FailedError(f"{typed} ended with {done.returncode}: {done.stderr.strip()}")
        if not quiet:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            for line in lines[:_SHOWN]:
                self._say(f"     {_short(printable(line))}")
            if len(lines) > _SHOWN:
                self._say(f"     ... {len(lines) - _SHOWN} more lines")
        return done.stdout

    def show(self, who: str, action: str) -> None:
        """Tell what somebody does who uses no command of this program."""
        self.steps[-1].commands.append(Command(who, action, 0, ""))
        for line in _wrapped(f"{who}: {action}"):
            self._say(f"   {line}")

    def _start(self, who: Person, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {**self.network.environment, "KEYSTEAD_HOME": str(who.home)}
        try:
            return subprocess.run(  # noqa: S603 - this program itself
                [sys.executable, "-m", "keystead", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=self.folder,
                env=environment,
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FailedError(f"keystead {arguments[0]} takes too long") from None

    def ask(self, who: Person, *arguments: str) -> Any:  # noqa: ANN401 - any report
        """Run a command for its report, without showing that."""
        return json.loads(self.run(who, *arguments, "--json", quiet=True))

    def read(self, name: str) -> bytes:
        """Return a file that was written meanwhile."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def make_wallet(self, who: Person, secret: str) -> None:
        """Make a wallet and unlock it; the passphrase comes from a file that only its owner reads."""
        path = self.folder / f"{who.name}.{PASSPHRASE}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
        self.run(who, "init", "--kdf", "low-memory", "--passphrase-file", path.name, quiet=True)
        self.run(who, "unlock", "--for", "1h", "--passphrase-file", path.name, quiet=True)


def _wrapped(typed: str) -> Iterator[str]:
    """Give a command in lines that can be pasted into a shell."""
    line = ""
    for word in re.split(r" (?=(?:[^']*'[^']*')*[^']*$)", typed):
        if line and len(line) + len(word) > _WIDTH:
            yield f"{line} \\"
            line = f"    {word}"
        else:
            line = f"{line} {word}" if line else word
    yield line


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
