"""The peer that tests compare with: keri, under a Python and in an environment of its own.

The environment is made once for each machine and version, in the cache folder of the user.
Without a Python that keri runs under, the tests that need it are skipped, and say so at the end.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import platformdirs

from keystead.cesr.keys import Aid, Said
from keystead.keri.keystate import KeyState
from keystead.keri.routed import COMPROMISE_ROUTE
from keystead.keri.thresholds import Field, parse
from keystead.ports import EventStore

ROOT: Final = Path(__file__).parents[2]
PINS: Final = ROOT / "requirements" / "interop.txt"
DRIVER: Final = Path(__file__).parents[1] / "interop" / "keri_peer.py"
CHOSEN: Final = "KEYSTEAD_INTEROP_PYTHON"
NEEDED: Final = (3, 12, 6)
# keri and wallets wait for their disk at each step; what tests throw away can be in memory.
MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - see above
NOT_RUN: Final = (
    f"INTEROPERABILITY WITH KERI WAS NOT TESTED: it needs Python {'.'.join(map(str, NEEDED))} or "
    f"later; install one, or name one in {CHOSEN}, and run: make interop"
)
_NO_ROUTE: Final = f"No resource is registered to handle route {COMPROMISE_ROUTE}"
_VERSION: Final = "import sys; print(*sys.version_info[:3], sys.implementation.cache_tag)"


def find_python() -> Path | None:
    """Return a Python that keri runs under; None if there is none here."""
    for candidate in _candidates():
        found = _version(candidate)
        if found is not None and found[0] >= NEEDED:
            return candidate
    return None


def environment(python: Path) -> Path:
    """Return the Python of an environment with keri in it, which is made if it is not there.

    Raises:
        RuntimeError: it cannot be made.
    """
    version = _version(python)
    assert version is not None
    made_of = hashlib.sha256(f"{python} {version}".encode() + PINS.read_bytes()).hexdigest()
    cache = platformdirs.user_cache_path("keystead-interop")
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / made_of[:16]
    done = folder / "done"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make(python, folder)
            done.touch()
    return folder / "bin" / "python"


class Peer:
    """A running keri."""

    def __init__(self, python: Path) -> None:
        """Start it under the Python of its environment."""
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY)
        # It must neither see the modules here nor measure its coverage.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            [str(python), "-I", str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            env={**kept, "TMPDIR": self._folder.name},
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)
        self._told.close()
        self._folder.cleanup()

    def ask(self, do: str, **values: object) -> Any:  # noqa: ANN401 - any JSON value
        """Return the answer to a request.

        Raises:
            RuntimeError: keri raised an error, or it ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the peer has ended"}
        if "error" in reply:
            self._told.seek(0)
            raise RuntimeError(reply["error"] + "\n" + self._told.read().decode()[-4000:])
        return reply["answer"]

    def verify(self, stream: bytes) -> "PeerView":
        """Return what keri makes of a stream."""
        return PeerView(self.ask("verify", stream=stream.decode("latin-1")))

    def check(self, text: str, keys: Sequence[str], signatures: Sequence[str]) -> list[bool]:
        """Tell which indexed signatures over a text keri finds good."""
        found: list[bool] = self.ask("check", text=text, keys=keys, signatures=signatures)
        return found

    def author(self, steps: Sequence[dict[str, object]]) -> "PeerView":
        """Return the logs that keri makes by steps: see `Controllers` in its driver."""
        return PeerView(self.ask("author", steps=steps))


