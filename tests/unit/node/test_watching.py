"""The watcher: what it keeps of answers, what it tells, and what it never says."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from keystead.cesr.keys import digest
from keystead.errors import ErrorCode, UsageError
from keystead.keri.build import Configuration
from keystead.keri.seals import DigestSeal
from keystead.node.bundles import read_bundle
from keystead.node.freshness import Policy, Status
from keystead.node.watching import MOST_SOURCES, MOST_WATCHED, Watch, check_room, log_url
from keystead.stores import files
from keystead.stores.memory import MemoryStore
from keystead.stores.opening import name_location
from keystead.stores.watching import DatabaseWatch
from keystead.testing.authoring import Author, KeyPair, Signed, witness
from support.logs import attached, coupled, routed
from support.postgres import fresh_url
from support.watching import WATCHER, at, source, watch_in

ONE, TWO, THREE = (source(name) for name in ("one", "two", "three"))
WITNESSES = [witness(name) for name in ("one", "two", "three")]
OTHER = DigestSeal(digest(b"other"))


def _author(name: str = "watched") -> tuple[Author, Signed]:
    author = Author(name, witnesses=WITNESSES)
    return author, author.incept()


def _follow(store: DatabaseWatch, author: Author) -> None:
    store.watch(author.aid, [ONE, TWO, THREE], at(0).wall)


def _served(
    watch: Watch, author: Author, url: str, *made: Signed, second: float = 1.0
) -> list[str]:
    """Let a source serve events; return the kinds of notices."""
    body = b"".join(one.framed for one in made)
    took = watch.took(author.aid, url, body, at(second), at(second + 0.5))
    return [one.kind for one in took.notices]


def _statuses(watch: Watch, author: Author, second: float = 2.0) -> list[Status]:
    found = {one.view.source.url: one.status for one in watch.confirmations(author.aid, at(second))}
    return [found[one.url] for one in (ONE, TWO, THREE)]


def test_a_state_tells_who_confirmed_it_and_when() -> None:
    """Nothing says that a state is current; each source has its own time."""
    author, begun = _author()
    with watch_in() as (watch, store):
        _follow(store, author)
        assert watch.state(author.aid, Policy(), at(0))["state"] is None
        assert _served(watch, author, ONE.url, begun, second=10) == ["event"]
        assert _served(watch, author, TWO.url, begun, second=20) == []
        watch.failed(author.aid, THREE.url, "gone", at(30))
        state = watch.state(author.aid, Policy(None, 2), at(40), "nonce")
    assert state["state"]["d"] == begun.event.said
    assert (state["confirmed_by"], state["sources"], state["nonce"]) == (2, 3, "nonce")
    assert "current" not in state["summary"]
    assert "as confirmed by 2 of 3 sources" in state["summary"]
    ages = {one["url"]: one["age"] for one in state["by_source"]}
    assert ages == {ONE.url: 30.0, TWO.url: 20.0, THREE.url: None}
    assert state["policy"]["met"]


def test_a_policy_that_is_not_met_says_why() -> None:
    """Age and number of sources fail closed, with a reason for each source."""
    author, begun = _author()
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, begun, second=10)
        state = watch.state(author.aid, Policy(5.0, 1), at(40))
    assert not state["policy"]["met"]
    assert state["confirmed_by"] == 0
    assert any("30 s ago" in reason for reason in state["policy"]["reasons"])


def test_an_event_with_too_few_receipts_is_pending() -> None:
    """It is not accepted and not confirmed; the receipts of another source complete it."""
    author, begun = _author()
    event = author.interact()
    short = Signed(event.event, event.signatures, event.receipts[:2])
    rest = Signed(event.event, event.signatures, event.receipts[2:])
    with watch_in() as (watch, store):
        _follow(store, author)
        assert _served(watch, author, ONE.url, begun, short) == ["event", "pending"]
        assert _served(watch, author, ONE.url, begun, short) == []
        (pending,) = watch.state(author.aid, Policy(), at(2))["pending"]
        assert pending["waits_for"] == [{"what": "receipts", "detail": "2 of 3 receipts"}]
        assert watch.state(author.aid, Policy(), at(2))["state"]["s"] == "0"
        assert _served(watch, author, TWO.url, begun, rest) == ["event"]
        state = watch.state(author.aid, Policy(), at(3))
        assert state["state"]["s"] == "1"
        assert state["pending"] == []
        assert _statuses(watch, author)[:2] == [Status.BEHIND, Status.CONFIRMS]


def test_a_source_that_goes_back_is_told_of() -> None:
    """A log that lost its end is a warning, once, until it has it again."""
    author, begun = _author()
    event = author.interact()
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, begun, event)
        assert _served(watch, author, ONE.url, begun) == ["rollback"]
        assert _served(watch, author, ONE.url, begun) == []
        assert _statuses(watch, author)[0] is Status.ROLLED_BACK
        assert _served(watch, author, ONE.url, begun, event) == []
        assert _statuses(watch, author)[0] is Status.CONFIRMS


def test_a_recovery_is_no_duplicity_and_no_rollback() -> None:
    """A rotation that takes interactions back is told of as such; the first log is kept."""
    author, begun = _author()
    twin = author.fork()
    stolen, recovered = twin.interact(OTHER), author.rotate()
    with watch_in() as (watch, store):
        _follow(store, author)
        assert _served(watch, author, ONE.url, begun, stolen) == ["event"]
        assert _served(watch, author, TWO.url, begun, recovered) == ["recovery"]
        assert _served(watch, author, ONE.url, begun, stolen, recovered) == []
        assert _statuses(watch, author)[:2] == [Status.CONFIRMS, Status.CONFIRMS]
        kept = [one.event.said for one in store.events.first_seen(author.aid)]
    assert kept == [one.event.said for one in (begun, stolen, recovered)]


def test_another_version_is_kept_as_proof_and_never_stands() -> None:
    """First seen wins; the bundle proves the other version, and its source confirms nothing."""
    author, begun = _author()
    twin = author.fork()
    first, other = author.rotate(), twin.rotate(anchors=[OTHER])
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, begun, first)
        assert _served(watch, author, TWO.url, begun, other) == ["duplicity"]
        assert _served(watch, author, TWO.url, begun, other) == []
        assert _statuses(watch, author)[:2] == [Status.CONFIRMS, Status.OTHER_VERSION]
        state = watch.state(author.aid, Policy(), at(3))
        assert state["state"]["d"] == first.event.said
        assert [one["other"] for one in state["duplicity"]] == [other.event.said]
        (bundle,) = store.bundles(author.aid)
        assert bundle.sources == (TWO.url,)
        proof = read_bundle(bundle.data, MemoryStore(), at(0).wall)
    assert proof.observation is not None
    assert (proof.observation.first, proof.observation.other) == (
        first.event.said,
        other.event.said,
    )


def test_receipts_of_several_sources_come_together_in_a_proof() -> None:
    """Each witness that served the other version is named, with its receipt."""
    author, begun = _author()
    twin = author.fork()
    first, other = author.rotate(), twin.rotate(anchors=[OTHER])
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, begun, first)
        for place, url in enumerate((TWO.url, THREE.url), 1):
            part = Signed(other.event, other.signatures, other.receipts[place : place + 1])
            _served(watch, author, url, begun, part, second=float(place))
        (bundle,) = store.bundles(author.aid)
    assert {one.index for one in bundle.proofs.witness_signatures} == {1, 2}
    assert bundle.sources == (TWO.url, THREE.url)
    assert bundle.observed_at == at(1.5).wall


def test_two_versions_of_which_none_is_accepted_are_told_of() -> None:
    """A controller who splits its witnesses evenly is seen before either version stands."""
    author, begun = _author()
    twin = author.fork()
    one, two = author.interact(), twin.interact(OTHER)
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, begun, Signed(one.event, one.signatures, one.receipts[:1]))
        part = Signed(two.event, two.signatures, two.receipts[1:2])
        assert _served(watch, author, TWO.url, begun, part) == ["pending", "undecided"]
        # When one of them gets its receipts, the other is proven.
        assert _served(watch, author, THREE.url, begun, one) == ["duplicity", "event"]


def test_strangers_in_an_answer_are_passed_over() -> None:
    """A source cannot fill the store with logs that nobody asked for."""
    author, begun = _author()
    stranger = Author("stranger").incept()
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, stranger, begun)
        assert list(store.events.identifiers()) == [author.aid]


def test_the_log_of_a_delegator_is_asked_for() -> None:
    """A delegate is accepted when the log of its delegator has come."""
    head, begun = _author("head")
    arm = Author("arm", witnesses=WITNESSES)
    delegate = arm.incept(configuration=Configuration(delegator=head.aid))
    approval = head.interact(delegate.seal)
    with watch_in() as (watch, store):
        store.watch(arm.aid, [ONE], at(0).wall)
        took = watch.took(arm.aid, ONE.url, delegate.framed, at(1), at(1))
        assert took.unknown == (head.aid,)
        more = begun.framed + approval.framed
        assert watch.took_more(head.aid, ONE.url, more, at(2)) == ()
        took = watch.took(arm.aid, ONE.url, delegate.framed, at(1), at(3))
        assert took.unknown == ()
        assert watch.confirmations(arm.aid, at(3))[0].status is Status.CONFIRMS


def test_an_answer_without_the_log_is_a_failure() -> None:
    """Failures are counted, so that the source is asked less often."""
    author, _ = _author()
    with watch_in() as (watch, store):
        _follow(store, author)
        assert watch.took(author.aid, ONE.url, b"not CESR", at(1), at(1)).failures == 1
        assert watch.took(author.aid, ONE.url, b"", at(2), at(2)).failures == 2
        assert watch.failed(author.aid, ONE.url, "gone", at(3)) == 3
        assert watch.failed(author.aid, "http://unknown.example", "gone", at(3)) == 0


def test_what_is_no_longer_followed_is_not_written() -> None:
    """An answer that comes after the operator has removed the source changes nothing."""
    author, begun = _author()
    with watch_in() as (watch, store):
        _follow(store, author)
        store.unwatch(author.aid)
        assert _served(watch, author, ONE.url, begun) == []
        assert store.events.key_state(author.aid) is None
        watch.expire(at(5))


def test_a_restart_goes_on_with_what_was_seen() -> None:
    """Another process knows the ages, and does not tell again what was told."""
    author, begun = _author()
    with watch_in() as (watch, store):
        _follow(store, author)
        _served(watch, author, ONE.url, begun, second=10)
        later = Watch(store, watch.aid, KeyPair("the watcher").sign, at(20))
        assert later.confirmations(author.aid, at(30))[0].age == 20.0
        assert _served(later, author, ONE.url, begun, second=31) == []


def test_where_sources_have_logs() -> None:
    """Witnesses have the routes of keri 1.x, watchers their own."""
    author, _ = _author()
    assert log_url(ONE, author.aid) == f"{ONE.url}/query?typ=kel&pre={author.aid}"
    assert log_url(source("w", "watcher"), author.aid).endswith(f"/log/{author.aid}")


def test_there_is_an_end_to_what_is_followed() -> None:
    """Identifiers and sources have bounds."""
    check_room(MOST_WATCHED - 1, MOST_SOURCES)
    for watched, sources in ((MOST_WATCHED, 1), (0, MOST_SOURCES + 1)):
        with pytest.raises(UsageError) as raised:
            check_room(watched, sources)
        assert raised.value.code is ErrorCode.ARGUMENT


def _located(pair: KeyPair, url: str) -> bytes:
    raw = routed("rpy", r="/loc/scheme", a={"eid": pair.aid, "scheme": "http", "url": url})
    return attached(raw, coupled(pair, raw))


def test_statements_by_witnesses_are_kept_and_those_of_strangers_are_not() -> None:
    """Whoever resolves from a watcher learns where the witnesses are."""
    author, begun = _author()
    stranger = witness("stranger")
    nonsense = routed("rpy", r="/nonsense", a={})
    body = begun.framed + _located(WITNESSES[0], "http://one.example/")
    body += _located(stranger, "http://stranger.example/") + attached(
        nonsense, coupled(WITNESSES[0], nonsense)
    )
    body += routed("qry", q={"i": author.aid})
    with watch_in() as (watch, store):
        _follow(store, author)
        watch.took(author.aid, ONE.url, body, at(1), at(1))
        assert store.events.record(("loc", WITNESSES[0].aid, "http")) is not None
        assert store.events.record(("loc", stranger.aid, "http")) is None


def test_damaged_messages_are_told_and_do_not_spoil_the_rest() -> None:
    """The log counts; that something was malformed is said of the source."""
    author, begun = _author()
    damaged = begun.framed.replace(b'"t":"icp"', b'"t":"xcp"')
    with watch_in() as (watch, store):
        _follow(store, author)
        watch.took(author.aid, ONE.url, damaged + begun.framed, at(1), at(1))
        (view,) = [one for one in store.views(author.aid) if one.source.url == ONE.url]
        assert view.problem == "1 messages were malformed"
        assert _statuses(watch, author)[0] is Status.CONFIRMS


def test_there_is_an_end_to_proofs() -> None:
    """A controller who makes any number of versions does not fill the store."""
    author, begun = _author()
    twins = [author.fork() for _ in range(20)]
    log = [begun, author.rotate()]
    others = [
        twin.rotate(anchors=[DigestSeal(digest(f"{place}".encode()))])
        for place, twin in enumerate(twins)
    ]
    with watch_in() as (watch, store):
        _follow(store, author)
        kinds = _served(watch, author, ONE.url, *log, *others)
        assert kinds.count("duplicity") == len(store.bundles(author.aid)) == 16


def test_a_log_of_events_that_wait_confirms_nothing() -> None:
    """A source whose whole log lacks receipts has answered, and that is all."""
    author, begun = _author()
    bare = Signed(begun.event, begun.signatures)
    with watch_in() as (watch, store):
        _follow(store, author)
        took = watch.took(author.aid, ONE.url, bare.framed, at(1), at(1))
        assert (took.failures, took.receipts) == (0, (0,))
        assert _statuses(watch, author)[0] is Status.UNREACHABLE
        rest = begun.receipted(*WITNESSES)
        (notice,) = watch.took_more(author.aid, TWO.url, rest, at(2))
        assert notice.kind == "event"


@contextmanager
def _two_processes() -> Iterator[tuple[list[Watch], list[DatabaseWatch]]]:
    """Give two watchers on one PostgreSQL database."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fresh_url(empty=True) as url,
        ExitStack() as opened,
    ):
        home = Path(folder) / "watch"
        files.make_folder(home)
        name_location(home, url)
        DatabaseWatch.create(home).close()
        stores = [opened.enter_context(closing(DatabaseWatch.open(home))) for _ in range(2)]
        yield [Watch(one, WATCHER.aid, WATCHER.sign, at(0)) for one in stores], stores


