"""From a field map to a typed key event.

First every value is read by its label, then the event is made of the values, which checks what
can be told from the event alone: its digest, its identifier, its thresholds and witnesses.

Source: KERI specification, "Key event messages"; field order of version 1.0.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.keys import Aid, Digest, VerificationKey, digest_code, parse_key
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri import thresholds
from keystead.keri.events import (
    FIELDS,
    AnyKeyEvent,
    DelegatedInception,
    DelegatedRotation,
    Inception,
    Interaction,
    Rotation,
)
from keystead.keri.fields import (
    check_labels,
    parse_aid,
    parse_digest,
    parse_list,
    parse_number,
    parse_texts,
)
from keystead.keri.seals import parse_seal
from keystead.keri.thresholds import Threshold
from keystead.limits import Limits

# Values of the fields behind `v` and `t`, in order: text, numbers, tuples of keys, digests, texts
# or seals, and thresholds as the message writes them.
Values: TypeAlias = Iterable[Any]


def parse_key_event(body: Body, raw: bytes, limits: Limits) -> AnyKeyEvent:
    """Make a typed event of a field map.

    Args:
        body: the field map.
        raw: its canonical serialization.
        limits: bounds on the lists.

    Raises:
        DecodeError: not the fields of its type (decode.fields), a malformed value
            (decode.value), too long a list (decode.limit), no key event (decode.message_type).
        VerificationError: as `MAKERS`.
    """
    message_type = body.get("t")
    labels = FIELDS.get(message_type) if isinstance(message_type, str) else None
    if labels is None or message_type is None:
        raise DecodeError(ErrorCode.MESSAGE_TYPE, "not a key event")
    check_labels(body, labels)
    values = [_READERS[label](body[label], label, limits) for label in labels[2:]]
    return MAKERS[message_type](values, raw)


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


def _make_interaction(values: Values, raw: bytes) -> Interaction:
    said, aid, sn, prior_said, anchors = values
    addressing.check(raw, said)
    if sn == 0:
        raise _not_later()
    return Interaction(raw, said, aid, sn, anchors, prior_said)


def _make_rotation(values: Values, raw: bytes) -> Rotation:
    return Rotation(*_rotation_parts(values, raw))


def _make_delegated_rotation(values: Values, raw: bytes) -> DelegatedRotation:
    return DelegatedRotation(*_rotation_parts(values, raw))


def _rotation_parts(values: Values, raw: bytes) -> tuple[Any, ...]:
    """Check the values of a rotation; return them in the order of its attributes."""
    said, aid, sn, prior_said, kt, keys, nt, digests, bt, removed, added, anchors = values
    addressing.check(raw, said)
    if sn == 0:
        raise _not_later()
    threshold, next_threshold = _check_keys(kt, keys, nt, digests)
    if removed or added:
        _check_witnesses(removed, "br")
        _check_witnesses(added, "ba")
    return (
        raw, said, aid, sn, anchors, threshold, keys, next_threshold, digests, bt,
        prior_said, removed, added,
    )  # fmt: skip


def _make_inception(values: Values, raw: bytes) -> Inception:
    event = Inception(*_inception_parts(values, raw))
    aid: str = event.aid
    if aid != event.said and not digest_code(aid):
        _check_basic_prefix(event)
    return event


def _make_delegated_inception(values: Values, raw: bytes) -> DelegatedInception:
    *common, delegator = values
    parts = (*_inception_parts(common, raw), delegator)
    event = DelegatedInception(*parts)
    aid: str = event.aid
    if aid != event.said and not digest_code(aid):
        raise VerificationError(
            ErrorCode.PREFIX, "a delegated identifier must be a digest of its inception"
        )
    return event


def _inception_parts(values: Values, raw: bytes) -> tuple[Any, ...]:
    """Check the values of an inception; return them in the order of its attributes."""
    said, aid, sn, kt, keys, nt, digests, bt, witnesses, traits, anchors = values
    if said == aid or digest_code(aid):
        # An identifier that is a digest covers the same bytes, in its own algorithm.
        addressing.check(raw, said, aid)
    else:
        addressing.check(raw, said)
    if sn != 0:
        raise VerificationError(ErrorCode.SEQUENCE, "an inception that is not number 0")
    threshold, next_threshold = _check_keys(kt, keys, nt, digests)
    if witnesses or bt:
        _check_witnesses(witnesses, "b")
        check_witness_threshold(bt, witnesses)
    return (
        raw, said, aid, sn, anchors, threshold, keys, next_threshold, digests, bt, witnesses,
        traits,
    )  # fmt: skip


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
            ErrorCode.NON_TRANSFERABLE,
            "a non-transferable identifier has no next keys, no witnesses and no seals",
        )


def _not_later() -> VerificationError:
    return VerificationError(ErrorCode.SEQUENCE, "a later event with the number of the inception")


def _check_keys(
    kt: object, keys: tuple[VerificationKey, ...], nt: object, digests: tuple[Digest, ...]
) -> tuple[Threshold, Threshold]:
    """Read the thresholds over the keys and over the next key digests.

    A key that is listed twice counts once, so it may make a threshold unreachable.
    """
    if not keys:
        raise VerificationError(ErrorCode.THRESHOLD, "an establishment event without keys")
    # Most thresholds are numbers, and the same few.
    parse, parse_number = thresholds.parse, thresholds.parse_number
    threshold = (parse_number if type(kt) is str else parse)(kt, len(keys))
    next_threshold = (parse_number if type(nt) is str else parse)(nt, len(digests))
    if len(keys) > 1:
        _check_reachable(threshold, keys)
    if len(digests) > 1:
        _check_reachable(next_threshold, digests)
    return threshold, next_threshold


def _check_reachable(threshold: Threshold, entries: tuple[object, ...]) -> None:
    if len(set(entries)) == len(entries):
        return
    if not threshold.satisfied_by(frozenset(map(entries.index, entries))):
        raise VerificationError(
            ErrorCode.THRESHOLD, "a threshold that cannot be met: a key listed twice counts once"
        )


def _check_witnesses(witnesses: tuple[Aid, ...], label: str) -> None:
    for witness in witnesses:
        if parse_key(witness).transferable:
            raise VerificationError(
                ErrorCode.WITNESSES, f"{label} lists a witness that is not a non-transferable key"
            )
    if len(witnesses) > 1 and len(set(witnesses)) != len(witnesses):
        raise VerificationError(ErrorCode.WITNESSES, f"{label} lists a witness twice")


def _reader(parse: Callable[[object, str], Any]) -> Callable[[object, str, Limits], Any]:
    return lambda value, label, _: parse(value, label)


def _threshold(value: object, _label: str, _limits: Limits) -> object:
    return value  # can be read only together with its keys


def _keys(value: object, label: str, limits: Limits) -> tuple[Any, ...]:
    return tuple(parse_key(text) for text in parse_texts(value, label, limits.keys))


def _digests(value: object, label: str, limits: Limits) -> tuple[Any, ...]:
    return tuple(parse_digest(text, label) for text in parse_list(value, label, limits.keys))


def _witnesses(value: object, label: str, limits: Limits) -> tuple[Any, ...]:
    return tuple(parse_key(text).text for text in parse_texts(value, label, limits.witnesses))


def _traits(value: object, label: str, limits: Limits) -> tuple[str, ...]:
    return tuple(parse_texts(value, label, limits.keys))


def _anchors(value: object, label: str, limits: Limits) -> tuple[Any, ...]:
    return tuple(parse_seal(entry) for entry in parse_list(value, label, limits.anchors))


_READERS: dict[str, Callable[[object, str, Limits], Any]] = {
    "d": _reader(parse_digest),
    "i": _reader(parse_aid),
    "s": _reader(parse_number),
    "p": _reader(parse_digest),
    "kt": _threshold,
    "k": _keys,
    "nt": _threshold,
    "n": _digests,
    "bt": _reader(parse_number),
    "b": _witnesses,
    "br": _witnesses,
    "ba": _witnesses,
    "c": _traits,
    "a": _anchors,
    "di": _reader(parse_aid),
}
# Message type -> what makes a typed event of its values and its bytes. They raise VerificationError:
# verify.said, verify.prefix, verify.sequence, verify.threshold, verify.witnesses,
# verify.non_transferable.
MAKERS: dict[str, Callable[[Values, bytes], AnyKeyEvent]] = {
    "icp": _make_inception,
    "rot": _make_rotation,
    "ixn": _make_interaction,
    "dip": _make_delegated_inception,
    "drt": _make_delegated_rotation,
}
