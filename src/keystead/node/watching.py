"""The watcher: follows logs at many sources, remembers what it saw first, and tells of it.

It never says what the state of an identifier is, only how many sources confirmed which state, and
when. First seen stands: another version of an event is kept as evidence, and shown as such.

Nothing here does I/O beside the store; time is an argument.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from keystead.cesr.keys import Aid, Digest, Said, digest
from keystead.errors import ErrorCode, UsageError
from keystead.keri.escrow import Want
from keystead.keri.routed import state_fields
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.attestation import Sign
from keystead.node.bundles import make_bundle, observed
from keystead.node.freshness import (
    OTHER_VERSION,
    ROLLED_BACK,
    Ages,
    Confirmation,
    Moment,
    Policy,
    confirmation,
    confirming,
    shortcomings,
)
from keystead.node.ingest import EventProcessor
from keystead.node.intake import Intake, PendingEvent, take
from keystead.node.replay import replay_approved
from keystead.node.weighing import known_duplicity
from keystead.ports.watching import WATCHER, Bundle, News, Notice, Source, SourceView, WatchStore

STATE_TYPE: Final = "keystead.watcher.state.1"
# Identifiers that are followed. Each costs a call to each of its sources in each interval.
MOST_WATCHED: Final = 10_000
# Sources of one identifier: 64 witnesses and some watchers.
MOST_SOURCES: Final = 80
_NO_EVENT: Final = "served no event of the log"
_MOST_RECEIPT_CALLS: Final = 4  # for each answer


class Took(msgspec.Struct, frozen=True):
    """What to do after an answer.

    Attributes:
        notices: what is new, in order.
        failures: answers in a row of this source that were of no use.
        unknown: delegators whose logs are needed too.
        receipts: places of events that wait for receipts, which the source may have.
    """

    notices: tuple[Notice, ...] = ()
    failures: int = 0
    unknown: tuple[Aid, ...] = ()
    receipts: tuple[int, ...] = ()


class _Last(msgspec.Struct, frozen=True):
    """The last answer of a source: the same again brings nothing as long as the log is the same."""

    digest: Digest
    head: Said | None
    intake: Intake


class _Answer(msgspec.Struct, frozen=True):
    """An answer of a source about a log, with when the call for it began, and when it ended."""

    aid: Aid
    url: str
    body: bytes
    began: Moment
    now: Moment


class _Taken(msgspec.Struct, frozen=True):
    """What became of an answer."""

    view: SourceView
    last: _Last
    told: tuple[Notice, ...]


class Watch:
    """What a watcher knows, and what it tells.

    Attributes:
        store: where everything is kept.
        aid: the identifier of the watcher.
    """

    def __init__(
        self,
        store: WatchStore,
        aid: Aid,
        sign: Sign,
        now: Moment,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Go on with what the store has."""
        self.store = store
        self.aid = aid
        self._sign = sign
        self._limits = limits
        self._ages = Ages([view for _, view in store.all_views()], now)
        self._last: dict[tuple[Aid, str], _Last] = {}

    def took(self, aid: Aid, url: str, body: bytes, began: Moment, now: Moment) -> Took:
        """Take the answer of a source.

        Args:
            aid: whose log was asked for.
            url: the source.
            body: a CESR stream.
            began: when the call began; what it confirms is as old as that at least.
            now: when it ended.
        """
        # What was not kept must not be remembered either: the same answer would bring nothing.
        last = self._last.pop((aid, url), None)
        taken = self.store.run(lambda: self._taken(_Answer(aid, url, body, began, now), last))
        if taken is None:
            return Took()
        view, intake = taken.view, taken.last.intake
        self._last[aid, url] = taken.last
        if view.confirmed_at == began.wall:
            self._ages.confirmed(aid, url, began)
        wanting = [one.sn for one in intake.pending if _wants(one, Want.RECEIPTS)]
        return Took(taken.told, view.failures, intake.unknown, tuple(wanting[:_MOST_RECEIPT_CALLS]))

    def took_more(self, aid: Aid, url: str, body: bytes, now: Moment) -> tuple[Notice, ...]:
        """Take what a source has besides its log: receipts, or the log of a delegator."""

        def work() -> tuple[Notice, ...]:
            before = self._end(aid)
            intake = take(self.store.events, aid, body, now.wall, self._limits)
            if not self.store.is_watched(aid):
                return ()
            news = [*self._evidence(aid, intake, url, now.wall)]
            return self._tell([*news, *_news(aid, intake, url, before)], now.wall)

        return self.store.run(work)

    def failed(self, aid: Aid, url: str, problem: str, began: Moment) -> int:
        """Write that a source gave no answer; return how many times in a row it did not."""

        def work() -> int:
            view = self._view(aid, url)
            if view is None:
                return 0
            failures = view.failures + 1
            view = msgspec.structs.replace(
                view, asked_at=began.wall, failures=failures, problem=problem
            )
            self.store.put_view(aid, view)
            return failures

        return self.store.run(work)

    def expire(self, now: Moment) -> None:
        """Drop what has waited too long, and what is no longer followed."""
        EventProcessor(self.store.events, limits=self._limits).expire(now.wall)
        wanted = {(aid, view.source.url) for aid, view in self.store.all_views()}
        for key in [key for key in self._last if key not in wanted]:
            del self._last[key]

    def confirmations(self, aid: Aid, now: Moment) -> list[Confirmation]:
        """Return what each source says about the latest state that is known here."""
        head = self._head(aid)
        views = self.store.views(aid)
        return [confirmation(view, head, self._ages.age(aid, view, now)) for view in views]

    def state(self, aid: Aid, policy: Policy, now: Moment, nonce: str = "") -> dict[str, Any]:
        """Return the latest state with who confirmed it when, as JSON values."""
        with self.store.snapshot():
            return self._state(aid, policy, now, nonce)

    def _state(self, aid: Aid, policy: Policy, now: Moment, nonce: str) -> dict[str, Any]:
        found = self.confirmations(aid, now)
        reasons = shortcomings(found, policy)
        sources = len({one.view.source.eid for one in found})
        counted = [one for one in found if one.counts]
        oldest = min((one.view.confirmed_at for one in counted if one.view.confirmed_at),
                     default=None)  # fmt: skip
        state = self.store.events.key_state(aid)
        head = None if state is None else self.store.events.event(aid, state.sn)
        fields = None
        if state is not None and head is not None:
            fields = state_fields(state, head.first_seen_number, head.first_seen_at)
        bundles = [_evidence_value(one) for one in self.store.bundles(aid)]
        # What speaks against nobody but a thief of old keys must not make others refuse the log.
        harmless = {one.other.said for one in known_duplicity(self.store.events, aid).dismissed}
        return {
            "type": STATE_TYPE,
            "watcher": self.aid,
            "aid": aid,
            "at": text_of(now.wall),
            "nonce": nonce,
            "summary": _summary(fields, confirming(found), sources, oldest),
            "state": fields,
            "confirmed_by": confirming(found, policy.max_age),
            "sources": sources,
            "oldest_confirmation": None if oldest is None else text_of(oldest),
            "by_source": [_confirmation_value(one) for one in found],
            "pending": [_pending_value(one) for one in self.pending(aid)],
            "duplicity": [one for one in bundles if one["other"] not in harmless],
            "dismissed": [one for one in bundles if one["other"] in harmless],
            "policy": {
                "max_age": policy.max_age,
                "min_sources": policy.min_sources,
                "met": not reasons,
                "reasons": reasons,
            },
        }

    def pending(self, aid: Aid) -> list[PendingEvent]:
        """Return the events that sources served and that are not accepted yet."""
        found: dict[Said, PendingEvent] = {}
        for (of, _), last in self._last.items():
            if of == aid:
                found |= {one.said: one for one in last.intake.pending}
        events = self.store.events
        return [one for one in found.values() if events.accepted(aid, one.said) is None]

    def log(self, aid: Aid) -> bytes:
        """Return a log in first-seen order, with those of its delegators and with receipts."""
        with self.store.snapshot():
            return b"".join(replay_approved(self.store.events, aid, {}))

    def _taken(self, answer: _Answer, last: _Last | None) -> _Taken | None:
        """Take an answer in a transaction, where all may be done again."""
        aid, url, at = answer.aid, answer.url, answer.now.wall
        view = self._view(aid, url)
        if view is None:
            return None
        before, same = self._end(aid), digest(answer.body)
        if last is not None and (last.digest, last.head) == (same, self._head(aid)):
            intake = last.intake  # nothing new: it and the log are what they were last time
        else:
            intake = take(self.store.events, aid, answer.body, at, self._limits)
        news = [*self._evidence(aid, intake, url, at)]
        news += _news(aid, intake, url, before)
        news += self._undecided(aid, url, intake)
        kept = _kept(intake, view.furthest_said)
        if not _is_overtaken(view, answer):
            view = _viewed(view, intake, answer.began.wall)
            if view.problem == ROLLED_BACK:
                news.append(_rolled_back(aid, view))
            self.store.put_view(aid, view)
        return _Taken(view, _Last(same, self._head(aid), kept), self._tell(news, at))

    def _tell(self, news: list[News], at: datetime) -> tuple[Notice, ...]:
        told = [self.store.tell(one, at) for one in news]
        return tuple([one for one in told if one is not None])

    def _evidence(self, aid: Aid, intake: Intake, url: str, at: datetime) -> Iterator[News]:
        """Keep proofs of duplicity, with all that is known of it by now."""
        kept = {one.said: one for one in self.store.bundles(aid)}
        stored = {one.other.said: one for one in self.store.events.duplicity(aid)}
        for evidence in intake.duplicity:
            said = evidence.other.said
            if said not in stored:
                continue  # there is enough evidence of this identifier
            old = kept.get(said)
            proofs, first_at = evidence.proofs, at
            sources: tuple[str, ...] = (url,)
            if old is not None:
                proofs, first_at = old.proofs.merged(proofs), old.observed_at
                sources = tuple(dict.fromkeys((*old.sources, url)))
            complete = msgspec.structs.replace(stored[said], proofs=proofs)
            observation = observed(self.aid, complete, sources, first_at)
            data = make_bundle(self.store.events, complete, observation, self._sign)
            self.store.put_bundle(Bundle(aid, said, first_at, sources, proofs, data))
            told = {
                "sn": f"{evidence.sn:x}",
                "first": evidence.accepted.event.said,
                "other": said,
                "source": url,
                "bundle": f"/evidence/{aid}/{said}",
            }
            yield News(aid, "duplicity", said, told)

    def _undecided(self, aid: Aid, url: str, intake: Intake) -> Iterator[News]:
        """Tell of two signed versions of which neither is accepted."""
        by_place: dict[int, dict[Said, str]] = {}
        known = {source: last.intake for (of, source), last in self._last.items() if of == aid}
        for source, brought in (known | {url: intake}).items():
            for one in brought.pending:
                if one.accountable:
                    by_place.setdefault(one.sn, {}).setdefault(one.said, source)
        for sn in {one.sn for one in intake.pending}:
            versions = by_place.get(sn, {})
            if len(versions) > 1:
                told = {"sn": f"{sn:x}", "versions": dict(sorted(versions.items())), "source": url}
                yield News(aid, "undecided", " ".join(sorted(versions)), told)

    def _view(self, aid: Aid, url: str) -> SourceView | None:
        return next((one for one in self.store.views(aid) if one.source.url == url), None)

    def _end(self, aid: Aid) -> int | None:
        state = self.store.events.key_state(aid)
        return None if state is None else state.sn

    def _head(self, aid: Aid) -> Said | None:
        state = self.store.events.key_state(aid)
        return None if state is None else state.said


