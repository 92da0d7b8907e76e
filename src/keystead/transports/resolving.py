"""Names to addresses, within a deadline."""

import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Final

from keystead.errors import ErrorCode, TransportError
from keystead.transports.addresses import Address
from keystead.transports.deadline import Deadline

Resolve = Callable[[str, int], Sequence[Address]]
"""Gives the addresses of a name, in the order in which to try them; OSError if there are none."""

# Lookups at the same time. One that hangs cannot be stopped and keeps its thread until the
# system's resolver gives up, about half a minute.
_LOOKUPS: Final = threading.BoundedSemaphore(64)


def system_resolve(host: str, port: int) -> list[Address]:
    """Ask the system's resolver.

    Raises:
        OSError: the name is not known, or nobody could be asked.
    """
    # As bytes: text would be put through the IDNA of 2003 on the way.
    name = host.encode("ascii")
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    addresses = [ip_address(place[0]) for *_, place in found if isinstance(place[0], str)]
    return list(dict.fromkeys(addresses))


def resolve_within(resolve: Resolve, host: str, port: int, deadline: Deadline) -> list[Address]:
    """Resolve a name once.

    Raises:
        TransportError: the name has no address (transport.unreachable), or nobody told it in
            time (transport.timeout).
        TimeoutError: no time was left.
    """
    answers: SimpleQueue[Sequence[Address] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(resolve(host, port))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            answers.put(error)
        finally:
            _LOOKUPS.release()

    if not _LOOKUPS.acquire(timeout=deadline.left()):
        raise TransportError(ErrorCode.TIMEOUT, "too many names are being looked up", host=host)
    # A daemon: a lookup that hangs must not keep the process from ending.
    threading.Thread(target=look_up, name="keystead-resolve", daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left())
    except Empty:
        raise TransportError(
            ErrorCode.TIMEOUT, f"the address of {host} was not told in time", host=host
        ) from None
    if isinstance(found, OSError):
        raise TransportError(
            ErrorCode.UNREACHABLE, f"the name {host} has no address", host=host
        ) from found
    if isinstance(found, Exception):
        raise found
    if not found:
        raise TransportError(ErrorCode.UNREACHABLE, f"the name {host} has no address", host=host)
    return list(found)
