"""A replayed log gives the same log elsewhere: events, order, times, proofs."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid
from keystead.cesr.stream import Message
from keystead.cesr.writing import write_frame
from keystead.keri.build import Configuration
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor
from keystead.node.replay import evidence_stream, replay
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, KeyPair, Signed

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
VECTORS = Path(__file__).parents[1] / "vectors"
# Logs with witnesses, delegation, recovery and receipts of every kind.
STREAMS = sorted(
    path
    for family in ("kel-basic", "kel-witness", "kel-delegation", "kel-recovery", "messages")
    for path in (VECTORS / family).glob("*.cesr")
)


def _ingest(stream: bytes, store: MemoryStore, now: datetime, *, trust: bool = False) -> None:
    processor = EventProcessor(store, trust_first_seen=trust)
    reader = processor.reader()
    reader.feed(stream)
    reader.close()
    for item in reader:
        if isinstance(item, Message):
            processor.process(item, now=now)


def _delegators_first(store: MemoryStore) -> Iterable[Aid]:
    """Give the identifiers so that the seals of delegators are there when they are needed."""
    done: dict[Aid, None] = {}

    def add(aid: Aid) -> None:
        state = store.key_state(aid)
        if state is None or aid in done:
            return
        if state.establishment.delegator is not None:
            add(state.establishment.delegator)
        done[aid] = None

    for aid in store.identifiers():
        add(aid)
    return done


@pytest.mark.parametrize("path", STREAMS[::3], ids=lambda path: path.stem)
def test_a_replay_gives_the_same_logs(path: Path) -> None:
    """Trunk, superseded events, first-seen numbers and times, and proofs are the same."""
    store, copy = MemoryStore(), MemoryStore()
    _ingest(path.read_bytes(), store, NOW)
    stream = b"".join(message for aid in _delegators_first(store) for message in replay(store, aid))
    _ingest(stream, copy, NOW + timedelta(days=1), trust=True)
    # Once more, since the receipts of one log may be signed with keys of another behind it.
    _ingest(stream, copy, NOW + timedelta(days=1), trust=True)
    assert set(copy.identifiers()) == set(store.identifiers())
    for aid in store.identifiers():
        assert copy.key_state(aid) == store.key_state(aid)
        for one, other in zip(store.first_seen(aid), copy.first_seen(aid), strict=True):
            assert other.event == one.event
            assert other.first_seen_number == one.first_seen_number
            assert other.first_seen_at == one.first_seen_at
            assert set(other.proofs.signatures) == set(one.proofs.signatures)
            assert set(other.proofs.witness_signatures) == set(one.proofs.witness_signatures)
            assert set(other.proofs.couples) == set(one.proofs.couples)


def test_a_replay_can_start_later() -> None:
    """The events from a first-seen number on are given."""
    author, store = Author("alice"), MemoryStore()
    events = [author.incept(), author.interact(), author.rotate()]
    _ingest(b"".join(event.raw for event in events), store, NOW)
    messages = list(replay(store, author.aid, first=1))
    assert [message.startswith(event.event.raw) for message, event in
            zip(messages, events[1:], strict=True)] == [True, True]  # fmt: skip


def test_evidence_stands_on_its_own() -> None:
    """The evidence stream shows the same duplicity to a verifier that knows nothing."""
    author, store, other = Author("alice"), MemoryStore(), MemoryStore()
    first = author.incept()
    twin = author.fork()
    stream = first.raw + author.interact(first.seal).raw + twin.interact().raw
    _ingest(stream, store, NOW)
    (evidence,) = store.duplicity(author.aid)
    _ingest(b"".join(evidence_stream(store, [evidence])), other, NOW)
    (shown,) = other.duplicity(author.aid)
    assert shown.other == evidence.other
    assert shown.accepted.event == evidence.accepted.event


def test_evidence_of_a_delegate_brings_its_delegators() -> None:
    """The logs above a delegated identifier come along, the highest first."""
    top, middle, low = Author("top"), Author("middle"), Author("low")
    store, other = MemoryStore(), MemoryStore()
    parts = [top.incept()]
    parts += [middle.incept(configuration=Configuration(delegator=top.aid))]
    parts += [top.interact(parts[1].seal)]
    parts += [low.incept(configuration=Configuration(delegator=middle.aid))]
    parts += [middle.interact(parts[3].seal)]
    twin = low.fork()
    parts += [low.interact(parts[0].seal), twin.interact()]
    _ingest(b"".join(part.framed for part in parts), store, NOW)
    (evidence,) = store.duplicity(low.aid)
    _ingest(b"".join(evidence_stream(store, [evidence])), other, NOW)
    assert len(other.duplicity(low.aid)) == 1


def _delegation() -> tuple[Author, Author, list[Signed]]:
    root, delegate = Author("root"), Author("delegate")
    first = root.incept()
    inception = delegate.incept(configuration=Configuration(delegator=root.aid))
    return root, delegate, [first, root.interact(inception.seal), inception]


def _approved_earlier() -> list[Signed]:
    """A version whose approval is the earlier one comes late."""
    root, delegate, start = _delegation()
    twice = delegate.fork().rotate(anchors=[start[0].seal])
    rotation = delegate.rotate()
    return [*start, root.interact(twice.seal), root.interact(rotation.seal), rotation, twice]


def _approved_too_late() -> list[Signed]:
    """A version is approved later, but behind another rotation; then the root goes on."""
    root, delegate, start = _delegation()
    twice = delegate.fork().rotate(anchors=[start[0].seal])
    rotation, following = delegate.rotate(), delegate.rotate()
    events = [root.interact(rotation.seal), rotation, root.interact(following.seal), following]
    return [*start, *events, root.interact(twice.seal), twice, root.rotate()]


def _duplicitous_streams() -> list[bytes]:
    """Return streams in which a later event makes another version unacceptable."""
    author = Author("rotated")
    start = [author.incept()]
    twin = author.fork()
    rotated = [*start, author.interact(), author.rotate(), twin.rotate()]
    recovered = Author("recovered")
    start = [recovered.incept()]
    late, lost = recovered.fork(), recovered.fork()
    ended = [*start, lost.interact(), recovered.rotate(), late.rotate(anchors=[start[0].seal])]
    ended += [recovered.rotate(), recovered.interact()]
    logs = [rotated, ended, _approved_earlier(), _approved_too_late()]
    return [b"".join(event.framed for event in log) for log in logs]


@pytest.mark.parametrize("stream", _duplicitous_streams())
def test_evidence_shows_why_the_other_event_may_not_supersede(stream: bytes) -> None:
    """The event that bars the other version is in the evidence, and what came later is not."""
    store, other = MemoryStore(), MemoryStore()
    _ingest(stream, store, NOW)
    (evidence,) = [found for aid in store.identifiers() for found in store.duplicity(aid)]
    _ingest(b"".join(evidence_stream(store, [evidence])), other, NOW)
    (shown,) = other.duplicity(evidence.aid)
    assert shown.other == evidence.other
    assert shown.accepted.event == evidence.accepted.event


@pytest.mark.parametrize(
    "path", sorted(VECTORS.glob("kel-*/*.cesr")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_evidence_of_every_golden_stream_stands_on_its_own(path: Path) -> None:
    """Whatever is found duplicitous in a golden stream is so to whoever reads the evidence."""
    store = MemoryStore()
    _ingest(path.read_bytes(), store, NOW)
    for aid in store.identifiers():
        for evidence in store.duplicity(aid):
            other = MemoryStore()
            _ingest(b"".join(evidence_stream(store, [evidence])), other, NOW)
            assert [shown.other for shown in other.duplicity(aid)] == [evidence.other]


def test_variants_of_a_signature_do_not_swell_a_log() -> None:
    """A stranger who re-writes the second index of a signature adds nothing to the log."""
    author, store, copy = Author("alice"), MemoryStore(), MemoryStore()
    first = author.incept()
    raw = first.signatures[0].raw
    variants = [IndexedSignature("2A", 0, place, raw) for place in range(4096)]
    _ingest(first.raw, store, NOW)
    for start in range(0, 4096, 2048):
        group = Group(GroupKind.CONTROLLER_SIGNATURES, tuple(variants[start : start + 2048]))
        _ingest(first.event.raw + write_frame([group]), store, NOW)
    (accepted,) = store.events(author.aid)
    assert accepted.proofs.signatures == first.signatures
    _ingest(b"".join(replay(store, author.aid)), copy, NOW)
    assert copy.key_state(author.aid) == store.key_state(author.aid)


def test_the_largest_event_replays_through_the_reader() -> None:
    """What a store may keep of one event at the most fits into what a reader takes."""
    signers = 256 * len(KeyPair("x").indexed(b"", 255, 255).text)
    witnesses = 64 * len(KeyPair("x").indexed(b"", 1, 1).text)
    longest_aid = longest_said = 88
    quadruple = longest_aid + 24 + longest_said + 92
    rest = 24 + 36 + 24 + longest_said + 6 * 8
    limits = DEFAULT_LIMITS
    assert signers + witnesses + limits.receipts * quadruple + rest <= limits.attachments


def test_evidence_of_many_holds_each_event_once() -> None:
    """A file of evidence is no longer than the stream that it was found in, by much."""
    root, store = Author("root"), MemoryStore()
    parts = [root.incept()]
    for number in range(30):
        delegate = Author(f"delegate {number}")
        inception = delegate.incept(configuration=Configuration(delegator=root.aid))
        twin = delegate.fork()
        parts += [root.interact(inception.seal), inception, delegate.interact()]
        parts += [twin.interact(inception.seal)]
    stream = b"".join(part.framed for part in parts)
    _ingest(stream, store, NOW)
    found = [one for aid in store.identifiers() for one in store.duplicity(aid)]
    evidence = b"".join(evidence_stream(store, found))
    assert len(found) == 30
    assert len(evidence) < 2 * len(stream)
    other = MemoryStore()
    _ingest(evidence, other, NOW)
    shown = [one for aid in other.identifiers() for one in other.duplicity(aid)]
    assert len(shown) == 30
