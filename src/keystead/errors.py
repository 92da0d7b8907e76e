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
    FUTURE = "verify.future"
    KEY_STATE = "verify.key_state"
    PAYLOAD = "verify.payload"
    UNSUPPORTED_MESSAGE = "verify.unsupported_message"
    EXPIRED = "verify.expired"
    FRESHNESS = "verify.freshness"
    DISAGREEMENT = "verify.disagreement"
    NOT_ADMITTED = "verify.not_admitted"
    INTRODUCTION = "verify.introduction"
    CHALLENGE = "verify.challenge"
    CHALLENGE_LATE = "verify.challenge_late"
    CHALLENGE_USED = "verify.challenge_used"
    CHALLENGE_KEYS = "verify.challenge_keys"
    # store.*: the store could not keep it
    ESCROW_FULL = "store.escrow_full"
    RECORDS_FULL = "store.records_full"
    STORE_MISSING = "store.missing"
    STORE_BUSY = "store.busy"
    STORE_SCHEMA = "store.schema"
    STORE_CORRUPT = "store.corrupt"
    STORE_FULL = "store.full"
    STORE_IO = "store.io"
    STORE_PERMISSIONS = "store.permissions"
    # keystore.*: a key, or what guards it, cannot be used
    LOCKED = "keystore.locked"
    PASSPHRASE = "keystore.passphrase"
    BACK_OFF = "keystore.back_off"
    KDF = "keystore.kdf"
    TAMPERED = "keystore.tampered"
    LIFE_STATE = "keystore.state"
    ROLE = "keystore.role"
    GONE = "keystore.gone"
    POSSESSION = "keystore.possession"
    SECOND_EVENT = "keystore.second_event"
    BEHIND = "keystore.behind"
    UNWITNESSED = "keystore.unwitnessed"
    KEY_MISUSED = "keystore.misused"
    SIGNER_PROCESS = "keystore.signer_process"
    TOKEN = "keystore.token"
    TOKEN_PIN = "keystore.token_pin"
    MECHANISM = "keystore.mechanism"
    # usage.*: the caller asked for something that cannot be
    ARGUMENT = "usage.argument"
    FILE = "usage.file"
    NAME = "usage.name"
    UNKNOWN = "usage.unknown"
    EXISTS = "usage.exists"
    WEAK_PASSPHRASE = "usage.weak_passphrase"

    URL_REFUSED = "transport.url"
    ADDRESS_REFUSED = "transport.address"
    UNREACHABLE = "transport.unreachable"
    TIMEOUT = "transport.timeout"
    ANSWER = "transport.answer"
    ANSWER_TOO_LARGE = "transport.too_large"


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
    ErrorCode.FUTURE: "set the clock of who signed the statement, and sign it again",
    ErrorCode.KEY_STATE: "the notice contradicts the log that was verified here",
    ErrorCode.PAYLOAD: "the payload does not match the digest in the message",
    ErrorCode.UNSUPPORTED_MESSAGE: "registry events and credentials are not verified yet",
    ErrorCode.EXPIRED: "what the message waited for did not arrive in time; send it again",
    ErrorCode.FRESHNESS: "ask again later, or more sources; until then decide nothing by this log",
    ErrorCode.DISAGREEMENT: "ask more watchers, and see their evidence; until then decide nothing",
    ErrorCode.INTRODUCTION: "ask who gave you the URL for another one, or for the log as a file",
    ErrorCode.CHALLENGE: "do not trust this answer; make new words: keystead contact challenge NAME",
    ErrorCode.CHALLENGE_LATE: "make new words and answer sooner: keystead contact challenge NAME",
    ErrorCode.CHALLENGE_USED: "words are good for one answer: keystead contact challenge NAME",
    ErrorCode.CHALLENGE_KEYS: "get the latest log, then: keystead contact challenge NAME",
    ErrorCode.NOT_ADMITTED: "ask the operator of the witness to let this identifier in",
    ErrorCode.ESCROW_FULL: "too much is waiting; send the missing events first",
    ErrorCode.RECORDS_FULL: "too many statements are kept; programs can pass other Limits",
    ErrorCode.STORE_MISSING: "make a wallet with: keystead init; or name its folder with --home",
    ErrorCode.STORE_BUSY: "another command is writing to this wallet; try again in a moment",
    ErrorCode.STORE_SCHEMA: "this wallet was written by a newer version; install that version",
    ErrorCode.STORE_CORRUPT: "run: keystead doctor; it tells what is damaged and what is not",
    ErrorCode.STORE_FULL: "free space on the disk and repeat the command; nothing was lost",
    ErrorCode.STORE_IO: "check the disk and the permissions of the folder; nothing was lost",
    ErrorCode.STORE_PERMISSIONS: "give folder and files to you alone: chmod 700 FOLDER, 600 FILE",
    ErrorCode.LOCKED: "unlock the wallet with: keystead unlock; or give the passphrase",
    ErrorCode.PASSPHRASE: "check keyboard layout and upper case, and try again",
    ErrorCode.BACK_OFF: "wait as long as the message says; more tries do not help",
    ErrorCode.KDF: "the wallet's settings were changed, or are meant for a larger machine",
    ErrorCode.TAMPERED: "something changed the wallet's records; run: keystead doctor",
    ErrorCode.LIFE_STATE: "see the state of the key with: keystead key show KEY",
    ErrorCode.ROLE: "use a key that was made for this purpose: keystead key list",
    ErrorCode.GONE: "the private half of this key was shredded or never here",
    ErrorCode.POSSESSION: "give the private key that belongs to the public one",
    ErrorCode.SECOND_EVENT: (
        "another event was signed for this place already; finish it with: keystead doctor --repair"
    ),
    ErrorCode.BEHIND: (
        "get the published log and give it to: keystead id reconcile NAME --log FILE"
    ),
    ErrorCode.UNWITNESSED: "collect the receipts first: keystead outbox run",
    ErrorCode.KEY_MISUSED: "tell others which key was stolen: keystead key compromise KEY; rotate",
    ErrorCode.SIGNER_PROCESS: "lock and unlock the wallet: keystead lock; keystead unlock",
    ErrorCode.TOKEN: "check that the token is plugged in and its module path is right",
    ErrorCode.TOKEN_PIN: "a token locks itself after a few wrong PINs; check it before you retry",
    ErrorCode.MECHANISM: "choose another algorithm, or a token that has this one",
    ErrorCode.ARGUMENT: "see --help",
    ErrorCode.FILE: "check the path and its permissions",
    ErrorCode.NAME: "a name has 1 to 64 printable characters and no space at its ends",
    ErrorCode.UNKNOWN: "see what there is with: keystead id list, keystead key list",
    ErrorCode.EXISTS: "choose another name",
    ErrorCode.WEAK_PASSPHRASE: "let Keystead make one (press Enter), or use more, unusual words",
    ErrorCode.URL_REFUSED: "give a URL that begins with https:// and names a host",
    ErrorCode.ADDRESS_REFUSED: "the host is not on the public internet, so nothing was sent to it",
    ErrorCode.UNREACHABLE: "check the URL and the network; what was begun goes on when it answers",
    ErrorCode.TIMEOUT: "the peer is slow or gone; what was begun goes on when it answers",
    ErrorCode.ANSWER: "check that the URL is that of the service that was meant",
    ErrorCode.ANSWER_TOO_LARGE: "no honest answer is that large; ask another source",
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


class KeystoreError(KeysteadError):
    """A key, or what guards it, cannot be used."""


class TransportError(KeysteadError):
    """A peer could not be reached, may not be reached, or gave no usable answer."""
