"""Trying passphrases: counted before the try, slower and slower, whatever the clock says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, StoreError
from keystead.keystores import envelope as envelopes
from keystead.keystores.passphrase import KdfParameters
from keystead.owner.unlocking import (
    FREE_TRIES,
    LONGEST_WAIT,
    change_passphrase,
    check_envelope,
    seconds_to_wait,
    unlock,
)
from keystead.owner.wallet import KEY
from keystead.ports.wallet import Envelope
from keystead.stores.wallet import SqliteWallet
from support.wallets import DATA_KEY, WALLET, LocalWallet, make_wallet, reopen

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
CHEAP = KdfParameters(memory_kib=19 * 1024, passes=2, lanes=1, salt=b"s" * 16)


def _envelope(phrase: bytes) -> Envelope:
    return envelopes.close(WALLET, DATA_KEY, phrase, CHEAP)


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    made = make_wallet(tmp_path)
    before = _envelope(b"old")
    with made.sqlite.transaction():
        made.sqlite.set_envelope(before)
    change_passphrase(made, made.sqlite, before=before, after=_envelope(b"new"))
    return made


def _fits(_: Envelope) -> bytes:
    return DATA_KEY


def _fails(_: Envelope) -> bytes:
    raise KeystoreError(ErrorCode.PASSPHRASE, "it does not fit")


def _try(
    store: SqliteWallet, now: datetime, opening: Callable[[Envelope], bytes] = _fails
) -> tuple[str, int]:
    """Try a passphrase; return what happened, and how long to wait if that is what happened."""
    try:
        unlock(store, opening, now=now)
    except KeysteadError as error:
        return error.code.value, int(error.fields.get("seconds", 0))
    return "open", 0


def test_the_waits_double() -> None:
    """Five tries are free; then the wait doubles from one second to an hour."""
    waits = [seconds_to_wait(failed) for failed in range(20)]
    assert waits[:FREE_TRIES] == [0] * FREE_TRIES
    assert waits[FREE_TRIES : FREE_TRIES + 5] == [1, 2, 4, 8, 16]
    assert waits[-1] == LONGEST_WAIT == 3600
    assert seconds_to_wait(10**9) == LONGEST_WAIT


def test_ten_wrong_tries(wallet: LocalWallet) -> None:
    """Each wrong try after the fifth has to wait longer, and a right one ends it."""
    now, waits = NOW, []
    for _ in range(10):
        answer, wait = _try(wallet.sqlite, now)
        if answer == ErrorCode.BACK_OFF:
            waits.append(wait)
            assert _try(wallet.sqlite, now + timedelta(seconds=wait - 1), _fits)[1] == 1
            now += timedelta(seconds=wait)
            answer, _ = _try(wallet.sqlite, now)
        assert answer == ErrorCode.PASSPHRASE
    assert waits == [1, 2, 4, 8, 16]
    assert _try(wallet.sqlite, now, _fits) == (ErrorCode.BACK_OFF, 32)
    now += timedelta(seconds=32)
    assert _try(wallet.sqlite, now, _fits) == ("open", 0)
    assert wallet.sqlite.attempts()[0] == 0
    assert [_try(wallet.sqlite, now)[0] for _ in range(5)] == [ErrorCode.PASSPHRASE] * 5


def test_a_try_is_counted_before_it_is_made(wallet: LocalWallet) -> None:
    """Whoever ends the process during a try does not get the try for nothing."""

    class Killed(BaseException):
        pass

    def killed(_: Envelope) -> bytes:
        raise Killed

    for number in range(1, FREE_TRIES + 1):
        with pytest.raises(Killed):
            unlock(wallet.sqlite, killed, now=NOW)
        assert reopen(wallet).sqlite.attempts() == (number, int(NOW.timestamp()))
    assert _try(reopen(wallet).sqlite, NOW, _fits) == (ErrorCode.BACK_OFF, 1)


def _fail_until_waiting(store: SqliteWallet, now: datetime, failed: int = 9) -> int:
    with store.transaction():
        store.set_attempts(failed, int(now.timestamp()))
    return seconds_to_wait(failed)


@pytest.mark.parametrize("year", [1970, 2025])
def test_a_clock_set_back_lets_nobody_in(wallet: LocalWallet, year: int) -> None:
    """With the clock set back the whole wait has to be waited from then on, and no more."""
    wait = _fail_until_waiting(wallet.sqlite, NOW)
    then = datetime(year, 1, 1, tzinfo=UTC)
    assert _try(wallet.sqlite, then, _fits) == (ErrorCode.BACK_OFF, wait)
    assert _try(wallet.sqlite, then + timedelta(seconds=1), _fits) == (ErrorCode.BACK_OFF, wait - 1)
    assert _try(wallet.sqlite, then + timedelta(seconds=wait), _fits) == ("open", 0)


def test_a_clock_in_2100_locks_nobody_out(wallet: LocalWallet) -> None:
    """After tries under a clock that was wrong, the wait is as long as any other."""
    wait = _fail_until_waiting(wallet.sqlite, datetime(2100, 1, 1, tzinfo=UTC))
    assert _try(wallet.sqlite, NOW, _fits) == (ErrorCode.BACK_OFF, wait)
    assert _try(wallet.sqlite, NOW + timedelta(seconds=wait), _fits) == ("open", 0)


def test_setting_the_clock_to_and_fro_gains_nothing(wallet: LocalWallet) -> None:
    """Each time the clock is set back the wait begins again."""
    wait = _fail_until_waiting(wallet.sqlite, NOW)
    for minutes in range(1, 20):
        at = NOW - timedelta(minutes=minutes)
        assert _try(wallet.sqlite, at, _fits) == (ErrorCode.BACK_OFF, wait)


def test_a_wait_changes_no_count(wallet: LocalWallet) -> None:
    """Asking during the wait does not make it longer."""
    _fail_until_waiting(wallet.sqlite, NOW)
    before = wallet.sqlite.attempts()
    for _ in range(5):
        _try(wallet.sqlite, NOW + timedelta(seconds=3))
    assert wallet.sqlite.attempts() == before


def test_a_try_that_cannot_be_counted_is_not_made(wallet: LocalWallet) -> None:
    """With a disk that takes no more, or a file that is read-only, no passphrase is tried."""
    wallet.sqlite.database.connection.execute("PRAGMA query_only = ON")
    tried: list[Envelope] = []

    def opening(envelope: Envelope) -> bytes:
        tried.append(envelope)
        return DATA_KEY

    with pytest.raises(StoreError):
        unlock(wallet.sqlite, opening, now=NOW)
    assert not tried


def test_a_new_passphrase_is_a_new_key(wallet: LocalWallet) -> None:
    """The inventory tells that the old passphrase is gone and when the new one came."""
    found = wallet.records.get(KEY, "wallet.passphrase", KeyRecord)
    assert found is not None
    assert (found.state, found.parent) == (State.ACTIVE, "")
    steps = [
        (entry.note.before, entry.note.after)
        for entry in wallet.records.history(KEY, "wallet.passphrase")
    ]
    life = [("", "pre-active"), ("pre-active", "active")]
    end = [("active", "deactivated"), ("deactivated", "destroyed")]
    assert steps == [*life, *end, *life]
    assert wallet.state().scrub


def test_two_changes_at_once(wallet: LocalWallet) -> None:
    """A change that was prepared for another envelope is refused."""
    with pytest.raises(StoreError) as caught:
        change_passphrase(
            wallet, wallet.sqlite, before=_envelope(b"old"), after=_envelope(b"third")
        )
    assert caught.value.code is ErrorCode.STORE_BUSY
    assert envelopes.open_with(wallet.sqlite.envelope(), b"new") == DATA_KEY


def test_an_older_passphrase_cannot_come_back(wallet: LocalWallet) -> None:
    """An envelope that was put back beside newer records is found out."""
    check_envelope(wallet, wallet.sqlite)
    with wallet.sqlite.transaction():
        wallet.sqlite.set_envelope(_envelope(b"old"))
    with pytest.raises(KeystoreError) as caught:
        check_envelope(wallet, wallet.sqlite)
    assert caught.value.code is ErrorCode.TAMPERED


def test_a_change_that_fails_leaves_the_old_one(
    wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The envelope and the record of it change together or not at all."""
    before = wallet.sqlite.envelope()

    def fails(*_: object) -> None:
        raise StoreError(ErrorCode.STORE_FULL, "no space left")

    monkeypatch.setattr(type(wallet.sqlite), "add_audit", fails)
    with pytest.raises(StoreError):
        change_passphrase(wallet, wallet.sqlite, before=before, after=_envelope(b"third"))
    assert wallet.sqlite.envelope() == before
    check_envelope(wallet, wallet.sqlite)
    assert msgspec.structs.asdict(before) != msgspec.structs.asdict(_envelope(b"third"))
