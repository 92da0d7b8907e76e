"""One connection to a vetted address, and its share of time and bytes."""

import io
import select
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPResponse
from typing import cast

from keystead.errors import ErrorCode, TransportError
from keystead.transports.addresses import Address
from keystead.transports.deadline import Deadline

Dial = Callable[[Address, int, float], socket.socket]
"""Opens a TCP connection to an address and port within so many seconds; OSError if it cannot."""


def system_dial(address: Address, port: int, seconds: float) -> socket.socket:
    """Connect by the system's network, without proxies.

    Raises:
        OSError: nobody listens there, or it took too long (TimeoutError).
    """
    sock = socket.create_connection((str(address), port), timeout=seconds)
    # A request is sent as a whole; waiting for more would only delay it.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Incoming(io.RawIOBase):
    """What a peer sends, no more than is allowed, and no later than the deadline.

    A timeout of the socket alone starts again with each byte, so that a peer that sends one now
    and then would never be cut off.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, allowed: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self.allowed = allowed
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # only BufferedReader calls it
        if self.allowed == 0:
            raise TransportError(ErrorCode.ANSWER_TOO_LARGE, "headers or answer are too large")
        self._sock.settimeout(self._deadline.left())
        read = self._sock.recv_into(buffer[: self.allowed])
        self.allowed -= read
        self.received += read
        return read


class _Source:
    """What HTTPResponse takes for a socket: it asks for nothing but a file to read from."""

    def __init__(self, incoming: _Incoming) -> None:
        self._incoming = incoming

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self._incoming)


class Connection:
    """A TCP or TLS connection to an address that was vetted.

    Attributes:
        address: whom it is connected to.
    """

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.address = address
        self._sock = sock
        self._incoming: _Incoming | None = None

    def secure(self, context: ssl.SSLContext, host: str, deadline: Deadline) -> None:
        """Begin TLS with whoever proves to be the host of the URL, whatever address it has.

        Raises:
            OSError: the handshake failed (ssl.SSLError) or took too long (TimeoutError).
        """
        self._sock.settimeout(deadline.left())
        self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def send(self, request: bytes, deadline: Deadline) -> None:
        """Send a request; a peer that has heard enough may answer before the end of it.

        Raises:
            OSError: the peer did not take it in time (TimeoutError), or TLS failed.
        """
        self._incoming = None
        rest = memoryview(request)
        while rest:
            self._sock.settimeout(deadline.left())
            try:
                rest = rest[self._sock.send(rest) :]
            except (BrokenPipeError, ConnectionResetError):
                return  # whether there is an answer is found when it is read

    def receive(self, method: str, head: int, body: int, deadline: Deadline) -> HTTPResponse:
        """Read status and headers of an answer.

        Args:
            method: of the request.
            head: how many bytes these may have.
            body: how many more may be read from the response.
            deadline: by when all of the answer must be here, the body too.

        Raises:
            OSError: the peer closed the connection, or took too long (TimeoutError).
            TransportError: the headers are too large (transport.too_large).
            HTTPException, ValueError: it is no HTTP.
        """
        self._incoming = _Incoming(self._sock, deadline, head)
        response = HTTPResponse(cast("socket.socket", _Source(self._incoming)), method=method)
        response.begin()
        self._incoming.allowed += body
        return response

    @property
    def heard(self) -> bool:
        """Whether any byte of the last answer came."""
        return self._incoming is not None and self._incoming.received > 0

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing is left to read, so that it can be used again."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it."""
        self._sock.close()
