"""Introductions followed, over real connections."""

from collections.abc import Iterator

import pytest

from keystead.cesr import said as addressing
from keystead.cesr.keys import Aid, digest
from keystead.errors import ErrorCode, KeysteadError, TransportError, VerificationError
from keystead.keri.build import Configuration
from keystead.keri.routed import Location
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Source
from keystead.node.replay import replay
from keystead.owner.discovery import CESR_TYPES, Found, Schema, Standing, resolve
from keystead.services.http import Response
from keystead.testing.authoring import Author, KeyPair, witness
from keystead.transports.client import HttpTransport
from support.introductions import Place, local_transport, location, places, tell_places
from support.logs import DIGEST, NOW, Node, attached, endorsed, routed

PAIRS = [witness("one"), witness("two"), witness("three")]


@pytest.fixture(name="three")
def _three() -> Iterator[list[Place]]:
    """Give three services, one at each witness."""
    with places(3) as found:
        tell_places(PAIRS, found)
        yield found


@pytest.fixture(name="alice")
def _alice(three: list[Place]) -> Author:
    """Give an identifier whose witnesses all have its log."""
    author = Author("alice", witnesses=PAIRS)
    _publish(three, author.incept().raw)
    return author


def _publish(found: list[Place], *messages: bytes) -> None:
    for place in found:
        place.node.accept(*messages)


def _resolve(node: Node, url: str, *, confirm: bool = False) -> Found:
    found = resolve(node.processor, local_transport(), url, now=NOW, confirm=confirm)
    assert isinstance(found, Found)
    return found


def _refused(node: Node, url: str) -> tuple[ErrorCode, str]:
    with pytest.raises(KeysteadError) as caught:
        resolve(node.processor, local_transport(), url, now=NOW)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize("content_type", CESR_TYPES)
def test_a_log_is_found(three: list[Place], alice: Author, content_type: str) -> None:
    """Under each spelling of its content type; the result tells what it stands on."""
    three[0].content_type = content_type
    node = Node()
    found = _resolve(node, three[0].oobi(alice.aid, "witness"))
    assert found.state == node.store.key_state(alice.aid)
    assert found.state is not None
    assert (found.aid, found.state.sn, found.before) == (alice.aid, 0, None)
    assert found.receipted == {pair.aid for pair in PAIRS}
    assert [(one.witness, one.standing) for one in found.told] == [(PAIRS[0].aid, Standing.AGREES)]
    assert found.confirmed == {PAIRS[0].aid}
    stated = {one.statement for one in found.records}
    assert Location(PAIRS[1].aid, "http", f"{three[1].url}/") in stated
    assert (found.duplicity, found.foreign, found.refused) == ((), (), {})
    assert found.asked_at == "2026-01-02T03:04:05.000000+00:00"
    assert not found.rolled_back


def test_other_witnesses_confirm_it(three: list[Place], alice: Author) -> None:
    """Those whose places are known are asked, each once, and not the first again."""
    found = _resolve(Node(), three[0].oobi(alice.aid, "witness"), confirm=True)
    assert found.confirmed == {pair.aid for pair in PAIRS}
    assert [len(place.asked) for place in three] == [1, 1, 1]
    assert three[1].asked == [f"/oobi/{alice.aid}/witness/{PAIRS[1].aid}"]


def test_further_places_are_asked_too(alice: Author) -> None:
    """Those that the owner names, for the same identifier only; then all are known by place."""
    with places(3) as alone:
        for place, pair in zip(alone, PAIRS, strict=True):
            place.node.feed(location(pair, f"{place.url}/"))
            place.node.accept(_inception(alice))
        url, *also = [place.oobi(alice.aid, "witness") for place in alone]
        node, transport = Node(), local_transport()
        found = resolve(node.processor, transport, url, now=NOW, confirm=True)
        assert isinstance(found, Found)
        assert found.confirmed == {PAIRS[0].aid}
        for more in (also, ()):
            found = resolve(node.processor, transport, url, now=NOW, also=more, confirm=True)
            assert isinstance(found, Found)
            assert found.confirmed == {pair.aid for pair in PAIRS}
        wrong = [alone[1].oobi(DIGEST)]
        with pytest.raises(VerificationError) as caught:
            resolve(node.processor, transport, url, now=NOW, also=wrong)
        assert caught.value.code is ErrorCode.INTRODUCTION
        assert all(DIGEST not in path for path in alone[1].asked)


