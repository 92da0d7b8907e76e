"""The signer process: holds the data key of one unlocked wallet, so that commands need not.

It is started by `start`, which hands the data key over a pipe: never in arguments, environment or
a file. It serves one request after another on a socket in the folder of the wallet. It ends, and
with it everything it knows, when it is told to lock, when nothing was asked of it for some time,
and when the machine was asleep.
"""

import ctypes
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from keystead.errors import ErrorCode, KeysteadError, KeystoreError
from keystead.keystores import protocol
from keystead.keystores.address import listen, peer_user
from keystead.keystores.protocol import Answer, Failure, Request
from keystead.keystores.sealing import KEY_BYTES
from keystead.keystores.vault import LocalVault

_READY: Final = b"ready\n"
_TICK: Final = 1.0  # seconds between two looks at the clocks
_ASLEEP: Final = 2.0  # seconds by which the clocks drift apart when the machine slept
_STALLED: Final = 5.0  # seconds for which one command may keep the others waiting
_NOT_DUMPABLE: Final = 4  # PR_SET_DUMPABLE


class Start(msgspec.Struct):
    """What a signer process is told when it starts.

    Attributes:
        wallet: the id of the wallet.
        home: its folder.
        marks: folder of its marks.
        idle: seconds after which it locks itself.
        data_key: 32 bytes.
    """

    wallet: str
    home: str
    marks: str
    idle: float
    data_key: bytes


def start(about: Start) -> None:
    """Start a signer process and wait until it answers.

    Raises:
        KeystoreError: it did not start (keystore.signer_process).
    """
    command = [sys.executable, "-I", "-m", "keystead.keystores.process"]
    with subprocess.Popen(  # noqa: S603 - this program itself
        command,
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
            process.stdin.write(msgspec.msgpack.encode(about))
            process.stdin.close()
        if process.stdout.readline() != _READY:
            process.kill()
            raise KeystoreError(ErrorCode.SIGNER_PROCESS, "the signer process did not start")
        # It goes on alone: nobody waits for it.
        process.returncode = 0


# Environment of the signer process: what a token's module needs, and what measures coverage.
_PASSED_ON: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "SOFTHSM2_CONF",
    "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START",
)  # fmt: skip


def main() -> None:
    """Serve one wallet until it is locked."""
    harden()
    about = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Start)
    if len(about.data_key) != KEY_BYTES:
        raise SystemExit(2)
    vault = LocalVault(about.wallet, about.data_key, Path(about.marks))
    home = Path(about.home)
    listener = listen(home)
    try:
        sys.stdout.buffer.write(_READY)
        sys.stdout.buffer.flush()
        _detach()
        Server(vault, listener, about.idle).serve()
    finally:
        (home / protocol.SOCKET).unlink(missing_ok=True)
        listener.close()


def harden() -> None:
    """Keep what is in memory from core dumps and from debuggers of other programs."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_NOT_DUMPABLE, 0, 0, 0, 0)


def _detach() -> None:
    """Let go of the terminal and the pipes of who started it."""
    empty = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(empty, descriptor)
    os.close(empty)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Server:
    """Answers requests until it locks."""

    def __init__(self, vault: LocalVault, listener: socket.socket, idle: float) -> None:
        """Serve `vault` on `listener`; lock after `idle` seconds without a request."""
        self._vault = vault
        self._listener = listener
        self._idle = idle
        self._last_use = time.monotonic()
        self._drift = _drift()
        self._open = True
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Serve until it is time to lock."""
        signal.signal(signal.SIGTERM, lambda *_: self._lock())
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._must_lock():
            for key, _ in self._selector.select(_TICK):
                if key.fileobj is self._listener:
                    self._welcome()
                elif not self._must_lock():
                    self._serve_one(key.fileobj)  # type: ignore[arg-type] # only sockets here

    def _must_lock(self) -> bool:
        """Tell whether it was told to, nobody used it for too long, or the machine slept."""
        slept = _drift() - self._drift > _ASLEEP
        return not self._open or slept or time.monotonic() - self._last_use > self._idle

    def _lock(self) -> None:
        self._open = False

    def _welcome(self) -> None:
        connection, _ = self._listener.accept()
        if peer_user(connection) != os.getuid():
            connection.close()
            return
        connection.settimeout(_STALLED)
        self._selector.register(connection, selectors.EVENT_READ)

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            data = protocol.receive(connection)
            if data is None:
                self._forget(connection)
                return
            protocol.send(connection, self._answer(data))
        except (OSError, KeysteadError):
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()

    def _answer(self, data: bytes) -> Answer:
        try:
            request = protocol.REQUESTS.decode(data)
        except msgspec.ValidationError:
            what = "the signer process is of another version"
            return Answer(failure=Failure.of(KeystoreError(ErrorCode.SIGNER_PROCESS, what)))
        if not isinstance(request, protocol.Hello):
            self._last_use = time.monotonic()
        try:
            result = self._do(request)
        except KeysteadError as error:
            return Answer(failure=Failure.of(error))
        return Answer(msgspec.Raw(msgspec.msgpack.encode(result)))

    def _do(self, request: Request) -> Any:  # noqa: ANN401 - whatever the request asks for
        match request:
            case protocol.Hello():
                left = self._idle - (time.monotonic() - self._last_use)
                return protocol.Welcome(self._vault.wallet, int(left))
            case protocol.Lock():
                return self._lock()
            case _:
                return _METHODS[type(request)](self._vault, request)


# What each request asks of the vault.
_METHODS: Final[dict[type, Callable[[LocalVault, Any], Any]]] = {
    protocol.Seal: lambda vault, one: vault.seal(one.records),
    protocol.Open: lambda vault, one: vault.open(one.records),
    protocol.Tag: lambda vault, one: vault.tag(one.kind, one.text),
    protocol.NewSeed: lambda vault, one: vault.new_seed(one.record_id, one.generation),
    protocol.PublicKeys: lambda vault, one: vault.public_keys(one.sources),
    protocol.ProvePossession: lambda vault, one: vault.prove_possession(one.source, one.public_key),
    protocol.SignEvent: lambda vault, one: vault.sign_event(
        one.raw, one.keys, audit_count=one.audit_count, audit_head=one.audit_head
    ),
    protocol.SignStatement: lambda vault, one: vault.sign_statement(one.payload, one.keys),
    protocol.KnownHere: lambda vault, _: vault.known_here(),
    protocol.Adopt: lambda vault, _: vault.adopt(),
    protocol.Marks: lambda vault, one: vault.marks(one.aids),
    protocol.LatestMark: lambda vault, _: [one] if (one := vault.latest_mark()) else [],
    protocol.SetMark: lambda vault, one: vault.set_mark(one.mark),
    protocol.Branch: lambda vault, one: vault.branch(one.master, one.identifiers, one.records),
    protocol.Erase: lambda vault, one: vault.erase(one.secret, one.uri, one.generation),
}


def _drift() -> float:
    """Return how long the machine has slept: only one of the clocks goes on then."""
    boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(boot) - time.clock_gettime(time.CLOCK_MONOTONIC)


if __name__ == "__main__":
    main()
