"""What operators see of a server: logs without secrets, metrics, and whether it is well.

Logs are lines of JSON with the fields of `Entry` and no others: no bodies, headers, queries or
paths can get into them. Metrics have a registry of their own, and a port of their own.
"""

import asyncio
import select
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TextIO

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from keystead.errors import KeysteadError
from keystead.services.addresses import client_prefix
from keystead.services.http import Application, Request, Response
from keystead.services.listening import HttpServer
from keystead.services.refusals import error_response, refusal

Level = Literal["info", "warning", "error"]

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_FAILED: Final = 500
_UNNAMED: Final = "other"
_PIECE: Final = 4096  # bytes that a pipe takes at once when it takes anything (pipe(7))


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the log; these fields and no others.

    Attributes:
        time: ISO 8601, UTC, with milliseconds.
        level: info, warning or error.
        event: what happened, a fixed word.
        method: HTTP method.
        route: template of the path, never the path.
        status: HTTP status.
        microseconds: how long it took.
        client: network of the client: IPv4 /32, IPv6 /64.
        aid: identifier that it was about.
        code: code of an error.
        place: class of an unexpected error, and the line that raised it; never its text.
    """

    time: str
    level: Level
    event: str
    method: str = ""
    route: str = ""
    status: int = 0
    microseconds: int | None = None
    client: str = ""
    aid: str = ""
    code: str = ""
    place: str = ""


class Observer:
    """Keeps logs and metrics of one server.

    Attributes:
        registry: the metrics.
    """

    def __init__(self, log: TextIO) -> None:
        """Begin; lines go to `log` at once, those of requests together with others of that moment.

        They are dropped when nobody takes them.
        """
        self._log = log
        self._lines: list[bytes] = []
        self._counts: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._room = _room_of(log)
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "keystead_http_requests",
            "Requests that were answered.",
            ("route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "keystead_http_request_seconds",
            "Time to answer.",
            ("route",),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._refused = Counter(
            "keystead_http_refused",
            "Requests and connections that were refused before they were read whole.",
            ("status",),
            registry=self.registry,
        )
        self._limited = Counter(
            "keystead_rate_limited",
            "Requests that came too often.",
            ("limit",),
            registry=self.registry,
        )

        self._dropped = Counter(
            "keystead_log_dropped", "Lines that nobody took.", registry=self.registry
        )

    def watch(
        self, application: Application, not_ready: Callable[[], Sequence[str]]
    ) -> Application:
        """Return an application that is observed, and tells at /healthz and /readyz how it is.

        Args:
            application: answers all other paths.
            not_ready: returns why the service should get no requests now, in short fixed
                sentences; nothing when it is ready. Must be quick.
        """

        async def watched(request: Request) -> Response:
            if request.path in ("/healthz", "/readyz"):
                return _health(request, not_ready)
            began = time.perf_counter()
            try:
                response = await application(request)
            except KeysteadError as error:
                response = error_response(error)
                self._count(request, response, began, code=error.code)
                return response
            except Exception as error:  # noqa: BLE001 - one bad request must not end the server
                self.failed(error)
                response = refusal(_FAILED, "something failed here")
            self._count(request, response, began)
            return response

        return watched

    def follow(self, server: HttpServer) -> None:
        """Measure the connections and the requests in progress of a server."""
        self.gauge("keystead_http_connections", "Open connections.", lambda: server.connections)
        self.gauge("keystead_http_in_flight", "Requests in progress.", lambda: server.requests)

    def gauge(self, name: str, documentation: str, measure: Callable[[], float]) -> None:
        """Add a metric whose value is asked for when metrics are read."""
        Gauge(name, documentation, registry=self.registry).set_function(measure)

    def refused(self, status: int) -> None:
        """Count a request that the server refused by itself."""
        self._refused.labels(str(status)).inc()

    def rate_limited(self, limit: str) -> None:
        """Count a request that came too often; `limit` is the fixed name of the limit."""
        self._limited.labels(limit).inc()

    def failed(self, error: Exception) -> None:
        """Log where an unexpected error was raised, without its text, which may hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        line = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        self.event("failed", level="error", place=type(error).__name__ + line)

    def event(self, event: str, *, level: Level = "info", code: str = "", place: str = "") -> None:
        """Log something that is no request; all arguments are fixed words, nothing from outside."""
        self._write([_line(Entry(_now(), level, event, code=code, place=place))])

    async def metrics(self, request: Request) -> Response:
        """Answer requests for metrics; the application of a server on a loopback port."""
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return refusal(404, "there is nothing here but /metrics")
        return Response(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)

    def _count(self, request: Request, response: Response, began: float, *, code: str = "") -> None:
        seconds = time.perf_counter() - began
        route, status = response.route or _UNNAMED, response.status
        counts = self._counts.get((route, status))
        if counts is None:  # finding them takes as long as all the rest
            counts = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._counts[route, status] = counts
        counts[0].inc()
        counts[1].observe(seconds)
        self._say(
            Entry(
                _now(),
                "error" if status >= _FAILED else "info",
                "request",
                method=request.method,
                route=route,
                status=status,
                microseconds=round(seconds * 1e6),
                client=client_prefix(request.client),
                aid=response.aid,
                code=code,
            )
        )

    def _say(self, entry: Entry) -> None:
        """Write a line, with all others that are told before the loop turns again."""
        self._lines.append(_line(entry))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._write(lines)

    def _write(self, lines: Sequence[bytes]) -> None:
        """Write lines, or drop them when nobody reads or the disk is full: serving goes on."""
        piece: list[bytes] = []
        size = 0
        for line in lines:
            if size + len(line) > _PIECE:
                self._put(piece)
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        self._put(piece)

    def _put(self, lines: Sequence[bytes]) -> None:
        if self._room is not None and not self._room.poll(0):
            self._dropped.inc(len(lines))
            return
        try:
            self._log.write(b"".join(lines).decode())
            self._log.flush()
        except OSError:
            self._dropped.inc(len(lines))


def _line(entry: Entry) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def _room_of(log: TextIO) -> "select.poll | None":
    """Return what tells whether a line can be written at once; None if that is no file.

    A pipe counts as writable only when 4 KiB fit (pipe(7)).
    """
    try:
        descriptor = log.fileno()
    except OSError:
        return None
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    return room


def _health(request: Request, not_ready: Callable[[], Sequence[str]]) -> Response:
    """Answer how the service is; not logged, as it is asked all the time."""
    if request.method not in ("GET", "HEAD"):
        return refusal(405, "health is only read")
    reasons = list(not_ready()) if request.path == "/readyz" else []
    content = msgspec.json.encode({"ok": not reasons, "reasons": reasons})
    headers = {"Cache-Control": "no-store"}
    return Response(503 if reasons else 200, content, "application/json", headers)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
