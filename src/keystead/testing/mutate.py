"""Feeds mutants of genuine logs to the verifier: `python -m keystead.testing.mutate`.

Prints how many mutants of each kind there were, each failure with the command that repeats it,
and at last `N mutants: F forged events accepted, H hangs, C crashes`. Ends with 1 when one of
these is not zero. The same seed gives the same mutants.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import TypeAlias

from keystead.cesr.stream import Message, StreamReader
from keystead.node.ingest import EventProcessor
from keystead.stores.memory import MemoryStore
from keystead.testing import alterations, attacks
from keystead.testing.draft import Draft, has_delegate, has_witnesses
from keystead.testing.scenes import NOW, Scene, World, make_world

DEADLINE = 10.0  # seconds for one mutant, which takes a few milliseconds; a busy machine stalls
_CHUNK = 500  # mutants that a process takes at a time
_SHOWN = 20  # failures
_MIXED = 0.2  # share of mutants whose bytes are changed too

_Change: TypeAlias = Callable[[Draft], None]
_ByteChange: TypeAlias = Callable[[Random, bytes], bytes]

_BYTE_CHANGES: dict[str, _ByteChange] = {
    "cut": alterations.cut,
    "flip bits": alterations.flip_bits,
    "change bytes": alterations.change_bytes,
}
_CHANGES: dict[str, _Change] = {
    "lie in counter": alterations.lie_in_counter,
    "repeat signature": alterations.repeat_signature,
    "swap places": alterations.swap_places,
    "drop signatures": alterations.drop_signatures,
    "sign with other key": alterations.sign_with_other_key,
    "bend signature": alterations.bend_signature,
    "replay signatures": alterations.replay_signatures,
    "splice logs": alterations.splice_logs,
    "change order": alterations.change_order,
    "change form": alterations.change_form,
    "forge receipts": alterations.forge_receipts,
    "forge endorsement": alterations.forge_endorsement,
    "forge seals": alterations.forge_seals,
    "change field": attacks.change_field,
    "swap fields": attacks.swap_fields,
    "repeat label": attacks.repeat_label,
    "lie in version": attacks.lie_in_version,
    "change kind": attacks.change_kind,
    "take over": attacks.take_over,
    "rotate with current keys": attacks.rotate_with_current_keys,
    "sign with too few keys": attacks.sign_with_too_few_keys,
    "list one key twice": attacks.list_one_key_twice,
    "act without witnesses": attacks.act_without_witnesses,
    "rotate without approval": attacks.rotate_without_approval,
    "supersede": attacks.supersede,
    "go on after the end": attacks.go_on_after_the_end,
}
KINDS = (*_BYTE_CHANGES, *_CHANGES)


def _all(_scene: Scene, _world: World) -> bool:
    return True


def _several_keys(scene: Scene, world: World) -> bool:
    facts = world.record.facts
    return any(len(facts[one.raw].keys) > 1 for one in scene.pieces if one.raw in facts)


# Kind -> the scenes that it says something about; all, when it is not here.
_SCENES: dict[str, Callable[[Scene, World], bool]] = {
    "act without witnesses": has_witnesses,
    "forge receipts": has_witnesses,
    "forge seals": has_delegate,
    "rotate without approval": has_delegate,
    "sign with too few keys": _several_keys,
    "list one key twice": _several_keys,
    "go on after the end": lambda scene, _: scene.name == "basic",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A stream that is not what its author wrote.

    Attributes:
        kind: what was done to it.
        chunks: its bytes, as they arrive.
        stolen: bodies that were signed with genuine keys.
    """

    kind: str
    chunks: tuple[bytes, ...]
    stolen: frozenset[bytes]


@dataclass(slots=True)
class Tally:
    """What became of mutants.

    Attributes:
        kinds: mutants by kind.
        failures: number of each of "forged", "hang" and "crash".
        reports: failures, for people.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another tally."""
        self.kinds += other.kinds
        self.failures += other.failures
        self.reports += other.reports

    def __str__(self) -> str:
        """Tell the outcome in one line."""
        forged, hangs, crashes = (self.failures[what] for what in ("forged", "hang", "crash"))
        total = self.kinds.total()
        return f"{total} mutants: {forged} forged events accepted, {hangs} hangs, {crashes} crashes"


