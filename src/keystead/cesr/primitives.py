"""Primitives: typed values that carry their own code, in the text and the binary domain.

Strict: pad bits and lead bytes are zero, the alphabet is URL-safe Base64, sizes are exact. So a
value has one text and one binary form, and what was parsed encodes to the same bytes.

Source: CESR specification, "Concrete Domain representations" and "Parsing via table design".
"""

from typing import Final

import msgspec

from keystead.cesr import base64, codes
from keystead.cesr.codes import VERSION_1, PrimitiveRow
from keystead.errors import DecodeError, ErrorCode


class Primitive(msgspec.Struct, frozen=True, gc=False):
    """One primitive.

    Attributes:
        code: stable part of the code, which tells the type.
        raw: the material without lead bytes.
        soft: characters of a special code that hold a value (tags), without padding; for
            variable sizes the size in quadlets.
    """

    code: str
    raw: bytes
    soft: str = ""

    @property
    def text(self) -> str:
        """The primitive in the text domain ("qb64")."""
        return _encode(self).decode("ascii")

    @property
    def binary(self) -> bytes:
        """The primitive in the binary domain ("qb2")."""
        return base64.decode(_encode(self))


# Characters that tell the size of any primitive: code and size of the big variable ones.
HEAD_CHARS: Final = 8


def truncated(what: str) -> DecodeError:
    """Make the error for input that ends inside an element."""
    return DecodeError(ErrorCode.TRUNCATED, f"the input ends inside {what}")


def measure(text: bytes, start: int = 0) -> tuple[PrimitiveRow, int]:
    """Return the table row and the size in characters of the primitive at `start`.

    Raises:
        DecodeError: not enough characters to tell (decode.truncated), a code that is not in
            the table (decode.unknown_code), a size that is no number (decode.encoding).
    """
    if start >= len(text):
        raise truncated("a primitive")
    hard = codes.HARD_SIZES.get(chr(text[start]))
    if hard is None:
        raise _unknown(text[start : start + 1])
    code = text[start : start + hard].decode("latin-1")
    if len(code) < hard:
        raise truncated("the code of a primitive")
    row = VERSION_1.primitives.get(code)
    if row is None:
        raise _unknown(text[start : start + hard])
    if row.size is not None:
        return row, row.size
    end = start + hard + row.soft
    if end > len(text):
        raise truncated("the size of a primitive")
    return row, hard + row.soft + 4 * base64.to_int(text[start + hard : end])


def read_text(text: bytes, start: int = 0) -> tuple[Primitive, int]:
    """Read the primitive at `start` of `text`.

    Returns:
        The primitive and the position behind it.

    Raises:
        DecodeError: decode.truncated, decode.unknown_code, decode.encoding.
    """
    row, size = measure(text, start)
    end = start + size
    if end > len(text):
        raise truncated(f"a primitive of {size} characters")
    head = len(row.code) + row.soft
    soft = text[start + len(row.code) : start + head].decode("latin-1")
    if soft[: row.pad] != "_" * row.pad:
        raise DecodeError(ErrorCode.UNKNOWN_CODE, f"code {row.code} without its pad character")
    if row.soft:
        base64.to_int(soft.encode("latin-1"))  # refuses other characters
    return Primitive(row.code, _material(text, start + head, end, row), soft[row.pad :]), end


def read_binary(data: bytes, start: int = 0) -> tuple[Primitive, int]:
    """Read the primitive at `start` of `data` in the binary domain; as `read_text`.

    Three bytes are four characters, so the text reader reads both domains.
    """
    head = data[start : start + HEAD_CHARS * 3 // 4]
    _, size = measure(base64.encode(head[: len(head) // 3 * 3]))
    end = start + size * 3 // 4
    if end > len(data):
        raise truncated(f"a primitive of {size * 3 // 4} bytes")
    primitive, _ = read_text(base64.encode(data[start:end]))
    return primitive, end


def parse(text: str) -> Primitive:
    """Read `text`, a field value, which is one primitive exactly.

    Raises:
        DecodeError: as `read_text`; decode.encoding also for characters behind the primitive.
    """
    if not text.isascii():
        raise DecodeError(ErrorCode.BAD_ENCODING, "a primitive is ASCII text")
    data = text.encode("ascii")
    primitive, end = read_text(data)
    if end != len(data):
        raise DecodeError(ErrorCode.BAD_ENCODING, "characters behind the end of a primitive")
    return primitive


def make(code: str, raw: bytes, soft: str = "") -> Primitive:
    """Make the primitive of `raw` under `code`; a variable size picks lead and big form itself.

    Args:
        code: stable part of the code; for variable sizes any member of its family.
        raw: material without lead bytes.
        soft: the value of a special code (tag), exactly as long as the code says.

    Raises:
        ValueError: unknown code, or material or soft value of the wrong size.
    """
    row = VERSION_1.primitives.get(code)
    if row is None:
        raise ValueError(f"unknown code {code}")
    if row.size is None:
        return _make_variable(code[-1], raw)
    size = _raw_size(row, row.size)
    if len(raw) != size:
        raise ValueError(f"code {code} takes {size} bytes, not {len(raw)}")
    if len(soft) != row.soft - row.pad or not set(soft) <= set(base64.ALPHABET):
        raise ValueError(f"code {code} takes {row.soft - row.pad} Base64 characters")
    return Primitive(code, raw, soft)


def _make_variable(letter: str, raw: bytes) -> Primitive:
    lead = -len(raw) % 3
    quadlets = (len(raw) + lead) // 3
    if quadlets < 64**2:
        return Primitive(f"{4 + lead}{letter}", raw, base64.from_int(quadlets, 2))
    return Primitive(f"{7 + lead}AA{letter}", raw, base64.from_int(quadlets, 4))


def _raw_size(row: PrimitiveRow, size: int) -> int:
    return (size - len(row.code) - row.soft) * 3 // 4 - row.lead


def _encode(primitive: Primitive) -> bytes:
    row = VERSION_1.primitives[primitive.code]
    head = f"{row.code}{'_' * row.pad}{primitive.soft}".encode("ascii")
    pad = len(head) % 4
    return head + base64.encode(bytes(pad + row.lead) + primitive.raw)[pad:]


def _material(text: bytes, start: int, end: int, row: PrimitiveRow) -> bytes:
    """Decode the material behind the code; the code is replaced by zeros to keep alignment."""
    pad = (len(row.code) + row.soft) % 4
    padded = base64.decode(b"A" * pad + text[start:end])
    zeros = pad + row.lead
    if padded[:zeros] != bytes(zeros):  # or lead bytes in material of no size
        raise DecodeError(ErrorCode.BAD_ENCODING, "pad bits or lead bytes are not zero")
    return padded[zeros:]


def _unknown(code: bytes) -> DecodeError:
    shown = code.decode("latin-1")
    return DecodeError(ErrorCode.UNKNOWN_CODE, f"unknown primitive code {shown!r}")
