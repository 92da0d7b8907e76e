"""Pools of running witnesses, ours and keri's, and what each of them holds."""

import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, key_of
from keystead.cesr.stream import Message, StreamReader
from keystead.keri import forms
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.messages import Receipt, parse_message
from keystead.limits import DEFAULT_LIMITS
from keystead.services.network import Network, NetworkPlan, WitnessPlan
from support.keri_witnesses import KeriWitness
from support.logs import Node
from support.peer import MEMORY, plain_state


@dataclass(frozen=True, slots=True)
class Member:
    """A witness.

    Attributes:
        aid: who it is.
        url: where it is reached.
    """

    aid: Aid
    url: str

    @property
    def oobi(self) -> str:
        """Its introduction."""
        return f"{self.url}/oobi/{self.aid}/controller"


@contextmanager
def our_witnesses(count: int) -> Iterator[list[Member]]:
    """Run witnesses of this program on this machine, as `keystead network up` does."""
    plan = tuple(WitnessPlan(f"w{number}", open=100) for number in range(count))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        network = Network(NetworkPlan("network", plan), Path(folder))
        with network.up():
            yield [Member(Aid(one.aid), one.url) for one in network.nodes.values()]


def members(witnesses: Sequence[KeriWitness]) -> list[Member]:
    """Return witnesses of keri in the same form."""
    return [Member(Aid(one.aid), one.url) for one in witnesses]


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer.

    Attributes:
        status: of HTTP.
        kind: content type.
        about: the header that names whom it is about.
        content: it.
    """

    status: int
    kind: str
    about: str
    content: bytes


def fetch(
    url: str,
    content: bytes | None = None,
    *,
    method: str | None = None,
    **headers: str,
) -> Fetched:
    """Ask a witness of this machine; headers have "_" for "-"."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, content, named, method=method)  # noqa: S310 - ours
    try:
        answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310 - ours
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        told = answer.headers
        kind, about = told.get("Content-Type", ""), told.get("KERI-AID", "")
        return Fetched(answer.status, kind, about, answer.read())


@dataclass(frozen=True, slots=True)
class Held:
    """What a witness has of a log.

    Attributes:
        saids: digests of its events.
        state: its key state, in plain values.
        receipts: for each event, the witnesses whose receipts it has.
    """

    saids: list[str]
    state: dict[str, object]
    receipts: list[frozenset[str]]


def held(member: Member, aid: str, *above: str) -> Held:
    """Ask a witness for a log and for the receipts of each event, and verify both.

    Args:
        member: the witness.
        aid: whose log.
        above: delegators.
    """
    node = Node()
    for one in (*above, aid):
        answer = fetch(f"{member.url}/query?typ=kel&pre={one}")
        assert (answer.status, answer.kind) == (200, "application/json+cesr"), answer
        node.results(answer.content)
    state = node.store.key_state(Aid(aid))
    assert state is not None, answer
    log = list(node.store.events(Aid(aid)))
    told = [_receipts(member, one) for one in log]
    return Held([one.event.said for one in log], plain_state(state), told)


def assert_agree(pool: Sequence[Member], aid: str, last: int, *above: str) -> Held:
    """Check that witnesses hold the same log up to an event, with all receipts of that one."""
    found = [held(member, aid, *above) for member in pool]
    first = found[0]
    for one in found:
        assert (one.saids, one.state) == (first.saids, first.state)
        assert len(one.saids) == last + 1
        assert one.receipts[-1] == {member.aid for member in pool}
    return first


def _receipts(member: Member, accepted: AcceptedEvent) -> frozenset[str]:
    """Ask for the receipts of an event; each is verified by the key of the witness."""
    event, wanted = accepted.event, accepted.state.establishment
    answer = fetch(f"{member.url}/receipts?pre={event.aid}&sn={event.sn}")
    assert (answer.status, answer.kind) == (200, "application/json+cesr"), answer
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(answer.content)
    reader.close()
    (message,) = reader
    assert isinstance(message, Message)
    told = parse_message(message, DEFAULT_LIMITS)
    assert told == Receipt(event.aid, event.sn, event.said)
    found = set()
    for group in message.groups:
        assert isinstance(group, Group)
        assert group.kind is GroupKind.WITNESS_SIGNATURES
        for item in group.items:
            assert isinstance(item, IndexedSignature)
            witness = wanted.witnesses[item.index]
            assert key_of(witness).verifies(item.suite, item.raw, event.raw)
            found.add(witness)
    assert len(found) >= wanted.witness_threshold
    return frozenset(found)
