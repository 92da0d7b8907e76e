"""Streams from files into the wallet's logs."""

from collections.abc import Container, Iterable, Iterator
from typing import Final

import msgspec

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.errors import DecodeError, ErrorCode
from keystead.keri import forms
from keystead.keri.events import FIELDS, AnyKeyEvent, DelegatedInception, DelegatedRotation
from keystead.keri.messages import parse_message
from keystead.keri.verdicts import Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor, Result
from keystead.owner.wallet import Wallet

# Tuples, for what a message calls its type need not even be text.
_KEY_EVENTS: Final = tuple(FIELDS)
_DELEGATED: Final = (DelegatedInception.message_type, DelegatedRotation.message_type)


class Delegates(msgspec.Struct, frozen=True, gc=False):
    """Who is delegated in a stream, by events whose digests are right; they may be unsigned.

    Attributes:
        delegators: by whom, for each delegate whose first event is there; in their order.
        rotated: delegates of which there are rotations.
    """

    delegators: dict[Aid, Aid]
    rotated: frozenset[Aid]


def bounded(pieces: Iterable[bytes]) -> list[bytes]:
    """Read a stream that is kept in memory, and no more of it than anybody needs.

    Raises:
        DecodeError: it is longer (decode.limit).
    """
    found, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > DEFAULT_LIMITS.exchange:
            what = f"the file is longer than {DEFAULT_LIMITS.exchange:,} bytes"
            hint = "a request or an answer of a delegation is shorter; check that it is one"
            raise DecodeError(ErrorCode.LIMIT, what, hint=hint)
        found.append(piece)
    return found


def delegates_in(pieces: Iterable[bytes]) -> Delegates:
    """Tell who is delegated in a stream; nothing is kept.

    Raises:
        DecodeError: the stream is malformed, or one of these events.
        VerificationError: one of these events does not have the digest that it names.
    """
    delegators: dict[Aid, Aid] = {}
    rotated = set()
    for event in _delegated(pieces):
        if isinstance(event, DelegatedInception):
            delegators[event.aid] = event.delegator
        else:
            rotated.add(event.aid)
    return Delegates(delegators, frozenset(rotated))


def take_in(
    wallet: Wallet,
    pieces: Iterable[bytes],
    *,
    own: Iterable[Aid] = (),
    only: Container[Aid] | None = None,
    source: Source,
) -> list[Result]:
    """Verify a stream and keep what is valid in the wallet's logs.

    Args:
        wallet: whose logs.
        pieces: the stream.
        own: identifiers whose events are taken from local sources only; those of their own
            delegated events need no approval here, as they are made here.
        only: identifiers whose key events are taken in, and nothing else; None for all that
            there is.
        source: where the stream comes from.

    Returns:
        What became of each message.

    Raises:
        DecodeError: the stream is malformed.
    """
    processor = EventProcessor(wallet.events, own=own)
    results: list[Result] = []
    now = wallet.now()
    for item in _messages(processor.reader(), pieces):
        if only is None or _is_of(item, only):
            results.extend(processor.process(item, source=source, now=now))
    return results


def _messages(reader: StreamReader, pieces: Iterable[bytes]) -> Iterator[Message]:
    """Give the messages of a stream; the first thing that is none is an error."""
    for piece in pieces:
        reader.feed(piece)
        yield from _well_formed(reader)
    reader.close()
    yield from _well_formed(reader)


def _well_formed(reader: StreamReader) -> Iterator[Message]:
    for item in reader:
        if isinstance(item, Malformed):
            raise item.error
        yield item


def _delegated(pieces: Iterable[bytes]) -> Iterator[AnyKeyEvent]:
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    for item in _messages(reader, pieces):
        if item.body.get("t") in _DELEGATED:
            event = parse_message(item, DEFAULT_LIMITS)
            if isinstance(event, DelegatedInception | DelegatedRotation):
                yield event


def _is_of(item: Message, only: Container[Aid]) -> bool:
    aid = item.body.get("i")
    return item.body.get("t") in _KEY_EVENTS and isinstance(aid, str) and aid in only
