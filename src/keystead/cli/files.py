"""Files that commands write results to: whole or not at all, and never in the place of others."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from keystead.errors import ErrorCode, UsageError

# Names of files -> whose folder it is that has them all. Nothing else is written there.
_FOLDERS: Final = {("wallet.db",): "a wallet", ("marks", "lock"): "the marks of a wallet"}


def check_place(name: str) -> bool:
    """Check that a result can go to a file, and tell whether the file is there already.

    Raises:
        UsageError: it is no ordinary file, or a link, or in the folder of a wallet, or cannot be
            written (usage.file).
    """
    path = Path(name)
    try:
        if not path.parent.is_dir():
            raise UsageError(ErrorCode.FILE, f"the folder of {name} does not exist")
        for names, whose in _FOLDERS.items():
            if all(os.path.lexists(path.parent / one) for one in names):
                what = f"{name} is in the folder of {whose}, where nothing else belongs"
                raise UsageError(ErrorCode.FILE, what, hint="name a file elsewhere")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(ErrorCode.FILE, f"the folder of {name} is read-only")
        if not os.path.lexists(path):
            return False
        mode = path.lstat().st_mode
    except OSError as error:
        raise _unusable(name, error) from None
    if stat.S_ISREG(mode):
        return True
    what = "a symbolic link" if stat.S_ISLNK(mode) else "no ordinary file"
    hint = "name the file itself, or use standard output"
    raise UsageError(ErrorCode.FILE, f"{name} is {what}", hint=hint)


def read_start(name: str, size: int) -> bytes:
    """Return up to `size` bytes of a file that is in the place of a result.

    Raises:
        UsageError: it cannot be read (usage.file).
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise _unusable(name, error) from None


def refuse_existing(name: str) -> None:
    """Refuse to write a result where there is a file.

    Raises:
        UsageError: always (usage.exists).
    """
    what = f"{name} exists; it is not overwritten"
    hint = "write to another file with -o, or replace it with --force"
    raise UsageError(ErrorCode.EXISTS, what, hint=hint)


def write_file(name: str, data: bytes, *, replace: bool) -> None:
    """Write a result to a file; where the same is there already, nothing is done.

    Args:
        name: of the file.
        data: what is to be in it.
        replace: another file may be there, and is lost.

    Raises:
        UsageError: as `check_place`, or another file is there (usage.exists).
    """
    if check_place(name) and not replace:
        if read_start(name, len(data) + 1) == data:
            return
        refuse_existing(name)
    path = Path(name)
    # No name that others could foresee, and put a link or a file of their own at.
    beside = path.with_name(f".keystead-{secrets.token_hex(8)}")
    try:
        try:
            _write_new(beside, data)
            if not replace and os.path.lexists(path):
                refuse_existing(name)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        what = f"cannot write {name}: {error.strerror}"
        hint = "name another file and repeat the command; nothing is done twice"
        raise UsageError(ErrorCode.FILE, what, hint=hint) from None


def _write_new(path: Path, data: bytes) -> None:
    """Write a new file, which gets its usual mode when it is whole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(stream.fileno(), 0o666 & ~_umask())
        os.fsync(stream.fileno())


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(name: str, error: OSError) -> UsageError:
    return UsageError(ErrorCode.FILE, f"cannot use {name}: {error.strerror}")
