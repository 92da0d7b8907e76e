"""After a crash, a restore or a copy: the wallet's logs meet what was signed and published.

A wallet signs for an identifier only when the identifier's mark on this machine is the end of its
log, or the event behind it, which a crash kept from the log. Anything else tells that the log went
on elsewhere: then two events for one place could come to be, so the published log decides.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, StoreError, UsageError
from keystead.keri.attachments import Claims
from keystead.keri.events import AnyKeyEvent, EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.verdicts import Source
from keystead.node.replay import replay
from keystead.node.weighing import counts
from keystead.owner import plans
from keystead.owner.events import (
    accept,
    carry_out,
    head_of,
    put_in_force,
    put_interaction,
    put_receipts,
)
from keystead.owner.intake import take_in
from keystead.owner.notices import publish_notices
from keystead.owner.records import Note
from keystead.owner.restoring import (
    check_fork,
    cleared,
    comparable,
    forked,
    put_epoch,
    take_notices,
)
from keystead.owner.trust import check_state
from keystead.owner.wallet import IDENTIFIER, STATE, IdentifierRecord, Wallet, parse_event
from keystead.ports.events import EventStore
from keystead.ports.keys import Mark


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What was done for one identifier.

    Attributes:
        name: of the identifier.
        aid: the identifier.
        sn: where its log stands now.
        finished: the event was signed before a crash, and is on the log now.
        adopted: events of the published log that the wallet did not have.
        compromised: keys that the published notices told to be compromised.
    """

    name: str
    aid: Aid
    sn: int
    finished: bool = False
    adopted: int = 0
    compromised: int = 0


def ready(wallet: Wallet, name: str) -> tuple[IdentifierRecord, KeyState]:
    """Return an identifier for which the wallet may sign, and where its log stands.

    Raises:
        UsageError: there is no such identifier (usage.unknown).
        KeystoreError: it waits for its delegator (keystore.state), or its log may be behind the
            published one (keystore.behind).
        StoreError: its log is not here (store.corrupt).
    """
    record = wallet.identifier(name)
    if record.pending:
        what = f"{record.name} waits for its delegator"
        hint = f"send it with: keystead delegation request {record.name}"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    state = _state(wallet, record)
    is_unfinished(wallet, record, state)
    check_state(wallet, record, state)
    return record, state


def is_unfinished(wallet: Wallet, record: IdentifierRecord, state: KeyState) -> bool:
    """Tell whether an event was signed that a crash kept from the log.

    Raises:
        KeystoreError: the log went on elsewhere, or may have (keystore.behind).
    """
    (mark,) = wallet.vault.marks([record.aid])
    what = why_behind(record, state, mark)
    if what:
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid)
    return mark is not None and mark.sn > state.sn


def why_behind(record: IdentifierRecord, state: KeyState, mark: Mark | None) -> str:
    """Tell why a log may not be the newest, empty if nothing speaks for that.

    Args:
        record: the identifier.
        state: where its log stands.
        mark: what was signed for it last on this machine.
    """
    if record.forked:
        return f"another event of {record.name} was published than was signed here"
    if mark is None:
        return f"nothing was signed for {record.name} on this machine: the wallet was copied here"
    if mark.sn < state.sn:
        return f"event {state.sn:x} of {record.name} was signed on another machine"
    if mark.sn > state.sn + 1:
        return f"the log of {record.name} here ends before event {mark.sn:x}, which was signed"
    if (mark.said if mark.sn == state.sn else parse_event(mark.raw).prior_said) != state.said:
        return f"another event than that of this log was signed for {record.name} at {mark.sn:x}"
    return ""


@contextmanager
def begun(
    wallet: Wallet,
    record: IdentifierRecord | None = None,
    wanted: Callable[[], Said] | None = None,
) -> Iterator[None]:
    """Begin a transaction with no event in the way that a crash kept from its log.

    Such an event is finished first, whosever it is, in a transaction of its own. Nothing may take
    away what it needs, nor may another event be signed before: only the event that was signed
    last is found again. A creation that was cut off has no log; its keys are given up.

    Args:
        wallet: the wallet.
        record: the identifier for which an event is about to be signed, if that is what comes.
        wanted: digest of what is about to be signed. If it is the very event that was cut off it
            is not in the way: making it again gives the same bytes.

    Raises:
        KeystoreError: the wallet is behind (keystore.behind), or the event cannot be finished.
        UsageError: a token that it needs is not known (usage.unknown).
    """
    while True:
        with wallet.store.transaction():
            wallet.check_current()
            mark = _in_the_way(wallet, record, wanted)
            if mark is None:
                yield
                return
        _clear(wallet, mark)


