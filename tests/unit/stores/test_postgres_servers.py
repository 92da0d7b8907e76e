"""Servers that stop, crash, fill their disk or fail with their machine, while events are written."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from keystead.errors import ErrorCode, StoreError
from keystead.keri.verdicts import Accepted, Duplicate
from keystead.stores import fsck, postgres
from keystead.stores.postgres import PostgresDatabase, PostgresStore
from keystead.testing.authoring import Author
from support.histories import feed
from support.postgres import ROLE, Server, own_folders

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WAIT_SECONDS = 60


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    """Return a running server of this test alone, with tables."""
    with own_folders("primary") as (folder,):
        server = Server.make(folder)
        server.start()
        PostgresDatabase.create(server.url()).close()
        yield server


class Writer(threading.Thread):
    """Appends to one log for as long as it is told, and notes what was acknowledged.

    Attributes:
        author: whose log it is.
        acknowledged: digests of the events that the store said were kept.
        fault: what ended it.
    """

    def __init__(self, url: str, name: str, stop: threading.Event) -> None:
        """Get ready."""
        super().__init__(name=name)
        self.author = Author(name)
        self.acknowledged: list[str] = []
        self.fault: BaseException | None = None
        self._url = url
        self._stop_writing = stop

    def run(self) -> None:
        """Append one event after another."""
        try:
            with closing(PostgresDatabase.open(self._url)) as database:
                store = PostgresStore(database)
                signed = self.author.incept()
                while not self._stop_writing.is_set():
                    (result,) = feed(store, [signed.framed], now=NOW)
                    # The second, when it was kept and the answer lost.
                    assert isinstance(result.verdict, Accepted | Duplicate)
                    self.acknowledged.append(signed.event.said)
                    signed = self.author.interact()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.fault = error


@contextmanager
def writing(url: str, number: int) -> Iterator[list[Writer]]:
    """Let several writers append while something is done."""
    stop = threading.Event()
    writers = [Writer(url, f"writer {one}", stop) for one in range(number)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        stop.set()
        for writer in writers:
            writer.join(WAIT_SECONDS)


def advance(writers: list[Writer], number: int) -> None:
    """Wait until each has some more events acknowledged."""
    wanted = [len(writer.acknowledged) + number for writer in writers]
    for writer, least in zip(writers, wanted, strict=True):
        await_that(
            lambda writer=writer, least=least: len(writer.acknowledged) >= least or writer.fault  # type: ignore[misc] # bound here
        )
        assert writer.fault is None, writer.fault


def await_that(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


def assert_all_kept(url: str, writers: list[Writer]) -> None:
    """Check that nothing that was acknowledged is missing."""
    with closing(PostgresDatabase.open(url)) as database:
        store = PostgresStore(database)
        for writer in writers:
            assert writer.fault is None, writer.fault
            kept = [one.event.said for one in store.events(writer.author.aid)]
            # Of the last event it may be unknown whether it was kept.
            assert kept[: len(writer.acknowledged)] == writer.acknowledged
            assert len(kept) <= len(writer.acknowledged) + 1
        assert fsck.check(database) == []


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_starts_again_is_found(server: Server, how: str) -> None:
    """Writers wait for it and go on; nothing that was acknowledged is lost."""
    with writing(server.url(), 4) as writers:
        advance(writers, 10)
        if how == "killed":
            server.kill()
        else:
            server.stop()
        time.sleep(0.5)
        server.start()
        advance(writers, 10)
    assert_all_kept(server.url(), writers)


def test_readers_find_a_server_again(server: Server) -> None:
    """What is read outside of decisions is read from the new connection too."""
    with closing(PostgresDatabase.open(server.url())) as database:
        store = PostgresStore(database)
        signed = Author("read").incept()
        feed(store, [signed.framed], now=NOW)
        for read in (
            lambda: store.key_state(signed.event.aid),
            lambda: store.event(signed.event.aid, 0),
        ):
            server.stop()
            server.start()
            assert read() is not None


def test_a_server_that_stays_away_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the error comes; when the server is there again, all goes on."""
    monkeypatch.setattr(postgres, "RECONNECT_SECONDS", 0.5)
    with closing(PostgresDatabase.open(server.url())) as database:
        store = PostgresStore(database)
        signed = Author("away").incept()
        server.stop()
        with pytest.raises(StoreError) as caught:
            feed(store, [signed.framed], now=NOW)
        assert caught.value.code is ErrorCode.STORE_IO
        server.start()
        (result,) = feed(store, [signed.framed], now=NOW)
        assert isinstance(result.verdict, Accepted)


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_no_standby_has_is_not_acknowledged(server: Server, how: str) -> None:
    """Whoever ends the wait for the standby: the event is told as kept when the standby has it.

    The server shows it then already, to this connection and to new ones.
    """
    signed = Author("alone").incept()
    told: list[object] = []
    with closing(PostgresDatabase.open(server.url())) as database:
        server.configure("synchronous_standby_names = '*'")
        server.reload()
        store = PostgresStore(database)
        thread = threading.Thread(target=lambda: told.extend(feed(store, [signed.framed], now=NOW)))
        thread.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        await_that(lambda: server.ask(waiting))
        ((backend,),) = server.ask(waiting)
        server.ask(f"SELECT {how}({backend})")
        await_that(lambda: server.ask("SELECT 1 FROM event"))
        # It has come back, and waits before it believes what it sees.
        await_that(lambda: server.ask(f"{waiting} AND pid <> {backend}"))
        assert thread.is_alive()
        assert told == []
        server.configure("synchronous_standby_names = ''")
        server.reload()
        thread.join(WAIT_SECONDS)
        (result,) = told
        assert isinstance(result.verdict, Duplicate)  # type: ignore[attr-defined] # a result of `feed`
        assert len(list(store.events(signed.event.aid))) == 1


