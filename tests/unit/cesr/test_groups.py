"""Attachment groups as typed items."""

import dataclasses
from collections.abc import Callable

import pytest

from keystead.cesr import base64, groups, indexed, primitives, values
from keystead.cesr.codes import VERSION_1, CounterRow, GroupKind
from keystead.cesr.groups import (
    Cursor,
    Group,
    NeedMore,
    PathedMaterial,
    PathSignatures,
    ReceiptQuadruple,
    SourceCouple,
)
from keystead.cesr.keys import Signature
from keystead.cesr.primitives import Primitive
from keystead.cesr.writing import write_groups
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import DEFAULT_LIMITS
from keystead.suites import Suite
from support.streams import AID, GROUPS, SAID, SIGNATURES, STAMP, couple, ordinal, signature

SIGNED = b"-AAB" + SIGNATURES[0].text.encode()
COUNTED = [row for row in VERSION_1.counters.values() if row.kind is not GroupKind.GENUS_VERSION]
PATH = values.base64_string("-a").text.encode()


def _read(text: bytes) -> tuple[Group, ...]:
    return groups.read_framed(base64.decode(text), DEFAULT_LIMITS)


def _refused(text: bytes) -> ErrorCode:
    with pytest.raises(DecodeError) as caught:
        _read(text)
    return caught.value.code


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.code)
@pytest.mark.parametrize("count", [0, 1, 4095])
def test_a_count_code_reads(row: CounterRow, count: int) -> None:
    """Row, count and end are told, wherever the code stands."""
    text = row.code + base64.from_int(count, row.digits)
    assert groups.read_counter(f"xx{text}yy".encode(), 2) == (row, count, 2 + len(text))
    cursor = Cursor(base64.decode(b"AAAA" + text.encode()), 3, framed=True)
    assert cursor.counter() == (row, count)
    assert cursor.position == 3 + len(text) * 3 // 4


@pytest.mark.parametrize("code", ["--AAA", "-_AAA"])
def test_a_genus_code_reads(code: str) -> None:
    """Both spellings of the genus are told."""
    row, version, end = groups.read_counter(f"{code}BAA".encode())
    assert (row.kind, version, end) == (GroupKind.GENUS_VERSION, 4096, 8)


@pytest.mark.parametrize("text", ["", "-A", "-AA", "-0", "-0V", "-0VAAA", "--", "--AAA", "-_AAAB"])
def test_a_cut_count_code_is_truncated(text: str) -> None:
    """A code that ends early says so."""
    with pytest.raises(DecodeError) as caught:
        groups.read_counter(text.encode())
    assert caught.value.code is ErrorCode.TRUNCATED


@pytest.mark.parametrize(
    "text",
    [
        "-",
        "AAAA",
        "-1AA",
        "-aAA",
        "-MAA",
        "-0AAAAAA",
        "--AABAAA",
        "-+AA",
        "-\xe9AA",
        "=AAA",
        "-=AA",
    ],
)
def test_an_unknown_count_code_is_refused(text: str) -> None:
    """A code that is not in the table is not guessed."""
    with pytest.raises(DecodeError) as caught:
        groups.read_counter(text.encode("latin-1"))
    assert caught.value.code is ErrorCode.UNKNOWN_CODE


def test_a_count_has_base64_digits() -> None:
    """Another character is no digit."""
    with pytest.raises(DecodeError) as caught:
        groups.read_counter(b"-A=A")
    assert caught.value.code is ErrorCode.BAD_ENCODING


@pytest.mark.parametrize(
    ("kind", "count", "text"),
    [
        (GroupKind.CONTROLLER_SIGNATURES, 1, "-AAB"),
        (GroupKind.ATTACHMENTS, 4095, "-V__"),
        (GroupKind.ATTACHMENTS, 4096, "-0VAABAA"),
        (GroupKind.ATTACHMENTS, 64**5 - 1, "-0V_____"),
        (GroupKind.GENUS_VERSION, 4096, "--AAABAA"),
    ],
)
def test_a_count_code_is_written(kind: GroupKind, count: int, text: str) -> None:
    """The big form is taken where the small one is too small."""
    assert groups.counter_text(kind, count) == text


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (GroupKind.CONTROLLER_SIGNATURES, 4096),
        (GroupKind.CONTROLLER_SIGNATURES, -1),
        (GroupKind.ATTACHMENTS, 64**5),
    ],
)
def test_a_written_count_must_fit(kind: GroupKind, count: int) -> None:
    """A count beyond the biggest code is refused."""
    with pytest.raises(ValueError, match="no count code for"):
        groups.counter_text(kind, count)


