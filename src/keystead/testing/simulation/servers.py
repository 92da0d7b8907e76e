"""Witnesses of the simulation: the real ones, over databases in memory that survive crashes."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Message
from keystead.errors import KeysteadError, KeystoreError
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.node.replay import replay
from keystead.node.witness import Admission, EventAnswer, Status, Submission, Witness
from keystead.ports.witness import Promise
from keystead.stores import schema
from keystead.stores.database import Database
from keystead.stores.witness import KIND, DatabaseWitness
from keystead.testing.authoring import KeyPair

_NOWHERE = Path("simulated")
_OPEN = Admission(open_quota=1_000_000)
_PRAGMAS = ("foreign_keys = ON", "temp_store = MEMORY", "trusted_schema = OFF")

Chaos = Callable[[str], None]


class Crashed(BaseException):
    """The process ended here."""


class CrashingDatabase(Database):
    """A database whose process may end just before or after a commit."""

    chaos: Chaos

    def _commit(self) -> None:
        self.chaos("before the commit")
        super()._commit()
        self.chaos("after the commit")


class WatchedSigner(LocalReceiptSigner):
    """A signer that tells each signature that it makes, and may end around it."""

    chaos: Chaos
    told: Callable[[bytes, bytes], None]

    def sign_receipts(
        self, store: str, generation: int, events: Sequence[bytes], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        """Sign as the signer does."""
        self.chaos("before signing")
        found = super().sign_receipts(store, generation, events, known_only=known_only)
        for raw, signature in zip(events, found, strict=True):
            if isinstance(signature, bytes):
                self.told(raw, signature)
        self.chaos("after signing")
        return found

    def sign_blindly(self, raw: bytes) -> None:
        """Sign without asking anybody, as no signer does."""
        self.told(raw, self._key.sign(raw))


class Kind(msgspec.Struct, frozen=True):
    """Of what a server is built; careless ones are built of other parts."""

    witness: type[Witness] = Witness
    signer: type[WatchedSigner] = WatchedSigner


class Server:
    """One witness: its two databases last, its process does not.

    Attributes:
        pair: its key.
        witness: the process; None while it is down.
        receipts: digest of an event -> the receipt for it; all that were ever made.
        made: is told each signature that it makes.
    """

    def __init__(self, pair: KeyPair, kind: Kind, chaos: Chaos) -> None:
        """Make a witness, and do not start it."""
        self.pair = pair
        self.witness: Witness | None = None
        self.receipts: dict[str, bytes] = {}
        self.made: Callable[[Server, bytes, bytes], None] = lambda *_: None
        self._kind = kind
        self._chaos = chaos
        self._key = ServiceKey(pair.seed)
        self._memory = _memory()
        self._database = self._opened(_template(pair))
        signer = LocalReceiptSigner(self._memory, self._key, _NOWHERE)
        about = self.store.about()
        signer.accept(about.store, about.generation)

    @property
    def is_writing(self) -> bool:
        """Whether what it does is not committed yet."""
        return self._database.connection.in_transaction

    @property
    def store(self) -> DatabaseWitness:
        """What is on its disk; use it only while nothing is being written."""
        return DatabaseWitness(self._database)

    def start(self) -> Witness:
        """Start its process."""
        signer = self._kind.signer(self._memory, self._key, _NOWHERE)
        signer.chaos = self._chaos
        signer.told = lambda raw, signature: self.made(self, raw, signature)
        self._database.chaos = lambda _: None  # what a start does may be repeated
        self.witness = self._kind.witness(self.store, signer, admission=_OPEN)
        self._database.chaos = self._chaos
        return self.witness

    def crash(self) -> None:
        """End its process; what was not committed is gone."""
        self.witness = None
        for connection in (self._database.connection, self._memory):
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def copy(self) -> bytes:
        """Return its database."""
        return self._database.connection.serialize()

    def restore(self, copy: bytes) -> None:
        """Put an older copy of its database in place; it must not run."""
        self._database.close()
        self._database = self._opened(copy)

    def forget(self) -> None:
        """Lose the memory of its signer; it must not run."""
        self._memory.close()
        self._memory = _memory()

    def is_blank(self) -> bool:
        """Tell whether the memory of its signer is lost, and was not made good."""
        tables = "SELECT 1 FROM sqlite_schema WHERE name = 'seen'"
        if self._memory.execute(tables).fetchone() is None:
            return True
        return self._memory.execute("SELECT 1 FROM seen").fetchone() is None

    def submit(self, messages: Sequence[Message], now: datetime) -> Iterator[EventAnswer]:
        """Hand in messages that came at the same time; give the receipts.

        Raises:
            Crashed: the process ended.
        """
        assert self.witness is not None  # noqa: S101 - whoever asks knows that it runs
        for answer in self.witness.submit([Submission([one], now) for one in messages]):
            if isinstance(answer, KeysteadError):
                continue
            for event in answer.events:
                if event.status is Status.RECEIPTED and event.receipt:
                    yield event

    def has(self, aid: Aid, said: str) -> bool:
        """Tell whether an event is on its disk, with the promise of a receipt."""
        return self.store.witnessed(aid, Said(said)) is not Promise.NONE

    def log(self, aid: Aid) -> bytes:
        """Return what it would answer to whoever asks for a log."""
        return b"".join(replay(self.store.events, aid))

    def _opened(self, content: bytes) -> CrashingDatabase:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(content)
        return _database(connection)


def _database(connection: sqlite3.Connection) -> CrashingDatabase:
    for one in _PRAGMAS:
        connection.execute(f"PRAGMA {one}")
    database = CrashingDatabase(_NOWHERE, connection)
    database.chaos = lambda _: None
    return database


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


@cache
def _template(pair: KeyPair) -> bytes:
    """Return the database of a new witness."""
    database = _database(_memory())
    with database.transaction() as connection:
        schema.apply(connection, schema.shipped(KIND))
    DatabaseWitness(database).begin(pair.aid)
    content = database.connection.serialize()
    database.close()
    return content
