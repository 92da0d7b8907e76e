"""How commands get secrets: from files, descriptors and a real terminal, and from nowhere else."""

import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import click
import pytest

from keystead.cli.secrets import (
    SecretSource,
    new_secret,
    passphrase_options,
    read_secret,
    secret_options,
)
from keystead.errors import ErrorCode, UsageError
from keystead.keystores.passphrase import check_strength

STRONG = "violet harbor teaches nine quiet foxes"
OTHER = "seven lanterns drift under marble"


def _file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "secret file"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@contextmanager
def _pipe(content: bytes, *, closed: bool = True) -> Iterator[int]:
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
        if closed:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)
        if not closed:
            os.close(writing)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"six words", "six words"),
        (b"six words\n", "six words"),
        (b"six words\r\n", "six words"),
        (b"six words\nanother line\n", "six words"),
        (b" spaces \n", " spaces "),
        ("cafe\u0301".encode(), "caf\u00e9"),
        (b"x" * 1024 + b"\r\n", "x" * 1024),
    ],
)
def test_a_secret_is_one_line(tmp_path: Path, content: bytes, secret: str) -> None:
    """The first line of a file or descriptor is the secret, without its end, in normal form."""
    assert read_secret(SecretSource(file=_file(tmp_path, content)), "") == secret
    with _pipe(content) as fd:
        assert read_secret(SecretSource(fd=fd), "") == secret


def test_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of credentials the mask of an access list is no group; others are, elsewhere too."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    source = SecretSource(file=_file(tmp_path, b"six words\n", 0o440))
    assert read_secret(source, "") == "six words"
    for mode in (0o460, 0o444):
        Path(source.file or "").chmod(mode)
        with pytest.raises(UsageError, match="others have access"):
            read_secret(source, "")
    Path(source.file or "").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path.parent))
    with pytest.raises(UsageError, match="others have access"):
        read_secret(source, "")


