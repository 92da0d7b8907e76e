"""What commands tell of logs that were found and of contacts, for people and for programs."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.files import write_file
from keystead.cli.output import ExitCode, printable, say, say_error
from keystead.errors import ErrorCode
from keystead.keri.routed import EndRole, Location
from keystead.owner.contacts import Contact, Known, challenge_state
from keystead.owner.discovery import Found

if TYPE_CHECKING:
    from keystead.keri.keystate import AcceptedEvent
    from keystead.ports import EventStore


def found_value(found: Found, contact: Contact | None) -> dict[str, Any]:
    """Return what was found, for programs."""
    roles = [one.statement for one in found.records if isinstance(one.statement, EndRole)]
    places = [one.statement for one in found.records if isinstance(one.statement, Location)]
    return {
        "aid": found.aid,
        "url": found.oobi.url,
        "contact": None if contact is None else contact.name,
        **_head_value(found.head),
        "known_before": None if found.before is None else f"{found.before:x}",
        "confirmed": len(found.confirmed),
        "sources": [
            {
                "url": one.url,
                "witness": one.witness,
                "log": one.standing.name.lower(),
                "problem": one.problem,
            }
            for one in found.told
        ],
        "duplicitous": bool(found.duplicity),
        "duplicity": [f"{one.sn:x}" for one in found.duplicity],
        "dismissed": [f"{one.sn:x}" for one in found.dismissed],
        "rolled_back": found.rolled_back,
        "foreign": list(found.foreign),
        "asked_at": found.asked_at,
        "age_seconds": 0,
        "endpoints": [
            {"role": one.role, "eid": one.eid, "allowed": one.allowed}
            for one in roles
            if one.cid == found.aid
        ],
        "locations": [{"eid": one.eid, "url": one.url} for one in places],
        "refused": found.refused,
    }


def found_lines(found: Found, contact: Contact | None) -> Iterator[str]:
    """Give what was found line by line, for people."""
    yield f"{printable(contact.name)} is {found.aid}" if contact is not None else found.aid
    if found.head is None:
        yield "  a key that cannot rotate; no log is needed"
    else:
        yield from _head_lines(found.head)
        if found.witnesses:
            yield f"  confirmed by {len(found.confirmed)} of {len(found.witnesses)} witnesses"
    for one in found.told:
        who = f"witness {one.witness}" if one.witness is not None else "service"
        why = f": {one.problem}" if one.problem else ""
        yield f"  {who} at {printable(one.url)} {one.standing.value}{printable(why)}"
    for record in found.records:
        statement = record.statement
        if isinstance(statement, EndRole) and statement.cid == found.aid:
            verb = "acts" if statement.allowed else "no longer acts"
            yield f"  {statement.eid} {verb} as {statement.role}"
        elif isinstance(statement, Location) and statement.url:
            yield f"  {statement.eid} is at {printable(statement.url)}"


def contact_value(known: Known, now: datetime) -> dict[str, Any]:
    """Return a contact, for programs."""
    contact = known.contact
    challenge = contact.challenge
    return {
        **listed_value(contact),
        "inception": contact.inception,
        "added_at": contact.added_at,
        "url": contact.url or None,
        **_head_value(known.head),
        "found_at": contact.found_at,
        "age_seconds": int((now - datetime.fromisoformat(contact.found_at)).total_seconds()),
        "confirmed": contact.confirmed,
        "duplicitous": bool(known.duplicity),
        "duplicity": [f"{one.sn:x}" for one in known.duplicity],
        "dismissed": [f"{one.sn:x}" for one in known.dismissed],
        "endpoints": [{"role": role, "eid": eid} for role, eid in contact.endpoints],
        "challenge": challenge_state(contact, known.state, now),
        "answered_at": challenge.answered_at or None if challenge is not None else None,
    }


def contact_lines(known: Known, now: datetime) -> Iterator[str]:
    """Give a contact line by line, for people."""
    contact = known.contact
    yield f"{printable(contact.name)} is {contact.aid}"
    yield from _head_lines(known.head)
    seconds = int((now - datetime.fromisoformat(contact.found_at)).total_seconds())
    source = printable(contact.url) or "a file"
    yield f"  last found {contact.found_at}, {age(seconds)} ago, by {source}"
    if witnesses := known.state.establishment.witnesses:
        yield f"  confirmed then by {contact.confirmed} of {len(witnesses)} witnesses"
    state = challenge_state(contact, known.state, now)
    yield f"  challenge: {_CHALLENGES[state]}"
    if state == "answered" and contact.challenge is not None:
        yield f"  answered at {contact.challenge.answered_at}"
    for role, eid in contact.endpoints:
        yield f"  {eid} acts as {role}"


def listed_value(contact: Contact) -> dict[str, Any]:
    """Return what a list tells of a contact, for programs."""
    return {
        "name": contact.name,
        "aid": contact.aid,
        "found_sn": f"{contact.sn:x}",
        "found_at": contact.found_at,
    }


def age(seconds: int) -> str:
    """Return a length of time, for people."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def warn(found: Found, store: "EventStore", evidence: str | None) -> ExitCode:
    """Tell what speaks against a log, the worst first, and return how the command ends."""
    code = conclude(found.aid, found, kept=evidence is not None)
    proofs = (*found.duplicity, *found.dismissed)
    if proofs and evidence is not None:
        from keystead.node.replay import evidence_stream  # noqa: PLC0415 - seldom needed

        write_file(evidence, b"".join(evidence_stream(store, proofs)), replace=False)
        say(f"wrote evidence of duplicity to {evidence}")
    if found.foreign:
        what = (
            f"there are {len(found.foreign)} events of your identifier that are not in this wallet"
        )
        hint = f"export them from there, then: keystead id reconcile {found.aid} --log FILE"
        say_error(f"{what} [{ErrorCode.BEHIND}]", hint)
        code = ExitCode.INVALID
    if found.rolled_back:
        what = "every service gives a log that ends before what was seen already"
        hint = "they were set back, or hide later events: ask other ones"
        say_error(f"{what} [{ErrorCode.STALE}]", hint)
        code = ExitCode.INVALID
    return code


