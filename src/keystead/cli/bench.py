"""`keystead bench`: what a server bears, with every answer checked."""

from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.output import ExitCode, as_json, say

if TYPE_CHECKING:
    from keystead.services.load_witness import Target

_MEBIBYTE: Final = 1024 * 1024


@click.group()
def bench() -> None:
    """Measure what servers bear; every answer is checked."""


@bench.command(
    epilog="""\b
Examples:
  keystead bench witness --receipts 2000
  keystead bench witness --receipts 20000 --require 2000 --require-p99 50
  keystead bench witness --slow 2000 --require-p99 250
  keystead bench witness --flood 100000
  keystead bench witness --url http://127.0.0.1:5642 --receipts 100 --json

\b
Without --url it measures a witness of its own in a temporary folder. A witness elsewhere must let
in strangers, and take events that fast: keystead witness serve --open 1000 --event-rate 1000."""
)
@click.option("--url", metavar="URL", help="Witness to measure; otherwise one of its own.")
@click.option(
    "--callers",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Callers at once; each waits for its receipt before it asks for the next.",
)
@click.option(
    "--receipts",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    help="Receipts in all, of each phase.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=600.0,
    show_default=True,
    help="End a phase after so long.",
)
@click.option(
    "--slow",
    type=click.IntRange(0, 100_000),
    default=0,
    metavar="N",
    help="Then again, beside N connections that send a byte a second.",
)
@click.option(
    "--flood",
    type=click.IntRange(0, 10_000_000),
    default=0,
    metavar="N",
    help="Then again, beside N events of strangers.",
)
@click.option("--require", type=click.FloatRange(0), metavar="RATE", help="Receipts a second.")
@click.option(
    "--require-p99",
    type=click.FloatRange(0),
    metavar="MS",
    help="Milliseconds within which 99 of 100 receipts must come, in every phase.",
)
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def witness(  # noqa: PLR0913 - one parameter for each option
    *,
    url: str | None,
    callers: int,
    receipts: int,
    seconds: float,
    slow: int,
    flood: int,
    require: float | None,
    require_p99: float | None,
    json_output: bool,
) -> None:
    """Ask a witness for receipts as fast as it gives them, and check each of them."""
    from keystead.services import load_witness  # noqa: PLC0415 - for --help

    plan = load_witness.Plan(callers, receipts, seconds, slow, flood)
    if url is not None:
        target = load_witness.other_witness(url)
        report = _report(target, load_witness.measure(target, plan))
    else:
        with load_witness.own_witness() as target:
            report = _report(target, load_witness.measure(target, plan))
    missed = _missed(report["phases"], require, require_p99)
    report["missed"] = missed
    if json_output:
        click.echo(as_json(report))
    else:
        for phase in report["phases"]:
            _show(phase)
        for one in missed:
            say(f"missed: {one}")
    if missed:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _report(target: "Target", phases: list[dict[str, Any]]) -> dict[str, Any]:
    return {"witness": target.aid, "phases": phases}


def _missed(
    phases: list[dict[str, Any]], rate: float | None, milliseconds: float | None
) -> list[str]:
    """Return what is not as it must be, or was to be."""
    missed = []
    for one in phases:
        name = one["phase"]
        missed += [f"{name}: {count} x {what}" for what, count in one["wrong"].items()]
        if not one["receipts"]:
            missed.append(f"{name}: no receipt at all")
        if milliseconds is not None and one["p99_ms"] > milliseconds:
            missed.append(f"{name}: p99 {one['p99_ms']} ms > {milliseconds:g} ms")
    if rate is not None and phases[0]["rate"] < rate:
        missed.append(f"{phases[0]['rate']}/s < {rate:g}/s")
    return missed


def _show(phase: dict[str, Any]) -> None:
    click.echo(
        f"{phase['phase'] + ':':7}{phase['receipts']} receipts, all checked, {phase['rate']:.0f}/s;"
        f" p50 {phase['p50_ms']} ms, p99 {phase['p99_ms']} ms, max {phase['max_ms']} ms"
    )
    if "memory" in phase:
        before, after = phase["memory_before"] / _MEBIBYTE, phase["memory"] / _MEBIBYTE
        size = phase["database"] / _MEBIBYTE
        click.echo(
            f"       CPU for each: witness {phase['witness_microseconds']} µs, signer"
            f" {phase['signer_microseconds']} µs; memory {before:.0f} to {after:.0f} MiB;"
            f" database {size:.1f} MiB"
        )
    if "strangers_answered" in phase:
        answers = ", ".join(f"{n} x {status}" for status, n in phase["strangers_answered"].items())
        click.echo(f"       strangers were answered: {answers}")
