"""The logs that the benchmarks read: made by the project's own authors, or given in a directory."""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Message, StreamReader
from keystead.keri.build import Configuration
from keystead.keri.seals import EventSeal
from keystead.testing.authoring import Author, Signed, witness

GIVEN = ("icp2000", "kel200x10", "ixn5000", "wit3", "msig3of5", "deleg", "mix20k")
MIXED = "mix20k"
LONG = "ixn100000"
LONG_EVENTS = 100_000
_VERSION = 1  # of what is made here; another one is made anew
_MIX_EVENTS = 20_000


def standard_logs(given: Path | None) -> dict[str, Path]:
    """Return the logs by name, those in `given` or else own ones of the same shapes.

    Raises:
        FileNotFoundError: no log is there.
    """
    if given is not None:
        found = {name: given / f"{name}.cesr" for name in GIVEN}
        found = {name: path for name, path in found.items() if path.exists()}
        if MIXED not in found:
            raise FileNotFoundError(f"{given} holds no {MIXED}.cesr")
        return found
    return {name: _cached(name, make) for name, make in _MAKERS.items()}


def long_log() -> Path:
    """Return one log of an inception and 100,000 interactions."""
    return _cached(LONG, lambda: _interactions(LONG_EVENTS))


def halves_of(path: Path) -> tuple[Path, Path]:
    """Split a stream in two of equal size, each with the whole logs of half the identifiers.

    Delegates stay with their delegators.
    """
    names = [f"{path.stem}-{path.stat().st_size}-{half}" for half in (0, 1)]
    split: list[list[bytes]] = []

    def part(half: int) -> list[bytes]:
        if not split:
            split.extend(_split(path.read_bytes()))
        return split[half]

    return _cached(names[0], partial(part, 0)), _cached(names[1], partial(part, 1))


def _split(stream: bytes) -> tuple[list[bytes], list[bytes]]:
    groups: dict[Aid, list[bytes]] = {}
    above: dict[Aid, Aid] = {}
    reader = StreamReader()
    reader.feed(stream)
    reader.close()
    for message in reader:
        if not isinstance(message, Message):
            raise TypeError(f"malformed at {message.start}: {message.error}")
        aid = Aid(message.body["i"])
        above.setdefault(aid, above.get(message.body.get("di", aid), aid))
        top = above[aid]
        groups.setdefault(top, []).append(stream[message.start : message.end])
    halves: tuple[list[bytes], list[bytes]] = ([], [])
    sizes = [0, 0]
    for messages in sorted(groups.values(), key=len, reverse=True):
        half = sizes.index(min(sizes))
        halves[half].extend(messages)
        sizes[half] += sum(map(len, messages))
    return halves


def _cached(name: str, make: Callable[[], list[bytes]]) -> Path:
    directory = Path(tempfile.gettempdir()) / f"keystead-bench-{os.getuid()}-{_VERSION}"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{name}.cesr"
    if not path.exists():
        print(f"making {path}")
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(b"".join(make()))
        partial.replace(path)
    return path


@cache
def _seal(number: int) -> EventSeal:
    """Make a seal of the event with this number in the log of somebody else."""
    said = Author("sealed").incept().event.said
    return EventSeal(Aid(said), number, said)


def _written(signed: Signed) -> bytes:
    """Write attachments as most programs do: in a frame when there are several signatures."""
    return signed.framed if len(signed.signatures + signed.receipts) > 1 else signed.raw


def _inceptions(count: int = 2000) -> list[bytes]:
    return [Author(f"inception {number}").incept().raw for number in range(count)]


def _log(author: Author, events: int) -> Iterator[bytes]:
    """Write an inception, then interactions with a rotation in every third place."""
    seal = _seal(0)
    yield _written(author.incept())
    for number in range(1, events):
        signed = author.rotate() if number % 3 == 0 else author.interact(seal)
        yield _written(signed)


def _logs(count: int, events: int, make: Callable[[str], Author], name: str) -> list[list[bytes]]:
    return [list(_log(make(f"{name} {number}"), events)) for number in range(count)]


def _plain(name: str) -> Author:
    return Author(name)


def _witnessed(name: str) -> Author:
    return Author(name, witnesses=[witness(f"{name} {place}") for place in range(3)])


def _three_of_five(name: str) -> Author:
    return Author(name, keys=5, threshold="3")


def _interactions(count: int) -> list[bytes]:
    author, seal = Author("interactions"), _seal(0)
    start = _written(author.incept())
    seals = (EventSeal(seal.aid, number, seal.said) for number in range(count))
    return [start, *(_written(author.interact(one)) for one in seals)]


def _delegations(count: int = 150) -> list[bytes]:
    """Write a delegator, and delegates of an inception, an interaction and a rotation each."""
    root = Author("root")
    messages = [_written(root.incept())]
    for number in range(count):
        child = Author(f"delegate {number}")
        inception = child.incept(configuration=Configuration(delegator=root.aid))
        messages += [_written(root.interact(inception.seal)), _written(inception)]
        messages.append(_written(child.interact(_seal(number))))
        rotation = child.rotate()
        messages += [_written(root.interact(rotation.seal)), _written(rotation)]
    return messages


def _mixed() -> list[bytes]:
    """Interleave logs of all kinds: 20,000 events with 39,500 signatures of 1,500 identifiers."""
    logs = [_delegations()]
    logs += _logs(769, 17, _plain, "mixed plain")
    logs += _logs(400, 10, _witnessed, "mixed witnessed")
    logs += _logs(188, 10, _three_of_five, "mixed group")
    logs += _logs(1, _MIX_EVENTS - sum(map(len, logs)), _plain, "mixed long")
    turns = [place for place, log in enumerate(logs) for _ in log]
    random.Random(1).shuffle(turns)  # noqa: S311 - the same every time, on purpose
    streams = [iter(log) for log in logs]
    return [next(streams[place]) for place in turns]


def _joined(logs: list[list[bytes]]) -> list[bytes]:
    return [message for log in logs for message in log]


_MAKERS: dict[str, Callable[[], list[bytes]]] = {
    "icp2000": _inceptions,
    "kel200x10": lambda: _joined(_logs(200, 10, _plain, "kel")),
    "ixn5000": lambda: _interactions(5000),
    "wit3": lambda: _joined(_logs(200, 5, _witnessed, "wit")),
    "msig3of5": lambda: _joined(_logs(100, 5, _three_of_five, "msig")),
    "deleg": _delegations,
    MIXED: _mixed,
}
