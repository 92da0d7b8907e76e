"""What signatures of documents are worth, by the logs of their signers."""

import pytest

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Said, digest
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.build import Configuration
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.keri.thresholds import Field
from keystead.keri.verdicts import Duplicitous, Recorded
from keystead.owner.compromises import Compromise
from keystead.owner.documents import (
    DocumentSignature,
    digest_of,
    read_signature,
    statement,
    write_signature,
)
from keystead.owner.standing import Exposure, Standing, Verdict, explain, judge_signature
from keystead.testing.authoring import Author, KeyPair, witness
from support.documents import (
    ANCHOR,
    DIGEST,
    DOCUMENT,
    judged_by,
    notice,
    signed_alone,
    signed_document,
)
from support.logs import (
    STAMP,
    Node,
    attached,
    controlled,
    pairs,
    parse_raw,
    plan,
    remade,
    signatures,
)

OTHER = DigestSeal(digest(b"another document"))


def _begun(
    name: str = "signer", keys: int = 1, threshold: Field | None = None
) -> tuple[Node, Author]:
    """Return a node that knows the inception of an author."""
    node, author = Node(), Author(name, keys=keys, threshold=threshold)
    node.accept(author.incept().raw)
    return node, author


def _told(node: Node, author: Author, generation: int, first_sn: int, place: int = 0) -> None:
    """Have the owner tell that a former key is compromised."""
    key = author.pairs(generation)[place].key
    assert isinstance(node.feed(notice(author, key, first_sn)), Recorded)


def _summary(verdict: Verdict) -> tuple[bool, Standing, Exposure]:
    return verdict.valid, verdict.standing, verdict.exposure


# Where the keys stand.


def test_signature_by_current_keys() -> None:
    """The keys that the log names last signed: valid."""
    node, author = _begun()
    data = signed_document(author)
    node.accept(author.interact(OTHER).raw)
    assert judged_by(node, data) == Verdict(
        valid=True,
        standing=Standing.CURRENT,
        digest=DIGEST,
        aid=author.aid,
        sn=0,
        said=author.state.establishment.said,
        log_sn=1,
    )


def test_signature_by_rotated_keys() -> None:
    """Keys that a rotation replaced signed: valid, and the answer names the first rotation."""
    node, author = _begun()
    data = signed_document(author)
    node.accept(author.interact().raw, author.rotate().raw, author.rotate().raw)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.ROTATED, Exposure.NONE)
    assert (verdict.rotated_at, verdict.anchored_at, verdict.log_sn) == (2, None, 3)
    assert any("anchor in the log would settle" in line for line in explain(verdict))


@pytest.mark.parametrize("rotated", [False, True])
def test_anchor_in_the_log_is_told(*, rotated: bool) -> None:
    """The first event that anchors the document is named, and settles when it was signed."""
    node, author = _begun()
    data = signed_document(author)
    node.accept(author.interact(OTHER).raw, author.interact(OTHER, ANCHOR).raw)
    node.accept(author.interact(ANCHOR).raw)
    if rotated:
        node.accept(author.rotate(anchors=[ANCHOR]).raw)
    verdict = judged_by(node, data)
    assert verdict.valid
    assert verdict.anchored_at == 2
    assert verdict.rotated_at == (4 if rotated else None)
    assert explain(verdict)[1:] == ["event 2 of the log anchors the document"]


@pytest.mark.parametrize("place", ["inception", "rotation"])
def test_anchor_in_an_establishment_event_is_told(place: str) -> None:
    """Establishment events anchor documents too."""
    node, author = Node(), Author("signer")
    node.accept(author.incept(anchors=[ANCHOR] if place == "inception" else []).raw)
    node.accept(author.rotate(anchors=[ANCHOR] if place == "rotation" else []).raw)
    verdict = judged_by(node, signed_document(author))
    assert verdict.standing is Standing.CURRENT
    assert verdict.anchored_at == (0 if place == "inception" else 1)


def test_log_that_is_not_known() -> None:
    """Without the log nobody can tell whose keys signed."""
    author = Author("signer")
    author.incept()
    verdict = judged_by(Node(), signed_document(author))
    assert _summary(verdict) == (False, Standing.UNKNOWN_LOG, Exposure.NONE)
    assert (verdict.fault, verdict.log_sn) == (None, None)