def test_nothing_holds_no_groups() -> None:
    """An empty frame is fine."""
    assert _read(b"") == ()


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.code)
def test_a_group_of_nothing_is_told(row: CounterRow) -> None:
    """A count of zero is a group without items, where the kind may be empty."""
    text = f"{row.code}{base64.from_int(0, row.digits)}".encode()
    if row.kind in {GroupKind.ATTACHMENTS, GroupKind.GENERIC, GroupKind.PATHED_MATERIAL}:
        assert _refused(text) is ErrorCode.GROUP
    else:
        assert _read(text) == (Group(row.kind, ()),)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.kind.value)
def test_a_cut_group_crosses_its_end(group: Group) -> None:
    """A frame that ends inside a group is refused, wherever it ends."""
    whole = write_groups([group])
    for size in range(4, min(len(whole), 2000), 4):
        assert _refused(whole[:size]) is ErrorCode.GROUP


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.kind.value)
def test_an_unframed_group_asks_for_more(group: Group) -> None:
    """Where more may arrive, the place that can complete the group is told."""
    whole = base64.decode(write_groups([group]))
    for size in range(min(len(whole), 1000)):
        cursor = Cursor(b"x" + whole[:size], 1, framed=False)
        with pytest.raises(NeedMore) as caught:
            groups.read_group(cursor, *cursor.counter(), DEFAULT_LIMITS)
        assert 1 + size < caught.value.position <= 1 + len(whole)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.kind.value)
def test_an_unframed_group_ends_where_it_ends(group: Group) -> None:
    """What stands behind a group is left."""
    whole = base64.decode(write_groups([group]))
    cursor = Cursor(whole + b"{", 0, framed=False)
    assert groups.read_group(cursor, *cursor.counter(), DEFAULT_LIMITS) == group
    assert cursor.position == len(whole)


@pytest.mark.parametrize("suite", [Suite.SECP256K1, Suite.SECP256R1, Suite.ED448])
@pytest.mark.parametrize("kind", [GroupKind.CONTROLLER_SIGNATURES, GroupKind.WITNESS_SIGNATURES])
def test_signatures_of_any_suite_stand_together(suite: Suite, kind: GroupKind) -> None:
    """Common and uncommon codes may be mixed in any order."""
    raw = bytes(114 if suite is Suite.ED448 else 64)
    other = indexed.make(suite, raw, 1, ondex=None)
    items = (signature(0), other, signature(2), signature(3, 9), other)
    assert _read(write_groups([Group(kind, items)])) == (Group(kind, items),)


def test_a_quadruple_may_hold_a_group_of_signatures() -> None:
    """The later form of `-D` counts quadlets and gives the same items."""
    triple = f"{AID}".encode() + ordinal(5) + SAID.encode()
    inner = triple + b"-AAC" + b"".join(one.text.encode() for one in SIGNATURES[:2])
    twice = inner + triple + b"-AAB" + SIGNATURES[3].text.encode()
    counted = f"-D{base64.from_int(len(twice) // 4, 2)}".encode()
    expected = tuple(
        ReceiptQuadruple(AID, 5, SAID, one) for one in (SIGNATURES[0], SIGNATURES[1], SIGNATURES[3])
    )
    assert _read(counted + twice + SIGNED) == (
        Group(GroupKind.RECEIPT_QUADRUPLES, expected),
        Group(GroupKind.CONTROLLER_SIGNATURES, SIGNATURES[:1]),
    )


@pytest.mark.parametrize("change", [-1, 1])
def test_the_later_quadruple_must_fill_its_frame(change: int) -> None:
    """A count that is one quadlet off is refused."""
    inner = AID.encode() + ordinal(5) + SAID.encode() + SIGNED
    counted = f"-D{base64.from_int(len(inner) // 4 + change, 2)}".encode()
    assert _refused(counted + inner) is ErrorCode.GROUP


def test_root_paths_without_root_are_read_too() -> None:
    """`-K` may hold paths with signatures, as `-J` does."""
    text = b"-KAC" + (PATH + SIGNED) * 2
    item = PathSignatures("-a", (Group(GroupKind.CONTROLLER_SIGNATURES, SIGNATURES[:1]),))
    assert _read(text) == (Group(GroupKind.ROOT_PATH_SIGNATURES, (item, item)),)


