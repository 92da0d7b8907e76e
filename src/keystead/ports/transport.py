"""What the application asks of whoever carries its messages; `transports` implements it.

A call is one HTTP exchange. Calls go to URLs that a guard has vetted; what is answered is bounded
in size and time, whatever the peer does.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from keystead.errors import TransportError


class Call(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        method: GET, POST or PUT.
        url: absolute URL.
        body: content; empty for GET.
        headers: further headers; Host and Content-Length are set by the transport.
        accept: media types that are wanted, without parameters; another type in a successful
            answer is an error. Empty: any.
    """

    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    accept: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What a peer answered; any status is an answer.

    Attributes:
        status: HTTP status.
        content_type: media type in lower case, without parameters; empty if none was told.
        headers: by lower-case name.
        body: content.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes


class Calls(Protocol):
    """Calls that are under way, for one thread that begins them and waits for their ends."""

    def begin(self, call: Call) -> int:
        """Begin a call, as soon as there is room for it; return its number, from 0."""

    def wait(self, seconds: float | None = None) -> tuple[int, Answer | TransportError] | None:
        """Return the number and the end of a call that has ended; each is told once.

        Args:
            seconds: how long to wait for one at most; None: until there is one.

        Returns:
            None: none has ended in time.
        """


class Transport(Protocol):
    """Carries calls to peers."""

    def call(self, call: Call) -> Answer:
        """Carry one call, and return the answer.

        Raises:
            TransportError: the URL or its address is refused (transport.url, transport.address),
                nobody answers (transport.unreachable, transport.timeout), or the answer is none,
                or too large (transport.answer, transport.too_large).
        """

    def call_all(self, calls: Sequence[Call]) -> Iterator[tuple[int, Answer | TransportError]]:
        """Carry calls at the same time; give the place and the end of each as it ends.

        Whoever stops early does not wait for the others.
        """

    def calls(self) -> AbstractContextManager[Calls]:
        """Carry calls that are begun one after another, at the same time.

        At the end of the block those under way are waited for no more.
        """
