"""The vault in the signer process, seen from a command."""

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores import protocol
from keystead.keystores.address import connect, peer
from keystead.ports.keys import KeySource, KeyUse, Mark, Plain, Sealed

T = TypeVar("T")

_PATIENCE: Final = 120.0  # seconds; tokens with a button wait for a finger
_MOMENT: Final = 5.0  # seconds that it may take to end
_PIECE: Final = 4096


class RemoteVault:
    """A `Vault` behind the socket of the signer process."""

    def __init__(self, connection: socket.socket, welcome: protocol.Welcome) -> None:
        """Speak over a connection that has been welcomed; see `find_vault`."""
        self._connection = connection
        self.wallet = welcome.wallet
        self.seconds_left = welcome.seconds_left

    def close(self) -> None:
        """End the connection; the signer process goes on."""
        self._connection.close()

    def seal(self, records: Sequence[Plain]) -> list[bytes]:
        """Seal records."""
        return self._ask(protocol.Seal(list(records)), list[bytes])

    def open(self, records: Sequence[Sealed]) -> list[bytes]:
        """Open records that hold no secrets."""
        return self._ask(protocol.Open(list(records)), list[bytes])

    def check(self, records: Sequence[Sealed]) -> list[bool]:
        """Tell of each record whether it is what was sealed under its name."""
        return self._ask(protocol.Check(list(records)), list[bool])

    def tag(self, kind: str, text: str) -> bytes:
        """Return what stands for a text in searches."""
        return self._ask(protocol.Tag(kind, text), bytes)

    def new_seed(self, record_id: str, generation: int) -> bytes:
        """Make a random seed and seal it."""
        return self._ask(protocol.NewSeed(record_id, generation), bytes)

    def public_keys(self, sources: Sequence[KeySource]) -> list[bytes]:
        """Return raw public keys."""
        return self._ask(protocol.PublicKeys(list(sources)), list[bytes])

    def prove_possession(self, source: KeySource, public_key: bytes) -> None:
        """Check that a source holds the private half of a public key."""
        self._ask(protocol.ProvePossession(source, public_key), type(None))

    def sign_event(
        self, raw: bytes, keys: Sequence[KeyUse], *, audit_count: int, audit_head: bytes
    ) -> list[bytes]:
        """Sign a key event after its mark is durable."""
        request = protocol.SignEvent(raw, list(keys), audit_count, audit_head)
        return self._ask(request, list[bytes])

    def sign_statement(self, payload: bytes, keys: Sequence[KeyUse]) -> list[bytes]:
        """Sign what is no key event."""
        return self._ask(protocol.SignStatement(payload, list(keys)), list[bytes])

    def known_here(self) -> bool:
        """Tell whether this machine has marks of the wallet."""
        return self._ask(protocol.KnownHere(), bool)

    def adopt(self) -> None:
        """Begin to keep marks of the wallet on this machine."""
        self._ask(protocol.Adopt(), type(None))

    def marks(self, aids: Sequence[Aid]) -> list[Mark | None]:
        """Return the marks of identifiers."""
        return self._ask(protocol.Marks(list(aids)), list[Mark | None])

    def latest_mark(self) -> Mark | None:
        """Return the mark that was made last."""
        (found,) = self._ask(protocol.LatestMark(), list[Mark | None])
        return found

    def remember(self, audit_count: int, audit_head: bytes) -> None:
        """Keep how far the audit log goes."""
        self._ask(protocol.Remember(audit_count, audit_head), type(None))

    def audit_end(self) -> tuple[int, bytes]:
        """Return how far the audit log went, as far as this machine knows."""
        return self._ask(protocol.AuditEnd(), tuple[int, bytes])

    def set_mark(self, mark: Mark) -> None:
        """Replace the mark of an identifier."""
        self._ask(protocol.SetMark(mark), type(None))

    def branch(
        self, master: Sealed, identifiers: Sequence[int], records: Sequence[Plain]
    ) -> list[bytes]:
        """Seal the branches of single identifiers."""
        return self._ask(protocol.Branch(master, list(identifiers), list(records)), list[bytes])

    def erase(self, secret: Sealed, uri: str, generation: int) -> bytes:
        """Seal a branch without a key, or destroy a key in its token."""
        return self._ask(protocol.Erase(secret, uri, generation), bytes)

    def _ask(self, request: protocol.Request, kind: type[T]) -> T:
        return _ask(self._connection, request, kind)


def find_vault(home: Path, wallet: str) -> RemoteVault | None:
    """Return the vault of an unlocked wallet, None if no signer process runs for it.

    Raises:
        KeystoreError: something else listens there, or does not answer (keystore.signer_process).
    """
    connection = connect(home)
    if connection is None:
        return None
    try:
        connection.settimeout(_PATIENCE)
        welcome = _ask(connection, protocol.Hello(), protocol.Welcome)
    except BaseException as error:
        connection.close()
        if isinstance(error, KeystoreError) and error.code is ErrorCode.LOCKED:
            return None  # it was about to end
        raise
    if welcome.wallet != wallet:
        connection.close()
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, "the signer process serves another wallet")
    return RemoteVault(connection, welcome)


def lock(home: Path) -> bool:
    """Have the signer process wipe its keys and end, and wait for that; tell if there was one.

    One that does not answer is killed.

    Raises:
        KeystoreError: it is another user's (keystore.signer_process).
    """
    connection = connect(home)
    if connection is None:
        return False
    with connection:
        connection.settimeout(_MOMENT)
        try:
            protocol.send(connection, protocol.Lock())
            _drain(connection)
        except TimeoutError:
            process, _ = peer(connection)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            with suppress(OSError):
                _drain(connection)
        except OSError:
            pass  # it ended by itself
    return True


def _drain(connection: socket.socket) -> None:
    """Wait until the other end closes."""
    while connection.recv(_PIECE):
        pass


def _ask(connection: socket.socket, request: protocol.Request, kind: type[T]) -> T:
    if connection.fileno() < 0:
        what = "the connection to the signer process was given up"
        raise KeystoreError(ErrorCode.LOCKED, what)
    try:
        protocol.send(connection, request)
        data = protocol.receive(connection)
    except BaseException as error:
        # A late answer would be taken for that to the next request.
        connection.close()
        if not isinstance(error, OSError):
            raise
        if isinstance(error, TimeoutError):
            what = "the signer process does not answer"
            raise KeystoreError(ErrorCode.SIGNER_PROCESS, what) from None
        data = None
    if data is None:
        raise KeystoreError(ErrorCode.LOCKED, "the wallet was locked meanwhile")
    try:
        answer = protocol.ANSWERS.decode(data)
        if answer.failure is None:
            return msgspec.msgpack.decode(answer.result, type=kind)
        failure = answer.failure.error()
    except (msgspec.MsgspecError, ValueError):
        what = "the signer process is of another version"
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, what) from None
    raise failure
