"""The signer process: serves whoever may ask, stalls for nobody, ends when it must."""

import ctypes
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keystores import address, protocol, remote, server
from keystead.keystores import process as starting
from keystead.keystores.address import SOCKET, connect, listen
from keystead.keystores.hardening import harden
from keystead.keystores.process import Start, start
from keystead.keystores.remote import RemoteVault, find_vault, lock
from keystead.keystores.server import MOST_PEERS, Server
from keystead.keystores.vault import LocalVault
from keystead.owner.identifiers import create, rotate
from keystead.owner.plans import Change, Creation
from keystead.owner.wallet import Wallet
from keystead.ports.keys import SECRET, KeySource, Mark, Plain, Sealed
from keystead.stores.wallet import SqliteWallet
from keystead.suites import Suite
from support.canary import leaks
from support.children import ended, spawn
from support.signers import eventually, is_running, signer, signers, start_signer
from support.wallets import DATA_KEY, WALLET, LocalWallet, make_wallet

CANARY = b"canary-key-0123456789-abcdefghij"


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    return make_wallet(tmp_path)


def _vault(wallet: LocalWallet) -> RemoteVault:
    found = find_vault(wallet.home, WALLET)
    assert found is not None
    return found


def _answers(wallet: LocalWallet) -> bool:
    """Tell whether the process answers."""
    vault = _vault(wallet)
    try:
        return bool(vault.tag("a", "b"))
    finally:
        vault.close()


def _raw(wallet: LocalWallet) -> socket.socket:
    connection = connect(wallet.home)
    assert connection is not None
    connection.settimeout(10)
    return connection


def _code(wallet: LocalWallet, data: bytes) -> str:
    """Send one message and return the code of the failure that is the answer."""
    with _raw(wallet) as connection:
        connection.sendall(data)
        answer = protocol.receive(connection)
        assert answer is not None
        failure = protocol.ANSWERS.decode(answer).failure
        assert failure is not None
        return failure.code


def test_it_does_what_a_vault_does(wallet: LocalWallet) -> None:
    """A wallet works through the process as with the vault itself."""
    with signer(wallet):
        vault = _vault(wallet)
        through = Wallet(wallet.store, vault, now=wallet.clock, actor="tester")
        record = create(through, "alice", Creation(keys=2, suite=Suite.SECP256R1))
        rotate(through, "alice", Change())
        assert vault.known_here()
        assert vault.latest_mark() == wallet.vault.latest_mark()
        assert vault.marks([record.aid, Aid("E" * 44)])[1] is None
        assert vault.tag("a", "b") == wallet.vault.tag("a", "b")
        (mark,) = vault.marks([record.aid])
        assert mark is not None
        vault.set_mark(mark)
        vault.adopt()
        secret = wallet.records.sealed(SECRET, "master.0")
        assert secret is not None
        assert vault.check([secret]) == [True]
        branch = Sealed(
            SECRET,
            "branch.0.0",
            9,
            *vault.branch(secret, [0], [Plain(SECRET, "branch.0.0", 9, b"")]),
        )
        erased = vault.erase(branch, "derived:0/0/sign.0/0", 10)
        assert vault.check([Sealed(SECRET, "branch.0.0", 10, erased)]) == [True]
        source = KeySource("derived:0/0/sign.0/1", Suite.ED25519, branch)
        (public,) = vault.public_keys([source])
        vault.prove_possession(source, public)
        vault.close()


def test_errors_come_across(wallet: LocalWallet) -> None:
    """An error in the process is the same error in the command."""
    with signer(wallet):
        vault = _vault(wallet)
        secret = wallet.records.sealed(SECRET, "master.0")
        assert secret is not None
        with pytest.raises(KeystoreError) as caught:
            vault.open([secret])
        assert caught.value.code is ErrorCode.ROLE
        shutil.rmtree(wallet.folder / "state")
        with pytest.raises(KeystoreError) as behind:
            vault.set_mark(msgspec.convert(_MARK, type=Mark))
        assert behind.value.code is ErrorCode.BEHIND
        vault.close()


_MARK = {"aid": "E", "sn": 0, "said": "E", "raw": b"", "audit_count": 0, "audit_head": b""}


