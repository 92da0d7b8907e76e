"""`keystead sign` and `keystead verify`: what they read, where they write, what they refuse."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead.testing.authoring import Author
from support.commands import COMMAND, measured
from support.desks import Desk, unlocked
from support.documents import DOCUMENT, signed_document
from support.machines import PHRASE


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Make a wallet for all tests, each with identifiers and documents of its own."""
    with unlocked(tmp_path_factory.mktemp("office")) as desk:
        yield desk


@pytest.fixture
def desk(office: Desk, tmp_path: Path) -> Desk:
    """Give each test a folder of its own."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(office.owner, folder)


# Where the signature goes.


def test_output(desk: Desk) -> None:
    """The signature goes beside the document, where -o says, or to standard output."""
    desk.create("output")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "output", "-o", "named.sig")
    named = desk.folder / "named.sig"
    assert not (desk.folder / "contract.pdf.sig").exists()
    assert stat.S_IMODE(named.stat().st_mode) == 0o666 & ~_umask()
    ran = desk.run("sign", document, "--as", "output", "-o", "-")
    assert ran.out.encode() == named.read_bytes()
    assert "is signed by output" in ran.err
    piped = desk.run("sign", "-", "--as", "output", stdin=DOCUMENT)
    assert piped.out == ran.out
    assert "standard input is signed by output" in piped.err
    told = json.loads(desk.did("sign", "-", "--as", "output", "--json", stdin=DOCUMENT))
    assert (told["signature"], told["output"]) == (ran.out, None)
    assert sorted(path.name for path in desk.folder.iterdir()) == ["contract.pdf", "named.sig"]


def _umask() -> int:
    (text,) = re.findall(r"^Umask:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(text, 8)


@pytest.mark.parametrize("content", [b"", b"kept", b"other document"])
def test_file_that_is_there_is_kept(desk: Desk, content: bytes) -> None:
    """Only --force replaces a file that is not the signature of this document by these keys."""
    desk.create(f"kept {content!r}")
    options = ("--as", f"kept {content!r}")
    document, other = desk.write("contract.pdf"), desk.write("other", content)
    target = desk.folder / "contract.pdf.sig"
    if content.startswith(b"other"):
        desk.did("sign", other, *options, "-o", target)
    else:
        target.write_bytes(content)
    before = target.read_bytes()
    refused = desk.run("sign", document, *options, "--anchor")
    assert (refused.code, "[usage.exists]" in refused.err) == (2, True)
    assert target.read_bytes() == before
    desk.did("sign", document, *options, "--force")
    assert desk.answer(document, by_wallet=True)["anchored_at"] is None
    assert sorted(path.name for path in desk.folder.iterdir()) == sorted(
        path.name for path in (document, other, target)
    )


def test_file_that_appears_meanwhile_is_kept(desk: Desk) -> None:
    """What was not there when the command began is not replaced either."""
    desk.create("overtaken")
    pipe, target = desk.folder / "pipe", desk.folder / "pipe.sig"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [str(COMMAND), "sign", str(pipe), "--as", "overtaken"],
        env=desk.owner.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:
        with pipe.open("wb") as stream:  # waits for the command to read
            target.write_bytes(b"somebody else's")
            stream.write(DOCUMENT)
        _, told = child.communicate(timeout=60)
    assert (child.returncode, b"[usage.exists]" in told) == (2, True)
    assert target.read_bytes() == b"somebody else's"
    assert sorted(path.name for path in desk.folder.iterdir()) == ["pipe", "pipe.sig"]


def test_signature_never_takes_the_place_of_the_document(desk: Desk) -> None:
    """Neither by its name, nor by a link, nor with --force."""
    desk.create("placed")
    document = desk.write("contract.pdf")
    link = desk.folder / "link"
    link.symlink_to(document)
    for output in (document, link):
        for more in ((), ("--force",)):
            refused = desk.run("sign", document, "--as", "placed", "-o", output, *more)
            assert (refused.code, "is the document itself" in refused.err) == (2, True)
    assert document.read_bytes() == DOCUMENT


def test_output_that_cannot_be(desk: Desk) -> None:
    """Folders, devices and folders that are not there are told before anything is signed."""
    desk.create("impossible")
    document = desk.write("contract.pdf")
    for output, why in (
        (desk.folder, "is no ordinary file"),
        (Path("/dev/null"), "is no ordinary file"),
        (desk.folder / "nowhere" / "x.sig", "does not exist"),
        (desk.folder / ("x" * 300), "File name too long"),
        (Path("/proc/contract.sig"), "/proc/contract.sig"),  # even root makes no files there
    ):
        refused = desk.run("sign", document, "--as", "impossible", "-o", output, "--force")
        assert (refused.code, why in refused.err, "[usage.file]" in refused.err) == (2, True, True)
    for file, why in ((desk.folder, "is a folder"), (Path("nowhere"), "there is no file nowhere")):
        refused = desk.run("sign", file, "--as", "impossible")
        assert (refused.code, why in refused.err, "[usage.file]" in refused.err) == (2, True, True)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_full_disk_leaves_nothing(desk: Desk) -> None:
    """A signature that cannot be written is an error, and no half of it stays."""
    desk.create("full")
    document = desk.write("contract.pdf")
    limited = 'ulimit -f 0; trap "" XFSZ; exec "$@"'  # no byte can be written to a file
    environment = desk.owner.environment
    ended = subprocess.run(
        ["/bin/sh", "-c", limited, "-", str(COMMAND), "sign", str(document), "--as", "full"],
        env=environment,
        cwd=desk.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode in (1, 2)
    assert b"keystead: error: " in ended.stderr
    assert list(desk.folder.iterdir()) == [document]


# What can be signed.


@pytest.mark.parametrize("name", ["a b", "-dash", "\N{PARTY POPPER}", "new\nline\x1b[31m"])
def test_names_of_documents(desk: Desk, name: str) -> None:
    """Names may be anything; on a terminal they cannot do anything."""
    signer = f"names {len(name)}"
    desk.create(signer)
    desk.write(name)
    told = desk.did("sign", "--as", signer, "--", name)
    assert "\x1b" not in told
    assert len(told.splitlines()) == 2
    assert desk.did("verify", "--", name).startswith("valid: ")
    assert (desk.folder / f"{name}.sig").is_file()


def test_special_files(desk: Desk) -> None:
    """Pipes are read like documents; folders and what is not there are wrong usage."""
    desk.create("special")
    pipe = desk.folder / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["/bin/sh", "-c", f'printf abc > "{pipe}"']):
        desk.did("sign", pipe, "--as", "special", "-o", "pipe.sig")
    plain = desk.write("plain", b"abc")
    desk.did("verify", plain, "--signature", "pipe.sig")
    desk.did("sign", "/dev/null", "--as", "special", "-o", "empty.sig")
    desk.did("verify", desk.write("empty", b""), "--signature", "empty.sig")
    for missing in (desk.folder, desk.folder / "nothing"):
        refused = desk.run("sign", missing, "--as", "special", "-o", "x.sig")
        assert (refused.code, "[usage.file]" in refused.err) == (2, True)


@pytest.mark.parametrize(("name", "code"), [("sha256", "I"), ("sha3-256", "H"), ("blake3", "E")])
def test_hashes(desk: Desk, name: str, code: str) -> None:
    """Each hash makes a digest of its code, which verify and the anchor take up."""
    desk.create(name)
    document = desk.write("contract.pdf")
    value = json.loads(
        desk.did("sign", document, "--as", name, "--hash", name, "--anchor", "--json")
    )
    assert value["digest"].startswith(code)
    answer = desk.answer(document, desk.export(name))
    assert (answer["valid"], answer["digest"]) == (True, value["digest"])
    assert answer["anchored_at"] == "1"


@pytest.mark.timed
def test_large_document_takes_no_memory(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of 1 GB is signed and verified in pieces, also from a pipe."""
    desk.create("large")
    document = desk.folder / "large"
    with document.open("wb") as stream:
        stream.truncate(1 << 30)
    desk.did("sign", document, "--as", "large")
    log = desk.export("large")
    for variable, value in desk.owner.environment.items():
        monkeypatch.setenv(variable, value)
    signature = f"{document}.sig"
    arguments = ("verify", "-", "--signature", signature, "--log", str(log))
    small = measured(*arguments, pieces=[b"other"])
    large = measured(*arguments, pieces=(bytes(1 << 20) for _ in range(1 << 10)))
    assert (small.returncode, large.returncode) == (3, 0)
    assert large.peak < small.peak + 4096


