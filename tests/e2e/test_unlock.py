"""`keystead unlock`, `lock` and `passphrase`, as an owner uses them."""

import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keystead.keystores import envelope as envelopes
from keystead.stores.wallet import SqliteWallet
from support.canary import leaks
from support.commands import COMMAND
from support.machines import PHRASE, Machine, machine, terminal
from support.signers import eventually, is_running, signers

NEW = "another canary of eleven quite unguessable lantern words"
CHANGE = ("passphrase", "--kdf", "low-memory")


@pytest.fixture(name="mine")
def _mine(tmp_path: Path) -> Iterator[Machine]:
    mine = machine(tmp_path)
    mine.init()
    yield mine
    mine.run("lock")


def _unlock(mine: Machine, *more: str) -> None:
    ran = mine.run("unlock", *more, phrase=PHRASE)
    assert ran.code == 0, ran.err


def _seconds_left(mine: Machine) -> int | None:
    left = json.loads(mine.run("status", "--json").out)["seconds_left"]
    assert left is None or isinstance(left, int)
    return left


def test_unlock_and_lock(mine: Machine) -> None:
    """After unlock commands need no passphrase, after lock they do."""
    assert _seconds_left(mine) is None
    _unlock(mine)
    left = _seconds_left(mine)
    assert left is not None
    assert 880 <= left <= 900
    assert mine.run("lock").out == "locked\n"
    assert _seconds_left(mine) is None
    assert mine.run("lock").out == "the wallet was locked already\n"
    assert not signers(mine.home)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1m", 60), ("2h", 7200), ("24h", 86400), ("1440m", 86400)]
)
def test_times(mine: Machine, text: str, seconds: int) -> None:
    """The time is told in seconds, minutes or hours."""
    ran = mine.run("unlock", "--for", text, "--json", phrase=PHRASE)
    assert json.loads(ran.out) == {
        "home": str(mine.home),
        "seconds": seconds,
        "was_unlocked": False,
    }


@pytest.mark.parametrize(
    "text", ["", "15", "0s", "25h", "1d", "-1m", "1.5h", "015m", "1m ", "99999h"]
)
def test_no_times(mine: Machine, text: str) -> None:
    """What is no time from a second to a day is refused before the passphrase is asked for."""
    ran = mine.run("unlock", "--for", text)
    assert ran.code == 2
    assert "[usage.argument]" in ran.err


def test_unlocking_again_changes_the_time(mine: Machine) -> None:
    """An unlocked wallet is told of, and locks after the new time."""
    _unlock(mine)
    ran = mine.run("unlock", "--for", "1h", phrase=PHRASE)
    assert "unlocked already" in ran.out
    left = _seconds_left(mine)
    assert left is not None
    assert left > 3500
    assert len(signers(mine.home)) == 1


def test_it_locks_by_itself(mine: Machine) -> None:
    """After the time without use the wallet is locked."""
    _unlock(mine, "--for", "1s")
    assert eventually(lambda: not signers(mine.home))
    assert _seconds_left(mine) is None
    assert not (mine.home / "signer.sock").exists()


