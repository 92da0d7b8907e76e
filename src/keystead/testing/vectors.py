"""Runs a directory of interoperability vectors: `python -m keystead.testing.vectors DIR`.

Prints each failing case with the difference, notes on what was left out, and at last
`N passed, N failed`. Ends with 1 when a case failed or nothing was run.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from keystead.testing import primitive_cases
from keystead.testing.comparison import LATER_TYPES, compare_operation, compare_stream
from keystead.testing.primitive_cases import Json
from keystead.testing.stream_cases import Verifier, outcome, pieces_of

# Families whose messages this version does not verify.
LATER_FAMILIES = ("tel", "acdc")
_FORMAT = 1
_COUNTS = ("passed", "failed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="a set of vectors, or one family of it")
    parser.add_argument("--family", action="append", help="only this family; may be repeated")
    options = parser.parse_args(arguments)
    tally: Counter[str] = Counter()
    unseen = set(options.family or ())
    for directory in sorted(_families(options.directory)):
        loaded = _load(directory)
        names = {directory.name, loaded.get("family", "")}
        if options.family and names.isdisjoint(options.family):
            continue
        unseen -= names
        _run_family(loaded, directory, tally)
    for note in sorted(note for note in tally if note not in _COUNTS):
        print(f"note: {tally[note]} {note}")
    for name in sorted(unseen):
        print(f"no family {name} in {options.directory}", file=sys.stderr)
    if not tally:
        what = "no cases" if options.directory.is_dir() else "no directory"
        print(f"{what} at {options.directory}", file=sys.stderr)
    print(f"{tally['passed']} passed, {tally['failed']} failed")
    return 1 if tally["failed"] or unseen or not tally else 0


def _families(directory: Path) -> Iterator[Path]:
    if (directory / "cases.json").exists():
        yield directory
    else:
        yield from (path.parent for path in directory.glob("*/cases.json"))


def _load(directory: Path) -> Json:
    """Return the content of a `cases.json`; one that cannot be read has `problem` instead."""
    try:
        loaded = json.loads((directory / "cases.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {"problem": f"cases.json cannot be read: {error}"}
    if not isinstance(loaded, dict) or not isinstance(loaded.get("cases"), list):
        return {"problem": "cases.json holds no list of cases"}
    if not all(isinstance(case, dict) for case in loaded["cases"]):
        return {"problem": "cases.json holds cases that are no objects"}
    if not isinstance(loaded.get("family", ""), str):
        return {"problem": "the family is not text"}
    if not isinstance(loaded.get("generated_with", {}), dict):
        return {"problem": "generated_with is no object"}
    if loaded.get("format") != _FORMAT:
        return {"problem": f"format {loaded.get('format')!r}, this runner reads {_FORMAT}"}
    return loaded


def _run_family(loaded: Json, directory: Path, tally: Counter[str]) -> None:
    if "problem" in loaded:
        _fail(directory.name, [loaded["problem"]], tally)
        return
    family, cases = loaded.get("family", directory.name), loaded["cases"]
    if family in LATER_FAMILIES:
        tally[f"cases skipped: family {family} (comes with credentials)"] += len(cases)
        return
    if loaded.get("count", len(cases)) != len(cases):
        _fail(family, [f"{loaded['count']} cases announced, {len(cases)} found"], tally)
    clock = loaded.get("generated_with", {}).get("clock")
    for case in cases:
        if case.get("optional") and not _is_known(case):
            tally[f"optional cases skipped: operation {case.get('op')}"] += 1
            continue
        differences = _run_safely(case, directory, clock, tally)
        if differences:
            _fail(f"{case.get('id')}: {case.get('title')}", differences, tally)
        else:
            tally["passed"] += 1


def _is_known(case: Json) -> bool:
    return case.get("op") == "feed" or case.get("op") in primitive_cases.OPERATIONS


def _fail(what: str, differences: list[str], tally: Counter[str]) -> None:
    tally["failed"] += 1
    print(f"FAILED {what}")
    for difference in differences:
        print(f"    {difference}")


def _run_safely(case: Json, directory: Path, clock: str | None, tally: Counter[str]) -> list[str]:
    """Run one case; what goes wrong while running it is a difference too."""
    try:
        now = None if clock is None else datetime.fromisoformat(clock)
        return run_case(case, directory, now, tally)
    except Exception as error:  # noqa: BLE001 - one broken case must not hide the other results
        return [f"the case could not be run: {type(error).__name__}: {error}"]


def run_case(case: Json, directory: Path, clock: datetime | None, tally: Counter[str]) -> list[str]:
    """Run one case.

    Args:
        case: the case.
        directory: where its streams are.
        clock: what the verifier's clock shows, an aware time; single values need none.
        tally: counts notes on what was left out.

    Returns:
        The differences from what is acceptable; none when it passes.
    """
    if not _is_known(case):
        return [f"an operation that this runner does not know: {case.get('op')}"]
    if case["op"] != "feed":
        return compare_operation(case, tally)
    missing = [name for name in case["feeds"] if not (directory / name).is_file()]
    if missing:
        return [f"no file {name}" for name in missing]
    if clock is None:
        return ["streams need a clock, and generated_with has none"]
    verifier = Verifier(clock, trust_first_seen=case.get("cloned", False))
    for name in case["feeds"]:
        stream = (directory / name).read_bytes()
        verifier.feed(pieces_of(stream, case.get("chunks")))
    found = outcome(verifier)
    if any(event.get("ilk") in LATER_TYPES for event in (case["expect"] or {}).get("events", ())):
        tally["cases compared without registry and credential results (they come later)"] += 1
    return compare_stream(case, found, tally)


if __name__ == "__main__":
    sys.exit(main())
