"""The demonstration and the network for development, as processes."""

import json
import os
import signal
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from support.commands import COMMAND

STEPS = 10
_ONE_WITNESS = """
import sys
from pathlib import Path
from keystead.cli import demo
from keystead.services.network import NetworkPlan, WatcherPlan, WitnessPlan
plan = NetworkPlan("network", (WitnessPlan("alone", 0, 10),), (WatcherPlan("wren"),))
sys.argv = ["keystead"]
demo._play(plan, Path(sys.stdin.read()), keep=False, json_output=True)
"""


def _environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    return {**kept, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}


def test_the_story_holds_and_leaves_nothing(tmp_path: Path) -> None:
    """Every step runs real commands and verifies something; nothing is left behind."""
    done = subprocess.run(
        [str(COMMAND), "demo", "--json"],
        capture_output=True,
        env=_environment(tmp_path),
        check=False,
        timeout=250,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout)
    assert (story["ok"], story["failure"], story["folder"]) == (True, "", None)
    assert len(story["steps"]) == STEPS
    for step in story["steps"]:
        assert step["verified"], step["title"]
        assert step["commands"], step["title"]
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_ends_the_story(tmp_path: Path) -> None:
    """With one witness there are no two receipts: it ends with 1, and tells where."""
    folder = tmp_path / "stage"
    folder.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", _ONE_WITNESS],
        input=str(folder),
        capture_output=True,
        env=_environment(tmp_path),
        check=False,
        timeout=120,
        text=True,
    )
    story = json.loads(done.stdout)
    assert done.returncode != 0
    assert not story["ok"]
    assert "id create alice" in story["failure"]
    assert len(story["steps"]) == 1


def test_a_network_from_one_file(tmp_path: Path) -> None:
    """It starts, tells where its servers are, and starts again where it was."""
    example = subprocess.check_output([str(COMMAND), "network", "example"], text=True)
    plan = tomllib.loads(example)
    assert (len(plan["witness"]), len(plan["watcher"])) == (3, 1)
    file = tmp_path / "network.toml"
    file.write_text('folder = "net"\n[[witness]]\nname = "wan"\n[[watcher]]\nname = "wren"\n')
    told = [_run_network(file, _environment(tmp_path)) for _ in range(2)]
    first, again = ({one["name"]: one["aid"] for one in report["nodes"]} for report in told)
    assert first == again
    assert set(first) == {"wan", "wren"}


def _run_network(file: Path, environment: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    command = [str(COMMAND), "network", "up", str(file), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as running:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line)
            if line == "}\n":
                break
        report: dict[str, list[dict[str, str]]] = json.loads("".join(lines))
        for node in report["nodes"]:
            with urllib.request.urlopen(f"{node['url']}/readyz", timeout=10) as answer:  # noqa: S310 - of this test
                assert json.load(answer)["ok"], node
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    return report


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no plan of a network"),
        ('folder = "x"', "1 to 16 servers"),
        ('folder = "x"\n[[witness]]\nname = "../up"', "letters and digits"),
        ('folder = "x"\n[[witness]]\nname = "a"\n[[watcher]]\nname = "a"', "different names"),
        ('folder = "x"\nfoldr = "y"', "unknown field"),
        ("[[witness", "no plan of a network"),
    ],
)
def test_plans_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    """They are told before anything is made."""
    file = tmp_path / "network.toml"
    file.write_text(text)
    done = subprocess.run(
        [str(COMMAND), "network", "up", str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert list(tmp_path.iterdir()) == [file]