def settle(wallet: Wallet, record: IdentifierRecord) -> bool:
    """Finish the event of an identifier that was signed when a crash came, if there is one.

    Raises:
        KeystoreError: the wallet is behind (keystore.behind), or the keys are gone.
    """
    with wallet.store.transaction():  # so that log and mark are of one moment
        found = _unfinished(wallet, record.aid)
        if found is None:
            return False
        wallet.check_current()
        finish(wallet, *found)
    return True


def reconcile(
    wallet: Wallet, name: str, published: EventStore, *, accept_duplicity: bool = False
) -> Settled:
    """Bring an identifier of a restored or copied wallet up to its published log.

    Events that the wallet does not have are taken over; the keys that they commit to are derived
    again, so control is back. New identifiers of this copy get a new master seed: another copy
    may make some of the old one too.

    Args:
        wallet: the wallet.
        name: of the identifier.
        published: verified logs from outside, as many as there are.
        accept_duplicity: use the wallet although nobody knows whether it is the newest copy. What
            a crash cut off, and cannot be finished, is given up then.

    Raises:
        KeystoreError: the published log is another branch, ends before what was signed on this
            machine, or was not given (keystore.behind); or it has keys that this wallet cannot
            derive (keystore.gone): then nothing is taken over. Or an event of another identifier
            cannot be finished.
        UsageError: there is no such identifier, or no token that it needs (usage.unknown).
        StoreError: its log is not here (store.corrupt).
    """
    record = wallet.identifier(name)
    _end(wallet, record)
    if not accept_duplicity:
        _check_published(record, published)
        check_fork(wallet, record.aid, published)
    _settle_others(wallet, record.aid)
    with wallet.store.transaction():
        adopted = _adopt_all(wallet, record.aid, published)
        told = take_notices(wallet, record.aid, published)
        if not accept_duplicity:
            _check_mark(wallet, wallet.identifier(record.aid))
        _note_reconciled(wallet, record.aid, accept_duplicity=accept_duplicity)
    with wallet.store.transaction():
        _set_mark(wallet, wallet.identifier(record.aid))
    finished = _finish_or_give_up(wallet, record, accept_duplicity=accept_duplicity)
    record = wallet.identifier(record.aid)
    return Settled(record.name, record.aid, _end(wallet, record).sn, finished, adopted, told)


def unreconciled(wallet: Wallet) -> Iterable[IdentifierRecord]:
    """Give the identifiers that have to be compared with their published logs."""
    records = wallet.identifiers()
    marks = wallet.vault.marks([record.aid for record in records])
    for record, mark in zip(records, marks, strict=True):
        if not _seems_behind(wallet, record, mark):
            continue
        # Another command may have gone on since the marks were read.
        with wallet.store.transaction():
            (mark_now,) = wallet.vault.marks([record.aid])
            behind = _seems_behind(wallet, wallet.identifier(record.aid), mark_now)
        if behind:
            yield record


def finish(wallet: Wallet, record: IdentifierRecord, state: KeyState, mark: Mark) -> None:
    """Sign the event of a mark again and put it on the log, inside a transaction.

    Raises:
        KeystoreError: its keys cannot be used, or the next ones are not found (keystore.gone).
        UsageError: a token is not known (usage.unknown).
    """
    head, event = head_of(wallet), parse_event(mark.raw)
    note = Note("finish", "a crash came between signing and keeping", mark.said)
    if isinstance(event, EstablishmentEvent):
        plan = plans.retrace(wallet, record, state, event)
        if plan.reserve and not plan.made:
            # A rotation of this wallet commits to own keys, all from one place, or to none at all.
            # Not to find them must not make them somebody else's.
            what = f"the next keys of event {event.sn:x} of {record.name} are not found"
            hint = "bring back the token that holds them: keystead token add"
            raise KeystoreError(ErrorCode.GONE, what, hint=hint)
        carry_out(wallet, record, state, plan, note, head)
        publish_notices(wallet, record.aid)
    else:
        put_interaction(wallet, state, event, note, head)


