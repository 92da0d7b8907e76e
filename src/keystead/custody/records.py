"""What is known of one key, and how its state changes."""

from datetime import datetime

import msgspec

from keystead.custody.catalogue import CATALOGUE, KeyType, Method, check_method
from keystead.custody.states import State, check_transition


class KeyRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One key of the inventory. It never holds the private half.

    Times are RFC 3339 text.

    Attributes:
        id: the commitment to the public key (CESR text) for keys that sign events, otherwise a
            name such as `master.0`.
        type: what the key is for.
        method: how it came to be.
        state: where it is in its life.
        created_at: when it was made, or first known here.
        changed_at: when its state last changed.
        suite: name of the member of `suites.Suite`, empty for keys that do not sign.
        uri: how the private half is found; empty when it is not here.
        identifier: the identifier it signs for; empty for none, or none yet.
        place: index in the list of keys of its event.
        establishment: ordinal of the establishment event that reveals it, 0 for the inception;
            -1 for none.
        parent: id of the key that derives or wraps it; empty for none.
        public_key: CESR text; empty when it is not known or there is none.
        expires_at: end of its cryptoperiod, set when it becomes active; empty for none.
        exposed_since: first sequence number that a thief may have signed; None when there is
            no thief, or nobody knows since when.
        label: what its owner calls it.
    """

    id: str
    type: KeyType
    method: Method
    state: State
    created_at: str
    changed_at: str
    suite: str = ""
    uri: str = ""
    identifier: str = ""
    place: int = 0
    establishment: int = -1
    parent: str = ""
    public_key: str = ""
    expires_at: str = ""
    exposed_since: int | None = None
    label: str = ""


class Transition(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One step in the life of a key, for the audit log.

    Attributes:
        key: id of the key.
        before: state before; None when the key was made.
        after: state after.
        at: when, RFC 3339 text.
        actor: who did it.
        reason: why, in words.
        evidence: digest of what proves it, such as the event of the rotation; may be empty.
    """

    key: str
    before: State | None
    after: State
    at: str
    actor: str
    reason: str
    evidence: str = ""


def begin(record: KeyRecord, *, actor: str, reason: str, evidence: str = "") -> Transition:
    """Return the first step in the life of a key that was made.

    Raises:
        KeystoreError: no key begins in this state (keystore.state), or keys of its kind do not
            come to be in this way (keystore.role).
    """
    check_method(record.type, record.method)
    check_transition(None, record.state)
    return Transition(
        key=record.id,
        before=None,
        after=record.state,
        at=record.created_at,
        actor=actor,
        reason=reason,
        evidence=evidence,
    )


def move(
    record: KeyRecord, after: State, *, at: datetime, actor: str, reason: str, evidence: str = ""
) -> tuple[KeyRecord, Transition]:
    """Take a key to another state.

    Its cryptoperiod begins when it becomes active for the first time; a suspension does not
    prolong it.

    Args:
        record: the key as it is.
        after: the state to be.
        at: the time, with its offset.
        actor: who does it.
        reason: why, in words.
        evidence: digest of what proves it.

    Returns:
        The key as it is then, and the step for the audit log.

    Raises:
        KeystoreError: the key cannot go there (keystore.state).
    """
    check_transition(record.state, after)
    expires_at = record.expires_at
    if after is State.ACTIVE and not expires_at:
        expires_at = _end_of_period(record.type, at)
    changed_at = as_text(at)
    moved = msgspec.structs.replace(
        record, state=after, changed_at=changed_at, expires_at=expires_at
    )
    step = Transition(
        key=record.id,
        before=record.state,
        after=after,
        at=changed_at,
        actor=actor,
        reason=reason,
        evidence=evidence,
    )
    return moved, step


def as_text(at: datetime) -> str:
    """Return a time as records hold it: RFC 3339 text with microseconds and offset."""
    return at.isoformat(timespec="microseconds")


def _end_of_period(kind: KeyType, begins: datetime) -> str:
    """Return when the cryptoperiod of a key ends, empty if its kind has none."""
    period = CATALOGUE[kind].cryptoperiod
    if period is None:
        return ""
    try:
        return as_text(begins + period)
    except OverflowError:  # a clock that is wrong by thousands of years must not stop a rotation
        return as_text(datetime.max.replace(tzinfo=begins.tzinfo))
