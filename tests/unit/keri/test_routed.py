"""Signed statements in replies."""

from typing import Any

import pytest

from keystead.cesr.keys import Aid
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri.attachments import Proofs
from keystead.keri.build import Configuration
from keystead.keri.messages import Reply
from keystead.keri.routed import (
    ROLES,
    SCHEMES,
    EndRole,
    KeyCompromise,
    KeyStateNotice,
    Location,
    Record,
    Statement,
    Watched,
    contradicted_label,
    is_later,
    parse_statement,
    state_fields,
)
from keystead.limits import DEFAULT_LIMITS
from keystead.testing.authoring import Author, KeyPair, witness
from support.logs import DIGEST, STAMP, parsed, routed

CID, EID, OID = (KeyPair(name).aid for name in ("controller", "endpoint", "observed"))
AUTHOR = Author("any", witnesses=[witness("a")])
AUTHOR.incept(configuration=Configuration(("EO",)))
NOTICE = state_fields(AUTHOR.state, 0, STAMP)


def _reply(route: str, attributes: dict[str, Any], stamp: str = STAMP) -> Reply:
    reply = parsed(routed("rpy", r=route, a=attributes, dt=stamp))
    assert isinstance(reply, Reply)
    return reply


END: dict[str, Any] = {"cid": CID, "role": "watcher", "eid": EID}
# Fields of a key state that have a type, beside those that name it.
TYPED = ("p", "f", "dt", "et", "k", "n", "bt", "b", "c", "ee", "di")
LOC: dict[str, Any] = {"eid": EID, "scheme": "http", "url": "http://localhost:1/x"}
LOST = KeyPair("lost").key
COMPROMISE: dict[str, Any] = {"i": CID, "k": LOST.text, "s": "a", "r": "stolen laptop"}
WATCHED: dict[str, Any] = {"cid": CID, "oid": OID, "oobi": "http://localhost:1/oobi"}
STATEMENTS: list[tuple[str, dict[str, Any], Statement, Aid, tuple[str, ...]]] = [
    # route, attributes, statement, who must sign, key of the record
    (
        "/end/role/add",
        END,
        EndRole(CID, "watcher", EID, allowed=True),
        CID,
        ("end", CID, "watcher", EID),
    ),
    (
        "/end/role/cut",
        END,
        EndRole(CID, "watcher", EID, allowed=False),
        CID,
        ("end", CID, "watcher", EID),
    ),
    ("/loc/scheme", LOC, Location(EID, "http", LOC["url"]), EID, ("loc", EID, "http")),
    (
        "/loc/scheme",
        LOC | {"url": ""},
        Location(EID, "http", ""),
        EID,
        ("loc", EID, "http"),
    ),
    (
        f"/ksn/{CID}",
        NOTICE,
        KeyStateNotice(CID, AUTHOR.aid, 0, AUTHOR.state.said, NOTICE),
        CID,
        ("ksn", AUTHOR.aid, CID),
    ),
    (
        f"/watcher/{EID}/add",
        WATCHED,
        Watched(CID, EID, OID, enabled=True, oobi=WATCHED["oobi"]),
        CID,
        ("watched", CID, EID, OID),
    ),
    (
        f"/watcher/{EID}/cut",
        {"cid": CID, "oid": OID},
        Watched(CID, EID, OID, enabled=False, oobi=""),
        CID,
        ("watched", CID, EID, OID),
    ),
    (
        "/keystead/key/compromise",
        COMPROMISE,
        KeyCompromise(CID, LOST, 10, "stolen laptop"),
        CID,
        ("compromise", CID, LOST.text),
    ),
]


@pytest.mark.parametrize(
    ("route", "attributes", "statement"),
    [(route, attributes, statement) for route, attributes, statement, _, _ in STATEMENTS],
)
def test_route_decides_the_statement(
    route: str, attributes: dict[str, Any], statement: Statement
) -> None:
    """A reply states what its route says, with its attributes."""
    assert parse_statement(_reply(route, attributes), DEFAULT_LIMITS) == statement


