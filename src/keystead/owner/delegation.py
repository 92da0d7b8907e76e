"""Delegation between two wallets, by file: the delegate asks, the delegator approves.

The delegate signs its event and waits; the delegator anchors the event in its own log and gives
that log back. Neither event is in force before the delegate has taken the answer in.
"""

from collections.abc import Iterable, Iterator

import msgspec

from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_frame
from keystead.custody.states import State
from keystead.errors import ErrorCode, UsageError, VerificationError
from keystead.keri.delegation import seal_of
from keystead.keri.escrow import Want
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.verdicts import Duplicate, Pending, Rejected, Source
from keystead.node.replay import replay
from keystead.owner import plans
from keystead.owner.events import current_keys, put_exposed, put_outgoing
from keystead.owner.identifiers import anchor, rotate
from keystead.owner.intake import take_in
from keystead.owner.keys import put_moved
from keystead.owner.plans import Change
from keystead.owner.records import Note
from keystead.owner.settlement import parse
from keystead.owner.wallet import IDENTIFIER, IdentifierRecord, Wallet


class Approval(msgspec.Struct, frozen=True, gc=False):
    """An event of a delegate that its delegator has approved.

    Attributes:
        delegate: whose event.
        sn: its place.
        said: its digest.
        anchored_at: place of the approving event in the delegator's log.
    """

    delegate: Aid
    sn: int
    said: str
    anchored_at: int


def request(wallet: Wallet, name: str) -> Iterator[bytes]:
    """Give what the delegator needs: the log of the delegate, and the event that waits.

    Raises:
        UsageError: there is no such identifier (usage.unknown), or nothing of it waits
            (usage.argument).
    """
    record = wallet.identifier(name)
    if not record.pending:
        raise UsageError(ErrorCode.ARGUMENT, f"no event of {record.name} waits for a delegator")
    yield from replay(wallet.events, record.aid)
    signatures = tuple(indexed.read_text(text.encode())[0] for text in record.pending_signatures)
    group = Group(GroupKind.CONTROLLER_SIGNATURES, signatures)
    yield record.pending.encode() + write_frame([group])


def requested(wallet: Wallet, name: str, pieces: Iterable[bytes]) -> list[AnyKeyEvent]:
    """Return the events in a request that wait for one's own identifier as delegator.

    Raises:
        DecodeError: the request is malformed.
        VerificationError: an event of it is not valid.
    """
    delegator = wallet.identifier(name).aid
    own = [one.aid for one in wallet.identifiers()]
    waiting: dict[str, AnyKeyEvent] = {}
    for result in take_in(wallet, pieces, own=own, source=Source.LOCAL):
        verdict = result.verdict
        if isinstance(verdict, Rejected):
            raise verdict.error
        if isinstance(verdict, Pending):
            others = {one for one in verdict.missing if one.want is not Want.APPROVAL}
            asked = {one.aid for one in verdict.missing} == {delegator}
            if others or not asked:
                what = "the request waits for more than this approval: it is not complete"
                raise VerificationError(ErrorCode.DELEGATION, what)
            waiting[verdict.event.event.said] = verdict.event.event
    return list(waiting.values())


def approve(
    wallet: Wallet, name: str, events: Iterable[AnyKeyEvent], *, reason: str = ""
) -> list[Approval]:
    """Approve events of delegates by anchoring them in the log of the delegator.

    Args:
        wallet: of the delegator.
        name: of the delegator.
        events: from `requested`.
        reason: why, for the audit log.

    Raises:
        KeysteadError: as `identifiers.anchor`.
    """
    record = wallet.identifier(name)
    wanted = [(event, seal_of(event)) for event in events]
    new = [seal for _, seal in wanted if wallet.events.sealing_event(record.aid, seal) is None]
    if new:
        state = wallet.events.key_state(record.aid)
        if state is not None and state.establishment.establishment_only:
            rotate(wallet, name, Change(anchors=tuple(new)), reason=reason)
        else:
            anchor(wallet, name, new, reason=reason)
    found = [(event, wallet.events.sealing_event(record.aid, seal)) for event, seal in wanted]
    return [
        Approval(event.aid, event.sn, event.said, sealing.event.sn)
        for event, sealing in found
        if sealing is not None
    ]


def answer(wallet: Wallet, name: str, approvals: Iterable[Approval]) -> Iterator[bytes]:
    """Give what the delegate needs: the log of the delegator, and its own with the approval."""
    yield from replay(wallet.events, wallet.identifier(name).aid)
    for aid in dict.fromkeys(one.delegate for one in approvals):
        yield from replay(wallet.events, aid)


def complete(wallet: Wallet, name: str, pieces: Iterable[bytes]) -> AcceptedEvent:
    """Take in the delegator's answer, which puts the event that waited in force.

    Raises:
        UsageError: nothing waits (usage.argument).
        DecodeError: the answer is malformed.
        VerificationError: the answer does not approve the event (verify.delegation).
    """
    record = wallet.identifier(name)
    if not record.pending:
        raise UsageError(ErrorCode.ARGUMENT, f"no event of {record.name} waits for a delegator")
    event = parse(record.pending.encode())
    with wallet.store.transaction():
        prior = wallet.events.key_state(record.aid)
        stream = [*pieces, b"".join(request(wallet, name))]
        for result in take_in(wallet, stream, own=(record.aid,), source=Source.LOCAL):
            if isinstance(result.verdict, Rejected) and not isinstance(result.verdict, Duplicate):
                raise result.verdict.error
        state = wallet.events.key_state(record.aid)
        accepted = None if state is None else wallet.events.event(record.aid, event.sn)
        if accepted is None or accepted.event.said != event.said:
            what = f"the answer does not approve event {event.sn} of {record.name}"
            hint = "have the delegator approve the latest request, and give its answer"
            raise VerificationError(ErrorCode.DELEGATION, what, hint=hint)
        _put_in_force(wallet, record, accepted, prior)
    return accepted


def _put_in_force(
    wallet: Wallet, record: IdentifierRecord, accepted: AcceptedEvent, prior: KeyState | None
) -> None:
    event = accepted.event
    note = Note("approved", evidence=event.said)
    done = msgspec.structs.replace(record, pending="", pending_signatures=())
    batch = wallet.batch()
    if prior is None:
        for key in current_keys(wallet, accepted.state):
            put_moved(wallet, batch, key, State.ACTIVE, note)
    else:
        before = msgspec.structs.replace(record, establishments=record.establishments - 1)
        plan = plans.retrace(wallet, before, prior, event)
        put_exposed(wallet, batch, prior, plan, note)
    batch.put(IDENTIFIER, record.aid, done, note, tag=record.name)
    put_outgoing(wallet, batch, event, note)
    batch.write()
