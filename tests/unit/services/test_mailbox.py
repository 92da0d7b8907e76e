"""What a witness keeps for those who ask: receipts of their events, and answers to questions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, LastSignatureGroup
from keystead.cesr.writing import write_groups
from keystead.services import mailbox
from keystead.services.charging import Rates
from keystead.services.committing import Committer
from keystead.services.http import Request, Response
from keystead.services.rates import Rate
from keystead.services.reading import Reader
from keystead.services.witness import WitnessService
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, witness
from support.logs import routed, signed_by_last
from support.witnessing import ME, author, bare, new_home, opened

FREE = Rate(1000, 1000)


@contextmanager
def _service(folder: Path) -> Iterator[WitnessService]:
    home = new_home(folder)
    committer = Committer(lambda: opened(home), lambda: datetime.now(UTC))
    committer.start()
    reader = Reader(lambda: closing(DatabaseWitness.open(home.folder)))
    reader.start()
    try:
        rates = Rates(FREE, FREE, FREE, FREE)
        yield WitnessService(committer, reader, ME.aid, rates, lambda _: None)
    finally:
        reader.stop()
        committer.stop()


def _request(stream: bytes, path: str = "/", client: str = "127.0.0.1") -> Request:
    size = int(stream[16:22], 16)
    headers = {
        "content-type": "application/cesr+json",
        "cesr-attachment": stream[size:].decode(),
        "cesr-destination": ME.aid,
    }
    return Request("POST", path, "", headers, stream[:size], client)


def _asking(who: Author, route: str, **parameters: object) -> bytes:
    raw = routed("qry", r=route, q={"src": ME.aid, **parameters})
    return raw + write_groups([signed_by_last(who, raw)])


def _mail_of(who: Author, **topics: int) -> bytes:
    named = {f"/{topic}": first for topic, first in topics.items()}
    return _asking(who, "mbx", i=who.aid, topics=named)


async def _read(response: Response, count: int) -> list[tuple[int, str, bytes]]:
    """Return the next messages of a stream: place, topic, message."""
    assert (response.status, response.content_type) == (200, "text/event-stream")
    assert response.stream is not None
    stream: AsyncIterator[bytes] = response.stream
    found: list[tuple[int, str, bytes]] = []
    while len(found) < count:
        record = await asyncio.wait_for(anext(stream), 20)
        lines = dict(line.split(b": ", 1) for line in record.splitlines() if line)
        if b"data" in lines:
            found.append((int(lines[b"id"]), lines[b"event"].decode(), lines[b"data"]))
    return found


def _run(folder: Path, scene: Callable[[WitnessService], Awaitable[None]]) -> None:
    async def running() -> None:
        with _service(folder) as service:
            await scene(service)

    asyncio.run(running())


def test_receipts_come_to_those_who_asked_before(tmp_path: Path) -> None:
    """Before the witness knew the identifier, and with keys that it did not know yet."""
    who = author("early")

    async def scene(service: WitnessService) -> None:
        for place in range(2):
            event = who.rotate() if place else who.incept()
            waiting = asyncio.create_task(service(_request(_mail_of(who, receipt=place))))
            await asyncio.sleep(0)
            assert not waiting.done()
            sent = await service(_request(bare(event)))
            assert sent.status == 204
            ((number, topic, message),) = await _read(await waiting, 1)
            assert (number, topic) == (place, "/receipt")
            assert event.event.said.encode() in message
            assert b"-BAB" in message

    _run(tmp_path, scene)


def test_receipts_can_be_asked_for_again(tmp_path: Path) -> None:
    """From any place on, the same bytes each time; those of events to come follow."""
    who = author("again")

    async def scene(service: WitnessService) -> None:
        for event in (who.incept(), who.interact(), who.rotate()):
            assert (await service(_request(bare(event), "/receipts"))).status == 200
        first = await _read(await service(_request(_mail_of(who, receipt=0))), 3)
        assert [number for number, _, _ in first] == [0, 1, 2]
        response = await service(_request(_mail_of(who, receipt=1)))
        assert await _read(response, 2) == first[1:]
        following = asyncio.create_task(_read(response, 1))
        await service(_request(bare(who.interact())))
        assert [number for number, _, _ in await following] == [3]

    _run(tmp_path, scene)


def test_a_seal_is_told_of_with_its_receipts(tmp_path: Path) -> None:
    """Who asks for it once learns of it, but not before the event has enough of them."""
    other = witness("other")
    delegate, root = author("delegate"), author("root", "other")

    async def scene(service: WitnessService) -> None:
        approved = delegate.incept()
        first = root.incept()
        for stream in (bare(approved), first.raw):
            assert (await service(_request(stream))).status == 204
        seal = approved.seal
        anchor = {"i": seal.aid, "s": f"{seal.sn:x}", "d": seal.said}
        question = _asking(delegate, "logs", i=root.aid, s="0", fn="0", a=anchor)
        assert (await service(_request(question))).status < 300
        box = await service(_request(_mail_of(delegate, replay=0)))
        reading = asyncio.create_task(_read(box, 2))
        approval = root.interact(seal)
        assert (await service(_request(bare(approval), "/receipts"))).status == 200
        done, _ = await asyncio.wait([reading], timeout=0.3)
        assert not done
        assert (await service(_request(approval.receipted(other)))).status == 204
        messages = [message for _, _, message in await reading]
        assert approval.event.raw in messages[1]
        assert b"-BAC" in messages[1]

    _run(tmp_path, scene)


def test_only_a_few_of_one_network_may_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is refused at once; those who wait are refused in time, and others may."""
    monkeypatch.setattr(mailbox, "_SECONDS", 1.0)
    who = author("stranger")
    who.incept()
    question = _mail_of(who, receipt=0)

    async def scene(service: WitnessService) -> None:
        async def ask(client: str) -> tuple[int, bool]:
            begun = asyncio.get_running_loop().time()
            response = await service(_request(question, client=client))
            return response.status, asyncio.get_running_loop().time() - begun > 0.9

        near = [ask("192.0.2.1") for _ in range(9)]
        found = await asyncio.gather(*near, ask("198.51.100.1"))
        assert sorted(found[:9]) == [(403, False), *[(403, True)] * 8]
        assert found[9] == (403, True)

    _run(tmp_path, scene)


