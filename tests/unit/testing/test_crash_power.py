"""Disk images are those that a power cut can leave, and they tell flawed stores from sound ones."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from keystead.testing.crash.__main__ import main
from keystead.testing.crash.power import SECTOR, Image
from keystead.testing.crash.recording import (
    Acknowledged,
    Entries,
    Node,
    Protect,
    Recording,
    Resize,
    Step,
    Sync,
    Write,
)

TESTS = Path(__file__).parents[2]
OLD, NEW = b"o" * 4 * SECTOR, b"n" * 4 * SECTOR
TRIES = 300

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def outcomes(place: Path, *steps: Step, look: Callable[[Path], object]) -> set[object]:
    """Return what can be seen after a power cut that follows some steps.

    The folder is node 0; it holds node 1, called "file", with old content; node 2 has no name.
    """
    nodes = [Node(0o700, None, {"file": 1}), Node(0o600, OLD), Node(0o600, b"")]
    recording = Recording(nodes, list(steps))
    seen = set()
    for seed in range(TRIES):
        Image(recording, len(steps), Random(seed)).write(place)  # noqa: S311 - repeatable on purpose
        seen.add(look(place))
    return seen


def content(root: Path) -> bytes:
    """Return what the file holds."""
    return (root / "file").read_bytes()


def names(root: Path) -> tuple[str, ...]:
    """Return what the folder holds."""
    return tuple(sorted(path.name for path in root.iterdir()))


def test_a_synced_write_is_there(tmp_path: Path) -> None:
    """What was written before a sync of the file is certain."""
    assert outcomes(tmp_path / "d", Write(1, 0, NEW), Sync(1, 1), look=content) == {NEW}


def test_an_unsynced_write_is_there_in_any_part(tmp_path: Path) -> None:
    """Any sectors of an unsynced write are there, and no parts of sectors."""
    seen = outcomes(tmp_path / "d", Write(1, 0, NEW), Sync(0, 1), look=content)
    sectors = {bytes([one]) * SECTOR for one in b"on"}
    assert len(seen) == 2**4
    for data in seen:
        assert isinstance(data, bytes)
        assert {data[at : at + SECTOR] for at in range(0, len(data), SECTOR)} <= sectors


def test_a_write_after_the_sync_began_is_not_covered(tmp_path: Path) -> None:
    """A sync covers what was written before it began."""
    seen = outcomes(tmp_path / "d", Write(1, 0, NEW), Sync(1, 0), look=content)
    assert {OLD, NEW} <= seen


def test_unsynced_writes_are_lost_one_by_one(tmp_path: Path) -> None:
    """A later write may be there without an earlier one."""
    steps = Write(1, 0, b"1"), Write(1, SECTOR, b"2")
    seen = outcomes(
        tmp_path / "d", *steps, look=lambda root: (content(root)[0], content(root)[SECTOR])
    )
    assert seen == {tuple(pair) for pair in (b"oo", b"1o", b"o2", b"12")}


def test_an_extended_file_may_hold_anything(tmp_path: Path) -> None:
    """An unsynced append may leave the old size, or the new one with zeros or garbage."""
    seen = outcomes(tmp_path / "d", Write(1, len(OLD), b"n" * SECTOR), look=content)
    ends = {data[len(OLD) :] for data in seen if isinstance(data, bytes)}
    assert {b"", bytes(SECTOR), b"n" * SECTOR} < ends
    assert {len(end) for end in ends} == {0, SECTOR}


def test_sizes_and_permissions_need_a_sync(tmp_path: Path) -> None:
    """A file may have its old size and permissions until it is synced."""

    def look(root: Path) -> object:
        return len(content(root)), (root / "file").stat().st_mode & 0o777

    steps = Resize(1, 5), Protect(1, 0o644)
    assert len(outcomes(tmp_path / "d", *steps, look=look)) == 4
    assert outcomes(tmp_path / "d", *steps, Sync(1, 2), look=look) == {(5, 0o644)}


def test_a_name_needs_a_sync_of_its_folder(tmp_path: Path) -> None:
    """A new file is lost with its name, though the file was synced."""
    steps = Entries(((0, "new", 2),)), Write(2, 0, NEW), Sync(2, 2)
    seen = outcomes(tmp_path / "d", *steps, look=names)
    assert seen == {("file",), ("file", "new")}
    assert outcomes(tmp_path / "d", *steps, Sync(0, 3), look=names) == {("file", "new")}


def test_a_rename_happens_as_a_whole(tmp_path: Path) -> None:
    """A rename replaces the file or does not; there is no time without one."""
    steps: tuple[Step, ...] = (
        Entries(((0, "draft", 2),)),
        Write(2, 0, NEW),
        Sync(2, 2),
        Entries(((0, "file", 2), (0, "draft", None))),
    )
    assert outcomes(tmp_path / "d", *steps, look=content) == {OLD, NEW}
    assert outcomes(tmp_path / "d", *steps, Sync(0, 4), look=content) == {NEW}


def test_names_change_in_order_or_not(tmp_path: Path) -> None:
    """A file system without a journal may keep a later name and lose an earlier one."""
    steps = Entries(((0, "a", 2),)), Entries(((0, "b", 2),))
    seen = outcomes(tmp_path / "d", *steps, look=names)
    assert seen == {("file",), ("a", "file"), ("b", "file"), ("a", "b", "file")}


def test_shared_memory_of_sqlite_is_gone(tmp_path: Path) -> None:
    """The index of SQLite's log is not on the disk."""
    steps = Entries(((0, "x.db-shm", 2),)), Sync(0, 1)
    assert outcomes(tmp_path / "d", *steps, look=names) == {("file",)}


def test_acknowledgements_are_those_before_the_cut() -> None:
    """What is acknowledged after the cut was not promised."""
    recording = Recording([Node(0o700)], [Acknowledged(b"1"), Acknowledged(b"2")])
    assert Image(recording, 1, Random(1)).acknowledged() == [b"1"]  # noqa: S311 - repeatable on purpose


@needs_strace
@pytest.mark.parametrize(
    ("toy", "word"),
    [
        ("NormalToy", "row is"),
        ("OffToy", "row is"),
        ("UnsyncedMarksToy", "mark is"),
        ("UnsyncedHeadToy", "JSONDecodeError"),
        ("UnsyncedFolderToy", "head is"),
    ],
)
def test_flaws_are_found(
    toy: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that leaves out one sync loses something, and the case can be repeated."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    power = ["power", "--workload", f"support.crash_toy:{toy}", "-j", "1"]
    assert main([*power, "-n", "150"]) == 1
    output = capsys.readouterr().out
    assert word in output
    number = output.partition("--only ")[2].partition(")")[0]
    assert main([*power, "--recordings", "1", "--only", number]) == 1
    assert f"--only {number})" in capsys.readouterr().out


@needs_strace
def test_a_sound_store_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite's log with full syncs, and files replaced as they should be, survive all images."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    arguments = ["--workload", "support.crash_toy:Toy", "-j", "1", "-n", "600"]
    code = main(["power", *arguments, "--recordings", "3"])
    output = capsys.readouterr().out
    assert "600 cases: 0 findings" in output
    assert code == 0
