"""Looking out: what the owner did not make is told, what he made is not."""

from keystead.cesr.keys import digest
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Source
from keystead.node.lookout import Lookout, Sight
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import Author, Signed, witness
from support.logs import NOW, Node

OTHER = DigestSeal(digest(b"other"))


def _owner() -> tuple[Author, Node, Signed]:
    author, node = Author("owner", witnesses=[witness("one")]), Node()
    begun = author.incept()
    node.accept(begun.framed, source=Source.LOCAL)
    return author, node, begun


def _sights(lookout: Lookout, *made: Signed) -> list[Sight]:
    body = b"".join(one.framed for one in made)
    return [one.sight for one in lookout.took(body, NOW)[1]]


def test_own_events_are_no_news() -> None:
    """Also not those that the owner makes while somebody looks out."""
    author, node, begun = _owner()
    lookout = Lookout(author.aid, MemoryStore(), node.store, NOW)
    assert _sights(lookout, begun) == []
    event = author.interact()
    node.accept(event.framed, source=Source.LOCAL)
    assert _sights(lookout, begun, event) == []


def test_a_foreign_event_is_told_once() -> None:
    """Somebody with the current keys went on with the log."""
    author, node, begun = _owner()
    stolen = author.fork().interact(OTHER)
    lookout = Lookout(author.aid, MemoryStore(), node.store, NOW)
    assert _sights(lookout, begun, stolen) == [Sight.FOREIGN]
    assert _sights(lookout, begun, stolen) == []


def test_another_version_of_an_own_event_is_told() -> None:
    """Somebody with old keys tried a second history."""
    author, node, begun = _owner()
    stolen = author.fork().interact(OTHER)
    node.accept(author.rotate().framed, source=Source.LOCAL)
    lookout = Lookout(author.aid, MemoryStore(), node.store, NOW)
    assert _sights(lookout, begun, stolen) == [Sight.FOREIGN_VERSION]


def test_a_foreign_event_without_receipts_is_told() -> None:
    """A warning does not wait until witnesses have given receipts."""
    author, node, begun = _owner()
    stolen = author.fork().interact(OTHER)
    lookout = Lookout(author.aid, MemoryStore(), node.store, NOW)
    bare = Signed(stolen.event, stolen.signatures)
    assert _sights(lookout, begun, bare) == [Sight.FOREIGN_PENDING]


def test_of_others_news_and_duplicity_are_told() -> None:
    """Without an owner's log the first seen counts."""
    author, _, begun = _owner()
    twin = author.fork()
    lookout = Lookout(author.aid, MemoryStore(), None, NOW)
    assert _sights(lookout, begun, author.rotate()) == [Sight.EVENT]
    assert _sights(lookout, begun, twin.rotate(anchors=[OTHER])) == [Sight.DUPLICITY]
