"""What `keystead id` takes: numbers, thresholds, digests, seals."""

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from keystead.cesr.keys import DIGEST_PATTERN, Aid, Digest, is_aid
from keystead.cli.source import read_chunks
from keystead.errors import ErrorCode, UsageError
from keystead.keri import seals
from keystead.keri.seals import DigestSeal, EventSeal, OtherData, Seal, SourceSeal
from keystead.suites import Suite

if TYPE_CHECKING:
    from keystead.keri.oobi import Oobi
    from keystead.keri.thresholds import Field

Result = TypeVar("Result")

ALGORITHMS: Final = {
    "ed25519": Suite.ED25519,
    "p256": Suite.SECP256R1,
    "secp256k1": Suite.SECP256K1,
}
_WEIGHTS: Final = re.compile(r"[0-9/]+(,[0-9/]+)*(:[0-9/]+(,[0-9/]+)*)*")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")
_PLACE: Final = re.compile(r"0|[1-9a-f][0-9a-f]{0,14}")
_IDENTIFIERS: Final = ("aid", "backer")


def key_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options on the keys that it makes."""
    for option in (
        click.option("--token", metavar="NAME", help="Make the keys in this token."),
        click.option(
            "--algorithm", type=click.Choice(list(ALGORITHMS)), help="Algorithm of the keys made."
        ),
        click.option(
            "--reserve",
            metavar="DIGEST",
            multiple=True,
            help="Commit to a key that somebody else keeps in reserve; may be repeated.",
        ),
        click.option(
            "--next-threshold",
            metavar="T",
            help="Which of the next keys, own ones first, the next rotation needs.",
        ),
        click.option("--next-keys", type=int, metavar="N", help="Own keys to commit to."),
        click.option(
            "--threshold", metavar="T", help="Keys needed to sign: 2, or weights 1/2,1/2,1/2."
        ),
    ):
        command = option(command)
    return command


def witness_threshold_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the option `--witness-threshold`."""
    return click.option(
        "--witness-threshold",
        type=click.IntRange(min=0),
        metavar="N",
        help="Receipts that each event needs.",
    )(command)


def json_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the option `--json`."""
    return click.option("--json", "json_output", is_flag=True, help="One JSON object.")(command)


def read_threshold(text: str | None) -> "Field | None":
    """Return a threshold as events carry it.

    Raises:
        UsageError: it is neither a number nor weights (usage.argument).
    """
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        return f"{int(text):x}"
    if _WEIGHTS.fullmatch(text):
        clauses: list[Field] = [list(clause.split(",")) for clause in text.split(":")]
        return clauses[0] if len(clauses) == 1 else clauses
    if text.startswith("["):
        found = _read_json(text, "threshold")
        if isinstance(found, list):
            return found
    hint = "for example 2, or 1/2,1/2,1/2, or two clauses that must both be met: 1/2,1/2:1,1"
    raise UsageError(ErrorCode.ARGUMENT, f"{text[:80]!r} is no threshold", hint=hint)


def read_digest(text: str) -> Digest:
    """Return a digest.

    Raises:
        UsageError: it is none (usage.argument).
    """
    if not DIGEST_PATTERN.fullmatch(text):
        hint = "a digest is CESR text, most have 44 characters and begin with E"
        raise UsageError(ErrorCode.ARGUMENT, f"{text[:80]!r} is no digest", hint=hint)
    return Digest(text)


def read_aid(text: str) -> Aid:
    """Return an identifier of somebody.

    Raises:
        UsageError: it is none (usage.argument).
    """
    if not is_aid(text):
        hint = "an identifier is CESR text, most have 44 characters and begin with E"
        raise UsageError(ErrorCode.ARGUMENT, f"{text[:80]!r} is no identifier", hint=hint)
    return Aid(text)


def read_witness(text: str) -> Aid:
    """Return a witness, by its identifier or by an introduction that names it.

    Raises:
        UsageError: it is neither (usage.argument).
    """
    if is_aid(text):
        return Aid(text)
    from keystead.errors import DecodeError  # noqa: PLC0415 - seldom needed
    from keystead.keri.oobi import parse_oobi  # noqa: PLC0415 - as above
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above

    with suppress(DecodeError):
        oobi = parse_oobi(text, DEFAULT_LIMITS)
        if found := oobi.path.eid or oobi.aid:
            return found
    hint = "give its identifier, as keystead id show tells it"
    raise UsageError(ErrorCode.ARGUMENT, f"{text[:80]!r} names no witness", hint=hint)


def read_oobi(text: str) -> "Oobi":
    """Return the introduction that a URL is.

    Raises:
        UsageError: it is none (usage.argument).
    """
    from keystead.errors import DecodeError  # noqa: PLC0415 - seldom needed
    from keystead.keri.oobi import parse_oobi  # noqa: PLC0415 - as above
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above

    try:
        return parse_oobi(text, DEFAULT_LIMITS)
    except DecodeError as error:
        hint = "it looks like https://HOST/oobi/IDENTIFIER/witness/WITNESS"
        raise UsageError(ErrorCode.ARGUMENT, error.message, hint=hint) from None


def read_place(text: str | None) -> int | None:
    """Return a place in a log, which is written in hexadecimal.

    Raises:
        UsageError: it is none (usage.argument).
    """
    if text is None:
        return None
    if not _PLACE.fullmatch(text):
        hint = "as keystead id show tells it, in lower-case hexadecimal: 9, a, 1f"
        raise UsageError(ErrorCode.ARGUMENT, f"{text[:80]!r} is no place in a log", hint=hint)
    return int(text, 16)


def read_seals(digests: Iterable[str], files: Iterable[str], values: Iterable[str]) -> list[Seal]:
    """Return seals: of digests, then of files, then those given as JSON.

    Raises:
        UsageError: one is none (usage.argument), or a file cannot be read (usage.file).
    """
    from keystead.owner.documents import digest_of  # noqa: PLC0415 - only for files

    found: list[Seal] = [DigestSeal(read_digest(one)) for one in digests]
    found += [DigestSeal(digest_of(read_chunks(name))) for name in files]
    return found + [_read_seal(one) for one in values]


def _read_seal(text: str) -> Seal:
    seal = seals.parse_seal(_read_json(text, "seal"))
    hint = 'for example {"d":"DIGEST"}, or {"i":"IDENTIFIER","s":"PLACE","d":"DIGEST"}'
    if isinstance(seal, OtherData):
        raise UsageError(ErrorCode.ARGUMENT, f"{text[:80]!r} is no seal", hint=hint)
    if not isinstance(seal, EventSeal | SourceSeal):  # those were checked when they were read
        for name in seal.__struct_fields__:
            value = getattr(seal, name)
            good = is_aid(value) if name in _IDENTIFIERS else DIGEST_PATTERN.fullmatch(value)
            if name != "type" and not good:
                what = f"{value[:80]!r} in a seal is no digest or identifier"
                raise UsageError(ErrorCode.ARGUMENT, what, hint=hint)
    return seal


def _read_json(text: str, what: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise UsageError(ErrorCode.ARGUMENT, f"the {what} is no JSON: {text[:80]!r}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a label twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)
