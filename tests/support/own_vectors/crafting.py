"""Makes events with one fault, and what a verifier must hold after a stream of them.

What is expected follows from what each frame declares and from the accepted bodies, read as
plain JSON: no code under test has a part in it.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from keystead.cesr import base64
from keystead.cesr.indexed import IndexedSignature
from keystead.testing.authoring import Author, KeyPair, Signed

# An ordered field map, or any other parsed JSON.
Json = dict[str, Any]
Edit = Callable[[Json], object]
TextEdit = Callable[[bytes], bytes]

FILL = b"#" * 44
_VERSION = re.compile(rb"(KERI10(?:JSON|CBOR|MGPK))[0-9a-f]{6}_")


@dataclass(frozen=True)
class Body:
    """The body of an event.

    Attributes:
        raw: its bytes.
        said: the digest in it, which is right for these bytes.
    """

    raw: bytes
    said: str


@dataclass(frozen=True)
class Frame:
    """A part of a stream and what must become of it.

    Attributes:
        raw: body and attachments, or bytes that are no message.
        body: the body alone.
        said: digest of the event, empty for what is no message.
        final: `accepted`, `dropped`, `incomplete`, `escrowed:` with the kind, or `copy` for a
            copy of an accepted event and `garbage` for what is no message.
        reason: class of the fault, from the README of the vectors.
        receiptors: others than witnesses whose receipts wait with the event.
    """

    raw: bytes
    body: bytes = b""
    said: str = ""
    final: str = "accepted"
    reason: str = ""
    receiptors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One case of a family.

    Attributes:
        name: of the fault; with the family it is the identity.
        title: one line of prose.
        feeds: streams, as frames.
        other: another acceptable result: the frames that it accepts besides, as digests.
        whole: bytes of the first feed, when they are not just its frames.
    """

    name: str
    title: str
    feeds: Sequence[Sequence[Frame]]
    other: Sequence[Sequence[Frame]] = field(default=())
    whole: bytes | None = None


def address(text: bytes, *, lie: Callable[[int], int] = lambda size: size) -> Body:
    """Complete a body that has a version string, and `FILL` where its digest goes.

    Args:
        text: the body.
        lie: makes the size to state of the true one.
    """
    sized = _VERSION.sub(rb"\g<1>%06x_" % lie(len(text)), text, count=1)
    said = base64.encode(b"\0" + blake3(sized).digest()).decode()
    said = "E" + said[1:]
    return Body(sized.replace(FILL, said.encode()), said)


def write(fields: Json) -> bytes:
    """Write a field map as JSON with its digest fields to be filled."""
    fields = dict(fields)
    if fields["i"] == fields["d"]:
        fields["i"] = FILL.decode()
    fields["d"] = FILL.decode()
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def altered(
    event: Signed,
    edit: Edit | None = None,
    *,
    text: TextEdit | None = None,
    lie: Callable[[int], int] = lambda size: size,
) -> Body:
    """Return the body of an event with one change and its digest made right again.

    Args:
        event: a good event.
        edit: changes its field map.
        text: changes its text; the digest fields hold `FILL` then.
        lie: changes the size in its version string.
    """
    fields = json.loads(event.event.raw)
    if edit is not None:
        edit(fields)
    written = write(fields)
    if text is not None:
        changed = text(written)
        if changed == written:
            raise ValueError("the change changes nothing")
        written = changed
    return address(written, lie=lie)


def replacing(old: bytes, new: bytes) -> TextEdit:
    """Return the change of the first `old` to `new`."""
    return lambda text: text.replace(old, new, 1)


def setting(**values: object) -> Edit:
    """Return the change of fields to other values."""
    return lambda fields: fields.update(values)


def counter(code: str, count: int, digits: int = 2) -> bytes:
    """Write a count code."""
    return (code + base64.from_int(count, digits)).encode()


def group(code: str, items: Iterable[bytes]) -> bytes:
    """Write a group that counts its items."""
    listed = list(items)
    return counter(code, len(listed)) + b"".join(listed)


def signatures(raw: bytes, pairs: Sequence[KeyPair], code: str = "-A") -> bytes:
    """Write a group of the signatures of all `pairs`, at their places in both lists."""
    return group(code, [place(pair, raw, at) for at, pair in enumerate(pairs)])


def place(
    pair: KeyPair, raw: bytes, index: int, ondex: int | None = None, *, current_only: bool = False
) -> bytes:
    """Write the signature of a pair at a place; the second index is the same unless given."""
    second = index if ondex is None else ondex
    signature = pair.indexed(raw, index, second, current_only=current_only)
    return signature.text.encode()


def big(signature: bytes) -> bytes:
    """Write an Ed25519 signature of code `A` under the big code `2A`, with the same places."""
    index = base64.to_int(signature[1:2])
    raw = base64.decode(b"AA" + signature[2:])[1:]
    again = IndexedSignature("2A", index, index, raw[-64:])
    return again.text.encode()