def test_pathed_material_is_not_looked_into() -> None:
    """What belongs to an embedded message is kept as it is."""
    text = b"-LAD" + PATH + b"____"
    assert _read(text) == (Group(GroupKind.PATHED_MATERIAL, (PathedMaterial("-a", b"____"),)),)


def _chain(levels: int) -> bytes:
    return b"-JAB" + (PATH + b"-JAB") * (levels - 1) + PATH + SIGNED


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_groups_nest_up_to_the_limit(levels: int) -> None:
    """Paths with paths are read as deep as the limit."""
    assert len(_read(_chain(levels))) == 1


@pytest.mark.parametrize("levels", [5, 6, 4000])
def test_groups_nest_no_deeper_than_the_limit(levels: int) -> None:
    """One level more is refused, before the stack grows."""
    assert _refused(_chain(levels)) is ErrorCode.LIMIT


def test_the_nesting_limit_is_the_one_that_was_given() -> None:
    """A reader may be stricter."""
    limits = dataclasses.replace(DEFAULT_LIMITS, nested_groups=1)
    groups.read_framed(base64.decode(_chain(1)), limits)
    with pytest.raises(DecodeError) as caught:
        groups.read_framed(base64.decode(_chain(2)), limits)
    assert caught.value.code is ErrorCode.LIMIT


KEY = couple().key.text.encode()
PLAIN = couple().signature.primitive.text.encode()
OTHER_DIGEST = primitives.make("X", b"", "abc").text.encode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(b"-VAA", ErrorCode.GROUP, id="frame in a frame"),
        pytest.param(b"-WAA", ErrorCode.GROUP, id="generic group"),
        pytest.param(b"--AAABAA", ErrorCode.GROUP, id="genus in a frame"),
        pytest.param(b"-CAB" + SAID.encode() + PLAIN, ErrorCode.GROUP, id="digest for key"),
        pytest.param(b"-CAB" + KEY + SAID.encode() * 2, ErrorCode.GROUP, id="digest for signature"),
        pytest.param(b"-CAB" + PLAIN + KEY, ErrorCode.GROUP, id="signature for key"),
        pytest.param(
            b"-GAB" + SAID.encode() + ordinal(0), ErrorCode.GROUP, id="digest for ordinal"
        ),
        pytest.param(b"-GAB" + ordinal(0) + KEY, ErrorCode.GROUP, id="key for digest"),
        pytest.param(b"-GAB" + ordinal(0) * 3, ErrorCode.GROUP, id="ordinal for digest"),
        pytest.param(b"-GABMAAA" + b"A" * 64, ErrorCode.GROUP, id="short number for ordinal"),
        pytest.param(b"-IAB" + PLAIN * 2, ErrorCode.GROUP, id="signature for identifier"),
        pytest.param(
            b"-EAB" + ordinal(0) + b"1AAG" + b"A" * 32, ErrorCode.VALUE, id="no date in a date"
        ),
        pytest.param(b"-EAB" + ordinal(0) * 3, ErrorCode.VALUE, id="ordinal for date"),
        pytest.param(b"-HAB" + AID.encode() + b"-BAA", ErrorCode.GROUP, id="-B inside -H"),
        pytest.param(b"-HAB" + AID.encode() + b"AAAA", ErrorCode.UNKNOWN_CODE, id="no code in -H"),
        pytest.param(b"-JAB" + PATH + b"-BAA", ErrorCode.GROUP, id="-B inside -J"),
        pytest.param(b"-JAB" + PATH + b"-VAA", ErrorCode.GROUP, id="-V inside -J"),
        pytest.param(b"-JAB4BAA" + SIGNED, ErrorCode.GROUP, id="bytes for path"),
        pytest.param(b"-JAB" + SIGNED, ErrorCode.UNKNOWN_CODE, id="no path in -J"),
        pytest.param(b"-KAC" + PATH + b"-JAA-AAA", ErrorCode.GROUP, id="-A for the second -J"),
        pytest.param(b"-KAC" + (PATH + b"-JAA") * 2, ErrorCode.UNKNOWN_CODE, id="path for -J"),
        pytest.param(
            b"-KAC" + PATH + b"-AAA" + PATH + b"-JAA-JAA", ErrorCode.GROUP, id="-J behind -A"
        ),
        pytest.param(b"-JAB5AABAP-a" + SIGNED, ErrorCode.BAD_ENCODING, id="5 with pad bits"),
        pytest.param(b"-JAB6AABAADa" + SIGNED, ErrorCode.BAD_ENCODING, id="6 with pad bits"),
        pytest.param(b"-JAB5AAA" + SIGNED, ErrorCode.BAD_ENCODING, id="empty path with lead"),
        pytest.param(b"-LAB4BAA", ErrorCode.GROUP, id="bytes for path of material"),
        pytest.param(b"-ZAB" + PATH, ErrorCode.GROUP, id="path for payload"),
        pytest.param(b"-CAB!", ErrorCode.BAD_ENCODING, id="no Base64"),
        pytest.param(b"AAAA", ErrorCode.UNKNOWN_CODE, id="no count code"),
        pytest.param(b"-AABaAAA" + b"A" * 84, ErrorCode.UNKNOWN_CODE, id="unknown signature code"),
        pytest.param(b"-AABAAE" + b"A" * 85, ErrorCode.BAD_ENCODING, id="pad bits of a signature"),
        pytest.param(b"-CABBQ" + b"A" * 130, ErrorCode.BAD_ENCODING, id="pad bits of a key"),
        pytest.param(b"-GAB" + ordinal(0) + b"!" * 44, ErrorCode.BAD_ENCODING, id="no digest"),
        pytest.param(b"-GAB" + ordinal(0) + b"a" * 44, ErrorCode.UNKNOWN_CODE, id="unknown digest"),
    ],
)
def test_other_elements_are_refused(text: bytes, code: ErrorCode) -> None:
    """A group is made of the elements that its code names."""
    assert _refused(text + b"A" * (-len(text) % 4)) is code


