"""The signer of a witness: its key, and an own memory of every receipt that it has signed.

It trusts nobody about what may be signed. The store of the witness decides by the rules of KERI;
this memory repeats the part of them that keeps two validators from seeing two events at one place.
Both would have to be wrong, or rolled back together, for a second receipt.

Source: KERI specification, "Superseding Recovery" (rules A0, A1, A2, B); "Witness".
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from keystead.cesr.keys import Aid, Said
from keystead.cesr.stream import Message
from keystead.cesr.versions import HEAD_BYTES, read_head
from keystead.errors import ErrorCode, KeysteadError, KeystoreError, StoreError
from keystead.keri import forms
from keystead.keri.events import FIELDS, AnyKeyEvent
from keystead.keri.messages import AnyMessage, Reply, parse_message
from keystead.keystores.service_key import ServiceKey
from keystead.limits import DEFAULT_LIMITS

FILE: Final = "receipts.db"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS signed (
    aid TEXT NOT NULL,
    sn INTEGER NOT NULL,
    said TEXT NOT NULL,
    prior TEXT NOT NULL,     -- digest of the event before it
    rank INTEGER NOT NULL,   -- 0: interaction, 1: delegated rotation, 2: any other
    stands INTEGER NOT NULL, -- 0: an event that was signed later has superseded it
    PRIMARY KEY (aid, said)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS signed_once ON signed (aid, sn) WHERE stands = 1;
CREATE TRIGGER IF NOT EXISTS signed_stays BEFORE DELETE ON signed
BEGIN SELECT raise(ABORT, 'what was signed is never forgotten'); END;
CREATE TABLE IF NOT EXISTS seen (store TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signer (id INTEGER PRIMARY KEY CHECK (id = 1), aid TEXT NOT NULL);
"""
_RANKS: Final = {"ixn": 0, "drt": 1}
_FINAL: Final = 2
_DECODE: Final = forms.decoder(DEFAULT_LIMITS)


