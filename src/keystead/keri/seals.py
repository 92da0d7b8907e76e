"""Seals: commitments to other data in the anchor list of an event.

A seal is told by its exact labels in order. Anything else is data that KERI gives no meaning.

Source: KERI specification, "Seals".
"""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from keystead.cesr.keys import DIGEST_PATTERN, Aid, Said, is_aid
from keystead.keri.numbers import parse_hex


class DigestSeal(msgspec.Struct, frozen=True, gc=False):
    """A digest of external data."""

    digest: str


class RootSeal(msgspec.Struct, frozen=True, gc=False):
    """The root of a Merkle tree."""

    root: str


class SourceSeal(msgspec.Struct, frozen=True, gc=False):
    """An event of an identifier that context tells."""

    sn: int
    said: Said


class EventSeal(msgspec.Struct, frozen=True, gc=False):
    """An event of a log, for instance a delegated one that is approved by this seal."""

    aid: Aid
    sn: int
    said: Said


class LastSeal(msgspec.Struct, frozen=True, gc=False):
    """The latest establishment event of an identifier."""

    aid: str


class BackerSeal(msgspec.Struct, frozen=True, gc=False):
    """Metadata of a registrar backer."""

    backer: str
    digest: str


class TypedSeal(msgspec.Struct, frozen=True, gc=False):
    """A digest with a versioned type."""

    type: str
    digest: str


class OtherData(msgspec.Struct, frozen=True, gc=False):
    """An anchored value without meaning in KERI; `text` is its compact JSON."""

    text: str


Seal: TypeAlias = (
    DigestSeal | RootSeal | SourceSeal | EventSeal | LastSeal | BackerSeal | TypedSeal | OtherData
)


def parse_seal(value: object) -> Seal:
    """Read one anchored value; what is no seal is kept as data."""
    if isinstance(value, dict):
        make = _SEALS.get(tuple(value))
        seal = None if make is None else make(*value.values())
        if seal is not None:
            return seal
    return OtherData(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def field_of(seal: Seal) -> Any:  # noqa: ANN401 - anchored data may be any JSON value
    """Return the value that stands for a seal in an anchor list."""
    match seal:
        case EventSeal(aid, sn, said):
            return {"i": aid, "s": f"{sn:x}", "d": said}
        case SourceSeal(sn, said):
            return {"s": f"{sn:x}", "d": said}
        case OtherData(text):
            return json.loads(text)
        case _:
            values = msgspec.structs.astuple(seal)
            return dict(zip(_LABELS[type(seal)], values, strict=True))


def _event_seal(aid: object, sn: object, said: object) -> EventSeal | None:
    if not (isinstance(aid, str) and isinstance(sn, str) and isinstance(said, str)):
        return None
    number = parse_hex(sn)
    if number is None or not is_aid(aid) or not DIGEST_PATTERN.fullmatch(said):
        return None
    return EventSeal(Aid(aid), number, Said(said))


def _source_seal(sn: object, said: object) -> SourceSeal | None:
    if not (isinstance(sn, str) and isinstance(said, str)):
        return None
    number = parse_hex(sn)
    if number is None or not DIGEST_PATTERN.fullmatch(said):
        return None
    return SourceSeal(number, Said(said))


def _of_text(make: Callable[..., Seal]) -> Callable[..., Seal | None]:
    """Make a reader of a seal whose fields may hold any text."""

    def read(*values: object) -> Seal | None:
        return make(*values) if all(isinstance(value, str) for value in values) else None

    return read


_LABELS: dict[type[Seal], tuple[str, ...]] = {
    # kind of seal -> its labels in order
    DigestSeal: ("d",),
    RootSeal: ("rd",),
    SourceSeal: ("s", "d"),
    EventSeal: ("i", "s", "d"),
    LastSeal: ("i",),
    BackerSeal: ("bi", "d"),
    TypedSeal: ("t", "d"),
}
_SEALS: dict[tuple[str, ...], Callable[..., Seal | None]] = {
    **{labels: _of_text(make) for make, labels in _LABELS.items()},
    _LABELS[SourceSeal]: _source_seal,
    _LABELS[EventSeal]: _event_seal,
}
