"""What `doctor` can find, what each of it means for the owner, and what to do about it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec


class Severity(StrEnum):
    """Whether something has to be done."""

    PROBLEM = "problem"
    NOTE = "note"


class Kind(StrEnum):
    """The stable name of a finding; the part before the dot is what it is about."""

    FILE_PERMISSIONS = "file.permissions"
    STORE_DAMAGED = "store.damaged"
    STORE_SCRUB = "store.scrub"
    STORE_LOCKED = "store.locked"
    ENVELOPE_CHANGED = "envelope.changed"
    AUDIT_CHAIN = "audit.chain"
    AUDIT_ENTRY = "audit.entry"
    AUDIT_TIME = "audit.time"
    AUDIT_TRANSITION = "audit.transition"
    RECORD_CHANGED = "record.changed"
    RECORD_MISSING = "record.missing"
    RECORD_EXTRA = "record.extra"
    RECORD_UNREADABLE = "record.unreadable"
    RECORD_UNKNOWN = "record.unknown"
    KEY_MISMATCH = "key.mismatch"
    KEY_GONE = "key.gone"
    KEY_LEFT = "key.left"
    KEY_STATE = "key.state"
    KEY_UNCHECKED = "key.unchecked"
    LOG_MISSING = "log.missing"
    LOG_EVENT = "log.event"
    LOG_NOTICE = "log.notice"
    CONTROL_LOST = "control.lost"
    CONTROL_SHARED = "control.shared"
    MARK_MACHINE = "mark.machine"
    MARK_CHANGED = "mark.changed"
    MARK_BEHIND = "mark.behind"
    MARK_UNFINISHED = "mark.unfinished"
    MARK_UNKNOWN = "mark.unknown"
    MARK_NONE = "mark.none"


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """What a kind of finding means.

    Attributes:
        severity: whether something has to be done.
        means: what it means for the owner.
        todo: what to do.
    """

    severity: Severity
    means: str
    todo: str


class Finding(msgspec.Struct, frozen=True, gc=False):
    """Something that is not as it should be.

    Attributes:
        kind: what it is.
        about: what is concerned, such as a record, an entry, an identifier.
        what: one sentence on this very case.
    """

    kind: Kind
    about: str
    what: str

    @property
    def meaning(self) -> Meaning:
        """What it means."""
        return MEANINGS[self.kind]

    @property
    def severity(self) -> Severity:
        """Whether something has to be done."""
        return self.meaning.severity


_RESTORE: Final = "keep this folder as it is, and restore the wallet from a backup"
_REPAIR: Final = "run: keystead doctor --repair"
_RECONCILE: Final = "get the published log: keystead id reconcile NAME --log FILE"


def _problem(means: str, todo: str) -> Meaning:
    return Meaning(Severity.PROBLEM, means, todo)


def _note(means: str, todo: str) -> Meaning:
    return Meaning(Severity.NOTE, means, todo)


MEANINGS: Final[Mapping[Kind, Meaning]] = MappingProxyType(
    {
        Kind.FILE_PERMISSIONS: _problem(
            "other users of this machine can read or change the wallet's files",
            "give folder and files to you alone: chmod 700 FOLDER, 600 FILE",
        ),
        Kind.STORE_DAMAGED: _problem(
            "the database is not what its own evidence says: a broken disk, or somebody changed it",
            f"{_REPAIR}; if that does not help, {_RESTORE}",
        ),
        Kind.STORE_SCRUB: _problem(
            "secrets were erased, but copies of them may still be in the files",
            _REPAIR,
        ),
        Kind.STORE_LOCKED: _note(
            "the wallet is locked, so sealed content, keys and marks were not checked",
            "unlock the wallet, or give --passphrase-file, and run doctor again",
        ),
        Kind.ENVELOPE_CHANGED: _problem(
            "how the passphrase opens the wallet is not as it was written last",
            "restore a copy of the wallet that was made after the passphrase was changed last; if there is none, move to a new wallet",
        ),
        Kind.AUDIT_CHAIN: _problem(
            "the history of the wallet was changed or cut: it proves nothing from there on",
            _RESTORE,
        ),
        Kind.AUDIT_ENTRY: _problem(
            "an entry of the history does not tell what was written at that time",
            _RESTORE,
        ),
        Kind.AUDIT_TIME: _note(
            "the clock of this machine was set back at some time",
            "check the clock; nothing is lost, but times in the history are not to be relied on",
        ),
        Kind.AUDIT_TRANSITION: _problem(
            "the history tells of a step in the life of a key that no key can take",
            _RESTORE,
        ),
        Kind.RECORD_CHANGED: _problem(
            "a record was changed, swapped with another, or replaced by an older version",
            _RESTORE,
        ),
        Kind.RECORD_MISSING: _problem("a record was deleted past the wallet", _RESTORE),
        Kind.RECORD_EXTRA: _problem(
            "a record is there that the wallet did not write, or that it deleted", _RESTORE
        ),
        Kind.RECORD_UNREADABLE: _problem(
            "a record cannot be opened, or is not what its kind must be", _RESTORE
        ),
        Kind.RECORD_UNKNOWN: _note(
            "a newer version wrote a record that this one does not know",
            "use the newer version of Keystead",
        ),
        Kind.KEY_MISMATCH: _problem(
            "a private key here is not the one that belongs to the public key", _RESTORE
        ),
        Kind.KEY_GONE: _problem(
            "a private key that should be here cannot be made or found", _RESTORE
        ),
        Kind.KEY_LEFT: _problem(
            "the secret of a key that is on record as destroyed is still here",
            "keep copies of this folder as safe as the key; shred other keys to have it erased",
        ),
        Kind.KEY_STATE: _problem(
            "the state of a key does not fit what the log says of it",
            "rotate the identifier, which sets all of its keys right: keystead id rotate NAME",
        ),
        Kind.KEY_UNCHECKED: _note(
            "a token is not here or does not answer, so its keys were not checked",
            "plug the token in and run doctor again",
        ),
        Kind.LOG_MISSING: _problem("the log of an identifier is not in the wallet", _RECONCILE),
        Kind.LOG_EVENT: _problem(
            "an event that was signed and kept here is no longer in the log", _RECONCILE
        ),
        Kind.LOG_NOTICE: _problem(
            "others are not told, by the latest keys, that an old key is compromised", _REPAIR
        ),
        Kind.CONTROL_LOST: _problem(
            "the keys for the next rotation are not here: this wallet cannot rotate the identifier",
            "restore the wallet from a backup that has the keys, or recover the identifier",
        ),
        Kind.CONTROL_SHARED: _note(
            "the next rotation needs keys that others hold",
            "make sure that they can be reached",
        ),
        Kind.MARK_MACHINE: _problem(
            "this machine does not know the wallet: it was copied or restored, and may be behind",
            _RECONCILE,
        ),
        Kind.MARK_CHANGED: _problem(
            "this machine's record of what was signed was changed: it does not protect any more",
            "restore the state folder, or remove its file of marks and reconcile the identifiers",
        ),
        Kind.MARK_BEHIND: _problem(
            "this is an older copy of the wallet: later events were signed with it", _RECONCILE
        ),
        Kind.MARK_UNFINISHED: _problem(
            "an event was signed, and a crash came before it was kept", _REPAIR
        ),
        Kind.MARK_UNKNOWN: _problem(
            "the last identifier that was begun here is not in the wallet: its creation was "
            "interrupted, or an older copy of the wallet was put back",
            "repeat the command with the same options; if it had ended well before, "
            "this is an older copy: restore a later one",
        ),
        Kind.MARK_NONE: _problem(
            "nothing was signed on this machine for an identifier: its log may be behind",
            _RECONCILE,
        ),
    }
)
