"""Signature suites and digests on raw bytes."""

import hashlib

import pytest
from blake3 import blake3

from keystead import suites
from keystead.suites import Suite
from support import edwards

SEED = bytes(range(32))
MESSAGE = b"a message"
ECDSA_ORDERS = {
    Suite.SECP256K1: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Suite.SECP256R1: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
SIGNING = [Suite.ED25519, *ECDSA_ORDERS]
PRIVATE = edwards.secret_of(SEED)
NONCE = 777


def _signature(r: bytes, s: int) -> bytes:
    return r + s.to_bytes(32, "little")


def _parts(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def _joined(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


SMALL_ORDER = [encoding for point in edwards.TORSION for encoding in edwards.encodings(point)]
NON_CANONICAL = [encoding for point in edwards.TORSION for encoding in edwards.encodings(point)[1:]]


def _message_for(r: bytes, key: bytes, *, multiple_of: int, rest: int = 0) -> bytes:
    """Return a message whose challenge leaves `rest`."""
    return next(
        message
        for message in (b"%d" % number for number in range(1000))
        if edwards.challenge(r, key, message) % multiple_of == rest
    )


def test_there_are_eight_small_order_points_and_six_odd_encodings_of_them() -> None:
    """The tables that the tests below run over are complete."""
    assert len(set(SMALL_ORDER)) == 8 + 6
    assert len(NON_CANONICAL) == 6
    assert all(edwards.multiply(8, point) == edwards.ZERO for point in edwards.TORSION)


@pytest.mark.parametrize(
    ("seed", "key", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
)
def test_ed25519_follows_rfc_8032(seed: str, key: str, message: str, signature: str) -> None:
    """Key and signature are those of RFC 8032, section 7.1."""
    made = suites.sign(Suite.ED25519, bytes.fromhex(seed), bytes.fromhex(message))
    assert suites.public_key(Suite.ED25519, bytes.fromhex(seed)).hex() == key
    assert made.hex() == signature


@pytest.mark.parametrize("suite", SIGNING)
def test_a_signature_verifies(suite: Suite) -> None:
    """What was signed verifies under the public half."""
    signature = suites.sign(suite, SEED, MESSAGE)
    assert len(signature) == suites.SIGNATURE_BYTES
    assert suites.verify(suite, suites.public_key(suite, SEED), signature, MESSAGE)


@pytest.mark.parametrize("suite", SIGNING)
def test_signing_an_empty_message_works(suite: Suite) -> None:
    """The empty message is a message."""
    signature = suites.sign(suite, SEED, b"")
    assert suites.verify(suite, suites.public_key(suite, SEED), signature, b"")


@pytest.mark.parametrize("suite", SIGNING)
def test_another_message_does_not_verify(suite: Suite) -> None:
    """A signature is over one message."""
    signature = suites.sign(suite, SEED, MESSAGE)
    assert not suites.verify(suite, suites.public_key(suite, SEED), signature, MESSAGE + b"!")


@pytest.mark.parametrize("suite", SIGNING)
def test_another_key_does_not_verify(suite: Suite) -> None:
    """A signature is by one key."""
    signature = suites.sign(suite, SEED, MESSAGE)
    assert not suites.verify(suite, suites.public_key(suite, bytes(31) + b"\1"), signature, MESSAGE)


@pytest.mark.parametrize("suite", SIGNING)
@pytest.mark.parametrize("place", range(64))
def test_a_changed_bit_does_not_verify(suite: Suite, place: int) -> None:
    """Every byte of a signature counts."""
    signature = bytearray(suites.sign(suite, SEED, MESSAGE))
    signature[place] ^= 1
    assert not suites.verify(suite, suites.public_key(suite, SEED), bytes(signature), MESSAGE)


@pytest.mark.parametrize("suite", SIGNING)
@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(suite: Suite, size: int) -> None:
    """Only 64 bytes are a signature, even where the rest stands in the message."""
    whole = suites.sign(suite, SEED, MESSAGE) + MESSAGE * 10
    key = suites.public_key(suite, SEED)
    assert not suites.verify(suite, key, whole[:size], whole[size:])


@pytest.mark.parametrize("suite", SIGNING)
@pytest.mark.parametrize("change", [-33, -32, -1, 1, 32])
def test_a_key_of_another_length_is_refused(suite: Suite, change: int) -> None:
    """A key that is cut or prolonged verifies nothing."""
    key = suites.public_key(suite, SEED)
    wrong = (key + bytes(32))[: max(0, len(key) + change)]
    assert not suites.verify(suite, wrong, suites.sign(suite, SEED, MESSAGE), MESSAGE)


@pytest.mark.parametrize(
    ("stated", "used"), [(one, other) for one in Suite for other in SIGNING if one is not other]
)
def test_a_signature_of_another_suite_is_refused(stated: Suite, used: Suite) -> None:
    """The stated suite decides, whatever key and signature are."""
    key, signature = suites.public_key(used, SEED), suites.sign(used, SEED, MESSAGE)
    assert not suites.verify(stated, key, signature, MESSAGE)


@pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
def test_ed25519_refuses_keys_of_small_order(key: bytes) -> None:
    """Such keys make one signature valid for many messages; all encodings are refused."""
    r = edwards.encode(edwards.multiply(NONCE, edwards.BASE))
    message = _message_for(r, key, multiple_of=8)
    signature = _signature(r, NONCE)
    assert edwards.equation_holds(key, signature, message)
    assert not suites.verify(Suite.ED25519, key, signature, message)


@pytest.mark.parametrize("r", SMALL_ORDER, ids=bytes.hex)
def test_ed25519_refuses_r_of_small_order(r: bytes) -> None:
    """R of small order, in all encodings, is refused, though the equation holds."""
    key = suites.public_key(Suite.ED25519, SEED)
    s = edwards.challenge(r, key, MESSAGE) * PRIVATE % edwards.L
    signature = _signature(r, s)
    assert edwards.equation_holds(key, signature, MESSAGE, cofactor=8)
    assert not suites.verify(Suite.ED25519, key, signature, MESSAGE)


@pytest.mark.parametrize("r", NON_CANONICAL[:4], ids=bytes.hex)
def test_ed25519_refuses_both_of_small_order(r: bytes) -> None:
    """The signature that is valid for all messages under lenient verifiers is refused."""
    signature = _signature(r, 0)
    for key in SMALL_ORDER:
        assert not suites.verify(Suite.ED25519, key, signature, MESSAGE)


@pytest.mark.parametrize("height", range(2, 19))
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_refuses_keys_beyond_the_field(height: int, sign: int) -> None:
    """Keys whose number is not below the field's prime are refused."""
    key = (edwards.P + height | sign << 255).to_bytes(32, "little")
    assert not suites.verify(Suite.ED25519, key, suites.sign(Suite.ED25519, SEED, b""), b"")


@pytest.mark.parametrize("times", range(1, 16))
def test_ed25519_refuses_s_beyond_the_order(times: int) -> None:
    """One signature has one form: S + n L is refused, though the equation holds."""
    key = suites.public_key(Suite.ED25519, SEED)
    signature = suites.sign(Suite.ED25519, SEED, MESSAGE)
    s = int.from_bytes(signature[32:], "little") + times * edwards.L
    changed = _signature(signature[:32], s)
    assert edwards.equation_holds(key, changed, MESSAGE)
    assert not suites.verify(Suite.ED25519, key, changed, MESSAGE)


@pytest.mark.parametrize("torsion", edwards.TORSION[1:])
def test_ed25519_refuses_r_of_mixed_order(torsion: edwards.Point) -> None:
    """R with a part of small order fails: the equation is taken without cofactor."""
    key = suites.public_key(Suite.ED25519, SEED)
    r = edwards.encode(edwards.add(edwards.multiply(NONCE, edwards.BASE), torsion))
    s = (NONCE + edwards.challenge(r, key, MESSAGE) * PRIVATE) % edwards.L
    signature = _signature(r, s)
    assert edwards.equation_holds(key, signature, MESSAGE, cofactor=8)
    assert not suites.verify(Suite.ED25519, key, signature, MESSAGE)


def _mixed(torsion: edwards.Point, *, rest: int) -> tuple[bytes, bytes, bytes]:
    """Return a key with a part of small order, a signature and a message."""
    key = edwards.encode(edwards.add(edwards.multiply(PRIVATE, edwards.BASE), torsion))
    r = edwards.encode(edwards.multiply(NONCE, edwards.BASE))
    message = _message_for(r, key, multiple_of=8, rest=rest)
    s = (NONCE + edwards.challenge(r, key, message) * PRIVATE) % edwards.L
    return key, _signature(r, s), message


@pytest.mark.parametrize("torsion", edwards.TORSION[1:])
def test_ed25519_refuses_keys_of_mixed_order(torsion: edwards.Point) -> None:
    """A signature that holds only up to a point of small order is refused."""
    key, signature, message = _mixed(torsion, rest=1)
    assert edwards.equation_holds(key, signature, message, cofactor=8)
    assert not suites.verify(Suite.ED25519, key, signature, message)


@pytest.mark.parametrize("torsion", edwards.TORSION[1:])
def test_ed25519_takes_keys_of_mixed_order_where_the_bare_equation_holds(
    torsion: edwards.Point,
) -> None:
    """Verifiers without cofactor agree on these, so the verdict must not change."""
    key, signature, message = _mixed(torsion, rest=0)
    assert edwards.equation_holds(key, signature, message)
    assert suites.verify(Suite.ED25519, key, signature, message)


@pytest.mark.parametrize("suite", ECDSA_ORDERS)
@pytest.mark.parametrize("number", range(12))
def test_ecdsa_makes_low_s(suite: Suite, number: int) -> None:
    """S of a made signature is in the lower half of the order."""
    _, s = _parts(suites.sign(suite, SEED, b"%d" % number))
    assert 0 < s <= ECDSA_ORDERS[suite] // 2


@pytest.mark.parametrize("suite", ECDSA_ORDERS)
def test_ecdsa_takes_high_s(suite: Suite) -> None:
    """The other form of S verifies: other libraries make it."""
    r, s = _parts(suites.sign(suite, SEED, MESSAGE))
    high = _joined(r, ECDSA_ORDERS[suite] - s)
    assert suites.verify(suite, suites.public_key(suite, SEED), high, MESSAGE)


@pytest.mark.parametrize("suite", ECDSA_ORDERS)
@pytest.mark.parametrize("place", ["r", "s", "both"])
@pytest.mark.parametrize("value", ["zero", "order", "order and more"])
def test_ecdsa_refuses_numbers_out_of_range(suite: Suite, place: str, value: str) -> None:
    """Neither r nor s may be zero or reach the order."""
    r, s = _parts(suites.sign(suite, SEED, MESSAGE))
    order = ECDSA_ORDERS[suite]
    change = {"zero": 0, "order": order, "order and more": order + 1}[value]
    wrong = _joined(s if place == "s" else change, r if place == "r" else change)
    assert not suites.verify(suite, suites.public_key(suite, SEED), wrong, MESSAGE)


@pytest.mark.parametrize("suite", ECDSA_ORDERS)
@pytest.mark.parametrize(
    "key",
    [bytes(33), b"\2" + bytes(31) + b"\5", b"\2" + b"\xff" * 32, b"\4" + bytes(32), b"\0"],
    ids=["zero", "off the curve", "beyond the field", "cut uncompressed", "infinity"],
)
def test_ecdsa_refuses_keys_that_are_no_points(suite: Suite, key: bytes) -> None:
    """Only a compressed point of the curve is a key."""
    if suite is Suite.SECP256R1 and key[-1:] == b"\5":
        key = b"\2" + bytes(31) + b"\1"  # x = 5 is on this curve
    assert not suites.verify(suite, key, suites.sign(suite, SEED, MESSAGE), MESSAGE)


@pytest.mark.parametrize("suite", ECDSA_ORDERS)
def test_ecdsa_refuses_the_opposite_key(suite: Suite) -> None:
    """The sign of the point counts."""
    key = bytearray(suites.public_key(suite, SEED))
    key[0] ^= 1
    assert not suites.verify(suite, bytes(key), suites.sign(suite, SEED, MESSAGE), MESSAGE)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
@pytest.mark.parametrize("suite", SIGNING)
def test_a_seed_has_32_bytes(suite: Suite, size: int) -> None:
    """A seed of another length is refused."""
    with pytest.raises(ValueError, match="a seed has 32 bytes"):
        suites.sign(suite, bytes(size), MESSAGE)
    with pytest.raises(ValueError, match="a seed has 32 bytes"):
        suites.public_key(suite, bytes(size))


@pytest.mark.parametrize("suite", ECDSA_ORDERS)
@pytest.mark.parametrize("value", ["zero", "order"])
def test_an_ecdsa_seed_is_a_private_key(suite: Suite, value: str) -> None:
    """A number that is no private key of the curve is refused."""
    seed = (ECDSA_ORDERS[suite] if value == "order" else 0).to_bytes(32, "big")
    with pytest.raises(ValueError, match=r"."):
        suites.sign(suite, seed, MESSAGE)


def test_ed448_cannot_sign() -> None:
    """A suite without an implementation says so."""
    with pytest.raises(ValueError, match="cannot sign with Ed448"):
        suites.sign(Suite.ED448, SEED, MESSAGE)
    with pytest.raises(ValueError, match="cannot sign with Ed448"):
        suites.public_key(Suite.ED448, SEED)


DIGESTS = {
    "Blake3-256": lambda data: blake3(data).digest(),
    "Blake3-512": lambda data: blake3(data).digest(64),
    "Blake2b-256": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    "Blake2b-512": lambda data: hashlib.blake2b(data).digest(),
    "Blake2s-256": lambda data: hashlib.blake2s(data).digest(),
    "SHA3-256": lambda data: hashlib.sha3_256(data).digest(),
    "SHA3-512": lambda data: hashlib.sha3_512(data).digest(),
    "SHA2-256": lambda data: hashlib.sha256(data).digest(),
    "SHA2-512": lambda data: hashlib.sha512(data).digest(),
}


def test_all_nine_digests_are_there() -> None:
    """No algorithm is missing, none is without a test."""
    assert set(suites.DIGESTS) == set(DIGESTS)


@pytest.mark.parametrize("name", DIGESTS)
@pytest.mark.parametrize("data", [b"", b"abc", bytes(1000)])
def test_a_digest_is_that_of_its_algorithm(name: str, data: bytes) -> None:
    """The digest equals that of the standard library or of blake3."""
    assert suites.DIGESTS[name](data).digest() == DIGESTS[name](data)


@pytest.mark.parametrize("name", DIGESTS)
def test_a_digest_has_the_size_in_its_name(name: str) -> None:
    """The name tells the bits."""
    assert len(suites.DIGESTS[name](b"").digest()) * 8 == int(name.rpartition("-")[2])


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("Blake3-256", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ("SHA2-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("SHA3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        ("Blake2s-256", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
    ],
)
def test_a_digest_of_abc_is_as_published(name: str, digest: str) -> None:
    """The digest equals the published one."""
    assert suites.DIGESTS[name](b"abc").digest().hex() == digest
