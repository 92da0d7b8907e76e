"""One run of the simulation: time, network, accidents, and what must be true whatever happens."""

import heapq
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import KeysteadError
from keystead.testing.authoring import KeyPair, witness
from keystead.testing.equivocation import Events
from keystead.testing.simulation.owners import (
    Made,
    Pool,
    dishonest_step,
    honest_story,
    inception,
    read_all,
)
from keystead.testing.simulation.servers import Crashed, Kind, Server
from keystead.testing.simulation.validators import disagreements

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_HORIZON = 12.0  # seconds of accidents
_PATIENCE = 40  # rounds until everything must be done, once there are no accidents any more
_JUMPS = (-86_400 * 365 * 20, -600, 0, 0, 600, 86_400 * 365 * 40)  # seconds
_HONEST_EVENTS = 4
_DISHONEST_STEPS = 8
_AT_LEAST_FOR_MOVES = 4


class Plan(msgspec.Struct, frozen=True):
    """What a seed has in store.

    Attributes:
        witnesses: N.
        corrupt: F of them sign whatever they see.
        threshold: M, with (N + F + 1) / 2 <= M <= N - F.
        lost: share of messages.
        doubled: share of messages that come twice.
        slow: seconds that a message takes at most.
        crash: probability at each point where a crash matters.
    """

    witnesses: int
    corrupt: int
    threshold: int
    lost: float
    doubled: float
    slow: float
    crash: float


