"""Questions before steps that cannot be undone, and the owner's reasons for them."""

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from keystead.errors import ErrorCode, UsageError
from keystead.limits import DEFAULT_LIMITS

Result = TypeVar("Result")


def reason_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the option `--reason`, which is checked before anything is done."""
    return click.option(
        "--reason",
        default="",
        metavar="TEXT",
        callback=_checked_reason,
        help="Why, for the audit log.",
    )(command)


def _checked_reason(_context: click.Context, _option: click.Parameter, reason: str) -> str:
    """Return a reason.

    Raises:
        UsageError: it is too long, or has what cannot be seen or is no text (usage.argument).
    """
    if len(reason) > DEFAULT_LIMITS.url or not reason.isprintable():
        what = f"a reason is one line of at most {DEFAULT_LIMITS.url:,} printable characters"
        raise UsageError(ErrorCode.ARGUMENT, what)
    return reason


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal whether to go on.

    Args:
        question: one sentence.
        yes: it was answered before, by an option.

    Raises:
        UsageError: the answer is no, or nobody can be asked (usage.argument).
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        what = "this cannot be undone, so it asks on a terminal"
        raise UsageError(ErrorCode.ARGUMENT, what, hint="give --yes where there is none")
    if not click.confirm(question, err=True):
        raise UsageError(ErrorCode.ARGUMENT, "the answer was no: nothing was done", hint="")
