"""Where the signer process of a wallet listens: a socket in the folder of the wallet."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores.protocol import SOCKET

# The kernel takes paths of 107 bytes. The folder may have a longer one, so it is named through a
# descriptor.
_NEAR = "/proc/self/fd/{}/" + SOCKET


def connect(home: Path) -> socket.socket | None:
    """Connect to the signer process, None if there is none.

    Raises:
        KeystoreError: another user's process listens (keystore.signer_process).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _near(home, connection.connect)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        what = f"cannot reach the signer process: {error.strerror}"
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, what) from None
    if peer_user(connection) != os.getuid():
        connection.close()
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, "the signer process is another user's")
    return connection


def listen(home: Path) -> socket.socket:
    """Listen for commands; only this user can connect."""
    (home / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        _near(home, listener.bind)
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def peer_user(connection: socket.socket) -> int:
    """Return the user id of the process at the other end."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", data)
    return int(user)


def _near(home: Path, use: Callable[[str], None]) -> None:
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        use(_NEAR.format(descriptor))
    finally:
        os.close(descriptor)
