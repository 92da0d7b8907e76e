"""Challenges: what counts as an answer, and what does not."""

from datetime import timedelta
from pathlib import Path

import pytest

from keystead.cesr.keys import Aid, digest
from keystead.errors import ErrorCode, KeysteadError
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Source
from keystead.owner.challenges import (
    ROUTE,
    ask,
    read_words,
    respond,
    verify_answer,
)
from keystead.owner.contacts import add_file, challenge_state, find_contact, known_contact
from keystead.owner.exporting import log_stream
from keystead.owner.identifiers import create, rotate
from keystead.owner.intake import take_in
from keystead.owner.plans import Change, Creation
from keystead.testing.authoring import Author
from support.logs import DIGEST, attached, endorsed, routed, signed_by_last
from support.wallets import Clock, make_wallet

WORDS = tuple(f"word-{letter}" for letter in "abcdefghijkl")


class Two:
    """Two wallets that know each other: Alice asks, Bob answers."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.alice = make_wallet(folder / "alice", clock=self.clock)
        self.bob = make_wallet(folder / "bob", clock=self.clock)
        create(self.alice, "alice", Creation())
        create(self.bob, "bob", Creation(keys=2))
        add_file(self.alice, "bob", log_stream(self.bob, "bob"))
        add_file(self.bob, "alice", log_stream(self.alice, "alice"))

    def answer(self, words: tuple[str, ...] = WORDS) -> bytes:
        """Return Bob's answer."""
        return respond(self.bob, "bob", "alice", words)

    def refused(self, message: bytes) -> ErrorCode:
        """Return why Alice does not take an answer."""
        with pytest.raises(KeysteadError) as caught:
            verify_answer(self.alice, "bob", [message])
        return caught.value.code

    @property
    def state(self) -> str:
        """How far the challenge is."""
        known = known_contact(self.alice, "bob")
        return challenge_state(known.contact, known.state, self.alice.now())

    def refresh(self) -> None:
        """Give Alice Bob's latest log."""
        with self.alice.store.transaction():
            take_in(self.alice, log_stream(self.bob, "bob"), source=Source.REMOTE)


@pytest.fixture(name="two")
def _two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def test_an_answer_holds(two: Two) -> None:
    """It is written down, with the keys that it shows."""
    assert two.state == "none"
    made = ask(two.alice, "bob", WORDS)
    assert made.words == WORDS
    assert made.expires_at == "2026-01-02T04:04:05.000000+00:00"
    assert two.state == "asked"
    done = verify_answer(two.alice, "bob", [two.answer()])
    assert (done.contact.name, done.signer_sn) == ("bob", 0)
    assert two.state == "answered"
    challenge = find_contact(two.alice, "bob").challenge
    assert challenge is not None
    assert challenge.answer == done.said
    actions = [one.note.action for one in two.alice.records.history("contact", done.contact.aid)]
    assert actions == ["add contact", "challenge", "challenge answered"]


def test_an_answer_holds_once(two: Two) -> None:
    """The same again, and another one to the same words."""
    ask(two.alice, "bob", WORDS)
    answer = two.answer()
    verify_answer(two.alice, "bob", [answer])
    assert two.refused(answer) is ErrorCode.CHALLENGE_USED
    two.clock.advance(timedelta(seconds=1))
    assert two.refused(two.answer()) is ErrorCode.CHALLENGE_USED
    ask(two.alice, "bob", tuple(reversed(WORDS)))
    assert two.refused(answer) is ErrorCode.CHALLENGE


def test_wrong_words_do_not_count(two: Two) -> None:
    """Others, the same in another order, some of them; the challenge stays open."""
    assert two.refused(two.answer()) is ErrorCode.CHALLENGE
    ask(two.alice, "bob", WORDS)
    for words in (WORDS[:-1], WORDS[::-1], (*WORDS, "more")):
        assert two.refused(two.answer(words)) is ErrorCode.CHALLENGE
    assert two.state == "asked"
    verify_answer(two.alice, "bob", [two.answer()])


