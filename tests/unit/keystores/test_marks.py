"""Marks of signed events: no second event for one place, whatever happens to their file."""

import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keystores import marks as subject
from keystead.keystores.marks import Marks
from keystead.ports.keys import Mark
from support.marks import ALICE, BOB, KEY, mark, new_marks, opened, wins

HEAD = 36


def _advance_all(folder: Path, *wanted: Mark) -> bytes:
    """Make marks in a new folder and return the file."""
    marks = new_marks(folder)
    for one in wanted:
        marks.advance(one)
    return (folder / "marks").read_bytes()


def _frames(data: bytes) -> list[bytes]:
    frames = []
    while data:
        end = HEAD + int.from_bytes(data[:4], "big")
        frames.append(data[:end])
        data = data[end:]
    return frames


def test_a_mark_is_kept_for_every_process(tmp_path: Path) -> None:
    """What one process has marked, another one sees, of each identifier the last."""
    _advance_all(tmp_path, mark(0), mark(0, BOB), mark(1), mark(5))
    assert opened(tmp_path).find([BOB, ALICE]) == [mark(0, BOB), mark(5)]
    assert opened(tmp_path).latest() == mark(5)


def test_marks_follow_what_others_append(tmp_path: Path) -> None:
    """A process that has read the file sees what comes behind."""
    one = new_marks(tmp_path)
    assert one.latest() is None
    opened(tmp_path).advance(mark(0))
    assert one.find([ALICE]) == [mark(0)]
    with pytest.raises(KeystoreError) as caught:
        one.advance(mark(0, version="another"))
    assert caught.value.code is ErrorCode.SECOND_EVENT


@pytest.mark.parametrize("sn", [0, 2, 3])
def test_no_second_event_for_a_place(tmp_path: Path, sn: int) -> None:
    """Another event for the place of the mark, or before it, is refused."""
    marks = new_marks(tmp_path)
    marks.advance(mark(3))
    with pytest.raises(KeystoreError) as caught:
        marks.advance(mark(sn, version="another"))
    assert caught.value.code is ErrorCode.SECOND_EVENT
    assert (caught.value.fields["aid"], caught.value.fields["sn"]) == (ALICE, 3)
    assert opened(tmp_path).find([ALICE]) == [mark(3)]


def test_the_same_event_can_be_marked_again(tmp_path: Path) -> None:
    """Whoever repeats after a crash gets the same answer, and the file does not grow."""
    before = _advance_all(tmp_path, mark(0))
    opened(tmp_path).advance(mark(0))
    assert (tmp_path / "marks").read_bytes() == before


def test_a_mark_can_be_replaced(tmp_path: Path) -> None:
    """After a log was compared with the published one, an earlier place can stand."""
    marks = new_marks(tmp_path)
    marks.advance(mark(7))
    marks.replace(mark(2))
    marks.advance(mark(3))
    assert opened(tmp_path).find([ALICE]) == [mark(3)]


def test_torn_at_every_byte(tmp_path: Path) -> None:
    """A last frame that is cut off anywhere is dropped, and the next takes its place."""
    data = _advance_all(tmp_path, mark(0), mark(1))
    begin = len(_frames(data)[0])
    for end in range(begin, len(data)):
        (tmp_path / "marks").write_bytes(data[:end])
        marks = opened(tmp_path)
        assert marks.find([ALICE]) == [mark(0)], end
        marks.advance(mark(1, version="after the crash"))
        again = opened(tmp_path)
        again.advance(mark(2))
        assert [one for one in again.find([ALICE]) if one] == [mark(2)]


@pytest.mark.parametrize("zeros", [1, 3, 100, 5000])
def test_zeros_behind_the_end_are_dropped(tmp_path: Path, zeros: int) -> None:
    """A file system that made room, and lost what was written there, leaves zeros."""
    data = _advance_all(tmp_path, mark(0))
    (tmp_path / "marks").write_bytes(data + bytes(zeros))
    marks = opened(tmp_path)
    marks.advance(mark(1))
    assert opened(tmp_path).find([ALICE]) == [mark(1)]


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """A change anywhere before the last frame stops the wallet from signing."""
    data = _advance_all(tmp_path, mark(0), mark(0, BOB), mark(1))
    whole = len(data) - len(_frames(data)[-1])
    for place in range(whole):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        (tmp_path / "marks").write_bytes(changed)
        with pytest.raises(KeystoreError) as caught:
            opened(tmp_path).advance(mark(2))
        assert caught.value.code is ErrorCode.TAMPERED, place
        assert (tmp_path / "marks").read_bytes() == changed


