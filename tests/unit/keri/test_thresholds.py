"""Signing thresholds."""

from itertools import chain, combinations
from typing import Any

import pytest

from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import thresholds

HALF = "1/2"


def _sets(keys: int) -> list[frozenset[int]]:
    """Return all sets of places."""
    places = range(keys)
    return [
        frozenset(chosen)
        for chosen in chain.from_iterable(combinations(places, size) for size in range(keys + 1))
    ]


@pytest.mark.parametrize(
    ("field", "keys", "least"),
    [
        # field, keys, the least sets of places that suffice
        ("1", 1, ["0"]),
        ("1", 3, ["0", "1", "2"]),
        ("2", 3, ["01", "02", "12"]),
        ("3", 3, ["012"]),
        (["1"], 1, ["0"]),
        (["1", "1"], 2, ["0", "1"]),
        ([HALF, HALF, HALF], 3, ["01", "02", "12"]),
        ([HALF, HALF, "1/4", "1/4"], 4, ["01", "023", "123"]),
        (["1", "0"], 2, ["0"]),
        (["2/4", "2/4"], 2, ["01"]),
        (["1/3", "1/3", "1/3"], 3, ["012"]),
        ([["1"], ["1"]], 2, ["01"]),
        ([[HALF, HALF], ["1", "1"]], 4, ["012", "013"]),
        ([{HALF: ["1", "1"]}, {HALF: [HALF, HALF]}], 4, ["023", "123"]),
        ([{"1": ["1", "1"]}], 2, ["0", "1"]),
        ([HALF, {HALF: ["1", "1"]}, HALF], 4, ["01", "02", "03", "13", "23"]),
        ([[{HALF: ["1"]}, HALF], ["1"]], 3, ["012"]),
    ],
)
def test_threshold_is_met_by_exactly_the_right_sets(
    field: thresholds.Field, keys: int, least: list[str]
) -> None:
    """A set of keys suffices exactly when it holds one of the least sufficient sets."""
    threshold = thresholds.parse(field, keys)
    wanted = [frozenset(map(int, chosen)) for chosen in least]
    for places in _sets(keys):
        assert threshold.satisfied_by(places) is any(chosen <= places for chosen in wanted)


@pytest.mark.parametrize("places", [frozenset(), frozenset((0,)), frozenset((0, 1))])
def test_zero_is_never_met(places: frozenset[int]) -> None:
    """A threshold of zero, for no next keys, is met by nothing."""
    assert not thresholds.parse("0", 0).satisfied_by(places)


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        (1, 1),
        (None, 1),
        ({"1/2": ["1"]}, 1),
        ("", 1),
        ("01", 1),
        ("A", 16),
        ("0x1", 1),
        ("-1", 1),
        ("1" + "0" * 32, 1),
        ("1\n", 1),
        ([1], 1),
        ([None], 1),
        (["1", ["1"]], 2),
        ([[["1"]]], 1),
        (["1/0"], 1),
        (["01"], 1),
        (["-1"], 1),
        (["1/02"], 1),
        (["1.0"], 1),
        (["1/1000000000"], 1),
        ([""], 1),
        ([{}], 1),
        ([{"1": ["1"], HALF: ["1"]}], 2),
        ([{"1": []}], 0),
        ([{"1": "1"}], 1),
        ([{"1": [["1"]]}], 1),
        ([{"1": [{"1": ["1"]}]}], 1),
        ([{"x": ["1"]}], 1),
        ([{"1": ["x"]}], 1),
    ],
)
def test_malformed_threshold_is_refused(field: object, keys: int) -> None:
    """What is neither lower-case hex text nor lists of fractions is malformed."""
    with pytest.raises(DecodeError) as caught:
        thresholds.parse(field, keys)
    assert caught.value.code is ErrorCode.VALUE


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        ("2", 1),
        ("1", 0),
        ("0", 1),
        ([], 0),
        ([], 1),
        ([[]], 0),
        (["1"], 2),
        (["1", "1"], 1),
        ([["1"], ["1"]], 3),
        ([{"1": ["1", "1"]}], 1),
        (["3/2"], 1),
        (["2"], 1),
        ([{"2": ["1"]}], 1),
        ([HALF], 1),
        ([HALF, "1/3"], 2),
        (["0"], 1),
        ([["1"], [HALF]], 2),
        ([{"1": [HALF, "1/4"]}], 2),
        ([{HALF: ["1"]}], 1),
    ],
)
def test_unreachable_threshold_is_refused(field: object, keys: int) -> None:
    """A threshold must fit its keys one to one and be reachable with all of them."""
    with pytest.raises(VerificationError) as caught:
        thresholds.parse(field, keys)
    assert caught.value.code is ErrorCode.THRESHOLD


