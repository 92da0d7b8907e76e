"""Audit: what a stream proves about each identifier in it, and what is wrong with it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Malformed, Message
from keystead.errors import ErrorCode, KeysteadError, StoreError
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Held
from keystead.keri.events import KeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import AnyMessage, Receipt
from keystead.keri.verdicts import Accepted, Duplicitous, Rejected
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.node.weighing import counts
from keystead.ports import EventStore

# Problems that are kept in full; all are counted. A hostile stream has no end of them.
MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """Which message a problem is about; not the message, which may be large.

    Attributes:
        message_type: its type.
        said: its digest, for a receipt that of the event.
        aid: the identifier whose log it is for, None for a routed message.
        sn: its place there, None for a routed message.
    """

    message_type: str
    said: str
    aid: str | None = None
    sn: int | None = None

    @classmethod
    def of(cls, message: AnyMessage | None) -> "Subject | None":
        """Return what to call a message; None for one that could not be read."""
        match message:
            case None:
                return None
            case KeyEvent(aid=aid, sn=sn, said=said) | Receipt(aid=aid, sn=sn, said=said):
                return cls(message.message_type, said, aid, sn)
            case _:
                return cls(message.message_type, message.said)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was refused.

    Attributes:
        error: why.
        subject: the message, None when it could not be read.
        start: offset of the message in the stream, None when it had waited for others.
        end: offset of its end.
    """

    error: KeysteadError
    subject: Subject | None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class LogReport:
    """What is known about one identifier.

    Attributes:
        aid: the identifier.
        state: its key state, None when no event of it was accepted.
        accepted: events accepted, superseded ones included.
        superseded: events that lost their place to a recovery.
        pending: what waits, with what it waits for.
        duplicity: events at places that are taken, with both signed versions, of which either
            could be believed.
        dismissed: the same, where the other version does not stand: by keys that were replaced.
    """

    aid: Aid
    state: KeyState | None
    accepted: int
    superseded: int
    pending: tuple[Held, ...]
    duplicity: tuple[DuplicityEvidence, ...]
    dismissed: tuple[DuplicityEvidence, ...] = ()


@dataclass
class Audit:
    """Verifies one stream, piece by piece, and keeps count.

    Attributes:
        store: an empty store for the logs of the stream.
        now: aware time of arrival.
        limits: bounds.
        read: bytes so far.
        messages: messages so far.
        accepted: key events that were accepted.
        unchecked: messages of types that are not verified yet (registry events, credentials).
        duplicitous: events that claim a place that is taken.
        problems: the first things that were refused.
        refused: number of all of them by code.
    """

    store: EventStore
    now: datetime
    limits: Limits = DEFAULT_LIMITS
    read: int = 0
    messages: int = 0
    accepted: int = 0
    unchecked: int = 0
    duplicitous: int = 0
    problems: list[Problem] = field(default_factory=list)
    refused: Counter[ErrorCode] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Open the stream."""
        self._processor = EventProcessor(self.store, limits=self.limits)
        self._reader = self._processor.reader()

    def feed(self, data: bytes) -> None:
        """Verify the next piece of the stream."""
        self.read += len(data)
        self._reader.feed(data)
        self._take()

    def close(self) -> None:
        """Verify what the end of the stream determines."""
        self._reader.close()
        self._take()

    def reports(self) -> Iterator[LogReport]:
        """Give a report on each identifier, in the order of appearance."""
        pending: dict[Aid, list[Held]] = {}
        for held in self.store.waiting():
            pending.setdefault(held.waiting.log, []).append(held)
        known = dict.fromkeys(self.store.identifiers())
        for aid in [*known, *(aid for aid in pending if aid not in known)]:
            state = self.store.key_state(aid)
            accepted = sum(1 for _ in self.store.first_seen(aid))
            on_trunk = 0 if state is None else state.sn + 1
            evidence = self.store.duplicity(aid)
            counting = tuple([one for one in evidence if counts(self.store, one)])
            yield LogReport(
                aid,
                state,
                accepted,
                accepted - on_trunk,
                tuple(pending.get(aid, ())),
                counting,
                tuple([one for one in evidence if one not in counting]),
            )

    @property
    def waiting(self) -> int:
        """Messages that wait."""
        return sum(1 for _ in self.store.waiting())

    @property
    def overflowed(self) -> bool:
        """Messages were dropped because too many waited."""
        return ErrorCode.ESCROW_FULL in self.refused

    def _take(self) -> None:
        for item in self._reader:
            if isinstance(item, Malformed):
                self._refuse(Problem(item.error, None, item.start, item.end))
                continue
            self.messages += 1
            for result in self._processor.process(item, now=self.now):
                self._count(result, item)

    def _count(self, result: Result, item: Message) -> None:
        verdict = result.verdict
        kind = type(verdict)
        if kind is Accepted:
            self.accepted += 1
        elif kind is Duplicitous:
            self.duplicitous += 1
        elif isinstance(verdict, Rejected):
            error = verdict.error
            if error.code is ErrorCode.UNSUPPORTED_MESSAGE:
                self.unchecked += 1
            elif result.again or isinstance(error, StoreError):
                self._refuse(Problem(error, Subject.of(result.message)))
            else:
                self._refuse(Problem(error, Subject.of(result.message), item.start, item.end))

    def _refuse(self, problem: Problem) -> None:
        self.refused[problem.error.code] += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)
