"""A witness: takes events of those whom it has let in, and gives one receipt for each place.

What comes in at the same time is decided in one transaction and signed at once. A receipt is made
only for what that transaction has stored: the store hands out `AcceptedEvent`, after it is durable.

Source: KERI specification, "Witness", "First Seen Policy", "Receipt Messages".
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Final

import msgspec

from keystead.cesr import indexed
from keystead.cesr.body import Body
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Said, is_aid
from keystead.cesr.stream import Message
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, StoreError, VerificationError
from keystead.keri import forms
from keystead.keri.attachments import Proofs
from keystead.keri.events import FIELDS as EVENTS
from keystead.keri.events import DelegatedInception, KeyEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import Query
from keystead.keri.verdicts import (
    Accepted,
    Authentic,
    Duplicate,
    Duplicitous,
    Pending,
    ReceiptDue,
    Rejected,
    Source,
    Unauthenticated,
)
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.ports.witness import Admitted, Origin, ReceiptSigner, WitnessStore
from keystead.suites import Suite

MAIL_KEPT_FOR: Final = timedelta(hours=1)  # who asks for answers does so every few seconds
_DELEGATORS_MORE: Final = 8  # delegators that are kept for each identifier: the deepest delegation
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND: Final = timedelta(microseconds=1)


class Admission(msgspec.Struct, frozen=True):
    """Whom a witness lets in besides those that its operator names.

    Attributes:
        open_quota: identifiers that may come by themselves; 0: none.
    """

    open_quota: int = 0


CLOSED: Final = Admission()


class Submission(msgspec.Struct, frozen=True, gc=False):
    """What came in one request.

    Attributes:
        messages: framed messages, in order.
        now: when.
        invitation: code of an invitation, if one was given.
    """

    messages: Sequence[Message]
    now: datetime
    invitation: str = ""


class Status(Enum):
    """What became of an event."""

    RECEIPTED = "receipted"
    KEPT = "kept"
    WAITS = "waits"
    DUPLICITOUS = "duplicitous"
    REFUSED = "refused"


class EventAnswer(msgspec.Struct, gc=False):
    """What became of one event of a submission.

    Attributes:
        aid: its identifier; empty if it could not be read.
        sn: its place.
        said: its digest.
        status: what became of it.
        accepted: as the log has it.
        receipt: the raw signature of this witness over it.
        error: why there is no receipt.
        first_said: of the event that stands at its place, if it is duplicitous.
    """

    aid: str
    sn: int
    said: str
    status: Status
    accepted: AcceptedEvent | None = None
    receipt: bytes = b""
    error: KeysteadError | None = None
    first_said: str = ""


class Submitted(msgspec.Struct, gc=False):
    """What became of a submission.

    Attributes:
        events: its events, in order.
        queries: those that can be answered, with who asked.
        taken: number of other messages that were taken: receipts and statements.
        errors: why others were not.
    """

    events: list[EventAnswer]
    queries: list[tuple[Query, Aid]]
    taken: int
    errors: list[KeysteadError]


class Witness:
    """One witness over its store and its signer. Not safe for concurrent threads."""

    def __init__(
        self,
        store: WitnessStore,
        signer: ReceiptSigner,
        *,
        admission: Admission = CLOSED,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Serve a store, and find out whether it is the current one.

        Raises:
            StoreError: the store is another witness's (store.corrupt).
        """
        self.store = store
        self.aid = signer.aid
        self._signer = signer
        self._admission = admission
        self._processor = EventProcessor(
            store.events, limits=limits, own=(self.aid,), answer_strangers=True
        )
        self._unsaved: dict[Said, tuple[AcceptedEvent, bytes]] = {}
        about = store.about()
        if about.aid != self.aid:
            raise StoreError(ErrorCode.STORE_CORRUPT, "the store is that of another witness")
        self._name, self._generation = about.store, about.generation
        self.quarantined = about.quarantined
        if not self.quarantined and not signer.begin(self._name, self._generation):
            self._enter_quarantine()

    def submit(self, batch: Sequence[Submission]) -> list[Submitted | KeysteadError]:
        """Take what came at the same time; each submission fares as if it had come alone.

        Raises:
            StoreError: nothing was kept, and nothing was signed.
        """
        answers: list[Submitted | KeysteadError] = []
        with self.store.transaction():
            self._save_receipts()
            for one in batch:
                try:
                    with self.store.transaction():
                        answers.append(self._take(one))
                except (StoreError, VerificationError) as error:
                    if error.code in _FATAL:
                        raise
                    answers.append(error)
            self._generation = self.store.count()
        # From here on all that was accepted is durable.
        due = [
            event
            for one in answers
            if isinstance(one, Submitted)
            for event in one.events
            if event.status is Status.RECEIPTED and not event.receipt
        ]
        self._sign(due)
        return answers

    def receipted(self, aid: Aid, *, sn: int | None = None, said: Said | None = None) -> Proofs:
        """Return the witness signatures over an event, this witness's own among them if due.

        Raises:
            LookupError: there is no such event.
            KeystoreError: the signer refuses.
        """
        accepted = self.find(aid, sn=sn, said=said)
        if accepted is None:
            raise LookupError(aid)
        proofs = accepted.proofs
        if self._own_place(accepted) is None or not self.store.witnessed(aid, accepted.event.said):
            return proofs
        if self._own_signature(accepted):
            return proofs
        answer = EventAnswer(aid, accepted.event.sn, accepted.event.said, Status.RECEIPTED)
        answer.accepted = accepted
        self._sign([answer])
        if isinstance(answer.error, KeystoreError):
            raise answer.error
        own = self._indexed(accepted, answer.receipt)
        return proofs.merged(Proofs(witness_signatures=(own,)))

    def find(
        self, aid: Aid, *, sn: int | None = None, said: Said | None = None
    ) -> AcceptedEvent | None:
        """Return an event by its place or digest; by neither, the latest."""
        if said is not None:
            return self.store.events.accepted(aid, said)
        if sn is None:
            state = self.store.events.key_state(aid)
            sn = -1 if state is None else state.sn
        return self.store.events.event(aid, sn)

    def sign_reply(self, payload: bytes) -> bytes:
        """Return the signature of the witness over a reply."""
        return self._signer.sign_reply(payload)

    def flush(self) -> None:
        """Keep the receipts of the last batches with their events, so that readers see them.

        Raises:
            StoreError: it could not be done; nothing is lost by that.
        """
        if self._unsaved:
            with self.store.transaction():
                self._save_receipts()

    def tidy(self, now: datetime, *, probe: bool = False) -> int:
        """Drop what has waited too long and save what is left to save; tell how much was dropped.

        Args:
            now: the time.
            probe: write something in any case, to find out whether that is possible again.

        Raises:
            StoreError: it could not be done.
        """
        with self.store.transaction():
            self._save_receipts()
            if probe:
                self._generation = self.store.count()
            self.store.expire_mail(microseconds(now - MAIL_KEPT_FOR))
            return len(self._processor.expire(now))

    def recover(self, aid: Aid, messages: Iterable[Message], now: datetime) -> bool:
        """Take the log of an identifier from another source after a restore.

        Own receipts in it are remembered again. Tells whether the log is seen again by that.

        Raises:
            KeystoreError: an own receipt contradicts another own receipt (keystore.second_event).
        """
        known: list[AcceptedEvent] = []
        with self.store.transaction():
            for message in messages:
                for result in self._processor.process(message, source=Source.LOCAL, now=now):
                    match result.verdict:
                        case Accepted() if result.accepted is not None:
                            self._put_due(result.accepted, result.verdict)
                            known.append(result.accepted)
                        case Duplicate(accepted):
                            known.append(accepted)
                        case _:
                            pass
        for one in known:
            accepted = self.store.events.accepted(one.event.aid, one.event.said) or one
            for signature in self._own_signature(accepted):
                self._signer.relearn(accepted.event.raw, signature.raw)
        wanted = dict(self.store.unconfirmed())
        if aid not in wanted or not known:
            return aid not in wanted
        said = wanted[aid]
        if said is not None and self.store.events.accepted(aid, said) is None:
            return False
        self._confirm(aid)
        return True

    def give_up(self, aid: Aid) -> bool:
        """Go on without having seen a log again, at the operator's risk; tell if it was waited for.

        What was signed for that log and is in no memory here may be contradicted.
        """
        if aid not in dict(self.store.unconfirmed()):
            return False
        self._confirm(aid)
        return True

    def _take(self, one: Submission) -> Submitted:
        done = Submitted([], [], 0, [])
        for message in one.messages:
            message_type, aid = forms.glance(message.content)
            refusal = self._refusal(message_type, aid, message, one)
            if refusal is not None:
                if message_type in EVENTS:
                    done.events.append(EventAnswer(aid, 0, "", Status.REFUSED, error=refusal))
                else:
                    done.errors.append(refusal)
                continue
            results = self._processor.process(message, source=Source.LOCAL, now=one.now)
            for result in results:
                self._note(done, result)
        return done

    def _refusal(
        self, message_type: str, aid: str, message: Message, one: Submission
    ) -> KeysteadError | None:
        """Return why a message is not taken, before anything of it is verified.

        Nothing of strangers may wait here: neither their events nor their questions about others.
        """
        if message_type in _ABOUT:
            return None if self._is_known(_about(message, message_type)) else _not_admitted()
        if message_type not in EVENTS:
            return VerificationError(ErrorCode.ROUTE, "a witness takes no such messages")
        if not is_aid(aid):
            return None  # reading it will tell what is wrong
        found = self.store.admitted(Aid(aid))
        if found is not None:
            return None if found.allowed else _not_admitted()
        return None if self._let_in(Aid(aid), one) else _not_admitted()

    def _is_known(self, aid: str) -> bool:
        if not is_aid(aid):
            return False
        if aid == self.aid or self.store.events.key_state(Aid(aid)) is not None:
            return True
        return self.store.is_neighbour(Aid(aid))

    def _let_in(self, aid: Aid, one: Submission) -> bool:
        """Let a stranger in, if an invitation or the quota allows it."""
        origin: Origin | None = None
        if one.invitation:
            digest = invitation_digest(one.invitation)
            if self.store.use_invitation(digest, microseconds(one.now)):
                origin = Origin.INVITATION
        elif self._admission.open_quota > self.store.count_admitted(Origin.OPEN):
            origin = Origin.OPEN
        if origin is None:
            return False
        self.store.admit(Admitted(aid, True, origin, one.now.isoformat()))  # noqa: FBT003 - a record
        return True

    def _note(self, done: Submitted, result: Result) -> None:
        message, verdict = result.message, result.verdict
        match verdict:
            case Accepted() if result.accepted is not None:
                answer = self._answer(result.accepted)
                if self._put_due(result.accepted, verdict):
                    answer.status = Status.RECEIPTED
            case Duplicate(accepted):
                answer = self._answer(accepted)
                if self.store.witnessed(answer.accepted.event.aid, answer.accepted.event.said):  # type: ignore[union-attr] # set just before
                    answer.status = Status.RECEIPTED
                    answer.receipt = b"".join(
                        signature.raw for signature in self._own_signature(accepted)
                    )
            case Pending():
                answer = _plain(message, Status.WAITS)
                self._let_in_delegator(message, done)
            case Duplicitous(evidence):
                answer = _plain(message, Status.DUPLICITOUS)
                answer.first_said = evidence.accepted.event.said
            case Rejected(error) if message is None or message.message_type not in EVENTS:
                done.errors.append(error)
                return
            case Rejected(error):
                answer = _plain(message, Status.REFUSED)
                answer.error = error
            case Authentic() | Unauthenticated() if isinstance(verdict.message, Query):
                signer = (
                    verdict.signer if isinstance(verdict, Authentic) else verdict.claimed_signer
                )
                done.queries.append((verdict.message, signer))
                return
            case _:
                done.taken += 1
                return
        if not result.again or answer.status is Status.RECEIPTED:
            done.events.append(answer)

    def _answer(self, accepted: AcceptedEvent) -> EventAnswer:
        event = accepted.event
        return EventAnswer(event.aid, event.sn, event.said, Status.KEPT, accepted)

    def _put_due(self, accepted: AcceptedEvent, verdict: Accepted) -> bool:
        """Write that a receipt is due, if one is; tell whether."""
        if not any(isinstance(effect, ReceiptDue) for effect in verdict.effects):
            return False
        found = self.store.admitted(accepted.event.aid)
        if found is None or found.origin is Origin.DELEGATOR:
            return False
        self.store.put_witnessed(accepted, supersedes=verdict.supersedes)
        return True

    def _let_in_delegator(self, message: object, done: Submitted) -> None:
        """Let in the log that an event of one that was let in waits for: that of its delegator."""
        if not isinstance(message, DelegatedInception):
            return
        delegator = message.delegator
        if self.store.admitted(delegator) is not None:
            return
        count = self.store.count_admitted
        others = sum(count(origin) for origin in Origin if origin is not Origin.DELEGATOR)
        if count(Origin.DELEGATOR) >= _DELEGATORS_MORE * max(1, others):
            done.errors.append(_not_admitted())
            return
        admitted = self.store.admitted(message.aid)
        since = "" if admitted is None else admitted.since
        self.store.admit(Admitted(delegator, True, Origin.DELEGATOR, since))  # noqa: FBT003 - a record

    def _sign(self, due: Sequence[EventAnswer]) -> None:
        if not due:
            return
        events = [one.accepted.event.raw for one in due if one.accepted is not None]
        signed = self._signer.sign_receipts(
            self._name, self._generation, events, known_only=self.quarantined
        )
        for one, signature in zip(due, signed, strict=True):
            if isinstance(signature, KeystoreError):
                one.status, one.error = Status.REFUSED, signature
            elif one.accepted is not None:
                one.receipt = signature
                if not self._own_signature(one.accepted):
                    self._unsaved[one.accepted.event.said] = (one.accepted, signature)
                self._confirm_if_seen(one.accepted)

    def _save_receipts(self) -> None:
        """Keep own receipts with their events; if that is lost, they are signed again alike."""
        unsaved, self._unsaved = self._unsaved, {}  # if they are lost, they are signed again alike
        for accepted, signature in unsaved.values():
            receipt = Proofs(witness_signatures=(self._indexed(accepted, signature),))
            self.store.keep_receipt(accepted, receipt)

    def _own_place(self, accepted: AcceptedEvent) -> int | None:
        witnesses = accepted.state.establishment.witnesses
        return witnesses.index(self.aid) if self.aid in witnesses else None

    def _own_signature(self, accepted: AcceptedEvent) -> list[IndexedSignature]:
        place = self._own_place(accepted)
        return [one for one in accepted.proofs.witness_signatures if one.index == place]

    def _indexed(self, accepted: AcceptedEvent, signature: bytes) -> IndexedSignature:
        place = self._own_place(accepted)
        assert place is not None  # noqa: S101 - a receipt was due
        return indexed.make(Suite.ED25519, signature, place, ondex=place)

    def _enter_quarantine(self) -> None:
        """Find out what the store lacks; without anything to lack it is the current one."""
        signed = self._signer.signed_last()
        lacking: list[tuple[Aid, Said | None]] = [
            (aid, said)
            for aid, said in signed.items()
            if self.store.events.accepted(aid, said) is None
        ]
        if not signed:
            # The memory of the signer is lost, so nobody here knows what was signed last.
            lacking = [(aid, None) for aid, _ in self.store.latest_witnessed()]
        if not lacking:
            self._signer.accept(self._name, self._generation)
            return
        self.store.quarantine(lacking)
        self.quarantined = True

    def _confirm_if_seen(self, accepted: AcceptedEvent) -> None:
        if not self.quarantined:
            return
        wanted = dict(self.store.unconfirmed())
        if wanted.get(accepted.event.aid) == accepted.event.said:
            self._confirm(accepted.event.aid)

    def _confirm(self, aid: Aid) -> None:
        with self.store.transaction():
            self.store.confirm(aid)
            self._generation = self.store.count()
        if not self.store.about().quarantined:
            self._signer.accept(self._name, self._generation)
            self.quarantined = False