def draw(random: Random) -> Plan:
    """Return the plan of a seed."""
    count = random.randint(3, 7)
    bounds = [
        (corrupt, threshold)
        for corrupt in range(count)
        for threshold in range((count + corrupt) // 2 + 1, count - corrupt + 1)
    ]
    corrupt, threshold = random.choice(bounds)
    return Plan(
        count,
        corrupt,
        threshold,
        lost=random.choice((0, 0.1, 0.4)),
        doubled=random.choice((0, 0.2)),
        slow=random.choice((0.1, 1.0, 4.0)),
        crash=random.choice((0, 0.01, 0.05)),
    )


class Run(msgspec.Struct, frozen=True):
    """What came of a seed.

    Attributes:
        findings: what must not be.
        trace: what happened, in order.
        counts: how often what happened.
    """

    findings: list[str]
    trace: list[str]
    counts: dict[str, int]


class World:
    """A network with its owners and its accidents."""

    def __init__(self, seed: int, kind: Kind) -> None:
        """Draw everything from a seed."""
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose
        self.plan = draw(self.random)
        self.findings: list[str] = []
        self.trace: list[str] = []
        self.counts: dict[str, int] = {}
        self._known = Events()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._time = 0.0
        self._offset = 0.0  # of all clocks; a witness is told times, and may be told any
        self._calm = False
        pairs = tuple(witness(f"simulated {one}") for one in range(self.plan.witnesses))
        self._pool = Pool(pairs, self.plan.threshold)
        self.servers = [Server(pair, kind, self._chaos) for pair in pairs]
        self._corrupt = frozenset(self.random.sample(range(len(pairs)), self.plan.corrupt))
        self._cut_off: dict[int, float] = {}  # number of a server -> time until
        self._inboxes: dict[int, list[Made]] = {}
        self._copies: dict[int, list[bytes]] = {}
        self._restored: set[int] = set()
        self._fate = [self.random.choice(("none", "restore", "forget")) for _ in pairs]
        self._honest = honest_story(inception("honest", self._pool), _HONEST_EVENTS, self.random)
        self._got: dict[str, set[int]] = {}  # what the honest owner has of its events
        self._receipts: dict[Aid, dict[str, dict[int, bytes]]] = {}
        self._events: dict[str, Made] = {}

    def run(self) -> Run:
        """Let everything happen."""
        for number, server in enumerate(self.servers):
            server.made = lambda _, raw, signature, number=number: self._made(  # type: ignore[misc] # bound here
                number, raw, signature
            )
            server.start()
            self._plan_accidents(number)
        self._at(0.0, self._push_honest)
        owners: list[tuple[str, Pool, Sequence[KeyPair]]] = [("dishonest", self._pool, ())]
        if len(self.servers) >= _AT_LEAST_FOR_MOVES and self.random.random() < 0.3:  # noqa: PLR2004 - a third
            pairs = self._pool.witnesses
            owners.append(("shifting", Pool(pairs[:3], 2), pairs))
        for name, pool, others in owners:
            tips = [inception(name, pool)]
            for step in range(_DISHONEST_STEPS):
                when = self.random.uniform(0, _HORIZON)
                self._at(when, lambda s=step, t=tips, o=others: self._push_rival(t, s % 2, o))  # type: ignore[misc] # bound here
        self._drain(_HORIZON)
        self._heal()
        self._check()
        return Run(self.findings, self.trace, self.counts)

    # Time and network

    def _at(self, when: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, what))

    def _drain(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self._time, _, what = heapq.heappop(self._queue)
            what()
        self._time = until

    def _tell(self, what: str, text: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self.trace.append(f"{self._time:8.3f} {what} {text}")

    def _travel(self, what: Callable[[], None]) -> None:
        """Have something happen at the other end of the network: sometimes never, or twice."""
        if not self._calm and self.random.random() < self.plan.lost:
            return
        slow = 0.01 if self._calm else self.plan.slow
        twice = not self._calm and self.random.random() < self.plan.doubled
        for _ in range(1 + twice):
            self._at(self._time + self.random.uniform(0.001, slow), what)

    def _is_cut_off(self, number: int) -> bool:
        return self._cut_off.get(number, -1.0) > self._time

    # Owners

    def _send(self, made: Made, number: int) -> None:
        self._learn(made)
        self._travel(lambda: self._arrive(made, number))

    def _learn(self, made: Made) -> None:
        if made.said not in self._events:
            self._events[made.said] = made
            self._known.add(made.signed.event.raw)

    def _push_honest(self) -> None:
        """Send what is not receipted yet; nothing follows before enough witnesses have seen it."""
        for made in self._honest:
            have = self._got.setdefault(made.said, set())
            for number in range(len(self.servers)):
                if number not in have:
                    self._send(made, number)
            if len(have) < self.plan.threshold:
                break
        if not self._calm:
            self._at(self._time + 2.5, self._push_honest)

    def _push_rival(self, tips: list[Made], salt: int, others: Sequence[KeyPair]) -> None:
        """Have one of two submitters send something to some witnesses."""
        made = dishonest_step(tips, self.random, salt, others)
        self._tell("rival", f"{made.signed.event.message_type} {made.sn} {made.said[:8]}")
        log = made.log
        count = len(self.servers)
        for number in self.random.sample(range(count), self.random.randint(1, count)):
            behind = self.random.choice((1, 2, len(log), len(log)))
            for one in log[-behind:]:
                self._send(one, number)

    def _arrive(self, made: Made, number: int) -> None:
        server = self.servers[number]
        if self._is_cut_off(number):
            return
        if number in self._corrupt:
            raw = made.signed.event.raw
            self._deliver(number, made, server.pair.sign(raw))
            return
        inbox = self._inboxes.setdefault(number, [])
        if not inbox:
            self._at(self._time + 0.002, lambda: self._serve(number))
        inbox.append(made)

    def _deliver(self, number: int, made: Made, signature: bytes) -> None:
        """Count a receipt that has left a witness; whoever wants to can have seen it."""
        found = self._receipts.setdefault(made.aid, {}).setdefault(made.said, {})
        found[number] = signature

        def arrive() -> None:
            if made.said in self._got:
                self._got[made.said].add(number)

        self._travel(arrive)

    # Witnesses

    def _serve(self, number: int) -> None:
        """Have a witness take all that has come."""
        server = self.servers[number]
        batch, self._inboxes[number] = self._inboxes[number], []
        if server.witness is None:
            return
        now = _BEGIN + timedelta(seconds=self._time + self._offset)
        try:
            for event in list(server.submit([one.message for one in batch], now)):
                self._deliver(number, self._events[event.said], event.receipt)
        except Crashed as crash:
            self._stop(number, str(crash))
        except KeysteadError as error:
            self.findings.append(f"witness {number} failed: {error.code} {error.message}")
            self._stop(number, "failed")

    def _chaos(self, point: str) -> None:
        if not self._calm and self.random.random() < self.plan.crash:
            raise Crashed(point)

    def _stop(self, number: int, why: str) -> None:
        self._tell("crash", f"{number} {why}")
        self.servers[number].crash()
        self._at(self._time + self.random.uniform(0.1, 3), lambda: self._start(number))

    def _start(self, number: int) -> None:
        server = self.servers[number]
        if server.witness is not None:
            return
        process = server.start()
        lacking = [said for said in server.receipts if self._is_lacking(server, said)]
        if lacking and number not in self._restored:
            self.findings.append(f"witness {number} lost {len(lacking)} receipted events")
        quarantined = process.quarantined
        if lacking and not quarantined:
            self.findings.append(f"witness {number} did not notice that its store is older")
        if server.is_blank() and not quarantined:
            self.findings.append(f"witness {number} did not notice that its memory is lost")
        self._tell("quarantine" if quarantined else "start", f"{number}")
        if quarantined and self.random.random() < 0.5:  # noqa: PLR2004 - half of them
            when = self._time + self.random.uniform(0.1, 4)
            self._at(when, lambda: self._recover(number))

    def _is_lacking(self, server: Server, said: str) -> bool:
        """Tell whether a store has neither a receipted event nor a rotation that superseded it."""
        aid = self._events[said].aid
        if server.has(aid, said):
            return False
        state = server.store.events.key_state(aid)
        if state is None:
            return True
        taken, lost = self._known.since_fork(self._known[state.said], self._known[said])
        return not taken or taken[0].kind != "rot" or any(one.kind != "ixn" for one in lost)

    def _made(self, number: int, raw: bytes, signature: bytes) -> None:
        """Check each signature at the moment when it is made."""
        server, event = self.servers[number], self._known.add(raw)
        known = server.receipts.get(event.said)
        if known == signature:
            return
        self._tell("receipt", f"{number} {event.kind} {event.sn} {event.said[:8]}")
        if known is not None:
            self.findings.append(f"witness {number} gave two receipts for {event.said}")
        if server.is_writing or not server.has(Aid(event.aid), event.said):
            self.findings.append(f"witness {number} signed {event.said} before it was stored")
        for said in server.receipts:
            other = self._known[said]
            if other.aid == event.aid and not self._known.may_both(other, event):
                self.findings.append(f"witness {number} contradicted itself: {other}, {event}")
        server.receipts[event.said] = signature

    # Accidents

    def _plan_accidents(self, number: int) -> None:
        def sometime(what: Callable[[int], None]) -> None:
            self._at(self.random.uniform(0, _HORIZON), lambda: what(number))

        random = self.random.random
        for _ in range(2):
            sometime(self._copy)
        for what in (self._cut, self._kill, self._misfortune, self._jump):
            if random() < 0.4:  # noqa: PLR2004 - less than half
                sometime(what)

    def _cut(self, number: int) -> None:
        self._cut_off[number] = self._time + self.random.uniform(0.5, 6)
        self._tell("partition", f"{number}")

    def _kill(self, number: int) -> None:
        if self.servers[number].witness is not None:
            self._stop(number, "killed")

    def _jump(self, _: int) -> None:
        self._offset = self.random.choice(_JUMPS)
        self._tell("clock", f"{self._offset}")

    def _copy(self, number: int) -> None:
        self._copies.setdefault(number, []).append(self.servers[number].copy())

    def _misfortune(self, number: int) -> None:
        """Put an older copy of a store back, or lose the memory of a signer: never both at once."""
        server, fate = self.servers[number], self._fate[number]
        copies = self._copies.get(number)
        if number in self._corrupt or fate == "none" or (fate == "restore" and not copies):
            return
        if fate == "restore" and copies:
            if server.is_blank():
                return
            server.crash()
            server.restore(self.random.choice(copies))
            self._restored.add(number)
        elif fate == "forget":
            server.crash()
            server.forget()
        self._tell(fate, f"{number}")
        self._start(number)

    def _recover(self, number: int, *, at_last: bool = False) -> None:
        """Do as an operator does: give a witness all logs that can be had, or some."""
        process = self.servers[number].witness
        if process is None or not process.quarantined:
            return
        now = _BEGIN + timedelta(seconds=self._time + self._offset)
        for aid, _ in list(process.store.unconfirmed()):
            stream = b"".join(self._sources(aid, number))
            try:
                seen = process.recover(aid, read_all(stream), now)
            except Crashed:
                self._stop(number, "while recovering")
                return
            except KeysteadError as error:
                self._tell("objection", f"{number} {error.code}")
                seen = False
            if at_last and not seen:
                if aid == self._honest[0].aid:
                    self.findings.append(f"witness {number} cannot catch up with an honest owner")
                process.give_up(aid)
        left = sum(1 for _ in process.store.unconfirmed())
        self._tell("recover", f"{number} {left} left")

    def _sources(self, aid: Aid, number: int) -> list[bytes]:
        if aid == self._honest[0].aid:
            return [one.stream for one in self._honest if one.said in self._got]
        found = []
        for other, server in enumerate(self.servers):
            if other == number or other in self._corrupt or server.witness is None:
                continue
            if not self._is_cut_off(other):
                found.append(server.log(aid))
        return found

    # The end

    def _heal(self) -> None:
        """End all accidents; then everything honest must come to its end."""
        self._calm = True
        self._cut_off.clear()
        self._drain(self._time + 10)
        for number, server in enumerate(self.servers):
            if server.witness is None:
                self._start(number)
        for number in range(len(self.servers)):
            self._recover(number, at_last=True)
        for _ in range(_PATIENCE):
            self._push_honest()
            self._drain(self._time + 1)
            if all(len(self._got.get(one.said, ())) >= self.plan.threshold for one in self._honest):
                self._tell("done", "")
                return
        self.findings.append("an honest owner does not get its receipts")

    def _check(self) -> None:
        for number, server in enumerate(self.servers):
            if server.witness is not None and server.witness.quarantined:
                self.findings.append(f"witness {number} stays in quarantine")
            self._start_check(number)
        for aid in (self._honest[0].aid, inception("dishonest", self._pool).aid):
            receipts = self._receipts.get(aid, {})
            accepted = self._acceptable(receipts)
            found = self._known.contradictions(one.said for one in accepted)
            self.findings += [f"two validators may accept {one}" for one in found]
            self.findings += disagreements(accepted, receipts, self._known, self.random)

    def _start_check(self, number: int) -> None:
        server = self.servers[number]
        if number not in self._restored:
            lost = [
                said for said in server.receipts if not server.has(self._events[said].aid, said)
            ]
            self.findings += [f"witness {number} has lost {said}" for said in lost]

    def _acceptable(self, receipts: dict[str, dict[int, bytes]]) -> list[Made]:
        """Return the events that some validator may accept: all of their log have enough receipts."""
        enough = [said for said, found in receipts.items() if len(found) >= self.plan.threshold]
        chosen = set(enough)
        return [
            self._events[said]
            for said in enough
            if all(one.said in chosen for one in self._events[said].log)
        ]
