"""A witness as processes: its commands, its routes, its end, and what comes after a restore."""

import http.client
import json
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from keystead import suites
from keystead.cesr.groups import ReceiptCouple
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, parse_key
from keystead.cesr.writing import write_groups
from keystead.cli.witness import witness as commands
from keystead.testing.authoring import Author, KeyPair, Signed
from support.commands import COMMAND
from support.logs import endorsed, framed, routed
from support.machines import PHRASE, Machine, Ran, machine
from support.manual import examples, json_fields
from support.witnessing import bare, seal

TYPE = "application/cesr+json"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Running:
    """A witness that serves."""

    process: subprocess.Popen[bytes]
    aid: str
    port: int
    tls: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Make one request on a connection of its own."""
        connection: http.client.HTTPConnection
        if self.tls:
            connection = http.client.HTTPSConnection(
                "localhost", self.port, timeout=20, context=self.tls
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            if told.get("content-type") == "text/event-stream":
                return Answer(answer.status, told, _events(answer))
            return Answer(answer.status, told, answer.read())
        finally:
            connection.close()

    def post(self, path: str, signed: Signed, kind: str = TYPE, **headers: str) -> Answer:
        """Post one event as peers do: attachments in a header."""
        attached = write_groups(Signed(signed.event, signed.signatures).groups).decode()
        return self.ask("POST", path, signed.event.raw, Content_Type=kind, CESR_ATTACHMENT=attached,
                        CESR_DESTINATION=self.aid, **headers)  # fmt: skip

    def query(self, owner: Author, route: str, **asked: Any) -> Answer:  # noqa: ANN401 - as it is
        """Post a question that an owner signed."""
        raw = routed("qry", r=route, q={"src": self.aid, **asked})
        attached = write_groups([endorsed(owner, raw)]).decode()
        return self.ask("POST", "/", raw, Content_Type=TYPE, CESR_ATTACHMENT=attached)

    def is_receipt(self, answer: Answer, signed: Signed) -> bool:
        """Tell whether an answer is the receipt of this witness for an event."""
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/json+cesr"
        message = framed(answer.body)
        (couple,) = message.groups[0].items
        assert isinstance(couple, ReceiptCouple)
        assert message.content["d"] == signed.event.said
        key = parse_key(self.aid)
        return couple.key == key and suites.verify(
            key.suite, key.raw, couple.signature.raw, signed.event.raw
        )


def _events(answer: http.client.HTTPResponse) -> bytes:
    """Read a stream of events until nothing more comes for a moment."""
    found = b""
    assert answer.fp is not None
    answer.fp.raw._sock.settimeout(2)  # type: ignore[attr-defined] # the socket  # noqa: SLF001 - as told
    try:
        while piece := answer.read1(65536):
            found += piece
    except TimeoutError:
        pass
    return found


def witness_of(place: Machine, *arguments: str, phrase: str | None = None) -> Ran:
    """Run a command for the witness of a machine."""
    return place.run("witness", *arguments, "--home", str(place.folder / "w"), phrase=phrase)


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Machine:
    """Give a machine with a new witness."""
    place = machine(tmp_path)
    made = witness_of(place, "init", phrase=PHRASE)
    assert made.code == 0, made.err
    return place


@contextmanager
def serving(place: Machine, *options: str, tls: ssl.SSLContext | None = None) -> Iterator[Running]:
    """Serve the witness of a machine."""
    command = [str(COMMAND), "witness", "serve", "--home", str(place.folder / "w"), "--port", "0"]
    secret = ["--passphrase-file", str(place.file(PHRASE))]
    rates = ["--event-rate", "1000", "--question-rate", "1000"]
    process = subprocess.Popen(
        [*command, *secret, "--json", *rates, *options],
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it does not serve"
        port = int(re.findall(r":(\d+)", json.loads(line)["listening"])[0])
        status = json.loads(witness_of(place, "status", "--json").out)
        assert status["serving"]
        yield Running(process, status["aid"], port, tls)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def owner_of(running: Running, name: str) -> Author:
    """Return an owner whose only witness is the running one; who it is does not matter to it."""
    return Author(name, witnesses=[_Named(running.aid, transferable=False)])


class _Named(KeyPair):
    """A witness of which only the name is known here; its signatures are no good."""

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return Aid(self.name)


def test_receipts_by_every_route(place: Machine) -> None:
    """One event by each spelling; the same again; the first stands; one recovery; by GET."""
    with serving(place, "--open", "10") as running:
        owner = owner_of(running, "routes")
        first = owner.incept()
        answer = running.post("/receipts", first)
        assert running.is_receipt(answer, first)
        for kind in (
            "application/cesr+json", "application/json+cesr", "application/cesr",
            "Application/CESR; charset=utf-8",
        ):  # fmt: skip
            again = running.post("/receipts", first, kind)
            assert (again.status, again.body) == (200, answer.body)
        assert running.post("/receipts", first, "application/json").status == 406
        fork = owner.fork()
        rival = fork.fork().interact(seal("rival"))
        second = fork.fork()
        made = owner.interact(seal("1"))
        assert running.post("/", made).status == 204
        for path in ("/", "/receipts"):
            refused = running.post(path, rival)
            assert refused.status == 409
            assert refused.json["first"] == made.event.said
        recovery = fork.rotate(anchors=[seal("recovery")])
        assert running.is_receipt(running.post("/receipts", recovery), recovery)
        refused = running.post("/receipts", second.rotate(anchors=[seal("second")]))
        assert (refused.status, refused.json["first"]) == (409, recovery.event.said)
        following = fork.interact(seal("2"))
        put = running.ask("PUT", "/", bare(following), Content_Type=TYPE)
        assert put.status == 204
        for asked in (f"sn={following.event.sn}", f"said={following.event.said}"):
            found = running.ask("GET", f"/receipts?pre={owner.aid}&{asked}")
            assert found.status == 200
            assert found.headers["content-type"] == "application/json+cesr"
            (signature,) = framed(found.body).groups[0].items
            assert isinstance(signature, IndexedSignature)
            key = parse_key(running.aid)
            assert suites.verify(key.suite, key.raw, signature.raw, following.event.raw)


def test_requests_that_are_refused(place: Machine) -> None:
    """Each has its status."""
    with serving(place, "--open", "10") as running:
        owner = owner_of(running, "refused")
        first = owner.incept()
        following = owner.interact()
        raw, attached = first.event.raw, write_groups(Signed(first.event, first.signatures).groups)
        ask = running.ask
        assert ask("POST", "/", raw, Content_Type=TYPE).status == 412
        given = {"Content_Type": TYPE, "CESR_ATTACHMENT": attached.decode()}
        assert ask("POST", "/", raw, CESR_DESTINATION="B" + "x" * 43, **given).status == 404
        assert ask("POST", "/", b"garbage", **given).status == 400
        assert ask("POST", "/", raw[:-1], **given).status == 400
        assert ask("POST", "/", b"{" + b" " * 70_000, **given).status == 413
        assert ask("DELETE", "/").status == 405
        assert ask("GET", "/nothing").status == 404
        for path in ("/receipts", f"/receipts?pre={owner.aid}", "/receipts?pre=x&sn=0",
                     f"/receipts?pre={owner.aid}&sn=-1", f"/query?typ=tel&pre={owner.aid}"):  # fmt: skip
            assert ask("GET", path).status == 400, path
        for path in (f"/receipts?pre={owner.aid}&sn=0", f"/query?typ=kel&pre={owner.aid}",
                     f"/ksn?pre={owner.aid}", f"/oobi/{owner.aid}"):  # fmt: skip
            assert ask("GET", path).status == 404, path
        waits = running.post("/receipts", following)
        assert waits.status in (202, 403)  # a stranger's event that nobody can check waits nowhere
        stranger = Author("names no witness").incept()
        assert running.post("/receipts", stranger).status == 400
        assert running.is_receipt(running.post("/receipts", first), first)
        late = owner.interact(seal("late"))
        held = running.post("/receipts", late)
        assert held.status == 202
        assert held.json["waits"][0]["d"] == late.event.said
        assert running.post("/", following).status == 204
        assert running.is_receipt(running.post("/receipts", late), late)


def test_logs_states_and_introductions(place: Machine) -> None:
    """What it has is public, and verifies elsewhere."""
    with serving(place, "--open", "10") as running:
        owner = owner_of(running, "public")
        for made in (owner.incept(), owner.interact()):
            assert running.post("/", made).status == 204
        for path in (f"/query?typ=kel&pre={owner.aid}", f"/oobi/{owner.aid}",
                     f"/oobi/{owner.aid}/witness/{running.aid}"):  # fmt: skip
            found = running.ask("GET", path)
            assert found.status == 200, path
            assert found.headers["content-type"] == "application/json+cesr"
            assert owner.state.said.encode() in found.body
        assert running.ask("GET", f"/oobi/{owner.aid}").headers["keri-aid"] == owner.aid
        own = running.ask("GET", "/oobi")
        assert own.headers["keri-aid"] == running.aid
        assert b"/loc/scheme" in own.body
        state = running.ask("GET", f"/ksn?pre={owner.aid}")
        assert b"/ksn/" in state.body
        log = place.folder / "log.cesr"
        log.write_bytes(running.ask("GET", f"/query?typ=kel&pre={owner.aid}").body)
        assert place.run("log", "verify", str(log)).code == 0


def test_answers_wait_in_the_mailbox(place: Machine) -> None:
    """A log under /replay, a state under /reply, receipts; numbered, as server-sent events."""
    with serving(place, "--open", "10") as running:
        owner = owner_of(running, "mail")
        first = owner.incept()
        assert running.post("/", first).status == 204
        assert running.query(owner, "logs", i=owner.aid).status == 204
        assert running.query(owner, "ksn", i=owner.aid).status == 204
        topics = {"/replay": 0, "/reply": 0, "/receipt": 0}
        box = running.query(owner, "mbx", i=owner.aid, topics=topics)
        assert box.status == 200
        assert box.headers["content-type"] == "text/event-stream"
        text = box.body.decode()
        for topic in topics:
            assert re.search(rf"id: 0\nevent: {topic}\nretry: 5000\ndata: {{\"v\"", text), topic
        assert first.event.said in text


def test_admission(place: Machine) -> None:
    """Nobody by default; named by the operator, shut out again, or with an invitation."""
    with serving(place) as running:
        owners = [owner_of(running, f"admitted {number}") for number in range(3)]
        begun = [owner.incept() for owner in owners]
        refused = running.post("/receipts", begun[0])
        assert (refused.status, refused.json["error"]) == (403, "verify.not_admitted")
        assert witness_of(place, "allow", owners[0].aid).code == 0
        assert running.is_receipt(running.post("/receipts", begun[0]), begun[0])
        assert witness_of(place, "refuse", owners[0].aid).code == 0
        assert running.post("/receipts", owners[0].interact()).status == 403
        invited = json.loads(witness_of(place, "invite", "--json").out)
        code = {"KEYSTEAD_INVITATION": invited["code"]}
        assert running.is_receipt(running.post("/receipts", begun[1], **code), begun[1])
        assert running.post("/receipts", begun[2], **code).status == 403
        status = json.loads(witness_of(place, "status", "--json").out)
        origins = {one["aid"]: (one["allowed"], one["origin"]) for one in status["admitted"]}
        assert origins[owners[0].aid] == (False, "operator")
        assert origins[owners[1].aid] == (True, "invitation")


def test_rates_are_limited(place: Machine) -> None:
    """Who asks too often is told when to come back."""
    with serving(place, "--open", "10", "--question-rate", "1") as running:
        answers = [running.ask("GET", "/oobi") for _ in range(12)]
        last = next(one for one in answers if one.status != 200)
        assert last.status == 429
        assert int(last.headers["retry-after"]) >= 1


def test_one_process_and_one_home(place: Machine, tmp_path: Path) -> None:
    """A second process is refused; a home that init did not make is missing, and is not made."""
    with serving(place):
        second = witness_of(place, "serve", "--port", "0", phrase=PHRASE)
        assert second.code == 1
        assert "store.busy" in second.err or "another process" in second.err
    missing = place.run("witness", "serve", "--home", str(tmp_path / "none"), phrase=PHRASE)
    assert missing.code == 1
    assert not (tmp_path / "none").exists()
    (place.folder / "w" / "witness.db").unlink()
    lost = witness_of(place, "serve", "--port", "0", phrase=PHRASE)
    assert lost.code == 1
    assert not (place.folder / "w" / "witness.db").exists()
    assert witness_of(place, "init", phrase=PHRASE).code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_graceful_stop_keeps_everything(place: Machine, number: int) -> None:
    """It ends with 0, and gives the same receipts afterwards."""
    for _ in range(2):
        with serving(place, "--open", "10") as running:
            first = owner_of(running, "stopped").incept()
            assert running.is_receipt(running.post("/receipts", first), first)
            running.process.send_signal(number)
            assert running.process.wait(20) == 0


def test_a_killed_witness_comes_back(place: Machine) -> None:
    """With what it has receipted, and with the same bytes."""
    with serving(place, "--open", "10") as running:
        owner = owner_of(running, "killed")
        first = owner.incept()
        fork = owner.fork()
        made = owner.interact(seal("1"))
        answers = [running.post("/receipts", one).body for one in (first, made)]
        running.process.kill()
    with serving(place, "--open", "10") as running:
        assert [running.post("/receipts", one).body for one in (first, made)] == answers
        assert running.post("/receipts", fork.interact(seal("2"))).status == 409


def test_the_manual_lists_what_commands_print(place: Machine) -> None:
    """Every field of --json, in its order."""
    other = str(place.folder / "other")
    made = place.run("witness", "init", "--home", other, "--json", phrase=PHRASE)
    for name, done in (
        ("init", made),
        ("status", witness_of(place, "status", "--json")),
        ("invite", witness_of(place, "invite", "--json")),
        ("recover", witness_of(place, "recover", "--json", phrase=PHRASE)),
    ):
        assert done.code == 0, done.err
        assert json_fields(f"keystead witness {name} --json") == list(json.loads(done.out)), name


def test_a_restored_witness_must_catch_up(place: Machine) -> None:
    """It says so, signs nothing new, and goes on after `recover` with the log of the owner."""
    home, before = place.folder / "w", place.folder / "before"
    with serving(place, "--open", "10") as running:
        owner = owner_of(running, "restored")
        first = owner.incept()
        assert running.is_receipt(running.post("/receipts", first), first)
    shutil.copytree(home, before)
    with serving(place, "--open", "10") as running:
        rival = owner.fork().interact(seal("rival"))
        made = owner.interact(seal("1"))
        assert running.is_receipt(running.post("/receipts", made), made)
        log = place.folder / "log.cesr"
        log.write_bytes(running.ask("GET", f"/query?typ=kel&pre={owner.aid}").body)
    shutil.rmtree(home)
    shutil.copytree(before, home)
    with serving(place, "--open", "10") as running:
        assert running.ask("GET", "/readyz").status == 503
        assert running.ask("GET", "/healthz").status == 200
        assert running.post("/receipts", rival).status == 409
        stranger = owner_of(running, "another").incept()
        behind = running.post("/receipts", stranger)
        assert behind.status == 503
        assert behind.headers["retry-after"]
        assert running.is_receipt(running.post("/receipts", first), first)
        status = json.loads(witness_of(place, "status", "--json").out)
        assert status["quarantined"]
        assert status["unconfirmed"] == [owner.aid]
        assert witness_of(place, "recover", "--log", str(log), phrase=PHRASE).code == 1  # serves
    waiting = witness_of(place, "recover", "--json", phrase=PHRASE)
    assert (waiting.code, json.loads(waiting.out)) == (4, {"unconfirmed": [owner.aid]})
    assert "--log FILE" in waiting.err
    assert "risk of --accept" in waiting.err
    for told in ("signs again", "was not in quarantine"):
        done = witness_of(place, "recover", "--log", str(log), phrase=PHRASE)
        assert done.code == 0, done.err
        assert told in done.out
    with serving(place, "--open", "10") as running:
        assert running.ask("GET", "/readyz").status == 200
        assert running.post("/receipts", rival).status == 409
        following = owner.interact(seal("4"))
        assert running.is_receipt(running.post("/receipts", following), following)


def test_tls(place: Machine) -> None:
    """Over TLS it says that it is there."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    files = [place.folder / name for name in ("cert.pem", "key.pem")]
    certificate.cert_chain_pems[0].write_to_path(str(files[0]))
    certificate.private_key_pem.write_to_path(str(files[1]))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options = ("--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    with serving(place, *options, tls=context) as running:
        own = running.ask("GET", "/oobi")
        assert own.status == 200
        assert b'"scheme":"https"' in own.body


def test_examples_of_the_help_run(place: Machine, tmp_path: Path) -> None:
    """Those that neither serve nor ask other machines."""
    aid = Author("example").incept().event.aid
    shown = "EKYLUMmNPZeEs77Zvclf0bSN5IN-mLfLpx2ySb-HDlk4"
    for name in ("allow", "refuse", "invite", "status"):
        for line in examples(commands.commands[name]):
            words = line.replace("~/witness", str(place.folder / "w")).replace(shown, aid).split()
            ran = place.run(*words[1:])
            assert ran.code == 0, (line, ran.err)
    line = examples(commands.commands["init"])[1]
    words = line.replace("~/witness", str(tmp_path / "made")).split()[1:-1]
    assert place.run(*words, str(place.file(PHRASE))).code == 0
