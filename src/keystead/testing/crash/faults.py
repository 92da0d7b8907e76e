"""Lets each system call that writes fail, or be the last one, and looks at what is left.

strace makes a call fail by not making it: a call that reports an error after it happened is not
among these cases. A process killed on entering a call has done all calls before it. Operations
must use absolute paths: a relative one does not tell that it is under the root.
"""

import os
import re
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keystead.testing.crash.recording import escape, find_strace, run_traced, unescape
from keystead.testing.crash.workload import (
    DEADLINE,
    Tally,
    child_environment,
    examine,
    load,
    renew,
)

FAULTS = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "KILL": "signal=KILL"}
ACKNOWLEDGED = "acknowledged "  # how a line of an operation starts that tells what is durable
_CALLS = (
    "open", "openat", "creat", "write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync",
    "fdatasync", "ftruncate", "truncate", "fallocate", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat", "chmod", "fchmod",
    "fchmodat",
)  # fmt: skip
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT")
_PATH = re.compile(r"(?:\\x[0-9a-f]{2})+")
_CODES = range(6)  # of the commands
_TRIES = 3  # of a fault that hits nothing
_MISSES = 0.05  # share of injections that may hit nothing, before the result means nothing


@dataclass(frozen=True, slots=True)
class Fault:
    """One call of an operation that goes wrong.

    Attributes:
        operation: which operation.
        call: the name of the call.
        when: the how many-th call of this name it is, from the start of the process.
        target: what it is about.
        fault: one of `FAULTS`.
    """

    operation: str
    call: str
    when: int
    target: str
    fault: str

    def __str__(self) -> str:
        """Tell it in a few words."""
        return f"{self.operation}: {self.fault} in {self.call} {self.target}"


@dataclass(frozen=True, slots=True)
class Faults:
    """All faults of all operations.

    Attributes:
        name: of the workload.
        command: runs an operation; `{operation}` and `{root}` stand for what their names say.
        prepared: operation -> the folder that it starts from, and what was acknowledged there.
        faults: the cases.
    """

    name: str
    command: str
    prepared: dict[str, tuple[Path, tuple[bytes, ...]]]
    faults: tuple[Fault, ...]

    def run(self, number: int, place: Path, tally: Tally) -> None:
        """Let one call of an operation go wrong, and check.

        A fault that hit nothing is tried again: how many calls come before may depend on what else
        the machine does. What is wrong with the store counts each time, what the process told
        only the last time, for the fault may have hit the interpreter.
        """
        fault = self.faults[number]
        findings: list[str] = []
        for _ in range(_TRIES):
            struck, ending, told, left = self._try(fault, place)
            findings += left
            if struck:
                break
        else:
            tally.counts["missed"] += 1
        tally.counts[f"{fault.operation}: {fault.fault}, {ending}"] += 1
        chosen = "".join(f" --operation {one}" for one in self.prepared)
        again = f"faults --workload {self.name}{chosen} --only {number}"
        tally.findings += [
            f"{fault}: {one} (python -m keystead.testing.crash {again})" for one in told + findings
        ]

    def _try(self, fault: Fault, place: Path) -> tuple[bool, str, list[str], list[str]]:
        """Run an operation with a fault.

        Returns:
            Whether the fault hit the store, how the process ended, what a user must not see, and
            what is wrong with what is left.
        """
        source, acknowledged = self.prepared[fault.operation]
        root, log = place / "root", place / "log"
        renew(root, source)
        strace = [find_strace(), "-f", "-y", "-xx", "-s", "8", "-o", str(log)]
        what = f"inject={fault.call}:{FAULTS[fault.fault]}:when={fault.when}"
        command = _command(self.command, fault.operation, root)
        code, output, told = _run(
            [*strace, "-e", f"trace={fault.call}", "-e", what, *command],
            killing=fault.fault == "KILL",
        )
        now = [
            bytes.fromhex(line.removeprefix(ACKNOWLEDGED))
            for line in output.splitlines()
            if line.startswith(ACKNOWLEDGED)
        ]
        ending = {0: "done", -signal.SIGKILL: "killed"}.get(code, "refused")
        left = examine(load(self.name), root, [*acknowledged, *now], in_flight=ending != "done")
        return _struck(log, root), ending, told, left


def _run(command: Sequence[str], *, killing: bool) -> tuple[int, str, list[str]]:
    """Run a command; return how it ended, its output, and what a user must not see."""
    process = subprocess.Popen(  # noqa: S603 - a command of the developer
        command,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, told = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return 1, "", [f"not done after {DEADLINE} s"]
    code = process.returncode
    findings = []
    if "Traceback" in told:
        findings.append(f"it ended with a traceback:\n{told[-2000:]}")
    elif code > 0 and "error:" not in told:
        findings.append(f"it ended with {code} and told no error: {told!r}")
    elif code not in _CODES and not (code == -signal.SIGKILL and killing):
        findings.append(f"it ended with {code}: {told!r}")
    return code, output, findings


def _struck(log: Path, root: Path) -> bool:
    """Tell whether the fault hit a call on something under the root."""
    text = log.read_text("ascii")
    struck = [one for one in text.splitlines() if "(INJECTED)" in one or one.endswith("= ?")]
    return any(escape(root) in one for one in struck)


def _command(template: str, operation: str, root: Path) -> list[str]:
    return [one.format(operation=operation, root=root) for one in shlex.split(template)]


def prepare(name: str, base: Path, *, operations: Sequence[str], command: str) -> Faults:
    """List the calls of operations, each of which runs once for it.

    Args:
        name: of the workload.
        base: where to keep the folders that operations start from.
        operations: their names; all, if there are none.
        command: runs an operation.

    Raises:
        RecordingError: an operation failed without a fault.
    """
    workload = load(name)
    prepared: dict[str, tuple[Path, tuple[bytes, ...]]] = {}
    faults: list[Fault] = []
    root, log = base / "root", base / "log"
    for operation in operations or workload.operations:
        source = base / operation
        source.mkdir(mode=0o700)
        prepared[operation] = source, tuple(workload.prepare(source, operation))
        renew(root, source)
        calls = "trace=" + ",".join(f"?{call}" for call in _CALLS)
        run_traced(["-s", "8", "-e", calls, "-o", str(log)], _command(command, operation, root))
        points = _points(log.read_text("ascii"), root)
        faults += [Fault(operation, *point, fault) for point in points for fault in FAULTS]
    return Faults(name, command, prepared, tuple(faults))


def _points(log: str, root: Path) -> list[tuple[str, int, str]]:
    """Return the calls that write something under the root: name, number and target."""
    mark = escape(root)
    seen: Counter[tuple[str, str]] = Counter()
    points: dict[tuple[str, int], str] = {}
    for line in log.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pid, call, text = match.groups()
        seen[pid, call] += 1
        reads = call in ("open", "openat") and not any(flag in text for flag in _WRITING)
        if mark in text and not reads:
            paths = [unescape(one).decode(errors="replace") for one in _PATH.findall(text)]
            target = next(one for one in reversed(paths) if one.startswith(str(root)))
            points.setdefault((call, seen[pid, call]), target.removeprefix(f"{root}/"))
    return [(call, when, target) for (call, when), target in points.items()]


def enough(tally: Tally) -> list[str]:
    """Return a finding when too many faults hit nothing."""
    missed = tally.counts["missed"]
    if missed <= _MISSES * tally.counts["cases"]:
        return []
    return [f"{missed} of {tally.counts['cases']} faults hit nothing: the calls are not repeatable"]
