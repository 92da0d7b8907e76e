"""What the manual tells of the command: examples of its help, fields of its JSON output."""

import os
import re
import subprocess
from collections.abc import Collection, Mapping
from types import MappingProxyType

import click

from support.commands import COMMAND, ROOT
from support.desks import Desk


def examples(command: click.Command) -> list[str]:
    """Return the lines of the examples in the help of a command, without what is said of them."""
    (listed,) = re.findall(r"Examples:\n((?:  .*(?:\n|$))+)", command.epilog or "")
    lines = re.findall(r"^  (\S.*)$", listed, re.MULTILINE)
    return [re.split(r"\s{2,}", line)[0] for line in lines]


def run_examples(
    desk: Desk,
    command: click.Command,
    *,
    asking: Collection[str] = (),
    instead: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run the examples of a command by a shell, one after another.

    Args:
        desk: where.
        command: whose.
        asking: those that ask on a terminal, which is not there, so that they are refused.
        instead: what stands for something in the examples, such as HOST -> what is meant here.
    """
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    lines = examples(command)
    assert lines
    for shown in lines:
        line = shown
        for word, meant in instead.items():
            line = line.replace(word, meant)
        ended = subprocess.run(
            ["/bin/sh", "-c", line],
            env={**desk.owner.environment, "PATH": path},
            cwd=desk.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
            start_new_session=True,
        )
        assert ended.returncode == (2 if line in asking else 0), (line, ended.stderr)
        assert ended.stdout or line in asking or ">" in line, line


def json_fields(section: str) -> list[str]:
    """Return the fields that the page on JSON lists below a heading."""
    text = (ROOT / "docs" / "json.md").read_text("utf-8")
    pattern = rf"^#+ {section}\n(.*?)(?=^#|\Z)"
    (content,) = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \| .+ \|$", content, re.MULTILINE)
