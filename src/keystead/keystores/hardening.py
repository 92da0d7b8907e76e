"""Keeps what a process has in memory to itself."""

import ctypes
import resource
from contextlib import suppress
from typing import Final

_SET_DUMPABLE: Final = 4  # PR_SET_DUMPABLE


def harden() -> None:
    """Keep the memory of this process from core dumps, and from other programs of this user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
