"""`keystead log compare`: what a proof of duplicity proves, or what two logs differ in."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.output import ExitCode, as_json, printable, say, say_error
from keystead.cli.source import read_chunks
from keystead.errors import DecodeError, ErrorCode

if TYPE_CHECKING:
    from keystead.node.audit import Audit
    from keystead.node.bundles import Observation, Proof
    from keystead.node.comparing import Comparison, Difference, Finding, Version

_TYPES: Final = {
    "icp": "inception",
    "dip": "delegated inception",
    "rot": "rotation",
    "drt": "delegated rotation",
    "ixn": "interaction",
}
_MEANINGS: Final = {
    "retired_keys": (
        "The other version is signed by keys that the log has replaced since. Whoever made it has"
        " old keys and tried a second history. That is a dead attack: the first seen stands, and"
        " whoever has seen it is not deceived. Keep this proof."
    ),
    "taken_back": (
        "The first version is a rotation, and the other an interaction at its place, signed by the"
        " keys that the rotation replaced. So the owner has taken it back, or somebody used the"
        " old keys afterwards. The rotation stands; trust nothing that the interaction anchors."
    ),
    "current_keys": (
        "Both versions are signed by keys that are in force. The controller tells two stories, or"
        " somebody else has the current keys. Rely on nothing from this place on before the"
        " controller has explained it and rotated the keys."
    ),
    "next_keys": (
        "Both versions set new keys, and both are signed by keys that the log had committed to."
        " The controller tells two stories, or somebody else has the next keys too. A rotation"
        " does not help against that: do not trust this identifier any more."
    ),
    "unapproved": (
        "Both versions are rotations of a delegated identifier, and by the approvals of its"
        " delegator that are in these logs the other may not take the place of the first. Ask the"
        " delegator; he can replace keys that are stolen."
    ),
}
_STILL_BELIEVABLE: Final = (
    "The other version is signed by keys that the log has replaced since, and has all the receipts"
    " that it needs, if it needs any. So whoever sees it first will believe it. The controller has"
    " told two stories, or somebody with old keys and witnesses tells one. Rely on nothing from"
    " this place on before the controller has explained it."
)
_HEADLINES: Final = {
    "retired_keys": "A HISTORY BY OLD KEYS, which does not stand",
    "taken_back": "A HISTORY THAT A ROTATION TAKES BACK, which does not stand",
}
_RELATIONS: Final = {
    "equal": "the same log",
    "first_is_longer": "the second is an older copy of the first",
    "second_is_longer": "the first is an older copy of the second",
    "recovered": "a rotation in one of them takes back what the other holds; that is a recovery",
    "forked": "two histories that cannot both be true",
}


@click.command(
    epilog="""\b
Examples:
  keystead log compare proof.cesr                explain a proof of duplicity
  keystead log compare --json proof.cesr         the same for programs
  keystead log compare alice.cesr other.cesr     compare two logs

