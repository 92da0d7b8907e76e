"""No secret of a wallet is anywhere but sealed in its database, whatever the commands do.

The secrets are the real ones: passphrases that were typed, and everything that an open database
holds, down to the seed of each key. They are looked for in all spellings.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from keystead.cesr import primitives
from keystead.cesr.keys import make_key
from keystead.cli.wallets import now
from keystead.custody.records import KeyRecord
from keystead.custody.uri import DerivedUri, parse_uri
from keystead.errors import KeystoreError
from keystead.keystores import derivation, passphrase
from keystead.keystores import envelope as envelopes
from keystead.keystores.derivation import Branch, Link
from keystead.keystores.passphrase import KdfParameters
from keystead.keystores.sealing import DataKey
from keystead.keystores.vault import LocalVault
from keystead.owner.wallet import KEY, Wallet
from keystead.ports.keys import SECRET, Sealed
from keystead.stores.wallet import SqliteWallet
from keystead.suites import Suite, public_key
from support.canary import leaks
from support.commands import COMMAND
from support.machines import PHRASE, Machine, Ran, machine

AFTER = "canary-passphrase that nobody would guess in ninety years"
WRONG = "canary-passphrase that does not open anything at all ever"
PIN = "canary-PIN-20260102"
SEED = bytes(range(100, 132))
IMPORTED = make_key(Suite.ED25519, public_key(Suite.ED25519, SEED)).text

# Has the command fail where nobody expects it, with secrets in the hands of its frames.
CRASHING = """
import sys
from keystead.keystores.sealing import DataKey
def fail(self, record):
    raise RuntimeError("a fault of the program")
DataKey.seal = fail
from keystead.cli.main import main
main()
"""


def opened(mine: Machine, phrase: str) -> dict[str, bytes]:
    """Return every secret that a wallet holds now, by a name to tell it by."""
    with closing(SqliteWallet.open(mine.home)) as store:
        envelope = store.envelope()
        parameters = KdfParameters(
            memory_kib=envelope.memory_kib,
            passes=envelope.passes,
            lanes=envelope.lanes,
            salt=envelope.salt,
        )
        data_key = envelopes.open_with(envelope, phrase.encode())
        keys = DataKey(envelope.wallet, data_key)
        vault = LocalVault(envelope.wallet, data_key, mine.folder / "state" / envelope.wallet)
        wallet = Wallet(store, vault, now=now, actor="tester")
        found = {
            "key of the passphrase": passphrase.derive_key(phrase.encode(), parameters),
            "data key": bytes(data_key),
            "key of the marks": keys.marks_key,
        }
        secrets = {row.id: row for row in store.rows(SECRET)}
        contents = {
            name: keys.open(Sealed(SECRET, name, row.generation, row.data))
            for name, row in secrets.items()
        }
        for name, data in contents.items():
            found |= _inside(name, data)
        for key in wallet.records.all(KEY, KeyRecord):
            found |= _seed(key, contents)
        return found


def _inside(name: str, data: bytes) -> dict[str, bytes]:
    if not name.startswith("branch."):
        return {name: data}
    branch = msgspec.msgpack.decode(data, type=Branch)
    links: dict[str, Link] = {"rest": branch.rest, **branch.slots}
    return {f"{name} {slot}": link.key for slot, link in links.items()}


def _seed(key: KeyRecord, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return the seed of a key that is derived."""
    uri = parse_uri(key.uri) if key.uri else None
    if not isinstance(uri, DerivedUri):
        return {}
    branch = f"branch.{uri.epoch}.{uri.identifier}"
    name = branch if branch in contents else f"master.{uri.epoch}"
    return {key.uri: derivation.key_seed(name, contents[name], uri, Suite[key.suite])}


