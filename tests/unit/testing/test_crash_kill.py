"""Kills hit a workload at work, and show what it promised too early."""

import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]


def kill(toy: str, *arguments: str) -> tuple[int, str]:
    """Run kills in a process of its own: one that tests, with threads, should not fork."""
    command = [sys.executable, "-m", "keystead.testing.crash", "kill"]
    done = subprocess.run(
        [*command, "--workload", f"support.crash_toy:{toy}", *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_sound_store_survives() -> None:
    """Kills from nothing, from stages and while recovering lose nothing that was promised."""
    code, output = kill("Toy", "-n", "200", "-j", "2")
    assert "200 cases: 0 findings" in output
    assert code == 0
    for what in ("killed", "of all, from nothing", "of these, killed again while recovering"):
        match = re.search(rf"^ *(\d+) {what}$", output, re.MULTILINE)
        assert match, what
        assert int(match[1]) > 0
    for operation in ("row", "mark", "head"):
        assert f"acknowledged: {operation}" in output


def test_a_torn_change_is_found() -> None:
    """A store that overwrites in place is caught in the middle, and the case can be repeated."""
    code, output = kill("InPlaceToy", "-n", "100", "-j", "1")
    assert code == 1
    number = re.search(r"JSONDecodeError.*\n \(.* --seed 1 --only (\d+)\)", output)
    assert number
    code, output = kill("InPlaceToy", "--only", number[1], "-n", "100", "-j", "1")
    assert code == 1
    assert f"--only {number[1]})" in output
    assert "100 cases" in output


def test_a_workload_that_fails_by_itself_is_a_finding() -> None:
    """An exception without a kill is told as one."""
    code, output = kill("FailingToy", "-n", "20", "-j", "1")
    assert code == 1
    assert "ValueError: not from here" in output


def test_a_workload_that_ends_by_itself_is_a_finding() -> None:
    """A process that ends in the middle is told with its exit code."""
    code, output = kill("QuittingToy", "-n", "20", "-j", "1")
    assert code == 1
    assert "the workload ended with 7" in output


def test_a_workload_that_is_wrong_without_a_crash_is_no_test() -> None:
    """When an unharmed folder does not pass the check, or nothing is promised, nothing runs."""
    for toy, word in (("EarlyToy", "without a crash: "), ("IdleToy", "acknowledged nothing")):
        code, output = kill(toy, "-n", "20", "-j", "1")
        assert code == 1
        assert word in output
        assert "cases" not in output
