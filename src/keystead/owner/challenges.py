"""Challenges: whether who answers has the keys of an identifier now.

Words are given to somebody over a channel by which he is known, such as a call, and come back
signed by the keys that his log names last. Words are no secret; that nobody could know them
before makes the answer fresh.

Source: keri 1.x, route `/challenge/response`; requirement R-IDN-10.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from keystead.cesr.keys import Said
from keystead.cesr.stream import Malformed, Message, StreamReader
from keystead.errors import ErrorCode, UsageError, VerificationError
from keystead.keri import forms
from keystead.keri.attachments import gather
from keystead.keri.messages import Exchange, parse_message
from keystead.keri.verdicts import Authentic, Rejected, Source, Waits
from keystead.limits import DEFAULT_LIMITS
from keystead.node.decisions import Context
from keystead.node.messages import decide_message, signed_parts
from keystead.owner.contacts import (
    Challenge,
    Contact,
    Known,
    find_contact,
    known_contact,
    put_contact,
)
from keystead.owner.intake import bounded
from keystead.owner.records import Note
from keystead.owner.statements import sign_message
from keystead.owner.wallet import Wallet

ROUTE: Final = "/challenge/response"
WORDS: Final = 12  # of 7,776 each: 155 bits, where keri's have 128
USUAL_TIME: Final = timedelta(hours=1)
LONGEST_TIME: Final = timedelta(days=7)

_WORD: Final = re.compile(r"[a-z][a-z-]{0,31}")
_FEWEST, _MOST = 6, 48


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer that holds.

    Attributes:
        contact: who answered.
        said: digest of the answer.
        signer_sn: place of the establishment event whose keys signed.
        addressed: it names the recipient. Otherwise it may have been made for somebody else, who
            passed the words on.
    """

    contact: Contact
    said: Said
    signer_sn: int
    addressed: bool = True


def ask(
    wallet: Wallet, name: str, words: Sequence[str], *, within: timedelta = USUAL_TIME
) -> Challenge:
    """Write down words that a contact is to sign, in the place of earlier ones.

    Args:
        wallet: who asks.
        name: of the contact.
        words: fresh random words.
        within: time to answer.

    Raises:
        UsageError: there is no such contact (usage.unknown), or a time that is too long
            (usage.argument).
        VerificationError: its log is duplicitous (verify.challenge).
        KeystoreError: as `known_contact`.
    """
    if not timedelta(0) < within <= LONGEST_TIME:
        what = f"a challenge is for at most {LONGEST_TIME.days} days"
        raise UsageError(ErrorCode.ARGUMENT, what)
    with wallet.store.transaction():
        known = known_contact(wallet, name)
        _check_trusted(known)
        asked = wallet.now()
        challenge = Challenge(
            tuple(words), _text(asked), _text(asked + within), known.state.establishment.said
        )
        changed = msgspec.structs.replace(known.contact, challenge=challenge)
        put_contact(wallet, changed, Note("challenge", evidence=challenge.keys))
    return challenge


def respond(wallet: Wallet, name: str, recipient: str, words: Sequence[str]) -> bytes:
    """Sign words that somebody asked for, and return the message that answers.

    Args:
        wallet: who answers.
        name: of the own identifier that was asked.
        recipient: who asked: a contact, by its name or identifier.
        words: the words.

    Raises:
        UsageError: there is no such identifier or contact (usage.unknown), or these are no words
            (usage.argument).
        KeystoreError: the identifier cannot sign now (keystore.state, keystore.behind).
    """
    contact = find_contact(wallet, recipient)
    fields = {
        "i": wallet.identifier(name).aid,
        "rp": contact.aid,
        "p": "",
        "r": ROUTE,
        "q": {},
        "a": {"i": contact.aid, "words": list(read_words(words))},
        "e": {},
    }
    return sign_message(wallet, name, "exn", fields)


def verify_answer(wallet: Wallet, name: str, pieces: Iterable[bytes]) -> Answered:
    """Verify the answer to a challenge, and write down that it holds.

    The steps, each of which ends the matter when it fails:
     1. The answer is one message to the route of challenges.
     2. The contact sent it, and enough of its keys signed it.
     3. The contact was asked, with these words, and the answer is for nobody else.
     4. This challenge was not answered before, and its time is not over.
     5. The keys that signed are those that the log names last, and did when it was asked.

    Args:
        wallet: who asked.
        name: of the contact.
        pieces: the answer.

    Raises:
        DecodeError: it is malformed.
        VerificationError: it does not hold: verify.signer, verify.signature, verify.challenge,
            verify.challenge_used, verify.challenge_late, verify.challenge_keys.
        UsageError, KeystoreError: as `known_contact`.
    """
    message = _only_message(pieces)
    with wallet.store.transaction():
        known = known_contact(wallet, name)
        contact, challenge = known.contact, known.contact.challenge
        answer = _answer_of(message)
        proof = _authentic(wallet, message, contact)
        if challenge is None:
            what = f"{contact.name} was not asked for anything"
            raise VerificationError(ErrorCode.CHALLENGE, what)
        _check_trusted(known)
        _check_words(wallet, contact, challenge, answer)
        _check_time(wallet, contact, challenge)
        keys = known.state.establishment.said
        if challenge.keys != keys:
            what = f"{contact.name} rotated its keys since it was asked"
            raise VerificationError(ErrorCode.CHALLENGE_KEYS, what)
        if not proof.latest:
            what = f"the answer is not by the latest keys of {contact.name}"
            raise VerificationError(ErrorCode.CHALLENGE_KEYS, what)
        done = msgspec.structs.replace(
            challenge, answer=answer.said, answered_at=_text(wallet.now())
        )
        contact = msgspec.structs.replace(contact, challenge=done)
        put_contact(wallet, contact, Note("challenge answered", evidence=answer.said))
    return Answered(contact, answer.said, proof.signer_sn or 0, answer.recipient is not None)