def test_mail_is_for_its_owner(tmp_path: Path) -> None:
    """Nobody gets messages by a signature with keys that are not those of the log."""
    who, thief = author("owner"), author("thief")

    async def scene(service: WitnessService) -> None:
        for event in (who.incept(), thief.incept()):
            await service(_request(bare(event)))
        raw = routed("qry", r="mbx", q={"src": ME.aid, "i": who.aid, "topics": {"/receipt": 0}})
        stolen = LastSignatureGroup(who.aid, thief.signatures(raw))
        stream = raw + write_groups([Group(GroupKind.LAST_SIGNATURE_GROUPS, (stolen,))])
        response = asyncio.create_task(service(_request(stream)))
        done, _ = await asyncio.wait([response], timeout=0.3)
        assert not done
        response.cancel()

    _run(tmp_path, scene)


def test_answers_are_for_who_asked(tmp_path: Path) -> None:
    """Somebody else who asks for them gets receipts, which are public, and nothing else."""
    who, other = author("asking"), author("curious")

    async def scene(service: WitnessService) -> None:
        for event in (who.incept(), other.incept()):
            await service(_request(bare(event)))
        assert (await service(_request(_asking(who, "ksn", i=other.aid)))).status == 204
        mine = await _read(await service(_request(_mail_of(who, reply=0, receipt=0))), 2)
        assert [topic for _, topic, _ in mine] == ["/reply", "/receipt"]
        topics = {"/reply": 0, "/receipt": 0}
        seen = await service(_request(_asking(other, "mbx", i=who.aid, topics=topics)))
        ((_, topic, _),) = await _read(seen, 1)
        assert topic == "/receipt"

    _run(tmp_path, scene)
