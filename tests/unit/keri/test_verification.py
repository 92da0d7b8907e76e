"""Which signatures are good, and which keys they stand for."""

import pytest

from keystead.cesr import indexed
from keystead.cesr.groups import ReceiptCouple
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Signature, digest
from keystead.keri.build import commitment
from keystead.keri.verification import (
    essential,
    exposed_places,
    signing_places,
    verified_couples,
    verified_signatures,
    verified_witness_signatures,
)
from keystead.suites import Suite
from keystead.testing.authoring import KeyPair, witness
from support.logs import pairs

RAW = b"what is signed"
A, B, C = pairs("key", 3)
KEYS = [A.key, B.key, C.key]
DIGESTS = [commitment(pair.key) for pair in (A, B, C)]
W0, W1, W2 = witness("0"), witness("1"), witness("2")
WITNESSES = [W0.aid, W1.aid]
CURVE = KeyPair("curve", Suite.SECP256K1)


def test_good_signatures_are_kept_in_order() -> None:
    """Signatures that verify with the key at their place are good."""
    made = (C.indexed(RAW, 2, 2), A.indexed(RAW, 0, 0))
    assert verified_signatures(RAW, made, KEYS) == made


@pytest.mark.parametrize(
    "bad",
    [
        A.indexed(RAW, 1, 1),
        A.indexed(b"something else", 0, 0),
        A.indexed(RAW, 3, 3),
        A.indexed(RAW, 63, 63),
        CURVE.indexed(RAW, 0, 0),
        IndexedSignature("A", 0, 0, b""),
        IndexedSignature("0z", 0, 0, A.sign(RAW)),
    ],
    ids=["place", "content", "no place", "far", "suite", "size", "code"],
)
def test_useless_signature_leaves_the_others(bad: IndexedSignature) -> None:
    """A signature that does not verify spoils nothing but itself."""
    good = B.indexed(RAW, 1, 1)
    assert verified_signatures(RAW, [bad, good], KEYS) == (good,)


def test_any_suite_verifies() -> None:
    """Keys of other suites sign as well."""
    made = CURVE.indexed(RAW, 1, 1)
    assert verified_signatures(RAW, [made], [A.key, CURVE.key]) == (made,)


def test_signature_is_kept_once() -> None:
    """Two signatures for the same places count as one."""
    one = A.indexed(RAW, 0, 0)
    assert verified_signatures(RAW, [one, one], KEYS) == (one,)


def test_signatures_for_other_next_places_are_kept() -> None:
    """One key may expose several next digests."""
    made = (A.indexed(RAW, 0, 0), A.indexed(RAW, 0, 1), A.indexed(RAW, 0, None, current_only=True))
    assert verified_signatures(RAW, made, KEYS) == made


def test_bad_signature_does_not_take_a_good_ones_place() -> None:
    """A useless signature in front leaves the place free for a good one."""
    good = A.indexed(RAW, 0, 0)
    assert verified_signatures(RAW, [B.indexed(RAW, 0, 0), good], KEYS) == (good,)


def test_places_are_those_of_keys() -> None:
    """Each key stands for its place."""
    made = [A.indexed(RAW, 0, 0), C.indexed(RAW, 2, 2)]
    assert signing_places(made, KEYS) == {0, 2}


def test_single_key_has_place_zero() -> None:
    """One signature by the only key stands for place 0."""
    assert signing_places([A.indexed(RAW, 0, 0)], [A.key]) == {0}


def test_no_signatures_stand_for_no_place() -> None:
    """Without signatures there are no places."""
    assert signing_places([], KEYS) == frozenset()


def test_duplicate_index_counts_once() -> None:
    """A key that signs twice stands for one place."""
    made = [A.indexed(RAW, 0, 0), A.indexed(RAW, 0, 1)]
    assert signing_places(made, KEYS) == {0}


def test_key_listed_twice_counts_at_its_first_place() -> None:
    """One key never counts twice, however often it is listed."""
    made = [A.indexed(RAW, 2, 2), A.indexed(RAW, 0, 0)]
    assert signing_places(made, [A.key, B.key, A.key]) == {0}
    assert signing_places(made[:1], [A.key, B.key, A.key]) == {0}


def test_exposed_places_follow_the_second_index() -> None:
    """A signature exposes the digest at its second index."""
    made = [A.indexed(RAW, 0, 2), B.indexed(RAW, 1, 0)]
    assert exposed_places(made, KEYS, [DIGESTS[1], DIGESTS[2], DIGESTS[0]]) == {0, 2}


