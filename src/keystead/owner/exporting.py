"""Logs for others: what anyone needs to verify an identifier, and what was not given out yet."""

from collections.abc import Iterator

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeystoreError
from keystead.keri.duplicity import DuplicityEvidence
from keystead.node.replay import evidence_stream, replay_approved
from keystead.owner.compromises import kept_notices
from keystead.owner.outbox import Outgoing, outbox_id
from keystead.owner.records import Note
from keystead.owner.wallet import OUTBOX, Wallet
from keystead.ports import EventStore


def log_stream(wallet: Wallet, name: str) -> Iterator[bytes]:
    """Give the whole log of an identifier, so that it can be verified alone.

    Superseded events are in it, the logs of its delegators, and notices of compromised keys.

    Raises:
        UsageError: there is no such identifier (usage.unknown).
        KeystoreError: nothing of it is in force yet (keystore.state).
    """
    record = wallet.identifier(name)
    state = wallet.events.key_state(record.aid)
    if state is None:
        what = f"{record.name} waits for its delegator: nothing of it is in force yet"
        hint = f"ask the delegator with: keystead delegation request {record.name}"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    yield from _log(wallet.events, record.aid)


def known_log(store: EventStore, aid: Aid) -> Iterator[bytes]:
    """Give all that a store holds of a log, so that it can be verified anew.

    Proof of duplicity is in it, of the log and of those of its delegators.
    """
    found: list[DuplicityEvidence] = []
    above: dict[Aid, None] = {}
    one: Aid | None = aid
    while one is not None and one not in above:
        above[one] = None
        found += store.duplicity(one)
        state = store.key_state(one)
        one = None if state is None else state.establishment.delegator
    yield from evidence_stream(store, found)
    for one in above:
        yield from _log(store, one)


def _log(store: EventStore, aid: Aid) -> Iterator[bytes]:
    """Give a log with that of its delegator, and with notices of compromised keys."""
    given: dict[Aid, int] = {}
    yield from replay_approved(store, aid, given)
    state = store.key_state(aid)
    if state is not None and state.establishment.delegator is not None:
        yield from replay_approved(store, state.establishment.delegator, given)
    yield from kept_notices(store, aid)


def outgoing(wallet: Wallet, name: str) -> list[Outgoing]:
    """Return the events of an identifier that wait for an export of its log, in their order.

    What goes to witnesses does not: see `outbox.submissions`.

    Raises:
        UsageError: there is no such identifier (usage.unknown).
    """
    record = wallet.identifier(name)
    state = wallet.events.key_state(record.aid)
    last = -1 if state is None else state.sn
    ids = [outbox_id(record.aid, sn) for sn in range(last + 1)]
    found = [wallet.records.get(OUTBOX, one, Outgoing) for one in ids]
    return [one for one in found if one is not None and not one.deliveries]


def mark_given(wallet: Wallet, given: list[Outgoing]) -> None:
    """Note that events were given out; what came behind them meanwhile still has to be."""
    with wallet.store.transaction():
        batch = wallet.batch()
        for one in given:
            # Another command may have given it out meanwhile.
            if wallet.records.sealed(OUTBOX, outbox_id(one.aid, one.sn)) is not None:
                batch.delete(OUTBOX, outbox_id(one.aid, one.sn), Note("export", evidence=one.said))
        batch.write()
