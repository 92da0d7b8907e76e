"""What waits takes no more memory than it is charged for, whatever strangers send."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from keystead.cesr import base64
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid, Said
from keystead.keri import build
from keystead.keri.messages import Receipt
from keystead.limits import Limits
from support.logs import DIGEST, Node, attached, controlled, group, raw_of, routed

ROOM = 1024 * 1024


def _aid(number: int) -> Aid:
    return Aid("E" + base64.encode(bytes(1) + number.to_bytes(32, "big")).decode()[1:])


def _signature(number: int, other: int = 0) -> IndexedSignature:
    raw = number.to_bytes(32, "big") + other.to_bytes(32, "big")
    return IndexedSignature("A", 0, 0, raw)


def _exchange(number: int, *content: object) -> bytes:
    signer = _aid(number)
    raw = routed("exn", i=signer, a={"n": number, "l": list(content)})
    named = SignatureGroup(signer, 0, DIGEST, (_signature(number),))
    return attached(raw, group(GroupKind.SIGNATURE_GROUPS, named))


def _small(number: int) -> bytes:
    return _exchange(number)


def _empty_maps(number: int) -> bytes:
    return _exchange(number, *[{}] * 2000)


def _nested_lists(number: int) -> bytes:
    return _exchange(number, *[[[[[]]]]] * 500)


def _texts(number: int) -> bytes:
    return _exchange(number, *[f"{one:04}" for one in range(2000)])


def _interaction(number: int, count: int = 0) -> bytes:
    body = {"v": "", "t": "ixn", "d": "", "i": _aid(number), "s": "5", "p": DIGEST}
    raw = raw_of({**body, "a": [{"d": ""}] * count})
    return attached(raw, controlled(_signature(number)))


def _seals(number: int) -> bytes:
    return _interaction(number, 1000)


def _endorsements(number: int, count: int = 100) -> bytes:
    groups = [
        SignatureGroup(_aid(one), one, Said(_aid(number)), (_signature(number, one),))
        for one in range(count)
    ]
    body = build.receipt(Receipt(_aid(number), 5, Said(DIGEST)))
    return attached(body, group(GroupKind.SIGNATURE_GROUPS, *groups))


@pytest.mark.parametrize(
    "make",
    [_small, _empty_maps, _nested_lists, _texts, _interaction, _seals, _endorsements],
    ids=lambda make: make.__name__.strip("_"),
)
def test_what_waits_is_charged_for_its_memory(make: Callable[[int], bytes]) -> None:
    """When the room is used up, the objects take no more than it by a quarter."""
    node = Node(limits=Limits(held_bytes=ROOM))
    for number in range(20):  # fill the caches
        node.feed(make(number))
    gc.collect()
    node = Node(limits=Limits(held_bytes=ROOM))
    tracemalloc.start()
    try:
        number = 100
        while len(node.results(make(number))) == 1:  # nothing is evicted yet
            number += 1
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.3 * ROOM < taken < 1.25 * ROOM
