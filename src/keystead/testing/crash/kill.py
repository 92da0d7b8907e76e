"""Kills a process at any microsecond of its work, and looks at what it left.

SIGKILL leaves what was written in the kernel's memory, so a folder in memory serves as a disk.
"""

import os
import select
import shutil
import signal
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from keystead.testing.crash.workload import (
    DEADLINE,
    Acknowledge,
    Tally,
    WorkloadError,
    examine,
    load,
    renew,
)

_STAGES = 40  # prepared folders
_FROM_NOTHING = 0.1  # share of runs
_RECOVERY = 0.1  # share of checks that are killed too, before the one that counts
_ATTEMPTS = 4  # to kill it before it is done, each sooner
_AHEAD = 3  # acknowledgements that a run gets at most before it is killed
_HEADER = struct.Struct("=cI")


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder at the moment of an acknowledgement.

    Attributes:
        path: a copy of it; none for an empty one.
        acknowledged: all that was acknowledged.
    """

    path: Path | None
    acknowledged: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Kills:
    """Runs from known stages, each killed at a random time.

    Attributes:
        name: of the workload.
        seed: with the number of a case, decides it.
        stages: where runs start; the first is the empty folder.
        spans: seconds that a run takes from an empty folder, and from another, to get as far as
            it may; and seconds of one check.
        again: the case that is tried over and over, whatever number is asked for.
    """

    name: str
    seed: int
    stages: tuple[Stage, ...]
    spans: tuple[float, float, float]
    again: int | None = None

    def run(self, number: int, place: Path, tally: Tally) -> None:
        """Run, kill and check once."""
        which = number if self.again is None else self.again
        random = Random(f"{self.seed} {which}")  # noqa: S311 - repeatable on purpose
        workload = load(self.name)
        fresh = len(self.stages) == 1 or random.random() < _FROM_NOTHING
        stage = self.stages[0] if fresh else random.choice(self.stages[1:])
        root = place / "root"
        seed = random.getrandbits(32)
        # Operations repeat, times do not: a repeated case is killed at another time each time.
        times = random if self.again is None else Random()  # noqa: S311 - any time will do
        for attempt in range(_ATTEMPTS):
            renew(root, stage.path)
            child = _Child(lambda send: workload.run(root, send, seed))
            child.kill_sometime(times, self.spans[0 if fresh else 1] / 4**attempt)
            if child.killed or child.failure:
                break
        acknowledged = [*stage.acknowledged, *child.acknowledged]
        _count(tally, child, fresh=fresh)
        findings = [child.failure] if child.failure else []
        in_flight = child.killed
        if times.random() < _RECOVERY:
            _interrupt_check(self, root, acknowledged, times)
            in_flight = True
            tally.counts["of these, killed again while recovering"] += 1
        findings += examine(workload, root, acknowledged, in_flight=in_flight)
        again = f"kill --workload {self.name} --seed {self.seed} --only {which}"
        tally.findings += [f"{one} (python -m keystead.testing.crash {again})" for one in findings]


def _count(tally: Tally, child: "_Child", *, fresh: bool) -> None:
    tally.counts["killed" if child.killed else "ended before the kill"] += 1
    tally.counts["of all, from nothing"] += fresh
    for text in child.acknowledged:
        tally.counts[f"acknowledged: {text.split(b' ')[0].decode(errors='replace')}"] += 1


def _interrupt_check(
    kills: Kills, root: Path, acknowledged: Sequence[bytes], random: Random
) -> None:
    workload = load(kills.name)

    def check(_send: Acknowledge) -> None:
        workload.check(root, acknowledged, True)  # noqa: FBT003 - the protocol has it so

    child = _Child(check)
    child.kill_after(random.uniform(0, kills.spans[2]))


def prepare(name: str, seed: int, base: Path) -> Kills:
    """Do one full run, keep copies of the folder as it grows, and see how long things take.

    Raises:
        WorkloadError: a run does nothing, or an unharmed folder does not pass the check.
    """
    root = base / "root"
    stages = [Stage(None, ())]
    workload = load(name)

    def keep(acknowledged: list[bytes]) -> None:
        copy = base / f"stage-{len(stages)}"
        shutil.copytree(root, copy, symlinks=True)
        stages.append(Stage(copy, tuple(acknowledged)))

    renew(root, None)
    from_nothing = _time_run(name, root, seed, keep)
    for extra in _spread_out(stages[1:]):
        stages.remove(extra)
        shutil.rmtree(extra.path or root)
    span = checking = 0.0
    for stage in stages[1 :: max(1, len(stages) // 4)]:
        renew(root, stage.path)
        start = time.perf_counter()
        if findings := examine(workload, root, stage.acknowledged, in_flight=False):
            raise WorkloadError("without a crash: " + "; ".join(findings))
        checking = max(checking, time.perf_counter() - start)
        renew(root, stage.path)
        span = max(span, _time_run(name, root, seed, None))
    return Kills(name, seed, tuple(stages), (from_nothing, span, checking))


def _spread_out(stages: list[Stage]) -> list[Stage]:
    """Return the stages to do without, so that few are left and all times are among them."""
    if len(stages) <= _STAGES:
        return []
    kept = {round(i * (len(stages) - 1) / (_STAGES - 1)) for i in range(_STAGES)}
    return [one for i, one in enumerate(stages) if i not in kept]


def _time_run(
    name: str, root: Path, seed: int, keep: Callable[[list[bytes]], None] | None
) -> float:
    """Run to the end; return the seconds up to the acknowledgement that no kill waits beyond."""
    acknowledged: list[bytes] = []
    times: list[float] = []
    start = time.perf_counter()

    def acknowledge(text: bytes) -> None:
        nonlocal start
        now = time.perf_counter()
        times.append(now - start)
        acknowledged.append(text)
        if keep:
            keep(acknowledged)
        start += time.perf_counter() - now

    load(name).run(root, acknowledge, seed)
    if not times:
        raise WorkloadError("the workload acknowledged nothing")
    return times[min(_AHEAD, len(times)) - 1]


@dataclass(slots=True)
class _Child:
    """A forked process that works until it is killed.

    Attributes:
        work: what it does with a way to acknowledge.
        acknowledged: what it acknowledged.
        killed: whether the kill found it at work.
        failure: what it raised.
    """

    work: Callable[[Acknowledge], None]
    acknowledged: list[bytes] = field(default_factory=list)
    killed: bool = False
    failure: str = ""
    _pid: int = 0
    _pipe: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        """Fork."""
        self._pipe, end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            self._work_and_exit(end)
        os.close(end)
        os.setpgid(self._pid, self._pid)  # both do it: whoever comes first

    def _work_and_exit(self, end: int) -> None:
        """Never return: what follows is the parent's business."""
        code = 1
        try:
            os.setpgid(0, 0)

            def send(kind: bytes, text: bytes) -> None:
                os.write(end, _HEADER.pack(kind, len(text)) + text)

            try:
                self.work(lambda text: send(b"a", text))
                code = 0
            except BaseException:  # noqa: BLE001 - the parent tells it
                send(b"e", traceback.format_exc(limit=-3).encode())
        finally:
            os._exit(code)

    def kill_sometime(self, random: Random, span: float) -> None:
        """Kill it at any time of its work, or shortly after one of its acknowledgements."""
        if random.random() < 0.5:  # noqa: PLR2004 - half of them
            self.kill_after(random.uniform(0, span))
        else:
            wanted = random.randint(1, _AHEAD)
            self.kill_after(span * 10 ** random.uniform(-5, -0.5), wanted)

    def kill_after(self, delay: float, acknowledgements: int = 0) -> None:
        """Kill it so many seconds after the acknowledgement of this number, then reap it."""
        begin = time.perf_counter()
        while True:
            waiting = len(self.acknowledged) < acknowledgements
            left = begin + (DEADLINE if waiting else delay) - time.perf_counter()
            if left <= 0 or not self._read(left):
                break
            if waiting and len(self.acknowledged) >= acknowledgements:
                begin = time.perf_counter()
        os.killpg(self._pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self.killed = code == -signal.SIGKILL
        while self._read(0):
            pass
        os.close(self._pipe)
        if not self.killed and code != 0:
            self.failure = self.failure or f"the workload ended with {code}"
        elif self.killed and waiting and left <= 0:
            self.failure = f"the workload did nothing for {DEADLINE} s"

    def _read(self, patience: float) -> bool:
        """Take what it says; return whether there may be more."""
        if not select.select([self._pipe], [], [], patience)[0]:
            return False
        chunk = os.read(self._pipe, 1 << 16)
        self._buffer += chunk
        while len(self._buffer) >= _HEADER.size:
            kind, size = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + size
            if len(self._buffer) < end:
                break
            text = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            if kind == b"a":
                self.acknowledged.append(text)
            else:
                self.failure = text.decode()
        return bool(chunk)
