"""Builders: new events and messages, with defaults that are safe.

A builder refuses what the protocol would accept and its author would regret: a key listed
twice, witnesses without a threshold, a next key that is in use already. What it returns has been
read back by the parser, so it is well-formed by the rules that others apply.

Source: KERI specification, "Key event messages"; field order of version 1.0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from keystead.cesr import body as bodies
from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.keys import Aid, Digest, Said, VerificationKey, digest, is_digest_of
from keystead.cesr.versions import Kind, Protocol
from keystead.errors import DecodeError, ErrorCode, UsageError, VerificationError
from keystead.keri import messages
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.messages import Receipt
from keystead.keri.parsing import parse_key_event
from keystead.keri.seals import Seal, field_of
from keystead.keri.thresholds import Field
from keystead.limits import DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that an establishment event sets, and those that it commits to.

    Attributes:
        signing_keys: keys that sign from this event on.
        signing_threshold: over `signing_keys`: hex text or lists of weights.
        next_key_digests: `commitment` of each next key; none ends the log with this event.
        next_threshold: over `next_key_digests`.
    """

    signing_keys: Sequence[VerificationKey]
    signing_threshold: Field
    next_key_digests: Sequence[Digest] = ()
    next_threshold: Field = "0"


@dataclass(frozen=True, slots=True)
class Witnesses:
    """A change of the witness list; for an inception, the list.

    Attributes:
        threshold: receipts that an event needs.
        added: non-transferable keys, as text.
        removed: witnesses that leave; they go first.
    """

    threshold: int
    added: Sequence[Aid] = ()
    removed: Sequence[Aid] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an inception fixes for good.

    Attributes:
        traits: configuration traits, such as `events.ESTABLISHMENT_ONLY`.
        delegator: who must approve establishment events.
        basic: the identifier is its only key, instead of a digest of the inception.
    """

    traits: Sequence[str] = ()
    delegator: Aid | None = None
    basic: bool = False


_SIZE_DIGITS = 6
NO_WITNESSES = Witnesses(0)
PLAIN = Configuration()


def commitment(key: VerificationKey) -> Digest:
    """Return the digest by which an event commits to a next key."""
    return digest(key.text.encode())


def incept(
    keys: Keys,
    witnesses: Witnesses = NO_WITNESSES,
    *,
    configuration: Configuration = PLAIN,
    anchors: Iterable[Seal] = (),
    kind: Kind = Kind.JSON,
) -> AnyKeyEvent:
    """Make the first event of an identifier.

    Raises:
        UsageError: keys, thresholds, witnesses or configuration that make no safe event.
    """
    _check_keys(keys, ())
    if witnesses.removed:
        raise _refused("an inception removes no witnesses")
    _check_witness_threshold(witnesses.threshold, len(witnesses.added))
    delegated = configuration.delegator is not None
    fields: Body = {
        "v": "", "t": "dip" if delegated else "icp", "d": "", "i": "", "s": "0",
        **_key_fields(keys),
        "bt": f"{witnesses.threshold:x}",
        "b": list(witnesses.added),
        "c": list(configuration.traits),
        "a": [field_of(seal) for seal in anchors],
    }  # fmt: skip
    if delegated:
        fields["di"] = configuration.delegator
    if configuration.basic:
        fields["i"] = keys.signing_keys[0].text
    return _complete(fields, kind, ("d",) if configuration.basic else ("d", "i"))


def rotate(
    prior: KeyState,
    keys: Keys,
    witnesses: Witnesses | None = None,
    *,
    anchors: Iterable[Seal] = (),
    kind: Kind = Kind.JSON,
) -> AnyKeyEvent:
    """Make an event that replaces the keys.

    Args:
        prior: state after the event that this one follows. For a recovery, which supersedes
            interactions, that is the state before the first of them.
        keys: the new keys.
        witnesses: how the witness list changes; None leaves it and its threshold.
        anchors: seals.
        kind: serialization.

    Raises:
        UsageError: keys, thresholds or witnesses that make no safe event, or an identifier
            that cannot rotate.
    """
    last = prior.establishment
    if not last.transferable:
        raise _refused("this identifier has no next keys, so its log has ended")
    _check_keys(keys, last.signing_keys)
    change = Witnesses(last.witness_threshold) if witnesses is None else witnesses
    kept = [witness for witness in last.witnesses if witness not in change.removed]
    if len(kept) + len(change.removed) != len(last.witnesses) or set(kept) & set(change.added):
        raise _refused("remove only witnesses of the list, and add only others")
    _check_witness_threshold(change.threshold, len(kept) + len(change.added))
    fields: Body = {
        "v": "", "t": "rot" if last.delegator is None else "drt", "d": "", "i": prior.aid,
        "s": f"{prior.sn + 1:x}", "p": prior.said,
        **_key_fields(keys),
        "bt": f"{change.threshold:x}",
        "br": list(change.removed),
        "ba": list(change.added),
        "a": [field_of(seal) for seal in anchors],
    }  # fmt: skip
    return _complete(fields, kind)


def interact(
    prior: KeyState, anchors: Iterable[Seal] = (), *, kind: Kind = Kind.JSON
) -> AnyKeyEvent:
    """Make an event that anchors data and leaves the keys.

    Raises:
        UsageError: the identifier allows no interactions, or its log has ended.
    """
    if not prior.establishment.transferable or prior.establishment.establishment_only:
        raise _refused("this identifier allows no interactions")
    fields: Body = {
        "v": "", "t": "ixn", "d": "", "i": prior.aid, "s": f"{prior.sn + 1:x}", "p": prior.said,
        "a": [field_of(seal) for seal in anchors],
    }  # fmt: skip
    return _complete(fields, kind)


def receipt(receipted: Receipt, *, kind: Kind = Kind.JSON) -> bytes:
    """Make the body to which receipts of an event are attached; they sign the event itself."""
    said, aid, sn = receipted.said, receipted.aid, f"{receipted.sn:x}"
    if kind is Kind.JSON:
        # The general way takes ten times as long, and each receipt that is given needs one.
        rest = f'_","t":"rct","d":"{said}","i":"{aid}","s":"{sn}"}}'
        size = len('{"v":"KERI10JSON') + _SIZE_DIGITS + len(rest)
        return f'{{"v":"KERI10JSON{size:0{_SIZE_DIGITS}x}{rest}'.encode()
    fields: Body = {"v": "", "t": "rct", "d": said, "i": aid, "s": sn}
    return addressing.serialize(fields, kind, Protocol.KERI)


def routed(message_type: str, values: Body, *, kind: Kind = Kind.JSON) -> tuple[bytes, Said]:
    """Make a routed message (`qry`, `pro`, `rpy`, `bar`, `exn`).

    Args:
        message_type: its type.
        values: all of its fields but `v`, `t` and `d`, in any order.
        kind: serialization.

    Returns:
        What has to be signed, and its digest.

    Raises:
        UsageError: other fields than those of the message type.
    """
    labels = messages.FIELDS.get(message_type, ())
    if "dt" not in labels or set(values) != set(labels[3:]):
        raise _refused(f"a message {message_type} with the fields {', '.join(values)}")
    fields = {"v": "", "t": message_type, "d": "", **{label: values[label] for label in labels[3:]}}
    return addressing.address(fields, kind)


def _key_fields(keys: Keys) -> dict[str, Any]:
    return {
        "kt": keys.signing_threshold,
        "k": [key.text for key in keys.signing_keys],
        "nt": keys.next_threshold,
        "n": list(keys.next_key_digests),
    }


def _complete(fields: Body, kind: Kind, labels: Sequence[str] = ("d",)) -> AnyKeyEvent:
    """Serialize, and read back by the rules that others apply."""
    raw, _ = addressing.address(fields, kind, labels=labels)
    if len(raw) > DEFAULT_LIMITS.body:
        raise _refused(f"an event of {len(raw)} bytes, over {DEFAULT_LIMITS.body}")
    try:
        return parse_key_event(bodies.decode(raw, kind, DEFAULT_LIMITS), raw, DEFAULT_LIMITS)
    except (DecodeError, VerificationError) as error:
        raise _refused(error.message) from error


def _check_keys(keys: Keys, current: Sequence[VerificationKey]) -> None:
    signing = [key.text for key in keys.signing_keys]
    if not signing:
        raise _refused("an event that sets keys needs a signing key")
    if len(set(signing)) != len(signing):
        raise _refused("a signing key is listed twice")
    if len(set(keys.next_key_digests)) != len(keys.next_key_digests):
        raise _refused("a next key is listed twice")
    in_use = {*signing, *(key.text for key in current)}
    for committed in keys.next_key_digests:
        if any(is_digest_of(committed, text.encode()) for text in in_use):
            # KERI, "Pre-rotation": a next key is used first to sign the rotation that exposes it.
            raise _refused("a next key has been in use already")


def _check_witness_threshold(threshold: int, witnesses: int) -> None:
    if witnesses > DEFAULT_LIMITS.witnesses:
        raise _refused(f"more than {DEFAULT_LIMITS.witnesses} witnesses")
    least = min(1, witnesses)
    if not least <= threshold <= witnesses:
        raise _refused(f"{witnesses} witnesses need a threshold from {least} to {witnesses}")


def _refused(what: str) -> UsageError:
    return UsageError(ErrorCode.ARGUMENT, what)
