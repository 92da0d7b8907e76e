"""Who a witness is, and what it has to know before it can receipt an event."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid, is_aid
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.cesr.writing import write_groups
from keystead.errors import DecodeError, ErrorCode, TransportError, UsageError
from keystead.keri import forms
from keystead.keri.oobi import parse_base, parse_oobi
from keystead.keri.routed import Location, Record
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor
from keystead.node.replay import replay_approved
from keystead.owner.discovery import Found, locations, resolve
from keystead.owner.outbox import Delivery
from keystead.owner.wallet import Wallet
from keystead.owner.witnesses import Shown
from keystead.ports import EventStore
from keystead.ports.transport import Transport

_SCHEMES: Final = ("https", "http")
# Bytes of an introduction that go in one request, but for a single message that is larger. What
# witnesses take at once is their own matter; events of usual size come to hundreds here.
_PART: Final = 256 * 1024


def introduction(store: EventStore, shown: Shown, delivery: Delivery) -> tuple[list[bytes], bool]:
    """Return what a witness has to know before an event of a log.

    That is, for one that is new, the log so far; and for a delegated event the log of the
    delegator, up to the approval.

    Args:
        store: where all of it is.
        shown: the event.
        delivery: the work for the witness.

    Returns:
        The messages that come next, as many as fit into one request, and whether they are all.
    """
    new = delivery.log or delivery.witness in shown.added
    messages = list(_logs(store, shown, new=new))[delivery.sent :]
    size = 0
    for count, message in enumerate(messages):
        size += len(message)
        if count and size > _PART:
            return messages[:count], False
    return messages, True


def neighbours(
    store: EventStore, shown: Shown, witness: Aid, places: Collection[int]
) -> Iterator[bytes]:
    """Give what other witnesses signed about where they are reached, as far as that is news.

    A witness tells it to those who ask there for the log. It takes it only once the log names them,
    so it is told together with their receipts.

    Args:
        store: where it is.
        shown: the event.
        witness: who is told.
        places: of the others in the witness list.
    """
    new = shown.added if shown.event.sn else shown.witnesses
    for place in places:
        other = shown.witnesses[place]
        if witness not in new and other not in new:
            continue
        for scheme in _SCHEMES:
            record = store.record(Location(other, scheme, "").key)
            if record is not None:
                yield _message(record)


def find_witness(wallet: Wallet, transport: Transport, text: str) -> Aid:
    """Return who is meant to be a witness, once it is known where it is reached.

    Args:
        wallet: keeps what the witness says about that.
        transport: fetches it.
        text: the identifier of a witness that is known; or its introduction, or the URL of its
            host, where it is asked who it is.

    Raises:
        UsageError: an identifier that is not known here (usage.unknown), or neither that nor such
            a URL (usage.argument).
        TransportError: nobody answers, or the answer holds no location that the witness signed
            (transport.answer).
        KeysteadError: as `discovery.resolve`.
    """
    if is_aid(text):
        if not locations(wallet.events, Aid(text)):
            what = f"nobody told here where {text} is reached"
            raise UsageError(ErrorCode.UNKNOWN, what, hint="give the URL of the witness")
        return Aid(text)
    url = text
    with suppress(DecodeError):
        url = f"{parse_base(text, DEFAULT_LIMITS)}/oobi"  # asks the host who it is
    try:
        oobi = parse_oobi(url, DEFAULT_LIMITS)
    except DecodeError as error:
        what = f"{text[:80]!r} is no witness: {error.message}"
        hint = "give its URL, such as https://HOST/oobi/WITNESS/controller, or its identifier"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint) from None
    own = [one.aid for one in wallet.identifiers()]
    processor = EventProcessor(wallet.events, own=own)
    found = resolve(
        processor, transport, oobi.url, now=wallet.now(), together=wallet.store.transaction
    )
    witness = oobi.path.eid or (found.aid if isinstance(found, Found) else Aid(""))
    if not locations(wallet.events, witness):
        what = f"{oobi.url} gives no location that {witness or 'a witness'} has signed"
        raise TransportError(ErrorCode.ANSWER, what)
    return witness


def messages_in(data: bytes) -> Iterator[Message]:
    """Give the messages of an answer.

    Raises:
        DecodeError: it is no stream of messages.
    """
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(data)
    reader.close()
    for item in reader:
        if isinstance(item, Malformed):
            raise item.error
        yield item


def _message(record: Record) -> bytes:
    couples = Group(GroupKind.RECEIPT_COUPLES, record.proofs.couples)
    return record.reply.raw + write_groups([couples])


def _logs(store: EventStore, shown: Shown, *, new: bool) -> Iterator[bytes]:
    """Give the log before an event, if a witness is new, and the approval of the event."""
    event, given = shown.event, dict[Aid, int]()
    if event.sn and new:
        before = store.event(event.aid, event.sn - 1)
        assert before is not None  # noqa: S101 - the log has no gaps
        yield from replay_approved(store, event.aid, given, last=before.first_seen_number)
    if event.delegated and shown.delegator is not None:
        source = shown.source
        sealing = None if source is None else store.accepted(shown.delegator, source.said)
        last = None if sealing is None else sealing.first_seen_number
        yield from replay_approved(store, shown.delegator, given, last=last)
