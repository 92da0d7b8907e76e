"""Measures what must stay fast: `python bench/run.py [--streams DIR] [--check]`.

Every figure is a ratio of times taken in turns in one run, because the speed of a machine
drifts. Processor time, median of the repeats. Ends with 0, with `--check` with 1 when a limit is
not kept.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import logs
import measure

OVERHEAD = 0.25  # of everything beside the signature checks, as a share of these
FLATNESS = 0.15  # between the costs per event of the longest and the shortest log
MEMORY = 80  # MiB
SHARE = 0.60  # of the time of one process that two may take
_LENGTHS = (1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        name: what was measured.
        figure: the result, a ratio or MiB.
        text: the result for people.
        limit: what it must not exceed, None where nothing is required.
        void: why the limit means nothing here.
    """

    name: str
    figure: float
    text: str
    limit: float | None = None
    void: str = ""

    @property
    def verdict(self) -> str:
        """Whether the limit is kept."""
        if self.limit is None:
            return ""
        if self.figure <= self.limit:
            return "pass"
        return f"void: {self.void}" if self.void else "FAIL"


def main() -> int:
    """Run the benchmarks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=Path, metavar="DIR", help="logs to use, not own ones")
    parser.add_argument("--repeat", type=int, default=5, help="times to take each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--check", action="store_true", help="end with 1 on a FAIL")
    options = parser.parse_args()
    paths = logs.standard_logs(options.streams)
    print(f"caches empty, garbage collection as the command sets it, median of {options.repeat}")
    lines = []
    for line in _measure(paths, options.repeat):
        lines.append(line)
        limit = "" if line.limit is None else f"<= {line.limit:g}"
        print(f"{line.name:34} {line.text:58} {limit:8} {line.verdict}", flush=True)
    if options.json is not None:
        figures = [{**asdict(line), "verdict": line.verdict} for line in lines]
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    failed = [line for line in lines if line.verdict == "FAIL"]
    return 1 if failed and options.check else 0


def _measure(paths: dict[str, Path], repeat: int) -> Iterator[Line]:
    yield _memory(paths[logs.MIXED])
    yield from _overheads(paths, repeat)
    yield from _flatness(repeat)
    yield from _sharing(paths[logs.MIXED], repeat)


def _memory(path: Path) -> Line:
    peak = measure.peak_memory(path)
    return Line(f"memory {path.stem}", peak, f"{peak:.1f} MiB at most", MEMORY)


def _overheads(paths: dict[str, Path], repeat: int) -> Iterator[Line]:
    """Compare the pipeline with bare checks of the same signatures, log by log in turns."""
    chunks = {name: measure.read_chunks(path) for name, path in paths.items()}
    checks = {name: measure.recorded_checks(pieces) for name, pieces in chunks.items()}
    events = {name: measure.accepted_in(measure.verify(one)) for name, one in chunks.items()}
    times: dict[str, list[measure.Times]] = {name: [] for name in paths}
    for _ in range(repeat):
        for name, mine in times.items():
            mine.append(measure.paired_times(chunks[name], checks[name]))
    for name, mine in times.items():
        whole = median(one.pipeline for one in mine) * 1e6 / events[name]
        floor = median(one.bare for one in mine) * 1e6 / events[name]
        over = median(one.pipeline / one.bare - 1 for one in mine)
        below = median(one.pipeline / one.binding - 1 for one in mine)
        text = f"{over:6.1%} ({whole:.1f} of {floor:.1f} µs an event; {below:.1%} over bindings)"
        yield Line(f"overhead {name}", over, text, OVERHEAD)


def _flatness(repeat: int) -> Iterator[Line]:
    """Compare the cost per event in one log of 1,000, 10,000 and 100,000 interactions."""
    path = logs.long_log()
    ends = _ends(path)
    chunks = {length: measure.read_chunks(path, ends[length]) for length in _LENGTHS}
    rounds = []
    for _ in range(repeat):
        costs = {}
        for length, pieces in chunks.items():
            runs = max(1, 10_000 // length)
            taken = [measure.cpu_time(partial(measure.verify, pieces)) for _ in range(runs)]
            costs[length] = median(taken) / length
        rounds.append(costs)
    shortest = _LENGTHS[0]
    for length in _LENGTHS:
        cost = median(costs[length] for costs in rounds) * 1e6
        growth = median(costs[length] / costs[shortest] - 1 for costs in rounds)
        limit = None if length == shortest else FLATNESS
        text = f"{growth:+6.1%} ({cost:.1f} µs an event)"
        yield Line(f"flatness {length} interactions", growth, text, limit)


def _ends(path: Path) -> dict[int, int]:
    """Return where the events end behind which a log of each length ends."""
    ends, seen = {}, -1
    data = path.read_bytes()
    start = 0
    while start >= 0:
        if seen in _LENGTHS:
            ends[seen] = start
        seen += 1
        start = data.find(b'{"v":"', start + 1)
    ends[seen] = len(data)
    return ends


def _sharing(path: Path, repeat: int) -> Iterator[Line]:
    """Compare two processes, each with half of the identifiers, with one process."""
    halves = [str(half) for half in logs.halves_of(path)]
    with measure.processes() as both:
        both.ratio(measure.verify_file, halves)  # imports
        bare, mine = [], []
        for _ in range(repeat):
            bare.append(both.ratio(measure.check_many, ["one", "two"]))
            mine.append(both.ratio(measure.verify_file, halves))
    machine, ratio = median(bare), median(mine)
    yield Line("two processes, bare checks", machine, f"{machine:6.1%} of one (this machine)")
    void = f"the machine itself takes {machine:.0%}" if machine > SHARE else ""
    yield Line("two processes, verifying", ratio, f"{ratio:6.1%} of one", SHARE, void)


if __name__ == "__main__":
    sys.exit(main())