def test_two_processes_tell_of_one_log_once() -> None:
    """What one has accepted and told the other finds accepted and told; both answer the same."""
    author, begun = _author()
    twin = author.fork()
    more, forged = author.interact(), twin.interact(OTHER)
    with _two_processes() as (watches, stores):
        _follow(stores[0], author)
        one, two = watches
        assert _served(one, author, ONE.url, begun, more, second=1) == ["event"]
        assert _served(two, author, ONE.url, begun, more, second=2) == []
        assert _served(two, author, TWO.url, begun, forged, second=3) == ["duplicity"]
        assert _served(one, author, TWO.url, begun, forged, second=4) == []
        answers = [watch.state(author.aid, Policy(), at(5)) for watch in watches]
        assert answers[0]["duplicity"] == answers[1]["duplicity"]
        assert answers[0]["state"] == answers[1]["state"]
        assert len(stores[0].bundles(author.aid)) == 1
        assert [one.number for one in stores[1].notices(0, 10)] == [1, 2]


def test_an_answer_that_another_process_has_overtaken_is_no_rollback() -> None:
    """Its call began before the log grew, and it came last; the source never went back."""
    author, begun = _author()
    more = author.interact()
    with _two_processes() as (watches, stores):
        _follow(stores[0], author)
        assert _served(watches[0], author, ONE.url, begun, more, second=2) == ["event"]
        body = begun.framed
        late = watches[1].took(author.aid, ONE.url, body, at(1), at(3))
        assert late.notices == ()
        assert _statuses(watches[1], author)[0] is Status.CONFIRMS
        assert _served(watches[1], author, ONE.url, begun, second=4) == ["rollback"]


def test_what_was_not_kept_is_not_remembered() -> None:
    """After a failure the same answer is looked at again, and its proof is kept."""
    author, begun = _author()
    twin = author.fork()
    more, forged = author.interact(), twin.interact(OTHER)
    broken = [True]

    def sign(data: bytes) -> bytes:
        if broken:
            broken.clear()
            raise ZeroDivisionError
        return WATCHER.sign(data)

    with watch_in() as (_, store):
        watch = Watch(store, WATCHER.aid, sign, at(0))
        _follow(store, author)
        assert _served(watch, author, ONE.url, begun, more) == ["event"]
        with pytest.raises(ZeroDivisionError):
            _served(watch, author, TWO.url, begun, forged)
        assert store.bundles(author.aid) == []
        assert _served(watch, author, TWO.url, begun, forged) == ["duplicity"]
        assert len(store.bundles(author.aid)) == 1