@pytest.mark.parametrize(
    ("statement", "authority", "key"),
    [(statement, authority, key) for _, _, statement, authority, key in STATEMENTS],
)
def test_statement_has_an_authority_and_a_key(
    statement: Statement, authority: Aid, key: tuple[str, ...]
) -> None:
    """A statement tells who must have signed it, and what a later one replaces."""
    assert (statement.authority, statement.key) == (authority, key)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_role_is_known(role: str) -> None:
    """Every role of the specification is known."""
    statement = parse_statement(_reply("/end/role/add", END | {"role": role}), DEFAULT_LIMITS)
    assert isinstance(statement, EndRole)
    assert statement.role == role


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_scheme_is_known(scheme: str) -> None:
    """Every scheme is known."""
    url = f"{scheme}://localhost:1"
    reply = _reply("/loc/scheme", LOC | {"scheme": scheme, "url": url})
    statement = parse_statement(reply, DEFAULT_LIMITS)
    assert isinstance(statement, Location)
    assert statement.scheme == scheme


@pytest.mark.parametrize(
    "route",
    ["", "/end/role", "/end/role/", "/end/role/xyz", "/loc/scheme/", "/ksn", "/ksn/", "/ksn/a/b",
     "/watcher/add", "x/loc/scheme", "/introduce"],
)  # fmt: skip
def test_unknown_route_is_refused(route: str) -> None:
    """A reply to a route without meaning states nothing."""
    with pytest.raises(VerificationError) as caught:
        parse_statement(_reply(route, END), DEFAULT_LIMITS)
    assert caught.value.code is ErrorCode.ROUTE


def _without(attributes: dict[str, Any], label: str) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key != label}