class LocalReceiptSigner:
    """A `ReceiptSigner` in this process. Not safe for concurrent threads."""

    def __init__(self, connection: sqlite3.Connection, key: ServiceKey, folder: Path) -> None:
        """Use an open memory; see `open`.

        Raises:
            StoreError: it cannot be used (store.io), or is another witness's (store.corrupt).
        """
        self._key = key
        self._connection = connection
        self._folder = folder
        with _faults(folder):
            connection.executescript(_SCHEMA)
            insert = "INSERT OR IGNORE INTO signer VALUES (1, ?)"
            connection.execute(insert, (key.aid,))
            (known,) = connection.execute("SELECT aid FROM signer").fetchone()
        if known != key.aid:
            what = f"the memory of receipts in {folder} is that of another witness"
            raise StoreError(ErrorCode.STORE_CORRUPT, what)

    @classmethod
    def open(cls, folder: Path, key: ServiceKey) -> "LocalReceiptSigner":
        """Open the memory in a folder, or make it where there is none.

        Raises:
            StoreError: it cannot be used (store.full, store.io), or is another witness's
                (store.corrupt).
        """
        with _faults(folder):
            _make_file(folder)
            connection = sqlite3.connect(folder / FILE, isolation_level=None, timeout=5)
        try:
            with _faults(folder):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA fullfsync = ON")
            return cls(connection, key, folder)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the memory."""
        self._connection.close()

    @property
    def aid(self) -> Aid:
        """The witness."""
        return self._key.aid

    def begin(self, store: str, generation: int) -> bool:
        """Tell whether a store is the current one, and no older copy of it."""
        with self._transaction():
            last = self._generation(store)
            return last is not None and generation >= last

    def accept(self, store: str, generation: int) -> None:
        """Take a store for the current one, in place of any other: it is new, or has caught up."""
        with self._transaction():
            self._connection.execute("DELETE FROM seen")
            self._see(store, generation)

    def is_blank(self) -> bool:
        """Tell whether no store was ever accepted: what was signed before, if anything, is lost."""
        with _faults(self._folder):
            return self._connection.execute("SELECT 1 FROM seen").fetchone() is None

    def signed_last(self) -> dict[Aid, Said]:
        """Return for each log the last event that stands of those that were signed."""
        query = "SELECT aid, said, max(sn) FROM signed WHERE stands = 1 GROUP BY aid"
        with _faults(self._folder):
            rows = self._connection.execute(query).fetchall()
        return {Aid(aid): Said(said) for aid, said, _ in rows}

    def objection(self, event: bytes) -> KeystoreError | None:
        """Return why an event contradicts what was signed; None if it does not."""
        try:
            with self._transaction():
                read = _read_event(event)
                if not self._is_known(read):
                    self._check(read, gaps=True)  # what is between may come with it
        except KeystoreError as error:
            error.forget_frames()
            return error
        return None

    def relearn(self, events: Sequence[bytes]) -> Said:
        """Remember events of one log as signed; return the last one that stands.

        Raises:
            KeystoreError: one contradicts what was signed (keystore.second_event), or is no key
                event (keystore.role).
        """
        read = [_read_event(raw) for raw in events]
        with self._transaction():
            known = [place for place, event in enumerate(read) if self._is_known(event)]
            # What is below a known event can be told by its link from above alone.
            first = known[-1] if known else 0
            for raw in (*reversed(events[:first]), *events[first:]):
                self._remember(raw, known_only=False)
            query = "SELECT said FROM signed WHERE aid = ? AND stands = 1 ORDER BY sn DESC LIMIT 1"
            (said,) = self._connection.execute(query, (read[-1].aid,)).fetchone()
            return Said(said)

    def ask_receipts(self, store: str, generation: int, events: Sequence[bytes]) -> None:
        """Do nothing yet: there is nobody else to do it."""

    def sign_receipts(
        self, store: str, generation: int, events: Sequence[bytes], *, known_only: bool = False
    ) -> list[bytes | KeystoreError]:
        """Return the signature over each event, durably remembered, or why there is none."""
        refused: list[KeystoreError | None] = []
        with self._transaction():
            last = self._generation(store)
            behind = last is None or generation < last
            if not behind and not known_only:
                self._see(store, generation)
            for raw in events:
                try:
                    self._remember(raw, known_only=known_only or behind)
                    refused.append(None)
                except KeystoreError as error:
                    error.forget_frames()
                    refused.append(error)
        # All of it is durable from here on.
        return [
            self._key.sign(raw) if error is None else error
            for raw, error in zip(events, refused, strict=True)
        ]

    def sign_reply(self, payload: bytes) -> bytes:
        """Return the signature over a reply.

        Raises:
            KeystoreError: it is something else (keystore.role).
        """
        if not isinstance(_read(payload), Reply):
            raise KeystoreError(ErrorCode.ROLE, "what is to be signed is no reply")
        return self._key.sign(payload)

    def _remember(self, raw: bytes, *, known_only: bool) -> None:
        event = _read_event(raw)
        if self._is_known(event):
            return
        if known_only:
            what = "this witness was restored, and signs nothing new before it has caught up"
            raise KeystoreError(ErrorCode.BEHIND, what, aid=event.aid, sn=event.sn)
        if self._check(event):
            self._connection.execute(
                "UPDATE signed SET stands = 0 WHERE aid = ? AND sn >= ? AND stands = 1",
                (event.aid, event.sn),
            )
        rank = _RANKS.get(event.message_type, _FINAL)
        self._connection.execute(
            "INSERT INTO signed VALUES (?, ?, ?, ?, ?, 1)",
            (event.aid, event.sn, event.said, event.prior_said or "", rank),
        )

    def _is_known(self, event: AnyKeyEvent) -> bool:
        query = "SELECT 1 FROM signed WHERE aid = ? AND said = ?"
        return self._connection.execute(query, (event.aid, event.said)).fetchone() is not None

    def _has_signed_below(self, event: AnyKeyEvent) -> bool:
        query = "SELECT 1 FROM signed WHERE aid = ? AND sn < ? AND stands = 1"
        return self._connection.execute(query, (event.aid, event.sn)).fetchone() is not None

    def _check(self, event: AnyKeyEvent, *, gaps: bool = False) -> bool:
        """Check an event that is new here against all that stands of its log.

        Args:
            event: the event.
            gaps: it need not follow at once.

        Returns:
            Whether it supersedes something.

        Raises:
            KeystoreError: it contradicts what was signed (keystore.second_event).
        """
        query = (
            "SELECT sn, said, prior, rank FROM signed WHERE aid = ? AND sn >= ? AND stands = 1"
            " ORDER BY sn"
        )
        rows = self._connection.execute(query, (event.aid, event.sn - 1)).fetchall()
        before = [said for sn, said, _, _ in rows if sn == event.sn - 1]
        later = [(sn, rank) for sn, _, _, rank in rows if sn >= event.sn]
        skips = not before and not gaps and self._has_signed_below(event)
        if skips or (before and before[0] != event.prior_said):
            raise _second(event, "does not continue what was signed")
        if not later:
            return False
        above, _, prior, _ = rows[len(before)]
        if (above, prior) == (event.sn + 1, event.said):
            return False  # the next event was signed before this one, and names it
        match event.message_type:
            case "rot":  # rules A0 and A1
                allowed = all(rank == 0 for _, rank in later)
            case "drt":  # rule B: a rotation at the very place, if a delegator can undo it
                allowed = all(rank == 0 or (rank == 1 and sn == event.sn) for sn, rank in later)
            case _:  # rule A2; and nothing replaces an inception
                allowed = False
        if not allowed:
            raise _second(event, "would be a second one at a place that was signed")
        return True

    def _generation(self, store: str) -> int | None:
        query = "SELECT generation FROM seen WHERE store = ?"
        found = self._connection.execute(query, (store,)).fetchone()
        return None if found is None else int(found[0])

    def _see(self, store: str, generation: int) -> None:
        self._connection.execute(
            "INSERT INTO seen VALUES (?, ?) ON CONFLICT (store)"
            " DO UPDATE SET generation = max(generation, excluded.generation)",
            (store, generation),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _faults(self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _make_file(folder: Path) -> None:
    """Make the file of a memory, so that no loss of power takes its name away again."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    os.close(os.open(folder / FILE, flags, 0o600))
    for name in (folder, *(one.parent for one in made)):
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _second(event: AnyKeyEvent, why: str) -> KeystoreError:
    what = f"event {event.sn:x} {why}"
    return KeystoreError(
        ErrorCode.SECOND_EVENT,
        what,
        hint="the first event that was seen stands; reconcile the wallet with the published log",
        aid=event.aid,
        sn=event.sn,
    )


