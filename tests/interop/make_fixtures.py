"""Writes the golden logs: `PYTHONPATH=src:tests python tests/interop/make_fixtures.py [DIR]`.

Logs that the wallet makes from fixed seeds, and logs that keri makes; with each of them the key
states that keri read from it. It needs a Python for keri: docs/interop.md.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

from interop.test_keri_writes import SCENES as KERI_SCENES
from support.peer import Peer, environment, find_python, plain_peer_state
from support.wallet_logs import SCENES, Wallets, exported

FIXTURES = Path(__file__).parent / "fixtures"
States: TypeAlias = dict[str, dict[str, Any]]


def write_all(peer: Peer, directory: Path) -> None:
    """Write all logs below `directory`, in place of what is there."""
    for scene, make in SCENES.items():
        with tempfile.TemporaryDirectory() as folder:
            wallets = Wallets(Path(folder))
            _write(peer, directory / "keystead" / f"{scene}.cesr", exported(*make(wallets)))
            wallets.close()
    for scene, steps in KERI_SCENES.items():
        view = peer.author(steps)
        _write(peer, directory / "keri" / f"{scene}.cesr", view.stream(list(view.logs)[-1]))


def read_states(peer: Peer, stream: bytes) -> States:
    """Return the key states that keri reads from a stream, by identifier."""
    view = peer.verify(stream)
    assert view.faults == []
    return {aid: plain_peer_state(log["state"]) for aid, log in sorted(view.logs.items())}


def _write(peer: Peer, path: Path, stream: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream)
    text = json.dumps(read_states(peer, stream), indent=1)
    path.with_suffix(".json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    python = find_python()
    assert python is not None
    running = Peer(environment(python))
    target = Path(sys.argv[1]) if sys.argv[1:] else FIXTURES
    shutil.rmtree(target, ignore_errors=True)
    write_all(running, target)
    running.close()
