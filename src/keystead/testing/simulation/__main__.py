"""Simulates networks of witnesses: `python -m keystead.testing.simulation --seeds 2000`.

Prints each seed with a finding and the command that repeats it, and ends with 1 when there is one.
"""

import argparse
import os
import sys
from hashlib import sha256

from keystead.testing.simulation.careless import KINDS
from keystead.testing.simulation.seeds import simulate, simulate_all


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m keystead.testing.simulation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=2000, metavar="N", help="how many")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, and tell what happens")
    parser.add_argument("-j", "--processes", type=int, default=os.cpu_count() or 1)
    how = ", ".join(sorted(KINDS)[1:])
    parser.add_argument("--careless", choices=sorted(KINDS), default="", metavar="HOW",
                        help=f"with witnesses that must be found out: {how}")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options.seed, options.careless)
    seeds = range(options.first, options.first + options.seeds)
    return 1 if simulate_all(seeds, options.careless, options.processes) else 0


def _one(seed: int, careless: str) -> int:
    run = simulate(seed, careless)
    print("\n".join(run.trace))
    for finding in run.findings:
        print(f"FOUND {finding}")
    digest = sha256("\n".join([*run.trace, *run.findings]).encode()).hexdigest()
    print(f"seed {seed}: {len(run.findings)} findings, trace {digest[:16]}")
    return 1 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())
