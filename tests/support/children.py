"""Processes that are copies of the test's own, so that what is in memory needs no handing over."""

import gc
import os
from collections.abc import Callable


def spawn(work: Callable[[], object]) -> int:
    """Run `work` in a copy of this process and return its id; what `work` returns is dropped."""
    child = os.fork()
    if child:
        return child
    # pragma: no cover - the copy ends without the measuring
    code = 1
    try:
        gc.disable()  # what belongs to the original is closed by the original
        work()
        code = 0
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a copy and return its exit code; below 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
