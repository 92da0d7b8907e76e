"""Owners of the simulation: what they make, and how they give it to witnesses."""

from collections.abc import Sequence
from functools import cached_property
from random import Random

import msgspec

from keystead.cesr.keys import Aid, digest
from keystead.cesr.stream import Message, StreamReader
from keystead.keri import build, forms
from keystead.keri.build import Witnesses
from keystead.keri.seals import DigestSeal
from keystead.limits import DEFAULT_LIMITS
from keystead.testing.authoring import Author, KeyPair, Signed

_READER_DECODER = forms.decoder(DEFAULT_LIMITS)


class Pool(msgspec.Struct, frozen=True):
    """The witnesses of an identifier, and how many of them must have seen an event."""

    witnesses: tuple[KeyPair, ...]
    threshold: int


class SimulatedAuthor(Author):
    """An author with a threshold of witnesses, who may replace one of them."""

    def __init__(self, name: str, pool: Pool) -> None:
        """Have one key."""
        super().__init__(name, witnesses=pool.witnesses)
        self.pool = pool

    def begin(self) -> Signed:
        """Make the first event."""
        names = [one.aid for one in self.pool.witnesses]
        return self._sign(build.incept(self._plan(0), Witnesses(self.pool.threshold, names)))

    def replace_witness(self, old: KeyPair, new: KeyPair, salt: DigestSeal) -> Signed:
        """Make a rotation that replaces a witness."""
        self._generation += 1
        left = tuple(one for one in self.pool.witnesses if one != old)
        self.pool = Pool((*left, new), self.pool.threshold)
        self.witnesses = list(self.pool.witnesses)
        change = Witnesses(self.pool.threshold, [new.aid], [old.aid])
        plan = self._plan(self._generation)
        return self._sign(build.rotate(self.state, plan, change, anchors=[salt]))


class Made:
    """An event in the tree of all that an owner could make; what was made once is kept.

    Attributes:
        signed: the event.
        before: the event before it; None for an inception.
        pool: the witnesses after it.
    """

    def __init__(self, author: SimulatedAuthor, signed: Signed, before: "Made | None") -> None:
        """Keep an event with its author as it was then."""
        self._author = author
        self.signed = signed
        self.before = before
        self.pool = author.pool
        self._next: dict[tuple[str, int], Made] = {}

    @property
    def said(self) -> str:
        """The digest."""
        return self.signed.event.said

    @property
    def sn(self) -> int:
        """The place."""
        return self.signed.event.sn

    @property
    def aid(self) -> Aid:
        """The identifier."""
        return self.signed.event.aid

    @cached_property
    def message(self) -> Message:
        """The event as a witness reads it: without receipts."""
        return read(self.stream)

    @cached_property
    def stream(self) -> bytes:
        """The event with the signatures of its owner alone."""
        return Signed(self.signed.event, self.signed.signatures).raw

    @property
    def log(self) -> list["Made"]:
        """All events up to this one."""
        found: list[Made] = [self]
        while found[-1].before is not None:
            found.append(found[-1].before)
        return found[::-1]

    def next(self, kind: str, salt: int, others: Sequence[KeyPair] = ()) -> "Made":
        """Return an event that follows: ixn, rot, or move, which replaces a witness."""
        made = self._next.get((kind, salt))
        if made is None:
            author = self._author.fork()
            assert isinstance(author, SimulatedAuthor)  # noqa: S101 - a copy of one
            seal = DigestSeal(digest(f"{salt}".encode()))
            fresh = [one for one in others if one not in self.pool.witnesses]
            if kind == "ixn":
                signed = author.interact(seal)
            elif kind == "move" and fresh:
                old = self.pool.witnesses[salt % len(self.pool.witnesses)]
                signed = author.replace_witness(old, fresh[salt % len(fresh)], seal)
            else:
                signed = author.rotate(anchors=[seal])
            made = self._next[kind, salt] = Made(author, signed, self)
        return made


def inception(name: str, pool: Pool) -> Made:
    """Return the first event of an owner; from it all others follow."""
    key = (name, pool)
    if key not in _BEGUN:
        author = SimulatedAuthor(name, pool)
        signed = author.begin()
        _BEGUN[key] = Made(author, signed, None)
    return _BEGUN[key]


_BEGUN: dict[tuple[str, Pool], Made] = {}


def read(stream: bytes) -> Message:
    """Read a stream of one message."""
    (message,) = read_all(stream)
    return message


def read_all(stream: bytes) -> list[Message]:
    """Read a stream."""
    reader = StreamReader(DEFAULT_LIMITS, _READER_DECODER)
    reader.feed(stream)
    reader.close()
    return [one for one in reader if isinstance(one, Message)]


def honest_story(first: Made, length: int, random: Random) -> list[Made]:
    """Return what an honest owner makes: one event at each place."""
    story = [first]
    while len(story) < length:
        story.append(story[-1].next(random.choice(("ixn", "ixn", "rot")), 0))
    return story


def dishonest_step(
    tips: list[Made], random: Random, salt: int, others: Sequence[KeyPair]
) -> Made:  # fmt: skip
    """Return what a dishonest owner makes next: on some branch, or a new fork.

    Args:
        tips: the ends of its branches; changed.
        random: decides.
        salt: of who submits it, so that two make different events.
        others: witnesses that may be hired; empty if the list never changes.
    """
    place = random.randrange(len(tips))
    base = tips[place]
    for _ in range(random.choice((0, 0, 0, 1, 1, 2, 3))):
        base = base.before or base  # a fork, a recovery, or an event with keys rotated away
    kinds = ("ixn", "ixn", "ixn", "rot", "rot") + (("move",) if others else ())
    made = base.next(random.choice(kinds), salt, others)
    if base is tips[place]:
        tips[place] = made
    elif len(tips) < 4:  # noqa: PLR2004 - branches
        tips.append(made)
    return made
