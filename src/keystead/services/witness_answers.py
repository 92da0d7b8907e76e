"""What a witness answers to those who only ask: receipts, logs, key states, introductions.

They are read beside the thread that writes, and paid for by their length before they are read. What
only the writing thread can do, such as to sign, is the last and smallest part.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from keystead.cesr.keys import DIGEST_PATTERN, Aid, Digest, Said, is_aid
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.oobi import OobiPath
from keystead.keri.routed import state_fields
from keystead.node import answering
from keystead.node.publishing import is_witnessed, log_length, oobi_pieces
from keystead.node.queries import StateAnswer
from keystead.node.replay import replay, replay_event
from keystead.node.witness import Witness
from keystead.ports.witness import WitnessStore
from keystead.services.charging import Charges
from keystead.services.committing import Committer
from keystead.services.http import Request, Response
from keystead.services.reading import Reader, lacks_receipt
from keystead.services.refusals import refusal
from keystead.services.witness_requests import aid_of, number, parameters

CESR: Final = "application/json+cesr"  # the one that 1.x peers take in answers
NO_STORE: Final = {"Cache-Control": "no-cache"}
_EVENTS_OF_QUESTION: Final = 256  # events that cost as much as one question
_UNKNOWN: Final = "no such log is here, or its last event has too few receipts"
_UNKNOWN_HINT: Final = "ask another witness of the log, or this one after the owner has sent it"


class _Found(msgspec.Struct, frozen=True):
    """What is asked for is here.

    Attributes:
        length: events that have to be read for it.
        pieces: reads them.
        lacks: a receipt of this witness is due, and not kept with the last event yet.
    """

    length: int
    pieces: Iterator[bytes]
    lacks: bool


class WitnessAnswers:
    """Answers questions to one witness."""

    def __init__(self, committer: Committer, reader: Reader, aid: Aid, charges: Charges) -> None:
        """Answer from what is stored.

        Args:
            committer: has the witness, which signs.
            reader: reads its store.
            aid: of the witness.
            charges: charges those who ask.
        """
        self._committer = committer
        self._reader = reader
        self._aid = aid
        self._charges = charges

    async def receipts(self, request: Request) -> Response:
        """Give the receipts of all witnesses that are known for an event."""
        self._charges.questions(request)
        asked = parameters(request)
        aid = aid_of(asked)
        said, sn = asked.get("said"), number(asked.get("sn"))
        if said is None and sn is None:
            return refusal(400, "sn or said is needed")
        if said is not None and not DIGEST_PATTERN.fullmatch(said):
            return refusal(400, "said is no digest")
        digest = None if said is None else Said(Digest(said))

        def find(store: WitnessStore) -> tuple[AcceptedEvent | None, bool]:
            events = store.events
            accepted = (
                events.event(aid, sn or 0) if digest is None else events.accepted(aid, digest)
            )
            return accepted, lacks_receipt(store, accepted, self._aid)

        accepted, lacks = await self._reader.run(find)
        if accepted is None:
            hint = "ask another witness, or this one after the owner has sent the event"
            return refusal(404, "there is no such event here", hint=hint)
        proofs, said_of = accepted.proofs, accepted.event.said
        if lacks:
            proofs = await self._committer.run(lambda one: one.receipted(aid, said=said_of))
        return Response(200, answering.known_receipts(accepted, proofs), CESR, NO_STORE, aid=aid)

    async def query(self, request: Request) -> Response:
        """Give a log, or its trunk from a place on."""
        self._charges.questions(request)
        asked = parameters(request)
        if asked.get("typ") != "kel":
            return refusal(400, "typ must be kel: this witness keeps key event logs")
        aid, sn = aid_of(asked), number(asked.get("sn"))

        def find(store: WitnessStore) -> _Found | None:
            events = store.events
            head = _head(store, aid)
            if head is None or (sn or 0) > head.event.sn:
                return None
            if sn is None:
                length = head.first_seen_number + 1
                return _Found(length, replay(events, aid), lacks_receipt(store, head, self._aid))
            pieces = map(replay_event, events.events(aid, first_sn=sn))
            return _Found(head.event.sn - sn + 1, pieces, lacks_receipt(store, head, self._aid))

        return await self._answer(request, aid, find)

    async def state(self, request: Request) -> Response:
        """Give a key state notice that the witness signs now."""
        self._charges.questions(request)
        aid = aid_of(parameters(request))

        def find(store: WitnessStore) -> _Found | StateAnswer | None:
            state, head = store.events.key_state(aid), _head(store, aid)
            if state is None or head is None:
                return None
            if not is_witnessed(head):
                return _Found(0, iter(()), lacks_receipt(store, head, self._aid))
            fields = state_fields(state, head.first_seen_number, head.first_seen_at)
            return StateAnswer(fields, self._aid, aid)

        found = await self._reader.run(find)
        if isinstance(found, _Found) and found.lacks:
            await self._saved()
            found = await self._reader.run(find)
        if not isinstance(found, StateAnswer):
            return refusal(404, _UNKNOWN, hint=_UNKNOWN_HINT)
        told, now = found, datetime.now(UTC)
        content = await self._committer.run(
            lambda one: answering.state_reply(one.aid, told, now, one.sign_reply)
        )
        return Response(200, content, CESR, NO_STORE, aid=aid)

    async def introduction(self, request: Request, path: OobiPath) -> Response:
        """Give a log with where its witnesses and other endpoints are."""
        self._charges.questions(request)
        aid = Aid(path.target or self._aid)
        if not is_aid(aid):
            return refusal(404, "there is nothing at this path")

        def find(store: WitnessStore) -> _Found | None:
            pieces = oobi_pieces(store.events, aid, role=path.role, eid=path.eid)
            lacks = lacks_receipt(store, _head(store, aid), self._aid)
            if pieces is None:
                return _Found(0, iter(()), lacks) if lacks else None
            return _Found(log_length(store.events, aid), pieces, lacks)

        return await self._answer(request, aid, find, {"KERI-AID": aid})

    async def _answer(
        self,
        request: Request,
        aid: Aid,
        find: Callable[[WitnessStore], _Found | None],
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Charge for what is asked for, and give it page by page."""
        found = await self._reader.run(find)
        if found is not None and found.lacks:
            await self._saved()
            found = await self._reader.run(find)
        if found is None:
            return refusal(404, _UNKNOWN, hint=_UNKNOWN_HINT)
        if found.length > _EVENTS_OF_QUESTION:
            self._charges.length(request, found.length // _EVENTS_OF_QUESTION)
        content, stream = await self._reader.pages(found.pieces)
        if not content and stream is None:
            return refusal(404, _UNKNOWN, hint=_UNKNOWN_HINT)
        told = {**NO_STORE, **(headers or {})}
        return Response(200, content, CESR, told, stream=stream, aid=aid)

    async def _saved(self) -> None:
        """Have the receipts of the last moments kept with their events."""
        await self._committer.run(_nothing)


def _head(store: WitnessStore, aid: Aid) -> AcceptedEvent | None:
    state = store.events.key_state(aid)
    return None if state is None else store.events.event(aid, state.sn)


def _nothing(_: Witness) -> None:
    """Before any work the committer keeps what it has signed."""
