"""What approves a delegated event."""

from keystead.cesr.groups import SourceCouple
from keystead.keri import build
from keystead.keri.delegation import DelegationProof, place_of_seal, seal_of
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.testing.authoring import Author
from support.logs import DIGEST, pairs, plan

DELEGATOR = Author("delegator")
DELEGATOR.incept()
EVENT = build.incept(plan(pairs("any", 1), "1"))
SEAL = EventSeal(EVENT.aid, 0, EVENT.said)


def test_seal_names_the_event() -> None:
    """The seal of an event holds its identifier, number and digest."""
    assert seal_of(EVENT) == SEAL


def test_first_seal_counts() -> None:
    """The place of a seal is its first place in the list."""
    event = DELEGATOR.fork().interact(DigestSeal(DIGEST), SEAL, SEAL).event
    assert place_of_seal(event, EVENT.aid, 0, EVENT.said) == 1


def test_other_seals_do_not_count() -> None:
    """An event that seals something else has no place for the seal."""
    event = DELEGATOR.fork().interact(EventSeal(EVENT.aid, 1, EVENT.said)).event
    assert place_of_seal(event, EVENT.aid, 0, EVENT.said) == -1


def test_source_is_the_sealing_event() -> None:
    """The source of an approval is number and digest of the delegator's event."""
    event = DELEGATOR.fork().interact(SEAL).event
    proof = DelegationProof(DELEGATOR.aid, known=True, event=event, seal=0)
    assert proof.source == SourceCouple(1, event.said)


def test_missing_approval_has_no_source() -> None:
    """Without a sealing event there is no source."""
    assert DelegationProof(DELEGATOR.aid, known=True).source is None
