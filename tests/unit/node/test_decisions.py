"""What a node does with events: first seen, out of order, signed and receipted bit by bit."""

from datetime import timedelta

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, ReceiptCouple, ReceiptQuadruple, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Signature
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.attachments import Proofs, SignedEvent
from keystead.keri.build import Configuration
from keystead.keri.escrow import Missing, WaitingReceipts, Want
from keystead.keri.messages import Receipt
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import (
    Accepted,
    Duplicate,
    Duplicitous,
    Pending,
    ReceiptDue,
    Receipted,
    Source,
    Waits,
)
from keystead.limits import Limits
from keystead.suites import Suite
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.logs import (
    DIGEST,
    NOW,
    Node,
    attached,
    code_of,
    controlled,
    coupled,
    endorsed,
    group,
    missing_of,
    pairs,
    plan,
    signatures,
    state_after,
)

W0, W1, W2 = WITNESSES = [witness("a"), witness("b"), witness("c")]


def _log(name: str = "any", keys: int = 1) -> list[Signed]:
    author = Author(name, keys=keys)
    return [author.incept(), author.interact(), author.rotate(), author.interact()]


def _stranger(name: str) -> KeyPair:
    return witness(f"stranger {name}")


# The log in order, out of order, and twice.


def test_log_in_order_is_accepted() -> None:
    """Events in order are accepted one after another."""
    node, log = Node(), _log()
    for number, signed in enumerate(log):
        verdict = node.feed(signed.raw)
        assert isinstance(verdict, Accepted)
        assert verdict.state.sn == number
    assert node.trunk(log[0].event.aid) == [signed.event.said for signed in log]
    assert not list(node.store.waiting())


def test_first_seen_time_is_that_of_arrival() -> None:
    """An accepted event gets the time at which it was accepted, and a number."""
    node, log = Node(), _log()
    node.accept(*(signed.raw for signed in log[:2]))
    (_, second) = node.store.events(log[0].event.aid)
    assert second.first_seen_at == "2026-01-02T03:04:05.000000+00:00"
    assert second.first_seen_number == 1


def test_log_in_reverse_is_accepted_at_last() -> None:
    """Events wait for the one before, and follow when it arrives."""
    node, log = Node(), _log()
    for signed in reversed(log[1:]):
        verdict = node.feed(signed.raw)
        before = Missing(Want.EVENT, signed.event.aid, signed.event.sn - 1)
        assert missing_of(verdict) == {before}
    results = node.results(log[0].raw)
    assert [result.again for result in results] == [False, True, True, True]
    assert [result.message for result in results] == [signed.event for signed in log]
    assert all(isinstance(result.verdict, Accepted) for result in results)
    assert not list(node.store.waiting())


def test_second_copy_changes_nothing() -> None:
    """A copy of an accepted event is a duplicate."""
    node, log = Node(), _log()
    node.accept(*(signed.raw for signed in log))
    for signed in log:
        verdict = node.feed(signed.raw)
        assert isinstance(verdict, Duplicate)
        assert not verdict.additions


def test_copy_adds_signatures() -> None:
    """A copy with a further signature completes the accepted event."""
    node, author = Node(), Author("any", keys=3, threshold="2")
    signed = author.incept()
    raw = signed.event.raw
    node.accept(attached(raw, controlled(*signed.signatures[:2])))
    assert isinstance(node.feed(attached(raw, controlled(*signed.signatures[2:]))), Duplicate)
    (accepted,) = node.store.events(author.aid)
    assert set(accepted.proofs.signatures) == set(signed.signatures)


