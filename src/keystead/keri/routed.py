"""Signed statements in replies, and which of two statements is the better available one.

Source: KERI specification, "BADA (Best-Available-Data-Acceptance) Policy" and "OOBI KERI Endpoint
Authorization (OKEA)".
"""

import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from keystead.cesr.body import Body
from keystead.cesr.keys import Aid, Said, VerificationKey, parse_key
from keystead.errors import DecodeError, ErrorCode, KeysteadError, VerificationError
from keystead.keri import thresholds
from keystead.keri.attachments import Proofs
from keystead.keri.events import DO_NOT_DELEGATE, ESTABLISHMENT_ONLY
from keystead.keri.fields import parse_aid, parse_digest, parse_map, parse_number, parse_texts
from keystead.keri.keystate import KeyState
from keystead.keri.messages import Reply
from keystead.keri.thresholds import Threshold
from keystead.limits import Limits

ROLES = frozenset(
    ("controller", "witness", "registrar", "gateway", "watcher", "judge", "juror", "peer",
     "mailbox", "agent", "indexer")
)  # fmt: skip
SCHEMES = frozenset(("tcp", "http", "https"))
COMPROMISE_ROUTE = "/keystead/key/compromise"

# What a record is kept under: the route's base and the identifiers that it speaks of.
RecordKey: TypeAlias = tuple[str, ...]


class EndRole(msgspec.Struct, frozen=True, gc=False):
    """`cid` lets `eid` act in a role for it, or no longer does."""

    cid: Aid
    role: str
    eid: Aid
    allowed: bool

    @property
    def authority(self) -> Aid:
        """Who must have signed."""
        return self.cid

    @property
    def key(self) -> RecordKey:
        """What a later statement replaces."""
        return ("end", self.cid, self.role, self.eid)


class Location(msgspec.Struct, frozen=True, gc=False):
    """`eid` can be reached at a URL; an empty one takes it back."""

    eid: Aid
    scheme: str
    url: str

    @property
    def authority(self) -> Aid:
        """Who must have signed."""
        return self.eid

    @property
    def key(self) -> RecordKey:
        """What a later statement replaces."""
        return ("loc", self.eid, self.scheme)


class KeyStateNotice(msgspec.Struct, frozen=True, gc=False):
    """`source` says what the key state of an identifier is."""

    source: Aid
    aid: Aid
    sn: int
    said: Said
    fields: Body

    @property
    def authority(self) -> Aid:
        """Who must have signed."""
        return self.source

    @property
    def key(self) -> RecordKey:
        """What a later statement replaces."""
        return ("ksn", self.aid, self.source)


class Watched(msgspec.Struct, frozen=True, gc=False):
    """`cid` asks `watcher` to watch `oid`, or to stop."""

    cid: Aid
    watcher: Aid
    oid: Aid
    enabled: bool
    oobi: str

    @property
    def authority(self) -> Aid:
        """Who must have signed."""
        return self.cid

    @property
    def key(self) -> RecordKey:
        """What a later statement replaces."""
        return ("watched", self.cid, self.watcher, self.oid)


class KeyCompromise(msgspec.Struct, frozen=True, gc=False):
    """`aid` says that somebody else may have signed with one of its former keys.

    Attributes:
        aid: the identifier.
        signing_key: the key.
        first_sn: the first event that may be signed by somebody else.
        reason: for people.
    """

    aid: Aid
    signing_key: VerificationKey
    first_sn: int
    reason: str

    @property
    def authority(self) -> Aid:
        """Who must have signed."""
        return self.aid

    @property
    def key(self) -> RecordKey:
        """What a later statement replaces."""
        return compromise_record(self.aid, self.signing_key)


def compromise_record(aid: Aid, signing_key: VerificationKey) -> RecordKey:
    """Return what a statement on the compromise of a key is kept under."""
    return ("compromise", aid, signing_key.text)


Statement: TypeAlias = EndRole | Location | KeyStateNotice | Watched | KeyCompromise


