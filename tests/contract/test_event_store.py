"""What every `EventStore` promises. A new store is one more entry in `_STORES`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import msgspec
import pytest

from keystead.cesr.groups import ReceiptCouple, SourceCouple
from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, VerificationError
from keystead.keri import build
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import (
    Held,
    HeldKey,
    Missing,
    WaitingMessage,
    WaitingReceipts,
    Want,
)
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import Query, Reply
from keystead.keri.routed import EndRole, Kept, Record
from keystead.keri.seals import EventSeal
from keystead.keri.verdicts import Accepted, Duplicate, Duplicitous, Recorded, Rejected
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.ports import Append, Decision, EventStore, Extend, KelReader, Outcome
from keystead.stores.database import Database
from keystead.stores.memory import MemoryStore
from keystead.stores.postgres import PostgresStore
from keystead.stores.sqlite import SqliteStore
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.postgres import fresh_database

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEEN_AT = "2026-01-02T03:04:05.000000+00:00"


@contextmanager
def _in_database(limits: Limits) -> Iterator[EventStore]:
    """Make a store in a database of its own."""
    with TemporaryDirectory() as folder:
        database = Database.create(Path(folder) / "store.db")
        try:
            yield SqliteStore(database, limits)
        finally:
            database.close()


@contextmanager
def _in_postgres(limits: Limits) -> Iterator[EventStore]:
    """Make a store in a database of a real server."""
    with fresh_database() as database:
        yield PostgresStore(database, limits)


_STORES: dict[str, Callable[[Limits], AbstractContextManager[EventStore]]] = {
    "memory": lambda limits: nullcontext(MemoryStore(limits)),
    "postgres": _in_postgres,
    "sqlite": _in_database,
}


@pytest.fixture(name="make_store", params=sorted(_STORES))
def _make_store(request: pytest.FixtureRequest) -> Iterator[Callable[[Limits], EventStore]]:
    """Give what makes an empty store with given limits."""
    with ExitStack() as stores:
        yield lambda limits: stores.enter_context(_STORES[request.param](limits))


@pytest.fixture(name="store")
def _store(make_store: Callable[[Limits], EventStore]) -> EventStore:
    """Return an empty store."""
    return make_store(DEFAULT_LIMITS)


class Diary(Author):
    """An author who notes each event with the state after it."""

    def write(self, *seals: EventSeal, rotate: bool = False) -> "Entry":
        """Make the next event."""
        signed = self.rotate(anchors=seals) if rotate else self.interact(*seals)
        return Entry(signed, self.state)

    def begin(self) -> "Entry":
        """Make the first event."""
        return Entry(self.incept(), self.state)

    def twin(self) -> "Diary":
        """Return an author who goes on from here."""
        other = self.fork()
        assert isinstance(other, Diary)
        return other


class Entry:
    """A signed event and the state after it."""

    def __init__(self, signed: Signed, state: KeyState) -> None:
        """Keep both."""
        self.signed = signed
        self.state = state

    @property
    def event(self) -> AnyKeyEvent:
        """The event."""
        return self.signed.event

    @property
    def proofs(self) -> Proofs:
        """Its signatures, as if they had been verified."""
        return Proofs(self.signed.signatures)

    def decision(self, *, supersedes: bool = False, source: SourceCouple | None = None) -> Decision:
        """Return the decision to append the event."""
        append = Append(self.event, self.state, self.proofs, SEEN_AT, source, supersedes)
        return Decision(Accepted(self.state, self.proofs), append=append)

    def held(
        self,
        missing: Missing | None = None,
        *,
        since: datetime = NOW,
        proofs: Proofs | None = None,
        local: bool = False,
    ) -> Held:
        """Return the entry of the escrow with which the event waits."""
        event = self.event
        want = missing or Missing(Want.EVENT, event.aid, event.sn - 1)
        waiting = SignedEvent(event, Claims(self.signed.signatures), proofs or Proofs())
        return Held(waiting, frozenset((want,)), local, since)

    def receipts(self, *, since: datetime = NOW) -> Held:
        """Return the entry of the escrow with which receipts wait for the event."""
        event = self.event
        couple = witness("w").couple(event.raw)
        waiting = WaitingReceipts(event.aid, event.sn, event.said, Claims(couples=(couple,)))
        return Held(waiting, frozenset((_receipted(self),)), local=False, since=since)


def _receipted(entry: Entry) -> Missing:
    return Missing(Want.RECEIPTED, entry.event.aid, entry.event.sn)


def append(store: EventStore, *entries: Entry) -> Outcome:
    """Append events; return the last outcome."""
    outcomes = [keep(store, one, one.decision()) for one in entries]
    return outcomes[-1]


def supersede(store: EventStore, entry: Entry) -> Outcome:
    """Put an event in the place of another."""
    return store.advance(entry.event.aid, lambda _: entry.decision(supersedes=True))


def hold(store: EventStore, *entries: Held, release: tuple[HeldKey, ...] = ()) -> Outcome:
    """Put entries into the escrow, and take some from it."""
    verdict = Rejected(VerificationError(ErrorCode.EXPIRED, "only what is held matters here"))
    decision = Decision(verdict, hold=entries, release=release)
    key = entries[0].key if entries else release[0]
    return store.advance(Aid(key[1]), lambda _: decision)


def keep(store: EventStore, entry: Entry, decision: Decision) -> Outcome:
    """Store a decision about the identifier of an event."""
    return store.advance(entry.event.aid, lambda _: decision)


def trunk(store: EventStore, aid: Aid) -> list[str]:
    """Return the digests of the trunk."""
    return [one.event.said for one in store.events(aid)]


def log(length: int = 3) -> list[Entry]:
    """Return an inception and interactions."""
    diary = Diary("diary")
    return [diary.begin(), *(diary.write() for _ in range(length - 1))]


def recovery() -> tuple[list[Entry], Entry]:
    """Return a log of four events, and a rotation that takes the place of the third."""
    diary = Diary("diary")
    begun = [diary.begin(), diary.write()]
    honest = diary.twin()
    branch = [diary.write(), diary.write()]
    return begun + branch, honest.write(rotate=True)


def sealed() -> tuple[Diary, EventSeal]:
    """Return an author behind its inception, and the seal of another one's inception."""
    diary = Diary("sealer")
    return diary, Author("sealed").incept().seal


