"""Key events: from a field map to a typed event."""

from typing import Any

import pytest

from keystead.cesr.body import Body
from keystead.cesr.keys import Aid, digest
from keystead.cesr.versions import Kind
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import build
from keystead.keri.build import Configuration, Witnesses
from keystead.keri.events import (
    FIELDS,
    AnyKeyEvent,
    DelegatedInception,
    DelegatedRotation,
    Inception,
    Interaction,
    Rotation,
)
from keystead.keri.keystate import KeyState
from keystead.keri.seals import DigestSeal
from keystead.limits import Limits
from keystead.suites import Suite
from keystead.testing.authoring import KeyPair, witness
from support.logs import (
    DIGEST,
    body_of,
    pairs,
    parse_raw,
    plan,
    raw_of,
    remade,
    signatures,
    state_after,
    witnessed_by,
)

FIRST, SECOND, THIRD = pairs("first", 2), pairs("second", 2), pairs("third", 2)
WITNESSES = [witness("a"), witness("b"), witness("c")]
DELEGATOR = Aid(DIGEST)
TYPES = ("icp", "rot", "ixn", "dip", "drt")


def _events() -> dict[str, AnyKeyEvent]:
    """Make one event of each type."""
    made: dict[str, AnyKeyEvent] = {}
    for inception, rotation, delegator in (("icp", "rot", None), ("dip", "drt", DELEGATOR)):
        made[inception] = build.incept(
            plan(FIRST, "2", SECOND, "1"),
            witnessed_by(WITNESSES[:2], 1),
            configuration=Configuration(("DND", "XY"), delegator),
            anchors=[DigestSeal(DIGEST)],
        )
        state = state_after(made[inception], signatures(made[inception], FIRST))
        made[rotation] = build.rotate(
            state,
            plan(SECOND, "1", THIRD, "2"),
            Witnesses(2, [WITNESSES[2].aid], [WITNESSES[0].aid]),
            anchors=[DigestSeal(DIGEST)],
        )
        if delegator is None:
            made["ixn"] = build.interact(state, [DigestSeal(DIGEST)])
    return made


EVENTS = _events()


def _fault(raw: bytes) -> ErrorCode:
    with pytest.raises((DecodeError, VerificationError)) as caught:
        parse_raw(raw)
    assert isinstance(caught.value, DecodeError | VerificationError)
    return caught.value.code


@pytest.mark.parametrize("message_type", TYPES)
def test_fields_are_in_the_order_of_the_type(message_type: str) -> None:
    """An event of each type has its labels in their order."""
    assert tuple(body_of(EVENTS[message_type])) == FIELDS[message_type]


@pytest.mark.parametrize("message_type", TYPES)
def test_event_is_read_as_it_was_built(message_type: str) -> None:
    """Reading the bytes of an event gives an equal event."""
    event = EVENTS[message_type]
    assert parse_raw(event.raw) == event


@pytest.mark.parametrize(
    ("message_type", "made"),
    [
        ("icp", Inception),
        ("rot", Rotation),
        ("ixn", Interaction),
        ("dip", DelegatedInception),
        ("drt", DelegatedRotation),
    ],
)
def test_type_decides_the_class(message_type: str, made: type[AnyKeyEvent]) -> None:
    """Each message type has a class of its own."""
    event = EVENTS[message_type]
    assert type(event) is made
    assert event.message_type == message_type
    assert event.delegated is (message_type in ("dip", "drt"))


def test_inception_has_its_values() -> None:
    """Every field of an inception is an attribute."""
    event = EVENTS["icp"]
    assert isinstance(event, Inception)
    assert str(event.aid) == event.said
    assert event.sn == 0
    assert event.prior_said is None
    assert event.signing_threshold.number == 2
    assert [key.text for key in event.signing_keys] == [pair.aid for pair in FIRST]
    assert event.next_threshold.number == 1
    assert list(event.next_key_digests) == [build.commitment(pair.key) for pair in SECOND]
    assert event.witness_threshold == 1
    assert event.witnesses == tuple(one.aid for one in WITNESSES[:2])
    assert event.configuration_traits == ("DND", "XY")
    assert event.anchors == (DigestSeal(DIGEST),)


def test_delegated_inception_names_its_delegator() -> None:
    """A delegated inception has a delegator besides."""
    event = EVENTS["dip"]
    assert isinstance(event, DelegatedInception)
    assert event.delegator == DELEGATOR


