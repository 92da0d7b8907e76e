"""Introductions: their URLs, further ones, and schemas."""

import json

import pytest

from keystead.cesr import said as addressing
from keystead.cesr.keys import Aid, Said
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri.messages import Reply
from keystead.keri.oobi import (
    MultiOobi,
    Oobi,
    OobiPath,
    is_multi,
    parse_base,
    parse_multi,
    parse_oobi,
    parse_path,
    parse_schema,
)
from keystead.limits import DEFAULT_LIMITS
from keystead.testing.authoring import witness
from support.logs import DIGEST, parsed, routed

AID = Aid(DIGEST)
WITNESS = witness("one").aid
HOST = "https://example.com"


def _read(url: str) -> Oobi:
    return parse_oobi(url, DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/oobi", OobiPath()),
        (f"/oobi/{AID}", OobiPath(AID)),
        (f"/oobi/{AID}/controller", OobiPath(AID, "controller")),
        (f"/oobi/{AID}/witness/{WITNESS}", OobiPath(AID, "witness", WITNESS)),
        (f"/.well-known/keri/oobi/{AID}", OobiPath(AID, well_known=True)),
    ],
)
def test_each_form_is_read_and_written(path: str, expected: OobiPath) -> None:
    """Every path that the specification and keri have comes back as it was."""
    assert parse_path(path) == expected
    assert expected.text == path
    found = _read(HOST + path)
    assert found == Oobi(HOST, expected)
    assert found.url == HOST + path
    assert found.aid == expected.target


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "oobi", "/oobi/", "/OOBI", "//oobi", "/oobi//", "/oobi/nobody", f"/oobi/{AID}/",
        f"/oobi/{AID}/boss", f"/oobi/{AID}/witness/", f"/oobi/{AID}/witness/x",
        f"/oobi/{AID}/witness/{WITNESS}/more", f"/oobi/{AID}//{WITNESS}", f"/oobi/{AID}%2f",
        "/.well-known/keri/oobi/", "/.well-known/keri/oobi/x", f"/.well-known/keri/oobi/{AID}/witness",
        f"/oobi/../oobi/{AID}", f"/base/oobi/{AID}",
    ],
)  # fmt: skip
def test_other_paths_are_none(path: str) -> None:
    """Nothing is guessed, completed or cleaned up."""
    assert parse_path(path) is None
    with pytest.raises(DecodeError) as caught:
        _read(HOST + path)
    assert caught.value.code is ErrorCode.VALUE


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("HTTPS://Example.COM:443/oobi", "https://example.com"),
        ("http://example.com:80/oobi", "http://example.com"),
        ("https://example.com:80/oobi", "https://example.com:80"),
        ("http://127.0.0.1:5642/oobi", "http://127.0.0.1:5642"),
        ("http://[0:0::1]:5642/oobi", "http://[::1]:5642"),
    ],
)
def test_a_place_has_one_form(given: str, base: str) -> None:
    """Letters, ports that go without saying and IPv6 addresses have one spelling."""
    assert _read(given) == Oobi(base, OobiPath())
    assert parse_base(given.removesuffix("oobi"), DEFAULT_LIMITS) == base
    assert parse_base(given.removesuffix("/oobi"), DEFAULT_LIMITS) == base


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/oobi", "https:///oobi", "https://me@example.com/oobi",
        "https://me:pass@example.com/oobi", "https://example.com/oobi#part", "//example.com/oobi",
        "https://example.com:0/oobi", "https://example.com:65536/oobi", "https://example.com:/oobi",
        "https://-example.com/oobi", "https://example..com/oobi", "https://exa_mple.com/oobi",
        "https://[::g]/oobi", "https://[1.2.3.4]/oobi", "https://[::1/oobi", "https://example.com/oobi ",
        " https://example.com/oobi", "https://ex\u00e4mple.com/oobi", "https://example.com\\@x/oobi",
        "https://example.com/oobi?name=a&name=b", "https://example.com/oobi?next=https://other",
        "https://example.com/oobi?name=%ff", "https://example.com/oobi?name=%00", "https://example.com/oobi\n",
    ],
)  # fmt: skip
def test_what_others_might_read_differently_is_refused(url: str) -> None:
    """User information, fragments, odd hosts and ports, other queries, names that deceive."""
    with pytest.raises(DecodeError) as caught:
        _read(url)
    assert caught.value.code is ErrorCode.VALUE


def test_a_name_is_proposed() -> None:
    """It is read as forms write it, and written in one way; keri's tag means nothing."""
    found = _read(f"{HOST}/oobi/{AID}/witness?name=B%C3%B6b+at%20work&tag=witness")
    assert found.name == "B\u00f6b at work"
    assert found.url == f"{HOST}/oobi/{AID}/witness?name=B%C3%B6b%20at%20work"
    assert _read(found.url) == found


