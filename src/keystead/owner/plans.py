"""What an owner asks of an identifier, and the event that does it."""

from collections.abc import Container, Iterator, Sequence
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, Digest, parse_key
from keystead.custody.catalogue import Method
from keystead.custody.records import KeyRecord
from keystead.custody.states import SUSPECT
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
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.keys import Made, Subject, is_free, is_here, make_keys, new_lines
from keystead.owner.wallet import TOKEN, IdentifierRecord, Line, TokenRecord, Wallet
from keystead.owner.witnesses import changed_witnesses, first_witnesses
from keystead.suites import Suite

# Suites of keys that a wallet makes, and those of them that tokens know.
SUITES: Final = (Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1)
_TOKEN_SUITES: Final = (Suite.ED25519, Suite.SECP256R1)


class Creation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a new identifier should be.

    Attributes:
        suite: signature suite of its keys.
        keys: number of own signing keys.
        threshold: over them; None: more than half.
        next_keys: number of own keys to commit to; None: as many.
        next_threshold: over them and the reserve keys; None: as `threshold` over as many own
            keys, more than half of another number; it must be told when there are reserve keys.
        reserve: commitments to reserve keys of others; they stand behind the own ones.
        token: name of the token that holds the keys; empty for keys that are derived.
        establishment_only: the log allows only rotations.
        do_not_delegate: it must not delegate.
        transferable: it can rotate.
        delegator: who must approve it.
        anchors: seals in its first event.
        witnesses: who receipts its events.
        witness_threshold: receipts that an event needs; None: `witnesses.sound_threshold`.
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
    witnesses: tuple[Aid, ...] = ()
    witness_threshold: int | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a rotation changes what comes after it; None leaves it.

    Attributes:
        threshold: over the keys that are exposed now. Left: the one that was committed to; or,
            where reserve keys of others stay away, the one now in force.
        next_keys: number of own keys to commit to.
        next_threshold: over them and the reserve keys. Left: as before over as many keys of each
            kind, more than half of another number of own ones.
        reserve: commitments to reserve keys of others; those of before go. Left: as before, but
            for those that are compromised.
        suite: signature suite of the keys to commit to.
        token: token for the keys to commit to; empty for keys that are derived.
        anchors: seals.
        last: commit to no keys, which ends the log.
        witnesses_added: further witnesses.
        witnesses_removed: witnesses that leave.
        witness_threshold: receipts that this event and those behind it need.
    """

    threshold: Field | None = None
    next_keys: int | None = None
    next_threshold: Field | None = None
    reserve: tuple[Digest, ...] | None = None
    suite: Suite | None = None
    token: str | None = None
    anchors: tuple[Seal, ...] = ()
    last: bool = False
    witnesses_added: tuple[Aid, ...] = ()
    witnesses_removed: tuple[Aid, ...] = ()
    witness_threshold: int | None = None


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
    threshold = _signing_threshold(wanted.threshold, majority(wanted.keys), len(current))
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
    witnesses = first_witnesses(wanted.witnesses, wanted.witness_threshold)
    return build.incept(keys, witnesses, configuration=configuration, anchors=wanted.anchors)


def rotation(wallet: Wallet, record: IdentifierRecord, state: KeyState, change: Change) -> Plan:
    """Return the rotation that a change asks for; the same one every time.

    Raises:
        KeystoreError: the log has ended (keystore.state), or too few of the keys that it commits
            to are here (keystore.gone).
        UsageError: keys and thresholds that make no safe event (usage.argument).
    """
    check_open(record, state)
    exposed, others = expose(wallet, state)
    last = state.establishment
    check_next_threshold(last.next_threshold, exposed)
    lines, slots = _following(record, change)
    subject = Subject(record.epoch, record.number)
    made = (
        () if change.last else tuple(make_keys(wallet, subject, lines, record.establishments + 1))
    )
    reserve = () if change.last else change.reserve
    if reserve is None:
        reserve = tuple(one for one in others if not _is_suspect(wallet, one))
    committed = [*(one.digest for one in made), *reserve]
    threshold = _signing_threshold(change.threshold, _inherited(state, len(exposed)), len(exposed))
    following: Field = "0"
    if not change.last:
        own_before = len(last.next_key_digests) - len(others)
        following = _next_threshold(
            change.next_threshold,
            last.next_threshold.field,
            same=(len(made), len(reserve)) == (own_before, len(others)),
            count=len(committed),
            reserve=reserve,
        )
    signing = [parse_key(one.key.public_key) for one in exposed]
    keys = Keys(signing, threshold, committed, following)
    witnesses = changed_witnesses(
        last, change.witnesses_added, change.witnesses_removed, change.witness_threshold
    )
    event = build.rotate(state, keys, witnesses, anchors=change.anchors)
    return Plan(event, exposed, made, tuple(reserve), tuple(lines), slots)


def retrace(wallet: Wallet, record: IdentifierRecord, state: KeyState, event: AnyKeyEvent) -> Plan:
    """Return the plan that an event of one's own carries out, made earlier or elsewhere.

    Raises:
        KeystoreError: the event exposes keys that are not of this wallet (keystore.gone), or a
            token that may hold its next keys cannot be used.
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
    made = _made_for(wallet, record, event.next_key_digests)
    slots = max([record.slots, *(one.line.slot + 1 for one in made)])
    ours_next = {one.digest for one in made}
    reserve = tuple(one for one in event.next_key_digests if one not in ours_next)
    return Plan(event, tuple(exposed), made, reserve, tuple(one.line for one in made), slots)


