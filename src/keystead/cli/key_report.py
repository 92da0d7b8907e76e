"""What `keystead key` tells, for people and for programs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from keystead.cesr.keys import Aid
from keystead.cli.output import printable
from keystead.custody.catalogue import ALLOWED, CATALOGUE, KeyType, Method, Use
from keystead.custody.impact import IdentifierImpact, Impact
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.owner.life import impact_of, keys_of
from keystead.owner.records import AuditEntry
from keystead.owner.wallet import KEY, IdentifierRecord, Wallet

# States of keys that did their work or are gone: not listed unless asked for.
PAST: Final = frozenset(
    {State.DEACTIVATED, State.ARCHIVED, State.DESTROYED, State.DESTROYED_COMPROMISED}
)
_LISTED: Final = 20  # events that are shown to people


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A key with the name of its identifier, empty for none."""

    key: KeyRecord
    name: str


def listed(wallet: Wallet, *, identifier: str | None, states: Sequence[State]) -> list[Listed]:
    """Return keys in the order of their identifiers, those of the wallet itself first.

    Args:
        wallet: the wallet.
        identifier: name of the only identifier whose keys are listed; None for all keys.
        states: the states of the keys that are listed.
    """
    owners: list[IdentifierRecord]
    if identifier is None:
        owners, keys = wallet.identifiers(), wallet.records.all(KEY, KeyRecord)
    else:
        owners = [wallet.identifier(identifier)]
        keys = keys_of(wallet, owners[0].aid)
    names = {one.aid: one.name for one in owners}
    order = {aid: place for place, aid in enumerate(names, 1)}
    keys.sort(
        key=lambda one: (
            order.get(Aid(one.identifier), 0), one.establishment, one.place, one.type, one.id,
        )
    )  # fmt: skip
    return [Listed(one, names.get(Aid(one.identifier), "")) for one in keys if one.state in states]


def listed_value(one: Listed) -> dict[str, Any]:
    """Return a key of the list as JSON values."""
    key = one.key
    return {
        "id": key.id,
        "type": key.type.value,
        "state": key.state.value,
        "method": key.method.value,
        "suite": key.suite or None,
        "public_key": key.public_key or None,
        "aid": key.identifier or None,
        "name": one.name or None,
        "establishment": key.establishment if key.establishment >= 0 else None,
        "place": key.place if key.establishment >= 0 else None,
        "label": key.label or None,
        "expires_at": key.expires_at or None,
    }


