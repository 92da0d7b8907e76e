"""What a stream proves about each identifier in it."""

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.build import Configuration
from keystead.keri.escrow import Want
from keystead.keri.messages import Receipt
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Duplicitous, Source
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.audit import MOST_PROBLEMS, Audit, Subject
from keystead.node.replay import evidence_stream, replay_event
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.logs import (
    DIGEST,
    NOW,
    Node,
    attached,
    controlled,
    coupled,
    endorsed,
    pairs,
    plan,
    raw_of,
    signatures,
    state_after,
)

OTHER = DigestSeal(DIGEST)


def _audit(*messages: bytes, limits: Limits = DEFAULT_LIMITS) -> Audit:
    audit = Audit(MemoryStore(limits), NOW, limits)
    for raw in messages:
        audit.feed(raw)
    audit.close()
    return audit


def _log(name: str = "any") -> list[Signed]:
    author = Author(name)
    return [author.incept(), author.interact(), author.rotate()]


# Reports.


def test_good_stream_has_no_problems() -> None:
    """A stream of good logs is counted and has nothing against it."""
    stream = [signed.framed for name in "ab" for signed in _log(name)]
    audit = _audit(*stream)
    assert (audit.messages, audit.accepted, audit.read) == (6, 6, sum(map(len, stream)))
    assert (audit.problems, audit.waiting, audit.duplicitous, audit.unchecked) == ([], 0, 0, 0)
    assert not audit.overflowed


def test_report_tells_the_state() -> None:
    """Each identifier has a report with its state, in the order of appearance."""
    first, second = _log("a"), _log("b")
    reports = list(_audit(*(signed.raw for signed in (*first, *second))).reports())
    assert [report.aid for report in reports] == [first[0].event.aid, second[0].event.aid]
    state = reports[0].state
    assert state is not None
    assert (state.said, reports[0].accepted, reports[0].superseded) == (first[2].event.said, 3, 0)
    assert (reports[0].pending, reports[0].duplicity) == ((), ())


def test_report_counts_superseded_events() -> None:
    """Events that lost their place are counted apart."""
    author = Author("any")
    inception = author.incept()
    recovery = author.fork()
    lost = [author.interact(), author.interact()]
    stream = [inception.raw, *(signed.raw for signed in lost), recovery.rotate().raw]
    (report,) = _audit(*stream).reports()
    assert (report.accepted, report.superseded) == (4, 2)


def test_report_tells_what_waits() -> None:
    """An identifier without a log here has a report on what waits."""
    audit = _audit(*(signed.raw for signed in _log()[1:]))
    (report,) = audit.reports()
    assert (report.state, report.accepted, report.superseded) == (None, 0, 0)
    assert {one.want for held in report.pending for one in held.missing} == {Want.EVENT}
    assert audit.waiting == 2


def test_report_tells_of_duplicity() -> None:
    """A second version of an event is counted and kept as evidence."""
    author = Author("any")
    inception = author.incept()
    other = author.fork().interact(OTHER)
    audit = _audit(inception.raw, author.interact().raw, other.raw)
    (report,) = audit.reports()
    assert audit.duplicitous == 1
    assert [evidence.other for evidence in report.duplicity] == [other.event]


# Problems.


def test_malformed_part_is_a_problem() -> None:
    """Bytes that are no message are a problem with their place."""
    (signed, *_) = _log()
    audit = _audit(b"*******", signed.framed)
    (problem,) = audit.problems
    assert (problem.start, problem.end, problem.subject) == (0, 7, None)
    assert problem.error.code is ErrorCode.COLD_START


def test_rejected_message_is_a_problem() -> None:
    """A message that is refused is a problem with its place."""
    (signed, *_) = _log()
    bad = attached(
        signed.event.raw, controlled(KeyPair("stranger").indexed(signed.event.raw, 0, 0))
    )
    audit = _audit(bad)
    (problem,) = audit.problems
    assert (problem.start, problem.end) == (0, len(bad))
    assert problem.subject == Subject.of(signed.event)
    assert audit.refused == {ErrorCode.SIGNATURE: 1}


def test_message_that_waited_has_no_place() -> None:
    """A message that waited and is refused later is a problem without a place."""
    (inception, interaction, _) = _log()
    raw = interaction.event.raw
    bad = attached(raw, controlled(KeyPair("stranger").indexed(raw, 0, 0)))
    (problem,) = _audit(bad, inception.raw).problems
    assert (problem.start, problem.end) == (None, None)
    assert problem.subject == Subject.of(interaction.event)


def test_overflow_is_told() -> None:
    """Messages that were dropped for want of room are a problem of the store."""
    audit = _audit(*(signed.raw for signed in _log()[1:]), limits=Limits(held_events=1))
    assert audit.overflowed
    assert audit.refused == {ErrorCode.ESCROW_FULL: 1}