def test_a_changed_last_frame_is_never_believed(tmp_path: Path) -> None:
    """A last frame that was changed is as good as none: it cannot say something else."""
    data = _advance_all(tmp_path, mark(0), mark(1))
    for place in range(len(_frames(data)[0]), len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x80
        (tmp_path / "marks").write_bytes(changed)
        assert opened(tmp_path).find([ALICE]) == [mark(0)], place


def test_frames_of_another_wallet_are_no_marks(tmp_path: Path) -> None:
    """The hash of a frame needs the key of the wallet."""
    data = _advance_all(tmp_path / "one", mark(0), mark(1))
    other = Marks(tmp_path / "two", b"x" * 32)
    other.create()
    (tmp_path / "two" / "marks").write_bytes(data)
    assert other.latest() is None


def test_marks_that_disappear_are_missed(tmp_path: Path) -> None:
    """A running process notices that whole frames were taken away."""
    data = _advance_all(tmp_path, mark(0))
    marks = opened(tmp_path)
    marks.advance(mark(1))
    os.truncate(tmp_path / "marks", len(data))
    with pytest.raises(KeystoreError) as caught:
        marks.advance(mark(1, version="another"))
    assert caught.value.code is ErrorCode.TAMPERED


def test_without_marks_the_wallet_is_behind(tmp_path: Path) -> None:
    """Where there is no file, the wallet has never signed on this machine."""
    marks = Marks(tmp_path / "nothing", KEY)
    assert not marks.exists
    with pytest.raises(KeystoreError) as caught:
        marks.advance(mark(0))
    assert caught.value.code is ErrorCode.BEHIND
    marks.create()
    assert marks.exists


def test_folders_and_files_are_private(tmp_path: Path) -> None:
    """Everything that is made is for this user alone, whatever the umask says."""
    before = os.umask(0)
    try:
        new_marks(tmp_path / "a" / "b" / "c").advance(mark(0))
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {
        "a": 0o700,
        "a/b": 0o700,
        "a/b/c": 0o700,
        "a/b/c/marks": 0o600,
        "a/b/c/lock": 0o600,
    }


def test_marks_that_others_can_write_are_refused(tmp_path: Path) -> None:
    """A file that others can change proves nothing."""
    new_marks(tmp_path).advance(mark(0))
    (tmp_path / "marks").chmod(0o620)
    with pytest.raises(StoreError) as caught:
        opened(tmp_path).advance(mark(1))
    assert caught.value.code is ErrorCode.STORE_PERMISSIONS


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o770, 0o777])
def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    """Who can put another file into the folder could take marks back."""
    folder = tmp_path / "marks of alice"
    marks = new_marks(folder)
    marks.advance(mark(0))
    folder.chmod(mode)
    for use in (
        lambda: marks.advance(mark(1)),
        lambda: opened(folder).find([ALICE]),
        lambda: new_marks(folder),
    ):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code is ErrorCode.STORE_PERMISSIONS
        assert str(folder) in str(caught.value)
    folder.chmod(0o700)
    assert marks.find([ALICE]) == [mark(0)]


def test_a_link_is_refused(tmp_path: Path) -> None:
    """The file is not looked for where a link leads."""
    new_marks(tmp_path / "real")
    folder = tmp_path / "linked"
    folder.mkdir(mode=0o700)
    (folder / "marks").symlink_to(tmp_path / "real" / "marks")
    with pytest.raises(StoreError) as caught:
        opened(folder).advance(mark(0))
    assert caught.value.code is ErrorCode.STORE_IO


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 36, 100])
def test_a_full_disk_leaves_what_was(tmp_path: Path, room: int) -> None:
    """A mark for which there is no room is refused, and can be made when there is some."""
    marks = new_marks(tmp_path)
    marks.advance(mark(0))
    size = (tmp_path / "marks").stat().st_size
    with _files_of_at_most(size + room), pytest.raises(StoreError) as caught:
        marks.advance(mark(1))
    assert caught.value.code is ErrorCode.STORE_FULL
    assert (tmp_path / "marks").stat().st_size == size
    assert opened(tmp_path).find([ALICE]) == [mark(0)]
    marks.advance(mark(1))
    assert opened(tmp_path).find([ALICE]) == [mark(1)]


def test_a_failed_sync_leaves_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be made durable is written again the next time, not taken as done."""
    marks = new_marks(tmp_path)

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(StoreError) as caught:
            marks.advance(mark(0))
    assert caught.value.code is ErrorCode.STORE_IO
    assert (tmp_path / "marks").read_bytes() == b""
    marks.advance(mark(0, version="another"))


def test_what_is_out_of_date_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file does not grow without end, and the latest mark stays the last."""
    monkeypatch.setattr(subject, "_TIDY_FROM", 1000)
    marks = new_marks(tmp_path)
    watching = opened(tmp_path)
    marks.advance(mark(0, BOB))
    for sn in range(100):
        marks.advance(mark(sn))
        assert watching.find([ALICE, BOB]) == [mark(sn), mark(0, BOB)]
    assert (tmp_path / "marks").stat().st_size < 3000
    assert opened(tmp_path).latest() == mark(99)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "marks"]


