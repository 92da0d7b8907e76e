"""Whatever is changed in the stored rows of a wallet, past the wallet, is found out.

Every row of every table is changed in each column, swapped with another, replaced by each older
version of itself, and deleted. The cases come from the schema and from the rows that there are, so
new tables and columns are covered as they come.
"""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.keys import Aid, digest
from keystead.cesr.writing import write_frame
from keystead.errors import KeysteadError
from keystead.keri.keystate import AcceptedEvent
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Accepted
from keystead.keystores.vault import LocalVault
from keystead.owner import identifiers
from keystead.owner.compromises import compromises
from keystead.owner.exporting import log_stream
from keystead.owner.plans import Change
from keystead.owner.signing import sign_document
from keystead.owner.standing import Standing, judge_signature
from keystead.owner.wallet import Wallet
from keystead.stores import rows as stored
from keystead.stores import schema
from keystead.stores.memory import MemoryStore
from support.histories import feed
from support.lived_in import Rows, checked, lived_in, rows_in, tables
from support.wallets import DATA_KEY, WALLET, LocalWallet, open_again

Tampering = Callable[[sqlite3.Connection], object]
Case = tuple[str, Tampering]
Row = tuple[Any, ...]
Value = bytes | str | int | None

# Who tries passphrases can as well do so on a copy, where nobody counts; so this counter is no
# evidence, and an owner whose counter was changed waits for an hour at most.
NOT_GUARDED = {"attempt"}
# An order among equals in what waits, by which it makes room: it says nothing about anything.
FREE = {("held", "placed"), ("held_share", "large")}
# Columns before the checksum that it covers, where those are not all.
_SUMMED = {"place": 7}
# The key of these rows is the order in which they came, and nothing but that.
UNNAMED = {"held"}
# All rows, instead of a draw that takes a minute.
ALL = bool(os.environ.get("KEYSTEAD_TEST_ALL"))
DRAWN = 6  # rows of each table
USES = 15  # changes of each table with which the wallet is used
USED = ("alice", "crowd", "firm", "kid", "spare", "last")
_DOCUMENT = digest(b"a document")


@pytest.fixture(scope="module", name="life")
def _life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Rows]]:
    """Return the folder of a machine with a wallet, and its rows after each part of its life."""
    wallet, stages = lived_in(tmp_path_factory.mktemp("life"))
    assert checked(wallet).fine
    wallet.sqlite.scrub()
    wallet.sqlite.close()
    return wallet.folder, stages


