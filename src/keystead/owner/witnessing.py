"""Receipts of own events, collected from witnesses, and given to all of them.

Each witness is asked for what comes next there, all at the same time. What came of it is written
down as it comes, and then that witness is asked for the next; nobody waits for the slowest. To do a
step again changes nothing: the same event gets the same receipt. So a crash costs at most that some
are repeated.

A witness gets the events of an identifier one after another; those who are new first get what
came before. Nothing that a witness answers counts but receipts that verify.

Source: the exchange of keri 1.x between a controller and its witnesses.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_groups
from keystead.errors import ErrorCode, KeysteadError, TransportError
from keystead.keri import build
from keystead.keri.attachments import Claims, gather
from keystead.keri.messages import Receipt, parse_message
from keystead.keri.verification import verified_witness_signatures
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.conflicts import look_into
from keystead.owner.discovery import locations
from keystead.owner.events import put_pending_receipts, put_receipts
from keystead.owner.introducing import introduction, messages_in, neighbours
from keystead.owner.outbox import (
    ENDED,
    MOST_FAREWELLS,
    Delivery,
    Outgoing,
    Step,
    change_deliveries,
    submissions,
    tellable,
)
from keystead.owner.records import Note
from keystead.owner.wallet import Wallet
from keystead.owner.witnesses import Shown, find_shown
from keystead.ports.transport import Answer, Call, Calls, Transport

EVENT_TYPE: Final = "application/cesr+json"  # the one that keri 1.x takes
ATTACHMENT: Final = "CESR-ATTACHMENT"
DESTINATION: Final = "CESR-DESTINATION"
INVITATION: Final = "KEYSTEAD-INVITATION"

_OK: Final = 200
_ESCROWED: Final = 202
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_LATER: Final = (408, 429)  # the same request may be taken later
_WORDS: Final = {
    429: ": it was asked too often, and is asked again later",
    503: ": it signs nothing at the moment, being restored or full, and is asked again later",
}
_RECEIPTS: Final = "/receipts"
_SECONDS: Final = re.compile(r"[0-9]{1,6}")
_ROUNDS: Final = 100_000  # a bound on the work of one command, far above what any log needs
# A witness that takes longer is slow: the others are given the receipts that are here without
# waiting for its own. So long, too, one waits for an answer before looking what else is due.
_SLOW: Final = timedelta(milliseconds=250)


class Collected(msgspec.Struct, frozen=True, gc=False):
    """What a run did.

    Attributes:
        receipts: that are new.
        failures: tries that failed.
        left: work that is left.
        next_at: when the next try is due; None: nothing is left that comes by itself.
    """

    receipts: int
    failures: int
    left: int
    next_at: datetime | None


class _Try(msgspec.Struct, frozen=True, gc=False):
    """One step for one witness.

    Attributes:
        outgoing: the event.
        delivery: the work for the witness.
        tells: places of the receipts that it is given; empty for another step.
        sent: messages of the introduction that are sent when this is done.
        whole: that is all of the introduction.
    """

    outgoing: Outgoing
    delivery: Delivery
    tells: tuple[int, ...] = ()
    sent: int = 0
    whole: bool = True


class _Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of a step.

    Attributes:
        delivery: the work for the witness after it.
        receipts: verified signatures of witnesses that it gave, by their places.
        conflict: it has another event at the place.
    """

    delivery: Delivery
    receipts: tuple[IndexedSignature, ...] = ()
    conflict: bool = False


class _UnderWay(msgspec.Struct, frozen=True, gc=False):
    """A step that was begun.

    Attributes:
        one: the step.
        since: when.
    """

    one: _Try
    since: datetime

    @property
    def is_told(self) -> bool:
        """The witness is given receipts of others."""
        return bool(self.one.tells)


def collect(
    wallet: Wallet,
    transport: Transport,
    *,
    aid: Aid | None = None,
    at_once: bool = False,
    patience: Callable[[], float] = lambda: math.inf,
) -> Collected:
    """Do all work of the outbox for witnesses that is due now, or becomes due meanwhile.

    Args:
        wallet: whose.
        transport: carries what is asked.
        aid: of this identifier only.
        at_once: also what should wait for its next try.
        patience: tells for how many seconds more to wait. With 0 nothing more is begun, and who
            has not answered is asked again another time.
    """
    fresh = failures = 0
    under_way: dict[int, _UnderWay] = {}
    with transport.calls() as calls:
        for _ in range(_ROUNDS):
            if patience() <= 0:
                break
            due = list(_due(wallet, aid, under_way.values(), at_once=at_once))
            at_once = False
            ended = list(_begin(wallet, calls, due, under_way))
            if not ended and not under_way:
                break
            ended += _ended(wallet, calls, under_way, 0 if ended else patience())
            with wallet.store.transaction():
                fresh += sum(_keep(wallet, one, came) for one, came in ended)
            for one, came in ended:
                if came.conflict:
                    look_into(wallet, transport, one.outgoing, one.delivery.witness)
            failures += sum(bool(came.delivery.code) for _, came in ended)
    left = submissions(wallet, aid)
    return Collected(fresh, failures, len(left), _next_at(wallet, left))