@pytest.mark.parametrize(
    "made",
    [
        A.indexed(RAW, 0, None, current_only=True),
        A.indexed(RAW, 0, 3),
        A.indexed(RAW, 0, 1),
    ],
    ids=["current only", "no digest there", "another key's digest"],
)
def test_other_signatures_expose_nothing(made: IndexedSignature) -> None:
    """A signature for the current list alone, or beside its digest, exposes no next key."""
    assert exposed_places([made], KEYS, DIGESTS) == frozenset()


def test_digest_may_use_another_algorithm() -> None:
    """A commitment is checked in the algorithm that it names."""
    committed = digest(A.key.text.encode(), "H")
    assert exposed_places([A.indexed(RAW, 0, 0)], KEYS, [committed]) == {0}


@pytest.mark.parametrize("places", [(0, 1), (1, 0), (0, 0)])
def test_one_key_exposes_one_digest(places: tuple[int, int]) -> None:
    """A key whose digest is listed twice exposes one of them: the lowest that it named."""
    twice = [DIGESTS[0], digest(A.key.text.encode(), "H")]
    made = [A.indexed(RAW, 0, place) for place in places]
    assert exposed_places(made, KEYS, twice) == {0}


def test_witness_signatures_count_by_place() -> None:
    """A witness signs with its place in the witness list."""
    made = (W1.indexed(RAW, 1, 1), W0.indexed(RAW, 0, 0))
    assert set(verified_witness_signatures(RAW, made, (), WITNESSES)) == set(made)


def test_couple_of_a_witness_is_a_witness_signature() -> None:
    """A receipt couple of a witness counts as its indexed signature."""
    found = verified_witness_signatures(RAW, (), [W1.couple(RAW)], WITNESSES)
    assert found == (W1.indexed(RAW, 1, 1),)


def test_witness_counts_once_in_all_forms() -> None:
    """A witness that signs in several forms and places counts once."""
    made = [W1.indexed(RAW, 1, 1), W1.indexed(RAW, 1, 0)]
    found = verified_witness_signatures(RAW, made, [W1.couple(RAW)], WITNESSES)
    assert found == (made[0],)


@pytest.mark.parametrize(
    ("signatures", "couples"),
    [
        ([], []),
        ([], [W2.couple(RAW)]),
        ([], [W1.couple(b"something else")]),
        ([W2.indexed(RAW, 2, 2)], []),
        ([W0.indexed(RAW, 1, 1)], []),
    ],
    ids=["none", "no witness", "content", "no place", "place"],
)
def test_others_are_no_witness_signatures(
    signatures: list[IndexedSignature], couples: list[ReceiptCouple]
) -> None:
    """What is not by a witness, or does not verify, is no receipt of a witness."""
    found = verified_witness_signatures(RAW, signatures, couples, WITNESSES)
    assert found == ()


def test_couples_of_others_are_kept_once() -> None:
    """Receipts by non-transferable identifiers that are no witnesses are kept, one for each."""
    couple = W2.couple(RAW)
    assert verified_couples(RAW, [couple, couple], WITNESSES) == (couple,)


@pytest.mark.parametrize(
    "pair",
    [W0, A, KeyPair("other suite", Suite.SECP256R1, transferable=False)],
    ids=["witness", "transferable", "other suite"],
)
def test_couples_of_the_wrong_kind_are_left_out(pair: KeyPair) -> None:
    """Witnesses count elsewhere; a key that can be replaced, or another suite's, proves nothing."""
    couple = pair.couple(RAW)
    if pair.suite is not Suite.ED25519:
        couple = type(couple)(couple.key, Signature(Suite.ED25519, couple.signature.raw))
    assert verified_couples(RAW, [couple], WITNESSES) == ()


def test_couple_over_other_content_is_left_out() -> None:
    """A receipt of something else proves nothing."""
    assert verified_couples(RAW, [W2.couple(b"something else")], WITNESSES) == ()


def _variants(pair: KeyPair, count: int) -> list[IndexedSignature]:
    """Return one signature with many second indexes, as anybody can write them."""
    raw = pair.sign(RAW)
    return [indexed.make(pair.suite, raw, 0, ondex=place) for place in range(count)]


def test_one_signature_of_each_key_is_kept() -> None:
    """Variants of a signature that differ in the second index are one."""
    assert len(essential(_variants(A, 4000))) == 1


def test_the_variant_that_exposes_is_kept() -> None:
    """Of the variants, the one at the place of the key's digest counts."""
    digests = [commitment(B.key), commitment(C.key), commitment(A.key)]
    (kept,) = essential(_variants(A, 10), [A.key], digests)
    assert kept.ondex == 2
    assert exposed_places([kept], [A.key], digests) == {2}


def test_the_first_variant_that_exposes_stays() -> None:
    """Later variants change nothing once one exposes."""
    digests = [commitment(A.key), commitment(A.key)]
    (kept,) = essential(_variants(A, 3), [A.key], digests)
    assert kept.ondex == 0
