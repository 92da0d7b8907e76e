"""A thread that reads the store of a witness, beside the one that writes.

It has a connection of its own. What is long is read page by page, so that others get their turn,
and whoever takes an answer slowly has no more than a page of it in memory here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Final, TypeVar

from keystead.cesr.keys import Aid
from keystead.keri.keystate import AcceptedEvent
from keystead.ports.witness import Promise, WitnessStore

T = TypeVar("T")

PAGE: Final = 64 * 1024  # bytes of an answer that are read in one go: 150 events, 10 ms


class Reader:
    """Reads what is committed; nothing else."""

    def __init__(self, opened: Callable[[], AbstractContextManager[WitnessStore]]) -> None:
        """Get ready; `start` opens the store in the thread.

        Args:
            opened: opens the store, and closes it at the end.
        """
        self._opened = opened
        self._stack = ExitStack()
        self._store: WitnessStore
        # One thread: pages of several answers take turns.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader")

    def start(self) -> None:
        """Open the store; errors are those of opening it."""
        self._thread.submit(self._open).result()

    def stop(self) -> None:
        """Finish what was asked for, and close the store."""
        self._thread.submit(self._stack.close).result()
        self._thread.shutdown()

    async def run(self, work: Callable[[WitnessStore], T]) -> T:
        """Return what `work` returns; all that it reads is of one moment.

        Raises:
            StoreError: it cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, work)

    async def pages(self, pieces: Iterator[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
        """Return the first page of an answer, and the others as they are read.

        Args:
            pieces: reads the store, so nobody else may ask it for more.

        Returns:
            What there is, and None if that is all.

        Raises:
            StoreError: it cannot be read.
        """
        first = await self._page(pieces)
        if len(first) < PAGE:
            return first, None
        return b"", self._others(first, pieces)

    async def _others(self, page: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        while page:
            yield page
            page = await self._page(pieces)

    async def _page(self, pieces: Iterator[bytes]) -> bytes:
        def read(_: WitnessStore) -> bytes:
            page = bytearray()
            for piece in pieces:
                page += piece
                if len(page) >= PAGE:
                    break
            return bytes(page)

        return await self.run(read)

    def _open(self) -> None:
        self._store = self._stack.enter_context(self._opened())

    def _read(self, work: Callable[[WitnessStore], T]) -> T:
        with self._store.snapshot():
            return work(self._store)


def lacks_receipt(store: WitnessStore, accepted: AcceptedEvent | None, own: Aid) -> bool:
    """Tell whether the receipt of a witness is due for an event, and not kept with it yet."""
    if accepted is None:
        return False
    event, witnesses = accepted.event, accepted.state.establishment.witnesses
    receipts = {one.index for one in accepted.proofs.witness_signatures}
    if own not in witnesses or witnesses.index(own) in receipts:
        return False
    return store.witnessed(event.aid, event.said) is not Promise.NONE
