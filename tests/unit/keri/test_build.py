"""Builders of events and messages."""

from typing import Any

import pytest

from keystead.cesr import said as addressing
from keystead.cesr.keys import Aid, digest
from keystead.cesr.versions import Kind, Protocol
from keystead.errors import ErrorCode, UsageError
from keystead.keri import build
from keystead.keri.build import Configuration, Keys, Witnesses
from keystead.keri.keystate import KeyState
from keystead.keri.messages import FIELDS, Receipt
from keystead.keri.seals import DigestSeal, EventSeal, OtherData, Seal
from keystead.testing.authoring import KeyPair, witness
from support.logs import (
    DIGEST,
    STAMP,
    body_of,
    framed,
    pairs,
    parsed,
    plan,
    signatures,
    state_after,
    witnessed_by,
)

FIRST, SECOND, THIRD = pairs("first", 2), pairs("second", 2), pairs("third", 2)
WITNESSES = [witness("a"), witness("b")]
A, B = (one.aid for one in WITNESSES)
C = witness("c").aid
PLAN = plan(FIRST, "2", SECOND, "1")
SEALS: list[Seal] = [DigestSeal(DIGEST), EventSeal(Aid(DIGEST), 1, DIGEST), OtherData('{"x":[1]}')]


def _state(configuration: Configuration = build.PLAIN, *, last: bool = False) -> KeyState:
    keys = plan(FIRST, "2") if last else PLAN
    event = build.incept(keys, witnessed_by(WITNESSES), configuration=configuration)
    return state_after(event, signatures(event, FIRST))


STATE = _state()


def test_commitment_is_a_digest_of_the_key() -> None:
    """A key is committed to by the digest of its text."""
    key = FIRST[0].key
    assert build.commitment(key) == digest(key.text.encode(), "E")


def test_inception_holds_what_was_planned() -> None:
    """Every part of the plan is in its field."""
    event = build.incept(
        PLAN, witnessed_by(WITNESSES), configuration=Configuration(("EO",)), anchors=SEALS
    )
    body = body_of(event)
    assert body["i"] == body["d"] == event.said
    assert {label: body[label] for label in ("t", "s", "kt", "nt", "bt", "b", "c")} == {
        "t": "icp", "s": "0", "kt": "2", "nt": "1", "bt": "2", "b": [A, B], "c": ["EO"],
    }  # fmt: skip
    assert body["k"] == [pair.aid for pair in FIRST]
    assert body["n"] == [build.commitment(pair.key) for pair in SECOND]
    assert body["a"] == [
        {"d": DIGEST}, {"i": DIGEST, "s": "1", "d": DIGEST}, {"x": [1]},
    ]  # fmt: skip


def test_default_inception_has_no_witnesses_and_may_end() -> None:
    """By default there are no witnesses, traits, seals and next keys."""
    body = body_of(build.incept(plan(FIRST, "1")))
    assert {label: body[label] for label in ("nt", "n", "bt", "b", "c", "a")} == {
        "nt": "0", "n": [], "bt": "0", "b": [], "c": [], "a": [],
    }  # fmt: skip


def test_weights_may_be_planned() -> None:
    """Thresholds may be lists of weights."""
    event = build.incept(plan(FIRST, ["1/2", "1/2"], SECOND, [["1", "0"]]))
    assert (body_of(event)["kt"], body_of(event)["nt"]) == (["1/2", "1/2"], [["1", "0"]])


def test_delegated_inception_names_its_delegator() -> None:
    """With a delegator the inception is delegated."""
    body = body_of(build.incept(PLAN, configuration=Configuration(delegator=Aid(DIGEST))))
    assert (body["t"], body["di"]) == ("dip", DIGEST)


@pytest.mark.parametrize("kind", Kind)
def test_events_may_have_any_serialization(kind: Kind) -> None:
    """The serialization of each event can be chosen."""
    state = STATE
    events = [
        build.incept(PLAN, kind=kind),
        build.rotate(state, plan(SECOND, "1"), kind=kind),
        build.interact(state, kind=kind),
    ]
    for event in events:
        assert framed(event.raw).kind is kind


def test_rotation_follows_its_state() -> None:
    """A rotation comes behind the event of the state; the witnesses stay by default."""
    event = build.rotate(STATE, plan(SECOND, "1", THIRD, "2"), anchors=SEALS[:1])
    body = body_of(event)
    assert {label: body[label] for label in ("t", "i", "s", "p", "bt", "br", "ba", "a")} == {
        "t": "rot", "i": STATE.aid, "s": "1", "p": STATE.said, "bt": "2", "br": [], "ba": [],
        "a": [{"d": DIGEST}],
    }  # fmt: skip


