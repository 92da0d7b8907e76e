"""Self-addressing identifiers."""

import json
from typing import Any

import pytest

from keystead.cesr import body as bodies
from keystead.cesr import said
from keystead.cesr.codes import DIGEST_CODES
from keystead.cesr.keys import Digest, digest
from keystead.cesr.versions import MAX_SIZE, Kind, Protocol
from keystead.errors import ErrorCode, VerificationError
from keystead.limits import DEFAULT_LIMITS


def _fields(**more: object) -> dict[str, Any]:
    return {"v": "", "t": "xyz", "d": "", **more}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("code", DIGEST_CODES)
@pytest.mark.parametrize("labels", [("d",), ("d", "i")])
def test_an_addressed_map_holds_its_own_digest(
    kind: Kind, code: str, labels: tuple[str, ...]
) -> None:
    """What was addressed checks, with one field or with two."""
    raw, made = said.address(_fields(i="x", a=["\u00e9"]), kind, labels=labels, code=code)
    said.check(raw, made, made if "i" in labels else None)
    body = bodies.decode(raw, kind, DEFAULT_LIMITS)
    assert [body[label] for label in labels] == [made] * len(labels)
    assert body["v"] == f"KERI10{kind.value}{len(raw):06x}_"


def test_the_digest_is_over_the_filled_map() -> None:
    """The digest is computed with `#` in its place, in every field that gets it."""
    raw, made = said.address(_fields(i="x"), labels=("d", "i"))
    assert digest(raw.replace(made.encode(), b"#" * 44)) == made


def test_a_map_without_version_string_is_addressed_as_it_is() -> None:
    """Parts of messages have no version string."""
    raw, made = said.address({"d": "", "n": 1}, protocol=None)
    assert json.loads(raw) == {"d": made, "n": 1}
    said.check(raw, made)


def test_the_other_protocol_is_written() -> None:
    """The version string names the protocol."""
    raw, _ = said.address(_fields(), protocol=Protocol.ACDC)
    assert raw.startswith(b'{"v":"ACDC10JSON')


@pytest.mark.parametrize("old", [b"xyz", b"1"])
def test_changed_content_is_refused(old: bytes) -> None:
    """A change anywhere breaks the digest."""
    raw, made = said.address(_fields(n=1))
    assert old in raw.split(made.encode())[0] + raw.split(made.encode())[1]
    changed = raw.replace(b'"n":1', b'"n":2') if old == b"1" else raw.replace(old, b"xyy")
    with pytest.raises(VerificationError) as caught:
        said.check(changed, made)
    assert caught.value.code is ErrorCode.SAID


def test_another_digest_is_refused() -> None:
    """A digest that is not of the content is refused."""
    raw, made = said.address(_fields())
    other = digest(b"other")
    with pytest.raises(VerificationError) as caught:
        said.check(raw.replace(made.encode(), other.encode()), other)
    assert caught.value.code is ErrorCode.SAID


def _two_algorithms() -> tuple[bytes, Digest, Digest]:
    """Return a map whose identifier is by another algorithm than its digest."""
    form = b'{"d":"%s","i":"%s","n":1}'
    filled = form % (b"#" * 44, b"#" * 88)
    one, other = digest(filled), digest(filled, "0G")
    return form % (one.encode(), other.encode()), one, other


def test_a_second_digest_may_have_another_algorithm() -> None:
    """Both digests are over the same filled bytes."""
    raw, one, other = _two_algorithms()
    said.check(raw, one, other)


@pytest.mark.parametrize("field", ["d", "i"])
def test_either_of_two_digests_must_match(field: str) -> None:
    """One wrong digest is enough to refuse."""
    raw, one, other = _two_algorithms()
    if field == "d":
        wrong = digest(b"x")
        raw, one = raw.replace(one.encode(), wrong.encode()), wrong
    else:
        wrong = digest(b"x", "0G")
        raw, other = raw.replace(other.encode(), wrong.encode()), wrong
    with pytest.raises(VerificationError) as caught:
        said.check(raw, one, other)
    assert caught.value.code is ErrorCode.SAID


@pytest.mark.parametrize("code", ["", "D", "0B", "4A"])
def test_another_code_is_no_digest_code(code: str) -> None:
    """Only a digest code can address."""
    with pytest.raises(ValueError, match="is no digest code"):
        said.address(_fields(), code=code)


def test_a_map_must_fit_its_version_string() -> None:
    """Six digits hold the size."""
    with pytest.raises(ValueError, match="too large for a version string"):
        said.serialize(_fields(a="x" * MAX_SIZE), Kind.JSON, Protocol.KERI)
