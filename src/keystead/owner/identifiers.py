"""Identifiers of the owner: created, rotated, anchored to, renamed, abandoned.

Each of these is one transaction: new keys, signed event and outgoing work together. The event is
built and written down first, then signed, so that a crash leaves either all or nothing; what the
vault had signed before a crash is found by its mark and finished (`settlement`).
"""

import json
from collections.abc import Sequence
from functools import partial

import msgspec

from keystead.cesr import indexed
from keystead.cesr.indexed import IndexedSignature
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.errors import ErrorCode, KeystoreError, StoreError, UsageError
from keystead.keri import build
from keystead.keri.attachments import Claims, SignedEvent
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.seals import Seal
from keystead.keri.thresholds import Threshold
from keystead.keri.verdicts import Duplicitous, Rejected, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.decisions import Context, decide_event
from keystead.owner import plans
from keystead.owner.keys import (
    Subject,
    find_token,
    is_usable,
    make_keys,
    put_moved,
    put_new,
    record_of,
    reserve_record,
)
from keystead.owner.plans import Change, Creation, Place, Plan
from keystead.owner.records import Batch, Note
from keystead.owner.wallet import (
    IDENTIFIER,
    OUTBOX,
    STATE,
    IdentifierRecord,
    Line,
    Outgoing,
    Wallet,
    checked_name,
    outbox_id,
)
from keystead.suites import Suite


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of the audit log before a transaction."""

    count: int
    hash: bytes


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
        head = _head(wallet)
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
            _put_pending(wallet, batch, record, event, places, head)
    return wallet.identifier(event.aid)


def rotate(wallet: Wallet, name: str, change: Change, *, reason: str = "") -> AcceptedEvent | None:
    """Replace the keys of an identifier by those that its log commits to.

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
    record = wallet.identifier(name)
    action = "abandon" if change.last else "rotate"
    with wallet.store.transaction():
        wallet.check_current()
        head, state = _head(wallet), _state(wallet, record)
        plan = plans.rotation(wallet, record, state, change)
        note = Note(action, reason, plan.event.said)
        return carry_out(wallet, record, state, plan, note, head)


def anchor(wallet: Wallet, name: str, seals: Sequence[Seal], *, reason: str = "") -> AcceptedEvent:
    """Anchor data in the log of an identifier, without changing its keys.

    Raises:
        KeysteadError: as `rotate`; usage.argument when the log allows only rotations.
    """
    record = wallet.identifier(name)
    with wallet.store.transaction():
        wallet.check_current()
        head, state = _head(wallet), _state(wallet, record)
        event = build.interact(state, seals)
        places = current_places(wallet, state)
        note = Note("anchor", reason, event.said)
        batch = wallet.batch()
        put_outgoing(wallet, batch, event, note)
        batch.write()
        return accept(wallet, event, sign(wallet, event, places, head))


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


