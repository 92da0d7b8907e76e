"""Crashes, restored copies, copied wallets: no second event for one place, and nothing lost."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import pkcs11
import pytest

from keystead import suites
from keystead.cesr.keys import Aid, Digest, digest, make_key
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeysteadError, StoreError
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.seals import DigestSeal
from keystead.keri.thresholds import Field
from keystead.owner import delegation, events, life, shredding, signing, tokens
from keystead.owner import identifiers as ids
from keystead.owner.plans import Change, Creation
from keystead.owner.settlement import Settled, reconcile, settle, unreconciled
from keystead.owner.wallet import TokenRecord
from keystead.ports.events import EventStore
from keystead.ports.keys import Mark
from keystead.stores.memory import MemoryStore
from keystead.suites import Suite
from support.softhsm import PIN, softhsm
from support.wallets import (
    LocalWallet,
    Power,
    copy,
    crash_before_keeping,
    judged,
    make_wallet,
    open_again,
    put_back,
    reopen,
    snapshot,
)

SEAL = DigestSeal(digest(b"data"))


def behind(wallet: LocalWallet, *names: str) -> None:
    """Check that the wallet signs nothing for identifiers, and says why."""
    for name in names:
        attempts: tuple[Callable[[], object], ...] = (
            partial(ids.rotate, wallet, name, Change()),
            partial(ids.anchor, wallet, name, [SEAL]),
            partial(ids.abandon, wallet, name),
        )
        for attempt in attempts:
            with pytest.raises(KeysteadError) as caught:
                attempt()
            assert caught.value.code is ErrorCode.BEHIND
            assert "id reconcile" in caught.value.hint


def published(wallet: LocalWallet, *names: str) -> EventStore:
    """Return the logs that a wallet exports, as others keep them."""
    return judged(wallet, *names).store


def log(wallet: LocalWallet, name: str) -> list[AcceptedEvent]:
    """Return the log of an identifier."""
    return list(wallet.events.events(wallet.identifier(name).aid))


def three(folder: Path) -> LocalWallet:
    """Make a wallet with some identifiers that have logs."""
    wallet = make_wallet(folder)
    for name in ("alice", "bob", "carol"):
        ids.create(wallet, name, Creation(keys=2))
        ids.rotate(wallet, name, Change())
    return wallet


CHANGES = (
    Change(),
    Change(next_keys=3),
    Change(suite=Suite.SECP256R1),
    Change(suite=Suite.SECP256K1, next_keys=3, next_threshold=["1/2", "1/2", "1/2"]),
    Change(anchors=(SEAL,)),
    Change(reserve=(digest(b"aunt"),), next_threshold=["1/2", "1/2", "1"]),
    Change(suite=Suite.SECP256R1, reserve=(digest(b"aunt"),), next_threshold=["1/2", "1/2", "1"]),
    Change(last=True),
)


@pytest.mark.parametrize("interrupted", CHANGES)
@pytest.mark.parametrize("following", ["anchor", "rotate", "settle"])
def test_an_interrupted_rotation_is_finished_before_another_event(
    tmp_path: Path, interrupted: Change, following: str
) -> None:
    """Whatever it was, its keys are found again, and the log can go on behind it."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, "alice", Creation(keys=2))
    with crash_before_keeping():
        ids.rotate(wallet, "alice", interrupted)
    (mark,) = wallet.vault.marks([record.aid])
    assert mark is not None
    wallet = reopen(wallet)
    assert len(log(wallet, "alice")) == 1
    if following == "settle":
        assert settle(wallet, record)
        assert not settle(wallet, wallet.identifier("alice"))
    elif interrupted.last:
        with pytest.raises(KeysteadError, match="ended at 1"):
            ids.anchor(wallet, "alice", [SEAL])
    elif following == "anchor":
        ids.anchor(wallet, "alice", [SEAL])
    else:
        ids.rotate(wallet, "alice", Change(anchors=(SEAL, SEAL)))
    assert log(wallet, "alice")[1].event.raw == mark.raw
    last = log(wallet, "alice")[1].state.establishment
    kept = {digest(b"aunt")} & set(last.next_key_digests)
    if not interrupted.last:
        ids.rotate(wallet, "alice", Change())
        ids.rotate(wallet, "alice", Change())
    assert {wallet.key(one).state for one in kept if wallet.key(one)} <= {State.RESERVE}  # type: ignore[union-attr] # as asked
    judged(wallet, "alice")


