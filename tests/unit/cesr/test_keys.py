"""Keys, signatures and digests as text."""

import hashlib

import pytest

from keystead import suites
from keystead.cesr import base64, codes, keys, primitives
from keystead.cesr.keys import Digest, Signature
from keystead.errors import DecodeError, ErrorCode
from keystead.suites import Suite

SEED = bytes(range(32))
SIGNING = [Suite.ED25519, Suite.SECP256K1, Suite.SECP256R1]
ROLES = [(suite, transferable) for suite, transferable in codes.KEY_CODES.values()]


def _raw_key(suite: Suite) -> bytes:
    return bytes(57) if suite is Suite.ED448 else suites.public_key(suite, SEED)


@pytest.mark.parametrize(("suite", "transferable"), ROLES)
def test_a_key_survives(suite: Suite, *, transferable: bool) -> None:
    """A key reads back with suite, raw form and transferability."""
    key = keys.make_key(suite, _raw_key(suite), transferable=transferable)
    assert (key.suite, key.raw, key.transferable) == (suite, _raw_key(suite), transferable)
    assert keys.parse_key(key.text) == key
    assert keys.key_of(key.text) == key
    assert keys.is_aid(key.text)


@pytest.mark.parametrize("size", [31, 33, 0])
def test_a_key_has_the_size_of_its_suite(size: int) -> None:
    """A raw key of another size is refused."""
    with pytest.raises(ValueError, match="takes 32 bytes"):
        keys.make_key(Suite.ED25519, bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "D",
        "D" + "A" * 42,
        "D" + "A" * 44,
        "DQ" + "A" * 42,
        "E" + "A" * 43,
        "A" + "A" * 43,
        "0B" + "A" * 86,
        "1AAE" + "A" * 152,
        "D" + "A" * 43 + "\n",
        "D+" + "A" * 42,
    ],
)
def test_another_text_is_no_key(text: str) -> None:
    """Only canonical text of a key code is a key."""
    with pytest.raises(DecodeError) as caught:
        keys.parse_key(text)
    assert caught.value.code is ErrorCode.VALUE


@pytest.mark.parametrize("suite", SIGNING)
def test_a_key_verifies_its_signature(suite: Suite) -> None:
    """A key takes signatures of its own suite alone."""
    key = keys.make_key(suite, _raw_key(suite))
    signature = suites.sign(suite, SEED, b"text")
    assert key.verifies(suite, signature, b"text")
    assert not key.verifies(suite, signature, b"other")
    for other in {None, *Suite} - {suite}:
        assert not key.verifies(other, signature, b"text")


@pytest.mark.parametrize(("code", "suite"), codes.SIGNATURE_CODES.items())
def test_a_signature_is_a_primitive(code: str, suite: Suite) -> None:
    """The suite tells the code."""
    raw = bytes(114 if suite is Suite.ED448 else 64)
    primitive = Signature(suite, raw).primitive
    assert (primitive.code, primitive.raw) == (code, raw)


@pytest.mark.parametrize("code", codes.DIGEST_CODES)
def test_a_digest_is_a_primitive(code: str) -> None:
    """The digest of data is the value of its algorithm under its code."""
    text = keys.digest(b"data", code)
    hashed = suites.DIGESTS[codes.DIGEST_CODES[code]]
    assert primitives.parse(text) == primitives.make(code, hashed(b"data").digest())
    assert keys.digest_code(text) == code
    assert keys.is_aid(text)


@pytest.mark.parametrize("code", codes.DIGEST_CODES)
def test_a_digest_is_of_its_data(code: str) -> None:
    """A digest matches its data and no other."""
    text = keys.digest(b"data", code)
    assert keys.is_digest_of(text, b"data")
    assert not keys.is_digest_of(text, b"datum")


def test_the_usual_digest_is_blake3() -> None:
    """Without a code, the digest is Blake3-256."""
    assert keys.digest(b"").startswith("E")


@pytest.mark.parametrize("one", codes.DIGEST_CODES)
def test_a_digest_under_another_code_does_not_match(one: str) -> None:
    """The code tells the algorithm: the same bytes under another code are another digest."""
    raw = primitives.parse(keys.digest(b"data", one)).raw
    for other in set(codes.DIGEST_CODES) - {one}:
        if len(other) == len(one):
            assert not keys.is_digest_of(Digest(primitives.make(other, raw).text), b"data")


@pytest.mark.parametrize(
    "text",
    ["", "E", "D" + "A" * 43, "E" + "A" * 44, "EQ" + "A" * 42, "0D" + "A" * 85, "0DE" + "A" * 85],
)
def test_another_text_has_no_digest_code(text: str) -> None:
    """Only canonical text of a digest has a digest code."""
    assert keys.digest_code(text) == ""


@pytest.mark.parametrize(
    "text", ["", "X" + "A" * 43, "0B" + "A" * 86, "A" * 44, "E" + "A" * 43 + "\n"]
)
def test_another_text_is_no_identifier(text: str) -> None:
    """An identifier is a key or a digest."""
    assert not keys.is_aid(text)


def test_sha2_is_that_of_the_standard_library() -> None:
    """The material behind the code is the digest itself."""
    text = keys.digest(b"data", "I")
    assert base64.decode(text.encode())[1:] == hashlib.sha256(b"data").digest()
