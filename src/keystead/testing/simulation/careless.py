"""Witnesses with one fault each, which the simulation must find out."""

from collections.abc import Sequence
from typing import Final

from keystead.cesr.keys import Aid, Said
from keystead.errors import KeysteadError
from keystead.keri.events import AnyKeyEvent
from keystead.node.witness import CLOSED, Admission, Submission, Submitted, Witness
from keystead.ports.witness import ReceiptSigner, WitnessStore
from keystead.testing.simulation.servers import Kind, WatchedSigner


class Forgetful(WatchedSigner):
    """Remembers nothing: any store is the current one, and nothing contradicts."""

    def begin(self, store: str, generation: int) -> bool:
        """Take any store."""
        self.accept(store, generation)
        return True

    def _check(self, event: AnyKeyEvent, *, gaps: bool = False) -> bool:  # noqa: ARG002 - as it is
        return False

    def _is_known(self, event: AnyKeyEvent) -> bool:
        query = "UPDATE signed SET stands = 0 WHERE aid = ?"
        self._connection.execute(query, (event.aid,))
        return super()._is_known(event)


class Trusting(WatchedSigner):
    """Remembers what it signed, and takes any store for the current one."""

    def begin(self, store: str, generation: int) -> bool:
        """Take any store."""
        self.accept(store, generation)
        return True


class Lax(WatchedSigner):
    """Notices an older store, and lets it sign something new all the same."""

    def signed_last(self) -> dict[Aid, Said]:
        """Tell that nothing can be missing."""
        return {}


class Hasty(Witness):
    """Signs in the transaction that stores, before that is durable."""

    def submit(self, batch: Sequence[Submission]) -> list[Submitted | KeysteadError]:
        """Take what came at the same time."""
        with self.store.transaction():
            return super().submit(batch)


class Blind(Witness):
    """Signs whatever is valid by itself, as if nothing had been seen before."""

    def __init__(
        self, store: WitnessStore, signer: ReceiptSigner, *, admission: Admission = CLOSED
    ) -> None:
        """Keep the signer at hand."""
        super().__init__(store, signer, admission=admission)
        assert isinstance(signer, WatchedSigner)  # noqa: S101 - of a simulation
        self._direct = signer

    def submit(self, batch: Sequence[Submission]) -> list[Submitted | KeysteadError]:
        """Sign what is duplicitous too."""
        answers = super().submit(batch)
        for one, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Submitted) and any(event.first_said for event in answer.events):
                self._direct.sign_blindly(one.messages[0].raw)
        return answers


KINDS: Final = {
    "": Kind(),
    "forgetful": Kind(signer=Forgetful),
    "trusting": Kind(signer=Trusting),
    "lax": Kind(signer=Lax),
    "hasty": Kind(witness=Hasty),
    "blind": Kind(witness=Blind, signer=Forgetful),
}
