"""Cuts the power at any moment of a recorded run, and looks at what a disk could hold then.

The model is harsher than common file systems, and what SQLite itself assumes of one:

* What a file was given is certain once that file was synced. Until then each write is there, or
  not, or in part: any subset of its sectors of 512 bytes. Where a write was to extend the file
  and is not there, the file may have its old size, or the new one with zeros or garbage in it.
* A change of size or of permissions is certain once the file was synced, until then there or not.
* A name - made, renamed or deleted - is certain once its folder was synced; a sync of the file
  does not help, and a file without a name is lost. A rename happens as a whole or not at all.
  In half of the images, names change in order, as with a journal; in the others in any order.
* A sync that did not return promises nothing. `sync_file_range` never does.
* `*-shm` files are gone: SQLite makes them anew.

Writes do not overtake others to the same sector but by their absence: the kernel keeps one copy.
"""

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random

from keystead.testing.crash.recording import (
    ROOT_NODE,
    Acknowledged,
    Entries,
    Protect,
    Recording,
    Resize,
    Step,
    Sync,
    Write,
    record,
)
from keystead.testing.crash.workload import Tally, examine, load

SECTOR = 512


@dataclass(slots=True)
class _File:
    mode: int
    data: bytearray | None
    entries: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Luck:
    """What an image is like in general: else all would be alike.

    Attributes:
        kept: share of uncertain steps that are there.
        torn: share of uncertain writes that are there in part.
        extended: whether the size of a file may be there without the data.
        garbage: whether that place holds garbage instead of zeros.
        journal: whether names change in order.
    """

    kept: float
    torn: float
    extended: bool
    garbage: bool
    journal: bool


def _draw(random: Random) -> _Luck:
    return _Luck(
        random.choice((0.0, 0.2, 0.5, 0.8, 1.0)),
        random.choice((0.0, 0.2, 0.8)),
        random.random() < 0.5,  # noqa: PLR2004 - half of them
        random.random() < 0.5,  # noqa: PLR2004 - half of them
        random.random() < 0.5,  # noqa: PLR2004 - half of them
    )


