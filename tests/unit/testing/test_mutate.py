"""Mutants of genuine logs are refused, and the search for forgeries finds them."""

import json
from collections.abc import Callable

import pytest

from keystead.cesr import body
from keystead.cesr.body import Body
from keystead.cesr.versions import Kind
from keystead.keri.superseding import Standing
from keystead.limits import Limits
from keystead.testing import mutate
from keystead.testing.mutate import KINDS, Mutant, make_mutant, run, verify
from keystead.testing.scenes import Scene, make_world

SCENES = list(make_world().scenes.values())


def lenient_decode(raw: bytes, kind: Kind, limits: Limits) -> Body:
    """Read JSON as most parsers do: the last of several equal labels counts."""
    if kind is not Kind.JSON:
        return body.decode(raw, kind, limits)
    decoded: Body = json.loads(raw)
    return decoded


# What a careless verifier does -> where, and what does it.
FLAWS: dict[str, tuple[str, Callable[..., object]]] = {
    "verifies nothing": ("keri.verification.verify", lambda *_: True),
    "takes any number of signatures": (
        "keri.thresholds.Threshold.satisfied_by",
        lambda *_: True,
    ),
    "counts signatures instead of keys": (
        "keri.validation.signing_places",
        lambda signatures, _: frozenset(range(len(signatures))),
    ),
    "takes any next keys": (
        "keri.validation.exposed_places",
        lambda _signatures, _keys, digests: frozenset(range(len(digests))),
    ),
    "believes receipts": (
        "keri.validation.verified_witness_signatures",
        lambda _raw, signatures, *_: tuple(signatures),
    ),
    "believes watchers": (
        "keri.validation.verified_couples",
        lambda _raw, couples, _: tuple(couples),
    ),
    "lets every event supersede": ("keri.validation.standing", lambda *_: Standing.ALLOWED),
    "computes no digests": ("cesr.said.check", lambda *_: None),
    "takes any form of a body": ("keri.forms.body.decode", lenient_decode),
}


def test_no_mutant_is_accepted() -> None:
    """Nothing forged is accepted, nothing hangs, nothing crashes."""
    tally = run(1, 0, 2000)
    assert tally.reports == []
    assert str(tally) == "2000 mutants: 0 forged events accepted, 0 hangs, 0 crashes"
    assert set(tally.kinds) == set(KINDS)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_scenes_themselves_are_genuine(scene: Scene) -> None:
    """Unchanged, every log is accepted as far as it says, without complaint."""
    stream = b"".join(piece.whole for piece in scene.pieces)
    store = verify(Mutant("none", (stream,), frozenset()))
    accepted = sum(1 for aid in store.identifiers() for _ in store.first_seen(aid))
    assert accepted == scene.accepted
    assert make_world().record.forgeries(store) == []


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_careless_verifier_is_caught(flaw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check of the verifier has mutants that only this check refuses."""
    target, careless = FLAWS[flaw]
    monkeypatch.setattr(f"keystead.{target}", careless)
    if target.endswith("signing_places"):
        # Variants of a signature are dropped before places are counted: two checks for one fault.
        monkeypatch.setattr(
            "keystead.keri.validation.essential", lambda signatures, *_: tuple(signatures)
        )
    assert run(3, 0, 1500).failures["forged"] > 0


def test_a_forgery_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with 1 and says how to make the mutant again."""
    monkeypatch.setattr("keystead.keri.verification.verify", lambda *_: True)
    assert mutate.main(["--seed", "3", "--count", "200", "--processes", "1"]) == 1
    output = capsys.readouterr().out
    assert "FORGED by" in output
    assert "--seed 3 --only" in output
    assert not output.splitlines()[-1].startswith("200 mutants: 0 forged")


def test_a_hang_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant that takes too long is cut off."""

    def wait(*_: object) -> bool:
        while True:
            pass

    monkeypatch.setattr(mutate, "DEADLINE", 0.05)
    monkeypatch.setattr("keystead.keri.verification.verify", wait)
    assert run(1, 9, 10).failures["hang"] == 1


def test_a_crash_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no verdict is a failure."""

    def fail(*_: object) -> bool:
        raise KeyError("not a verdict")

    monkeypatch.setattr("keystead.keri.verification.verify", fail)
    tally = run(1, 9, 10)
    assert tally.failures["crash"] == 1
    assert "not a verdict" in tally.reports[0]


def test_one_mutant_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A single mutant can be made by its number."""
    assert mutate.main(["--seed", "3", "--only", "17"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 mutants: 0 forged events accepted, 0 hangs, 0 crashes"


def test_several_processes(capsys: pytest.CaptureFixture[str]) -> None:
    """Several processes share the work."""
    assert mutate.main(["--count", "600", "--processes", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("600 mutants: 0 forged")


def test_the_seed_decides() -> None:
    """The same seed gives the same mutants, another one gives others."""
    world = make_world()
    first = [make_mutant(world, 1, index) for index in range(60)]
    assert first == [make_mutant(world, 1, index) for index in range(60)]
    assert first != [make_mutant(world, 2, index) for index in range(60)]
