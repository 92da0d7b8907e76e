"""Routed messages by own identifiers: signed with the keys that the log names last."""

from collections.abc import Sequence
from typing import Any

from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, Item, ReceiptCouple, SignatureGroup
from keystead.cesr.keys import Aid, Signature, parse_key
from keystead.cesr.writing import write_frame
from keystead.keri import build
from keystead.keri.keystate import KeyState
from keystead.keri.routed import EndRole, Location, Statement
from keystead.keri.verdicts import Recorded, Rejected, Source
from keystead.node.publishing import CONTROLLER
from keystead.owner.events import current_places
from keystead.owner.intake import take_in
from keystead.owner.records import Note
from keystead.owner.settlement import settle
from keystead.owner.signing import current_signer
from keystead.owner.wallet import IDENTIFIER, Wallet
from keystead.suites import Suite


def sign_message(wallet: Wallet, name: str, message_type: str, fields: dict[str, Any]) -> bytes:
    """Make a routed message of an own identifier, and sign it.

    Args:
        wallet: whose.
        name: of the identifier.
        message_type: `rpy` or `exn`.
        fields: as `build.routed` wants them, but for the date, which is now.

    Raises:
        UsageError: there is no such identifier (usage.unknown).
        KeystoreError: it cannot sign now (keystore.state, keystore.behind), or its keys are gone.
    """
    settle(wallet, wallet.identifier(name))
    with wallet.store.transaction():
        wallet.check_current()
        record, state = current_signer(wallet, name)
        raw, said = build.routed(message_type, {**fields, "dt": wallet.time()})
        batch = wallet.batch()
        note = Note("sign", f"a message {fields['r']}", said)
        batch.put(IDENTIFIER, record.aid, record, note, tag=record.name)
        batch.write()
        group = _signatures(wallet, state, raw)
    return raw + write_frame([group])


def publish_location(wallet: Wallet, name: str, scheme: str, url: str) -> list[Statement]:
    """State where an own identifier serves its own log, unless that is stated already.

    Returns:
        What was stated anew.

    Raises:
        UsageError, KeystoreError: as `sign_message`.
        DecodeError: no such URL (decode.value, decode.limit).
    """
    aid = wallet.identifier(name).aid
    wanted: Sequence[tuple[Statement, str, dict[str, str]]] = (
        (
            Location(aid, scheme, url),
            "/loc/scheme",
            {"eid": aid, "scheme": scheme, "url": url},
        ),
        (
            EndRole(aid, CONTROLLER, aid, allowed=True),
            "/end/role/add",
            {"cid": aid, "role": CONTROLLER, "eid": aid},
        ),
    )
    fresh: list[Statement] = []
    for statement, route, attributes in wanted:
        known = wallet.events.record(statement.key)
        if (
            known is not None
            and known.statement == statement
            and _is_current(wallet, aid, known.signer_sn)
        ):
            continue
        _take(wallet, aid, sign_message(wallet, name, "rpy", {"r": route, "a": attributes}))
        fresh.append(statement)
    return fresh


def _is_current(wallet: Wallet, aid: Aid, signer_sn: int | None) -> bool:
    """Tell whether the latest keys signed; what older ones stated is stated again by these."""
    state = wallet.events.key_state(aid)
    return signer_sn is None or (state is not None and state.establishment.sn == signer_sn)


def _take(wallet: Wallet, aid: Aid, message: bytes) -> None:
    """Keep an own statement as statements of others are kept.

    Raises:
        KeysteadError: it is not taken.
    """
    with wallet.store.transaction():
        for result in take_in(wallet, [message], own=(aid,), source=Source.LOCAL):
            if isinstance(result.verdict, Rejected):
                raise result.verdict.error
            assert isinstance(result.verdict, Recorded)  # noqa: S101 - signed by enough keys


def _signatures(wallet: Wallet, state: KeyState, raw: bytes) -> Group:
    places, last = current_places(wallet, state), state.establishment
    signed = wallet.vault.sign_statement(raw, wallet.use([place.key for place in places]))
    item: Item
    key = last.signing_keys[0]
    if state.aid == key.text and not key.transferable:
        key = parse_key(state.aid)
        item = ReceiptCouple(key, Signature(key.suite, signed[0]))
        return Group(GroupKind.RECEIPT_COUPLES, (item,))
    signatures = tuple(
        indexed.make(Suite[place.key.suite], one, place.index, ondex=None)
        for place, one in zip(places, signed, strict=True)
    )
    item = SignatureGroup(state.aid, last.sn, last.said, signatures)
    return Group(GroupKind.SIGNATURE_GROUPS, (item,))
