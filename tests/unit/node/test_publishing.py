"""What is served for introductions."""

import pytest

from keystead.cesr.keys import Aid
from keystead.keri.build import Configuration
from keystead.keri.routed import EndRole, Location
from keystead.keri.verdicts import Recorded, Source
from keystead.node.publishing import oobi_stream, write_statement
from keystead.testing.authoring import Author, witness
from support.introductions import location
from support.logs import DIGEST, Node, attached, endorsed, routed

WITNESSES = [witness("one"), witness("two")]


def _again(stream: bytes | None) -> Node:
    """Return what a stranger makes of a stream."""
    assert stream is not None
    node = Node()
    node.results(stream)
    return node


def _end(author: Author, role: str, eid: str, action: str = "add", stamp: str = "") -> bytes:
    fields = {"r": f"/end/role/{action}", "a": {"cid": author.aid, "role": role, "eid": eid}}
    raw = routed("rpy", **fields, **({"dt": stamp} if stamp else {}))
    return attached(raw, endorsed(author, raw))


def test_a_log_is_served_with_the_places_of_its_witnesses() -> None:
    """Whoever gets the stream has the log, and knows where all witnesses are."""
    author = Author("alice", witnesses=WITNESSES)
    node = Node()
    node.accept(author.incept().raw, author.rotate().raw)
    for number, pair in enumerate(WITNESSES):
        node.feed(location(pair, f"http://127.0.0.1:{number + 1}/"))
    found = _again(oobi_stream(node.store, author.aid)).store
    state = found.key_state(author.aid)
    assert state == node.store.key_state(author.aid)
    for number, pair in enumerate(WITNESSES):
        record = found.record(("loc", pair.aid, "http"))
        assert record is not None
        assert record.statement == Location(pair.aid, "http", f"http://127.0.0.1:{number + 1}/")


def test_a_role_and_an_endpoint_narrow_it() -> None:
    """Only the endpoint that was asked for is told of."""
    author = Author("alice", witnesses=WITNESSES)
    node = Node()
    node.accept(author.incept().raw)
    for pair in WITNESSES:
        node.feed(location(pair, "http://127.0.0.1/"))
    one, two = (("loc", pair.aid, "http") for pair in WITNESSES)
    found = _again(oobi_stream(node.store, author.aid, role="witness", eid=WITNESSES[0].aid)).store
    assert found.record(one) is not None
    assert found.record(two) is None
    found = _again(oobi_stream(node.store, author.aid, role="controller")).store
    assert found.record(one) is None
    found = _again(oobi_stream(node.store, author.aid, eid=WITNESSES[1].aid)).store
    assert found.record(two) is not None


def test_endpoints_in_other_roles_are_told_of_when_known() -> None:
    """With the log of the endpoint, which signs where it is; and a role that ended, as such."""
    author, agent = Author("alice"), Author("agent")
    node = Node()
    node.accept(author.incept().raw, agent.incept().raw)
    node.feed(_end(author, "agent", agent.aid))
    raw = routed(
        "rpy", r="/loc/scheme", a={"eid": agent.aid, "scheme": "http", "url": "http://127.0.0.1/"}
    )
    node.feed(attached(raw, endorsed(agent, raw)))
    role = EndRole(author.aid, "agent", agent.aid, allowed=True)
    assert _again(oobi_stream(node.store, author.aid)).store.record(role.key) is None
    asked = oobi_stream(node.store, author.aid, role="agent", eid=agent.aid)
    known = oobi_stream(node.store, author.aid, known=[("agent", agent.aid)])
    assert asked == known
    found = _again(asked).store
    record = found.record(role.key)
    assert record is not None
    assert record.statement == role
    assert found.record(("loc", agent.aid, "http")) is not None
    node.feed(_end(author, "agent", agent.aid, "cut", "2026-02-01T00:00:00.000000+00:00"))
    found = _again(oobi_stream(node.store, author.aid, known=[("agent", agent.aid)])).store
    record = found.record(role.key)
    assert record is not None
    assert not getattr(record.statement, "allowed", True)
    assert found.record(("loc", agent.aid, "http")) is None


def test_what_lacks_receipts_is_not_served() -> None:
    """Its own controller has accepted it, and nobody else would."""
    author = Author("alice", witnesses=WITNESSES)
    signed = author.incept()
    node = Node(own=[author.aid])
    body = signed.raw[: len(signed.raw) - sum(len(one.text) for one in signed.receipts) - 4]
    node.accept(body, source=Source.LOCAL)
    assert oobi_stream(node.store, author.aid) is None
    node.feed(signed.receipted(*WITNESSES))
    assert _again(oobi_stream(node.store, author.aid)).trunk(author.aid) == [signed.event.said]


def test_nobody_unknown_is_served() -> None:
    """There is no log, and no statement either."""
    assert oobi_stream(Node().store, Aid(DIGEST)) is None
    assert oobi_stream(Node().store, WITNESSES[0].aid) is None


def test_a_witness_needs_no_log() -> None:
    """Its identifier is its key, so where it is can be verified alone."""
    node = Node()
    node.feed(location(WITNESSES[0], "http://127.0.0.1/"))
    stream = oobi_stream(node.store, WITNESSES[0].aid, role="controller")
    assert _again(stream).store.record(("loc", WITNESSES[0].aid, "http")) is not None


def test_a_delegate_is_served_with_its_delegator() -> None:
    """The delegator's log is whole, so that what else it says is known too."""
    boss, author = Author("boss"), Author("alice")
    node = Node()
    node.accept(boss.incept().raw)
    signed = author.incept(configuration=Configuration(delegator=boss.aid))
    node.accept(boss.interact(signed.seal).raw)
    node.accept(signed.raw)
    node.accept(boss.rotate().raw)
    found = _again(oobi_stream(node.store, author.aid))
    assert found.trunk(author.aid) == [signed.event.said]
    assert found.trunk(boss.aid) == node.trunk(boss.aid)


def test_a_delegate_without_its_delegator_is_not_served() -> None:
    """A store may hold the one without the other; nobody could verify it."""
    boss, author = Author("boss"), Author("alice")
    boss.incept()
    signed = author.incept(configuration=Configuration(delegator=boss.aid))
    node = Node(own=[author.aid])
    node.accept(signed.raw, source=Source.LOCAL)
    assert oobi_stream(node.store, author.aid) is None


@pytest.mark.parametrize("pair", [None, WITNESSES[0]])
def test_a_statement_is_written_as_it_came(pair: object) -> None:
    """With a signature of either kind."""
    author = Author("alice")
    node = Node()
    node.accept(author.incept().raw)
    message = _end(author, "agent", DIGEST) if pair is None else location(WITNESSES[0], "")
    verdict = node.feed(message)
    assert isinstance(verdict, Recorded)
    assert write_statement(verdict.record) == message
