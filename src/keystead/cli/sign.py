"""`keystead sign`: a detached signature of a document."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from keystead.cli.collecting import Collecting, collect_for, collecting_options
from keystead.cli.files import check_place, read_start, write_file
from keystead.cli.output import ExitCode, as_json, printable, say
from keystead.cli.source import read_chunks
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import DecodeError, ErrorCode, UsageError
from keystead.keri.seals import EventSeal
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.documents import (
    DocumentSignature,
    digest_of,
    read_signature,
    write_signature,
)
from keystead.owner.signing import Signed, only_signer, sign_document

STREAM: Final = "-"
# Name of a hash -> code of its digests.
_HASHES: Final = {"blake3": "E", "sha3-256": "H", "sha256": "I"}


@click.command(
    epilog="""\b
Examples:
  keystead sign contract.pdf                     writes contract.pdf.sig
  keystead sign contract.pdf --as alice --anchor
                                                 and has the log of alice tell when
  tar c photos | keystead sign - -o photos.sig   a stream of any length

\b
Without --as, the only identifier of the wallet signs. Your log goes with the signature:
`keystead id export` writes it, `keystead verify` compares them.""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--as", "name", metavar="NAME", help="The identifier that signs.")
@click.option(
    "--anchor",
    is_flag=True,
    help="Also anchor the digest in the log, unless it is there: then nobody who gets hold of "
    "the keys later can have signed.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    help="Where the signature goes; otherwise FILE.sig, for a stream standard output.",
)
@click.option("--force", is_flag=True, help="Replace the file of the signature if it is there.")
@click.option(
    "--hash",
    "hash_name",
    type=click.Choice(list(_HASHES)),
    default="blake3",
    show_default=True,
    help="How the document is hashed.",
)
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
@collecting_options
@wallet_options
def sign(  # noqa: PLR0913 - one for each option
    place: WalletPlace,
    *,
    file: str,
    name: str | None,
    anchor: bool,
    output: str | None,
    force: bool,
    hash_name: str,
    collecting: Collecting,
    json_output: bool,
) -> None:
    """Sign a document, with the keys that the log of an identifier names last.

    FILE can be of any kind and size; - is standard input. It stays as it is: the signature is a
    file of its own. Signing the same document again with the same keys changes nothing.
    """
    target = _target(file, output)
    before = _checked(file, target, force=force)
    with open_wallet(place) as wallet:
        record = wallet.identifier(name) if name is not None else only_signer(wallet)
        digest = digest_of(read_chunks(file), _HASHES[hash_name])
        known = None if before is None else _known(before, digest, target)
        done = sign_document(wallet, record.aid, digest, anchored=anchor, known=known)
        data = write_signature(done.signature)
        if target != STREAM and done.fresh:
            write_file(target, data, replace=force)
        code = collect_for(wallet, record.aid, collecting) if anchor else ExitCode.DONE
    _tell(file, target, done, data, json_output=json_output)
    click.get_current_context().exit(code)


def _target(file: str, output: str | None) -> str:
    if output is None:
        return STREAM if file == STREAM else f"{file}.sig"
    return output


def _checked(file: str, target: str, *, force: bool) -> bytes | None:
    """Check where the signature goes, before anything is read or signed.

    Returns:
        What is there already and must not be replaced; None when nothing is.

    Raises:
        UsageError: the document is no file; or its signature would take its place, or that of
            something that is no file, or cannot be written (usage.file).
    """
    if file != STREAM and Path(file).is_dir():
        hint = "sign a file, such as an archive of the folder"
        raise UsageError(ErrorCode.FILE, f"{file} is a folder", hint=hint)
    if file != STREAM and not Path(file).exists():
        raise UsageError(ErrorCode.FILE, f"there is no file {file}")
    if target == STREAM:
        return None
    with suppress(OSError):
        if file != STREAM and Path(target).samefile(file):
            what = f"{target} is the document itself"
            raise UsageError(ErrorCode.FILE, what, hint="name another file with -o")
    if not check_place(target) or force:
        return None
    return read_start(target, DEFAULT_LIMITS.attachments + 1)


def _known(before: bytes, digest: str, target: str) -> DocumentSignature:
    """Return the signature that is there already.

    Raises:
        UsageError: there is something else (usage.exists).
    """
    with suppress(DecodeError):
        known = read_signature(before)
        if known.digest == digest:
            return known
    what = f"{target} exists and is no signature of this document as it is now"
    hint = "write to another file with -o, or replace it with --force"
    raise UsageError(ErrorCode.EXISTS, what, hint=hint)


def _tell(file: str, target: str, done: Signed, data: bytes, *, json_output: bool) -> None:
    """Show what was done; a signature that goes to standard output stands there alone."""
    signature, signatory = done.signature, done.signature.signatory
    if json_output:
        anchored_at = None if done.anchored_at is None else f"{done.anchored_at:x}"
        told = {
            "signature": data.decode(),
            "output": None if target == STREAM else target,
            "fresh": done.fresh,
            "name": done.record.name,
            "aid": signature.aid,
            "sn": f"{signatory.sn:x}" if isinstance(signatory, EventSeal) else None,
            "digest": signature.digest,
            "anchored_at": anchored_at,
        }
        click.echo(as_json(told))
        return
    subject = "standard input" if file == STREAM else file
    lines = [f"{subject} is signed by {done.record.name}, {signature.aid}"]
    if not done.fresh:
        lines[0] = f"{subject} was signed already by {done.record.name}, {signature.aid}"
    if done.anchored_at is not None:
        lines.append(f"event {done.anchored_at:x} of the log anchors it")
    if target == STREAM:
        click.echo(data.decode(), nl=False)
        for line in lines:
            say(line)
        return
    for line in [*lines, f"the signature is in {target}"]:
        click.echo(printable(line))
