"""What a watcher answers, about identifiers that the operator has named; others get a small 404.

| route | answer |
|---|---|
| GET /state/{aid} | the latest state, and who confirmed it when; JSON |
| GET /log/{aid}, GET /oobi/{aid}... | the log with receipts; CESR |
| GET /evidence/{aid} | which proofs of duplicity there are; JSON |
| GET /evidence/{aid}/{said} | one of them; CESR |
| GET /events | what happens, as server-sent events |
| GET / | who this watcher is; JSON |

Each answer is signed: a receipt couple over the exact content, in the header CESR-ATTACHMENT.
"""

import re
import time
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from keystead.cesr.keys import Aid, is_aid
from keystead.errors import ErrorCode, VerificationError
from keystead.keri.oobi import parse_path
from keystead.node.attestation import HEADER, Sign, attestation
from keystead.node.freshness import Policy
from keystead.node.publishing import oobi_stream
from keystead.node.watching import text_of
from keystead.services.addresses import client_prefix, is_loopback
from keystead.services.http import Request, Response
from keystead.services.observing import Observer
from keystead.services.rates import Rate, RateLimit
from keystead.services.refusals import refusal
from keystead.services.watcher import Watcher, moment
from keystead.services.watcher_alerts import Streams
from keystead.stores.watching import DatabaseWatch

ABOUT_TYPE: Final = "keystead.watcher.1"
EVIDENCE_TYPE: Final = "keystead.watcher.evidence.1"
_CESR: Final = "application/json+cesr"
_JSON: Final = "application/json"
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_MOST_AIDS: Final = 64
_LONGEST_WAIT: Final = 60.0
_KIB: Final = 1024

# What one client may ask, and how much it may be sent: a request is small, an answer need not be.
REQUESTS: Final = Rate(per_second=20.0, burst=100)
KIBIBYTES: Final = Rate(per_second=512.0, burst=32 * 1024)


