"""`keystead init`: one whole wallet or none, and a passphrase that only its owner sees."""

import json
import os
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keystead.cli.wallets import now
from keystead.custody.records import KeyRecord
from keystead.keystores import envelope as envelopes
from keystead.keystores.passphrase import PROFILES
from keystead.keystores.vault import LocalVault
from keystead.owner.wallet import KEY, Wallet
from keystead.stores.wallet import SqliteWallet
from support.canary import leaks
from support.commands import COMMAND
from support.machines import PHRASE, Machine, Ran, machine, terminal

INIT = ("init", "--kdf", "low-memory")


@pytest.fixture(name="mine")
def _mine(tmp_path: Path) -> Machine:
    return machine(tmp_path)


def _opened(mine: Machine, phrase: str = PHRASE) -> tuple[SqliteWallet, Wallet, bytes]:
    store = SqliteWallet.open(mine.home)
    envelope = store.envelope()
    data_key = envelopes.open_with(envelope, phrase.encode())
    vault = LocalVault(envelope.wallet, data_key, mine.folder / "state" / envelope.wallet)
    return store, Wallet(store, vault, now=now, actor="tester"), data_key


def _modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
    }


def test_a_new_wallet(mine: Machine) -> None:
    """A wallet is made with its keys, private to its owner, known on this machine."""
    made = mine.run(*INIT, "--json", phrase=PHRASE)
    assert made.code == 0, made.err
    store, wallet, _ = _opened(mine)
    assert json.loads(made.out) == {
        "home": str(mine.home),
        "wallet": wallet.vault.wallet,
        "kdf": dict(zip(("memory_kib", "passes", "lanes"), PROFILES["low-memory"], strict=True)),
    }
    keys = {one.id: one for one in wallet.records.all(KEY, KeyRecord)}
    assert {name: (one.type, one.state, one.parent) for name, one in keys.items()} == {
        "wallet.passphrase": ("wallet.passphrase", "active", ""),
        "wallet.data": ("wallet.data", "active", "wallet.passphrase"),
        "master.0": ("master.seed", "active", "wallet.data"),
    }
    assert all(one.expires_at for one in keys.values())
    assert wallet.vault.known_here()
    assert wallet.is_current()
    store.close()
    modes = {**_modes(mine.home), **_modes(mine.folder / "state")}
    assert set(modes.values()) == {0o600, 0o700}
    assert stat.S_IMODE(mine.home.stat().st_mode) == 0o700


def test_modes_do_not_depend_on_the_umask(mine: Machine) -> None:
    """Whatever the umask says, nobody else can read anything."""
    before = os.umask(0)
    try:
        mine.init()
    finally:
        os.umask(before)
    modes = {**_modes(mine.home), **_modes(mine.folder / "state")}
    assert set(modes.values()) == {0o600, 0o700}


def test_the_default_costs_enough(mine: Machine) -> None:
    """Without a profile each try takes 256 MiB, and about 0.7 s on any machine."""
    made = mine.run("init", "--json", phrase=PHRASE)
    kdf = json.loads(made.out)["kdf"]
    assert kdf["memory_kib"] == 256 * 1024
    assert 3 <= kdf["passes"] <= 10


def test_a_wallet_is_not_made_twice(mine: Machine) -> None:
    """Where a wallet is, nothing is changed."""
    mine.init()
    before = (mine.home / "wallet.db").read_bytes()
    again = mine.run(*INIT, phrase=PHRASE)
    assert (again.code, again.out) == (2, "")
    assert "[usage.exists]" in again.err
    assert (mine.home / "wallet.db").read_bytes() == before


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_an_open_folder_is_refused(mine: Machine, mode: int) -> None:
    """A folder that others can enter is no place for a wallet, and the hint tells what to do."""
    mine.home.mkdir()
    mine.home.chmod(mode)
    made = mine.run(*INIT, phrase=PHRASE)
    assert made.code == 1
    assert "[store.permissions]" in made.err
    assert "chmod 700" in made.err
    assert not list(mine.home.iterdir())


def test_a_file_in_the_place_of_the_folder(mine: Machine) -> None:
    """Something else in the place of the wallet is told of."""
    mine.home.touch(mode=0o600)
    made = mine.run(*INIT, phrase=PHRASE)
    assert made.code == 1
    assert re.search(r"\[store\.(permissions|io)\]", made.err)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("letmein1", "usage.weak_passphrase"),
        ("", "usage.argument"),
        ("x" * 2000, "usage.argument"),
        ("with \x07 a bell and other words", "usage.argument"),
    ],
)
def test_bad_passphrases(mine: Machine, text: str, code: str) -> None:
    """What is no good passphrase is refused, and not repeated; a better one makes the wallet."""
    made = mine.run(*INIT, phrase=text)
    assert made.code == 2
    assert f"[{code}]" in made.err
    assert not text or text not in made.err
    mine.init()


