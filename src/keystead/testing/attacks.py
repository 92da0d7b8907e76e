"""Mutations of events: lies that carry no good signature, and what thieves of keys may not do.

A thief signs with genuine keys. Each of these events lacks something else that makes an event
valid, so none may be accepted.
"""

from typing import Any

from keystead.cesr import said as addressing
from keystead.cesr.body import Body
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.versions import Kind, Protocol
from keystead.keri import build
from keystead.testing.authoring import KeyPair
from keystead.testing.draft import (
    CONTROLLER,
    MALLORY_KEY,
    MALLORY_NEXT,
    WITNESS,
    Draft,
    fields_of,
    patch_digest,
    readdress,
    with_group,
    with_signatures,
)
from keystead.testing.genuine import Fact, is_met
from keystead.testing.scenes import MALLORY_WITNESS, Piece

_SIZE_PLACE = len("KERI10JSON")
_SIZE_DIGITS = 6


def change_field(draft: Draft) -> None:
    """Change a value and make the digest fit; only the signature is wrong."""
    at, piece, fact = draft.pick()
    fields = fields_of(fact)
    label = draft.random.choice([one for one in fields if one not in "vd"])
    fields[label] = _other_value(draft, label, fields[label])
    raw = readdress(fields, piece.kind, identifier=_is_addressed(draft, fact))
    draft.put(at, Piece(raw, piece.kind, piece.groups))


def _is_addressed(draft: Draft, fact: Fact) -> bool:
    """Decide whether the identifier follows from the content, where it did."""
    return fact.fields["i"] == fact.fields["d"] and draft.random.randrange(2) == 0


def _other_value(draft: Draft, label: str, value: Any) -> Any:  # noqa: ANN401 - a field's value
    mallory = MALLORY_KEY.key.text
    other = draft.random.choice(list(draft.world.record.facts.values())).fields
    choices: dict[str, list[Any]] = {
        "s": ["0", "1", "2", "00", "-1", "ff", 1],
        "kt": ["0", "1", "2", ["1"], ["1/2", "1/2"], [], [["1"], ["1"]]],
        "nt": ["0", "1", [], ["0"]],
        "bt": ["0", "1", "4"],
        "k": [[mallory], [*value, mallory], list(reversed(value)), value * 2, []],
        "n": [[build.commitment(MALLORY_NEXT.key)], [], value * 2],
        "c": [["EO"], ["DND"], ["DID"], ["X"]],
        "a": [[], [{"d": other["d"]}], [{label: other[label] for label in "isd"}], [None], [1.5]],
    }
    for lists in ("b", "br", "ba"):
        choices[lists] = [[], [MALLORY_WITNESS.key.text], list(other.get("b", [])), [mallory]]
    same = other.get(label, other["d"])
    return draft.random.choice([*choices.get(label, []), same, None, ""])


def swap_fields(draft: Draft) -> None:
    """Exchange the values of two fields, or, with the owner's keys, their order."""
    at, piece, fact = draft.pick()
    fields = fields_of(fact)
    one, two = draft.random.sample([label for label in fields if label not in "vd"], 2)
    identifier = _is_addressed(draft, fact)
    if draft.random.randrange(2):
        fields[one], fields[two] = fields[two], fields[one]
        raw = readdress(fields, piece.kind, identifier=identifier)
        draft.put(at, Piece(raw, piece.kind, piece.groups))
        return
    swapped = {one: two, two: one}
    fields = {swapped.get(label, label): fields[swapped.get(label, label)] for label in fields}
    raw = readdress(fields, piece.kind, identifier=identifier)
    draft.put(at, draft.steal(fact, raw, piece.kind, range(len(fact.keys))))


