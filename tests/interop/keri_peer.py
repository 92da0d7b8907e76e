"""Runs keri for tests, under a Python of its own: requests and answers are lines of JSON.

`verify` feeds streams to an empty verifier and tells what it holds then. `author` lets keri's own
controllers make identifiers by steps, and gives their logs. `check` verifies signatures.
"""
# ruff: noqa: ANN401 - keri does not tell its types

import contextlib
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import keri.core  # type: ignore[import-not-found] # it is only there where this runs
from keri.app import habbing  # type: ignore[import-not-found] # as above
from keri.core import coring, eventing, indexing, parsing, routing
from keri.db import basing, dbing  # type: ignore[import-not-found] # as above; after keri.core

SALT = b"0123456789abcdef"


class Faults(logging.Handler):
    """Collects what keri logs as errors: its parser drops a message and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a log entry."""
        self.texts.append(record.getMessage()[:500])

    def take(self) -> list[str]:
        """Return what was collected since the last time."""
        texts, self.texts = self.texts, []
        return texts


def verify(stream: str) -> dict[str, Any]:
    """Feed a stream to an empty verifier, and tell what it holds then."""
    db = basing.Baser(name="interop", temp=True, reopen=True)
    try:
        revery = routing.Revery(db=db)
        kevery = eventing.Kevery(db=db, lax=True, local=False, rvy=revery)
        kevery.registerReplyRoutes(revery.rtr)
        parser = parsing.Parser(kvy=kevery, rvy=revery, local=False)
        parser.parse(ims=bytearray(stream.encode("latin-1")))
        before = -1
        while before != (before := _held(kevery)):
            kevery.processEscrows()
            revery.processEscrowReply()
        logs = {aid: _log(db, kever) for aid, kever in kevery.kevers.items()}
    finally:
        db.close(clear=True)
    return {"logs": logs, "faults": FAULTS.take()}


def _held(kevery: Any) -> int:
    return sum(kever.sn + 1 for kever in kevery.kevers.values())


def _log(db: Any, kever: Any) -> dict[str, Any]:
    seen = [bytes(said).decode() for *_, said in db.getFelItemPreIter(kever.prefixer.qb64b)]
    return {"state": kever.state()._asdict(), "first_seen": seen}


def author(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Carry out steps with new controllers, always the same for the same steps."""
    salt = keri.core.Salter(raw=SALT).qb64
    with habbing.openHby(name="interop", temp=True, salt=salt) as habery:
        controllers = Controllers(habery)
        for step in steps:
            arguments = dict(step)
            getattr(controllers, arguments.pop("do"))(**arguments)
        logs = {
            name: {
                "aid": hab.pre,
                "stream": bytes(hab.replay()).decode("latin-1"),
                **_log(habery.db, hab.kever),
            }
            for name, hab in controllers.habs.items()
        }
        return {"logs": logs, "signed": controllers.signed, "faults": FAULTS.take()}


class Controllers:
    """Identifiers that keri's Hab controls, by name."""

    def __init__(self, habery: Any) -> None:
        self.habery = habery
        self.habs: dict[str, Any] = {}
        self.signed: list[list[str]] = []
        self._exposable: dict[str, Any] = {}

    def make(self, name: str, *, delegator: str | None = None, **options: Any) -> None:
        """Make an identifier; options are those of `Hab.make`."""
        if delegator is not None:
            options["delpre"] = self.habs[delegator].pre
        self.habs[name] = self.habery.makeHab(name, **options)

    def rotate(self, name: str, **options: Any) -> None:
        """Rotate; options are those of `Hab.rotate`."""
        self.habs[name].rotate(**options)

    def interact(self, name: str, **options: Any) -> None:
        """Interact; options are those of `Hab.interact`."""
        self.habs[name].interact(**options)

    def approve(self, name: str, delegate: str, *, by: str = "interact") -> None:
        """Seal the latest event of a delegate, and tell the delegate where."""
        event = self.habs[delegate].kever.serder
        hab = self.habs[name]
        getattr(hab, by)(data=[{"i": event.pre, "s": event.snh, "d": event.said}])
        couple = coring.Seqner(sn=hab.kever.sn).qb64b + hab.kever.serder.saidb
        self.habery.db.setAes(dbing.dgKey(event.preb, event.saidb), couple)

    def expose(  # the keys of the rotation, then what it commits to
        self, name: str, places: list[int], *, isith: Any, nsith: Any, ncount: int, ncode: str
    ) -> None:
        """Rotate to some of the next keys, and commit to new ones and to the others again."""
        hab = self.habs[name]
        verfers, digers = hab.mgr.rotate(
            pre=hab.pre, ncount=ncount, ncode=ncode, temp=True, erase=False
        )
        self._exposable |= {coring.Diger(ser=one.qb64b).qb64: one for one in verfers}
        prior = hab.kever
        committed = [one.qb64 for one in prior.ndigers]
        exposed = [self._exposable[committed[place]] for place in places]
        kept = [one for place, one in enumerate(committed) if place not in places]
        serder = eventing.rotate(
            pre=hab.pre,
            keys=[one.qb64 for one in exposed],
            dig=prior.serder.said,
            sn=prior.sn + 1,
            isith=isith,
            nsith=nsith,
            ndigs=[one.qb64 for one in digers] + kept,
        )
        sigers = hab.mgr.sign(
            serder.raw, verfers=exposed, indices=list(range(len(exposed))), ondices=places
        )
        hab.kvy.processEvent(serder=serder, sigers=sigers)

    def sign(self, name: str, text: str) -> None:
        """Sign anything with the current keys."""
        made = self.habs[name].sign(text.encode("latin-1"))
        self.signed.append([siger.qb64 for siger in made])


def check(text: str, keys: list[str], signatures: list[str]) -> list[bool]:
    """Verify indexed signatures by the keys at their places."""
    found = []
    for signature in signatures:
        siger = indexing.Siger(qb64=signature)
        verfer = coring.Verfer(qb64=keys[siger.index])
        found.append(bool(verfer.verify(sig=siger.raw, ser=text.encode("latin-1"))))
    return found


def answer(request: dict[str, Any]) -> Any:
    """Do what a request asks for."""
    known: dict[str, Callable[..., Any]] = {"verify": verify, "author": author, "check": check}
    return known[request.pop("do")](**request)


FAULTS = Faults()
for module in (eventing, parsing, routing):
    # keri tells errors to those only who want to debug it.
    module.logger.setLevel(logging.DEBUG)
    module.logger.handlers = [FAULTS]
    module.logger.propagate = False

if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # keri may print
    for line in sys.stdin:
        reply: dict[str, Any] = {}
        try:
            reply["answer"] = answer(json.loads(line))
        except Exception as error:
            with contextlib.suppress(Exception):
                logging.getLogger().exception("request failed")
            reply["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(reply), file=answers, flush=True)
