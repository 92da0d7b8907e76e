"""Events as plain field maps: what makes one well-formed, apart from any log. For the oracle."""

import base64
import json
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

from blake3 import blake3

from keystead.suites import Suite, verify

Body: TypeAlias = dict[str, Any]

ROTATIONS, INCEPTIONS, DELEGATED = ("rot", "drt"), ("icp", "dip"), ("dip", "drt")
_LABELS = {
    **dict.fromkeys(INCEPTIONS, "v t d i s kt k nt n bt b c a"),
    **dict.fromkeys(ROTATIONS, "v t d i s p kt k nt n bt br ba a"),
    "ixn": "v t d i s p a",
    "rct": "v t d i s",
}


@lru_cache(maxsize=4096)
def read(raw: bytes) -> Body | None:
    """Return the field map of a well-formed event or receipt, None for anything else."""
    try:
        body: Body = json.loads(raw)
        return body if _is_well_formed(body, raw) else None
    except (KeyError, TypeError, ValueError):
        return None


def _is_well_formed(body: Body, raw: bytes) -> bool:
    labels = _LABELS[body["t"]] + (" di" if body["t"] == "dip" else "")
    if (
        list(body) != labels.split()
        or dumped(body) != raw
        or f"{place_number(body):x}" != body["s"]
    ):
        return False
    if body["v"] != f"KERI10JSON{len(raw):06x}_":
        return False
    if body["t"] == "rct":
        return True
    blank = {**body, "d": "#" * 44}
    if body["t"] in INCEPTIONS and body["i"] == body["d"]:
        blank["i"] = blank["d"]
    elif body["t"] in INCEPTIONS and (body["i"] != body["k"][0] or body["t"] == "dip"):
        return False
    elif body["t"] == "icp" and (len(body["k"]) != 1 or body["kt"] != "1"):
        return False  # an identifier that is a key is the only key
    if digest(dumped(blank)) != body["d"] or (place_number(body) == 0) is not (
        body["t"] in INCEPTIONS
    ):
        return False
    return body["t"] == "ixn" or _sets_keys_well(body)


def _sets_keys_well(body: Body) -> bool:
    for threshold, entries in ((body["kt"], body["k"]), (body["nt"], body["n"])):
        if isinstance(threshold, list) and len(threshold) != len(entries):
            return False
        if not (
            is_met(threshold, set(map(entries.index, entries))) if entries else threshold == "0"
        ):
            return False
    lists = [body[label] for label in ("b", "br", "ba") if label in body]
    if any(len(set(one)) != len(one) or any(key[0] != "B" for key in one) for one in lists):
        return False
    if "b" in body and int(body["bt"], 16) > len(body["b"]):
        return False
    return bool(body["k"])


def is_met(threshold: str | list[str], places: set[int]) -> bool:
    """Tell whether keys at these places meet a number or a list of weights."""
    if isinstance(threshold, str):
        return 0 < int(threshold, 16) <= len(places)
    return sum(Fraction(one) for at, one in enumerate(threshold) if at in places) >= 1


def place_number(body: Body) -> int:
    """Return the place of an event in its log."""
    return int(body["s"], 16)


def seals_of(body: Body) -> list[tuple[str, int, str]]:
    """Return what an event seals."""
    return [place_of(seal) for seal in body["a"] if list(seal) == ["i", "s", "d"]]


def place_of(body: Body) -> tuple[str, int, str]:
    """Return identifier, place and digest."""
    return body["i"], place_number(body), body["d"]


def dumped(body: Body) -> bytes:
    """Return the bytes of a field map."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def digest(data: bytes) -> str:
    """Return the Blake3-256 digest as text."""
    return "E" + base64.urlsafe_b64encode(b"\0" + blake3(data).digest()).decode()[1:]


@lru_cache(maxsize=65536)
def is_signed_by(key: str | None, signature: bytes, raw: bytes) -> bool:
    """Tell whether a key, if there is one, made a signature."""
    raw_key = base64.urlsafe_b64decode("A" + key[1:])[1:] if key else b""
    return verify(Suite.ED25519, raw_key, signature, raw)
