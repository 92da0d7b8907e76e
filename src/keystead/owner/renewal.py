"""Work for witnesses that the owner gives up, takes up again, or gives a code of an invitation."""

from collections.abc import Iterator, Mapping

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, UsageError
from keystead.owner.outbox import (
    ENDED,
    Delivery,
    Outgoing,
    Step,
    change_deliveries,
    find_outgoing,
    outbox_id,
    submissions,
)
from keystead.owner.records import Note
from keystead.owner.wallet import OUTBOX, Wallet
from keystead.owner.witnesses import Shown, find_shown, lacking


def give_up(wallet: Wallet, aid: Aid, *, sn: int | None = None, witness: Aid | None = None) -> int:
    """Give up work for witnesses; return for how many deliveries.

    Args:
        wallet: whose.
        aid: of this identifier.
        sn: for the event at this place; None for all.
        witness: for this witness; None for all.

    Raises:
        UsageError: there is no such work (usage.unknown).
    """
    count = 0

    def cancelled(now: Outgoing) -> Iterator[Delivery]:
        nonlocal count
        for one in now.deliveries:
            meant = witness in (None, one.witness)
            if meant and one.step is not Step.CANCELLED:
                # To a witness whose receipt is here, those of the others are handed on no more.
                count += one.step is not Step.DONE
                yield one.advanced(Step.CANCELLED)
            else:
                yield one

    with wallet.store.transaction():
        for work in submissions(wallet, aid):
            if sn in (None, work.sn):
                shown = find_shown(wallet, aid, work.said)
                on_log = shown is not None and shown.accepted
                note = Note("outbox cancel", evidence=work.said if on_log else "")
                change_deliveries(wallet, work, cancelled, note)
    if not count:
        hint = "see what there is with: keystead outbox list"
        raise UsageError(ErrorCode.UNKNOWN, "there is no such work in the outbox", hint=hint)
    return count


def take_up_again(wallet: Wallet, aid: Aid | None = None) -> int:
    """Write work down again for events that have too few receipts; return for how many."""
    with wallet.store.transaction():
        batch, count = wallet.batch(), 0
        for one in lacking(wallet, aid):
            event = one.event
            shown = find_shown(wallet, one.aid, event.said)
            assert shown is not None  # noqa: S101 - it lacks receipts
            known = find_outgoing(wallet, one.aid, event.sn)
            after = _renewed(wallet, shown, known)
            if after != known:
                evidence = event.said if shown.accepted else ""
                note = Note("outbox again", evidence=evidence)
                batch.put(OUTBOX, outbox_id(one.aid, event.sn), after, note)
                count += 1
        batch.write()
    return count


def invite(wallet: Wallet, aid: Aid, codes: Mapping[Aid, str]) -> None:
    """Keep codes of invitations with the first work that is left for each witness, sealed.

    The code goes with each request to that witness, and is forgotten when its receipt comes. What
    waited for a code is due at once.

    Args:
        wallet: whose.
        aid: of this identifier.
        codes: for each witness; where no work is left for one, its code is of no use.
    """
    left = dict(codes)

    def with_codes(now: Outgoing) -> Iterator[Delivery]:
        for one in now.deliveries:
            if one.witness not in left or one.cut or one.step in ENDED:
                yield one
            else:
                code = left.pop(one.witness)
                yield msgspec.structs.replace(one.advanced(one.step), invitation=code)

    with wallet.store.transaction():
        for work in submissions(wallet, aid):
            shown = find_shown(wallet, aid, work.said)
            on_log = shown is not None and shown.accepted
            note = Note("invitation", evidence=work.said if on_log else "")
            change_deliveries(wallet, work, with_codes, note)


def _renewed(wallet: Wallet, shown: Shown, known: Outgoing | None) -> Outgoing:
    """Return the work for an event with deliveries for all witnesses whose receipts are missing."""
    event, here = shown.event, shown.receipted
    work = known or Outgoing(event.aid, event.sn, event.said, wallet.time())
    deliveries = []
    for witness in shown.witnesses:
        one = work.delivery(witness)
        if witness in here:
            one = one or Delivery(witness, Step.DONE)
            one = msgspec.structs.replace(one, step=Step.DONE, invitation="")
        elif one is None or one.step in ENDED:
            one = Delivery(witness, Step.INTRODUCE, log=True)
        deliveries.append(one)
    cut = tuple(one for one in work.deliveries if one.cut)
    return msgspec.structs.replace(work, deliveries=(*deliveries, *cut))
