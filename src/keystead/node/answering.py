"""What a witness answers: receipts, its place on the network, key states, logs.

Source: KERI specification, "Receipt Messages", "Reply Message Body"; forms as keri 1.x writes them.
"""

from collections.abc import Callable
from datetime import UTC, datetime

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
    """Return topics and messages that answer a query, or which mailbox it asks for."""
    found = answer(store, query, querier)
    match found:
        case MailboxAnswer():
            return found
        case StateAnswer():
            return [(REPLY_TOPIC, state_reply(node, found, now, sign))]
        case ReplayAnswer(aids, first):
            # A message of the mailbox is one event.
            return [
                (REPLAY_TOPIC, message)
                for place, aid in enumerate(aids)
                for message in replay(store, aid, first=0 if place else first)
            ]


def _receipted(accepted: AcceptedEvent) -> bytes:
    event = accepted.event
    return build.receipt(Receipt(event.aid, event.sn, event.said))


def _reply(aid: Aid, route: str, attributes: Body, now: datetime, sign: SignReply) -> bytes:
    stamp = now.astimezone(UTC).isoformat(timespec="microseconds")
    raw, _ = build.routed("rpy", {"dt": stamp, "r": route, "a": attributes})
    return raw + write_groups([attest(aid, sign, raw)])
