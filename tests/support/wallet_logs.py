"""Logs made by wallets whose seeds are fixed, so that the same events come out each time."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from keystead.cesr.keys import Aid, Digest
from keystead.keri import build
from keystead.keri.seals import (
    BackerSeal,
    DigestSeal,
    EventSeal,
    LastSeal,
    OtherData,
    RootSeal,
    Seal,
    SourceSeal,
    TypedSeal,
)
from keystead.keri.thresholds import Field
from keystead.keystores.vault import LocalVault
from keystead.owner import delegation, identifiers, life, shredding
from keystead.owner.exporting import log_stream
from keystead.owner.plans import Change, Creation
from keystead.owner.wallet import Wallet, begin
from keystead.ports.keys import SECRET, Plain
from keystead.stores.wallet import SqliteWallet
from keystead.suites import Suite
from keystead.testing.authoring import KeyPair
from support.wallets import DATA_KEY, Clock

# Makes the wallet of somebody.
Machines: TypeAlias = Callable[[str], Wallet]
# Makes a log: in whose wallet, and the name of the identifier.
Scene: TypeAlias = Callable[[Machines], tuple[Wallet, str]]


class SeededVault(LocalVault):
    """A vault whose seeds are not random: of one owner they are always the same."""

    def __init__(self, owner: str, state: Path) -> None:
        """Open the vault of an owner."""
        super().__init__(owner, DATA_KEY, state)
        self._owner = owner

    def new_seed(self, record_id: str, generation: int) -> bytes:
        """Seal the seed that the owner's name and the name of the record stand for."""
        seed = hashlib.sha256(f"{self._owner} {record_id}".encode()).digest()
        (sealed,) = self.seal([Plain(SECRET, record_id, generation, seed)])
        return sealed


class Wallets:
    """Wallets with fixed seeds below a folder, each made when it is asked for first.

    Each has a machine of its own. Their clocks stand still.
    """

    def __init__(self, folder: Path) -> None:
        """Begin without any."""
        self._folder = folder
        self._open: dict[str, tuple[Wallet, SqliteWallet]] = {}

    def __call__(self, owner: str) -> Wallet:
        """Return the wallet of an owner."""
        if owner not in self._open:
            folder = self._folder / owner
            store = SqliteWallet.create(folder / "home")
            vault = SeededVault(owner, folder / "state")
            wallet = Wallet(store, vault, now=Clock(), actor=owner)
            vault.adopt()
            begin(wallet)
            self._open[owner] = wallet, store
        return self._open[owner][0]

    def close(self) -> None:
        """Close their stores."""
        for _, store in self._open.values():
            store.close()


def exported(wallet: Wallet, name: str) -> bytes:
    """Return the log of an identifier as it is given to others."""
    return b"".join(log_stream(wallet, name))


def trunks(wallet: Wallet, name: str) -> list[Aid]:
    """Return an identifier and its delegators."""
    found = [wallet.identifier(name).aid]
    while True:
        state = wallet.events.key_state(found[-1])
        assert state is not None
        if state.establishment.delegator is None:
            return found
        found.append(state.establishment.delegator)


def reserve(*names: str) -> tuple[Digest, ...]:
    """Return commitments to keys of others."""
    return tuple(build.commitment(KeyPair(f"reserve {name}").key) for name in names)


def let_approve(boss: Wallet, boss_name: str, agent: Wallet, agent_name: str) -> None:
    """Carry a delegate's request to its delegator, and the answer back."""
    request = list(delegation.request(agent, agent_name))
    approvals = delegation.approve(boss, boss_name, request)
    delegation.complete(agent, agent_name, list(delegation.answer(boss, boss_name, approvals)))


def signing_key(wallet: Wallet, name: str, place: int = 0) -> str:
    """Return the id of a key that signs now."""
    state = wallet.events.key_state(wallet.identifier(name).aid)
    assert state is not None
    return build.commitment(state.establishment.signing_keys[place])


_DIGEST = build.commitment(KeyPair("nobody").key)
EVERY_SEAL: Sequence[Seal] = (
    DigestSeal(_DIGEST),
    RootSeal(_DIGEST),
    SourceSeal(300, _DIGEST),
    EventSeal(Aid(KeyPair("somebody").key.text), 10, _DIGEST),
    LastSeal(KeyPair("somebody").key.text),
    BackerSeal(KeyPair("backer", transferable=False).key.text, _DIGEST),
    TypedSeal("YACDCAAA", _DIGEST),
    OtherData('{"d":7,"text":"\\u0416 \\" \\\\ \\u2028 </>","list":[1,-2,null,true,0.5,{"":[]}]}'),
    OtherData('"text"'),
    OtherData("[]"),
)