class PeerView:
    """What keri holds.

    Attributes:
        logs: by identifier, or by name where it made them: key state, digests of the events as
            they were first seen, and for those that it made the stream.
        faults: errors that it logged, but for notices of compromised keys, which it does not know.
        notices: how many of those it skipped.
        signed: signatures that it was asked for.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        """Read an answer."""
        self.logs: dict[str, dict[str, Any]] = answer["logs"]
        told: list[str] = answer["faults"]
        self.faults = [one for one in told if not one.endswith(_NO_ROUTE)]
        self.notices = len(told) - len(self.faults)
        self.signed: list[list[str]] = answer.get("signed", [])

    @property
    def by_aid(self) -> "PeerView":
        """The same, by identifier where it is by name."""
        logs = {log["state"]["i"]: log for log in self.logs.values()}
        return PeerView({"logs": logs, "faults": self.faults})

    def stream(self, name: str) -> bytes:
        """Return the log of an identifier that keri made, and those of its delegators."""
        stream: str = self.logs[name]["stream"]
        return stream.encode("latin-1")


def plain_state(state: KeyState) -> dict[str, object]:
    """Return a key state of ours in JSON values that can be compared."""
    last = state.establishment
    return {
        "sn": state.sn,
        "said": state.said,
        "prior": state.prior_said or "",
        "type": state.message_type,
        "keys": [key.text for key in last.signing_keys],
        "threshold": _threshold(last.signing_threshold.field, len(last.signing_keys)),
        "next": list(last.next_key_digests),
        "next threshold": _threshold(last.next_threshold.field, len(last.next_key_digests)),
        "witnesses": [last.witness_threshold, *last.witnesses],
        "traits": list(last.configuration_traits),
        "delegator": last.delegator or "",
        "establishment": [last.sn, last.said],
    }


def plain_peer_state(state: dict[str, Any]) -> dict[str, object]:
    """Return a key state of keri in the same values."""
    return {
        "sn": int(state["s"], 16),
        "said": state["d"],
        "prior": state["p"],
        "type": state["et"],
        "keys": state["k"],
        "threshold": _threshold(state["kt"], len(state["k"])),
        "next": state["n"],
        "next threshold": _threshold(state["nt"], len(state["n"])),
        "witnesses": [int(state["bt"], 16), *state["b"]],
        "traits": state["c"],
        "delegator": state["di"],
        "establishment": [int(state["ee"]["s"], 16), state["ee"]["d"]],
    }


def assert_same(store: EventStore, view: PeerView, aids: Sequence[Aid]) -> None:
    """Check that keri holds the same logs as a store: events as first seen, and key states."""
    for aid in aids:
        ours = store.key_state(aid)
        assert ours is not None, f"{aid} is not here"
        assert aid in view.logs, f"keri does not know {aid}: {view.faults}"
        theirs = view.logs[aid]
        assert theirs["first_seen"] == first_seen(store, aid), view.faults
        assert plain_peer_state(theirs["state"]) == plain_state(ours)


def first_seen(store: EventStore, aid: Aid) -> list[Said]:
    """Return the digests of all events of a log, in the order in which they were accepted."""
    return [accepted.event.said for accepted in store.first_seen(aid)]


def _threshold(field: Field, keys: int) -> object:
    """Return what a threshold means, however it is spelled."""
    found = parse(field, keys)
    clauses = [
        [[str(weight.value), *(str(part.value) for part in weight.nested)] for weight in clause]
        for clause in found.clauses
    ]
    return clauses or found.number


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get(CHOSEN)
    if chosen:
        yield Path(chosen)
        return
    for name in ("python3.13", "python3.12", "python3"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(versions.glob("3.1[2-9]*/bin/python"), reverse=True)


def _version(python: Path) -> tuple[tuple[int, ...], str] | None:
    """Return the version of a Python; None if it does not start, as pyenv's placeholders do."""
    try:
        ran = subprocess.run(
            [str(python), "-I", "-c", _VERSION],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    *numbers, tag = ran.stdout.split()
    return tuple(map(int, numbers)), tag


def _make(python: Path, folder: Path) -> None:
    """Make an environment with what is pinned.

    Raises:
        RuntimeError: it cannot be made.
    """
    _run([str(python), "-m", "venv", str(folder)])
    blocks = re.split(r"\n(?=[a-z])", PINS.read_text("utf-8"))
    builder = next(block for block in blocks if block.startswith("setuptools=="))
    (folder / "build.txt").write_text(builder + "\n", "utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    install = [*pip, "install", "--require-hashes", "--no-deps", "--no-build-isolation"]
    for pins in (folder / "build.txt", PINS):  # what builds packages comes first
        _run([*install, "-r", str(pins)])
    _run([str(folder / "bin" / "python"), "-W", "ignore", "-c", "import keri.core"])


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=280)
    if ran.returncode:
        what = "the environment of keri cannot be made (it needs libsodium, too)"
        raise RuntimeError(f"{what}: {ran.stderr[-2000:]}")