@dataclass(slots=True)
class Image:
    """What the disk holds after the power went off before a step of a recording.

    Attributes:
        recording: what happened.
        position: the number of steps that were done.
        random: decides about what is uncertain.
    """

    recording: Recording
    position: int
    random: Random
    _files: list[_File] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Decide."""
        luck = _draw(self.random)
        self._files = [
            _File(one.mode, None if one.data is None else bytearray(one.data), dict(one.entries))
            for one in self.recording.nodes
        ]
        broken = False  # whether the journal of names ended
        for step, certain in self._steps():
            there = certain or self.random.random() < luck.kept
            match step:
                case Write():
                    self._write(step, luck, there=there, certain=certain)
                case Resize() if there:
                    self._resize(step.node, step.size, b"\0")
                case Protect() if there:
                    self._files[step.node].mode = step.mode
                case Entries():
                    broken = luck.journal and (broken or not there)
                    if certain or (there and not broken):
                        self._rename(step)
                case _:
                    pass

    def _steps(self) -> Iterator[tuple[Step, bool]]:
        """Return the steps that were done, and whether they are certain."""
        covered: dict[int, int] = {}
        steps = self.recording.steps[: self.position]
        for step in steps:
            if isinstance(step, Sync):
                covered[step.node] = max(step.covers, covered.get(step.node, 0))
        for index, step in enumerate(steps):
            match step:
                case Write() | Resize() | Protect():
                    yield step, index < covered.get(step.node, 0)
                case Entries():
                    yield step, all(index < covered.get(one[0], 0) for one in step.changes)
                case _:
                    pass

    def _resize(self, node: int, size: int, filling: bytes) -> None:
        data = self._files[node].data
        if data is not None:
            del data[size:]
            data += filling * (size - len(data))

    def _rename(self, step: Entries) -> None:
        for folder, name, node in step.changes:
            if node is None:
                self._files[folder].entries.pop(name, None)
            else:
                self._files[folder].entries[name] = node

    def _write(self, step: Write, luck: _Luck, *, there: bool, certain: bool) -> None:
        data = self._files[step.node].data
        if data is None:
            return
        end = step.offset + len(step.data)
        torn = not certain and self.random.random() < luck.torn
        if there and not torn:
            self._resize(step.node, max(len(data), end), b"\0")
            data[step.offset : end] = step.data
            return
        if luck.extended and end > len(data):
            filling = bytes([self.random.randrange(256)]) if luck.garbage else b"\0"
            self._resize(step.node, end, filling)
        if torn:
            self._tear(step, data)

    def _tear(self, step: Write, data: bytearray) -> None:
        """Write some of the sectors."""
        end = step.offset + len(step.data)
        for start in range(step.offset - step.offset % SECTOR, end, SECTOR):
            first, last = max(start, step.offset), min(start + SECTOR, end)
            if self.random.random() < 0.5:  # noqa: PLR2004 - half of them
                self._resize(step.node, max(len(data), last), b"\0")
                data[first:last] = step.data[first - step.offset : last - step.offset]

    def acknowledged(self) -> list[bytes]:
        """Return what was acknowledged before."""
        steps = self.recording.steps[: self.position]
        return [step.text for step in steps if isinstance(step, Acknowledged)]

    def write(self, root: Path) -> None:
        """Make the folder as it is on the disk."""
        shutil.rmtree(root, ignore_errors=True)
        self._write_node(ROOT_NODE, root)

    def _write_node(self, number: int, path: Path) -> None:
        file = self._files[number]
        if file.data is not None:
            path.write_bytes(file.data)
        else:
            path.mkdir()
            for name, child in file.entries.items():
                if not name.endswith("-shm"):
                    self._write_node(child, path / name)
        path.chmod(file.mode)


@dataclass(frozen=True, slots=True)
class PowerCuts:
    """Images of recorded runs.

    Attributes:
        name: of the workload.
        seed: with the number of a case, decides it.
        recordings: files that `prepare` made.
    """

    name: str
    seed: int
    recordings: tuple[Path, ...]

    def run(self, number: int, place: Path, tally: Tally) -> None:
        """Make one image and check it."""
        random = Random(f"{self.seed} {number}")  # noqa: S311 - repeatable on purpose
        recording, decisive = _read(self.recordings[number % len(self.recordings)])
        # Most is uncertain just before a sync; most is promised just after an acknowledgement.
        position = random.choice((random.randint(0, len(recording.steps)), random.choice(decisive)))
        image = Image(recording, position, random)
        root = place / "root"
        image.write(root)
        in_flight = position < len(recording.steps)
        again = f"power --workload {self.name} --seed {self.seed}"
        again += f" --recordings {len(self.recordings)} --only {number}"
        for one in examine(load(self.name), root, image.acknowledged(), in_flight=in_flight):
            tally.findings.append(
                f"before step {position} of {len(recording.steps)}: {one} "
                f"(python -m keystead.testing.crash {again})"
            )
        tally.counts[f"of recording {number % len(self.recordings)}"] += 1


@cache
def _read(path: Path) -> tuple[Recording, list[int]]:
    recording: Recording = pickle.loads(path.read_bytes())  # noqa: S301 - written by `prepare`
    decisive = [
        index + isinstance(step, Acknowledged)
        for index, step in enumerate(recording.steps)
        if isinstance(step, Sync | Acknowledged)
    ]
    return recording, decisive


def prepare(name: str, seed: int, base: Path, *, count: int, command: list[str]) -> PowerCuts:
    """Record some runs from an empty folder.

    Args:
        name: of the workload.
        seed: of the first run; the others have the next ones.
        base: where to keep the recordings.
        count: of runs.
        command: runs the workload, given a folder, a seed and a file for acknowledgements.

    Raises:
        RecordingError: a run failed, or did what cannot be followed.
    """
    paths = []
    for run in range(count):
        root, told = base / "root", base / "told"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(mode=0o700)
        recording = record([*command, str(root), str(seed + run), str(told)], root, told)
        paths.append(base / f"recording-{run}")
        paths[-1].write_bytes(pickle.dumps(recording))
    return PowerCuts(name, seed, tuple(paths))
