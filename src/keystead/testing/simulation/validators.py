"""Validators of the simulation: real ones, who see logs and receipts in parts and in any order."""

from datetime import UTC, datetime
from random import Random

from keystead.cesr import indexed
from keystead.cesr.stream import Message
from keystead.node.ingest import EventProcessor
from keystead.stores.memory import MemoryStore
from keystead.suites import Suite
from keystead.testing.authoring import Signed
from keystead.testing.equivocation import Event, Events
from keystead.testing.simulation.owners import Made, read

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def disagreements(
    accepted: list[Made], receipts: dict[str, dict[int, bytes]], known: Events, random: Random
) -> list[str]:
    """Show two validators a part each, and return where they accepted what excludes each other.

    Args:
        accepted: the events of one log that have enough receipts.
        receipts: digest -> place of a witness -> receipt.
        known: all events.
        random: decides who sees what.
    """
    if not accepted:
        return []
    ends: list[Event] = []
    findings = []
    for _ in range(2):
        tip = random.choice(accepted)
        shown = tip.log
        random.shuffle(shown)
        store = MemoryStore()
        processor = EventProcessor(store)
        for made in shown:
            processor.process(_framed(made, receipts[made.said]), now=_NOW)
        state = store.key_state(tip.aid)
        if state is None or state.said != tip.said:
            findings.append(f"a validator does not accept {tip.said}")
        ends.append(known[tip.said])
    if not known.may_both(*ends):
        findings.append(f"two validators accepted {ends}")
    return findings


def _framed(made: Made, receipts: dict[int, bytes]) -> Message:
    signed = tuple(
        indexed.make(Suite.ED25519, signature, place, ondex=place)
        for place, signature in sorted(receipts.items())
    )
    return read(Signed(made.signed.event, made.signed.signatures, signed).raw)
