"""`keystead inspect`: an annotated dump of any stream or piece of one."""

import json
import textwrap
from collections.abc import Iterator

import click
import msgspec

from keystead.cesr.annotate import Element, annotate
from keystead.cesr.stream import Message, StreamReader
from keystead.cli.output import ExitCode, printable, say_error
from keystead.cli.source import read_chunks
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import DEFAULT_LIMITS

_SHOWN = 24
_MOST = DEFAULT_LIMITS.body + DEFAULT_LIMITS.attachments  # a whole message is never longer


@click.command(
    epilog="""\b
Examples:
  keystead inspect alice.cesr           the messages of a file and what is attached to them
  keystead inspect --json alice.cesr    one JSON object a line, for programs
  echo -n -AABAAB... | keystead inspect -    a fragment

\b
Columns: offset in bytes, element, meaning. Nothing is verified here; for that, use
`keystead log verify`. Exit code 3 when a part is no element.""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--json", "json_output", is_flag=True, help="One JSON object for each element.")
def inspect(file: str, *, json_output: bool) -> None:
    """Show every element of a stream, or of any piece of one.

    FILE holds CESR in the text or the binary domain; - is standard input.
    """
    faults = elements = 0
    for element in _elements(file):
        elements += 1
        faults += element.error
        click.echo(
            json.dumps(msgspec.structs.asdict(element)) if json_output else _rendered(element)
        )
    if not elements:
        raise DecodeError(ErrorCode.EMPTY, "the input is empty")
    if faults:
        hint = "see the lines marked with !; what was signed is verified by: keystead log verify"
        say_error(f"{faults} parts of the input are no elements", hint)
        click.get_current_context().exit(ExitCode.INVALID)


def _elements(file: str) -> Iterator[Element]:
    """Give the elements of the input; of a piece that is no message, only the start is kept."""
    window = _Window()
    reader = StreamReader()
    for piece in read_chunks(file):
        reader.feed(piece)
        window.add(piece)
        yield from _take(reader, window)
    reader.close()
    yield from _take(reader, window)
    yield from window.take(window.end)


class _Window:
    """The bytes that were not shown yet; of more than a few messages, the start and the end."""

    def __init__(self) -> None:
        """Start at the beginning of a stream."""
        self._data = bytearray()
        self._start = 0  # offset of the data in the stream
        self._head: Element | None = None  # what was dropped in front of the data
        self.end = 0

    def add(self, piece: bytes) -> None:
        """Keep a piece."""
        self.end += len(piece)
        self._data += piece
        if len(self._data) > 4 * _MOST:
            # No message is that long, so its start belongs to a fault whose end is not known.
            self._drop(len(self._data) - 2 * _MOST)

    def take(self, end: int) -> Iterator[Element]:
        """Give the elements up to an offset in the stream."""
        if self._head is not None:
            self._drop(end - self._start)
            yield self._head
            self._head = None
            return
        size = end - self._start
        yield from annotate(bytes(self._data[:size]), DEFAULT_LIMITS, offset=self._start)
        self._drop(size)
        self._head = None

    def _drop(self, size: int) -> None:
        start = self._start if self._head is None else self._head.start
        text = ascii(bytes(self._data[:_SHOWN]))[2:-1] if self._head is None else self._head.text
        self._start += size
        del self._data[:size]
        length = self._start - start
        self._head = Element(
            start, length, 0, text, f"{length} bytes that are no message", error=True
        )


def _take(reader: StreamReader, window: _Window) -> Iterator[Element]:
    for item in reader:
        if isinstance(item, Message):
            yield from window.take(item.end)
        else:
            shown = list(window.take(item.end))
            told = any(element.error for element in shown)
            if not told and item.error.code is not ErrorCode.COLD_START:
                # What no element shows by itself; and a fragment may start with no message.
                yield Element(item.start, 0, 0, "", str(item.error), error=True)
            yield from shown


def _rendered(element: Element) -> str:
    mark = "! " if element.error else ""
    indent = "  " * element.depth
    head = f"{element.start:>8}  {indent}"
    if "\n" not in element.text:
        text = printable(element.text)
        return f"{head}{text}{'  ' if text else ''}{mark}{printable(element.meaning)}"
    lines = "\n".join(printable(line) for line in element.text.split("\n"))
    return f"{head}{mark}{printable(element.meaning)}\n{textwrap.indent(lines, ' ' * 10)}"
