"""Sealed records: nothing about one can be changed, and none can stand in for another."""

from itertools import permutations

import msgspec
import pytest

from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores.sealing import DataKey
from keystead.ports.keys import SECRET, Plain, Sealed

KEYS = DataKey("wallet", b"d" * 32)
PLAIN = Plain("key", "alice", 7, b'{"state":"active"}')


def _sealed(plain: Plain = PLAIN, keys: DataKey = KEYS) -> Sealed:
    return Sealed(plain.kind, plain.id, plain.generation, keys.seal(plain))


def _refused(record: Sealed, keys: DataKey = KEYS) -> None:
    with pytest.raises(KeystoreError) as caught:
        keys.open(record)
    assert caught.value.code is ErrorCode.TAMPERED
    assert not keys.is_sealed(record)


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 100_000])
def test_a_record_opens(data: bytes) -> None:
    """What was sealed comes back."""
    plain = Plain("key", "alice", 1, data)
    assert KEYS.open(_sealed(plain)) == data
    assert KEYS.is_sealed(_sealed(plain))


def test_equal_records_look_different() -> None:
    """Nobody sees that two records are equal: each has a nonce of its own."""
    assert _sealed().data != _sealed().data


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "identifier"},
        {"kind": SECRET},
        {"id": "bob"},
        {"id": ""},
        {"generation": 6},
        {"generation": 8},
        {"generation": 77},
    ],
    ids=str,
)
def test_records_cannot_be_swapped_or_rolled_back(changes: dict[str, str | int]) -> None:
    """A record under another kind, name or generation is refused."""
    _refused(msgspec.structs.replace(_sealed(), **changes))


def test_records_of_another_wallet_are_refused() -> None:
    """Neither another wallet's key nor another wallet's name under the same key opens it."""
    _refused(_sealed(), DataKey("another", b"d" * 32))
    _refused(_sealed(), DataKey("wallet", b"e" * 32))


def test_every_flipped_bit_is_found() -> None:
    """A change anywhere in nonce, content or tag is noticed."""
    record = _sealed()
    for place in range(len(record.data) * 8):
        data = bytearray(record.data)
        data[place // 8] ^= 1 << place % 8
        _refused(msgspec.structs.replace(record, data=bytes(data)))


def test_every_cut_is_found() -> None:
    """A record that lost bytes at its end, or got some, is noticed."""
    record = _sealed()
    for end in range(len(record.data)):
        _refused(msgspec.structs.replace(record, data=record.data[:end]))
    _refused(msgspec.structs.replace(record, data=record.data + b"\0"))


def test_names_cannot_run_into_each_other() -> None:
    """Kind and name are told apart, however their letters are shared out."""
    spelled = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")]
    for one, other in permutations(spelled, 2):
        record = _sealed(Plain(*one, 1, b"content"))
        _refused(Sealed(*other, 1, record.data))


def test_tags_tell_nothing_but_equality() -> None:
    """Equal texts of one kind have one tag; others, and other wallets, have others."""
    tag = KEYS.tag("identifier", "alice")
    assert tag == DataKey("wallet", b"d" * 32).tag("identifier", "alice")
    others = [
        KEYS.tag("identifier", "Alice"),
        KEYS.tag("token", "alice"),
        KEYS.tag("identifiera", "lice"),
        DataKey("wallet", b"e" * 32).tag("identifier", "alice"),
    ]
    assert len({tag, *others}) == 1 + len(others)
    assert len(tag) == 32


def test_the_keys_for_each_purpose_differ() -> None:
    """Records, secrets, tags and marks each have a key of their own, none of them the data key."""
    plain = Plain("key", "alice", 1, b"content")
    secret = msgspec.structs.replace(plain, kind=SECRET)
    _refused(Sealed("key", "alice", 1, KEYS.seal(secret)))
    assert KEYS.marks_key not in (b"d" * 32, KEYS.tag("", ""))
    assert len(KEYS.marks_key) == 32


def test_the_form_of_records_is_fixed() -> None:
    """A record that was sealed by the first version opens for good."""
    data = bytes.fromhex(RECORD)
    assert KEYS.open(Sealed("key", "alice", 7, data)) == PLAIN.data
    assert KEYS.tag("identifier", "alice").hex() == TAG
    assert KEYS.marks_key.hex() == MARKS_KEY


RECORD = (
    "b5a1b594ad91b82f06eaf5fed5bd738615c0befb84b5a0bf155389ab49a717358bfe391b270fa45f"
    "9ca93fa89b3363bd321f72d4a8440e56a32d"
)
TAG = "0da4d82338e659ddd54524bbb33e9e444942df20f509de1742c8808f855f77d3"
MARKS_KEY = "ad64891aa667fde7d114bd0ae14504d2c2c10492aeeca217b57d8154afdbf3d0"
