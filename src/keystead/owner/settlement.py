"""After a crash, a restore or a copy: the wallet's logs meet what was signed and published.

A wallet signs for an identifier only when the identifier's mark on this machine is the end of its
log, or the event behind it, which a crash kept from the log. Anything else tells that the log went
on elsewhere: then two events for one place could come to be, so the published log decides.
"""

from collections.abc import Callable, Iterable

import msgspec

from keystead.cesr import body as bodies
from keystead.cesr.keys import Aid, Said
from keystead.cesr.versions import Kind
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, StoreError
from keystead.keri.events import AnyKeyEvent, EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.parsing import parse_key_event
from keystead.keri.verdicts import Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.replay import replay
from keystead.owner import plans
from keystead.owner.events import accept, carry_out, head_of, put_in_force, put_interaction
from keystead.owner.intake import take_in
from keystead.owner.notices import publish_notices
from keystead.owner.records import Note
from keystead.owner.trust import check_state
from keystead.owner.wallet import IDENTIFIER, STATE, IdentifierRecord, Wallet, new_master
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
    """

    name: str
    aid: Aid
    sn: int
    finished: bool = False
    adopted: int = 0


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
    if mark is None:
        return f"nothing was signed for {record.name} on this machine: the wallet was copied here"
    if mark.sn < state.sn:
        return f"event {state.sn:x} of {record.name} was signed on another machine"
    if mark.sn > state.sn + 1:
        return f"the log of {record.name} here ends before event {mark.sn:x}, which was signed"
    if (mark.said if mark.sn == state.sn else parse(mark.raw).prior_said) != state.said:
        return f"another event than that of this log was signed for {record.name} at {mark.sn:x}"
    return ""


def settle(
    wallet: Wallet,
    record: IdentifierRecord,
    wanted: Callable[[IdentifierRecord, KeyState], Said] | None = None,
) -> bool:
    """Finish the event of an identifier that was signed when a crash came, if there is one.

    Args:
        wallet: whose.
        record: the identifier.
        wanted: digest of the event that is about to be made. If it is the very one that was
            signed it is not finished here: making it again gives the same bytes.

    Raises:
        KeystoreError: the wallet is behind (keystore.behind), or the keys are gone.
    """
    state = wallet.events.key_state(record.aid)
    if record.pending or state is None or not is_unfinished(wallet, record, state):
        return False
    check_state(wallet, record, state)
    (mark,) = wallet.vault.marks([record.aid])
    if mark is None or (wanted is not None and _is_wanted(record, state, mark, wanted)):
        return False
    with wallet.store.transaction():
        wallet.check_current()
        record = wallet.identifier(record.aid)
        if wallet.events.key_state(record.aid) != state:
            return False  # somebody else was faster
        finish(wallet, record, state, mark)
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
        accept_duplicity: use the wallet although nobody knows whether it is the newest copy.

    Raises:
        KeystoreError: the published log is another branch, ends before what was signed on this
            machine, or was not given (keystore.behind); or it has keys that this wallet cannot
            derive (keystore.gone).
        StoreError: its log is not here (store.corrupt).
    """
    record = wallet.identifier(name)
    _end(wallet, record)
    if not accept_duplicity:
        _check_published(record, published)
    adopted = 0
    for event in published.events(record.aid):
        adopted += _adopt(wallet, record.aid, event, published)
    record = wallet.identifier(record.aid)
    end = _end(wallet, record)
    (mark,) = wallet.vault.marks([record.aid])
    if mark is not None and mark.sn > end.sn + 1 and not accept_duplicity:
        what = f"the log that was given ends before event {mark.sn:x}, which was signed here"
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid, sn=mark.sn)
    _note_reconciled(wallet, record, accept_duplicity=accept_duplicity)
    _set_mark(wallet, end, mark)
    finished = settle(wallet, record)
    return Settled(record.name, record.aid, _end(wallet, record).sn, finished, adopted)


def unreconciled(wallet: Wallet) -> Iterable[IdentifierRecord]:
    """Give the identifiers that have to be compared with their published logs."""
    records = wallet.identifiers()
    marks = wallet.vault.marks([record.aid for record in records])
    for record, mark in zip(records, marks, strict=True):
        state = wallet.events.key_state(record.aid)
        if state is not None and not record.pending and why_behind(record, state, mark):
            yield record


def parse(raw: bytes) -> AnyKeyEvent:
    """Read an event that was kept as bytes."""
    return parse_key_event(bodies.decode(raw, Kind.JSON, DEFAULT_LIMITS), raw, DEFAULT_LIMITS)


