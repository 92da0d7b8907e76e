"""Signatures that must not count: by other keys, at other places, of other suites, too lenient.

KERI, "Indexed Signatures": a message without "at least one verifiable Controller signature" MUST
be dropped; one with too few SHOULD be escrowed.
"""

import hashlib
from collections.abc import Iterator

from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import make_key
from keystead.keri.seals import DigestSeal
from keystead.suites import Suite
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.own_vectors.crafting import (
    Body,
    Case,
    Frame,
    accepted,
    altered,
    bystander,
    couple,
    dropped,
    good,
    group,
    held,
    place,
    setting,
    signatures,
)

_BAD, _RANGE = "bad-signature", "signature-index-out-of-range"
_NOT_EXPOSED = ("partial-signatures", "next-threshold-unsatisfied")

# Order of the base point of edwards25519.
_ORDER = 2**252 + 27742317777372353535851937790883648493
_IDENTITY = (1).to_bytes(32, "little")
# The points of small order, each with all its encodings. Those marked are not canonical.
_SMALL = {
    "order-1": "01" + "00" * 31,
    "order-2": "ec" + "ff" * 30 + "7f",
    "order-4": "00" * 32,
    "order-4-negative": "00" * 31 + "80",
    "order-8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order-8-negative": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "order-8-other": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "order-8-other-negative": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "non-canonical-sign-of-1": "01" + "00" * 30 + "80",
    "non-canonical-sign-of-minus-1": "ec" + "ff" * 31,
    "non-canonical-0": "ed" + "ff" * 30 + "7f",
    "non-canonical-0-negative": "ed" + "ff" * 31,
    "non-canonical-1": "ee" + "ff" * 30 + "7f",
    "non-canonical-1-sign": "ee" + "ff" * 31,
}


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    yield from _absent()
    yield from _out_of_range()
    yield from _other_suite()
    yield from _retired()
    yield from _not_committed()
    yield from _reserve()
    yield from _weak_keys()
    yield from _lenient()


def _after(*frames: Frame) -> list[list[Frame]]:
    return [[*frames, bystander()]]


def _dropped(event: Signed, attached: bytes, reason: str) -> Frame:
    return dropped(Body(event.event.raw, event.event.said), attached, reason)


def _absent() -> Iterator[Case]:
    author = Author("absent")
    event, (pair,) = author.incept(), author.pairs(0)
    raw = event.event.raw
    for name, attached, title in (
        ("none", b"", "no attachments"),
        ("empty-group", group("-A", []), "a signature group of none"),
        ("empty-frame", group("-V", []), "an empty frame"),
        ("only-receipt", group("-C", [couple(witness("anyone"), raw)]), "a receipt alone"),
        ("as-witness", group("-B", [place(pair, raw, 0)]), "the signature in a witness group"),
    ):
        lost = _dropped(event, attached, "missing-signatures")
        yield Case(f"absent-{name}", f"icp with {title}", _after(lost))


def _out_of_range() -> Iterator[Case]:
    author = Author("range")
    event, (pair,) = author.incept(), author.pairs(0)
    raw, said = event.event.raw, event.event.said
    for index in (1, 63, 4095):
        alone = group("-A", [place(pair, raw, index)])
        yield Case(
            f"index-{index}",
            f"one key, its signature at place {index}",
            _after(_dropped(event, alone, _RANGE), good(event)),
        )
        extra = group("-A", [place(pair, raw, index), place(pair, raw, 0)])
        yield Case(
            f"index-{index}-and-good",
            f"one key, its signature at place {index} and at place 0: the first is ignored",
            _after(Frame(raw + extra, raw, said)),
        )


