"""The HTTP server: accepts connections, counts them, and sweeps away those that take too long.

Connections are accepted here rather than by asyncio: it would accept before anything is counted,
begin TLS with everybody, and stop accepting for a second when descriptors run out.
"""

import asyncio
import errno
import heapq
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from time import monotonic
from typing import Final

from keystead.services.addresses import client_prefix, is_loopback, parse_address
from keystead.services.connection import Connection, Serving
from keystead.services.http import Application, HttpLimits

_SWEEP_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.1
_ACCEPTED_AT_ONCE: Final = 64  # then others get a turn
_MADE_ROOM: Final = 16  # connections at once, since looking for them takes 200 µs
_LOOK_SECONDS: Final = 0.05
_DRAINED: Final = 4096
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: 96\r\n\r\n"
    b'{"error":"http.503","message":"too many connections","hint":"wait as long as Retry-After says"}\n'
)
# accept(2): no descriptors or memory. The connection stays in the backlog, so trying at once
# would spin.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class HttpServer:
    """Serves one application on one address.

    Attributes:
        limits: bounds.
    """

    def __init__(
        self,
        application: Application,
        limits: HttpLimits | None = None,
        *,
        route_limit: Callable[[str, str], int] | None = None,
        behind_proxy: bool = False,
        refused: Callable[[int], None] = lambda _status: None,
        failed: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        """Prepare.

        Args:
            application: answers requests.
            limits: bounds.
            route_limit: largest body for a method and path; otherwise `limits.body`.
            behind_proxy: whether clients are those that X-Forwarded-For names. Connections are
                then not counted by address.
            refused: is told the status of each request that never reached the application.
            failed: is told errors of the application that are not `KeysteadError`.
        """
        self.limits = limits or HttpLimits()
        self._serving = Serving(
            application, self.limits, route_limit, behind_proxy, refused, failed
        )
        self._by_prefix: Counter[str] = Counter()
        self._open = 0
        self._next_look = 0.0  # when it is worth while again to look for room
        self._listener: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._all_closed = asyncio.Event()
        self._begun: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return self._open

    @property
    def requests(self) -> int:
        """Number of requests in progress, without streams."""
        return self._serving.requests

    async def start(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> tuple[str, int]:
        """Listen; return address and port, which was chosen if 0 was asked for.

        Raises:
            OSError: the address cannot be had.
        """
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        listener = socket.create_server(
            (str(address[0]), port),
            family=family,
            backlog=self.limits.backlog,
            dualstack_ipv6=address[0] == "::",
        )
        listener.setblocking(False)  # noqa: FBT003 - positional in the standard library
        self._listener = listener
        self._tls = tls
        self._sweep()
        self._resume()
        name = listener.getsockname()
        return str(name[0]), int(name[1])

    def renew_tls(self, tls: ssl.SSLContext) -> None:
        """Greet further connections with another certificate."""
        self._tls = tls

    async def stop(self, grace: float) -> None:
        """Stop: take no connections, end streams, let requests in progress finish.

        Args:
            grace: seconds until the rest is cut off.
        """
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        self._serving.stopping = True
        await asyncio.sleep(0)  # lets those begin that were just accepted, and own their sockets
        for task in list(self._begun):
            task.cancel()
        for connection in list(self._serving.connections):
            connection.stop()
        if self._open:
            self._all_closed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), grace)
        for connection in list(self._serving.connections):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.sleep(0)

    def _resume(self) -> None:
        if self._listener is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Accept what waits; when descriptors run out, let it wait for 100 ms."""
        listener = self._listener
        if listener is None:
            return
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    loop = asyncio.get_running_loop()
                    loop.remove_reader(listener)
                    loop.call_later(_PAUSE_SECONDS, self._resume)
                    return
                continue  # accept(2): errors of that connection, which is gone
            self._admit(accepted, str(address[0]))

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        client = str(parse_address(peer) or peer)
        prefix = client_prefix(client)
        per_address = self.limits.per_loopback if is_loopback(client) else self.limits.per_address
        crowded = not self._serving.behind_proxy and self._by_prefix[prefix] >= per_address
        if self._open >= self.limits.connections:
            self._make_room()
        if crowded or self._open >= self.limits.connections:
            self._serving.refused(503)
            _turn_away(accepted, plain=self._tls is None)
            return
        accepted.setblocking(False)  # noqa: FBT003 - as above
        self._open += 1
        self._by_prefix[prefix] += 1
        task = asyncio.get_running_loop().create_task(self._connect(accepted, client, prefix))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    def _make_room(self) -> None:
        """Close connections that have waited longest for the rest of a request.

        Whoever holds slow connections then only pushes out their own, as honest requests arrive
        at once.
        """
        now = monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        oldest = heapq.nsmallest(
            _MADE_ROOM, self._serving.connections, key=lambda one: one.evictable_at
        )
        for connection in oldest:
            if connection.evictable_at <= now:
                self._next_look = now
                connection.make_room()

    async def _connect(self, accepted: socket.socket, client: str, prefix: str) -> None:
        """Give an accepted connection its protocol, over TLS if asked."""
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._release(prefix)

        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: Connection(self._serving, client, release),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.head_seconds if self._tls else None,
                ssl_shutdown_timeout=self.limits.linger_seconds if self._tls else None,
            )
        except OSError:  # also TLS: a handshake that failed, or took too long
            release()
        except asyncio.CancelledError:
            release()
            raise

    def _release(self, prefix: str) -> None:
        self._open -= 1
        self._by_prefix[prefix] -= 1
        if not self._by_prefix[prefix]:
            del self._by_prefix[prefix]
        if not self._open:
            self._all_closed.set()

    def _sweep(self) -> None:
        """Renew the date and end what took too long, once a second."""
        self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
        self._serving.date = f"Date: {formatdate(usegmt=True)}\r\n"
        now = monotonic()
        for connection in list(self._serving.connections):
            connection.sweep(now)


def _turn_away(accepted: socket.socket, *, plain: bool) -> None:
    """Say why and close, without waiting for anybody."""
    with accepted, suppress(OSError):
        accepted.setblocking(False)  # noqa: FBT003 - as above
        if plain:
            accepted.send(_FULL)
            accepted.shutdown(socket.SHUT_WR)
            accepted.recv(_DRAINED)  # what is unread at the end would destroy the answer
