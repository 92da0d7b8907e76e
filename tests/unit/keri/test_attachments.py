"""Attachments, sorted by what they claim."""

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import (
    FirstSeenCouple,
    Group,
    LastSignatureGroup,
    PathedMaterial,
    PathSignatures,
    ReceiptQuadruple,
    SignatureGroup,
    SourceCouple,
    SourceTriple,
)
from keystead.keri.attachments import Attachments, Claims, Proofs, SignedEvent, gather
from keystead.testing.authoring import Author, KeyPair, witness
from support.logs import DIGEST, STAMP, group, signatures

AUTHOR = Author("any", keys=2)
EVENT = AUTHOR.incept().event
ONE, TWO = signatures(EVENT, AUTHOR.pairs(0))
COUPLE = witness("a").couple(EVENT.raw)
OTHER_COUPLE = witness("b").couple(EVENT.raw)
ENDORSEMENT = SignatureGroup(AUTHOR.aid, 0, DIGEST, (ONE, TWO))


@pytest.mark.parametrize(
    ("groups", "attachments"),
    [
        ([], Attachments(Claims())),
        (
            [group(GroupKind.CONTROLLER_SIGNATURES, ONE, TWO)],
            Attachments(Claims((ONE, TWO))),
        ),
        (
            [
                group(GroupKind.CONTROLLER_SIGNATURES, ONE),
                group(GroupKind.CONTROLLER_SIGNATURES, TWO),
            ],
            Attachments(Claims((ONE, TWO))),
        ),
        (
            [group(GroupKind.WITNESS_SIGNATURES, ONE)],
            Attachments(Claims(witness_signatures=(ONE,))),
        ),
        (
            [group(GroupKind.RECEIPT_COUPLES, COUPLE, OTHER_COUPLE)],
            Attachments(Claims(couples=(COUPLE, OTHER_COUPLE))),
        ),
        (
            [group(GroupKind.SIGNATURE_GROUPS, ENDORSEMENT)],
            Attachments(Claims(endorsements=(ENDORSEMENT,))),
        ),
        (
            [group(GroupKind.RECEIPT_QUADRUPLES, ReceiptQuadruple(AUTHOR.aid, 3, DIGEST, ONE))],
            Attachments(Claims(endorsements=(SignatureGroup(AUTHOR.aid, 3, DIGEST, (ONE,)),))),
        ),
        (
            [group(GroupKind.LAST_SIGNATURE_GROUPS, LastSignatureGroup(AUTHOR.aid, (ONE,)))],
            Attachments(Claims(), last_groups=(LastSignatureGroup(AUTHOR.aid, (ONE,)),)),
        ),
        (
            [
                group(
                    GroupKind.FIRST_SEEN_COUPLES,
                    FirstSeenCouple(0, STAMP),
                    FirstSeenCouple(1, STAMP),
                )
            ],
            Attachments(Claims(), first_seen=FirstSeenCouple(1, STAMP)),
        ),
        (
            [
                group(GroupKind.PATHED_MATERIAL, PathedMaterial("-e-a", b"-AAA")),
                group(GroupKind.PATHED_MATERIAL, PathedMaterial("-e-b", b"-AAA")),
            ],
            Attachments(
                Claims(),
                pathed=(PathedMaterial("-e-a", b"-AAA"), PathedMaterial("-e-b", b"-AAA")),
            ),
        ),
        (
            [group(GroupKind.ESSR_PAYLOAD, b"ab", b"c"), group(GroupKind.ESSR_PAYLOAD, b"d")],
            Attachments(Claims(), payload=b"abcd"),
        ),
        (
            [
                group(GroupKind.SOURCE_COUPLES, SourceCouple(1, DIGEST)),
                group(GroupKind.SOURCE_TRIPLES, SourceTriple(AUTHOR.aid, 1, DIGEST)),
                group(GroupKind.PATH_SIGNATURES, PathSignatures("-", ())),
            ],
            Attachments(Claims()),
        ),
    ],
)
def test_groups_are_sorted_by_their_kind(groups: list[Group], attachments: Attachments) -> None:
    """Each kind of group has its place; hints and signatures over parts of a body have none."""
    assert gather(groups) == attachments


def test_groups_of_one_signer_are_joined() -> None:
    """Groups and quadruples under one establishment event are one group, in order, each once."""
    others = SignatureGroup(AUTHOR.aid, 1, DIGEST, (ONE,))
    groups = [
        group(
            GroupKind.SIGNATURE_GROUPS, SignatureGroup(AUTHOR.aid, 0, DIGEST, (TWO, TWO)), others
        ),
        group(GroupKind.SIGNATURE_GROUPS, ENDORSEMENT),
        group(GroupKind.RECEIPT_QUADRUPLES, ReceiptQuadruple(AUTHOR.aid, 0, DIGEST, TWO)),
    ]
    joined = SignatureGroup(AUTHOR.aid, 0, DIGEST, (TWO, ONE))
    assert gather(groups).claims.endorsements == (joined, others)