def _other_suite() -> Iterator[Case]:
    """CESR: the code of a signature states its suite."""
    author = Author("suite")
    event, (pair,) = author.incept(), author.pairs(0)
    raw, said = event.event.raw, event.event.said
    signed = pair.sign(raw)
    for code, suite in (("C", "secp256k1"), ("E", "secp256r1")):
        other = IndexedSignature(code, 0, 0, signed).text.encode()
        yield Case(
            f"suite-{suite}",
            f"an Ed25519 signature under the code of {suite}",
            _after(_dropped(event, group("-A", [other]), _BAD), good(event)),
        )
        extra = group("-A", [other, place(pair, raw, 0)])
        yield Case(
            f"suite-{suite}-and-good",
            f"an Ed25519 signature under the code of {suite}, and a good one",
            _after(Frame(raw + extra, raw, said)),
        )
    by_other = KeyPair("suite other", Suite.SECP256R1)
    mixed = altered(event, setting(k=[by_other.key.text]))
    yield Case(
        "suite-of-another-key",
        "a good Ed25519 signature where the key is of secp256r1",
        _after(dropped(mixed, signatures(mixed.raw, [pair]), _BAD), good(event)),
    )


def _retired() -> Iterator[Case]:
    author = Author("retired")
    start, turn = good(author.incept()), good(author.rotate())
    event = author.interact()
    raw = event.event.raw
    for generation, what in ((0, "a retired key"), (2, "a key that is still committed to")):
        attached = signatures(raw, author.pairs(generation))
        yield Case(
            f"ixn-by-generation-{generation}",
            f"ixn behind a rotation, signed by {what}",
            _after(start, turn, _dropped(event, attached, _BAD), good(event)),
        )
    author = Author("retired rotation")
    start = good(author.incept())
    event = author.rotate()
    attached = signatures(event.event.raw, author.pairs(0))
    yield Case(
        "rot-by-old-key",
        "rot signed by the key that it replaces",
        _after(start, _dropped(event, attached, _BAD), good(event)),
    )
    old = author.pairs(0)[0]
    again = altered(event, setting(k=[old.key.text]))
    attached = signatures(again.raw, [old])
    yield Case(
        "rot-to-old-key",
        "rot that keeps the old key in k, signed by it: nothing is exposed",
        _after(start, held(again, attached, *_NOT_EXPOSED), good(event)),
    )


def _not_committed() -> Iterator[Case]:
    author = Author("reveal")
    start = good(author.incept())
    event = author.rotate()
    stranger = KeyPair("reveal stranger")
    other = altered(event, setting(k=[stranger.key.text]))
    yield Case(
        "next-key-not-committed",
        "rot to a key whose digest was not committed to",
        _after(start, held(other, signatures(other.raw, [stranger]), *_NOT_EXPOSED), good(event)),
    )
    (pair,) = author.pairs(1)
    raw, said = event.event.raw, event.event.said
    for name, signature, title in (
        ("current-only", place(pair, raw, 0, current_only=True), "a code for the current list"),
        ("second-index-out-of-range", place(pair, raw, 0, 1), "second index 1 of one digest"),
    ):
        waits = Frame(
            raw + group("-A", [signature]), raw, said,
            f"escrowed:{_NOT_EXPOSED[0]}", _NOT_EXPOSED[1],
        )  # fmt: skip
        yield Case(f"next-key-{name}", f"rot whose signature has {title}", _after(start, waits))


