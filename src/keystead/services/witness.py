"""The witness over HTTP, as keri 1.2 and 1.3 speak it.

Content types are accepted in every spelling and sent as 1.x peers know them. A success is told
only after what it is about is durable.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, is_aid
from keystead.cesr.stream import Message
from keystead.errors import DecodeError, ErrorCode, KeysteadError, VerificationError
from keystead.keri import forms
from keystead.keri.messages import Query
from keystead.keri.oobi import parse_path
from keystead.node import answering
from keystead.node.queries import MAILBOX, MailboxAnswer
from keystead.node.witness import EventAnswer, Status, Submission, Submitted, Witness, microseconds
from keystead.services.addresses import client_prefix
from keystead.services.charging import Charges, Rates
from keystead.services.committing import Committer
from keystead.services.http import Request, Response
from keystead.services.mailbox import Mailboxes, is_answerable, mailbox_for
from keystead.services.reading import Reader
from keystead.services.refusals import error_response, refusal
from keystead.services.witness_answers import CESR, NO_STORE, WitnessAnswers
from keystead.services.witness_requests import check_type, one_message, parts

_JSON: Final = "application/json"
_INVITATION: Final = "keystead-invitation"
_TOPICS: Final = 16
_QUESTIONS: Final = 16  # in one part of a stream: an answer may take 10 ms of the writing thread
_STATEMENTS: Final = 8  # that cost as much as one question
_EVENTS: Final = frozenset(("icp", "rot", "ixn", "dip", "drt"))


class WitnessService:
    """Answers requests to one witness."""

    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        aid: Aid,
        rates: Rates,
        limited: Callable[[str], None],
    ) -> None:
        """Serve what a committer writes.

        Args:
            committer: has the witness.
            reader: reads what it has stored.
            aid: of the witness.
            rates: how often what may be asked.
            limited: is told the name of a limit that was reached.
        """
        self._committer = committer
        self._aid = aid
        self._charges = Charges(rates, limited)
        self._mailboxes = Mailboxes(committer, reader, aid)
        self._answers = answers = WitnessAnswers(committer, reader, aid, self._charges)
        self._routes = {
            ("POST", "/"): self._post,
            ("PUT", "/"): self._put,
            ("POST", "/receipts"): self._post_receipts,
            ("GET", "/receipts"): answers.receipts,
            ("GET", "/query"): answers.query,
            ("GET", "/ksn"): answers.state,
        }
        self._paths = {path for _, path in self._routes}

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        route = self._routes.get((request.method, request.path))
        try:
            if route is not None:
                response = await route(request)
                return msgspec.structs.replace(response, route=request.path)
            if request.method in ("GET", "HEAD") and request.path not in self._paths:
                oobi = parse_path(request.path)
                if oobi is not None:
                    response = await self._answers.introduction(request, oobi)
                    return msgspec.structs.replace(response, route="/oobi")
            if request.path in self._paths:
                return refusal(405, "this path is for other methods")
            return refusal(404, "there is nothing at this path")
        except KeysteadError as error:
            return _refused(error)

    async def _post(self, request: Request) -> Response:
        message = self._read(request)
        asking = _asks_for_mail(message)
        if asking is None:
            done = await self._submit(request, [message])
        else:
            done = await self._submit_in_time(request, message, asking)
        answer = await self._answer(done)
        is_question = forms.glance(message.content)[0] == "qry"
        return answer if is_question and done.queries else _summary(done, single=True)

    async def _put(self, request: Request) -> Response:
        """Take a stream part by part: others get their turn, and junk is not read to its end."""
        check_type(request)
        self._charges.content(request)
        done = Submitted([], [], 0, [])
        try:
            for place, messages in enumerate(parts(request.body)):
                part = await self._submit(request, messages, begins=not place)
                done.events += part.events
                done.queries += part.queries
                done.taken += part.taken
                done.errors += part.errors
                if _refused_in(part) and (wait := self._charges.is_spent(request)):
                    raise self._charges.too_often(wait, "stranger")
        except KeysteadError as error:
            if not (done.events or done.queries or done.taken):
                raise
            done.errors.append(error)
        await self._answer(done)
        return _summary(done, single=False)

    async def _post_receipts(self, request: Request) -> Response:
        message = self._read(request)
        message_type, _ = forms.glance(message.content)
        if message_type not in _EVENTS:
            what = "a receipt is for a key event, and for nothing else"
            raise DecodeError(ErrorCode.MESSAGE_TYPE, what)
        done = await self._submit(request, [message])
        await self._answer(done)
        if not done.events:
            return _summary(done, single=True)
        first = done.events[0]
        if first.status is Status.RECEIPTED and first.accepted is not None:
            content = answering.own_receipt(self._aid, first.accepted, first.receipt)
            return Response(200, content, CESR, NO_STORE, aid=first.aid)
        if first.status is Status.KEPT:
            return refusal(400, "this witness is not in the witness list of the event")
        return _summary(done, single=True)

    def _read(self, request: Request) -> Message:
        """Read a request with one message, which is paid for first."""
        self._charges.content(request)
        return one_message(request, self._aid)

    async def _submit(
        self, request: Request, messages: list[Message], *, begins: bool = True
    ) -> Submitted:
        """Hand messages in, if they do not come too often.

        What is refused is paid for afterwards, message by message; what was taken is answered all
        the same.

        Args:
            request: that they are from.
            messages: all, or a part of a stream.
            begins: they are the first of it.
        """
        named = [forms.glance(one.content) for one in messages]
        self._charge(request, named, begins=begins)
        spent = self._charges.is_spent(request)
        invitation = request.headers.get(_INVITATION, "")
        one = Submission(messages, _now(), invitation, strangers=not spent)
        done = await self._committer.submit(one)
        for event in done.events:
            if event.status is Status.RECEIPTED:
                self._mailboxes.ring(Aid(event.aid))
        if done.events or done.taken:
            done.queries += self._mailboxes.due({aid for _, aid in named})
        refused = _refused_in(done)
        if refused:
            self._charges.refused(request, refused)
        if spent and _are_all_strangers(done):
            raise self._charges.too_often(spent, "stranger")
        return done

    def _charge(self, request: Request, named: Sequence[tuple[str, str]], *, begins: bool) -> None:
        """Charge for messages, as far as it shows what they cost.

        The events of one stream are a log: those that are good cost no more than its size.
        """
        kinds = Counter(kind for kind, _ in named)
        if kinds["qry"] > _QUESTIONS:
            raise DecodeError(ErrorCode.LIMIT, "too many questions at once")
        questions = kinds["qry"] + kinds["rpy"] // _STATEMENTS
        if questions or named[0][0] == "rpy":
            self._charges.questions(request, max(1, questions))
        for place, (kind, aid) in enumerate(named):
            if is_aid(aid) and (kind == "rct" or (begins and not place and kind in _EVENTS)):
                self._charges.event(request, aid)
        first = {named[0][1]} if begins else set()
        for aid in {aid for kind, aid in named if kind in _EVENTS} - first:
            if wait := self._charges.is_spent(request, aid):
                raise self._charges.too_often(wait, "event")

    async def _submit_in_time(self, request: Request, message: Message, aid: Aid) -> Submitted:
        """Hand a question for messages in, again when the log of who asks has grown.

        Peers ask before they send an event, and sign with the keys of that event.
        """
        waiting = self._mailboxes.waiting(aid, client_prefix(request.client))
        async with contextlib.aclosing(waiting) as turns:
            async for _ in turns:
                done = await self._submit(request, [message])
                if done.queries:
                    break
        return done

    async def _answer(self, done: Submitted) -> Response:
        """Answer questions: into the mailbox of who asks, or give what is in it.

        An event can bring the answer to a question that waited for it.
        """
        now = _now()
        if not done.queries:
            return Response(204, headers=NO_STORE)

        def work(witness: Witness) -> tuple[MailboxAnswer | None, list[tuple[Query, Aid]]]:
            box: MailboxAnswer | None = None
            later = [one for one in done.queries if not is_answerable(witness, one[0])]
            with witness.store.transaction():
                for query, querier in done.queries:
                    if (query, querier) not in later:
                        box = _answer_one(witness, query, querier, now) or box
            return box, later

        box, later = await self._committer.run(work)
        self._mailboxes.postpone(later)
        for _, querier in done.queries:
            self._mailboxes.ring(querier)
        if box is None:
            return Response(204, headers=NO_STORE)
        if len(box.topics) > _TOPICS:
            return refusal(400, "too many topics")
        stream = self._mailboxes.stream(box.aid, box.topics)
        return Response(200, content_type="text/event-stream", headers=NO_STORE, stream=stream)


def _refused(error: KeysteadError) -> Response:
    match error.code:
        case ErrorCode.NOT_ADMITTED:
            return msgspec.structs.replace(error_response(error), status=403)
        case ErrorCode.SECOND_EVENT:
            return msgspec.structs.replace(error_response(error), status=409)
        case ErrorCode.BEHIND:
            response = msgspec.structs.replace(error_response(error), status=503)
            return msgspec.structs.replace(response, headers={"Retry-After": "60"})
        case _:
            return error_response(error)


def _summary(done: Submitted, *, single: bool) -> Response:
    """Return what became of messages: the worst of it decides the status."""
    for one in done.events:
        if one.status is Status.DUPLICITOUS:
            return _duplicitous(one)
    errors = [one.error for one in done.events if one.error is not None] + done.errors
    if errors:
        return _refused(errors[0])
    waiting = [one for one in done.events if one.status is Status.WAITS]
    if waiting:
        content = {"waits": [{"i": one.aid, "s": f"{one.sn:x}", "d": one.said} for one in waiting]}
        location = f"/receipts?pre={waiting[0].aid}&said={waiting[0].said}" if single else ""
        headers = {**NO_STORE, "Location": location} if location else NO_STORE
        return Response(202, msgspec.json.encode(content), _JSON, headers, aid=waiting[0].aid)
    aid = done.events[0].aid if done.events else ""
    return Response(204, headers=NO_STORE, aid=aid)


def _duplicitous(one: EventAnswer) -> Response:
    content = {
        "error": ErrorCode.SUPERSEDING,
        "message": f"another event was seen first at {one.sn:x}, which stands",
        "hint": "reconcile the wallet with the published log",
        "first": one.first_said,
    }
    return Response(409, msgspec.json.encode(content), _JSON, NO_STORE, aid=one.aid)


def _refused_in(done: Submitted) -> Counter[str]:
    """Count what was worth nothing, by the identifiers that it named; strangers have no name."""
    worthless = (Status.REFUSED, Status.DUPLICITOUS)
    refused = Counter(
        "" if _is_stranger(one.error) else one.aid for one in done.events if one.status in worthless
    )
    refused[""] += len(done.errors)
    return +refused


def _are_all_strangers(done: Submitted) -> bool:
    errors = [*(one.error for one in done.events), *done.errors]
    return not done.queries and not done.taken and all(map(_is_stranger, errors))


def _is_stranger(error: KeysteadError | None) -> bool:
    return error is not None and error.code is ErrorCode.NOT_ADMITTED


def _answer_one(
    witness: Witness, query: Query, querier: Aid, now: datetime
) -> MailboxAnswer | None:
    try:
        found = answering.answer_query(
            witness.store.events, query, querier, witness.aid, now, witness.sign_reply
        )
    except LookupError:
        raise VerificationError(ErrorCode.NOT_ADMITTED, "no such log is here") from None
    if isinstance(found, MailboxAnswer):
        return mailbox_for(found, querier)
    for topic, message in found:
        witness.store.put_mail(querier, topic, message, microseconds(now))
    return None


def _asks_for_mail(message: Message) -> Aid | None:
    """Return whose messages are asked for, unchecked; None if that is not asked."""
    content = message.content
    if not isinstance(content, dict) or (content.get("t"), content.get("r")) != ("qry", MAILBOX):
        return None
    asked = content.get("q")
    aid = asked.get("i") if isinstance(asked, dict) else None
    return Aid(aid) if isinstance(aid, str) and is_aid(aid) else None


def _now() -> datetime:
    return datetime.now(UTC)