def test_an_empty_store_knows_nothing(store: EventStore) -> None:
    """A store starts without logs, escrow and statements."""
    (entry,) = log(1)
    aid, said = entry.event.aid, entry.event.said
    assert store.key_state(aid) is None
    assert store.event(aid, 0) is None
    assert store.accepted(aid, said) is None
    assert store.sealing_event(aid, entry.signed.seal) is None
    assert list(store.events(aid)) == []
    assert list(store.first_seen(aid)) == []
    assert store.duplicity(aid) == ()
    assert list(store.identifiers()) == []
    assert list(store.waiting()) == []
    assert list(store.due(NOW)) == []
    assert store.held_for(aid, 0, said) == ()


def test_an_appended_event_ends_the_trunk(store: EventStore) -> None:
    """Each appended event comes behind the one before."""
    entries = log()
    append(store, *entries)
    assert trunk(store, entries[0].event.aid) == [one.event.said for one in entries]


def test_the_key_state_is_that_after_the_last_event(store: EventStore) -> None:
    """`key_state` gives the state that came with the end of the trunk."""
    entries = log()
    append(store, *entries)
    assert store.key_state(entries[0].event.aid) == entries[-1].state


def test_an_accepted_event_is_kept_as_it_was_appended(store: EventStore) -> None:
    """Event, state, proofs, time and delegator's event all come back."""
    (entry,) = log(1)
    source = SourceCouple(7, entry.event.said)
    outcome = store.advance(entry.event.aid, lambda _: entry.decision(source=source))
    accepted = store.event(entry.event.aid, 0)
    assert accepted is not None
    assert accepted == outcome.accepted
    assert (accepted.event, accepted.state, accepted.proofs) == (
        entry.event,
        entry.state,
        entry.proofs,
    )
    assert (accepted.first_seen_number, accepted.first_seen_at) == (0, SEEN_AT)
    assert accepted.source == source


def test_an_event_is_found_by_its_place(store: EventStore) -> None:
    """`event` gives the event of the trunk at a place, None outside."""
    entries = log()
    append(store, *entries)
    aid = entries[0].event.aid
    found = [store.event(aid, sn) for sn in (0, 1, 2)]
    assert [one and one.event.said for one in found] == [one.event.said for one in entries]
    assert store.event(aid, 3) is None
    assert store.event(aid, -1) is None


def test_the_trunk_is_given_from_a_place_on(store: EventStore) -> None:
    """`events` starts at the wanted place."""
    entries = log(4)
    append(store, *entries)
    given = [one.event.said for one in store.events(entries[0].event.aid, first_sn=2)]
    assert given == [one.event.said for one in entries[2:]]
    assert list(store.events(entries[0].event.aid, first_sn=4)) == []


def test_accepted_events_are_numbered_densely(store: EventStore) -> None:
    """First-seen numbers count from 0 in the order of acceptance, superseded events included."""
    entries, rotation = recovery()
    append(store, *entries)
    supersede(store, rotation)
    seen = list(store.first_seen(rotation.event.aid))
    assert [one.first_seen_number for one in seen] == [0, 1, 2, 3, 4]
    assert [one.event.said for one in seen] == [one.event.said for one in (*entries, rotation)]


def test_first_seen_events_are_given_from_a_number_on(store: EventStore) -> None:
    """`first_seen` starts at the wanted number."""
    entries, rotation = recovery()
    append(store, *entries)
    supersede(store, rotation)
    seen = list(store.first_seen(rotation.event.aid, first=3))
    assert [one.first_seen_number for one in seen] == [3, 4]


def test_numbers_count_for_each_log_alone(store: EventStore) -> None:
    """Two logs that grow in turns are numbered apart."""
    first, second = Diary("first"), Diary("second")
    append(store, first.begin(), second.begin(), first.write(), second.write())
    for diary in (first, second):
        assert [one.first_seen_number for one in store.first_seen(diary.aid)] == [0, 1]


