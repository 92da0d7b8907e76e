"""A witness that is sent junk, or asked for what is long: others must not notice."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from keystead.cesr.keys import Aid
from keystead.cesr.writing import write_groups
from keystead.node.replay import replay
from keystead.node.witness import CLOSED, Admission, Submission, Submitted, Witness
from keystead.ports.witness import Admitted, Origin
from keystead.services.charging import Rates
from keystead.services.committing import Committer
from keystead.services.http import Request, Response
from keystead.services.rates import Rate
from keystead.services.reading import PAGE, Reader
from keystead.services.witness import WitnessService
from keystead.services.witness_requests import PART_MESSAGES
from keystead.services.witness_running import tell_location
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, Signed
from support.logs import attached, controlled
from support.witnessing import ME, author, bare, new_home, opened, seal

TYPE = {"content-type": "application/cesr+json"}
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
FREE = Rate(10_000, 10_000)


class Counting(Committer):
    """Counts the messages that come to the thread that writes, for each submission."""

    parts: list[int]

    async def submit(self, submission: Submission) -> Submitted:
        """Hand it on."""
        self.parts.append(len(submission.messages))
        return await super().submit(submission)


@contextmanager
def _serving(
    folder: Path, rates: Rates, admission: Admission = CLOSED
) -> Iterator[tuple[WitnessService, Counting]]:
    home = new_home(folder)
    committer = Counting(lambda: opened(home, admission), lambda: datetime.now(UTC))
    committer.parts = []
    reader = Reader(lambda: closing(DatabaseWitness.open(home.folder)))
    committer.start()
    reader.start()
    try:
        yield WitnessService(committer, reader, ME.aid, rates, lambda _: None), committer
    finally:
        reader.stop()
        committer.stop()


Scene = Callable[[WitnessService, Counting], Awaitable[None]]


def _run(folder: Path, scene: Scene, rates: Rates, admission: Admission = CLOSED) -> None:
    async def running() -> None:
        with _serving(folder, rates, admission) as (service, committer):
            await scene(service, committer)

    asyncio.run(running())


async def _put(service: WitnessService, stream: bytes, client: str = HERE) -> Response:
    return await service(Request("PUT", "/", "", TYPE, stream, client))


async def _post(service: WitnessService, signed: Signed, client: str = HERE) -> Response:
    groups = Signed(signed.event, signed.signatures).groups
    headers = {**TYPE, "cesr-attachment": write_groups(groups).decode()}
    return await service(Request("POST", "/receipts", "", headers, signed.event.raw, client))


async def _get(service: WitnessService, path: str, query: str = "") -> Response:
    return await service(Request("GET", path, query, {}, b"", HERE))


async def _content(response: Response) -> bytes:
    assert response.status == 200, response
    if response.stream is None:
        return response.body
    return b"".join([piece async for piece in response.stream])


async def _let_in(committer: Committer, aid: Aid) -> None:
    one = Admitted(aid, allowed=True, origin=Origin.OPERATOR, since="")
    await committer.run(lambda witness: witness.store.admit(one))


def _log(owner: Author, count: int) -> list[bytes]:
    return [bare(owner.incept()), *(bare(owner.interact(seal(str(n)))) for n in range(count - 1))]


def _strangers(count: int) -> bytes:
    """Return events of as many identifiers that nobody has let in."""
    return b"".join(bare(Author(f"stranger {number}").incept()) for number in range(count))


def test_junk_is_not_read_to_its_end(tmp_path: Path) -> None:
    """At a closed witness: one part of a stream, then none; who was let in comes through."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        owner = author("let in")
        log = _log(owner, 300)
        await _let_in(committer, owner.aid)
        junk = _strangers(4 * PART_MESSAGES)
        assert (await _put(service, junk)).status == 403
        assert committer.parts == [PART_MESSAGES]
        assert (await _put(service, junk)).status == 429
        assert sum(committer.parts) <= 2 * PART_MESSAGES
        committer.parts.clear()
        assert (await _put(service, b"".join(log))).status == 204
        assert max(committer.parts) <= PART_MESSAGES
        assert sum(committer.parts) == len(log)
        receipt = await _post(service, owner.interact())
        assert receipt.status == 200

    _run(tmp_path, scene, Rates())


def test_false_signatures_cost_the_network_that_sends_them(tmp_path: Path) -> None:
    """Message by message; the owner is elsewhere, and does not notice."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        owner = author("imitated")
        (first,) = _log(owner, 1)
        await _let_in(committer, owner.aid)
        assert (await _put(service, first, ELSEWHERE)).status == 204
        committer.parts.clear()
        forged = []
        for number in range(4 * PART_MESSAGES):
            event = owner.fork().interact(seal(f"forged {number}")).event
            forged.append(attached(event.raw, controlled(*owner.signatures(b"something else"))))
        assert (await _put(service, b"".join(forged))).status in (422, 429)
        assert committer.parts == [PART_MESSAGES]
        hidden = _strangers(1) + b"".join(forged[:8])  # behind another name
        assert (await _put(service, hidden)).status == 429
        assert committer.parts == [PART_MESSAGES]
        assert (await _post(service, owner.interact(), ELSEWHERE)).status == 200

    _run(tmp_path, scene, Rates())


def test_what_is_sent_is_paid_for_first(tmp_path: Path) -> None:
    """By its size, whatever names are in it."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        junk = b"x" * 3000
        rates = [(await _put(service, junk)).status for _ in range(4)]
        assert rates == [400, 400, 429, 429]
        assert (await _put(service, junk, ELSEWHERE)).status == 400
        assert committer.parts == []

    _run(tmp_path, scene, Rates(volume=Rate(0.001, 7)))


