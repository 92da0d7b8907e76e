"""`keystead log verify` as a process: what it prints and how it ends."""

import json
import os
import pty
import re
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keystead.cli import log as commands
from keystead.keri.build import Configuration
from keystead.keri.seals import OtherData
from keystead.limits import Limits
from keystead.testing.authoring import Author, Signed, witness
from support.commands import COMMAND, ROOT, keystead, measured
from support.logs import attached, coupled, routed

LOGS = ROOT / "examples" / "logs.cesr"


def _log(name: str, interactions: int = 2) -> list[Signed]:
    author = Author(name)
    return [author.incept(), *(author.interact() for _ in range(interactions))]


def _stream(events: list[Signed]) -> bytes:
    return b"".join(event.framed for event in events)


def _verified_json(stream: bytes) -> tuple[int, dict[str, Any]]:
    done = keystead("log", "verify", "--json", "-", stdin=stream)
    return done.returncode, json.loads(done.stdout)


def test_a_file_of_real_logs_is_verified() -> None:
    """Every identifier of the example is shown, and the command ends with 0."""
    done = keystead("log", "verify", LOGS)
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.splitlines()[-1] == (
        b"10 identifiers, 56 events accepted, 0 waiting, 0 duplicitous, 0 refused"
    )
    assert len(re.findall(rb"^E\S{43}$", done.stdout, re.MULTILINE)) == 10


def test_json_tells_the_same() -> None:
    """The JSON report has the counts and the state of each identifier."""
    code, value = _verified_json(_stream(_log("alice")))
    assert code == 0
    assert value["accepted"] == 3
    (alice,) = value["identifiers"]
    assert alice["state"]["sn"] == "2"
    assert alice["state"]["signing_threshold"] == "1"
    assert alice["pending"] == alice["duplicity"] == []


def test_an_empty_input_is_not_a_verified_log() -> None:
    """Nothing to verify is an error, and it says what to check."""
    done = keystead("log", "verify", "-")
    assert done.returncode == 3
    assert b"the input is empty [decode.empty]" in done.stderr
    assert b"keystead: hint: " in done.stderr


def test_a_truncated_log_is_told_from_a_whole_one() -> None:
    """What came before the cut counts; the cut is named with its place."""
    stream = _stream(_log("alice"))
    done = keystead("log", "verify", "-", stdin=stream[:-10])
    assert done.returncode == 3
    assert b"2 events accepted" in done.stdout
    assert b"[decode.truncated]" in done.stderr


def test_a_forged_event_is_refused_and_the_rest_waits() -> None:
    """A changed event is named with its place; what builds on it waits."""
    first, second, third = _log("alice")
    forged = second.framed.replace(b'"s":"1"', b'"s":"2"')
    done = keystead("log", "verify", "-", stdin=first.framed + forged + third.framed)
    assert done.returncode == 3
    assert f"at byte {len(first.framed)}: ".encode() in done.stdout
    assert b"[verify.said]" in done.stderr
    assert b"waits for event 1 of the log" in done.stdout


def test_a_signature_by_another_key_is_refused() -> None:
    """An event that its controller did not sign is refused."""
    alice, mallory = Author("alice"), Author("mallory")
    inception = alice.incept()
    mallory.incept()
    event = alice.interact()
    forged = Signed(event.event, mallory.signatures(event.event.raw))
    code, value = _verified_json(inception.framed + forged.framed)
    assert code == 3
    assert value["refused_by_code"] == {"verify.signature": 1}


def test_missing_events_end_with_4() -> None:
    """A log with a gap is neither valid nor forged: it waits, and says what for."""
    first, _, third = _log("alice")
    done = keystead("log", "verify", "-", stdin=first.framed + third.framed)
    assert done.returncode == 4
    assert b"waits for event 1 of the log" in done.stdout
    assert b"1 message waiting for others" in done.stderr


def test_missing_receipts_are_counted() -> None:
    """An event without its witnesses' receipts waits for them."""
    author = Author("alice", witnesses=[witness("one"), witness("two")])
    event = author.incept()
    bare = Signed(event.event, event.signatures)
    done = keystead("log", "verify", "-", stdin=bare.framed)
    assert done.returncode == 4
    assert b"waits for more witness receipts (0 of 2 receipts)" in done.stdout


def test_a_delegate_without_its_seal_waits_for_the_delegator() -> None:
    """A delegated event that its delegator has not sealed is shown as waiting."""
    boss, clerk = Author("boss"), Author("clerk")
    top = boss.incept()
    event = clerk.incept(configuration=Configuration(delegator=boss.aid))
    done = keystead("log", "verify", "-", stdin=top.framed + event.framed)
    assert done.returncode == 4
    assert b"waits for the seal of the delegator" in done.stdout


