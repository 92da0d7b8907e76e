"""Calls are rationed by host and by address, and failures are remembered for a while."""

import socket
import threading
import time
from ipaddress import IPv4Address, ip_address

import pytest

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Call
from keystead.transports.addresses import Address
from keystead.transports.client import HttpTransport
from keystead.transports.connection import Dial
from keystead.transports.deadline import Deadline
from keystead.transports.guard import FetchPolicy
from keystead.transports.pacing import Pacing, TooOftenError
from support.listeners import Listener, answering, canary

ADDRESS = ip_address("9.9.9.9")
PLACE = ("a.example", 443)


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_six_calls_a_minute_go_to_one_address() -> None:
    """The seventh is refused with the time to wait; other addresses and ports have their own."""
    clock = Clock()
    pacing = Pacing(FetchPolicy().for_strangers(), clock)
    for _ in range(6):
        pacing.count(ADDRESS, 443)
        clock.now += 1
    with pytest.raises(TooOftenError) as caught:
        pacing.count(ADDRESS, 443)
    assert caught.value.code is ErrorCode.UNREACHABLE
    assert caught.value.fields["seconds"] == 55
    pacing.count(ADDRESS, 5642)
    pacing.count(ip_address("149.112.112.112"), 443)
    clock.now += 54
    pacing.count(ADDRESS, 443)
    with pytest.raises(TooOftenError):
        pacing.count(ADDRESS, 443)


def test_known_hosts_and_this_machine_are_not_rationed() -> None:
    """Witnesses are called as often as there are events."""
    for policy, address in (
        (FetchPolicy(), ADDRESS),
        (FetchPolicy.local().for_strangers(), ip_address("127.0.0.1")),
    ):
        pacing = Pacing(policy)
        for _ in range(100):
            pacing.count(address, 443)


def test_few_addresses_are_remembered() -> None:
    """Counting takes no more memory however many addresses there are."""
    clock = Clock()
    pacing = Pacing(FetchPolicy().for_strangers(), clock)
    for number in range(5000):
        pacing.count(IPv4Address(0x09000000 + number), 443)
    assert len(pacing._calls) == 4096  # noqa: SLF001 - it is seen nowhere else


def _fail(pacing: Pacing, place: tuple[str, int], code: ErrorCode) -> None:
    with pytest.raises(TransportError), pacing.turn(place, Deadline(1)):
        raise TransportError(code, "as asked")


def test_a_failure_is_remembered_for_a_while() -> None:
    """A host that did not answer is not asked again for the time of the policy."""
    clock = Clock()
    pacing = Pacing(FetchPolicy().for_strangers(remember_failures=300), clock)
    _fail(pacing, PLACE, ErrorCode.TIMEOUT)
    clock.now += 299
    with pytest.raises(TransportError, match="shortly before") as caught:
        pacing.turn(PLACE, Deadline(1)).__enter__()
    assert caught.value.code is ErrorCode.TIMEOUT
    with pacing.turn(("b.example", 443), Deadline(1)):
        pass
    clock.now += 1
    with pacing.turn(PLACE, Deadline(1)):
        pass


def test_only_lasting_failures_are_remembered() -> None:
    """A bad answer, or our own haste, says nothing about the next call; nor without a policy."""
    for remember, error in (
        (300.0, TransportError(ErrorCode.ANSWER, "bad")),
        (300.0, TooOftenError(ErrorCode.UNREACHABLE, "too often")),
        (0.0, TransportError(ErrorCode.UNREACHABLE, "gone")),
    ):
        pacing = Pacing(FetchPolicy(remember_failures=remember))
        for _ in range(2):
            with pytest.raises(TransportError) as caught, pacing.turn(PLACE, Deadline(1)):
                raise error
            assert caught.value is error


def test_few_failures_are_remembered() -> None:
    """Remembering takes no more memory however many hosts fail."""
    pacing = Pacing(FetchPolicy(remember_failures=300))
    for number in range(5000):
        _fail(pacing, (f"h{number}.example", 443), ErrorCode.UNREACHABLE)
    assert len(pacing._failures) == 4096  # noqa: SLF001 - it is seen nowhere else


def test_the_fifth_call_waits_for_one_of_four() -> None:
    """Four calls are with a host; the next begins when one has ended, or gives up in time."""
    pacing = Pacing(FetchPolicy())
    turns = [pacing.turn(PLACE, Deadline(10)) for _ in range(4)]
    for turn in turns:
        turn.__enter__()
    with pytest.raises(TimeoutError):
        pacing.turn(PLACE, Deadline(0.05)).__enter__()
    with pacing.turn(("b.example", 443), Deadline(0.05)):
        pass
    entered = threading.Event()

    def fifth() -> None:
        with pacing.turn(PLACE, Deadline(10)):
            entered.set()

    thread = threading.Thread(target=fifth, daemon=True)
    thread.start()
    assert not entered.wait(0.05)
    turns[0].__exit__(None, None, None)
    assert entered.wait(10)
    thread.join(10)


def test_many_names_of_one_address_share_its_ration() -> None:
    """Whoever makes names for somebody else's address cannot aim more calls at it."""
    with Listener(answering()) as victim:
        transport = HttpTransport(
            FetchPolicy(allow_http=True).for_strangers(),
            resolve=lambda _host, _port: [ADDRESS],
            dial=_wire(victim),
        )
        for number in range(6):
            transport.call(Call("GET", f"http://h{number}.example/"))
        with pytest.raises(TransportError, match="6 times in a minute"):
            transport.call(Call("GET", "http://h7.example/"))
        with pytest.raises(TransportError, match="6 times in a minute"):
            transport.call(Call("GET", "http://h1.example/"))
        transport.close()
        assert victim.connections == 6


def _wire(peer: Listener) -> Dial:
    def dial(address: Address, port: int, seconds: float) -> socket.socket:
        del address, port
        return socket.create_connection(("127.0.0.1", peer.port), timeout=seconds)

    return dial


def test_a_dead_host_is_asked_once() -> None:
    """The second call to a host that closed on the first does not connect."""
    with canary() as dead:
        policy = FetchPolicy(allow_loopback=True, remember_failures=300)
        transport = HttpTransport(policy)
        for _ in range(3):
            with pytest.raises(TransportError) as caught:
                transport.call(Call("GET", f"http://127.0.0.1:{dead.port}/"))
            assert caught.value.code is ErrorCode.UNREACHABLE
        time.sleep(0.05)
        assert dead.connections == 1
