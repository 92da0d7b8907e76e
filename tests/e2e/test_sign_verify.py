"""`keystead sign` and `keystead verify` as processes: what they write, answer and refuse."""

import json
import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import fields

from keystead.cesr.groups import SignatureGroup
from keystead.cli.sign import sign as sign_command
from keystead.cli.verify import verify as verify_command
from keystead.keri import build
from keystead.keri.build import Configuration
from keystead.keri.seals import EventSeal, OtherData
from keystead.keystores.address import connect, peer
from keystead.owner import delegation, identifiers, life
from keystead.owner.documents import (
    DocumentSignature,
    read_signature,
    statement,
    write_signature,
)
from keystead.owner.plans import Creation
from keystead.owner.standing import Exposure, Standing, Verdict
from keystead.stores import rows
from keystead.testing.authoring import Author, KeyPair
from support.commands import COMMAND, ROOT
from support.desks import Desk, unlocked
from support.documents import ANCHOR, DIGEST, DOCUMENT, notice, signed_document
from support.histories import feed
from support.wallets import make_wallet

_TICK = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Make a wallet for all tests, each with identifiers and documents of its own."""
    with unlocked(tmp_path_factory.mktemp("office")) as desk:
        yield desk


@pytest.fixture
def desk(office: Desk, tmp_path: Path) -> Desk:
    """Give each test a folder of its own."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(office.owner, folder)


def _start(value: dict[str, Any]) -> str:
    """Return the answer in words."""
    first = value["explanation"][0]
    assert isinstance(first, str)
    return first


# What signatures are worth.


def test_signature_by_current_keys(desk: Desk) -> None:
    """A stranger with the log of the signer finds the signature valid; nobody else may have it."""
    aid = desk.create("current")
    document = desk.write("contract.pdf")
    told = desk.did("sign", document, "--as", "current")
    assert told.splitlines() == [
        f"{document} is signed by current, {aid}",
        f"the signature is in {document}.sig",
    ]
    log = desk.export("current")
    value = desk.answer(document, log)
    assert (value["valid"], value["standing"], value["sn"]) == (True, "current", "0")
    assert value["explanation"] == [
        f"valid: signed by {aid} with its current keys, those of event 0"
    ]
    assert desk.answer(document, by_wallet=True) == value
    ran = desk.strange("verify", document, "--log", log)
    assert (ran.code, ran.out.splitlines(), ran.err) == (0, value["explanation"], "")


def test_signature_by_keys_that_were_rotated_out(desk: Desk) -> None:
    """The answer names the event that replaced the keys, and what an anchor would settle."""
    aid = desk.create("rotated")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "rotated")
    desk.did("id", "rotate", "rotated")
    value = desk.answer(document, desk.export("rotated"))
    assert (value["valid"], value["standing"], value["rotated_at"]) == (True, "rotated", "1")
    assert _start(value) == (
        f"valid: signed by {aid} with keys of event 0, which were replaced by event 1"
    )
    assert "an anchor in the log would settle that" in value["explanation"][1]
    # The same keys do not sign again: the new ones do, when they are told to.
    refused = desk.run("sign", document, "--as", "rotated")
    assert (refused.code, "[usage.exists]" in refused.err) == (2, True)
    desk.did("sign", document, "--as", "rotated", "--force")
    assert desk.answer(document, by_wallet=True)["sn"] == "1"


def test_anchored_signature(desk: Desk) -> None:
    """The log tells when the document was signed at the latest; it is anchored once."""
    desk.create("anchored")
    document = desk.write("contract.pdf")
    told = desk.did("sign", document, "--as", "anchored", "--anchor")
    assert "event 1 of the log anchors it" in told
    desk.did("sign", document, "--as", "anchored", "--anchor")
    desk.did("id", "rotate", "anchored")
    value = desk.answer(document, desk.export("anchored"))
    assert (value["standing"], value["rotated_at"]) == ("rotated", "2")
    assert value["anchored_at"] == "1"
    assert value["explanation"][1] == "event 1 of the log anchors the document"


