"""Own events: written down, signed and put on the log, in one transaction.

What an event changes in the wallet is written first, then the event is signed, then it goes
through the same decision as events of others. A crash leaves all of it or nothing.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from keystead.cesr import indexed
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid
from keystead.custody.catalogue import KeyType
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keri import build
from keystead.keri.attachments import Claims, SignedEvent
from keystead.keri.escrow import WaitingReceipts
from keystead.keri.events import AnyKeyEvent, EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.thresholds import Threshold
from keystead.keri.verdicts import Duplicitous, Rejected, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.decisions import Context, decide_event, decide_receipts
from keystead.owner.keys import (
    committed,
    is_here,
    put_moved,
    put_new,
    record_of,
    reserve_record,
)
from keystead.owner.outbox import put_outgoing
from keystead.owner.plans import Place, Plan, expose
from keystead.owner.records import Batch, Note
from keystead.owner.wallet import (
    IDENTIFIER,
    KEY,
    IdentifierRecord,
    Wallet,
)
from keystead.suites import Suite


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of the audit log before a transaction."""

    count: int
    hash: bytes


def carry_out(  # noqa: PLR0913 - whose log, where it stands, what to do, and why
    wallet: Wallet,
    record: IdentifierRecord,
    state: KeyState,
    plan: Plan,
    note: Note,
    head: Head,
    *,
    signatures: tuple[IndexedSignature, ...] | None = None,
) -> AcceptedEvent | None:
    """Write down a rotation, sign it, and put it on the log; inside a transaction.

    Args:
        wallet: whose.
        record: the identifier.
        state: where its log stands.
        plan: the rotation.
        note: why.
        head: end of the audit log before the transaction.
        signatures: of the event, if it was published already.

    Returns:
        The rotation; None when it waits for the approval of the delegator.
    """
    event = plan.event
    ordinal = record.establishments + 1  # of the event that will expose the new keys
    batch = wallet.batch()
    _put_committed(wallet, batch, plan, ordinal, note)
    record = msgspec.structs.replace(
        record, establishments=ordinal, lines=plan.lines, slots=plan.slots
    )
    if event.delegated and signatures is None:
        put_pending(wallet, batch, record, event, plan.exposed, head)
        return None
    put_exposed(wallet, batch, state, plan, note)
    record = msgspec.structs.replace(record, established=event.said)
    batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
    if signatures is None:
        put_outgoing(wallet, batch, event, note)
    batch.write()
    if signatures is None:
        signatures = sign(wallet, event, plan.exposed, head)
    accepted = accept(wallet, event, signatures)
    if plan.is_last:
        put_retired(wallet, plan, note)
    return accepted


def _put_committed(wallet: Wallet, batch: Batch, plan: Plan, ordinal: int, note: Note) -> None:
    """Write the keys that a rotation commits to: own ones, then those of others."""
    aid, at = plan.event.aid, wallet.time()
    found = [record_of(made, aid, place, ordinal, at) for place, made in enumerate(plan.made)]
    found += [
        reserve_record(digest, aid, place, ordinal, at)
        for place, digest in enumerate(plan.reserve, len(plan.made))
    ]
    known = [wallet.key(one.id) for one in found]
    put_new(
        batch,
        [one for one, old in zip(found, known, strict=True) if old is None],
        note.action,
        plan.event.said,
    )
    for one, old in zip(found, known, strict=True):
        # Reserve keys of before are committed to again, perhaps at another place; a key that the
        # owner brought is for this identifier from now on.
        moved = committed(old, one)
        if old is not None and moved != old:
            batch.put(KEY, old.id, moved, note)


def put_interaction(
    wallet: Wallet, state: KeyState, event: AnyKeyEvent, note: Note, head: Head
) -> AcceptedEvent:
    """Sign an interaction and put it on the log, inside a transaction."""
    places = current_places(wallet, state)
    batch = wallet.batch()
    put_outgoing(wallet, batch, event, note)
    batch.write()
    return accept(wallet, event, sign(wallet, event, places, head))


