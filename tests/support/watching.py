"""Watchers for tests: a real store, a key from a name, and times that tests tell."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from keystead.node.freshness import Moment
from keystead.node.watching import Watch
from keystead.ports.watching import Source
from keystead.stores.watching import DatabaseWatch
from keystead.testing.authoring import KeyPair, witness

WATCHER: Final = KeyPair("the watcher", transferable=False)
BEGIN: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> Moment:
    """Return a time by both clocks, so many seconds after the begin."""
    return Moment(BEGIN + timedelta(seconds=seconds), 1000.0 + seconds)


def source(name: str, kind: str = "witness") -> Source:
    """Return a source that a name stands for."""
    return Source(f"http://{name}.example", witness(name).aid, kind)


@contextmanager
def watch_in(home: Path | None = None) -> Iterator[tuple[Watch, DatabaseWatch]]:
    """Give a watcher with a new store, in a folder that is removed if none is named."""
    with tempfile.TemporaryDirectory() as folder:
        store = DatabaseWatch.create(home or Path(folder) / "watch")
        try:
            yield Watch(store, WATCHER.aid, WATCHER.sign, at(0)), store
        finally:
            store.close()
