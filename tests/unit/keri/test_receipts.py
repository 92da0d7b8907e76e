"""Signatures by other transferable identifiers."""

import pytest

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Said
from keystead.errors import ErrorCode, VerificationError
from keystead.keri.attachments import Proofs
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.receipts import Signed, check_signatures, signer_keys
from keystead.testing.authoring import Author, KeyPair
from support.logs import DIGEST

RAW = b"what is signed"
SIGNER = Author("signer", keys=3, threshold="2")
INCEPTION = SIGNER.incept().event
LAST = SIGNER.state.establishment
ONE, TWO, THREE = SIGNER.signatures(RAW)
ACCEPTED = AcceptedEvent(INCEPTION, SIGNER.state, Proofs(), 0, "")
INTERACTION = SIGNER.interact().event
ACCEPTED_INTERACTION = AcceptedEvent(INTERACTION, SIGNER.state, Proofs(), 1, "")


def _group(said: Said) -> SignatureGroup:
    return SignatureGroup(SIGNER.aid, 0, said, (ONE,))


def test_keys_are_those_of_the_named_event() -> None:
    """The named establishment event tells the keys."""
    assert signer_keys(_group(INCEPTION.said), ACCEPTED) is LAST


def test_unknown_event_tells_no_keys() -> None:
    """As long as the signer's log is not known there are no keys."""
    assert signer_keys(_group(INCEPTION.said), None) is None


@pytest.mark.parametrize(
    ("said", "named"),
    [(DIGEST, ACCEPTED), (INTERACTION.said, ACCEPTED_INTERACTION)],
    ids=["other event", "interaction"],
)
def test_other_events_tell_no_keys(said: Said, named: AcceptedEvent) -> None:
    """An event of another digest, or one that sets no keys, cannot be the signer's seal."""
    with pytest.raises(VerificationError) as caught:
        signer_keys(_group(said), named)
    assert caught.value.code is ErrorCode.SIGNER_SEAL


def test_enough_signatures_are_sufficient() -> None:
    """Signatures that meet the signer's threshold suffice."""
    assert check_signatures(RAW, LAST, (ONE, THREE)) == Signed((ONE, THREE), sufficient=True)


def test_too_few_signatures_are_not() -> None:
    """Good signatures below the threshold are kept, and more are needed."""
    assert check_signatures(RAW, LAST, (TWO,)) == Signed((TWO,), sufficient=False)


def test_same_key_counts_once() -> None:
    """A key that signs twice does not meet a threshold of two."""
    again = SIGNER.pairs(0)[0].indexed(RAW, 0, 1)
    assert not check_signatures(RAW, LAST, (ONE, again)).sufficient


def test_proven_signatures_are_not_checked_again() -> None:
    """What was verified before counts together with what is new."""
    found = check_signatures(RAW, LAST, (ONE, TWO), (ONE,))
    assert found == Signed((ONE, TWO), sufficient=True)


def test_proven_signatures_alone_may_stay() -> None:
    """Useless new signatures leave the proven ones."""
    bad = KeyPair("stranger").indexed(RAW, 1, 1)
    assert check_signatures(RAW, LAST, (bad,), (ONE,)) == Signed((ONE,), sufficient=False)


def test_no_good_signature_is_an_error() -> None:
    """At least one signature must verify."""
    with pytest.raises(VerificationError) as caught:
        check_signatures(RAW, LAST, (KeyPair("stranger").indexed(RAW, 0, 0),))
    assert caught.value.code is ErrorCode.SIGNATURE