def test_log_that_does_not_reach_the_event() -> None:
    """A log that is known up to an earlier event is too short to tell."""
    node, author = _begun()
    author.rotate()
    verdict = judged_by(node, signed_document(author))
    assert _summary(verdict) == (False, Standing.LOG_BEHIND, Exposure.NONE)
    assert (verdict.fault, verdict.log_sn, verdict.sn) == (None, 0, 1)


def test_abandoned_identifier_keeps_what_it_signed_before() -> None:
    """A signature by earlier keys stays valid when the log ends; the answer tells of the end."""
    node, author = _begun()
    data = signed_document(author)
    node.accept(author.rotate(last=True).raw)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.ROTATED, Exposure.NONE)
    assert verdict.abandoned
    assert explain(verdict)[-1].startswith("the identifier was abandoned since")


@pytest.mark.parametrize("anchored", [False, True])
def test_keys_of_the_event_that_ended_the_log(*, anchored: bool) -> None:
    """Keys that only the last event set sign nothing any more, but what that event anchors."""
    node, author = _begun()
    node.accept(author.rotate(last=True, anchors=[ANCHOR] if anchored else []).raw)
    verdict = judged_by(node, signed_document(author))
    assert _summary(verdict) == (anchored, Standing.ABANDONED, Exposure.NONE)
    assert verdict.abandoned
    assert ("nobody should sign" in explain(verdict)[-1]) is not anchored


def test_log_of_one_event_is_not_abandoned() -> None:
    """An inception without next keys sets keys for ever; that is no end."""
    pair = KeyPair("for ever")
    event = build.incept(plan([pair], "1"))
    node = Node()
    node.accept(attached(event.raw, controlled(*signatures(event, [pair]))))
    seal = EventSeal(event.aid, 0, event.said)
    made = pair.indexed(statement(DIGEST, seal), 0, 0)
    data = write_signature(
        DocumentSignature(DIGEST, SignatureGroup(event.aid, 0, event.said, (made,)))
    )
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.CURRENT, Exposure.NONE)
    assert not verdict.abandoned


# Identifiers that are their only key.


def test_non_transferable_identifier_needs_no_log() -> None:
    """A signature by an identifier that is its key is valid by itself."""
    pair = witness("alone")
    verdict = judged_by(Node(), signed_alone(pair))
    assert verdict == Verdict(
        valid=True,
        standing=Standing.NON_TRANSFERABLE,
        digest=DIGEST,
        aid=pair.aid,
        sn=None,
        said=None,
    )


def test_bad_signature_of_a_non_transferable_identifier() -> None:
    """A signature over something else is refused, and so is a transferable key by itself."""
    pair, other = witness("alone"), KeyPair("transferable")
    over = DocumentSignature(DIGEST, pair.couple(statement(OTHER.digest, pair.aid)))  # type: ignore[arg-type] # text of a digest
    moved = DocumentSignature(DIGEST, other.couple(statement(DIGEST, other.aid)))
    for signature in (over, moved):
        verdict = judge_signature(signature, DIGEST, Node().store, ())
        assert _summary(verdict) == (False, Standing.INVALID, Exposure.NONE)
        assert verdict.fault is ErrorCode.SIGNATURE


# What is not valid.


@pytest.mark.parametrize("alone", [False, True])
def test_another_document_is_not_the_signed_one(*, alone: bool) -> None:
    """A signature says nothing about another document."""
    node, author = _begun()
    data = signed_alone(witness("alone")) if alone else signed_document(author)
    verdict = judged_by(node, data, digest_of([DOCUMENT, b"."]))
    assert _summary(verdict) == (False, Standing.INVALID, Exposure.NONE)
    assert verdict.fault is ErrorCode.PAYLOAD


