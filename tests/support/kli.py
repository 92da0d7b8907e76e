"""The commands of keri itself, as processes, with everything that they keep in one folder."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# keri keeps its databases in one place of the machine where it may write there. They must not be
# there, so its folder is another one before anything of it begins. The rest is what `kli` does.
_LAUNCHER: Final = """
import sys
from hio.base import filing
from hio.help import ogling
from keri.db import dbing
for one in (filing.Filer, dbing.LMDBer, ogling.Ogler):
    one.HeadDirPath = one.AltHeadDirPath = sys.argv[1]
del sys.argv[1]
sys.argv[0] = "kli"
from keri.app.cli.kli import main
sys.exit(main())
"""


def kli_command(python: Path, folder: Path, arguments: Sequence[str]) -> list[str]:
    """Return a command of keri that keeps everything in a folder."""
    return [str(python), "-I", "-c", _LAUNCHER, str(folder), *arguments]


def kli_environment(folder: Path) -> dict[str, str]:
    """Return the environment of such a command."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder), "DEBUG_KLI": "1"}


class Kli:
    """One keystore of keri, and the commands that use it.

    Attributes:
        name: of the keystore.
    """

    def __init__(self, python: Path, folder: Path, name: str) -> None:
        """Make an encrypted keystore in a folder."""
        self._python, self._folder = python, folder
        self.name = name
        self._secret = ("--passcode", "0123456789abcdefghijk")
        folder.mkdir(parents=True, exist_ok=True)
        self("init", "--salt", "0AAwMTIzNDU2Nzg5YWJjZGVm")

    def __call__(self, *arguments: str, timeout: float = 90) -> str:
        """Run a command and return what it prints.

        Raises:
            AssertionError: it failed.
        """
        process = self.start(*arguments)
        try:
            told, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
            raise AssertionError(f"kli {' '.join(arguments)} does not end: {told}") from None
        assert process.returncode == 0, f"kli {' '.join(arguments)}: {told}"
        return told

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command."""
        words = 2 if arguments[0] in _GROUPS else 1
        where = ("--name", self.name, *self._secret)
        return subprocess.Popen(
            kli_command(
                self._python, self._folder, [*arguments[:words], *where, *arguments[words:]]
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=kli_environment(self._folder),
        )


_GROUPS: Final = ("oobi", "challenge", "delegate", "ends", "location", "witness", "contacts")
