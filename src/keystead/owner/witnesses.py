"""Witnesses of one's own identifiers: who may be one, how many must sign, and whether they did."""

from collections.abc import Iterator, Sequence

import msgspec

from keystead.cesr.keys import Aid, parse_key
from keystead.errors import DecodeError, ErrorCode, KeystoreError, UsageError
from keystead.keri.build import NO_WITNESSES, Witnesses, commitment
from keystead.keri.keystate import AcceptedEvent, Establishment, KeyState
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.wallet import IdentifierRecord, Wallet


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


def receipts(accepted: AcceptedEvent) -> frozenset[Aid]:
    """Return the witnesses whose verified receipts of an event are here."""
    listed = accepted.state.establishment.witnesses
    return frozenset(listed[one.index] for one in accepted.proofs.witness_signatures)


def is_witnessed(accepted: AcceptedEvent) -> bool:
    """Tell whether an event has as many receipts as it needs."""
    return len(receipts(accepted)) >= accepted.state.establishment.witness_threshold


class Lacking(msgspec.Struct, frozen=True, gc=False):
    """An event with too few receipts.

    Attributes:
        aid: whose event.
        sn: its place.
    """

    aid: Aid
    sn: int


def lacking(wallet: Wallet, aid: Aid | None = None) -> list[Lacking]:
    """Return the events of one identifier, or of all, that have too few receipts."""
    found: list[Lacking] = []
    for record in wallet.identifiers():
        if aid in (None, record.aid):
            events = [Lacking(record.aid, one.event.sn) for one in _behind(wallet, record.aid)]
            found += reversed(events)
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
    if last is None or is_witnessed(last):
        return
    needed = last.state.establishment.witness_threshold
    what = (
        f"event {state.sn:x} of {record.name} has {len(receipts(last))} of the {needed} receipts"
        " that it needs"
    )
    raise KeystoreError(ErrorCode.UNWITNESSED, what, aid=record.aid, sn=state.sn)


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