def _inception(author: Author) -> bytes:
    return Author("alice", witnesses=author.witnesses).incept().raw


def test_a_witness_that_does_not_answer_is_told(three: list[Place], alice: Author) -> None:
    """It confirms nothing, and its silence is no error."""
    three[1].answers[f"/oobi/{alice.aid}/witness/{PAIRS[1].aid}"] = Response(503)
    three[2].answers[f"/oobi/{alice.aid}/witness/{PAIRS[2].aid}"] = Response(
        body=b"{}", content_type="application/json"
    )
    found = _resolve(Node(), three[0].oobi(alice.aid, "witness"), confirm=True)
    assert found.confirmed == {PAIRS[0].aid}
    silent = [one for one in found.told if one.standing is Standing.SILENT]
    assert {one.witness for one in silent} == {PAIRS[1].aid, PAIRS[2].aid}
    assert all(one.problem for one in silent)


def test_a_later_log_of_another_witness_counts(three: list[Place], alice: Author) -> None:
    """Whoever was asked first was behind."""
    later = alice.rotate().raw
    _publish(three[1:], later)
    found = _resolve(Node(), three[0].oobi(alice.aid, "witness"), confirm=True)
    assert found.state is not None
    assert found.state.sn == 1
    assert found.told[0].standing is Standing.BEHIND
    assert found.confirmed == {PAIRS[1].aid, PAIRS[2].aid}
    assert not found.rolled_back


def test_a_service_that_went_back_is_told(three: list[Place], alice: Author) -> None:
    """What was seen is not forgotten for a shorter log."""
    node = Node()
    _publish(three[1:], alice.rotate().raw)
    assert _resolve(node, three[1].oobi(alice.aid)).state is not None
    found = _resolve(node, three[0].oobi(alice.aid))
    assert found.rolled_back
    assert found.before == 1
    assert found.state is not None
    assert found.state.sn == 1


def test_two_versions_of_a_log_are_duplicity(three: list[Place], alice: Author) -> None:
    """The proof is kept, and the version that was seen first stands."""
    fork = alice.fork()
    _publish(three[:1], alice.interact().raw)
    _publish(three[1:], fork.rotate().raw)
    _publish(three[1:], fork.interact().raw)
    _publish(three[:1], alice.rotate().raw)
    node = Node()
    found = _resolve(node, three[0].oobi(alice.aid), confirm=True)
    assert found.state is not None
    assert found.state.said == alice.state.said
    assert found.duplicity
    assert {one.standing for one in found.told} == {Standing.AGREES, Standing.DIFFERS}
    assert node.store.duplicity(alice.aid) == found.duplicity


def test_duplicity_of_a_delegator_counts(three: list[Place]) -> None:
    """Whoever approves of two versions cannot be believed in either."""
    boss, author = Author("boss"), Author("bob")
    inception = boss.incept().raw
    signed = author.incept(configuration=Configuration(delegator=boss.aid))
    log = [inception, boss.interact(signed.seal).raw, signed.raw]
    node = Node()
    node.accept(*log, boss.fork().interact(DigestSeal(digest(b"other"))).raw)
    _publish(three, *log, boss.interact().raw)
    found = _resolve(node, three[0].oobi(author.aid))
    assert [one.aid for one in found.duplicity] == [boss.aid]


def test_old_keys_do_not_frame_who_rotated(three: list[Place]) -> None:
    """An interaction where the log has a rotation is told, and speaks not against the log."""
    author = Author("carol")
    inception, thief = author.incept().raw, author.fork()
    log = [inception, author.rotate().raw]
    _publish(three, *log)
    node = Node()
    node.accept(*log)
    node.feed(thief.interact().raw)
    found = _resolve(node, three[0].oobi(author.aid))
    assert found.duplicity == ()
    assert [one.sn for one in found.dismissed] == [1]


def test_who_is_introduced_must_be_the_one_named(three: list[Place], alice: Author) -> None:
    """By the header of the answer, and by what is in it."""
    path = f"/oobi/{DIGEST}"
    headers = {"KERI-AID": alice.aid}
    three[0].answers[path] = Response(content_type=CESR_TYPES[0], headers=headers)
    assert _refused(Node(), three[0].oobi(DIGEST))[0] is ErrorCode.INTRODUCTION
    three[0].answers[path] = Response(content_type=CESR_TYPES[0])
    code, message = _refused(Node(), three[0].oobi(DIGEST))
    assert code is ErrorCode.INTRODUCTION
    assert DIGEST in message


