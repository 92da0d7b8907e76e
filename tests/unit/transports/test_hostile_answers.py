"""Whatever a peer answers, a call ends within its time and size, and by a code."""

import gzip
import itertools
import socket
import time
from collections.abc import Callable

import pytest

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Call
from keystead.transports.client import HttpTransport
from keystead.transports.guard import FetchPolicy
from support.listeners import Listener, read_request, saying, silent

OK = b"HTTP/1.1 200 OK\r\n"
SMALL = FetchPolicy(allow_loopback=True, answer=1000, head=2000, total=20)


def _error(script: Callable[[socket.socket], None], policy: FetchPolicy = SMALL) -> TransportError:
    with Listener(script) as server:
        call = Call("GET", f"http://127.0.0.1:{server.port}/", accept=("application/json",))
        with pytest.raises(TransportError) as caught:
            HttpTransport(policy).call(call)
    return caught.value


def _endless(start: bytes, piece: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    """Return a script that never stops to answer."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(start)
        while True:
            sock.sendall(piece)
            time.sleep(pause)

    return script


CHUNKED = OK + b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"x"),
        (b"H", b"TTP/1.1"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK, b"A: b\r\n"),
        (OK + b"A: ", b"b" * 100),
        (OK, b" folded\r\n"),
        (OK + b"Content-Type: application/json\r\n\r\n", b"[" * 100),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"3E8\r\n" + b"x" * 1000 + b"\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"1;", b"extension"),
        (CHUNKED + b"0\r\n", b"Trailer: x\r\n"),
    ],
)
def test_endless_answers_are_cut_off(start: bytes, piece: bytes) -> None:
    """Endless status lines, headers, bodies, chunks and trailers end the call for their size."""
    error = _error(_endless(start, piece))
    assert error.code in (ErrorCode.ANSWER_TOO_LARGE, ErrorCode.ANSWER)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"H"),
        (OK, b"A: b\r\n"),
        (OK + b"A: ", b"b"),
        (OK + b"Content-Type: application/json\r\n\r\n", b"["),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"0"),
    ],
)
def test_answers_in_drops_end_at_the_deadline(start: bytes, piece: bytes) -> None:
    """A peer that sends a little now and then is cut off when the time of the call is over."""
    policy = FetchPolicy(allow_loopback=True, total=0.5)
    begun = time.monotonic()
    error = _error(_endless(start, piece, pause=0.02), policy)
    assert error.code is ErrorCode.TIMEOUT
    assert 0.4 < time.monotonic() - begun < 10


def test_a_silent_peer_is_given_up() -> None:
    """A peer that takes the request and says nothing is cut off as well."""
    assert _error(silent, FetchPolicy(allow_loopback=True, total=0.3)).code is ErrorCode.TIMEOUT


def test_a_peer_that_does_not_read_is_given_up() -> None:
    """A request that nobody takes ends at the deadline too."""
    transport = HttpTransport(FetchPolicy(allow_loopback=True, total=0.5))
    with Listener(lambda _: time.sleep(1.5)) as server:
        call = Call("POST", f"http://127.0.0.1:{server.port}/", bytes(32 * 1024 * 1024))
        with pytest.raises(TransportError) as caught:
            transport.call(call)
    assert caught.value.code is ErrorCode.TIMEOUT


def test_an_early_refusal_is_read() -> None:
    """A peer that answers before it has read all of the request is heard."""
    said = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"

    def script(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        silent(sock)

    with Listener(script) as server:
        call = Call("POST", f"http://127.0.0.1:{server.port}/", bytes(4 * 1024 * 1024))
        assert HttpTransport(FetchPolicy.local()).call(call).status == 413


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 1001\r\n\r\n",
        OK + b"Content-Length: 99999999999999999\r\n\r\n",
        OK + b"Content-Type: application/json\r\n\r\n" + b" " * 1001,
        OK + b"A: " + b"b" * 3000 + b"\r\n\r\n",
    ],
)
def test_large_answers_are_refused(answer: bytes) -> None:
    """An answer that tells it is too large, or is, is refused."""
    assert _error(saying(answer)).code is ErrorCode.ANSWER_TOO_LARGE


def test_an_answer_of_the_greatest_size_is_read() -> None:
    """The bound itself is allowed, in one piece and in the smallest chunks."""
    chunks = b"1\r\nx\r\n" * 500
    for answer, size in (
        (OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000, 1000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", 500),
    ):
        with Listener(saying(answer)) as server:
            call = Call("GET", f"http://127.0.0.1:{server.port}/")
            assert len(HttpTransport(SMALL).call(call).body) == size


BOMB = gzip.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 1000 High\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"+OK\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
        OK + b"Content-Encoding: br\r\n\r\n",
        OK + b"Content-Encoding: identity, gzip\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1_0\r\n\r\n0123456789",
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 10\r\nContent-Type: application/json\r\n\r\nshort",
        OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: b\r\n" * 101 + b"\r\n",
        CHUNKED + b"5\r\nshort",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"-5\r\nshort\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED,
        OK + b"Content-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Type: application/json+evil\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Type: text/html; application/json\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Type: application/json\r\nContent-Type: text/html\r\n\r\nhi",
        OK + b"Content-Length: 2\r\n\r\nhi",
    ],
    ids=lambda answer: ascii(answer[:60]),
)
def test_other_answers_are_none(answer: bytes) -> None:
    """What is no HTTP, packed, framed oddly, cut off or of another type is no answer."""
    expected = (ErrorCode.ANSWER,) if answer else (ErrorCode.UNREACHABLE,)
    assert _error(saying(answer)).code in expected


def test_errors_may_have_any_type() -> None:
    """The wanted type is asked of success only; a peer's error tells itself."""
    text = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"
    with Listener(saying(text)) as server:
        call = Call("GET", f"http://127.0.0.1:{server.port}/", accept=("application/json",))
        assert HttpTransport(SMALL).call(call).status == 404


def test_no_answer_at_all_is_unreachable() -> None:
    """Connections that are reset or closed at once count as nobody."""
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"

    def reset(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    for script in (reset, lambda _: None):
        assert _error(script).code is ErrorCode.UNREACHABLE


def test_cookies_are_not_kept() -> None:
    """What a peer wants remembered is not sent to it again."""
    seen: list[dict[str, str]] = []

    def script(sock: socket.socket) -> None:
        for number in itertools.count():
            first, headers, _ = read_request(sock)
            if not first:
                return
            seen.append(headers)
            cookie = f"Set-Cookie: a={number}\r\nWWW-Authenticate: Basic\r\n"
            sock.sendall(OK + cookie.encode() + b"Content-Length: 0\r\n\r\n")

    with Listener(script) as server:
        transport = HttpTransport(FetchPolicy.local())
        for _ in range(2):
            transport.call(Call("GET", f"http://127.0.0.1:{server.port}/"))
        transport.close()
    assert seen[0] == seen[1]
    assert not {"cookie", "authorization"} & set(seen[1])
