"""What the tables say of own keys is taken only where authenticated events say the same."""

import sqlite3
import timeit
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keystead import suites
from keystead.cesr.keys import Aid, digest, make_key
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.build import commitment
from keystead.keri.keystate import Establishment
from keystead.keri.seals import DigestSeal
from keystead.owner import delegation, identifiers
from keystead.owner.life import compromise
from keystead.owner.notices import publish_notices
from keystead.owner.plans import Change, Creation
from keystead.owner.settlement import settle
from keystead.owner.signing import sign_document
from keystead.owner.trust import check_state
from keystead.stores import rows
from keystead.suites import Suite
from support.wallets import LocalWallet, crash_before_keeping, judged, make_wallet, reopen

State = list[Any]
FOREIGN = make_key(Suite.ED25519, suites.public_key(Suite.ED25519, b"\7" * 32), transferable=True)
DOCUMENT = digest(b"a document")
# Places of the columns of an establishment, as it is kept.
FIELDS = {
    "said": digest(b"other"),
    "signing_threshold": "1",
    "signing_keys": [FOREIGN.text, FOREIGN.text],
    "next_threshold": "1",
    "next_key_digests": [commitment(FOREIGN), digest(b"another")],
    "witness_threshold": 1,
    "configuration_traits": ["DND"],
    "delegator": digest(b"nobody"),
}


def forge(wallet: LocalWallet, aid: Aid, change: Callable[[State], State]) -> LocalWallet:
    """Change the latest keys of a log in the tables, as who knows how checksums are made."""
    wallet.sqlite.close()
    with closing(sqlite3.connect(wallet.home / "wallet.db")) as connection:
        query = "SELECT * FROM establishment WHERE aid = ? ORDER BY first_seen_number DESC"
        _, number, state, _ = connection.execute(query, (aid,)).fetchone()
        state = msgspec.msgpack.encode(change(msgspec.msgpack.decode(state)))
        query = "UPDATE establishment SET state = ?, checksum = ? WHERE aid = ? AND first_seen_number = ?"
        connection.execute(query, (state, rows.checksum(aid, number, state), aid, number))
        connection.commit()
    return reopen(wallet)


def with_field(name: str) -> Callable[[State], State]:
    """Return the change that puts another value into a field of an establishment."""
    names = [field.name for field in msgspec.structs.fields(Establishment)]

    def change(state: State) -> State:
        return [
            FIELDS[name] if one == name else value for one, value in zip(names, state, strict=True)
        ]

    return change


def refused(act: Callable[[], object]) -> None:
    """Check that something is refused as tampered."""
    with pytest.raises(KeysteadError) as caught:
        act()
    assert caught.value.code is ErrorCode.TAMPERED


def approved(wallet: LocalWallet) -> bytes:
    """Have the firm approve what its kid asks for, and return its answer."""
    approvals = delegation.approve(wallet, "firm", delegation.request(wallet, "kid"))
    return b"".join(delegation.answer(wallet, "firm", approvals))


def without_next_key(state: State) -> State:
    """Drop a digest of a next key, and ask for one less."""
    index = [field.name for field in msgspec.structs.fields(Establishment)].index
    state[index("next_key_digests")] = state[index("next_key_digests")][:1]
    state[index("next_threshold")] = "1"
    return state


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("rotated", [False, True])
def test_nothing_is_signed_with_forged_keys(tmp_path: Path, name: str, *, rotated: bool) -> None:
    """Whatever field of them is changed, right after the inception and after a rotation."""
    wallet = make_wallet(tmp_path)
    aid = identifiers.create(wallet, "alice", Creation(keys=2, threshold="2")).aid
    if rotated:
        identifiers.rotate(wallet, "alice", Change())
    wallet = forge(wallet, aid, with_field(name))
    before = wallet.vault.marks([aid])
    for act in (
        lambda: sign_document(wallet, "alice", DOCUMENT),
        lambda: sign_document(wallet, "alice", DOCUMENT, anchored=True),
        lambda: identifiers.rotate(wallet, "alice", Change()),
        lambda: identifiers.anchor(wallet, "alice", [DigestSeal(DOCUMENT)]),
        lambda: identifiers.abandon(wallet, "alice"),
    ):
        refused(act)
    assert wallet.vault.marks([aid]) == before


