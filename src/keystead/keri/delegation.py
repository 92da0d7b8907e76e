"""Delegation: the delegator approves an event by sealing it in its own log.

Source: KERI specification, "Cooperative Delegation".
"""

from typing import TypeAlias

import msgspec

from keystead.cesr.groups import SourceCouple
from keystead.cesr.keys import Aid, Said
from keystead.keri.events import DelegatedInception, DelegatedRotation, KeyEvent
from keystead.keri.seals import EventSeal

DelegatedEvent: TypeAlias = DelegatedInception | DelegatedRotation


class DelegationProof(msgspec.Struct, frozen=True, gc=False):
    """What the delegator's log says about a delegated event.

    Attributes:
        delegator: the identifier whose log it is.
        known: the log is known at all.
        forbidden: the delegator's inception forbids delegation.
        event: the delegator's event that seals the delegated event, None when none does.
        seal: place of the seal in the list of that event.
        approval: what approved `event`, when the delegator is delegated itself and `event` is
            an establishment event.
    """

    delegator: Aid
    known: bool
    forbidden: bool = False
    event: KeyEvent | None = None
    seal: int = -1
    approval: "DelegationProof | None" = None

    @property
    def source(self) -> SourceCouple | None:
        """Place and digest of the delegator's event."""
        return None if self.event is None else SourceCouple(self.event.sn, self.event.said)


def seal_of(event: KeyEvent) -> EventSeal:
    """Return the seal by which a delegator approves `event`."""
    return EventSeal(event.aid, event.sn, event.said)


def place_of_seal(event: KeyEvent, aid: Aid, sn: int, said: Said) -> int:
    """Return where `event` first seals an event, -1 when it does not."""
    seal = EventSeal(aid, sn, said)
    return event.anchors.index(seal) if seal in event.anchors else -1
