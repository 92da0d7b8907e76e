"""Whatever is served twice is reported: forks of every kind, by sources in any order."""

from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.cesr.keys import Aid
from keystead.keri.events import Rotation
from keystead.keri.seals import EventSeal
from keystead.limits import Limits
from keystead.node.bundles import read_bundle
from keystead.node.freshness import Moment
from keystead.node.ingest import EventProcessor
from keystead.node.watching import Watch
from keystead.ports.watching import Notice, Source
from keystead.stores.memory import MemoryStore
from keystead.testing.authoring import witness
from support.branches import START, Branch, Made
from support.watching import WATCHER, watch_in

_NUMBERS = count()
_KINDS = st.lists(st.sampled_from(["ixn", "rot"]), min_size=1, max_size=3)
_FORKS = st.lists(
    # which branch, behind which of its events, what comes then, whether it lacks a receipt
    st.tuples(st.integers(0, 7), st.integers(0, 7), _KINDS, st.booleans()),
    min_size=1,
    max_size=6,
)


class _Path(msgspec.Struct):
    """One history: its events, who goes on behind each of them, and which lack a receipt."""

    made: list[Made]
    authors: list[Branch]
    short: set[str]

    def stream(self) -> bytes:
        """Return the log as a witness serves it."""
        return b"".join(
            one.packet(None, (0,) if one.said in self.short else None).data for one in self.made
        )


def _histories(first: list[str], forks: list[tuple[int, int, list[str], bool]]) -> list[_Path]:
    author = Branch(f"forks {next(_NUMBERS)}", witnesses=[witness("one"), witness("two")])
    trunk = _Path([author.begin()], [author.branch()], set())
    _grow(trunk, first, short=False)
    paths = [trunk]
    for which, behind, kinds, short in forks:
        parent = paths[which % len(paths)]
        cut = behind % len(parent.made) + 1
        twin = _Path(parent.made[:cut], parent.authors[:cut], set(parent.short))
        _grow(twin, kinds, short=short)
        paths.append(twin)
    return paths


def _grow(path: _Path, kinds: list[str], *, short: bool) -> None:
    author = path.authors[-1].branch()
    for kind in kinds:
        path.made.append(author.extend(kind))
        path.authors.append(author.branch())
        if short:
            path.short.add(path.made[-1].said)


@settings(deadline=None, max_examples=60)
@given(first=_KINDS, forks=_FORKS, order=st.randoms(use_true_random=False))
def test_every_fork_is_reported_with_a_proof(
    first: list[str], forks: list[tuple[int, int, list[str], bool]], order: Random
) -> None:
    """Each event that may not stand beside the first seen gets a notice and a bundle that proves it."""
    paths = _histories(first, forks)
    order.shuffle(paths)
    aid = Aid(paths[0].made[0].body["i"])
    with watch_in() as (watch, store):
        store.watch(aid, [_source(at) for at in range(len(paths))], START)
        alone = MemoryStore(Limits(evidence=1000))
        processor = EventProcessor(alone)
        notices: list[Notice] = []
        for at, path in enumerate(paths):
            now = Moment(START + timedelta(seconds=at), float(at))
            notices += watch.took(aid, _source(at).url, path.stream(), now, now).notices
            reader = processor.reader()
            reader.feed(path.stream())
            reader.close()
            for message in reader:
                processor.process(message, now=now.wall)  # type: ignore[arg-type] # well-formed
        bundles = {one.said: one for one in store.bundles(aid)}
        # What the store of events finds by itself is reported.
        assert {one.other.said for one in alone.duplicity(aid)} <= set(bundles)
        # So is every event whose place is taken, whatever the store says.
        assert _unfit(watch, aid, paths) <= set(bundles)
        told = {one.data["other"] for one in notices if one.kind == "duplicity"}
        assert told == set(bundles)
        for said, bundle in bundles.items():
            proof = read_bundle(bundle.data, MemoryStore(), START)
            assert proof.observation is not None
            assert proof.observation.watcher == WATCHER.aid
            assert proof.observation.other == said
            assert said in {one.other.said for one in proof.evidence}


def _unfit(watch: Watch, aid: Aid, paths: list[_Path]) -> set[str]:
    """Return the events behind an event of the trunk that may not take the place they claim."""
    events = watch.store.events
    trunk = {one.event.said: one.event for one in events.events(aid)}
    last = max(one.sn for one in trunk.values() if one.message_type != "ixn")
    found = set()
    for path in paths:
        for made in path.made[1:]:
            body = made.body
            seal: EventSeal = made.seal
            at_place = events.event(aid, seal.sn)
            if body["p"] not in trunk or at_place is None or made.said in trunk:
                continue
            if events.accepted(aid, seal.said) is not None:
                continue  # it had the place once, and a recovery took it back
            recovers = body["t"] == "rot" and not isinstance(at_place.event, Rotation)
            if not (recovers and last <= seal.sn):
                found.add(made.said)
    return found


def _source(at: int) -> Source:
    return Source(f"http://source{at}.example", witness(f"source {at}").aid, "witness")


def test_the_store_is_where_it_should_be(tmp_path: Path) -> None:
    """The store of the tests is a real one, with all that was told in it."""
    with watch_in(tmp_path / "watch") as (watch, _):
        assert watch.aid == WATCHER.aid
        assert (tmp_path / "watch" / "watcher.db").exists()