# Wrong usage.


def test_who_signs_has_to_be_told(tmp_path: Path) -> None:
    """With one identifier it signs; with none or two, the wallet does not choose."""
    with unlocked(tmp_path) as desk:
        document = desk.write("contract.pdf")
        refused = desk.run("sign", document)
        assert (refused.code, "keystead id create" in refused.err) == (2, True)
        desk.create("alice")
        assert "is signed by alice" in desk.did("sign", document)
        desk.create("bob")
        refused = desk.run("sign", document, "-o", "other.sig")
        assert (refused.code, "--as NAME" in refused.err) == (2, True)
        refused = desk.run("sign", document, "--as", "carol", "-o", "other.sig")
        assert (refused.code, "[usage.unknown]" in refused.err) == (2, True)
        assert not (desk.folder / "other.sig").exists()


def test_locked_wallet(tmp_path: Path) -> None:
    """Signing asks for the passphrase; verifying does not, and tells of its own logs."""
    with unlocked(tmp_path) as desk:
        document = desk.write("contract.pdf")
        desk.create("alice")
        desk.did("lock")
        refused = desk.run("sign", document)
        assert (refused.code, "passphrase" in refused.err) == (2, True)
        desk.did("sign", document, "--passphrase-file", desk.owner.file(PHRASE))
        assert desk.answer(document, by_wallet=True)["valid"]


