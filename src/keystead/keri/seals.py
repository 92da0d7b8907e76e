"""Seals: commitments to other data in the anchor list of an event.

A seal is told by its exact labels in order. Anything else is data that KERI gives no meaning.

Source: KERI specification, "Seals".
"""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from keystead.cesr.keys import AID_PATTERN, DIGEST_PATTERN, Aid, Said
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
        if make is not None and all(isinstance(field, str) for field in value.values()):
            seal = make(*value.values())
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
            labels = next(labels for labels, make in _SEALS.items() if make is type(seal))
            return dict(zip(labels, msgspec.structs.astuple(seal), strict=True))


def _event_seal(aid: str, sn: str, said: str) -> EventSeal | None:
    number = parse_hex(sn)
    if number is None or not AID_PATTERN.fullmatch(aid) or not DIGEST_PATTERN.fullmatch(said):
        return None
    return EventSeal(Aid(aid), number, Said(said))


def _source_seal(sn: str, said: str) -> SourceSeal | None:
    number = parse_hex(sn)
    if number is None or not DIGEST_PATTERN.fullmatch(said):
        return None
    return SourceSeal(number, Said(said))


_SEALS: dict[tuple[str, ...], Callable[..., Seal | None]] = {
    ("d",): DigestSeal,
    ("rd",): RootSeal,
    ("s", "d"): _source_seal,
    ("i", "s", "d"): _event_seal,
    ("i",): LastSeal,
    ("bi", "d"): BackerSeal,
    ("t", "d"): TypedSeal,
}