class Record(msgspec.Struct, frozen=True, gc=False):
    """A statement that was accepted, with what proves it.

    Attributes:
        statement: what was said.
        reply: the signed message.
        signer_sn: place of the establishment event whose keys signed, None for a
            non-transferable signer.
        proofs: the verified signatures.
    """

    statement: Statement
    reply: Reply
    signer_sn: int | None
    proofs: Proofs

    @property
    def key(self) -> RecordKey:
        """What a later statement replaces."""
        return self.statement.key

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.reply.raw)


class Kept(msgspec.Struct, frozen=True, gc=False):
    """How many records a store keeps.

    Attributes:
        of_signer: of the signer that was asked for.
        total: in all.
        size: bytes of all their messages.
    """

    of_signer: int
    total: int
    size: int


def is_later(new: Record, old: Record) -> bool:
    """Tell whether a statement may replace an older one of the same authority.

    KERI, "Signed (Not Anchored) Updates": a later key state wins; under the same key state, and
    for a signer without key states, a later date and time wins.
    """
    if (new.signer_sn or 0) != (old.signer_sn or 0):
        return (new.signer_sn or 0) > (old.signer_sn or 0)
    return new.reply.instant > old.reply.instant


def parse_statement(reply: Reply, limits: Limits) -> Statement:
    """Read what a reply states.

    Raises:
        VerificationError: no such route (verify.route).
        DecodeError: attributes missing or too many (decode.fields), malformed (decode.value),
            or too long (decode.limit).
    """
    for pattern, parse in _ROUTES:
        match = pattern.fullmatch(reply.route)
        if match is not None:
            return parse(reply.attributes, limits, *match.groups())
    raise VerificationError(ErrorCode.ROUTE, "a reply to a route that is not known")


def state_fields(state: KeyState, first_seen_number: int, first_seen_at: str) -> Body:
    """Return the attributes of a key state notice."""
    last = state.establishment
    return {
        "vn": [1, 0],
        "i": state.aid,
        "s": f"{state.sn:x}",
        "p": state.prior_said or "",
        "d": state.said,
        "f": f"{first_seen_number:x}",
        "dt": first_seen_at,
        "et": state.message_type,
        "kt": last.signing_threshold.field,
        "k": [key.text for key in last.signing_keys],
        "nt": last.next_threshold.field,
        "n": list(last.next_key_digests),
        "bt": f"{last.witness_threshold:x}",
        "b": list(last.witnesses),
        "c": list(last.configuration_traits),
        "ee": {
            "s": f"{last.sn:x}",
            "d": last.said,
            "br": list(last.witnesses_removed),
            "ba": list(last.witnesses_added),
        },
        "di": last.delegator or "",
    }


def contradicted_label(notice: KeyStateNotice, state: KeyState) -> str | None:
    """Return a field in which a notice differs from the state at its place, None when it agrees.

    When the source first saw the event is its own matter, and so is how it writes a version or
    a threshold. keri tells of two configuration traits only, in an order of its own.
    """
    told, last = notice.fields, state.establishment
    for label, value in state_fields(state, 0, "").items():
        if label not in ("vn", "f", "dt", "kt", "nt", "c") and told[label] != value:
            return label
    traits = {ESTABLISHMENT_ONLY, DO_NOT_DELEGATE}
    if traits & set(told["c"]) != traits & set(last.configuration_traits):
        return "c"
    if not _asks_for(told["kt"], last.signing_threshold, len(last.signing_keys)):
        return "kt"
    if not _asks_for(told["nt"], last.next_threshold, len(last.next_key_digests)):
        return "nt"
    return None


def _asks_for(field: object, threshold: Threshold, keys: int) -> bool:
    try:
        return thresholds.parse(field, keys).demand == threshold.demand
    except KeysteadError:
        return False


_STATE_LABELS = frozenset(
    ("vn", "i", "s", "p", "d", "f", "dt", "et", "kt", "k", "nt", "n", "bt", "b", "c", "ee", "di")
)

_STATE_TEXTS = ("p", "dt", "et", "di")


