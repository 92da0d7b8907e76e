"""What commands and the signer process say to each other: one request, one answer, in frames.

A frame is a length (4 bytes, big-endian) and MessagePack. Both ends belong to one user, and the
socket lies in a folder that is his alone; the bounds guard against faults, not strangers.
"""

import socket
from typing import Any, Final, TypeAlias

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import (
    DecodeError,
    ErrorCode,
    KeysteadError,
    KeystoreError,
    StoreError,
    UsageError,
    VerificationError,
)
from keystead.ports.keys import KeySource, KeyUse, Mark, Plain, Sealed

LONGEST: Final = 64 * 1024 * 1024  # bytes of a message; the records of 100,000 keys
_HEAD: Final = 4  # bytes that tell the length
_PIECE: Final = 1 << 18


class Hello(msgspec.Struct, tag="hello"):
    """Ask whose vault it is, and until when it stays open."""


class Lock(msgspec.Struct, tag="lock"):
    """Wipe the data key and end."""


class Seal(msgspec.Struct, tag="seal"):
    """As `Vault.seal`."""

    records: list[Plain]


class Open(msgspec.Struct, tag="open"):
    """As `Vault.open`."""

    records: list[Sealed]


class Check(msgspec.Struct, tag="check"):
    """As `Vault.check`."""

    records: list[Sealed]


class Tag(msgspec.Struct, tag="tag"):
    """As `Vault.tag`."""

    kind: str
    text: str


class NewSeed(msgspec.Struct, tag="new_seed"):
    """As `Vault.new_seed`."""

    record_id: str
    generation: int


class PublicKeys(msgspec.Struct, tag="public_keys"):
    """As `Vault.public_keys`."""

    sources: list[KeySource]


class ProvePossession(msgspec.Struct, tag="prove_possession"):
    """As `Vault.prove_possession`."""

    source: KeySource
    public_key: bytes


class SignEvent(msgspec.Struct, tag="sign_event"):
    """As `Vault.sign_event`."""

    raw: bytes
    keys: list[KeyUse]
    audit_count: int
    audit_head: bytes


class SignStatement(msgspec.Struct, tag="sign_statement"):
    """As `Vault.sign_statement`."""

    payload: bytes
    keys: list[KeyUse]


class KnownHere(msgspec.Struct, tag="known_here"):
    """As `Vault.known_here`."""


class Adopt(msgspec.Struct, tag="adopt"):
    """As `Vault.adopt`."""


class Marks(msgspec.Struct, tag="marks"):
    """As `Vault.marks`."""

    aids: list[Aid]


class LatestMark(msgspec.Struct, tag="latest_mark"):
    """As `Vault.latest_mark`; the answer is a list of one."""


class Remember(msgspec.Struct, tag="remember"):
    """As `Vault.remember`."""

    audit_count: int
    audit_head: bytes


class AuditEnd(msgspec.Struct, tag="audit_end"):
    """As `Vault.audit_end`."""


class SetMark(msgspec.Struct, tag="set_mark"):
    """As `Vault.set_mark`."""

    mark: Mark


class Branch(msgspec.Struct, tag="branch"):
    """As `Vault.branch`."""

    master: Sealed
    identifiers: list[int]
    records: list[Plain]


class Erase(msgspec.Struct, tag="erase"):
    """As `Vault.erase`."""

    secret: Sealed
    uri: str
    generation: int


Request: TypeAlias = (
    Hello | Lock | Seal | Open | Check | Tag | NewSeed | PublicKeys | ProvePossession | SignEvent
    | SignStatement | KnownHere | Adopt | Marks | LatestMark | Remember | AuditEnd | SetMark
    | Branch | Erase
)  # fmt: skip


class Welcome(msgspec.Struct):
    """Answer to `Hello`.

    Attributes:
        wallet: the id of the wallet.
        seconds_left: until it locks itself, if nothing is asked of it.
    """

    wallet: str
    seconds_left: int


class Failure(msgspec.Struct):
    """An error, as a value."""

    kind: str
    code: str
    message: str
    hint: str
    fields: dict[str, str | int]

    @classmethod
    def of(cls, error: KeysteadError) -> "Failure":
        """Take an error apart."""
        kind = type(error).__name__
        return cls(kind, error.code.value, error.message, error.hint, error.fields)

    def error(self) -> KeysteadError:
        """Put the error together again."""
        kind = _ERRORS.get(self.kind, KeystoreError)
        return kind(ErrorCode(self.code), self.message, hint=self.hint, **self.fields)


class Answer(msgspec.Struct):
    """The result of a request, as MessagePack of its own, or why there is none."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    failure: Failure | None = None


_ERRORS: Final[dict[str, type[KeysteadError]]] = {
    kind.__name__: kind
    for kind in (DecodeError, KeystoreError, StoreError, UsageError, VerificationError)
}
REQUESTS: Final = msgspec.msgpack.Decoder(Request)
ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


def frame(value: Any) -> bytes:  # noqa: ANN401 - any message
    """Return a message as it is sent."""
    data = msgspec.msgpack.encode(value)
    return len(data).to_bytes(_HEAD, "big") + data


def take(received: bytearray) -> bytes | None:
    """Take the next message out of what was received; None if it is not there as a whole.

    Raises:
        KeystoreError: it would be too long (keystore.signer_process).
    """
    if len(received) < _HEAD:
        return None
    end = _HEAD + int.from_bytes(received[:_HEAD], "big")
    if end > _HEAD + LONGEST:
        raise KeystoreError(ErrorCode.SIGNER_PROCESS, "a message of the signer process is too long")
    if len(received) < end:
        return None
    data = bytes(received[_HEAD:end])
    del received[:end]
    return data


def send(connection: socket.socket, value: Any) -> None:  # noqa: ANN401 - as above
    """Send one message."""
    connection.sendall(frame(value))


def receive(connection: socket.socket) -> bytes | None:
    """Receive one message; None if the other end has closed.

    Raises:
        KeystoreError: the message is too long (keystore.signer_process).
    """
    received = bytearray()
    while (data := take(received)) is None:
        piece = connection.recv(_PIECE)
        if not piece:
            return None
        received += piece
    return data
