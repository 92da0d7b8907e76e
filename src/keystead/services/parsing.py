"""Requests from bytes, strictly: whatever two parsers could read in two ways is refused.

llhttp (by httptools) parses heads; each head gets a parser of its own. It lets other versions and
protocols, lines before the request and double spaces pass, which are checked here. Bodies are cut out
here: by length, or chunk by chunk.
"""

import re
from typing import Final

import httptools
import msgspec

from keystead.services.http import HttpLimits
from keystead.services.refusals import Refused

END: Final = b"\r\n\r\n"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})

# RFC 9112, section 3: single spaces, and nothing before the method
_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9]\.[0-9])\r\n"
)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?#]*)([^#]*)")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_CHUNK_LINE: Final = 10
# Headers that must not be told twice, for two servers may believe different ones.
_SINGLE: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "content-type", "expect"}
)


class Head(msgspec.Struct, frozen=True):
    """A request line with its headers, checked.

    Attributes:
        method: name of the method.
        path: path of the target, percent-encoded.
        query: query of the target, percent-encoded.
        headers: by lower-case name.
        length: bytes of content that follow; None if it comes in chunks.
        keep_alive: whether the connection can serve another request.
        chunkable: whether the peer understands an answer in chunks (HTTP/1.1).
        waits: whether the peer waits for 100 before it sends content.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int | None
    keep_alive: bool
    chunkable: bool
    waits: bool


def check_partial(data: bytearray, limits: HttpLimits) -> None:
    """Check a head whose end has not arrived: whether it can become one.

    Raises:
        Refused: it is too large, or a line does not end in CR LF.
    """
    line = data.find(b"\r\n")
    if (line if line >= 0 else len(data)) > limits.target + 32:
        raise Refused(414, "the request line is too long")
    if len(data) > limits.head:
        raise Refused(431, "the headers are too large")
    if _has_bare_line_end(data, halves=data.endswith(b"\r")):
        raise Refused(400, "a line does not end in CR LF")
    if data[0] <= ord(" ") or data[0] >= 127:  # noqa: PLR2004 - DEL; neither can begin a method
        raise Refused(400, "this is no HTTP request")


def _has_bare_line_end(data: bytes | bytearray, *, halves: bool = False) -> bool:
    """Tell whether a CR or LF stands alone; `halves` of a CR LF at the end do not count."""
    pairs = data.count(b"\r\n")
    return data.count(b"\n") != pairs or data.count(b"\r") != pairs + halves


def parse_head(block: bytes, limits: HttpLimits) -> Head:
    """Parse a head.

    Args:
        block: request line and headers, with the empty line at the end.
        limits: bounds.

    Raises:
        Refused: it is malformed, ambiguous, too large, or asks for what is not served.
    """
    line = _REQUEST_LINE.match(block)
    if line is None:
        raise Refused(400, "the request line is malformed")
    if len(line[2]) > limits.target:
        raise Refused(414, "path and query are too long")
    if len(block) > limits.head:
        raise Refused(431, "the headers are too large")
    if line[3] not in (b"1.1", b"1.0"):
        raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are served")
    method = line[1].decode()
    if method not in METHODS:
        raise Refused(501, "the method is not known")
    fields = _Fields(limits.fields)
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(block)
    except httptools.HttpParserUpgrade:
        pass  # RFC 9110, section 7.8: a server may ignore it
    except httptools.HttpParserError as error:
        if fields.refused is not None:
            raise fields.refused from None
        raise Refused(400, "the headers are malformed") from error
    if not fields.complete or _has_bare_line_end(block):
        raise Refused(400, "the headers are malformed")
    modern = line[3] == b"1.1"
    headers = fields.headers
    _check_host(headers, modern=modern)
    path, query = _split_target(line[2].decode(), method, headers)
    return Head(
        method,
        path,
        query,
        headers,
        _length(headers, modern=modern),
        _stays(headers, modern=modern),
        modern,
        _waits(headers, modern=modern),
    )


class _Fields:
    """Collects what llhttp finds; an error here ends the parsing."""

    __slots__ = ("complete", "count", "headers", "limit", "refused")

    def __init__(self, limit: int) -> None:
        self.headers: dict[str, str] = {}
        self.complete = False
        self.count = 0
        self.limit = limit
        self.refused: Refused | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        if self.count > self.limit:
            self._refuse(431, "there are too many headers")
        key = name.decode("latin-1").lower()
        # RFC 9112, section 5: white space around a value is no part of it
        text = value.decode("latin-1").strip(" \t")
        before = self.headers.get(key)
        if before is not None:
            if key in _SINGLE:
                self._refuse(400, "a header that must be told once came twice")
            text = f"{before}, {text}"
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        self.complete = True

    def _refuse(self, status: int, message: str) -> None:
        self.refused = Refused(status, message)
        raise self.refused


def _check_host(headers: dict[str, str], *, modern: bool) -> None:
    """RFC 9112, section 3.2: 400 if Host is missing, came twice or is no host."""
    host = headers.get("host")
    if host is None:
        if modern:
            raise Refused(400, "the Host header is missing")
    elif not _HOST.fullmatch(host):
        raise Refused(400, "the Host header names no host")


def _split_target(target: str, method: str, headers: dict[str, str]) -> tuple[str, str]:
    """Return path and query of a target (RFC 9112, section 3.2)."""
    if target[0] != "/":
        if target == "*" and method == "OPTIONS":
            return "*", ""
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise Refused(400, "the target is no path")
        # the target would count, not Host: whoever routed it by Host read another request
        if absolute[1].lower() != headers.get("host", "").lower():
            raise Refused(400, "target and Host name different hosts")
        target = absolute[2] if absolute[2].startswith("/") else "/" + absolute[2]
    if "#" in target:
        raise Refused(400, "the target has a fragment")
    path, _, query = target.partition("?")
    return path, query


def _length(headers: dict[str, str], *, modern: bool) -> int | None:
    """Return how many bytes of content follow, None if chunks do (RFC 9112, section 6.3)."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "compressed content is not taken")
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None or not modern:
            raise Refused(400, "the content is framed in two ways")
        if coding.lower() != "chunked":
            raise Refused(501, "content is taken whole or in chunks")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Refused(400, "Content-Length is no number")
    return int(length)


