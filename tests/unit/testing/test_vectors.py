"""The runner of vectors: it passes what it should, and can fail."""

import filecmp
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keystead.cesr.stream import Message
from keystead.keri.verdicts import Pending, Rejected, Waits
from keystead.node.ingest import EventProcessor
from keystead.stores.memory import MemoryStore
from keystead.testing import vectors
from keystead.testing.comparison import compare_operation, compare_stream
from keystead.testing.stream_cases import pieces_of
from vectors import make_flagged, make_own

Json = dict[str, Any]

VECTORS = Path(__file__).parents[2] / "vectors"
OWN = VECTORS / "own"
GOLDEN = 1476
# Reason class of a case -> the error codes and missing things that show it.
SIGNS = {
    "bad-attachment-group": {
        "decode.group", "decode.unknown_code", "decode.truncated", "decode.limit",
        "decode.encoding", "decode.cold_start", "decode.version_string", "verify.unsigned",
    },
    "bad-fields": {"decode.fields"},
    "bad-number": {"decode.value"},
    "bad-signature": {"verify.signature"},
    "bad-threshold": {"verify.threshold"},
    "bad-value": {"decode.value", "decode.limit"},
    "bad-version-string": {"decode.version_string"},
    "bad-witness-config": {"verify.witnesses", "decode.value"},
    "cold-start": {
        "decode.cold_start", "decode.version_string", "decode.unknown_code", "decode.body",
        "decode.unsupported_version",
    },
    "deserialize-error": {"decode.body"},
    "do-not-delegate": {"verify.do_not_delegate"},
    "insufficient-signatures": {"SIGNATURES"},
    "malformed": {"decode.limit"},
    "missing-delegation-approval": {"APPROVAL", "EVENT", "verify.delegation"},
    "missing-signatures": {"verify.unsigned"},
    "missing-witness-receipts": {"RECEIPTS"},
    "next-threshold-unsatisfied": {"NEXT_KEYS"},
    "non-canonical-serialization": {"decode.not_canonical"},
    "non-delegated-rotation-of-delegated": {"verify.delegation"},
    "signature-index-out-of-range": {"verify.signature"},
    "truncated": {"decode.truncated"},
}  # fmt: skip


def load(directory: Path) -> Json:
    """Return what a `cases.json` holds."""
    loaded: Json = json.loads((directory / "cases.json").read_text("utf-8"))
    return loaded


def own_cases() -> Iterator[tuple[Path, Json]]:
    """Give the cases of this project with their directories."""
    for path in sorted(OWN.glob("*/cases.json")):
        for case in load(path.parent)["cases"]:
            yield path.parent, case


def write_set(directory: Path, *cases: Json, **head: object) -> Path:
    """Write a set of one family with these cases."""
    family = directory / "some"
    family.mkdir(exist_ok=True)
    loaded: Json = {
        "format": 1, "family": "some", "generated_with": {"clock": "2025-06-01T12:00:00+00:00"},
        "count": len(cases), "cases": list(cases),
    } | head  # fmt: skip
    (family / "cases.json").write_text(json.dumps(loaded), "utf-8")
    return directory


def a_case(directory: Path) -> Json:
    """Return a good stream case, its stream copied."""
    (directory / "some").mkdir()
    case: Json = load(OWN / "own-numbers")["cases"][0]
    for name in case["feeds"]:
        shutil.copy(OWN / "own-numbers" / name, directory / "some" / name)
    return case


def test_golden_vectors_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """All cases that an independent implementation has decided give its results."""
    assert vectors.main([str(VECTORS)]) == 0
    passed, failed = capsys.readouterr().out.splitlines()[-1].split(", ")
    assert failed == "0 failed"
    assert int(passed.removesuffix(" passed")) >= GOLDEN


def test_own_vectors_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """All cases of this project pass, and all of them are run."""
    assert vectors.main([str(OWN)]) == 0
    total = sum(1 for _ in own_cases())
    assert capsys.readouterr().out.splitlines()[-1] == f"{total} passed, 0 failed"


def test_own_vectors_are_current(tmp_path: Path) -> None:
    """Making the vectors of this project again gives the same files with the same bytes."""
    make_own.write_all(tmp_path)
    for family in make_own.FAMILIES:
        here, there = OWN / family, tmp_path / family
        names = sorted(path.name for path in there.iterdir())
        assert sorted(path.name for path in here.iterdir()) == names
        assert filecmp.cmpfiles(here, there, names, shallow=False) == (names, [], [])


