"""Connections that wait for the next call to the same host."""

import threading
import time
from typing import Final

from keystead.transports.connection import Connection

Origin = tuple[str, str, int]
"""Scheme, host and port: what a connection was vetted and secured for."""

# Servers close idle connections after 5 seconds or more.
_SECONDS: Final = 15.0
# More than the witnesses of the largest event would only use up file descriptors.
_MOST: Final = 64


class IdleConnections:
    """Connections by origin, for all threads of one transport."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, Origin, Connection]] = []

    def take(self, origin: Origin) -> Connection | None:
        """Take out a connection that is still open, if there is one; close those that are not."""
        with self._lock:
            for entry in reversed(self._waiting):
                if entry[1] != origin:
                    continue
                self._waiting.remove(entry)
                since, _, connection = entry
                # A server that speaks unasked closes, or means no good.
                if time.monotonic() < since + _SECONDS and connection.quiet:
                    return connection
                connection.close()
        return None

    def keep(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection; the one that waits longest makes room."""
        with self._lock:
            self._waiting.append((time.monotonic(), origin, connection))
            oldest = self._waiting.pop(0) if len(self._waiting) > _MOST else None
        if oldest is not None:
            oldest[2].close()

    def close(self) -> None:
        """Close all that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for *_, connection in waiting:
            connection.close()
