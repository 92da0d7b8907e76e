"""Signature files of documents."""

import hashlib
import itertools
import tracemalloc
from collections.abc import Iterator

import pytest
from blake3 import blake3

from keystead.cesr import indexed, primitives
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, LastSignatureGroup, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import digest
from keystead.cesr.stream import Malformed, StreamReader
from keystead.cesr.versions import may_start
from keystead.cesr.writing import write_frame, write_groups
from keystead.errors import DecodeError, ErrorCode, UsageError
from keystead.keri.seals import EventSeal
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.owner.documents import (
    DocumentSignature,
    digest_of,
    read_signature,
    statement,
    write_signature,
)
from keystead.suites import Suite
from keystead.testing.authoring import Author, KeyPair, witness
from support.documents import DIGEST, DOCUMENT, signed_alone, signed_document

AUTHOR = Author("signer", keys=3)
AUTHOR.incept()
SEAL = EventSeal(AUTHOR.aid, 0, AUTHOR.state.said)
GOOD = AUTHOR.signatures(statement(DIGEST, SEAL))
FILE = signed_document(AUTHOR)
ALONE = witness("alone")


def _refused(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ErrorCode:
    with pytest.raises(DecodeError) as caught:
        read_signature(data, limits)
    return caught.value.code


def _file(*groups: Group, of: str = DIGEST) -> bytes:
    return of.encode() + write_groups(groups) + b"\n"


def _signed(*signatures: IndexedSignature) -> Group:
    group = SignatureGroup(AUTHOR.aid, 0, AUTHOR.state.said, signatures)
    return Group(GroupKind.SIGNATURE_GROUPS, (group,))


# Digests.


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("E", blake3(DOCUMENT).digest()),
        ("H", hashlib.sha3_256(DOCUMENT).digest()),
        ("I", hashlib.sha256(DOCUMENT).digest()),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_digest_does_not_depend_on_the_pieces(code: str, raw: bytes, size: int) -> None:
    """A document has one digest, however it is cut."""
    pieces = [DOCUMENT[at : at + size] for at in range(0, len(DOCUMENT), size)]
    text = digest_of(pieces, code)
    assert text == digest(DOCUMENT, code)
    assert primitives.parse(text).raw == raw


def test_digest_of_an_empty_document() -> None:
    """A document without bytes can be signed too."""
    assert digest_of([]) == digest_of([b"", b""]) == digest(b"")


def test_digest_of_an_unknown_code_is_refused() -> None:
    """Documents are hashed with few algorithms only."""
    with pytest.raises(UsageError) as caught:
        digest_of([], "F")
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.timed
def test_digest_of_a_huge_document_takes_little_memory() -> None:
    """A document of a gibibyte is hashed in the memory of a few of its pieces."""
    pieces, size = 1024, 1024 * 1024

    def read() -> Iterator[bytes]:
        for number in range(pieces):
            yield number.to_bytes(4, "big") * (size // 4)

    digest_of(itertools.islice(read(), 2))
    tracemalloc.start()
    try:
        digest_of(read())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * size


# What is signed.


def test_statement_names_domain_document_and_keys() -> None:
    """What is signed are lines of text that name everything in the file but the signatures."""
    assert statement(DIGEST, EventSeal(AUTHOR.aid, 26, AUTHOR.state.said)) == (
        f"KEYSTEAD-SIGNATURE-1\n{DIGEST}\n{AUTHOR.aid}\n1a\n{AUTHOR.state.said}\n".encode()
    )
    assert statement(DIGEST, ALONE.aid) == f"KEYSTEAD-SIGNATURE-1\n{DIGEST}\n{ALONE.aid}\n".encode()


def test_statement_is_no_message() -> None:
    """A statement does not parse as a message, so no signature on one is one on the other."""
    raw = statement(DIGEST, SEAL)
    assert not may_start(raw[0])
    reader = StreamReader()
    reader.feed(raw)
    reader.close()
    assert all(isinstance(item, Malformed) for item in reader)


# Writing and reading.


def test_file_is_one_line_of_cesr() -> None:
    """The file is a digest, the named event with its signatures, and a line feed."""
    assert FILE.startswith(DIGEST.encode() + b"-FAB" + AUTHOR.aid.encode())
    assert FILE.endswith(b"\n")
    assert FILE.count(b"\n") == 1
    assert b"-AAD" in FILE


def test_file_is_read_as_it_was_written() -> None:
    """Reading gives back what was written, and what was signed."""
    signature = read_signature(FILE)
    assert signature == DocumentSignature(
        DIGEST, SignatureGroup(AUTHOR.aid, 0, AUTHOR.state.said, GOOD)
    )
    assert (signature.aid, signature.signatory, signature.digest_code) == (AUTHOR.aid, SEAL, "E")
    assert signature.statement == statement(DIGEST, SEAL)


def test_file_of_a_non_transferable_identifier() -> None:
    """An identifier that is its only key signs without an event."""
    data = signed_alone(ALONE)
    assert data.startswith(DIGEST.encode() + b"-CAB" + ALONE.aid.encode())
    signature = read_signature(data)
    assert signature.signed == ALONE.couple(statement(DIGEST, ALONE.aid))
    assert signature.aid == signature.signatory == ALONE.aid


@pytest.mark.parametrize("code", ["E", "H", "I"])
def test_file_tells_how_the_document_was_hashed(code: str) -> None:
    """Every digest that documents can have can be signed."""
    signature = read_signature(signed_document(AUTHOR, digest_of([DOCUMENT], code)))
    assert signature.digest_code == code


def test_signatures_are_written_in_the_order_of_their_keys() -> None:
    """Signatures collected in any order give the same file."""
    group = SignatureGroup(AUTHOR.aid, 0, AUTHOR.state.said, GOOD[::-1])
    assert write_signature(DocumentSignature(DIGEST, group)) == FILE


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256K1, Suite.SECP256R1])
@pytest.mark.parametrize("place", [0, 63, 64, 255])
def test_signature_of_any_suite_and_place_is_read(suite: Suite, place: int) -> None:
    """A signature by any key of the largest list can be written and read."""
    one = KeyPair("any", suite).indexed(b"", place, None)
    group = SignatureGroup(AUTHOR.aid, 0, AUTHOR.state.said, (one,))
    signature = DocumentSignature(DIGEST, group)
    assert read_signature(write_signature(signature)) == signature


