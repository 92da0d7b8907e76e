"""Receipts and routed messages: from a field map to a typed message."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keystead.cesr import body as bodies
from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.keys import Aid
from keystead.cesr.stream import Message
from keystead.cesr.versions import Kind, Protocol
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import build, forms
from keystead.keri.messages import (
    FIELDS,
    Bare,
    Exchange,
    Prod,
    Query,
    Receipt,
    Reply,
    parse_message,
)
from keystead.limits import DEFAULT_LIMITS
from keystead.testing.authoring import KeyPair
from support.logs import DIGEST, STAMP, framed, pairs, parsed, plan, raw_of, routed

AID = KeyPair("any").aid
OTHER = KeyPair("other").aid
ROUTED = ("qry", "pro", "rpy", "bar", "exn")


def _raw(message_type: str) -> bytes:
    if message_type == "rct":
        return build.receipt(Receipt(AID, 31, DIGEST))
    return routed(message_type, **({"i": AID} if message_type == "exn" else {}))


def _body(message_type: str) -> Body:
    return bodies.decode(_raw(message_type), Kind.JSON, DEFAULT_LIMITS)


def _changed(message_type: str, **changes: Any) -> bytes:  # noqa: ANN401 - any field value
    addressed = message_type != "rct" and "d" not in changes
    return raw_of(_body(message_type) | changes, labels=("d",) if addressed else ())


def _fault(raw: bytes) -> ErrorCode:
    with pytest.raises((DecodeError, VerificationError)) as caught:
        parsed(raw)
    assert isinstance(caught.value, DecodeError | VerificationError)
    return caught.value.code


@pytest.mark.parametrize("message_type", FIELDS)
def test_fields_are_in_the_order_of_the_type(message_type: str) -> None:
    """A message of each type has its labels in their order."""
    assert tuple(_body(message_type)) == FIELDS[message_type]


def test_receipt_names_its_event() -> None:
    """A receipt holds identifier, number and digest of the event; `d` is not its own digest."""
    assert parsed(_raw("rct")) == Receipt(AID, 31, DIGEST)


@pytest.mark.parametrize(("message_type", "made"), [("qry", Query), ("pro", Prod)])
def test_request_has_its_values(message_type: str, made: type[Query | Prod]) -> None:
    """A query and a prod have route, return route and parameters."""
    raw = routed(message_type, r="logs", rr="back", q={"i": AID})
    message = parsed(raw)
    assert type(message) is made
    assert (message.route, message.return_route, message.parameters) == ("logs", "back", {"i": AID})
    assert (message.raw, message.timestamp, message.message_type) == (raw, STAMP, message_type)


@pytest.mark.parametrize(("message_type", "made"), [("rpy", Reply), ("bar", Bare)])
def test_statement_has_its_values(message_type: str, made: type[Reply | Bare]) -> None:
    """A reply and a bare message have route and attributes."""
    message = parsed(routed(message_type, r="/x", a={"b": 1}))
    assert type(message) is made
    assert (message.route, message.attributes, message.message_type) == (
        "/x",
        {"b": 1},
        message_type,
    )


def test_exchange_has_its_values() -> None:
    """An exchange has sender, recipient, prior message, parameters, payload and embeds."""
    values = {"i": AID, "rp": OTHER, "p": DIGEST, "q": {"a": 1}, "a": {"b": 2}, "e": {"c": {}}}
    message = parsed(routed("exn", **values))
    assert isinstance(message, Exchange)
    assert (message.sender, message.recipient, message.prior) == (AID, OTHER, DIGEST)
    assert (message.modifiers, message.payload, message.embeds) == (
        {"a": 1},
        {"b": 2},
        {"c": {}},
    )


def test_exchange_may_be_for_anybody() -> None:
    """Empty recipient and prior message stand for none."""
    message = parsed(_raw("exn"))
    assert isinstance(message, Exchange)
    assert (message.recipient, message.prior) == (None, None)


def test_payload_may_be_a_digest() -> None:
    """The digest of an ESSR payload stands in its place."""
    message = parsed(_changed("exn", a=DIGEST))
    assert isinstance(message, Exchange)
    assert message.payload == DIGEST


def test_instant_counts_the_offset() -> None:
    """The sender's time is an instant, whatever its offset."""
    message = parsed(routed("rpy", dt="2026-01-02T04:04:05.000001+01:00"))
    assert isinstance(message, Reply)
    assert message.instant == datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("message_type", ROUTED)
def test_message_may_have_any_serialization(message_type: str, kind: Kind) -> None:
    """JSON, CBOR and MessagePack carry the same message."""
    raw = raw_of(_body(message_type), kind=kind)
    message = parsed(raw)
    assert message.message_type == message_type


@pytest.mark.parametrize("message_type", FIELDS)
@pytest.mark.parametrize("change", ["drop", "add", "swap"])
def test_other_labels_are_refused(message_type: str, change: str) -> None:
    """A missing, a further and a misplaced label are refused."""
    fields = list(_body(message_type).items())
    if change == "drop":
        del fields[-1]
    elif change == "add":
        fields.append(("x", ""))
    else:
        fields[-1], fields[-2] = fields[-2], fields[-1]
    assert _fault(raw_of(dict(fields), labels=())) is ErrorCode.FIELDS