@pytest.mark.parametrize(
    ("directory", "case"), list(own_cases()), ids=[case["id"] for _, case in own_cases()]
)
def test_own_vectors_show_their_fault(directory: Path, case: Json) -> None:
    """What is refused or held is so for the fault that the case names, and for no other."""
    signs = set[str]()
    processor = EventProcessor(MemoryStore())
    for name in case["feeds"]:
        reader = processor.reader()
        reader.feed((directory / name).read_bytes())
        reader.close()
        for item in reader:
            if not isinstance(item, Message):
                signs.add(item.error.code)
                continue
            for result in processor.process(item, now=datetime(2025, 6, 1, 12, tzinfo=UTC)):
                match result.verdict:
                    case Rejected(error):
                        signs.add(error.code)
                    case Pending(missing) | Waits(missing):
                        signs |= {one.want.name for one in missing}
                    case _:
                        pass
    reasons = {event["reason"] for event in case["expect"]["events"] if "reason" in event}
    for reason in reasons:
        assert signs & SIGNS[reason]
    # An event that is accepted in the end may have waited for receipts.
    possible = {"RECEIPTS"}.union(*(SIGNS[reason] for reason in reasons))
    assert signs <= possible


def test_own_vectors_keep_a_good_event() -> None:
    """Every case expects at least one event to be accepted, whatever is wrong besides."""
    for _, case in own_cases():
        assert case["expect"]["kel"]


