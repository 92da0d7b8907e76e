"""`keystead oobi` and `keystead contact` as processes, over real connections."""

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cesr import said as addressing
from keystead.cesr.keys import digest
from keystead.cli.contact import contact
from keystead.cli.oobi import oobi
from keystead.keri.oobi import parse_path
from keystead.keri.seals import DigestSeal
from keystead.node.replay import replay
from keystead.services.http import Request, Response
from keystead.testing.authoring import Author, witness
from support.desks import Desk, unlocked
from support.introductions import CESR, Place, location, oobi_served, places
from support.machines import PHRASE, machine
from support.manual import json_fields, run_examples
from support.serving import serving

PAIR = witness("one")
WORDS = " ".join(["zebra"] * 12)


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands reach this machine."""
    monkeypatch.setenv("KEYSTEAD_NETWORK", "local")


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Iterator[Desk]:
    """Give the desk of Alice."""
    (tmp_path / "alice").mkdir()
    with unlocked(tmp_path / "alice") as desk:
        desk.create("alice")
        yield desk


@pytest.fixture(name="other")
def _other(tmp_path: Path) -> Iterator[Desk]:
    """Give the desk of Bob."""
    (tmp_path / "bob").mkdir()
    with unlocked(tmp_path / "bob") as desk:
        desk.create("bob")
        yield desk


@pytest.fixture(name="place")
def _place() -> Iterator[Place]:
    """Give a service at a witness."""
    with places(1) as (found,):
        found.node.feed(location(PAIR, f"{found.url}/"))
        yield found


@pytest.fixture(name="bob")
def _bob(place: Place) -> Author:
    """Give an identifier whose log the service has."""
    author = Author("bob", witnesses=[PAIR])
    place.node.accept(author.incept().raw)
    return author


def _value(desk: Desk, *arguments: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did(*arguments, "--json"))
    return value


def _refused(desk: Desk, *arguments: str | Path) -> tuple[int, str]:
    ran = desk.run(*arguments)
    found = re.findall(r"\[([a-z]+\.[a-z_]+)\]", ran.err)
    return ran.code, found[-1] if found else ran.err


def _log(desk: Desk, name: str) -> None:
    """Write the log of another identifier to a file at the desk."""
    desk.write(f"{name}.cesr", Author(name).incept().raw)


@pytest.mark.parametrize("name", [None, "resolve", "show", "export"])
def test_examples_of_oobi_run(desk: Desk, place: Place, bob: Author, name: str | None) -> None:
    """Each line of the examples does what it says."""
    schema, said = addressing.address({"$id": "", "title": "a"}, labels=["$id"], protocol=None)
    place.answers[f"/oobi/{said}"] = Response(body=schema, content_type="application/schema+json")
    if name in (None, "show"):
        desk.did("oobi", "export", "alice", "public", "--url", place.url)
    command = oobi if name is None else oobi.commands[name]
    instead = {
        "https://HOST": place.url,
        "http://127.0.0.1:5642": place.url,
        "WITNESS": PAIR.aid,
        "SCHEMA": said,
        "AID": bob.aid,
    }
    run_examples(desk, command, instead=instead)


@pytest.mark.parametrize("name", [None, *contact.commands])
def test_examples_of_contact_run(
    desk: Desk, place: Place, bob: Author, request: pytest.FixtureRequest, name: str | None
) -> None:
    """Each line of the examples does what it says."""
    command = contact if name is None else contact.commands[name]
    url = place.oobi(bob.aid, "witness")
    for one in ("carol", "dora"):
        _log(desk, one)
    desk.write("words.txt", WORDS.encode())
    if name == "respond":
        desk.create("bob")
        desk.did("contact", "add", "carol.cesr", "--name", "alice")
    elif name == "verify":
        for one in ("bob", "carol"):
            _answered(desk, request.getfixturevalue("other"), one)
    elif name not in (None, "add"):
        desk.did("contact", "add", url, "--name", "bob")
    boss = Author("boss", witnesses=[PAIR])
    place.node.accept(boss.incept().raw)
    instead = {"https://HOST": place.url, "AID": bob.aid, "WORDS": WORDS, "BOSS": boss.aid}
    run_examples(desk, command, instead=instead)


def _answered(desk: Desk, other: Desk, name: str) -> None:
    """Have somebody answer a challenge of Alice, in the file that the examples name."""
    if name != "bob":
        other.create(name)
    desk.did("contact", "add", other.export(name, f"{name}-log"), "--name", name)
    if name == "bob":
        other.did("contact", "add", desk.export("alice"), "--name", "alice")
    words = desk.did("contact", "challenge", name)
    file = desk.folder / ("answer.cesr" if name == "bob" else f"{name}.cesr")
    file.unlink(missing_ok=True)
    other.did("contact", "respond", "alice", "--as", name, "--words", words, "-o", file)


def test_two_owners_meet(desk: Desk, other: Desk) -> None:
    """Alice serves her log, Bob finds it; both challenge each other; she rotates, he notices."""
    with oobi_served(desk, "alice", "--port", "0") as url:
        aid = _value(desk, "id", "show", "alice")["aid"]
        added = _value(other, "contact", "add", f"{url}/oobi/{aid}/controller?name=alice")
        assert (added["name"], added["aid"], added["sn"]) == ("alice", aid, "0")
        desk.did("contact", "add", other.export("bob"), "--name", "bob")
        words = _value(other, "contact", "challenge", "alice")["words"]
        answer = desk.folder / "answer.cesr"
        desk.did(
            "contact", "respond", "bob", "--as", "alice", "--words", " ".join(words), "-o", answer
        )
        assert "has the keys of event 0" in other.did("contact", "verify", "alice", answer)
        assert _refused(other, "contact", "verify", "alice", answer) == (3, "verify.challenge_used")
        assert _value(other, "contact", "show", "alice")["challenge"] == "answered"
        desk.did("id", "rotate", "alice")
        fresh = _value(other, "contact", "refresh", "alice")
        assert (fresh["sn"], fresh["known_before"]) == ("1", "0")
        assert _value(other, "contact", "show", "alice")["challenge"] == "stale"
    ran = other.run("contact", "refresh", "alice")
    assert ran.code == 5
    shown = _value(other, "contact", "show", "alice")
    assert (shown["sn"], shown["found_sn"]) == ("1", "1")
    assert shown["age_seconds"] >= 0
    assert desk.run("doctor").code == other.run("doctor").code == 0


def test_where_a_log_is_served_is_signed(desk: Desk, other: Desk) -> None:
    """The URL is stated once, and again when the keys are others; others learn it."""
    served = desk.did("oobi", "export", "alice", "public", "--url", "http://127.0.0.1:9")
    assert len(served.splitlines()) == 2
    before = {
        path: path.read_bytes() for path in (desk.folder / "public").rglob("*") if path.is_file()
    }
    desk.did("oobi", "export", "alice", "public", "--url", "http://127.0.0.1:9/")
    after = {
        path: path.read_bytes() for path in (desk.folder / "public").rglob("*") if path.is_file()
    }
    assert after == before
    aid = _value(desk, "id", "show", "alice")["aid"]
    urls = _value(desk, "oobi", "show", "alice")["urls"]
    assert urls == [f"http://127.0.0.1:9/oobi/{aid}/controller"]
    with oobi_served(desk, "alice", "--port", "0") as url:
        found = _value(other, "oobi", "resolve", f"{url}/oobi")
    assert found["locations"] == [{"eid": aid, "url": "http://127.0.0.1:9/"}]
    assert found["endpoints"] == [{"role": "controller", "eid": aid, "allowed": True}]
    desk.did("id", "rotate", "alice")
    desk.did("oobi", "export", "alice", "public", "--url", "http://127.0.0.1:9")
    stream = (desk.folder / "public" / ".well-known" / "keri" / "oobi" / aid).read_bytes()
    assert stream.count(b'"r":"/loc/scheme"') == 1
    assert b'"t":"rot"' in stream


def test_any_web_server_will_do(desk: Desk, other: Desk) -> None:
    """The folder alone, with the content type of logs."""
    desk.did("oobi", "export", "alice", "public")
    aid = _value(desk, "id", "show", "alice")["aid"]
    root = desk.folder / "public"

    async def answer(request: Request) -> Response:
        assert parse_path(request.path) is not None
        return Response(body=(root / request.path[1:]).read_bytes(), content_type=CESR)

    with serving(answer) as served:
        url = f"http://127.0.0.1:{served.port}"
        for path in (f"/.well-known/keri/oobi/{aid}", f"/oobi/{aid}/controller"):
            assert _value(other, "oobi", "resolve", url + path)["aid"] == aid
    assert _value(desk, "status")


def test_what_is_not_here_is_notoobi_served(desk: Desk) -> None:
    """Other identifiers, other paths, other methods."""
    other = desk.create("other")
    with oobi_served(desk, "alice", "--port", "0") as url:
        for path, method, status in (
            (f"/oobi/{other}", "GET", 404),
            ("/", "GET", 404),
            ("/oobi", "POST", 405),
        ):
            request = urllib.request.Request(url + path, method=method, data=None)  # noqa: S310 - ours
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=10)  # noqa: S310 - ours
            assert caught.value.code == status
            caught.value.close()


def test_duplicity_is_told_and_kept(desk: Desk, place: Place, bob: Author) -> None:
    """Exit code 3, proof in a file that anybody can verify, and no contact."""
    url = place.oobi(bob.aid, "witness")
    fork = bob.fork()
    desk.did("contact", "add", url, "--name", "bob")
    place.node.accept(bob.interact().raw)
    desk.did("contact", "refresh", "bob")
    with places(1) as (bad,):
        bad.node.accept(*_events(place, bob, 1), fork.interact(DigestSeal(digest(b"other"))).raw)
        other = bad.oobi(bob.aid, "witness")
        ran = desk.run("contact", "refresh", "bob", "--url", other, "--evidence", "proof", "--json")
        assert ran.code == 3
        assert json.loads(ran.out)["duplicitous"] is True
        assert "duplicitous" in ran.err
        assert desk.run("oobi", "resolve", other, "--name", "robert").code == 3
    shown = desk.run("contact", "show", "bob", "--json")
    assert (shown.code, json.loads(shown.out)["duplicity"]) == (3, ["1"])
    assert _refused(desk, "contact", "challenge", "bob") == (3, "verify.challenge")
    verified = desk.strange("log", "verify", desk.folder / "proof")
    assert verified.code == 3
    assert "duplicitous" in verified.err
    assert _refused(desk, "contact", "refresh", "bob", "--evidence", "proof") == (2, "usage.exists")
    assert [one["name"] for one in _value(desk, "contact", "list")["contacts"]] == ["bob"]


def test_old_keys_do_not_hurt_a_contact(desk: Desk, place: Place, bob: Author) -> None:
    """Another history by keys that were replaced is told and kept, and changes nothing else."""
    thief = bob.fork()
    place.node.accept(bob.rotate().raw)
    url = place.oobi(bob.aid, "witness")
    desk.did("contact", "add", url, "--name", "bob")
    with places(1) as (bad,):
        bad.node.accept(*_events(place, bob, 1), thief.interact().raw)
        other = bad.oobi(bob.aid, "witness")
        ran = desk.run("contact", "refresh", "bob", "--url", other, "--evidence", "proof", "--json")
    value = json.loads(ran.out)
    assert (ran.code, value["duplicitous"], value["dismissed"]) == (0, False, ["1"])
    assert "the one that was seen first stands" in ran.err
    shown = desk.run("contact", "show", "bob", "--json")
    assert (shown.code, json.loads(shown.out)["dismissed"]) == (0, ["1"])
    desk.did("contact", "challenge", "bob")
    verified = desk.strange("log", "verify", desk.folder / "proof", "--json")
    (log,) = json.loads(verified.out)["identifiers"]
    assert (verified.code, log["duplicity"], log["dismissed"][0]["sn"]) == (3, [], "1")
    assert "do not trust" not in verified.err
    compared = desk.strange("log", "compare", desk.folder / "proof")
    assert compared.code == 3
    assert "DUPLICITY" not in compared.out
    assert "which does not stand: two signed events" in compared.out


def _events(place: Place, author: Author, count: int) -> list[bytes]:
    return list(replay(place.node.store, author.aid))[:count]


def test_a_log_that_goes_back_is_told(desk: Desk, place: Place, bob: Author) -> None:
    """Exit code 3; the contact stays as it was."""
    with places(1) as (newer,):
        newer.node.accept(*_events(place, bob, 1), bob.rotate().raw)
        desk.did("contact", "add", newer.oobi(bob.aid, "witness"), "--name", "bob")
    ran = desk.run("contact", "refresh", "bob", "--url", place.oobi(bob.aid, "witness"))
    assert ran.code == 3
    assert "[verify.stale]" in ran.err
    assert _value(desk, "contact", "show", "bob")["sn"] == "1"


def test_events_of_the_owner_elsewhere_are_told(desk: Desk, place: Place, tmp_path: Path) -> None:
    """Somebody has his keys, or he has a later copy of the wallet."""
    aid = _value(desk, "id", "show", "alice")["aid"]
    desk.owner.run("lock")
    copy = machine(tmp_path / "copy")
    shutil.copytree(desk.owner.home, copy.home)
    log = tmp_path / "log.cesr"
    for arguments in (
        ("id", "reconcile", "alice", "--i-accept-duplicity"),
        ("id", "rotate", "alice"),
        ("id", "export", "alice", "-o", str(log)),
    ):
        assert copy.run(*arguments, phrase=PHRASE).code == 0
    place.node.results(log.read_bytes())
    ran = desk.owner.run("oobi", "resolve", place.oobi(aid), "--json", phrase=PHRASE)
    assert ran.code == 3
    assert "[keystore.behind]" in ran.err
    assert (json.loads(ran.out)["sn"], len(json.loads(ran.out)["foreign"])) == ("0", 1)


def test_wrong_use_is_told(desk: Desk, place: Place, bob: Author) -> None:
    """What is missing, unknown, or no URL of anything."""
    url = place.oobi(bob.aid, "witness")
    for arguments, expected in (
        (("oobi", "show", "alice"), (2, "usage.unknown")),
        (("oobi", "show", "nobody"), (2, "usage.unknown")),
        (("oobi", "resolve", "https://example.com/log"), (2, "usage.argument")),
        (("oobi", "resolve", "hello"), (2, "usage.argument")),
        (("oobi", "resolve", place.oobi(witness("two").aid)), (5, "transport.answer")),
        (("oobi", "export", "alice", "x", "--url", "http://h/path"), (2, "usage.argument")),
        (("contact", "add", url), (2, "usage.argument")),
        (("contact", "add", "missing.cesr", "--name", "x"), (2, "usage.file")),
        (("contact", "show", "bob"), (2, "usage.unknown")),
        (("contact", "refresh", "bob"), (2, "usage.unknown")),
        (("contact", "respond", "bob", "--words", WORDS), (2, "usage.unknown")),
        (("contact", "respond", "bob", "--words", "two words"), (2, "usage.argument")),
        (("contact", "respond", "bob", "--words", WORDS, "--json"), (2, "usage.argument")),
        (("contact", "challenge", "bob", "--for", "1y"), (2, "usage.argument")),
    ):
        assert _refused(desk, *arguments) == expected, arguments
    _log(desk, "carol")
    desk.did("contact", "add", "carol.cesr", "--name", "carol")
    assert _refused(desk, "contact", "refresh", "carol") == (2, "usage.argument")
    assert "there are no contacts" not in desk.did("contact", "list")


def test_this_machine_is_not_reached_unasked(
    desk: Desk, place: Place, bob: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither without TLS nor with it, unless the owner says so."""
    monkeypatch.delenv("KEYSTEAD_NETWORK")
    url = place.oobi(bob.aid, "witness")
    assert _refused(desk, "oobi", "resolve", url) == (5, "transport.url")
    https = f"https://127.0.0.1/oobi/{bob.aid}"
    assert _refused(desk, "oobi", "resolve", https) == (5, "transport.address")
    assert place.asked == []


