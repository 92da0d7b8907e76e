"""Witnesses of one's own identifiers: who may be one, how many must sign, and whether they did."""

from collections.abc import Iterator, Sequence

import msgspec

from keystead.cesr import indexed
from keystead.cesr.groups import SourceCouple
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Said, parse_key
from keystead.errors import DecodeError, ErrorCode, KeystoreError, UsageError
from keystead.keri.build import NO_WITNESSES, Witnesses, commitment
from keystead.keri.events import (
    AnyKeyEvent,
    DelegatedInception,
    EstablishmentEvent,
    Inception,
    Rotation,
)
from keystead.keri.keystate import AcceptedEvent, Establishment, KeyState
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.wallet import IDENTIFIER, IdentifierRecord, Wallet, parse_event


def sound_threshold(witnesses: int) -> int:
    """Return the receipts that keep two versions of an event from both being witnessed.

    Source: KERI specification, "KAWA": of N witnesses F may be faulty, with N >= 3F + 1. Any two
    sets of M receipts share more than F witnesses when M >= (N + F + 1) / 2. F is (N - 1) // 3
    here. keri's `ample` has at least one faulty witness in mind, so it asks for 3 of 3 where this
    asks for 2; everything else is equal.
    """
    if not witnesses:
        return 0
    faulty = (witnesses - 1) // 3
    return (witnesses + faulty) // 2 + 1


def first_witnesses(witnesses: Sequence[Aid], threshold: int | None) -> Witnesses:
    """Return the witnesses of an inception; without a threshold it is the sound one.

    Raises:
        UsageError: a witness twice, or one that cannot be one (usage.argument).
    """
    if not witnesses and not threshold:
        return NO_WITNESSES
    check_witnesses(witnesses)
    sound = sound_threshold(len(witnesses))
    return Witnesses(sound if threshold is None else threshold, tuple(witnesses))


def changed_witnesses(
    last: Establishment, added: Sequence[Aid], removed: Sequence[Aid], threshold: int | None
) -> Witnesses | None:
    """Return how a rotation changes the witnesses; None for not at all.

    The threshold stays unless another is told. Where it cannot stay, it must be told.

    Raises:
        UsageError: a witness that is there already, that is not there, or that cannot be one, or
            the threshold has to be told (usage.argument).
    """
    if not added and not removed and threshold is None:
        return None
    check_witnesses(added)
    for one in added:
        if one in last.witnesses:
            raise _refused(f"{one} is a witness already")
    for one in removed:
        if one not in last.witnesses:
            raise _refused(f"{one} is no witness, so it cannot be cut")
    count = len(last.witnesses) - len(set(removed)) + len(added)
    if threshold is None:
        threshold = last.witness_threshold
        sound = sound_threshold(count)
        weaker = threshold < sound and count != len(last.witnesses)
        if threshold > count or weaker:
            why = "is too low to be safe" if weaker else "cannot be met"
            what = f"the witness threshold {threshold} {why} with {count} witnesses"
            hint = f"say which one is to hold, such as: --witness-threshold {sound}"
            raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    return Witnesses(threshold, tuple(added), tuple(dict.fromkeys(removed)))


def check_witnesses(witnesses: Sequence[Aid]) -> None:
    """Check who is to be a witness.

    Raises:
        UsageError: one twice, too many, or an identifier whose keys can change (usage.argument).
    """
    if len(witnesses) > DEFAULT_LIMITS.witnesses:
        raise _refused(f"more than {DEFAULT_LIMITS.witnesses} witnesses")
    if len(set(witnesses)) != len(witnesses):
        raise _refused("a witness is named twice")
    for one in witnesses:
        # KERI, "Backer list": witnesses are non-transferable, so that receipts need no log.
        if not _is_fixed(one):
            hint = "the identifier of a witness is one key and begins with B"
            raise UsageError(ErrorCode.ARGUMENT, f"{one} cannot be a witness", hint=hint)


class Shown(msgspec.Struct, frozen=True, gc=False):
    """An own event as witnesses are shown it: on the log, or waiting for the delegator.

    Attributes:
        event: the event.
        signatures: of the controller.
        receipts: verified ones of witnesses, by their places.
        witnesses: the witness list after the event.
        added: those that it adds.
        threshold: receipts that it needs.
        delegator: who approves it, if anybody.
        source: the event that approves it, if it is approved.
        accepted: it is on the log.
    """

    event: AnyKeyEvent
    signatures: tuple[IndexedSignature, ...]
    receipts: tuple[IndexedSignature, ...]
    witnesses: tuple[Aid, ...]
    added: tuple[Aid, ...]
    threshold: int
    delegator: Aid | None
    source: SourceCouple | None
    accepted: bool

    @property
    def receipted(self) -> frozenset[Aid]:
        """The witnesses whose receipts are here."""
        return frozenset(self.witnesses[one.index] for one in self.receipts)

    @property
    def is_witnessed(self) -> bool:
        """It has as many receipts as it needs."""
        return len(self.receipted) >= self.threshold


def find_shown(wallet: Wallet, aid: Aid, said: Said) -> Shown | None:
    """Return an own event by its digest; None if it is neither on the log nor waits."""
    accepted = wallet.events.accepted(aid, said)
    if accepted is not None:
        return shown(accepted)
    record = wallet.records.get(IDENTIFIER, aid, IdentifierRecord)
    if record is None or not record.pending:
        return None
    found = shown_pending(wallet, record)
    return found if found.event.said == said else None


