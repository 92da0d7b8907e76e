"""Messages of every kind that a store keeps something of, and a way to feed them."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache

from keystead.cesr.keys import Aid
from keystead.keri import build
from keystead.keri.messages import Receipt
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.ports import EventStore
from keystead.testing.authoring import Author, KeyPair, witness
from support.branches import Branch
from support.logs import STAMP, attached, controlled, coupled, endorsed, routed, signed_by_last


@cache
def messages() -> tuple[bytes, ...]:
    """Return messages in an order in which most of them are accepted."""
    return (*_forked(), *_witnessed(), *_delegated(), *_said())


def _forked() -> list[bytes]:
    """Return a log, a recovery that cuts it, a duplicitous event, and endorsements by a peer."""
    author, peer = Branch("forked"), Author("peer")
    made = [author.begin(), author.extend("ixn")]
    twin, thief = author.branch(), author.branch()
    made += [author.extend("ixn"), author.extend("ixn"), twin.extend("rot"), twin.extend("ixn")]
    made += [thief.extend("rot")]
    inception = peer.incept()
    target = made[1]
    body = build.receipt(Receipt(author.aid, 1, target.seal.said))
    return [
        inception.framed,
        *[one.packet().data for one in made],
        attached(body, endorsed(peer, target.raw)),
        attached(body, coupled(witness("watcher"), target.raw)),
    ]


def _witnessed() -> list[bytes]:
    """Return a log of several keys and witnesses, whose signatures come in parts."""
    author = Branch("witnessed", keys=3, witnesses=[witness("one"), witness("two")])
    found = []
    for made in (author.begin(), author.extend("hire"), author.extend("ixn")):
        found += [
            made.packet((0,), ()).data,
            made.packet((1,), ()).data,
            made.packet((), (0,), form="couples", apart=True).data,
            made.packet((), (1,), apart=True).data,
            made.packet((2,), ()).data,
        ]
    return found


def _delegated() -> list[bytes]:
    """Return a delegate, whose events come before and after their approvals."""
    head, arm = Branch("head"), Branch("arm")
    begun = head.begin()
    delegate = arm.begin(delegator=head)
    rotation = arm.extend("rot")
    approvals = [head.extend("ixn", [delegate.seal]), head.extend("rot", [rotation.seal])]
    made = [begun, delegate, approvals[0], rotation, approvals[1], arm.extend("ixn")]
    return [one.packet().data for one in made]


def _said() -> list[bytes]:
    """Return statements, messages that wait for their signers, and some from a key alone."""
    speaker, stranger, pair = Author("speaker"), Author("stranger"), witness("pair")
    begun = speaker.incept()
    stranger.incept()
    eid = KeyPair("mailbox", transferable=False).aid
    found = [begun.framed]
    for action, at in (("add", STAMP), ("cut", STAMP.replace("2026", "2027"))):
        role = {"cid": speaker.aid, "role": "mailbox", "eid": eid}
        raw = routed("rpy", r=f"/end/role/{action}", dt=at, a=role)
        found.append(attached(raw, endorsed(speaker, raw)))
    place = {"eid": pair.aid, "scheme": "http", "url": "http://example.com/"}
    raw = routed("rpy", r="/loc/scheme", a=place)
    found.append(attached(raw, coupled(pair, raw)))
    raw = routed("qry", q={"i": speaker.aid})
    found.append(attached(raw, endorsed(stranger, raw), signed_by_last(stranger, raw)))
    raw = routed("exn", i=stranger.aid, a={"x": [1, -2, None, 0.5]})
    found.append(attached(raw, endorsed(stranger, raw)))
    late = stranger.interact()
    found.append(late.framed)
    found.append(attached(late.event.raw, controlled(*late.signatures)))
    return found


def feed(
    store: EventStore,
    sent: Iterable[bytes],
    *,
    now: datetime,
    limits: Limits = DEFAULT_LIMITS,
    own: Iterable[Aid] = (),
) -> list[Result]:
    """Feed messages to a store; return what became of them."""
    processor = EventProcessor(store, limits=limits, own=own)
    results = []
    for raw in sent:
        reader = processor.reader()
        reader.feed(raw)
        reader.close()
        for message in reader:
            results += processor.process(message, now=now)  # type: ignore[arg-type] # all are well-formed
    return results


def contents(store: EventStore) -> dict[str, object]:
    """Return everything that can be read of a store."""
    aids = list(store.identifiers())
    found: dict[str, object] = {"identifiers": aids, "waiting": list(store.waiting())}
    for aid in aids:
        seen = list(store.first_seen(aid))
        found[aid] = (store.key_state(aid), list(store.events(aid)), seen, store.duplicity(aid))
        for one in seen:
            assert store.accepted(aid, one.event.said) == one
    return found