def put_exposed(wallet: Wallet, batch: Batch, state: KeyState, plan: Plan, note: Note) -> None:
    """Write that the old keys are out of force and those that a rotation exposes are in force."""
    for old in current_keys(wallet, state):
        if old.state in (State.ACTIVE, State.SUSPENDED, State.ROTATE_ONLY):
            put_moved(wallet, batch, old, State.DEACTIVATED, note)
    weights = _without_weight(plan)
    for one in plan.exposed:
        if one.key.state is State.COMPROMISED:
            continue  # in force, but marked for good
        # A key in reserve is for the rotation that reveals it, whatever its weight.
        rotates = one.index in weights or one.key.type is KeyType.RESERVE
        after = State.ROTATE_ONLY if rotates else State.ACTIVE
        put_moved(wallet, batch, one.key, after, note)
    kept = {*plan.reserve, *(made.digest for made in plan.made)}
    exposed = {one.key.id for one in plan.exposed}
    for digest in state.establishment.next_key_digests:
        key = wallet.key(digest)
        if digest in exposed or digest in kept or key is None:
            continue
        if key.state in (State.PRE_ACTIVE, State.RESERVE):
            # The log no longer commits to it; it was somebody else's, or could not be used.
            put_moved(wallet, batch, key, State.DESTROYED, note)


def put_retired(wallet: Wallet, plan: Plan, note: Note) -> None:
    """Write that the keys of a last event have done their work: nothing can follow."""
    batch = wallet.batch()
    for one in plan.exposed:
        key = wallet.key(one.key.id)
        if key is not None and key.state is not State.COMPROMISED:
            put_moved(wallet, batch, key, State.DEACTIVATED, note)
    batch.write()


def put_in_force(
    wallet: Wallet,
    record: IdentifierRecord,
    accepted: AcceptedEvent,
    prior: KeyState | None,
    note: Note,
) -> None:
    """Write that an event that waited for the delegator is on the log now.

    Args:
        wallet: whose.
        record: the identifier, with the event that waited.
        accepted: that event.
        prior: where the log stood before it.
        note: why.
    """
    event = accepted.event
    done = msgspec.structs.replace(
        record,
        pending="",
        pending_signatures=(),
        pending_receipts=(),
        established=event.said,
    )
    batch = wallet.batch()
    plan = _plan_of(wallet, record, event, prior)
    if prior is None:
        for key in current_keys(wallet, accepted.state):
            if key.state is State.PRE_ACTIVE:  # it may be marked as compromised meanwhile
                put_moved(wallet, batch, key, State.ACTIVE, note)
    else:
        put_exposed(wallet, batch, prior, plan, note)
    batch.put(IDENTIFIER, record.aid, done, note, tag=record.name)
    put_outgoing(wallet, batch, event, note)
    batch.write()
    if plan.is_last:
        put_retired(wallet, plan, note)


def _plan_of(
    wallet: Wallet, record: IdentifierRecord, event: AnyKeyEvent, prior: KeyState | None
) -> Plan:
    """Return what an event that waited does; its keys were written down when it was signed."""
    assert isinstance(event, EstablishmentEvent)  # noqa: S101 - no other event waits
    exposed: Sequence[Place] = () if prior is None else expose(wallet, prior)[0]
    places = {key.text: place for place, key in enumerate(event.signing_keys)}
    return Plan(
        event,
        tuple(
            Place(one.key, places[one.key.public_key], one.ondex)
            for one in exposed
            if one.key.public_key in places
        ),
        (),
        tuple(event.next_key_digests),
        record.lines,
        record.slots,
    )


def sign(
    wallet: Wallet, event: AnyKeyEvent, places: Sequence[Place], head: Head
) -> tuple[IndexedSignature, ...]:
    """Return the signatures of own keys over an event, once its mark is durable."""
    raws = wallet.vault.sign_event(
        event.raw,
        wallet.use([place.key for place in places]),
        audit_count=head.count,
        audit_head=head.hash,
    )
    return tuple(
        indexed.make(Suite[one.key.suite], raw, one.index, ondex=one.ondex)
        for one, raw in zip(places, raws, strict=True)
    )


