"""Many seeds of the simulation in parallel."""

import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from keystead.testing.simulation.careless import KINDS
from keystead.testing.simulation.world import Run, World

_CHUNK = 20
_PROGRESS = 5.0  # seconds


def simulate(seed: int, careless: str = "") -> Run:
    """Run one seed.

    Args:
        seed: decides everything.
        careless: name of a fault that all witnesses have; empty: none.
    """
    return World(seed, KINDS[careless]).run()


def simulate_all(seeds: Sequence[int], careless: str, processes: int) -> int:
    """Run many seeds, print what came of them, and return the number of those with findings."""
    start = said = time.monotonic()
    counts: Counter[str] = Counter()
    failed = done = 0
    work = [(one, careless) for one in seeds]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for seed, run in pool.imap_unordered(_run, work, _CHUNK):
            done += 1
            counts.update(run.counts)
            if run.findings:
                failed += 1
                again = f"--seed {seed}" + (f" --careless {careless}" if careless else "")
                print(f"FOUND {run.findings[0]} (python -m keystead.testing.simulation {again})")
            now = time.monotonic()
            if now - said >= _PROGRESS:
                said = now
                rate = done / (now - start)
                print(f"{done} of {len(work)}, {rate:.1f}/s, {failed} failed", file=sys.stderr)
    for what, number in sorted(counts.items()):
        print(f"{number:8} {what}")
    rate = done / (time.monotonic() - start)
    print(f"{done} seeds, {rate:.1f}/s: {failed} with findings")
    return failed


def _run(work: tuple[int, str]) -> tuple[int, Run]:
    seed, careless = work
    try:
        run = simulate(seed, careless)
    except BaseException:  # noqa: BLE001 - whatever it is, it is a finding
        return seed, Run([traceback.format_exc(limit=-3)], [], {})
    return seed, Run(run.findings, [], run.counts)
