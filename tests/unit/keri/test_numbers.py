"""Numbers as fields carry them."""

import pytest

from keystead.keri.numbers import parse_hex


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("1", 1), ("a", 10), ("ff", 255), ("10", 16), ("f" * 32, 2**128 - 1)],
)
def test_canonical_hex_is_read(text: str, number: int) -> None:
    """Lower-case hex without leading zeros is a number."""
    assert parse_hex(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "00", "01", "A", "0x1", "-1", "+1", " 1", "1 ", "1_0", "g", "1" + "0" * 32, "٣"],
)
def test_other_spellings_are_refused(text: str) -> None:
    """One number has one text, and none is above 2^128 - 1."""
    assert parse_hex(text) is None