def log_url(source: Source, aid: Aid) -> str:
    """Return the URL where a source serves a log."""
    if source.kind == WATCHER:
        return f"{source.url}/log/{aid}"
    return f"{source.url}/query?typ=kel&pre={aid}"


def text_of(time: datetime) -> str:
    """Write a time as RFC 3339 text."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def check_room(watched: int, sources: int) -> None:
    """Check that one more identifier can be followed, at so many sources.

    Raises:
        UsageError: there are too many of them (usage.argument).
    """
    if watched >= MOST_WATCHED:
        raise UsageError(ErrorCode.ARGUMENT, f"{MOST_WATCHED} identifiers are followed already")
    if sources > MOST_SOURCES:
        raise UsageError(ErrorCode.ARGUMENT, f"more than {MOST_SOURCES} sources of an identifier")


def _kept(intake: Intake, furthest: Said | None) -> Intake:
    """Return what has to be remembered of an answer: nothing that grows with the log."""
    ends = {furthest, *intake.served[-1:]}
    if intake.tip is not None:
        ends.add(intake.tip.event.said)
    return msgspec.structs.replace(
        intake,
        served=tuple([said for said in intake.served if said in ends]),
        strange=tuple([said for said in intake.strange if said in ends]),
        accepted=(),
        duplicity=(),
    )


def _is_overtaken(view: SourceView, answer: _Answer) -> bool:
    """Tell whether another process asked later and is done: this answer may be the older one."""
    at = view.asked_at  # one in the future was written before the clock was set back
    return at is not None and answer.began.wall < at <= answer.now.wall


def _viewed(view: SourceView, intake: Intake, began: datetime) -> SourceView:
    """Return what is known of a source after an answer."""
    view = msgspec.structs.replace(view, asked_at=began)
    tip = intake.tip
    if intake.served and intake.served[-1] in intake.strange:
        # It confirms nothing: what it says behind the fork is another history.
        return msgspec.structs.replace(
            view, confirmed_at=None, sn=None, said=None, failures=0, problem=OTHER_VERSION
        )
    if tip is None:
        problem = "serves only events that wait" if intake.pending else _NO_EVENT
        failures = 0 if intake.pending else view.failures + 1
        return msgspec.structs.replace(view, failures=failures, problem=problem)
    sn, said = tip.event.sn, tip.event.said
    problem = f"{intake.refused} messages were malformed" if intake.refused else ""
    changes: dict[str, Any] = {"furthest_sn": sn, "furthest_said": said}
    if view.furthest_said is not None and view.furthest_said not in intake.served:
        changes, problem = {}, ROLLED_BACK
    return msgspec.structs.replace(
        view, confirmed_at=began, sn=sn, said=said, failures=0, problem=problem, **changes
    )


def _news(aid: Aid, intake: Intake, url: str, before_sn: int | None) -> list[News]:
    """Tell of events that were accepted, and of those that wait.

    Args:
        aid: the log.
        intake: what an answer brought.
        url: who gave it.
        before_sn: the end of the log before, None when it was not known. Then only its end is
            told of.
    """
    found: list[News] = []
    end = before_sn
    for one in intake.accepted if before_sn is not None else intake.accepted[-1:]:
        event = one.event
        # The end of a trunk is the event that was accepted last; what comes behind has the next
        # place, and anything else takes events back.
        kind = "event" if end is None or event.sn > end else "recovery"
        end = event.sn
        told = {
            "sn": f"{event.sn:x}",
            "said": event.said,
            "type": event.message_type,
            "first_seen_number": one.first_seen_number,
            "first_seen_at": one.first_seen_at,
            "source": url,
        }
        found.append(News(aid, kind, event.said, told))
    for waits in intake.pending:
        if not _wants(waits, Want.EVENT):
            told = {**_pending_value(waits), "source": url}
            found.append(News(aid, "pending", waits.said, told))
    return found


def _wants(pending: PendingEvent, want: Want) -> bool:
    return any(one.want is want for one in pending.missing)


def _rolled_back(aid: Aid, view: SourceView) -> News:
    told = {
        "source": view.source.url,
        "sn": None if view.sn is None else f"{view.sn:x}",
        "said": view.said,
        "served_before_sn": None if view.furthest_sn is None else f"{view.furthest_sn:x}",
        "served_before": view.furthest_said,
    }
    return News(aid, "rollback", f"{view.source.url} {view.furthest_said} {view.said}", told)


def _summary(
    fields: dict[str, Any] | None, confirmed: int, sources: int, oldest: datetime | None
) -> str:
    if fields is None:
        return f"no event is known; {sources} sources are followed"
    text = f"event {fields['s']} {fields['d']} as confirmed by {confirmed} of {sources} sources"
    return text if oldest is None else f"{text}, the earliest at {text_of(oldest)}"


def _confirmation_value(one: Confirmation) -> dict[str, Any]:
    view = one.view
    return {
        "url": view.source.url,
        "eid": view.source.eid,
        "kind": view.source.kind,
        "status": one.status.value,
        "sn": None if view.sn is None else f"{view.sn:x}",
        "said": view.said,
        "confirmed_at": None if view.confirmed_at is None else text_of(view.confirmed_at),
        "age": None if one.age is None else round(one.age, 3),
        "asked_at": None if view.asked_at is None else text_of(view.asked_at),
        "failures": view.failures,
        "problem": view.problem,
    }


def _pending_value(one: PendingEvent) -> dict[str, Any]:
    waits = [
        {"what": missing.want.name.lower(), "detail": missing.detail} for missing in one.missing
    ]
    return {"sn": f"{one.sn:x}", "said": one.said, "waits_for": waits}


def _evidence_value(one: Bundle) -> dict[str, Any]:
    return {
        "other": one.said,
        "observed_at": text_of(one.observed_at),
        "sources": list(one.sources),
        "bundle": f"/evidence/{one.aid}/{one.said}",
    }
