"""The annotated dump: whole streams, pieces in both domains, and bytes that are neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.cesr import base64, values
from keystead.cesr.annotate import Element, annotate
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import (
    FirstSeenCouple,
    Group,
    LastSignatureGroup,
    PathedMaterial,
    PathSignatures,
    ReceiptQuadruple,
    SignatureGroup,
    SourceCouple,
    SourceTriple,
    counter_text,
)
from keystead.cesr.writing import write_frame, write_groups
from keystead.limits import DEFAULT_LIMITS
from keystead.testing.authoring import Author, KeyPair, witness

EVENT = Author("alice").incept()
AID, SAID = EVENT.event.aid, EVENT.event.said
SIGNATURE = EVENT.signatures[0]
COUPLE = witness("one").couple(b"message")
_SIGNED = Group(GroupKind.CONTROLLER_SIGNATURES, (SIGNATURE,))
GROUPS = [
    _SIGNED,
    Group(GroupKind.WITNESS_SIGNATURES, (SIGNATURE,)),
    Group(GroupKind.RECEIPT_COUPLES, (COUPLE,)),
    Group(GroupKind.RECEIPT_QUADRUPLES, (ReceiptQuadruple(AID, 0, SAID, SIGNATURE),)),
    Group(GroupKind.FIRST_SEEN_COUPLES, (FirstSeenCouple(1, "2025-06-01T12:00:00.000000+00:00"),)),
    Group(GroupKind.SIGNATURE_GROUPS, (SignatureGroup(AID, 0, SAID, (SIGNATURE,)),)),
    Group(GroupKind.SOURCE_COUPLES, (SourceCouple(5, SAID),)),
    Group(GroupKind.LAST_SIGNATURE_GROUPS, (LastSignatureGroup(AID, (SIGNATURE,)),)),
    Group(GroupKind.SOURCE_TRIPLES, (SourceTriple(AID, 5, SAID),)),
    Group(
        GroupKind.PATH_SIGNATURES,
        (PathSignatures("-a", (Group(GroupKind.CONTROLLER_SIGNATURES, (SIGNATURE,)),)),),
    ),
    Group(GroupKind.PATHED_MATERIAL, (PathedMaterial("-e-acdc", write_groups([_SIGNED])),)),
    Group(GroupKind.ESSR_PAYLOAD, (b"payload",)),
]


def _dump(data: bytes, offset: int = 0) -> list[Element]:
    return list(annotate(data, DEFAULT_LIMITS, offset=offset))


def _meanings(data: bytes) -> list[str]:
    return [element.meaning for element in _dump(data)]


def _tiles(elements: list[Element], start: int, size: int) -> bool:
    """Tell whether each element starts where the one before ends, and all is covered."""
    for element in elements:
        if element.start != start:
            return False
        start += element.size
        size -= element.size
    return size == 0


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.kind.name)
@pytest.mark.parametrize("binary", [False, True])
def test_every_group_is_dumped_without_a_gap(group: Group, *, binary: bool) -> None:
    """The elements of a group cover its bytes, in either domain, alone and in a frame."""
    for text in (write_groups([group]), write_frame([group])):
        data = base64.decode(text) if binary else text
        elements = _dump(data, offset=7)
        assert _tiles(elements, 7, len(data))
        assert not any(element.error for element in elements)
        assert any(group.kind.value in element.meaning for element in elements)


def test_depth_tells_what_stands_in_what() -> None:
    """A frame holds groups, a group holds signers, a signer's signatures stand deeper."""
    elements = _dump(write_frame([GROUPS[5]]))
    assert [element.depth for element in elements] == [0, 1, 2, 2, 2, 2, 3]


@pytest.mark.parametrize("message", [EVENT.raw, EVENT.framed, EVENT.raw + b"\r\n" + EVENT.framed])
def test_a_message_is_a_body_and_its_attachments(message: bytes) -> None:
    """The body is shown as JSON with its size and type; line breaks between are skipped."""
    elements = _dump(message)
    body = elements[0]
    assert body.size == len(EVENT.event.raw)
    assert body.meaning == f"KERI 1.0 JSON body of {body.size} bytes, type icp (inception)"
    assert '"kt": "1"' in body.text
    assert not any(element.error for element in elements)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (values.number(77).text, "2-byte number: 77"),
        (values.ordinal(5).text, "16-byte number or salt: 5"),
        (
            values.datetime("2025-06-01T12:00:00.000000+00:00").text,
            "date and time: 2025-06-01T12:00:00.000000+00:00",
        ),
        (values.tag("icp").text, "tag of 3: icp"),
        (values.byte_string(b"some bytes").text, "byte string of 10 bytes"),
        (values.base64_string("-a-b").text, "Base64 string: -a-b"),
        (KeyPair("alice").key.text, "Ed25519 key"),
    ],
)
def test_readable_values_are_shown(text: str, meaning: str) -> None:
    """A number, a date, a tag or a path is shown by its value."""
    (element,) = _dump(text.encode())
    assert element.text == text
    assert meaning in element.meaning


