"""What doctor finds, each kind of it, and what it puts in order."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from keystead.cesr.keys import make_key
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.custody.uri import TokenUri, format_uri
from keystead.errors import KeysteadError
from keystead.keri import build
from keystead.keystores import envelope as envelopes
from keystead.owner import control, identifiers, life
from keystead.owner.doctor import Report, repair
from keystead.owner.findings import MEANINGS, Kind, Severity
from keystead.owner.plans import Change, Creation
from keystead.owner.records import Note
from keystead.owner.wallet import KEY, STATE, TOKEN, TokenRecord, envelope_digest
from keystead.ports.keys import SECRET
from keystead.stores import replaying
from keystead.suites import Suite, public_key
from support.lived_in import KDF, checked, current_key, lived_in, past_key, wrap
from support.wallets import (
    DATA_KEY,
    WALLET,
    LocalWallet,
    copy,
    make_wallet,
    put_back,
    reopen,
    snapshot,
)

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"
Scenario = Callable[[LocalWallet], LocalWallet | None]


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    """Return a wallet with an identifier that has rotated."""
    wallet = make_wallet(tmp_path / "machine")
    wrap(wallet)
    identifiers.create(wallet, "alice", Creation())
    identifiers.rotate(wallet, "alice", Change())
    assert checked(wallet).findings == ()
    return wallet


def kinds(report: Report) -> set[Kind]:
    """Return what was found."""
    return {one.kind for one in report.findings}


def write(wallet: LocalWallet, kind: str, name: str, value: object, note: Note) -> None:
    """Write a record as the wallet does, whatever it says."""
    with wallet.store.transaction():
        batch = wallet.batch()
        batch.put(kind, name, value, note)
        batch.write()


def key_of(wallet: LocalWallet, name: str) -> KeyRecord:
    """Return a key that must be there."""
    found = wallet.key(name)
    assert found is not None
    return found


def next_key(wallet: LocalWallet) -> KeyRecord:
    """Return the key to which the log of alice commits."""
    state = wallet.events.key_state(wallet.identifier("alice").aid)
    assert state is not None
    return key_of(wallet, state.establishment.next_key_digests[0])


def run(wallet: LocalWallet, *statements: str) -> None:
    """Change the file past the wallet."""
    with closing(sqlite3.connect(wallet.home / "wallet.db", isolation_level=None)) as connection:
        query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        triggers = connection.execute(query).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount, statement
        for _, sql in triggers:
            connection.execute(sql)


def put_older_back(wallet: LocalWallet, *acts: Callable[[], object]) -> LocalWallet:
    """Do something, and put the folder back as it was before."""
    copied = snapshot(wallet, wallet.folder / "copy")
    for act in acts:
        act()
    return put_back(wallet, copied)


def _rotate(wallet: LocalWallet) -> Callable[[], object]:
    return lambda: identifiers.rotate(wallet, "alice", Change())


def _damaged(wallet: LocalWallet) -> None:
    run(wallet, "DELETE FROM log")


def _scrub(wallet: LocalWallet) -> None:
    write(wallet, STATE, "wallet", replace(wallet.state(), scrub=True), Note("shred"))


def _envelope(wallet: LocalWallet) -> None:
    wrapped = [envelopes.close(WALLET, DATA_KEY, phrase, KDF) for phrase in (b"first", b"second")]
    after = replace(wallet.state(), envelope=envelope_digest(wrapped[1]))
    write(wallet, STATE, "wallet", after, Note("new passphrase"))
    with wallet.sqlite.transaction():
        wallet.sqlite.set_envelope(wrapped[0])


def _time(wallet: LocalWallet) -> None:
    wallet.clock.advance(timedelta(days=-400))
    identifiers.rename(wallet, "alice", "alicia")


def _transition(wallet: LocalWallet) -> None:
    old = key_of(wallet, past_key(wallet, "alice"))
    note = Note("revive", before="deactivated", after="active")
    write(wallet, KEY, old.id, replace(old, state=State.ACTIVE), note)


def _unknown(wallet: LocalWallet) -> None:
    write(wallet, "future", "bob", {"name": "bob"}, Note("new future"))


def _unreadable(wallet: LocalWallet) -> None:
    write(wallet, TOKEN, "one", TokenRecord("other", "/lib.so", "other"), Note("new token"))


def _mismatch(wallet: LocalWallet) -> None:
    key = key_of(wallet, current_key(wallet, "alice"))
    other = make_key(Suite.ED25519, public_key(Suite.ED25519, b"o" * 32))
    write(wallet, KEY, key.id, replace(key, public_key=other.text), Note("mistake"))


def _gone(wallet: LocalWallet) -> None:
    with wallet.store.transaction():
        batch = wallet.batch()
        batch.delete(SECRET, "master.0", Note("mistake"))
        batch.write()


def _left(wallet: LocalWallet) -> None:
    seed = key_of(wallet, "master.0")
    for before, after in ((State.ACTIVE, State.DEACTIVATED), (State.DEACTIVATED, State.DESTROYED)):
        note = Note("mistake", before=before, after=after)
        write(wallet, KEY, seed.id, replace(seed, state=after), note)


def _state(wallet: LocalWallet) -> None:
    key = next_key(wallet)
    note = Note("mistake", before="pre-active", after="active")
    write(wallet, KEY, key.id, replace(key, state=State.ACTIVE), note)


def _unchecked(wallet: LocalWallet) -> None:
    sealed = wallet.vault.new_seed("pin.office", wallet.store.audit_head()[0] + 1)
    with wallet.store.transaction():
        batch = wallet.batch()
        batch.put_secret("pin.office", sealed, Note("new PIN"))
        batch.write()
    key = next_key(wallet)
    uri = format_uri(TokenUri("/nowhere.so", "office", "a key"))
    write(wallet, KEY, key.id, replace(key, uri=uri, parent="pin.office"), Note("mistake"))


def _lost_log(wallet: LocalWallet) -> None:
    tables = ("establishment", "place", "log", "event")
    run(wallet, *(f"DELETE FROM {name}" for name in tables))  # noqa: S608 - names from above


def _notice(wallet: LocalWallet) -> None:
    life.compromise(wallet, past_key(wallet, "alice"), reason="a laptop was stolen")
    assert checked(wallet).findings == ()
    run(wallet, "DELETE FROM statement", "DELETE FROM statement_count")


def _shared(wallet: LocalWallet) -> None:
    others = build.commitment(make_key(Suite.ED25519, public_key(Suite.ED25519, b"o" * 32)))
    wanted = Creation(reserve=(others,), next_threshold=["1/2", "1/2"])
    identifiers.create(wallet, "office", wanted)


def _behind(wallet: LocalWallet) -> LocalWallet:
    return put_older_back(wallet, _rotate(wallet), _rotate(wallet))


def _unfinished(wallet: LocalWallet) -> LocalWallet:
    return put_older_back(wallet, _rotate(wallet))


def _begun(wallet: LocalWallet) -> LocalWallet:
    return put_older_back(wallet, lambda: identifiers.create(wallet, "bob", Creation()))


def _machine(wallet: LocalWallet) -> LocalWallet:
    return copy(wallet, wallet.folder.with_name("another"))


def _no_marks(wallet: LocalWallet) -> LocalWallet:
    shutil.rmtree(wallet.folder / "state")
    after = reopen(wallet)
    after.local.adopt()
    return after


def _marks_changed(wallet: LocalWallet) -> LocalWallet:
    path = wallet.folder / "state" / "marks"
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    return reopen(wallet)


# One way to each kind of finding. That others can reach a file is for the command to see.
SCENARIOS: dict[Kind, Scenario] = {
    Kind.STORE_DAMAGED: _damaged,
    Kind.STORE_SCRUB: _scrub,
    Kind.ENVELOPE_CHANGED: _envelope,
    Kind.AUDIT_CHAIN: lambda one: run(one, "UPDATE audit SET hash = x'00' WHERE number = 3"),
    Kind.AUDIT_ENTRY: lambda one: run(one, "UPDATE audit SET data = x'00' WHERE number = 3"),
    Kind.AUDIT_TIME: _time,
    Kind.AUDIT_TRANSITION: _transition,
    Kind.RECORD_CHANGED: lambda one: run(one, "UPDATE record SET generation = generation + 1"),
    Kind.RECORD_MISSING: lambda one: run(one, "DELETE FROM record WHERE kind = 'identifier'"),
    Kind.RECORD_EXTRA: lambda one: run(
        one, "INSERT INTO record VALUES ('key', 'x', 1, NULL, x'00')"
    ),
    Kind.RECORD_UNREADABLE: _unreadable,
    Kind.RECORD_UNKNOWN: _unknown,
    Kind.KEY_MISMATCH: _mismatch,
    Kind.KEY_GONE: _gone,
    Kind.KEY_LEFT: _left,
    Kind.KEY_STATE: _state,
    Kind.KEY_UNCHECKED: _unchecked,
    Kind.LOG_MISSING: _lost_log,
    Kind.LOG_EVENT: _lost_log,
    Kind.LOG_NOTICE: _notice,
    Kind.CONTROL_LOST: _gone,
    Kind.CONTROL_SHARED: _shared,
    Kind.MARK_MACHINE: _machine,
    Kind.MARK_CHANGED: _marks_changed,
    Kind.MARK_BEHIND: _behind,
    Kind.MARK_UNFINISHED: _unfinished,
    Kind.MARK_UNKNOWN: _begun,
    Kind.MARK_NONE: _no_marks,
}
ELSEWHERE = {Kind.FILE_PERMISSIONS, Kind.STORE_LOCKED}
# What is not encrypted, so that no passphrase is needed to see it.
PLAIN = {
    Kind.STORE_DAMAGED,
    Kind.AUDIT_CHAIN,
    Kind.RECORD_CHANGED,
    Kind.RECORD_MISSING,
    Kind.RECORD_EXTRA,
}


def test_each_kind_has_a_scenario() -> None:
    """The tests below know a way to each kind of finding."""
    assert set(SCENARIOS) | ELSEWHERE == set(Kind) == set(MEANINGS)


@pytest.mark.parametrize("kind", SCENARIOS)
def test_each_kind_is_found(kind: Kind, wallet: LocalWallet) -> None:
    """Each kind of finding is found where it is, and makes the wallet not fine if it must."""
    after = SCENARIOS[kind](wallet) or wallet
    report = checked(after)
    assert kind in kinds(report)
    if MEANINGS[kind].severity is Severity.PROBLEM:
        assert not report.fine
    else:
        assert kinds(report) == {kind}


@pytest.mark.parametrize("told", [True, False])
def test_an_older_copy_from_behind_the_last_event(wallet: LocalWallet, *, told: bool) -> None:
    """What signed no event cannot be undone unseen, once the machine was told of it."""
    copied = snapshot(wallet, wallet.folder / "copy")
    life.compromise(wallet, next_key(wallet).id, reason="a laptop was stolen")
    if told:
        wallet.remember()
    after = put_back(wallet, copied)
    assert kinds(checked(after)) == ({Kind.MARK_BEHIND} if told else set())
    after.remember()  # does not take the older copy for the latest
    if told:
        assert kinds(checked(after)) == {Kind.MARK_BEHIND}
        with pytest.raises(KeysteadError, match="older copy"):
            identifiers.rotate(after, "alice", Change())


@pytest.mark.parametrize("kind", sorted(PLAIN))
def test_a_locked_wallet_is_checked_as_far_as_it_can_be(kind: Kind, wallet: LocalWallet) -> None:
    """Without the vault hashes, columns and logs are checked, and what was not is told."""
    SCENARIOS[kind](wallet)
    assert kinds(checked(wallet, unlocked=False)) == {kind, Kind.STORE_LOCKED}


def test_a_long_life_is_fine(tmp_path: Path) -> None:
    """Keys of every kind and state, delegation, imports and tokens are as doctor expects them."""
    wallet, _ = lived_in(tmp_path)
    report = checked(wallet)
    assert report.findings == ()
    assert {one.name: one.can_rotate.value for one in report.identifiers} == {
        "alice": "yes",
        "crowd": "yes",
        "firm": "ended",
        "kid": "waits",
        "spare": "yes",
        "gone": "ended",
        "last": "yes",
    }


def _repaired(wallet: LocalWallet) -> tuple[str, ...]:
    done = repair(wallet, lambda: replaying.rebuild(wallet.sqlite.database))
    assert done.failed == ()
    return done.done


def test_an_interrupted_event_is_finished(wallet: LocalWallet) -> None:
    """The event that was signed before the crash comes into the log, and no other."""
    aid = wallet.identifier("alice").aid
    after = _unfinished(wallet)
    (mark,) = after.vault.marks([aid])
    assert "finished the event of alice" in _repaired(after)
    state = after.events.key_state(aid)
    assert mark is not None
    assert state is not None
    assert (state.sn, state.said) == (mark.sn, mark.said)
    assert checked(after).findings == ()


@pytest.mark.parametrize("kind", [Kind.STORE_DAMAGED, Kind.STORE_SCRUB, Kind.LOG_NOTICE])
def test_what_can_be_repaired_is_repaired(kind: Kind, wallet: LocalWallet) -> None:
    """Derived tables, interrupted erasures and notices are put in order, which is told."""
    SCENARIOS[kind](wallet)
    assert len(_repaired(wallet)) >= 1
    assert checked(wallet).findings == ()


def test_a_repair_of_what_is_whole_changes_no_record(wallet: LocalWallet) -> None:
    """Where nothing is wrong nothing but derived tables is written."""
    before = wallet.store.audit_head()
    assert _repaired(wallet) == ("made the derived tables anew",)
    assert wallet.store.audit_head() == before


def test_what_cannot_be_repaired_is_told_and_kept(wallet: LocalWallet) -> None:
    """Damaged evidence stops the repair of what needs it, and stays as it is."""
    run(wallet, "UPDATE event SET raw = x'00' WHERE number = 2")
    rows = wallet.sqlite.database.rows("SELECT * FROM event")
    done = repair(wallet, lambda: replaying.rebuild(wallet.sqlite.database))
    assert any("store.corrupt" in one for one in done.failed)
    assert wallet.sqlite.database.rows("SELECT * FROM event") == rows
    assert not checked(wallet).fine


def test_progress_is_told(wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long examination tells how far it is."""
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(control, "_AT_ONCE", 1)
    report = checked(wallet, progress=lambda *step: told.append(step))
    keys = [step for step in told if step[0] == "keys"]
    assert [done for _, done, _ in keys] == list(range(1, keys[-1][2] + 1))
    assert ("audit log", report.entries, report.entries) in told


