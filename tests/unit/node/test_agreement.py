"""What several watchers say: signed, for this question, fresh, and the same."""

from typing import Any

import msgspec
import pytest

from keystead.cesr.keys import Aid, digest
from keystead.errors import ErrorCode, KeysteadError
from keystead.node.agreement import Question, Statement, agreed, read_statement
from keystead.node.attestation import HEADER, attestation, check_attestation
from keystead.node.freshness import Policy
from keystead.testing.authoring import Author, KeyPair
from support.watching import WATCHER, at, source, watch_in

ANY = Policy(None, 1)


def _answer(policy: Policy = ANY, **changes: Any) -> tuple[bytes, dict[str, str], Question]:  # noqa: ANN401 - any JSON value
    author = Author("asked about")
    begun = author.incept()
    with watch_in() as (watch, store):
        one = source("one")
        store.watch(author.aid, [one], at(0).wall)
        watch.took(author.aid, one.url, begun.framed, at(1), at(1))
        value = watch.state(author.aid, ANY, at(10), "nonce") | changes
    body = msgspec.json.encode(value)
    headers = {HEADER.lower(): attestation(WATCHER.aid, WATCHER.sign, body)}
    return body, headers, Question(author.aid, "nonce", policy, at(11).wall)


def _code(body: bytes, headers: dict[str, str], question: Question, eid: Aid) -> ErrorCode:
    with pytest.raises(KeysteadError) as raised:
        read_statement(body, headers, eid, question)
    return raised.value.code


def test_a_statement_is_what_the_watcher_said() -> None:
    """State, confirmations and their age."""
    body, headers, question = _answer()
    told = read_statement(body, headers, WATCHER.aid, question)
    assert (told.watcher, told.sn, told.confirmed_by, told.sources) == (WATCHER.aid, 0, 1, 1)
    assert told.oldest_age == 9.0
    assert read_statement(body, headers, None, question) == told


def test_confirmations_that_are_too_old_do_not_count() -> None:
    """The age is judged by who asks, whatever the watcher thinks of it."""
    body, headers, question = _answer(Policy(5.0, 1))
    assert read_statement(body, headers, WATCHER.aid, question).confirmed_by == 0


def test_an_answer_must_be_signed_by_the_watcher() -> None:
    """No signature, another one, and another content are refused."""
    body, headers, question = _answer()
    other = KeyPair("another", transferable=False)
    assert _code(body, {}, question, WATCHER.aid) is ErrorCode.UNSIGNED
    assert _code(body, headers, question, other.aid) is ErrorCode.SIGNER
    assert _code(body + b" ", headers, question, WATCHER.aid) is ErrorCode.SIGNATURE
    bad = {HEADER.lower(): "-CAB"}
    assert _code(body, bad, question, WATCHER.aid).startswith("decode.")
    assert _code(body, {HEADER.lower(): "-CA"}, question, WATCHER.aid) is ErrorCode.GROUP


def test_an_answer_must_be_to_this_question() -> None:
    """An older answer, or one about somebody else, is refused though it is signed."""
    assert _code(*_answer(nonce="older"), WATCHER.aid) is ErrorCode.PAYLOAD
    assert _code(*_answer(aid=WATCHER.aid), WATCHER.aid) is ErrorCode.PAYLOAD
    assert _code(*_answer(type="something"), WATCHER.aid) is ErrorCode.PAYLOAD
    assert _code(*_answer(at="2020-01-01T00:00:00+00:00"), WATCHER.aid) is ErrorCode.FRESHNESS


@pytest.mark.parametrize(
    "changes", [{"state": 1}, {"at": "now"}, {"by_source": [{}]}, {"duplicity": 3}]
)
def test_a_malformed_answer_is_refused(changes: dict[str, Any]) -> None:
    """Whatever a watcher sends ends in an error with a code."""
    assert _code(*_answer(**changes), WATCHER.aid).startswith("decode.")


def test_a_state_of_another_identifier_is_refused() -> None:
    """The state must be that of the identifier."""
    state = {"i": WATCHER.aid, "s": "0", "d": WATCHER.aid}
    assert _code(*_answer(state=state), WATCHER.aid) is ErrorCode.PAYLOAD


def _said(name: str, sn: int | None, what: str = "event", confirmed: int = 1) -> Statement:
    eid = KeyPair(name, transferable=False).aid
    said = None if sn is None else digest(f"{what} {sn}".encode())
    return Statement(eid, at(0).wall, sn, said, confirmed, 1, 1.0, ())


def test_enough_watchers_agree() -> None:
    """What they agree on is told; one that is behind does not matter when enough others agree."""
    found = agreed([_said("a", 2), _said("b", 2), _said("c", 1)], 2, ANY)
    assert found.sn == 2


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        ([_said("a", 2)], ErrorCode.FRESHNESS),
        ([_said("a", 2), _said("a", 2)], ErrorCode.FRESHNESS),
        ([_said("a", 2), _said("b", 2, confirmed=0)], ErrorCode.FRESHNESS),
        ([_said("a", 2), _said("b", None)], ErrorCode.FRESHNESS),
        ([_said("a", 2), _said("b", 1)], ErrorCode.DISAGREEMENT),
        ([_said("a", 2), _said("b", 2, "other")], ErrorCode.DISAGREEMENT),
        ([_said("a", 2), _said("b", 2), _said("c", 2, "other")], ErrorCode.DISAGREEMENT),
        ([_said("a", 2), _said("b", 2), _said("c", 3, confirmed=0)], ErrorCode.DISAGREEMENT),
    ],
    ids=["few", "twice", "unconfirmed", "nothing", "behind", "fork", "fork of one", "newer"],
)
def test_disagreement_fails_closed(statements: list[Statement], code: ErrorCode) -> None:
    """One watcher counts once; one with another or a later event is enough to stop."""
    with pytest.raises(KeysteadError) as raised:
        agreed(statements, 2, ANY)
    assert raised.value.code is code


def test_a_transferable_key_attests_nothing() -> None:
    """Only an identifier that is its own key can be checked without a log."""
    pair = KeyPair("moves")
    with pytest.raises(KeysteadError) as raised:
        check_attestation(pair.aid, b"content", attestation(pair.aid, pair.sign, b"content"))
    assert raised.value.code is ErrorCode.SIGNATURE
