"""The README is true: its examples run and print what it says."""

import re
import shlex
import subprocess
import sys

from support.commands import COMMAND, ROOT

README = (ROOT / "README.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_example_prints_what_the_readme_says() -> None:
    """The command of the first example ends with the line that is shown."""
    command = next(block for block in _blocks("sh") if block.startswith("keystead"))
    (expected,) = _blocks("text")
    words = shlex.split(command)
    done = subprocess.run(
        [str(COMMAND), *words[1:]], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout.endswith(expected)


def test_the_program_runs() -> None:
    """The Python example runs and prints a line for each identifier of the log."""
    (program,) = _blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert len(done.stdout.splitlines()) == 10


def test_every_command_of_the_table_exists() -> None:
    """The commands that the README names answer to --help."""
    named = set(re.findall(r"`keystead ([a-z ]+?)(?: [A-Z-]|`)", README))
    assert {"log verify", "inspect"} <= named
    for words in named:
        subprocess.run(
            [str(COMMAND), *words.strip().split(), "--help"], capture_output=True, check=True
        )


def test_every_link_leads_somewhere() -> None:
    """The files that the README links to exist."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists()
