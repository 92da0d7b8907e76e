"""Short ways to make events, sign them in unusual ways, judge them, and feed them to a node."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack

from keystead.cesr import body as bodies
from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, Item, LastSignatureGroup, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.cesr.versions import Kind, Protocol
from keystead.cesr.writing import write_frame
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.attachments import Claims, SignedEvent
from keystead.keri.build import Keys, Witnesses
from keystead.keri.delegation import DelegationProof
from keystead.keri.escrow import Missing
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import AnyMessage, parse_message
from keystead.keri.parsing import parse_key_event
from keystead.keri.superseding import Incumbent
from keystead.keri.thresholds import Field
from keystead.keri.validation import judge
from keystead.keri.verdicts import (
    Accepted,
    Pending,
    Rejected,
    Role,
    RoutedVerdict,
    Source,
    Verdict,
    Waits,
)
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor, Result
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, KeyPair

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = build.commitment(KeyPair("nobody").key)
STAMP = "2026-01-02T03:04:05.000000+00:00"


class Circumstances(TypedDict, total=False):
    """What a judgement depends on besides event, signatures and prior state."""

    incumbent: Incumbent
    source: Source
    role: Role
    delegation: DelegationProof
    limits: Limits


def judged(
    event: AnyKeyEvent,
    claims: Claims,
    prior: KeyState | None = None,
    **given: Unpack[Circumstances],
) -> Verdict:
    """Judge as a validator to whom the event came remotely, unless told else."""
    return judged_again(SignedEvent(event, claims), prior, **given)


def judged_again(
    signed: SignedEvent, prior: KeyState | None = None, **given: Unpack[Circumstances]
) -> Verdict:
    """Judge an event that may have proofs already."""
    return judge(
        signed,
        prior=prior,
        incumbent=given.get("incumbent"),
        source=given.get("source", Source.REMOTE),
        role=given.get("role", Role.VALIDATOR),
        delegation=given.get("delegation"),
        limits=given.get("limits", DEFAULT_LIMITS),
    )


def state_after(
    event: AnyKeyEvent, signatures: Iterable[IndexedSignature], prior: KeyState | None = None
) -> KeyState:
    """Return the state after an event, as its controller sees it."""
    verdict = judged(
        event, Claims(tuple(signatures)), prior, source=Source.LOCAL, role=Role.CONTROLLER
    )
    assert isinstance(verdict, Accepted), verdict
    return verdict.state


def code_of(verdict: Verdict | RoutedVerdict) -> ErrorCode:
    """Return why something was rejected."""
    assert isinstance(verdict, Rejected), verdict
    return verdict.error.code


def missing_of(verdict: Verdict | RoutedVerdict) -> frozenset[Missing]:
    """Return what a pending or waiting message waits for."""
    assert isinstance(verdict, Pending | Waits), verdict
    return verdict.missing


def pairs(name: str, count: int) -> list[KeyPair]:
    """Make transferable key pairs."""
    return [KeyPair(f"{name} {place}") for place in range(count)]


def plan(
    signing: Sequence[KeyPair],
    threshold: Field,
    following: Sequence[KeyPair] = (),
    next_threshold: Field = "0",
) -> Keys:
    """Say which keys an event sets and which it commits to."""
    digests = [build.commitment(pair.key) for pair in following]
    return Keys([pair.key for pair in signing], threshold, digests, next_threshold)


def signatures(event: AnyKeyEvent, signing: Sequence[KeyPair]) -> tuple[IndexedSignature, ...]:
    """Sign with all keys, each at the same place in both lists."""
    return tuple(pair.indexed(event.raw, place, place) for place, pair in enumerate(signing))


def witnessed_by(witnesses: Sequence[KeyPair], threshold: int | None = None) -> Witnesses:
    """Say which witnesses an inception names."""
    needed = len(witnesses) if threshold is None else threshold
    return Witnesses(needed, [one.aid for one in witnesses])


def body_of(event: AnyKeyEvent) -> Body:
    """Return the field map of an event in JSON."""
    return bodies.decode(event.raw, Kind.JSON, DEFAULT_LIMITS)


def raw_of(body: Body, *, labels: Sequence[str] = ("d",), kind: Kind = Kind.JSON) -> bytes:
    """Serialize a field map under its digest, or as it is when there are no labels for one."""
    if labels:
        return addressing.address(body, kind, labels=labels)[0]
    return addressing.serialize(body, kind, Protocol.KERI)


def parse_raw(raw: bytes, limits: Limits = DEFAULT_LIMITS, kind: Kind = Kind.JSON) -> AnyKeyEvent:
    """Read an event the general way."""
    return parse_key_event(bodies.decode(raw, kind, DEFAULT_LIMITS), raw, limits)


def remade(event: AnyKeyEvent, changes: Body, labels: Sequence[str] | None = None) -> bytes:
    """Serialize an event with changed fields and with the digest that belongs to them."""
    body = body_of(event)
    addressed: Sequence[str] = ("d", "i") if body["i"] == body["d"] else ("d",)
    if labels is None:
        labels = [label for label in addressed if label not in changes]
    return raw_of(body | changes, labels=labels)


def framed(raw: bytes, groups: Sequence[Group] = (), limits: Limits = DEFAULT_LIMITS) -> Message:
    """Return the one message of a stream, read the general way."""
    reader = StreamReader(limits)
    reader.feed(attached(raw, *groups))
    reader.close()
    (item,) = reader
    if isinstance(item, Malformed):
        raise item.error
    return item


def parsed(raw: bytes) -> AnyMessage:
    """Return the typed message of a body."""
    return parse_message(framed(raw), DEFAULT_LIMITS)


def attached(raw: bytes, *groups: Group) -> bytes:
    """Return a body with attachments in a frame."""
    return raw + (write_frame(groups) if groups else b"")


def group(kind: GroupKind, *items: Item) -> Group:
    """Make a group."""
    return Group(kind, items)


def endorsed(author: Author, raw: bytes) -> Group:
    """Sign as a transferable identifier that names its establishment event (-F)."""
    last = author.state.establishment
    signed = SignatureGroup(author.aid, last.sn, last.said, author.signatures(raw))
    return Group(GroupKind.SIGNATURE_GROUPS, (signed,))


def signed_by_last(author: Author, raw: bytes) -> Group:
    """Sign as a transferable identifier with its latest keys (-H)."""
    signed = LastSignatureGroup(author.aid, author.signatures(raw))
    return Group(GroupKind.LAST_SIGNATURE_GROUPS, (signed,))


def coupled(pair: KeyPair, raw: bytes) -> Group:
    """Sign as a non-transferable identifier (-C)."""
    return Group(GroupKind.RECEIPT_COUPLES, (pair.couple(raw),))


def controlled(*signed: IndexedSignature) -> Group:
    """Make a group of controller signatures (-A)."""
    return Group(GroupKind.CONTROLLER_SIGNATURES, signed)


def routed(message_type: str, **values: Any) -> bytes:  # noqa: ANN401 - any field value
    """Make a routed message; route, time and return route have defaults."""
    defaults = {
        "qry": {"dt": STAMP, "r": "logs", "rr": "", "q": {}},
        "pro": {"dt": STAMP, "r": "logs", "rr": "", "q": {}},
        "rpy": {"dt": STAMP, "r": "/reply", "a": {}},
        "bar": {"dt": STAMP, "r": "/bare", "a": {}},
        "exn": {
            "i": "", "rp": "", "p": "", "dt": STAMP, "r": "/hello", "q": {}, "a": {}, "e": {}
        },
    }  # fmt: skip
    return build.routed(message_type, {**defaults[message_type], **values})[0]


class Node:
    """A node with an empty store.

    Attributes:
        store: its store.
        processor: its way in.
    """

    def __init__(
        self,
        *,
        own: Iterable[Aid] = (),
        limits: Limits = DEFAULT_LIMITS,
        answer_strangers: bool = False,
        trust_first_seen: bool = False,
    ) -> None:
        """Start empty."""
        self.store = MemoryStore(limits)
        self.processor = EventProcessor(
            self.store,
            limits=limits,
            own=own,
            answer_strangers=answer_strangers,
            trust_first_seen=trust_first_seen,
        )

    def results(
        self, raw: bytes, *, source: Source = Source.REMOTE, now: datetime = NOW
    ) -> list[Result]:
        """Feed a stream and return what became of everything in it."""
        reader = self.processor.reader()
        reader.feed(raw)
        reader.close()
        found: list[Result] = []
        for item in reader:
            if isinstance(item, Malformed):
                raise item.error
            found += self.processor.process(item, source=source, now=now)
        return found

    def feed(
        self, raw: bytes, *, source: Source = Source.REMOTE, now: datetime = NOW
    ) -> Verdict | RoutedVerdict:
        """Feed one message and return the verdict on it."""
        return self.results(raw, source=source, now=now)[0].verdict

    def accept(self, *messages: bytes, source: Source = Source.REMOTE) -> None:
        """Feed events that must be accepted."""
        for raw in messages:
            verdict = self.feed(raw, source=source)
            assert isinstance(verdict, Accepted), verdict

    def trunk(self, aid: Aid) -> list[Said]:
        """Return the digests of a log."""
        return [accepted.event.said for accepted in self.store.events(aid)]
