"""Key events: typed, frozen, and well-formed by construction.

An event in hand has exactly the fields of its type in their order, canonical numbers, keys and
digests, thresholds that its own lists can meet, and a SAID that was recomputed over its bytes.
Whether it fits a log is another question (`validation`).

Source: KERI specification, "Key event messages"; field order of version 1.0.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import msgspec

from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.keys import (
    AID_PATTERN,
    DIGEST_PATTERN,
    Aid,
    Digest,
    Said,
    VerificationKey,
    digest_code,
    parse_key,
)
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import thresholds
from keystead.keri.numbers import parse_hex
from keystead.keri.seals import Seal, parse_seal
from keystead.keri.thresholds import Threshold
from keystead.limits import Limits


class KeyEvent(msgspec.Struct, frozen=True, gc=False):
    """What all key events have.

    Attributes:
        raw: the bytes that were signed.
        said: digest of the event.
        aid: the identifier whose log the event belongs to.
        sn: place in the log, from 0.
        anchors: seals, in order.
    """

    message_type: ClassVar[str]

    raw: bytes
    said: Said
    aid: Aid
    sn: int
    anchors: tuple[Seal, ...]


class EstablishmentEvent(KeyEvent, frozen=True, gc=False):
    """What events have that set keys.

    Attributes:
        signing_threshold: over `signing_keys`.
        signing_keys: keys that are authoritative from this event on.
        next_threshold: over `next_key_digests`.
        next_key_digests: commitments to the keys of the next rotation; none ends the log.
        witness_threshold: receipts that an event needs.
    """

    signing_threshold: Threshold
    signing_keys: tuple[VerificationKey, ...]
    next_threshold: Threshold
    next_key_digests: tuple[Digest, ...]
    witness_threshold: int


class Inception(EstablishmentEvent, frozen=True, gc=False):
    """The first event of a log.

    Attributes:
        witnesses: non-transferable identifiers that receipt events.
        configuration_traits: as listed, unknown ones included.
    """

    message_type: ClassVar[str] = "icp"

    witnesses: tuple[Aid, ...]
    configuration_traits: tuple[str, ...]


class DelegatedInception(Inception, frozen=True, gc=False):
    """The first event of a delegated log.

    Attributes:
        delegator: the identifier that must seal this event.
    """

    message_type: ClassVar[str] = "dip"

    delegator: Aid


class Rotation(EstablishmentEvent, frozen=True, gc=False):
    """An event that replaces the keys.

    Attributes:
        prior_said: digest of the event before.
        witnesses_removed: taken from the witness list first.
        witnesses_added: appended then.
    """

    message_type: ClassVar[str] = "rot"

    prior_said: Said
    witnesses_removed: tuple[Aid, ...]
    witnesses_added: tuple[Aid, ...]


class DelegatedRotation(Rotation, frozen=True, gc=False):
    """A rotation that the delegator must seal."""

    message_type: ClassVar[str] = "drt"


class Interaction(KeyEvent, frozen=True, gc=False):
    """An event that anchors data and leaves the keys.

    Attributes:
        prior_said: digest of the event before.
    """

    message_type: ClassVar[str] = "ixn"

    prior_said: Said


AnyKeyEvent: TypeAlias = (
    Inception | DelegatedInception | Rotation | DelegatedRotation | Interaction
)

ESTABLISHMENT_ONLY = "EO"
DO_NOT_DELEGATE = "DND"
DELEGATE_IS_DELEGATOR = "DID"
REGISTRAR_BACKERS = "RB"
NO_REGISTRAR_BACKERS = "NRB"

FIELDS: dict[str, tuple[str, ...]] = {
    # message type -> labels in order
    "icp": ("v", "t", "d", "i", "s", "kt", "k", "nt", "n", "bt", "b", "c", "a"),
    "rot": ("v", "t", "d", "i", "s", "p", "kt", "k", "nt", "n", "bt", "br", "ba", "a"),
    "ixn": ("v", "t", "d", "i", "s", "p", "a"),
    "dip": ("v", "t", "d", "i", "s", "kt", "k", "nt", "n", "bt", "b", "c", "a", "di"),
    "drt": ("v", "t", "d", "i", "s", "p", "kt", "k", "nt", "n", "bt", "br", "ba", "a"),
}


def parse_key_event(body: Body, raw: bytes, limits: Limits) -> AnyKeyEvent:
    """Make a typed event of a field map.

    Args:
        body: the field map.
        raw: its canonical serialization.
        limits: bounds on the lists.

    Raises:
        DecodeError: not the fields of its type (decode.fields), a malformed value
            (decode.value), too long a list (decode.limit), no key event (decode.message_type).
        VerificationError: verify.said, verify.prefix, verify.sequence, verify.threshold,
            verify.witnesses, for what can be told from the event alone.
    """
    message_type = body.get("t")
    parse = _PARSERS.get(message_type) if isinstance(message_type, str) else None
    if parse is None:
        raise DecodeError(ErrorCode.MESSAGE_TYPE, "not a key event")
    check_fields(body, FIELDS[body["t"]])
    return parse(body, raw, limits)


def check_fields(body: Body, labels: tuple[str, ...]) -> None:
    """Check that a field map has exactly these labels in this order.

    Raises:
        DecodeError: other labels, or another order (decode.fields).
    """
    if tuple(body) != labels:
        raise DecodeError(ErrorCode.FIELDS, f"the fields of {labels[1]} must be {' '.join(labels)}")


def check_said(raw: bytes, *saids: str) -> None:
    """Check that the digest fields hold the digest of the bytes.

    Raises:
        VerificationError: they do not (verify.said).
    """
    if not addressing.is_addressed_by(raw, *saids):
        raise VerificationError(ErrorCode.SAID, "the digest does not match the content")


def parse_aid(value: object, label: str) -> Aid:
    """Read an identifier.

    Raises:
        DecodeError: no identifier (decode.value).
    """
    if isinstance(value, str) and AID_PATTERN.fullmatch(value):
        return Aid(value)
    raise DecodeError(ErrorCode.VALUE, f"{label} is not an identifier")


def parse_digest(value: object, label: str) -> Digest:
    """Read a digest.

    Raises:
        DecodeError: no digest (decode.value).
    """
    if isinstance(value, str) and DIGEST_PATTERN.fullmatch(value):
        return Digest(value)
    raise DecodeError(ErrorCode.VALUE, f"{label} is not a digest")


def parse_number(value: object, label: str) -> int:
    """Read a number.

    Raises:
        DecodeError: not lower-case hex text without leading zeros (decode.value).
    """
    number = parse_hex(value) if isinstance(value, str) else None
    if number is None:
        raise DecodeError(ErrorCode.VALUE, f"{label} is not a lower-case hex number as text")
    return number


def _parse_list(value: object, label: str, limit: int) -> list[Any]:
    if not isinstance(value, list):
        raise DecodeError(ErrorCode.VALUE, f"{label} is not a list")
    if len(value) > limit:
        raise DecodeError(ErrorCode.LIMIT, f"{label} has more than {limit} entries")
    return value


def _parse_anchors(value: object, limits: Limits) -> tuple[Seal, ...]:
    if value == []:
        return ()
    return tuple([parse_seal(entry) for entry in _parse_list(value, "a", limits.anchors)])


def _parse_keys(body: Body, limits: Limits) -> tuple[Threshold, tuple[VerificationKey, ...]]:
    listed = _parse_list(body["k"], "k", limits.keys)
    if not listed:
        raise VerificationError(ErrorCode.THRESHOLD, "an establishment event without keys")
    if not all(isinstance(key, str) for key in listed):
        raise DecodeError(ErrorCode.VALUE, "k is not a list of text")
    keys = tuple([parse_key(key) for key in listed])
    threshold = thresholds.parse(body["kt"], len(keys), limit=limits.keys)
    _check_reachable(threshold, keys)
    return threshold, keys


def _parse_next(body: Body, limits: Limits) -> tuple[Threshold, tuple[Digest, ...]]:
    listed = _parse_list(body["n"], "n", limits.keys)
    digests = tuple([parse_digest(entry, "n") for entry in listed])
    threshold = thresholds.parse(body["nt"], len(digests), limit=limits.keys)
    if digests:
        _check_reachable(threshold, digests)
    return threshold, digests


def _check_reachable(threshold: Threshold, entries: tuple[object, ...]) -> None:
    """A key that is listed twice counts once, so it may make a threshold unreachable."""
    if len(set(entries)) == len(entries):
        return
    if not threshold.satisfied_by(frozenset(map(entries.index, entries))):
        raise VerificationError(
            ErrorCode.THRESHOLD, "a threshold that cannot be met: a key listed twice counts once"
        )


def _parse_witnesses(value: object, label: str, limits: Limits) -> tuple[Aid, ...]:
    listed = _parse_list(value, label, limits.witnesses)
    if not listed:
        return ()
    for entry in listed:
        if not isinstance(entry, str) or parse_key(entry).transferable:
            raise VerificationError(
                ErrorCode.WITNESSES, f"{label} lists a witness that is not a non-transferable key"
            )
    if len(set(listed)) != len(listed):
        raise VerificationError(ErrorCode.WITNESSES, f"{label} lists a witness twice")
    return tuple(listed)


def check_witness_threshold(threshold: int, witnesses: tuple[Aid, ...]) -> None:
    """Check that the witnesses can meet the threshold; without witnesses it is zero.

    Raises:
        VerificationError: they cannot (verify.witnesses).
    """
    if threshold > len(witnesses):
        raise VerificationError(
            ErrorCode.WITNESSES,
            f"a threshold of {threshold} receipts for {len(witnesses)} witnesses",
        )


def _parse_inception(body: Body, raw: bytes, limits: Limits) -> Inception:
    said, aid = body["d"], body["i"]
    basic = _check_inception_prefix(said, aid, raw)
    if body["s"] != "0":
        parse_number(body["s"], "s")
        raise VerificationError(ErrorCode.SEQUENCE, "an inception that is not number 0")
    threshold, keys = _parse_keys(body, limits)
    next_threshold, digests = _parse_next(body, limits)
    witness_threshold = parse_number(body["bt"], "bt")
    witnesses = _parse_witnesses(body["b"], "b", limits)
    check_witness_threshold(witness_threshold, witnesses)
    traits = _parse_list(body["c"], "c", limits.keys)
    if not all(isinstance(trait, str) for trait in traits):
        raise DecodeError(ErrorCode.VALUE, "c is not a list of text")
    event = Inception(
        raw, said, aid, 0, _parse_anchors(body["a"], limits),
        threshold, keys, next_threshold, digests, witness_threshold, witnesses, tuple(traits),
    )  # fmt: skip
    if basic:
        _check_basic_prefix(event)
    return event


def _parse_delegated_inception(body: Body, raw: bytes, limits: Limits) -> DelegatedInception:
    delegator = parse_aid(body["di"], "di")
    event = _parse_inception(body, raw, limits)
    if not digest_code(event.aid):
        raise VerificationError(
            ErrorCode.PREFIX, "a delegated identifier must be a digest of its inception"
        )
    return DelegatedInception(*msgspec.structs.astuple(event), delegator)


def _check_inception_prefix(said: object, aid: object, raw: bytes) -> bool:
    """Check digest and identifier of an inception; tell whether the identifier is a key.

    An identifier that is a digest covers the same bytes as the digest, in its own algorithm.
    """
    if not isinstance(said, str) or not isinstance(aid, str):
        raise DecodeError(ErrorCode.VALUE, "d or i is not text")
    if said == aid or digest_code(aid):
        check_said(raw, said, aid)
        return False
    parse_aid(aid, "i")
    check_said(raw, said)
    return True


def _check_basic_prefix(event: Inception) -> None:
    """Check an identifier that is a key: it is the only key, and fixed if not transferable."""
    key = event.signing_keys[0]
    if len(event.signing_keys) != 1 or key.text != event.aid:
        raise VerificationError(ErrorCode.PREFIX, "the identifier is not the only signing key")
    if event.signing_threshold.field != "1":
        raise VerificationError(ErrorCode.PREFIX, "a basic identifier has the threshold 1")
    if key.transferable:
        return
    if event.next_key_digests or event.witnesses or event.anchors:
        raise VerificationError(
            ErrorCode.NON_TRANSFERABLE, "a non-transferable identifier has no next keys, "
            "no witnesses and no seals",
        )  # fmt: skip


def _parse_rotation(body: Body, raw: bytes, limits: Limits) -> Rotation:
    said = parse_digest(body["d"], "d")
    check_said(raw, said)
    sn = _parse_later_number(body)
    threshold, keys = _parse_keys(body, limits)
    next_threshold, digests = _parse_next(body, limits)
    make = _ROTATIONS[body["t"]]
    return make(
        raw, said, parse_aid(body["i"], "i"), sn, _parse_anchors(body["a"], limits),
        threshold, keys, next_threshold, digests, parse_number(body["bt"], "bt"),
        parse_digest(body["p"], "p"),
        _parse_witnesses(body["br"], "br", limits), _parse_witnesses(body["ba"], "ba", limits),
    )  # fmt: skip


def _parse_interaction(body: Body, raw: bytes, limits: Limits) -> Interaction:
    said = parse_digest(body["d"], "d")
    check_said(raw, said)
    return Interaction(
        raw, said, parse_aid(body["i"], "i"), _parse_later_number(body),
        _parse_anchors(body["a"], limits), parse_digest(body["p"], "p"),
    )  # fmt: skip


def _parse_later_number(body: Body) -> int:
    sn = parse_number(body["s"], "s")
    if sn == 0:
        raise VerificationError(ErrorCode.SEQUENCE, f"{body['t']} with the number of an inception")
    return sn


_ROTATIONS: dict[str, type[Rotation]] = {"rot": Rotation, "drt": DelegatedRotation}
_PARSERS: dict[str, Callable[[Body, bytes, Limits], AnyKeyEvent]] = {
    "icp": _parse_inception,
    "rot": _parse_rotation,
    "ixn": _parse_interaction,
    "dip": _parse_delegated_inception,
    "drt": _parse_rotation,
}
