"""Bounds on input."""

import pytest

from keystead.limits import DEFAULT_LIMITS, Limits


def test_ordinary_body_holds_no_longer_list_than_allowed() -> None:
    """A body of the ordinary size cannot list more keys, witnesses or seals than allowed."""
    assert DEFAULT_LIMITS.ordinary_body == 46 * 64


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        (Limits(depth=2), 0),
        (Limits(depth=3), 46 * 64),
        (Limits(members=100), 100),
        (Limits(keys=1), 46),
        (Limits(anchors=2), 92),
    ],
)
def test_ordinary_body_keeps_every_limit(limits: Limits, size: int) -> None:
    """The ordinary size follows the tightest of the bounds on depth, members and lists."""
    assert limits.ordinary_body == size
