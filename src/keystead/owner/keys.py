"""Keys of identifiers: where they come from, and how their records follow the log."""

from collections.abc import Iterable, Sequence

import msgspec

from keystead.cesr.keys import Aid, Digest, VerificationKey, make_key
from keystead.custody.catalogue import KeyType, Method
from keystead.custody.records import KeyRecord, move
from keystead.custody.states import GONE, State
from keystead.custody.uri import DerivedUri, TokenUri, format_uri
from keystead.errors import ErrorCode, KeystoreError, UsageError
from keystead.keri import build
from keystead.owner.records import Batch, Note
from keystead.owner.wallet import KEY, TOKEN, Line, TokenRecord, Wallet
from keystead.ports.keys import SECRET, KeySource
from keystead.suites import Suite

_PURPOSE = "sign"


class Made(msgspec.Struct, frozen=True, gc=False):
    """A key pair that a line gives for one establishment event.

    Attributes:
        line: where it comes from.
        uri: how its private half is found.
        parent: name of the secret that the URI needs.
        key: public half.
        digest: commitment to it.
    """

    line: Line
    uri: str
    parent: str
    key: VerificationKey
    digest: Digest


class Subject(msgspec.Struct, frozen=True, gc=False):
    """Whose keys: the place of an identifier in its wallet."""

    epoch: int
    number: int
    transferable: bool = True


def make_keys(
    wallet: Wallet, subject: Subject, lines: Sequence[Line], establishment: int
) -> list[Made]:
    """Return the keys of lines for an establishment event, the same ones every time.

    Raises:
        KeystoreError: they cannot be made or were erased.
        UsageError: a token is not known (usage.unknown).
    """
    root = wallet.derivation_root(subject.epoch, subject.number)
    found = [_uri(wallet, subject, line, establishment, root) for line in lines]
    sources = [
        KeySource(uri, Suite[line.suite], wallet.records.sealed(SECRET, parent))
        for line, (uri, parent) in zip(lines, found, strict=True)
    ]
    made = []
    publics = wallet.vault.public_keys(sources) if sources else []
    for line, (uri, parent), raw in zip(lines, found, publics, strict=True):
        key = make_key(Suite[line.suite], raw, transferable=subject.transferable)
        made.append(Made(line, uri, parent, key, build.commitment(key)))
    return made


def record_of(made: Made, aid: Aid, place: int, establishment: int, at: str) -> KeyRecord:
    """Return the record of a key that was just made."""
    return KeyRecord(
        id=made.digest,
        type=KeyType.IDENTIFIER_SIGN,
        method=Method.TOKEN if made.line.token else Method.DERIVED,
        state=State.PRE_ACTIVE,
        created_at=at,
        changed_at=at,
        suite=made.line.suite,
        uri=made.uri,
        identifier=aid,
        place=place,
        establishment=establishment,
        parent=made.parent,
        public_key=made.key.text,
    )


def reserve_record(digest: Digest, aid: Aid, place: int, establishment: int, at: str) -> KeyRecord:
    """Return the record of a reserve key that somebody else holds."""
    return KeyRecord(
        id=digest,
        type=KeyType.RESERVE,
        method=Method.OTHER,
        state=State.RESERVE,
        created_at=at,
        changed_at=at,
        identifier=aid,
        place=place,
        establishment=establishment,
    )


def is_free(key: KeyRecord) -> bool:
    """Tell whether a key that its owner brought serves no identifier yet."""
    return key.method is Method.IMPORTED and key.state is State.PRE_ACTIVE and not key.identifier


def committed(old: KeyRecord | None, new: KeyRecord) -> KeyRecord:
    """Return the record of a key that an event commits to and that was not made for it.

    Args:
        old: what is known of the key.
        new: for which identifier it is, and where.

    Raises:
        KeystoreError: it is for another identifier already (keystore.role).
    """
    if old is None:
        return new
    if old.identifier not in ("", new.identifier):
        raise KeystoreError(ErrorCode.ROLE, f"the key {old.id} is for another identifier")
    return msgspec.structs.replace(
        old, identifier=new.identifier, place=new.place, establishment=new.establishment
    )


def put_new(batch: Batch, records: Iterable[KeyRecord], action: str, evidence: str) -> None:
    """Write the records of new keys."""
    for record in records:
        note = Note(action, evidence=evidence, after=record.state.value)
        batch.put(KEY, record.id, record, note)


def put_moved(
    wallet: Wallet, batch: Batch, record: KeyRecord, after: State, note: Note
) -> KeyRecord:
    """Write a key in its next state; one that is there, or beyond it, stays.

    Raises:
        KeystoreError: it cannot go there (keystore.state).
    """
    if record.state is after:
        return record
    moved, step = move(
        record,
        after,
        at=wallet.now(),
        actor=wallet.actor,
        reason=note.reason,
        evidence=note.evidence,
    )
    before = "" if step.before is None else step.before.value
    noted = msgspec.structs.replace(note, before=before, after=after.value)
    batch.put(KEY, record.id, moved, noted)
    return moved


def is_here(key: KeyRecord | None) -> bool:
    """Tell whether the private half of a key is here."""
    return key is not None and bool(key.uri) and key.state not in GONE


def new_lines(lines: Sequence[Line], slots: int, count: int, like: Line) -> tuple[list[Line], int]:
    """Return `count` lines: those that are there first, then new ones; and the slots then made."""
    kept = list(lines[:count])
    for _ in range(count - len(kept)):
        kept.append(Line(slots, like.suite, like.token))
        slots += 1
    return kept, slots


def find_token(wallet: Wallet, name: str) -> TokenRecord:
    """Return a token by its name.

    Raises:
        UsageError: there is none (usage.unknown).
    """
    found = wallet.records.get(TOKEN, name, TokenRecord)
    if found is None:
        hint = "add it with: keystead token add NAME --module PATH --token LABEL"
        raise UsageError(ErrorCode.UNKNOWN, f"no token is called {name[:64]}", hint=hint)
    return found


def _uri(
    wallet: Wallet, subject: Subject, line: Line, establishment: int, root: str
) -> tuple[str, str]:
    """Return where a line has its key for an establishment event, and the secret for it."""
    if not line.token:
        derived = DerivedUri(subject.epoch, subject.number, _PURPOSE, line.slot, establishment)
        return format_uri(derived), root
    token = find_token(wallet, line.token)
    place = f"{subject.epoch}/{subject.number}/{line.slot}/{establishment}"
    # With the suite: what a request that was cut off left in the token must not be in the way.
    label = f"keystead {wallet.vault.wallet} {place} {Suite[line.suite].value}"
    uri = TokenUri(token.module, token.label, label, token.serial)
    return format_uri(uri), f"pin.{line.token}"