def test_registry_events_are_not_checked() -> None:
    """Messages that are not verified yet are counted, and no problem."""
    audit = _audit(raw_of({"v": "", "t": "vcp", "d": ""}))
    assert (audit.unchecked, audit.problems) == (1, [])


def test_problems_are_bounded() -> None:
    """All problems are counted, the first ones kept in full."""
    raw = raw_of({"v": "", "t": "xyz", "d": ""})
    audit = _audit(*[raw] * (MOST_PROBLEMS + 5))
    assert audit.refused[ErrorCode.MESSAGE_TYPE] == MOST_PROBLEMS + 5
    assert len(audit.problems) == MOST_PROBLEMS


# Evidence for others.


def _delegate(delegator: Aid, keys: list[KeyPair], following: list[KeyPair]) -> Signed:
    event = build.incept(
        plan(keys, "1", following, "1"), configuration=Configuration(delegator=delegator)
    )
    return Signed(event, signatures(event, keys))


def test_evidence_proves_duplicity_to_anybody() -> None:
    """The stream of an evidence gives the same evidence elsewhere."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    other = author.fork().interact(OTHER)
    node.accept(author.interact().raw, author.rotate().raw)
    node.feed(other.raw)
    (evidence,) = node.store.duplicity(author.aid)
    copy = Node(trust_first_seen=True)
    results = copy.results(b"".join(evidence_stream(node.store, [evidence])))
    assert isinstance(results[-1].verdict, Duplicitous)
    assert len(results) == 4
    assert copy.store.duplicity(author.aid) == (evidence,)


def test_evidence_about_a_delegate_comes_with_its_delegators() -> None:
    """The logs of the delegators come first, from the root on."""
    node, root, keys = Node(), Author("root"), [pairs(f"{name}", 1) for name in "abcd"]
    node.accept(root.incept().raw)
    middle = _delegate(root.aid, keys[0], keys[1])
    middle_state = state_after(middle.event, middle.signatures)
    low = _delegate(middle.event.aid, keys[2], keys[3])
    low_state = state_after(low.event, low.signatures)
    sealing = build.interact(middle_state, [low.seal])
    versions = [build.interact(low_state), build.interact(low_state, [OTHER])]
    node.accept(
        root.interact(middle.seal).raw,
        middle.raw,
        Signed(sealing, signatures(sealing, keys[0])).raw,
        low.raw,
        Signed(versions[0], signatures(versions[0], keys[2])).raw,
    )
    node.feed(Signed(versions[1], signatures(versions[1], keys[2])).raw)
    (evidence,) = node.store.duplicity(low.event.aid)
    copy = Node()
    results = copy.results(b"".join(evidence_stream(node.store, [evidence])))
    assert [type(result.verdict) for result in results].count(Duplicitous) == 1
    assert list(copy.store.identifiers()) == [root.aid, middle.event.aid, low.event.aid]


def test_evidence_may_lack_the_log_of_a_delegator() -> None:
    """A controller that never saw its delegator's log gives the evidence without it."""
    keys = pairs("a", 1)
    signed = _delegate(Author("any").incept().event.aid, keys, pairs("b", 1))
    state = state_after(signed.event, signed.signatures)
    versions = [build.interact(state), build.interact(state, [OTHER])]
    node = Node(own=[signed.event.aid])
    for one in (signed, *(Signed(event, signatures(event, keys)) for event in versions)):
        node.feed(one.raw, source=Source.LOCAL)
    (evidence,) = node.store.duplicity(signed.event.aid)
    stream = list(evidence_stream(node.store, [evidence]))
    assert len(stream) == 3
    assert stream[0].startswith(signed.event.raw)


def test_replayed_event_has_all_its_proofs() -> None:
    """Signatures, receipts and endorsements come with a replayed event."""
    node, author = Node(), Author("any", witnesses=[witness("a")])
    endorser = Author("endorser", keys=2)
    signed = author.incept()
    node.accept(endorser.incept().raw, signed.raw)
    event = signed.event
    body = build.receipt(Receipt(event.aid, 0, event.said))
    node.feed(attached(body, endorsed(endorser, event.raw), coupled(witness("x"), event.raw)))
    (accepted,) = node.store.events(event.aid)
    copy = Node()
    copy.accept(*(replay_event(one) for one in node.store.events(endorser.aid)))
    copy.accept(replay_event(accepted))
    (again,) = copy.store.events(event.aid)
    assert again.proofs.signatures == accepted.proofs.signatures
    assert again.proofs.witness_signatures == accepted.proofs.witness_signatures
    assert again.proofs.couples == accepted.proofs.couples
    found = {one for entry in again.proofs.endorsements for one in entry.signatures}
    assert found == set(endorser.signatures(event.raw))
