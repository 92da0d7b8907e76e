"""Measures the wallet: `python bench/wallet.py [--identifiers N]`.

Creating identifiers from the first to the last, listing them, and what commands cost when the
wallet is unlocked, with their signer process. Processor time; the commands are real processes.
Counts the calls that force data to the disk during one rotation, if strace is there.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

COMMAND = Path(sys.executable).with_name("keystead")
_SAMPLE = 200  # identifiers
_REPEAT = 7


class Machine:
    """A folder that stands for a machine, with one wallet."""

    def __init__(self, folder: Path) -> None:
        """Make the wallet and unlock it."""
        self._phrase = folder / "passphrase"
        self._phrase.write_text("correct horse battery staple of the bench\n", "utf-8")
        self._phrase.chmod(0o600)
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "KEYSTEAD_HOME": str(folder / "wallet"),
            "KEYSTEAD_STATE": str(folder / "state"),
        }
        self.keystead("init", "--kdf", "low-memory", *self.passphrase)
        self.keystead("unlock", "--for", "1h", *self.passphrase)

    @property
    def passphrase(self) -> Sequence[str]:
        """The options that give the passphrase."""
        return "--passphrase-file", str(self._phrase)

    def keystead(self, *words: str, before: Sequence[str] = ()) -> bytes:
        """Run a command."""
        done = subprocess.run(
            [*before, str(COMMAND), *words],
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
        )
        return done.stdout

    def cost(self, *words: str) -> tuple[float, float]:
        """Return processor time of a command and its signer process, and the time it took."""
        before, start = _children(), time.perf_counter()
        signing = self._signer_time()
        self.keystead(*words)
        took = time.perf_counter() - start
        return _children() - before + self._signer_time() - signing, took

    def _signer_time(self) -> float:
        """Return the processor time that the signer process has used."""
        found = subprocess.run(
            ["pgrep", "-f", "keystead.keystores.process"],  # noqa: S607 - any pgrep will do
            stdout=subprocess.PIPE,
            check=False,
        ).stdout.split()
        ticks = 0
        for number in found:
            fields = Path(f"/proc/{int(number)}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identifiers", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        try:
            _commands(machine)
            _syncs(machine)
            _many(machine, Path(folder), options.identifiers)
        finally:
            machine.keystead("lock")


def _commands(machine: Machine) -> None:
    machine.keystead("id", "create", "bench")
    document = Path(tempfile.mkstemp()[1])
    document.write_bytes(b"document")
    signature = document.with_suffix(".sig")
    commands: dict[str, tuple[str, ...]] = {
        "id rotate": ("id", "rotate", "bench"),
        "id show": ("id", "show", "bench"),
        "sign": ("sign", str(document), "--as", "bench", "-o", str(signature)),
    }
    for name, words in commands.items():
        costs = []
        for _ in range(_REPEAT):
            signature.unlink(missing_ok=True)
            costs.append(machine.cost(*words))
        cpu, took = (median(one) for one in zip(*costs, strict=True))
        print(f"{name:28} {cpu * 1e3:6.0f} ms of CPU in all (limit 250), {took * 1e3:.0f} ms")
    document.unlink()
    signature.unlink(missing_ok=True)


def _syncs(machine: Machine) -> None:
    tracer = shutil.which("strace")
    if tracer is None:
        print("syncs of a rotation: not counted, strace is not there")
        return
    with tempfile.NamedTemporaryFile("r") as log:
        trace = [tracer, "-f", "-e", "trace=fsync,fdatasync", "-o", log.name]
        machine.keystead("id", "rotate", "bench", before=trace)
        own = len(re.findall(r"f(?:data)?sync\(", Path(log.name).read_text("utf-8")))
    print(f"{'syncs of a rotation':28} {own} by the command, 1 by the signer process (limit 2)")


def _many(machine: Machine, folder: Path, count: int) -> None:
    """Create identifiers in this process, through the signer process."""
    from keystead.cli.wallets import actor, now  # noqa: PLC0415 - behind the commands
    from keystead.keystores.remote import find_vault  # noqa: PLC0415 - as above
    from keystead.owner import identifiers  # noqa: PLC0415 - as above
    from keystead.owner.plans import Creation  # noqa: PLC0415 - as above
    from keystead.owner.wallet import Wallet  # noqa: PLC0415 - as above
    from keystead.stores.wallet import SqliteWallet  # noqa: PLC0415 - as above

    home = folder / "wallet"
    store = SqliteWallet.open(home)
    vault = find_vault(home, store.envelope().wallet)
    if vault is None:
        raise SystemExit("the wallet is locked")
    wallet = Wallet(store, vault, now=now, actor=actor())

    def create(name: str) -> Callable[[], object]:
        return lambda: identifiers.create(wallet, name, Creation())

    first = [_cpu(create(f"first {one}")) for one in range(_SAMPLE)]
    for one in range(count - 2 * _SAMPLE):
        identifiers.create(wallet, f"between {one}", Creation())
    last = [_cpu(create(f"last {one}")) for one in range(_SAMPLE)]
    ratio = median(last) / median(first)
    print(
        f"{'create, among ' + str(count):28} {median(last) * 1e3:.2f} ms of CPU, at first"
        f" {median(first) * 1e3:.2f}: {ratio - 1:+.1%} (limit +20 %)"
    )
    store.close()
    cpu, took = machine.cost("id", "list")
    print(f"{'id list, ' + str(count):28} {took:.2f} s, {cpu:.2f} s of CPU (limit 1 s)")


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
