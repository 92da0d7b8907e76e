"""Writes this project's own vectors: `PYTHONPATH=src:tests python tests/vectors/make_own.py [DIR]`.

They have the format of the interoperability vectors (README.md), one fault each, and are named for
the fault. What is expected is derived from the specifications. The same bytes come out each time.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from support.own_vectors import (
    bodies,
    delegation,
    numbers,
    packed,
    signatures,
    streams,
    thresholds,
    witnesses,
)
from support.own_vectors.crafting import Case, Json, expectation

CLOCK = "2025-06-01T12:00:00.000000+00:00"
FAMILIES: dict[str, Callable[[], Iterable[Case]]] = {
    "own-bodies": bodies.cases,
    "own-delegation": delegation.cases,
    "own-numbers": numbers.cases,
    "own-packed": packed.cases,
    "own-signatures": signatures.cases,
    "own-streams": streams.cases,
    "own-thresholds": thresholds.cases,
    "own-witnesses": witnesses.cases,
}
_OWN = Path(__file__).parent / "own"


def write_all(directory: Path) -> None:
    """Write all families below `directory`, in place of what is there."""
    for family, cases in FAMILIES.items():
        shutil.rmtree(directory / family, ignore_errors=True)
        (directory / family).mkdir(parents=True)
        write_family(directory / family, family, list(cases()))


def write_family(directory: Path, family: str, cases: list[Case]) -> None:
    """Write the streams and the `cases.json` of a family."""
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        twice = {name for name in names if names.count(name) > 1}
        raise ValueError(f"more than one case of {family} has a name of {sorted(twice)}")
    loaded = {
        "format": 1,
        "family": family,
        "set": "own",
        "generated_with": {"clock": CLOCK},
        "count": len(cases),
        "cases": [_written(directory, family, case) for case in cases],
    }
    text = json.dumps(loaded, indent=1, ensure_ascii=False)
    (directory / "cases.json").write_text(text + "\n", "utf-8")


def _written(directory: Path, family: str, case: Case) -> Json:
    """Write the streams of a case, and return its entry."""
    streams = [b"".join(frame.raw for frame in frames) for frames in case.feeds]
    if case.whole is not None:
        streams[0] = case.whole
    identity = f"{family}-{case.name}"
    plain = len(streams) == 1
    names = [f"{identity}.cesr" if plain else f"{identity}-{at}.cesr" for at in range(len(streams))]
    for name, stream in zip(names, streams, strict=True):
        (directory / name).write_bytes(stream)
    entry: Json = {
        "id": identity,
        "title": case.title,
        "op": "feed",
        "feeds": names,
        "expect": expectation(case.feeds),
        "normative": True,
    }
    if case.other:
        core = expectation(case.other)
        labels = ("states", "kel", "superseded", "first_seen")
        other = {label: core[label] for label in labels}
        entry["alt"] = [{"policy": "frame-by-frame", "expect": other}]
    return entry


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else _OWN)
