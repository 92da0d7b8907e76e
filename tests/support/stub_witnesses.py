"""Witnesses of this process on real ports, which tests can have answer as they like."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_groups
from keystead.keri import build
from keystead.keri.events import KeyEvent
from keystead.keri.messages import Receipt
from keystead.keri.verdicts import Duplicitous, Source
from keystead.node.ingest import Result
from keystead.node.replay import replay
from keystead.services.http import Request, Response
from keystead.testing.authoring import KeyPair, witness
from keystead.transports.client import HttpTransport
from keystead.transports.guard import FetchPolicy
from support.introductions import location
from support.logs import Node
from support.serving import serving

CESR = "application/json+cesr"
Answering = Callable[[Request], Response | None]


@dataclass
class StubWitness:
    """A witness as keri's is seen from outside.

    Attributes:
        pair: its key.
        node: what it knows.
        url: where it is.
        instead: answers instead of it, unless the answer is None.
        asked: methods and paths that it was asked, in their order.
        shown: places of the events that it was asked to receipt, in their order.
    """

    pair: KeyPair
    node: Node
    url: str = ""
    instead: Answering = lambda _: None
    asked: list[str] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)

    @property
    def aid(self) -> Aid:
        """Who it is."""
        return self.pair.aid

    def location(self) -> bytes:
        """Return its statement on where it is."""
        return location(self.pair, f"{self.url}/")

    def receipts(self, aid: Aid, sn: int) -> int:
        """Return how many receipts of an event it has, its own not counted."""
        accepted = self.node.store.event(aid, sn)
        return 0 if accepted is None else len(accepted.proofs.witness_signatures)

    def receipt(self, event: KeyEvent, *, by: KeyPair | None = None) -> bytes:
        """Return a receipt of an event."""
        body = build.receipt(Receipt(event.aid, event.sn, event.said))
        couple = (by or self.pair).couple(event.raw)
        return body + write_groups([Group(GroupKind.RECEIPT_COUPLES, (couple,))])

    async def answer(self, request: Request) -> Response:
        """Answer as keri's witness does."""
        self.asked.append(f"{request.method} {request.path}")
        other = self.instead(request)
        if other is not None:
            return other
        match request.method, request.path:
            case "GET", "/oobi":
                headers = {"KERI-AID": self.aid}
                return Response(body=self.location(), content_type=CESR, headers=headers)
            case "POST", "/receipts":
                return self._receipt(request)
            case "GET", "/receipts":
                return self._known(request)
            case "GET", "/query":
                aid = Aid(parse_qs(request.query)["pre"][0])
                return Response(body=b"".join(replay(self.node.store, aid)), content_type=CESR)
            case _:
                self._feed(request)
                return Response(204)

    def _feed(self, request: Request) -> list[Result]:
        attached = request.headers.get("cesr-attachment", "").encode()
        return self.node.results(request.body + attached, source=Source.LOCAL)

    def _receipt(self, request: Request) -> Response:
        first = self._feed(request)[0]
        event = first.message
        assert isinstance(event, KeyEvent)
        self.shown.append(event.sn)
        if isinstance(first.verdict, Duplicitous):
            return Response(409)
        if self.node.store.accepted(event.aid, event.said) is None:
            return Response(202)
        return Response(body=self.receipt(event), content_type=CESR)

    def _known(self, request: Request) -> Response:
        asked = parse_qs(request.query)
        accepted = self.node.store.event(Aid(asked["pre"][0]), int(asked["sn"][0]))
        if accepted is None:
            return Response(404)
        return Response(body=self.receipt(accepted.event), content_type=CESR)


@contextmanager
def stub_witnesses(count: int) -> Iterator[list[StubWitness]]:
    """Run witnesses.

    Each has a thread. What earlier tests left must not be collected there: a wallet can be closed
    only by the thread that opened it.
    """
    gc.collect()
    with ExitStack() as stack:
        gc.disable()
        stack.callback(gc.enable)
        found = []
        for number in range(count):
            pair = witness(f"stub {number}")
            one = StubWitness(pair, Node(own=(pair.aid,)))
            served = stack.enter_context(serving(one.answer))
            one.url = f"http://127.0.0.1:{served.port}"
            found.append(one)
        yield found


def local_transport() -> HttpTransport:
    """Return a real transport that may reach this machine."""
    return HttpTransport(FetchPolicy.local())


def failing(request: Request) -> Response | None:
    """Answer as a witness that is out of order, but for who it is."""
    return None if request.path == "/oobi" else Response(503)