@pytest.mark.parametrize(
    ("types", "label", "value"),
    [
        ("rct", "i", "nobody"),
        ("rct", "i", 1),
        ("rct", "s", "01"),
        ("rct", "s", 1),
        ("rct", "s", "-1"),
        ("rct", "d", AID),
        ("rct", "d", None),
        ("qry pro rpy bar exn", "d", 1),
        ("qry pro rpy bar exn", "d", AID),
        ("qry pro rpy bar exn", "dt", 1),
        ("qry pro rpy bar exn", "dt", ""),
        ("qry pro rpy bar exn", "dt", "2026-01-02T03:04:05Z"),
        ("qry pro rpy bar exn", "dt", "2026-01-02T03:04:05.000000Z"),
        ("qry pro rpy bar exn", "dt", "2026-02-30T03:04:05.000000+00:00"),
        ("qry pro rpy bar exn", "dt", "0000-01-01T03:04:05.000000+00:00"),
        ("qry pro rpy bar exn", "r", 1),
        ("qry pro rpy bar exn", "r", None),
        ("qry pro", "rr", {}),
        ("qry pro", "q", ""),
        ("qry pro", "q", []),
        ("rpy bar", "a", ""),
        ("rpy bar", "a", []),
        ("exn", "i", ""),
        ("exn", "i", 1),
        ("exn", "rp", "nobody"),
        ("exn", "rp", None),
        ("exn", "p", "no digest"),
        ("exn", "p", None),
        ("exn", "q", []),
        ("exn", "a", []),
        ("exn", "a", None),
        ("exn", "a", "no digest"),
        ("exn", "a", AID),
        ("exn", "e", ""),
        ("exn", "e", {"d": "no digest"}),
        ("exn", "e", {"d": 1}),
    ],
)
def test_malformed_field_is_refused(types: str, label: str, value: object) -> None:
    """Every field is checked."""
    for message_type in types.split():
        assert _fault(_changed(message_type, **{label: value})) is ErrorCode.VALUE


@pytest.mark.parametrize("message_type", ROUTED)
def test_changed_content_is_refused(message_type: str) -> None:
    """The digest of a routed message must be that of its content."""
    assert _fault(_changed(message_type, d=DIGEST)) is ErrorCode.SAID


EMBEDS: Body = {"d": "", "acdc": {"v": "ACDC", "list": [1, None, True, "é"]}}


@pytest.mark.parametrize("code", ["E", "H", "0D"])
@pytest.mark.parametrize("written", Kind)
@pytest.mark.parametrize("kind", Kind)
def test_embeds_may_be_addressed(kind: Kind, written: Kind, code: str) -> None:
    """`e.d` is the digest of `e`, as JSON or as the message is serialized; else it is refused."""
    block = dict(EMBEDS)
    addressing.address(block, written, code=code, protocol=None)
    raw = raw_of(_body("exn") | {"e": block}, kind=kind)
    if written in (Kind.JSON, kind):
        message = parsed(raw)
        assert isinstance(message, Exchange)
        assert message.embeds == block
    else:
        assert _fault(raw) is ErrorCode.SAID


def test_changed_embeds_are_refused() -> None:
    """Embedded content that does not fit `e.d` is refused."""
    assert _fault(_changed("exn", e=EMBEDS | {"d": DIGEST})) is ErrorCode.SAID


@pytest.mark.parametrize("message_type", ["vcp", "vrt", "iss", "rev", "bis", "brv"])
def test_registry_events_are_not_verified(message_type: str) -> None:
    """Registry events are known, but not supported."""
    raw = raw_of({"v": "", "t": message_type, "d": ""})
    assert _fault(raw) is ErrorCode.UNSUPPORTED_MESSAGE


@pytest.mark.parametrize("fields", [{"v": "", "d": ""}, {"v": "", "t": "icp", "d": ""}])
def test_credentials_are_not_verified(fields: Body) -> None:
    """Messages of the ACDC protocol are known, but not supported."""
    raw = addressing.address(dict(fields), protocol=Protocol.ACDC)[0]
    assert _fault(raw) is ErrorCode.UNSUPPORTED_MESSAGE


@pytest.mark.parametrize("value", ["", "xyz", 1, None, {"t": "icp"}])
def test_unknown_types_are_refused(value: object) -> None:
    """A message of no known type is refused."""
    assert _fault(raw_of({"v": "", "t": value, "d": ""})) is ErrorCode.MESSAGE_TYPE


def test_message_without_a_type_is_refused() -> None:
    """A field map of KERI without `t` is no message."""
    assert _fault(raw_of({"v": "", "d": ""})) is ErrorCode.MESSAGE_TYPE


EVENT = build.incept(plan(pairs("any", 1), "1"))


def test_key_event_is_a_message() -> None:
    """A key event is read by its field map."""
    assert parsed(EVENT.raw) == EVENT


def test_key_event_may_come_as_a_form() -> None:
    """A key event is read by the pattern that it matched."""
    content = forms.decoder(DEFAULT_LIMITS)(EVENT.raw, Kind.JSON)
    assert not isinstance(content, dict)
    message = Message(Protocol.KERI, Kind.JSON, content, EVENT.raw, (), 0, len(EVENT.raw))
    assert parse_message(message, DEFAULT_LIMITS) == EVENT


def test_framed_event_shows_its_field_map() -> None:
    """The body of a framed message is its field map."""
    assert framed(EVENT.raw).body["i"] == Aid(EVENT.aid)