def test_rotation_may_change_the_witnesses() -> None:
    """Removed and added witnesses and the threshold are those asked for."""
    body = body_of(build.rotate(STATE, plan(SECOND, "1"), Witnesses(1, [C], [A])))
    assert (body["bt"], body["br"], body["ba"]) == ("1", [A], [C])


def test_rotation_of_a_delegate_is_delegated() -> None:
    """A delegated identifier gets delegated rotations."""
    state = _state(Configuration(delegator=Aid(DIGEST)))
    assert build.rotate(state, plan(SECOND, "1")).message_type == "drt"


def test_interaction_follows_its_state() -> None:
    """An interaction comes behind the event of the state and anchors seals."""
    body = body_of(build.interact(STATE, SEALS[:1]))
    assert {label: body[label] for label in ("t", "i", "s", "p", "a")} == {
        "t": "ixn", "i": STATE.aid, "s": "1", "p": STATE.said, "a": [{"d": DIGEST}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        plan([], "1"),
        plan([FIRST[0], FIRST[0]], "1"),
        plan(FIRST, "1", [SECOND[0], SECOND[0]], "1"),
        plan(FIRST, "1", [FIRST[1]], "1"),
        plan(FIRST, "3"),
        plan(FIRST, "0"),
        plan(FIRST, "x"),
        plan(FIRST, ["1/2"]),
        plan(FIRST, "1", SECOND, "0"),
        plan(FIRST, "1", SECOND, "3"),
        plan(FIRST, "1", [], "1"),
        Keys([FIRST[0].key], "1", [digest(FIRST[0].key.text.encode(), "H")], "1"),
        plan(pairs("many", 257), "1"),
    ],
    ids=[
        "no key",
        "key twice",
        "next key twice",
        "next key in use",
        "too high",
        "zero",
        "no threshold",
        "too few weights",
        "next zero",
        "next too high",
        "next without keys",
        "next key in use, other algorithm",
        "too many",
    ],
)
def test_unsafe_keys_are_refused(keys: Keys) -> None:
    """Keys and thresholds that make no safe event are refused in every establishment event."""
    with pytest.raises(UsageError) as caught:
        build.incept(keys)
    assert caught.value.code is ErrorCode.ARGUMENT
    with pytest.raises(UsageError):
        build.rotate(STATE, keys)


@pytest.mark.parametrize(
    "witnesses",
    [
        Witnesses(1, [A], [B]),
        Witnesses(0, [A, B]),
        Witnesses(3, [A, B]),
        Witnesses(-1, [A, B]),
        Witnesses(1),
        Witnesses(-1),
        Witnesses(1, [A, A]),
        Witnesses(1, [FIRST[0].aid]),
        Witnesses(1, [Aid(DIGEST)]),
    ],
    ids=[
        "removal", "zero", "too high", "negative", "none", "none and negative", "twice",
        "transferable", "no key",
    ],
)  # fmt: skip
def test_unsafe_witnesses_are_refused(witnesses: Witnesses) -> None:
    """An inception lists distinct fixed keys with a threshold from one to all of them."""
    with pytest.raises(UsageError) as caught:
        build.incept(PLAN, witnesses)
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize(
    "change",
    [
        Witnesses(1, [], [C]),
        Witnesses(1, [], [A, A]),
        Witnesses(1, [A]),
        Witnesses(1, [C, C]),
        Witnesses(0),
        Witnesses(3),
        Witnesses(2, [], [A]),
        Witnesses(1, [], [A, B]),
        Witnesses(64, [witness(f"{number}").aid for number in range(63)]),
    ],
    ids=[
        "no witness", "removed twice", "witness already", "added twice", "zero", "too high",
        "too high after removal", "nobody left", "too many",
    ],
)  # fmt: skip
def test_unsafe_change_of_witnesses_is_refused(change: Witnesses) -> None:
    """A rotation removes witnesses, adds others, and keeps a threshold they can meet."""
    with pytest.raises(UsageError) as caught:
        build.rotate(STATE, plan(SECOND, "1"), change)
    assert caught.value.code is ErrorCode.ARGUMENT


def test_all_witnesses_may_leave() -> None:
    """Without witnesses the threshold is zero."""
    body = body_of(build.rotate(STATE, plan(SECOND, "1"), Witnesses(0, [], [A, B])))
    assert (body["bt"], body["br"]) == ("0", [A, B])


def test_current_key_is_no_next_key() -> None:
    """A rotation does not commit to a key that the identifier uses now."""
    with pytest.raises(UsageError, match="in use already"):
        build.rotate(STATE, plan(SECOND, "1", [FIRST[0]], "1"))


