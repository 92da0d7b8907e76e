"""Notices of compromised keys: made by the owner, kept with the log, weighed by it."""

from datetime import timedelta, timezone

import pytest

from keystead.errors import ErrorCode, UsageError
from keystead.keri.build import Configuration
from keystead.keri.messages import Reply
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Recorded
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.compromises import (
    Compromise,
    compromises,
    kept_notices,
    notice_payload,
)
from keystead.owner.standing import Exposure, Standing
from keystead.testing.authoring import Author, Signed
from support.documents import ANCHOR, DIGEST, judged_by, notice, signed_document
from support.logs import NOW, STAMP, Node, code_of, parsed


def _begun(rotations: int = 0, *, keys: int = 1) -> tuple[Node, Author, list[Signed]]:
    """Return a node that knows a log of rotations, its author, and the events."""
    node, author = Node(), Author("owner", keys=keys)
    events = [author.incept(), *(author.rotate() for _ in range(rotations))]
    node.accept(*(event.raw for event in events))
    return node, author, events


def _at(generation: int) -> Author:
    """Return the owner as it was after so many rotations, or whoever has its keys of then."""
    author = Author("owner")
    author.incept()
    for _ in range(generation):
        author.rotate()
    return author


def _compromise(author: Author, generation: int, first_sn: int, signer_sn: int) -> Compromise:
    key = author.pairs(generation)[0].key
    return Compromise(author.aid, key, first_sn, "stolen laptop", signer_sn, STAMP)


def test_log_without_notices_has_no_compromises() -> None:
    """Nothing is compromised as long as the owner does not say so."""
    node, author, _ = _begun(2)
    assert compromises(node.store, author.aid) == ()
    assert compromises(Node().store, author.aid) == ()
    assert list(kept_notices(node.store, author.aid)) == []


def test_notice_of_the_owner_counts() -> None:
    """A notice tells key, place and reason, and is kept with its signer and time."""
    node, author, _ = _begun(1)
    assert isinstance(node.feed(notice(author, author.pairs(0)[0].key, 1)), Recorded)
    assert compromises(node.store, author.aid) == (_compromise(author, 0, 1, 1),)


def test_notice_is_a_reply() -> None:
    """What has to be signed is a reply in UTC, whatever the zone of the clock."""
    _, author, _ = _begun()
    here = NOW.astimezone(timezone(timedelta(hours=-7)))
    key = author.pairs(0)[0].key
    reply = parsed(notice_payload(author.aid, key, first_sn=26, reason="", now=here))
    assert isinstance(reply, Reply)
    assert reply.route == "/keystead/key/compromise"
    assert reply.timestamp == STAMP
    assert reply.attributes == {"i": author.aid, "k": key.text, "s": "1a", "r": ""}


@pytest.mark.parametrize(
    "reason", ["x" * (DEFAULT_LIMITS.url + 1), "two\nlines", "\x1b[2J", "\udc80"]
)
def test_reason_that_others_could_not_show_is_refused(reason: str) -> None:
    """A reason is short and printable."""
    _, author, _ = _begun()
    key = author.pairs(0)[0].key
    with pytest.raises(UsageError) as caught:
        notice_payload(author.aid, key, first_sn=0, reason=reason, now=NOW)
    assert caught.value.code is ErrorCode.ARGUMENT


def test_longest_reason_is_read() -> None:
    """A reason of the greatest length is accepted by others."""
    _, author, _ = _begun(1)
    longest = "ä" * DEFAULT_LIMITS.url
    key = author.pairs(0)[0].key
    payload = notice_payload(author.aid, key, first_sn=0, reason=longest, now=NOW)
    reply = parsed(payload)
    assert isinstance(reply, Reply)
    assert reply.attributes["r"] == longest


def test_notices_travel_behind_the_log() -> None:
    """Whoever gets the log with its notices knows the same, in whatever order they come."""
    node, author, events = _begun(3)
    for generation in (0, 2):
        key = author.pairs(generation)[0].key
        assert isinstance(node.feed(notice(author, key, generation)), Recorded)
    told = compromises(node.store, author.aid)
    assert {one.first_sn for one in told} == {0, 2}
    exported = [*(event.raw for event in events), *kept_notices(node.store, author.aid)]
    for messages in (exported, exported[::-1]):
        other = Node()
        for raw in messages:
            other.results(raw)
        assert compromises(other.store, author.aid) == told