def conclude(aid: str, known: Found | Known, *, kept: bool) -> ExitCode:
    """Tell of duplicity, and return how the command ends."""
    keep = "" if kept else "; keep the proof with --evidence NEW_FILE"
    if known.dismissed:
        say(
            f"note: somebody who has old keys of {aid} or its delegator made another history; the"
            f" one that was seen first stands{keep}"
        )
    if not known.duplicity:
        return ExitCode.DONE
    what = f"{aid} is duplicitous: its log exists in two versions, both signed"
    say_error(f"{what} [{ErrorCode.SUPERSEDING}]", f"do not trust this identifier{keep}")
    return ExitCode.INVALID


def check_new(name: str | None) -> None:
    """Check that there is room for a new file; told at once, not after the work is done."""
    if name is not None and Path(name).exists():
        from keystead.cli.files import refuse_existing  # noqa: PLC0415 - seldom needed

        refuse_existing(name)


def finish(code: ExitCode) -> None:
    """End the command."""
    click.get_current_context().exit(code)


_CHALLENGES = {
    "none": "never asked; see: keystead contact challenge --help",
    "asked": "asked, not answered yet",
    "expired": "not answered in time",
    "answered": "answered with the keys that are in force",
    "stale": "the keys changed since; ask again",
}


def _head_value(head: "AcceptedEvent | None") -> dict[str, Any]:
    if head is None:
        labels = ("sn", "said", "keys", "witnesses", "witness_threshold", "receipts", "seen_at")
        return dict.fromkeys(labels)
    last = head.state.establishment
    return {
        "sn": f"{head.event.sn:x}",
        "said": head.event.said,
        "keys": len(last.signing_keys),
        "witnesses": len(last.witnesses),
        "witness_threshold": last.witness_threshold,
        "receipts": len({one.index for one in head.proofs.witness_signatures}),
        "seen_at": head.first_seen_at,
    }


def _head_lines(head: "AcceptedEvent") -> Iterator[str]:
    last = head.state.establishment
    receipts = len({one.index for one in head.proofs.witness_signatures})
    yield f"  event {head.event.sn:x}, {head.event.said}, seen {head.first_seen_at}"
    if last.witnesses:
        yield f"  {receipts} of {len(last.witnesses)} witnesses signed it, it needs {last.witness_threshold}"
    else:
        yield "  it has no witnesses: whoever has the keys can show others another log"
