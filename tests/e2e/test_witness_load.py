"""Load on a witness: what it bears, and that nobody's bad request is another's trouble.

KEYSTEAD_TEST_ALL=1 runs the counts that the promises name; `keystead bench witness` measures.
"""

import asyncio
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from keystead.services import load_noise
from keystead.services.http import Request, Response
from keystead.services.load import Tally, call, usage
from keystead.services.load_events import Prepared, honest
from keystead.services.load_witness import Target
from keystead.testing.authoring import witness
from support.commands import keystead
from support.loaded_witness import Loaded, make, running
from support.serving import Answered, read_answer, serving

ALL = bool(os.environ.get("KEYSTEAD_TEST_ALL"))
MEBIBYTE = 1024 * 1024
HOST = b"Host: x\r\n"


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    """A witness that lets strangers in."""
    make(tmp_path)
    with running(tmp_path) as one:
        yield one


def _ask(target: Target, count: int, *, callers: int = 8) -> Tally:
    """Ask for receipts, and check that all of them came."""
    host = f"127.0.0.1:{target.address[1]}"
    work = [honest(host, target.aid, count // callers) for _ in range(callers)]
    tally = asyncio.run(call(target.address, target.aid, work, 120))
    assert not tally.wrong
    assert len(tally.seconds) == count // callers * callers
    return tally


@contextmanager
def _meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread meanwhile, and wait until it is done."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test gets it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(240)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


# What the command measures


def test_every_receipt_is_checked_and_counted() -> None:
    """The command starts a witness, checks its receipts, and tells what they cost."""
    done = keystead("bench", "witness", "--receipts", "160", "--callers", "8", "--json")
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    (phase,) = report["phases"]
    assert (phase["receipts"], phase["wrong"], report["missed"]) == (160, {}, [])
    assert 0 < phase["p50_ms"] <= phase["p99_ms"] <= phase["max_ms"]
    assert min(phase["witness_microseconds"], phase["signer_microseconds"]) > 0
    assert min(phase["memory"], phase["database"]) > 0


def test_a_goal_that_is_missed_is_a_failure(loaded: Loaded) -> None:
    """No witness gives that many receipts, nor that fast, and the command says so."""
    url = f"http://127.0.0.1:{loaded.target.address[1]}"
    goals = ("--require", "1e9", "--require-p99", "0.001")
    done = keystead("bench", "witness", "--url", url, "--receipts", "8", "--callers", "2", *goals)
    assert done.returncode == 1
    assert b"/s < 1e+09/s" in done.stderr
    assert b"quiet: p99" in done.stderr


@pytest.mark.parametrize("lie", ["signature", "short", "status"])
def test_what_is_no_receipt_is_found(lie: str) -> None:
    """A witness that answers with anything else than its signature is not counted."""
    liar = witness("liar")

    async def answer(request: Request) -> Response:
        headers = {"KERI-AID": liar.aid}
        if request.method == "GET":
            return Response(200, b"", headers=headers)
        other = liar.couple(request.body + b" ")
        content = {
            "signature": b"0B" + urlsafe_b64encode(bytes(2) + other.signature.raw)[2:],
            "short": b"{}",
            "status": b"no",
        }[lie]
        return Response(202 if lie == "status" else 200, content, "application/json")

    with serving(answer) as served:
        url = f"http://127.0.0.1:{served.port}"
        done = keystead("bench", "witness", "--url", url, "--receipts", "4", "--callers", "2")
    assert done.returncode == 1
    assert b"2 x " in done.stderr


def test_what_is_no_witness_is_told() -> None:
    """A server that is no witness, or none at all, ends as unreachable."""

    async def answer(_: Request) -> Response:
        return Response(200, b"hello", "text/plain")

    with serving(answer) as served:
        url = f"http://127.0.0.1:{served.port}"
        assert keystead("bench", "witness", "--url", url).returncode == 5
    assert keystead("bench", "witness", "--url", url).returncode == 5
    assert keystead("bench", "witness", "--url", "ftp://x").returncode == 2


# Bad requests


def _bad_requests(request: bytes) -> Iterator[bytes]:
    """Give requests that are malformed, too large, or without end."""
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 100_000
    yield b"POST /receipts HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000\r\n\r\n"
    yield (
        b"POST /receipts HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 200
    )
    yield b"POST /receipts HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n{{{{{"
    yield (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + (b"Content-Type: application/cesr\r\nContent-Length: 1000000\r\n\r\n")
        + b"-VAA" * 250_000
    )
    yield request.replace(b"-AAB", b"-AAC")  # more signatures than there are
    yield request.replace(b"KERI10JSON", b"KERI10CBOR")
    yield request.replace(b'"t":"', b'"t":["')
    yield request.replace(b"POST", b"BREW", 1)
    yield request + b"\x00" * 1000


def _send(address: tuple[str, int], raw: bytes) -> None:
    """Send bytes, read what is answered, and go."""
    with socket.create_connection(address, 30) as connection, suppress(OSError, EOFError):
        connection.sendall(raw)
        connection.settimeout(5)
        read_answer(connection)


def test_bad_requests_disturb_nobody(loaded: Loaded) -> None:
    """While others send what is malformed, too large or without end, all receipts come."""
    target = loaded.target
    good = honest("x", target.aid, 1)[0].request

    def attack() -> None:
        for _ in range(5 if ALL else 1):
            for bad in _bad_requests(good):
                _send(target.address, bad)

    with _meanwhile(attack):
        _ask(target, 400)
    _ask(target, 40)


def test_truncated_requests_disturb_nobody(loaded: Loaded) -> None:
    """A request that ends early, after each of its bytes, leaves nothing behind for others."""
    target = loaded.target
    one = honest("x", target.aid, 1)[0]

    def attack() -> None:
        for end in range(0, len(one.request), 1 if ALL else 5):
            with socket.create_connection(target.address, 30) as connection:
                connection.sendall(one.request[:end])

    with _meanwhile(attack):
        _ask(target, 400)
    # Not a byte of them was taken for part of another.
    whole = asyncio.run(call(target.address, target.aid, [[one]], 30))
    assert (len(whole.seconds), dict(whole.wrong)) == (1, {})


def test_a_bad_event_does_not_spoil_the_batch(loaded: Loaded) -> None:
    """What comes at the same moment as false events is taken, and they are refused."""
    target = loaded.target
    host = f"127.0.0.1:{target.address[1]}"
    events = [honest(host, target.aid, 20) for _ in range(8)]
    false = [_forged(honest(host, target.aid, 1)[0]) for _ in range(8)]

    async def both() -> tuple[Tally, Tally]:
        return await asyncio.gather(
            call(target.address, target.aid, events, 60),
            call(target.address, target.aid, [[one] for one in false], 60),
        )

    good, bad = asyncio.run(both())
    assert (len(good.seconds), dict(good.wrong)) == (160, {})
    assert (len(bad.seconds), sum(bad.wrong.values())) == (0, 8)


def _forged(one: Prepared) -> Prepared:
    """Return an event with a signature that is not that of its controller."""
    other = honest("x", Aid("B" + "A" * 43), 1)[0].request
    signature = other.partition(b"ATTACHMENT: ")[2].partition(b"\r\n")[0]
    start, _, rest = one.request.partition(b"ATTACHMENT: ")
    return Prepared(one.raw, start + b"ATTACHMENT: " + signature + rest[len(signature) :])


# Many of them


def test_slow_connections_leave_room_for_others(loaded: Loaded) -> None:
    """Beside connections on which a byte a second arrives, receipts come in time."""
    count = 2000 if ALL else 300
    slow = load_noise.start("slow", loaded.target.address, count)
    try:
        time.sleep(2)
        tally = _ask(loaded.target, 4000 if ALL else 400)
    finally:
        slow.kill()
        slow.communicate()
    assert tally.milliseconds(0.99) <= (250 if ALL else 2000)
    assert usage(loaded.target.pid or 0).memory <= 256 * MEBIBYTE


@pytest.mark.parametrize("room", [0, 100_000])
def test_a_flood_of_strangers_is_bounded(tmp_path: Path, room: int) -> None:
    """Events of strangers in the wrong order are not kept, whether or not strangers may come."""
    make(tmp_path)
    count = 100_000 if ALL else 2000
    with running(tmp_path, room=room) as loaded:
        target = loaded.target
        quiet = _ask(target, 800, callers=16) if room else None
        memory, size = usage(target.pid or 0).memory, target.size
        with _flood(target, count) as answers:
            loud = _ask(target, 800, callers=16) if room else None
        assert sum(answers.values()) == count
        assert set(answers) <= {"403", "422"}
        assert target.size - size <= 32 * MEBIBYTE
        assert usage(target.pid or 0).memory - memory <= 64 * MEBIBYTE
    if ALL and quiet is not None and loud is not None:
        assert loud.milliseconds(0.99) <= 2 * quiet.milliseconds(0.99)


@contextmanager
def _flood(target: Target, count: int) -> Iterator[dict[str, int]]:
    """Have strangers send events meanwhile; afterwards what they were answered is there."""
    answers: dict[str, int] = {}
    noise = load_noise.start("flood", target.address, count)
    try:
        yield answers
        answers.update(json.loads(noise.communicate(timeout=280)[0]))
    finally:
        noise.kill()
        noise.communicate()


def test_room_of_what_waited_is_given_back(tmp_path: Path) -> None:
    """What waited too long goes, and with it the room that it took on the disk."""
    make(tmp_path)
    with running(tmp_path, held_for=4) as loaded:
        target = loaded.target
        host = f"127.0.0.1:{target.address[1]}"
        base = target.size
        for _ in range(64 if ALL else 24):
            log = honest(host, target.aid, 40)
            with socket.create_connection(target.address, 30) as connection:
                for one in [log[0], *log[2:]]:  # the second is missing
                    connection.sendall(one.request)
                    assert read_answer(connection).status == (200 if one is log[0] else 202)
        grown = target.size
        assert grown > 1.5 * base
        ends = time.monotonic() + 60
        while target.size > 1.2 * base + 2 * MEBIBYTE and time.monotonic() < ends:
            time.sleep(0.5)
        assert target.size <= 1.2 * base + 2 * MEBIBYTE
        _ask(target, 40)


# The disk


def _mount(folder: Path, size: int) -> None:
    mount = shutil.which("mount")
    if os.geteuid() or mount is None:
        pytest.skip("only root can make a small disk")
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")


def test_a_full_disk_is_told_and_recovered_from(tmp_path: Path) -> None:
    """No receipt without room, but 503 and when to come back; once there is room all goes on."""
    disk = tmp_path / "disk"
    _mount(disk, 8 * MEBIBYTE)
    try:
        make(disk)
        with running(disk) as loaded:
            target = loaded.target
            _ask(target, 40)
            ballast = disk / "ballast"
            _fill(ballast)
            host = f"127.0.0.1:{target.address[1]}"
            work = [honest(host, target.aid, 40) for _ in range(4)]
            status = _until(target, [one for log in work for one in log], 503)
            assert status.headers["retry-after"]
            assert json.loads(status.body)["error"] == "store.full"
            assert _ready(target) == 503
            assert loaded.process.poll() is None
            ballast.unlink()
            ends = time.monotonic() + 20
            while _ready(target) != 200 and time.monotonic() < ends:
                time.sleep(0.2)
            assert _ready(target) == 200
            _ask(target, 40)
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", str(disk)], check=False)


def _fill(path: Path) -> None:
    """Write a file until the disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while True:
                os.write(descriptor, b"x" * 4096)
    finally:
        os.close(descriptor)


def _until(target: Target, events: list[Prepared], status: int) -> Answered:
    """Send events until a status is answered; what gets none before gets a receipt."""
    with socket.create_connection(target.address, 30) as connection:
        for one in events:
            connection.sendall(one.request)
            answer = read_answer(connection)
            if answer.status == status:
                return answer
            assert answer.status == 200
    raise AssertionError("the disk has not run full")


def _ready(target: Target) -> int:
    connection = http.client.HTTPConnection(*target.address, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_failed_sync_ends_the_process(tmp_path: Path) -> None:
    """After a failed sync nobody knows what is on the disk: the witness ends, without a receipt.

    What it has receipted before is there when it starts again.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    make(tmp_path)
    inject = "inject=fdatasync,fsync:error=EIO:when=40+"
    below = [strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject]
    with running(tmp_path, below=below) as loaded:
        target = loaded.target
        log = honest(f"127.0.0.1:{target.address[1]}", target.aid, 60)
        tally = asyncio.run(call(target.address, target.aid, [log], 60))
        assert tally.seconds
        assert sum(tally.wrong.values()) == 1
        assert loaded.process.wait(20) != 0
    with running(tmp_path) as again:
        whole = asyncio.run(call(again.target.address, target.aid, [log], 60))
        assert (len(whole.seconds), dict(whole.wrong)) == (60, {})
