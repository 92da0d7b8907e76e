"""Identifiers from making to end, judged by a stranger who sees the exported logs only."""

import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from sqlite3 import Connection
from statistics import median

import pytest

from keystead.cesr.keys import Digest, digest
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.keystate import KeyState
from keystead.keri.seals import DigestSeal
from keystead.keri.thresholds import Field
from keystead.owner import exporting
from keystead.owner import identifiers as ids
from keystead.owner.plans import Change, Creation
from keystead.suites import Suite
from support.wallets import (
    LocalWallet,
    crash_before_keeping,
    judged,
    make_wallet,
    reopen,
)

ROOT = Path(__file__).parents[3]
# Rotates alice in a process that ends after the event was signed.
DIES = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from keystead.owner import events, identifiers
from keystead.owner.plans import Change
from support.wallets import open_again
events.accept = lambda *_: os._exit(7)
identifiers.rotate(open_again(Path(sys.argv[2])), "alice", Change())
"""
SUITES = (Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1)


def reserved(*names: str) -> tuple[Digest, ...]:
    """Return digests of keys that others keep."""
    return tuple(digest(name.encode()) for name in names)


def state_of(wallet: LocalWallet, name: str) -> KeyState:
    """Return what a stranger says of an identifier; it must be what the wallet says."""
    aid = wallet.identifier(name).aid
    state = judged(wallet, name).store.key_state(aid)
    assert state is not None
    assert state == wallet.events.key_state(aid)
    return state


def refused(code: ErrorCode, wallet: LocalWallet, wanted: Creation | Change) -> KeysteadError:
    """Return the error of a creation, or of a rotation of alice; nothing may have changed."""
    before = wallet.store.audit_head()
    if isinstance(wanted, Creation):
        with pytest.raises(KeysteadError) as caught:
            ids.create(wallet, "new", wanted)
    else:
        with pytest.raises(KeysteadError) as caught:
            ids.rotate(wallet, "alice", wanted)
    assert caught.value.code is code
    assert wallet.store.audit_head() == before
    return caught.value


def states(wallet: LocalWallet, keys: list[Digest] | tuple[Digest, ...]) -> list[State | None]:
    """Return the states of keys."""
    found = [wallet.key(key) for key in keys]
    return [None if key is None else key.state for key in found]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    ("keys", "threshold", "told"),
    [
        (1, None, "1"),
        (3, None, "2"),
        (3, "3", "3"),
        (3, ["1/2", "1/2", "1/2"], ["1/2", "1/2", "1/2"]),
        (4, [["1/2", "1/2"], ["1", "0"]], [["1/2", "1/2"], ["1", "0"]]),
        (3, [{"1/2": ["1/2", "1/2"]}, "1/2"], [{"1/2": ["1/2", "1/2"]}, "1/2"]),
    ],
)
def test_a_log_with_any_threshold_is_accepted_and_goes_on(
    tmp_path: Path, suite: Suite, keys: int, threshold: Field | None, told: Field
) -> None:
    """Numbers, weights, clauses and nested weights hold from event to event."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation(suite=suite, keys=keys, threshold=threshold))
    for sn in (1, 2):
        ids.rotate(wallet, "alice", Change())
        last = state_of(wallet, "alice").establishment
        assert (last.sn, last.signing_threshold.field, last.next_threshold.field) == (
            sn,
            told,
            told,
        )
        assert [key.suite for key in last.signing_keys] == [suite] * keys
        assert states(wallet, last.next_key_digests) == [State.PRE_ACTIVE] * keys


def test_the_number_of_keys_changes_with_the_rotation_after(tmp_path: Path) -> None:
    """Keys that are committed to now come into force with the next rotation, and old ones go."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation(keys=2, next_keys=3, next_threshold="3"))
    assert [len(state_of(wallet, "alice").establishment.signing_keys)] == [2]
    ids.rotate(wallet, "alice", Change(next_keys=1, threshold="2"))
    last = state_of(wallet, "alice").establishment
    assert (len(last.signing_keys), last.signing_threshold.number) == (3, 2)
    assert (len(last.next_key_digests), last.next_threshold.number) == (1, 1)
    ids.rotate(wallet, "alice", Change(next_keys=5))
    last = state_of(wallet, "alice").establishment
    assert (len(last.signing_keys), last.next_threshold.number) == (1, 3)
    ids.rotate(wallet, "alice", Change())
    assert len(state_of(wallet, "alice").establishment.signing_keys) == 5


def test_the_algorithm_changes_with_the_rotation_after(tmp_path: Path) -> None:
    """Keys of a new suite are committed to first, then they sign."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation(keys=2))
    for before, after in zip(SUITES, [*SUITES[1:], SUITES[0]], strict=True):
        keys = state_of(wallet, "alice").establishment.signing_keys
        assert {key.suite for key in keys} == {before}
        ids.rotate(wallet, "alice", Change(suite=after))
        ids.rotate(wallet, "alice", Change())
    assert state_of(wallet, "alice").sn == 6


