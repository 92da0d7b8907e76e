"""Marks: the last event that was signed for each identifier, on this machine.

The file lies apart from the wallet, so that an older copy of the wallet is found out before it
signs a second event for one place. A mark is durable before its signature leaves the vault.

An append-only file of frames: length (4 bytes), keyed hash (32 bytes), MessagePack. A frame that
is cut off at the end was never acknowledged, so it is dropped. When most of the file is out of
date, it is written anew beside and renamed.
"""

import errno
import fcntl
import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.ports.keys import Mark

_HEAD: Final = 36  # length and hash
_TIDY_FROM: Final = 1024 * 1024  # shorter files are not worth it


class Marks:
    """The marks of one wallet. Several processes may use the file at once."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Use the file in `folder`; `key` (32 bytes) authenticates its frames."""
        self._folder = folder
        self._path = folder / "marks"
        self._key = key
        self._marks: dict[Aid, Mark] = {}
        self._latest: Mark | None = None
        self._inode = -1
        self._read = 0  # bytes of the file that were read
        self._live = 0  # bytes of frames that are not out of date

    @property
    def exists(self) -> bool:
        """Tell whether this wallet is known on this machine."""
        return self._path.exists()

    def create(self) -> None:
        """Make the wallet known on this machine."""
        with _errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
            _sync_folder(self._folder)
            _sync_folder(self._folder.parent)

    def get(self, aid: Aid) -> Mark | None:
        """Return the mark of an identifier."""
        with self._locked():
            return self._marks.get(aid)

    def latest(self) -> Mark | None:
        """Return the mark that was made last."""
        with self._locked():
            return self._latest

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
        """Make a mark durable, whatever was there."""
        self._append(mark, lambda _: True)

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
                self._tidy()

    def _take(self, mark: Mark, size: int) -> None:
        old = self._marks.get(mark.aid)
        self._live += size - (0 if old is None else len(self._frame(old)))
        self._marks[mark.aid] = mark
        self._latest = mark

    def _frame(self, mark: Mark) -> bytes:
        payload = msgspec.msgpack.encode(mark)
        return len(payload).to_bytes(4, "big") + self._hash(payload) + payload

    def _hash(self, payload: bytes) -> bytes:
        return blake3(payload, key=self._key).digest()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the file alone, with everything read that others appended."""
        with _errors():
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(self._folder / "lock", flags | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                descriptor = os.open(self._path, flags)
                try:
                    self._catch_up(descriptor)
                    yield descriptor
                finally:
                    os.close(descriptor)
            finally:
                os.close(lock)

    def _catch_up(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if found.st_ino != self._inode or found.st_size < self._read:
            self._inode, self._read, self._live = found.st_ino, 0, 0
            self._marks.clear()
            self._latest = None
        data = os.pread(descriptor, found.st_size - self._read, self._read)
        place = 0
        while (payload := self._next(data, place)) is not None:
            size = _HEAD + len(payload)
            self._take(msgspec.msgpack.decode(payload, type=Mark), size)
            place += size
            self._read += size

    def _next(self, data: bytes, place: int) -> bytes | None:
        """Return the content of the frame at `place`, None for the end or a torn one."""
        size = int.from_bytes(data[place : place + 4], "big")
        end = place + _HEAD + size
        if place == len(data):
            return None
        if self._is_frame(data, place):
            return data[place + _HEAD : end]
        if any(self._is_frame(data, later) for later in range(place + 1, len(data) - _HEAD)):
            what = "the record of signed events on this machine was changed"
            raise KeystoreError(ErrorCode.TAMPERED, what)
        return None  # torn by a loss of power before it was synced

    def _is_frame(self, data: bytes, place: int) -> bool:
        size = int.from_bytes(data[place : place + 4], "big")
        payload = data[place + _HEAD : place + _HEAD + size]
        return 0 < size == len(payload) and hmac.compare_digest(
            self._hash(payload), data[place + 4 : place + _HEAD]
        )

    def _tidy(self) -> None:
        """Write a file without what is out of date; the latest mark stays the last."""
        beside = self._folder / "marks.new"
        with suppress(FileNotFoundError):
            beside.unlink()
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        descriptor = os.open(beside, flags, 0o600)
        try:
            latest = self._latest
            kept = [one for one in self._marks.values() if one is not latest]
            frames = [self._frame(one) for one in (*kept, latest) if one is not None]
            _write_all(descriptor, b"".join(frames), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.rename(self._path)
        _sync_folder(self._folder)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        what = "this wallet has signed nothing on this machine: it was copied or restored"
        raise KeystoreError(ErrorCode.BEHIND, what) from None
    except OSError as error:
        what = f"cannot keep the record of signed events: {error.strerror}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreError(ErrorCode.STORE_FULL if full else ErrorCode.STORE_IO, what) from None


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
