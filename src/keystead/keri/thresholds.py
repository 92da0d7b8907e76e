"""Signing thresholds: how many keys, or which weights, make a set of signatures sufficient.

A threshold takes the places of distinct keys, never a number of signatures, so one key that
signs twice counts once.

Source: KERI specification, "Fractionally weighted threshold".
"""

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import msgspec

from keystead.cesr import values
from keystead.cesr.primitives import Primitive
from keystead.errors import DecodeError, ErrorCode, VerificationError

# A threshold as a message carries it: hex text, a list of weights, or a list of such lists.
Field: TypeAlias = str | list["Field"] | dict[str, "Field"]

# Nine digits are enough for any share and keep the arithmetic small.
_WEIGHT = re.compile(r"(0|[1-9][0-9]{0,8})(?:/([1-9][0-9]{0,8}))?")
_HEX = re.compile(r"0|[1-9a-f][0-9a-f]{0,31}")


class Weight(msgspec.Struct, frozen=True, gc=False):
    """The weight of one key, or of a nested list of keys that counts when it reaches one.

    Attributes:
        text: as the message writes it.
        value: from 0 to 1.
        nested: weights of the keys of a nested list; empty for a single key.
    """

    text: str
    value: Fraction
    nested: tuple["Weight", ...] = ()


class Threshold(msgspec.Struct, frozen=True, gc=False):
    """A threshold over an ordered list of keys.

    Attributes:
        number: keys needed, 0 when the threshold is weighted.
        clauses: weighted clauses, all of which must reach one; empty when it is a number.
    """

    number: int
    clauses: tuple[tuple[Weight, ...], ...] = ()

    def satisfied_by(self, indices: frozenset[int]) -> bool:
        """Tell whether the keys at `indices` suffice."""
        if not self.clauses:
            return 0 < self.number <= len(indices)
        place = 0
        for clause in self.clauses:
            total = Fraction(0)
            for weight in clause:
                if not weight.nested:
                    total += weight.value if place in indices else 0
                    place += 1
                    continue
                inner = enumerate(weight.nested, place)
                if sum(part.value for at, part in inner if at in indices) >= 1:
                    total += weight.value
                place += len(weight.nested)
            if total < 1:
                return False
        return True

    @property
    def places(self) -> int:
        """Keys that the threshold speaks of: all of a weighted one, the least for a number."""
        if not self.clauses:
            return self.number
        return sum(len(weight.nested) or 1 for clause in self.clauses for weight in clause)

    @property
    def demand(self) -> object:
        """What it asks for, however it is written: equal for 1/2 and 2/4."""
        return self.number, tuple(
            tuple((one.value, tuple(part.value for part in one.nested)) for one in clause)
            for clause in self.clauses
        )

    @property
    def field(self) -> Field:
        """The threshold as a message carries it."""
        if not self.clauses:
            return f"{self.number:x}"
        clauses: list[Field] = [
            [_weight_field(weight) for weight in clause] for clause in self.clauses
        ]
        return clauses[0] if len(clauses) == 1 else clauses

    @property
    def primitive(self) -> Primitive:
        """The threshold in CESR: a number, or a Base64 string such as `1s2c1s2`."""
        if not self.clauses:
            return values.number(self.number)
        text = "a".join(
            "c".join(_weight_text(weight) for weight in clause) for clause in self.clauses
        )
        return values.base64_string(text)


def parse(field: object, keys: int) -> Threshold:
    """Read a threshold for a list of `keys` keys that it must be able to reach.

    Args:
        field: value of `kt` or `nt`.
        keys: length of the key list; with no keys only "0" is a threshold.

    Raises:
        DecodeError: neither lower-case hex text nor lists of weights (decode.value).
        VerificationError: not reachable with so many keys, weights that are not one to one
            with the keys, above one, or that sum up to less (verify.threshold).
    """
    if isinstance(field, str):
        return parse_number(field, keys)
    if not isinstance(field, list):
        raise _malformed()
    nested = bool(field) and all(isinstance(clause, list) for clause in field)
    clauses = tuple(_parse_clause(clause) for clause in (field if nested else [field]))
    threshold = Threshold(0, clauses)
    if threshold.places != keys:  # before any arithmetic, which their number makes slow
        raise _unreachable(f"{threshold.places} weights for {keys} keys")
    for clause in clauses:
        _check_sum(clause)
        for weight in clause:
            if weight.nested:
                _check_sum(weight.nested)
    return threshold


@lru_cache(maxsize=1024)
def parse_number(text: str, keys: int) -> Threshold:
    """Read a numeric threshold, as `parse`."""
    if not _HEX.fullmatch(text):
        raise DecodeError(ErrorCode.VALUE, "a threshold is lower-case hex text without zeros ahead")
    number = int(text, 16)
    if number > keys or (number == 0 and keys > 0):
        raise _unreachable(f"{number} of {keys} keys")
    return Threshold(number)


def _parse_clause(clause: list[object]) -> tuple[Weight, ...]:
    return tuple(_parse_weight(part) for part in clause)


def _parse_weight(part: object) -> Weight:
    if isinstance(part, str):
        return _parse_fraction(part)
    if not isinstance(part, dict) or len(part) != 1:
        raise _malformed()
    ((label, inner),) = part.items()
    if not isinstance(inner, list) or not inner:
        raise _malformed()
    if not all(isinstance(weight, str) for weight in inner):
        raise _malformed()
    outer = _parse_fraction(label)
    return Weight(outer.text, outer.value, tuple(_parse_fraction(weight) for weight in inner))


@lru_cache(maxsize=1024)
def _parse_fraction(text: str) -> Weight:
    match = _WEIGHT.fullmatch(text)
    if match is None:
        raise DecodeError(ErrorCode.VALUE, "a weight is a fraction such as 1/2, or 0 or 1")
    value = Fraction(int(match[1]), int(match[2] or 1))
    if value > 1:
        raise _unreachable(f"a weight of {text}")
    return Weight(text, value)


def _check_sum(weights: Iterable[Weight]) -> None:
    if sum(weight.value for weight in weights) < 1:
        raise _unreachable("weights of a clause that sum up to less than one")


def _weight_field(weight: Weight) -> Field:
    if not weight.nested:
        return weight.text
    return {weight.text: [part.text for part in weight.nested]}


def _weight_text(weight: Weight) -> str:
    text = weight.text.replace("/", "s")
    if not weight.nested:
        return text
    return text + "k" + "v".join(part.text.replace("/", "s") for part in weight.nested)


def _malformed() -> DecodeError:
    return DecodeError(ErrorCode.VALUE, "a threshold is hex text or lists of weights")


def _unreachable(what: str) -> VerificationError:
    return VerificationError(ErrorCode.THRESHOLD, f"a threshold that cannot be met: {what}")
