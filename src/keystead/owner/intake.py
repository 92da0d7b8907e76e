"""Streams from files into the wallet's logs."""

from collections.abc import Container, Iterable

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Malformed
from keystead.keri.verdicts import Source
from keystead.node.ingest import EventProcessor, Result
from keystead.owner.wallet import Wallet


def take_in(
    wallet: Wallet,
    pieces: Iterable[bytes],
    *,
    own: Iterable[Aid] = (),
    skipped: Container[Aid] = (),
    source: Source,
) -> list[Result]:
    """Verify a stream and keep what is valid in the wallet's logs.

    Args:
        wallet: whose logs.
        pieces: the stream.
        own: identifiers whose events are taken from local sources only; those of their own
            delegated events need no approval here, as they are made here.
        skipped: identifiers whose events are passed over.
        source: where the stream comes from.

    Returns:
        What became of each message.

    Raises:
        DecodeError: the stream is malformed.
    """
    processor = EventProcessor(wallet.events, own=own)
    reader = processor.reader()
    results: list[Result] = []
    now = wallet.now()

    def take() -> None:
        for item in reader:
            if isinstance(item, Malformed):
                raise item.error
            if item.body.get("i") in skipped:
                continue
            results.extend(processor.process(item, source=source, now=now))

    for piece in pieces:
        reader.feed(piece)
        take()
    reader.close()
    take()
    return results
