"""One private SQLite file: made, opened, shared, migrated, and what goes wrong with it."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from keystead.errors import ErrorCode, StoreError, UsageError
from keystead.stores import database as databases
from keystead.stores import schema
from keystead.stores.database import Database
from keystead.stores.schema import Migration

NOBODY = 65534


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Return a place for a database."""
    return tmp_path / "home" / "wallet.db"


@pytest.fixture(name="database")
def _database(path: Path) -> Iterator[Database]:
    """Return a new database with a table for tests."""
    database = Database.create(path)
    with database.transaction() as connection:
        connection.execute("CREATE TABLE note (text TEXT UNIQUE NOT NULL)")
    yield database
    database.close()


def note(database: Database, text: str) -> None:
    """Write a row."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES (?)", (text,))


def notes(database: Database) -> list[str]:
    """Return what was written."""
    return [text for (text,) in database.rows("SELECT text FROM note ORDER BY rowid")]


def refused(action: Callable[[], object], code: ErrorCode) -> StoreError:
    """Expect an error of the store."""
    with pytest.raises(StoreError) as caught:
        action()
    assert caught.value.code is code
    return caught.value


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of the files of a folder."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def test_a_database_is_made_for_its_user_alone(path: Path) -> None:
    """Folder 0700, the three files 0600, whatever the umask says."""
    for umask in (0o000, 0o777):
        home = path.with_name(f"wallet {umask}") / "wallet.db"
        home.parent.parent.mkdir(exist_ok=True)
        before = os.umask(umask)
        try:
            database = Database.create(home)
        finally:
            os.umask(before)
        assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
        assert modes(home.parent) == dict.fromkeys(
            ("wallet.db", "wallet.db-wal", "wallet.db-shm"), 0o600
        )
        database.close()


def test_a_database_is_set_up_to_lose_nothing(database: Database) -> None:
    """Write-ahead log, full synchronization, foreign keys, and deletion that overwrites."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert {name: database.rows(f"PRAGMA {name}")[0][0] for name in wanted} == wanted


def test_what_was_committed_is_there_again(database: Database, path: Path) -> None:
    """A closed database opens with everything in it."""
    note(database, "one")
    database.close()
    with closing(Database.open(path)) as again:
        assert notes(again) == ["one"]


def test_a_database_is_made_once(database: Database, path: Path) -> None:
    """Making one where there is one is refused, and leaves it as it is."""
    note(database, "one")
    with pytest.raises(UsageError) as caught:
        Database.create(path)
    assert caught.value.code is ErrorCode.EXISTS
    assert notes(database) == ["one"]


def test_a_missing_database_is_named(path: Path) -> None:
    """Opening makes nothing."""
    path.parent.mkdir(mode=0o700)
    assert str(path) in refused(lambda: Database.open(path), ErrorCode.STORE_MISSING).message
    assert list(path.parent.iterdir()) == []


