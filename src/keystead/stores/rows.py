"""What the rows of a database hold: values to bytes and text, and back.

Messages are kept as the bytes that were signed and read again each time. They were within the
limits of their time when they came, so they are read without any.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, TypeVar, cast

import msgspec

from keystead.cesr import base64
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, Item, read_framed
from keystead.cesr.keys import Aid, Digest, Said, parse_key
from keystead.cesr.stream import Message
from keystead.cesr.versions import HEAD_BYTES, read_head
from keystead.cesr.writing import write_groups
from keystead.errors import ErrorCode, KeysteadError, StoreError
from keystead.keri import forms, thresholds
from keystead.keri.attachments import Claims, Proofs, Signatures, SignedEvent
from keystead.keri.escrow import (
    Held,
    HeldKey,
    Missing,
    Waiting,
    WaitingMessage,
    WaitingReceipts,
    Want,
)
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import Establishment
from keystead.keri.messages import AnyMessage, Reply, RoutedMessage, parse_message
from keystead.keri.routed import Record, parse_statement
from keystead.limits import Limits
from keystead.stores.escrow import is_verified

S = TypeVar("S", bound=Signatures)
Row = tuple[Any, ...]

_ENDLESS: Final = 1 << 62
NO_LIMITS: Final = Limits(
    body=_ENDLESS,
    attachments=_ENDLESS,
    depth=_ENDLESS,
    members=_ENDLESS,
    keys=_ENDLESS,
    witnesses=_ENDLESS,
    anchors=_ENDLESS,
    url=_ENDLESS,
)
_DECODE: Final = forms.decoder(NO_LIMITS)
_TO_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode
_LONGEST_REASON: Final = 120
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def checksum(*values: object) -> bytes:
    """Return SHA-256 over the values of a row, by which damage is found."""
    parts: list[bytes] = []
    for value in values:
        if isinstance(value, bytes):
            parts += (b"1:%d:" % len(value), value)
        else:
            data = repr(value).encode()
            parts += (b"0:%d:" % len(data), data)
    return sha256(b"".join(parts)).digest()


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Say what is damaged, when something that was kept cannot be read or be right.

    Raises:
        StoreError: it was changed (store.corrupt); the fields "where" and "what" tell it too.
    """
    try:
        yield
    except StoreError:
        raise
    except (KeysteadError, msgspec.MsgspecError, ValueError, TypeError, LookupError) as error:
        what = error.message if isinstance(error, KeysteadError) else str(error)
        what = what.partition("\n")[0][:_LONGEST_REASON]
        message = f"{where} was changed: {what}"
        raise StoreError(ErrorCode.STORE_CORRUPT, message, where=where, what=what) from error


def check_row(stored: object, *values: object) -> None:
    """Compare the checksum of a row.

    Raises:
        ValueError: it is another.
    """
    if stored != checksum(*values):
        raise ValueError("the checksum differs")


def to_json(value: object) -> str:
    """Write lists, texts and numbers of any size."""
    return _TO_JSON(value)


def to_proofs(signatures: Signatures) -> bytes:
    """Write signatures as CESR groups; nothing when there are none."""
    listed: tuple[tuple[GroupKind, tuple[Item, ...]], ...] = (
        (GroupKind.CONTROLLER_SIGNATURES, signatures.signatures),
        (GroupKind.WITNESS_SIGNATURES, signatures.witness_signatures),
        (GroupKind.RECEIPT_COUPLES, signatures.couples),
        (GroupKind.SIGNATURE_GROUPS, signatures.endorsements),
    )
    return write_groups(Group(kind, items) for kind, items in listed if items)


def from_proofs(data: bytes, make: type[S]) -> S:
    """Read what `to_proofs` wrote.

    Raises:
        DecodeError: it was changed.
    """
    found: dict[GroupKind, tuple[Any, ...]] = {
        group.kind: group.items for group in read_framed(base64.decode(data), NO_LIMITS)
    }
    return make(
        found.get(GroupKind.CONTROLLER_SIGNATURES, ()),
        found.get(GroupKind.WITNESS_SIGNATURES, ()),
        found.get(GroupKind.RECEIPT_COUPLES, ()),
        found.get(GroupKind.SIGNATURE_GROUPS, ()),
    )


def from_raw(raw: bytes) -> AnyMessage:
    """Read a message, which checks its digest and everything that can be told from it alone.

    Raises:
        DecodeError, VerificationError: it was changed.
    """
    protocol, kind, _ = read_head(raw[:HEAD_BYTES])
    content = _DECODE(raw, kind)
    return parse_message(Message(protocol, kind, content, raw, (), 0, len(raw)), NO_LIMITS)


def to_event(raw: bytes) -> AnyKeyEvent:
    """Read a key event; as `from_raw`."""
    return cast("AnyKeyEvent", from_raw(raw))


def to_state(establishment: Establishment) -> bytes:
    """Write what an establishment event set, as it is spelled in messages."""
    it = establishment
    return msgspec.msgpack.encode(
        (
            it.sn, it.said,
            it.signing_threshold.field, [key.text for key in it.signing_keys],
            it.next_threshold.field, it.next_key_digests,
            it.witness_threshold, it.witnesses, it.witnesses_removed, it.witnesses_added,
            it.configuration_traits, it.delegator,
        )
    )  # fmt: skip