def test_signatures_by_stolen_keys(desk: Desk) -> None:
    """What was anchored before the theft stands, what was anchored after or never does not."""
    desk.create("robbed")
    early, late, bare = (desk.write(name, name.encode()) for name in ("early", "late", "bare"))
    desk.did("sign", early, "--as", "robbed", "--anchor")
    desk.did("sign", late, "--as", "robbed", "--anchor")
    desk.did("sign", bare, "--as", "robbed")
    before = desk.export("robbed", "before")
    with desk.wallet() as wallet:
        state = wallet.events.key_state(wallet.identifier("robbed").aid)
        assert state is not None
        stolen = build.commitment(state.establishment.signing_keys[0])
        life.compromise(wallet, stolen, since=2, reason="laptop was stolen")
    desk.did("id", "rotate", "robbed")
    log = desk.export("robbed")
    answers = {path.name: desk.answer(path, log) for path in (early, late, bare)}
    assert {name: (one["valid"], one["exposure"]) for name, one in answers.items()} == {
        "early": (True, Exposure.ANCHORED_BEFORE),
        "late": (False, Exposure.ANCHORED_AFTER),
        "bare": (False, Exposure.NOT_ANCHORED),
    }
    assert {one["compromised_since"] for one in answers.values()} == {"2"}
    assert desk.answer(late, by_wallet=True) == answers["late"]
    assert desk.answer(late, before)["valid"]  # who was not told does not know
    # The owner vouches for it with the new keys.
    desk.did("sign", late, "--as", "robbed", "--anchor", "-o", "again.sig")
    assert desk.answer(late, desk.export("robbed"))["exposure"] == Exposure.ANCHORED_BY_OTHER_KEYS


def test_log_that_is_missing_or_too_short(desk: Desk) -> None:
    """Without the log, or with an older one, nothing is decided: exit code 4."""
    desk.create("unknown")
    desk.create("somebody")
    document = desk.write("contract.pdf")
    old = desk.export("unknown", "old")
    desk.did("id", "rotate", "unknown")
    desk.did("sign", document, "--as", "unknown")
    for logs in ((), (desk.export("somebody"),)):
        value = desk.answer(document, *logs)
        assert (value["standing"], value["log_sn"]) == (Standing.UNKNOWN_LOG, None)
        assert _start(value).startswith("NOT decided: ")
    value = desk.answer(document, old)
    assert (value["standing"], value["log_sn"]) == (Standing.LOG_BEHIND, "0")
    told = desk.strange("verify", document)
    assert (told.code, told.out.startswith("NOT decided: ")) == (4, True)
    assert "give others with --log FILE" in told.err


def test_abandoned_identifier(desk: Desk) -> None:
    """What it signed stays as valid as it was; it signs no more."""
    desk.create("abandoned")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "abandoned")
    desk.did("id", "abandon", "abandoned", "--yes")
    value = desk.answer(document, desk.export("abandoned"))
    assert (value["valid"], value["standing"], value["abandoned"]) == (True, "rotated", True)
    assert any("was abandoned since" in line for line in value["explanation"])
    refused = desk.run("sign", document, "--as", "abandoned", "-o", "new.sig")
    assert (refused.code, "[keystore.state]" in refused.err) == (1, True)
    assert not (desk.folder / "new.sig").exists()


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--algorithm", "p256"), 1),
        (("--algorithm", "secp256k1"), 1),
        (("--keys", "3", "--threshold", "2"), 3),
        (("--keys", "3", "--threshold", "1/2,1/2,1/2", "--algorithm", "p256"), 3),
    ],
)
def test_algorithms_and_thresholds(desk: Desk, options: tuple[str, ...], count: int) -> None:
    """Keys of each algorithm sign, and all of several."""
    name = f"with {' '.join(options)}"
    desk.create(name, *options)
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", name, "--anchor")
    signed = read_signature((desk.folder / "contract.pdf.sig").read_bytes()).signed
    assert len(getattr(signed, "signatures", ())) == count
    value = desk.answer(document, desk.export(name, "log"))
    assert (value["valid"], value["anchored_at"]) == (True, "1")
    # ECDSA makes another signature each time, but the first one stays.
    assert "was signed already" in desk.did("sign", document, "--as", name)


