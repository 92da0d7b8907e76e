"""Files that results go to: whole or not at all, and never in the place of something else."""

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from keystead.cli.files import check_place, write_file
from keystead.errors import ErrorCode, UsageError

DATA = b"the result\n" * 100


def _refused(path: Path, *, replace: bool = False) -> ErrorCode:
    """Write where that is refused, and check that nothing was left behind."""
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    with pytest.raises(UsageError) as caught:
        write_file(str(path), DATA, replace=replace)
    assert before == (sorted(path.parent.iterdir()) if path.parent.is_dir() else [])
    return caught.value.code


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_usual_mode(tmp_path: Path, umask: int) -> None:
    """Results are public, so the umask decides, as for any other file."""
    path = tmp_path / "result"
    before = os.umask(umask)
    try:
        write_file(str(path), DATA, replace=False)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"thesis", DATA + b"more", DATA[:-1]])
def test_a_file_that_is_there_is_replaced_only_when_told(tmp_path: Path, content: bytes) -> None:
    """Another content is an error."""
    path = tmp_path / "result"
    path.write_bytes(content)
    assert check_place(str(path))
    assert _refused(path) is ErrorCode.EXISTS
    assert path.read_bytes() == content
    write_file(str(path), DATA, replace=True)
    assert path.read_bytes() == DATA


def test_the_same_content_is_no_error(tmp_path: Path) -> None:
    """A command can be repeated; the file is not even touched."""
    path = tmp_path / "result"
    path.write_bytes(DATA)
    before = path.stat()
    write_file(str(path), DATA, replace=False)
    assert path.stat() == before


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("target", ["victim", "nothing"])
def test_a_link_is_refused(tmp_path: Path, target: str, *, replace: bool) -> None:
    """Nothing is written where a link leads, and the link stays."""
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"precious")
    link.symlink_to(tmp_path / target)
    assert _refused(link, replace=replace) is ErrorCode.FILE
    assert victim.read_bytes() == b"precious"
    assert link.is_symlink()


@pytest.mark.parametrize("names", [("wallet.db",), ("marks", "lock")])
@pytest.mark.parametrize("way", ["home", "link"])
def test_the_folders_of_a_wallet_are_refused(
    tmp_path: Path, names: tuple[str, ...], way: str
) -> None:
    """Neither a file of the wallet is replaced nor another one put beside it, by any way."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    for name in names:
        (home / name).write_bytes(b"precious")
    for name in (*names, "wallet.db-wal", "result"):
        assert _refused(tmp_path / way / name, replace=True) is ErrorCode.FILE
    assert {path.read_bytes() for path in home.iterdir()} == {b"precious"}


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Folders, devices, missing folders, names that are too long."""
    os.mkfifo(tmp_path / "pipe")
    for path in (
        tmp_path,
        tmp_path / "pipe",
        tmp_path / "nowhere" / "result",
        tmp_path / ("x" * 300),
    ):
        assert _refused(path, replace=True) is ErrorCode.FILE
    with pytest.raises(UsageError) as caught:
        write_file("/dev/null", DATA, replace=True)
    assert caught.value.code is ErrorCode.FILE


def test_names_that_others_could_foresee_are_not_used(tmp_path: Path) -> None:
    """What lies beside the result stays as it is, links included."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in ("result.new", "result.tmp", f".result.{os.getpid()}"):
        (tmp_path / name).symlink_to(victim)
    write_file(str(tmp_path / "result"), DATA, replace=False)
    assert victim.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 5


def test_a_full_disk_leaves_what_was(tmp_path: Path) -> None:
    """No half of a result is there, nor a file beside it."""
    path = tmp_path / "result"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        assert _refused(path, replace=True) is ErrorCode.FILE
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"before"
