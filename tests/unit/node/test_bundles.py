"""Bundles: proofs of duplicity that stand alone, and are refused when anything was changed."""

import pytest

from keystead.cesr.keys import Aid, digest
from keystead.errors import DecodeError, ErrorCode, KeysteadError
from keystead.keri.seals import DigestSeal
from keystead.node.bundles import is_bundle, make_bundle, observed, read_bundle
from keystead.node.comparing import explain
from keystead.node.replay import evidence_stream
from keystead.node.weighing import Meaning
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, KeyPair, witness
from support.logs import Node, attached, coupled, routed
from support.watching import BEGIN, WATCHER

OTHER = DigestSeal(digest(b"other"))


def _duplicitous() -> Node:
    author = Author("duplicitous", witnesses=[witness("one")])
    node = Node()
    node.accept(author.incept().framed)
    twin = author.fork()
    node.accept(author.rotate().framed)
    node.feed(twin.rotate(anchors=[OTHER]).framed)
    return node


def _bundle(node: Node) -> bytes:
    (aid,) = node.store.identifiers()
    (evidence,) = node.store.duplicity(aid)
    told = observed(WATCHER.aid, evidence, ["http://one.example"], BEGIN)
    return make_bundle(node.store, evidence, told, WATCHER.sign)


def test_a_bundle_stands_alone() -> None:
    """Reading it needs nothing but its bytes, and tells all that was observed."""
    data = _bundle(_duplicitous())
    proof = read_bundle(data, MemoryStore(), BEGIN)
    (evidence,) = proof.evidence
    seen = proof.observation
    assert seen is not None
    assert (seen.watcher, seen.sources) == (WATCHER.aid, ("http://one.example",))
    assert seen.observed_at == BEGIN.isoformat(timespec="microseconds")
    assert (seen.aid, seen.sn) == (evidence.aid, 1)
    assert explain(proof.store, evidence).meaning is Meaning.NEXT_KEYS
    assert is_bundle(data)


def test_a_bare_stream_of_evidence_is_read_too() -> None:
    """What `log verify --evidence` writes proves the same, without an observer."""
    node = _duplicitous()
    (aid,) = node.store.identifiers()
    data = b"".join(evidence_stream(node.store, node.store.duplicity(aid)))
    proof = read_bundle(data, MemoryStore(), BEGIN)
    assert proof.observation is None
    assert len(proof.evidence) == 1
    assert not is_bundle(data)


def test_a_log_without_a_second_version_proves_nothing() -> None:
    """An honest log is read, and gives no evidence."""
    proof = read_bundle(Author("honest").incept().framed, MemoryStore(), BEGIN)
    assert proof.evidence == ()


def test_every_changed_byte_is_found() -> None:
    """A bundle with any bit changed is refused, or is not taken for one by this watcher."""
    data = _bundle(_duplicitous())
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            proof = read_bundle(changed, MemoryStore(), BEGIN)
        except KeysteadError:
            continue
        pytest.fail(f"byte {place} was changed and {proof.observation} was accepted")


@pytest.mark.parametrize("size", range(0, 2400, 61))
def test_a_bundle_that_was_cut_off_is_refused(size: int) -> None:
    """Wherever it ends too early."""
    data = _bundle(_duplicitous())
    assert size < len(data)
    with pytest.raises(KeysteadError):
        read_bundle(data[:size], MemoryStore(), BEGIN)


def test_a_bundle_of_another_watcher_is_refused() -> None:
    """The head must be signed by who it names."""
    node = _duplicitous()
    (aid,) = node.store.identifiers()
    (evidence,) = node.store.duplicity(aid)
    told = observed(WATCHER.aid, evidence, [], BEGIN)
    data = make_bundle(node.store, evidence, told, KeyPair("thief", transferable=False).sign)
    with pytest.raises(KeysteadError) as raised:
        read_bundle(data, MemoryStore(), BEGIN)
    assert raised.value.code is ErrorCode.SIGNATURE


def _head(content: bytes, other: str, aid: Aid) -> bytes:
    attributes = {
        "i": WATCHER.aid, "aid": aid, "s": "1", "first": digest(b"first"), "other": other,
        "sources": [], "content": digest(content),
    }  # fmt: skip
    raw = routed("rpy", r="/keystead/watcher/evidence", a=attributes)
    return attached(raw, coupled(WATCHER, raw)) + content


def test_a_head_that_claims_what_the_rest_does_not_prove_is_refused() -> None:
    """A watcher cannot accuse anybody by its own word."""
    honest = Author("honest")
    data = _head(honest.incept().framed, digest(b"other"), honest.aid)
    with pytest.raises(KeysteadError) as raised:
        read_bundle(data, MemoryStore(), BEGIN)
    assert raised.value.code is ErrorCode.PAYLOAD


def test_a_bundle_that_lacks_events_is_refused() -> None:
    """All that is needed must be in it."""
    author = Author("late")
    author.incept()
    with pytest.raises(KeysteadError) as raised:
        read_bundle(author.interact().framed, MemoryStore(), BEGIN)
    assert raised.value.code is ErrorCode.PAYLOAD


def test_nothing_is_no_bundle() -> None:
    """An empty file is told as such."""
    with pytest.raises(DecodeError) as raised:
        read_bundle(b"", MemoryStore(), BEGIN)
    assert raised.value.code is ErrorCode.EMPTY
