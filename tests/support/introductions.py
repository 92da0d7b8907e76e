"""Services that introduce identifiers, on real ports."""

import gc
import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from keystead.cesr.keys import Aid
from keystead.keri.oobi import OobiPath, parse_path
from keystead.node.publishing import oobi_stream
from keystead.services.http import Request, Response
from keystead.testing.authoring import KeyPair
from keystead.transports.client import HttpTransport
from keystead.transports.guard import FetchPolicy
from support.commands import COMMAND
from support.desks import Desk
from support.logs import STAMP, Node, attached, coupled, routed
from support.serving import serving

CESR = "application/json+cesr"


@dataclass
class Place:
    """A service of this process.

    Attributes:
        node: whose logs and statements it gives.
        url: where it is.
        content_type: of its logs.
        answers: what it answers for paths, in the place of logs.
        asked: paths that it was asked for.
    """

    node: Node = field(default_factory=Node)
    url: str = ""
    content_type: str = CESR
    answers: dict[str, Response] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def oobi(self, *parts: str) -> str:
        """Return an introduction here."""
        return "/".join([f"{self.url}/oobi", *parts])

    async def answer(self, request: Request) -> Response:
        """Answer as keri's services do."""
        self.asked.append(request.path)
        if request.path in self.answers:
            return self.answers[request.path]
        path = parse_path(request.path) or OobiPath()
        aid = Aid(path.target or "")
        stream = oobi_stream(self.node.store, aid, role=path.role, eid=path.eid)
        if stream is None:
            return Response(404)
        return Response(body=stream, content_type=self.content_type, headers={"KERI-AID": aid})


@contextmanager
def places(count: int) -> Iterator[list[Place]]:
    """Run services.

    Each has a thread. What earlier tests left must not be collected there: a wallet can be closed
    only by the thread that opened it.
    """
    gc.collect()
    with ExitStack() as stack:
        gc.disable()
        stack.callback(gc.enable)
        found = []
        for _ in range(count):
            place = Place()
            served = stack.enter_context(serving(place.answer))
            place.url = f"http://127.0.0.1:{served.port}"
            found.append(place)
        yield found


def local_transport() -> HttpTransport:
    """Return a real transport that may reach this machine."""
    return HttpTransport(FetchPolicy.local())


def location(pair: KeyPair, url: str, *, stamp: str = STAMP) -> bytes:
    """Return the statement of a witness on where it is."""
    raw = routed(
        "rpy", dt=stamp, r="/loc/scheme", a={"eid": pair.aid, "scheme": "http", "url": url}
    )
    return attached(raw, coupled(pair, raw))


def tell_places(pairs: Sequence[KeyPair], found: Sequence[Place]) -> None:
    """Have each service know where all witnesses are; each is at the service of its place."""
    for place in found:
        for pair, where in zip(pairs, found, strict=False):
            place.node.feed(location(pair, f"{where.url}/"))


@contextmanager
def oobi_served(desk: Desk, *arguments: str) -> Iterator[str]:
    """Run `keystead oobi serve`, and give its URL."""
    log = desk.folder / "serve.log"
    with log.open("w") as told:
        process = subprocess.Popen(
            [str(COMMAND), "oobi", "serve", *arguments, "--json"],
            env=desk.owner.environment,
            cwd=desk.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        try:
            yield json.loads(line)["listening"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()
            process.stdout.close()
