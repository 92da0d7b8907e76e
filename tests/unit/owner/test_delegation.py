"""Delegation between two wallets: asked, approved, completed, and everything that is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid, Digest
from keystead.custody.states import State
from keystead.errors import DecodeError, ErrorCode, KeysteadError, UsageError, VerificationError
from keystead.keri.seals import DigestSeal
from keystead.limits import DEFAULT_LIMITS
from keystead.node.replay import replay, replay_event
from keystead.owner import delegation, life, settlement
from keystead.owner import identifiers as ids
from keystead.owner.compromises import compromises
from keystead.owner.exporting import log_stream
from keystead.owner.plans import Change, Creation
from keystead.owner.wallet import Wallet
from support.wallets import LocalWallet, copy, judged, make_wallet, reopen

ANCHOR = DigestSeal(Digest("E" + "A" * 43))


@pytest.fixture
def boss(tmp_path: Path) -> LocalWallet:
    """Return the wallet of a delegator called boss."""
    made = make_wallet(tmp_path / "boss")
    ids.create(made, "boss", Creation())
    return made


@pytest.fixture
def wallet(tmp_path: Path, boss: LocalWallet) -> LocalWallet:
    """Return a wallet in which kid waits for boss."""
    made = make_wallet(tmp_path / "kid")
    ids.create(made, "kid", Creation(delegator=boss.identifier("boss").aid))
    return made


def _request(wallet: Wallet, name: str = "kid") -> bytes:
    return b"".join(delegation.request(wallet, name))


def _answer(boss: Wallet, request: bytes, name: str = "boss") -> bytes:
    approvals = delegation.approve(boss, name, [request])
    return b"".join(delegation.answer(boss, name, approvals))


def _approved(wallet: Wallet, boss: Wallet) -> None:
    delegation.complete(wallet, "kid", [_answer(boss, _request(wallet))])


def _sn(wallet: Wallet, name: str) -> int:
    state = wallet.events.key_state(wallet.identifier(name).aid)
    return -1 if state is None else state.sn


def _refused(wallet: Wallet, name: str, request: bytes) -> KeysteadError:
    """Ask for approval, and return why that is refused; nothing of it is kept."""
    events, held = _sn(wallet, name), len(list(wallet.events.waiting()))
    with pytest.raises(KeysteadError) as caught:
        delegation.approve(wallet, name, [request])
    assert (_sn(wallet, name), len(list(wallet.events.waiting()))) == (events, held)
    return caught.value


def test_an_approved_identifier_is_in_force(wallet: LocalWallet, boss: LocalWallet) -> None:
    """Its keys become active, and a stranger accepts the log with that of the delegator."""
    assert delegation.waiting(wallet, "kid").delegator == boss.identifier("boss").aid
    _approved(wallet, boss)
    keys = life.keys_of(wallet, wallet.identifier("kid").aid)
    assert [one.state for one in keys] == [State.ACTIVE, State.PRE_ACTIVE]
    ids.anchor(wallet, "kid", [ANCHOR])
    judged(wallet, "kid")
    judged(boss, "boss")
    assert _sn(boss, "boss") == 1


def test_rotations_are_approved_too(wallet: LocalWallet, boss: LocalWallet) -> None:
    """Until then the old keys are in force; then the new ones are, also after a restart."""
    _approved(wallet, boss)
    for sn in (1, 2):
        assert ids.rotate(wallet, "kid", Change(next_keys=2)) is None
        assert _sn(wallet, "kid") == sn - 1
        wallet = reopen(wallet)
        _approved(wallet, reopen(boss))
        assert _sn(wallet, "kid") == sn
    aid = wallet.identifier("kid").aid
    states = [one.state for one in life.keys_of(wallet, aid)]
    assert states == [State.DEACTIVATED] * 2 + [State.ACTIVE] * 2 + [State.PRE_ACTIVE] * 2
    judged(wallet, "kid")


def test_the_end_is_approved_too(wallet: LocalWallet, boss: LocalWallet) -> None:
    """The keys of an ended log are out of force."""
    _approved(wallet, boss)
    assert ids.abandon(wallet, "kid") is None
    _approved(wallet, boss)
    keys = life.keys_of(wallet, wallet.identifier("kid").aid)
    assert {one.state for one in keys} == {State.DEACTIVATED}


def test_reading_a_request_keeps_nothing(wallet: LocalWallet, boss: LocalWallet) -> None:
    """Who only looks at it has neither approved nor stored it."""
    before = boss.store.audit_head()
    (asked,) = delegation.requested(boss, "boss", [_request(wallet)])
    assert (asked.event.message_type, asked.approved) == ("dip", False)
    assert boss.store.audit_head() == before
    assert list(boss.events.waiting()) == []
    assert boss.events.key_state(asked.event.aid) is None


def test_a_request_is_always_the_same(wallet: LocalWallet) -> None:
    """It can be sent again."""
    assert _request(wallet) == _request(reopen(wallet))


def test_approving_twice_anchors_once(wallet: LocalWallet, boss: LocalWallet) -> None:
    """The second time gives the same answer."""
    request = _request(wallet)
    first = _answer(boss, request)
    assert _answer(boss, request) == first
    (asked,) = delegation.requested(boss, "boss", [request])
    assert asked.approved
    assert _sn(boss, "boss") == 1
    assert list(boss.events.waiting()) == []
    delegation.complete(wallet, "kid", [first])
    with pytest.raises(UsageError) as caught:
        delegation.complete(wallet, "kid", [first])
    assert caught.value.code is ErrorCode.ARGUMENT


def test_an_answer_from_before_a_delegator_went_on_still_counts(
    wallet: LocalWallet, boss: LocalWallet
) -> None:
    """The approval stays where it was anchored."""
    request = _request(wallet)
    delegation.approve(boss, "boss", [request])
    ids.rotate(boss, "boss", Change())
    delegation.complete(wallet, "kid", [_answer(boss, request)])
    assert _sn(wallet, "kid") == 0


def test_an_establishment_only_delegator_approves_by_a_rotation(
    wallet: LocalWallet, boss: LocalWallet
) -> None:
    """Its log allows nothing else."""
    strict = ids.create(boss, "strict", Creation(establishment_only=True))
    ids.create(wallet, "other", Creation(delegator=strict.aid))
    answer = _answer(boss, _request(wallet, "other"), "strict")
    delegation.complete(wallet, "other", [answer])
    assert (_sn(boss, "strict"), _sn(wallet, "other")) == (1, 0)


def test_a_delegator_can_be_delegated_itself(
    wallet: LocalWallet, boss: LocalWallet, tmp_path: Path
) -> None:
    """The answer brings the logs of all that stand above."""
    _approved(wallet, boss)
    lowest = make_wallet(tmp_path / "grandchild")
    ids.create(lowest, "toy", Creation(delegator=wallet.identifier("kid").aid))
    delegation.complete(lowest, "toy", [_answer(wallet, _request(lowest, "toy"), "kid")])
    assert _sn(lowest, "toy") == 0
    judged(lowest, "toy")


def test_an_approval_can_wait_for_an_approval(wallet: LocalWallet, boss: LocalWallet) -> None:
    """A delegated delegator that may only rotate needs its own delegator first."""
    ids.create(
        wallet, "mid", Creation(delegator=boss.identifier("boss").aid, establishment_only=True)
    )
    delegation.complete(wallet, "mid", [_answer(boss, _request(wallet, "mid"))])
    ids.create(boss, "low", Creation(delegator=wallet.identifier("mid").aid))
    request = _request(boss, "low")
    with pytest.raises(KeysteadError) as caught:
        delegation.approve(wallet, "mid", [request])
    assert caught.value.code is ErrorCode.LIFE_STATE
    delegation.complete(wallet, "mid", [_answer(boss, _request(wallet, "mid"))])
    delegation.complete(boss, "low", [_answer(wallet, request, "mid")])
    assert _sn(boss, "low") == 0


def test_two_identifiers_of_one_wallet(boss: LocalWallet) -> None:
    """Delegator and delegate may belong to one owner."""
    ids.create(boss, "kid", Creation(delegator=boss.identifier("boss").aid))
    _approved(boss, boss)
    ids.rotate(boss, "kid", Change())
    _approved(boss, boss)
    assert _sn(boss, "kid") == 1
    judged(boss, "kid")


def test_only_the_delegator_that_was_named_can_approve(
    wallet: LocalWallet, boss: LocalWallet
) -> None:
    """Another identifier of the same wallet is told whom the request asks."""
    ids.create(boss, "other", Creation())
    error = _refused(boss, "other", _request(wallet))
    assert error.code is ErrorCode.DELEGATION
    assert boss.identifier("boss").aid in error.message


def test_who_must_not_delegate_does_not(wallet: LocalWallet, boss: LocalWallet) -> None:
    """Its first event forbids it, for ever."""
    alone = ids.create(boss, "alone", Creation(do_not_delegate=True))
    ids.create(wallet, "other", Creation(delegator=alone.aid))
    assert _refused(boss, "alone", _request(wallet, "other")).code is ErrorCode.DO_NOT_DELEGATE


@pytest.mark.parametrize("place", [0, 40, 120, 300, -200, -60, -1])
def test_a_tampered_request_is_refused(wallet: LocalWallet, boss: LocalWallet, place: int) -> None:
    """One changed character anywhere is found out."""
    request = bytearray(_request(wallet))
    request[place] = ord("B") if request[place] == ord("A") else ord("A")
    error = _refused(boss, "boss", bytes(request))
    assert isinstance(error, DecodeError | VerificationError | UsageError)


def test_a_part_of_a_request_is_refused(wallet: LocalWallet, boss: LocalWallet) -> None:
    """What was cut off, what lacks the log before it, and nothing."""
    assert isinstance(_refused(boss, "boss", _request(wallet)[:-10]), DecodeError)
    assert _refused(boss, "boss", b"").code is ErrorCode.ARGUMENT
    _approved(wallet, boss)
    ids.rotate(wallet, "kid", Change())
    whole = _request(wallet)
    stranger = make_wallet(boss.folder / "stranger")
    ids.create(stranger, "boss", Creation())
    alone = whole[whole.rindex(b'{"v":"KERI10JSON') :]
    assert b'"t":"drt"' in alone
    assert "it waits for event" in _refused(stranger, "boss", alone).message


def test_events_that_ask_nobody_are_no_request(wallet: LocalWallet, boss: LocalWallet) -> None:
    """A log of somebody who has no delegator asks for nothing."""
    ids.create(wallet, "free", Creation())
    error = _refused(boss, "boss", b"".join(log_stream(wallet, "free")))
    assert error.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize("name", ["free", "nobody"])
def test_what_does_not_wait_has_no_request(wallet: LocalWallet, name: str) -> None:
    """Neither an identifier of its own, nor one that is not there."""
    ids.create(wallet, "free", Creation())
    for attempt in (
        lambda: _request(wallet, name),
        lambda: delegation.complete(wallet, name, [b""]),
    ):
        with pytest.raises(UsageError):
            attempt()


def test_an_answer_to_something_else_changes_nothing(
    wallet: LocalWallet, boss: LocalWallet, tmp_path: Path
) -> None:
    """An empty one, one for another delegate, one of an earlier event."""
    other = make_wallet(tmp_path / "other")
    ids.create(other, "kid", Creation(delegator=boss.identifier("boss").aid))
    foreign = _answer(boss, _request(other))
    for answer in (b"", foreign):
        with pytest.raises(VerificationError) as caught:
            delegation.complete(wallet, "kid", [answer])
        assert caught.value.code is ErrorCode.DELEGATION
        assert _sn(wallet, "kid") == -1
    earlier = _answer(boss, _request(wallet))
    delegation.complete(wallet, "kid", [earlier])
    ids.rotate(wallet, "kid", Change())
    with pytest.raises(VerificationError):
        delegation.complete(wallet, "kid", [earlier])
    assert _sn(wallet, "kid") == 0
    assert wallet.identifier("kid").pending
    _approved(wallet, boss)
    assert _sn(wallet, "kid") == 1


def test_a_damaged_answer_changes_nothing(wallet: LocalWallet, boss: LocalWallet) -> None:
    """The right one can be taken in afterwards."""
    answer = _answer(boss, _request(wallet))
    for damaged in (answer[:-5], answer.replace(b'"s":"1"', b'"s":"2"', 1)):
        with pytest.raises((DecodeError, VerificationError)):
            delegation.complete(wallet, "kid", [damaged])
        assert _sn(wallet, "kid") == -1
    delegation.complete(wallet, "kid", [answer])
    assert _sn(wallet, "kid") == 0


def test_an_answer_puts_no_event_on_own_logs(
    wallet: LocalWallet, boss: LocalWallet, tmp_path: Path
) -> None:
    """Whoever stole keys could send events of theirs along; also behind the one that waits."""
    ids.create(wallet, "mine", Creation())
    answer = _answer(boss, _request(wallet))
    thief = copy(wallet, tmp_path / "thief")
    settlement.reconcile(thief, "mine", thief.events, accept_duplicity=True)
    delegation.complete(thief, "kid", [answer])
    settlement.reconcile(thief, "kid", thief.events, accept_duplicity=True)
    for name in ("mine", "kid"):
        ids.anchor(thief, name, [ANCHOR])
        event = thief.events.event(thief.identifier(name).aid, 1)
        assert event is not None
        answer += replay_event(event)
    delegation.complete(wallet, "kid", [answer])
    assert (_sn(wallet, "mine"), _sn(wallet, "kid")) == (0, 0)


def _strangers(folder: Path) -> bytes:
    """Give valid logs of others: one alone, one below it, one that waits for it."""
    other = make_wallet(folder)
    above = ids.create(other, "above", Creation())
    ids.create(other, "below", Creation(delegator=above.aid))
    delegation.complete(other, "below", [_answer(other, _request(other, "below"), "above")])
    ids.create(other, "beside", Creation(delegator=above.aid))
    found = [other.identifier(name).aid for name in ("above", "below")]
    stream = b"".join(b"".join(replay(other.events, aid)) for aid in found)
    return stream + _request(other, "beside")


def test_logs_of_strangers_are_not_kept(
    wallet: LocalWallet, boss: LocalWallet, tmp_path: Path
) -> None:
    """A request brings the log of the delegate in, an answer those above it, and no others."""
    strange = _strangers(tmp_path / "strangers")
    kid, top = wallet.identifier("kid").aid, boss.identifier("boss").aid
    answer = _answer(boss, strange + _request(wallet) + strange)
    delegation.complete(wallet, "kid", [strange + answer + strange])
    for one in (boss, wallet):
        assert set(one.events.identifiers()) == {kid, top}
        assert list(one.events.waiting()) == []
    judged(wallet, "kid")


def test_messages_of_no_type_are_passed_over(wallet: LocalWallet, boss: LocalWallet) -> None:
    """Type and identifier may be anything; that is no reason to fail."""
    for odd in ('"t":[],"i":{}', '"t":"icp","i":[]', '"t":{},"i":""'):
        body = f'{{"v":"KERI10JSON{len(odd) + 26:06x}_",{odd}}}'.encode()
        assert f"{len(body):06x}".encode() in body
        (asked,) = delegation.requested(boss, "boss", [body + _request(wallet)])
        assert asked.event.aid == wallet.identifier("kid").aid


def test_nobody_reads_without_end(wallet: LocalWallet, boss: LocalWallet) -> None:
    """A request or answer that never ends is refused when it is longer than any can be."""

    def endless() -> Iterator[bytes]:
        read = 0
        while True:
            assert read <= DEFAULT_LIMITS.exchange
            read += 1 << 20
            yield bytes(1 << 20)

    for take in (
        lambda: delegation.requested(boss, "boss", endless()),
        lambda: delegation.approve(boss, "boss", endless()),
        lambda: delegation.complete(wallet, "kid", endless()),
    ):
        with pytest.raises(DecodeError) as caught:
            take()
        assert caught.value.code is ErrorCode.LIMIT


def test_nothing_else_is_signed_while_an_event_waits(
    wallet: LocalWallet, boss: LocalWallet
) -> None:
    """A second event for the same place would be duplicity."""
    attempts: list[Callable[[], object]] = [
        lambda: ids.rotate(wallet, "kid", Change()),
        lambda: ids.anchor(wallet, "kid", [ANCHOR]),
    ]
    for attempt in attempts:
        with pytest.raises(KeysteadError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.LIFE_STATE
    _approved(wallet, boss)
    ids.anchor(wallet, "kid", [ANCHOR])


def test_a_second_event_for_one_place_is_told_from_the_first(
    wallet: LocalWallet, boss: LocalWallet, tmp_path: Path
) -> None:
    """Whoever has a copy of the wallet can ask for it; the delegator sees what it replaces."""
    _approved(wallet, boss)
    thief = copy(wallet, tmp_path / "thief")
    settlement.reconcile(thief, "kid", thief.events, accept_duplicity=True)
    ids.rotate(wallet, "kid", Change())
    first = delegation.waiting(wallet, "kid").event.said
    (asked,) = delegation.requested(boss, "boss", [_request(wallet)])
    assert asked.replaces == ""
    _approved(wallet, boss)
    ids.rotate(thief, "kid", Change(next_keys=2))
    (asked,) = delegation.requested(boss, "boss", [_request(thief)])
    assert asked.event.said == delegation.waiting(thief, "kid").event.said
    assert asked.replaces == first


def test_a_key_that_is_compromised_while_its_event_waits(
    wallet: LocalWallet, boss: LocalWallet
) -> None:
    """The event can still be completed; the next rotation tells of the key."""
    key = life.keys_of(wallet, wallet.identifier("kid").aid)[0]
    life.compromise(wallet, key.id)
    _approved(wallet, boss)
    assert wallet.key(key.id).state is State.COMPROMISED  # type: ignore[union-attr] # it is there
    ids.rotate(wallet, "kid", Change())
    aid = Aid(wallet.identifier("kid").aid)
    assert compromises(wallet.events, aid) == ()
    _approved(wallet, boss)
    (notice,) = compromises(wallet.events, aid)
    assert notice.signing_key.text == key.public_key
    judged(wallet, "kid")


def test_a_seed_that_is_compromised_while_an_event_waits(
    wallet: LocalWallet, boss: LocalWallet
) -> None:
    """Coming keys are of another seed, and the event is completed with those it has."""
    _approved(wallet, boss)
    ids.rotate(wallet, "kid", Change())
    life.compromise(wallet, "master.0")
    _approved(wallet, boss)
    for _ in range(2):
        ids.rotate(wallet, "kid", Change())
        _approved(wallet, boss)
    current = life.keys_of(wallet, wallet.identifier("kid").aid)[-2]
    assert (current.state, current.uri[:10]) == (State.ACTIVE, "derived:1/")
    judged(wallet, "kid")
