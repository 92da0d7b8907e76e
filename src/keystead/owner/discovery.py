"""Introductions followed: logs and endpoints found, verified, and confirmed by witnesses.

Only what the owner asks for is followed: one introduction, those that a service gives for the
same identifier instead of a log, and witnesses whose location is signed. An introduction inside
of what is found is never followed by itself.

Source: KERI specification, "OOBI (Out-Of-Band Introduction)" and "Authorized endpoint discovery".
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, Said, digest_code, is_aid
from keystead.cesr.stream import Malformed, StreamReader
from keystead.errors import ErrorCode, KeysteadError, TransportError, VerificationError
from keystead.keri import forms
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Want
from keystead.keri.events import KeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.messages import Reply, parse_message
from keystead.keri.oobi import (
    MultiOobi,
    Oobi,
    OobiPath,
    is_multi,
    parse_base,
    parse_multi,
    parse_oobi,
    parse_schema,
)
from keystead.keri.routed import EndRole, Location, Record
from keystead.keri.verdicts import Pending, Recorded, Rejected, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor, Result
from keystead.node.weighing import known_duplicity
from keystead.owner.witnesses import receipts
from keystead.ports.events import EventStore
from keystead.ports.transport import Answer, Call, Transport

# All spellings that peers use: keri 1.x for introductions, for events, and keri 2.
CESR_TYPES: Final = ("application/json+cesr", "application/cesr+json", "application/cesr")
SCHEMA_TYPE: Final = "application/schema+json"
_JSON_TYPE: Final = "application/json"
_AID_HEADER: Final = "keri-aid"
_FOUND: Final = 200
_MISSING: Final = 404

Together = Callable[[], AbstractContextManager[object]]


class Standing(StrEnum):
    """How what a source gave compares with the log as it is now. The value is for people."""

    AGREES = "agrees"
    BEHIND = "gives an older log"
    DIFFERS = "gives another log"
    SILENT = "gives no log"


class Told(msgspec.Struct, frozen=True, gc=False):
    """What one source gave.

    Attributes:
        url: where it was asked.
        witness: who answers there, if it is a witness of the log.
        standing: how that compares.
        problem: why nothing came, for people; empty if something did.
    """

    url: str
    witness: Aid | None
    standing: Standing
    problem: str = ""


class Schema(msgspec.Struct, frozen=True, gc=False):
    """A schema that was found.

    Attributes:
        said: its digest.
        raw: its canonical form.
    """

    said: Said
    raw: bytes


class Found(msgspec.Struct, frozen=True, gc=False):
    """A log that was found, as it stands in the store now.

    Attributes:
        oobi: the introduction.
        aid: the identifier.
        state: its key state; None for a key that cannot rotate and whose log nobody has, such
            as that of a witness.
        head: the latest event.
        before: place of the latest event that was known before; None if none was.
        told: what each source gave.
        records: statements on endpoints that were found.
        duplicity: what speaks against the log and those of its delegators.
        dismissed: other versions of their events that do not stand.
        foreign: events of one's own identifier that were not made here.
        refused: how many messages were refused, by code.
        asked_at: when it was asked, RFC 3339 text.
    """

    oobi: Oobi
    aid: Aid
    state: KeyState | None
    head: AcceptedEvent | None
    before: int | None
    told: tuple[Told, ...]
    records: tuple[Record, ...]
    duplicity: tuple[DuplicityEvidence, ...]
    dismissed: tuple[DuplicityEvidence, ...]
    foreign: tuple[Said, ...]
    refused: dict[str, int]
    asked_at: str

    @property
    def witnesses(self) -> tuple[Aid, ...]:
        """The witnesses of the log."""
        return () if self.state is None else self.state.establishment.witnesses

    @property
    def receipted(self) -> frozenset[Aid]:
        """The witnesses whose receipts of the latest event are here."""
        return frozenset() if self.head is None else receipts(self.head)

    @property
    def confirmed(self) -> frozenset[Aid]:
        """The witnesses that gave the latest event as theirs, and whose receipts it has."""
        agreeing = {one.witness for one in self.told if one.standing is Standing.AGREES}
        return self.receipted & {one for one in agreeing if one is not None}

    @property
    def rolled_back(self) -> bool:
        """Every source that gave a log gave one that ends before what is known."""
        given = {one.standing for one in self.told} - {Standing.SILENT}
        return given == {Standing.BEHIND}


def resolve(  # noqa: PLR0913 - where from, where to, and how
    processor: EventProcessor,
    transport: Transport,
    url: str,
    *,
    now: datetime,
    also: Sequence[str] = (),
    confirm: bool = False,
    together: Together = nullcontext,
) -> Found | Schema:
    """Follow an introduction, and keep what is valid of what it leads to.

    Args:
        processor: takes in what is found.
        transport: carries the requests.
        url: the introduction.
        now: aware time.
        also: further introductions to the same identifier.
        confirm: ask the other witnesses of the log too, as far as it is known where they are.
        together: what is taken in from one answer is stored inside of this.

    Raises:
        DecodeError: no introduction (decode.value, decode.limit), or an answer that is malformed.
        TransportError: as `Transport.call`; transport.answer when there is nothing.
        VerificationError: what is there is not what the introduction names
            (verify.introduction, verify.said).
        StoreError: it cannot be kept.
    """
    oobi = parse_oobi(url, DEFAULT_LIMITS)
    others = [parse_oobi(one, DEFAULT_LIMITS) for one in also]
    search = _Search(processor, transport, now, together)
    answer = transport.call(_call(oobi))
    content = _content(oobi, answer)
    if isinstance(content, Schema):
        return content
    aid = _introduced(oobi, answer, content)
    search.begin(aid)
    if isinstance(content, MultiOobi):
        search.ask(dict.fromkeys(content.oobis))
    else:
        search.take(oobi, None, content)
    if any(one.aid != aid for one in others):
        what = "the further URLs name somebody else"
        raise VerificationError(ErrorCode.INTRODUCTION, what)
    search.ask(dict.fromkeys(others))
    if confirm:
        search.ask(search.others())
    return search.found(oobi)


def locations(store: EventStore, eid: Aid) -> list[str]:
    """Return where an endpoint can be reached, by its own signed statements; https first."""
    found = []
    for scheme in ("https", "http"):
        record = store.record(Location(eid, scheme, "").key)
        if record is not None and isinstance(record.statement, Location) and record.statement.url:
            found.append(record.statement.url)
    return found


def witness_oobi(store: EventStore, aid: Aid, witness: Aid, *, named: bool = True) -> Oobi | None:
    """Return the introduction to an identifier at one of its witnesses.

    Args:
        store: where the locations are.
        aid: the identifier.
        witness: the witness.
        named: name the witness in it.

    Returns:
        The introduction; None when it is not known where the witness is.
    """
    for url in locations(store, witness):
        try:
            base = parse_base(url, DEFAULT_LIMITS)
        except KeysteadError:
            continue
        return Oobi(base, OobiPath(aid, "witness", witness if named else None))
    return None


class _Search:
    """One search: who was asked for a log, and what came of it."""

    def __init__(
        self, processor: EventProcessor, transport: Transport, now: datetime, together: Together
    ) -> None:
        self._processor, self._transport = processor, transport
        self._store = processor.store
        self._now, self._together = now, together
        self._aid = Aid("")
        self._before: int | None = None
        self._ends: dict[str, tuple[Aid | None, Said | None, str]] = {}
        self._results: list[Result] = []

    def begin(self, aid: Aid) -> None:
        """Search for an identifier."""
        self._aid = aid
        state = self._store.key_state(aid)
        self._before = None if state is None else state.sn

    def ask(self, oobis: dict[Oobi, Aid | None]) -> None:
        """Follow further introductions, those at witnesses with the witness, at the same time."""
        wanted = list(oobis)
        for place, answer in self._transport.call_all([_call(one) for one in wanted]):
            oobi, witness = wanted[place], oobis[wanted[place]]
            try:
                if isinstance(answer, TransportError):
                    raise answer
                content = _content(oobi, answer)
                if not isinstance(content, bytes):
                    raise VerificationError(ErrorCode.INTRODUCTION, "there is no log")
                self.take(oobi, witness, content)
            except KeysteadError as error:
                self._ends.setdefault(oobi.url, (witness, None, error.message))

    def take(self, oobi: Oobi, witness: Aid | None, stream: bytes) -> None:
        """Take in the stream of a source."""
        results: list[Result] = []
        reader = self._processor.reader()
        reader.feed(stream)
        reader.close()
        with self._together():
            for item in reader:
                if isinstance(item, Malformed):
                    results.append(Result(None, Rejected(item.error)))
                    continue
                results += self._processor.process(item, source=Source.REMOTE, now=self._now)
        self._results += results
        given = [said for one in results if (said := _event_of(one, self._aid)) is not None]
        # A log is given in the order in which it was first seen, so its end comes last.
        self._ends[oobi.url] = (witness, given[-1] if given else None, "")

    def others(self) -> dict[Oobi, Aid | None]:
        """Return where witnesses can be asked who were not asked yet."""
        state = self._store.key_state(self._aid)
        asked = {self._witness_of(url, one[0]) for url, one in self._ends.items()}
        found: dict[Oobi, Aid | None] = {}
        for witness in () if state is None else state.establishment.witnesses:
            oobi = witness_oobi(self._store, self._aid, witness)
            if oobi is not None and witness not in asked:
                found[oobi] = witness
        return found

    def found(self, oobi: Oobi) -> Found:
        """Return what is in the store now.

        Raises:
            VerificationError: the log is not (verify.introduction).
        """
        state = self._store.key_state(self._aid)
        records = tuple(self._records())
        if state is None and not any(one.statement.authority == self._aid for one in records):
            raise self._nothing()
        return Found(
            oobi,
            self._aid,
            state,
            None if state is None else self._store.event(self._aid, state.sn),
            self._before,
            tuple(self._told(state)),
            records,
            *known_duplicity(self._store, self._aid),
            tuple(self._foreign()),
            dict(self._refused()),
            self._now.astimezone(UTC).isoformat(timespec="microseconds"),
        )

    def _told(self, state: KeyState | None) -> Iterator[Told]:
        for url, (witness, end, problem) in self._ends.items():
            standing = Standing.SILENT
            if state is not None and end is not None:
                known = self._store.accepted(self._aid, end)
                standing = Standing.DIFFERS if known is None else Standing.BEHIND
                if end == state.said:
                    standing = Standing.AGREES
            yield Told(url, self._witness_of(url, witness), standing, problem)

    def _witness_of(self, url: str, witness: Aid | None) -> Aid | None:
        """Return the witness at a URL: by its path, or by the place where the witness says it is."""
        state = self._store.key_state(self._aid)
        oobi = parse_oobi(url, DEFAULT_LIMITS)
        if witness is not None or state is None:
            return witness
        for one in state.establishment.witnesses:
            known = witness_oobi(self._store, self._aid, one)
            if oobi.path.eid == one or (known is not None and known.base == oobi.base):
                return one
        return None

    def _records(self) -> Iterator[Record]:
        for result in self._results:
            verdict = result.verdict
            if isinstance(verdict, Recorded) and isinstance(
                verdict.record.statement, EndRole | Location
            ):
                yield verdict.record

    def _foreign(self) -> Iterator[Said]:
        for result in self._results:
            verdict = result.verdict
            if isinstance(verdict, Pending) and verdict.event.log == self._aid:
                for missing in verdict.missing:
                    if missing.want is Want.LOCAL_SOURCE and missing.said is not None:
                        yield missing.said

    def _refused(self) -> Counter[str]:
        return Counter(
            str(one.verdict.error.code)
            for one in self._results
            if isinstance(one.verdict, Rejected)
        )

    def _nothing(self) -> VerificationError:
        """Return why there is no log."""
        for result in reversed(self._results):
            verdict = result.verdict
            if isinstance(verdict, Pending) and verdict.event.log == self._aid:
                wants = sorted({one.want.value for one in verdict.missing})
                what = f"the log of {self._aid} waits for {' and '.join(wants)}"
                return VerificationError(ErrorCode.INTRODUCTION, what)
        refused = self._refused()
        why = f": {', '.join(sorted(refused))}" if refused else ""
        problems = [one[2] for one in self._ends.values() if one[2]]
        why = why or (f": {problems[0]}" if problems else "")
        what = f"the log of {self._aid} is not where the introduction leads{why}"
        return VerificationError(ErrorCode.INTRODUCTION, what)


def _call(oobi: Oobi) -> Call:
    accept = (*CESR_TYPES, SCHEMA_TYPE, _JSON_TYPE)
    # The name is for the owner; the service has no use for it.
    return Call("GET", oobi.base + oobi.path.text, accept=accept)


def _content(oobi: Oobi, answer: Answer) -> bytes | MultiOobi | Schema:
    """Return what an answer holds.

    Raises:
        TransportError: nothing that was asked for (transport.answer).
        DecodeError, VerificationError: as `parse_multi` and `parse_schema`.
    """
    if answer.status == _MISSING:
        what = "there is no such log there, or it lacks receipts still"
        raise TransportError(ErrorCode.ANSWER, what, status=answer.status)
    if answer.status != _FOUND:
        what = f"the introduction is answered by status {answer.status}"
        raise TransportError(ErrorCode.ANSWER, what, status=answer.status)
    if answer.content_type in CESR_TYPES:
        return answer.body
    if answer.content_type == _JSON_TYPE:
        multi = _multi(answer.body)
        if multi is not None:
            return multi
    if answer.content_type in (SCHEMA_TYPE, _JSON_TYPE):
        target = oobi.path.target
        if target is None or oobi.path.role or not digest_code(target):
            raise VerificationError(ErrorCode.INTRODUCTION, "it leads to data, not to a log")
        return Schema(Said(target), parse_schema(answer.body, Said(target), DEFAULT_LIMITS))
    what = "the introduction is answered by something else than a log or a schema"
    raise TransportError(ErrorCode.ANSWER, what)


def _multi(body: bytes) -> MultiOobi | None:
    """Read further introductions; None when the body is no message, so that it may be data."""
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(body)
    reader.close()
    items = list(reader)
    if len(items) != 1 or isinstance(items[0], Malformed):
        return None
    message = parse_message(items[0], DEFAULT_LIMITS)
    if isinstance(message, Reply) and is_multi(message):
        return parse_multi(message, DEFAULT_LIMITS)
    raise VerificationError(ErrorCode.INTRODUCTION, "it leads to a message that is no introduction")


def _introduced(oobi: Oobi, answer: Answer, content: bytes | MultiOobi) -> Aid:
    """Return who is introduced.

    Raises:
        VerificationError: nobody, or somebody else than the introduction names
            (verify.introduction).
    """
    told = content.aid if isinstance(content, MultiOobi) else answer.headers.get(_AID_HEADER, "")
    named = oobi.aid
    if named is None:
        if not is_aid(told):
            what = "the service does not tell whom it introduces"
            raise VerificationError(ErrorCode.INTRODUCTION, what)
        return Aid(told)
    if told and told != named:
        what = "the service introduces somebody else than the URL names"
        raise VerificationError(ErrorCode.INTRODUCTION, what)
    return named


def _event_of(result: Result, aid: Aid) -> Said | None:
    """Return the digest of the event of a log that a source gave; None for anything else."""
    message = result.message
    if isinstance(message, KeyEvent) and message.aid == aid and not result.again:
        return message.said
    return None
