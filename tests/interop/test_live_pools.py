"""Our commands with keri's witnesses, and pools of both kinds, which agree on every event."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from support.desks import Desk, unlocked
from support.keri_witnesses import keri_witnesses
from support.kli import Kli
from support.logs import Node
from support.peer import MEMORY, NOT_RUN, Peer, assert_same, environment, find_python
from support.pools import Member, assert_agree, fetch, members, our_witnesses

pytestmark = [pytest.mark.interop, pytest.mark.checkout]

DIGEST = "EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H"
SPELLINGS = ["application/cesr+json", "application/json+cesr", "application/cesr"]


@pytest.fixture(name="python", scope="module")
def _python() -> Path:
    python = find_python()
    if python is None:
        pytest.skip(NOT_RUN)
    return environment(python)


@pytest.fixture(name="ours", scope="module")
def _ours() -> Iterator[list[Member]]:
    with our_witnesses(2) as running:
        yield running


@pytest.fixture(name="theirs", scope="module")
def _theirs(python: Path) -> Iterator[list[Member]]:
    with keri_witnesses(python, 3) as running:
        yield members(running)


@pytest.fixture(name="desk", scope="module")
def _desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, unlocked(Path(folder)) as desk:
        desk.owner.more["KEYSTEAD_NETWORK"] = "local"
        yield desk


@pytest.fixture(name="ann", scope="module")
def _ann(python: Path, ours: Sequence[Member], theirs: Sequence[Member]) -> Iterator[Kli]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Kli(python, Path(folder), "ann", [one.oobi for one in (*ours, *theirs)])


def _options(option: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def test_commands_with_witnesses_of_keri(
    desk: Desk, theirs: list[Member], ours: list[Member], peer: Peer
) -> None:
    """The three of keri first; then one of them makes room for two of ours."""
    aid = desk.create(
        "bob", *_options("--witness", [one.oobi for one in theirs]), "--witness-threshold", "2"
    )
    desk.did("id", "rotate", "bob")
    desk.did("id", "anchor", "bob", "--digest", DIGEST)
    found = assert_agree(theirs, aid, 2)
    assert [len(one) for one in found.receipts] == [3, 3, 3]
    mixed = [*theirs[:2], *ours]
    added = _options("--add-witness", [one.oobi for one in ours])
    cut = ("--cut-witness", theirs[2].aid, "--witness-threshold", "3")
    desk.did("id", "rotate", "bob", *added, *cut)
    desk.did("id", "anchor", "bob", "--digest", DIGEST)
    agreed = assert_agree(mixed, aid, 4)
    assert agreed.saids[:3] == found.saids
    left = Node()  # the one that left knows no less than before, and may know that it left
    left.results(fetch(f"{theirs[2].url}/query?typ=kel&pre={aid}").content)
    assert left.trunk(Aid(aid)) in (agreed.saids[:3], agreed.saids[:4])
    assert json.loads(desk.did("outbox", "list", "--json"))["events"] == []
    _assert_keri_reads(desk, peer, aid, agreed.saids)
    _assert_introduced(mixed, aid, peer)


def test_kli_with_both_kinds(
    ann: Kli, desk: Desk, theirs: list[Member], ours: list[Member], peer: Peer
) -> None:
    """It begins with keri's and goes on with two of each; our commands find it and confirm it."""
    aid = ann.incept("ann", [one.aid for one in theirs], 2, "--receipt-endpoint")
    added = _options("--witness-add", [one.aid for one in ours])
    ann("rotate", "--alias", "ann", "--toad", "3", "--witness-cut", theirs[2].aid, *added)
    ann("interact", "--alias", "ann")
    mixed = [*theirs[:2], *ours]
    agreed = assert_agree(mixed, aid, 2)
    _assert_introduced(mixed, aid, peer)
    for member in (mixed[0], mixed[2]):  # one of each kind
        url = f"{member.url}/oobi/{aid}/witness/{member.aid}"
        told = json.loads(desk.did("oobi", "resolve", url, "--json"))
        assert told["said"] == agreed.saids[-1]
    log = desk.write("ann.cesr", ann("export", "--alias", "ann").encode())
    (known,) = json.loads(desk.did("log", "verify", log, "--json"))["identifiers"]
    assert (known["aid"], known["state"]["said"]) == (aid, agreed.saids[-1])


def test_kli_finds_an_identifier_of_a_wallet(
    ann: Kli, desk: Desk, theirs: list[Member], ours: list[Member]
) -> None:
    """By an introduction at a witness of either kind."""
    both = [theirs[0], ours[0]]
    aid = desk.create(
        "carl", *_options("--witness", [one.url for one in both]), "--witness-threshold", "2"
    )
    for place, member in enumerate(both):
        url = f"{member.url}/oobi/{aid}/witness/{member.aid}"
        told = ann("oobi", "resolve", "--oobi-alias", f"carl{place}", "--oobi", url)
        assert "resolved" in told
    assert aid in ann("kevers", "--prefix", aid)


@pytest.mark.parametrize("kind", SPELLINGS)
def test_every_spelling_of_the_content_type_is_taken(
    kind: str, desk: Desk, ours: list[Member]
) -> None:
    """With the right destination or none, and never with that of another witness."""
    member, other = ours
    name = kind.replace("/", "-").replace("+", "-")
    aid = desk.create(name, "--witness", member.url, "--witness-threshold", "1")
    log = fetch(f"{member.url}/query?typ=kel&pre={aid}").content
    size = int(log[16:22], 16)
    body, attached = log[:size], log[size:].decode()
    headers = {"Content_Type": kind, "CESR_ATTACHMENT": attached}
    url = f"{member.url}/receipts"
    first = fetch(url, body, CESR_DESTINATION=member.aid, **headers)
    assert (first.status, first.kind) == (200, "application/json+cesr")
    assert fetch(url, body, **headers) == first
    assert fetch(url, body, CESR_DESTINATION=other.aid, **headers).status == 404
    assert fetch(f"{member.url}/", log, method="PUT", Content_Type=kind).status == 204


def _assert_introduced(pool: Sequence[Member], aid: str, peer: Peer) -> None:
    """Check each form of introduction at each witness: both programs read the same log from it."""
    for member in pool:
        for path in (f"/oobi/{aid}", f"/oobi/{aid}/witness", f"/oobi/{aid}/witness/{member.aid}"):
            answer = fetch(member.url + path)
            assert (answer.status, answer.kind) == (200, "application/json+cesr"), path
            assert answer.about == aid
        node = Node()
        node.results(answer.content)
        assert_same(node.store, peer.verify(answer.content), [Aid(aid)])
        (location,) = [
            record
            for scheme in ("http", "https")
            if (record := node.store.record(("loc", member.aid, scheme))) is not None
        ]
        assert str(location.reply.attributes["url"]).rstrip("/") == member.url


def _assert_keri_reads(desk: Desk, peer: Peer, aid: str, saids: Sequence[str]) -> None:
    view = peer.verify(desk.export("bob").read_bytes())
    assert view.logs[aid]["first_seen"] == saids
    assert view.faults == []
