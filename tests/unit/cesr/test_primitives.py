"""Primitives in the text and the binary domain."""

import pytest

from keystead.cesr import base64, primitives
from keystead.cesr.codes import VERSION_1
from keystead.cesr.primitives import Primitive
from keystead.errors import DecodeError, ErrorCode

KEY = "DKxy2sgzfplyr-tgwIxS19f2OchFHtLwPWD3v4oYimBx"


def _example(code: str, filling: int) -> Primitive:
    """Return a primitive of `code` whose material is `filling` throughout."""
    row = VERSION_1.primitives[code]
    if row.size is None:
        big = len(code) == 4
        size = 3 * (2 if not big else 4096) - row.lead
        return primitives.make(code, bytes([filling]) * size)
    size = (row.size - len(code) - row.soft) * 3 // 4 - row.lead
    return primitives.make(code, bytes([filling]) * size, "Z" * (row.soft - row.pad))


CODES = list(VERSION_1.primitives)
FIXED = [code for code, row in VERSION_1.primitives.items() if row.size is not None]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("filling", [0, 0x5A, 0xFF])
def test_every_code_survives_the_text_domain(code: str, filling: int) -> None:
    """Text reads back as the same primitive, to its end."""
    primitive = _example(code, filling)
    assert primitive.code == code
    text = primitive.text.encode()
    assert primitives.read_text(b"xx" + text + b"AAAA", 2) == (primitive, 2 + len(text))
    assert primitives.parse(primitive.text) == primitive


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("filling", [0, 0x5A, 0xFF])
def test_every_code_survives_the_binary_domain(code: str, filling: int) -> None:
    """Bytes read back as the same primitive, and three of them are four characters."""
    primitive = _example(code, filling)
    binary = primitive.binary
    assert base64.encode(binary).decode() == primitive.text
    assert primitives.read_binary(b"x" + binary + b"\0\0\0", 1) == (primitive, 1 + len(binary))


@pytest.mark.parametrize(
    ("code", "size"),
    [("D", 44), ("0B", 88), ("1AAB", 48), ("M", 4), ("0A", 24), ("X", 4), ("V", 4), ("2___", 8)],
)
def test_a_code_tells_the_size(code: str, size: int) -> None:
    """The text of a code is as long as the table says."""
    assert len(_example(code, 1).text) == size


def test_a_known_key_reads() -> None:
    """A key of the published examples reads and writes."""
    primitive = primitives.parse(KEY)
    assert (primitive.code, len(primitive.raw), primitive.text) == ("D", 32, KEY)


@pytest.mark.parametrize("code", [code for code in CODES if len(_example(code, 1).text) < 999])
def test_a_cut_text_is_truncated(code: str) -> None:
    """Text that ends early says so, wherever it ends."""
    text = _example(code, 0x5A).text.encode()
    for size in range(len(text)):
        with pytest.raises(DecodeError) as caught:
            primitives.read_text(text[:size])
        assert caught.value.code is ErrorCode.TRUNCATED


@pytest.mark.parametrize("code", [code for code in CODES if len(_example(code, 1).text) < 999])
def test_cut_bytes_are_truncated(code: str) -> None:
    """Bytes that end early say so, wherever they end."""
    binary = _example(code, 0x5A).binary
    for size in range(len(binary)):
        with pytest.raises(DecodeError) as caught:
            primitives.read_binary(binary[:size])
        assert caught.value.code is ErrorCode.TRUNCATED


