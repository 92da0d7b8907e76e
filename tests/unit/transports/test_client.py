"""Calls over real sockets: what arrives, what comes back, and which connection is used."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address

import pytest

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Answer, Call
from keystead.transports.addresses import Address
from keystead.transports.client import HttpTransport
from keystead.transports.connection import system_dial
from keystead.transports.guard import FetchPolicy
from support.listeners import Listener, answering, read_request, saying, silent

LOCAL = FetchPolicy.local()


def _url(listener: Listener, path: str = "/") -> str:
    return f"http://127.0.0.1:{listener.port}{path}"


def _error(transport: HttpTransport, call: Call) -> TransportError:
    with pytest.raises(TransportError) as caught:
        transport.call(call)
    return caught.value


def test_a_request_arrives_as_it_was_meant() -> None:
    """Method, path, headers and content arrive, and nothing else that tells of the caller."""
    seen: list[tuple[str, dict[str, str], bytes]] = []

    def script(sock: socket.socket) -> None:
        seen.append(read_request(sock))
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Listener(script) as server:
        headers = {"CESR-ATTACHMENT": "-AAB", "Content-Type": "application/cesr+json"}
        call = Call("POST", _url(server, "/a?b=c"), b"{}", headers, ("application/json",))
        answer = HttpTransport(LOCAL).call(call)
        host = f"127.0.0.1:{server.port}"
    assert answer == Answer(204, "", {}, b"")
    assert seen == [
        (
            "POST /a?b=c HTTP/1.1",
            {
                "host": host,
                "accept": "application/json",
                "accept-encoding": "identity",
                "cesr-attachment": "-AAB",
                "content-type": "application/cesr+json",
                "content-length": "2",
            },
            b"{}",
        )
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nhi",
            (200, "text/plain", b"hi"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n",
            (200, "", b"hi!"),
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nup to the end", (200, "", b"up to the end")),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", (404, "", b"none")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", (202, "", b"")),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", (302, "", b"")),
    ],
)  # fmt: skip
def test_answers_are_read_in_every_framing(text: bytes, answer: tuple[int, str, bytes]) -> None:
    """Lengths, chunks and the end of the connection end an answer; any status is one."""
    with Listener(saying(text)) as server:
        told = HttpTransport(LOCAL).call(Call("GET", _url(server)))
    assert (told.status, told.content_type, told.body) == answer


def test_headers_that_repeat_are_joined() -> None:
    """Two headers of one name become one, in lower case."""
    text = b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n"
    with Listener(saying(text)) as server:
        assert HttpTransport(LOCAL).call(Call("GET", _url(server))).headers["a"] == "1, 2"


def test_connections_are_used_again() -> None:
    """Calls to one server share a connection while it is open."""
    with Listener(answering()) as server:
        transport = HttpTransport(LOCAL)
        for _ in range(5):
            assert transport.call(Call("POST", _url(server), b"x")).body == b"hello"
        assert server.connections == 1
        transport.close()
        assert transport.call(Call("GET", _url(server))).body == b"hello"
        assert server.connections == 2
        transport.close()


def _once_then(close: Callable[[socket.socket], object]) -> Callable[[socket.socket], None]:
    """Answer the first request of a connection; then do something to it."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        close(sock)

    return script


def test_a_connection_that_was_closed_in_between_is_replaced() -> None:
    """A server that closes after each answer, without saying so, is called on new connections."""
    with Listener(_once_then(lambda _: None)) as server:
        transport = HttpTransport(LOCAL)
        for _ in range(3):
            assert transport.call(Call("GET", _url(server))).body == b"hi"
            time.sleep(0.05)
        assert server.connections == 3


def test_a_call_is_sent_again_when_the_kept_connection_ends_without_an_answer() -> None:
    """A server that closes when the second request comes gets it once more."""
    with Listener(_once_then(read_request)) as server:
        transport = HttpTransport(LOCAL)
        for _ in range(2):
            assert transport.call(Call("POST", _url(server), b"event")).body == b"hi"
        assert server.connections == 2
        transport.close()


def test_a_server_that_speaks_unasked_loses_the_connection() -> None:
    """Bytes that come between two calls are never taken for the second answer."""
    heard, said = threading.Event(), threading.Event()

    def speak(sock: socket.socket) -> None:
        heard.wait(30)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        said.set()
        silent(sock)

    with Listener(_once_then(speak)) as server:
        transport = HttpTransport(LOCAL)
        assert transport.call(Call("GET", _url(server))).body == b"hi"
        heard.set()
        assert said.wait(30)
        assert transport.call(Call("GET", _url(server))).body == b"hi"
        assert server.connections == 2
        transport.close()


