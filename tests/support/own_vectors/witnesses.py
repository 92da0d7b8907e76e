"""Witness lists that are not consistent, and receipts that are missing.

KERI, "Backer list": "A given AID MUST NOT appear more than once in any Backer list."
"""

from collections.abc import Iterator

from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.own_vectors.crafting import (
    Body,
    Case,
    Edit,
    Frame,
    accepted,
    altered,
    bystander,
    couple,
    dropped,
    good,
    group,
    place,
    setting,
    signatures,
)

_POOL = [witness(f"pool {at}") for at in range(5)]
_AIDS = [one.aid for one in _POOL]


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    yield from _bad_inceptions()
    yield from _bad_rotations()
    yield from _odd_but_good()
    yield from _missing_receipts()


def _inception(author: Author, body: Body, receipts: list[KeyPair]) -> bytes:
    return signatures(body.raw, author.pairs(0)) + signatures(body.raw, receipts, "-B")


def _bad_inceptions() -> Iterator[Case]:
    author = Author("witnessed", witnesses=_POOL[:2])
    event = author.incept()
    transferable = KeyPair("no witness")
    for name, title, edit, receipts in (
        ("b-twice", "b lists a witness twice", setting(b=[_AIDS[0], _AIDS[0]]), [_POOL[0]] * 2),
        ("bt-above-witnesses", "bt 3 for two witnesses", setting(bt="3"), _POOL[:2]),
        ("bt-without-witnesses", "bt 1 without witnesses", setting(b=[], bt="1"), []),
        (
            "b-transferable",
            "b lists a transferable key",
            setting(b=[_AIDS[0], transferable.aid]),
            [_POOL[0], transferable],
        ),
        (
            "b-digest",
            "b lists an identifier that is no key",
            setting(b=[_AIDS[0], "E" + _AIDS[1][1:]]),
            _POOL[:2],
        ),
    ):
        bad = altered(event, edit)
        refused = dropped(bad, _inception(author, bad, receipts), "bad-witness-config")
        yield Case(f"icp-{name}", f"icp: {title}", [[refused, good(event), bystander()]])


def _rotation(author: Author, body: Body, receipts: list[KeyPair]) -> bytes:
    return signatures(body.raw, author.pairs(1)) + signatures(body.raw, receipts, "-B")


def _rotated() -> tuple[Author, list[Frame], Signed]:
    author = Author("changing", witnesses=_POOL[:3])
    return author, [good(author.incept())], author.rotate()


def _bad_rotations() -> Iterator[Case]:
    author, start, event = _rotated()
    first, second, third, fourth, _ = _AIDS
    transferable = KeyPair("no witness")
    changes: list[tuple[str, str, Edit, list[KeyPair]]] = [
        ("ba-twice", "ba lists a witness twice", setting(ba=[fourth, fourth]), _POOL[:4]),
        ("br-twice", "br lists a witness twice", setting(br=[third, third], bt="2"), _POOL[:2]),
        ("br-unknown", "br lists one that is no witness", setting(br=[fourth]), _POOL[:3]),
        ("bt-above", "bt 3 when two witnesses are left", setting(br=[first]), _POOL[1:3]),
        (
            "bt-when-none-left",
            "bt 1 when no witness is left",
            setting(br=[first, second, third], bt="1"),
            [],
        ),
        (
            "ba-transferable",
            "ba lists a transferable key",
            setting(ba=[transferable.aid]),
            [*_POOL[:3], transferable],
        ),
    ]
    for name, title, edit, receipts in changes:
        bad = altered(event, edit)
        refused = dropped(bad, _rotation(author, bad, receipts), "bad-witness-config")
        yield Case(f"rot-{name}", f"rot: {title}", [[*start, refused, good(event), bystander()]])


def _odd_but_good() -> Iterator[Case]:
    """KERI, "Backer add list": "except for any AIDs that already appear" in the list."""
    author, start, event = _rotated()
    first, _, third, fourth, _ = _AIDS
    changes: list[tuple[str, str, Edit, list[KeyPair]]] = [
        (
            "ba-already-there",
            "ba lists a witness of the list, which stays where it is",
            setting(ba=[first, fourth]),
            _POOL[:4],
        ),
        (
            "br-other-order",
            "br in another order than the list",
            setting(br=[third, first], bt="1"),
            [_POOL[1]],
        ),
        (
            "br-and-ba",
            "a witness in br and in ba, which moves to the end",
            setting(br=[first], ba=[first]),
            [_POOL[1], _POOL[2], _POOL[0]],
        ),
        ("bt-zero", "bt 0 with witnesses", setting(bt="0"), []),
    ]
    for name, title, edit, receipts in changes:
        odd = altered(event, edit)
        attached = signatures(odd.raw, author.pairs(1))
        if receipts:
            attached += signatures(odd.raw, receipts, "-B")
        yield Case(f"rot-{name}", f"rot: {title}", [[*start, accepted(odd, attached), bystander()]])


def _missing_receipts() -> Iterator[Case]:
    """Fewer witnesses receipted than must; then what was missing arrives."""
    author = Author("short", witnesses=_POOL[:2])
    event = author.incept()
    raw, said = event.event.raw, event.event.said
    controller = signatures(raw, author.pairs(0))
    one, two = _POOL[:2]
    outsider = _POOL[4]
    forged = place(one, raw + b" ", 1)
    for name, title, attached in (
        ("none", "no receipt at all", b""),
        ("one-of-two", "one receipt of two", group("-B", [place(one, raw, 0)])),
        (
            "wrong-place",
            "one receipt of two, the other at the place of another witness",
            group("-B", [place(one, raw, 0), place(one, raw, 1)]),
        ),
        (
            "forged",
            "one receipt of two, the other over other bytes",
            group("-B", [place(one, raw, 0), forged]),
        ),
        (
            "out-of-range",
            "one receipt of two, the other at a place that is not in the list",
            group("-B", [place(one, raw, 0), place(two, raw, 2)]),
        ),
        (
            "outsider",
            "one receipt of two, the other a couple of somebody who is no witness",
            group("-B", [place(one, raw, 0)]) + group("-C", [couple(outsider, raw)]),
        ),
    ):
        reason = "missing-witness-receipts"
        others = (outsider.aid,) if name == "outsider" else ()
        message = raw + controller + attached
        short = Frame(message, raw, said, "escrowed:partial-witness", reason, others)
        yield Case(f"receipts-{name}", f"icp with bt 2: {title}", [[short, bystander()]])
        late = Frame(short.raw, raw, said, "accepted")
        copy = Frame(event.framed, raw, said, "copy")
        yield Case(
            f"receipts-{name}-completed",
            f"icp with bt 2: {title}; then a copy with both",
            [[late, bystander()], [copy]],
        )
