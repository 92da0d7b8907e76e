"""One connection: requests come in, are answered in order, and cannot disturb other connections.

A connection is in one phase at a time, and each phase has a deadline that the sweep of the server
looks at once a second. While a request is answered nothing else is parsed; what arrives meanwhile
waits, and beyond one head it waits in the kernel.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from time import monotonic
from typing import Final

from keystead.errors import KeysteadError
from keystead.services.addresses import forwarded_client
from keystead.services.http import Application, HttpLimits, Request, Response
from keystead.services.parsing import END, ChunkedBody, Head, check_partial, parse_head
from keystead.services.refusals import Refused, error_response, refusal
from keystead.services.writing import LAST_CHUNK, chunk, start, whole

_RATE_GRACE: Final = 2.0  # seconds before the pace of a body is judged
_DISCARDED: Final = 4 * 1024 * 1024  # bytes of a refused request that are read for politeness


class Phase(Enum):
    """What a connection is doing."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    WORKING = auto()
    STREAMING = auto()
    LINGERING = auto()
    CLOSED = auto()


@dataclass(slots=True)
class Serving:
    """What the connections of a server share; nothing of any request.

    Attributes:
        application: answers requests.
        limits: bounds.
        route_limit: largest body of a method and path; None: `limits.body` for all.
        behind_proxy: whether clients are those that X-Forwarded-For names.
        refused: is told the status of each request that never reached the application.
        failed: is told each error of the application that it did not expect.
        connections: those that are open.
        requests: requests in progress, without streams.
        buffered: bytes of bodies that have arrived and are not answered.
        date: the Date header, renewed by the sweep.
        stopping: whether no further request is taken.
    """

    application: Application
    limits: HttpLimits
    route_limit: Callable[[str, str], int] | None
    behind_proxy: bool
    refused: Callable[[int], None]
    failed: Callable[[Exception], None]
    connections: "set[Connection]" = field(default_factory=set)
    requests: int = 0
    buffered: int = 0
    date: str = ""
    stopping: bool = False

    def body_limit(self, head: Head) -> int:
        """Return how much content a request may have."""
        if self.route_limit is None:
            return self.limits.body
        return self.route_limit(head.method, head.path)

    def request(self, head: Head, content: bytes, peer: str) -> Request:
        """Return a request as the application sees it."""
        client = peer
        if self.behind_proxy:
            client = forwarded_client(head.headers.get("x-forwarded-for", ""), peer)
        return Request(head.method, head.path, head.query, head.headers, content, client)

    async def ask(self, request: Request) -> Response:
        """Return the answer of the application, whatever it does."""
        try:
            return await self.application(request)
        except KeysteadError as error:
            return error_response(error)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the server
            self.failed(error)
            return refusal(500, "something failed here")

    async def close_stream(self, stream: AsyncIterator[bytes] | None) -> None:
        """Let a generator run its own ends; other iterators have none."""
        close = getattr(stream, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except Exception as error:  # noqa: BLE001 - as above
            self.failed(error)


class Connection(asyncio.Protocol):
    """Reads requests from one peer and writes the answers."""

    def __init__(self, serving: Serving, client: str, closed: Callable[[], None]) -> None:
        """Begin.

        Args:
            serving: what all connections share.
            client: address of the peer.
            closed: is called once, when the connection is gone.
        """
        self._serving = serving
        self._client = client
        self._closed = closed
        self._transport: asyncio.Transport
        self._phase = Phase.HEAD
        self._deadline = math.inf
        self._buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._chunks: ChunkedBody | None = None
        self._held = 0  # bytes counted in `buffered`
        self._since = math.inf  # when the phase began
        self._task: asyncio.Task[None] | None = None
        self._reading = True
        self._ended = False  # the peer sends nothing more
        self._writable: asyncio.Future[None] | None = None
        self._unread = 0  # bytes that the peer had not taken when its deadline was set
        self._write_deadline = math.inf
        self._discarded = 0

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio makes stream transports
        self._transport = transport
        self._serving.connections.add(self)
        self._since = monotonic()
        self._deadline = self._since + self._serving.limits.head_seconds

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        match self._phase:
            case Phase.LINGERING:
                self._discarded += len(data)
                if self._discarded > _DISCARDED:
                    self._transport.abort()
                return
            case Phase.CLOSED:
                return
            case Phase.WORKING | Phase.STREAMING:
                self._buffer += data
                if len(self._buffer) > self._serving.limits.head and self._reading:
                    self._reading = False
                    self._transport.pause_reading()
                return
            case Phase.BODY:
                self._hold(len(data))
            case _:
                pass
        self._buffer += data
        self._advance()

    def eof_received(self) -> bool:
        """Finish what was asked; a peer that half closed can still read (never over TLS)."""
        self._ended = True
        if self._phase is Phase.WORKING and self._transport.get_extra_info("sslcontext") is None:
            return True
        self._cancel_stream()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything, except a request in progress: its effects may be half done."""
        del exc
        self._cancel_stream()
        self._phase = Phase.CLOSED
        self._release()
        self._buffer.clear()
        self.resume_writing()
        self._serving.connections.discard(self)
        self._closed()

    def pause_writing(self) -> None:
        """Note that the peer does not read as fast as we write."""
        self._set_write_deadline(monotonic())

    def resume_writing(self) -> None:
        """Let a stream go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._write_deadline = math.inf

    # What the server calls

    def sweep(self, now: float) -> None:
        """End what took too long."""
        if now >= self._write_deadline:
            unread = self._transport.get_write_buffer_size()
            limits = self._serving.limits
            if self._unread - unread < limits.body_rate * limits.write_seconds:
                self._transport.abort()
                return
            self._set_write_deadline(now)
        if self._phase is Phase.BODY and self._too_slow(now):
            self._refuse(Refused(408, "the content arrived too slowly"))
        elif now >= self._deadline:
            self._expire()

    def stop(self) -> None:
        """Finish: at once if nothing is in progress, otherwise after the request at hand."""
        match self._phase:
            case Phase.STREAMING:
                self._cancel_stream()
            case Phase.IDLE:
                self._close()
            case Phase.HEAD if not self._buffer:
                self._close()
            case _:
                pass

    @property
    def evictable_at(self) -> float:
        """When it may be closed to make room; infinite while a request is in progress."""
        return self._since + _PATIENCE.get(self._phase, math.inf)

    def make_room(self) -> None:
        """End at once, and count as closed from now on."""
        self._phase = Phase.CLOSED
        self._closed()
        self._transport.abort()

    def abort(self) -> None:
        """End at once."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # Reading

    def _advance(self) -> None:
        """Parse what is there: one request at most, so that others get their turn."""
        if self._phase not in _READING or not (self._buffer or self._head):
            return
        try:
            head = self._head = self._head or self._read_head()
            content = None if head is None else self._read_body(head)
        except Refused as refused:
            self._refuse(refused)
            return
        if head is not None and content is not None:
            self._begin(head, content)

    def _read_head(self) -> Head | None:
        limits = self._serving.limits
        if self._phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self._since = monotonic()
            self._deadline = self._since + limits.head_seconds
        buffer = self._buffer
        end = buffer.find(END, self._searched)
        if end < 0:
            check_partial(buffer, limits)
            self._searched = max(0, len(buffer) - len(END) + 1)
            return None
        end += len(END)
        head = parse_head(bytes(buffer[:end]), limits)
        del buffer[:end]
        self._searched = 0
        self._begin_body(head)
        return head

    def _begin_body(self, head: Head) -> None:
        limits, limit = self._serving.limits, self._serving.body_limit(head)
        if head.length is None:
            self._chunks = ChunkedBody(limit, limits.chunks)
        elif head.length > limit:
            raise Refused(413, "the content is too large")
        if head.length is None or len(self._buffer) < head.length:
            self._phase = Phase.BODY
            self._since = monotonic()
            self._deadline = self._since + limits.body_seconds
            if head.waits and not self._buffer:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._buffer:
            self._hold(len(self._buffer))

    def _read_body(self, head: Head) -> bytes | None:
        if self._serving.buffered > self._serving.limits.buffered:
            raise Refused(503, "too much content is waiting")
        if self._chunks is not None:
            if not self._chunks.take(self._buffer):
                return None
            return bytes(self._chunks.content)
        length = head.length or 0
        if len(self._buffer) < length:
            return None
        content = bytes(self._buffer[:length])
        del self._buffer[:length]
        return content

    def _hold(self, count: int) -> None:
        """Count bytes of bodies: many connections that each keep a little fill the memory too."""
        self._held += count
        self._serving.buffered += count

    def _release(self) -> None:
        self._serving.buffered -= self._held
        self._held = 0

    # Answering

    def _begin(self, head: Head, content: bytes) -> None:
        """Hand a request to the application."""
        serving = self._serving
        self._head = self._chunks = None
        loop = asyncio.get_running_loop()
        if serving.requests >= serving.limits.requests:
            serving.refused(503)
            self._write(refusal(503, "too many requests are in progress"), head)
            self._next(head)
            loop.call_soon(self._advance)
            return
        self._phase = Phase.WORKING
        self._deadline = math.inf
        serving.requests += 1
        request = serving.request(head, content, self._client)
        self._task = loop.create_task(self._answer(request, head))

    async def _answer(self, request: Request, head: Head) -> None:
        """Have one request answered, whatever the application does."""
        try:
            response = await self._serving.ask(request)
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        finally:
            self._serving.requests -= 1
            self._release()
        if self._phase is Phase.CLOSED:
            await self._serving.close_stream(response.stream)
        elif response.stream is None:
            self._write(response, head)
        else:
            await self._stream(response, response.stream, head)
        await self._drained()  # who asks and does not read gets no further answers
        self._task = None
        if self._phase is not Phase.CLOSED:
            self._next(head)
            self._advance()

    def _write(self, response: Response, head: Head) -> None:
        """Write a whole response; one that cannot be written is a failure of the application."""
        date, stays = self._serving.date, self._stays(head)
        try:
            written = whole(response, head, date, stays=stays)
        except Exception as error:  # noqa: BLE001 - as in ask
            self._serving.failed(error)
            written = whole(refusal(500, "something failed here"), head, date, stays=stays)
        self._transport.write(written)

    async def _stream(self, response: Response, stream: AsyncIterator[bytes], head: Head) -> None:
        """Write a response while it is made; only one that ended well gets its last chunk."""
        self._phase = Phase.STREAMING
        chunked = head.chunkable
        framing = "Transfer-Encoding: chunked\r\n" if chunked else ""
        try:
            self._transport.write(
                start(
                    response, self._serving.date, framing, stays=self._stays(head), old=not chunked
                )
            )
            if head.method != "HEAD":
                await self._pump(stream, chunked=chunked)
        except asyncio.CancelledError:
            if not self._serving.stopping:
                self._transport.abort()
        except Exception as error:  # noqa: BLE001 - as in ask
            self._serving.failed(error)
            self._transport.abort()
        finally:
            await self._serving.close_stream(stream)
        if chunked and head.method != "HEAD" and not self._transport.is_closing():
            self._transport.write(LAST_CHUNK)

    async def _pump(self, stream: AsyncIterator[bytes], *, chunked: bool) -> None:
        async for piece in stream:
            if self._transport.is_closing():
                return
            if not piece:
                continue
            self._transport.write(chunk(piece) if chunked else piece)
            await self._drained()

    async def _drained(self) -> None:
        """Wait until the peer has taken most of what was written, or the connection is gone."""
        if self._write_deadline is not math.inf:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable

    def _stays(self, head: Head) -> bool:
        """Tell whether another request may follow."""
        ends = self._phase is Phase.STREAMING and not head.chunkable  # it ends with the content
        return head.keep_alive and not (ends or self._ended or self._serving.stopping)

    def _next(self, head: Head) -> None:
        """Wait for the next request, or close."""
        self._release()
        if not self._stays(head) or self._write_deadline is not math.inf:
            self._close()
            return
        self._phase = Phase.IDLE
        self._since = monotonic()
        self._deadline = self._since + self._serving.limits.idle_seconds
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    # Ending

    def _refuse(self, refused: Refused) -> None:
        """Answer a request that cannot be read on, and close: nobody knows where the next begins."""
        if self._phase in (Phase.LINGERING, Phase.CLOSED):
            return
        self._serving.refused(refused.status)
        self._write(refusal(refused.status, refused.message), _UNREADABLE)
        self._linger()

    def _linger(self) -> None:
        """Read on for a while: closing with unread input would destroy the answer on its way."""
        self._release()
        self._buffer.clear()
        self._phase = Phase.LINGERING
        self._deadline = monotonic() + self._serving.limits.linger_seconds
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _close(self) -> None:
        if self._buffer:
            self._linger()
            return
        self._phase = Phase.CLOSED
        self._deadline = monotonic() + self._serving.limits.write_seconds
        self._transport.close()

    def _expire(self) -> None:
        match self._phase:
            case Phase.HEAD | Phase.BODY if self._buffer or self._head is not None:
                self._refuse(Refused(408, "the request did not arrive in time"))
            case Phase.LINGERING | Phase.CLOSED:
                self._transport.abort()
            case _:
                self._close()

    def _too_slow(self, now: float) -> bool:
        elapsed = now - self._since - _RATE_GRACE
        return elapsed > 0 and self._held < elapsed * self._serving.limits.body_rate

    def _set_write_deadline(self, now: float) -> None:
        self._unread = self._transport.get_write_buffer_size()
        self._write_deadline = now + self._serving.limits.write_seconds

    def _cancel_stream(self) -> None:
        if self._phase is Phase.STREAMING and self._task is not None:
            self._task.cancel()


_READING: Final = (Phase.IDLE, Phase.HEAD, Phase.BODY)
# Seconds that a connection is left alone when others need room. The first bytes of a request come
# with the end of a handshake, however long the line; content needs a few round trips; and who asked
# something before is more likely to be honest.
_PATIENCE: Final = {Phase.HEAD: 0.1, Phase.BODY: 2.0, Phase.IDLE: 5.0}
_UNREADABLE: Final = Head("", "", "", {}, 0, keep_alive=False, chunkable=True, waits=False)
