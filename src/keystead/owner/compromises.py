"""Which keys of an identifier are compromised, by signed notices of its owner.

A notice is a reply that the log's later keys sign. It travels behind the log and is verified and
kept like any other reply; what it is worth is decided here, each time, by the log as it is now.
"""

from collections.abc import Container, Iterator
from datetime import UTC, datetime

import msgspec

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, VerificationKey
from keystead.cesr.writing import write_frame
from keystead.errors import ErrorCode, UsageError
from keystead.keri import build
from keystead.keri.keystate import Establishment
from keystead.keri.routed import COMPROMISE_ROUTE, KeyCompromise, Record, compromise_record
from keystead.keri.verification import signing_places
from keystead.limits import DEFAULT_LIMITS
from keystead.ports import EventStore


class Compromise(msgspec.Struct, frozen=True, gc=False):
    """A key that somebody else may have signed with.

    Attributes:
        aid: the identifier.
        signing_key: the key.
        first_sn: the first event that may be signed by somebody else.
        reason: for people, as the notice tells it: any text.
        signer_sn: the establishment event whose keys signed the notice.
        told_at: time of the notice, as its signer tells it.
    """

    aid: Aid
    signing_key: VerificationKey
    first_sn: int
    reason: str
    signer_sn: int
    told_at: str


def compromises(store: EventStore, aid: Aid) -> tuple[Compromise, ...]:
    """Return the compromised keys of an identifier, those that were told by the latest keys first.

    A notice does not count when keys that are compromised themselves were needed to sign it:
    whoever stole them could have made it. So who tells of a compromise repeats, with the latest
    keys, the notices that this function returned before.
    """
    found: list[Compromise] = []
    suspects: set[str] = set()
    records = sorted(_notices(store, aid), key=_signer_sn, reverse=True)
    for record in records:
        notice, (signed,) = record.statement, record.proofs.endorsements
        named = store.event(aid, signed.sn)
        if named is None or named.event.said != signed.said:
            continue  # a recovery took back the keys that signed it
        keys = named.state.establishment
        if isinstance(notice, KeyCompromise) and suffice(signed.signatures, keys, suspects):
            suspects.add(notice.signing_key.text)
            found.append(
                Compromise(
                    aid,
                    notice.signing_key,
                    notice.first_sn,
                    notice.reason,
                    signed.sn,
                    record.reply.timestamp,
                )
            )
    return tuple(found)


def suffice(
    signatures: tuple[IndexedSignature, ...], keys: Establishment, suspects: Container[str]
) -> bool:
    """Tell whether verified signatures meet the threshold without those by suspect keys.

    Args:
        signatures: verified, by `keys`.
        keys: what the establishment event set.
        suspects: texts of keys.
    """
    listed = keys.signing_keys
    places = signing_places(signatures, listed) if signatures else frozenset()
    clean = frozenset([place for place in places if listed[place].text not in suspects])
    return keys.signing_threshold.satisfied_by(clean)


def notice_payload(
    aid: Aid, key: VerificationKey, *, first_sn: int, reason: str, now: datetime
) -> bytes:
    """Make the notice that a key is compromised; its bytes are what has to be signed.

    Args:
        aid: the identifier.
        key: the key; the keys that sign the notice must have replaced it.
        first_sn: the first event that may be signed by somebody else; when none of the log is,
            the rotation that ended the key.
        reason: printable text.
        now: aware time of the notice. Of two notices on one key under the same keys the later
            counts.

    Raises:
        UsageError: a reason that is too long or not printable (usage.argument).
    """
    if len(reason) > DEFAULT_LIMITS.url or not reason.isprintable():
        what = f"a reason is one line of at most {DEFAULT_LIMITS.url} printable characters"
        raise UsageError(ErrorCode.ARGUMENT, what)
    raw, _ = build.routed(
        "rpy",
        {
            "dt": now.astimezone(UTC).isoformat(timespec="microseconds"),
            "r": COMPROMISE_ROUTE,
            "a": {"i": aid, "k": key.text, "s": f"{first_sn:x}", "r": reason},
        },
    )
    return raw


def write_notice(payload: bytes, signed: SignatureGroup) -> bytes:
    """Write a notice as the message that goes behind the log.

    Args:
        payload: from `notice_payload`.
        signed: signatures over it, by the keys of the latest establishment event.
    """
    return payload + write_frame([Group(GroupKind.SIGNATURE_GROUPS, (signed,))])


def kept_notices(store: EventStore, aid: Aid) -> Iterator[bytes]:
    """Give the notices of an identifier that a store keeps, as messages for an exported log."""
    for record in _notices(store, aid):
        (signed,) = record.proofs.endorsements
        yield write_notice(record.reply.raw, signed)


def _notices(store: EventStore, aid: Aid) -> Iterator[Record]:
    """Give the kept notices on keys that ever signed on the trunk."""
    keys: dict[VerificationKey, None] = {}
    for accepted in store.events(aid):
        last = accepted.state.establishment
        if last.sn == accepted.event.sn:
            keys.update(dict.fromkeys(last.signing_keys))
    for key in keys:
        record = store.record(compromise_record(aid, key))
        if record is not None:
            yield record


def _signer_sn(record: Record) -> int:
    (signed,) = record.proofs.endorsements
    return signed.sn
