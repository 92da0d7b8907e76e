"""Controllers made for tests: keys from names, and signed events, always the same bytes.

The keys are no secrets. Nothing outside tests and benchmarks may use this.
"""

import copy
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keystead import suites
from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, ReceiptCouple
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Signature, VerificationKey, make_key
from keystead.cesr.versions import Kind
from keystead.cesr.writing import write_frame, write_groups
from keystead.keri import build
from keystead.keri.attachments import Claims, SignedEvent
from keystead.keri.build import Configuration, Keys, Witnesses
from keystead.keri.delegation import seal_of
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import Receipt
from keystead.keri.seals import EventSeal, Seal
from keystead.keri.thresholds import Field
from keystead.keri.validation import judge
from keystead.keri.verdicts import Accepted, Role, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.suites import Suite


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair that a name stands for."""

    name: str
    suite: Suite = Suite.ED25519
    transferable: bool = True

    @property
    def seed(self) -> bytes:
        """The private half."""
        return hashlib.sha256(self.name.encode()).digest()

    @property
    def key(self) -> VerificationKey:
        """The public half."""
        raw = suites.public_key(self.suite, self.seed)
        return make_key(self.suite, raw, transferable=self.transferable)

    @property
    def aid(self) -> Aid:
        """The key as identifier."""
        return Aid(self.key.text)

    def sign(self, raw: bytes) -> bytes:
        """Return the signature over `raw`."""
        return suites.sign(self.suite, self.seed, raw)

    def indexed(
        self, raw: bytes, index: int, ondex: int | None, *, current_only: bool = False
    ) -> IndexedSignature:
        """Return the signature over `raw` with its places."""
        signature = self.sign(raw)
        return indexed.make(self.suite, signature, index, ondex=ondex, current_only=current_only)

    def couple(self, raw: bytes) -> ReceiptCouple:
        """Return the receipt of a non-transferable identifier."""
        return ReceiptCouple(self.key, Signature(self.suite, self.sign(raw)))


def witness(name: str) -> KeyPair:
    """Make a witness."""
    return KeyPair(f"witness {name}", transferable=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """An event with the signatures of its controller and of its witnesses."""

    event: AnyKeyEvent
    signatures: tuple[IndexedSignature, ...]
    receipts: tuple[IndexedSignature, ...] = ()

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is attached."""
        attached = [Group(GroupKind.CONTROLLER_SIGNATURES, self.signatures)]
        if self.receipts:
            attached.append(Group(GroupKind.WITNESS_SIGNATURES, self.receipts))
        return tuple(attached)

    @property
    def raw(self) -> bytes:
        """The message: body and attachments."""
        return self.event.raw + write_groups(self.groups)

    @property
    def framed(self) -> bytes:
        """The message with its attachments in a frame."""
        return self.event.raw + write_frame(self.groups)

    @property
    def seal(self) -> EventSeal:
        """The seal that approves or anchors the event."""
        return seal_of(self.event)

    def receipted(self, *witnesses: KeyPair) -> bytes:
        """Return a receipt message by non-transferable identifiers."""
        event = self.event
        body = build.receipt(Receipt(event.aid, event.sn, event.said))
        couples = tuple(one.couple(event.raw) for one in witnesses)
        return body + write_groups([Group(GroupKind.RECEIPT_COUPLES, couples)])


class Author:
    """One identifier: its keys, and the state of its log as it sees it.

    Attributes:
        witnesses: whose receipts its events get.
    """

    def __init__(
        self,
        name: str,
        *,
        keys: int = 1,
        threshold: Field | None = None,
        witnesses: Sequence[KeyPair] = (),
        kind: Kind = Kind.JSON,
    ) -> None:
        """Have `keys` keys at a time, all of which must sign unless `threshold` says else."""
        self.witnesses = list(witnesses)
        self._name = name
        self._keys = keys
        self._threshold: Field = f"{keys:x}" if threshold is None else threshold
        self._kind = kind
        self._generation = 0
        self._state: KeyState | None = None

    @property
    def state(self) -> KeyState:
        """The state after the last event."""
        if self._state is None:
            raise LookupError("not incepted yet")
        return self._state

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return self.state.aid

    def fork(self) -> "Author":
        """Return an author who goes on from here on a branch of its own."""
        return copy.copy(self)

    def pairs(self, generation: int) -> list[KeyPair]:
        """Return the key pairs after so many rotations."""
        return [KeyPair(f"{self._name} {generation} {place}") for place in range(self._keys)]

    def incept(
        self, *, configuration: Configuration = build.PLAIN, anchors: Iterable[Seal] = ()
    ) -> Signed:
        """Make the first event."""
        added = [one.aid for one in self.witnesses]
        event = build.incept(
            self._plan(0),
            Witnesses(len(added), added),
            configuration=configuration,
            anchors=anchors,
            kind=self._kind,
        )
        return self._sign(event)

    def rotate(self, *, anchors: Iterable[Seal] = (), last: bool = False) -> Signed:
        """Make a rotation; the `last` one commits to no keys."""
        self._generation += 1
        plan = self._plan(self._generation, last=last)
        return self._sign(build.rotate(self.state, plan, anchors=anchors, kind=self._kind))

    def interact(self, *anchors: Seal) -> Signed:
        """Make an interaction."""
        return self._sign(build.interact(self.state, anchors, kind=self._kind))

    def signatures(self, raw: bytes) -> tuple[IndexedSignature, ...]:
        """Return the signatures of the current keys over any message."""
        return tuple(
            pair.indexed(raw, place, place)
            for place, pair in enumerate(self.pairs(self._generation))
        )

    def _plan(self, generation: int, *, last: bool = False) -> Keys:
        current = [pair.key for pair in self.pairs(generation)]
        if last:
            return Keys(current, self._threshold)
        following = [build.commitment(pair.key) for pair in self.pairs(generation + 1)]
        return Keys(current, self._threshold, following, self._threshold)

    def _sign(self, event: AnyKeyEvent) -> Signed:
        signatures = self.signatures(event.raw)
        verdict = judge(
            SignedEvent(event, Claims(signatures)),
            prior=self._state,
            incumbent=None,
            source=Source.LOCAL,
            role=Role.CONTROLLER,
            delegation=None,
            limits=DEFAULT_LIMITS,
        )
        if not isinstance(verdict, Accepted):
            raise TypeError(f"the event is not acceptable to its own author: {verdict}")
        self._state = verdict.state
        receipts = tuple(
            one.indexed(event.raw, place, place) for place, one in enumerate(self.witnesses)
        )
        return Signed(event, signatures, receipts)