@pytest.fixture(name="office")
def _office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenRecord]:
    """Give a token."""
    hsm = softhsm(tmp_path / "hsm")
    for name, value in hsm.environment.items():
        monkeypatch.setenv(name, value)
    hsm.add("office")
    pkcs11.lib(hsm.module).finalize()
    yield TokenRecord("office", hsm.module, "office")
    pkcs11.lib(hsm.module).finalize()


@pytest.mark.parametrize("reserve", [(), (digest(b"aunt"),)])
@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256R1])
@pytest.mark.parametrize("before", ["", "office"])
def test_an_interrupted_rotation_into_or_out_of_a_token_is_finished(
    tmp_path: Path, office: TokenRecord, before: str, suite: Suite, reserve: tuple[Digest, ...]
) -> None:
    """Keys in the token are found again as own ones, whatever is asked for next."""
    wallet = make_wallet(tmp_path / "machine")
    tokens.add_token(wallet, office, PIN.decode())
    record = ids.create(wallet, "alice", Creation(keys=2, token=before))
    weights: list[Field] = ["1", "1", "0"]
    change = Change(
        token="" if before else "office",
        suite=suite,
        reserve=reserve,
        next_threshold=weights[: 2 + len(reserve)],
    )
    with crash_before_keeping():
        ids.rotate(wallet, "alice", change)
    wallet = reopen(wallet)
    ids.anchor(wallet, "alice", [SEAL])
    assert log(wallet, "alice")[1].event.sn == 1
    found = wallet.identifier("alice")
    assert [(one.suite, one.token) for one in found.lines] == [(suite.name, change.token)] * 2
    assert found.slots == record.slots + 2
    for _ in range(2):
        ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice")


def test_an_interrupted_anchor_is_finished_too(tmp_path: Path) -> None:
    """The next event comes behind it; the same anchor again is that very event."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, "alice", Creation())
    for again in (True, False):
        with crash_before_keeping():
            ids.anchor(wallet, "alice", [SEAL])
        (mark,) = wallet.vault.marks([record.aid])
        assert mark is not None
        wallet = reopen(wallet)
        wallet.clock.advance(timedelta(days=1))
        if again:
            assert ids.anchor(wallet, "alice", [SEAL]).event.raw == mark.raw
        else:
            ids.rotate(wallet, "alice", Change())
            assert log(wallet, "alice")[-2].event.raw == mark.raw
    assert len(log(wallet, "alice")) == 4
    judged(wallet, "alice")


def test_a_request_that_is_refused_does_not_undo_the_finishing(tmp_path: Path) -> None:
    """The interrupted event stays finished when what was asked for then cannot be."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change())
    with pytest.raises(KeysteadError):
        ids.rotate(wallet, "alice", Change(threshold="5"))
    assert len(log(wallet, "alice")) == 2


def test_an_older_copy_on_the_same_machine_is_found_out(tmp_path: Path) -> None:
    """Marks tell that events are missing; the published log brings them back."""
    wallet = three(tmp_path / "machine")
    old = snapshot(wallet, tmp_path / "old")
    for change in (Change(next_keys=3), Change(suite=Suite.SECP256R1), Change()):
        ids.rotate(wallet, "alice", change)
    ids.anchor(wallet, "bob", [SEAL])
    ids.rotate(wallet, "bob", Change())
    outside = published(wallet, "alice", "bob", "carol")
    wallet = put_back(wallet, old)
    behind(wallet, "alice", "bob", "carol")
    with pytest.raises(KeysteadError, match="older copy"):
        ids.create(wallet, "dave", Creation())
    assert reconcile(wallet, "alice", outside).adopted == 3
    behind(wallet, "bob")
    assert [one.name for one in unreconciled(wallet)] == ["bob"]
    ids.rotate(wallet, "carol", Change())
    assert reconcile(wallet, "bob", outside).adopted == 2
    for name in ("alice", "bob"):
        ids.rotate(wallet, name, Change())
    ids.create(wallet, "dave", Creation())
    judged(wallet, "alice", "bob", "carol", "dave")
    assert [one.event.sn for one in log(wallet, "alice")] == list(range(6))