def test_duplicity_is_shown_and_its_evidence_verifies_elsewhere(tmp_path: Path) -> None:
    """Two signed events at one place end with 3; the evidence file proves it on its own."""
    author = Author("alice")
    inception = author.incept()
    twin = author.fork()
    one, other = author.interact(), twin.interact(OtherData('"else"'))
    proof = tmp_path / "proof.cesr"
    stream = inception.framed + one.framed + other.framed
    done = keystead("log", "verify", "--evidence", proof, "-", stdin=stream)
    assert done.returncode == 3
    assert one.event.said.encode() in done.stdout
    assert other.event.said.encode() in done.stdout
    code, value = _verified_json(proof.read_bytes())
    assert code == 3
    assert value["duplicitous"] == 1


def test_evidence_is_not_written_over_a_file(tmp_path: Path) -> None:
    """An existing file stays as it is."""
    author = Author("alice")
    inception = author.incept()
    twin = author.fork()
    stream = inception.framed + author.interact().framed + twin.interact(OtherData("1")).framed
    target = tmp_path / "kept"
    target.write_text("kept")
    done = keystead("log", "verify", "--evidence", target, "-", stdin=stream)
    assert done.returncode == 2
    assert b"it is not overwritten [usage.file]" in done.stderr
    assert target.read_text() == "kept"


def test_folder_of_the_evidence_is_checked_before_reading(tmp_path: Path) -> None:
    """A folder that is not there is told at once."""
    target = tmp_path / "nowhere" / "proof.cesr"
    done = keystead("log", "verify", "--evidence", target, "-", stdin=b"garbage")
    assert done.returncode == 2
    assert b"does not exist [usage.file]" in done.stderr
    assert done.stdout == b""


def test_evidence_file_is_checked_before_reading() -> None:
    """A file name that cannot be used is told at once, whatever comes on the input."""
    done = keystead("log", "verify", "--evidence", LOGS, "-", stdin=b"garbage")
    assert done.returncode == 2
    assert b"give the name of a new file" in done.stderr
    assert done.stdout == b""


def test_no_evidence_file_without_duplicity(tmp_path: Path) -> None:
    """An honest log leaves no evidence file."""
    target = tmp_path / "none"
    done = keystead("log", "verify", "--evidence", target, LOGS)
    assert done.returncode == 0
    assert b"no duplicity was found" in done.stderr
    assert not target.exists()


def test_a_file_that_is_not_there_is_wrong_usage() -> None:
    """The path is named, and the hint says what to check."""
    done = keystead("log", "verify", "nowhere.cesr")
    assert done.returncode == 2
    assert b"cannot read nowhere.cesr" in done.stderr
    assert b"[usage.file]" in done.stderr


def test_registry_events_are_counted_not_judged() -> None:
    """What is not verified yet is said to be so."""
    author = Author("alice")
    body = (
        b'{"v":"KERI10JSON0000ad_","t":"vcp","d":"EF0iBQCVXOEuUwgWfi0ul2T9aMmjTSK3dn6Vw4M1k4rr",'
        b'"i":"EF0iBQCVXOEuUwgWfi0ul2T9aMmjTSK3dn6Vw4M1k4rr","s":"0","c":[],"bt":"0","b":[],"n":"x"}'
    )
    body = body.replace(b"0000ad", f"{len(body):06x}".encode())
    done = keystead("log", "verify", "-", stdin=author.incept().framed + body)
    assert done.returncode == 0
    assert b"1 registry events or credentials were not verified" in done.stderr


def test_a_stream_without_key_events_proves_nothing() -> None:
    """Registry events alone are no verified log."""
    body = b'{"v":"ACDC10JSON000000_","d":"x"}'
    body = body.replace(b"000000", f"{len(body):06x}".encode())
    done = keystead("log", "verify", "-", stdin=body)
    assert done.returncode == 3
    assert b"the input holds no key event [decode.empty]" in done.stderr


def test_a_log_in_reverse_order_is_verified() -> None:
    """The order of messages does not matter, however many wait."""
    author = Author("alice")
    events = [author.incept(), *(author.interact() for _ in range(200))]
    done = keystead("log", "verify", "-", stdin=_stream(events[::-1]))
    assert done.returncode == 0
    assert b"201 events accepted" in done.stdout


