"""The one way in: framed messages are verified, decided on, and stored.

Each message is decided on a snapshot of the store, in one transaction. When an event is accepted,
what waited for it is looked at again, one after another, until nothing more changes.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Message
from keystead.errors import ErrorCode, KeysteadError, VerificationError
from keystead.keri.attachments import Attachments, SignedEvent, gather
from keystead.keri.escrow import Held, Waiting, WaitingMessage, WaitingReceipts
from keystead.keri.events import KeyEvent
from keystead.keri.messages import AnyMessage, Receipt, parse_message
from keystead.keri.verdicts import Rejected, RoutedVerdict, Source, Verdict
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.decisions import Context, decide_event, decide_receipts
from keystead.node.messages import decide_message, signed_parts
from keystead.ports import Decision, EventStore, Outcome


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one message, or of one that waited.

    Attributes:
        message: the typed message; None when it could not even be read.
        verdict: the decision.
        again: it had waited, and is the consequence of another message.
    """

    message: AnyMessage | None
    verdict: Verdict | RoutedVerdict
    again: bool = False


class EventProcessor:
    """Feeds messages of one node into its store.

    Attributes:
        store: where logs and what waits for them are kept.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        limits: Limits = DEFAULT_LIMITS,
        own: Iterable[Aid] = (),
        trust_first_seen: bool = False,
        answer_strangers: bool = False,
    ) -> None:
        """Serve the identifiers `own`.

        Args:
            store: where logs are kept.
            limits: bounds.
            own: identifiers that this node controls or witnesses as; events of or for them
                are taken from local sources only.
            trust_first_seen: take over the first-seen times that a replay attaches, as when a
                node copies its own store.
            answer_strangers: give a verdict on queries whose signer's log is not here too.
        """
        self.store = store
        self._limits = limits
        self._own = frozenset(own)
        self._trust_first_seen = trust_first_seen
        self._answer_strangers = answer_strangers
        self._last_context: Context | None = None  # of the last time; most messages share it

    def process(
        self, message: Message, *, source: Source = Source.REMOTE, now: datetime
    ) -> list[Result]:
        """Decide on a message and on everything that it unblocks.

        Args:
            message: from a stream reader.
            source: how it came here.
            now: aware time of arrival.

        Returns:
            The result for the message (one for each signer of a routed message), then the
            results for what had waited.
        """
        try:
            parsed = parse_message(message, self._limits)
            attached = gather(message.groups)
            work = _work(parsed, attached)
        except KeysteadError as error:
            return [Result(None, Rejected(error))]
        context = self._context(source, now)
        if self._trust_first_seen and attached.first_seen is not None:
            context = msgspec.structs.replace(context, seen_at=attached.first_seen.datetime)
        results: list[Result] = []
        for waiting in work:
            results += self._settle(waiting, context)
        return results

    def expire(self, now: datetime) -> list[Result]:
        """Drop what has waited too long."""
        error = VerificationError(ErrorCode.EXPIRED, f"waited for {self._limits.held_for}")
        results = []
        for held in list(self.store.due(now - self._limits.held_for)):
            drop = Decision(Rejected(error), release=(held.key,))
            self.store.advance(_owner(held.waiting), lambda _, drop=drop: drop)
            results.append(Result(message_of(held.waiting), drop.verdict, again=True))
        return results

    def _settle(self, waiting: Waiting, context: Context) -> list[Result]:
        """Decide on one piece of work and on what it unblocks, oldest first."""
        outcome = self._advance(waiting, context)
        results = [Result(message_of(waiting), outcome.decision.verdict)]
        if not outcome.unblocked and not outcome.evicted:
            return results
        queue: deque[Held] = deque()
        while True:
            queue += outcome.unblocked
            results += [
                Result(message_of(held.waiting), Rejected(error), again=True)
                for held, error in outcome.evicted
            ]
            if not queue:
                return results
            held = queue.popleft()
            source = Source.LOCAL if held.local else Source.REMOTE
            outcome = self._advance(held.waiting, self._context(source, context.now))
            results.append(
                Result(message_of(held.waiting), outcome.decision.verdict, again=True)
            )

    def _advance(self, waiting: Waiting, context: Context) -> Outcome:
        match waiting:
            case SignedEvent():
                aid = waiting.event.aid
                return self.store.advance(aid, lambda kel: decide_event(kel, waiting, context))
            case WaitingReceipts():
                aid = waiting.aid
                return self.store.advance(aid, lambda kel: decide_receipts(kel, waiting, context))
            case WaitingMessage():
                aid = waiting.signer
                return self.store.advance(aid, lambda kel: decide_message(kel, waiting, context))

    def _context(self, source: Source, now: datetime) -> Context:
        known = self._last_context
        if known is None or known.now != now or known.source is not source:
            seen_at = now.astimezone(UTC).isoformat(timespec="microseconds")
            known = Context(
                source, now, seen_at, self._own, self._limits, self._answer_strangers
            )
            self._last_context = known
        return known


def message_of(waiting: Waiting) -> AnyMessage:
    """Return the message itself of what waits."""
    match waiting:
        case SignedEvent(event):
            return event
        case WaitingReceipts(aid, sn, said):
            return Receipt(aid, sn, said)
        case WaitingMessage(message):
            return message


def _work(parsed: AnyMessage, attached: Attachments) -> Sequence[Waiting]:
    """Return what has to be decided for a message."""
    match parsed:
        case KeyEvent():
            return (SignedEvent(parsed, attached.claims),)
        case Receipt(aid, sn, said):
            return (WaitingReceipts(aid, sn, said, attached.claims),)
        case _:
            return signed_parts(parsed, attached)


def _owner(waiting: Waiting) -> Aid:
    match waiting:
        case SignedEvent(event):
            return event.aid
        case WaitingReceipts(aid):
            return aid
        case WaitingMessage(_, signer):
            return signer
