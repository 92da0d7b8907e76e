"""Signatures by other transferable identifiers: whose keys must have made them.

Source: KERI specification, "Endorsements" and "Indexed Signatures" (non-key-event messages).
"""

import msgspec

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.errors import ErrorCode, VerificationError
from keystead.keri.events import EstablishmentEvent
from keystead.keri.keystate import AcceptedEvent, Establishment
from keystead.keri.verification import essential, signing_places, verified_signatures


class Signed(msgspec.Struct, frozen=True, gc=False):
    """Signatures of a signer that verify.

    Attributes:
        signatures: the good ones, at least one.
        sufficient: they meet the signer's threshold.
    """

    signatures: tuple[IndexedSignature, ...]
    sufficient: bool


def signer_keys(group: SignatureGroup, named: AcceptedEvent | None) -> Establishment | None:
    """Return the keys that a signature group must have been made with.

    Args:
        group: the signatures and the establishment event that they name.
        named: the event at that place of the signer's trunk, None when it is not known.

    Returns:
        What the named event established, None when it is not known.

    Raises:
        VerificationError: the trunk has another event there, or one that sets no keys
            (verify.signer_seal).
    """
    if named is None:
        return None
    event = named.event
    if event.said != group.said or not isinstance(event, EstablishmentEvent):
        raise VerificationError(
            ErrorCode.SIGNER_SEAL, "the signature names no establishment event of the signer"
        )
    return named.state.establishment


def check_signatures(
    raw: bytes,
    establishment: Establishment,
    claimed: tuple[IndexedSignature, ...],
    proven: tuple[IndexedSignature, ...] = (),
) -> Signed:
    """Verify signatures by the keys of an establishment event.

    Args:
        raw: what was signed.
        establishment: the signer's keys and threshold.
        claimed: unverified signatures.
        proven: signatures that were verified before with the same keys.

    Raises:
        VerificationError: none verifies (verify.signature).
    """
    keys = establishment.signing_keys
    known = {signature.index for signature in proven}
    fresh = [one for one in claimed if one.index not in known]
    good = proven + essential(verified_signatures(raw, fresh, keys))
    if not good:
        raise VerificationError(ErrorCode.SIGNATURE, "no signature of the signer verifies")
    places = signing_places(good, keys)
    return Signed(good, establishment.signing_threshold.satisfied_by(places))