def repeat_label(draft: Draft) -> None:
    """Write an event, with the owner's keys, in a form that is not canonical."""
    at, piece, fact = draft.pick()
    raw = piece.raw
    forms: dict[Kind, list[tuple[bytes, bytes]]] = {
        Kind.JSON: [
            (b'"a":', b'"a":[],"a":'), (b'"t":', b'"t":"ixn","t":'), (b'"s":', b'"s": '),
            (b'"d":', b' "d":'), (b'"t":"', b'"t":"\\u0069'), (b'"a":', b'"x":"y","a":'),
            (b'"a":', b'"a\\u0000":1,"a":'), (b'"i":', b'"i":null,"i":'),
        ],
        Kind.CBOR: [(b"\x61a", b"\x78\x01a"), (b"\x61a\x80", b"\x61a\x80\x61a\x80")],
        Kind.MGPK: [(b"\xa1a", b"\xd9\x01a"), (b"\xa1a\x90", b"\xa1a\x90\xa1a\x90")],
    }  # fmt: skip
    old, new = draft.random.choice(forms[piece.kind])
    changed = raw.replace(old, new, 1)
    if changed == raw:
        changed = raw + b"\x00"
    elif old in new and piece.kind is not Kind.JSON:
        changed = bytes([changed[0] + 1]) + changed[1:]
    changed = patch_digest(_with_size(changed, len(changed)), fact.fields["d"])
    draft.put(at, draft.steal(fact, changed, piece.kind, range(len(fact.keys))))


def _with_size(raw: bytes, size: int) -> bytes:
    start = raw.index(b"KERI10") + _SIZE_PLACE
    return raw[:start] + f"{size:06x}".encode() + raw[start + _SIZE_DIGITS :]


def lie_in_version(draft: Draft) -> None:
    """Change what the version string says; the digest fits, maybe the signatures too."""
    at, piece, fact = draft.pick()
    raw, size = piece.raw, len(piece.raw)
    delta = draft.random.choice((-size, -44, -4, -1, 1, 4, 88, 4096, 0xF00000))
    kind = piece.kind.value.encode()
    other = draft.random.choice([one.value.encode() for one in Kind if one is not piece.kind])
    version = b"KERI10" + kind
    lies = (
        _with_size(raw, size + delta),
        raw.replace(version, b"KERI" + draft.random.choice((b"11", b"20", b"1A")) + kind, 1),
        raw.replace(version, b"ACDC10" + kind, 1),
        raw.replace(version, b"KERI10" + other, 1),
        raw.replace(b"_", b"-", 1),
    )
    changed = patch_digest(draft.random.choice(lies), fact.fields["d"])
    if draft.random.randrange(2):
        draft.pieces[at] = Piece(changed, piece.kind, piece.groups)
    else:
        draft.pieces[at] = draft.steal(fact, changed, piece.kind, range(len(fact.keys)))


def change_kind(draft: Draft) -> None:
    """Write an event in another serialization, with its old digest or with one that fits."""
    at, piece, fact = draft.pick()
    kind = draft.random.choice([one for one in Kind if one is not piece.kind])
    fields = fields_of(fact)
    if draft.random.randrange(2):
        raw = addressing.serialize(fields, kind, Protocol.KERI)
    else:
        raw = readdress(fields, kind, identifier=_is_addressed(draft, fact))
    draft.put(at, Piece(raw, kind, piece.groups))


def take_over(draft: Draft) -> None:
    """Set other keys, or commit to other next keys, and go on with these."""
    at, piece, fact = draft.pick()
    fields = fields_of(draft.world.record.establishment(fact))
    if draft.random.randrange(2):
        fields["k"], fields["kt"] = [MALLORY_KEY.key.text], "1"
    fields["n"], fields["nt"] = [build.commitment(MALLORY_NEXT.key)], "1"
    raw = readdress(fields, piece.kind)
    signed = (MALLORY_KEY.indexed(raw, 0, 0),)
    first = Piece(raw, piece.kind, with_group(piece.groups, CONTROLLER, signed))
    if draft.random.randrange(2):
        first = Piece(raw, piece.kind, piece.groups)
    rotation = _following(fields, fact, [MALLORY_NEXT], [MALLORY_NEXT])
    draft.pieces[at : at + 1] = [first, _signed_by_mallory(rotation)]
    if draft.random.randrange(2):
        draft.pieces.insert(at, piece)