def accept(
    wallet: Wallet, event: AnyKeyEvent, signatures: tuple[IndexedSignature, ...]
) -> AcceptedEvent:
    """Put an own event on its log; the same rules hold as for events of others.

    Raises:
        KeysteadError: the log does not take it.
    """
    signed = SignedEvent(event, Claims(signatures))
    own = frozenset((event.aid,))
    context = Context(Source.LOCAL, wallet.now(), wallet.time(), own, DEFAULT_LIMITS)
    outcome = wallet.events.advance(event.aid, partial(decide_event, signed, context))
    if outcome.accepted is not None:
        return outcome.accepted
    verdict = outcome.decision.verdict
    if isinstance(verdict, Rejected):
        raise verdict.error
    if isinstance(verdict, Duplicitous):
        raise KeystoreError(ErrorCode.SECOND_EVENT, f"the log holds another event {event.sn:x}")
    raise StoreError(ErrorCode.STORE_CORRUPT, f"the log does not take event {event.sn:x}")


def put_receipts(wallet: Wallet, event: AnyKeyEvent, claims: Claims) -> None:
    """Add receipts to an event of the log, as far as they verify."""
    waiting = WaitingReceipts(event.aid, event.sn, event.said, claims)
    own = frozenset((event.aid,))
    context = Context(Source.LOCAL, wallet.now(), wallet.time(), own, DEFAULT_LIMITS)
    wallet.events.advance(event.aid, partial(decide_receipts, waiting, context))


def put_pending_receipts(wallet: Wallet, aid: Aid, found: Sequence[IndexedSignature]) -> None:
    """Add verified receipts to the event of an identifier that waits for the delegator."""
    record, batch = wallet.identifier(aid), wallet.batch()
    texts = dict.fromkeys((*record.pending_receipts, *(one.text for one in found)))
    after = msgspec.structs.replace(record, pending_receipts=tuple(texts))
    batch.put(IDENTIFIER, aid, after, Note("receipts"), tag=record.name)
    batch.write()


def current_keys(wallet: Wallet, state: KeyState) -> list[KeyRecord]:
    """Return the own keys that the latest establishment event sets."""
    found = [wallet.key(build.commitment(key)) for key in state.establishment.signing_keys]
    return [key for key in found if key is not None]


def current_places(wallet: Wallet, state: KeyState) -> list[Place]:
    """Return the own keys that sign now.

    Raises:
        KeystoreError: they are too few (keystore.state, keystore.gone).
    """
    places = []
    for index, public in enumerate(state.establishment.signing_keys):
        key = wallet.key(build.commitment(public))
        if key is not None and key.state is State.ACTIVE and is_here(key):
            places.append(Place(key, index, index))
    if not state.establishment.signing_threshold.satisfied_by(
        frozenset(place.index for place in places)
    ):
        what = f"too few keys of {state.aid} may sign now"
        hint = "see them with: keystead key list; a rotation puts new ones in their place"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    return places


def put_pending(
    wallet: Wallet,
    batch: Batch,
    record: IdentifierRecord,
    event: AnyKeyEvent,
    places: Sequence[Place],
    head: Head,
) -> None:
    """Sign an event that the delegator must approve, and keep it until then."""
    note = Note("request", evidence=event.said)
    batch.write()
    signatures = sign(wallet, event, places, head)
    waiting = msgspec.structs.replace(
        record,
        pending=event.raw.decode(),
        pending_signatures=tuple(one.text for one in signatures),
        pending_receipts=(),
    )
    # Witnesses come first, as with keri: a delegator approves what is witnessed. What the history
    # tells to be on a log has its digest as evidence, so this has none.
    put_outgoing(wallet, batch, event, Note("request"))
    batch.put(IDENTIFIER, event.aid, waiting, note, tag=record.name)
    batch.write()


def _without_weight(plan: Plan) -> frozenset[int]:
    threshold: Threshold = plan.event.signing_threshold  # type: ignore[union-attr] # a rotation
    weights = [weight for clause in threshold.clauses for weight in clause]
    return frozenset(place for place, weight in enumerate(weights) if weight.value == 0)


def head_of(wallet: Wallet) -> Head:
    """Return the end of the audit log."""
    return Head(*wallet.store.audit_head())
