"""Keystead accepts every log that keri's own controllers make, and reads the same key state."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.cesr import indexed
from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Aid, Said
from keystead.keri.seals import EventSeal
from keystead.keri.thresholds import Field
from keystead.keri.verdicts import Accepted, Duplicate
from keystead.owner.documents import DocumentSignature, statement, write_signature
from keystead.owner.standing import Standing
from support.commands import keystead
from support.documents import DIGEST, judged_by
from support.logs import Node
from support.peer import Peer, PeerView, assert_same

pytestmark = [pytest.mark.interop, pytest.mark.checkout]

Steps = list[dict[str, Any]]

HISTORIES = 200
_THIRDS = ["1/3", "1/3", "1/3"]
_HALVES = ["1/2", "1/2", "1/2"]
_NESTED = [{"1/2": ["1/2", "1/2"]}, "1/2"]
_SEALS = [{"d": "text"}, {"i": "x", "s": "1"}, "text", ["\u0416", 1, None, {"": 0.5}]]
ED25519, P256, SECP256K1 = "A", "Q", "J"  # keri's codes of seeds


def _make(name: str, **options: object) -> dict[str, Any]:
    return {"do": "make", "name": name, **options}


def _rotate(name: str, **options: object) -> dict[str, Any]:
    return {"do": "rotate", "name": name, **options}


def _interact(name: str, data: object = ()) -> dict[str, Any]:
    return {"do": "interact", "name": name, "data": data}


def _approve(name: str, delegate: str, by: str = "interact") -> dict[str, Any]:
    return {"do": "approve", "name": name, "delegate": delegate, "by": by}


def _expose(name: str, places: list[int], **options: object) -> dict[str, Any]:
    return {"do": "expose", "name": name, "places": places, "ncode": ED25519, **options}


_CUSTODIAL = ["1", "1/2", "1/2"]  # one key that is used, two in reserve
SCENES: dict[str, Steps] = {
    "single": [_make("a"), _interact("a", _SEALS), _rotate("a", data=_SEALS), _interact("a")],
    "keys": [
        _make("a", icount=3, isith="2", ncount=2, nsith="2"),
        _rotate("a", ncount=5, nsith="3"),
        _interact("a"),
        _rotate("a", ncount=1, nsith="1"),
        _rotate("a"),
    ],
    "many-keys": [_make("a", icount=70, isith="2f"), _rotate("a", ncount=65), _rotate("a")],
    "weights": [
        _make("a", icount=3, isith=_HALVES, ncount=6, nsith=[_HALVES, ["1", "1", "0"]]),
        _rotate("a", ncount=3, nsith=_NESTED),
        _interact("a"),
        _rotate("a", ncount=3, nsith=_THIRDS),
        _rotate("a"),
    ],
    "p256": [_make("a", icode=P256, icount=2), _interact("a"), _rotate("a"), _interact("a")],
    "secp256k1": [_make("a", icode=SECP256K1), _interact("a"), _rotate("a")],
    "suites": [
        _make("a", icode=P256, ncount=2),
        _expose("a", [0, 1], isith="2", nsith="1", ncount=1, ncode=SECP256K1),
        _expose("a", [0], isith="1", nsith="1", ncount=1, ncode=P256),
        _expose("a", [0], isith="1", nsith="1", ncount=1),
        _rotate("a"),
    ],
    "traits": [_make("a", estOnly=True, DnD=True), _rotate("a", data=_SEALS), _rotate("a")],
    "fixed": [_make("a", transferable=False)],
    "fixed-p256": [_make("a", transferable=False, icode=P256)],
    "abandoned": [_make("a", icount=2), _interact("a"), _rotate("a", ncount=0, nsith="0")],
    "reserves": [
        _make("a", icount=1, ncount=3, nsith=_CUSTODIAL),
        _expose("a", [0], isith="1", nsith=_CUSTODIAL, ncount=1),
        _interact("a"),
        _expose("a", [2, 1], isith="2", nsith=["1", "1"], ncount=1),
        _expose("a", [1], isith="1", nsith="2", ncount=2),
        _rotate("a"),
    ],
    "delegated": [
        _make("head", icount=2),
        _make("arm", delegator="head", icount=3, isith=_HALVES),
        _approve("head", "arm"),
        _interact("arm"),
        _rotate("arm"),
        _approve("head", "arm", by="rotate"),
        _rotate("arm", ncount=0, nsith="0"),
        _approve("head", "arm"),
    ],
    "delegated-twice": [
        _make("head", estOnly=True),
        _make("arm", delegator="head"),
        _approve("head", "arm", by="rotate"),
        _make("hand", delegator="arm"),
        _approve("arm", "hand"),
        _rotate("hand"),
        _rotate("arm"),
        _approve("head", "arm", by="rotate"),
        _approve("arm", "hand"),
        _interact("hand", _SEALS),
    ],
}


def _read(view: PeerView) -> Node:
    """Feed all logs that keri made to a node, which must take every event."""
    assert view.faults == []
    node = Node()
    for name in view.logs:
        for result in node.results(view.stream(name)):
            # The log of a delegator comes with that of each delegate.
            assert isinstance(result.verdict, Accepted | Duplicate), result.verdict
    aids = [Aid(log["aid"]) for log in view.logs.values()]
    assert_same(node.store, view.by_aid, aids)
    return node


@pytest.mark.parametrize("scene", SCENES)
def test_a_log_of_keri_is_accepted(scene: str, peer: Peer) -> None:
    """Whatever keri's controllers make, a node takes every event of it."""
    _read(peer.author(SCENES[scene]))


