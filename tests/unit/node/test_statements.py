"""What a witness takes besides events: receipts, questions and statements, and from whom."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.build import Witnesses
from keystead.keri.messages import Receipt
from keystead.limits import DEFAULT_LIMITS, Limits
from keystead.node.statements import MOST_AHEAD, OWN_STATEMENTS
from keystead.node.witness import Admission, Status, Witness
from keystead.ports.witness import Admitted, Origin
from keystead.services.witness_home import WitnessHome
from keystead.stores.fsck import check
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, KeyPair, witness
from keystead.testing.simulation.owners import read_all
from support.logs import attached, controlled, coupled, endorsed, routed
from support.witnessing import (
    ME,
    NOW,
    MovingAuthor,
    author,
    new_home,
    opened,
    sent,
    signer_of,
    submitted,
)

NEAR = witness("near")


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> WitnessHome:
    """Give a new witness."""
    return new_home(tmp_path)


def _location(
    who: KeyPair, url: str = "http://127.0.0.1:1/", ahead: timedelta = timedelta()
) -> bytes:
    stamp = (NOW + ahead).isoformat(timespec="microseconds")
    attributes = {"eid": who.aid, "scheme": "http", "url": url}
    raw = routed("rpy", r="/loc/scheme", dt=stamp, a=attributes)
    return attached(raw, coupled(who, raw))


def _role(who: Author, eid: Aid, role: str = "agent") -> bytes:
    raw = routed("rpy", r="/end/role/add", a={"cid": who.aid, "role": role, "eid": eid})
    return attached(raw, endorsed(who, raw))


def _own_role(who: KeyPair) -> bytes:
    attributes = {"cid": who.aid, "role": "peer", "eid": ME.aid}
    raw = routed("rpy", r="/end/role/add", a=attributes)
    return attached(raw, coupled(who, raw))


def _refusals(one: Witness, *streams: bytes) -> list[ErrorCode]:
    return [error.code for error in submitted(one, *streams).errors]


def _is_known(one: Witness, who: KeyPair) -> bool:
    return one.store.events.record(("loc", who.aid, "http")) is not None


def test_of_neighbours_only_the_places_are_taken(home: WitnessHome) -> None:
    """A let-in identifier names whom it likes as its witnesses; they have no more to say here."""
    with opened(home) as one:
        owner = author("near", "near")
        assert _refusals(one, _location(NEAR)) == [ErrorCode.NOT_ADMITTED]
        sent(one, owner.incept())
        assert _refusals(one, _location(NEAR)) == []
        assert _is_known(one, NEAR)
        assert _refusals(one, _own_role(NEAR)) == [ErrorCode.NOT_ADMITTED]
        assert _refusals(one, _role(owner, NEAR.aid)) == []


def test_key_state_notices_are_not_taken(home: WitnessHome) -> None:
    """Anybody can sign one, about anybody."""
    with opened(home) as one:
        owner = author("noticed")
        sent(one, owner.incept())
        raw = routed("rpy", r=f"/ksn/{NEAR.aid}", a={"i": owner.aid})
        assert _refusals(one, attached(raw, coupled(NEAR, raw))) == [ErrorCode.ROUTE]


def test_where_a_former_witness_is_is_forgotten(home: WitnessHome) -> None:
    """Else an owner could fill the table by exchanging its witnesses again and again."""
    with opened(home) as one:
        owner = MovingAuthor("moving", witnesses=[ME, NEAR])
        other = author("stays", "near")
        sent(one, owner.incept())
        sent(one, other.incept())
        submitted(one, _location(NEAR))
        sent(one, owner.change(Witnesses(1, removed=(NEAR.aid,))))
        assert _is_known(one, NEAR)  # the other log has it still
        left = MovingAuthor("leaves", witnesses=[ME, witness("far")])
        sent(one, left.incept())
        submitted(one, _location(witness("far")))
        assert _is_known(one, witness("far"))
        sent(one, left.change(Witnesses(1, removed=(witness("far").aid,))))
        assert not _is_known(one, witness("far"))
        assert _refusals(one, _location(witness("far"))) == [ErrorCode.NOT_ADMITTED]
    with closing(DatabaseWitness.open(home.folder)) as store:
        found = check(store.database)
        assert [one for one in found if not one.what.endswith("receipts")] == []


def test_a_witness_that_was_cut_keeps_its_own_location(home: WitnessHome) -> None:
    """It is in the list of its logs, as all others are."""
    with opened(home) as one:
        owner = MovingAuthor("cuts", witnesses=[ME])
        sent(one, owner.incept())
        submitted(one, _location(ME))
        sent(one, owner.change(Witnesses(0, removed=(ME.aid,))))
        assert _is_known(one, ME)


def test_room_stays_for_others(home: WitnessHome) -> None:
    """Neighbours fill half of it, those who were let in most of it, and what is known may change."""
    limits = replace(DEFAULT_LIMITS, records=4)
    with _limited(home, limits) as one:
        owner = author("full", "a", "b", "c")
        sent(one, owner.incept())
        pairs = [witness(name) for name in "abc"]
        assert _refusals(one, *map(_location, pairs)) == [ErrorCode.RECORDS_FULL]
        later = _location(pairs[0], "http://127.0.0.1:2/", timedelta(seconds=1))
        assert _refusals(one, later) == []
        assert _refusals(one, _role(owner, ME.aid), _role(owner, NEAR.aid)) == []
        assert _refusals(one, _role(owner, ME.aid, "judge")) == [ErrorCode.RECORDS_FULL]


@contextmanager
def _limited(home: WitnessHome, limits: Limits) -> Iterator[Witness]:
    with closing(DatabaseWitness.open(home.folder, limits)) as store, signer_of(home) as signer:
        yield Witness(store, signer, admission=Admission(10), limits=limits)


def test_one_identifier_has_a_bounded_number_of_statements(home: WitnessHome) -> None:
    """However many it signs."""
    with opened(home) as one:
        owner = author("talks")
        sent(one, owner.incept())
        agents = (Author(f"agent {number}").incept().event.aid for number in range(OWN_STATEMENTS))
        assert _refusals(one, *(_role(owner, agent) for agent in agents)) == []
        assert _refusals(one, _role(owner, NEAR.aid)) == [ErrorCode.RECORDS_FULL]


def test_statements_from_the_future_are_not_taken(home: WitnessHome) -> None:
    """Nothing could replace them before that; clocks may differ a little."""
    with opened(home) as one:
        sent(one, author("clock", "near").incept())
        later = MOST_AHEAD + timedelta(seconds=1)
        assert _refusals(one, _location(NEAR, ahead=later)) == [ErrorCode.FUTURE]
        assert _refusals(one, _location(NEAR, ahead=MOST_AHEAD)) == []


def test_who_was_shut_out_gets_no_receipt_for_what_waited(home: WitnessHome) -> None:
    """Neither when a receipt completes the event, nor when anything else does."""
    with opened(home) as one:
        owner = Author("shut out", keys=2, witnesses=[ME])
        sent(one, owner.incept())
        event = owner.interact()
        first, second = event.signatures
        half = attached(event.event.raw, controlled(first))
        assert submitted(one, half).events[0].status is Status.WAITS
        one.store.admit(Admitted(owner.aid, allowed=False, origin=Origin.OPERATOR, since=""))
        body = build.receipt(Receipt(owner.aid, event.event.sn, event.event.said))
        done = submitted(one, attached(body, controlled(second)))
        assert [error.code for error in done.errors] == [ErrorCode.NOT_ADMITTED]
        assert (done.events, done.taken) == ([], 0)
        # As a way around the check above would do.
        message = read_all(attached(body, controlled(second)))[0]
        with one.store.transaction():
            one._process(message, NOW, done)  # noqa: SLF001 - as told
        assert [answer.status for answer in done.events] == [Status.KEPT]
        assert one.receipted(owner.aid, sn=1).witness_signatures == ()
