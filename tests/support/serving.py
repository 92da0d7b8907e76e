"""HTTP servers of this process on a real port, and raw connections to them."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from keystead.services.http import Application, HttpLimits, Request, Response
from keystead.services.listening import HttpServer

# Short ones, so that tests of deadlines do not wait for those of real life.
QUICK = replace(
    HttpLimits(), head_seconds=1.0, body_seconds=3.0, idle_seconds=1.0, write_seconds=1.0,
    linger_seconds=1.0,
)  # fmt: skip


async def echo(request: Request) -> Response:
    """Answer with what was asked."""
    told = f"{request.method} {request.path}?{request.query} {request.client} "
    return Response(200, told.encode() + request.body, "text/plain")


@dataclass
class Served:
    """A server in a thread of its own, with an event loop of its own."""

    port: int
    server: HttpServer
    loop: asyncio.AbstractEventLoop
    refused: list[int] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)

    def connect(self, *, timeout: float = 10.0) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, raw: bytes) -> "Answered":
        """Send bytes on a connection of their own and read one answer."""
        with self.connect() as connection:
            connection.sendall(raw)
            return read_answer(connection)

    def stop(self, grace: float) -> None:
        """Stop the server and wait until it has."""
        asyncio.run_coroutine_threadsafe(self.server.stop(grace), self.loop).result(30)

    def run(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `work` returns
        """Run something in the thread of the server."""

        async def working() -> Any:  # noqa: ANN401 - as above
            return work()

        return asyncio.run_coroutine_threadsafe(working(), self.loop).result(30)


@dataclass(frozen=True)
class Answered:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """Code of the error that it tells."""
        return str(json.loads(self.body)["error"])


def read_answer(connection: socket.socket, *, method: str = "GET") -> Answered:
    """Read one answer with a length, or in chunks that are put together.

    Raises:
        EOFError: the connection ended before.
    """
    with connection.makefile("rb", buffering=0) as file:  # what follows is the next answer's
        start = file.readline()
        if not start:
            raise EOFError
        status = int(start.split()[1])
        headers = {}
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if status == 100:
            return Answered(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answered(status, headers, b"".join(_chunks(file)))
        length = int(headers.get("content-length", "0"))
        return Answered(status, headers, b"" if method == "HEAD" else _exactly(file, length))


def _exactly(file: socket.SocketIO, size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = file.read(size - len(content))
        if not piece:
            raise EOFError
        content += piece
    return content


def _chunks(file: socket.SocketIO) -> Iterator[bytes]:
    while size := int(file.readline() or b"0", 16):
        yield _exactly(file, size)
        file.readline()
    if file.readline() != b"\r\n":
        raise EOFError


def is_closed(connection: socket.socket) -> bool:
    """Wait for the end of a connection; False when something arrives instead."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@contextmanager
def serving(
    application: Application = echo,
    limits: HttpLimits = QUICK,
    *,
    route_limit: Callable[[str, str], int] | None = None,
    behind_proxy: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Served]:
    """Serve an application on a free port; the server is stopped at the end."""
    refused: list[int] = []
    failed: list[Exception] = []
    loop = asyncio.new_event_loop()
    server = HttpServer(
        application,
        limits,
        route_limit=route_limit,
        behind_proxy=behind_proxy,
        refused=refused.append,
        failed=failed.append,
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0, tls=tls), loop)
        served = Served(started.result(10)[1], server, loop, refused, failed)
        try:
            yield served
        finally:
            served.stop(1)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
