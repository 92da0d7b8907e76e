"""Compares what a verifier gives with what a vector case expects.

Strict where a case is normative. A flagged case, in which the peer departs from the specification,
passes with the peer's result. With another one it must show what the specification says, where the
case tells that in definite words; where it does not, any result passes, with a note when it is
neither the peer's nor the specified one.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from keystead.errors import KeysteadError
from keystead.keri import thresholds
from keystead.testing import primitive_cases
from keystead.testing.primitive_cases import Json

# Messages that this version does not verify.
LATER_TYPES = ("vcp", "vrt", "iss", "rev", "bis", "brv", "acdc")
_LATER_ESCROWS = ("tel-", "credential-")
_ACCEPTED = ("accepted", "accepted-in-other-copy")
_RECORDS = ("ends", "locs", "watched", "key_state_notices")
# How a flagged case begins that tells what must happen: "rejected (why)", "message accepted".
_DEFINITE = re.compile(r"(?:(?:event|message) )?(accepted|rejected|escrowed)\b")


def compare_operation(case: Json, tally: Counter[str]) -> list[str]:
    """Run and compare a case about single values; return the differences."""
    expect = case["expect"]
    try:
        found = primitive_cases.run(case["op"], case["input"])
    except (KeysteadError, ValueError) as error:
        found = {"accepted": False, "error": str(error)}
    differences = [
        f"{label}: expected {value!r}, found {_shown(found, label)}"
        for label, value in (expect or {}).items()
        if found.get(label) != value
    ]
    if not differences or case["normative"]:
        return differences
    wanted = _specified(case)
    if wanted is not None:
        if found.get("accepted", True) is (wanted == "accepted"):
            return []
        return [f"the specification says: {wanted}", *differences]
    tally[_neither(case)] += 1
    return []


def _shown(found: Json, label: str) -> str:
    return repr(found[label] if label in found else found.get("error"))


def compare_stream(case: Json, found: Json, tally: Counter[str]) -> list[str]:
    """Compare the outcome of streams; return the differences."""
    expect = case["expect"]
    if expect is None:  # it only has to end
        return []
    differences = _compare(expect, found)
    if not differences:
        return []
    if "alt" in case and _within([expect, *(other["expect"] for other in case["alt"])], found):
        return []
    return differences if case["normative"] else _compare_flagged(case, found, differences, tally)


def _compare_flagged(
    case: Json, found: Json, differences: list[str], tally: Counter[str]
) -> list[str]:
    """Compare with what the specification says, where the case tells it."""
    expect, wanted = case["expect"], _specified(case)
    result = case.get("deviation", {}).get("spec_expect_result")
    if wanted is not None:
        if result is not None:
            return _compare_core(result, found)
        if _all_accepted(expect, found) is (wanted == "accepted"):
            return []
        return [f"the specification says: {wanted}", *differences]
    if result is not None and not _compare_core(result, found):
        return []
    tally[_neither(case)] += 1
    return []


def _neither(case: Json) -> str:
    """Return the note on a flagged case with another result, which nothing says is wrong."""
    why = case["deviation"]["id"] if "deviation" in case else "optional or test code"
    return f"flagged cases, {why}: neither expected nor specified result"


def _specified(case: Json) -> str | None:
    """Return what must happen by the specification, None where a flagged case is not definite."""
    definite = _DEFINITE.match(str(case.get("deviation", {}).get("spec_expect")))
    return None if definite is None else definite[1]


def _compare(expect: Json, found: Json) -> list[str]:
    return [
        *_compare_core(expect, found),
        *_compare_finals(expect, found),
        *_compare_receipts(expect, found),
        *_compare_records(expect, found),
        *_compare_waiting(expect, found),
    ]


def _compare_core(expect: Json, found: Json) -> list[str]:
    """Compare states, trunks, superseded events and first-seen order."""
    differences = []
    for aid in sorted(expect["states"].keys() | found["states"].keys()):
        wanted, state = expect["states"].get(aid), found["states"].get(aid)
        if wanted is None or state is None:
            differences.append(f"state of {aid}: expected {wanted}, found {state}")
            continue
        for label, value in wanted.items():
            if not _same_field(label, value, state.get(label)):
                ours = state.get(label)
                differences.append(f"{label} of {aid}: expected {value!r}, found {ours!r}")
    trunks, superseded = _split_trunks(expect)
    lost = {aid: sorted(entries) for aid, entries in found["superseded"].items()}
    differences += _compare_maps("kel", trunks, found["kel"])
    differences += _compare_maps("superseded", superseded, lost)
    return differences + _compare_maps(
        "first_seen", expect.get("first_seen", {}), found["first_seen"]
    )


def _split_trunks(expect: Json) -> tuple[Json, Json]:
    """Return the trunks, and the superseded events sorted.

    keri lists the last event that it accepted at each place. Behind the end of the trunk these
    are events of a superseded branch.
    """
    trunks = {}
    superseded = {aid: list(lost) for aid, lost in expect.get("superseded", {}).items()}
    for aid, listed in expect["kel"].items():
        length = int(expect["states"][aid]["s"], 16) + 1 if aid in expect["states"] else len(listed)
        trunks[aid] = listed[:length]
        for sn, said in enumerate(listed[length:], length):
            superseded.setdefault(aid, []).append([f"{sn:x}", said])
    return trunks, {aid: sorted(lost) for aid, lost in superseded.items()}


def _same_field(label: str, wanted: Any, ours: Any) -> bool:  # noqa: ANN401 - parsed JSON
    if label in ("kt", "nt"):
        return bool(_threshold_value(wanted) == _threshold_value(ours))
    if label == "c":
        # keri reports only these two, in an order of its own.
        return set(wanted) & {"EO", "DND"} == set(ours) & {"EO", "DND"}
    return bool(wanted == ours)


def _threshold_value(field: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """Return a threshold by value: 2/4 is 1/2, one clause needs no list around it."""
    try:
        parsed = thresholds.parse(field, primitive_cases.places(field))
    except (KeysteadError, ValueError):
        return field  # what this library refuses equals only itself
    return parsed.demand


def _compare_maps(label: str, wanted: Json, ours: Json) -> list[str]:
    return [
        f"{label} of {key}: expected {wanted.get(key)}, found {ours.get(key)}"
        for key in sorted(wanted.keys() | ours.keys())
        if wanted.get(key) != ours.get(key)
    ]


def _compare_finals(expect: Json, found: Json) -> list[str]:
    """Compare which events and messages were accepted, by digest."""
    ours = found["accepted"] | found["accepted_messages"]
    entries = [entry for entry in _judged(expect) if "said" in entry]
    accepted = {entry["said"] for entry in entries if entry["final"] in _ACCEPTED}
    differences = [
        f"{entry.get('ilk')} {entry['said']}: expected {entry['final']}, found "
        + ("accepted" if entry["said"] in ours else "not accepted")
        for entry in entries
        if (entry["said"] in accepted) is not (entry["said"] in ours)
    ]
    return list(dict.fromkeys(differences))


def _judged(expect: Json) -> Iterable[Json]:
    for entry in expect.get("events", ()):
        if "final" in entry and entry.get("ilk") not in LATER_TYPES:
            yield entry


def _all_accepted(expect: Json, found: Json) -> bool:
    """Tell whether every event of a flagged case was accepted.

    An event that lacks nothing but receipts counts: the case attaches those that the peer's
    reading of the witness list asks for.
    """
    ours = found["accepted"] | found["accepted_messages"]
    ours |= {entry["said"] for entry in found["escrows"] if entry["kind"] == "partial-witness"}
    return all(entry.get("said") in ours for entry in expect["events"])


def _compare_receipts(expect: Json, found: Json) -> list[str]:
    differences = []
    for said, wanted in expect.get("receipts", {}).items():
        ours = found["receipts"].get(said)
        normal = {label: sorted(entries) for label, entries in wanted.items()}
        normal["sigs"] = sorted(set(wanted["sigs"]))
        if ours != normal:
            differences.append(f"receipts of {said}: expected {normal}, found {ours}")
    for said, wanted in expect.get("first_seen_datetimes", {}).items():
        # keri takes over the time of a replay for establishment events only.
        if said not in found["interactions"] and wanted != found["first_seen_datetimes"].get(said):
            ours = found["first_seen_datetimes"].get(said)
            differences.append(f"first seen of {said}: expected {wanted}, found {ours}")
    return differences


def _compare_records(expect: Json, found: Json) -> list[str]:
    differences = []
    for label in _RECORDS:
        if label in expect:
            wanted, ours = _normal(expect[label]), _normal(found[label])
            if wanted != ours:
                differences.append(f"{label}: expected {wanted}, found {ours}")
    exchanges: Any = expect.get("exchanges", found["exchanges"])
    if sorted(exchanges) != found["exchanges"]:
        differences.append(f"exchanges: expected {exchanges}, found {found['exchanges']}")
    wanted_answers = expect.get("replies", found["replies"])
    if wanted_answers != found["replies"]:
        differences.append(f"answers: expected {wanted_answers}, found {found['replies']}")
    return differences


def _normal(entries: Iterable[Json]) -> list[list[tuple[str, Any]]]:
    return sorted(sorted(entry.items()) for entry in entries)


def _compare_waiting(expect: Json, found: Json) -> list[str]:
    """Compare what waits, and for what.

    Differences that are none:
      * keri keeps entries for copies of accepted events, which wait for nothing.
      * keri does not verify what it calls likely duplicitous, nor exchanges without a single good
        signature; here these are rejected.
      * Of two faults of one event keri may name the other: it compares a superseding delegated
        rotation with the wrong next keys.
      * Where keri drops the rest of a stream, this reader goes on and may hold more.
    """
    wanted = [
        entry for entry in expect.get("escrows", ()) if not entry["kind"].startswith(_LATER_ESCROWS)
    ]
    ours = found["escrows"]
    settled = found["accepted"] | found["refused"]
    held = {entry["said"] for entry in ours}
    differences = [
        f"waiting: expected {entry}"
        for entry in wanted
        if entry not in ours
        and entry["said"] not in settled
        and not (_is_event(entry) and entry["said"] in held)
    ]
    expected = {entry["said"] for entry in wanted}
    if any("flush" in entry for entry in expect.get("events", ())):
        return differences
    return differences + [
        f"waiting: found {entry}"
        for entry in ours
        if entry not in wanted and not (_is_event(entry) and entry["said"] in expected)
    ]


def _is_event(entry: Json) -> bool:
    return entry["kind"] in ("partial-signatures", "missing-delegation", "likely-duplicitous")


def _within(results: list[Json], found: Json) -> bool:
    """Tell whether the outcome equals one of several, or lies between them.

    Between: each trunk is a prefix of one that a result lists, and not shorter than the
    shortest of them; and nothing was accepted that no result accepts.
    """
    if any(not _compare_core(result, found) for result in results):
        return True
    trunks = [_split_trunks(result)[0] for result in results]
    for aid in set(found["kel"]).union(*trunks):
        ours = found["kel"].get(aid, [])
        listed = [trunk.get(aid, []) for trunk in trunks]
        fits = any(trunk[: len(ours)] == ours for trunk in listed)
        if not fits or len(ours) < min(map(len, listed)):
            return False
    accepted: set[str] = found["accepted"]
    return accepted <= set().union(*map(_accepted_events, results))


def _accepted_events(result: Json) -> set[str]:
    """Return the events that a result accepts, superseded ones included."""
    trunks, superseded = _split_trunks(result)
    events = {said for trunk in trunks.values() for said in trunk}
    return events | {said for lost in superseded.values() for _, said in lost}
