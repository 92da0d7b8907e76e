"""Looking out for events of an identifier that its owner did not make, and for other versions.

The log that the owner has is what counts as his. Everything signed that somebody serves beside it
is worth a warning, whether a validator would accept it or not.
"""

from datetime import datetime
from enum import Enum

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Malformed
from keystead.keri.events import AnyKeyEvent
from keystead.keri.verdicts import Source
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor
from keystead.node.intake import Intake, take
from keystead.node.replay import replay_approved
from keystead.ports import EventStore


class Sight(Enum):
    """What was seen."""

    FOREIGN = "foreign"
    FOREIGN_VERSION = "foreign_version"
    FOREIGN_PENDING = "foreign_pending"
    DUPLICITY = "duplicity"
    EVENT = "event"


class Sighting(msgspec.Struct, frozen=True):
    """Something that was seen, told once.

    Attributes:
        sight: what it is. The first three are about one's own identifiers.
        aid: the identifier.
        sn: place of the event.
        said: its digest.
        message_type: its type, empty if it waits.
    """

    sight: Sight
    aid: Aid
    sn: int
    said: Said
    message_type: str = ""

    @property
    def alarming(self) -> bool:
        """It is nothing that happens every day."""
        return self.sight is not Sight.EVENT


class Lookout:
    """Watches one identifier at any number of sources.

    Attributes:
        aid: the identifier.
        store: what was served so far, verified.
    """

    def __init__(
        self,
        aid: Aid,
        store: EventStore,
        own: EventStore | None,
        now: datetime,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Begin with what is known.

        Args:
            aid: the identifier.
            store: an empty store.
            own: the log of its owner, as it grows; None for an identifier of somebody else.
            now: aware time.
            limits: bounds.
        """
        self.aid = aid
        self.store = store
        self._own = own
        self._limits = limits
        self._told: set[tuple[Sight, Said]] = set()
        if own is not None:
            self._begin_with(own, now)

    def took(self, body: bytes, now: datetime) -> tuple[Intake, list[Sighting]]:
        """Take the answer of a source; return what is new and worth telling."""
        intake = take(self.store, self.aid, body, now, self._limits)
        found = self._foreign(intake) if self._own is not None else self._seen(intake)
        fresh = [one for one in found if (one.sight, one.said) not in self._told]
        self._told |= {(one.sight, one.said) for one in fresh}
        return intake, fresh

    def _begin_with(self, own: EventStore, now: datetime) -> None:
        """Take the owner's log as first seen."""
        processor = EventProcessor(self.store, limits=self._limits)
        reader = processor.reader()
        for data in replay_approved(own, self.aid, {}):
            reader.feed(data)
        reader.close()
        for message in reader:
            if not isinstance(message, Malformed):
                processor.process(message, source=Source.LOCAL, now=now)

    def _foreign(self, intake: Intake) -> list[Sighting]:
        found = [self._sighting(Sight.FOREIGN, one.event) for one in intake.accepted]
        found += [self._sighting(Sight.FOREIGN_VERSION, one.other) for one in intake.duplicity]
        found += [
            Sighting(Sight.FOREIGN_PENDING, self.aid, one.sn, one.said)
            for one in intake.pending
            if one.accountable
        ]
        return [one for one in found if not self._is_own(one)]

    def _seen(self, intake: Intake) -> list[Sighting]:
        found = [self._sighting(Sight.EVENT, one.event) for one in intake.accepted[-1:]]
        return found + [self._sighting(Sight.DUPLICITY, one.other) for one in intake.duplicity]

    def _is_own(self, one: Sighting) -> bool:
        own = self._own
        return own is not None and (
            own.accepted(self.aid, one.said) is not None
            or bool(own.held_for(self.aid, one.sn, one.said))
        )

    def _sighting(self, sight: Sight, event: AnyKeyEvent) -> Sighting:
        return Sighting(sight, self.aid, event.sn, event.said, event.message_type)
