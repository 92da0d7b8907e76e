"""What a network of clients has to pay for, and out of which allowance, at a witness.

Every request that brings something is paid for by its size, before anything of it is read; no name
that it claims changes that. What turns out to be worth nothing is paid for afterwards, message by
message. An owner has an allowance of its own for its events, which strangers cannot use up in its
name, as they come from elsewhere.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from keystead.services.addresses import client_prefix
from keystead.services.http import Request
from keystead.services.rates import Rate, RateLimit
from keystead.services.refusals import Refusal

_KIB: Final = 1024


class Rates(msgspec.Struct, frozen=True):
    """How often what may be asked.

    Attributes:
        stranger: questions of one network; and as many messages of it that are refused.
        event: events and receipts about one identifier, of one network; anybody can send what
            looks like an event of another, and must not use up the allowance of the owner.
        strangers: questions of all.
        volume: KiB that are sent here, by one network.
    """

    stranger: Rate = Rate(5, 20)
    event: Rate = Rate(2, 50)
    strangers: Rate = Rate(500, 500)
    volume: Rate = Rate(512, 4096)


class Charges:
    """Charges networks for what they send and ask."""

    def __init__(self, rates: Rates, limited: Callable[[str], None]) -> None:
        """Begin with full allowances.

        Args:
            rates: how often what may be asked.
            limited: is told the name of a limit that was reached.
        """
        self._rates = rates
        self._stranger = RateLimit(rates.stranger)
        self._event = RateLimit(rates.event)
        self._strangers = RateLimit(rates.strangers, buckets=1)
        # Not the same as for questions: who asks too much may still bring something good.
        self._refused = RateLimit(rates.stranger)
        self._volume = RateLimit(rates.volume)
        self._limited = limited

    def content(self, request: Request) -> None:
        """Charge for the size of what was sent.

        Raises:
            Refusal: 429.
        """
        cost = min(1 + len(request.body) // _KIB, self._rates.volume.burst)
        self._take(self._volume, client_prefix(request.client), "volume", cost)

    def questions(self, request: Request, count: int = 1) -> None:
        """Charge for questions.

        Raises:
            Refusal: 429.
        """
        cost = min(count, self._rates.stranger.burst)
        self._take(self._stranger, client_prefix(request.client), "stranger", cost)
        self._take(self._strangers, "", "strangers")

    def length(self, request: Request, count: int) -> None:
        """Charge for the length of what a question asks for, which was charged for itself.

        Args:
            request: that asks.
            count: questions that it counts for besides. Of a quiet network, the longest is taken.

        Raises:
            Refusal: 429.
        """
        cost = min(count, self._rates.stranger.burst - 1)
        self._take(self._stranger, client_prefix(request.client), "stranger", cost)

    def event(self, request: Request, aid: str) -> None:
        """Charge for an event of an identifier, or a receipt for one.

        Raises:
            Refusal: 429.
        """
        self._take(self._event, f"{aid} {client_prefix(request.client)}", "event")

    def refused(self, request: Request, aids: Counter[str]) -> None:
        """Charge for messages that were refused, by the identifiers that they named, if any."""
        now, prefix = time.monotonic(), client_prefix(request.client)
        self._refused.spend(prefix, now, cost=aids.total())
        for aid, count in aids.items():
            if aid:
                self._event.spend(f"{aid} {prefix}", now, cost=count)

    def is_spent(self, request: Request, aid: str | None = None) -> float:
        """Return for how long a network has to wait before it may have more refused.

        Args:
            request: of that network.
            aid: messages about this identifier; None: about such as are not let in.
        """
        now, prefix = time.monotonic(), client_prefix(request.client)
        if aid is None:
            return self._refused.wait(prefix, now)
        return self._event.wait(f"{aid} {prefix}", now)

    def too_often(self, wait: float, name: str) -> Refusal:
        """Return the answer to what comes too often, and note that."""
        self._limited(name)
        return Refusal(429, "this came too often", retry_after=max(1, round(wait)))

    def _take(self, limit: RateLimit, key: str, name: str, cost: int = 1) -> None:
        wait = limit.take(key, time.monotonic(), cost=cost)
        if wait:
            raise self.too_often(wait, name)
