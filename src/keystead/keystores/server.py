"""What the signer process does all its life: it answers requests until it is time to lock."""

import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from keystead.errors import ErrorCode, KeysteadError, KeystoreError
from keystead.keystores import protocol
from keystead.keystores.address import peer
from keystead.keystores.protocol import Answer, Failure, Request
from keystead.keystores.vault import LocalVault

TICK: Final = 1.0  # seconds between two looks at the clocks
ASLEEP: Final = 2.0  # seconds by which the clocks drift apart when the machine slept
MOST_PEERS: Final = 128  # commands at one time
_PIECE: Final = 1 << 18  # bytes that are read from one command before the next has its turn


def slept() -> float:
    """Return how long the machine has slept: only one of the clocks goes on then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Peer:
    """A command at the other end of a connection, and what is on its way."""

    def __init__(self, connection: socket.socket) -> None:
        """Speak over a connection that does not block."""
        self.connection = connection
        self.received = bytearray()
        self.waiting = bytearray()  # to be sent


class Server:
    """Answers requests until it locks. No command can make another wait for its input."""

    def __init__(
        self,
        vault: LocalVault,
        listener: socket.socket,
        idle: float,
        *,
        lost: Callable[[], bool],
        drift: Callable[[], float] = slept,
    ) -> None:
        """Serve a vault.

        Args:
            vault: the vault.
            listener: where commands connect.
            idle: seconds without a request after which it locks.
            lost: tells that the wallet is no longer where it was.
            drift: tells how long the machine has slept since it started.
        """
        self._vault = vault
        self._listener = listener
        self._idle = idle
        self._lost = lost
        self._drift = drift
        self._drift_before = drift()
        self._last_use = time.monotonic()
        self._open = True
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Serve until it is time to lock."""
        self._listener.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._must_lock():
            for key, events in self._selector.select(TICK):
                if self._must_lock():  # it may have slept since
                    return
                if key.data is None:
                    self._welcome()
                else:
                    self._attend(key.data, events)

    def _must_lock(self) -> bool:
        """Tell whether it was told to, was not used for too long, slept, or has lost its place."""
        return (
            not self._open
            or time.monotonic() - self._last_use > self._idle
            or self._drift() - self._drift_before > ASLEEP
            or self._lost()
        )

    def close(self) -> None:
        """End all connections: whoever waits for the end of it knows then."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.connection.close()
        self._selector.close()

    def lock(self) -> None:
        """Have it end, as soon as it has answered."""
        self._open = False

    def _welcome(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the command has gone again
            return
        # The listener is one of those that are counted.
        if peer(connection)[1] != os.getuid() or len(self._selector.get_map()) > MOST_PEERS:
            connection.close()
            return
        connection.settimeout(0)
        self._selector.register(connection, selectors.EVENT_READ, Peer(connection))

    def _attend(self, one: Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(one)
            if one.waiting:
                self._write(one)
        except (OSError, KeysteadError):
            self._forget(one)

    def _read(self, one: Peer) -> None:
        piece = one.connection.recv(_PIECE)
        if not piece:
            raise ConnectionResetError
        one.received += piece
        while self._open and (data := protocol.take(one.received)) is not None:
            one.waiting += protocol.frame(self._answer(data))

    def _write(self, one: Peer) -> None:
        with suppress(BlockingIOError):
            del one.waiting[: one.connection.send(one.waiting)]
        # Who does not take its answers is not asked for more.
        wanted = selectors.EVENT_WRITE if one.waiting else selectors.EVENT_READ
        self._selector.modify(one.connection, wanted, one)

    def _forget(self, one: Peer) -> None:
        self._selector.unregister(one.connection)
        one.connection.close()

    def _answer(self, data: bytes) -> Answer:
        try:
            request = protocol.REQUESTS.decode(data)
        except msgspec.MsgspecError:
            what = "the signer process is of another version"
            return Answer(failure=Failure.of(KeystoreError(ErrorCode.SIGNER_PROCESS, what)))
        if not isinstance(request, protocol.Hello):
            self._last_use = time.monotonic()
        try:
            result = msgspec.msgpack.encode(self._do(request))
        except KeysteadError as error:
            return Answer(failure=Failure.of(error))
        except Exception as error:  # noqa: BLE001 - one bad request must not lock the wallet
            # Only the kind of error is told: its text could hold what was worked on.
            what = f"the signer process failed: {type(error).__name__}"
            return Answer(failure=Failure.of(KeystoreError(ErrorCode.SIGNER_PROCESS, what)))
        return Answer(msgspec.Raw(result))

    def _do(self, request: Request) -> Any:  # noqa: ANN401 - whatever the request asks for
        match request:
            case protocol.Hello():
                left = self._idle - (time.monotonic() - self._last_use)
                return protocol.Welcome(self._vault.wallet, max(0, int(left)))
            case protocol.Lock():
                return self.lock()
            case _:
                return _METHODS[type(request)](self._vault, request)


# What each request asks of the vault.
_METHODS: Final[dict[type, Callable[[LocalVault, Any], Any]]] = {
    protocol.Seal: lambda vault, one: vault.seal(one.records),
    protocol.Open: lambda vault, one: vault.open(one.records),
    protocol.Check: lambda vault, one: vault.check(one.records),
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
    protocol.LatestMark: lambda vault, _: [vault.latest_mark()],
    protocol.Remember: lambda vault, one: vault.remember(one.audit_count, one.audit_head),
    protocol.AuditEnd: lambda vault, _: vault.audit_end(),
    protocol.SetMark: lambda vault, one: vault.set_mark(one.mark),
    protocol.Branch: lambda vault, one: vault.branch(one.master, one.identifiers, one.records),
    protocol.Erase: lambda vault, one: vault.erase(one.secret, one.uri, one.generation),
}
