"""The key of a server in its file."""

import stat
from pathlib import Path

import pytest

from keystead import suites
from keystead.cesr.keys import parse_key
from keystead.errors import ErrorCode, KeysteadError
from keystead.keystores.service_key import ServiceKey, read_envelope
from keystead.suites import Suite

PASSPHRASE = b"a passphrase of a server"


@pytest.fixture(name="path", scope="module")
def _path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with a key."""
    path = tmp_path_factory.mktemp("service") / "service.key"
    ServiceKey.create(path, PASSPHRASE)
    return path


def test_key_comes_back(path: Path) -> None:
    """It is the same key, private to this user, and its identifier is its public half."""
    key = ServiceKey.open(path, PASSPHRASE)
    assert read_envelope(path).wallet == key.aid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    public = parse_key(key.aid)
    assert not public.transferable
    assert suites.verify(Suite.ED25519, public.raw, key.sign(b"text"), b"text")
    assert key.sign(b"text") == ServiceKey.open(path, PASSPHRASE).sign(b"text")


def test_key_is_never_replaced(path: Path) -> None:
    """A second one is not made where there is one."""
    before = path.read_bytes()
    with pytest.raises(KeysteadError) as refused:
        ServiceKey.create(path, PASSPHRASE)
    assert refused.value.code is ErrorCode.EXISTS
    assert path.read_bytes() == before


def test_wrong_passphrase(path: Path) -> None:
    """It opens nothing."""
    with pytest.raises(KeysteadError) as refused:
        ServiceKey.open(path, b"another")
    assert refused.value.code is ErrorCode.PASSPHRASE


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, ErrorCode.STORE_MISSING),
        (b"", ErrorCode.TAMPERED),
        (b"{}", ErrorCode.TAMPERED),
        (b"x" * 10_000, ErrorCode.TAMPERED),
    ],
)
def test_files_that_are_no_key(tmp_path: Path, data: bytes | None, code: ErrorCode) -> None:
    """Each is told by its code."""
    path = tmp_path / "service.key"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(KeysteadError) as refused:
        ServiceKey.open(path, PASSPHRASE)
    assert refused.value.code is code


def test_another_name_on_the_file(path: Path, tmp_path: Path) -> None:
    """The identifier in the file is authenticated with the key."""
    changed = tmp_path / "service.key"
    aid = read_envelope(path).wallet
    changed.write_bytes(path.read_bytes().replace(aid.encode(), b"B" + b"A" * 43))
    with pytest.raises(KeysteadError) as refused:
        ServiceKey.open(changed, PASSPHRASE)
    assert refused.value.code is ErrorCode.PASSPHRASE
