"""Answers to requests that cannot be served: one table from errors to statuses."""

from typing import Final

import msgspec

from keystead.errors import (
    DecodeError,
    ErrorCode,
    KeysteadError,
    KeystoreError,
    StoreError,
    TransportError,
    UsageError,
    VerificationError,
)
from keystead.services.http import Response

_JSON: Final = "application/json"
_RETRY_SECONDS: Final = 1
_SHOWN: Final = 64  # bytes of anything from outside that an answer repeats at most

_BY_CODE: Final = {
    ErrorCode.EXISTS: 409,
    ErrorCode.LIMIT: 413,
    ErrorCode.LOCKED: 423,
    ErrorCode.TIMEOUT: 504,
}
_BY_ERROR: Final[tuple[tuple[type[KeysteadError], int], ...]] = (
    (UsageError, 400),
    (DecodeError, 400),
    (VerificationError, 422),
    (StoreError, 503),
    (KeystoreError, 403),
    (TransportError, 502),
)
_HINTS: Final = {
    400: "send the request as RFC 9112 has it",
    404: "see the routes of this service in its documentation",
    405: "see the routes of this service in its documentation",
    408: "send the whole request without pauses",
    413: "send less at once",
    414: "send what is long as content",
    415: "send the content uncompressed",
    429: "wait as long as Retry-After says",
    431: "send fewer or shorter headers",
    500: "the operator finds the reason in the log",
    501: "use another method or framing",
    503: "wait as long as Retry-After says",
}


class Refused(Exception):  # noqa: N818 - what happened to the request, as an HTTP status says it
    """A request was refused before the application saw it.

    Attributes:
        status: HTTP status.
        message: one lower-case sentence without anything of the request.
    """

    def __init__(self, status: int, message: str) -> None:
        """Keep the parts apart."""
        super().__init__(message)
        self.status = status
        self.message = message


class Refusal(KeysteadError):  # noqa: N818 - as above
    """A request that the application refuses by what HTTP has for it.

    Attributes:
        status: HTTP status.
        retry_after: seconds, told with 429 and 503.
    """

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after: int = 1) -> None:
        """Keep the parts apart; without a hint it is the one for the status."""
        super().__init__(ErrorCode.ARGUMENT, message, hint=hint or _HINTS.get(status, ""))
        self.status = status
        self.retry_after = retry_after


def status_of(error: KeysteadError) -> int:
    """Return the HTTP status that an error stands for."""
    if status := _BY_CODE.get(error.code):
        return status
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), 500)


def error_response(error: KeysteadError) -> Response:
    """Return the answer to a request that failed; 503 says when to come back."""
    if isinstance(error, Refusal):
        return refusal(error.status, error.message, hint=error.hint, retry_after=error.retry_after)
    return _response(status_of(error), error.code, error.message, error.hint)


def refusal(
    status: int, message: str, *, hint: str = "", retry_after: int = _RETRY_SECONDS
) -> Response:
    """Return the answer to a request that HTTP itself forbids, such as 404, 413 or 429.

    Args:
        status: 400 to 599; the code of the error is "http." and this number.
        message: one lower-case sentence without anything of the request.
        hint: what to do; empty: what the status means.
        retry_after: seconds, told with 429 and 503.
    """
    hint = hint or _HINTS.get(status, "")
    return _response(status, f"http.{status}", message, hint, retry_after=retry_after)


def _response(
    status: int, code: str, message: str, hint: str, *, retry_after: int = _RETRY_SECONDS
) -> Response:
    content = {"error": str(code), "message": _shortened(message), "hint": hint}
    headers = {"Cache-Control": "no-store"}
    if status in (429, 503):
        headers["Retry-After"] = str(retry_after)
    return Response(status, msgspec.json.encode(content), _JSON, headers)


def _shortened(message: str) -> str:
    """Cut long words: a sentence has none, so they came from outside."""
    return " ".join(
        word if len(word) <= _SHOWN else word[:_SHOWN] + "..." for word in message.split(" ")
    )