def test_event_behind_another_branch_is_rejected() -> None:
    """An event that does not name the end of the trunk does not fit."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    other = author.fork()
    node.accept(author.interact().raw)
    other.interact(DigestSeal(DIGEST))
    assert code_of(node.feed(other.interact().raw)) is ErrorCode.PRIOR_DIGEST


# Signatures and receipts that come bit by bit.


def test_signatures_of_several_copies_add_up() -> None:
    """Copies with one signature each are accepted together; the first arrival counts."""
    node, author = Node(), Author("any", keys=3)
    signed = author.incept()
    for seconds, signature in enumerate(signed.signatures[:2]):
        raw = attached(signed.event.raw, controlled(signature))
        assert isinstance(node.feed(raw, now=NOW + timedelta(seconds=seconds)), Pending)
    (held,) = node.store.waiting()
    assert held.since == NOW
    node.accept(attached(signed.event.raw, controlled(signed.signatures[2])))
    assert not list(node.store.waiting())


def test_bad_copy_leaves_what_was_verified() -> None:
    """A copy with a useless signature does not spoil what waits."""
    node, author = Node(), Author("any", keys=2)
    signed = author.incept()
    one, two = signed.signatures
    bad = KeyPair("stranger").indexed(signed.event.raw, 1, 1)
    node.feed(attached(signed.event.raw, controlled(one)))
    assert isinstance(node.feed(attached(signed.event.raw, controlled(bad))), Pending)
    node.accept(attached(signed.event.raw, controlled(two)))


def _witnessed() -> tuple[Signed, bytes]:
    """Return an event that needs two of three receipts, and its message without any."""
    signing = pairs("any", 1)
    event = build.incept(plan(signing, "1"), build.Witnesses(2, [one.aid for one in WITNESSES]))
    signed = Signed(event, signatures(event, signing))
    return signed, signed.raw


def _receipted() -> tuple[Signed, bytes]:
    """Return an event, and its message with the receipts of the first and the last witness."""
    signed, _ = _witnessed()
    receipts = [W0.indexed(signed.event.raw, 0, 0), W2.indexed(signed.event.raw, 2, 2)]
    return signed, attached(
        signed.event.raw,
        controlled(*signed.signatures),
        group(GroupKind.WITNESS_SIGNATURES, *receipts),
    )


def test_receipts_after_the_event_complete_it() -> None:
    """An event that lacks receipts is accepted when they arrive."""
    node, (signed, raw) = Node(), _witnessed()
    event = signed.event
    assert missing_of(node.feed(raw)) == {
        Missing(Want.RECEIPTS, event.aid, 0, event.said, detail="0 of 2 receipts")
    }
    assert missing_of(node.feed(signed.receipted(W0))) == {
        Missing(Want.RECEIPTS, event.aid, 0, event.said, detail="1 of 2 receipts")
    }
    assert isinstance(node.feed(signed.receipted(W2)), Accepted)
    assert not list(node.store.waiting())


def test_receipts_before_the_event_wait_for_it() -> None:
    """Receipts of an unknown event wait, all in one entry, and count when it arrives."""
    node, (signed, raw) = Node(), _witnessed()
    event = signed.event
    for one in (W0, W1):
        detail = f"version {event.said}"
        assert missing_of(node.feed(signed.receipted(one))) == {
            Missing(Want.RECEIPTED, event.aid, 0, detail=detail)
        }
    assert len(list(node.store.waiting())) == 1
    node.accept(raw)
    assert not list(node.store.waiting())


def test_receipts_before_the_event_may_be_too_few() -> None:
    """Receipts that waited are settled when their event waits for more."""
    node, (signed, raw) = Node(), _witnessed()
    node.feed(signed.receipted(W0), now=NOW)
    verdict = node.feed(raw, now=NOW + timedelta(seconds=1))
    (missing,) = missing_of(verdict)
    assert missing.detail == "1 of 2 receipts"
    assert [held.key[0] for held in node.store.waiting()] == ["event"]


def test_receipts_stay_apart_from_an_unverified_event() -> None:
    """While the event before is missing nothing is verified, and receipts wait apart."""
    node, author = Node(), Author("any", witnesses=[W0])
    inception, interaction = author.incept(), author.interact()
    bare = attached(interaction.event.raw, controlled(*interaction.signatures))
    node.feed(interaction.receipted(W0))
    node.feed(bare)
    assert isinstance(node.feed(interaction.receipted(W0)), Waits)
    assert [held.key[0] for held in node.store.waiting()] == ["receipts", "event"]
    results = node.results(inception.raw)
    assert isinstance(results[1].verdict, Accepted)
    assert not list(node.store.waiting())


def test_receipts_for_another_version_are_refused() -> None:
    """A receipt for a version that the log does not hold is refused."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    other = author.fork().interact(DigestSeal(DIGEST))
    node.feed(other.receipted(_stranger("x")))
    node.accept(author.interact().raw)
    assert code_of(node.feed(other.receipted(_stranger("x")))) is ErrorCode.RECEIPT
    assert not list(node.store.waiting())


