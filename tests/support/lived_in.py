"""A wallet with a long life: every kind of record, every state of keys, something in each table."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from keystead.cesr.keys import Aid, Digest, make_key
from keystead.keri import build
from keystead.keri.seals import DigestSeal
from keystead.keystores import envelope as envelopes
from keystead.keystores.passphrase import KdfParameters
from keystead.owner import delegation, identifiers, life, shredding, tokens, unlocking
from keystead.owner.doctor import Report, examine
from keystead.owner.examination import Progress
from keystead.owner.plans import Change, Creation
from keystead.owner.records import Note
from keystead.owner.wallet import STATE, TokenRecord, envelope_digest
from keystead.stores import fsck
from keystead.suites import Suite, public_key
from support.histories import feed, messages
from support.wallets import DATA_KEY, WALLET, LocalWallet, make_wallet

Rows = dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]
_SEAL = DigestSeal(Digest("E" + "A" * 43))
KDF = KdfParameters(memory_kib=19 * 1024, passes=2, lanes=1, salt=b"salt of a wallet")


def checked(
    wallet: LocalWallet, *, unlocked: bool = True, progress: Progress = lambda *_: None
) -> Report:
    """Return what the doctor says."""

    def below(own: Collection[Aid]) -> Iterator[tuple[str, str]]:
        return ((one.where, one.what) for one in fsck.check(wallet.sqlite.database, own=own))

    opened = wallet if unlocked else None
    moment = wallet.sqlite.database.snapshot()
    return examine(wallet.sqlite, opened, below, moment=moment, progress=progress)


def current_key(wallet: LocalWallet, name: str) -> Digest:
    """Return the id of the first key in force of an identifier."""
    return _keys(wallet, name)[-1]


def past_key(wallet: LocalWallet, name: str) -> Digest:
    """Return the id of the first key that an identifier had in force."""
    return _keys(wallet, name)[0]


def _keys(wallet: LocalWallet, name: str) -> list[Digest]:
    events = wallet.events.events(wallet.identifier(name).aid)
    return [build.commitment(one.state.establishment.signing_keys[0]) for one in events]


def lived_in(folder: Path) -> tuple[LocalWallet, list[Rows]]:
    """Return the wallet, and all rows as they were after each part of its life."""
    wallet, boss = make_wallet(folder / "machine"), make_wallet(folder / "boss")
    stages = [rows_of(wallet)]
    for part in (_begun, _delegated, _grown, _exposed, _ended, _visited, _waiting):
        part(wallet, boss)
        stages.append(rows_of(wallet))
    return wallet, stages


def wrap(wallet: LocalWallet) -> None:
    """Wrap the data key of a wallet by a passphrase, as `keystead init` does."""
    wrapped = envelopes.close(WALLET, DATA_KEY, b"the first passphrase", KDF)
    with wallet.sqlite.transaction():
        wallet.sqlite.set_envelope(wrapped)
        batch, state = wallet.batch(), wallet.state()
        batch.put(STATE, "wallet", replace(state, envelope=envelope_digest(wrapped)), Note("init"))
        batch.write()


def _begun(wallet: LocalWallet, _: LocalWallet) -> None:
    wrap(wallet)
    identifiers.create(wallet, "alice", Creation())
    identifiers.create(wallet, "crowd", Creation(keys=3, threshold="2", suite=Suite.SECP256R1))
    identifiers.create(wallet, "fixed", Creation(transferable=False))


def _delegated(wallet: LocalWallet, boss: LocalWallet) -> None:
    over = identifiers.create(boss, "boss", Creation())
    identifiers.create(wallet, "kid", Creation(delegator=over.aid))
    _approved(wallet, boss)
    identifiers.rotate(wallet, "kid", Change())
    _approved(wallet, boss)


def _approved(wallet: LocalWallet, boss: LocalWallet) -> None:
    asked = list(delegation.request(wallet, "kid"))
    approvals = delegation.approve(boss, "boss", asked)
    delegation.complete(wallet, "kid", delegation.answer(boss, "boss", approvals))


def _grown(wallet: LocalWallet, _: LocalWallet) -> None:
    for name in ("alice", "alice", "crowd"):
        identifiers.rotate(wallet, name, Change())
    identifiers.anchor(wallet, "crowd", [_SEAL])
    reserve = build.commitment(make_key(Suite.ED25519, public_key(Suite.ED25519, b"r" * 32)))
    wanted = Creation(reserve=(reserve,), next_threshold=["1", "1/2"], threshold="1")
    identifiers.create(wallet, "spare", wanted)
    seed = b"i" * 32
    life.import_key(wallet, seed, make_key(Suite.ED25519, public_key(Suite.ED25519, seed)).text)
    tokens.add_token(wallet, TokenRecord("old", "/usr/lib/old.so", "old"), "0000")
    tokens.add_token(wallet, TokenRecord("office", "/usr/lib/token.so", "office"), "1234")


def _exposed(wallet: LocalWallet, _: LocalWallet) -> None:
    life.compromise(wallet, current_key(wallet, "alice"), since=2, reason="a laptop was stolen")
    identifiers.rotate(wallet, "alice", Change())
    identifiers.rotate(wallet, "alice", Change())  # tells of the key again


def _ended(wallet: LocalWallet, _: LocalWallet) -> None:
    shredding.shred(wallet, past_key(wallet, "crowd"))
    tokens.remove_token(wallet, "old")
    identifiers.create(wallet, "gone", Creation())
    identifiers.abandon(wallet, "gone")
    identifiers.rename(wallet, "fixed", "firm")
    before = wallet.sqlite.envelope()
    after = envelopes.close(WALLET, DATA_KEY, b"the second passphrase", KDF)
    unlocking.change_passphrase(wallet, wallet.sqlite, before=before, after=after)
    shredding.finish_scrub(wallet)


def _visited(wallet: LocalWallet, _: LocalWallet) -> None:
    feed(wallet.events, messages(), now=wallet.now())


def _waiting(wallet: LocalWallet, _: LocalWallet) -> None:
    identifiers.rotate(wallet, "kid", Change())
    identifiers.create(wallet, "last", Creation())


def rows_of(wallet: LocalWallet) -> Rows:
    """Return all rows of all tables by their keys."""
    with closing(sqlite3.connect(wallet.home / "wallet.db")) as connection:
        return {table: rows_in(connection, table) for table in tables(connection)}


def tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all tables."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(query)]


def columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[int]]:
    """Return the columns of a table, and the places of those that are its key."""
    found = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [row[1] for row in found], [place for place, row in enumerate(found) if row[5]]


def rows_in(connection: sqlite3.Connection, table: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of a table by their keys."""
    _, keys = columns(connection, table)
    rows = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - a table of the schema
    return {tuple(row[place] for place in keys): row for row in rows}