def _read_event(raw: bytes) -> AnyKeyEvent:
    message = _read(raw)
    if message.message_type not in FIELDS:
        raise KeystoreError(ErrorCode.ROLE, "a receipt is for a key event, and for nothing else")
    return message  # type: ignore[return-value] # told by its type


def _read(raw: bytes) -> AnyMessage:
    """Read a message by itself: the digest in it is checked over its bytes.

    Raises:
        KeystoreError: it is none (keystore.role).
    """
    try:
        protocol, kind, size = read_head(raw[:HEAD_BYTES])
        message = Message(protocol, kind, _DECODE(raw, kind), raw, (), 0, len(raw))
        read = parse_message(message, DEFAULT_LIMITS)
    except KeysteadError as error:
        what = f"what is to be signed is no message: {error.code}"
        raise KeystoreError(ErrorCode.ROLE, what) from None
    if size != len(raw):
        raise KeystoreError(ErrorCode.ROLE, "what is to be signed is not one message")
    return read


@contextmanager
def _faults(folder: Path) -> Iterator[None]:
    """Turn errors of the memory into those of stores.

    Raises:
        StoreError: no space is left (store.full), or it cannot be used (store.io).
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        number = getattr(error, "sqlite_errorcode", 0) & 0xFF
        code = ErrorCode.STORE_FULL if number == sqlite3.SQLITE_FULL else ErrorCode.STORE_IO
        what = f"the memory of receipts in {folder} cannot be used: {type(error).__name__}"
        raise StoreError(code, what) from error
