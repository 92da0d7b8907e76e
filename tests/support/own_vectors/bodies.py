"""Bodies that are not the one serialization of their content, or not text at all.

The digest and the signature of each are right for the bytes as they are, so the form alone
decides.
"""

from collections.abc import Iterator

from keystead.testing.authoring import Author, Signed
from support.own_vectors.crafting import (
    Case,
    TextEdit,
    accepted,
    altered,
    bystander,
    dropped,
    good,
    replacing,
    signed_by,
)

_NOT_JSON, _NOT_CANONICAL = "deserialize-error", "non-canonical-serialization"
_DATA = b'"a":[]'


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    author = Author("bodies")
    event = author.incept()
    for name, title, edit, reason in (
        *_numbers(),
        *_labels(),
        *_spelling(),
        *_nesting(),
        *_not_utf8(),
    ):
        yield _refused(author, event, name, title, edit, reason)
    yield from _odd_but_good(author, event)


def _refused(
    author: Author, event: Signed, name: str, title: str, edit: TextEdit, reason: str
) -> Case:
    """Make the case of an inception that is dropped for the form of its body."""
    bad = altered(event, text=edit)
    refused = dropped(bad, signed_by(author, bad), reason)
    return Case(name, f"icp with {title}", [[refused, good(event), bystander()]])


def _anchored(value: bytes) -> TextEdit:
    return replacing(_DATA, b'"a":[{"x":' + value + b"}]")


def _numbers() -> Iterator[tuple[str, str, TextEdit, str]]:
    for name, value, reason in (
        ("nan", b"NaN", _NOT_JSON),
        ("infinity", b"Infinity", _NOT_JSON),
        ("minus-infinity", b"-Infinity", _NOT_JSON),
        ("leading-zero", b"01", _NOT_JSON),
        ("plus", b"+1", _NOT_JSON),
        ("hex", b"0x1", _NOT_JSON),
        ("bare-fraction", b".5", _NOT_JSON),
        ("too-large-float", b"1e999", _NOT_JSON),
        ("exponent", b"1e0", _NOT_CANONICAL),
        ("capital-exponent", b"1E0", _NOT_CANONICAL),
        ("trailing-zero", b"1.00", _NOT_CANONICAL),
        ("minus-zero", b"-0", _NOT_CANONICAL),
        ("too-many-digits", b"0.1000000000000000055511151231257827", _NOT_CANONICAL),
    ):
        yield f"number-{name}", f"the number {value.decode()} in a", _anchored(value), reason


def _labels() -> Iterator[tuple[str, str, TextEdit, str]]:
    for name, title, old, new in (
        ("t", "label t twice", b'"t":"icp"', b'"t":"icp","t":"icp"'),
        ("s", "label s twice, with two values", b'"s":"0"', b'"s":"1","s":"0"'),
        ("last", "label a once more at the end", _DATA, b'"a":[],"a":[]'),
        ("in-data", "a label twice in anchored data", _DATA, b'"a":[{"x":"1","x":"1"}]'),
        ("escaped", "a label twice, once escaped", _DATA, b'"a":[{"x":"1","\\u0078":"1"}]'),
    ):
        yield f"label-twice-{name}", title, replacing(old, new), _NOT_CANONICAL
    for name, title, old, new in (
        ("missing", "no label c", b'"c":[],', b""),
        ("extra", "a label that icp does not have", _DATA, b'"a":[],"z":""'),
        ("order", "labels c and a swapped", b'"c":[],"a":[]', b'"a":[],"c":[]'),
        ("other-case", "label S instead of s", b'"s":"0"', b'"S":"0"'),
        ("of-delegation", "label di of a dip", _DATA, b'"a":[],"di":""'),
    ):
        yield f"label-{name}", title, replacing(old, new), "bad-fields"