def test_a_late_answer_does_not_count(two: Two) -> None:
    """At the end of the time it still does."""
    ask(two.alice, "bob", WORDS, within=timedelta(minutes=1))
    answer = two.answer()
    two.clock.advance(timedelta(minutes=1, microseconds=1))
    assert two.state == "expired"
    assert two.refused(answer) is ErrorCode.CHALLENGE_LATE
    two.clock.advance(timedelta(microseconds=-1))
    verify_answer(two.alice, "bob", [answer])


def test_somebody_else_cannot_answer(two: Two, tmp_path: Path) -> None:
    """With his own keys under either name."""
    ask(two.alice, "bob", WORDS)
    thief = make_wallet(tmp_path / "thief", clock=two.clock)
    create(thief, "bob", Creation())
    add_file(thief, "alice", log_stream(two.alice, "alice"))
    assert two.refused(respond(thief, "bob", "alice", WORDS)) is ErrorCode.SIGNER
    bob = find_contact(two.alice, "bob").aid
    mallory = Author("mallory")
    mallory.incept()
    raw = _exchange(bob)
    assert two.refused(attached(raw, endorsed(mallory, raw))) is ErrorCode.SIGNER
    assert two.refused(raw) is ErrorCode.UNSIGNED


def _exchange(sender: Aid, *, rp: str = "", **payload: object) -> bytes:
    return routed("exn", i=sender, rp=rp, r=ROUTE, a={"words": list(WORDS), **payload})


def test_too_few_keys_cannot_answer(two: Two) -> None:
    """Both of Bob's keys have to sign."""
    ask(two.alice, "bob", WORDS)
    answer = two.answer()
    one = answer.replace(b"-AAC", b"-AAB")[:-88].replace(b"-VBK", b"-VA0")
    assert one != answer
    assert two.refused(one) is ErrorCode.SIGNER
    changed = answer.replace(b"word-a", b"word-x")
    assert two.refused(changed) is ErrorCode.SAID


def test_an_answer_of_earlier_keys_does_not_count(two: Two) -> None:
    """A thief may have them; it must be asked again."""
    ask(two.alice, "bob", WORDS)
    before = two.answer()
    rotate(two.bob, "bob", Change())
    assert two.refused(two.answer()) is ErrorCode.SIGNER  # Alice does not know these keys
    two.refresh()
    assert two.state == "stale"
    assert two.refused(two.answer()) is ErrorCode.CHALLENGE_KEYS
    assert two.refused(before) is ErrorCode.CHALLENGE_KEYS
    ask(two.alice, "bob", WORDS)
    assert two.refused(before) is ErrorCode.CHALLENGE_KEYS
    verify_answer(two.alice, "bob", [two.answer()])
    rotate(two.bob, "bob", Change())
    two.refresh()
    assert two.state == "stale"


def test_an_answer_for_somebody_else_does_not_count(two: Two) -> None:
    """Whoever passes our words on to Bob gets an answer that names him."""
    ask(two.alice, "bob", WORDS)
    mallory = Author("mallory")
    log = mallory.incept().raw
    add_file(two.bob, "mallory", [log])
    assert two.refused(respond(two.bob, "bob", "mallory", WORDS)) is ErrorCode.CHALLENGE


@pytest.mark.parametrize("to", ["", "alice"])
@pytest.mark.parametrize("payload", [{}, {"i": DIGEST}])
def test_answers_of_other_programs_count(two: Two, to: str, payload: dict[str, str]) -> None:
    """Keri's name nobody, or themselves, and may be signed with the latest keys unnamed."""
    carol = Author("carol")
    add_file(two.alice, "carol", [carol.incept().raw])
    ask(two.alice, "carol", WORDS)
    rp = two.alice.identifier(to).aid if to else ""
    raw = _exchange(carol.aid, rp=rp, **payload)
    group = endorsed(carol, raw) if to else signed_by_last(carol, raw)
    done = verify_answer(two.alice, "carol", [attached(raw, group)])
    assert done.contact.name == "carol"


