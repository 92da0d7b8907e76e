"""How far the audit log went, kept beside the marks: found by the next process, never in the way."""

from pathlib import Path

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
    for count in (899, 900):
        opened(tmp_path).remember(count, b"earlier")
    assert opened(tmp_path).audit_end() == (900, b"later")


def test_a_mark_that_is_set_replaces_it(tmp_path: Path) -> None:
    """After a restore that was reconciled the history goes on from where it is then."""
    marks = new_marks(tmp_path)
    marks.remember(900, b"of the lost copy")
    marks.replace(mark(3))
    assert opened(tmp_path).audit_end() == (mark(3).audit_count, mark(3).audit_head)


def test_the_latest_mark_tells_too(tmp_path: Path) -> None:
    """A mark that knows of more than was told counts, and one that knows of less does not."""
    marks = new_marks(tmp_path)
    marks.remember(1, b"early")
    marks.advance(mark(3))
    assert mark(3).audit_count > 1
    assert opened(tmp_path).audit_end() == (mark(3).audit_count, mark(3).audit_head)
    marks.remember(900, b"later")
    marks.advance(mark(4))
    assert opened(tmp_path).audit_end() == (900, b"later")


def test_it_touches_no_mark(tmp_path: Path) -> None:
    """What is not synced is in a file of its own, so no loss of power can damage the marks."""
    marks = new_marks(tmp_path)
    marks.advance(mark(0))
    before = (tmp_path / "marks").read_bytes()
    marks.remember(900, b"later")
    assert (tmp_path / "marks").read_bytes() == before


def test_half_of_it_is_nothing(tmp_path: Path) -> None:
    """A file that was cut off or damaged is dropped; the marks tell what is known."""
    marks = new_marks(tmp_path)
    marks.advance(mark(0))
    marks.remember(900, b"later")
    whole = (tmp_path / "end").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "end").write_bytes(whole[:end])
        assert opened(tmp_path).audit_end() == (mark(0).audit_count, mark(0).audit_head)
    (tmp_path / "end").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert opened(tmp_path).audit_end() == (mark(0).audit_count, mark(0).audit_head)


def test_what_it_does_not_understand_is_nothing(tmp_path: Path) -> None:
    """A mark in its place, or bytes behind it, are no frame of it: the marks tell what is known."""
    marks = new_marks(tmp_path)
    marks.advance(mark(0))
    marks.remember(900, b"later")
    whole = (tmp_path / "end").read_bytes()
    for other in ((tmp_path / "marks").read_bytes(), whole + b"\0", whole * 2, b""):
        (tmp_path / "end").write_bytes(other)
        assert opened(tmp_path).audit_end() == (mark(0).audit_count, mark(0).audit_head)
    marks.remember(900, b"later")
    assert opened(tmp_path).audit_end() == (900, b"later")


def test_it_is_no_mark(tmp_path: Path) -> None:
    """Its frame has a key of its own: behind the marks it is as good as torn."""
    marks = new_marks(tmp_path)
    marks.advance(mark(0))
    marks.remember(900, b"later")
    with (tmp_path / "marks").open("ab") as stream:
        stream.write((tmp_path / "end").read_bytes())
    other = opened(tmp_path)
    assert other.latest() == mark(0)
    other.advance(mark(1))
    assert opened(tmp_path).find([ALICE, BOB]) == [mark(1), None]
