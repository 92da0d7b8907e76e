"""One thread that writes: what callers hand in at the same time goes into one transaction.

A commit waits for the disk; while it does, the next batch gathers. So the disk is asked once for
many callers, and each is answered only after its own work is durable (group commit). While the
signer signs for one batch, the next one is decided on.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from keystead.errors import ErrorCode, KeysteadError
from keystead.node.witness import Decided, Submission, Submitted, Witness

T = TypeVar("T")

_BATCH: Final = 128  # submissions of one transaction: more of them wait no less than two batches
_LEAST: Final = 16  # what waits is not divided further, so that one part is signed beside the next
_IDLE_SECONDS: Final = 0.05  # without work; then what may be lost is saved
_TIDY_SECONDS: Final = 10.0
# After a failed sync nobody knows what is on the disk, and without its signer a witness is of no
# use. A new process reads everything again, and starts another signer.
_BEYOND_REPAIR: Final = frozenset(
    (ErrorCode.STORE_IO, ErrorCode.STORE_CORRUPT, ErrorCode.SIGNER_PROCESS)
)
_SOON_SECONDS: Final = 0.1  # when there is more to tidy up: others get most of the time


class _Waiting(msgspec.Struct, gc=False):
    """A submission and who waits for it."""

    submission: Submission
    ended: "asyncio.Future[Submitted]"


class _Unfinished(msgspec.Struct, gc=False):
    """A batch that is durable, and who waits for its receipts."""

    decided: Decided
    batch: Sequence[_Waiting]


class _Job(msgspec.Struct, gc=False):
    """Something else to do with the witness, between batches."""

    work: Callable[[Witness], Any]
    ended: "Future[Any]"


class Committer:
    """The thread that has a witness to itself.

    Attributes:
        fault: why the last commit failed; None while all is well.
        quarantined: the witness was restored, and has not caught up.
        broken: is called when the store must not be used any more.
    """

    def __init__(
        self, opened: Callable[[], AbstractContextManager[Witness]], now: Callable[[], datetime]
    ) -> None:
        """Get ready; `start` opens the witness in the thread.

        Args:
            opened: opens the witness, and closes it at the end.
            now: tells the time.
        """
        self._opened = opened
        self._now = now
        self._work: queue.SimpleQueue[list[_Waiting] | _Job | None] = queue.SimpleQueue()
        self._gathering: list[_Waiting] = []
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._ready: Future[None] = Future()
        self.fault: ErrorCode | None = None
        self.quarantined = False
        self._untidy = False
        self.broken: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Open the witness; errors are those of opening it."""
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """Finish what was handed in, and close the witness."""
        self._hand_over()
        self._work.put(None)
        self._thread.join()

    async def submit(self, submission: Submission) -> Submitted:
        """Return what became of a submission, once it is durable.

        Raises:
            KeysteadError: nothing of it was kept.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Submitted] = loop.create_future()
        self._gathering.append(_Waiting(submission, ended))
        if len(self._gathering) == 1:
            # All that comes in one turn of the loop: the thread is woken up once.
            loop.call_soon(self._hand_over)
        return await ended

    def _hand_over(self) -> None:
        gathered, self._gathering = self._gathering, []
        if gathered:
            self._work.put(gathered)

    async def run(self, work: Callable[[Witness], T]) -> T:
        """Return what `work` returns, which has the witness to itself meanwhile."""
        return await asyncio.wrap_future(self.begin(work))

    def begin(self, work: Callable[[Witness], T]) -> "Future[T]":
        """Hand in work, from any thread."""
        ended: Future[T] = Future()
        self._work.put(_Job(work, ended))
        return ended

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                witness = stack.enter_context(self._opened())
            except BaseException as error:  # noqa: BLE001 - whoever started the thread gets it
                self._ready.set_exception(error)
                return
            self.quarantined = witness.quarantined
            self._ready.set_result(None)
            try:
                self._serve(witness)
            except Exception:
                self.broken()
                raise

    def _serve(self, witness: Witness) -> None:
        next_tidy, last, idle = time.monotonic() + _TIDY_SECONDS, False, True
        waiting: list[_Waiting] = []
        unfinished: _Unfinished | None = None
        while waiting or not last:
            jobs: list[_Job] = []
            for one in self._gathered(wait=not (waiting or unfinished), idle=idle):
                match one:
                    case None:
                        last = True
                    case _Job():
                        jobs.append(one)
                    case _:
                        waiting += one
            size = _size_of_batch(waiting)
            batch = waiting[:size]
            del waiting[:size]
            unfinished = self._commit(witness, batch, unfinished)
            more = waiting or not self._work.empty()
            if unfinished is not None and (jobs or not more or self.quarantined):
                self._finish(witness, unfinished)
                unfinished = None
            if jobs or not batch:
                self._attempt(witness.flush)
            for job in jobs:
                _end(job.ended, lambda job=job: job.work(witness))  # type: ignore[misc] # bound here
            idle = not batch
            if last or time.monotonic() >= next_tidy or (idle and self.fault):
                self._attempt(partial(self._tidy, witness))
                next_tidy = time.monotonic() + (_SOON_SECONDS if self._untidy else _TIDY_SECONDS)

    def _gathered(self, *, wait: bool, idle: bool) -> Iterator[list[_Waiting] | _Job | None]:
        """Give what was handed in; wait for the first of it if there is nothing to do."""
        with contextlib.suppress(queue.Empty):
            if wait:
                long = idle and not self._untidy
                yield self._work.get(timeout=1.0 if long else _IDLE_SECONDS)
            for _ in range(_BATCH):
                yield self._work.get_nowait()

    def _commit(
        self, witness: Witness, batch: Sequence[_Waiting], before: _Unfinished | None
    ) -> _Unfinished | None:
        """Make a batch durable, finish the one before, and have the signer begin with this one."""
        found = self._decide(witness, batch) if batch else None
        if before is not None:
            self._finish(witness, before)
        if found is not None:
            with contextlib.suppress(KeysteadError):  # told when it is finished
                witness.begin(found.decided)
        return found

    def _decide(self, witness: Witness, batch: Sequence[_Waiting]) -> _Unfinished | None:
        try:
            decided = witness.decide([one.submission for one in batch])
            self.fault, self.quarantined = None, witness.quarantined
        except Exception as error:  # noqa: BLE001 - whoever waits must not wait for ever
            self._refuse(error, batch)
            return None
        return _Unfinished(decided, batch)

    def _finish(self, witness: Witness, one: _Unfinished) -> None:
        try:
            answers = witness.finish(one.decided)
            self.quarantined = witness.quarantined
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(error, one.batch)
            return
        _tell(one.batch, answers)

    def _refuse(self, error: Exception, batch: Sequence[_Waiting]) -> None:
        if isinstance(error, KeysteadError):
            self._fail(error)
        _tell(batch, [error] * len(batch))

    def _tidy(self, witness: Witness) -> None:
        self._untidy = False
        self._untidy = witness.tidy(self._now(), probe=self.fault is not None)
        self.fault = None

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do what nobody waits for."""
        try:
            work()
        except KeysteadError as error:
            self._fail(error)

    def _fail(self, error: KeysteadError) -> None:
        self.fault = error.code
        if error.code in _BEYOND_REPAIR:
            self.broken()


def _size_of_batch(waiting: Sequence[_Waiting]) -> int:
    """Return how many submissions go into the next transaction: no more messages than in others."""
    size = min(_BATCH, max(_LEAST, len(waiting) // 2))
    messages = 0
    for place, one in enumerate(waiting[:size]):
        messages += len(one.submission.messages)
        if place and messages > _BATCH:
            return place
    return size


def _tell(batch: Sequence[_Waiting], answers: Sequence[Submitted | Exception]) -> None:
    # All at once: each call wakes the loop up.
    ended = [one.ended for one in batch]
    ended[0].get_loop().call_soon_threadsafe(_deliver, ended, answers)


def _deliver(
    ended: Sequence["asyncio.Future[Submitted]"], answers: Sequence[Submitted | Exception]
) -> None:
    for one, answer in zip(ended, answers, strict=True):
        if one.done():  # nobody waits any more
            continue
        if isinstance(answer, Exception):
            one.set_exception(answer)
        else:
            one.set_result(answer)


def _end(ended: "Future[Any]", work: Callable[[], Any]) -> None:
    try:
        ended.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        ended.set_exception(error)
