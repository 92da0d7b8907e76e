"""HTTP calls through the guard, on the standard library's parser of answers.

Per call: read the URL, resolve its name once, vet all addresses, connect to one of them, prove by
TLS that it is the host of the URL, send, read within bounds. Nothing comes from the environment
(no proxies), nothing is remembered for a peer (no cookies, no credentials), nothing is unpacked.
"""

import ssl
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPException

import msgspec

from keystead.errors import ErrorCode, TransportError
from keystead.ports.transport import Answer, Call
from keystead.transports.addresses import Address
from keystead.transports.calling import CallsUnderWay
from keystead.transports.connection import Connection, Dial, system_dial
from keystead.transports.deadline import Deadline
from keystead.transports.guard import DEFAULT_POLICY, FetchPolicy, Target, read_url, vet
from keystead.transports.idle import IdleConnections
from keystead.transports.messages import check_call, read_answer, redirection, write_request
from keystead.transports.pacing import Pacing, TooOftenError
from keystead.transports.resolving import Resolve, resolve_within, system_resolve


class HttpTransport:
    """Carries calls over HTTP/1.1; implements `keystead.ports.transport.Transport`.

    Connections are kept for further calls to the same scheme, host and port, for some seconds.
    One that the peer has closed in the meantime is found out when no byte of an answer comes; then
    the call is sent once more, on a new connection. So a call may arrive twice. All that is called
    here may: the first of two equal key events, receipts or queries counts, the second changes
    nothing.

    May be used from many threads at the same time.
    """

    def __init__(
        self,
        policy: FetchPolicy = DEFAULT_POLICY,
        *,
        resolve: Resolve = system_resolve,
        dial: Dial = system_dial,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            policy: whom to call at all, and bounds.
            resolve: gives the addresses of a name.
            dial: connects to an address that was vetted.
            tls: context that checks certificates; that of the system's authorities if none.
        """
        self._policy = policy
        self._resolve = resolve
        self._dial = dial
        self._given_tls = tls
        self._pacing = Pacing(policy)
        self._idle = IdleConnections()
        weakref.finalize(self, self._idle.close)

    def close(self) -> None:
        """Close the connections that are kept; calls under way go on."""
        self._idle.close()

    def call(self, call: Call) -> Answer:
        """Carry one call; see the port.

        Raises:
            TransportError: as the port says.
            ValueError: the call itself is malformed, by its program.
        """
        check_call(call)
        deadline = Deadline(self._policy.total)
        target = read_url(call.url, self._policy)
        for _ in range(self._policy.redirects + 1):
            answer = self._carry(target, call, deadline)
            if not self._policy.redirects or not (place := redirection(target, call, answer)):
                return answer
            after = read_url(place, self._policy)
            if (target.scheme, after.scheme) == ("https", "http"):
                raise TransportError(
                    ErrorCode.URL_REFUSED, f"{target.host} redirects from https to http"
                )
            if after.origin != target.origin:
                # What was meant for one host is not told to another.
                call = msgspec.structs.replace(call, headers={})
            target = after
        raise TransportError(ErrorCode.ANSWER, f"{target.host} redirects too often")

    def call_all(self, calls: Sequence[Call]) -> Iterator[tuple[int, Answer | TransportError]]:
        """Carry calls at the same time; see the port.

        Who stops early lets the calls that are under way end by themselves, and those that have
        not begun never begin.
        """
        with self.calls() as under_way:
            for call in calls:
                under_way.begin(call)
            for _ in calls:
                end = under_way.wait()
                assert end is not None  # noqa: S101 - it waits for as long as it takes
                yield end

    @contextmanager
    def calls(self) -> Iterator[CallsUnderWay]:
        """Carry calls that are begun one after another; see the port."""
        under_way = CallsUnderWay(self.call, self._policy.parallel)
        try:
            yield under_way
        finally:
            under_way.stop()

    def _carry(self, target: Target, call: Call, deadline: Deadline) -> Answer:
        """Exchange one request and one answer."""
        with (
            _by_codes(target.host),
            self._pacing.turn((target.host, target.port), deadline),
            _by_codes(target.host),
        ):
            if (kept := self._kept(target)) is not None:
                try:
                    return self._exchange(kept, target, call, deadline)
                except (ConnectionError, ssl.SSLError):
                    if kept.heard:
                        raise
            return self._exchange(self._connect(target, deadline), target, call, deadline)

    def _kept(self, target: Target) -> Connection | None:
        """Return a connection that is still open; a call on it counts as one on a new one."""
        kept = self._idle.take(target.origin)
        if kept is not None:
            try:
                self._pacing.count(kept.address, target.port)
            except TooOftenError:
                self._idle.keep(target.origin, kept)
                raise
        return kept

    def _connect(self, target: Target, deadline: Deadline) -> Connection:
        """Connect to the first address that takes the connection, after all were vetted."""
        if target.address is not None:
            addresses: list[Address] = [target.address]
        else:
            addresses = resolve_within(self._resolve, target.host, target.port, deadline)
        vet(target, addresses, self._policy)
        failure = OSError()
        for address in addresses:
            self._pacing.count(address, target.port)
            try:
                seconds = min(self._policy.connect, deadline.left())
                sock = self._dial(address, target.port, seconds)
            except OSError as error:
                failure = error
                continue
            connection = Connection(sock, address)
            try:
                if target.scheme == "https":
                    connection.secure(self._tls, target.host, deadline)
            except BaseException:
                connection.close()
                raise
            return connection
        if isinstance(failure, TimeoutError):
            raise failure
        raise TransportError(
            ErrorCode.UNREACHABLE, f"nobody listens at {target.authority}", host=target.host
        ) from failure

    def _exchange(
        self, connection: Connection, target: Target, call: Call, deadline: Deadline
    ) -> Answer:
        """Send and read on a connection; keep it if all went well and the peer keeps it too."""
        keep = False
        try:
            connection.send(write_request(target, call), deadline)
            head = self._policy.head
            # The framing of chunks may cost as much again, and some even if there is little.
            body = 2 * self._policy.answer + head
            response = connection.receive(call.method, head, body, deadline)
            answer = read_answer(response, call, self._policy.answer)
            keep = not response.will_close
        finally:
            if keep:
                self._idle.keep(target.origin, connection)
            else:
                connection.close()
        return answer

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        if self._given_tls is not None:
            return self._given_tls
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


@contextmanager
def _by_codes(host: str) -> Iterator[None]:
    """Tell all that goes wrong with a host by codes."""
    try:
        yield
    except TimeoutError as error:
        raise TransportError(
            ErrorCode.TIMEOUT, f"{host} did not answer in time", host=host
        ) from error
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or getattr(error, "reason", "")
        raise TransportError(
            ErrorCode.UNREACHABLE, f"no TLS connection to {host}: {why or 'it broke'}", host=host
        ) from error
    except OSError as error:
        raise TransportError(
            ErrorCode.UNREACHABLE, f"{host} closed the connection", host=host
        ) from error
    except (HTTPException, ValueError) as error:
        raise TransportError(
            ErrorCode.ANSWER, f"{host} did not answer by proper HTTP", host=host
        ) from error
