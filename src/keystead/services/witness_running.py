"""A witness that runs: its thread, its routes, its metrics, and where it says that it is."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from keystead.cesr.stream import Message, StreamReader
from keystead.errors import ErrorCode, KeysteadError, UsageError
from keystead.keri import forms
from keystead.limits import DEFAULT_LIMITS
from keystead.node import answering
from keystead.node.witness import Admission, Submission, Witness
from keystead.services.charging import Rates
from keystead.services.committing import Committer
from keystead.services.observing import Observer
from keystead.services.reading import Reader
from keystead.services.running import Listening, Service
from keystead.services.witness import WitnessService
from keystead.services.witness_home import WitnessHome
from keystead.services.witness_requests import route_limit
from keystead.stores.witness import DatabaseWitness

_SCHEMES: Final = ("http", "https")
_FAILED: Final = 1
_MOMENT: Final = timedelta(microseconds=1)


class WitnessRun:
    """One run of a witness, from opening to closing."""

    def __init__(
        self,
        home: WitnessHome,
        passphrase: bytes,
        admission: Admission,
        rates: Rates,
        url: str | None,
    ) -> None:
        """Get ready.

        Args:
            home: its folders.
            passphrase: of its key, in normal form.
            admission: whom it lets in.
            rates: how often what may be asked.
            url: where others reach it; None: where it listens.

        Raises:
            UsageError: the URL is none (usage.argument).
        """
        if url is not None and (urlsplit(url).scheme not in _SCHEMES or not urlsplit(url).hostname):
            what = "the URL of a witness begins with https:// or http:// and names a host"
            raise UsageError(ErrorCode.ARGUMENT, what)
        self._home = home
        self._rates = rates
        self._url = url
        self._reader = Reader(lambda: closing(DatabaseWitness.open(home.folder, home.limits)))
        self._tell: Callable[..., None] = lambda *_, **__: None
        self._committer = Committer(lambda: home.opened(passphrase, admission, shared=True), _now)

    @asynccontextmanager
    async def opened(self, observer: Observer) -> AsyncIterator[Service]:
        """Open the witness in its thread, and close it at the end; errors as `WitnessHome.opened`."""
        committer = self._committer

        def broken() -> None:
            observer.event("store failed", level="error", code=str(committer.fault))
            # Nobody knows what is on the disk now. Whoever waits for an answer gets none.
            os._exit(_FAILED)

        committer.broken = broken
        self._tell = observer.event
        committer.start()
        try:
            self._reader.start()
            aid = await committer.run(lambda one: one.aid)
            observer.gauge(
                "keystead_witness_ready", "1 if it signs.", lambda: float(not self._reasons())
            )
            limited = observer.rate_limited
            service = WitnessService(committer, self._reader, aid, self._rates, limited)
            yield Service(service, route_limit, self._reasons)
        finally:
            self._reader.stop()
            committer.stop()

    def listening(self, listening: Listening) -> None:
        """Have the witness sign where it is, before anybody is told that it is ready."""
        url = self._url or listening.listening
        refused = self._committer.begin(lambda one: tell_location(one, url, _now())).result()
        for error in refused:
            self._tell("location not kept", level="error", code=error.code)

    @property
    def quarantined(self) -> bool:
        """Whether it was restored, and has not caught up; once it is open."""
        return self._committer.quarantined

    def _reasons(self) -> list[str]:
        fault = self._committer.fault
        reasons = [] if fault is None else [f"the store does not take anything: {fault}"]
        if self._committer.quarantined:
            reasons.append("it was restored, and has not caught up")
        return reasons


def tell_location(witness: Witness, url: str, now: datetime) -> list[KeysteadError]:
    """Sign and keep where a witness is, unless that is what it has said last.

    A clock that was wrong once must not pin the place: what is told is dated after what was told
    before.

    Returns:
        Why that could not be kept.
    """
    scheme = urlsplit(url).scheme
    refused: list[KeysteadError] = []
    for one in _SCHEMES:
        record = witness.store.events.record(("loc", witness.aid, one))
        known = None if record is None else record.reply.attributes.get("url")
        wanted = url if one == scheme else ""
        if known == wanted or (known is None and not wanted):
            continue
        date = now if record is None else max(now, record.reply.instant + _MOMENT)
        reply = answering.location_reply(witness.aid, one, wanted, date, witness.sign_reply)
        (done,) = witness.submit([Submission(_read(reply), now)])
        refused += [done] if isinstance(done, KeysteadError) else done.errors
    return refused


def _read(stream: bytes) -> list[Message]:
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(stream)
    reader.close()
    return [one for one in reader if isinstance(one, Message)]


def _now() -> datetime:
    return datetime.now(UTC)
