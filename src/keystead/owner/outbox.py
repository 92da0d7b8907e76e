"""The outbox: what others have to be shown of one's own events, and how far that is.

An event gets its entry in the transaction that puts it on the log, so no crash can lose it. Where
the identifier has witnesses, the entry tells what is still to be done for each of them. Otherwise
it waits for an export of the log.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
from blake3 import blake3

from keystead.cesr.keys import Aid, Said
from keystead.keri.events import AnyKeyEvent, Rotation
from keystead.owner.records import Batch, Note
from keystead.owner.wallet import OUTBOX, Wallet
from keystead.owner.witnesses import Shown, find_shown, witnesses_after

# Time until the first retry, and the longest between two: a witness that is away for days is asked
# each hour, and one that is just started almost at once.
FIRST_DELAY: Final = timedelta(milliseconds=250)
LONGEST_DELAY: Final = timedelta(hours=1)
# A witness that was cut is told so, but nothing depends on it.
MOST_FAREWELLS: Final = 3
_LONGEST_DETAIL: Final = 200  # characters of why a try failed


class Step(StrEnum):
    """What comes next for a witness."""

    INTRODUCE = "introduce"  # it needs what comes before the event: the log, other witnesses
    SUBMIT = "submit"  # it has to be given the event
    POLL = "poll"  # it holds the event back, and may have a receipt later
    DONE = "done"  # its receipt is here; a witness that was cut has got the event
    REFUSED = "refused"  # it holds another event at this place
    CANCELLED = "cancelled"  # the owner, or this program, gave it up


# Nothing is sent to a witness any more, but for the receipts of the others.
ENDED: Final = frozenset((Step.DONE, Step.REFUSED, Step.CANCELLED))


class Delivery(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How far the work for one witness is.

    Attributes:
        witness: who.
        step: what comes next.
        cut: the event removes this witness, so no receipt is wanted.
        log: the introduction has the log so far, though the witness is not new: it lacks some.
        sent: messages of the introduction that were sent.
        told: places in the witness list of the others whose receipts it was given.
        attempts: tries that failed since the last that did not.
        code: why the last one failed; empty when it did not.
        detail: the same for people.
        next_at: RFC 3339 time before which there is no further try; empty: at once.
        invitation: code that lets the identifier in, for this witness only; empty: none, or it
            was of use already.
    """

    witness: Aid
    step: Step = Step.SUBMIT
    cut: bool = False
    log: bool = False
    sent: int = 0
    told: tuple[int, ...] = ()
    attempts: int = 0
    code: str = ""
    detail: str = ""
    next_at: str = ""
    invitation: str = ""

    def is_due(self, now: datetime) -> bool:
        """Tell whether the time for the next try has come."""
        return not self.next_at or datetime.fromisoformat(self.next_at) <= now

    def advanced(self, step: Step) -> "Delivery":
        """Return the delivery after a step that succeeded."""
        return msgspec.structs.replace(self, step=step, attempts=0, code="", detail="", next_at="")

    def failed(
        self, code: str, detail: str, now: datetime, *, at_least: timedelta = timedelta()
    ) -> "Delivery":
        """Return the delivery after a try that failed; the next one is later each time.

        Args:
            code: why.
            detail: the same for people.
            now: when.
            at_least: time that the peer asked to be left alone for.
        """
        attempts = self.attempts + 1
        delay = max(back_off(attempts, self.witness), min(at_least, LONGEST_DELAY))
        return msgspec.structs.replace(
            self,
            attempts=attempts,
            code=code,
            detail=detail[:_LONGEST_DETAIL],
            next_at=(now + delay).isoformat(timespec="microseconds"),
        )


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """Work for others: an event that they have to be shown.

    Attributes:
        aid: whose event.
        sn: its place.
        said: its digest.
        since: RFC 3339 text.
        deliveries: what is to be done for each witness, those that the event removes last. None:
            the identifier has no witnesses, and its log waits for an export.
    """

    aid: Aid
    sn: int
    said: Said
    since: str
    deliveries: tuple[Delivery, ...] = ()

    def delivery(self, witness: Aid) -> Delivery | None:
        """Return the work for a witness."""
        return next((one for one in self.deliveries if one.witness == witness), None)


def back_off(attempts: int, salt: str) -> timedelta:
    """Return how long to wait after tries that failed: twice as long each time, to some extent.

    Up to half of it is taken away, by the name of the witness: who waits for the same witness
    does not come at the same moment. It needs no randomness, so tests see the same.
    """
    doubled = FIRST_DELAY * (1 << min(attempts - 1, 20))
    share = blake3(f"{salt} {attempts}".encode()).digest()[0] / 512
    return min(doubled, LONGEST_DELAY) * (1 - share)


