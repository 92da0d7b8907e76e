"""The page for operators of witnesses is true: a pool by hand, from nothing to an identifier."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keystead.cesr.stream import Message, StreamReader
from keystead.cli.witness import serve
from keystead.errors import ErrorCode, StoreError
from keystead.keri import forms
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.limits import DEFAULT_LIMITS
from keystead.node.witness import Admission, Submission, Submitted, Witness
from keystead.services.charging import Rates
from keystead.services.observing import Observer
from keystead.services.witness_requests import EVENT_BYTES, STREAM_BYTES
from keystead.stores import files
from keystead.stores.opening import LOCATION
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, witness
from support.commands import COMMAND, ROOT
from support.desks import unlocked
from support.manual import examples
from support.postgres import fresh_url, shared_server

PAGE = (ROOT / "docs" / "witness-operators.md").read_text("utf-8")
PORTS = ("5642", "5643", "5644")


def _script(section: str) -> str:
    """Return the commands of a section, in order."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    return "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


def _free_ports(number: int) -> list[str]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


def test_a_pool_by_hand(tmp_path: Path) -> None:
    """The commands of the page, one after another, lead to a log that verifies."""
    script = _script("A pool by hand")
    for shown, free in zip(PORTS, _free_ports(3), strict=True):
        script = script.replace(shown, free)
    assert shutil.which("curl"), "the page uses curl: apt-get install curl"
    # The servers end with the script, which otherwise leaves them to the operator.
    script = f"trap 'kill $(jobs -p); wait' EXIT\nset -eu\n{script}"
    with unlocked(tmp_path) as desk:
        environment = {
            **os.environ,
            **desk.owner.environment,
            "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        }
        (tmp_path / "pool").mkdir()
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=tmp_path / "pool",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^witness B\S{43} in ", done.stdout, re.MULTILINE)) == 3
    assert done.stdout.count('"ok":true') == 3
    assert len(re.findall(r"^let in: +E\S{43} \(invitation\)$", done.stdout, re.MULTILINE)) == 3


@pytest.mark.parametrize("command", ["init", "allow", "refuse", "invite", "status", "recover"])
def test_the_page_names_the_commands(command: str) -> None:
    """Every command of the operator is told."""
    assert f"keystead witness {command}" in PAGE


def test_the_page_names_options_that_there_are() -> None:
    """Options of the server on the page are options of the server."""
    known = {name for parameter in serve.params for name in parameter.opts}
    section = PAGE.split("## Being reached")[1].split("\n## ")[0]
    told = set(re.findall(r"`(--[a-z0-9-]+)[` ]", section))
    assert told
    assert told <= known
    assert {"--event-rate", "--question-rate", "--open", "--metrics-port"} <= known
    assert examples(serve)


def test_the_bounds_are_those_of_the_program() -> None:
    """Numbers of the page are those of the code."""
    rates = Rates()
    for rate in (rates.event, rates.stranger, rates.strangers):
        assert f"| {rate.per_second:g} a second, {rate.burst} at once |" in PAGE
    volume = rates.volume
    assert f"| {volume.per_second:g} KiB a second, {volume.burst} KiB at once |" in PAGE
    assert f"| {EVENT_BYTES // 1024} KiB; {STREAM_BYTES // 2**20} MiB |" in PAGE


def test_the_metrics_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Each metric of a server is on the page."""
    observer = Observer(sys.stderr)
    names = {one.name for one in observer.registry.collect()}
    assert names
    assert not {name for name in names if name not in PAGE}
    assert not capsys.readouterr().out


def _rights(page: str, role: str) -> list[str]:
    """Return the commands by which a page gives a role its rights."""
    (block,) = re.findall(r"```sql\n(GRANT .*?)```", page, re.DOTALL)
    named = block.replace("keystead_service", role)
    return [line.strip() for line in named.split(";") if line.strip()]


@pytest.mark.checkout
def test_the_rights_in_the_manual_are_enough_and_no_more(tmp_path: Path) -> None:
    """A witness serves with them, and cannot take back a promise."""
    me, home, role = witness("of the manual"), tmp_path / "home", f"witness_{secrets.token_hex(4)}"
    files.make_folder(home)
    files.make_file(home / LOCATION)
    with fresh_url(empty=True) as url:
        server, name = shared_server(), urlsplit(url).path[1:]
        (home / LOCATION).write_text(url)
        DatabaseWitness.create(home, me.aid).close()
        server.ask(f"CREATE ROLE {role} LOGIN")
        try:
            events = (ROOT / "docs" / "postgresql.md").read_text("utf-8")
            for command in [*_rights(events, role), *_rights(PAGE, role)]:
                server.ask(command, name)
            (home / LOCATION).write_text(url.replace("keystead@", f"{role}@"))
            with ExitStack() as opened:
                store = DatabaseWitness.open(home)
                opened.callback(store.close)
                signer = LocalReceiptSigner.open(tmp_path / "signed", ServiceKey(me.seed))
                opened.callback(signer.close)
                about = store.about()
                signer.accept(about.store, about.generation)
                _serve(Witness(store, signer, admission=Admission(open_quota=9)), store)
                for change in (
                    "DELETE FROM witnessed",
                    "UPDATE witnessed SET said = aid",
                    "DELETE FROM neighbour",
                    "DELETE FROM admission",
                    "INSERT INTO witness VALUES (2, 'a', 'b', 0, 0)",
                ):
                    with pytest.raises(StoreError) as refused:
                        store.database.rows(change)
                    assert refused.value.code is ErrorCode.STORE_PERMISSIONS, change
        finally:
            server.ask(f"DROP OWNED BY {role}", name)
            server.ask(f"DROP ROLE {role}")


def _serve(one: Witness, store: DatabaseWitness) -> None:
    """Do all that a witness does with its tables."""
    now = datetime.now(UTC)
    author = Author("of the manual", witnesses=[witness("of the manual")])
    first = author.incept()
    thief = author.fork()
    for signed in (first, thief.interact(), author.rotate()):  # the rotation takes the place
        reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
        reader.feed(signed.framed)
        reader.close()
        messages = [item for item in reader if isinstance(item, Message)]
        (done,) = one.submit([Submission(messages, now)])
        assert isinstance(done, Submitted), done
        assert all(event.receipt for event in done.events)
    store.invite(b"digest", 1, None)
    assert store.use_invitation(b"digest", 0)
    store.put_mail(author.aid, "/replay", b"message", 1)
    assert [mail.message for mail in store.mail(author.aid, "/replay", 0)] == [b"message"]
    store.quarantine([(author.aid, None)])
    store.confirm(author.aid)
    one.tidy(now)