def test_two_unlocks_at_once(mine: Machine) -> None:
    """Both say that it is unlocked, and one process is left."""
    command = [str(COMMAND), "unlock", "--passphrase-file", str(mine.file(PHRASE))]
    both = [
        subprocess.Popen(command, env=mine.environment, stdout=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [one.wait(60) for one in both] == [0, 0, 0]
    assert eventually(lambda: len(signers(mine.home)) == 1)
    assert _seconds_left(mine) is not None


def test_a_killed_signer_process(mine: Machine) -> None:
    """What kill -9 leaves does not stop any command."""
    _unlock(mine)
    (process,) = signers(mine.home)
    os.kill(process, 9)
    assert eventually(lambda: not is_running(process))
    assert _seconds_left(mine) is None
    assert mine.run("lock").code == 0
    _unlock(mine)
    assert _seconds_left(mine) is not None


def test_a_deep_folder(tmp_path: Path) -> None:
    """The path of the wallet may be longer than that of a socket."""
    deep = Machine(tmp_path, tmp_path.joinpath(*["quite a long name of a folder"] * 8))
    deep.init()
    _unlock(deep)
    assert _seconds_left(deep) is not None
    assert deep.run("lock").out == "locked\n"


def test_wrong_passphrases(mine: Machine) -> None:
    """Every wrong passphrase gets one answer; after five the next has to wait."""
    told = {mine.run("unlock", phrase=f"wrong {number}").err for number in range(5)}
    assert len(told) == 1
    assert "[keystore.passphrase]" in told.pop()
    store = SqliteWallet.open(mine.home)
    assert store.attempts()[0] == 5
    with store.transaction():
        store.set_attempts(9, int(time.time()))
    store.close()
    waiting = mine.run("unlock", phrase=PHRASE)
    assert waiting.code == 1
    assert "[keystore.back_off]" in waiting.err
    assert re.search(r"in 1[0-6] seconds", waiting.err)


def test_a_try_survives_a_kill(mine: Machine) -> None:
    """A command that is killed while it derives the key has used a try."""
    command = [str(COMMAND), "unlock", "--passphrase-file", str(mine.file("wrong"))]
    with subprocess.Popen(command, env=mine.uncovered, stderr=subprocess.DEVNULL) as child:
        connection = sqlite3.connect(mine.home / "wallet.db")
        query = "SELECT failed FROM attempt"
        assert eventually(lambda: connection.execute(query).fetchone() == (1,))
        child.kill()
        assert connection.execute(query).fetchone() == (1,)
        connection.close()


@pytest.mark.timed
def test_wrong_passphrases_take_one_time(mine: Machine) -> None:
    """Whether little or much of a passphrase is right cannot be told from the time."""
    times: dict[str, list[float]] = {}
    for _ in range(3):
        for phrase in ("x", PHRASE[:-1], PHRASE + "!", "x" * 1000):
            store = SqliteWallet.open(mine.home)
            with store.transaction():
                store.set_attempts(0, 0)
            store.close()
            begin = time.perf_counter()
            assert mine.run("unlock", phrase=phrase).code == 1
            times.setdefault(phrase, []).append(time.perf_counter() - begin)
    least = [min(one) for one in times.values()]
    assert max(least) < 1.3 * min(least), times


def _limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk(mine: Machine) -> None:
    """A try that cannot be counted is not made, and nothing is lost."""
    command = [str(COMMAND), "unlock", "--passphrase-file", str(mine.file(PHRASE))]
    ran = subprocess.run(
        command,
        env=mine.uncovered,
        capture_output=True,
        check=False,
        preexec_fn=lambda: _limited(20_000),
    )
    assert ran.returncode == 1
    assert re.search(rb"\[store\.(full|io)\]", ran.stderr), ran.stderr
    _unlock(mine)


@pytest.mark.parametrize("command", ["unlock", "status", "passphrase"])
def test_no_wallet(tmp_path: Path, command: str) -> None:
    """Without a wallet commands say how to make one, and make nothing."""
    mine = machine(tmp_path)
    ran = mine.run(command, phrase=PHRASE)
    assert ran.code == 1
    assert "[store.missing]" in ran.err
    assert "keystead init" in ran.err
    assert not mine.home.exists()
    assert mine.run("lock").code == 0


def test_a_deleted_wallet(mine: Machine) -> None:
    """The signer process of a wallet that was deleted ends."""
    _unlock(mine)
    shutil.rmtree(mine.home)
    assert eventually(lambda: not signers(mine.home))
    assert mine.run("lock").code == 0


def test_a_new_passphrase(mine: Machine) -> None:
    """Afterwards the new one opens the wallet and the old one does not, unlocked or locked."""
    _unlock(mine)
    changed = mine.run(*CHANGE, "--new-passphrase-file", mine.file(NEW, "new.txt"), phrase=PHRASE)
    assert changed.code == 0, changed.err
    assert _seconds_left(mine) is not None  # the data key is the same
    assert mine.run("lock").code == 0
    assert "[keystore.passphrase]" in mine.run("unlock", phrase=PHRASE).err
    assert mine.run("unlock", phrase=NEW).code == 0


def test_the_old_envelope_is_overwritten(mine: Machine) -> None:
    """Nothing that the old passphrase opens is left in the files, though others had them open."""
    store = SqliteWallet.open(mine.home)
    old = store.envelope().data
    store.close()
    _unlock(mine)
    mine.run(*CHANGE, "--new-passphrase-file", mine.file(NEW, "new.txt"), phrase=PHRASE)
    assert leaks({"envelope": old, "its end": old[-20:]}, folders=[mine.home]) == []


def test_an_old_envelope_is_found_out(mine: Machine) -> None:
    """Whoever puts the old envelope back cannot use the old passphrase."""
    store = SqliteWallet.open(mine.home)
    old = store.envelope()
    store.close()
    mine.run(*CHANGE, "--new-passphrase-file", mine.file(NEW, "new.txt"), phrase=PHRASE)
    store = SqliteWallet.open(mine.home)
    with store.transaction():
        store.set_envelope(old)
    store.close()
    for command in ("unlock", "status", "passphrase"):
        ran = mine.run(command, phrase=PHRASE)
        assert "[keystore.tampered]" in ran.err, command
    assert not signers(mine.home)


@pytest.mark.parametrize("command", ["unlock", "id list", "passphrase"])
def test_a_history_of_parts_is_found_out(mine: Machine, command: str) -> None:
    """Each passphrase that is given looks at all entries; only doctor opens such a wallet."""
    with closing(sqlite3.connect(mine.home / "wallet.db")) as connection:
        query = "SELECT * FROM audit ORDER BY number DESC LIMIT 1"
        number, *_, end = connection.execute(query).fetchone()
        row = (number + 7, "x", "x", 0, b"", b"", end)
        connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    new = ("--new-passphrase-file", mine.file(NEW, "new.txt"))
    more = new if command == "passphrase" else ()
    ran = mine.run(*command.split(), *more, phrase=PHRASE)
    assert ran.code == 1
    assert "keystore.tampered" in ran.err
    assert f"entry {number + 1}" in ran.err
    assert "audit.chain" in mine.run("doctor", phrase=PHRASE).out


def test_a_wrong_old_passphrase(mine: Machine) -> None:
    """The old passphrase is needed, and a wrong one counts as a try."""
    new = mine.file(NEW, "new.txt")
    ran = mine.run(*CHANGE, "--new-passphrase-file", new, phrase="wrong")
    assert "[keystore.passphrase]" in ran.err
    store = SqliteWallet.open(mine.home)
    assert store.attempts()[0] == 1
    store.close()
    _unlock(mine)


def test_a_weak_new_passphrase(mine: Machine) -> None:
    """A new passphrase is judged as the first was; until then nothing changes."""
    ran = mine.run(*CHANGE, "--new-passphrase-file", mine.file("secret1", "new.txt"), phrase=PHRASE)
    assert ran.code == 2
    assert "[usage.weak_passphrase]" in ran.err
    _unlock(mine)


def test_changing_it_on_a_terminal(mine: Machine) -> None:
    """The old one is asked for once, the new one twice, and nothing of them is shown."""
    with terminal(mine, *CHANGE, "--json") as asked:
        asked.answer(b"Passphrase of the wallet: ", PHRASE.encode() + b"\n")
        asked.answer(b"New passphrase", NEW.encode() + b"\n")
        asked.answer(b"again: ", NEW.encode() + b"\n")
        ended = asked.end()
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told == {
        "home": str(mine.home),
        "kdf": {"memory_kib": 65536, "passes": 3, "lanes": 4},
    }
    secrets = {"old": PHRASE.encode(), "new": NEW.encode()}
    outputs = [ended.out.encode(), ended.err.encode(), asked.shown]
    assert leaks(secrets, folders=[mine.home], outputs=outputs) == []
    store = SqliteWallet.open(mine.home)
    assert envelopes.open_with(store.envelope(), NEW.encode())
    store.close()


def test_unlocking_on_a_terminal(mine: Machine) -> None:
    """The process that was started outlives the terminal."""
    with terminal(mine, "unlock") as asked:
        asked.answer(b"Passphrase of the wallet: ", PHRASE.encode() + b"\n")
        ended = asked.end()
    assert ended.code == 0, ended.err
    assert "unlocked" in ended.out
    assert _seconds_left(mine) is not None


def _examples(mine: Machine, command: str) -> list[str]:
    text = mine.run(command, "--help").out.split("Examples:")[1]
    return re.findall(r"^ +keystead (.+?)(?:   .*)?$", text, re.MULTILINE)


@pytest.mark.parametrize("command", ["init", "unlock", "lock", "passphrase", "status"])
def test_examples(tmp_path: Path, command: str) -> None:
    """The examples of the help can be typed; where they ask, the answer comes from a file."""
    examples = _examples(machine(tmp_path), command)
    assert examples
    for number, example in enumerate(examples):
        mine = machine(tmp_path / str(number))
        mine.folder.mkdir()
        if command != "init":
            mine.init()
        for name in ("FILE", "alice.txt", "old.txt", "new.txt"):
            shutil.copy(mine.file(PHRASE), mine.folder / name)
        line = example
        if "--passphrase" not in line and command != "lock":
            line += " --passphrase-file FILE"
        if command == "passphrase" and "--new-passphrase" not in line:
            line += " --new-passphrase-file new.txt"
        ran = subprocess.run(
            ["/bin/bash", "-c", f"{COMMAND} {line}"],
            cwd=mine.folder,
            env=mine.environment,
            capture_output=True,
            check=False,
        )
        mine.run("lock")
        assert ran.returncode == 0, (line, ran.stderr)
