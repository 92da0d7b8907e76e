"""The signer of a witness: it gives no second receipt for a place, whatever it is told."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from keystead import suites
from keystead.errors import ErrorCode, KeysteadError, KeystoreError
from keystead.keri import build
from keystead.keri.messages import Receipt
from keystead.keystores.receipting import FILE, LocalReceiptSigner
from keystead.keystores.receipting_process import RemoteReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.ports.witness import ReceiptSigner
from keystead.testing.authoring import Author, Signed, witness
from keystead.testing.equivocation import Event, Events
from support.branches import Branch
from support.logs import routed
from support.witnessing import ME, seal

STORE = "a store"
PASSPHRASE = b"a passphrase of a signer"


@pytest.fixture(name="signer")
def _signer(tmp_path: Path) -> Iterator[LocalReceiptSigner]:
    """Give a signer with a store."""
    signer = LocalReceiptSigner.open(tmp_path / "memory", ServiceKey(ME.seed))
    signer.accept(STORE, 0)
    yield signer
    signer.close()


def sign(signer: ReceiptSigner, *signed: Signed) -> list[bytes | KeystoreError]:
    """Have events signed at once."""
    return signer.sign_receipts(STORE, 0, [one.event.raw for one in signed])


def is_signed(signer: ReceiptSigner, signed: Signed) -> bool:
    """Tell whether a good receipt is given; a refusal must be that of a second event."""
    (found,) = sign(signer, signed)
    if isinstance(found, bytes):
        assert suites.verify(ME.suite, ME.key.raw, found, signed.event.raw)
        return True
    assert found.code is ErrorCode.SECOND_EVENT
    return False


def test_same_event_gets_the_same_bytes(signer: LocalReceiptSigner, tmp_path: Path) -> None:
    """Also after others, and after a restart."""
    owner = Author("same")
    first = owner.incept()
    (receipt,) = sign(signer, first)
    sign(signer, owner.interact())
    assert sign(signer, first) == [receipt]
    again = LocalReceiptSigner.open(tmp_path / "memory", ServiceKey(ME.seed))
    assert sign(again, first) == [receipt]
    again.close()


def test_rules_of_superseding(signer: LocalReceiptSigner) -> None:
    """A0: a rotation supersedes interactions. A1: no rotation. A2: an interaction nothing."""
    owner = Author("rules")
    first = owner.incept()
    fork = owner.fork()
    one, two = owner.interact(seal("1")), owner.interact(seal("2"))
    assert all(isinstance(made, bytes) for made in sign(signer, first, one, two))
    assert not is_signed(signer, fork.fork().interact(seal("A2")))
    recovery = fork.rotate()
    assert is_signed(signer, recovery)
    assert not is_signed(signer, owner.interact(seal("on the branch that was left")))
    thief = owner.fork()
    assert not is_signed(signer, thief.rotate())  # behind an interaction that lost its place
    assert is_signed(signer, fork.interact(seal("3")))
    later = fork.rotate()
    assert is_signed(signer, later)
    assert is_signed(signer, one)  # the same bytes as before, and no more


def test_rotations_are_never_superseded(signer: LocalReceiptSigner) -> None:
    """A1, and A0: not before another rotation."""
    owner = Author("rotations")
    first = owner.incept()
    early = owner.fork()
    one = owner.interact(seal("1"))
    rival = owner.fork()
    two = owner.rotate()
    assert all(isinstance(made, bytes) for made in sign(signer, first, one, two))
    assert not is_signed(signer, rival.rotate(anchors=[seal("another")]))
    assert not is_signed(signer, early.rotate())
    assert not is_signed(signer, early.fork().interact(seal("A2")))


def test_inceptions_are_never_superseded(signer: LocalReceiptSigner) -> None:
    """An identifier that is a key could have a second first event."""
    one, other = Branch("basic", basic=True), Branch("basic", basic=True)
    first = one.begin()
    other.witnesses = [witness("hired")]
    second = other.begin()
    assert first.body["i"] == second.body["i"]
    assert first.said != second.said
    found = signer.sign_receipts(STORE, 0, [first.raw, second.raw])
    assert isinstance(found[0], bytes)
    assert isinstance(found[1], KeystoreError)


def test_delegated_rotations_may_be_superseded_at_their_place(signer: LocalReceiptSigner) -> None:
    """B: the store knows what the delegator has sealed; not when rotations follow."""
    head, arm = Branch("head"), Branch("arm")
    head.begin()
    begun = arm.begin(delegator=head)
    fork, late = arm.branch(), arm.branch()
    made = [begun, arm.extend("rot"), arm.extend("ixn"), fork.extend("rot")]
    found = signer.sign_receipts(STORE, 0, [one.raw for one in made])
    assert all(isinstance(one, bytes) for one in found)
    assert isinstance(signer.sign_receipts(STORE, 0, [fork.extend("rot").raw])[0], bytes)
    assert isinstance(signer.sign_receipts(STORE, 0, [late.extend("rot").raw])[0], KeystoreError)


def test_what_follows_must_continue(signer: LocalReceiptSigner) -> None:
    """The next place of another branch is refused too."""
    owner = Author("continues")
    first = owner.incept()
    fork = owner.fork()
    sign(signer, first, owner.interact(seal("1")))
    fork.interact(seal("other"))
    assert not is_signed(signer, fork.interact(seal("behind the other")))


def test_what_was_left_out_is_signed_later(signer: LocalReceiptSigner) -> None:
    """A crash may leave places unsigned: only what the signed event above names fits there."""
    owner = Author("gap")
    first = owner.incept()
    fork = owner.fork()
    one, two = owner.interact(seal("1")), owner.interact(seal("2"))
    assert is_signed(signer, two)
    assert not is_signed(signer, fork.interact(seal("other")))
    assert not is_signed(signer, first)  # its link is not here yet
    assert is_signed(signer, one)
    assert is_signed(signer, first)


def test_no_place_is_skipped(signer: LocalReceiptSigner) -> None:
    """Where something was signed, nothing is signed of which the signer has not seen the way."""
    owner = Author("skipped")
    log = [owner.incept(), owner.interact(seal("1")), owner.interact(seal("2"))]
    sign(signer, log[0])
    assert not is_signed(signer, log[2])
    signer.relearn([one.event.raw for one in log])
    assert is_signed(signer, log[2])


def test_an_older_store_signs_nothing_new(signer: LocalReceiptSigner) -> None:
    """What was signed before is signed again alike; a store that was never accepted is as old."""
    owner = Author("older")
    first = owner.incept()
    following = owner.interact()
    (receipt,) = signer.sign_receipts(STORE, 7, [first.event.raw])
    assert signer.begin(STORE, 7)
    for store, generation in ((STORE, 6), ("another", 99)):
        assert not signer.begin(store, generation)
        raws = [first.event.raw, following.event.raw]
        found = signer.sign_receipts(store, generation, raws)
        assert found[0] == receipt
        assert isinstance(found[1], KeystoreError)
        assert found[1].code is ErrorCode.BEHIND
    signer.accept("another", 1)
    assert signer.begin("another", 1)
    assert not signer.begin(STORE, 8)  # the one before comes back


def test_a_memory_that_was_lost_tells_so(tmp_path: Path) -> None:
    """A signer without its memory has accepted no store, and knows that."""
    signer = LocalReceiptSigner.open(tmp_path / "memory", ServiceKey(ME.seed))
    assert signer.is_blank()
    assert not signer.begin(STORE, 0)
    assert signer.signed_last() == {}
    signer.accept(STORE, 3)
    assert not signer.is_blank()
    signer.close()


def test_relearning_fills_in_what_is_missing(signer: LocalReceiptSigner) -> None:
    """The log may have more below, and above, than the memory; what contradicts is not learned."""
    owner = Author("relearned")
    log = [owner.incept()]
    log += [owner.interact(seal(f"{one}")) for one in range(3)]
    fork = owner.fork()
    log += [owner.rotate(), owner.interact(seal("end"))]
    sign(signer, log[2])
    last = signer.relearn([one.event.raw for one in log])
    assert last == log[-1].event.said
    assert signer.signed_last() == {owner.aid: last}
    other = [*log[:4], fork.interact(seal("other"))]
    with pytest.raises(KeystoreError) as refused:
        signer.relearn([one.event.raw for one in other])
    assert refused.value.code is ErrorCode.SECOND_EVENT
    assert signer.signed_last() == {owner.aid: last}


def test_objections_change_nothing(signer: LocalReceiptSigner) -> None:
    """To ask is not to sign."""
    owner = Author("objection")
    first = owner.incept()
    fork = owner.fork()
    sign(signer, first, owner.interact(seal("1")))
    objection = signer.objection(fork.fork().interact(seal("2")).event.raw)
    assert objection is not None
    assert objection.code is ErrorCode.SECOND_EVENT
    assert signer.objection(fork.fork().rotate().event.raw) is None
    assert is_signed(signer, owner.interact(seal("3")))


def test_nothing_but_events_and_replies_is_signed(signer: LocalReceiptSigner) -> None:
    """A receipt, a message, garbage, or two events at once cannot be signed as an event."""
    owner = Author("roles")
    first = owner.incept().event.raw
    receipt = build.receipt(Receipt(owner.aid, 0, owner.state.said))
    reply = routed("rpy")
    for raw in (receipt, reply, b"garbage", b"", first + first, first[:-1], first[:30]):
        (found,) = signer.sign_receipts(STORE, 0, [raw])
        assert isinstance(found, KeystoreError)
        assert found.code is ErrorCode.ROLE
    for raw in (receipt, first, routed("exn", i=owner.aid)):
        with pytest.raises(KeystoreError) as refused:
            signer.sign_reply(raw)
        assert refused.value.code is ErrorCode.ROLE
    assert suites.verify(ME.suite, ME.key.raw, signer.sign_reply(reply), reply)


def test_an_event_must_be_what_its_digest_says(signer: LocalReceiptSigner) -> None:
    """Bytes under the digest of another event are refused."""
    owner = Author("digest")
    raw = owner.incept().event.raw
    forged = raw.replace(b'"kt":"1"', b'"kt":"2"')
    assert forged != raw
    (found,) = signer.sign_receipts(STORE, 0, [forged])
    assert isinstance(found, KeystoreError)


def test_the_memory_belongs_to_one_witness(signer: LocalReceiptSigner, tmp_path: Path) -> None:
    """Another key does not use it, and nobody deletes from it."""
    with pytest.raises(KeysteadError) as refused:
        LocalReceiptSigner.open(tmp_path / "memory", ServiceKey(witness("other").seed))
    assert refused.value.code is ErrorCode.STORE_CORRUPT
    sign(signer, Author("kept").incept())
    connection = sqlite3.connect(tmp_path / "memory" / FILE, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("DELETE FROM signed")
    connection.close()


def test_a_damaged_memory_is_an_error(tmp_path: Path) -> None:
    """It is never made anew in silence."""
    (tmp_path / FILE).write_bytes(b"this is no database, and longer than its head" * 100)
    with pytest.raises(KeysteadError) as refused:
        LocalReceiptSigner.open(tmp_path, ServiceKey(ME.seed))
    assert refused.value.code is ErrorCode.STORE_IO


def test_the_signer_in_a_process(tmp_path: Path) -> None:
    """It answers as the local one, keeps its memory, and refuses in the same words."""
    aid = ServiceKey.create(tmp_path / "key", PASSPHRASE).aid
    owner = Author("remote", witnesses=[ME])
    first = owner.incept()
    fork = owner.fork()
    following = owner.interact(seal("1"))
    rival = fork.interact(seal("2"))
    for run in range(2):
        signer = RemoteReceiptSigner.start(tmp_path / "key", tmp_path / "memory", PASSPHRASE)
        try:
            assert signer.aid == aid
            assert signer.is_blank() is (run == 0)
            signer.accept(STORE, 0)
            assert signer.begin(STORE, 0)
            raws = [one.event.raw for one in (first, following, rival)]
            found = signer.sign_receipts(STORE, 0, raws)
            assert [isinstance(one, bytes) for one in found] == [True, True, False]
            assert signer.signed_last() == {owner.aid: following.event.said}
            assert signer.objection(following.event.raw) is None
            objection = signer.objection(rival.event.raw)
            assert objection is not None
            assert objection.code is ErrorCode.SECOND_EVENT
            assert signer.relearn(raws[:2]) == following.event.said
            assert len(signer.sign_reply(routed("rpy"))) == 64
            with pytest.raises(KeystoreError):
                signer.sign_reply(first.event.raw)
        finally:
            signer.close()
    with pytest.raises(KeystoreError) as refused:
        RemoteReceiptSigner.start(tmp_path / "key", tmp_path / "memory", b"another passphrase")
    assert refused.value.code is ErrorCode.PASSPHRASE


def test_a_signer_process_that_ended_is_an_error(tmp_path: Path) -> None:
    """Nothing is signed, and nothing waits for ever."""
    ServiceKey.create(tmp_path / "key", PASSPHRASE)
    signer = RemoteReceiptSigner.start(tmp_path / "key", tmp_path / "memory", PASSPHRASE)
    signer.close()
    with pytest.raises(KeystoreError) as refused:
        signer.is_blank()
    assert refused.value.code is ErrorCode.SIGNER_PROCESS


class SignerMachine(RuleBasedStateMachine):
    """A store that lies gives the signer any events of a tree in any order."""

    def __init__(self) -> None:
        """Know nothing."""
        super().__init__()
        self.memory = sqlite3.connect(":memory:", isolation_level=None)
        self.signer = LocalReceiptSigner(self.memory, ServiceKey(ME.seed), Path("nowhere"))
        self.signer.accept(STORE, 0)
        self.known = Events()
        self.signed: dict[str, bytes] = {}
        self.tree: list[tuple[Author, Signed]] = []

    @initialize()
    def begin(self) -> None:
        """Make the first event of the one log."""
        author = Author("machine")
        self.tree.append((author, author.incept()))
        self.known.add(self.tree[0][1].event.raw)

    @rule(base=st.integers(0, 30), kind=st.sampled_from(["ixn", "ixn", "rot"]))
    def make(self, base: int, kind: str) -> None:
        """Make an event behind any other."""
        author = self.tree[base % len(self.tree)][0].fork()
        salt = seal(f"{len(self.tree)}")
        made = author.interact(salt) if kind == "ixn" else author.rotate(anchors=[salt])
        self.tree.append((author, made))
        self.known.add(made.event.raw)

    @rule(which=st.lists(st.integers(0, 30), min_size=1, max_size=3))
    def sign(self, which: list[int]) -> None:
        """Have some signed at once, and compare with the rules."""
        chosen = [self.tree[one % len(self.tree)][1] for one in which]
        for signed, found in zip(chosen, sign(self.signer, *chosen), strict=True):
            event = self.known[signed.event.said]
            if isinstance(found, KeystoreError):
                assert event.said not in self.signed
                assert not self.is_due(event)
                continue
            assert self.signed.setdefault(event.said, found) == found
        assert self.known.contradictions(self.signed) == []

    @rule()
    def restart(self) -> None:
        """Open the memory again."""
        self.signer = LocalReceiptSigner(self.memory, ServiceKey(ME.seed), Path("nowhere"))

    def is_due(self, event: Event) -> bool:
        """Tell whether an honest store would have it signed: it follows, or supersedes."""
        if event.prior not in self.signed if event.prior else self.signed:
            return False
        return all(self.wins(event, self.known[said]) for said in self.signed)

    def wins(self, event: Event, other: Event) -> bool:
        """Tell whether an event has nothing against it in another that was signed before."""
        ours, theirs = self.known.since_fork(event, other)
        if not ours or not theirs:
            return True
        return ours[0].kind == "rot" and all(one.kind == "ixn" for one in theirs)


TestSigner = SignerMachine.TestCase
TestSigner.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
