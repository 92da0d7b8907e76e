"""Which IP addresses are special: the two registries of IANA, as tables.

Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry (RFC 6890, RFC 8190), as of 2026-07-18.
All blocks of both are here, those that are globally reachable too: none holds a server that an
OOBI could honestly name. To renew the tables, compare them with both registries.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network

_IPV4: Final = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private use"),
    ("100.64.0.0/10", "shared address space"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link local"),
    ("172.16.0.0/12", "private use"),
    ("192.0.0.0/24", "IETF protocol assignments"),  # with seven blocks inside
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay anycast"),  # deprecated; with the 6a44 relay inside
    ("192.168.0.0/16", "private use"),
    ("192.175.48.0/24", "direct delegation AS112 service"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("240.0.0.0/4", "reserved"),  # with the limited broadcast inside
    # Not in the registry of special purposes but in that of multicast (RFC 5771).
    ("224.0.0.0/4", "multicast"),
)

_IPV6: Final = (
    ("::1/128", "loopback"),
    ("::/128", "unspecified"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("64:ff9b::/96", "IPv4-IPv6 translation"),
    ("64:ff9b:1::/48", "IPv4-IPv6 translation"),
    ("100::/64", "discard only"),
    ("100:0:0:1::/64", "dummy prefix"),
    ("2001::/23", "IETF protocol assignments"),  # with Teredo, ORCHIDv2 and nine more inside
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "direct delegation AS112 service"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link local"),
    # Not in the registry of special purposes: RFC 4291, sections 2.5.5.1, 2.5.7 and 2.7.
    ("::/96", "IPv4-compatible"),
    ("fec0::/10", "site local"),
    ("ff00::/8", "multicast"),
)

_BLOCKS_4: Final = tuple((IPv4Network(block), name) for block, name in _IPV4)
_BLOCKS_6: Final = tuple((IPv6Network(block), name) for block, name in _IPV6)

# RFC 4291, section 2.4, and IANA's "IPv6 Address Space": all unicast addresses that were ever
# given to anybody are in here.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

_PRIVATE_4: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_PRIVATE_6: Final = IPv6Network("fc00::/7")

# Where clouds give credentials to whoever asks from inside. No program has business there.
_CLOUD_METADATA: Final = (IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254"))


def special_use(address: Address) -> str:
    """Return what an address is reserved for; empty for one of the public internet."""
    if isinstance(address, IPv4Address):
        return next((name for block, name in _BLOCKS_4 if address in block), "")
    # An address with a zone is one of this machine's networks, whatever its number.
    if address.scope_id is not None:
        return "zone of a network"
    for block, name in _BLOCKS_6:
        if address in block:
            return name
    return "" if address in _GLOBAL_UNICAST else "not assigned"


def is_loopback(address: Address) -> bool:
    """Tell whether an address is this machine (RFC 1122, RFC 4291), in its plain form."""
    if isinstance(address, IPv4Address):
        return address in IPv4Network("127.0.0.0/8")
    return address == IPv6Address("::1")


def is_private(address: Address) -> bool:
    """Tell whether an address is of a private network (RFC 1918, RFC 4193).

    Link-local addresses and those at which clouds give away credentials are not among them.
    """
    if isinstance(address, IPv4Address):
        return any(address in block for block in _PRIVATE_4)
    if address.scope_id is not None or address in _CLOUD_METADATA:
        return False
    return address in _PRIVATE_6
