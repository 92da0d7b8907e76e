"""A watcher put together: the server, what follows logs, and what calls others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from keystead.cesr.keys import Aid
from keystead.node.attestation import Sign
from keystead.ports.transport import Transport
from keystead.services.observing import Observer
from keystead.services.running import Service
from keystead.services.watcher import Watcher, WatcherSettings, open_watcher
from keystead.services.watcher_alerts import AlertSettings, Streams, Webhooks
from keystead.services.watcher_answers import Answers


class WatcherParts(msgspec.Struct, frozen=True):
    """What a watcher is made of.

    Attributes:
        home: its folder.
        aid: its identifier.
        sign: signs with its key.
        transport: reaches sources and webhooks.
        settings: how it follows.
        alerts: how it tells.
    """

    home: Path
    aid: Aid
    sign: Sign
    transport: Transport
    settings: WatcherSettings = WatcherSettings()
    alerts: AlertSettings = AlertSettings()


@asynccontextmanager
async def watcher_service(parts: WatcherParts, observer: Observer) -> AsyncIterator[Service]:
    """Run a watcher as long as the context is open.

    Raises:
        StoreError: as `DatabaseWatch.open`.
    """
    opened = open_watcher(parts.home, parts.aid, parts.sign, parts.transport, parts.settings)
    async with opened as (watcher, store):
        watcher.report_to(observer)
        streams = Streams(watcher, store, parts.alerts)
        hooks = Webhooks(watcher, store, parts.sign, parts.transport, parts.alerts)
        tasks = [asyncio.create_task(one) for one in (watcher.follow(), hooks.deliver())]
        for task in tasks:
            task.add_done_callback(lambda done: _note_end(done, watcher, observer))
        answers = Answers(watcher, store, streams, parts.sign, observer)
        try:
            yield Service(answers, lambda _method, _path: 0, watcher.not_ready)
        finally:
            for task in (*tasks, *watcher.polls):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


def _note_end(task: asyncio.Task[None], watcher: Watcher, observer: Observer) -> None:
    """Tell that a task which never ends has ended; the service is no longer ready then."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, Exception):
        watcher.tally.ended = True
        observer.failed(error)
