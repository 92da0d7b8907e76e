"""Crashes a workload in many ways and checks what is left: `python -m keystead.testing.crash`.

`kill` kills processes, `power` cuts the power of a modelled disk, `faults` lets system calls
fail. Each prints what it did and each finding with the command that repeats it, and ends with 1
when there is one. The same seed gives the same cases; only where a kill hits is up to the clock.
"""

import argparse
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from keystead.errors import KeysteadError
from keystead.testing.crash import faults, kill, power
from keystead.testing.crash.recording import RecordingError
from keystead.testing.crash.workload import (
    Cases,
    Tally,
    WorkloadError,
    load,
    run_cases,
    working_folder,
)

WORKLOADS = {
    "wallet": "keystead.testing.crash.wallet:WalletWorkload",
    "witness": "keystead.testing.crash.witness:WitnessWorkload",
}
_SHOWN = 20  # findings
_REPEATS = 50  # kills of one case
_IMAGES_EACH = 500  # of one recording
_MODULE = (sys.executable, "-m", "keystead.testing.crash")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (WorkloadError, RecordingError, KeysteadError) as error:
        print(f"keystead: error: {error}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keystead.testing.crash", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True)
    cases = argparse.ArgumentParser(add_help=False)
    cases.add_argument(
        "--workload",
        default="wallet",
        metavar="NAME",
        type=lambda name: WORKLOADS.get(name, name),
        help="what to crash: wallet, witness, or MODULE:CLASS",
    )
    cases.add_argument("--seed", type=int, default=1, help="decides what the cases are")
    cases.add_argument("--only", type=int, metavar="I", help="only the case of this number")
    cases.add_argument("-j", "--processes", type=int, default=os.cpu_count() or 1)
    one = commands.add_parser("kill", parents=[cases], help="kill a process at work")
    one.add_argument("-n", "--count", type=int, help="number of kills; 1,000, of one case 50")
    one.set_defaults(command=_kill)
    one = commands.add_parser("power", parents=[cases], help="cut the power")
    one.add_argument("-n", "--count", type=int, default=1000, help="number of disk images")
    one.add_argument("--recordings", type=int, help="number of runs; one for 500 images")
    one.set_defaults(command=_power)
    one = commands.add_parser("faults", parents=[cases], help="let system calls fail")
    one.add_argument("--every", type=int, default=1, metavar="K", help="one of K cases")
    one.add_argument("--operation", action="append", default=[], help="only this one; repeatable")
    one.add_argument("--run", metavar="COMMAND", help="runs {operation} in {root}")
    one.set_defaults(command=_faults)
    one = commands.add_parser("run", parents=[cases], help="run a workload once (for recordings)")
    one.add_argument("root", type=Path)
    one.add_argument("run_seed", type=int)
    one.add_argument("told", type=Path, help="file for acknowledgements")
    one.set_defaults(command=_run)
    one = commands.add_parser("operate", parents=[cases], help="do one operation (for faults)")
    one.add_argument("operation")
    one.add_argument("root", type=Path)
    one.set_defaults(command=_operate)
    return parser


def _kill(options: argparse.Namespace) -> int:
    count = options.count or (1000 if options.only is None else _REPEATS)
    with working_folder() as base:
        prepared = kill.prepare(options.workload, options.seed, base)
        cases = kill.Kills(
            prepared.name, prepared.seed, prepared.stages, prepared.spans, options.only
        )
        seconds = ", ".join(f"{one:.3f}" for one in prepared.spans)
        print(f"{len(prepared.stages)} stages; {seconds} s", file=sys.stderr)
        return _finish(cases, range(count), options)


def _power(options: argparse.Namespace) -> int:
    command = [*_MODULE, "run", "--workload", options.workload]
    recordings = options.recordings or max(1, options.count // _IMAGES_EACH)
    with working_folder() as base:
        cases = power.prepare(
            options.workload, options.seed, base, count=recordings, command=command
        )
        numbers = range(options.count) if options.only is None else [options.only]
        return _finish(cases, numbers, options)


def _faults(options: argparse.Namespace) -> int:
    operate = [*_MODULE, "operate", "--workload", options.workload]
    command = options.run or f"{shlex.join(operate)} {{operation}} {{root}}"
    with working_folder() as base:
        cases = faults.prepare(
            options.workload, base, operations=options.operation, command=command
        )
        total = len(cases.faults)
        for operation, count in Counter(one.operation for one in cases.faults).items():
            print(f"{operation}: {count // len(faults.FAULTS)} calls that write", file=sys.stderr)
        random = Random(options.seed)  # noqa: S311 - repeatable on purpose
        numbers = sorted(random.sample(range(total), -(-total // options.every)))
        return _finish(cases, numbers if options.only is None else [options.only], options)


def _finish(cases: Cases, numbers: Sequence[int], options: argparse.Namespace) -> int:
    tally = run_cases(cases, numbers, processes=options.processes)
    if isinstance(cases, faults.Faults):
        tally.findings += faults.enough(tally)
    _tell(tally)
    return 1 if tally.findings else 0


def _tell(tally: Tally) -> None:
    total = tally.counts.pop("cases", 0)
    for what, number in sorted(tally.counts.items()):
        print(f"{number:8} {what}")
    for finding in tally.findings[:_SHOWN]:
        print(f"FOUND {finding}")
    print(f"{total} cases: {len(tally.findings)} findings")


def _run(options: argparse.Namespace) -> int:
    told = os.open(options.told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    load(options.workload).run(options.root, lambda text: _say(told, text), options.run_seed)
    return 0


def _say(told: int, text: bytes) -> None:
    os.write(told, text)


def _operate(options: argparse.Namespace) -> int:
    def acknowledge(text: bytes) -> None:
        print(f"{faults.ACKNOWLEDGED}{text.hex()}", flush=True)

    load(options.workload).operate(options.root, options.operation, acknowledge)
    return 0


if __name__ == "__main__":
    sys.exit(main())