class Answers:
    """The application of a watcher."""

    def __init__(
        self,
        watcher: Watcher,
        store: DatabaseWatch,
        streams: Streams,
        sign: Sign,
        observer: Observer,
    ) -> None:
        """Answer from what the watcher knows."""
        self._watcher = watcher
        self._store = store
        self._streams = streams
        self._sign = sign
        self._observer = observer
        self._requests = RateLimit(REQUESTS)
        self._kibibytes = RateLimit(KIBIBYTES)

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "a watcher is only read; its operator changes what it follows")
        client = client_prefix(request.client)
        wait = self._requests.take(client, time.monotonic())
        if wait > 0:
            self._observer.rate_limited("requests")
            return refusal(429, "too many requests", retry_after=int(wait) + 1)
        return await self._routed(request, client)

    async def _routed(self, request: Request, client: str) -> Response:
        name, *rest = request.path.strip("/").split("/")
        match name, rest:
            case "", []:
                content = {"type": ABOUT_TYPE, "watcher": self._aid, "at": text_of(moment().wall)}
                return self._signed(msgspec.json.encode(content), _JSON, "/", "")
            case "state", [aid] if is_aid(aid):
                return await self._state(Aid(aid), request)
            case "log", [aid] if is_aid(aid):
                return await self._log(Aid(aid), client)
            case "evidence", [aid] if is_aid(aid):
                return await self._proofs(Aid(aid))
            case "evidence", [aid, said] if is_aid(aid):
                return await self._proof(Aid(aid), said, client)
            case "oobi" | ".well-known", _:
                return await self._introduction(request.path, client)
            case "events", []:
                return await self._events(request, client)
            case _:
                return refusal(404, "there is nothing here")

    @property
    def _aid(self) -> Aid:
        return self._watcher.watch.aid

    async def _state(self, aid: Aid, request: Request) -> Response:
        asked = dict(parse_qsl(request.query, max_num_fields=8))
        policy, nonce = _policy(asked), asked.get("nonce", "")
        if policy is None or (nonce and not _NONCE.fullmatch(nonce)):
            what = "max_age is seconds, min_sources a number, nonce up to 64 letters and digits"
            return refusal(400, what)
        watch = self._watcher.watch

        def answer() -> dict[str, Any] | None:
            if not self._store.is_watched(aid):
                return None
            return watch.state(aid, policy, moment(), nonce)

        value = await self._watcher.do(answer)
        if value is None:
            return _unknown("/state/{aid}")
        status = 200
        if not value["policy"]["met"] and asked.keys() & {"max_age", "min_sources"}:
            # The state is told all the same; whoever asks for a policy must look at the status.
            error = VerificationError(ErrorCode.FRESHNESS, value["policy"]["reasons"][0])
            value |= {"error": str(error.code), "message": error.message, "hint": error.hint}
            status = 503
        content = msgspec.json.encode(value)
        return self._signed(content, _JSON, "/state/{aid}", aid, status=status)

    async def _log(self, aid: Aid, client: str) -> Response:
        watch = self._watcher.watch
        data = await self._watcher.do(
            lambda: watch.log(aid) if self._store.is_watched(aid) else b""
        )
        return self._stream_of_events(data, "/log/{aid}", aid, client)

    async def _introduction(self, path: str, client: str) -> Response:
        route = "/oobi/{aid}"
        parsed = parse_path(path)
        if parsed is None or parsed.target is None or not is_aid(parsed.target):
            return refusal(404, "there is nothing here")
        aid, events = Aid(parsed.target), self._store.events

        def answer() -> bytes | None:
            with self._store.snapshot():
                if not self._store.is_watched(aid):
                    return None
                return oobi_stream(events, aid, role=parsed.role, eid=parsed.eid)

        data = await self._watcher.do(answer)
        return self._stream_of_events(data or b"", route, aid, client)

    def _stream_of_events(self, data: bytes, route: str, aid: Aid, client: str) -> Response:
        if not data:
            return _unknown(route)
        wait = self._kibibytes.take(
            client, time.monotonic(), cost=min(1 + len(data) // _KIB, KIBIBYTES.burst)
        )
        if wait > 0:
            self._observer.rate_limited("bytes")
            return refusal(429, "too much was asked for", retry_after=int(wait) + 1)
        return self._signed(data, _CESR, route, aid)

    async def _proofs(self, aid: Aid) -> Response:
        def find() -> list[dict[str, Any]] | None:
            if not self._store.is_watched(aid):
                return None
            return [
                {
                    "other": one.said,
                    "observed_at": text_of(one.observed_at),
                    "sources": one.sources,
                    "bytes": len(one.data),
                    "bundle": f"/evidence/{aid}/{one.said}",
                }
                for one in self._store.bundles(aid)
            ]

        found = await self._watcher.do(find)
        if found is None:
            return _unknown("/evidence/{aid}")
        at = text_of(moment().wall)
        value = {
            "type": EVIDENCE_TYPE, "watcher": self._aid, "aid": aid, "at": at, "evidence": found
        }  # fmt: skip
        return self._signed(msgspec.json.encode(value), _JSON, "/evidence/{aid}", aid)

    async def _proof(self, aid: Aid, said: str, client: str) -> Response:
        def find() -> bytes:
            if not self._store.is_watched(aid):
                return b""
            found = self._store.bundles(aid)
            return next((one.data for one in found if one.said == said), b"")

        data = await self._watcher.do(find)
        return self._stream_of_events(data, "/evidence/{aid}/{said}", aid, client)

    async def _events(self, request: Request, client: str) -> Response:
        asked = dict(parse_qsl(request.query, max_num_fields=8))
        texts = [one for one in asked.get("aid", "").split(",") if one]
        after = request.headers.get("last-event-id", asked.get("after", ""))
        wait = asked.get("wait", "")
        good = len(texts) <= _MOST_AIDS and all(is_aid(one) for one in texts)
        if not good or not all(_NUMBER.fullmatch(one) for one in (after, wait) if one):
            return refusal(400, "aid lists identifiers; Last-Event-ID and wait are numbers")
        aids = frozenset(Aid(one) for one in texts)
        if not aids and not is_loopback(request.client):
            # Which identifiers are followed is the operator's own matter.
            return refusal(400, "name the identifiers: /events?aid=AID,AID")
        if aids and not await self._watcher.do(lambda: all(map(self._store.is_watched, aids))):
            return _unknown("/events")
        if not self._streams.has_room(client):
            self._observer.rate_limited("streams")
            return refusal(429, "too many streams are open", retry_after=5)
        seconds = min(float(wait), _LONGEST_WAIT) if wait else None
        stream = self._streams.stream(client, int(after) if after else None, aids, seconds)
        headers = {"Cache-Control": "no-store", "KERI-AID": self._aid}
        if request.method == "HEAD":
            return Response(200, b"", "text/event-stream", headers, route="/events")
        return Response(200, b"", "text/event-stream", headers, stream=stream, route="/events")

    def _signed(
        self, content: bytes, content_type: str, route: str, aid: str, *, status: int = 200
    ) -> Response:
        headers = {
            "KERI-AID": self._aid,
            HEADER: attestation(self._aid, self._sign, content),
            "Cache-Control": "no-store",
        }
        return Response(status, content, content_type, headers, route=route, aid=aid)


def _unknown(route: str) -> Response:
    return msgspec.structs.replace(refusal(404, "this watcher does not follow that"), route=route)


def _policy(asked: dict[str, str]) -> Policy | None:
    """Return the policy that a query asks for, None for a malformed one."""
    age, sources = asked.get("max_age", ""), asked.get("min_sources", "1")
    if (age and not _SECONDS.fullmatch(age)) or not _NUMBER.fullmatch(sources):
        return None
    # A state that nobody confirms is never fresh.
    return Policy(float(age) if age else None, max(int(sources), 1))
