"""Seals."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.cesr.keys import Aid
from keystead.keri.seals import (
    BackerSeal,
    DigestSeal,
    EventSeal,
    LastSeal,
    OtherData,
    RootSeal,
    Seal,
    SourceSeal,
    TypedSeal,
    field_of,
    parse_seal,
)
from keystead.testing.authoring import KeyPair
from support.logs import DIGEST

AID = Aid(KeyPair("any").key.text)

SEALS: list[tuple[Any, Seal]] = [
    ({"d": DIGEST}, DigestSeal(DIGEST)),
    ({"rd": DIGEST}, RootSeal(DIGEST)),
    ({"s": "1f", "d": DIGEST}, SourceSeal(31, DIGEST)),
    ({"i": AID, "s": "0", "d": DIGEST}, EventSeal(AID, 0, DIGEST)),
    ({"i": AID}, LastSeal(AID)),
    ({"bi": AID, "d": DIGEST}, BackerSeal(AID, DIGEST)),
    ({"t": "YACDCBAA", "d": DIGEST}, TypedSeal("YACDCBAA", DIGEST)),
]
NOT_SEALS: list[Any] = [
    "text",
    12,
    None,
    [],
    {},
    {"x": "y"},
    {"d": 1},
    {"d": DIGEST, "s": "0"},
    {"s": 0, "d": DIGEST},
    {"s": "0", "d": None},
    {"s": "00", "d": DIGEST},
    {"s": "0", "d": "no digest"},
    {"i": 1, "s": "0", "d": DIGEST},
    {"i": AID, "s": 0, "d": DIGEST},
    {"i": AID, "s": "0", "d": []},
    {"i": AID, "s": "0A", "d": DIGEST},
    {"i": "nobody", "s": "0", "d": DIGEST},
    {"i": AID, "s": "0", "d": "no digest"},
    {"s": "0", "i": AID, "d": DIGEST},
    {"bi": AID, "d": {}},
]


@pytest.mark.parametrize(("value", "seal"), SEALS)
def test_seal_is_told_by_its_labels(value: dict[str, str], seal: Seal) -> None:
    """Each kind of seal has labels of its own."""
    assert parse_seal(value) == seal


@pytest.mark.parametrize("value", NOT_SEALS)
def test_what_is_no_seal_is_data(value: object) -> None:
    """Other labels and malformed values make plain data, not an error."""
    assert isinstance(parse_seal(value), OtherData)


@pytest.mark.parametrize("value", [*(value for value, _ in SEALS), *NOT_SEALS])
def test_field_of_a_parsed_seal_is_what_was_parsed(value: object) -> None:
    """Writing a seal that was read gives the same value."""
    again = field_of(parse_seal(value))
    assert again == value
    if isinstance(value, dict):
        assert list(again) == list(value)


@settings(deadline=None, max_examples=150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["i", "s", "d", "rd", "bi", "t", "x"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_any_anchored_value_survives(value: object) -> None:
    """Whatever an event anchors can be written back as it was."""
    assert field_of(parse_seal(value)) == value
