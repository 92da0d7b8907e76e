"""The documentation lists what the code and the vectors hold, and no more."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from keystead.cli.output import exit_code
from keystead.errors import (
    HINTS,
    DecodeError,
    ErrorCode,
    KeysteadError,
    StoreError,
    UsageError,
    VerificationError,
)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CLASSES: dict[str, type[KeysteadError]] = {
    "decode": DecodeError,
    "verify": VerificationError,
    "store": StoreError,
    "usage": UsageError,
}


def _rows(page: Path) -> list[list[str]]:
    """Return the rows of all tables of a page, without heads."""
    rows = []
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("| "):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip() for cell in cells])
    return rows


def _documented_errors() -> dict[str, list[str]]:
    rows = [row for row in _rows(DOCS / "errors.md") if row[0].startswith("`")]
    return {row[0].strip("`"): row[1:] for row in rows}


def _deviations() -> Counter[str]:
    """Return how many cases of the golden vectors show each deviation."""
    found: Counter[str] = Counter()
    for path in sorted((ROOT / "tests" / "vectors").glob("*/cases.json")):
        for case in json.loads(path.read_text("utf-8"))["cases"]:
            if "deviation" in case:
                found[case["deviation"]["id"]] += 1
    return found


def test_every_error_code_is_documented_once() -> None:
    """The page lists every code, no other, in the order of the source."""
    assert list(_documented_errors()) == [code.value for code in ErrorCode]
    listed = [row[0] for row in _rows(DOCS / "errors.md") if row[0].startswith("`")]
    assert len(listed) == len(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_documented_hints_are_the_hints(code: ErrorCode) -> None:
    """What to do next is told in the same words, and what the code means is told at all."""
    meaning, hint = _documented_errors()[code]
    assert hint == HINTS[code]
    assert len(meaning) > len("meaning")


@pytest.mark.parametrize("family", CLASSES)
def test_documented_exit_codes(family: str) -> None:
    """Each family has the class and the exit code that the page tells."""
    text = (DOCS / "errors.md").read_text("utf-8")
    section = text.split(f"## {family}.*\n", 1)[1]
    told = re.search(r"The class is `(\w+)`, the exit code (\d)\.", section)
    assert told is not None
    code = next(code for code in ErrorCode if code.startswith(f"{family}."))
    assert told[1] == CLASSES[family].__name__
    assert int(told[2]) == exit_code(CLASSES[family](code, "text"))


def test_every_deviation_is_documented() -> None:
    """The page lists every deviation of the vectors with its number of cases, and no other."""
    rows = [row for row in _rows(DOCS / "deviations.md") if row[0].startswith("D-")]
    assert {row[0]: int(row[1]) for row in rows} == _deviations()
    assert len(rows) == len(_deviations())
    assert all(len(row) == 4 and all(row) for row in rows)


def test_decisions_are_numbered() -> None:
    """Decisions are numbered without gaps, and have a title and the three parts."""
    pages = sorted((DOCS / "decisions").glob("*.md"))
    for number, page in enumerate(pages, 1):
        text = page.read_text("utf-8")
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number:04}. ")
        parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name a file or directory that is there."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_changelog_counts_the_vectors() -> None:
    """The numbers of cases that the changelog tells are those that there are."""
    counts = {"own": 0, "golden": 0}
    vectors = ROOT / "tests" / "vectors"
    for path in vectors.rglob("cases.json"):
        kind = "own" if (vectors / "own") in path.parents else "golden"
        counts[kind] += json.loads(path.read_text("utf-8"))["count"]
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"{counts['golden']:,} golden cases and {counts['own']:,} cases of our own" in text
