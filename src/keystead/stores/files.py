"""Files and folders that belong to one user alone."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keystead.errors import ErrorCode, StoreError

_NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def io_faults(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into those of stores.

    Raises:
        StoreError: store.full, store.io.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StoreError(ErrorCode.STORE_FULL, f"no space left for {path}") from error
        why = error.strerror or type(error).__name__
        raise StoreError(ErrorCode.STORE_IO, f"cannot use {path}: {why.lower()}") from error


def make_folder(path: Path) -> None:
    """Make a folder for this user alone, if it is not there, and check it.

    Raises:
        StoreError: as `check_folder`; it cannot be made (store.full, store.io).
    """
    with io_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=stat.S_IRWXU)
        except FileExistsError:
            pass
        else:
            path.chmod(stat.S_IRWXU)  # whatever the umask says
            sync_folder(path.parent)
    check_folder(path)


def make_file(path: Path) -> bool:
    """Make an empty file for this user alone; tell whether it was not there.

    Raises:
        StoreError: it cannot be made (store.full, store.io).
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with io_faults(path):
        try:
            descriptor = os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)
        except FileExistsError:
            return False
        try:
            os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)  # whatever the umask says
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    return True


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_folder(path: Path) -> None:
    """Check that a folder belongs to this user alone.

    Raises:
        StoreError: it is no folder, a link, or open to others (store.permissions), or it cannot
            be looked at (store.io).
    """
    with io_faults(path):
        found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(path, "is no folder")
    _check_owner(path, found, "700")


def check_file(path: Path) -> bool:
    """Check that a file belongs to this user alone; tell whether there is one.

    Raises:
        StoreError: it is no ordinary file, a link, or open to others (store.permissions), or it
            cannot be looked at (store.io).
    """
    with io_faults(path):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "is no ordinary file")
    _check_owner(path, found, "600")
    return True


def _check_owner(path: Path, found: os.stat_result, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise _refused(path, "belongs to another user")
    if found.st_mode & _OTHERS:
        raise _refused(path, f"is open to other users; run: chmod {mode} {path}")


def _refused(path: Path, why: str) -> StoreError:
    return StoreError(ErrorCode.STORE_PERMISSIONS, f"{path} {why}", path=str(path))
