"""The witness over HTTP, as keri 1.2 and 1.3 speak it.

Content types are accepted in every spelling and sent as 1.x peers know them. A success is told
only after what it is about is durable.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from keystead.cesr.keys import DIGEST_PATTERN, Aid, Digest, is_aid
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.errors import DecodeError, ErrorCode, KeysteadError, VerificationError
from keystead.keri import forms
from keystead.keri.messages import Query
from keystead.keri.oobi import OobiPath, parse_path
from keystead.keri.routed import state_fields
from keystead.limits import DEFAULT_LIMITS
from keystead.node import answering
from keystead.node.publishing import is_witnessed, oobi_stream
from keystead.node.queries import MAILBOX, MailboxAnswer, StateAnswer
from keystead.node.replay import replay, replay_event
from keystead.node.witness import EventAnswer, Status, Submission, Submitted, Witness, microseconds
from keystead.services.addresses import client_prefix
from keystead.services.committing import Committer
from keystead.services.http import Request, Response
from keystead.services.mailbox import Mailboxes, is_answerable, mailbox_for
from keystead.services.rates import Rate, RateLimit
from keystead.services.refusals import error_response, refusal

EVENT_BYTES: Final = 64 * 1024  # one event; the largest one has 26 KiB
STREAM_BYTES: Final = 1024 * 1024
_SPELLINGS: Final = frozenset(
    ("application/cesr+json", "application/json+cesr", "application/cesr")
)
_CESR: Final = "application/json+cesr"  # the one that 1.x peers take in answers
_JSON: Final = "application/json"
_ATTACHMENT: Final = "cesr-attachment"
_DESTINATION: Final = "cesr-destination"
_INVITATION: Final = "keystead-invitation"
_TOPICS: Final = 16
_DECODE: Final = forms.decoder(DEFAULT_LIMITS)
_NO_STORE: Final = {"Cache-Control": "no-cache"}


class Rates(msgspec.Struct, frozen=True):
    """How often what may be asked.

    Attributes:
        stranger: questions and refused events, of one network.
        event: events and receipts about one identifier, of one network; anybody can send what
            looks like an event of another, and must not use up the allowance of the owner.
        strangers: questions of all.
    """

    stranger: Rate = Rate(5, 20)
    event: Rate = Rate(2, 50)
    strangers: Rate = Rate(500, 500)


class WitnessService:
    """Answers requests to one witness."""

    def __init__(
        self, committer: Committer, aid: Aid, rates: Rates, limited: Callable[[str], None]
    ) -> None:
        """Serve what a committer writes.

        Args:
            committer: has the witness.
            aid: of the witness.
            rates: how often what may be asked.
            limited: is told the name of a limit that was reached.
        """
        self._committer = committer
        self._aid = aid
        self._stranger = RateLimit(rates.stranger)
        self._event = RateLimit(rates.event)
        self._strangers = RateLimit(rates.strangers, buckets=1)
        self._limited = limited
        self._mailboxes = Mailboxes(committer)
        self._routes = {
            ("POST", "/"): self._post,
            ("PUT", "/"): self._put,
            ("POST", "/receipts"): self._post_receipts,
            ("GET", "/receipts"): self._get_receipts,
            ("GET", "/query"): self._get_query,
            ("GET", "/ksn"): self._get_state,
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
                    response = await self._get_oobi(request, oobi)
                    return msgspec.structs.replace(response, route="/oobi")
            if request.path in self._paths:
                return refusal(405, "this path is for other methods")
            return refusal(404, "there is nothing at this path")
        except KeysteadError as error:
            return _refused(error)

    async def _post(self, request: Request) -> Response:
        message = self._one_message(request)
        asking = _asks_for_mail(message)
        if asking is None:
            done = await self._submit(request, [message])
        else:
            done = await self._submit_in_time(request, message, asking)
        answer = await self._answer(done)
        is_question = forms.glance(message.content)[0] == "qry"
        return answer if is_question and done.queries else _summary(done, single=True)

    async def _put(self, request: Request) -> Response:
        _check_type(request)
        messages = list(_messages(request.body, DEFAULT_LIMITS.held_events * 64))
        done = await self._submit(request, messages)
        await self._answer(done)
        return _summary(done, single=False)

    async def _post_receipts(self, request: Request) -> Response:
        message = self._one_message(request)
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
            return Response(200, content, _CESR, _NO_STORE, aid=first.aid)
        if first.status is Status.KEPT:
            return refusal(400, "this witness is not in the witness list of the event")
        return _summary(done, single=True)

    async def _get_receipts(self, request: Request) -> Response:
        self._charge_stranger(request)
        asked = _parameters(request)
        aid = _aid_of(asked)
        said, sn = asked.get("said"), _number(asked.get("sn"))
        if said is None and sn is None:
            return refusal(400, "sn or said is needed")
        if said is not None and not DIGEST_PATTERN.fullmatch(said):
            return refusal(400, "said is no digest")
        digest = None if said is None else Digest(said)

        def find(witness: Witness) -> bytes | None:
            accepted = witness.find(aid, sn=sn, said=digest)
            if accepted is None:
                return None
            proofs = witness.receipted(aid, said=accepted.event.said)
            return answering.known_receipts(accepted, proofs)

        content = await self._committer.run(find)
        if content is None:
            return refusal(404, "there is no such event here")
        return Response(200, content, _CESR, _NO_STORE, aid=aid)

    async def _get_query(self, request: Request) -> Response:
        self._charge_stranger(request)
        asked = _parameters(request)
        if asked.get("typ") != "kel":
            return refusal(400, "typ must be kel: this witness keeps key event logs")
        aid, sn = _aid_of(asked), _number(asked.get("sn"))

        def find(witness: Witness) -> bytes | None:
            events = witness.store.events
            if events.key_state(aid) is None:
                return None
            if sn is None:
                return b"".join(replay(events, aid))
            return b"".join(map(replay_event, events.events(aid, first_sn=sn)))

        content = await self._committer.run(find)
        if not content:
            return refusal(404, "there is no such log here, or it is not that long")
        return Response(200, content, _CESR, _NO_STORE, aid=aid)

    async def _get_state(self, request: Request) -> Response:
        self._charge_stranger(request)
        aid, now = _aid_of(_parameters(request)), _now()

        def find(witness: Witness) -> bytes | None:
            events = witness.store.events
            state = events.key_state(aid)
            head = None if state is None else events.event(aid, state.sn)
            if state is None or head is None or not is_witnessed(head):
                return None
            fields = state_fields(state, head.first_seen_number, head.first_seen_at)
            told = StateAnswer(fields, self._aid, aid)
            return answering.state_reply(self._aid, told, now, witness.sign_reply)

        content = await self._committer.run(find)
        if content is None:
            return refusal(404, "there is no such log here, or its last event has too few receipts")
        return Response(200, content, _CESR, _NO_STORE, aid=aid)

    async def _get_oobi(self, request: Request, path: OobiPath) -> Response:
        self._charge_stranger(request)
        aid = Aid(path.target or self._aid)
        if not is_aid(aid):
            return refusal(404, "there is nothing at this path")

        def find(witness: Witness) -> bytes | None:
            return oobi_stream(witness.store.events, aid, role=path.role, eid=path.eid)

        content = await self._committer.run(find)
        if not content:
            return refusal(404, "there is no such log here, or its last event has too few receipts")
        return Response(200, content, _CESR, {**_NO_STORE, "KERI-AID": aid}, aid=aid)

    async def _submit(self, request: Request, messages: list[Message]) -> Submitted:
        """Hand messages in, if they do not come too often."""
        prefix = client_prefix(request.client)
        now = time.monotonic()
        for message in messages[:1]:
            message_type, aid = forms.glance(message.content)
            if message_type in ("qry", "rpy"):
                self._charge_stranger(request)
            elif is_aid(aid):
                self._charge(self._event, f"{aid} {prefix}", now, "event")
        done = await self._committer.submit(
            Submission(messages, _now(), request.headers.get(_INVITATION, ""))
        )
        for event in done.events:
            if event.status is Status.RECEIPTED:
                self._mailboxes.ring(Aid(event.aid))
        about = {aid for one in messages for _, aid in [forms.glance(one.content)]}
        done.queries += self._mailboxes.due(about) if done.events or done.taken else []
        refused = sum(one.status is Status.REFUSED for one in done.events) + len(done.errors)
        if refused:
            self._charge(self._stranger, prefix, now, "stranger")
        return done

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
            return Response(204, headers=_NO_STORE)

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
            return Response(204, headers=_NO_STORE)
        if len(box.topics) > _TOPICS:
            return refusal(400, "too many topics")
        stream = self._mailboxes.stream(box.aid, box.topics)
        return Response(200, content_type="text/event-stream", headers=_NO_STORE, stream=stream)

    def _one_message(self, request: Request) -> Message:
        """Read the one message of a request: JSON as content, attachments in a header."""
        _check_type(request)
        attachment = request.headers.get(_ATTACHMENT)
        if attachment is None:
            raise _Refusal(412, "the header CESR-ATTACHMENT is missing")
        asked = request.headers.get(_DESTINATION)
        if asked and asked != self._aid:
            raise _Refusal(404, "this is another witness than the one that the request is for")
        if not request.body.startswith(b"{"):
            raise _Refusal(400, "the content is no message in JSON")
        stream = request.body + attachment.encode("latin-1")
        found = list(_messages(stream, 1))
        if len(found) != 1 or len(found[0].raw) != len(request.body):
            raise DecodeError(ErrorCode.BODY, "the content is not one message")
        return found[0]

    def _charge_stranger(self, request: Request) -> None:
        now = time.monotonic()
        self._charge(self._stranger, client_prefix(request.client), now, "stranger")
        self._charge(self._strangers, "", now, "strangers")

    def _charge(self, limit: RateLimit, key: str, now: float, name: str) -> None:
        wait = limit.take(key, now)
        if wait:
            self._limited(name)
            raise _Refusal(429, "this came too often", retry_after=max(1, round(wait)))


class _Refusal(KeysteadError):  # noqa: N818 - what happened to the request
    """A request that HTTP refuses by itself."""

    def __init__(self, status: int, message: str, *, retry_after: int = 1) -> None:
        super().__init__(ErrorCode.ARGUMENT, message)
        self.status = status
        self.retry_after = retry_after


def route_limit(method: str, path: str) -> int:
    """Return the largest content of a request."""
    if method == "PUT" and path == "/":
        return STREAM_BYTES
    return EVENT_BYTES if method == "POST" and path in ("/", "/receipts") else 0


_EVENTS: Final = frozenset(("icp", "rot", "ixn", "dip", "drt"))


def _refused(error: KeysteadError) -> Response:
    if isinstance(error, _Refusal):
        return refusal(error.status, error.message, retry_after=error.retry_after)
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
        headers = {**_NO_STORE, "Location": location} if location else _NO_STORE
        return Response(202, msgspec.json.encode(content), _JSON, headers, aid=waiting[0].aid)
    aid = done.events[0].aid if done.events else ""
    return Response(204, headers=_NO_STORE, aid=aid)


def _duplicitous(one: EventAnswer) -> Response:
    content = {
        "error": ErrorCode.SUPERSEDING,
        "message": f"another event was seen first at {one.sn:x}, which stands",
        "hint": "reconcile the wallet with the published log",
        "first": one.first_said,
    }
    return Response(409, msgspec.json.encode(content), _JSON, _NO_STORE, aid=one.aid)


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _SPELLINGS:
        raise _Refusal(406, "the content type must be application/cesr+json")


def _messages(stream: bytes, most: int) -> list[Message]:
    """Read a whole stream.

    Raises:
        DecodeError: it is malformed, or has too many messages.
    """
    reader = StreamReader(DEFAULT_LIMITS, _DECODE)
    reader.feed(stream)
    reader.close()
    found: list[Message] = []
    for item in reader:
        if isinstance(item, Malformed):
            raise item.error
        if len(found) == most:
            raise DecodeError(ErrorCode.LIMIT, "too many messages at once")
        found.append(item)
    if not found:
        raise DecodeError(ErrorCode.EMPTY, "there is no message")
    return found


def _parameters(request: Request) -> dict[str, str]:
    try:
        pairs = parse_qsl(request.query, strict_parsing=bool(request.query), max_num_fields=8)
    except ValueError:
        raise _Refusal(400, "the query is malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refusal(400, "a parameter comes twice")
    return found


def _aid_of(asked: dict[str, str]) -> Aid:
    aid = asked.get("pre", "")
    if not is_aid(aid):
        raise _Refusal(400, "pre is no identifier")
    return Aid(aid)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - 63 bits
        raise _Refusal(400, "sn is no number")
    return int(text)


def _answer_one(
    witness: Witness, query: Query, querier: Aid, now: datetime
) -> MailboxAnswer | None:
    try:
        found = answering.answer_query(
            witness.store.events, query, querier, witness.aid, now, witness.sign_reply
        )
    except LookupError:
        what = "there is no such log here"
        raise VerificationError(ErrorCode.NOT_ADMITTED, what) from None
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