def test_it_never_gives_a_key_out(wallet: LocalWallet) -> None:
    """Nothing that can be asked has a key or a seed in its answer."""
    seed = Plain(SECRET, "imported.mine", 1, CANARY)
    with signer(wallet):
        vault = _vault(wallet)
        (data,) = vault.seal([seed])
        source = KeySource("imported:mine", Suite.ED25519, Sealed(SECRET, seed.id, 1, data))
        said = [
            data,
            *vault.public_keys([source]),
            vault.tag("secret", "imported.mine"),
            vault.new_seed("master.3", 1),
        ]
        for request in (
            protocol.Open([Sealed(SECRET, seed.id, 1, data)]),
            protocol.Open([Sealed("key", seed.id, 1, data)]),
            protocol.Erase(Sealed(SECRET, seed.id, 1, data), "imported:mine", 2),
            protocol.Branch(
                Sealed(SECRET, seed.id, 1, data), [0], [Plain("x", "branch..0", 1, b"")]
            ),
        ):
            with _raw(wallet) as connection:
                protocol.send(connection, request)
                said.append(protocol.receive(connection) or b"")
        vault.close()
    assert leaks({"seed": CANARY, "data key": DATA_KEY}, outputs=said) == []


def test_nothing_secret_is_in_sight(wallet: LocalWallet) -> None:
    """Arguments, environment and files of the process tell no key, and it dumps no core."""
    with signer(wallet) as process:
        proc = Path(f"/proc/{process}")
        seen = [(proc / "cmdline").read_bytes()]
        assert b"keystead.keystores.process" in seen[0]
        assert leaks({"data key": DATA_KEY}, folders=[wallet.folder], outputs=seen) == []
        limits = (proc / "limits").read_text()
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]
        if os.getuid() != 0:
            with pytest.raises(PermissionError):
                (proc / "environ").read_bytes()
            return
        # The administrator can look further.
        environment = (proc / "environ").read_bytes()
        assert leaks({"data key": DATA_KEY}, outputs=[environment]) == []
        opened = {str(one.readlink()) for one in (proc / "fd").iterdir()}
        assert not [one for one in opened if one.startswith(("pipe:", "/dev/pts"))]
        assert (proc / "cwd").readlink() == Path("/")


def test_debuggers_are_kept_out() -> None:
    """A hardened process cannot be looked into by others of the same user."""
    child = os.fork()
    if child == 0:  # pragma: no cover - ends without the measuring
        harden()
        os._exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_key_is_wiped_where_it_was_handed_over(wallet: LocalWallet) -> None:
    """Whoever starts the process does not keep the key in its hands."""
    key = bytearray(DATA_KEY)
    about = Start(
        wallet=WALLET,
        home=str(wallet.home),
        database=str(wallet.home / "wallet.db"),
        marks=str(wallet.folder / "state"),
        idle=60.0,
    )
    assert not start(about, key)
    assert key == bytes(32)
    assert lock(wallet.home)


def _children() -> set[str]:
    return {
        one
        for task in Path("/proc/self/task").iterdir()
        for one in (task / "children").read_text().split()
    }


def test_no_dead_process_is_left(wallet: LocalWallet) -> None:
    """The process is nobody's child: whoever started it has none to wait for."""
    before = _children()
    with signer(wallet) as process:
        assert _children() == before
        assert str(process) not in before
    assert eventually(lambda: not is_running(process))
    assert _children() == before


def test_locking_ends_it(wallet: LocalWallet) -> None:
    """After lock the socket is gone, the process has ended, and nobody needs to be told twice."""
    with signer(wallet) as process:
        assert lock(wallet.home)
        assert not (wallet.home / SOCKET).exists()
        assert eventually(lambda: not is_running(process))
        assert not lock(wallet.home)
        assert find_vault(wallet.home, WALLET) is None