def _stays(headers: dict[str, str], *, modern: bool) -> bool:
    """RFC 9112, section 9.3; llhttp forgets it when the request is complete."""
    told = headers.get("connection")
    if told is None:
        return modern
    options = {one.strip().lower() for one in told.split(",")}
    return "close" not in options if modern else "keep-alive" in options


def _waits(headers: dict[str, str], *, modern: bool) -> bool:
    """RFC 9110, section 10.1.1: old peers do not know what 100 means."""
    expected = headers.get("expect")
    if expected is None or not modern:
        return False
    if expected.lower() != "100-continue":
        raise Refused(417, "the expectation is not known")
    return True


class ChunkedBody:
    """A body that comes in chunks; extensions and trailers are refused, as nobody needs them.

    Attributes:
        content: what has arrived.
    """

    def __init__(self, limit: int, chunks: int) -> None:
        """Take at most so many bytes, in so many chunks."""
        self.content = bytearray()
        self._limit = limit
        self._chunks = chunks
        self._left = 0  # bytes of the current chunk
        self._ends = False  # whether a CR LF must follow
        self._last = False  # whether the current chunk is the last one, which is empty

    def take(self, buffer: bytearray) -> bool:
        """Take from the front of a buffer what belongs to the body; tell whether it is complete.

        Raises:
            Refused: a chunk is malformed, or the body too large (413).
        """
        at = 0
        try:
            while True:
                if self._left:
                    piece = buffer[at : at + self._left]
                    self.content += piece
                    self._left -= len(piece)
                    at += len(piece)
                if self._left:
                    return False
                if self._ends:
                    ending = bytes(buffer[at : at + 2])
                    if ending != b"\r\n"[: len(ending)]:
                        raise Refused(400, "a chunk is malformed")
                    if len(ending) < 2:  # noqa: PLR2004 - CR and LF
                        return False
                    at += 2
                    self._ends = False
                    if self._last:
                        return True
                line = _CHUNK.match(buffer, at)
                if line is None:
                    self._check_line(buffer, at)
                    return False
                at = line.end()
                self._begin(int(line[1], 16))
        finally:
            del buffer[:at]

    def _begin(self, size: int) -> None:
        self._chunks -= 1
        if len(self.content) + size > self._limit:
            raise Refused(413, "the content is too large")
        if self._chunks < 0:
            raise Refused(413, "the content has too many chunks")
        self._left = size
        self._last = size == 0
        self._ends = True

    @staticmethod
    def _check_line(buffer: bytearray, at: int) -> None:
        """Refuse what cannot become the line before a chunk."""
        rest = bytes(buffer[at : at + _CHUNK_LINE])
        digits = rest.removesuffix(b"\r")
        if len(digits) > 8 or (rest and not re.fullmatch(rb"[0-9A-Fa-f]+", digits)):  # noqa: PLR2004 - as _CHUNK
            raise Refused(400, "a chunk is malformed")