def test_what_was_good_is_told_in_spite_of_what_was_not(tmp_path: Path) -> None:
    """An event behind which junk comes is kept, and so is the one before a fault."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        owner = author("kept")
        log = _log(owner, 3)
        await _let_in(committer, owner.aid)
        assert (await _put(service, log[0] + log[1] + b"{garbage")).status == 400
        assert (await _put(service, log[2] + _strangers(PART_MESSAGES * 2))).status == 403
        found = await _get(service, "/receipts", f"pre={owner.aid}&sn=2")
        assert found.status == 200

    _run(tmp_path, scene, Rates())


def test_an_open_witness_lets_nobody_in_from_where_junk_comes(tmp_path: Path) -> None:
    """To verify what strangers sign costs as well; others are let in meanwhile."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        del committer
        forged = [
            attached(signed.event.raw, controlled(*Author("other").incept().signatures))
            for signed in (Author(f"forged {number}").incept() for number in range(64))
        ]
        await _put(service, b"".join(forged))
        assert (await _post(service, author("neighbour").incept())).status == 429
        assert (await _post(service, author("far away").incept(), ELSEWHERE)).status == 200

    _run(tmp_path, scene, Rates(), Admission(10))


def test_questions_are_answered_beside_the_thread_that_writes(tmp_path: Path) -> None:
    """It may be at work for long; a long log comes in pages, and is the same."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        owner = author("long")
        log = _log(owner, 400)
        await _let_in(committer, owner.aid)
        assert (await _put(service, b"".join(log))).status == 204
        whole = await committer.run(lambda one: b"".join(replay(one.store.events, owner.aid)))
        assert len(whole) > 2 * PAGE
        busy, done = threading.Event(), threading.Event()

        def occupy(_: Witness) -> None:
            busy.set()
            done.wait(60)

        occupied = asyncio.ensure_future(committer.run(occupy))
        await asyncio.to_thread(busy.wait, 20)
        try:
            asked = f"typ=kel&pre={owner.aid}"
            found = await asyncio.wait_for(_get(service, "/query", asked), 20)
            assert found.stream is not None
            assert await asyncio.wait_for(_content(found), 20) == whole
            shown = await asyncio.wait_for(_get(service, f"/oobi/{owner.aid}"), 20)
            assert (await _content(shown)).startswith(whole)
            asked = f"pre={owner.aid}&sn=399"
            assert (await asyncio.wait_for(_get(service, "/receipts", asked), 20)).status == 200
            part = await _get(service, "/query", f"typ=kel&pre={owner.aid}&sn=399")
            assert owner.state.said.encode() in await _content(part)
        finally:
            done.set()
            await occupied

    _run(tmp_path, scene, Rates(FREE, FREE, FREE, FREE))


def test_fresh_receipts_are_in_every_answer(tmp_path: Path) -> None:
    """Though they are kept with their events a moment later."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        del committer
        for number in range(8):
            owner = author(f"fresh {number}")
            first = owner.incept()
            assert (await _post(service, first)).status == 200
            signature = ME.indexed(first.event.raw, 0, 0).text.encode()
            for path, query in (
                (f"/oobi/{owner.aid}", ""),
                ("/query", f"typ=kel&pre={owner.aid}"),
                ("/receipts", f"pre={owner.aid}&sn=0"),
            )[number % 3 :]:
                assert signature in await _content(await _get(service, path, query))
            assert (await _get(service, "/ksn", f"pre={owner.aid}")).status == 200

    _run(tmp_path, scene, Rates(FREE, FREE, FREE, FREE), Admission(10))


def test_long_logs_cost_more(tmp_path: Path) -> None:
    """As much as that many questions, but for the first one of a quiet network."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        owner = author("costs")
        log = _log(owner, 600)
        await _let_in(committer, owner.aid)
        assert (await _put(service, b"".join(log))).status == 204
        asked = f"typ=kel&pre={owner.aid}"
        assert len(await _content(await _get(service, "/query", asked))) > PAGE
        assert (await _get(service, "/query", asked)).status == 429

    _run(tmp_path, scene, Rates(stranger=Rate(0.001, 2)))


def test_who_asks_for_what_is_not_here_is_told_where_to_ask(tmp_path: Path) -> None:
    """The path is right, so there is nothing to be said about routes."""

    async def scene(service: WitnessService, committer: Counting) -> None:
        del committer
        aid = Author("nobody").incept().event.aid
        for path, query in (
            (f"/oobi/{aid}", ""),
            ("/query", f"typ=kel&pre={aid}"),
            ("/ksn", f"pre={aid}"),
            ("/receipts", f"pre={aid}&sn=0"),
        ):
            found = await _get(service, path, query)
            assert found.status == 404
            assert "ask another witness" in msgspec.json.decode(found.body)["hint"]
        found = await _get(service, "/nothing")
        assert "routes" in msgspec.json.decode(found.body)["hint"]

    _run(tmp_path, scene, Rates())


def test_a_clock_that_was_wrong_does_not_pin_a_witness(tmp_path: Path) -> None:
    """What is told later replaces what was told before, whatever the clocks said."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    with opened(new_home(tmp_path)) as one:
        for place, when in enumerate((now + timedelta(days=25_000), now, now)):
            url = f"http://127.0.0.1:{place + 1}/"
            assert tell_location(one, url, when) == []
            record = one.store.events.record(("loc", ME.aid, "http"))
            assert record is not None
            assert record.reply.attributes["url"] == url
