"""What a watcher asks of its store; `stores` implements it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.keri.attachments import Proofs
from keystead.ports.events import EventStore

T = TypeVar("T")

WITNESS, WATCHER = "witness", "watcher"


class Source(msgspec.Struct, frozen=True):
    """Somebody who serves a log.

    Attributes:
        url: scheme, host and port, without a slash at the end.
        eid: its identifier.
        kind: "witness" or "watcher".
    """

    url: str
    eid: Aid
    kind: str


class SourceView(msgspec.Struct, frozen=True):
    """What is known of a source of one log.

    Attributes:
        source: who it is.
        asked_at: when the last call began, None before the first.
        confirmed_at: when the last call began whose answer was a good log.
        sn: place of the last event of that log.
        said: its digest.
        furthest_sn: place of the last event of the log that reached furthest of all.
        furthest_said: its digest. A source that no longer serves it has gone back.
        failures: calls in vain since the last good answer.
        problem: what is wrong with the last answer, empty if nothing is.
    """

    source: Source
    asked_at: datetime | None = None
    confirmed_at: datetime | None = None
    sn: int | None = None
    said: Said | None = None
    furthest_sn: int | None = None
    furthest_said: Said | None = None
    failures: int = 0
    problem: str = ""


class News(msgspec.Struct, frozen=True):
    """Something that happened, before it has a number.

    Attributes:
        aid: the identifier that it is about.
        kind: event, recovery, duplicity, undecided, pending, or rollback.
        same: what it is about; the same is told once.
        data: JSON values.
    """

    aid: Aid
    kind: str
    same: str
    data: Mapping[str, Any]


class Notice(msgspec.Struct, frozen=True):
    """Something that happened; `number` is the order over everything."""

    number: int
    aid: Aid
    kind: str
    at: datetime
    data: Mapping[str, Any]


class Bundle(msgspec.Struct, frozen=True):
    """A proof of duplicity.

    Attributes:
        aid: the identifier.
        said: digest of the version of the event that does not stand.
        observed_at: when it was first seen here.
        sources: URLs that served it.
        proofs: all verified signatures over it that were ever served.
        data: a CESR stream that anyone can verify.
    """

    aid: Aid
    said: Said
    observed_at: datetime
    sources: tuple[str, ...]
    proofs: Proofs
    data: bytes


class Webhook(msgspec.Struct, frozen=True):
    """Somebody who is called when something happens.

    Attributes:
        url: where.
        told: number of the last notice that was delivered.
        failures: calls in vain since then.
        problem: what was wrong with the last call, empty if nothing was.
    """

    url: str
    told: int
    failures: int = 0
    problem: str = ""


class WatchStore(Protocol):
    """Logs, who serves them, and what there is to tell; several processes may have it open."""

    @property
    def events(self) -> EventStore:
        """The logs; what is stored inside `run` is part of it."""

    def run(self, work: Callable[[], T]) -> T:
        """Keep all that `work` does, durably, or nothing; again when others were in the way."""

    def snapshot(self) -> AbstractContextManager[object]:
        """Read: all that is read inside is of one moment."""

    def version(self) -> int:
        """Return what is another value after anybody has changed what is followed."""

    def watched(self) -> Sequence[Aid]:
        """Return whose logs are followed, in the order in which they came."""

    def is_watched(self, aid: Aid) -> bool:
        """Tell whether a log is followed."""

    def watch(self, aid: Aid, sources: Sequence[Source], at: datetime) -> None:
        """Follow a log at some more sources."""

    def unwatch(self, aid: Aid, url: str | None = None) -> bool:
        """Follow a log no longer, or not at one URL; tell whether it was. Its events stay."""

    def views(self, aid: Aid) -> Sequence[SourceView]:
        """Return what is known of the sources of a log."""

    def all_views(self) -> Iterator[tuple[Aid, SourceView]]:
        """Give what is known of all sources."""

    def put_view(self, aid: Aid, view: SourceView) -> None:
        """Write what is known of a source that is followed still; otherwise nothing."""

    def tell(self, news: News, at: datetime) -> Notice | None:
        """Keep something to tell; None if the same was told before. The oldest make room."""

    def notices(self, after: int, most: int, aid: Aid | None = None) -> Sequence[Notice]:
        """Return what happened after a number, about one identifier or all, oldest first."""

    def last_notice(self) -> int:
        """Return the number of the latest notice that ever was, 0 before the first."""

    def first_notice(self) -> int:
        """Return the number of the oldest notice that is kept, 0 if there is none."""

    def put_bundle(self, bundle: Bundle) -> None:
        """Keep a proof in place of an earlier one about the same version."""

    def bundles(self, aid: Aid) -> Sequence[Bundle]:
        """Return the proofs of duplicity of an identifier, in the order of their observation."""

    def webhooks(self) -> Sequence[Webhook]:
        """Return who is called."""

    def put_webhook(self, webhook: Webhook) -> None:
        """Call somebody from now on, or write what became of calls."""

    def remove_webhook(self, url: str) -> bool:
        """Call somebody no longer; tell whether he was."""