def _reserve() -> Iterator[Case]:
    """Partial, reserve, custodial rotation: the exposed next keys must meet their threshold."""
    author = Author("reserve", keys=3, threshold="2")
    start = good(author.incept())
    event = author.rotate()
    exposed = author.pairs(1)
    fresh = [KeyPair(f"reserve fresh {at}") for at in range(2)]
    one = altered(event, setting(k=[pair.key.text for pair in (exposed[0], *fresh)]))
    raw = one.raw
    signed = [
        place(exposed[0], raw, 0, 0),
        *(place(pair, raw, at, current_only=True) for at, pair in enumerate(fresh, 1)),
    ]
    yield Case(
        "reserve-one-of-two",
        "two next keys must be exposed, one is; three keys sign",
        _after(start, held(one, group("-A", signed), *_NOT_EXPOSED), good(event)),
    )
    pretending = [
        place(exposed[0], raw, 0, 0),
        *(place(pair, raw, at, at) for at, pair in enumerate(fresh, 1)),
    ]
    yield Case(
        "reserve-fresh-keys-claim-digests",
        "two next keys must be exposed, one is; fresh keys name the digests of the others",
        _after(start, held(one, group("-A", pretending), *_NOT_EXPOSED), good(event)),
    )
    listed = [pair.key.text for pair in (exposed[2], exposed[0])]
    two = altered(event, setting(k=listed, kt="1"))
    unsigned = group("-A", [place(exposed[2], two.raw, 0, 2)])
    yield Case(
        "reserve-listed-but-not-signing",
        "two next keys are listed in k, one of them signs",
        _after(start, held(two, unsigned, *_NOT_EXPOSED), good(event)),
    )
    swapped = [place(exposed[2], two.raw, 0, 0), place(exposed[0], two.raw, 1, 2)]
    yield Case(
        "reserve-second-indices-swapped",
        "two next keys sign, each names the digest of the other",
        _after(start, held(two, group("-A", swapped), *_NOT_EXPOSED), good(event)),
    )
    right = [place(exposed[2], two.raw, 0, 2), place(exposed[0], two.raw, 1, 0)]
    yield Case(
        "reserve-other-order",
        "two next keys sign, in another order than they were committed to",
        _after(start, accepted(two, group("-A", right))),
    )


def _challenge(point: bytes, key: bytes, message: bytes) -> int:
    """Return the number that binds an Ed25519 signature to key and message (RFC 8032, 5.1.7)."""
    digest = hashlib.sha512(point + key + message).digest()
    return int.from_bytes(digest, "little") % _ORDER


def _weak_keys() -> Iterator[Case]:
    """The key has small order, so without the private half S = 0 verifies for a lenient check."""
    event = Author("weak").incept()
    for name, encoded in _SMALL.items():
        key = bytes.fromhex(encoded)
        text = make_key(Suite.ED25519, key).text
        for attempt in range(1000):
            seal = {"d": KeyPair(f"{name} {attempt}").aid}
            body = altered(event, setting(k=[text], a=[seal]))
            if _challenge(_IDENTITY, key, body.raw) % 8 == 0:
                break
        forged = IndexedSignature("A", 0, 0, _IDENTITY + bytes(32)).text.encode()
        yield Case(
            f"key-{name}",
            f"icp whose key is a point of small order ({name}), signed with R = 1 and S = 0",
            _after(dropped(body, group("-A", [forged]), _BAD)),
        )


def _lenient() -> Iterator[Case]:
    """Forms of a signature that a lenient check takes: the same key, another encoding."""
    author = Author("lenient")
    event, (pair,) = author.incept(anchors=[DigestSeal("E" + "A" * 43)]), author.pairs(0)
    raw = event.event.raw
    right = pair.sign(raw)
    s = int.from_bytes(right[32:], "little")
    digest = hashlib.sha512(pair.seed).digest()[:32]
    secret = int.from_bytes(digest, "little") & (1 << 254) - 8 | 1 << 254
    forms = {"s-plus-order": right[:32] + (s + _ORDER).to_bytes(32, "little")}
    for name, encoded in (("r-identity", _SMALL["order-1"]), ("r-1", _SMALL["non-canonical-1"])):
        point = bytes.fromhex(encoded)
        factor = _challenge(point, pair.key.raw, raw) * secret % _ORDER
        forms[name] = point + factor.to_bytes(32, "little")
    for name, form in forms.items():
        odd = IndexedSignature("A", 0, 0, form).text.encode()
        yield Case(
            f"ed25519-{name}",
            f"a signature that only a lenient check of Ed25519 takes ({name})",
            _after(_dropped(event, group("-A", [odd]), _BAD), good(event)),
        )
