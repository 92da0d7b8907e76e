"""Runs keri for tests of challenges, under a Python of its own: one request as JSON, one answer.

`respond` makes an identifier and signs words as `kli challenge respond` does. `take` gives a log
and an answer to keri's own exchanger, and tells which words it took from whom.
"""

import json
import sys
from typing import Any

import keri.core  # type: ignore[import-not-found] # it is only there where this runs
from keri.app import challenging, habbing, signaling  # type: ignore[import-not-found] # as above
from keri.core import parsing
from keri.peer import exchanging  # type: ignore[import-not-found] # as above; after keri.core


def respond(words: list[str]) -> dict[str, str]:
    """Return the log of an identifier and its answer."""
    with habbing.openHby(name="responding", temp=True) as hby:
        hab = hby.makeHab(name="bob")
        payload = {"i": hab.pre, "words": words}
        exn, _ = exchanging.exchange(route="/challenge/response", payload=payload, sender=hab.pre)
        answer = hab.endorse(serder=exn, last=False, pipelined=False)
        log = hab.replay(hab.pre)
        return {"log": bytes(log).decode("latin-1"), "answer": bytes(answer).decode("latin-1")}


def take(log: str, answer: str) -> list[Any]:
    """Return what keri makes of an answer."""
    with habbing.openHby(name="taking", temp=True) as hby:
        signaler = signaling.Signaler()
        exchanger = exchanging.Exchanger(hby=hby, handlers=[])
        challenging.loadHandlers(db=hby.db, signaler=signaler, exc=exchanger)
        parser = parsing.Parser(kvy=hby.kvy, exc=exchanger, local=False)
        parser.parse(ims=bytearray(log.encode("latin-1")))
        parser.parse(ims=bytearray(answer.encode("latin-1")))
        return [
            [one.attrs["signer"], one.attrs["words"]]
            for one in signaler.signals
            if one.topic == "/challenge"
        ]


if __name__ == "__main__":
    assert keri.core
    asked = json.load(sys.stdin)
    answer = respond(**asked) if asked.pop("do") == "respond" else take(**asked)
    json.dump(answer, sys.stdout)
