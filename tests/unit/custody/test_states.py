"""States of keys."""

import pytest

from keystead.custody.states import GONE, LIVE, SUSPECT, TRANSITIONS, State, check_transition
from keystead.errors import ErrorCode, KeystoreError

# Written from the requirements, not from the code: a row for each state before, a column for each
# state after, in the order of the rows.
EXPECTED = """
                       pre res act rot sus dea com arc des dco
new                     x   x   .   .   .   .   .   .   .   .
pre-active              .   x   x   x   .   .   x   .   x   .
reserve                 x   .   .   x   .   .   x   .   x   .
active                  .   .   .   .   x   x   x   .   .   .
rotate-only             .   .   x   .   .   x   x   .   .   .
suspended               .   .   x   .   .   x   x   .   x   .
deactivated             .   .   .   .   .   .   x   x   x   .
compromised             .   .   .   .   .   .   .   .   .   x
archived                .   .   .   .   .   .   x   .   x   .
destroyed               .   .   .   .   .   .   .   .   .   x
destroyed-compromised   .   .   .   .   .   .   .   .   .   .
"""
ROWS = [line.split() for line in EXPECTED.strip().splitlines()[1:]]
NAMES = [row[0] for row in ROWS[1:]]
PAIRS = [
    (None if row[0] == "new" else State(row[0]), State(name), mark == "x")
    for row in ROWS
    for name, mark in zip(NAMES, row[1:], strict=True)
]


def test_the_table_is_total() -> None:
    """The expectations and the table have every state, and no other."""
    assert [State(name) for name in NAMES] == list(State)
    assert set(TRANSITIONS) == {None, *State}
    assert len(PAIRS) == 110


@pytest.mark.parametrize(("before", "after", "allowed"), PAIRS)
def test_transitions(before: State | None, after: State, allowed: bool) -> None:  # noqa: FBT001 - a column of a table
    """Exactly the transitions of the requirements are allowed."""
    if allowed:
        check_transition(before, after)
        return
    with pytest.raises(KeystoreError) as caught:
        check_transition(before, after)
    assert caught.value.code is ErrorCode.LIFE_STATE
    assert caught.value.fields["after"] == after
    assert caught.value.fields.get("before") == before


def test_groups_of_states() -> None:
    """Live, compromised and gone states are all there are; only what is live can be compromised."""
    assert set(State) == LIVE | SUSPECT | GONE
    assert not LIVE & (SUSPECT | GONE)
    assert {one for one in State if State.COMPROMISED in TRANSITIONS[one]} == LIVE
    assert {State.DESTROYED_COMPROMISED} == SUSPECT & GONE


def test_messages_name_the_states() -> None:
    """The sentence tells both states, or that the key is new."""
    with pytest.raises(KeystoreError, match="a key that is compromised cannot become active"):
        check_transition(State.COMPROMISED, State.ACTIVE)
    with pytest.raises(KeystoreError, match="a new key cannot be active"):
        check_transition(None, State.ACTIVE)
