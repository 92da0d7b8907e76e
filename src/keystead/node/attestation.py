"""Signatures of a server over what it answers: a receipt couple (-C) over the exact content.

They let whoever asked keep the answer and show it to others. The signer is a non-transferable
identifier, so that its key is all that is needed to check one.
"""

from collections.abc import Callable
from typing import Final

from keystead.cesr import base64
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, ReceiptCouple, read_framed
from keystead.cesr.keys import Aid, Signature, parse_key
from keystead.cesr.writing import write_groups
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.limits import DEFAULT_LIMITS
from keystead.suites import Suite

# Signs bytes with the Ed25519 key of a server; returns 64 bytes.
Sign = Callable[[bytes], bytes]

HEADER: Final = "CESR-ATTACHMENT"
_LONGEST: Final = 1024  # characters of a header: one couple has 136


def attest(aid: Aid, sign: Sign, content: bytes) -> Group:
    """Sign content as a non-transferable identifier."""
    couple = ReceiptCouple(parse_key(aid), Signature(Suite.ED25519, sign(content)))
    return Group(GroupKind.RECEIPT_COUPLES, (couple,))


def attestation(aid: Aid, sign: Sign, content: bytes) -> str:
    """Return the header that goes with content."""
    return write_groups([attest(aid, sign, content)]).decode("ascii")


def check_attestation(aid: Aid, content: bytes, header: str) -> None:
    """Check that content was signed by an identifier, and is as it was then.

    Raises:
        VerificationError: it was not signed (verify.unsigned), not by `aid` (verify.signer), or
            it was changed (verify.signature).
        DecodeError: the header is malformed.
    """
    if not header:
        raise VerificationError(ErrorCode.UNSIGNED, "the answer is not signed")
    if len(header) > _LONGEST or len(header) % 4:
        raise DecodeError(ErrorCode.GROUP, "the signature of the answer is malformed")
    for group in read_framed(base64.decode(header.encode()), DEFAULT_LIMITS):
        for item in group.items:
            if isinstance(item, ReceiptCouple) and item.key.text == aid:
                _check(item, content)
                return
    raise VerificationError(ErrorCode.SIGNER, f"the answer is not signed by {aid}")


def _check(couple: ReceiptCouple, content: bytes) -> None:
    key, signature = couple.key, couple.signature
    if key.transferable or not key.verifies(signature.suite, signature.raw, content):
        raise VerificationError(ErrorCode.SIGNATURE, "the answer is not what was signed")
