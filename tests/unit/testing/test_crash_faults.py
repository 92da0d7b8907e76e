"""System calls that fail show what a store does not expect."""

import shutil
from pathlib import Path

import pytest

from keystead.testing.crash import faults
from keystead.testing.crash.__main__ import main
from keystead.testing.crash.workload import Tally

TESTS = Path(__file__).parents[2]

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other processes import the toys."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def run(toy: str, *arguments: str) -> int:
    """Run faults of one toy."""
    workload = f"support.crash_toy:{toy}"
    return main(["faults", "--workload", workload, "-j", "2", *arguments])


@needs_strace
def test_a_sound_store_survives(capsys: pytest.CaptureFixture[str]) -> None:
    """A store that reports errors as its own loses nothing, whatever call fails."""
    code = run("Toy", "--operation", "mark", "--operation", "row", "--every", "6")
    output = capsys.readouterr().out
    assert " 0 findings" in output
    assert code == 0
    assert "missed" not in output
    for ending in ("EIO, refused", "ENOSPC, refused", "KILL, killed"):
        assert ending in output


@needs_strace
@pytest.mark.parametrize(
    ("toy", "word"),
    [
        ("CarelessToy", "row is 2, and 3 was acknowledged"),
        ("LoudToy", "it ended with a traceback"),
        ("SilentToy", "told no error"),
        ("OddToy", "it ended with 99"),
    ],
)
def test_flaws_are_found(toy: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors that are swallowed or shown as they are, and odd ways to end, are found."""
    assert run(toy, "--operation", "row", "--every", "6") == 1
    assert word in capsys.readouterr().out


@needs_strace
def test_each_call_under_the_root_is_a_case(tmp_path: Path) -> None:
    """Each call that writes is hit by each fault, in the order of the calls."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys; root = sys.argv[1]; os.mkdir(f'{root}/new'); one = f'{root}/new/one'\n"
        "file = open(one, 'w'); file.write('text'); file.flush(); os.fsync(file.fileno())\n"
        "open(one).read(); os.rename(one, f'{root}/two'); os.unlink(f'{root}/two'); print('done')\n"
    )
    base = tmp_path / "base"
    base.mkdir()
    command = f"python3 {script} {{root}} {{operation}}"
    cases = faults.prepare("support.crash_toy:Toy", base, operations=["mark"], command=command)
    names = [(one.call.removesuffix("at"), one.target, one.fault) for one in cases.faults]
    calls = [
        ("mkdir", "new"), ("open", "new/one"), ("write", "new/one"), ("fsync", "new/one"),
        ("rename", "two"), ("unlink", "two"),
    ]  # fmt: skip
    assert names == [(*call, fault) for call in calls for fault in faults.FAULTS]


# Renames a file under the root, and after the recording for some runs another one before.
_SHIFTING = """
import os, sys
root, runs, shifted = sys.argv[1], sys.argv[0] + ".runs", int(sys.argv[2])
with open(runs, "a") as file:
    file.write(".")
if 1 < os.path.getsize(runs) <= 1 + shifted:
    os.rename(runs, runs)
try:
    os.rename(root + "/rows.db", root + "/rows.db")
except OSError as error:
    sys.exit(f"error: {error}")
"""


@needs_strace
@pytest.mark.parametrize(("shifted", "missed"), [(2, 0), (3, 1)])
def test_a_fault_that_hits_nothing_is_tried_again(
    tmp_path: Path, shifted: int, missed: int
) -> None:
    """A fault is missed, and what came of it told, only when it hits nothing again and again."""
    script, base = tmp_path / "script.py", tmp_path / "base"
    script.write_text(_SHIFTING)
    base.mkdir()
    command = f"python3 {script} {{root}} {shifted}"
    cases = faults.prepare("support.crash_toy:Toy", base, operations=["mark"], command=command)
    (number,) = (at for at, one in enumerate(cases.faults) if one.fault == "EIO")
    tally = Tally()
    cases.run(number, tmp_path / "place", tally)
    assert (tally.counts["missed"], tally.counts["mark: EIO, refused"]) == (missed, 1)
    assert ["Traceback" in one for one in tally.findings] == [True] * missed


def test_faults_that_hit_nothing_are_told() -> None:
    """When calls are not the same each time, a run without findings means nothing."""
    tally = Tally()
    tally.counts.update(cases=100, missed=5)
    assert faults.enough(tally) == []
    tally.counts["missed"] = 6
    assert len(faults.enough(tally)) == 1
