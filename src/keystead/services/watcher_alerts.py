"""Who is told when something happens: open streams of events, and webhooks.

Both read the same durable table, so that nothing is lost between two connections or in a restart:
a stream goes on behind the number that the client has seen, a webhook behind the last notice that
was delivered.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, StoreError, TransportError
from keystead.node.attestation import HEADER, Sign, attestation
from keystead.node.watching import text_of
from keystead.ports.transport import Call, Transport
from keystead.ports.watching import Notice, Webhook
from keystead.services.watcher import Watcher, in_thread
from keystead.stores.watching import DatabaseWatch

NOTICE_TYPE: Final = "keystead.watcher.notice.1"
MOST_STREAMS: Final = 256
MOST_STREAMS_OF_CLIENT: Final = 8
_PAGE: Final = 100  # notices that are read at once
_RETRY_MILLISECONDS: Final = 5000


class AlertSettings(msgspec.Struct, frozen=True):
    """How alerts are given. Seconds.

    Attributes:
        heartbeat: between two signs of life on a quiet stream. Proxies close quiet connections
            after 60.
        shortest: wait after the first failure of a webhook; it doubles with each.
        longest: the longest wait.
    """

    heartbeat: float = 15.0
    shortest: float = 2.0
    longest: float = 900.0


class Streams:
    """Streams of server-sent events, each from a number on."""

    def __init__(self, watcher: Watcher, store: DatabaseWatch, settings: AlertSettings) -> None:
        """Begin without any."""
        self._watcher = watcher
        self._store = store
        self._settings = settings
        self._open: Counter[str] = Counter()

    def has_room(self, client: str) -> bool:
        """Tell whether a client may open one more."""
        return self._open.total() < MOST_STREAMS and self._open[client] < MOST_STREAMS_OF_CLIENT

    async def stream(
        self, client: str, after: int | None, aids: frozenset[Aid], wait: float | None = None
    ) -> AsyncIterator[bytes]:
        """Give notices behind a number as records, and comments while there are none.

        Args:
            client: who listens.
            after: number of the last notice that was seen; None: only what comes from now on.
            aids: identifiers to tell of; none: all.
            wait: end after so many seconds, or as soon as something was told; None: never end.
        """
        end = None if wait is None else time.monotonic() + wait
        self._open[client] += 1
        try:
            last, first = await self._watcher.do(
                lambda: (self._store.last_notice(), self._store.first_notice())
            )
            seen = last if after is None else min(after, last)
            yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
            if after is not None and first > seen + 1:
                yield f"event: gap\ndata: {first - seen - 1}\n\n".encode()
            while True:
                page = await self._page(seen)
                told = [one for one in page if not aids or one.aid in aids]
                seen = page[-1].number if page else seen
                for one in told:
                    yield record(one)
                left = None if end is None else end - time.monotonic()
                if left is not None and (told or left <= 0):
                    return
                if not page and not await self._something_new(left):
                    yield b": still here\n\n"
        finally:
            self._open[client] -= 1
            self._open += Counter()  # forgets those who have none

    async def _page(self, after: int) -> Sequence[Notice]:
        return await self._watcher.do(lambda: self._store.notices(after, _PAGE))

    async def _something_new(self, left: float | None) -> bool:
        news, beat = self._watcher.news, self._settings.heartbeat
        async with news:
            try:
                await asyncio.wait_for(news.wait(), beat if left is None else min(beat, left))
            except TimeoutError:
                return False
        return True


class Webhooks:
    """Calls those whom the operator has named; each in order, until it is delivered."""

    def __init__(
        self,
        watcher: Watcher,
        store: DatabaseWatch,
        sign: Sign,
        transport: Transport,
        settings: AlertSettings,
    ) -> None:
        """Begin where the store says."""
        self._watcher = watcher
        self._store = store
        self._sign = sign
        self._transport = transport
        self._settings = settings
        self._calling: dict[str, asyncio.Task[None]] = {}

    async def deliver(self) -> None:
        """Deliver for ever; one task for each webhook, so that a slow one keeps up nobody."""
        try:
            while True:
                with suppress(StoreError):
                    found = await self._watcher.do(self._store.webhooks)
                    self._keep_only({one.url for one in found})
                await asyncio.sleep(1.0)
        finally:
            self._keep_only(set())

    def _keep_only(self, urls: set[str]) -> None:
        for url in [one for one in self._calling if one not in urls]:
            self._calling.pop(url).cancel()
        for url in urls - set(self._calling):
            self._calling[url] = asyncio.create_task(self._serve(url))

    async def _serve(self, url: str) -> None:
        while True:
            wait = 1.0
            with suppress(StoreError):
                hook = await self._watcher.do(lambda: _webhook(self._store, url))
                if hook is None:
                    return
                wait = await self._next(hook)
            await asyncio.sleep(wait)

    async def _next(self, hook: Webhook) -> float:
        """Deliver what is next; return how long to wait then."""
        page = await self._watcher.do(lambda: self._store.notices(hook.told, 1))
        if not page:
            async with self._watcher.news:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._watcher.news.wait(), self._settings.heartbeat)
            return 0.0
        (notice,) = page
        problem = await self._call(hook, notice)
        failures = hook.failures + 1 if problem else 0
        told = hook.told if problem else notice.number
        new = Webhook(hook.url, told, failures, problem)
        await self._watcher.do(lambda: _written(self._store, new))
        if not problem:
            return 0.0
        return min(self._settings.shortest * 2.0 ** min(failures - 1, 16), self._settings.longest)

    async def _call(self, hook: Webhook, notice: Notice) -> str:
        """Call once; return what is wrong, if anything is."""
        aid = self._watcher.watch.aid
        missed = notice.number - hook.told - 1 if hook.told else 0
        content = {"type": NOTICE_TYPE, "watcher": aid, **notice_value(notice), "missed": missed}
        body = msgspec.json.encode(content)
        headers = {
            "Content-Type": "application/json",
            "KERI-AID": aid,
            HEADER: attestation(aid, self._sign, body),
        }
        call = Call("POST", hook.url, body, headers)
        try:
            answer = await in_thread(lambda: self._transport.call(call))
        except TransportError as error:
            return str(error)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return ""
        return f"answered with status {answer.status} [{ErrorCode.ANSWER}]"


def notice_value(notice: Notice) -> dict[str, Any]:
    """Return a notice as JSON values."""
    return {
        "number": notice.number,
        "aid": notice.aid,
        "kind": notice.kind,
        "at": text_of(notice.at),
        "data": notice.data,
    }


def record(notice: Notice) -> bytes:
    """Return a notice as a server-sent event. Source: the HTML standard, "Server-sent events"."""
    data = msgspec.json.encode(notice_value(notice)).decode()
    return f"id: {notice.number}\nevent: {notice.kind}\ndata: {data}\n\n".encode()


def _webhook(store: DatabaseWatch, url: str) -> Webhook | None:
    return next((one for one in store.webhooks() if one.url == url), None)


def _written(store: DatabaseWatch, hook: Webhook) -> None:
    """Write what became of a call, unless the operator has removed the webhook meanwhile."""

    def work() -> None:
        now = _webhook(store, hook.url)
        if now is not None and now.told <= hook.told:  # another process may be further
            store.put_webhook(hook)

    store.run(work)
