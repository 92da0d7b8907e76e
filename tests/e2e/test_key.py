"""`keystead key` as a process: what it prints, what it asks, and how it ends."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cesr import primitives
from keystead.cesr.keys import make_key
from keystead.cli.key import key
from keystead.keri.routed import COMPROMISE_ROUTE
from keystead.owner import life
from keystead.suites import Suite, public_key
from support.canary import leaks
from support.desks import Desk, unlocked
from support.machines import PHRASE, terminal
from support.manual import json_fields, run_examples

# What the example of `key import` is about.
SEED = primitives.parse("AFqhEva860YOVtUG9t1NJjlzd1ARzVutsHnHYop1PJ65").raw
SEEDS = {Suite.ED25519: "A", Suite.SECP256K1: "J", Suite.SECP256R1: "Q"}
ASKING = (
    'keystead key compromise master.0 --reason "the paper was stolen"',
    "keystead key shred master.0",
    "keystead key import --public DGnE1jSF2Yk0dobWJhRNm_no6JEbraoHXmNbYOAVvVcO --label cold",
)
# Ends the process between the erasure of a key and the overwriting of its bytes.
DIES = """
import os, sys
from keystead.cli.main import main
from keystead.owner import shredding
shredding.finish_scrub = lambda _: os._exit(9)
sys.argv = ["keystead", *sys.argv[1:]]
main()
"""


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Iterator[Desk]:
    with unlocked(tmp_path) as desk:
        desk.create("alice")
        yield desk


def _value(desk: Desk, *arguments: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did("key", *arguments, "--json"))
    return value


def _refused(desk: Desk, *arguments: str | Path) -> tuple[int, str]:
    ran = desk.run("key", *arguments)
    assert ran.out == ""
    found = re.search(r"\[([a-z_.]+)\]", ran.err)
    assert found is not None, ran.err
    return ran.code, found[1]


def _keys(desk: Desk, name: str = "alice") -> list[str]:
    """Return the ids of the keys of an identifier, the first one first."""
    found = _value(desk, "list", "--identifier", name, "--all")["keys"]
    return [one["id"] for one in found]


def _public(suite: Suite = Suite.ED25519) -> str:
    return make_key(suite, public_key(suite, SEED)).text


def _seed_file(desk: Desk, text: str = "") -> Path:
    return desk.owner.file(text or primitives.make("A", SEED).text, "seed.txt")


@pytest.mark.parametrize("name", [None, *key.commands])
def test_examples_of_the_help_run(desk: Desk, name: str | None) -> None:
    """Each line of the examples does what it says, one after another."""
    command = key if name is None else key.commands[name]
    if "compromised" in (command.epilog or ""):
        desk.did("key", "compromise", "wallet.passphrase", "--yes")
    (desk.folder / "FILE").write_text(primitives.make("A", SEED).text)
    run_examples(desk, command, asking=ASKING)


def test_json_is_documented(desk: Desk) -> None:
    """The page lists every field of each object, in the order of the output."""
    desk.did("id", "rotate", "alice")
    old = _keys(desk)[0]
    listed = _value(desk, "list")
    assert json_fields("keystead key list --json") == list(listed)
    assert json_fields("Key of the inventory") == list(listed["keys"][0])
    shown = _value(desk, "show", old)
    assert json_fields("keystead key show --json") == list(shown)
    assert json_fields("Step of a key") == list(shown["history"][0])
    impact = _value(desk, "impact", old)
    assert json_fields("keystead key impact --json") == list(impact)
    assert json_fields("Affected identifier") == list(impact["identifiers"][0])
    assert json_fields("Affected event") == list(impact["events"][0])
    marked = _value(desk, "compromise", old, "--yes")
    assert json_fields("keystead key compromise --json") == list(marked)
    assert marked["impact"] == impact
    shredded = _value(desk, "shred", old, "--yes")
    assert json_fields("keystead key shred --json") == list(shredded)
    assert shredded == {
        "shredded": [{"id": old, "state": "destroyed-compromised"}],
        "overwritten": True,
    }
    retired = _value(desk, "retire", "master.1")
    assert json_fields("keystead key retire --json") == list(retired)
    brought = _value(desk, "import", "--public", _public(), "--seed-file", _seed_file(desk))
    assert json_fields("keystead key import --json") == list(brought)


def test_the_list_shows_what_matters_now(desk: Desk) -> None:
    """Keys of the wallet, those that wait or are in use; with --all also those of before."""
    desk.did("id", "rotate", "alice")
    lines = desk.did("key", "list").splitlines()
    assert [line.split()[1] for line in lines] == ["active"] * 4 + ["pre-active"]
    assert [line.split()[-1] for line in lines][-2:] == ["alice", "alice"]
    assert len(desk.did("key", "list", "--all").splitlines()) == 6
    (old,) = desk.did("key", "list", "--state", "deactivated").splitlines()
    assert old.startswith(_keys(desk)[0])
    assert desk.did("key", "list", "--state", "archived") == "there are no such keys\n"
    assert _refused(desk, "list", "--identifier", "bob") == (2, "usage.unknown")


def test_a_key_is_shown_with_its_history(desk: Desk) -> None:
    """What it is for, where it is found, what became of it and why; no secret."""
    desk.did("id", "rotate", "alice", "--reason", "spring cleaning")
    old = _keys(desk)[0]
    shown = desk.did("key", "show", old[:10])
    assert f"key {old}" in shown
    assert re.search(r"found at: +derived:0/0/sign\.0/0", shown)
    assert "active -> deactivated; by " in shown
    assert "because: spring cleaning; proved by E" in shown
    assert re.search(r"uses now: +none", shown)
    assert "encrypts the records of one wallet" in desk.did("key", "show", "wallet.data")
    assert _refused(desk, "show", "wallet") == (2, "usage.unknown")


def test_impact_is_told_in_plain_words(desk: Desk) -> None:
    """Sign, or take away; nothing is changed."""
    current, following = _keys(desk)
    before = desk.did("key", "list", "--all")
    assert "a thief can sign as alice, until" in desk.did("key", "impact", current)
    assert "a thief can take alice away for good" in desk.did("key", "impact", following)
    whole = desk.did("key", "impact", "wallet.data")
    assert "a thief can sign as alice, and take it away" in whole
    assert "1 key wrapped with it\n    master.0" in whole
    assert desk.did("key", "list", "--all") == before


def test_a_stolen_laptop_from_the_first_fright_to_the_end(desk: Desk) -> None:
    """Marked, rotated, told: a stranger with the log sees from where on not to trust the key."""
    desk.did("id", "anchor", "alice", "--file", desk.write("a.txt"))
    current = _keys(desk)[0]
    said = desk.did("key", "compromise", current, "--since", "1", "--yes", "--reason", "laptop")
    assert "1 key marked as compromised" in said
    assert "next: rotate alice at once: keystead id rotate alice" in said
    assert desk.run("id", "anchor", "alice", "--digest", "E" + "A" * 43).code == 1
    desk.did("id", "rotate", "alice")
    log = desk.export("alice").read_bytes()
    assert b"laptop" in log
    assert current in desk.did("key", "list", "--state", "compromised")


def test_a_stolen_next_key_takes_two_rotations(desk: Desk) -> None:
    """The command says so."""
    following = _keys(desk)[1]
    said = desk.did("key", "compromise", following, "--yes")
    assert "next: rotate alice twice at once" in said
    desk.did("id", "rotate", "alice")
    desk.did("id", "rotate", "alice")
    assert desk.export("alice").read_bytes().count(COMPROMISE_ROUTE.encode()) == 1


def test_nothing_is_done_without_a_yes(desk: Desk) -> None:
    """On a terminal an answer is awaited, elsewhere --yes is."""
    desk.did("id", "rotate", "alice")
    old = _keys(desk)[0]
    for command in ("compromise", "shred"):
        assert _refused(desk, command, old) == (2, "usage.argument")
        with terminal(desk.owner, "key", command, old) as asked:
            asked.answer(b"", b"n\n")
            assert asked.end().code == 2
    assert [one["state"] for one in _value(desk, "list", "--all")["keys"]].count("deactivated") == 1
    with terminal(desk.owner, "key", "shred", old) as asked:
        asked.answer(b"", b"y\n")
        ended = asked.end()
    assert ended.code == 0
    assert f"{old} is destroyed" in ended.out


def test_a_shredded_key_leaves_a_tombstone(desk: Desk) -> None:
    """What goes along is listed before, copies elsewhere are told of, the identifier goes on."""
    for _ in range(3):
        desk.did("id", "rotate", "alice")
    keys = _keys(desk)
    ran = desk.run("key", "shred", keys[1], "--yes")
    assert ran.code == 0
    assert "this erases 2 keys for good:" in ran.err
    assert keys[0] in ran.err
    assert "seeds on paper are not reached" in ran.err
    assert "the private half is not here" in desk.did("key", "show", keys[0])
    assert _refused(desk, "shred", keys[0], "--yes") == (1, "keystore.gone")
    assert _refused(desk, "shred", keys[-1], "--yes") == (1, "keystore.state")
    assert _refused(desk, "shred", "wallet.data", "--yes") == (1, "keystore.role")
    desk.did("id", "rotate", "alice")
    assert desk.run("doctor").code == 0


def test_a_shredding_that_was_cut_off_is_finished_by_the_next_command(desk: Desk) -> None:
    """Whichever it is."""
    desk.did("id", "rotate", "alice")
    died = subprocess.run(
        [sys.executable, "-c", DIES, "key", "shred", _keys(desk)[0], "--yes"],
        env=desk.owner.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert died.returncode == 9, died.stderr
    with desk.wallet() as wallet:
        assert wallet.state().scrub is True
    desk.did("id", "list")
    with desk.wallet() as wallet:
        assert wallet.state().scrub is False


@pytest.mark.parametrize("suite", list(SEEDS))
def test_an_imported_key_is_used_by_one_identifier(desk: Desk, suite: Suite) -> None:
    """From its seed to a rotation that it signs."""
    text = primitives.make(SEEDS[suite], SEED).text
    given = ("--seed-file", _seed_file(desk, text))
    brought = _value(desk, "import", "--public", _public(suite), *given)["id"]
    rotation = ("id", "rotate", "alice", "--reserve", brought, "--next-threshold", "1,1")
    desk.did(*rotation)
    assert desk.create("bob")
    refused = desk.run("id", "rotate", "bob", *rotation[3:])
    assert refused.code == 2
    assert "[usage.argument]" in refused.err
    desk.did("id", "rotate", "alice", "--next-threshold", "1")
    assert _public(suite) in desk.did("log", "verify", desk.export("alice"))
    desk.did("id", "anchor", "alice", "--digest", "E" + "A" * 43)
    assert _value(desk, "show", _public(suite))["name"] == "alice"


def test_a_seed_is_in_nothing_that_is_printed_or_kept(desk: Desk) -> None:
    """Neither when it is taken nor when it is refused."""
    text, other = primitives.make("A", SEED).text, "B" + "x" * 43
    wrong = primitives.make("A", SEED[::-1]).text
    ran = [
        desk.run("key", "import", "--public", _public(), "--seed-file", _seed_file(desk, given))
        for given in (wrong, other, primitives.make("J", SEED).text, "A", text, text)
    ]
    assert [one.code for one in ran] == [1, 2, 1, 2, 0, 2]
    (desk.owner.folder / "given" / "seed.txt").unlink()
    printed = [(one.out + one.err).encode() for one in ran]
    folders = [desk.owner.home, desk.owner.folder / "state"]
    secrets = {
        "raw seed": SEED,
        "seed text": text[4:].encode(),
        "no seed": other.encode(),
        "wrong": wrong[4:].encode(),
    }
    assert leaks(secrets, folders=folders, outputs=printed) == []


def test_a_seed_is_asked_for(desk: Desk) -> None:
    """On the terminal, which does not show it."""
    text = primitives.make("A", SEED).text.encode()
    with terminal(desk.owner, "key", "import", "--public", _public(), "--label", "cold") as asked:
        asked.answer(b"Seed of the key: ", text + b"\n")
        ended = asked.end()
    assert ended.code == 0, ended.err
    assert text not in asked.shown
    assert _value(desk, "show", "cold")["public_key"] == _public()


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--state", "sleeping"),
        ("show",),
        ("compromise", "alice", "--since", "x", "--yes"),
        ("compromise", "master.0", "--since", "0", "--yes"),
        ("retire", "none of these"),
        ("import", "--public", "no key", "--seed-fd", "0"),
        ("import", "--seed-fd", "0"),
    ],
)
def test_wrong_usage_is_told(desk: Desk, arguments: tuple[str, ...]) -> None:
    """With exit code 2, and nothing on standard output."""
    assert _refused(desk, *arguments)[0] == 2


def test_names_cannot_steer_the_terminal(desk: Desk) -> None:
    """What came from outside is escaped where it is shown."""
    evil = "\x1b[31mred"
    shown = desk.run("key", "show", evil)
    assert "\x1b" not in shown.err
    assert r"\x1b[31mred" in shown.err


def test_a_locked_wallet_takes_the_passphrase(desk: Desk) -> None:
    """Every command can be given it."""
    desk.owner.run("lock")
    ran = desk.owner.run("key", "list", phrase=PHRASE)
    assert ran.code == 0
    assert "wallet.data" in ran.out
    assert desk.run("key", "list").code == 2


def test_ids_are_found_by_their_beginning() -> None:
    """The help says how many characters that takes."""
    assert f"{life.SHORTEST_BEGINNING} or more characters" in (key.epilog or "")
