"""What is served for an introduction: the log of an identifier, and where its endpoints are.

Source: KERI specification, "OOBI (Out-Of-Band Introduction)" and "Authorized endpoint discovery";
order of the messages as keri 1.x serves them.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, Item
from keystead.cesr.keys import KEY_PATTERN, Aid, key_of
from keystead.cesr.writing import write_frame
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.routed import SCHEMES, EndRole, Record
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.replay import replay_approved
from keystead.ports import EventStore

CONTROLLER: Final = "controller"
WITNESS: Final = "witness"


def oobi_stream(
    store: EventStore,
    aid: Aid,
    *,
    role: str = "",
    eid: Aid | None = None,
    known: Iterable[tuple[str, Aid]] = (),
) -> bytes | None:
    """Return the answer to an introduction; see `oobi_pieces`."""
    pieces = oobi_pieces(store, aid, role=role, eid=eid, known=known)
    return None if pieces is None else b"".join(pieces)


def oobi_pieces(
    store: EventStore,
    aid: Aid,
    *,
    role: str = "",
    eid: Aid | None = None,
    known: Iterable[tuple[str, Aid]] = (),
) -> Iterator[bytes] | None:
    """Give the messages of the answer to an introduction, as they are asked for.

    It holds the log with those of its delegators, then for each endpoint its own log if it has
    one, its locations, and the statement that gives or takes its role.

    Args:
        store: where the logs and the statements are.
        aid: whose introduction.
        role: only endpoints in this role; empty: in all that are known.
        eid: only this endpoint; None: all that are known.
        known: roles and endpoints to look for besides the identifier itself and its witnesses.

    Returns:
        The messages; None when the log, or that of its delegator, is not here, or when its latest
        event has fewer receipts than it needs.
    """
    state = store.key_state(aid)
    if state is None:
        found = list(_locations(store, aid)) if _is_fixed(aid) else []
        return iter(found) if found else None
    head = store.event(aid, state.sn)
    if head is None or not is_witnessed(head):
        return None
    delegator = state.establishment.delegator
    if delegator is not None and store.key_state(delegator) is None:
        return None
    witnesses = state.establishment.witnesses
    wanted = [(CONTROLLER, aid), *((WITNESS, one) for one in witnesses), *known]
    if role and eid is not None:
        wanted.append((role, eid))
    chosen = [
        one for one in dict.fromkeys(wanted) if role in ("", one[0]) and eid in (None, one[1])
    ]
    return _pieces(store, aid, delegator, chosen)


def log_length(store: EventStore, aid: Aid, limits: Limits = DEFAULT_LIMITS) -> int:
    """Return how many events a log has, with those of its delegators."""
    length = 0
    wanted: Aid | None = aid
    for _ in range(limits.delegation_depth + 1):
        state = None if wanted is None else store.key_state(wanted)
        head = None if state is None else store.event(state.aid, state.sn)
        if state is None or head is None:
            break
        length += head.first_seen_number + 1
        wanted = state.establishment.delegator
    return length


def is_witnessed(accepted: AcceptedEvent) -> bool:
    """Tell whether an event has the receipts that it needs."""
    receipts = {one.index for one in accepted.proofs.witness_signatures}
    return len(receipts) >= accepted.state.establishment.witness_threshold


def write_statement(record: Record) -> bytes:
    """Write a statement with its signatures, as a message."""
    groups: list[tuple[GroupKind, tuple[Item, ...]]] = [
        (GroupKind.RECEIPT_COUPLES, record.proofs.couples),
        (GroupKind.SIGNATURE_GROUPS, record.proofs.endorsements),
    ]
    return record.reply.raw + write_frame(Group(kind, items) for kind, items in groups if items)


def _pieces(
    store: EventStore, aid: Aid, delegator: Aid | None, endpoints: Iterable[tuple[str, Aid]]
) -> Iterator[bytes]:
    given: dict[Aid, int] = {}
    yield from replay_approved(store, aid, given)
    if delegator is not None:
        yield from replay_approved(store, delegator, given)
    for role, eid in endpoints:
        yield from _endpoint(store, aid, role, eid, given)


def _endpoint(
    store: EventStore, aid: Aid, role: str, eid: Aid, given: dict[Aid, int]
) -> Iterator[bytes]:
    """Give what is known of an endpoint in a role.

    A role that was taken back is told of, so that who believes in it learns that; where the
    endpoint is then matters to nobody. A witness has its role by the log.
    """
    record = store.record(EndRole(aid, role, eid, allowed=True).key)
    statement = None if record is None else record.statement
    allowed = not isinstance(statement, EndRole) or statement.allowed
    if allowed:
        yield from replay_approved(store, eid, given)
        yield from _locations(store, eid)
    if record is not None:
        yield write_statement(record)


def _locations(store: EventStore, eid: Aid) -> Iterator[bytes]:
    for scheme in sorted(SCHEMES):
        record = store.record(("loc", eid, scheme))
        if record is not None:
            yield write_statement(record)


def _is_fixed(aid: Aid) -> bool:
    """Tell whether an identifier is a key that cannot change, and so needs no log."""
    return KEY_PATTERN.fullmatch(aid) is not None and not key_of(aid).transferable
