"""Passphrases: their normal form, their strength, those that are made, and the keys they give."""

import ast
import hashlib
import secrets
import subprocess
import sys
import unicodedata
from importlib import import_module
from importlib.resources import files
from itertools import product
from pathlib import Path

import msgspec
import nacl.pwhash
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from keystead.errors import HINTS, ErrorCode, KeystoreError, UsageError
from keystead.keystores.passphrase import (
    PROFILES,
    KdfParameters,
    check_strength,
    derive_key,
    generate_passphrase,
    normalized,
)

SALT = bytes(range(16))
MIB = 1024
LEAST = KdfParameters(memory_kib=19 * MIB, passes=2, lanes=1, salt=SALT)
WORDS = files("keystead.keystores").joinpath("words.txt").read_text("utf-8").splitlines()
# SHA-256 of the list as its authors publish it: eff_large_wordlist.txt of July 2016.
PUBLISHED = "addd35536511597a02fa0a9ff1e5284677b8883b83e986e43f15a3db996b903e"


def test_library_computes_the_published_vector() -> None:
    """The library's Argon2id gives the tag of RFC 9106, section 5.3."""
    kdf = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=b"\x04" * 12,
        secret=b"\x03" * 8,
    )
    tag = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    assert kdf.derive(b"\x01" * 32).hex() == tag


def test_key_is_that_of_another_implementation() -> None:
    """Libsodium, which has one lane only, derives the same key."""
    other = nacl.pwhash.argon2id.kdf(32, b"six words", SALT, opslimit=2, memlimit=19 * MIB * 1024)
    assert derive_key(b"six words", LEAST) == other


@pytest.mark.parametrize(
    "other",
    [
        {"salt": bytes(16)},
        {"passes": 3},
        {"lanes": 2},
        {"memory_kib": 20 * MIB},
    ],
)
def test_key_depends_on_every_parameter(other: dict[str, int | bytes]) -> None:
    """The same parameters give the same key, any other parameter another."""
    key = derive_key(b"six words", LEAST)
    assert derive_key(b"six words", LEAST) == key
    assert derive_key(b"six words", msgspec.structs.replace(LEAST, **other)) != key


def test_whole_passphrase_is_used() -> None:
    """A change of the last byte of the longest passphrase changes the key."""
    assert derive_key(b"x" * 1024, LEAST) != derive_key(b"x" * 1023 + b"y", LEAST)


@pytest.mark.parametrize(
    "outside",
    [
        {"memory_kib": 19 * MIB - 1},
        {"passes": 1},
        {"passes": 1, "memory_kib": 46 * MIB - 1},
        {"passes": 0},
        {"lanes": 0},
        {"lanes": -1},
        {"memory_kib": -1},
        {"memory_kib": 2048 * MIB + 1},
        {"memory_kib": 1 << 40},
        {"passes": 11},
        {"lanes": 9},
        {"salt": bytes(15)},
        {"salt": bytes(17)},
    ],
)
def test_parameters_outside_the_bounds_are_refused(outside: dict[str, int | bytes]) -> None:
    """Too weak a derivation, or one that would exhaust the machine, is not started."""
    with pytest.raises(KeystoreError, match="is not accepted") as caught:
        derive_key(b"six words", msgspec.structs.replace(LEAST, **outside))
    assert caught.value.code is ErrorCode.KDF


def test_one_pass_with_more_memory_is_accepted() -> None:
    """A single pass is enough from 46 MiB on, which OWASP counts as equal to the floor."""
    assert derive_key(b"x", msgspec.structs.replace(LEAST, passes=1, memory_kib=46 * MIB))


def test_default_parameters_are_the_default_profile() -> None:
    """Parameters that are left out cost what the default profile costs."""
    parameters = KdfParameters(salt=SALT)
    assert (parameters.memory_kib, parameters.passes, parameters.lanes) == PROFILES["default"]
    assert PROFILES["default"] == (256 * MIB, 3, 4)


# Gives the process 256 MiB of address space more than it has, and derives with a profile.
_DERIVE = """
import resource, sys
from pathlib import Path
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from keystead.errors import KeystoreError
from keystead.keystores.passphrase import PROFILES, KdfParameters, derive_key
has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + (256 << 20),) * 2)
try:
    derive_key(b"six words", KdfParameters(**PROFILES[sys.argv[1]]._asdict(), salt=bytes(16)))
except KeystoreError as error:
    print(error)
else:
    print("derived")
"""


@pytest.mark.parametrize("profile", PROFILES)
def test_memory_that_is_not_there(profile: str) -> None:
    """Each profile is accepted, and one that needs more memory than there is says so."""
    mebibytes = PROFILES[profile].memory_kib // MIB
    done = subprocess.run(
        [sys.executable, "-c", _DERIVE, profile], capture_output=True, check=True, text=True
    )
    if profile == "low-memory":
        assert done.stdout == "derived\n"
    else:
        assert f"needs {mebibytes} MiB of memory" in done.stdout
        assert "[keystore.kdf]" in done.stdout


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("caf\u00e9", b"caf\xc3\xa9"),
        ("cafe\u0301", b"caf\xc3\xa9"),
        ("a\u00a0b", b"a b"),
        ("\ufb01re", b"fire"),
        (" a  b ", b" a  b "),
        ("x" * 1024, b"x" * 1024),
        ("\U0001f511", b"\xf0\x9f\x94\x91"),
    ],
)
def test_normal_form(text: str, data: bytes) -> None:
    """Characters that look the same give the same bytes; spaces stay as they are."""
    assert normalized(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 1025,
        "\u00e9" * 513,
        "\ufdfa" * 100,
        "e\u0301" * 513,
        "x" * 100_000,
        "two\nlines",
        "end\n",
        "end\r",
        "a\tb",
        "\x00",
        "\x7f",
        "\x85",
        "\u2028",
        "\u0378",
        b"\xff\xfe".decode(errors="surrogateescape"),
    ],
)
def test_what_is_no_passphrase(text: str) -> None:
    """Nothing, too much, control characters, line ends, unassigned characters, other bytes."""
    with pytest.raises(UsageError) as caught:
        normalized(text)
    assert caught.value.code is ErrorCode.ARGUMENT
    assert caught.value.__context__ is None, "an error of decoding holds the text"
    # Short ones are found in any sentence.
    assert len(text) < 3 or text not in f"{caught.value} {caught.value.hint}"