def _due(
    wallet: Wallet, aid: Aid | None, under_way: Collection[_UnderWay], *, at_once: bool
) -> Iterator[_Try]:
    """Give the next step for each witness, as far as one is due.

    A witness gets an event when it is done with those before; receipts of others when nobody else
    is asked for one just now, but for those who are slow.
    """
    now = wallet.now()
    told = {(x.one.outgoing.said, x.one.delivery.witness) for x in under_way if x.is_told}
    steps = [x for x in under_way if not x.is_told]
    busy = {(x.one.outgoing.aid, x.one.delivery.witness) for x in steps}
    awaited = {x.one.outgoing.said for x in steps if now - x.since < _SLOW}
    for outgoing in submissions(wallet, aid):
        shown = find_shown(wallet, outgoing.aid, outgoing.said)
        if shown is None:
            continue  # another request took its place
        asked = outgoing.said in awaited
        for one in outgoing.deliveries:
            if one.step in ENDED or (one.cut and not shown.is_witnessed):
                continue  # who is cut is no witness, so it takes the event with receipts only
            free = (outgoing.aid, one.witness) not in busy
            busy.add((outgoing.aid, one.witness))
            if free and (at_once or one.is_due(now)):
                asked = True
                yield _Try(outgoing, one)
        if asked:
            continue
        for one in outgoing.deliveries:
            tells = tellable(shown, one)
            free = (outgoing.said, one.witness) not in told
            if tells and free and (at_once or one.is_due(now)):
                yield _Try(outgoing, one, tells)


def _begin(
    wallet: Wallet, calls: Calls, due: Iterable[_Try], under_way: dict[int, _UnderWay]
) -> Iterator[tuple[_Try, _Outcome]]:
    """Begin steps; give what came of those that need no call."""
    for one in due:
        url = next(iter(locations(wallet.events, one.delivery.witness)), None)
        if url is None:
            what = "nobody told here where it is reached: add it again by its URL"
            failed = one.delivery.failed(ErrorCode.UNKNOWN, what, wallet.now())
            yield one, _Outcome(failed)
            continue
        made, call = _call(wallet, one, url.rstrip("/"))
        if call is None:  # there is nothing to introduce
            yield one, _Outcome(_introduced(one.delivery, Step.SUBMIT))
            continue
        if one.delivery.invitation:
            headers = {**call.headers, INVITATION: one.delivery.invitation}
            call = msgspec.structs.replace(call, headers=headers)
        under_way[calls.begin(call)] = _UnderWay(made, wallet.now())


def _ended(
    wallet: Wallet, calls: Calls, under_way: dict[int, _UnderWay], seconds: float
) -> Iterator[tuple[_Try, _Outcome]]:
    """Give what came of steps that have ended, all that there are; wait a little for the first."""
    wait = min(seconds, _SLOW.total_seconds())
    while under_way and (end := calls.wait(wait)) is not None:
        number, answer = end
        one = under_way.pop(number).one
        yield one, _read(wallet, one, answer)
        wait = 0