@pytest.mark.parametrize("signatures", [(), (GOOD[0], GOOD[0])])
def test_what_could_not_be_read_is_not_written(signatures: tuple[IndexedSignature, ...]) -> None:
    """A file without signature, or with two by one key, is refused to its writer."""
    group = SignatureGroup(AUTHOR.aid, 0, AUTHOR.state.said, signatures)
    with pytest.raises(UsageError) as caught:
        write_signature(DocumentSignature(DIGEST, group))
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize("whole", [FILE, signed_alone(ALONE)], ids=["group", "couple"])
def test_file_that_ends_early_is_refused(whole: bytes) -> None:
    """Wherever a file is cut off, it is no signature."""
    line = whole[:-1]
    for size in range(1, len(whole)):
        assert _refused(whole[:size]) is ErrorCode.TRUNCATED, size
    for size in range(len(line)):
        with pytest.raises(DecodeError):
            read_signature(line[:size] + b"\n")


def test_empty_file_is_refused() -> None:
    """A file without bytes is no signature."""
    assert _refused(b"") is ErrorCode.EMPTY


def test_size_of_a_file_is_bounded() -> None:
    """A file over the bound is not even looked at."""
    assert read_signature(FILE, Limits(attachments=len(FILE))).digest == DIGEST
    assert _refused(FILE, Limits(attachments=len(FILE) - 1)) is ErrorCode.LIMIT


def test_signatures_of_a_file_are_bounded() -> None:
    """A file has no more signatures than an event has keys."""
    assert read_signature(FILE, Limits(keys=3)).digest == DIGEST
    assert _refused(FILE, Limits(keys=2)) is ErrorCode.LIMIT


_BARE = indexed.make(Suite.ED25519, GOOD[0].raw, 0, ondex=None, current_only=True)
_OTHER_NEXT = indexed.make(Suite.ED25519, GOOD[0].raw, 0, ondex=1)
_BIG = IndexedSignature("2A", 0, 0, GOOD[0].raw)
_RESERVED = IndexedSignature("0z", 21, 21, bytes(63))
_COUPLE = ALONE.couple(b"")
_TRANSFERABLE = KeyPair("transferable").couple(b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_file(_signed(_BARE)), ErrorCode.NOT_CANONICAL),
        (_file(_signed(_OTHER_NEXT)), ErrorCode.NOT_CANONICAL),
        (_file(_signed(_BIG)), ErrorCode.NOT_CANONICAL),
        (_file(_signed(_RESERVED)), ErrorCode.GROUP),
        (_file(_signed(GOOD[1], GOOD[0])), ErrorCode.NOT_CANONICAL),
        (_file(_signed(GOOD[0], GOOD[0])), ErrorCode.NOT_CANONICAL),
        (_file(_signed()), ErrorCode.GROUP),
        (_file(), ErrorCode.GROUP),
        (_file(_signed(GOOD[0]), _signed(GOOD[1])), ErrorCode.GROUP),
        (_file(Group(GroupKind.CONTROLLER_SIGNATURES, GOOD)), ErrorCode.GROUP),
        (_file(Group(GroupKind.RECEIPT_COUPLES, (_COUPLE, _COUPLE))), ErrorCode.GROUP),
        (_file(Group(GroupKind.RECEIPT_COUPLES, (_TRANSFERABLE,))), ErrorCode.GROUP),
        (
            _file(Group(GroupKind.LAST_SIGNATURE_GROUPS, (LastSignatureGroup(AUTHOR.aid, GOOD),))),
            ErrorCode.GROUP,
        ),
        (DIGEST.encode() + write_frame([_signed(GOOD[0])]) + b"\n", ErrorCode.GROUP),
        (_file(_signed(GOOD[0]), of=digest(DOCUMENT, "F")), ErrorCode.GROUP),
        (_file(_signed(GOOD[0]), of=AUTHOR.pairs(0)[0].key.text), ErrorCode.GROUP),
        (b"\n", ErrorCode.TRUNCATED),
        (b" " + FILE, ErrorCode.UNKNOWN_CODE),
        (FILE + b"\n", ErrorCode.BAD_ENCODING),
        (FILE[:-1] + b"\r\n", ErrorCode.BAD_ENCODING),
        (FILE[:-1] + b"    \n", ErrorCode.BAD_ENCODING),
        (FILE.replace(b"-FAB", b"-0FAAAAB"), ErrorCode.UNKNOWN_CODE),
        (FILE.replace(b"-FAB", b"--FAAAAB"), ErrorCode.UNKNOWN_CODE),
        (FILE[:-1] + FILE, ErrorCode.UNKNOWN_CODE),
    ],
)
def test_other_spelling_is_refused(data: bytes, code: ErrorCode) -> None:
    """What is not exactly the line that a writer makes is no signature."""
    assert _refused(data) is code
