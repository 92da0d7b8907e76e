"""What an HTTP server and its application exchange; `listening` serves it.

An application is one asynchronous function from requests to responses. It gets whole requests: their
heads were checked strictly, and their bodies have arrived and are no larger than allowed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec


class Request(msgspec.Struct, frozen=True):
    """One request, whole.

    Attributes:
        method: one of GET, HEAD, POST, PUT, DELETE, OPTIONS.
        path: path of the target, still percent-encoded, without the query; begins with "/", or is
            "*" for OPTIONS.
        query: what follows the first "?", still percent-encoded; may be empty.
        headers: by lower-case name. Values of a header that came more than once are joined by ", ".
        body: content; empty if there is none.
        client: IP address of the client; behind a proxy, what the proxy says.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    client: str


class Response(msgspec.Struct, frozen=True):
    """What is answered.

    Attributes:
        status: HTTP status, 200 to 599.
        body: content, when it is whole.
        content_type: media type; empty if there is no content.
        headers: further headers. Date, Connection and those that frame the content are the
            server's.
        stream: content that is made while it is sent, instead of `body`. It is asked for the next
            piece when the last one was taken by the peer, and cancelled when the peer goes away or
            the server stops.
        route: template of the path, such as "/oobi/{aid}", for logs and metrics.
        aid: identifier that the request was about, for logs.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = {}
    stream: AsyncIterator[bytes] | None = None
    route: str = ""
    aid: str = ""


Application = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds on what strangers can make a server keep and wait for. Sizes in bytes.

    Attributes:
        head: request line and headers. Honest ones have under 1 KiB; 16 KiB leave room for the
            signatures of signed requests.
        fields: headers of one request.
        target: path and query. A whole event in a query is no honest use.
        body: content, where the application names no limit for the route.
        chunks: pieces of one chunked body. Each costs a microsecond.
        buffered: bodies in all that are not answered yet (64 MiB).
        head_seconds: from connecting, or from the first byte of a later request, to the end of its
            head. Also for the TLS handshake.
        body_seconds: for the whole body.
        body_rate: bytes a second of a body after two seconds; also the pace at which an answer
            must be taken.
        idle_seconds: between requests of a connection.
        write_seconds: how long an answer may wait for a peer that does not read.
        linger_seconds: how long the rest of a refused request is read and thrown away, so that
            the peer gets to see the answer.
        connections: open connections in all; each costs 10 KiB or so and a descriptor. When there
            are as many, those that have waited longest for the rest of a request make room.
        per_address: connections of one IPv4 address or IPv6 /64 network.
        per_loopback: connections of one address of the machine itself, where proxies, and whole
            pools of a developer, live: in effect only bounded by `connections`.
        backlog: connections that the kernel keeps until they are accepted.
        requests: requests in progress in all; more are told to come back.
    """

    head: int = 16 * 1024
    fields: int = 64
    target: int = 4 * 1024
    body: int = 64 * 1024
    chunks: int = 16_384
    buffered: int = 64 * 1024 * 1024
    head_seconds: float = 5.0
    body_seconds: float = 10.0
    body_rate: int = 4 * 1024
    idle_seconds: float = 30.0
    write_seconds: float = 15.0
    linger_seconds: float = 2.0
    connections: int = 1_024
    per_address: int = 64
    per_loopback: int = 65_536
    backlog: int = 256
    requests: int = 512
