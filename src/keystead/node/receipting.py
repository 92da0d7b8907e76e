"""The promises of a witness: its store and its signer, and whether they know the same.

The store promises by the transaction that accepts an event; the signer remembers by itself what it
has signed. When the two do not fit together, one of them was restored or lost, and nothing new is
signed before that has caught up.

Several processes of one witness may have the store and the memory of the signer in common. So what
a store has counted is asked again before it is taken for an older copy.
"""

from collections.abc import Sequence
from typing import Final

from keystead import suites
from keystead.cesr import indexed
from keystead.cesr.keys import Aid, Said, parse_key
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keri.attachments import Proofs
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.keystate import AcceptedEvent
from keystead.ports.witness import Promise, ReceiptSigner, WitnessStore
from keystead.suites import Suite

# A process that commits between the question and the signature does so once more at most each time.
_ATTEMPTS: Final = 50
Unsaved = Sequence[tuple[AcceptedEvent, bytes]]


class Receipting:
    """Signs what a store has promised, and nothing that it may have forgotten.

    Attributes:
        quarantined: the store was restored, or the memory of the signer was lost.
    """

    def __init__(self, store: WitnessStore, signer: ReceiptSigner) -> None:
        """Find out whether the store is the current one.

        Raises:
            StoreError: the store is another witness's (store.corrupt).
        """
        self._store = store
        self._signer = signer
        self._unsaved: dict[Said, tuple[AcceptedEvent, bytes]] = {}
        self._saved_last: frozenset[Said] = frozenset()
        about = store.about()
        if about.aid != signer.aid:
            raise StoreError(ErrorCode.STORE_CORRUPT, "the store is that of another witness")
        self._counted = about
        self.counted()
        if not self.quarantined and not self._begins():
            self._enter_quarantine()

    def count(self) -> None:
        """Count the commit that the open transaction will be; `counted` is to follow."""
        self._counted = self._store.count()
        self.quarantined = self._counted.quarantined

    def counted(self) -> None:
        """Go on with what was counted, now that it is durable."""
        about = self._counted
        self._name, self._generation = about.store, about.generation
        self.quarantined = about.quarantined

    def sign_reply(self, payload: bytes) -> bytes:
        """Return the signature of the witness over a reply."""
        return self._signer.sign_reply(payload)

    def ask(self, events: Sequence[AcceptedEvent]) -> None:
        """Have the signer begin to sign events that are durable; `sign` is to follow.

        Raises:
            KeystoreError: it cannot be reached (keystore.signer_process).
        """
        if events and not self.quarantined:
            raws = [one.event.raw for one in events]
            self._signer.ask_receipts(self._name, self._generation, raws)

    def sign(
        self, events: Sequence[AcceptedEvent], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        """Return the receipt for each of some events that are durable, or why there is none.

        Args:
            events: those of one log in the order of their acceptance.
            known_only: they were superseded.
        """
        if not events:
            return []
        found = self._signatures(events, known_only=known_only)
        for place, accepted in enumerate(events):
            signature = found[place]
            if isinstance(signature, KeystoreError):
                signature = self._refused(accepted) if known_only else signature
                signature = found[place] = self._sign_late(accepted, signature)
            said = accepted.event.said
            # What was read before the last commit does not show what that has kept.
            if isinstance(signature, bytes) and not (
                self.kept(accepted) or said in self._saved_last
            ):
                self._unsaved[said] = (accepted, signature)
        return found

    def flush(self) -> None:
        """Keep the receipts of the last batches with their events.

        Raises:
            StoreError: it could not be done; nothing is lost by that.
        """
        unsaved = self.unsaved()
        if unsaved:
            self._store.run(lambda: self.save(unsaved))

    def unsaved(self) -> Unsaved:
        """Hand out own receipts that were not saved; if they are lost, they are signed again alike."""
        unsaved, self._unsaved = self._unsaved, {}
        self._saved_last = frozenset(unsaved)
        return tuple(unsaved.values())

    def save(self, unsaved: Unsaved) -> None:
        """Keep own receipts with their events."""
        for accepted, signature in unsaved:
            self._store.keep_receipt(accepted, self.proofs(accepted, signature))

    def place(self, accepted: AcceptedEvent) -> int | None:
        """Return the place of this witness in the list of an event."""
        witnesses, aid = accepted.state.establishment.witnesses, self._signer.aid
        return witnesses.index(aid) if aid in witnesses else None

    def kept(self, accepted: AcceptedEvent) -> bytes:
        """Return the receipt that is kept with an event; empty if there is none."""
        place = self.place(accepted)
        for one in accepted.proofs.witness_signatures:
            if one.index == place:
                return one.raw
        return b""

    def proofs(self, accepted: AcceptedEvent, signature: bytes) -> Proofs:
        """Return a receipt of this witness as what is kept with an event."""
        place = self.place(accepted)
        assert place is not None  # noqa: S101 - a receipt was due
        own = indexed.make(Suite.ED25519, signature, place, ondex=place)
        return Proofs(witness_signatures=(own,))

    def object(self, accepted: AcceptedEvent, *, recovering: bool) -> None:
        """Let a restored store take nothing that contradicts what this witness has signed.

        Raises:
            KeystoreError: it would (keystore.second_event), or nobody knows (keystore.behind).
        """
        objection = self._signer.objection(accepted.event.raw)
        if objection is not None:
            raise objection
        if self._signer.is_blank() and not recovering:
            what = "this witness was restored, and takes nothing new before it has caught up"
            raise KeystoreError(ErrorCode.BEHIND, what)

    def confirm_if_seen(self, aid: Aid, *, told: bool = False) -> bool:
        """See whether the store lacks nothing of a log any more; tell that.

        Args:
            aid: whose log.
            told: the operator has given what others know of it.

        Raises:
            KeystoreError: the store contradicts what was signed (keystore.second_event); only if
                `told`.
        """
        wanted = dict(self._store.unconfirmed())
        if aid not in wanted:
            return True
        if wanted[aid] is None and not told:
            return False
        try:
            last = self._relearn(aid) or wanted[aid]
        except KeystoreError:
            if told:
                raise
            return False
        if last is not None and self._store.events.accepted(aid, last) is None:
            return False
        self._confirm(aid)
        return True

    def give_up(self, aid: Aid) -> None:
        """Go on without having seen a log again."""
        try:
            self._relearn(aid)
        except KeystoreError as error:
            if error.code is not ErrorCode.SECOND_EVENT:
                raise  # else the signer stays with what it has signed
        self._confirm(aid)

    def check(self, evidence: DuplicityEvidence) -> None:
        """Check that this witness gave no receipt for the other version.

        Raises:
            KeystoreError: it did (keystore.second_event).
        """
        own, other = parse_key(self._signer.aid), evidence.other
        for one in evidence.proofs.witness_signatures:
            if suites.verify(own.suite, own.raw, one.raw, other.raw):
                what = f"this witness has given a receipt for another event {other.sn:x}"
                raise KeystoreError(ErrorCode.SECOND_EVENT, what, aid=other.aid, sn=other.sn)

    def _signatures(
        self, events: Sequence[AcceptedEvent], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        for _ in range(_ATTEMPTS):
            found = self._signer.sign_receipts(
                self._name,
                self._generation,
                [one.event.raw for one in events],
                known_only=known_only or self.quarantined,
            )
            if known_only or self.quarantined or not any(map(_is_behind, found)):
                break
            if self._is_unchanged():
                break
        self._check_one(events, found)
        return found

    def _check_one(
        self, events: Sequence[AcceptedEvent], found: Sequence[bytes | KeystoreError]
    ) -> None:
        """Check one signature of a batch, so that a signer that goes wrong is soon found out.

        Raises:
            KeystoreError: it is not good (keystore.signer_process).
        """
        own = parse_key(self._signer.aid)
        for accepted, signature in zip(events, found, strict=True):
            if isinstance(signature, KeystoreError):
                continue
            if not suites.verify(own.suite, own.raw, signature, accepted.event.raw):
                what = "the signer process gives signatures that do not verify"
                raise KeystoreError(ErrorCode.SIGNER_PROCESS, what)
            return

    def _refused(self, accepted: AcceptedEvent) -> KeystoreError:
        event = accepted.event
        what = f"event {event.sn:x} was superseded before it got a receipt here"
        return KeystoreError(ErrorCode.SECOND_EVENT, what, aid=event.aid, sn=event.sn)

    def _sign_late(self, accepted: AcceptedEvent, refusal: KeystoreError) -> bytes | KeystoreError:
        """Sign what was accepted before a crash, and not signed before others of its log.

        The store has promised all that stands, so the signer may learn it in one go.
        """
        aid, said = accepted.event.aid, accepted.event.said
        if refusal.code is not ErrorCode.SECOND_EVENT:
            return refusal
        if self._store.witnessed(aid, said) is not Promise.STANDS:
            return refusal
        try:
            self._relearn(aid)
        except KeystoreError:
            return refusal
        (signature,) = self._signatures([accepted])
        return signature

    def _enter_quarantine(self) -> None:
        """Find out what the store lacks; without anything to lack it is the current one."""
        lacking: list[tuple[Aid, Said | None]]
        if self._signer.is_blank():
            # The memory of the signer is lost, so nobody here knows what was signed last, nor for
            # whom: that there is no other log is for the operator to say.
            lacking = [(aid, None) for aid in (*self._store.all_witnessed(), self._signer.aid)]
        else:
            lacking = [
                (aid, said)
                for aid, said in self._signer.signed_last().items()
                if self._store.events.accepted(aid, said) is None
            ]
        if lacking:
            self._store.quarantine(lacking)
            self.quarantined = True
        else:
            self._become_current()

    def _become_current(self) -> None:
        """Leave all other copies of the store behind."""

        def work() -> None:
            self._store.rename()
            self.count()

        self._store.run(work)
        self.counted()
        self._signer.accept(self._name, self._generation)
        self.quarantined = False

    def _confirm(self, aid: Aid) -> None:
        def work() -> None:
            self._store.confirm(aid)
            self.count()

        self._store.run(work)
        self.counted()
        if not self._store.about().quarantined:
            self._become_current()

    def _begins(self) -> bool:
        """Tell whether the signer knows the store as the current one."""
        for _ in range(_ATTEMPTS):
            if self._signer.begin(self._name, self._generation):
                return True
            if self._is_unchanged():
                break
        return False

    def _is_unchanged(self) -> bool:
        """Ask the store again what it has counted; tell whether no other process has changed it.

        Another may have committed, and have had that signed, since this one asked.
        """
        before = (self._name, self._generation)
        self._counted = self._store.about()
        self.counted()
        return before == (self._name, self._generation)

    def _relearn(self, aid: Aid) -> Said | None:
        """Have the signer remember what the store has promised; return what stands last there."""
        events = [one.event.raw for one in self._store.promised(aid)]
        return self._signer.relearn(events) if events else None


def _is_behind(signed: bytes | KeystoreError) -> bool:
    return isinstance(signed, KeystoreError) and signed.code is ErrorCode.BEHIND
