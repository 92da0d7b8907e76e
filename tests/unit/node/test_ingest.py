"""The way into a node: framed messages, what they unblock, and what expires."""

from datetime import datetime, timedelta, timezone

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import FirstSeenCouple, SignatureGroup
from keystead.errors import ErrorCode
from keystead.keri.escrow import Want
from keystead.keri.verdicts import Accepted, Authentic, Rejected, Source
from keystead.limits import Limits
from keystead.node.replay import replay
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.logs import (
    NOW,
    STAMP,
    Node,
    attached,
    code_of,
    controlled,
    coupled,
    framed,
    group,
    missing_of,
    raw_of,
    routed,
)


def _held(node: Node) -> list[str]:
    """Return the digests of events that wait, oldest first."""
    return [held.key[3] for held in node.store.waiting()]


def _bare(signed: Signed, count: int = 0) -> bytes:
    """Return an event with some of its signatures."""
    return attached(signed.event.raw, controlled(*signed.signatures[:count]))


# Messages.


def test_message_that_cannot_be_read_is_rejected() -> None:
    """A message that is no typed message gives one result without it."""
    (result,) = Node().results(raw_of({"v": "", "t": "xyz", "d": ""}))
    assert result.message is None
    assert code_of(result.verdict) is ErrorCode.MESSAGE_TYPE
    assert not result.again


def test_message_read_the_general_way_is_the_same() -> None:
    """A processor takes messages of any reader."""
    node, signed = Node(), Author("any").incept()
    (result,) = node.processor.process(framed(signed.event.raw, signed.groups), now=NOW)
    assert isinstance(result.verdict, Accepted)
    assert result.message == signed.event


@pytest.mark.parametrize("source", Source)
def test_stream_of_several_logs_is_accepted(source: Source) -> None:
    """Messages of a stream are decided on one after another, from any source."""
    node, authors = Node(), [Author(f"{number}") for number in range(3)]
    stream = b"".join(author.incept().raw for author in authors)
    stream += b"".join(author.rotate().framed for author in authors)
    results = node.results(stream, source=source)
    assert [type(result.verdict) for result in results] == [Accepted] * 6
    assert list(node.store.identifiers()) == [author.aid for author in authors]


def test_time_is_recorded_in_utc() -> None:
    """The first-seen time is in UTC, whatever zone the caller's clock has."""
    node, author = Node(), Author("any")
    zone = timezone(timedelta(hours=2))
    node.feed(author.incept().raw, now=datetime(2026, 1, 2, 5, 4, 5, tzinfo=zone))
    (accepted,) = node.store.events(author.aid)
    assert accepted.first_seen_at == STAMP


@pytest.mark.parametrize(
    ("trusted", "seen_at"),
    [(True, "2020-01-01T00:00:00.000000+00:00"), (False, STAMP)],
)
def test_first_seen_time_of_a_replay(seen_at: str, *, trusted: bool) -> None:
    """The attached first-seen time is taken over only where the replay is trusted."""
    node, signed = Node(trust_first_seen=trusted), Author("any").incept()
    couple = FirstSeenCouple(7, "2020-01-01T00:00:00.000000+00:00")
    node.accept(
        attached(signed.event.raw, *signed.groups, group(GroupKind.FIRST_SEEN_COUPLES, couple))
    )
    (accepted,) = node.store.events(signed.event.aid)
    assert (accepted.first_seen_number, accepted.first_seen_at) == (0, seen_at)


def test_event_without_first_seen_time_gets_that_of_its_arrival() -> None:
    """A trusted replay need not attach times."""
    node, signed = Node(trust_first_seen=True), Author("any").incept()
    node.accept(signed.raw)
    (accepted,) = node.store.events(signed.event.aid)
    assert accepted.first_seen_at == STAMP


def test_replay_gives_the_same_log() -> None:
    """What a node replays gives the same log elsewhere."""
    node, author = Node(), Author("any", witnesses=[witness("a")])
    node.accept(author.incept().raw)
    recovery = author.fork()
    node.accept(author.interact().raw, recovery.rotate().raw, recovery.interact().raw)
    copy = Node(trust_first_seen=True)
    copy.accept(*replay(node.store, author.aid))
    assert list(copy.store.first_seen(author.aid)) == list(node.store.first_seen(author.aid))
    assert copy.trunk(author.aid) == node.trunk(author.aid)