def read_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a challenge, as people and other programs give them.

    Raises:
        UsageError: too few, too many, or no words (usage.argument).
    """
    found = tuple(" ".join(words).split())
    if not _FEWEST <= len(found) <= _MOST or not all(map(_WORD.fullmatch, found)):
        what = f"a challenge is {_FEWEST} to {_MOST} words of lower-case letters"
        raise UsageError(ErrorCode.ARGUMENT, what)
    return found


def _only_message(pieces: Iterable[bytes]) -> Message:
    reader = StreamReader(DEFAULT_LIMITS, forms.decoder(DEFAULT_LIMITS))
    for piece in bounded(pieces):
        reader.feed(piece)
    reader.close()
    items = list(reader)
    for item in items:
        if isinstance(item, Malformed):
            raise item.error
    if len(items) != 1 or not isinstance(items[0], Message):
        what = f"the file has {len(items)} messages, and an answer is one"
        raise VerificationError(ErrorCode.CHALLENGE, what)
    return items[0]


def _answer_of(message: Message) -> Exchange:
    parsed = parse_message(message, DEFAULT_LIMITS)
    if not isinstance(parsed, Exchange) or parsed.route != ROUTE:
        raise VerificationError(ErrorCode.CHALLENGE, "this is no answer to a challenge")
    return parsed


def _authentic(wallet: Wallet, message: Message, contact: Contact) -> Authentic:
    """Verify the signatures, by the log that is here; nothing is kept.

    Raises:
        VerificationError: somebody else sent it, or too few of the keys signed.
    """
    answer = _answer_of(message)
    if answer.sender != contact.aid:
        what = f"somebody else than {contact.name} answered"
        raise VerificationError(ErrorCode.SIGNER, what)
    context = Context(Source.REMOTE, wallet.now(), wallet.time(), frozenset(), DEFAULT_LIMITS)
    parts = signed_parts(answer, gather(message.groups), DEFAULT_LIMITS)
    verdict = decide_message(parts[0], context, wallet.events).verdict
    match verdict:
        case Authentic():
            return verdict
        case Rejected(error):
            raise error
        case Waits(missing):
            wants = sorted({one.want.value for one in missing})
            what = f"the answer lacks {' and '.join(wants)}"
            raise VerificationError(ErrorCode.SIGNER, what, hint=_REFRESH)
        case _:
            raise VerificationError(ErrorCode.CHALLENGE, "this is no answer to a challenge")


_REFRESH: Final = "get the latest log with: keystead contact refresh NAME"


def _check_trusted(known: Known) -> None:
    if known.duplicity:
        what = f"the log of {known.contact.name} exists in two versions"
        hint = "do not trust this identifier; ask its owner by another channel"
        raise VerificationError(ErrorCode.CHALLENGE, what, hint=hint)


def _check_words(wallet: Wallet, contact: Contact, challenge: Challenge, answer: Exchange) -> None:
    payload = answer.payload
    words = payload.get("words") if isinstance(payload, dict) else None
    if words != list(challenge.words):
        what = f"these are not the words that {contact.name} was asked for last"
        raise VerificationError(ErrorCode.CHALLENGE, what)
    own = {one.aid for one in wallet.identifiers()}
    if answer.recipient is not None and answer.recipient not in own:
        # Whoever passes our words on would have an answer that was meant for himself.
        what = f"{contact.name} answered somebody else"
        raise VerificationError(ErrorCode.CHALLENGE, what)


def _check_time(wallet: Wallet, contact: Contact, challenge: Challenge) -> None:
    if challenge.answer:
        what = f"{contact.name} has answered this challenge at {challenge.answered_at}"
        raise VerificationError(ErrorCode.CHALLENGE_USED, what)
    if wallet.now() > datetime.fromisoformat(challenge.expires_at):
        what = f"the time for the answer was over at {challenge.expires_at}"
        raise VerificationError(ErrorCode.CHALLENGE_LATE, what)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
