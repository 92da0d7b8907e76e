"""A service as a process: announced, observed, renewed and stopped."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from support.serving import Answered, read_answer

# A command that serves, with the options that all of them have.
_SERVICE = """
import asyncio, sys
from contextlib import asynccontextmanager
import click
from keystead.cli.serving import serve, serving_options
from keystead.errors import KeysteadError
from keystead.services.http import Response
from keystead.services.running import Service

async def answer(request):
    if request.path == "/slow":
        await asyncio.sleep(1)
    if request.path == "/bug":
        raise RuntimeError("secret")
    return Response(200, request.client.encode(), route="/any", aid="EAid")

@asynccontextmanager
async def opened(observer):
    observer.gauge("keystead_test", "A test.", lambda: 42)
    yield Service(answer, not_ready=lambda: sys.argv[1:2] and ["the disk is full"])
    print("closed", flush=True)

@click.command()
@serving_options(5642)
@click.argument("reason", required=False)
def toy(binding, json_output, reason):
    serve(opened, binding, json_output=json_output)

try:
    toy(sys.argv[1:], standalone_mode=False)
except KeysteadError as error:
    sys.exit(f"{error}: {error.hint}")
"""


class Running:
    """A service in a process of its own, once it is announced."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        """Start it and read its announcement."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVICE, *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        assert self.process.stdout
        self.announced = self.process.stdout.readline().decode()
        self.ports = [int(port) for port in re.findall(r":(\d+)", self.announced)]

    def ask(self, path: str = "/", *, metrics: bool = False) -> Answered:
        """Ask the service, or its metrics."""
        with socket.create_connection(("127.0.0.1", self.ports[metrics]), 10) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nA: secret\r\n\r\n".encode())
            return read_answer(connection)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Stop it; return exit code and what it printed further."""
        self.process.send_signal(number)
        out, told = self.process.communicate(timeout=20)
        return self.process.returncode, out.decode(), told.decode()


@contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[Running]:
    running = Running(*arguments, **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_is_announced_and_stops_when_told(number: int) -> None:
    """One line tells where it listens; a signal ends it with 0, after its service is closed."""
    with _running() as running:
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", running.announced)
        assert running.ask().body == b"127.0.0.1"
        code, out, _ = running.stop(number)
        assert (code, out) == (0, "closed\n")


def test_announcements_are_one_line_of_json() -> None:
    """With --json, programs get the URLs of the service and of its metrics."""
    with _running("--json", "--metrics-port", "0") as running:
        announced = json.loads(running.announced)
        assert announced == {
            "listening": f"http://127.0.0.1:{running.ports[0]}",
            "metrics": f"http://127.0.0.1:{running.ports[1]}/metrics",
        }


def test_requests_in_progress_are_finished_at_the_end() -> None:
    """A request that came before the signal is answered after it."""
    answers: list[Answered] = []
    with _running() as running:
        asking = threading.Thread(target=lambda: answers.append(running.ask("/slow")))
        asking.start()
        time.sleep(0.5)
        code, _, _ = running.stop()
        asking.join()
        assert code == 0
        assert [one.status for one in answers] == [200]


def test_logs_have_no_secrets() -> None:
    """Each line is JSON with known fields; paths, queries, headers, texts are not there."""
    with _running() as running:
        assert running.ask("/oobi/secret?secret=secret").status == 200
        bug = running.ask("/bug")
        assert (bug.status, bug.error) == (500, "http.500")
        assert b"secret" not in bug.body
        running.ask("/healthz")
        _, _, told = running.stop()
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["event"] for line in lines] == [
        "started", "request", "failed", "request", "stopping", "stopped",
    ]  # fmt: skip
    assert lines[1].keys() == {
        "time", "level", "event", "method", "route", "status", "microseconds", "client", "aid",
    }  # fmt: skip
    assert (lines[1]["route"], lines[1]["client"], lines[1]["aid"]) == (
        "/any",
        "127.0.0.1/32",
        "EAid",
    )
    assert lines[2]["level"] == "error"
    assert re.fullmatch(r"RuntimeError at <string>:\d+", lines[2]["place"])
    assert "secret" not in told


def test_logs_that_nobody_reads_do_not_stop_the_service() -> None:
    """When the pipe of the log is full, lines are dropped and counted; requests are answered."""
    with (
        _running("--json", "--metrics-port", "0") as running,
        socket.create_connection(("127.0.0.1", running.ports[0]), 10) as connection,
    ):
        for _ in range(20):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            for _ in range(100):
                assert read_answer(connection).status == 200
        metrics = running.ask("/metrics", metrics=True).body.decode()
        dropped = re.search(r"^keystead_log_dropped_total (\d+)", metrics, re.MULTILINE)
        assert dropped is not None
        assert int(dropped[1]) > 100
        assert running.stop()[0] == 0


def test_health_and_metrics_have_places() -> None:
    """Health is told by the service; metrics on a port of their own, with nothing else."""
    with _running("full", "--json", "--metrics-port", "0") as running:
        assert running.ask("/healthz").status == 200
        ready = running.ask("/readyz")
        assert (ready.status, json.loads(ready.body)["reasons"]) == (503, ["the disk is full"])
        running.ask()
        running.ask("/bug")
        metrics = running.ask("/metrics", metrics=True).body.decode()
        assert 'keystead_http_requests_total{route="/any",status="200"} 1.0' in metrics
        assert 'keystead_http_requests_total{route="other",status="500"} 1.0' in metrics
        assert 'keystead_http_request_seconds_count{route="/any"} 1.0' in metrics
        assert "keystead_test 42.0" in metrics
        assert "keystead_http_connections 0.0" in metrics
        assert running.ask("/", metrics=True).status == 404
        assert running.ask("/healthz", metrics=True).status == 404
        assert running.ask("/metrics").body == b"127.0.0.1"


def test_bindings_that_would_expose_are_refused() -> None:
    """Others may connect only if that is said, and how it is safe."""
    for arguments, hint in (
        (("--host", "0.0.0.0"), "--public"),  # noqa: S104 - what is refused
        (("--host", "0.0.0.0", "--public"), "--behind-proxy"),  # noqa: S104 - as above
        (("--host", "::"), "--public"),
        (("--tls-cert", "cert.pem"), "--help"),
        (("--tls-cert", "none.pem", "--tls-key", "none.pem"), "path"),
        (("--host", "no.such.host.invalid", "--public", "--behind-proxy"), "--host"),
    ):
        with _running(*arguments) as running:
            _, told = running.process.communicate(timeout=20)
            assert running.process.returncode == 1
            assert "[usage." in told.decode()
            assert hint in told.decode()
    with _running("--host", "0.0.0.0", "--public", "--behind-proxy") as running:  # noqa: S104 - as above
        assert running.ask().status == 200
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            with _running("--metrics-port", port) as late:
                _, told = late.process.communicate(timeout=20)
                assert "cannot listen there" in told.decode()
                assert late.process.returncode == 1


def test_certificates_are_renewed_while_serving(tmp_path: Path) -> None:
    """SIGHUP reads the certificate again; one that does not fit changes nothing."""
    authority = trustme.CA()
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def issue() -> None:
        issued = authority.issue_cert("127.0.0.1")
        files[0].write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        files[1].write_bytes(issued.private_key_pem.bytes())

    def serial() -> str:
        with (
            socket.create_connection(("127.0.0.1", running.ports[0]), 10) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            assert connection.version() == "TLSv1.3"
            return str((connection.getpeercert() or {})["serialNumber"])

    def renew() -> str:
        running.process.send_signal(signal.SIGHUP)
        assert running.process.stderr
        return str(json.loads(running.process.stderr.readline())["event"])

    issue()
    with _running("--tls-cert", str(files[0]), "--tls-key", str(files[1])) as running:
        assert running.announced.startswith("listening on https://")
        assert running.process.stderr
        assert b"started" in running.process.stderr.readline()
        first = serial()
        issue()
        assert serial() == first
        assert renew() == "certificate renewed"
        second = serial()
        assert second != first
        files[1].write_bytes(b"no key")
        assert renew() == "certificate not renewed"
        assert serial() == second


def test_systemd_is_told(tmp_path: Path) -> None:
    """A service that systemd started tells when it is ready and when it stops."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(path))
        notified.settimeout(10)
        with _running(NOTIFY_SOCKET=str(path)) as running:
            assert notified.recv(100) == b"READY=1"
            running.stop()
            assert notified.recv(100) == b"STOPPING=1"
    with _running(NOTIFY_SOCKET="@nobody listens here") as running:
        assert running.stop()[0] == 0
