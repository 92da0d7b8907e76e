"""Two events for one place: what a witness holds is looked at, and kept as evidence."""

from typing import Final

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.events import KeyEvent
from keystead.keri.messages import parse_message
from keystead.keri.verdicts import Duplicitous, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor
from keystead.owner.discovery import locations
from keystead.owner.introducing import messages_in
from keystead.owner.outbox import Outgoing, Step, change_deliveries
from keystead.owner.records import Note
from keystead.owner.wallet import IDENTIFIER, Wallet
from keystead.ports.transport import Call, Transport

_OK: Final = 200


def look_into(wallet: Wallet, transport: Transport, outgoing: Outgoing, witness: Aid) -> bool:
    """Ask a witness for the log that it holds, and look for another event at a place.

    Only an event that the keys of the log have signed counts: whatever a witness answers, it
    cannot stop an identifier by itself. One that counts is kept as evidence; then nothing more is
    signed for the identifier until the owner reconciles it.

    Returns:
        Whether there is another event.
    """
    base = next(iter(locations(wallet.events, witness)), "").rstrip("/")
    call = Call("GET", f"{base}/query?typ=kel&pre={outgoing.aid}")
    try:
        answer = transport.call(call)
        if answer.status != _OK:
            return False
        messages = list(messages_in(answer.body))
    except KeysteadError:
        return False  # it is tried again with the next delivery
    with wallet.store.transaction():
        processor = EventProcessor(wallet.events, own=(outgoing.aid,))
        for message in messages:
            if message.body.get("i") != outgoing.aid or message.body.get("s") != f"{outgoing.sn:x}":
                continue
            try:
                event = parse_message(message, DEFAULT_LIMITS)
            except KeysteadError:
                continue
            if not isinstance(event, KeyEvent) or event.said == outgoing.said:
                continue
            for one in processor.process(message, source=Source.LOCAL, now=wallet.now()):
                if isinstance(one.verdict, Duplicitous):
                    _put_fork(wallet, outgoing, witness)
                    return True
    return False


def _put_fork(wallet: Wallet, outgoing: Outgoing, witness: Aid) -> None:
    """Write down that a log went on in two ways, inside a transaction."""
    record = wallet.identifier(outgoing.aid)
    reason = f"witness {witness} holds another event {outgoing.sn:x}"
    if not record.forked:
        batch = wallet.batch()
        seen = msgspec.structs.replace(record, forked=True)
        batch.put(IDENTIFIER, record.aid, seen, Note("fork seen", reason), tag=record.name)
        batch.write()
    what = "it holds another event at this place, signed by the same keys"
    change_deliveries(
        wallet,
        outgoing,
        lambda now: [
            one
            if one.witness != witness
            else msgspec.structs.replace(
                one, step=Step.REFUSED, code=ErrorCode.BEHIND.value, detail=what, next_at=""
            )
            for one in now.deliveries
        ],
        Note("witnessing", reason, outgoing.said),
    )
