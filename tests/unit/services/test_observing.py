"""What operators see of a server."""

import asyncio
import io
import json
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from keystead.errors import ErrorCode, StoreError
from keystead.services.http import Application, Request, Response
from keystead.services.observing import Observer


def _request(path: str, method: str = "GET") -> Request:
    return Request(method, path, "", {}, b"", "2001:db8::1")


def _answer(application: Application, request: Request) -> Response:
    async def answered() -> Response:
        return await application(request)

    return asyncio.run(answered())


async def _full(request: Request) -> Response:
    raise StoreError(ErrorCode.STORE_FULL, f"no room for {request.path}")


def test_errors_are_answers_and_lines() -> None:
    """An error of the library is answered, logged by its code, and counted."""
    log = io.StringIO()
    observer = Observer(log)
    answer = _answer(observer.watch(_full, tuple), _request("/secret"))
    assert answer.status == 503
    line = json.loads(log.getvalue())
    assert (line["level"], line["status"], line["code"]) == ("error", 503, "store.full")
    assert line["client"] == "2001:db8::/64"
    assert "secret" not in log.getvalue()
    counted = b'keystead_http_requests_total{route="other",status="503"} 1.0'
    assert counted in generate_latest(observer.registry)


@pytest.mark.parametrize(
    ("path", "method", "reasons", "status"),
    [
        ("/healthz", "GET", ["late"], 200),
        ("/healthz", "HEAD", [], 200),
        ("/healthz", "POST", [], 405),
        ("/readyz", "GET", ["late"], 503),
        ("/readyz", "GET", [], 200),
    ],
)
def test_health_is_told(path: str, method: str, reasons: list[str], status: int) -> None:
    """Alive is alive; ready is without reasons against it. Neither is logged."""
    log = io.StringIO()
    watched = Observer(log).watch(_full, lambda: reasons)
    assert _answer(watched, _request(path, method)).status == status
    assert log.getvalue() == ""


def test_what_is_counted_can_be_read() -> None:
    """Refusals, limits and own gauges are among the metrics; each observer has its own."""
    observer, other = Observer(io.StringIO()), Observer(io.StringIO())
    observer.refused(431)
    observer.rate_limited("stranger")
    observer.gauge("keystead_own", "A test.", lambda: 7)
    told = _answer(observer.metrics, _request("/metrics")).body.decode()
    assert 'keystead_http_refused_total{status="431"} 1.0' in told
    assert 'keystead_rate_limited_total{limit="stranger"} 1.0' in told
    assert "keystead_own 7.0" in told
    assert b"keystead_own" not in generate_latest(other.registry)
    assert _answer(observer.metrics, _request("/metrics", "POST")).status == 404


def test_a_full_disk_does_not_stop_the_service() -> None:
    """A line that cannot be written is counted."""
    log = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails, as writing did
    observer = Observer(log)
    observer.event("started")
    assert b"keystead_log_dropped_total 1.0" in generate_latest(observer.registry)
    with suppress(OSError):
        log.close()


def test_errors_without_a_trace_are_named() -> None:
    """Where there is no place, the class is told, and never the text."""
    log = io.StringIO()
    Observer(log).failed(RuntimeError("secret"))
    assert json.loads(log.getvalue())["place"] == "RuntimeError"
