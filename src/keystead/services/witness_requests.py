"""Requests to a witness, read: messages, parts of a stream, parameters."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl

from keystead.cesr.keys import Aid, is_aid
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.errors import DecodeError, ErrorCode
from keystead.keri import forms
from keystead.limits import DEFAULT_LIMITS
from keystead.services.http import Request
from keystead.services.refusals import Refusal

EVENT_BYTES: Final = 64 * 1024  # one event; the largest one has 26 KiB
STREAM_BYTES: Final = 1024 * 1024
# What is read and handed in at once of a stream: 5 ms of reading, and a like time in the thread
# that writes. Others get their turn in between.
PART_MESSAGES: Final = 64
PART_BYTES: Final = 64 * 1024
_MESSAGES: Final = DEFAULT_LIMITS.held_events * 64
_SPELLINGS: Final = frozenset(
    ("application/cesr+json", "application/json+cesr", "application/cesr")
)
_ATTACHMENT: Final = "cesr-attachment"
_DESTINATION: Final = "cesr-destination"


def route_limit(method: str, path: str) -> int:
    """Return the largest content of a request."""
    if method == "PUT" and path == "/":
        return STREAM_BYTES
    return EVENT_BYTES if method == "POST" and path in ("/", "/receipts") else 0


def check_type(request: Request) -> None:
    """Check the content type; every spelling will do.

    Raises:
        Refusal: 406.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _SPELLINGS:
        raise Refusal(406, "the content type must be application/cesr+json")


def one_message(request: Request, own: Aid) -> Message:
    """Read the one message of a request: JSON as content, attachments in a header.

    Args:
        request: to read.
        own: the witness.

    Raises:
        Refusal: 400, 404, 406, 412.
        DecodeError: it is malformed, or not one message.
    """
    check_type(request)
    attachment = request.headers.get(_ATTACHMENT)
    if attachment is None:
        raise Refusal(412, "the header CESR-ATTACHMENT is missing")
    asked = request.headers.get(_DESTINATION)
    if asked and asked != own:
        raise Refusal(404, "this is another witness than the one that the request is for")
    if not request.body.startswith(b"{"):
        raise Refusal(400, "the content is no message in JSON")
    found = [one for part in parts(request.body + attachment.encode("latin-1"), 1) for one in part]
    if len(found[0].raw) != len(request.body):
        raise DecodeError(ErrorCode.BODY, "the content is not one message")
    return found[0]


def parts(stream: bytes, most: int = _MESSAGES) -> Iterator[list[Message]]:
    """Read a stream part by part, as far as it is well-formed.

    Args:
        stream: all of it.
        most: messages that there may be.

    Raises:
        DecodeError: what comes next is malformed or too much, or there is nothing.
    """
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(stream)
    reader.close()
    part: list[Message] = []
    count, start = 0, 0
    fault: DecodeError | None = None
    for item in reader:
        if isinstance(item, Malformed):
            fault = item.error
            break
        if count == most:
            fault = DecodeError(ErrorCode.LIMIT, "too many messages at once")
            break
        count += 1
        part.append(item)
        if len(part) == PART_MESSAGES or item.end - start >= PART_BYTES:
            yield part
            part, start = [], item.end
    if part:
        yield part
    if fault is None and not count:
        fault = DecodeError(ErrorCode.EMPTY, "there is no message")
    if fault is not None:
        raise fault


def parameters(request: Request) -> dict[str, str]:
    """Return what the query of a request says.

    Raises:
        Refusal: 400.
    """
    try:
        pairs = parse_qsl(request.query, strict_parsing=bool(request.query), max_num_fields=8)
    except ValueError:
        raise Refusal(400, "the query is malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refusal(400, "a parameter comes twice")
    return found


def aid_of(asked: dict[str, str]) -> Aid:
    """Return whom a request asks about.

    Raises:
        Refusal: 400.
    """
    aid = asked.get("pre", "")
    if not is_aid(aid):
        raise Refusal(400, "pre is no identifier")
    return Aid(aid)


def number(text: str | None) -> int | None:
    """Return a place that a request asks for, if any.

    Raises:
        Refusal: 400.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - 63 bits
        raise Refusal(400, "sn is no number")
    return int(text)