def _state(wallet: Wallet, record: IdentifierRecord) -> KeyState:
    state = wallet.events.key_state(record.aid)
    if state is None:
        raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
    return state


def _in_the_way(
    wallet: Wallet, record: IdentifierRecord | None, wanted: Callable[[], Said] | None
) -> Mark | None:
    """Return the mark of an event that has to be finished before anything is written."""
    marks = [wallet.vault.latest_mark()]
    if record is not None:
        marks += wallet.vault.marks([record.aid])
    for mark in marks:
        if mark is not None and _is_cut_off(wallet, mark) and not _is_wanted(mark, wanted):
            return mark
    return None


def _is_cut_off(wallet: Wallet, mark: Mark) -> bool:
    """Tell whether the event of a mark is neither on its log, nor waiting, nor given up."""
    record = wallet.records.get(IDENTIFIER, mark.aid, IdentifierRecord)
    if record is None:
        return mark.sn == 0 and not _is_given_up(wallet, mark)
    state = wallet.events.key_state(record.aid)
    return not record.pending and state is not None and mark.sn > state.sn


def _is_wanted(mark: Mark, wanted: Callable[[], Said] | None) -> bool:
    try:
        return wanted is not None and wanted() == mark.said
    except KeysteadError:
        return False  # what cannot be made from here may be possible behind the other event


def _clear(wallet: Wallet, mark: Mark) -> None:
    """Finish the event of a mark, or give a creation up, unless somebody else was faster.

    Raises:
        KeystoreError: the wallet is behind (keystore.behind), or the event cannot be finished.
        UsageError: a token that it needs is not known (usage.unknown).
    """
    with wallet.store.transaction():
        wallet.check_current()
        if not _is_cut_off(wallet, mark):
            return
        record = wallet.records.get(IDENTIFIER, mark.aid, IdentifierRecord)
        if record is None:
            _give_up(wallet, mark)
            return
        found = _unfinished(wallet, record.aid)
        assert found is not None  # noqa: S101 - the mark is ahead of the log
        try:
            finish(wallet, *found)
        except (KeystoreError, UsageError) as error:
            if error.code not in _NEVER:
                raise
            what = (
                f"event {mark.sn:x} of {record.name} was cut off by a crash and has to be finished"
                f" first: {error.message}"
            )
            hint = (
                f"{error.hint}; or, if that can never be, give it up: "
                f"keystead id reconcile {record.aid} --i-accept-duplicity"
            )
            raise type(error)(error.code, what, hint=hint, **error.fields) from error


def _unfinished(wallet: Wallet, aid: Aid) -> tuple[IdentifierRecord, KeyState, Mark] | None:
    """Return what `finish` needs, if a crash kept an event of an identifier from its log.

    Raises:
        KeystoreError: the log went on elsewhere, or may have (keystore.behind), or its keys are
            not those that its events set (keystore.tampered).
    """
    record, state = wallet.identifier(aid), wallet.events.key_state(aid)
    if record.pending or state is None or not is_unfinished(wallet, record, state):
        return None
    check_state(wallet, record, state)
    (mark,) = wallet.vault.marks([aid])
    return None if mark is None else (record, state, mark)


_GIVE_UP: Final = "give up"


def _give_up(wallet: Wallet, mark: Mark) -> None:
    """Have no other identifier get the keys of a creation that was cut off."""
    counted = wallet.state()
    after = msgspec.structs.replace(counted, identifiers=counted.identifiers + 1)
    batch = wallet.batch()
    batch.put(STATE, "wallet", after, Note(_GIVE_UP, "a creation was cut off", mark.said))
    batch.write()


