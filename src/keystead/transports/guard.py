"""The fetch guard: which URLs and which addresses may be connected to at all.

URLs come from strangers: out of OOBIs, location statements, redirects. Whoever could have us
connect to any of them would reach this machine, its networks, and the credentials that clouds give
away. So a URL is read once, strictly; its name is resolved once; all addresses must be public;
and what was vetted is what is connected to. Sources: OWASP API7:2023, ASVS 5.0 section 1.3.6,
the WHATWG URL standard, RFC 3986.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

from keystead.errors import ErrorCode, TransportError
from keystead.limits import DEFAULT_LIMITS
from keystead.transports.addresses import Address, is_loopback, is_private, special_use

_MOST_REDIRECTS: Final = 3
_STANDARD_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What a transport may connect to, and how much of its time and memory a peer gets.

    Sizes are in bytes, times in seconds.

    Attributes:
        allow_http: HTTP without TLS. Key events are signed, but who asks for whom is seen.
        allow_loopback: this machine, by HTTP or HTTPS, on any port.
        allow_private: private networks (RFC 1918, RFC 4193).
        ports: ports elsewhere than on this machine: those of the web, and those that KERI
            witnesses and agents use by habit. A guard that lets every port through lets others
            talk to databases and mail servers.
        redirects: how many redirects of a GET are followed, at most 3.
        answer: size of an answer. The largest logs that are exchanged have a few MiB.
        head: size of status line and headers. Common servers send 1 KiB; common clients take 8
            to 64 KiB.
        total: time of a call with everything: name, connection, TLS, each redirect, the answer.
        connect: time of one attempt to connect to one address.
        in_flight: calls at the same time to one host and port.
        parallel: calls at the same time in one `call_all`.
        per_minute: calls to one address in a minute, 0 for any number; not counted for this
            machine. For hosts that strangers named: they must not aim us at somebody.
        remember_failures: how long a host that did not answer is not asked again.
    """

    allow_http: bool = False
    allow_loopback: bool = False
    allow_private: bool = False
    ports: frozenset[int] = frozenset((80, 443, *range(5620, 5651)))
    redirects: int = 0
    answer: int = 4 * 1024 * 1024
    head: int = 32 * 1024
    total: float = 10.0
    connect: float = 3.0
    in_flight: int = 4
    parallel: int = 16
    per_minute: int = 0
    remember_failures: float = 0.0

    def __post_init__(self) -> None:
        """Refuse more redirects than anybody needs."""
        if not 0 <= self.redirects <= _MOST_REDIRECTS:
            raise ValueError(f"a policy follows 0 to {_MOST_REDIRECTS} redirects")

    @classmethod
    def local(cls) -> "FetchPolicy":
        """Return the policy of development networks: HTTP too, to this machine only."""
        return cls(allow_loopback=True)

    def for_strangers(self, *, remember_failures: float = 0.0) -> "FetchPolicy":
        """Return this policy for URLs that strangers gave: six calls a minute to one address.

        Args:
            remember_failures: 300 where the transport lives long. The watcher does without: its
                schedule asks a source that fails less and less often.
        """
        return replace(self, per_minute=6, remember_failures=remember_failures)


DEFAULT_POLICY: Final = FetchPolicy()


class Target(msgspec.Struct, frozen=True):
    """A URL that was read; who connects uses these parts and never reads the URL again.

    Attributes:
        scheme: http or https.
        host: name in lower case, or address in its usual form without brackets.
        port: 1 to 65535.
        path: path and query as given, beginning with a slash.
        address: the host if it is an address, else none.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IPv4Address | IPv6Address | None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _STANDARD_PORTS[self.scheme] else f"{host}:{self.port}"


# RFC 3986, appendix A, all that may stand in a URL; no backslash, quote, brace, bar, caret, space.
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%#-]+")
_URL: Final = re.compile(r"(?i:(https?))://([^/?#]+)([/?][^#]*)?")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# WHATWG URL, "ends in a number checker": such hosts are IPv4 addresses to somebody.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTTED: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_LONGEST_NAME: Final = 253  # RFC 1035, section 2.3.4, as text without the last dot
_LAST_PORT: Final = 65535


def read_url(url: str, policy: FetchPolicy = DEFAULT_POLICY) -> Target:
    """Read a URL strictly; whatever two programs could read differently is refused.

    A name must be in ASCII: whoever means an international one writes `xn--`.

    Raises:
        TransportError: it is no URL that this policy allows (transport.url).
    """
    if len(url) > DEFAULT_LIMITS.url:
        raise _refused(f"URL has {len(url)} characters, at most {DEFAULT_LIMITS.url} are allowed")
    if not _CHARACTERS.fullmatch(url):
        raise _refused("URL is empty or holds a character that must not stand in one")
    if (parts := _URL.fullmatch(url)) is None:
        raise _refused("URL is not https://host/path, without a fragment")
    scheme = parts[1].lower()
    if scheme == "http" and not (policy.allow_http or policy.allow_loopback):
        raise _refused("URL is not https")
    if (authority := _AUTHORITY.fullmatch(parts[2])) is None:
        raise _refused("URL has more or less than a plain host and a port behind its scheme")
    host, address = _read_host(authority[1].lower())
    port = int(authority[2]) if authority[2] else _STANDARD_PORTS[scheme]
    if port > _LAST_PORT or not (port in policy.ports or policy.allow_loopback):
        raise _refused(f"URL has port {port}, which is not allowed")
    path = parts[3] or "/"
    return Target(scheme, host, port, path if path[0] == "/" else f"/{path}", address)


def _refused(why: str) -> TransportError:
    """Refuse a URL; its text may hold secrets or be meant to deceive, so it is not repeated."""
    return TransportError(ErrorCode.URL_REFUSED, why)


def _read_host(host: str) -> tuple[str, Address | None]:
    if host.startswith("["):
        try:
            six = IPv6Address(host[1:-1])
        except AddressValueError:
            raise _refused("host of the URL is no IPv6 address") from None
        return str(six), six
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            four = IPv4Address(host) if _DOTTED.fullmatch(host) else None
        except AddressValueError:
            four = None
        if four is None:
            raise _refused("host of the URL is a number in an unusual form")
        return str(four), four
    # A dot at the end makes an empty label, and another name to whoever compares.
    if len(host) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise _refused("host of the URL is no name")
    return host, None


def vet(target: Target, addresses: Sequence[Address], policy: FetchPolicy) -> None:
    """Check all addresses of a host; one bad address condemns the others.

    A name that leads to a public and to a private address is made so that one check sees the
    first and the next connection goes to the second.

    Raises:
        TransportError: an address is not for this policy (transport.address), or plain HTTP or
            the port is for this machine only, and the host is another (transport.url).
    """
    for address in addresses:
        use = special_use(address)
        allowed = (policy.allow_loopback and is_loopback(address)) or (
            policy.allow_private and is_private(address)
        )
        if use and not allowed:
            raise TransportError(
                ErrorCode.ADDRESS_REFUSED,
                f"{target.host} has an address of {use}",
                host=target.host,
                address=str(address),
            )
    if all(map(is_loopback, addresses)):
        return
    if target.scheme == "http" and not policy.allow_http:
        raise _refused("URL is not https, and its host is not this machine")
    if target.port not in policy.ports:
        raise _refused(f"URL has port {target.port}, which is allowed on this machine only")
