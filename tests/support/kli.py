"""The commands of keri itself, as processes, with everything that they keep in one folder."""

import json
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
_GROUPS: Final = ("oobi", "challenge", "delegate", "ends", "location", "witness", "contacts")
_PASSCODE: Final = "0123456789abcdefghijk"


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

    def __init__(
        self, python: Path, folder: Path, name: str, introductions: Sequence[str] = ()
    ) -> None:
        """Make an encrypted keystore in a folder, and resolve introductions."""
        self._python, self._folder = python, folder
        self.name = name
        config = folder / "keri" / "cf" / f"{name}.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        settings = {"dt": "2026-01-01T00:00:00.000000+00:00", "iurls": list(introductions)}
        config.write_text(json.dumps(settings), encoding="utf-8")
        self.told = self("init", "--config-dir", str(folder), "--config-file", name)

    def __call__(self, *arguments: str, timeout: float = 90) -> str:
        """Run a command and return what it prints.

        Raises:
            AssertionError: it failed.
        """
        return self.end(self.start(*arguments), timeout=timeout)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command."""
        words = 2 if arguments[0] in _GROUPS else 1
        where = ("--name", self.name, "--passcode", _PASSCODE)
        line = [*arguments[:words], *where, *arguments[words:]]
        return subprocess.Popen(
            kli_command(self._python, self._folder, line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=kli_environment(self._folder),
            cwd=self._folder,
        )

    def end(self, process: "subprocess.Popen[str]", *, timeout: float = 90) -> str:
        """Wait for a command and return what it printed.

        Raises:
            AssertionError: it failed, or does not end.
        """
        try:
            told, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
            raise AssertionError(f"{process.args!r} does not end: {told}") from None
        assert process.returncode == 0, f"{process.args!r}: {told}"
        return told

    def incept(self, alias: str, witnesses: Sequence[str], toad: int, *options: str) -> str:
        """Make an identifier with one key, and return it."""
        named = [part for one in witnesses for part in ("--wits", one)]
        count = ("--icount", "1", "--isith", "1", "--ncount", "1", "--nsith", "1")
        told = self(
            "incept", "--alias", alias, "--transferable", *count,
            "--toad", str(toad), *named, *options,
        )  # fmt: skip
        return told.split("Prefix")[1].split()[0]

    def introduction(self, alias: str) -> str:
        """Return an introduction to an identifier at a witness of it."""
        told = self("oobi", "generate", "--alias", alias, "--role", "witness")
        return next(line for line in told.split() if line.startswith("http"))
