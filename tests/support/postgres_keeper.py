"""Runs a database server for as long as another process lives: see `postgres`.

    python postgres_keeper.py OWNER UID FOLDER COMMAND...

Whatever becomes of the tests, no server outlives them: this process watches the owner, and the
kernel ends the server when this process ends. Standard library only.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 20


def main(owner: int, uid: int, folder: Path, command: list[str]) -> None:
    """Start the server; end it, and remove its folder, when the owner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    library = ctypes.CDLL(None)
    watched = os.pidfd_open(owner)
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: _become(library, uid),  # noqa: PLW1509 - there are no threads
        )
    while server.poll() is None:
        if select.select([watched], [], [], 0.2)[0]:
            server.send_signal(signal.SIGQUIT)  # at once, without a last checkpoint
            _await(server)
            shutil.rmtree(folder, ignore_errors=True)
            if folder.parent.name.startswith("keystead-"):  # of several servers of one test
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()


def _become(library: ctypes.CDLL, uid: int) -> None:
    """Become a user without rights, and end with the process that started this one."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _await(server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _STOP_SECONDS
    while server.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    if server.poll() is None:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
