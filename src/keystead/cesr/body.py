"""Bodies: field maps in JSON, CBOR or MessagePack, with one form for one value.

A body must equal its own re-serialization. So duplicate labels, spaces, odd numbers, other
escapes and trailing bytes are refused here, once, for all kinds.

The reference for JSON is `json.dumps(..., separators=(",", ":"), ensure_ascii=False)`. Bodies
without floats, which key events are, take a faster encoder that gives the same bytes for all
other values (tested for every code point); floats it writes differently.
"""

import json
import math
import re
from typing import Any, Final, NoReturn, TypeAlias

import cbor2
import msgspec

from keystead.cesr.versions import Kind
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import Limits

# A field map. Values are text, numbers, booleans, null, lists and field maps.
Body: TypeAlias = dict[str, Any]
# What a body was read as: its field map, or the match of a pattern for bodies of its form.
Content: TypeAlias = Body | re.Match[str]


def _refuse_float(_text: str) -> NoReturn:
    raise ValueError("floats take the general way")


_DECODER: Final = msgspec.json.Decoder(float_hook=_refuse_float)
_ENCODER: Final = msgspec.json.Encoder()
_JSON: Final = Kind.JSON  # a member of an enumeration takes 0.1 µs to look up

_CBOR_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 43000)
_MORE_CBOR_TAGS = (52, 54, 100, 256, 258, 260, 261, 1004, 55799)


def decode(raw: bytes, kind: Kind, limits: Limits) -> Body:
    """Return the field map of a whole body.

    Raises:
        DecodeError: not of this kind or not a field map (decode.body), not its own canonical
            form (decode.not_canonical), too deep or too many members (decode.limit).
    """
    if kind is _JSON:
        return _decode_json(raw, limits)
    value = _decode_cbor(raw) if kind is Kind.CBOR else _decode_mgpk(raw, limits)
    _check_extent(value, limits)
    canonical = encode(value, kind)
    if canonical != raw:
        if raw.startswith(canonical):
            raise DecodeError(ErrorCode.BODY, f"bytes behind the end of a {kind.value} body")
        raise _not_canonical(kind)
    return value


def encode(body: Body, kind: Kind) -> bytes:
    """Return the canonical serialization of a field map.

    Raises:
        ValueError, TypeError: a value that the kind cannot hold.
    """
    if kind is Kind.JSON:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    if kind is Kind.CBOR:
        return cbor2.dumps(body)
    return msgspec.msgpack.encode(body)


def _decode_json(raw: bytes, limits: Limits) -> Body:
    try:
        body = _DECODER.decode(raw)
        canonical = _ENCODER.encode(body)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return _decode_any_json(raw, limits)
    # A level takes a bracket and a member takes a byte, so most bodies need no walk. (Splitting
    # is the fastest way to count a rare byte.)
    most = limits.depth
    openings = len(raw.split(b"[", most)) + len(raw.split(b"{", most)) - 2
    if openings >= most or len(raw) > limits.members:
        _check_extent(body, limits)
    if canonical != raw:
        raise _not_canonical(Kind.JSON)
    return body if type(body) is dict else _field_map(body, Kind.JSON)


def _decode_any_json(raw: bytes, limits: Limits) -> Body:
    """Decode JSON that holds floats or large numbers, or that is malformed."""
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(limits) from None
    except ValueError as error:
        raise _malformed(Kind.JSON, error) from None
    _check_extent(body, limits)
    try:
        canonical = encode(body, Kind.JSON)
    except ValueError as error:  # a lone surrogate, or a float beyond the range
        raise _malformed(Kind.JSON, error) from None
    if canonical != raw:
        raise _not_canonical(Kind.JSON)
    return _field_map(body, Kind.JSON)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_tag(_decoder: object, *_: object) -> NoReturn:
    raise ValueError("tags have no place in a field map")


def _decode_cbor(raw: bytes) -> Body:
    try:
        value = cbor2.loads(
            raw,
            tag_hook=_refuse_tag,
            semantic_decoders=dict.fromkeys(_CBOR_TAGS + _MORE_CBOR_TAGS, _refuse_tag),
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORError, ValueError, OverflowError, MemoryError) as error:
        raise _malformed(Kind.CBOR, error) from None
    return _field_map(value, Kind.CBOR)


def _decode_mgpk(raw: bytes, limits: Limits) -> Body:
    try:
        value = msgspec.msgpack.decode(raw)
    except RecursionError:
        raise _too_deep(limits) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise _malformed(Kind.MGPK, error) from None
    return _field_map(value, Kind.MGPK)


def _field_map(value: object, kind: Kind) -> Body:
    if not isinstance(value, dict):
        raise DecodeError(ErrorCode.BODY, f"a {kind.value} body is a field map")
    return value


def _check_extent(value: object, limits: Limits) -> None:
    """Check depth, number of members and types of everything in `value`."""
    members = 0
    level = [value]
    for _ in range(limits.depth + 1):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                members += len(item)
                if not all(isinstance(label, str) for label in item):
                    raise DecodeError(ErrorCode.BODY, "a label is not text")
                below += item.values()
            elif isinstance(item, list):
                members += len(item)
                below += item
            elif isinstance(item, float) and not math.isfinite(item):
                raise DecodeError(ErrorCode.BODY, f"the number {item} in a field map")
            elif not isinstance(item, str | int | float | None):
                raise DecodeError(ErrorCode.BODY, f"a {type(item).__name__} in a field map")
        if members > limits.members:
            raise DecodeError(ErrorCode.LIMIT, f"a body of more than {limits.members} members")
        if not below:
            return
        level = below
    raise _too_deep(limits)


def _too_deep(limits: Limits) -> DecodeError:
    return DecodeError(ErrorCode.LIMIT, f"a body nested deeper than {limits.depth}")


def _malformed(kind: Kind, error: Exception) -> DecodeError:
    reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
    return DecodeError(ErrorCode.BODY, f"the body is not {kind.value}: {reason}")


def _not_canonical(kind: Kind) -> DecodeError:
    return DecodeError(
        ErrorCode.NOT_CANONICAL, f"the body is not the canonical {kind.value} of its content"
    )
