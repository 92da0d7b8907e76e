"""The signer of a witness in a process of its own, which alone has the key.

`start` gives it the passphrase over a socket pair: never in arguments, environment or a file. It
ends when the witness does. The witness, which strangers speak to, never sees the key.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import ErrorCode, KeysteadError, KeystoreError
from keystead.keystores import protocol
from keystead.keystores.hardening import harden
from keystead.keystores.protocol import Failure
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey

_PASSED_ON: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START",
)  # fmt: skip
_LONGEST_ANSWER: Final = 60.0  # seconds; a sync of a slow disk takes long, a dead process for ever

T = TypeVar("T")


class Open(msgspec.Struct, tag="open"):
    """Open the key and the memory."""

    key: str
    folder: str
    passphrase: bytes


class Begin(msgspec.Struct, tag="begin"):
    """As `ReceiptSigner.begin`."""

    store: str
    generation: int


class Accept(msgspec.Struct, tag="accept"):
    """As `ReceiptSigner.accept`."""

    store: str
    generation: int


class SignedLast(msgspec.Struct, tag="signed_last"):
    """As `ReceiptSigner.signed_last`."""


class IsBlank(msgspec.Struct, tag="is_blank"):
    """As `ReceiptSigner.is_blank`."""


class Objection(msgspec.Struct, tag="objection"):
    """As `ReceiptSigner.objection`."""

    event: bytes


class Relearn(msgspec.Struct, tag="relearn"):
    """As `ReceiptSigner.relearn`."""

    events: list[bytes]


class SignReceipts(msgspec.Struct, tag="sign_receipts"):
    """As `ReceiptSigner.sign_receipts`."""

    store: str
    generation: int
    events: list[bytes]
    known_only: bool


class SignReply(msgspec.Struct, tag="sign_reply"):
    """As `ReceiptSigner.sign_reply`."""

    payload: bytes


Request = (
    Open | Begin | Accept | IsBlank | SignedLast | Objection | Relearn | SignReceipts | SignReply
)


class Signed(msgspec.Struct):
    """One signature, or why there is none."""

    signature: bytes = b""
    failure: Failure | None = None


class Numbered(msgspec.Struct):
    """A request with its number, which the answer repeats."""

    number: int
    request: Request


class Answer(msgspec.Struct):
    """The result of a request, as MessagePack of its own, or why there is none."""

    number: int
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    failure: Failure | None = None


_REQUESTS: Final = msgspec.msgpack.Decoder(Numbered)
_ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


class RemoteReceiptSigner:
    """A `ReceiptSigner` in another process. Not safe for concurrent threads."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        """Speak with a process; use `start`."""
        self._process = process
        self._connection = connection
        self._aid = Aid("")
        self._asked: SignReceipts | None = None  # the answer has not been received
        self._number = 0  # of the last request
        self._lost = False  # an answer did not come: what comes next may be to any request

    @classmethod
    def start(cls, key: Path, folder: Path, passphrase: bytes) -> "RemoteReceiptSigner":
        """Start a signer process.

        Args:
            key: file of the sealed key.
            folder: where its memory is.
            passphrase: in its normal form.

        Raises:
            KeysteadError: as `ServiceKey.open` and `LocalReceiptSigner`; keystore.signer_process
                when it does not start.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(_LONGEST_ANSWER)
        with theirs:
            number = theirs.fileno()
            process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable, "-I", "-m", "keystead.keystores.receipting_process", str(number)],
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                process_group=0,  # Ctrl-C is for the witness, which then ends this
            )
        signer = cls(process, ours)
        try:
            request = Open(str(key.absolute()), str(folder.absolute()), passphrase)
            signer._aid = Aid(signer._ask(request, str))
        except BaseException:
            signer.close()
            raise
        return signer

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LONGEST_ANSWER)
            return
        self._process.kill()
        self._process.wait()

    @property
    def aid(self) -> Aid:
        """The witness."""
        return self._aid

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def begin(self, store: str, generation: int) -> bool:
        """Tell whether a store is the current one, and no older copy of it."""
        return self._ask(Begin(store, generation), bool)

    def accept(self, store: str, generation: int) -> None:
        """Take a store for the current one, in place of any other."""
        self._ask(Accept(store, generation), type(None))

    def is_blank(self) -> bool:
        """Tell whether no store was ever accepted."""
        return self._ask(IsBlank(), bool)

    def signed_last(self) -> dict[Aid, Said]:
        """Return for each log the last event that stands of those that were signed."""
        return self._ask(SignedLast(), dict[Aid, Said])

    def objection(self, event: bytes) -> KeystoreError | None:
        """Return why an event contradicts what was signed; None if it does not."""
        found = self._ask(Objection(event), Signed)
        return None if found.failure is None else _refusal(found.failure)

    def relearn(self, events: Sequence[bytes]) -> Said:
        """Remember events of one log as signed; return the last one that stands."""
        return Said(self._ask(Relearn(list(events)), str))

    def ask_receipts(self, store: str, generation: int, events: Sequence[bytes]) -> None:
        """Begin to sign."""
        self._forget_asked()
        request = SignReceipts(store, generation, list(events), known_only=False)
        self._send(request)
        self._asked = request

    def sign_receipts(
        self, store: str, generation: int, events: Sequence[bytes], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        """Return the signature over each event, durably remembered, or why there is none."""
        request = SignReceipts(store, generation, list(events), known_only)
        asked = self._asked
        if asked is not None and not known_only and asked.events == request.events:
            self._asked = None
            found = self._receive(list[Signed])
        else:
            found = self._ask(request, list[Signed])
        if len(found) != len(events):
            raise self._give_up("answers something else")
        return [one.signature if one.failure is None else _refusal(one.failure) for one in found]

    def sign_reply(self, payload: bytes) -> bytes:
        """Return the signature over a reply."""
        return self._ask(SignReply(payload), bytes)

    def _ask(self, request: Request, kind: type[T]) -> T:
        self._forget_asked()
        self._send(request)
        return self._receive(kind)

    def _forget_asked(self) -> None:
        """Take an answer off the line that nobody waits for."""
        if self._asked is not None:
            self._asked = None
            with suppress(KeysteadError):  # if it is lost, so is the next one
                self._receive(list[Signed])

    def _send(self, request: Request) -> None:
        if self._lost:
            raise KeystoreError(ErrorCode.SIGNER_PROCESS, "the signer process was given up")
        self._number += 1
        try:
            protocol.send(self._connection, Numbered(self._number, request))
        except OSError as error:
            raise self._give_up(f"does not answer: {type(error).__name__}") from None

    def _receive(self, kind: type[T]) -> T:
        try:
            data = protocol.receive(self._connection)
            answer = None if data is None else _ANSWERS.decode(data)
        except OSError as error:
            raise self._give_up(f"does not answer: {type(error).__name__}") from None
        except (msgspec.MsgspecError, KeystoreError):
            raise self._give_up("answers something else") from None
        if answer is None:
            raise self._give_up("has ended")
        if answer.number != self._number:
            raise self._give_up("answers another request")
        if answer.failure is not None:
            raise answer.failure.error()
        return msgspec.msgpack.decode(answer.result, type=kind)

    def _give_up(self, why: str) -> KeystoreError:
        """Use the process no more: a late answer must not be taken for that of another request."""
        self._lost = True
        self._connection.close()
        return KeystoreError(ErrorCode.SIGNER_PROCESS, f"the signer process {why}")


def _refusal(failure: Failure) -> KeystoreError:
    error = failure.error()
    assert isinstance(error, KeystoreError)  # noqa: S101 - the signer refuses by no others
    return error


def serve(connection: socket.socket) -> None:
    """Answer requests until the other end is closed."""
    signer: LocalReceiptSigner | None = None
    while (data := protocol.receive(connection)) is not None:
        asked = _REQUESTS.decode(data)
        request, number = asked.request, asked.number
        try:
            if isinstance(request, Open):
                key = ServiceKey.open(Path(request.key), request.passphrase)
                signer = LocalReceiptSigner.open(Path(request.folder), key)
                result: Any = signer.aid
            else:
                assert signer is not None  # noqa: S101 - it is opened first
                result = _do(signer, request)
            answer = Answer(number, msgspec.Raw(msgspec.msgpack.encode(result)))
        except KeysteadError as error:
            answer = Answer(number, failure=Failure.of(error))
        except Exception as error:  # noqa: BLE001 - the text of any other could hold what was signed
            what = f"the signer process failed: {type(error).__name__}"
            error_told = Failure.of(KeystoreError(ErrorCode.SIGNER_PROCESS, what))
            answer = Answer(number, failure=error_told)
        protocol.send(connection, answer)
    if signer is not None:
        signer.close()


def _do(signer: LocalReceiptSigner, request: Request) -> Any:  # noqa: ANN401 - what is asked for
    match request:
        case Begin():
            return signer.begin(request.store, request.generation)
        case Accept():
            return signer.accept(request.store, request.generation)
        case SignedLast():
            return signer.signed_last()
        case IsBlank():
            return signer.is_blank()
        case Objection():
            error = signer.objection(request.event)
            return Signed() if error is None else Signed(failure=Failure.of(error))
        case Relearn():
            return signer.relearn(request.events)
        case SignReceipts():
            found = signer.sign_receipts(
                request.store, request.generation, request.events, known_only=request.known_only
            )
            return [
                Signed(failure=Failure.of(one)) if isinstance(one, KeystoreError) else Signed(one)
                for one in found
            ]
        case SignReply():
            return signer.sign_reply(request.payload)
        case Open():
            raise KeystoreError(ErrorCode.SIGNER_PROCESS, "it is open")


def main() -> None:
    """Serve the witness at the other end of a socket pair, whose number is the argument."""
    harden()
    with suppress(BrokenPipeError, ConnectionResetError):
        serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
