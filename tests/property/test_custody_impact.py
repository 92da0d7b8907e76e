"""The impact of a key is what can be reached from it, in any inventory."""

from hypothesis import given
from hypothesis import strategies as st

from keystead.custody.catalogue import Method
from keystead.custody.impact import SignedEventRef, Standing, impact
from keystead.custody.records import KeyRecord
from keystead.custody.states import SUSPECT, State
from support.key_records import key_record

AIDS = ("", "A", "B")


@st.composite
def _inventories(draw: st.DrawFn) -> list[KeyRecord]:
    """Return keys with any parents: none, missing ones, themselves, circles."""
    count = draw(st.integers(1, 12))
    ids = [f"key{number}" for number in range(count)]
    return [
        key_record(
            key_id,
            parent=draw(st.sampled_from(["", "lost", *ids])),
            identifier=draw(st.sampled_from(AIDS)),
            method=draw(st.sampled_from([Method.DERIVED, Method.RANDOM])),
            state=draw(st.sampled_from(State)),
            exposed_since=draw(st.none() | st.integers(0, 5)),
        )
        for key_id in ids
    ]


def _is_below(record: KeyRecord, top: str, inventory: dict[str, KeyRecord]) -> bool:
    """Follow the parents of a key upwards."""
    parent = record.parent
    for _ in inventory:
        if parent == top:
            return True
        if parent not in inventory:
            return False
        parent = inventory[parent].parent
    return False


@given(_inventories(), st.data())
def test_what_is_below(records: list[KeyRecord], data: st.DataObject) -> None:
    """Exactly the keys with a way up to the key are below it, each once, in one of two lists."""
    top = data.draw(st.sampled_from(records)).id
    found = impact(top, records, [], standings={})
    inventory = {record.id: record for record in records}
    below = {one.id for one in records if one.id != top and _is_below(one, top, inventory)}
    assert sorted((*found.derived, *found.wrapped)) == sorted(below)
    assert all(inventory[key].method is Method.DERIVED for key in found.derived)
    assert all(inventory[key].method is not Method.DERIVED for key in found.wrapped)
    mentioned = {key for one in found.identifiers for key in (*one.current, *one.next, *one.past)}
    assert mentioned == {key for key in (top, *below) if inventory[key].identifier}


@given(_inventories(), st.data())
def test_control(records: list[KeyRecord], data: st.DataObject) -> None:
    """Control is lost exactly when the keys of a thief reach a threshold of an affected log."""
    names = [record.id for record in records if record.identifier == "A"]
    threshold = data.draw(st.integers(1, 3))
    cut = data.draw(st.integers(0, len(names)))
    now, later = tuple(names[:cut]), tuple(names[cut:])
    standing = Standing(
        current=now,
        next=later,
        can_sign=lambda places: len(places) >= threshold,
        can_rotate=lambda places: len(places) >= threshold,
    )
    top = data.draw(st.sampled_from(records)).id
    found = impact(top, records, [], standings={"A": standing})
    stolen = {top, *found.derived, *found.wrapped}
    stolen |= {record.id for record in records if record.state in SUSPECT}
    for one in found.identifiers:
        if one.aid == "A":
            assert one.thief_can_sign == (len(stolen.intersection(now)) >= threshold)
            assert one.thief_can_rotate == (len(stolen.intersection(later)) >= threshold)


@given(_inventories(), st.data())
def test_events(records: list[KeyRecord], data: st.DataObject) -> None:
    """An event is doubted if an affected key signed it when it was, or may have been, exposed."""
    ids = [record.id for record in records]
    events = [
        SignedEventRef(aid="A", sn=sn, said=f"said{sn}", kind="ixn", keys=tuple(sorted(keys)))
        for sn, keys in enumerate(
            data.draw(st.lists(st.sets(st.sampled_from([*ids, "unknown"])), max_size=8))
        )
    ]
    top = data.draw(st.sampled_from(ids))
    found = impact(top, records, events, standings={})
    affected = {top, *found.derived, *found.wrapped}
    since = {one.id: one.exposed_since or 0 for one in records if one.id in affected}
    for event in events:
        doubted = any(key in since and since[key] <= event.sn for key in event.keys)
        assert (event in found.events) == doubted
