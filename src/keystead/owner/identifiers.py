"""Identifiers of the owner: created, rotated, anchored to, renamed, abandoned.

Each of these is one transaction: new keys, signed event and outgoing work together.
"""

from collections.abc import Sequence

import msgspec

from keystead.custody.states import State
from keystead.errors import ErrorCode, UsageError
from keystead.keri import build
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.seals import Seal
from keystead.owner import plans
from keystead.owner.events import (
    Head,
    accept,
    carry_out,
    head_of,
    put_interaction,
    put_pending,
    sign,
)
from keystead.owner.keys import (
    Made,
    Subject,
    committed,
    find_token,
    make_keys,
    put_moved,
    put_new,
    record_of,
    reserve_record,
)
from keystead.owner.notices import publish_notices
from keystead.owner.outbox import put_outgoing
from keystead.owner.plans import Change, Creation, Place, Plan
from keystead.owner.records import Note
from keystead.owner.settlement import begun, ready
from keystead.owner.wallet import (
    IDENTIFIER,
    STATE,
    IdentifierRecord,
    Line,
    Wallet,
    WalletState,
    checked_name,
)
from keystead.owner.witnesses import check_witnessed


def create(wallet: Wallet, name: str, wanted: Creation) -> IdentifierRecord:
    """Make an identifier.

    A delegated one waits for its delegator: `delegation.request` gives what to send.

    Raises:
        UsageError: the name is taken or no name (usage.exists, usage.name), or keys and
            thresholds make no safe event (usage.argument).
        KeystoreError: the wallet is behind (keystore.behind), or keys cannot be made.
        StoreError: it cannot be kept.
    """
    name = checked_name(name)
    _check_wanted(wanted)
    if wanted.token:
        find_token(wallet, wanted.token)

    def planned() -> _New:
        return _inception(wallet, wallet.state(), wanted)

    with begun(wallet, wanted=lambda: planned().event.said):
        check_free(wallet, name)
        plans.check_reserve(wallet, wanted.reserve)
        new = planned()
        _put_created(wallet, name, wallet.state(), wanted, new, head_of(wallet))
    return wallet.identifier(new.event.aid)


class _New(msgspec.Struct, frozen=True, gc=False):
    """An identifier to be: its first event, its keys, and where the next ones come from."""

    event: AnyKeyEvent
    current: list[Made]
    following: list[Made]
    slots: int


def _inception(wallet: Wallet, counted: WalletState, wanted: Creation) -> _New:
    subject = Subject(counted.epoch, counted.identifiers, wanted.transferable)
    more = 0
    if wanted.transferable:
        more = wanted.keys if wanted.next_keys is None else wanted.next_keys
    most = max(wanted.keys, more)
    lines = [Line(slot, wanted.suite.name, wanted.token) for slot in range(most)]
    current = make_keys(wallet, subject, lines[: wanted.keys], 0)
    following = make_keys(wallet, subject, lines[:more], 1)
    return _New(plans.incept(current, following, wanted), current, following, most)


def _put_created(
    wallet: Wallet, name: str, counted: WalletState, wanted: Creation, new: _New, head: Head
) -> None:
    event, at = new.event, wallet.time()
    record = IdentifierRecord(
        event.aid,
        name,
        at,
        counted.epoch,
        counted.identifiers,
        lines=tuple(made.line for made in new.following),
        slots=new.slots,
    )
    keys = [record_of(made, event.aid, place, 0, at) for place, made in enumerate(new.current)]
    coming = [record_of(made, event.aid, place, 1, at) for place, made in enumerate(new.following)]
    coming += [
        committed(wallet.key(digest), reserve_record(digest, event.aid, place, 1, at))
        for place, digest in enumerate(wanted.reserve, len(coming))
    ]
    note = Note("create", evidence=event.said)
    batch = wallet.batch()
    put_new(batch, keys, note.action, event.said)
    if wanted.delegator is None:
        keys = [put_moved(wallet, batch, key, State.ACTIVE, note) for key in keys]
    put_new(batch, coming, note.action, event.said)
    count = msgspec.structs.replace(counted, identifiers=counted.identifiers + 1)
    batch.put(STATE, "wallet", count, note)
    places = [Place(key, place, place) for place, key in enumerate(keys)]
    if wanted.delegator is not None:
        put_pending(wallet, batch, record, event, places, head)
        return
    put_outgoing(wallet, batch, event, note)
    record = msgspec.structs.replace(record, established=event.said)
    batch.put(IDENTIFIER, event.aid, record, note, tag=name)
    batch.write()
    accept(wallet, event, sign(wallet, event, places, head))


