"""Introductions and challenges between keri and this program, over real connections."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.keri.routed import Location
from keystead.owner.challenges import ask, respond, verify_answer
from keystead.owner.contacts import add_file
from keystead.owner.discovery import Found, resolve
from keystead.owner.exporting import log_stream
from keystead.owner.identifiers import create, rotate
from keystead.owner.plans import Change, Creation
from support.desks import unlocked
from support.introductions import local_transport, oobi_served
from support.keri_witnesses import KeriWitness, keri_witnesses
from support.kli import Kli
from support.logs import NOW, Node
from support.peer import MEMORY, NOT_RUN, environment, find_python
from support.wallets import make_wallet

pytestmark = [pytest.mark.interop, pytest.mark.checkout]

DRIVER = Path(__file__).with_name("keri_challenges.py")
WORDS = ("abandon", *["ability"] * 10, "able")


@pytest.fixture(name="python", scope="module")
def _python() -> Path:
    python = find_python()
    if python is None:
        pytest.skip(NOT_RUN)
    return environment(python)


@pytest.fixture(name="witnesses", scope="module")
def _witnesses(python: Path) -> Iterator[list[KeriWitness]]:
    with keri_witnesses(python, 2) as running:
        yield running


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def _resolve(url: str) -> tuple[Node, Found]:
    node = Node()
    found = resolve(node.processor, local_transport(), url, now=NOW)
    assert isinstance(found, Found)
    return node, found


def _keri(python: Path, **asked: object) -> Any:  # noqa: ANN401 - any JSON value
    ran = subprocess.run(
        [str(python), "-I", str(DRIVER)],
        input=json.dumps(asked),
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_a_witness_of_keri_introduces_itself(witnesses: list[KeriWitness]) -> None:
    """Under each form of its introduction, the blind one too; it is where it says."""
    one = witnesses[0]
    urls = [one.oobi, f"{one.url}/oobi", f"{one.url}/oobi/{one.aid}", f"{one.oobi}/{one.aid}"]
    for url in urls:
        node, found = _resolve(url)
        assert found.aid == one.aid
        record = node.store.record(("loc", found.aid, "http"))
        assert record is not None
        assert record.statement == Location(found.aid, "http", f"{one.url}/")


def test_a_log_is_found_at_witnesses_of_keri(
    python: Path, witnesses: list[KeriWitness], folder: Path
) -> None:
    """With all receipts, before and after a rotation; those whose places are known confirm it."""
    kli = Kli(python, folder, "bob")
    for one in witnesses:
        kli("oobi", "resolve", "--oobi-alias", one.aid, "--oobi", one.oobi)
    named = [part for one in witnesses for part in ("--wits", one.aid)]
    count = ("--icount", "1", "--isith", "1", "--ncount", "1", "--nsith", "1")
    kli("incept", "--alias", "bob", "--transferable", *count, "--toad", "2", *named)
    told = kli("oobi", "generate", "--alias", "bob", "--role", "witness")
    urls = [line for line in told.split() if line.startswith("http")]
    assert len(urls) == 2
    for url in urls:
        _, found = _resolve(url)
        assert found.state is not None
        assert (found.state.sn, len(found.receipted), len(found.confirmed)) == (0, 2, 1)
    kli("rotate", "--alias", "bob")
    node = Node()
    for url in [*(one.oobi for one in witnesses), urls[0]]:
        last = resolve(node.processor, local_transport(), url, now=NOW, confirm=True)
    assert isinstance(last, Found)
    assert last.state is not None
    assert last.state.sn == 1
    assert last.confirmed == {one.aid for one in witnesses}
    assert last.refused == {}


def test_keri_finds_a_log_that_is_served_here(python: Path, folder: Path) -> None:
    """Its command ends, and it knows the identifier with its latest keys."""
    (folder / "alice").mkdir()
    with unlocked(folder / "alice") as desk:
        aid = desk.create("alice")
        desk.did("id", "rotate", "alice")
        with oobi_served(desk, "alice", "--port", "0", "--url", "http://127.0.0.1:9") as url:
            kli = Kli(python, folder / "kli", "bob")
            for number, path in enumerate(
                (f"/oobi/{aid}/controller", f"/oobi/{aid}/controller/{aid}")
            ):
                kli("oobi", "resolve", "--oobi-alias", f"alice{number}", "--oobi", url + path)
        listed = kli("contacts", "list")
        assert aid in listed
        shown = json.loads(desk.did("id", "show", "alice", "--json"))
        told = kli("kevers", "--prefix", aid)
    assert re.search(r"^Seq No:\s*1$", told, re.MULTILINE)
    assert all(one["public_key"] in told for one in shown["keys"])


def test_keri_takes_an_answer(python: Path, tmp_path: Path) -> None:
    """Signed here with keys after a rotation; it reads who answered, and which words."""
    wallet = make_wallet(tmp_path)
    aid = create(wallet, "alice", Creation(keys=2)).aid
    rotate(wallet, "alice", Change())
    answering = _keri(python, do="respond", words=list(WORDS))
    other = add_file(wallet, "bob", [answering["log"].encode("latin-1")])
    answer = respond(wallet, "alice", "bob", WORDS)
    log = b"".join(log_stream(wallet, "alice"))
    texts = {"log": log.decode("latin-1"), "answer": answer.decode("latin-1")}
    assert _keri(python, do="take", **texts) == [[aid, list(WORDS)]]
    assert other.aid != aid


def test_an_answer_of_keri_is_verified(python: Path, tmp_path: Path) -> None:
    """As its command makes it."""
    wallet = make_wallet(tmp_path)
    made = _keri(python, do="respond", words=list(WORDS))
    add_file(wallet, "bob", [made["log"].encode("latin-1")])
    ask(wallet, "bob", WORDS)
    done = verify_answer(wallet, "bob", [made["answer"].encode("latin-1")])
    assert done.signer_sn == 0
