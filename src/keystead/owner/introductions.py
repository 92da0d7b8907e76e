"""Introductions to own identifiers: their URLs, and what is served there."""

from collections.abc import Sequence

import msgspec

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, UsageError
from keystead.keri.oobi import Oobi, OobiPath, parse_base
from keystead.limits import DEFAULT_LIMITS
from keystead.node.publishing import CONTROLLER, WITNESS, oobi_stream
from keystead.owner.compromises import kept_notices
from keystead.owner.discovery import locations, witness_oobi
from keystead.owner.wallet import Wallet
from keystead.ports.events import EventStore


class Introduction(msgspec.Struct, frozen=True, gc=False):
    """What is served for one URL.

    Attributes:
        aid: who is introduced.
        stream: the log, then statements on endpoints, then notices of compromised keys.
    """

    aid: Aid
    stream: bytes


def introduce(store: EventStore, aids: Sequence[Aid], path: OobiPath) -> Introduction | None:
    """Return what is served for a path; None when that is nothing of these identifiers.

    Args:
        store: where the logs are.
        aids: who is introduced; a path that names nobody leads to the first.
        path: of the URL.
    """
    aid = aids[0] if path.target is None else Aid(path.target)
    if aid not in aids:
        return None
    stream = oobi_stream(store, aid, role=path.role, eid=path.eid)
    if stream is None:
        return None
    return Introduction(aid, stream + b"".join(kept_notices(store, aid)))


def tree(wallet: Wallet, name: str) -> dict[str, bytes]:
    """Return what any web server can serve for an own identifier: files by their paths.

    A path with nothing behind the identifier is not among them, since a file cannot stand in the
    place of the folder of those with a role.

    Raises:
        UsageError: there is no such identifier (usage.unknown).
        KeystoreError: nothing of it can be published yet (keystore.state).
    """
    record = wallet.identifier(name)
    paths = [OobiPath(record.aid, well_known=True), OobiPath(record.aid, CONTROLLER)]
    state = wallet.events.key_state(record.aid)
    if state is not None and state.establishment.witnesses:
        paths.append(OobiPath(record.aid, WITNESS))
    found = {}
    for path in paths:
        made = introduce(wallet.events, [record.aid], path)
        if made is None:
            what = f"the log of {record.name} waits for receipts, or for its delegator"
            hint = "see what it waits for with: keystead status"
            raise KeystoreError(ErrorCode.LIFE_STATE, what, hint=hint)
        found[path.text.removeprefix("/")] = made.stream
    return found


def own_oobis(wallet: Wallet, name: str, *, role: str = "", label: str = "") -> list[Oobi]:
    """Return the introductions to an own identifier, as far as it is known where it is served.

    Args:
        wallet: whose.
        name: of the identifier.
        role: `witness`: at its witnesses; `controller`: where its owner serves it. Empty: at its
            witnesses if it has some.
        label: name to propose to whoever follows it.

    Raises:
        UsageError: there is no such identifier, or no place is known (usage.unknown).
    """
    record = wallet.identifier(name)
    state = wallet.events.key_state(record.aid)
    witnesses = () if state is None else state.establishment.witnesses
    role = role or (WITNESS if witnesses else CONTROLLER)
    if role == WITNESS:
        made = [witness_oobi(wallet.events, record.aid, one) for one in witnesses]
        hint = "tell where they are with: keystead oobi resolve URL, for each witness"
    else:
        made = [
            _oobi_at(url, OobiPath(record.aid, role))
            for url in locations(wallet.events, record.aid)
        ]
        hint = f"serve it with: keystead oobi serve {record.name} --url URL"
    found = [msgspec.structs.replace(one, name=label) for one in made if one is not None]
    if not found:
        what = f"it is not known where the log of {record.name} is served"
        raise UsageError(ErrorCode.UNKNOWN, what, hint=hint)
    return found


def _oobi_at(url: str, path: OobiPath) -> Oobi | None:
    try:
        return Oobi(parse_base(url, DEFAULT_LIMITS), path)
    except KeysteadError:
        return None
