"""Names are resolved once, within the time of the call."""

import socket
import threading
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from keystead.errors import ErrorCode, TransportError
from keystead.transports.addresses import Address
from keystead.transports.deadline import Deadline
from keystead.transports.resolving import resolve_within, system_resolve


def test_the_system_knows_this_machine() -> None:
    """The default resolver is that of the system; each address comes once."""
    found = system_resolve("localhost", 443)
    assert set(found) <= {IPv4Address("127.0.0.1"), IPv6Address("::1")}
    assert len(set(found)) == len(found) > 0


def test_names_that_do_not_exist_are_unreachable() -> None:
    """RFC 6761 keeps `.invalid` free of names."""
    with pytest.raises(TransportError) as caught:
        resolve_within(system_resolve, "no.such.invalid", 443, Deadline(30))
    assert caught.value.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT)


def test_a_resolver_that_hangs_is_left_behind() -> None:
    """The call ends at its deadline; the lookup ends when it does."""
    go_on = threading.Event()

    def hang(host: str, port: int) -> list[Address]:
        go_on.wait(30)
        raise socket.gaierror(f"{host} {port}")

    begun = time.monotonic()
    with pytest.raises(TransportError) as caught:
        resolve_within(hang, "slow.example", 443, Deadline(0.2))
    assert caught.value.code is ErrorCode.TIMEOUT
    assert time.monotonic() - begun < 10
    go_on.set()


def test_lookups_that_hang_cannot_use_up_all_threads() -> None:
    """While too many hang, no further one begins; when they end, all goes on."""
    go_on, hanging = threading.Event(), threading.Semaphore(0)
    found: list[Address] = []

    def hang(host: str, port: int) -> list[Address]:
        del host, port
        hanging.release()
        go_on.wait(30)
        return [ip_address("9.9.9.9")]

    def look_up() -> None:
        found.extend(resolve_within(hang, "slow.example", 443, Deadline(60)))

    threads = [threading.Thread(target=look_up, daemon=True) for _ in range(64)]
    for thread in threads:
        thread.start()
    assert all(hanging.acquire(timeout=30) for _ in threads)
    with pytest.raises(TransportError, match="too many names"):
        resolve_within(hang, "slow.example", 443, Deadline(0.2))
    assert not hanging.acquire(blocking=False)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert found == [ip_address("9.9.9.9")] * 64
    assert resolve_within(hang, "slow.example", 443, Deadline(30)) == found[:1]


def test_a_mistake_in_a_resolver_is_not_hidden() -> None:
    """What is no failure of the network is raised as it is."""

    def wrong(host: str, port: int) -> list[Address]:
        raise LookupError(f"{host} {port}")

    with pytest.raises(LookupError):
        resolve_within(wrong, "a.example", 443, Deadline(30))
