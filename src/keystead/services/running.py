"""Run a service until it is told to stop: what it may listen on, signals, graceful end."""

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from keystead.errors import ErrorCode, UsageError
from keystead.services.addresses import is_loopback
from keystead.services.http import Application, HttpLimits
from keystead.services.listening import HttpServer
from keystead.services.observing import Observer
from keystead.services.tls import TlsFiles, server_context

GRACE: Final = 10.0  # seconds that requests in progress have to finish
_LOOPBACK: Final = "127.0.0.1"


class Binding(msgspec.Struct, frozen=True):
    """Where a server listens.

    Attributes:
        host: address or name.
        port: port; 0 lets the system choose.
        public: whether others than this machine may connect.
        behind_proxy: whether a proxy stands before it, ends TLS and tells who the client is.
        tls: certificate; None serves without TLS.
        metrics_port: port of the metrics on 127.0.0.1; None: no metrics. 0: as for `port`.
    """

    host: str = _LOOPBACK
    port: int = 0
    public: bool = False
    behind_proxy: bool = False
    tls: TlsFiles | None = None
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """What is served.

    Attributes:
        application: answers requests.
        route_limit: largest body of a method and path.
        not_ready: why it should get no requests now.
        limits: bounds of the server.
    """

    application: Application
    route_limit: Callable[[str, str], int] | None = None
    not_ready: Callable[[], Sequence[str]] = tuple
    limits: HttpLimits = field(default_factory=HttpLimits)


class Listening(msgspec.Struct, frozen=True):
    """Where a server can be reached.

    Attributes:
        listening: URL of the service.
        metrics: URL of the metrics; empty if there are none.
    """

    listening: str
    metrics: str = ""


OpenService = Callable[[Observer], AbstractAsyncContextManager[Service]]


def check_binding(binding: Binding) -> None:
    """Check that nobody is served in the open by accident.

    Raises:
        UsageError: other machines could connect, and nobody said so, or said how that is safe
            (usage.argument).
    """
    if binding.host == "localhost" or is_loopback(binding.host):
        return
    if not binding.public:
        raise UsageError(
            ErrorCode.ARGUMENT,
            "other machines could connect to this address",
            hint="add --public if that is meant, and a certificate or --behind-proxy",
        )
    if binding.tls is None and not binding.behind_proxy:
        raise UsageError(
            ErrorCode.ARGUMENT,
            "a public server needs TLS",
            hint="add --tls-cert and --tls-key, or --behind-proxy if a proxy ends TLS",
        )


def run(open_service: OpenService, binding: Binding, announce: Callable[[Listening], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        open_service: opens the service in the event loop, and closes it at the end; it may add
            metrics to the observer.
        binding: where to listen.
        announce: is told where it listens, once it does.

    Raises:
        UsageError: the binding is not safe, or not possible (usage.argument, usage.file).
        KeysteadError: as `open_service`.
    """
    check_binding(binding)
    tls = server_context(binding.tls) if binding.tls else None
    asyncio.run(_run(open_service, binding, tls, announce))


async def _run(
    open_service: OpenService,
    binding: Binding,
    tls: ssl.SSLContext | None,
    announce: Callable[[Listening], None],
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    observer = Observer(sys.stderr)
    async with open_service(observer) as service:
        server = HttpServer(
            observer.watch(service.application, service.not_ready),
            service.limits,
            route_limit=service.route_limit,
            behind_proxy=binding.behind_proxy,
            refused=observer.refused,
            failed=observer.failed,
        )
        observer.follow(server)
        metrics = HttpServer(observer.metrics)
        loop.add_signal_handler(signal.SIGHUP, _renew, server, binding, observer)
        try:
            listening = await _start(server, metrics, binding, tls)
            announce(listening)
            notify_system("READY=1")
            observer.event("started")
            await stopped.wait()
            observer.event("stopping")
            notify_system("STOPPING=1")
        finally:
            await server.stop(GRACE)
            await metrics.stop(0)
    observer.event("stopped")


async def _start(
    server: HttpServer, metrics: HttpServer, binding: Binding, tls: ssl.SSLContext | None
) -> Listening:
    try:
        host, port = await server.start(binding.host, binding.port, tls=tls)
        url = f"{'https' if tls else 'http'}://{_in_url(host)}:{port}"
        if binding.metrics_port is None:
            return Listening(url)
        _, port = await metrics.start(_LOOPBACK, binding.metrics_port)
    except OSError as error:
        # socket.gaierror has its text elsewhere than in strerror for some systems
        reason = error.strerror or "the name is not known"
        raise UsageError(
            ErrorCode.ARGUMENT,
            f"cannot listen there: {reason}",
            hint="choose another --port or --host",
        ) from error
    return Listening(url, f"http://{_LOOPBACK}:{port}/metrics")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _renew(server: HttpServer, binding: Binding, observer: Observer) -> None:
    """Read the certificate again; if it is not usable, go on with the one there is."""
    if binding.tls is None:
        return
    try:
        server.renew_tls(server_context(binding.tls))
    except UsageError as error:
        observer.event("certificate not renewed", level="error", code=error.code)
    else:
        observer.event("certificate renewed")


def notify_system(state: str) -> None:
    """Tell systemd, if it asked to be told (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.sendto(state.encode(), address)
