"""Special addresses are told from those of the public internet."""

from ipaddress import ip_address

import pytest

from keystead.transports.addresses import is_loopback, is_private, special_use

PUBLIC_TEXT = """
1.0.0.0 9.9.9.9 93.184.215.14 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
198.17.255.255 198.20.0.0 223.255.255.255 2000::1 2001:200::1 2001:4860:4860::8888 2003::1
2620:fe::fe 2a00:1450::1 3ffe::1 3fff:1000::1
"""

SPECIAL_TEXT = """
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0
127.255.255.255 169.254.0.0 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255
192.0.2.0 192.31.196.255 192.52.193.0 192.88.99.2 192.168.255.255 192.175.48.1 198.18.0.0
198.19.255.255 198.51.100.0 203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255 ::
::1 ::2 ::9.9.9.9 ::ffff:0:0 ::ffff:9.9.9.9 64:ff9b:: 64:ff9b::9.9.9.9 64:ff9b:1::1
64:ff9b:1:ffff::1 64:ff9b:2::1 100::1 100:0:0:1::1 100:0:0:2::1 200::1 1fff::1 2001::
2001:1ff:ffff::1 2001:db8:ffff::1 2002:909:909::1 2620:4f:8000::1 3fff::1 3fff:fff:ffff::1
4000::1 5f00::1 fc00::1 fdff::1 fe80::1 febf::1 fec0::1 ff02::1 fe00::1 2a00:1450::1%eth0
"""

PUBLIC, SPECIAL = PUBLIC_TEXT.split(), SPECIAL_TEXT.split()


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_not_special(text: str) -> None:
    """Addresses beside each block are for anybody."""
    assert special_use(ip_address(text)) == ""


@pytest.mark.parametrize("text", SPECIAL)
def test_special_addresses_are_named(text: str) -> None:
    """The first and the last address of each block are special, and what has a zone."""
    assert special_use(ip_address(text))


@pytest.mark.parametrize("text", [*PUBLIC, *SPECIAL])
def test_nothing_reserved_passes_that_the_standard_library_knows(text: str) -> None:
    """Whatever Python calls private, reserved, multicast or local is special here."""
    address = ip_address(text)
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert special_use(address)


def test_loopback_is_this_machine_in_its_plain_form() -> None:
    """A mapped address is none, since no honest resolver gives one."""
    told = [is_loopback(ip_address(text)) for text in ("127.9.9.9", "::1", "::ffff:127.0.0.1")]
    assert told == [True, True, False]


def test_private_addresses_do_not_include_those_of_clouds() -> None:
    """Nobody is led to credentials by a policy for private networks."""
    told = [is_private(ip_address(text)) for text in ("10.9.9.9", "fd00::1", "fd00:ec2::254")]
    assert told == [True, True, False]
    assert not is_private(ip_address("169.254.169.254"))