def test_signer_that_is_expected(desk: Desk) -> None:
    """--by refuses signatures of others, however valid, and names, which anybody can choose."""
    aid, other = desk.create("expected"), desk.create("not expected")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "expected")
    log = desk.export("expected")
    assert desk.strange("verify", document, "--log", log, "--by", aid).code == 0
    refused = desk.strange("verify", document, "--log", log, "--by", other)
    assert (refused.code, refused.out) == (3, "")
    assert f"the signature is by {aid}, not by {other} [verify.signer]" in refused.err
    refused = desk.strange("verify", document, "--log", log, "--by", "expected")
    assert (refused.code, "[usage.argument]" in refused.err) == (2, True)


def test_files_that_are_not_what_they_should_be(desk: Desk) -> None:
    """The message names the file, and the hint tells what may have happened."""
    desk.create("files")
    document = desk.write("contract.pdf")
    bare = desk.write("bare")
    desk.did("sign", document, "--as", "files")
    log = desk.export("files")
    signature = desk.folder / "contract.pdf.sig"
    empty = desk.write("empty.cesr", b"")
    damaged = desk.write("damaged.cesr", log.read_bytes()[:-5])
    for code, message, hint, arguments in (
        (2, f"cannot read {bare}.sig", "--signature FILE", (bare,)),
        (2, "Is a directory", "check the path", (document, "--signature", desk.folder)),
        (
            2,
            f"cannot read {desk.folder}",
            "check the path",
            (desk.folder, "--signature", signature),
        ),
        (2, "cannot read nowhere.cesr", "check the path", (document, "--log", "nowhere.cesr")),
        (2, f"cannot read {signature}.sig", "name the document", (signature,)),
        (2, "there is no document nowhere.pdf", "check the path", ("nowhere.pdf",)),
        (2, "has no name", "--signature FILE", ("-",)),
        (2, "only one of the files", "--help", ("-", "--signature", "-")),
        (2, "only one of the files", "--help", (document, "--log", "-", "--log", "-")),
        (
            3,
            f"{document} is no signature",
            "taken for each other",
            (signature, "--signature", document),
        ),
        (3, f"{bare} is no signature", "was changed", (document, "--signature", bare)),
        (3, "is no signature", "was changed", (document, "--signature", "/dev/zero")),
        (3, f"the log {empty} is empty", "right file", (document, "--log", log, "--log", empty)),
        (3, f"the log {damaged} is damaged at byte 0", "log verify", (document, "--log", damaged)),
        (3, f"the log {bare} is damaged at byte 0", "id export", (document, "--log", bare)),
        (3, f"the log {signature} is damaged", "id export", (document, "--log", signature)),
    ):
        refused = desk.strange("verify", *arguments)
        error, told = refused.err.splitlines()
        assert (refused.code, refused.out) == (code, ""), error
        assert message in error
        assert hint in told


def test_everything_can_come_from_standard_input(desk: Desk) -> None:
    """The document, the signature or the log: each one of them."""
    desk.create("piped")
    document = desk.write("contract.pdf")
    desk.did("sign", document, "--as", "piped")
    log, signature = desk.export("piped"), desk.folder / "contract.pdf.sig"
    for stdin, arguments in (
        (document, ("-", "--signature", signature, "--log", log)),
        (signature, (document, "--signature", "-", "--log", log)),
        (log, (document, "--signature", signature, "--log", "-")),
    ):
        assert desk.strange("verify", *arguments, stdin=stdin.read_bytes()).code == 0


def test_wallet_that_is_not_there(desk: Desk, tmp_path: Path) -> None:
    """One that is named has to be there; otherwise there simply is none."""
    document = desk.write("contract.pdf")
    author = Author("absent")
    author.incept()
    desk.write("contract.pdf.sig", signed_document(author))
    assert desk.strange("verify", document).code == 4
    refused = desk.strange("verify", document, "--home", tmp_path / "nowhere")
    assert (refused.code, "[store.missing]" in refused.err) == (1, True)