def test_signature_of_the_bare_digest_or_document_does_not_count() -> None:
    """Only the statement can be signed: not the document, its digest or another domain."""
    node, author = _begun()
    last = author.state.establishment
    good = statement(DIGEST, EventSeal(author.aid, last.sn, last.said))
    for payload in (DOCUMENT, DIGEST.encode(), good[:-1], good.replace(b"-1\n", b"-2\n")):
        group = SignatureGroup(author.aid, 0, last.said, author.signatures(payload))
        verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
        assert verdict.fault is ErrorCode.SIGNATURE


def test_signature_can_not_be_moved_to_another_identifier() -> None:
    """A signature is bound to its identifier, even where two identifiers share their keys."""
    pair, following = KeyPair("shared"), KeyPair("shared next")
    node = Node()
    found = []
    thresholds: tuple[Field, ...] = ("1", ["1"])
    for threshold in thresholds:
        event = build.incept(plan([pair], threshold, [following], "1"))
        node.accept(attached(event.raw, controlled(*signatures(event, [pair]))))
        found.append(event)
    one, other = found
    made = pair.indexed(statement(DIGEST, EventSeal(one.aid, 0, one.said)), 0, 0)
    for event, valid in ((one, True), (other, False)):
        group = SignatureGroup(event.aid, 0, event.said, (made,))
        verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
        assert verdict.valid is valid
    assert verdict.fault is ErrorCode.SIGNATURE


def test_signature_that_names_another_event() -> None:
    """The named event must be an establishment event of the log."""
    node, author = _begun()
    node.accept(author.interact().raw)
    for sn, said in ((0, digest(b"another")), (1, author.state.said)):
        made = author.signatures(statement(DIGEST, EventSeal(author.aid, sn, said)))
        group = SignatureGroup(author.aid, sn, said, made)
        verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
        assert _summary(verdict) == (False, Standing.INVALID, Exposure.NONE)
        assert verdict.fault is ErrorCode.SIGNER_SEAL


def test_event_of_the_log_at_another_place() -> None:
    """An event is named by its digest and its own place."""
    node, author = _begun()
    first = Said(author.state.said)
    node.accept(author.interact().raw, author.rotate().raw)
    for sn, standing in ((1, Standing.INVALID), (9, Standing.LOG_BEHIND)):
        made = author.signatures(statement(DIGEST, EventSeal(author.aid, sn, first)))
        group = SignatureGroup(author.aid, sn, first, made)
        verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
        assert _summary(verdict) == (False, standing, Exposure.NONE)


# Several keys.


@pytest.mark.parametrize(
    ("threshold", "places", "valid"),
    [
        ("2", [0, 1], True),
        ("2", [1, 2], True),
        ("2", [0, 1, 2], True),
        ("2", [1], False),
        (["1/2", "1/2", "1/4"], [0, 1], True),
        (["1/2", "1/2", "1/4"], [0, 2], False),
        ([["1", "0"], ["1"]], [0, 2], True),
        ([["1", "0"], ["1"]], [0, 1], False),
        (["1/2", "1/2", "0"], [2], False),
    ],
)
def test_threshold_decides(threshold: Field, places: list[int], *, valid: bool) -> None:
    """As many keys must sign, or with such weights, as for an event."""
    node, author = _begun(keys=3, threshold=threshold)
    verdict = judged_by(node, signed_document(author, places=places))
    assert verdict.valid is valid
    assert verdict.fault is (None if valid else ErrorCode.THRESHOLD)


def test_one_key_listed_twice_counts_once() -> None:
    """Two places of one key are one signer."""
    one, placeholder, other = pairs("key", 3)
    usual = build.incept(plan([one, placeholder, other], "2"))
    raw = remade(usual, {"k": [one.key.text, one.key.text, other.key.text]})
    event = parse_raw(raw)
    node = Node()
    node.accept(attached(raw, controlled(one.indexed(raw, 0, 0), other.indexed(raw, 2, 2))))
    payload = statement(DIGEST, EventSeal(event.aid, 0, event.said))
    for second, place, valid in ((one, 1, False), (other, 2, True)):
        made = (one.indexed(payload, 0, 0), second.indexed(payload, place, place))
        group = SignatureGroup(event.aid, 0, event.said, made)
        verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
        assert verdict.valid is valid
        assert verdict.fault is (None if valid else ErrorCode.THRESHOLD)


