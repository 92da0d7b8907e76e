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
_ONE_GROUP = SignatureGroup(EVENT.aid, 0, DIGEST, (ONE,))
_TWO_GROUP = SignatureGroup(EVENT.aid, 0, DIGEST, (ONE, TWO))
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
            ("qry", "", 0, QUERY.said, f"{AUTHOR.aid} {DIGEST}"),
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


def _size(waiting: Waiting, *missing: Missing) -> int:
    return Held(waiting, frozenset(missing), local=False, since=NOW).size


def _receipts(*groups: SignatureGroup) -> WaitingReceipts:
    return WaitingReceipts(EVENT.aid, 0, EVENT.said, Claims(endorsements=groups))


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (SignedEvent(EVENT, Claims()), SignedEvent(EVENT, Claims((ONE,)))),
        (SignedEvent(EVENT, Claims()), SignedEvent(EVENT, Claims(), Proofs((ONE,)))),
        (_receipts(), WaitingReceipts(EVENT.aid, 0, EVENT.said, Claims(couples=(COUPLE,)))),
        (_receipts(_ONE_GROUP), _receipts(_TWO_GROUP)),
        (WaitingMessage(QUERY, AUTHOR.aid), WaitingMessage(QUERY, AUTHOR.aid, signatures=(ONE,))),
        (WaitingMessage(QUERY, AUTHOR.aid), WaitingMessage(QUERY, AUTHOR.aid, proven=(ONE,))),
    ],
)
def test_each_signature_takes_room(small: Waiting, large: Waiting) -> None:
    """Signatures take more than their bytes, verified or not."""
    assert _size(large) - _size(small) == 300


def test_groups_and_missing_things_take_room() -> None:
    """Also a group without signatures, and everything that is waited for."""
    empty = SignatureGroup(EVENT.aid, 0, DIGEST, ())
    assert _size(_receipts(empty)) - _size(_receipts()) == 300
    wanted = Missing(Want.EVENT, EVENT.aid, 0), Missing(Want.EVENT, EVENT.aid, 1)
    waiting = _receipts()
    assert _size(waiting, *wanted) - _size(waiting, wanted[0]) == 600


def test_an_event_takes_several_times_its_bytes() -> None:
    """What is read from an event takes up to six times its size."""
    longer = AUTHOR.fork().interact(DigestSeal("x" * 1000)).event
    shorter = AUTHOR.fork().interact(DigestSeal("")).event
    sizes = [_size(SignedEvent(one, Claims())) for one in (shorter, longer)]
    assert sizes[1] - sizes[0] == 6000


@pytest.mark.parametrize(
    ("content", "least"),
    [([{}] * 100, 80), ([[[]]] * 100, 160), (["ab"] * 100, 50), (list(range(100)), 30)],
)
def test_the_parts_of_a_message_take_room(content: list[object], least: int) -> None:
    """Each map, list, text and number in a field map is an object."""
    sizes = []
    for items in ([], content):
        message = parsed(routed("qry", q={"i": AUTHOR.aid, "x": items}))
        assert isinstance(message, Query)
        sizes.append(_size(WaitingMessage(message, AUTHOR.aid)))
    assert sizes[1] - sizes[0] > 100 * least


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
