"""Answers to queries."""

from typing import Any

import pytest

from keystead.cesr.keys import Aid
from keystead.keri import build
from keystead.keri.build import Configuration
from keystead.keri.messages import Query
from keystead.keri.routed import state_fields
from keystead.node.queries import Answer, MailboxAnswer, ReplayAnswer, StateAnswer, answer
from keystead.testing.authoring import Author, Signed, witness
from support.logs import STAMP, Node, pairs, parsed, plan, routed, signatures

QUERIER, ASKED = witness("querier").aid, witness("asked").aid
AUTHOR = Author("any")
LOG = [AUTHOR.incept(), AUTHOR.rotate()]


def _query(route: str, **parameters: Any) -> Query:  # noqa: ANN401 - any parameter
    query = parsed(routed("qry", r=route, q={"i": AUTHOR.aid} | parameters))
    assert isinstance(query, Query)
    return query


def _node() -> Node:
    node = Node()
    node.accept(*(signed.raw for signed in LOG))
    return node


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (_query("logs"), ReplayAnswer((AUTHOR.aid,), 0, QUERIER, QUERIER)),
        (_query("logs", fn="a"), ReplayAnswer((AUTHOR.aid,), 10, QUERIER, QUERIER)),
        (_query("logs", src=ASKED), ReplayAnswer((AUTHOR.aid,), 0, ASKED, QUERIER)),
        (_query("ksn"), StateAnswer(state_fields(AUTHOR.state, 1, STAMP), QUERIER, QUERIER)),
        (
            _query("mbx", src=ASKED, topics={"/receipt": 3}),
            MailboxAnswer(AUTHOR.aid, ASKED, {"/receipt": 3}),
        ),
    ],
)
def test_route_decides_the_answer(query: Query, expected: Answer) -> None:
    """Logs are replayed, key states told, mailboxes streamed."""
    assert answer(_node().store, query, QUERIER) == expected


def test_log_of_a_delegate_comes_with_that_of_its_delegator() -> None:
    """A replay gives the delegator's log too, which the delegate's events need."""
    node, keys = _node(), pairs("delegate", 1)
    delegator = AUTHOR.fork()
    event = build.incept(plan(keys, "1"), configuration=Configuration(delegator=AUTHOR.aid))
    delegate = Signed(event, signatures(event, keys))
    node.accept(delegator.interact(delegate.seal).raw, delegate.raw)
    found = answer(node.store, _query("logs", i=event.aid), QUERIER)
    assert found == ReplayAnswer((event.aid, AUTHOR.aid), 0, QUERIER, QUERIER)


def test_unknown_log_cannot_be_asked_for() -> None:
    """Only queries for which nothing is missing have an answer."""
    with pytest.raises(LookupError):
        answer(Node().store, _query("logs", i=Aid(ASKED)), QUERIER)
