"""Arithmetic on edwards25519 in plain Python, to make signatures that no honest signer makes.

Source: RFC 8032, section 6.
"""

import hashlib
from typing import TypeAlias

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
_ROOT = pow(2, (P - 1) // 4, P)

# Affine coordinates; the curve's addition is complete, so no point is special.
Point: TypeAlias = tuple[int, int]
ZERO: Point = (0, 1)


def add(one: Point, other: Point) -> Point:
    """Return the sum of two points."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def multiply(factor: int, point: Point) -> Point:
    """Return a multiple of a point."""
    total = ZERO
    while factor:
        if factor & 1:
            total = add(total, point)
        point = add(point, point)
        factor >>= 1
    return total


def encode(point: Point) -> bytes:
    """Return the canonical encoding."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    """Decode as leniently as possible: y beyond the field and the sign of x = 0 are taken.

    Raises:
        ValueError: no such point.
    """
    value = int.from_bytes(data, "little")
    y = (value & (1 << 255) - 1) % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * _ROOT % P
    if x * x % P != square:
        raise ValueError("not on the curve")
    return (P - x if x & 1 != value >> 255 and x else x), y


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
# A point of order 8, and so all points of small order.
_EIGHTH = decode(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
TORSION = [multiply(factor, _EIGHTH) for factor in range(8)]


def encodings(point: Point) -> list[bytes]:
    """Return every encoding that the lenient decoder takes for `point`, the canonical one first."""
    x, y = point
    heights = [y, y + P] if y + P < 2**255 else [y]
    signs = [0, 1] if x == 0 else [x & 1]
    return [(high | sign << 255).to_bytes(32, "little") for high in heights for sign in signs]


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    """Return the number that ties a signature to its key and message."""
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def secret_of(seed: bytes) -> int:
    """Return the private number of a seed."""
    value = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return value & (1 << 254) - 8 | 1 << 254


def equation_holds(key: bytes, signature: bytes, message: bytes, *, cofactor: int = 1) -> bool:
    """Tell whether the bare equation S B = R + h A holds, without any other check."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    h = challenge(r, key, message)
    left = multiply(s * cofactor, BASE)
    return left == multiply(cofactor, add(decode(r), multiply(h, decode(key))))
