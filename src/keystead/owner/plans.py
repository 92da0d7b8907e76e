"""What an owner asks of an identifier, and the event that does it."""

import json
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from keystead.cesr.keys import Aid, Digest, parse_key
from keystead.custody.records import KeyRecord
from keystead.errors import (
    DecodeError,
    ErrorCode,
    KeystoreError,
    UsageError,
    VerificationError,
)
from keystead.keri import build
from keystead.keri.build import Configuration, Keys
from keystead.keri.events import (
    DO_NOT_DELEGATE,
    ESTABLISHMENT_ONLY,
    AnyKeyEvent,
    EstablishmentEvent,
)
from keystead.keri.keystate import KeyState
from keystead.keri.seals import Seal
from keystead.keri.thresholds import Field, Threshold, parse
from keystead.owner.keys import Made, Subject, is_here, make_keys, new_lines
from keystead.owner.wallet import IdentifierRecord, Line, Wallet
from keystead.suites import Suite


class Creation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a new identifier should be.

    Attributes:
        suite: signature suite of its keys.
        keys: number of own signing keys.
        threshold: over them; None: more than half.
        next_keys: number of own keys to commit to; None: as many.
        next_threshold: over them and the reserve keys; None: as `threshold`, or more than half.
        reserve: commitments to reserve keys of others.
        token: name of the token that holds the keys; empty for keys that are derived.
        establishment_only: the log allows only rotations.
        do_not_delegate: it must not delegate.
        transferable: it can rotate.
        delegator: who must approve it.
        anchors: seals in its first event.
    """

    suite: Suite = Suite.ED25519
    keys: int = 1
    threshold: Field | None = None
    next_keys: int | None = None
    next_threshold: Field | None = None
    reserve: tuple[Digest, ...] = ()
    token: str = ""
    establishment_only: bool = False
    do_not_delegate: bool = False
    transferable: bool = True
    delegator: Aid | None = None
    anchors: tuple[Seal, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a rotation changes what comes after it; None leaves it.

    Attributes:
        threshold: over the keys that are exposed now.
        next_keys: number of own keys to commit to.
        next_threshold: over them and the reserve keys.
        reserve: commitments to reserve keys of others.
        suite: signature suite of the keys to commit to.
        token: token for the keys to commit to; empty for keys that are derived.
        anchors: seals.
        last: commit to no keys, which ends the log.
    """

    threshold: Field | None = None
    next_keys: int | None = None
    next_threshold: Field | None = None
    reserve: tuple[Digest, ...] | None = None
    suite: Suite | None = None
    token: str | None = None
    anchors: tuple[Seal, ...] = ()
    last: bool = False


class Place(msgspec.Struct, frozen=True, gc=False):
    """A key that signs an event.

    Attributes:
        key: the key.
        index: its place in the list of signing keys.
        ondex: its place in the list of next keys of the establishment event before.
    """

    key: KeyRecord
    index: int
    ondex: int


class Plan(msgspec.Struct, frozen=True, gc=False):
    """A rotation, ready to be signed.

    Attributes:
        event: the event.
        exposed: own keys that it exposes, and that sign it.
        made: own keys that it commits to.
        reserve: commitments of others.
        lines: where `made` come from.
        slots: lines made so far.
    """

    event: AnyKeyEvent
    exposed: tuple[Place, ...]
    made: tuple[Made, ...]
    reserve: tuple[Digest, ...]
    lines: tuple[Line, ...]
    slots: int

    @property
    def is_last(self) -> bool:
        """The event commits to no keys, so nothing can follow."""
        return not self.made and not self.reserve


def majority(keys: int) -> Field:
    """Return the threshold of more than half, so that two sets of keys always meet."""
    return f"{keys // 2 + 1:x}" if keys else "0"


def incept(current: Sequence[Made], following: Sequence[Made], wanted: Creation) -> AnyKeyEvent:
    """Return the first event of an identifier.

    Raises:
        UsageError: keys and thresholds that make no safe event (usage.argument).
    """
    threshold = wanted.threshold if wanted.threshold is not None else majority(wanted.keys)
    committed = [*(made.digest for made in following), *wanted.reserve]
    following_threshold: Field = "0"
    if committed:
        following_threshold = _next_threshold(
            wanted.next_threshold,
            threshold,
            same=len(current) == len(committed) and not wanted.reserve,
            count=len(committed),
            reserve=wanted.reserve,
        )
    keys = Keys([made.key for made in current], threshold, committed, following_threshold)
    traits = [
        trait
        for trait, asked in (
            (ESTABLISHMENT_ONLY, wanted.establishment_only),
            (DO_NOT_DELEGATE, wanted.do_not_delegate),
        )
        if asked
    ]
    configuration = Configuration(traits, wanted.delegator, basic=not wanted.transferable)
    return build.incept(keys, configuration=configuration, anchors=wanted.anchors)


