"""Calls at the same time, each in a thread, with bounds on how many."""

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from keystead.errors import TransportError
from keystead.ports.transport import Answer, Call


class CallsUnderWay:
    """Carries calls as they are begun; implements `keystead.ports.transport.Calls`."""

    def __init__(self, carry: Callable[[Call], Answer], parallel: int) -> None:
        """Carry nothing yet.

        Args:
            carry: carries one call.
            parallel: calls at the same time.
        """
        self._carry = carry
        self._parallel = parallel
        self._begun = 0
        self._ends: SimpleQueue[tuple[int, Answer | TransportError | Exception]] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Call]] = deque()
        self._threads = 0

    def begin(self, call: Call) -> int:
        """Begin a call; see the port."""
        with self._lock:
            number = self._begun
            self._begun += 1
            self._waiting.append((number, call))
            if self._threads == self._parallel:
                return number
            self._threads += 1
        # Daemons: a process that has what it wants must not wait for the slowest peer.
        threading.Thread(target=self._work, name="keystead-call", daemon=True).start()
        return number

    def wait(self, seconds: float | None = None) -> tuple[int, Answer | TransportError] | None:
        """Return the end of a call; see the port."""
        try:
            number, end = self._ends.get(timeout=None if seconds is None else max(0.0, seconds))
        except Empty:
            return None
        if not isinstance(end, Answer | TransportError):
            raise end
        return number, end

    def stop(self) -> None:
        """Begin no call that waits for room."""
        with self._lock:
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                number, call = self._waiting.popleft()
            try:
                self._ends.put((number, self._carry(call)))
            except TransportError as error:
                error.forget_frames()
                self._ends.put((number, error))
            except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
                self._ends.put((number, error))
