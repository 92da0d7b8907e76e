"""Contacts: identifiers of others under names of one's own, and how their logs were found.

What is known of a log when it is added or refreshed is sealed in the wallet. So a log here that
went back behind that, by whatever hand, is found out.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from keystead.cesr.keys import Aid, Said, is_aid
from keystead.errors import ErrorCode, KeystoreError, UsageError, VerificationError
from keystead.keri.duplicity import DuplicityEvidence
from keystead.keri.events import KeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.routed import EndRole
from keystead.keri.verdicts import Source
from keystead.limits import DEFAULT_LIMITS
from keystead.node.ingest import EventProcessor
from keystead.node.weighing import known_duplicity
from keystead.owner.discovery import Found, Schema, Together, resolve
from keystead.owner.intake import bounded, take_in
from keystead.owner.records import Note
from keystead.owner.wallet import Wallet, checked_name
from keystead.ports.transport import Transport

CONTACT: Final = "contact"  # kinds of records
SCHEMA: Final = "schema"
FROM_FILE: Final = "file"

# An owner who knows more people than this needs an address book. Each has its record in the
# wallet, which is read to list them.
MOST_CONTACTS: Final = 10_000
# Schemas are for kinds of credentials, of which a person meets a few dozen.
MOST_SCHEMAS: Final = 1_000
_SHOWN: Final = 64


class Challenge(msgspec.Struct, frozen=True, gc=False):
    """Words that a contact is to sign, so that it shows that it has its keys now.

    Attributes:
        words: the words.
        asked_at: when, RFC 3339 text.
        expires_at: when an answer comes too late.
        keys: digest of the establishment event whose keys have to answer.
        answer: digest of the answer that was accepted; empty as long as there is none.
        answered_at: when it was accepted.
    """

    words: tuple[str, ...]
    asked_at: str
    expires_at: str
    keys: Said
    answer: Said | Literal[""] = ""
    answered_at: str = ""


class Contact(msgspec.Struct, frozen=True, gc=False):
    """An identifier of somebody else.

    Attributes:
        aid: the identifier.
        name: what the owner calls it.
        url: the introduction that it was found by; empty for a file.
        added_at: when it was added, RFC 3339 text.
        inception: digest of its first event.
        sn: place of the latest event when its log was last found.
        said: digest of that event.
        found_at: when its log was last found.
        confirmed: how many of its witnesses gave this event then.
        endpoints: who acts for it, with the role, as far as it has stated.
        challenge: the latest challenge.
    """

    aid: Aid
    name: str
    url: str
    added_at: str
    inception: Said
    sn: int
    said: Said
    found_at: str
    confirmed: int = 0
    endpoints: tuple[tuple[str, Aid], ...] = ()
    challenge: Challenge | None = None


class Known(msgspec.Struct, frozen=True, gc=False):
    """A contact with its log as it is here.

    Attributes:
        contact: what was written down.
        head: the latest event.
        duplicity: what speaks against the log and those of its delegators.
        dismissed: other versions of their events that do not stand.
    """

    contact: Contact
    head: AcceptedEvent
    duplicity: tuple[DuplicityEvidence, ...]
    dismissed: tuple[DuplicityEvidence, ...] = ()

    @property
    def state(self) -> KeyState:
        """The key state."""
        return self.head.state


def discover(
    wallet: Wallet,
    transport: Transport,
    url: str,
    *,
    also: Sequence[str] = (),
    confirm: bool = True,
) -> Found | Schema:
    """Follow an introduction; what is found is kept in the wallet. Errors as `resolve`."""
    own = [one.aid for one in wallet.identifiers()]
    processor = EventProcessor(wallet.events, own=own)
    together: Together = wallet.store.transaction
    found = resolve(
        processor, transport, url, now=wallet.now(), also=also, confirm=confirm, together=together
    )
    if isinstance(found, Schema):
        _keep_schema(wallet, found)
    return found


def discover_log(
    wallet: Wallet,
    transport: Transport,
    url: str,
    *,
    also: Sequence[str] = (),
    confirm: bool = True,
) -> Found:
    """Follow an introduction to a log.

    Raises:
        KeysteadError: as `resolve`; verify.introduction when it leads to data.
    """
    found = discover(wallet, transport, url, also=also, confirm=confirm)
    if isinstance(found, Schema):
        raise VerificationError(ErrorCode.INTRODUCTION, "it leads to data, not to a log")
    return found


def add_found(wallet: Wallet, found: Found, name: str) -> Contact:
    """Write down a log that was found as a contact.

    Raises:
        UsageError: the name is taken or no name (usage.exists, usage.name), the identifier is a
            contact already or one's own (usage.exists), or there are too many (usage.argument).
        VerificationError: it has no log (verify.introduction), or older ones are given than are
            known (verify.stale).
    """
    if found.head is None:
        what = "this is a key without a log, such as that of a witness; it is no contact"
        raise VerificationError(ErrorCode.INTRODUCTION, what)
    return _add(wallet, name, _written(wallet, found.head, found.oobi.url, found))


def add_file(wallet: Wallet, name: str, pieces: Iterable[bytes]) -> Contact:
    """Take in the log of a file, and write it down as a contact.

    Raises:
        DecodeError: the file is malformed, or too long (decode.limit).
        VerificationError: it holds no valid log of one identifier beside those of its delegators
            (verify.introduction).
        UsageError: as `add_found`.
    """
    name = checked_name(name)
    own = [one.aid for one in wallet.identifiers()]
    with wallet.store.transaction():
        results = take_in(wallet, bounded(pieces), own=own, source=Source.REMOTE)
        named = {one.message.aid for one in results if isinstance(one.message, KeyEvent)}
        states = [state for aid in named if (state := wallet.events.key_state(aid)) is not None]
        above = {state.establishment.delegator for state in states}
        heads = [
            head
            for state in states
            if state.aid not in above
            and (head := wallet.events.event(state.aid, state.sn)) is not None
        ]
        if len(heads) != 1:
            what = f"the file has {len(heads)} logs that were verified, not one"
            hint = "see what is in it with: keystead log verify FILE"
            raise VerificationError(ErrorCode.INTRODUCTION, what, hint=hint)
        return _add(wallet, name, _written(wallet, heads[0], "", None))


def find_contact(wallet: Wallet, name: str) -> Contact:
    """Return a contact by its name or identifier.

    Raises:
        UsageError: there is none (usage.unknown).
        KeystoreError: its record was changed (keystore.tampered).
    """
    if is_aid(name):
        found = wallet.records.get(CONTACT, name, Contact)
    else:
        found = wallet.records.find(CONTACT, checked_name(name), Contact)
    if found is None or name not in (found.aid, found.name):
        what = f"no contact is called {name[:_SHOWN]}"
        raise UsageError(ErrorCode.UNKNOWN, what, hint="see them with: keystead contact list")
    return found


def known_contact(wallet: Wallet, name: str) -> Known:
    """Return a contact with its log.

    Raises:
        UsageError: there is none (usage.unknown).
        KeystoreError: the log here is not the one that was found, or goes less far
            (keystore.tampered).
    """
    contact = find_contact(wallet, name)
    state = wallet.events.key_state(contact.aid)
    head = None if state is None else wallet.events.event(contact.aid, state.sn)
    known = wallet.events.accepted(contact.aid, contact.said)
    first = wallet.events.event(contact.aid, 0)
    whole = first is not None and known is not None and first.event.said == contact.inception
    if head is None or not whole:
        what = f"the log of {contact.name} is not here as far as it was verified before"
        hint = "find it again with: keystead contact refresh NAME; and see: keystead doctor"
        raise KeystoreError(ErrorCode.TAMPERED, what, hint=hint, aid=contact.aid)
    return Known(contact, head, *known_duplicity(wallet.events, contact.aid))


def contacts(wallet: Wallet) -> list[Contact]:
    """Return all contacts, by name."""
    return sorted(wallet.records.all(CONTACT, Contact), key=lambda one: one.name)


def rename_contact(wallet: Wallet, name: str, new_name: str) -> Contact:
    """Call a contact by another name; errors as `find_contact` and `add_found`."""
    new_name = checked_name(new_name)
    with wallet.store.transaction():
        contact = find_contact(wallet, name)
        if contact.name != new_name:
            _check_free(wallet, new_name)
            contact = msgspec.structs.replace(contact, name=new_name)
            put_contact(wallet, contact, Note("rename contact"))
    return contact


def remove_contact(wallet: Wallet, name: str) -> Contact:
    """Forget a contact; its log stays, for it may prove something. Errors as `find_contact`."""
    with wallet.store.transaction():
        contact = find_contact(wallet, name)
        batch = wallet.batch()
        batch.delete(CONTACT, contact.aid, Note("remove contact"))
        batch.write()
    return contact


def note_found(wallet: Wallet, contact: Contact, found: Found) -> Contact:
    """Write down how far the log of a contact is now, when it was found again.

    Raises:
        VerificationError: another identifier was found (verify.introduction), or the sources
            give an older log than is known (verify.stale).
    """
    if found.aid != contact.aid or found.head is None:
        what = f"the introduction no longer leads to {contact.name}"
        raise VerificationError(ErrorCode.INTRODUCTION, what)
    with wallet.store.transaction():
        contact = find_contact(wallet, contact.aid)
        fresh = _written(wallet, found.head, found.oobi.url, found)
        contact = msgspec.structs.replace(
            contact,
            url=fresh.url,
            sn=fresh.sn,
            said=fresh.said,
            found_at=fresh.found_at,
            confirmed=fresh.confirmed,
            endpoints=tuple(dict.fromkeys((*contact.endpoints, *fresh.endpoints))),
        )
        put_contact(wallet, contact, Note("refresh contact", evidence=contact.said))
    return contact


def put_contact(wallet: Wallet, contact: Contact, note: Note) -> None:
    """Write a contact, inside a transaction."""
    batch = wallet.batch()
    batch.put(CONTACT, contact.aid, contact, note, tag=contact.name)
    batch.write()


def challenge_state(contact: Contact, state: KeyState, now: datetime) -> str:
    """Return how far showing its keys is: none, asked, expired, answered, or stale.

    It is stale when the keys changed since, so that others would have to be shown.
    """
    challenge = contact.challenge
    if challenge is None:
        return "none"
    if challenge.keys != state.establishment.said:
        return "stale"
    if challenge.answer:
        return "answered"
    return "asked" if now <= datetime.fromisoformat(challenge.expires_at) else "expired"


def check_fresh(found: Found) -> None:
    """Check that the sources do not all give an older log than was known.

    Raises:
        VerificationError: they do (verify.stale).
    """
    if found.rolled_back:
        what = f"the log of {found.aid} ends earlier there than it was seen before"
        hint = "its services were set back or hide later events; ask other ones"
        raise VerificationError(ErrorCode.STALE, what, hint=hint, aid=found.aid)


def _written(wallet: Wallet, head: AcceptedEvent, url: str, found: Found | None) -> Contact:
    """Return a contact without name, as it stands now."""
    first = wallet.events.event(head.event.aid, 0)
    assert first is not None  # noqa: S101 - there is a later one
    roles: Sequence[tuple[str, Aid]] = ()
    if found is not None:
        check_fresh(found)
        stated = [one.statement for one in found.records]
        roles = [
            (one.role, one.eid)
            for one in stated
            if isinstance(one, EndRole) and one.cid == found.aid
        ]
    return Contact(
        head.event.aid,
        "",
        url,
        wallet.time(),
        first.event.said,
        head.event.sn,
        head.event.said,
        wallet.time(),
        0 if found is None else len(found.confirmed),
        tuple(dict.fromkeys(roles))[: DEFAULT_LIMITS.witnesses],
    )


def _add(wallet: Wallet, name: str, contact: Contact) -> Contact:
    name = checked_name(name)
    with wallet.store.transaction():
        _check_free(wallet, name)
        if any(one.aid == contact.aid for one in wallet.identifiers()):
            raise UsageError(ErrorCode.EXISTS, "this is one of your own identifiers")
        known = wallet.records.get(CONTACT, contact.aid, Contact)
        if known is not None:
            what = f"this identifier is a contact already: {known.name}"
            hint = "rename it with: keystead contact rename OLD NEW"
            raise UsageError(ErrorCode.EXISTS, what, hint=hint)
        if sum(1 for _ in wallet.store.rows(CONTACT)) >= MOST_CONTACTS:
            raise UsageError(ErrorCode.ARGUMENT, f"there are {MOST_CONTACTS:,} contacts already")
        contact = msgspec.structs.replace(contact, name=name)
        put_contact(wallet, contact, Note("add contact", evidence=contact.said))
    return contact


def _check_free(wallet: Wallet, name: str) -> None:
    if wallet.records.find(CONTACT, name, Contact) is not None:
        raise UsageError(ErrorCode.EXISTS, f"there is a contact called {name}")


def _keep_schema(wallet: Wallet, schema: Schema) -> None:
    with wallet.store.transaction():
        if wallet.records.get(SCHEMA, schema.said, Schema) is not None:
            return
        if sum(1 for _ in wallet.store.rows(SCHEMA)) >= MOST_SCHEMAS:
            raise UsageError(ErrorCode.ARGUMENT, f"there are {MOST_SCHEMAS:,} schemas already")
        batch = wallet.batch()
        batch.put(SCHEMA, schema.said, schema, Note("add schema", evidence=schema.said))
        batch.write()
