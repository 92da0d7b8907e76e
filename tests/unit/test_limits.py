"""Bounds on input, and that documentation tells the true ones."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from keystead.limits import DEFAULT_LIMITS, Limits

DOCS = Path(__file__).parents[2] / "docs"


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


@pytest.mark.parametrize(
    ("page", "promise", "values"),
    [
        # page, its words, the values that they stand for
        (
            "decisions/0005-delegation-by-first-anchor.md",
            "up the chain of delegation, eight levels at most",
            {"delegation_depth": 8},
        ),
        (
            "decisions/0006-one-escrow.md",
            "waiting for one log | 64 entries",
            {"held_events": 64},
        ),
        (
            "decisions/0006-one-escrow.md",
            "waiting in all | 100,000 entries, 32 MiB",
            {"held_total": 100_000, "held_bytes": 32 * 2**20},
        ),
        (
            "decisions/0006-one-escrow.md",
            "time | 20 minutes from the first arrival",
            {"held_for": timedelta(minutes=20)},
        ),
        (
            "decisions/0008-useless-signatures.md",
            "attachments have a bound of 256 KiB",
            {"attachments": 256 * 2**10},
        ),
        (
            "decisions/0009-superseding-and-duplicity.md",
            "the store keeps up to 16 of them for an identifier",
            {"evidence": 16},
        ),
        (
            "decisions/0013-resynchronisation.md",
            "Decoding in vain is bounded: 256 KiB plus 8 bytes for each byte of the stream",
            {"body": 256 * 2**10, "resync_work": 8},
        ),
        (
            "deviations.md",
            "Times it from reception: 20 minutes",
            {"held_for": timedelta(minutes=20)},
        ),
        (
            "delegation.md",
            "A request or an answer has 16 MiB at most",
            {"exchange": 16 * 2**20},
        ),
        (
            "errors.md",
            "did not arrive within 20 minutes",
            {"held_for": timedelta(minutes=20)},
        ),
    ],
)
def test_documented_bounds_are_the_bounds(
    page: str, promise: str, values: dict[str, object]
) -> None:
    """A page that names a bound names the default; whoever changes one changes both."""
    text = re.sub(r"\s+", " ", (DOCS / page).read_text("utf-8"))
    assert promise in text
    assert {label: getattr(DEFAULT_LIMITS, label) for label in values} == values


def test_bounds_of_statements() -> None:
    """What is kept of statements has a known end."""
    assert (DEFAULT_LIMITS.url, DEFAULT_LIMITS.records_of_signer) == (2048, 1024)
    assert (DEFAULT_LIMITS.records, DEFAULT_LIMITS.records_bytes) == (100_000, 64 * 2**20)


def test_every_bound_has_its_reason() -> None:
    """The docstring tells about each bound, in the order of the fields."""
    told = re.findall(r"^        (\w+): ", Limits.__doc__ or "", re.MULTILINE)
    assert told == list(Limits.__dataclass_fields__)
