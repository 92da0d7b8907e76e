"""Questions before steps that cannot be undone."""

import sys

import click

from keystead.errors import ErrorCode, UsageError


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
