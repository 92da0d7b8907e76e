"""Several processes of one witness on one PostgreSQL database: one promise for one place."""

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keystead.cesr.keys import digest
from keystead.cesr.writing import write_frame
from keystead.keri.seals import DigestSeal
from keystead.keystores import envelope
from keystead.keystores.service_key import read_envelope
from keystead.testing.authoring import Author, KeyPair, Signed
from support.commands import COMMAND, keystead
from support.postgres import fresh_url, shared_server

PHRASE = "nine quite unguessable zebra words for servers"
PROCESSES = 4
RACERS = 64


class Known(KeyPair):
    """A key pair whose name is its private half, as hexadecimal digits."""

    __slots__ = ()

    @property
    def seed(self) -> bytes:
        """The private half."""
        return bytes.fromhex(self.name)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that serves."""

    port: int
    started: "subprocess.Popen[bytes]"


@dataclass(frozen=True, slots=True)
class Shared:
    """A witness in a database.

    Attributes:
        folder: where its home and its memory are.
        pair: its key.
        database: name of the database.
    """

    folder: Path
    pair: KeyPair
    database: str

    def places(self, state: str = "state") -> list[str]:
        """Return the options that name it."""
        named = ["--home", str(self.folder / "home"), "--state", str(self.folder / state)]
        return [*named, "--passphrase-file", str(self.folder / "passphrase")]

    @contextmanager
    def serving(self, number: int, state: str = "state") -> Iterator[Process]:
        """Let one process serve it."""
        command = [str(COMMAND), "witness", "serve", *self.places(state), "--port", "0", "--json"]
        command += ["--open", "100", "--event-rate", "1000", "--question-rate", "1000"]
        with (self.folder / f"log-{number}").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        with process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, (self.folder / f"log-{number}").read_text()
                yield Process(urlsplit(json.loads(line)["listening"]).port or 0, process)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


@pytest.fixture(name="shared")
def _shared(tmp_path: Path) -> Iterator[Shared]:
    with fresh_url(empty=True) as url:
        phrase = tmp_path / "passphrase"
        phrase.touch(0o600)
        phrase.write_text(f"{PHRASE}\n")
        scene = Shared(tmp_path, KeyPair("not yet"), urlsplit(url).path[1:])
        made = keystead("witness", "init", *scene.places(), "--database", url, "--json")
        assert made.returncode == 0, made.stderr
        sealed = read_envelope(tmp_path / "home" / "witness.key")
        pair = Known(envelope.open_with(sealed, PHRASE.encode()).hex(), transferable=False)
        assert pair.aid == json.loads(made.stdout)["aid"]
        yield replace(scene, pair=pair)


def _sent(port: int, signed: Signed) -> tuple[int, bytes]:
    """Submit an event without receipts; return the status and the answer."""
    bare = replace(signed, receipts=())
    attached = write_frame(bare.groups).decode()
    headers = {"Content-Type": "application/cesr+json", "CESR-ATTACHMENT": attached}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/receipts", signed.event.raw, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _got(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _raced(ports: Sequence[int], events: Sequence[Signed]) -> list[tuple[int, bytes]]:
    """Submit all events at the same time, each to the next process."""
    with ThreadPoolExecutor(len(events)) as pool:
        work = [
            pool.submit(_sent, ports[number % len(ports)], event)
            for number, event in enumerate(events)
        ]
        return [one.result() for one in work]


def test_one_of_many_racers_wins(shared: Shared) -> None:
    """64 events for one place, sent to four processes at once: one receipt, 63 times the winner."""
    author = Author("racer", witnesses=[shared.pair])
    first = author.incept()
    racers = [author.fork().interact(DigestSeal(digest(b"%d" % one))) for one in range(RACERS)]
    with ExitStack() as opened:
        processes = [opened.enter_context(shared.serving(one)) for one in range(PROCESSES)]
        ports = [one.port for one in processes]
        assert {status for status, _ in _raced(ports, [first] * PROCESSES)} == {200}
        answers = _raced(ports, racers)
        statuses = [status for status, _ in answers]
        assert (statuses.count(200), statuses.count(409)) == (1, RACERS - 1), statuses
        winner = racers[statuses.index(200)].event
        told = {json.loads(body)["first"] for status, body in answers if status == 409}
        assert told == {winner.said}
        # Whoever asks any process again gets the same: the loser his refusal, the winner his receipt.
        for port in ports:
            assert _sent(port, racers[statuses.index(200)]) == answers[statuses.index(200)]
            assert _sent(port, racers[statuses.index(409)])[0] == 409
            assert _got(port, "/readyz")[0] == 200
    promised = "SELECT said FROM witnessed WHERE aid = '{}' AND sn = 1 AND stands = 1"
    found = shared_server().ask(promised.format(author.aid), shared.database)
    assert found == [(winner.said,)]


def test_a_killed_process_loses_nothing(shared: Shared) -> None:
    """What any process has acknowledged is known to the others, and to the one that comes back."""
    authors = [Author(f"owner {one}", witnesses=[shared.pair]) for one in range(8)]
    logs = [[author.incept(), *(author.interact() for _ in range(9))] for author in authors]
    acknowledged: list[Signed] = []

    def submit(number: int, ports: Sequence[int]) -> None:
        for place, event in enumerate(logs[number]):
            for attempt in range(len(ports)):
                try:
                    status, _ = _sent(ports[(number + place + attempt) % len(ports)], event)
                except (OSError, http.client.HTTPException):
                    continue  # the process is gone: the next one gets the same event
                assert status == 200
                acknowledged.append(event)
                break
            if len(acknowledged) >= 30:
                victim.started.kill()

    with ExitStack() as opened:
        processes = [opened.enter_context(shared.serving(one)) for one in range(3)]
        victim, ports = processes[1], [one.port for one in processes]
        with ThreadPoolExecutor(len(logs)) as pool:
            list(pool.map(lambda number: submit(number, ports), range(len(logs))))
        assert victim.started.wait(10) == -signal.SIGKILL
        assert len(acknowledged) == sum(map(len, logs))
        back = opened.enter_context(shared.serving(3))
        for one in (processes[0], processes[2], back):
            assert _got(one.port, "/readyz")[0] == 200
            for log, author in zip(logs, authors, strict=True):
                status, known = _got(one.port, f"/query?typ=kel&pre={author.aid}")
                assert status == 200
                assert all(event.event.raw in known for event in log)


def test_operators_commands_while_several_serve(shared: Shared) -> None:
    """They know where the database is; what needs the witness for itself waits for its end."""
    with shared.serving(0), shared.serving(1):
        told = keystead("witness", "status", *shared.places()[:4], "--json")
        assert json.loads(told.stdout)["serving"] is True
        aid = Author("somebody").incept().event.aid
        assert keystead("witness", "allow", aid, *shared.places()[:4]).returncode == 0
        refused = keystead("witness", "recover", "--accept", aid, *shared.places())
        assert (refused.returncode, b"[store.busy]" in refused.stderr) == (1, True)
    assert not list(shared.folder.glob("home/witness.db*"))


def test_another_memory_is_a_quarantine(shared: Shared) -> None:
    """A machine that does not know what was signed signs nothing new, and nor does any other."""
    author = Author("owner", witnesses=[shared.pair])
    first, second = author.incept(), author.interact()
    with shared.serving(0) as one:
        assert _sent(one.port, first)[0] == 200
        with shared.serving(1, "other state") as other:
            assert _got(other.port, "/readyz")[0] == 503
            assert _sent(other.port, second)[0] != 200
        assert _sent(one.port, second)[0] != 200
        assert _sent(one.port, first)[0] == 200  # what it remembers it signs again
