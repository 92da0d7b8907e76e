"""Events for load: signed beforehand, by identifiers that live for one run."""

import base64
import os
from collections.abc import Iterator
from typing import Final

import msgspec

from keystead import suites
from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid, Digest, Said, make_key
from keystead.cesr.writing import write_groups
from keystead.keri import build
from keystead.keri.attachments import Claims, SignedEvent
from keystead.keri.build import Keys, Witnesses
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.validation import judge
from keystead.keri.verdicts import Accepted, Role, Source
from keystead.limits import DEFAULT_LIMITS
from keystead.suites import Suite

_LONGEST: Final = 40  # events of one identifier
_JUNK_SN: Final = 5
_DIGEST_BYTES: Final = 33


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """One event, ready to be sent.

    Attributes:
        raw: what is signed, by its controller and by the witness.
        request: the whole HTTP request with it.
    """

    raw: bytes
    request: bytes


def honest(host: str, witness: Aid, count: int) -> list[Prepared]:
    """Make events of new identifiers, each of which has this one witness.

    Args:
        host: for the header of that name.
        witness: gives the receipts.
        count: number of events, to be sent in their order.
    """
    made: list[Prepared] = []
    while len(made) < count:
        made += _log(host, witness, min(_LONGEST, count - len(made)))
    return made


def junk(host: str) -> Iterator[bytes]:
    """Give requests without end, each with an event of an identifier that nobody knows.

    They are well-formed, and events in front of them are missing: a server that let them in would
    have to keep them.
    """
    seed = os.urandom(suites.SEED_BYTES)
    raw = suites.public_key(Suite.ED25519, seed)
    nobody = Aid(make_key(Suite.ED25519, raw, transferable=False).text)
    secret, state = suites.ed25519_secret(seed), _inception(nobody, seed)[1]
    while True:
        stranger = msgspec.structs.replace(
            state, aid=Aid(_random()), sn=_JUNK_SN, said=Said(Digest(_random()))
        )
        yield _prepared(host, build.interact(stranger), secret).request


def _log(host: str, witness: Aid, count: int) -> Iterator[Prepared]:
    seed = os.urandom(suites.SEED_BYTES)
    secret = suites.ed25519_secret(seed)
    event, state = _inception(witness, seed)
    yield _prepared(host, event, secret)
    for _ in range(count - 1):
        event = build.interact(state)
        state = msgspec.structs.replace(
            state, sn=event.sn, said=event.said, prior_said=event.prior_said, message_type="ixn"
        )
        yield _prepared(host, event, secret)


def _inception(witness: Aid, seed: bytes) -> tuple[AnyKeyEvent, KeyState]:
    key = make_key(Suite.ED25519, suites.public_key(Suite.ED25519, seed), transferable=True)
    keys = Keys((key,), "1", (Digest(_random()),), "1")
    event = build.incept(keys, Witnesses(1, (witness,)))
    signature = indexed.make(Suite.ED25519, suites.sign(Suite.ED25519, seed, event.raw), 0, ondex=0)
    signed = SignedEvent(event, Claims((signature,)))
    verdict = judge(
        signed,
        prior=None,
        incumbent=None,
        source=Source.LOCAL,
        role=Role.CONTROLLER,
        delegation=None,
        limits=DEFAULT_LIMITS,
    )
    assert isinstance(verdict, Accepted)  # noqa: S101 - it was made so
    return event, verdict.state


def _random() -> str:
    """Return what looks like a digest, and is that of nothing."""
    data = b"\x00" + os.urandom(_DIGEST_BYTES - 1)
    return "E" + base64.urlsafe_b64encode(data).decode()[1:]


def _prepared(host: str, event: AnyKeyEvent, secret: bytes) -> Prepared:
    raw = event.raw
    signature = indexed.make(Suite.ED25519, suites.sign_ed25519(secret, raw), 0, ondex=0)
    attached = write_groups([Group(GroupKind.CONTROLLER_SIGNATURES, (signature,))])
    head = (
        f"POST /receipts HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/cesr+json\r\n"
        f"CESR-ATTACHMENT: {attached.decode()}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return Prepared(raw, head.encode() + raw)
