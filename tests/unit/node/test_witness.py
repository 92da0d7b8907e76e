"""A witness decides, promises and signs; what it does after crashes, restores and losses."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeysteadError, KeystoreError
from keystead.keri.build import Witnesses
from keystead.keystores.receipting import FILE as MEMORY
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.node.replay import replay
from keystead.node.witness import CLOSED, Admission, Status, Witness, invitation_digest
from keystead.ports.witness import Admitted, Origin
from keystead.services.witness_home import WitnessHome
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, Signed, witness
from keystead.testing.simulation.owners import read_all
from support.branches import Branch
from support.witnessing import (
    ME,
    NOW,
    MovingAuthor,
    author,
    bare,
    dying,
    failed,
    new_home,
    opened,
    seal,
    sent,
    signer_of,
    submitted,
)


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> WitnessHome:
    """Give a new witness."""
    return new_home(tmp_path)


def copy(home: WitnessHome, name: str) -> Path:
    """Copy the folder of a witness that does not run."""
    target = home.folder.with_name(name)
    shutil.copytree(home.folder, target)
    return target


def put_back(home: WitnessHome, source: Path) -> None:
    """Put a copy in place of the folder."""
    shutil.rmtree(home.folder)
    shutil.copytree(source, home.folder)


def forget(home: WitnessHome) -> None:
    """Lose the memory of the signer."""
    shutil.rmtree(home.memory(ME.aid))


def is_receipted(one: Witness, signed: Signed) -> bool:
    """Submit an event and tell whether there is a good receipt for it."""
    answer = sent(one, signed)
    assert bool(answer.receipt) is (answer.status is Status.RECEIPTED)
    if answer.receipt:
        assert answer.receipt == ME.sign(signed.event.raw)
    return bool(answer.receipt)


def is_quarantined(one: Witness) -> bool:
    """Tell whether it was restored; asked anew each time."""
    return one.quarantined


def log(one: Witness, aid: Aid) -> bytes:
    """Return the log of an identifier with all receipts."""
    one.flush()
    return b"".join(replay(one.store.events, aid))


def test_receipts_follow_the_rules(home: WitnessHome) -> None:
    """First seen stands; a recovery is receipted, a second one is not; the first is named."""
    owner = author("rules")
    first = owner.incept()
    fork = owner.fork()
    rival = fork.fork().interact(seal("rival"))
    with opened(home) as one:
        assert is_receipted(one, first)
        made = owner.interact(seal("1"))
        assert is_receipted(one, made)
        answer = sent(one, rival)
        assert (answer.status, answer.first_said) == (Status.DUPLICITOUS, made.event.said)
        second = fork.fork()
        recovery = fork.rotate(anchors=[seal("recovery")])
        assert is_receipted(one, recovery)
        answer = sent(one, second.rotate(anchors=[seal("another")]))
        assert (answer.status, answer.first_said) == (Status.DUPLICITOUS, recovery.event.said)
        assert is_receipted(one, made)  # again, as before
        assert sent(one, rival).status is Status.DUPLICITOUS
        assert is_receipted(one, fork.interact(seal("2")))
        proofs = one.receipted(owner.aid, sn=1)
        assert [each.raw for each in proofs.witness_signatures] == [ME.sign(recovery.event.raw)]
        with pytest.raises(LookupError):
            one.receipted(owner.aid, sn=9)


def test_what_comes_at_once_fares_as_if_alone(home: WitnessHome) -> None:
    """Of two at one place, the first in the batch; a bad one spoils no other."""
    owner = author("batch")
    first = owner.incept()
    fork = owner.fork()
    with opened(home) as one:
        both = bare(owner.interact(seal("1"))) + bare(fork.interact(seal("2")))
        done = submitted(one, bare(first) + both)
        statuses = [answer.status for answer in done.events]
        assert statuses == [Status.RECEIPTED, Status.RECEIPTED, Status.DUPLICITOUS]
        stranger = Author("stranger")  # names no witness
        done = submitted(one, bare(stranger.incept()))
        assert [answer.status for answer in done.events] == [Status.KEPT]


def test_admission(home: WitnessHome) -> None:
    """Closed by default; named, invited as often as may be, within the quota, or refused."""
    owners = [author(f"admitted {number}") for number in range(6)]
    begun = [owner.incept() for owner in owners]
    with opened(home, CLOSED) as one:
        answer = sent(one, begun[0])
        assert answer.error is not None
        assert answer.error.code is ErrorCode.NOT_ADMITTED
        with one.store.transaction():
            one.store.admit(Admitted(owners[0].aid, True, Origin.OPERATOR, "then"))  # noqa: FBT003 - a record
            one.store.invite(invitation_digest("code"), 1, None)
        assert is_receipted(one, begun[0])
        for number, code, status in (
            (1, "wrong", Status.REFUSED), (1, "code", Status.RECEIPTED), (2, "code", Status.REFUSED)
        ):  # fmt: skip
            done = submitted(one, bare(begun[number]), invitation=code)
            assert done.events[0].status is status
        with one.store.transaction():
            one.store.admit(Admitted(owners[0].aid, False, Origin.OPERATOR, "later"))  # noqa: FBT003 - as above
        assert sent(one, owners[0].interact()).status is Status.REFUSED
    with opened(home, Admission(open_quota=2)) as one:
        found = [sent(one, each).status for each in begun[2:]]
        assert found == [Status.RECEIPTED, Status.RECEIPTED, Status.REFUSED, Status.REFUSED]


def test_delegators_are_strangers_while_nothing_waits_for_them(home: WitnessHome) -> None:
    """A delegated event gets its receipt before its approval."""
    head, arm = Branch("head", witnesses=[ME]), Branch("arm", witnesses=[ME])
    begun = head.begin()
    delegate = arm.begin(delegator=head)
    with opened(home, CLOSED) as one:
        with one.store.transaction():
            one.store.admit(Admitted(arm.aid, True, Origin.OPERATOR, "then"))  # noqa: FBT003 - a record
        first = submitted(one, delegate.packet((0,), ()).data).events[0]
        assert first.status is Status.RECEIPTED
        assert one.store.admitted(head.aid) is None
        assert sent_raw(one, begun.packet((0,), ()).data) is Status.REFUSED


def sent_raw(one: Witness, stream: bytes) -> Status:
    """Submit a stream of one event and return what became of it."""
    return submitted(one, stream).events[0].status


def test_a_restart_changes_nothing(home: WitnessHome) -> None:
    """Receipts that were not saved with their events are the same again."""
    owner = author("restart")
    events = [owner.incept(), owner.interact(), owner.rotate()]
    for _ in range(2):
        with opened(home) as one:
            assert not is_quarantined(one)
            assert [is_receipted(one, made) for made in events] == [True] * 3


def die(home: WitnessHome, *streams: bytes) -> None:
    """Have events accepted, and end before they are signed."""
    with dying(home) as one, pytest.raises(SystemExit):
        submitted(one, *streams)


def test_what_a_crash_left_unsigned_is_signed_later(home: WitnessHome) -> None:
    """In any order: the latest may be asked for first."""
    owner = author("late")
    events = [owner.incept(), owner.interact(seal("1"))]
    die(home, *map(bare, events))
    events += [owner.interact(seal("2")), owner.rotate()]
    die(home, *map(bare, events[2:]))
    with opened(home) as one:
        for made in (events[3], owner.interact(seal("4")), *events[2::-1]):
            assert is_receipted(one, made)
        proofs = one.receipted(owner.aid, sn=0)
        assert [each.raw for each in proofs.witness_signatures] == [ME.sign(events[0].event.raw)]


def test_what_was_superseded_before_it_was_signed_stays_unsigned(home: WitnessHome) -> None:
    """The signer could not tell it from a second one; nothing else is the worse for it."""
    owner = author("too late")
    first = owner.incept()
    fork = owner.fork()
    lost = owner.interact(seal("lost"))
    die(home, bare(first), bare(lost))
    with opened(home) as one:
        assert is_receipted(one, fork.rotate())
        answer = sent(one, lost)
        assert answer.error is not None
        assert answer.error.code is ErrorCode.SECOND_EVENT
        assert one.receipted(owner.aid, said=lost.event.said).witness_signatures == ()
        assert is_receipted(one, fork.interact(seal("on")))
        assert is_receipted(one, first)


def test_a_delegated_rotation_that_lost_its_place_is_not_signed(home: WitnessHome) -> None:
    """Rule B lets the signer take another one there; the store knows which came first."""
    head, arm = Branch("head"), Branch("arm", witnesses=[ME])
    begun, delegate = head.begin(), arm.begin(delegator=head)
    fork = arm.branch()
    lost, taken = arm.extend("rot"), fork.extend("rot")
    approvals = [head.extend("ixn", [delegate.seal]), head.extend("ixn", [taken.seal])]
    streams = [made.packet(None, ()).data for made in (begun, approvals[0], delegate, lost)]
    die(home, *streams)
    with opened(home) as one:
        submitted(one, approvals[1].packet(None, ()).data)
        assert sent_raw(one, taken.packet(None, ()).data) is Status.RECEIPTED
        assert sent_raw(one, lost.packet(None, ()).data) is Status.REFUSED
        assert sent_raw(one, fork.extend("ixn").packet(None, ()).data) is Status.RECEIPTED


def test_a_witness_that_leaves_and_comes_back(home: WitnessHome) -> None:
    """A recovery that it had not to receipt took places of what it had; it goes on behind that."""
    owner = MovingAuthor("leaves", witnesses=[ME])
    first = owner.incept()
    fork = owner.fork()
    assert isinstance(fork, MovingAuthor)
    lost = [owner.interact(seal("1")), owner.interact(seal("2"))]
    without = fork.change(Witnesses(0, [], [ME.aid]))
    back = fork.change(Witnesses(1, [ME.aid], []))
    with opened(home) as one:
        for made in (first, *lost):
            assert is_receipted(one, made)
        assert sent(one, without).status is Status.KEPT
        assert is_receipted(one, back)
        assert is_receipted(one, fork.interact(seal("on")))
        assert sent(one, owner.interact(seal("3"))).status is not Status.RECEIPTED


def test_signer_and_store_are_independent(home: WitnessHome) -> None:
    """Each refuses alone: the signer when a store has another event, the store without a signer."""
    owner = author("independent")
    first = owner.incept()
    fork = owner.fork()
    made, rival = owner.interact(seal("1")), fork.interact(seal("2"))
    with opened(home) as one:
        assert is_receipted(one, first)
    before = copy(home, "before")
    with opened(home) as one:
        assert is_receipted(one, made)
    # A store with another event, which claims to be the current one.
    put_back(home, before)
    with signer_of(home) as signer:
        store = DatabaseWitness.open(home.folder)
        about = store.about()
        signer.accept(about.store, about.generation)
        store.close()
    with opened(home) as one:
        assert not is_quarantined(one)
        answer = sent(one, rival)
        assert answer.status is Status.REFUSED
        assert answer.error is not None
        assert answer.error.code is ErrorCode.SECOND_EVENT
        assert not is_receipted(one, fork.interact(seal("behind")))


def test_without_memory_the_store_refuses(home: WitnessHome) -> None:
    """The other way round: the memory is lost, and an operator goes on without it."""
    owner = author("without")
    first = owner.incept()
    fork = owner.fork()
    with opened(home) as one:
        assert is_receipted(one, first)
        assert is_receipted(one, owner.interact(seal("1")))
    forget(home)
    with opened(home) as one:
        assert is_quarantined(one)
        assert dict(one.store.unconfirmed()) == {owner.aid: None, ME.aid: None}
        assert not is_receipted(one, first) or one.receipted(owner.aid, sn=0)
        following = owner.interact(seal("2"))
        error = failed(one, bare(following))
        assert error.code is ErrorCode.BEHIND
        assert not one.recover(ME.aid, [], NOW)
        assert one.recover(owner.aid, read_all(log(one, owner.aid)), NOW)
        assert is_quarantined(one)
        assert one.give_up(ME.aid)
        assert not one.give_up(ME.aid)
        assert not is_quarantined(one)
        assert sent(one, fork.interact(seal("rival"))).status is Status.DUPLICITOUS
        assert is_receipted(one, following)


def test_an_older_store_is_noticed_and_catches_up(home: WitnessHome) -> None:
    """It takes nothing that contradicts, and ends its quarantine when it has what it signed."""
    owner = author("older")
    first = owner.incept()
    fork = owner.fork()
    with opened(home) as one:
        assert is_receipted(one, first)
    before = copy(home, "before")
    made = [owner.interact(seal("1")), owner.interact(seal("2"))]
    with opened(home) as one:
        assert [is_receipted(one, each) for each in made] == [True, True]
    newer = copy(home, "newer")
    put_back(home, before)
    with opened(home) as one:
        assert is_quarantined(one)
        assert failed(one, bare(fork.interact(seal("rival")))).code is ErrorCode.SECOND_EVENT
        assert is_receipted(one, made[0])  # the signer knows it
        assert is_quarantined(one)
        assert is_receipted(one, made[1])
        assert not is_quarantined(one)
        following = owner.interact(seal("3"))
        assert is_receipted(one, following)
    put_back(home, newer)  # the copy from before the restore lacks the last one
    with opened(home) as one:
        assert is_quarantined(one)
        assert dict(one.store.unconfirmed()) == {owner.aid: following.event.said}
        assert one.recover(owner.aid, read_all(bare(following)), NOW)
        assert not is_quarantined(one)


def test_a_restored_witness_takes_more_than_it_has_signed(home: WitnessHome) -> None:
    """The log of others may have gone on; all of it comes at once."""
    owner = author("gone on")
    first = owner.incept()
    before = copy(home, "before")
    with opened(home) as one:
        assert is_receipted(one, first)
    put_back(home, before)
    log = [first, *(owner.interact(seal(f"{number}")) for number in range(4))]
    with opened(home) as one:
        assert is_quarantined(one)
        assert one.recover(owner.aid, read_all(b"".join(map(bare, log))), NOW)
        assert not is_quarantined(one)
        assert [is_receipted(one, made) for made in log] == [True] * 5


def test_recovery_of_the_owner_ends_a_quarantine(home: WitnessHome) -> None:
    """What was signed may be gone everywhere, if a rotation has superseded it."""
    owner = author("superseded")
    first = owner.incept()
    fork = owner.fork()
    with opened(home) as one:
        assert is_receipted(one, first)
    before = copy(home, "before")
    with opened(home) as one:
        assert is_receipted(one, owner.interact(seal("lost")))
    put_back(home, before)
    recovery = fork.rotate()
    with opened(home) as one:
        answer = sent(one, recovery)
        assert answer.error is not None
        assert answer.error.code is ErrorCode.BEHIND
        assert not is_quarantined(one)
        assert is_receipted(one, recovery)


def test_a_restored_witness_refuses_logs_that_contradict(home: WitnessHome) -> None:
    """A source with another event than was signed is refused whole; the operator may go on."""
    owner = author("contradicts")
    first = owner.incept()
    fork = owner.fork()
    with opened(home) as one:
        assert is_receipted(one, first)
    before = copy(home, "before")
    with opened(home) as one:
        assert is_receipted(one, owner.interact(seal("1")))
    put_back(home, before)
    rival = fork.interact(seal("2"))
    with opened(home) as one:
        with pytest.raises(KeystoreError) as refused:
            one.recover(owner.aid, read_all(bare(rival)), NOW)
        assert refused.value.code is ErrorCode.SECOND_EVENT
        assert one.store.events.accepted(owner.aid, rival.event.said) is None
        assert one.give_up(owner.aid)
        assert not is_quarantined(one)
        answer = sent(one, rival)
        assert answer.status is Status.REFUSED  # the signer goes on remembering


def test_own_receipts_for_other_versions_stop_a_recovery(home: WitnessHome) -> None:
    """A log whose receipts of this witness contradict its store is no log to go on with."""
    owner = author("evidence")
    first = owner.incept()
    fork = owner.fork()
    made, rival = owner.interact(seal("1")), fork.interact(seal("2"))
    with opened(home) as one:
        for each in (first, made):
            assert is_receipted(one, each)
    forget(home)
    with opened(home) as one:
        with pytest.raises(KeystoreError) as refused:
            one.recover(owner.aid, read_all(rival.raw), NOW)  # with the receipt of this witness
        assert refused.value.code is ErrorCode.SECOND_EVENT
        assert is_quarantined(one)


def test_a_store_and_a_signer_of_two_witnesses(home: WitnessHome, tmp_path: Path) -> None:
    """They do not work together."""
    other = LocalReceiptSigner.open(tmp_path / "other", ServiceKey(witness("other").seed))
    with opened(home) as one, closing(other):
        with pytest.raises(KeysteadError) as refused:
            Witness(one.store, other)
        assert refused.value.code is ErrorCode.STORE_CORRUPT


def test_the_memory_has_a_folder_of_its_own(home: WitnessHome) -> None:
    """Whoever puts back a copy of the home keeps the memory."""
    memory = home.memory(ME.aid) / MEMORY
    assert memory.exists()
    assert home.folder not in memory.parents
    assert memory.stat().st_mode & 0o077 == 0
