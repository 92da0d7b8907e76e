"""Published logs that commands read: to compare with, and before one of them is replaced."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import click

from keystead.cesr.keys import Aid
from keystead.cesr.stream import Malformed
from keystead.cli.asking import confirm
from keystead.cli.output import printable, say
from keystead.cli.source import CHUNK, read_chunks
from keystead.cli.wallets import now
from keystead.errors import ErrorCode, UsageError
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import Receipt, Reply
from keystead.keri.routed import COMPROMISE_ROUTE
from keystead.keri.verdicts import Accepted, Duplicate, Receipted, Recorded, Rejected
from keystead.node.ingest import EventProcessor, Result
from keystead.owner.compromises import compromises
from keystead.owner.restoring import unsigned_here
from keystead.owner.settlement import why_behind
from keystead.owner.wallet import Wallet
from keystead.ports import EventStore
from keystead.stores.memory import MemoryStore

_MORE = 1024 * 1024  # bytes that an older log may be longer: it may hold other receipts
_SHOWN = 20  # events that are listed before a question


def read_logs(name: str) -> EventStore:
    """Return the logs of a file, each event verified, with the times that the file tells.

    Raises:
        UsageError: it cannot be read (usage.file).
    """
    store, bad = _verified(read_chunks(name))
    if bad:
        say(f"note: {bad} messages of {name} do not count; see: keystead log verify")
    return store


def confirm_adoption(
    wallet: Wallet, aids: Sequence[Aid], published: EventStore, *, yes: bool
) -> None:
    """Show the events that this wallet did not sign, and ask whether the owner made them.

    Raises:
        UsageError: he did not, or nobody can be asked (usage.argument).
    """
    foreign = {aid: unsigned_here(wallet, aid, published) for aid in aids}
    for aid, events in foreign.items():
        if events:
            name = wallet.identifier(aid).name
            say(f"events of {name} that this wallet did not sign: {len(events)}")
            for line in _lines(events):
                click.echo(printable(line), err=True)
            _tell_notices(wallet, aid, published)
    if not any(foreign.values()):
        return
    say(
        "if you did not make them, somebody else has your keys: do not go on; tell those who rely"
        " on the identifier, and make a new one"
    )
    question = "Did you make these events yourself, with another copy of this wallet?"
    try:
        confirm(question, yes=yes)
    except UsageError as error:
        if not error.hint:
            raise
        what = "there are events that this wallet did not sign, so it asks on a terminal"
        hint = "if you made them yourself, give --yes"
        raise UsageError(ErrorCode.ARGUMENT, what, hint=hint) from None


def check_replaceable(wallet: Wallet, aid: Aid, name: str, size: int) -> None:
    """Check that nothing is lost when the log of an identifier replaces a file.

    Args:
        wallet: whose log it is.
        aid: the identifier.
        name: of the file, an ordinary one.
        size: bytes of the new log.

    Raises:
        UsageError: the file has something else in it, or more (usage.file).
    """
    path = Path(name)
    most = 2 * size + _MORE
    try:
        if path.stat().st_size > most:
            raise _kept(name, "is larger than a log that is older")
        with path.open("rb") as stream:
            pieces = iter(lambda: stream.read(CHUNK), b"")
            store, bad = _verified(islice(pieces, most // CHUNK + 1), strict=True)
    except OSError as error:
        raise UsageError(ErrorCode.FILE, f"cannot read {name}: {error.strerror}") from None
    if bad:
        raise _kept(name, "has more in it than logs that can be verified")
    own = {aid, *_delegators(wallet.events, aid)}
    if any(other not in own for other in store.identifiers()):
        raise _kept(name, "has logs of other identifiers too")
    for other in store.identifiers():
        _check_known(wallet, aid, other, store, name)


def tell_behind(wallet: Wallet, aid: Aid) -> bool:
    """Note that the log here may not be the newest; tell whether it may not."""
    record, state = wallet.identifier(aid), wallet.events.key_state(aid)
    (mark,) = wallet.vault.marks([aid])
    behind = not wallet.is_current() or (
        state is not None and bool(why_behind(record, state, mark))
    )
    if behind:
        say(
            f"note: this copy of the wallet may be behind, and so may this log of {record.name};"
            f" see: keystead id reconcile {record.name} --log FILE"
        )
    return behind


def _verified(pieces: Iterable[bytes], *, strict: bool = False) -> tuple[EventStore, int]:
    """Verify a stream.

    Returns:
        What was accepted, and how many messages do not count; with `strict`, how many are
        anything else than events and notices that are kept.
    """
    store = MemoryStore()
    processor, at = EventProcessor(store, trust_first_seen=True), now()
    reader = processor.reader()
    bad = 0
    for piece in chain(pieces, [None]):
        if piece is None:
            reader.close()
        else:
            reader.feed(piece)
        for item in reader:
            if isinstance(item, Malformed):
                bad += 1
                continue
            results = processor.process(item, now=at)
            bad += sum(not (_is_ours(one) if strict else _counts(one)) for one in results)
    return store, bad + sum(1 for _ in store.waiting())


def _counts(result: Result) -> bool:
    return not isinstance(result.verdict, Rejected) or (
        result.verdict.error.code is ErrorCode.UNSUPPORTED_MESSAGE
    )


def _is_ours(result: Result) -> bool:
    """Tell whether a message is one of those that an export has; what waits is counted later."""
    message, verdict = result.message, result.verdict
    if isinstance(message, Reply):
        return isinstance(verdict, Recorded) and message.route == COMPROMISE_ROUTE
    if isinstance(message, Receipt):
        return isinstance(verdict, Receipted)
    return isinstance(verdict, Accepted | Duplicate)


def _delegators(store: EventStore, aid: Aid) -> Iterator[Aid]:
    """Give the delegators above an identifier."""
    state = store.key_state(aid)
    while state is not None and (above := state.establishment.delegator) is not None:
        yield above
        state = store.key_state(above)


def _check_known(wallet: Wallet, aid: Aid, other: Aid, store: EventStore, name: str) -> None:
    """Check that the wallet has all events and notices of one log in a file."""
    ours, label = wallet.events, wallet.identifier(aid).name
    known = all(ours.accepted(other, one.event.said) for one in store.first_seen(other))
    if known:
        told = {one.signing_key: (one.signer_sn, one.told_at) for one in compromises(ours, other)}
        known = all(
            told.get(one.signing_key, (-1, "")) >= (one.signer_sn, one.told_at)
            for one in compromises(store, other)
        )
    if known:
        return
    hint = "give the name of a new file to -o"
    if other == aid:
        hint += f"; to take over what is in it: keystead id reconcile {label} --log {name}"
    raise _kept(name, f"has events or notices of {other} that this wallet does not have", hint)


def _kept(name: str, why: str, hint: str = "give the name of a new file to -o") -> UsageError:
    return UsageError(ErrorCode.FILE, f"{name} {why}; it is not overwritten", hint=hint)


def _lines(events: Sequence[AcceptedEvent]) -> Iterator[str]:
    for one in events[:_SHOWN]:
        event, keys = one.event, one.state.establishment
        line = f"  {event.sn:x}  {event.message_type}  {event.said}  {one.first_seen_at}"
        if keys.sn == event.sn:
            number = len(keys.signing_keys)
            line += f"  {number} key{'' if number == 1 else 's'}"
        yield line
    if len(events) > _SHOWN:
        yield f"  and {len(events) - _SHOWN} more"


def _tell_notices(wallet: Wallet, aid: Aid, published: EventStore) -> None:
    known = {one.signing_key for one in compromises(wallet.events, aid)}
    for one in compromises(published, aid):
        if one.signing_key not in known:
            key, reason = one.signing_key.text, printable(one.reason)
            click.echo(
                f"  notice: {key} is compromised from {one.first_sn:x} on: {reason}", err=True
            )
