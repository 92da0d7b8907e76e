"""What the answer of a source is worth to somebody who follows one log.

An answer may hold anything. Looked at are key events and receipts of the log that was asked for
and of those of its delegators, and statements by them and their witnesses; the rest is passed
over, so that a source cannot fill a store with what nobody asked for.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Malformed, Message
from keystead.cesr.writing import write_frame
from keystead.errors import KeysteadError
from keystead.keri.attachments import Signatures, SignedEvent
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Missing, Want
from keystead.keri.events import DelegatedInception, KeyEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import AnyMessage, Receipt, Reply, parse_message
from keystead.keri.routed import parse_statement
from keystead.keri.verdicts import Duplicitous
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.ports import EventStore


class PendingEvent(msgspec.Struct, frozen=True):
    """An event that is not accepted yet, with what it waits for.

    Attributes:
        sn: its place.
        said: its digest.
        missing: what it waits for.
        accountable: enough keys of the controller signed it.
    """

    sn: int
    said: Said
    missing: tuple[Missing, ...]
    accountable: bool


class Intake(msgspec.Struct, frozen=True):
    """What an answer brought.

    Attributes:
        served: digests of the events of the log, in their order in the answer.
        tip: the last of them that is accepted, None if none is.
        accepted: events that were accepted because of the answer, in first-seen order.
        duplicity: other versions of accepted events in it.
        pending: events in it that wait.
        strange: digests of events in it that neither are accepted nor wait: other versions, and
            what is built on them.
        refused: messages that were malformed.
        unknown: delegators whose logs are needed and not here.
    """

    served: tuple[Said, ...]
    tip: AcceptedEvent | None
    accepted: tuple[AcceptedEvent, ...]
    duplicity: tuple[DuplicityEvidence, ...]
    pending: tuple[PendingEvent, ...]
    strange: tuple[Said, ...]
    refused: int
    unknown: tuple[Aid, ...]


class _Parsed(msgspec.Struct, frozen=True):
    message: Message
    content: AnyMessage


def take(
    store: EventStore, aid: Aid, body: bytes, now: datetime, limits: Limits = DEFAULT_LIMITS
) -> Intake:
    """Verify and keep what an answer holds about a log.

    Args:
        store: where the log is kept; whoever calls puts a transaction around it.
        aid: the log that was asked for.
        body: the answer.
        now: aware time of arrival.
        limits: bounds.
    """
    processor = EventProcessor(store, limits=limits)
    messages, refused = _read(body, processor, limits)
    related = _related(store, aid, messages, limits.delegation_depth)
    before = _accepted_so_far(store, aid)
    results: list[Result] = []
    events: dict[Said, int] = {}
    for one in messages:
        if _concerns(one.content, related, store, limits):
            results += processor.process(one.message, now=now)
        if isinstance(one.content, KeyEvent) and one.content.aid == aid:
            events[one.content.said] = one.content.sn
    results += reexamine(store, processor, aid, _accepted_so_far(store, aid) - before, now)
    verdicts = [one.verdict for one in results]
    found = {one.evidence.other.said: one.evidence for one in verdicts
             if isinstance(one, Duplicitous) and one.evidence.aid == aid}  # fmt: skip
    known = {said: store.accepted(aid, said) for said in events}
    waiting = {said: pending_event(store, aid, sn, said) for said, sn in events.items()
               if known[said] is None}  # fmt: skip
    return Intake(
        tuple(events),
        next((tip for said in reversed(events) if (tip := known[said]) is not None), None),
        tuple(store.first_seen(aid, first=before)),
        tuple(found.values()),
        tuple([one for one in waiting.values() if one is not None]),
        tuple([said for said, one in waiting.items() if one is None]),
        refused,
        tuple([one for one in related if one != aid and store.key_state(one) is None]),
    )


def pending_event(store: EventStore, aid: Aid, sn: int, said: Said) -> PendingEvent | None:
    """Return what an event waits for, None if it does not wait."""
    for held in store.held_for(aid, sn, said):
        if isinstance(held.waiting, SignedEvent):
            wants = {missing.want for missing in held.missing}
            lacking = {Want.SIGNATURES, Want.NEXT_KEYS, Want.EVENT}
            proven = held.waiting.proofs_under is not None
            missing = sorted(held.missing, key=lambda one: one.want.name)
            return PendingEvent(sn, said, tuple(missing), proven and not wants & lacking)
    return None


def reexamine(
    store: EventStore, processor: EventProcessor, aid: Aid, accepted: int, now: datetime
) -> list[Result]:
    """Look again at what waits at places that are taken now.

    An event that waits for receipts is not looked at when another version gets them first, so
    the duplicity would not be noticed.

    Args:
        store: where the log is.
        processor: of that store.
        aid: the log.
        accepted: how many events were accepted since this was done last.
        now: aware time.
    """
    state = store.key_state(aid)
    if not accepted or state is None:
        return []
    results: list[Result] = []
    for held in list(store.waiting()):
        waiting = held.waiting
        if isinstance(waiting, SignedEvent) and waiting.log == aid and waiting.event.sn <= state.sn:
            reader = processor.reader()
            reader.feed(waiting.event.raw + _written(waiting.claims, waiting.proofs))
            reader.close()
            for message in reader:
                if not isinstance(message, Malformed):
                    results += processor.process(message, now=now)
    return results


def _read(body: bytes, processor: EventProcessor, limits: Limits) -> tuple[list[_Parsed], int]:
    """Read an answer; return its messages, and how many are malformed."""
    reader = processor.reader()
    reader.feed(body)
    reader.close()
    found, refused = [], 0
    for item in reader:
        if isinstance(item, Malformed):
            refused += 1
            continue
        try:
            found.append(_Parsed(item, parse_message(item, limits)))
        except KeysteadError:
            refused += 1
    return found, refused


def _related(
    store: EventStore, aid: Aid, messages: Sequence[_Parsed], depth: int
) -> tuple[Aid, ...]:
    """Return the log and those of its delegators, as far as they are told."""
    told = {one.content.aid: one.content.delegator for one in messages
            if isinstance(one.content, DelegatedInception)}  # fmt: skip
    found = [aid]
    while len(found) <= depth:
        state = store.key_state(found[-1])
        above = told.get(found[-1]) if state is None else state.establishment.delegator
        if above is None or above in found:
            break
        found.append(above)
    return tuple(found)


def _concerns(
    content: AnyMessage, related: Sequence[Aid], store: EventStore, limits: Limits
) -> bool:
    if isinstance(content, KeyEvent | Receipt):
        return content.aid in related
    if not isinstance(content, Reply):
        return False
    try:
        authority = parse_statement(content, limits).authority
    except KeysteadError:
        return False
    if authority in related:
        return True
    states = [store.key_state(one) for one in related]
    return any(one is not None and authority in one.establishment.witnesses for one in states)


def _accepted_so_far(store: EventStore, aid: Aid) -> int:
    """Return how many events of a log were accepted: the end of a trunk is always the latest."""
    state = store.key_state(aid)
    head = None if state is None else store.event(aid, state.sn)
    return 0 if head is None else head.first_seen_number + 1


def _written(*signatures: Signatures) -> bytes:
    groups: Iterable[Group] = [
        Group(kind, items)
        for one in signatures
        for kind, items in (
            (GroupKind.CONTROLLER_SIGNATURES, one.signatures),
            (GroupKind.WITNESS_SIGNATURES, one.witness_signatures),
            (GroupKind.RECEIPT_COUPLES, one.couples),
        )
        if items
    ]
    return write_frame(groups)