def test_reserve_keys_stay_committed_to_while_own_keys_rotate(tmp_path: Path) -> None:
    """A rotation exposes own keys alone; the digests of the others are committed to again."""
    wallet, kept = make_wallet(tmp_path), reserved("aunt", "bank")
    weights: Field = ["1/2", "1/2", "1/2", "1/2"]
    wanted = Creation(keys=2, next_threshold=weights, reserve=kept)
    ids.create(wallet, "alice", wanted)
    for _ in range(3):
        ids.rotate(wallet, "alice", Change())
        last = state_of(wallet, "alice").establishment
        assert len(last.signing_keys) == 2
        assert last.signing_threshold.field == "2"
        assert last.next_key_digests[2:] == kept
        assert last.next_threshold.field == weights
        assert states(wallet, kept) == [State.RESERVE] * 2
        found = [wallet.key(one) for one in kept]
        assert [(one.place, one.establishment) for one in found if one] == [
            (2, last.sn + 1),
            (3, last.sn + 1),
        ]


def test_reserve_keys_are_replaced_and_given_up(tmp_path: Path) -> None:
    """New digests take the place of old ones, whose holders are not needed any more."""
    wallet, old, new = make_wallet(tmp_path), reserved("aunt"), reserved("uncle", "bank")
    ids.create(wallet, "alice", Creation(reserve=old, next_threshold=["1", "1"]))
    assert "1/2,1/2" in refused(ErrorCode.ARGUMENT, wallet, Change(reserve=new)).hint
    ids.rotate(wallet, "alice", Change(reserve=new, next_threshold=["1", "1/2", "1/2"]))
    assert states(wallet, (*old, *new)) == [State.DESTROYED, State.RESERVE, State.RESERVE]
    assert state_of(wallet, "alice").establishment.next_key_digests[1:] == new
    ids.rotate(wallet, "alice", Change(reserve=()))
    last = state_of(wallet, "alice").establishment
    assert (len(last.next_key_digests), last.next_threshold.field) == (1, "1")


def test_a_reserve_key_must_be_somebody_elses(tmp_path: Path) -> None:
    """Own keys, and keys that serve another identifier already, are no reserve."""
    wallet, kept = make_wallet(tmp_path), reserved("aunt")
    ids.create(wallet, "alice", Creation(reserve=kept, next_threshold=["1", "1"]))
    own = state_of(wallet, "alice").establishment.next_key_digests[0]
    for digests in ((own,), kept):
        wanted = Creation(reserve=digests, next_threshold=["1", "1"])
        assert "reserve key" in refused(ErrorCode.ARGUMENT, wallet, wanted).message
    refused(ErrorCode.ARGUMENT, wallet, Change(reserve=(own,), next_threshold=["1", "1"]))
    refused(ErrorCode.ARGUMENT, wallet, Change(reserve=kept * 2, next_threshold=["1", "1", "1"]))


def test_a_rotation_that_needs_others_is_refused(tmp_path: Path) -> None:
    """When the own keys do not reach the next threshold the owner is told so."""
    wallet = make_wallet(tmp_path)
    wanted = Creation(reserve=reserved("aunt"), next_threshold=["1/2", "1/2"])
    ids.create(wallet, "alice", wanted)
    assert "have the holders" in refused(ErrorCode.GONE, wallet, Change()).hint


