"""The witness as a workload of crashes, and careless ones that it finds out."""

import os
import subprocess
import sys
from pathlib import Path

from keystead.testing.crash.witness import WitnessWorkload, told_by

TESTS = Path(__file__).parents[2]


def crash(*arguments: str) -> tuple[int, str]:
    """Run crashes in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "keystead.testing.crash", *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_sound_witness_survives_kills() -> None:
    """Nothing is lost and nothing contradicted."""
    code, output = crash("kill", "--workload", "witness", "-n", "40", "-j", "1")
    assert "40 cases: 0 findings" in output
    assert code == 0
    assert "acknowledged: receipt" in output


def test_a_sound_witness_survives_the_loss_of_power() -> None:
    """At any moment, with writes dropped, torn and in another order."""
    code, output = crash("power", "--workload", "witness", "-n", "40", "-j", "1")
    assert "40 cases: 0 findings" in output
    assert code == 0


def test_receipts_for_rivals_are_found(tmp_path: Path) -> None:
    """Other bytes, a lost event, and a receipt for another event at a place are findings."""
    workload = WitnessWorkload()
    told: list[bytes] = []
    workload.run(tmp_path, told.append, 1)
    assert workload.check(tmp_path, told, False) == []  # noqa: FBT003 - the protocol has it so
    last = [one.decode().split() for one in told if one.startswith(b"receipt")][-1]
    (rival,) = (
        step.rival
        for owner in range(4)
        for step in told_by(owner)
        if step.event.event.said == last[3]
    )
    assert rival is not None
    for forged, finding in (
        ([*last[:4], "00"], "another receipt"),
        ([*last[:3], "E" + "x" * 43, last[4]], "lost: "),
        ([*last[:3], rival.event.said, last[4]], f" {rival.event.said}"),
    ):
        text = " ".join(forged).encode()
        findings = workload.check(tmp_path, [*told, text], False)  # noqa: FBT003 - as above
        assert any(finding in one for one in findings), findings
