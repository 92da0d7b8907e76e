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
    rank INTEGER NOT NULL,   -- 0: sets no keys, 1: a delegated event that does, 2: any other
    stands INTEGER NOT NULL, -- 0: an event that was signed later has superseded it
    number INTEGER NOT NULL, -- order of signing in this log
    PRIMARY KEY (aid, said)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS signed_once ON signed (aid, sn) WHERE stands = 1;
CREATE TABLE IF NOT EXISTS seen (store TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signer (id INTEGER PRIMARY KEY CHECK (id = 1), aid TEXT NOT NULL);
"""
_INTERACTION: Final = "ixn"
_DECODE: Final = forms.decoder(DEFAULT_LIMITS)


class LocalReceiptSigner:
    """A `ReceiptSigner` in this process. Not safe for concurrent threads."""

    def __init__(self, folder: Path, key: ServiceKey) -> None:
        """Open the memory in a folder, or make it where there is none.

        Raises:
            StoreError: it cannot be used (store.io), or is another witness's (store.corrupt).
        """
        self._key = key
        with _faults(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / FILE
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=5)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            insert = "INSERT OR IGNORE INTO signer VALUES (1, ?)"
            self._connection.execute(insert, (key.aid,))
            (known,) = self._connection.execute("SELECT aid FROM signer").fetchone()
        self._folder = folder
        if known != key.aid:
            self.close()
            what = f"the memory of receipts in {folder} is that of another witness"
            raise StoreError(ErrorCode.STORE_CORRUPT, what)

    def close(self) -> None:
        """Close the memory."""
        self._connection.close()

    @property
    def aid(self) -> Aid:
        """The witness."""
        return self._key.aid

    def begin(self, store: str, generation: int) -> bool:
        """Tell a store's generation; False if it is older than what was seen, or never seen.

        A store that has written nothing yet is taken as new.
        """
        with self._transaction():
            last = self._generation(store)
            if last is None and generation == 0 and not self._has_signed():
                self._see(store, generation)
                return True
            return last is not None and generation >= last

    def accept(self, store: str, generation: int) -> None:
        """Take a store that has caught up for the current one, whatever was seen before."""
        with self._transaction():
            self._connection.execute("DELETE FROM seen WHERE store = ?", (store,))
            self._see(store, generation)

    def signed_last(self) -> dict[Aid, Said]:
        """Return for each log the last event that was signed."""
        query = "SELECT aid, said, max(number) FROM signed GROUP BY aid"
        with _faults(self._folder):
            rows = self._connection.execute(query).fetchall()
        return {Aid(aid): Said(said) for aid, said, _ in rows}

    def relearn(self, event: bytes, signature: bytes) -> None:
        """Remember an own receipt that others have kept.

        Raises:
            KeystoreError: it is not signed by this key (keystore.role), or contradicts what is
                remembered (keystore.second_event).
        """
        if self._key.sign(event) != signature:
            raise KeystoreError(ErrorCode.ROLE, "this receipt was not signed by this witness")
        with self._transaction():
            self._remember(event, known_only=False)

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
        query = "SELECT 1 FROM signed WHERE aid = ? AND said = ?"
        if self._connection.execute(query, (event.aid, event.said)).fetchone():
            return
        if known_only:
            what = "this witness was restored, and signs nothing new before it has caught up"
            raise KeystoreError(ErrorCode.BEHIND, what, aid=event.aid, sn=event.sn)
        self._check(event)
        self._connection.execute(
            "UPDATE signed SET stands = 0 WHERE aid = ? AND sn >= ? AND stands = 1",
            (event.aid, event.sn),
        )
        self._connection.execute(
            "INSERT INTO signed SELECT ?, ?, ?, ?, 1, coalesce(max(number) + 1, 0)"
            " FROM signed WHERE aid = ?",
            (event.aid, event.sn, event.said, _rank(event), event.aid),
        )

    def _check(self, event: AnyKeyEvent) -> None:
        """Check an event that is new here against all that stands of its log.

        Raises:
            KeystoreError: it contradicts what was signed (keystore.second_event).
        """
        query = (
            "SELECT sn, said, rank FROM signed WHERE aid = ? AND sn >= ? AND stands = 1 ORDER BY sn"
        )
        rows = self._connection.execute(query, (event.aid, event.sn - 1)).fetchall()
        before = [said for sn, said, _ in rows if sn == event.sn - 1]
        later = [(sn, rank) for sn, _, rank in rows if sn >= event.sn]
        if before and before[0] != event.prior_said:
            raise _second(event, "does not continue what was signed")
        if not later:
            return
        match event.message_type:
            case "rot":  # rules A0 and A1
                allowed = all(rank == 0 for _, rank in later)
            case "drt":  # rule B: a rotation at the very place, if a delegator can undo it
                allowed = all(rank == 0 or (rank == 1 and sn == event.sn) for sn, rank in later)
            case _:  # rule A2; and nothing replaces an inception
                allowed = False
        if not allowed:
            raise _second(event, "would be a second one at a place that was signed")

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

    def _has_signed(self) -> bool:
        return self._connection.execute("SELECT 1 FROM signed LIMIT 1").fetchone() is not None

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


def _rank(event: AnyKeyEvent) -> int:
    if event.message_type == _INTERACTION:
        return 0
    return 1 if event.delegated else 2


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