def test_states_of_keys_follow_the_log(tmp_path: Path) -> None:
    """Old keys are deactivated, new ones active, and the ones to come pre-active."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation(keys=2))
    first = state_of(wallet, "alice").establishment.next_key_digests
    ids.rotate(wallet, "alice", Change(threshold=["1", "0"]))
    assert states(wallet, first) == [State.ACTIVE, State.ROTATE_ONLY]
    second = state_of(wallet, "alice").establishment.next_key_digests
    ids.rotate(wallet, "alice", Change())
    assert states(wallet, first) == [State.DEACTIVATED] * 2
    assert states(wallet, second) == [State.ACTIVE] * 2


def test_establishment_only_anchors_in_rotations(tmp_path: Path) -> None:
    """Such a log takes no interaction; the error names the way that is left."""
    wallet, seal = make_wallet(tmp_path), DigestSeal(digest(b"x"))
    ids.create(wallet, "alice", Creation(establishment_only=True, do_not_delegate=True))
    with pytest.raises(KeysteadError, match="allows only rotations") as caught:
        ids.anchor(wallet, "alice", [seal])
    assert "id rotate alice --anchor" in caught.value.hint
    made = ids.rotate(wallet, "alice", Change(anchors=(seal,)))
    assert made is not None
    assert made.event.anchors == (seal,)
    assert state_of(wallet, "alice").establishment.configuration_traits == ("EO", "DND")


def test_an_identifier_without_next_keys_cannot_change(tmp_path: Path) -> None:
    """Non-transferable: one key, which is the identifier; no event can follow."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, "alice", Creation(transferable=False))
    assert record.aid.startswith("B")
    assert not state_of(wallet, "alice").establishment.transferable
    refused(ErrorCode.LIFE_STATE, wallet, Change())
    with pytest.raises(KeysteadError, match="cannot change"):
        ids.anchor(wallet, "alice", [DigestSeal(digest(b"x"))])
    for wanted in (
        Creation(transferable=False, keys=2),
        Creation(transferable=False, establishment_only=True),
        Creation(transferable=False, threshold=["1"]),
    ):
        refused(ErrorCode.ARGUMENT, wallet, wanted)


def test_abandoning_is_the_end(tmp_path: Path) -> None:
    """The last rotation commits to nothing, and its keys are out of force."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation(keys=2, reserve=reserved("a"), next_threshold=["1"] * 3))
    ids.rotate(wallet, "alice", Change())
    coming = state_of(wallet, "alice").establishment.next_key_digests
    ids.abandon(wallet, "alice", reason="moved")
    assert not state_of(wallet, "alice").establishment.transferable
    assert states(wallet, coming) == [State.DEACTIVATED, State.DEACTIVATED, State.DESTROYED]
    assert "ended at 2" in refused(ErrorCode.LIFE_STATE, wallet, Change()).message
    with pytest.raises(KeysteadError, match="nothing can follow"):
        ids.anchor(wallet, "alice", [DigestSeal(digest(b"x"))])


def test_the_same_wallet_and_request_give_the_same_event(tmp_path: Path) -> None:
    """Nothing but the wallet and the request goes into an event: no time, no randomness."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation(keys=2))
    made = []
    for _ in range(3):
        with crash_before_keeping():
            ids.rotate(wallet, "alice", Change(next_keys=3, suite=Suite.SECP256R1))
        (mark,) = wallet.vault.marks([wallet.identifier("alice").aid])
        assert mark is not None
        made.append(mark.raw)
        wallet = reopen(wallet)
    accepted = ids.rotate(wallet, "alice", Change(next_keys=3, suite=Suite.SECP256R1))
    assert accepted is not None
    assert {*made, accepted.event.raw} == {made[0]}


@pytest.mark.parametrize("keys", [0, -1, 257, 10**9])
def test_numbers_of_keys_have_bounds(tmp_path: Path, keys: int) -> None:
    """No key is made before the numbers are known to be possible."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    refused(ErrorCode.ARGUMENT, wallet, Creation(keys=keys))
    refused(ErrorCode.ARGUMENT, wallet, Creation(next_keys=keys))
    refused(ErrorCode.ARGUMENT, wallet, Change(next_keys=keys))


@pytest.mark.parametrize(
    "wanted",
    [
        Creation(threshold="2"),
        Creation(threshold="0"),
        Creation(keys=3, threshold=["1/2", "1/2"]),
        Creation(keys=2, threshold=["1/3", "1/3"]),
        Creation(next_threshold="2"),
        Creation(token="none"),  # noqa: S106 - a name
        Change(threshold="2"),
        Change(next_threshold="2"),
        Change(token="none"),  # noqa: S106 - as above
    ],
)
def test_thresholds_that_cannot_be_met_are_refused(
    tmp_path: Path, wanted: Creation | Change
) -> None:
    """The error comes before anything is made, and its hint shows what is possible."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    code = ErrorCode.UNKNOWN if wanted.token else ErrorCode.ARGUMENT
    hint = refused(code, wallet, wanted).hint
    assert "1/2,1/2,1/2" in hint or "token add" in hint


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "x" * 64,
        "work/phone",
        "../../etc/passwd",
        "🦊",
        "👩\u200d🚀 team",
        "Grüße",
        "名前",
        "a'b\"c;`d`$e",
        "null",
    ],
)
def test_names_may_be_nearly_anything(tmp_path: Path, name: str) -> None:
    """Slashes, quotes, emoji and all scripts are good; the log knows nothing of the name."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, name, Creation())
    assert wallet.identifier(name).aid == wallet.identifier(record.aid).aid == record.aid
    exported = list(exporting.log_stream(wallet, name))
    ids.rename(wallet, name, "another")
    assert list(exporting.log_stream(wallet, "another")) == exported
    ids.rename(wallet, "another", name)
    with pytest.raises(KeysteadError) as caught:
        ids.create(wallet, name, Creation())
    assert caught.value.code is ErrorCode.EXISTS


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a\n",
        "a\nb",
        "a\x00b",
        "a\x1b[31mb",
        "x" * 65,
        "a\u202eb",
        "a\u200bb",
        "a\u00a0b",
        "a\u2028b",
        "\ud800",
        "\ue000",
        "-x",
        "--help",
        "E" + "A" * 43,
        "B" + "A" * 43,
    ],
)
def test_names_that_mislead_are_refused(tmp_path: Path, name: str) -> None:
    """What cannot be seen, or looks like an option or an identifier, is no name."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    assert refused_name(wallet, name) is ErrorCode.NAME
    with pytest.raises(KeysteadError) as caught:
        ids.rename(wallet, "alice", name)
    assert caught.value.code is ErrorCode.NAME


