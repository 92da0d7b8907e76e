"""What evidence of two events at one place weighs: who can have made the other, and whether it counts.

Whoever gets hold of keys that a log has replaced can sign another version of an old event at any
time. That must not hurt the owner, who has rotated for that very reason. Pure: reads a snapshot.
"""

from enum import Enum
from typing import NamedTuple

import msgspec

from keystead.cesr.keys import Aid, Digest, VerificationKey, is_digest_of
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
from keystead.ports import KelReader


class Meaning(Enum):
    """What it means that there are two versions of an event."""

    RETIRED_KEYS = "retired_keys"
    TAKEN_BACK = "taken_back"
    CURRENT_KEYS = "current_keys"
    NEXT_KEYS = "next_keys"
    UNAPPROVED = "unapproved"


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """What evidence comes to, by what is known now.

    Attributes:
        meaning: who can have made the other version.
        counts: both versions could be believed, so the log must not be relied on. Otherwise the
            version that was seen first stands, and the other tells that somebody has old keys.
    """

    meaning: Meaning
    counts: bool


def weigh(kel: KelReader, evidence: DuplicityEvidence) -> Weighed:
    """Tell what evidence comes to.

    It may count no longer when the log has gone on: a rotation cuts off who has the keys.

    Args:
        kel: holds the log.
        evidence: two events at one place.
    """
    other = evidence.other
    here = kel.event(other.aid, other.sn) or evidence.accepted
    before = _before(kel, other)
    state = kel.key_state(other.aid)
    last = here.state.establishment if state is None else state.establishment
    taken_back = isinstance(other, Interaction) and isinstance(here.event, EstablishmentEvent)
    if other.sn and before is None:
        taken_back = True  # it goes on from an event that a recovery took back
    if taken_back:
        # KERI, rule A0: "Any rotation event may supersede an interaction event at the same sn."
        return Weighed(Meaning.TAKEN_BACK, counts=False)
    used = before or evidence.accepted.state.establishment
    if not _in_force(kel, evidence, used, last):
        # For the witnesses before it: whom it names itself may be its maker's.
        enough = len(_receipted_by(other, evidence.proofs, used)) >= used.witness_threshold
        return Weighed(Meaning.RETIRED_KEYS, enough)
    if isinstance(other, Interaction):
        return Weighed(Meaning.CURRENT_KEYS, counts=True)
    if isinstance(other, DelegatedRotation):
        return Weighed(Meaning.UNAPPROVED, counts=True)
    return Weighed(Meaning.NEXT_KEYS, counts=True)


def counts(kel: KelReader, evidence: DuplicityEvidence) -> bool:
    """Tell whether evidence speaks against a log, by what is known now."""
    return weigh(kel, evidence).counts


class Evidence(NamedTuple):
    """What is known against a log and those of its delegators.

    Attributes:
        counting: it speaks against the log.
        dismissed: it does not: the other versions do not stand.
    """

    counting: tuple[DuplicityEvidence, ...]
    dismissed: tuple[DuplicityEvidence, ...]


def known_duplicity(store: KelReader, aid: Aid) -> Evidence:
    """Return the evidence about a log and those of its delegators, weighed."""
    counting: list[DuplicityEvidence] = []
    dismissed: list[DuplicityEvidence] = []
    above: set[Aid] = set()
    one: Aid | None = aid
    while one is not None and one not in above:
        above.add(one)
        for evidence in store.duplicity(one):
            (counting if counts(store, evidence) else dismissed).append(evidence)
        state = store.key_state(one)
        one = None if state is None else state.establishment.delegator
    return Evidence(tuple(counting), tuple(dismissed))


def displaced(
    kel: KelReader, evidence: DuplicityEvidence, most: int
) -> tuple[DuplicityEvidence, DuplicityEvidence | None]:
    """Return evidence as it is to be kept, and what has to make room for it.

    Nobody can keep evidence that counts from being kept by sending some that does not before it:
    neither many versions, nor the same one with fewer receipts.

    Args:
        kel: what is kept.
        evidence: what came.
        most: how much is kept for an identifier.
    """
    known = kel.duplicity(evidence.aid)
    same = next((one for one in known if one.other.said == evidence.other.said), None)
    if same is not None:
        merged = msgspec.structs.replace(same, proofs=same.proofs.merged(evidence.proofs))
        gained = counts(kel, merged) and not counts(kel, same)
        return (merged, same) if gained else (same, None)
    if len(known) < most or not counts(kel, evidence):
        return evidence, None
    return evidence, next((one for one in known if not counts(kel, one)), None)


def keys_of(
    event: AnyKeyEvent, before: Establishment | None
) -> tuple[tuple[VerificationKey, ...], tuple[Aid, ...]]:
    """Return the keys and witnesses that an event has to be signed by."""
    keys: tuple[VerificationKey, ...] = () if before is None else before.signing_keys
    witnesses: tuple[Aid, ...] = () if before is None else before.witnesses
    if isinstance(event, EstablishmentEvent):
        keys = event.signing_keys
    if isinstance(event, Inception):
        witnesses = event.witnesses
    if isinstance(event, Rotation):
        kept = [one for one in witnesses if one not in event.witnesses_removed]
        witnesses = (*kept, *[one for one in event.witnesses_added if one not in kept])
    return keys, witnesses


def _before(kel: KelReader, other: AnyKeyEvent) -> Establishment | None:
    """Return what held before an event; None for an inception or behind what was taken back."""
    prior = kel.event(other.aid, other.sn - 1) if other.sn else None
    if prior is None or prior.event.said != other.prior_said:
        return None
    return prior.state.establishment


def _in_force(
    kel: KelReader, evidence: DuplicityEvidence, used: Establishment, last: Establishment
) -> bool:
    """Tell whether somebody signed with keys that the log has not replaced since.

    Args:
        kel: holds the log.
        evidence: two events at one place.
        used: what held before them.
        last: what holds now.
    """
    other = evidence.other
    if used.said == last.said:
        return True
    if isinstance(other, Rotation):
        # Its signers are those next keys that the establishment event behind `used` made known.
        prior = kel.event(other.aid, last.sn - 1)
        if prior is not None and prior.state.establishment.said == used.said:
            return True
    keys, _ = keys_of(other, used)
    signers = [keys[one.index] for one in evidence.proofs.signatures if one.index < len(keys)]
    return any(key in last.signing_keys or _is_next(key, last.next_key_digests) for key in signers)


def _is_next(key: VerificationKey, digests: tuple[Digest, ...]) -> bool:
    return any(is_digest_of(one, key.text.encode()) for one in digests)


def _receipted_by(other: AnyKeyEvent, proofs: Proofs, used: Establishment) -> set[Aid]:
    """Return the witnesses before an event that gave a receipt for it."""
    _, witnesses = keys_of(other, used)
    found = {one.index for one in proofs.witness_signatures if one.index < len(witnesses)}
    texts = {witnesses[place] for place in found} | {Aid(one.key.text) for one in proofs.couples}
    return texts & {*used.witnesses}
