"""`keystead log state`: what several watchers say, if they agree."""

import re
import secrets
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.fetching import Network, network_options
from keystead.cli.output import ExitCode, as_json, printable, say, say_error
from keystead.cli.wallets import now
from keystead.errors import ErrorCode, KeysteadError, TransportError, UsageError, VerificationError
from keystead.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from keystead.cesr.keys import Aid
    from keystead.node.agreement import Question, Statement

_AGE: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST_WATCHERS: Final = 32


def seconds(text: str | None) -> float | None:
    """Read a length of time such as 90, 90s, 5m, 1h or 2d.

    Raises:
        UsageError: it is something else (usage.argument).
    """
    if text is None:
        return None
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(
            ErrorCode.ARGUMENT, "that is no length of time", hint="such as 30s, 5m, 1h"
        )
    return float(int(match[1]) * _UNITS[match[2]])


@click.command(
    epilog="""\b
Examples:
  keystead log state AID --watcher BWATCHER@https://w.example --max-age 5m
  keystead log state AID --watcher B1@https://one.example --watcher B2@https://two.example --require 2

\b
Exit codes: 0 enough watchers agree, 3 they do not, or know of duplicity, 5 too few answered."""
)
@click.argument("aid")
@click.option(
    "--watcher",
    "watchers",
    multiple=True,
    required=True,
    metavar="[EID@]URL",
    help="A watcher to ask; with its identifier, so that nobody else can answer for it.",
)
@click.option("--require", type=click.IntRange(1), help="So many must agree; otherwise all.")
@click.option("--max-age", metavar="TIME", help="Confirmed no longer ago than this, such as 5m.")
@click.option(
    "--sources",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="So many sources must have confirmed it to each watcher.",
)
@network_options
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def state(  # noqa: PLR0913 - one for each option
    aid: str,
    watchers: tuple[str, ...],
    *,
    require: int | None,
    max_age: str | None,
    sources: int,
    network: Network,
    json_output: bool,
) -> None:
    """Ask watchers for the state of an identifier; tell it only if enough of them agree.

    Each answer is signed by its watcher, for this question. What is told is never the current
    state, but the latest that was confirmed, by whom, and how long ago.
    """
    from keystead.cesr.keys import Aid, is_aid  # noqa: PLC0415 - for --help
    from keystead.node.agreement import Question, agreed  # noqa: PLC0415 - as above
    from keystead.node.freshness import Policy  # noqa: PLC0415 - as above

    if not is_aid(aid):
        raise UsageError(ErrorCode.ARGUMENT, "that is no identifier")
    named = [read_watcher(one) for one in dict.fromkeys(watchers)]
    required = require or len(named)
    if required > len(named) or len(named) > _MOST_WATCHERS:
        raise UsageError(ErrorCode.ARGUMENT, f"{required} of {len(named)} watchers cannot agree")
    policy = Policy(seconds(max_age), sources)
    question = Question(Aid(aid), secrets.token_urlsafe(16), policy, now())
    statements, problems = _ask(named, question, network)
    found: Statement | None = None
    error: KeysteadError | None = None
    try:
        if len(statements) < required and any(
            isinstance(one, TransportError) for _, one in problems
        ):
            what = f"{len(statements)} of {required} needed watchers answered"
            raise TransportError(ErrorCode.UNREACHABLE, what)
        found = agreed([one for _, one in statements], required, policy)
    except KeysteadError as failed:
        error = failed
    if json_output:
        click.echo(as_json(_value(aid, required, found, error, statements, problems)))
    else:
        _tell(found, statements)
    for url, problem in problems:
        say(f"{url}: {problem}")
    if error is not None:
        raise error
    duplicity = {said for _, one in statements for said in one.duplicity}
    if duplicity:
        hint = (
            f"get the proofs from the watchers: curl URL/evidence/{aid}; keystead log compare FILE"
        )
        say_error(f"watchers have proofs of duplicity: {len(duplicity)} other versions", hint)
        click.get_current_context().exit(ExitCode.INVALID)


def read_watcher(text: str) -> "tuple[Aid | None, str]":
    """Read who a watcher is, if that is told, and where.

    Raises:
        UsageError: it is no identifier (usage.argument).
        DecodeError: the URL is none of a service (decode.value).
    """
    from keystead.cesr.keys import Aid, is_aid  # noqa: PLC0415 - for --help
    from keystead.keri.oobi import parse_base  # noqa: PLC0415 - as above

    eid, at, url = text.rpartition("@")
    if at and not is_aid(eid):
        raise UsageError(ErrorCode.ARGUMENT, "a watcher is named IDENTIFIER@URL or URL")
    return (Aid(eid) if eid else None), parse_base(url.rstrip("/"), DEFAULT_LIMITS)


def _ask(
    named: "list[tuple[Aid | None, str]]", question: "Question", network: Network
) -> "tuple[list[tuple[str, Statement]], list[tuple[str, KeysteadError]]]":
    """Ask all at the same time; return what was said, and who gave no answer that counts."""
    from keystead.node.agreement import read_statement  # noqa: PLC0415 - for --help
    from keystead.ports.transport import Call  # noqa: PLC0415 - as above

    calls = [Call("GET", f"{url}/state/{question.aid}?nonce={question.nonce}") for _, url in named]
    statements, problems = [], []
    for place, answer in network.transport().call_all(calls):
        eid, url = named[place]
        try:
            if isinstance(answer, TransportError):
                raise answer
            if answer.status == 404:  # noqa: PLR2004 - HTTP
                what = "it does not follow this identifier (for its operator: watcher add)"
                raise VerificationError(ErrorCode.FRESHNESS, what)
            if answer.status != 200:  # noqa: PLR2004 - HTTP
                what = f"the watcher answered with status {answer.status}"
                raise VerificationError(ErrorCode.FRESHNESS, what)
            statements.append((url, read_statement(answer.body, answer.headers, eid, question)))
            if eid is None:
                say(f"note: whether {url} is who you think, its identifier would tell: EID@URL")
        except KeysteadError as error:
            problems.append((url, error))
    return statements, problems


def _tell(found: "Statement | None", statements: "list[tuple[str, Statement]]") -> None:
    for url, one in statements:
        if one.sn is None:
            click.echo(printable(f"{url}: knows no event"))
            continue
        line = (
            f"{url}: event {one.sn:x} {one.said}, confirmed by {one.confirmed_by} of {one.sources}"
        )
        if one.oldest_age is not None:
            line += f", the earliest {one.oldest_age:.0f} s ago"
        click.echo(printable(line))
    if found is not None and found.sn is not None:
        click.echo(f"agreed: event {found.sn:x} {found.said}")


def _value(
    aid: str,
    required: int,
    found: "Statement | None",
    error: KeysteadError | None,
    statements: "list[tuple[str, Statement]]",
    problems: "list[tuple[str, KeysteadError]]",
) -> dict[str, Any]:
    return {
        "aid": aid,
        "required": required,
        "agreed": None if found is None else _statement_value(found),
        "error": None if error is None else {"code": str(error.code), "message": error.message},
        "watchers": [{"url": url, **_statement_value(one)} for url, one in statements],
        "problems": [
            {"url": url, "code": str(one.code), "message": one.message} for url, one in problems
        ],
    }


def _statement_value(one: "Statement") -> dict[str, Any]:
    return {
        "watcher": one.watcher,
        "at": one.at.isoformat(),
        "sn": None if one.sn is None else f"{one.sn:x}",
        "said": one.said,
        "confirmed_by": one.confirmed_by,
        "sources": one.sources,
        "oldest_age": one.oldest_age,
        "duplicity": list(one.duplicity),
    }