def test_json_is_documented(desk: Desk, other: Desk, place: Place, bob: Author) -> None:
    """The page lists every field of each object, in the order of the output."""
    url = place.oobi(bob.aid, "witness")
    found = _value(desk, "oobi", "resolve", url, "--name", "bob")
    assert json_fields("keystead oobi resolve, contact refresh --json") == list(found)
    assert json_fields("Source") == list(found["sources"][0])
    assert list(_value(desk, "contact", "refresh", "bob")) == list(found)
    shown = _value(desk, "contact", "show", "bob")
    listed = _value(desk, "contact", "list")["contacts"]
    assert json_fields("keystead contact add, show --json") == list(shown)
    assert json_fields("keystead contact list, rename, remove --json") == list(listed[0])
    renamed = _value(desk, "contact", "rename", "bob", "robert")
    assert list(renamed) == list(_value(desk, "contact", "remove", "robert")) == list(listed[0])
    exported = _value(desk, "oobi", "export", "alice", "public", "--url", place.url)
    assert json_fields("keystead oobi export --json") == list(exported)
    assert json_fields("keystead oobi show --json") == list(_value(desk, "oobi", "show", "alice"))
    other.did("contact", "add", desk.export("alice"), "--name", "alice")
    desk.did("contact", "add", other.export("bob"), "--name", "bob")
    asked = _value(desk, "contact", "challenge", "bob")
    assert json_fields("keystead contact challenge --json") == list(asked)
    words, file = " ".join(asked["words"]), desk.folder / "answer"
    answer = _value(other, "contact", "respond", "alice", "--words", words, "-o", file)
    assert json_fields("keystead contact respond --json") == list(answer)
    verified = _value(desk, "contact", "verify", "bob", file)
    assert json_fields("keystead contact verify --json") == list(verified)