def test_thief_can_not_tell_of_the_stolen_key() -> None:
    """Who has a rotated key makes no notice about it: what it signed for the owner stands."""
    node, author, _ = _begun()
    data, thief = signed_document(author), author.fork()
    node.accept(author.interact(ANCHOR).raw, author.rotate().raw)
    forged = notice(thief, thief.pairs(0)[0].key, 0)
    assert code_of(node.feed(forged)) is ErrorCode.SIGNER
    assert compromises(node.store, author.aid) == ()
    assert judged_by(node, data).valid


def test_thief_can_not_tell_of_keys_to_come() -> None:
    """Who has a rotated key makes no notice about its successors."""
    node, author, _ = _begun(2)
    forged = notice(_at(0), author.pairs(1)[0].key, 1)
    assert code_of(node.feed(forged)) is ErrorCode.SIGNER


def test_notice_by_keys_that_were_stolen_later_does_not_count() -> None:
    """A thief of rotated keys speaks about earlier ones until the owner tells of the theft."""
    node, author, _ = _begun(2)
    data = signed_document(_at(0))
    assert isinstance(node.feed(notice(_at(1), author.pairs(0)[0].key, 0)), Recorded)
    assert judged_by(node, data).exposure is Exposure.NOT_ANCHORED
    assert isinstance(node.feed(notice(author, author.pairs(1)[0].key, 1)), Recorded)
    assert compromises(node.store, author.aid) == (_compromise(author, 1, 1, 2),)
    assert judged_by(node, data).valid


def test_owner_repeats_notices_of_keys_that_were_stolen_later() -> None:
    """A notice repeated with the latest keys counts, whatever thieves of former keys say."""
    node, author, _ = _begun(2)
    key = author.pairs(0)[0].key
    for told in (notice(_at(1), key, 0), notice(author, author.pairs(1)[0].key, 1)):
        assert isinstance(node.feed(told), Recorded)
    assert isinstance(node.feed(notice(author, key, 1)), Recorded)
    assert set(compromises(node.store, author.aid)) == {
        _compromise(author, 1, 1, 2),
        _compromise(author, 0, 1, 2),
    }
    assert code_of(node.feed(notice(_at(1), key, 0))) is ErrorCode.STALE


def test_chain_of_stolen_keys_is_followed_from_its_end() -> None:
    """A notice counts unless one that counts says that its own keys were stolen."""
    node, author, _ = _begun(3)
    for generation in (0, 1, 2):
        told = notice(_at(generation + 1), author.pairs(generation)[0].key, generation)
        assert isinstance(node.feed(told), Recorded)
    # The last tells that keys 2 are stolen; they told of keys 1; so keys 1 may tell of keys 0.
    assert compromises(node.store, author.aid) == (
        _compromise(author, 2, 2, 3),
        _compromise(author, 0, 0, 1),
    )


def test_notice_signed_under_a_lost_rotation_does_not_count() -> None:
    """A notice by keys that a recovery took back is void; the recovered identifier may repeat it."""
    node, root, delegate = Node(), Author("delegator"), Author("delegate")
    begun, signed = root.incept(), delegate.incept(configuration=Configuration(delegator=root.aid))
    node.accept(begun.raw, root.interact(signed.seal).raw, signed.raw)
    data, recovered = signed_document(delegate), delegate.fork()
    old = delegate.rotate()
    new = recovered.rotate(anchors=[DigestSeal(DIGEST[::-1])])
    node.accept(root.interact(old.seal).raw, old.raw)
    key = delegate.pairs(0)[0].key
    assert isinstance(node.feed(notice(delegate, key, 0)), Recorded)
    assert judged_by(node, data).exposure is Exposure.NOT_ANCHORED
    node.accept(root.interact(new.seal).raw, new.raw)
    assert compromises(node.store, delegate.aid) == ()
    verdict = judged_by(node, data)
    assert (verdict.valid, verdict.standing) == (True, Standing.ROTATED)
    assert isinstance(node.feed(notice(recovered, key, 0)), Recorded)
    assert judged_by(node, data).exposure is Exposure.NOT_ANCHORED
