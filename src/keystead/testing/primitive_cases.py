"""Vector cases about single primitives, digests, signatures, thresholds and messages."""

from collections.abc import Callable
from typing import Any, TypeAlias

from keystead import suites
from keystead.cesr import base64, groups, indexed, primitives, said, values
from keystead.cesr.codes import NUMBER_CODES
from keystead.cesr.keys import Signature, digest, make_key, parse_key
from keystead.cesr.primitives import Primitive
from keystead.cesr.versions import Kind, Protocol
from keystead.errors import DecodeError, ErrorCode
from keystead.keri import thresholds
from keystead.suites import Suite

# What a case holds: parsed JSON.
Json: TypeAlias = dict[str, Any]

# Our codes as the reason classes of the vectors.
REASONS = {
    ErrorCode.TRUNCATED: "truncated",
    ErrorCode.UNKNOWN_CODE: "unknown-code",
    ErrorCode.BAD_ENCODING: "bad-encoding",
}


def run(op: str, given: Json) -> Json:
    """Run one of `OPERATIONS`; return what it gives in the terms of the vectors."""
    return OPERATIONS[op](given)


def _matter(given: Json) -> Json:
    primitive = primitives.parse(given["qb64"])
    found = _described(primitive)
    back, end = primitives.read_binary(primitive.binary)
    if back != primitive or end != len(primitive.binary):
        found["qb2"] = "does not read back"
    return found


def _described(primitive: Primitive) -> Json:
    found: Json = {
        "code": primitive.code,
        "qb64": primitive.text,
        "qb2": primitive.binary.hex(),
        "raw": primitive.raw.hex(),
        "size": len(primitive.text),
        "soft": primitive.soft,
    }
    if primitive.code in NUMBER_CODES:
        found["number"] = str(values.number_of(primitive))
        found["hex"] = f"{values.number_of(primitive):x}"
    if primitive.code == "1AAG":
        found["datetime"] = values.datetime_of(primitive)
    if primitive.code[-1] == "A" and primitive.code[0] in "456789":
        found["text"] = found["decoded"] = values.base64_string_of(primitive)
    return found


def _indexer(given: Json) -> Json:
    signature, end = indexed.read_text(given["qb64"].encode())
    back, _ = indexed.read_binary(signature.binary)
    return {
        "code": signature.code,
        "index": signature.index,
        "ondex": signature.ondex,
        "qb64": signature.text if back == signature else "does not read back",
        "qb2": signature.binary.hex(),
        "raw": signature.raw.hex(),
        "size": end,
    }


def _counter(given: Json) -> Json:
    text = given["qb64"].encode()
    row, count, end = groups.read_counter(text)
    return _counter_described(row.code, count, text[:end].decode())


def _counter_make(given: Json) -> Json:
    row, _, _ = groups.read_counter(given["code"].encode().ljust(8, b"A"))
    text = groups.counter_text(row.kind, given["count"])
    promoted, count, _ = groups.read_counter(text.encode())
    return _counter_described(promoted.code, count, text)


def _counter_described(code: str, count: int, text: str) -> Json:
    return {
        "code": code,
        "count": count,
        "qb64": text,
        "qb2": base64.decode(text.encode()).hex(),
        "size": len(text),
    }


def _concat(given: Json) -> Json:
    text, data = given["qb64"].encode(), bytes.fromhex(given["qb2"])
    parts, binary_parts = [], []
    at = 0
    while at < len(text):
        primitive, at = primitives.read_text(text, at)
        parts.append(primitive.text)
    at = 0
    while at < len(data):
        primitive, at = primitives.read_binary(data, at)
        binary_parts.append(primitive.text)
    return {"parts": parts if parts == binary_parts else ["the domains differ"]}


def _invalid_matter(given: Json) -> Json:
    try:
        if "qb2" in given:
            primitive, _ = primitives.read_binary(bytes.fromhex(given["qb2"]))
        else:
            primitive, _ = primitives.read_text(given["qb64"].encode())
    except DecodeError as error:
        return _refused(error)
    return {"accepted": True, **_described(primitive)}


def _invalid_indexer(given: Json) -> Json:
    try:
        if "qb2" in given:
            signature, _ = indexed.read_binary(bytes.fromhex(given["qb2"]))
        else:
            signature, _ = indexed.read_text(given["qb64"].encode())
    except DecodeError as error:
        return _refused(error)
    return {"accepted": True, "qb64": signature.text}


def _invalid_counter(given: Json) -> Json:
    try:
        return {"accepted": True, **_counter({"qb64": _text_of(given)})}
    except DecodeError as error:
        return _refused(error)


def _exact(given: Json) -> Json:
    try:
        if "qb2" not in given:
            return {"accepted": True, **_described(primitives.parse(given["qb64"]))}
        data = bytes.fromhex(given["qb2"])
        primitive, end = primitives.read_binary(data)
    except DecodeError as error:
        return _refused(error)
    if end != len(data):
        return {"accepted": False, "reason": REASONS[ErrorCode.BAD_ENCODING]}
    return {"accepted": True, **_described(primitive)}


