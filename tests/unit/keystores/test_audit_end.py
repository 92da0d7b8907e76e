"""How far the audit log went, kept among the marks: found by the next process, never in the way."""

import shutil
from pathlib import Path

import pytest

from keystead.keystores import marks as subject
from support.marks import ALICE, BOB, mark, new_marks, opened


def test_it_is_kept_for_every_process(tmp_path: Path) -> None:
    """The entry that was told last is known to others, and is no mark of an event."""
    marks = new_marks(tmp_path)
    assert marks.audit_end() == (0, b"")
    marks.advance(mark(0))
    marks.remember(900, b"later")
    other = opened(tmp_path)
    assert other.audit_end() == (900, b"later")
    assert other.latest() == mark(0)
    assert other.find([ALICE, BOB]) == [mark(0), None]


def test_an_earlier_entry_is_not_taken(tmp_path: Path) -> None:
    """A slow command does not take back what a faster one has told."""
    marks = new_marks(tmp_path)
    marks.remember(900, b"later")
    before = (tmp_path / "marks").read_bytes()
    for count in (899, 900):
        opened(tmp_path).remember(count, b"earlier")
    assert (tmp_path / "marks").read_bytes() == before


def test_a_mark_that_is_set_replaces_it(tmp_path: Path) -> None:
    """After a restore that was reconciled the history goes on from where it is then."""
    marks = new_marks(tmp_path)
    marks.remember(900, b"of the lost copy")
    marks.replace(mark(3))
    assert opened(tmp_path).audit_end() == (mark(3).audit_count, mark(3).audit_head)


@pytest.mark.parametrize("told_last", [True, False])
def test_it_survives_tidying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, told_last: bool
) -> None:
    """A file that is written anew keeps what was told, and the order of what came last."""
    marks = new_marks(tmp_path)
    marks.advance(mark(0, BOB))
    for count in range(900, 920):
        marks.remember(count, b"later")
    if not told_last:
        marks.advance(mark(1))
    size = (tmp_path / "marks").stat().st_size
    monkeypatch.setattr(subject, "_TIDY_FROM", 1)
    if told_last:
        marks.remember(920, b"last")
    else:
        marks.advance(mark(2))
    assert (tmp_path / "marks").stat().st_size < size
    end = (920, b"last") if told_last else (mark(2).audit_count, mark(2).audit_head)
    assert opened(tmp_path).audit_end() == marks.audit_end() == end
    assert opened(tmp_path).latest() == (mark(0, BOB) if told_last else mark(2))


def test_a_loss_of_power_takes_no_mark_with_it(tmp_path: Path) -> None:
    """What was told is not synced: the half of it at the end of the file is dropped."""
    marks = new_marks(tmp_path / "whole")
    marks.advance(mark(0))
    whole = (tmp_path / "whole" / "marks").read_bytes()
    marks.remember(900, b"later")
    written = (tmp_path / "whole" / "marks").read_bytes()
    for end in range(len(whole), len(written)):
        shutil.copytree(tmp_path / "whole", tmp_path / str(end))
        (tmp_path / str(end) / "marks").write_bytes(written[:end])
        after = opened(tmp_path / str(end))
        assert after.latest() == mark(0)
        after.advance(mark(1))
        assert opened(tmp_path / str(end)).latest() == mark(1)
