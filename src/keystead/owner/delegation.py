"""Delegation between two wallets, by file: the delegate asks, the delegator approves.

The delegate signs its event and waits; the delegator anchors the event in its own log and gives
that log back. Neither event is in force before the delegate has taken the answer in.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_frame
from keystead.errors import ErrorCode, KeystoreError, StoreError, UsageError, VerificationError
from keystead.keri.delegation import seal_of
from keystead.keri.escrow import Missing, Want
from keystead.keri.events import (
    DO_NOT_DELEGATE,
    AnyKeyEvent,
    DelegatedInception,
    DelegatedRotation,
)
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.verdicts import Accepted, Duplicate, Duplicitous, Pending, Rejected, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import Result
from keystead.node.replay import replay_approved
from keystead.owner.events import put_in_force
from keystead.owner.identifiers import anchor, rotate
from keystead.owner.intake import bounded, delegates_in, take_in
from keystead.owner.notices import publish_notices
from keystead.owner.plans import Change
from keystead.owner.records import Note
from keystead.owner.settlement import begun
from keystead.owner.trust import check_state
from keystead.owner.wallet import IdentifierRecord, Wallet, parse_event
from keystead.owner.witnesses import shown_pending, unwitnessed


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """An own event that waits for its delegator.

    Attributes:
        record: the identifier.
        event: the event.
        delegator: who has to approve it.
    """

    record: IdentifierRecord
    event: AnyKeyEvent
    delegator: Aid


class Asked(msgspec.Struct, frozen=True, gc=False):
    """An event of a delegate that asks for approval.

    Attributes:
        event: the event.
        approved: it was approved before.
        replaces: digest of another event that was approved for its place before; empty if there
            is none. To approve both is how a delegator recovers a delegate whose keys were
            stolen, or how a thief gets his event in.
    """

    event: DelegatedInception | DelegatedRotation
    approved: bool
    replaces: str = ""


class Approval(msgspec.Struct, frozen=True, gc=False):
    """An event of a delegate that its delegator has approved.

    Attributes:
        event: the event.
        anchored_at: place of the approving event in the delegator's log.
        new: it was not approved before.
    """

    event: DelegatedInception | DelegatedRotation
    anchored_at: int
    new: bool


def waiting(wallet: Wallet, name: str) -> Waiting:
    """Return the event of an identifier that waits for its delegator.

    Raises:
        UsageError: there is no such identifier (usage.unknown), or nothing of it waits
            (usage.argument).
    """
    record = wallet.identifier(name)
    if not record.pending:
        what = f"no event of {record.name} waits for a delegator"
        hint = "it has none, or its latest event is in force: keystead id show NAME"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    event, state = parse_event(record.pending.encode()), wallet.events.key_state(record.aid)
    if isinstance(event, DelegatedInception):
        return Waiting(record, event, event.delegator)
    delegator = None if state is None else state.establishment.delegator
    if delegator is None:
        raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
    return Waiting(record, event, delegator)


def request(wallet: Wallet, name: str) -> Iterator[bytes]:
    """Give what the delegator needs: the log of the delegate, and the event that waits.

    Raises:
        UsageError: there is no such identifier (usage.unknown), or nothing of it waits
            (usage.argument).
        KeystoreError: the event has too few receipts (keystore.unwitnessed).
    """
    record = waiting(wallet, name).record
    pending = shown_pending(wallet, record)
    if not pending.is_witnessed:
        raise unwitnessed(record, pending)
    yield from replay_approved(wallet.events, record.aid, {})
    signatures = tuple(indexed.read_text(text.encode())[0] for text in record.pending_signatures)
    groups = [Group(GroupKind.CONTROLLER_SIGNATURES, signatures)]
    if pending.receipts:
        groups.append(Group(GroupKind.WITNESS_SIGNATURES, pending.receipts))
    yield record.pending.encode() + write_frame(groups)


def requested(wallet: Wallet, name: str, pieces: Iterable[bytes]) -> list[Asked]:
    """Return the events in a request that ask one's own identifier for approval.

    Nothing of the request is kept.

    Args:
        wallet: of the delegator.
        name: of the delegator.
        pieces: the request.

    Raises:
        UsageError: there is no such identifier (usage.unknown), or nothing in the stream asks it
            for approval (usage.argument).
        DecodeError: the request is malformed, or longer than any (decode.limit).
        VerificationError: an event of it is not valid (by its fault), or the identifier may not
            delegate (verify.do_not_delegate).
    """
    stream = bounded(pieces)
    try:
        with wallet.store.transaction():
            raise _Read(_take_request(wallet, name, stream))  # noqa: TRY301 - undoes all of it
    except _Read as read:
        return read.asked


def approve(
    wallet: Wallet, name: str, pieces: Iterable[bytes], *, reason: str = ""
) -> list[Approval]:
    """Approve what a request asks for, by anchoring it in the log of the delegator.

    What was approved before is not anchored again. Of the request, only the logs of the delegates
    that ask and of those above the identifier are kept.

    Args:
        wallet: of the delegator.
        name: of the delegator.
        pieces: the request.
        reason: why, for the audit log.

    Raises:
        UsageError: as `requested`.
        DecodeError: as `requested`.
        VerificationError: as `requested`.
        KeystoreError: the delegator cannot sign, or waits for its own delegator
            (keystore.state), or the wallet is behind (keystore.behind).
    """
    record, stream = wallet.identifier(name), bounded(pieces)
    with begun(wallet, record):
        asked = requested(wallet, name, stream)
        new = [seal_of(one.event) for one in asked if not one.approved]
        if new:
            state = wallet.events.key_state(record.aid)
            if state is not None and state.establishment.establishment_only:
                rotate(wallet, name, Change(anchors=tuple(new)), reason=reason)
            else:
                anchor(wallet, name, new, reason=reason)
            if wallet.events.sealing_event(record.aid, new[-1]) is not None:
                own = {one.aid for one in wallet.identifiers()}
                wanted = _asking(wallet, record, stream) - own
                take_in(wallet, stream, only=wanted, source=Source.LOCAL)  # it is approved now
    found = []
    for one in asked:
        event = one.event
        sealing = wallet.events.sealing_event(record.aid, seal_of(event))
        if sealing is None:
            what = f"the approval is an event of {record.name}, which waits for its own delegator"
            hint = f"send it with: keystead delegation request {record.name}; then approve again"
            raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        found.append(Approval(event, sealing.event.sn, not one.approved))
    return found


def answer(wallet: Wallet, name: str, approvals: Iterable[Approval]) -> Iterator[bytes]:
    """Give what the delegate needs: the log of the delegator, and its own with the approval."""
    given: dict[Aid, int] = {}
    yield from replay_approved(wallet.events, wallet.identifier(name).aid, given)
    for aid in dict.fromkeys(one.event.aid for one in approvals):
        yield from replay_approved(wallet.events, aid, given)


def complete(wallet: Wallet, name: str, pieces: Iterable[bytes]) -> AcceptedEvent:
    """Take in the delegator's answer, which puts the event that waited in force.

    Of the answer, only the logs of the delegator and of those above it are kept.

    Raises:
        UsageError: there is no such identifier (usage.unknown), or nothing waits
            (usage.argument).
        DecodeError: the answer is malformed, or longer than any (decode.limit).
        VerificationError: the answer does not approve the event (verify.delegation), or an event
            in it is not valid (by its fault).
        KeystoreError: the wallet is behind (keystore.behind).
    """
    stream = bounded(pieces)
    with begun(wallet):
        found = waiting(wallet, name)
        record, event = found.record, found.event
        prior = wallet.events.key_state(record.aid)
        if prior is not None:
            check_state(wallet, record, prior)
        asked = b"".join(request(wallet, name))
        # The answer came from outside, so it puts nothing on own logs. The event that waits is
        # taken in as anybody would: the wallet is not its controller here, for a controller
        # accepts before the approval.
        own = {one.aid for one in wallet.identifiers()}
        above = _above(wallet, found.delegator, delegates_in(stream).delegators)
        _check(take_in(wallet, stream, only=above - own, source=Source.REMOTE))
        _check(take_in(wallet, [asked], own=own - {record.aid}, source=Source.LOCAL))
        accepted = wallet.events.event(record.aid, event.sn)
        if accepted is None or accepted.event.said != event.said:
            what = f"the answer does not approve event {event.sn:x} of {record.name}"
            hint = "have the delegator approve the latest request, and give its answer"
            raise VerificationError(ErrorCode.DELEGATION, what, hint=hint)
        put_in_force(wallet, record, accepted, prior, Note("approved", evidence=event.said))
        publish_notices(wallet, record.aid)
    return accepted


class _Read(Exception):  # noqa: N818 - no error: it ends a transaction that must leave nothing
    def __init__(self, asked: list[Asked]) -> None:
        super().__init__()
        self.asked = asked


def _check(results: Iterable[Result]) -> None:
    for one in results:
        if isinstance(one.verdict, Rejected):
            raise one.verdict.error
        if isinstance(one.verdict, Duplicitous):
            what = "another event than in this log was signed for one place: do not trust its owner"
            raise VerificationError(ErrorCode.SUPERSEDING, what)


def _take_request(wallet: Wallet, name: str, stream: list[bytes]) -> list[Asked]:
    """Take a request in, inside a transaction, and return what it asks for; as `requested`.

    The events of one's own identifiers are passed over, but for one that waits: delegator and
    delegate may be in one wallet.
    """
    record = wallet.identifier(name)
    state = wallet.events.key_state(record.aid)
    if state is not None and DO_NOT_DELEGATE in state.establishment.configuration_traits:
        what = f"{record.name} was made with --do-not-delegate: it cannot approve anything"
        raise VerificationError(ErrorCode.DO_NOT_DELEGATE, what)
    skipped = {one.aid for one in wallet.identifiers() if not one.pending}
    wanted = _asking(wallet, record, stream) - skipped
    results = take_in(wallet, stream, own=(record.aid,), only=wanted, source=Source.LOCAL)
    _check(results)
    found: dict[str, Asked] = {}
    for one in results:
        event = one.message
        if not isinstance(event, DelegatedInception | DelegatedRotation):
            continue
        if isinstance(one.verdict, Pending):
            _check_missing(one.verdict.missing, record)
            standing = wallet.events.event(event.aid, event.sn)
            replaced = "" if standing is None else standing.event.said
            found[event.said] = Asked(event, approved=False, replaces=replaced)
        elif isinstance(one.verdict, Accepted | Duplicate):
            sealing = wallet.events.sealing_event(record.aid, seal_of(event))
            if sealing is not None:
                found[event.said] = Asked(event, approved=True)
    # Of a log that is in force the last event is what was asked for, if nothing waits.
    fresh = [one for one in found.values() if not one.approved]
    asked = fresh or list(found.values())[-1:]
    if not asked:
        what = f"nothing in this file asks {record.name} for approval"
        hint = "make it with: keystead delegation request NAME; check --as"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    return asked


def _asking(wallet: Wallet, record: IdentifierRecord, stream: list[bytes]) -> set[Aid]:
    """Return whose events of a request count: the delegates that ask, and who stands above.

    Raises:
        VerificationError: it asks another identifier (verify.delegation).
    """
    found = delegates_in(stream)
    asking = {aid for aid, delegator in found.delegators.items() if delegator == record.aid}
    for aid in found.rotated - found.delegators.keys():
        state = wallet.events.key_state(aid)
        if state is None or state.establishment.delegator == record.aid:
            asking.add(aid)
    if not asking and found.delegators:
        raise _asks_another(list(found.delegators.values())[-1])  # who asks comes last
    return asking | _above(wallet, record.aid, found.delegators)


def _above(wallet: Wallet, aid: Aid, delegators: Mapping[Aid, Aid]) -> set[Aid]:
    """Return an identifier and those that stand above it, as far as anybody looks up."""
    found: set[Aid] = set()
    above: Aid | None = aid
    while above is not None and len(found) <= DEFAULT_LIMITS.delegation_depth:
        found.add(above)
        state = wallet.events.key_state(above)
        above = delegators.get(above) if state is None else state.establishment.delegator
    return found


def _asks_another(aid: Aid) -> VerificationError:
    what = f"the request asks another identifier for approval: {aid}"
    hint = "approve it with that identifier, if it is yours: --as NAME"
    return VerificationError(ErrorCode.DELEGATION, what, hint=hint)


def _check_missing(missing: Iterable[Missing], delegator: IdentifierRecord) -> None:
    """Check that an event waits for nothing but the approval of a delegator."""
    for one in missing:
        if one.want is not Want.APPROVAL:
            what = f"the request is not complete: it waits for {one.want.name.lower()} too"
            hint = "have it made again with: keystead delegation request NAME"
            raise VerificationError(ErrorCode.DELEGATION, what, hint=hint)
        if one.aid != delegator.aid:
            raise _asks_another(one.aid)
