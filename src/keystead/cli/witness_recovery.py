"""How a restored witness sees the logs again whose events it has signed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keystead.cli.output import say
from keystead.cli.secrets import SecretSource, read_secret
from keystead.errors import ErrorCode, KeysteadError, UsageError

if TYPE_CHECKING:
    from keystead.cesr.keys import Aid
    from keystead.cesr.stream import Message
    from keystead.node.witness import Witness
    from keystead.services.witness_home import WitnessHome


def recover_from(
    home: "WitnessHome",
    passphrase: SecretSource,
    sources: Sequence[str],
    logs: Sequence[str],
    accepted: Sequence[str],
) -> tuple[bool, list[str]]:
    """Let a witness see logs again.

    Args:
        home: the witness.
        passphrase: of its key.
        sources: URLs of witnesses and watchers to ask.
        logs: files with logs.
        accepted: identifiers whose logs are given up.

    Returns:
        Whether it was in quarantine; the identifiers whose logs it has not seen.

    Raises:
        UsageError: a file cannot be read (usage.file).
        KeysteadError: the witness cannot be opened, or two of its receipts contradict each other
            (keystore.second_event).
    """
    from keystead.keystores.passphrase import normalized  # noqa: PLC0415 - for --help
    from keystead.node.witness import CLOSED  # noqa: PLC0415 - as above

    secret = normalized(read_secret(passphrase, "Passphrase of the witness: "))
    with home.opened(secret, CLOSED) as witness:
        quarantined = witness.quarantined
        for aid, _ in list(witness.store.unconfirmed()):
            # All of them: any may have what the others have not seen.
            found = [one for stream in _streams(aid, sources, logs) for one in _messages(stream)]
            witness.recover(aid, found, datetime.now(UTC))
        for name in accepted:
            _give_up(witness, name)
        return quarantined, [str(aid) for aid, _ in witness.store.unconfirmed()]


def tell_next(own: str, left: Sequence[str]) -> None:
    """Say what to do about logs that were not seen again.

    Args:
        own: the witness.
        left: whose logs are missing; the witness itself stands for logs that it may have forgotten.
    """
    if any(aid != own for aid in left):
        say("get each log from other witnesses (--from URL), or from its owner (--log FILE)")
    if own in left:
        say(f"{own} is the witness itself: it stands for logs that this machine knows nothing of")
        say(f"when you have given all logs that there are: --accept {own}")
    say("the risk of --accept: what it signed and nobody showed it, it may now contradict")


def _give_up(witness: "Witness", text: str) -> None:
    from keystead.cesr.keys import Aid  # noqa: PLC0415 - for --help

    if not witness.give_up(Aid(text)):
        what = f"the log of {text[:64]} does not wait to be seen again"
        raise UsageError(ErrorCode.UNKNOWN, what, hint="see: keystead witness status")


def _streams(aid: "Aid", sources: Sequence[str], logs: Sequence[str]) -> Iterator[bytes]:
    for name in logs:
        try:
            yield Path(name).read_bytes()
        except OSError as error:
            raise UsageError(ErrorCode.FILE, f"cannot read {name}: {error.strerror}") from None
    if not sources:
        return
    from keystead.ports.transport import Call  # noqa: PLC0415 - for --help
    from keystead.transports.client import HttpTransport  # noqa: PLC0415 - as above
    from keystead.transports.guard import FetchPolicy  # noqa: PLC0415 - as above

    # The operator names these servers himself, and they may be beside this one.
    policy = FetchPolicy(allow_http=True, allow_loopback=True, allow_private=True)
    transport = HttpTransport(policy)
    for source in sources:
        url = f"{source.rstrip('/')}/query?typ=kel&pre={aid}"
        try:
            answer = transport.call(Call("GET", url))
        except KeysteadError as error:
            say(f"{source} does not answer: {error.code}")
            continue
        if answer.status == 200:  # noqa: PLR2004 - OK
            yield answer.body


def _messages(stream: bytes) -> list["Message"]:
    from keystead.cesr.stream import Message, StreamReader  # noqa: PLC0415 - for --help
    from keystead.keri import forms  # noqa: PLC0415 - as above
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above

    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(stream)
    reader.close()
    return [one for one in reader if isinstance(one, Message)]
