"""The code tables: rules that every row keeps."""

import re

import pytest

from keystead import suites
from keystead.cesr import codes
from keystead.cesr.codes import VERSION_1, CounterRow, GroupKind, IndexedRow, PrimitiveRow


@pytest.mark.parametrize("row", VERSION_1.primitives.values(), ids=lambda row: row.code)
def test_a_primitive_is_aligned(row: PrimitiveRow) -> None:
    """A primitive fills quadlets, and its material whole bytes behind pad bits and lead."""
    assert len(row.code) == codes.HARD_SIZES[row.code[0]]
    if row.size is None:
        assert (len(row.code) + row.soft) % 4 == 0
        assert row.lead == (int(row.code[0]) - 4) % 3
        return
    assert row.size % 4 == 0
    assert (row.size - len(row.code) - row.soft) * 3 // 4 >= row.lead
    assert row.pad <= row.soft


@pytest.mark.parametrize("row", VERSION_1.indexed.values(), ids=lambda row: row.code)
def test_an_indexed_code_is_aligned(row: IndexedRow) -> None:
    """An indexed signature fills quadlets."""
    assert len(row.code) == codes.INDEXED_HARD_SIZES[row.code[0]]
    assert row.size is None or row.size % 4 == 0
    assert row.size is not None or (len(row.code) + row.index_chars) % 4 == 0


@pytest.mark.parametrize("row", VERSION_1.counters.values(), ids=lambda row: row.code)
def test_a_count_code_is_aligned(row: CounterRow) -> None:
    """A count code has four or eight characters."""
    assert len(row.code) == codes.COUNTER_HARD_SIZES[row.code[1]]
    assert len(row.code) + row.digits in {4, 8}


def test_every_kind_of_group_has_a_code() -> None:
    """No kind is without a row."""
    assert {row.kind for row in VERSION_1.counters.values()} == set(GroupKind)


@pytest.mark.parametrize(
    "table",
    [codes.KEY_CODES, codes.SIGNATURE_CODES, codes.DIGEST_CODES, codes.NUMBER_CODES],
)
def test_roles_name_codes_of_the_table(table: dict[str, object]) -> None:
    """Every code with a role is a primitive."""
    assert set(table) <= set(VERSION_1.primitives)


@pytest.mark.parametrize(("code", "name"), codes.DIGEST_CODES.items())
def test_a_digest_code_has_the_size_of_its_digest(code: str, name: str) -> None:
    """The algorithm gives as many bytes as the code holds."""
    row = VERSION_1.primitives[code]
    assert row.size is not None
    assert (row.size - len(code)) * 3 // 4 == len(suites.DIGESTS[name](b"").digest())


@pytest.mark.parametrize(("chars", "code"), codes.TAG_CODES.items())
def test_a_tag_code_has_the_length_of_its_tag(chars: int, code: str) -> None:
    """The soft part is pad characters and the tag."""
    row = VERSION_1.primitives[code]
    assert row.soft - row.pad == chars


PATTERN = codes.text_pattern(["A", "0B", "1AAB"])


@pytest.mark.parametrize(
    "text", ["A" * 44, "AP" + "_" * 42, "0B" + "A" * 86, "0BD" + "-" * 85, "1AAB" + "z" * 44]
)
def test_a_text_pattern_matches_canonical_text(text: str) -> None:
    """Text whose pad bits are zero matches."""
    assert PATTERN.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    [
        "AQ" + "A" * 42,
        "0BE" + "A" * 85,
        "A" * 43,
        "A" * 45,
        "B" + "A" * 43,
        "1AAC" + "A" * 44,
        "AA" + "+" * 42,
        "A" * 44 + "\n",
        "",
    ],
)
def test_a_text_pattern_matches_nothing_else(text: str) -> None:
    """Other codes, sizes, characters and pad bits do not match."""
    assert not PATTERN.fullmatch(text)


@pytest.mark.parametrize("code", ["4A", "X", "V", "2___"])
def test_a_text_pattern_needs_a_plain_code(code: str) -> None:
    """Codes of variable size, with soft part or with lead bytes have no such pattern."""
    with pytest.raises(ValueError, match=re.escape(f"{code} is not of fixed size")):
        codes.text_pattern([code])