@pytest.mark.parametrize(
    ("route", "attributes", "code"),
    [
        *(("/end/role/add", _without(END, label), ErrorCode.FIELDS) for label in END),
        *(("/end/role/add", END | {label: 1}, ErrorCode.VALUE) for label in END),
        ("/end/role/add", END | {"x": ""}, ErrorCode.FIELDS),
        ("/end/role/add", END | {"role": "king"}, ErrorCode.VALUE),
        ("/end/role/add", END | {"cid": "nobody"}, ErrorCode.VALUE),
        ("/end/role/cut", END | {"eid": "nobody"}, ErrorCode.VALUE),
        *(("/loc/scheme", _without(LOC, label), ErrorCode.FIELDS) for label in LOC),
        *(("/loc/scheme", LOC | {label: None}, ErrorCode.VALUE) for label in LOC),
        ("/loc/scheme", LOC | {"x": ""}, ErrorCode.FIELDS),
        ("/loc/scheme", LOC | {"oobi": ""}, ErrorCode.FIELDS),
        ("/loc/scheme", LOC | {"url": "http://" + "x" * 2042}, ErrorCode.LIMIT),
        ("/loc/scheme", LOC | {"eid": "nobody"}, ErrorCode.VALUE),
        ("/loc/scheme", LOC | {"scheme": "ftp"}, ErrorCode.VALUE),
        ("/loc/scheme", LOC | {"url": "https://localhost"}, ErrorCode.VALUE),
        ("/loc/scheme", LOC | {"url": "http://[::1"}, ErrorCode.VALUE),
        ("/ksn/nobody", NOTICE, ErrorCode.VALUE),
        *((f"/ksn/{CID}", _without(NOTICE, label), ErrorCode.FIELDS) for label in NOTICE),
        (f"/ksn/{CID}", NOTICE | {"x": ""}, ErrorCode.FIELDS),
        (f"/ksn/{CID}", NOTICE | {"i": "nobody"}, ErrorCode.VALUE),
        (f"/ksn/{CID}", NOTICE | {"s": 0}, ErrorCode.VALUE),
        (f"/ksn/{CID}", NOTICE | {"d": CID}, ErrorCode.VALUE),
        *((f"/ksn/{CID}", NOTICE | {label: 1}, ErrorCode.VALUE) for label in TYPED),
        *((f"/ksn/{CID}", NOTICE | {label: [1]}, ErrorCode.VALUE) for label in TYPED),
        *(
            (f"/ksn/{CID}", NOTICE | {label: {}}, ErrorCode.VALUE)
            for label in TYPED
            if label != "ee"
        ),
        *((f"/ksn/{CID}", NOTICE | {label: [""] * 257}, ErrorCode.LIMIT) for label in ("k", "n")),
        (f"/ksn/{CID}", NOTICE | {"b": [""] * 65}, ErrorCode.LIMIT),
        (f"/ksn/{CID}", NOTICE | {"bt": "01"}, ErrorCode.VALUE),
        (f"/ksn/{CID}", NOTICE | {"f": "-1"}, ErrorCode.VALUE),
        ("/watcher/nobody/add", WATCHED, ErrorCode.VALUE),
        (f"/watcher/{EID}/add", _without(WATCHED, "cid"), ErrorCode.FIELDS),
        (f"/watcher/{EID}/add", _without(WATCHED, "oid"), ErrorCode.FIELDS),
        (f"/watcher/{EID}/add", WATCHED | {"cid": "nobody"}, ErrorCode.VALUE),
        (f"/watcher/{EID}/add", WATCHED | {"oid": "nobody"}, ErrorCode.VALUE),
        (f"/watcher/{EID}/add", WATCHED | {"oobi": 1}, ErrorCode.VALUE),
        (f"/watcher/{EID}/add", WATCHED | {"oobi": "x" * 2049}, ErrorCode.LIMIT),
        (f"/watcher/{EID}/add", WATCHED | {"x": ""}, ErrorCode.FIELDS),
        *(
            ("/keystead/key/compromise", _without(COMPROMISE, label), ErrorCode.FIELDS)
            for label in COMPROMISE
        ),
        *(
            ("/keystead/key/compromise", COMPROMISE | {label: 1}, ErrorCode.VALUE)
            for label in COMPROMISE
        ),
        ("/keystead/key/compromise", COMPROMISE | {"i": "nobody"}, ErrorCode.VALUE),
        ("/keystead/key/compromise", COMPROMISE | {"k": DIGEST}, ErrorCode.VALUE),
        ("/keystead/key/compromise", COMPROMISE | {"s": "0A"}, ErrorCode.VALUE),
        ("/keystead/key/compromise", COMPROMISE | {"r": "x" * 2049}, ErrorCode.LIMIT),
        ("/keystead/key/compromise", COMPROMISE | {"x": ""}, ErrorCode.FIELDS),
    ],
)
def test_malformed_attributes_are_refused(
    route: str, attributes: dict[str, Any], code: ErrorCode
) -> None:
    """Every attribute of a statement is checked."""
    with pytest.raises(DecodeError) as caught:
        parse_statement(_reply(route, attributes), DEFAULT_LIMITS)
    assert caught.value.code is code


def _record(signer_sn: int | None, stamp: str) -> Record:
    reply = _reply("/end/role/add", END, stamp)
    return Record(parse_statement(reply, DEFAULT_LIMITS), reply, signer_sn, Proofs())


EARLY = "2026-01-02T03:04:05.000000+00:00"
LATE = "2026-01-02T03:04:05.000001+00:00"
EARLY_ELSEWHERE = "2026-01-02T04:04:05.000000+01:00"


