"""The search for secrets finds them however they are spelled; otherwise it would prove nothing."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.canary import found_in, leaks

SECRET = b"canary secret of tests"


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_at_any_place(before: int, encode: Callable[[bytes], bytes]) -> None:
    """Inside something longer a secret has another text in base64, three of them in all."""
    assert found_in(encode(b"?" * before + SECRET + b"?"), SECRET)


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        SECRET.hex().encode(),
        SECRET.hex().upper().encode(),
        SECRET.decode().encode("utf-16"),
        json.dumps({"x": SECRET.decode()}).encode(),
    ],
)
def test_spellings(tmp_path: Path, spelled: bytes) -> None:
    """A secret is found in files, names and outputs."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"before" + spelled + b"behind")
    assert len(leaks({"it": SECRET}, folders=[tmp_path])) == 1
    assert len(leaks({"it": SECRET}, outputs=[b"nothing", b"\0" + spelled])) == 1
    assert leaks({"it": SECRET[::-1]}, folders=[tmp_path]) == []


def test_names_of_files(tmp_path: Path) -> None:
    """The name of a file can be the secret."""
    (tmp_path / SECRET.decode()).touch()
    assert len(leaks({"it": SECRET}, folders=[tmp_path])) == 1