def test_an_event_that_supersedes_takes_the_place(store: EventStore) -> None:
    """The trunk is cut at the place of the superseding event, which ends it."""
    entries, rotation = recovery()
    append(store, *entries)
    supersede(store, rotation)
    aid = rotation.event.aid
    assert trunk(store, aid) == [one.event.said for one in (*entries[:2], rotation)]
    assert store.key_state(aid) == rotation.state
    assert store.event(aid, 3) is None


def test_a_trunk_goes_on_behind_a_superseding_event(store: EventStore) -> None:
    """Events can be appended to the new end, and superseded again."""
    diary = Diary("diary")
    begun = [diary.begin()]
    first, second = diary.twin(), diary.twin()
    append(store, *begun, diary.write())
    recovered = first.write(rotate=True)
    supersede(store, recovered)
    later = first.write()
    append(store, later)
    assert trunk(store, first.aid) == [one.event.said for one in (*begun, recovered, later)]
    once_more = second.write(Author("x").incept().seal, rotate=True)
    supersede(store, once_more)
    assert trunk(store, first.aid) == [one.event.said for one in (*begun, once_more)]
    assert [one.first_seen_number for one in store.events(first.aid)] == [0, 4]


def test_an_event_is_found_by_its_digest(store: EventStore) -> None:
    """`accepted` finds events of the trunk and superseded ones."""
    entries, rotation = recovery()
    append(store, *entries)
    supersede(store, rotation)
    for number, one in enumerate((*entries, rotation)):
        accepted = store.accepted(one.event.aid, one.event.said)
        assert accepted is not None
        assert accepted.event == one.event
        assert accepted.first_seen_number == number


def test_a_digest_belongs_to_one_log(store: EventStore) -> None:
    """`accepted` does not find an event under another identifier."""
    first, second = Diary("first"), Diary("second")
    one, other = first.begin(), second.begin()
    append(store, one, other)
    assert store.accepted(first.aid, other.event.said) is None


def test_identifiers_come_in_the_order_of_their_inceptions(store: EventStore) -> None:
    """`identifiers` gives each log once, oldest first, whatever happened later."""
    diaries = [Diary(name) for name in ("b", "c", "a")]
    append(store, *(diary.begin() for diary in diaries))
    append(store, diaries[0].write())
    assert list(store.identifiers()) == [diary.aid for diary in diaries]


def test_an_identifier_of_which_only_something_waits_has_no_log(store: EventStore) -> None:
    """What is in the escrow makes no log."""
    hold(store, log(2)[1].held())
    assert list(store.identifiers()) == []


def test_the_first_event_that_anchors_a_seal_is_given(store: EventStore) -> None:
    """`sealing_event` gives the earliest place, as further seals say nothing new."""
    diary, seal = sealed()
    entries = [diary.begin(), diary.write(seal), diary.write(seal)]
    append(store, *entries)
    found = store.sealing_event(diary.aid, seal)
    assert found is not None
    assert found.event == entries[1].event


def test_a_seal_is_looked_for_in_one_log(store: EventStore) -> None:
    """`sealing_event` does not look into other logs."""
    diary, seal = sealed()
    other = Diary("other")
    append(store, diary.begin(), diary.write(seal), other.begin())
    assert store.sealing_event(other.aid, seal) is None


def test_a_superseded_event_seals_nothing(store: EventStore) -> None:
    """`sealing_event` looks at the trunk alone."""
    diary, seal = sealed()
    append(store, diary.begin())
    honest = diary.twin()
    append(store, diary.write(seal))
    supersede(store, honest.write(rotate=True))
    assert store.sealing_event(diary.aid, seal) is None


def test_a_seal_counts_again_behind_a_superseded_one(store: EventStore) -> None:
    """A seal that comes again on the new trunk is found there."""
    diary, seal = sealed()
    append(store, diary.begin())
    honest = diary.twin()
    append(store, diary.write(seal), diary.write(seal))
    rotation = honest.write(seal, rotate=True)
    supersede(store, rotation)
    found = store.sealing_event(diary.aid, seal)
    assert found is not None
    assert found.event == rotation.event


def test_a_seal_before_the_cut_stays(store: EventStore) -> None:
    """Superseding later events leaves the seals of earlier ones."""
    diary, seal = sealed()
    first = diary.begin()
    sealing = diary.write(seal)
    append(store, first, sealing)
    honest = diary.twin()
    append(store, diary.write(seal))
    supersede(store, honest.write(rotate=True))
    found = store.sealing_event(diary.aid, seal)
    assert found is not None
    assert found.event == sealing.event


def _witnessed() -> tuple[Entry, ReceiptCouple, ReceiptCouple]:
    (entry,) = log(1)
    raw = entry.event.raw
    return entry, witness("one").couple(raw), witness("two").couple(raw)


def _extend(store: EventStore, entry: Entry, couple: ReceiptCouple) -> None:
    accepted = store.accepted(entry.event.aid, entry.event.said)
    assert accepted is not None
    more = Proofs(couples=(couple,))
    extend = Extend(entry.event.aid, entry.event.said, more)
    keep(store, entry, Decision(Duplicate(accepted, more), extend=extend))


