"""What the benchmarks measure: the pipeline, bare signature checks, memory, processes."""

import gc
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple, TypeAlias

from nacl.bindings import crypto_sign_open
from nacl.signing import VerifyKey

from keystead import suites
from keystead.cesr.stream import Message
from keystead.keri import verification
from keystead.node.ingest import EventProcessor
from keystead.stores.memory import MemoryStore
from keystead.suites import Suite


class Times(NamedTuple):
    """Seconds of processor time for the same stream.

    Attributes:
        pipeline: everything from bytes to the store.
        bare: the signature checks alone, by PyNaCl's classes.
        binding: the same by the function below these.
    """

    pipeline: float
    bare: float
    binding: float


# Signature, message, key.
Check: TypeAlias = tuple[bytes, bytes, bytes]

CHUNK = 64 * 1024
GARBAGE_COLLECTION = (100_000, 50, 50)  # as `keystead log verify` sets it
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_BARE_CHECKS = 20_000
# Runs the command in a fresh process and tells the most memory it ever had. The kernel keeps
# `ru_maxrss` over exec, so that shows the parent's memory too; VmHWM does not.
_MEMORY_SCRIPT = """
import re, resource, sys
from pathlib import Path
from keystead.cli.main import main
sys.argv = ["keystead", "log", "verify", "--json", sys.argv[1]]
try:
    main()
finally:
    status = Path("/proc/self/status")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if status.exists():
        peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1])
    print(peak, file=sys.stderr)
"""


class RejectedError(Exception):
    """A benchmark log was not accepted as a whole."""


def read_chunks(path: Path, size: int | None = None) -> list[bytes]:
    """Return the first `size` bytes of a file in pieces."""
    data = path.read_bytes()[:size]
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]


def verify(chunks: Iterable[bytes]) -> MemoryStore:
    """Verify a stream; return the store."""
    pipeline = Pipeline()
    for chunk in chunks:
        pipeline.feed(chunk)
    pipeline.close()
    return pipeline.store


def accepted_in(store: MemoryStore) -> int:
    """Return the number of events in a store.

    Raises:
        RejectedError: not every event was accepted.
    """
    if any(True for _ in store.waiting()):
        raise RejectedError("something waits")
    return sum(1 for aid in store.identifiers() for _ in store.first_seen(aid))


class Pipeline:
    """A verifier of one stream.

    Attributes:
        store: where the events go.
    """

    def __init__(self) -> None:
        """Start with an empty store."""
        self.store = MemoryStore()
        self._processor = EventProcessor(self.store)
        self._reader = self._processor.reader()

    def feed(self, chunk: bytes) -> None:
        """Verify the next piece of the stream."""
        self._reader.feed(chunk)
        self._process()

    def close(self) -> None:
        """Verify what the end of the stream determines."""
        self._reader.close()
        self._process()

    def _process(self) -> None:
        for item in self._reader:
            if not isinstance(item, Message):
                raise RejectedError(f"malformed at {item.start}: {item.error}")
            self._processor.process(item, now=_NOW)


def recorded_checks(chunks: Iterable[bytes]) -> list[list[Check]]:
    """Verify a stream once; return the signature checks that each piece took."""
    pieces: list[list[Check]] = []
    checks: list[Check] = []
    original = suites.verify

    def record(suite: Suite, key: bytes, signature: bytes, message: bytes) -> bool:
        checks.append((signature, message, key))  # those of the current piece
        return original(suite, key, signature, message)

    modules = (suites, verification)
    for module in modules:
        module.verify = record  # type: ignore[attr-defined] # it imports this name
    pipeline = Pipeline()
    try:
        for chunk in chunks:
            pipeline.feed(chunk)
            pieces.append(checks)
            checks = []
        pipeline.close()
        pieces.append(checks)
    finally:
        for module in modules:
            module.verify = original  # type: ignore[attr-defined] # it imports this name
    return pieces


def check_bare(checks: Iterable[Check]) -> None:
    """Check signatures with PyNaCl and nothing else."""
    for signature, message, key in checks:
        VerifyKey(key).verify(message, signature)


def check_binding(checks: Iterable[Check]) -> None:
    """Check signatures with the function below PyNaCl's classes."""
    for signature, message, key in checks:
        crypto_sign_open(signature + message, key)


def forget() -> None:
    """Empty the caches of the package, as in a new process."""
    for name, module in list(sys.modules.items()):
        if name.startswith("keystead."):
            for value in vars(module).values():
                clear = getattr(value, "cache_clear", None)
                if clear is not None:
                    clear()


def paired_times(chunks: Sequence[bytes], checks: Sequence[list[Check]]) -> Times:
    """Measure the pipeline and the bare checks of the same signatures.

    They take turns at every piece of the stream, a few milliseconds long, so that both meet the
    same state of the machine.
    """
    _prepare()
    pipeline, spent = Pipeline(), [0.0, 0.0, 0.0]
    for place, mine in enumerate(checks):
        start = process_time()
        if place < len(chunks):
            pipeline.feed(chunks[place])
        else:
            pipeline.close()
        verified = process_time()
        check_bare(mine)
        checked = process_time()
        check_binding(mine)
        end = process_time()
        for at, time in enumerate((verified - start, checked - verified, end - checked)):
            spent[at] += time
    gc.unfreeze()
    return Times(*spent)


def _prepare() -> None:
    forget()
    gc.collect()
    gc.freeze()  # what is here already is not the work's
    gc.set_threshold(*GARBAGE_COLLECTION)


def cpu_time(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that `work` takes; what it returns lives longer."""
    _prepare()
    start = process_time()
    result = work()
    end = process_time()
    del result
    gc.unfreeze()
    return end - start


def peak_memory(path: Path) -> float:
    """Return the most memory, in MiB, of `keystead log verify` on a file in its own process.

    Raises:
        RejectedError: the command did not accept everything.
    """
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY_SCRIPT, str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        raise RejectedError(done.stderr[-500:])
    return int(done.stderr.splitlines()[-1]) / 1024


class Processes:
    """Work of two tasks: one after the other in one process, and at once in two."""

    def __init__(self) -> None:
        """Start the processes, which wait for work."""
        context = multiprocessing.get_context("spawn")
        self._one, self._two = context.Pool(1), context.Pool(2)

    def ratio(self, work: Callable[[str], object], tasks: Sequence[str]) -> float:
        """Return the time that two processes take as a share of the time that one takes."""
        start = perf_counter()
        self._one.map(work, tasks, chunksize=1)
        between = perf_counter()
        self._two.map(work, tasks, chunksize=1)
        return (perf_counter() - between) / (between - start)

    def close(self) -> None:
        """End the processes."""
        for pool in (self._one, self._two):
            pool.close()
            pool.join()


@contextmanager
def processes() -> Iterator[Processes]:
    """Give processes, and end them."""
    both = Processes()
    try:
        yield both
    finally:
        both.close()


def verify_file(name: str) -> int:
    """Verify a file in a process of its own; return the number of events."""
    gc.set_threshold(*GARBAGE_COLLECTION)
    forget()
    return accepted_in(verify(read_chunks(Path(name))))


def check_many(name: str) -> None:
    """Check one signature very often, to see what the machine's processors do together."""
    seed = name.encode().ljust(suites.SEED_BYTES)
    message = bytes(400)
    key = suites.public_key(Suite.ED25519, seed)
    check_bare([(suites.sign(Suite.ED25519, seed, message), message, key)] * _BARE_CHECKS)
