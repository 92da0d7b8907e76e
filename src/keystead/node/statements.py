"""What a witness takes besides events: receipts, questions and statements, and from whom.

Decided by what a message claims, before anything of it is verified, so that nothing of strangers
costs a signature check, waits here, or takes the room of those who were let in.

Those who were let in may say what they like about themselves. Of the other witnesses of their logs,
and of their delegators, only the places on the network are kept.
"""

from datetime import datetime, timedelta
from typing import Final

from keystead.cesr.body import Body
from keystead.cesr.keys import Aid, is_aid
from keystead.cesr.stream import Message
from keystead.errors import ErrorCode, KeysteadError, StoreError, VerificationError
from keystead.keri.routed import SCHEMES
from keystead.limits import Limits
from keystead.ports.witness import Origin, WitnessStore

# Clocks differ by seconds. A statement from far in the future could not be replaced before that.
MOST_AHEAD: Final = timedelta(minutes=10)
OWN_STATEMENTS: Final = 128  # of one that was let in: agents, mailboxes, watchers, former keys
# Parts of all room for statements, in tenths. What is left is for the witness itself.
_OF_NEIGHBOURS: Final = 5
_OF_ADMITTED: Final = 9
_TENTHS: Final = 10
_LOCATION: Final = "/loc/scheme"
_NOTICE: Final = "/ksn"

# Message type -> field and labels of the identifier that a message is about.
_ABOUT: Final = {"rct": ("", ("i",)), "qry": ("q", ("i",)), "rpy": ("a", ("cid", "eid", "i"))}


class Intake:
    """Tells what a witness takes that is no event."""

    def __init__(self, store: WitnessStore, own: Aid, limits: Limits) -> None:
        """Judge by a store.

        Args:
            store: knows who was let in, and what is kept.
            own: the witness.
            limits: bounds.
        """
        self._store = store
        self._own = own
        self._limits = limits

    def refusal(self, message_type: str, message: Message, now: datetime) -> KeysteadError | None:
        """Return why a message is not taken; None if it may be verified."""
        if message_type not in _ABOUT:
            return _no_such_messages()
        about = _about(message, message_type)
        if not is_aid(about):
            return not_admitted()
        match message_type:
            case "rct":
                return None if self._is_let_in(Aid(about), delegators=True) else not_admitted()
            case "qry":
                return None if self._is_known(Aid(about)) else not_admitted()
            case _:
                return self._refused_statement(Aid(about), message, now)

    def _is_known(self, aid: Aid) -> bool:
        if aid == self._own or self._store.events.key_state(aid) is not None:
            return True
        return self._store.is_neighbour(aid)

    def _is_let_in(self, aid: Aid, *, delegators: bool = False) -> bool:
        found = self._store.admitted(aid)
        return (
            found is not None
            and found.allowed
            and (delegators or found.origin is not Origin.DELEGATOR)
        )

    def _refused_statement(self, aid: Aid, message: Message, now: datetime) -> KeysteadError | None:
        if aid == self._own:
            return None
        body = message.body
        if _is_ahead(body.get("dt"), now):
            what = "the statement is dated in the future: the clock of its signer is wrong"
            return VerificationError(ErrorCode.FUTURE, what)
        route, inner = str(body.get("r")), body.get("a")
        if route.startswith(_NOTICE):  # anybody can sign one, about anybody
            return _no_such_messages()
        is_location = route == _LOCATION
        scheme = inner.get("scheme") if isinstance(inner, dict) else None
        is_kept = is_location and scheme in SCHEMES and self._keeps(aid, str(scheme))
        if self._is_let_in(aid):
            if self._store.events.kept(aid).of_signer >= OWN_STATEMENTS and not is_kept:
                what = f"{OWN_STATEMENTS} statements of one identifier are kept"
                return StoreError(ErrorCode.RECORDS_FULL, what)
            return None if is_kept else self._full(aid, _OF_ADMITTED)
        is_near = self._store.is_neighbour(aid) or self._is_let_in(aid, delegators=True)
        if not (is_location and is_near):
            return not_admitted()
        return None if is_kept else self._full(aid, _OF_NEIGHBOURS)

    def _keeps(self, aid: Aid, scheme: str) -> bool:
        """Tell whether a location is known, so that a new one takes no more room."""
        return self._store.events.record(("loc", aid, scheme)) is not None

    def _full(self, aid: Aid, tenths: int) -> StoreError | None:
        kept, limits = self._store.events.kept(aid), self._limits
        full = (
            kept.total * _TENTHS >= limits.records * tenths
            or kept.size * _TENTHS >= limits.records_bytes * tenths
        )
        if not full:
            return None
        return StoreError(ErrorCode.RECORDS_FULL, "there is no room for more statements of others")


def not_admitted() -> VerificationError:
    """Return why nothing is taken from strangers."""
    return VerificationError(ErrorCode.NOT_ADMITTED, "this identifier was not let in here")


def _no_such_messages() -> VerificationError:
    return VerificationError(ErrorCode.ROUTE, "a witness takes no such messages")


def _about(message: Message, message_type: str) -> str:
    """Return the identifier whose log tells whether a message is of use here; unchecked."""
    if not isinstance(message.content, dict):
        return ""
    block: Body = message.content
    field, labels = _ABOUT[message_type]
    if field:
        inner = block.get(field)
        block = inner if isinstance(inner, dict) else {}
    found = next((block[label] for label in labels if label in block), "")
    return found if isinstance(found, str) else ""


def _is_ahead(text: object, now: datetime) -> bool:
    """Tell whether a date is in the future; what is none is refused when it is read."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else now
        return found - now > MOST_AHEAD
    except (ValueError, TypeError):
        return False
