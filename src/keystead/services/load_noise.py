"""Those who only want to disturb a server, in a process of their own.

`start` runs it, so that what it costs is not part of what honest callers measure.
"""

import asyncio
import json
import resource
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Final

from keystead.services.load_events import junk

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_DRIP_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.1
_SPARE_FILES: Final = 256
_FLOODERS: Final = 8


def start(kind: str, address: tuple[str, int], count: int) -> subprocess.Popen[bytes]:
    """Start a process that disturbs until it is killed, or has done all it should.

    Args:
        kind: "slow": keeps connections; "flood": sends events of strangers, tells what was
            answered, and ends.
        address: of the server.
        count: of connections or events.
    """
    command = [sys.executable, "-m", __name__, kind, address[0], str(address[1]), str(count)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # noqa: S603 - this program itself


def allow_files(count: int) -> None:
    """Let this process have so many connections, as far as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def be_slow(address: tuple[str, int], count: int) -> None:
    """Keep connections on which a request arrives a byte a second, until cancelled.

    Those that the server closes are opened again.
    """
    allow_files(count)

    async def again() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _drip(address)
            await asyncio.sleep(_DRIP_SECONDS)

    await asyncio.gather(*(again() for _ in range(count)))


async def _drip(address: tuple[str, int]) -> None:
    """Send a head that does not end, until the server has enough."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for byte in b"POST /receipts HTTP/1.1\r\nX-Slow: " + b"x" * 4096:
            writer.write(bytes([byte]))
            await writer.drain()
            if await _ended(reader, _DRIP_SECONDS):
                return
    finally:
        writer.transport.abort()


async def _ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(reader.read(4096), seconds)
        return True
    return False


async def flood(address: tuple[str, int], count: int) -> Counter[str]:
    """Send events of strangers, and return how often each status was answered."""
    host = f"{address[0]}:{address[1]}"
    answers: Counter[str] = Counter()
    left = iter(range(count))

    async def send() -> None:
        requests = junk(host)
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(*address)
                try:
                    for _ in left:
                        writer.write(next(requests))
                        head = await reader.readuntil(_HEAD_END)
                        await reader.readexactly(_content_length(head))
                        answers[head[9:12].decode("latin-1")] += 1
                    return
                finally:
                    writer.transport.abort()
            answers["lost"] += 1
            if answers["lost"] >= count:
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    await asyncio.gather(*(send() for _ in range(_FLOODERS)))
    return answers


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(_LENGTH)
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def main() -> None:
    """Disturb as the arguments say."""
    kind, host, port, count = sys.argv[1:]
    address = (host, int(port))
    if kind == "slow":
        asyncio.run(be_slow(address, int(count)))
    else:
        answers = asyncio.run(flood(address, int(count)))
        sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
