"""Receipts are collected, kept and handed on, whatever witnesses answer and whenever it ends."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import digest
from keystead.cesr.writing import write_groups
from keystead.custody.records import KeyRecord
from keystead.errors import ErrorCode, KeystoreError, TransportError, UsageError
from keystead.keri.attachments import Claims
from keystead.keri.events import KeyEvent
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Source
from keystead.owner import identifiers as ids
from keystead.owner import renewal
from keystead.owner.exporting import log_stream, mark_given, outgoing
from keystead.owner.intake import take_in
from keystead.owner.introducing import find_witness
from keystead.owner.life import keys_of
from keystead.owner.outbox import (
    FIRST_DELAY,
    LONGEST_DELAY,
    MOST_FAREWELLS,
    Delivery,
    Outgoing,
    Step,
    back_off,
    find_outgoing,
    submissions,
)
from keystead.owner.plans import Change, Creation
from keystead.owner.records import Note
from keystead.owner.settlement import reconcile
from keystead.owner.shredding import doomed
from keystead.owner.wallet import IDENTIFIER, IdentifierRecord, parse_event
from keystead.owner.witnesses import is_witnessed, lacking, receipts
from keystead.owner.witnessing import collect, put_delivery
from keystead.services.http import Request, Response
from keystead.testing.authoring import Author, witness
from support.logs import Node
from support.stub_witnesses import (
    CESR,
    StubWitness,
    failing,
    local_transport,
    stub_witnesses,
)
from support.wallets import LocalWallet, judged, make_wallet, open_again, reopen, snapshot

SEAL = DigestSeal(digest(b"data"))


@pytest.fixture(name="pool")
def _pool() -> Iterator[list[StubWitness]]:
    with stub_witnesses(4) as found:
        yield found


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    return make_wallet(tmp_path)


def _create(
    wallet: LocalWallet, pool: list[StubWitness], threshold: int | None = None
) -> IdentifierRecord:
    """Make an identifier with witnesses, and collect what comes at once."""
    aids = tuple(find_witness(wallet, local_transport(), one.url) for one in pool)
    record = ids.create(wallet, "alice", Creation(witnesses=aids, witness_threshold=threshold))
    collect(wallet, local_transport())
    return record


def _have(wallet: LocalWallet, sn: int) -> int:
    """Return how many receipts an event has."""
    event = wallet.events.event(wallet.identifier("alice").aid, sn)
    assert event is not None
    return len(receipts(event))


def test_all_witnesses_get_all_receipts(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Each receipts the event and is given the receipts of the others; then nothing is left."""
    record = _create(wallet, pool[:3])
    assert _have(wallet, 0) == 3
    assert [one.receipts(record.aid, 0) for one in pool[:3]] == [2, 2, 2]
    assert submissions(wallet) == []
    assert outgoing(wallet, "alice") == []  # what witnesses have needs no export
    judged(wallet, "alice")