def outbox_id(aid: Aid, sn: int) -> str:
    """Return the name of the outgoing work for an event."""
    return f"{aid}.{sn}"


def put_outgoing(wallet: Wallet, batch: Batch, event: AnyKeyEvent, note: Note) -> None:
    """Write down that others have to be shown an event.

    What a witness that leaves was to get of earlier events is struck off: it may be gone for good.
    """
    if isinstance(event, Rotation) and event.witnesses_removed:
        for earlier in submissions(wallet, event.aid):
            _strike_off(wallet, batch, earlier, event.witnesses_removed, note)
    work = Outgoing(event.aid, event.sn, event.said, wallet.time(), _deliveries(wallet, event))
    if event.delegated and not note.evidence and not work.deliveries:
        return  # it waits for the delegator, and for nobody else
    batch.put(OUTBOX, outbox_id(event.aid, event.sn), work, note)


def find_outgoing(wallet: Wallet, aid: Aid, sn: int) -> Outgoing | None:
    """Return the work for an event, if there is any left."""
    return wallet.records.get(OUTBOX, outbox_id(aid, sn), Outgoing)


def submissions(wallet: Wallet, aid: Aid | None = None) -> list[Outgoing]:
    """Return the work for witnesses, of one identifier or of all, in the order of the events."""
    found = wallet.records.all(OUTBOX, Outgoing)
    wanted = [one for one in found if one.deliveries and aid in (None, one.aid)]
    return sorted(wanted, key=lambda one: (one.aid, one.sn))


def change_deliveries(
    wallet: Wallet,
    outgoing: Outgoing,
    change: Callable[[Outgoing], Iterable[Delivery]],
    note: Note,
) -> Outgoing | None:
    """Write how far the work for an event is now, inside a transaction.

    Args:
        wallet: whose.
        outgoing: the work.
        change: makes of the work, as it is now, the deliveries that it has then.
        note: why.

    Returns:
        The work that is left; None when it is done, and struck off.
    """
    now = find_outgoing(wallet, outgoing.aid, outgoing.sn)
    if now is None or now.said != outgoing.said:
        return None  # another command was faster
    after = msgspec.structs.replace(now, deliveries=tuple(change(now)))
    batch = wallet.batch()
    _put(wallet, batch, now, after, note)
    batch.write()
    return None if is_finished(wallet, after) else after


def tellable(shown: Shown, delivery: Delivery) -> tuple[int, ...]:
    """Return the places of the receipts of others that a witness is to be given."""
    if delivery.step is not Step.DONE or delivery.cut:
        return ()
    here = sorted(one.index for one in shown.receipts)
    return tuple(
        place
        for place in here
        if place not in delivery.told and shown.witnesses[place] != delivery.witness
    )


def is_finished(wallet: Wallet, outgoing: Outgoing) -> bool:
    """Tell whether nothing is left to do for an event: all its witnesses have all receipts."""
    shown = find_shown(wallet, outgoing.aid, outgoing.said)
    return shown is not None and all(
        one.step in (Step.DONE, Step.CANCELLED) and not tellable(shown, one)
        for one in outgoing.deliveries
    )


def _put(wallet: Wallet, batch: Batch, before: Outgoing, after: Outgoing, note: Note) -> None:
    name = outbox_id(after.aid, after.sn)
    after = msgspec.structs.replace(after, deliveries=tuple(map(_without_code, after.deliveries)))
    if is_finished(wallet, after):
        batch.delete(OUTBOX, name, note)
    elif after != before:
        batch.put(OUTBOX, name, after, note)


def _without_code(one: Delivery) -> Delivery:
    """Forget the code of an invitation where nothing is asked for any more."""
    return msgspec.structs.replace(one, invitation="") if one.step in ENDED else one


def _strike_off(
    wallet: Wallet, batch: Batch, work: Outgoing, witnesses: Sequence[Aid], note: Note
) -> None:
    left = tuple(
        one.advanced(Step.CANCELLED) if one.witness in witnesses and one.step not in ENDED else one
        for one in work.deliveries
    )
    if left != work.deliveries:
        after = msgspec.structs.replace(work, deliveries=left)
        _put(wallet, batch, work, after, Note(note.action, evidence=work.said))


def _deliveries(wallet: Wallet, event: AnyKeyEvent) -> tuple[Delivery, ...]:
    """Return what is to be done for the witnesses of an event that may not be on the log yet."""
    listed, added = witnesses_after(wallet, event)
    removed = event.witnesses_removed if isinstance(event, Rotation) else ()
    found = [
        Delivery(one, Step.INTRODUCE if one in added or event.delegated else Step.SUBMIT)
        for one in listed
    ]
    return (*found, *(Delivery(one, cut=True) for one in removed))