class _Late(BaseException):
    """A mutant takes too long."""


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="number of mutants")
    parser.add_argument("--seed", type=int, default=1, help="decides what the mutants are")
    parser.add_argument("--only", type=int, metavar="I", help="only the mutant of this number")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    if options.only is not None:
        tally = run(options.seed, options.only, options.only + 1)
    else:
        tally = _run_all(options.seed, options.count, options.processes)
    for kind, number in sorted(tally.kinds.items()):
        print(f"{number:8} {kind}")
    for report in tally.reports[:_SHOWN]:
        print(report)
    print(tally)
    return 1 if tally.failures else 0


def _run_all(seed: int, count: int, processes: int) -> Tally:
    ranges = [(seed, start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    total = Tally()
    if processes == 1:
        for one in ranges:
            total.add(_run_range(one))
        return total
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, tally in enumerate(pool.imap_unordered(_run_range, ranges), 1):
            total.add(tally)
            if done % 10 == 0:
                print(f"{total.kinds.total()} of {count}", file=sys.stderr)
    return total


def _run_range(limits: tuple[int, int, int]) -> Tally:
    return run(*limits)


def run(seed: int, start: int, end: int) -> Tally:
    """Make the mutants from `start` up to `end`, and verify each."""
    tally = Tally()
    world = make_world()
    with _alarm():
        for index in range(start, end):
            mutant = make_mutant(world, seed, index)
            tally.kinds[mutant.kind] += 1
            failure, detail = _try(world, mutant)
            if failure == "hang":  # or a busy machine stood still; then not twice
                failure, detail = _try(world, mutant)
            if failure:
                tally.failures[failure] += 1
                again = f"python -m keystead.testing.mutate --seed {seed} --only {index}"
                tally.reports.append(f"{failure.upper()} by {mutant.kind} ({again}): {detail}")
    return tally


@contextmanager
def _alarm() -> Iterator[None]:
    """Let the timer raise; what was set before is set again."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise _Late

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _try(world: World, mutant: Mutant) -> tuple[str, str]:
    """Verify a mutant.

    Returns:
        The kind of failure and what happened; the kind is empty when all is well.
    """
    try:
        signal.setitimer(signal.ITIMER_REAL, DEADLINE)
        try:
            forgeries = world.record.forgeries(verify(mutant), mutant.stolen)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late:
        return "hang", f"not done after {DEADLINE} s"
    except Exception:  # noqa: BLE001 - whatever it is, it is a failure to report
        return "crash", traceback.format_exc(limit=-4)
    return ("forged", "; ".join(forgeries)) if forgeries else ("", "")


def verify(mutant: Mutant) -> MemoryStore:
    """Feed a mutant to a validator that knows nothing; return what it stored."""
    store = MemoryStore()
    processor = EventProcessor(store)
    reader = processor.reader()
    for chunk in mutant.chunks:
        reader.feed(chunk)
        _process(processor, reader)
    reader.close()
    _process(processor, reader)
    return store


def _process(processor: EventProcessor, reader: StreamReader) -> None:
    for item in reader:
        if isinstance(item, Message):
            processor.process(item, now=NOW)


def make_mutant(world: World, seed: int, index: int) -> Mutant:
    """Make the mutant of a number."""
    random = Random(f"{seed} {index}")  # noqa: S311 - the same every time, on purpose
    kind = KINDS[index % len(KINDS)]
    applies = _SCENES.get(kind, _all)
    scenes = [scene for scene in world.scenes.values() if applies(scene, world)]
    draft = Draft(random, world, list(random.choice(scenes).pieces))
    if kind in _CHANGES:
        _CHANGES[kind](draft)
    stream = b"".join(piece.whole for piece in draft.pieces)
    if kind in _BYTE_CHANGES:
        stream = _BYTE_CHANGES[kind](random, stream)
    elif not draft.stolen and random.random() < _MIXED:
        # Not to what a thief signed: without the genuine event it might be the first one seen.
        stream = random.choice(list(_BYTE_CHANGES.values()))(random, stream)
    cuts = sorted(random.choices(range(len(stream) + 1), k=random.choice((0, 0, 0, 1, 3))))
    chunks = tuple(
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    )
    return Mutant(kind, chunks, frozenset(draft.stolen))


if __name__ == "__main__":
    sys.exit(main())
