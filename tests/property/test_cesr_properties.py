"""What holds for every element of CESR."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keystead.cesr import base64, groups, indexed, primitives, values
from keystead.cesr import body as bodies
from keystead.cesr.codes import VERSION_1, CounterRow, GroupKind
from keystead.cesr.groups import (
    FirstSeenCouple,
    Group,
    Item,
    LastSignatureGroup,
    PathedMaterial,
    PathSignatures,
    ReceiptCouple,
    ReceiptQuadruple,
    SignatureGroup,
    SourceCouple,
    SourceTriple,
)
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Digest, Signature, VerificationKey, digest_code, make_key
from keystead.cesr.primitives import Primitive
from keystead.cesr.versions import Kind
from keystead.cesr.writing import write_frame, write_groups
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import DEFAULT_LIMITS
from keystead.suites import Suite
from support.streams import GROUPS

FEW = settings(deadline=None, max_examples=60)
MANY = settings(deadline=None, max_examples=300)
BASE64 = st.text(base64.ALPHABET, max_size=40)


@st.composite
def any_primitive(draw: st.DrawFn) -> Primitive:
    """Draw a primitive of any code."""
    row = draw(st.sampled_from(list(VERSION_1.primitives.values())))
    if row.size is None:
        return primitives.make(row.code, draw(st.binary(max_size=100)))
    size = (row.size - len(row.code) - row.soft) * 3 // 4 - row.lead
    chars = row.soft - row.pad
    soft = draw(st.text(base64.ALPHABET, min_size=chars, max_size=chars))
    return primitives.make(row.code, draw(st.binary(min_size=size, max_size=size)), soft)


@st.composite
def any_signature(draw: st.DrawFn) -> IndexedSignature:
    """Draw an indexed signature of any suite."""
    suite = draw(st.sampled_from([Suite.ED25519, Suite.SECP256K1, Suite.SECP256R1, Suite.ED448]))
    size = 114 if suite is Suite.ED448 else 64
    place = st.integers(0, 63) | st.integers(0, 4095)
    return indexed.make(
        suite,
        draw(st.binary(min_size=size, max_size=size)),
        draw(place),
        ondex=draw(st.none() | place),
        current_only=draw(st.booleans()),
    )


@st.composite
def any_key(draw: st.DrawFn) -> VerificationKey:
    """Draw a public key, which need not be a point of its curve."""
    suite = draw(st.sampled_from(Suite))
    size = {Suite.ED25519: 32, Suite.ED448: 57}.get(suite, 33)
    raw = draw(st.binary(min_size=size, max_size=size))
    return make_key(suite, raw, transferable=draw(st.booleans()))


@st.composite
def any_plain_signature(draw: st.DrawFn) -> Signature:
    """Draw a signature without index."""
    suite = draw(st.sampled_from(Suite))
    size = 114 if suite is Suite.ED448 else 64
    return Signature(suite, draw(st.binary(min_size=size, max_size=size)))


def _digest(code: str, raw: bytes) -> Digest:
    size = 64 if code.startswith("0") else 32
    return Digest(primitives.make(code, (raw * size)[:size]).text)


DIGESTS = st.builds(_digest, st.sampled_from([*"EFGHI", "0D", "0G"]), st.binary(min_size=1))
AIDS = st.builds(Aid, DIGESTS | any_key().map(lambda key: key.text))
ORDINALS = st.integers(0, values.MAX_ORDINAL)
SIGNATURES = st.lists(any_signature(), max_size=5).map(tuple)
STAMPS = st.datetimes().map(lambda when: when.isoformat(timespec="microseconds") + "+00:00")
PATHS = st.lists(st.text("abcXYZ019_", min_size=1, max_size=6), max_size=4).map(
    lambda parts: "-" + "-".join(parts)
)


def _group(kind: GroupKind, items: st.SearchStrategy[Item]) -> st.SearchStrategy[Group]:
    return st.lists(items, max_size=4).map(lambda drawn: Group(kind, tuple(drawn)))


COUPLES = st.builds(ReceiptCouple, any_key(), any_plain_signature())
LISTED = st.builds(SignatureGroup, AIDS, ORDINALS, DIGESTS, SIGNATURES)
SIMPLE: dict[GroupKind, st.SearchStrategy[Group]] = {
    GroupKind.CONTROLLER_SIGNATURES: _group(GroupKind.CONTROLLER_SIGNATURES, any_signature()),
    GroupKind.RECEIPT_COUPLES: _group(GroupKind.RECEIPT_COUPLES, COUPLES),
    GroupKind.SIGNATURE_GROUPS: _group(GroupKind.SIGNATURE_GROUPS, LISTED),
}
SIGNED_PATH = st.builds(PathSignatures, PATHS, st.tuples(st.one_of(*SIMPLE.values())))
PATHED = _group(GroupKind.PATH_SIGNATURES, SIGNED_PATH)
ROOTED = st.builds(PathSignatures, PATHS, st.lists(PATHED, min_size=1, max_size=3).map(tuple))
QUADLETS = st.binary(max_size=30).map(lambda data: base64.encode(data[: len(data) // 3 * 3]))
KINDS: dict[GroupKind, st.SearchStrategy[Group]] = SIMPLE | {
    GroupKind.WITNESS_SIGNATURES: _group(GroupKind.WITNESS_SIGNATURES, any_signature()),
    GroupKind.RECEIPT_QUADRUPLES: _group(
        GroupKind.RECEIPT_QUADRUPLES,
        st.builds(ReceiptQuadruple, AIDS, ORDINALS, DIGESTS, any_signature()),
    ),
    GroupKind.FIRST_SEEN_COUPLES: _group(
        GroupKind.FIRST_SEEN_COUPLES, st.builds(FirstSeenCouple, ORDINALS, STAMPS)
    ),
    GroupKind.SOURCE_COUPLES: _group(
        GroupKind.SOURCE_COUPLES, st.builds(SourceCouple, ORDINALS, DIGESTS)
    ),
    GroupKind.LAST_SIGNATURE_GROUPS: _group(
        GroupKind.LAST_SIGNATURE_GROUPS, st.builds(LastSignatureGroup, AIDS, SIGNATURES)
    ),
    GroupKind.SOURCE_TRIPLES: _group(
        GroupKind.SOURCE_TRIPLES, st.builds(SourceTriple, AIDS, ORDINALS, DIGESTS)
    ),
    GroupKind.PATH_SIGNATURES: PATHED,
    GroupKind.ROOT_PATH_SIGNATURES: st.one_of(
        ROOTED.map(lambda item: Group(GroupKind.ROOT_PATH_SIGNATURES, (item,))),
        _group(GroupKind.ROOT_PATH_SIGNATURES, SIGNED_PATH),
    ),
    GroupKind.PATHED_MATERIAL: st.builds(PathedMaterial, PATHS, QUADLETS).map(
        lambda item: Group(GroupKind.PATHED_MATERIAL, (item,))
    ),
    GroupKind.ESSR_PAYLOAD: _group(GroupKind.ESSR_PAYLOAD, st.binary(max_size=50)),
}


@MANY
@given(any_primitive(), st.binary(max_size=5))
def test_primitives_survive_both_domains(primitive: Primitive, behind: bytes) -> None:
    """A primitive reads back from text and from bytes, whatever stands behind."""
    text, binary = primitive.text.encode(), primitive.binary
    assert base64.encode(binary) == text
    assert primitives.read_text(text + behind) == (primitive, len(text))
    assert primitives.read_binary(binary + behind) == (primitive, len(binary))
    assert primitives.measure(text)[1] == len(text)


@MANY
@given(any_signature(), st.binary(max_size=5))
def test_indexed_signatures_survive_both_domains(
    signature: IndexedSignature, behind: bytes
) -> None:
    """An indexed signature reads back from text and from bytes, whatever stands behind."""
    text, binary = signature.text.encode(), signature.binary
    assert base64.encode(binary) == text
    assert indexed.read_text(text + behind) == (signature, len(text))
    assert indexed.read_binary(binary + behind) == (signature, len(binary))


@pytest.mark.parametrize("kind", KINDS)
def test_groups_survive_both_domains(kind: GroupKind) -> None:
    """Every kind of group reads back from what was written."""

    @FEW
    @given(st.lists(KINDS[kind], min_size=1, max_size=3).map(tuple))
    def check(written: tuple[Group, ...]) -> None:
        text = write_groups(written)
        binary = base64.decode(text)
        assert groups.read_framed(binary, DEFAULT_LIMITS) == written
        assert write_groups(groups.read_framed(binary, DEFAULT_LIMITS)) == text

    check()


@FEW
@given(st.lists(st.one_of(*KINDS.values()), max_size=6).map(tuple))
def test_frames_survive(written: tuple[Group, ...]) -> None:
    """A frame holds its groups in order."""
    frame = write_frame(written)
    row, count, end = groups.read_counter(frame)
    assert row.kind is GroupKind.ATTACHMENTS
    assert end + 4 * count == len(frame)
    assert groups.read_framed(base64.decode(frame[end:]), DEFAULT_LIMITS) == written


@MANY
@given(st.sampled_from(list(VERSION_1.counters.values())), st.data())
def test_counters_survive(row: CounterRow, data: st.DataObject) -> None:
    """A count code reads back."""
    count = data.draw(st.integers(0, 64**row.digits - 1))
    text = (row.code + base64.from_int(count, row.digits)).encode()
    assert groups.read_counter(text) == (row, count, len(text))
    written, found, _ = groups.read_counter(groups.counter_text(row.kind, count).encode())
    assert (written.kind, found) == (row.kind, count)


@MANY
@given(st.integers(0, 2**136 - 1))
def test_numbers_survive(number: int) -> None:
    """A number reads back from its smallest form."""
    assert values.number_of(primitives.parse(values.number(number).text)) == number


@MANY
@given(BASE64)
def test_base64_strings_survive(text: str) -> None:
    """A Base64 string reads back, unless it is refused as ambiguous."""
    assume(len(text) % 4 or not text.startswith("A"))
    assert values.base64_string_of(primitives.parse(values.base64_string(text).text)) == text


@FEW
@given(STAMPS)
def test_dates_survive(stamp: str) -> None:
    """A date reads back."""
    assert values.datetime_of(primitives.parse(values.datetime(stamp).text)) == stamp


@MANY
@given(st.text(base64.ALPHABET, min_size=1, max_size=10))
def test_tags_survive(text: str) -> None:
    """A tag reads back."""
    assert primitives.parse(values.tag(text).text).soft == text


REFUSALS = {ErrorCode.TRUNCATED, ErrorCode.UNKNOWN_CODE, ErrorCode.BAD_ENCODING}
# Text that is likely to be nearly right.
NEARLY = st.one_of(
    st.text(base64.ALPHABET, max_size=100),
    st.builds(
        lambda code, rest: code + rest,
        st.sampled_from([*VERSION_1.primitives, *VERSION_1.indexed]),
        st.text("AB_P", max_size=170),
    ),
    st.builds(
        lambda code, rest: (code + "A" * 200)[: (VERSION_1.primitives[code].size or 12) - 2] + rest,
        st.sampled_from(list(VERSION_1.primitives)),
        st.text(base64.ALPHABET, min_size=2, max_size=2),
    ),
)


@pytest.mark.parametrize("read", [primitives.read_text, indexed.read_text])
def test_what_reads_is_written_alike(
    read: Callable[[bytes], tuple[Primitive | IndexedSignature, int]],
) -> None:
    """Every text that is accepted is the one text of its value."""

    @settings(deadline=None, max_examples=1500)
    @given(NEARLY)
    def check(text: str) -> None:
        try:
            element, end = read(text.encode())
        except DecodeError as error:
            refused = error.code
        else:
            assert element.text == text[:end]
            return
        assert refused in REFUSALS

    check()


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_elements_or_a_refusal(data: bytes) -> None:
    """No input makes a reader fail in another way than by its own error."""
    for read in (
        primitives.read_binary,
        primitives.read_text,
        indexed.read_binary,
        indexed.read_text,
    ):
        try:
            _, end = read(data)
        except DecodeError:
            continue
        assert 0 < end <= len(data)


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(GROUPS), st.data())
def test_a_changed_group_is_refused_or_another(group: Group, data: st.DataObject) -> None:
    """A changed character never goes unnoticed: what still reads, writes the changed text."""
    text = bytearray(write_groups([group])[:2000])
    del text[len(text) // 4 * 4 :]
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = ord(data.draw(st.sampled_from(base64.ALPHABET)))
    try:
        read = groups.read_framed(base64.decode(bytes(text)), DEFAULT_LIMITS)
    except DecodeError:
        return
    assert write_groups(read) == bytes(text)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)
BODIES = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        LEAVES,
        lambda below: (
            st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4)
        ),
        max_leaves=15,
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", Kind)
def test_bodies_survive(kind: Kind) -> None:
    """A field map of plain values reads back in every kind, and writes the same bytes."""

    @MANY
    @given(BODIES)
    def check(body: dict[str, object]) -> None:
        raw = bodies.encode(body, kind)
        read = bodies.decode(raw, kind, DEFAULT_LIMITS)
        assert read == body
        assert bodies.encode(read, kind) == raw

    check()


@pytest.mark.parametrize("kind", Kind)
def test_any_bytes_end_in_a_body_or_a_refusal(kind: Kind) -> None:
    """What is accepted is its own canonical form; anything else is refused by code."""

    @settings(deadline=None, max_examples=500)
    @given(st.binary(max_size=60) | BODIES.map(lambda body: bodies.encode(body, kind)), st.data())
    def check(raw: bytes, data: st.DataObject) -> None:
        changed = bytearray(raw)
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        try:
            read = bodies.decode(bytes(changed), kind, DEFAULT_LIMITS)
        except DecodeError as error:
            refused = error.code
        else:
            assert bodies.encode(read, kind) == bytes(changed)
            return
        assert refused in {ErrorCode.BODY, ErrorCode.NOT_CANONICAL, ErrorCode.LIMIT}

    check()


@MANY
@given(DIGESTS)
def test_digests_tell_their_code(text: Digest) -> None:
    """The code of a digest is that of its primitive."""
    assert digest_code(text) == primitives.parse(text).code