@pytest.mark.parametrize(
    ("new", "old", "later"),
    [
        ((None, LATE), (None, EARLY), True),
        ((None, EARLY), (None, EARLY), False),
        ((None, EARLY), (None, LATE), False),
        ((None, EARLY_ELSEWHERE), (None, EARLY), False),
        ((None, LATE), (None, EARLY_ELSEWHERE), True),
        ((0, LATE), (0, EARLY), True),
        ((2, EARLY), (2, LATE), False),
        ((2, EARLY), (0, LATE), True),
        ((0, LATE), (2, EARLY), False),
    ],
)
def test_better_statement_replaces(
    new: tuple[int | None, str], old: tuple[int | None, str], *, later: bool
) -> None:
    """A later key state wins; under the same one, a later instant wins."""
    assert is_later(_record(*new), _record(*old)) is later


def test_record_is_kept_under_the_key_of_its_statement() -> None:
    """A record replaces the one of the same key."""
    assert _record(0, EARLY).key == ("end", CID, "watcher", EID)


def test_notice_holds_the_key_state() -> None:
    """The attributes of a notice are the fields of the key state."""
    last = AUTHOR.state.establishment
    assert {
        "vn": [1, 0],
        "i": AUTHOR.aid,
        "s": "0",
        "p": "",
        "d": AUTHOR.state.said,
        "f": "0",
        "dt": STAMP,
        "et": "icp",
        "kt": "1",
        "k": [last.signing_keys[0].text],
        "nt": "1",
        "n": list(last.next_key_digests),
        "bt": "1",
        "b": [witness("a").aid],
        "c": ["EO"],
        "ee": {"s": "0", "d": AUTHOR.state.said, "br": [], "ba": []},
        "di": "",
    } == NOTICE


def test_notice_of_a_later_state_names_the_events() -> None:
    """Prior event and latest establishment event are in the notice."""
    author = Author("later")
    inception = author.incept().event
    author.rotate()
    interaction = author.interact().event
    fields = state_fields(author.state, 10, STAMP)
    assert (fields["s"], fields["f"], fields["d"]) == ("2", "a", interaction.said)
    assert fields["p"] == fields["ee"]["d"] != inception.said
    assert fields["ee"]["s"] == "1"


def test_notice_names_the_delegator() -> None:
    """The delegator of a delegated identifier is in the notice."""
    author = Author("delegate")
    author.incept(configuration=Configuration(delegator=Aid(DIGEST)))
    assert state_fields(author.state, 0, STAMP)["di"] == DIGEST


def test_longest_url_is_kept() -> None:
    """A URL may be as long as the limit."""
    url = "http://" + "x" * 2041
    statement = parse_statement(_reply("/loc/scheme", LOC | {"url": url}), DEFAULT_LIMITS)
    assert statement == Location(EID, "http", url)


def _weighted() -> Author:
    author = Author("weighted", keys=2, threshold=["1/2", "1/2"])
    author.incept(configuration=Configuration(("EO", "DND", "NRB")))
    return author


WEIGHTED = _weighted()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"vn": "1.0", "f": "7", "dt": ""},
        {"kt": ["2/4", "3/6"], "nt": [["1/2", "1/2"]]},
        {"c": ["DND", "EO"]},
    ],
)
def test_notice_may_write_a_state_otherwise(changes: dict[str, Any]) -> None:
    """Time, first-seen number, form of the version, fractions and other traits do not matter."""
    assert _contradicted(changes) is None


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("p", DIGEST), ("d", DIGEST), ("et", "rot"), ("kt", "2"), ("kt", ["1/2", "1/3"]),
        ("kt", 1), ("k", [KeyPair("evil").key.text]), ("nt", "1"), ("nt", {}), ("n", []),
        ("bt", "1"), ("b", [EID]), ("c", ["EO"]), ("ee", {}), ("di", CID),
    ],
)  # fmt: skip
def test_notice_must_agree_with_the_state(label: str, value: object) -> None:
    """The first field that says something else than the log is told."""
    assert _contradicted({label: value}) == label


def _contradicted(changes: dict[str, Any]) -> str | None:
    state = WEIGHTED.state
    fields = state_fields(state, 0, STAMP) | changes
    notice = KeyStateNotice(CID, WEIGHTED.aid, state.sn, state.said, fields)
    return contradicted_label(notice, state)
