"""The signer process: holds the data key of one unlocked wallet, so that commands need not.

It is started by `start`, which hands the data key over a pipe: never in arguments, environment or
a file. It answers on a socket in the folder of the wallet. It ends, and with it everything it
knows, when it is told to lock, when nothing was asked of it for some time, when the machine was
asleep, and when the wallet is no longer where it was.

It also keeps the database of the wallet open, without using it: so no command is the last one to
close it, which would have to bring the log of writes home each time.
"""

import os
import selectors
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import msgspec

from keystead.errors import ErrorCode, KeysteadError, KeystoreError
from keystead.keystores.address import AVAILABLE, SOCKET, alone, listen
from keystead.keystores.hardening import harden
from keystead.keystores.remote import lock
from keystead.keystores.sealing import KEY_BYTES
from keystead.keystores.server import Server
from keystead.keystores.vault import LocalVault

_READY: Final = b"ready"
_LONGEST_START: Final = 20.0  # seconds
_BUSY_SECONDS: Final = 5.0
# Environment of the signer process: what a token's module needs, and what measures coverage.
_PASSED_ON: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "SOFTHSM2_CONF",
    "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START",
)  # fmt: skip


class Start(msgspec.Struct, frozen=True):
    """What a signer process is told when it starts.

    Attributes:
        wallet: the id of the wallet.
        home: its folder.
        database: its database.
        marks: folder of its marks.
        idle: seconds after which it locks itself.
    """

    wallet: str
    home: str
    database: str
    marks: str
    idle: float


def start(about: Start, data_key: bytearray) -> bool:
    """Start a signer process, in the place of one that runs already, and wait until it answers.

    Args:
        about: what it is told.
        data_key: 32 bytes; wiped here afterwards.

    Returns:
        Whether one was running.

    Raises:
        KeystoreError: it did not start (keystore.signer_process).
    """
    if not AVAILABLE:
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, "only Linux has what a signer process needs")
    command = [sys.executable, "-I", "-m", "keystead.keystores.process"]
    home = Path(about.home)
    try:
        with alone(home, wait=True):
            replaced = lock(home)
            with subprocess.Popen(  # noqa: S603 - this program itself
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            ) as process:
                assert process.stdin is not None  # noqa: S101 - pipes were asked for
                assert process.stdout is not None  # noqa: S101 - as above
                with suppress(BrokenPipeError):
                    process.stdin.write(data_key)
                    process.stdin.write(msgspec.msgpack.encode(about))
                process.stdin.close()
                answer = _answer(process.stdout)
    except OSError as error:
        what = f"the signer process cannot start: {error.strerror}"
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, what) from None
    finally:
        data_key[:] = bytes(len(data_key))
    if answer != _READY:
        why = answer.decode(errors="replace") or "it ended"
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, f"the signer process did not start: {why}")
    return replaced


def _answer(stream: IO[bytes]) -> bytes:
    """Return what a signer process tells when it is ready, or why it is not."""
    answer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(_LONGEST_START):
            piece = stream.read(1024)
            if not piece:
                return answer
            answer += piece
    return b"it takes too long"


def main() -> None:
    """Serve one wallet until it is locked."""
    harden()
    if os.fork():
        # Who started it waits for this half only, and so leaves no dead process behind.
        os._exit(0)
    data_key = bytearray(KEY_BYTES)
    with open(0, "rb", buffering=0, closefd=False) as stream:
        complete = stream.readinto(data_key) == KEY_BYTES
        about = msgspec.msgpack.decode(stream.readall() if complete else b"", type=Start)
    try:
        _serve(about, data_key)
    except (KeysteadError, OSError, sqlite3.Error) as error:
        why = error.message if isinstance(error, KeysteadError) else type(error).__name__
        with suppress(OSError):
            os.write(1, str(getattr(error, "strerror", None) or why).encode())
        raise SystemExit(1) from None


def _serve(about: Start, data_key: bytearray) -> None:
    home, database = Path(about.home), Path(about.database)
    vault = LocalVault(about.wallet, data_key, Path(about.marks))
    data_key[:] = bytes(len(data_key))
    found = _identity(database)

    def is_lost() -> bool:
        return not is_there() or _identity(database) != found

    with (
        _held(database),
        closing(listen(home)) as listener,
        closing(Server(vault, listener, about.idle, lost=is_lost)) as server,
        _vanishing(home / SOCKET) as is_there,
    ):
        signal.signal(signal.SIGTERM, lambda *_: server.lock())
        os.write(1, _READY)
        _detach()
        server.serve()


def _detach() -> None:
    """Let go of the terminal and the pipes of who started it."""
    empty = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(empty, descriptor)
    os.close(empty)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def _held(database: Path) -> Iterator[None]:
    """Keep a database open, so that nobody is the last to close it; nothing is read or locked."""
    name = f"file:{quote(str(database))}?mode=rw"
    with closing(sqlite3.connect(name, uri=True, timeout=_BUSY_SECONDS)) as connection:
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
        yield


@contextmanager
def _vanishing(path: Path) -> Iterator[Callable[[], bool]]:
    """Remove one's own socket at the end; tell meanwhile whether it is still there."""
    own = _identity(path)
    try:
        yield lambda: _identity(path) == own
    finally:
        # Where another process starts now, it takes the place anyway.
        with suppress(OSError), alone(path.parent, wait=False):
            if _identity(path) == own:
                path.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other that takes its name."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


if __name__ == "__main__":
    main()
