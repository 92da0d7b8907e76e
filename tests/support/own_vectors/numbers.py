"""Numbers in a form that is not the one form: s, bt, kt and nt.

KERI, "Sequence number field": "a hex encoded (no leading zeros) non-negative ... integer".
"""

import json
from collections.abc import Iterator

from keystead.testing.authoring import Author, KeyPair, witness
from support.own_vectors.crafting import (
    Case,
    Frame,
    altered,
    bystander,
    dropped,
    good,
    replacing,
    setting,
    signatures,
    signed_by,
)

# Name of the fault -> a JSON value that a lenient reader takes for the number.
_ZERO = {
    "leading-zero": '"00"',
    "hex-prefix": '"0x0"',
    "minus": '"-0"',
    "space-in-front": '" 0"',
    "space-behind": '"0 "',
    "line-feed-behind": '"0\\n"',
    "underscore": '"0_0"',
    "plus": '"+0"',
    "arabic-digit": '"\u0660"',
    "fullwidth-digit": '"\uff10"',
    "empty": '""',
    "integer": "0",
    "float": "0.0",
    "exponent": "0e0",
    "nan": "NaN",
    "infinity": "Infinity",
    "null": "null",
    "true": "false",
    "list": '["0"]',
}
_ONE = {
    "leading-zero": '"01"',
    "hex-prefix": '"0x1"',
    "minus": '"-1"',
    "space-in-front": '" 1"',
    "space-behind": '"1 "',
    "line-feed-behind": '"1\\n"',
    "underscore": '"0_1"',
    "plus": '"+1"',
    "arabic-digit": '"\u0661"',
    "fullwidth-digit": '"\uff11"',
    "empty": '""',
    "integer": "1",
    "float": "1.0",
    "exponent": "1e0",
    "nan": "NaN",
    "infinity": "Infinity",
    "null": "null",
    "true": "true",
}
_NOT_JSON = ("NaN", "Infinity")
_NOT_CANONICAL = ("0e0", "1e0")


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    for label in ("s", "bt", "nt"):
        for name, value in _ZERO.items():
            if (label, name) == ("nt", "list"):
                continue  # a list of weights is a threshold, only not of no keys
            yield _spelled(label, name, value, '"0"')
    for name, value in _ONE.items():
        yield _spelled("kt", name, value, '"1"')
    yield from _upper_case()


def _spelled(label: str, name: str, value: str, right: str) -> Case:
    """Make the case of an inception with one number spelled otherwise."""
    author = Author(f"numbers {label}")
    event = author.incept()
    old, new = f'"{label}":{right}', f'"{label}":{value}'

    def edit(text: bytes) -> bytes:
        return replacing(old.encode(), new.encode())(text)

    # Nothing follows an inception without next keys, so its next threshold is zero.
    without_next = setting(n=[], nt="0") if label == "nt" else None
    bad = altered(event, without_next, text=edit)
    if value in _NOT_JSON:
        reason = "deserialize-error"
    else:
        reason = "non-canonical-serialization" if value in _NOT_CANONICAL else "bad-number"
    shown = json.dumps(json.loads(value)) if value.startswith('"') else value
    return Case(
        f"{label}-{name}",
        f"icp with {label} {shown} instead of {right}",
        [[dropped(bad, signed_by(author, bad), reason), good(event), bystander()]],
    )


def _upper_case() -> Iterator[Case]:
    """Give the cases in which ten is written A."""
    author = Author("numbers ten", keys=10)
    event = author.incept()
    for label in ("kt", "nt"):
        bad = altered(event, setting(**{label: "A"}))
        yield Case(
            f"{label}-upper-case",
            f'icp with {label} "A" instead of "a"',
            [[dropped(bad, signed_by(author, bad), "bad-number"), good(event), bystander()]],
        )
    witnesses = [witness(f"ten {at}") for at in range(10)]
    author = Author("numbers witnessed", witnesses=witnesses)
    event = author.incept()
    bad = altered(event, setting(bt="A"))
    attached = signed_by(author, bad) + _receipts(bad.raw, witnesses)
    yield Case(
        "bt-upper-case",
        'icp with bt "A" instead of "a"',
        [[dropped(bad, attached, "bad-number"), good(event), bystander()]],
    )
    author = Author("numbers long")
    log = [good(author.incept()), *(good(author.interact()) for _ in range(9))]
    event = author.interact()
    bad = altered(event, setting(s="A"))
    refused: Frame = dropped(bad, signed_by(author, bad), "bad-number")
    yield Case(
        "s-upper-case",
        'ixn with s "A" instead of "a"',
        [[*log, refused, good(event), bystander()]],
    )


def _receipts(raw: bytes, witnesses: list[KeyPair]) -> bytes:
    return signatures(raw, witnesses, "-B")