def test_an_examination_changes_nothing(wallet: LocalWallet) -> None:
    """No row is written, and no mark."""
    before = wallet.sqlite.database.rows("SELECT * FROM audit")
    marks = (wallet.folder / "state" / "marks").read_bytes()
    checked(wallet)
    assert wallet.sqlite.database.rows("SELECT * FROM audit") == before
    assert (wallet.folder / "state" / "marks").read_bytes() == marks


def test_another_error_of_the_vault_is_not_a_finding(
    wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vault that is locked meanwhile ends the examination with its own error."""
    from keystead.errors import ErrorCode, KeystoreError  # noqa: PLC0415 - only here

    def locked(_: Iterable[object]) -> list[bytes]:
        raise KeystoreError(ErrorCode.LOCKED, "the wallet was locked meanwhile")

    monkeypatch.setattr(wallet.local, "open", locked)
    with pytest.raises(KeysteadError, match="locked meanwhile"):
        checked(wallet)


def test_the_page_tells_each_kind() -> None:
    """docs/doctor.md lists every kind with its severity, meaning and what to do, in our words."""
    rows = re.findall(
        r"^\| `([a-z.]+)` \| (\w+) \| (.+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert rows == [
        (kind.value, one.severity.value, one.means, one.todo) for kind, one in MEANINGS.items()
    ]
