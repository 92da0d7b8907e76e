"""A small store that survives crashes, and flawed ones that do not."""

import json
import os
import sqlite3
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from keystead.errors import ErrorCode, StoreError
from keystead.testing.crash.workload import Acknowledge

ROUNDS = 8


class Toy:
    """Rows in SQLite, marks in a file that grows, and a file that is replaced.

    An acknowledgement is the name of an operation and a number that only grows.
    """

    operations = ("row", "mark", "head")
    synchronous = "FULL"
    syncs_marks = True
    syncs_head = True
    syncs_folder = True
    in_place = False
    early = False
    careless = False
    loud = False

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Do some operations in an order that the seed decides."""
        random = Random(seed)  # noqa: S311 - repeatable on purpose
        with self._rows(root) as rows:
            for _ in range(ROUNDS):
                self._do(root, rows, random.choice(self.operations), acknowledge)

    def prepare(self, root: Path, operation: str) -> Sequence[bytes]:
        """Do each operation once, and then the one that is to come."""
        done: list[bytes] = []
        for one in (*self.operations, operation):
            self.operate(root, one, done.append)
        return done

    def operate(self, root: Path, operation: str, acknowledge: Acknowledge) -> None:
        """Do one operation."""
        try:
            with self._rows(root) as rows:
                self._do(root, rows, operation, acknowledge)
        except (OSError, sqlite3.Error) as error:
            if self.loud:
                raise
            raise StoreError(ErrorCode.STORE_IO, "the toy cannot write") from error

    def check(self, root: Path, acknowledged: Sequence[bytes], in_flight: bool) -> list[str]:  # noqa: FBT001 - the protocol has it so
        """Compare what is there with what was acknowledged, and go on."""
        promised = dict.fromkeys(self.operations, 0)
        for text in acknowledged:
            name, number = text.decode().split(" ")
            promised[name] = int(number)
        with self._rows(root) as rows:
            if rows.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return ["the database is damaged"]
            found = self._state(root, rows)
            findings = [
                f"{name} is {found[name]}, and {number} was acknowledged"
                for name, number in promised.items()
                if found[name] < number or (found[name] > number and not in_flight)
            ]
            for one in self.operations:
                self._do(root, rows, one, lambda _: None)
        return findings

    @contextmanager
    def _rows(self, root: Path) -> Iterator[sqlite3.Connection]:
        rows = sqlite3.connect(root / "rows.db", isolation_level=None)
        try:
            rows.execute("PRAGMA journal_mode=WAL")
            rows.execute(f"PRAGMA synchronous={self.synchronous}")
            rows.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER, filling BLOB)")
            yield rows
        finally:
            rows.close()

    def _do(
        self, root: Path, rows: sqlite3.Connection, operation: str, acknowledge: Acknowledge
    ) -> None:
        number = self._state(root, rows)[operation] + 1
        text = f"{operation} {number}".encode()
        if self.early:
            acknowledge(text)
        with suppress(*((OSError, sqlite3.Error) if self.careless else ())):
            match operation:
                case "row":
                    rows.execute("INSERT INTO row VALUES (?, ?)", (number, bytes(5000)))
                case "mark":
                    self._add_mark(root, number)
                case _:
                    self._set_head(root, number)
        if not self.early:
            acknowledge(text)

    def _state(self, root: Path, rows: sqlite3.Connection) -> dict[str, int]:
        numbers = [number for (number,) in rows.execute("SELECT number FROM row ORDER BY 1")]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"there are gaps: {numbers}")
        head = root / "head"
        return {
            "row": len(numbers),
            "mark": self._marks(root),
            "head": json.loads(head.read_bytes())["number"] if head.exists() else 0,
        }

    def _marks(self, root: Path) -> int:
        """Return the last mark, and cut off what is no whole one."""
        path = root / "marks"
        if not path.exists():
            return 0
        raw, good, last = path.read_bytes(), 0, 0
        for line in raw.splitlines(keepends=True):
            number, _, check = line.partition(b" ")
            if check != b"%08x\n" % zlib.crc32(number):
                break
            last, good = int(number), good + len(line)
        if good < len(raw):
            os.truncate(path, good)
        return last

    def _add_mark(self, root: Path, number: int) -> None:
        path = root / "marks"
        new = not path.exists()
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            text = b"%d" % number
            os.write(file, b"%s %08x\n" % (text, zlib.crc32(text)))
            if self.syncs_marks:
                os.fdatasync(file)
        finally:
            os.close(file)
        if new:
            self._sync_folder(root)

    def _set_head(self, root: Path, number: int) -> None:
        path, draft = root / "head", root / "head.new"
        raw = json.dumps({"number": number, "filling": " " * 2000}).encode()
        if self.in_place:
            with path.open("wb", buffering=0) as file:
                file.write(raw[:10])
                time.sleep(0.0005)
                file.write(raw[10:])
            return
        with suppress(FileNotFoundError):
            draft.unlink()
        with draft.open("wb") as file:
            file.write(raw)
            file.flush()
            if self.syncs_head:
                os.fsync(file.fileno())
        draft.rename(path)
        self._sync_folder(root)

    def _sync_folder(self, root: Path) -> None:
        if not self.syncs_folder:
            return
        folder = os.open(root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class NormalToy(Toy):
    """Commits to the log of SQLite without a sync."""

    synchronous = "NORMAL"


class OffToy(Toy):
    """Never syncs the database."""

    synchronous = "OFF"


class UnsyncedMarksToy(Toy):
    """Appends without a sync."""

    syncs_marks = False


class UnsyncedHeadToy(Toy):
    """Renames a file that was not synced."""

    syncs_head = False


class UnsyncedFolderToy(Toy):
    """Renames and does not sync the folder."""

    syncs_folder = False


class InPlaceToy(Toy):
    """Overwrites a file instead of replacing it."""

    in_place = True


class EarlyToy(Toy):
    """Acknowledges before it is done."""

    early = True


class CarelessToy(Toy):
    """Takes an error for success."""

    careless = True


class LoudToy(Toy):
    """Ends with a traceback."""

    loud = True


class FailingToy(Toy):
    """Cannot go on from where it was."""

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Fail, but not in the run that prepares."""
        if seed != 1:
            raise ValueError("not from here")
        super().run(root, acknowledge, seed)


class QuittingToy(Toy):
    """Ends its process after some work."""

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Quit, but not in the run that prepares."""
        if seed != 1:
            os._exit(7)
        super().run(root, acknowledge, seed)


class SilentToy(Toy):
    """Ends with an error and does not tell."""

    def operate(self, root: Path, operation: str, acknowledge: Acknowledge) -> None:
        """Do one operation, or exit."""
        try:
            super().operate(root, operation, acknowledge)
        except StoreError:
            raise SystemExit(1) from None


class OddToy(Toy):
    """Ends with a code that no command has."""

    def operate(self, root: Path, operation: str, acknowledge: Acknowledge) -> None:
        """Do one operation, or exit."""
        try:
            super().operate(root, operation, acknowledge)
        except StoreError as error:
            sys.stderr.write(f"error: {error}\n")
            raise SystemExit(99) from None


class IdleToy(Toy):
    """Promises nothing."""

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Do nothing."""
