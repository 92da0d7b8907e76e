"""The simulation finds careless witnesses, finds nothing else, and repeats itself exactly."""

import os
import subprocess
import sys

import pytest

from keystead.testing.equivocation import Events
from keystead.testing.simulation.careless import KINDS
from keystead.testing.simulation.seeds import simulate
from support.branches import Branch

_FEW = 30  # seeds, within which any carelessness must come out


def test_sound_witnesses_pass() -> None:
    """No finding in some seeds, in which what matters has happened."""
    happened: set[str] = set()
    for seed in range(_FEW):
        run = simulate(seed)
        assert run.findings == [], seed
        happened |= set(run.counts)
    assert happened >= {
        "receipt", "rival", "crash", "start", "restore", "forget", "quarantine", "recover",
        "partition", "clock", "done",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("careless", "finding"),
    [
        ("forgetful", "did not notice"),
        ("trusting", "did not notice"),
        ("lax", "did not notice"),
        ("hasty", "before it was stored"),
        ("blind", "contradicted itself"),
    ],
)
def test_careless_witnesses_are_found_out(careless: str, finding: str) -> None:
    """Each fault shows within few seeds, as what it is."""
    assert any(
        finding in found for seed in range(_FEW) for found in simulate(seed, careless).findings
    )


def test_every_fault_is_tried() -> None:
    """There is no careless kind that the test above forgets."""
    assert sorted(KINDS) == ["", "blind", "forgetful", "hasty", "lax", "trusting"]


def test_a_seed_is_always_the_same() -> None:
    """Another process, with other hashes, tells the same to the last character."""
    command = [sys.executable, "-m", "keystead.testing.simulation", "--seed", "5"]
    told = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": number}, check=True, capture_output=True
        ).stdout
        for number in ("1", "2")
    }
    assert len(told) == 1
    assert b"seed 5: 0 findings" in told.pop()


def test_a_seed_with_findings_is_printed() -> None:
    """With the command that repeats it, and 1 as the end."""
    command = [sys.executable, "-m", "keystead.testing.simulation", "-j", "1"]
    careless = ["--careless", "hasty"]
    done = subprocess.run(
        [*command, "--seeds", "2", *careless], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "--seed 1 --careless hasty)" in done.stdout
    assert "2 seeds" in done.stdout
    again = subprocess.run([*command, "--seed", "1", *careless], check=False, capture_output=True)
    assert again.returncode == 1


def test_rules_of_equivocation() -> None:
    """What one witness may have seen as first, one after the other, and what not."""
    author, arm = Branch("rules"), Branch("arm")
    begun = author.begin()
    early, fork = author.branch(), author.branch()
    one, two = author.extend("ixn"), author.extend("ixn")
    other, recovery = fork.branch().extend("ixn"), fork.extend("rot")
    behind, late = fork.extend("ixn"), author.extend("rot")
    arm.begin(delegator=author)
    twin = arm.branch()
    delegated = [arm.extend("rot"), twin.extend("rot")]
    events = Events()
    known = [begun, one, two, other, recovery, behind, late, early.extend("rot"), *delegated]
    for made in known:
        events.add(made.raw)

    def may(first: int, second: int) -> bool:
        return events.may_both(events[known[first].said], events[known[second].said])

    assert may(0, 1)
    assert may(1, 1)
    assert not may(1, 3)  # A2
    assert not may(2, 3)
    assert may(1, 4)  # A0
    assert may(5, 2)
    assert not may(6, 4)  # A0: before another rotation
    assert not may(4, 7)  # A1
    with pytest.raises(KeyError):
        may(8, 9)  # the inception is not known
    assert events.contradictions([known[1].said, known[3].said]) != []
    assert events.contradictions([known[1].said, known[4].said]) == []
