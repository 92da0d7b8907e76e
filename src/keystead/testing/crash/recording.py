"""Records what a process does to the files under a folder, as strace sees it.

Everything that could change a file unseen stops the recording: a mapping that is shared and
writable (but for SQLite's `-shm`, which no crash preserves), copies within the kernel, links.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from keystead.testing.crash.workload import child_environment

ROOT_NODE = 0
# A question mark: not every processor has the older calls.
_FOLLOWED = (
    "?open,openat,?creat,read,readv,write,pwrite64,writev,pwritev,pwritev2,lseek,close,"
    "?dup,?dup2,dup3,fcntl,ftruncate,truncate,fallocate,?rename,?renameat,renameat2,?unlink,"
    "unlinkat,?rmdir,?mkdir,mkdirat,?chmod,fchmod,fchmodat,fsync,fdatasync,sync,syncfs,?link,"
    "linkat,chdir,fchdir,umask,clone,?clone3,?fork,?vfork,mmap"
)
_REFUSED = "?symlink,symlinkat,mknodat,sendfile,copy_file_range,splice"
_LONGEST = 16 << 20  # bytes of one write
_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)\b.*")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"(?:AT_FDCWD|(-?\d+))<((?:\\x[0-9a-f]{2})*)>")
_CUT = "<unfinished ...>"


class RecordingError(Exception):
    """The process could not be followed."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written to a file."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A file cut or extended."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Protect:
    """New permission bits of a file or folder."""

    node: int
    mode: int


