"""`keystead doctor`: check a wallet whole, and put in order what can be."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from keystead.cesr.keys import Aid
from keystead.cli.output import ExitCode, as_json, printable, say_error
from keystead.cli.wallets import (
    WalletPlace,
    find_unlocked,
    marks_folder,
    open_locked,
    wallet_options,
)
from keystead.errors import ErrorCode, StoreError
from keystead.owner import doctor as checks
from keystead.owner.control import Control, Standing
from keystead.owner.doctor import Repair, Report
from keystead.owner.findings import Finding, Kind, Severity
from keystead.owner.wallet import Wallet
from keystead.stores import files, fsck, replaying
from keystead.stores.wallet import FILE, SqliteWallet

MARKS: Final = "marks"
_SHOWN: Final = 10  # findings of one kind
_NOTHING: Final = Report(unlocked=False, findings=(), identifiers=(), entries=0, keys=0)
_NOT_REPAIRED: Final = Repair((), ())


@click.command(
    epilog="""\b
Examples:
  keystead doctor                                 everything while the wallet is unlocked
  keystead doctor --passphrase-file alice.txt     everything, whether it is unlocked or not
  keystead doctor --repair                        finish what a crash has interrupted

\b
Exit codes: 0 nothing has to be done, 1 problems were found. Notes are no problems."""
)
@wallet_options
@click.option("--repair", is_flag=True, help="Finish what was interrupted, then check again.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def doctor(place: WalletPlace, *, repair: bool, json_output: bool) -> None:
    """Check that everything in the wallet is as it was written, and that its keys are here.

    Logs are verified again from the bytes that were signed, the history from its first entry on,
    and the public half of each key is derived anew. While the wallet is locked, and without
    --passphrase-file or --passphrase-fd, only what is not encrypted is checked.

    --repair finishes events that a crash interrupted, erases what was to be erased, and makes anew
    what is derived from other data. It deletes nothing. It asks for the passphrase when the wallet
    is locked.
    """
    report, repaired = _examined(place, repair=repair)
    if json_output:
        click.echo(as_json(_as_value(place, report, repaired)))
    else:
        for line in _lines(report, repaired):
            click.echo(printable(line))
    problems = [one for one in report.findings if one.severity is Severity.PROBLEM]
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        say_error(f"{number} found", problems[0].meaning.todo)
    elif repaired.failed:
        say_error(repaired.failed[0])
    failed = problems or repaired.failed
    click.get_current_context().exit(ExitCode.FAILED if failed else ExitCode.DONE)


def _examined(place: WalletPlace, *, repair: bool) -> tuple[Report, Repair]:
    """Check a wallet; where nothing more can be read, tell what was found up to there."""
    found = list(_file_findings(place))
    try:
        store = SqliteWallet.open(place.home)
    except StoreError as error:
        if error.code is ErrorCode.STORE_CORRUPT:
            found.append(Finding(Kind.STORE_DAMAGED, "the database", error.message))
        elif error.code is not ErrorCode.STORE_PERMISSIONS or not found:
            raise
        return _with(found, _NOTHING), _NOT_REPAIRED
    with closing(store), _opened(place, store, wanted=repair) as wallet:
        repaired = _NOT_REPAIRED
        if repair and wallet is not None:
            repaired = checks.repair(wallet, lambda: replaying.rebuild(store.database))
        found += _mark_findings(store)
        return _with(found, _report(store, wallet)), repaired


@contextmanager
def _opened(place: WalletPlace, store: SqliteWallet, *, wanted: bool) -> Iterator[Wallet | None]:
    """Open the wallet as far as that can be done without asking, or at all if it is wanted."""
    try:
        store.envelope()
    except StoreError as error:
        # Without one nobody can open it; an interrupted init has left nothing to check.
        if error.code is not ErrorCode.STORE_MISSING or not store.audit_head()[0]:
            raise
        yield None
        return
    given = place.passphrase.file is not None or place.passphrase.fd is not None
    with find_unlocked(place, store) as unlocked:
        if unlocked is None and (given or wanted):
            yield open_locked(place, store, examined=True)[0]
        else:
            yield unlocked


def _report(store: SqliteWallet, wallet: Wallet | None) -> Report:
    def below(own: Collection[Aid]) -> Iterator[tuple[str, str]]:
        return ((one.where, one.what) for one in fsck.check(store.database, own=own))

    shown = sys.stderr is not None and sys.stderr.isatty()
    try:
        return checks.examine(
            store,
            wallet,
            below,
            moment=store.database.snapshot(),
            progress=_show if shown else lambda *_: None,
        )
    finally:
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def _show(what: str, done: int, total: int) -> None:
    click.echo(f"\r\x1b[Kchecking: {what}, {done:,} of {total:,}", nl=False, err=True)


def _with(found: list[Finding], report: Report) -> Report:
    return Report(
        report.unlocked,
        (*found, *report.findings),
        report.identifiers,
        report.entries,
        report.keys,
    )


def _file_findings(place: WalletPlace) -> Iterator[Finding]:
    """Check who can reach the files of the wallet."""
    yield from _reachable(files.check_folder, place.home)
    for path in sorted(place.home.glob(f"{FILE}*")):
        yield from _reachable(files.check_file, path)


def _mark_findings(store: SqliteWallet) -> Iterator[Finding]:
    """Check who can reach the marks of the wallet."""
    try:
        folder = marks_folder(store.envelope().wallet)
    except StoreError:
        return  # told already
    if folder.exists():
        yield from _reachable(files.check_folder, folder)
        yield from _reachable(files.check_file, folder / MARKS)


def _reachable(check: Callable[[Path], object], path: Path) -> Iterator[Finding]:
    try:
        check(path)
    except StoreError as error:
        if error.code is ErrorCode.STORE_PERMISSIONS:
            yield Finding(Kind.FILE_PERMISSIONS, str(path), error.message)


def _lines(report: Report, repaired: Repair) -> Iterator[str]:
    yield from repaired.done
    yield from (f"not done: {one}" for one in repaired.failed)
    by_kind: defaultdict[Kind, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        by_kind[finding.kind].append(finding)
    for kind, found in by_kind.items():
        meaning = found[0].meaning
        yield f"{meaning.severity} {kind}: {meaning.means}"
        yield from (f"  {one.about}: {one.what}" for one in found[:_SHOWN])
        if len(found) > _SHOWN:
            yield f"  and {len(found) - _SHOWN} more, see --json"
        yield f"  what to do: {meaning.todo}"
    yield from _totals(report)


def _totals(report: Report) -> Iterator[str]:
    if report.unlocked:
        can = Counter(one.can_rotate for one in report.identifiers)
        told = ", ".join(f"{count} {_CAN[one]}" for one, count in can.items())
        yield f"identifiers  {len(report.identifiers)}" + (f": {told}" if told else "")
        yield f"keys         {report.keys}"
    yield f"history      {report.entries} entries"
    yield "nothing has to be done" if report.fine else "not everything is as it should be"


_CAN: Final = {
    Control.YES: "can rotate",
    Control.NO: "cannot rotate",
    Control.SHARED: "can rotate together with others",
    Control.ENDED: "have ended",
    Control.WAITS: "wait for their delegators",
    Control.UNKNOWN: "not known whether they can rotate",
}


def _as_value(place: WalletPlace, report: Report, repaired: Repair) -> dict[str, Any]:
    return {
        "home": str(place.home),
        "fine": report.fine,
        "unlocked": report.unlocked,
        "entries": report.entries,
        "keys": report.keys,
        "identifiers": [_standing_value(one) for one in report.identifiers],
        "findings": [_finding_value(one) for one in report.findings],
        "repaired": list(repaired.done),
        "not_repaired": list(repaired.failed),
    }


def _standing_value(standing: Standing) -> dict[str, Any]:
    sn = None if standing.sn is None else f"{standing.sn:x}"
    return {
        "name": standing.name,
        "aid": standing.aid,
        "sn": sn,
        "can_rotate": standing.can_rotate.value,
    }


def _finding_value(finding: Finding) -> dict[str, Any]:
    meaning = finding.meaning
    return {
        "kind": finding.kind.value,
        "severity": meaning.severity.value,
        "about": finding.about,
        "detail": finding.what,
        "means": meaning.means,
        "to_do": meaning.todo,
    }
