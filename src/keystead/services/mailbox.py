"""What a witness has for those who ask for it: receipts of their events, answers to questions.

The topic of receipts is not kept anywhere: it is the log, in the order in which it was first seen,
so it is never lost, and to ask again gives the same.

Source: keri 1.x, whose controllers open this stream before they send an event, and wait for
receipts there unless they are told to use `/receipts`.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import KeysteadError
from keystead.keri.attachments import Proofs
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import Query
from keystead.node import answering
from keystead.node.publishing import is_witnessed
from keystead.node.queries import MAILBOX, MailboxAnswer
from keystead.node.witness import Witness
from keystead.ports.witness import WitnessStore
from keystead.services.committing import Committer
from keystead.services.reading import Reader, lacks_receipt

RECEIPT_TOPIC: Final = "/receipt"
_SECONDS: Final = 30.0  # peers open the stream anew after that
_LOOK_SECONDS: Final = 2.0  # between looks at what other processes have stored
_RETRY: Final = 5000  # milliseconds
_AT_ONCE: Final = 64  # events whose receipts are looked up in one go; others wait meanwhile
_AWAITED: Final = 64  # who may wait for the log of who asks to grow, in all
_AWAITED_OF_CLIENT: Final = 8  # and of one network
_POSTPONED: Final = 256  # questions

Mail = tuple[str, int, bytes]  # topic, place, message


class Mailboxes:
    """Streams of messages, each for one identifier."""

    def __init__(self, committer: Committer, reader: Reader, own: Aid) -> None:
        """Give what a witness has.

        Args:
            committer: has the witness.
            reader: reads its store.
            own: the witness.
        """
        self._committer = committer
        self._reader = reader
        self._own = own
        self._bells: dict[Aid, set[asyncio.Event]] = {}
        self._awaiting: Counter[str] = Counter()
        self._later: dict[Aid, list[tuple[Query, Aid]]] = {}

    def postpone(self, questions: Iterable[tuple[Query, Aid]]) -> None:
        """Keep questions about logs whose last event lacks receipts, with who asked.

        Whoever asks for what a log seals has to see it with its receipts, and asks once. In
        memory only: whoever waits does so on a connection, which does not outlast this process.
        """
        for one in questions:
            if sum(map(len, self._later.values())) == _POSTPONED:
                del self._later[next(iter(self._later))]  # the longest ago
            self._later.setdefault(_asked_for(one[0]), []).append(one)

    def due(self, aids: Iterable[str]) -> list[tuple[Query, Aid]]:
        """Take the questions about some logs, as something has come for these."""
        return [one for aid in aids for one in self._later.pop(Aid(aid), ())]

    def ring(self, aid: Aid) -> None:
        """Tell those who wait that there is something new for an identifier."""
        for bell in self._bells.get(aid, ()):
            bell.set()

    async def waiting(self, aid: Aid, prefix: str) -> AsyncGenerator[None, None]:
        """Give a turn at once, and one whenever there is something new for an identifier.

        That ends after half a minute, or at once when too many wait.

        Args:
            aid: who is waited for; anybody can ask in any name.
            prefix: network of the client, which may not have too many wait.
        """
        ends = time.monotonic() + _SECONDS
        with self._heard(aid) as bell, self._counted(prefix) as allowed:
            known = await self._end_of(aid)
            yield
            while allowed and time.monotonic() < ends:
                rang = await _wait(bell, ends)
                end = await self._end_of(aid)
                if rang or end != known:
                    bell.clear()
                    known = end
                    yield

    async def stream(self, recipient: Aid, topics: dict[str, int]) -> AsyncIterator[bytes]:
        """Give the messages for an identifier as they come, for half a minute.

        Args:
            recipient: for whom they are.
            topics: which, and from which place on.
        """
        yield f"retry: {_RETRY}\n\n".encode()
        topics = dict(topics)
        ends = time.monotonic() + _SECONDS
        with self._heard(recipient) as bell:
            while True:
                bell.clear()  # before looking, so that nothing comes unnoticed in between
                found, lacks = await self._reader.run(partial(self._collect, recipient, topics))
                if lacks and not found:  # receipts of the last moments are not kept yet
                    topic, first = RECEIPT_TOPIC, topics[RECEIPT_TOPIC]
                    found = await self._committer.run(partial(_sign, recipient, first))
                for topic, place, message in found:
                    topics[topic] = place + 1
                    if not message:
                        continue
                    head = f"id: {place}\nevent: {topic}\nretry: {_RETRY}\ndata: "
                    yield head.encode() + message + b"\n\n"
                if time.monotonic() > ends:
                    return
                if not found:
                    await _wait(bell, ends)

    async def _end_of(self, aid: Aid) -> Said | None:
        head = await self._committer.run(lambda one: one.find(aid))
        return None if head is None else head.event.said

    def _collect(
        self, recipient: Aid, topics: dict[str, int], store: WitnessStore
    ) -> tuple[list[Mail], bool]:
        """Give the next messages; tell whether a receipt that is due comes next, and is not kept."""
        found: list[Mail] = []
        lacks = False
        for topic, first in topics.items():
            if topic != RECEIPT_TOPIC:
                kept = store.mail(recipient, topic, first)
                found += [(one.topic, one.place, one.message) for one in kept]
                continue
            for accepted in islice(store.events.first_seen(recipient, first=first), _AT_ONCE):
                lacks = lacks_receipt(store, accepted, self._own)
                if lacks:
                    break
                found.append(_receipts(accepted, accepted.proofs))
        return found, lacks

    @contextlib.contextmanager
    def _counted(self, prefix: str) -> Iterator[bool]:
        counted = self._awaiting
        allowed = counted.total() < _AWAITED and counted[prefix] < _AWAITED_OF_CLIENT
        counted[prefix] += 1
        try:
            yield allowed
        finally:
            counted[prefix] -= 1
            if not counted[prefix]:
                del counted[prefix]

    @contextlib.contextmanager
    def _heard(self, aid: Aid) -> Iterator[asyncio.Event]:
        bell = asyncio.Event()
        self._bells.setdefault(aid, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[aid].discard(bell)
            if not self._bells[aid]:
                del self._bells[aid]


def mailbox_for(box: MailboxAnswer, querier: Aid) -> MailboxAnswer:
    """Leave out what is for its owner alone: others get receipts, as members of a group do."""
    if box.aid == querier:
        return box
    topics = {topic: first for topic, first in box.topics.items() if topic == RECEIPT_TOPIC}
    return msgspec.structs.replace(box, topics=topics)


def is_answerable(witness: Witness, query: Query) -> bool:
    """Tell whether a question can be answered now: not while the log lacks receipts at its end."""
    if query.route == MAILBOX:
        return True
    head = witness.find(_asked_for(query))
    return head is None or is_witnessed(head)


def _asked_for(query: Query) -> Aid:
    return Aid(str(query.parameters.get("i")))


async def _wait(bell: asyncio.Event, ends: float) -> bool:
    """Wait a moment for a bell; tell whether it rang. Another process of the witness rings none."""
    try:
        left = max(0.0, ends - time.monotonic())
        await asyncio.wait_for(bell.wait(), min(left, _LOOK_SECONDS))
    except TimeoutError:
        return False
    return True


def _sign(aid: Aid, first: int, witness: Witness) -> list[Mail]:
    """Give receipts for the events of a log from a place on, and sign those that are due."""
    found: list[Mail] = []
    for accepted in islice(witness.store.events.first_seen(aid, first=first), _AT_ONCE):
        try:
            proofs = witness.receipted(aid, said=accepted.event.said)
        except KeysteadError:
            return found  # nothing is signed now; what comes later must not be given before it
        found.append(_receipts(accepted, proofs))
    return found


def _receipts(accepted: AcceptedEvent, proofs: Proofs) -> Mail:
    """Return the receipts for an event; its first-seen number is the place, and there may be none."""
    message = answering.known_receipts(accepted, proofs) if proofs.witness_signatures else b""
    return RECEIPT_TOPIC, accepted.first_seen_number, message
