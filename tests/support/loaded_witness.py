"""A witness as a process of its own, for tests that put load on it or take its disk away."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from keystead.cesr.keys import Aid
from keystead.limits import DEFAULT_LIMITS
from keystead.node.witness import Admission
from keystead.services.charging import Rates
from keystead.services.load_witness import Target
from keystead.services.rates import Rate
from keystead.services.running import Binding, Listening, run
from keystead.services.witness_home import WitnessHome
from keystead.services.witness_running import WitnessRun

PASSPHRASE = b"correct horse battery staple"
ROOM = 100_000  # identifiers that it lets in
FOREVER = 1200.0


@dataclass
class Loaded:
    """A witness that runs.

    Attributes:
        target: where it is, for load.
        process: what was started.
    """

    target: Target
    process: "subprocess.Popen[bytes]"


def make(folder: Path) -> Aid:
    """Make a witness in a folder."""
    return _home(folder, FOREVER).create(PASSPHRASE)


@contextmanager
def running(
    folder: Path, *, room: int = ROOM, held_for: float = FOREVER, below: Sequence[str] = ()
) -> Iterator[Loaded]:
    """Run the witness that was made in a folder, and end it.

    Args:
        folder: where it is.
        room: how many strangers it lets in.
        held_for: seconds for which events may wait.
        below: command that runs the process, such as strace.
    """
    command = [*below, sys.executable, __file__, str(folder), str(room), str(held_for)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        home = _home(folder, held_for)
        address = ("127.0.0.1", int(told["url"].rpartition(":")[2]))
        yield Loaded(Target(address, home.aid, told["pid"], home.folder), process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _home(folder: Path, held_for: float) -> WitnessHome:
    limits = replace(DEFAULT_LIMITS, held_for=timedelta(seconds=held_for))
    return WitnessHome(folder / "home", folder / "state", limits)


def main() -> None:
    """Serve as the arguments say."""
    folder, room, held_for = sys.argv[1:]
    home = _home(Path(folder), float(held_for))
    fast = Rate(10_000, 100_000)
    rates = Rates(stranger=fast, event=fast, strangers=fast, volume=fast)
    served = WitnessRun(home, PASSPHRASE, Admission(int(room)), rates, None)

    def announce(where: Listening) -> None:
        served.listening(where)
        sys.stdout.write(json.dumps({"url": where.listening, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()

    run(served.opened, Binding(), announce)


if __name__ == "__main__":
    main()
