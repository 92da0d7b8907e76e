"""A recording holds all that a process does to files, or there is none."""

import os
import shutil
import stat
import sys
from pathlib import Path
from random import Random

import pytest

from keystead.testing.crash.power import Image
from keystead.testing.crash.recording import (
    Acknowledged,
    Recording,
    RecordingError,
    Sync,
    record,
)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

EVERYTHING = """
import os, subprocess, sys, threading
os.chdir(sys.argv[1])
os.umask(0o027)
os.mkdir("made"), os.mkdir("gone"), os.rmdir("gone")
folder = os.open("made", os.O_RDONLY)
one = os.open("one", os.O_RDWR | os.O_CREAT, 0o666, dir_fd=folder)
os.write(one, b"0123456789"), os.write(one, b"ab")
os.lseek(one, 2, os.SEEK_SET), os.read(one, 3), os.write(one, b"XY")
os.pwrite(one, b"far", 600), os.writev(one, [b"v1", b"v2"]), os.pwritev(one, [b"p", b"q"], 20)
two = os.dup(one)
os.write(two, b"dup")
os.ftruncate(one, 700), os.fsync(one), os.close(one)
if os.fork() == 0:
    os.write(two, b"child")
    os._exit(0)
os.wait()
os.write(two, b"parent")
writer = threading.Thread(target=lambda: os.write(two, b"thread"))
writer.start(), writer.join()
log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(log, b"line\\n"), os.write(log, b"line\\n"), os.fdatasync(log)
os.link("log", "second"), os.unlink("log"), os.write(log, b"unnamed\\n")
os.rename("second", "made/third"), os.rename("old", "renamed"), os.fsync(folder)
open("kept", "wb").close()
with open("kept", "ab") as file:
    file.write(b"buffered")
os.truncate("renamed", 3), os.chmod("renamed", 0o640), os.remove("unwanted")
os.posix_fallocate(log, 0, 100)
subprocess.run(["sh", "-c", "echo shell > shell; echo more >> shell"], check=True)
told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
os.write(told, b"first"), os.write(told, b"second")
"""


def recorded(script: str, place: Path) -> Recording:
    """Run a script in a folder that holds something and record it."""
    root, told = place / "root", place / "told"
    root.mkdir()
    (root / "old").write_bytes(b"old content")
    (root / "unwanted").touch()
    return record([sys.executable, "-c", script, str(root), str(told)], root, told)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return all files and folders with their permissions and content."""
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.stat().st_mode),
            b"" if path.is_dir() else path.read_bytes(),
        )
        for path in root.rglob("*")
    }


def test_a_recording_leads_to_the_same_files(tmp_path: Path) -> None:
    """Replayed with all syncs done, a recording gives what the process left."""
    recording = recorded(EVERYTHING, tmp_path)
    told = [step.text for step in recording.steps if isinstance(step, Acknowledged)]
    assert told == [b"first", b"second"]
    end = len(recording.steps)
    recording.steps += [Sync(node, end) for node in range(len(recording.nodes))]
    image = Image(recording, len(recording.steps), Random(1))  # noqa: S311 - repeatable on purpose
    image.write(tmp_path / "image")
    assert len(tree(tmp_path / "root")) == 6
    assert tree(tmp_path / "image") == tree(tmp_path / "root")


def test_before_the_first_step_there_is_what_was_there(tmp_path: Path) -> None:
    """The folder as the process found it is on the disk for certain."""
    recording = recorded(EVERYTHING, tmp_path)
    Image(recording, 0, Random(1)).write(tmp_path / "image")  # noqa: S311 - repeatable on purpose
    assert {name: data for name, (_, data) in tree(tmp_path / "image").items()} == {
        "old": b"old content",
        "unwanted": b"",
    }


@pytest.mark.parametrize(
    "unseen",
    [
        "import mmap; mmap.mmap(file.fileno(), 5)[0] = 65",
        "os.sendfile(file.fileno(), os.open(sys.executable, os.O_RDONLY), 0, 5)",
        "os.symlink('old', 'new')",
        "os.rename('old', '../old')",
        "os.open('.', os.O_TMPFILE | os.O_RDWR)",
    ],
)
def test_what_cannot_be_seen_is_refused(unseen: str, tmp_path: Path) -> None:
    """A process that changes files unseen cannot be recorded."""
    script = f"import os, sys; os.chdir(sys.argv[1]); file = open('old', 'r+b'); {unseen}"
    with pytest.raises(RecordingError, match=r"cannot follow|mapped"):
        recorded(script, tmp_path)


def test_a_failing_process_is_not_recorded(tmp_path: Path) -> None:
    """What a process printed when it failed is in the error."""
    with pytest.raises(RecordingError, match="no such thing"):
        recorded("raise SystemExit('no such thing')", tmp_path)


def test_without_strace_there_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the program that is missing."""
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(RecordingError, match="strace is not installed"):
        recorded("pass", tmp_path)
