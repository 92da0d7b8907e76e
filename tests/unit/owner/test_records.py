"""Sealed records under their audit log: no change goes unseen."""

from pathlib import Path

import msgspec
import pytest

from keystead.errors import ErrorCode, KeysteadError
from keystead.owner.records import Note, Records, chain, digest_of
from keystead.ports.keys import SECRET, Sealed
from support.wallets import LocalWallet, make_wallet, put_back, reopen, snapshot

KIND = "thing"


class Thing(msgspec.Struct, frozen=True, gc=False):
    """A record to test with."""

    value: int


def put(wallet: LocalWallet, record_id: str, value: int, *, tag: str = "") -> None:
    """Write one record."""
    with wallet.store.transaction():
        batch = wallet.batch()
        batch.put(KIND, record_id, Thing(value), Note("test", f"value {value}"), tag=tag)
        batch.write()


def delete(wallet: LocalWallet, record_id: str) -> None:
    """Delete one record."""
    with wallet.store.transaction():
        batch = wallet.batch()
        batch.delete(KIND, record_id, Note("test"))
        batch.write()


def tampered(wallet: LocalWallet, record_id: str = "one") -> bool:
    """Tell whether a record is refused."""
    with pytest.raises(KeysteadError) as caught:
        reopen(wallet).records.get(KIND, record_id, Thing)
    return caught.value.code is ErrorCode.TAMPERED


def change(wallet: LocalWallet, query: str, *values: object) -> None:
    """Change the database behind the wallet's back."""
    with wallet.sqlite.database.transaction() as connection:
        assert connection.execute(query, values).rowcount > 0


def test_a_record_comes_back(tmp_path: Path) -> None:
    """By its name, by its tag, and among all of its kind; what is not there is None."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1, tag="first")
    put(wallet, "two", 2)
    put(wallet, "one", 3, tag="later")
    records = reopen(wallet).records
    assert records.get(KIND, "one", Thing) == Thing(3)
    assert records.find(KIND, "later", Thing) == Thing(3)
    assert records.find(KIND, "first", Thing) is None
    assert records.get(KIND, "none", Thing) is None
    assert sorted(one.value for one in records.all(KIND, Thing)) == [2, 3]
    delete(wallet, "one")
    assert wallet.records.get(KIND, "one", Thing) is None
    assert wallet.records.find(KIND, "later", Thing) is None
    assert wallet.records.all(KIND, Thing) == [Thing(2)]


def test_a_batch_that_is_undone_leaves_nothing(tmp_path: Path) -> None:
    """Records and audit log change together or not at all."""
    wallet = make_wallet(tmp_path)
    before = wallet.store.audit_head()

    def fail() -> None:
        with wallet.store.transaction():
            batch = wallet.batch()
            batch.put(KIND, "one", Thing(1), Note("test"))
            batch.write()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert wallet.store.audit_head() == before
    assert wallet.records.get(KIND, "one", Thing) is None


def test_every_write_is_in_the_audit_log(tmp_path: Path) -> None:
    """When, who, what, why; numbered, and each entry hashed over the one before."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    put(wallet, "one", 2)
    delete(wallet, "one")
    entries = wallet.records.history(KIND, "one")
    assert [one.note.reason for one in entries] == ["value 1", "value 2", ""]
    assert {(one.actor, one.at) for one in entries} == {("tester", wallet.time())}
    assert entries[-1].digest == ""
    head = b""
    for number, row in enumerate(wallet.store.audit(), 1):
        assert row.number == number
        head = chain(head, number, row.kind, row.id, row.digest, row.data)
        assert row.hash == head
    assert wallet.store.audit_head() == (number, head)
    assert len(wallet.records.history()) == number


@pytest.mark.parametrize("place", range(0, 90, 7))
def test_a_flipped_bit_is_found(tmp_path: Path, place: int) -> None:
    """Whatever byte of a sealed record is changed."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    row = wallet.store.get(KIND, "one")
    assert row is not None
    data = bytearray(row.data)
    data[place % len(data)] ^= 1
    change(wallet, "UPDATE record SET data = ? WHERE kind = ?", bytes(data), KIND)
    assert tampered(wallet)
    with pytest.raises(KeysteadError):
        wallet.records.all(KIND, Thing)


def test_swapped_records_are_found(tmp_path: Path) -> None:
    """A record is bound to its name."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    put(wallet, "two", 2)
    rows = {name: wallet.store.get(KIND, name) for name in ("one", "two")}
    one, two = rows["one"], rows["two"]
    assert one is not None
    assert two is not None
    query = "UPDATE record SET data = ?, generation = ? WHERE kind = ? AND id = ?"
    change(wallet, query, two.data, two.generation, KIND, "one")
    change(wallet, query, one.data, one.generation, KIND, "two")
    assert tampered(wallet, "one")
    assert tampered(wallet, "two")
    for name, row in (("one", two), ("two", one)):
        with pytest.raises(KeysteadError):
            wallet.vault.open([Sealed(KIND, name, row.generation, row.data)])