@dataclass(frozen=True, slots=True)
class Entries:
    """A change of folders that happens as a whole: (folder, name, what is there now)."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync of a file or folder, which covers what the log held before a position."""

    node: int
    covers: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the process told the world."""

    text: bytes


Step: TypeAlias = Write | Resize | Protect | Entries | Sync | Acknowledged


@dataclass(slots=True)
class Node:
    """A file or folder, as it first was.

    Attributes:
        mode: permission bits.
        data: the content of a file; none for a folder.
        entries: what a folder holds.
    """

    mode: int
    data: bytes | None = None
    entries: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """Files as they were, on a disk that had settled, and what was done to them since.

    Attributes:
        nodes: all files and folders there ever were.
        steps: what was done, in order.
    """

    nodes: list[Node] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def record(command: Sequence[str], root: Path, acknowledgements: Path) -> Recording:
    """Run a command that acknowledges by writing to a file, and record what it does in a folder.

    Raises:
        RecordingError: the command failed, or did what cannot be followed.
    """
    trace = acknowledgements.with_suffix(".trace")
    parser = _Parser(root, acknowledgements)
    calls = f"trace={_FOLLOWED},{_REFUSED}"
    options = ["--seccomp-bpf", "-s", str(_LONGEST), "-e", calls, "-e", "raw=read,readv"]
    run_traced([*options, "-e", "signal=none", "-o", str(trace)], command)
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            parser.feed(line.rstrip("\n"))
    trace.unlink()
    return parser.recording


def run_traced(options: Sequence[str], command: Sequence[str]) -> None:
    """Run a command under strace.

    Raises:
        RecordingError: it did not end with 0.
    """
    strace = find_strace()
    done = subprocess.run(  # noqa: S603 - a command of the developer
        [strace, "-f", "-y", "-xx", *options, *command],
        env=child_environment(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        told = done.stderr.decode(errors="replace")[-2000:]
        raise RecordingError(f"{command} ended with {done.returncode}: {told}")


def find_strace() -> str:
    """Return the path of strace.

    Raises:
        RecordingError: it is not there.
    """
    path = shutil.which("strace")
    if path is None:
        raise RecordingError("strace is not installed")
    return path


def _number(text: str) -> int:
    return int(text, 16 if text.startswith("0x") else 10)


def unescape(text: str) -> bytes:
    """Return the bytes that strace printed as hex."""
    return bytes.fromhex(text.replace("\\x", ""))


def escape(path: Path) -> str:
    """Return a path as strace prints it."""
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(path))


@dataclass(slots=True)
class _Process:
    """What a process stands in and has open."""

    folder: Path
    files: dict[int, "_Open"] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """An open file: what processes share after a fork or a dup."""

    node: int | None  # none: the file of acknowledgements
    offset: int = 0
    append: bool = False
    synced: bool = False


class _Parser:
    """Turns lines of strace into steps."""

    def __init__(self, root: Path, acknowledgements: Path) -> None:
        self.recording = Recording()
        self._root = root
        self._mark = escape(root)
        self._told = acknowledgements
        self._sizes: dict[int, int] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._modes = os.umask(0)
        os.umask(self._modes)
        self._processes: dict[str, _Process] = {}
        self._forking: tuple[str, bool] | None = None
        self._cut: dict[str, tuple[str, int]] = {}
        self._load(root)

    def _load(self, path: Path) -> int:
        """Add a file or folder that is there already."""
        number = len(self.recording.nodes)
        node = Node(stat.S_IMODE(path.stat().st_mode))
        self.recording.nodes.append(node)
        if path.is_dir():
            for child in sorted(path.iterdir()):
                node.entries[child.name] = self._load(child)
        else:
            node.data = path.read_bytes()
            self._sizes[number] = len(node.data)
        self._entries[number] = dict(node.entries)
        return number

    def feed(self, line: str) -> None:
        """Take one line of the trace.

        Raises:
            RecordingError: it tells of something that cannot be followed.
        """
        match = _LINE.fullmatch(line)
        if match is None:
            raise RecordingError(f"strace wrote {line[:200]!r}")
        pid, text = match.groups()
        covers = len(self.recording.steps)
        if text.startswith(("clone", "fork(", "vfork(")):
            self._forking = (pid, "CLONE_FILES" in text)
        if text.endswith(_CUT):
            self._cut[pid] = (text.removesuffix(_CUT), covers)
            return
        if resumed := _RESUMED.fullmatch(text):
            before, covers = self._cut.pop(pid)
            text = before + resumed[1]
        call = _CALL.fullmatch(text)
        if call is not None and not call[3].startswith("-"):
            self._follow(pid, call, covers)

    def _follow(self, pid: str, call: re.Match[str], covers: int) -> None:
        name, text, result = call[1], call[2], _number(call[3])
        arguments = text.split(", ")
        if name in ("fsync", "fdatasync"):
            opened = self._file(pid, arguments[0])
            if opened is not None and opened.node is not None:
                self._step(Sync(opened.node, covers))
        elif name in ("sync", "syncfs"):
            for node in range(len(self.recording.nodes)):
                self._step(Sync(node, covers))
        elif name in _METHODS:
            _METHODS[name](self, pid, arguments, result)
        elif name in _REFUSED.replace("?", "").split(",") and (
            self._mark in text or any(map(self._ours, self._paths(pid, arguments)))
        ):
            raise RecordingError(f"cannot follow {name}")

    def _step(self, step: Step) -> None:
        self.recording.steps.append(step)

    def _process(self, pid: str) -> _Process:
        """Return a process; a new one is like the one that forked last, or a thread of it."""
        if pid not in self._processes:
            process = _Process(Path.cwd())
            if self._forking is not None:
                parent, shared = self._forking
                process = self._process(parent)
                if not shared:
                    process = _Process(process.folder, dict(process.files))
            self._processes[pid] = process
        return self._processes[pid]

    def _ours(self, path: Path) -> bool:
        return path == self._told or path.is_relative_to(self._root)

    def _file(self, pid: str, argument: str) -> _Open | None:
        """Return the open file that a descriptor stands for, when it is one of ours."""
        match = _DESCRIPTOR.match(argument)
        if match is None or not self._ours(Path(os.fsdecode(unescape(match[2])))):
            return None
        return self._process(pid).files[int(match[1])]

    def _paths(self, pid: str, arguments: list[str]) -> list[Path]:
        """Return the paths in the arguments, each from the folder that comes before it."""
        paths = []
        base = self._process(pid).folder
        for argument in arguments:
            if folder := _DESCRIPTOR.match(argument):
                base = Path(os.fsdecode(unescape(folder[2])))
            elif text := _TEXT.match(argument):
                path = base / os.fsdecode(unescape(text[1]))
                paths.append(Path(os.path.normpath(path)))
        return paths

    def _find(self, path: Path) -> tuple[int, str, int | None]:
        """Return the folder of a path, its name there and what it names."""
        folder, name, node = ROOT_NODE, "", ROOT_NODE
        at: int | None = node
        for part in path.relative_to(self._root).parts:
            if at is None:
                raise RecordingError(f"{path} was made without being seen")
            folder, name = at, part
            at = self._entries[folder].get(part)
        return folder, name, at

    def _make(self, path: Path, mode: int, data: bytes | None) -> int:
        number = len(self.recording.nodes)
        self.recording.nodes.append(Node(mode & ~self._modes, data))
        self._sizes[number] = 0
        self._entries[number] = {}
        self._change((path, number))
        return number

    def _change(self, *changes: tuple[Path, int | None]) -> None:
        steps: list[tuple[int, str, int | None]] = []
        for path, node in changes:
            folder, name, _ = self._find(path)
            self._entries[folder].pop(name, None)
            if node is not None:
                self._entries[folder][name] = node
            steps.append((folder, name, node))
        self._step(Entries(tuple(steps)))

    def open(self, pid: str, arguments: list[str], result: int) -> None:
        """Follow the opening of a file, which may make it or empty it."""
        (path,) = self._paths(pid, arguments)
        if not arguments[0].startswith('"'):
            del arguments[0]
        flags = set(arguments[1].split("|"))
        self._process(pid).files.pop(result, None)
        if not self._ours(path):
            return
        opened = _Open(None, append="O_APPEND" in flags, synced=bool(flags & {"O_SYNC", "O_DSYNC"}))
        self._process(pid).files[result] = opened
        if path == self._told:
            return
        if "O_TMPFILE" in flags:
            raise RecordingError("cannot follow a file without a name")
        opened.node = self._find(path)[2]
        if opened.node is None:
            opened.node = self._make(path, int(arguments[2], 8), b"")
        elif "O_TRUNC" in flags:
            self._resize(opened.node, 0)

    def write(self, pid: str, arguments: list[str], result: int) -> None:
        """Follow a write at where the file stands."""
        if (opened := self._file(pid, arguments[0])) is None:
            return
        data = self._data(arguments, result)
        if opened.node is None:
            self._step(Acknowledged(data))
            return
        offset = self._sizes[opened.node] if opened.append else opened.offset
        opened.offset = offset + result
        self._write(opened, offset, data)

    def write_at(self, pid: str, arguments: list[str], result: int) -> None:
        """Follow a write at an offset."""
        if (opened := self._file(pid, arguments[0])) is None or opened.node is None:
            return
        offset = self._sizes[opened.node] if opened.append else int(arguments[-1])
        self._write(opened, offset, self._data(arguments, result))

    def _data(self, arguments: list[str], result: int) -> bytes:
        texts = [match for one in arguments if (match := _TEXT.search(one))]
        if any(match[2] for match in texts):
            raise RecordingError(f"a write is longer than {_LONGEST} bytes")
        return b"".join(unescape(match[1]) for match in texts)[:result]

    def _write(self, opened: _Open, offset: int, data: bytes) -> None:
        node = opened.node or ROOT_NODE
        self._sizes[node] = max(self._sizes[node], offset + len(data))
        self._step(Write(node, offset, data))
        if opened.synced:
            self._step(Sync(node, len(self.recording.steps)))

    def read(self, pid: str, arguments: list[str], result: int) -> None:
        """Follow a read, which moves where the file stands."""
        if opened := self._process(pid).files.get(_number(arguments[0])):
            opened.offset += result

    def seek(self, pid: str, arguments: list[str], result: int) -> None:
        """Follow a seek."""
        if opened := self._file(pid, arguments[0]):
            opened.offset = result

    def close(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow the end of a descriptor."""
        if match := _DESCRIPTOR.match(arguments[0]):
            self._process(pid).files.pop(int(match[1]), None)

    def duplicate(self, pid: str, arguments: list[str], result: int) -> None:
        """Follow a second descriptor for an open file."""
        if len(arguments) > 1 and arguments[1].startswith("F_") and "DUPFD" not in arguments[1]:
            return
        if opened := self._file(pid, arguments[0]):
            self._process(pid).files[result] = opened

    def truncate(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow a change of size."""
        node = self._named(pid, arguments)
        if node is not None:
            self._resize(node, int(arguments[1]))

    def allocate(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow the reservation of space, which may extend the file."""
        node = self._named(pid, arguments)
        if node is None or arguments[1] == "FALLOC_FL_KEEP_SIZE":
            return
        if arguments[1] != "0":
            raise RecordingError(f"cannot follow fallocate with {arguments[1]}")
        self._resize(node, max(self._sizes[node], int(arguments[2]) + int(arguments[3])))

    def _resize(self, node: int, size: int) -> None:
        self._sizes[node] = size
        self._step(Resize(node, size))

    def _named(self, pid: str, arguments: list[str]) -> int | None:
        """Return what a path or descriptor stands for, when it is under the root."""
        for path in self._paths(pid, arguments):
            return self._find(path)[2] if path.is_relative_to(self._root) else None
        opened = self._file(pid, arguments[0])
        return None if opened is None else opened.node

    def protect(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow new permission bits."""
        node = self._named(pid, arguments)
        if node is not None:
            mode = next(one for one in arguments if one.isdecimal())
            self._step(Protect(node, int(mode, 8)))

    def rename(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow a rename."""
        old, new = self._paths(pid, arguments)
        if arguments[-1] in ("RENAME_EXCHANGE", "RENAME_WHITEOUT"):
            raise RecordingError(f"cannot follow a rename with {arguments[-1]}")
        if old.is_relative_to(self._root) != new.is_relative_to(self._root):
            raise RecordingError(f"cannot follow {old} across the root")
        if old.is_relative_to(self._root):
            self._change((new, self._find(old)[2]), (old, None))

    def link(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow a second name of a file."""
        old, new = self._paths(pid, arguments)
        if new.is_relative_to(self._root):
            self._change((new, self._find(old)[2]))

    def unlink(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow the end of a name."""
        (path,) = self._paths(pid, arguments)
        if path.is_relative_to(self._root):
            self._change((path, None))

    def make_folder(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow a new folder."""
        (path,) = self._paths(pid, arguments)
        if path.is_relative_to(self._root):
            self._make(path, int(arguments[-1], 8), None)

    def enter(self, pid: str, arguments: list[str], _result: int) -> None:
        """Follow where a process goes."""
        if paths := self._paths(pid, arguments):
            self._process(pid).folder = paths[0]
        elif match := _DESCRIPTOR.match(arguments[0]):
            self._process(pid).folder = Path(os.fsdecode(unescape(match[2])))

    def mask(self, _pid: str, arguments: list[str], _result: int) -> None:
        """Follow which permission bits new files do not get."""
        self._modes = int(arguments[0], 8)

    def map(self, _pid: str, arguments: list[str], _result: int) -> None:
        """Refuse a mapping that changes a file unseen."""
        if "MAP_SHARED" not in arguments[3] or "PROT_WRITE" not in arguments[2]:
            return
        match = _DESCRIPTOR.match(arguments[4])
        path = Path(os.fsdecode(unescape(match[2]))) if match else Path()
        if self._ours(path) and not path.name.endswith("-shm"):
            raise RecordingError(f"{path.name} is mapped: its changes cannot be seen")


_METHODS: dict[str, Callable[[_Parser, str, list[str], int], None]] = {
    **dict.fromkeys(("open", "openat"), _Parser.open),
    **dict.fromkeys(("write", "writev"), _Parser.write),
    **dict.fromkeys(("pwrite64", "pwritev"), _Parser.write_at),
    **dict.fromkeys(("read", "readv"), _Parser.read),
    "lseek": _Parser.seek,
    "close": _Parser.close,
    **dict.fromkeys(("dup", "dup2", "dup3", "fcntl"), _Parser.duplicate),
    **dict.fromkeys(("truncate", "ftruncate"), _Parser.truncate),
    "fallocate": _Parser.allocate,
    **dict.fromkeys(("chmod", "fchmod", "fchmodat"), _Parser.protect),
    **dict.fromkeys(("rename", "renameat", "renameat2"), _Parser.rename),
    **dict.fromkeys(("link", "linkat"), _Parser.link),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _Parser.unlink),
    **dict.fromkeys(("mkdir", "mkdirat"), _Parser.make_folder),
    **dict.fromkeys(("chdir", "fchdir"), _Parser.enter),
    "umask": _Parser.mask,
    "mmap": _Parser.map,
}