def carry_out(  # noqa: PLR0913, PLR0917 - whose log, where it stands, what to do, and why
    wallet: Wallet,
    record: IdentifierRecord,
    state: KeyState,
    plan: Plan,
    note: Note,
    head: Head,
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
        signatures: of the event, if it was signed before.

    Returns:
        The rotation; None when it waits for the approval of the delegator.
    """
    event, at = plan.event, wallet.time()
    batch = wallet.batch()
    ordinal = record.establishments + 1  # of the event that will expose the new keys
    own = [
        record_of(made, event.aid, place, ordinal, at)
        for place, made in enumerate(plan.made)
        if wallet.key(made.digest) is None
    ]
    others = [
        reserve_record(digest, event.aid, len(plan.made) + place, ordinal, at)
        for place, digest in enumerate(plan.reserve)
        if wallet.key(digest) is None
    ]
    put_new(batch, [*own, *others], note.action, event.said)
    record = msgspec.structs.replace(
        record, establishments=ordinal, lines=plan.lines, slots=plan.slots
    )
    if event.delegated:
        _put_pending(wallet, batch, record, event, plan.exposed, head)
        return None
    put_exposed(wallet, batch, state, plan, note)
    batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
    put_outgoing(wallet, batch, event, note)
    batch.write()
    if signatures is None:
        signatures = sign(wallet, event, plan.exposed, head)
    accepted = accept(wallet, event, signatures)
    if plan.is_last:
        _put_retired(wallet, plan, note)
    return accepted


def put_exposed(wallet: Wallet, batch: Batch, state: KeyState, plan: Plan, note: Note) -> None:
    """Write that the old keys are out of force and those that a rotation exposes are in force."""
    for old in current_keys(wallet, state):
        if old.state in (State.ACTIVE, State.SUSPENDED, State.ROTATE_ONLY):
            put_moved(wallet, batch, old, State.DEACTIVATED, note)
    weights = _without_weight(plan)
    for one in plan.exposed:
        after = State.ROTATE_ONLY if one.index in weights else State.ACTIVE
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


def _put_retired(wallet: Wallet, plan: Plan, note: Note) -> None:
    """Write that the keys of a last event have done their work: nothing can follow."""
    batch = wallet.batch()
    for one in plan.exposed:
        key = wallet.key(one.key.id)
        if key is not None:
            put_moved(wallet, batch, key, State.DEACTIVATED, note)
    batch.write()


def put_outgoing(wallet: Wallet, batch: Batch, event: AnyKeyEvent, note: Note) -> None:
    """Write down that others have to be shown an event."""
    work = Outgoing(event.aid, event.sn, event.said, wallet.time())
    batch.put(OUTBOX, outbox_id(event.aid, event.sn), work, note)


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
        raise KeystoreError(ErrorCode.SECOND_EVENT, f"the log holds another event {event.sn}")
    raise StoreError(ErrorCode.STORE_CORRUPT, f"the log does not take event {event.sn}")


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
        if key is not None and key.state is State.ACTIVE and is_usable(key):
            places.append(Place(key, index, index))
    if not state.establishment.signing_threshold.satisfied_by(
        frozenset(place.index for place in places)
    ):
        what = f"too few keys of {state.aid} may sign now"
        hint = "see them with: keystead key list; a rotation puts new ones in their place"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    return places


def key_state(wallet: Wallet, record: IdentifierRecord) -> KeyState:
    """Return where the log of an identifier stands; errors as `rotate`."""
    return _state(wallet, record)


def head_of(wallet: Wallet) -> Head:
    """Return the end of the audit log."""
    return _head(wallet)


def _put_pending(
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
    )
    batch.put(IDENTIFIER, event.aid, waiting, note, tag=record.name)
    batch.write()


def _without_weight(plan: Plan) -> frozenset[int]:
    threshold: Threshold = plan.event.signing_threshold  # type: ignore[union-attr] # a rotation
    weights = [weight for clause in threshold.clauses for weight in clause]
    return frozenset(place for place, weight in enumerate(weights) if weight.value == 0)


def _state(wallet: Wallet, record: IdentifierRecord) -> KeyState:
    if record.pending:
        what = f"{record.name} waits for its delegator"
        hint = f"send it with: keystead delegation request {record.name}"
        raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
    state = wallet.events.key_state(record.aid)
    if state is None:
        raise StoreError(ErrorCode.STORE_CORRUPT, f"the log of {record.name} is not here")
    (mark,) = wallet.vault.marks([record.aid])
    if mark is not None and (mark.sn, mark.said) != (state.sn, state.said) and mark.sn >= state.sn:
        what = f"the wallet's log of {record.name} ends before event {mark.sn}, which was signed"
        raise KeystoreError(ErrorCode.BEHIND, what, aid=record.aid, sn=mark.sn)
    return state


def _head(wallet: Wallet) -> Head:
    return Head(*wallet.store.audit_head())


def _check_free(wallet: Wallet, name: str) -> None:
    if wallet.records.find(IDENTIFIER, name, IdentifierRecord) is not None:
        raise UsageError(ErrorCode.EXISTS, f"{name} is taken")


def _check_counts(wanted: Creation, following: int) -> None:
    if wanted.keys < 1 or (wanted.transferable and following + len(wanted.reserve) < 1):
        raise UsageError(ErrorCode.ARGUMENT, "an identifier needs at least one key, now and next")
    if not wanted.transferable and (wanted.keys != 1 or wanted.reserve or wanted.delegator):
        what = "an identifier that cannot rotate is one key, and nothing else"
        raise UsageError(ErrorCode.ARGUMENT, what)
