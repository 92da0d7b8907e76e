"""Which signatures over an event are good, and whether they suffice.

Source: KERI specification, "Indexed Signatures" and "General Pre-rotation".
"""

from collections.abc import Iterable, Sequence

from keystead.cesr import indexed
from keystead.cesr.groups import ReceiptCouple
from keystead.cesr.indexed import SUITES, IndexedSignature
from keystead.cesr.keys import Aid, Digest, VerificationKey, is_digest_of, parse_key
from keystead.suites import verify

_FIRST_PLACE = frozenset((0,))


def verified_signatures(
    raw: bytes, signatures: Iterable[IndexedSignature], keys: Sequence[VerificationKey]
) -> tuple[IndexedSignature, ...]:
    """Return the signatures that verify with the key at their place, each once.

    A place outside the list, or a suite other than the key's, makes a signature useless, not
    the others. Signatures by one key that differ only in their bytes count as one.
    """
    good: dict[tuple[int, int | None], IndexedSignature] = {}
    for signature in signatures:
        index = signature.index
        place = (index, signature.ondex)
        if index < len(keys) and place not in good:
            key = keys[index]
            suite = key.suite
            if suite is SUITES[signature.code] and verify(suite, key.raw, signature.raw, raw):
                good[place] = signature
    return tuple(good.values())


def essential(
    signatures: Sequence[IndexedSignature],
    keys: Sequence[VerificationKey] = (),
    digests: Sequence[Digest] = (),
) -> tuple[IndexedSignature, ...]:
    """Return one of the verified signatures for each place, the one that tells most.

    The second index is not signed, so anybody can make thousands of variants of one signature.
    The first that exposes a prior next digest is kept, else the first.

    Args:
        signatures: verified, by keys of one list.
        keys: that list.
        digests: prior next key digests, none when nothing is exposed.
    """
    if len(signatures) <= 1:
        return tuple(signatures)
    kept: dict[int, IndexedSignature] = {}
    for signature in signatures:
        first = kept.setdefault(signature.index, signature)
        if first is signature or exposed_places([first], keys, digests):
            continue
        if exposed_places([signature], keys, digests):
            kept[signature.index] = signature
    return tuple(kept.values())


def signing_places(
    signatures: Sequence[IndexedSignature], keys: Sequence[VerificationKey]
) -> frozenset[int]:
    """Return the places of distinct keys that made verified signatures.

    A key that is listed twice counts at its first place only.
    """
    if len(signatures) == 1 == len(keys):
        return _FIRST_PLACE
    first = {key.text: place for place, key in reversed(list(enumerate(keys)))}
    return frozenset([first[keys[signature.index].text] for signature in signatures])


def exposed_places(
    signatures: Iterable[IndexedSignature],
    keys: Sequence[VerificationKey],
    digests: Sequence[Digest],
) -> frozenset[int]:
    """Return the places of prior next digests that verified signatures expose.

    A signature exposes the digest at its second index when that is the digest of its key, in
    the algorithm of the digest. One key exposes one digest, however often it is listed.
    """
    places: dict[str, int] = {}
    for signature in signatures:
        if signature.ondex is None or signature.ondex >= len(digests):
            continue
        key, committed = keys[signature.index].text, digests[signature.ondex]
        if is_digest_of(committed, key.encode()):
            places[key] = min(places.get(key, signature.ondex), signature.ondex)
    return frozenset(places.values())


def verified_witness_signatures(
    raw: bytes,
    signatures: Iterable[IndexedSignature],
    couples: Iterable[ReceiptCouple],
    witnesses: Sequence[Aid],
) -> tuple[IndexedSignature, ...]:
    """Return one verified signature for each witness that made one, whatever form it came in."""
    claimed = list(signatures)
    for couple in couples:
        if couple.key.text in witnesses:
            place = witnesses.index(Aid(couple.key.text))
            suite, signature = couple.signature.suite, couple.signature.raw
            claimed.append(indexed.make(suite, signature, place, ondex=place))
    if not claimed:
        return ()
    keys = [parse_key(witness) for witness in witnesses]
    good = verified_signatures(raw, claimed, keys)
    return tuple({signature.index: signature for signature in reversed(good)}.values())


def verified_couples(
    raw: bytes, couples: Iterable[ReceiptCouple], witnesses: Sequence[Aid]
) -> tuple[ReceiptCouple, ...]:
    """Return the verified receipts by non-transferable identifiers that are no witnesses."""
    good: dict[str, ReceiptCouple] = {}
    for couple in couples:
        key = couple.key
        if key.transferable or key.text in good or key.text in witnesses:
            continue
        if key.verifies(couple.signature.suite, couple.signature.raw, raw):
            good[key.text] = couple
    return tuple(good.values())
