"""A name server that changes its mind, on a real UDP socket, and a resolver that asks it."""

import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from keystead.transports.addresses import Address


class NameServer:
    """Answers questions for IPv4 addresses; the n-th about a name gets the n-th of its answers.

    Attributes:
        asked: the names it was asked for, in order.
    """

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(turns) for name, turns in answers.items()}
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.place: tuple[str, int] = self._sock.getsockname()
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.place)
        self._thread.join(10)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            question, asker = self._sock.recvfrom(512)
            if not question:
                return
            name = _read_name(question)
            self.asked.append(name)
            turns = self._answers[name]
            addresses = turns.pop(0) if len(turns) > 1 else turns[0]
            self._sock.sendto(_answer(question, addresses), asker)

    def resolve(self) -> Callable[[str, int], list[Address]]:
        """Return a resolver that asks this server anew each time."""

        def ask(host: str, port: int) -> list[Address]:
            del port
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.sendto(_question(host), self.place)
                return _read_addresses(sock.recv(512))

        return ask


# RFC 1035, section 4: a header of six numbers, the question, records that point to its name.
def _question(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def _read_name(question: bytes) -> str:
    labels, place = [], 12
    while length := question[place]:
        labels.append(question[place + 1 : place + 1 + length].decode())
        place += 1 + length
    return ".".join(labels)


def _answer(question: bytes, addresses: Sequence[str]) -> bytes:
    head = struct.pack(">6H", 7, 0x8180, 1, len(addresses), 0, 0)
    record = struct.pack(">3HIH", 0xC00C, 1, 1, 0, 4)  # a time to live of 0: ask again
    return head + question[12:] + b"".join(record + IPv4Address(one).packed for one in addresses)


def _read_addresses(answer: bytes) -> list[Address]:
    count = struct.unpack(">6H", answer[:12])[3]
    records = answer[len(answer) - 16 * count :]
    return [IPv4Address(records[place + 12 : place + 16]) for place in range(0, 16 * count, 16)]