def test_a_copy_on_another_machine_signs_for_what_was_compared_alone(tmp_path: Path) -> None:
    """Each identifier by itself has to be compared; what is new there is free."""
    wallet = three(tmp_path / "here")
    there = copy(wallet, tmp_path / "there")
    behind(there, "alice", "bob", "carol")
    with pytest.raises(KeysteadError, match="copied or restored"):
        ids.create(there, "dave", Creation())
    ids.rotate(wallet, "alice", Change())
    ids.rotate(wallet, "bob", Change())
    outside = published(wallet, "alice", "bob")
    told = reconcile(there, "alice", outside)
    assert told == Settled("alice", there.identifier("alice").aid, 2, adopted=1)
    behind(there, "bob", "carol")
    ids.rotate(there, "alice", Change())
    behind(there, "bob", "carol")
    ids.create(there, "dave", Creation())
    ids.rotate(there, "dave", Change())
    with pytest.raises(KeysteadError, match="log of carol was not given"):
        reconcile(there, "carol", outside)
    reconcile(there, "carol", outside, accept_duplicity=True)
    ids.rotate(there, "carol", Change())
    judged(there, "alice", "bob", "carol", "dave")


def test_new_identifiers_of_two_copies_share_no_keys(tmp_path: Path) -> None:
    """A copy makes new ones under a seed of its own, although both count alike."""
    wallet = three(tmp_path / "here")
    there = copy(wallet, tmp_path / "there")
    reconcile(there, "alice", published(wallet, "alice"))
    assert there.state().epoch == 1
    reconcile(there, "bob", published(wallet, "bob"))
    assert there.state().epoch == 1
    made = [ids.create(one, "dave", Creation()) for one in (wallet, there)]
    assert made[0].aid != made[1].aid
    digests = {log(one, "dave")[0].state.establishment.next_key_digests for one in (wallet, there)}
    assert len(digests) == 2


def test_a_wallet_that_comes_back_from_another_machine_is_compared_first(tmp_path: Path) -> None:
    """Events that were signed elsewhere tell that the wallet is used there."""
    wallet = three(tmp_path / "here")
    there = copy(wallet, tmp_path / "there")
    reconcile(there, "alice", published(wallet, "alice"))
    ids.rotate(there, "alice", Change())
    wallet = put_back(wallet, snapshot(there, tmp_path / "back"))
    behind(wallet, "alice")
    with pytest.raises(KeysteadError, match="signed on another machine"):
        ids.rotate(wallet, "alice", Change())
    ids.rotate(wallet, "bob", Change())
    assert reconcile(wallet, "alice", published(there, "alice")).adopted == 0
    ids.rotate(wallet, "alice", Change())


def test_two_copies_that_were_both_used_are_told_apart(tmp_path: Path) -> None:
    """Against the log of the other copy nothing helps but to stop using one of them.

    That is the one that did not rotate: the rotation stands, so the other has to give way.
    """
    wallet = three(tmp_path / "here")
    there = copy(wallet, tmp_path / "there")
    reconcile(there, "alice", MemoryStore(), accept_duplicity=True)
    ids.rotate(there, "alice", Change())
    ids.anchor(wallet, "alice", [SEAL])
    with pytest.raises(KeysteadError, match="another version") as caught:
        reconcile(wallet, "alice", published(there, "alice"))
    assert caught.value.code is ErrorCode.BEHIND
    assert "keep the other" in caught.value.hint
    assert reconcile(there, "alice", published(wallet, "alice")).adopted == 0
    ids.rotate(there, "alice", Change())


def test_two_copies_on_one_machine_share_their_marks(tmp_path: Path) -> None:
    """The second copy repeats what the first did last, or refuses; it never differs."""
    wallet = three(tmp_path / "machine")
    snapshot(wallet, tmp_path / "second" / "home")
    (tmp_path / "second" / "state").symlink_to(tmp_path / "machine" / "state")
    second = LocalWallet(
        tmp_path / "second", type(wallet.sqlite).open(tmp_path / "second" / "home"),
        wallet.clock, wallet.data_key,
    )  # fmt: skip
    first = ids.rotate(wallet, "alice", Change())
    again = ids.rotate(second, "alice", Change())
    assert first is not None
    assert again is not None
    assert first.event.raw == again.event.raw
    ids.anchor(second, "alice", [SEAL])
    ids.anchor(second, "alice", [SEAL])
    behind(wallet, "alice")


def test_a_published_log_that_is_too_old_does_not_help(tmp_path: Path) -> None:
    """What was signed here must be in it, or the wallet would sign it twice."""
    wallet = three(tmp_path / "machine")
    old, early = snapshot(wallet, tmp_path / "old"), published(wallet, "alice")
    for _ in range(3):
        ids.rotate(wallet, "alice", Change())
    outside = published(wallet, "alice")
    wallet = put_back(wallet, old)
    with pytest.raises(KeysteadError, match="ends before event 4") as caught:
        reconcile(wallet, "alice", early)
    assert caught.value.code is ErrorCode.BEHIND
    behind(wallet, "alice")
    reconcile(wallet, "alice", outside)
    ids.rotate(wallet, "alice", Change())


