"""A witness: takes events of those whom it has let in, and gives one receipt for each place.

What comes in at the same time is decided in one transaction and signed at once. A receipt is made
only for what that transaction has stored: the store hands out `AcceptedEvent`, after it is durable.

Source: KERI specification, "Witness", "First Seen Policy", "Receipt Messages".
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Final

import msgspec

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
from keystead.node.receipting import Receipting, Unsaved
from keystead.node.statements import Intake, not_admitted
from keystead.ports.witness import Admitted, Origin, Promise, ReceiptSigner, WitnessStore

MAIL_KEPT_FOR: Final = timedelta(hours=1)  # who asks for answers does so every few seconds
_DELEGATORS_MORE: Final = 8  # delegators that are kept for each identifier: the deepest delegation
_DROPPED_AT_ONCE: Final = 128  # entries that waited too long: 30 ms
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
        strangers: somebody may be let in by it.
    """

    messages: Sequence[Message]
    now: datetime
    invitation: str = ""
    strangers: bool = True


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
        superseded: another event has its place since.
    """

    aid: str
    sn: int
    said: str
    status: Status
    accepted: AcceptedEvent | None = None
    receipt: bytes = b""
    error: KeysteadError | None = None
    first_said: str = ""
    superseded: bool = False


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


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What was decided on a batch, and is durable.

    Attributes:
        answers: what became of each submission, or why nothing of it was kept.
        due: events of them that get receipts.
    """

    answers: list[Submitted | KeysteadError]
    due: list[EventAnswer]


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
        self._admission = admission
        self._processor = EventProcessor(
            store.events, limits=limits, own=(self.aid,), answer_strangers=True
        )
        self._recovering = False
        self._receipts = Receipting(store, signer)
        self._intake = Intake(store, self.aid, limits)

    @property
    def quarantined(self) -> bool:
        """Whether the store was restored, and has not caught up."""
        return self._receipts.quarantined

    def submit(self, batch: Sequence[Submission]) -> list[Submitted | KeysteadError]:
        """Take what came at the same time; each submission fares as if it had come alone.

        Raises:
            StoreError: nothing was kept, and nothing was signed.
        """
        return self.finish(self.decide(batch))

    def decide(self, batch: Sequence[Submission]) -> Decided:
        """Decide on what came at the same time, and keep that; `finish` gives the receipts.

        The next batch may be decided on before.

        Raises:
            StoreError: nothing was kept.
        """
        unsaved = self._receipts.unsaved()
        answers = self.store.run(lambda: self._take_all(batch, unsaved))
        self._receipts.counted()
        # From here on all that was accepted is durable.
        due = [
            event
            for one in answers
            if isinstance(one, Submitted)
            for event in one.events
            if event.status is Status.RECEIPTED and not event.receipt
        ]
        return Decided(answers, due)

    def begin(self, decided: Decided) -> None:
        """Have the signer begin; nothing may have been decided on, nor be unfinished, since.

        Raises:
            KeystoreError: it cannot be reached (keystore.signer_process).
        """
        self._receipts.ask(_standing(decided.due, superseded=False))

    def finish(self, decided: Decided) -> list[Submitted | KeysteadError]:
        """Return what became of each submission, with the receipts.

        Raises:
            KeystoreError: the signer cannot be reached (keystore.signer_process); what was decided
                is kept, and the same events get their receipts later.
        """
        self._sign(decided.due)
        return decided.answers

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
        if self._receipts.place(accepted) is None or self._receipts.kept(accepted):
            return proofs
        promise = self.store.witnessed(aid, accepted.event.said)
        if promise is Promise.NONE:
            return proofs
        answer = EventAnswer(aid, accepted.event.sn, accepted.event.said, Status.RECEIPTED)
        answer.accepted, answer.superseded = accepted, promise is Promise.SUPERSEDED
        self._sign([answer])
        if answer.superseded and not answer.receipt:
            return proofs
        if isinstance(answer.error, KeystoreError):
            raise answer.error
        return proofs.merged(self._receipts.proofs(accepted, answer.receipt))

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
        return self._receipts.sign_reply(payload)

    def flush(self) -> None:
        """Keep the receipts of the last batches with their events, so that readers see them.

        Raises:
            StoreError: it could not be done; nothing is lost by that.
        """
        self._receipts.flush()

    def tidy(self, now: datetime, *, probe: bool = False) -> bool:
        """Save what is left to save, and drop a part of what has waited too long.

        Tells whether there is more to do; callers wait meanwhile.

        Args:
            now: the time.
            probe: write something in any case, to find out whether that is possible again.

        Raises:
            StoreError: it could not be done.
        """
        unsaved = self._receipts.unsaved()

        def work() -> int:
            self._receipts.save(unsaved)
            if probe:
                self._receipts.count()
            self.store.expire_mail(microseconds(now - MAIL_KEPT_FOR))
            return len(self._processor.expire(now, _DROPPED_AT_ONCE))

        dropped = self.store.run(work)
        self._receipts.counted()
        return dropped == _DROPPED_AT_ONCE or self.store.give_back()

    def recover(self, aid: Aid, messages: Iterable[Message], now: datetime) -> bool:
        """Take the log of an identifier from other sources after a restore: all that there are.

        Tells whether the log is seen again by that.

        Raises:
            KeystoreError: what the log has at some place contradicts a receipt of this witness
                (keystore.second_event); nothing of it was taken.
        """
        wanted = dict(self.store.unconfirmed())
        if aid not in wanted:
            return True
        if aid == self.aid:
            return False  # it stands for logs that nobody here knows of: see `give_up`
        self._recovering = True
        try:
            with self.store.transaction():
                self._receipts.save(self._receipts.unsaved())
                if self.store.admitted(aid) is None:  # it was: there are receipts for its events
                    self.store.admit(Admitted(aid, True, Origin.OPERATOR, now.isoformat()))  # noqa: FBT003 - a record
                seen = self._take_log(aid, messages, now)
        finally:
            self._recovering = False
        if not seen:
            return False
        return self._receipts.confirm_if_seen(aid, told=True)

    def _take_log(self, aid: Aid, messages: Iterable[Message], now: datetime) -> bool:
        """Take messages; tell whether the log of `aid` was among them."""
        seen = False
        for message in messages:
            for result in self._processor.process(message, source=Source.LOCAL, now=now):
                match result.verdict:
                    case Accepted() if result.accepted is not None:
                        self._put_due(result.accepted, result.verdict)
                        seen |= result.accepted.event.aid == aid
                    case Duplicate(accepted):
                        seen |= accepted.event.aid == aid
                    case Duplicitous(evidence):
                        self._receipts.check(evidence)
                    case _:
                        pass
        return seen

    def give_up(self, aid: Aid) -> bool:
        """Go on without having seen a log again, at the operator's risk; tell if it was waited for.

        What was signed for that log and is in no memory here may be contradicted.
        """
        if aid not in dict(self.store.unconfirmed()):
            return False
        self._receipts.give_up(aid)
        return True

    def _take_all(
        self, batch: Sequence[Submission], unsaved: Unsaved
    ) -> list[Submitted | KeysteadError]:
        """Take what came at the same time, inside a transaction that may be made again."""
        answers: list[Submitted | KeysteadError] = []
        # At first, so that processes which share the store wait for each other here, and not after
        # all the work.
        self._receipts.count()
        self._receipts.save(unsaved)
        for one in batch:
            try:
                with self.store.transaction():
                    answers.append(self._take(one))
            except (StoreError, VerificationError, KeystoreError) as error:
                if error.code in _FATAL:
                    raise
                error.forget_frames()
                answers.append(error)
        return answers

    def _take(self, one: Submission) -> Submitted:
        done = Submitted([], [], 0, [])
        for message in one.messages:
            message_type, aid = forms.glance(message.content)
            if message_type in EVENTS:
                self._take_event(aid, message, one, done)
                continue
            refusal = self._intake.refusal(message_type, message, one.now)
            if refusal is None:
                self._process(message, one.now, done)
            else:
                done.errors.append(refusal)
        return done

    def _process(self, message: Message, now: datetime, done: Submitted) -> None:
        for result in self._processor.process(message, source=Source.LOCAL, now=now):
            self._note(done, result)

    def _take_event(self, aid: str, message: Message, one: Submission, done: Submitted) -> None:
        if not is_aid(aid):  # reading it will tell what is wrong
            self._process(message, one.now, done)
            return
        found = self.store.admitted(Aid(aid))
        if found is None:
            self._take_first(Aid(aid), message, one, done)
        elif found.allowed:
            self._process(message, one.now, done)
        else:
            done.events.append(EventAnswer(aid, 0, "", Status.REFUSED, error=not_admitted()))

    def _take_first(self, aid: Aid, message: Message, one: Submission, done: Submitted) -> None:
        """Take an event of a stranger, if it may be let in, and if keys of its log have signed it.

        Otherwise it is as if it had not come: a fault uses up no invitation, and what costs
        nobody a signature uses up no quota.
        """
        results: list[Result] = []
        with suppress(_UnprovenError), self.store.transaction():
            if self._let_in(aid, one):
                results = self._processor.process(message, source=Source.LOCAL, now=one.now)
                if not _is_proven(results[0]):
                    raise _UnprovenError
                for result in results:
                    self._note(done, result)
                return
        if results and isinstance(results[0].verdict, Rejected):
            self._note(done, results[0])
        else:
            done.events.append(EventAnswer(aid, 0, "", Status.REFUSED, error=not_admitted()))

    def _let_in(self, aid: Aid, one: Submission) -> bool:
        """Let a stranger in, if an invitation or the quota allows it."""
        origin: Origin | None = None
        if not one.strangers:
            return False
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
                promise = self.store.witnessed(accepted.event.aid, accepted.event.said)
                if promise is not Promise.NONE:
                    answer.superseded = promise is Promise.SUPERSEDED
                    answer.status = Status.RECEIPTED
                    answer.receipt = self._receipts.kept(accepted)
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
        """Write that a receipt is due, if one is; tell whether.

        Raises:
            KeystoreError: the store was restored, and lacks what was signed for that place
                (keystore.second_event); what was accepted has to be undone.
        """
        event = accepted.event
        found = self.store.admitted(event.aid)
        due = any(isinstance(effect, ReceiptDue) for effect in verdict.effects)
        due = due and found is not None and found.origin is not Origin.DELEGATOR
        # What waited may be completed after the operator shut its identifier out. What is restored
        # was promised before.
        due = due and (self._recovering or (found is not None and found.allowed))
        if self.quarantined and (due or verdict.supersedes):
            self._receipts.object(accepted, recovering=self._recovering)
        if not due:
            if verdict.supersedes:  # by a rotation that this witness is not to receipt
                self.store.supersede(event.aid, event.sn)
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
            done.errors.append(not_admitted())
            return
        admitted = self.store.admitted(message.aid)
        since = "" if admitted is None else admitted.since
        self.store.admit(Admitted(delegator, True, Origin.DELEGATOR, since))  # noqa: FBT003 - a record

    def _sign(self, due: Sequence[EventAnswer]) -> None:
        for superseded in (False, True):
            # What has lost its place may get the same receipt again, and no first one.
            chosen = [one for one in due if one.superseded is superseded]
            events = _standing(chosen, superseded=superseded)
            signed = self._receipts.sign(events, known_only=superseded)
            for one, signature in zip(chosen, signed, strict=True):
                if isinstance(signature, bytes):
                    one.receipt = signature
                else:
                    one.status, one.error = Status.REFUSED, signature
        if self.quarantined:
            for one in due:
                self._receipts.confirm_if_seen(Aid(one.aid))


def _standing(due: Sequence[EventAnswer], *, superseded: bool) -> list[AcceptedEvent]:
    return [
        one.accepted for one in due if one.accepted is not None and one.superseded is superseded
    ]


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


class _UnprovenError(Exception):
    """Nothing shows that keys of the log have signed an event."""


def _is_proven(result: Result) -> bool:
    """Tell whether keys of its log have signed an event; one out of order cannot show that."""
    match result.verdict:
        case Accepted() | Duplicate():
            return True
        case Pending(event=held):
            return bool(held.proofs.signatures)
        case _:
            return False


def _plain(message: object, status: Status) -> EventAnswer:
    if not isinstance(message, KeyEvent):
        return EventAnswer("", 0, "", status)
    return EventAnswer(message.aid, message.sn, message.said, status)


def own_receipts(events: Sequence[EventAnswer]) -> Iterator[EventAnswer]:
    """Give the answers that hold a receipt."""
    return (one for one in events if one.status is Status.RECEIPTED and one.receipt)
