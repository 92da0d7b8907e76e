"""Records of keys to test with."""

from typing import Any

import msgspec

from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord
from keystead.custody.states import State

MADE = "2026-01-01T00:00:00.000000+00:00"
SAMPLE = KeyRecord(
    id="key",
    type=KeyType.IDENTIFIER_SIGN,
    method=Method.DERIVED,
    state=State.PRE_ACTIVE,
    created_at=MADE,
    changed_at=MADE,
)


def key_record(key_id: str = "key", **changes: Any) -> KeyRecord:  # noqa: ANN401 - fields of any type
    """Return a derived, pre-active signing key with some fields changed."""
    return msgspec.structs.replace(SAMPLE, id=key_id, **changes)
