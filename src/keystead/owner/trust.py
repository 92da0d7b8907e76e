"""What the tables say of own logs is believed only as far as authenticated bytes bear it out.

Key states are kept as they were computed, with a checksum that anybody can compute as well. So
before the wallet signs by one, it is compared with events whose digests are authenticated: the
sealed record names the latest establishment event, the identifier is the digest of the first
event, and the mark names the last. That costs two events, however long the log is.
"""

from keystead.errors import ErrorCode, KeystoreError
from keystead.keri.events import DelegatedInception, EstablishmentEvent, Inception, Rotation
from keystead.keri.keystate import Establishment, KeyState
from keystead.owner.wallet import IdentifierRecord, Wallet

# What an establishment event sets by itself, whatever was before.
_SET = (
    "sn",
    "said",
    "signing_threshold",
    "signing_keys",
    "next_threshold",
    "next_key_digests",
    "witness_threshold",
)


def check_state(wallet: Wallet, record: IdentifierRecord, state: KeyState) -> None:
    """Check that the keys of an own log are those that its events set.

    That the log ends where the owner signed last is another check: `settlement.is_unfinished`.

    Args:
        wallet: whose.
        record: the identifier.
        state: where its log stands, as the tables say.

    Raises:
        KeystoreError: they are not (keystore.tampered).
        StoreError: a row was changed by accident (store.corrupt).
    """
    found = wallet.events.accepted(record.aid, record.established) if record.established else None
    latest = None if found is None else found.event
    first = latest
    if latest is not None and latest.sn:
        start = wallet.events.event(record.aid, 0)
        first = None if start is None else start.event
    if (
        not isinstance(latest, EstablishmentEvent)
        or not isinstance(first, Inception)
        or latest.said != record.established
        or state.aid != record.aid
        or not _is_set(state, latest)
        or not _is_first(state.establishment, first, record)
    ):
        what = f"the keys of {record.name} are not those that its log sets"
        hint = "see what was changed with: keystead doctor"
        raise KeystoreError(ErrorCode.TAMPERED, what, hint=hint, aid=record.aid)


def _is_set(state: KeyState, latest: EstablishmentEvent) -> bool:
    """Tell whether the keys in force are those of an event."""
    keys = state.establishment
    changed: tuple[object, ...] = (keys.witnesses_removed, keys.witnesses_added)
    if isinstance(latest, Rotation):
        same = changed == (latest.witnesses_removed, latest.witnesses_added)
    else:
        assert isinstance(latest, Inception)  # noqa: S101 - there is no other kind
        same = keys.witnesses == latest.witnesses
    return (
        same
        and latest.aid == state.aid
        and all(getattr(keys, name) == getattr(latest, name) for name in _SET)
    )


def _is_first(keys: Establishment, first: Inception, record: IdentifierRecord) -> bool:
    """Tell whether the first event is that of the identifier, and set what holds for ever."""
    delegator = first.delegator if isinstance(first, DelegatedInception) else None
    return (
        # The identifier is the digest of its first event. Where it is the key, there is no other.
        first.said in (record.aid, record.established)
        and first.aid == record.aid
        and (keys.configuration_traits, keys.delegator) == (first.configuration_traits, delegator)
    )
