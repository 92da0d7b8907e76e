"""Queries: what they ask for, and whether it is here.

Source: KERI specification, "Query Message Body"; routes as keri 1.x uses them.
"""

from typing import TypeAlias

import msgspec

from keystead.cesr.body import Body
from keystead.cesr.keys import Aid
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri.escrow import Missing, Want
from keystead.keri.fields import parse_aid, parse_number
from keystead.keri.messages import Query
from keystead.keri.routed import state_fields
from keystead.keri.seals import EventSeal, parse_seal
from keystead.ports import EventStore, KelReader

LOGS, KEY_STATE, MAILBOX = "logs", "ksn", "mbx"


class ReplayAnswer(msgspec.Struct, frozen=True, gc=False):
    """Replay logs to the destination, the delegator's after the one that was asked for.

    Attributes:
        aids: whose logs, each from first-seen number `first` or 0 for a delegator.
        first: first-seen number to start at.
        source: who is asked.
        destination: who asks.
    """

    aids: tuple[Aid, ...]
    first: int
    source: Aid
    destination: Aid


class StateAnswer(msgspec.Struct, frozen=True, gc=False):
    """Send a key state notice, to be signed by the source."""

    fields: Body
    source: Aid
    destination: Aid


class MailboxAnswer(msgspec.Struct, frozen=True, gc=False):
    """Stream the messages of a mailbox; `topics` are the first wanted number for each topic."""

    aid: Aid
    source: Aid
    topics: dict[str, int]


Answer: TypeAlias = ReplayAnswer | StateAnswer | MailboxAnswer


def unanswerable(kel: KelReader, query: Query) -> frozenset[Missing]:
    """Return what must arrive before a query can be answered.

    Raises:
        VerificationError: an unknown route (verify.route), or malformed parameters, which
            make a signed query invalid (verify.payload).
    """
    try:
        aid, sn, seal = _wanted(query)
    except DecodeError as error:
        raise VerificationError(ErrorCode.PAYLOAD, error.message) from error
    state = kel.key_state(aid)
    if state is None:
        return frozenset((Missing(Want.EVENT, aid, sn or 0),))
    if seal is not None and kel.sealing_event(aid, seal) is None:
        return frozenset((Missing(Want.SEAL, aid, seal.sn, seal.said, seal.aid),))
    if sn is not None and state.sn < sn:
        return frozenset((Missing(Want.EVENT, aid, sn),))
    return frozenset()


def answer(store: EventStore, query: Query, querier: Aid) -> Answer:
    """Answer an authentic query for which nothing is missing."""
    parameters = query.parameters
    aid = parse_aid(parameters["i"], "i")
    source = parse_aid(parameters["src"], "src") if "src" in parameters else querier
    state = store.key_state(aid)
    head = None if state is None else store.event(aid, state.sn)
    if state is None or head is None:
        raise LookupError(f"the log of {aid} is not here")
    if query.route == KEY_STATE:
        fields = state_fields(state, head.first_seen_number, head.first_seen_at)
        return StateAnswer(fields, source, querier)
    if query.route == MAILBOX:
        return MailboxAnswer(aid, source, dict(parameters["topics"]))
    first = parse_number(parameters["fn"], "fn") if "fn" in parameters else 0
    delegator = state.establishment.delegator
    aids = (aid,) if delegator is None else (aid, delegator)
    return ReplayAnswer(aids, first, source, querier)


def _wanted(query: Query) -> tuple[Aid, int | None, EventSeal | None]:
    """Return the identifier, place and seal that a query asks for.

    Raises:
        VerificationError: an unknown route.
        DecodeError: malformed parameters.
    """
    parameters = query.parameters
    if query.route not in (LOGS, KEY_STATE, MAILBOX):
        raise VerificationError(ErrorCode.ROUTE, "a query for a route that is not known")
    if "i" not in parameters:
        raise DecodeError(ErrorCode.FIELDS, "the query names no identifier")
    if "src" in parameters:
        parse_aid(parameters["src"], "src")
    aid = parse_aid(parameters["i"], "i")
    if query.route == MAILBOX:
        _check_topics(parameters.get("topics"))
    if query.route != LOGS:
        return aid, None, None
    if "fn" in parameters:
        parse_number(parameters["fn"], "fn")
    seal = None
    if parameters.get("a"):
        parsed = parse_seal(parameters["a"])
        if not isinstance(parsed, EventSeal):
            raise DecodeError(ErrorCode.VALUE, "the anchor asked for is no event seal")
        seal = parsed
    sn = parse_number(parameters["s"], "s") if "s" in parameters else None
    return aid, sn, seal


def _check_topics(topics: object) -> None:
    fits = isinstance(topics, dict) and all(
        type(first) is int and first >= 0 for first in topics.values()
    )
    if not fits:
        raise DecodeError(ErrorCode.VALUE, "topics is not a field map of numbers")
