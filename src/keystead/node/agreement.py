"""What several watchers say about one identifier, and whether they agree. Pure.

An answer counts when the watcher has signed it, for this question, and enough sources confirmed
the state lately enough. Anything else fails closed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri.fields import parse_aid, parse_digest, parse_map, parse_number
from keystead.node.attestation import check_attestation
from keystead.node.freshness import Policy, Status
from keystead.node.watching import STATE_TYPE

# Seconds that the clock of a watcher may differ from ours.
SKEW_SECONDS: Final = 60.0


class Statement(msgspec.Struct, frozen=True):
    """What a watcher said, verified to be by it and for this question.

    Attributes:
        watcher: who said it.
        at: when, by its clock.
        sn: place of the latest event that it knows, None if it knows none.
        said: digest of that event.
        confirmed_by: sources that confirmed it within the age of the policy.
        sources: sources that it follows.
        oldest_age: seconds since the earliest of those confirmations.
        duplicity: digests of other versions of events that it has proofs of.
    """

    watcher: Aid
    at: datetime
    sn: int | None
    said: Said | None
    confirmed_by: int
    sources: int
    oldest_age: float | None
    duplicity: tuple[Said, ...]


class Question(msgspec.Struct, frozen=True):
    """What watchers are asked.

    Attributes:
        aid: the identifier.
        nonce: random text, so that nobody can give an older answer.
        policy: when a state is fresh enough.
        now: aware time of asking.
    """

    aid: Aid
    nonce: str
    policy: Policy
    now: datetime


def read_statement(
    body: bytes, headers: Mapping[str, str], watcher: Aid | None, question: Question
) -> Statement:
    """Verify the answer of a watcher.

    Args:
        body: the exact content.
        headers: by lower-case name.
        watcher: who must have signed it; None: whoever says so in the answer.
        question: what was asked.

    Raises:
        VerificationError: it is not signed by the watcher, or answers another question
            (verify.payload), or is too old by the clock (verify.freshness).
        DecodeError: malformed.
    """
    try:
        value = msgspec.json.decode(body)
        who = parse_aid(value["watcher"], "watcher") if watcher is None else watcher
        check_attestation(who, body, headers.get("cesr-attachment", ""))
        asked = (value["type"], value["watcher"], value["aid"], value["nonce"])
        at = datetime.fromisoformat(value["at"])
        sn, said = _head(value["state"], question.aid)
        ages = _ages(value["by_source"], said, question.policy)
        other = [parse_digest(one["other"], "other") for one in value["duplicity"]]
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError) as error:
        what = "the answer of the watcher is malformed"
        raise DecodeError(ErrorCode.BODY, what) from error
    if asked != (STATE_TYPE, who, question.aid, question.nonce):
        what = "the watcher has answered another question"
        raise VerificationError(ErrorCode.PAYLOAD, what)
    if at.tzinfo is None or abs((at - question.now).total_seconds()) > SKEW_SECONDS:
        what = f"the clock of the watcher tells {value['at'][:40]}, ours {question.now.isoformat()}"
        raise VerificationError(ErrorCode.FRESHNESS, what)
    sources = {str(one["eid"]) for one in value["by_source"]}
    return Statement(
        who, at, sn, said, len(ages), len(sources), max(ages.values(), default=None), tuple(other)
    )


def agreed(statements: Sequence[Statement], required: int, policy: Policy) -> Statement:
    """Return what enough watchers agree on.

    Raises:
        VerificationError: too few know a state that is confirmed lately (verify.freshness), or
            they tell of different states (verify.disagreement).
    """
    distinct = {one.watcher: one for one in statements}
    fresh = [one for one in distinct.values()
             if one.said is not None and one.confirmed_by >= policy.min_sources]  # fmt: skip
    if len(fresh) < required:
        what = f"{len(fresh)} of {required} needed watchers tell a state that is fresh enough"
        raise VerificationError(ErrorCode.FRESHNESS, what)
    # Who knows a later event, confirmed or not, shows that the others are behind.
    highest = max(one.sn for one in distinct.values() if one.sn is not None)
    latest = {one.said for one in distinct.values() if one.sn == highest}
    agreeing = [one for one in fresh if one.sn == highest]
    if len(latest) > 1:
        what = f"watchers tell of {len(latest)} different events at {highest:x}"
        raise VerificationError(ErrorCode.DISAGREEMENT, what)
    if len(agreeing) < required:
        what = f"{len(agreeing)} of {required} needed watchers tell event {highest:x}, others less"
        raise VerificationError(ErrorCode.DISAGREEMENT, what)
    return agreeing[0]


def _head(state: Any, aid: Aid) -> tuple[int | None, Said | None]:  # noqa: ANN401 - of a watcher
    if state is None:
        return None, None
    fields = parse_map(state, "state")
    if fields["i"] != aid:
        raise VerificationError(ErrorCode.PAYLOAD, "the state is of another identifier")
    return parse_number(fields["s"], "s"), parse_digest(fields["d"], "d")


def _ages(listed: Any, said: Said | None, policy: Policy) -> dict[str, float]:  # noqa: ANN401 - as above
    """Return how long ago each source confirmed the state, as far as that is recent enough."""
    found: dict[str, float] = {}
    for one in listed:
        if one["status"] != Status.CONFIRMS.value or one["said"] != said or one["age"] is None:
            continue
        age = float(one["age"])
        if not 0 <= age < float("inf"):
            continue
        if policy.max_age is None or age <= policy.max_age:
            found[str(one["eid"])] = age
    return found
