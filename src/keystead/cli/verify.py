"""`keystead verify`: what the signature of a document is worth."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from keystead.cesr.keys import Aid, is_aid
from keystead.cesr.stream import Malformed
from keystead.cli.output import ExitCode, as_json, printable, say
from keystead.cli.source import read_chunks
from keystead.cli.wallets import HOME, home_folder
from keystead.errors import (
    DecodeError,
    ErrorCode,
    StoreError,
    UsageError,
    VerificationError,
)
from keystead.keri.verdicts import Rejected
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor
from keystead.owner.compromises import compromises
from keystead.owner.documents import DocumentSignature, digest_of, read_signature
from keystead.owner.standing import UNDECIDED, Verdict, explain, judge_signature
from keystead.ports import EventStore
from keystead.stores.memory import MemoryStore

_STREAM: Final = "-"
_ENDING: Final = ".sig"
_WALLET: Final = "of the wallet"  # in the place of a file
_PLACES: Final = ("sn", "rotated_at", "anchored_at", "compromised_since", "log_sn")
# Whoever asks names the logs, so no identifier has to be kept from pushing out others.
_LIMITS: Final = replace(
    DEFAULT_LIMITS,
    held_events=DEFAULT_LIMITS.held_total,
    records_of_signer=DEFAULT_LIMITS.records,
)


@click.command(
    epilog="""\b
Examples:
  keystead verify contract.pdf --log alice.cesr  with contract.pdf.sig, offline
  keystead verify contract.pdf --log alice.cesr --by "$ALICE"
                                                 and nobody else may have signed
  keystead verify --json contract.pdf            with the logs of your wallet
  tar c photos | keystead verify - --signature photos.sig --log alice.cesr

\b
Exit codes: 0 valid, 3 not valid or duplicitous, 4 not decided: the log is not known, or
too short.""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--signature", "name", metavar="FILE", help="The signature; otherwise FILE.sig.")
@click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    help="A log that the signer has exported; can be given again. Otherwise the wallet's.",
)
@click.option("--by", metavar="AID", help="Refuse a signature by any other identifier.")
@click.option(
    "--home",
    metavar="FOLDER",
    help=f"Folder of the wallet; otherwise ${HOME}, or the usual place of your system.",
)
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def verify(
    file: str,
    *,
    name: str | None,
    logs: tuple[str, ...],
    by: str | None,
    home: str | None,
    json_output: bool,
) -> None:
    """Tell what the signature of a document is worth, and why.

    FILE is the document; - is standard input. The answer tells who signed, with keys that are
    in force or were replaced since, what the log anchors, and what the owner tells of stolen
    keys. No wallet, passphrase or network is needed, only the log of the signer.
    """
    name = _checked(file, name, logs, by)
    signature = _read_signature(file, name)
    if by is not None and by != signature.aid:
        what = f"the signature is by {signature.aid}, not by {by}"
        hint = "ask for a signature by the right identifier"
        raise VerificationError(ErrorCode.SIGNER, what, hint=hint)
    store, incomplete = _known_logs(logs, home, signature.aid)
    digest = digest_of(read_chunks(file), signature.digest_code)
    verdict = judge_signature(signature, digest, store, compromises(store, signature.aid))
    undecided = verdict.standing in UNDECIDED
    if undecided and incomplete:
        say("note: parts of the log wait for others, such as the log of its delegator")
    if undecided and not logs:
        say("note: only the logs of your wallet are known; give others with --log FILE")
    if json_output:
        click.echo(as_json(_as_value(verdict)))
    else:
        for line in explain(verdict):
            click.echo(printable(line))
    click.get_current_context().exit(_conclude(verdict))


def _checked(file: str, name: str | None, logs: Sequence[str], by: str | None) -> str:
    """Check what is asked for, and return where the signature is.

    Raises:
        UsageError: something is missing or asked for twice (usage.argument), or there is no such
            document (usage.file).
    """
    if file != _STREAM and not Path(file).exists():
        raise UsageError(ErrorCode.FILE, f"there is no document {file}")
    if name is None:
        if file == _STREAM:
            what = "standard input has no name, so the signature is not known"
            raise UsageError(ErrorCode.ARGUMENT, what, hint="name it with --signature FILE")
        name = f"{file}{_ENDING}"
    if [file, name, *logs].count(_STREAM) > 1:
        raise UsageError(ErrorCode.ARGUMENT, "standard input is only one of the files")
    if by is not None and not is_aid(by):
        what = "--by takes an identifier, as it stands in the answer, not a name"
        raise UsageError(ErrorCode.ARGUMENT, what)
    return name


