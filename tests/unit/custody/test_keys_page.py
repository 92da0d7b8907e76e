"""The page on keys tells what the tables of the code hold, and no more."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from keystead.custody.catalogue import ALLOWED, CATALOGUE, KeyDescription, KeyType, Method, Use
from keystead.custody.cryptoperiods import NOTICE_DAYS
from keystead.custody.states import TRANSITIONS, State

PAGE = (Path(__file__).parents[3] / "docs" / "keys.md").read_text("utf-8")


def _rows(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading, without its head."""
    (section,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _listed(names: object, order: type[StrEnum]) -> str:
    """Return names as the page lists them, in the order of the source."""
    assert isinstance(names, tuple | frozenset)
    return ", ".join(f"`{one}`" for one in order if one in names) or "none"


def _period(one: KeyDescription) -> str:
    if one.cryptoperiod is None:
        return one.limit
    years = one.cryptoperiod.days // 365
    return f"{years} year{'s' * (years > 1)}; {one.limit}"


@pytest.mark.parametrize(
    ("heading", "in_use"), [("Kinds of keys", True), ("Reserved for later", False)]
)
def test_kinds(heading: str, in_use: bool) -> None:  # noqa: FBT001 - a column of a table
    """The page lists every kind with all that the catalogue says of it, in its order."""
    assert _rows(heading) == [
        [
            f"`{one.type}`",
            one.role,
            _listed(one.protects, KeyType),
            _listed(one.uses, Use),
            _period(one),
            _listed(one.methods, Method),
        ]
        for one in CATALOGUE.values()
        if one.in_use is in_use
    ]


def test_short_term_keys() -> None:
    """The page names the kinds that are short-term."""
    (told,) = re.findall(r"All kinds are long-term except (`[^.]+`)\.", PAGE)
    assert told == _listed(
        frozenset(one.type for one in CATALOGUE.values() if not one.long_term), KeyType
    )


def test_states() -> None:
    """The page lists every state with its uses and the states that can follow."""
    first, *rows = _rows("States")
    assert first[0] == "(being made)"
    assert first[3] == _listed(TRANSITIONS[None], State)
    assert [[row[0], *row[2:]] for row in rows] == [
        [f"`{state}`", _listed(ALLOWED[state], Use), _listed(TRANSITIONS[state], State)]
        for state in State
    ]
    assert all(row[1] for row in rows)


def test_the_picture_shows_every_state() -> None:
    """The picture names each state that the table names."""
    _, picture = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    found = set(re.findall(r"[a-z]+(?:-[a-z]+)*", picture))
    assert {str(state) for state in State} <= found


@pytest.mark.parametrize(("heading", "names"), [("Uses", Use), ("How keys come to be", Method)])
def test_uses_and_methods(heading: str, names: type[StrEnum]) -> None:
    """The page explains every use and every method, in the words of the source."""
    text = names.__doc__ or ""
    explained = dict(re.findall(r"^ {8}([A-Z]+): (.*)\.$", text, re.MULTILINE))
    assert _rows(heading) == [[f"`{one}`", explained[one.name]] for one in names]


def test_days_of_notice() -> None:
    """The page tells when warnings come."""
    days = ", ".join(str(one) for one in NOTICE_DAYS[:-1])
    assert f"{days} days and {NOTICE_DAYS[-1]} day before" in PAGE
