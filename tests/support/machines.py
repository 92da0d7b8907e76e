"""A machine of its own for the command: folders for wallet, marks and everything else."""

import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.commands import COMMAND

PHRASE = "canary-passphrase of nine quite unguessable zebra words"


@dataclass(frozen=True, slots=True)
class Machine:
    """Runs the command with a wallet in a folder.

    Attributes:
        folder: everything is below it.
        home: folder of the wallet.
        more: further variables of the environment.
    """

    folder: Path
    home: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the command finds in its environment."""
        mine = {
            "HOME": str(self.folder),
            "KEYSTEAD_HOME": str(self.home),
            "KEYSTEAD_STATE": str(self.folder / "state"),
        }
        return {**os.environ, **mine, **self.more}

    @property
    def uncovered(self) -> dict[str, str]:
        """The same without what measures coverage, which writes files of its own."""
        return {key: value for key, value in self.environment.items() if "COVERAGE" not in key}

    def file(self, text: str, name: str = "passphrase.txt") -> Path:
        """Write a private file with one line."""
        path = self.folder / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        path.chmod(0o600)
        return path

    def run(self, *arguments: str | Path, phrase: str | None = None) -> "Ran":
        """Run the command; `phrase` is given as the passphrase, in a file."""
        given = () if phrase is None else ("--passphrase-file", self.file(phrase))
        ended = subprocess.run(
            [str(COMMAND), *map(str, (*arguments, *given))],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
            start_new_session=True,  # no terminal to ask on
        )
        return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def init(self) -> None:
        """Make a wallet."""
        made = self.run("init", "--kdf", "low-memory", phrase=PHRASE)
        assert made.code == 0, made.err


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def machine(folder: Path, **more: str) -> Machine:
    """Return a machine with its folders below `folder`, and no wallet yet."""
    return Machine(folder, folder / "wallet", more)


@contextmanager
def terminal(machine: Machine, *arguments: str) -> Iterator["Terminal"]:
    """Run the command on a terminal of its own, with its output in files."""
    printed = [machine.folder / name for name in ("stdout", "stderr")]
    child, ours = pty.fork()
    if child == 0:  # pragma: no cover - becomes the command
        for number, path in enumerate(printed, 1):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), number)
        os.execve(COMMAND, [str(COMMAND), *arguments], machine.environment)  # noqa: S606 - ours
    try:
        yield Terminal(child, ours, (printed[0], printed[1]))
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        os.close(ours)


class Terminal:
    """A command on a terminal, and what that has shown so far."""

    def __init__(self, child: int, ours: int, printed: tuple[Path, Path]) -> None:
        """Speak with a process through our end of the terminal."""
        self._child, self._ours, self._printed = child, ours, printed
        self.shown = b""

    def until(self, text: bytes) -> bytes:
        """Wait until the terminal shows a text, and return what it showed from then on."""
        begin = len(self.shown)
        while text not in self.shown[begin:]:
            ready, _, _ = select.select([self._ours], [], [], 30)
            assert ready, self.shown
            self.shown += os.read(self._ours, 1024)
        return self.shown[begin:]

    def answer(self, prompt: bytes, keys: bytes) -> bytes:
        """Wait for a prompt and type; return what was shown up to the prompt."""
        before = self.until(prompt)
        os.write(self._ours, keys)
        return before

    def close(self) -> None:
        """Close the terminal, as a window is closed."""
        os.kill(self._child, signal.SIGHUP)

    def end(self) -> Ran:
        """Wait until the command has ended and return how."""
        while True:
            try:
                piece = os.read(self._ours, 1024)
            except OSError:  # nobody has the other end open any more
                break
            if not piece:
                break
            self.shown += piece
        _, status = os.waitpid(self._child, 0)
        out, err = (path.read_text("utf-8") for path in self._printed)
        return Ran(os.waitstatus_to_exitcode(status), out, err)
