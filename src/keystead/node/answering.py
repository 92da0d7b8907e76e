"""What a witness answers: receipts, its place on the network, key states, logs.

Source: KERI specification, "Receipt Messages", "Reply Message Body"; forms as keri 1.x writes them.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from keystead.cesr.body import Body
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, ReceiptCouple
from keystead.cesr.keys import Aid, Signature, parse_key
from keystead.cesr.writing import write_groups
from keystead.keri import build
from keystead.keri.attachments import Proofs
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import Query, Receipt
from keystead.node.attestation import attest
from keystead.node.queries import MailboxAnswer, ReplayAnswer, StateAnswer, answer
from keystead.node.replay import replay
from keystead.ports import EventStore
from keystead.suites import Suite

# Signs a reply with the key of the node; returns 64 bytes.
SignReply = Callable[[bytes], bytes]
# Topics under which those who asked look for answers, as peers name them.
REPLAY_TOPIC, REPLY_TOPIC = "/replay", "/reply"
# Events and bytes of a log that one question brings into a mailbox; as many wait there at most.
REPLAYED: Final = 64
REPLAYED_BYTES: Final = 256 * 1024


def own_receipt(aid: Aid, accepted: AcceptedEvent, signature: bytes) -> bytes:
    """Return the receipt of one witness, as a couple (-C)."""
    couple = ReceiptCouple(parse_key(aid), Signature(Suite.ED25519, signature))
    return _receipted(accepted) + write_groups([Group(GroupKind.RECEIPT_COUPLES, (couple,))])


def known_receipts(accepted: AcceptedEvent, proofs: Proofs) -> bytes:
    """Return the receipts of all witnesses that are known, as indexed signatures (-B)."""
    group = Group(GroupKind.WITNESS_SIGNATURES, proofs.witness_signatures)
    return _receipted(accepted) + (write_groups([group]) if group.items else b"")


def location_reply(aid: Aid, scheme: str, url: str, now: datetime, sign: SignReply) -> bytes:
    """Return the signed statement where a node is; an empty URL takes it back."""
    attributes: Body = {"eid": aid, "scheme": scheme, "url": url}
    return _reply(aid, "/loc/scheme", attributes, now, sign)


def state_reply(aid: Aid, state: StateAnswer, now: datetime, sign: SignReply) -> bytes:
    """Return a key state notice that is signed by the node."""
    return _reply(aid, f"/ksn/{aid}", state.fields, now, sign)


def answer_query(
    store: EventStore, query: Query, querier: Aid, node: Aid, now: datetime, sign: SignReply
) -> list[tuple[str, bytes]] | MailboxAnswer:
    """Return topics and messages that answer a query, or which mailbox it asks for.

    Of a long log it is the first part: whoever wants the next asks from there on.
    """
    found = answer(store, query, querier)
    match found:
        case MailboxAnswer():
            return found
        case StateAnswer():
            return [(REPLY_TOPIC, state_reply(node, found, now, sign))]
        case ReplayAnswer(aids, first):
            # A message of the mailbox is one event.
            messages = (
                message
                for place, aid in enumerate(aids)
                for message in replay(store, aid, first=0 if place else first)
            )
            return [(REPLAY_TOPIC, message) for message in _first_part(messages)]


def _first_part(messages: Iterator[bytes]) -> Iterator[bytes]:
    """Give as much of a log as is put into a mailbox for one question."""
    size = 0
    for message in islice(messages, REPLAYED):
        size += len(message)
        if size > REPLAYED_BYTES:
            return
        yield message


def _receipted(accepted: AcceptedEvent) -> bytes:
    event = accepted.event
    return build.receipt(Receipt(event.aid, event.sn, event.said))


def _reply(aid: Aid, route: str, attributes: Body, now: datetime, sign: SignReply) -> bytes:
    stamp = now.astimezone(UTC).isoformat(timespec="microseconds")
    raw, _ = build.routed("rpy", {"dt": stamp, "r": route, "a": attributes})
    return raw + write_groups([attest(aid, sign, raw)])