def test_a_url_is_bounded() -> None:
    """Longer ones are refused before they are looked at."""
    with pytest.raises(DecodeError) as caught:
        _read(f"{HOST}/oobi?name={'a' * DEFAULT_LIMITS.url}")
    assert caught.value.code is ErrorCode.LIMIT


@pytest.mark.parametrize("url", [f"{HOST}/path", f"{HOST}/?a=b", "example.com", "h" * 5000])
def test_a_service_is_at_the_root(url: str) -> None:
    """Paths of introductions begin there, so another location leads to none."""
    with pytest.raises(DecodeError):
        parse_base(url, DEFAULT_LIMITS)


def _multi(**attributes: object) -> Reply:
    reply = parsed(routed("rpy", r="/oobi/witness", a=attributes))
    assert isinstance(reply, Reply)
    return reply


def test_further_introductions_are_read() -> None:
    """They name the identifier, each once."""
    urls = [f"{HOST}/oobi/{AID}/witness", f"{HOST}:443/oobi/{AID}/witness"]
    reply = _multi(aid=AID, urls=urls)
    assert is_multi(reply)
    assert parse_multi(reply, DEFAULT_LIMITS) == MultiOobi(AID, (_read(urls[0]),))
    other = parsed(routed("rpy", r="/loc/scheme"))
    assert isinstance(other, Reply)
    assert not is_multi(other)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"aid": AID}, ErrorCode.FIELDS),
        ({"aid": AID, "urls": [], "more": ""}, ErrorCode.FIELDS),
        ({"aid": "x", "urls": []}, ErrorCode.VALUE),
        ({"aid": AID, "urls": "x"}, ErrorCode.VALUE),
        ({"aid": AID, "urls": [f"{HOST}/oobi/{WITNESS}"]}, ErrorCode.VALUE),
        ({"aid": AID, "urls": [f"{HOST}/oobi"]}, ErrorCode.VALUE),
        ({"aid": AID, "urls": [HOST] * 129}, ErrorCode.LIMIT),
    ],
)
def test_other_further_introductions_are_refused(
    attributes: dict[str, object], code: ErrorCode
) -> None:
    """Such as those for somebody else, and more than any identifier has."""
    with pytest.raises(DecodeError) as caught:
        parse_multi(_multi(**attributes), DEFAULT_LIMITS)
    assert caught.value.code is code


def _schema(**more: object) -> tuple[bytes, Said]:
    fields = {"$id": "", "$schema": "http://json-schema.org/draft-07/schema#", **more}
    return addressing.address(fields, labels=["$id"], protocol=None)


def test_a_schema_is_the_one_of_its_digest() -> None:
    """However it is spaced; what is kept is its canonical form."""
    raw, said = _schema(title="a", properties={"b": 1.5})
    assert parse_schema(raw, said, DEFAULT_LIMITS) == raw
    spaced = json.dumps(json.loads(raw), indent=2).encode()
    assert parse_schema(spaced, said, DEFAULT_LIMITS) == raw


@pytest.mark.parametrize(
    "changed",
    [
        lambda raw: raw.replace(b'"a"', b'"b"'),
        lambda raw: raw.replace(b"$id", b"$ID"),
        lambda raw: raw.replace(b'{"$id"', b'{"more":1,"$id"'),
    ],
)
def test_another_schema_is_refused(changed: object) -> None:
    """What was changed, and what names no digest or another one."""
    raw, said = _schema(title="a")
    with pytest.raises(VerificationError) as caught:
        parse_schema(changed(raw), said, DEFAULT_LIMITS)  # type: ignore[operator] # a function
    assert caught.value.code is ErrorCode.SAID


def test_a_key_is_no_digest_of_a_schema() -> None:
    """An identifier that is a key stands for no data."""
    raw, _ = _schema()
    with pytest.raises(VerificationError):
        parse_schema(raw, Said(WITNESS), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", ErrorCode.BODY),
        (b"\xff", ErrorCode.BODY),
        (b"[1]", ErrorCode.BODY),
        (b'{"a":NaN}', ErrorCode.BODY),
        (b"[" * 100_000, ErrorCode.BODY),
        (b'{"a":' * 40 + b"1" + b"}" * 40, ErrorCode.LIMIT),
        (b" " * (DEFAULT_LIMITS.body + 1), ErrorCode.LIMIT),
    ],
)
def test_no_schema_at_all_is_refused(raw: bytes, code: ErrorCode) -> None:
    """Other data, and what is too large or too deep."""
    with pytest.raises(DecodeError) as caught:
        parse_schema(raw, DIGEST, DEFAULT_LIMITS)
    assert caught.value.code is code