def test_receipt_without_signatures_is_refused() -> None:
    """A bare receipt says nothing."""
    node, (signed, _) = Node(), _witnessed()
    body = build.receipt(Receipt(signed.event.aid, 0, signed.event.said))
    assert code_of(node.feed(body)) is ErrorCode.UNSIGNED


def test_receipts_of_an_accepted_event_are_added() -> None:
    """Receipts by witnesses and others join an accepted event once."""
    node, (signed, raw) = Node(), _receipted()
    node.accept(raw)
    for one in (W1, _stranger("x")):
        verdict = node.feed(signed.receipted(one))
        assert isinstance(verdict, Receipted)
        assert verdict.additions.count == 1
    again = node.feed(signed.receipted(W1, _stranger("x")))
    assert isinstance(again, Receipted)
    assert not again.additions
    (accepted,) = node.store.events(signed.event.aid)
    assert {one.index for one in accepted.proofs.witness_signatures} == {0, 1, 2}
    assert accepted.proofs.couples == (_stranger("x").couple(signed.event.raw),)


def test_bad_receipt_adds_nothing() -> None:
    """A receipt that does not verify is refused, and not counted among what is fine."""
    node, (signed, raw) = Node(), _receipted()
    node.accept(raw)
    event = signed.event
    body = build.receipt(Receipt(event.aid, 0, event.said))
    verdict = node.feed(attached(body, coupled(_stranger("x"), b"something else")))
    assert code_of(verdict) is ErrorCode.SIGNATURE


@pytest.mark.parametrize("form", ["controller", "witness", "couple", "endorsement"])
def test_repeated_receipt_is_no_fault(form: str) -> None:
    """A receipt that the log has already adds nothing, and is fine."""
    endorser, one = Author("endorser"), witness("one")
    author = Author("any", witnesses=[one])
    node, event = Node(), author.incept()
    node.accept(endorser.incept().raw, event.raw)
    raw = event.event.raw
    group_of = {
        "controller": controlled(*event.signatures),
        "witness": Group(GroupKind.WITNESS_SIGNATURES, event.receipts),
        "couple": coupled(_stranger("x"), raw),
        "endorsement": group(
            GroupKind.SIGNATURE_GROUPS,
            SignatureGroup(endorser.aid, 0, endorser.state.said, endorser.signatures(raw)),
        ),
    }[form]
    message = attached(build.receipt(Receipt(author.aid, 0, event.event.said)), group_of)
    node.feed(message)
    verdict = node.feed(message)
    assert isinstance(verdict, Receipted)
    assert not verdict.additions


def test_same_witness_in_two_forms_counts_once() -> None:
    """Receipts of one witness that differ in form do not add up while an event waits."""
    node, (signed, raw) = Node(), _witnessed()
    node.feed(raw)
    event = signed.event
    body = build.receipt(Receipt(event.aid, 0, event.said))
    for ondex in (1, 0, 2):
        again = group(GroupKind.WITNESS_SIGNATURES, W1.indexed(event.raw, 1, ondex))
        (missing,) = missing_of(node.feed(attached(body, again)))
        assert missing.detail == "1 of 2 receipts"


# Endorsements by transferable identifiers.


def _endorsed(endorser: Author, event: Signed, *, quadruples: bool = False) -> bytes:
    """Return a receipt message by a transferable identifier."""
    body = build.receipt(Receipt(event.event.aid, event.event.sn, event.event.said))
    if not quadruples:
        return attached(body, endorsed(endorser, event.event.raw))
    last = endorser.state.establishment
    items = [
        ReceiptQuadruple(endorser.aid, last.sn, last.said, one)
        for one in endorser.signatures(event.event.raw)
    ]
    return attached(body, group(GroupKind.RECEIPT_QUADRUPLES, *items))