def test_what_is_no_answer_is_refused(two: Two) -> None:
    """A log, two answers, nothing, other messages, words that are none."""
    ask(two.alice, "bob", WORDS)
    bob = find_contact(two.alice, "bob").aid
    answer = two.answer()
    for data in (b"", answer * 2, b"".join(log_stream(two.bob, "bob"))):
        assert two.refused(data) is ErrorCode.CHALLENGE
    raw = routed("exn", i=bob, r="/challenge/other", a={"words": list(WORDS)})
    assert two.refused(raw) is ErrorCode.CHALLENGE
    assert two.refused(answer[:-1]) is ErrorCode.TRUNCATED
    assert two.refused(b"x" + answer) is ErrorCode.VERSION_STRING


def test_a_duplicitous_contact_is_not_believed(two: Two) -> None:
    """Whatever it signs."""
    carol = Author("carol")
    inception = carol.incept().raw
    fork = carol.fork()
    add_file(two.alice, "carol", [inception, carol.interact(DigestSeal(digest(b"data"))).raw])
    ask(two.alice, "carol", WORDS)
    with two.alice.store.transaction():
        take_in(two.alice, [fork.interact().raw], source=Source.REMOTE)
    raw = _exchange(carol.aid)
    for work in (
        lambda: verify_answer(two.alice, "carol", [attached(raw, endorsed(carol, raw))]),
        lambda: ask(two.alice, "carol", WORDS),
    ):
        with pytest.raises(KeysteadError) as caught:
            work()
        assert caught.value.code is ErrorCode.CHALLENGE


def test_old_keys_do_not_keep_a_contact_from_answering(two: Two) -> None:
    """Who has keys that a rotation replaced cannot have the owner distrusted."""
    carol = Author("carol")
    inception, thief = carol.incept().raw, carol.fork()
    add_file(two.alice, "carol", [inception, carol.rotate().raw])
    with two.alice.store.transaction():
        take_in(two.alice, [thief.interact().raw], source=Source.REMOTE)
    ask(two.alice, "carol", WORDS)
    raw = _exchange(carol.aid)
    done = verify_answer(two.alice, "carol", [attached(raw, endorsed(carol, raw))])
    assert not done.addressed  # it names no recipient, and is taken all the same
    assert len(known_contact(two.alice, "carol").dismissed) == 1


def test_a_key_that_cannot_rotate_can_answer(two: Two, tmp_path: Path) -> None:
    """Its signature stands beside the key."""
    pocket = make_wallet(tmp_path / "pocket", clock=two.clock)
    create(pocket, "pocket", Creation(transferable=False))
    add_file(pocket, "alice", log_stream(two.alice, "alice"))
    add_file(two.alice, "pocket", log_stream(pocket, "pocket"))
    ask(two.alice, "pocket", WORDS)
    answer = respond(pocket, "pocket", "alice", WORDS)
    assert verify_answer(two.alice, "pocket", [answer]).signer_sn == 0


@pytest.mark.parametrize("within", [timedelta(0), timedelta(days=7, seconds=1)])
def test_the_time_is_bounded(two: Two, within: timedelta) -> None:
    """Words that are good for years are no challenge."""
    with pytest.raises(KeysteadError) as caught:
        ask(two.alice, "bob", WORDS, within=within)
    assert caught.value.code is ErrorCode.ARGUMENT


def test_words_are_read_as_people_give_them() -> None:
    """Apart or in one text; anything else is not signed."""
    assert read_words([" ".join(WORDS)]) == read_words(WORDS) == WORDS
    assert read_words([f"  {' '.join(WORDS)}\n"]) == WORDS
    for wrong in ([], ["a"], ["A"] * 12, ["a1"] * 12, ["x" * 40] * 12, ["a"] * 49):
        with pytest.raises(KeysteadError) as caught:
            read_words(wrong)
        assert caught.value.code is ErrorCode.ARGUMENT


def test_signing_an_answer_is_noted(two: Two) -> None:
    """In the history of the identifier."""
    two.answer()
    bob = two.bob.identifier("bob").aid
    last = two.bob.records.history("identifier", bob)[-1]
    assert (last.note.action, last.note.reason) == ("sign", f"a message {ROUTE}")