@pytest.mark.parametrize("scene", SCENES)
def test_the_command_verifies_logs_of_keri(scene: str, peer: Peer) -> None:
    """`keystead log verify` ends with 0, and tells the key states that keri has."""
    view = peer.author(SCENES[scene])
    done = keystead("log", "verify", "--json", "-", stdin=b"".join(map(view.stream, view.logs)))
    assert done.returncode == 0, done.stdout
    found = {log["aid"]: log["state"] for log in json.loads(done.stdout)["identifiers"]}
    assert set(found) == {log["aid"] for log in view.logs.values()}
    for log in view.logs.values():
        ours, theirs = found[log["aid"]], log["state"]
        assert (ours["sn"], ours["said"]) == (theirs["s"], theirs["d"])
        assert (ours["signing_keys"], ours["next_key_digests"]) == (theirs["k"], theirs["n"])
        assert ours["delegator"] == (theirs["di"] or None)
        assert ours["configuration_traits"] == theirs["c"]


def test_a_changed_log_of_keri_is_refused(peer: Peer) -> None:
    """A log of keri with one changed character is not taken for the same log."""
    view = peer.author(SCENES["keys"])
    node = Node()
    node.results(view.stream("a").replace(b'"s":"2"', b'"s":"3"'))
    with pytest.raises(AssertionError):
        assert_same(node.store, view.by_aid, [Aid(view.logs["a"]["aid"])])


@pytest.mark.parametrize("scene", ["keys", "p256", "reserves", "weights", "delegated-twice"])
def test_signatures_of_keri_are_good(scene: str, peer: Peer) -> None:
    """A detached signature whose signatures keri made is valid under the current keys."""
    steps = SCENES[scene]
    name = steps[-1]["name"]
    state = peer.author(steps).logs[name]["state"]
    seal = EventSeal(Aid(state["i"]), int(state["ee"]["s"], 16), Said(state["ee"]["d"]))
    text = statement(DIGEST, seal).decode("ascii")
    view = peer.author([*steps, {"do": "sign", "name": name, "text": text}])
    signatures = tuple(indexed.read_text(one.encode())[0] for one in view.signed[0])
    group = SignatureGroup(seal.aid, seal.sn, seal.said, signatures)
    node = _read(view)
    verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
    assert (verdict.valid, verdict.standing) == (True, Standing.CURRENT)


def test_histories_of_keri_are_accepted(peer: Peer) -> None:
    """Random histories by keri's controllers lead to logs that a node takes."""
    lengths: list[int] = []

    @settings(max_examples=HISTORIES, deadline=None)
    @given(_histories())
    def compare(steps: Steps) -> None:
        view = peer.author(steps)
        _read(view)
        lengths.append(sum(len(log["first_seen"]) for log in view.logs.values()))

    compare()
    assert sum(lengths) > 3 * len(lengths)


@st.composite
def _histories(draw: st.DrawFn) -> Steps:
    """Draw what an identifier goes through, and perhaps its delegator."""
    keys, following = draw(_COUNTS), draw(_COUNTS)
    threshold, needed = draw(_thresholds(following))
    made = _make(
        "arm",
        icount=keys,
        isith=draw(_thresholds(keys))[0],
        ncount=following,
        nsith=threshold,
        icode=draw(st.sampled_from((ED25519, P256, SECP256K1))),
        estOnly=draw(st.booleans()),
        DnD=draw(st.booleans()),
    )
    steps, approval = [made], []
    if draw(st.booleans()):
        made["delegator"] = "head"
        only = draw(st.booleans())
        approval = [_approve("head", "arm", "rotate" if only else "interact")]
        steps = [_make("head", estOnly=only, icount=draw(_COUNTS), isith="1"), made, *approval]
    for _ in range(draw(st.integers(0, 5))):
        if not made["estOnly"] and draw(st.booleans()):
            steps.append(_interact("arm", _SEALS[: draw(st.integers(0, 4))]))
            continue
        new = draw(_COUNTS)
        if approval:
            steps += [_rotate("arm", ncount=new, nsith=draw(_thresholds(new))[0]), *approval]
            continue
        places = draw(st.permutations(range(following)))[: draw(st.integers(needed, following))]
        following += new - len(places)
        threshold, needed = draw(_thresholds(following))
        signing = f"{draw(st.integers(1, len(places))):x}"
        steps.append(_expose("arm", places, isith=signing, nsith=threshold, ncount=new))
    return steps


_COUNTS = st.integers(1, 4)


@st.composite
def _thresholds(draw: st.DrawFn, keys: int) -> tuple[Field, int]:
    """Draw a threshold, and how many keys suffice for it, whichever they are."""
    kind = draw(st.sampled_from(("number", "one clause", "clauses", "nested")))
    first = draw(st.integers(1, keys))
    if kind == "number":
        return f"{first:x}", first
    if kind == "one clause" or first == keys:
        return ["1/2"] * keys if keys > 1 else ["1"], min(keys, 2)
    halves: list[Field] = [["1"] if part == 1 else ["1/2"] * part for part in (first, keys - first)]
    if kind == "clauses":
        return halves, keys
    return [{"1/2": halves[0]}, {"1/2": halves[1]}], keys