def test_the_loss_of_the_primary_loses_nothing_that_was_acknowledged() -> None:
    """With a synchronous standby: it is promoted, the writers find it, and all events are there."""
    with own_folders("one", "two") as (one, two):
        primary = Server.make(one)
        primary.start()
        PostgresDatabase.create(primary.url()).close()
        standby = primary.standby(two, "two")
        standby.start()
        primary.configure("synchronous_standby_names = 'two'")
        primary.reload()
        state = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        await_that(lambda: primary.ask(state))
        url = f"postgresql://{ROLE}@/postgres?host={one},{two}"
        with writing(url, 6) as writers:
            advance(writers, 20)
            # What is not acknowledged without the standby is not lost with the primary; anything
            # else would be, as the standby receives nothing more.
            ((receiver,),) = standby.ask("SELECT pid FROM pg_stat_wal_receiver")
            os.kill(receiver, signal.SIGSTOP)
            time.sleep(0.5)
            primary.kill()
            os.kill(receiver, signal.SIGTERM)
            os.kill(receiver, signal.SIGCONT)
            standby.promote()
            advance(writers, 10)
        assert_all_kept(standby.url(), writers)
        with pytest.raises(psycopg.OperationalError):
            primary.ask("SELECT 1")


def test_a_full_disk_keeps_nothing_of_a_decision() -> None:
    """The error says so, and the same decision succeeds when there is room again."""
    with own_folders("small") as (folder,):
        server = Server.make(folder)
        server.start()
        PostgresDatabase.create(server.url()).close()
        server.stop()
        # A page that fits into a file only in part is what the server knows as a full disk.
        server.start(under=("prlimit", "--fsize=1400000"))
        author = Author("large")
        seals = [Author(f"sealed {number}").incept().seal for number in range(100)]
        signed = [author.incept()]
        with closing(PostgresDatabase.open(server.url())) as database:
            store = PostgresStore(database)

            def fill() -> None:
                while len(signed) < 1000:
                    feed(store, [signed[-1].framed], now=NOW)
                    signed.append(author.interact(*seals))

            with pytest.raises(StoreError) as caught:
                fill()
            assert caught.value.code is ErrorCode.STORE_FULL
            assert len(list(store.events(author.aid))) == len(signed) - 1
            server.stop()
            server.start()
            (result,) = feed(store, [signed[-1].framed], now=NOW)
            assert isinstance(result.verdict, Accepted)
            assert fsck.check(database) == []