def rotation(wallet: Wallet, record: IdentifierRecord, state: KeyState, change: Change) -> Plan:
    """Return the rotation that a change asks for; the same one every time.

    Raises:
        KeystoreError: too few of the keys that the log commits to are here (keystore.gone).
        UsageError: keys and thresholds that make no safe event (usage.argument).
    """
    exposed, others = expose(wallet, state)
    last = state.establishment
    check_next_threshold(last.next_threshold, exposed)
    lines, slots = _following(record, change)
    subject = Subject(record.epoch, record.number)
    made = (
        () if change.last else tuple(make_keys(wallet, subject, lines, record.establishments + 1))
    )
    reserve = () if change.last else others if change.reserve is None else change.reserve
    committed = [*(one.digest for one in made), *reserve]
    own, whole = len(exposed), len(last.next_key_digests)
    threshold = change.threshold
    if threshold is None:
        threshold = _inherited(record, last.next_threshold, own, whole)
    following: Field = "0"
    if not change.last:
        following = _next_threshold(
            change.next_threshold,
            last.next_threshold.field,
            same=len(committed) == whole,
            count=len(committed),
            reserve=reserve,
        )
    signing = [parse_key(one.key.public_key) for one in exposed]
    keys = Keys(signing, threshold, committed, following)
    event = build.rotate(state, keys, anchors=change.anchors)
    return Plan(event, exposed, made, tuple(reserve), tuple(lines), slots)


def retrace(wallet: Wallet, record: IdentifierRecord, state: KeyState, event: AnyKeyEvent) -> Plan:
    """Return the plan that an event of one's own carries out, made earlier or elsewhere.

    Raises:
        KeystoreError: the event exposes keys that are not of this wallet (keystore.gone).
    """
    assert isinstance(event, EstablishmentEvent)  # noqa: S101 - the caller looked
    ours, _ = expose(wallet, state)
    by_key = {one.key.public_key: one for one in ours}
    exposed = []
    for index, key in enumerate(event.signing_keys):
        one = by_key.get(key.text)
        if one is not None:
            exposed.append(Place(one.key, index, one.ondex))
    if not exposed:
        raise KeystoreError(ErrorCode.GONE, "none of the keys of this event are in this wallet")
    like = (record.lines or (Line(0, Suite.ED25519.name),))[0]
    committed = event.next_key_digests
    lines, _ = new_lines(record.lines, record.slots, len(committed), like)
    subject = Subject(record.epoch, record.number)
    made = [
        one
        for one in make_keys(wallet, subject, lines, record.establishments + 1)
        if one.digest in committed
    ]
    made.sort(key=lambda one: committed.index(one.digest))
    digests = {one.digest for one in made}
    slots = max([record.slots, *(one.line.slot + 1 for one in made)])
    reserve = tuple(one for one in committed if one not in digests)
    return Plan(event, tuple(exposed), tuple(made), reserve, tuple(one.line for one in made), slots)


def expose(wallet: Wallet, state: KeyState) -> tuple[tuple[Place, ...], tuple[Digest, ...]]:
    """Return the own keys that the next rotation exposes, and the commitments of others."""
    exposed: list[Place] = []
    others: list[Digest] = []
    for ondex, digest in enumerate(state.establishment.next_key_digests):
        key = wallet.key(digest)
        if key is None or not key.uri:
            others.append(digest)
        elif is_here(key):  # a compromised one too: the way out is a rotation, and then another
            exposed.append(Place(key, len(exposed), ondex))
    return tuple(exposed), tuple(others)


def check_next_threshold(threshold: Threshold, exposed: Sequence[Place]) -> None:
    """Check that own keys suffice for a rotation.

    Raises:
        KeystoreError: they do not (keystore.gone).
    """
    if not threshold.satisfied_by(frozenset(one.ondex for one in exposed)):
        what = f"only {len(exposed)} of the keys that the next rotation needs can be used here"
        hint = "have the holders of the other keys sign too, or recover"
        raise KeystoreError(ErrorCode.GONE, what, hint=hint)


def _following(record: IdentifierRecord, change: Change) -> tuple[list[Line], int]:
    """Return the lines that the rotation commits to, and the slots then made."""
    like = (record.lines or (Line(0, Suite.ED25519.name),))[0]
    count = len(record.lines) if change.next_keys is None else change.next_keys
    wanted = Line(
        0,
        like.suite if change.suite is None else change.suite.name,
        like.token if change.token is None else change.token,
    )
    if change.last:
        return [], record.slots
    if count < 1:
        raise UsageError(ErrorCode.ARGUMENT, "at least one own key must follow")
    same = (wanted.suite, wanted.token) == (like.suite, like.token)
    return new_lines(record.lines if same else (), record.slots, count, wanted)


def _inherited(record: IdentifierRecord, following: Threshold, own: int, whole: int) -> Field:
    """Return the signing threshold of a rotation for which none was asked."""
    if own == whole:
        return following.field
    if record.threshold:
        # It was for another number of keys if it cannot be read for this one.
        with suppress(DecodeError, VerificationError):
            return parse(json.loads(record.threshold), own).field
    return majority(own)


def _next_threshold(
    asked: Field | None, before: Field, *, same: bool, count: int, reserve: Sequence[Digest]
) -> Field:
    """Return the next threshold: the one asked for, or that before over a list that is alike."""
    if asked is not None:
        return asked
    if same:
        return before
    if reserve:
        what = "say which keys the next rotation needs, own ones first, then those in reserve"
        hint = "for example: --next-threshold 1/2,1/2,1/3,1/3,1/3"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    return majority(count)
