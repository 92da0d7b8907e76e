"""What tables remember of what they have read, while it cannot have changed."""

from collections.abc import Hashable
from typing import Any, Final

_MOST: Final = 4096  # entries, of some 2 KiB


class Remembered:
    """Values that were read or written in a transaction, and what they were before.

    Who writes to a table puts what is there now, or None where nobody knows. What a transaction
    undoes is undone here too.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._values: dict[Hashable, Any] = {}
        self._before: list[tuple[Hashable, Any]] = []

    def get(self, key: Hashable) -> Any:  # noqa: ANN401 - whatever a table has put
        """Return a value, None if it is not known."""
        return self._values.get(key)

    def put(self, key: Hashable, value: Any) -> None:  # noqa: ANN401 - as above
        """Remember a value; None forgets it."""
        old = self._values.get(key)
        if old is None and len(self._values) >= _MOST:
            return
        self._before.append((key, old))
        self._values[key] = value

    def mark(self) -> int:
        """Return what `back` takes to come back to here."""
        return len(self._before)

    def back(self, mark: int) -> None:
        """Know what was known then."""
        while len(self._before) > mark:
            key, value = self._before.pop()
            self._values[key] = value

    def settle(self) -> None:
        """Go back no further than to here; and make room when there is little."""
        self._before.clear()
        if len(self._values) >= _MOST:
            self._values.clear()

    def forget(self) -> None:
        """Know nothing any more, wherever one goes back to."""
        self._values.clear()
        self._before = [(key, None) for key, _ in self._before]
