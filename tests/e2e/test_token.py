"""`keystead token` as a process, with the signer process, on real tokens by SoftHSM 2."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cli.token import token
from support.canary import leaks
from support.desks import Desk
from support.machines import PHRASE, machine, terminal
from support.manual import json_fields, run_examples
from support.softhsm import PIN, SoftHsm, softhsm

OFFICE = "office"


@pytest.fixture(name="hsm")
def _hsm(tmp_path: Path) -> SoftHsm:
    """Return SoftHSM with one token."""
    found = softhsm(tmp_path / "hsm")
    found.add(OFFICE)
    return found


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, hsm: SoftHsm) -> Iterator[Desk]:
    """Give an unlocked wallet that finds the token."""
    owner = machine(tmp_path / "owner", **hsm.environment)
    for folder in (owner.folder, tmp_path / "desk"):
        folder.mkdir()
    owner.init()
    assert owner.run("unlock", "--for", "1h", phrase=PHRASE).code == 0
    yield Desk(owner, tmp_path / "desk")
    owner.run("lock")


def _add(
    hsm: SoftHsm, desk: Desk, name: str = OFFICE, *, pin: bytes = PIN
) -> tuple[str | Path, ...]:
    given = desk.owner.file(pin.decode(), "pin.txt")
    place = ("--module", hsm.module, "--token", OFFICE, "--pin-file", given)
    return ("token", "add", name, *place)


def _value(desk: Desk, *arguments: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did(*arguments, "--json"))
    return value


def _refused(desk: Desk, *arguments: str | Path) -> tuple[int, str]:
    ran = desk.run(*arguments)
    assert ran.out == ""
    found = re.search(r"\[([a-z_.]+)\]", ran.err)
    assert found is not None, ran.err
    return ran.code, found[1]


@pytest.mark.parametrize("name", [None, *token.commands])
def test_examples_of_the_help_run(desk: Desk, hsm: SoftHsm, name: str | None) -> None:
    """Each line of the examples does what it says; the PIN is asked for on a terminal only."""
    (desk.folder / "FILE").write_bytes(PIN)
    if name != "add":
        desk.did(*_add(hsm, desk))
    module = "/usr/lib/softhsm/libsofthsm2.so"
    if hsm.module != module:
        pytest.skip(f"the examples name the place of Debian, {module}")
    asking = f"keystead token add office --module {module} --token office"
    command = token if name is None else token.commands[name]
    run_examples(desk, command, asking=(asking,))


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_keys_are_made_and_used_in_the_token(desk: Desk, hsm: SoftHsm, algorithm: str) -> None:
    """By the signer process: made, rotated, signed with; and a stranger accepts the log."""
    said = desk.did(*_add(hsm, desk))
    assert "the wallet knows the token office: ed25519, p256, secp256k1" in said
    desk.create("alice", "--token", OFFICE, "--algorithm", algorithm)
    desk.did("id", "rotate", "alice")
    desk.did("id", "anchor", "alice", "--digest", "E" + "A" * 43)
    desk.did("sign", desk.write("contract.pdf"), "--as", "alice")
    assert desk.answer(desk.folder / "contract.pdf", desk.export("alice"))["valid"] is True
    keys = _value(desk, "key", "list", "--identifier", "alice", "--all")["keys"]
    assert {one["method"] for one in keys} == {"token"}
    desk.did("key", "shred", keys[0]["id"], "--yes")
    desk.did("id", "rotate", "alice")
    assert _value(desk, "token", "list")["tokens"][0]["keys"] == 2
    assert desk.run("doctor").code == 0


def test_json_is_documented(desk: Desk, hsm: SoftHsm) -> None:
    """The page lists every field of each object, in the order of the output."""
    added = _value(desk, *_add(hsm, desk))
    assert json_fields("keystead token add --json") == list(added)
    assert (added["known"], added["present"]) == (False, True)
    assert _value(desk, *_add(hsm, desk))["known"] is True
    listed = _value(desk, "token", "list")
    assert json_fields("keystead token list --json") == list(listed)
    assert json_fields("Token") == list(listed["tokens"][0])
    removed = _value(desk, "token", "remove", OFFICE)
    assert json_fields("keystead token remove --json") == list(removed)
    assert desk.did("token", "list").startswith("there are no tokens")


def test_a_token_that_is_away_loses_nothing(desk: Desk, hsm: SoftHsm) -> None:
    """It is told; when it is back the rotation is that which the log waits for."""
    desk.did(*_add(hsm, desk))
    desk.create("alice", "--token", OFFICE)
    following = _value(desk, "id", "show", "alice")["next_keys"][0]
    (folder,) = (hsm.folder / "tokens").iterdir()
    folder.rename(hsm.folder / "away")
    assert "office: not there" in desk.did("token", "list")
    for arguments in (
        ("id", "rotate", "alice"),
        ("id", "create", "bob", "--token", OFFICE),
        _add(hsm, desk),
    ):
        assert _refused(desk, *arguments) == (1, "keystore.token")
    (hsm.folder / "away").rename(folder)
    desk.did("id", "rotate", "alice")
    shown = _value(desk, "id", "show", "alice")
    assert shown["sn"] == "1"
    listed = _value(desk, "key", "list", "--state", "active")["keys"]
    assert [one["id"] for one in listed if one["name"]] == [following["id"]]


def test_a_wrong_pin_is_not_kept(desk: Desk, hsm: SoftHsm) -> None:
    """It is tried once when it is given, and told."""
    assert _refused(desk, *_add(hsm, desk, pin=b"0000")) == (1, "keystore.token_pin")
    assert _value(desk, "token", "list") == {"tokens": []}
    desk.did(*_add(hsm, desk))


def test_a_missing_mechanism_is_told(desk: Desk, hsm: SoftHsm) -> None:
    """The other algorithm works, and the list tells which there are."""
    hsm.configure(without="CKM_EDDSA,CKM_EC_EDWARDS_KEY_PAIR_GEN")
    said = desk.did(*_add(hsm, desk))
    assert "next: keystead id create NAME --token office --algorithm p256" in said
    assert "there, can do p256, secp256k1" in desk.did("token", "list")
    create = ("id", "create", "alice", "--token", OFFICE)
    assert _refused(desk, *create) == (1, "keystore.mechanism")
    desk.create("alice", "--token", OFFICE, "--algorithm", "p256")
    desk.did("id", "rotate", "alice")


def test_a_token_that_is_needed_stays(desk: Desk, hsm: SoftHsm) -> None:
    """Until its keys were rotated away."""
    desk.did(*_add(hsm, desk))
    desk.create("alice", "--token", OFFICE)
    assert _refused(desk, "token", "remove", OFFICE) == (1, "keystore.state")
    desk.did("id", "rotate", "alice", "--no-token")
    desk.did("id", "rotate", "alice")
    desk.did("token", "remove", OFFICE)
    assert _refused(desk, "token", "remove", OFFICE) == (2, "usage.unknown")


def test_wrong_names_and_places_are_told(desk: Desk, hsm: SoftHsm) -> None:
    """A label that no token has, a module that is none, a name that is taken."""
    hsm.add("cellar")
    desk.did(*_add(hsm, desk))
    given = ("--pin-file", desk.owner.file(PIN.decode(), "pin.txt"))
    module = ("--module", hsm.module)
    assert _refused(desk, "token", "add", "x", *module, "--token", "attic", *given) == (
        1,
        "keystore.token",
    )
    assert _refused(
        desk, "token", "add", "x", "--module", "/etc/hostname", "--token", OFFICE, *given
    ) == (1, "keystore.token")
    assert _refused(desk, "token", "add", OFFICE, *module, "--token", "cellar", *given) == (
        2,
        "usage.exists",
    )


def test_two_tokens_with_one_label_are_told_apart(desk: Desk, hsm: SoftHsm) -> None:
    """By their serial numbers, which the hint names."""
    hsm.add(OFFICE)
    ran = desk.run(*_add(hsm, desk))
    assert ran.code == 1
    found = re.search(r"--serial (\w+)", ran.err)
    assert found is not None
    desk.did(*_add(hsm, desk), "--serial", found[1])
    desk.create("alice", "--token", OFFICE)
    desk.did("id", "rotate", "alice")


def test_a_pin_is_nowhere(desk: Desk, hsm: SoftHsm) -> None:
    """Neither printed, right or wrong, nor in any file of the wallet."""
    wrong = b"8462-canary-wrong"
    ran = [desk.run(*_add(hsm, desk, pin=pin)) for pin in (wrong, PIN)]
    (desk.owner.folder / "given" / "pin.txt").unlink()
    with terminal(
        desk.owner, "token", "add", "again", "--module", hsm.module, "--token", OFFICE
    ) as asked:
        asked.answer(b"PIN of the token office: ", PIN + b"\n")
        ran.append(asked.end())
        shown = asked.shown
    assert [one.code for one in ran] == [1, 0, 0]
    desk.create("alice", "--token", OFFICE)
    printed = [shown, *((one.out + one.err).encode() for one in ran)]
    folders = [desk.owner.home, desk.owner.folder / "state"]
    assert leaks({"PIN": PIN, "wrong": wrong}, folders=folders, outputs=printed) == []


def test_a_locked_wallet_signs_with_a_token_too(desk: Desk, hsm: SoftHsm) -> None:
    """In the command itself, after the passphrase."""
    desk.did(*_add(hsm, desk))
    desk.owner.run("lock")
    made = desk.owner.run("id", "create", "alice", "--token", OFFICE, phrase=PHRASE)
    assert made.code == 0, made.err
    assert desk.owner.run("id", "rotate", "alice", phrase=PHRASE).code == 0
