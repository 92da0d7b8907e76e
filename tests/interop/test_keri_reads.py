"""keri accepts every log that a wallet makes, and reads the same key state from it."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from keystead.cesr import indexed
from keystead.cesr.groups import ReceiptCouple, SignatureGroup
from keystead.custody.records import KeyRecord
from keystead.errors import KeystoreError, UsageError
from keystead.keri.thresholds import Field
from keystead.node.replay import replay
from keystead.owner import identifiers, life, shredding
from keystead.owner.documents import digest_of
from keystead.owner.plans import Change, Creation
from keystead.owner.settlement import reconcile
from keystead.owner.signing import sign_document
from keystead.owner.wallet import KEY, Wallet
from keystead.suites import Suite
from support.commands import keystead
from support.logs import Node
from support.peer import MEMORY, Peer, assert_same
from support.wallet_logs import (
    EVERY_SEAL,
    SCENES,
    Wallets,
    exported,
    let_approve,
    reserve,
    trunks,
)
from support.wallets import make_wallet, put_back, snapshot

pytestmark = [pytest.mark.interop, pytest.mark.checkout]

HISTORIES = 300


@pytest.mark.parametrize("scene", SCENES)
def test_a_log_of_a_wallet_is_accepted(scene: str, peer: Peer, tmp_path: Path) -> None:
    """Whatever an owner can ask for, keri takes every event of it and logs no error."""
    wallets = Wallets(tmp_path)
    wallet, name = SCENES[scene](wallets)
    view = peer.verify(exported(wallet, name))
    assert_same(wallet.events, view, trunks(wallet, name))
    assert view.faults == []
    wallets.close()


def test_notices_are_skipped(peer: Peer, tmp_path: Path) -> None:
    """Each notice of a compromised key is skipped alone: what comes behind is taken."""
    wallets = Wallets(tmp_path)
    wallet, name = SCENES["lost"](wallets)
    stream = exported(wallet, name)
    last = identifiers.create(wallet, "last", Creation())
    view = peer.verify(stream + exported(wallet, "last"))
    assert view.notices == stream.count(b'"t":"rpy"') > 0
    assert last.aid in view.logs
    wallets.close()


@pytest.mark.parametrize("scene", ["delegated", "approved-by-rotation", "delegated-twice"])
def test_delegates_may_come_before_their_delegators(scene: str, peer: Peer, tmp_path: Path) -> None:
    """Delegated events that come first wait at keri, and are taken when the approval is there."""
    wallets = Wallets(tmp_path)
    wallet, name = SCENES[scene](wallets)
    aids = trunks(wallet, name)  # the delegate first
    view = peer.verify(b"".join(piece for aid in aids for piece in replay(wallet.events, aid)))
    assert_same(wallet.events, view, aids)
    assert len(view.faults) > 0
    wallets.close()


def test_many_logs_in_one_stream_are_accepted(peer: Peer, tmp_path: Path) -> None:
    """Logs and notices of one owner follow each other in one stream."""
    wallets = Wallets(tmp_path)
    made = [SCENES[scene](wallets) for scene in SCENES]
    view = peer.verify(b"".join(exported(wallet, name) for wallet, name in made))
    for wallet, name in made:
        assert_same(wallet.events, view, trunks(wallet, name))
    assert view.faults == []
    wallets.close()


def test_what_keri_refuses_is_seen(peer: Peer, tmp_path: Path) -> None:
    """A log with one changed character is not taken for the same log."""
    wallets = Wallets(tmp_path)
    wallet, name = SCENES["keys"](wallets)
    stream = exported(wallet, name)
    view = peer.verify(stream.replace(b'"s":"2"', b'"s":"3"'))
    with pytest.raises(AssertionError):
        assert_same(wallet.events, view, trunks(wallet, name))
    wallets.close()


def test_the_log_of_a_restored_wallet_is_accepted(peer: Peer, tmp_path: Path) -> None:
    """What a restored wallet took over from its published log it gives out complete."""
    boss, agent = make_wallet(tmp_path / "boss"), make_wallet(tmp_path / "agent")
    head = identifiers.create(boss, "head", Creation())
    identifiers.create(agent, "arm", Creation(delegator=head.aid))
    let_approve(boss, "head", agent, "arm")
    copied = snapshot(agent, tmp_path / "copied")
    identifiers.rotate(agent, "arm", Change())
    let_approve(boss, "head", agent, "arm")
    identifiers.anchor(agent, "arm", EVERY_SEAL[:1])
    published = Node()
    published.results(exported(agent, "arm"))
    restored = put_back(agent, copied)
    reconcile(restored, "arm", published.store)
    view = peer.verify(exported(restored, "arm"))
    assert_same(published.store, view, trunks(restored, "arm"))
    assert view.faults == []


@pytest.mark.parametrize("scene", ["keys", "suites", "weights", "fixed", "fixed-p256"])
def test_signatures_of_documents_are_good(scene: str, peer: Peer, tmp_path: Path) -> None:
    """The detached signature of a document verifies, over the documented statement."""
    wallets = Wallets(tmp_path)
    wallet, name = SCENES[scene](wallets)
    state = wallet.events.key_state(wallet.identifier(name).aid)
    assert state is not None
    made = sign_document(wallet, name, digest_of([b"a document"])).signature
    keys = [key.text for key in state.establishment.signing_keys]
    match made.signed:
        case SignatureGroup(signatures=group):
            texts = [one.text for one in group]
        case ReceiptCouple(signature=signature):  # with an index keri reads it as one of many
            texts = [indexed.make(signature.suite, signature.raw, 0, ondex=None).text]
    text = made.statement.decode("ascii")
    assert peer.check(text, keys, texts) == [True] * len(texts)
    assert peer.check(text + "\n", keys, texts) == [False] * len(texts)
    wallets.close()


def test_exports_by_commands_are_accepted(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `keystead id export` writes, keri takes, and reads the sequence number it told."""
    for variable, folder in (("HOME", ""), ("KEYSTEAD_HOME", "wallet"), ("KEYSTEAD_STATE", "s")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of tests, not a secret\n", "utf-8")
    secret.chmod(0o600)

    def run(*arguments: str) -> bytes:
        done = keystead(*arguments, "--passphrase-file", secret)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init", "--kdf", "low-memory")
    threshold = "1/2,1/2,1/2"
    run("id", "create", "alice", "--keys", "3", "--threshold", threshold)
    run("id", "anchor", "alice", "--digest", reserve("a file")[0])
    run("id", "rotate", "alice", "--next-keys", "1", "--next-threshold", "1")
    run("id", "rotate", "alice", "--algorithm", "p256", "--anchor", reserve("a digest")[0])
    run("id", "abandon", "alice", "--yes")
    view = peer.verify(run("id", "export", "alice"))
    ((_, log),) = view.logs.items()
    assert view.faults == []
    assert log["state"]["s"] == "4"
    assert log["state"]["n"] == []


def test_histories_are_accepted(peer: Peer) -> None:
    """Random wishes of owners, as far as the wallet grants them, lead to logs that keri takes."""
    lengths: list[int] = []

    @settings(max_examples=HISTORIES, deadline=None)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            wallets = Wallets(Path(folder))
            owner = Owner(wallets, data)
            owner.live()
            view = peer.verify(exported(owner.wallet, owner.name))
            aids = trunks(owner.wallet, owner.name)
            assert_same(owner.wallet.events, view, aids)
            assert view.faults == []
            lengths.append(len(view.logs[aids[0]]["first_seen"]))
            wallets.close()

    compare()
    assert sum(lengths) > 2 * len(lengths), "the wallet granted hardly anything"


class Owner:
    """Wishes for one identifier; those that the wallet refuses leave it as it is."""

    def __init__(self, wallets: Wallets, data: st.DataObject) -> None:
        """Make the identifier, perhaps with a delegator."""
        self.wallet, self.name = wallets("alice"), "arm"
        self._data = data
        self._boss: Wallet | None = None
        wanted = data.draw(_creations())
        if wanted.transferable and data.draw(st.booleans(), "delegated"):
            self._boss = wallets("boss")
            only = data.draw(st.booleans(), "rotations of the boss only")
            head = identifiers.create(self._boss, "head", Creation(establishment_only=only))
            wanted = msgspec.structs.replace(wanted, delegator=head.aid)
        identifiers.create(self.wallet, self.name, wanted)
        self._approve()

    def live(self) -> None:
        """Carry wishes out."""
        wishes: dict[str, Callable[[], object]] = {
            "rotate": lambda: self._rotate(self._data.draw(_changes())),
            "rotate as before": lambda: self._rotate(Change()),
            "anchor": lambda: identifiers.anchor(self.wallet, self.name, EVERY_SEAL[:3]),
            "abandon": lambda: self._rotate(Change(last=True)),
            "compromise": lambda: life.compromise(self.wallet, self._draw_key(), reason="stolen"),
            "shred": lambda: shredding.shred(self.wallet, self._draw_key()),
        }
        for wish in self._data.draw(st.lists(st.sampled_from(sorted(wishes)), max_size=7)):
            try:
                wishes[wish]()
            except (UsageError, KeystoreError) as error:
                event(f"{wish}: {error.code}")
            else:
                event(f"{wish}: done")

    def _rotate(self, change: Change) -> None:
        identifiers.rotate(self.wallet, self.name, change)
        self._approve()

    def _approve(self) -> None:
        if self._boss is not None:
            let_approve(self._boss, "head", self.wallet, self.name)

    def _draw_key(self) -> str:
        found = self.wallet.records.all(KEY, KeyRecord)
        own = [one for one in found if one.identifier]
        return self._data.draw(st.sampled_from(sorted(own, key=_age))).id


def _age(key: KeyRecord) -> tuple[int, int]:
    return key.establishment, key.place


@st.composite
def _creations(draw: st.DrawFn) -> Creation:
    suite = draw(st.sampled_from((Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1)))
    if draw(st.integers(0, 9)) == 0:
        return Creation(transferable=False, suite=suite)
    keys, following = draw(_COUNTS), draw(_COUNTS)
    held = reserve(*draw(_RESERVES))
    return Creation(
        suite=suite,
        keys=keys,
        threshold=draw(_thresholds(keys)),
        next_keys=following,
        next_threshold=draw(_thresholds(following, len(held))),
        reserve=held,
        establishment_only=draw(st.booleans()),
        do_not_delegate=draw(st.booleans()),
    )


@st.composite
def _changes(draw: st.DrawFn) -> Change:
    following = draw(_COUNTS)
    held = reserve(*draw(_RESERVES))
    return Change(
        next_keys=following,
        next_threshold=draw(_thresholds(following, len(held))),
        reserve=held,
        suite=draw(st.sampled_from((None, Suite.ED25519, Suite.SECP256R1))),
        anchors=tuple(EVERY_SEAL[: draw(st.integers(0, 2))]),
    )


_COUNTS = st.integers(1, 4)
_RESERVES = st.lists(st.sampled_from("pqrs"), unique=True, max_size=2)


@st.composite
def _thresholds(draw: st.DrawFn, keys: int, others: int = 0) -> Field:
    """Draw a threshold that own keys can meet alone, whatever others hold behind them."""
    first = draw(st.integers(1, keys))
    spare = ["1/3"] * others
    kind = draw(st.sampled_from(("number", "one clause", "clauses", "nested")))
    if kind == "number":
        return f"{first:x}"
    if kind == "nested" and first < keys:
        return [{"1/2": _weights(first)}, {"2/3": _weights(keys - first)}, *spare]
    if kind == "clauses" and first < keys:
        return [_weights(first), [*_weights(keys - first), *spare]]
    return [*_weights(keys), *spare]


def _weights(keys: int) -> list[Field]:
    return ["1"] if keys == 1 else ["1/2"] * keys