@given(st.text(max_size=300))
def test_normal_form_is_final(text: str) -> None:
    """What was normalized once stays as it is, however it was composed."""
    try:
        data = normalized(text)
    except UsageError:
        return
    assert normalized(data.decode()) == data
    assert normalized(unicodedata.normalize("NFD", text)) == data


def test_word_list_is_the_published_one() -> None:
    """With the numbers of the dice the list is the published file, and its origin is told."""
    note, *words = WORDS
    assert "Electronic Frontier Foundation" in note
    assert "CC BY 3.0" in note
    assert len(set(words)) == len(words) == 6**5
    numbers = product("123456", repeat=5)
    lines = [f"{''.join(number)}\t{word}\n" for number, word in zip(numbers, words, strict=True)]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == PUBLISHED


def test_generated_passphrases() -> None:
    """Each has six words of the list, is strong enough, and comes once."""
    made = {generate_passphrase() for _ in range(60)}
    assert len(made) == 60
    known = set(WORDS[1:])
    for text in made:
        words = text.split(" ")
        assert len(words) == 6
        assert known.issuperset(words)
        assert normalized(text) == text.encode()
        check_strength(text)
    # Words behind "m" are half of the list: the choice is from all of it.
    assert 110 < sum(word > "m" for text in made for word in text.split(" ")) < 250


def test_a_draw_that_looks_weak_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the estimator would refuse when it is typed is not given out."""
    weak, strong = "eel cod pod pox fox fog", "chalice wound breezy purveyor grill name"
    with pytest.raises(UsageError):
        check_strength(weak)
    # Chance does not bring this about in a lifetime.
    drawn = iter(f"{weak} {strong}".split(" "))
    monkeypatch.setattr(secrets, "choice", lambda _: next(drawn))
    assert generate_passphrase() == strong


WEAK = [
    "a",
    "password",
    "PASSWORD123",
    "drowssap",
    "qwertyuiopasdfghjkl",
    "abcdefgh",
    "6543",
    "aaaaaaaaaaaaaaaa",
    "abcabcabc",
    "password" * 20,
    "p4ssw0rd!",
    "13.5.1990",
    "1997",
    "elizabeth",
    "correct horse",
    "Tr0ub4dor&3",
    "ab" * 500,
]


@pytest.mark.parametrize("text", WEAK)
def test_weak_passphrases_are_refused(text: str) -> None:
    """Common ones, patterns, and repetition of any length are told to be too easy to guess."""
    with pytest.raises(UsageError, match=r"about \d+ of the 60 bits") as caught:
        check_strength(text)
    assert caught.value.code is ErrorCode.WEAK_PASSPHRASE


def _fixed_texts() -> set[str]:
    """Return the texts that are written in the estimator's source."""
    source = import_module("zxcvbn.feedback").__file__
    assert source is not None
    tree = ast.parse(Path(source).read_text("utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("text", WEAK)
def test_advice_is_fixed(text: str) -> None:
    """Each piece of advice is a fixed sentence without examples, not made of the passphrase."""
    with pytest.raises(UsageError) as caught:
        check_strength(text)
    general = HINTS[ErrorCode.WEAK_PASSPHRASE]
    assert caught.value.hint.startswith(general)
    fixed = {one[:1].lower() + one[1:].rstrip(".") for one in _fixed_texts() if '"' not in one}
    advice = caught.value.hint.removeprefix(general).split("; ")[1:]
    assert fixed.issuperset(advice)
    assert not caught.value.fields


def test_advice_is_given() -> None:
    """What the estimator advises comes behind the general hint."""
    with pytest.raises(UsageError) as caught:
        check_strength("13.5.1990")
    assert caught.value.hint.endswith("; avoid dates and years that are associated with you")


@pytest.mark.parametrize(
    "text",
    [
        "violet harbor teaches nine quiet foxes",
        "kJ8#mQz!2vXp9LwT4&r",
        "grüße aus der küche am montag",
        "漢字と仮名を交ぜて書いた文は安全な合言葉になる",
        "kJ8#mQz!2vXp9LwT4&r" * 50,
    ],
)
def test_strong_passphrases_are_accepted(text: str) -> None:
    """Several unusual words or random characters are enough, in any script and length."""
    check_strength(text)


def test_only_the_start_of_a_long_passphrase_is_judged() -> None:
    """What comes behind 72 characters does not make a passphrase stronger."""
    with pytest.raises(UsageError, match="too easy to guess"):
        check_strength("a" * 72 + "kJ8#mQz!2vXp9LwT4&r")


@pytest.mark.timed
def test_judging_takes_a_few_seconds_at_most() -> None:
    """The slowest text that is known, of signs that stand for letters, is judged in time."""
    code = "from keystead.keystores.passphrase import check_strength as c; c(input())"
    text = ("a@4s$5e3i1!l|o0t+7z2x%g69b8c({[<" * 32)[:1024]
    subprocess.run([sys.executable, "-c", code], input=text.encode(), check=True, timeout=30)
