"""TLS proves that a peer is the host of the URL, at whatever address it was found."""

import socket
import ssl
import time
from ipaddress import IPv4Address

import pytest
import trustme

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Call
from keystead.transports.addresses import Address
from keystead.transports.client import HttpTransport
from keystead.transports.guard import FetchPolicy
from support.listeners import Listener, read_request, silent

HOST = "wit.example"


@pytest.fixture(name="authority", scope="module")
def _authority() -> trustme.CA:
    return trustme.CA()


def _server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def _client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _here(host: str, port: int) -> list[Address]:
    del host, port
    return [IPv4Address("127.0.0.1")]


def _transport(authority: trustme.CA, total: float = 10.0) -> HttpTransport:
    policy = FetchPolicy(allow_loopback=True, total=total)
    return HttpTransport(policy, resolve=_here, tls=_client_context(authority))


def test_the_host_of_the_url_is_named_and_proved(authority: trustme.CA) -> None:
    """The handshake and the Host header name the host; the address is only where it is found."""
    told: list[str | None] = []
    context = _server_context(authority, HOST)
    context.sni_callback = lambda _sock, name, _context: told.append(name)

    def script(sock: socket.socket) -> None:
        while (request := read_request(sock))[0]:
            told.append(request[1]["host"])
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with Listener(script, tls=context) as server:
        transport = _transport(authority)
        for _ in range(2):
            answer = transport.call(Call("GET", f"https://{HOST}:{server.port}/"))
            assert answer.body == b"hi"
        transport.close()
        assert told == [HOST, f"{HOST}:{server.port}", f"{HOST}:{server.port}"]
        assert server.connections == 1


def test_an_address_is_proved_by_a_certificate_for_it(authority: trustme.CA) -> None:
    """A URL with an address works with a certificate for the address only."""
    for name, works in (("127.0.0.1", True), (HOST, False)):
        with Listener(_hi, tls=_server_context(authority, name)) as server:
            call = Call("GET", f"https://127.0.0.1:{server.port}/")
            if works:
                assert _transport(authority).call(call).body == b"hi"
            else:
                _refused(_transport(authority), call, server)


def _hi(sock: socket.socket) -> None:
    read_request(sock)
    sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nhi")


def _refused(transport: HttpTransport, call: Call, server: Listener) -> str:
    with pytest.raises(TransportError) as caught:
        transport.call(call)
    assert caught.value.code is ErrorCode.UNREACHABLE
    assert server.connections == 1
    return caught.value.message


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    """Whoever cannot prove the name gets no request."""
    with Listener(_hi, tls=_server_context(authority, "other.example")) as server:
        call = Call("GET", f"https://{HOST}:{server.port}/")
        assert "not valid for" in _refused(_transport(authority), call, server)


def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    """The authorities are those of the system, unless others are given."""
    with Listener(_hi, tls=_server_context(authority, HOST)) as server:
        call = Call("GET", f"https://{HOST}:{server.port}/")
        transport = HttpTransport(FetchPolicy.local(), resolve=_here)
        assert "unable to get local issuer" in _refused(transport, call, server)


def test_a_server_without_tls_is_refused(authority: trustme.CA) -> None:
    """Nothing falls back to plain HTTP."""
    with Listener(lambda sock: sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nhi")) as server:
        call = Call("GET", f"https://{HOST}:{server.port}/")
        _refused(_transport(authority), call, server)


def test_a_handshake_that_never_ends_is_given_up(authority: trustme.CA) -> None:
    """The time of the call covers the handshake."""
    begun = time.monotonic()
    with Listener(silent) as server, pytest.raises(TransportError) as caught:
        _transport(authority, 0.3).call(Call("GET", f"https://{HOST}:{server.port}/"))
    assert caught.value.code is ErrorCode.TIMEOUT
    assert time.monotonic() - begun < 10


def test_a_redirect_to_plain_http_is_refused(authority: trustme.CA) -> None:
    """Who was called by HTTPS cannot send the caller on without it, even where HTTP is allowed."""
    with Listener(_hi) as plain:
        place = f"Location: http://127.0.0.1:{plain.port}/"

        def script(sock: socket.socket) -> None:
            read_request(sock)
            sock.sendall(f"HTTP/1.0 302 Found\r\n{place}\r\n\r\n".encode())

        policy = FetchPolicy(allow_http=True, allow_loopback=True, redirects=3)
        transport = HttpTransport(policy, resolve=_here, tls=_client_context(authority))
        with (
            Listener(script, tls=_server_context(authority, HOST)) as server,
            pytest.raises(TransportError, match="from https to http") as caught,
        ):
            transport.call(Call("GET", f"https://{HOST}:{server.port}/"))
        assert caught.value.code is ErrorCode.URL_REFUSED
        assert plain.connections == 0