def test_a_blind_introduction_names_somebody_by_its_header(
    three: list[Place], alice: Author
) -> None:
    """Without the header nobody is introduced."""
    log = b"".join(_stream(three[0], alice.aid))
    headers = {"KERI-AID": alice.aid}
    three[0].answers["/oobi"] = Response(body=log, content_type=CESR_TYPES[0], headers=headers)
    assert _resolve(Node(), three[0].oobi()).aid == alice.aid
    three[0].answers["/oobi"] = Response(body=log, content_type=CESR_TYPES[0])
    assert _refused(Node(), three[0].oobi())[0] is ErrorCode.INTRODUCTION


def _stream(place: Place, aid: Aid) -> list[bytes]:
    return list(replay(place.node.store, aid))


def test_a_witness_is_found_by_its_place_alone(three: list[Place]) -> None:
    """It is a key; where it is, it has signed."""
    found = _resolve(Node(), three[0].oobi(PAIRS[0].aid, "controller"))
    assert (found.state, found.head, found.witnesses) == (None, None, ())
    assert found.receipted == frozenset()
    assert [one.statement for one in found.records] == [
        Location(PAIRS[0].aid, "http", f"{three[0].url}/")
    ]


def test_a_log_without_enough_receipts_is_not_found(three: list[Place]) -> None:
    """It is told what the log waits for."""
    author = Author("carol", witnesses=PAIRS)
    signed = author.incept()
    bare = signed.raw[: len(signed.event.raw) + 4 + 88]
    path = f"/oobi/{author.aid}"
    three[0].answers[path] = Response(body=bare, content_type=CESR_TYPES[0])
    code, message = _refused(Node(), three[0].oobi(author.aid))
    assert code is ErrorCode.INTRODUCTION
    assert "more witness receipts" in message


@pytest.mark.parametrize("end", [1, 100, -1])
def test_what_was_cut_off_or_changed_is_not_found(
    three: list[Place], alice: Author, end: int
) -> None:
    """There is no log, and the reason is told."""
    stream = b"".join(_stream(three[0], alice.aid))
    path = f"/oobi/{alice.aid}"
    three[0].answers[path] = Response(body=stream[:end], content_type=CESR_TYPES[0])
    code, message = _refused(Node(), three[0].oobi(alice.aid))
    assert code is ErrorCode.INTRODUCTION
    assert "decode." in message


def test_statuses_and_types_that_are_no_log_are_refused(three: list[Place], alice: Author) -> None:
    """A page for people, an error, and what is not there."""
    for response in (
        Response(404),
        Response(406),
        Response(204),
        Response(body=b"<html>", content_type="text/html"),
        Response(body=b"x", content_type="text/plain"),
    ):
        three[0].answers[f"/oobi/{alice.aid}"] = response
        with pytest.raises(TransportError) as caught:
            _resolve(Node(), three[0].oobi(alice.aid))
        assert caught.value.code is ErrorCode.ANSWER


def _multi(route: str, aid: str, urls: list[str]) -> Response:
    raw = routed("rpy", r=route, a={"aid": aid, "urls": urls})
    return Response(body=raw, content_type="application/json")


def test_further_introductions_are_followed_once(three: list[Place], alice: Author) -> None:
    """Each is asked; one that leads to further ones again leads nowhere."""
    urls = [place.oobi(alice.aid, "witness") for place in three]
    three[0].answers[f"/oobi/{alice.aid}"] = _multi("/oobi/witness", alice.aid, urls)
    three[2].answers[f"/oobi/{alice.aid}/witness"] = _multi("/oobi/witness", alice.aid, urls)
    found = _resolve(Node(), three[0].oobi(alice.aid))
    assert found.confirmed == {PAIRS[0].aid, PAIRS[1].aid}
    assert [len(place.asked) for place in three] == [2, 1, 1]