def test_ended_log_cannot_rotate() -> None:
    """Without next keys there is no rotation."""
    with pytest.raises(UsageError) as caught:
        build.rotate(_state(last=True), plan(SECOND, "1"))
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize(
    "state", [_state(last=True), _state(Configuration(("EO",)))], ids=["ended", "EO"]
)
def test_interaction_may_not_be_allowed(state: KeyState) -> None:
    """A log that has ended, or is establishment-only, has no interactions."""
    with pytest.raises(UsageError) as caught:
        build.interact(state)
    assert caught.value.code is ErrorCode.ARGUMENT


FIXED = KeyPair("fixed", transferable=False)


def test_basic_identifier_is_its_key() -> None:
    """A basic identifier is the only key of its inception."""
    event = build.incept(plan([FIXED], "1"), configuration=Configuration(basic=True))
    assert event.aid == FIXED.aid
    assert str(event.aid) != event.said


@pytest.mark.parametrize(
    ("keys", "configuration"),
    [
        (plan([], "1"), Configuration(basic=True)),
        (PLAN, Configuration(basic=True)),
        (plan([FIXED], "1", SECOND, "1"), Configuration(basic=True)),
        (plan(FIRST[:1], "1"), Configuration(basic=True, delegator=Aid(DIGEST))),
        (PLAN, Configuration(delegator=Aid("nobody"))),
    ],
    ids=["no key", "two keys", "next keys", "delegated", "no delegator"],
)
def test_unsafe_configuration_is_refused(keys: Keys, configuration: Configuration) -> None:
    """A configuration that the protocol does not allow is refused."""
    with pytest.raises(UsageError) as caught:
        build.incept(keys, configuration=configuration)
    assert caught.value.code is ErrorCode.ARGUMENT


def test_too_many_seals_are_refused() -> None:
    """An event that others would refuse for its size is not made."""
    with pytest.raises(UsageError) as caught:
        build.interact(STATE, [DigestSeal(DIGEST)] * 1025)
    assert caught.value.code is ErrorCode.ARGUMENT


def test_too_large_event_is_refused() -> None:
    """An event larger than a reader takes is not made."""
    with pytest.raises(UsageError) as caught:
        build.interact(STATE, [OtherData(f'"{"x" * 300_000}"')])
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize("sn", [0, 9, 0xABC, 1 << 64])
def test_receipt_in_json_is_as_any_other_message(sn: int) -> None:
    """The short way to write a receipt gives what the general one does."""
    fields = {"v": "", "t": "rct", "d": STATE.said, "i": STATE.aid, "s": f"{sn:x}"}
    general = addressing.serialize(fields, Kind.JSON, Protocol.KERI)
    assert build.receipt(Receipt(STATE.aid, sn, STATE.said)) == general


def test_receipt_names_the_event() -> None:
    """The body of a receipt is read back as the receipt."""
    receipted = Receipt(STATE.aid, 31, STATE.said)
    assert parsed(build.receipt(receipted)) == receipted


@pytest.mark.parametrize("kind", Kind)
def test_receipt_may_have_any_serialization(kind: Kind) -> None:
    """The serialization of a receipt can be chosen."""
    raw = build.receipt(Receipt(STATE.aid, 0, STATE.said), kind=kind)
    assert framed(raw).kind is kind


VALUES: dict[str, dict[str, Any]] = {
    "qry": {"q": {}, "rr": "", "r": "logs", "dt": STAMP},
    "pro": {"q": {}, "rr": "", "r": "logs", "dt": STAMP},
    "rpy": {"a": {}, "r": "/x", "dt": STAMP},
    "bar": {"a": {}, "r": "/x", "dt": STAMP},
    "exn": {
        "e": {}, "a": {}, "q": {}, "r": "/x", "dt": STAMP, "p": "", "rp": "", "i": STATE.aid
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("message_type", VALUES)
def test_routed_message_has_its_fields_in_order(message_type: str, kind: Kind) -> None:
    """Values in any order make a message with the fields in theirs, under its digest."""
    raw, said = build.routed(message_type, VALUES[message_type], kind=kind)
    message = framed(raw)
    assert message.kind is kind
    assert tuple(message.body) == FIELDS[message_type]
    assert message.body["d"] == said
    assert parsed(raw).message_type == message_type


@pytest.mark.parametrize(
    ("message_type", "values"),
    [
        ("qry", VALUES["rpy"]),
        ("rpy", {**VALUES["rpy"], "x": ""}),
        ("exn", {}),
        ("rct", {"i": STATE.aid, "s": "0"}),
        ("icp", {}),
        ("xyz", {}),
    ],
)
def test_other_messages_are_refused(message_type: str, values: dict[str, Any]) -> None:
    """Only routed messages with exactly their fields are made."""
    with pytest.raises(UsageError) as caught:
        build.routed(message_type, values)
    assert caught.value.code is ErrorCode.ARGUMENT
