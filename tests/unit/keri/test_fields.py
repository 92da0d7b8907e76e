"""Single field values."""

from collections.abc import Callable
from typing import Any

import pytest

from keystead.errors import DecodeError, ErrorCode
from keystead.keri.fields import (
    check_labels,
    parse_aid,
    parse_digest,
    parse_list,
    parse_map,
    parse_number,
    parse_texts,
)
from keystead.testing.authoring import KeyPair
from support.logs import DIGEST

KEY = KeyPair("any").key.text
LABELS = ("v", "t")


def _of_list(value: object, label: str) -> object:
    return parse_list(value, label, 2)


def _of_texts(value: object, label: str) -> object:
    return parse_texts(value, label, 2)


@pytest.mark.parametrize(
    ("parse", "field", "value"),
    [
        (parse_aid, KEY, KEY),
        (parse_aid, DIGEST, DIGEST),
        (parse_digest, DIGEST, DIGEST),
        (parse_number, "1f", 31),
        (_of_list, [], []),
        (_of_list, [1, {}], [1, {}]),
        (_of_texts, ["a", ""], ["a", ""]),
        (parse_map, {"a": 1}, {"a": 1}),
    ],
)
def test_well_formed_value_is_read(
    parse: Callable[[object, str], Any], field: object, value: object
) -> None:
    """A field of the right form gives its value."""
    assert parse(field, "x") == value


@pytest.mark.parametrize(
    ("parse", "field", "code"),
    [
        (parse_aid, 1, ErrorCode.VALUE),
        (parse_aid, "", ErrorCode.VALUE),
        (parse_aid, KEY[:-1], ErrorCode.VALUE),
        (parse_digest, None, ErrorCode.VALUE),
        (parse_digest, KEY, ErrorCode.VALUE),
        (parse_digest, f"{DIGEST}A", ErrorCode.VALUE),
        (parse_number, 1, ErrorCode.VALUE),
        (parse_number, "0F", ErrorCode.VALUE),
        (_of_list, "ab", ErrorCode.VALUE),
        (_of_list, {}, ErrorCode.VALUE),
        (_of_list, [1, 2, 3], ErrorCode.LIMIT),
        (_of_texts, ["a", 1], ErrorCode.VALUE),
        (_of_texts, None, ErrorCode.VALUE),
        (_of_texts, ["a", "b", "c"], ErrorCode.LIMIT),
        (parse_map, [], ErrorCode.VALUE),
    ],
)
def test_malformed_value_is_refused(
    parse: Callable[[object, str], Any], field: object, code: ErrorCode
) -> None:
    """A field of another form is an error that names it."""
    with pytest.raises(DecodeError, match=r"^x ") as caught:
        parse(field, "x")
    assert caught.value.code is code


def test_labels_in_order_pass() -> None:
    """A field map with exactly the labels in their order is fine."""
    check_labels({"v": "", "t": ""}, LABELS)


@pytest.mark.parametrize("labels", ["", "v", "tv", "vtx", "xvt", "xy"])
def test_other_labels_are_refused(labels: str) -> None:
    """Missing, further, other and reordered labels are refused."""
    with pytest.raises(DecodeError) as caught:
        check_labels(dict.fromkeys(labels, ""), LABELS)
    assert caught.value.code is ErrorCode.FIELDS
