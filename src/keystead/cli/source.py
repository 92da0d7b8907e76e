"""Input of commands: a file or standard input, in pieces, with progress on long ones."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import click

from keystead.cli.output import printable
from keystead.errors import ErrorCode, UsageError

CHUNK = 64 * 1024
_LONG = 4 * 1024 * 1024  # shorter input is read before anybody wonders
_INTERVAL = 0.2  # seconds between two lines of progress on a pipe


def read_chunks(name: str) -> Iterator[bytes]:
    """Give the bytes of a file, or of standard input for `-`, in pieces.

    Progress goes to stderr when that is a terminal and the input is long or its end unknown.

    Raises:
        UsageError: the file cannot be read (usage.file).
    """
    try:
        with _open(name) as stream:
            size = 0 if name == "-" else Path(name).stat().st_size
            watched = sys.stderr is not None and sys.stderr.isatty()
            if not watched or 0 < size < _LONG:
                yield from _pieces(stream)
            elif size:
                yield from _with_bar(stream, size)
            else:
                yield from _with_count(stream)
    except OSError as error:
        what = f"cannot read {printable(name)}: {error.strerror or error}"
        raise UsageError(ErrorCode.FILE, what) from None


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        if sys.stdin is None:
            raise UsageError(ErrorCode.FILE, "standard input is closed")
        return nullcontext(sys.stdin.buffer)
    return Path(name).open("rb")


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    # A pipe gives what is there at once, so that a live stream is followed as it comes.
    read: Any = getattr(stream, "read1", stream.read)
    while piece := read(CHUNK):
        yield piece


def _with_bar(stream: BinaryIO, size: int) -> Iterator[bytes]:
    with click.progressbar(length=size, label="reading", file=sys.stderr) as bar:
        for piece in _pieces(stream):
            yield piece
            bar.update(len(piece))


def _with_count(stream: BinaryIO) -> Iterator[bytes]:
    done, shown = 0, monotonic()
    for piece in _pieces(stream):
        yield piece
        done += len(piece)
        if monotonic() - shown > _INTERVAL:
            shown = monotonic()
            click.echo(f"\rreading: {done / 1e6:,.1f} MB", err=True, nl=False)
    click.echo("\r\033[K", err=True, nl=False)