def counted(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed_line(one: Listed) -> str:
    """Return a key of the list as a line; what people called it comes last."""
    called = one.name or one.key.label
    return f"{one.key.id:<44}  {one.key.state:<12} {one.key.type:<18} {printable(called)}".rstrip()


def details(wallet: Wallet, key: KeyRecord) -> dict[str, Any]:
    """Return all that there is to tell of one key, as JSON values."""
    name = wallet.identifier(key.identifier).name if key.identifier else ""
    kind = CATALOGUE[key.type]
    allowed = kind.uses & ALLOWED[key.state]
    period = kind.cryptoperiod
    return {
        **listed_value(Listed(key, name)),
        "role": kind.role,
        "protects": [one.value for one in kind.protects],
        "uses": [one.value for one in Use if one in allowed],
        "cryptoperiod_days": None if period is None else period.days,
        "limit": kind.limit,
        "uri": key.uri or None,
        "parent": key.parent or None,
        "created_at": key.created_at,
        "changed_at": key.changed_at,
        "exposed_since": None if key.exposed_since is None else f"{key.exposed_since:x}",
        "history": [_entry_value(one) for one in wallet.records.history(KEY, key.id)],
    }


def detail_lines(value: Mapping[str, Any]) -> Iterator[str]:
    """Give one key for people."""
    yield f"key {value['id']}"
    shown = {
        "type": f"{value['type']}: {value['role']}",
        "state": value["state"],
        "uses now": ", ".join(value["uses"]) or "none",
        "protects": ", ".join(value["protects"]) or None,
        "suite": value["suite"],
        "public key": value["public_key"],
        "label": value["label"],
        "identifier": None if value["aid"] is None else f"{value['name']} ({value['aid']})",
        "made": f"{value['method']}, {value['created_at']}",
        "found at": value["uri"] or "the private half is not here",
        "below": value["parent"],
        "expires": value["expires_at"],
        "period": _period(value),
        "doubted from": value["exposed_since"] and f"event {value['exposed_since']}",
    }
    if value["type"] in _WITHOUT_URI:
        del shown["found at"]
    for name, text in shown.items():
        if text is not None:
            yield f"  {name + ':':<13} {printable(text)}"
    yield "  history:"
    for one in value["history"]:
        yield f"    {one['at']}  {_step(one)}"


# Keys that are found without a URI, and what their state says of them is all there is.
_WITHOUT_URI: Final = frozenset(
    {
        KeyType.MASTER_SEED, KeyType.BRANCH_SEED, KeyType.WALLET_DATA, KeyType.WALLET_PASSPHRASE,
        KeyType.TOKEN_PIN,
    }
)  # fmt: skip


def impact_value(wallet: Wallet, key: KeyRecord) -> dict[str, Any]:
    """Return what depends on a key, as JSON values."""
    found = impact_of(wallet, key.id)
    names = _names(wallet, found)
    return {
        "id": found.key,
        "type": found.type.value,
        "state": found.state.value,
        "derived": list(found.derived),
        "wrapped": list(found.wrapped),
        "identifiers": [
            {
                "aid": one.aid,
                "name": names[one.aid],
                "current": list(one.current),
                "next": list(one.next),
                "past": list(one.past),
                "thief_can_sign": one.thief_can_sign,
                "thief_can_rotate": one.thief_can_rotate,
                "meaning": _meaning(one, names[one.aid]),
            }
            for one in found.identifiers
        ],
        "events": [
            {
                "aid": one.aid,
                "sn": f"{one.sn:x}",
                "type": one.kind,
                "said": one.said,
            }
            for one in found.events
        ],
        "meaning": _MEANING.get(found.type, ""),
    }


def impact_lines(value: Mapping[str, Any]) -> Iterator[str]:
    """Give what depends on a key, for people."""
    yield f"key {value['id']} ({value['type']}, {value['state']})"
    if value["meaning"]:
        yield f"  {value['meaning']}"
    for what in ("derived", "wrapped"):
        if value[what]:
            yield f"  {counted(len(value[what]), 'key')} {what} with it"
            yield from (f"    {one}" for one in value[what][:_LISTED])
            if len(value[what]) > _LISTED:
                yield "    ... (all of them: --json)"
    for one in value["identifiers"]:
        yield f"  {printable(one['name'] or one['aid'])}: {printable(one['meaning'])}"
    signed = value["events"]
    if signed:
        yield f"  {counted(len(signed), 'event')} signed with it since it may have been exposed"
        for one in signed[-_LISTED:]:
            yield f"    {one['type']} {one['sn']} {one['said']} of {one['aid']}"
    if not (value["derived"] or value["wrapped"] or value["identifiers"]):
        yield "  nothing else depends on it"


def next_steps(value: Mapping[str, Any], key: KeyRecord) -> list[str]:
    """Return what to do next when a key is marked as compromised, by its impact."""
    steps = []
    if value["type"] in _FIRST_STEP:
        steps.append(_FIRST_STEP[value["type"]])
    for one in value["identifiers"]:
        name = printable(one["name"] or one["aid"])
        if one["next"] and key.method is Method.OTHER:
            steps.append(
                f"rotate {name} at once: it commits to this key no more, and needs to be told which "
                f"keys the rotation after it needs: keystead id rotate {name} --next-threshold 1"
            )
        elif one["next"]:
            steps.append(
                f"rotate {name} twice at once, before the thief does: the first rotation uses up "
                f"the key that he has, the second puts keys in force that he never saw: "
                f"keystead id rotate {name}"
            )
        elif one["current"]:
            steps.append(f"rotate {name} at once: keystead id rotate {name}")
    return steps


_MEANING: Final = {
    KeyType.WALLET_PASSPHRASE: "whoever has it opens the wallet, if he also has a copy of it",
    KeyType.WALLET_DATA: "whoever has it reads everything in the wallet, if he also has a copy",
    KeyType.MASTER_SEED: "whoever has it can derive every key below it, those to come too",
    KeyType.BRANCH_SEED: "whoever has it can derive every key of its identifier",
    KeyType.TOKEN_PIN: "whoever has it can sign with all keys in the token, if he also has that",
}
_FIRST_STEP: Final = {
    KeyType.WALLET_PASSPHRASE: (
        "give the wallet a new passphrase: keystead passphrase; it does not close copies that "
        "were made before: if there may be one, mark wallet.data as compromised too"
    ),
    KeyType.WALLET_DATA: (
        "whoever has this key reads the wallet again when he gets another copy of it: keep the "
        "wallet from him, or make another one and move there"
    ),
    KeyType.TOKEN_PIN: (
        "set a new PIN with the tool of the token, then give it to the wallet: keystead token add; "
        "if somebody may have used the token, mark the keys in it as compromised too"
    ),
}


def _meaning(one: IdentifierImpact, name: str) -> str:
    """Tell in plain words what somebody can do to an identifier who has the key."""
    if one.thief_can_rotate and one.thief_can_sign:
        return f"a thief can sign as {name}, and take it away for good by rotating first"
    if one.thief_can_rotate:
        return f"a thief can take {name} away for good, by rotating first"
    if one.thief_can_sign:
        return f"a thief can sign as {name}, until its next rotation"
    if one.next:
        return f"a thief needs more of the next keys of {name} to rotate"
    if one.current:
        return f"a thief needs more of the keys of {name} to sign"
    return (
        f"the log of {name} has gone on without it: a thief can make signatures that look old, "
        "and a notice behind the log tells not to trust those that are not anchored"
    )


def _names(wallet: Wallet, found: Impact) -> dict[str, str]:
    return {one.aid: wallet.identifier(one.aid).name for one in found.identifiers}


def _entry_value(entry: AuditEntry) -> dict[str, Any]:
    note = entry.note
    return {
        "number": entry.number,
        "at": entry.at,
        "actor": entry.actor,
        "action": note.action,
        "before": note.before or None,
        "after": note.after or None,
        "reason": note.reason or None,
        "evidence": note.evidence or None,
    }


def _step(one: Mapping[str, Any]) -> str:
    moved = f"{one['before'] or '(made)'} -> {one['after']}" if one["after"] else "no new state"
    parts: Iterable[str | None] = (
        f"{one['action']}: {moved}",
        f"by {one['actor']}",
        one["reason"] and f"because: {one['reason']}",
        one["evidence"] and f"proved by {one['evidence']}",
    )
    return printable("; ".join(part for part in parts if part))


def _period(value: Mapping[str, Any]) -> str:
    days = value["cryptoperiod_days"]
    return value["limit"] if days is None else f"{days} days; {value['limit']}"
