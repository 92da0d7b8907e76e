"""The HTTP server over real sockets: what strangers send, and what they do not."""

import asyncio
import gc
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from keystead.errors import ErrorCode, StoreError
from keystead.services.http import HttpLimits, Request, Response
from keystead.services.tls import TlsFiles, server_context
from support.serving import QUICK, Answered, Served, is_closed, read_answer, serving

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
ENDLESS = b"a" * 65_536


@pytest.fixture(name="served", scope="module")
def _served() -> Iterator[Served]:
    with serving() as served:
        yield served


def _works(served: Served) -> None:
    """Another client is served as ever."""
    assert served.ask(GET).body == b"GET /a?b=c 127.0.0.1 "


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (GET, b"GET /a?b=c 127.0.0.1 "),
        (POST, b"POST /p? 127.0.0.1 hello"),
        (CHUNKED, b"POST /p? 127.0.0.1 hello"),
        (b"GET http://X/y?z HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /y?z 127.0.0.1 "),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS *? 127.0.0.1 "),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET /? 127.0.0.1 "),
        (b"PUT /%41 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"PUT /%41? 127.0.0.1 "),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            b"GET /? 127.0.0.1 ",
        ),
    ],
    ids=["get", "length", "chunks", "absolute", "asterisk", "old", "escaped", "upgrade"],
)
def test_good_requests_are_answered(served: Served, raw: bytes, body: bytes) -> None:
    """Each form of a request gets through to the application, whole or byte by byte."""
    assert served.ask(raw).body == body
    with served.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(raw)):
            connection.sendall(raw[at : at + 1])
            if at % 10 == 0:
                time.sleep(0.001)
        assert read_answer(connection).body == body


def test_answers_have_what_http_asks(served: Served) -> None:
    """An answer tells date, type and length; HEAD gets the head alone."""
    answer = served.ask(GET)
    assert answer.status == 200
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["date"])
    assert answer.headers["content-type"] == "text/plain"
    with served.connect() as connection:
        connection.sendall(GET.replace(b"GET", b"HEAD") + GET)
        head = read_answer(connection, method="HEAD")
        assert int(head.headers["content-length"]) == len(b"HEAD /a?b=c 127.0.0.1 ")
        assert read_answer(connection).body == answer.body


def test_answers_do_not_pile_up_for_who_does_not_read() -> None:
    """A peer that asks on and on without reading gets no more made than fits on the way."""
    made = []

    async def large(request: Request) -> Response:
        made.append(request.path)
        return Response(200, b"x" * 1_000_000)

    with serving(large) as served, served.connect(timeout=0.5) as connection:
        with pytest.raises(TimeoutError):  # noqa: PT012 - how much the kernel takes is open
            while True:
                connection.sendall(GET * 1000)
        assert len(made) < 20
        before = len(made)
        for _ in range(before):
            assert len(read_answer(connection).body) == 1_000_000
        assert read_answer(connection).status == 200


def test_connections_are_kept_and_pipelines_are_answered_in_order() -> None:
    """A slow answer comes before a quick one that was asked later; the connection stays."""

    async def slow_first(request: Request) -> Response:
        if request.path == "/slow":
            await asyncio.sleep(0.2)
        return Response(200, request.path.encode())

    with serving(slow_first) as served, served.connect() as connection:
        paths = [b"/slow", b"/1", b"/slow", *(b"/%d" % number for number in range(500))]
        connection.sendall(b"".join(GET.replace(b"/a?b=c", path) for path in paths))
        with connection.makefile("rb") as file:
            for path in paths:
                assert file.readline() == b"HTTP/1.1 200 OK\r\n"
                while file.readline() != b"\r\n":
                    pass
                assert file.read(len(path)) == path


