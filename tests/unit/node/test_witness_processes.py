"""Several processes of one witness: a store and a memory that all of them use, in any order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keystead.cesr.keys import digest
from keystead.cesr.stream import Message, StreamReader
from keystead.errors import ErrorCode, KeystoreError
from keystead.keri import forms
from keystead.keri.seals import DigestSeal
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.limits import DEFAULT_LIMITS
from keystead.node.witness import Admission, EventAnswer, Status, Submission, Submitted, Witness
from keystead.services.witness_home import WitnessHome
from keystead.stores import files
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, Signed, witness

ME = witness("of several processes")
KEY = ServiceKey(ME.seed)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Slow(LocalReceiptSigner):
    """A signer that something happens before: what a process does between two steps of another."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def begin(self, store: str, generation: int) -> bool:
        """Tell whether a store is the current one."""
        self.before()
        return super().begin(store, generation)

    def sign_receipts(
        self, store: str, generation: int, events: Sequence[bytes], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        """Return the signature over each event."""
        self.before()
        return super().sign_receipts(store, generation, events, known_only=known_only)


class Machine:
    """Processes on one database.

    Attributes:
        home: what they share.
    """

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        """Make a witness."""
        self.home = WitnessHome(folder / "home", folder / "state")
        self._opened = opened
        files.make_folder(self.home.folder)
        self.home.make(KEY)

    def started(
        self, before: Callable[[], object] = lambda: None, memory: str = ""
    ) -> tuple[Witness, Slow]:
        """Start a process, with the memory of this machine or with that of another."""
        store = DatabaseWitness.open(self.home.folder)
        self._opened.callback(store.close)
        folder = self.home.folder.parent / memory if memory else self.home.memory(ME.aid)
        signer = Slow.open(folder, KEY)
        assert isinstance(signer, Slow)
        self._opened.callback(signer.close)
        signer.before = before
        return Witness(store, signer, admission=Admission(open_quota=99)), signer


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as opened:
        yield Machine(tmp_path, opened)


def _answer(one: Witness, signed: Signed) -> EventAnswer:
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(replace(signed, receipts=()).framed)
    reader.close()
    messages = [item for item in reader if isinstance(item, Message)]
    (done,) = one.submit([Submission(messages, NOW)])
    assert isinstance(done, Submitted), done
    (answer,) = done.events
    return answer


def _once(work: Callable[[], object]) -> Callable[[], object]:
    """Return what does something the first time."""
    left = [work]
    return lambda: left.pop()() if left else None


def test_another_commits_before_the_signature(machine: Machine) -> None:
    """A process that was overtaken between its commit and its signature is no older copy."""
    first, second = Author("first", witnesses=[ME]), Author("second", witnesses=[ME])
    (one, signer), (other, _) = machine.started(), machine.started()
    overtaking = second.incept()
    signer.before = _once(lambda: _answer(other, overtaking))
    assert _answer(one, first.incept()).receipt
    assert _answer(one, overtaking).receipt == _answer(other, overtaking).receipt != b""
    assert not one.quarantined


def test_another_commits_while_one_starts(machine: Machine) -> None:
    """A process that looked at the database before another wrote is not in quarantine."""
    other, _ = machine.started()
    author = Author("first", witnesses=[ME])
    name = other.store.about().store
    one, _ = machine.started(before=_once(lambda: _answer(other, author.incept())))
    assert not one.quarantined
    assert one.store.about().store == name  # nor was it taken over as if it were a copy
    assert _answer(one, author.interact()).receipt


def test_the_next_event_is_signed_first(machine: Machine) -> None:
    """Two events of one log in two processes get both receipts, whichever signs first."""
    author = Author("first", witnesses=[ME])
    (one, signer), (other, _) = machine.started(), machine.started()
    first, second = author.incept(), author.interact()
    signer.before = _once(lambda: _answer(other, second))
    assert _answer(one, first).receipt
    assert _answer(one, second).receipt


def test_processes_know_of_each_others_events(machine: Machine) -> None:
    """What one has taken, no other takes another version of."""
    author = Author("first", witnesses=[ME])
    (one, _), (other, _) = machine.started(), machine.started()
    assert _answer(one, author.incept()).receipt
    twin = author.fork()
    assert _answer(other, author.interact()).receipt
    refused = _answer(one, twin.interact(DigestSeal(digest(b"another"))))
    assert (refused.status, refused.receipt) == (Status.DUPLICITOUS, b"")


def test_a_quarantine_holds_for_all(machine: Machine) -> None:
    """A process without the memory puts all in quarantine: none signs anything new."""
    author = Author("first", witnesses=[ME])
    one, _ = machine.started()
    first = author.incept()
    receipt = _answer(one, first).receipt
    assert receipt
    stranger, _ = machine.started(memory="of another machine")
    assert stranger.quarantined
    later = _answer(one, author.interact())
    assert isinstance(later.error, KeystoreError)
    assert (later.error.code, later.receipt) == (ErrorCode.BEHIND, b"")
    assert one.quarantined
    assert _answer(one, first).receipt == receipt


def test_the_one_who_took_over_signs(machine: Machine) -> None:
    """Once another memory was accepted for a database, the former signs nothing new."""
    author = Author("first", witnesses=[ME])
    one, _ = machine.started()
    assert _answer(one, author.incept()).receipt
    other, _ = machine.started(memory="of another machine")
    for aid, _ in list(other.store.unconfirmed()):
        assert other.give_up(aid)
    assert _answer(other, author.interact()).receipt
    late = _answer(one, author.interact())
    assert isinstance(late.error, KeystoreError)
    assert late.error.code is ErrorCode.BEHIND
