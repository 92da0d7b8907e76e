"""No other bytes than those of the signer are a valid signature of a document."""

from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.cesr.keys import Aid
from keystead.errors import DecodeError
from keystead.keri.seals import DigestSeal
from keystead.owner.documents import read_signature, write_signature
from keystead.owner.standing import Verdict
from keystead.testing.authoring import Author, witness
from support.documents import ANCHOR, judged_by, notice, signed_alone, signed_document
from support.logs import DIGEST, Node

MANY = settings(deadline=None, max_examples=300)


def _files() -> tuple[Node, dict[str, bytes]]:
    """Return a node that knows some logs, and files of signers of several kinds."""
    node = Node()
    single, several, old = Author("single"), Author("several", keys=3, threshold="2"), Author("old")
    node.accept(single.incept().raw, several.incept().raw, old.incept().raw)
    files = {
        "single": signed_document(single),
        "several": signed_document(several),
        "two of several": signed_document(several, places=[0, 2]),
        "rotated": signed_document(old),
        "alone": signed_alone(witness("alone")),
    }
    node.accept(old.interact(ANCHOR).raw, old.rotate().raw)
    node.feed(notice(old, old.pairs(0)[0].key, 2))
    return node, files


NODE, FILES = _files()
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _verdict(data: bytes) -> Verdict | None:
    """Return what is said to a file, None when it cannot be read."""
    try:
        return judged_by(NODE, data)
    except DecodeError:
        return None


def test_files_are_valid() -> None:
    """The files that are changed below are good."""
    for data in FILES.values():
        verdict = _verdict(data)
        assert verdict is not None
        assert verdict.valid


def test_every_changed_bit_is_noticed() -> None:
    """A file with any one bit flipped is refused or not valid."""
    for data in FILES.values():
        for place in range(8 * len(data)):
            changed = bytearray(data)
            changed[place // 8] ^= 1 << place % 8
            verdict = _verdict(bytes(changed))
            assert verdict is None or not verdict.valid, place


@MANY
@given(st.data(), st.sampled_from(sorted(FILES)))
def test_every_changed_character_is_noticed(data: st.DataObject, name: str) -> None:
    """A file with characters replaced, put in or left out is refused or not valid."""
    whole = FILES[name]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 4)))
    between = bytes(data.draw(st.lists(st.sampled_from(ALPHABET), max_size=4)))
    changed = whole[:start] + between + whole[end:]
    verdict = _verdict(changed)
    assert changed == whole or verdict is None or not verdict.valid


@MANY
@given(st.data())
def test_parts_of_two_files_are_no_third(data: st.DataObject) -> None:
    """The front of one file and the end of another are refused or not valid."""
    one, other = (FILES[data.draw(st.sampled_from(sorted(FILES)))] for _ in range(2))
    cut = data.draw(st.integers(0, len(one)))
    mixed = one[:cut] + other[data.draw(st.integers(0, len(other))) :]
    verdict = _verdict(mixed)
    assert mixed in FILES.values() or verdict is None or not verdict.valid


@MANY
@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from(ALPHABET), max_size=400).map(lambda chars: bytes(chars) + b"\n")
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever comes, reading gives a signature or a decode error."""
    try:
        signature = read_signature(data)
    except DecodeError:
        return
    assert write_signature(signature) == data


@MANY
@given(st.data(), st.sampled_from(sorted(FILES)))
def test_what_is_read_has_one_spelling(data: st.DataObject, name: str) -> None:
    """Whatever can be read is what a writer writes for it."""
    changed = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 2))] = data.draw(st.sampled_from(ALPHABET))
    try:
        signature = read_signature(bytes(changed))
    except DecodeError:
        return
    assert write_signature(signature) == changed


def test_other_logs_do_not_matter() -> None:
    """What is said to a file depends on the log of its signer and those of its delegators."""
    node, files = _files()
    stranger = Author("stranger")
    node.accept(stranger.incept(anchors=[ANCHOR, DigestSeal(DIGEST)]).raw)
    for data in files.values():
        assert judged_by(node, data) == _verdict(data)
    assert node.store.key_state(Aid(stranger.aid)) is not None
