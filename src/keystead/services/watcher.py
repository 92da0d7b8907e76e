"""The watcher as a server: asks sources when they are due, and keeps what they answer.

One thread has the database. Calls are made in threads of their own, a few at the same time, and
only to sources that the operator has named: what strangers ask never starts one.
"""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import KeysteadError, StoreError, TransportError
from keystead.node.attestation import HEADER, Sign, check_attestation
from keystead.node.freshness import Moment
from keystead.node.schedule import Pace, Schedule
from keystead.node.watching import Took, Watch, log_url
from keystead.ports.transport import Answer, Call, Transport
from keystead.ports.watching import WATCHER, Source, SourceView
from keystead.services.observing import Observer
from keystead.stores.opening import alone
from keystead.stores.watching import DatabaseWatch

T = TypeVar("T")
_Key = tuple[Aid, str]

_LOOK_SECONDS: Final = 1.0  # after which changes by the operator are noticed
_EXPIRE_SECONDS: Final = 60.0


class WatcherSettings(msgspec.Struct, frozen=True):
    """How a watcher works.

    Attributes:
        pace: how often sources are asked.
        expire_seconds: between two looks at what has waited too long.
    """

    pace: Pace = Pace()
    expire_seconds: float = _EXPIRE_SECONDS


class Tally(msgspec.Struct):
    """What metrics and readiness tell; written and read in the event loop only."""

    identifiers: int = 0
    calls: int = 0
    duplicities: int = 0
    notices: int = 0
    looked: bool = False
    store_fails: bool = False
    ended: bool = False


class _Wanted(msgspec.Struct, frozen=True):
    """What the operator wants followed."""

    version: int
    identifiers: int
    views: list[tuple[Aid, SourceView]]


