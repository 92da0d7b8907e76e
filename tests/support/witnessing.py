"""A witness on disk in this process: its store, its signer, and short ways to use them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from keystead.cesr.keys import digest
from keystead.errors import KeysteadError
from keystead.keri import build
from keystead.keri.build import Witnesses
from keystead.keri.seals import DigestSeal
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.node.witness import Admission, EventAnswer, Submission, Submitted, Witness
from keystead.services.witness_home import WitnessHome
from keystead.stores import files
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, Signed, witness
from keystead.testing.simulation.owners import read_all

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ME = witness("me")
OPEN = Admission(open_quota=100)


def new_home(folder: Path) -> WitnessHome:
    """Make a witness whose key nobody has sealed."""
    home = WitnessHome(folder / "home", folder / "state")
    files.make_folder(home.folder)
    home.make(ServiceKey(ME.seed))
    return home


@contextmanager
def signer_of(home: WitnessHome) -> Iterator[LocalReceiptSigner]:
    """Open its signer."""
    with closing(LocalReceiptSigner.open(home.memory(ME.aid), ServiceKey(ME.seed))) as signer:
        yield signer


class DyingSigner(LocalReceiptSigner):
    """A signer whose process, and the witness with it, ends before it signs anything."""

    def sign_receipts(self, *_: object, **__: object) -> NoReturn:
        """End."""
        raise SystemExit


@contextmanager
def dying(home: WitnessHome) -> Iterator[Witness]:
    """Run it until it is to sign."""
    memory = home.memory(ME.aid)
    with (
        closing(DatabaseWitness.open(home.folder)) as store,
        closing(DyingSigner.open(memory, ServiceKey(ME.seed))) as signer,
    ):
        yield Witness(store, signer, admission=OPEN)


class MovingAuthor(Author):
    """An owner who changes its witnesses."""

    def change(self, change: Witnesses) -> Signed:
        """Make a rotation that does, without receipts."""
        self._generation += 1
        self.witnesses = []
        plan = self._plan(self._generation)
        return self._sign(build.rotate(self.state, plan, change))


@contextmanager
def opened(home: WitnessHome, admission: Admission = OPEN) -> Iterator[Witness]:
    """Run it."""
    with closing(DatabaseWitness.open(home.folder)) as store, signer_of(home) as signer:
        yield Witness(store, signer, admission=admission)


def submitted(one: Witness, *streams: bytes, invitation: str = "") -> Submitted:
    """Hand in one submission that must not fail as a whole."""
    found = one.submit([Submission(read_all(b"".join(streams)), NOW, invitation)])[0]
    assert isinstance(found, Submitted), found
    return found


def failed(one: Witness, *streams: bytes) -> KeysteadError:
    """Hand in one submission that must fail as a whole."""
    found = one.submit([Submission(read_all(b"".join(streams)), NOW)])[0]
    assert isinstance(found, KeysteadError), found
    return found


def sent(one: Witness, signed: Signed) -> EventAnswer:
    """Hand in one event, without receipts, and return what became of it."""
    return submitted(one, bare(signed)).events[0]


def bare(signed: Signed) -> bytes:
    """Return an event with the signatures of its owner alone."""
    return Signed(signed.event, signed.signatures).raw


def seal(text: str) -> DigestSeal:
    """Return a seal that makes an event unlike others."""
    return DigestSeal(digest(text.encode()))


def author(name: str, *others: str) -> Author:
    """Return an owner with this witness, and others."""
    return Author(name, witnesses=[ME, *map(witness, others)])
