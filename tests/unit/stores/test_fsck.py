"""Damage of every kind is reported, at use or by the check, and derived tables are made anew."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keystead.cesr.indexed import IndexedSignature
from keystead.errors import ErrorCode, StoreError
from keystead.keri.attachments import Proofs
from keystead.stores import fsck, replaying, rows, schema
from keystead.stores.database import Database
from keystead.stores.fsck import Finding
from keystead.stores.sqlite import SqliteStore
from keystead.testing.authoring import Author, witness
from support.histories import contents, feed, messages

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DERIVED = list(replaying.DERIVED)
EVIDENCE = ["event", "receipt", "duplicity", "statement", "held"]


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Return a database with something in each table."""
    path = tmp_path / "home" / "store.db"
    with closing(Database.create(path)) as database:
        feed(SqliteStore(database), messages(), now=NOW)
        for table in (*DERIVED, *EVIDENCE):
            assert database.rows(f"SELECT * FROM {table} LIMIT 1"), table  # noqa: S608 - a name from above
        assert fsck.check(database) == []
    return path


def tamper(path: Path, *statements: str) -> None:
    """Change a database past its guards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("flip", 2, _flip)
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'event'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        for _, sql in triggers:
            connection.execute(sql)


def _flip(value: bytes | str | int | None, at: int) -> bytes | str | int:
    """Change one bit, character or number."""
    if value in (b"", ""):
        return b"x" if value == b"" else "x"
    if isinstance(value, bytes):
        at %= len(value)
        return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
    if isinstance(value, str):
        at %= len(value)
        return value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]
    return 1 if value is None else value + 1000


def found(path: Path) -> list[Finding]:
    """Return what the check finds."""
    with closing(Database.open(path)) as database:
        return fsck.check(database)


def _columns() -> Iterator[tuple[str, str]]:
    """Give the columns of all tables that are there to be believed."""
    # An order among equals: it makes room, and says nothing.
    free = {("held", "placed"), ("held_share", "large")}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.apply(connection, schema.shipped())
        for table in (*EVIDENCE, *DERIVED):
            for row in connection.execute(f"PRAGMA table_info({table})"):
                if (table, row[1]) not in free:
                    yield table, row[1]


@pytest.mark.parametrize(("table", "column"), list(_columns()))
@pytest.mark.parametrize("at", [0, 5, -1])
def test_every_changed_value_is_found(path: Path, table: str, column: str, at: int) -> None:
    """A flip in any column of a row, of evidence or derived, is reported."""
    where = f"rowid = (SELECT max(rowid) FROM {table})"  # noqa: S608 - a name from above
    with closing(sqlite3.connect(path)) as connection:
        try:
            connection.execute(f"SELECT rowid FROM {table}")  # noqa: S608 - as above
        except sqlite3.OperationalError:  # a table without such numbers
            keys = [row for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
            (first,) = connection.execute(f"SELECT * FROM {table} LIMIT 1")  # noqa: S608 - as above
            where = " AND ".join(f"{row[1]} = {first[row[0]]!r}" for row in keys)
    change = f"UPDATE {table} SET {column} = flip({column}, {at}) WHERE {where}"  # noqa: S608 - as above
    tamper(path, "PRAGMA ignore_check_constraints = ON", change)
    assert found(path)


@pytest.mark.parametrize("table", [*EVIDENCE, *DERIVED])
@pytest.mark.parametrize("which", ["min", "max"])
def test_every_missing_row_is_found(path: Path, table: str, which: str) -> None:
    """The first and the last row of any table are missed."""
    order = "ASC" if which == "min" else "DESC"
    with closing(sqlite3.connect(path)) as connection:
        info = connection.execute(f"PRAGMA table_info({table})").fetchall()
        keys = [row for row in info if row[5]]
        names = ", ".join(f"{row[1]} {order}" for row in keys)
        row = connection.execute(f"SELECT * FROM {table} ORDER BY {names} LIMIT 1").fetchone()  # noqa: S608 - a name from above
    where = " AND ".join(f"{key[1]} = {row[key[0]]!r}" for key in keys)
    tamper(path, f"DELETE FROM {table} WHERE {where}")  # noqa: S608 - as above
    assert found(path)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("event", "raw, proofs"),
        ("event", "raw, proofs, checksum"),
        ("held", "raw, claims, proofs"),
        ("statement", "raw, proofs, signer_sn"),
    ],
)
def test_swapped_rows_are_found(path: Path, table: str, columns: str) -> None:
    """Content that belongs to another row is reported."""
    tamper(
        path,
        f"CREATE TEMP TABLE kept AS SELECT rowid AS place, * FROM {table}",  # noqa: S608 - a name from above
        f"UPDATE {table} SET ({columns}) = (SELECT {columns} FROM kept WHERE kept.place ="  # noqa: S608 - as above
        f" (SELECT max(place) + min(place) FROM kept) - {table}.rowid)"
        " WHERE rowid IN (SELECT max(place) FROM kept UNION SELECT min(place) FROM kept)",
    )
    assert found(path)


def _resealed(
    path: Path,
    table: str,
    columns: str,
    change: Callable[[list[object]], None],
    where: str = "true",
) -> None:
    """Change the last row of a table, and its checksum with it, as somebody who knows how would."""
    with closing(sqlite3.connect(path)) as connection:
        query = f"SELECT rowid, {columns} FROM {table} WHERE {where} ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - given below
        number, *values = connection.execute(query).fetchone()
    change(values)
    names = columns.split(", ")
    sealed = [*values, rows.checksum(*values)]
    literals = [
        f"x'{value.hex()}'"
        if isinstance(value, bytes)
        else "NULL"
        if value is None
        else repr(value)
        for value in sealed
    ]
    pairs = zip([*names, "checksum"], literals, strict=True)
    changes = ", ".join(f"{name} = {value}" for name, value in pairs)
    tamper(path, f"UPDATE {table} SET {changes} WHERE rowid = {number}")  # noqa: S608 - as above


_EVENT = "number, aid, first_seen_number, raw, proofs, first_seen_at, source_sn, source_said"
_STATEMENT = "aid, key, signer_sn, raw, proofs"


def _spoil(place: int) -> Callable[[list[object]], None]:
    """Change a character of a signature: one that is part of no code."""

    def change(values: list[object]) -> None:
        proofs = values[place]
        assert isinstance(proofs, bytes)
        at = len(proofs) - 20
        values[place] = (
            proofs[:at] + (b"A" if proofs[at : at + 1] != b"A" else b"B") + proofs[at + 1 :]
        )

    return change


def _unsign(place: int) -> Callable[[list[object]], None]:
    def change(values: list[object]) -> None:
        values[place] = b""

    return change


@pytest.mark.parametrize(
    ("table", "columns", "change"),
    [
        ("event", _EVENT, _spoil(4)),
        ("event", _EVENT, _unsign(4)),
        ("statement", _STATEMENT, _spoil(4)),
        ("statement", _STATEMENT, _unsign(4)),
        ("duplicity", "aid, number, said, raw, proofs, first_seen_number, accepted_proofs, seen", _spoil(4)),
    ],
)  # fmt: skip
def test_signatures_are_verified(
    path: Path, table: str, columns: str, change: Callable[[list[object]], None]
) -> None:
    """A signature that is no longer good is found even under a fitting checksum."""
    _resealed(path, table, columns, change)
    assert found(path)


def test_thresholds_are_verified(tmp_path: Path) -> None:
    """An event with fewer signatures or receipts than it needs is found under a good checksum."""
    path = tmp_path / "home" / "store.db"
    author = Author("several", keys=2, witnesses=[witness("one"), witness("two")])
    signed = author.incept()
    with closing(Database.create(path)) as database:
        feed(SqliteStore(database), [signed.framed], now=NOW)
        assert fsck.check(database) == []
    whole = path.read_bytes()
    for kept, what in ((signed.signatures[:1], "signatures"), (signed.signatures, "receipts")):
        path.write_bytes(whole)

        def change(values: list[object], kept: tuple[IndexedSignature, ...] = kept) -> None:
            receipts = () if kept == signed.signatures else signed.receipts
            values[4] = rows.to_proofs(Proofs(kept, receipts))

        _resealed(path, "event", _EVENT, change)
        with closing(Database.open(path)) as database:
            (finding,) = fsck.check(database)
            assert what in finding.what
            owned = fsck.check(database, own=[author.aid])
            assert owned == ([] if what == "receipts" else [finding])


def test_approvals_are_verified(path: Path) -> None:
    """A delegated event without its approval, or with that of another, is found."""
    whole = path.read_bytes()
    with closing(Database.open(path)) as database:
        ((sn, said),) = database.rows(
            "SELECT sn, said FROM place WHERE message_type = 'icp' LIMIT 1"
        )
    for source, what in (
        ((None, None), "no approval of the delegator"),
        ((sn, said), "the event that approves it is missing"),
        ((None, "kept"), "the event that approves it is missing"),
    ):
        path.write_bytes(whole)

        def change(values: list[object], source: tuple[object, object] = source) -> None:
            values[6:8] = source if source[1] != "kept" else (1000, values[7])

        _resealed(path, "event", _EVENT, change, "source_said IS NOT NULL")
        assert what in [finding.what for finding in found(path)]


def test_key_states_of_somebody_else_are_found(path: Path) -> None:
    """Keys that were put into a derived table with a good checksum are not those of the log."""
    with closing(Database.open(path)) as database:
        thief = Author("thief")
        thief.incept()
        state = rows.to_state(thief.state.establishment)
        aid, number = database.rows("SELECT aid, first_seen_number FROM establishment LIMIT 1")[0]
        with database.transaction() as connection:
            connection.execute(
                "UPDATE establishment SET state = ?, checksum = ? WHERE aid = ? AND first_seen_number = ?",
                (state, rows.checksum(aid, number, state), aid, number),
            )
        what = "table establishment does not follow from its events"
        assert Finding(f"the log of {aid}", what) in fsck.check(database)
        replaying.rebuild(database)
        assert fsck.check(database) == []


def test_a_changed_state_is_not_used(path: Path) -> None:
    """Reading a damaged key state or event is an error, never a wrong answer."""
    tamper(path, "UPDATE establishment SET state = flip(state, 60)")
    with closing(Database.open(path)) as database:
        store = SqliteStore(database)
        aid = next(store.identifiers())
        for read in (lambda: store.key_state(aid), lambda: list(store.events(aid))):
            with pytest.raises(StoreError) as caught:
                read()
            assert caught.value.code is ErrorCode.STORE_CORRUPT


@pytest.mark.parametrize(
    "statement",
    ["DROP INDEX place_trunk", "DROP TRIGGER event_stays", "CREATE TABLE more (a)",
     "CREATE TRIGGER evil AFTER INSERT ON held BEGIN DELETE FROM held; END"],
)  # fmt: skip
def test_a_changed_schema_is_found(path: Path, statement: str) -> None:
    """Lost guards and strange additions are reported by name."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    (finding,) = found(path)
    assert finding.what == "not as this version makes it"