def _read_signature(file: str, name: str) -> DocumentSignature:
    """Read the signature.

    Raises:
        UsageError: it cannot be read (usage.file).
        DecodeError: it is none.
    """
    try:
        return read_signature(_start(name))
    except UsageError as error:
        hint = error.hint
        if _is_signature(file):
            hint = f"{file} is a signature; name the document that belongs to it"
        elif not Path(name).exists():
            hint = "name the signature with --signature FILE"
        raise UsageError(error.code, error.message, hint=hint) from None
    except DecodeError as error:
        hint = "this is no signature that keystead sign wrote, or it was changed"
        if _is_signature(file):
            hint = f"{file} is one: were the two taken for each other?"
        what = f"{name} is no signature: {error.message}"
        raise DecodeError(error.code, what, hint=hint) from None


def _start(name: str) -> bytes:
    """Return as much of a file as a signature can have, and a little more."""
    data = bytearray()
    for piece in read_chunks(name):
        data += piece
        if len(data) > DEFAULT_LIMITS.attachments:
            break
    return bytes(data)


def _is_signature(file: str) -> bool:
    """Tell whether the document is a signature itself."""
    if not Path(file).is_file():  # standard input and pipes cannot be read twice
        return False
    with suppress(UsageError, DecodeError):
        read_signature(_start(file))
        return True
    return False


def _known_logs(names: Sequence[str], home: str | None, aid: Aid) -> tuple[EventStore, bool]:
    """Verify the logs of the files, or else that of the signer in the wallet, if there is one.

    Returns:
        What was verified, and whether parts of the log of the signer wait for others.
    """
    memory = MemoryStore(_LIMITS)
    processor, now = EventProcessor(memory, limits=_LIMITS), datetime.now(UTC)
    waits = False
    if names:
        for name in names:
            _take(processor, name, read_chunks(name), now)
    else:
        waits = _take_known(processor, home, aid, now)
    return memory, waits or _waits(memory, aid)


def _take_known(processor: EventProcessor, home: str | None, aid: Aid, now: datetime) -> bool:
    """Verify the log of a signer from the raw bytes in the wallet; tell whether parts wait.

    What the wallet has computed of it, such as keys in force, is not believed: nothing but a
    passphrase would tell who wrote that.

    Raises:
        StoreError: the store cannot be read, or is not there though it was named.
    """
    from keystead.owner.exporting import known_log  # noqa: PLC0415 - not with exported logs
    from keystead.stores.wallet import SqliteWallet  # noqa: PLC0415 - as above

    try:
        wallet = SqliteWallet.open(home_folder(home))
    except StoreError as error:
        if home is not None or error.code is not ErrorCode.STORE_MISSING:
            raise
        return False
    try:
        stream = list(known_log(wallet.events, aid))
        waits = _waits(wallet.events, aid)
    finally:
        wallet.close()
    if stream:
        _take(processor, _WALLET, stream, now)
    return waits


def _waits(store: EventStore, aid: Aid) -> bool:
    return any(one.waiting.log == aid for one in store.waiting())


def _take(processor: EventProcessor, name: str, stream: Iterable[bytes], now: datetime) -> None:
    """Verify a log.

    Raises:
        UsageError: it cannot be read (usage.file).
        DecodeError: it is malformed, or empty.
    """
    reader = processor.reader()
    refused = size = 0
    check = "keystead doctor" if name == _WALLET else f"keystead log verify {name}"
    pieces: Iterator[bytes | None] = chain(stream, [None])
    for piece in pieces:
        if piece is None:
            reader.close()
        else:
            size += len(piece)
            reader.feed(piece)
        for item in reader:
            if isinstance(item, Malformed):
                hint = f"a log is what keystead id export writes; see: {check}"
                what = f"the log {name} is damaged at byte {item.start}: {item.error.message}"
                raise DecodeError(item.error.code, what, hint=hint)
            results = processor.process(item, now=now)
            refused += sum(_is_refused(one.verdict) for one in results)
    if not size:
        raise DecodeError(ErrorCode.EMPTY, f"the log {name} is empty")
    if refused:
        say(f"note: {refused} messages of {name} were refused; see: {check}")


def _is_refused(verdict: object) -> bool:
    if not isinstance(verdict, Rejected):
        return False
    return verdict.error.code is not ErrorCode.UNSUPPORTED_MESSAGE


def _conclude(verdict: Verdict) -> ExitCode:
    if verdict.valid:
        return ExitCode.DONE
    undecided = verdict.standing in UNDECIDED and not verdict.duplicitous
    return ExitCode.WAITING if undecided else ExitCode.INVALID


def _as_value(verdict: Verdict) -> dict[str, Any]:
    value = msgspec.structs.asdict(verdict)
    for name in _PLACES:
        value[name] = None if value[name] is None else f"{value[name]:x}"
    return {**value, "explanation": explain(verdict)}
