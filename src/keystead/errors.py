"""Errors with stable codes: who is to blame is the class, what happened is the code.

A code is documented API (docs/errors.md). The message is one lower-case sentence without
secrets and without whole payloads; what to do next is the hint.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable name of a fault; the part before the dot is the family."""

    # decode.*: the bytes are malformed
    TRUNCATED = "decode.truncated"
    UNKNOWN_CODE = "decode.unknown_code"
    BAD_ENCODING = "decode.encoding"
    COLD_START = "decode.cold_start"
    VERSION_STRING = "decode.version_string"
    UNSUPPORTED_VERSION = "decode.unsupported_version"
    BODY = "decode.body"
    NOT_CANONICAL = "decode.not_canonical"
    MESSAGE_TYPE = "decode.message_type"
    FIELDS = "decode.fields"
    VALUE = "decode.value"
    GROUP = "decode.group"
    LIMIT = "decode.limit"
    EMPTY = "decode.empty"
    # verify.*: well-formed, not valid
    SAID = "verify.said"
    PREFIX = "verify.prefix"
    THRESHOLD = "verify.threshold"
    WITNESSES = "verify.witnesses"
    SEQUENCE = "verify.sequence"
    PRIOR_DIGEST = "verify.prior_digest"
    UNSIGNED = "verify.unsigned"
    SIGNATURE = "verify.signature"
    NON_TRANSFERABLE = "verify.non_transferable"
    ESTABLISHMENT_ONLY = "verify.establishment_only"
    DELEGATION = "verify.delegation"
    DO_NOT_DELEGATE = "verify.do_not_delegate"
    SUPERSEDING = "verify.superseding"
    RECEIPT = "verify.receipt"
    SIGNER = "verify.signer"
    SIGNER_SEAL = "verify.signer_seal"
    ROUTE = "verify.route"
    STALE = "verify.stale"
    KEY_STATE = "verify.key_state"
    PAYLOAD = "verify.payload"
    UNSUPPORTED_MESSAGE = "verify.unsupported_message"
    EXPIRED = "verify.expired"
    # store.*: the store could not keep it
    ESCROW_FULL = "store.escrow_full"
    RECORDS_FULL = "store.records_full"
    # usage.*: the caller asked for something that cannot be
    ARGUMENT = "usage.argument"
    FILE = "usage.file"


HINTS: dict[ErrorCode, str] = {
    ErrorCode.TRUNCATED: "the input ends inside this element; fetch the whole of it again",
    ErrorCode.UNKNOWN_CODE: "the sender may use a newer code table than CESR version 1.0",
    ErrorCode.BAD_ENCODING: "the text was changed on its way; fetch it again",
    ErrorCode.COLD_START: "a message must start here; see where with: keystead inspect FILE",
    ErrorCode.VERSION_STRING: "the version string must be the first field and name the true size",
    ErrorCode.UNSUPPORTED_VERSION: "ask the sender for KERI version 1.0 messages",
    ErrorCode.BODY: "the body is not valid JSON, CBOR or MessagePack of the stated size",
    ErrorCode.NOT_CANONICAL: (
        "sign exactly what the serializer writes: no spaces, no duplicate labels"
    ),
    ErrorCode.MESSAGE_TYPE: "this message type is not part of KERI version 1.0",
    ErrorCode.FIELDS: "labels must be exactly those of the message type, in their order",
    ErrorCode.VALUE: "see the field named in the message; numbers are lower-case hex text",
    ErrorCode.GROUP: "the attachments do not fit their count code; fetch the message again",
    ErrorCode.LIMIT: "no honest message is that large or deep; programs can pass other Limits",
    ErrorCode.EMPTY: "check that this is the right file and that it was fetched whole",
    ErrorCode.SAID: "the content was changed after its identifier was computed",
    ErrorCode.PREFIX: "the identifier must be derived from its own inception event",
    ErrorCode.THRESHOLD: "a threshold must be reachable with the keys that are listed",
    ErrorCode.WITNESSES: "check the witness list, its additions, removals and threshold",
    ErrorCode.SEQUENCE: "an inception has number 0, each later event one more than the event before",
    ErrorCode.PRIOR_DIGEST: "this event continues another branch than the log that was verified",
    ErrorCode.UNSIGNED: "attach at least one signature of the controller",
    ErrorCode.SIGNATURE: "no attached signature was made by a key that is authoritative here",
    ErrorCode.NON_TRANSFERABLE: "this identifier cannot have further events",
    ErrorCode.ESTABLISHMENT_ONLY: "this identifier allows only rotations; anchor in a rotation",
    ErrorCode.DELEGATION: "a delegated identifier uses dip and drt, any other icp and rot",
    ErrorCode.DO_NOT_DELEGATE: "the delegator forbade delegation in its inception",
    ErrorCode.SUPERSEDING: "the log already holds another event at this place, which stands",
    ErrorCode.RECEIPT: "the receipt is for another version of the event",
    ErrorCode.SIGNER: "the message must be signed by the identifier it speaks for",
    ErrorCode.SIGNER_SEAL: "the signature names an event that is not in the signer's log",
    ErrorCode.ROUTE: "no handler for this route",
    ErrorCode.STALE: "a later statement of the same signer is already known",
    ErrorCode.KEY_STATE: "the notice contradicts the log that was verified here",
    ErrorCode.PAYLOAD: "the payload does not match the digest in the message",
    ErrorCode.UNSUPPORTED_MESSAGE: "registry events and credentials are not verified yet",
    ErrorCode.EXPIRED: "what the message waited for did not arrive in time; send it again",
    ErrorCode.ESCROW_FULL: "too much is waiting; send the missing events first",
    ErrorCode.RECORDS_FULL: "too many statements are kept; programs can pass other Limits",
    ErrorCode.ARGUMENT: "see --help",
    ErrorCode.FILE: "check the path and its permissions",
}


class KeysteadError(Exception):
    """Root of all errors of this library.

    Attributes:
        code: stable name of the fault.
        message: one lower-case sentence, safe to log.
        hint: what to do next.
        fields: the values that matter, for programs.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, hint: str | None = None, **fields: str | int
    ) -> None:
        """Keep the parts apart, so that edges can render them."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = HINTS[code] if hint is None else hint
        self.fields = fields

    def forget_frames(self) -> None:
        """Let go of the frames that raised it, for an error that is kept as a value.

        They hold whatever was in hand then, such as the message and the verdict itself: a circle
        that nothing would collect.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None

    def __str__(self) -> str:
        """Return the sentence with its code."""
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes."""
        return _rebuild, (type(self), self.code, self.message, self.hint, self.fields)


def _rebuild(
    kind: type[KeysteadError],
    code: ErrorCode,
    message: str,
    hint: str,
    fields: dict[str, str | int],
) -> KeysteadError:
    return kind(code, message, hint=hint, **fields)


class UsageError(KeysteadError):
    """The caller asked for something that cannot be."""


class DecodeError(KeysteadError):
    """Bytes from outside are malformed."""


class VerificationError(KeysteadError):
    """A well-formed statement is not valid."""


class StoreError(KeysteadError):
    """The store could not keep it."""