def _is_given_up(wallet: Wallet, mark: Mark) -> bool:
    history = wallet.records.history(STATE, "wallet")
    return any(
        (one.note.action, one.note.evidence) == (_GIVE_UP, mark.said) for one in reversed(history)
    )


def _settle_others(wallet: Wallet, aid: Aid) -> None:
    """Finish what a crash cut off of other identifiers, before a mark is made that hides it.

    In the newest copy of a wallet that is one event at most. In an older one, several may be just
    one event ahead; what cannot be finished there waits for a reconciliation of its own.
    """
    if wallet.is_current():
        mark = wallet.vault.latest_mark()
        if mark is not None and mark.aid != aid and _is_cut_off(wallet, mark):
            try:
                _clear(wallet, mark)
            except KeystoreError as error:
                if error.code is not ErrorCode.BEHIND:
                    raise
        return
    for other in wallet.identifiers():
        if other.aid != aid:
            with suppress(KeystoreError, UsageError), wallet.store.transaction():
                found = _unfinished(wallet, other.aid)
                if found is not None:
                    finish(wallet, *found)


# What may keep an event from ever being finished: its keys are lost, or the token with them is.
_NEVER: Final = frozenset(
    {
        ErrorCode.GONE,
        ErrorCode.TOKEN,
        ErrorCode.TOKEN_PIN,
        ErrorCode.MECHANISM,
        ErrorCode.LIFE_STATE,
        ErrorCode.ROLE,
        ErrorCode.UNKNOWN,
    }
)


def _finish_or_give_up(wallet: Wallet, record: IdentifierRecord, *, accept_duplicity: bool) -> bool:
    """Finish what a crash cut off; what never can be is dropped if the owner says so."""
    try:
        return settle(wallet, record)
    except (KeystoreError, UsageError) as error:
        if not accept_duplicity or error.code not in _NEVER:
            raise
    with wallet.store.transaction():
        _set_mark(wallet, wallet.identifier(record.aid), drop=True)
    return False


def _seems_behind(wallet: Wallet, record: IdentifierRecord, mark: Mark | None) -> bool:
    state = wallet.events.key_state(record.aid)
    return state is not None and not record.pending and bool(why_behind(record, state, mark))


def _check_published(record: IdentifierRecord, published: EventStore) -> None:
    """Check that a published log can decide.

    Raises:
        KeystoreError: it is not there, or there are two of it (keystore.behind).
    """
    what = ""
    if published.key_state(record.aid) is None:
        what = f"the published log of {record.name} was not given"
    elif any(counts(published, one) for one in published.duplicity(record.aid)):
        what = f"the published log of {record.name} holds two events for one place"
    if what:
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid)


def _check_mark(wallet: Wallet, record: IdentifierRecord) -> None:
    """Check that what was signed last on this machine is on the log, or just behind it.

    Else another event would be signed for its place.

    Raises:
        KeystoreError: it is not (keystore.behind).
    """
    (mark,) = wallet.vault.marks([record.aid])
    if mark is None:
        return
    end = _end(wallet, record)
    at_place = wallet.events.event(record.aid, mark.sn)
    said = end.said if at_place is None else at_place.event.said
    if mark.sn <= end.sn and said == mark.said:
        return
    if mark.sn == end.sn + 1 and parse_event(mark.raw).prior_said == end.said:
        return
    if mark.sn > end.sn:
        what = f"the log that was given ends before event {mark.sn:x}, which was signed here"
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid, sn=mark.sn)
    raise forked(mark.sn)


