"""The option `--invitations`: codes that witnesses gave to let an identifier in."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import click
import msgspec

from keystead.cesr.keys import Aid, is_aid
from keystead.cli.collecting import Collecting, find_witnesses
from keystead.cli.secrets import private_file
from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.owner.wallet import Wallet

Result = TypeVar("Result")

# One line has a URL and a code; nobody has more witnesses than lines fit in here.
_MOST_BYTES: Final = 64 * 1024
_CODE: Final = re.compile(r"[!-~]{1,256}")  # what a header carries
_HINT: Final = "each line is the URL or the identifier of a witness, a blank, and its code"


class Invitation(msgspec.Struct, frozen=True, gc=False):
    """A line of the file. It holds a secret, so it is never shown.

    Attributes:
        line: its number, from 1.
        witness: URL or identifier.
        code: what the witness wants to see.
    """

    line: int
    witness: str
    code: str


def invitations_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the option `--invitations`, as the lines of the file."""
    return click.option(
        "--invitations",
        metavar="FILE",
        callback=lambda _context, _option, path: read_invitations(path),
        help="Codes of witnesses that take no strangers: lines of WITNESS CODE, in a file that only"
        " you can read.",
    )(command)


def read_invitations(path: str | None) -> list[Invitation]:
    """Return the lines of a file, which only its owner may be able to read; of no file none.

    Raises:
        UsageError: it cannot be read, or others can read it (usage.file); or a line is none
            (usage.argument). What is in the line is not repeated.
    """
    if path is None:
        return []
    from keystead.keystores.hardening import harden  # noqa: PLC0415 - only for those who need it

    harden()
    try:
        with private_file(path) as fd:
            data = b""
            while len(data) <= _MOST_BYTES and (part := os.read(fd, _MOST_BYTES + 1)):
                data += part
    except OSError as error:
        what = f"cannot read the file of --invitations: {error.strerror}"
        raise UsageError(ErrorCode.FILE, what) from None
    if len(data) > _MOST_BYTES:
        what = f"the file of --invitations is larger than {_MOST_BYTES:,} bytes"
        raise UsageError(ErrorCode.FILE, what)
    lines = enumerate(data.decode(errors="replace").splitlines(), 1)
    return [_read_line(number, line) for number, line in lines if line.strip()]


def find_invited(
    wallet: "Wallet",
    texts: Sequence[str],
    collecting: Collecting,
    given: Sequence[Invitation],
    name: str = "",
) -> tuple[tuple[Aid, ...], dict[Aid, str]]:
    """Return who is meant by URLs and identifiers of witnesses, and the codes for them.

    Args:
        wallet: whose.
        texts: the URLs and identifiers.
        collecting: whom the command may reach.
        given: the lines with codes.
        name: of the identifier that gets the witnesses; codes may be for those of it, too.

    Raises:
        KeysteadError: as `find_witnesses` and `codes_for`.
    """
    found = find_witnesses(wallet, texts, collecting)
    before = witnesses_of(wallet, name) if given and name else ()
    named = dict(zip(texts, found, strict=True))
    return found, codes_for(wallet, given, (*before, *found), named)


def witnesses_of(wallet: "Wallet", name: str) -> tuple[Aid, ...]:
    """Return the witnesses of an identifier after its last event."""
    from keystead.owner.witnesses import latest  # noqa: PLC0415 - for --help

    return latest(wallet, wallet.identifier(name)).witnesses


def keep_codes(wallet: "Wallet", name: str, codes: Mapping[Aid, str]) -> None:
    """Keep codes with the work for witnesses of an identifier; see `renewal.invite`."""
    if codes:
        from keystead.owner.renewal import invite  # noqa: PLC0415 - for --help

        invite(wallet, wallet.identifier(name).aid, codes)


def codes_for(
    wallet: "Wallet",
    given: Sequence[Invitation],
    witnesses: Iterable[Aid],
    named: Mapping[str, Aid],
) -> dict[Aid, str]:
    """Return the code for each witness that lines name.

    Args:
        wallet: knows where witnesses are reached.
        given: the lines.
        witnesses: who may be meant.
        named: witnesses by what the command calls them.

    Raises:
        UsageError: a line names nobody of them, or one that another line names (usage.argument).
    """
    if not given:
        return {}
    from keystead.owner.discovery import locations  # noqa: PLC0415 - for --help

    meant = {_plain(text): aid for text, aid in named.items()}
    for aid in witnesses:
        meant[aid] = aid
        meant |= {_plain(url): aid for url in locations(wallet.events, aid)}
    codes: dict[Aid, str] = {}
    for one in given:
        witness = meant.get(_plain(one.witness)) or _introduced(one.witness)
        if witness is None or witness not in meant.values():
            what = f"line {one.line} of --invitations names no witness that is asked here"
            raise UsageError(ErrorCode.ARGUMENT, what, hint="name it as --witness does")
        if witness in codes:
            what = f"line {one.line} of --invitations names a witness for the second time"
            raise UsageError(ErrorCode.ARGUMENT, what, hint=_HINT)
        codes[witness] = one.code
    return codes


def _read_line(number: int, line: str) -> Invitation:
    parts = line.split()
    if len(parts) != 2 or not _CODE.fullmatch(parts[1]):  # noqa: PLR2004 - witness and code
        what = f"line {number} of --invitations is no witness with a code"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=_HINT)
    return Invitation(number, *parts)


def _plain(text: str) -> str:
    return text if is_aid(text) else text.rstrip("/").removesuffix("/oobi")


def _introduced(text: str) -> Aid | None:
    """Return the witness that an introduction names."""
    from keystead.errors import DecodeError  # noqa: PLC0415 - seldom needed
    from keystead.keri.oobi import parse_oobi  # noqa: PLC0415 - as above
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above

    with suppress(DecodeError):
        oobi = parse_oobi(text, DEFAULT_LIMITS)
        return oobi.path.eid or oobi.aid
    return None
