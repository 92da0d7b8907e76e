"""A witness without its signer is of no use: it ends, so that it is started again."""

import http.client
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.writing import write_groups
from keystead.testing.authoring import Author, KeyPair, Signed
from support.loaded_witness import Loaded, make, running


class _Remote(KeyPair):
    """A witness whose key is elsewhere."""

    @property
    def aid(self) -> str:  # type: ignore[override] # it is told, not derived
        """Its identifier."""
        return self.name

    def indexed(self, *_: object, **__: object) -> IndexedSignature:
        """Give a receipt that nobody looks at."""
        return IndexedSignature("A", 0, 0, bytes(64))


def _post(loaded: Loaded, signed: Signed) -> int:
    attached = write_groups(signed.groups[:1]).decode()
    headers = {"Content-Type": "application/cesr+json", "CESR-ATTACHMENT": attached}
    with closing(http.client.HTTPConnection(*loaded.target.address, timeout=20)) as connection:
        connection.request("POST", "/receipts", signed.event.raw, headers)
        with connection.getresponse() as answer:
            return answer.status


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in found for child in one.read_text().split()]


def test_a_witness_ends_with_its_signer(tmp_path: Path) -> None:
    """After kill -9 of the signer it says nothing wrong, ends, and goes on when it is started."""
    aid = make(tmp_path)
    owner = Author("owner of the orphan", witnesses=[_Remote(aid)])
    first, second = owner.incept(), owner.interact()
    with running(tmp_path) as loaded:
        assert _post(loaded, first) == 200
        assert loaded.target.pid is not None
        (signer,) = _children(loaded.target.pid)
        os.kill(signer, signal.SIGKILL)
        with pytest.raises((OSError, http.client.HTTPException)):
            _post(loaded, second)
        assert loaded.process.wait(20) == 1
    with running(tmp_path) as loaded:
        assert _post(loaded, second) == 200