def _signed_by_mallory(fields: Body) -> Piece:
    raw = readdress(fields, Kind.JSON)
    signatures = (MALLORY_NEXT.indexed(raw, 0, 0),)
    return Piece(raw, Kind.JSON, (Group(CONTROLLER, signatures),))


def _following(before: Body, fact: Fact, pairs: list[KeyPair], following: list[KeyPair]) -> Body:
    """Write a rotation behind an event."""
    return {
        "v": "", "t": "drt" if fact.delegator else "rot", "d": "", "i": before["i"],
        "s": f"{int(before['s'], 16) + 1:x}", "p": before["d"],
        "kt": fact.threshold if len(pairs) == len(fact.keys) else "1",
        "k": [pair.key.text for pair in pairs],
        "nt": "1", "n": [build.commitment(pair.key) for pair in following],
        "bt": f"{fact.witness_threshold:x}", "br": [], "ba": [], "a": [],
    }  # fmt: skip


def _interaction(before: Body, anchors: list[Body]) -> Body:
    """Write an interaction behind an event."""
    return {
        "v": "", "t": "ixn", "d": "", "i": before["i"],
        "s": f"{int(before['s'], 16) + 1:x}", "p": before["d"], "a": anchors,
    }  # fmt: skip


def rotate_with_current_keys(draft: Draft) -> None:
    """Steal the keys in use, which no event committed to, and rotate to them."""
    at, piece, fact = draft.pick()
    fields = _following(fact.fields, fact, draft.world.record.signers(fact), [MALLORY_NEXT])
    raw = readdress(fields, piece.kind)
    draft.pieces.insert(at + 1, draft.steal(fact, raw, piece.kind, range(len(fact.keys))))


def sign_with_too_few_keys(draft: Draft) -> None:
    """Steal keys that do not meet the threshold, and use each of them at many places."""
    at, piece, fact = draft.pick()
    count = len(fact.keys)
    places = draft.random.sample(range(count), draft.random.randrange(count + 1))
    while is_met(fact.threshold, set(places)):
        places.pop()
    raw = readdress(_interaction(fact.fields, [{"d": fact.fields["d"]}]), piece.kind)
    stolen = draft.steal(fact, raw, piece.kind, places)
    pairs = draft.world.record.signers(fact)
    repeated = [pairs[one].indexed(raw, place, place) for one in places for place in range(count)]
    repeated += [pairs[one].indexed(raw, one, None, current_only=True) for one in places]
    if draft.random.randrange(2):
        stolen = with_signatures(stolen, CONTROLLER, repeated)
    draft.pieces.insert(at + 1, stolen)


def list_one_key_twice(draft: Draft) -> None:
    """Steal one next key of several, and list it as often as keys are needed."""
    at, piece, fact = draft.pick()
    last = draft.world.record.establishment(fact).fields
    pairs = [draft.world.record.pairs[draft.world.record.committed[one]] for one in last["n"]]
    place = draft.random.randrange(len(pairs)) if pairs else 0
    if not pairs or is_met(last["nt"], {place}):
        return
    fields = _following(fact.fields, fact, [pairs[place]] * len(pairs), [MALLORY_NEXT])
    fields["kt"] = draft.random.choice(("1", fields["kt"]))
    raw = readdress(fields, piece.kind)
    draft.stolen.add(raw)
    signatures = tuple(
        pairs[place].indexed(raw, index, ondex)
        for index in range(len(pairs))
        for ondex in {index, place}
    )
    receipts = _receipts(draft, fact, raw, fact.witness_threshold)
    groups = with_group((Group(CONTROLLER, signatures),), WITNESS, receipts)
    draft.pieces.insert(at + 1, Piece(raw, piece.kind, groups))


def _receipts(draft: Draft, fact: Fact, raw: bytes, count: int) -> list[Any]:
    witnesses = [draft.world.record.pairs[text] for text in fact.witnesses[:count]]
    return [one.indexed(raw, place, place) for place, one in enumerate(witnesses)]


