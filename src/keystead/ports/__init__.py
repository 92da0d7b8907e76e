"""What the application asks of adapters: stores of events, vaults of keys, wallets."""

from keystead.ports.events import Append, Decision, EventStore, Extend, KelReader, Outcome

__all__ = ["Append", "Decision", "EventStore", "Extend", "KelReader", "Outcome"]