def refused_name(wallet: LocalWallet, name: str) -> ErrorCode:
    """Return why an identifier cannot be called like that."""
    with pytest.raises(KeysteadError) as caught:
        ids.create(wallet, name, Creation())
    return caught.value.code


def test_a_name_has_one_form(tmp_path: Path) -> None:
    """Letters with accents are the same however they are typed."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, "Ame\u0301lie", Creation())
    assert record.name == "Am\u00e9lie"
    assert wallet.identifier("Ame\u0301lie") == wallet.identifier("Am\u00e9lie") == record
    assert refused_name(wallet, "Am\u00e9lie") is ErrorCode.EXISTS


def test_renaming_changes_the_name_alone(tmp_path: Path) -> None:
    """The log stays, the old name is free, a taken one is refused."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, "alice", Creation())
    ids.create(wallet, "bob", Creation())
    assert ids.rename(wallet, "alice", "carol").aid == record.aid
    assert ids.rename(wallet, record.aid, "carol").name == "carol"
    with pytest.raises(KeysteadError) as caught:
        ids.rename(wallet, "carol", "bob")
    assert caught.value.code is ErrorCode.EXISTS
    ids.rotate(wallet, "carol", Change())
    ids.create(wallet, "alice", Creation())
    assert [one.name for one in wallet.identifiers()] == ["carol", "bob", "alice"]


def test_a_renaming_keeps_what_another_command_did_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is read and written in one transaction: no rotation is undone in it."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    begin = wallet.sqlite.transaction

    def later() -> AbstractContextManager[Connection]:
        monkeypatch.undo()
        ids.rotate(reopen(wallet), "alice", Change(next_keys=3))
        return begin()

    monkeypatch.setattr(wallet.sqlite, "transaction", later)
    ids.rename(wallet, "alice", "carol")
    ids.rotate(wallet, "carol", Change())
    assert len(state_of(wallet, "carol").establishment.signing_keys) == 3


def test_an_event_can_be_asked_for_at_a_place(tmp_path: Path) -> None:
    """Another place than the next one is refused, so that no command counts twice."""
    wallet, seal = make_wallet(tmp_path), DigestSeal(digest(b"x"))
    ids.create(wallet, "alice", Creation())
    ids.rotate(wallet, "alice", Change(), sn=1)
    for sn in (0, 1, 3):
        with pytest.raises(KeysteadError, match="has the place 2"):
            ids.rotate(wallet, "alice", Change(), sn=sn)
        with pytest.raises(KeysteadError, match="has the place 2"):
            ids.anchor(wallet, "alice", [seal], sn=sn)
    assert ids.anchor(wallet, "alice", [seal], sn=2).event.sn == 2


def test_no_two_identifiers_share_a_key(tmp_path: Path) -> None:
    """Keys differ by identifier, place, event and suite."""
    wallet = make_wallet(tmp_path)
    for suite in SUITES:
        ids.create(wallet, suite.name, Creation(suite=suite, keys=3))
        ids.create(wallet, f"{suite.name} alone", Creation(suite=suite, transferable=False))
        ids.rotate(wallet, suite.name, Change())
    names = [one.name for one in wallet.identifiers()]
    seen: list[str] = []
    audit = judged(wallet, *names)
    for aid in audit.store.identifiers():
        for accepted in audit.store.events(aid):
            seen += [key.text for key in accepted.state.establishment.signing_keys]
    assert len(seen) == len(set(seen)) == 3 * (3 + 1 + 3)


