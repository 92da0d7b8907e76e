"""After a crash, a restore or a copy: the wallet's logs meet what was signed and published."""

from collections.abc import Callable, Iterable

import msgspec

from keystead.cesr import body as bodies
from keystead.cesr.keys import Aid, Said
from keystead.cesr.versions import Kind
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keri.events import AnyKeyEvent, EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.parsing import parse_key_event
from keystead.limits import DEFAULT_LIMITS
from keystead.owner import plans
from keystead.owner.events import accept, carry_out, head_of, put_interaction, put_outgoing
from keystead.owner.records import Note
from keystead.owner.wallet import IdentifierRecord, Wallet
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


def settled(
    wallet: Wallet, name: str, wanted: Callable[[IdentifierRecord, KeyState], Said]
) -> tuple[IdentifierRecord, KeyState]:
    """Return an identifier and where its log stands, with nothing left from a crash.

    An event that was signed when a crash came is finished first, inside the same transaction;
    unless it is the very event that is wanted now, which is then made again, byte for byte.

    Args:
        wallet: whose.
        name: of the identifier.
        wanted: digest of the event that the caller would make from here.

    Raises:
        UsageError: there is no such identifier (usage.unknown).
        KeystoreError: it waits for its delegator (keystore.state), or its log here ends before
            what was signed (keystore.behind).
        StoreError: its log is not here (store.corrupt).
    """
    record = wallet.identifier(name)
    if record.pending:
        what = f"{record.name} waits for its delegator"
        hint = f"send it with: keystead delegation request {record.name}"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    state = _state(wallet, record)
    (mark,) = wallet.vault.marks([record.aid])
    if mark is None or mark.sn < state.sn or (mark.sn, mark.said) == (state.sn, state.said):
        return record, state
    if mark.sn != state.sn + 1:
        what = f"the wallet's log of {record.name} ends before event {mark.sn}, which was signed"
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid, sn=mark.sn)
    if wanted(record, state) != mark.said:
        finish(wallet, record, state, mark)
        record = wallet.identifier(name)
        state = _state(wallet, record)
    return record, state


def settle(wallet: Wallet, record: IdentifierRecord) -> bool:
    """Finish the event of an identifier that was signed when a crash came, if there is one.

    Raises:
        KeystoreError: the wallet is behind (keystore.behind), or the keys are gone.
    """
    (mark,) = wallet.vault.marks([record.aid])
    state = wallet.events.key_state(record.aid)
    if mark is None or record.pending or state is None or mark.sn != state.sn + 1:
        return False
    with wallet.store.transaction():
        wallet.check_current()
        finish(wallet, record, state, mark)
    return True


def reconcile(
    wallet: Wallet, name: str, published: EventStore, *, accept_duplicity: bool = False
) -> Settled:
    """Bring an identifier of a restored or copied wallet up to its published log.

    Events that the wallet does not have are taken over; the keys that they commit to are derived
    again, so control is back.

    Args:
        wallet: the wallet.
        name: of the identifier.
        published: verified logs from outside, as many as there are.
        accept_duplicity: use the wallet although nobody knows whether it is the newest copy.

    Raises:
        KeystoreError: the published log is another branch, or has keys that this wallet cannot
            derive (keystore.behind, keystore.gone); or there is no published log.
    """
    record = wallet.identifier(name)
    adopted = 0
    for event in published.events(record.aid):
        adopted += _adopt(wallet, name, event)
    state = wallet.events.key_state(record.aid)
    if state is None:
        raise KeystoreError(ErrorCode.BEHIND, f"the log of {record.name} is not here")
    if published.key_state(record.aid) is None and not accept_duplicity:
        what = f"the published log of {record.name} was not given"
        raise KeystoreError(ErrorCode.BEHIND, what)
    last = wallet.events.event(record.aid, state.sn)
    if last is not None:
        if not wallet.vault.known_here():
            wallet.vault.adopt()
        count, head = wallet.store.audit_head()
        wallet.vault.set_mark(Mark(record.aid, state.sn, state.said, last.event.raw, count, head))
    return Settled(record.name, record.aid, state.sn, adopted=adopted)


def unreconciled(wallet: Wallet) -> Iterable[IdentifierRecord]:
    """Give the identifiers that were not compared with their published logs on this machine."""
    records = wallet.identifiers()
    marks = wallet.vault.marks([record.aid for record in records])
    return [record for record, mark in zip(records, marks, strict=True) if mark is None]


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
    else:
        put_interaction(wallet, state, event, note, head)


def _state(wallet: Wallet, record: IdentifierRecord) -> KeyState:
    state = wallet.events.key_state(record.aid)
    if state is None:
        raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
    return state


def _adopt(wallet: Wallet, name: str, published: AcceptedEvent) -> int:
    """Take over one event of the published log; return how many events that were."""
    event = published.event
    record = wallet.identifier(name)
    state = wallet.events.key_state(record.aid)
    if state is not None and event.sn <= state.sn:
        own = wallet.events.event(record.aid, event.sn)
        if own is None or own.event.said != event.said:
            what = f"event {event.sn} was published in another version than this wallet has"
            hint = "one of two copies of the wallet was used: keep the other, and abandon this one"
            raise KeystoreError(ErrorCode.BEHIND, what, hint=hint)
        return 0
    if state is None:
        raise KeystoreError(ErrorCode.BEHIND, f"the log of {record.name} is not here")
    note = Note("reconcile", "from the published log", event.said)
    with wallet.store.transaction():
        signatures = published.proofs.signatures
        if isinstance(event, EstablishmentEvent):
            plan = plans.retrace(wallet, record, state, event)
            carry_out(wallet, record, state, plan, note, head_of(wallet), signatures)
        else:
            batch = wallet.batch()
            put_outgoing(wallet, batch, event, note)
            batch.write()
            accept(wallet, event, signatures)
    return 1