class _State(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """`Establishment` as it is written."""

    sn: int
    said: str
    signing_threshold: Any
    signing_keys: tuple[str, ...]
    next_threshold: Any
    next_key_digests: tuple[str, ...]
    witness_threshold: int
    witnesses: tuple[str, ...]
    witnesses_removed: tuple[str, ...]
    witnesses_added: tuple[str, ...]
    configuration_traits: tuple[str, ...]
    delegator: str | None


_STATE: Final = msgspec.msgpack.Decoder(_State)


@lru_cache(maxsize=64)  # events of one log share it, and the largest have 26 KB
def from_state(data: bytes) -> Establishment:
    """Read what `to_state` wrote.

    Raises:
        msgspec.DecodeError, DecodeError, VerificationError: it was changed.
    """
    it = _STATE.decode(data)
    return Establishment(
        it.sn,
        Said(Digest(it.said)),
        thresholds.parse(it.signing_threshold, len(it.signing_keys)),
        tuple([parse_key(text) for text in it.signing_keys]),
        thresholds.parse(it.next_threshold, len(it.next_key_digests)),
        cast("tuple[Digest, ...]", it.next_key_digests),
        it.witness_threshold,
        cast("tuple[Aid, ...]", it.witnesses),
        cast("tuple[Aid, ...]", it.witnesses_removed),
        cast("tuple[Aid, ...]", it.witnesses_added),
        it.configuration_traits,
        None if it.delegator is None else Aid(it.delegator),
    )


def to_record(raw: bytes, proofs: bytes, signer_sn: int | None) -> Record:
    """Read a statement.

    Raises:
        DecodeError, VerificationError: it was changed.
    """
    reply = cast("Reply", from_raw(raw))
    statement = parse_statement(reply, NO_LIMITS)
    return Record(statement, reply, signer_sn, from_proofs(proofs, Proofs))


def log_of(key: HeldKey) -> Aid:
    """Return the log that an entry of the escrow is about, as its key tells it."""
    return Aid(key[1] or key[4].split(" ")[0])


def to_missing(missing: Iterable[Missing]) -> str:
    """Write what an entry waits for."""
    return to_json(sorted([*one.key, one.detail] for one in missing))


def from_missing(text: str) -> frozenset[Missing]:
    """Read what `to_missing` wrote."""
    return frozenset([Missing(Want[want], *rest) for want, *rest in json.loads(text)])


def to_microseconds(time: datetime) -> int:
    """Write a time as microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """Read what `to_microseconds` wrote."""
    return _EPOCH + number * _MICROSECOND


def parts_of(waiting: Waiting) -> tuple[bytes, bytes, bytes, Said | None]:
    """Return body, unverified and verified signatures, and whose keys verified the latter."""
    match waiting:
        case SignedEvent(event, claims, proofs, under):
            return event.raw, to_proofs(claims), to_proofs(proofs), under
        case WaitingReceipts(claims=claims):
            return b"", to_proofs(claims), b"", None
        case it:
            claims = Claims(it.signatures, couples=() if it.couple is None else (it.couple,))
            proven = to_proofs(Proofs(it.proven))
            return it.message.raw, to_proofs(claims), proven, it.proven_under


def from_parts(
    key: HeldKey, raw: bytes, claims: bytes, proofs: bytes, under: str | None
) -> Waiting:
    """Make what waits of its parts.

    Raises:
        DecodeError, VerificationError: one of them was changed.
    """
    kind, aid, sn, said, signer = key
    claimed, proven = from_proofs(claims, Claims), from_proofs(proofs, Proofs)
    by = None if under is None else Said(Digest(under))
    if kind == "event":
        return SignedEvent(to_event(raw), claimed, proven, by)
    if kind == "receipts":
        return WaitingReceipts(Aid(aid), sn, Said(Digest(said)), claimed)
    name, _, named = signer.partition(" ")
    return WaitingMessage(
        cast("RoutedMessage", from_raw(raw)),
        Aid(name),
        None if sn < 0 else sn,
        Said(Digest(named)) if named else None,
        claimed.signatures,
        proven.signatures,
        by,
        claimed.couples[0] if claimed.couples else None,
    )


HELD_COLUMNS: Final = (
    "key, raw, claims, proofs, proven_under, missing, local, since, size, verified, checksum"
)


def share_of(waiting: Waiting) -> tuple[Aid, int]:
    """Return the log that something waits for, and whether it is a message of its controller."""
    return waiting.log, int(isinstance(waiting, WaitingMessage))


def from_held(held: Held) -> Row:
    """Write an entry of the escrow as its `HELD_COLUMNS`."""
    row = (
        to_json(held.key),
        *parts_of(held.waiting),
        to_missing(held.missing),
        int(held.local),
        to_microseconds(held.since),
        held.size,
        int(is_verified(held.waiting)),
    )
    return (*row, checksum(*row))


def to_held(row: Row) -> Held:
    """Make an entry of the escrow of its `HELD_COLUMNS`.

    Raises:
        StoreError: one of them was changed (store.corrupt).
    """
    key, raw, claims, proofs, under, missing, local, since, *_, stored = row
    with reading("an entry that waits"):
        check_row(stored, *row[:-1])
        waiting = from_parts(cast("HeldKey", tuple(json.loads(key))), raw, claims, proofs, under)
        return Held(waiting, from_missing(missing), bool(local), from_microseconds(since))