@pytest.mark.parametrize("code", "AJOQ")
def test_private_keys_are_hidden(code: str) -> None:
    """Seeds and private keys are named, not shown."""
    (element,) = _dump((code + KeyPair("alice").key.text[1:]).encode())
    assert element.text == f"{code}..."
    assert element.meaning.endswith(", hidden")


def test_dual_indexes_are_told() -> None:
    """A signature tells both places when they differ, and when it is for one list alone."""
    pair = KeyPair("alice")
    both = pair.indexed(b"", 3, 5).text.encode()
    one = pair.indexed(b"", 3, None, current_only=True).text.encode()
    counter = counter_text(GroupKind.CONTROLLER_SIGNATURES, 2).encode()
    meanings = _meanings(counter + both + one)
    assert meanings[1].endswith("key 3, prior next key 5")
    assert meanings[2].endswith("key 3, current list only")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"-AABAAAA", "decode.truncated"),
        (b"-VAZ" + write_groups([_SIGNED]), "decode.truncated"),
        (b"-LAZ" + values.base64_string("-a").text.encode(), "decode.truncated"),
        (b"-AAB" + b"$" * 88, "decode.unknown_code"),
        (b"-VAB" * 20, "decode.limit"),
        (EVENT.event.raw[:-5], "decode.body"),
        (EVENT.event.raw.replace(b'"s":"0"', b'"s": 0 '), "decode.not_canonical"),
        (b'{"v":"KERI20JSON00012b_"}', "decode.unsupported_version"),
    ],
)
def test_a_fault_is_named_where_it_is(data: bytes, code: str) -> None:
    """What is wrong is one element with a stable code; all bytes are still covered."""
    elements = _dump(data)
    (fault,) = [element for element in elements if element.error]
    assert code in fault.meaning
    assert sum(element.size for element in elements) == len(data)


@pytest.mark.parametrize("data", [b"\x00" * 5000, b"\x01garbage", b"\xff\xfe\xfd", b"\x00\x01"])
def test_bytes_that_are_nothing_are_one_element(data: bytes) -> None:
    """Garbage is shown by its start, escaped."""
    (element,) = _dump(data)
    assert element.error
    assert element.size == len(data)
    assert element.text.isprintable()


def test_binary_attachments_with_a_rest_are_shown_with_it() -> None:
    """Bytes behind the last whole triplet of binary attachments are marked."""
    data = base64.decode(write_groups([GROUPS[0]])) + b"\x00"
    *good, rest = _dump(data)
    assert not any(element.error for element in good)
    assert rest.error
    assert rest.size == 1


def test_a_fault_in_binary_attachments_is_counted_in_bytes() -> None:
    """Offsets and sizes are those of the stream, not of the text."""
    data = base64.decode(write_groups([GROUPS[0]]))[:-33]
    elements = _dump(data)
    assert elements[-1].error
    assert sum(element.size for element in elements) == len(data)


def test_a_list_body_is_dumped_without_a_type() -> None:
    """A field map of unknown type is shown as what it is."""
    body = b'{"v":"KERI10JSON000000_","t":"xyz"}'
    body = body.replace(b"000000", f"{len(body):06x}".encode())
    (element,) = _dump(body)
    assert element.meaning.endswith("type xyz")
    listed = body.replace(b'"xyz"', b"[123]")
    assert _dump(listed)[0].meaning.endswith("type [123]")
    bare = b'{"v":"ACDC10JSON000000_"}'
    bare = bare.replace(b"000000", f"{len(bare):06x}".encode())
    (element,) = _dump(bare)
    assert element.meaning == f"ACDC 1.0 JSON body of {len(bare)} bytes"


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=400) | st.text('-ABCDE0123VL{"v:KRI}', max_size=200).map(str.encode))
def test_any_input_is_dumped(data: bytes) -> None:
    """Nothing breaks the dump, and no byte is told twice."""
    elements = _dump(data)
    end = 0
    for element in elements:
        assert element.start >= end
        end = element.start + element.size
    assert end <= len(data)


def test_a_version_of_the_code_tables_is_told() -> None:
    """A genus and version code names the version."""
    assert _meanings(b"--AAABAA") == [f"{GroupKind.GENUS_VERSION.value} 1.0"]


def test_a_body_over_the_limit_is_told_and_not_read() -> None:
    """A body that claims more than a body may have is a fault with a code."""
    head = b'{"v":"KERI10JSONffffff_","t":"icp"'
    (element,) = _dump(head)
    assert element.error
    assert "decode.limit" in element.meaning
    assert element.size == len(head)


def test_a_binary_primitive_alone_is_dumped() -> None:
    """A piece in the binary domain needs no count code in front when it is whole."""
    text = KeyPair("alone").key.text
    (element,) = _dump(base64.decode(text.encode()))
    assert (element.text, element.size, element.error) == (text, 33, False)


def test_line_breaks_between_elements_are_no_elements() -> None:
    """Blanks in front of a piece are passed over, and counted in the offset."""
    (element,) = _dump(b"\n \r\t" + SAID.encode())
    assert (element.start, element.text) == (4, SAID)
