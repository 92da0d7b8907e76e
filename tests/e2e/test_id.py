"""`keystead id` as a process: what it prints, what it writes, and how it ends."""

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cli.id import identifiers
from support.commands import COMMAND, ROOT
from support.desks import Desk, unlocked
from support.machines import PHRASE, machine, terminal

DIGEST = "EDdBd3WxW6ZxIbmCUBvDk3RdKAxnn0Mn1E2y9fIFdF7H"
# Examples that ask on a terminal, where there is none here.
ASKING = ("keystead id abandon alice",)
# What names hosts that are not there: nothing is done then.
REMOTE = "https://"


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Iterator[Desk]:
    with unlocked(tmp_path) as desk:
        yield desk


@pytest.fixture(name="quiet", scope="module")
def _quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk for commands that change nothing."""
    with unlocked(tmp_path_factory.mktemp("quiet")) as desk:
        desk.create("alice")
        desk.write("notes.txt", b"nothing but notes")
        yield desk


def _value(desk: Desk, *arguments: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(desk.did("id", *arguments, "--json"))
    return value


def _refused(desk: Desk, *arguments: str) -> tuple[int, str]:
    ran = desk.run("id", *arguments)
    assert ran.out == ""
    assert "keystead: hint: " in ran.err
    found = re.search(r"\[([a-z_.]+)\]", ran.err)
    assert found is not None, ran.err
    return ran.code, found[1]


def _examples(text: str) -> list[str]:
    (listed,) = re.findall(r"Examples:\n((?:  .*(?:\n|$))+)", text)
    lines = re.findall(r"^  (\S.*)$", listed, re.MULTILINE)
    return [re.split(r"\s{2,}", line)[0] for line in lines]


def _fields(section: str) -> list[str]:
    """Return the fields that the page on JSON lists below a heading."""
    text = (ROOT / "docs" / "json.md").read_text("utf-8")
    pattern = rf"^#+ {section}\n(.*?)(?=^#|\Z)"
    (content,) = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \| .+ \|$", content, re.MULTILINE)


@pytest.mark.parametrize("name", [None, *identifiers.commands])
def test_examples_of_the_help_run(desk: Desk, name: str | None) -> None:
    """Each line of the examples does what it says, one after another."""
    command = identifiers if name is None else identifiers.commands[name]
    if name is not None and name != "create":
        desk.create("alice")
    desk.write("contract.pdf")
    desk.write_private("codes.txt", "https://w1.example one", "https://w5.example two")
    if name == "reconcile":
        shutil.copy(desk.export("alice"), desk.folder / "everything.cesr")
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    lines = _examples(command.epilog or "")
    assert lines
    for line in lines:
        ended = subprocess.run(
            ["/bin/sh", "-c", line],
            env={**desk.owner.environment, "PATH": path},
            cwd=desk.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        code = 2 if line in ASKING else 5 if REMOTE in line else 0
        assert ended.returncode == code, (line, ended.stderr)
        assert ended.stdout or code or ">" in line
    assert f"keystead id {name or 'create'}" in lines[0]


def test_json_is_documented(desk: Desk) -> None:
    """The page lists every field of each object, in the order of the output."""
    made = _value(desk, "create", "alice")
    assert _fields("keystead id create, rename --json") == list(made)
    shown = _value(desk, "show", "alice")
    assert _fields("keystead id show --json") == list(shown)
    assert _fields("Key of an identifier") == list(shown["keys"][0])
    assert _fields("Next key of an identifier") == list(shown["next_keys"][0])
    assert _fields("Event of an identifier") == list(shown["events"][0])
    listed = _value(desk, "list")
    assert _fields("keystead id list --json") == list(listed)
    assert listed["identifiers"] == [made]
    rotated = _value(desk, "rotate", "alice")
    assert _fields("keystead id rotate, anchor, abandon --json") == list(rotated)
    written = _value(desk, "export", "alice", "-o", "alice.cesr")
    assert _fields("keystead id export --json") == list(written)
    compared = _value(desk, "reconcile", "alice", "--log", "alice.cesr")
    assert _fields("keystead id reconcile --json") == list(compared)
    assert _fields("Reconciled identifier") == list(compared["reconciled"][0])
    desk.did("id", "create", "bob", "--delegator", made["aid"])
    pending = _value(desk, "show", "bob")["pending"]
    assert _fields("Pending event") == list(pending)


def test_both_names_of_the_command_are_one(desk: Desk) -> None:
    """`keystead identifier` is `keystead id`."""
    desk.create("alice")
    assert desk.did("identifier", "list") == desk.did("id", "list")


@pytest.mark.parametrize(
    ("options", "signing", "following"),
    [
        (["--keys", "3"], "2", "2"),
        (["--keys", "12", "--threshold", "11"], "b", "b"),
        (["--keys", "2", "--threshold", "1/2,1/2"], ["1/2", "1/2"], ["1/2", "1/2"]),
        (
            ["--keys", "4", "--threshold", "1/2,1/2:1,1", "--next-keys", "1"],
            [["1/2", "1/2"], ["1", "1"]],
            "1",
        ),
        (
            ["--keys", "3", "--threshold", '[{"1/2":["1/2","1/2"]},"1/2"]'],
            [{"1/2": ["1/2", "1/2"]}, "1/2"],
            [{"1/2": ["1/2", "1/2"]}, "1/2"],
        ),
        (
            ["--reserve", DIGEST, "--next-threshold", "1,1/2", "--algorithm", "p256"],
            "1",
            ["1", "1/2"],
        ),
    ],
)
def test_thresholds_on_the_command_line(
    desk: Desk, options: list[str], signing: object, following: object
) -> None:
    """Numbers are decimal there; weights, clauses and JSON come into the event as they are."""
    desk.create("alice", *options)
    value = _value(desk, "show", "alice")
    assert (value["threshold"], value["next_threshold"]) == (signing, following)
    text = desk.did("id", "show", "alice")
    desk.did("id", "rotate", "alice")
    assert _value(desk, "show", "alice")["next_threshold"] == following
    if options[0] == "--keys" and "--threshold" in options:
        told = options[options.index("--threshold") + 1]
        assert f"threshold {told}" in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["create", "alice"], "usage.exists"),
        (["create", "bob", "--threshold", "x"], "usage.argument"),
        (["create", "bob", "--threshold", "0"], "usage.argument"),
        (["create", "bob", "--threshold", "1/2,,1/2"], "usage.argument"),
        (["create", "bob", "--threshold", "[1"], "usage.argument"),
        (["create", "bob", "--keys", "0"], "usage.argument"),
        (["create", "bob", "--keys", "many"], "usage.argument"),
        (["create", "bob", "--algorithm", "rsa"], "usage.argument"),
        (["create", "bob", "--token", "none"], "usage.unknown"),
        (["create", "bob", "--reserve", "x"], "usage.argument"),
        (["create", "bob", "--delegator", "x"], "usage.argument"),
        (["create", "bob\n"], "usage.name"),
        (["create", "--", "-x"], "usage.name"),
        (["create"], "usage.argument"),
        (["show", "bob"], "usage.unknown"),
        (["show", "../alice"], "usage.unknown"),
        (["rotate", "alice", "--reserve", DIGEST, "--no-reserve"], "usage.argument"),
        (["rotate", "alice", "--token", "t", "--no-token"], "usage.argument"),
        (["rotate", "alice", "--sn", "-1"], "usage.argument"),
        (["rotate", "alice", "--sn", "F"], "usage.argument"),
        (["rotate", "alice", "--sn", "2"], "usage.argument"),
        (["rotate", "alice", "--sn", "0"], "usage.argument"),
        (["anchor", "alice"], "usage.argument"),
        (["anchor", "alice", "--digest", DIGEST[:-1]], "usage.argument"),
        (["anchor", "alice", "--file", "nothing"], "usage.file"),
        (["anchor", "alice", "--file", "."], "usage.file"),
        (["anchor", "alice", "--seal", "{"], "usage.argument"),
        (["anchor", "alice", "--seal", '{"x":1}'], "usage.argument"),
        (["anchor", "alice", "--seal", '{"d":"x"}'], "usage.argument"),
        (["anchor", "alice", "--seal", f'{{"d":"{DIGEST}","d":"{DIGEST}"}}'], "usage.argument"),
        (["anchor", "alice", "--seal", '{"i":"x"}'], "usage.argument"),
        (["abandon", "alice"], "usage.argument"),
        (["export", "alice", "--json"], "usage.argument"),
        (["export", "alice", "-o", "notes.txt"], "usage.file"),
        (["export", "alice", "-o", "."], "usage.file"),
        (["export", "alice", "-o", "nowhere/alice.cesr"], "usage.file"),
        (["reconcile", "alice"], "usage.argument"),
        (["reconcile", "alice", "--log", "nothing"], "usage.file"),
        (["reconcile", "--log", "notes.txt"], "usage.unknown"),
    ],
)
def test_wrong_use_changes_nothing(quiet: Desk, arguments: list[str], code: str) -> None:
    """Each has its code, a hint, exit code 2, and leaves everything as it was."""
    before = quiet.did("id", "list")
    exit_code, found = _refused(quiet, *arguments)
    assert (exit_code, found) == (2, code)
    assert quiet.did("id", "list") == before
    assert (quiet.folder / "notes.txt").read_bytes() == b"nothing but notes"
    assert [path.name for path in quiet.folder.iterdir()] == ["notes.txt"]


def test_a_script_can_repeat_its_commands(desk: Desk) -> None:
    """With a place each event is made once; anything else at the place is an error."""
    desk.create("alice")
    first = _value(desk, "rotate", "alice", "--sn", "1")
    again = _value(desk, "rotate", "alice", "--sn", "1")
    assert (first.pop("repeated"), again.pop("repeated")) == (False, True)
    assert first == again
    assert _refused(desk, "rotate", "alice", "--sn", "1", "--anchor", DIGEST)[1] == "usage.argument"
    for repeated in (False, True):
        done = _value(desk, "anchor", "alice", "--digest", DIGEST, "--sn", "2")
        assert (done["sn"], done["repeated"]) == ("2", repeated)
    assert _refused(desk, "rotate", "alice", "--sn", "2")[1] == "usage.argument"
    assert _refused(desk, "anchor", "alice", "--file", "alice", "--sn", "2")[1] == "usage.file"
    assert _value(desk, "show", "alice")["next_sn"] == "3"
    for repeated in (False, True):
        assert _value(desk, "abandon", "alice", "--yes")["repeated"] is repeated
    assert _refused(desk, "rotate", "alice") == (1, "keystore.state")
    value = _value(desk, "show", "alice")
    assert (value["sn"], value["next_sn"], value["state"]) == ("3", None, "abandoned")


def test_anchors_of_all_kinds_go_into_one_event(desk: Desk) -> None:
    """Digests, files and seals; the digest of a file is that of its content."""
    aid = desk.create("alice")
    path = desk.write("contract.pdf", b"content")
    seal = json.dumps({"i": aid, "s": "0", "d": aid})
    options = ["--digest", DIGEST, "--file", str(path), "--seal", seal]
    desk.did("id", "anchor", "alice", *options, "--reason", "to show them all")
    raw = desk.export("alice").read_bytes()
    assert f'"a":[{{"d":"{DIGEST}"}},{{"d":"E'.encode() in raw
    assert f'{{"i":"{aid}","s":"0","d":"{aid}"}}]'.encode() in raw
    assert _value(desk, "show", "alice")["events"][1]["anchors"] == 3


def test_an_export_is_whole_or_not_there(desk: Desk) -> None:
    """An older log is replaced; what was given out is noted only when it was written."""
    desk.create("alice")
    desk.did("id", "rotate", "alice")
    assert _refused(desk, "export", "alice", "-o", "nowhere/a.cesr")[1] == "usage.file"
    assert _value(desk, "show", "alice")["outgoing"] == ["0", "1"]
    first = _value(desk, "export", "alice", "-o", "alice.cesr")
    assert (first["messages"], first["new"]) == (2, ["0", "1"])
    desk.did("id", "rotate", "alice")
    second = _value(desk, "export", "alice", "-o", "alice.cesr")
    assert (second["messages"], second["new"]) == (3, ["2"])
    data = (desk.folder / "alice.cesr").read_bytes()
    assert len(data) == second["bytes"]
    assert desk.did("id", "export", "alice").encode() == data
    assert sorted(path.name for path in desk.folder.iterdir()) == ["alice.cesr"]
    assert _value(desk, "show", "alice")["outgoing"] == []
    assert "3 events accepted, 0 waiting" in desk.did("log", "verify", "alice.cesr")


def test_a_full_disk_leaves_the_old_export(desk: Desk) -> None:
    """Nothing is lost when the new log cannot be written."""
    desk.create("alice")
    path = desk.export("alice")
    old = path.read_bytes()
    desk.did("id", "rotate", "alice")
    ended = subprocess.run(
        [str(COMMAND), "id", "export", "alice", "-o", str(path)],
        env=desk.owner.uncovered,
        capture_output=True,
        check=False,
        timeout=60,
        # The wallet's files are written too, so the limit only has to be hit by the new log.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
    )
    assert ended.returncode != 0
    assert path.read_bytes() == old
    assert _value(desk, "show", "alice")["outgoing"] == ["1"]


def test_abandoning_asks_for_the_name(tmp_path: Path) -> None:
    """Another answer does nothing; the name itself ends the identifier."""
    mine = machine(tmp_path)
    mine.init()
    assert mine.run("unlock", phrase=PHRASE).code == 0
    try:
        assert mine.run("id", "create", "alice").code == 0
        for answer, code, state in ((b"bob\n", 2, "active"), (b"alice\n", 0, "abandoned")):
            with terminal(mine, "id", "abandon", "alice") as shown:
                os.write(shown._ours, answer)  # noqa: SLF001 - the prompt goes to stderr, a file
                ended = shown.end()
            assert ended.code == code, ended.err
            assert "nobody can ever sign for alice again" in ended.err.replace("\n", " ")
            assert f"{state} " in mine.run("id", "list").out
    finally:
        mine.run("lock")


def test_a_copied_wallet_is_reconciled_by_hand(tmp_path: Path) -> None:
    """On another machine nothing is signed before the published log was compared."""
    (tmp_path / "here").mkdir()
    with unlocked(tmp_path / "here") as desk:
        aid = desk.create("alice")
        desk.create("bob")
        desk.did("id", "rotate", "alice")
        path = desk.export("alice")
        desk.owner.run("lock")
        there = machine(tmp_path / "there")
        there.folder.mkdir()
        shutil.copytree(desk.owner.home, there.home)
        assert there.run("unlock", phrase=PHRASE).code == 0
    try:
        for command in (("rotate", "alice"), ("create", "carol"), ("abandon", "bob", "--yes")):
            ran = there.run("id", *command)
            assert (ran.code, "keystore.behind" in ran.err) == (1, True)
            assert "id reconcile" in ran.err
        assert there.run("id", "list").out.count("behind") == 2
        ran = there.run("id", "reconcile", "--log", path)
        assert (ran.code, ran.out) == (0, "alice stands at event 1: nothing was missing\n")
        assert "1 identifiers have not been compared yet: bob" in ran.err
        assert there.run("id", "rotate", aid).code == 0
        assert "keystore.behind" in there.run("id", "rotate", "bob").err
        assert there.run("id", "reconcile", "bob", "--i-accept-duplicity").code == 0
        assert there.run("id", "rotate", "bob").code == 0
    finally:
        there.run("lock")


def test_a_delegated_identifier_waits(desk: Desk) -> None:
    """It tells what to do next, and nothing of it is in force before."""
    aid = desk.create("boss")
    told = desk.did("id", "create", "site", "--delegator", aid)
    assert "next: keystead delegation request site" in told
    value = _value(desk, "show", "site")
    assert (value["state"], value["sn"], value["delegator"]) == ("waiting", None, aid)
    assert _refused(desk, "rotate", "site") == (1, "keystore.state")
    assert _refused(desk, "export", "site") == (1, "keystore.state")


def test_names_do_not_steer_the_terminal(desk: Desk) -> None:
    """The joiner inside emoji is printed as it is, so that the next command can be pasted."""
    told = desk.did("id", "create", "👩\u200d🚀 & co")
    assert "keystead id export '👩\u200d🚀 & co'" in told
    assert "👩\u200d🚀 & co" in desk.did("id", "list")
    assert "usage.name" in desk.run("id", "create", "a\x1b[31mb").err


@pytest.mark.timed
def test_commands_with_an_unlocked_wallet_are_quick(desk: Desk) -> None:
    """A command that signs takes under 250 ms of CPU in all."""
    desk.create("alice")
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        desk.did("id", "rotate", "alice")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.25


def test_the_help_takes_no_heavy_imports(desk: Desk) -> None:
    """`--help` of the group does not import what opens wallets."""
    code = (
        "import sys; from keystead.cli.id import identifiers; "
        "print([m for m in sys.modules if m.startswith('keystead.stores') or m == 'cryptography'])"
    )
    python = COMMAND.with_name("python")
    ended = subprocess.run(
        [str(python), "-c", code], env=desk.owner.environment, capture_output=True, check=True
    )
    assert ended.stdout == b"[]\n"
