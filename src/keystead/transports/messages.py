"""HTTP requests as bytes, and answers from what the standard library read."""

import re
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Final

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Answer, Call
from keystead.transports.guard import Target

_METHODS: Final = ("GET", "POST", "PUT")
# RFC 9110, sections 5.1 and 5.5, without the bytes that are not ASCII.
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
# What the transport says itself, and what would turn one message into two.
_OWN_HEADERS: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "accept", "accept-encoding")
)
_PIECE: Final = 64 * 1024
_MOVED: Final = (301, 302, 303, 307, 308)


def check_call(call: Call) -> None:
    """Check what a program says about its own call.

    Raises:
        ValueError: method or headers are none that can be sent.
    """
    if call.method not in _METHODS or (call.method == "GET" and call.body):
        raise ValueError("a call is a GET without content, a POST or a PUT")
    for name, value in call.headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise ValueError(f"header {name!r} cannot be sent")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"header {name!r} is set by the transport")


def write_request(target: Target, call: Call) -> bytes:
    """Write a request whose call was checked (RFC 9112, section 3)."""
    headers = {
        "Host": target.authority,
        "Accept": ", ".join(call.accept) or "*/*",
        # What is not packed cannot unpack to more than was allowed.
        "Accept-Encoding": "identity",
        **call.headers,
    }
    if call.method != "GET":
        headers["Content-Length"] = str(len(call.body))
    lines = [f"{call.method} {target.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + call.body


def read_answer(response: HTTPResponse, call: Call, most: int) -> Answer:
    """Read an answer whose headers are read, to its end.

    Raises:
        TransportError: it is not what was asked for, or is cut off (transport.answer), or has
            more than `most` bytes (transport.too_large).
        OSError: the peer is too slow, or gone.
        HTTPException, ValueError: it is no HTTP.
    """
    # 100 is left out by the parser; nothing else was asked to come before an answer.
    if response.status < HTTPStatus.OK:
        raise _unusable("the answer has an interim status")
    headers: dict[str, str] = {}
    for spelt, value in response.getheaders():
        name = spelt.lower()
        if "\n" in value or "\r" in value:
            raise _unusable("the answer has a header of several lines")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _unusable("the answer is packed, which was not asked for")
    _check_framing(headers)
    wanted = not call.accept or not _succeeded(response.status) or content_type in call.accept
    if content_type and not wanted:
        raise _unusable("the answer has another media type than was asked for")
    body = _read_body(response, most)
    if body and not wanted:
        raise _unusable("the answer tells no media type")
    return Answer(response.status, content_type, headers, body)


def redirection(target: Target, call: Call, answer: Answer) -> str:
    """Return the URL to which an answer sends the caller; empty if to none.

    Only a GET is sent on. Relative places must begin with a slash.

    Raises:
        TransportError: the place is of a form that is not followed (transport.url).
    """
    if call.method != "GET" or answer.status not in _MOVED or "location" not in answer.headers:
        return ""
    place = answer.headers["location"]
    if place.startswith("/") and not place.startswith("//"):
        return f"{target.scheme}://{target.authority}{place}"
    return place


def _succeeded(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _unusable(why: str) -> TransportError:
    return TransportError(ErrorCode.ANSWER, why)


def _check_framing(headers: dict[str, str]) -> None:
    """Refuse what two readers would cut at different places (RFC 9112, section 6)."""
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None and (coding.lower() != "chunked" or length is not None):
        raise _unusable("the answer is framed in an unusual way")
    if length is not None and re.fullmatch(r"[0-9]{1,19}", length) is None:
        raise _unusable("the answer tells no proper length")


def _read_body(response: HTTPResponse, most: int) -> bytes:
    too_large = TransportError(
        ErrorCode.ANSWER_TOO_LARGE, f"the answer has more than {most} bytes", limit=most
    )
    if response.length is not None and response.length > most:
        raise too_large
    pieces, size = [], 0
    while piece := response.read(min(_PIECE, most + 1 - size)):
        size += len(piece)
        if size > most:
            raise too_large
        pieces.append(piece)
    if response.length:
        raise _unusable("the answer is cut off")
    return b"".join(pieces)
