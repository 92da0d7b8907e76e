"""Signing documents with the identifiers of a wallet."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keystead.cesr.base64 import ALPHABET
from keystead.cesr.groups import ReceiptCouple, SignatureGroup
from keystead.cesr.keys import Aid, Digest
from keystead.errors import DecodeError, ErrorCode, KeysteadError, KeystoreError, UsageError
from keystead.keri import build
from keystead.keri.seals import DigestSeal
from keystead.owner import delegation, life
from keystead.owner.compromises import compromises
from keystead.owner.documents import (
    DocumentSignature,
    digest_of,
    read_signature,
    write_signature,
)
from keystead.owner.identifiers import abandon, anchor, create, rotate
from keystead.owner.plans import Change, Creation
from keystead.owner.records import AuditEntry
from keystead.owner.signing import only_signer, sign_document
from keystead.owner.standing import Exposure, Standing, Verdict, judge_signature
from keystead.owner.wallet import IDENTIFIER, Wallet
from keystead.suites import Suite
from support.documents import DIGEST, DOCUMENT
from support.wallets import LocalWallet, copy, make_wallet, put_back, snapshot

OTHER = digest_of([b"another document"])


class _CutError(Exception):
    """Where a crash comes."""


@contextmanager
def _cut_off(wallet: Wallet) -> Iterator[None]:
    """Do what is inside, and lose it before it is kept; what was marked stays marked."""
    with pytest.raises(_CutError), wallet.store.transaction():  # noqa: PT012 - what is lost
        yield
        raise _CutError


@pytest.fixture
def wallet(tmp_path: Path) -> LocalWallet:
    """Make a wallet."""
    return make_wallet(tmp_path / "machine")


def _judged(wallet: Wallet, signature: DocumentSignature, digest: Digest = DIGEST) -> Verdict:
    known = compromises(wallet.events, signature.aid)
    again = read_signature(write_signature(signature))
    return judge_signature(again, digest, wallet.events, known)


def _last(wallet: Wallet, name: str) -> int:
    """Return the place of the last event of a log."""
    state = wallet.events.key_state(wallet.identifier(name).aid)
    assert state is not None
    return state.sn


def _current_key(wallet: Wallet, name: str, place: int = 0) -> str:
    """Return the id of a key in force."""
    state = wallet.events.key_state(wallet.identifier(name).aid)
    assert state is not None
    return build.commitment(state.establishment.signing_keys[place])


def _uses(wallet: Wallet, name: str) -> list[AuditEntry]:
    """Return the audit entries about signatures of an identifier."""
    found = wallet.records.history(IDENTIFIER, wallet.identifier(name).aid)
    return [entry for entry in found if entry.note.action == "sign"]


def _refused(wallet: Wallet, name: str, *, anchored: bool = False) -> KeysteadError:
    with pytest.raises(KeysteadError) as caught:
        sign_document(wallet, name, DIGEST, anchored=anchored)
    return caught.value


# Who signs, with which keys.


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1])
def test_document_is_signed_with_the_current_keys(wallet: LocalWallet, suite: Suite) -> None:
    """Keys of every suite make a signature that is valid under the log."""
    record = create(wallet, "alice", Creation(suite=suite))
    rotate(wallet, "alice", Change())
    done = sign_document(wallet, "alice", DIGEST)
    assert (done.record.aid, done.fresh, done.anchored_at) == (record.aid, True, None)
    verdict = _judged(wallet, done.signature)
    assert (verdict.valid, verdict.standing, verdict.sn) == (True, Standing.CURRENT, 1)
    assert not _judged(wallet, done.signature, OTHER).valid


def test_all_keys_that_may_sign_do(wallet: LocalWallet) -> None:
    """With several keys all sign, in the order of the event, and each once."""
    create(wallet, "board", Creation(keys=3, threshold="2"))
    signed = sign_document(wallet, "board", DIGEST).signature.signed
    assert isinstance(signed, SignatureGroup)
    assert [one.index for one in signed.signatures] == [0, 1, 2]


def test_a_retired_key_does_not_sign(wallet: LocalWallet) -> None:
    """As long as the others are enough, they sign without it."""
    create(wallet, "board", Creation(keys=3, threshold=["1/2", "1/2", "1/2"]))
    life.retire(wallet, _current_key(wallet, "board", 1))
    done = sign_document(wallet, "board", DIGEST)
    assert isinstance(done.signature.signed, SignatureGroup)
    assert [one.index for one in done.signature.signed.signatures] == [0, 2]
    assert _judged(wallet, done.signature).valid


def test_too_few_keys_sign_nothing(wallet: LocalWallet) -> None:
    """Where compromised keys would be needed, nothing is signed, anchored or noted."""
    create(wallet, "board", Creation(keys=2, threshold="2"))
    life.compromise(wallet, _current_key(wallet, "board"))
    error = _refused(wallet, "board", anchored=True)
    assert error.code is ErrorCode.LIFE_STATE
    assert "rotation" in error.hint
    assert _last(wallet, "board") == 0
    assert not _uses(wallet, "board")


def test_non_transferable_identifier_signs_without_a_log(wallet: LocalWallet) -> None:
    """Its signature names the key only, and is valid for who knows no log at all."""
    record = create(wallet, "pocket", Creation(transferable=False))
    done = sign_document(wallet, "pocket", DIGEST)
    assert isinstance(done.signature.signed, ReceiptCouple)
    assert done.signature.aid == record.aid
    assert _judged(wallet, done.signature).standing is Standing.NON_TRANSFERABLE
    assert _refused(wallet, "pocket", anchored=True).code is ErrorCode.LIFE_STATE


def test_nobody_signs_for_an_abandoned_identifier(wallet: LocalWallet) -> None:
    """The end of a log is told, and no rotation is proposed."""
    create(wallet, "alice", Creation())
    abandon(wallet, "alice")
    error = _refused(wallet, "alice")
    assert error.code is ErrorCode.LIFE_STATE
    assert "abandoned at 1" in error.message


def test_unknown_name(wallet: LocalWallet) -> None:
    """A name that nobody has is told as such."""
    assert _refused(wallet, "nobody").code is ErrorCode.UNKNOWN


def test_delegated_identifier(tmp_path: Path, wallet: LocalWallet) -> None:
    """It signs once it is approved, and while a rotation of it waits, with the keys of before."""
    boss = make_wallet(tmp_path / "boss")
    chief = create(boss, "boss", Creation())

    def approve() -> None:
        asked = delegation.request(wallet, "clerk")
        approvals = delegation.approve(boss, "boss", asked)
        delegation.complete(wallet, "clerk", delegation.answer(boss, "boss", approvals))

    create(wallet, "clerk", Creation(delegator=chief.aid))
    error = _refused(wallet, "clerk")
    assert (error.code, "waits for its delegator" in error.message) == (ErrorCode.LIFE_STATE, True)
    approve()
    rotate(wallet, "clerk", Change())
    waiting = sign_document(wallet, "clerk", DIGEST)
    assert _judged(wallet, waiting.signature).standing is Standing.CURRENT
    assert _refused(wallet, "clerk", anchored=True).code is ErrorCode.LIFE_STATE
    assert len(_uses(wallet, "clerk")) == 1
    approve()
    assert _judged(wallet, waiting.signature).standing is Standing.ROTATED
    verdict = _judged(wallet, sign_document(wallet, "clerk", DIGEST, anchored=True).signature)
    assert (verdict.standing, verdict.sn, verdict.anchored_at) == (Standing.CURRENT, 1, 2)


def test_the_only_identifier_signs_without_being_named(tmp_path: Path, wallet: LocalWallet) -> None:
    """Abandoned ones, and those that wait for their first approval, do not count."""
    boss = create(make_wallet(tmp_path / "boss"), "boss", Creation())
    create(wallet, "waiting", Creation(delegator=boss.aid))
    create(wallet, "former", Creation())
    abandon(wallet, "former")
    with pytest.raises(UsageError, match="has no identifier that can sign"):
        only_signer(wallet)
    alice = create(wallet, "alice", Creation())
    assert only_signer(wallet) == alice
    create(wallet, "pocket", Creation(transferable=False))
    with pytest.raises(UsageError, match="has 2 identifiers that can sign") as caught:
        only_signer(wallet)
    assert caught.value.code is ErrorCode.UNKNOWN
    assert "--as" in caught.value.hint


# Anchors.


def test_anchored_once(wallet: LocalWallet) -> None:
    """The log anchors a document once, however often and under whatever keys it is signed."""
    create(wallet, "alice", Creation())
    first = sign_document(wallet, "alice", DIGEST, anchored=True)
    assert first.anchored_at == 1
    assert _judged(wallet, first.signature).anchored_at == 1
    assert sign_document(wallet, "alice", DIGEST, anchored=True).anchored_at == 1
    rotate(wallet, "alice", Change())
    assert sign_document(wallet, "alice", DIGEST, anchored=True).anchored_at == 1
    assert _last(wallet, "alice") == 2
    assert sign_document(wallet, "alice", OTHER, anchored=True).anchored_at == 3


def test_anchor_that_a_thief_may_have_made_does_not_count(wallet: LocalWallet) -> None:
    """After a compromise the owner anchors again, with the keys of today."""
    create(wallet, "alice", Creation())
    stolen = _current_key(wallet, "alice")
    old = sign_document(wallet, "alice", DIGEST, anchored=True)
    rotate(wallet, "alice", Change())
    life.compromise(wallet, stolen, since=0)
    assert _judged(wallet, old.signature).exposure is Exposure.ANCHORED_AFTER
    again = sign_document(wallet, "alice", DIGEST, anchored=True)
    assert again.anchored_at == 3
    assert _judged(wallet, again.signature).anchored_at == 3
    # The owner vouches for the old signature as well.
    assert _judged(wallet, old.signature).exposure is Exposure.ANCHORED_BY_OTHER_KEYS


def test_establishment_only_log_is_anchored_by_a_rotation(wallet: LocalWallet) -> None:
    """The hint tells the rotation that anchors; after it, signing needs no more."""
    create(wallet, "vault", Creation(establishment_only=True))
    error = _refused(wallet, "vault", anchored=True)
    assert error.code is ErrorCode.ARGUMENT
    assert f"keystead id rotate vault --anchor {DIGEST}" in error.hint
    assert not _uses(wallet, "vault")
    rotate(wallet, "vault", Change(anchors=(DigestSeal(DIGEST),)))
    done = sign_document(wallet, "vault", DIGEST, anchored=True)
    assert (done.anchored_at, _last(wallet, "vault")) == (1, 1)


# A signature that is there already.


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256R1])
def test_signature_that_is_there_is_kept(wallet: LocalWallet, suite: Suite) -> None:
    """One by the current keys is taken as it is: nothing is signed or noted again."""
    create(wallet, "alice", Creation(suite=suite))
    first = sign_document(wallet, "alice", DIGEST)
    again = sign_document(wallet, "alice", DIGEST, anchored=True, known=first.signature)
    assert (again.fresh, again.signature, again.anchored_at) == (False, first.signature, 1)
    assert len(_uses(wallet, "alice")) == 1


def test_signature_by_other_keys_is_not_replaced(wallet: LocalWallet) -> None:
    """One by keys of before, of somebody else, or that does not verify, is told of first."""
    create(wallet, "alice", Creation())
    create(wallet, "bob", Creation())
    old = sign_document(wallet, "alice", DIGEST).signature
    other = sign_document(wallet, "bob", DIGEST).signature
    rotate(wallet, "alice", Change())
    true = sign_document(wallet, "alice", DIGEST).signature
    wrong = DocumentSignature(OTHER, true.signed)
    for known in (old, other, wrong):
        with pytest.raises(UsageError) as caught:
            sign_document(wallet, "alice", DIGEST, anchored=True, known=known)
        assert caught.value.code is ErrorCode.EXISTS
    assert _last(wallet, "alice") == 1


# Crashes and copies.


def test_crash_leaves_an_anchor_and_no_second_one(wallet: LocalWallet) -> None:
    """Cut off after the anchor was signed: the next time finishes it, and signs."""
    create(wallet, "alice", Creation())
    with _cut_off(wallet):
        sign_document(wallet, "alice", DIGEST, anchored=True)
    assert _last(wallet, "alice") == 0
    wallet.check_current()
    done = sign_document(wallet, "alice", DIGEST, anchored=True)
    assert (done.anchored_at, _last(wallet, "alice")) == (1, 1)
    assert len(_uses(wallet, "alice")) == 1


def test_interrupted_rotation_is_finished_first(wallet: LocalWallet) -> None:
    """The keys of a rotation that was signed, but cut off, are those that sign."""
    create(wallet, "alice", Creation())
    with _cut_off(wallet):
        rotate(wallet, "alice", Change())
    verdict = _judged(wallet, sign_document(wallet, "alice", DIGEST).signature)
    assert (verdict.standing, verdict.sn) == (Standing.CURRENT, 1)


@pytest.mark.parametrize("rotated", [False, True])
def test_older_copy_of_the_wallet_does_not_sign(
    wallet: LocalWallet, tmp_path: Path, *, rotated: bool
) -> None:
    """Its keys may be out of force, so it says why it refuses."""
    create(wallet, "alice", Creation())
    copied = snapshot(wallet, tmp_path / "copied")
    for _ in range(2):  # one event more could be what a crash cut off
        if rotated:
            rotate(wallet, "alice", Change())
        else:
            anchor(wallet, "alice", [DigestSeal(OTHER)])
    error = _refused(put_back(wallet, copied), "alice")
    assert isinstance(error, KeystoreError)
    assert error.code is ErrorCode.BEHIND


def test_wallet_on_another_machine_does_not_sign(wallet: LocalWallet, tmp_path: Path) -> None:
    """A copy does not know what the other machine signed."""
    create(wallet, "alice", Creation())
    assert _refused(copy(wallet, tmp_path / "other"), "alice").code is ErrorCode.BEHIND


# The audit log.


def test_each_signature_is_in_the_audit_log(wallet: LocalWallet) -> None:
    """Who signed which document, when: in the history of the identifier."""
    create(wallet, "alice", Creation())
    sign_document(wallet, "alice", DIGEST)
    sign_document(wallet, "alice", OTHER)
    entries = _uses(wallet, "alice")
    assert [one.note.evidence for one in entries] == [DIGEST, OTHER]
    assert {one.actor for one in entries} == {"tester"}
    assert {one.at for one in entries} == {wallet.time()}
    assert wallet.identifier("alice").aid == only_signer(wallet).aid


def test_files_do_not_tell_what_was_signed(wallet: LocalWallet) -> None:
    """Without the passphrase nobody finds the digest of a document that was not anchored."""
    create(wallet, "alice", Creation())
    sign_document(wallet, "alice", DIGEST)
    sign_document(wallet, "alice", OTHER, anchored=True)
    wallet.sqlite.scrub()
    data = b"".join(path.read_bytes() for path in wallet.folder.rglob("*") if path.is_file())
    assert OTHER.encode() in data
    assert DIGEST.encode() not in data


# Changed signatures.


def _changes(data: bytes) -> Iterator[bytes]:
    """Give a file with each of its characters replaced by others."""
    for at, byte in enumerate(data):
        place = ALPHABET.find(chr(byte))
        others = [*(ord(ALPHABET[(place + step) % 64]) for step in (1, 16, 32)), 0x20, byte ^ 0x80]
        for other in others:
            yield data[:at] + bytes([other]) + data[at + 1 :]
    for cut in range(len(data)):
        yield data[:cut]


@pytest.mark.parametrize("transferable", [True, False])
def test_every_change_of_a_signature_is_found(wallet: LocalWallet, *, transferable: bool) -> None:
    """Whatever byte of the file is changed, or cut off: it is refused, or not valid."""
    create(wallet, "alice", Creation(transferable=transferable))
    data = write_signature(sign_document(wallet, "alice", DIGEST).signature)
    answers = set[str]()
    for changed in itertools.chain(_changes(data), [data + b"\n", data + data]):
        try:
            signature = read_signature(changed)
        except DecodeError as error:
            answers.add(error.code.split(".")[0])
            continue
        digest = digest_of([DOCUMENT], signature.digest_code)
        verdict = judge_signature(signature, digest, wallet.events, ())
        assert not verdict.valid, changed
        answers.add(verdict.standing)
    expected = {"decode", Standing.INVALID}
    if transferable:
        expected |= {Standing.UNKNOWN_LOG, Standing.LOG_BEHIND}
    assert answers == expected


def test_signature_of_another_identifier_with_the_same_name(
    tmp_path: Path, wallet: LocalWallet
) -> None:
    """Names are for the owner only: the identifier is what counts."""
    create(wallet, "alice", Creation())
    mallory = make_wallet(tmp_path / "mallory")
    create(mallory, "alice", Creation())
    signature = sign_document(mallory, "alice", DIGEST).signature
    assert signature.aid != Aid(wallet.identifier("alice").aid)
    assert _judged(wallet, signature).standing is Standing.UNKNOWN_LOG
