"""Several processes of one watcher on one PostgreSQL database: each thing is told once."""

import json
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keystead.cesr.keys import digest
from keystead.keri.seals import DigestSeal
from keystead.stores.opening import LOCATION
from keystead.testing.authoring import Author, Signed, witness
from support.commands import ROOT
from support.log_servers import LogServer
from support.postgres import fresh_url, shared_server
from support.watchers import Serving, WatcherHome, new_watcher, run

OTHER = DigestSeal(digest(b"other"))
NAMES = ("one", "two", "three")


class Scene:
    """An identifier with three witnesses, and a watcher in a database that follows it."""

    def __init__(self, folder: Path, url: str, opened: ExitStack) -> None:
        """Make all of it."""
        self.author = Author("watched", witnesses=[witness(name) for name in NAMES])
        self.log: list[Signed] = [self.author.incept()]
        self.servers = [opened.enter_context(LogServer(name)) for name in NAMES]
        self.url = url
        self.watcher: WatcherHome = new_watcher(folder, database=url)
        self.publish()
        added = self.watcher.run("add", *(one.oobi(self.author.aid) for one in self.servers))
        assert added.returncode == 0, added.stderr

    def publish(self) -> None:
        """Let all witnesses serve the whole log."""
        for server in self.servers:
            server.body = b"".join(one.framed for one in self.log)

    def grow(self, *serving: Serving) -> None:
        """Add an event, and wait until each process tells that all witnesses confirmed it."""
        self.log.append(self.author.interact())
        self.publish()
        for one in serving:
            self.until_known(one)

    def until_known(self, serving: Serving) -> None:
        """Wait until a process tells the whole log as confirmed by all."""
        said = self.log[-1].event.said
        serving.until(
            f"/state/{self.author.aid}",
            lambda value: value["confirmed_by"] == 3 and value["state"]["d"] == said,
        )

    def notices(self) -> list[tuple[int, str]]:
        """Return the numbers and kinds of all notices."""
        status = json.loads(self.watcher.run("status", "--json", "--last", "1000").stdout)
        return [(one["number"], one["kind"]) for one in status["notices"]]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Iterator[Scene]:
    """Give a scene whose servers stop at the end."""
    with fresh_url(empty=True) as url, ExitStack() as opened:
        yield Scene(tmp_path, url, opened)


def test_two_processes_answer_the_same_and_tell_once(scene: Scene) -> None:
    """Both have the same state and the same one proof; each notice is there once."""
    twin = scene.author.fork()
    with scene.watcher.serving() as one, scene.watcher.serving() as two:
        for _ in range(4):
            scene.grow(one, two)
        forged = twin.interact(OTHER)
        bare = Signed(forged.event, forged.signatures, forged.receipts[1:2])
        scene.servers[1].body = scene.log[0].framed + bare.framed
        path = f"/evidence/{scene.author.aid}"
        found = [each.until(path, lambda value: value["evidence"]) for each in (one, two)]
        assert found[0]["evidence"] == found[1]["evidence"]
        (evidence,) = found[0]["evidence"]
        assert evidence["other"] == forged.event.said
        assert one.get(evidence["bundle"]).body == two.get(evidence["bundle"]).body
        states = [each.get(f"/state/{scene.author.aid}").value for each in (one, two)]
        assert states[0]["state"] == states[1]["state"]
        assert states[0]["duplicity"] == states[1]["duplicity"]
        assert one.get(f"/log/{scene.author.aid}").body == two.get(f"/log/{scene.author.aid}").body
        told = run(
            "log", "state", scene.author.aid, "--watcher", one.named, "--max-age", "1m", "--json"
        )
        assert told.returncode == 3  # there is a proof of duplicity
    expected = ["event"] * 5 + ["duplicity"]
    assert scene.notices() == list(enumerate(expected, 1))


def test_one_that_is_killed_is_not_missed(scene: Scene) -> None:
    """The other goes on, one that starts again has all of it, and changes of the list reach both."""
    with scene.watcher.serving() as one:
        with scene.watcher.serving() as two:
            scene.grow(one, two)
            two.process.send_signal(signal.SIGKILL)
            two.process.wait()
        scene.grow(one)
        with scene.watcher.serving() as again:
            scene.until_known(again)
            assert scene.notices() == [(1, "event"), (2, "event"), (3, "event")]
            assert scene.watcher.run("remove", scene.author.aid).returncode == 0
            _wait(lambda: not _is_asked(scene))
            for each in (one, again):
                assert each.get(f"/state/{scene.author.aid}").status == 404


def test_a_database_has_one_watcher(scene: Scene, tmp_path: Path) -> None:
    """Another is not made over it, nor anything that is no database; a password is refused."""
    for database, code in (
        (scene.url, b"usage.exists"),
        ("https://db.example/keystead", b"usage.argument"),
        ("postgresql://me:secret@db.example/keystead", b"usage.argument"),
    ):
        done = run(
            "watcher", "init", "--home", tmp_path / "other", "--passphrase-file",
            scene.watcher.passphrase, "--database", database,
        )  # fmt: skip
        assert done.returncode == 2
        assert code in done.stderr
        assert b"secret" not in done.stderr


@pytest.mark.checkout
def test_the_rights_in_the_manual_are_enough(scene: Scene) -> None:
    """With those of the two pages, and no others, a watcher serves and its list is changed."""
    server, name = shared_server(), urlsplit(scene.url).path[1:]
    role = f"watcher_{secrets.token_hex(4)}"
    server.ask(f"CREATE ROLE {role} LOGIN")
    try:
        for page in ("postgresql.md", "watchers.md"):
            for command in _rights(page, role):
                server.ask(command, name)
        (scene.watcher.home / LOCATION).write_text(scene.url.replace("keystead@", f"{role}@"))
        twin = scene.author.fork()
        with scene.watcher.serving() as serving:
            scene.grow(serving)
            scene.servers[1].body = scene.log[0].framed + twin.interact(OTHER).framed
            serving.until(f"/evidence/{scene.author.aid}", lambda value: value["evidence"])
            hook = f"{scene.servers[0].url}/hook"
            assert scene.watcher.run("webhook", hook).returncode == 0
            assert scene.watcher.run("webhook", hook, "--remove").returncode == 0
            assert scene.watcher.run("remove", scene.author.aid).returncode == 0
    finally:
        server.ask(f"DROP OWNED BY {role}", name)
        server.ask(f"DROP ROLE {role}")


def _rights(page: str, role: str) -> list[str]:
    """Return the commands by which a page gives a role its rights."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    (block,) = re.findall(r"```sql\n(GRANT .*?)```", text, re.DOTALL)
    return [
        line.strip() for line in block.replace("keystead_service", role).split(";") if line.strip()
    ]


def _is_asked(scene: Scene) -> bool:
    before = [len(one.asked) for one in scene.servers]
    time.sleep(1.0)
    return before != [len(one.asked) for one in scene.servers]


def _wait(fits: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not fits():
        assert time.monotonic() < end
