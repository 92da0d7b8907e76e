"""What `keystead id` tells, for people and for programs."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from keystead.cli.output import printable
from keystead.custody.states import State
from keystead.keri import build
from keystead.keri.keystate import AcceptedEvent, Establishment
from keystead.owner.discovery import locations
from keystead.owner.exporting import outgoing
from keystead.owner.outbox import submissions
from keystead.owner.settlement import why_behind
from keystead.owner.wallet import IdentifierRecord, Wallet
from keystead.owner.witnesses import Shown, is_witnessed, shown, shown_pending

if TYPE_CHECKING:
    from keystead.ports.keys import Mark

_LATEST: Final = 10  # events that are shown
_TRAITS: Final = {"EO": "establishment only", "DND": "do not delegate"}


class Overview(msgspec.Struct, frozen=True, gc=False):
    """One identifier, as a list shows it.

    Attributes:
        name: what the owner calls it.
        aid: the identifier.
        state: `active`; `abandoned` or `fixed`, when nothing can follow; `waiting` for its
            delegator; `unfinished` by a crash; `behind` its published log, or perhaps so;
            `unwitnessed`, when its last event lacks receipts.
        sn: place of the last event, hexadecimal; None when there is none.
        said: digest of the last event.
        next_sn: place of the event that comes next; None when nothing can follow.
    """

    name: str
    aid: str
    state: str
    sn: str | None
    said: str | None
    next_sn: str | None
    receipts: int | None
    witness_threshold: int | None


def overview(wallet: Wallet, record: IdentifierRecord, mark: "Mark | None") -> Overview:
    """Return how one identifier stands: by the last event of its log, and one that waits."""
    last = _last(wallet, record)
    pending = shown_pending(wallet, record) if record.pending else None
    newest = pending or (None if last is None else shown(last))
    counts = (None, None) if newest is None else _receipts(newest)
    if last is None:
        return Overview(record.name, record.aid, "waiting", None, None, "0", *counts)
    state = last.state
    standing: str = "active"
    following: str | None = f"{state.sn + 1:x}"
    if not state.establishment.transferable:
        standing, following = "abandoned" if state.sn else "fixed", None
    elif record.pending:
        standing = "waiting"
    elif why_behind(record, state, mark):
        standing = "behind"
    elif mark is not None and mark.sn > state.sn:
        standing = "unfinished"
    elif not is_witnessed(last):
        standing = "unwitnessed"
    return Overview(
        record.name,
        record.aid,
        standing,
        f"{state.sn:x}",
        state.said,
        following,
        *counts,
    )


def overviews(wallet: Wallet) -> list[Overview]:
    """Return how all identifiers stand, in the order in which they were made."""
    records = wallet.identifiers()
    marks = wallet.vault.marks([record.aid for record in records])
    return [overview(wallet, record, mark) for record, mark in zip(records, marks, strict=True)]


def overview_of(wallet: Wallet, record: IdentifierRecord) -> Overview:
    """Return how one identifier of a wallet stands."""
    (mark,) = wallet.vault.marks([record.aid])
    return overview(wallet, record, mark)


def overview_value(one: Overview) -> dict[str, Any]:
    """Return an overview as JSON values."""
    return msgspec.structs.asdict(one)


def overview_line(one: Overview) -> str:
    """Return an overview as a line; the name, of any width, comes last."""
    place = "-" if one.sn is None else one.sn
    return f"{one.aid}  {place:>4}  {one.state:<10}  {printable(one.name)}"


def details(wallet: Wallet, record: IdentifierRecord) -> dict[str, Any]:
    """Return all that there is to tell of one identifier, as JSON values."""
    state = wallet.events.key_state(record.aid)
    value = overview_value(overview_of(wallet, record))
    value["created_at"] = record.created_at
    last = None if state is None else state.establishment
    value["keys"] = [] if last is None else _keys(wallet, last)
    value["threshold"] = None if last is None else last.signing_threshold.field
    value["next_keys"] = [] if last is None else _next_keys(wallet, last)
    value["next_threshold"] = None if last is None else last.next_threshold.field
    value["traits"] = [] if last is None else list(last.configuration_traits)
    value["delegator"] = _pending_delegator(record) if last is None else last.delegator
    value["witnesses"] = [] if last is None else list(last.witnesses)
    value["locations"] = {one: locations(wallet.events, one) for one in value["witnesses"]}
    value["unwitnessed"] = [f"{one.sn:x}" for one in submissions(wallet, record.aid)]
    value["pending"] = _pending(record)
    value["outgoing"] = [f"{one.sn:x}" for one in outgoing(wallet, record.aid)]
    first = 0 if state is None else max(0, state.sn + 1 - _LATEST)
    value["events"] = [event_value(one) for one in wallet.events.events(record.aid, first_sn=first)]
    return value


def event_value(accepted: AcceptedEvent) -> dict[str, Any]:
    """Return an event of the log as JSON values."""
    event = accepted.event
    return {
        "sn": f"{event.sn:x}",
        "type": event.message_type,
        "said": event.said,
        "accepted_at": accepted.first_seen_at,
        "anchors": len(event.anchors),
        "receipts": _receipts(shown(accepted))[0],
    }


def made_value(
    wallet: Wallet, record: IdentifierRecord, accepted: AcceptedEvent | None, *, repeated: bool
) -> dict[str, Any]:
    """Return the event that a command made as JSON values.

    Args:
        wallet: whose.
        record: the identifier.
        accepted: the event; None when it waits for the delegator.
        repeated: it was there before.
    """
    told = shown_pending(wallet, record) if accepted is None else shown(accepted)
    count, needed = _receipts(told)
    if accepted is None:
        event = _pending(record)
        assert event is not None  # noqa: S101 - an event that is not accepted waits
    else:
        event = {
            "sn": f"{accepted.event.sn:x}",
            "type": accepted.event.message_type,
            "said": accepted.event.said,
        }
    return {
        "name": record.name,
        "aid": record.aid,
        **event,
        "waiting": accepted is None,
        "repeated": repeated,
        "receipts": count,
        "witness_threshold": needed,
    }


def made_lines(value: dict[str, Any]) -> Iterator[str]:
    """Give what a command made line by line."""
    name = printable(value["name"])
    event = f"event {value['sn']} ({value['type']}) {value['said']}"
    if value["repeated"]:
        yield f"{name} has {event} already; nothing was done"
    if value["waiting"]:
        yield f"{name}: {event} waits for its delegator"
        if value["witness_threshold"]:
            yield f"receipts: {value['receipts']}, needs {value['witness_threshold']}"
        yield f"next: keystead delegation request {quoted(name)}"
        return
    if not value["repeated"]:
        yield f"{name}: {event}"
    if value["witness_threshold"]:
        yield f"receipts: {value['receipts']}, needs {value['witness_threshold']}"
    yield _next_line(name, value["receipts"], value["witness_threshold"])


def created_lines(one: Overview, keys: int) -> Iterator[str]:
    """Give what is told of a new identifier line by line."""
    name = printable(one.name)
    yield f"{name} is {one.aid}"
    if one.state == "waiting":
        yield "its delegator has to approve it before it can be used"
        if one.witness_threshold:
            yield f"receipts: {one.receipts}, needs {one.witness_threshold}"
        yield f"next: keystead delegation request {quoted(name)}"
        return
    yield f"event {one.sn} of its log puts {keys} {_plural('key', keys)} in force"
    if one.witness_threshold:
        yield f"receipts: {one.receipts}, needs {one.witness_threshold}"
    yield _next_line(name, one.receipts, one.witness_threshold)


def _next_line(name: str, count: int | None, needed: int | None) -> str:
    if count is not None and needed is not None and count < needed:
        return f"next: keystead outbox run {quoted(name)}"
    return f"next: keystead id export {quoted(name)} -o FILE, for those who verify it"


def quoted(name: str) -> str:
    """Return a name as it is typed in a shell."""
    return shlex.quote(name)


def detail_lines(value: dict[str, Any]) -> Iterator[str]:
    """Give the details of an identifier line by line."""
    yield printable(value["name"])
    yield f"  identifier:  {value['aid']}"
    yield f"  state:       {_state_text(value)}"
    if value["sn"] is not None:
        yield f"  last event:  {value['sn']} {value['said']}"
    yield f"  made:        {value['created_at']}"
    yield from _key_lines("keys", value["keys"], value["threshold"])
    yield from _key_lines("next keys", value["next_keys"], value["next_threshold"])
    if value["traits"]:
        yield f"  traits:      {', '.join(_TRAITS.get(one, one) for one in value['traits'])}"
    if value["delegator"]:
        yield f"  delegator:   {value['delegator']}"
    for witness in value["witnesses"]:
        places = " ".join(map(printable, value["locations"][witness])) or "nobody knows where"
        yield f"  witness:     {witness}  {places}"
    if value["witness_threshold"]:
        needed = value["witness_threshold"]
        yield f"  receipts:    the last event has {value['receipts']}, needs {needed}"
    if value["unwitnessed"]:
        places = ", ".join(value["unwitnessed"])
        yield f"  outbox:      witnesses miss something of {places}: see keystead outbox list"
    if value["pending"]:
        pending = value["pending"]
        yield f"  waiting:     {pending['type']} {pending['sn']} {pending['said']}"
    if value["outgoing"]:
        count = len(value["outgoing"])
        yield f"  outgoing:    {count} {_plural('event', count)} that nobody outside has seen yet"
    for place, one in enumerate(value["events"]):
        label = "events:" if place == 0 else ""
        anchors = f", {one['anchors']} {_plural('seal', one['anchors'])}" if one["anchors"] else ""
        if one["receipts"]:
            anchors += f", {one['receipts']} {_plural('receipt', one['receipts'])}"
        yield f"  {label:<11}  {one['sn']} {one['type']} {one['accepted_at']}{anchors}"


def threshold_text(field: Any) -> str:  # noqa: ANN401 - JSON of a threshold
    """Return a threshold as the options take it."""
    if isinstance(field, str):
        return str(int(field, 16))
    clauses = field if field and all(isinstance(one, list) for one in field) else [field]
    if any(not isinstance(part, str) for clause in clauses for part in clause):
        return msgspec.json.encode(field).decode()
    return ":".join(",".join(clause) for clause in clauses)


def _keys(wallet: Wallet, last: Establishment) -> list[dict[str, Any]]:
    found = []
    for public in last.signing_keys:
        key = wallet.key(build.commitment(public))
        found.append(
            {
                "id": build.commitment(public),
                "public_key": public.text,
                "algorithm": public.suite.value,
                "state": None if key is None else key.state.value,
                "expires_at": (key and key.expires_at) or None,
            }
        )
    return found


def _next_keys(wallet: Wallet, last: Establishment) -> list[dict[str, Any]]:
    known = [(digest, wallet.key(digest)) for digest in last.next_key_digests]
    return [
        {
            "id": digest,
            "own": key is not None and bool(key.uri),
            "state": State.RESERVE.value if key is None else key.state.value,
        }
        for digest, key in known
    ]


def _pending(record: IdentifierRecord) -> dict[str, Any] | None:
    if not record.pending:
        return None
    fields = msgspec.json.decode(record.pending)
    return {"sn": fields["s"], "type": fields["t"], "said": fields["d"]}


def _pending_delegator(record: IdentifierRecord) -> str | None:
    delegator: str | None = msgspec.json.decode(record.pending or "{}").get("di")
    return delegator


def _last(wallet: Wallet, record: IdentifierRecord) -> AcceptedEvent | None:
    state = wallet.events.key_state(record.aid)
    return None if state is None else wallet.events.event(record.aid, state.sn)


def _receipts(event: Shown) -> tuple[int | None, int | None]:
    """Return how many receipts an event has and needs; None without witnesses."""
    return (len(event.receipted), event.threshold) if event.witnesses else (None, None)


_STATES: Final = {
    "unwitnessed": "its last event lacks receipts of witnesses: see keystead outbox list",
    "abandoned": "abandoned: nothing can follow",
    "fixed": "made without next keys: nothing can follow",
    "waiting": "waiting for its delegator",
    "unfinished": "a crash left an event unfinished; the next command for it finishes it",
    "behind": "perhaps behind its published log: see keystead id reconcile --help",
}


def _state_text(value: dict[str, Any]) -> str:
    state: str = value["state"]
    return _STATES.get(state, state)


def _key_lines(label: str, keys: Sequence[dict[str, Any]], threshold: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    if not keys:
        return
    needed = f"  threshold {threshold_text(threshold)}" if len(keys) > 1 else ""
    for place, key in enumerate(keys):
        head = f"{label}:" if place == 0 else ""
        told = key.get("public_key", key["id"])
        more = key["state"] or "not of this wallet"
        if "own" in key and not key["own"]:
            more = "in reserve, kept by others"
        if key.get("expires_at"):
            more += f", to be replaced by {key['expires_at'][:10]}"
        yield f"  {head:<11}  {told}  {more}{needed if place == 0 else ''}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