def _text_of(given: Json) -> str:
    """Return the input in the text domain; of bytes only whole quadlets have a text."""
    if "qb2" not in given:
        return str(given["qb64"])
    data = bytes.fromhex(given["qb2"])
    return base64.encode(data[: len(data) // 3 * 3]).decode()


def _refused(error: DecodeError) -> Json:
    return {"accepted": False, "reason": REASONS.get(error.code, error.code.value)}


def _number(given: Json) -> Json:
    return _described(values.number(int(given["number"])))


def _ordinal(given: Json) -> Json:
    return _described(values.ordinal(int(given["number"])))


def _datetime(given: Json) -> Json:
    return _described(values.datetime(given["datetime"]))


def _tag(given: Json) -> Json:
    return _described(values.tag(given["tag"]))


def _byte_string(given: Json) -> Json:
    return _described(values.byte_string(given["text"].encode()))


def _base64_string(given: Json) -> Json:
    return _described(values.base64_string(given["text"]))


def _path(given: Json) -> Json:
    return _described(values.path([str(part) for part in given["path"]]))


def _digest(given: Json) -> Json:
    return {"qb64": digest(bytes.fromhex(given["ser"]), given["code"])}


def _verify(given: Json) -> Json:
    try:
        key = parse_key(given["verkey"])
    except DecodeError:
        return {"valid": False}  # nothing verifies with what is no key
    signature, message = bytes.fromhex(given["sig"]), bytes.fromhex(given["ser"])
    return {"valid": key.verifies(key.suite, signature, message)}


def _sign(given: Json) -> Json:
    seed = primitives.parse(given["seed"]).raw
    raw = suites.sign(Suite.ED25519, seed, bytes.fromhex(given["ser"]))
    key = make_key(Suite.ED25519, suites.public_key(Suite.ED25519, seed))
    if given["index"] is None:
        return {"verkey": key.text, "qb64": Signature(Suite.ED25519, raw).primitive.text}
    signature = indexed.make(
        Suite.ED25519, raw, given["index"], ondex=given["ondex"], current_only=given["only"]
    )
    return {"verkey": key.text, "qb64": signature.text}


def _threshold(given: Json) -> Json:
    # Whether keys suffice is another question than whether an event may list so few.
    field, keys = given["sith"], places(given["sith"])
    threshold = thresholds.parse(
        field, max(keys, given["keys"]) if isinstance(field, str) else keys
    )
    return {
        "satisfied": threshold.satisfied_by(frozenset(given["indices"])),
        "size": threshold.places,
    }


def _threshold_text(given: Json) -> Json:
    threshold = thresholds.parse(given["sith"], places(given["sith"]))
    return {"qb64": threshold.primitive.text, "sith": threshold.field}


def places(field: Any) -> int:  # noqa: ANN401 - a threshold nests text, lists and maps
    """Return how many keys a threshold speaks of.

    Raises:
        ValueError: no threshold.
    """
    if isinstance(field, str):
        return 1 if "/" in field else int(field, 16)
    if not isinstance(field, list | dict):
        raise ValueError("a threshold is hex text or lists of weights")  # noqa: TRY004 - a value from outside
    parts = field.values() if isinstance(field, dict) else field
    return sum(1 if isinstance(part, str) else places(part) for part in parts)


def _make_message(given: Json) -> Json:
    kind = Kind(given["kind"])
    fields = dict(given["fields"])
    protocol = Protocol(given["protocol"])
    if not given["said_fields"]:  # a receipt carries the digest of its event
        raw, address = said.serialize(fields, kind, protocol), fields["d"]
    else:
        labels, code = given["said_fields"], given["said_code"]
        raw, address = said.address(fields, kind, labels=labels, code=code, protocol=protocol)
    return {"raw": raw.hex(), "said": address, "version_string": fields["v"]}


def _saidify(given: Json) -> Json:
    block = dict(given["block"])
    protocol = Protocol.ACDC if "v" in block else None
    raw, address = said.address(
        block, Kind(given["kind"]), labels=[given["label"]], code=given["code"], protocol=protocol
    )
    return {"said": address, "serialized": raw.hex()}


# Operation -> what runs it.
OPERATIONS: dict[str, Callable[[Json], Json]] = {
    "matter": _matter,
    "indexer": _indexer,
    "counter": _counter,
    "counter-make": _counter_make,
    "concat": _concat,
    "matter-invalid": _invalid_matter,
    "matter-exact-invalid": _exact,
    "indexer-invalid": _invalid_indexer,
    "counter-invalid": _invalid_counter,
    "number": _number,
    "seqner": _ordinal,
    "dater": _datetime,
    "tagger": _tag,
    "texter": _byte_string,
    "bexter": _base64_string,
    "pather": _path,
    "digest": _digest,
    "verify": _verify,
    "sign": _sign,
    "threshold": _threshold,
    "threshold-limen": _threshold_text,
    "make-message": _make_message,
    "saidify": _saidify,
}
