"""`keystead history`: what was done with the wallet, by whom and why."""

from typing import Any

import click

from keystead.cli.output import as_json, printable
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.owner.records import AuditEntry


@click.command(
    epilog="""\b
Examples:
  keystead history                               everything, the latest last
  keystead history --last 20                     the last twenty entries
  keystead history --json                        for programs"""
)
@wallet_options
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N entries.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def history(place: WalletPlace, *, last: int | None, json_output: bool) -> None:
    """Show the audit log of the wallet: each record that was written, when, by whom and why.

    The log is chained, so nothing can be taken out of it unnoticed; keystead doctor checks that.
    """
    with open_wallet(place) as wallet:
        entries = wallet.records.history()
    shown = entries if last is None else entries[-last:]
    if json_output:
        click.echo(as_json({"entries": [_as_value(one) for one in shown]}))
        return
    for one in shown:
        click.echo(printable(_line(one)))


def _line(entry: AuditEntry) -> str:
    note = entry.note
    about = f"{entry.kind} {entry.id}" + ("" if entry.digest else " (deleted)")
    step = f": {note.before or 'new'} -> {note.after}" if note.after else ""
    reason = f" ({note.reason})" if note.reason else ""
    at = entry.at[:19].replace("T", " ")
    return f"{entry.number:6}  {at}  {entry.actor}  {note.action}  {about}{step}{reason}"


def _as_value(entry: AuditEntry) -> dict[str, Any]:
    note = entry.note
    return {
        "number": entry.number,
        "at": entry.at,
        "actor": entry.actor,
        "action": note.action,
        "kind": entry.kind,
        "id": entry.id,
        "deleted": not entry.digest,
        "before": note.before,
        "after": note.after,
        "reason": note.reason,
        "evidence": note.evidence,
    }
