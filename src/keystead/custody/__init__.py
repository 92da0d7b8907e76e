"""Life of keys, pure: what kinds there are, in which state each is, and what depends on it."""

from keystead.custody.catalogue import (
    ALLOWED,
    CATALOGUE,
    KeyDescription,
    KeyType,
    Method,
    Use,
    check_method,
    check_use,
)
from keystead.custody.cryptoperiods import NOTICE_DAYS, Notice, NoticeKind, warnings
from keystead.custody.impact import IdentifierImpact, Impact, SignedEventRef, Standing, impact
from keystead.custody.records import KeyRecord, Transition, as_text, begin, move
from keystead.custody.states import EXPOSED, GONE, LIVE, TRANSITIONS, State, check_transition

__all__ = [
    "ALLOWED",
    "CATALOGUE",
    "EXPOSED",
    "GONE",
    "LIVE",
    "NOTICE_DAYS",
    "TRANSITIONS",
    "IdentifierImpact",
    "Impact",
    "KeyDescription",
    "KeyRecord",
    "KeyType",
    "Method",
    "Notice",
    "NoticeKind",
    "SignedEventRef",
    "Standing",
    "State",
    "Transition",
    "Use",
    "as_text",
    "begin",
    "check_method",
    "check_transition",
    "check_use",
    "impact",
    "move",
    "warnings",
]
