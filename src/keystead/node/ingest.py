"""The one way in: framed messages are verified, decided on, and stored.

Each message is decided on a snapshot of the store, in one transaction. When an event is accepted,
what waited for it is looked at again, one after another, until nothing more changes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Message, StreamReader
from keystead.errors import ErrorCode, KeysteadError, VerificationError
from keystead.keri import forms
from keystead.keri.attachments import Attachments, SignedEvent, gather
from keystead.keri.escrow import Held, Waiting, WaitingMessage, WaitingReceipts
from keystead.keri.events import FIELDS
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import AnyMessage, Receipt, RoutedMessage, parse_message
from keystead.keri.verdicts import Rejected, RoutedVerdict, Source, Verdict
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.decisions import Context, decide_event, decide_receipts
from keystead.node.messages import decide_message, signed_parts
from keystead.ports import Decision, EventStore, KelReader, Outcome


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one message, or of one that waited.

    Attributes:
        message: the typed message; None when it could not even be read.
        verdict: the decision.
        again: it had waited, and is the consequence of another message.
        accepted: the event as the log has it now, if it was accepted.
    """

    message: AnyMessage | None
    verdict: Verdict | RoutedVerdict
    again: bool = False
    accepted: AcceptedEvent | None = None


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

    def reader(self) -> StreamReader:
        """Make a reader for one connection."""
        return StreamReader(self._limits, forms.decoder(self._limits))

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
            work: Sequence[Waiting]
            if parsed.message_type in FIELDS:  # much faster than asking for the class
                work = (SignedEvent(parsed, attached.claims),)  # type: ignore[arg-type] # as told
            else:
                work = _work(parsed, attached, self._limits)
        except KeysteadError as error:
            return [Result(None, Rejected(error))]
        context = self._last_context
        if context is None or context.now is not now or context.source is not source:
            context = self._context(source, now)
        if self._trust_first_seen and attached.first_seen is not None:
            context = msgspec.structs.replace(context, seen_at=attached.first_seen.datetime)
        results = []
        for waiting in work:
            outcome = self.store.advance(
                waiting.log, partial(_DECISIONS[type(waiting)], waiting, context)
            )
            results.append(Result(parsed, outcome.decision.verdict, accepted=outcome.accepted))
            if outcome.unblocked or outcome.evicted:
                self._follow(outcome, context, results)
        return results

    def expire(self, now: datetime, most: int | None = None) -> list[Result]:
        """Drop what has waited too long, up to a number of entries."""
        error = VerificationError(ErrorCode.EXPIRED, f"waited for {self._limits.held_for}")
        results = []
        for held in list(self.store.due(now - self._limits.held_for, most)):
            drop = Decision(Rejected(error), release=(held.key,))
            self.store.advance(held.waiting.log, partial(_settled, drop))
            results.append(Result(held.waiting.message, drop.verdict, again=True))
        return results

    def _follow(self, outcome: Outcome, context: Context, results: list[Result]) -> None:
        """Decide on what an outcome unblocks and on what that unblocks, oldest first."""
        queue: deque[Held] = deque()
        while True:
            queue += outcome.unblocked
            results += [
                Result(held.waiting.message, Rejected(error), again=True)
                for held, error in outcome.evicted
            ]
            if not queue:
                return
            held = queue.popleft()
            source = Source.LOCAL if held.local else Source.REMOTE
            waiting = held.waiting
            decide = partial(_DECISIONS[type(waiting)], waiting, self._context(source, context.now))
            outcome = self.store.advance(waiting.log, decide)
            verdict = outcome.decision.verdict
            results.append(Result(held.waiting.message, verdict, True, outcome.accepted))  # noqa: FBT003 - a record

    def _context(self, source: Source, now: datetime) -> Context:
        seen_at = now.astimezone(UTC).isoformat(timespec="microseconds")
        context = Context(source, now, seen_at, self._own, self._limits, self._answer_strangers)
        self._last_context = context
        return context


def _settled(decision: Decision, _kel: KelReader) -> Decision:
    """Decide what was decided before."""
    return decision


def _work(parsed: AnyMessage, attached: Attachments, limits: Limits) -> Sequence[Waiting]:
    """Return what has to be decided for a message that is no key event."""
    if isinstance(parsed, Receipt):
        return (WaitingReceipts(parsed.aid, parsed.sn, parsed.said, attached.claims),)
    return signed_parts(cast("RoutedMessage", parsed), attached, limits)


_DECISIONS: dict[type[Waiting], Callable[[Any, Context, KelReader], Decision]] = {
    SignedEvent: decide_event,
    WaitingReceipts: decide_receipts,
    WaitingMessage: decide_message,
}
