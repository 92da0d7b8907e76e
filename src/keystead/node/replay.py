"""Replay: a log as the stream of framed messages that gives the same log elsewhere.

Source: KERI specification, "First Seen Policy"; order of groups as keri 1.x writes them.
"""

from collections.abc import Iterable, Iterator

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import FirstSeenCouple, Group, Item, ReceiptQuadruple, SourceCouple
from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_frame
from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.ports import EventStore


def replay(store: EventStore, aid: Aid, *, first: int = 0) -> Iterator[bytes]:
    """Give the messages of a log in first-seen order, superseded events included.

    Args:
        store: where the log is.
        aid: whose log.
        first: first-seen number to start at.
    """
    for accepted in store.first_seen(aid, first=first):
        yield replay_event(accepted)


def replay_event(accepted: AcceptedEvent) -> bytes:
    """Return an accepted event with its proofs and its first-seen couple, in one frame."""
    couple = FirstSeenCouple(accepted.first_seen_number, accepted.first_seen_at)
    return _message(accepted.event, accepted.proofs, accepted.source, couple)


def replay_approved(
    store: EventStore, aid: Aid, given: dict[Aid, int], *, last: int | None = None
) -> Iterator[bytes]:
    """Give a log so that it can be verified alone: with the logs of its delegators.

    Each event comes behind the event of its delegator that approved it.

    Args:
        store: where the logs are.
        aid: whose log.
        given: for each log the first-seen number of the next event to give; it is updated, so
            that no event is given twice.
        last: first-seen number to end at.
    """
    for accepted in store.first_seen(aid, first=given.get(aid, 0)):
        if last is not None and accepted.first_seen_number > last:
            return
        given[aid] = accepted.first_seen_number + 1
        delegator = accepted.state.establishment.delegator
        if accepted.source is not None and delegator is not None:
            sealing = store.accepted(delegator, accepted.source.said)
            if sealing is not None:
                number = sealing.first_seen_number
                yield from replay_approved(store, delegator, given, last=number)
        yield replay_event(accepted)


def evidence_stream(store: EventStore, found: Iterable[DuplicityEvidence]) -> Iterator[bytes]:
    """Give a stream that proves duplicity to anybody: the logs as they were, then the events.

    Whoever reads the stream accepts the same events, and then finds that the others may not
    supersede. No event is given twice.
    """
    given: dict[Aid, int] = {}
    # The log of the highest delegator tells best what was found first.
    for evidence in sorted(found, key=lambda one: [last for _, last in reversed(one.seen)]):
        for aid, last in evidence.seen:
            yield from replay_approved(store, aid, given, last=last)
        yield _message(evidence.other, evidence.proofs)


def _message(
    event: AnyKeyEvent,
    proofs: Proofs,
    source: SourceCouple | None = None,
    couple: FirstSeenCouple | None = None,
) -> bytes:
    quadruples = tuple(
        ReceiptQuadruple(group.aid, group.sn, group.said, signature)
        for group in proofs.endorsements
        for signature in group.signatures
    )
    listed: list[tuple[GroupKind, tuple[Item, ...]]] = [
        (GroupKind.CONTROLLER_SIGNATURES, proofs.signatures),
        (GroupKind.WITNESS_SIGNATURES, proofs.witness_signatures),
        (GroupKind.SOURCE_COUPLES, () if source is None else (source,)),
        (GroupKind.RECEIPT_QUADRUPLES, quadruples),
        (GroupKind.RECEIPT_COUPLES, proofs.couples),
        (GroupKind.FIRST_SEEN_COUPLES, () if couple is None else (couple,)),
    ]
    return event.raw + write_frame(Group(kind, items) for kind, items in listed if items)
