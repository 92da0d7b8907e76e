"""Vector cases that feed streams to a verifier, and what the verifier holds in the end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from keystead.cesr.stream import Message, StreamReader
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.escrow import Held, Missing, WaitingMessage, WaitingReceipts, Want
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import Exchange, Query, Reply
from keystead.keri.routed import (
    EndRole,
    KeyCompromise,
    KeyStateNotice,
    Location,
    Record,
    Watched,
    state_fields,
)
from keystead.keri.verdicts import Authentic, Recorded, Rejected, Unauthenticated
from keystead.node.ingest import EventProcessor, Result
from keystead.node.queries import MailboxAnswer, ReplayAnswer, StateAnswer, answer
from keystead.stores.memory import MemoryStore

# What a case holds: parsed JSON.
Json: TypeAlias = dict[str, Any]


@dataclass
class Verifier:
    """A verifier without identifiers of its own, as the vectors ask for.

    Attributes:
        now: what its clock shows.
        trust_first_seen: it takes over the first-seen times of a replay.
        store: what it has accepted and what waits.
        results: every decision in order.
        answers: to queries.
        refused: digests of messages that were rejected, at once or after waiting.
    """

    now: datetime
    trust_first_seen: bool = False
    store: MemoryStore = field(default_factory=MemoryStore)
    results: list[Result] = field(default_factory=list)
    answers: list[Json] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make the processor."""
        # The peer's verifier was promiscuous: it does not verify who asks.
        self._processor = EventProcessor(
            self.store, trust_first_seen=self.trust_first_seen, answer_strangers=True
        )

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Take one stream, on a connection of its own."""
        reader = self._processor.reader()
        fresh: list[Result] = []
        for piece in pieces:
            reader.feed(piece)
            fresh += self._take(reader)
        reader.close()
        fresh += self._take(reader)
        self.results += fresh
        self.refused |= {
            str(getattr(result.message, "said", ""))
            for result in fresh
            if isinstance(result.verdict, Rejected)
        }
        # Queries are answered when the stream has been read: that is when an answer is sent.
        for result in fresh:
            match result.verdict:
                case Authentic(Query() as query, querier) | Unauthenticated(
                    Query() as query, querier
                ):
                    self.answers.append(_answered(self.store, query, querier))
                case _:
                    pass  # only queries are answered

    def _take(self, reader: StreamReader) -> list[Result]:
        found: list[Result] = []
        for item in reader:
            if isinstance(item, Message):
                results = self._processor.process(item, now=self.now)
                if isinstance(results[0].verdict, Rejected):
                    self.refused.add(str(item.body.get("d")))
                found += results
        return found


def pieces_of(stream: bytes, chunks: Json | Sequence[int] | None) -> list[bytes]:
    """Cut a stream as a case says: equal pieces, given lengths, or not at all."""
    if chunks is None:
        return [stream]
    if isinstance(chunks, dict):
        size = chunks["size"]
        return [stream[at : at + size] for at in range(0, len(stream), size)]
    pieces = []
    for size in chunks:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


def outcome(verifier: Verifier) -> Json:
    """Return all that the verifier holds, in the terms of the vectors."""
    store = verifier.store
    logs = {aid: list(store.first_seen(aid)) for aid in store.identifiers()}
    trunks = {aid: list(store.events(aid)) for aid in logs}
    found: Json = {
        "states": {aid: _state(trunk[-1]) for aid, trunk in trunks.items()},
        "kel": {aid: [one.event.said for one in trunk] for aid, trunk in trunks.items()},
        "superseded": {},
        "first_seen": {},
        "receipts": {},
        "first_seen_datetimes": {},
        "accepted": {one.event.said for log in logs.values() for one in log},
        "interactions": {
            one.event.said
            for log in logs.values()
            for one in log
            if one.event.message_type == "ixn"
        },
    }
    for aid, log in logs.items():
        on_trunk = set(found["kel"][aid])
        lost = [[f"{one.event.sn:x}", one.event.said] for one in log]
        lost = [entry for entry in lost if entry[1] not in on_trunk]
        if lost:
            found["superseded"][aid] = lost
        order = [one.event.said for one in log]
        if order != found["kel"][aid]:
            found["first_seen"][aid] = order
        for one in log:
            found["receipts"][one.event.said] = _receipts(one.proofs)
            found["first_seen_datetimes"][one.event.said] = one.first_seen_at
    found |= _statements(store.records())
    found |= _messages(verifier)
    found["escrows"] = [entry for held in store.waiting() for entry in _waiting(held)]
    found["refused"] = verifier.refused
    found["escrows"] += [
        _named("likely-duplicitous", evidence.other)
        for aid in logs
        for evidence in store.duplicity(aid)
    ]
    return found


def _state(head: AcceptedEvent) -> Json:
    fields = state_fields(head.state, head.first_seen_number, head.first_seen_at)
    return {label: value for label, value in fields.items() if label not in ("vn", "dt")}


def _receipts(proofs: Proofs) -> Json:
    return {
        "sigs": sorted({one.index for one in proofs.signatures}),
        "wigs": sorted({one.index for one in proofs.witness_signatures}),
        "rcts": sorted(couple.key.text for couple in proofs.couples),
        "vrcs": sorted(
            [group.aid, f"{group.sn:x}", group.said, one.index]
            for group in proofs.endorsements
            for one in group.signatures
        ),
    }


def _statements(records: Iterable[Record]) -> Json:
    found: Json = {"ends": [], "locs": [], "watched": [], "key_state_notices": []}
    for record in records:
        match record.statement:
            case EndRole(cid, role, eid, allowed):
                entry = {"cid": cid, "role": role, "eid": eid, "allowed": allowed}
                found["ends"].append(entry)
            case Location(eid, scheme, url):
                found["locs"].append({"eid": eid, "scheme": scheme, "url": url})
            case Watched(cid, watcher, oid, enabled):
                entry = {"cid": cid, "watcher": watcher, "oid": oid, "enabled": enabled}
                found["watched"].append(entry)
            case KeyStateNotice(source, aid, _, said):
                entry = {"aid": aid, "source": source, "said": said}
                found["key_state_notices"].append(entry)
            case KeyCompromise():
                pass  # a statement of our own, which peers do not know
    return found


def _messages(verifier: Verifier) -> Json:
    """Return what was accepted besides events, and how queries were answered."""
    exchanges, accepted = [], set()
    for result in verifier.results:
        match result.verdict:
            case Authentic(message) | Unauthenticated(message):
                accepted.add(message.said)
                if isinstance(message, Exchange):
                    exchanges.append(message.said)
            case Recorded(record):
                accepted.add(record.reply.said)
            case _:
                pass  # events are compared by their logs
    return {
        "exchanges": sorted(set(exchanges)),
        "accepted_messages": accepted,
        "replies": verifier.answers,
    }


def _answered(store: MemoryStore, query: Query, querier: Any) -> Json:  # noqa: ANN401 - parsed JSON
    match answer(store, query, querier):
        case ReplayAnswer(aids, first, source, destination):
            saids = [one.event.said for one in store.first_seen(aids[0], first=first)]
            for aid in aids[1:]:
                saids += [one.event.said for one in store.first_seen(aid)]
            return {"kin": "replay", "pre": aids[0], "src": source, "dest": destination,
                    "n": len(saids), "saids": saids}  # fmt: skip
        case StateAnswer(fields, source, destination):
            return {"kin": "reply", "route": "/ksn", "src": source, "dest": destination,
                    "data": fields}  # fmt: skip
        case MailboxAnswer(aid, source, topics):
            return {"kin": "stream", "pre": aid, "src": source, "topics": topics}


def _waiting(held: Held) -> list[Json]:
    """Return what an escrow entry is called in the vectors."""
    match held.waiting:
        case SignedEvent(event, _, proofs):
            entries = [_named(_kind(event, held.missing), event)]
            return entries + _unverified(event.aid, event.sn, event.said, proofs)
        case WaitingReceipts(aid, sn, said, claims):
            return _unverified(aid, sn, said, claims)
        case WaitingMessage(Query(said=said), signer):
            return [{"kind": "query-not-found", "querier": signer, "said": said}]
        case WaitingMessage(Reply(said=said, route=route)):
            base = route.removesuffix("/add").removesuffix("/cut")
            return [{"kind": "reply", "route": base, "said": said}]
        case WaitingMessage(message):
            return [{"kind": "exchange-partial-signatures", "said": message.said}]


def _named(kind: str, event: AnyKeyEvent) -> Json:
    return {"kind": kind, "aid": event.aid, "sn": f"{event.sn:x}", "said": event.said}


def _kind(event: AnyKeyEvent, missing: Iterable[Missing]) -> str:
    """Return the escrow of the vectors, which know one reason at a time."""
    wants = {one.want for one in missing if one.aid == event.aid}
    if Want.EVENT in wants:
        return "out-of-order"
    if wants & {Want.SIGNATURES, Want.NEXT_KEYS}:
        return "partial-signatures"
    return "partial-witness" if Want.RECEIPTS in wants else "missing-delegation"


def _unverified(aid: str, sn: int, said: str, signatures: Claims | Proofs) -> list[Json]:
    place = {"aid": aid, "sn": f"{sn:x}", "said": said}
    found: list[Json] = []
    for couple in signatures.couples:
        kind = "unverified-receipt-nontrans"
        found.append({"kind": kind, **place, "receiptor": couple.key.text})
    if isinstance(signatures, Claims):
        kind = "unverified-receipt-witness"
        found += [
            {"kind": kind, **place, "index": one.index} for one in signatures.witness_signatures
        ]
    for group in signatures.endorsements:
        for one in group.signatures:
            kind = "unverified-receipt-trans"
            signer = {"receiptor": group.aid, "receiptor_sn": f"{group.sn:x}",
                      "receiptor_said": group.said}  # fmt: skip
            found.append({"kind": kind, **place, **signer, "index": one.index})
    return found