def finish(wallet: Wallet, record: IdentifierRecord, state: KeyState, mark: Mark) -> None:
    """Sign the event of a mark again and put it on the log, inside a transaction."""
    head, event = head_of(wallet), parse(mark.raw)
    note = Note("finish", "a crash came between signing and keeping", mark.said)
    if isinstance(event, EstablishmentEvent):
        plan = plans.retrace(wallet, record, state, event)
        carry_out(wallet, record, state, plan, note, head)
        publish_notices(wallet, record.aid)
    else:
        put_interaction(wallet, state, event, note, head)


def _state(wallet: Wallet, record: IdentifierRecord) -> KeyState:
    state = wallet.events.key_state(record.aid)
    if state is None:
        raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
    return state


def _is_wanted(
    record: IdentifierRecord,
    state: KeyState,
    mark: Mark,
    wanted: Callable[[IdentifierRecord, KeyState], Said],
) -> bool:
    try:
        return wanted(record, state) == mark.said
    except KeysteadError:
        return False  # what cannot be made from here may be possible behind the other event


def _check_published(record: IdentifierRecord, published: EventStore) -> None:
    """Check that a published log can decide.

    Raises:
        KeystoreError: it is not there, or there are two of it (keystore.behind).
    """
    what = ""
    if published.key_state(record.aid) is None:
        what = f"the published log of {record.name} was not given"
    elif published.duplicity(record.aid):
        what = f"the published log of {record.name} holds two events for one place"
    if what:
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid)


def _adopt(wallet: Wallet, aid: Aid, published: AcceptedEvent, logs: EventStore) -> int:
    """Take over one event of the published log; return how many events that were."""
    event = published.event
    with wallet.store.transaction():
        record = wallet.identifier(aid)
        state = wallet.events.key_state(aid)
        last = -1 if state is None else state.sn
        if event.sn <= last:
            own = wallet.events.event(aid, event.sn)
            if own is None or own.event.said != event.said:
                raise _forked(event)
            return 0
        note = Note("reconcile", "from the published log", event.said)
        signatures = published.proofs.signatures
        if event.delegated:
            _take_delegators(wallet, published.state, logs)
        if record.pending:
            if parse(record.pending.encode()).said != event.said:
                raise _forked(event)
            put_in_force(wallet, record, accept(wallet, event, signatures), state, note)
        elif state is None:
            raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
        elif isinstance(event, EstablishmentEvent):
            plan = plans.retrace(wallet, record, state, event)
            carry_out(wallet, record, state, plan, note, head_of(wallet), signatures=signatures)
        else:
            accept(wallet, event, signatures)
    return 1


def _forked(event: AnyKeyEvent) -> KeystoreError:
    what = f"event {event.sn:x} was published in another version than is here"
    hint = "two copies of the wallet were used: keep the other, and abandon this one"
    return KeystoreError(ErrorCode.BEHIND, what, hint=hint)


def _take_delegators(wallet: Wallet, state: KeyState, logs: EventStore) -> None:
    """Take over the logs of the delegators above, in which approvals are."""
    delegator = state.establishment.delegator
    if delegator is None or wallet.records.sealed(IDENTIFIER, delegator) is not None:
        return
    above = logs.key_state(delegator)
    if above is not None:
        _take_delegators(wallet, above, logs)
        take_in(wallet, replay(logs, delegator), source=Source.REMOTE)


def _note_reconciled(wallet: Wallet, record: IdentifierRecord, *, accept_duplicity: bool) -> None:
    """Write down that an identifier was reconciled; the first time, begin a new master seed."""
    reason = "compared with the published log"
    if accept_duplicity:
        reason = "the owner accepts that another copy of the wallet may have signed"
    note = Note("reconcile", reason)
    with wallet.store.transaction():
        batch = wallet.batch()
        batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
        if not wallet.is_current():
            counted = wallet.state()
            epoch = counted.epoch + 1
            new_master(wallet, batch, epoch)
            counted = msgspec.structs.replace(counted, epoch=epoch, identifiers=0)
            batch.put(STATE, "wallet", counted, note)
        batch.write()


def _end(wallet: Wallet, record: IdentifierRecord) -> AnyKeyEvent:
    """Return the last event that was signed: one that waits for the delegator, or of the log."""
    if record.pending:
        return parse(record.pending.encode())
    last = wallet.events.event(record.aid, _state(wallet, record).sn)
    assert last is not None  # noqa: S101 - the state is that behind it
    return last.event


def _set_mark(wallet: Wallet, end: AnyKeyEvent, mark: Mark | None) -> None:
    """Make the last event the mark on this machine, or one behind it that is to be finished."""
    count, head = wallet.store.audit_head()
    after = Mark(end.aid, end.sn, end.said, end.raw, count, head)
    unfinished = mark is not None and mark.sn == end.sn + 1
    if mark is not None and unfinished and parse(mark.raw).prior_said == end.said:
        after = msgspec.structs.replace(mark, audit_count=count, audit_head=head)
    if not wallet.vault.known_here():
        wallet.vault.adopt()
    wallet.vault.set_mark(after)