def test_every_signature_of_the_file_must_verify() -> None:
    """A bad signature spoils the file, also where the others would suffice."""
    node, author = _begun(keys=3, threshold="2")
    signature = read_signature(signed_document(author))
    assert isinstance(signature.signed, SignatureGroup)
    good = signature.signed.signatures
    strange = KeyPair("strange").indexed(signature.statement, 2, 2)
    for made in ((*good[:2], strange), (*good, KeyPair("far").indexed(b"", 7, 7))):
        group = SignatureGroup(author.aid, 0, author.state.said, made)
        verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
        assert verdict.fault is ErrorCode.SIGNATURE


# Recoveries, delegation, duplicity.


def test_anchor_that_a_recovery_took_back_does_not_count() -> None:
    """An interaction on the disputed branch anchors nothing."""
    node, author = _begun()
    data, thief = signed_document(author), author.fork()
    node.accept(thief.interact(ANCHOR).raw)
    assert judged_by(node, data).anchored_at == 1
    node.accept(author.rotate().raw)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.ROTATED, Exposure.NONE)
    assert (verdict.rotated_at, verdict.anchored_at) == (1, None)


def _delegated() -> tuple[Node, Author, Author]:
    """Return a node that knows a delegator and its delegate."""
    node, root = _begun("delegator")
    delegate = Author("delegate")
    signed = delegate.incept(configuration=Configuration(delegator=root.aid))
    node.accept(root.interact(signed.seal).raw, signed.raw)
    return node, root, delegate


def test_delegated_identifier_signs_like_any_other() -> None:
    """A signature by a delegate is judged by its own log."""
    node, root, delegate = _delegated()
    data = signed_document(delegate)
    assert _summary(judged_by(node, data)) == (True, Standing.CURRENT, Exposure.NONE)
    rotation = delegate.rotate(anchors=[ANCHOR])
    node.accept(root.interact(rotation.seal).raw, rotation.raw)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.ROTATED, Exposure.NONE)
    assert (verdict.rotated_at, verdict.anchored_at) == (1, 1)


@pytest.mark.parametrize("anchored", [False, True])
def test_keys_that_a_recovery_took_back(*, anchored: bool) -> None:
    """Keys of a rotation that the delegator replaced sign nothing, whatever the log anchors."""
    node, root, delegate = _delegated()
    recovered = delegate.fork()
    old, new = delegate.rotate(), recovered.rotate(anchors=[ANCHOR if anchored else OTHER])
    node.accept(root.interact(old.seal).raw, old.raw)
    data = signed_document(delegate)
    assert _summary(judged_by(node, data)) == (True, Standing.CURRENT, Exposure.NONE)
    node.accept(root.interact(new.seal).raw, new.raw)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (False, Standing.SUPERSEDED, Exposure.NONE)
    assert verdict.fault is None
    assert judged_by(node, signed_document(recovered)).valid
    broken = read_signature(data)
    assert isinstance(broken.signed, SignatureGroup)
    wrong = SignatureGroup(
        broken.aid, 1, broken.signed.said, delegate.signatures(b"something else")
    )
    verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, wrong)))
    assert verdict.fault is ErrorCode.SIGNATURE


def test_interaction_that_a_recovery_took_back_sets_no_keys() -> None:
    """A signature can not name a superseded event that is no establishment event."""
    node, author = _begun()
    thief = author.fork()
    lost = thief.interact()
    node.accept(lost.raw, author.rotate().raw)
    made = thief.signatures(statement(DIGEST, lost.seal))
    group = SignatureGroup(author.aid, 1, lost.event.said, made)
    verdict = judged_by(node, write_signature(DocumentSignature(DIGEST, group)))
    assert verdict.fault is ErrorCode.SIGNER_SEAL


@pytest.mark.parametrize("anchored", [False, True])
def test_duplicitous_identifier_is_never_simply_valid(*, anchored: bool) -> None:
    """Who signed two events for one place is not believed, anchored or not."""
    node, author = _begun()
    node.accept(author.interact(ANCHOR if anchored else OTHER).raw)
    data, other = signed_document(author), author.fork()
    node.accept(author.interact().raw)
    assert isinstance(node.feed(other.interact(OTHER).raw), Duplicitous)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (False, Standing.CURRENT, Exposure.NONE)
    assert verdict.duplicitous
    assert "do not rely on anything that it signs" in explain(verdict)[1]


