"""Lets tests run the same however they were started, and on a fast disk where there is one."""

import os
import shutil
import signal
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes private folders in it
ENOUGH = 2 << 30  # bytes; a run needs a tenth


def pytest_configure() -> None:
    """Prepare before anything is started."""
    _pass_on_no_ignored_signals()
    # Each commit waits for the disk: the tests of the check of a store take two and a half times as long on one.
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _pass_on_no_ignored_signals() -> None:
    """Keep what tests start from ignoring signals.

    A shell that is no terminal's starts what it puts into the background with interrupts ignored,
    and nohup with hang-ups; processes pass that on. What they do not pass on is a function, so one
    that does nothing stands for it here.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
