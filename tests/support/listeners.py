"""Peers on real sockets: honest ones, hostile ones, and a canary that nobody may touch."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Script = Callable[[socket.socket], None]
"""What a peer does with a connection; it is closed afterwards."""


class Listener:
    """Listens on a free port of this machine and runs a script on each connection.

    Attributes:
        port: where it listens.
        connections: how many were accepted.
    """

    def __init__(
        self, script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all, and wait for the scripts to end."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            self._start(lambda sock=sock: self._serve(sock))  # type: ignore[misc] # binds it now

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                stack.callback(sock.close)
            self._script(sock)


def canary(host: str = "127.0.0.1") -> Listener:
    """Return a listener that only counts who comes."""
    return Listener(lambda _: None, host=host)


def read_request(sock: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Read one request: its first line, headers by lower-case name, content; empty at the end."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = sock.recv(65536)
        if not piece:
            return "", {}, b""
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(65536)
    return first, headers, body


def saying(answer: bytes) -> Script:
    """Return a script that reads one request, says this and closes."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(answer)

    return script


def answering(body: bytes = b"hello", headers: str = "Content-Type: text/plain\r\n") -> Script:
    """Return the script of an honest server, which keeps connections."""
    head = f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(body)}\r\n\r\n"

    def script(sock: socket.socket) -> None:
        while read_request(sock)[0]:
            sock.sendall(head.encode() + body)

    return script


def silent(sock: socket.socket) -> None:
    """Read whatever comes and never answer."""
    while sock.recv(65536):
        pass