def test_rotation_has_its_values() -> None:
    """Every field of a rotation is an attribute."""
    event, before = EVENTS["rot"], EVENTS["icp"]
    assert isinstance(event, Rotation)
    assert (event.aid, event.sn, event.prior_said) == (before.aid, 1, before.said)
    assert event.signing_threshold.number == 1
    assert [key.text for key in event.signing_keys] == [pair.aid for pair in SECOND]
    assert event.next_threshold.number == 2
    assert event.witness_threshold == 2
    assert event.witnesses_removed == (WITNESSES[0].aid,)
    assert event.witnesses_added == (WITNESSES[2].aid,)


def test_interaction_has_its_values() -> None:
    """Every field of an interaction is an attribute."""
    event, before = EVENTS["ixn"], EVENTS["icp"]
    assert isinstance(event, Interaction)
    assert (event.aid, event.sn, event.prior_said) == (before.aid, 1, before.said)
    assert event.anchors == (DigestSeal(DIGEST),)


@pytest.mark.parametrize("kind", Kind)
def test_event_may_have_any_serialization(kind: Kind) -> None:
    """JSON, CBOR and MessagePack carry the same event."""
    event = build.incept(plan(FIRST, "2", SECOND, "2"), kind=kind)
    assert parse_raw(event.raw, kind=kind) == event


@pytest.mark.parametrize("message_type", TYPES)
@pytest.mark.parametrize("change", ["drop", "add", "swap"])
def test_other_labels_are_refused(message_type: str, change: str) -> None:
    """A missing, a further and a misplaced label are refused."""
    fields = list(body_of(EVENTS[message_type]).items())
    if change == "drop":
        del fields[-1]
    elif change == "add":
        fields.append(("x", ""))
    else:
        fields[-1], fields[-2] = fields[-2], fields[-1]
    assert _fault(raw_of(dict(fields), labels=())) is ErrorCode.FIELDS


@pytest.mark.parametrize("message_type", ["", "rct", "xyz", 1, None])
def test_other_types_are_no_key_events(message_type: object) -> None:
    """A map of another type is no key event."""
    assert _fault(remade(EVENTS["icp"], {"t": message_type})) is ErrorCode.MESSAGE_TYPE


MALFORMED: list[tuple[str, str, Any, ErrorCode]] = [
    # types, label, value, code
    ("icp rot ixn dip drt", "d", 1, ErrorCode.VALUE),
    ("icp rot ixn dip drt", "d", "E" * 43, ErrorCode.VALUE),
    ("icp rot ixn dip drt", "i", None, ErrorCode.VALUE),
    ("icp rot ixn dip drt", "i", "nobody", ErrorCode.VALUE),
    ("icp rot ixn dip drt", "s", 0, ErrorCode.VALUE),
    ("icp rot ixn dip drt", "s", "01", ErrorCode.VALUE),
    ("icp rot ixn dip drt", "s", "-1", ErrorCode.VALUE),
    ("icp rot ixn dip drt", "s", "A", ErrorCode.VALUE),
    ("icp rot ixn dip drt", "s", "1" + "0" * 32, ErrorCode.VALUE),
    ("rot ixn drt", "p", "", ErrorCode.VALUE),
    ("rot ixn drt", "p", KeyPair("x").aid, ErrorCode.VALUE),
    ("icp rot dip drt", "kt", 1, ErrorCode.VALUE),
    ("icp rot dip drt", "kt", "x", ErrorCode.VALUE),
    ("icp rot dip drt", "kt", "0", ErrorCode.THRESHOLD),
    ("icp rot dip drt", "kt", "3", ErrorCode.THRESHOLD),
    ("icp rot dip drt", "k", "x", ErrorCode.VALUE),
    ("icp rot dip drt", "k", [1], ErrorCode.VALUE),
    ("icp rot dip drt", "k", [DIGEST, DIGEST], ErrorCode.VALUE),
    ("icp rot dip drt", "k", [], ErrorCode.THRESHOLD),
    ("icp rot dip drt", "k", [KeyPair("x").aid] * 257, ErrorCode.LIMIT),
    ("icp rot dip drt", "nt", None, ErrorCode.VALUE),
    ("icp rot dip drt", "nt", "0", ErrorCode.THRESHOLD),
    ("icp rot dip drt", "nt", "3", ErrorCode.THRESHOLD),
    ("icp rot dip drt", "n", {}, ErrorCode.VALUE),
    ("icp rot dip drt", "n", [KeyPair("x").aid] * 2, ErrorCode.VALUE),
    ("icp rot dip drt", "n", [None, None], ErrorCode.VALUE),
    ("icp rot dip drt", "n", [DIGEST] * 257, ErrorCode.LIMIT),
    ("icp rot dip drt", "bt", 1, ErrorCode.VALUE),
    ("icp rot dip drt", "bt", "-1", ErrorCode.VALUE),
    ("icp dip", "bt", "3", ErrorCode.WITNESSES),
    ("icp dip", "b", "x", ErrorCode.VALUE),
    ("icp dip", "b", [DIGEST], ErrorCode.VALUE),
    ("icp dip", "b", [], ErrorCode.WITNESSES),
    ("icp dip", "b", [KeyPair("x").aid], ErrorCode.WITNESSES),
    ("icp dip", "b", [WITNESSES[0].aid] * 2, ErrorCode.WITNESSES),
    ("icp dip", "b", [WITNESSES[0].aid] * 65, ErrorCode.LIMIT),
    ("rot drt", "br", None, ErrorCode.VALUE),
    ("rot drt", "br", [DIGEST], ErrorCode.VALUE),
    ("rot drt", "br", [KeyPair("x").aid], ErrorCode.WITNESSES),
    ("rot drt", "br", [WITNESSES[0].aid] * 2, ErrorCode.WITNESSES),
    ("rot drt", "br", [WITNESSES[0].aid] * 65, ErrorCode.LIMIT),
    ("rot drt", "ba", 0, ErrorCode.VALUE),
    ("rot drt", "ba", [7], ErrorCode.VALUE),
    ("rot drt", "ba", [KeyPair("x").aid], ErrorCode.WITNESSES),
    ("rot drt", "ba", [WITNESSES[0].aid] * 2, ErrorCode.WITNESSES),
    ("rot drt", "ba", [WITNESSES[0].aid] * 65, ErrorCode.LIMIT),
    ("icp dip", "c", "EO", ErrorCode.VALUE),
    ("icp dip", "c", [1], ErrorCode.VALUE),
    ("icp dip", "c", ["EO"] * 257, ErrorCode.LIMIT),
    ("icp rot ixn dip drt", "a", {}, ErrorCode.VALUE),
    ("icp rot ixn dip drt", "a", [{}] * 1025, ErrorCode.LIMIT),
    ("dip", "di", "", ErrorCode.VALUE),
    ("dip", "di", 1, ErrorCode.VALUE),
    ("icp dip", "s", "1", ErrorCode.SEQUENCE),
    ("rot ixn drt", "s", "0", ErrorCode.SEQUENCE),
]


