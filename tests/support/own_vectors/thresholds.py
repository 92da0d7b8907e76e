"""Thresholds that count something else than distinct keys, or that cannot be reached.

KERI, "Key and key digest threshold fields": "any set of M valid signatures from the keys in the
list"; "Fractionally weighted threshold": each weight "corresponds one-to-one to a public key".
"""

from collections.abc import Iterator

from keystead.keri import build
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.own_vectors.crafting import (
    Case,
    Edit,
    Frame,
    accepted,
    altered,
    big,
    bystander,
    couple,
    dropped,
    good,
    group,
    held,
    place,
    setting,
    signatures,
    signed_by,
)

_FEW = ("partial-signatures", "insufficient-signatures")
_NOT_EXPOSED = ("partial-signatures", "next-threshold-unsatisfied")


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    yield from _signed_twice()
    yield from _exposed_twice()
    yield from _receipted_twice()
    yield from _key_listed_twice()
    yield from _digest_listed_twice()
    yield from _unreachable()
    yield from _malformed()


def _after(*frames: Frame) -> list[list[Frame]]:
    return [[*frames, bystander()]]


def _signed_twice() -> Iterator[Case]:
    """One key signs twice where two keys must sign."""
    event = Author("twice", keys=2).incept()
    raw = event.event.raw
    first = KeyPair("twice 0 0")
    plain, current = place(first, raw, 0), place(first, raw, 0, current_only=True)
    for name, pair, title in (
        ("signature-repeated", (plain, plain), "the very same signature twice"),
        ("signature-under-a-and-b", (plain, current), "one signature under the codes A and B"),
        ("signature-under-a-and-2a", (plain, big(plain)), "one signature under the codes A and 2A"),
    ):
        few = Frame(raw + group("-A", pair), raw, event.event.said, f"escrowed:{_FEW[0]}", _FEW[1])
        yield Case(f"signing-{name}", f"2 of 2 signing keys: {title}", _after(few))


def _exposed_twice() -> Iterator[Case]:
    """One next key counts twice where two must be exposed."""
    author = Author("expose", keys=2)
    start = good(author.incept())
    event = author.rotate()
    pairs = author.pairs(1)
    one = altered(event, setting(kt="1"))
    plain = place(pairs[0], one.raw, 0)
    for name, items, title in (
        ("signature-repeated", (plain, plain), "the very same signature twice"),
        ("signature-under-a-and-2a", (plain, big(plain)), "one signature under the codes A and 2A"),
        (
            "two-second-indices",
            (plain, place(pairs[0], one.raw, 0, 1)),
            "one signature that names both digests",
        ),
    ):
        few = held(one, group("-A", items), *_NOT_EXPOSED)
        yield Case(f"next-{name}", f"2 of 2 next keys: {title}", _after(start, few, good(event)))
    doubled = [pairs[0].key.text, pairs[0].key.text]
    both = altered(event, setting(kt="1", k=doubled))
    attached = group("-A", [place(pairs[0], both.raw, 0), place(pairs[0], both.raw, 1, 0)])
    yield Case(
        "next-key-listed-twice",
        "2 of 2 next keys: one of them is listed twice in k and signs at both places",
        _after(start, held(both, attached, *_NOT_EXPOSED), good(event)),
    )


def _receipted_twice() -> Iterator[Case]:
    """One witness counts twice where two must receipt."""
    witnesses = [witness("twice 0"), witness("twice 1")]
    author = Author("receipts", witnesses=witnesses)
    event = author.incept()
    raw, said = event.event.raw, event.event.said
    controller = signatures(raw, author.pairs(0))
    plain = place(witnesses[0], raw, 0)
    current = place(witnesses[0], raw, 0, current_only=True)
    for name, attached, title in (
        ("signature-repeated", group("-B", [plain, plain]), "the very same signature twice"),
        ("signature-under-a-and-b", group("-B", [plain, current]), "one under the codes A and B"),
        (
            "signature-and-couple",
            group("-B", [plain]) + group("-C", [couple(witnesses[0], raw)]),
            "one as signature and as couple",
        ),
    ):
        few = Frame(
            raw + controller + attached,
            raw,
            said,
            "escrowed:partial-witness",
            "missing-witness-receipts",
        )
        yield Case(f"witness-{name}", f"2 of 2 witnesses: {title}", _after(few))


