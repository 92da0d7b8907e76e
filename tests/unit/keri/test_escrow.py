"""What waits, and under which keys."""

import pytest

from keystead.cesr.groups import SignatureGroup
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.escrow import (
    Held,
    HeldKey,
    Missing,
    Waiting,
    WaitingMessage,
    WaitingReceipts,
    Want,
    arrived_with,
    key_of,
    keys_of_event,
)
from keystead.keri.messages import Query, Receipt
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.testing.authoring import Author, witness
from support.logs import DIGEST, NOW, parsed, routed

AUTHOR = Author("any", keys=2)
SIGNED = AUTHOR.incept()
EVENT = SIGNED.event
ONE, TWO = SIGNED.signatures
COUPLE = witness("a").couple(EVENT.raw)
QUERY = parsed(routed("qry", q={"i": AUTHOR.aid}))
assert isinstance(QUERY, Query)
EVENT_KEY = ("event", EVENT.aid, 0, EVENT.said, "")
RECEIPTS_KEY = ("receipts", EVENT.aid, 0, EVENT.said, "")


@pytest.mark.parametrize(
    ("waiting", "key"),
    [
        (SignedEvent(EVENT, Claims()), EVENT_KEY),
        (WaitingReceipts(EVENT.aid, 0, EVENT.said, Claims()), RECEIPTS_KEY),
        (WaitingMessage(QUERY, AUTHOR.aid), ("qry", "", -1, QUERY.said, f"{AUTHOR.aid} ")),
        (
            WaitingMessage(QUERY, AUTHOR.aid, 0, DIGEST),
            ("qry", "", -1, QUERY.said, f"{AUTHOR.aid} {DIGEST}"),
        ),
    ],
)
def test_what_waits_has_a_key(waiting: Waiting, key: HeldKey) -> None:
    """Versions of an event, receipts for them and signers of a message are apart."""
    assert key_of(waiting) == key
    assert Held(waiting, frozenset(), local=False, since=NOW).key == key


def test_event_and_its_receipts_have_two_keys() -> None:
    """What waits of an event is found by its place and digest."""
    assert keys_of_event(EVENT.aid, 0, EVENT.said) == (EVENT_KEY, RECEIPTS_KEY)


@pytest.mark.parametrize(
    ("waiting", "signatures", "raw"),
    [
        (SignedEvent(EVENT, Claims()), 0, EVENT.raw),
        (SignedEvent(EVENT, Claims((ONE,)), Proofs((TWO,))), 2, EVENT.raw),
        (WaitingReceipts(EVENT.aid, 0, EVENT.said, Claims(couples=(COUPLE,))), 2, b""),
        (
            WaitingReceipts(
                EVENT.aid,
                0,
                EVENT.said,
                Claims(endorsements=(SignatureGroup(EVENT.aid, 0, DIGEST, (ONE, TWO)),)),
            ),
            3,
            b"",
        ),
        (WaitingMessage(QUERY, AUTHOR.aid), 0, QUERY.raw),
        (WaitingMessage(QUERY, AUTHOR.aid, signatures=(ONE,), proven=(TWO,)), 2, QUERY.raw),
    ],
)
def test_size_grows_with_content_and_signatures(
    waiting: Waiting, signatures: int, raw: bytes
) -> None:
    """An entry takes its bytes and some for each signature."""
    held = Held(waiting, frozenset(), local=False, since=NOW)
    assert held.size == len(raw) + 300 * signatures


@pytest.mark.parametrize(
    ("waiting", "message", "log"),
    [
        (SignedEvent(EVENT, Claims()), EVENT, EVENT.aid),
        (
            WaitingReceipts(EVENT.aid, 0, EVENT.said, Claims()),
            Receipt(EVENT.aid, 0, EVENT.said),
            EVENT.aid,
        ),
        (WaitingMessage(QUERY, AUTHOR.aid), QUERY, AUTHOR.aid),
    ],
)
def test_what_waits_is_a_message_for_a_log(waiting: Waiting, message: object, log: object) -> None:
    """What waits can be told as a message, and whose log decides on it."""
    assert (waiting.message, waiting.log) == (message, log)


def test_arrivals_are_looked_up_without_detail() -> None:
    """How much is missing does not matter for what arrives."""
    missing = Missing(Want.RECEIPTS, EVENT.aid, 0, EVENT.said, detail="1 of 2 receipts")
    assert missing.key == ("RECEIPTS", EVENT.aid, 0, EVENT.said, None)


def test_accepted_event_brings_itself_and_its_seals() -> None:
    """An accepted event is what later events and receipts wait for, and holds seals."""
    seal = EventSeal(EVENT.aid, 3, DIGEST)
    event = AUTHOR.fork().interact(DigestSeal(DIGEST), seal).event
    assert arrived_with(event) == (
        Missing(Want.EVENT, event.aid, 1).key,
        Missing(Want.RECEIPTED, event.aid, 1).key,
        Missing(Want.APPROVAL, event.aid, 3, DIGEST, EVENT.aid).key,
        Missing(Want.SEAL, event.aid, 3, DIGEST, EVENT.aid).key,
    )
