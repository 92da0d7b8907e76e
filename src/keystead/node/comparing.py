"""What two versions of an event, or two logs of an identifier, differ in, and what that means."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Malformed
from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.events import (
    AnyKeyEvent,
    DelegatedRotation,
    EstablishmentEvent,
    Inception,
    Interaction,
    Rotation,
)
from keystead.keri.keystate import Establishment
from keystead.keri.seals import field_of
from keystead.node.ingest import EventProcessor
from keystead.node.replay import replay_approved
from keystead.node.weighing import Meaning, keys_of, weigh
from keystead.ports import EventStore


class Version(msgspec.Struct, frozen=True):
    """One of two versions.

    Attributes:
        said: digest.
        message_type: icp, rot, ixn, dip or drt.
        signers: keys that signed it, as text.
        receipted_by: witnesses whose receipts are there.
        first_seen_at: when it was accepted, empty for the version that was not.
    """

    said: Said
    message_type: str
    signers: tuple[str, ...]
    receipted_by: tuple[Aid, ...]
    first_seen_at: str = ""


class Difference(msgspec.Struct, frozen=True):
    """A field that differs, with its value in both; JSON values."""

    field: str
    first: Any
    other: Any


class Finding(msgspec.Struct, frozen=True):
    """A proven duplicity, told so that a person can understand it.

    Attributes:
        aid: the identifier.
        sn: the place that both versions claim.
        first: the version that was seen first, which stands.
        other: the other one.
        differences: what they differ in.
        receipted_both: witnesses that receipted both.
        corrupt: those of them that no honest witness could be among.
        meaning: who can have done it, and what follows.
        counts: both could be believed, so the log must not be relied on.
        last_sn: where the log stands that was seen first.
    """

    aid: Aid
    sn: int
    first: Version
    other: Version
    differences: tuple[Difference, ...]
    receipted_both: tuple[Aid, ...]
    corrupt: tuple[Aid, ...]
    meaning: Meaning
    counts: bool
    last_sn: int


def explain(store: EventStore, evidence: DuplicityEvidence) -> Finding:
    """Tell what evidence means, by the logs that it comes with."""
    aid, sn = evidence.aid, evidence.sn
    known = store.accepted(aid, evidence.accepted.event.said) or evidence.accepted
    # Receipts that came later count too.
    proofs = evidence.accepted.proofs.merged(known.proofs)
    standing = msgspec.structs.replace(known, proofs=proofs)
    before = store.event(aid, sn - 1) if sn else None
    prior = None if before is None else before.state.establishment
    first = _version(standing.event, proofs, prior, standing.first_seen_at)
    other = _version(evidence.other, evidence.proofs, prior)
    both = tuple([one for one in first.receipted_by if one in other.receipted_by])
    state, weighed = store.key_state(aid), weigh(store, evidence)
    return Finding(
        aid,
        sn,
        first,
        other,
        tuple(_differences(standing.event, evidence.other)),
        both,
        () if _honestly_both(standing.event, evidence.other) else both,
        weighed.meaning,
        weighed.counts,
        sn if state is None else state.sn,
    )


def _honestly_both(first: AnyKeyEvent, other: AnyKeyEvent) -> bool:
    """Tell whether an honest witness can have receipted both, one after the other.

    KERI, rule A0: "Any rotation event may supersede an interaction event at the same sn." And a
    delegator can have approved another rotation later (rules B and C).
    """
    if isinstance(first, DelegatedRotation) and isinstance(other, DelegatedRotation):
        return True
    kinds = {isinstance(first, Interaction), isinstance(other, Interaction)}
    rotated = isinstance(first, Rotation) or isinstance(other, Rotation)
    return kinds == {True, False} and rotated


def _version(
    event: AnyKeyEvent, proofs: Proofs, prior: Establishment | None, seen_at: str = ""
) -> Version:
    keys, witnesses = keys_of(event, prior)
    signers = [keys[one.index].text for one in proofs.signatures if one.index < len(keys)]
    receipts = sorted({one.index for one in proofs.witness_signatures})
    return Version(
        event.said,
        event.message_type,
        tuple(dict.fromkeys(signers)),
        tuple([witnesses[index] for index in receipts if index < len(witnesses)]),
        seen_at,
    )


def _differences(first: AnyKeyEvent, other: AnyKeyEvent) -> Iterator[Difference]:
    ours, theirs = _fields(first), _fields(other)
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield Difference(name, ours.get(name), theirs.get(name))


def _fields(event: AnyKeyEvent) -> dict[str, Any]:
    """Return what an event says, by names for people, as JSON values."""
    told: dict[str, Any] = {"type": event.message_type, "previous event": event.prior_said}
    if isinstance(event, EstablishmentEvent):
        told["signing keys"] = [key.text for key in event.signing_keys]
        told["signing threshold"] = event.signing_threshold.field
        told["next keys"] = list(event.next_key_digests)
        told["next threshold"] = event.next_threshold.field
        told["witness threshold"] = event.witness_threshold
    if isinstance(event, Inception):
        told["witnesses"] = list(event.witnesses)
        told["traits"] = list(event.configuration_traits)
    if isinstance(event, Rotation):
        told["witnesses removed"] = list(event.witnesses_removed)
        told["witnesses added"] = list(event.witnesses_added)
    told["seals"] = [field_of(seal) for seal in event.anchors]
    return told


class Relation(Enum):
    """How two logs of one identifier stand to each other."""

    EQUAL = "equal"
    FIRST_IS_LONGER = "first_is_longer"
    SECOND_IS_LONGER = "second_is_longer"
    RECOVERED = "recovered"
    FORKED = "forked"


class Comparison(msgspec.Struct, frozen=True):
    """How two logs of one identifier differ.

    Attributes:
        aid: the identifier.
        relation: how they stand to each other.
        sn: the first place where they differ; the end of both for equal ones.
        first: digest at that place in the first log, None behind its end.
        second: digest at that place in the second log.
        findings: proofs that the controller, or who has his keys, signed both.
    """

    aid: Aid
    relation: Relation
    sn: int
    first: Said | None
    second: Said | None
    findings: tuple[Finding, ...] = ()


def compare_logs(
    first: EventStore, second: EventStore, aid: Aid, empty: Callable[[], EventStore], now: datetime
) -> Comparison:
    """Compare two verified logs of an identifier.

    Args:
        first: where one is.
        second: where the other is.
        aid: whose.
        empty: makes a store in which both are joined.
        now: time; it decides nothing.
    """
    ours = [one.event.said for one in first.events(aid)]
    theirs = [one.event.said for one in second.events(aid)]
    sn = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if len(set(pair)) > 1),
              min(len(ours), len(theirs)))  # fmt: skip
    at_first = ours[sn] if sn < len(ours) else None
    at_second = theirs[sn] if sn < len(theirs) else None
    if at_first is None and at_second is None:
        return Comparison(aid, Relation.EQUAL, max(sn - 1, 0), None, None)
    if at_first is None:
        return Comparison(aid, Relation.SECOND_IS_LONGER, sn, None, at_second)
    if at_second is None:
        return Comparison(aid, Relation.FIRST_IS_LONGER, sn, at_first, None)
    joined = [_joined(aid, stores, empty(), now) for stores in ((first, second), (second, first))]
    proofs = [store.duplicity(aid) for store in joined]
    if not all(proofs):
        # In one order of arrival a recovery rotation takes the place of the other branch.
        return Comparison(aid, Relation.RECOVERED, sn, at_first, at_second)
    findings = tuple([explain(joined[0], one) for one in proofs[0]])
    return Comparison(aid, Relation.FORKED, sn, at_first, at_second, findings)


def _joined(aid: Aid, stores: Iterable[EventStore], into: EventStore, now: datetime) -> EventStore:
    processor = EventProcessor(into, trust_first_seen=True)
    for store in stores:
        reader = processor.reader()
        for data in replay_approved(store, aid, {}):
            reader.feed(data)
        reader.close()
        for message in reader:
            if not isinstance(message, Malformed):
                processor.process(message, now=now)
    return into