@pytest.mark.parametrize(
    ("message_type", "label", "value", "code"),
    [
        (message_type, label, value, code)
        for types, label, value, code in MALFORMED
        for message_type in types.split()
    ],
)
def test_malformed_field_is_refused(
    message_type: str, label: str, value: object, code: ErrorCode
) -> None:
    """Every field is checked, under a digest that fits the changed content."""
    assert _fault(remade(EVENTS[message_type], {label: value})) is code


@pytest.mark.parametrize(
    ("limits", "label"),
    [
        (Limits(keys=1), "k"),
        (Limits(witnesses=1), "b"),
        (Limits(anchors=0), "a"),
    ],
)
def test_limits_are_those_given(limits: Limits, label: str) -> None:
    """Lists are bounded by the limits of the caller."""
    with pytest.raises(DecodeError, match=f"^{label} ") as caught:
        parse_raw(EVENTS["icp"].raw, limits)
    assert caught.value.code is ErrorCode.LIMIT


@pytest.mark.parametrize("message_type", TYPES)
def test_changed_content_is_refused(message_type: str) -> None:
    """The digest must be that of the content."""
    body = body_of(EVENTS[message_type]) | {"a": []}
    assert _fault(raw_of(body, labels=())) is ErrorCode.SAID


@pytest.mark.parametrize("message_type", ["icp", "dip"])
def test_identifier_must_be_derived_from_the_inception(message_type: str) -> None:
    """An identifier that is a digest is a digest of its inception."""
    raw = remade(EVENTS[message_type], {"i": DIGEST})
    assert _fault(raw) is ErrorCode.SAID


def test_identifier_may_use_another_algorithm() -> None:
    """The identifier and `d` may be digests of different algorithms over the same bytes."""
    body = body_of(EVENTS["icp"]) | {"d": "#" * 44, "i": "#" * 44}
    filled = raw_of(body, labels=())
    body |= {"d": digest(filled, "E"), "i": digest(filled, "H")}
    event = parse_raw(raw_of(body, labels=()))
    assert event.said.startswith("E")
    assert event.aid.startswith("H")


