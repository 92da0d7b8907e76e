"""Delegated events without the delegator's seal, or with one that is not it.

KERI, "Cooperative Delegation": "A Validator MUST be given or find the delegating seal in the
delegator's KEL before the event may be accepted as valid."
"""

from collections.abc import Iterator

from keystead.keri.build import Configuration
from keystead.keri.seals import DigestSeal, EventSeal, Seal, SourceSeal
from keystead.testing.authoring import Author, Signed
from support.own_vectors.crafting import (
    Case,
    Frame,
    altered,
    bystander,
    dropped,
    frame,
    good,
    group,
    setting,
    signed_by,
)

_WAITS = ("escrowed:missing-delegation", "missing-delegation-approval")


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    yield from _inceptions()
    yield from _rotations()
    yield from _wrong_types()


def _waiting(event: Signed, attached: bytes = b"") -> Frame:
    """Return a delegated event that must wait, with a hint where its seal is said to be."""
    message = event.event.raw + frame(event.raw[len(event.event.raw) :] + attached)
    return Frame(message, event.event.raw, event.event.said, *_WAITS)


def _delegate(delegator: Author) -> tuple[Author, Signed]:
    author = Author("delegate")
    return author, author.incept(configuration=Configuration(delegator=delegator.aid))


def _hint(event: Signed) -> bytes:
    """Write a source couple that names an event."""
    place = SourceSeal(event.event.sn, event.event.said)
    ordinal = b"0A" + b"A" * 21 + b"ABCDEFGH"[place.sn : place.sn + 1]
    return group("-G", [ordinal + place.said.encode()])


def _inceptions() -> Iterator[Case]:
    boss = Author("delegator")
    start = good(boss.incept())
    _, event = _delegate(boss)
    right = event.seal
    assert isinstance(right, EventSeal)
    yield Case("dip-no-seal", "dip that is sealed nowhere", [[start, _waiting(event), bystander()]])
    yield Case(
        "dip-delegator-unknown",
        "dip of a delegator whose log is not known",
        [[_waiting(event), bystander()]],
    )
    other = Author("delegate other").incept().event
    forged: tuple[tuple[str, str, Seal], ...] = (
        ("other-digest", "the digest of another event", EventSeal(right.aid, 0, other.said)),
        ("other-number", "another number", EventSeal(right.aid, 1, right.said)),
        ("other-identifier", "another identifier", EventSeal(other.aid, 0, right.said)),
        ("only-digest", "nothing but the digest", DigestSeal(right.said)),
        ("without-identifier", "number and digest alone", SourceSeal(0, right.said)),
    )
    for name, title, seal in forged:
        teller = boss.fork()
        sealing = teller.interact(seal)
        yield Case(
            f"dip-seal-{name}",
            f"dip whose delegator seals {title}",
            [[start, good(sealing), _waiting(event, _hint(sealing)), bystander()]],
        )
    stranger = Author("delegation stranger")
    foreign = [good(stranger.incept()), good(sealed := stranger.interact(right))]
    yield Case(
        "dip-sealed-by-stranger",
        "dip that somebody else than the delegator seals",
        [[start, *foreign, _waiting(event, _hint(sealed)), bystander()]],
    )
    liar = boss.fork()
    sealing = liar.interact(right)
    unsigned = Frame(
        sealing.event.raw, sealing.event.raw, sealing.event.said, "dropped", "missing-signatures"
    )
    yield Case(
        "dip-seal-not-signed",
        "dip whose seal is in an event that the delegator did not sign",
        [[start, unsigned, _waiting(event, _hint(sealing)), bystander()]],
    )
    own = Author("delegate itself")
    first = own.incept(configuration=Configuration(delegator=boss.aid))
    itself = altered(first, setting(di=first.event.aid))
    waits = Frame(itself.raw + signed_by(own, itself), itself.raw, itself.said, *_WAITS)
    yield Case(
        "dip-of-unknown-delegator",
        "dip that names an identifier without log as delegator",
        [[waits, bystander()]],
    )
    closed = Author("delegator closed")
    begin = good(closed.incept(configuration=Configuration(traits=["DND"])))
    _, event = _delegate(closed)
    refused = Frame(event.framed, event.event.raw, event.event.said, "dropped", "do-not-delegate")
    sealing = closed.interact(event.seal)
    yield Case(
        "dip-do-not-delegate",
        "dip whose delegator seals it, but must not delegate",
        [[begin, good(sealing), refused, bystander()]],
    )


def _rotations() -> Iterator[Case]:
    boss = Author("delegator")
    start = good(boss.incept())
    author, first = _delegate(boss)
    begin = [start, good(boss.interact(first.seal)), good(first)]
    event = author.rotate()
    yield Case(
        "drt-no-seal", "drt that is sealed nowhere", [[*begin, _waiting(event), bystander()]]
    )
    again = boss.fork()
    sealing = again.interact(first.seal)
    yield Case(
        "drt-old-seal",
        "drt whose delegator seals the inception once more",
        [[*begin, good(sealing), _waiting(event, _hint(sealing)), bystander()]],
    )


def _wrong_types() -> Iterator[Case]:
    boss = Author("delegator")
    start = good(boss.incept())
    author, first = _delegate(boss)
    begin = [start, good(boss.interact(first.seal)), good(first)]
    event = author.rotate()
    sealed = good(boss.interact(event.seal))
    plain = altered(event, setting(t="rot"))
    wrong = dropped(plain, signed_by(author, plain, 1), "non-delegated-rotation-of-delegated")
    yield Case(
        "rot-of-delegated",
        "rot, not sealed, of a delegated identifier; then the drt",
        [[*begin, wrong, sealed, good(event), bystander()]],
    )
    author = Author("not delegated")
    start = good(author.incept())
    event = author.rotate()
    drt = altered(event, setting(t="drt"))
    wrong = dropped(drt, signed_by(author, drt, 1), "missing-delegation-approval")
    yield Case(
        "drt-of-plain",
        "drt of an identifier that is not delegated; then the rot",
        [[start, wrong, good(event), bystander()]],
    )