@pytest.mark.parametrize("quadruples", [False, True])
def test_endorsement_of_a_known_signer_is_added(*, quadruples: bool) -> None:
    """A receipt by a transferable identifier whose log is known is verified and kept."""
    node, endorser = Node(), Author("endorser", keys=2)
    event = Author("any").incept()
    node.accept(endorser.incept().raw, event.raw)
    verdict = node.feed(_endorsed(endorser, event, quadruples=quadruples))
    assert isinstance(verdict, Receipted)
    assert verdict.additions.count == 2
    again = node.feed(_endorsed(endorser, event, quadruples=quadruples))
    assert isinstance(again, Receipted)
    assert not again.additions


def test_endorsement_of_an_unknown_signer_waits_for_its_log() -> None:
    """An endorsement waits for the signer's log and is kept when that arrives."""
    node, endorser = Node(), Author("endorser")
    log = endorser.incept()
    event = Author("any").incept()
    node.accept(event.raw)
    assert missing_of(node.feed(_endorsed(endorser, event))) == {
        Missing(Want.EVENT, endorser.aid, 0)
    }
    results = node.results(log.raw)
    assert isinstance(results[1].verdict, Receipted)
    (accepted,) = node.store.events(event.event.aid)
    assert [one.aid for one in accepted.proofs.endorsements] == [endorser.aid]
    assert not list(node.store.waiting())


def test_endorsements_of_several_unknown_signers_wait_together() -> None:
    """A later endorsement does not push out one that waits, and the first arrival counts."""
    node, event = Node(), Author("any").incept()
    first, second = Author("first endorser"), Author("second endorser")
    logs = [first.incept(), second.incept()]
    node.accept(event.raw)
    node.feed(_endorsed(first, event), now=NOW)
    verdict = node.feed(_endorsed(second, event), now=NOW + timedelta(minutes=1))
    assert {one.aid for one in missing_of(verdict)} == {first.aid, second.aid}
    (held,) = node.store.waiting()
    assert held.since == NOW
    node.accept(*(log.raw for log in logs))
    (accepted,) = node.store.events(event.event.aid)
    assert {one.aid for one in accepted.proofs.endorsements} == {first.aid, second.aid}


def test_endorsement_attached_to_an_event_is_kept() -> None:
    """An event may come with the endorsement of a known signer."""
    node, endorser = Node(), Author("endorser")
    event = Author("any").incept()
    node.accept(endorser.incept().raw)
    node.accept(attached(event.event.raw, *event.groups, endorsed(endorser, event.event.raw)))
    (accepted,) = node.store.events(event.event.aid)
    assert [one.aid for one in accepted.proofs.endorsements] == [endorser.aid]


def test_endorsement_attached_to_an_event_may_wait() -> None:
    """An event is accepted although the log of an endorser is missing."""
    node, endorser = Node(), Author("endorser")
    log = endorser.incept()
    event = Author("any").incept()
    node.accept(attached(event.event.raw, *event.groups, endorsed(endorser, event.event.raw)))
    assert [held.key[0] for held in node.store.waiting()] == ["receipts"]
    node.accept(log.raw)
    (accepted,) = node.store.events(event.event.aid)
    assert [one.aid for one in accepted.proofs.endorsements] == [endorser.aid]


def test_endorsement_waits_with_its_event() -> None:
    """The endorsement of an event that waits is settled with it."""
    node, endorser, author = Node(), Author("endorser"), Author("any")
    inception, event = author.incept(), author.interact()
    node.accept(endorser.incept().raw)
    node.feed(attached(event.event.raw, *event.groups, endorsed(endorser, event.event.raw)))
    node.accept(inception.raw)
    (_, accepted) = node.store.events(author.aid)
    assert [one.aid for one in accepted.proofs.endorsements] == [endorser.aid]