def couple(pair: KeyPair, raw: bytes) -> bytes:
    """Write the key and the signature of a non-transferable identifier."""
    one = pair.couple(raw)
    return (one.key.text + one.signature.primitive.text).encode()


def frame(inner: bytes) -> bytes:
    """Write attachments in a frame."""
    return counter("-V", len(inner) // 4) + inner


def good(event: Signed) -> Frame:
    """Return a good event, its attachments in a frame, which must be accepted."""
    return Frame(event.framed, event.event.raw, event.event.said)


def bare(event: Signed) -> Frame:
    """Return a good event with bare attachments, which must be accepted."""
    return Frame(event.raw, event.event.raw, event.event.said)


def accepted(body: Body, attached: bytes) -> Frame:
    """Return an event that looks odd but must be accepted."""
    return Frame(body.raw + attached, body.raw, body.said)


def dropped(body: Body, attached: bytes, reason: str) -> Frame:
    """Return an event that must be dropped."""
    return Frame(body.raw + attached, body.raw, body.said, "dropped", reason)


def held(body: Body, attached: bytes, kind: str, reason: str) -> Frame:
    """Return an event that must wait."""
    return Frame(body.raw + attached, body.raw, body.said, f"escrowed:{kind}", reason)


def signed_by(author: Author, body: Body, generation: int = 0) -> bytes:
    """Write the signatures of an author's keys over a body."""
    return signatures(body.raw, author.pairs(generation))


def bystander() -> Frame:
    """Return the inception of somebody else, which must survive whatever comes before it."""
    return good(Author("bystander").incept())


def expectation(feeds: Sequence[Sequence[Frame]]) -> Json:
    """Return what a verifier must hold after these feeds, and the fate of each frame."""
    events: list[Json] = []
    states: dict[str, Json] = {}
    logs: dict[str, list[str]] = {}
    escrows: list[Json] = []
    for number, frames in enumerate(feeds):
        offset = 0
        for one in frames:
            entry: Json = {"i": len(events), "off": offset, "len": len(one.raw)}
            offset += len(one.raw)
            if len(feeds) > 1:
                entry["feed"] = number
            events.append(entry | _fate(one))
            if one.said and one.final == "accepted":
                _advance(states, logs, json.loads(one.body))
            if one.final.startswith("escrowed:"):
                kind = one.final.removeprefix("escrowed:")
                where = _place_of(json.loads(one.body))
                escrows.append({"kind": kind, **where})
                for receiptor in one.receiptors:
                    other = {"kind": "unverified-receipt-nontrans", **where}
                    escrows.append({**other, "receiptor": receiptor})
    return {
        "events": events, "states": states, "kel": logs, "superseded": {}, "first_seen": {},
        "escrows": escrows,
    }  # fmt: skip


_ARRIVALS = {"accepted": "ok", "copy": "duplicate", "dropped": "rejected", "garbage": "rejected"}


def _fate(one: Frame) -> Json:
    entry: Json = {}
    try:
        fields = json.loads(one.body)
        entry |= {"ilk": fields["t"], **_place_of(fields)}
    except (ValueError, KeyError, RecursionError):
        if one.said:
            entry["said"] = one.said
    arrival = one.final.partition(":")[0]
    entry["arrival"] = _ARRIVALS.get(arrival, arrival)
    if one.reason:
        entry["reason"] = one.reason
    if arrival in ("accepted", "dropped", "escrowed"):
        entry["final"] = one.final
    return entry


def _place_of(fields: Json) -> Json:
    return {"aid": fields["i"], "sn": fields["s"], "said": fields["d"]}


def _advance(states: dict[str, Json], logs: dict[str, list[str]], event: Json) -> None:
    """Apply an accepted event to the state of its log."""
    aid, said = event["i"], event["d"]
    before = states.get(aid, {"b": [], "c": [], "di": ""})
    logs.setdefault(aid, []).append(said)
    state: Json = {
        "i": aid, "s": event["s"], "p": event.get("p", ""), "d": said,
        "f": f"{len(logs[aid]) - 1:x}", "et": event["t"],
    }  # fmt: skip
    if event["t"] == "ixn":
        kept = ("kt", "k", "nt", "n", "bt", "b", "c", "ee", "di")
        states[aid] = state | {label: before[label] for label in kept}
        return
    removed = event.get("br", [])
    added = event["ba"] if "ba" in event else event["b"]
    witnesses = [one for one in before["b"] if one not in removed]
    witnesses += [one for one in added if one not in witnesses]
    inception = "b" in event
    states[aid] = state | {
        "kt": event["kt"], "k": event["k"], "nt": event["nt"], "n": event["n"],
        "bt": event["bt"], "b": witnesses, "c": event["c"] if inception else before["c"],
        "ee": {"s": event["s"], "d": said, "br": removed, "ba": [] if inception else added},
        "di": event.get("di", before["di"]),
    }  # fmt: skip