def test_non_transferable_identifier_needs_no_log(desk: Desk) -> None:
    """The identifier is its key, so a stranger needs nothing else."""
    aid = desk.create("pocket", "--non-transferable")
    document = desk.write("contract.pdf")
    value = json.loads(desk.did("sign", document, "--as", "pocket", "--json"))
    assert (value["aid"], value["sn"]) == (aid, None)
    value = desk.answer(document)
    assert (value["valid"], value["standing"]) == (True, Standing.NON_TRANSFERABLE)
    assert desk.run("sign", document, "--as", "pocket", "--anchor").code == 1


def test_delegated_identifier(desk: Desk, tmp_path: Path) -> None:
    """Its log is verified with that of its delegator, in one file or in two."""
    boss = make_wallet(tmp_path / "boss")
    chief = identifiers.create(boss, "boss", Creation())
    document = desk.write("contract.pdf")
    desk.create("clerk", "--delegator", chief.aid)
    assert desk.run("sign", document, "--as", "clerk").code == 1
    with desk.wallet() as wallet:
        approvals = delegation.approve(boss, "boss", delegation.request(wallet, "clerk"))
        delegation.complete(wallet, "clerk", delegation.answer(boss, "boss", approvals))
    desk.did("sign", document, "--as", "clerk")
    log = desk.export("clerk")
    assert desk.answer(document, log)["standing"] == Standing.CURRENT
    data = log.read_bytes()
    start = data.rindex(b'{"v":"KERI10JSON')
    assert b'"t":"dip"' in data[start:]
    parts = desk.write("clerk-alone.cesr", data[start:]), desk.write("boss.cesr", data[:start])
    assert desk.answer(document, *parts)["standing"] == Standing.CURRENT
    assert desk.answer(document, parts[0])["standing"] == Standing.UNKNOWN_LOG
    assert "of its delegator" in desk.strange("verify", document, "--log", parts[0]).err


def test_log_of_rotations_only(desk: Desk) -> None:
    """The hint tells the rotation that anchors; after it, the document is signed as anchored."""
    desk.create("vault", "--establishment-only")
    document = desk.write("contract.pdf")
    refused = desk.run("sign", document, "--as", "vault", "--anchor")
    assert refused.code == 2
    hint = re.search(r"keystead: hint: keystead (id rotate vault --anchor \S+);", refused.err)
    assert hint is not None
    desk.did(*hint[1].split())
    desk.did("sign", document, "--as", "vault", "--anchor")
    value = desk.answer(document, desk.export("vault"))
    assert (value["standing"], value["sn"], value["anchored_at"]) == ("current", "1", "1")


def test_changed_document_or_signature(desk: Desk) -> None:
    """Each has its fault, and exit code 3."""
    desk.create("tampered")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "tampered")
    log = desk.export("tampered")
    signature = desk.folder / "contract.pdf.sig"
    good = signature.read_bytes()
    desk.write("contract.pdf", DOCUMENT + b"!")
    value = desk.answer(document, log)
    assert (value["valid"], value["fault"]) == (False, "verify.payload")
    desk.write("contract.pdf")
    at = -12
    signature.write_bytes(good[:at] + (b"A" if good[at] != ord("A") else b"B") + good[at + 1 :])
    value = desk.answer(document, log)
    assert (value["valid"], value["fault"]) == (False, "verify.signature")
    signature.write_bytes(good)
    assert desk.answer(document, log)["valid"]


def test_duplicitous_signer(desk: Desk) -> None:
    """Who signed two events for one place is not believed any more."""
    author = Author("two-faced")
    log = author.incept().framed
    twin = author.fork()
    log += author.interact(ANCHOR).framed + twin.interact(OtherData("1")).framed
    document = desk.write("contract.pdf")
    desk.write("contract.pdf.sig", signed_document(author))
    value = desk.answer(document, desk.write("log.cesr", log))
    assert (value["valid"], value["standing"], value["duplicitous"]) == (False, "current", True)


