"""Genuine logs, what is true of them, and a search for anything else in a store.

The authors write down who signed what. So whether a store holds a forgery is found by looking
bytes up in what was written down, without the code that verifies events.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from keystead.cesr import body as bodies
from keystead.cesr.body import Body
from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Aid, Digest, Said
from keystead.cesr.versions import HEAD_BYTES, Kind, read_head
from keystead.keri import build
from keystead.keri.attachments import Proofs
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.thresholds import Field
from keystead.limits import DEFAULT_LIMITS
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import KeyPair, Signed


@dataclass(frozen=True, slots=True)
class Fact:
    """What is true of a genuine event.

    Attributes:
        raw: its bytes.
        kind: their serialization.
        fields: what they say.
        keys: texts of the keys that may sign it.
        threshold: over `keys`.
        witnesses: who receipts it.
        witness_threshold: receipts that it needs.
        delegator: who has to seal what sets keys, if anyone.
        made: the signatures over it that their keys made: text of the key, signature.
    """

    raw: bytes
    kind: Kind
    fields: Body
    keys: tuple[str, ...]
    threshold: Field
    witnesses: tuple[str, ...]
    witness_threshold: int
    delegator: str | None
    made: set[tuple[str, bytes]] = field(default_factory=set)

    @property
    def place(self) -> tuple[Aid, int, Said]:
        """Identifier, number and digest."""
        return Aid(self.fields["i"]), int(self.fields["s"], 16), Digest(self.fields["d"])

    @property
    def establishes(self) -> bool:
        """The event sets keys."""
        return "k" in self.fields


class Record:
    """Everything that genuine authors made.

    Attributes:
        facts: by the bytes of the event.
        by_said: by its digest.
        pairs: key pairs by the text of the key.
        committed: texts of keys by the digest that commits to them.
        recoverable: bytes of events that a genuine recovery takes from the trunk.
    """

    def __init__(self) -> None:
        self.facts: dict[bytes, Fact] = {}
        self.by_said: dict[str, Fact] = {}
        self.pairs: dict[str, KeyPair] = {}
        self.committed: dict[str, str] = {}
        self.recoverable: set[bytes] = set()

    def know(self, pairs: Iterable[KeyPair]) -> None:
        """Write down key pairs."""
        for pair in pairs:
            text = pair.key.text
            self.pairs[text] = pair
            self.committed[build.commitment(pair.key)] = text

    def add(self, signed: Signed) -> Fact:
        """Write down an event, its signatures and its receipts."""
        raw = signed.event.raw
        _, kind, _ = read_head(raw[:HEAD_BYTES])
        fields = bodies.decode(raw, kind, DEFAULT_LIMITS)
        before = self.by_said.get(fields.get("p", ""))
        if before is None:
            fact = _first_fact(raw, kind, fields)
        else:
            fact = _later_fact(raw, kind, fields, before)
        self.facts[raw] = self.by_said[fields["d"]] = fact
        for one in signed.signatures:
            fact.made.add((fact.keys[one.index], one.raw))
        for one in signed.receipts:
            fact.made.add((fact.witnesses[one.index], one.raw))
        return fact

    def establishment(self, fact: Fact) -> Fact:
        """Return the event that set the keys which are in force after an event."""
        while not fact.establishes:
            fact = self.by_said[fact.fields["p"]]
        return fact

    def signers(self, fact: Fact) -> list[KeyPair]:
        """Return the key pairs that may sign an event."""
        return [self.pairs[text] for text in fact.keys]

    def forgeries(self, store: MemoryStore, stolen: frozenset[bytes] = frozenset()) -> list[str]:
        """Tell what a store holds that no genuine author made.

        Args:
            store: the store.
            stolen: bytes that were signed with genuine keys, to which duplicity may refer.
        """
        found: list[str] = []
        for aid in store.identifiers():
            for accepted in store.first_seen(aid):
                fact = self.facts.get(accepted.event.raw)
                place = f"event {accepted.event.sn} of {aid}"
                if fact is None:
                    found.append(f"{place}: nobody made it")
                else:
                    found += [f"{place}: {flaw}" for flaw in self._flaws(accepted, fact, store)]
            found += self._breaks(aid, store)
            for evidence in store.duplicity(aid):
                raw = evidence.other.raw
                if raw in stolen:
                    continue
                other = self.facts.get(raw)
                if other is None or not self._all_made(evidence.proofs, other):
                    found.append(f"duplicity of {aid} at {evidence.sn} that it did not commit")
        return found

    def _flaws(self, accepted: AcceptedEvent, fact: Fact, store: MemoryStore) -> Iterator[str]:
        event, proofs = accepted.event, accepted.proofs
        if (event.aid, event.sn, event.said) != fact.place or event.aid != accepted.state.aid:
            yield "read as another event"
        if not self._all_made(proofs, fact):
            yield "a signature that its key did not make"
        signed = [one for one in proofs.signatures if one.index < len(fact.keys)]
        texts = {fact.keys[one.index] for one in signed}
        if not is_met(fact.threshold, {fact.keys.index(text) for text in texts}):
            yield "too few signatures"
        before = self.by_said.get(fact.fields.get("p", ""))
        if fact.establishes and before is not None:
            last = self.establishment(before)
            digests = last.fields["n"]
            exposed = {
                one.ondex
                for one in signed
                if one.ondex is not None
                and one.ondex < len(digests)
                and self.committed.get(digests[one.ondex]) == fact.keys[one.index]
            }
            if not is_met(last.fields["nt"], exposed):
                yield "too few next keys"
        places = {one.index for one in proofs.witness_signatures}
        if len(places) < fact.witness_threshold:
            yield "too few receipts"
        needs_seal = fact.establishes and fact.delegator is not None
        if needs_seal and not self._is_sealed(fact, store):
            yield "no seal of the delegator"
        established = accepted.state.establishment
        if tuple(key.text for key in established.signing_keys) != fact.keys:
            yield "other keys than it sets"
        if established.witnesses != fact.witnesses:
            yield "other witnesses than it sets"

    def _all_made(self, proofs: Proofs, fact: Fact) -> bool:
        claimed = [(_at(fact.keys, one.index), one.raw) for one in proofs.signatures]
        claimed += [(_at(fact.witnesses, one.index), one.raw) for one in proofs.witness_signatures]
        claimed += [(couple.key.text, couple.signature.raw) for couple in proofs.couples]
        claimed += [made for group in proofs.endorsements for made in self._endorsed(group)]
        return fact.made.issuperset(claimed)

    def _endorsed(self, group: SignatureGroup) -> Iterator[tuple[str, bytes]]:
        named = self.by_said.get(group.said)
        known = named is not None and named.place == (group.aid, group.sn, group.said)
        keys = named.keys if named is not None and known else ()
        for one in group.signatures:
            yield _at(keys, one.index), one.raw

    def _is_sealed(self, fact: Fact, store: MemoryStore) -> bool:
        seal = {label: fact.fields[label] for label in "isd"}
        for accepted in store.first_seen(Aid(fact.delegator or "")):
            sealing = self.facts.get(accepted.event.raw)
            if sealing is not None and seal in sealing.fields["a"]:
                return True
        return False

    def _breaks(self, aid: Aid, store: MemoryStore) -> Iterator[str]:
        """Tell where the trunk of a log is no chain, or lost what nobody recovered from."""
        said, trunk = "", list(store.events(aid))
        for sn, accepted in enumerate(trunk):
            fact = self.facts.get(accepted.event.raw)
            if fact is None:
                return
            if fact.place[:2] != (aid, sn) or fact.fields.get("p", "") != said:
                yield f"event {sn} of {aid} does not follow the one before"
            said = fact.fields["d"]
        kept = {accepted.event.raw for accepted in trunk}
        for accepted in store.first_seen(aid):
            if accepted.event.raw not in kept | self.recoverable:
                yield f"event {accepted.event.sn} of {aid} was superseded by nobody"


def is_met(threshold: Field, places: set[int]) -> bool:
    """Tell whether the keys at `places` meet a threshold as an event writes it."""
    if isinstance(threshold, str):
        return len(places) >= max(1, int(threshold, 16))
    nested = all(isinstance(clause, list) for clause in threshold)
    place = 0
    for clause in threshold if nested else [threshold]:
        total = Fraction(0)
        for weight in clause:
            if isinstance(weight, str):
                total += _weight(weight) if place in places else 0
                place += 1
            elif isinstance(weight, dict):
                ((outer, inner),) = weight.items()
                shares = [_weight(str(one)) for at, one in enumerate(inner, place) if at in places]
                total += _weight(outer) if sum(shares) >= 1 else 0
                place += len(inner)
        if total < 1:
            return False
    return True


_weight = functools.lru_cache(Fraction)


def _at(texts: Sequence[str], index: int) -> str:
    return texts[index] if index < len(texts) else ""


def _first_fact(raw: bytes, kind: Kind, fields: Body) -> Fact:
    return Fact(
        raw, kind, fields, tuple(fields["k"]), fields["kt"], tuple(fields["b"]),
        int(fields["bt"], 16), fields.get("di"),
    )  # fmt: skip


def _later_fact(raw: bytes, kind: Kind, fields: Body, before: Fact) -> Fact:
    if "k" not in fields:
        return Fact(
            raw, kind, fields, before.keys, before.threshold, before.witnesses,
            before.witness_threshold, before.delegator,
        )  # fmt: skip
    kept = [witness for witness in before.witnesses if witness not in fields["br"]]
    return Fact(
        raw, kind, fields, tuple(fields["k"]), fields["kt"], (*kept, *fields["ba"]),
        int(fields["bt"], 16), before.delegator,
    )  # fmt: skip
