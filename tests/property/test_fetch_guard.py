"""For any text: it is refused, or the host that was vetted is the one that is connected to."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Call
from keystead.transports.addresses import Address, special_use
from keystead.transports.client import HttpTransport
from keystead.transports.guard import FetchPolicy, read_url

POLICY = FetchPolicy(allow_http=True, ports=frozenset(range(1, 65536)))

_PARTS = [
    "http",
    "https",
    "HTTP",
    ":",
    "/",
    "//",
    "\\",
    "@",
    "#",
    "?",
    "%",
    ".",
    "..",
    "[",
    "]",
    "::",
    "ffff",
    "127.0.0.1",
    "127",
    "1",
    "0x7f",
    "0177",
    "2130706433",
    "::1",
    "localhost",
    "a.example",
    "b.example",
    "80",
    "443",
    "65536",
    "user",
    "%00",
    "%2e",
    "xn--",
    "9.9.9.9",
    "10.0.0.1",
    "-",
    "_",
    "a",
    ",",
    ";",
]

_TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from([*_PARTS, " ", "\t", "\n", "\x00", "\u017f", "\u3002", "\uff11"]),
        max_size=12,
    ).map("".join),
    st.builds(
        "{}://{}{}".format,
        st.sampled_from(["http", "https", "HTTPS"]),
        st.lists(st.sampled_from(_PARTS), min_size=1, max_size=6).map("".join),
        st.sampled_from(["", "/", ":80/", "/a@b", "?x"]),
    ),
)
_ADDRESSES = st.lists(
    st.one_of(
        st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
        st.builds(IPv6Address, st.integers(0, 2**128 - 1)),
        st.sampled_from([ip_address(text) for text in ("127.0.0.1", "9.9.9.9", "2620:fe::fe")]),
    ),
    max_size=4,
)


@given(_TEXT, _ADDRESSES)
def test_what_is_connected_to_was_vetted(url: str, found: list[Address]) -> None:
    """Only public addresses that the name of the URL resolved to, or the URL names, are dialled."""
    resolved: list[str] = []
    dialled: list[Address] = []

    def resolve(host: str, port: int) -> list[Address]:
        del port
        resolved.append(host)
        return found

    def dial(address: Address, port: int, seconds: float) -> socket.socket:
        del port, seconds
        dialled.append(address)
        raise ConnectionRefusedError

    try:
        HttpTransport(POLICY, resolve=resolve, dial=dial).call(Call("GET", url))
    except TransportError as error:
        code = error.code
    if code in (ErrorCode.URL_REFUSED, ErrorCode.ADDRESS_REFUSED):
        assert not dialled
        return
    assert not any(map(special_use, dialled))
    host = urlsplit(url).hostname
    assert host is not None
    if resolved:
        assert resolved == [host.lower()]
        assert dialled == (found or [])
    else:
        assert dialled == [ip_address(host)]


@given(_TEXT)
def test_a_url_that_is_read_is_read_alike_by_others(url: str) -> None:
    """The standard library's lenient parser finds the same parts in all that the guard takes."""
    try:
        target = read_url(url, POLICY)
    except TransportError:
        return
    parts = urlsplit(url)
    assert parts.username is None
    assert parts.password is None
    assert parts.fragment == ""
    assert parts.scheme == target.scheme
    host = str(parts.hostname).lower()
    assert target.host == (str(ip_address(host)) if target.address else host)
    assert (parts.port or {"http": 80, "https": 443}[parts.scheme]) == target.port
    assert target.path.endswith(parts.path + (f"?{parts.query}" if parts.query else ""))
