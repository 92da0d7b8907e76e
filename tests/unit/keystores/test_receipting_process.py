"""A signer process that hangs, or goes wrong, is given up: no answer is taken for another."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores import receipting_process
from keystead.keystores.receipting_process import RemoteReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.testing.authoring import Author

STORE = "a store"
PASSPHRASE = b"a passphrase of a signer"


@pytest.fixture(name="signer")
def _signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteReceiptSigner]:
    """Give a signer process with little patience."""
    ServiceKey.create(tmp_path / "key", PASSPHRASE)
    started = RemoteReceiptSigner.start(tmp_path / "key", tmp_path / "memory", PASSPHRASE)
    started.accept(STORE, 0)
    started._connection.settimeout(0.5)  # noqa: SLF001 - a minute is too long for a test
    monkeypatch.setattr(receipting_process, "_LONGEST_ANSWER", 10.0)
    yield started
    os.kill(started.pid, signal.SIGCONT)
    started.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_late_answer_is_no_answer(signer: RemoteReceiptSigner, *, ahead: bool) -> None:
    """A process that slept for too long is not asked again, however it was asked."""
    raw = Author("sleeper").incept().event.raw
    os.kill(signer.pid, signal.SIGSTOP)
    if ahead:
        signer.ask_receipts(STORE, 0, [raw])
    with pytest.raises(KeystoreError) as late:
        signer.sign_receipts(STORE, 0, [raw])
    assert late.value.code is ErrorCode.SIGNER_PROCESS
    os.kill(signer.pid, signal.SIGCONT)
    for _ in range(2):
        with pytest.raises(KeystoreError) as refused:
            signer.sign_receipts(STORE, 0, [raw])
        assert refused.value.code is ErrorCode.SIGNER_PROCESS


def test_an_answer_that_nobody_waited_for(signer: RemoteReceiptSigner) -> None:
    """What was asked ahead and not fetched is no answer to what is asked then."""
    owner = Author("owner")
    first, second = owner.incept().event.raw, owner.interact().event.raw
    signer.ask_receipts(STORE, 0, [first])
    (signature,) = signer.sign_receipts(STORE, 0, [second])
    alone = signer.sign_receipts(STORE, 0, [first])
    assert isinstance(signature, bytes)
    assert alone != [signature]
    assert len(signer.sign_receipts(STORE, 0, [first, second])) == 2