_READ_AS = """
import os, sys
from keystead.cli.secrets import SecretSource, read_secret
from keystead.errors import UsageError
from keystead.keystores import hardening  # before it cannot be read any more
os.seteuid(int(sys.argv[2]))
try:
    print(read_secret(SecretSource(file=sys.argv[1]), ""))
except UsageError as error:
    print(error)
"""
_NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read as others")
@pytest.mark.parametrize(
    ("owner", "told"), [(0, "six words\n"), (12345, "belongs to another user")]
)
def test_a_credential_with_an_access_list(owner: int, told: str) -> None:
    """A service reads what is root's and has it in its list, as systemd makes it; of others nothing."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        path = _file(Path(name), b"six words\n", 0o400)
        os.chown(path, owner, owner)
        # Entries of acl(5): tag, rights, who; owner, user, group, mask, others.
        entries = ((1, 4, -1), (2, 4, _NOBODY), (4, 0, -1), (16, 4, -1), (32, 0, -1))
        listed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *one) for one in entries)
        os.setxattr(path, "system.posix_acl_access", listed)
        assert Path(path).stat().st_mode & 0o777 == 0o440
        found = subprocess.run(
            [sys.executable, "-c", _READ_AS, path, str(_NOBODY)],
            env={**os.environ, "CREDENTIALS_DIRECTORY": name},
            capture_output=True,
            check=True,
            text=True,
        )
    assert told in found.stdout


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\nsecond", b"canary\xff", b"canary\x1b[1m", b"canary" * 171]
)
def test_what_is_no_secret(tmp_path: Path, content: bytes) -> None:
    """Nothing, bytes that are no text, control characters, and more than 1,024 bytes."""
    with pytest.raises(UsageError) as from_file:
        read_secret(SecretSource(file=_file(tmp_path, content)), "")
    with _pipe(content) as fd, pytest.raises(UsageError) as from_pipe:
        read_secret(SecretSource(fd=fd), "")
    for caught in (from_file, from_pipe):
        assert caught.value.code is ErrorCode.ARGUMENT
        assert "canary" not in f"{caught.value} {caught.value.hint}"
        assert caught.value.__context__ is None, "an error of decoding holds the secret"


def test_a_descriptor_is_read_up_to_the_end_of_the_line() -> None:
    """Two secrets can come one after another; nobody waits for the writer to close."""
    with _pipe(b"first\nsecond\nrest", closed=False) as fd:
        assert read_secret(SecretSource(fd=fd), "") == "first"
        assert read_secret(SecretSource(fd=fd), "") == "second"
        assert os.read(fd, 99) == b"rest"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The error names the command that makes the file private."""
    path = _file(tmp_path, b"canary", mode)
    with pytest.raises(UsageError) as caught:
        read_secret(SecretSource(file=path), "")
    assert caught.value.code is ErrorCode.FILE
    assert caught.value.hint == f"chmod 600 '{path}'"
    subprocess.run(caught.value.hint, shell=True, check=True)  # noqa: S602 - what a user would do
    assert read_secret(SecretSource(file=path), "") == "canary"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Whoever owns the file could have written what they know."""
    path = _file(tmp_path, b"canary")
    os.chown(path, 12345, 12345)
    with pytest.raises(UsageError, match="belongs to another user") as caught:
        read_secret(SecretSource(file=path), "")
    assert caught.value.code is ErrorCode.FILE


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """A link, a folder, a named pipe and a missing file end at once with an error."""
    target = _file(tmp_path, b"canary")
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(target)
    os.mkfifo(fifo, 0o600)
    expected = {
        str(link): "is a symbolic link",
        str(tmp_path): "is not a regular file",
        str(fifo): "is not a regular file",
        str(tmp_path / "none"): "cannot read the file of --passphrase-file: No such file",
    }
    for path, text in expected.items():
        with pytest.raises(UsageError, match=text) as caught:
            read_secret(SecretSource(file=path), "")
        assert caught.value.code is ErrorCode.FILE


def test_a_descriptor_that_is_not_open_is_told() -> None:
    """The error names the option and the fault."""
    with _pipe(b"") as fd:
        pass
    with pytest.raises(UsageError, match="descriptor of --pin-fd: Bad file descriptor") as caught:
        read_secret(SecretSource("pin", fd=fd), "")
    assert caught.value.code is ErrorCode.FILE


_HARDENED = """
import ctypes, resource
from contextlib import suppress
from keystead.cli.secrets import SecretSource, {asks}
from keystead.errors import UsageError
with suppress(UsageError):
    {asks}(SecretSource(fd=99), "")
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("asks", ["read_secret", "new_secret"])
def test_a_process_that_asks_for_a_secret_is_hardened(asks: str) -> None:
    """Even before anything is read: no core dump, and nothing for others to look into."""
    script = _HARDENED.format(asks=asks)
    if asks == "new_secret":
        script = script.replace(', "")', ")")
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=60
    )
    assert ended.stdout == b"0 (0, 0)\n"


def test_a_descriptor_that_is_a_terminal_is_refused() -> None:
    """A terminal would show what is typed; without the option it does not."""
    ours, theirs = pty.openpty()
    try:
        with pytest.raises(UsageError, match="is a terminal") as caught:
            read_secret(SecretSource(fd=theirs), "")
        assert caught.value.code is ErrorCode.ARGUMENT
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_new_secret_of_a_file_is_judged(tmp_path: Path) -> None:
    """It is taken as it is when strong; a weak one is refused, and an empty one is not made up."""
    assert new_secret(SecretSource(file=_file(tmp_path, STRONG.encode()))) == (STRONG, False)
    for content, code in {
        b"password": ErrorCode.WEAK_PASSPHRASE,
        b"\n": ErrorCode.ARGUMENT,
    }.items():
        with pytest.raises(UsageError) as caught:
            new_secret(SecretSource(file=_file(tmp_path, content)))
        assert caught.value.code is code


# The options.


def _parsed(*arguments: str) -> tuple[SecretSource, SecretSource]:
    found: list[SecretSource] = []

    @click.command()
    @passphrase_options
    @secret_options("new-passphrase")
    def command(passphrase: SecretSource, new_passphrase: SecretSource) -> None:
        found.extend((passphrase, new_passphrase))

    command.main(list(arguments), standalone_mode=False)
    one, other = found
    return one, other


