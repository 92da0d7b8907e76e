"""Measure the HTTP server: requests a second of a trivial application, with callers beside it.

Callers are threads of one other process, each with one connection that it keeps.
"""

import argparse
import asyncio
import multiprocessing
import socket
import threading
from time import perf_counter, process_time

from keystead.services.http import Request, Response
from keystead.services.listening import HttpServer

_BODY = b"x" * 600
_REQUEST = (
    b"POST /receipts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/cesr+json\r\n"
    b"CESR-ATTACHMENT: " + b"A" * 200 + b"\r\nContent-Length: 600\r\n\r\n" + _BODY
)


async def _application(request: Request) -> Response:
    return Response(200, request.body[:300], "application/json+cesr")


def _call(port: int, until: float, counts: list[int]) -> None:
    count = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while perf_counter() < until:
            connection.sendall(_REQUEST)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("the server failed")
            count += 1
    counts.append(count)


def _call_all(
    port: int, callers: int, seconds: float, result: "multiprocessing.Queue[int]"
) -> None:
    counts: list[int] = []
    until = perf_counter() + seconds
    threads = [threading.Thread(target=_call, args=(port, until, counts)) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.put(sum(counts))


async def _measure(callers: int, seconds: float) -> None:
    server = HttpServer(_application)
    _, port = await server.start("127.0.0.1", 0)
    result: multiprocessing.Queue[int] = multiprocessing.Queue()
    load = multiprocessing.Process(target=_call_all, args=(port, callers, seconds, result))
    used = process_time()
    load.start()
    count = await asyncio.to_thread(result.get)
    used = process_time() - used
    load.join()
    await server.stop(1)
    print(
        f"{callers} connections: {count / seconds:,.0f} requests/s,"
        f" {used / count * 1e6:.0f} µs of the server's processor each"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    asyncio.run(_measure(options.callers, options.seconds))


if __name__ == "__main__":
    main()