@pytest.mark.parametrize("fault", ["content", "event", "interaction"])
def test_useless_endorsement_is_dropped(fault: str) -> None:
    """An endorsement over other content, or that names no establishment event, says nothing."""
    node, endorser = Node(), Author("endorser")
    event = Author("any").incept()
    node.accept(endorser.incept().raw, event.raw)
    raw = event.event.raw + b" " if fault == "content" else event.event.raw
    said, sn = endorser.state.said, 0
    if fault == "event":
        said = DIGEST
    elif fault == "interaction":
        interaction = endorser.interact()
        node.accept(interaction.raw)
        said, sn = interaction.event.said, 1
    bad = SignatureGroup(endorser.aid, sn, said, endorser.signatures(raw))
    body = build.receipt(Receipt(event.event.aid, 0, event.event.said))
    verdict = node.feed(attached(body, group(GroupKind.SIGNATURE_GROUPS, bad)))
    assert code_of(verdict) is ErrorCode.SIGNATURE


# Bounds on what strangers can add.


def _couples(event: Signed, count: int, first: int = 0) -> bytes:
    return event.receipted(*(_stranger(f"{number}") for number in range(first, first + count)))


def test_receipts_of_strangers_are_bounded() -> None:
    """No more receipts by others are kept for an event than the limit allows."""
    node, event = Node(limits=Limits(receipts=3)), Author("any").incept()
    node.accept(event.raw)
    node.feed(_couples(event, 2))
    node.feed(_couples(event, 2, 2))
    node.feed(_couples(event, 2, 4))
    (accepted,) = node.store.events(event.event.aid)
    assert len(accepted.proofs.couples) == 3


@pytest.mark.parametrize("wait", [False, True])
def test_receipts_attached_to_an_event_are_bounded(*, wait: bool) -> None:
    """Receipts that come with an event, at once or while it waits, are bounded too."""
    node, author = Node(limits=Limits(receipts=3)), Author("any", keys=2)
    event = author.incept()
    one, two = event.signatures
    couples = group(
        GroupKind.RECEIPT_COUPLES,
        *(_stranger(f"{number}").couple(event.event.raw) for number in range(5)),
    )
    first = (one,) if wait else (one, two)
    node.feed(attached(event.event.raw, controlled(*first), couples))
    if wait:
        (held,) = node.store.waiting()
        assert isinstance(held.waiting, SignedEvent)
        assert held.waiting.proofs.couples == couples.items[:3]
        node.accept(attached(event.event.raw, controlled(two)))
    (accepted,) = node.store.events(author.aid)
    assert accepted.proofs.couples == couples.items[:3]


def test_endorsements_are_bounded_by_their_signatures() -> None:
    """Each signature of an endorsement counts towards the limit."""
    node, event = Node(limits=Limits(receipts=5)), Author("any").incept()
    endorsers = [Author(f"endorser {number}", keys=2) for number in range(3)]
    node.accept(*(endorser.incept().raw for endorser in endorsers), event.raw)
    node.feed(_couples(event, 1))
    for endorser in endorsers:
        node.feed(_endorsed(endorser, event))
    (accepted,) = node.store.events(event.event.aid)
    assert [one.aid for one in accepted.proofs.endorsements] == [one.aid for one in endorsers[:2]]
    assert len(accepted.proofs.couples) == 1


def test_waiting_receipts_are_bounded() -> None:
    """Of receipts for an unknown event the first stay, and one message adds only so many."""
    node, event = Node(limits=Limits(receipts=4, keys=2)), Author("any").incept()
    for first, kept in ((0, [0, 1]), (3, [0, 1, 3, 4]), (6, [0, 1, 3, 4])):
        node.feed(_couples(event, 3, first))
        (held,) = node.store.waiting()
        assert isinstance(held.waiting, WaitingReceipts)
        expected = [_stranger(f"{number}").couple(event.event.raw) for number in kept]
        assert held.waiting.claims.couples == tuple(expected)