def test_places_are_hex_text(desk: Desk) -> None:
    """Every place in the answer is spelled as in messages."""
    author = Author("long")
    log = author.incept().framed
    log += b"".join(author.interact().framed for _ in range(9))
    log += author.rotate().framed
    data = signed_document(author)
    log += author.interact(ANCHOR).framed + author.rotate().framed
    document = desk.write("contract.pdf")
    desk.write("contract.pdf.sig", data)
    value = desk.answer(document, desk.write("log.cesr", log))
    places = [value[name] for name in ("sn", "anchored_at", "rotated_at", "log_sn")]
    assert places == ["a", "b", "c", "c"]


def test_events_that_are_refused_do_not_count(desk: Desk) -> None:
    """A forged event in the log is told of, and changes nothing."""
    author, mallory = Author("honest"), Author("mallory")
    log = author.incept().framed
    mallory.incept()
    forged = author.fork().interact(ANCHOR)
    log += forged.event.raw + mallory.interact().framed[len(mallory.interact().event.raw) :]
    document = desk.write("contract.pdf")
    desk.write("contract.pdf.sig", signed_document(author))
    path = desk.write("log.cesr", log)
    value = desk.answer(document, path)
    assert (value["valid"], value["anchored_at"], value["log_sn"]) == (True, None, "0")
    told = desk.strange("verify", document, "--log", path).err
    assert f"note: 1 messages of {path} were refused" in told


# Fields of the answer.


@pytest.mark.checkout
def test_json_of_sign_is_documented(desk: Desk) -> None:
    """The object has the fields that the page lists, with what the signature holds."""
    aid = desk.create("told")
    document = desk.write("contract.pdf")
    desk.did("id", "rotate", "told")
    value = json.loads(desk.did("sign", document, "--as", "told", "--anchor", "--json"))
    assert list(value) == _documented("keystead sign --json")
    data = (desk.folder / "contract.pdf.sig").read_text()
    assert value == {
        "signature": data,
        "output": f"{document}.sig",
        "fresh": True,
        "name": "told",
        "aid": aid,
        "sn": "1",
        "digest": DIGEST,
        "anchored_at": "2",
    }
    again = json.loads(desk.did("sign", document, "--as", "told", "--json"))
    assert again == value | {"fresh": False, "anchored_at": None}


@pytest.mark.checkout
def test_json_of_verify_is_documented(desk: Desk) -> None:
    """The page lists the fields of the answer, and every value that those with names can have."""
    desk.create("documented")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "documented")
    names = [*(one.name for one in fields(Verdict)), "explanation"]
    assert _documented("keystead verify --json") == names
    assert list(desk.answer(document, by_wallet=True)) == names
    rows = dict(_rows("keystead verify --json"))
    assert re.findall(r"`(\w+)`", rows["standing"]) == list(Standing)
    assert re.findall(r"`(\w+)`", rows["exposure"]) == list(Exposure)


def _rows(section: str) -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "json.md").read_text("utf-8")
    (content,) = re.findall(rf"^## {section}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \| (.+) \|$", content, re.MULTILINE)


def _documented(section: str) -> list[str]:
    return [name for name, _ in _rows(section)]


# Help and cost.


def _examples(text: str) -> list[str]:
    (listed,) = re.findall(r"Examples:\n((?:  .*\n)+)", text)
    lines = re.findall(r"^  (\S.*)$", listed, re.MULTILINE)
    return [re.split(r"\s{2,}", line)[0] for line in lines]


def test_examples_of_the_help_run(tmp_path: Path) -> None:
    """Each line of the examples does what it says, one after another."""
    with unlocked(tmp_path) as desk:
        aid = desk.create("alice")
        desk.write("contract.pdf")
        (desk.folder / "photos").mkdir()
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        environment = {**desk.owner.environment, "PATH": path, "ALICE": aid}
        lines = _examples(sign_command.epilog or "")
        assert len(lines) == 3
        lines.append("keystead id export alice -o alice.cesr")
        lines += _examples(verify_command.epilog or "")
        assert len(lines) == 8
        for line in lines:
            ended = subprocess.run(
                ["/bin/sh", "-c", line],
                env=environment,
                cwd=desk.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=60,
            )
            assert ended.returncode == 0, (line, ended.stderr)
        assert (desk.folder / "photos.sig").is_file()


