"""Whether a witness contradicted itself, told from the events that it gave receipts for.

Independent of what is tested: it reads the JSON of events, and nothing of `keystead.keri`.

Source: KERI specification, "Superseding Rules for Recovery" (rules A0, A1, A2, B).
"""

import json
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple


class Event(NamedTuple):
    """What matters of a key event.

    Attributes:
        aid: the identifier.
        sn: its place.
        said: its digest.
        prior: digest of the event before it; empty for an inception.
        kind: its message type.
    """

    aid: str
    sn: int
    said: str
    prior: str
    kind: str


def read(raw: bytes) -> Event:
    """Read an event in JSON."""
    body = json.loads(raw)
    return Event(body["i"], int(body["s"], 16), body["d"], body.get("p", ""), body["t"])


class Events:
    """All events that anybody ever made, by digest."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[str, Event] = {}

    def add(self, raw: bytes) -> Event:
        """Learn an event."""
        event = read(raw)
        self._known[event.said] = event
        return event

    def __contains__(self, said: object) -> bool:
        """Tell whether an event is known."""
        return said in self._known

    def __getitem__(self, said: str) -> Event:
        """Return an event by its digest."""
        return self._known[said]

    def contradictions(self, receipted: Iterable[str]) -> list[str]:
        """Return which events of one log no witness may have given receipts for together.

        Args:
            receipted: digests of events of one log.
        """
        events = sorted(self._known[said] for said in set(receipted))
        return [
            f"{one.kind} {one.sn} {one.said} and {other.kind} {other.sn} {other.said}"
            for one, other in combinations(events, 2)
            if not self.may_both(one, other)
        ]

    def may_both(self, one: Event, other: Event) -> bool:
        """Tell whether an honest witness can have seen both as first, one after the other."""
        left, right = self.since_fork(one, other)
        if not left or not right:
            return True  # one is behind the other
        kinds = {left[0].kind, right[0].kind}
        if kinds == {"drt"}:  # B
            return True
        if kinds not in ({"ixn", "rot"}, {"ixn", "drt"}):  # A1, A2
            return False
        lost = left if left[0].kind == "ixn" else right
        return all(event.kind == "ixn" for event in lost)  # A0: "not before any other rotation"

    def since_fork(self, one: Event, other: Event) -> tuple[list[Event], list[Event]]:
        """Return the two branches behind the last event that both have."""
        left, right = self._branch(one), self._branch(other)
        while left and right and left[0].said == right[0].said:
            del left[0], right[0]
        return left, right

    def _branch(self, event: Event) -> list[Event]:
        branch = [event]
        while branch[-1].prior:
            branch.append(self._known[branch[-1].prior])
        return branch[::-1]