def rotate(
    wallet: Wallet, name: str, change: Change, *, reason: str = "", sn: int | None = None
) -> AcceptedEvent | None:
    """Replace the keys of an identifier by those that its log commits to.

    A rotation that a crash interrupted is finished first; if it is the one that is asked for,
    that is all.

    Args:
        wallet: whose.
        name: of the identifier.
        change: how what follows differs from what was.
        reason: why, for the audit log.
        sn: the place that it must have; None: whichever is next.

    Returns:
        The rotation; None when it waits for the approval of the delegator.

    Raises:
        KeysteadError: as `create`; keystore.gone when too few of the keys are here,
            usage.argument when `sn` is not the next place, keystore.unwitnessed when the event
            before has too few receipts.
    """
    action = "abandon" if change.last else "rotate"

    def planned(record: IdentifierRecord, state: KeyState) -> Plan:
        return plans.rotation(wallet, record, state, change)

    known = wallet.identifier(name)
    with begun(wallet, known, lambda: planned(*ready(wallet, name)).event.said):
        head = head_of(wallet)
        record, state = ready(wallet, name)
        _check_place(record, state, sn)
        check_witnessed(wallet, record, state)
        _check_rotation(wallet, state, change)
        plan = planned(record, state)
        note = Note(action, reason, plan.event.said)
        accepted = carry_out(wallet, record, state, plan, note, head)
        if accepted is not None:
            publish_notices(wallet, record.aid)
        return accepted


def anchor(
    wallet: Wallet, name: str, seals: Sequence[Seal], *, reason: str = "", sn: int | None = None
) -> AcceptedEvent:
    """Anchor data in the log of an identifier, without changing its keys.

    Raises:
        KeysteadError: as `rotate`; usage.argument when the log allows only rotations.
    """
    if not seals:
        raise UsageError(ErrorCode.ARGUMENT, "there is nothing to anchor")
    known = wallet.identifier(name)
    with begun(wallet, known, lambda: build.interact(ready(wallet, name)[1], seals).said):
        head = head_of(wallet)
        record, state = ready(wallet, name)
        plans.check_open(record, state)
        if state.establishment.establishment_only:
            what = f"the log of {record.name} allows only rotations"
            hint = f"anchor in one: keystead id rotate {record.name} --anchor DIGEST"
            raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
        _check_place(record, state, sn)
        check_witnessed(wallet, record, state)
        event = build.interact(state, seals)
        return put_interaction(wallet, state, event, Note("anchor", reason, event.said), head)


def abandon(wallet: Wallet, name: str, *, reason: str = "") -> AcceptedEvent | None:
    """End the log of an identifier for good; errors as `rotate`."""
    return rotate(wallet, name, Change(last=True), reason=reason)


def rename(wallet: Wallet, name: str, new_name: str) -> IdentifierRecord:
    """Call an identifier by another name; nothing of it is public.

    Raises:
        UsageError: usage.unknown, usage.exists, usage.name.
    """
    new_name = checked_name(new_name)
    with wallet.store.transaction():
        record = wallet.identifier(name)
        if new_name == record.name:
            return record
        check_free(wallet, new_name)
        renamed = msgspec.structs.replace(record, name=new_name)
        batch = wallet.batch()
        batch.put(IDENTIFIER, record.aid, renamed, Note("rename"), tag=new_name)
        batch.write()
    return renamed


def check_free(wallet: Wallet, name: str) -> None:
    """Check that a name can be given.

    Raises:
        UsageError: it is taken or no name (usage.exists, usage.name).
    """
    if wallet.records.find(IDENTIFIER, checked_name(name), IdentifierRecord) is not None:
        raise UsageError(ErrorCode.EXISTS, f"there is an identifier called {name}")


def _check_wanted(wanted: Creation) -> None:
    """Check what can be told before any key is made."""
    plans.check_count("keys", wanted.keys)
    if wanted.transferable:
        plans.check_count(
            "next keys", wanted.keys if wanted.next_keys is None else wanted.next_keys
        )
        return
    # Whatever it is made with, its first event would be another one with the same identifier.
    if wanted != Creation(suite=wanted.suite, token=wanted.token, transferable=False):
        what = "an identifier that cannot rotate is one key, and nothing else"
        raise UsageError(ErrorCode.ARGUMENT, what)


def _check_place(record: IdentifierRecord, state: KeyState, sn: int | None) -> None:
    if sn is not None and sn != state.sn + 1:
        what = f"the next event of {record.name} has the place {state.sn + 1:x}, not {sn:x}"
        raise UsageError(ErrorCode.ARGUMENT, what)


def _check_rotation(wallet: Wallet, state: KeyState, change: Change) -> None:
    if change.token:
        find_token(wallet, change.token)
    plans.check_reserve(wallet, change.reserve or (), state.establishment.next_key_digests)