@pytest.mark.timed
@pytest.mark.parametrize("more", [(), ("--anchor",)])
def test_signing_costs_little(tmp_path: Path, more: tuple[str, ...]) -> None:
    """With an unlocked wallet, command and signer process together take under 250 ms of CPU."""
    with unlocked(tmp_path) as desk:
        desk.create("alice")
        connection = connect(desk.owner.home)
        assert connection is not None
        with connection:
            signer, _ = peer(connection)
        costs = []
        for number in range(5):
            document = desk.write(str(number), str(number).encode())
            before = _cpu(signer)
            desk.did("sign", document, "--as", "alice", *more)
            costs.append(_cpu(signer) - before)
        assert min(costs) < 0.25


def _cpu(process: int) -> float:
    """Return the CPU seconds of a process and of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = Path(f"/proc/{process}/stat").read_text("ascii").rsplit(")", 1)[1].split()[11:13]
    return used.ru_utime + used.ru_stime + sum(map(int, times)) / _TICK


# The logs of the wallet, without its passphrase.


def test_keys_that_the_wallet_computed_are_not_believed(desk: Desk, tmp_path: Path) -> None:
    """Whoever can write the file can compute checksums, but no signature of an event."""
    wallet = make_wallet(tmp_path)
    aid = identifiers.create(wallet, "alice", Creation()).aid
    state = wallet.events.key_state(aid)
    assert state is not None
    thief = KeyPair("thief")
    keys = msgspec.structs.replace(state.establishment, signing_keys=(thief.key,))
    with wallet.sqlite.database.transaction() as connection:
        forged = rows.to_state(keys)
        query = "UPDATE establishment SET state = ?, checksum = ? WHERE aid = ?"
        connection.execute(query, (forged, rows.checksum(aid, 0, forged), aid))
    after = wallet.events.key_state(aid)
    assert after is not None
    assert after.establishment.signing_keys == (thief.key,)
    wallet.sqlite.close()
    made = thief.indexed(statement(DIGEST, EventSeal(aid, 0, state.said)), 0, None)
    signature = DocumentSignature(DIGEST, SignatureGroup(aid, 0, state.said, (made,)))
    document = desk.write("contract.pdf")
    desk.write("contract.pdf.sig", write_signature(signature))
    ran = desk.strange("verify", document, "--home", wallet.home, "--json")
    assert (ran.code, json.loads(ran.out)["fault"]) == (3, "verify.signature")


def test_all_that_the_wallet_knows_of_a_log_counts(desk: Desk, tmp_path: Path) -> None:
    """Notices of stolen keys, second events of the signer or of his delegator, and what waits."""
    wallet = make_wallet(tmp_path)
    document = desk.write("contract.pdf")
    kept, signed = bytearray(), {}

    robbed = Author("robbed")
    kept += robbed.incept().framed
    key, signed["robbed"] = robbed.state.establishment.signing_keys[0], signed_document(robbed)
    kept += robbed.rotate().framed + notice(robbed, key, 0)

    boss, clerk, late = Author("boss"), Author("clerk"), Author("late")
    kept += boss.incept().framed
    begun = clerk.incept(configuration=Configuration(delegator=boss.aid))
    signed["clerk"] = signed_document(clerk)
    twin = boss.fork()
    kept += boss.interact(begun.seal).framed + begun.framed + twin.interact(OtherData("1")).framed
    kept += late.incept(configuration=Configuration(delegator=boss.aid)).framed
    signed["late"] = signed_document(late)
    feed(wallet.events, [bytes(kept)], now=wallet.now())
    wallet.sqlite.close()

    found = {}
    for name, data in signed.items():
        desk.write("contract.pdf.sig", data)
        ran = desk.strange("verify", document, "--home", wallet.home, "--json")
        value = json.loads(ran.out)
        found[name] = (ran.code, value["standing"], value["duplicitous"], value["exposure"])
        assert ("of its delegator" in ran.err) == (name == "late")
    assert found == {
        "robbed": (3, Standing.ROTATED, False, Exposure.NOT_ANCHORED),
        "clerk": (3, Standing.CURRENT, True, Exposure.NONE),
        "late": (4, Standing.UNKNOWN_LOG, False, Exposure.NONE),
    }
