"""How commands get a secret: a file, a file descriptor or the terminal, never argv or environment.

What is in the arguments or the environment of a process, others can read.
"""

import errno
import os
import re
import stat
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from shlex import quote
from typing import Any, TypeVar

import click
import msgspec

from keystead.cli.output import printable
from keystead.errors import ErrorCode, UsageError
from keystead.keystores.passphrase import (
    MOST_BYTES,
    check_strength,
    generate_passphrase,
    normalized,
)

_Result = TypeVar("_Result")
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretSource(msgspec.Struct, frozen=True, gc=False):
    """Where a command gets a secret from: at most one of file and descriptor, or the terminal.

    Attributes:
        name: the secret's name in the options, such as "passphrase".
        file: file whose first line it is.
        fd: file descriptor whose next line it is.
    """

    name: str = "passphrase"
    file: str | None = None
    fd: int | None = None


def secret_options(
    name: str,
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Add the options `--NAME-file` and `--NAME-fd`; the command gets a `SecretSource` as NAME."""
    key, told = name.replace("-", "_"), name.replace("-", " ")

    def add(command: Callable[..., _Result]) -> Callable[..., _Result]:
        @click.option(
            f"--{name}-file",
            metavar="FILE",
            help=f"Read the {told} from the first line of a file that only you can read.",
        )
        @click.option(
            f"--{name}-fd",
            metavar="N",
            help=f"Read the {told} from an open file descriptor, up to the end of the line.",
        )
        @wraps(command)
        def with_source(*args: Any, **options: Any) -> _Result:  # noqa: ANN401 - of any command
            options[key] = _source(name, options.pop(f"{key}_file"), options.pop(f"{key}_fd"))
            return command(*args, **options)

        return with_source

    return add


passphrase_options = secret_options("passphrase")


def _source(name: str, file: str | None, fd: str | None) -> SecretSource:
    if file is not None and fd is not None:
        what = f"--{name}-file and --{name}-fd cannot be used together"
        raise UsageError(ErrorCode.ARGUMENT, what)
    # The text is not repeated: it may be a passphrase at the wrong place.
    if fd is not None and not re.fullmatch("[0-9]{1,6}", fd):
        raise UsageError(ErrorCode.ARGUMENT, f"--{name}-fd takes the number of a descriptor")
    return SecretSource(name, file, None if fd is None else int(fd))


def read_secret(source: SecretSource, prompt: str) -> str:
    """Return a secret in its normal form, from 1 to 1,024 bytes long.

    From then on this process leaves no core dump, and no other program of this user can look
    into it.

    Raises:
        UsageError: there is no terminal to ask on, or what was read is no passphrase
            (usage.argument); the file or descriptor cannot be read, or others can read the file
            (usage.file).
        click.Abort: the input was closed at the prompt.
    """
    return _accepted(_read(source, prompt))


def new_secret(source: SecretSource) -> tuple[str, bool]:
    """Return a new passphrase, and whether it was generated and must be shown.

    On the terminal it is asked for twice, and an empty answer asks for a generated one.

    Raises:
        UsageError: it is too easy to guess (usage.weak_passphrase), the answers differ
            (usage.argument), or as `read_secret`.
        click.Abort: the input was closed at the prompt.
    """
    answer = _read(source, "New passphrase (press Enter to have one made): ")
    asked = source.file is None and source.fd is None
    if asked and not answer:
        return generate_passphrase(), True
    text = _accepted(answer)
    check_strength(text)
    if asked and _read(source, "The same again: ") != answer:
        raise UsageError(ErrorCode.ARGUMENT, "the two answers differ", hint="try again")
    return text, False


def _accepted(secret: bytes) -> str:
    # An error of decoding would carry the secret with it; `normalized` refuses the escapes.
    return normalized(secret.decode(errors="surrogateescape")).decode()


def _read(source: SecretSource, prompt: str) -> bytes:
    # With an unlocked wallet nothing but this command ever has the secret of a new key or token.
    from keystead.keystores.hardening import harden  # noqa: PLC0415 - only for those who need it

    harden()
    place = "the terminal"
    try:
        if source.file is not None:
            place = f"the file of --{source.name}-file"
            return _from_file(source.file, source.name)
        if source.fd is not None:
            place = f"the descriptor of --{source.name}-fd"
            return _from_descriptor(source.fd, source.name)
        with _silent_terminal(source.name) as terminal:
            os.write(terminal, printable(prompt).encode(errors="replace"))
            answer = _line(terminal)
    except OSError as error:
        # The name of a file is not repeated either, before it is known to be one.
        raise UsageError(ErrorCode.FILE, f"cannot read {place}: {error.strerror}") from None
    if answer is None:
        raise click.Abort
    return answer


def _from_descriptor(fd: int, name: str) -> bytes:
    if os.isatty(fd):
        raise UsageError(
            ErrorCode.ARGUMENT,
            f"the descriptor of --{name}-fd is a terminal, which shows what is typed",
            hint="leave the option out to be asked",
        )
    return _line(fd) or b""


def _from_file(path: str, name: str) -> bytes:
    with private_file(path, descriptor=f"--{name}-fd") as fd:
        return _line(fd) or b""


@contextmanager
def private_file(path: str, *, descriptor: str = "") -> Iterator[int]:
    """Open a file that nobody else can read or change; give its descriptor.

    Args:
        path: where.
        descriptor: option that takes a descriptor in place of the file, if there is one.

    Raises:
        OSError: it cannot be opened.
        UsageError: it is a link, no file, of another user, or others can read it (usage.file).
    """
    shown = printable(path)
    try:
        # Not to wait for the other end of a pipe, nor to follow what somebody else has linked.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        also = f", or open it as a descriptor: {descriptor} 3 3< FILE" if descriptor else ""
        what = f"{shown} is a symbolic link"
        raise UsageError(ErrorCode.FILE, what, hint=f"name the file itself{also}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            hint = f"give a pipe as a descriptor: {descriptor} N" if descriptor else "give a file"
            raise UsageError(ErrorCode.FILE, f"{shown} is not a regular file", hint=hint)
        given = _is_credential(path)
        if found.st_uid != os.geteuid() and not (given and found.st_uid == 0):
            raise UsageError(
                ErrorCode.FILE,
                f"{shown} belongs to another user, who can change it",
                hint="use a file of your own",
            )
        if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP if given else _FOR_OTHERS):
            raise UsageError(
                ErrorCode.FILE, f"others have access to {shown}", hint=f"chmod 600 {quote(shown)}"
            )
        yield fd
    finally:
        os.close(fd)


def _is_credential(path: str) -> bool:
    """Tell whether systemd has put a file there for this service alone (systemd.exec(5)).

    Where the file system has access lists, the file is root's, and the service is in its list,
    whose mask `stat` shows as the rights of the group.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return bool(folder) and os.path.dirname(path) == folder  # noqa: PTH120 - as it is written


@contextmanager
def _silent_terminal(name: str) -> Iterator[int]:
    """Open the terminal, which does not show what is typed until the end of the block."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise UsageError(
            ErrorCode.ARGUMENT,
            f"there is no terminal to ask for the {name.replace('-', ' ')} on",
            hint=f"give it with --{name}-file FILE or --{name}-fd N",
        ) from None
    try:
        before = termios.tcgetattr(fd)
        silent = before.copy()
        silent[3] &= ~termios.ECHO
        # Whatever was typed too early or beyond the line is dropped: no shell must get it.
        termios.tcsetattr(fd, termios.TCSAFLUSH, silent)
        try:
            yield fd
        finally:
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)
            os.write(fd, b"\n")
    finally:
        os.close(fd)


def _line(fd: int) -> bytes | None:
    """Return the next line without its end, None at the end of the input.

    It is read byte by byte: what comes behind it belongs to others.
    """
    line = bytearray()
    while (byte := os.read(fd, 1)) not in (b"", b"\n"):
        line += byte
        if len(line) > MOST_BYTES + len(b"\r"):
            raise UsageError(ErrorCode.ARGUMENT, f"the line is longer than {MOST_BYTES:,} bytes")
    return bytes(line.removesuffix(b"\r")) if line or byte else None