def test_who_has_old_keys_frames_nobody() -> None:
    """Another history by keys that a rotation replaced is told; the signature stays valid."""
    node, author = _begun()
    thief = author.fork()
    node.accept(author.rotate().raw)
    data = signed_document(author)
    assert isinstance(node.feed(thief.interact(OTHER).raw), Duplicitous)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.CURRENT, Exposure.NONE)
    assert (verdict.duplicitous, verdict.dismissed) == (False, True)
    assert "the one that was seen first stands" in explain(verdict)[1]


def test_delegate_of_a_duplicitous_delegator_is_not_valid() -> None:
    """What a delegate signs is worth no more than its delegator."""
    node, root, delegate = _delegated()
    other = root.fork()
    node.accept(root.interact().raw)
    assert isinstance(node.feed(other.interact(OTHER).raw), Duplicitous)
    verdict = judged_by(node, signed_document(delegate))
    assert _summary(verdict) == (False, Standing.CURRENT, Exposure.NONE)
    assert verdict.duplicitous


# Compromised keys.


@pytest.mark.parametrize(
    ("anchors", "since", "exposure", "anchored_at"),
    [
        ((), 0, Exposure.NOT_ANCHORED, None),
        ((), 3, Exposure.NOT_ANCHORED, None),
        ((1,), 2, Exposure.ANCHORED_BEFORE, 1),
        ((1,), 1, Exposure.ANCHORED_AFTER, 1),
        ((2,), 1, Exposure.ANCHORED_AFTER, 2),
        ((1, 2), 2, Exposure.ANCHORED_BEFORE, 1),
        ((1, 2), 1, Exposure.ANCHORED_AFTER, 1),
        ((3,), 1, Exposure.ANCHORED_BY_OTHER_KEYS, 3),
        ((1, 4), 1, Exposure.ANCHORED_BY_OTHER_KEYS, 4),
        ((1, 4), 2, Exposure.ANCHORED_BEFORE, 1),
    ],
)
def test_compromised_keys_leave_what_was_anchored_in_time(
    anchors: tuple[int, ...], since: int, exposure: Exposure, anchored_at: int | None
) -> None:
    """A signature by a key that was stolen stands by anchors that no thief can have made."""
    node, author = _begun()
    data = signed_document(author)
    for sn in (1, 2):
        node.accept(author.interact(ANCHOR if sn in anchors else OTHER).raw)
    node.accept(author.rotate(anchors=[ANCHOR] if 3 in anchors else []).raw)
    node.accept(author.interact(ANCHOR if 4 in anchors else OTHER).raw)
    assert judged_by(node, data).valid
    _told(node, author, 0, since)
    verdict = judged_by(node, data)
    unharmed = exposure in (Exposure.ANCHORED_BEFORE, Exposure.ANCHORED_BY_OTHER_KEYS)
    assert _summary(verdict) == (unharmed, Standing.ROTATED, exposure)
    assert (verdict.anchored_at, verdict.compromised_since) == (anchored_at, since)
    assert f"compromised since event {since}" in explain(verdict)[1]
    assert len(explain(verdict)) == 3


def test_compromise_of_former_keys_leaves_current_ones() -> None:
    """What other keys of the identifier signed is not touched."""
    node, author = _begun()
    node.accept(author.rotate().raw)
    _told(node, author, 0, 0)
    verdict = judged_by(node, signed_document(author))
    assert _summary(verdict) == (True, Standing.CURRENT, Exposure.NONE)
    assert verdict.compromised_since is None


def test_anchor_by_compromised_keys_does_not_settle_when_other_keys_signed() -> None:
    """An event that a thief may have signed counts as no anchor, whoever signed the document."""
    node, author = _begun()
    data = signed_document(author)
    node.accept(author.rotate().raw, author.interact(ANCHOR).raw, author.rotate().raw)
    assert judged_by(node, data).anchored_at == 2
    _told(node, author, 1, 2)
    verdict = judged_by(node, data)
    assert _summary(verdict) == (True, Standing.ROTATED, Exposure.NONE)
    assert verdict.anchored_at is None
    assert any("no event that counts anchors" in line for line in explain(verdict))