class Watcher:
    """Follows what the operator has named.

    Attributes:
        watch: what is known; to be used through `do` only.
        tally: numbers for metrics.
        news: notified when there is something new to tell.
        polls: calls under way.
    """

    def __init__(
        self,
        store: DatabaseWatch,
        watch: Watch,
        thread: ThreadPoolExecutor,
        transport: Transport,
        settings: WatcherSettings,
    ) -> None:
        """Use an open store, and the one thread that may use it; see `open_watcher`."""
        self.watch = watch
        self.tally = Tally()
        self.news = asyncio.Condition()
        self._store = store
        self._transport = transport
        self._settings = settings
        self._thread = thread
        self._schedule: Schedule[_Key] = Schedule(settings.pace, random.SystemRandom().random)
        self._sources: dict[_Key, Source] = {}
        self._failures: dict[_Key, int] = {}
        self._version: int | None = None
        self._woken = asyncio.Event()
        self.polls: set[asyncio.Task[None]] = set()
        self._observer: Observer | None = None

    def report_to(self, observer: Observer) -> None:
        """Tell an observer what happens."""
        self._observer = observer
        tally = self.tally
        for name, told, measure in (
            ("identifiers", "Identifiers that are followed.", lambda: tally.identifiers),
            ("sources", "Sources that are asked.", lambda: len(self._failures)),
            (
                "sources_failing",
                "Sources without a last good answer.",
                self._failing,
            ),
            ("calls", "Calls to sources so far.", lambda: tally.calls),
            ("duplicities", "Notices of duplicity since the start.", lambda: tally.duplicities),
            ("notices", "Number of the last notice.", lambda: tally.notices),
        ):
            observer.gauge(f"keystead_watcher_{name}", told, measure)

    async def do(self, work: Callable[[], T]) -> T:
        """Do something with the store, in the one thread that has it."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, work)
        except StoreError:
            self.tally.store_fails = True
            raise
        self.tally.store_fails = False
        return found

    def _failing(self) -> int:
        return sum(one > 0 for one in self._failures.values())

    def not_ready(self) -> list[str]:
        """Return why this watcher should get no requests now."""
        reasons = []
        if not self.tally.looked:
            reasons.append("the list of what is followed was not read yet")
        if self.tally.store_fails:
            reasons.append("the store fails")
        if self.tally.ended:
            reasons.append("a task has ended by an error")
        return reasons

    async def follow(self) -> None:
        """Ask sources for ever."""
        looked = expired = -1e9
        while True:
            now = time.monotonic()
            if now - looked >= _LOOK_SECONDS:
                looked = now
                await self._survive(self._look())
            if now - expired >= self._settings.expire_seconds:
                expired = now
                await self._survive(self._expire())
            for key in self._schedule.next_due(time.monotonic()):
                poll = asyncio.create_task(self._poll(key))
                self.polls.add(poll)
                poll.add_done_callback(self.polls.discard)
            self._woken.clear()
            wait = self._schedule.wait(time.monotonic(), _LOOK_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(wait, 0.01))

    async def announce(self, took: Took) -> None:
        """Wake those who wait for something new."""
        if not took.notices:
            return
        self.tally.notices = took.notices[-1].number
        self.tally.duplicities += sum(one.kind == "duplicity" for one in took.notices)
        async with self.news:
            self.news.notify_all()

    async def _survive(self, work: Awaitable[None]) -> None:
        """Go on when the store fails for a while, such as when the disk is full."""
        try:
            await work
        except StoreError as error:
            self._say("store failed", error)

    async def _look(self) -> None:
        """Take over what the operator wants followed, if he changed it."""
        before = self._version
        last, found = await self.do(lambda: (self._store.last_notice(), _read(self._store, before)))
        if last != self.tally.notices:  # of another process, or of one before this
            self.tally.notices = last
            async with self.news:
                self.news.notify_all()
        if found is None:
            return
        self._version = found.version
        self._sources = {(aid, view.source.url): view.source for aid, view in found.views}
        self._failures = {(aid, view.source.url): view.failures for aid, view in found.views}
        self._schedule.keep_only(self._failures, time.monotonic())
        tally = self.tally
        tally.identifiers, tally.looked = found.identifiers, True

    async def _expire(self) -> None:
        await self.do(lambda: self.watch.expire(moment()))

    async def _poll(self, key: _Key) -> None:
        """Ask one source, and whatever its answer needs to be understood."""
        aid, _ = key
        failures = 1
        try:
            source = self._sources.get(key)
            if source is not None:
                failures = await self._ask(aid, source)
        except StoreError as error:
            self._say("store failed", error)
        except Exception as error:  # noqa: BLE001 - one source must not end the watcher
            if self._observer is not None:
                self._observer.failed(error)
        finally:
            if key in self._failures:
                self._failures[key] = failures
            self._schedule.ended(key, failures, time.monotonic())
            self._woken.set()

    async def _ask(self, aid: Aid, source: Source) -> int:
        began = moment()
        answer = await self._fetch(source, log_url(source, aid))
        if isinstance(answer, str):
            problem = answer
            return await self.do(lambda: self.watch.failed(aid, source.url, problem, began))
        body = answer.body
        took = await self.do(lambda: self.watch.took(aid, source.url, body, began, moment()))
        more = [log_url(source, delegator) for delegator in took.unknown]
        if source.kind != WATCHER:
            more += [f"{source.url}/receipts?pre={aid}&sn={sn:x}" for sn in took.receipts]
        await self.announce(took)
        wanted = [*took.unknown, *([aid] * len(took.receipts))]
        for about, place in zip(wanted, more, strict=False):
            await self._ask_more(about, source, place)
        if took.unknown:
            again = await self.do(lambda: self.watch.took(aid, source.url, body, began, moment()))
            await self.announce(again)
            return again.failures
        return took.failures

    async def _ask_more(self, aid: Aid, source: Source, place: str) -> None:
        answer = await self._fetch(source, place)
        if not isinstance(answer, str):
            body = answer.body
            told = await self.do(lambda: self.watch.took_more(aid, source.url, body, moment()))
            await self.announce(Took(told))

    async def _fetch(self, source: Source, place: str) -> Answer | str:
        """Return the answer of a source, or why there is none that counts."""
        self.tally.calls += 1
        try:
            answer = await in_thread(lambda: self._transport.call(Call("GET", place)))
            if answer.status != HTTPStatus.OK:
                return f"answered with status {answer.status}"
            if source.kind == WATCHER:
                header = answer.headers.get(HEADER.lower(), "")
                check_attestation(source.eid, answer.body, header)
        except TransportError as error:
            return str(error)
        except KeysteadError as error:
            return f"the answer is not by {source.eid}: {error.code}"
        return answer

    def _say(self, event: str, error: KeysteadError) -> None:
        if self._observer is not None:
            self._observer.event(event, level="error", code=error.code)


def _read(store: DatabaseWatch, before: int | None) -> _Wanted | None:
    """Read what is to be followed; None if nothing has changed."""
    version = store.version()
    if version == before:
        return None
    return _Wanted(version, len(store.watched()), list(store.all_views()))


@asynccontextmanager
async def open_watcher(
    home: Path, aid: Aid, sign: Sign, transport: Transport, settings: WatcherSettings
) -> AsyncIterator[tuple[Watcher, DatabaseWatch]]:
    """Open the store of a watcher in a thread of its own; it is closed at the end.

    The store is to be used through `Watcher.do` only.

    Raises:
        StoreError: as `DatabaseWatch.open`; another process serves it (store.busy), and its
            database is not made for several.
    """
    loop = asyncio.get_running_loop()
    with alone(home, "watcher", shared=True), ThreadPoolExecutor(1, "keystead-store") as thread:
        store = await loop.run_in_executor(thread, DatabaseWatch.open, home)
        try:
            watch = await loop.run_in_executor(thread, Watch, store, aid, sign, moment())
            yield Watcher(store, watch, thread, transport, settings), store
        finally:
            await loop.run_in_executor(thread, store.close)


async def in_thread(work: Callable[[], T]) -> T:
    """Do something that blocks in a thread that no end of this process waits for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def end(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # no error: it is a result

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever waits
            error = raised
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(end, result, error)

    threading.Thread(target=run, name="keystead-call", daemon=True).start()
    return await done


def moment() -> Moment:
    """Return the time by both clocks; the steady one counts while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Moment(datetime.now(UTC), time.clock_gettime(clock))