@pytest.mark.parametrize(
    "change",
    [
        lambda expect: expect["states"].clear(),
        lambda expect: next(iter(expect["states"].values())).update(s="5"),
        lambda expect: next(iter(expect["states"].values())).update(kt="2"),
        lambda expect: next(iter(expect["kel"].values())).append("E" + "A" * 43),
        lambda expect: expect["events"][0].update(final="accepted"),
        lambda expect: expect["escrows"].append(
            {"kind": "out-of-order", "aid": "E", "sn": "1", "said": "E"}
        ),
        lambda expect: expect.update(first_seen={"E": ["E"]}),
        lambda expect: expect.update(superseded={"E": [["0", "E"]]}),
        lambda expect: expect.update(exchanges=["E"]),
        lambda expect: expect.update(replies=[{"kin": "replay"}]),
        lambda expect: expect.update(ends=[{"cid": "E"}]),
        lambda expect: expect.update(receipts={"E": {"sigs": [0], "wigs": []}}),
        lambda expect: expect.update(first_seen_datetimes={"E": "2025"}),
    ],
)
def test_changed_expectation_fails(
    change: Callable[[Json], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case that expects something else fails, and the difference is printed."""
    case = a_case(tmp_path)
    change(case["expect"])
    assert vectors.main([str(write_set(tmp_path, case))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"FAILED {case['id']}: {case['title']}"
    assert "expected" in lines[1]
    assert lines[-1] == "0 passed, 1 failed"


def test_flagged_cases_give_what_they_gave() -> None:
    """Where the runner takes more than one result, ours is the one that is written down."""
    known = json.loads(make_flagged.FLAGGED.read_text("utf-8"))
    found = json.loads(make_flagged.written(make_flagged.results()))
    assert found.keys() == known.keys()
    assert {name for name in found if found[name] != known[name]} == set()


def test_cases_with_a_result_of_our_own_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The page on deviations tells how many cases gave neither of two results."""
    vectors.main([str(VECTORS)])
    notes = re.findall(r"note: (\d+) flagged cases, .*: neither", capsys.readouterr().out)
    page = (VECTORS.parents[1] / "docs" / "deviations.md").read_text("utf-8")
    told = re.search(r"neither the peer's result nor the specified\s+one: (\d+) at present", page)
    assert told is not None
    assert int(told[1]) == sum(map(int, notes))


def test_changed_operation_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case about a single value that expects another one fails."""
    case = {
        "id": "n", "title": "a number", "op": "number", "normative": True,
        "input": {"number": "1"}, "expect": {"qb64": "MAAC"},
    }  # fmt: skip
    assert vectors.main([str(write_set(tmp_path, case))]) == 1
    assert "    qb64: expected 'MAAC', found 'MAAB'" in capsys.readouterr().out


def test_empty_directory_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to run is no success."""
    assert vectors.main([str(tmp_path)]) == 1
    assert "no cases" in capsys.readouterr().err
    assert vectors.main([str(tmp_path / "missing")]) == 1
    captured = capsys.readouterr()
    assert "no directory" in captured.err
    assert captured.out.splitlines()[-1] == "0 passed, 0 failed"


@pytest.mark.parametrize(
    "text",
    [
        '{"format":1,"cases":[1]}',
        '{"format":1,"family":["x"],"cases":[]}',
        '{"format":1,"generated_with":[],"cases":[]}',
        "[" * 100_000,
    ],
)
def test_a_malformed_set_fails_and_hides_no_other(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A family that cannot be read is a failure; the others are run."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cases.json").write_text(text)
    shutil.copytree(VECTORS / "kel-multisig", tmp_path / "kel-multisig")
    assert vectors.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "100 passed, 1 failed"


def test_one_family(capsys: pytest.CaptureFixture[str]) -> None:
    """A family can be chosen by name, and may be given as the directory itself."""
    assert vectors.main([str(VECTORS), "--family", "kel-multisig"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "100 passed, 0 failed"
    assert vectors.main([str(VECTORS / "kel-multisig")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "100 passed, 0 failed"
    two = [str(VECTORS), "--family", "kel-multisig", "--family", "kel-recovery"]
    assert vectors.main(two) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "170 passed, 0 failed"


def test_absent_family_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no family has is reported, also beside one that there is."""
    assert vectors.main([str(VECTORS), "--family", "nothing"]) == 1
    assert "no family nothing" in capsys.readouterr().err
    assert vectors.main([str(VECTORS), "--family", "nothing", "--family", "kel-recovery"]) == 1


@pytest.mark.parametrize("name", vectors.LATER_FAMILIES)
def test_later_families_are_skipped_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Registries and credentials are named as skipped, and do not count as passed."""
    case: Json = {
        "id": "x",
        "title": "x",
        "op": "feed",
        "feeds": [],
        "expect": None,
        "normative": True,
    }
    assert vectors.main([str(write_set(tmp_path, case, family=name))]) == 0
    captured = capsys.readouterr()
    assert f"1 cases skipped: family {name}" in captured.out
    assert captured.out.splitlines()[-1] == "0 passed, 0 failed"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"op": "dance", "input": {}}, "does not know: dance"),
        ({"op": "acdc-v2-most-compact", "input": {}}, "does not know: acdc-v2-most-compact"),
        ({"op": "feed", "feeds": ["missing.cesr"]}, "no file missing.cesr"),
        ({"op": "feed"}, "could not be run: KeyError"),
        ({"op": "matter", "input": {}}, "could not be run: KeyError"),
        ({"op": "digest", "input": {"code": "Z", "ser": ""}}, "could not be run: KeyError"),
        ({}, "does not know: None"),
    ],
)
def test_unknown_is_reported(
    case: Json, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case that cannot be run fails with the reason; the other cases are run."""
    broken = {"id": "x", "title": "x", "expect": {}, "normative": True} | case
    assert vectors.main([str(write_set(tmp_path, broken, a_case(tmp_path)))]) == 1
    out = capsys.readouterr().out
    assert message in out
    assert out.splitlines()[-1] == "1 passed, 1 failed"


def test_unknown_optional_operation_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An optional case with an operation of a later version is named and left out."""
    later: Json = {
        "id": "x", "title": "x", "op": "acdc-v2-most-compact", "input": {}, "expect": {},
        "normative": False, "optional": True,
    }  # fmt: skip
    assert vectors.main([str(write_set(tmp_path, later, a_case(tmp_path)))]) == 0
    out = capsys.readouterr().out
    assert "1 optional cases skipped: operation acdc-v2-most-compact" in out
    assert out.splitlines()[-1] == "1 passed, 0 failed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no list of cases"),
        ('{"format": 1}', "no list of cases"),
        ('{"format": 2, "cases": []}', "format 2"),
        ('{"format": 1, "count": 3, "cases": []}', "3 cases announced, 0 found"),
    ],
)
def test_broken_family_is_reported(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `cases.json` that cannot be used fails; nothing is passed over."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "cases.json").write_text(text, "utf-8")
    assert vectors.main([str(tmp_path)]) == 1
    assert message in capsys.readouterr().out


def test_clock_is_needed_for_streams_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A family of single values may have no clock; a stream without one fails."""
    number = {
        "id": "n", "title": "a number", "op": "number", "normative": True,
        "input": {"number": "1"}, "expect": {"qb64": "MAAB"},
    }  # fmt: skip
    case = a_case(tmp_path)
    assert vectors.main([str(write_set(tmp_path, number, generated_with={}))]) == 0
    assert vectors.main([str(write_set(tmp_path, case, generated_with={}))]) == 1
    assert "streams need a clock" in capsys.readouterr().out


def test_null_expectation_passes_when_it_ends(tmp_path: Path) -> None:
    """Where the reference gave no result, the only requirement is that reading ends."""
    case = a_case(tmp_path) | {"expect": None, "must_terminate": True, "peer_gives_no_result": True}
    operation = {
        "id": "n", "title": "n", "op": "number", "input": {"number": "1"}, "expect": None,
        "normative": True,
    }  # fmt: skip
    assert vectors.main([str(write_set(tmp_path, case, operation))]) == 0


KEY = "DDTEYCRSFNohcHychoR26Yyz-uZ3-4fWZONq_l2gqD30"
KEY_BYTES = "0c34c460245214da21707c9c868476e98cb3fae677fb87d664e36afe5da0a83df4"


@pytest.mark.parametrize(
    ("op", "given", "expect"),
    [
        ("matter-exact-invalid", {"qb64": KEY}, {"accepted": True, "qb64": KEY}),
        ("matter-exact-invalid", {"qb64": KEY + "A"}, {"accepted": False}),
        ("matter-exact-invalid", {"qb2": KEY_BYTES}, {"accepted": True, "qb64": KEY}),
        ("matter-exact-invalid", {"qb2": KEY_BYTES + "00"}, {"accepted": False}),
        ("matter-exact-invalid", {"qb2": KEY_BYTES[:-2]}, {"reason": "truncated"}),
        ("matter-invalid", {"qb2": KEY_BYTES + "00"}, {"accepted": True, "qb64": KEY}),
        ("counter-invalid", {"qb2": "f80001"}, {"accepted": True, "qb64": "-AAB"}),
        ("counter-invalid", {"qb2": "fb3001"}, {"accepted": False, "reason": "unknown-code"}),
        ("counter-invalid", {"qb2": "f800"}, {"accepted": False, "reason": "truncated"}),
        ("verify", {"verkey": KEY[:-1], "ser": "", "sig": "00" * 64}, {"valid": False}),
        ("verify", {"verkey": KEY, "ser": "", "sig": "00"}, {"valid": False}),
        ("threshold", {"sith": "3", "indices": [0, 1], "keys": 2}, {"satisfied": False}),
        ("threshold", {"sith": "1", "indices": [5], "keys": 9}, {"satisfied": True, "size": 1}),
        ("threshold", {"sith": 3, "indices": [], "keys": 3}, {"accepted": False}),
        ("number", {"number": str(2**136)}, {"accepted": False}),
    ],
)
def test_operations_of_other_sets(op: str, given: Json, expect: Json) -> None:
    """Inputs that the format allows, and that the golden set does not have, are run."""
    case = {"op": op, "input": given, "expect": expect, "normative": True}
    assert compare_operation(case, Counter()) == []


@pytest.mark.parametrize(
    ("spec", "fits"), [("rejected", True), ("accepted", False), ("unspecified", True), (None, True)]
)
def test_flagged_operations(spec: str | None, fits: bool) -> None:  # noqa: FBT001 - the expected result
    """A flagged operation must give the expected result or the specified one, if there is one."""
    deviation = {"id": "D-X"} | ({} if spec is None else {"spec_expect": spec})
    case = {
        "op": "matter-invalid", "input": {"qb64": "+"}, "expect": {"accepted": True},
        "normative": False, "deviation": deviation,
    }  # fmt: skip
    assert (compare_operation(case, Counter()) == []) is fits


def test_pieces() -> None:
    """A stream is cut as the case says; what is left is the last piece."""
    assert pieces_of(b"abcdef", None) == [b"abcdef"]
    assert pieces_of(b"abcdef", {"size": 4}) == [b"abcd", b"ef"]
    assert pieces_of(b"abcdef", [1, 2]) == [b"a", b"bc", b"def"]
    assert pieces_of(b"abcdef", [4, 4]) == [b"abcd", b"ef", b""]


def result(*events: str, sn: int | None = None) -> Json:
    """Return the core of a result in which one log holds these events."""
    if not events:
        return {"states": {}, "kel": {}, "superseded": {}, "first_seen": {}}
    number = len(events) - 1 if sn is None else sn
    return {
        "states": {"E": {"s": f"{number:x}"}}, "kel": {"E": list(events)},
        "superseded": {}, "first_seen": {},
    }  # fmt: skip


def found(*events: str, lost: tuple[str, ...] = ()) -> Json:
    """Return what a verifier holds when one log holds these events."""
    empty: Json = {
        "accepted": {*events, *lost}, "accepted_messages": set(), "receipts": {},
        "interactions": set(), "first_seen_datetimes": {}, "ends": [], "locs": [], "watched": [],
        "key_state_notices": [], "exchanges": [], "replies": [], "escrows": [], "refused": set(),
    }  # fmt: skip
    if lost:
        return empty | result(*events) | {"superseded": {"E": [["0", one] for one in lost]}}
    return empty | result(*events)


@pytest.mark.parametrize(
    ("ours", "fits"),
    [
        (found("a"), True),  # one result
        (found("a", "b", "c"), True),  # the other
        (found("a", "b"), True),  # between them
        (found(), False),  # less than any
        (found("a", "x"), False),  # what no result has
        (found("a", "b", "c", "d"), False),  # more than any
        (found("a", "b", lost=("x",)), False),  # an event was accepted that none accepts
    ],
)
def test_alternatives(ours: Json, fits: bool) -> None:  # noqa: FBT001 - the expected result
    """With alternatives, any of them will do, or a state between them, and nothing else."""
    expect = {"events": [], "escrows": [], **result("a")}
    other = {"policy": "frame-by-frame", "expect": result("a", "b", "c")}
    case: Json = {"expect": expect, "alt": [other], "normative": True}
    assert (compare_stream(case, ours, Counter()) == []) is fits


@pytest.mark.parametrize(
    ("spec", "accepted", "fits"),
    [
        ("rejected", (), True),
        ("rejected", ("x",), False),
        ("accepted (extra ignored)", ("a", "b"), True),
        ("accepted", (), False),
        ("message accepted", ("a", "b"), True),
        ("message accepted", (), False),
        ("event accepted", (), False),
        ("the message accepted", (), True),
        ("acceptedly", (), True),
        ("escrowed (insufficient)", (), True),
        ("unspecified", (), True),
        ("unspecified", ("x",), True),
        (None, (), True),
    ],
)
def test_flagged_cases(
    spec: str | None,
    accepted: tuple[str, ...],
    fits: bool,  # noqa: FBT001 - the expected result
) -> None:
    """Where the peer departs from the specification, its result or the specified one will do."""
    events = [{"said": "a", "ilk": "icp", "final": "dropped"}, {"said": "b", "ilk": "ixn"}]
    deviation = {"id": "D-X", "spec": "", "note": ""} | (
        {} if spec is None else {"spec_expect": spec}
    )
    expect = {"events": events, "escrows": [], **result("q")}
    case = {"expect": expect, "normative": False, "deviation": deviation}
    if accepted == ("x",):
        accepted = ("a", "b")
    assert (compare_stream(case, found(*accepted), Counter()) == []) is fits


def test_flagged_case_with_a_specified_result() -> None:
    """A result that the case gives for the specification is compared as such."""
    deviation = {"id": "D-X", "spec_expect": "accepted", "spec_expect_result": result("a", "b")}
    expect = {"events": [], "escrows": [], **result("a")}
    case = {"expect": expect, "normative": False, "deviation": deviation}
    assert compare_stream(case, found("a", "b"), Counter()) == []
    assert compare_stream(case, found("a"), Counter()) == []
    assert compare_stream(case, found("a", "c"), Counter()) != []


def test_optional_case_without_deviation() -> None:
    """A case that is neither normative nor flagged passes, with a note."""
    expect = {"events": [], "escrows": [], **result("a")}
    tally: Counter[str] = Counter()
    assert compare_stream({"expect": expect, "normative": False}, found("b"), tally) == []
    assert list(tally) == [
        "flagged cases, optional or test code: neither expected nor specified result"
    ]


def test_thresholds_that_this_library_refuses_compare() -> None:
    """An expected threshold that this library would refuse is a difference, not a crash."""
    wanted = result("a")
    wanted["states"]["E"] |= {"kt": 3, "nt": "0", "n": ["x"]}
    ours = found("a")
    ours["states"]["E"] |= {"kt": "3", "nt": ["1/2", "1/2"], "n": ["x", "y"], "k": []}
    case = {"expect": {"events": [], "escrows": [], **wanted}, "normative": True}
    differences = compare_stream(case, ours, Counter())
    assert [line.partition(" ")[0] for line in differences] == ["kt", "nt", "n"]