def test_a_damaged_page_is_found(path: Path) -> None:
    """Content that was overwritten is reported, on whatever page, or the file does not open."""
    whole = path.read_bytes()
    for end in range(4096, len(whole) + 1, 4096):
        start = end - 200
        if not any(whole[start:end]):
            continue  # nothing is kept there
        path.write_bytes(whole[:start] + b"\xff" * 200 + whole[end:])
        try:
            findings = found(path)
        except StoreError as error:
            findings = [Finding("the file", error.code.value)]
            assert error.code is ErrorCode.STORE_CORRUPT  # noqa: PT017 - it may be found as well
        assert findings, end


def test_derived_tables_are_made_anew(path: Path) -> None:
    """Without any derived row the same contents come back from the evidence."""
    with closing(Database.open(path)) as database:
        before = contents(SqliteStore(database))
    tamper(path, *[f"DELETE FROM {table}" for table in DERIVED])  # noqa: S608 - a name from above
    assert found(path)
    with closing(Database.open(path)) as database:
        replaying.rebuild(database)
        assert fsck.check(database) == []
        assert contents(SqliteStore(database)) == before


def test_nothing_is_made_of_damaged_evidence(path: Path) -> None:
    """Then the derived tables stay as they are, and the error says what is damaged."""
    tamper(path, "UPDATE event SET raw = flip(raw, 200) WHERE number = 3")
    with closing(Database.open(path)) as database:
        before = database.rows("SELECT * FROM place")
        with pytest.raises(StoreError) as caught:
            replaying.rebuild(database)
        assert caught.value.code is ErrorCode.STORE_CORRUPT
        assert "event" in str(caught.value.fields["where"])
        assert database.rows("SELECT * FROM place") == before


def test_evidence_cannot_be_changed_in_passing(path: Path) -> None:
    """Accepted events are neither updated nor deleted by any statement of this program."""
    with closing(Database.open(path)) as database:
        for statement in ("DELETE FROM event", "UPDATE event SET first_seen_at = ''"):

            def change(statement: str = statement) -> None:
                with database.transaction() as connection:
                    connection.execute(statement)

            with pytest.raises(StoreError, match="event"):
                change()
        assert fsck.check(database) == []
