"""Runs the installed `keystead` command as a process."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).with_name("keystead")
ROOT = Path(__file__).parents[2]


def keystead(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command and return what it printed and how it ended."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


# Runs the command in this process and writes the most memory that it ever had. The kernel keeps
# `ru_maxrss` over exec, so that would show the memory of the tests; VmHWM does not.
_MEASURED = """
import re, sys
from pathlib import Path
from keystead.cli.main import main
sys.argv[0] = "keystead"
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print("peak", re.search(r"VmHWM:\\s+(\\d+)", status)[1], file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """How a command ended, what it printed, and the most memory that it had, in KiB."""

    returncode: int
    stdout: bytes
    peak: int


def measured(*arguments: str, pieces: Iterable[bytes]) -> Measured:
    """Run the command on a pipe that gets pieces one after another."""
    command = [sys.executable, "-c", _MEASURED, *arguments]
    with (
        tempfile.TemporaryFile() as shown,
        tempfile.TemporaryFile() as told,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=shown, stderr=told) as child,
    ):
        assert child.stdin is not None
        for piece in pieces:
            child.stdin.write(piece)
        child.stdin.close()
        child.wait(timeout=120)
        shown.seek(0)
        told.seek(0)
        peak = int(told.read().rsplit(b"peak ", 1)[1])
        return Measured(child.returncode, shown.read(), peak)
