"""The usual forms of key events, told by one pattern each.

Theory of operation. The canonical JSON of a key event is a regular language but for weighted
thresholds and anchored data of any shape. So for events without these, and with keys and digests
of 32 bytes, one pattern checks at
once what the general way finds out step by step: valid JSON, its canonical form, the labels in
their order, numbers and codes. That halves the time of reading an event.

A pattern decides nothing on its own. What it does not match takes the general way
(`cesr.body.decode` and `parsing.parse_key_event`); what it matches, the general way would read as
the same values (tested), and `parsing.MAKERS` make the event of them in both cases.

Source: KERI specification, "Key event messages"; field order of version 1.0.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from keystead.cesr import body
from keystead.cesr.body import Content
from keystead.cesr.codes import DIGEST_CODES, KEY_CODES
from keystead.cesr.keys import VerificationKey, key_of
from keystead.cesr.versions import Kind
from keystead.keri.events import FIELDS, AnyKeyEvent
from keystead.keri.parsing import MAKERS
from keystead.keri.seals import EventSeal
from keystead.limits import Limits


def _usual(codes: Iterable[str]) -> str:
    """Write the pattern of primitives of 32 bytes, whose codes have one character."""
    return f"[{''.join(code for code in codes if len(code) == 1)}][A-P][A-Za-z0-9_-]{{42}}"


_DIGEST, _KEY = _usual(DIGEST_CODES), _usual(KEY_CODES)
_AID = _usual([*DIGEST_CODES, *KEY_CODES])
_NUMBER = "(?:0|[1-9a-f][0-9a-f]{0,31})"
_SEAL = rf'\{{"i":"{_AID}","s":"{_NUMBER}","d":"{_DIGEST}"\}}'


_number = partial(int, base=16)
# Its pattern has told what the texts are.
_make_seal: Callable[[Any, int, Any], EventSeal] = EventSeal


def _texts(value: str) -> tuple[str, ...]:
    return tuple(value[1:-1].split('","'))


def _keys(value: str) -> tuple[VerificationKey, ...]:
    return tuple(map(key_of, value[1:-1].split('","')))


def _seals(value: str) -> tuple[EventSeal, ...]:
    # {"i":"AID","s":"sn","d":"digest"} split at the quotes: twelve parts for each seal.
    parts = value.split('"')
    return tuple(map(_make_seal, parts[3::12], map(_number, parts[7::12]), parts[11::12]))


def _list_of(entry: str, more: str = "*") -> str:
    return rf"\[((?:{entry}(?:,{entry}){more})?)\]"


# Label -> pattern with one group, and what makes the value of the group if it is no text.
_VALUES: dict[str, tuple[str, Callable[[Any], Any] | None]] = {
    "d": (f'"({_DIGEST})"', None),
    "i": (f'"({_AID})"', None),
    "s": (f'"({_NUMBER})"', _number),
    "p": (f'"({_DIGEST})"', None),
    "kt": (f'"({_NUMBER})"', None),
    "k": (_list_of(f'"{_KEY}"'), _keys),
    "nt": (f'"({_NUMBER})"', None),
    "n": (_list_of(f'"{_DIGEST}"'), _texts),
    "bt": (f'"({_NUMBER})"', _number),
    "b": (_list_of(f'"{_KEY}"'), _texts),
    "br": (_list_of(f'"{_KEY}"'), _texts),
    "ba": (_list_of(f'"{_KEY}"'), _texts),
    # Its entries may be short, so the size of the body says nothing of their number.
    "c": (_list_of('"[A-Z]+"', "{0,7}"), _texts),
    "a": (_list_of(_SEAL), _seals),
    "di": (f'"({_AID})"', None),
}
_JSON: Final = Kind.JSON
_HEAD = '{"v":"KERI10JSON......_","t":"'
_TYPE = slice(len(_HEAD), len(_HEAD) + 3)
_AID_GROUP = 2  # behind the digest


def _pattern(message_type: str) -> re.Pattern[str]:
    fields = [f'"{label}":{_VALUES[label][0]}' for label in FIELDS[message_type][2:]]
    head = rf'\{{"v":"KERI10JSON[0-9a-f]{{6}}_","t":"{message_type}"'
    return re.compile(",".join([head, *fields]) + r"\}")


_PATTERNS = {message_type: _pattern(message_type) for message_type in FIELDS}
_READERS = {
    # message type -> places of the groups that are not text, and what reads them
    message_type: [
        (place, read)
        for place, (_, read) in enumerate(_VALUES[label] for label in labels[2:])
        if read is not None
    ]
    for message_type, labels in FIELDS.items()
}


def decoder(limits: Limits) -> Callable[[bytes, Kind], Content]:
    """Make the function that reads bodies: by form where it is usual, else in the general way.

    It raises DecodeError as `cesr.body.decode` does.
    """
    most = limits.ordinary_body

    def decode(raw: bytes, kind: Kind) -> Content:
        if kind is _JSON and len(raw) <= most:
            text = raw.decode("latin-1")  # what is not ASCII matches no pattern
            pattern = _PATTERNS.get(text[_TYPE])
            form = None if pattern is None else pattern.fullmatch(text)
            if form is not None:
                return form
        return body.decode(raw, kind, limits)

    return decode


def glance(content: Content) -> tuple[str, str]:
    """Return message type and identifier of a body, as it says and unchecked; empty for none."""
    if isinstance(content, dict):
        found = content.get("t"), content.get("i")
        message_type, aid = (one if isinstance(one, str) else "" for one in found)
        return message_type, aid
    return content.string[_TYPE], content.group(_AID_GROUP)


def read_form(form: re.Match[str], raw: bytes) -> AnyKeyEvent:
    """Make the event of a body that was read as a form.

    Raises:
        VerificationError: as `parsing.MAKERS`.
    """
    message_type = form.string[_TYPE]
    values: list[Any] = list(form.groups())
    for place, read in _READERS[message_type]:
        text = values[place]
        values[place] = read(text) if text else ()  # only lists can be empty
    return MAKERS[message_type](values, raw)