def test_reconciling_finishes_what_was_signed_last(tmp_path: Path) -> None:
    """When all but the last event was published, that one is made again, byte for byte."""
    wallet = three(tmp_path / "machine")
    old = snapshot(wallet, tmp_path / "old")
    ids.rotate(wallet, "alice", Change())
    outside = published(wallet, "alice")
    last = ids.rotate(wallet, "alice", Change(next_keys=4))
    ids.rotate(wallet, "bob", Change())
    wallet = put_back(wallet, old)
    told = reconcile(wallet, "alice", outside)
    assert (told.sn, told.adopted, told.finished) == (3, 1, True)
    assert last is not None
    assert log(wallet, "alice")[3].event.raw == last.event.raw
    ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice")


def test_accepting_duplicity_is_written_down(tmp_path: Path) -> None:
    """The audit log tells for good that the owner went on without a published log."""
    there = copy(three(tmp_path / "here"), tmp_path / "there")
    reconcile(there, "alice", MemoryStore(), accept_duplicity=True)
    notes = [one.note for one in there.records.history("identifier", there.identifier("alice").aid)]
    assert notes[-1].action == "reconcile"
    assert "another copy of the wallet may have signed" in notes[-1].reason
    ids.rotate(there, "alice", Change())


def test_reconciling_a_wallet_that_is_current_changes_nothing(tmp_path: Path) -> None:
    """It can be repeated, and no new seed is made."""
    wallet = three(tmp_path)
    for _ in range(2):
        told = reconcile(wallet, "alice", published(wallet, "alice"))
        assert (told.sn, told.adopted, told.finished) == (1, 0, False)
    assert wallet.state().epoch == 0
    ids.rotate(wallet, "alice", Change())


def test_reserve_keys_are_adopted_as_such(tmp_path: Path) -> None:
    """Digests of others in adopted events stay in reserve; own keys of any suite are found."""
    wallet, kept = make_wallet(tmp_path / "here"), (digest(b"aunt"), digest(b"bank"))
    ids.create(wallet, "alice", Creation(keys=2))
    there = copy(wallet, tmp_path / "there")
    change = Change(
        suite=Suite.SECP256K1,
        next_keys=3,
        reserve=kept,
        next_threshold=["1/2", "1/2", "1/2", "1/4", "1/4"],
    )
    ids.rotate(wallet, "alice", change)
    ids.rotate(wallet, "alice", Change())
    assert reconcile(there, "alice", published(wallet, "alice")).adopted == 2
    assert there.identifier("alice") == wallet.identifier("alice")
    assert [key.state for key in map(there.key, kept) if key] == [State.RESERVE] * 2
    made = [ids.rotate(one, "alice", Change()) for one in (there, wallet)]
    assert made[0] is not None
    assert made[1] is not None
    assert made[0].event.raw == made[1].event.raw


def approved(boss: LocalWallet, wallet: LocalWallet, name: str) -> AcceptedEvent:
    """Have the boss approve what waits, and take the answer in."""
    asked = list(delegation.request(wallet, name))
    found = delegation.approve(boss, "boss", asked)
    return delegation.complete(wallet, name, delegation.answer(boss, "boss", found))