def test_groups_without_signatures_are_left_out() -> None:
    """A group that names a signer and has no signature says nothing."""
    groups = [
        group(GroupKind.SIGNATURE_GROUPS, SignatureGroup(AUTHOR.aid, 0, DIGEST, ())),
        group(GroupKind.LAST_SIGNATURE_GROUPS, LastSignatureGroup(AUTHOR.aid, ())),
    ]
    assert gather(groups) == Attachments(Claims())


@pytest.mark.parametrize(
    ("claims", "most", "signers", "bounded"),
    [
        (Claims((ONE, TWO)), 2, 0, Claims((ONE, TWO))),
        (Claims((ONE, TWO)), 1, 0, Claims((ONE,))),
        (Claims((), (ONE, TWO)), 1, 0, Claims((), (ONE,))),
        (Claims(couples=(COUPLE, OTHER_COUPLE)), 1, 0, Claims(couples=(COUPLE,))),
        (Claims((ONE,), (TWO,), (COUPLE,)), 1, 0, Claims((ONE,), (TWO,), (COUPLE,))),
        (
            Claims(endorsements=(ENDORSEMENT,)),
            1,
            1,
            Claims(endorsements=(SignatureGroup(AUTHOR.aid, 0, DIGEST, (ONE,)),)),
        ),
        (
            Claims(endorsements=(ENDORSEMENT, SignatureGroup(AUTHOR.aid, 1, DIGEST, (ONE,)))),
            2,
            2,
            Claims(endorsements=(ENDORSEMENT,)),
        ),
        (
            Claims(endorsements=(ENDORSEMENT, SignatureGroup(AUTHOR.aid, 1, DIGEST, (ONE,)))),
            3,
            1,
            Claims(endorsements=(ENDORSEMENT,)),
        ),
    ],
)
def test_signatures_are_bounded(claims: Claims, most: int, signers: int, bounded: Claims) -> None:
    """The first of each kind stay, and groups of the first signers."""
    assert claims.bounded(most, signers) == bounded


@pytest.mark.parametrize(
    ("claims", "count"),
    [
        (Claims(), 0),
        (Claims((ONE,)), 1),
        (Claims(witness_signatures=(ONE,)), 1),
        (Claims(couples=(COUPLE,)), 1),
        (Claims(endorsements=(ENDORSEMENT,)), 2),
        (Claims((ONE, TWO), (ONE,), (COUPLE,), (ENDORSEMENT,)), 6),
    ],
)
def test_signatures_are_counted(claims: Claims, count: int) -> None:
    """All signatures count; there are any if the count is not zero."""
    assert claims.count == count
    assert bool(claims) is (count > 0)


def test_merged_signatures_are_there_once() -> None:
    """What both have is in the merged signatures once, in order."""
    first, second = Claims((ONE,), couples=(COUPLE,)), Claims((ONE, TWO), (ONE,))
    assert first.merged(second) == Claims((ONE, TWO), (ONE,), (COUPLE,))


def test_merged_endorsements_are_joined_by_signer() -> None:
    """More signatures of a signer do not make another group."""
    one, two = (SignatureGroup(AUTHOR.aid, 0, DIGEST, (signature,)) for signature in (ONE, TWO))
    merged = Claims(endorsements=(one,)).merged(Claims((ONE,), endorsements=(two,)))
    assert merged == Claims((ONE,), endorsements=(ENDORSEMENT,))
    assert Claims(endorsements=(one,)).merged(Claims((ONE,))).endorsements == (one,)


def test_merging_nothing_changes_nothing() -> None:
    """Merged with no signatures, signatures are what they were."""
    proofs = Proofs((ONE,))
    assert proofs.merged(Proofs()) is proofs


def test_merged_signatures_stay_what_they_are() -> None:
    """Verified signatures merge to verified ones."""
    assert type(Proofs((ONE,)).merged(Proofs((TWO,)))) is Proofs


def test_signed_event_keeps_its_proofs_with_more_claims() -> None:
    """New claims join the old ones and leave the proofs."""
    signed = SignedEvent(EVENT, Claims((ONE,)), Proofs((ONE,)), EVENT.said)
    more = signed.with_claims(Claims((TWO,)))
    assert more == SignedEvent(EVENT, Claims((ONE, TWO)), Proofs((ONE,)), EVENT.said)


def test_signed_event_is_for_its_own_log() -> None:
    """An event belongs to the log of its identifier."""
    signed = SignedEvent(EVENT, Claims())
    assert (signed.message, signed.log) == (EVENT, EVENT.aid)


def test_other_keys_do_not_matter_for_sorting() -> None:
    """Groups are sorted without a look at who signed."""
    stranger = KeyPair("stranger").indexed(b"x", 9, 9)
    assert gather([group(GroupKind.CONTROLLER_SIGNATURES, stranger)]).claims == Claims((stranger,))