def test_replay_may_start_later() -> None:
    """A replay gives what comes from a first-seen number on."""
    node, author = Node(), Author("any")
    log = [author.incept(), author.interact(), author.rotate()]
    node.accept(*(signed.raw for signed in log))
    (raw,) = replay(node.store, author.aid, first=2)
    assert raw.startswith(log[2].event.raw)


# Unblocking.


def test_arrival_unblocks_other_logs() -> None:
    """An inception unblocks all messages that wait for it, oldest first."""
    node, author = Node(), Author("any")
    log = author.incept()
    queries = [routed("qry", q={"i": author.aid, "s": "0", "x": number}) for number in range(3)]
    pair = witness("asking")
    for raw in queries:
        node.feed(attached(raw, coupled(pair, raw)))
    results = node.results(log.raw)
    assert [type(result.verdict) for result in results] == [Accepted] + [Authentic] * 3
    found = [result.message for result in results[1:]]
    assert [getattr(message, "raw", None) for message in found] == queries


def test_held_event_that_is_still_incomplete_stays() -> None:
    """What is unblocked and lacks something else waits for that."""
    node, author = Node(), Author("any", keys=2)
    inception, interaction = author.incept(), author.interact()
    node.feed(_bare(interaction, 1))
    results = node.results(inception.raw)
    assert {one.want for one in missing_of(results[1].verdict)} == {Want.SIGNATURES}
    assert _held(node) == [interaction.event.said]


# Bounds on what waits.


def _events(count: int, name: str = "any") -> list[Signed]:
    """Make events of one log that wait for the inception."""
    author = Author(name)
    author.incept()
    return [author.interact() for _ in range(count)]


def test_oldest_unverified_event_of_a_log_makes_room() -> None:
    """Events that wait for one log are bounded; the oldest goes, and is told of."""
    node, events = Node(limits=Limits(held_events=2)), _events(3)
    for signed in events[:2]:
        node.feed(signed.raw)
    results = node.results(events[2].raw)
    assert results[1].message == events[0].event
    assert results[1].again
    assert code_of(results[1].verdict) is ErrorCode.ESCROW_FULL
    assert _held(node) == [signed.event.said for signed in events[1:]]


def test_verified_event_stays_when_unverified_ones_flood() -> None:
    """An event with verified signatures outlives unverified ones of its log."""
    author = Author("any", keys=2)
    inception, event = author.incept(), author.interact()
    node = Node(limits=Limits(held_events=2))
    node.accept(inception.raw)
    node.feed(_bare(event, 1))
    later = author.fork()
    floods = [later.interact() for _ in range(3)]
    for signed in floods:
        node.feed(signed.raw)
    assert _held(node) == [event.event.said, floods[2].event.said]


def test_oldest_verified_event_goes_when_all_are_verified() -> None:
    """Where all that waits is verified the oldest goes."""
    author = Author("any", keys=2)
    node = Node(limits=Limits(held_events=1))
    node.accept(author.incept().raw)
    events = [author.fork().interact(), author.fork().rotate()]
    for signed in events:
        node.feed(_bare(signed, 1))
    assert _held(node) == [events[1].event.said]


def test_logs_do_not_push_out_each_other() -> None:
    """A flooded identifier takes no room of another one."""
    node, victim = Node(limits=Limits(held_events=1)), _events(1, "victim")[0]
    node.feed(victim.raw)
    for signed in _events(3, "flooded"):
        node.feed(signed.raw)
    assert victim.event.said in _held(node)


def test_total_is_bounded() -> None:
    """All that waits together is bounded in number."""
    node = Node(limits=Limits(held_total=2))
    events = [_events(1, name)[0] for name in "abc"]
    for signed in events:
        node.feed(signed.raw)
    assert _held(node) == [signed.event.said for signed in events[1:]]