def _anchors(machines: Machines) -> tuple[Wallet, str]:
    """Every kind of seal in every kind of event."""
    wallet = machines("ann")
    identifiers.create(wallet, "a", Creation(anchors=tuple(EVERY_SEAL)))
    identifiers.anchor(wallet, "a", EVERY_SEAL)
    identifiers.rotate(wallet, "a", Change(anchors=tuple(EVERY_SEAL)))
    identifiers.anchor(wallet, "a", EVERY_SEAL[:1])
    return wallet, "a"


def _keys(machines: Machines) -> tuple[Wallet, str]:
    """Numbers of keys and numeric thresholds that change."""
    wallet = machines("bob")
    identifiers.create(wallet, "b", Creation(keys=2, next_keys=3, next_threshold="3"))
    identifiers.rotate(wallet, "b", Change(threshold="2", next_keys=1))
    identifiers.anchor(wallet, "b", EVERY_SEAL[:1])
    identifiers.rotate(wallet, "b", Change(next_keys=4))
    identifiers.rotate(wallet, "b", Change(next_keys=5, next_threshold="1"))
    identifiers.rotate(wallet, "b", Change())
    identifiers.rotate(wallet, "b", Change())
    return wallet, "b"


def _many_keys(machines: Machines) -> tuple[Wallet, str]:
    """So many keys that their places need large codes, then fewer."""
    wallet = machines("mia")
    identifiers.create(wallet, "m", Creation(keys=70, threshold="46"))
    identifiers.rotate(wallet, "m", Change(next_keys=66, next_threshold="22"))
    identifiers.anchor(wallet, "m", EVERY_SEAL[:1])
    identifiers.rotate(wallet, "m", Change())
    return wallet, "m"


def _weights(machines: Machines) -> tuple[Wallet, str]:
    """Weights: one clause, several, nested, and none for some keys."""
    wallet = machines("cleo")
    nested: Field = [["1/2", {"1/2": ["1", "1/3", "2/3"]}], ["1"]]
    identifiers.create(
        wallet,
        "c",
        Creation(keys=3, threshold=["1/2", "1/2", "1/2"], next_keys=5, next_threshold=nested),
    )
    identifiers.anchor(wallet, "c", EVERY_SEAL[:1])
    identifiers.rotate(wallet, "c", Change(next_threshold=[["1/2", "1/2"], ["0", "1", "1"]]))
    identifiers.anchor(wallet, "c", EVERY_SEAL[:1])
    identifiers.rotate(wallet, "c", Change(next_keys=2, next_threshold=["2/4", "5/10"]))
    identifiers.rotate(wallet, "c", Change(threshold=["1", "0"]))
    identifiers.anchor(wallet, "c", EVERY_SEAL[:1])
    return wallet, "c"


def _reserves(machines: Machines) -> tuple[Wallet, str]:
    """Reserve keys of others: committed to again, exchanged, given up."""
    wallet = machines("dora")
    wanted = Creation(
        keys=2, reserve=reserve("one", "two"), next_threshold=["1/2", "1/2", "1/2", "1/2"]
    )
    identifiers.create(wallet, "d", wanted)
    identifiers.rotate(wallet, "d", Change())
    identifiers.anchor(wallet, "d", EVERY_SEAL[:1])
    change = Change(next_keys=1, reserve=reserve("three"), next_threshold=["1", "1"])
    identifiers.rotate(wallet, "d", change)
    identifiers.rotate(wallet, "d", Change(threshold="1", reserve=(), next_threshold="1"))
    identifiers.rotate(wallet, "d", Change())
    return wallet, "d"


def _suites(machines: Machines) -> tuple[Wallet, str]:
    """Keys of other suites, exchanged for Ed25519 and back."""
    wallet = machines("eve")
    identifiers.create(wallet, "e", Creation(suite=Suite.SECP256R1, keys=2))
    identifiers.anchor(wallet, "e", EVERY_SEAL[:1])
    identifiers.rotate(wallet, "e", Change(suite=Suite.SECP256K1))
    identifiers.rotate(wallet, "e", Change(suite=Suite.ED25519))
    identifiers.anchor(wallet, "e", EVERY_SEAL[:1])
    identifiers.rotate(wallet, "e", Change(suite=Suite.SECP256R1))
    identifiers.rotate(wallet, "e", Change())
    return wallet, "e"


def _traits(machines: Machines) -> tuple[Wallet, str]:
    """Only rotations, no delegates, and an end with seals."""
    wallet = machines("finn")
    identifiers.create(wallet, "f", Creation(establishment_only=True, do_not_delegate=True))
    identifiers.rotate(wallet, "f", Change(anchors=tuple(EVERY_SEAL[:2])))
    identifiers.rotate(wallet, "f", Change(last=True, anchors=tuple(EVERY_SEAL[:1])))
    return wallet, "f"


