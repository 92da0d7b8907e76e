"""Public keys, detached signatures and digests as CESR text."""

from functools import lru_cache
from typing import NewType, TypeAlias

import msgspec

from keystead import suites
from keystead.cesr import base64, codes, primitives
from keystead.cesr.primitives import Primitive
from keystead.errors import DecodeError, ErrorCode
from keystead.suites import Suite

# Canonical text of a digest, for instance the commitment to a next key.
Digest = NewType("Digest", str)
# Canonical text of a digest of a field map that contains it.
Said: TypeAlias = Digest
# Canonical text of an identifier: a key (basic derivation) or a digest (self-addressing).
Aid = NewType("Aid", str)

DIGEST_PATTERN = codes.text_pattern(codes.DIGEST_CODES)
KEY_PATTERN = codes.text_pattern(codes.KEY_CODES)
AID_PATTERN = codes.text_pattern([*codes.DIGEST_CODES, *codes.KEY_CODES])

_AIDS_REMEMBERED = 4096
_LONGEST_AID = 88  # a digest of 64 bytes
_ALGORITHMS = {
    # code -> the bytes in front of the digest in the binary domain, and the algorithm
    code: (base64.decode(code.encode().ljust(4, b"A"))[: len(code)], suites.DIGESTS[name])
    for code, name in codes.DIGEST_CODES.items()
}
# Code -> suite, transferable, bytes in front of the key in the binary domain.
_KEY_ROLES = {
    code: (suite, transferable, 1 if len(code) == 1 else len(code) * 3 // 4)
    for code, (suite, transferable) in codes.KEY_CODES.items()
}
_KEYS_REMEMBERED = 4096  # the keys of a few thousand identifiers: about 1.5 MB


class VerificationKey(msgspec.Struct, frozen=True, gc=False):
    """A public key.

    Attributes:
        text: canonical text with its code.
        suite: signature suite.
        raw: the key without code.
        transferable: the code allows control to move to other keys.
    """

    text: str
    suite: Suite
    raw: bytes
    transferable: bool

    def verifies(self, suite: Suite | None, signature: bytes, message: bytes) -> bool:
        """Tell whether this key made `signature` under the suite that its code states."""
        return suite is self.suite and suites.verify(self.suite, self.raw, signature, message)


class Signature(msgspec.Struct, frozen=True, gc=False):
    """A signature without index.

    Attributes:
        suite: signature suite.
        raw: the signature.
    """

    suite: Suite
    raw: bytes

    @property
    def primitive(self) -> Primitive:
        """The signature as a primitive."""
        code = next(code for code, suite in codes.SIGNATURE_CODES.items() if suite is self.suite)
        return primitives.make(code, self.raw)


@lru_cache(maxsize=_KEYS_REMEMBERED)
def parse_key(text: str) -> VerificationKey:
    """Read a public key that is a field value.

    Raises:
        DecodeError: not canonical text of a key (decode.value).
    """
    if not KEY_PATTERN.fullmatch(text):
        raise DecodeError(ErrorCode.VALUE, "not a public key")
    return key_of(text)


def key_of(text: str) -> VerificationKey:
    """Read a public key whose text is known to be canonical."""
    code = text[:4] if text[0] == "1" else text[0]
    suite, transferable, head = _KEY_ROLES[code]
    return VerificationKey(text, suite, base64.decode(text.encode())[head:], transferable)


def make_key(suite: Suite, raw: bytes, *, transferable: bool = True) -> VerificationKey:
    """Make a public key from its raw form.

    Raises:
        ValueError: the raw form has the wrong size for the suite.
    """
    code = next(code for code, role in codes.KEY_CODES.items() if role == (suite, transferable))
    return VerificationKey(primitives.make(code, raw).text, suite, raw, transferable)


def is_aid(text: str) -> bool:
    """Tell whether `text` is the canonical text of an identifier."""
    # What is too long must not be remembered: a stranger could fill memory with it.
    return len(text) <= _LONGEST_AID and _is_aid(text)


@lru_cache(maxsize=_AIDS_REMEMBERED)
def _is_aid(text: str) -> bool:
    return AID_PATTERN.fullmatch(text) is not None


def digest(data: bytes, code: str = "E") -> Digest:
    """Return the digest of `data` as text; `code` is one of `codes.DIGEST_CODES`."""
    head, hashed = _ALGORITHMS[code]
    return Digest(base64.encode(head + hashed(data).digest()).decode("ascii"))


def is_digest_of(text: Digest, data: bytes) -> bool:
    """Tell whether `text` is the digest of `data`, in the algorithm that it names."""
    head, hashed = _ALGORITHMS[text[0] if text[0] != "0" else text[:2]]
    return base64.encode(head + hashed(data).digest()) == text.encode()


def digest_code(text: str) -> str:
    """Return the code of a digest, or an empty string when `text` is not a canonical digest."""
    if not DIGEST_PATTERN.fullmatch(text):
        return ""
    return text[:2] if text[0] == "0" else text[0]
