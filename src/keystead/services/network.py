"""A network for development: witnesses and watchers as processes of this machine, from one file.

All of it is kept below one folder. The passphrase of its servers is in that folder too, so it is
for trying things out, and for nothing that has to last.
"""

import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from keystead.errors import ErrorCode, StoreError, TransportError, UsageError
from keystead.keystores.service_key import read_envelope
from keystead.stores import files

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0
_MOST_NODES: Final = 16
PASSPHRASE: Final = "passphrase"  # noqa: S105 - the name of a file
EXAMPLE: Final = """\
# A network for development: keystead network up network.toml
folder = "network"        # everything is kept below it

[[witness]]
name = "wan"
port = 5642
open = 1000               # identifiers that nobody named and that it lets in

[[witness]]
name = "wil"
port = 5643
open = 1000

[[witness]]
name = "wes"
port = 5644
open = 1000

[[watcher]]
name = "wren"
port = 5645
"""


class WitnessPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A witness to be.

    Attributes:
        name: its folder.
        port: where it listens; 0: any free port.
        open: identifiers that nobody named and that it lets in.
    """

    name: str
    port: int = 0
    open: int = 0


class WatcherPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A watcher to be.

    Attributes:
        name: its folder.
        port: where it listens; 0: any free port.
        interval: seconds between two calls of a source.
    """

    name: str
    port: int = 0
    interval: float = 2.0


class NetworkPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network consists of.

    Attributes:
        folder: where it is kept.
        witness: its witnesses.
        watcher: its watchers.
    """

    folder: str
    witness: tuple[WitnessPlan, ...] = ()
    watcher: tuple[WatcherPlan, ...] = ()


class Node(msgspec.Struct):
    """A server of the network.

    Attributes:
        name: what the plan calls it.
        kind: witness or watcher.
        aid: its identifier.
        folder: where it lives.
        port: where it listens, once it has.
        options: of its command `serve`.
        url: where it is reached; empty while it does not run.
        process: it, while it runs.
    """

    name: str
    kind: str
    aid: str
    folder: Path
    port: int
    options: tuple[str, ...] = ()
    url: str = ""
    process: subprocess.Popen[bytes] | None = None


def read_plan(text: str) -> NetworkPlan:
    """Read a plan in TOML.

    Raises:
        UsageError: it is none (usage.argument).
    """
    try:
        plan = msgspec.toml.decode(text, type=NetworkPlan)
    except msgspec.MsgspecError as error:
        what = f"this is no plan of a network: {str(error).splitlines()[0]}"
        hint = "see one with: keystead network example"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint) from None
    names = [*(one.name for one in plan.witness), *(one.name for one in plan.watcher)]
    sound = len(set(names)) == len(names) and all(
        name.isascii() and name.replace("-", "").isalnum() for name in names
    )
    if not 0 < len(names) <= _MOST_NODES or not sound:
        what = (
            f"a network has 1 to {_MOST_NODES} servers, with different names of letters and digits"
        )
        raise UsageError(ErrorCode.ARGUMENT, what)
    return plan


class Network:
    """The servers of a plan.

    Attributes:
        folder: where everything is kept.
        nodes: by name.
    """

    def __init__(self, plan: NetworkPlan, base: Path) -> None:
        """Get ready; folders are below `base` unless they are absolute."""
        self.folder = (base / plan.folder).absolute()
        self._plan = plan
        self.nodes: dict[str, Node] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands that use this network."""
        return {
            **os.environ,
            "KEYSTEAD_NETWORK": "local",
            "KEYSTEAD_STATE": str(self.folder / "state"),
        }

    @contextmanager
    def up(self) -> Iterator["Network"]:
        """Make what is not there yet, start everything, and stop it at the end.

        Raises:
            StoreError: a server cannot be made (store.io).
            TransportError: one does not start (transport.unreachable).
        """
        files.make_folder(self.folder)
        self._make_passphrase()
        try:
            for one in self._plan.witness:
                options = ("--open", str(one.open), *_FAST)
                self._add(one.name, "witness", one.port, options)
            for other in self._plan.watcher:
                self._add(other.name, "watcher", other.port, ("--interval", str(other.interval)))
            for node in self.nodes.values():
                self._launch(node)
            for node in self.nodes.values():
                _await(node)
            yield self
        finally:
            self.down()

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Stop a server, gracefully or as a power cut would."""
        node = self.nodes[name]
        if node.process is not None:
            _end(node.process, signal.SIGKILL if kill else signal.SIGTERM)
        node.process, node.url = None, ""

    def start(self, name: str) -> None:
        """Start a server again, where it was."""
        node = self.nodes[name]
        self._launch(node)
        _await(node)

    def down(self) -> None:
        """Stop everything."""
        for node in self.nodes.values():
            if node.process is not None:
                with suppress(ProcessLookupError):
                    node.process.send_signal(signal.SIGTERM)
        for name in self.nodes:
            self.stop(name)

    def _make_passphrase(self) -> None:
        path = self.folder / PASSPHRASE
        if files.make_file(path):
            path.write_text(secrets.token_urlsafe(24) + "\n", "ascii")

    def _add(self, name: str, kind: str, port: int, options: tuple[str, ...]) -> None:
        folder = self.folder / name
        secret = ("--passphrase-file", str(self.folder / PASSPHRASE))
        if not (folder / f"{kind}.key").exists():
            made = self._run(kind, "init", "--home", str(folder), *secret, "--json")
            if made.returncode:
                what = f"the {kind} {name} cannot be made"
                raise StoreError(ErrorCode.STORE_IO, what, hint=made.stderr.decode().strip())
        aid = read_envelope(folder / f"{kind}.key").wallet
        self.nodes[name] = Node(name, kind, aid, folder, port, (*secret, *options))

    def _launch(self, node: Node) -> None:
        command = [*_COMMAND, node.kind, "serve", "--home", str(node.folder), *node.options]
        with (self.folder / f"{node.name}.log").open("ab") as log:
            node.process = subprocess.Popen(  # noqa: S603 - this program itself
                [*command, "--port", str(node.port), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                process_group=0,  # Ctrl-C is for the network, which then stops its servers in order
            )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - this program itself
            [*_COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment,
            check=False,
        )


_COMMAND: Final = (sys.executable, "-m", "keystead")
# Everybody is on this machine, and so one network for the limits of a witness.
_FAST: Final = ("--event-rate", "1000", "--question-rate", "1000")


def _await(node: Node) -> None:
    """Wait until a server tells where it listens.

    Raises:
        TransportError: it does not (transport.unreachable).
    """
    process = node.process
    assert process is not None  # noqa: S101 - it was started
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    ends, line = time.monotonic() + _START_SECONDS, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, ends - time.monotonic())):
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                break
            line += piece
    try:
        node.url = json.loads(line)["listening"]
    except (ValueError, KeyError, TypeError):
        what = f"the {node.kind} {node.name} does not start"
        hint = f"it says: {_last_words(node)}"
        raise TransportError(ErrorCode.UNREACHABLE, what, hint=hint) from None
    node.port = int(node.url.rpartition(":")[2])


def _last_words(node: Node) -> str:
    with suppress(OSError):
        lines = node.folder.with_name(f"{node.name}.log").read_text("utf-8", "replace").splitlines()
        return "; ".join(lines[-2:]) or "nothing"
    return "nothing"


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