\b
Exit codes: 0 the logs agree, 3 two signed versions are proven, or the input is not valid."""
)
@click.argument("files", nargs=-1, required=True, metavar="FILE [FILE2]")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def compare(files: tuple[str, ...], *, json_output: bool) -> None:
    """Verify a proof of duplicity, or compare two logs; tell what it means.

    One FILE is a proof, as watchers and keystead log verify --evidence make it. Nothing but the
    file is needed, neither a wallet nor a network.
    """
    if len(files) > 2:  # noqa: PLR2004 - one bundle or two logs
        raise click.UsageError("Got unexpected extra argument")
    if len(files) == 1:
        code = _explain_bundle(files[0], json_output=json_output)
    else:
        code = _compare_files(files[0], files[1], json_output=json_output)
    click.get_current_context().exit(code)


def _explain_bundle(name: str, *, json_output: bool) -> ExitCode:
    from keystead.node.bundles import read_bundle  # noqa: PLC0415 - for --help
    from keystead.node.comparing import explain  # noqa: PLC0415 - as above
    from keystead.stores.memory import MemoryStore  # noqa: PLC0415 - as above

    proof = read_bundle(_read(name), MemoryStore(), datetime.now(UTC))
    findings = [explain(proof.store, one) for one in proof.evidence]
    if json_output:
        click.echo(as_json(_bundle_value(proof, findings)))
    else:
        for line in _bundle_lines(proof, findings):
            click.echo(printable(line))
    return ExitCode.INVALID if findings else ExitCode.DONE


def _compare_files(first: str, second: str, *, json_output: bool) -> ExitCode:
    from keystead.node.comparing import compare_logs, explain  # noqa: PLC0415 - for --help
    from keystead.stores.memory import MemoryStore  # noqa: PLC0415 - as above

    audits = [_audited(name) for name in (first, second)]
    one, two = (audit.store for audit in audits)
    known = [list(audit.store.identifiers()) for audit in audits]
    both = [aid for aid in known[0] if aid in known[1]]
    compared = [compare_logs(one, two, aid, MemoryStore, audits[0].now) for aid in both]
    own = [explain(store, evidence) for store, aids in zip((one, two), known, strict=True)
           for aid in aids for evidence in store.duplicity(aid)]  # fmt: skip
    only = [[aid for aid in aids if aid not in both] for aids in known]
    if json_output:
        value = {
            "kind": "logs",
            "identifiers": [_comparison_value(one) for one in compared],
            "only_in_first": only[0],
            "only_in_second": only[1],
            "findings": [_finding_value(one) for one in own],
        }
        click.echo(as_json(value))
    else:
        for line in _comparison_lines(compared, own, only):
            click.echo(printable(line))
    refused = sum(sum(audit.refused.values()) for audit in audits)
    if refused:
        hint = "see which with: keystead log verify FILE"
        say_error(f"{refused} messages are not valid and were not compared", hint)
    proven = own or any(one.findings for one in compared)
    return ExitCode.INVALID if proven or refused else ExitCode.DONE


def _read(name: str) -> bytes:
    from keystead.node.bundles import MOST_BYTES  # noqa: PLC0415 - for --help

    pieces, size = [], 0
    for piece in read_chunks(name):
        size += len(piece)
        if size > MOST_BYTES:
            raise DecodeError(ErrorCode.LIMIT, f"the input has more than {MOST_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _audited(name: str) -> "Audit":
    from keystead.node.audit import Audit  # noqa: PLC0415 - for --help
    from keystead.stores.memory import MemoryStore  # noqa: PLC0415 - as above

    audit = Audit(MemoryStore(), datetime.now(UTC))
    for piece in read_chunks(name):
        audit.feed(piece)
    audit.close()
    if not audit.read:
        raise DecodeError(ErrorCode.EMPTY, "the input is empty")
    if audit.waiting:
        say(f"note: {audit.waiting} messages of {name} wait for others and were not compared")
    return audit


def _bundle_lines(proof: "Proof", findings: "list[Finding]") -> Iterator[str]:
    if not findings:
        yield "the logs agree: there is no second version of an event"
    for finding in findings:
        yield from finding_lines(finding, proof.observation)
        yield ""
    if findings and proof.observation is None:
        yield "Nobody has signed when this was observed; the events prove themselves all the same."


def finding_lines(finding: "Finding", observation: "Observation | None" = None) -> Iterator[str]:
    """Explain a proven duplicity, line by line."""
    headline = "DUPLICITY" if finding.counts else _HEADLINES[finding.meaning.value]
    yield f"{headline}: two signed events at one place of {finding.aid}"
    yield f"  place:       event {finding.sn:x}; the log goes on to event {finding.last_sn:x}"
    if observation is not None:
        yield f"  observed:    {observation.observed_at} by watcher {observation.watcher}"
        for source in observation.sources:
            yield f"  served by:   {source}"
    yield from _version_lines("first seen", finding.first)
    yield from _version_lines("and also", finding.other)
    yield "  they differ in:"
    for difference in finding.differences:
        yield from _difference_lines(difference)
    yield ""
    yield f"  What it means: {_explanation(finding)}"
    if finding.corrupt:
        yield "  These witnesses gave receipts for both, which no honest witness does:"
        yield from (f"    {one}" for one in finding.corrupt)
    elif finding.receipted_both:
        yield "  These witnesses gave receipts for both; the rules of recovery allow that:"
        yield from (f"    {one}" for one in finding.receipted_both)
    elif not finding.other.receipted_by:
        yield "  No witness has given a receipt for the other version."


def _explanation(finding: "Finding") -> str:
    if finding.counts and finding.meaning.value == "retired_keys":
        return _STILL_BELIEVABLE
    return _MEANINGS[finding.meaning.value]


def _version_lines(label: str, version: "Version") -> Iterator[str]:
    kind = _TYPES.get(version.message_type, version.message_type)
    when = f", accepted {version.first_seen_at}" if version.first_seen_at else ""
    yield f"  {label + ':':<12} {version.said}  ({kind}{when})"
    for key in version.signers:
        yield f"    signed by key        {key}"
    for witness in version.receipted_by:
        yield f"    receipt of witness   {witness}"


def _difference_lines(difference: "Difference") -> Iterator[str]:
    for label, value in (("first seen", difference.first), ("and also", difference.other)):
        yield f"    {difference.field}, {label}: {_shown(value)}"


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return " ".join(f"{label}={part}" for label, part in value.items())
    return str(value)


def _comparison_lines(
    compared: "list[Comparison]", own: "list[Finding]", only: list[list[Any]]
) -> Iterator[str]:
    for one in compared:
        yield one.aid
        yield f"  {_RELATIONS[one.relation.value]}"
        if one.relation.value == "equal":
            yield f"  both end with event {one.sn:x}"
        else:
            yield f"  they differ from event {one.sn:x} on"
            yield f"    first:  {one.first or 'ends before it'}"
            yield f"    second: {one.second or 'ends before it'}"
        for finding in one.findings:
            yield from finding_lines(finding)
        yield ""
    for finding in own:
        yield from finding_lines(finding)
        yield ""
    for label, aids in zip(("first", "second"), only, strict=True):
        yield from (f"only in the {label}: {aid}" for aid in aids)
    if not compared:
        yield "the files have no identifier in common"


def _bundle_value(proof: "Proof", findings: "list[Finding]") -> dict[str, Any]:
    seen = proof.observation
    return {
        "kind": "bundle",
        "duplicity": bool(findings),
        "observation": None
        if seen is None
        else {
            "watcher": seen.watcher,
            "observed_at": seen.observed_at,
            "aid": seen.aid,
            "sn": f"{seen.sn:x}",
            "first": seen.first,
            "other": seen.other,
            "sources": list(seen.sources),
        },
        "findings": [_finding_value(one) for one in findings],
    }


def _comparison_value(one: "Comparison") -> dict[str, Any]:
    return {
        "aid": one.aid,
        "relation": one.relation.value,
        "sn": f"{one.sn:x}",
        "first": one.first,
        "second": one.second,
        "findings": [_finding_value(finding) for finding in one.findings],
    }


def _finding_value(finding: "Finding") -> dict[str, Any]:
    return {
        "aid": finding.aid,
        "sn": f"{finding.sn:x}",
        "last_sn": f"{finding.last_sn:x}",
        "meaning": finding.meaning.value,
        "counts": finding.counts,
        "explanation": _explanation(finding),
        "first": _version_value(finding.first),
        "other": _version_value(finding.other),
        "differences": [
            {"field": one.field, "first": one.first, "other": one.other}
            for one in finding.differences
        ],
        "receipted_both": list(finding.receipted_both),
        "corrupt_witnesses": list(finding.corrupt),
    }


def _version_value(version: "Version") -> dict[str, Any]:
    return {
        "said": version.said,
        "type": version.message_type,
        "signed_by": list(version.signers),
        "receipted_by": list(version.receipted_by),
        "first_seen_at": version.first_seen_at or None,
    }