class Life:
    """Everything that a wallet went through, and all that was printed.

    Attributes:
        mine: the machine.
        ran: how each command ended.
        secrets: all secrets that there ever were.
    """

    def __init__(self, mine: Machine, prefix: tuple[str, ...] = ()) -> None:
        self.mine = mine
        self.ran: list[Ran] = []
        self.secrets: dict[str, bytes] = {
            "passphrase": PHRASE.encode(),
            "later passphrase": AFTER.encode(),
            "wrong passphrase": WRONG.encode(),
            "PIN": PIN.encode(),
            "imported seed": SEED,
        }
        self._prefix = prefix

    def run(self, *arguments: str | Path, code: int = 0) -> Ran:
        """Run a command that ends as expected."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # No pipes: the signer process and who watches it have them open for as long as they
            # live.
            ended = subprocess.run(
                [*self._prefix, *map(str, arguments)],
                env=self.mine.environment,
                cwd=self.mine.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                check=False,
                timeout=120,
                start_new_session=True,
            )
            out.seek(0)
            err.seek(0)
            ran = Ran(ended.returncode, out.read().decode(), err.read().decode())
        self.ran.append(ran)
        assert ran.code == code, (arguments, ran)
        return ran

    def keystead(self, *arguments: str | Path, code: int = 0) -> Ran:
        """Run the installed command."""
        return self.run(COMMAND, *arguments, code=code)

    def remember(self, phrase: str) -> None:
        """Take note of all secrets that there are now."""
        self.secrets |= opened(self.mine, phrase)

    @property
    def printed(self) -> list[bytes]:
        """What the commands printed."""
        return [text.encode() for one in self.ran for text in (one.out, one.err)]


def live(life: Life) -> None:
    """Use every command that has to do with secrets, and let some of them fail."""
    mine, run = life.mine, life.keystead
    right = ("--passphrase-file", mine.file(PHRASE))
    wrong = ("--passphrase-file", mine.file(WRONG, "wrong.txt"))
    document = mine.folder / "document.txt"
    document.write_text("a document", encoding="utf-8")

    run("init", "--kdf", "low-memory", *right)
    run("init", *right, code=2)
    run("unlock", *wrong, code=1)
    run("id", "create", "alice", *wrong, code=1)
    run("id", "create", "locked", "--json", *right)
    run("unlock", *right)
    run("id", "create", "alice", "--json")
    run("id", "create", "crowd", "--keys", "3", "--threshold", "2", "--algorithm", "p256")
    run("id", "create", "alice", code=2)
    for name in ("alice", "alice", "crowd"):
        run("id", "rotate", name)
    life.remember(PHRASE)
    run("id", "show", "alice", "--json")
    run("id", "list", "--json")
    run("id", "export", "alice", "-o", mine.folder / "alice.cesr")
    run("sign", document, "--as", "alice", "--anchor", "--json")
    run("verify", document, "--log", mine.folder / "alice.cesr", "--json")
    seed = mine.file(primitives.make("A", SEED).text, "seed.txt")
    run("key", "import", "--public", IMPORTED, "--seed-file", seed, "--label", "cold")
    run("key", "import", "--public", IMPORTED, "--seed-file", seed, code=2)
    given = mine.file(PIN, "pin.txt")
    run("token", "add", "x", "--module", "/none.so", "--token", "x", "--pin-file", given, code=1)
    past = _past_key(mine)
    run("key", "show", past, "--json")
    run("key", "impact", "master.0", "--json")
    run("key", "compromise", past, "--reason", "a laptop was stolen", "--yes", "--json")
    run("key", "shred", past, "--yes", "--json")
    run("key", "list", "--json")
    life.remember(PHRASE)
    _fail(life, right)
    new = ("--new-passphrase-file", mine.file(AFTER, "after.txt"))
    run("passphrase", "--kdf", "low-memory", *right, *new)
    run("passphrase", "--kdf", "low-memory", *right, *new, code=1)
    run("id", "abandon", "crowd", "--yes")
    run("status", "--json")
    run("doctor", "--repair", "--json")
    run("lock")
    run("doctor")
    run("doctor", "--json", "--passphrase-file", mine.file(AFTER, "after.txt"))
    life.remember(AFTER)


def _past_key(mine: Machine) -> str:
    """Return the id of a key that the log of alice replaced."""
    listed = mine.run("key", "list", "--all", "--json")
    keys = msgspec.json.decode(listed.out)
    found = keys["keys"] if isinstance(keys, dict) else keys
    return str(next(one["id"] for one in found if one["state"] == "deactivated"))


def _fail(life: Life, right: tuple[str, Path]) -> None:
    """Let commands end by faults, of the machine and of the program, and by the user."""
    life.run("/bin/sh", "-c", f"'{COMMAND}' id list > /dev/full", code=1)
    life.run("/bin/sh", "-c", f"'{COMMAND}' key list >&-", code=1)
    life.keystead("lock")
    crash = life.run(sys.executable, "-c", CRASHING, "id", "create", "crash", *right, code=1)
    assert "Traceback" in crash.err
    life.ran.append(_interrupted(life.mine))
    life.keystead("unlock", *right)


def _interrupted(mine: Machine) -> Ran:
    """Interrupt a command that has read the half of a passphrase."""
    ours, theirs = os.pipe()
    command = [str(COMMAND), "id", "list", "--passphrase-fd", str(ours)]
    with subprocess.Popen(
        command,
        env=mine.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(ours,),
        start_new_session=True,
    ) as child:
        os.close(ours)
        try:
            os.write(theirs, PHRASE[:-1].encode())
            while Path(f"/proc/{child.pid}/wchan").read_text("utf-8").find("pipe") < 0:
                assert child.poll() is None
                time.sleep(0.01)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()  # does nothing when it has ended
            os.close(theirs)
    assert child.returncode == 130, err
    return Ran(child.returncode, out.decode(), err.decode())


def _history(mine: Machine, phrase: str) -> Iterator[bytes]:
    """Give the audit log and all records but secrets, opened."""
    with closing(SqliteWallet.open(mine.home)) as store:
        envelope = store.envelope()
        keys = DataKey(envelope.wallet, envelopes.open_with(envelope, phrase.encode()))
        for entry in store.audit():
            yield keys.open(Sealed("audit", str(entry.number), entry.number, entry.data))
        for row in store.rows():
            if row.kind != SECRET:
                yield keys.open(Sealed(row.kind, row.id, row.generation, row.data))


def test_no_secret_is_left_anywhere(tmp_path: Path) -> None:
    """Files, output, tracebacks, the opened history and JSON hold no secret in any spelling."""
    mine = machine(tmp_path, TMPDIR=str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    life = Life(mine)
    live(life)
    assert {"passphrase", "data key", "master.0", "derived:0/1/sign.0/0"} <= life.secrets.keys()
    assert any(name.startswith("branch.0.1 ") for name in life.secrets)
    given = leaks(life.secrets, folders=[tmp_path / "given"])
    assert len(given) >= 5, "what the owner wrote is found"
    shutil.rmtree(tmp_path / "given")
    told = [*life.printed, *_history(mine, AFTER)]
    assert leaks(life.secrets, folders=[tmp_path], outputs=told) == []
    with pytest.raises(KeystoreError):
        opened(mine, PHRASE)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_secret_is_given_to_another_process(tmp_path: Path) -> None:
    """Arguments and environment of no process hold a secret; the signer process is one of them."""
    mine = machine(tmp_path)
    traces = tmp_path.with_name("traces")
    traces.mkdir()
    # The tracer stands aside: the command is the child of the test, and ends before the signer.
    trace = "strace -D -f -ff --seccomp-bpf -e trace=execve -v -s 100000 -o"
    life = Life(mine, (*trace.split(), str(traces / "trace")))
    live(life)
    time.sleep(1)  # the tracers write what they have
    traced = b"".join(path.read_bytes() for path in traces.iterdir())
    assert b"keystead.keystores.process" in traced
    assert str(mine.home).encode() in traced
    assert leaks(life.secrets, folders=[traces]) == []
