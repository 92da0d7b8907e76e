"""Signer processes to test with."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keystead.keystores.process import Start, start
from keystead.keystores.remote import lock
from support.wallets import DATA_KEY, WALLET, LocalWallet


def start_signer(wallet: LocalWallet, idle: float = 600.0) -> bool:
    """Start the signer process of a wallet; tell whether one was running."""
    about = Start(
        wallet=WALLET,
        home=str(wallet.home),
        database=str(wallet.home / "wallet.db"),
        marks=str(wallet.folder / "state"),
        idle=idle,
    )
    return start(about, bytearray(DATA_KEY))


@contextmanager
def signer(wallet: LocalWallet, idle: float = 600.0) -> Iterator[int]:
    """Run a signer process; give its id."""
    start_signer(wallet, idle)
    try:
        (process,) = signers(wallet.home)
        yield process
    finally:
        lock(wallet.home)


def signers(home: Path) -> list[int]:
    """Return the ids of the signer processes that have the database of a wallet open.

    Nobody but the administrator can look into them, so they are found by their locks.
    """
    try:
        found = (home / "wallet.db").stat()
    except FileNotFoundError:
        return []
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    inode = f":{found.st_ino}"
    holders = {int(line[4]) for line in lines if line[1] == "POSIX" and line[5].endswith(inode)}
    return sorted(process for process in holders if _is_signer(process))


def _is_signer(process: int) -> bool:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"keystead.keystores.process" in command


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something holds; tell whether it did in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_running(process: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
