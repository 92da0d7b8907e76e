"""The event processor against the oracle: any authors, any messages, any order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from unittest import TestCase

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keystead.cesr import indexed
from keystead.cesr.indexed import IndexedSignature
from keystead.keri.seals import EventSeal
from keystead.suites import Suite
from keystead.testing.authoring import witness
from support import oracle
from support.branches import Branch, Made, Packet, Validator

_DELEGATORS = {"arm": "head", "hand": "arm", "orphan": "closed"}
_WAYS = ("together", "swapped", "after", "in place", "in place")
_TRAITS = {"strict": ("EO",), "closed": ("DND",)}

backs = st.sampled_from([0, 0, 0, 0, 1, 1, 2])
numbers = st.integers(0, 11)
places = st.sets(st.integers(0, 2), min_size=1, max_size=2)
styles = st.sampled_from(["whole", "whole", "parts", "alone", "alone", "later"])
forms = st.sampled_from(["indexed", "indexed", "bare", "couples"])
kinds = st.sampled_from(["ixn", "ixn", "ixn", "rot", "rot", "hire", "last"])


def _edit(label: str, make: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        if label in body:
            body[label] = make(body)

    return change


_THIEF = Branch("thief")
_STRANGER = witness("stranger").aid
_CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a later place": _edit("s", lambda body: f"{int(body['s'], 16) + 1:x}"),
    "an earlier place": _edit("s", lambda body: f"{max(1, int(body['s'], 16) - 1):x}"),
    "another event before": _edit("p", lambda body: body["i"] if body["i"][0] == "E" else "E" * 44),
    "the other kind of rotation": _edit("t", lambda body: {"rot": "drt", "drt": "rot"}.get(body["t"], "ixn")),
    "too high a witness threshold": _edit("bt", lambda body: f"{int(body['bt'], 16) + 1:x}"),
    "no witness threshold": _edit("bt", lambda _: "0"),
    "a stranger removed": _edit("br", lambda _: [_STRANGER]),
    "a witness added": _edit("ba", lambda body: [*body["ba"], _STRANGER]),
    "a witness added twice": _edit("ba", lambda _: [_STRANGER, _STRANGER]),
    "a threshold out of reach": _edit("kt", lambda _: "4"),
    "a low threshold": _edit("kt", lambda _: "1"),
    "a low next threshold": _edit("nt", lambda body: "1" if body["n"] else "0"),
    "keys that were not committed to": _edit("k", lambda body: [_THIEF.pairs(9)[0].key.text, *body["k"][1:]]),
    "content that the digest does not cover": lambda _: None,
    "a key listed twice": _edit("k", lambda body: [*body["k"], body["k"][0]][: len(body["k"])]),
}  # fmt: skip


class LogMachine(RuleBasedStateMachine):
    """Authors make events, and copies of them reach a validator in any order.

    Attributes:
        casts: identifiers that take part together.
    """

    casts: ClassVar[Sequence[tuple[str, ...]]] = (("solo", "board", "head", "arm", "hand"),)

    def __init__(self) -> None:
        """Start with nobody."""
        super().__init__()
        self.validator = Validator()
        self.sent: list[oracle.Message] = []
        self.branches: dict[str, list[Branch]] = {}
        self.made: list[Made] = []
        self.to_approve: dict[str, list[Made]] = {}

    @initialize(cast=numbers, known=st.sampled_from([True, True, True, False]))
    def start(self, cast: int, *, known: bool) -> None:
        """Incept the identifiers, whom the validator may know already with their approvals."""
        for name in self.casts[cast % len(self.casts)]:
            author = Branch(
                name,
                keys=3 if name in ("trio", "board") else 1,
                witnesses=[witness(f"{one}") for one in range(2)] if name == "board" else (),
                basic=name == "basic",
            )
            delegator = _DELEGATORS.get(name)
            above = self.branches[delegator][0] if delegator else None
            made = author.begin(traits=_TRAITS.get(name, ()), delegator=above)
            self._keep(name, author, made)
            if known:
                self._send(made.packet())
            if known and delegator:
                above = self.branches[delegator][-1].branch()
                approval = above.extend("ixn", [made.seal])
                self._keep(delegator, above, approval)
                self._send(approval.packet())

    @rule(
        who=numbers,
        back=backs,
        kind=kinds,
        seals=st.sets(backs, max_size=2),
        style=styles,
        form=forms,
    )
    def extend(
        self, who: int, back: int, kind: str, seals: set[int], style: str, form: str
    ) -> None:  # fmt: skip
        """Make an event behind the latest ones, or behind an earlier one: a fork or recovery."""
        name, author = self._author(who, back)
        last = author.state.establishment
        open_events = self.to_approve.get(name, [])
        chosen = [open_events[-1 - at].seal for at in seals if at < len(open_events)]
        if not last.transferable or (kind == "ixn" and last.establishment_only):
            made = author.craft(_interaction(author, chosen))
            self.made.append(made)
        else:
            made = author.extend(kind, chosen)
            self._keep(name, author, made)
        if style == "whole":
            self._send(made.packet(form=form))
        elif style == "parts":
            self._send(made.packet((0,), ()))
            for one in made.receipts:
                self._send(made.packet((), (one.index,), form=form, apart=True))
            for one in made.signatures[1:]:
                self._send(made.packet((one.index,), ()))
        elif style == "alone":
            single, first = replace(made, signatures=made.signatures[:1]), made.signatures[0]
            also = indexed.make(
                Suite.ED25519, first.raw, first.index, ondex=None, current_only=True
            )
            self._send(replace(single, signatures=(first, also)).packet((0,), ()))
            for each in ("indexed", "bare", "couples"):
                self._send(single.packet((), (0,), form=each, apart=each != form))
            if made.receipts:  # else one key alone must not have been enough
                self._send(made.packet(None, ()))

    @precondition(lambda self: _DELEGATORS.keys() & self.branches.keys())
    @rule(
        steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["rot", "rot", "ixn"])),
                       min_size=3, max_size=3),
        together=st.booleans(), upwards=st.booleans(), send=st.booleans(),
    )  # fmt: skip
    def rotate_with_approval(
        self, steps: list[tuple[int, str]], *, together: bool, upwards: bool, send: bool
    ) -> None:
        """Rotate the lowest delegate, and have that approved up the chain."""
        name: str | None = next(
            (one for one in ("hand", "arm", "orphan") if one in self.branches), None
        )
        chain: list[Made] = []
        kind = "rot"
        for back, next_kind in steps:
            if name is None:
                break
            author = self.branches[name][-1 - back % len(self.branches[name])].branch()
            if not author.state.establishment.transferable:
                break
            seals = [made.seal for made in chain[-1:]]
            if together and chain:
                seals = [one.seal for one in self.to_approve[name][-2:]]
            made = author.extend(kind, seals)
            self._keep(name, author, made)
            chain.append(made)
            if kind == "ixn":
                break
            name, kind = _DELEGATORS.get(name), next_kind
        if send:
            for made in chain if upwards else chain[::-1]:
                self._send(made.packet())

    @precondition(lambda self: "arm" in self.branches)
    @rule(ways=st.lists(st.sampled_from(_WAYS), min_size=2, max_size=2), late=st.booleans())
    def contend(self, ways: list[str], *, late: bool) -> None:
        """Rotate the lowest delegate twice from one state, and approve both rotations.

        One event seals both, in either order, or one event after another, or two events at one
        place, which in their turn need two approvals when their author is delegated.
        """
        name: str | None = next((one for one in ("hand", "arm") if one in self.branches), None)
        if name is None or not self._tip(name).state.establishment.transferable:
            return
        pair = (self._extended(name, "rot"), self._extended(name, "rot"))
        chains = ([pair[0]], [pair[1]])
        for way in ways:
            name = _DELEGATORS.get(name)
            if name is None or not self._tip(name).state.establishment.transferable:
                break
            seals = [pair[0].seal, pair[1].seal]
            if way in ("together", "swapped"):
                both = self._extended(name, "ixn", seals[:: 1 if way == "together" else -1])
                pair = (both, both)
            elif way == "after":
                first = self._extended(name, "ixn", seals[:1])
                pair = (first, self._extended(name, "ixn", seals[1:], self.branches[name][-1]))
            else:
                kind = "rot" if name in _DELEGATORS else "ixn"
                pair = (
                    self._extended(name, kind, seals[:1]),
                    self._extended(name, "rot", seals[1:]),
                )
            for chain, made in zip(chains, pair, strict=True):
                chain.append(made)
            if way != "in place":
                break
        for chain in chains[::-1] if late else chains:
            for made in reversed(chain):
                self._send(made.packet())

    @rule(who=numbers, back=backs, kind=kinds, change=st.sampled_from(sorted(_CHANGES)))
    def forge(self, who: int, back: int, kind: str, change: str) -> None:
        """Make an event that breaks a rule, with good signatures, and send it."""
        _, author = self._author(who, back)
        last = author.state.establishment
        if not last.transferable or (kind == "ixn" and last.establishment_only):
            return
        body = author.extend(kind).body
        _CHANGES[change](body)
        made = author.craft(body)
        if change == "content that the digest does not cover":
            place = body["s"].encode()
            other = place[:-1] + (b"1" if place.endswith(b"2") else b"2")  # as long
            made = replace(made, raw=made.raw.replace(b'"s":"%b"' % place, b'"s":"%b"' % other, 1))
        if change == "keys that were not committed to":
            stolen = _THIEF.pairs(9)[0].indexed(made.raw, 0, 0)
            made = replace(made, signatures=(stolen, *made.signatures[1:]))
        self.made.append(made)
        self._send(made.packet())

    @rule(
        which=numbers, mode=st.sampled_from(["whole", "part", "part", "bytes", "place", "next"]),
        signers=places, receiptors=places, form=forms, apart=st.booleans(),
    )  # fmt: skip
    def send(
        self, which: int, mode: str, signers: set[int], receiptors: set[int], form: str, *,
        apart: bool,
    ) -> None:  # fmt: skip
        """Deliver an event or receipts with all signatures, with some, or with wrong ones.

        The wrong ones have other bytes, the wrong place, or the wrong place among the next keys.
        """
        made = self._made(which)
        signers = {place % len(made.signatures) for place in signers}
        if mode == "part":
            self._send(made.packet(signers, receiptors, form=form, apart=apart))
            return
        if mode != "whole":
            signatures = [
                one if one.index not in signers else _spoiled(one, mode) for one in made.signatures
            ]
            made = replace(made, signatures=tuple(signatures))
        self._send(made.packet(form=form, apart=apart))

    @rule()
    def send_missing(self) -> None:
        """Deliver what is not accepted yet, in the order in which it was made."""
        for made in self._open():
            self._send(made.packet())

    @invariant()
    def agree(self) -> None:
        """Compare what the processor holds with what the oracle works out."""
        world = oracle.replay(self.sent)
        store = self.validator.store
        assert set(store.identifiers()) == set(world.logs)
        for aid in store.identifiers():
            log = world.logs[aid]
            trunk, seen = list(store.events(aid)), list(store.first_seen(aid))
            assert [one.event.said for one in trunk] == log.trunk
            assert [one.event.said for one in seen] == log.seen
            assert [one.first_seen_number for one in seen] == list(range(len(seen)))
            for before, after in zip([None, *trunk], trunk, strict=False):
                assert after.event.prior_said == (before and before.event.said)
            state = store.key_state(aid)
            assert state is not None
            assert (state.sn, state.said) == (len(trunk) - 1, log.trunk[-1])
            rules = world.after(world.bodies[log.trunk[-1]])
            last = state.establishment
            assert [key.text for key in last.signing_keys] == rules["k"]
            assert list(last.next_key_digests) == rules["n"]
            assert list(last.witnesses) == rules["b"]
            assert last.witness_threshold == int(rules["bt"], 16)
            evidence = store.duplicity(aid)
            assert {one.other.said for one in evidence} == log.duplicitous
            for both in evidence:
                assert both.accepted.event.sn == both.other.sn
                assert both.accepted.event.said != both.other.said
                assert both.proofs.signatures
            for one in seen:
                keys, witnesses, others = log.signed[one.event.said]
                held_by = one.state.establishment.witnesses
                # Of the forms of one signature, the log keeps the one that tells most.
                assert {(by.index, by.ondex) for by in one.proofs.signatures} <= keys
                places = [by.index for by in one.proofs.signatures]
                assert sorted(places) == sorted({place for place, _ in keys})
                assert {held_by[by.index] for by in one.proofs.witness_signatures} == witnesses
                assert {couple.key.text for couple in one.proofs.couples} == others
                assert (one.source and one.source.said) == log.sealed_by.get(one.event.said)
        assert [(held.key[0], held.key[3]) for held in store.waiting()] == list(world.held)

    def teardown(self) -> None:
        """Check that nothing waits that could be accepted."""
        world = oracle.replay(self.sent)
        accepted = set(world.bodies)
        for held in list(world.held.values()):
            world.receive(held.message)
        assert set(world.bodies) == accepted

    def _author(self, who: int, back: int) -> tuple[str, Branch]:
        name = list(self.branches)[who % len(self.branches)]
        if back == 0:
            return name, self._tip(name)
        return name, self.branches[name][-1 - back % len(self.branches[name])].branch()

    def _tip(self, name: str) -> Branch:
        """Return the branch that the validator follows, the latest one if it knows none."""
        known = [
            branch
            for branch in self.branches[name]
            if (event := self.validator.store.event(branch.aid, branch.state.sn))
            and event.event.said == branch.state.said
        ]
        return max(known, key=lambda one: one.state.sn, default=self.branches[name][-1]).branch()

    def _extended(
        self, name: str, kind: str, seals: Sequence[EventSeal] = (), branch: Branch | None = None
    ) -> Made:
        author = (branch or self._tip(name)).branch()
        made = author.extend(kind, seals)
        self._keep(name, author, made)
        return made

    def _made(self, which: int) -> Made:
        among = self.made if which > 8 else self._open() or self.made
        return among[-1 - which % len(among)]

    def _open(self) -> list[Made]:
        """Return what is not accepted, in the order of making."""
        known = {one.event.said for aid in self.validator.store.identifiers()
                 for one in self.validator.store.first_seen(aid)}  # fmt: skip
        return [made for made in self.made if made.said not in known]

    def _keep(self, name: str, author: Branch, made: Made) -> None:
        self.branches.setdefault(name, []).append(author)
        self.made.append(made)
        if name in _DELEGATORS and made.body["t"] in ("dip", "drt"):
            self.to_approve.setdefault(_DELEGATORS[name], []).append(made)

    def _send(self, packet: Packet) -> None:
        self.sent.append(packet.message)
        self.validator.receive(packet)


def _spoiled(one: IndexedSignature, mode: str) -> IndexedSignature:
    if mode == "bytes":
        return indexed.make(Suite.ED25519, one.raw[:-1] + b"\0", one.index, ondex=one.ondex)
    if mode == "place":
        return indexed.make(Suite.ED25519, one.raw, one.index + 1, ondex=one.ondex)
    return indexed.make(Suite.ED25519, one.raw, one.index, ondex=3)


def _interaction(author: Branch, seals: list[Any]) -> dict[str, Any]:
    """Return an interaction where none may be."""
    state = author.state
    return {
        "v": "", "t": "ixn", "d": "", "i": state.aid, "s": f"{state.sn + 1:x}", "p": state.said,
        "a": [{"i": seal.aid, "s": f"{seal.sn:x}", "d": seal.said} for seal in seals],
    }  # fmt: skip


class SingleKeys(LogMachine):
    """Identifiers of one key: plain, named by the key, bound to rotations, not to delegate."""

    casts = (("solo",), ("basic", "strict"), ("closed", "orphan"))


class SharedControl(LogMachine):
    """Identifiers of several keys with weights, with witnesses or without."""

    casts = (("board",), ("trio",))


class Delegations(LogMachine):
    """A delegator, its delegate, and the delegate of that one."""

    casts = (("head", "arm"), ("head", "arm", "hand"))


def _case(machine: type[LogMachine], examples: int) -> type[TestCase]:
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    # A failure takes up to five minutes to shrink.
    slow: type[TestCase] = pytest.mark.timeout(600)(case)
    return slow


TestSingleKeys = _case(SingleKeys, 120)
TestSharedControl = _case(SharedControl, 200)
TestDelegations = _case(Delegations, 120)
TestEverybody = _case(LogMachine, 60)
