"""The page on signatures tells what the code answers, and no more."""

import re
from pathlib import Path

import pytest

from keystead.errors import ErrorCode
from keystead.keri.routed import COMPROMISE_ROUTE
from keystead.owner.documents import statement
from keystead.owner.standing import Exposure, Standing
from keystead.testing.authoring import Author, witness
from support.documents import DIGEST, signed_document

pytestmark = pytest.mark.checkout

PAGE = (Path(__file__).parents[3] / "docs" / "signatures.md").read_text("utf-8")


def _table(head: str) -> list[str]:
    """Return the first cells of the table whose first column has a head."""
    (content,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return re.findall(r"^\| `([^`]+)` \|", content, re.MULTILINE)


def test_page_lists_every_answer() -> None:
    """Each standing, exposure and fault is listed once, in the order of the source."""
    assert _table("standing") == list(Standing)
    assert _table("exposure") == list(Exposure)
    assert _table("fault") == [
        ErrorCode.PAYLOAD, ErrorCode.SIGNATURE, ErrorCode.THRESHOLD, ErrorCode.SIGNER_SEAL
    ]  # fmt: skip


def test_page_shows_what_is_signed() -> None:
    """The lines that are signed, the size of a file and the route of notices are as told."""
    (domain,) = re.findall(r"^(KEYSTEAD-.*)$", PAGE, re.MULTILINE)
    assert statement(DIGEST, witness("any").aid).startswith(f"{domain}\n".encode())
    author = Author("any")
    author.incept()
    (size,) = re.findall(r"an identifier with one key makes (\d+) bytes", PAGE)
    assert int(size) == len(signed_document(author))
    assert f"route `{COMPROMISE_ROUTE}`" in PAGE