FIELDS: list[tuple[Any, int, int, str]] = [
    # field, keys, places, text of the primitive of a number
    ("0", 0, 0, "MAAA"),
    ("2", 3, 2, "MAAC"),
    (["1", "0"], 2, 2, ""),
    ([HALF, HALF], 2, 2, ""),
    ([["1"], ["1"]], 2, 2, ""),
    ([{HALF: ["1", "1"]}, HALF], 3, 3, ""),
]


@pytest.mark.parametrize(("field", "keys"), [(field, keys) for field, keys, _, _ in FIELDS])
def test_field_is_as_it_was_read(field: thresholds.Field, keys: int) -> None:
    """Writing a threshold that was read gives the same value."""
    assert thresholds.parse(field, keys).field == field


def test_one_clause_needs_no_list_around_it() -> None:
    """A single clause in a list of clauses is the same threshold as the clause alone."""
    assert thresholds.parse([["1", "1"]], 2).field == ["1", "1"]


@pytest.mark.parametrize(
    ("field", "keys", "places"), [(field, keys, places) for field, keys, places, _ in FIELDS]
)
def test_places_count_the_keys_spoken_of(field: object, keys: int, places: int) -> None:
    """A weighted threshold speaks of all its keys, a number of that many."""
    assert thresholds.parse(field, keys).places == places


@pytest.mark.parametrize(
    ("field", "keys", "text"),
    [(field, keys, text) for field, keys, _, text in FIELDS if isinstance(field, str)],
)
def test_number_is_a_number_primitive(field: object, keys: int, text: str) -> None:
    """A number in CESR is the smallest number primitive."""
    assert thresholds.parse(field, keys).primitive.text == text


@pytest.mark.parametrize(
    ("field", "keys", "text"),
    [
        (["1", "0"], 2, "1c0"),
        ([HALF, "1/3", "1/6"], 3, "1s2c1s3c1s6"),
        ([[HALF, HALF], ["1"]], 3, "1s2c1s2a1"),
        ([{HALF: ["1", "1/4"]}, HALF], 3, "1s2k1v1s4c1s2"),
    ],
)
def test_weights_are_a_base64_string(field: object, keys: int, text: str) -> None:
    """Weights in CESR: `s` for a slash, `c` between weights, `a` clauses, `k` and `v` nested."""
    primitive = thresholds.parse(field, keys).primitive
    assert primitive.text.endswith(text)
    assert primitive.text[1] == "A"


def test_demand_is_the_same_however_it_is_written() -> None:
    """Thresholds that ask for the same have the same demand, and others have not."""
    same: list[object] = [["1/2", "1/2"], ["2/4", "3/6"], [["1/2", "4/8"]]]
    others: list[object] = ["1", "2", ["1", "1"], [["1"], ["1"]]]
    assert len({thresholds.parse(field, 2).demand for field in same}) == 1
    assert len({thresholds.parse(field, 2).demand for field in [*same, *others]}) == 5
    nested: list[object] = [[{"1/2": ["1/2", "1/2"]}, "1/2"], [{"2/4": ["2/4", "1/2"]}, "1/2"]]
    flat: list[object] = [["1/2", "1/2", "1/2"]]
    assert len({thresholds.parse(field, 3).demand for field in nested}) == 1
    assert len({thresholds.parse(field, 3).demand for field in [*nested, *flat]}) == 2
