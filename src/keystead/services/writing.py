"""Responses as bytes."""

from http import HTTPStatus
from typing import Final

from keystead.services.http import Response
from keystead.services.parsing import Head

LAST_CHUNK: Final = b"0\r\n\r\n"
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_NO_CONTENT: Final = frozenset({204, 304})


def whole(response: Response, head: Head, date: str, *, stays: bool) -> bytes:
    """Return a response with its content, if the request may have one.

    Args:
        response: without a stream.
        head: of the request.
        date: the Date header.
        stays: whether another request may follow.

    Raises:
        ValueError, KeyError: a header or the status cannot be written.
    """
    body = response.body
    framing = "" if response.status in _NO_CONTENT else f"Content-Length: {len(body)}\r\n"
    written = start(response, date, framing, stays=stays, old=not head.chunkable)
    if head.method == "HEAD" or not framing:
        return written
    return written + body


def start(response: Response, date: str, framing: str, *, stays: bool, old: bool) -> bytes:
    """Return status line and headers of a response.

    Args:
        response: what is answered.
        date: the Date header.
        framing: the header that tells where the content ends; empty if its end is that of the
            connection, or if there is none.
        stays: whether another request may follow.
        old: whether the peer speaks HTTP/1.0, and must be told that the connection stays.

    Raises:
        ValueError, KeyError: a header or the status cannot be written.
    """
    lines = [_STATUS_LINES[response.status], date]
    if response.content_type:
        lines.append(f"Content-Type: {response.content_type}\r\n")
    for name, value in response.headers.items():
        lines.append(f"{name}: {value}\r\n")
    if framing:
        lines.append(framing)
    if not stays:
        lines.append("Connection: close\r\n")
    elif old:
        lines.append("Connection: keep-alive\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ValueError("a header of the response has an end of line in it")
    return (text + "\r\n").encode("latin-1")


def chunk(piece: bytes) -> bytes:
    """Return a piece of a stream as a chunk; an empty one would end the stream."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