def test_options_give_sources() -> None:
    """Each name has its own pair of options, and the terminal when none is given."""
    assert _parsed() == (SecretSource("passphrase"), SecretSource("new-passphrase"))
    assert _parsed("--passphrase-file", "f", "--new-passphrase-fd", "3") == (
        SecretSource("passphrase", file="f"),
        SecretSource("new-passphrase", fd=3),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--passphrase-file", "f", "--passphrase-fd", "3"],
        ["--passphrase-file", "", "--passphrase-fd", "0"],
        ["--passphrase-fd", "canary"],
        ["--passphrase-fd=-1"],
        ["--passphrase-fd", "9" * 5000],
        ["--passphrase-fd", ""],
    ],
)
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    """File and descriptor exclude each other; a descriptor is a number; nothing is repeated."""
    with pytest.raises(UsageError) as caught:
        _parsed(*arguments)
    assert caught.value.code is ErrorCode.ARGUMENT
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [["--passphrase", "canary"], ["--passphrase=canary"], ["--new-passphrase=canary"]],
)
def test_a_passphrase_is_no_argument(arguments: list[str]) -> None:
    """The option does not exist, and the error does not repeat its value."""
    with pytest.raises(click.UsageError, match="No such option") as caught:
        _parsed(*arguments)
    assert "canary" not in caught.value.format_message()


# The terminal. The child makes it its own, as a shell does for what it starts.
_CHILD = """
import fcntl, json, sys, termios
if "--terminal" in sys.argv:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import click
from keystead.cli.secrets import SecretSource, new_secret, read_secret
from keystead.errors import KeysteadError
source = SecretSource()
try:
    found = new_secret(source) if "new" in sys.argv else read_secret(source, "Pass\\x1b[1m: ")
except KeysteadError as error:
    found = {"code": error.code, "message": error.message, "hint": error.hint}
except (KeyboardInterrupt, click.Abort) as error:
    found = type(error).__name__
print(json.dumps(found))
"""


