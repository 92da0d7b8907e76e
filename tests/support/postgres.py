"""Real PostgreSQL servers for tests, under a user without rights; without them these tests fail.

One server serves all processes of a test run. Each test has a database of its own in it. Servers
that tests stop or kill are their own.
"""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import platformdirs
import psycopg
import pytest

from keystead.stores.postgres import PostgresDatabase

CHOSEN: Final = "KEYSTEAD_POSTGRES"
ROLE: Final = "keystead"
_KEEPER: Final = Path(__file__).with_name("postgres_keeper.py")
_NOBODY: Final = 65534
_UID: Final = _NOBODY if os.geteuid() == 0 else os.geteuid()
_ROOM: Final = (
    512 * 1024 * 1024
)  # bytes; servers wait for their disk at each step, but not for memory
_START_SECONDS: Final = 60
_SETTINGS: Final = """
listen_addresses = ''
max_connections = 200
shared_buffers = 32MB
max_wal_size = 128MB
wal_keep_size = 64MB
max_parallel_workers = 0
jit = off
"""
_TEMPLATE: Final = "keystead_template"
_KEEPERS: Final[list["subprocess.Popen[bytes]"]] = []  # they may outlive who started them


@cache
def programs() -> Path:
    """Return the folder of the server's programs: see `tests/install_tools.sh`."""
    unpacked = Path("/var/cache") if os.geteuid() == 0 else platformdirs.user_cache_path()
    roots = (Path("/usr/lib/postgresql"), unpacked / "keystead-postgres/usr/lib/postgresql")
    found = [Path(os.environ[CHOSEN])] if CHOSEN in os.environ else []
    for root in roots:
        found += sorted(root.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    for folder in found:
        if (folder / "initdb").is_file() and (folder / "pg_basebackup").is_file():
            return folder
    pytest.fail(f"PostgreSQL is not here; run tests/install_tools.sh, or name its bin in {CHOSEN}")


def _environment() -> dict[str, str]:
    """Return what the programs need to find their libraries, where they were only unpacked."""
    root = programs().parents[4]
    libraries = [str(path.parent) for path in root.glob("usr/lib/*/libpq.so.5")]
    kept = {"PATH": os.environ["PATH"], "LANG": "C", "LC_ALL": "C"}
    if libraries and root != Path("/"):
        kept["LD_LIBRARY_PATH"] = ":".join(libraries)
    return kept


class Server:
    """One server.

    Attributes:
        folder: where it keeps its data and its socket.
    """

    def __init__(self, folder: Path) -> None:
        """Stand for the server of a folder."""
        self.folder = folder

    @classmethod
    def make(cls, folder: Path) -> "Server":
        """Make the data of a server in a folder that is there."""
        _own(folder)
        made = ("-A", "trust", "-U", ROLE, "-E", "UTF8", "--locale=C", "--no-sync")
        _call("initdb", "-D", str(folder / "data"), *made, "--wal-segsize=1")
        server = cls(folder)
        server.configure(_SETTINGS + f"unix_socket_directories = '{folder}'\n")
        return server

    def standby(self, folder: Path, name: str) -> "Server":
        """Make a server in another folder that follows this one, as `name`."""
        _own(folder)
        source = f"host={self.folder} user={ROLE} application_name={name}"
        _call("pg_basebackup", "-D", str(folder / "data"), "-d", source, "-R", "-c", "fast", "-N")
        other = Server(folder)
        other.configure(f"unix_socket_directories = '{folder}'\nsynchronous_standby_names = ''\n")
        return other

    def configure(self, text: str) -> None:
        """Add settings, for the next start or `reload`."""
        with (self.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def start(self, *, owner: int | None = None, under: tuple[str, ...] = ()) -> None:
        """Start it, until the process `owner` ends (this one, if not told), and wait for it."""
        command = [str(programs() / "postgres"), "-D", str(self.folder / "data")]
        watched = (str(owner or os.getpid()), str(_UID), str(self.folder))
        keeper = subprocess.Popen(
            [sys.executable, "-I", str(_KEEPER), *watched, *under, *command],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _KEEPERS.append(keeper)
        until = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < until, (self.folder / "log").read_text("utf-8")[-4000:]
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it by a signal, as its manual tells; and wait until it is gone."""
        leader = self._leader()
        assert leader is not None
        os.kill(leader, number)
        _await_end(leader)

    def kill(self) -> None:
        """Kill all its processes at once, as when its machine fails."""
        leader = self._leader()
        assert leader is not None
        os.kill(leader, signal.SIGSTOP)  # it must not see the others end
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text("utf-8").split()
        for process in [*map(int, children), leader]:
            os.kill(process, signal.SIGKILL)
        _await_end(leader)

    def reload(self) -> None:
        """Let it read its settings again."""
        self.ask("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make a standby the primary."""
        self.ask("SELECT pg_promote()")

    def url(self, database: str = "postgres") -> str:
        """Return the location of a database."""
        return f"postgresql://{ROLE}@/{database}?host={self.folder}"

    def ask(self, query: str, database: str = "postgres") -> list[Any]:
        """Return the rows of a query by its administrator."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def _leader(self) -> int | None:
        try:
            text = (self.folder / "data" / "postmaster.pid").read_text("utf-8")
        except FileNotFoundError:
            return None
        return int(text.split("\n", 1)[0])

    def _answers(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def own_folders(*names: str) -> Iterator[list[Path]]:
    """Give new folders that a user without rights can get at, for servers of one test."""
    with tempfile.TemporaryDirectory(
        dir=_place(), prefix="keystead-", ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o711)
        folders = [Path(name) / one for one in names]
        for folder in folders:
            folder.mkdir()
        servers = [Server(folder) for folder in folders]
        try:
            yield folders
        finally:
            for server in servers:
                leader = server._leader()  # noqa: SLF001 - this module
                if leader is not None and _runs(leader):
                    server.stop(signal.SIGQUIT)


@cache
def shared_server() -> Server:
    """Return the server of this test run, which the first process that asks starts."""
    worker = "PYTEST_XDIST_WORKER" in os.environ
    owner = os.getppid() if worker else os.getpid()
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "alone") if worker else "alone"
    folder = Path(_place()) / f"keystead-postgres-{owner}-{run[:12]}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = Server(folder)
        if not (folder / "ready").is_file():
            _remove_old(folder.parent)
            folder.mkdir()
            server = Server.make(folder)
            server.start(owner=owner)
            server.ask(f"CREATE DATABASE {_TEMPLATE}")
            PostgresDatabase.create(server.url(_TEMPLATE)).close()
            (folder / "ready").touch()
        folder.with_suffix(".lock").unlink(missing_ok=True)
    return server


@contextmanager
def fresh_url(*, empty: bool = False) -> Iterator[str]:
    """Give the location of a new database, with the tables of events or empty."""
    server, name = shared_server(), f"test_{secrets.token_hex(8)}"
    server.ask(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else _TEMPLATE}")
    try:
        yield server.url(name)
    finally:
        server.ask(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def fresh_database() -> Iterator[PostgresDatabase]:
    """Give a new database with the tables of events, opened."""
    with fresh_url() as url:
        database = PostgresDatabase.open(url)
        try:
            yield database
        finally:
            database.close()


def _remove_old(place: Path) -> None:
    """Remove what test runs left that were killed before their server ran."""
    for left in place.glob("keystead-postgres-*"):
        if not _runs(int(left.name.split("-")[2])):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _place() -> str:
    """Return where folders of servers are made: a user without rights must get there."""
    memory = "/dev/shm"  # noqa: S108 - what tests throw away can be in memory
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM:
        return memory
    return "/tmp" if os.geteuid() == 0 else tempfile.gettempdir()  # noqa: S108 - see above


def _own(folder: Path) -> None:
    folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, _UID, _UID)


def _call(program: str, *arguments: str) -> None:
    rights = {"user": _UID, "group": _UID, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [str(programs() / program), *arguments],
        env=_environment(),
        cwd="/",
        capture_output=True,
        check=False,
        text=True,
        **rights,  # type: ignore[call-overload] # only root may become somebody else
    )
    assert done.returncode == 0, done.stderr


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _await_end(process: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while _runs(process):
        assert time.monotonic() < until, "the server does not end"
        time.sleep(0.02)