def test_extending_adds_signatures_once(store: EventStore) -> None:
    """`Extend` merges proofs: none is lost, none comes twice."""
    entry, one, two = _witnessed()
    append(store, entry)
    for couple in (one, two, one):
        _extend(store, entry, couple)
    accepted = store.event(entry.event.aid, 0)
    assert accepted is not None
    assert accepted.proofs == Proofs(entry.signed.signatures, couples=(one, two))


def test_extending_changes_nothing_else(store: EventStore) -> None:
    """`Extend` leaves event, state, number and time, under every way to read the event."""
    entry, one, _ = _witnessed()
    append(store, entry)
    before = store.event(entry.event.aid, 0)
    _extend(store, entry, one)
    after = store.event(entry.event.aid, 0)
    assert before is not None
    assert after is not None
    assert after == msgspec.structs.replace(before, proofs=after.proofs)
    assert list(store.events(entry.event.aid)) == [after]
    assert list(store.first_seen(entry.event.aid)) == [after]
    assert store.accepted(entry.event.aid, entry.event.said) == after
    assert store.key_state(entry.event.aid) == entry.state


def test_a_superseded_event_can_get_signatures(store: EventStore) -> None:
    """`Extend` reaches events that lost their place."""
    entries, rotation = recovery()
    append(store, *entries)
    supersede(store, rotation)
    couple = witness("one").couple(entries[3].event.raw)
    _extend(store, entries[3], couple)
    accepted = store.accepted(entries[3].event.aid, entries[3].event.said)
    assert accepted is not None
    assert accepted.proofs.couples == (couple,)


def test_a_held_entry_comes_back_unchanged(store: EventStore) -> None:
    """What is held is given back whole, by its key and among all that waits."""
    entry = log(2)[1].held(local=True, proofs=Proofs(log(2)[1].signed.signatures))
    hold(store, entry)
    assert store.held(entry.key) == (entry,)
    assert list(store.waiting()) == [entry]


def test_entries_that_are_not_there_are_left_out(store: EventStore) -> None:
    """`held` gives what there is of the wanted keys."""
    _, second, third = (one.held() for one in log())
    hold(store, third)
    assert store.held(second.key, third.key) == (third,)
    assert store.held() == ()


def test_an_entry_with_the_same_key_is_replaced(store: EventStore) -> None:
    """Holding an event again replaces the entry, and what it waits for."""
    diary = Diary("diary")
    first, second, third = diary.begin(), diary.write(), diary.write()
    hold(store, second.held())
    hold(store, second.held(Missing(Want.EVENT, diary.aid, 7)))
    (entry,) = store.waiting()
    assert entry.missing == frozenset((Missing(Want.EVENT, diary.aid, 7),))
    assert append(store, first).unblocked == ()
    hold(store, third.held())
    assert len(list(store.waiting())) == 2


def test_another_version_is_another_entry(store: EventStore) -> None:
    """Versions of an event at the same place wait side by side."""
    entries, rotation = recovery()
    hold(store, entries[2].held(), rotation.held())
    assert len(list(store.waiting())) == 2


def test_a_released_entry_is_gone(store: EventStore) -> None:
    """`release` takes entries from the escrow; unknown ones do not matter."""
    _, second, third = (one.held() for one in log())
    hold(store, second, third)
    hold(store, release=(second.key, log()[0].held().key))
    assert list(store.waiting()) == [third]
    assert store.held(second.key) == ()


def test_an_entry_that_is_released_and_held_stays(store: EventStore) -> None:
    """A decision releases first and holds then, so it can replace an entry by itself."""
    entry = log(2)[1].held()
    hold(store, entry)
    hold(store, entry, release=(entry.key,))
    assert list(store.waiting()) == [entry]


def test_everything_waits_in_the_order_of_arrival(store: EventStore) -> None:
    """`waiting` gives the oldest entry first; a replaced one keeps its place."""
    entries = [one.held(since=NOW + timedelta(seconds=at)) for at, one in enumerate(log(4))]
    hold(store, *entries[1:])
    hold(store, entries[1])
    assert list(store.waiting()) == entries[1:]


def test_what_waits_for_an_event_is_given(store: EventStore) -> None:
    """`held_for` gives copies of the event and receipts for it, nothing else."""
    entries = log(4)
    event, receipts = entries[2].held(), entries[2].receipts()
    hold(store, event, receipts, entries[3].held(), entries[3].receipts())
    given = store.held_for(entries[2].event.aid, 2, entries[2].event.said)
    assert sorted(held.key for held in given) == sorted((event.key, receipts.key))


def test_entries_are_due_that_came_before_a_time(store: EventStore) -> None:
    """`due` gives what is there since before the time, oldest first."""
    entries = [one.held(since=NOW + timedelta(seconds=at)) for at, one in enumerate(log(4))]
    hold(store, *entries[1:])
    assert list(store.due(NOW + timedelta(seconds=3))) == entries[1:3]
    assert list(store.due(NOW + timedelta(seconds=1))) == []


