"""`keystead log`: commands on key event logs."""

import gc
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import click

from keystead.cli import report
from keystead.cli.files import check_place, write_file
from keystead.cli.log_compare import compare
from keystead.cli.log_state import state
from keystead.cli.log_watch import watch
from keystead.cli.output import ExitCode, as_json, counted, say, say_error
from keystead.cli.source import read_chunks
from keystead.errors import HINTS, DecodeError, ErrorCode, UsageError
from keystead.limits import DEFAULT_LIMITS
from keystead.node.audit import Audit, LogReport
from keystead.node.replay import evidence_stream
from keystead.stores.memory import MemoryStore

# One file has one sender, so no identifier has to be kept from pushing out others.
_LIMITS = replace(
    DEFAULT_LIMITS,
    held_events=DEFAULT_LIMITS.held_total,
    records_of_signer=DEFAULT_LIMITS.records,
)


@click.group(
    epilog="""\b
Examples:
  keystead log verify alice.cesr
  keystead log verify --json alice.cesr
  keystead log compare proof.cesr                explain a proof of duplicity"""
)
def log() -> None:
    """Verify, compare and watch logs of signed key events."""


log.add_command(compare)
log.add_command(state)
log.add_command(watch)


@log.command(
    epilog="""\b
Examples:
  keystead log verify alice.cesr                 every identifier in the file
  keystead log verify --json alice.cesr          the same for programs
  curl -s URL | keystead log verify -            a stream as it comes
  keystead log verify --evidence proof.cesr alice.cesr
                                                 keep what proves duplicity

\b
Exit codes: 0 everything was accepted, 3 something is not valid or duplicitous,
4 something waits for messages that are not in the input.""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
@click.option(
    "--evidence",
    metavar="NEW_FILE",
    help="Write what proves duplicity, as a stream that anyone can verify.",
)
def verify(file: str, *, json_output: bool, evidence: str | None) -> None:
    """Verify the logs in a stream; show who controls what.

    FILE holds a stream of key events and receipts; - is standard input. They may come in any
    order, as long as not too much has to wait: about ten thousand events. Registry
    events and credentials are not verified yet: they are counted.
    """
    if evidence is not None:
        _check_new(evidence)  # told at once, not after a long input was read
    # A long log keeps a million small objects that all live to the end.
    gc.set_threshold(100_000, 50, 50)
    audit = Audit(MemoryStore(_LIMITS), datetime.now(UTC), _LIMITS)
    for piece in read_chunks(file):
        audit.feed(piece)
    audit.close()
    if not audit.read:
        raise DecodeError(ErrorCode.EMPTY, "the input is empty")
    reports = list(audit.reports())
    if json_output:
        click.echo(as_json(report.as_value(audit, reports)))
    else:
        for line in report.lines(audit, reports):
            click.echo(line)
    code = _conclude(audit, reports, kept=evidence is not None)
    if evidence is not None:
        _write_evidence(evidence, audit, reports)
    click.get_current_context().exit(code)


def _conclude(audit: Audit, reports: Iterable[LogReport], *, kept: bool) -> ExitCode:
    """Say on stderr what is wrong, the worst first, and return how the command ends."""
    code = ExitCode.DONE
    if audit.unchecked:
        say(f"note: {audit.unchecked} registry events or credentials were not verified")
    if audit.waiting:
        hint = "add the missing messages to the input, see 'waits for' above"
        say_error(f"{counted(audit.waiting, 'message')} waiting for others", hint)
        code = ExitCode.WAITING
    if audit.overflowed:
        hint = "put the events of each identifier in their order into the input"
        say_error(f"too much waited, so messages were dropped [{ErrorCode.ESCROW_FULL}]", hint)
        code = ExitCode.FAILED
    if ErrorCode.RECORDS_FULL in audit.refused:
        dropped = audit.refused[ErrorCode.RECORDS_FULL]
        hint = "key events are not affected; split the input to have all statements verified"
        say_error(f"{dropped} statements were dropped [{ErrorCode.RECORDS_FULL}]", hint)
        code = ExitCode.FAILED
    keep = "" if kept else "; keep the proof with --evidence NEW_FILE"
    attacked = sum(1 for one in reports if one.dismissed)
    if attacked:
        what = f"{attacked} identifiers have another history by old keys, which does not stand"
        say_error(what, f"the one that was seen first stands: rely on that alone{keep}")
        code = ExitCode.INVALID
    duplicitous = sum(1 for one in reports if one.duplicity)
    if duplicitous:
        hint = f"do not trust these identifiers{keep}"
        say_error(f"{duplicitous} identifiers are duplicitous", hint)
        code = ExitCode.INVALID
    for problem, count in audit.refused.most_common():
        if problem in (ErrorCode.ESCROW_FULL, ErrorCode.RECORDS_FULL):
            continue
        say_error(f"{count} refused [{problem}]", HINTS[problem])
        code = ExitCode.INVALID
    if code is ExitCode.DONE and not audit.accepted:
        say_error(f"the input holds no key event [{ErrorCode.EMPTY}]", HINTS[ErrorCode.EMPTY])
        code = ExitCode.INVALID
    return code


def _write_evidence(name: str, audit: Audit, reports: Iterable[LogReport]) -> None:
    """Write the proofs of duplicity to a new file.

    Raises:
        UsageError: the file exists or cannot be written (usage.file).
    """
    found = [evidence for one in reports for evidence in (*one.duplicity, *one.dismissed)]
    if not found:
        say(f"note: no duplicity was found, so {name} was not written")
        return
    _check_new(name)
    write_file(name, b"".join(evidence_stream(audit.store, found)), replace=False)
    say(f"wrote evidence of duplicity to {name}")


def _check_new(name: str) -> None:
    """Check that a new file can be where `name` says.

    Raises:
        UsageError: something is there, or the folder is not (usage.file).
    """
    if check_place(name):
        what = f"{name} exists; it is not overwritten"
        raise UsageError(ErrorCode.FILE, what, hint="give the name of a new file to --evidence")
