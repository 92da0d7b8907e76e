"""What `keystead log verify` reports, for people and for programs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from keystead.cli.output import counted, printable
from keystead.keri.attachments import SignedEvent
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.escrow import Held, Missing, WaitingReceipts, Want
from keystead.keri.keystate import Establishment
from keystead.keri.thresholds import Threshold
from keystead.node.audit import Audit, LogReport, Problem


def as_value(audit: Audit, reports: Iterable[LogReport]) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "bytes": audit.read,
        "messages": audit.messages,
        "accepted": audit.accepted,
        "waiting": audit.waiting,
        "duplicitous": audit.duplicitous,
        "refused": sum(audit.refused.values()),
        "unchecked": audit.unchecked,
        "identifiers": [_log_value(report) for report in reports],
        "problems": [_problem_value(problem) for problem in audit.problems],
        "refused_by_code": {str(code): count for code, count in audit.refused.items()},
    }


def lines(audit: Audit, reports: Iterable[LogReport]) -> Iterator[str]:
    """Give the report line by line."""
    identifiers = 0
    for report in reports:
        identifiers += 1
        yield from _log_lines(report)
        yield ""
    for problem in audit.problems:
        yield _problem_line(problem)
    hidden = sum(audit.refused.values()) - len(audit.problems)
    if hidden > 0:
        yield f"refused: {hidden} more"
    refused = sum(audit.refused.values())
    yield (
        f"{counted(identifiers, 'identifier')}, {counted(audit.accepted, 'event')} accepted,"
        f" {audit.waiting} waiting, "
        f"{audit.duplicitous} duplicitous, {refused} refused"
    )


def _log_lines(report: LogReport) -> Iterator[str]:
    yield report.aid
    state = report.state
    if state is None:
        yield "  events:     none accepted"
    else:
        last = state.establishment
        superseded = f", {report.superseded} superseded" if report.superseded else ""
        yield f"  events:     {report.accepted} accepted{superseded}; last {state.sn:x} {state.said}"
        keys = [key.text for key in last.signing_keys]
        yield from _listed("keys", keys, f"threshold {_threshold(last.signing_threshold)}")
        yield f"  next keys:  {_next_keys(last)}"
        yield from _listed("witnesses", last.witnesses, f"threshold {last.witness_threshold}")
        if last.delegator is not None:
            yield f"  delegator:  {last.delegator}"
        if last.configuration_traits:
            yield f"  traits:     {printable(' '.join(last.configuration_traits))}"
    for held in report.pending:
        yield f"  waiting:    {_name_of(held)}"
        for missing in sorted(held.missing, key=lambda one: one.key[:3]):
            yield f"    waits for {_wanted(missing, report.aid)}"
    for evidence in report.duplicity:
        yield f"  DUPLICITY:  two signed events at {evidence.sn:x}"
        yield f"    first seen {evidence.accepted.event.said}"
        yield f"    and also   {evidence.other.said}"
    for evidence in report.dismissed:
        yield f"  old keys:   another signed event at {evidence.sn:x}, which does not stand"
        yield f"    first seen {evidence.accepted.event.said}"
        yield f"    and also   {evidence.other.said}"


def _listed(label: str, entries: Sequence[str], note: str) -> Iterator[str]:
    if not entries:
        yield f"  {label + ':':<11} none"
        return
    for place, entry in enumerate(entries):
        head = f"{label}:" if place == 0 else ""
        yield f"  {head:<11} {entry}{'  ' + note if place == 0 else ''}"


def _next_keys(last: Establishment) -> str:
    if not last.transferable:
        return "none: no more events can follow"
    count = len(last.next_key_digests)
    return f"{count} committed, threshold {_threshold(last.next_threshold)}"


def _threshold(threshold: Threshold) -> str:
    if not threshold.clauses:
        return str(threshold.number)
    return str(threshold.field).replace("'", "")


def _name_of(held: Held) -> str:
    match held.waiting:
        case SignedEvent(event):
            return f"{event.message_type} {event.sn:x} {event.said}"
        case WaitingReceipts(sn=sn, said=said):
            return f"receipts for {sn:x} {said}"
        case other:
            return f"{other.message.message_type} {other.message.said}"


def _wanted(missing: Missing, aid: str) -> str:
    log = "the log" if missing.aid == aid else f"the log of {missing.aid}"
    if missing.want is Want.EVENT:
        return f"event {missing.sn:x} of {log}"
    where = "" if missing.aid == aid else f" in {log}"
    detail = f" ({missing.detail})" if missing.detail else ""
    return f"{missing.want.value}{where}{detail}"


def _problem_line(problem: Problem) -> str:
    place = "" if problem.start is None else f" at byte {problem.start}"
    subject = problem.subject
    if subject is None:
        size = (problem.end or 0) - (problem.start or 0)
        what = f"{size} bytes" if size else "message"
    elif subject.sn is None:
        what = f"{subject.message_type} {subject.said}"
    else:
        what = f"{subject.message_type} {subject.sn:x} of {subject.aid}"
    return f"refused: {what}{place}: {printable(str(problem.error))}"


def _log_value(report: LogReport) -> dict[str, Any]:
    value: dict[str, Any] = {
        "aid": report.aid,
        "accepted": report.accepted,
        "superseded": report.superseded,
        "state": None,
        "pending": [_held_value(held) for held in report.pending],
        "duplicity": [_evidence_value(one) for one in report.duplicity],
        "dismissed": [_evidence_value(one) for one in report.dismissed],
    }
    if report.state is not None:
        state, last = report.state, report.state.establishment
        value["state"] = {
            "sn": f"{state.sn:x}",
            "said": state.said,
            "signing_keys": [key.text for key in last.signing_keys],
            "signing_threshold": last.signing_threshold.field,
            "next_key_digests": list(last.next_key_digests),
            "next_threshold": last.next_threshold.field,
            "witnesses": list(last.witnesses),
            "witness_threshold": last.witness_threshold,
            "delegator": last.delegator,
            "configuration_traits": list(last.configuration_traits),
            "ended": not last.transferable,
        }
    return value


def _evidence_value(evidence: DuplicityEvidence) -> dict[str, Any]:
    return {
        "sn": f"{evidence.sn:x}",
        "first_seen": evidence.accepted.event.said,
        "other": evidence.other.said,
    }


def _held_value(held: Held) -> dict[str, Any]:
    message = held.waiting.message
    sn = getattr(message, "sn", None)
    return {
        "type": message.message_type,
        "sn": None if sn is None else f"{sn:x}",
        "said": message.said,
        "waits_for": [
            {
                "what": missing.want.name.lower(),
                "aid": missing.aid,
                "sn": f"{missing.sn:x}",
                "said": missing.said,
                "detail": missing.detail,
            }
            for missing in sorted(held.missing, key=lambda one: one.key[:3])
        ],
    }


def _problem_value(problem: Problem) -> dict[str, Any]:
    subject = problem.subject
    return {
        "code": str(problem.error.code),
        "message": problem.error.message,
        "hint": problem.error.hint,
        "start": problem.start,
        "end": problem.end,
        "type": None if subject is None else subject.message_type,
        "aid": None if subject is None else subject.aid,
        "sn": None if subject is None or subject.sn is None else f"{subject.sn:x}",
        "said": None if subject is None else subject.said,
    }
