"""The documentation lists what the code and the vectors hold, and no more."""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from keystead.cesr.annotate import Element
from keystead.cli import report
from keystead.cli.output import exit_code
from keystead.errors import (
    HINTS,
    DecodeError,
    ErrorCode,
    KeysteadError,
    KeystoreError,
    StoreError,
    UsageError,
    VerificationError,
)
from keystead.keri.escrow import Want
from keystead.keri.seals import DigestSeal
from keystead.node.audit import MOST_PROBLEMS, Audit
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CLASSES: dict[str, type[KeysteadError]] = {
    "decode": DecodeError,
    "verify": VerificationError,
    "store": StoreError,
    "keystore": KeystoreError,
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


def _json_fields(section: str) -> list[str]:
    """Return the fields that the page on JSON lists below a heading."""
    text = (DOCS / "json.md").read_text("utf-8")
    (content,) = re.findall(rf"^#+ {section}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \| .+ \|$", content, re.MULTILINE)


def _report() -> dict[str, Any]:
    """Return the report on a stream with everything in it that can be reported."""
    author, waiting = Author("documented"), Author("waiting")
    begun = author.incept()
    other = author.fork()
    stream = begun.framed + author.interact().framed + other.interact(DigestSeal("x")).framed
    waiting.incept()
    stream += waiting.interact().framed + begun.event.raw.replace(b'"kt":"1"', b'"kt":"2"')
    audit = Audit(MemoryStore(), datetime(2026, 1, 2, tzinfo=UTC))
    audit.feed(stream)
    audit.close()
    return report.as_value(audit, audit.reports())


def test_json_report_is_documented() -> None:
    """The page lists every field of each object of the report, in the order of the output."""
    value = _report()
    known, unknown = value["identifiers"]
    objects = {
        "keystead log verify --json": value,
        "Identifier": known,
        "State": known["state"],
        "Duplicity": known["duplicity"][0],
        "Pending": unknown["pending"][0],
        "Missing": unknown["pending"][0]["waits_for"][0],
        "Problem": value["problems"][0],
    }
    for section, one in objects.items():
        assert _json_fields(section) == list(one), section
    text = (DOCS / "json.md").read_text("utf-8")
    assert f"the first {MOST_PROBLEMS} that were refused" in text
    (row,) = re.findall(r"^\| `what` \| (.*) \|$", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [want.name.lower() for want in Want]


def test_json_dump_is_documented() -> None:
    """The page lists every field of an element, in the order of the output."""
    documented = _json_fields("keystead inspect --json")
    assert documented == [field.name for field in fields(Element)]
