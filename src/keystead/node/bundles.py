"""Bundles: a proof of duplicity in one file, which says who observed it, and when.

A bundle is a CESR stream. Its head is a reply (`rpy`) to a route of our own, signed by the
watcher; it names the two versions, and the digest of all that follows. Then come the logs as they
were first seen, and the other version with every signature over it that was ever served. Whoever
reads that accepts the one and then finds the other: nothing but the stream is needed.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from keystead.cesr.groups import ReceiptCouple
from keystead.cesr.keys import Aid, Digest, Said, digest, is_digest_of
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.cesr.writing import write_frame
from keystead.errors import DecodeError, ErrorCode, KeysteadError, VerificationError
from keystead.keri import build
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.fields import check_labels, parse_aid, parse_digest, parse_number, parse_texts
from keystead.keri.messages import Reply, parse_message
from keystead.keri.verdicts import Accepted, Duplicate, Duplicitous, Receipted, Rejected
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.attestation import Sign, attest
from keystead.node.ingest import EventProcessor
from keystead.node.replay import evidence_stream
from keystead.ports import EventStore

ROUTE: Final = "/keystead/watcher/evidence"
# Bytes of a bundle that is read: the logs of an identifier and its delegators.
MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_SOURCES: Final = 64
_LABELS: Final = ("i", "aid", "s", "first", "other", "sources", "content")
_GOOD: Final = (Accepted, Duplicate, Duplicitous, Receipted)


class Observation(msgspec.Struct, frozen=True):
    """What the head of a bundle tells.

    Attributes:
        watcher: who observed it and signed this.
        observed_at: when, RFC 3339 text by the clock of the watcher.
        aid: the identifier.
        sn: the place that both versions claim.
        first: digest of the version that was seen first.
        other: digest of the other one.
        sources: URLs that served the other one.
    """

    watcher: Aid
    observed_at: str
    aid: Aid
    sn: int
    first: Said
    other: Said
    sources: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True):
    """What a bundle proves.

    Attributes:
        observation: what its head tells, None for a bare stream of evidence.
        store: the logs in it, verified.
        evidence: the duplicity that was found in it.
    """

    observation: Observation | None
    store: EventStore
    evidence: tuple[DuplicityEvidence, ...]


def observed(
    watcher: Aid, evidence: DuplicityEvidence, sources: Iterable[str], at: datetime
) -> Observation:
    """Say what was observed."""
    text = at.astimezone(UTC).isoformat(timespec="microseconds")
    first, other = evidence.accepted.event.said, evidence.other.said
    return Observation(
        watcher, text, evidence.aid, evidence.sn, first, other, tuple(sources)[:_MOST_SOURCES]
    )


def make_bundle(
    store: EventStore, evidence: DuplicityEvidence, observation: Observation, sign: Sign
) -> bytes:
    """Return a proof that anyone can verify, signed by the watcher."""
    content = b"".join(evidence_stream(store, [evidence]))
    attributes = {
        "i": observation.watcher,
        "aid": observation.aid,
        "s": f"{observation.sn:x}",
        "first": observation.first,
        "other": observation.other,
        "sources": list(observation.sources),
        "content": digest(content),
    }
    fields = {"dt": observation.observed_at, "r": ROUTE, "a": attributes}
    raw, _ = build.routed("rpy", fields)
    return raw + write_frame([attest(observation.watcher, sign, raw)]) + content


def read_bundle(
    data: bytes, store: EventStore, now: datetime, limits: Limits = DEFAULT_LIMITS
) -> Proof:
    """Verify a bundle, or a bare stream of evidence.

    Args:
        data: all of it.
        store: an empty one, for its logs.
        now: time of reading; it decides nothing.
        limits: bounds.

    Raises:
        DecodeError: malformed.
        VerificationError: a signature or digest does not fit, an event is not valid, something
            is missing (verify.payload), or it does not prove what its head says.
    """
    if not data:
        raise DecodeError(ErrorCode.EMPTY, "the bundle is empty")
    if len(data) > MOST_BYTES:
        raise DecodeError(ErrorCode.LIMIT, f"a bundle of more than {MOST_BYTES} bytes")
    observation, content = _read_head(data, limits)
    processor = EventProcessor(store, limits=limits, trust_first_seen=True)
    for message in _messages(content, processor.reader):
        for result in processor.process(message, now=now):
            verdict = result.verdict
            if isinstance(verdict, Rejected):
                raise verdict.error
            if not isinstance(verdict, _GOOD):
                what = "the bundle does not hold all that is needed to verify it"
                raise VerificationError(ErrorCode.PAYLOAD, what)
    aids = list(store.identifiers())
    evidence = tuple([one for aid in aids for one in store.duplicity(aid)])
    if observation is not None:
        _check_claim(observation, evidence)
    return Proof(observation, store, evidence)


def is_bundle(data: bytes) -> bool:
    """Tell whether a stream begins with the head of a bundle."""
    try:
        return _read_head(data, DEFAULT_LIMITS)[0] is not None
    except KeysteadError:
        return f'"r":"{ROUTE}"'.encode() in data[:512]


def _read_head(data: bytes, limits: Limits) -> tuple[Observation | None, bytes]:
    """Verify the head; return what it tells and the rest.

    Raises:
        DecodeError: malformed.
        VerificationError: it was changed, or is not signed by who it names.
    """
    reader = StreamReader(limits)
    reader.feed(data)
    reader.close()
    head = next(iter(reader))
    if isinstance(head, Malformed):
        raise head.error
    if not isinstance(head.content, dict) or head.content.get("t") != "rpy":
        return None, data
    message = parse_message(head, limits)
    if not isinstance(message, Reply) or message.route != ROUTE:
        return None, data
    content = data[head.end :]
    observation, expected = _read_observation(message)
    couples = [one for group in head.groups for one in group.items]
    if not any(_signs(one, observation.watcher, message.raw) for one in couples):
        what = f"the bundle is not signed by the watcher {observation.watcher}"
        raise VerificationError(ErrorCode.SIGNATURE, what)
    if not is_digest_of(expected, content):
        raise VerificationError(ErrorCode.PAYLOAD, "the bundle was changed after it was signed")
    return observation, content


def _read_observation(message: Reply) -> tuple[Observation, Digest]:
    attributes = message.attributes
    check_labels(attributes, _LABELS)
    observation = Observation(
        parse_aid(attributes["i"], "i"),
        message.timestamp,
        parse_aid(attributes["aid"], "aid"),
        parse_number(attributes["s"], "s"),
        parse_digest(attributes["first"], "first"),
        parse_digest(attributes["other"], "other"),
        tuple(parse_texts(attributes["sources"], "sources", _MOST_SOURCES)),
    )
    return observation, parse_digest(attributes["content"], "content")


def _signs(item: Any, watcher: Aid, raw: bytes) -> bool:  # noqa: ANN401 - any item of a group
    if not isinstance(item, ReceiptCouple) or item.key.text != watcher or item.key.transferable:
        return False
    return item.key.verifies(item.signature.suite, item.signature.raw, raw)


def _messages(content: bytes, make: Callable[[], StreamReader]) -> Iterator[Message]:
    reader = make()
    reader.feed(content)
    reader.close()
    for item in reader:
        if isinstance(item, Malformed):
            raise item.error
        yield item


def _check_claim(observation: Observation, evidence: Iterable[DuplicityEvidence]) -> None:
    claimed = (observation.aid, observation.sn, observation.first, observation.other)
    for one in evidence:
        if (one.aid, one.sn, one.accepted.event.said, one.other.said) == claimed:
            return
    what = "the bundle does not prove the duplicity that its head tells of"
    raise VerificationError(ErrorCode.PAYLOAD, what)
