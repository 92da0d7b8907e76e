"""Whom a witness lets in: an invitation or the quota is used up only by what its keys have signed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.stream import Message, StreamReader
from keystead.cesr.writing import write_groups
from keystead.errors import ErrorCode
from keystead.keri import forms
from keystead.keystores.receipting import LocalReceiptSigner
from keystead.keystores.service_key import ServiceKey
from keystead.limits import DEFAULT_LIMITS
from keystead.node.witness import (
    CLOSED,
    Admission,
    EventAnswer,
    Status,
    Submission,
    Submitted,
    Witness,
    invitation_digest,
)
from keystead.ports.witness import Origin
from keystead.services.witness_home import WitnessHome
from keystead.stores import files
from keystead.stores.witness import DatabaseWitness
from keystead.testing.authoring import Author, Signed, witness

ME = witness("at the door")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CODE = "a code of an invitation"


@contextmanager
def _opened(folder: Path, admission: Admission) -> Iterator[Witness]:
    home, key = WitnessHome(folder / "home", folder / "state"), ServiceKey(ME.seed)
    files.make_folder(home.folder)
    home.make(key)
    with ExitStack() as stack:
        store = DatabaseWitness.open(home.folder)
        stack.callback(store.close)
        signer = LocalReceiptSigner.open(home.memory(ME.aid), key)
        stack.callback(signer.close)
        yield Witness(store, signer, admission=admission)


@pytest.fixture(name="invited")
def _invited(tmp_path: Path) -> Iterator[Witness]:
    with _opened(tmp_path, CLOSED) as one:
        one.store.invite(invitation_digest(CODE), 1, None)
        yield one


@pytest.fixture(name="open_for_one")
def _open_for_one(tmp_path: Path) -> Iterator[Witness]:
    with _opened(tmp_path, Admission(open_quota=1)) as one:
        yield one


def _submitted(one: Witness, *streams: bytes, invitation: str = "") -> Submitted:
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    reader.feed(b"".join(streams))
    reader.close()
    messages = [item for item in reader if isinstance(item, Message)]
    (done,) = one.submit([Submission(messages, NOW, invitation)])
    assert isinstance(done, Submitted), done
    return done


def _answer(one: Witness, stream: bytes, *, invitation: str = "") -> EventAnswer:
    (answer,) = _submitted(one, stream, invitation=invitation).events
    return answer


def _unsigned(event: Signed) -> bytes:
    """Return an event with a signature of somebody else."""
    other = Author("somebody else", witnesses=[ME]).incept().signatures
    return event.event.raw + write_groups([Group(GroupKind.CONTROLLER_SIGNATURES, other)])


def _admitted(one: Witness, origin: Origin) -> int:
    with one.store.snapshot():
        return one.store.count_admitted(origin)


def test_a_bad_signature_uses_up_no_invitation(invited: Witness) -> None:
    """The same owner comes in with the same code when the event is right; then it is used up."""
    event = Author("owner", witnesses=[ME]).incept()
    refused = _answer(invited, _unsigned(event), invitation=CODE)
    assert (refused.status, refused.receipt) == (Status.REFUSED, b"")
    assert _admitted(invited, Origin.INVITATION) == 0
    assert _answer(invited, event.raw, invitation=CODE).receipt
    other = Author("other", witnesses=[ME]).incept()
    late = _answer(invited, other.raw, invitation=CODE)
    assert late.error is not None
    assert late.error.code is ErrorCode.NOT_ADMITTED


def test_a_malformed_event_uses_up_no_invitation(invited: Witness) -> None:
    """What cannot even be read is told so, and the code stays."""
    event = Author("owner", witnesses=[ME]).incept()
    bad = event.raw.replace(b'"kt":"1"', b'"kt":"9"', 1)
    done = _submitted(invited, bad, invitation=CODE)
    assert done.errors or done.events[0].error
    assert _admitted(invited, Origin.INVITATION) == 0
    assert _answer(invited, event.raw, invitation=CODE).receipt


def test_a_repeated_event_uses_up_no_further_use(invited: Witness) -> None:
    """Who was let in is let in: the code, given again, counts nothing."""
    invited.store.invite(invitation_digest("twice"), 2, None)
    event = Author("owner", witnesses=[ME]).incept()
    first = _answer(invited, event.raw, invitation="twice")
    assert _answer(invited, event.raw, invitation="twice").receipt == first.receipt
    other = Author("other", witnesses=[ME]).incept()
    assert _answer(invited, other.raw, invitation="twice").receipt


def test_one_message_of_a_submission_does_not_undo_another(invited: Witness) -> None:
    """A bad event behind a good one is refused alone."""
    author = Author("owner", witnesses=[ME])
    first = author.incept()
    bad = _unsigned(author.interact())
    done = _submitted(invited, first.raw, bad, invitation=CODE)
    assert [one.status for one in done.events] == [Status.RECEIPTED, Status.REFUSED]
    assert _admitted(invited, Origin.INVITATION) == 1


def test_junk_uses_up_no_quota(open_for_one: Witness) -> None:
    """Neither bad signatures nor events out of order take the place of one who signs."""
    for number in range(20):
        junk = Author(f"junk {number}", witnesses=[ME])
        refused = _answer(open_for_one, _unsigned(junk.incept()))
        assert refused.status is Status.REFUSED
        later = _answer(open_for_one, junk.rotate().raw)
        assert later.error is not None
        assert later.error.code is ErrorCode.NOT_ADMITTED
    assert _admitted(open_for_one, Origin.OPEN) == 0
    assert list(open_for_one.store.events.due(NOW)) == []
    event = Author("owner", witnesses=[ME]).incept()
    assert _answer(open_for_one, event.raw).receipt
    other = Author("other", witnesses=[ME]).incept()
    assert _answer(open_for_one, other.raw).status is Status.REFUSED


def test_what_waits_with_a_signature_keeps_its_place(open_for_one: Witness) -> None:
    """Half of the keys are enough to be let in; the other half may come later."""
    event = Author("pair", keys=2, witnesses=[ME]).incept()
    half = replace(event, signatures=event.signatures[:1])
    assert _answer(open_for_one, half.raw).status is Status.WAITS
    assert _admitted(open_for_one, Origin.OPEN) == 1
    assert _answer(open_for_one, event.raw).receipt