def act_without_witnesses(draft: Draft) -> None:
    """Steal all keys and all witnesses but one too many; use these at many places."""
    at, piece, fact = draft.pick()
    if not fact.witness_threshold:
        return
    raw = readdress(_interaction(fact.fields, [{"d": fact.fields["d"]}]), piece.kind)
    stolen = draft.steal(fact, raw, piece.kind, range(len(fact.keys)))
    pairs = [draft.world.record.pairs[text] for text in fact.witnesses]
    few = pairs[: fact.witness_threshold - 1]
    receipts = [one.indexed(raw, place, place) for one in few for place in range(len(pairs))]
    receipts += [MALLORY_WITNESS.indexed(raw, len(few), len(few))]
    couples = tuple(one.couple(raw) for one in [*few, *few, MALLORY_WITNESS])
    groups = (*stolen.groups, Group(WITNESS, tuple(receipts)))
    if draft.random.randrange(2):
        groups = (*groups, Group(GroupKind.RECEIPT_COUPLES, couples))
    draft.pieces.insert(at + 1, Piece(raw, piece.kind, groups))


def rotate_without_approval(draft: Draft) -> None:
    """Steal the next keys of a delegate, and rotate without its delegator."""
    facts, record = draft.world.record.facts, draft.world.record
    delegates = [one for one in draft.pieces if one.raw in facts and facts[one.raw].delegator]
    piece = draft.random.choice(delegates)
    fact = facts[piece.raw]
    pairs = [record.pairs[record.committed[one]] for one in record.establishment(fact).fields["n"]]
    fields = _following(fact.fields, fact, pairs, [MALLORY_NEXT])
    raw = readdress(fields, piece.kind)
    draft.stolen.add(raw)
    signatures = tuple(one.indexed(raw, place, place) for place, one in enumerate(pairs))
    at = draft.pieces.index(piece)
    draft.pieces.insert(at + 1, Piece(raw, piece.kind, (Group(CONTROLLER, signatures),)))
    boss = facts[draft.pieces[0].raw].fields
    seal = _interaction(boss, [{label: fields[label] for label in "isd"}])
    draft.pieces.insert(at + draft.random.randrange(2), _signed_by_mallory(seal))


def supersede(draft: Draft) -> None:
    """Steal all keys, and take a place that must not be taken again."""
    _, piece, fact = draft.pick()
    if "p" not in fact.fields:
        return
    record = draft.world.record
    before = record.by_said[fact.fields["p"]]
    later = [record.facts.get(one.raw) for one in draft.pieces]
    rotated = any(
        one is not None
        and one.establishes
        and one.place[0] == fact.place[0]
        and one.place[1] > fact.place[1]
        for one in later
    )
    last = record.establishment(before).fields
    pairs = [record.pairs[record.committed[digest]] for digest in last["n"]]
    mine = _interaction(before.fields, [{"d": fact.fields["d"]}])
    signers = record.signers(before)
    if draft.random.randrange(2) and (rotated or fact.establishes):
        mine, signers = _following(before.fields, before, pairs, [MALLORY_NEXT]), pairs
    raw = readdress(mine, piece.kind)
    draft.stolen.add(raw)
    signatures = tuple(one.indexed(raw, place, place) for place, one in enumerate(signers))
    receipts = _receipts(draft, before, raw, before.witness_threshold)
    groups = with_group((Group(CONTROLLER, signatures),), WITNESS, receipts)
    draft.pieces.append(Piece(raw, piece.kind, groups if receipts else groups[:1]))


def go_on_after_the_end(draft: Draft) -> None:
    """Steal the keys of a log that has ended, and go on."""
    piece = draft.pieces[-1]
    fact = draft.world.record.facts[piece.raw]
    fields = _interaction(fact.fields, [])
    if draft.random.randrange(2):
        signers = draft.world.record.signers(fact)
        fields = _following(fact.fields, fact, signers, [MALLORY_NEXT])
    raw = readdress(fields, piece.kind)
    draft.pieces.append(draft.steal(fact, raw, piece.kind, range(len(fact.keys))))
