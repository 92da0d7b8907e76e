"""Golden logs, by the wallet and by keri: they stay what keri took, where there is no keri too."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.logs import Node
from support.peer import Peer, plain_peer_state, plain_state
from support.wallet_logs import SCENES, Wallets, exported

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = sorted(FIXTURES.glob("*/*.cesr"))


def _named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def _states(path: Path) -> dict[str, dict[str, Any]]:
    """Return the key states that keri read from a log when it was written."""
    states: dict[str, dict[str, Any]] = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return states


def _read(stream: bytes) -> Node:
    node = Node()
    node.results(stream)
    return node


def test_each_scene_has_its_golden_log() -> None:
    """Nothing that a wallet is made to do is without a golden log."""
    assert {path.stem for path in LOGS if path.parent.name == "keystead"} == set(SCENES)
    assert len(LOGS) > len(SCENES), "those of keri are missing"


@pytest.mark.parametrize("scene", SCENES)
def test_the_wallet_makes_the_golden_log(scene: str, tmp_path: Path) -> None:
    """From the same seed come the same keys and events, byte by byte.

    A difference means that wallets that are out there would derive other keys than their logs
    commit to. Signatures are compared too where they are not random, which those of ECDSA are.
    """
    golden = (FIXTURES / "keystead" / f"{scene}.cesr").read_bytes()
    wallets = Wallets(tmp_path)
    stream = exported(*SCENES[scene](wallets))
    wallets.close()
    if b'"1AA' not in golden:
        assert stream == golden
    ours, theirs = _read(stream).store, _read(golden).store
    aids = list(theirs.identifiers())
    assert list(ours.identifiers()) == aids
    for aid in aids:
        made = [accepted.event.raw for accepted in ours.first_seen(aid)]
        assert made == [accepted.event.raw for accepted in theirs.first_seen(aid)]


@pytest.mark.parametrize("path", LOGS, ids=_named)
def test_a_golden_log_is_read_as_keri_reads_it(path: Path) -> None:
    """A node that gets a golden log holds the key states that keri told."""
    store = _read(path.read_bytes()).store
    found = {aid: store.key_state(aid) for aid in store.identifiers()}
    assert {aid: plain_state(state) for aid, state in found.items() if state} == _states(path)
    assert list(store.waiting()) == []


@pytest.mark.interop
@pytest.mark.checkout
@pytest.mark.parametrize("path", LOGS, ids=_named)
def test_keri_reads_the_golden_log_as_it_did(path: Path, peer: Peer) -> None:
    """The key states next to a golden log are those that keri reads from it."""
    view = peer.verify(path.read_bytes())
    assert view.faults == []
    assert {aid: plain_peer_state(log["state"]) for aid, log in view.logs.items()} == _states(path)
