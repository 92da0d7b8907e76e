"""How commands speak: results on stdout, everything else on stderr, one exit code for one end."""

import json
from enum import IntEnum
from typing import Any, Final

import click

from keystead.errors import (
    DecodeError,
    KeysteadError,
    TransportError,
    UsageError,
    VerificationError,
)


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    WAITING = 4
    UNREACHABLE = 5


_BY_ERROR: tuple[tuple[type[KeysteadError], ExitCode], ...] = (
    (UsageError, ExitCode.USAGE),
    (DecodeError, ExitCode.INVALID),
    (VerificationError, ExitCode.INVALID),
    (TransportError, ExitCode.UNREACHABLE),
)


def exit_code(error: KeysteadError) -> ExitCode:
    """Return the exit code that an error stands for."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILED


def say_error(message: str, hint: str = "") -> None:
    """Tell on stderr what went wrong and what to do next."""
    click.echo(f"keystead: error: {printable(message)}", err=True)
    if hint:
        click.echo(f"keystead: hint: {printable(hint)}", err=True)


def say(message: str) -> None:
    """Tell something on stderr."""
    click.echo(f"keystead: {printable(message)}", err=True)


def counted(number: int, name: str) -> str:
    """Return how many there are, such as `1 event` or `2 events`."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


_JOINER: Final = "\u200d"  # inside emoji; it moves nothing


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control and format characters are escaped."""
    if text.isprintable():
        return text
    shown = (char if char.isprintable() or char == _JOINER else ascii(char)[1:-1] for char in text)
    return "".join(shown)


def as_json(value: Any) -> str:  # noqa: ANN401 - whatever a command reports
    """Return a report for programs: ASCII, indented."""
    return json.dumps(value, indent=2)
