"""Indexed signatures in the text and the binary domain."""

import pytest

from keystead.cesr import base64, indexed
from keystead.cesr.codes import VERSION_1
from keystead.cesr.indexed import IndexedSignature
from keystead.errors import DecodeError, ErrorCode
from keystead.suites import Suite

RAW = bytes(range(64))


def _example(code: str) -> IndexedSignature:
    """Return a signature of `code` with places that fit it."""
    row = VERSION_1.indexed[code]
    if row.size is None:  # the index counts quadlets
        return IndexedSignature(code, 3, 3, bytes(range(9)))
    size = (row.size - len(code) - row.index_chars - row.other_chars) * 3 // 4 - row.lead
    other = None if row.current_only else (7 if row.other_chars else 5)
    return IndexedSignature(code, 5, other, bytes(range(200))[:size])


CODES = list(VERSION_1.indexed)


@pytest.mark.parametrize("code", CODES)
def test_every_code_survives_the_text_domain(code: str) -> None:
    """Text reads back as the same signature, to its end."""
    signature = _example(code)
    text = signature.text.encode()
    assert indexed.read_text(b"x" + text + b"AAAA", 1) == (signature, 1 + len(text))


@pytest.mark.parametrize("code", CODES)
def test_every_code_survives_the_binary_domain(code: str) -> None:
    """Bytes read back as the same signature."""
    signature = _example(code)
    binary = signature.binary
    assert base64.encode(binary).decode() == signature.text
    assert indexed.read_binary(b"xx" + binary + b"\0\0\0", 2) == (signature, 2 + len(binary))


@pytest.mark.parametrize("code", CODES)
def test_the_code_tells_the_suite(code: str) -> None:
    """Codes state a suite but for those reserved for tests."""
    assert _example(code).suite is VERSION_1.indexed[code].suite


@pytest.mark.parametrize("code", CODES)
def test_a_cut_text_is_truncated(code: str) -> None:
    """Text that ends early says so, wherever it ends."""
    text = _example(code).text.encode()
    for size in range(len(text)):
        with pytest.raises(DecodeError) as caught:
            indexed.read_text(text[:size])
        assert caught.value.code is ErrorCode.TRUNCATED


@pytest.mark.parametrize("code", CODES)
def test_cut_bytes_are_truncated(code: str) -> None:
    """Bytes that end early say so, wherever they end."""
    binary = _example(code).binary
    for size in range(len(binary)):
        with pytest.raises(DecodeError) as caught:
            indexed.read_binary(binary[:size])
        assert caught.value.code is ErrorCode.TRUNCATED


@pytest.mark.parametrize(
    "text", ["!A", "-AAB", "_A", "5A", "GA", "ZA", "1AAA", "4AAA", "2z" + "A" * 90]
)
def test_unknown_codes_are_refused(text: str) -> None:
    """A code that is not in the table is not guessed."""
    with pytest.raises(DecodeError) as caught:
        indexed.read_text(text.encode())
    assert caught.value.code is ErrorCode.UNKNOWN_CODE


@pytest.mark.parametrize(
    "text",
    [
        "A=" + "A" * 86,
        "AA" + "=" + "A" * 85,
        "AAE" + "A" * 85,
        "AA_" + "A" * 85,
        "2AAAA+" + "A" * 86,
        "1zAA_" + "A" * 71,
        "0z+A",
        "AA" + "A" * 85 + "+",
    ],
)
def test_pad_bits_and_other_characters_are_refused(text: str) -> None:
    """One signature has one text."""
    with pytest.raises(DecodeError) as caught:
        indexed.read_text(text.encode())
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize("code", ["0B", "2B", "2D", "2F", "3B"])
def test_a_signature_for_the_current_list_has_no_second_place(code: str) -> None:
    """A second index under such a code is refused."""
    row = VERSION_1.indexed[code]
    text = _example(code).text
    end = len(code) + row.index_chars + row.other_chars
    with pytest.raises(DecodeError) as caught:
        indexed.read_text(f"{text[: end - 1]}B{text[end:]}".encode())
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256K1, Suite.SECP256R1])
@pytest.mark.parametrize(
    ("index", "ondex", "code"),
    [
        (0, 0, "A"),
        (63, 63, "A"),
        (63, None, "A"),
        (0, 1, "2A"),
        (1, 0, "2A"),
        (64, 64, "2A"),
        (64, None, "2A"),
        (4095, 4095, "2A"),
        (0, 4095, "2A"),
    ],
)
def test_the_smallest_code_is_taken(suite: Suite, index: int, ondex: int | None, code: str) -> None:
    """One place takes the small code as long as it fits, two take the big one."""
    shift = {Suite.ED25519: 0, Suite.SECP256K1: 2, Suite.SECP256R1: 4}[suite]
    signature = indexed.make(suite, RAW, index, ondex=ondex)
    assert signature.code == code[:-1] + chr(ord(code[-1]) + shift)
    assert (signature.index, signature.ondex) == (index, index if ondex is None else ondex)
    assert indexed.read_text(signature.text.encode())[0] == signature


@pytest.mark.parametrize(("index", "code"), [(0, "B"), (63, "B"), (64, "2B"), (4095, "2B")])
@pytest.mark.parametrize("ondex", [None, 0, 5000])
def test_a_signature_for_the_current_list_forgets_the_other_place(
    index: int, code: str, ondex: int | None
) -> None:
    """It takes the code for the current list alone, whatever the other place is."""
    signature = indexed.make(Suite.ED25519, RAW, index, ondex=ondex, current_only=True)
    assert (signature.code, signature.index, signature.ondex) == (code, index, None)
    assert indexed.read_text(signature.text.encode())[0] == signature


@pytest.mark.parametrize(
    ("index", "ondex", "code"), [(0, 0, "0A"), (1, 2, "0A"), (64, 64, "3A"), (0, 2**18 - 1, "3A")]
)
def test_ed448_signatures_have_codes(index: int, ondex: int, code: str) -> None:
    """The table knows Ed448, which holds 114 bytes."""
    signature = indexed.make(Suite.ED448, bytes(114), index, ondex=ondex)
    assert signature.code == code
    assert indexed.read_binary(signature.binary)[0] == signature


@pytest.mark.parametrize(("index", "ondex"), [(4096, None), (0, 4096), (4096, 0)])
def test_a_place_must_fit(index: int, ondex: int | None) -> None:
    """A place beyond the biggest code is refused."""
    with pytest.raises(ValueError, match="no code for places"):
        indexed.make(Suite.ED25519, RAW, index, ondex=ondex)


@pytest.mark.parametrize("size", [0, 63, 65, 114])
@pytest.mark.parametrize("index", [0, 64])
def test_a_signature_must_have_its_size(size: int, index: int) -> None:
    """A signature of another length is refused."""
    with pytest.raises(ValueError, match=f"not {size} bytes long"):
        indexed.make(Suite.ED25519, bytes(size), index, ondex=None)