def test_an_entry_of_a_clock_that_ran_ahead_keeps_back_no_other(store: EventStore) -> None:
    """What is due is given whatever came before it."""
    early, late = (one.held(since=NOW + timedelta(hours=ahead)) for ahead, one in enumerate(log(2)))
    hold(store, late, early)
    assert list(store.due(NOW + timedelta(minutes=1))) == [early]


def test_due_entries_can_be_released_while_they_are_given(store: EventStore) -> None:
    """`due` allows to release what it gives."""
    entries = [one.held() for one in log(4)[1:]]
    hold(store, *entries)
    for held in store.due(NOW + timedelta(seconds=1)):
        hold(store, release=(held.key,))
    assert list(store.waiting()) == []


def test_an_accepted_event_unblocks_what_waits_for_it(store: EventStore) -> None:
    """The outcome gives the next event, receipts at the place, and sealed events, oldest first."""
    diary, other = Diary("diary"), Diary("other")
    inception, delegated = diary.begin(), other.begin()
    sealing = diary.write(delegated.signed.seal)
    following = diary.write()
    receipts = sealing.receipts()
    seal = delegated.signed.seal
    approval = Missing(Want.APPROVAL, diary.aid, seal.sn, seal.said, seal.aid)
    entries = (delegated.held(approval), receipts, following.held())
    append(store, inception)
    hold(store, *entries, log(2)[1].held(Missing(Want.EVENT, diary.aid, 5)))
    assert append(store, sealing).unblocked == entries


def test_unblocked_entries_come_in_the_order_of_first_arrival(store: EventStore) -> None:
    """An entry that was replaced is not younger for it."""
    entries, rotation = recovery()
    append(store, *entries[:1])
    hold(store, entries[2].held(), rotation.held())
    hold(store, entries[2].held())
    assert append(store, entries[1]).unblocked == (entries[2].held(), rotation.held())


def test_unblocked_entries_wait_until_they_are_released(store: EventStore) -> None:
    """An outcome that unblocks entries leaves them in the escrow."""
    first, second = log(2)
    hold(store, second.held())
    append(store, first)
    assert list(store.waiting()) == [second.held()]
    hold(store, release=(second.held().key,))
    assert list(store.waiting()) == []


def test_an_event_unblocks_nothing_that_waits_for_others(store: EventStore) -> None:
    """What waits for another place, log or kind of thing stays out of the outcome."""
    first, second, third = log()
    aid = first.event.aid
    more = Missing(Want.SIGNATURES, aid, 0, first.event.said)
    other = Missing(Want.EVENT, Author("other").incept().event.aid, 0)
    hold(store, third.held(), second.held(other), first.held(more))
    assert append(store, first).unblocked == ()


def _crowd(count: int, *, name: str = "crowd", proven: bool = False) -> list[Held]:
    """Return entries of one log that wait for its inception."""
    diary = Diary(name)
    entries = [diary.begin()] + [diary.write() for _ in range(count)]
    missing = Missing(Want.EVENT, diary.aid, 0)
    return [one.held(missing, proofs=one.proofs if proven else None) for one in entries[1:]]


def _assert_evicted(outcome: Outcome, *entries: Held) -> None:
    assert [held for held, _ in outcome.evicted] == list(entries)
    assert all(error.code is ErrorCode.ESCROW_FULL for _, error in outcome.evicted)