def test_an_interrupted_start_is_finished(path: Path) -> None:
    """A file without tables is no database yet, and can be made one."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    refused(lambda: Database.open(path), ErrorCode.STORE_MISSING)
    Database.create(path).close()
    Database.open(path).close()


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_database_is_corrupt(path: Path, content: bytes) -> None:
    """A file with something else in it is neither opened nor overwritten."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(content)
    refused(lambda: Database.open(path), ErrorCode.STORE_CORRUPT)
    refused(lambda: Database.create(path), ErrorCode.STORE_CORRUPT)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    """Tables alone make no database of this program."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE migration (number)")
    refused(lambda: Database.open(path), ErrorCode.STORE_CORRUPT)


@pytest.mark.parametrize("name", ["wallet.db", "wallet.db-wal", "wallet.db-shm"])
def test_files_that_others_can_read_are_refused(database: Database, path: Path, name: str) -> None:
    """The error names the file and the command that helps."""
    file = path.with_name(name)
    file.chmod(0o640)
    error = refused(lambda: Database.open(path), ErrorCode.STORE_PERMISSIONS)
    assert f"chmod 600 {file}" in error.message
    file.chmod(0o600)
    Database.open(path).close()
    assert notes(database) == []


def test_a_folder_that_others_can_enter_is_refused(database: Database, path: Path) -> None:
    """The error names the folder and the command that helps."""
    path.parent.chmod(0o755)
    error = refused(lambda: Database.open(path), ErrorCode.STORE_PERMISSIONS)
    assert f"chmod 700 {path.parent}" in error.message
    assert notes(database) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["", "wallet.db"])
def test_what_belongs_to_others_is_refused(database: Database, path: Path, name: str) -> None:
    """A folder or file of another user is not used."""
    assert notes(database) == []
    os.chown(path.parent / name, NOBODY, NOBODY)
    error = refused(lambda: Database.open(path), ErrorCode.STORE_PERMISSIONS)
    assert "another user" in error.message


def test_links_are_refused(database: Database, path: Path, tmp_path: Path) -> None:
    """Neither file nor folder may be a symbolic link, and none is followed to make a file."""
    assert notes(database) == []
    linked = tmp_path / "linked"
    linked.symlink_to(path.parent)
    refused(lambda: Database.open(linked / path.name), ErrorCode.STORE_PERMISSIONS)
    other = tmp_path / "other" / "wallet.db"
    other.parent.mkdir(mode=0o700)
    other.symlink_to(path)
    refused(lambda: Database.open(other), ErrorCode.STORE_PERMISSIONS)
    other.unlink()
    other.symlink_to(tmp_path / "nowhere")
    refused(lambda: Database.create(other), ErrorCode.STORE_PERMISSIONS)
    assert not (tmp_path / "nowhere").exists()


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    """What an error leaves is as it was before."""

    def fail() -> None:
        with database.transaction():
            note(database, "one")
            note(database, "two")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert notes(database) == []
    note(database, "three")
    assert notes(database) == ["three"]


def test_a_nested_transaction_is_part_of_the_outer_one(database: Database) -> None:
    """Nothing of it is kept when the outer one fails, and only its own part when it fails."""

    def fail() -> None:
        with database.transaction():
            note(database, "inner")
            raise LookupError

    with database.transaction():
        note(database, "outer")
        with pytest.raises(LookupError):
            fail()
        note(database, "later")
    assert notes(database) == ["outer", "later"]


def test_a_snapshot_sees_one_moment(database: Database, path: Path) -> None:
    """What others write meanwhile is seen afterwards."""
    with closing(Database.open(path)) as other:
        with database.snapshot():
            before = notes(database)
            note(other, "one")
            assert notes(database) == before == []
        assert notes(database) == ["one"]


def test_a_transaction_cannot_build_on_a_snapshot(database: Database) -> None:
    """What was read may be old, so writing then is an error in the program."""
    with database.snapshot(), pytest.raises(RuntimeError), database.transaction():
        pass
    note(database, "one")
    with database.transaction(), database.snapshot():
        assert notes(database) == ["one"]


def test_a_violated_constraint_is_corruption(database: Database) -> None:
    """The schema says what holds; nothing of the transaction is kept."""
    note(database, "one")

    def twice() -> None:
        with database.transaction():
            note(database, "two")
            note(database, "one")

    assert "note.text" in refused(twice, ErrorCode.STORE_CORRUPT).message
    assert notes(database) == ["one"]


_HOLD = """
import sys
from pathlib import Path
from keystead.stores.database import Database
database = Database.open(Path(sys.argv[1]))
with database.transaction():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_waits_and_then_says_so(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes, reading goes on, and writing ends with store.busy."""
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.3)
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        with closing(Database.open(path)) as other:
            assert notes(other) == []
            start = time.monotonic()
            refused(lambda: note(other, "one"), ErrorCode.STORE_BUSY)
            assert 0.2 < time.monotonic() - start < 5
            process.stdin.close()
            process.wait()
            note(other, "two")
    assert notes(database) == ["two"]


def test_a_full_disk_loses_nothing(database: Database) -> None:
    """No room for another page: store.full, and the database is as before and goes on."""
    note(database, "one")
    ((pages,),) = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with database.transaction():
            note(database, "two")
            note(database, "x" * 100_000)

    refused(fill, ErrorCode.STORE_FULL)
    assert notes(database) == ["one"]
    database.rows(f"PRAGMA max_page_count = {pages + 1000}")
    fill()
    assert len(notes(database)) == 3


def test_a_transaction_that_was_lost_inside_another_is_not_kept(database: Database) -> None:
    """A full disk ends all of it, even when the outer one does not mind the error and goes on."""
    note(database, "one")
    ((pages,),) = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages}")

    def ignore() -> None:
        with database.transaction():
            note(database, "two")
            with pytest.raises(StoreError):
                note(database, "x" * 100_000)
            note(database, "three")

    refused(ignore, ErrorCode.STORE_FULL)
    assert notes(database) == ["one"]
    note(database, "four")
    assert notes(database) == ["one", "four"]


@contextmanager
def _as_nobody(*paths: Path) -> Iterator[None]:
    """Give files away and be their owner; root could write to them whatever their mode."""
    if os.geteuid() != 0:
        yield
        return
    for path in paths:
        os.chown(path, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder_is_named(*, there: bool) -> None:
    """Nothing can be made or opened in it, and the error says why."""
    schema.shipped()  # nobody may not be allowed to read where this program is
    with TemporaryDirectory() as outer:
        folder = Path(outer)
        path = folder / "wallet.db"
        if there:
            Database.create(path).close()
        folder.chmod(0o500)
        with _as_nobody(folder, *folder.iterdir()):
            made = refused(lambda: Database.create(path), ErrorCode.STORE_IO)
            code = ErrorCode.STORE_IO if there else ErrorCode.STORE_MISSING
            opened = refused(lambda: Database.open(path), code)
        folder.chmod(0o700)
    assert str(folder) in made.message
    if there:
        assert opened.message == f"the folder {folder} is read-only"


def test_a_read_only_file_is_named(path: Path) -> None:
    """A file that cannot be written to is told apart from its folder."""
    schema.shipped()
    with TemporaryDirectory() as outer:
        file = Path(outer) / path.name
        Database.create(file).close()
        file.chmod(0o400)
        with _as_nobody(file.parent, file), closing(Database.open(file)) as database:
            clear = "DELETE FROM held"
            error = refused(lambda: database.rows(clear), ErrorCode.STORE_IO)
    assert error.message == f"{file} is read-only"


def test_a_write_that_fails_keeps_nothing(database: Database) -> None:
    """An I/O error ends the transaction, and the database goes on when it is gone."""
    note(database, "one")
    size = database.path.with_name("wallet.db-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, before[1]))
    try:
        refused(lambda: note(database, "x" * 100_000), ErrorCode.STORE_IO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert notes(database) == ["one"]
    note(database, "two")
    with closing(Database.open(database.path)) as again:
        assert notes(again) == ["one", "two"]


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of 1 MiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot mount file systems")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - wherever it is


def test_a_disk_that_is_really_full_is_told(tmp_path: Path) -> None:
    """Making, opening and writing say so, and what was there stays."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    with _small_disk(folder):
        path, filler = folder / "wallet.db", folder / "filler"
        with closing(Database.create(path)) as database:
            with database.transaction() as connection:
                connection.execute("CREATE TABLE note (text TEXT UNIQUE NOT NULL)")
            note(database, "one")
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(512))
        refused(lambda: Database.create(folder / "more" / "wallet.db"), ErrorCode.STORE_FULL)
        refused(lambda: Database.open(path), ErrorCode.STORE_FULL)
        filler.unlink()
        with closing(Database.open(path)) as database:
            assert notes(database) == ["one"]


