"""States of keys and the ways between them.

Source: NIST SP 800-57 part 1 revision 5, section 7; decision 0019 tells where and why we differ.
The state is that of the private half. The public half stays in the log whatever happens.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from keystead.errors import ErrorCode, KeystoreError


class State(StrEnum):
    """Where a key is in its life."""

    PRE_ACTIVE = "pre-active"
    RESERVE = "reserve"
    ACTIVE = "active"
    ROTATE_ONLY = "rotate-only"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    ARCHIVED = "archived"
    DESTROYED = "destroyed"
    DESTROYED_COMPROMISED = "destroyed-compromised"


# The private half exists, and nobody but its owner is known to have it.
LIVE: frozenset[State] = frozenset(
    {
        State.PRE_ACTIVE,
        State.RESERVE,
        State.ACTIVE,
        State.ROTATE_ONLY,
        State.SUSPENDED,
        State.DEACTIVATED,
        State.ARCHIVED,
    }
)
# The private half is no more.
GONE: frozenset[State] = frozenset({State.DESTROYED, State.DESTROYED_COMPROMISED})
# Somebody else may have the private half.
SUSPECT: frozenset[State] = frozenset({State.COMPROMISED, State.DESTROYED_COMPROMISED})

# The states that can follow each state; None: the key is not generated yet.
TRANSITIONS: Mapping[State | None, frozenset[State]] = MappingProxyType(
    {
        None: frozenset({State.PRE_ACTIVE, State.RESERVE}),
        State.PRE_ACTIVE: frozenset(
            {
                State.RESERVE,
                State.ACTIVE,
                State.ROTATE_ONLY,
                State.COMPROMISED,
                State.DESTROYED,
            }
        ),
        State.RESERVE: frozenset(
            {State.PRE_ACTIVE, State.ROTATE_ONLY, State.COMPROMISED, State.DESTROYED}
        ),
        State.ACTIVE: frozenset({State.SUSPENDED, State.DEACTIVATED, State.COMPROMISED}),
        State.ROTATE_ONLY: frozenset({State.ACTIVE, State.DEACTIVATED, State.COMPROMISED}),
        State.SUSPENDED: frozenset(
            {State.ACTIVE, State.DEACTIVATED, State.COMPROMISED, State.DESTROYED}
        ),
        State.DEACTIVATED: frozenset({State.ARCHIVED, State.COMPROMISED, State.DESTROYED}),
        State.COMPROMISED: frozenset({State.DESTROYED_COMPROMISED}),
        State.ARCHIVED: frozenset({State.COMPROMISED, State.DESTROYED}),
        State.DESTROYED: frozenset({State.DESTROYED_COMPROMISED}),
        State.DESTROYED_COMPROMISED: frozenset(),
    }
)


def check_transition(before: State | None, after: State) -> None:
    """Check that a key in one state can go to another.

    Args:
        before: the state now; None for a key that is being made.
        after: the state to be.

    Raises:
        KeystoreError: it cannot (keystore.state).
    """
    if after in TRANSITIONS[before]:
        return
    if before is None:
        raise KeystoreError(ErrorCode.LIFE_STATE, f"a new key cannot be {after}", after=after)
    raise KeystoreError(
        ErrorCode.LIFE_STATE,
        f"a key that is {before} cannot become {after}",
        before=before,
        after=after,
    )