def test_what_was_not_given_out_is_known(tmp_path: Path) -> None:
    """Each event is outgoing until it was exported; what comes meanwhile stays outgoing."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    ids.create(wallet, "bob", Creation())
    ids.rotate(wallet, "alice", Change())
    given = exporting.outgoing(wallet, "alice")
    assert [one.sn for one in given] == [0, 1]
    ids.anchor(wallet, "alice", [DigestSeal(digest(b"x"))])
    exporting.mark_given(wallet, given)
    exporting.mark_given(wallet, given)
    assert [one.sn for one in exporting.outgoing(wallet, "alice")] == [2]
    assert [one.sn for one in exporting.outgoing(wallet, "bob")] == [0]


@pytest.mark.parametrize("again", ["same", "other name", "other keys"])
def test_a_creation_that_a_crash_cut_off(tmp_path: Path, again: str) -> None:
    """Asked again it gives the same identifier; another one shares no key with it."""
    wallet = make_wallet(tmp_path)
    with crash_before_keeping():
        ids.create(wallet, "alice", Creation())
    assert wallet.identifiers() == []
    mark = wallet.vault.latest_mark()
    assert mark is not None
    wallet = reopen(wallet)
    if again == "other keys":
        record = ids.create(wallet, "bob", Creation(keys=2))
        assert record.aid != mark.aid
        keys = [one.text for one in state_of(wallet, "bob").establishment.signing_keys]
        assert not any(key.encode() in mark.raw for key in keys)
    else:
        record = ids.create(wallet, "alice" if again == "same" else "bob", Creation())
        assert record.aid == mark.aid
    ids.rotate(wallet, record.name, Change())
    ids.create(wallet, "carol", Creation())
    judged(wallet, record.name, "carol")


@pytest.mark.parametrize("between", ["rotate", "create"])
def test_keys_of_a_creation_that_was_given_up_serve_nobody(tmp_path: Path, between: str) -> None:
    """Whatever is signed before the next creation, or cut off too, that one shares no key."""
    wallet = make_wallet(tmp_path)
    ids.create(wallet, "alice", Creation())
    with crash_before_keeping():
        ids.create(wallet, "ghost", Creation())
    ghosts = [wallet.vault.latest_mark()]
    if between == "rotate":
        ids.rotate(reopen(wallet), "alice", Change())
    else:
        with crash_before_keeping():
            ids.create(reopen(wallet), "ghost", Creation(keys=2))
        ghosts.append(wallet.vault.latest_mark())
    wallet = reopen(wallet)
    for name in ("bob", "carol"):
        ids.create(wallet, name, Creation(establishment_only=True))
        keys = [one.text for one in state_of(wallet, name).establishment.signing_keys]
        raws = [mark.raw for mark in ghosts if mark is not None]
        assert len(raws) == len(ghosts)
        assert not any(key.encode() in raw for key in keys for raw in raws)
    history = wallet.records.history("state", "wallet")
    given_up = [one for one in history if one.note.action == "give up"]
    assert len(given_up) == len(ghosts)


def test_a_process_that_dies_between_mark_and_log_repeats_the_event(tmp_path: Path) -> None:
    """A real process that ends at once leaves a wallet that makes the very same event."""
    wallet = make_wallet(tmp_path)
    record = ids.create(wallet, "alice", Creation())
    command = [sys.executable, "-c", DIES, str(ROOT / "tests"), str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 7
    (mark,) = wallet.vault.marks([record.aid])
    assert mark is not None
    assert mark.sn == 1
    made = ids.rotate(reopen(wallet), "alice", Change())
    assert made is not None
    assert made.event.raw == mark.raw
    assert state_of(reopen(wallet), "alice").sn == 1


@pytest.mark.timed
def test_the_number_of_identifiers_does_not_slow_making_them(tmp_path: Path) -> None:
    """After 2,000 identifiers the next takes at most 20 % longer than the first."""
    wallet = make_wallet(tmp_path)
    spent: list[float] = []
    for number in range(2_000):
        start = time.process_time()
        ids.create(wallet, f"identifier {number}", Creation())
        spent.append(time.process_time() - start)
    assert median(spent[-300:]) <= 1.2 * median(spent[:300])
