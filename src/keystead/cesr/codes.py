"""The CESR code tables of version 1.0, as data.

Sizes count characters of the text domain; three bytes of the binary domain are four characters
of text, so one table serves both. A later version of the tables is another `CodeTable`.

Source: CESR specification, "Tables of codes" and the master code table; the codes of version
1.0 as keri 1.3.6 writes them (big counters `-0V`, secp256r1 indexed codes `E`, `F`).
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from keystead.suites import Suite


class PrimitiveRow(NamedTuple):
    """How one primitive is laid out.

    Attributes:
        code: the stable characters in front.
        name: what it holds.
        soft: further code characters that hold a size or a value, padding included.
        pad: characters `_` at the start of the soft part.
        size: characters in all, or None where the soft part counts quadlets of material.
        lead: zero bytes in front of the material.
    """

    code: str
    name: str
    soft: int
    pad: int
    size: int | None
    lead: int


class IndexedRow(NamedTuple):
    """How one indexed signature is laid out.

    Attributes:
        code: the stable characters in front.
        name: what it holds.
        suite: the signature suite, None for the reserved test codes.
        index_chars: characters of the index into the current list.
        other_chars: characters of the index into the prior next list ("ondex"), 0 where there is none.
        size: characters in all, or None where the index counts quadlets of material.
        lead: zero bytes in front of the material.
        current_only: the signature speaks for the current list alone.
    """

    code: str
    name: str
    suite: Suite | None
    index_chars: int
    other_chars: int
    size: int | None
    lead: int
    current_only: bool


class GroupKind(Enum):
    """What a count code frames. The value is the name used in dumps."""

    CONTROLLER_SIGNATURES = "controller signatures"
    WITNESS_SIGNATURES = "witness signatures"
    RECEIPT_COUPLES = "non-transferable receipt couples"
    RECEIPT_QUADRUPLES = "transferable receipt quadruples"
    FIRST_SEEN_COUPLES = "first-seen replay couples"
    SIGNATURE_GROUPS = "transferable signature groups"
    SOURCE_COUPLES = "source seal couples"
    LAST_SIGNATURE_GROUPS = "last establishment signature groups"
    SOURCE_TRIPLES = "source seal triples"
    PATH_SIGNATURES = "path signature groups"
    ROOT_PATH_SIGNATURES = "root path signature groups"
    PATHED_MATERIAL = "pathed material"
    ATTACHMENTS = "attachment group"
    GENERIC = "generic group"
    ESSR_PAYLOAD = "ESSR payload"
    GENUS_VERSION = "genus and version"

    # Members are compared by identity; the hash that Enum defines takes 0.25 µs.
    __hash__ = object.__hash__


class CounterRow(NamedTuple):
    """How one count code is laid out.

    Attributes:
        code: the stable characters in front.
        kind: what it frames.
        digits: characters of the count.
        quadlets: the count is in quadlets of text (triplets of bytes), not in items.
    """

    code: str
    kind: GroupKind
    digits: int
    quadlets: bool


class CodeTable(NamedTuple):
    """All codes of one genus version, keyed by their stable characters."""

    major: int
    minor: int
    primitives: Mapping[str, PrimitiveRow]
    indexed: Mapping[str, IndexedRow]
    counters: Mapping[str, CounterRow]


# First character -> number of stable characters.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
HARD_SIZES = dict.fromkeys(_LETTERS, 1) | {
    "0": 2, "1": 4, "2": 4, "3": 4, "4": 2, "5": 2, "6": 2, "7": 4, "8": 4, "9": 4
}  # fmt: skip
INDEXED_HARD_SIZES = dict.fromkeys(_LETTERS, 1) | dict.fromkeys("01234", 2)
# Second character of a count code -> number of stable characters.
COUNTER_HARD_SIZES = dict.fromkeys(_LETTERS, 2) | {"0": 3, "-": 5, "_": 5}

_FIXED = (
    # code, name, characters in all
    ("A", "Ed25519 seed", 44),
    ("B", "Ed25519 non-transferable key", 44),
    ("C", "X25519 public key", 44),
    ("D", "Ed25519 key", 44),
    ("E", "Blake3-256 digest", 44),
    ("F", "Blake2b-256 digest", 44),
    ("G", "Blake2s-256 digest", 44),
    ("H", "SHA3-256 digest", 44),
    ("I", "SHA2-256 digest", 44),
    ("J", "secp256k1 seed", 44),
    ("K", "Ed448 seed", 76),
    ("L", "X448 public key", 76),
    ("M", "2-byte number", 4),
    ("N", "8-byte number", 12),
    ("O", "X25519 private key", 44),
    ("P", "X25519 sealed seed", 124),
    ("Q", "secp256r1 seed", 44),
    ("R", "5-byte number", 8),
    ("S", "11-byte number", 16),
    ("T", "14-byte number", 20),
    ("U", "17-byte number", 24),
    ("W", "2-byte label", 4),
    ("Z", "blinding factor", 44),
    ("0A", "16-byte number or salt", 24),
    ("0B", "Ed25519 signature", 88),
    ("0C", "secp256k1 signature", 88),
    ("0D", "Blake3-512 digest", 88),
    ("0E", "Blake2b-512 digest", 88),
    ("0F", "SHA3-512 digest", 88),
    ("0G", "SHA2-512 digest", 88),
    ("0H", "4-byte number", 8),
    ("0I", "secp256r1 signature", 88),
    ("1AAA", "secp256k1 non-transferable key", 48),
    ("1AAB", "secp256k1 key", 48),
    ("1AAC", "Ed448 non-transferable key", 80),
    ("1AAD", "Ed448 key", 80),
    ("1AAE", "Ed448 signature", 156),
    ("1AAG", "date and time", 36),
    ("1AAH", "X25519 sealed salt", 100),
    ("1AAI", "secp256r1 non-transferable key", 48),
    ("1AAJ", "secp256r1 key", 48),
    ("1AAK", "null", 4),
    ("1AAL", "no", 4),
    ("1AAM", "yes", 4),
    ("1___", "reserved for tests, no lead byte", 8),
)

_SPECIAL = (
    # code, name, soft, pad, characters in all, lead
    ("V", "1-byte label", 0, 0, 4, 1),
    ("X", "tag of 3", 3, 0, 4, 0),
    ("Y", "tag of 7", 7, 0, 8, 0),
    ("0J", "tag of 1", 2, 1, 4, 0),
    ("0K", "tag of 2", 2, 0, 4, 0),
    ("0L", "tag of 5", 6, 1, 8, 0),
    ("0M", "tag of 6", 6, 0, 8, 0),
    ("0N", "tag of 9", 10, 1, 12, 0),
    ("0O", "tag of 10", 10, 0, 12, 0),
    ("0P", "memogram head and neck", 22, 0, 32, 0),
    ("0Q", "memogram head", 22, 0, 28, 0),
    ("0R", "memogram head, identifier and neck", 22, 0, 76, 0),
    ("0S", "memogram head and identifier", 22, 0, 72, 0),
    ("1AAF", "tag of 4", 4, 0, 8, 0),
    ("1AAN", "tag of 8", 8, 0, 12, 0),
    ("1__-", "reserved for tests, soft value", 2, 0, 12, 0),
    ("2__-", "reserved for tests, soft value, 1 lead byte", 2, 1, 12, 1),
    ("2___", "reserved for tests, 1 lead byte", 0, 0, 8, 1),
    ("3__-", "reserved for tests, soft value, 2 lead bytes", 2, 0, 12, 2),
    ("3___", "reserved for tests, 2 lead bytes", 0, 0, 8, 2),
)

_VARIABLE = (
    # letter, name; each comes with 0, 1 and 2 lead bytes, small and big
    ("A", "Base64 string"),
    ("B", "byte string"),
    ("C", "X25519 sealed stream"),
    ("D", "X25519 sealed text primitive"),
    ("E", "X25519 sealed binary primitive"),
    ("F", "HPKE base sealed stream"),
    ("G", "HPKE authenticated sealed stream"),
)

_INDEXED = (
    # code, suite, index characters, other index characters, characters in all
    ("A", Suite.ED25519, 1, 0, 88),
    ("C", Suite.SECP256K1, 1, 0, 88),
    ("E", Suite.SECP256R1, 1, 0, 88),
    ("0A", Suite.ED448, 1, 1, 156),
    ("2A", Suite.ED25519, 2, 2, 92),
    ("2C", Suite.SECP256K1, 2, 2, 92),
    ("2E", Suite.SECP256R1, 2, 2, 92),
    ("3A", Suite.ED448, 3, 3, 160),
)

_COUNTERS = (
    # letter, kind, counted in quadlets, has a big form
    ("A", GroupKind.CONTROLLER_SIGNATURES, False, False),
    ("B", GroupKind.WITNESS_SIGNATURES, False, False),
    ("C", GroupKind.RECEIPT_COUPLES, False, False),
    ("D", GroupKind.RECEIPT_QUADRUPLES, False, False),
    ("E", GroupKind.FIRST_SEEN_COUPLES, False, False),
    ("F", GroupKind.SIGNATURE_GROUPS, False, False),
    ("G", GroupKind.SOURCE_COUPLES, False, False),
    ("H", GroupKind.LAST_SIGNATURE_GROUPS, False, False),
    ("I", GroupKind.SOURCE_TRIPLES, False, False),
    ("J", GroupKind.PATH_SIGNATURES, False, False),
    ("K", GroupKind.ROOT_PATH_SIGNATURES, False, False),
    ("L", GroupKind.PATHED_MATERIAL, True, True),
    ("V", GroupKind.ATTACHMENTS, True, True),
    ("W", GroupKind.GENERIC, True, True),
    ("Z", GroupKind.ESSR_PAYLOAD, False, True),
)

# KERI and ACDC share one genus. keri 1.x writes it with a dash, the published text with `_`.
GENUS_CODES = ("--AAA", "-_AAA")


def _primitive_rows() -> Iterable[PrimitiveRow]:
    for code, name, size in _FIXED:
        yield PrimitiveRow(code, name, 0, 0, size, 0)
    for code, name, soft, pad, size, lead in _SPECIAL:
        yield PrimitiveRow(code, name, soft, pad, size, lead)
    for letter, name in _VARIABLE:
        for lead in (0, 1, 2):
            yield PrimitiveRow(f"{4 + lead}{letter}", name, 2, 0, None, lead)
            yield PrimitiveRow(f"{7 + lead}AA{letter}", f"big {name}", 4, 0, None, lead)


def _indexed_rows() -> Iterable[IndexedRow]:
    for code, suite, index, other, size in _INDEXED:
        both = f"{suite.value} indexed signature"
        yield IndexedRow(code, both, suite, index, other, size, 0, current_only=False)
        following = code[:-1] + chr(ord(code[-1]) + 1)
        yield IndexedRow(
            following, f"{both}, current list only", suite, index, other, size, 0, current_only=True
        )
    test = "reserved for tests"
    yield IndexedRow("0z", f"{test}, variable", None, 2, 0, None, 0, current_only=False)
    yield IndexedRow("1z", f"{test}, 1 lead byte", None, 1, 1, 76, 1, current_only=False)
    yield IndexedRow("4z", f"{test}, big, 1 lead byte", None, 3, 3, 80, 1, current_only=False)


def _counter_rows() -> Iterable[CounterRow]:
    for letter, kind, quadlets, big in _COUNTERS:
        yield CounterRow(f"-{letter}", kind, 2, quadlets)
        if big:
            yield CounterRow(f"-0{letter}", kind, 5, quadlets)
    for code in GENUS_CODES:
        yield CounterRow(code, GroupKind.GENUS_VERSION, 3, quadlets=False)


VERSION_1 = CodeTable(
    major=1,
    minor=0,
    primitives={row.code: row for row in _primitive_rows()},
    indexed={row.code: row for row in _indexed_rows()},
    counters={row.code: row for row in _counter_rows()},
)

# Roles of codes.
KEY_CODES: dict[str, tuple[Suite, bool]] = {
    # code -> (suite, transferable)
    "B": (Suite.ED25519, False),
    "D": (Suite.ED25519, True),
    "1AAA": (Suite.SECP256K1, False),
    "1AAB": (Suite.SECP256K1, True),
    "1AAC": (Suite.ED448, False),
    "1AAD": (Suite.ED448, True),
    "1AAI": (Suite.SECP256R1, False),
    "1AAJ": (Suite.SECP256R1, True),
}
SIGNATURE_CODES: dict[str, Suite] = {
    "0B": Suite.ED25519,
    "0C": Suite.SECP256K1,
    "0I": Suite.SECP256R1,
    "1AAE": Suite.ED448,
}
DIGEST_CODES: dict[str, str] = {
    # code -> algorithm of `suites.DIGESTS`
    "E": "Blake3-256",
    "F": "Blake2b-256",
    "G": "Blake2s-256",
    "H": "SHA3-256",
    "I": "SHA2-256",
    "0D": "Blake3-512",
    "0E": "Blake2b-512",
    "0F": "SHA3-512",
    "0G": "SHA2-512",
}
NUMBER_CODES: dict[str, int] = {
    # code -> bytes, smallest first; `0H` and `0A` are read but not chosen for a bare number
    "M": 2, "R": 5, "N": 8, "S": 11, "T": 14, "U": 17, "0H": 4, "0A": 16
}  # fmt: skip
TAG_CODES: dict[int, str] = {
    # characters of the tag -> code
    1: "0J", 2: "0K", 3: "X", 4: "1AAF", 5: "0L", 6: "0M", 7: "Y", 8: "1AAN", 9: "0N", 10: "0O"
}  # fmt: skip
DATETIME_CODE = "1AAG"
BASE64_STRING_CODES = {"4A", "5A", "6A", "7AAA", "8AAA", "9AAA"}
BYTE_STRING_CODES = {"4B", "5B", "6B", "7AAB", "8AAB", "9AAB"}
ORDINAL_CODE = "0A"


def text_pattern(codes: Iterable[str]) -> re.Pattern[str]:
    """Compile a pattern that matches exactly the canonical text of fixed-size primitives.

    The pad bits between code and material are zero in canonical text: one pad character leaves
    four free bits of the first character behind the code (A to P), two leave two (A to D).
    """
    first = {0: "", 1: "[A-P]", 2: "[A-D]"}
    alike: dict[str, list[str]] = {}  # the rest of the pattern -> codes
    for code in codes:
        row = VERSION_1.primitives[code]
        if row.size is None or row.soft or row.lead:
            raise ValueError(f"{code} is not of fixed size without soft part and lead")
        head = first[len(code) % 4]
        rest = row.size - len(code) - (1 if head else 0)
        alike.setdefault(f"{head}[A-Za-z0-9_-]{{{rest}}}", []).append(code)
    choices = [f"(?:{'|'.join(same)}){rest}" for rest, same in alike.items()]
    return re.compile("|".join(choices))
