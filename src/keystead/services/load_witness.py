"""A witness of one's own to put load on, and what load costs it."""

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from keystead.cesr.keys import Aid, is_aid
from keystead.errors import ErrorCode, TransportError, UsageError
from keystead.services import load_noise
from keystead.services.load import Tally, Usage, call, children, usage
from keystead.services.load_events import Prepared, honest
from keystead.services.network import Network, NetworkPlan, WitnessPlan

_ROOM: Final = 1_000_000  # identifiers that a witness of one's own lets in
_ANSWER_SECONDS: Final = 10.0
_FLOOD_SECONDS: Final = 600.0
_SETTLE_SECONDS: Final = 2.0


class Target(msgspec.Struct, frozen=True):
    """A witness under load.

    Attributes:
        address: host and port.
        aid: the witness.
        pid: its process; None if it is not ours.
        folder: its database; None if it is not ours.
    """

    address: tuple[str, int]
    aid: Aid
    pid: int | None = None
    folder: Path | None = None

    @property
    def size(self) -> int:
        """Bytes of its database."""
        files = [] if self.folder is None else list(self.folder.glob("witness.db*"))
        return sum(one.stat().st_size for one in files)

    def used(self) -> tuple[Usage, Usage]:
        """Return what its process and that of its signer have used so far."""
        if self.pid is None:
            return Usage(0.0, 0), Usage(0.0, 0)
        signers = [usage(one) for one in children(self.pid)]
        return usage(self.pid), signers[0] if signers else Usage(0.0, 0)


class Plan(msgspec.Struct, frozen=True):
    """What to do.

    Attributes:
        callers: honest ones.
        receipts: that they ask for, in each phase.
        seconds: how long they ask at most.
        slow: connections that are slow.
        flood: events of strangers.
    """

    callers: int
    receipts: int
    seconds: float
    slow: int = 0
    flood: int = 0


@contextmanager
def own_witness() -> Iterator[Target]:
    """Run a witness in a temporary folder.

    Raises:
        StoreError: it cannot be made (store.io).
        TransportError: it does not start (transport.unreachable).
    """
    with TemporaryDirectory(prefix="keystead-bench-") as folder:
        plan = NetworkPlan(folder, (WitnessPlan("witness", open=_ROOM),))
        with Network(plan, Path(folder)).up() as network:
            node = network.nodes["witness"]
            assert node.process is not None  # noqa: S101 - it runs
            yield Target(_address(node.url), Aid(node.aid), node.process.pid, node.folder)


def other_witness(url: str) -> Target:
    """Return a witness that runs elsewhere.

    Raises:
        UsageError: the URL is none (usage.argument).
        TransportError: there is no witness (transport.unreachable).
    """
    address = _address(url)
    connection = http.client.HTTPConnection(*address, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/oobi")
        aid = connection.getresponse().getheader("KERI-AID", "")
    except (OSError, http.client.HTTPException) as error:
        what = f"there is no witness at {url}: {type(error).__name__}"
        raise TransportError(ErrorCode.UNREACHABLE, what) from None
    finally:
        connection.close()
    if not is_aid(aid) or aid[0] != "B":
        what = f"what answers at {url} is no witness"
        raise TransportError(ErrorCode.UNREACHABLE, what)
    return Target(address, Aid(aid))


def measure(target: Target, plan: Plan) -> list[dict[str, Any]]:
    """Put load on a witness, and return what each phase gave and cost.

    Raises:
        TransportError: it cannot be reached (transport.unreachable).
    """
    phases = [_phase("quiet", target, plan)]
    if plan.slow:
        with _noise("slow", target, plan.slow):
            phases.append(_phase("slow", target, plan))
    if plan.flood:
        with _noise("flood", target, plan.flood) as noise:
            phases.append(_phase("flood", target, plan))
            told, _ = noise.communicate(timeout=_FLOOD_SECONDS)
            phases[-1]["strangers_answered"] = json.loads(told)
            phases[-1].update(_state(target))
    return phases


@contextmanager
def _noise(kind: str, target: Target, count: int) -> Iterator[Any]:
    noise = load_noise.start(kind, target.address, count)
    time.sleep(_SETTLE_SECONDS)
    try:
        yield noise
    finally:
        noise.kill()
        noise.communicate()


def _phase(name: str, target: Target, plan: Plan) -> dict[str, Any]:
    work = _work(target, plan)
    before, size = target.used(), target.size
    tally = asyncio.run(call(target.address, target.aid, work, plan.seconds))
    after = target.used()
    report = _result(name, tally)
    if target.pid is not None:
        for part, old, new in zip(("witness", "signer"), before, after, strict=True):
            microseconds = 1e6 * (new.seconds - old.seconds) / max(1, len(tally.seconds))
            report[f"{part}_microseconds"] = round(microseconds)
        report["memory_before"], report["database_before"] = before[0].memory, size
        report.update(_state(target))
    return report


def _state(target: Target) -> dict[str, Any]:
    return {"memory": target.used()[0].memory, "database": target.size} if target.pid else {}


def _result(name: str, tally: Tally) -> dict[str, Any]:
    return {
        "phase": name,
        "receipts": len(tally.seconds),
        "wrong": dict(tally.wrong),
        "seconds": round(tally.taken, 3),
        "rate": round(tally.rate, 1),
        "p50_ms": round(tally.milliseconds(0.5), 2),
        "p99_ms": round(tally.milliseconds(0.99), 2),
        "max_ms": round(tally.milliseconds(1.0), 2),
    }


def _work(target: Target, plan: Plan) -> list[list[Prepared]]:
    host = f"{target.address[0]}:{target.address[1]}"
    each = max(1, plan.receipts // plan.callers)
    return [honest(host, target.aid, each) for _ in range(plan.callers)]


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        what = "the URL of a witness to put load on is http://HOST:PORT"
        raise UsageError(ErrorCode.ARGUMENT, what)
    return parts.hostname, port