@pytest.mark.parametrize(
    "kind", ["-A", "-B", "-C", "-D", "-E", "-F", "-G", "-H", "-I", "-J", "-K", "-Z"]
)
def test_a_lying_count_is_refused(kind: str) -> None:
    """More items than there are bytes end at once."""
    assert _refused(f"{kind}__{'A' * 40}".encode()) in {
        ErrorCode.GROUP,
        ErrorCode.UNKNOWN_CODE,
    }


@pytest.mark.parametrize(
    ("code", "suite"), [("0B", Suite.ED25519), ("0C", Suite.SECP256K1), ("0I", Suite.SECP256R1)]
)
def test_a_cursor_reads_signatures_without_index(code: str, suite: Suite) -> None:
    """The code tells the suite."""
    cursor = Cursor(primitives.make(code, bytes(64)).binary, 0, framed=True)
    assert cursor.signature() == Signature(suite, bytes(64))


@pytest.mark.parametrize("primitive", [primitives.make("D", bytes(32)), values.tag("icp")])
def test_a_cursor_reads_any_primitive(primitive: Primitive) -> None:
    """A primitive is read to its end."""
    cursor = Cursor(primitive.binary + b"x", 0, framed=False)
    assert cursor.primitive() == primitive
    assert cursor.rest() == b"" or cursor.position == len(primitive.binary)


READERS: list[Callable[[Cursor], object]] = [
    Cursor.counter,
    Cursor.aid,
    Cursor.digest,
    Cursor.key,
    Cursor.signature,
    Cursor.ordinal,
    Cursor.datetime,
    Cursor.path,
    Cursor.byte_string,
    Cursor.primitive,
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("size", range(3))
def test_a_cursor_at_the_end_asks_for_more(read: Callable[[Cursor], object], size: int) -> None:
    """With less than a quadlet left, more is needed, or the frame is too short."""
    data = b"\0" + b"\xf8\x00\x00"[:size]
    with pytest.raises(NeedMore) as caught:
        read(Cursor(data, 1, framed=False))
    assert caught.value.position == len(data) + 1
    with pytest.raises(DecodeError) as refused:
        read(Cursor(data, 1, framed=True))
    assert refused.value.code is ErrorCode.GROUP


def test_a_source_couple_holds_large_numbers() -> None:
    """Ordinals have 16 bytes."""
    items = (SourceCouple(values.MAX_ORDINAL, SAID),)
    assert _read(b"-GAB" + ordinal(values.MAX_ORDINAL) + SAID.encode()) == (
        Group(GroupKind.SOURCE_COUPLES, items),
    )


def test_a_first_seen_couple_keeps_its_date() -> None:
    """The date is text with its punctuation."""
    written = b"-EAB" + ordinal(1) + values.datetime(STAMP).text.encode()
    assert _read(written)[0].items == (groups.FirstSeenCouple(1, STAMP),)