def test_waiting_signatures_are_bounded() -> None:
    """Of unverified signatures of an event the first stay."""
    node, author = Node(limits=Limits(receipts=3)), Author("any", keys=2)
    author.incept()
    event = author.interact()
    junk = [KeyPair("x").indexed(bytes([number]), 0, 0) for number in range(4)]
    node.feed(attached(event.event.raw, controlled(*junk[:2])))
    node.feed(attached(event.event.raw, controlled(*junk[2:])))
    (held,) = node.store.waiting()
    assert isinstance(held.waiting, SignedEvent)
    assert held.waiting.claims.signatures == tuple(junk[:3])


_JUNK = [IndexedSignature("A", 0, 0, number.to_bytes(64, "big")) for number in range(1025)]


def test_useless_signatures_leave_no_waiting_event_worse() -> None:
    """A copy with any number of useless signatures does not replace the good ones."""
    node, author = Node(), Author("any")
    inception, event = author.incept(), author.interact()
    node.feed(event.raw)
    node.feed(attached(event.event.raw, controlled(*_JUNK)))
    results = node.results(inception.raw)
    assert [type(result.verdict) for result in results] == [Accepted, Accepted]


def test_useless_signatures_before_the_good_ones_leave_them_room() -> None:
    """One copy with any number of useless signatures does not keep out the good ones."""
    node, author = Node(), Author("any")
    inception, event = author.incept(), author.interact()
    node.feed(attached(event.event.raw, controlled(*_JUNK)))
    node.feed(event.raw)
    results = node.results(inception.raw)
    assert [type(result.verdict) for result in results] == [Accepted, Accepted]


def test_useless_receipts_leave_no_waiting_receipt_worse() -> None:
    """A message with any number of useless receipts does not replace the good ones."""
    node, (signed, raw) = Node(), _witnessed()
    event = signed.event
    junk = [ReceiptCouple(W2.key, Signature(Suite.ED25519, one.raw)) for one in _JUNK]
    body = build.receipt(Receipt(event.aid, 0, event.said))
    node.feed(signed.receipted(W0, W1))
    node.feed(attached(body, group(GroupKind.RECEIPT_COUPLES, *junk)))
    node.accept(raw)


def test_all_signatures_of_a_copy_are_looked_at_when_they_can_be() -> None:
    """The bounds are on what waits, not on what can be decided at once."""
    node, (signed, _) = Node(limits=Limits(receipts=1, keys=1)), _witnessed()
    node.feed(signed.receipted(W0))
    both = (W0, W1)
    receipts = [one.indexed(signed.event.raw, place, place) for place, one in enumerate(both)]
    node.accept(
        attached(
            signed.event.raw,
            controlled(*signed.signatures),
            group(GroupKind.WITNESS_SIGNATURES, *receipts),
        )
    )


@pytest.mark.parametrize("bad", [False, True])
def test_a_faulty_copy_leaves_receipts_waiting(*, bad: bool) -> None:
    """A copy without a good signature says nothing about the receipts that wait."""
    node, (signed, raw) = Node(), _witnessed()
    node.feed(signed.receipted(W0, W1))
    junk = (controlled(_JUNK[0]),) if bad else (coupled(_stranger("x"), signed.event.raw),)
    verdict = node.feed(attached(signed.event.raw, *junk))
    assert code_of(verdict) is (ErrorCode.SIGNATURE if bad else ErrorCode.UNSIGNED)
    assert [held.key[0] for held in node.store.waiting()] == ["receipts"]
    node.accept(raw)
    assert not list(node.store.waiting())


def test_a_copy_without_signature_leaves_an_event_waiting() -> None:
    """What waits for the event before stays as it is, and takes the receipts of such a copy."""
    node, author = Node(), Author("any")
    inception, event = author.incept(), author.interact()
    assert code_of(node.feed(event.event.raw)) is ErrorCode.UNSIGNED
    node.feed(event.raw)
    assert isinstance(node.feed(event.event.raw), Pending)
    results = node.results(inception.raw)
    assert [type(result.verdict) for result in results] == [Accepted, Accepted]


