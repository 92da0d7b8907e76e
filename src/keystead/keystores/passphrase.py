"""Passphrases: what is accepted as one, how one is made, and the key that it gives."""

import unicodedata
from collections.abc import Mapping
from math import log2
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from keystead.errors import HINTS, ErrorCode, KeystoreError, UsageError

MOST_BYTES = 1024
LEAST_BITS = 60
KEY_BYTES = 32
SALT_BYTES = 16

_WORDS = 6
# The estimator takes no more. Its time grows with the length, to a few seconds for text that is
# made to be slow.
_JUDGED = 72
# Control characters and line ends cannot be typed everywhere, surrogates stand for bytes that are
# no text, and what is unassigned now may get another normal form in a later Unicode.
_REFUSED = frozenset(("Cc", "Cn", "Cs", "Zl", "Zp"))

_MIB = 1024
# The weakest that OWASP recommends, and its equivalent for a single pass.
_LEAST_MEMORY, _LEAST_MEMORY_ONE_PASS = 19 * _MIB, 46 * _MIB
_MOST_MEMORY, _MOST_PASSES, _MOST_LANES = 2048 * _MIB, 10, 8


class Cost(NamedTuple):
    """What one derivation costs.

    Attributes:
        memory_kib: memory in KiB.
        passes: times that the memory is filled.
        lanes: parts that can be filled in parallel.
    """

    memory_kib: int
    passes: int
    lanes: int


PROFILES: Mapping[str, Cost] = MappingProxyType(
    {
        "default": Cost(256 * _MIB, 3, 4),
        "low-memory": Cost(64 * _MIB, 3, 4),  # RFC 9106, second recommendation
        "strong": Cost(512 * _MIB, 2, 4),
        "paranoid": Cost(2048 * _MIB, 1, 4),  # RFC 9106, first recommendation
    }
)


class KdfParameters(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a key is derived; stored beside what the key protects.

    Attributes:
        memory_kib: memory in KiB.
        passes: times that the memory is filled.
        lanes: parts that can be filled in parallel.
        salt: 16 random bytes.
    """

    memory_kib: int = PROFILES["default"].memory_kib
    passes: int = PROFILES["default"].passes
    lanes: int = PROFILES["default"].lanes
    salt: bytes


def derive_key(passphrase: bytes, parameters: KdfParameters) -> bytes:
    """Return the 32 bytes that Argon2id version 1.3 makes of a normalized passphrase.

    Raises:
        KeystoreError: the parameters are below the floor or above the ceiling, or there is not
            enough memory (keystore.kdf).
    """
    _check(parameters)
    # The next line takes 30 ms, and most commands derive nothing.
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - as said

    try:
        return Argon2id(
            salt=parameters.salt,
            length=KEY_BYTES,
            iterations=parameters.passes,
            lanes=parameters.lanes,
            memory_cost=parameters.memory_kib,
        ).derive(passphrase)
    except MemoryError:
        needed = parameters.memory_kib // _MIB
        raise KeystoreError(
            ErrorCode.KDF,
            f"deriving the key needs {needed} MiB of memory, which this machine cannot give now",
            hint="end other programs and try again, or use a machine with more memory",
        ) from None


def _check(parameters: KdfParameters) -> None:
    """Refuse parameters that protect too little, or that were chosen to exhaust the machine."""
    memory, passes, lanes = parameters.memory_kib, parameters.passes, parameters.lanes
    least = _LEAST_MEMORY_ONE_PASS if passes == 1 else _LEAST_MEMORY
    accepted = (
        least <= memory <= _MOST_MEMORY
        and 1 <= passes <= _MOST_PASSES
        and 1 <= lanes <= _MOST_LANES
        and len(parameters.salt) == SALT_BYTES
    )
    if not accepted:
        raise KeystoreError(
            ErrorCode.KDF,
            f"key derivation with {memory} KiB, {passes} passes, {lanes} lanes and"
            f" {len(parameters.salt)} bytes of salt is not accepted",
        )


def normalized(text: str) -> bytes:
    """Return the bytes of a passphrase, the same however a keyboard composes its characters.

    Raises:
        UsageError: it is empty, longer than 1,024 bytes, no text, or has control, line end or
            unassigned characters (usage.argument).
    """
    # Normalizing takes long on long text, so the length is checked before and after.
    form = unicodedata.normalize("NFKC", text) if len(text) <= MOST_BYTES else text
    if any(unicodedata.category(char) in _REFUSED for char in form[: MOST_BYTES + 1]):
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the passphrase has control characters, or is not text in UTF-8",
            hint="use letters, digits, signs and spaces, on one line",
        )
    if not form:
        raise UsageError(ErrorCode.ARGUMENT, "the passphrase is empty")
    if len(form) > MOST_BYTES or len(data := form.encode()) > MOST_BYTES:
        raise UsageError(ErrorCode.ARGUMENT, f"the passphrase is longer than {MOST_BYTES:,} bytes")
    return data


def generate_passphrase() -> str:
    """Return six random words with spaces between them: one of 2 to the power of 77."""
    while True:
        text = " ".join(random_words(_WORDS))
        # Six of the shortest words can be estimated at less: then others are drawn, so that
        # whatever was made here is also accepted when it is typed.
        if _estimate(text)[0] >= LEAST_BITS:
            return text


def random_words(count: int) -> list[str]:
    """Return random words; each is one of 7,776, which makes nearly 13 bits."""
    # Imports that cost 10 ms; few commands need words.
    import secrets  # noqa: PLC0415 - as said
    from importlib.resources import files  # noqa: PLC0415 - as said

    # The first line tells whose list it is.
    words = files(__package__).joinpath("words.txt").read_text("utf-8").splitlines()[1:]
    return [secrets.choice(words) for _ in range(count)]


def check_strength(text: str) -> None:
    """Refuse a passphrase that takes too few guesses; of a long one the start is judged.

    Raises:
        UsageError: it takes fewer than 2 to the power of 60 guesses (usage.weak_passphrase), or
            is no passphrase at all (usage.argument).
    """
    bits, advice = _estimate(normalized(text).decode())
    if bits < LEAST_BITS:
        raise UsageError(
            ErrorCode.WEAK_PASSPHRASE,
            f"the passphrase is too easy to guess: about {bits} of the {LEAST_BITS} bits it needs",
            hint="; ".join((HINTS[ErrorCode.WEAK_PASSPHRASE], *advice)),
        )


def _estimate(text: str) -> tuple[int, list[str]]:
    """Return the whole bits that an estimator finds, and what it advises."""
    # The next line takes 40 ms, and only new passphrases are judged.
    from zxcvbn import zxcvbn  # type: ignore[import-untyped] # has none # noqa: PLC0415 - as said

    verdict = zxcvbn(text[:_JUDGED])
    feedback = verdict["feedback"]
    # Fixed sentences. Those with examples are left out: what was typed may be just that.
    advice = [one for one in (feedback["warning"], *feedback["suggestions"]) if '"' not in one]
    told = [one[0].lower() + one[1:].rstrip(".") for one in advice if one]
    return int(log2(verdict["guesses"])), told
