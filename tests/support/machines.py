"""A machine of its own for the command: folders for wallet, marks and everything else."""

import os
import subprocess
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
