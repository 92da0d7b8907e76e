"""The witness as a workload: events in, receipts out, and what must hold after any crash.

Owners are dishonest: for each event there is a rival at the same place. Whatever happens, a witness
has given a receipt for one of the two.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

import msgspec

from keystead.cesr.keys import Aid, Digest, digest
from keystead.cesr.stream import Message, StreamReader
from keystead.errors import KeysteadError
from keystead.keri import forms
from keystead.keri.seals import DigestSeal
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.limits import DEFAULT_LIMITS
from keystead.node.witness import Admission, Status, Submission, Witness
from keystead.services.witness_home import WitnessHome
from keystead.stores import files, fsck
from keystead.stores.database import Database
from keystead.stores.witness import FILE, DatabaseWitness
from keystead.testing.authoring import Author, Signed, witness
from keystead.testing.crash.workload import Acknowledge
from keystead.testing.equivocation import Events

_ME = witness("crash")
_OWNERS = 4
_STEPS = 10
_MOST_AT_ONCE = 3
_NEAR = 4  # events before the last that are tried again
_READY = "ready"  # the place of the sealed key, which comes last when a witness is made
_OPEN = Admission(open_quota=1000)
# What owners do, in order; "recover" is a rotation that supersedes the last two interactions.
_STORY = (
    "icp",
    "ixn",
    "ixn",
    "rot",
    "ixn",
    "ixn",
    "recover",
    "ixn",
    "rot",
    "rot",
    "ixn",
    "ixn",
) * 3


class Step(msgspec.Struct, frozen=True):
    """An event of a story, and an event that contradicts it."""

    event: Signed
    rival: Signed | None


class WitnessWorkload:
    """Submits events to a witness over its store and signer on disk."""

    operations = ("init", "incept", "continue", "recover", "several", "again")

    def run(self, root: Path, acknowledge: Acknowledge, seed: int) -> None:
        """Do some operations, drawn from the seed."""
        random = Random(seed)  # noqa: S311 - repeatable on purpose
        if not _is_ready(root):
            self.operate(root, "init", acknowledge)
        done = 0
        while done < _STEPS:
            with _opened(root) as one:  # as after a restart
                for _ in range(random.randint(1, _STEPS)):
                    done += 1
                    _work(one, acknowledge, random)

    def prepare(self, root: Path, operation: str) -> Sequence[bytes]:
        """Make the folder from which an operation starts."""
        told: list[bytes] = []
        if operation == "init":
            return told
        self.operate(root, "init", told.append)
        with _opened(root) as one:
            for owner in range(_OWNERS) if operation != "incept" else ():
                for step in told_by(owner)[:6]:
                    _submit(one, [step.event], told.append)
        return told

    def operate(self, root: Path, operation: str, acknowledge: Acknowledge) -> None:
        """Do one operation."""
        if operation == "init":
            _init(root)
            acknowledge(b"init")
            return
        with _opened(root) as one:
            first = told_by(0)
            match operation:
                case "incept":
                    _submit(one, [first[0].event], acknowledge)
                case "continue":
                    _submit(one, [told_by(1)[5].event], acknowledge)
                case "recover":
                    _submit(one, [first[6].event], acknowledge)
                case "several":
                    _submit(one, [told_by(owner)[6].event for owner in range(3)], acknowledge)
                case _:
                    _submit(one, [first[4].event], acknowledge)
            one.flush()

    def check(self, root: Path, acknowledged: Sequence[bytes], in_flight: bool) -> list[str]:  # noqa: ARG002, FBT001 - the port has it so
        """Open what is there and submit everything with its rivals; return what is wrong."""
        told = [one.decode().split() for one in acknowledged]
        if not _is_ready(root):
            if told:
                return ["the witness was acknowledged and is not there"]
            _init(root)
        given = {(Aid(one[1]), int(one[2]), one[3]): one[4] for one in told if one[0] == "receipt"}
        with _opened(root) as one:
            findings = [f"it is in quarantine: {list(one.store.unconfirmed())}"] * one.quarantined
            findings += _examined(one)
            findings += [
                f"lost: {aid} {sn} {said}"
                for aid, sn, said in given
                if one.store.events.accepted(aid, Digest(said)) is None
            ]
            history = dict(given)
            for owner in range(_OWNERS):
                findings += _provoke(one, told_by(owner), history)
            one.flush()
            return findings + _unfounded(one)


def _work(one: Witness, acknowledge: Acknowledge, random: Random) -> None:
    """Submit what comes next of some owners, with rivals of what came before."""
    at_once: list[Signed] = []
    for owner in random.sample(range(_OWNERS), random.randint(1, _MOST_AT_ONCE)):
        story = told_by(owner)
        aid = story[0].event.event.aid
        done = sum(1 for _ in one.store.events.first_seen(aid))
        if done and random.random() < 0.3:  # noqa: PLR2004 - a third
            old = story[random.randrange(done)]
            at_once.append(random.choice((old.event, old.rival or old.event)))
        if done < len(story):
            at_once.append(story[done].event)
    _submit(one, at_once, acknowledge)
    if random.random() < 0.3:  # noqa: PLR2004 - a third
        one.flush()


def _submit(one: Witness, events: Sequence[Signed], acknowledge: Acknowledge) -> None:
    now = datetime.now(UTC)
    answers = one.submit([Submission([_message(event.raw)], now) for event in events])
    for answer in answers:
        if isinstance(answer, KeysteadError):
            raise answer
        for event in answer.events:
            if event.status is Status.RECEIPTED:
                told = f"receipt {event.aid} {event.sn} {event.said} {event.receipt.hex()}"
                acknowledge(told.encode())


def _provoke(
    one: Witness, story: Sequence[Step], history: dict[tuple[Aid, int, str], str]
) -> Iterator[str]:
    """Submit rivals first, then the story; compare all receipts that were ever given."""
    aid = story[0].event.event.aid
    done = sum(1 for _ in one.store.events.first_seen(aid))
    near = story[max(0, done - _NEAR) : done + 2]
    events = [step.rival for step in near if step.rival is not None]
    events += [step.event for step in near]
    said: list[bytes] = []
    for event in events:
        _submit(one, [event], said.append)
    for text in said:
        _, _, sn, digested, receipt = text.decode().split()
        if history.setdefault((aid, int(sn), digested), receipt) != receipt:
            yield f"another receipt for the same event {sn} of {aid}"
    known = Events()
    for step in story:
        for each in (step.event, step.rival):
            if each is not None:
                known.add(each.event.raw)
    receipted = (one for owner, _, one in history if owner == aid)
    yield from known.contradictions(one for one in receipted if one in known)


def _examined(one: Witness) -> list[str]:
    found = fsck.check(_database(one), own=(one.aid,))
    return [f"fsck: {finding.where}: {finding.what}" for finding in found] + _unfounded(one)


def _unfounded(one: Witness) -> list[str]:
    found = fsck.check_witnessed(_database(one))
    return [f"fsck: {finding.where}: {finding.what}" for finding in found]


def _database(one: Witness) -> Database:
    assert isinstance(one.store, DatabaseWitness)  # noqa: S101 - opened below
    database = one.store.database
    assert isinstance(database, Database)  # noqa: S101 - as above
    return database


@contextmanager
def _opened(root: Path) -> Iterator[Witness]:
    home = _home(root)
    with ExitStack() as stack:
        stack.enter_context(home.alone())
        store = DatabaseWitness.open(home.folder)
        stack.callback(store.close)
        signer = LocalReceiptSigner.open(home.memory(_ME.aid), ServiceKey(_ME.seed))
        stack.callback(signer.close)
        yield Witness(store, signer, admission=_OPEN)


def _init(root: Path) -> None:
    """Make a witness as `WitnessHome.create` does, without the cost of sealing its key."""
    home = _home(root)
    files.make_folder(home.folder)
    for leftover in home.folder.glob(f"{FILE}*"):
        leftover.unlink()
    home.make(ServiceKey(_ME.seed))
    files.make_file(home.folder / _READY)


def _is_ready(root: Path) -> bool:
    return (_home(root).folder / _READY).exists()


def _home(root: Path) -> WitnessHome:
    return WitnessHome(root / "home", root / "state" / "witness")


@cache
def told_by(owner: int) -> tuple[Step, ...]:
    """Return all that an owner ever does, in order, with a rival for each event."""
    author = Author(f"crash owner {owner}", witnesses=[_ME])
    cut = author
    steps = []
    for number, kind in enumerate(_STORY):
        if kind == "icp" and number:
            kind = "rot"  # noqa: PLW2901 - a story repeats, an inception does not
        if kind == "recover":
            author = cut
        if kind == "icp":
            steps.append(Step(author.incept(), None))
            continue
        rival = author.fork().interact(_seal(f"rival {number}"))
        if kind == "ixn" and steps[-1].event.event.message_type != "ixn":
            cut = author.fork()
        made = author.interact(_seal(f"{number}")) if kind == "ixn" else author.rotate()
        steps.append(Step(made, rival))
    return tuple(steps)


def _seal(text: str) -> DigestSeal:
    return DigestSeal(digest(text.encode()))


@cache
def _message(stream: bytes) -> Message:
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(stream)
    reader.close()
    (message,) = reader
    assert isinstance(message, Message)  # noqa: S101 - made here
    return message