@pytest.mark.parametrize("waiting", [False, True])
def test_a_delegate_is_reconciled_with_the_approvals(tmp_path: Path, waiting: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Events that the delegator approved elsewhere come into force here, with their approval."""
    boss = make_wallet(tmp_path / "boss")
    delegator = ids.create(boss, "boss", Creation()).aid
    wallet = make_wallet(tmp_path / "here")
    ids.create(wallet, "site", Creation(delegator=delegator))
    old = copy(wallet, tmp_path / "there") if waiting else None
    approved(boss, wallet, "site")
    there = copy(wallet, tmp_path / "there") if old is None else old
    for change in (Change(next_keys=2), Change(suite=Suite.SECP256R1)):
        assert ids.rotate(wallet, "site", change) is None
        approved(boss, wallet, "site")
        ids.anchor(wallet, "site", [SEAL])
    told = reconcile(there, "site", published(wallet, "site"))
    assert (told.sn, told.adopted) == (4, 5 if waiting else 4)
    assert not there.identifier("site").pending
    for one in (wallet, there):
        assert ids.rotate(one, "site", Change()) is None
    assert there.identifier("site").pending == wallet.identifier("site").pending
    approved(boss, there, "site")
    ids.anchor(there, "site", [SEAL])
    judged(there, "site")
    keys = log(there, "site")[-1].state.establishment.signing_keys
    assert {key.suite for key in keys} == {Suite.SECP256R1}


def test_what_waits_in_a_copy_can_still_be_approved(tmp_path: Path) -> None:
    """After the comparison the copy takes the answer in, as the first wallet would."""
    boss = make_wallet(tmp_path / "boss")
    delegator = ids.create(boss, "boss", Creation()).aid
    wallet = make_wallet(tmp_path / "here")
    ids.create(wallet, "site", Creation(delegator=delegator))
    approved(boss, wallet, "site")
    ids.rotate(wallet, "site", Change())
    there = copy(wallet, tmp_path / "there")
    with pytest.raises(KeysteadError) as caught:
        approved(boss, there, "site")
    assert caught.value.code is ErrorCode.BEHIND
    assert reconcile(there, "site", published(wallet, "site")).sn == 1
    assert approved(boss, there, "site").event.sn == 1
    ids.anchor(there, "site", [SEAL])
    judged(there, "site")


def test_another_approved_event_than_the_one_that_waits_is_told(tmp_path: Path) -> None:
    """Two copies asked for different rotations: only one of them can go on."""
    boss = make_wallet(tmp_path / "boss")
    delegator = ids.create(boss, "boss", Creation()).aid
    wallet = make_wallet(tmp_path / "here")
    ids.create(wallet, "site", Creation(delegator=delegator))
    approved(boss, wallet, "site")
    there = copy(wallet, tmp_path / "there")
    reconcile(there, "site", published(wallet, "site"))
    ids.rotate(there, "site", Change(next_keys=2))
    ids.rotate(wallet, "site", Change())
    approved(boss, wallet, "site")
    with pytest.raises(KeysteadError, match="another version"):
        reconcile(there, "site", published(wallet, "site"))


def test_an_interrupted_request_is_finished(tmp_path: Path) -> None:
    """A delegated rotation that was signed before a crash waits for its delegator then."""
    boss = make_wallet(tmp_path / "boss")
    delegator = ids.create(boss, "boss", Creation()).aid
    wallet = make_wallet(tmp_path / "here")
    ids.create(wallet, "site", Creation(delegator=delegator))
    approved(boss, wallet, "site")
    real = wallet.local.sign_event

    def sign_and_die(*args: object, **options: object) -> list[bytes]:
        real(*args, **options)  # type: ignore[arg-type] # as they came
        raise Power

    with patch.object(wallet.local, "sign_event", sign_and_die), pytest.raises(Power):
        ids.rotate(wallet, "site", Change(next_keys=3))
    wallet = reopen(wallet)
    (mark,) = wallet.vault.marks([wallet.identifier("site").aid])
    assert mark is not None
    with pytest.raises(KeysteadError, match="waits for its delegator"):
        ids.anchor(wallet, "site", [SEAL])
    assert wallet.identifier("site").pending.encode() == mark.raw
    assert approved(boss, wallet, "site").event.raw == mark.raw
    ids.anchor(wallet, "site", [SEAL])
    judged(wallet, "site")


@contextmanager
def _crash_of(aid: Aid) -> Iterator[None]:
    """Have the power go when an event of one identifier was signed, not when others are kept."""
    real = events.accept

    def gone(wallet: LocalWallet, event: AnyKeyEvent, signatures: object) -> AcceptedEvent:
        if event.aid == aid:
            raise Power
        return real(wallet, event, signatures)  # type: ignore[arg-type] # as they came

    with patch("keystead.owner.events.accept", gone), suppress(Power):
        yield


def _shred_old(wallet: LocalWallet) -> object:
    (key, *_) = life.keys_of(wallet, wallet.identifier("bob").aid)
    return shredding.shred(wallet, key.id)


def _approve(wallet: LocalWallet) -> object:
    other = make_wallet(wallet.folder / "other")
    ids.create(other, "site", Creation(delegator=wallet.identifier("bob").aid))
    return delegation.approve(wallet, "bob", list(delegation.request(other, "site")))


_SEED = b"\x07" * 32
_PUBLIC = make_key(Suite.ED25519, suites.public_key(Suite.ED25519, _SEED), transferable=True).text
_OPERATIONS: dict[str, Callable[[LocalWallet], object]] = {
    "create": lambda wallet: ids.create(wallet, "dave", Creation()),
    "rotate": lambda wallet: ids.rotate(wallet, "bob", Change()),
    "anchor": lambda wallet: ids.anchor(wallet, "bob", [SEAL]),
    "abandon": lambda wallet: ids.abandon(wallet, "bob"),
    "shred": _shred_old,
    "shred seed": lambda wallet: shredding.shred(wallet, "master.0"),
    "retire": lambda wallet: life.retire(wallet, "master.0"),
    "compromise": lambda wallet: life.compromise(wallet, "master.0"),
    "import": lambda wallet: life.import_key(wallet, _SEED, _PUBLIC),
    "sign": lambda wallet: signing.sign_document(wallet, "bob", digest(b"data"), anchored=True),
    "approve": _approve,
    "reconcile": lambda wallet: reconcile(wallet, "bob", published(wallet, "bob")),
}


@pytest.mark.parametrize("operation", _OPERATIONS)
@pytest.mark.parametrize("cut_off", [Change(next_keys=3), None])
def test_whatever_comes_next_finishes_what_was_interrupted(
    tmp_path: Path, operation: str, cut_off: Change | None
) -> None:
    """Also a command for another identifier, or for none; else it would be found no more."""
    wallet = three(tmp_path)
    with crash_before_keeping():
        if cut_off is None:
            ids.anchor(wallet, "alice", [SEAL])
        else:
            ids.rotate(wallet, "alice", cut_off)
    mark = wallet.vault.latest_mark()
    assert mark is not None
    wallet = reopen(wallet)
    _OPERATIONS[operation](wallet)
    assert log(wallet, "alice")[-1].event.raw == mark.raw
    ids.rotate(wallet, "alice", Change())
    judged(wallet, "alice", "bob")


def test_of_two_crashes_in_a_row_nothing_is_left_behind(tmp_path: Path) -> None:
    """The first event is kept before the second is signed: only one mark is looked at later."""
    wallet = three(tmp_path)
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change())
    with _crash_of(wallet.identifier("bob").aid):
        ids.rotate(wallet, "bob", Change())
    wallet = reopen(wallet)
    assert [len(log(wallet, name)) for name in ("alice", "bob")] == [3, 2]
    ids.anchor(wallet, "carol", [SEAL])
    assert [len(log(wallet, name)) for name in ("alice", "bob")] == [3, 3]


def test_an_approval_finishes_first_what_its_delegator_had_begun(tmp_path: Path) -> None:
    """The approval is the second event behind the log, so the first one has to be kept already."""
    wallet, site = make_wallet(tmp_path / "boss"), make_wallet(tmp_path / "site")
    boss = ids.create(wallet, "boss", Creation()).aid
    ids.create(site, "site", Creation(delegator=boss))
    asked = list(delegation.request(site, "site"))
    with crash_before_keeping():
        ids.anchor(wallet, "boss", [SEAL])
    real, seen = events.accept, []

    def gone(*arguments: object) -> AcceptedEvent:
        seen.append(arguments)
        if len(seen) == 2:
            raise Power
        return real(*arguments)  # type: ignore[arg-type] # as they came

    with patch("keystead.owner.events.accept", gone), pytest.raises(Power):
        delegation.approve(wallet, "boss", asked)
    wallet = reopen(wallet)
    assert len(log(wallet, "boss")) == 2
    (found,) = delegation.approve(wallet, "boss", asked)
    assert (found.anchored_at, len(log(wallet, "boss"))) == (2, 3)


def test_what_cannot_be_finished_stops_the_wallet_until_it_is_given_up(
    tmp_path: Path, office: TokenRecord
) -> None:
    """While its token is away nothing is written; the owner may give the event up."""
    wallet = three(tmp_path / "machine")
    tokens.add_token(wallet, office, PIN.decode())
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change(token=office.name))
    pkcs11.lib(office.module).finalize()
    (folder,) = (tmp_path / "hsm" / "tokens").iterdir()
    folder.rename(tmp_path / "away")
    wallet = reopen(wallet)
    before = (wallet.store.audit_head(), wallet.vault.latest_mark())
    attempts = dict(_OPERATIONS)
    attempts["remove"] = lambda wallet: tokens.remove_token(wallet, "office")
    del attempts["approve"]  # its delegate is a wallet of its own
    for attempt in attempts.values():
        with pytest.raises(KeysteadError, match="event 2 of alice was cut off") as caught:
            attempt(wallet)
        assert caught.value.code is ErrorCode.TOKEN
        assert "--i-accept-duplicity" in caught.value.hint
    assert (wallet.store.audit_head(), wallet.vault.latest_mark()) == before
    told = reconcile(wallet, "alice", MemoryStore(), accept_duplicity=True)
    assert (told.sn, told.finished) == (1, False)
    for name in ("alice", "bob"):
        ids.rotate(wallet, name, Change())
    judged(wallet, "alice", "bob")


def test_what_was_tampered_with_is_not_given_up(tmp_path: Path) -> None:
    """The way out is for keys that are lost; a damaged seed is told as such, and the mark stays."""
    wallet = three(tmp_path)
    with crash_before_keeping():
        ids.rotate(wallet, "alice", Change())
    mark = wallet.vault.latest_mark()
    wallet.sqlite.database.connection.execute(
        "UPDATE record SET data = zeroblob(length(data)) WHERE kind = 'secret'"
    )
    wallet = reopen(wallet)
    with pytest.raises(KeysteadError) as caught:
        ids.anchor(wallet, "bob", [SEAL])
    assert caught.value.code is ErrorCode.TAMPERED
    assert "--i-accept-duplicity" not in caught.value.hint
    with pytest.raises(KeysteadError) as caught:
        reconcile(wallet, "alice", MemoryStore(), accept_duplicity=True)
    assert caught.value.code is ErrorCode.TAMPERED
    (left,) = wallet.vault.marks([wallet.identifier("alice").aid])
    assert left is not None
    assert mark is not None
    assert left.said == mark.said


def test_an_own_key_that_is_not_found_is_not_taken_for_one_of_others(
    tmp_path: Path, office: TokenRecord
) -> None:
    """A copy from before the token was known does not finish a rotation into it."""
    wallet = three(tmp_path / "machine")
    old, outside = snapshot(wallet, tmp_path / "old"), published(wallet, "alice")
    tokens.add_token(wallet, office, PIN.decode())
    moved = ids.rotate(wallet, "alice", Change(token=office.name))
    assert moved is not None
    wallet = put_back(wallet, old)
    with pytest.raises(
        KeysteadError, match="next keys of event 2 of alice are not found"
    ) as caught:
        reconcile(wallet, "alice", outside)
    assert caught.value.code is ErrorCode.GONE
    assert "token add" in caught.value.hint
    assert len(log(wallet, "alice")) == 2
    tokens.add_token(wallet, office, PIN.decode())
    assert reconcile(wallet, "alice", outside).finished
    assert log(wallet, "alice")[-1].event.raw == moved.event.raw
    for _ in range(2):
        ids.rotate(wallet, "alice", Change())


def _diverged(tmp_path: Path, here: Sequence[int]) -> tuple[LocalWallet, EventStore]:
    """Return an older copy where some events were signed, and the log of another copy."""
    wallet = make_wallet(tmp_path / "machine")
    ids.create(wallet, "alice", Creation())
    old, start = snapshot(wallet, tmp_path / "old"), published(wallet, "alice")
    there = copy(wallet, tmp_path / "there")
    reconcile(there, "alice", start)
    ids.anchor(there, "alice", [DigestSeal(digest(b"there"))])
    for number in here:
        ids.anchor(wallet, "alice", [DigestSeal(digest(b"%d" % number))])
    return put_back(wallet, old), published(there, "alice")


@pytest.mark.parametrize("here", [(1,), (1, 2), (1, 2, 3)])
def test_no_mark_of_another_event_is_replaced(tmp_path: Path, here: Sequence[int]) -> None:
    """What was signed on this machine is in the published log, or the copy signs nothing."""
    wallet, outside = _diverged(tmp_path, here)
    aid = wallet.identifier("alice").aid
    before: list[Mark | None] = wallet.vault.marks([aid])
    with pytest.raises(KeysteadError) as caught:
        reconcile(wallet, "alice", outside)
    assert caught.value.code is ErrorCode.BEHIND
    assert wallet.vault.marks([aid]) == before
    assert len(log(wallet, "alice")) == 1
    behind(wallet, "alice")
    assert reconcile(wallet, "alice", outside, accept_duplicity=True).adopted == 1
    ids.rotate(wallet, "alice", Change())


def test_a_log_whose_keys_this_copy_cannot_make_is_not_taken_over(tmp_path: Path) -> None:
    """A newer copy has the seed; of several events not even the first is kept."""
    wallet = make_wallet(tmp_path / "here")
    ids.create(wallet, "alice", Creation())
    there = copy(wallet, tmp_path / "there")
    ids.anchor(wallet, "alice", [SEAL])
    life.compromise(wallet, "master.0")
    ids.rotate(wallet, "alice", Change())
    for accept in (False, True):
        with pytest.raises(KeysteadError) as caught:
            reconcile(there, "alice", published(wallet, "alice"), accept_duplicity=accept)
        assert caught.value.code is ErrorCode.GONE
        assert "newer copy" in caught.value.hint
    assert len(log(there, "alice")) == 1
    assert len(life.keys_of(there, there.identifier("alice").aid)) == 2


def test_reserve_keys_that_were_known_may_be_needed(tmp_path: Path) -> None:
    """Where the next rotation always needed somebody else, it does after reconciling too."""
    wallet = make_wallet(tmp_path / "here")
    ids.create(wallet, "alice", Creation(reserve=(digest(b"aunt"),), next_threshold="2"))
    there = copy(wallet, tmp_path / "there")
    ids.anchor(wallet, "alice", [SEAL])
    assert reconcile(there, "alice", published(wallet, "alice")).adopted == 1


@pytest.mark.parametrize("asked", ["settle", "unreconciled"])
def test_commands_at_the_same_time_do_not_look_like_another_copy(
    tmp_path: Path, asked: str
) -> None:
    """Log and mark are read at one moment, so that nobody goes on between them."""
    wallet = three(tmp_path)
    other = reopen(wallet)
    other.sqlite.database.connection.execute("PRAGMA busy_timeout = 10")
    real = wallet.local.marks

    def marks(aids: Sequence[Aid]) -> list[Mark | None]:
        before = real(aids)
        with suppress(StoreError):
            ids.anchor(other, "alice", [SEAL])
            ids.anchor(other, "alice", [SEAL])
        return real(aids) if asked == "settle" else before

    with patch.object(wallet.local, "marks", marks):
        if asked == "settle":
            assert not settle(wallet, wallet.identifier("alice"))
        else:
            assert list(unreconciled(wallet)) == []


def _act(wallet: LocalWallet, name: str, choice: int) -> None:
    """Do one of a few things for an identifier."""
    if choice == 0:
        ids.anchor(wallet, name, [SEAL])
    else:
        changes = (Change(), Change(next_keys=choice), Change(anchors=(SEAL,)))
        ids.rotate(wallet, name, changes[choice - 1])


def _refused(wallet: LocalWallet, name: str, choice: int) -> bool:
    """Tell whether the wallet refuses to act because it is behind."""
    try:
        _act(wallet, name, choice)
    except KeysteadError as error:
        if error.code is not ErrorCode.BEHIND:
            raise
        return True
    return False


def _events(wallet: LocalWallet) -> dict[tuple[Aid, int], bytes]:
    """Return all events of all logs by their places."""
    logs = (log(wallet, name) for name in ("alice", "bob"))
    return {(one.event.aid, one.event.sn): one.event.raw for each in logs for one in each}


def _history(folder: Path, chance: random.Random) -> list[Path]:
    """Make a wallet with a few events; return copies of its folder and its marks after each."""
    wallet = make_wallet(folder / "machine")
    for name in ("alice", "bob"):
        ids.create(wallet, name, Creation())
    copies = []
    for number in range(9):
        if number:
            _act(wallet, chance.choice(("alice", "bob")), chance.randrange(4))
        snapshot(wallet, folder / str(number) / "home")
        shutil.copytree(wallet.folder / "state", folder / str(number) / "state")
        copies.append(folder / str(number))
    return copies


def test_a_thousand_rollbacks_give_no_second_event(tmp_path: Path) -> None:
    """Of 1,008 older copies that are put back none signs another event for a place.

    Each that is more than one event behind is refused for whatever went on; one that is just
    one event behind, as after a crash, makes the very same event again.
    """
    chance = random.Random(15)  # noqa: S311 - a choice of tests
    trials = 0
    for number in range(28):
        copies = _history(tmp_path / str(number), chance)
        for older, newer in combinations(copies, 2):
            trials += 1
            folder = tmp_path / f"trial-{trials}"
            shutil.copytree(older / "home", folder / "home")
            shutil.copytree(newer / "state", folder / "state")
            trial = open_again(folder)
            known = _events(open_again(newer))
            distance = copies.index(newer) - copies.index(older)
            for name in ("alice", "bob"):
                refused = _refused(trial, name, chance.randrange(4))
                assert refused is (distance > 1)
            found = _events(trial)
            assert all(found[place] == raw for place, raw in known.items() if place in found)
            assert found.keys() >= known.keys() or distance > 1
            shutil.rmtree(folder)
    assert trials == 1_008