def test_nobody_is_asked_twice(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """When all is done, to collect again asks nobody."""
    _create(wallet, pool[:2])
    asked = [list(one.asked) for one in pool[:2]]
    done = collect(wallet, local_transport(), at_once=True)
    assert (done.receipts, done.left, done.next_at) == (0, 0, None)
    assert [one.asked for one in pool[:2]] == asked


def test_a_new_witness_gets_the_log_first(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """It has the whole log, with the receipts of earlier events; the one that is cut is told."""
    record = _create(wallet, pool[:3], 2)
    ids.anchor(wallet, "alice", [SEAL])
    collect(wallet, local_transport())
    new = find_witness(wallet, local_transport(), pool[3].url)
    change = Change(witnesses_added=(new,), witnesses_removed=(pool[0].aid,))
    ids.rotate(wallet, "alice", change)
    collect(wallet, local_transport())
    assert _have(wallet, 2) == 3
    assert [pool[3].receipts(record.aid, sn) for sn in range(3)] == [3, 3, 2]
    assert len(pool[0].node.trunk(record.aid)) == 3
    state = wallet.events.key_state(record.aid)
    assert state is not None
    assert state.establishment.witness_threshold == 2
    assert submissions(wallet) == []
    judged(wallet, "alice")


def test_events_reach_a_witness_in_their_order(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """One that was away gets each event that it has missed, one after another."""
    record = _create(wallet, pool[:3], 2)
    pool[2].instead = failing
    for _ in range(3):
        ids.anchor(wallet, "alice", [SEAL])
        collect(wallet, local_transport())
    assert pool[2].shown == [0]
    pool[2].instead = lambda _: None
    collect(wallet, local_transport(), at_once=True)
    wallet.clock.advance(timedelta(hours=2))
    collect(wallet, local_transport())
    assert pool[2].shown == [0, 1, 2, 3]
    assert [pool[2].receipts(record.aid, sn) for sn in (1, 2, 3)] == [2, 2, 2]
    assert [_have(wallet, sn) for sn in (1, 2, 3)] == [3, 3, 3]
    assert submissions(wallet) == []


def test_nothing_follows_an_event_without_receipts(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """Neither rotation nor anchor nor end, and old keys stay, until there are enough."""
    _create(wallet, pool[:2])
    record = wallet.identifier("alice")
    (old,) = [one for one in _keys(wallet) if one.state == "active"]
    for one in pool:
        one.instead = failing
    ids.rotate(wallet, "alice", Change())
    collect(wallet, local_transport())
    assert [(one.aid, one.event.sn) for one in lacking(wallet)] == [(record.aid, 1)]
    attempts: tuple[Callable[[], object], ...] = (
        partial(ids.rotate, wallet, "alice", Change()),
        partial(ids.anchor, wallet, "alice", [SEAL]),
        partial(ids.abandon, wallet, "alice"),
    )
    for attempt in attempts:
        with pytest.raises(KeystoreError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.UNWITNESSED
    with pytest.raises(KeystoreError) as kept:
        doomed(wallet, _key(wallet, old.id))
    assert kept.value.code is ErrorCode.LIFE_STATE
    assert "receipts" in kept.value.message
    for one in pool:
        one.instead = lambda _: None
    collect(wallet, local_transport(), at_once=True)
    assert lacking(wallet) == []
    assert [one.id for one in doomed(wallet, _key(wallet, old.id))] == [old.id]
    ids.anchor(wallet, "alice", [SEAL])


def _event(request: Request) -> KeyEvent:
    """Return the event in a request."""
    event = parse_event(request.body)
    assert isinstance(event, KeyEvent)
    return event


def _keys(wallet: LocalWallet) -> list[KeyRecord]:
    return keys_of(wallet, wallet.identifier("alice").aid)


def _key(wallet: LocalWallet, key_id: str) -> KeyRecord:
    found = wallet.key(key_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "kind", ["other key", "other event", "garbage", "empty", "huge", "truncated", "no log", "error"]
)
def test_a_wrong_answer_is_one_witness_s_fault(
    wallet: LocalWallet, pool: list[StubWitness], kind: str
) -> None:
    """It costs that witness a try, and nobody else anything; later it may answer rightly."""
    bad = pool[0]
    stranger = witness("somebody else")
    other = Author("another").incept().event

    def wrong(request: Request) -> Response | None:
        if (request.method, request.path) != ("POST", "/receipts"):
            return None
        event = _event(request)
        good = bad.receipt(event)
        bodies = {
            "other key": bad.receipt(event, by=stranger),
            "other event": bad.receipt(other),
            "garbage": b"\x00\xff" * 50,
            "empty": b"",
            "huge": b" " * (5 * 1024 * 1024),
            "truncated": good[:-10],
            "no log": request.body,
        }
        return Response(500) if kind == "error" else Response(body=bodies[kind], content_type=CESR)

    bad.instead = wrong
    record = _create(wallet, pool[:3], 2)
    assert _have(wallet, 0) == 2
    work = find_outgoing(wallet, record.aid, 0)
    assert work is not None
    failed = work.delivery(bad.aid)
    assert failed is not None
    assert (failed.step, failed.attempts) == (Step.SUBMIT, 1)
    assert failed.code
    assert failed.detail
    bad.instead = lambda _: None
    collect(wallet, local_transport(), at_once=True)
    assert _have(wallet, 0) == 3
    assert submissions(wallet) == []


def test_what_a_witness_holds_back_is_asked_for_later(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """After 202 the receipt is asked for; if it is not there, the event is given again."""
    answers = [Response(202), Response(404), Response(202)]

    def slow(request: Request) -> Response | None:
        return answers.pop(0) if "/receipts" in request.path and answers else None

    pool[0].instead = slow
    _create(wallet, pool[:1])
    for _ in range(4):
        wallet.clock.advance(timedelta(minutes=1))
        collect(wallet, local_transport())
    told = [one for one in pool[0].asked if "/receipts" in one]
    post, get = "POST /receipts", "GET /receipts"
    assert told == [post, get, post, get, post]
    assert _have(wallet, 0) == 1


def test_a_witness_that_lacks_an_event_gets_the_log(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """One that holds a later event back, since an earlier one was given up, catches up."""
    record = _create(wallet, pool[:3], 2)
    pool[0].instead = failing
    ids.anchor(wallet, "alice", [SEAL])
    collect(wallet, local_transport())
    renewal.give_up(wallet, record.aid)
    pool[0].instead = lambda _: None
    ids.anchor(wallet, "alice", [SEAL])
    for _ in range(3):
        collect(wallet, local_transport(), at_once=True)
    assert len(pool[0].node.trunk(record.aid)) == 3
    assert _have(wallet, 2) == 3
    assert submissions(wallet) == []


def test_work_survives_the_end_of_the_process(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Another process goes on where the first one ended, with the same bytes."""
    pool[0].instead = failing
    record = _create(wallet, pool[:2])
    sent = b"".join(log_stream(wallet, "alice"))
    later = reopen(wallet)
    assert [one.sn for one in submissions(later)] == [0]
    pool[0].instead = lambda _: None
    wallet.clock.advance(timedelta(hours=2))
    collect(later, local_transport())
    assert _have(later, 0) == 2
    assert pool[0].node.trunk(record.aid) == pool[1].node.trunk(record.aid)
    assert sent[:200] == b"".join(log_stream(later, "alice"))[:200]


def test_what_was_answered_before_a_crash_is_asked_for_again(
    wallet: LocalWallet, pool: list[StubWitness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same event gets the same receipt; nothing is there twice."""

    class Power(Exception):  # noqa: N818 - what happens
        pass

    def gone(mine: LocalWallet, work: Outgoing, delivery: Delivery) -> None:
        if delivery.step is Step.DONE:
            raise Power
        put_delivery(mine, work, delivery)

    with monkeypatch.context() as patched:
        patched.setattr("keystead.owner.witnessing.put_delivery", gone)
        with pytest.raises(Power):
            _create(wallet, pool[:1])
        pool[0].shown.clear()
    assert _have(wallet, 0) == 0
    collect(wallet, local_transport())
    assert _have(wallet, 0) == 1
    assert pool[0].shown == [0]
    event = wallet.events.event(wallet.identifier("alice").aid, 0)
    assert event is not None
    assert len(event.proofs.witness_signatures) == 1
    assert event.proofs.couples == ()


def test_tries_get_rarer(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """A witness that does not answer is not asked before its time, and never given up."""
    _create(wallet, pool[:2], 1)
    pool[0].instead = failing
    ids.anchor(wallet, "alice", [SEAL])
    for attempts in range(1, 20):
        done = collect(wallet, local_transport())
        assert done.next_at is not None
        asked = len(pool[0].asked)
        collect(wallet, local_transport())
        assert len(pool[0].asked) == asked
        wait = done.next_at - wallet.now()
        assert wait <= min(FIRST_DELAY * 2 ** (attempts - 1), LONGEST_DELAY)
        wallet.clock.at = done.next_at
    assert wait > LONGEST_DELAY / 3


def test_a_witness_may_ask_for_patience(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Retry-After is heeded, up to an hour; what is no number of seconds is nothing."""
    for told, least, most in (("120", 120, 121), ("999999", 3599, 3601), ("tomorrow", 0, 2)):
        pool[0].instead = partial(_patient, told)
        if not submissions(wallet):
            _create(wallet, pool[:1])
        done = collect(wallet, local_transport(), at_once=True)
        assert done.next_at is not None
        seconds = (done.next_at - wallet.now()).total_seconds()
        assert least <= seconds <= most, told


def _patient(told: str, request: Request) -> Response | None:
    answer = Response(503, headers={"Retry-After": told})
    return None if request.path == "/oobi" else answer


def test_back_off_is_bounded() -> None:
    """However often it failed, the next try comes within an hour and not at once."""
    for attempts in (1, 2, 10, 40, 10**6):
        delay = back_off(attempts, "B")
        assert FIRST_DELAY / 2 <= delay <= LONGEST_DELAY
    assert back_off(3, "one") != back_off(3, "another")


def test_a_cut_witness_that_is_gone_holds_nothing_up(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """What it missed is struck off; the farewell is tried a few times and then let be."""
    _create(wallet, pool[:3], 2)
    pool[0].instead = failing
    ids.anchor(wallet, "alice", [SEAL])
    collect(wallet, local_transport())
    assert [one.sn for one in submissions(wallet)] == [1]
    change = Change(witnesses_removed=(pool[0].aid,), witness_threshold=2)
    ids.rotate(wallet, "alice", change)
    for _ in range(MOST_FAREWELLS + 1):
        collect(wallet, local_transport(), at_once=True)
    assert submissions(wallet) == []
    assert _have(wallet, 2) == 2


def test_another_event_at_its_place_is_kept_as_evidence(
    tmp_path: Path, pool: list[StubWitness]
) -> None:
    """A wallet that is behind is told so, signs nothing more, and has the proof."""
    wallet = make_wallet(tmp_path / "one")
    record = _create(wallet, pool[:2], 1)
    mirror = open_again(_copied(wallet, tmp_path / "two"), clock=wallet.clock)
    reconcile(mirror, "alice", wallet.events)
    ids.anchor(mirror, "alice", [DigestSeal(digest(b"another"))])
    collect(mirror, local_transport())
    ids.anchor(wallet, "alice", [SEAL])
    collect(wallet, local_transport())
    work = find_outgoing(wallet, record.aid, 1)
    assert work is not None
    assert {one.step for one in work.deliveries} == {Step.REFUSED}
    assert {one.code for one in work.deliveries} == {ErrorCode.BEHIND}
    (evidence,) = wallet.events.duplicity(record.aid)
    assert evidence.other.sn == 1
    assert wallet.identifier("alice").forked
    with pytest.raises(KeystoreError) as caught:
        ids.anchor(wallet, "alice", [SEAL])
    assert caught.value.code is ErrorCode.BEHIND


def _copied(wallet: LocalWallet, folder: Path) -> Path:
    snapshot(wallet, folder / "home")
    return folder


def test_a_lying_witness_stops_nobody(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """To speak of another event is not enough: the keys of the log must have signed it."""
    stranger = Author("stranger").incept()

    def lies(request: Request) -> Response | None:
        if request.path == "/query":
            return Response(body=stranger.framed + b"{", content_type=CESR)
        return Response(409) if request.path == "/receipts" else None

    pool[0].instead = lies
    _create(wallet, pool[:2], 1)
    assert not wallet.identifier("alice").forked
    assert wallet.events.duplicity(wallet.identifier("alice").aid) == ()
    ids.anchor(wallet, "alice", [SEAL])


def _thief(
    wallet: LocalWallet, tmp_path: Path, *steps: Callable[[LocalWallet], object]
) -> Callable[[Request], Response | None]:
    """Have somebody with a copy of the keys sign; return how a lying witness tells of it."""
    there = open_again(_copied(wallet, tmp_path / "thief"), clock=wallet.clock)
    reconcile(there, "alice", wallet.events)
    with pytest.MonkeyPatch.context() as program:
        # His program does not care for receipts.
        program.setattr(ids, "check_witnessed", lambda *_: None)
        for step in steps:
            step(there)
    made = [
        one.event.raw
        + write_groups([Group(GroupKind.CONTROLLER_SIGNATURES, one.proofs.signatures)])
        for one in there.events.events(wallet.identifier("alice").aid)
    ]

    def lies(request: Request) -> Response | None:
        if request.path == "/query":
            return Response(body=b"".join(made), content_type=CESR)
        return Response(409) if request.path == "/receipts" else None

    return lies


def _anchor_other(wallet: LocalWallet) -> object:
    return ids.anchor(wallet, "alice", [DigestSeal(digest(b"theft"))])


def _rotate(wallet: LocalWallet) -> object:
    return ids.rotate(wallet, "alice", Change())


@pytest.mark.parametrize("more", [0, 1])
def test_a_thief_and_a_lying_witness_do_not_stop_a_recovery(
    tmp_path: Path,
    pool: list[StubWitness],
    more: int,
) -> None:
    """The rotation takes the interaction back, so the owner goes on; that a key was used is told."""
    wallet = make_wallet(tmp_path / "one")
    record = _create(wallet, pool[:3], 2)
    pool[0].instead = _thief(wallet, tmp_path, *[_anchor_other] * (1 + more))
    _rotate(wallet)
    collect(wallet, local_transport())
    assert not wallet.identifier("alice").forked
    assert wallet.events.duplicity(record.aid) == ()
    work = find_outgoing(wallet, record.aid, 1)
    assert work is not None
    told = work.delivery(pool[0].aid)
    assert told is not None
    assert (told.step, told.code) == (Step.SUBMIT, ErrorCode.KEY_MISUSED)
    assert "somebody else signed" in told.detail
    _rotate(wallet)


@pytest.mark.parametrize("steps", [(_rotate,), (_anchor_other, _rotate)])
def test_a_thief_of_the_next_keys_does_stop_it(
    tmp_path: Path, pool: list[StubWitness], steps: tuple[Callable[[LocalWallet], object], ...]
) -> None:
    """Another rotation by the next keys excludes the own one; nothing of it is taken over."""
    wallet = make_wallet(tmp_path / "one")
    record = _create(wallet, pool[:3], 2)
    pool[0].instead = _thief(wallet, tmp_path, *steps)
    if len(steps) == 1:
        ids.anchor(wallet, "alice", [SEAL])
    else:
        _rotate(wallet)
    own = wallet.events.key_state(record.aid)
    collect(wallet, local_transport())
    assert wallet.identifier("alice").forked
    assert wallet.events.key_state(record.aid) == own
    with pytest.raises(KeystoreError) as caught:
        reconcile(wallet, "alice", pool[1].node.store)
    assert caught.value.code is ErrorCode.BEHIND


def test_a_fork_that_is_none_is_cleared(tmp_path: Path, pool: list[StubWitness]) -> None:
    """A mark and evidence that an earlier version left go when an honest log has the rotation."""
    wallet = make_wallet(tmp_path / "one")
    record = _create(wallet, pool[:3], 2)
    lies = _thief(wallet, tmp_path, _anchor_other)
    _rotate(wallet)
    collect(wallet, local_transport())
    answer = lies(Request("GET", "/query", "", {}, b"", ""))
    assert answer is not None
    with wallet.store.transaction():
        take_in(wallet, [answer.body], own=(record.aid,), source=Source.LOCAL)
        batch, why = wallet.batch(), f"witness {pool[0].aid} holds another event 1"
        seen = msgspec.structs.replace(wallet.identifier("alice"), forked=True)
        batch.put(IDENTIFIER, record.aid, seen, Note("fork seen", why), tag="alice")
        batch.write()
    assert len(wallet.events.duplicity(record.aid)) == 1
    with pytest.raises(KeystoreError):
        _rotate(wallet)
    reconcile(wallet, "alice", pool[1].node.store)
    assert not wallet.identifier("alice").forked
    _rotate(wallet)


def test_giving_up_and_taking_up_again(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Work for one witness or all goes, the event stays; it can be taken up again."""
    pool[0].instead = pool[1].instead = failing
    record = _create(wallet, pool[:2])
    assert renewal.give_up(wallet, record.aid, witness=pool[0].aid) == 1
    assert renewal.give_up(wallet, record.aid, sn=0) == 1
    assert submissions(wallet) == []
    with pytest.raises(UsageError) as caught:
        renewal.give_up(wallet, record.aid)
    assert caught.value.code is ErrorCode.UNKNOWN
    assert wallet.events.event(record.aid, 0) is not None
    assert renewal.take_up_again(wallet) == 1
    assert renewal.take_up_again(wallet) == 0
    pool[0].instead = pool[1].instead = lambda _: None
    collect(wallet, local_transport())
    assert _have(wallet, 0) == 2
    assert renewal.take_up_again(wallet) == 0


def test_what_was_given_up_stays_so(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """A command that is at work meanwhile does not bring it back."""
    pool[0].instead = failing
    record = _create(wallet, pool[:2], 1)
    (work,) = submissions(wallet)
    renewal.give_up(wallet, record.aid)
    with wallet.store.transaction():
        put_delivery(wallet, work, Delivery(pool[0].aid, Step.SUBMIT, attempts=2))
    assert submissions(wallet) == []


def test_receipts_come_back_with_the_log(tmp_path: Path, pool: list[StubWitness]) -> None:
    """A copy that takes over published events has their receipts too, so that it can go on."""
    wallet = make_wallet(tmp_path / "one")
    _create(wallet, pool[:2])
    mirror = open_again(_copied(wallet, tmp_path / "two"), clock=wallet.clock)
    ids.rotate(wallet, "alice", Change())
    collect(wallet, local_transport())
    published = Node()
    published.accept(*log_stream(wallet, "alice"))
    settled = reconcile(mirror, "alice", published.store)
    assert settled.adopted == 1
    assert _have(mirror, 1) == 2
    ids.rotate(mirror, "alice", Change())
    collect(mirror, local_transport())
    assert _have(mirror, 2) == 2


def test_an_export_does_not_end_the_work(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """What witnesses have to get is not done by a file; others see that receipts are missing."""
    pool[0].instead = failing
    record = _create(wallet, pool[:2])
    given = outgoing(wallet, "alice")
    assert given == []
    mark_given(wallet, given)
    assert [one.sn for one in submissions(wallet)] == [0]
    there = Node()
    (pending,) = [there.feed(one) for one in log_stream(wallet, "alice")]
    assert type(pending).__name__ == "Pending"
    assert there.store.key_state(record.aid) is None


def test_who_is_no_witness(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """An identifier that nobody knows, text that is no URL, and a place without a location."""
    with pytest.raises(UsageError) as unknown:
        find_witness(wallet, local_transport(), pool[0].aid)
    assert unknown.value.code is ErrorCode.UNKNOWN
    with pytest.raises(UsageError) as text:
        find_witness(wallet, local_transport(), "somewhere")
    assert text.value.code is ErrorCode.ARGUMENT
    pool[0].instead = lambda _: Response(404)
    with pytest.raises(TransportError):
        find_witness(wallet, local_transport(), pool[0].url)
    pool[0].instead = lambda _: None
    assert find_witness(wallet, local_transport(), pool[0].url) == pool[0].aid
    assert find_witness(wallet, local_transport(), pool[0].aid) == pool[0].aid


def test_time_that_is_up_begins_nothing(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Whoever may not wait asks nobody, and nothing is lost."""
    aid = find_witness(wallet, local_transport(), pool[0].url)
    ids.create(wallet, "alice", Creation(witnesses=(aid,)))
    asked = len(pool[0].asked)
    done = collect(wallet, local_transport(), patience=lambda: 0)
    assert (done.receipts, done.left) == (0, 1)
    assert len(pool[0].asked) == asked
    collect(wallet, local_transport())
    event = wallet.events.event(wallet.identifier("alice").aid, 0)
    assert event is not None
    assert is_witnessed(event)


def test_a_witness_without_a_place_is_told(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Its work waits, with the reason; the others go on."""
    nowhere = witness("nowhere").aid
    aid = find_witness(wallet, local_transport(), pool[0].url)
    creation = Creation(witnesses=(nowhere, aid), witness_threshold=1)
    record = ids.create(wallet, "alice", creation)
    collect(wallet, local_transport())
    assert _have(wallet, 0) == 1
    work = find_outgoing(wallet, record.aid, 0)
    assert work is not None
    lost = work.delivery(nowhere)
    assert lost is not None
    assert lost.code == ErrorCode.UNKNOWN


def test_claims_of_strangers_are_not_kept(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Beside its own receipt a witness can slip nothing in."""
    stranger = witness("somebody else")

    def more(request: Request) -> Response | None:
        if request.path != "/receipts":
            return None
        event = _event(request)
        own, other = pool[0].receipt(event), pool[0].receipt(event, by=stranger)
        return Response(body=own + other, content_type=CESR)

    pool[0].instead = more
    record = _create(wallet, pool[:1])
    event = wallet.events.event(record.aid, 0)
    assert event is not None
    assert Claims(couples=event.proofs.couples) == Claims()
    assert _have(wallet, 0) == 1


def _noting(codes: list[str]) -> Callable[[Request], None]:
    """Note which code each request carries."""

    def note(request: Request) -> None:
        codes.append(request.headers.get("keystead-invitation", ""))

    return note


def test_a_code_goes_to_its_witness_until_that_took_the_event(
    wallet: LocalWallet, pool: list[StubWitness], tmp_path: Path
) -> None:
    """Each request until the receipt carries it, no other witness sees it; then it is forgotten."""
    aids = tuple(find_witness(wallet, local_transport(), one.url) for one in pool[:2])
    record = ids.create(wallet, "alice", Creation(witnesses=aids))
    renewal.invite(wallet, record.aid, {aids[0]: "open-sesame"})
    stored = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    assert b"open-sesame" not in stored  # it is sealed
    codes: list[list[str]] = [[], []]
    for one, seen in zip(pool, codes, strict=False):
        one.instead = _noting(seen)
    collect(wallet, local_transport())
    asked = [one.asked[1:] for one in pool[:2]]  # the first was who it is
    assert asked == [["POST /receipts", "PUT /"]] * 2
    assert codes == [["open-sesame", ""], ["", ""]]
    assert submissions(wallet) == []
    ids.anchor(wallet, "alice", [SEAL])
    collect(wallet, local_transport())
    assert codes[0][2:] == ["", ""]


def test_who_was_shut_out_gets_the_log_with_the_next_code(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """A new witness that refused a code needs what came before the event, with the right one."""
    record = _create(wallet, pool[:2], 1)
    new = find_witness(wallet, local_transport(), pool[2].url)

    def closed(request: Request) -> Response | None:
        good = request.headers.get("keystead-invitation") == "right"
        return None if good else Response(403)

    pool[2].instead = closed
    ids.rotate(wallet, "alice", Change(witnesses_added=(new,), witness_threshold=2))
    renewal.invite(wallet, record.aid, {new: "wrong"})
    collect(wallet, local_transport())
    (work,) = submissions(wallet)
    left = work.delivery(new)
    assert left is not None
    assert (left.step, left.code) == (Step.INTRODUCE, ErrorCode.NOT_ADMITTED)
    assert "does not take the invitation" in left.detail
    renewal.invite(wallet, record.aid, {new: "right"})
    collect(wallet, local_transport())
    assert _have(wallet, 1) == 3
    assert len(pool[2].node.trunk(record.aid)) == 2


def test_a_code_that_is_given_up_is_forgotten(wallet: LocalWallet, pool: list[StubWitness]) -> None:
    """Neither work that was given up nor work for a receipt that came keeps one."""
    aids = tuple(find_witness(wallet, local_transport(), one.url) for one in pool[:2])
    record = ids.create(wallet, "alice", Creation(witnesses=aids))
    renewal.invite(wallet, record.aid, dict.fromkeys(aids, "code"))
    renewal.give_up(wallet, record.aid, witness=aids[0])
    (work,) = submissions(wallet)
    assert [one.invitation for one in work.deliveries] == ["", "code"]


def test_who_is_refused_again_and_again_is_asked_less_often(
    wallet: LocalWallet, pool: list[StubWitness]
) -> None:
    """To be introduced anew in between does not begin the count anew."""
    aid = find_witness(wallet, local_transport(), pool[0].url)
    ids.create(wallet, "alice", Creation(witnesses=(aid,)))
    pool[0].instead = lambda _: Response(403)
    for attempts in (1, 2, 3):
        collect(wallet, local_transport(), at_once=True)
        (work,) = submissions(wallet)
        assert work.deliveries[0].attempts == attempts
