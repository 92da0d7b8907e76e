"""Two events for one place: what a witness holds is looked at, and kept as evidence if it counts."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec

from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Message
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.attachments import SignedEvent, gather
from keystead.keri.events import AnyKeyEvent, KeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import parse_message
from keystead.keri.validation import judge
from keystead.keri.verdicts import Accepted, Duplicitous, Role, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.decisions import Context, decide_event
from keystead.owner.discovery import locations
from keystead.owner.introducing import messages_in
from keystead.owner.outbox import Outgoing, Step, change_deliveries
from keystead.owner.records import Note
from keystead.owner.restoring import FORK_SEEN, HOLDS, is_taken_back
from keystead.owner.wallet import IDENTIFIER, Wallet
from keystead.owner.witnesses import find_shown
from keystead.ports.events import Decision, KelReader
from keystead.ports.transport import Call, Transport

_OK: Final = 200
_SAME_PLACE: Final = "it holds another event at this place, signed by the same keys"
_TAKEN_BACK: Final = (
    "it holds an interaction that somebody else signed with the keys that this rotation replaced;"
    " the rotation stands"
)


def look_into(wallet: Wallet, transport: Transport, outgoing: Outgoing, witness: Aid) -> bool:
    """Ask a witness for the log that it holds, and look for another history from a place on.

    Only what the keys of the log have signed counts: whatever a witness answers, it cannot stop
    an identifier by itself. Nor can who has keys that a rotation replaced: the rotation takes
    interactions back. A history that counts is kept as evidence, where two events of it are at
    one place; then nothing more is signed for the identifier until the owner reconciles it.

    Returns:
        Whether there is a history that excludes the own one.
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
        own = find_shown(wallet, outgoing.aid, outgoing.said)
        if own is None:
            return False
        others = list(_others(wallet, own.event, messages))
        if not others:
            return False
        if is_taken_back(own.event, [event for event, _ in others]):
            _tell(wallet, outgoing, witness, ErrorCode.KEY_MISUSED, _TAKEN_BACK)
            return False
        _put_fork(wallet, outgoing, witness, kept=_keep(wallet, others))
    return True


def _others(
    wallet: Wallet, own: AnyKeyEvent, messages: list[Message]
) -> Iterator[tuple[AnyKeyEvent, Message]]:
    """Give the signed events of other histories from the place of an own event on.

    Each is judged by what comes before it there; nothing is kept. The own store must not do it:
    it would take over what may supersede.
    """
    before = wallet.events.event(own.aid, own.sn - 1) if own.sn else None
    states: dict[Said | None, KeyState | None] = {
        own.prior_said: None if before is None else before.state
    }
    for message in messages:
        if message.body.get("i") != own.aid:
            continue
        try:
            event = parse_message(message, DEFAULT_LIMITS)
            claims = gather(message.groups).claims
        except KeysteadError:
            continue
        if not isinstance(event, KeyEvent) or event.sn < own.sn or event.said == own.said:
            continue
        if event.prior_said not in states:
            continue
        verdict = judge(
            SignedEvent(event, claims),
            prior=states[event.prior_said],
            incumbent=None,
            source=Source.LOCAL,
            role=Role.CONTROLLER,
            delegation=None,
            limits=DEFAULT_LIMITS,
        )
        if isinstance(verdict, Accepted):
            states[event.said] = verdict.state
            yield event, message


def _keep(wallet: Wallet, others: list[tuple[AnyKeyEvent, Message]]) -> bool:
    """Keep other events as evidence, inside a transaction; tell whether there is some."""
    kept = False
    for event, message in others:
        context = Context(
            Source.LOCAL, wallet.now(), wallet.time(), frozenset((event.aid,)), DEFAULT_LIMITS
        )
        signed = SignedEvent(event, gather(message.groups).claims)
        decision = decide_event(signed, context, wallet.events)
        if isinstance(decision.verdict, Duplicitous):  # nothing else is to be stored
            wallet.events.advance(event.aid, partial(_decided, decision))
            kept = True
    return kept


def _decided(decision: Decision, _kel: KelReader) -> Decision:
    return decision


def _put_fork(wallet: Wallet, outgoing: Outgoing, witness: Aid, *, kept: bool) -> None:
    """Write down that a log went on in two ways, inside a transaction."""
    record = wallet.identifier(outgoing.aid)
    what = HOLDS if kept else "gives another history from"
    reason = f"witness {witness} {what} event {outgoing.sn:x}"
    if not record.forked:
        batch = wallet.batch()
        seen = msgspec.structs.replace(record, forked=True)
        batch.put(IDENTIFIER, record.aid, seen, Note(FORK_SEEN, reason), tag=record.name)
        batch.write()
    _tell(wallet, outgoing, witness, ErrorCode.BEHIND, _SAME_PLACE)


def _tell(wallet: Wallet, outgoing: Outgoing, witness: Aid, code: ErrorCode, what: str) -> None:
    """Write down what a witness holds; it is asked no more when that excludes the own event."""
    changes = {"code": code.value, "detail": what}
    if code is ErrorCode.BEHIND:
        changes |= {"step": Step.REFUSED, "next_at": ""}
    change_deliveries(
        wallet,
        outgoing,
        lambda now: [
            one if one.witness != witness else msgspec.structs.replace(one, **changes)
            for one in now.deliveries
        ],
        Note("witnessing", f"witness {witness} {what.removeprefix('it ')}", outgoing.said),
    )