def _key_listed_twice() -> Iterator[Case]:
    """A key that is listed twice is one key."""
    author = Author("listed")
    event, (pair,) = author.incept(), author.pairs(0)
    key, other = pair.key.text, KeyPair("listed other")
    for name, threshold in (("number", "2"), ("weights", ["1/2", "1/2"])):
        bad = altered(event, setting(k=[key, key], kt=threshold))
        attached = signatures(bad.raw, [pair, pair])
        yield Case(
            f"signing-key-twice-{name}",
            f"k lists one key twice, and kt {threshold} needs two",
            _after(dropped(bad, attached, "bad-threshold"), good(event)),
        )
    one = altered(event, setting(k=[key, key]))
    for at in (0, 1):
        yield Case(
            f"signing-key-twice-reachable-{at}",
            f"k lists one key twice, kt 1, signed at place {at}",
            _after(accepted(one, group("-A", [place(pair, one.raw, at)]))),
        )
    three = altered(event, setting(k=[key, key, other.key.text], kt="2"))
    signed = [place(pair, three.raw, 0), place(pair, three.raw, 1)]
    yield Case(
        "signing-key-twice-of-three",
        "2 of 3, k lists one key twice, which signs at both its places",
        _after(held(three, group("-A", signed), *_FEW), good(event)),
    )
    signed = [place(pair, three.raw, 1), place(other, three.raw, 2)]
    yield Case(
        "signing-key-twice-of-three-and-other",
        "2 of 3, k lists one key twice, which signs at its second place, and the other key signs",
        _after(accepted(three, group("-A", signed))),
    )


def _digest_listed_twice() -> Iterator[Case]:
    """A next key that is listed twice is one key."""
    author = Author("committed")
    event = author.incept()
    commitment = build.commitment(author.pairs(1)[0].key)
    for name, threshold in (("number", "2"), ("weights", ["1/2", "1/2"])):
        bad = altered(event, setting(n=[commitment, commitment], nt=threshold))
        yield Case(
            f"next-digest-twice-{name}",
            f"n lists one digest twice, and nt {threshold} needs two",
            _after(dropped(bad, signed_by(author, bad), "bad-threshold"), good(event)),
        )
    one = altered(event, setting(n=[commitment, commitment]))
    yield Case(
        "next-digest-twice-reachable",
        "n lists one digest twice, nt 1",
        _after(accepted(one, signed_by(author, one))),
    )


def _refused(author: Author, event: Signed, name: str, title: str, edit: Edit) -> Case:
    """Make the case of an inception that is dropped for its thresholds."""
    bad = altered(event, edit)
    refused = dropped(bad, signed_by(author, bad), "bad-threshold")
    return Case(name, title, _after(refused, good(event)))


def _unreachable() -> Iterator[Case]:
    """No set of signatures meets the threshold."""
    author = Author("reach", keys=2)
    event = author.incept()
    for label, listed in (("kt", "k"), ("nt", "n")):
        for name, value, what in (
            ("zero", "0", "0"),
            ("above-keys", "3", f"3 with two entries in {listed}"),
            ("weights-below-one", ["1/2", "1/4"], "weights that sum up to 3/4"),
            ("too-few-weights", ["1"], f"one weight with two entries in {listed}"),
            ("too-many-weights", ["1/2", "1/2", "1/2"], f"three weights, two entries in {listed}"),
            ("empty-list", [], "an empty list"),
            ("empty-clause", [["1/2", "1/2"], []], "an empty second clause"),
            ("second-clause-below-one", [["1"], ["1/2"]], "a second clause of 1/2"),
            ("nested-below-one", [{"1": ["1/2", "1/4"]}], "a nested list that sums up to 3/4"),
        ):
            edit = setting(**{label: value})
            yield _refused(author, event, f"{label}-{name}", f"icp with {label} {what}", edit)
    without = setting(n=[], nt="1")
    yield _refused(author, event, "nt-without-next", "icp with nt 1 and without n", without)
    yield _refused(author, event, "kt-without-keys", "icp with kt 1 and without k", setting(k=[]))


def _malformed() -> Iterator[Case]:
    """The value is no threshold."""
    author = Author("shape", keys=2)
    event = author.incept()
    for name, value, what in (
        ("zero-denominator", ["1/0", "1"], "a weight 1/0"),
        ("negative-weight", ["-1/2", "1"], "a weight -1/2"),
        ("decimal-weight", ["0.5", "0.5"], "decimal fractions"),
        ("weight-leading-zero", ["01/2", "1/2"], "a weight 01/2"),
        ("weight-with-space", ["1/ 2", "1/2"], "a weight with a space"),
        ("weight-integer", [1, 1], "weights that are JSON numbers"),
        ("weights-as-text", '["1/2","1/2"]', "the JSON text of a list"),
        ("fraction-as-text", "1/2", "a fraction instead of a list of them"),
        ("map", {"1/2": ["1", "1"]}, "a field map instead of a list"),
        ("nested-twice", [[["1/2", "1/2"]]], "a list in a clause"),
        ("nested-map-of-two", [{"1/2": ["1"], "1/3": ["1"]}], "a nested map of two weights"),
    ):
        bad = altered(event, setting(kt=value))
        refused = dropped(bad, signed_by(author, bad), "bad-value")
        yield Case(f"kt-{name}", f"icp with kt: {what}", _after(refused, good(event)))