def test_a_bad_event_takes_its_receipts_along() -> None:
    """Where the event itself cannot be accepted nothing waits for another copy."""
    node, author = Node(), Author("any", witnesses=[W0])
    node.accept(author.incept().raw)
    other = author.fork()
    other.interact(DigestSeal(DIGEST))
    event = other.interact()
    node.feed(event.receipted(W0))
    node.accept(author.interact().raw)
    assert code_of(node.feed(event.raw)) is ErrorCode.PRIOR_DIGEST
    assert not list(node.store.waiting())


@pytest.mark.parametrize("known", [False, True])
def test_signers_that_an_entry_waits_for_are_bounded(*, known: bool) -> None:
    """Endorsements wait for the keys of few signers; those that came first stay."""
    node, event = Node(limits=Limits(signers=2)), Author("any").incept()
    endorsers = [Author(f"endorser {number}") for number in range(3)]
    for endorser in endorsers:
        endorser.incept()
    if known:
        node.accept(event.raw)
    for endorser in endorsers:
        node.feed(_endorsed(endorser, event))
    if not known:
        node.accept(event.raw)
    (held,) = node.store.waiting()
    assert {one.aid for one in held.missing} == {one.aid for one in endorsers[:2]}


# Protected and unprotected channels.


def test_own_event_is_taken_from_a_local_source() -> None:
    """An event of an own identifier waits until it comes through a protected channel."""
    author = Author("own")
    event = author.incept()
    node = Node(own=[author.aid])
    assert missing_of(node.feed(event.raw)) == {
        Missing(Want.LOCAL_SOURCE, author.aid, 0, event.event.said)
    }
    node.accept(event.raw, source=Source.LOCAL)
    assert not list(node.store.waiting())


def test_receipt_makes_no_event_local() -> None:
    """A receipt through a protected channel does not vouch for an event that came remotely."""
    author = Author("own")
    event = author.incept()
    node = Node(own=[author.aid])
    node.feed(event.raw)
    verdict = node.feed(event.receipted(_stranger("x")), source=Source.LOCAL)
    assert {one.want for one in missing_of(verdict)} == {Want.LOCAL_SOURCE}


def test_remote_copy_leaves_an_event_local() -> None:
    """An own event that came locally and waits may be completed remotely."""
    author = Author("own", keys=2)
    event = author.incept()
    one, two = event.signatures
    node = Node(own=[author.aid])
    node.feed(attached(event.event.raw, controlled(one)), source=Source.LOCAL)
    node.accept(attached(event.event.raw, controlled(two)))


def test_remote_receipt_leaves_an_event_local() -> None:
    """A receipt from anywhere does not make a local event remote."""
    author = Author("own", keys=2)
    event = author.incept()
    node = Node(own=[author.aid])
    node.feed(attached(event.event.raw, controlled(event.signatures[0])), source=Source.LOCAL)
    verdict = node.feed(event.receipted(_stranger("x")))
    assert {one.want for one in missing_of(verdict)} == {Want.SIGNATURES}


def test_waiting_event_keeps_its_source() -> None:
    """An own event that waited for the one before is judged by its own channel."""
    author = Author("own")
    inception, interaction = author.incept(), author.interact()
    node = Node(own=[author.aid])
    node.feed(interaction.raw)
    results = node.results(inception.raw, source=Source.LOCAL)
    assert isinstance(results[0].verdict, Accepted)
    assert {one.want for one in missing_of(results[1].verdict)} == {Want.LOCAL_SOURCE}


# Roles.


def _roles() -> tuple[Signed, Signed, Signed]:
    """Return an inception with one witness, a rotation to another, and an interaction."""
    first, second = pairs("first", 1), pairs("second", 1)
    inception = build.incept(plan(first, "1", second, "1"), build.Witnesses(1, [W0.aid]))
    state = state_after(inception, signatures(inception, first))
    change = build.Witnesses(1, [W1.aid], [W0.aid])
    rotation = build.rotate(state, plan(second, "1", pairs("third", 1), "1"), change)
    later = state_after(rotation, signatures(rotation, second), state)
    interaction = build.interact(later)
    return (
        Signed(inception, signatures(inception, first), (W0.indexed(inception.raw, 0, 0),)),
        Signed(rotation, signatures(rotation, second), (W1.indexed(rotation.raw, 0, 0),)),
        Signed(interaction, signatures(interaction, second), (W1.indexed(interaction.raw, 0, 0),)),
    )