def test_nothing_of_what_was_deleted_stays(database: Database, path: Path) -> None:
    """After `scrub` no file has the text, not even the copies that migrations left."""
    text = "a text that nobody else would write"
    note(database, text)
    copy = path.with_name(f"{path.name}.before-0001")
    copy.write_text(text)
    with database.transaction() as connection:
        connection.execute("DELETE FROM note")
    assert any(text.encode() in file.read_bytes() for file in path.parent.iterdir())
    database.scrub()
    assert not any(text.encode() in file.read_bytes() for file in path.parent.iterdir())
    assert not copy.exists()


def test_scrubbing_waits_for_readers(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as somebody reads old content it stays, and `scrub` says so."""
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.1)
    note(database, "one")
    with closing(Database.open(path)) as other, database.snapshot():
        assert notes(database) == ["one"]
        note(other, "two")
        refused(other.scrub, ErrorCode.STORE_BUSY)
    with database.transaction(), pytest.raises(RuntimeError):
        database.scrub()
    database.scrub()


FIRST = Migration(
    1, "first", "CREATE TABLE one (a TEXT); -- with; odd; marks\nCREATE TABLE two (b);"
)
SECOND = Migration(
    2,
    "second",
    """
-- A trigger holds statements of its own.
CREATE TRIGGER kept BEFORE DELETE ON one
BEGIN
    SELECT raise(ABORT, 'kept; always');
END;
ALTER TABLE two ADD COLUMN c TEXT DEFAULT ';';
""",
)


def _with_steps(path: Path, *steps: Migration) -> Path:
    """Make a database that has these steps only."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        schema.apply(connection, steps)
        connection.execute("INSERT INTO one VALUES ('kept')")
        connection.execute("COMMIT")
    return path


def _tables(database: Database) -> set[str]:
    return {name for (name,) in database.rows("SELECT name FROM sqlite_schema")}


def test_an_older_schema_is_brought_up_to_date(path: Path) -> None:
    """The steps that lack are applied, and a private copy of the old database stays."""
    _with_steps(path, FIRST)
    database = Database.open(path, steps=(FIRST, SECOND))
    assert "kept" in _tables(database)
    assert database.rows("SELECT number, name FROM migration") == [(1, "first"), (2, "second")]
    assert database.rows("SELECT a FROM one") == [("kept",)]
    database.close()
    copy = path.with_name("wallet.db.before-0002")
    assert modes(path.parent)[copy.name] == 0o600
    with closing(Database.open(copy, steps=(FIRST,))) as old:
        assert old.rows("SELECT a FROM one") == [("kept",)]
        assert "kept" not in _tables(old)


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    """All steps are one transaction: the old schema stays, with its content."""
    _with_steps(path, FIRST)
    broken = Migration(3, "broken", "CREATE TABLE three (x); CREATE TABLE one (a);")
    refused(lambda: Database.open(path, steps=(FIRST, SECOND, broken)), ErrorCode.STORE_CORRUPT)
    with closing(Database.open(path, steps=(FIRST,))) as database:
        assert not {"three", "kept"} & _tables(database)
        assert database.rows("SELECT a FROM one") == [("kept",)]
    Database.open(path, steps=(FIRST, SECOND)).close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    """A version does not touch what it does not know."""
    _with_steps(path, FIRST, SECOND)
    refused(lambda: Database.open(path, steps=(FIRST,)), ErrorCode.STORE_SCHEMA)
    Database.open(path, steps=(FIRST, SECOND)).close()


def test_a_changed_step_is_refused(path: Path) -> None:
    """What was applied is known by its checksum."""
    _with_steps(path, FIRST)
    changed = Migration(1, "first", FIRST.sql.replace("odd", "even"))
    refused(lambda: Database.open(path, steps=(changed, SECOND)), ErrorCode.STORE_CORRUPT)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM migration").fetchone() == (1,)


def test_the_steps_are_numbered_without_gaps() -> None:
    """The files count from 1, and each says of every table whether it is evidence."""
    kinds = ("wallet", "witness", "watcher")
    steps = sorted(
        {one for kind in kinds for one in schema.shipped(kind)}, key=lambda one: one.number
    )
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    for kind in kinds:
        assert [step.name for step in schema.shipped(kind)] == ["events", kind]
    for step in steps:
        blocks = step.sql.split("CREATE TABLE")
        for before in blocks[:-1]:
            comment = before.rstrip().rpartition("\n\n")[2]
            assert comment.startswith(("-- Evidence", "-- Derived")), (step.name, comment)


def test_nothing_is_left_of_a_statement() -> None:
    """Splitting a step gives all of its statements."""
    for step in (*schema.shipped(), FIRST, SECOND):
        assert "".join(step.statements()).strip() == step.sql.strip()
