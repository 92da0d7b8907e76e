"""What a restored or copied wallet learns from published logs beside their events.

Which keys are compromised, so that it repeats the notices; that a log went on in two ways, so that
it signs no further; and that it is the wallet of this machine from now on.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from keystead.cesr.keys import Aid
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, SUSPECT, State
from keystead.errors import ErrorCode, KeystoreError
from keystead.keri import build
from keystead.keri.events import AnyKeyEvent, Interaction, Rotation
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.verdicts import Source
from keystead.node.weighing import counts
from keystead.owner.compromises import Compromise, compromises, kept_notices
from keystead.owner.intake import take_in
from keystead.owner.keys import put_moved
from keystead.owner.records import Batch, Note
from keystead.owner.wallet import (
    IDENTIFIER,
    KEY,
    STATE,
    IdentifierRecord,
    Wallet,
    new_master,
    parse_event,
)
from keystead.owner.witnesses import is_witnessed
from keystead.ports.events import EventStore
from keystead.ports.keys import Mark

FORK_SEEN: Final = "fork seen"  # an action in the audit log
HOLDS: Final = "holds another"  # in its reason; that event is kept as evidence
RECONCILE = "reconcile"  # another one
TOLD = "reconcile notice"  # that of a key, whose reason is that of the notice
_FORKED: Final = (
    "if another copy of this wallet was used, keep the other and abandon this one; if not, somebody"
    " else has your keys, and this version cannot take his events back: tell those who rely on the"
    " identifier, and make a new one; to sign on all the same: keystead id reconcile NAME"
    " --i-accept-duplicity"
)


def take_notices(wallet: Wallet, aid: Aid, published: EventStore) -> int:
    """Take over the notices behind a published log, and mark the keys that they name.

    Without them the next export would leave them out, and what a thief signed would be valid
    again. Only notices count that the log, as it is in the wallet, bears out.

    Returns:
        How many keys were marked.
    """
    messages = list(kept_notices(published, aid))
    if not messages:
        return 0  # the usual case
    with wallet.store.transaction():
        known = {one.signing_key: one.first_sn for one in compromises(wallet.events, aid)}
        take_in(wallet, messages, own=(aid,), source=Source.LOCAL)
        batch, count = wallet.batch(), 0
        for told in compromises(wallet.events, aid):
            key = wallet.key(build.commitment(told.signing_key))
            news = known.get(told.signing_key) != told.first_sn
            if key is not None and (news or key.state not in SUSPECT):
                _put_told(wallet, batch, key, told)
                count += 1
        record = wallet.identifier(aid)
        if count and not record.suspects:
            marked = msgspec.structs.replace(record, suspects=True)
            batch.put(IDENTIFIER, aid, marked, Note(RECONCILE), tag=record.name)
        batch.write()
    return count


def _put_told(wallet: Wallet, batch: Batch, key: KeyRecord, told: Compromise) -> None:
    note = Note(TOLD, told.reason)
    exposed = msgspec.structs.replace(key, exposed_since=told.first_sn)
    if key.state in SUSPECT:
        batch.put(KEY, key.id, exposed, note)
        return
    after = State.DESTROYED_COMPROMISED if key.state in GONE else State.COMPROMISED
    put_moved(wallet, batch, exposed, after, note)


def unsigned_here(wallet: Wallet, aid: Aid, published: EventStore) -> list[AcceptedEvent]:
    """Return the events of a published log that this wallet did not sign, as far as it knows.

    What the machine remembers to have signed counts, even where the wallet is a copy from before.
    A log that went on in another way than that of the wallet gives none: it is never adopted. Nor
    are interactions that a rotation of the wallet takes back.
    """
    if forked_at(wallet, aid, published) is not None:
        return []
    state = wallet.events.key_state(aid)
    record = wallet.identifier(aid)
    signed = -1 if state is None else state.sn
    (mark,) = wallet.vault.marks([aid])
    if mark is not None and published.event(aid, mark.sn) is not None:
        signed = max(signed, mark.sn)  # no fork, so it is that very event
    if record.pending:
        signed += 1
    return [one for one in comparable(wallet, aid, published) if one.event.sn > signed]


def forked_at(wallet: Wallet, aid: Aid, published: EventStore) -> int | None:
    """Return the first place where a published log has another event than was signed here."""
    theirs = {one.event.sn: one.event.said for one in comparable(wallet, aid, published)}
    for ours in wallet.events.events(aid):
        sn = ours.event.sn
        if theirs.get(sn, ours.event.said) != ours.event.said:
            return sn
    (mark,) = wallet.vault.marks([aid])
    if mark is None or theirs.get(mark.sn, mark.said) == mark.said:
        return None
    return None if _is_superseded(wallet, mark) else mark.sn


def comparable(wallet: Wallet, aid: Aid, published: EventStore) -> list[AcceptedEvent]:
    """Return the events of a published log up to where an own rotation takes the rest back.

    A log that goes on with interactions there is no fork: the rotation stands, wherever it comes.
    """
    found = list(published.events(aid))
    (mark,) = wallet.vault.marks([aid])
    for place, theirs in enumerate(found):
        sn = theirs.event.sn
        ours = wallet.events.event(aid, sn)
        own = None if ours is None else ours.event
        if own is None and mark is not None and mark.sn == sn:
            own = parse_event(mark.raw)
        if own is not None and own.said != theirs.event.said:
            rest = [one.event for one in found[place:]]
            return found[:place] if is_taken_back(own, rest) else found
    return found


def is_taken_back(own: AnyKeyEvent, others: Sequence[AnyKeyEvent]) -> bool:
    """Tell whether an own event stands against another history from its place on.

    KERI, rule A0: "Any rotation event may supersede an interaction event at the same sn. where that
    interaction event is not before any other rotation event."

    Args:
        own: the event.
        others: the other history, from that place on.
    """
    return isinstance(own, Rotation) and all(isinstance(one, Interaction) for one in others)


def _is_superseded(wallet: Wallet, mark: Mark) -> bool:
    """Tell whether the log of the wallet had the marked event, and another took its place."""
    place = wallet.events.event(mark.aid, mark.sn)
    return place is not None and place.event.said != mark.said


def check_fork(wallet: Wallet, aid: Aid, published: EventStore) -> None:
    """Check that a published log is not another one than was signed here.

    If it is, that is written down, and the wallet signs nothing more for the identifier.

    Raises:
        KeystoreError: it is, or one before was (keystore.behind).
    """
    sn = forked_at(wallet, aid, published)
    if sn is None and not wallet.identifier(aid).forked:
        return
    if sn is None and _is_cleared(wallet, aid, published):
        _clear(wallet, aid)
        return
    if sn is None:
        what = "another version of this log was published before, whatever this one tells"
        raise KeystoreError(ErrorCode.BEHIND, what, hint=_FORKED)
    with wallet.store.transaction():
        record = wallet.identifier(aid)
        if not record.forked:
            reason = f"event {sn:x} was published in another version"
            seen = msgspec.structs.replace(record, forked=True)
            batch = wallet.batch()
            batch.put(IDENTIFIER, aid, seen, Note(FORK_SEEN, reason), tag=record.name)
            batch.write()
    raise forked(sn)


def _is_cleared(wallet: Wallet, aid: Aid, published: EventStore) -> bool:
    """Tell whether a fork was seen that is none: what was kept of it does not stand any more.

    Only where a witness held another event, which is kept, and the published log has the own one
    with its receipts.
    """
    seen = [
        one.note.reason
        for one in wallet.records.history(IDENTIFIER, aid)
        if one.note.action == FORK_SEEN
    ]
    evidence = wallet.events.duplicity(aid)
    if not evidence or not all(HOLDS in one for one in seen):
        return False
    if any(counts(wallet.events, one) for one in evidence):
        return False
    last = max(one.sn for one in evidence)
    ours, theirs = wallet.events.event(aid, last), published.event(aid, last)
    if ours is None or theirs is None or ours.event.said != theirs.event.said:
        return False
    return bool(theirs.state.establishment.witnesses) and is_witnessed(theirs)


def _clear(wallet: Wallet, aid: Aid) -> None:
    with wallet.store.transaction():
        record = wallet.identifier(aid)
        after = msgspec.structs.replace(record, forked=False)
        reason = "no fork: the published log has the own event, and the other does not stand"
        batch = wallet.batch()
        batch.put(IDENTIFIER, aid, after, Note(RECONCILE, reason), tag=record.name)
        batch.write()


def forked(sn: int) -> KeystoreError:
    """Return the error that tells of two events for one place."""
    what = f"event {sn:x} was published in another version than is here"
    return KeystoreError(ErrorCode.BEHIND, what, hint=_FORKED, sn=sn)


def cleared(record: IdentifierRecord, *, accept_duplicity: bool) -> IdentifierRecord:
    """Return an identifier for which the wallet signs on, if the owner accepts two logs of it."""
    return msgspec.structs.replace(record, forked=record.forked and not accept_duplicity)


def put_epoch(wallet: Wallet, batch: Batch, note: Note) -> None:
    """Begin a new master seed: another copy may go on to count under the old one."""
    counted = wallet.state()
    epoch = counted.epoch + 1
    new_master(wallet, batch, epoch)
    counted = msgspec.structs.replace(counted, epoch=epoch, identifiers=0)
    batch.put(STATE, "wallet", counted, note)


def make_known(wallet: Wallet) -> bool:
    """Have a wallet that has nothing to compare be the one of this machine, if it is not yet.

    The owner accepts that another copy may have made identifiers that this one does not know.

    Returns:
        Whether there was something to do.
    """
    if wallet.is_current():
        return False
    with wallet.store.transaction():
        batch = wallet.batch()
        reason = "the owner accepts that another copy of the wallet may have signed"
        put_epoch(wallet, batch, Note(RECONCILE, reason))
        batch.write()
    mark = wallet.vault.latest_mark()
    wallet.vault.adopt()
    if mark is not None:
        count, head = wallet.store.audit_head()
        known = msgspec.structs.replace(mark, audit_count=count, audit_head=head)
        wallet.vault.set_mark(known)
    wallet.remember()
    return True