def test_further_introductions_for_somebody_else_are_refused(
    three: list[Place], alice: Author
) -> None:
    """Nobody is asked then."""
    path = f"/oobi/{DIGEST}"
    three[0].answers[path] = _multi("/oobi/controller", alice.aid, [three[1].oobi(alice.aid)])
    assert _refused(Node(), three[0].oobi(DIGEST))[0] is ErrorCode.INTRODUCTION
    three[0].answers[path] = _multi("/loc/scheme", DIGEST, [])
    assert _refused(Node(), three[0].oobi(DIGEST))[0] is ErrorCode.INTRODUCTION
    three[0].answers[path] = _multi("/oobi/controller", DIGEST, [])
    assert _refused(Node(), three[0].oobi(DIGEST))[0] is ErrorCode.INTRODUCTION
    assert three[1].asked == []


def test_introductions_in_a_stream_are_not_followed(three: list[Place], alice: Author) -> None:
    """Whoever is found cannot send us elsewhere."""
    attributes = {"cid": alice.aid, "oobi": three[1].oobi(alice.aid)}
    raw = routed("rpy", r="/introduce", a=attributes)
    stream = b"".join(_stream(three[0], alice.aid)) + attached(raw, endorsed(alice, raw))
    path = f"/oobi/{alice.aid}"
    three[0].answers[path] = Response(body=stream, content_type=CESR_TYPES[0])
    found = _resolve(Node(), three[0].oobi(alice.aid))
    assert found.refused == {"verify.route": 1}
    assert three[1].asked == []


@pytest.mark.parametrize("content_type", ["application/schema+json", "application/json"])
def test_a_schema_is_found_by_its_digest(three: list[Place], content_type: str) -> None:
    """Under either type; another schema, or one for an identifier in a role, is refused."""
    fields = {"$id": "", "title": "a schema"}
    raw, said = addressing.address(fields, labels=["$id"], protocol=None)
    answer = Response(body=raw, content_type=content_type)
    three[0].answers |= {f"/oobi/{said}": answer, f"/oobi/{DIGEST}": answer}
    three[0].answers |= {f"/oobi/{said}/witness": answer, "/oobi": answer}
    found = resolve(Node().processor, local_transport(), three[0].oobi(said), now=NOW)
    assert found == Schema(said, raw)
    assert _refused(Node(), three[0].oobi(DIGEST))[0] is ErrorCode.SAID
    assert _refused(Node(), three[0].oobi(said, "witness"))[0] is ErrorCode.INTRODUCTION
    assert _refused(Node(), three[0].oobi())[0] is ErrorCode.INTRODUCTION


def test_events_of_oneself_come_from_nobody_else(three: list[Place], alice: Author) -> None:
    """They are told of, and change nothing."""
    node = Node(own=[alice.aid])
    node.accept(*_stream(three[0], alice.aid), source=Source.LOCAL)
    _publish(three, alice.rotate().raw)
    found = _resolve(node, three[0].oobi(alice.aid))
    assert found.foreign == (alice.state.said,)
    assert found.state is not None
    assert node.trunk(alice.aid) == [found.state.said]


def test_nothing_is_asked_of_a_place_that_is_none(three: list[Place]) -> None:
    """A statement may name any URL; what is no place of a service is left out."""
    odd = KeyPair("odd", transferable=False)
    author = Author("dora", witnesses=[odd])
    node = three[0].node
    node.accept(author.incept().raw)
    node.feed(location(odd, "http://127.0.0.1/some/path"))
    found = _resolve(Node(), three[0].oobi(author.aid, "witness"), confirm=True)
    assert len(found.told) == 1
    assert found.confirmed == frozenset()


def test_an_address_that_is_not_allowed_is_an_error() -> None:
    """By default nothing on this machine is reached."""
    with pytest.raises(TransportError):
        resolve(Node().processor, HttpTransport(), f"https://127.0.0.1/oobi/{DIGEST}", now=NOW)


def test_a_path_that_names_somebody_else_than_the_header_is_refused(
    three: list[Place], alice: Author
) -> None:
    """Also when the log that it names is in the answer."""
    log = b"".join(_stream(three[0], alice.aid))
    three[0].answers[f"/oobi/{alice.aid}"] = Response(
        body=log, content_type=CESR_TYPES[0], headers={"KERI-AID": DIGEST}
    )
    with pytest.raises(VerificationError) as caught:
        _resolve(Node(), three[0].oobi(alice.aid))
    assert caught.value.code is ErrorCode.INTRODUCTION
