"""What is put through crashes, how it is checked afterwards, and how many cases run in parallel."""

import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeAlias

DEADLINE = 60.0  # seconds for one check or for what comes between two acknowledgements
_CHUNK = 20  # cases that a process takes at a time
_PROGRESS = 5.0  # seconds between two lines of progress
_MEMORY = Path("/dev/shm")  # noqa: S108 - private folders are made in it
_MEMORY_NEEDED = 256 << 20

Acknowledge: TypeAlias = Callable[[bytes], None]


class WorkloadError(Exception):
    """The workload fails without any crash, so there is nothing to test."""


class Workload(Protocol):
    """Operations that must survive crashes, and the judge of what is left of them.

    `run` starts with nothing, or from anything that `run` had made at an acknowledgement; either
    way it does some operations, and draws from the seed which, so that all of them are cut.
    """

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Do operations in a folder; acknowledge each as soon as it is durable.

        An acknowledgement is at most 4,000 bytes; its first word names the operation.
        """

    def check(self, root: Path, acknowledged: Sequence[bytes], in_flight: bool) -> list[str]:  # noqa: FBT001 - the one flag there is
        """Open what is there, finish or roll back, go on; return what is wrong.

        Args:
            root: the folder; it may be empty.
            acknowledged: all that was acknowledged, in order, from the start of the folder.
            in_flight: whether more may be there than was acknowledged; also what an interrupted
                check did.
        """


class Operations(Workload, Protocol):
    """A workload whose operations can be run one at a time, each as a process."""

    @property
    def operations(self) -> Sequence[str]:
        """Return the names of the operations."""

    def prepare(self, root: Path, operation: str) -> Sequence[bytes]:
        """Make the folder that the operation starts from; return what was acknowledged there."""

    def operate(self, root: Path, operation: str, acknowledge: Acknowledge) -> None:
        """Do one operation; raise `KeysteadError` when it cannot be done."""


@cache
def load(name: str) -> Operations:
    """Return a new workload of the class that is called `module:class`."""
    module, _, attribute = name.partition(":")
    made: Operations = getattr(importlib.import_module(module), attribute)()
    return made


@dataclass(slots=True)
class Tally:
    """What became of cases.

    Attributes:
        counts: how many there were of what.
        findings: what is wrong, with the command that repeats it.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another tally."""
        self.counts += other.counts
        self.findings += other.findings


class Cases(Protocol):
    """Numbered cases; all that is random in one comes from its number."""

    def run(self, number: int, place: Path, tally: Tally) -> None:
        """Run one case in a folder of its own."""


def run_cases(cases: Cases, numbers: Sequence[int], *, processes: int) -> Tally:
    """Run the cases of some numbers and tell on stderr how it goes."""
    chunks = [(cases, numbers[at : at + _CHUNK]) for at in range(0, len(numbers), _CHUNK)]
    total = Tally()
    if processes == 1 or len(chunks) == 1:
        _gather(map(_run_chunk, chunks), total, len(numbers))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            _gather(pool.imap_unordered(_run_chunk, chunks), total, len(numbers))
    return total


def _gather(tallies: Iterator[Tally], total: Tally, count: int) -> None:
    start = said = time.monotonic()
    for tally in tallies:
        total.add(tally)
        now = time.monotonic()
        if now - said >= _PROGRESS:
            said = now
            done = total.counts["cases"]
            rate = done / (now - start)
            print(
                f"{done} of {count}, {rate:.1f}/s, {len(total.findings)} findings", file=sys.stderr
            )


def _run_chunk(chunk: tuple[Cases, Sequence[int]]) -> Tally:
    cases, numbers = chunk
    tally = Tally()
    with working_folder() as place:
        for number in numbers:
            cases.run(number, place, tally)
            tally.counts["cases"] += 1
    return tally


@contextmanager
def working_folder() -> Iterator[Path]:
    """Make a folder in memory where that can be, for as long as it is needed."""
    fast = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED
    with tempfile.TemporaryDirectory(
        prefix="crash-", dir=_MEMORY if fast else None, ignore_cleanup_errors=True
    ) as place:
        yield Path(place).resolve()


def renew(root: Path, source: Path | None) -> None:
    """Make a folder what another one is, or empty."""
    shutil.rmtree(root, ignore_errors=True)
    if source is None:
        root.mkdir(mode=0o700, parents=True)
    else:
        shutil.copytree(source, root, symlinks=True)


def examine(
    workload: Workload, root: Path, acknowledged: Sequence[bytes], *, in_flight: bool
) -> list[str]:
    """Check what is left; an exception or a hang is a finding too."""
    try:
        with _deadline():
            return workload.check(root, acknowledged, in_flight)
    except Exception:  # noqa: BLE001 - whatever it is, it is what the user would see
        return [traceback.format_exc(limit=-3)]


def child_environment() -> dict[str, str]:
    """Return the environment for processes under trace: nothing that adds calls of its own.

    With the current folder among those of modules, the interpreter would list it again whenever a
    file in it comes or goes.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}


@contextmanager
def _deadline() -> Iterator[None]:
    """Raise when it takes too long; what was set before is set again."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {DEADLINE} s")

    former = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, *timer)