def latest(wallet: Wallet, record: IdentifierRecord) -> Shown:
    """Return the last event of an identifier: the one that waits, or the end of its log."""
    state = wallet.events.key_state(record.aid)
    found = None if state is None else find_shown(wallet, record.aid, state.said)
    if record.pending:
        found = shown_pending(wallet, record)
    assert found is not None  # noqa: S101 - an identifier has a log, or an event that waits
    return found


def shown(accepted: AcceptedEvent) -> Shown:
    """Return an event of the log."""
    last, proofs = accepted.state.establishment, accepted.proofs
    return Shown(
        accepted.event,
        proofs.signatures,
        proofs.witness_signatures,
        last.witnesses,
        last.witnesses_added if accepted.event.sn == last.sn else (),
        last.witness_threshold,
        last.delegator,
        accepted.source,
        accepted=True,
    )


def shown_pending(wallet: Wallet, record: IdentifierRecord) -> Shown:
    """Return the event of an identifier that waits for the delegator."""
    event = parse_event(record.pending.encode())
    assert isinstance(event, EstablishmentEvent)  # noqa: S101 - no other event waits
    witnesses, added = witnesses_after(wallet, event)
    state = wallet.events.key_state(record.aid)
    delegator = event.delegator if isinstance(event, DelegatedInception) else None
    return Shown(
        event,
        _read(record.pending_signatures),
        _read(record.pending_receipts),
        witnesses,
        added,
        event.witness_threshold,
        delegator if state is None else state.establishment.delegator,
        None,
        accepted=False,
    )


def witnesses_after(wallet: Wallet, event: AnyKeyEvent) -> tuple[tuple[Aid, ...], tuple[Aid, ...]]:
    """Return the witness list after an own event, which may not be on the log yet, and the new."""
    if isinstance(event, Inception):
        return event.witnesses, event.witnesses
    prior = wallet.events.event(event.aid, event.sn - 1)
    assert prior is not None  # noqa: S101 - an own event follows the one before
    before = prior.state.establishment.witnesses
    if not isinstance(event, Rotation):
        return before, ()
    kept = [one for one in before if one not in event.witnesses_removed]
    return (*kept, *event.witnesses_added), event.witnesses_added


def _read(texts: Sequence[str]) -> tuple[IndexedSignature, ...]:
    return tuple(indexed.read_text(text.encode())[0] for text in texts)


def receipts(accepted: AcceptedEvent) -> frozenset[Aid]:
    """Return the witnesses whose verified receipts of an event are here."""
    return shown(accepted).receipted


def is_witnessed(accepted: AcceptedEvent) -> bool:
    """Tell whether an event has as many receipts as it needs."""
    return shown(accepted).is_witnessed


class Lacking(msgspec.Struct, frozen=True, gc=False):
    """An event with too few receipts.

    Attributes:
        aid: whose event.
        event: the event.
    """

    aid: Aid
    event: AnyKeyEvent


def lacking(wallet: Wallet, aid: Aid | None = None) -> list[Lacking]:
    """Return the events of one identifier, or of all, that have too few receipts."""
    found: list[Lacking] = []
    for record in wallet.identifiers():
        if aid in (None, record.aid):
            events = [Lacking(record.aid, one.event) for one in _behind(wallet, record.aid)]
            found += reversed(events)
            if record.pending and not (pending := shown_pending(wallet, record)).is_witnessed:
                found.append(Lacking(record.aid, pending.event))
    return found


def _behind(wallet: Wallet, aid: Aid) -> Iterator[AcceptedEvent]:
    """Give the last events of a log that lack receipts, the latest first."""
    state = wallet.events.key_state(aid)
    for sn in range(-1 if state is None else state.sn, -1, -1):
        event = wallet.events.event(aid, sn)
        if event is None or is_witnessed(event):
            return
        yield event


def check_witnessed(wallet: Wallet, record: IdentifierRecord, state: KeyState) -> None:
    """Check that the log may go on: its last event has as many receipts as it needs.

    Nobody accepts what comes behind an event that has not, so it would only add to what waits; and
    where the witnesses hold another event at its place, to what is duplicitous.

    Raises:
        KeystoreError: it has not (keystore.unwitnessed).
    """
    last = wallet.events.event(record.aid, state.sn)
    if last is not None and not is_witnessed(last):
        raise unwitnessed(record, shown(last))


def unwitnessed(record: IdentifierRecord, event: Shown) -> KeystoreError:
    """Return the error that tells of an event with too few receipts."""
    sn, told = event.event.sn, f"{len(event.receipted)} of the {event.threshold} receipts"
    what = f"event {sn:x} of {record.name} has {told} that it needs"
    return KeystoreError(ErrorCode.UNWITNESSED, what, aid=record.aid, sn=sn)


def keys_of_unwitnessed(wallet: Wallet, state: KeyState) -> dict[str, str]:
    """Return the keys that events without enough receipts replaced; they must not be lost yet."""
    found: dict[str, str] = {}
    for sn in range(state.sn, 0, -1):
        event, before = wallet.events.event(state.aid, sn), wallet.events.event(state.aid, sn - 1)
        if event is None or before is None or is_witnessed(event):
            break
        last = before.state.establishment
        if last.said != event.state.establishment.said:
            why = f"is kept until event {sn:x}, which replaced it, has enough receipts"
            found |= dict.fromkeys(map(commitment, last.signing_keys), why)
    return found


def _is_fixed(aid: Aid) -> bool:
    try:
        return not parse_key(aid).transferable
    except DecodeError:
        return False


def _refused(what: str) -> UsageError:
    return UsageError(ErrorCode.ARGUMENT, what)