def test_more_than_may_wait_is_told() -> None:
    """When too much waits, messages are dropped, the command says so and ends with 1."""
    author = Author("alice")
    author.incept()
    author.interact()
    large = [author.interact(OtherData(json.dumps("x" * 200_000))) for _ in range(180)]
    done = keystead("log", "verify", "-", stdin=_stream(large))
    assert done.returncode == 1
    assert b"[store.escrow_full]" in done.stderr


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        (">/dev/full", 1, "cannot write the result"),
        (">&-", 1, "standard output is closed"),
        ("2>&-", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(redirection: str, code: int, told: str) -> None:
    """A result that cannot be written is an error; a closed stderr is none."""
    script = f'"{COMMAND}" log verify "{LOGS}" {redirection}'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False, text=True)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_standard_input_is_wrong_usage() -> None:
    """Reading from a closed standard input is told."""
    script = f'"{COMMAND}" log verify - <&-'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"[usage.file]" in done.stderr


def test_an_interrupt_ends_with_130() -> None:
    """Ctrl-C ends the command without a traceback."""
    command = [str(COMMAND), "log", "verify", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin is not None
        child.stdin.write(Author("alice").incept().framed)
        child.stdin.flush()
        # The handler of the interpreter is there when the command waits for more input.
        wchan = Path(f"/proc/{child.pid}/syscall")
        while not wchan.read_text().startswith("0 0x0 "):
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=20)
    assert child.returncode == 130
    assert b"interrupted" in told
    assert b"Traceback" not in told


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    """Control characters of a stream are escaped in the report."""
    author = Author("alice")
    event = author.incept(configuration=Configuration(traits=["\x1b[2J\u202e"]))
    done = keystead("log", "verify", "-", stdin=event.framed)
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert b"traits:     \\x1b[2J\\u202e" in done.stdout


@pytest.mark.parametrize("size", [100_000_000])
def test_a_large_file_of_zeros_is_one_clear_fault(size: int, tmp_path: Path) -> None:
    """100 MB without a message are refused as one piece, in little memory."""
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as file:
        file.truncate(size)
    done = keystead("log", "verify", zeros)
    assert done.returncode == 3
    assert f"refused: {size} bytes at byte 0: no message starts here".encode() in done.stdout
    assert b"[decode.cold_start]" in done.stderr


@pytest.mark.timed
def test_a_pipe_is_read_without_keeping_it() -> None:
    """A stream larger than the memory that the command takes is verified from a pipe."""
    first = Author("alice").incept().framed
    block = first * 1000
    blocks = 128 * 1024 * 1024 // len(block)
    done = measured("log", "verify", "-", pieces=(block for _ in range(blocks)))
    assert done.returncode == 0
    assert b"1 event accepted" in done.stdout
    assert done.peak < 80 * 1024


def test_progress_goes_to_a_terminal_only(tmp_path: Path) -> None:
    """A long file shows a bar on a terminal; the result on stdout stays clean."""
    long = tmp_path / "long.cesr"
    long.write_bytes(Author("alice").incept().framed * 20_000)
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [str(COMMAND), "log", "verify", str(long)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert b"reading" in shown
    assert b"%" in shown
    assert b"reading" not in done.stdout


@pytest.mark.timed
def test_help_is_quick() -> None:
    """`--help` takes under 150 ms of CPU, best of five."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = keystead("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
    assert min(times) < 0.150


@pytest.mark.parametrize("command", [[], ["inspect"], ["log"], ["log", "verify"]])
def test_every_command_shows_examples(command: list[str]) -> None:
    """`--help` of every command has examples."""
    done = keystead(*command, "--help")
    assert done.returncode == 0
    assert b"Examples:" in done.stdout


@pytest.mark.parametrize("arguments", [["frob"], ["log", "frob"], ["log", "verify"], ["log"], []])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """A mistake on the command line is told on stderr with what to do."""
    done = keystead(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"--help" in done.stderr


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    """`keystead ... | head -1` prints no Python error."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{COMMAND}" inspect "{LOGS}" | head -1'],
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_dropped_statements_are_not_called_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements beyond what is kept are a failure of this verifier, not of the input."""
    monkeypatch.setattr(commands, "_LIMITS", Limits(records=1))
    stream = _stream(_log("alice"))
    for endpoint in (witness("1"), witness("2")):
        attributes = {"eid": endpoint.aid, "scheme": "http", "url": ""}
        raw = routed("rpy", r="/loc/scheme", a=attributes)
        stream += attached(raw, coupled(endpoint, raw))
    done = CliRunner().invoke(commands.verify, ["-"], input=stream)
    assert done.exit_code == 1
    assert "3 events accepted" in done.stdout
    assert "1 statements were dropped [store.records_full]" in done.stderr