def test_a_broken_answer_is_not_asked_for_again() -> None:
    """Once a byte of an answer came, the call has arrived and is not repeated."""

    def half(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 2")

    with Listener(_once_then(half)) as server:
        transport = HttpTransport(LOCAL)
        transport.call(Call("GET", _url(server)))
        assert _error(transport, Call("GET", _url(server))).code is ErrorCode.ANSWER
        assert server.connections == 1


def test_the_next_address_is_tried_when_one_is_dead() -> None:
    """A host with two addresses is reached at the one that answers."""
    dialled: list[Address] = []

    def dial(address: Address, port: int, seconds: float) -> socket.socket:
        dialled.append(address)
        return system_dial(address, port, seconds)

    found: list[Address] = [IPv6Address("::1"), IPv4Address("127.0.0.1")]
    with Listener(answering()) as server:
        transport = HttpTransport(LOCAL, resolve=lambda _host, _port: found, dial=dial)
        assert transport.call(Call("GET", f"http://two.example:{server.port}/")).status == 200
        transport.close()
    assert dialled == found


def test_nobody_listens() -> None:
    """A refused connection is told by code."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = _error(HttpTransport(LOCAL), Call("GET", f"http://127.0.0.1:{port}/"))
    assert error.code is ErrorCode.UNREACHABLE


def test_a_name_without_addresses_is_unreachable() -> None:
    """Nothing is connected to when the resolver finds nothing or fails."""

    def unknown(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, f"{host} {port}")

    def empty(host: str, port: int) -> list[Address]:
        del host, port
        return []

    for resolve in (unknown, empty):
        error = _error(HttpTransport(resolve=resolve), Call("GET", "https://no.example/"))
        assert error.code is ErrorCode.UNREACHABLE


def test_a_connection_that_never_opens_takes_no_longer_than_allowed() -> None:
    """An attempt to connect has its own time, and the next address is tried after it."""
    tried: list[float] = []

    def dial(address: Address, port: int, seconds: float) -> socket.socket:
        tried.append(seconds)
        raise TimeoutError(f"{address} {port}")

    found: list[Address] = [IPv4Address("9.9.9.9"), IPv4Address("149.112.112.112")]
    transport = HttpTransport(resolve=lambda _host, _port: found, dial=dial)
    assert _error(transport, Call("GET", "https://a.example/")).code is ErrorCode.TIMEOUT
    assert tried == [3.0, 3.0]


@pytest.mark.parametrize(
    "call",
    [
        Call("DELETE", "https://a.example/"),
        Call("GET", "https://a.example/", b"content"),
        Call("GET", "https://a.example/", headers={"A": "b\r\nC: d"}),
        Call("GET", "https://a.example/", headers={"A b": "c"}),
        Call("GET", "https://a.example/", headers={"host": "other"}),
        Call("POST", "https://a.example/", headers={"Transfer-Encoding": "chunked"}),
    ],
)
def test_a_malformed_call_is_a_mistake_of_its_program(call: Call) -> None:
    """What would not arrive as one request is not sent."""
    with pytest.raises(ValueError, match=r"a call is|header"):
        HttpTransport().call(call)


def test_a_connection_that_breaks_in_an_answer_is_not_replaced() -> None:
    """The same holds when the connection is reset after some bytes of an answer."""

    def reset(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        time.sleep(0.5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Listener(_once_then(reset)) as server:
        transport = HttpTransport(LOCAL)
        transport.call(Call("GET", _url(server)))
        assert _error(transport, Call("GET", _url(server))).code is ErrorCode.UNREACHABLE
        assert server.connections == 1


def test_a_peer_that_hangs_up_on_a_long_request_is_unreachable() -> None:
    """A request that cannot be sent to its end is told like one that nobody answers."""

    def hang_up(sock: socket.socket) -> None:
        sock.recv(10)

    with Listener(hang_up) as server:
        call = Call("POST", _url(server), bytes(16 * 1024 * 1024))
        assert _error(HttpTransport(LOCAL), call).code is ErrorCode.UNREACHABLE


def test_few_connections_are_kept() -> None:
    """Of many servers only the latest connections are kept open."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Listener(answering())) for _ in range(66)]
        transport = HttpTransport(LOCAL)
        for server in servers:
            transport.call(Call("GET", _url(server)))
        for server in (servers[-1], servers[0]):
            transport.call(Call("GET", _url(server)))
        assert (servers[-1].connections, servers[0].connections) == (1, 2)
        transport.close()


def _redirecting(places: dict[str, str]) -> Callable[[socket.socket], None]:
    def script(sock: socket.socket) -> None:
        first, headers, _ = read_request(sock)
        path = first.split(" ")[1]
        if path in places:
            sock.sendall(f"HTTP/1.0 302 Found\r\nLocation: {places[path]}\r\n\r\n".encode())
        else:
            sock.sendall(f"HTTP/1.0 200 OK\r\n\r\n{path} {headers.get('x')}".encode())

    return script


def test_redirects_are_followed_only_when_asked_for() -> None:
    """Three redirects of a GET are followed where the policy says so, none of a POST."""
    with Listener(_redirecting({"/1": "/2", "/2": "/3", "/3": "/4"})) as server:
        follow = HttpTransport(FetchPolicy(allow_loopback=True, redirects=3))
        assert follow.call(Call("GET", _url(server, "/1"), headers={"X": "y"})).body == b"/4 y"
        assert follow.call(Call("POST", _url(server, "/1"))).status == 302
        assert HttpTransport(LOCAL).call(Call("GET", _url(server, "/1"))).status == 302


def test_a_loop_of_redirects_ends() -> None:
    """A fourth redirect is no answer."""
    with Listener(_redirecting({"/1": "/2", "/2": "/1"})) as server:
        follow = HttpTransport(FetchPolicy(allow_loopback=True, redirects=3))
        assert _error(follow, Call("GET", _url(server, "/1"))).code is ErrorCode.ANSWER
        assert server.connections == 4


def test_headers_are_for_the_host_they_were_given_for() -> None:
    """A redirect to another origin gets none of the headers of the call."""
    with Listener(_redirecting({})) as other, Listener(_redirecting({"/1": _url(other)})) as server:
        follow = HttpTransport(FetchPolicy(allow_loopback=True, redirects=1))
        answer = follow.call(Call("GET", _url(server, "/1"), headers={"X": "secret"}))
    assert answer.body == b"/ None"


def test_calls_at_the_same_time_end_one_by_one() -> None:
    """Each call ends at its own place, with its answer or its error, the quick ones first."""
    with Listener(answering()) as server, Listener(silent) as mute:
        policy = FetchPolicy(allow_loopback=True, total=1)
        calls = [Call("GET", _url(mute)), Call("GET", _url(server)), Call("GET", "ftp://x/")]
        ends = list(HttpTransport(policy).call_all(calls))
    assert [place for place, _ in ends][-1] == 0
    told = {
        place: end.code if isinstance(end, TransportError) else end.status for place, end in ends
    }
    assert told == {0: ErrorCode.TIMEOUT, 1: 200, 2: ErrorCode.URL_REFUSED}
    assert all(end.__traceback__ is None for _, end in ends if isinstance(end, TransportError))


def test_more_calls_than_may_run_at_the_same_time_all_end() -> None:
    """A few threads carry all calls, and no more than four are with one server at a time."""
    now, most, lock = [0], [0], threading.Lock()

    def script(sock: socket.socket) -> None:
        while read_request(sock)[0]:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= 1
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with Listener(script) as server:
        transport = HttpTransport(LOCAL)
        ends = list(transport.call_all([Call("GET", _url(server))] * 40))
        transport.close()
    assert sorted(place for place, _ in ends) == list(range(40))
    assert all(isinstance(end, Answer) for _, end in ends)
    assert 1 < most[0] <= 4


def test_who_has_enough_does_not_wait_for_the_others() -> None:
    """After the first answer the caller goes on, however long the others take."""
    with Listener(answering()) as server, Listener(silent) as mute:
        policy = FetchPolicy(allow_loopback=True, total=30, parallel=2)
        calls = [Call("GET", _url(mute)), Call("GET", _url(server)), Call("GET", _url(mute))]
        begun = time.monotonic()
        ends = HttpTransport(policy).call_all(calls)
        place, _ = next(ends)
        ends.close()  # type: ignore[attr-defined] # it is a generator
        assert place == 1
        assert time.monotonic() - begun < 10


def test_calls_that_have_not_begun_never_begin() -> None:
    """After the caller has stopped, a thread ends its call and takes no other."""
    with Listener(answering()) as server, Listener(silent) as mute, Listener(silent) as last:
        transport = HttpTransport(FetchPolicy(allow_loopback=True, total=1, parallel=1))
        ends = transport.call_all([Call("GET", _url(peer)) for peer in (server, mute, last)])
        assert next(ends)[0] == 0
        ends.close()  # type: ignore[attr-defined] # it is a generator
        _wait_for_threads()
        transport.close()
        assert last.connections == 0


def test_threads_end_with_their_calls() -> None:
    """No thread is left when the last call has ended, also of those that nobody waited for."""
    with Listener(silent) as mute:
        transport = HttpTransport(FetchPolicy(allow_loopback=True, total=0.3))
        ends = transport.call_all([Call("GET", _url(mute))] * 6)
        next(ends)
        ends.close()  # type: ignore[attr-defined] # it is a generator
        _wait_for_threads()
    assert _our_threads() == []


def _wait_for_threads() -> None:
    until = time.monotonic() + 20
    while _our_threads() and time.monotonic() < until:
        time.sleep(0.02)


def _our_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("keystead-")]


def test_a_mistake_in_a_call_reaches_who_made_it() -> None:
    """An exception that is no transport error is raised by the iterator."""
    with pytest.raises(ValueError, match="a call is"):
        list(HttpTransport().call_all([Call("DELETE", "https://a.example/")]))


def test_a_process_ends_while_calls_are_under_way() -> None:
    """Calls that nobody waits for do not keep a process alive."""
    program = """
import sys
from keystead.ports.transport import Call
from keystead.transports.client import HttpTransport
from keystead.transports.guard import FetchPolicy
calls = [Call("GET", sys.argv[1]), Call("GET", "ftp://x/")]
ends = HttpTransport(FetchPolicy(allow_loopback=True, total=120)).call_all(calls)
print(next(ends)[0])
"""
    with Listener(silent) as mute:
        done = subprocess.run(
            [sys.executable, "-c", program, _url(mute)],
            capture_output=True,
            timeout=60,
            check=True,
            text=True,
        )
    assert done.stdout == "1\n"
