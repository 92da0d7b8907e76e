"""Addresses of clients, and the networks that count as one client."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_V6_PREFIX: Final = 64  # what one subscriber gets; whoever has it has all its addresses


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address; IPv4 written as IPv6 is IPv4. None if it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def client_prefix(client: str) -> str:
    """Return the network of an address that is limited as one: IPv4 /32, IPv6 /64."""
    address = parse_address(client)
    if address is None:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _V6_PREFIX), strict=False))
    return f"{address}/32"


def is_loopback(client: str) -> bool:
    """Tell whether an address is that of the machine itself."""
    address = parse_address(client)
    return address is not None and address.is_loopback


def forwarded_client(forwarded: str, peer: str) -> str:
    """Return the client that a proxy names: the last entry of X-Forwarded-For.

    Entries before it are what the client says of itself. Without a usable one it is the proxy.
    """
    address = parse_address(forwarded.rpartition(",")[2].strip())
    return peer if address is None else str(address)