def _require(attributes: Body, *labels: str, optional: str | None = None) -> list[str]:
    """Return texts, of the attributes that there must be; there may be one other."""
    for label in labels:
        if label not in attributes:
            raise DecodeError(ErrorCode.FIELDS, f"the reply has no attribute {label}")
        if not isinstance(attributes[label], str):
            raise DecodeError(ErrorCode.VALUE, f"the attribute {label} is not text")
    if not attributes.keys() <= {*labels, optional}:
        # What nobody reads would be kept all the same.
        raise DecodeError(ErrorCode.FIELDS, "the reply has attributes that mean nothing")
    return [attributes[label] for label in labels]


def _check_length(url: str, label: str, limits: Limits) -> None:
    if len(url) > limits.url:
        raise DecodeError(ErrorCode.LIMIT, f"{label} has more than {limits.url} characters")


def _parse_end_role(attributes: Body, _limits: Limits, action: str) -> EndRole:
    cid, role, eid = _require(attributes, "cid", "role", "eid")
    if role not in ROLES:
        raise DecodeError(ErrorCode.VALUE, "an unknown role")
    return EndRole(parse_aid(cid, "cid"), role, parse_aid(eid, "eid"), action == "add")


def _parse_location(attributes: Body, limits: Limits) -> Location:
    eid, scheme, url = _require(attributes, "eid", "scheme", "url")
    _check_length(url, "url", limits)
    if scheme not in SCHEMES:
        raise DecodeError(ErrorCode.VALUE, "an unknown scheme")
    try:
        found = urlsplit(url).scheme
    except ValueError:
        raise DecodeError(ErrorCode.VALUE, "the URL is malformed") from None
    if found not in ("", scheme):
        raise DecodeError(ErrorCode.VALUE, "the URL has another scheme than the reply")
    return Location(parse_aid(eid, "eid"), scheme, url)


def _parse_notice(attributes: Body, limits: Limits, source: str) -> KeyStateNotice:
    if attributes.keys() != _STATE_LABELS:
        raise DecodeError(ErrorCode.FIELDS, "not the fields of a key state")
    _require({label: attributes[label] for label in _STATE_TEXTS}, *_STATE_TEXTS)
    for label, most in (("k", limits.keys), ("n", limits.keys), ("b", limits.witnesses)):
        parse_texts(attributes[label], label, most)
    parse_texts(attributes["c"], "c", limits.members)
    parse_number(attributes["bt"], "bt")
    parse_number(attributes["f"], "f")
    parse_map(attributes["ee"], "ee")
    return KeyStateNotice(
        parse_aid(source, "source"),
        parse_aid(attributes["i"], "i"),
        parse_number(attributes["s"], "s"),
        parse_digest(attributes["d"], "d"),
        attributes,
    )


def _parse_watched(attributes: Body, limits: Limits, watcher: str, action: str) -> Watched:
    cid, oid = _require(attributes, "cid", "oid", optional="oobi")
    oobi = attributes.get("oobi", "")
    if not isinstance(oobi, str):
        raise DecodeError(ErrorCode.VALUE, "the attribute oobi is not text")
    _check_length(oobi, "oobi", limits)
    return Watched(
        parse_aid(cid, "cid"),
        parse_aid(watcher, "watcher"),
        parse_aid(oid, "oid"),
        action == "add",
        oobi,
    )


def _parse_compromise(attributes: Body, limits: Limits) -> KeyCompromise:
    aid, key, first_sn, reason = _require(attributes, "i", "k", "s", "r")
    _check_length(reason, "r", limits)
    number = parse_number(first_sn, "s")
    return KeyCompromise(parse_aid(aid, "i"), parse_key(key), number, reason)


_ROUTES: tuple[tuple[re.Pattern[str], Callable[..., Statement]], ...] = (
    (re.compile(r"/end/role/(add|cut)"), _parse_end_role),
    (re.compile(r"/loc/scheme"), _parse_location),
    (re.compile(r"/ksn/([^/]+)"), _parse_notice),
    (re.compile(r"/watcher/([^/]+)/(add|cut)"), _parse_watched),
    (re.compile(COMPROMISE_ROUTE), _parse_compromise),
)