@pytest.mark.parametrize("raw", [GET, POST, CHUNKED], ids=["get", "length", "chunks"])
def test_truncation_anywhere_ends_that_connection_alone(served: Served, raw: bytes) -> None:
    """A request that is cut at any byte gets no answer of the application; others are served."""
    for end in range(len(raw)):
        with served.connect() as connection:
            connection.sendall(raw[:end])
            connection.shutdown(socket.SHUT_WR)
            assert is_closed(connection), end
    _works(served)
    assert served.run(lambda: served.server.requests) == 0


def test_two_halves_of_two_connections_are_not_mixed(served: Served) -> None:
    """What one connection left unfinished is not continued by another."""
    with served.connect() as one, served.connect() as two:
        one.sendall(POST[:-3])
        two.sendall(CHUNKED[:-9])
        _works(served)
        one.sendall(b"LLO")
        two.sendall(CHUNKED[-9:])
        assert read_answer(one).body.endswith(b"heLLO")
        assert read_answer(two).body.endswith(b"hello")


def test_slow_heads_are_refused_in_time(served: Served) -> None:
    """A head that drips in is refused with 408 at its deadline; nothing at all is just closed."""
    began = time.monotonic()
    with served.connect() as slow, served.connect() as silent:
        with pytest.raises(ConnectionError):  # noqa: PT012 - which byte is too late is open
            for byte in GET + b"x" * 1000:
                slow.sendall(bytes([byte]))
                time.sleep(0.1)
        assert is_closed(silent)
    assert 0.9 <= time.monotonic() - began <= 6
    with served.connect() as slow:
        slow.sendall(GET[:-2])
        assert read_answer(slow).status == 408
    _works(served)


def test_slow_bodies_are_refused() -> None:
    """A body below the pace is refused with 408, and so is one that is not complete in time."""
    with serving(limits=replace(QUICK, body_seconds=30.0)) as served, served.connect() as drip:
        drip.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"a" * 100)
        began = time.monotonic()
        assert read_answer(drip).status == 408
        assert 1.5 <= time.monotonic() - began <= 6
    with serving(limits=replace(QUICK, body_rate=1)) as served, served.connect() as drip:
        drip.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"a" * 100)
        began = time.monotonic()
        assert read_answer(drip).status == 408
        assert 2.9 <= time.monotonic() - began <= 6


def test_idle_connections_are_closed(served: Served) -> None:
    """After an answer, a connection without further requests is closed."""
    with served.connect() as connection:
        connection.sendall(GET)
        assert read_answer(connection).status == 200
        began = time.monotonic()
        assert is_closed(connection)
        assert 0.9 <= time.monotonic() - began <= 5


def test_who_does_not_read_is_cut_off() -> None:
    """An answer that the peer does not take is dropped, and the connection with it."""

    async def large(request: Request) -> Response:
        del request
        return Response(200, b"x" * 32_000_000)

    with serving(large) as served, served.connect() as connection:
        connection.sendall(GET)
        began = time.monotonic()
        while served.run(lambda: served.server.connections) and time.monotonic() - began < 10:
            time.sleep(0.1)
        assert served.run(lambda: served.server.connections) == 0
        with pytest.raises(ConnectionError):  # noqa: PT012 - how much had arrived is open
            while connection.recv(1_000_000):
                pass
            raise ConnectionError


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3000, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
    ],
    ids=["target", "header", "headers", "chunks", "chunk"],
)
def test_endless_requests_are_refused_while_they_arrive(
    served: Served, start: bytes, status: int
) -> None:
    """What does not end is refused at its limit, with an answer, and nothing more is read."""
    piece = b"10000\r\n" + ENDLESS + b"\r\n" if start.endswith(b"chunked\r\n\r\n") else ENDLESS
    with served.connect() as connection:
        connection.sendall(start)
        for _ in range(4):
            connection.sendall(piece)
        answer = read_answer(connection)
        assert answer.status == status
        assert answer.error == f"http.{status}"
        assert answer.headers["connection"] == "close"
        with pytest.raises(ConnectionError):  # noqa: PT012 - when the end is felt is open
            for _ in range(1000):
                connection.sendall(ENDLESS)
    _works(served)