def _call(wallet: Wallet, one: _Try, base: str) -> tuple[_Try, Call | None]:
    """Return the request of a step, and the step with what it sends; None: nothing to send."""
    outgoing, witness = one.outgoing, one.delivery.witness
    shown = _shown(wallet, outgoing)
    if one.tells:
        receipt = build.receipt(Receipt(outgoing.aid, outgoing.sn, outgoing.said))
        given = [x for x in shown.receipts if x.index in one.tells]
        group = Group(GroupKind.WITNESS_SIGNATURES, tuple(given))
        told = b"".join(neighbours(wallet.events, shown, witness, one.tells))
        if told and not one.delivery.attempts:  # the receipts matter more, and then come alone
            headers = {"Content-Type": EVENT_TYPE, DESTINATION: witness}
            return one, Call("PUT", f"{base}/", receipt + write_groups((group,)) + told, headers)
        return one, _post(f"{base}/", witness, receipt, (group,))
    match one.delivery.step:
        case Step.INTRODUCE:
            parts, whole = introduction(wallet.events, shown, one.delivery)
            if not parts:
                return one, None
            sent = one.delivery.sent + len(parts)
            headers = {"Content-Type": EVENT_TYPE, DESTINATION: witness}
            call = Call("PUT", f"{base}/", b"".join(parts), headers)
            return msgspec.structs.replace(one, sent=sent, whole=whole), call
        case Step.POLL:
            url = f"{base}{_RECEIPTS}?pre={outgoing.aid}&sn={outgoing.sn}"
            return one, Call("GET", url, headers={DESTINATION: witness})
        case _:
            # A witness that was cut gives no receipt, and refuses to be asked for one.
            path = "/" if one.delivery.cut else _RECEIPTS
            groups = [Group(GroupKind.CONTROLLER_SIGNATURES, shown.signatures)]
            if one.delivery.cut and shown.receipts:
                groups.append(Group(GroupKind.WITNESS_SIGNATURES, shown.receipts))
            if shown.source is not None:
                groups.append(Group(GroupKind.SOURCE_COUPLES, (shown.source,)))
            return one, _post(f"{base}{path}", witness, shown.event.raw, groups)


def _post(url: str, witness: Aid, body: bytes, groups: Iterable[Group]) -> Call:
    headers = {
        "Content-Type": EVENT_TYPE,
        ATTACHMENT: write_groups(groups).decode(),
        DESTINATION: witness,
    }
    return Call("POST", url, body, headers)


def _read(wallet: Wallet, one: _Try, answer: Answer | TransportError) -> _Outcome:
    """Return what an answer comes to."""
    delivery, now = one.delivery, wallet.now()
    if isinstance(answer, TransportError):
        return _Outcome(delivery.failed(answer.code, answer.message, now))
    good = _OK <= answer.status < 300  # noqa: PLR2004 - successes of HTTP
    if one.tells and good:
        told = tuple(sorted({*delivery.told, *one.tells}))
        return _Outcome(msgspec.structs.replace(delivery.advanced(Step.DONE), told=told))
    refused = 400 <= answer.status < 500 and answer.status not in _LATER  # noqa: PLR2004 - as above
    if delivery.step is Step.INTRODUCE and (good or refused):
        # What it does not take of the introduction may not matter: its answer to the event tells.
        step = Step.SUBMIT if one.whole else Step.INTRODUCE
        after = _introduced(delivery, step)
        return _Outcome(msgspec.structs.replace(after, sent=one.sent))
    if delivery.cut and good:
        return _Outcome(delivery.advanced(Step.DONE))
    if answer.status == _CONFLICT:
        what = "it answers that it has another event at this place"
        return _Outcome(delivery.failed(ErrorCode.ANSWER, what, now), conflict=True)
    if answer.status == _OK and not one.tells:
        return _read_receipts(wallet, one, answer)
    return _Outcome(_read_refusal(one, answer, now))


def _read_refusal(one: _Try, answer: Answer, now: datetime) -> Delivery:
    """Return the work for a witness that gave no receipt."""
    delivery = one.delivery
    if answer.status == _ESCROWED:
        what = "it holds the event back until it knows what is missing"
        waits = delivery.failed(ErrorCode.ANSWER, what, now)
        return msgspec.structs.replace(waits, step=Step.POLL)
    if answer.status == _FORBIDDEN and not one.tells and not delivery.cut:
        what = "it does not let this identifier in"
        if delivery.invitation:
            what = "it does not take the invitation: the code is wrong, used up or expired"
        return _anew(delivery.failed(ErrorCode.NOT_ADMITTED, what, now))
    what = f"it answers with HTTP status {answer.status}{_WORDS.get(answer.status, '')}"
    failed = delivery.failed(ErrorCode.ANSWER, what, now, at_least=_retry_after(answer))
    return _anew(failed) if delivery.step is Step.POLL else failed