@dataclass
class _Terminal:
    """A process on a terminal of its own, and what the terminal has shown so far."""

    what: str
    shown: bytes = b""
    ours: int = field(init=False)
    theirs: int = field(init=False)

    def __enter__(self) -> Self:
        self.ours, self.theirs = pty.openpty()
        self.child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, "--terminal", self.what],
            stdin=self.theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()
        os.close(self.ours)
        os.close(self.theirs)

    def until(self, text: bytes) -> None:
        """Wait until the terminal shows a text behind what it has shown before."""
        start = len(self.shown)
        while text not in self.shown[start:]:
            ready, _, _ = select.select([self.ours], [], [], 30)
            assert ready, self.shown
            self.shown += os.read(self.ours, 1024)

    def answer(self, prompt: bytes, keys: bytes) -> None:
        """Wait for a prompt and type."""
        self.until(prompt)
        os.write(self.ours, keys)

    def result(self) -> object:
        """Return what the process found, once it has ended."""
        out, err = self.child.communicate(timeout=30)
        assert not err, err
        return json.loads(out)

    def echoes(self) -> bool:
        """Tell whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def rest(self) -> bytes:
        """Return everything that was shown; a mark that is typed last shows up too."""
        os.write(self.ours, b"mark\n")
        self.until(b"mark")
        return self.shown


def test_terminal_is_asked_without_echo() -> None:
    """The answer is returned and never shown, and afterwards the terminal shows what is typed."""
    with _Terminal("read") as terminal:
        terminal.until(b": ")
        assert not terminal.echoes()
        os.write(terminal.ours, b"canarx\x7fy \xc3\xa9\n")
        assert terminal.result() == "canary \u00e9"
        assert terminal.echoes()
        shown = terminal.rest()
        assert b"canar" not in shown
        assert shown.startswith(b"Pass\\x1b[1m: \r\n"), "and a prompt cannot steer the terminal"


def test_new_passphrase_is_asked_for_twice() -> None:
    """Two equal strong answers are the passphrase."""
    with _Terminal("new") as terminal:
        terminal.answer(b"have one made): ", STRONG.encode() + b"\n")
        terminal.answer(b"The same again: ", STRONG.encode() + b"\n")
        assert terminal.result() == [STRONG, False]
        assert STRONG.encode() not in terminal.rest()


@pytest.mark.parametrize("again", [OTHER, ""])
def test_answers_that_differ_are_refused(again: str) -> None:
    """The error says that they differ, and repeats neither."""
    with _Terminal("new") as terminal:
        terminal.answer(b"have one made): ", STRONG.encode() + b"\n")
        terminal.answer(b"The same again: ", again.encode() + b"\n")
        found = terminal.result()
        assert found == {
            "code": "usage.argument",
            "message": "the two answers differ",
            "hint": "try again",
        }
        shown = terminal.rest()
        assert STRONG.encode() not in shown
        assert OTHER.encode() not in shown


def test_empty_answer_asks_for_a_generated_one() -> None:
    """It is asked once, and what was made is returned to be shown by the command."""
    with _Terminal("new") as terminal:
        terminal.answer(b"have one made): ", b"\n")
        found = terminal.result()
        assert isinstance(found, list)
        text, made = found
        assert made is True
        assert len(text.split(" ")) == 6
        check_strength(text)
        assert text.encode() not in terminal.rest()


def test_weak_answer_is_refused_before_it_is_asked_for_again() -> None:
    """Nobody types twice what is not accepted."""
    with _Terminal("new") as terminal:
        terminal.answer(b"have one made): ", b"canary1\n")
        found = terminal.result()
        assert isinstance(found, dict)
        assert found["code"] == "usage.weak_passphrase"
        assert "canary" not in str(found)
        assert b"again" not in terminal.rest()


@pytest.mark.parametrize(("keys", "end"), [(b"\x03", "KeyboardInterrupt"), (b"\x04", "Abort")])
def test_interrupted_prompt_restores_the_terminal(keys: bytes, end: str) -> None:
    """Ctrl-C or Ctrl-D at either prompt ends the command, and the terminal shows input again."""
    for earlier in ([], [STRONG.encode() + b"\n"]):
        with _Terminal("new") as terminal:
            for typed in earlier:
                terminal.answer(b": ", typed)
            terminal.until(b": ")
            assert not terminal.echoes()
            os.write(terminal.ours, keys)
            assert terminal.result() == end
            assert terminal.echoes()


def test_interrupt_in_the_middle_of_an_answer() -> None:
    """What was typed before Ctrl-C is neither shown nor left for the shell."""
    with _Terminal("read") as terminal:
        terminal.answer(b": ", b"canary\x03")
        assert terminal.result() == "KeyboardInterrupt"
        assert b"canary" not in terminal.rest()


def test_overlong_answer_does_not_reach_the_shell() -> None:
    """The rest of a line that is too long is dropped, not left for whoever reads next."""
    with _Terminal("read") as terminal:
        terminal.answer(b": ", b"x" * 2000 + b"canary\n")
        found = terminal.result()
        assert isinstance(found, dict)
        assert found["message"] == "the line is longer than 1,024 bytes"
        os.write(terminal.ours, b"next\n")
        assert os.read(terminal.theirs, 4096) == b"next\n"


def test_bytes_on_the_terminal_that_are_no_text() -> None:
    """They are refused with an error, not with a traceback."""
    with _Terminal("read") as terminal:
        terminal.answer(b": ", b"canary\xff\n")
        found = terminal.result()
        assert isinstance(found, dict)
        assert found["code"] == "usage.argument"
        assert "canary" not in str(found)


@pytest.mark.parametrize("what", ["new", "read"])
def test_without_a_terminal_the_options_are_named(what: str) -> None:
    """Standard input and the environment are no places for a passphrase."""
    names = ("KEYSTEAD_PASSPHRASE", "KEYSTEAD_PASSPHRASE_FILE", "KEYSTEAD_PASSPHRASE_FD")
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, what],
        input=b"canary\n",
        env={**os.environ, **dict.fromkeys(names, "0")},
        capture_output=True,
        check=True,
        start_new_session=True,
    )
    found = json.loads(done.stdout)
    assert found["code"] == "usage.argument"
    assert "--passphrase-file" in found["hint"]
    assert "--passphrase-fd" in found["hint"]
    assert b"canary" not in done.stdout + done.stderr


def test_terminated_prompt_ends() -> None:
    """A signal to terminate ends the process at the prompt."""
    with _Terminal("read") as terminal:
        terminal.until(b": ")
        terminal.child.terminate()
        assert terminal.child.wait(timeout=30) == -signal.SIGTERM
