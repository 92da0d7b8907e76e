"""The thief of the demonstration: she has read one private key out of the memory of a machine.

No command gives a private key out, so she does what malicious software of the same user could do.
All else she does with what is public.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from keystead.cesr import indexed
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, SignatureGroup
from keystead.cesr.keys import Aid, Digest
from keystead.cesr.writing import write_groups
from keystead.custody.catalogue import Use
from keystead.keri import build
from keystead.keri.keystate import KeyState
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.keystores.envelope import open_with
from keystead.keystores.vault import LocalVault
from keystead.node.replay import replay
from keystead.owner.documents import DocumentSignature, digest_of, statement, write_signature
from keystead.owner.wallet import Wallet
from keystead.ports.keys import Signer
from keystead.stores.wallet import SqliteWallet
from keystead.suites import Suite


class StolenKey(msgspec.Struct, frozen=True):
    """What the thief has.

    Attributes:
        signer: the private key that signs for the log now.
        state: where the log stands; that is public.
        log: the log, as it was published.
    """

    signer: Signer
    state: KeyState
    log: bytes


def steal(home: Path, passphrase: bytes, name: str) -> StolenKey:
    """Take the key that signs for an identifier now, and none of the next ones."""
    from keystead.cli.wallets import actor, now  # noqa: PLC0415 - they are not hers

    store = SqliteWallet.open(home)
    try:
        envelope = store.envelope()
        vault = LocalVault(envelope.wallet, open_with(envelope, passphrase), home / "no-marks")
        wallet = Wallet(store, vault, now=now, actor=actor())
        aid = wallet.identifier(name).aid
        state = store.events.key_state(aid)
        assert state is not None  # noqa: S101 - the demonstration has made it
        key = wallet.key(build.commitment(state.establishment.signing_keys[0]))
        assert key is not None  # noqa: S101 - as above
        (use,) = wallet.use([key])
        signer = vault._for_use(use, Use.STATE)  # noqa: SLF001 - a thief asks nobody
        return StolenKey(signer, state, b"".join(replay(store.events, aid)))
    finally:
        store.close()


def forge_document(stolen: StolenKey, document: bytes) -> bytes:
    """Sign a document as the owner would; return the content of its signature file."""
    last = stolen.state.establishment
    signatory = EventSeal(stolen.state.aid, last.sn, last.said)
    digest = digest_of([document])
    raw = stolen.signer.sign(statement(digest, signatory))
    signature = indexed.make(Suite.ED25519, raw, 0, ondex=None)
    group = SignatureGroup(signatory.aid, signatory.sn, signatory.said, (signature,))
    return write_signature(DocumentSignature(digest, group))


def forge_event(stolen: StolenKey, digest: Digest) -> tuple[bytes, str]:
    """Make an event behind the log as it was when the key was stolen; return it, signed."""
    event = build.interact(stolen.state, [DigestSeal(digest)])
    signature = indexed.make(Suite.ED25519, stolen.signer.sign(event.raw), 0, ondex=0)
    group = Group(GroupKind.CONTROLLER_SIGNATURES, (signature,))
    return event.raw, write_groups([group]).decode()


@contextmanager
def publish(aid: Aid, stream: bytes) -> Iterator[str]:
    """Serve another history of an identifier, as a witness would; give the URL of the server."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json+cesr")
            self.send_header("KERI-AID", aid)
            self.send_header("Content-Length", str(len(stream)))
            self.end_headers()
            self.wfile.write(stream)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the class it comes from
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def refusals(urls: Sequence[str], event: bytes, attachment: str) -> list[int]:
    """Submit an event to witnesses, and return the statuses of their answers."""
    from keystead.ports.transport import Call  # noqa: PLC0415 - for --help
    from keystead.transports.client import HttpTransport  # noqa: PLC0415 - as above
    from keystead.transports.guard import FetchPolicy  # noqa: PLC0415 - as above

    transport = HttpTransport(FetchPolicy.local())
    headers = {"Content-Type": "application/cesr+json", "CESR-ATTACHMENT": attachment}
    calls = [Call("POST", f"{url}/receipts", event, headers) for url in urls]
    return [transport.call(call).status for call in calls]
