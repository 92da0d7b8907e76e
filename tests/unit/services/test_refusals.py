"""Errors as answers."""

import json
import re
from pathlib import Path

import pytest

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
from keystead.services.refusals import error_response, refusal, status_of

_CLASSES = {
    "usage": (UsageError, 400),
    "decode": (DecodeError, 400),
    "verify": (VerificationError, 422),
    "store": (StoreError, 503),
    "keystore": (KeystoreError, 403),
    "transport": (TransportError, 502),
}
_OTHERS = {
    ErrorCode.EXISTS: 409,
    ErrorCode.LIMIT: 413,
    ErrorCode.LOCKED: 423,
    ErrorCode.TIMEOUT: 504,
}


@pytest.mark.parametrize("code", ErrorCode)
def test_each_error_has_a_status(code: ErrorCode) -> None:
    """The class decides, and for a few codes the code; the answer is stable JSON."""
    kind, status = _CLASSES[code.partition(".")[0]]
    error = kind(code, "it is so")
    answer = error_response(error)
    assert answer.status == status_of(error) == _OTHERS.get(code, status)
    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == {"error": code, "message": "it is so", "hint": error.hint}
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.checkout
def test_statuses_are_documented() -> None:
    """The page on errors has the table of statuses."""
    page = (Path(__file__).parents[3] / "docs" / "errors.md").read_text("utf-8")
    section = page.split("## Over HTTP\n", 1)[1]
    told = {
        name: int(status)
        for names, status in re.findall(r"^\| ([A-Za-z][\w., ]+) \| (\d{3})", section, re.MULTILINE)
        for name in names.split(", ")
    }
    by_class = {kind.__name__: status for kind, status in _CLASSES.values()}
    assert told == by_class | {str(code): status for code, status in _OTHERS.items()}


def test_errors_of_no_known_class_are_failures() -> None:
    """What nobody expected is 500."""
    assert status_of(KeysteadError(ErrorCode.ARGUMENT, "it is so")) == 500


def test_long_words_are_not_echoed() -> None:
    """No more than 64 characters of anything from outside come back."""
    answer = error_response(UsageError(ErrorCode.ARGUMENT, f"no {'x' * 1000} here"))
    message = json.loads(answer.body)["message"]
    assert message == f"no {'x' * 64}... here"


def test_refusals_tell_when_to_come_back() -> None:
    """429 and 503 have Retry-After; others have not."""
    assert refusal(429, "too often", retry_after=7).headers["Retry-After"] == "7"
    assert "Retry-After" not in refusal(404, "there is nothing").headers
    assert json.loads(refusal(404, "there is nothing").body)["error"] == "http.404"
