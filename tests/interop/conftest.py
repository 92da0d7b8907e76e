"""Starts the peer once for all tests that need it."""

import os
from collections.abc import Iterator

import pytest

from support.peer import CHOSEN, NOT_RUN, Peer, environment, find_python


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of the tests that run keri."""
    config.addinivalue_line("markers", "interop: runs keri, in an environment of its own")


@pytest.fixture(scope="session")
def peer() -> Iterator[Peer]:
    """Give a running keri; skip where no Python for it is, unless it was asked for."""
    python = find_python()
    if python is None:
        if CHOSEN in os.environ or os.environ.get("KEYSTEAD_INTEROP") == "required":
            pytest.fail(NOT_RUN)
        pytest.skip(NOT_RUN)
    running = Peer(environment(python))
    yield running
    running.close()
