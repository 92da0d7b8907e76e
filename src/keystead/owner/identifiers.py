"""Identifiers of the owner: created, rotated, anchored to, renamed, abandoned.

Each of these is one transaction: new keys, signed event and outgoing work together.
"""

import json
from collections.abc import Sequence

import msgspec

from keystead.custody.states import State
from keystead.errors import ErrorCode, UsageError
from keystead.keri import build
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.seals import Seal
from keystead.owner import plans
from keystead.owner.events import (
    accept,
    carry_out,
    head_of,
    put_interaction,
    put_outgoing,
    put_pending,
    sign,
)
from keystead.owner.keys import (
    Subject,
    find_token,
    make_keys,
    put_moved,
    put_new,
    record_of,
    reserve_record,
)
from keystead.owner.life import publish_notices
from keystead.owner.plans import Change, Creation, Place, Plan
from keystead.owner.records import Note
from keystead.owner.settlement import settled
from keystead.owner.wallet import (
    IDENTIFIER,
    STATE,
    IdentifierRecord,
    Line,
    Wallet,
    checked_name,
)


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
    if wanted.token:
        find_token(wallet, wanted.token)
    with wallet.store.transaction():
        wallet.check_current()
        _check_free(wallet, name)
        head = head_of(wallet)
        counted = wallet.state()
        subject = Subject(counted.epoch, counted.identifiers, wanted.transferable)
        more = wanted.keys if wanted.next_keys is None else wanted.next_keys
        most = max(wanted.keys, more if wanted.transferable else 0)
        _check_counts(wanted, more)
        lines = [Line(slot, wanted.suite.name, wanted.token) for slot in range(most)]
        current = make_keys(wallet, subject, lines[: wanted.keys], 0)
        following = make_keys(wallet, subject, lines[:more], 1) if wanted.transferable else []
        event = plans.incept(current, following, wanted)
        at = wallet.time()
        record = IdentifierRecord(
            event.aid,
            name,
            at,
            counted.epoch,
            counted.identifiers,
            lines=tuple(lines[:more]) if wanted.transferable else (),
            slots=most,
            threshold=json.dumps(wanted.threshold) if wanted.reserve and wanted.threshold else "",
        )
        batch = wallet.batch()
        keys = [record_of(made, event.aid, place, 0, at) for place, made in enumerate(current)]
        coming = [record_of(made, event.aid, place, 1, at) for place, made in enumerate(following)]
        coming += [
            reserve_record(digest, event.aid, len(following) + place, 1, at)
            for place, digest in enumerate(wanted.reserve)
        ]
        put_new(batch, keys, "create", event.said)
        note = Note("create", evidence=event.said)
        if wanted.delegator is None:
            keys = [put_moved(wallet, batch, key, State.ACTIVE, note) for key in keys]
        put_new(batch, coming, "create", event.said)
        count = msgspec.structs.replace(counted, identifiers=counted.identifiers + 1)
        batch.put(STATE, "wallet", count, note)
        places = [Place(key, place, place) for place, key in enumerate(keys)]
        if wanted.delegator is None:
            put_outgoing(wallet, batch, event, note)
            batch.put(IDENTIFIER, event.aid, record, note, tag=name)
            batch.write()
            accept(wallet, event, sign(wallet, event, places, head))
        else:
            put_pending(wallet, batch, record, event, places, head)
    return wallet.identifier(event.aid)


def rotate(wallet: Wallet, name: str, change: Change, *, reason: str = "") -> AcceptedEvent | None:
    """Replace the keys of an identifier by those that its log commits to.

    A rotation that a crash interrupted is finished; if it is the one that is asked for, that is
    all.

    Args:
        wallet: whose.
        name: of the identifier.
        change: how what follows differs from what was.
        reason: why, for the audit log.

    Returns:
        The rotation; None when it waits for the approval of the delegator.

    Raises:
        KeysteadError: as `create`, and keystore.gone when too few of the keys are here.
    """
    action = "abandon" if change.last else "rotate"

    def plan_for(record: IdentifierRecord, state: KeyState) -> Plan:
        return plans.rotation(wallet, record, state, change)

    with wallet.store.transaction():
        wallet.check_current()
        head = head_of(wallet)
        record, state = settled(wallet, name, lambda *log: plan_for(*log).event.said)
        plan = plan_for(record, state)
        note = Note(action, reason, plan.event.said)
        accepted = carry_out(wallet, record, state, plan, note, head)
        if accepted is not None:
            publish_notices(wallet, record.aid, reason)
        return accepted


def anchor(wallet: Wallet, name: str, seals: Sequence[Seal], *, reason: str = "") -> AcceptedEvent:
    """Anchor data in the log of an identifier, without changing its keys.

    Raises:
        KeysteadError: as `rotate`; usage.argument when the log allows only rotations.
    """
    with wallet.store.transaction():
        wallet.check_current()
        head = head_of(wallet)
        _, state = settled(wallet, name, lambda _, state: build.interact(state, seals).said)
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
    record = wallet.identifier(name)
    new_name = checked_name(new_name)
    if new_name == record.name:
        return record
    with wallet.store.transaction():
        _check_free(wallet, new_name)
        renamed = msgspec.structs.replace(record, name=new_name)
        batch = wallet.batch()
        batch.put(IDENTIFIER, record.aid, renamed, Note("rename"), tag=new_name)
        batch.write()
    return renamed


def _check_free(wallet: Wallet, name: str) -> None:
    if wallet.records.find(IDENTIFIER, name, IdentifierRecord) is not None:
        raise UsageError(ErrorCode.EXISTS, f"{name} is taken")


def _check_counts(wanted: Creation, following: int) -> None:
    if wanted.keys < 1 or (wanted.transferable and following + len(wanted.reserve) < 1):
        raise UsageError(ErrorCode.ARGUMENT, "an identifier needs at least one key, now and next")
    if not wanted.transferable and (wanted.keys != 1 or wanted.reserve or wanted.delegator):
        what = "an identifier that cannot rotate is one key, and nothing else"
        raise UsageError(ErrorCode.ARGUMENT, what)
