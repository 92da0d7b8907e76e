"""A place to sign documents at: an unlocked wallet, and a folder with documents."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keystead.keystores.remote import find_vault
from keystead.owner.wallet import Wallet
from keystead.stores.wallet import SqliteWallet
from support.commands import COMMAND
from support.documents import DOCUMENT
from support.machines import PHRASE, Machine, Ran, machine


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder with documents, and an unlocked wallet.

    Attributes:
        owner: the machine of the wallet.
        folder: where commands run.
    """

    owner: Machine
    folder: Path

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> Ran:
        """Run a command with the wallet."""
        return _run(self.owner.environment, self.folder, arguments, stdin)

    def strange(self, *arguments: str | Path, stdin: bytes = b"") -> Ran:
        """Run a command on a machine without a wallet."""
        home = self.folder.parent / "stranger"
        home.mkdir(exist_ok=True)
        nobody = machine(home).environment
        ran = _run(nobody, self.folder, arguments, stdin)
        assert list(home.iterdir()) == []
        return ran

    def did(self, *arguments: str | Path, stdin: bytes = b"") -> str:
        """Run a command that succeeds, and return what it printed."""
        ran = self.run(*arguments, stdin=stdin)
        assert ran.code == 0, ran.err
        return ran.out

    def create(self, name: str, *options: str) -> str:
        """Make an identifier, and return it."""
        aid = json.loads(self.did("id", "create", name, *options, "--json"))["aid"]
        assert isinstance(aid, str)
        return aid

    def write(self, name: str, data: bytes = DOCUMENT) -> Path:
        """Write a document."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def write_private(self, name: str, *lines: str) -> Path:
        """Write lines that nobody else can read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def export(self, name: str, to: str = "") -> Path:
        """Write the log of an identifier."""
        path = self.folder / f"{to or name}.cesr"
        self.did("id", "export", name, "-o", path)
        return path

    def answer(self, document: Path, *logs: Path, by_wallet: bool = False) -> dict[str, Any]:
        """Verify a document as a stranger who has logs, and return the JSON answer."""
        options = [part for log in logs for part in ("--log", log)]
        run = self.run if by_wallet else self.strange
        ran = run("verify", document, *options, "--json")
        value: dict[str, Any] = json.loads(ran.out)
        undecided = value["standing"] in ("unknown_log", "log_behind")
        assert ran.code == (0 if value["valid"] else 4 if undecided else 3)
        return value

    @contextmanager
    def wallet(self) -> Iterator[Wallet]:
        """Open the wallet in this process, for what no command does."""
        store = SqliteWallet.open(self.owner.home)
        vault = find_vault(self.owner.home, store.envelope().wallet)
        assert vault is not None
        yield Wallet(store, vault, now=lambda: datetime.now(UTC), actor="tester")
        vault.close()
        store.close()


def _run(
    environment: dict[str, str], folder: Path, arguments: tuple[str | Path, ...], stdin: bytes
) -> Ran:
    ended = subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        env=environment,
        cwd=folder,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@contextmanager
def unlocked(root: Path) -> Iterator[Desk]:
    """Make a wallet and unlock it for a while."""
    owner = machine(root / "owner")
    folder = root / "desk"
    owner.folder.mkdir()
    folder.mkdir()
    owner.init()
    assert owner.run("unlock", "--for", "1h", phrase=PHRASE).code == 0
    try:
        yield Desk(owner, folder)
    finally:
        owner.run("lock")
