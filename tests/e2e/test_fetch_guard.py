"""The fetch guard against whoever aims it at this machine: nothing of it is ever connected to."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, ip_address

import pytest

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Call
from keystead.transports.addresses import Address
from keystead.transports.client import HttpTransport
from keystead.transports.connection import Dial
from keystead.transports.guard import FetchPolicy
from support.hostile_urls import hostile_urls
from support.listeners import Listener, answering, canary, saying
from support.name_server import NameServer

PUBLIC = "93.184.215.14"
REFUSED = (ErrorCode.URL_REFUSED, ErrorCode.ADDRESS_REFUSED)


def _careless(port: int, redirects: int = 0) -> FetchPolicy:
    """Return a policy that leaves nothing but the address to stop a call."""
    ports = frozenset((80, 443, port))
    return FetchPolicy(allow_http=True, ports=ports, total=5, redirects=redirects)


def _to_loopback(host: str, port: int) -> list[Address]:
    """Resolve any name to this machine."""
    del host, port
    return [IPv4Address("127.0.0.1"), ip_address("::1")]


def _wire(peer: Listener, dialled: list[str]) -> Dial:
    """Lead connections to public addresses to a listener here, which stands for their host."""

    def dial(address: Address, port: int, seconds: float) -> socket.socket:
        del port
        dialled.append(str(address))
        return socket.create_connection(("127.0.0.1", peer.port), timeout=seconds)

    return dial


def _code(transport: HttpTransport, url: str) -> ErrorCode:
    with pytest.raises(TransportError) as caught:
        transport.call(Call("GET", url))
    return caught.value.code


@pytest.fixture(name="canaries")
def _canaries() -> Iterator[list[Listener]]:
    """Listen on this machine by IPv4 and by IPv6."""
    with ExitStack() as stack:
        yield [stack.enter_context(canary(host)) for host in ("127.0.0.1", "::1")]


def test_there_are_many_hostile_urls() -> None:
    """The table has more than 200 URLs, each once."""
    urls = list(hostile_urls(5620))
    assert len(set(urls)) == len(urls) > 200


@pytest.mark.parametrize("careless", [False, True], ids=["default", "careless"])
def test_no_hostile_url_reaches_this_machine(canaries: list[Listener], *, careless: bool) -> None:
    """Each hostile URL is refused, even where HTTP and the port are allowed; nobody is called."""
    for listener in canaries:
        policy = _careless(listener.port) if careless else FetchPolicy()
        transport = HttpTransport(policy, resolve=_to_loopback)
        for url in hostile_urls(listener.port):
            assert _code(transport, url) in REFUSED, url
    assert [listener.connections for listener in canaries] == [0, 0]


def test_names_of_this_machine_are_refused_as_the_system_resolves_them(
    canaries: list[Listener],
) -> None:
    """`localhost` is refused for its address, by the resolver that is really used."""
    for listener in canaries:
        transport = HttpTransport(_careless(listener.port))
        url = f"http://localhost:{listener.port}/"
        assert _code(transport, url) is ErrorCode.ADDRESS_REFUSED
    assert [listener.connections for listener in canaries] == [0, 0]


def test_the_canary_sings_when_it_is_called() -> None:
    """The same URL does reach the listener under the policy of development networks."""
    with canary() as listener:
        transport = HttpTransport(FetchPolicy.local(), resolve=_to_loopback)
        assert _code(transport, f"http://any.example:{listener.port}/") is ErrorCode.UNREACHABLE
        assert listener.connections == 1


def test_a_name_that_moves_to_this_machine_after_the_check_is_of_no_use() -> None:
    """A call resolves once and connects to what it vetted; the next call is vetted anew."""
    turns = {"rebind.example": [[PUBLIC], ["127.0.0.1"]]}
    dialled: list[str] = []
    with canary() as bird, Listener(saying(b"HTTP/1.0 200 OK\r\n\r\nhi")) as public:
        url = f"http://rebind.example:{bird.port}/"
        with NameServer(turns) as names:
            transport = HttpTransport(
                _careless(bird.port), resolve=names.resolve(), dial=_wire(public, dialled)
            )
            assert transport.call(Call("GET", url)).body == b"hi"
            assert names.asked == ["rebind.example"]
            assert _code(transport, url) is ErrorCode.ADDRESS_REFUSED
            assert names.asked == ["rebind.example"] * 2
        assert (dialled, bird.connections, public.connections) == ([PUBLIC], 0, 1)


def test_a_connection_that_is_kept_needs_no_second_look() -> None:
    """While a connection lives, its name is not resolved again, so it cannot move."""
    turns = {"rebind.example": [[PUBLIC], ["127.0.0.1"]]}
    dialled: list[str] = []
    with canary() as bird, Listener(answering()) as public, NameServer(turns) as names:
        transport = HttpTransport(
            _careless(bird.port), resolve=names.resolve(), dial=_wire(public, dialled)
        )
        for _ in range(3):
            transport.call(Call("GET", f"http://rebind.example:{bird.port}/"))
        transport.close()
        assert (len(names.asked), dialled, bird.connections) == (1, [PUBLIC], 0)


@pytest.mark.parametrize("addresses", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC]])
def test_one_bad_address_condemns_the_others(addresses: list[str]) -> None:
    """A name with a public address and one of this machine is refused, in either order."""
    dialled: list[str] = []
    with canary() as bird, Listener(answering()) as public:
        with NameServer({"both.example": [addresses]}) as names:
            transport = HttpTransport(
                _careless(bird.port), resolve=names.resolve(), dial=_wire(public, dialled)
            )
            code = _code(transport, f"http://both.example:{bird.port}/")
        assert code is ErrorCode.ADDRESS_REFUSED
        assert (dialled, bird.connections, public.connections) == ([], 0, 0)


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://inside.example:{port}/",
        "//127.0.0.1:{port}/",
        "\\\\127.0.0.1:{port}\\",
        "file:///etc/passwd",
        "@127.0.0.1:{port}/",
        ":{port}/",
    ],
)
def test_a_redirect_leads_nobody_to_this_machine(place: str) -> None:
    """The place of a redirect is vetted as any other URL."""
    turns = {"public.example": [[PUBLIC]], "inside.example": [["127.0.0.1"]]}
    with canary() as bird, NameServer(turns) as names:
        head = f"HTTP/1.0 302 Found\r\nLocation: {place.format(port=bird.port)}\r\n\r\n"
        with Listener(saying(head.encode())) as public:
            transport = HttpTransport(
                _careless(bird.port, 3), resolve=names.resolve(), dial=_wire(public, [])
            )
            assert _code(transport, f"http://public.example:{bird.port}/") in REFUSED
        assert (bird.connections, public.connections) == (0, 1)


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve and connect by itself, so none is asked."""
    with canary() as proxy, Listener(answering()) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        transport = HttpTransport(FetchPolicy.local())
        answer = transport.call(Call("GET", f"http://127.0.0.1:{server.port}/"))
        assert (answer.status, proxy.connections) == (200, 0)