def test_a_record_that_was_rolled_back_is_found(tmp_path: Path) -> None:
    """An older version, though genuine, is not the latest that the audit log knows."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    old = wallet.store.get(KIND, "one")
    assert old is not None
    put(wallet, "one", 2)
    query = "UPDATE record SET data = ?, generation = ? WHERE kind = ?"
    change(wallet, query, old.data, old.generation, KIND)
    assert tampered(wallet)
    with pytest.raises(KeysteadError):
        wallet.records.all(KIND, Thing)


def test_a_deleted_record_is_missed(tmp_path: Path) -> None:
    """Its latest audit entry tells that there is one."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    change(wallet, "DELETE FROM record WHERE kind = ?", KIND)
    assert tampered(wallet)


def test_a_deleted_record_that_was_put_back_is_found(tmp_path: Path) -> None:
    """What the owner deleted does not come back."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    old = wallet.store.get(KIND, "one")
    assert old is not None
    delete(wallet, "one")
    with wallet.sqlite.database.transaction():
        wallet.store.put(old)
    assert tampered(wallet)
    with pytest.raises(KeysteadError):
        wallet.records.all(KIND, Thing)


def test_a_record_of_another_wallet_is_refused(tmp_path: Path) -> None:
    """Another data key opens nothing."""
    wallet = make_wallet(tmp_path / "one")
    other = make_wallet(tmp_path / "two", data_key=b"o" * 32)
    put(wallet, "one", 1)
    put(other, "one", 1)
    row = wallet.store.get(KIND, "one")
    assert row is not None
    change(other, "UPDATE record SET data = ? WHERE kind = ?", row.data, KIND)
    assert tampered(other)


def test_an_audit_entry_that_was_changed_is_found(tmp_path: Path) -> None:
    """An entry tells sealed what its row tells openly; both must agree."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    put(wallet, "two", 2)
    row = wallet.store.get(KIND, "two")
    assert row is not None
    query = "UPDATE audit SET digest = ? WHERE kind = ? AND id = 'one'"
    change(wallet, query, digest_of(row.data), KIND)
    (entry,) = wallet.store.audit(KIND, "one")
    with pytest.raises(KeysteadError) as caught:
        wallet.records.entry(entry)
    assert caught.value.code is ErrorCode.TAMPERED


def test_secrets_are_sealed_by_the_vault_alone(tmp_path: Path) -> None:
    """They are never given out, and nobody writes one as an ordinary record."""
    wallet = make_wallet(tmp_path)
    batch = wallet.batch()
    with pytest.raises(ValueError, match="sealed by the vault"):
        batch.put(SECRET, "master.9", Thing(1), Note("test"))
    sealed = wallet.records.sealed(SECRET, "master.0")
    assert sealed is not None
    with pytest.raises(KeysteadError) as caught:
        wallet.vault.open([sealed])
    assert caught.value.code is ErrorCode.ROLE


def test_nothing_of_a_record_can_be_read_in_the_file(tmp_path: Path) -> None:
    """Content, tags and reasons are sealed; kinds and names of records are not secret."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 123454321, tag="telltale")
    wallet.sqlite.close()
    found = b"".join(path.read_bytes() for path in wallet.home.iterdir())
    assert b"thing" in found
    assert b"123454321" not in found
    assert b"telltale" not in found
    assert b"tester" not in found


def test_records_of_a_kind_are_opened_together(tmp_path: Path) -> None:
    """However many there are, the vault is asked once."""
    wallet = make_wallet(tmp_path)
    for number in range(20):
        put(wallet, str(number), number)
    asked: list[int] = []

    class Counting:
        def open(self, records: list[object]) -> list[bytes]:
            """Count, and open."""
            asked.append(len(records))
            return wallet.vault.open(records)  # type: ignore[arg-type] # as they came

    Records(wallet.store, Counting()).all(KIND, Thing)  # type: ignore[arg-type] # only `open` is used
    assert asked == [20]
    Records(wallet.store, Counting()).all(KIND, Thing, checked=True)  # type: ignore[arg-type] # as above
    assert asked == [20, 40]


def test_lists_show_no_older_version(tmp_path: Path) -> None:
    """A record that was put back, with the digest that stands openly beside its latest entry."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    old = wallet.store.get(KIND, "one")
    assert old is not None
    put(wallet, "one", 2)
    query = "UPDATE record SET data = ?, generation = ? WHERE kind = ?"
    change(wallet, query, old.data, old.generation, KIND)
    query = "UPDATE audit SET digest = ? WHERE kind = ?"
    change(wallet, query, digest_of(old.data), KIND)
    with pytest.raises(KeysteadError) as caught:
        wallet.records.all(KIND, Thing)
    assert caught.value.code is ErrorCode.TAMPERED


