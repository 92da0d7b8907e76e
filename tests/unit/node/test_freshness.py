"""Ages of confirmations, whatever happens to clocks, and policies that fail closed."""

from msgspec.structs import replace

from keystead.cesr.keys import Aid, Said, digest
from keystead.node.freshness import (
    OTHER_VERSION,
    ROLLED_BACK,
    Ages,
    Confirmation,
    Moment,
    Policy,
    Status,
    confirmation,
    confirming,
    shortcomings,
)
from keystead.ports.watching import SourceView
from support.watching import BEGIN, at, source

AID = Aid(digest(b"an identifier"))
HEAD: Said = digest(b"head")
ONE = SourceView(source("one"), at(0).wall, at(0).wall, 3, HEAD, 3, HEAD)


def _jumped(steady: float, wall: float) -> Moment:
    return Moment(at(wall).wall, at(steady).steady)


def test_within_a_process_the_steady_clock_counts() -> None:
    """A clock that is set back does not make anything younger; one set forward makes it older."""
    ages = Ages([], at(0))
    ages.confirmed(AID, ONE.source.url, at(0))
    assert ages.age(AID, ONE, at(60)) == 60.0
    assert ages.age(AID, ONE, _jumped(60, -3600)) == 60.0
    assert ages.age(AID, ONE, _jumped(60, 3600)) == 3600.0


def test_after_a_restart_the_time_of_day_counts() -> None:
    """What an earlier process wrote has an age, as long as the clock goes forward."""
    assert Ages([ONE], at(30)).age(AID, ONE, at(40)) == 40.0


def test_a_clock_that_went_back_before_the_start_makes_ages_unknown() -> None:
    """Nobody knows how old something is that was confirmed in the future."""
    ages = Ages([ONE], _jumped(0, -600))
    assert ages.age(AID, ONE, _jumped(5, -595)) is None
    # Also not when the clock is right again: the process does not know which time was true.
    assert ages.age(AID, ONE, at(60)) is None


def test_a_clock_that_goes_back_after_the_start_makes_written_ages_unknown() -> None:
    """An age is never negative, and never guessed."""
    assert Ages([ONE], at(10)).age(AID, ONE, _jumped(20, -1)) is None


def test_what_was_never_confirmed_has_no_age() -> None:
    """No confirmation, no age."""
    never = SourceView(source("one"))
    assert Ages([never], at(0)).age(AID, never, at(9)) is None


def test_what_a_source_says_about_the_latest_state() -> None:
    """Each way of not confirming has its name."""
    cases = {
        Status.NEVER_ASKED: SourceView(source("one")),
        Status.CONFIRMS: ONE,
        Status.BEHIND: replace(ONE, said=digest(b"before"), sn=2),
        Status.ROLLED_BACK: replace(ONE, problem=ROLLED_BACK),
        Status.OTHER_VERSION: replace(ONE, problem=OTHER_VERSION),
        Status.UNREACHABLE: replace(ONE, confirmed_at=None, failures=2, problem="gone"),
    }
    for status, view in cases.items():
        assert confirmation(view, HEAD, 1.0).status is status
    behind = replace(ONE, said=digest(b"before"), failures=1, problem="gone")
    assert confirmation(behind, HEAD, 1.0).status is Status.UNREACHABLE


def test_a_source_that_does_not_answer_any_more_has_confirmed_all_the_same() -> None:
    """Its confirmation stays, and gets older."""
    found = confirmation(replace(ONE, failures=3, problem="gone"), HEAD, 90.0)
    assert found.counts
    assert shortcomings([found], Policy(100.0, 1)) == []
    assert shortcomings([found], Policy(60.0, 1))


def _three() -> list[Confirmation]:
    views = [replace(ONE, source=source(name)) for name in ("one", "two", "three")]
    ages = (1.0, 50.0, None)
    return [confirmation(view, HEAD, age) for view, age in zip(views, ages, strict=True)]


def test_a_policy_counts_sources_whose_age_is_known() -> None:
    """An unknown age is too old for every policy, even for one without an age."""
    assert shortcomings(_three(), Policy(None, 2)) == []
    assert shortcomings(_three(), Policy(None, 3))
    assert shortcomings(_three(), Policy(60.0, 2)) == []
    assert len(shortcomings(_three(), Policy(10.0, 2))) == 3
    assert shortcomings([], Policy())


def test_two_places_of_one_witness_are_one_source() -> None:
    """Identifiers are counted, not URLs."""
    twice = replace(ONE, source=replace(ONE.source, url="http://elsewhere.example"))
    found = [confirmation(view, HEAD, 1.0) for view in (ONE, twice)]
    assert confirming(found) == 1
    assert shortcomings(found, Policy(None, 2))


def test_the_begin_of_a_call_is_what_counts() -> None:
    """A slow answer is as old as the question."""
    ages = Ages([], at(0))
    ages.confirmed(AID, ONE.source.url, at(2))
    assert ages.age(AID, replace(ONE, confirmed_at=at(2).wall), at(12)) == 10.0
    assert at(2).wall > BEGIN
