"""Addresses of clients."""

import pytest

from keystead.services.addresses import client_prefix, forwarded_client, is_loopback


@pytest.mark.parametrize(
    ("client", "prefix"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("none", "unknown"),
    ],
)
def test_prefixes_are_what_one_client_has(client: str, prefix: str) -> None:
    """IPv4 counts by address, IPv6 by network, however it is written."""
    assert client_prefix(client) == prefix


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7,2001:DB8::1", "2001:db8::1"),
        ("203.0.113.7, unknown", "192.0.2.1"),
        ("203.0.113.7,", "192.0.2.1"),
        ("203.0.113.7:80", "192.0.2.1"),
        ("", "192.0.2.1"),
    ],
)
def test_the_last_entry_is_the_proxys(forwarded: str, client: str) -> None:
    """Only what the proxy itself added counts; without an address there it is the proxy."""
    assert forwarded_client(forwarded, "192.0.2.1") == client


def test_loopback_is_told_apart() -> None:
    """All addresses of the machine itself are loopback, names are not."""
    assert all(is_loopback(one) for one in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"))
    assert not any(is_loopback(one) for one in ("0.0.0.0", "::", "localhost", "10.0.0.1"))  # noqa: S104 - no bind