def _made_for(
    wallet: Wallet, record: IdentifierRecord, committed: Sequence[Digest]
) -> tuple[Made, ...]:
    """Return the own keys among commitments of the next establishment event.

    The request that made them is not known any more: they may be of any suite or token. To take
    an own key for one of somebody else would give up control.
    """
    subject, ordinal = Subject(record.epoch, record.number), record.establishments + 1
    found: dict[Digest, Made] = {}
    for lines in _possible_lines(wallet, record, len(committed)):
        if all(one in found or _is_of_others(wallet, one) for one in committed):
            break
        for line in lines:
            (made,) = make_keys(wallet, subject, [line], ordinal)
            if made.digest in committed:
                found[made.digest] = made
            elif line.token and line not in record.lines:
                break  # a token makes a key where there is none, so not more than one in vain
    return tuple(found[one] for one in committed if one in found)


def _possible_lines(wallet: Wallet, record: IdentifierRecord, count: int) -> Iterator[list[Line]]:
    """Give the lines that a rotation may have committed to, the likeliest first."""
    if record.lines:
        yield new_lines(record.lines, record.slots, count, record.lines[0])[0]
    for suite in SUITES:
        yield new_lines((), record.slots, count, Line(0, suite.name))[0]
    for token in wallet.records.all(TOKEN, TokenRecord):
        for suite in _TOKEN_SUITES:
            yield new_lines((), record.slots, count, Line(0, suite.name, token.name))[0]


def _is_of_others(wallet: Wallet, digest: Digest) -> bool:
    """Tell whether a key was known before an event committed to it, so that it was not made then."""
    key = wallet.key(digest)
    return key is not None and (not key.uri or key.method is Method.IMPORTED)


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


def _is_suspect(wallet: Wallet, digest: Digest) -> bool:
    key = wallet.key(digest)
    return key is not None and key.state in SUSPECT


def check_open(record: IdentifierRecord, state: KeyState) -> None:
    """Check that a log has not ended.

    Raises:
        KeystoreError: it has (keystore.state).
    """
    if state.establishment.transferable:
        return
    what = f"the log of {record.name} ended at {state.sn:x}: nothing can follow"
    if state.sn == 0:
        what = f"{record.name} was made without next keys: it cannot change"
    raise KeystoreError(
        ErrorCode.LIFE_STATE, what, hint="make another identifier: keystead id create"
    )


def check_reserve(wallet: Wallet, reserve: Sequence[Digest], keys: Container[Digest] = ()) -> None:
    """Check that new commitments are to keys of others, or to keys that the owner brought.

    Args:
        wallet: whose.
        reserve: the commitments.
        keys: reserve keys that the identifier has now.

    Raises:
        UsageError: one is of this wallet, serves another identifier, or is compromised
            (usage.argument).
    """
    for digest in reserve:
        key = wallet.key(digest)
        compromised = key is not None and key.state in SUSPECT
        if key is None or is_free(key) or (digest in keys and not key.uri and not compromised):
            continue
        what = f"the reserve key {digest} is one of this wallet, and in use"
        if compromised:
            what = f"the reserve key {digest} is {key.state}"
        elif not key.uri:
            what = f"the reserve key {digest} was given for an identifier before"
        hint = "have its holder make a new key, for this identifier alone"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)


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
    if change.last:
        return [], record.slots
    like = (record.lines or (Line(0, Suite.ED25519.name),))[0]
    count = len(record.lines) if change.next_keys is None else change.next_keys
    check_count("next keys", count)
    wanted = Line(
        0,
        like.suite if change.suite is None else change.suite.name,
        like.token if change.token is None else change.token,
    )
    same = (wanted.suite, wanted.token) == (like.suite, like.token)
    return new_lines(record.lines if same else (), record.slots, count, wanted)


def check_count(what: str, count: int) -> None:
    """Check a number of own keys.

    Raises:
        UsageError: none, or too many for an event (usage.argument).
    """
    if not 1 <= count <= DEFAULT_LIMITS.keys:
        told = f"{count} {what}: there are from 1 to {DEFAULT_LIMITS.keys}"
        raise UsageError(ErrorCode.ARGUMENT, told)


def _inherited(state: KeyState, own: int) -> Field:
    """Return the signing threshold of a rotation for which none was asked."""
    last = state.establishment
    if own == len(last.next_key_digests):
        return last.next_threshold.field
    if own == len(last.signing_keys):
        return last.signing_threshold.field
    return majority(own)


def _signing_threshold(asked: Field | None, otherwise: Field, keys: int) -> Field:
    if asked is None:
        return otherwise
    hint = "give a number of keys, or one weight for each signing key, such as 1/2,1/2,1/2"
    return _checked("threshold", asked, keys, hint)


def _next_threshold(
    asked: Field | None, before: Field, *, same: bool, count: int, reserve: Sequence[Digest]
) -> Field:
    """Return the next threshold: the one asked for, or that before over a list that is alike."""
    hint = "give a number, or one weight for each next key, such as 1/2,1/2,1/2"
    if reserve:
        hint = "give one weight for each next key, own ones first: --next-threshold 1,1/2,1/2"
    if asked is not None:
        return _checked("next threshold", asked, count, hint)
    if same:
        return before
    if reserve:
        what = "say which keys the next rotation needs, own ones first, then those in reserve"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    return majority(count)


def _checked(what: str, field: Field, keys: int, hint: str) -> Field:
    """Return a threshold that so many keys can meet."""
    try:
        return parse(field, keys).field
    except (DecodeError, VerificationError) as error:
        raise UsageError(ErrorCode.ARGUMENT, f"{what}: {error.message}", hint=hint) from None
