"""The README is true: its examples run and print what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from support.commands import COMMAND, ROOT

README = (ROOT / "README.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_prints_what_the_readme_says() -> None:
    """The command that verifies a log ends with the line that is shown."""
    command = next(block for block in _blocks("sh") if block.startswith("keystead log"))
    (expected,) = _blocks("text")
    words = shlex.split(command)
    done = subprocess.run(
        [str(COMMAND), *words[1:]], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout.endswith(expected)


def test_the_first_steps_work(tmp_path: Path) -> None:
    """The first steps lead from nothing to a verified signature."""
    (block,) = [one for one in _blocks("sh") if one.startswith("keystead init")]
    phrase = tmp_path / "phrase"
    phrase.write_text("first steps of somebody who reads on\n", "utf-8")
    phrase.chmod(0o600)
    (tmp_path / "contract.pdf").write_bytes(b"a contract")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "KEYSTEAD_HOME": str(tmp_path / "wallet"),
        "KEYSTEAD_STATE": str(tmp_path / "state"),
    }

    def run(words: list[str]) -> str:
        command = [str(COMMAND), *words]
        return subprocess.check_output(command, env=environment, cwd=tmp_path, text=True)

    steps = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    try:
        for step in steps:
            asked = step[0] in ("init", "unlock")
            said = run([*step, "--passphrase-file", str(phrase)] if asked else step)
    finally:
        run(["lock"])
    assert said.startswith("valid: ")
    assert "replaced by event 1" in said


def test_the_first_example_works() -> None:
    """The script of the first steps ends well and says so."""
    script = ROOT / "examples" / "first-wallet.sh"
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(script)], capture_output=True, check=True, text=True, env={**os.environ, "PATH": path}
    )
    assert "valid: signed by" in done.stdout
    assert done.stdout.endswith("removed now.\n")


def test_the_program_runs() -> None:
    """The Python example runs and prints a line for each identifier of the log."""
    (program,) = _blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert len(done.stdout.splitlines()) == 10


def test_every_command_of_the_table_exists() -> None:
    """The commands that the README names answer to --help."""
    rows = re.findall(r"^\| (`keystead .*?) \| ", README, re.MULTILINE)
    named = set()
    for row in rows:
        first, *others = (re.split(r" [A-Z-]", one)[0] for one in re.findall(r"`(.*?)`", row))
        words = first.split()[1:]
        named.add(tuple(words))
        group = [] if len(words) == 1 else words[:1]
        named |= {
            tuple(one.split()[1:]) if one.startswith("keystead") else (*group, one)
            for one in others
        }
    assert {("log", "verify"), ("id", "rotate"), ("lock",), ("verify",)} <= named
    for command in sorted(named):
        subprocess.run([str(COMMAND), *command, "--help"], capture_output=True, check=True)


def test_every_link_leads_somewhere() -> None:
    """The files that the README links to exist."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists()