def test_second_digest_must_match_too() -> None:
    """An identifier in another algorithm is checked as well as `d`."""
    body = body_of(EVENTS["icp"]) | {"d": "#" * 44, "i": "#" * 44}
    filled = raw_of(body, labels=())
    body |= {"d": digest(filled, "E"), "i": digest(filled + b"x", "H")}
    assert _fault(raw_of(body, labels=())) is ErrorCode.SAID


BASIC = build.incept(plan(FIRST[:1], "1", SECOND, "1"), configuration=Configuration(basic=True))
FIXED_KEY = KeyPair("fixed", transferable=False)
FIXED = build.incept(plan([FIXED_KEY], "1"), configuration=Configuration(basic=True))


def test_basic_identifier_is_its_key() -> None:
    """A basic identifier is its only key, with next keys if it is transferable."""
    assert parse_raw(BASIC.raw).aid == FIRST[0].aid


def test_fixed_identifier_is_its_key() -> None:
    """A non-transferable identifier is its only key and has no next keys."""
    assert parse_raw(FIXED.raw).aid == FIXED_KEY.aid


def test_basic_identifier_may_be_of_any_suite() -> None:
    """An ECDSA key can be an identifier too."""
    pair = KeyPair("curve", Suite.SECP256R1)
    event = build.incept(plan([pair], "1", SECOND, "1"), configuration=Configuration(basic=True))
    assert parse_raw(event.raw).aid == pair.aid


@pytest.mark.parametrize(
    ("event", "changes", "code"),
    [
        (BASIC, {"i": SECOND[0].aid}, ErrorCode.PREFIX),
        (BASIC, {"k": [pair.aid for pair in FIRST]}, ErrorCode.PREFIX),
        (BASIC, {"k": [FIRST[0].aid] * 2}, ErrorCode.PREFIX),
        (BASIC, {"kt": ["1"]}, ErrorCode.PREFIX),
        (FIXED, {"nt": "1", "n": [DIGEST]}, ErrorCode.NON_TRANSFERABLE),
        (FIXED, {"b": [WITNESSES[0].aid]}, ErrorCode.NON_TRANSFERABLE),
        (FIXED, {"a": [{"d": DIGEST}]}, ErrorCode.NON_TRANSFERABLE),
    ],
)
def test_basic_identifier_has_no_other_content(
    event: AnyKeyEvent, changes: Body, code: ErrorCode
) -> None:
    """A basic identifier has one key, threshold 1, and nothing more if it cannot change."""
    assert _fault(remade(event, changes)) is code


@pytest.mark.parametrize("key", [FIRST[0].aid, FIXED_KEY.aid])
def test_delegated_identifier_is_no_key(key: Aid) -> None:
    """A delegated identifier must be a digest of its inception."""
    assert _fault(remade(EVENTS["dip"], {"i": key})) is ErrorCode.PREFIX


@pytest.mark.parametrize(
    ("threshold", "reachable"),
    [("1", True), ("2", False), (["1/2", "1/2"], False), (["1", "0"], True)],
)
@pytest.mark.parametrize(("keys", "over"), [("k", "kt"), ("n", "nt")])
def test_key_listed_twice_counts_once(
    threshold: object, keys: str, over: str, *, reachable: bool
) -> None:
    """A threshold must be reachable with the distinct keys, at the first place of each."""
    entry = FIRST[0].aid if keys == "k" else DIGEST
    raw = remade(EVENTS["icp"], {keys: [entry, entry], over: threshold})
    if reachable:
        assert parse_raw(raw).raw == raw
    else:
        assert _fault(raw) is ErrorCode.THRESHOLD


def test_log_may_end() -> None:
    """An event without next keys has the next threshold 0."""
    state = _last_state()
    assert state.establishment.next_threshold.number == 0
    assert not state.establishment.transferable


def _last_state() -> KeyState:
    event = build.incept(plan(FIRST, "2"))
    return state_after(event, signatures(event, FIRST))


def test_inception_without_witnesses_needs_no_receipts() -> None:
    """Without witnesses the threshold of receipts is zero."""
    raw = remade(EVENTS["icp"], {"b": [], "bt": "0"})
    event = parse_raw(raw)
    assert isinstance(event, Inception)
    assert (event.witnesses, event.witness_threshold) == ((), 0)


def test_witness_may_leave_and_come_again() -> None:
    """The lists of one rotation may name the same witness: it leaves first."""
    changes = {"br": [WITNESSES[0].aid], "ba": [WITNESSES[0].aid]}
    event = parse_raw(remade(EVENTS["rot"], changes))
    assert isinstance(event, Rotation)
    assert event.witnesses_removed == event.witnesses_added