# What makes a whole batch fail: the store itself cannot go on.
_FATAL: Final = frozenset(
    (
        ErrorCode.STORE_FULL,
        ErrorCode.STORE_IO,
        ErrorCode.STORE_BUSY,
        ErrorCode.STORE_CORRUPT,
    )
)


def invitation_digest(code: str) -> bytes:
    """Return what is kept of the code of an invitation."""
    return sha256(code.encode()).digest()


def microseconds(time: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def _not_admitted() -> VerificationError:
    return VerificationError(ErrorCode.NOT_ADMITTED, "this identifier was not let in here")


def _plain(message: object, status: Status) -> EventAnswer:
    if not isinstance(message, KeyEvent):
        return EventAnswer("", 0, "", status)
    return EventAnswer(message.aid, message.sn, message.said, status)


# Message type -> field and labels of the identifier that a message is about.
_ABOUT: Final = {"rct": ("", ("i",)), "qry": ("q", ("i",)), "rpy": ("a", ("cid", "eid", "i"))}


def _about(message: Message, message_type: str) -> str:
    """Return the identifier whose log tells whether a message is of use here; unchecked."""
    if not isinstance(message.content, dict):
        return ""
    block: Body = message.content
    field, labels = _ABOUT[message_type]
    if field:
        inner = block.get(field)
        block = inner if isinstance(inner, dict) else {}
    found = next((block[label] for label in labels if label in block), "")
    return found if isinstance(found, str) else ""


def own_receipts(events: Sequence[EventAnswer]) -> Iterator[EventAnswer]:
    """Give the answers that hold a receipt."""
    return (one for one in events if one.status is Status.RECEIPTED and one.receipt)