@pytest.mark.parametrize("code", FIXED)
def test_every_pad_bit_must_be_zero(code: str) -> None:
    """Where code and material share a character, its free bits and all lead bytes are zero."""
    row = VERSION_1.primitives[code]
    primitive = _example(code, 0)
    pad = (len(code) + row.soft) % 4
    for bit in range(8 * (pad + row.lead)):
        zeros = bytearray(pad + row.lead)
        zeros[bit // 8] = 1 << bit % 8
        text = base64.encode(bytes(zeros) + primitive.raw)
        if text[:pad].strip(b"A"):
            continue  # these bits are those of the code's own characters
        head = primitive.text[: len(code) + row.soft].encode()
        with pytest.raises(DecodeError) as caught:
            primitives.read_text(head + text[pad:])
        assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize(
    "text",
    [
        "5BAB_AAA",
        "6BAB_AAA",
        "6BABAAQA",
        "8AABAAAB_AAA",
        "9AABAAABAAQA",
        "5BAA",
        "6BAA",
        "8AABAAAA",
        "9AABAAAA",
    ],
)
def test_lead_bytes_must_be_zero(text: str) -> None:
    """Material of variable size stands behind zero bytes."""
    with pytest.raises(DecodeError) as caught:
        primitives.parse(text)
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize(
    "text",
    [
        "!AAA",
        "-AAB",
        "_AAA",
        "0z" + "A" * 22,
        "1ZZZ",
        "a" * 44,
        "0_AA",
        "4ZAA",
        "7AAZAAAA",
        " A",
        "=",
    ],
)
def test_unknown_codes_are_refused(text: str) -> None:
    """A code that is not in the table is not guessed."""
    with pytest.raises(DecodeError) as caught:
        primitives.parse(text)
    assert caught.value.code is ErrorCode.UNKNOWN_CODE


@pytest.mark.parametrize("text", ["0JAA", "0LAAAAAA", "0NAAAAAAAAAA", "2__-AAAAAAAA"])
def test_a_pad_character_is_part_of_the_code(text: str) -> None:
    """A tag whose code has a pad character needs it."""
    with pytest.raises(DecodeError) as caught:
        primitives.parse(text)
    assert caught.value.code is ErrorCode.UNKNOWN_CODE


@pytest.mark.parametrize(
    "text", ["X A=", "X+AA", "0K/A", "XA\xffA", "M+AA", "D" + "=" * 43, "4B=A", "4B+/AAAA"]
)
def test_other_characters_are_refused(text: str) -> None:
    """Soft part, size and material are Base64 digits."""
    with pytest.raises(DecodeError) as caught:
        primitives.read_text(text.encode("latin-1"))
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize("text", [KEY + "A", KEY + KEY, KEY + "\n", KEY[:-1] + "\u00e9", "\u0661"])
def test_a_field_value_is_one_primitive(text: str) -> None:
    """Nothing may stand behind it, and all is ASCII."""
    with pytest.raises(DecodeError) as caught:
        primitives.parse(text)
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (0, "4B"),
        (1, "6B"),
        (2, "5B"),
        (3, "4B"),
        (12285, "4B"),
        (12286, "9AAB"),
        (12288, "7AAB"),
        (12287, "8AAB"),
    ],
)
@pytest.mark.parametrize("asked", ["4B", "5B", "6B", "7AAB", "8AAB", "9AAB"])
def test_a_variable_size_picks_lead_and_form(size: int, code: str, asked: str) -> None:
    """The smallest form is taken, whichever member of the family is named."""
    primitive = primitives.make(asked, bytes(size))
    assert primitive.code == code
    assert primitives.parse(primitive.text) == primitive


@pytest.mark.parametrize(
    ("code", "raw", "soft", "message"),
    [
        ("?", b"", "", "unknown code"),
        ("4Z", b"", "", "unknown code"),
        ("D", bytes(31), "", "takes 32 bytes, not 31"),
        ("D", bytes(33), "", "takes 32 bytes, not 33"),
        ("V", bytes(2), "", "takes 1 bytes, not 2"),
        ("X", b"", "AA", "takes 3 Base64 characters"),
        ("X", b"", "A+A", "takes 3 Base64 characters"),
        ("X", b"A", "AAA", "takes 0 bytes, not 1"),
        ("0J", b"", "_A", "takes 1 Base64 characters"),
        ("D", bytes(32), "A", "takes 0 Base64 characters"),
    ],
)
def test_making_needs_the_right_sizes(code: str, raw: bytes, soft: str, message: str) -> None:
    """Material and soft value that do not fit the code are refused."""
    with pytest.raises(ValueError, match=message):
        primitives.make(code, raw, soft)
