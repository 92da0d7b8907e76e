"""What a witness asks of its store and of its signer; `stores` and `keystores` implement it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol, TypeVar

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import KeystoreError
from keystead.keri.attachments import Proofs
from keystead.keri.keystate import AcceptedEvent
from keystead.ports.events import EventStore

T = TypeVar("T")


class Origin(Enum):
    """How an identifier was let in."""

    OPERATOR = "operator"
    INVITATION = "invitation"
    OPEN = "open"
    DELEGATOR = "delegator"  # of one that was let in: its log is kept, and gets no receipts


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """An identifier whose events are taken, or no longer taken.

    Attributes:
        aid: the identifier.
        allowed: new events are taken.
        origin: how it was let in.
        since: when, RFC 3339 text.
    """

    aid: Aid
    allowed: bool
    origin: Origin
    since: str


class WitnessRow(msgspec.Struct, frozen=True, gc=False):
    """Which witness a store belongs to.

    Attributes:
        aid: the witness.
        store: random name of the store.
        generation: counts what was committed; an older copy of the store has a lower one.
        quarantined: it was restored, and must catch up before it signs anything new.
    """

    aid: Aid
    store: str
    generation: int
    quarantined: bool


class Promise(Enum):
    """Whether a witness owes, or has given, a receipt for an event."""

    NONE = "none"
    STANDS = "stands"
    SUPERSEDED = "superseded"  # another event has its place now


class Mail(msgspec.Struct, frozen=True, gc=False):
    """A message for somebody who asks for it later.

    Attributes:
        topic: such as "/replay".
        place: order for the recipient and topic, from 0.
        message: a CESR stream.
    """

    topic: str
    place: int
    message: bytes


class WitnessStore(Protocol):
    """Logs, and what a witness has promised about them, changed in one transaction."""

    @property
    def events(self) -> EventStore:
        """The logs; what is stored inside `transaction` is part of it."""

    def transaction(self) -> AbstractContextManager[object]:
        """Keep all that is done inside, durably, or nothing.

        Inside another transaction: what an error leaves undone is only what was done in this one.
        """

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a transaction; it may be done again when others were in the way."""

    def snapshot(self) -> AbstractContextManager[object]:
        """Read: all that is read inside is of one moment."""

    def give_back(self) -> bool:
        """Give a part of the room that was freed back to the system; tell whether there is more."""

    def about(self) -> WitnessRow:
        """Return which witness this is.

        Raises:
            StoreError: nobody has made it (store.missing).
        """

    def count(self) -> WitnessRow:
        """Count one more commit, inside the transaction that makes it; return which it will be."""

    def rename(self) -> str:
        """Give the store a new name, so that older copies have another; return it."""

    def put_witnessed(self, accepted: AcceptedEvent, *, supersedes: bool) -> None:
        """Write that a receipt is due for an event, in the transaction that accepted it.

        Raises:
            StoreError: another event has its place (store.corrupt).
        """

    def supersede(self, aid: Aid, sn: int) -> None:
        """Write that events from a place on have lost it, in the transaction that accepted another.

        Raises:
            StoreError: nothing may supersede one of them (store.corrupt).
        """

    def witnessed(self, aid: Aid, said: Said) -> Promise:
        """Tell whether a receipt was due for an event."""

    def promised(self, aid: Aid) -> Iterator[AcceptedEvent]:
        """Give the trunk of a log from the first event on for which a receipt was due."""

    def keep_receipt(self, accepted: AcceptedEvent, receipt: Proofs) -> None:
        """Keep the receipt of this witness with its event, inside a transaction; once."""

    def is_neighbour(self, aid: Aid) -> bool:
        """Tell whether somebody is a witness of a log that is witnessed here.

        At most as many as one event may name are counted for each log: those of its latest list.
        """

    def all_witnessed(self) -> Iterator[Aid]:
        """Give the identifiers for whose events a receipt was due."""

    def admitted(self, aid: Aid) -> Admitted | None:
        """Return what was decided about an identifier."""

    def admit(self, one: Admitted) -> None:
        """Write whom to take events from."""

    def all_admitted(self) -> Iterator[Admitted]:
        """Give everything that was decided about identifiers."""

    def count_admitted(self, origin: Origin) -> int:
        """Return how many were let in a way."""

    def invite(self, digest: bytes, uses: int, expires: int | None) -> None:
        """Keep an invitation; times in microseconds since 1970."""

    def use_invitation(self, digest: bytes, now: int) -> bool:
        """Take one use of an invitation; tell whether there was one."""

    def quarantine(self, unconfirmed: Sequence[tuple[Aid, Said | None]]) -> None:
        """Write that nothing new is signed before these logs were seen again.

        With a digest, that event must be in the log; without, another source has to tell.
        """

    def unconfirmed(self) -> Iterator[tuple[Aid, Said | None]]:
        """Give the logs that have to be seen again."""

    def confirm(self, aid: Aid) -> None:
        """Write that a log was seen again; with the last one the quarantine ends."""

    def put_mail(self, recipient: Aid, topic: str, message: bytes, now: int) -> None:
        """Keep a message for somebody; the oldest make room."""

    def mail(self, recipient: Aid, topic: str, first: int) -> list[Mail]:
        """Return the messages for somebody from a place on."""

    def expire_mail(self, before: int) -> None:
        """Drop messages that are older."""


class ReceiptSigner(Protocol):
    """Holds the key of a witness, and remembers itself what it has signed.

    It stands alone: should the store be wrong, or rolled back, it still gives no second receipt
    for a place.
    """

    @property
    def aid(self) -> Aid:
        """The witness."""

    def begin(self, store: str, generation: int) -> bool:
        """Tell whether a store is the current one, and no older copy of it."""

    def accept(self, store: str, generation: int) -> None:
        """Take a store for the current one, in place of any other: it is new, or has caught up."""

    def is_blank(self) -> bool:
        """Tell whether no store was ever accepted: what was signed before, if anything, is lost."""

    def signed_last(self) -> dict[Aid, Said]:
        """Return for each log the last event that stands of those that were signed."""

    def objection(self, event: bytes) -> KeystoreError | None:
        """Return why an event contradicts what was signed; None if it does not."""

    def relearn(self, events: Sequence[bytes]) -> Said:
        """Remember events of one log as signed: receipts for them are promised.

        Args:
            events: raw key events in their order, at least one.

        Returns:
            The last event of that log that stands.

        Raises:
            KeystoreError: one contradicts what was signed (keystore.second_event), or is no key
                event (keystore.role); none is remembered then.
        """

    def ask_receipts(self, store: str, generation: int, events: Sequence[bytes]) -> None:
        """Begin to sign, where that can be done while the caller does something else.

        If `sign_receipts` for the same events is what comes next, it only waits for the end of it.
        Otherwise the signer has signed them, as if nobody had received the answer.
        """

    def sign_receipts(
        self, store: str, generation: int, events: Sequence[bytes], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        """Return the signature over each event, durably remembered, or why there is none.

        Args:
            store: name of the store that has them.
            generation: of the commit with which the store holds them.
            events: raw key events; those of one log in the order of their acceptance.
            known_only: sign only what was signed before.
        """

    def sign_reply(self, payload: bytes) -> bytes:
        """Return the signature over a reply (rpy).

        Raises:
            KeystoreError: it is something else (keystore.role).
        """
