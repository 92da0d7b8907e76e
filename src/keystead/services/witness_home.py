"""Where a witness lives: its database and sealed key in one folder, what it has signed in another.

The two are apart on purpose. Whoever puts back an older copy of the first still has the second,
and finds out.

The database may be elsewhere, in PostgreSQL. Then several processes of this machine may serve the
witness: they share what it has signed.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid, parse_key
from keystead.cesr.writing import write_groups
from keystead.errors import ErrorCode, StoreError
from keystead.keri import build
from keystead.keri.build import Keys
from keystead.keri.verdicts import Source
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.receipting_process import RemoteReceiptSigner
from keystead.keystores.service_key import ServiceKey, read_envelope
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.ingest import EventProcessor
from keystead.node.witness import Admission, Witness
from keystead.stores import files
from keystead.stores.opening import alone, name_location
from keystead.stores.witness import FILE, DatabaseWitness
from keystead.suites import Suite

KEY: Final = "witness.key"


class WitnessHome(msgspec.Struct, frozen=True):
    """The folders of a witness.

    Attributes:
        folder: its database and its sealed key.
        state: below it, in a folder of its own, what each witness of this machine has signed.
        limits: bounds of what it takes and keeps.
    """

    folder: Path
    state: Path
    limits: Limits = DEFAULT_LIMITS

    @property
    def aid(self) -> Aid:
        """The witness; errors as `read_envelope`."""
        return Aid(read_envelope(self.folder / KEY).wallet)

    def create(self, passphrase: bytes, database: str = "") -> Aid:
        """Make a witness: its key, its database, and its own first event.

        Args:
            passphrase: for its key, in normal form.
            database: where its database is, if not in the folder.

        Raises:
            UsageError: there is one (usage.exists), or as `open_database`.
            StoreError: it cannot be kept.
        """
        files.make_folder(self.folder)
        if (self.folder / FILE).exists() and not (self.folder / KEY).exists():
            what = f"{self.folder} has a database and no key: it is not made anew"
            raise StoreError(ErrorCode.STORE_MISSING, what, hint="put the file witness.key back")
        # The key comes last: with it the witness is complete.
        partial_key = self.folder / f"{KEY}.new"
        if (self.folder / KEY).exists():
            return ServiceKey.create(self.folder / KEY, passphrase).aid  # refused: there is one
        with suppress(FileNotFoundError):
            partial_key.unlink()
        for leftover in self.folder.glob(f"{FILE}*"):
            leftover.unlink()  # of an attempt that was cut off: nobody knows its key
        name_location(self.folder, database)
        key = ServiceKey.create(partial_key, passphrase)
        self.make(key)
        partial_key.rename(self.folder / KEY)
        files.sync_folder(self.folder)
        return key.aid

    def make(self, key: ServiceKey) -> None:
        """Make the database and the memory of a witness; its key is not kept here.

        Raises:
            UsageError: there is one (usage.exists).
            StoreError: they cannot be kept.
        """
        with ExitStack() as stack:
            store = DatabaseWitness.create(self.folder, key.aid)
            stack.callback(store.close)
            _accept_inception(store, key)
            signer = LocalReceiptSigner.open(self.memory(key.aid), key)
            stack.callback(signer.close)
            # Wherever this memory is not, the store is taken for a copy of one that has signed.
            about = store.about()
            signer.accept(about.store, about.generation)

    def memory(self, aid: Aid) -> Path:
        """Return the folder that remembers what a witness has signed."""
        return self.state / aid

    @contextmanager
    def opened(
        self, passphrase: bytes, admission: Admission, *, shared: bool = False
    ) -> Iterator[Witness]:
        """Open the witness, for this process alone.

        Args:
            passphrase: of its key, in normal form.
            admission: whom it lets in.
            shared: others may serve it too, if its database is made for that.

        Raises:
            UsageError: as `open_database`.
            StoreError: it is not there (store.missing), another process has it (store.busy), or it
                cannot be used.
            KeystoreError: the passphrase does not fit, or its signer does not start.
        """
        with ExitStack() as stack:
            stack.enter_context(self.alone(shared=shared))
            store = DatabaseWitness.open(self.folder, self.limits)
            stack.callback(store.close)
            memory = self.memory(self.aid)
            signer = RemoteReceiptSigner.start(self.folder / KEY, memory, passphrase)
            stack.callback(signer.close)
            yield Witness(store, signer, admission=admission, limits=self.limits)

    @contextmanager
    def alone(self, *, shared: bool = False) -> Iterator[None]:
        """Keep other processes from serving this witness: two with one key could contradict.

        Args:
            shared: only those that want it for themselves, if its database is made for that.

        Raises:
            StoreError: one does (store.busy), or the folder cannot be used.
        """
        with alone(self.folder, "witness", shared=shared):
            yield


def _accept_inception(store: DatabaseWitness, key: ServiceKey) -> None:
    """Put the first and only event of a witness on its log: peers want to see it."""
    public = parse_key(key.aid)
    event = build.incept(Keys((public,), "1"), configuration=build.Configuration(basic=True))
    signature = indexed.make(Suite.ED25519, key.sign(event.raw), 0, ondex=0)
    stream = event.raw + write_groups([Group(GroupKind.CONTROLLER_SIGNATURES, (signature,))])
    processor = EventProcessor(store.events, own=(key.aid,))
    reader = processor.reader()
    reader.feed(stream)
    reader.close()
    for message in reader:
        processor.process(message, source=Source.LOCAL, now=datetime.now(UTC))  # type: ignore[arg-type] # made here