@pytest.mark.parametrize(
    ("own", "witnessing"),
    [(W0, [True, False, False]), (W1, [False, True, True]), (W2, [False, False, False])],
)
def test_witness_receipts_while_it_is_listed(own: KeyPair, witnessing: list[bool]) -> None:
    """A witness owes receipts from the event on that adds it, up to the one that removes it."""
    node = Node(own=[own.aid])
    for signed, due in zip(_roles(), witnessing, strict=True):
        verdict = node.feed(signed.raw, source=Source.LOCAL)
        assert isinstance(verdict, Accepted)
        assert (ReceiptDue() in verdict.effects) is due


@pytest.mark.parametrize(
    ("own", "local"),
    [(W0, [True, False, False]), (W1, [False, True, True]), (W2, [False, False, False])],
)
def test_witness_takes_events_from_a_local_source(own: KeyPair, local: list[bool]) -> None:
    """A witness takes events that it has to receipt through a protected channel only."""
    node = Node(own=[own.aid])
    for signed, needed in zip(_roles(), local, strict=True):
        verdict = node.feed(signed.raw)
        assert isinstance(verdict, Pending if needed else Accepted)
        if needed:
            node.accept(signed.raw, source=Source.LOCAL)


# Duplicity.


def test_duplicity_is_kept_with_both_events() -> None:
    """The first seen event stands, and the other is kept as evidence, both signed."""
    node, author = Node(), Author("any")
    node.accept(author.incept().raw)
    other = author.fork().interact(DigestSeal(DIGEST))
    first = author.interact()
    node.accept(first.raw)
    assert isinstance(node.feed(other.raw), Duplicitous)
    assert isinstance(node.feed(other.raw), Duplicitous)
    (evidence,) = node.store.duplicity(author.aid)
    assert (evidence.accepted.event, evidence.accepted.proofs) == (
        first.event,
        Proofs(first.signatures),
    )
    assert (evidence.other, evidence.proofs) == (other.event, Proofs(other.signatures))
    assert node.trunk(author.aid)[1] == first.event.said


def test_evidence_is_bounded() -> None:
    """A duplicitous controller cannot fill the store."""
    node, author = Node(limits=Limits(evidence=2)), Author("any")
    node.accept(author.incept().raw)
    others = [author.fork().interact(*[DigestSeal(DIGEST)] * count) for count in (1, 2, 3)]
    node.accept(author.interact().raw)
    for other in others:
        assert isinstance(node.feed(other.raw), Duplicitous)
    assert len(node.store.duplicity(author.aid)) == 2


def test_duplicitous_event_stops_waiting() -> None:
    """An event that waited and turns out duplicitous is no longer held."""
    node, author = Node(), Author("any")
    inception = author.incept()
    other = author.fork().interact(DigestSeal(DIGEST))
    node.feed(other.raw)
    node.feed(author.interact().raw)
    results = node.results(inception.raw)
    assert [type(result.verdict) for result in results] == [Accepted, Accepted, Duplicitous]
    assert not list(node.store.waiting())


def test_rejected_event_stops_waiting() -> None:
    """An event that waited and turns out invalid is no longer held."""
    node, author = Node(), Author("any")
    inception = author.incept(configuration=Configuration(("EO",)))
    plain = Author("any")
    plain.incept()
    event = plain.interact()
    wrong = Signed(event.event, (KeyPair("stranger").indexed(event.event.raw, 0, 0),))
    good = plain.fork()
    node.feed(wrong.raw)
    assert inception.event.aid != good.aid
    results = node.results(Author("any").incept().raw)
    assert code_of(results[1].verdict) is ErrorCode.SIGNATURE
    assert not list(node.store.waiting())
