"""Duplicity: two verified events of one identifier at one place.

Source: KERI specification, "Duplicity".
"""

import msgspec

from keystead.cesr.keys import Aid
from keystead.keri.attachments import Proofs
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent


class DuplicityEvidence(msgspec.Struct, frozen=True, gc=False):
    """Both events and the signatures that make the controller accountable for them.

    Attributes:
        accepted: the event that the log holds; the first seen stands.
        other: the event that may not supersede it.
        proofs: verified signatures over `other`.
        seen: the logs that made `other` unacceptable, the identifier's own and those of its
            delegators, each with its last first-seen number then. What came later could make
            `other` acceptable to somebody who sees it for the first time.
    """

    accepted: AcceptedEvent
    other: AnyKeyEvent
    proofs: Proofs
    seen: tuple[tuple[Aid, int], ...] = ()

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return self.other.aid

    @property
    def sn(self) -> int:
        """The place that both events claim."""
        return self.other.sn