def _adopt_all(wallet: Wallet, aid: Aid, published: EventStore) -> int:
    """Take over the events of the published log, inside a transaction; return how many.

    Raises:
        KeystoreError: it is another branch (keystore.behind), or this wallet has not the keys to
            go on behind it (keystore.gone).
        StoreError: the log of the wallet is not here (store.corrupt).
    """
    events = comparable(wallet, aid, published)
    # What is not known now is taken for a key of others, but it may be one that another copy of
    # the wallet made from a seed that this one has not.
    strangers = {
        digest
        for one in events
        for digest in one.state.establishment.next_key_digests
        if wallet.key(digest) is None
    }
    adopted = sum(_adopt(wallet, aid, event, published) for event in events)
    for one in events:
        found = Claims(witness_signatures=one.proofs.witness_signatures)
        if found and wallet.events.accepted(aid, one.event.said) is not None:
            put_receipts(wallet, one.event, found)
    state = wallet.events.key_state(aid)
    if not adopted or state is None:
        return adopted
    last, (own, others) = state.establishment, plans.expose(wallet, state)
    enough = last.next_threshold.satisfied_by(frozenset(one.ondex for one in own))
    if last.transferable and not enough and strangers & {*others}:
        what = "the published log commits to keys that this copy of the wallet cannot make"
        hint = "use a newer copy of the wallet, in which the last rotation was made"
        raise KeystoreError(ErrorCode.GONE, what, hint=hint, aid=aid, sn=last.sn)
    return adopted


def _adopt(wallet: Wallet, aid: Aid, published: AcceptedEvent, logs: EventStore) -> int:
    """Take over one event of the published log; return how many events that were."""
    event = published.event
    record = wallet.identifier(aid)
    state = wallet.events.key_state(aid)
    last = -1 if state is None else state.sn
    if event.sn <= last:
        own = wallet.events.event(aid, event.sn)
        if own is None or own.event.said != event.said:
            raise forked(event.sn)
        return 0
    note = Note("reconcile", "from the published log", event.said)
    signatures = published.proofs.signatures
    if event.delegated:
        _take_delegators(wallet, published.state, logs)
    if record.pending:
        if parse_event(record.pending.encode()).said != event.said:
            raise forked(event.sn)
        put_in_force(wallet, record, accept(wallet, event, signatures), state, note)
    elif state is None:
        raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
    elif isinstance(event, EstablishmentEvent):
        plan = plans.retrace(wallet, record, state, event)
        carry_out(wallet, record, state, plan, note, head_of(wallet), signatures=signatures)
    else:
        accept(wallet, event, signatures)
    return 1


def _take_delegators(wallet: Wallet, state: KeyState, logs: EventStore) -> None:
    """Take over the logs of the delegators above, in which approvals are."""
    delegator = state.establishment.delegator
    if delegator is None or wallet.records.sealed(IDENTIFIER, delegator) is not None:
        return
    above = logs.key_state(delegator)
    if above is not None:
        _take_delegators(wallet, above, logs)
        take_in(wallet, replay(logs, delegator), source=Source.REMOTE)


def _note_reconciled(wallet: Wallet, aid: Aid, *, accept_duplicity: bool) -> None:
    """Write down that an identifier was reconciled; the first time, begin a new master seed."""
    record = cleared(wallet.identifier(aid), accept_duplicity=accept_duplicity)
    reason = "compared with the published log"
    if accept_duplicity:
        reason = "the owner accepts that another copy of the wallet may have signed"
    note, batch = Note("reconcile", reason), wallet.batch()
    batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
    if not wallet.is_current():
        put_epoch(wallet, batch, note)
    batch.write()


def _end(wallet: Wallet, record: IdentifierRecord) -> AnyKeyEvent:
    """Return the last event that was signed: one that waits for the delegator, or of the log."""
    if record.pending:
        return parse_event(record.pending.encode())
    last = wallet.events.event(record.aid, _state(wallet, record).sn)
    assert last is not None  # noqa: S101 - the state is that behind it
    return last.event


def _set_mark(wallet: Wallet, record: IdentifierRecord, *, drop: bool = False) -> None:
    """Make the last event the mark on this machine; inside a transaction that wrote nothing.

    An event just behind it that is to be finished stays the mark, unless it is to be dropped.
    """
    end = _end(wallet, record)
    (mark,) = wallet.vault.marks([record.aid])
    count, head = wallet.store.audit_head()
    after = Mark(end.aid, end.sn, end.said, end.raw, count, head)
    unfinished = mark is not None and mark.sn == end.sn + 1 and not drop
    if mark is not None and unfinished and parse_event(mark.raw).prior_said == end.said:
        after = msgspec.structs.replace(mark, audit_count=count, audit_head=head)
    if not wallet.vault.known_here():
        wallet.vault.adopt()
    wallet.vault.set_mark(after)