def _fixed(suite: Suite) -> Scene:
    def make(machines: Machines) -> tuple[Wallet, str]:
        """Make an identifier that is its only key."""
        wallet = machines("gil")
        identifiers.create(wallet, suite.name, Creation(transferable=False, suite=suite))
        return wallet, suite.name

    return make


def _abandoned(machines: Machines) -> tuple[Wallet, str]:
    """An end after changes by several keys."""
    wallet = machines("hal")
    identifiers.create(wallet, "h", Creation(keys=3, threshold="2"))
    identifiers.anchor(wallet, "h", EVERY_SEAL[:1])
    identifiers.abandon(wallet, "h", reason="gone")
    return wallet, "h"


def _lost(machines: Machines) -> tuple[Wallet, str]:
    """Compromised keys, of which notices behind the log tell, and shredded ones."""
    wallet = machines("ida")
    identifiers.create(wallet, "i", Creation(keys=2))
    first = signing_key(wallet, "i")
    identifiers.rotate(wallet, "i", Change())
    life.compromise(wallet, first, since=0, reason='lost "laptop" \u0416')
    life.compromise(wallet, signing_key(wallet, "i", 1), reason="stolen too")
    identifiers.rotate(wallet, "i", Change(), reason="away from it")
    identifiers.rotate(wallet, "i", Change())
    shredding.shred(wallet, first)
    identifiers.rotate(wallet, "i", Change())
    identifiers.create(wallet, "other", Creation())  # under the seed that came after
    return wallet, "i"


def _delegated(machines: Machines) -> tuple[Wallet, str]:
    """A delegate: incepted, rotated, extended, ended with the approval of its delegator."""
    boss, agent = machines("jon"), machines("kim")
    head = identifiers.create(boss, "head", Creation(keys=2))
    identifiers.create(agent, "arm", Creation(keys=3, threshold="2", delegator=head.aid))
    let_approve(boss, "head", agent, "arm")
    identifiers.anchor(agent, "arm", EVERY_SEAL[:1])
    identifiers.rotate(boss, "head", Change())
    for change in (Change(next_keys=1), Change(anchors=tuple(EVERY_SEAL)), Change(last=True)):
        identifiers.rotate(agent, "arm", change)
        let_approve(boss, "head", agent, "arm")
    return agent, "arm"


def _approved_by_rotation(machines: Machines) -> tuple[Wallet, str]:
    """A delegate of an identifier that can only rotate."""
    boss, agent = machines("lea"), machines("leo")
    head = identifiers.create(boss, "head", Creation(establishment_only=True))
    wanted = Creation(delegator=head.aid, keys=2, establishment_only=True)
    identifiers.create(agent, "arm", wanted)
    let_approve(boss, "head", agent, "arm")
    identifiers.rotate(agent, "arm", Change())
    let_approve(boss, "head", agent, "arm")
    return agent, "arm"


def _one_wallet(machines: Machines) -> tuple[Wallet, str]:
    """A delegate in the wallet of its delegator."""
    wallet = machines("pia")
    head = identifiers.create(wallet, "head", Creation())
    identifiers.create(wallet, "arm", Creation(delegator=head.aid))
    let_approve(wallet, "head", wallet, "arm")
    identifiers.rotate(wallet, "arm", Change())
    let_approve(wallet, "head", wallet, "arm")
    return wallet, "arm"


def _delegated_twice(machines: Machines) -> tuple[Wallet, str]:
    """A delegate of a delegate."""
    top, middle, low = machines("max"), machines("nia"), machines("oli")
    head = identifiers.create(top, "head", Creation())
    arm = identifiers.create(middle, "arm", Creation(delegator=head.aid))
    let_approve(top, "head", middle, "arm")
    identifiers.create(low, "hand", Creation(delegator=arm.aid))
    let_approve(middle, "arm", low, "hand")
    identifiers.rotate(middle, "arm", Change())
    let_approve(top, "head", middle, "arm")
    identifiers.rotate(low, "hand", Change())
    let_approve(middle, "arm", low, "hand")
    identifiers.anchor(low, "hand", EVERY_SEAL[:1])
    return low, "hand"


SCENES: dict[str, Scene] = {
    "anchors": _anchors,
    "keys": _keys,
    "many-keys": _many_keys,
    "weights": _weights,
    "reserves": _reserves,
    "suites": _suites,
    "traits": _traits,
    "fixed": _fixed(Suite.ED25519),
    "fixed-p256": _fixed(Suite.SECP256R1),
    "fixed-secp256k1": _fixed(Suite.SECP256K1),
    "abandoned": _abandoned,
    "lost": _lost,
    "delegated": _delegated,
    "approved-by-rotation": _approved_by_rotation,
    "delegated-twice": _delegated_twice,
    "one-wallet": _one_wallet,
}