class Table:
    """A table of the schema, and its rows now.

    Attributes:
        name: its name.
        columns: names of its columns.
        types: their types.
        nullable: those that can be empty.
        keys: places of the columns that are its key.
        rows: its rows by their keys.
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        info = connection.execute(f"PRAGMA table_info({name})").fetchall()
        self.name = name
        self.columns = [row[1] for row in info]
        self.types = [row[2] for row in info]
        self.nullable = [not row[3] and not row[5] for row in info]
        self.keys = [place for place, row in enumerate(info) if row[5]]
        self.rows = rows_in(connection, name)

    def put(self, *rows: Row) -> Tampering:
        """Insert or replace rows."""
        values = ", ".join("?" * len(self.columns))
        query = f"INSERT OR REPLACE INTO {self.name} VALUES ({values})"  # noqa: S608 - of the schema
        return lambda connection: connection.executemany(query, rows)

    def delete(self, *keys: Row) -> Tampering:
        """Delete rows."""
        found = " AND ".join(f"{self.columns[place]} = ?" for place in self.keys)
        query = f"DELETE FROM {self.name} WHERE {found}"  # noqa: S608 - of the schema
        return lambda connection: connection.executemany(query, keys)

    def key(self, row: Row) -> Row:
        """Return the key of a row."""
        return tuple(row[place] for place in self.keys)


def both(*changes: Tampering) -> Tampering:
    """Do one change after the other."""

    def change(connection: sqlite3.Connection) -> None:
        for one in changes:
            one(connection)

    return change


def others(value: Value, kind: str, *, nullable: bool, at: int) -> Iterator[Value]:
    """Give values that a column could hold instead."""
    if nullable and value is not None:
        yield None
    match kind, value:
        case "BLOB", bytes() if value:
            at %= len(value)
            yield value[:at] + bytes([value[at] ^ 1 << at % 8]) + value[at + 1 :]
            yield value[:-1]
        case "BLOB", _:
            yield bytes(32)
        case "TEXT", str() if value:
            at %= len(value)
            yield value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]
        case "TEXT", _:
            yield "x"
        case _, int():
            yield value ^ 1
            yield value + 1000
        case _:
            yield 7


def with_value(row: Row, place: int, value: Value) -> Row:
    """Return a row with another value in a column."""
    return (*row[:place], value, *row[place + 1 :])


def flips(table: Table, row: Row, draw: random.Random) -> Iterator[Case]:
    """Change each column of a row."""
    for place, column in enumerate(table.columns):
        if (table.name, column) in FREE:
            continue
        kind, nullable = table.types[place], table.nullable[place]
        for value in others(row[place], kind, nullable=nullable, at=draw.randrange(10_000)):
            after = with_value(row, place, value)
            change = both(table.delete(table.key(row)), table.put(after))
            yield f"{column} of {table.key(row)} becomes {value!r:.40}", change


def swaps(table: Table, one: Row, other: Row) -> Iterator[Case]:
    """Exchange two rows behind their keys, whole and column by column."""
    places = [place for place in range(len(table.columns)) if place not in table.keys]
    whole = [] if table.name in UNNAMED else [places]
    for chosen in (*whole, *([place] for place in places)):
        first, second = one, other
        for place in chosen:
            if (table.name, table.columns[place]) not in FREE:
                first = with_value(first, place, other[place])
                second = with_value(second, place, one[place])
        if (first, second) != (one, other):
            keys = (table.key(one), table.key(other))
            named = [table.columns[place] for place in chosen]
            yield f"{named} of {keys} swapped", both(table.delete(*keys), table.put(first, second))


def forgeries(table: Table) -> Iterator[Case]:
    """Put what other rows have into a row, whole or in parts, and make the checksum fit."""
    end = table.columns.index("checksum")
    for row in table.rows.values():
        for other in table.rows.values():
            for place in range(end):
                for told, value in mixed(row[place], other[place]):
                    after = with_value(row, place, value)
                    summed = after[: _SUMMED.get(table.name, end)]
                    after = with_value(after, end, stored.checksum(*summed))
                    change = both(table.delete(table.key(row)), table.put(after))
                    column = f"{table.columns[place]}{told} of {table.key(row)}"
                    yield f"{column} as in {table.key(other)}", change


def mixed(value: Value, other: Value) -> Iterator[tuple[str, Value]]:
    """Give another value, and where both are lists each item of it in the place of one."""
    if value == other:
        return
    yield "", other
    if isinstance(value, bytes) and isinstance(other, bytes):
        with suppress(msgspec.DecodeError):
            mine, theirs = msgspec.msgpack.decode(value), msgspec.msgpack.decode(other)
            if isinstance(mine, list) and isinstance(theirs, list):
                for at, item in enumerate(theirs):
                    if mine[at] != item:
                        yield f"[{at}]", msgspec.msgpack.encode([*mine[:at], item, *mine[at + 1 :]])


def older(table: Table, key: Row, stages: list[Rows]) -> Iterator[Case]:
    """Put older versions of a row back, or a row that was deleted."""
    now = table.rows.get(key)
    for row in dict.fromkeys(
        stage[table.name][key] for stage in stages if key in stage[table.name]
    ):
        if row != now:
            yield f"{key} put back", table.put(row)


def cases(table: Table, stages: list[Rows]) -> Iterator[Case]:
    """Give all cases of one table."""
    draw = random.Random(table.name)  # noqa: S311 - repeatable on purpose
    rows = list(table.rows.values())
    some = rows if ALL or len(rows) <= DRAWN else draw.sample(rows, DRAWN)
    for row in some:
        yield from flips(table, row, draw)
        yield f"{table.key(row)} deleted", table.delete(table.key(row))
        if len(rows) > 1:
            yield from swaps(table, row, rows[rows.index(row) - 1])
    for key in dict.fromkeys(key for stage in stages for key in stage[table.name]):
        yield from older(table, key, stages)


@contextmanager
def tampered(wallet: LocalWallet, change: Tampering) -> Iterator[bool]:
    """Change a wallet past its guards, and undo that afterwards; tell whether it can be done."""
    connection = wallet.sqlite.database.connection
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    triggers = connection.execute(query).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            change(connection)
        except sqlite3.IntegrityError:
            yield False  # two rows of one key cannot be in a table
            return
        finally:
            connection.execute("PRAGMA ignore_check_constraints = OFF")
        for _, sql in triggers:
            connection.execute(sql)
        yield True
    finally:
        connection.execute("ROLLBACK")


@pytest.fixture(name="wallet")
def _wallet(life: tuple[Path, list[Rows]]) -> Iterator[LocalWallet]:
    """Return the wallet, whose file is open without some of its guards."""
    wallet = open_again(life[0])
    wallet.sqlite.database.connection.execute("PRAGMA foreign_keys = OFF")
    yield wallet
    wallet.sqlite.close()


def _names() -> list[str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.apply(connection, schema.shipped())
        return [name for name in tables(connection) if name not in NOT_GUARDED]


def replaced(stage: Rows, names: Iterable[str]) -> Tampering:
    """Replace whole tables by what they were."""

    def change(connection: sqlite3.Connection) -> None:
        for name in names:
            connection.execute(f"DELETE FROM {name}")  # noqa: S608 - of the schema
            Table(connection, name).put(*stage[name].values())(connection)

    return change


def _combined(now: Rows) -> Iterator[list[str]]:
    """Give sets of tables that somebody could put back together."""
    own = {"record", "audit", "envelope"}
    below = [name for name in now if name not in {*own, *NOT_GUARDED, "migration"}]
    for size in range(1, len(own) + 1):
        yield from map(list, combinations(sorted(own), size))
    yield below
    yield [*below, "record"]
    yield [*below, "audit", "record"]
    yield [*below, *sorted(own)]


@pytest.mark.parametrize("name", _names())
def test_every_change_of_a_row_is_found(
    name: str, wallet: LocalWallet, life: tuple[Path, list[Rows]]
) -> None:
    """A row that is changed, swapped, deleted or put back is a problem to the doctor."""
    table = Table(wallet.sqlite.database.connection, name)
    assert table.rows, "nothing of this table was tried"
    accepted, tried = [], 0
    for told, change in cases(table, life[1]):
        with tampered(wallet, change) as done:
            if done:
                tried += 1
                if checked(wallet).fine:
                    accepted.append(told)
    assert not accepted, f"{len(accepted)} of {tried}"


def test_older_tables_are_found(wallet: LocalWallet, life: tuple[Path, list[Rows]]) -> None:
    """Tables that are put back together, up to the whole file, are a problem to the doctor."""
    *stages, now = life[1]
    accepted = []
    for number, stage in enumerate(stages):
        for names in _combined(now):
            if all(stage[name] == now[name] for name in names):
                continue
            with tampered(wallet, replaced(stage, names)):
                if checked(wallet).fine:
                    accepted.append((number, names))
    assert not accepted


def test_other_schema_is_found(wallet: LocalWallet) -> None:
    """An index, trigger or table that is missing or added is a problem to the doctor."""
    connection = wallet.sqlite.database.connection
    query = "SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL"
    statements = [f"DROP {kind} {name}" for kind, name in connection.execute(query)]
    statements.append("CREATE TABLE more (x)")
    statements.append("CREATE TRIGGER more AFTER INSERT ON audit BEGIN DELETE FROM record; END")
    for statement in statements:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(statement)
        try:
            assert not checked(wallet).fine, statement
        finally:
            connection.execute("ROLLBACK")


def test_nothing_is_found_where_nothing_was_changed(wallet: LocalWallet) -> None:
    """The doctor has no problem with the wallet as it is, locked or unlocked."""
    assert checked(wallet).findings == ()
    assert checked(wallet, unlocked=False).fine


@pytest.fixture(scope="module", name="truth")
def _truth(life: tuple[Path, list[Rows]]) -> tuple[bytes, dict[str, Aid]]:
    """Return the logs of the wallet as anyone knows them, and whose names are whose."""
    wallet = open_again(life[0])
    streams = [b"".join(log_stream(wallet, name)) for name in USED]
    names = {name: wallet.identifier(name).aid for name in USED}
    wallet.sqlite.close()
    return b"".join(streams), names


def used(wallet: Wallet, known: MemoryStore, aid: Aid, name: str) -> list[str]:
    """Sign a document and events, and check that what comes of it is by the right keys."""
    done = []
    with suppress(KeysteadError):
        signed = sign_document(wallet, name, _DOCUMENT).signature
        verdict = judge_signature(signed, _DOCUMENT, known, compromises(known, aid))
        assert signed.aid == aid
        assert verdict.standing in (Standing.CURRENT, Standing.NON_TRANSFERABLE)
        done.append("document")
    makes: dict[str, Callable[[], AcceptedEvent | None]] = {
        "event": lambda: identifiers.anchor(wallet, name, [DigestSeal(_DOCUMENT)]),
        "rotation": lambda: identifiers.rotate(wallet, name, Change()),
    }
    for what, make in makes.items():
        with suppress(KeysteadError):
            made = make()
            if made is None:
                continue  # it waits for the delegator
            group = Group(GroupKind.CONTROLLER_SIGNATURES, made.proofs.signatures)
            message = made.event.raw + write_frame([group])
            (result,) = feed(known, [message], now=wallet.now())
            assert made.event.aid == aid
            assert isinstance(result.verdict, Accepted)
            done.append(what)
    return done


def uses(
    wallet: LocalWallet, folder: Path, life: Path, truth: tuple[bytes, dict[str, Aid]]
) -> dict[str, list[str]]:
    """Use all identifiers as another process would, with the marks of the machine."""
    shutil.rmtree(folder / "state", ignore_errors=True)
    shutil.copytree(life / "state", folder / "state")
    vault = LocalVault(WALLET, DATA_KEY, folder / "state")
    user = Wallet(wallet.sqlite, vault, now=wallet.clock, actor="user")
    found = {}
    for name, aid in truth[1].items():
        known = MemoryStore()
        feed(known, [truth[0]], now=wallet.now())
        found[name] = used(user, known, aid, name)
    return found


def test_without_a_change_all_is_signed(
    wallet: LocalWallet,
    life: tuple[Path, list[Rows]],
    truth: tuple[bytes, dict[str, Aid]],
    tmp_path: Path,
) -> None:
    """What the next test tries works: one waits for its delegator, and one has no events."""
    with tampered(wallet, lambda _: None):
        found = uses(wallet, tmp_path, life[0], truth)
    all_done = ["document", "event", "rotation"]
    assert found == dict.fromkeys(USED, all_done) | {"kid": ["document"], "firm": ["document"]}


@pytest.mark.parametrize("name", _names())
def test_nothing_wrong_is_signed_with_changed_rows(
    name: str,
    wallet: LocalWallet,
    life: tuple[Path, list[Rows]],
    truth: tuple[bytes, dict[str, Aid]],
    tmp_path: Path,
) -> None:
    """Use fails with an error of its own, or signs with the keys that everybody knows."""
    table = Table(wallet.sqlite.database.connection, name)
    drawn = random.Random(name)  # noqa: S311 - repeatable on purpose
    found = list(cases(table, life[1]))
    _use_all(
        drawn.sample(found, min(len(found), 500 if ALL else USES)), wallet, life, truth, tmp_path
    )


@pytest.mark.parametrize("name", ["event", "place", "establishment"])
def test_nothing_wrong_is_signed_with_rows_whose_checksum_fits(
    name: str,
    wallet: LocalWallet,
    life: tuple[Path, list[Rows]],
    truth: tuple[bytes, dict[str, Aid]],
    tmp_path: Path,
) -> None:
    """Anybody can compute it, so use does not rely on it where logs are concerned."""
    drawn = random.Random(name)  # noqa: S311 - repeatable on purpose
    found = list(forgeries(Table(wallet.sqlite.database.connection, name)))
    tried = drawn.sample(found, min(len(found), 2000 if ALL else 2 * USES))
    _use_all(tried, wallet, life, truth, tmp_path)


def _use_all(
    tried: Iterable[Case],
    wallet: LocalWallet,
    life: tuple[Path, list[Rows]],
    truth: tuple[bytes, dict[str, Aid]],
    folder: Path,
) -> None:
    for told, change in tried:
        with tampered(wallet, change) as done:
            if not done:
                continue
            try:
                uses(wallet, folder, life[0], truth)
            except Exception as error:
                error.add_note(told)
                raise