def test_compromises_of_others_do_not_matter() -> None:
    """A compromise is of a key of one identifier, whoever else uses it."""
    node, author = _begun()
    node.accept(author.rotate().raw)
    other = Author("another")
    node.accept(other.incept().raw)
    stolen = Compromise(author.aid, other.pairs(0)[0].key, 0, "stolen", 1, STAMP)
    signature = read_signature(signed_document(other))
    assert judge_signature(signature, DIGEST, node.store, [stolen]).valid


@pytest.mark.parametrize(
    ("signed", "lost", "exposure"),
    [
        ([0, 1], [0], Exposure.NOT_ANCHORED),
        ([0, 1, 2], [0], Exposure.NONE),
        ([1, 2], [0], Exposure.NONE),
        ([0, 1, 2], [0, 1], Exposure.NOT_ANCHORED),
    ],
)
def test_compromised_keys_of_several_do_not_count(
    signed: list[int], lost: list[int], exposure: Exposure
) -> None:
    """A signature stands as long as the other keys meet the threshold."""
    node, author = _begun(keys=3, threshold="2")
    data = signed_document(author, places=signed)
    node.accept(author.rotate().raw)
    for place in lost:
        _told(node, author, 0, 0, place)
    verdict = judged_by(node, data)
    assert verdict.exposure is exposure
    assert verdict.valid is (exposure is Exposure.NONE)


def test_compromise_is_counted_from_the_first_event_in_doubt() -> None:
    """With several compromised signers the earliest doubt is told, of others none."""
    node, author = _begun(keys=3, threshold="1")
    node.accept(author.interact().raw, author.interact(ANCHOR).raw)
    data = signed_document(author, places=[0, 1])
    node.accept(author.rotate().raw)
    for place, since in ((0, 2), (1, 3), (2, 0)):
        _told(node, author, 0, since, place)
    verdict = judged_by(node, data)
    assert verdict.compromised_since == 2
    # The event that anchors was signed by all three keys, of which the second was good then.
    assert (verdict.exposure, verdict.anchored_at) == (Exposure.ANCHORED_BY_OTHER_KEYS, 2)


# In words.


def test_answer_comes_first_in_words() -> None:
    """The first sentence tells whether the signature is valid, not valid, or not decided."""
    node, author = _begun()
    data = signed_document(author)
    aid = author.aid
    assert explain(judged_by(node, data)) == [
        f"valid: signed by {aid} with its current keys, those of event 0"
    ]
    assert explain(judged_by(Node(), data)) == [
        f"NOT decided: the log of {aid} is not known here",
        "get the log from the signer, or a longer one, and verify again",
    ]
    assert explain(judged_by(node, data, digest_of([b""]))) == [
        "NOT valid: this is not the document that was signed: its digest is another"
    ]
    alone = witness("alone")
    assert explain(judged_by(node, signed_alone(alone))) == [
        f"valid: signed by {alone.aid}, which is its only key for ever"
    ]


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("exposure", Exposure)
@pytest.mark.parametrize("valid", [False, True])
def test_every_answer_has_words(standing: Standing, exposure: Exposure, *, valid: bool) -> None:
    """Whatever the answer, there are sentences for it, in lower case, on one line each."""
    verdict = Verdict(
        valid=valid,
        standing=standing,
        digest=DIGEST,
        aid=witness("any").aid,
        sn=10,
        said=DIGEST,
        fault=ErrorCode.THRESHOLD if standing is Standing.INVALID else None,
        rotated_at=11,
        anchored_at=12,
        exposure=exposure,
        compromised_since=13,
        abandoned=True,
        log_sn=14,
    )
    lines = explain(verdict)
    assert all(line.isprintable() and len(line) > 20 for line in lines)
    assert any("event d" in line for line in lines) is (exposure is not Exposure.NONE)