def test_declared_bodies_are_refused_before_they_are_sent() -> None:
    """A route says how much it takes; more is refused on the word alone, without 100."""
    with serving(route_limit=lambda _method, path: 10 if path == "/p" else 0) as served:
        refused = POST.replace(b": 5", b": 11")[:-5]
        answer = served.ask(refused.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert (answer.status, answer.error) == (413, "http.413")
        assert served.ask(POST).status == 200
        assert served.ask(POST.replace(b"/p", b"/q")).status == 413
        assert served.ask(CHUNKED.replace(b"/p", b"/q")).status == 413
        assert served.refused == [413, 413, 413]


def test_peers_may_ask_before_they_send(served: Served) -> None:
    """`Expect: 100-continue` is answered when the body may come; other expectations are 417."""
    with served.connect() as connection:
        asked = POST[:-5].replace(b"Host", b"Expect: 100-continue\r\nHost")
        connection.sendall(asked)
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert read_answer(connection).body.endswith(b"hello")
    assert served.ask(asked.replace(b"100-continue", b"wonders")).status == 417


def test_half_closed_peers_get_their_answer() -> None:
    """Who sends a request and then says that nothing more comes is answered."""

    async def late(request: Request) -> Response:
        await asyncio.sleep(0.2)
        return Response(200, request.body)

    with serving(late) as served, served.connect() as connection:
        connection.sendall(POST)
        connection.shutdown(socket.SHUT_WR)
        assert read_answer(connection).body == b"hello"
        assert is_closed(connection)


def test_failures_of_the_application_are_answers() -> None:
    """Errors become answers with stable codes, without traces or texts of unexpected ones."""

    async def failing(request: Request) -> Response:
        match request.path:
            case "/full":
                raise StoreError(ErrorCode.STORE_FULL, "the disk is full")
            case "/bug":
                raise RuntimeError("secret")
            case "/header":
                return Response(200, b"", "", {"A": "b\r\nC: d"})
            case "/status":
                return Response(999)
            case "/cancelled":
                raise asyncio.CancelledError
            case _:
                return Response(204)

    with serving(failing) as served, served.connect() as connection:
        answers: list[Answered] = []
        for path in (b"/full", b"/bug", b"/header", b"/status", b"/ok"):
            connection.sendall(GET.replace(b"/a?b=c", path))
            answers.append(read_answer(connection))
        assert [one.status for one in answers] == [503, 500, 500, 500, 204]
        assert answers[0].error == "store.full"
        assert answers[0].headers["retry-after"] == "1"
        assert all(b"secret" not in one.body for one in answers)
        assert "content-length" not in answers[4].headers
        assert len(served.failed) == 3
        connection.sendall(GET.replace(b"/a?b=c", b"/cancelled"))
        assert is_closed(connection)
        assert served.run(lambda: served.server.requests) == 0


def test_too_many_requests_are_told_to_come_back() -> None:
    """Beyond the bound on requests in progress, 503 comes at once and the connection stays."""
    go = threading.Event()

    async def waiting(request: Request) -> Response:
        await asyncio.to_thread(go.wait, 10)
        return Response(200, request.path.encode())

    with serving(waiting, replace(QUICK, requests=2)) as served, ExitStack() as stack:
        asked = [stack.enter_context(served.connect()) for _ in range(2)]
        for connection in asked:
            connection.sendall(GET)
        while served.run(lambda: served.server.requests) < 2:
            time.sleep(0.01)
        late = stack.enter_context(served.connect())
        late.sendall(GET)
        refused = read_answer(late)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "connection" not in refused.headers
        go.set()
        assert [read_answer(one).status for one in asked] == [200, 200]
        late.sendall(GET)
        assert read_answer(late).status == 200


def test_content_that_waits_is_bounded_in_all() -> None:
    """Many bodies that are nearly complete do not fill the memory."""
    limits = replace(QUICK, buffered=100_000, body=60_000)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    with serving(limits=limits) as served, served.connect() as one, served.connect() as two:
        one.sendall(post + b"a" * 59_000)
        time.sleep(0.2)
        two.sendall(post + b"a" * 59_000)
        assert read_answer(two).status == 503
        one.sendall(b"a" * 1000)
        assert read_answer(one).status == 200
        assert served.ask(post + b"a" * 60_000).status == 200


@pytest.mark.parametrize("limits", [
    replace(QUICK, per_loopback=3), replace(QUICK, connections=3),
], ids=["address", "all"])  # fmt: skip
def test_connections_are_bounded(limits: HttpLimits) -> None:
    """One connection too many gets 503 and is closed; when another ends there is room."""
    with serving(limits=replace(limits, head_seconds=20.0)) as served, ExitStack() as stack:
        held = [stack.enter_context(served.connect()) for _ in range(3)]
        for connection in held:
            connection.sendall(GET)
            assert read_answer(connection).status == 200
        with served.connect() as late:
            answer = read_answer(late)
            assert (answer.status, answer.error) == (503, "http.503")
            assert is_closed(late)
        held[0].close()
        time.sleep(0.2)
        _works(served)
        assert served.refused == [503]


def test_slow_connections_make_room() -> None:
    """A server full of connections that wait still serves others quickly."""
    limits = replace(HttpLimits(), connections=100)
    with serving(limits=limits) as served, ExitStack() as stack:
        slow = [stack.enter_context(served.connect()) for _ in range(100)]
        for connection in slow:
            connection.sendall(GET[:-5])
        time.sleep(0.2)
        for _ in range(20):
            began = time.monotonic()
            assert served.ask(GET).status == 200
            assert time.monotonic() - began < 0.5
        slow[-1].sendall(GET[-5:])
        assert read_answer(slow[-1]).status == 200
        assert is_closed(slow[0])
    with serving(limits=limits) as served, ExitStack() as stack:
        busy = [stack.enter_context(served.connect()) for _ in range(100)]
        time.sleep(1.1)
        for connection in busy:
            connection.sendall(GET)
            assert read_answer(connection).status == 200
        assert served.ask(GET).status == 503


def test_peers_may_end_the_connection(served: Served) -> None:
    """`Connection: close` is honoured, and nothing behind it is read."""
    with served.connect() as connection:
        connection.sendall(GET.replace(b"Host", b"Connection: Close\r\nHost") + GET)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert is_closed(connection)
    with served.connect() as connection:
        old = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        connection.sendall(old + old)
        assert read_answer(connection).headers["connection"] == "keep-alive"
        assert read_answer(connection).status == 200


def test_proxies_name_the_client() -> None:
    """Behind a proxy, the client is the last entry; what clients say themselves is ignored."""
    named = GET.replace(b"Host", b"X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nHost")
    with serving(behind_proxy=True, limits=replace(QUICK, per_loopback=0)) as served:
        assert served.ask(named).body == b"GET /a?b=c 203.0.113.7 "
        assert served.ask(GET).body == b"GET /a?b=c 127.0.0.1 "
        twice = named.replace(b"Host", b"X-Forwarded-For: ::ffff:203.0.113.8\r\nHost")
        assert served.ask(twice).body == b"GET /a?b=c 203.0.113.8 "
    with serving() as served:
        assert served.ask(named).body == b"GET /a?b=c 127.0.0.1 "


_FEW = """
import asyncio, resource, sys
from keystead.services.http import Response
from keystead.services.listening import HttpServer
async def answer(request):
    return Response(200, b"fine")
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    server = HttpServer(answer)
    print((await server.start("127.0.0.1", 0))[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)
    print("stopped", flush=True)
asyncio.run(main())
"""


def test_running_out_of_descriptors_is_a_pause() -> None:
    """Without descriptors accepting pauses, quietly and cheaply; then it goes on."""
    with subprocess.Popen(
        [sys.executable, "-c", _FEW],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdin and child.stdout and child.stderr  # noqa: PT018 - all are pipes
        port = int(child.stdout.readline())
        with ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                for _ in range(60)
            ]
            time.sleep(0.5)
            before = _cpu_seconds(child.pid)
            time.sleep(1.0)
            assert _cpu_seconds(child.pid) - before < 0.3
            connections[0].sendall(GET)
            assert read_answer(connections[0]).body == b"fine"
            for connection in connections[:40]:
                connection.close()
            connections[-1].sendall(GET)
            assert read_answer(connections[-1]).body == b"fine"
        child.stdin.close()
        assert child.stdout.read() == b"stopped\n"
        assert child.stderr.read() == b""
        assert child.wait(10) == 0


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Endless:
    """An application with a stream; it tells when the stream was ended."""

    def __init__(self, piece: bytes = b"data: x\n\n", pause: float = 0.01) -> None:
        self.ended = threading.Event()
        self.made = 0
        self._piece = piece
        self._pause = pause

    async def __call__(self, request: Request) -> Response:
        if request.path == "/broken":
            return Response(200, stream=self._broken())
        if request.path == "/end":
            return Response(200, stream=self._badly_ended())
        return Response(200, content_type="text/event-stream", stream=self._stream())

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.made += 1
                yield self._piece
                await asyncio.sleep(self._pause)
        finally:
            self.ended.set()

    async def _broken(self) -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("secret")

    async def _badly_ended(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(self._pause)
        finally:
            self.ended.set()
            raise RuntimeError("secret")


def test_streams_end_when_the_client_goes() -> None:
    """A stream is cancelled when its client closes, half closes or resets."""
    for goes in ("close", "half", "reset"):
        endless = _Endless()
        with serving(endless) as served, served.connect() as connection:
            connection.sendall(GET)
            assert b"text/event-stream" in connection.recv(4096)
            assert b"data: x" in connection.recv(4096)
            if goes == "half":
                connection.shutdown(socket.SHUT_WR)
            if goes == "reset":
                linger = b"\1\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if goes != "half":
                connection.close()
            assert endless.ended.wait(5), goes
            assert served.failed == []


def test_streams_wait_for_slow_clients_and_give_up_on_dead_ones() -> None:
    """A stream makes no more than what is taken, and ends when nothing is for too long."""
    endless = _Endless(b"x" * 65_536, 0)
    with serving(endless) as served, served.connect() as connection:
        connection.sendall(GET)
        time.sleep(0.5)
        made = endless.made
        assert made * 65_536 < 16_000_000
        assert endless.ended.wait(5)
        assert endless.made - made < 10


def test_streams_that_fail_do_not_look_complete() -> None:
    """A stream that broke off ends without its last chunk; for old peers it just ends."""
    with serving(_Endless()) as served:
        with served.connect() as connection:
            connection.sendall(GET.replace(b"/a?b=c", b"/broken"))
            with pytest.raises((EOFError, ConnectionError)):
                read_answer(connection)
        assert [str(one) for one in served.failed] == ["secret"]
        with served.connect() as connection:
            connection.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            start = connection.recv(300)
            assert b"Connection: close" in start
            assert b"chunked" not in start
    endless = _Endless()
    with serving(endless) as served:
        for method in (b"GET", b"HEAD"):
            with served.connect() as connection:
                connection.sendall(GET.replace(b"GET /a?b=c", method + b" /end"))
                assert connection.recv(300)
        assert endless.ended.wait(5)
        _works_again(served)


def _works_again(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(GET)
        assert connection.recv(300).startswith(b"HTTP/1.1 200")


def test_stopping_finishes_what_is_in_progress() -> None:
    """A graceful stop answers what was asked, ends streams well, and takes nothing new."""
    go = threading.Event()
    endless = _Endless()

    async def application(request: Request) -> Response:
        if request.path == "/stream":
            return await endless(request)
        await asyncio.to_thread(go.wait, 10)
        return Response(200, b"done")

    with serving(application) as served, ExitStack() as stack:
        working, stream, idle = (stack.enter_context(served.connect()) for _ in range(3))
        stream.sendall(GET.replace(b"/a?b=c", b"/stream"))
        assert stream.recv(10)
        working.sendall(GET)
        while not served.run(lambda: served.server.requests):
            time.sleep(0.01)
        stopping = threading.Thread(target=served.stop, args=(10.0,))
        began = time.monotonic()
        stopping.start()
        assert is_closed(idle)
        streamed = b""
        while piece := stream.recv(65_536):
            streamed += piece
        assert streamed.endswith(b"\r\n0\r\n\r\n")
        assert endless.ended.is_set()
        with pytest.raises(ConnectionError):
            served.connect().close()
        go.set()
        answer = read_answer(working)
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        stopping.join()
        assert time.monotonic() - began < 5


def test_stopping_cuts_off_what_takes_too_long() -> None:
    """After the grace, what is still in progress is cancelled."""
    cancelled = threading.Event()

    async def stuck(request: Request) -> Response:
        del request
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return Response(200)

    with serving(stuck) as served, served.connect() as connection:
        connection.sendall(GET)
        while not served.run(lambda: served.server.requests):
            time.sleep(0.01)
        served.stop(0.3)
        assert cancelled.wait(5)
        assert is_closed(connection)


def test_nothing_is_left_behind(served: Served) -> None:
    """After thousands of requests, good and bad, no connection and no task is left."""
    bad = b"BAD\r\n\r\n"
    for _ in range(200):
        with served.connect() as connection:
            connection.sendall(GET + POST + CHUNKED + bad)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
    for _ in range(50):
        if served.run(lambda: served.server.connections) == 0:
            break
        time.sleep(0.1)
    assert served.run(lambda: served.server.connections) == 0
    gc.collect()
    assert served.run(lambda: len(asyncio.all_tasks())) == 1


@pytest.fixture(name="authority", scope="module")
def _authority() -> trustme.CA:
    return trustme.CA()


def _files(authority: trustme.CA, folder: Path, *, old: bool = False) -> TlsFiles:
    issued = authority.issue_cert("127.0.0.1")
    files = TlsFiles(folder / "cert.pem", folder / "key.pem", old)
    files.certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())
    return files


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _serial(served: Served, context: ssl.SSLContext) -> str:
    with (
        served.connect() as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(POST)
        assert read_answer(connection).body.endswith(b"hello")
        return str((connection.getpeercert() or {})["serialNumber"])


def test_tls_is_version_1_3_unless_asked(authority: trustme.CA, tmp_path: Path) -> None:
    """TLS 1.2 is refused by default; handshakes that fail or stall hurt nobody else."""
    old = _trusting(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(tls=server_context(_files(authority, tmp_path))) as served:
        assert _serial(served, _trusting(authority))
        with pytest.raises(ssl.SSLError):
            _serial(served, old)
        with served.connect() as plain, served.connect() as silent:
            plain.sendall(GET)
            plain_answer = plain.recv(4096)
            assert b"HTTP" not in plain_answer
            assert _serial(served, _trusting(authority))
            assert is_closed(silent)
        time.sleep(0.1)
        assert served.run(lambda: served.server.connections) == 0
    with serving(tls=server_context(_files(authority, tmp_path, old=True))) as served:
        assert _serial(served, old)


def test_tls_refusals_and_streams(authority: trustme.CA, tmp_path: Path) -> None:
    """Over TLS too, what is refused is told, and streams end when their client goes."""
    endless = _Endless()
    context = _trusting(authority)
    with serving(endless, tls=server_context(_files(authority, tmp_path))) as served:
        with context.wrap_socket(served.connect(), server_hostname="127.0.0.1") as connection:
            connection.sendall(POST.replace(b": 5", b": 999999"))
            assert read_answer(connection).status == 413
        with context.wrap_socket(served.connect(), server_hostname="127.0.0.1") as connection:
            connection.sendall(GET)
            assert connection.recv(100)
        assert endless.ended.wait(5)
