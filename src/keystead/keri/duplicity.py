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
    """

    accepted: AcceptedEvent
    other: AnyKeyEvent
    proofs: Proofs

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return self.other.aid

    @property
    def sn(self) -> int:
        """The place that both events claim."""
        return self.other.sn
