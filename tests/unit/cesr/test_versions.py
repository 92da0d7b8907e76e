"""Version strings and the starts of bodies."""

import pytest

from keystead.cesr import versions
from keystead.cesr.versions import HEAD_BYTES, Kind, Protocol
from keystead.errors import DecodeError, ErrorCode

HEADS = {
    Kind.JSON: [b'{"v":"'],
    Kind.CBOR: [
        b"\xa1avq",
        b"\xb7avq",
        b"\xb8 avq",
        b"\xb9\x01\x00avq",
        b"\xba\x00\x01\x00\x00avq",
    ],
    Kind.MGPK: [
        b"\x81\xa1v\xb1",
        b"\x8f\xa1v\xb1",
        b"\xde\0\x10\xa1v\xb1",
        b"\xdf\0\1\0\0\xa1v\xb1",
    ],
}
STARTS = [(kind, head) for kind, heads in HEADS.items() for head in heads]


@pytest.mark.parametrize(("kind", "head"), STARTS)
@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("size", [0, 0x12A, versions.MAX_SIZE])
def test_a_written_version_string_reads_back(
    kind: Kind, head: bytes, protocol: Protocol, size: int
) -> None:
    """Protocol, serialization and size are told by the version string in first place."""
    text = versions.write_version(protocol, kind, size)
    assert len(text) == versions.VERSION_CHARS
    start = (head + text.encode()).ljust(HEAD_BYTES, b"x")[:HEAD_BYTES]
    assert versions.read_head(start) == (protocol, kind, size)


@pytest.mark.parametrize("head", [b"\xba\0\1\0\0av\x71", b"\xdf\0\1\0\0\xa1v\xb1"])
def test_the_longest_head_has_head_bytes(head: bytes) -> None:
    """No start of a body is longer than HEAD_BYTES."""
    assert len(head) + versions.VERSION_CHARS == HEAD_BYTES


def test_the_text_is_the_published_one() -> None:
    """A version string has the form of version 1.XX."""
    assert versions.write_version(Protocol.KERI, Kind.JSON, 298) == "KERI10JSON00012a_"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b'{"d":"KERI10JSON00012a_',
        b'{ "v":"KERI10JSON00012a_',
        b'{"v":"XERI10JSON00012a_',
        b'{"v":"KERI10JSON00012A_',
        b'{"v":"KERI10JSON00012a-',
        b'{"v":"KERI10XXXX00012a_',
        b'{"v":"KERI10CBOR00012a_',
        b'{"v":"KERI1XJSON00012a_',
        b"\xa1av\x71KERI10JSON00012a_",
        b"\xa1av\x71KERI10MGPK00012a_",
        b"\x81\xa1v\xb1KERI10CBOR00012a_",
        b"\xa0av\x71KERI10CBOR00012a_",
        b"\x80\xa1v\xb1KERI10MGPK00012a_",
        b"\xa1av\x70KERI10CBOR00012a_",
        b'["v":"KERI10JSON00012a_',
        b'"{"v":"KERI10JSON00012a',
        b'{"v":"KERICAAJSONAAAB.',
    ],
)
def test_another_start_is_refused(head: bytes) -> None:
    """A body starts with its version string, in its own serialization."""
    with pytest.raises(DecodeError) as caught:
        versions.read_head(head)
    assert caught.value.code is ErrorCode.VERSION_STRING


@pytest.mark.parametrize("version", ["11", "00", "20", "ff", "01"])
def test_another_version_is_refused(version: str) -> None:
    """Only version 1.0 is read."""
    with pytest.raises(DecodeError, match=rf"version {version[0]}\.{version[1]}") as caught:
        versions.read_head(f'{{"v":"KERI{version}JSON00012a_"'.encode())
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("octet", range(256))
def test_the_first_byte_tells_whether_a_body_may_start(octet: int) -> None:
    """The three high bits tell a field map from attachments and text."""
    assert versions.may_start(octet) is (octet >> 5 in (3, 4, 5, 6))


@pytest.mark.parametrize(("kind", "head"), STARTS)
def test_a_start_is_found_behind_other_bytes(kind: Kind, head: bytes) -> None:
    """The first place with a version string is found."""
    start = head + versions.write_version(Protocol.ACDC, kind, 100).encode()
    assert versions.find_start(b"-AAB\n" + start + start, 0) == 5
    assert versions.find_start(b"-AAB\n" + start + start, 6) == 5 + len(start)


@pytest.mark.parametrize(
    "data",
    [b"", b'{"v":"KERI10JSON00012a', b'{"v":"KERI10CBOR00012a_', b"{" * 100, b"\xa1av\x71" * 9],
)
def test_no_start_is_found_where_there_is_none(data: bytes) -> None:
    """Half a head is no start."""
    assert versions.find_start(data, 0) is None
