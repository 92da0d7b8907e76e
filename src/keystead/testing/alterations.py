"""Mutations of bytes and of attachments: what anybody on the way can do."""

import re
from dataclasses import replace
from random import Random

from keystead.cesr import base64, indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import (
    Group,
    ReceiptCouple,
    ReceiptQuadruple,
    SignatureGroup,
    SourceCouple,
    SourceTriple,
)
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Signature, parse_key
from keystead.suites import Suite
from keystead.testing.draft import (
    CONTROLLER,
    MALLORY_KEY,
    WITNESS,
    Draft,
    signatures_in,
    with_signatures,
)
from keystead.testing.scenes import MALLORY_WITNESS, Piece

_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
_COUNTER = re.compile(rb"-[A-Z][A-Za-z0-9_-]{2}")
_COUNTER_LETTERS = b"ABCDEFGHIJKLV"


def cut(random: Random, stream: bytes) -> bytes:
    """Lose the end, or something in between."""
    start = random.randrange(len(stream))
    if random.random() < 0.5:  # noqa: PLR2004 - a coin
        return stream[:start]
    return stream[:start] + stream[start + random.choice((1, 3, 4, 44, 88, 300)) :]


def flip_bits(random: Random, stream: bytes) -> bytes:
    """Change one to three bits."""
    changed = bytearray(stream)
    for _ in range(random.randint(1, 3)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def change_bytes(random: Random, stream: bytes) -> bytes:
    """Overwrite, insert or repeat some bytes."""
    start, size = random.randrange(len(stream)), random.choice((1, 2, 4, 44))
    found = stream[start : start + size]
    noise = random.choice((
        random.randbytes(size), b"\n" * size, b"{" * size, b"-" * size, b"A" * size, found
    ))  # fmt: skip
    behind = start if random.random() < 0.5 else start + size  # noqa: PLR2004 - a coin
    return stream[:start] + noise + stream[behind:]


def lie_in_counter(draft: Draft) -> None:
    """Change the code or the count of a counter."""
    at, piece, _ = draft.pick()
    attached = bytearray(piece.attached)
    if piece.binary:
        attached[0:3] = base64.decode(_lie(draft.random, base64.encode(bytes(attached[:3]))))
    else:
        places = [found.start() for found in _COUNTER.finditer(bytes(attached))]
        start = draft.random.choice(places[:2])
        attached[start : start + 4] = _lie(draft.random, bytes(attached[start : start + 4]))
    draft.pieces[at] = Piece(piece.raw + bytes(attached), piece.kind, (), framed=False)


def _lie(random: Random, counter: bytes) -> bytes:
    lie = bytearray(counter)
    if random.random() < 0.3:  # noqa: PLR2004 - sometimes the code
        lie[1] = random.choice(_COUNTER_LETTERS)
        return bytes(lie)
    count = base64.to_int(bytes(lie[2:]))
    others = (0, 1, count - 1, count + 1, count * 2, 63, 64, 4095, random.randrange(4096))
    lie[2:] = base64.from_int(max(0, min(4095, random.choice(others))), 2).encode()
    return bytes(lie)


def repeat_signature(draft: Draft) -> None:
    """Use one signature at several places, or several times at one."""
    at, piece, fact = draft.pick()
    kind = WITNESS if signatures_in(piece, WITNESS) and draft.random.randrange(2) else CONTROLLER
    have = signatures_in(piece, kind)
    if not have:
        return
    one = draft.random.choice(have)
    most = len(fact.keys if kind is CONTROLLER else fact.witnesses) + 1
    same = [_moved(one, index, index) for index in range(most)]
    if draft.random.randrange(2):
        same = [_moved(one, one.index, ondex) for ondex in range(most)]
    elif draft.random.randrange(2):
        same = [one] * most
    draft.pieces[at] = with_signatures(piece, kind, same)


def swap_places(draft: Draft) -> None:
    """Exchange the places that signatures claim, in the current or in the next list."""
    at, piece, fact = draft.pick()
    have = signatures_in(piece, CONTROLLER)
    if not have:
        return
    most = len(fact.keys) + 1
    indices = [draft.random.randrange(most) for _ in have]
    if draft.random.randrange(2):
        indices = [one.index for one in have]
    ondices = [draft.random.choice((*range(most), 63, 64)) for _ in have]
    if draft.random.randrange(3) == 0:
        ondices = [one.index if one.ondex is None else one.ondex for one in have]
    moved = [_moved(*parts) for parts in zip(have, indices, ondices, strict=True)]
    draft.pieces[at] = with_signatures(piece, CONTROLLER, moved)


def _moved(one: IndexedSignature, index: int, ondex: int) -> IndexedSignature:
    return indexed.make(Suite.ED25519, one.raw, index, ondex=ondex)


def drop_signatures(draft: Draft) -> None:
    """Take some signatures or receipts away."""
    at, piece, _ = draft.pick()
    for kind in (CONTROLLER, WITNESS):
        have = signatures_in(piece, kind)
        kept = draft.random.sample(have, draft.random.randrange(len(have))) if have else []
        if have and (draft.random.randrange(2) or not signatures_in(piece, WITNESS)):
            piece = with_signatures(piece, kind, kept)
    draft.pieces[at] = piece


def sign_with_other_key(draft: Draft) -> None:
    """Sign with a key that the event does not name."""
    at, piece, fact = draft.pick()
    made = [MALLORY_KEY.indexed(piece.raw, place, place) for place in range(len(fact.keys))]
    have = signatures_in(piece, CONTROLLER)
    if have and len(made) > 1 and draft.random.randrange(2):
        made[0] = have[0]
    draft.put(at, with_signatures(piece, CONTROLLER, made))


def bend_signature(draft: Draft) -> None:
    """Change a signature into what a careless verifier takes for the same, or for any."""
    at, piece, _ = draft.pick()
    have = signatures_in(piece, CONTROLLER)
    if not have:
        return
    one = draft.random.choice(have)
    order = int.from_bytes(one.raw[32:], "little") + _ED25519_ORDER
    identity = b"\x01" + bytes(31)
    raw = draft.random.choice((
        one.raw[:32] + order.to_bytes(32, "little"), bytes(64), identity + bytes(32),
        one.raw[32:] + one.raw[:32], one.raw[:63] + bytes([one.raw[63] ^ 0x80]),
    ))  # fmt: skip
    bent = indexed.make(Suite.ED25519, raw, one.index, ondex=one.ondex)
    others = [other for other in have if other is not one]
    draft.pieces[at] = with_signatures(piece, CONTROLLER, [*others, bent])


def replay_signatures(draft: Draft) -> None:
    """Attach what belongs to another event."""
    at, piece, _ = draft.pick()
    other = draft.random.choice(draft.pieces)
    if draft.random.randrange(4) == 0:
        other = draft.other_piece()
    kept = tuple(one for one in piece.groups if one.kind is WITNESS and draft.random.randrange(2))
    draft.put(at, replace(piece, groups=other.groups + kept))


def splice_logs(draft: Draft) -> None:
    """Take a message of another log, or half of it."""
    at, piece, _ = draft.pick()
    other = draft.other_piece()
    choice = draft.random.randrange(4)
    if choice == 0:
        draft.pieces.insert(at, other)
    elif choice == 1:
        draft.pieces[at] = replace(other, groups=piece.groups)
    elif choice == 2:  # noqa: PLR2004 - the third way
        draft.pieces[at:] = list(draft.random.choice(list(draft.world.scenes.values())).pieces)
    else:
        half = draft.random.randrange(1, len(piece.raw))
        draft.pieces[at] = replace(piece, raw=piece.raw[:half] + other.raw[half:])


def change_order(draft: Draft) -> None:
    """Shuffle, repeat and lose messages."""
    draft.random.shuffle(draft.pieces)
    if draft.random.randrange(2):
        draft.pieces.append(draft.random.choice(draft.pieces))
    if draft.random.randrange(2):
        draft.pieces.pop(draft.random.randrange(len(draft.pieces)))
    if not draft.pieces:
        draft.pieces.append(draft.other_piece())


def forge_receipts(draft: Draft) -> None:
    """Receipt events in the name of witnesses."""
    at, piece, fact = draft.pick()
    piece = with_signatures(piece, WITNESS, ())
    witnesses = [parse_key(text) for text in fact.witnesses]
    signature = Signature(Suite.ED25519, MALLORY_WITNESS.sign(piece.raw))
    genuine = [made for made in sorted(fact.made) if made[0] in fact.witnesses]
    forged = [MALLORY_WITNESS.indexed(piece.raw, n, n) for n in range(len(witnesses))]
    choice = draft.random.randrange(4)
    if choice == 0:
        couples = tuple(ReceiptCouple(key, signature) for key in witnesses)
        piece = _with(piece, Group(GroupKind.RECEIPT_COUPLES, couples))
    elif choice == 1:
        couples = (MALLORY_WITNESS.couple(piece.raw),) * max(1, len(witnesses))
        piece = _with(piece, Group(GroupKind.RECEIPT_COUPLES, couples))
    elif choice == 2 and genuine:  # noqa: PLR2004 - the third way: one witness for all
        same = genuine[0][1]
        forged = [indexed.make(Suite.ED25519, same, n, ondex=n) for n in range(len(witnesses))]
        couple = ReceiptCouple(parse_key(genuine[0][0]), Signature(Suite.ED25519, same))
        piece = _with(
            with_signatures(piece, WITNESS, forged), Group(GroupKind.RECEIPT_COUPLES, (couple,) * 3)
        )
    else:
        piece = with_signatures(piece, WITNESS, forged)
    draft.pieces[at] = piece
    if draft.random.randrange(2):
        _drop_receipt_messages(draft)


def _drop_receipt_messages(draft: Draft) -> None:
    facts = draft.world.record.facts
    draft.pieces[:] = [piece for piece in draft.pieces if piece.raw in facts] or draft.pieces


def forge_endorsement(draft: Draft) -> None:
    """Sign in the name of an identifier that has a log of its own."""
    at, piece, fact = draft.pick()
    friend = draft.random.choice(list(draft.world.record.facts.values()))
    aid, sn, said = friend.place
    made = tuple(MALLORY_KEY.indexed(piece.raw, n, n) for n in range(len(friend.keys)))
    other = draft.random.choice(sorted(fact.made))[1]
    stale = (indexed.make(Suite.ED25519, other, 0, ondex=0),)
    signatures = draft.random.choice((made, stale))
    if draft.random.randrange(2):
        group = SignatureGroup(aid, sn, said, signatures)
        piece = _with(piece, Group(GroupKind.SIGNATURE_GROUPS, (group,)))
    else:
        quadruples = tuple(ReceiptQuadruple(aid, sn, said, one) for one in signatures)
        piece = _with(piece, Group(GroupKind.RECEIPT_QUADRUPLES, quadruples))
    draft.pieces[at] = piece
    known = next(one for one in draft.world.scenes["endorsed"].pieces)
    draft.pieces.insert(draft.random.randrange(2) * at, known)


def forge_seals(draft: Draft) -> None:
    """Approve a delegated event without its delegator."""
    facts = draft.world.record.facts
    delegates = [one for one in draft.pieces if one.raw in facts and facts[one.raw].delegator]
    needed = draft.random.choice(delegates)
    seal = {label: facts[needed.raw].fields[label] for label in "isd"}
    sealing = [
        one for one in draft.pieces if one.raw in facts and seal in facts[one.raw].fields["a"]
    ]
    draft.pieces[:] = [one for one in draft.pieces if one not in sealing]
    start = facts[draft.pieces[0].raw]
    aid, sn, said = draft.random.choice([facts[one.raw] for one in sealing] or [start]).place
    claims = draft.random.choice((
        Group(GroupKind.SOURCE_COUPLES, (SourceCouple(sn, said),)),
        Group(GroupKind.SOURCE_TRIPLES, (SourceTriple(aid, sn, said),)),
    ))  # fmt: skip
    at = draft.pieces.index(needed)
    draft.pieces[at] = _with(needed, claims)
    if draft.random.randrange(2):
        draft.pieces[at:at] = draft.world.mallory
    elif sealing:  # the delegator's own event, changed or not signed by it
        lost = sealing[0]
        signed = [MALLORY_KEY.indexed(lost.raw, 0, 0)]
        draft.pieces.insert(at, with_signatures(lost, CONTROLLER, signed))


def _with(piece: Piece, group: Group) -> Piece:
    return replace(piece, groups=(*piece.groups, group))


def change_form(draft: Draft) -> None:
    """Write attachments in every way, genuine or misplaced."""
    for at, piece in enumerate(draft.pieces):
        framed, binary = draft.random.random() < 0.5, draft.random.random() < 0.5  # noqa: PLR2004 - two coins
        groups = list(piece.groups)
        draft.random.shuffle(groups)
        if draft.random.randrange(4) == 0:
            groups += draft.other_piece().groups
        draft.pieces[at] = replace(piece, groups=tuple(groups), framed=framed, binary=binary)
