"""The watcher as a process: it follows real servers, proves duplicity, and tells those who listen."""

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keystead.cesr.keys import Aid, digest
from keystead.keri.seals import DigestSeal
from keystead.node.attestation import check_attestation
from keystead.testing.authoring import Author, Signed, witness
from support.log_servers import LogServer
from support.watchers import Serving, WatcherHome, fetch, new_watcher, run, started

OTHER = DigestSeal(digest(b"other"))
NAMES = ("one", "two", "three")


class Scene:
    """An identifier with three witnesses, which serve its log, and a watcher that follows it."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        """Make all of it."""
        self.author = Author("watched", witnesses=[witness(name) for name in NAMES])
        self.log: list[Signed] = [self.author.incept()]
        self.servers = [opened.enter_context(LogServer(name)) for name in NAMES]
        self.watcher: WatcherHome = new_watcher(folder)
        self.publish()
        oobis = [one.oobi(self.author.aid) for one in self.servers]
        added = self.watcher.run("add", *oobis)
        assert added.returncode == 0, added.stderr

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return self.author.aid

    def publish(self) -> None:
        """Let all witnesses serve the whole log."""
        for server in self.servers:
            server.body = b"".join(one.framed for one in self.log)

    @contextmanager
    def watched(self) -> Iterator[Serving]:
        """Let the watcher serve, until it has the log of all three."""
        with self.watcher.serving() as serving:
            serving.until(f"/state/{self.aid}", lambda value: value["confirmed_by"] == 3)
            yield serving


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Iterator[Scene]:
    """Give a scene whose servers stop at the end."""
    with ExitStack() as opened:
        yield Scene(tmp_path, opened)


def test_a_state_is_told_with_its_confirmations(scene: Scene) -> None:
    """Who is asked tells the latest state, by how many it was confirmed, and when."""
    with scene.watched() as serving:
        state = serving.get(f"/state/{scene.aid}?max_age=30&min_sources=3&nonce=abc").value
        assert state["policy"]["met"]
        assert state["nonce"] == "abc"
        assert state["state"]["d"] == scene.log[0].event.said
        assert "as confirmed by 3 of 3 sources" in state["summary"]
        log = serving.get(f"/log/{scene.aid}")
        assert log.headers["content-type"] == "application/json+cesr"
        assert serving.get(f"/oobi/{scene.aid}").body == log.body
        assert serving.get("/").value["watcher"] == scene.watcher.aid
        ready = fetch(f"{serving.url}/readyz")
        assert ready.status == 200
        metrics = fetch(serving.metrics).body.decode()
        assert "keystead_watcher_sources 3.0" in metrics


def test_a_policy_that_is_not_met_fails_closed(scene: Scene) -> None:
    """With too few or too old confirmations the status is an error, with reasons."""
    with scene.watched() as serving:
        scene.servers[0].status = scene.servers[1].status = 500
        path = f"/state/{scene.aid}?max_age=1&min_sources=2"
        state = serving.until(path, lambda value: not value["policy"]["met"])
        answered = serving.get(path)
        assert answered.status == 503
        assert state["error"] == "verify.freshness"
        # Whoever states no policy gets what is known, with its age.
        assert serving.get(f"/state/{scene.aid}").status == 200
        assert serving.get(f"/state/{scene.aid}?max_age=x").status == 400
        assert serving.get(f"/state/{scene.aid}?nonce=%20").status == 400


def test_strangers_start_nothing(scene: Scene) -> None:
    """What is not followed gets a small 404, and no source is asked for it; nothing is written."""
    with scene.watched() as serving:
        stranger = Author("stranger")
        stranger.incept()
        for route in ("state", "log", "oobi", "evidence", "events?aid="):
            path = f"/{route}{'' if route.endswith('=') else '/'}{stranger.aid}"
            answered = fetch(serving.url + path)
            assert answered.status == 404
            assert len(answered.body) <= 200
        assert fetch(f"{serving.url}/nothing").status == 404
        told = run("log", "state", stranger.aid, "--watcher", serving.named)
        assert told.returncode == 3
        assert b"it does not follow this identifier" in told.stderr
        asked = [path for server in scene.servers for path in server.asked]
        assert not any(stranger.aid in path for path in asked)
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
        assert b" 413 " in _raw(serving, request) or b" 405 " in _raw(serving, request)


def test_a_flood_of_questions_is_turned_away(scene: Scene) -> None:
    """Who asks too often gets 429; sources are asked no more than before."""
    with scene.watched() as serving:
        parts = urlsplit(serving.url)
        request = f"GET /state/{'E' * 44} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        statuses = []
        with socket.create_connection((str(parts.hostname), parts.port or 0), 20) as connection:
            for _ in range(300):
                connection.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
                    answer += connection.recv(4096)
                statuses.append(int(answer.split(b" ", 2)[1]))
                assert len(answer) <= 10 * len(request)
        assert set(statuses) == {404, 429}
        assert statuses.count(429) > 100
        assert (
            'keystead_rate_limited_total{limit="requests"}' in fetch(serving.metrics).body.decode()
        )


def test_streams_of_one_client_are_bounded(scene: Scene) -> None:
    """The ninth open stream is refused, and one that is closed makes room."""
    with scene.watched() as serving, ExitStack() as opened:
        path = f"/events?aid={scene.aid}&after=0"
        streams = [opened.enter_context(closing(_listen(serving, path))) for _ in range(8)]
        for stream in streams:
            assert _next(stream)[0] == 1
        assert fetch(serving.url + path).status == 429
        streams[0].close()
        _wait(lambda: fetch(f"{serving.url}{path}&wait=1").status == 200)


def test_duplicity_is_proven_offline(scene: Scene, tmp_path: Path) -> None:
    """A fork at one witness becomes a file that a person without wallet and network understands."""
    twin = scene.author.fork()
    scene.log += [scene.author.interact(), scene.author.rotate()]
    scene.publish()
    with scene.watched() as serving:
        forged = twin.interact(OTHER)
        bare = Signed(forged.event, forged.signatures, forged.receipts[1:2])
        scene.servers[1].body = scene.log[0].framed + bare.framed
        found = serving.until(f"/evidence/{scene.aid}", lambda value: value["evidence"])
        (evidence,) = found["evidence"]
        bundle = tmp_path / "proof.cesr"
        bundle.write_bytes(serving.get(evidence["bundle"]).body)
        state = serving.get(f"/state/{scene.aid}").value
        assert state["state"]["d"] == scene.log[-1].event.said
        # Its keys were replaced since, and too few witnesses signed it: it harms nobody.
        assert [one["other"] for one in state["dismissed"]] == [forged.event.said]
        assert state["duplicity"] == []
        wrong = [one for one in state["by_source"] if one["status"] == "other_version"]
        assert [one["url"] for one in wrong] == [scene.servers[1].url]
    done = run("log", "compare", bundle)
    assert done.returncode == 3
    told = done.stdout.decode()
    for part in (scene.aid, forged.event.said, scene.log[1].event.said, scene.watcher.aid,
                 "dead attack", "place:       event 1", scene.servers[1].url):  # fmt: skip
        assert part in told
    value = json.loads(run("log", "compare", "--json", bundle).stdout)
    (finding,) = value["findings"]
    assert finding["meaning"] == "retired_keys"
    assert finding["corrupt_witnesses"] == [witness("two").aid]
    bundle.write_bytes(bundle.read_bytes().replace(b'"s":"1"', b'"s":"2"', 1))
    assert run("log", "compare", bundle).returncode == 3
    assert b"verify." in run("log", "compare", bundle).stderr


def test_streams_go_on_where_they_were(scene: Scene) -> None:
    """Events come as they happen; a client that was away gets what it missed, once."""
    with scene.watched() as serving:
        with closing(_listen(serving, f"/events?aid={scene.aid}&after=0")) as stream:
            assert _next(stream) == (1, "event")
            scene.log.append(scene.author.interact())
            scene.publish()
            assert _next(stream) == (2, "event")
        scene.log.append(scene.author.rotate())
        scene.publish()
        serving.until(f"/state/{scene.aid}", lambda value: value["state"]["s"] == "2")
    with (
        scene.watched() as serving,
        closing(_listen(serving, "/events", "Last-Event-ID: 2")) as stream,
    ):
        assert _next(stream) == (3, "event")


def test_webhooks_are_signed_and_repeated_until_they_arrive(scene: Scene) -> None:
    """A receiver that is down gets each notice later, in order, over a restart of the watcher."""
    with LogServer("receiver", status=500) as receiver:
        assert scene.watcher.run("webhook", f"{receiver.url}/hook").returncode == 0
        with scene.watched():
            _wait(lambda: len(receiver.posted) >= 1)
        receiver.status = 204
        scene.log.append(scene.author.interact())
        scene.publish()
        before = len(receiver.posted)
        with scene.watched():
            _wait(lambda: len(receiver.posted) >= before + 2)
        numbers = []
        for headers, body in receiver.posted[before:]:
            assert headers["keri-aid"] == scene.watcher.aid
            check_attestation(Aid(scene.watcher.aid), body, headers["cesr-attachment"])
            numbers.append(json.loads(body)["number"])
    assert numbers[:2] == [1, 2]


def test_the_operator_changes_what_is_followed_while_it_serves(scene: Scene) -> None:
    """What is added and removed by commands is noticed soon."""
    other = Author("added")
    begun = other.incept()
    with LogServer("four", begun.framed) as server, scene.watched() as serving:
        assert scene.watcher.run("add", server.oobi(other.aid)).returncode == 0
        end = time.monotonic() + 20
        while fetch(f"{serving.url}/state/{other.aid}").status != 200:
            assert time.monotonic() < end
        serving.until(f"/state/{other.aid}", lambda value: value["confirmed_by"] == 1)
        listed = json.loads(scene.watcher.run("list", "--json").stdout)
        assert [one["aid"] for one in listed["identifiers"]] == [scene.aid, other.aid]
        assert scene.watcher.run("remove", other.aid).returncode == 0
        assert fetch(f"{serving.url}/state/{other.aid}").status == 404
        time.sleep(1.5)
        asked = len(server.asked)
        time.sleep(1.0)
        assert len(server.asked) == asked
        status = json.loads(scene.watcher.run("status", "--json").stdout)
        assert status["watcher"] == scene.watcher.aid
        assert status["identifiers"] == 1
    assert scene.watcher.run("remove", other.aid).returncode == 2


def test_a_watcher_follows_another(scene: Scene, tmp_path: Path) -> None:
    """The answers of another watcher count only when it has signed them."""
    with scene.watched() as first:
        second = new_watcher(tmp_path, "second")
        oobi = f"{first.url}/oobi/{scene.aid}/watcher/{first.of.aid}"
        assert second.run("add", oobi).returncode == 0
        with second.serving() as serving:
            state = serving.until(f"/state/{scene.aid}", lambda value: value["confirmed_by"] == 1)
            assert state["state"]["d"] == scene.log[0].event.said
            done = run(
                "log", "state", scene.aid, "--watcher", first.named, "--watcher", serving.named,
                "--require", "2", "--max-age", "1m", "--json",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["agreed"]["said"] == scene.log[0].event.said
        third = new_watcher(tmp_path, "third")
        stranger = witness("stranger").aid
        assert third.run("add", f"{first.url}/oobi/{scene.aid}/watcher/{stranger}").returncode == 0
        with third.serving() as serving:
            state = serving.until(
                f"/state/{scene.aid}", lambda value: value["by_source"][0]["failures"] > 0
            )
            assert state["state"] is None
            assert stranger in state["by_source"][0]["problem"]


def test_a_look_out_hears_of_news_from_a_watcher(scene: Scene) -> None:
    """A command that waits for a watcher tells at once of an event and of another version."""
    twin = scene.author.fork()
    with scene.watched() as serving:
        command = [
            "log", "watch", scene.aid, "--watcher", serving.named, "--interval", "30s", "--json",
        ]  # fmt: skip
        with started(*command) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["sn"] == "0"
            began = time.monotonic()
            scene.log.append(scene.author.interact())
            scene.publish()
            assert json.loads(process.stdout.readline())["sn"] == "1"
            scene.servers[0].body = scene.log[0].framed + twin.interact(OTHER).framed
            assert json.loads(process.stdout.readline())["kind"] == "duplicity"
            assert time.monotonic() - began < 25
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        quiet = fetch(f"{serving.url}/events?aid={scene.aid}&wait=1").body
        assert b"id: " not in quiet


def test_watchers_that_disagree_are_not_believed(scene: Scene, tmp_path: Path) -> None:
    """Two watchers with different first events at one place: nothing is told."""
    twin = scene.author.fork()
    split = [scene.log[0], twin.interact(OTHER)]
    scene.log.append(scene.author.interact())
    scene.publish()
    second = new_watcher(tmp_path, "second")
    with (
        LogServer("one", b"".join(one.framed for one in split)) as server,
        scene.watched() as first,
    ):
        assert second.run("add", server.oobi(scene.aid)).returncode == 0
        with second.serving() as other:
            other.until(f"/state/{scene.aid}", lambda value: value["confirmed_by"] == 1)
            both = ("--watcher", first.named, "--watcher", other.named)
            done = run("log", "state", scene.aid, *both)
            assert done.returncode == 3
            assert b"verify.disagreement" in done.stderr
            assert b"agreed" not in done.stdout
        done = run("log", "state", scene.aid, *both)
        assert done.returncode == 5
        assert run("log", "state", scene.aid, *both, "--require", "1").returncode == 0


def test_a_watcher_that_was_killed_goes_on(scene: Scene) -> None:
    """After SIGKILL the store is whole, and what was seen first still is."""
    with scene.watched() as serving:
        first = serving.get(f"/log/{scene.aid}").body
        serving.process.kill()
        serving.process.wait(20)
    with scene.watched() as serving:
        assert serving.get(f"/log/{scene.aid}").body == first


def test_one_process_serves_a_watcher(scene: Scene) -> None:
    """A second one is refused while the first serves."""
    with scene.watched():
        options = ("--passphrase-file", scene.watcher.passphrase, "--port", "0")
        second = scene.watcher.run("serve", *options)
    assert second.returncode == 1
    assert b"[store.busy]" in second.stderr


def test_init_never_replaces_a_watcher(tmp_path: Path) -> None:
    """A key is not overwritten, an init that was cut off is finished, no watcher is told as such."""
    made = new_watcher(tmp_path)
    again = run("watcher", "init", "--home", made.home, "--passphrase-file", made.passphrase)
    assert again.returncode == 2
    (made.home / "watcher.key").unlink()
    again = run("watcher", "init", "--home", made.home, "--passphrase-file", made.passphrase)
    assert again.returncode == 0, again.stderr
    assert made.aid.encode() not in again.stdout
    missing = run("watcher", "list", "--home", tmp_path / "nowhere")
    assert missing.returncode == 1
    assert b"keystead watcher init" in missing.stderr


@pytest.mark.parametrize("text", ["nonsense", "https://w.example/oobi", "ftp://w.example/oobi/x"])
def test_an_oobi_that_names_nobody_is_refused(text: str, tmp_path: Path) -> None:
    """A source needs an identifier, so that it can be counted once."""
    made = new_watcher(tmp_path)
    assert made.run("add", text).returncode == 2
    assert b"nothing is followed" in made.run("list").stdout


def _raw(serving: Serving, request: bytes) -> bytes:
    parts = urlsplit(serving.url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), 10) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def _listen(serving: Serving, path: str, header: str = "Accept: */*") -> socket.socket:
    """Open a stream of events."""
    parts = urlsplit(serving.url)
    connection = socket.create_connection((str(parts.hostname), parts.port or 0), 20)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    return connection


def _next(connection: socket.socket) -> tuple[int, str]:
    """Return number and kind of the next notice of a stream."""
    found: dict[str, str] = {}
    line = b""
    while True:
        char = connection.recv(1)
        assert char, "the stream has ended"
        if char != b"\n":
            line += char
            continue
        label, _, value = line.decode().strip().partition(": ")
        line = b""
        found[label] = value
        if label == "data":
            notice = json.loads(value)
            assert notice["number"] == int(found["id"])
            return notice["number"], found["event"]


def _wait(fits: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not fits():
        assert time.monotonic() < end
        time.sleep(0.05)
