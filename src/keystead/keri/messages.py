"""Receipts and routed messages: typed, frozen, well-formed by construction.

Source: KERI specification, "Receipt Messages" and "Routed Messages"; fields of version 1.0.
"""

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final, TypeAlias

import msgspec

from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.keys import Aid, Said, digest_code
from keystead.cesr.stream import Message
from keystead.cesr.values import DATETIME_PATTERN
from keystead.cesr.versions import Kind, Protocol
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import events
from keystead.keri.events import AnyKeyEvent
from keystead.keri.fields import (
    check_labels,
    parse_aid,
    parse_digest,
    parse_map,
    parse_number,
)
from keystead.keri.forms import read_form
from keystead.keri.parsing import parse_key_event
from keystead.limits import Limits


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The event that attached signatures receipt.

    Attributes:
        aid: identifier of the event.
        sn: its place.
        said: its digest.
    """

    message_type: ClassVar[str] = "rct"

    aid: Aid
    sn: int
    said: Said


class Routed(msgspec.Struct, frozen=True, gc=False):
    """What all routed messages have.

    Attributes:
        raw: the bytes that were signed.
        said: digest of the message.
        timestamp: the sender's time, RFC 3339 text with microseconds and offset.
        route: target of the message.
    """

    message_type: ClassVar[str]

    raw: bytes
    said: Said
    timestamp: str
    route: str

    @property
    def instant(self) -> datetime:
        """The sender's time as an instant."""
        return datetime.fromisoformat(self.timestamp)


class Query(Routed, frozen=True, gc=False):
    """A request for information about an identifier."""

    message_type: ClassVar[str] = "qry"

    return_route: str
    parameters: Body


class Prod(Routed, frozen=True, gc=False):
    """A request for information about a seal."""

    message_type: ClassVar[str] = "pro"

    return_route: str
    parameters: Body


class Reply(Routed, frozen=True, gc=False):
    """A statement about an identifier."""

    message_type: ClassVar[str] = "rpy"

    attributes: Body


class Bare(Routed, frozen=True, gc=False):
    """A statement about a seal."""

    message_type: ClassVar[str] = "bar"

    attributes: Body


class Exchange(Routed, frozen=True, gc=False):
    """A message from one identifier to another.

    Attributes:
        sender: who sends and signs it.
        recipient: who it is for, None for anybody.
        prior: digest of the message that it answers, if any.
        modifiers: parameters.
        payload: attributes, or the digest of an attached ESSR payload.
        embeds: embedded messages by label.
    """

    message_type: ClassVar[str] = "exn"

    sender: Aid
    recipient: Aid | None
    prior: Said | None
    modifiers: Body
    payload: Body | Said
    embeds: Body


RoutedMessage: TypeAlias = Query | Prod | Reply | Bare | Exchange
AnyMessage: TypeAlias = AnyKeyEvent | Receipt | RoutedMessage

FIELDS: dict[str, tuple[str, ...]] = {
    # message type -> labels in order
    "rct": ("v", "t", "d", "i", "s"),
    "qry": ("v", "t", "d", "dt", "r", "rr", "q"),
    "pro": ("v", "t", "d", "dt", "r", "rr", "q"),
    "rpy": ("v", "t", "d", "dt", "r", "a"),
    "bar": ("v", "t", "d", "dt", "r", "a"),
    "exn": ("v", "t", "d", "i", "rp", "p", "dt", "r", "q", "a", "e"),
}
# Registry events: known, not verified yet.
_KERI: Final = Protocol.KERI
_REGISTRY_TYPES = ("vcp", "vrt", "iss", "rev", "bis", "brv")


def parse_message(message: Message, limits: Limits) -> AnyMessage:
    """Make a typed message of a framed one.

    Raises:
        DecodeError: decode.message_type, decode.fields, decode.value, decode.limit.
        VerificationError: as `parse_key_event`; verify.unsupported_message for registry events
            and credentials.
    """
    content = message.content
    if not isinstance(content, dict):
        return read_form(content, message.raw)
    body = content
    message_type = body.get("t")
    if not isinstance(message_type, str):
        message_type = ""  # a credential, or nothing that is known
    if message_type in events.FIELDS and message.protocol is _KERI:
        return parse_key_event(body, message.raw, limits)
    if message.protocol is not _KERI or message_type in _REGISTRY_TYPES:
        raise VerificationError(
            ErrorCode.UNSUPPORTED_MESSAGE, "a registry event or credential, not verified yet"
        )
    if message_type not in FIELDS:
        raise DecodeError(ErrorCode.MESSAGE_TYPE, "an unknown message type")
    check_labels(body, FIELDS[message_type])
    if message_type == "rct":
        return Receipt(
            parse_aid(body["i"], "i"), parse_number(body["s"], "s"), parse_digest(body["d"], "d")
        )
    addressing.check(message.raw, parse_digest(body["d"], "d"))
    for label in ("r", "rr"):
        if not isinstance(body.get(label, ""), str):
            raise DecodeError(ErrorCode.VALUE, f"{label} is not text")
    if not _is_time(body["dt"]):
        raise DecodeError(ErrorCode.VALUE, "dt is not a date and time with microseconds and offset")
    return _ROUTED[message_type](message)


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not DATETIME_PATTERN.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:  # the pattern knows no calendar
        return False
    return True


def _parse_query(message: Message) -> Query | Prod:
    body = message.body
    make = Query if body["t"] == "qry" else Prod
    parameters = parse_map(body["q"], "q")
    return make(message.raw, body["d"], body["dt"], body["r"], body["rr"], parameters)


def _parse_reply(message: Message) -> Reply | Bare:
    body = message.body
    make = Reply if body["t"] == "rpy" else Bare
    return make(message.raw, body["d"], body["dt"], body["r"], parse_map(body["a"], "a"))


def _parse_exchange(message: Message) -> Exchange:
    body = message.body
    payload = body["a"]
    if isinstance(payload, str):
        payload = parse_digest(payload, "a")
    elif not isinstance(payload, dict):
        raise DecodeError(ErrorCode.VALUE, "a is neither a field map nor a digest")
    embeds = parse_map(body["e"], "e")
    if "d" in embeds and not _is_addressed(embeds, message.kind):
        raise VerificationError(ErrorCode.SAID, "the digest of e does not match its content")
    return Exchange(
        message.raw, body["d"], body["dt"], body["r"],
        parse_aid(body["i"], "i"),
        parse_aid(body["rp"], "rp") if body["rp"] != "" else None,
        parse_digest(body["p"], "p") if body["p"] != "" else None,
        parse_map(body["q"], "q"), payload, embeds,
    )  # fmt: skip


def _is_addressed(block: Body, kind: Kind) -> bool:
    """Tell whether `d` is the digest of a block, as JSON (what peers do) or as the message."""
    said = parse_digest(block["d"], "d")
    code = digest_code(said)
    return any(
        addressing.address(dict(block), form, code=code, protocol=None)[1] == said
        for form in dict.fromkeys((Kind.JSON, kind))
    )


_ROUTED: dict[str, Callable[[Message], RoutedMessage]] = {
    "qry": _parse_query,
    "pro": _parse_query,
    "rpy": _parse_reply,
    "bar": _parse_reply,
    "exn": _parse_exchange,
}