def test_a_place_is_not_used_up_by_an_event_that_nobody_takes(tmp_path: Path) -> None:
    """With the tables as they were the rotation is made, and strangers take it."""
    wallet = make_wallet(tmp_path)
    wanted = Creation(keys=1, next_keys=2, next_threshold="2")
    aid = identifiers.create(wallet, "alice", wanted).aid
    kept: list[State] = []

    def drop(state: State) -> State:
        kept.append(list(state))
        return without_next_key(state)

    wallet = forge(wallet, aid, drop)
    refused(lambda: identifiers.rotate(wallet, "alice", Change()))
    wallet = forge(wallet, aid, lambda _: kept[0])
    assert identifiers.rotate(wallet, "alice", Change()) is not None
    judged(wallet, "alice")


def test_what_a_crash_cut_off_is_not_finished_with_forged_keys(tmp_path: Path) -> None:
    """Signing it again is signing."""
    wallet = make_wallet(tmp_path)
    record = identifiers.create(wallet, "alice", Creation(keys=2, threshold="2"))
    with crash_before_keeping():
        identifiers.rotate(wallet, "alice", Change())
    wallet = forge(wallet, record.aid, with_field("next_threshold"))
    refused(lambda: settle(wallet, record))


def test_notices_are_not_signed_with_forged_keys(tmp_path: Path) -> None:
    """They name the event that set the keys, as the tables tell it."""
    wallet = make_wallet(tmp_path)
    aid = identifiers.create(wallet, "alice", Creation(keys=2, threshold="1")).aid
    key = wallet.events.key_state(aid)
    assert key is not None
    identifiers.rotate(wallet, "alice", Change())
    compromise(wallet, commitment(key.establishment.signing_keys[0]))
    wallet = forge(wallet, aid, with_field("signing_keys"))
    refused(lambda: publish_notices(wallet, aid))


def test_an_approval_is_not_taken_to_forged_keys(tmp_path: Path) -> None:
    """A rotation that waited follows the keys that the log has."""
    wallet = make_wallet(tmp_path)
    firm = identifiers.create(wallet, "firm", Creation()).aid
    kid = identifiers.create(wallet, "kid", Creation(keys=2, threshold="2", delegator=firm)).aid
    delegation.complete(wallet, "kid", [approved(wallet)])
    identifiers.rotate(wallet, "kid", Change())
    stream = approved(wallet)
    wallet = forge(wallet, kid, with_field("next_threshold"))
    refused(lambda: delegation.complete(wallet, "kid", [stream]))
    refused(lambda: sign_document(wallet, "kid", DOCUMENT))


def test_identifiers_of_all_kinds_pass(tmp_path: Path) -> None:
    """What nobody changed is believed: rotated, anchored to, delegated, abandoned, of one key."""
    wallet = make_wallet(tmp_path)
    identifiers.create(wallet, "one", Creation(transferable=False))
    identifiers.create(wallet, "many", Creation(keys=3, establishment_only=True))
    identifiers.rotate(wallet, "many", Change())
    firm = identifiers.create(wallet, "firm", Creation(do_not_delegate=False)).aid
    identifiers.create(wallet, "kid", Creation(delegator=firm))
    delegation.complete(wallet, "kid", [approved(wallet)])
    identifiers.create(wallet, "last", Creation())
    identifiers.abandon(wallet, "last")
    for record in wallet.identifiers():
        state = wallet.events.key_state(record.aid)
        assert state is not None
        check_state(wallet, record, state)
        unknown = msgspec.structs.replace(record, established="")
        refused(partial(check_state, wallet, unknown, state))


@pytest.mark.timed
def test_the_check_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    """However long the log is."""
    wallet = make_wallet(tmp_path)
    identifiers.create(wallet, "alice", Creation(keys=3))
    for _ in range(30):
        identifiers.rotate(wallet, "alice", Change())
    record = wallet.identifier("alice")
    state = wallet.events.key_state(record.aid)
    assert state is not None
    spent = timeit.repeat(lambda: check_state(wallet, record, state), number=100, repeat=5)
    assert min(spent) / 100 < 0.001