def test_size_is_bounded() -> None:
    """All that waits together is bounded in size."""
    events = [_events(1, name)[0] for name in "abc"]
    node = Node()
    node.feed(events[0].raw)
    size = sum(held.size for held in node.store.waiting())
    node = Node(limits=Limits(held_bytes=2 * size))
    for signed in events:
        node.feed(signed.raw)
    assert len(_held(node)) == 2


def test_too_large_message_does_not_wait() -> None:
    """A message larger than the bound is dropped right away."""
    node, (signed,) = Node(limits=Limits(held_bytes=100)), _events(1)
    results = node.results(signed.raw)
    assert [type(result.verdict) for result in results][1:] == [Rejected]
    assert _held(node) == []


def test_messages_count_towards_the_total() -> None:
    """Routed messages share the total bound; verified ones outlive unverified ones."""
    node, author = Node(limits=Limits(held_total=2)), Author("any", keys=2)
    node.accept(author.incept().raw)
    pair, signed = witness("asking"), routed("exn", i=author.aid)
    one = author.signatures(signed)[0]
    last = author.state.establishment
    named = group(
        GroupKind.SIGNATURE_GROUPS, SignatureGroup(author.aid, last.sn, last.said, (one,))
    )
    node.feed(attached(signed, named))
    for number in range(3):
        raw = routed("qry", q={"i": pair.aid, "x": number})
        node.feed(attached(raw, coupled(pair, raw)))
    assert [held.key[0] for held in node.store.waiting()] == ["exn", "qry"]


# Expiry.


def test_what_waited_too_long_expires() -> None:
    """Messages expire when they have waited for the limit, and are told of."""
    node, events = Node(limits=Limits(held_for=timedelta(minutes=5))), _events(2)
    node.feed(events[0].raw, now=NOW)
    node.feed(events[1].raw, now=NOW + timedelta(minutes=1))
    assert node.processor.expire(NOW + timedelta(minutes=5)) == []
    (result,) = node.processor.expire(NOW + timedelta(minutes=5, seconds=1))
    assert result.message == events[0].event
    assert result.again
    assert code_of(result.verdict) is ErrorCode.EXPIRED
    assert _held(node) == [events[1].event.said]


def test_more_signatures_do_not_prolong_the_wait() -> None:
    """The first arrival counts for expiry."""
    node, author = Node(limits=Limits(held_for=timedelta(minutes=5))), Author("any", keys=3)
    signed = author.incept()
    node.feed(_bare(signed, 1), now=NOW)
    node.feed(_bare(signed, 2), now=NOW + timedelta(minutes=4))
    assert len(node.processor.expire(NOW + timedelta(minutes=6))) == 1


def test_expired_event_may_come_again() -> None:
    """After its expiry a message is taken like a new one."""
    node, author = Node(), Author("any")
    inception, interaction = author.incept(), author.interact()
    node.feed(interaction.raw)
    node.processor.expire(NOW + timedelta(days=1))
    assert len(node.results(inception.raw)) == 1
    node.accept(interaction.raw)


def test_receipts_and_messages_expire_too() -> None:
    """Receipts and routed messages expire like events."""
    node, signed, pair = Node(), Author("any").incept(), witness("asking")
    raw = routed("qry", q={"i": signed.event.aid})
    node.feed(signed.receipted(pair))
    node.feed(attached(raw, coupled(pair, raw)))
    results = node.processor.expire(NOW + timedelta(days=1))
    assert [result.message.message_type for result in results if result.message] == ["rct", "qry"]
    assert not list(node.store.waiting())


def test_stranger_cannot_spoil_a_waiting_event() -> None:
    """A copy with a signature of a stranger leaves an event that waits as it is."""
    node, author = Node(), Author("any")
    inception, interaction = author.incept(), author.interact()
    node.feed(interaction.raw)
    bad = KeyPair("stranger").indexed(interaction.event.raw, 0, 0)
    node.feed(attached(interaction.event.raw, controlled(bad)))
    results = node.results(inception.raw)
    assert isinstance(results[1].verdict, Accepted)
