"""Errors and their codes."""

import pickle
import re
from pathlib import Path

import pytest

import keystead
from keystead.errors import (
    HINTS,
    DecodeError,
    ErrorCode,
    KeysteadError,
    KeystoreError,
    StoreError,
    TransportError,
    UsageError,
    VerificationError,
)

CLASSES = (
    DecodeError,
    KeystoreError,
    StoreError,
    TransportError,
    UsageError,
    VerificationError,
)


@pytest.mark.parametrize("code", ErrorCode)
def test_code_names_its_family(code: ErrorCode) -> None:
    """A code is `family.what`, in lower case."""
    assert re.fullmatch(r"(decode|verify|store|keystore|usage|transport)\.[a-z_]+", code.value)


@pytest.mark.parametrize("code", ErrorCode)
def test_code_has_a_hint(code: ErrorCode) -> None:
    """Every code tells what to do next."""
    assert HINTS[code]


@pytest.mark.parametrize("code", ErrorCode)
def test_code_is_used(code: ErrorCode) -> None:
    """Every code is raised somewhere."""
    package = Path(keystead.__file__).parent
    sources = [path for path in package.rglob("*.py") if path != package / "errors.py"]
    assert any(f"ErrorCode.{code.name}" in path.read_text("utf-8") for path in sources)


def test_text_ends_with_the_code() -> None:
    """The text of an error is its sentence and its code."""
    assert str(DecodeError(ErrorCode.VALUE, "s is odd")) == "s is odd [decode.value]"


def test_hint_comes_from_the_table() -> None:
    """An error without a hint of its own has that of its code."""
    assert UsageError(ErrorCode.FILE, "no such file").hint == HINTS[ErrorCode.FILE]


def test_hint_may_be_more_precise() -> None:
    """An error may have a hint of its own."""
    assert UsageError(ErrorCode.FILE, "no such file", hint="look again").hint == "look again"


def test_fields_are_kept() -> None:
    """The values that matter are there for programs."""
    error = StoreError(ErrorCode.ESCROW_FULL, "too much waits", entries=7)
    assert error.fields == {"entries": 7}


@pytest.mark.parametrize("kind", CLASSES)
def test_error_survives_pickling(kind: type[KeysteadError]) -> None:
    """An error that crosses processes keeps its class and all its parts."""
    error = kind(ErrorCode.LIMIT, "too long", hint="cut it", limit=3, what="n")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made right here
    assert type(again) is kind
    assert (again.code, again.message, again.hint, again.fields, again.args) == (
        error.code,
        error.message,
        error.hint,
        error.fields,
        error.args,
    )
