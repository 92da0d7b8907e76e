"""URLs are read strictly, and addresses are vetted by what they are for."""

from ipaddress import ip_address

import pytest

from keystead.errors import ErrorCode, TransportError
from keystead.limits import DEFAULT_LIMITS
from keystead.transports.guard import FetchPolicy, Target, read_url, vet

OPEN = FetchPolicy(allow_http=True)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://wit.example", "wit.example", 443, "/"),
        ("HTTPS://Wit.Example/OOBI/x?role=y", "wit.example", 443, "/OOBI/x?role=y"),
        ("https://wit.example:5642/oobi", "wit.example", 5642, "/oobi"),
        ("https://wit.example?a=b", "wit.example", 443, "/?a=b"),
        ("http://wit.example/", "wit.example", 80, "/"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
        ("https://9.9.9.9/", "9.9.9.9", 443, "/"),
        ("https://[2620:FE::00fe]:443/", "2620:fe::fe", 443, "/"),
        ("https://a/%2e%2e/%00;x=1/@/:[]", "a", 443, "/%2e%2e/%00;x=1/@/:[]"),
        ("https://1.example/", "1.example", 443, "/"),
        ("https://0x7f.example/", "0x7f.example", 443, "/"),
    ],
)
def test_plain_urls_are_read(url: str, host: str, port: int, path: str) -> None:
    """Scheme and host come out in lower case, the rest as it was."""
    target = read_url(url, OPEN)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://wit.example/", "wit.example"),
        ("https://wit.example:443/", "wit.example"),
        ("http://wit.example:443/", "wit.example:443"),
        ("https://[2620:fe::fe]:5620/", "[2620:fe::fe]:5620"),
    ],
)
def test_host_header_names_unusual_ports(url: str, authority: str) -> None:
    """The Host header has brackets where they belong, and a port unless it is the usual one."""
    assert read_url(url, OPEN).authority == authority


def test_longest_url_is_read() -> None:
    """A URL of the greatest length is read, one character more is refused."""
    url = "https://wit.example/".ljust(DEFAULT_LIMITS.url, "a")
    assert read_url(url).host == "wit.example"
    with pytest.raises(TransportError) as caught:
        read_url(url + "a")
    assert caught.value.code is ErrorCode.URL_REFUSED


@pytest.mark.parametrize("port", [1, 22, 81, 5619, 5651, 6379, 65535])
def test_other_ports_are_for_this_machine_only(port: int) -> None:
    """A port that is not listed is refused, unless the host turns out to be this machine."""
    url = f"https://wit.example:{port}/"
    with pytest.raises(TransportError, match=r"port \d+, which is not allowed"):
        read_url(url)
    target = read_url(url, FetchPolicy.local())
    vet(target, [ip_address("127.0.0.1"), ip_address("::1")], FetchPolicy.local())
    with pytest.raises(TransportError, match="on this machine only") as caught:
        vet(target, [ip_address("9.9.9.9")], FetchPolicy.local())
    assert caught.value.code is ErrorCode.URL_REFUSED


def test_plain_http_needs_to_be_allowed() -> None:
    """HTTP is for who allows it, or for this machine; what the host is, its addresses decide."""
    with pytest.raises(TransportError, match="not https"):
        read_url("http://wit.example/")
    target = read_url("http://localhost/", FetchPolicy.local())
    vet(target, [ip_address("127.0.0.1")], FetchPolicy.local())
    with pytest.raises(TransportError, match="not https, and its host") as caught:
        vet(target, [ip_address("127.0.0.1"), ip_address("9.9.9.9")], FetchPolicy.local())
    assert caught.value.code is ErrorCode.URL_REFUSED
    vet(read_url("http://wit.example/", OPEN), [ip_address("9.9.9.9")], OPEN)


def _target() -> Target:
    return read_url("https://wit.example/")


@pytest.mark.parametrize("address", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1"])
def test_private_networks_need_to_be_allowed(address: str) -> None:
    """Private addresses are refused by default and taken where a policy says so."""
    vet(_target(), [ip_address(address)], FetchPolicy(allow_private=True))
    for policy in (FetchPolicy(), FetchPolicy.local()):
        with pytest.raises(TransportError) as caught:
            vet(_target(), [ip_address(address)], policy)
        assert caught.value.code is ErrorCode.ADDRESS_REFUSED


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.64.0.1", "0.0.0.1",
        "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "224.0.0.1", "255.255.255.255", "::1%eth0", "fd12::1%eth0",
    ],
)  # fmt: skip
def test_some_addresses_no_policy_allows(address: str) -> None:
    """Cloud metadata, link-local, mapped and translated addresses are refused by every policy."""
    policy = FetchPolicy(allow_http=True, allow_loopback=True, allow_private=True)
    with pytest.raises(TransportError) as caught:
        vet(_target(), [ip_address(address)], policy)
    assert caught.value.code is ErrorCode.ADDRESS_REFUSED


def test_refusals_do_not_repeat_the_url() -> None:
    """What a refused URL holds, such as a password, does not get into messages."""
    with pytest.raises(TransportError) as caught:
        read_url("https://user:hunter2@wit.example/")
    assert "hunter2" not in repr((str(caught.value), caught.value.fields))


def test_a_policy_follows_few_redirects() -> None:
    """A policy with more than three redirects is a mistake."""
    with pytest.raises(ValueError, match="0 to 3"):
        FetchPolicy(redirects=4)


def test_strangers_are_rationed() -> None:
    """The policy for URLs of strangers keeps all else."""
    policy = FetchPolicy.local().for_strangers(remember_failures=300)
    assert (policy.per_minute, policy.remember_failures, policy.allow_loopback) == (6, 300, True)