def test_locking_nothing(tmp_path: Path) -> None:
    """To lock a wallet that is not there is no error."""
    assert not lock(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert not lock(tmp_path / "file")


def test_a_command_notices_that_the_wallet_was_locked(wallet: LocalWallet) -> None:
    """A command that has begun is told, not left waiting."""
    with signer(wallet):
        vault = _vault(wallet)
        assert lock(wallet.home)
        with pytest.raises(KeystoreError) as caught:
            vault.tag("a", "b")
        assert caught.value.code is ErrorCode.LOCKED
        vault.close()


def test_a_killed_process_leaves_no_obstacle(wallet: LocalWallet) -> None:
    """The socket of a process that was killed is taken over by the next."""
    with signer(wallet) as process:
        os.kill(process, signal.SIGKILL)
        assert eventually(lambda: not is_running(process))
        assert (wallet.home / SOCKET).exists()
        assert find_vault(wallet.home, WALLET) is None
        assert not lock(wallet.home)
        assert not start_signer(wallet)
        assert _answers(wallet)


def test_the_socket_is_private(wallet: LocalWallet) -> None:
    """Only this user can connect, whatever the umask says."""
    before = os.umask(0)
    try:
        with signer(wallet):
            assert stat.S_IMODE((wallet.home / SOCKET).stat().st_mode) == 0o600
            assert sorted(path.name for path in wallet.home.iterdir()) == [
                "signer.sock",
                "wallet.db",
                "wallet.db-shm",
                "wallet.db-wal",
            ]
    finally:
        os.umask(before)


def test_where_there_are_none(wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems the wallet is always locked, and unlock says why."""
    with signer(wallet):
        monkeypatch.setattr(address, "AVAILABLE", False)
        assert find_vault(wallet.home, WALLET) is None
        monkeypatch.setattr(starting, "AVAILABLE", False)
        with pytest.raises(KeystoreError) as caught:
            start_signer(wallet)
        assert caught.value.code is ErrorCode.SIGNER_PROCESS
        monkeypatch.undo()


def test_a_long_path(tmp_path: Path) -> None:
    """A wallet may lie deeper than the path of a socket can be long."""
    wallet = make_wallet(tmp_path.joinpath(*["a folder with a long name"] * 8))
    assert len(str(wallet.home)) > 200
    with signer(wallet):
        assert _answers(wallet)


def test_another_process_takes_the_place(wallet: LocalWallet) -> None:
    """A second start replaces the first, whose connections end."""
    with signer(wallet) as first:
        vault = _vault(wallet)
        assert start_signer(wallet, idle=50.0)
        assert eventually(lambda: not is_running(first))
        with pytest.raises(KeystoreError):
            vault.tag("a", "b")
        vault.close()
        with _raw(wallet) as connection:
            protocol.send(connection, protocol.Hello())
            answer = protocol.ANSWERS.decode(protocol.receive(connection) or b"")
        welcome = msgspec.msgpack.decode(answer.result, type=protocol.Welcome)
        assert 0 < welcome.seconds_left <= 50


def test_many_starts_at_once(wallet: LocalWallet) -> None:
    """However many start at the same time, one process is left, and it answers."""
    children = [spawn(lambda: start_signer(wallet)) for _ in range(4)]
    try:
        assert [ended(child) for child in children] == [0, 0, 0, 0]
        assert eventually(lambda: len(signers(wallet.home)) == 1)
        assert _answers(wallet)
    finally:
        assert lock(wallet.home)
    assert eventually(lambda: not signers(wallet.home))


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"garbage", b"\x93\x01\x02\x03", b"\x81\xa4type\xa4seek", bytes(1000)]
)
def test_garbage_is_answered(wallet: LocalWallet, data: bytes) -> None:
    """What is no request is refused, and the process goes on."""
    with signer(wallet):
        framed = len(data).to_bytes(4, "big") + data
        assert _code(wallet, framed) == ErrorCode.SIGNER_PROCESS
        assert _answers(wallet)


def test_a_request_that_fails_unexpectedly(wallet: LocalWallet) -> None:
    """A fault of the process itself is told by its kind alone, and the process goes on."""
    with signer(wallet):
        vault = _vault(wallet)
        (data,) = vault.seal([Plain(SECRET, "imported.mine", 1, b"canary-of-nineteen!")])
        source = KeySource("imported:mine", Suite.ED25519, Sealed(SECRET, "imported.mine", 1, data))
        with pytest.raises(KeystoreError) as caught:
            vault.public_keys([source])
        assert caught.value.code is ErrorCode.SIGNER_PROCESS
        assert caught.value.message == "the signer process failed: ValueError"
        assert vault.tag("a", "b")
        vault.close()


def _peak(process: int) -> int:
    """Return the most memory that a process ever had, in KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


@pytest.mark.parametrize("size", [protocol.LONGEST + 1, 2**32 - 1])
def test_a_huge_message_is_refused(wallet: LocalWallet, size: int) -> None:
    """A length that no message has ends the connection before anything is kept."""
    with signer(wallet) as process:
        before = _peak(process)
        with _raw(wallet) as connection:
            connection.sendall(size.to_bytes(4, "big"))
            assert connection.recv(1) == b""
        assert _peak(process) < before + 4096
        assert _answers(wallet)


def test_a_long_length_takes_no_memory(wallet: LocalWallet) -> None:
    """Room is made for what has come, not for what was announced."""
    with signer(wallet) as process:
        before = _peak(process)
        with _raw(wallet) as connection:
            connection.sendall(protocol.LONGEST.to_bytes(4, "big") + b"x")
            assert _answers(wallet)
            assert _peak(process) < before + 4096


def test_who_stalls_keeps_nobody_waiting(wallet: LocalWallet) -> None:
    """Commands that send half a request, or take no answers, do not stop others."""
    with signer(wallet), _raw(wallet) as slow, _raw(wallet) as deaf:
        slow.sendall(b"\0\0\1")
        deaf.settimeout(0)
        request = protocol.frame(protocol.Seal([Plain("x", "y", 1, bytes(100_000))]))
        with pytest.raises(BlockingIOError):
            deaf.sendall(request * 100)
        begin = time.monotonic()
        vault = _vault(wallet)
        assert vault.tag("a", "b")
        assert time.monotonic() - begin < 2
        vault.close()


def test_large_requests_and_answers_arrive(wallet: LocalWallet) -> None:
    """The records of many keys fit into one request."""
    records = [Plain("key", str(number), 1, bytes(500)) for number in range(10_000)]
    with signer(wallet):
        vault = _vault(wallet)
        sealed = [
            Sealed(one.kind, one.id, 1, data)
            for one, data in zip(records, vault.seal(records), strict=True)
        ]
        assert vault.open(sealed) == [one.data for one in records]
        vault.close()


def test_more_commands_than_it_serves(wallet: LocalWallet) -> None:
    """One connection too many is closed, and there is room again when others end."""
    with signer(wallet):
        held = [_raw(wallet) for _ in range(MOST_PEERS + 1)]
        assert held[-1].recv(1) == b""
        protocol.send(held[-10], protocol.Hello())
        assert protocol.receive(held[-10]) is not None
        for one in held:
            one.close()
        assert _answers(wallet)


def test_it_locks_when_idle(wallet: LocalWallet) -> None:
    """Without requests it ends; to ask how long it stays is none."""
    with signer(wallet, idle=1.5) as process:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            vault = _vault(wallet)
            assert 0 <= vault.seconds_left <= 1
            vault.close()
            time.sleep(0.1)
        assert eventually(lambda: not is_running(process))
        assert not (wallet.home / SOCKET).exists()


def test_use_keeps_it_open(wallet: LocalWallet) -> None:
    """Each request begins the time anew."""
    with signer(wallet, idle=1.5):
        vault = _vault(wallet)
        for _ in range(8):
            time.sleep(0.4)
            assert vault.tag("a", "b")
        vault.close()


def test_it_ends_when_told_to(wallet: LocalWallet) -> None:
    """The signal of a system that shuts down ends it properly."""
    with signer(wallet) as process:
        os.kill(process, signal.SIGHUP)
        assert _answers(wallet)
        os.kill(process, signal.SIGTERM)
        assert eventually(lambda: not is_running(process))
        assert not (wallet.home / SOCKET).exists()


def test_it_ends_when_its_wallet_goes(wallet: LocalWallet) -> None:
    """When the folder of the wallet is deleted nothing stays in memory."""
    with signer(wallet) as process:
        shutil.rmtree(wallet.home)
        assert eventually(lambda: not is_running(process))


def test_it_ends_when_its_wallet_is_replaced(wallet: LocalWallet) -> None:
    """When another database is put in the place of the wallet, it serves that no longer."""
    with signer(wallet) as process:
        other = wallet.home / "other.db"
        shutil.copyfile(wallet.home / "wallet.db", other)
        other.chmod(0o600)
        other.replace(wallet.home / "wallet.db")
        assert eventually(lambda: not is_running(process))
        assert not (wallet.home / SOCKET).exists()


def test_it_ends_when_it_cannot_be_reached(wallet: LocalWallet) -> None:
    """Without its socket nobody could lock it."""
    with signer(wallet) as process:
        (wallet.home / SOCKET).unlink()
        assert eventually(lambda: not is_running(process))


def test_another_wallet_is_not_served(wallet: LocalWallet) -> None:
    """A command whose wallet has another name does not use the keys of this one."""
    with signer(wallet), pytest.raises(KeystoreError) as caught:
        find_vault(wallet.home, "another")
    assert caught.value.code is ErrorCode.SIGNER_PROCESS


def test_a_process_that_hangs(wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer is told of, and killed by lock."""
    monkeypatch.setattr(remote, "_PATIENCE", 0.3)
    monkeypatch.setattr(remote, "_MOMENT", 0.3)
    with signer(wallet) as process:
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(KeystoreError) as caught:
            find_vault(wallet.home, WALLET)
        assert caught.value.code is ErrorCode.SIGNER_PROCESS
        assert lock(wallet.home)
        assert eventually(lambda: not is_running(process))
        assert find_vault(wallet.home, WALLET) is None


def test_a_late_answer_is_not_taken_for_another(
    wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a request was not answered in time, nothing more is asked over its connection."""
    monkeypatch.setattr(remote, "_PATIENCE", 0.5)
    with signer(wallet) as process:
        vault = _vault(wallet)
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(KeystoreError) as caught:
            vault.tag("a", "first")
        assert caught.value.code is ErrorCode.SIGNER_PROCESS
        os.kill(process, signal.SIGCONT)
        with pytest.raises(KeystoreError) as caught:
            vault.tag("a", "second")
        assert caught.value.code is ErrorCode.LOCKED
        monkeypatch.setattr(remote, "_PATIENCE", 10.0)
        fresh = _vault(wallet)
        assert fresh.tag("a", "second") == wallet.vault.tag("a", "second")
        fresh.close()


def test_what_is_no_signer_process(wallet: LocalWallet) -> None:
    """Something else at the socket is told of, not believed."""
    with listen(wallet.home) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"\0\0\0\5HTTP/")

        child = spawn(answer)
        with pytest.raises(KeystoreError) as caught:
            find_vault(wallet.home, WALLET)
        assert ended(child) == 0
    assert caught.value.code is ErrorCode.SIGNER_PROCESS


def test_a_socket_that_cannot_be_reached(wallet: LocalWallet) -> None:
    """Something in the place of the socket that is none is told of."""
    (wallet.home / SOCKET).mkdir()
    assert find_vault(wallet.home, WALLET) is None


def test_the_database_stays_open(wallet: LocalWallet) -> None:
    """No command is the last to close the database, so the log of writes stays until lock."""
    wallet.sqlite.close()
    assert not (wallet.home / "wallet.db-wal").exists()
    with signer(wallet):
        store = SqliteWallet.open(wallet.home)
        with store.transaction():
            store.set_attempts(1, 2)
        store.close()
        assert (wallet.home / "wallet.db-wal").stat().st_size > 0
        again = SqliteWallet.open(wallet.home)
        assert again.attempts() == (1, 2)
        again.scrub()  # which nobody stands in the way of
        again.close()
        assert (wallet.home / "wallet.db-wal").stat().st_size == 0
    assert eventually(lambda: not (wallet.home / "wallet.db-wal").exists())


def _about(wallet: LocalWallet, **changes: str) -> Start:
    places = {
        "wallet": WALLET,
        "home": str(wallet.home),
        "database": str(wallet.home / "wallet.db"),
        "marks": str(wallet.folder / "state"),
        **changes,
    }
    return msgspec.convert({**places, "idle": 60.0}, type=Start)


@pytest.mark.parametrize(
    "changes", [{"home": "/nowhere/at/all"}, {"database": "/nowhere.db"}], ids=str
)
def test_a_start_that_fails(wallet: LocalWallet, changes: dict[str, str]) -> None:
    """It is told why, and nothing is left running."""
    key = bytearray(DATA_KEY)
    with pytest.raises(KeystoreError) as caught:
        start(_about(wallet, **changes), key)
    assert caught.value.code is ErrorCode.SIGNER_PROCESS
    assert key == bytes(32)
    assert not (wallet.home / SOCKET).exists()
    assert not signers(wallet.home)


def test_a_start_that_takes_too_long(wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for a process that says nothing."""
    monkeypatch.setattr(starting, "_LONGEST_START", 0.0)
    with pytest.raises(KeystoreError) as caught:
        start(_about(wallet), bytearray(DATA_KEY))
    assert "takes too long" in caught.value.message
    assert eventually(lambda: lock(wallet.home) or not signers(wallet.home))
    assert eventually(lambda: not signers(wallet.home))


@pytest.mark.parametrize("given", [b"", b"short", bytes(32), bytes(32) + b"\xc1"])
def test_what_is_no_start(wallet: LocalWallet, given: bytes) -> None:
    """Without a key, or told nonsense, the process ends at once."""
    command = [sys.executable, "-I", "-m", "keystead.keystores.process"]
    ended = subprocess.run(command, input=given, capture_output=True, check=False, timeout=30)
    assert b"ready" not in ended.stdout
    assert not signers(wallet.home)


@contextmanager
def _served(wallet: LocalWallet) -> Iterator[int]:
    """Serve in a copy of this process; files tell it that the machine slept, or the loss."""

    def told(name: str) -> bool:
        return (wallet.folder / name).exists()

    def serve() -> None:
        vault = LocalVault(WALLET, DATA_KEY, wallet.folder / "state")
        serving = Server(
            vault,
            listener,
            60.0,
            lost=lambda: told("lost"),
            drift=lambda: 10.0 * told("slept") + told("drifted"),
        )
        serving.serve()
        serving.close()

    with listen(wallet.home) as listener:
        child = spawn(serve)
    try:
        yield child
    finally:
        assert lock(wallet.home) or told("lost") or told("slept")
        assert ended(child) == 0


@pytest.mark.parametrize("what", ["slept", "lost"])
def test_it_locks_when_the_machine_sleeps(wallet: LocalWallet, what: str) -> None:
    """After a suspension, or a loss of the wallet, it ends."""
    with _served(wallet) as process:
        assert _answers(wallet)
        (wallet.folder / "drifted").touch()  # clocks may differ a little
        assert _answers(wallet)
        (wallet.folder / what).touch()
        assert eventually(lambda: not is_running(process))


def test_requests_that_waited_for_the_machine_to_wake(wallet: LocalWallet) -> None:
    """What was asked before the machine slept is not answered after it woke."""
    with _served(wallet) as process, _raw(wallet) as connection:
        protocol.send(connection, protocol.Hello())
        assert protocol.receive(connection)
        os.kill(process, signal.SIGSTOP)
        protocol.send(connection, protocol.Tag("a", "b"))
        (wallet.folder / "slept").touch()
        os.kill(process, signal.SIGCONT)
        with suppress(ConnectionResetError):
            assert protocol.receive(connection) is None


def test_other_users_are_not_served(wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of another user is closed before anything is read from it."""
    with listen(wallet.home) as listener:
        monkeypatch.setattr(server, "peer", lambda _: (1, os.getuid() + 1))
        vault = LocalVault(WALLET, DATA_KEY, wallet.folder / "state")
        child = spawn(Server(vault, listener, 60.0, lost=lambda: False).serve)
        with _raw(wallet) as refused:
            protocol.send(refused, protocol.Lock())
            with suppress(ConnectionResetError):
                assert refused.recv(1) == b""
        assert is_running(child)
        os.kill(child, signal.SIGKILL)
        assert ended(child) == -signal.SIGKILL


def test_a_process_of_another_user_is_not_believed(
    wallet: LocalWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are not shown to a process that another user has put there."""
    with listen(wallet.home):
        monkeypatch.setattr(address, "peer", lambda _: (1, os.getuid() + 1))
        with pytest.raises(KeystoreError) as caught:
            find_vault(wallet.home, WALLET)
    assert caught.value.code is ErrorCode.SIGNER_PROCESS


def test_a_store_error_comes_across(wallet: LocalWallet) -> None:
    """An error of another class stays what it is."""
    with signer(wallet):
        vault = _vault(wallet)
        (wallet.folder / "state" / "marks").chmod(0o666)
        with pytest.raises(StoreError) as caught:
            vault.latest_mark()
        assert caught.value.code is ErrorCode.STORE_PERMISSIONS
        vault.close()