def _spelling() -> Iterator[tuple[str, str, TextEdit, str]]:
    for name, title, old, new in (
        ("space", "a space behind a colon", b'"s":"0"', b'"s": "0"'),
        ("line-feed", "a line feed at the end", b'"a":[]}', b'"a":[]\n}'),
        ("space-behind", "a space behind the body, inside its size", b'"a":[]}', b'"a":[]} '),
        ("escaped-ascii", "an escaped digit", b'"s":"0"', b'"s":"\\u0030"'),
        ("escaped-slash", "an escaped slash", _DATA, b'"a":[{"x":"\\/"}]'),
        ("escaped-letter", "an escaped letter beyond ASCII", _DATA, b'"a":[{"x":"\\u00e9"}]'),
        ("upper-case-escape", "an escape in upper case", _DATA, b'"a":[{"x":"\\u001F"}]'),
    ):
        yield f"spelling-{name}", title, replacing(old, new), _NOT_CANONICAL
    for name, title, old, new in (
        ("single-quotes", "single quotes", b'"s":"0"', b"\"s\":'0'"),
        ("trailing-comma", "a comma behind the last field", b'"a":[]}', b'"a":[],}'),
        ("comment", "a comment", b'"a":[]}', b'"a":[]/**/}'),
        ("second-value", "a second field map", b'"a":[]}', b'"a":[]}{}'),
        ("raw-control", "a control character as it is", _DATA, b'"a":[{"x":"\x01"}]'),
        ("zero-byte", "a zero byte behind the body", b'"a":[]}', b'"a":[]}\0'),
        ("not-closed", "its last bracket missing", b'"a":[]}', b'"a":[]'),
    ):
        yield f"syntax-{name}", title, replacing(old, new), _NOT_JSON


def _nesting() -> Iterator[tuple[str, str, TextEdit, str]]:
    for depth in (40, 1000, 20_000):
        lists = b'"a":[' + b"[" * depth + b"]" * depth + b"]"
        maps = b'"a":[' + b'{"x":' * depth + b'""' + b"}" * depth + b"]"
        yield f"lists-{depth}", f"{depth} lists in each other", replacing(_DATA, lists), "bad-value"
        yield f"maps-{depth}", f"{depth} maps in each other", replacing(_DATA, maps), "bad-value"


def _not_utf8() -> Iterator[tuple[str, str, TextEdit, str]]:
    for name, title, value in (
        ("overlong-slash", "an overlong form of a slash", b"\xc0\xaf"),
        ("overlong-zero", "an overlong form of zero", b"\xc0\x80"),
        ("surrogate", "a surrogate in UTF-8", b"\xed\xa0\x80"),
        ("surrogate-pair", "a pair of surrogates in UTF-8", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("escaped-surrogate", "an escaped surrogate alone", b"\\ud800"),
        ("truncated", "a character that is cut", b"\xe2\x82"),
        ("continuation", "a continuation byte alone", b"\x80"),
        ("beyond-unicode", "a character beyond Unicode", b"\xf4\x90\x80\x80"),
        ("latin-1", "a letter in Latin-1", b"\xe9"),
        ("ff", "a byte that UTF-8 never has", b"\xff"),
    ):
        yield f"text-{name}", title, _anchored(b'"' + value + b'"'), _NOT_JSON
    yield (
        "text-bom-inside",
        "a byte order mark behind the first bracket",
        replacing(b'{"v"', b'{\xef\xbb\xbf"v"'),
        "bad-version-string",
    )


def _odd_but_good(author: Author, event: Signed) -> Iterator[Case]:
    """Anchored data may be any JSON in its one form."""
    for name, title, value in (
        ("float", "the number 1.0", b"1.0"),
        ("negative", "the number -1", b"-1"),
        ("large-integer", "an integer of 40 digits", b"1" * 40),
        ("letter", "a letter beyond ASCII as it is", '"é"'.encode()),
        ("escaped-control", "a control character, escaped", b'"\\u0001"'),
        ("escaped-line-feed", "a line feed, escaped", b'"\\n"'),
        ("emoji", "a character beyond the basic plane", '"😀"'.encode()),
        ("null", "null", b"null"),
        ("depth-20", "20 lists in each other", b"[" * 20 + b"]" * 20),
    ):
        odd = altered(event, text=_anchored(value))
        fine = accepted(odd, signed_by(author, odd))
        yield Case(f"data-{name}", f"icp with {title} in a", [[fine, bystander()]])