def test_without_a_terminal_nothing_is_asked(mine: Machine) -> None:
    """A script that gives no passphrase is told how to."""
    made = mine.run(*INIT)
    assert made.code == 2
    assert "--passphrase-file" in made.err


def test_the_passphrase_is_asked_for_twice(mine: Machine) -> None:
    """On a terminal it is typed twice, unseen."""
    with terminal(mine, *INIT) as asked:
        asked.answer(b": ", PHRASE.encode() + b"\n")
        asked.answer(b": ", PHRASE.encode() + b"\n")
        ended = asked.end()
    assert ended.code == 0, ended.err
    assert leaks({"passphrase": PHRASE.encode()}, outputs=_outputs(ended, asked.shown)) == []
    _opened(mine)[0].close()


def _outputs(ran: Ran, *more: bytes) -> list[bytes]:
    return [ran.out.encode(), ran.err.encode(), *more]


def test_answers_that_differ(mine: Machine) -> None:
    """Two different answers make no wallet."""
    with terminal(mine, *INIT) as asked:
        asked.answer(b": ", PHRASE.encode() + b"\n")
        asked.answer(b": ", PHRASE.encode() + b"!\n")
        ended = asked.end()
    assert ended.code == 2
    assert "differ" in ended.err
    mine.init()


def test_a_generated_passphrase_is_shown_on_the_terminal_only(mine: Machine) -> None:
    """It is neither in the output, which may be kept, nor in what goes to stderr; and it fits."""
    with terminal(mine, *INIT, "--json") as asked:
        asked.answer(b": ", b"\n")
        shown = asked.answer(b"written down: ", b"\n").decode()
        ended = asked.end()
    assert ended.code == 0, ended.err
    (phrase,) = re.findall(r"\n\s*((?:[a-z-]+ ){5}[a-z-]+)\s*\n", shown)
    store, _, data_key = _opened(mine, phrase)
    store.close()
    secrets = {"passphrase": phrase.encode(), "data key": data_key}
    outputs = _outputs(ended)
    assert leaks(secrets, folders=[mine.folder], outputs=outputs) == []
    assert json.loads(ended.out)["home"] == str(mine.home)


def test_nothing_is_made_before_the_passphrase_was_seen(mine: Machine) -> None:
    """Whoever closes the terminal instead has no wallet with a passphrase that nobody knows."""
    with terminal(mine, *INIT) as asked:
        asked.answer(b": ", b"\n")
        asked.until(b"written down: ")
        asked.close()
        assert asked.end().code != 0
    assert "store.missing" in mine.run("status").err
    mine.init()


def test_no_secret_is_anywhere(mine: Machine) -> None:
    """Passphrase and data key are in no file, no output and no trace, in any spelling."""
    mine.init()
    store, wallet, data_key = _opened(mine)
    seed = wallet.records.sealed("secret", "master.0")
    store.close()
    assert seed is not None
    runs = [
        mine.run("status", phrase=PHRASE),
        mine.run("unlock", phrase=PHRASE),
        mine.run("status", "--json"),
        mine.run("lock"),
        mine.run("init", phrase=PHRASE),
        mine.run("status", phrase=PHRASE + "!"),
    ]
    outputs = [one for ran in runs for one in _outputs(ran)]
    secrets = {"passphrase": PHRASE.encode(), "data key": data_key}
    kept = [path for path in mine.folder.iterdir() if path.name != "given"]
    assert leaks(secrets, folders=kept, outputs=outputs) == []
    given = leaks(secrets, folders=[mine.folder / "given"])
    assert [one.split()[0] for one in given] == ["passphrase"]  # it would be found


def test_an_interrupted_init_is_finished(mine: Machine) -> None:
    """Tables without a wallet are what a kill leaves; the next init makes the wallet there."""
    SqliteWallet.create(mine.home).close()
    for command in (("status",), ("unlock",)):
        ran = mine.run(*command, phrase=PHRASE)
        assert ran.code == 1
        assert "[store.missing]" in ran.err
        assert "keystead init" in ran.err
    mine.init()
    assert mine.run("status", phrase=PHRASE).code == 0