def _read_receipts(wallet: Wallet, one: _Try, answer: Answer) -> _Outcome:
    """Take the receipts out of an answer; there must be one of the witness itself.

    Nothing else of what a witness sends is taken in: neither receipts by strangers nor receipts
    for other events.
    """
    outgoing, delivery = one.outgoing, one.delivery
    claims, other = Claims(), False
    try:
        for message in messages_in(answer.body):
            parsed = parse_message(message, DEFAULT_LIMITS)
            if not isinstance(parsed, Receipt):
                continue
            if (parsed.aid, parsed.sn) == (outgoing.aid, outgoing.sn):
                other |= parsed.said != outgoing.said
            if parsed == Receipt(outgoing.aid, outgoing.sn, outgoing.said):
                claims = claims.merged(_of_witness(gather(message.groups).claims, delivery.witness))
    except KeysteadError as error:
        return _Outcome(delivery.failed(error.code, error.message, wallet.now()))
    shown = _shown(wallet, outgoing)
    proven = verified_witness_signatures(
        shown.event.raw, claims.witness_signatures, claims.couples, shown.witnesses
    )
    if delivery.witness in shown.receipted | {shown.witnesses[one.index] for one in proven}:
        return _Outcome(delivery.advanced(Step.DONE), proven)
    what = "its answer holds no receipt of its own that verifies"
    if other:
        what = "its receipt is for another event at this place"
    failed = delivery.failed(ErrorCode.ANSWER, what, wallet.now())
    if delivery.step is Step.POLL:
        failed = _anew(failed)
    return _Outcome(failed, conflict=other)


def _introduced(delivery: Delivery, step: Step) -> Delivery:
    """Return the work for a witness after an introduction, which the event has to follow.

    Whoever is introduced again and again is left alone for longer each time.
    """
    return msgspec.structs.replace(delivery.advanced(step), attempts=delivery.attempts)


def _anew(failed: Delivery) -> Delivery:
    """Return the work for a witness that holds an event back: it may lack what comes before."""
    return msgspec.structs.replace(failed, step=Step.INTRODUCE, log=True, sent=0)


def _of_witness(claims: Claims, witness: Aid) -> Claims:
    """Leave out signatures by others than witnesses; those with a place are checked by it."""
    couples = tuple(one for one in claims.couples if one.key.text == witness)
    return Claims(witness_signatures=claims.witness_signatures, couples=couples[:1])


def _keep(wallet: Wallet, one: _Try, came: _Outcome) -> int:
    """Write down what came of a step, inside a transaction; return how many receipts are new."""
    outgoing = one.outgoing
    shown = find_shown(wallet, outgoing.aid, outgoing.said)
    if shown is None:
        return 0  # another request took its place meanwhile
    fresh = [x for x in came.receipts if shown.witnesses[x.index] not in shown.receipted]
    if fresh and shown.accepted:
        put_receipts(wallet, shown.event, Claims(witness_signatures=tuple(fresh)))
    elif fresh:
        put_pending_receipts(wallet, outgoing.aid, fresh)
    delivery = came.delivery
    if delivery.cut and delivery.attempts >= MOST_FAREWELLS:
        delivery = msgspec.structs.replace(delivery, step=Step.CANCELLED)
    put_delivery(wallet, outgoing, delivery)
    return len(fresh)


def put_delivery(wallet: Wallet, outgoing: Outgoing, delivery: Delivery) -> None:
    """Write down how far the work for one witness is, inside a transaction.

    What the owner gave up meanwhile stays so, and what another command learned is not forgotten.
    """

    def merged(now: Outgoing) -> Iterator[Delivery]:
        for known in now.deliveries:
            if (
                known.witness != delivery.witness
                or known.step in (Step.CANCELLED, Step.REFUSED)
                or (known.step is Step.DONE and delivery.step is not Step.DONE)
            ):
                yield known
            else:
                told = tuple(sorted({*known.told, *delivery.told}))
                # Another command may have been given a code.
                code = known.invitation
                yield msgspec.structs.replace(delivery, told=told, invitation=code)

    shown = _shown(wallet, outgoing)
    # What has evidence is on the log.
    note = Note("witnessing", evidence=outgoing.said if shown.accepted else "")
    change_deliveries(wallet, outgoing, merged, note)


def _next_at(wallet: Wallet, left: Iterable[Outgoing]) -> datetime | None:
    """Return when the next try is due."""
    times = []
    for outgoing in left:
        shown = find_shown(wallet, outgoing.aid, outgoing.said)
        for one in () if shown is None else outgoing.deliveries:
            tells = shown is not None and tellable(shown, one)
            if one.step not in ENDED or tells:
                at = datetime.fromisoformat(one.next_at) if one.next_at else wallet.now()
                times.append(at)
    return min(times, default=None)


def _shown(wallet: Wallet, outgoing: Outgoing) -> Shown:
    shown = find_shown(wallet, outgoing.aid, outgoing.said)
    assert shown is not None  # noqa: S101 - the caller looked
    return shown


def _retry_after(answer: Answer) -> timedelta:
    """Return how long a peer wants to be left alone; it may tell a date instead, which is nothing."""
    told = answer.headers.get("retry-after", "")
    return timedelta(seconds=int(told)) if _SECONDS.fullmatch(told) else timedelta()
