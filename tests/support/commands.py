"""Runs the installed `keystead` command as a process."""

import subprocess
import sys
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
