"""Where the signer process of a wallet listens: a socket in the folder of the wallet."""

import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keystead.errors import ErrorCode, KeystoreError

SOCKET: Final = "signer.sock"
# What tells who is at the other end, and reaches sockets in deep folders, only Linux has.
AVAILABLE: Final = hasattr(socket, "SO_PEERCRED") and hasattr(os, "O_PATH")
# The kernel takes paths of 107 bytes. The folder may have a longer one, so it is named through a
# descriptor.
_NEAR: Final = "/proc/self/fd/{}/{}"
_WAITING: Final = 64  # connections that wait to be accepted
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group


def connect(home: Path) -> socket.socket | None:
    """Connect to the signer process, None if there is none.

    Raises:
        KeystoreError: another user's process listens, or it cannot be reached
            (keystore.signer_process).
    """
    if not AVAILABLE:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _near(home, SOCKET, connection.connect)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        what = f"cannot reach the signer process: {error.strerror}"
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, what) from None
    _, user = peer(connection)
    if user != os.getuid():
        connection.close()
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, "the signer process is another user's")
    return connection


def listen(home: Path) -> socket.socket:
    """Listen for commands, in the place of whoever did; only this user can connect."""
    beside = f"{SOCKET}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            (home / beside).unlink()
        _near(home, beside, listener.bind)
        listener.listen(_WAITING)
        (home / beside).replace(home / SOCKET)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the ids of the process at the other end and of its user."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(data)
    return process, user


@contextmanager
def alone(home: Path, *, wait: bool) -> Iterator[None]:
    """Have one process at a time change who listens.

    Raises:
        OSError: the folder cannot be opened; without waiting BlockingIOError: another process is
            about to change it.
    """
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(folder)


def _near(home: Path, name: str, use: Callable[[str], None]) -> None:
    folder = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(_NEAR.format(folder, name))
    finally:
        os.close(folder)