def test_decisions_open_the_entries_too(tmp_path: Path) -> None:
    """What stands openly beside them can be changed by anybody, to match an older record."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    old, (entry,) = wallet.store.get(KIND, "one"), wallet.store.audit(KIND, "one")
    assert old is not None
    put(wallet, "one", 2)
    change(wallet, "UPDATE audit SET id = 'two', digest = x'' WHERE number > ?", entry.number)
    query = "UPDATE record SET data = ?, generation = ? WHERE kind = ?"
    change(wallet, query, old.data, old.generation, KIND)
    assert wallet.records.all(KIND, Thing) == [Thing(1)]
    with pytest.raises(KeysteadError) as caught:
        wallet.records.all(KIND, Thing, checked=True)
    assert caught.value.code is ErrorCode.TAMPERED


@pytest.mark.parametrize("checked", [False, True])
def test_lists_miss_what_was_deleted(tmp_path: Path, *, checked: bool) -> None:
    """A list that lacks a record is not shown, and nothing is decided by it."""
    wallet = make_wallet(tmp_path)
    for name in ("one", "two", "three"):
        put(wallet, name, 1)
    delete(wallet, "three")
    assert len(wallet.records.all(KIND, Thing, checked=checked)) == 2
    change(wallet, "DELETE FROM record WHERE id = 'two'")
    with pytest.raises(KeysteadError) as caught:
        wallet.records.all(KIND, Thing, checked=checked)
    assert caught.value.code is ErrorCode.TAMPERED


def test_a_deletion_that_was_made_up_is_found(tmp_path: Path) -> None:
    """An entry whose columns say so, while its sealed content tells of a record."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    change(wallet, "DELETE FROM record WHERE id = 'one'")
    change(wallet, "UPDATE audit SET digest = x'' WHERE id = 'one'")
    assert wallet.records.all(KIND, Thing) == []
    with pytest.raises(KeysteadError) as caught:
        wallet.records.all(KIND, Thing, checked=True)
    assert caught.value.code is ErrorCode.TAMPERED


def unchained(wallet: LocalWallet) -> bool:
    """Tell whether the audit log does not hold together."""
    try:
        wallet.records.check_chain()
    except KeysteadError as error:
        return error.code is ErrorCode.TAMPERED
    return False


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM audit WHERE number = 1",
        "DELETE FROM audit WHERE number = 4",
        "UPDATE audit SET digest = x'00' WHERE number = 3",
        "UPDATE audit SET id = 'other' WHERE number = 3",
        "UPDATE audit SET kind = 'other' WHERE number = 3",
        "UPDATE audit SET data = x'00' WHERE number = 3",
        "UPDATE audit SET hash = x'00' WHERE number = 3",
        "UPDATE audit SET number = 1000 WHERE number = 3",
        "INSERT INTO audit VALUES (1000, 'x', 'x', 1, x'', x'', x'')",
    ],
)
def test_the_audit_log_holds_together(tmp_path: Path, query: str) -> None:
    """From its first entry to its last, whichever is changed, removed or added."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    assert not unchained(wallet)
    change(wallet, query)
    assert unchained(wallet)


def test_a_wallet_is_current_only_with_all_entries(tmp_path: Path) -> None:
    """An older file stays one with the latest entry that the machine knows put into it."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    copied = snapshot(wallet, tmp_path / "copy")
    put(wallet, "one", 2)
    put(wallet, "one", 3)
    wallet.remember()
    assert wallet.is_current()
    *_, last = wallet.store.audit()
    wallet = put_back(wallet, copied)
    assert not wallet.is_current()
    with wallet.store.transaction():
        wallet.store.add_audit(last)
    assert not wallet.is_current()
    assert unchained(wallet)


@pytest.mark.parametrize("column", ["kind", "id", "digest", "data", "hash"])
def test_entries_that_the_machine_does_not_know_yet_follow(tmp_path: Path, column: str) -> None:
    """Those behind the entry that it knows, and that entry itself."""
    wallet = make_wallet(tmp_path)
    put(wallet, "one", 1)
    wallet.remember()
    known, _ = wallet.store.audit_head()
    put(wallet, "one", 2)
    assert reopen(wallet).is_current()
    for number in (known, known + 1):
        entry = f"SELECT {column} FROM audit WHERE number = ?"  # noqa: S608 - of the parameters
        (before,) = wallet.sqlite.database.rows(entry, number)[0]
        update = f"UPDATE audit SET {column} = ? WHERE number = ?"  # noqa: S608 - as above
        change(wallet, update, before[:-1], number)
        assert not reopen(wallet).is_current()
        change(wallet, update, before, number)


def test_an_undone_transaction_leaves_the_wallet_current(tmp_path: Path) -> None:
    """What was looked at inside it is looked at again."""
    wallet = make_wallet(tmp_path)
    wallet.remember()

    def fail() -> None:
        with wallet.store.transaction():
            put(wallet, "one", 1)
            assert wallet.is_current()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert wallet.is_current()
    put(wallet, "two", 1)
    put(wallet, "two", 2)
    assert wallet.is_current()