def test_a_new_file_never_has_the_number_of_the_one_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems give the number of a removed file to the next one; marks are read anew."""
    monkeypatch.setattr(subject, "_TIDY_FROM", 1000)
    watching, other = new_marks(tmp_path), opened(tmp_path)
    assert watching.find([ALICE]) == [None]
    read = (tmp_path / "marks").stat().st_ino
    later = []
    for sn in range(100):
        other.advance(mark(sn))
        later.append((tmp_path / "marks").stat().st_ino)
    tidied = next(place for place, number in enumerate(later) if number != read)
    assert read not in later[tidied:]
    assert len(set(later)) > 2
    assert not wins(watching, mark(99, version="another"))


def _open_descriptors() -> set[int]:
    found = set()
    for number in range(256):
        with suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found


def test_the_hold_on_the_file_ends_with_the_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the file is made anew, one descriptor is open, and none is afterwards."""
    monkeypatch.setattr(subject, "_TIDY_FROM", 1000)
    before = _open_descriptors()
    marks = new_marks(tmp_path)
    for sn in range(100):
        marks.advance(mark(sn))
    assert len(_open_descriptors() - before) == 1
    del marks
    assert _open_descriptors() == before


def test_a_file_that_cannot_be_tidied_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark that is durable is not refused because the file is longer than need be."""
    monkeypatch.setattr(subject, "_TIDY_FROM", 1000)

    def fails(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", fails)
        marks = new_marks(tmp_path)
        for sn in range(30):
            marks.advance(mark(sn))
        assert opened(tmp_path).find([ALICE]) == [mark(29)]
    marks.advance(mark(30))
    assert (tmp_path / "marks").stat().st_size < 1000


# Calls that change what is on the disk; a kill can come before each.
_CALLS = (
    "open", "pwrite", "fsync", "fdatasync", "ftruncate", "link", "rename", "unlink",
)  # fmt: skip


def _in_child(work: Callable[[Callable[[int], None]], None]) -> tuple[int, list[int]]:
    """Run `work` in a process of its own; return how it ended and what it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - ends without the measuring
        os.close(reading)
        code = 1
        try:
            work(lambda number: void(os.write(writing, bytes([number]))))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = list(stream.read())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), told


def void(_: object) -> None:
    """Drop a result."""


def _killed_before(number: int) -> None:
    """End this process before the call with a number, of those that change the disk."""
    left = [number]

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def before(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - of any call
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return call(*given, **named)

        return before

    for name in _CALLS:
        setattr(os, name, guarded(getattr(os, name)))


def test_a_kill_at_any_call_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was acknowledged before a kill is there afterwards, and marks go on."""
    monkeypatch.setattr(subject, "_TIDY_FROM", 700)
    last = 12
    number, code = 0, 9
    while code == 9:
        folder = tmp_path / str(number)
        marks = new_marks(folder)
        marks.advance(mark(0, BOB))

        def work(tell: Callable[[int], None], marks: Marks = marks, number: int = number) -> None:
            _killed_before(number)
            for sn in range(1, last):
                marks.advance(mark(sn))
                tell(sn)

        code, told = _in_child(work)
        after = opened(folder)
        (found, other) = after.find([ALICE, BOB])
        reached = -1 if found is None else found.sn
        assert reached >= max(told, default=-1), number
        assert other == mark(0, BOB)
        for sn in range(reached + 1, last + 10):
            after.advance(mark(sn))
        assert opened(folder).find([ALICE, BOB]) == [mark(last + 9), mark(0, BOB)]
        assert {path.name for path in folder.iterdir()} <= {"lock", "marks"}
        number += 1
    assert code == 0
    assert number > 50


def test_two_processes_at_one_place(tmp_path: Path) -> None:
    """Of two processes that race for a place with two events exactly one wins, each time."""
    new_marks(tmp_path)
    places = 60
    reading, writing = os.pipe()
    children = []
    for name in ("one", "two"):
        child = os.fork()
        if child == 0:  # pragma: no cover - ends without the measuring
            code = 255
            try:
                os.read(reading, 1)
                code = sum(wins(opened(tmp_path), mark(sn, version=name)) for sn in range(places))
            finally:
                os._exit(code)
        children.append(child)
    os.write(writing, b"go")
    won = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(reading)
    os.close(writing)
    frames = _frames((tmp_path / "marks").read_bytes())
    assert len(frames) == sum(won) <= places
    assert opened(tmp_path).latest() in [mark(places - 1, version=one) for one in ("one", "two")]
