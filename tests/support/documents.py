"""Documents signed by authors of logs, and what a node that knows the logs says to them."""

from collections.abc import Iterable

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.keys import Digest, VerificationKey
from keystead.keri.seals import DigestSeal, EventSeal
from keystead.limits import DEFAULT_LIMITS
from keystead.owner.compromises import compromises, notice_payload, write_notice
from keystead.owner.documents import (
    DocumentSignature,
    digest_of,
    read_signature,
    statement,
    write_signature,
)
from keystead.owner.standing import Verdict, judge_signature
from keystead.testing.authoring import Author, KeyPair
from support.logs import NOW, Node

DOCUMENT = b"The quick brown fox jumps over the lazy dog"
DIGEST = digest_of([DOCUMENT])
ANCHOR = DigestSeal(DIGEST)


def signed_document(
    author: Author, digest: Digest = DIGEST, *, places: Iterable[int] | None = None
) -> bytes:
    """Sign with some of the current keys of an author, or all of them; return the file."""
    last = author.state.establishment
    made = author.signatures(statement(digest, EventSeal(author.aid, last.sn, last.said)))
    wanted = range(len(made)) if places is None else set(places)
    chosen = tuple(one for one in made if one.index in wanted)
    group = SignatureGroup(author.aid, last.sn, last.said, chosen)
    return write_signature(DocumentSignature(digest, group))


def signed_alone(pair: KeyPair, digest: Digest = DIGEST) -> bytes:
    """Sign as a non-transferable identifier; return the file."""
    return write_signature(DocumentSignature(digest, pair.couple(statement(digest, pair.aid))))


def judged_by(node: Node, data: bytes, digest: Digest = DIGEST) -> Verdict:
    """Read a signature file and judge it by what a node knows."""
    signature = read_signature(data, DEFAULT_LIMITS)
    return judge_signature(signature, digest, node.store, compromises(node.store, signature.aid))


def notice(author: Author, key: VerificationKey, first_sn: int) -> bytes:
    """Tell of a compromise with the current keys of an author; return the message."""
    last = author.state.establishment
    payload = notice_payload(author.aid, key, first_sn=first_sn, reason="stolen laptop", now=NOW)
    signatures = author.signatures(payload)
    return write_notice(payload, SignatureGroup(author.aid, last.sn, last.said, signatures))
