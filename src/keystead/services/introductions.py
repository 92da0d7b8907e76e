"""The introductions of an owner: his own logs over HTTP, read only."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Final

from keystead.cesr.keys import Aid
from keystead.keri.oobi import parse_path
from keystead.owner.introductions import introduce
from keystead.ports.events import EventStore
from keystead.services.http import Request, Response
from keystead.services.observing import Observer
from keystead.services.running import OpenService, Service

CONTENT_TYPE: Final = "application/json+cesr"  # clients of keri 1.x take no other
_AID_HEADER: Final = "KERI-AID"
_ROUTE: Final = "/oobi/{aid}"
_NOTHING: Final = Response(404, route=_ROUTE)


def introductions(
    open_events: Callable[[], AbstractContextManager[EventStore]], aids: Sequence[Aid]
) -> OpenService:
    """Serve the logs of own identifiers, as they are at each request.

    Args:
        open_events: opens the store of the logs.
        aids: whose logs; a path that names nobody leads to the first.
    """

    def open_service(_observer: Observer) -> AbstractAsyncContextManager[Service]:
        return _opened(open_events, aids)

    return open_service


@asynccontextmanager
async def _opened(
    open_events: Callable[[], AbstractContextManager[EventStore]], aids: Sequence[Aid]
) -> AsyncIterator[Service]:
    with open_events() as store:

        async def answer(request: Request) -> Response:
            return _answer(store, aids, request)

        yield Service(answer)


def _answer(store: EventStore, aids: Sequence[Aid], request: Request) -> Response:
    path = parse_path(request.path)
    if path is None:
        return Response(404)
    if request.method not in ("GET", "HEAD"):
        return Response(405, headers={"Allow": "GET, HEAD"}, route=_ROUTE)
    found = introduce(store, aids, path)
    if found is None:
        return _NOTHING
    return Response(
        body=found.stream,
        content_type=CONTENT_TYPE,
        headers={_AID_HEADER: found.aid},
        route=_ROUTE,
        aid=found.aid,
    )
