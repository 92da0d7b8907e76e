"""Who may be a witness, and how many receipts an event needs."""

import math

import pytest

from keystead.errors import ErrorCode, UsageError
from keystead.keri import build
from keystead.keri.build import NO_WITNESSES, Witnesses
from keystead.keri.keystate import Establishment
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.witnesses import changed_witnesses, first_witnesses, sound_threshold
from keystead.testing.authoring import KeyPair, witness
from support.logs import pairs, plan, signatures, state_after, witnessed_by

WITNESSES = [witness(f"w{number}") for number in range(8)]
AIDS = [one.aid for one in WITNESSES]


def _last(count: int, threshold: int | None = None) -> Establishment:
    """Return what an inception with some witnesses establishes."""
    now, following = pairs("now", 1), pairs("next", 1)
    chosen = witnessed_by(WITNESSES[:count], threshold) if count else NO_WITNESSES
    event = build.incept(plan(now, "1", following, "1"), chosen)
    return state_after(event, signatures(event, now)).establishment


@pytest.mark.parametrize("count", range(1, DEFAULT_LIMITS.witnesses + 1))
def test_two_sets_of_receipts_share_an_honest_witness(count: int) -> None:
    """No two versions can both be witnessed while as many lie as may, and enough are honest."""
    faulty, threshold = (count - 1) // 3, sound_threshold(count)
    assert 2 * threshold - count > faulty
    assert threshold <= count - faulty
    assert threshold == math.ceil((count + faulty + 1) / 2)


def test_usual_thresholds() -> None:
    """These are the numbers that the documentation tells."""
    assert [sound_threshold(count) for count in range(8)] == [0, 1, 2, 2, 3, 4, 4, 5]


def test_an_inception_has_the_sound_threshold_unless_told() -> None:
    """What the owner says holds, otherwise what is sound."""
    assert first_witnesses((), None) == NO_WITNESSES
    assert first_witnesses(AIDS[:4], None) == Witnesses(3, tuple(AIDS[:4]))
    assert first_witnesses(AIDS[:4], 1) == Witnesses(1, tuple(AIDS[:4]))


@pytest.mark.parametrize(
    "named",
    [
        (AIDS[0], AIDS[0]),
        (KeyPair("a key that can be replaced").aid,),
        ("E" + AIDS[0][1:],),
        tuple(witness(f"many {number}").aid for number in range(DEFAULT_LIMITS.witnesses + 1)),
    ],
    ids=["twice", "transferable", "digest", "too many"],
)
def test_some_cannot_be_witnesses(named: tuple[str, ...]) -> None:
    """One twice, one whose keys can change, and more than an event may have are refused."""
    with pytest.raises(UsageError) as caught:
        first_witnesses(named, None)  # type: ignore[arg-type] # what a caller may pass
    assert caught.value.code is ErrorCode.ARGUMENT


def test_a_rotation_leaves_witnesses_alone() -> None:
    """Nothing told is nothing changed; a threshold alone is a change."""
    assert changed_witnesses(_last(3), (), (), None) is None
    assert changed_witnesses(_last(3), (), (), 2) == Witnesses(2)


def test_the_threshold_stays_where_it_is_sound() -> None:
    """One witness for another, and a fourth where three of four are sound."""
    swapped = changed_witnesses(_last(3, 2), AIDS[3:4], AIDS[:1], None)
    assert swapped == Witnesses(2, tuple(AIDS[3:4]), tuple(AIDS[:1]))
    assert changed_witnesses(_last(3, 3), AIDS[3:4], (), None) == Witnesses(3, tuple(AIDS[3:4]))
    # A threshold that the owner has chosen below stays while the number of witnesses does.
    assert changed_witnesses(_last(3, 1), AIDS[3:4], AIDS[:1], None) is not None


@pytest.mark.parametrize(
    ("count", "threshold", "added", "removed", "sound"),
    [
        (3, 3, [], AIDS[:1], 2),
        (3, 2, AIDS[3:6], [], 4),
        (0, 0, AIDS[:2], [], 2),
        (2, 1, [], AIDS[:2], 0),
    ],
    ids=["cannot be met", "too low", "first witnesses", "none left"],
)
def test_the_threshold_never_changes_by_itself(
    count: int, threshold: int, added: list[str], removed: list[str], sound: int
) -> None:
    """Where it cannot stay the owner is told which option to give, and then it holds."""
    last = _last(count, threshold)
    with pytest.raises(UsageError) as caught:
        changed_witnesses(last, added, removed, None)  # type: ignore[arg-type] # identifiers
    assert f"--witness-threshold {sound}" in caught.value.hint
    told = changed_witnesses(last, added, removed, sound)  # type: ignore[arg-type] # as above
    assert told is not None
    assert told.threshold == sound


def test_a_change_fits_the_list() -> None:
    """Who is there cannot be added, and who is not cannot be cut."""
    for added, removed in ((AIDS[:1], []), ([], AIDS[4:5])):
        with pytest.raises(UsageError):
            changed_witnesses(_last(3), added, removed, 2)
