"""Usual forms of key events, against the general way of reading them."""

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.cesr import body as bodies
from keystead.cesr.keys import Aid, digest
from keystead.cesr.stream import Message, StreamReader
from keystead.cesr.versions import Kind, Protocol
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import build, forms
from keystead.keri.build import Configuration, Witnesses
from keystead.keri.events import FIELDS, AnyKeyEvent, KeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import parse_message
from keystead.keri.parsing import parse_key_event
from keystead.keri.seals import DigestSeal, EventSeal, Seal
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.suites import Suite
from keystead.testing.authoring import Author, KeyPair, witness
from support.logs import DIGEST, pairs, plan, remade, signatures, state_after, witnessed_by

VECTORS = Path(__file__).parents[2] / "vectors"
WITNESSES = [witness("a"), witness("b"), witness("c")]
SEAL = EventSeal(Aid(DIGEST), 31, DIGEST)


def _by_form(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> AnyKeyEvent | ErrorCode:
    """Read an event as a node does; return it or why it is refused."""
    try:
        content = forms.decoder(limits)(raw, Kind.JSON)
        message = Message(Protocol.KERI, Kind.JSON, content, raw, (), 0, len(raw))
        event = parse_message(message, limits)
    except (DecodeError, VerificationError) as error:
        return error.code
    assert isinstance(event, KeyEvent)
    return event


def _generally(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> AnyKeyEvent | ErrorCode:
    """Read an event without forms; return it or why it is refused."""
    try:
        return parse_key_event(bodies.decode(raw, Kind.JSON, limits), raw, limits)
    except (DecodeError, VerificationError) as error:
        return error.code


def _has_form(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> bool:
    return isinstance(forms.decoder(limits)(raw, Kind.JSON), re.Match)


@cache
def _vector_events() -> tuple[bytes, ...]:
    """Return every key event in JSON of the golden vectors."""
    found: dict[bytes, None] = {}
    for path in sorted(VECTORS.glob("*/*.cesr")):
        reader = StreamReader()
        reader.feed(path.read_bytes())
        reader.close()
        for item in reader:
            if (
                isinstance(item, Message)
                and item.kind is Kind.JSON
                and item.protocol is Protocol.KERI
                and item.body.get("t") in FIELDS
            ):
                found[item.raw] = None
    return tuple(found)


def _authored() -> list[AnyKeyEvent]:
    """Make events of all types, with lists of no, one and several entries."""
    events: list[AnyKeyEvent] = []
    for delegator in (None, Aid(DIGEST)):
        for size in (1, 3):
            first, second, third = (pairs(f"{size} {number}", size) for number in range(3))
            seals: list[Seal] = [SEAL] * size
            inception = build.incept(
                plan(first, f"{size:x}", second, "1"),
                witnessed_by(WITNESSES[:size]),
                configuration=Configuration(("EO", "DND")[: size // 2], delegator),
                anchors=seals[1:],
            )
            state = state_after(inception, signatures(inception, first))
            rotation = build.rotate(
                state,
                plan(second, "1", third, f"{size:x}"),
                Witnesses(1, [WITNESSES[2].aid][: 3 - size], [WITNESSES[0].aid][: 3 - size])
                if size == 1
                else Witnesses(1, (), [one.aid for one in WITNESSES[1:]]),
                anchors=seals,
            )
            last = build.rotate(state, plan(second, "1"), anchors=seals[1:])
            events += [inception, rotation, last]
            if not state.establishment.establishment_only:
                events += [build.interact(state, seals), build.interact(state)]
    return events


def _unusual() -> list[bytes]:
    """Make events that no form fits."""
    curve, seals = KeyPair("curve", Suite.SECP256K1), [DigestSeal(DIGEST)]
    keys = pairs("keys", 2)
    plain = build.incept(plan(keys, "2", keys[:0]))
    return [
        build.incept(plan([curve], "1")).raw,
        build.incept(plan(keys, ["1/2", "1/2"])).raw,
        build.incept(plan(keys, "2"), anchors=seals).raw,
        build.incept(plan(keys, "2"), configuration=Configuration(("eo",))).raw,
        remade(plain, {"n": [digest(b"x", "0D")], "nt": "1"}),
    ]


AUTHORED = _authored()


def test_every_vector_event_reads_alike() -> None:
    """Each key event of the golden vectors is the same event, or refused, both ways."""
    events = _vector_events()
    assert len(events) > 900
    assert sum(map(_has_form, events)) > 500
    for raw in events:
        found, wanted = _by_form(raw), _generally(raw)
        assert found == wanted, raw[:120]


@pytest.mark.parametrize("event", AUTHORED, ids=lambda event: event.message_type)
def test_authored_event_has_a_form(event: AnyKeyEvent) -> None:
    """Events with numeric thresholds, usual keys and event seals are read by form."""
    assert _has_form(event.raw)


@pytest.mark.parametrize("event", AUTHORED, ids=lambda event: event.message_type)
def test_authored_event_reads_alike(event: AnyKeyEvent) -> None:
    """An authored event is equal to itself both ways."""
    assert _by_form(event.raw) == _generally(event.raw) == event


@pytest.mark.parametrize("keys", [1, 3])
def test_log_of_an_author_reads_alike(keys: int) -> None:
    """The log of an author with witnesses reads alike both ways."""
    author = Author("any", keys=keys, witnesses=WITNESSES)
    log = [author.incept(), author.interact(SEAL), author.rotate(), author.rotate(last=True)]
    for signed in log:
        assert _by_form(signed.event.raw) == _generally(signed.event.raw) == signed.event


@pytest.mark.parametrize("raw", _unusual())
def test_unusual_event_takes_the_general_way(raw: bytes) -> None:
    """Other keys, weights, traits, digests and seals have no form and are read all the same."""
    assert not _has_form(raw)
    assert _by_form(raw) == _generally(raw)
    assert not isinstance(_by_form(raw), ErrorCode)


def test_long_event_takes_the_general_way() -> None:
    """An event that may exceed a limit on its lists is read where the limits are checked."""
    raw = build.interact(_state(), [SEAL] * 30).raw
    assert len(raw) > DEFAULT_LIMITS.ordinary_body
    assert not _has_form(raw)
    assert _by_form(raw) == _generally(raw)


def _state() -> KeyState:
    author = Author("any")
    author.incept()
    return author.state


@pytest.mark.parametrize(
    "limits",
    [Limits(depth=2), Limits(anchors=1), Limits(keys=1), Limits(witnesses=1), Limits(members=9)],
)
def test_limits_hold_both_ways(limits: Limits) -> None:
    """No event passes by its form that the general way refuses for its size."""
    for event in AUTHORED:
        assert _by_form(event.raw, limits) == _generally(event.raw, limits)


@pytest.mark.parametrize("kind", [Kind.CBOR, Kind.MGPK])
def test_only_json_has_forms(kind: Kind) -> None:
    """Other serializations take the general way."""
    raw = build.incept(plan(pairs("any", 1), "1"), kind=kind).raw
    assert isinstance(forms.decoder(DEFAULT_LIMITS)(raw, kind), dict)


def test_other_messages_have_no_form() -> None:
    """A message of another type takes the general way."""
    raw = b'{"v":"KERI10JSON000025_","t":"rct"}'
    assert forms.decoder(DEFAULT_LIMITS)(raw, Kind.JSON) == {"v": "KERI10JSON000025_", "t": "rct"}


def _readdressed(raw: bytes, event: AnyKeyEvent) -> bytes:
    """Give changed bytes the digest that fits them, so that the other checks are reached."""
    said = event.said.encode()
    count = 2 if event.sn == 0 and str(event.aid) == event.said else 1
    filled = raw.replace(said, b"#" * 44, count)
    return filled.replace(b"#" * 44, digest(filled).encode(), count)


_PIECES = st.sampled_from(
    [
        b"", b'"', b",", b"0", b"1", b"a", b"A", b"D", b"B", b"E", b"-", b" ", b"[", b"]", b"{",
        b"}", b"\\", b"\xc3\xa9", b"\xff", b"\n", b'""', b'"0"', b'"00"', b"[]", b"{}", b"null",
        b'"k":', b'"EO"', b"1.0", b"\\u0041", AUTHORED[0].said.encode(),
        AUTHORED[0].raw[25:80], WITNESSES[0].aid.encode(), KeyPair("x").aid.encode(),
        b'{"i":"' + DIGEST.encode() + b'","s":"0","d":"' + DIGEST.encode() + b'"}',
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(AUTHORED), st.data())
def test_changed_bytes_read_alike(event: AnyKeyEvent, data: st.DataObject) -> None:
    """After any change of bytes both ways give the same event, or both refuse."""
    raw = event.raw
    start = data.draw(st.integers(0, len(raw) - 1))
    end = start + data.draw(st.sampled_from([0, 1, 1, 1, 2, 44, 47, 60]))
    raw = raw[:start] + data.draw(_PIECES) + raw[end:]
    if data.draw(st.booleans()):
        raw = _readdressed(raw, event)
    found, wanted = _by_form(raw), _generally(raw)
    if isinstance(wanted, ErrorCode):
        assert isinstance(found, ErrorCode)
    else:
        assert found == wanted


_VALUES = re.compile(rb'"[^"]*"|\[[^\]]*\]')


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(AUTHORED), st.sampled_from(AUTHORED), st.data())
def test_exchanged_values_read_alike(
    event: AnyKeyEvent, other: AnyKeyEvent, data: st.DataObject
) -> None:
    """After values of one event are put into another both ways agree."""
    place = data.draw(st.sampled_from([m.span() for m in _VALUES.finditer(event.raw)]))
    value = data.draw(st.sampled_from([m.group() for m in _VALUES.finditer(other.raw)]))
    raw = _readdressed(event.raw[: place[0]] + value + event.raw[place[1] :], event)
    found, wanted = _by_form(raw), _generally(raw)
    if isinstance(wanted, ErrorCode):
        assert isinstance(found, ErrorCode)
    else:
        assert found == wanted
