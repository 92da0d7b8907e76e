"""Runs a directory of interoperability vectors: `python -m keystead.testing.vectors DIR`.

Prints each failing case with the difference, notes on what was left out, and at last
`N passed, N failed`. Ends with 1 when a case failed.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from keystead.testing.comparison import compare_operation, compare_stream
from keystead.testing.primitive_cases import Json
from keystead.testing.stream_cases import Verifier, outcome, pieces_of

# Families whose messages this version does not verify.
LATER_FAMILIES = ("tel", "acdc")
_LATER_TYPES = ("vcp", "vrt", "iss", "rev", "bis", "brv", "acdc")


def main(arguments: list[str] | None = None) -> int:
    """Run the cases that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="a set of vectors, or one family of it")
    parser.add_argument("--family", action="append", help="only this family; may be repeated")
    options = parser.parse_args(arguments)
    tally: Counter[str] = Counter()
    for family in sorted(_families(options.directory)):
        if options.family and family.name not in options.family:
            continue
        _run_family(family, tally)
    for note in sorted(note for note in tally if note not in ("passed", "failed")):
        print(f"note: {tally[note]} {note}")
    if not tally["passed"] + tally["failed"]:
        print(f"no cases found in {options.directory}", file=sys.stderr)
        return 1
    print(f"{tally['passed']} passed, {tally['failed']} failed")
    return 1 if tally["failed"] else 0


def _families(directory: Path) -> Iterator[Path]:
    if (directory / "cases.json").exists():
        yield directory
    else:
        yield from (path.parent for path in directory.glob("*/cases.json"))


def _run_family(family: Path, tally: Counter[str]) -> None:
    loaded = json.loads((family / "cases.json").read_text("utf-8"))
    if loaded["family"] in LATER_FAMILIES:
        tally[f"cases skipped: family {loaded['family']} (comes with credentials)"] += len(
            loaded["cases"]
        )
        return
    clock = datetime.fromisoformat(loaded["generated_with"]["clock"])
    for case in loaded["cases"]:
        differences = run_case(case, family, clock, tally)
        tally["failed" if differences else "passed"] += 1
        if differences:
            print(f"FAILED {case['id']}: {case['title']}")
            for difference in differences:
                print(f"    {difference}")


def run_case(case: Json, directory: Path, clock: datetime, tally: Counter[str]) -> list[str]:
    """Run one case.

    Returns:
        The differences from what is acceptable; none when it passes.
    """
    if case["op"] != "feed":
        return compare_operation(case)
    verifier = Verifier(clock, trust_first_seen=case.get("cloned", False))
    for name in case["feeds"]:
        stream = (directory / name).read_bytes()
        verifier.feed(pieces_of(stream, case.get("chunks")))
    found = outcome(verifier)
    if any(event.get("ilk") in _LATER_TYPES for event in (case["expect"] or {}).get("events", ())):
        tally["cases compared without registry and credential results (they come later)"] += 1
    return compare_stream(case, found, tally)


if __name__ == "__main__":
    sys.exit(main())
