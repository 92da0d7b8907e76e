"""Writes `flagged.json`: `PYTHONPATH=src:tests python tests/vectors/make_flagged.py`.

It holds what this library makes of each golden case in which the peer departs from the
specification. The runner takes more than one result there, so a test compares with these. Read
the difference before committing it: each line that changes is a change of behaviour.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from keystead.errors import KeysteadError
from keystead.testing import primitive_cases
from keystead.testing.primitive_cases import Json
from keystead.testing.stream_cases import Verifier, outcome, pieces_of
from keystead.testing.vectors import LATER_FAMILIES

_VECTORS = Path(__file__).parent
FLAGGED = _VECTORS / "flagged.json"


def results() -> dict[str, Json]:
    """Return what comes of each flagged case, by the case's name."""
    found = {}
    for path in sorted(_VECTORS.glob("*/cases.json")):
        loaded = json.loads(path.read_text("utf-8"))
        if loaded["family"] in LATER_FAMILIES:
            continue
        for case in loaded["cases"]:
            if "deviation" not in case:
                continue
            if case["op"] == "feed":
                clock = datetime.fromisoformat(loaded["generated_with"]["clock"])
                found[case["id"]] = _fed(case, path.parent, clock)
            else:
                found[case["id"]] = _calculated(case)
    return found


def _fed(case: Json, directory: Path, clock: datetime) -> Json:
    """Feed the streams of a case; return the result in short."""
    verifier = Verifier(clock, trust_first_seen=case.get("cloned", False))
    for name in case["feeds"]:
        verifier.feed(pieces_of((directory / name).read_bytes(), case.get("chunks")))
    found = outcome(verifier)
    heads = {aid: [state["s"], state["d"]] for aid, state in found["states"].items()}
    states = json.dumps(found["states"], sort_keys=True)
    return {
        "heads": heads,
        "states": hashlib.sha256(states.encode()).hexdigest()[:16],
        "accepted": _counted(found["accepted"]),
        "messages": sorted(found["accepted_messages"]),
        "answers": len(found["replies"]),
        "waiting": sorted(entry["kind"] for entry in found["escrows"]),
        "refused": sorted(found["refused"]),
    }


def _counted(saids: Iterable[str]) -> str:
    """Return the number of digests and a digest of them, in any order."""
    listed = sorted(saids)
    return f"{len(listed)} {hashlib.sha256(' '.join(listed).encode()).hexdigest()[:16]}"


def _calculated(case: Json) -> Json:
    try:
        return primitive_cases.run(case["op"], case["input"])
    except KeysteadError as error:
        return {"error": str(error.code)}
    except ValueError:
        return {"error": "ValueError"}


def written(found: dict[str, Json]) -> str:
    """Return results as text, one line for each case."""
    lines = [
        f"{json.dumps(name)}: {json.dumps(found[name], sort_keys=True)}" for name in sorted(found)
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FLAGGED.write_text(written(results()), "utf-8")
