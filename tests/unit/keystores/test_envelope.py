"""The envelope of the data key: one passphrase opens it, and nothing in it can be changed."""

from collections.abc import Iterator

import msgspec
import pytest

from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores import envelope as subject
from keystead.keystores.envelope import close, make, open_with, stretched
from keystead.keystores.passphrase import PROFILES, KdfParameters
from keystead.ports.wallet import Envelope

PHRASE, DATA_KEY = b"a passphrase", b"d" * 32
CHEAP = KdfParameters(memory_kib=19 * 1024, passes=2, lanes=1, salt=b"s" * 16)
# Made by the first version; it opens for good.
KNOWN = (
    "19cf60fce7e53a6804359f213afe0212d5969d63385c37da6f4f86eef813afef2a9b317c76e4ee19"
    "40c610adf04d01620bae91e314ee84a7ac3aafb6f9af906ad54f4195384f986f"
)
ENVELOPE = Envelope("wallet", 1, 19 * 1024, 2, 1, b"s" * 16, bytes.fromhex(KNOWN))


def _code(envelope: Envelope, phrase: bytes = PHRASE) -> tuple[ErrorCode, str]:
    with pytest.raises(KeystoreError) as caught:
        open_with(envelope, phrase)
    return caught.value.code, caught.value.message


def test_the_passphrase_opens_it() -> None:
    """The data key comes back, and is not in the envelope as it is."""
    assert open_with(ENVELOPE, PHRASE) == DATA_KEY
    assert DATA_KEY not in msgspec.msgpack.encode(ENVELOPE)


def test_envelopes_of_one_key_differ() -> None:
    """A new envelope has a nonce of its own."""
    assert close("wallet", DATA_KEY, PHRASE, CHEAP).data != ENVELOPE.data


@pytest.mark.parametrize("phrase", [b"", b"a passphrasE", b"a passphrase ", b"x" * 1024])
def test_another_passphrase_does_not(phrase: bytes) -> None:
    """Every wrong passphrase gets the same answer."""
    assert _code(ENVELOPE, phrase) == (
        ErrorCode.PASSPHRASE,
        "the passphrase does not open this wallet",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"wallet": "another"},
        {"version": 2},
        {"memory_kib": 20 * 1024},
        {"passes": 3},
        {"lanes": 2},
        {"salt": b"t" * 16},
        {"data": b""},
        {"data": ENVELOPE.data[:-1]},
        {"data": ENVELOPE.data + b"\0"},
    ],
    ids=str,
)
def test_everything_beside_the_key_is_bound(changes: dict[str, str | int | bytes]) -> None:
    """An envelope with another value anywhere does not open."""
    assert _code(msgspec.structs.replace(ENVELOPE, **changes))[0] is ErrorCode.PASSPHRASE


@pytest.mark.parametrize("place", [0, 23, 24, 40, -1])
def test_a_flipped_bit_is_found(place: int) -> None:
    """A change of the wrapped key is noticed."""
    data = bytearray(ENVELOPE.data)
    data[place] ^= 1
    changed = msgspec.structs.replace(ENVELOPE, data=bytes(data))
    assert _code(changed)[0] is ErrorCode.PASSPHRASE


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_kib": 1024},
        {"memory_kib": 4 * 1024 * 1024},
        {"passes": 0},
        {"passes": 11},
        {"lanes": 0},
        {"lanes": 9},
        {"salt": b""},
    ],
    ids=str,
)
def test_parameters_out_of_bounds_are_refused(changes: dict[str, int | bytes]) -> None:
    """Neither too weak nor too costly parameters are computed with, whoever wrote them."""
    assert _code(msgspec.structs.replace(ENVELOPE, **changes))[0] is ErrorCode.KDF


def test_a_new_envelope_opens() -> None:
    """What is closed now opens as what the first version closed."""
    assert open_with(close("wallet", DATA_KEY, PHRASE, CHEAP), PHRASE) == DATA_KEY


@pytest.mark.parametrize(
    ("passes", "seconds", "enough"),
    [
        (3, 0.7, 3),
        (3, 5.0, 3),
        (3, 0.35, 6),
        (3, 0.69, 4),
        (3, 0.01, 10),
        (2, 0.2, 7),
        (10, 0.1, 10),
    ],
)
def test_passes_for_a_fast_machine(passes: int, seconds: float, enough: int) -> None:
    """Where a try is too cheap more passes are made, never fewer, and never more than ten."""
    assert stretched(passes, seconds) == enough


def _clock(*readings: float) -> Iterator[float]:
    yield from readings


@pytest.mark.parametrize(
    ("profile", "seconds", "passes"),
    [("small", 0.9, 2), ("small", 0.35, 4), ("low-memory", 0.01, 3)],
)
def test_new_envelopes_take_long_enough(
    monkeypatch: pytest.MonkeyPatch, profile: str, seconds: float, passes: int
) -> None:
    """A new envelope is calibrated upward, except for machines with little memory."""
    small = type(PROFILES["default"])(19 * 1024, 2, 1)
    monkeypatch.setattr(subject, "PROFILES", {**PROFILES, "small": small})
    readings = _clock(0.0, seconds)
    made = make("wallet", DATA_KEY, PHRASE, profile, clock=lambda: next(readings))
    assert made.passes == passes
    assert open_with(made, PHRASE) == DATA_KEY
    again = make("wallet", DATA_KEY, PHRASE, "low-memory")
    assert again.salt != made.salt


def test_names_and_keys_are_random() -> None:
    """Each wallet has a name and a key of its own."""
    assert len({subject.new_wallet_id() for _ in range(10)}) == 10
    assert {len(subject.new_data_key()) for _ in range(10)} == {32}
    assert subject.new_data_key() != subject.new_data_key()
