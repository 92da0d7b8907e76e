"""Indexed signatures: a signature with the place of its key in a list, or in two lists.

Source: CESR specification, "Indexed codes"; KERI specification, "Indexed Signatures".
"""

import msgspec

from keystead.cesr import base64, codes
from keystead.cesr.codes import VERSION_1, IndexedRow
from keystead.cesr.primitives import truncated
from keystead.errors import DecodeError, ErrorCode
from keystead.suites import Suite


class IndexedSignature(msgspec.Struct, frozen=True, gc=False):
    """A signature by one key of a list.

    Attributes:
        code: stable part of the code.
        index: place of the key in the current signing (or backer) list.
        ondex: place of its digest in the prior next list, None when it speaks for the current
            list alone.
        raw: the signature.
    """

    code: str
    index: int
    ondex: int | None
    raw: bytes

    @property
    def suite(self) -> Suite | None:
        """The signature suite that the code states; None for reserved test codes."""
        return SUITES[self.code]

    @property
    def text(self) -> str:
        """The signature in the text domain."""
        return _encode(self).decode("ascii")

    @property
    def binary(self) -> bytes:
        """The signature in the binary domain."""
        return base64.decode(_encode(self))


HEAD_CHARS = 8
# Code -> suite.
SUITES = {code: row.suite for code, row in VERSION_1.indexed.items()}


def read_text(text: bytes, start: int = 0) -> tuple[IndexedSignature, int]:
    """Read the indexed signature at `start` of `text`.

    Returns:
        The signature and the position behind it.

    Raises:
        DecodeError: decode.truncated, decode.unknown_code; decode.encoding also for a second
            index under a code that speaks for the current list alone.
    """
    row, size = measure(text, start)
    end = start + size
    place = start + len(row.code)
    head = place + row.index_chars
    index = base64.to_int(text[place:head])
    ondex: int | None = index
    if row.other_chars:
        ondex = base64.to_int(text[head : head + row.other_chars])
        head += row.other_chars
    if row.current_only:
        if row.other_chars and ondex:
            raise DecodeError(
                ErrorCode.BAD_ENCODING, f"code {row.code} speaks for the current list alone"
            )
        ondex = None
    if end > len(text):
        raise truncated(f"an indexed signature of {size} characters")
    pad = (head - start) % 4
    padded = base64.decode(b"A" * pad + text[head:end])
    zeros = pad or row.lead
    if any(padded[:zeros]):
        raise DecodeError(ErrorCode.BAD_ENCODING, "pad bits or lead bytes are not zero")
    return IndexedSignature(row.code, index, ondex, padded[zeros:]), end


def read_binary(data: bytes, start: int = 0) -> tuple[IndexedSignature, int]:
    """Read the indexed signature at `start` of `data` in the binary domain; as `read_text`."""
    head = data[start : start + HEAD_CHARS * 3 // 4]
    _, size = measure(base64.encode(head[: len(head) // 3 * 3]))
    end = start + size * 3 // 4
    if end > len(data):
        raise truncated(f"an indexed signature of {size * 3 // 4} bytes")
    signature, _ = read_text(base64.encode(data[start:end]))
    return signature, end


def measure(text: bytes, start: int = 0) -> tuple[IndexedRow, int]:
    """Return the table row and the size in characters of the indexed signature at `start`.

    Raises:
        DecodeError: decode.truncated, decode.unknown_code, decode.encoding.
    """
    if start >= len(text):
        raise truncated("an indexed signature")
    hard = codes.INDEXED_HARD_SIZES.get(chr(text[start]))
    code = text[start : start + (hard or 1)].decode("latin-1")
    if hard is not None and len(code) < hard:
        raise truncated("the code of an indexed signature")
    row = VERSION_1.indexed.get(code)
    if row is None:
        raise DecodeError(ErrorCode.UNKNOWN_CODE, f"unknown indexed signature code {code!r}")
    if row.size is not None:
        return row, row.size
    end = start + len(code) + row.index_chars
    if end > len(text):
        raise truncated("the size of an indexed signature")
    return row, len(code) + row.index_chars + 4 * base64.to_int(text[start + len(code) : end])


def make(
    suite: Suite, raw: bytes, index: int, *, ondex: int | None, current_only: bool = False
) -> IndexedSignature:
    """Make an indexed signature with the smallest code that holds its places.

    Args:
        suite: signature suite.
        raw: the signature.
        index: place of the key in the current list.
        ondex: place of its digest in the prior next list; ignored when `current_only`.
        current_only: the signature speaks for the current list alone.

    Raises:
        ValueError: no code for this suite and size, or a place that does not fit.
    """
    second = None if current_only else (index if ondex is None else ondex)
    for row in VERSION_1.indexed.values():
        if row.suite is not suite or row.current_only is not current_only:
            continue
        same = row.other_chars > 0 or second is None or second == index
        if (
            same
            and index < 64**row.index_chars
            and (second or 0) < 64 ** max(row.other_chars, row.index_chars)
        ):
            if row.size is None or _raw_size(row, row.size) != len(raw):
                raise ValueError(f"a signature of {suite.value} is not {len(raw)} bytes long")
            return IndexedSignature(row.code, index, second, raw)
    raise ValueError(f"no code for places {index} and {second} of {suite.value}")


def _raw_size(row: IndexedRow, size: int) -> int:
    return (size - len(row.code) - row.index_chars - row.other_chars) * 3 // 4 - row.lead


def _encode(signature: IndexedSignature) -> bytes:
    row = VERSION_1.indexed[signature.code]
    index = base64.from_int(signature.index, row.index_chars)
    ondex = base64.from_int(signature.ondex or 0, row.other_chars) if row.other_chars else ""
    head = f"{row.code}{index}{ondex}".encode("ascii")
    pad = len(head) % 4
    zeros = pad or row.lead
    return head + base64.encode(bytes(zeros) + signature.raw)[pad:]