# Runs the command and kills it before its nth call that changes the disk.
_KILLED = """
import os, sqlite3, sys
left = [int(sys.argv.pop(1))]
def guarded(call):
    def before(*given, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), 9)
        return call(*given, **named)
    return before
for name in ("open", "mkdir", "chmod", "fsync", "fdatasync"):
    setattr(os, name, guarded(getattr(os, name)))
connect = sqlite3.connect
class Connection(sqlite3.Connection):
    pass
Connection.execute = guarded(sqlite3.Connection.execute)
sqlite3.connect = lambda *given, **named: connect(*given, factory=Connection, **named)
from keystead.cli.main import main
sys.argv[0] = "keystead"
main()
"""


def test_a_kill_at_any_time(mine: Machine) -> None:
    """After a kill there is a whole wallet or none, and init makes one if there is none."""
    given = mine.file(PHRASE)
    number, made, ended = 0, 0, signal.SIGKILL.value
    while ended == signal.SIGKILL:
        here = machine(mine.folder / str(number))
        here.folder.mkdir()
        arguments = [str(number), *INIT, "--passphrase-file", str(given)]
        ran = subprocess.run(
            [sys.executable, "-c", _KILLED, *arguments],
            env=here.uncovered,
            capture_output=True,
            check=False,
        )
        ended = -ran.returncode
        again = here.run(*INIT, phrase=PHRASE)
        if again.code:
            assert "[usage.exists]" in again.err, (number, again.err)
            made += 1
        store, wallet, _ = _opened(here)
        assert wallet.is_current()
        assert wallet.state().identifiers == 0
        store.close()
        number += 11
    assert ended == 0, ran.stderr
    assert made == 1  # the last, which nothing killed
    assert number > 100


def test_two_at_once(mine: Machine) -> None:
    """Of two that make a wallet in one place, one does and the other is told."""
    given = mine.file(PHRASE)
    command = [str(COMMAND), *INIT, "--passphrase-file", str(given)]
    both = [
        subprocess.Popen(
            command, env=mine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = [one.communicate(timeout=60)[1] for one in both]
    assert sorted(one.returncode for one in both) in ([0, 1], [0, 2])
    lost = told[0] if both[0].returncode else told[1]
    assert re.search(rb"\[(usage\.exists|store\.busy)\]", lost), lost
    assert mine.run("status", phrase=PHRASE).code == 0


@pytest.mark.parametrize("size", [0, 5_000, 50_000, 150_000])
def test_a_full_disk(mine: Machine, size: int) -> None:
    """Where there is no room it says so, and makes the wallet when there is."""
    given = mine.file(PHRASE)
    ran = subprocess.run(
        [str(COMMAND), *INIT, "--passphrase-file", str(given)],
        env=mine.uncovered,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert ran.returncode == 1, ran.stderr
    assert re.search(rb"\[store\.(full|io)\]", ran.stderr), ran.stderr
    assert b"Traceback" not in ran.stderr
    mine.init()


def test_a_read_only_place(mine: Machine) -> None:
    """Where nothing can be written it says so."""
    ran = mine.run(*INIT, "--home", "/proc/keystead", phrase=PHRASE)
    assert ran.code == 1
    assert re.search(r"\[store\.(io|full)\]", ran.err)


@pytest.mark.parametrize("name", ["a / b", "ключ 🔑", "-x", "a%20b?c=d&e#f", "x" * 150])
def test_odd_names_of_folders(mine: Machine, name: str) -> None:
    """A wallet can lie in a folder of any name."""
    home = mine.folder / name
    made = mine.run(*INIT, "--home", str(home), phrase=PHRASE)
    assert made.code == 0, made.err
    assert (home / "wallet.db").is_file()
    assert mine.run("unlock", "--home", str(home), phrase=PHRASE).code == 0
    assert mine.run("status", "--home", str(home)).code == 0
    assert mine.run("lock", "--home", str(home)).out == "locked\n"


def test_the_usual_folders(tmp_path: Path) -> None:
    """Without a name the wallet is where the system keeps the data of programs, its marks apart."""
    mine = machine(tmp_path)
    environment = {
        name: value
        for name, value in mine.environment.items()
        if not name.startswith(("KEYSTEAD", "XDG"))
    }
    given = mine.file(PHRASE)
    made = subprocess.run(
        [str(COMMAND), *INIT, "--passphrase-file", str(given)],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (database,) = tmp_path.rglob("wallet.db")
    (marks,) = tmp_path.rglob("marks")
    assert database.parent not in marks.parents


def test_the_database_is_durable(mine: Machine) -> None:
    """The wallet is in the write-ahead mode in which a commit is synced."""
    mine.init()
    connection = sqlite3.connect(mine.home / "wallet.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.timed
def test_it_does_not_take_long(mine: Machine) -> None:
    """A wallet of the small profile is made in a few seconds."""
    begin = time.monotonic()
    mine.init()
    assert time.monotonic() - begin < 5