def test_no_more_than_a_number_of_entries_wait_for_one_identifier(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """Beyond `held_events` the oldest entry of the identifier goes, and the outcome says so."""
    store = make_store(Limits(held_events=2))
    crowd, other = _crowd(3), _crowd(1, name="other")
    hold(store, *other, *crowd[:2])
    _assert_evicted(hold(store, crowd[2]), crowd[0])
    assert list(store.waiting()) == [*other, *crowd[1:]]


def test_no_more_than_a_number_of_entries_wait_in_all(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """Beyond `held_total` the oldest entry goes, whosever it is."""
    store = make_store(Limits(held_total=2))
    entries = [held for name in ("a", "b", "c") for held in _crowd(1, name=name)]
    hold(store, *entries[:2])
    _assert_evicted(hold(store, entries[2]), entries[0])
    assert list(store.waiting()) == entries[1:]


def test_no_more_than_a_number_of_bytes_wait(make_store: Callable[[Limits], EventStore]) -> None:
    """Beyond `held_bytes` the oldest entries go until the rest fits."""
    entries = [held for name in ("a", "b", "c") for held in _crowd(1, name=name)]
    store = make_store(Limits(held_bytes=sum(held.size for held in entries[1:])))
    hold(store, *entries[:2])
    _assert_evicted(hold(store, entries[2]), entries[0])
    assert list(store.waiting()) == entries[1:]


def test_a_replaced_entry_takes_room_once(make_store: Callable[[Limits], EventStore]) -> None:
    """Holding the same entry again and again pushes nothing out."""
    entries = _crowd(2)
    store = make_store(Limits(held_bytes=sum(held.size for held in entries), held_events=2))
    for held in entries * 3:
        assert hold(store, held).evicted == ()
    assert len(list(store.waiting())) == 2


def test_released_entries_make_room(make_store: Callable[[Limits], EventStore]) -> None:
    """What was released counts no longer against any bound."""
    entries = _crowd(3)
    size = sum(held.size for held in entries)
    store = make_store(Limits(held_events=1, held_total=1, held_bytes=size))
    for held in entries:
        assert hold(store, held).evicted == ()
        hold(store, release=(held.key,))


def test_entries_without_verified_signatures_go_first(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """A stranger's entries do not push out those that a controller has signed."""
    store = make_store(Limits(held_events=2))
    signed, unsigned = _crowd(1, proven=True), _crowd(3)[1:]
    hold(store, *signed, unsigned[0])
    _assert_evicted(hold(store, unsigned[1]), unsigned[0])
    assert list(store.waiting()) == [*signed, unsigned[1]]


def test_a_log_that_takes_more_than_its_part_makes_room(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """A flood under one identifier pushes out its own entries, signed or not."""
    store = make_store(Limits(held_total=8, held_logs=4))
    others = [_crowd(1, name=name)[0] for name in ("a", "b", "c")]
    flood = _crowd(6, name="flood", proven=True)
    hold(store, *others, *flood[:5])
    _assert_evicted(hold(store, flood[5]), flood[0])
    newcomer = _crowd(1, name="d")[0]
    _assert_evicted(hold(store, newcomer), flood[1])
    assert list(store.waiting()) == [*others, *flood[2:], newcomer]


def test_the_larger_log_makes_room_first(make_store: Callable[[Limits], EventStore]) -> None:
    """Of several logs that take too much the largest makes room, in entries or in bytes."""
    small, large = _crowd(2, name="small"), _crowd(3, name="large")
    store = make_store(Limits(held_total=5, held_logs=4))
    hold(store, *small, *large)
    _assert_evicted(hold(store, *_crowd(1, name="other")), large[0])
    heavy = [_grown(held) for held in small]
    store = make_store(Limits(held_bytes=sum(held.size for held in [*heavy, *large])))
    hold(store, *large, *heavy)
    _assert_evicted(hold(store, *_crowd(1, name="other")), heavy[0])


def _grown(held: Held) -> Held:
    """Return an entry that takes more room, since it waits for more."""
    aid = held.waiting.log
    missing = {Missing(Want.EVENT, aid, sn) for sn in range(50, 70)}
    return msgspec.structs.replace(held, missing=held.missing | missing)


def test_a_log_that_takes_its_part_again_is_safe(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """A log that has made room, or whose entries were settled, is like any other."""
    store = make_store(Limits(held_total=4, held_logs=2))
    old, crowd = _crowd(1, name="old"), _crowd(3)
    hold(store, *old, *crowd)
    hold(store, release=(crowd[0].key,))
    hold(store, *_crowd(1, name="b"))
    _assert_evicted(hold(store, *_crowd(1, name="c")), old[0])


def test_verified_entries_outlive_others_of_their_log_only(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """Anybody can sign with keys of own making, so a signature gives no rank among logs."""
    store = make_store(Limits(held_total=2, held_logs=1))
    signed, unsigned = _crowd(1, proven=True), _crowd(1, name="other")
    hold(store, *signed, *unsigned)
    _assert_evicted(hold(store, *_crowd(1, name="third")), signed[0])


def test_what_is_verified_later_is_kept_longer(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """An entry is among the verified ones as soon as a copy with a good signature came."""
    store = make_store(Limits(held_events=2))
    first, second, third = _crowd(3)
    proven = _crowd(1, proven=True)[0]
    assert proven.key == first.key
    hold(store, first, second, proven)
    _assert_evicted(hold(store, third), second)
    assert list(store.waiting()) == [proven, third]


def _message(signer: str, number: int) -> Held:
    """Return a message that waits for the log of its signer."""
    raw, said = build.routed(
        "qry", {"dt": SEEN_AT, "r": "logs", "rr": "", "q": {"i": signer, "x": number}}
    )
    aid = Diary(signer).begin().event.aid
    message = Query(raw, said, SEEN_AT, "logs", "", {"i": signer, "x": number})
    missing = frozenset((Missing(Want.EVENT, aid, 0),))
    return Held(WaitingMessage(message, aid), missing, local=False, since=NOW)


def test_messages_do_not_count_as_events_of_their_signer(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """Messages in the name of a log do not push out its events."""
    store = make_store(Limits(held_events=1, held_total=4, held_logs=2))
    event, messages = _crowd(1, name="any"), [_message("any", number) for number in range(4)]
    hold(store, *event, *messages[:3])
    assert len(list(store.waiting())) == 4
    _assert_evicted(hold(store, messages[3]), messages[0])
    assert list(store.waiting()) == [*event, *messages[1:]]


def test_an_evicted_entry_is_not_unblocked(make_store: Callable[[Limits], EventStore]) -> None:
    """What was dropped is not in the outcome of what it waited for."""
    store = make_store(Limits(held_events=1))
    crowd = _crowd(2)
    hold(store, crowd[0])
    hold(store, crowd[1])
    assert append(store, Diary("crowd").begin()).unblocked == (crowd[1],)


def _record(datetime_text: str, *, allowed: bool) -> Record:
    """Return a statement of one identifier about another."""
    speaker = Author("speaker").incept().event.aid
    statement = EndRole(speaker, "watcher", KeyPair("watcher", transferable=False).aid, allowed)
    route = "/end/role/add" if allowed else "/end/role/cut"
    attributes = {"cid": statement.cid, "role": statement.role, "eid": statement.eid}
    values = {"dt": datetime_text, "r": route, "a": attributes}
    raw, said = build.routed("rpy", values)
    return Record(statement, Reply(raw, said, datetime_text, route, attributes), 0, Proofs())


def _state(store: EventStore, record: Record) -> None:
    decision = Decision(Recorded(record), record=record)
    store.advance(record.statement.authority, lambda _: decision)


def test_a_statement_is_found_under_its_key(store: EventStore) -> None:
    """`record` gives what was kept, None for what was never stated."""
    record = _record(SEEN_AT, allowed=True)
    _state(store, record)
    assert store.record(record.key) == record
    assert store.record((*record.key, "more")) is None


def test_a_later_statement_replaces_the_earlier_one(store: EventStore) -> None:
    """Under one key there is one statement: the last that was decided to be kept."""
    first = _record(SEEN_AT, allowed=True)
    second = _record(SEEN_AT.replace("2026", "2027"), allowed=False)
    _state(store, first)
    _state(store, second)
    assert first.key == second.key
    assert store.record(first.key) == second


def test_kept_statements_are_counted(store: EventStore) -> None:
    """`kept` tells the number of a signer's statements, that of all, and the bytes of all."""
    record = _record(SEEN_AT, allowed=True)
    signer, stranger = record.statement.authority, Author("stranger").incept().event.aid
    assert store.kept(signer) == Kept(0, 0, 0)
    _state(store, record)
    assert store.kept(signer) == Kept(1, 1, record.size)
    assert store.kept(stranger) == Kept(0, 1, record.size)


def test_a_replaced_statement_counts_no_longer(store: EventStore) -> None:
    """A statement in the place of another is counted instead of it."""
    first = _record(SEEN_AT, allowed=True)
    reply = msgspec.structs.replace(first.reply, raw=first.reply.raw + b"longer")
    second = msgspec.structs.replace(first, reply=reply)
    for record in (first, second, first):
        _state(store, record)
        assert store.kept(first.statement.authority) == Kept(1, 1, record.size)


def _duplicity(store: EventStore, count: int) -> list[DuplicityEvidence]:
    """Append a log of two events; return evidence of other versions of the second."""
    diary = Diary("diary")
    append(store, diary.begin())
    twin = diary.twin()
    second = diary.write()
    append(store, second)
    accepted = store.event(diary.aid, 1)
    assert accepted is not None
    others = [twin.twin().write(EventSeal(diary.aid, at, second.event.said)) for at in range(count)]
    return [DuplicityEvidence(accepted, one.event, one.proofs) for one in others]


def _blame(store: EventStore, evidence: DuplicityEvidence) -> None:
    decision = Decision(Duplicitous(evidence), evidence=evidence)
    store.advance(evidence.aid, lambda _: decision)


def test_evidence_of_duplicity_is_kept(store: EventStore) -> None:
    """Both events and the signatures over the other one come back, oldest evidence first."""
    evidence = _duplicity(store, 2)
    for one in evidence:
        _blame(store, one)
    assert store.duplicity(evidence[0].aid) == tuple(evidence)


def test_evidence_leaves_the_log_alone(store: EventStore) -> None:
    """The event that was seen first stands."""
    (evidence,) = _duplicity(store, 1)
    _blame(store, evidence)
    assert trunk(store, evidence.aid)[1] == evidence.accepted.event.said
    assert store.accepted(evidence.aid, evidence.other.said) is None


def test_the_same_evidence_is_kept_once(store: EventStore) -> None:
    """A version that comes again says nothing new."""
    (evidence,) = _duplicity(store, 1)
    _blame(store, evidence)
    _blame(store, evidence)
    assert store.duplicity(evidence.aid) == (evidence,)


def test_evidence_is_bounded(make_store: Callable[[Limits], EventStore]) -> None:
    """Beyond `evidence` versions further ones are not kept: the first are enough."""
    store = make_store(Limits(evidence=2))
    evidence = _duplicity(store, 3)
    for one in evidence:
        _blame(store, one)
    assert store.duplicity(evidence[0].aid) == tuple(evidence[:2])


def test_evidence_takes_the_place_of_other_evidence(
    make_store: Callable[[Limits], EventStore],
) -> None:
    """What a decision names makes room, also for the same version with more signatures."""
    store = make_store(Limits(evidence=2))
    first, second, third = _duplicity(store, 3)
    for one in (first, second):
        _blame(store, one)
    more = msgspec.structs.replace(third, seen=((third.aid, 1),))
    for one, old in ((third, first), (more, third)):
        decision = Decision(Duplicitous(one), evidence=one, displaces=old.other.said)
        store.advance(one.aid, partial(_decided, decision))
        assert store.duplicity(one.aid) == (one, second)


def _decided(decision: Decision, _: object) -> Decision:
    return decision


def test_evidence_is_told_by_identifier(store: EventStore) -> None:
    """`duplicity` of one identifier says nothing about others."""
    (evidence,) = _duplicity(store, 1)
    other = Diary("other")
    append(store, other.begin())
    _blame(store, evidence)
    assert store.duplicity(other.aid) == ()


def _contents(store: EventStore, *aids: Aid) -> list[object]:
    """Return everything that can be read of some identifiers."""
    read: list[object] = [list(store.identifiers()), list(store.waiting())]
    for aid in aids:
        read += [
            store.key_state(aid),
            list(store.events(aid)),
            list(store.first_seen(aid)),
            store.duplicity(aid),
        ]
    return read


def test_a_decision_reads_what_was_stored_before(store: EventStore) -> None:
    """`decide` gets a snapshot that holds the outcomes of earlier decisions."""
    first, second = log(2)
    append(store, first)
    hold(store, second.held())
    read: list[object] = []

    def decide(kel: KelReader) -> Decision:
        read[:] = [
            kel.key_state(first.event.aid),
            kel.event(first.event.aid, 1),
            kel.held_for(second.event.aid, 1, second.event.said),
        ]
        return second.decision()

    store.advance(first.event.aid, decide)
    assert read == [first.state, None, (second.held(),)]


def test_the_outcome_tells_the_decision(store: EventStore) -> None:
    """What was decided comes back with what the store did about it."""
    (entry,) = log(1)
    decision = entry.decision()
    outcome = store.advance(entry.event.aid, lambda _: decision)
    assert outcome == Outcome(decision, store.event(entry.event.aid, 0))


def test_a_decision_without_effects_changes_nothing(store: EventStore) -> None:
    """A verdict alone is not kept."""
    entries = log()
    append(store, *entries[:2])
    before = _contents(store, entries[0].event.aid)
    verdict = Rejected(VerificationError(ErrorCode.SIGNATURE, "no"))
    assert keep(store, entries[2], Decision(verdict)) == Outcome(Decision(verdict))
    assert _contents(store, entries[0].event.aid) == before


def test_all_parts_of_a_decision_are_stored(store: EventStore) -> None:
    """One decision can append, hold, release and record at once."""
    first, second, third = log()
    record = _record(SEEN_AT, allowed=True)
    append(store, first)
    hold(store, second.held())
    appended = second.decision().append
    decision = Decision(
        Accepted(second.state, second.proofs),
        append=appended,
        hold=(third.receipts(),),
        release=(second.held().key,),
        record=record,
    )
    keep(store, second, decision)
    assert trunk(store, first.event.aid) == [first.event.said, second.event.said]
    assert list(store.waiting()) == [third.receipts()]
    assert store.record(record.key) == record


def test_a_decision_that_raises_changes_nothing(store: EventStore) -> None:
    """An error in `decide` comes out, and the store is as before."""
    entries = log()
    append(store, *entries[:2])
    hold(store, entries[2].held())
    before = _contents(store, entries[0].event.aid)

    def decide(_: KelReader) -> NoReturn:
        raise LookupError("cannot decide")

    with pytest.raises(LookupError, match="cannot decide"):
        store.advance(entries[0].event.aid, decide)
    assert _contents(store, entries[0].event.aid) == before
    append(store, entries[2])


def test_a_first_decision_that_raises_makes_no_log(store: EventStore) -> None:
    """An error in the first decision about an identifier leaves it unknown."""
    (entry,) = log(1)

    def decide(_: KelReader) -> NoReturn:
        raise LookupError("cannot decide")

    with pytest.raises(LookupError):
        store.advance(entry.event.aid, decide)
    assert list(store.identifiers()) == []


def _misfits() -> list[tuple[Entry, bool]]:
    """Return events that cannot be stored behind an inception, and whether they supersede."""
    entries, rotation = recovery()
    return [(entries[2], False), (entries[0], False), (rotation, True)]


@pytest.mark.parametrize("number", range(3), ids=["gap", "place taken", "supersedes behind a gap"])
def test_an_event_that_does_not_fit_is_refused_as_a_whole(store: EventStore, number: int) -> None:
    """A place is taken once and without gaps, and nothing of such a decision is stored."""
    misfit, supersedes = _misfits()[number]
    (first,) = log(1)
    record = _record(SEEN_AT, allowed=True)
    append(store, first)
    hold(store, misfit.held())
    before = _contents(store, first.event.aid)
    decision = msgspec.structs.replace(
        misfit.decision(supersedes=supersedes),
        release=(misfit.held().key,),
        hold=(first.receipts(),),
        record=record,
    )
    with pytest.raises(ValueError, match="does not follow"):
        keep(store, misfit, decision)
    assert _contents(store, first.event.aid) == before
    assert store.record(record.key) is None


def test_an_inception_that_does_not_fit_makes_no_log(store: EventStore) -> None:
    """An event that begins a log behind its beginning leaves the identifier unknown."""
    second = log(2)[1]
    with pytest.raises(ValueError, match="does not follow"):
        append(store, second)
    assert list(store.identifiers()) == []
