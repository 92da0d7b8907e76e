"""Marks to test with."""

from pathlib import Path

from keystead.cesr.keys import Aid, Said, digest
from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores.marks import Marks
from keystead.ports.keys import Mark

KEY = b"m" * 32
ALICE, BOB = Aid(digest(b"alice")), Aid(digest(b"bob"))


def mark(sn: int, aid: Aid = ALICE, version: str = "", *, size: int = 40) -> Mark:
    """Return the mark of an event, whose bytes are `size` long."""
    raw = f"{aid} {sn} {version} ".encode().ljust(size, b".")
    return Mark(aid, sn, Said(digest(raw)), raw, sn, bytes([sn % 256]) * 32)


def new_marks(folder: Path) -> Marks:
    """Return the marks of a wallet that was just made."""
    marks = Marks(folder, KEY)
    marks.create()
    return marks


def opened(folder: Path) -> Marks:
    """Return the marks as another process sees them."""
    return Marks(folder, KEY)


def wins(marks: Marks, wanted: Mark) -> bool:
    """Make a mark, unless another event has the place; tell which."""
    try:
        marks.advance(wanted)
    except KeystoreError as error:
        if error.code is not ErrorCode.SECOND_EVENT:
            raise
        return False
    return True
