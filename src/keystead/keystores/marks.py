"""Marks: the last event that was signed for each identifier, on this machine.

The file lies apart from the wallet, so that an older copy of the wallet is found out before it
signs a second event for one place. A mark is durable before its signature leaves the vault.

An append-only file of frames: length (4 bytes), keyed hash (32 bytes), MessagePack. What is no
frame at the end is what a loss of power left of one that was never acknowledged, so it is dropped;
anywhere else it is damage. When most of the file is out of date, it is written anew beside and
renamed.
"""

import errno
import fcntl
import hmac
import os
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.ports.keys import Mark

_HEAD: Final = 36  # length and hash
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BESIDE: Final = ("marks.new", "marks.second")
_END: Final = "end"  # file that tells how far the audit log goes; lost without harm
_END_CONTEXT: Final = "Keystead 1 end of the audit log of a wallet"  # of the key of its frame
_TIDY_FROM: Final = 1024 * 1024  # shorter files are not worth it


class Marks:
    """The marks of one wallet. Several processes may use the file at once."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Use the file in `folder`; `key` (32 bytes) authenticates its frames."""
        self._folder = folder
        self._path = folder / "marks"
        self._key = key
        self._end_key = blake3(key, derive_key_context=_END_CONTEXT).digest()
        self._marks: dict[Aid, Mark] = {}
        self._latest: Mark | None = None
        self._file = (-1, -1)  # device and inode
        self._let_go: Callable[[], object] = _nothing  # ends the hold on the file
        self._read = 0  # bytes of the file that were read
        self._live = 0  # bytes of frames that are not out of date

    @property
    def exists(self) -> bool:
        """Tell whether this wallet is known on this machine."""
        return self._path.exists()

    def create(self) -> None:
        """Make the wallet known on this machine; how far its audit log went is not, any more."""
        with _errors():
            _make_folder(self._folder)
            self._check_private(self._folder.stat())
            flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            (self._folder / _END).unlink(missing_ok=True)
            _sync_folder(self._folder)

    def find(self, aids: Iterable[Aid]) -> list[Mark | None]:
        """Return the marks of identifiers."""
        with self._locked():
            return [self._marks.get(aid) for aid in aids]

    def latest(self) -> Mark | None:
        """Return the mark that was made last."""
        with self._locked():
            return self._latest

    def audit_end(self) -> tuple[int, bytes]:
        """Return how far the audit log went, as far as is known: number and hash of an entry."""
        with self._locked():
            return self._audit_end()

    def advance(self, mark: Mark) -> None:
        """Make a mark durable, unless the same is there.

        Raises:
            KeystoreError: another event was signed for this place, or a later one
                (keystore.second_event).
            StoreError: the mark cannot be kept.
        """

        def check(last: Mark | None) -> bool:
            if last is None or mark.sn > last.sn:
                return True
            if mark.sn == last.sn and mark.said == last.said:
                return False
            what = f"another event was signed for {mark.aid} at {last.sn}"
            raise KeystoreError(ErrorCode.SECOND_EVENT, what, aid=mark.aid, sn=last.sn)

        self._append(mark, check)

    def replace(self, mark: Mark) -> None:
        """Make a mark durable, whatever was there; the audit log goes as far as it tells."""
        self._append(mark, lambda _: True)
        with self._locked():
            self._write_end(mark.audit_count, mark.audit_head)

    def remember(self, count: int, head: bytes) -> None:
        """Keep how far the audit log goes, unless more is known; a loss of power may undo it."""
        with self._locked():
            if count > self._audit_end()[0]:
                self._write_end(count, head)

    def _audit_end(self) -> tuple[int, bytes]:
        latest = self._latest
        known = (0, b"") if latest is None else (latest.audit_count, latest.audit_head)
        try:
            data = (self._folder / _END).read_bytes()
        except FileNotFoundError:
            return known
        payload = data[_HEAD:]
        if data != _frame(payload, self._end_key):
            return known  # half written when the power went
        return max(known, msgspec.msgpack.decode(payload, type=tuple[int, bytes]))

    def _write_end(self, count: int, head: bytes) -> None:
        """Write it beside the marks: what is not synced must not lie among them."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._folder / _END, flags, 0o600)
        try:
            frame = _frame(msgspec.msgpack.encode((count, head)), self._end_key)
            os.ftruncate(descriptor, 0)
            _write_all(descriptor, frame, 0)
        finally:
            os.close(descriptor)

    def _append(self, mark: Mark, check: Callable[[Mark | None], bool]) -> None:
        with self._locked() as descriptor:
            if not check(self._marks.get(mark.aid)):
                os.fdatasync(descriptor)  # whoever wrote it may have been killed before this
                return
            frame = self._frame(mark)
            # Behind what was read: a frame that is cut off there is overwritten.
            os.ftruncate(descriptor, self._read)
            try:
                _write_all(descriptor, frame, self._read)
                os.fdatasync(descriptor)
            except OSError:
                # After a failed sync the kernel may call the pages clean: write them again.
                with suppress(OSError):
                    os.ftruncate(descriptor, self._read)
                raise
            self._take(mark, len(frame))
            self._read += len(frame)
            if self._read > max(_TIDY_FROM, 4 * self._live):
                # The mark is durable already. What cannot be tidied now, the next one tries.
                with suppress(OSError):
                    self._tidy()

    def _take(self, mark: Mark, size: int) -> None:
        old = self._marks.get(mark.aid)
        self._live += size - (0 if old is None else len(self._frame(old)))
        self._marks[mark.aid] = mark
        self._latest = mark

    def _frame(self, mark: Mark) -> bytes:
        return _frame(msgspec.msgpack.encode(mark), self._key)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the file alone, with everything read that others appended."""
        with _errors():
            self._check_private(self._folder.stat())
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(self._folder / "lock", flags | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                descriptor = os.open(self._path, flags)
                try:
                    found = os.fstat(descriptor)
                    self._check_private(found)
                    if found.st_nlink > 1:
                        self._finish_tidying()
                    self._catch_up(descriptor, found)
                    yield descriptor
                finally:
                    os.close(descriptor)
            finally:
                os.close(lock)

    def _catch_up(self, descriptor: int, found: os.stat_result) -> None:
        if (found.st_dev, found.st_ino) != self._file:
            self._hold(descriptor)
            self._file = (found.st_dev, found.st_ino)
            self._read, self._live = 0, 0
            self._marks.clear()
            self._latest = None
        if found.st_size < self._read:
            raise _changed()  # nobody ever takes a whole frame away
        data = os.pread(descriptor, found.st_size - self._read, self._read)
        place = 0
        while (payload := self._next(data, place)) is not None:
            size = _HEAD + len(payload)
            self._take(msgspec.msgpack.decode(payload, type=Mark), size)
            place += size
            self._read += size

    def _check_private(self, found: os.stat_result) -> None:
        """Check that the folder, or a file in it, belongs to this user alone."""
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            what = f"others have access to the record of signed events in {self._folder}"
            raise StoreError(ErrorCode.STORE_PERMISSIONS, what)

    def _hold(self, descriptor: int) -> None:
        """Keep a file open, in place of the one before: while it is, no other gets its number."""
        held = os.dup(descriptor)
        self._let_go()
        self._let_go = weakref.finalize(self, os.close, held)

    def _next(self, data: bytes, place: int) -> bytes | None:
        """Return the content of the frame at `place`, None for the end or a torn one."""
        if self._is_frame(data, place):
            size = int.from_bytes(data[place : place + 4], "big")
            return data[place + _HEAD : place + _HEAD + size]
        if any(self._is_frame(data, later) for later in range(place + 1, len(data) - _HEAD)):
            raise _changed()
        return None

    def _is_frame(self, data: bytes, place: int) -> bool:
        size = int.from_bytes(data[place : place + 4], "big")
        end = place + _HEAD + size
        if not 0 < size <= len(data) - place - _HEAD:
            return False
        hashed = blake3(data[place + _HEAD : end], key=self._key).digest()
        return hmac.compare_digest(hashed, data[place + 4 : place + _HEAD])

    def _tidy(self) -> None:
        """Write a file without what is out of date; what came last stays the last.

        Until the new name is durable the file has a second one, by which everybody sees that
        nothing may be acknowledged yet.
        """
        for name in _BESIDE:
            with suppress(FileNotFoundError):
                (self._folder / name).unlink()
        beside, second = (self._folder / name for name in _BESIDE)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600)
        try:
            latest = self._latest
            kept = [one for one in self._marks.values() if one is not latest]
            frames = [self._frame(one) for one in (*kept, latest) if one is not None]
            _write_all(descriptor, b"".join(frames), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        second.hardlink_to(beside)
        beside.rename(self._path)
        self._finish_tidying()

    def _finish_tidying(self) -> None:
        _sync_folder(self._folder)
        with suppress(FileNotFoundError):
            (self._folder / _BESIDE[1]).unlink()


def _changed() -> KeystoreError:
    what = "the record of signed events on this machine was changed"
    return KeystoreError(ErrorCode.TAMPERED, what)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        what = "this wallet has signed nothing on this machine: it was copied or restored"
        raise KeystoreError(ErrorCode.BEHIND, what) from None
    except OSError as error:
        what = f"cannot keep the record of signed events: {error.strerror}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise StoreError(ErrorCode.STORE_FULL if full else ErrorCode.STORE_IO, what) from None


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, for this user alone, so that a loss of power spares it."""
    if not folder.parent.exists():
        _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync_folder(folder.parent)


def _frame(payload: bytes, key: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + blake3(payload, key=key).digest() + payload


def _nothing() -> None:
    """Hold nothing yet."""


def _write_all(descriptor: int, data: bytes, place: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
